//! `GET /api/v1/audit`

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, SchemaType, Type};

use super::caller::{Caller, Part, Place};
use super::problem::Problem;
use super::refusal::{Absent, Forbidden, Refusal, Unchanged};
use super::tagged::{List, Order, no_next, tagged};
use crate::control::accounts::audit;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::page::time;
use crate::pure::access::Action;

/// Something that was done.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(super) struct Entry {
    /// Its number.
    id: i64,
    /// When.
    at: String,
    /// Who did it.
    by: String,
    /// What, as `member.change`.
    deed: String,
    /// The package that it was done to, where it was one.
    package: Option<String>,
    /// What it was before.
    #[schema(schema_with = state_before)]
    before: Option<Value>,
    /// What it was then.
    #[schema(schema_with = state_after)]
    after: Option<Value>,
}

fn state_before() -> ObjectBuilder {
    state("What it was before: of each deed other fields. Null where there was nothing.")
}

fn state_after() -> ObjectBuilder {
    state("What it was then: of each deed other fields. Null where nothing is left.")
}

fn state(about: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(SchemaType::Array(vec![Type::Object, Type::Null]))
        .additional_properties(Some(AdditionalProperties::FreeForm(true)))
        .description(Some(about))
}

/// What was done to the organisation and its packages, or to the package: the newest first.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "audit", params(Place, Part),
    responses(
        (status = 200, body = List<Entry>),
        Refusal, Absent, Forbidden, Unchanged
    )
)]
pub(super) async fn list(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    part: Part,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = caller.find(&at, Action::Configure, &place).await?.place;
    let before = before(&part)?;
    let (many, limit) = (part.limit + 1, part.limit);
    let entries = at.accounts.run(move |store| store.audit(&place, before, many)).await?;
    listed(&headers, entries, limit)
}

/// So many of these, of which the store has left out what comes before.
pub(super) fn listed(
    headers: &HeaderMap,
    entries: Vec<audit::Entry>,
    limit: usize,
) -> Result<Response, Problem> {
    let shown = entries.into_iter().map(|one| Entry {
        id: one.id,
        at: time(one.at_s),
        by: one.login,
        deed: one.deed,
        package: one.package,
        before: one.before,
        after: one.after,
    });
    let from_here = Part { limit, after: String::new() };
    let shown = shown.collect();
    tagged(headers, &List::part(shown, &from_here, Order::Falling, |one: &Entry| one.id)?)
}

/// Before which entry the part begins that is asked for.
pub(super) fn before(part: &Part) -> Result<i64, Problem> {
    match part.after.as_str() {
        "" => Ok(i64::MAX),
        text => text.parse().map_err(|_| no_next()),
    }
}
