//! `/api/v1/package`, and making one: what is written of a package.

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Confirmed, Left, People, Place};
use super::problem::{FieldError, Problem, Sent, read};
use super::refusal::{Absent, Forbidden, InTheWay, Refusal, Stale, TooLong, TooMany, Unchanged};
use super::tagged::{is_meant, tagged};
use crate::control::accounts::now_s;
use crate::control::accounts::packages::Package as Made;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::settled::{Settled, removable};
use crate::control::dashboard::trouble::Trouble;
use crate::control::dashboard::viewer::Viewer;
use crate::control::made::{Asker, Change};
use crate::pure::access::Action;
use crate::pure::config::made::Written;
use crate::pure::query::put_encoded;

/// A package, and what is written of it.
#[derive(Serialize, ToSchema)]
pub(super) struct Package {
    /// `<domain>/<name>`, as counts know it.
    #[schema(example = "registry.acme.com/acme/rocket")]
    package: String,
    /// Where it is written, and so changed: `file` or `dashboard`.
    source: &'static str,
    /// Whether it is served by what is written.
    served: bool,
    /// Why it is not.
    errors: Vec<FieldError>,
    /// What is written.
    written: WrittenPackage,
}

/// What is written of a package, in the words of the configuration file (`[[packages]]`).
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenPackage {
    /// The public host name; empty for the organisation's below the gateway's `shared_domain`.
    #[serde(default)]
    #[schema(example = "registry.acme.com")]
    domain: String,
    /// The name that clients pull; a last segment of `*` or `**` makes it a collection.
    #[schema(example = "acme/rocket")]
    name: String,
    /// Where it lives; several are asked in order.
    #[schema(example = json!(["ghcr.io/acme/rocket"]))]
    backends: Vec<String>,
    /// Whether the next backend is asked where one has no such thing.
    #[serde(default)]
    failover_on_404: bool,
    /// `auto`, `redirect`, `broker` or `stream`.
    #[serde(default = "auto")]
    #[schema(example = "auto")]
    delivery: String,
    /// `none`, `client`, or `registry`: the account that the gateway's configuration has for it.
    #[serde(default = "none")]
    #[schema(example = "none")]
    credentials: String,
    /// What the counts know it by, among those of its organisation: a package that has been counted by an id keeps
    /// its counts through a change of name. Empty for its domain and name.
    #[serde(default)]
    #[schema(example = "rocket")]
    id: String,
    /// For people.
    #[serde(default)]
    description: String,
}

/// What is written of the package.
#[utoipa::path(
    get, path = "/api/v1/package", tag = "packages", params(Place),
    responses(
        (status = 200, body = Package),
        Refusal, Absent, Unchanged
    )
)]
pub(super) async fn one(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = caller.find(&at, Action::See, &place.package()?).await?.package;
    tagged(&headers, &Package::from(Settled::of(&at, &caller.viewer, &name).await?))
}

/// Makes a package of the organisation. It is in force when this answers: at every worker.
#[utoipa::path(
    post, path = "/api/v1/packages", tag = "packages", params(Place, Left), request_body = WrittenPackage,
    responses(
        (status = 201, body = Package),
        Refusal, Absent, Forbidden, InTheWay, TooLong, TooMany
    )
)]
pub(super) async fn make(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    left: Left,
    wanted: Sent<WrittenPackage>,
) -> Result<Response, Problem> {
    caller.writes()?;
    let place = place.organisation()?;
    let organisation = caller.find(&at, Action::Configure, &place).await?.place.organisation();
    let written = read(wanted)?.into();
    let keeps = left.people.map(|people| people == People::Keep);
    let asker = Asker { who: caller.who, confirms: true, keeps };
    let change = Change::Make { organisation, written };
    let made = at.makers.put(asker, change, now_s()).await.map_err(Trouble::from)?;
    let name = made.package.map(|one| one.written.package()).unwrap_or_default();
    let mut response = answer(&at, &caller.viewer, &name).await?;
    *response.status_mut() = StatusCode::CREATED;
    let mut there = "/api/v1/package?package=".to_owned();
    put_encoded(&mut there, &name);
    if let Ok(there) = HeaderValue::from_str(&there) {
        response.headers_mut().insert(LOCATION, there);
    }
    Ok(response)
}

/// Changes what is written of a package that was made in the dashboard. It is in force when this answers.
#[utoipa::path(
    put, path = "/api/v1/package", tag = "packages",
    params(
        Place, Confirmed,
        ("If-Match" = String, Header, description = "The ETag of the package")
    ),
    request_body = WrittenPackage,
    responses(
        (status = 200, body = Package),
        Refusal, Absent, Forbidden, InTheWay, Stale, TooLong, TooMany
    )
)]
pub(super) async fn change(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    confirmed: Confirmed,
    headers: HeaderMap,
    wanted: Sent<WrittenPackage>,
) -> Result<Response, Problem> {
    caller.writes()?;
    let named = caller.find(&at, Action::Configure, &place.package()?).await?;
    let to = read(wanted)?.into();
    let from = meant(&at, &caller.viewer, &named.package, &headers).await?;
    let asker = Asker { who: caller.who, confirms: confirmed.confirm, keeps: None };
    let change = Change::Change { from, to };
    let made = at.makers.put(asker, change, now_s()).await.map_err(Trouble::from)?;
    let name = made.package.map(|one| one.written.package()).unwrap_or_default();
    answer(&at, &caller.viewer, &name).await
}

/// Removes a package that was made in the dashboard, for admins of its organisation: it is not served any more
/// when this answers. What was counted stays; roles on it alone, tokens, invitations and webhooks of it end, and
/// so does its public page. Where the configuration file has a package of its name, all of that is the file's
/// package's, and stays.
#[utoipa::path(
    delete, path = "/api/v1/package", tag = "packages",
    params(Place, ("If-Match" = String, Header, description = "The ETag of the package")),
    responses(
        (status = 204),
        Refusal, Absent, Forbidden, InTheWay, Stale, TooMany
    )
)]
pub(super) async fn remove(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    caller.writes()?;
    let named = caller.find(&at, Action::Configure, &place.package()?).await?;
    removable(&caller.viewer, &named.package)?;
    let package = meant(&at, &caller.viewer, &named.package, &headers).await?;
    let asker = Asker { who: caller.who, confirms: true, keeps: None };
    at.makers.put(asker, Change::Remove(package), now_s()).await.map_err(Trouble::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The package, if it is made in the dashboard and the caller means its present state.
async fn meant(
    at: &Dashboard,
    viewer: &Viewer,
    name: &str,
    headers: &HeaderMap,
) -> Result<Made, Problem> {
    let settled = Settled::of(at, viewer, name).await?;
    let made = settled.changeable()?;
    is_meant(headers, &Package::from(settled))?;
    Ok(made)
}

/// The package of this name, as it is now.
pub(super) async fn answer(
    at: &Dashboard,
    viewer: &Viewer,
    name: &str,
) -> Result<Response, Problem> {
    tagged(&HeaderMap::new(), &Package::from(Settled::of(at, viewer, name).await?))
}

impl From<Settled> for Package {
    fn from(Settled { name, made, written, wrong, .. }: Settled) -> Self {
        Self {
            package: name,
            source: if made.is_some() { "dashboard" } else { "file" },
            served: wrong.is_empty(),
            errors: wrong.into_iter().map(FieldError::from).collect(),
            written: written.into(),
        }
    }
}

impl From<WrittenPackage> for Written {
    fn from(package: WrittenPackage) -> Self {
        let WrittenPackage { domain, name, backends, failover_on_404, .. } = package;
        let WrittenPackage { delivery, credentials, id, description, .. } = package;
        Self { domain, name, backends, failover_on_404, delivery, credentials, id, description }
    }
}

impl From<Written> for WrittenPackage {
    fn from(written: Written) -> Self {
        let Written { domain, name, backends, failover_on_404, .. } = written;
        let Written { delivery, credentials, id, description, .. } = written;
        Self { domain, name, backends, failover_on_404, delivery, credentials, id, description }
    }
}

fn auto() -> String {
    "auto".to_owned()
}

fn none() -> String {
    "none".to_owned()
}
