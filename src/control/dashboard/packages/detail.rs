//! `/packages/<domain>/<name>`: all that is known of one package's pulls.

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query as Params, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use jiff::Timestamp;

use super::contents::{Chosen, Counts, chosen, counts, pull_command};
use super::figures::Audience;
use super::view::View;
use super::{Asker, counted, is_there};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::address::address;
use crate::control::dashboard::badges::{Code, codes};
use crate::control::dashboard::page::{Frame, shown};
use crate::control::dashboard::settled::Settled;
use crate::control::dashboard::trouble::Trouble;
use crate::control::dashboard::viewer::Signed;
use crate::pure::access::Action;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new().route("/packages/{*package}", get(detail))
}

#[derive(Template)]
#[template(path = "package.html")]
struct DetailPage {
    frame: Frame,
    /// What people type to pull it.
    pull_command: String,
    /// Where only the same is shown, without any choice.
    path: String,
    live: String,
    downloads: Option<String>,
    chosen: Chosen,
    counts: Counts,
    /// None where they are off.
    badges: Vec<Code>,
    may_configure: bool,
    /// Where it is seen what is written of it.
    settings: String,
    /// What its people say of it.
    description: String,
    /// Where badges are switched on and off.
    badges_switch: String,
    is_public: bool,
    is_public_by_file: bool,
    /// Where everybody sees it, if it is.
    public_page: String,
    /// Where it is made so.
    public_switch: String,
    /// The way to its first pull.
    first_pull: String,
    /// Where one says who is told of it.
    alerts_page: String,
}

async fn detail(
    State(at): State<Dashboard>,
    signed: Signed,
    Path(package): Path<String>,
    params: Params<Vec<(String, String)>>,
) -> Result<Response, Trouble> {
    if !signed.may_package(Action::See, &package, false) {
        return Err(Trouble::absent());
    }
    let asker = Asker::Account(signed.who.account);
    is_there(&at, asker, &package).await?;
    let now = Timestamp::now();
    let view = View::of(&params.0, now).map_err(Trouble::refused)?;
    let (path, name, asked) = (address("packages", &package), package.clone(), view.clone());
    let found = {
        let path = path.clone();
        let audience = Audience::People;
        counted(&at, asker, move |query| counts(query, &name, &path, &asked, now, audience)).await?
    };
    let is_public = at.is_public(&package).await?;
    let may_configure = signed.may_package(Action::Configure, &package, false);
    let off = at.accounts.run(|store| store.badges_off()).await?;
    let badges = match off.contains(&package) {
        true => Vec::new(),
        false => codes(signed.origin(), |about| at.badges.id(&signed.owners, &package, about)),
    };
    let written = Settled::of(&at, &signed, &package).await.map(|settled| settled.written);
    let description = written.map(|written| written.description).unwrap_or_default();
    let page = DetailPage {
        settings: address("settings/package", &package),
        description,
        badges,
        may_configure,
        badges_switch: address("settings/badges", &package),
        is_public,
        is_public_by_file: at.is_public_by_file(&package),
        public_page: address("public", &package),
        public_switch: address("settings/public", &package),
        first_pull: address("first-pull", &package),
        alerts_page: address("alerts", &package),
        frame: signed.frame(&package),
        pull_command: pull_command(&package),
        live: address("live", &package),
        downloads: Some(address("download", &package)),
        chosen: chosen(&path, &view),
        path,
        counts: found,
    };
    Ok(shown(StatusCode::OK, &page))
}
