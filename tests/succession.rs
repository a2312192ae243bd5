//! One aggregator goes on where another has ended: with its counts, the windows that are open and the
//! clients that were seen, and hears the workers that outlive it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/counting.rs"]
mod support;

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use pullgate::aggregator::lock::Lock;
use pullgate::aggregator::succession::{self, Before, Beginning, Estate};
use pullgate::aggregator::{Ask, spawn_waiting};
use pullgate::messages::pulls::channel;

use support::*;

#[test]
fn another_goes_on_with_windows_that_are_open_and_hears_who_is_late() {
    let dir = tempfile::tempdir().unwrap();
    let lock = || Lock::take(dir.path()).unwrap();
    let mut before = Gateway::start(dir.path());
    let pull = |client| event(client, "acme/rocket", "latest");
    before.senders[0].offer(&pull(1));
    eventually("a pull is counted", || before.counted_pulls() == 1);
    let succession = before.aggregator.succession();
    // The first time nobody goes on.
    succession.let_go().unwrap();
    succession.take_back(Some(lock()));
    let legacy = succession.let_go().unwrap();
    let refused = before.query.rows(&Ask::default()).unwrap_err().to_string();
    assert!(refused.contains("another process takes over"), "{refused}");
    before.senders[0].offer(&pull(1));
    before.senders[0].flush();

    let (mut late, late_receiver) = channel();
    let (after, begin) =
        spawn_waiting(options(dir.path(), counting()), vec![late_receiver], Arc::default())
            .unwrap();
    let (lanes, receivers) = succession::lanes(legacy.lanes);
    let estate = Estate::read(&legacy.estate).unwrap();
    let from_before = Before { estate, lanes: receivers, lasts_us: 10_000_000 };
    begin.now(Beginning { lock: lock(), before: Some(from_before) });
    let (to, from) = UnixStream::pair().unwrap();
    succession.forward(Box::new(to));
    let hearing = std::thread::spawn(move || lanes.hear(from));
    for client in [1, 2] {
        late.offer(&pull(client));
    }
    late.flush();
    before.senders[0].offer(&pull(1));
    let rest = before.senders[0].rest();
    assert!(before.aggregator.stop(vec![rest]), "all is handed over");
    hearing.join().unwrap().unwrap();
    assert!(after.stop(Vec::new()), "all is written");
    let totals = opened(dir.path()).rows(&Ask::default()).unwrap().totals;
    assert_eq!((totals.requests, totals.pulls, totals.daily_uniques), (5, 2, 2));
}
