//! `/join?key=…`: an invitation is taken.

use std::future::ready;

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;

use super::Dashboard;
use super::cookie::Cookie;
use super::form::{Fields, Filled, again};
use super::newcomer;
use super::page::{Frame, shown};
use super::sign_in::{Browser, Network};
use super::trouble::Trouble;
use super::viewer::Viewer;
use crate::control::accounts::invitations::{Guest, Invited};
use crate::control::accounts::now_s;
use crate::control::accounts::rights::Right;
use crate::pure::config::values::SignUp;
use crate::pure::query::put_encoded;
use crate::pure::secret;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new().route("/join", get(form).post(join))
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    key: String,
}

#[derive(Template)]
#[template(path = "join.html")]
struct JoinPage<'p> {
    frame: Frame,
    key: &'p str,
    /// What they are invited to.
    place: String,
    role: &'static str,
    by: &'p str,
    /// Whether somebody new may make an account.
    is_open: bool,
    /// Where who has an account signs in first.
    door: String,
    form: Filled,
}

async fn form(
    State(at): State<Dashboard>,
    viewer: Viewer,
    cookie: Cookie,
    Query(link): Query<Link>,
) -> Result<Response, Trouble> {
    let invited = invited(&at, &link.key).await?;
    let page = page(&at, &viewer, &cookie, &link.key, &invited, Filled::default());
    Ok(cookie.keep(page))
}

async fn join(
    State(at): State<Dashboard>,
    viewer: Viewer,
    cookie: Cookie,
    network: Network,
    Browser(browser): Browser,
    fields: Fields,
) -> Result<Response, Trouble> {
    let key = fields.text("key").to_owned();
    let invited = invited(&at, &key).await?;
    if let Some(who) = viewer.who {
        let guest = Guest::Known(who.account);
        let snapshot = at.in_force.snapshot();
        at.accounts
            .run_by(Right::own(who), move |store, _| {
                store.accept(&key, guest, &snapshot.routes, now_s())
            })
            .await?;
        return Ok(Redirect::to("/").into_response());
    }
    if at.sign_up == SignUp::Closed {
        return Err(Trouble::forbidden());
    }
    match enter(&at, &cookie, network, browser, &fields).await {
        Ok(session) => Ok(session.keep_signed_in(Redirect::to("/").into_response())),
        Err(trouble) => {
            let page = |form| ready(Ok(page(&at, &viewer, &cookie, &key, &invited, form)));
            again(trouble, &fields, page).await
        }
    }
}

/// Makes an account for who is invited, and a session of it.
async fn enter(
    at: &Dashboard,
    cookie: &Cookie,
    network: Network,
    browser: String,
    fields: &Fields,
) -> Result<Cookie, Trouble> {
    let (login, key) = (newcomer::alone(fields)?, fields.text("key").to_owned());
    let password = at.hasher.hash(network.0, fields.text("password").to_owned()).await?;
    let snapshot = at.in_force.snapshot();
    newcomer::enter(at, cookie, browser, move |store| {
        let guest = Guest::New { login, password };
        Ok(store.accept(&key, guest, &snapshot.routes, now_s())?.0)
    })
    .await
}

async fn invited(at: &Dashboard, key: &str) -> Result<Invited, Trouble> {
    let (key, snapshot) = (key.to_owned(), at.in_force.snapshot());
    Ok(at.accounts.run(move |store| store.invited(&key, &snapshot.routes, now_s())).await?)
}

fn page(
    at: &Dashboard,
    viewer: &Viewer,
    cookie: &Cookie,
    key: &str,
    invited: &Invited,
    form: Filled,
) -> Response {
    let mut door = "/sign-in?next=".to_owned();
    put_encoded(&mut door, &format!("/join?key={key}"));
    let place = invited.place.package().unwrap_or(&invited.organisation).to_owned();
    let form_token = secret::form_token(&cookie.text);
    let page = JoinPage {
        frame: Frame { form_token, ..viewer.frame("You are invited") },
        key,
        place,
        role: invited.role.word(),
        by: &invited.by,
        is_open: at.sign_up != SignUp::Closed,
        door,
        form,
    };
    shown(StatusCode::OK, &page)
}
