//! `GET /api/v1/live`

use axum::extract::State;
use axum::response::Response;

use super::caller::{Caller, Place};
use super::problem::Problem;
use super::refusal::{Absent, Refusal};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::packages::live::stream;

/// Each pull of the package, or of all that the caller may see, as soon as it is counted, as server-sent events:
/// `event: pull`, whose `data` is JSON with `package`, `tag`, `client`, `version` and `platform`. Who reads too slowly misses some. It ends after ten minutes, or within
/// two seconds once the token has ended or its account may not see all of that any more; lines that begin with `:`
/// say that it goes on. Eight at once for an account, and 64 in all, pages that listen among them (503).
#[utoipa::path(
    get, path = "/api/v1/live", tag = "pulls", params(Place),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        Refusal, Absent
    )
)]
pub(super) async fn live(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
) -> Result<Response, Problem> {
    if !place.organisation.is_empty() {
        let why = "organisation: pulls are told of one package, or of all that you may see.";
        return Err(Problem::refused(why.to_owned()));
    }
    let package = Some(place.package).filter(|package| !package.is_empty());
    Ok(stream(at, caller.viewer, caller.who.account, package).await?)
}
