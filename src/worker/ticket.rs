//! Waiting for what another task of the same worker brings.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Where a task that waits is told. Only tasks of one thread wake each other.
pub struct Ticket<T> {
    told: Cell<Option<T>>,
    waker: Cell<Option<Waker>>,
}

impl<T> Ticket<T> {
    /// Tells it.
    pub fn tell(&self, outcome: T) {
        self.told.set(Some(outcome));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits until it is told.
    pub async fn told(&self) -> T {
        poll_fn(|context| match self.told.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                self.waker.set(Some(context.waker().clone()));
                Poll::Pending
            }
        })
        .await
    }
}

impl<T> Default for Ticket<T> {
    fn default() -> Self {
        Self { told: Cell::new(None), waker: Cell::new(None) }
    }
}
