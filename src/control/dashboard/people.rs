//! `/people`: who has which role on an organisation or a package, invitations to it, and the tokens that
//! reach it.

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use super::Dashboard;
use super::form::{Fields, Filled, again};
use super::page::{Frame, shown, time};
use super::place::Named;
use super::trouble::Trouble;
use super::viewer::Signed;
use crate::control::accounts::invitations::Invitation;
use crate::control::accounts::roles::Member;
use crate::control::accounts::tokens::Token;
use crate::control::accounts::{StoreError, now_s};
use crate::messages::random::random;
use crate::pure::access::{Action, Role};
use crate::pure::config::values::SignUp;
use crate::pure::secret;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/people", get(people))
        .route("/people/role", post(change_role))
        .route("/people/remove", post(remove))
        .route("/people/invite", post(invite))
        .route("/people/withdraw", post(withdraw))
        .route("/people/revoke", post(revoke))
}

/// Which people.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    organisation: String,
    #[serde(default)]
    package: String,
}

#[derive(Template)]
#[template(path = "places.html")]
struct PlacesPage {
    frame: Frame,
    /// Whether they see all organisations.
    may_gateway: bool,
    /// Whether they may found one.
    may_found: bool,
    /// Name and query of each.
    organisations: Vec<(String, String)>,
    packages: Vec<(String, String)>,
    form: Filled,
}

#[derive(Template)]
#[template(path = "people.html")]
struct PeoplePage {
    frame: Frame,
    named: Named,
    may_grant: bool,
    /// Who asks.
    account: i64,
    members: Vec<Member>,
    invitations: Vec<Invitation>,
    tokens: Vec<Token>,
    form: Filled,
    /// A link that was just made: it is shown once.
    link: String,
}

async fn people(
    State(at): State<Dashboard>,
    signed: Signed,
    Query(asked): Query<Asked>,
) -> Result<Response, Trouble> {
    if asked.organisation.is_empty() && asked.package.is_empty() {
        return places(&at, &signed, Filled::default()).await;
    }
    let named = Named::find(&at, &signed, Action::See, &asked.organisation, &asked.package).await?;
    page(&at, &signed, named, Filled::default(), String::new()).await
}

/// What somebody has people at.
pub(super) async fn places(
    at: &Dashboard,
    signed: &Signed,
    form: Filled,
) -> Result<Response, Trouble> {
    let named = at.accounts.run(|store| store.organisations()).await?;
    let link = |key: &str, name: &str| {
        let mut query = format!("{key}=");
        crate::pure::query::put_encoded(&mut query, name);
        (name.to_owned(), query)
    };
    let seen = named.iter().filter(|one| signed.may_organisation(Action::See, one.id));
    let organisations = seen.map(|one| link("organisation", &one.name)).collect();
    let packages = at.packages();
    let packages = packages
        .iter()
        .filter(|name| signed.may_package(Action::See, name, false))
        .map(|name| link("package", name))
        .collect();
    let (frame, may_gateway) = (signed.frame("People"), signed.may_gateway(Action::See));
    let may_found = at.sign_up == SignUp::Open;
    let page = PlacesPage { frame, may_gateway, may_found, organisations, packages, form };
    Ok(shown(StatusCode::OK, &page))
}

async fn page(
    at: &Dashboard,
    signed: &Signed,
    named: Named,
    form: Filled,
    link: String,
) -> Result<Response, Trouble> {
    let (place, now_s) = (named.place.clone(), now_s());
    let may_grant = signed.may_place(Action::Grant, &place);
    let (members, invitations, tokens) = at
        .accounts
        .run(move |store| {
            let members = store.members(&place)?;
            // Who lets in whom is for who may do so.
            match may_grant {
                true => Ok((members, store.invitations(&place, now_s)?, store.tokens_at(&place)?)),
                false => Ok((members, Vec::new(), Vec::new())),
            }
        })
        .await?;
    let frame = signed.frame(&format!("People of {}", named.name()));
    let account = signed.who.account;
    let page =
        PeoplePage { frame, named, may_grant, account, members, invitations, tokens, form, link };
    Ok(shown(StatusCode::OK, &page))
}

async fn change_role(
    State(at): State<Dashboard>,
    signed: Signed,
    fields: Fields,
) -> Result<Response, Trouble> {
    let named = granted(&at, &signed, &fields).await?;
    let (place, right) = (named.place.clone(), named.right.clone());
    let (account, to) = (fields.number("account")?, role(&fields)?);
    let done = at
        .accounts
        .run_by(right, move |store, by| store.change_role(by, &place, account, to, now_s()))
        .await;
    told(&at, &signed, named, &fields, done).await
}

async fn remove(
    State(at): State<Dashboard>,
    signed: Signed,
    fields: Fields,
) -> Result<Response, Trouble> {
    let account = fields.number("account")?;
    // Everybody may go by themselves.
    let action = if account == signed.who.account { Action::See } else { Action::Grant };
    let named = found(&at, &signed, action, &fields).await?;
    let (place, right) = (named.place.clone(), named.right.clone());
    let done = at
        .accounts
        .run_by(right, move |store, by| store.remove_member(by, &place, account, now_s()))
        .await;
    match done {
        Ok(()) if signed.who.account == account => Ok(Redirect::to("/people").into_response()),
        done => told(&at, &signed, named, &fields, done).await,
    }
}

async fn invite(
    State(at): State<Dashboard>,
    signed: Signed,
    fields: Fields,
) -> Result<Response, Trouble> {
    let named = granted(&at, &signed, &fields).await?;
    match put_invitation(&at, &named, &fields).await {
        Ok(key) => {
            let link = format!("{}/join?key={key}", signed.origin());
            page(&at, &signed, named, Filled::default(), link).await
        }
        Err(trouble) => {
            again(trouble, &fields, |form| page(&at, &signed, named, form, String::new())).await
        }
    }
}

/// Makes an invitation; what its link ends in.
async fn put_invitation(at: &Dashboard, named: &Named, fields: &Fields) -> Result<String, Trouble> {
    let (place, right) = (named.place.clone(), named.right.clone());
    let to = role(fields).map_err(|trouble| trouble.at("role"))?;
    let bytes = random::<32>().map_err(|error| Trouble::failed(&error))?;
    let key = secret::text(&bytes);
    let kept = key.clone();
    at.accounts
        .run_by(right, move |store, by| store.invite(by, None, &place, to, &kept, now_s()))
        .await?;
    Ok(key)
}

/// The page again after a button of it.
async fn told(
    at: &Dashboard,
    signed: &Signed,
    named: Named,
    fields: &Fields,
    done: Result<(), StoreError>,
) -> Result<Response, Trouble> {
    match done {
        Ok(()) => Ok(back(&named)),
        Err(error) => {
            let page = |form: Filled| page(at, signed, named, form.above(), String::new());
            again(error.into(), fields, page).await
        }
    }
}

async fn withdraw(
    State(at): State<Dashboard>,
    signed: Signed,
    fields: Fields,
) -> Result<Response, Trouble> {
    let named = granted(&at, &signed, &fields).await?;
    let (place, right) = (named.place.clone(), named.right.clone());
    let id = fields.number("invitation")?;
    at.accounts.run_by(right, move |store, by| store.withdraw(by, &place, id, now_s())).await?;
    Ok(back(&named))
}

async fn revoke(
    State(at): State<Dashboard>,
    signed: Signed,
    fields: Fields,
) -> Result<Response, Trouble> {
    let named = granted(&at, &signed, &fields).await?;
    let (place, right) = (named.place.clone(), named.right.clone());
    let id = fields.number("token")?;
    at.accounts
        .run_by(right, move |store, by| store.revoke_token_at(by, &place, id, now_s()))
        .await?;
    Ok(back(&named))
}

async fn granted(at: &Dashboard, signed: &Signed, fields: &Fields) -> Result<Named, Trouble> {
    found(at, signed, Action::Grant, fields).await
}

async fn found(
    at: &Dashboard,
    signed: &Signed,
    action: Action,
    fields: &Fields,
) -> Result<Named, Trouble> {
    Named::find(at, signed, action, fields.text("organisation"), fields.text("package")).await
}

fn role(fields: &Fields) -> Result<Role, Trouble> {
    Role::of(fields.text("role"))
        .ok_or_else(|| Trouble::refused("The role is `member` or `admin`."))
}

fn back(named: &Named) -> Response {
    Redirect::to(&format!("/people?{}", named.query())).into_response()
}
