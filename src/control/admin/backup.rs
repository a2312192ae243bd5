//! `GET /backup` at the control socket: a copy of all that cannot be made anew ([`backup`]), as it is written.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::sync::mpsc::channel;
use tokio::task::spawn_blocking;

use super::socket::refused;
use crate::aggregator::Query;
use crate::control::accounts::Accounts;
use crate::control::backup;
use crate::control::pieces::{Pieces, Writer};

/// What is copied.
pub(super) struct Originals {
    pub(super) data_dir: PathBuf,
    pub(super) query: Query,
    pub(super) accounts: Accounts,
}

pub(super) fn routes(originals: Originals) -> Router {
    Router::new().route("/backup", get(copy)).with_state(Arc::new(originals))
}

async fn copy(State(at): State<Arc<Originals>>) -> Response {
    let unavailable = |words: &str| refused(StatusCode::SERVICE_UNAVAILABLE, words);
    let database = match at.accounts.run(|store| store.copy()).await {
        Ok(database) => database,
        Err(error) => return unavailable(&error.to_string()),
    };
    let query = at.query.clone();
    let counts = match spawn_blocking(move || query.kept()).await {
        Ok(Ok(counts)) => counts,
        Ok(Err(error)) => return unavailable(&error.to_string()),
        Err(error) => return unavailable(&error.to_string()),
    };
    let (sender, receiver) = channel(PIECES_WAITING_MAX);
    spawn_blocking(move || {
        let out = std::io::BufWriter::with_capacity(PIECE_BYTES, Writer(sender.clone()));
        if let Err(error) = backup::write(&at.data_dir, &counts, Some(&database), out) {
            // Who asked may have gone.
            let _ = sender.blocking_send(Err(error));
        }
    });
    Body::new(Pieces(receiver)).into_response()
}

/// Pieces that are read ahead of who takes them.
const PIECES_WAITING_MAX: usize = 4;
const PIECE_BYTES: usize = 64 * 1024;
