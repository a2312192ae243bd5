//! `/api/v1/package/first-pull`: the way to the first pull of a package.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::{Caller, Place};
use super::problem::Problem;
use super::refusal::{Absent, Forbidden, Refusal, TooMany, Unchanged};
use super::tagged::tagged;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::first_pull::{checked, seen};
use crate::control::dashboard::packages::pull_command;
use crate::control::dashboard::whereabouts::Way;
use crate::pure::doctor::Report;
use crate::pure::record::Record;

/// What has to be done before a package can be pulled, and how that is done then.
#[derive(Serialize, ToSchema)]
pub(super) struct Guide {
    /// Where it is pulled from; null where that may be any host.
    #[schema(example = "registry.acme.com")]
    domain: Option<String>,
    /// The DNS records that lead that to the gateway; none where it cannot know which do. Addresses are for who adds
    /// them.
    records: Vec<AddedRecord>,
    /// Whether there are records that are not for who asks, but for who adds them.
    is_withheld: bool,
    /// Who adds them: `domain`, whoever has the DNS of the domain, or `gateway`, who runs that, once for all
    /// organisations below its `shared_domain`.
    #[schema(example = "domain")]
    added_by: &'static str,
    /// What is typed.
    #[schema(example = "docker pull registry.acme.com/acme/rocket")]
    pull_command: String,
}

/// Where the domain of a package leads.
#[derive(Serialize, ToSchema)]
pub(super) struct Looked {
    /// Whether it leads here, and nothing has to be changed.
    leads_here: bool,
    /// What was found, a line each.
    found: Vec<Line>,
    /// The DNS records that lead it here; none where the gateway cannot know which do. Addresses are for who adds them.
    records: Vec<AddedRecord>,
    /// Whether there are records that are not for who asks, but for who adds them.
    is_withheld: bool,
    /// Who adds them, `domain` or `gateway`, as in `GET`.
    #[schema(example = "domain")]
    added_by: &'static str,
}

/// A DNS record to add.
#[derive(Serialize, ToSchema)]
pub(super) struct AddedRecord {
    /// Where it stands.
    #[schema(example = "registry.acme.com")]
    name: String,
    /// `CNAME`, `A` or `AAAA`.
    #[schema(example = "CNAME")]
    r#type: &'static str,
    /// What it says.
    #[schema(example = "counts.acme.com")]
    value: String,
}

/// Something that was found.
#[derive(Serialize, ToSchema)]
pub(super) struct Line {
    /// `ok`, `note`, or `change` where something has to be changed.
    #[schema(example = "ok")]
    says: String,
    /// What, and what to do.
    #[schema(example = "DNS: registry.acme.com is at 203.0.113.7")]
    detail: String,
}

/// The way to the first pull of a package: the DNS records that lead its domain here, and the command. For everybody
/// who may see the package; whether the domain leads here already is for others to look (`POST`).
#[utoipa::path(
    get, path = "/api/v1/package/first-pull", tag = "packages", params(Place),
    responses(
        (status = 200, body = Guide),
        Refusal, Absent, Unchanged
    )
)]
pub(super) async fn guide(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let package = place.package()?.package;
    seen(&at, &caller.viewer, &package)?;
    let (way, pull_command) = (Way::of(&at, &caller.viewer, &package), pull_command(&package));
    let Way { domain, records, is_withheld, shared } = way;
    let (records, added_by) = added(records, shared);
    tagged(&headers, &Guide { domain, records, is_withheld, added_by, pull_command })
}

/// Looks whether the package's domain leads here, as `pullgate doctor` does, for who may change its settings. Nothing
/// is changed. Of an account one look is under way and three wait (429), and eight are under way in all (503): looks
/// for the records of domains are among these.
#[utoipa::path(
    post, path = "/api/v1/package/first-pull", tag = "packages", params(Place),
    responses(
        (status = 200, body = Looked),
        Refusal, Absent, Forbidden, TooMany
    )
)]
pub(super) async fn look(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
) -> Result<Response, Problem> {
    caller.writes()?;
    let package = place.package()?.package;
    let Report { lines, is_well } = checked(&at, &caller.viewer, &caller.who, &package).await?;
    let found = lines.iter().map(|line| Line::from(line.as_str())).collect();
    let Way { records, is_withheld, shared, .. } = Way::of(&at, &caller.viewer, &package);
    let (records, added_by) = added(records, shared);
    Ok(Json(Looked { leads_here: is_well, found, records, is_withheld, added_by }).into_response())
}

/// What is to be added, and by whom.
fn added(records: Vec<Record>, shared: Option<String>) -> (Vec<AddedRecord>, &'static str) {
    let by = if shared.is_some() { "gateway" } else { "domain" };
    (records.into_iter().map(AddedRecord::from).collect(), by)
}

impl From<Record> for AddedRecord {
    fn from(Record { name, kind, value }: Record) -> Self {
        Self { name, r#type: kind, value }
    }
}

impl From<&str> for Line {
    fn from(line: &str) -> Self {
        let (says, detail) = line.split_once(' ').unwrap_or_default();
        Self { says: says.to_owned(), detail: detail.trim_start().to_owned() }
    }
}
