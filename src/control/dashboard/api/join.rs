//! `/api/v1/join`: what an invitation is to, and taking it.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Key};
use super::problem::{Problem, Sent, read};
use super::refusal::{Absent, Forbidden, InTheWay, Refusal, TooLong, Unchanged};
use super::tagged::tagged;
use crate::control::accounts::invitations::{Guest, Invited};
use crate::control::accounts::now_s;
use crate::control::accounts::rights::Right;
use crate::control::dashboard::Dashboard;

/// An invitation that is taken.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Taken {
    /// What its link has behind `key=`.
    key: String,
}

/// What whoever takes the invitation has.
#[derive(Serialize, ToSchema)]
pub(super) struct Offer {
    /// The organisation, or the one whose package it is.
    #[schema(example = "acme")]
    organisation: String,
    /// The package, `<domain>/<name>`; null for the whole organisation.
    package: Option<String>,
    /// `member` or `admin`. Who has a higher role there keeps it.
    role: &'static str,
    /// Who invites.
    by: String,
}

/// What an invitation is to. 404 where it is none, was taken or withdrawn, or is too old.
#[utoipa::path(
    get, path = "/api/v1/join", tag = "people", params(Key),
    responses(
        (status = 200, body = Offer),
        Refusal, Absent, Unchanged
    )
)]
pub(super) async fn look(
    State(at): State<Dashboard>,
    _caller: Caller,
    Key { key }: Key,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let snapshot = at.in_force.snapshot();
    let invited = at.accounts.run(move |store| store.invited(&key, &snapshot.routes, now_s()));
    tagged(&headers, &Offer::from(invited.await?))
}

/// Takes an invitation for the token's account, which has the role from then on. The token reaches no further than
/// before. 404 as when it is looked at.
#[utoipa::path(
    post, path = "/api/v1/join", tag = "people", request_body = Taken,
    responses(
        (status = 200, body = Offer),
        Refusal, Absent, Forbidden, InTheWay, TooLong
    )
)]
pub(super) async fn join(
    State(at): State<Dashboard>,
    caller: Caller,
    wanted: Sent<Taken>,
) -> Result<Response, Problem> {
    caller.writes()?;
    let Taken { key } = read(wanted)?;
    let (guest, snapshot) = (Guest::Known(caller.who.account), at.in_force.snapshot());
    let taken = at.accounts.run_by(Right::own(caller.who), move |store, _| {
        let (_, invited) = store.accept(&key, guest, &snapshot.routes, now_s())?;
        Ok(invited)
    });
    Ok(Json(Offer::from(taken.await?)).into_response())
}

impl From<Invited> for Offer {
    fn from(invited: Invited) -> Self {
        let Invited { place, organisation, role, by, .. } = invited;
        let package = place.package().map(str::to_owned);
        Self { organisation, package, role: role.word(), by }
    }
}
