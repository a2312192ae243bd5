//! `/api/v1/tokens`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Part, Place};
use super::problem::{Problem, Sent, read, role};
use super::refusal::{Absent, Forbidden, InTheWay, Refusal, Stale, TooLong, Unchanged};
use super::tagged::{List, Meant, Order, one_of, tagged, tagged_by};
use crate::control::accounts::audit::Actor;
use crate::control::accounts::place;
use crate::control::accounts::rights::Right;
use crate::control::accounts::tokens::{Token, Wanted};
use crate::control::accounts::{Store, StoreError, now_s};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::page::time;
use crate::control::dashboard::place::Named;
use crate::control::dashboard::tokens::{DAYS_MAX, new_token};
use crate::pure::access::{Action, Role};
use crate::pure::account;

/// A token.
#[derive(Serialize, ToSchema)]
#[schema(as = Token)]
pub(super) struct Listed {
    /// Its number.
    id: i64,
    /// Whose it is.
    login: String,
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

impl Listed {
    /// All of it that its owner gave it.
    fn state(&self) -> impl Serialize {
        (
            self.id,
            &self.login,
            &self.label,
            &self.organisation,
            &self.package,
            self.role,
            &self.expires,
        )
    }
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
#[schema(as = MadeToken)]
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
        Refusal, Unchanged
    )
)]
pub(super) async fn list(
    State(at): State<Dashboard>,
    caller: Caller,
    part: Part,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let list = at.accounts.run(move |store| reached(store, &caller)).await?;
    tagged(&headers, &List::part(list, &part, Order::Falling, |one: &Listed| one.id)?)
}

/// One of them. Its ETag stays when it is used.
#[utoipa::path(
    get, path = "/api/v1/tokens/{token}", tag = "tokens",
    params(("token" = i64, Path, description = "Its number")),
    responses(
        (status = 200, body = Listed),
        Refusal, Absent
    )
)]
pub(super) async fn one(
    State(at): State<Dashboard>,
    caller: Caller,
    Path(token): Path<i64>,
) -> Result<Response, Problem> {
    let found = at.accounts.run(move |store| reached_one(store, &caller, token)).await?;
    tagged_by(&found, &found.state())
}

/// Makes a token of the caller's account that reaches the place, and no further than the caller does. It
/// ends with the token that it is made with.
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "tokens", params(Place), request_body = WantedToken,
    responses(
        (status = 201, body = Made),
        Refusal, Absent, Forbidden, InTheWay, TooLong
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
    let expires_s = match wanted.days {
        None => None,
        Some(days) if (1..=DAYS_MAX).contains(&days) => Some(now + days * 24 * 3600),
        Some(_) => return Err(Problem::refused(format!("days: is 1 to {DAYS_MAX}."))),
    };
    let needed = match most {
        Role::Member => Action::See,
        Role::Admin => Action::Configure,
    };
    let Named { place, right, .. } = caller.find(&at, needed, &place).await?;
    let token = new_token()?;
    let made_with = caller.who.made_with();
    let (wanted, text) = (Wanted { label, place, most, expires_s, made_with }, token.clone());
    let id = at
        .accounts
        .run_by(right, move |store, by| store.add_token(by, &wanted, &text, now))
        .await?;
    Ok((StatusCode::CREATED, Json(Made { id, token })).into_response())
}

/// Ends a token of the caller's account that reaches no further than the caller does.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{token}", tag = "tokens",
    params(
        ("token" = i64, Path, description = "Its number"),
        ("If-Match" = String, Header, description = "The ETag of the token")
    ),
    responses(
        (status = 204),
        Refusal, Absent, Forbidden, Stale
    )
)]
pub(super) async fn revoke(
    State(at): State<Dashboard>,
    caller: Caller,
    Path(token): Path<i64>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    caller.writes()?;
    let (own, meant) = (Right::own(caller.who.clone()), Meant::of(&headers)?);
    let revoke = move |store: &mut Store, by: &Actor| {
        meant.is(&reached_one(store, &caller, token)?.state())?;
        store.revoke_own_token(by, token, now_s())
    };
    at.accounts.run_by(own, revoke).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Everybody's tokens that reach just the place, the newest first: for who lets people in there.
#[utoipa::path(
    get, path = "/api/v1/people/tokens", tag = "tokens", params(Place, Part),
    responses(
        (status = 200, body = List<Listed>),
        Refusal, Absent, Forbidden, Unchanged
    )
)]
pub(super) async fn everybodys(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    part: Part,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = caller.find(&at, Action::Grant, &place).await?.place;
    let list = at.accounts.run(move |store| reaching(store, &place)).await?;
    tagged(&headers, &List::part(list, &part, Order::Falling, |one: &Listed| one.id)?)
}

/// One of them. Its ETag stays when it is used.
#[utoipa::path(
    get, path = "/api/v1/people/tokens/{token}", tag = "tokens",
    params(Place, ("token" = i64, Path, description = "Its number")),
    responses(
        (status = 200, body = Listed),
        Refusal, Absent, Forbidden
    )
)]
pub(super) async fn anybodys(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    Path(token): Path<i64>,
) -> Result<Response, Problem> {
    let place = caller.find(&at, Action::Grant, &place).await?.place;
    let found = at.accounts.run(move |store| reaching_one(store, &place, token)).await?;
    tagged_by(&found, &found.state())
}

/// Ends a token that reaches just the place, whosever it is.
#[utoipa::path(
    delete, path = "/api/v1/people/tokens/{token}", tag = "tokens",
    params(
        Place,
        ("token" = i64, Path, description = "Its number"),
        ("If-Match" = String, Header, description = "The ETag of the token")
    ),
    responses(
        (status = 204),
        Refusal, Absent, Forbidden, Stale
    )
)]
pub(super) async fn end(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    Path(token): Path<i64>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    caller.writes()?;
    let Named { place, right, .. } = caller.find(&at, Action::Grant, &place).await?;
    let meant = Meant::of(&headers)?;
    let end = move |store: &mut Store, by: &Actor| {
        meant.is(&reaching_one(store, &place, token)?.state())?;
        store.revoke_token_at(by, &place, token, now_s())
    };
    at.accounts.run_by(right, end).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn reaching(store: &Store, place: &place::Place) -> Result<Vec<Listed>, StoreError> {
    Ok(store.tokens_at(place)?.into_iter().map(listed).collect())
}

fn reaching_one(store: &Store, place: &place::Place, id: i64) -> Result<Listed, StoreError> {
    one_of(reaching(store, place)?, |one| one.id == id)
}

/// The tokens of the caller's account that reach no further than the caller does, the newest first.
fn reached(store: &Store, caller: &Caller) -> Result<Vec<Listed>, StoreError> {
    let tokens = store.tokens_of(caller.who.account)?;
    let seen = tokens.into_iter().filter(|one| caller.viewer.may_place(Action::See, &one.place));
    Ok(seen.map(listed).collect())
}

fn reached_one(store: &Store, caller: &Caller, id: i64) -> Result<Listed, StoreError> {
    one_of(reached(store, caller)?, |one| one.id == id)
}

fn listed(one: Token) -> Listed {
    Listed {
        id: one.id,
        login: one.login,
        label: one.label,
        organisation: one.organisation,
        package: one.place.package().map(str::to_owned),
        role: one.most.word(),
        created: time(one.created_s),
        expires: one.expires_s.map(time),
        used: one.seen_s.map(time),
    }
}
