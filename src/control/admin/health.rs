//! `/healthz`: the process runs. `/readyz`: it wants requests.

use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

use crate::control::status::{Phase, Status};

pub(super) fn routes(status: Arc<Status>) -> Router {
    Router::new()
        .route("/healthz", get("ok\n"))
        .route("/readyz", get(async move || readiness(status.phase())))
}

/// A store that fails is no reason to send pulls elsewhere: they are answered all the same.
fn readiness(phase: Phase) -> (StatusCode, &'static str) {
    match phase {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Serving => (StatusCode::OK, "ready\n"),
        Phase::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    }
}
