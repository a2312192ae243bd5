//! `/api/v1/settings`: what an admin of a package switches on and off.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Place};
use super::problem::{Problem, Sent, read};
use super::refusal::{Absent, Forbidden, InTheWay, Refusal, Stale, TooLong, Unchanged};
use super::tagged::{Meant, tagged};
use crate::control::accounts::audit::Actor;
use crate::control::accounts::{Store, StoreError, now_s};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::packages;
use crate::pure::access::Action;

/// What is switched on and off of a package.
#[derive(Serialize, ToSchema)]
pub(super) struct Settings {
    /// `<domain>/<name>`, as counts know it.
    #[schema(example = "registry.acme.com/acme/rocket")]
    package: String,
    /// Whether everybody sees what the privacy threshold allows.
    public: bool,
    /// Whether it has badges.
    badges: bool,
}

/// What is to be changed of them; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedSettings {
    /// Whether everybody sees what the privacy threshold allows.
    public: Option<bool>,
    /// Whether it has badges.
    badges: Option<bool>,
}

/// What is switched on and off of the package.
#[utoipa::path(
    get, path = "/api/v1/settings", tag = "packages", params(Place),
    responses(
        (status = 200, body = Settings),
        Refusal, Absent, Unchanged
    )
)]
pub(super) async fn one(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let package = caller.find(&at, Action::See, &place.package()?).await?.package;
    let by_file = at.is_public_by_file(&package);
    let read = move |store: &mut Store| Settings::read(store, &package, by_file);
    tagged(&headers, &at.accounts.run(read).await?)
}

/// Switches something of the package on or off.
#[utoipa::path(
    put, path = "/api/v1/settings", tag = "packages",
    params(Place, ("If-Match" = String, Header, description = "The ETag of the settings")),
    request_body = WantedSettings,
    responses(
        (status = 200, body = Settings),
        Refusal, Absent, Forbidden, InTheWay, Stale, TooLong
    )
)]
pub(super) async fn change(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    headers: HeaderMap,
    wanted: Sent<WantedSettings>,
) -> Result<Response, Problem> {
    caller.writes()?;
    let named = caller.find(&at, Action::Configure, &place.package()?).await?;
    let (wanted, meant) = (read(wanted)?, Meant::of(&headers)?);
    let by_file = at.is_public_by_file(&named.package);
    if wanted.public == Some(false) && by_file {
        return Err(Problem(packages::by_file()));
    }
    let (place, package) = (named.place, named.package);
    let change = move |store: &mut Store, by: &Actor| {
        meant.is(&Settings::read(store, &package, by_file)?)?;
        if let Some(is_public) = wanted.public {
            store.publish(by, &place, is_public, now_s())?;
        }
        if let Some(is_on) = wanted.badges {
            store.switch_badges(by, place.organisation(), &package, is_on, now_s())?;
        }
        Settings::read(store, &package, by_file)
    };
    let changed = at.accounts.run_by(named.right, change).await?;
    at.badges.forget().await;
    tagged(&HeaderMap::new(), &changed)
}

impl Settings {
    /// Those of a package that there is; the configuration file makes it public, or not.
    fn read(store: &Store, package: &str, by_file: bool) -> Result<Self, StoreError> {
        let public = by_file || store.is_public(package)?;
        Ok(Self { package: package.to_owned(), public, badges: store.has_badges(package)? })
    }
}
