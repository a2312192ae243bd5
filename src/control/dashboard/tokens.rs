//! `/tokens`: what programs come with in somebody's name.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};

use super::Dashboard;
use super::form::{Fields, Filled, again};
use super::page::{Frame, shown, time};
use super::place::Named;
use super::trouble::Trouble;
use super::viewer::Signed;
use crate::control::accounts::now_s;
use crate::control::accounts::rights::Right;
use crate::control::accounts::tokens::{Token, Wanted};
use crate::messages::random::random;
use crate::pure::access::{Action, Role};
use crate::pure::{account, secret};

pub(super) fn routes() -> Router<Dashboard> {
    Router::new().route("/tokens", get(tokens).post(make)).route("/tokens/revoke", post(revoke))
}

#[derive(Template)]
#[template(path = "tokens.html")]
struct TokensPage<'p> {
    frame: Frame,
    tokens: Vec<Token>,
    organisations: Vec<String>,
    packages: Vec<String>,
    /// One that was just made: it is shown once.
    made: &'p str,
    form: Filled,
}

async fn tokens(State(at): State<Dashboard>, signed: Signed) -> Result<Response, Trouble> {
    page(&at, &signed, Filled::default(), "").await
}

async fn page(
    at: &Dashboard,
    signed: &Signed,
    form: Filled,
    made: &str,
) -> Result<Response, Trouble> {
    let account = signed.who.account;
    let (tokens, organisations) = at
        .accounts
        .run(move |store| Ok((store.tokens_of(account)?, store.organisations()?)))
        .await?;
    let organisations = organisations
        .into_iter()
        .filter(|one| signed.may_organisation(Action::See, one.id))
        .map(|one| one.name)
        .collect();
    let mut packages = at.packages();
    packages.retain(|name| signed.may_package(Action::See, name, false));
    let frame = signed.frame("API tokens");
    let page = TokensPage { frame, tokens, organisations, packages, made, form };
    Ok(shown(StatusCode::OK, &page))
}

async fn make(
    State(at): State<Dashboard>,
    signed: Signed,
    fields: Fields,
) -> Result<Response, Trouble> {
    match put(&at, &signed, &fields).await {
        Ok(made) => page(&at, &signed, Filled::default(), &made).await,
        Err(trouble) => again(trouble, &fields, |form| page(&at, &signed, form, "")).await,
    }
}

/// Makes a token, as the form says.
async fn put(at: &Dashboard, signed: &Signed, fields: &Fields) -> Result<String, Trouble> {
    let (most, label) = (Role::of(fields.text("role")), account::label(fields.text("label")));
    let days = match fields.text("days").trim() {
        "" => Some(None),
        text => text.parse::<i64>().ok().filter(|days| (1..=DAYS_MAX).contains(days)).map(Some),
    };
    let mut wrong = Vec::new();
    wrong.extend(label.as_ref().err().map(|why| ("label", format!("The label {why}."))));
    if most.is_none() {
        wrong.push(("role", "The role is `member` or `admin`.".to_owned()));
    }
    if days.is_none() {
        let words = "It lasts for 1 to 3650 days; leave that out for no end.";
        wrong.push(("days", words.to_owned()));
    }
    let (Some(most), Ok(label), Some(days)) = (most, label, days) else {
        return Err(Trouble::of_fields(wrong));
    };
    let needed = match most {
        Role::Member => Action::See,
        Role::Admin => Action::Configure,
    };
    let (organisation, package) = (fields.text("organisation"), fields.text("package"));
    let named = Named::find(at, signed, needed, organisation, package).await;
    let named = named.map_err(|trouble| of_place(trouble, package))?;
    let now = now_s();
    let expires_s = days.map(|days| now + days * 24 * 3600);
    let made_with = None;
    let wanted = Wanted { label, place: named.place, most, expires_s, made_with };
    let text = new_token()?;
    let made = text.clone();
    at.accounts
        .run_by(named.right, move |store, by| store.add_token(by, &wanted, &text, now))
        .await?;
    Ok(made)
}

/// At which field it is wrong, and in its words, that somebody may not have a token for a place.
fn of_place(trouble: Trouble, package: &str) -> Trouble {
    let (field, why) = match (trouble.status, package) {
        (StatusCode::FORBIDDEN, _) => (
            "role",
            "You are no admin there yourself: choose `member`, or ask an admin to make you one.",
        ),
        (StatusCode::NOT_FOUND, "") => (
            "organisation",
            "There is no such organisation, or you may not see all of its packages.",
        ),
        (StatusCode::NOT_FOUND, _) => {
            ("package", "There is no such package any more, or you may not see it.")
        }
        _ => return trouble,
    };
    Trouble { why: why.to_owned(), ..trouble }.at(field)
}

async fn revoke(
    State(at): State<Dashboard>,
    signed: Signed,
    fields: Fields,
) -> Result<Response, Trouble> {
    let (own, id) = (Right::own(signed.who), fields.number("token")?);
    at.accounts.run_by(own, move |store, by| store.revoke_own_token(by, id, now_s())).await?;
    Ok(Redirect::to("/tokens").into_response())
}

/// One that nobody guesses, and that who finds it in a log knows whose kind it is.
pub(super) fn new_token() -> Result<String, Trouble> {
    let bytes = random::<32>().map_err(|error| Trouble::failed(&error))?;
    Ok(format!("pullgate_{}", secret::text(&bytes)))
}

pub(super) const DAYS_MAX: i64 = 3650;
