//! `/set-up?key=…`: the first account. The link is said in the log while there is none, and worth nothing
//! from then on.

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
use crate::control::accounts::now_s;
use crate::pure::secret;

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
    form: Filled,
}

async fn form(
    State(at): State<Dashboard>,
    cookie: Cookie,
    Query(link): Query<Link>,
) -> Result<Response, Trouble> {
    is_open(&at, &link.key).await?;
    Ok(cookie.keep(page(&cookie, &link.key, Filled::default())))
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
    let session = match make(&at, &cookie, network, browser, &fields).await {
        Ok(session) => session,
        Err(trouble) => {
            return again(trouble, &fields, |form| ready(Ok(page(&cookie, key, form)))).await;
        }
    };
    tracing::info!("the first account was made; the set-up link is worth nothing any more");
    Ok(session.keep_signed_in(Redirect::to("/first-pull").into_response()))
}

/// Makes the account, and a session of it.
async fn make(
    at: &Dashboard,
    cookie: &Cookie,
    network: Network,
    browser: String,
    fields: &Fields,
) -> Result<Cookie, Trouble> {
    let (name, organisation) = newcomer::with_organisation(fields)?;
    let kept = at.hasher.hash(network.0, fields.text("password").to_owned()).await?;
    newcomer::enter(at, cookie, browser, move |store| {
        store.set_up(&name, &kept, &organisation, now_s())
    })
    .await
}

/// Whether the link is the one that was said, and nobody has used it.
async fn is_open(at: &Dashboard, key: &str) -> Result<(), Trouble> {
    match at.set_up.is(key) {
        true if !at.accounts.run(|store| store.has_accounts()).await? => Ok(()),
        true | false => Err(Trouble::absent()),
    }
}

fn page(cookie: &Cookie, key: &str, form: Filled) -> Response {
    let form_token = secret::form_token(&cookie.text);
    let frame = Frame { form_token, ..Frame::bare("Set up") };
    shown(StatusCode::OK, &SetUpPage { frame, key, form })
}
