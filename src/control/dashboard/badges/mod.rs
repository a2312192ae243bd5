//! `/badges/<id>/pulls.svg` and its like: for everybody who has the address, from memory. What they say
//! is a few minutes old at most; whoever asks while it is being renewed hears what was said just before.

mod board;
mod codes;
mod renewed;

use axum::Router;
use axum::extract::{Path, Query as Params, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderName, IF_NONE_MATCH,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};

use super::Dashboard;
use super::address::address;
use super::form::Fields;
use super::trouble::Trouble;
use super::viewer::{Signed, Viewer};
use crate::control::accounts::now_s;
use crate::control::accounts::rights::Right;
use crate::pure::access::Action;
use crate::pure::badge::Look;
use crate::pure::badge::figures::About;
use crate::pure::oci::sha256::sha256_of;

pub(super) use board::Badges;
pub(super) use codes::{Code, codes};

pub(super) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/badges/{id}/{file}", get(badge))
        .route("/settings/badges/{*package}", post(switch))
}

/// Turns a package's badges on or off.
async fn switch(
    State(at): State<Dashboard>,
    signed: Signed,
    Path(package): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let right = switchable(&at, &signed, &package)?;
    let is_on = match fields.text("badges") {
        "on" => true,
        "off" => false,
        _ => return Err(Trouble::refused("Badges are turned on or off.")),
    };
    let owner = signed.owner_of(&package);
    let back = format!("{}#badges", address("packages", &package));
    at.accounts
        .run_by(right, move |store, by| store.switch_badges(by, owner, &package, is_on, now_s()))
        .await?;
    at.badges.forget().await;
    Ok(Redirect::to(&back).into_response())
}

/// The right to turn a package's badges on or off.
///
/// # Errors
/// [`Trouble::absent`] for who may not see it, 403 for who may not change its settings.
pub(super) fn switchable(at: &Dashboard, viewer: &Viewer, package: &str) -> Result<Right, Trouble> {
    if !viewer.may_package(Action::See, package, false) {
        return Err(Trouble::absent());
    }
    if !viewer.may_package(Action::Configure, package, false) {
        let why =
            "Only an admin of this package, or of its organisation, turns its badges on or off.";
        return Err(Trouble::new(StatusCode::FORBIDDEN, "Not allowed", why));
    }
    Ok(viewer.right(Action::Configure, package).under(at.in_force.snapshot()))
}

async fn badge(
    State(at): State<Dashboard>,
    Path((id, file)): Path<(String, String)>,
    params: Params<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let known = file.split_once('.').and_then(|(word, kind)| {
        let about = About::EVERY.into_iter().find(|about| about.word() == word)?;
        Some((about, KINDS.iter().find(|(ending, _)| *ending == kind)?))
    });
    let Some((about, (ending, kind))) = known else {
        let words = "here are pulls, latest-month, companies and version, each .svg and .json\n";
        return (StatusCode::NOT_FOUND, words).into_response();
    };
    let mut look = Look::default();
    for (key, value) in &params.0 {
        look.take(key, value);
    }
    // Whether there is no such package, its badges are off, or nothing can be read now, is not told.
    let figures = at.badges.figures(&at, &id, about).await;
    let status = if figures.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
    let badge = about.badge(figures.as_deref(), look);
    let body = if *ending == "svg" { badge.svg() } else { badge.endpoint() };
    let digest = sha256_of(body.as_bytes());
    let etag = format!("\"{}\"", digest.get(7..23).unwrap_or_default());
    let keep = if figures.is_some() { KEPT } else { KEPT_SHORT };
    let said = [
        (CONTENT_TYPE, *kind),
        (CACHE_CONTROL, keep),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; img-src data:"),
        // Pages of others show it.
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin"),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    let sent = headers.get(IF_NONE_MATCH).and_then(|sent| sent.to_str().ok());
    let is_known = sent.is_some_and(|sent| sent.split(',').any(|one| one.trim() == etag));
    match is_known && status == StatusCode::OK {
        true => (StatusCode::NOT_MODIFIED, said, [(ETAG, etag)]).into_response(),
        false => (status, said, [(ETAG, etag)], body).into_response(),
    }
}

const KINDS: [(&str, &str); 2] =
    [("svg", "image/svg+xml; charset=utf-8"), ("json", "application/json")];
/// Five minutes: GitHub's image proxy keeps a picture for as long as this says.
const KEPT: &str = "public, max-age=300, s-maxage=300, must-revalidate";
const KEPT_SHORT: &str = "public, max-age=30";
