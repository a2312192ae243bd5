//! `POST /api/v1/join`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::problem::{Problem, Refusal, Sent, read};
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

/// What the account was invited to.
#[derive(Serialize, ToSchema)]
pub(super) struct Joined {
    /// The organisation, or the one whose package it is.
    #[schema(example = "acme")]
    organisation: String,
    /// The package, `<domain>/<name>`; null for the whole organisation.
    package: Option<String>,
    /// `member` or `admin`. Who has a higher role there keeps it.
    role: &'static str,
    /// Who has invited.
    by: String,
}

/// Takes an invitation for the token's account, which has the role from then on. The token reaches no further than
/// before. 404 where the invitation is none, was taken or withdrawn, or is too old.
#[utoipa::path(
    post, path = "/api/v1/join", tag = "people", request_body = Taken,
    responses(
        (status = 200, body = Joined),
        Refusal
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
        let invited = store.invited(&key, &snapshot.routes, now_s())?;
        store.accept(&key, guest, &snapshot.routes, now_s())?;
        Ok(invited)
    });
    let Invited { place, organisation, role, by, .. } = taken.await?;
    let package = place.package().map(str::to_owned);
    Ok(Json(Joined { organisation, package, role: role.word(), by }).into_response())
}
