//! `GET /api/v1/pulls`

use axum::extract::{Query as Params, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;

use super::caller::Caller;
use super::problem::{Problem, ProblemBody};
use super::tagged::tagged;
use crate::aggregator::QueryError;
use crate::control::admin::socket::ask;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::trouble::Trouble;
use crate::pure::access::Action;

/// The counts of the packages that the caller may see, as `pullgate pulls --json` prints them: `from`,
/// `to`, `rows` (each with its package, what it is grouped by, and the counts) and `totals`.
#[utoipa::path(
    get,
    path = "/api/v1/pulls",
    tag = "pulls",
    params(
        ("package" = String, Query, description = "This package, `<domain>/<name>`"),
        ("by" = Option<Vec<String>>, Query, description = "What rows are told apart by: tag, client, family, os, arch, platform, image_platform, delivery, country, region, city, network, company, kind, cloud, cloud_region, label, minute, hour, day. May be repeated"),
        ("only" = Option<Vec<String>>, Query, description = "Only what has this value, as `tag=latest`. May be repeated"),
        ("from" = Option<String>, Query, description = "From this time on (RFC 3339)"),
        ("to" = Option<String>, Query, description = "Up to, but not including, this time"),
        ("top" = Option<usize>, Query, description = "Only so many rows, and the rest together"),
        ("compare" = Option<bool>, Query, description = "Whether each row also has the period before"),
        ("public" = Option<bool>, Query, description = "Only what may be shown in public"),
    ),
    responses(
        (status = 200, body = serde_json::Value),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn pulls(
    State(at): State<Dashboard>,
    caller: Caller,
    params: Params<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let ask = ask(&params.0).map_err(|words| Problem(Trouble::refused(words)))?;
    // Of all packages at once the totals would be of others' too.
    let Some(package) = &ask.package else {
        let why = "package: is missing; a GET of /api/v1/packages lists those that there are.";
        return Err(Problem(Trouble::refused(why)));
    };
    if !caller.viewer.may_package(Action::See, package, false) {
        return Err(Problem(Trouble::absent()));
    }
    let query = at.query.clone();
    let answer = tokio::task::spawn_blocking(move || query.rows(&ask)).await;
    match answer {
        Ok(Ok(answer)) => tagged(&headers, &answer),
        Ok(Err(error @ QueryError::Question(_))) => {
            Err(Problem(Trouble::refused(error.to_string())))
        }
        Ok(Err(error @ (QueryError::Unavailable(_) | QueryError::Stopped))) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Err(Problem(Trouble::new(status, "Not available", error.to_string())))
        }
        Err(error) => Err(Problem(Trouble::failed(&error))),
    }
}
