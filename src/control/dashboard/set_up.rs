//! `/set-up?key=…`: the first account. The link is said in the log while there is none, and worth nothing
//! from then on.

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
use crate::control::accounts::now_s;
use crate::pure::{account, password, secret};

pub(super) fn routes() -> Router<Dashboard> {
    Router::new().route("/set-up", get(form).post(set_up))
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    key: String,
}

#[derive(Template)]
#[template(path = "set_up.html")]
struct SetUpPage<'p> {
    frame: Frame,
    key: &'p str,
    login: &'p str,
    organisation: &'p str,
    wrong: &'p str,
}

async fn form(
    State(at): State<Dashboard>,
    cookie: Cookie,
    Query(link): Query<Link>,
) -> Result<Response, Trouble> {
    is_open(&at, &link.key).await?;
    let page = page(StatusCode::OK, &cookie, &link.key, ("", ""), "");
    Ok(cookie.keep(page))
}

async fn set_up(
    State(at): State<Dashboard>,
    cookie: Cookie,
    network: Network,
    Browser(browser): Browser,
    fields: Fields,
) -> Result<Response, Trouble> {
    let key = fields.text("key");
    is_open(&at, key).await?;
    let (login, organisation) = (fields.text("login"), fields.text("organisation"));
    let checked = || {
        let name = account::login(login).map_err(|why| format!("The name {why}."))?;
        let organisation = account::organisation(organisation)
            .map_err(|why| format!("The organisation's name {why}."))?;
        password::judge(fields.text("password"), &name)
            .map_err(|why| format!("The password {why}."))?;
        Ok::<_, String>((name, organisation))
    };
    let (name, organisation) = match checked() {
        Ok(checked) => checked,
        Err(wrong) => {
            let filled = (login, organisation);
            return Ok(page(StatusCode::BAD_REQUEST, &cookie, key, filled, &wrong));
        }
    };
    let kept = at.hasher.hash(network.0, fields.text("password").to_owned()).await?;
    let session = cookie.renewed()?;
    let (before, secret) = (cookie.text, session.text.clone());
    at.accounts
        .run(move |store| {
            let account = store.set_up(&name, &kept, &organisation, now_s())?;
            store.open_session(account, &before, &secret, &browser, now_s())
        })
        .await?;
    tracing::info!("the first account was made; the set-up link is worth nothing any more");
    Ok(session.keep_signed_in(Redirect::to("/first-pull").into_response()))
}

/// Whether the link is the one that was said, and nobody has used it.
async fn is_open(at: &Dashboard, key: &str) -> Result<(), Trouble> {
    match secret::is_same(key, &at.set_up) {
        true if !at.accounts.run(|store| store.has_accounts()).await? => Ok(()),
        true | false => Err(Trouble::absent()),
    }
}

fn page(
    status: StatusCode,
    cookie: &Cookie,
    key: &str,
    (login, organisation): (&str, &str),
    wrong: &str,
) -> Response {
    let form_token = secret::form_token(&cookie.text);
    let frame = Frame { form_token, ..Frame::bare("Set up") };
    shown(status, &SetUpPage { frame, key, login, organisation, wrong })
}
