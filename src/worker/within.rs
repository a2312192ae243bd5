//! Giving up on what takes too long, by the worker's sweeps.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::worker::Worker;

/// What `future` comes to, or `None` where it has not ended after `sweeps`; then it is dropped.
pub async fn within<F: Future>(worker: &Worker, sweeps: u64, future: F) -> Option<F::Output> {
    let by = worker.clock.sweep().saturating_add(sweeps);
    let mut future = pin!(future);
    let mut too_late = pin!(async {
        while worker.clock.sweep() < by {
            worker.next_sweep().await;
        }
    });
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        too_late.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// What somebody may take for several waits together.
pub struct Allowance {
    sweeps: u64,
}

impl Allowance {
    /// So many sweeps.
    pub fn new(sweeps: u64) -> Self {
        Self { sweeps }
    }

    /// What `future` comes to, or `None` where nothing is left to wait for it.
    pub async fn within<F: Future>(&mut self, worker: &Worker, future: F) -> Option<F::Output> {
        let began = worker.clock.sweep();
        let output = within(worker, self.sweeps, future).await;
        self.sweeps = self.sweeps.saturating_sub(worker.clock.sweep() - began);
        output
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;
    use std::rc::Rc;

    use super::*;
    use crate::worker::trial::{alone, drivers};

    #[test]
    fn what_ends_in_time_is_had_and_the_rest_is_dropped() {
        for driver in drivers() {
            alone(driver, |worker| async move {
                assert_eq!(within(&worker, 1, async { 7 }).await, Some(7));
                let turns = within(&worker, 100, async {
                    worker.next_sweep().await;
                    8
                });
                assert_eq!(turns.await, Some(8));
                let held = Rc::new(Cell::new(0));
                let holding = Rc::clone(&held);
                let never = within(&worker, 2, async move {
                    pending::<()>().await;
                    holding.set(1);
                });
                let began = worker.clock.sweep();
                assert_eq!(never.await, None);
                assert!(worker.clock.sweep() >= began + 2);
                assert_eq!(Rc::strong_count(&held), 1);
            });
        }
    }

    #[test]
    fn an_allowance_is_for_all_waits_together() {
        for driver in drivers() {
            alone(driver, |worker| async move {
                let mut allowance = Allowance::new(3);
                for _ in 0..3 {
                    let wait = allowance.within(&worker, worker.next_sweep());
                    assert_eq!(wait.await, Some(()));
                }
                assert_eq!(allowance.within(&worker, pending::<()>()).await, None);
                let here = allowance.within(&worker, async { 7 });
                assert_eq!(here.await, Some(7), "what is here costs nothing");
            });
        }
    }
}
