//! A panic in one connection must not take the worker and all its other connections along.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::messages::meters::Counter;
use crate::worker::Worker;

/// Runs `task`; should it panic, it ends, and that is counted and said. What it `keeps` is dropped
/// after it.
///
/// There is one for each connection, so its room matters: an `async` function would have it several
/// times over.
pub fn guarded<K>(worker: Rc<Worker>, task: Task, keeps: K) -> Guarded<K> {
    Guarded { worker, task, _keeps: keeps }
}

/// What is run: boxed, so that it is passed on without being moved.
pub type Task = Pin<Box<dyn Future<Output = ()>>>;

/// See [`guarded`].
pub struct Guarded<K> {
    worker: Rc<Worker>,
    task: Task,
    _keeps: K,
}

impl<K: Unpin> Future for Guarded<K> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match poll_unwinding(&mut self.task, context) {
            Ok(poll) => poll,
            Err(Panicked) => {
                self.worker.meters.add(Counter::Panics, 1);
                // The panic hook has said where.
                tracing::error!(
                    "a connection was closed because its code panicked: a bug of pullgate"
                );
                Poll::Ready(())
            }
        }
    }
}

/// Polls `task`, or says that it panicked. After a panic it is dropped and never polled again.
fn poll_unwinding(task: &mut Task, context: &mut Context<'_>) -> Result<Poll<()>, Panicked> {
    catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context))).map_err(|_| Panicked)
}

/// A future panicked. What it said has gone to the panic hook.
#[derive(Debug, PartialEq, Eq)]
struct Panicked;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::worker::driver::Driver;

    #[test]
    fn one_panics_and_the_others_go_on() {
        let run = |task: Task| async {
            let mut task = task;
            poll_fn(move |context| match poll_unwinding(&mut task, context) {
                Ok(poll) => poll.map(Ok),
                Err(panicked) => Poll::Ready(Err(panicked)),
            })
            .await
        };
        let outcomes = Driver::Epoll.run(async {
            let bad = monoio::spawn(run(Box::pin(async { panic!("a bad connection") })));
            let good = monoio::spawn(run(Box::pin(async {})));
            (bad.await, good.await)
        });
        assert_eq!(outcomes.unwrap(), (Err(Panicked), Ok(())));
    }
}
