//! `POST /api/v1/package/first-pull`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::{Caller, Place};
use super::problem::Problem;
use super::refusal::{Absent, Forbidden, Refusal, TooMany};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::first_pull::{checked, domain_of};
use crate::control::dashboard::whereabouts::records_for;
use crate::pure::doctor::Report;
use crate::pure::record::Record;

/// Where the domain of a package leads.
#[derive(Serialize, ToSchema)]
pub(super) struct Looked {
    /// Whether it leads here, and nothing has to be changed.
    leads_here: bool,
    /// What was found, a line each.
    found: Vec<Line>,
    /// The DNS records that lead it here; none where the gateway cannot know which do.
    records: Vec<AddedRecord>,
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
    let records = domain_of(&package).map(|domain| records_for(&at, &domain)).unwrap_or_default();
    let records = records.into_iter().map(AddedRecord::from).collect();
    Ok(Json(Looked { leads_here: is_well, found, records }).into_response())
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
