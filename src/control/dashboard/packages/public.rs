//! `/public/<domain>/<name>`: what everybody sees of a package whose admin has made it public, and where
//! that is done. One that is not public is absent to whoever may not see it anyway.

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query as Params, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use jiff::Timestamp;

use super::contents::{Chosen, Counts, chosen, counts, pull_command};
use super::figures::Audience;
use super::view::View;
use super::{Asker, counted, is_there};
use crate::control::accounts::now_s;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::address::address;
use crate::control::dashboard::form::Fields;
use crate::control::dashboard::page::{Frame, shown};
use crate::control::dashboard::place::Named;
use crate::control::dashboard::sign_in::Network;
use crate::control::dashboard::trouble::Trouble;
use crate::control::dashboard::viewer::{Signed, Viewer};
use crate::pure::access::Action;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/public/{*package}", get(public))
        .route("/settings/public/{*package}", post(switch))
}

#[derive(Template)]
#[template(path = "public.html")]
struct PublicPage {
    frame: Frame,
    /// Whether everybody sees it, or only its people, who look at what everybody would.
    is_public: bool,
    pull_command: String,
    /// Where only the same is shown, without any choice.
    path: String,
    /// Where what is shown is downloaded.
    downloads: Option<String>,
    chosen: Chosen,
    counts: Counts,
}

/// That they may see what everybody may of a package; whether everybody does.
///
/// # Errors
/// [`Trouble::absent`] for who may not.
pub(super) async fn glimpsed(
    at: &Dashboard,
    viewer: &Viewer,
    package: &str,
) -> Result<bool, Trouble> {
    let is_public = at.is_public(package).await?;
    match viewer.may_package(Action::Glimpse, package, is_public) {
        true => Ok(is_public),
        false => Err(Trouble::absent()),
    }
}

async fn public(
    State(at): State<Dashboard>,
    viewer: Viewer,
    network: Network,
    Path(package): Path<String>,
    params: Params<Vec<(String, String)>>,
) -> Result<Response, Trouble> {
    let is_public = glimpsed(&at, &viewer, &package).await?;
    let asker = Asker::Network(network);
    is_there(&at, asker, &package).await?;
    let now = Timestamp::now();
    let view = View::of(&params.0, now).map_err(Trouble::refused)?;
    let (path, name, asked) = (address("public", &package), package.clone(), view.clone());
    let found = {
        let (path, audience) = (path.clone(), Audience::Everybody);
        counted(&at, asker, move |query| counts(query, &name, &path, &asked, now, audience)).await?
    };
    // The same for everybody, so that it can be kept.
    let page = PublicPage {
        frame: Frame::bare(&package),
        is_public,
        pull_command: pull_command(&package),
        downloads: Some(address("public-download", &package)),
        chosen: chosen(&path, &view),
        path,
        counts: found,
    };
    let page = shown(StatusCode::OK, &page);
    Ok(match is_public {
        true => ([(CACHE_CONTROL, KEPT)], page).into_response(),
        false => page,
    })
}

/// That it is not an admin's to make a package private.
pub(in crate::control::dashboard) fn by_file() -> Trouble {
    let why = "The configuration file makes this package public (`public` in its [[packages]]). Only there \
               it is made private.";
    Trouble::new(StatusCode::CONFLICT, "The file says so", why)
}

/// Makes a package public, or not any more.
async fn switch(
    State(at): State<Dashboard>,
    signed: Signed,
    Path(package): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let named = Named::find(&at, &signed, Action::Configure, "", &package).await?;
    let is_public = match fields.text("public") {
        "on" => true,
        "off" => false,
        _ => return Err(Trouble::refused("A package is made public by `on`, or not by `off`.")),
    };
    if !is_public && at.is_public_by_file(&package) {
        return Err(by_file());
    }
    let Named { place, right, .. } = named;
    at.accounts
        .run_by(right, move |store, by| store.publish(by, &place, is_public, now_s()))
        .await?;
    let back = format!("{}#public", address("packages", &package));
    Ok(Redirect::to(&back).into_response())
}

/// A minute: what is shown is counts.
pub(super) const KEPT: &str = "public, max-age=60";
