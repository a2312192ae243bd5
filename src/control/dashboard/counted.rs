//! Questions about the counts, so many at once, of which each who asks has one at a time: each in a thread that may
//! wait for its answer.

use std::time::Duration;

use super::Dashboard;
use super::sign_in::Network;
use super::trouble::Trouble;
use crate::aggregator::{Query, QueryError};
use crate::control::seats::Taken;
use crate::control::turns::{Turn, Turns};

/// Who asks about the counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    /// Somebody who is known.
    Account(i64),
    /// Anybody, about what is public.
    Network(Network),
    /// The gateway itself, for what badges say of all packages.
    Badges,
    /// The same, for the versions of single ones.
    Versions,
}

/// Who is being answered, and who waits for it.
pub(super) struct Questions {
    all: Turns<Asker>,
    /// The people of packages are not to wait for everybody: those who are not known have some of the places.
    strangers: Turns<Network>,
}

/// A place for a question, until it is dropped.
struct Place(#[expect(dead_code, reason = "held, not read")] (Option<Turn>, Turn));

/// What `ask` makes of the counts, as soon as it is the asker's turn.
///
/// # Errors
/// That it cannot be asked for, that there is no place, or that the counts cannot be read now.
pub(super) async fn counted<T: Send + 'static>(
    at: &Dashboard,
    asker: Asker,
    ask: impl FnOnce(&Query) -> Result<T, QueryError> + Send + 'static,
) -> Result<T, Trouble> {
    let place = at.questions.place(asker).await?;
    let query = at.query.clone();
    let work = move || {
        let answer = ask(&query);
        // Whoever asked may have gone away before: the place is taken until the work is done.
        drop(place);
        answer
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(QueryError::Question(words))) => Err(Trouble::refused(words)),
        Ok(Err(error @ (QueryError::Unavailable(_) | QueryError::Stopped))) => {
            let why =
                format!("Just now {error}. Pulls go on and are counted; try again in a moment.");
            Err(Trouble::not_now("Not available", &why))
        }
        Err(error) => Err(Trouble::failed(&error)),
    }
}

impl Questions {
    pub(super) fn new() -> Self {
        Self {
            all: Turns::new(PLACES, (HERE_MAX, OF_ACCOUNT_MAX), PATIENCE),
            strangers: Turns::new(PLACES_OF_STRANGERS, (STRANGERS_MAX, OF_NETWORK_MAX), PATIENCE),
        }
    }

    async fn place(&self, asker: Asker) -> Result<Place, Trouble> {
        let strange = match asker {
            Asker::Network(network) => {
                let turn = self.strangers.take(network).await;
                Some(turn.map_err(|taken| match taken {
                    Taken::All => {
                        let why = "Many look at what is public just now. Try again in a moment.";
                        Trouble::busy(why)
                    }
                    Taken::Own => {
                        let why = "Many look at what is public from where you are. Try again in a \
                                   moment.";
                        Trouble::too_many(why)
                    }
                })?)
            }
            Asker::Account(_) | Asker::Badges | Asker::Versions => None,
        };
        let turn = self.all.take(asker).await.map_err(|taken| match taken {
            Taken::All => {
                let why =
                    "Too many questions are asked about the counts at once. Try again in a moment.";
                Trouble::busy(why)
            }
            Taken::Own => {
                let why = "Several questions of yours about the counts are being answered. Try again \
                           when they are.";
                Trouble::too_many(why)
            }
        })?;
        Ok(Place((strange, turn)))
    }
}

/// Questions that are answered at once, by pages, downloads, badges and programs together: each has a
/// thread and holds up to [`ROWS_MAX`] rows, of about 300 bytes.
const PLACES: usize = 6;
/// Those of them that are strangers'.
const PLACES_OF_STRANGERS: usize = 4;
/// Questions that are answered or wait.
const HERE_MAX: usize = 128;
/// Those of one account: a window with some pages in it opens again.
const OF_ACCOUNT_MAX: usize = 16;
const STRANGERS_MAX: usize = 64;
const OF_NETWORK_MAX: usize = 8;
/// How long somebody waits for a place.
const PATIENCE: Duration = Duration::from_secs(5);
/// Rows of one answer, beside one for each package.
pub(super) const ROWS_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use axum::http::StatusCode;

    #[test]
    fn each_who_asks_has_one_place_and_strangers_leave_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let questions = Questions::new();
            // Who waits goes on waiting as long as what it waits by is held.
            let ask = |asker| {
                let mut place = Box::pin(questions.place(asker));
                let first = place.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                (first, place)
            };
            let network = |number| Asker::Network(Network(number));
            let mut held = Vec::new();
            for asker in (0..4).map(network).chain([Asker::Account(1)]) {
                held.push(questions.place(asker).await.unwrap());
            }
            assert!(ask(network(4)).0.is_pending(), "strangers have four");
            for (asker, most) in [(Asker::Account(1), OF_ACCOUNT_MAX), (network(0), OF_NETWORK_MAX)]
            {
                let waiting: Vec<_> = (1..most).map(|_| ask(asker)).collect();
                assert!(waiting.iter().all(|(first, _)| first.is_pending()));
                let Poll::Ready(Err(refused)) = ask(asker).0 else { panic!("one too many waits") };
                assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
            }
            held.push(questions.place(Asker::Account(2)).await.unwrap());
            assert!(ask(Asker::Badges).0.is_pending(), "there are six");
            held.pop();
            assert!(ask(Asker::Badges).0.is_ready());
        });
    }
}
