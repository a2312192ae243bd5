//! `/api/v1/tokens`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Part, Place};
use super::problem::{Problem, ProblemBody, Sent, read, role};
use super::tagged::{List, tagged};
use crate::control::accounts::now_s;
use crate::control::accounts::sessions::By;
use crate::control::accounts::tokens::{Token, Wanted};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::page::time;
use crate::control::dashboard::tokens::{DAYS_MAX, new_token};
use crate::control::dashboard::trouble::Trouble;
use crate::pure::access::{Action, Role};
use crate::pure::account;

/// A token of the caller's account.
#[derive(Serialize, ToSchema)]
pub(super) struct Listed {
    /// Its number.
    id: i64,
    /// What it is for.
    label: String,
    /// The organisation that it reaches.
    organisation: String,
    /// The package of it, where it is not all.
    package: Option<String>,
    /// The most that it may be there: `member` reads only.
    role: &'static str,
    /// When it was made.
    created: String,
    /// When it ends; null for never.
    expires: Option<String>,
    /// When it was used last; null for never.
    used: Option<String>,
}

/// What a token is to be.
#[derive(Deserialize, ToSchema)]
pub(super) struct WantedToken {
    /// What it is for.
    #[schema(example = "nightly report")]
    label: String,
    /// `member`, which reads only, or `admin`.
    #[schema(example = "member")]
    role: String,
    /// For how many days; no end if left out.
    days: Option<i64>,
}

/// A token that was just made.
#[derive(Serialize, ToSchema)]
pub(super) struct Made {
    /// Its number.
    id: i64,
    /// What to send as `Authorization: Bearer …`. It is said once.
    token: String,
}

/// The tokens of the caller's account that reach no further than the caller does, the newest first.
#[utoipa::path(
    get, path = "/api/v1/tokens", tag = "tokens", params(Part),
    responses(
        (status = 200, body = List<Listed>),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn list(
    State(at): State<Dashboard>,
    caller: Caller,
    part: Part,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let account = caller.who.account;
    let tokens = at.accounts.run(move |store| store.tokens_of(account)).await?;
    let seen = tokens.into_iter().filter(|one| caller.viewer.may(Action::See, one.place.object()));
    let listed = |one: Token| Listed {
        id: one.id,
        label: one.label,
        organisation: one.organisation,
        package: one.place.package().map(str::to_owned),
        role: one.most.word(),
        created: time(one.created_s),
        expires: one.expires_s.map(time),
        used: one.seen_s.map(time),
    };
    let list = List::part(seen.map(listed).collect(), &part, |one: &Listed| one.id.to_string());
    tagged(&headers, &list)
}

/// Makes a token of the caller's account that reaches the place, and no further than the caller does.
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "tokens", params(Place), request_body = WantedToken,
    responses(
        (status = 201, body = Made),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn make(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    wanted: Sent<WantedToken>,
) -> Result<Response, Problem> {
    caller.writes()?;
    let wanted = read(wanted)?;
    let label = account::label(&wanted.label);
    let label = label.map_err(|why| Problem::refused(format!("label: {why}.")))?;
    let most = role(&wanted.role)?;
    let now = now_s();
    let wanted_end = match wanted.days {
        None => None,
        Some(days) if (1..=DAYS_MAX).contains(&days) => Some(now + days * 24 * 3600),
        Some(_) => return Err(Problem::refused(format!("days: is 1 to {DAYS_MAX}."))),
    };
    // A token's token ends with it at the latest.
    let own_end = match caller.who.by {
        By::Session(_) => None,
        By::Token { expires_s, .. } => expires_s,
    };
    let expires_s = match (wanted_end, own_end) {
        (Some(wanted), Some(own)) => Some(wanted.min(own)),
        (wanted, own) => wanted.or(own),
    };
    let needed = match most {
        Role::Member => Action::See,
        Role::Admin => Action::Configure,
    };
    let place = caller.find(&at, needed, &place).await?.place;
    let (by, token) = (caller.who.actor(), new_token()?);
    let (wanted, text) = (Wanted { label, place, most, expires_s }, token.clone());
    let id = at.accounts.run(move |store| store.add_token(&by, &wanted, &text, now)).await?;
    Ok((StatusCode::CREATED, Json(Made { id, token })).into_response())
}

/// Ends a token of the caller's account that reaches no further than the caller does.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{token}", tag = "tokens",
    params(("token" = i64, Path, description = "Its number")),
    responses(
        (status = 204),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn revoke(
    State(at): State<Dashboard>,
    caller: Caller,
    Path(token): Path<i64>,
) -> Result<StatusCode, Problem> {
    caller.writes()?;
    let account = caller.who.account;
    let tokens = at.accounts.run(move |store| store.tokens_of(account)).await?;
    let is_reached = tokens
        .iter()
        .any(|one| one.id == token && caller.viewer.may(Action::See, one.place.object()));
    if !is_reached {
        return Err(Problem(Trouble::absent()));
    }
    let by = caller.who.actor();
    at.accounts.run(move |store| store.revoke_own_token(&by, token, now_s())).await?;
    Ok(StatusCode::NO_CONTENT)
}
