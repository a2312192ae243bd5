//! `/sign-up`: an account for anybody, with an organisation of its own, where `admin.sign_up` is `open`.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;

use super::Dashboard;
use super::cookie::Cookie;
use super::form::Fields;
use super::page::{Frame, shown};
use super::sign_in::{Browser, Network};
use super::trouble::Trouble;
use crate::control::accounts::now_s;
use crate::pure::config::values::SignUp;
use crate::pure::{account, password, secret};

pub(super) fn routes() -> Router<Dashboard> {
    Router::new().route("/sign-up", get(form).post(sign_up))
}

#[derive(Template)]
#[template(path = "sign_up.html")]
struct SignUpPage<'p> {
    frame: Frame,
    login: &'p str,
    organisation: &'p str,
    wrong: &'p str,
}

async fn form(State(at): State<Dashboard>, cookie: Cookie) -> Result<Response, Trouble> {
    is_open(&at)?;
    Ok(cookie.keep(page(StatusCode::OK, &cookie, ("", ""), "")))
}

async fn sign_up(
    State(at): State<Dashboard>,
    cookie: Cookie,
    network: Network,
    Browser(browser): Browser,
    fields: Fields,
) -> Result<Response, Trouble> {
    is_open(&at)?;
    let (login, organisation) = (fields.text("login"), fields.text("organisation"));
    let checked = || {
        let name = account::login(login).map_err(|why| format!("The name {why}."))?;
        let organisation = account::organisation(organisation)
            .map_err(|why| format!("The organisation's name {why}."))?;
        password::judge(fields.text("password"), &name)
            .map_err(|why| format!("The password {why}."))?;
        Ok::<_, String>((name, organisation))
    };
    let (name, of) = match checked() {
        Ok(checked) => checked,
        Err(wrong) => {
            return Ok(page(StatusCode::BAD_REQUEST, &cookie, (login, organisation), &wrong));
        }
    };
    // Each account counts like a failure, so that a network gets a few and then waits.
    at.gatekeeper.attempt(SIGNING_UP, network).await?;
    let kept = at.hasher.hash(network.0, fields.text("password").to_owned()).await?;
    let session = cookie.renewed()?;
    let (before, secret) = (cookie.text, session.text.clone());
    at.accounts
        .run(move |store| {
            let account = store.sign_up(&name, &kept, &of, now_s())?;
            store.open_session(account, &before, &secret, &browser, now_s())
        })
        .await?;
    Ok(session.keep_signed_in(Redirect::to("/").into_response()))
}

fn is_open(at: &Dashboard) -> Result<(), Trouble> {
    match at.sign_up {
        SignUp::Open => Ok(()),
        SignUp::Closed | SignUp::Invitation => Err(Trouble::absent()),
    }
}

fn page(
    status: StatusCode,
    cookie: &Cookie,
    (login, organisation): (&str, &str),
    wrong: &str,
) -> Response {
    let form_token = secret::form_token(&cookie.text);
    let frame = Frame { form_token, ..Frame::bare("Make an account") };
    shown(status, &SignUpPage { frame, login, organisation, wrong })
}

/// What all who sign up try together; no account has a control character in its name.
const SIGNING_UP: &str = "\0sign-up";
