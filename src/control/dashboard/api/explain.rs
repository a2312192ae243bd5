//! `GET /api/v1/explain`

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::{Asked, Caller};
use super::problem::Problem;
use super::refusal::{Forbidden, Refusal, Unchanged};
use super::tagged::tagged;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::trouble::Trouble;
use crate::pure::access::Action;

/// How it would be answered.
#[derive(Serialize, ToSchema)]
pub(super) struct Steps {
    /// Step by step, in words.
    steps: Vec<String>,
}

/// How the gateway would answer a request, and why. For people of the organisation that runs it.
#[utoipa::path(
    get, path = "/api/v1/explain", tag = "packages", params(Asked),
    responses(
        (status = 200, body = Steps),
        Refusal, Forbidden, Unchanged
    )
)]
pub(super) async fn explain(
    State(at): State<Dashboard>,
    caller: Caller,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if !caller.viewer.may_gateway(Action::See) {
        return Err(Problem(Trouble::forbidden()));
    }
    let steps = at.in_force.explain(&asked.url, &asked.user_agent).map_err(Problem::refused)?;
    tagged(&headers, &Steps { steps })
}
