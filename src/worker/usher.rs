//! Taking turns. The runtime runs a task that wakes itself before all others, so a task that means
//! to let them go first has to be woken by another one: the usher.

use std::cell::RefCell;
use std::future::poll_fn;
use std::mem;
use std::task::{Poll, Waker};

/// Wakes those that wait for their next turn.
#[derive(Default)]
pub struct Usher {
    waiting: RefCell<Vec<Waker>>,
    own: RefCell<Option<Waker>>,
}

impl Usher {
    /// Ushers for as long as the worker runs.
    pub async fn run(&self) {
        poll_fn(|context| {
            self.own.replace(Some(context.waker().clone()));
            for waker in self.waiting.take() {
                waker.wake();
            }
            Poll::<()>::Pending
        })
        .await;
    }

    /// Waits until every other task that could go on has.
    pub async fn wait(&self) {
        let mut waited = false;
        poll_fn(|context| {
            if mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            match self.own.borrow().as_ref() {
                Some(usher) => usher.wake_by_ref(),
                None => context.waker().wake_by_ref(),
            }
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;
    use crate::worker::driver::Driver;

    #[test]
    fn who_waits_for_a_turn_lets_the_others_have_theirs() {
        let turns = Driver::Epoll.run(async {
            let usher = Rc::new(Usher::default());
            let ushering = Rc::clone(&usher);
            monoio::spawn(async move { ushering.run().await });
            let turns = Rc::new(Cell::new(0));
            // One that never ends by itself, but for its turns.
            let (waiting, counted) = (Rc::clone(&usher), Rc::clone(&turns));
            monoio::spawn(async move {
                loop {
                    counted.set(counted.get() + 1);
                    waiting.wait().await;
                }
            });
            // And one that needs ten turns.
            let neighbour = monoio::spawn(async move {
                for _ in 0..10 {
                    usher.wait().await;
                }
            });
            neighbour.await;
            turns.get()
        });
        assert!((1..=100).contains(&turns.unwrap()));
    }
}
