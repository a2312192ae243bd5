//! A panic in one connection must not take the worker and all its other connections along.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use crate::messages::meters::Counter;
use crate::worker::Worker;

/// Runs `connection`; should it panic, it ends, and that is counted and said. It comes boxed: passed
/// by value from one future into the next it would take its room in each of them.
pub async fn guarded(worker: Rc<Worker>, connection: Pin<Box<dyn Future<Output = ()>>>) {
    if unwinding(connection).await.is_err() {
        worker.meters.add(Counter::Panics, 1);
        // The panic hook has said where.
        tracing::error!("a connection was closed because its code panicked: a bug of pullgate");
    }
}

/// `future`, or that it panicked.
async fn unwinding<F: Future>(future: F) -> Result<F::Output, Panicked> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // After a panic the future is dropped and never polled again.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

/// A future panicked. What it said has gone to the panic hook.
#[derive(Debug, PartialEq, Eq)]
struct Panicked;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::driver::Driver;

    #[test]
    fn one_panics_and_the_others_go_on() {
        let outcomes = Driver::Epoll.run(async {
            let bad = monoio::spawn(unwinding(async { panic!("a bad connection") }));
            let good = monoio::spawn(unwinding(async { 7 }));
            (bad.await, good.await)
        });
        assert_eq!(outcomes.unwrap(), (Err::<(), _>(Panicked), Ok(7)));
    }
}
