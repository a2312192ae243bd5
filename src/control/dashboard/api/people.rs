//! `/api/v1/people` and `/api/v1/invitations`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Part, Place};
use super::problem::{Problem, ProblemBody, Sent, read, role};
use super::tagged::{List, is_meant, one_of, tagged};
use crate::control::accounts::now_s;
use crate::control::accounts::place;
use crate::control::accounts::roles::Member;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::page::time;
use crate::control::dashboard::trouble::Trouble;
use crate::messages::random::random;
use crate::pure::access::Action;
use crate::pure::secret;

/// Somebody with a role on a place.
#[derive(Serialize, ToSchema)]
pub(super) struct Person {
    /// The account's number.
    account: i64,
    /// What they sign in with.
    login: String,
    /// `member` or `admin`.
    role: &'static str,
}

/// A role.
#[derive(Deserialize, ToSchema)]
pub(super) struct WantedRole {
    /// `member` or `admin`.
    #[schema(example = "member")]
    role: String,
}

/// An invitation that nobody has taken.
#[derive(Serialize, ToSchema)]
pub(super) struct Invitation {
    /// Its number.
    id: i64,
    /// What it gives.
    role: &'static str,
    /// Who invites.
    by: String,
    /// Until when it can be taken.
    expires: String,
}

/// An invitation that was just made.
#[derive(Serialize, ToSchema)]
pub(super) struct Invite {
    /// The page to open, behind the dashboard's address. It is said once.
    #[schema(example = "/join?key=…")]
    path: String,
}

/// Who has a role on the organisation, or on the package itself, by name.
#[utoipa::path(
    get, path = "/api/v1/people", tag = "people", params(Place, Part),
    responses(
        (status = 200, body = List<Person>),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn list(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    part: Part,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = caller.find(&at, Action::See, &place).await?.place;
    let members = at.accounts.run(move |store| store.members(&place)).await?;
    let people = members.into_iter().map(person).collect();
    tagged(&headers, &List::part(people, &part, |one: &Person| one.login.clone()))
}

/// One of them.
#[utoipa::path(
    get, path = "/api/v1/people/{account}", tag = "people",
    params(Place, ("account" = i64, Path, description = "The account's number")),
    responses(
        (status = 200, body = Person),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn one(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    Path(account): Path<i64>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = caller.find(&at, Action::See, &place).await?.place;
    tagged(&headers, &found(&at, &place, account).await?)
}

/// Gives somebody who has a role there another one.
#[utoipa::path(
    put, path = "/api/v1/people/{account}", tag = "people",
    params(
        Place,
        ("account" = i64, Path, description = "The account's number"),
        ("If-Match" = String, Header, description = "The ETag of the person")
    ),
    request_body = WantedRole,
    responses(
        (status = 200, body = Person),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn change(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    Path(account): Path<i64>,
    headers: HeaderMap,
    wanted: Sent<WantedRole>,
) -> Result<Response, Problem> {
    caller.writes()?;
    let place = caller.find(&at, Action::Grant, &place).await?.place;
    let to = role(&read(wanted)?.role)?;
    is_meant(&headers, &found(&at, &place, account).await?)?;
    let (by, there) = (caller.who.actor(), place.clone());
    at.accounts.run(move |store| store.change_role(&by, &there, account, to, now_s())).await?;
    tagged(&HeaderMap::new(), &found(&at, &place, account).await?)
}

/// Takes somebody's role there away; everybody may take their own.
#[utoipa::path(
    delete, path = "/api/v1/people/{account}", tag = "people",
    params(
        Place,
        ("account" = i64, Path, description = "The account's number"),
        ("If-Match" = String, Header, description = "The ETag of the person")
    ),
    responses(
        (status = 204),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn remove(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    Path(account): Path<i64>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    caller.writes()?;
    let action = if account == caller.who.account { Action::See } else { Action::Grant };
    let place = caller.find(&at, action, &place).await?.place;
    is_meant(&headers, &found(&at, &place, account).await?)?;
    let by = caller.who.actor();
    at.accounts.run(move |store| store.remove_member(&by, &place, account, now_s())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Invitations to the place that nobody has taken, the newest first.
#[utoipa::path(
    get, path = "/api/v1/invitations", tag = "people", params(Place, Part),
    responses(
        (status = 200, body = List<Invitation>),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn invitations(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    part: Part,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = caller.find(&at, Action::Grant, &place).await?.place;
    let listed = open(&at, &place).await?;
    tagged(&headers, &List::part(listed, &part, |one: &Invitation| one.id.to_string()))
}

/// One of them.
#[utoipa::path(
    get, path = "/api/v1/invitations/{invitation}", tag = "people",
    params(Place, ("invitation" = i64, Path, description = "Its number")),
    responses(
        (status = 200, body = Invitation),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn invitation(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    Path(invitation): Path<i64>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let place = caller.find(&at, Action::Grant, &place).await?.place;
    tagged(&headers, &open_one(&at, &place, invitation).await?)
}

/// Invites whoever opens the link that this answers with, once, for a week, and no longer than the token
/// lasts that it is made with.
#[utoipa::path(
    post, path = "/api/v1/invitations", tag = "people", params(Place), request_body = WantedRole,
    responses(
        (status = 201, body = Invite),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn invite(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    wanted: Sent<WantedRole>,
) -> Result<Response, Problem> {
    caller.writes()?;
    let place = caller.find(&at, Action::Grant, &place).await?.place;
    let to = role(&read(wanted)?.role)?;
    let bytes = random::<32>().map_err(|error| Problem(Trouble::failed(&error)))?;
    let key = secret::text(&bytes);
    let invite = Invite { path: format!("/join?key={key}") };
    let (by, with) = (caller.who.actor(), caller.who.made_with());
    at.accounts.run(move |store| store.invite(&by, with, &place, to, &key, now_s())).await?;
    Ok((StatusCode::CREATED, Json(invite)).into_response())
}

/// Takes back an invitation.
#[utoipa::path(
    delete, path = "/api/v1/invitations/{invitation}", tag = "people",
    params(
        Place,
        ("invitation" = i64, Path, description = "Its number"),
        ("If-Match" = String, Header, description = "The ETag of the invitation")
    ),
    responses(
        (status = 204),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn withdraw(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    Path(invitation): Path<i64>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    caller.writes()?;
    let place = caller.find(&at, Action::Grant, &place).await?.place;
    is_meant(&headers, &open_one(&at, &place, invitation).await?)?;
    let by = caller.who.actor();
    at.accounts.run(move |store| store.withdraw(&by, &place, invitation, now_s())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The invitations to a place that nobody has taken.
async fn open(at: &Dashboard, place: &place::Place) -> Result<Vec<Invitation>, Problem> {
    let place = place.clone();
    let listed = at.accounts.run(move |store| store.invitations(&place, now_s())).await?;
    let shown = listed.into_iter().map(|one| Invitation {
        id: one.id,
        role: one.role.word(),
        by: one.by,
        expires: time(one.expires_s),
    });
    Ok(shown.collect())
}

async fn open_one(at: &Dashboard, place: &place::Place, id: i64) -> Result<Invitation, Problem> {
    one_of(open(at, place).await?, |one| one.id == id)
}

async fn found(at: &Dashboard, place: &place::Place, account: i64) -> Result<Person, Problem> {
    let place = place.clone();
    let members = at.accounts.run(move |store| store.members(&place)).await?;
    one_of(members, |one| one.account == account).map(person)
}

fn person(Member { account, login, role }: Member) -> Person {
    Person { account, login, role: role.word() }
}
