//! Questions about the counts, so many at once: each in a thread that may wait for its answer.

use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::trouble::Trouble;
use crate::aggregator::{Query, QueryError};

/// What `ask` makes of the counts, as soon as there is a place for it.
///
/// # Errors
/// That it cannot be asked for, that there is no place, or that the counts cannot be read now.
pub(super) async fn counted<T: Send + 'static>(
    query: &Query,
    ask: impl FnOnce(&Query) -> Result<T, QueryError> + Send + 'static,
) -> Result<T, Trouble> {
    let Ok(Ok(place)) = timeout(PLACE_PATIENCE, PLACES.acquire()).await else {
        let why = "Too many questions are asked about the counts at once. Try again in a moment.";
        return Err(Trouble::busy(why));
    };
    let query = query.clone();
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
            Err(Trouble::new(StatusCode::SERVICE_UNAVAILABLE, "Not available", why))
        }
        Err(error) => Err(Trouble::failed(&error)),
    }
}

/// Questions that are answered at once, by pages, downloads, badges and programs together: each has a
/// thread and holds up to [`ROWS_MAX`] rows, of about 300 bytes.
static PLACES: Semaphore = Semaphore::const_new(6);
/// How long somebody waits for a place.
const PLACE_PATIENCE: Duration = Duration::from_secs(5);
/// Rows of one answer, beside one for each package.
pub(super) const ROWS_MAX: usize = 100_000;
