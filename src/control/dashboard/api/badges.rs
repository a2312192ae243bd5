//! `/api/v1/badges`: where the pictures of a package's numbers are, and whether there are any.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Place};
use super::problem::{Problem, Sent, read};
use super::refusal::{Absent, Forbidden, InTheWay, Refusal, Stale, TooLong};
use super::tagged::{Meant, tagged_by};
use crate::control::accounts::audit::Actor;
use crate::control::accounts::{Store, StoreError, now_s};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::badges::{Code, codes, switchable};
use crate::control::dashboard::trouble::Trouble;
use crate::pure::access::Action;

/// The badges of a package.
#[derive(Serialize, ToSchema)]
pub(super) struct Badges {
    /// `<domain>/<name>`, as counts know it.
    #[schema(example = "registry.acme.com/acme/rocket")]
    package: String,
    /// Whether it has any.
    on: bool,
    /// Each of them; none where they are off.
    badges: Vec<Badge>,
}

/// One badge. Who has its address sees it, without a token.
#[derive(Serialize, ToSchema)]
pub(super) struct Badge {
    /// `pulls`, `latest-month`, `companies` or `version`.
    badge: &'static str,
    /// What it says.
    about: &'static str,
    /// The picture.
    #[schema(example = "https://counts.acme.com/badges/…/pulls.svg")]
    svg: String,
    /// What shields.io draws one from.
    json: String,
    /// What to copy into a text in Markdown.
    markdown: String,
    /// The same in HTML.
    html: String,
    /// The same in reStructuredText.
    restructuredtext: String,
    /// The same in `AsciiDoc`.
    asciidoc: String,
}

/// Whether the package is to have badges.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedBadges {
    /// It is.
    on: bool,
}

/// What of them is changed here. Addresses are as whoever asks names the gateway.
#[derive(Serialize)]
struct Switch<'p> {
    package: &'p str,
    on: bool,
}

/// The badges of the package, and what to copy. Their addresses are others once its domain has another owner. Their
/// ETag says whether they are on.
#[utoipa::path(
    get, path = "/api/v1/badges", tag = "packages", params(Place),
    responses(
        (status = 200, body = Badges),
        Refusal, Absent
    )
)]
pub(super) async fn list(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
) -> Result<Response, Problem> {
    let package = place.package()?.package;
    if !caller.viewer.may_package(Action::See, &package, false) {
        return Err(Problem(Trouble::absent()));
    }
    let name = package.clone();
    let on = at.accounts.run(move |store| store.has_badges(&name)).await?;
    answer(&at, &caller, package, on)
}

/// Turns all badges of the package on or off, as `badges` of its settings does. Addresses stay.
#[utoipa::path(
    put, path = "/api/v1/badges", tag = "packages",
    params(Place, ("If-Match" = String, Header, description = "The ETag of the badges")),
    request_body = WantedBadges,
    responses(
        (status = 200, body = Badges),
        Refusal, Absent, Forbidden, InTheWay, Stale, TooLong
    )
)]
pub(super) async fn switch(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    headers: HeaderMap,
    wanted: Sent<WantedBadges>,
) -> Result<Response, Problem> {
    caller.writes()?;
    let package = place.package()?.package;
    let right = switchable(&at, &caller.viewer, &package)?;
    let (WantedBadges { on }, meant) = (read(wanted)?, Meant::of(&headers)?);
    let (name, owner) = (package.clone(), caller.viewer.owner_of(&package));
    let switch = move |store: &mut Store, by: &Actor| {
        meant.is(&Switch::read(store, &name)?)?;
        store.switch_badges(by, owner, &name, on, now_s())
    };
    at.accounts.run_by(right, switch).await?;
    at.badges.forget().await;
    answer(&at, &caller, package, on)
}

fn answer(at: &Dashboard, caller: &Caller, package: String, on: bool) -> Result<Response, Problem> {
    let id = |about| at.badges.id(&caller.viewer.owners, &package, about);
    let origin = caller.viewer.origin();
    let badges = match on {
        true => codes(origin, id).into_iter().map(|code| Badge::of(origin, code)).collect(),
        false => Vec::new(),
    };
    let badges = Badges { package, on, badges };
    tagged_by(&badges, &Switch { package: &badges.package, on })
}

impl<'p> Switch<'p> {
    fn read(store: &Store, package: &'p str) -> Result<Self, StoreError> {
        Ok(Self { package, on: store.has_badges(package)? })
    }
}

impl Badge {
    fn of(origin: &str, code: Code) -> Self {
        let Code { word, told, path, texts } = code;
        let [(_, markdown), (_, html), (_, restructuredtext), (_, asciidoc)] = texts;
        let svg = format!("{origin}{path}");
        let json = format!("{}.json", svg.trim_end_matches(".svg"));
        Self { badge: word, about: told, svg, json, markdown, html, restructuredtext, asciidoc }
    }
}
