//! `/api/v1/people` and `/api/v1/invitations`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Part, Place};
use super::problem::{Problem, Sent, read, role};
use super::refusal::{Absent, Forbidden, InTheWay, Refusal, Stale, TooLong, Unchanged};
use super::tagged::{List, Meant, Order, one_of, tagged};
use crate::control::accounts::audit::Actor;
use crate::control::accounts::place;
use crate::control::accounts::roles::Member;
use crate::control::accounts::{Store, StoreError, now_s};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::page::time;
use crate::control::dashboard::place::Named;
use crate::control::dashboard::trouble::Trouble;
use crate::messages::random::random;
use crate::pure::access::{Action, Role};
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
        Refusal, Absent, Unchanged
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
    tagged(&headers, &List::part(people, &part, Order::Rising, |one: &Person| one.login.clone())?)
}

/// One of them.
#[utoipa::path(
    get, path = "/api/v1/people/{account}", tag = "people",
    params(Place, ("account" = i64, Path, description = "The account's number")),
    responses(
        (status = 200, body = Person),
        Refusal, Absent, Unchanged
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
    let found = at.accounts.run(move |store| found(store, &place, account)).await?;
    tagged(&headers, &found)
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
        Refusal, Absent, Forbidden, InTheWay, Stale, TooLong
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
    let Named { place, right, .. } = caller.find(&at, Action::Grant, &place).await?;
    let (to, meant) = (role(&read(wanted)?.role)?, Meant::of(&headers)?);
    let change =
        move |store: &mut Store, by: &Actor| change_role(store, by, &meant, (&place, account), to);
    tagged(&HeaderMap::new(), &at.accounts.run_by(right, change).await?)
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
        Refusal, Absent, Forbidden, InTheWay, Stale
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
    let Named { place, right, .. } = caller.find(&at, action, &place).await?;
    let meant = Meant::of(&headers)?;
    let remove = move |store: &mut Store, by: &Actor| {
        meant.is(&found(store, &place, account)?)?;
        store.remove_member(by, &place, account, now_s())
    };
    at.accounts.run_by(right, remove).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Invitations to the place that nobody has taken, the newest first.
#[utoipa::path(
    get, path = "/api/v1/invitations", tag = "people", params(Place, Part),
    responses(
        (status = 200, body = List<Invitation>),
        Refusal, Absent, Forbidden, Unchanged
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
    let listed = at.accounts.run(move |store| open(store, &place)).await?;
    tagged(&headers, &List::part(listed, &part, Order::Falling, |one: &Invitation| one.id)?)
}

/// One of them.
#[utoipa::path(
    get, path = "/api/v1/invitations/{invitation}", tag = "people",
    params(Place, ("invitation" = i64, Path, description = "Its number")),
    responses(
        (status = 200, body = Invitation),
        Refusal, Absent, Forbidden, Unchanged
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
    let found = at.accounts.run(move |store| open_one(store, &place, invitation)).await?;
    tagged(&headers, &found)
}

/// Invites whoever opens the link that this answers with, once, for a week, and no longer than the token
/// lasts that it is made with.
#[utoipa::path(
    post, path = "/api/v1/invitations", tag = "people", params(Place), request_body = WantedRole,
    responses(
        (status = 201, body = Invite),
        Refusal, Absent, Forbidden, InTheWay, TooLong
    )
)]
pub(super) async fn invite(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    wanted: Sent<WantedRole>,
) -> Result<Response, Problem> {
    caller.writes()?;
    let Named { place, right, .. } = caller.find(&at, Action::Grant, &place).await?;
    let to = role(&read(wanted)?.role)?;
    let bytes = random::<32>().map_err(|error| Problem(Trouble::failed(&error)))?;
    let key = secret::text(&bytes);
    let invite = Invite { path: format!("/join?key={key}") };
    let with = caller.who.made_with();
    at.accounts
        .run_by(right, move |store, by| store.invite(by, with, &place, to, &key, now_s()))
        .await?;
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
        Refusal, Absent, Forbidden, Stale
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
    let Named { place, right, .. } = caller.find(&at, Action::Grant, &place).await?;
    let meant = Meant::of(&headers)?;
    let withdraw = move |store: &mut Store, by: &Actor| {
        meant.is(&open_one(store, &place, invitation)?)?;
        store.withdraw(by, &place, invitation, now_s())
    };
    at.accounts.run_by(right, withdraw).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Gives somebody another role, if who they are there is what the caller means.
fn change_role(
    store: &mut Store,
    by: &Actor,
    meant: &Meant,
    (place, account): (&place::Place, i64),
    to: Role,
) -> Result<Person, StoreError> {
    meant.is(&found(store, place, account)?)?;
    store.change_role(by, place, account, to, now_s())?;
    found(store, place, account)
}

/// The invitations to a place that nobody has taken.
fn open(store: &Store, place: &place::Place) -> Result<Vec<Invitation>, StoreError> {
    let shown = store.invitations(place, now_s())?.into_iter().map(|one| Invitation {
        id: one.id,
        role: one.role.word(),
        by: one.by,
        expires: time(one.expires_s),
    });
    Ok(shown.collect())
}

fn open_one(store: &Store, place: &place::Place, id: i64) -> Result<Invitation, StoreError> {
    one_of(open(store, place)?, |one| one.id == id)
}

fn found(store: &Store, place: &place::Place, account: i64) -> Result<Person, StoreError> {
    one_of(store.members(place)?, |one| one.account == account).map(person)
}

fn person(Member { account, login, role }: Member) -> Person {
    Person { account, login, role: role.word() }
}

#[cfg(test)]
mod tests {
    use axum::http::header::{ETAG, IF_MATCH};

    use super::*;
    use crate::control::tests::scratch;

    #[test]
    fn of_two_who_mean_the_same_state_one_changes_it() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let ada = store.set_up("ada", "$hash", "acme", 0).unwrap();
        let eve = store.sign_up("eve", "$hash", "moon", 0).unwrap();
        let by = Actor { account: Some(ada), login: "ada".to_owned() };
        let operator = store.owners().unwrap().operator;
        let place = place::Place::new(operator, Some("a.b/c".to_owned()));
        store.invite(&by, None, &place, Role::Member, "key", now_s()).unwrap();
        let routes = crate::pure::route::table::Table::build(&[], &[]);
        let guest = crate::control::accounts::invitations::Guest::Known(eve);
        store.accept("key", guest, &routes, now_s()).unwrap();
        let seen = found(&store, &place, eve).unwrap();
        let tag = tagged(&HeaderMap::new(), &seen).ok().unwrap().headers()[ETAG].clone();
        let meant = Meant::of(&[(IF_MATCH, tag)].into_iter().collect()).ok().unwrap();
        let mut change = |to| change_role(&mut store, &by, &meant, (&place, eve), to);
        assert_eq!(change(Role::Admin).unwrap().role, "admin");
        assert!(matches!(change(Role::Member), Err(StoreError::Changed)), "it is another by now");
        assert_eq!(store.members(&place).unwrap()[0].role, Role::Admin);
    }
}
