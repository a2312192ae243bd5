//! What went wrong, for programs (RFC 9457).

use axum::Json;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::accounts::StoreError;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::trouble::Trouble;

/// A [`Trouble`] that is told to a program.
pub(super) struct Problem(pub(super) Trouble);

/// As it is written.
#[derive(Serialize, ToSchema)]
pub(super) struct ProblemBody {
    /// The HTTP status.
    status: u16,
    /// What happened.
    title: String,
    /// Why, and what to do.
    detail: String,
}

impl From<Trouble> for Problem {
    fn from(trouble: Trouble) -> Self {
        Self(trouble)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Trouble { status, what, why, retry_s } = self.0;
        let body = ProblemBody { status: status.as_u16(), title: what, detail: why };
        let mut response = (status, Json(body)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        if let Some(seconds) = retry_s {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// What is answered where there is nothing.
pub(super) fn no_such() -> MethodRouter<Dashboard> {
    any(async || Problem(Trouble::absent()))
}
