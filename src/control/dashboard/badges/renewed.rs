//! Something that is found out, said for a while, and then found out anew by whoever asks next.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// It. A look at what is said waits for nobody; who finds it out has a lock of its own.
pub(super) struct Renewed<T> {
    /// Held for a look, never while something is found out.
    state: Mutex<State<T>>,
    /// Whose turn it is to find it out.
    turn: Mutex<()>,
}

struct State<T> {
    /// How often what was said was forgotten: who began to find it out before does not say it after.
    forgotten: u64,
    said: Option<Said<T>>,
}

struct Said<T> {
    /// Until when it is said without a question.
    until: Instant,
    /// `None` where it could not be found out.
    what: Option<T>,
}

impl<T: Clone> Renewed<T> {
    /// Of which nothing is known yet.
    pub(super) fn new() -> Self {
        let state = Mutex::new(State { forgotten: 0, said: None });
        Self { state, turn: Mutex::new(()) }
    }

    /// Has it found out anew before it is said again.
    pub(super) async fn forget(&self) {
        let mut state = self.state.lock().await;
        state.forgotten += 1;
        state.said = None;
    }

    /// What is said now; what `find` comes to where that is too old, or what was said before where it fails, which the log says. While somebody finds it out, others hear what was said until just now, and
    /// wait where that is older.
    pub(super) async fn get(&self, find: impl Future<Output = Result<T, String>>) -> Option<T> {
        if let Some(what) = self.said_within(Duration::ZERO).await {
            return what;
        }
        let _turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => match self.said_within(LATE).await {
                Some(what) => return what,
                None => self.turn.lock().await,
            },
        };
        if let Some(what) = self.said_within(Duration::ZERO).await {
            return what;
        }
        let forgotten = self.state.lock().await.forgotten;
        let found = find.await;
        let mut state = self.state.lock().await;
        let (what, fresh) = match found {
            Ok(what) => (Some(what), FRESH),
            Err(words) => {
                tracing::warn!("badges cannot be made: {words}");
                // What was said before is better than nothing. Whoever asks for a badge is anybody, and is
                // not to have what failed tried again each time.
                (state.said.take().and_then(|said| said.what), FAILED)
            }
        };
        if state.forgotten == forgotten {
            state.said = Some(Said { until: Instant::now() + fresh, what: what.clone() });
        }
        what
    }

    /// What is said, if its time was not over for so long.
    async fn said_within(&self, late: Duration) -> Option<Option<T>> {
        let state = self.state.lock().await;
        let said = state.said.as_ref().filter(|said| Instant::now() < said.until + late)?;
        Some(said.what.clone())
    }
}

/// How old what a badge says may be.
const FRESH: Duration = Duration::from_secs(60);
/// How long after that it is still said to others while one finds it out anew.
const LATE: Duration = Duration::from_secs(240);
/// How long what failed is not tried again.
const FAILED: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use tokio::sync::oneshot;

    use super::*;

    /// Has its time be over.
    fn age(renewed: &Renewed<u32>, by: Duration) {
        let now = Instant::now();
        renewed.state.try_lock().unwrap().said.as_mut().unwrap().until =
            now.checked_sub(by).unwrap();
    }

    /// What comes of it without anybody else doing anything.
    fn polled<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }

    async fn nobody_finds() -> Result<u32, String> {
        panic!("somebody else does, or it is known")
    }

    #[test]
    fn while_one_finds_it_out_others_hear_what_was_said_until_just_now() {
        let renewed = Renewed::new();
        assert_eq!(polled(renewed.get(async { Ok(1) })), Some(Some(1)));
        assert_eq!(polled(renewed.get(nobody_finds())), Some(Some(1)));
        age(&renewed, Duration::ZERO);
        let (sender, found) = oneshot::channel();
        let mut finds = pin!(renewed.get(async { found.await.map_err(|error| error.to_string()) }));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(finds.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(polled(renewed.get(nobody_finds())), Some(Some(1)), "nobody waits for it");
        age(&renewed, LATE);
        assert_eq!(polled(renewed.get(nobody_finds())), None, "that would be too old");
        sender.send(2).unwrap();
        assert_eq!(finds.as_mut().poll(&mut context), Poll::Ready(Some(2)));
        assert_eq!(polled(renewed.get(nobody_finds())), Some(Some(2)));
    }

    #[test]
    fn what_was_begun_before_it_was_forgotten_is_not_said_after() {
        let renewed = Renewed::new();
        let (sender, found) = oneshot::channel();
        let mut finds = pin!(renewed.get(async { found.await.map_err(|error| error.to_string()) }));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(finds.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(polled(renewed.forget()), Some(()));
        sender.send(1).unwrap();
        assert_eq!(finds.as_mut().poll(&mut context), Poll::Ready(Some(1)), "who asked before it");
        assert_eq!(polled(renewed.get(async { Ok(2) })), Some(Some(2)));
    }

    #[test]
    fn what_fails_leaves_what_was_said_and_is_not_tried_at_once() {
        let renewed = Renewed::new();
        let fails = || async { Err("the disk is slow".to_owned()) };
        assert_eq!(polled(renewed.get(fails())), Some(None));
        assert_eq!(polled(renewed.get(nobody_finds())), Some(None));
        age(&renewed, Duration::ZERO);
        assert_eq!(polled(renewed.get(async { Ok(1) })), Some(Some(1)));
        age(&renewed, Duration::ZERO);
        assert_eq!(polled(renewed.get(fails())), Some(Some(1)));
        assert_eq!(polled(renewed.get(nobody_finds())), Some(Some(1)));
    }
}
