//! The built gateway is killed under load, again and again, on each driver: it starts on what it
//! left, no request is counted twice, and what was written once is never lost.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rustix::process::Signal;
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate};
use support::http::Connection;

#[test]
fn what_was_written_is_kept_and_nothing_is_counted_twice() {
    for driver in DRIVERS {
        let config = "[counting]\nflush = \"100ms\"\n\n[[packages]]\ndomain = \"*\"\n\
                      name = \"acme/rocket\"\nbackend = \"ghcr.io/acme/rocket\"\n\
                      delivery = \"redirect\"\n";
        let mut gate = Gate::start(driver, config);
        let sent = AtomicU64::new(0);
        for round in 0..8 {
            let before = requests(&gate);
            let over = AtomicBool::new(false);
            let address = gate.address();
            let shown = thread::scope(|scope| {
                for _ in 0..CLIENTS {
                    scope.spawn(|| pull_until(&over, address, &sent));
                }
                // Each round is killed at another point of the interval between two writes.
                let shown = eventually(|| match requests(&gate) {
                    shown if shown > before + 100 * round => Ok(shown),
                    shown => Err(format!("{shown} shown")),
                });
                // It is shown before it is written, and written when the journal has gone on.
                let journal = gate.metric("pullgate_journal_bytes");
                eventually(|| match gate.metric("pullgate_journal_bytes") {
                    same if same == journal => Err(format!("the journal stays at {same}")),
                    _ => Ok(()),
                });
                gate.process().signal(Signal::KILL);
                over.store(true, Ordering::Relaxed);
                shown
            });
            gate.process().wait();
            gate.launch();
            let kept = eventually(|| match requests(&gate) {
                // The store opens while the gateway already serves.
                0 => Err("nothing is shown yet".to_owned()),
                kept => Ok(kept),
            });
            let sent = sent.load(Ordering::Relaxed);
            assert!(shown <= kept && kept <= sent, "{shown} <= {kept} <= {sent} on {driver}");
        }
        gate.stop();
        assert!(requests(&gate) <= sent.load(Ordering::Relaxed));
    }
}

/// Asks for a manifest again and again, counting what was sent.
fn pull_until(over: &AtomicBool, gateway: SocketAddr, sent: &AtomicU64) {
    let Ok(mut connection) = Connection::open(gateway) else {
        return;
    };
    while !over.load(Ordering::Relaxed) {
        sent.fetch_add(1, Ordering::Relaxed);
        let headers = ["Host: a".to_owned()];
        let target = "/v2/acme/rocket/manifests/latest";
        if connection.ask("GET", target, &headers, b"").is_err() {
            return;
        }
    }
}

fn requests(gate: &Gate) -> u64 {
    gate.counts("*/acme/rocket").requests
}

const CLIENTS: usize = 3;
