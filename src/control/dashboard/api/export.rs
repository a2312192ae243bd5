//! `GET /api/v1/export`

use axum::extract::{Query as Params, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};

use super::caller::Caller;
use super::problem::Problem;
use super::refusal::{Absent, Refusal, TooMany};
use crate::aggregator::By;
use crate::control::admin::socket::ask;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::exported::exported;
use crate::control::dashboard::packages::{format_of, kind};
use crate::control::dashboard::trouble::Trouble;
use crate::pure::access::Action;
use crate::pure::export::Format;

/// All counts of the package, or of all packages that the caller may see, row by row as `pullgate export`
/// writes them. An answer that ends early was not whole: the gateway could not go on, or who asked may not see that
/// any more. Two at once for an account (429), eight in all (503).
#[utoipa::path(
    get,
    path = "/api/v1/export",
    tag = "pulls",
    params(
        ("package" = Option<String>, Query, description = "Only this package, `<domain>/<name>`"),
        ("by" = Option<Vec<String>>, Query, description = "What rows are told apart by, as in `pulls`; day and tag if left out. May be repeated"),
        ("only" = Option<Vec<String>>, Query, description = "Only what has this value, as `tag=latest`. May be repeated"),
        ("from" = Option<String>, Query, description = "From this time on (RFC 3339)"),
        ("to" = Option<String>, Query, description = "Up to, but not including, this time"),
        ("format" = Option<String>, Query, description = "`csv`, or `ndjson` if left out"),
    ),
    responses(
        (status = 200, description = "Row by row.", content(
            (String = "application/x-ndjson"),
            (String = "text/csv; charset=utf-8"),
        )),
        Refusal, Absent, TooMany
    )
)]
pub(super) async fn export(
    State(at): State<Dashboard>,
    caller: Caller,
    params: Params<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let (mut format, mut rest) = (Format::Ndjson, Vec::new());
    for (key, value) in params.0 {
        match key.as_str() {
            "format" => {
                format = format_of(&value).map_err(|words| Problem::refused(words.to_owned()))?;
            }
            _ => rest.push((key, value)),
        }
    }
    let mut ask = ask(&rest).map_err(Problem::refused)?;
    if ask.by.is_empty() {
        ask.by = vec![By::Day, By::Tag];
    }
    if let Some(package) = &ask.package
        && !caller.viewer.may_package(Action::See, package, false)
    {
        return Err(Problem(Trouble::absent()));
    }
    let (account, right) = (caller.who.account, caller.viewer.sight(ask.package.as_deref()));
    let seen = move |package: &str| caller.viewer.may_package(Action::See, package, false);
    let body = exported(&at, account, right, (ask, format), seen).await?;
    Ok(([(CONTENT_TYPE, kind(format))], body).into_response())
}
