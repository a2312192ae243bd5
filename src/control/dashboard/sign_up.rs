//! `/sign-up`: an account for anybody, with an organisation of its own, where `admin.sign_up` is `open`.

use std::future::ready;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;

use super::Dashboard;
use super::cookie::Cookie;
use super::form::{Fields, Filled, again};
use super::newcomer;
use super::page::{Frame, shown};
use super::sign_in::{Browser, Network};
use super::trouble::Trouble;
use crate::control::accounts::now_s;
use crate::pure::config::values::SignUp;
use crate::pure::secret;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new().route("/sign-up", get(form).post(sign_up))
}

#[derive(Template)]
#[template(path = "sign_up.html")]
struct SignUpPage {
    frame: Frame,
    form: Filled,
}

async fn form(State(at): State<Dashboard>, cookie: Cookie) -> Result<Response, Trouble> {
    is_open(&at)?;
    Ok(cookie.keep(page(&cookie, Filled::default())))
}

async fn sign_up(
    State(at): State<Dashboard>,
    cookie: Cookie,
    network: Network,
    Browser(browser): Browser,
    fields: Fields,
) -> Result<Response, Trouble> {
    is_open(&at)?;
    match make(&at, &cookie, network, browser, &fields).await {
        Ok(session) => Ok(session.keep_signed_in(Redirect::to("/").into_response())),
        Err(trouble) => again(trouble, &fields, |form| ready(Ok(page(&cookie, form)))).await,
    }
}

/// Makes the account, and a session of it.
async fn make(
    at: &Dashboard,
    cookie: &Cookie,
    network: Network,
    browser: String,
    fields: &Fields,
) -> Result<Cookie, Trouble> {
    let (name, of) = newcomer::with_organisation(fields)?;
    // Each account counts like a failure, so that a network gets a few and then waits.
    at.gatekeeper.attempt(SIGNING_UP, network).await?;
    let kept = at.hasher.hash(network.0, fields.text("password").to_owned()).await?;
    newcomer::enter(at, cookie, browser, move |store| store.sign_up(&name, &kept, &of, now_s()))
        .await
}

fn is_open(at: &Dashboard) -> Result<(), Trouble> {
    match at.sign_up {
        SignUp::Open => Ok(()),
        SignUp::Closed | SignUp::Invitation => Err(Trouble::absent()),
    }
}

fn page(cookie: &Cookie, form: Filled) -> Response {
    let form_token = secret::form_token(&cookie.text);
    let frame = Frame { form_token, ..Frame::bare("Make an account") };
    shown(StatusCode::OK, &SignUpPage { frame, form })
}

/// What all who sign up try together; no account has a control character in its name.
const SIGNING_UP: &str = "\0sign-up";
