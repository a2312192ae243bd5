//! The counts as people look at them: all packages, one package, what is shown there to take along,
//! and each pull as it happens. Everything is asked of [`crate::aggregator::Query`], in a thread that
//! may wait for it.

mod contents;
mod detail;
mod download;
mod figures;
mod list;
mod live;
mod public;
mod series;
mod view;

pub(super) use public::public_turn;

use axum::Router;
use axum::http::StatusCode;

use super::Dashboard;
use super::trouble::Trouble;
use crate::aggregator::{Query, QueryError};

pub(super) fn routes() -> Router<Dashboard> {
    list::routes()
        .merge(detail::routes())
        .merge(download::routes())
        .merge(live::routes())
        .merge(public::routes())
}

/// What `ask` makes of the counts.
async fn counted<T: Send + 'static>(
    query: &Query,
    ask: impl FnOnce(&Query) -> Result<T, QueryError> + Send + 'static,
) -> Result<T, Trouble> {
    let query = query.clone();
    match tokio::task::spawn_blocking(move || ask(&query)).await {
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
