//! Turns at what only a few can do at once. Each who asks, an account or a network, has one turn at a time and a few
//! more that wait: however many somebody asks for, the next turn is soon another's.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::seats::{Seat, Seats, Taken};

/// Who has a turn, and who waits for one.
pub(super) struct Turns<K> {
    /// All of them.
    here: Mutex<Seats<K>>,
    /// The one turn of each who is here.
    own: Mutex<HashMap<K, Arc<Semaphore>>>,
    /// Those that can be at once. Who waits for one gets it in the order of coming.
    at_once: Arc<Semaphore>,
    patience: Duration,
}

/// One, until it is dropped.
pub(super) struct Turn(
    #[expect(dead_code, reason = "held, not read")]
    (Seat, OwnedSemaphorePermit, OwnedSemaphorePermit),
);

impl<K: Clone + Eq + Hash> Turns<K> {
    /// So many at once; so many that have one or wait, of all and of one; who waits gives up after a while.
    pub(super) fn new(
        at_once: usize,
        (here_max, own_max): (usize, usize),
        patience: Duration,
    ) -> Self {
        Self {
            here: Mutex::new(Seats::new(here_max, own_max)),
            own: Mutex::default(),
            at_once: Arc::new(Semaphore::new(at_once)),
            patience,
        }
    }

    /// Waits for a turn of whose it is to be.
    ///
    /// # Errors
    /// Who has all that there are, or waits for them.
    pub(super) async fn take(&self, whose: K) -> Result<Turn, Taken> {
        let end = Instant::now() + self.patience;
        let seat = self.here.lock().await.take(Some(whose.clone()))?;
        let own = {
            let mut all = self.own.lock().await;
            // Whoever has one or waits holds it too.
            all.retain(|_, one| Arc::strong_count(one) > 1);
            Arc::clone(all.entry(whose).or_insert_with(|| Arc::new(Semaphore::new(1))))
        };
        let next = |of: Arc<Semaphore>, taken| async move {
            let turn = timeout_at(end, of.acquire_owned()).await;
            turn.ok().and_then(Result::ok).ok_or(taken)
        };
        let own = next(own, Taken::Own).await?;
        let one = next(Arc::clone(&self.at_once), Taken::All).await?;
        Ok(Turn((seat, own, one)))
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn on_a_runtime<T>(what: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.unwrap().block_on(what)
    }

    #[test]
    fn whoever_asks_for_many_has_one_at_a_time_and_others_go_ahead() {
        on_a_runtime(async {
            let turns = Turns::new(2, (9, 3), LONG);
            let mut context = Context::from_waker(Waker::noop());
            let mut ask = |whose| {
                let mut asked = Box::pin(turns.take(whose));
                let first = asked.as_mut().poll(&mut context);
                (asked, first)
            };
            let (_, first) = ask(1);
            let (mut second, waits) = ask(1);
            let (third, waits_too) = ask(1);
            assert!(matches!(first, Poll::Ready(Ok(_))) && waits.is_pending());
            assert!(waits_too.is_pending());
            assert!(matches!(ask(1).1, Poll::Ready(Err(Taken::Own))), "a fourth");
            let (_, other) = ask(2);
            assert!(matches!(other, Poll::Ready(Ok(_))), "another goes ahead of those that wait");
            let (mut late, waits) = ask(3);
            assert!(waits.is_pending(), "there are two at once");
            // Who comes again stands behind who waits already.
            drop(first);
            assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            let turn = late.as_mut().await.unwrap();
            drop(turn);
            second.as_mut().await.unwrap();
            drop((third, other));
            assert!(turns.take(1).await.is_ok());
        });
    }

    #[test]
    fn who_waits_gives_up_and_leaves_room() {
        on_a_runtime(async {
            let turns = Turns::new(1, (2, 2), Duration::from_millis(20));
            let first = turns.take(1).await.unwrap();
            assert_eq!(turns.take(1).await.err(), Some(Taken::Own));
            assert_eq!(turns.take(2).await.err(), Some(Taken::All));
            drop(first);
            assert!(turns.take(2).await.is_ok());
        });
    }
}
