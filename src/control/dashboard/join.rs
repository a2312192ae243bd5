//! `/join?key=…`: an invitation is taken.

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;

use super::Dashboard;
use super::cookie::Cookie;
use super::form::Fields;
use super::page::{Frame, shown};
use super::sign_in::{Browser, Network};
use super::trouble::Trouble;
use super::viewer::Viewer;
use crate::control::accounts::invitations::{Guest, Invited};
use crate::control::accounts::now_s;
use crate::control::accounts::rights::Right;
use crate::pure::config::values::SignUp;
use crate::pure::query::put_encoded;
use crate::pure::{account, password, secret};

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
    login: &'p str,
    wrong: &'p str,
}

async fn form(
    State(at): State<Dashboard>,
    viewer: Viewer,
    cookie: Cookie,
    Query(link): Query<Link>,
) -> Result<Response, Trouble> {
    let invited = invited(&at, &link.key).await?;
    let page = page(&at, StatusCode::OK, &viewer, &cookie, &link.key, &invited, ("", ""));
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
    let wrong = |status, wrong: &str| {
        let filled = (fields.text("login"), wrong);
        Ok(page(&at, status, &viewer, &cookie, &key, &invited, filled))
    };
    let login = match account::login(fields.text("login")) {
        Ok(login) => login,
        Err(why) => return wrong(StatusCode::BAD_REQUEST, &format!("The name {why}.")),
    };
    if let Err(why) = password::judge(fields.text("password"), &login) {
        return wrong(StatusCode::BAD_REQUEST, &format!("The password {why}."));
    }
    let password = at.hasher.hash(network.0, fields.text("password").to_owned()).await?;
    let session = cookie.renewed()?;
    let (before, secret, key) = (cookie.text.clone(), session.text.clone(), key.clone());
    let snapshot = at.in_force.snapshot();
    at.accounts
        .run(move |store| {
            let guest = Guest::New { login, password };
            let account = store.accept(&key, guest, &snapshot.routes, now_s())?;
            store.open_session(account, &before, &secret, &browser, now_s())
        })
        .await?;
    Ok(session.keep_signed_in(Redirect::to("/").into_response()))
}

async fn invited(at: &Dashboard, key: &str) -> Result<Invited, Trouble> {
    let (key, snapshot) = (key.to_owned(), at.in_force.snapshot());
    Ok(at.accounts.run(move |store| store.invited(&key, &snapshot.routes, now_s())).await?)
}

fn page(
    at: &Dashboard,
    status: StatusCode,
    viewer: &Viewer,
    cookie: &Cookie,
    key: &str,
    invited: &Invited,
    (login, wrong): (&str, &str),
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
        login,
        wrong,
    };
    shown(status, &page)
}
