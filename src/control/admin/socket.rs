//! The control socket: the command line's questions to a running gateway.
//!
//! `GET /pulls?package=<domain>/<name>&by=tag&by=day&only=tag=latest&from=<RFC 3339>&to=<RFC 3339>
//! &top=10&compare=true`, all optional, is answered with the JSON object that `pullgate pulls --json`
//! prints; `GET /export`, with the same but `top`, `compare` and `public`, with a JSON object on each
//! line: `{"rows": […], "done": packages, "of": packages}` for each portion, and at last `{"end": true}`
//! or `{"error": "<words>"}`. `POST /amend` of an [`Amendment`] is answered with `{}` once that is on
//! disk. What makes no sense is answered with 400 and `{"error": "<words>"}`.

use std::io;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Query as Params, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper::body::Bytes;
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::{JoinError, spawn_blocking};

use crate::aggregator::{Amendment, Ask, Export, Portion, Query, QueryError};
use crate::control::pieces::Pieces;
use crate::pure::limits::HISTORY_BYTES_MAX;

pub(super) fn routes(query: Query) -> Router {
    Router::new()
        .route("/pulls", get(pulls))
        .route("/export", get(export))
        .route("/amend", post(amend).layer(DefaultBodyLimit::max(HISTORY_BYTES_MAX)))
        .with_state(query)
}

/// The query reads the store's memory and its disk: a thread of its own for each.
async fn pulls(State(query): State<Query>, params: Params<Vec<(String, String)>>) -> Response {
    let ask = match ask(&params.0) {
        Ok(ask) => ask,
        Err(words) => return refused(StatusCode::BAD_REQUEST, &words),
    };
    answered(spawn_blocking(move || query.rows(&ask)).await)
}

/// A thread of its own reads, no faster than the rows are taken.
async fn export(State(query): State<Query>, params: Params<Vec<(String, String)>>) -> Response {
    let ask = match ask(&params.0) {
        Ok(ask) => ask,
        Err(words) => return refused(StatusCode::BAD_REQUEST, &words),
    };
    match spawn_blocking(move || Export::begin(query, ask)).await {
        Ok(Ok(export)) => {
            let (sender, receiver) = channel(PORTIONS_WAITING_MAX);
            spawn_blocking(move || send_all(export, &sender, line));
            Body::new(Pieces(receiver)).into_response()
        }
        outcome => answered(outcome.map(|begun| begun.map(|_| json!({})))),
    }
}

/// A portion, or how it ended, as a line.
fn line(portion: Result<Option<Portion>, QueryError>) -> io::Result<Bytes> {
    let line = match portion {
        Ok(Some(portion)) => serde_json::to_string(&portion),
        Ok(None) => Ok(json!({ "end": true }).to_string()),
        Err(error) => Ok(json!({ "error": error.to_string() }).to_string()),
    };
    let line = line.unwrap_or_else(|error| json!({ "error": error.to_string() }).to_string());
    Ok(Bytes::from(line + "\n"))
}

/// Sends what each portion is written as, and how it ended, for as long as somebody takes it.
pub(in crate::control) fn send_all<T>(
    mut export: Export,
    to: &Sender<T>,
    mut written: impl FnMut(Result<Option<Portion>, QueryError>) -> T,
) {
    loop {
        let portion = export.portion();
        let is_last = !matches!(portion, Ok(Some(_)));
        let is_gone = match to.try_send(written(portion)) {
            Ok(()) => false,
            Err(TrySendError::Closed(_)) => true,
            Err(TrySendError::Full(written)) => {
                // Whoever reads may take long, and the store is not to wait for that.
                export.rest();
                to.blocking_send(written).is_err()
            }
        };
        if is_last || is_gone {
            return;
        }
    }
}

/// Waits for the aggregator: a thread of its own too.
async fn amend(State(query): State<Query>, Json(amendment): Json<Amendment>) -> Response {
    let amend = move || query.amend(amendment).map(|()| json!({}));
    answered(spawn_blocking(amend).await)
}

fn answered(outcome: Result<Result<impl Serialize, QueryError>, JoinError>) -> Response {
    match outcome {
        Ok(Ok(answer)) => Json(answer).into_response(),
        Ok(Err(error @ QueryError::Question(_))) => {
            refused(StatusCode::BAD_REQUEST, &error.to_string())
        }
        Ok(Err(error @ (QueryError::Unavailable(_) | QueryError::Stopped))) => {
            refused(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())
        }
        Err(_) => refused(StatusCode::INTERNAL_SERVER_ERROR, "the query panicked: see the log"),
    }
}

pub(super) fn refused(status: StatusCode, words: &str) -> Response {
    (status, Json(json!({ "error": words }))).into_response()
}

/// What the parameters ask.
pub(in crate::control) fn ask(params: &[(String, String)]) -> Result<Ask, String> {
    let mut ask = Ask::default();
    for (key, value) in params {
        let wrong = |what: &dyn std::fmt::Display| format!("{key}={value}: {what}");
        match key.as_str() {
            "package" => ask.package = Some(value.clone()),
            "by" => ask.by.push(value.parse().map_err(|error| wrong(&error))?),
            "only" => ask.only.push(value.parse().map_err(|error| wrong(&error))?),
            "top" => ask.top = Some(value.parse().map_err(|error| wrong(&error))?),
            "public" => ask.public = value.parse().map_err(|error| wrong(&error))?,
            "compare" => ask.compare = value.parse().map_err(|error| wrong(&error))?,
            "from" => ask.from = Some(value.parse().map_err(|error| wrong(&error))?),
            "to" => ask.to = Some(value.parse().map_err(|error| wrong(&error))?),
            _ => {
                let words = "package, by, only, from, to, top, compare and public";
                return Err(format!("{key}: unknown; there are {words}"));
            }
        }
    }
    Ok(ask)
}

/// Portions of an export that are read ahead of who takes them.
pub(in crate::control) const PORTIONS_WAITING_MAX: usize = 2;
