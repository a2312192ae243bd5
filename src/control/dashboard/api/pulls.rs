//! `GET /api/v1/pulls`

use axum::extract::{Query as Params, State};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::response::Response;

use super::caller::Caller;
use super::counts::Counts;
use super::problem::Problem;
use super::refusal::{Absent, Refusal, TooMany, Unchanged};
use super::tagged::tagged;
use crate::aggregator::{Ask, By};
use crate::control::admin::socket::ask;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::counted::{Asker, counted};
use crate::control::dashboard::sign_in::Network;
use crate::control::dashboard::trouble::Trouble;
use crate::control::dashboard::viewer::Viewer;
use crate::pure::access::Action;

/// The counts of the packages that the caller may see, as `pullgate pulls --json` prints them: `from`,
/// `to`, `rows` (each with its package, what it is grouped by, and the counts) and `totals`. Of a package
/// that is public everybody may ask with `public=true`, without a token: then `monthly_companies` and
/// `public_days` are 0, and of places all counts but `pulls`.
#[utoipa::path(
    get,
    path = "/api/v1/pulls",
    tag = "pulls",
    params(
        ("package" = Option<String>, Query, description = "Only this package, `<domain>/<name>`"),
        ("by" = Option<Vec<String>>, Query, description = told_apart()),
        ("only" = Option<Vec<String>>, Query, description = "Only what has this value, as `tag=latest`. May be repeated"),
        ("from" = Option<String>, Query, description = "From this time on (RFC 3339)"),
        ("to" = Option<String>, Query, description = "Up to, but not including, this time"),
        ("top" = Option<usize>, Query, description = "Only so many rows, and the rest together"),
        ("compare" = Option<bool>, Query, description = "Whether each row also has the period before"),
        ("public" = Option<bool>, Query, description = "Only what may be shown in public: no companies, and of places the pulls alone"),
    ),
    responses(
        (status = 200, body = Counts),
        Refusal, Absent, TooMany, Unchanged
    )
)]
pub(super) async fn pulls(
    State(at): State<Dashboard>,
    caller: Result<Caller, Problem>,
    network: Network,
    params: Params<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // Who sends a token that is none is told so, whatever they ask.
    let caller = match caller {
        Err(unknown) if headers.contains_key(AUTHORIZATION) => return Err(unknown),
        caller => caller,
    };
    let asked = ask(&params.0).map_err(Problem::refused);
    let public_package = match &asked {
        Ok(Ask { package: Some(package), public: true, .. }) => Some(package.clone()),
        Ok(_) | Err(_) => None,
    };
    let is_public = match public_package {
        Some(package) => at.is_public(&package).await?,
        None => false,
    };
    let (asker, ask, viewer) = if is_public {
        (Asker::Network(network), asked?, None)
    } else {
        let Caller { who, viewer } = caller?;
        let (ask, viewer) = of_people(viewer, asked?)?;
        (Asker::Account(who.account), ask, viewer)
    };
    let answer = counted(&at, asker, move |query| match viewer {
        None => query.rows(&ask),
        // What others' packages come to is no matter of who asks, not even how much it is.
        Some(viewer) => query.rows_seen(&ask, |name| viewer.may_package(Action::See, name, false)),
    })
    .await?;
    tagged(&headers, &answer)
}

/// What rows are told apart by, in words: whatever is taken.
fn told_apart() -> String {
    let words = By::EVERY.map(By::as_str).join(", ");
    format!("What rows are told apart by: {words}. May be repeated")
}

/// The question, if this viewer may ask it; and the viewer where it is about more than they may see.
fn of_people(viewer: Viewer, ask: Ask) -> Result<(Ask, Option<Viewer>), Problem> {
    match &ask.package {
        Some(package) if viewer.may_package(Action::See, package, false) => Ok((ask, None)),
        Some(_) => Err(Problem(Trouble::absent())),
        None => Ok((ask, Some(viewer))),
    }
}
