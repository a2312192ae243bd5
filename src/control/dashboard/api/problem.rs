//! What went wrong, for programs (RFC 9457).

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any};
use serde::Serialize;
use utoipa::ToSchema;

use crate::control::accounts::StoreError;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::trouble::Trouble;
use crate::pure::access::Role;
use crate::pure::config::made::Wrong;

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
    /// Which fields of the body are wrong, where that is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

/// What is wrong with a field.
#[derive(Serialize, ToSchema)]
pub(super) struct FieldError {
    /// Its name.
    field: String,
    /// What is wrong, and what is allowed.
    detail: String,
}

impl From<Wrong> for FieldError {
    fn from(Wrong { field, what, .. }: Wrong) -> Self {
        Self { field, detail: what }
    }
}

/// The body that a program sends, to be looked at once it is known that it may send one.
pub(super) type Sent<T> = Result<Json<T>, JsonRejection>;

impl Problem {
    /// What was sent is not understood: why, and what is.
    pub(super) fn refused(why: String) -> Self {
        Self(Trouble::refused(why))
    }
}

/// What the body says.
///
/// # Errors
/// Where it is no JSON, or not of this shape, or too long.
pub(super) fn read<T>(sent: Sent<T>) -> Result<T, Problem> {
    sent.map(|Json(body)| body)
        .map_err(|error| Problem(Trouble::unreadable(error.status(), format!("{error}."))))
}

/// The role of this name.
pub(super) fn role(word: &str) -> Result<Role, Problem> {
    Role::of(word).ok_or_else(|| Problem::refused("role: is `member` or `admin`.".to_owned()))
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
        let Trouble { status, what, why, retry_s, wrong, .. } = self.0;
        let errors = wrong.into_iter().map(FieldError::from).collect();
        let body = ProblemBody { status: status.as_u16(), title: what, detail: why, errors };
        let mut response = (status, Json(body)).into_response();
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        if let Some(seconds) = retry_s {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// What the router says by itself, as a problem.
pub(super) async fn of_router(response: Response) -> Response {
    let wrong_method = || {
        let why = "This method is not for this address: `Allow` says which are.";
        Trouble::new(StatusCode::METHOD_NOT_ALLOWED, "Not done here", why)
    };
    let Some(trouble) = Trouble::of_router(&response, wrong_method) else { return response };
    let (mut head, _) = response.into_parts();
    let (said, body) = Problem(trouble).into_response().into_parts();
    head.headers.remove(CONTENT_LENGTH);
    head.headers.extend(said.headers);
    Response::from_parts(head, body)
}

/// What is answered where there is nothing.
pub(super) fn no_such() -> MethodRouter<Dashboard> {
    any(async || Problem(Trouble::absent()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_now_says_when_to_come_again() {
        let told = |trouble: Trouble| {
            let response = Problem(trouble).into_response();
            let seconds = response.headers().get(RETRY_AFTER);
            seconds.map(|seconds| seconds.to_str().unwrap().to_owned())
        };
        assert_eq!(told(StoreError::Stopped.into()).as_deref(), Some("5"));
        assert_eq!(told(Trouble::busy("All of it.")).as_deref(), Some("5"));
        assert_eq!(told(Trouble::too_often(77)).as_deref(), Some("77"));
        assert_eq!(told(Trouble::absent()), None);
    }
}
