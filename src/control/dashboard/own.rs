//! `/account`: one's own password, second factor, and sessions.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};

use super::Dashboard;
use super::form::Fields;
use super::page::{Frame, shown, time};
use super::sign_in::Network;
use super::trouble::Trouble;
use super::viewer::Signed;
use crate::control::accounts::now_s;
use crate::control::accounts::own::Session;
use crate::control::accounts::rights::Right;
use crate::control::accounts::sessions::By;
use crate::messages::random::random;
use crate::pure::query::put_encoded;
use crate::pure::{password, totp};

pub(super) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/account", get(own))
        .route("/account/password", post(change_password))
        .route("/account/sessions", post(end_session))
        .route("/account/second-factor", get(offer).post(turn_on))
        .route("/account/second-factor/off", post(turn_off))
}

#[derive(Template)]
#[template(path = "account.html")]
struct OwnPage<'p> {
    frame: Frame,
    sessions: Vec<Session>,
    /// The one that asks.
    session: Option<i64>,
    has_second_factor: bool,
    wrong: &'p str,
}

impl OwnPage<'_> {
    fn is_this(&self, session: &i64) -> bool {
        self.session == Some(*session)
    }
}

#[derive(Template)]
#[template(path = "second_factor.html")]
struct OfferPage<'p> {
    frame: Frame,
    secret: &'p str,
    /// Whether it replaces one.
    has_second_factor: bool,
    /// What an app on the same device opens.
    link: String,
    wrong: &'p str,
}

async fn own(State(at): State<Dashboard>, signed: Signed) -> Result<Response, Trouble> {
    page(&at, &signed, StatusCode::OK, "").await
}

async fn page(
    at: &Dashboard,
    signed: &Signed,
    status: StatusCode,
    wrong: &str,
) -> Result<Response, Trouble> {
    let account = signed.who.account;
    let (sessions, has_second_factor) = at
        .accounts
        .run(move |store| Ok((store.sessions(account)?, store.has_second_factor(account)?)))
        .await?;
    let session = session(signed);
    let frame = signed.frame("Your account");
    Ok(shown(status, &OwnPage { frame, sessions, session, has_second_factor, wrong }))
}

async fn change_password(
    State(at): State<Dashboard>,
    signed: Signed,
    network: Network,
    fields: Fields,
) -> Result<Response, Trouble> {
    if !is_right(&at, &signed, network, &fields).await? {
        return page(&at, &signed, StatusCode::FORBIDDEN, WRONG).await;
    }
    if let Err(why) = password::judge(fields.text("new_password"), &signed.who.login) {
        let wrong = format!("The new password {why}.");
        return page(&at, &signed, StatusCode::BAD_REQUEST, &wrong).await;
    }
    let password = at.hasher.hash(network.0, fields.text("new_password").to_owned()).await?;
    let (account, kept) = (signed.who.account, session(&signed));
    at.accounts
        .run_by(Right::own(signed.who), move |store, by| {
            store.change_password(by, account, &password, kept, now_s())
        })
        .await?;
    Ok(back())
}

async fn end_session(
    State(at): State<Dashboard>,
    signed: Signed,
    fields: Fields,
) -> Result<Response, Trouble> {
    let (account, session) = (signed.who.account, fields.number("session")?);
    at.accounts
        .run_by(Right::own(signed.who), move |store, _| store.close_session(account, session))
        .await?;
    Ok(back())
}

async fn offer(State(at): State<Dashboard>, signed: Signed) -> Result<Response, Trouble> {
    let bytes = random::<20>().map_err(|error| Trouble::failed(&error))?;
    offered(&at, &signed, StatusCode::OK, &totp::base32(&bytes), "").await
}

async fn offered(
    at: &Dashboard,
    signed: &Signed,
    status: StatusCode,
    secret: &str,
    wrong: &str,
) -> Result<Response, Trouble> {
    let account = signed.who.account;
    let has_second_factor = at.accounts.run(move |store| store.has_second_factor(account)).await?;
    let mut link = "otpauth://totp/pullgate:".to_owned();
    put_encoded(&mut link, &signed.who.login);
    link += &format!("?secret={secret}&issuer=pullgate");
    let frame = signed.frame("A second factor");
    Ok(shown(status, &OfferPage { frame, secret, has_second_factor, link, wrong }))
}

async fn turn_on(
    State(at): State<Dashboard>,
    signed: Signed,
    network: Network,
    fields: Fields,
) -> Result<Response, Trouble> {
    let text = fields.text("secret");
    let secret = totp::from_base32(text).filter(|secret| secret.len() == 20);
    let secret = secret.ok_or_else(|| Trouble::refused("The secret is not one of ours."))?;
    if !is_right(&at, &signed, network, &fields).await? {
        return offered(&at, &signed, StatusCode::FORBIDDEN, text, WRONG).await;
    }
    let now = now_s();
    let now_u = u64::try_from(now).unwrap_or(0);
    let Some(step) = totp::step(&secret, fields.text("code"), now_u, 0) else {
        let wrong = "The code is not right: is your clock?";
        return offered(&at, &signed, StatusCode::BAD_REQUEST, text, wrong).await;
    };
    if !is_code(&at, &signed, &fields, "present_code").await? {
        return offered(&at, &signed, StatusCode::FORBIDDEN, text, WRONG_CODE).await;
    }
    let account = signed.who.account;
    at.accounts
        .run_by(Right::own(signed.who), move |store, by| {
            store.set_second_factor(by, account, Some(&secret), step, now)
        })
        .await?;
    Ok(back())
}

async fn turn_off(
    State(at): State<Dashboard>,
    signed: Signed,
    network: Network,
    fields: Fields,
) -> Result<Response, Trouble> {
    if !is_right(&at, &signed, network, &fields).await? {
        return page(&at, &signed, StatusCode::FORBIDDEN, WRONG).await;
    }
    if !is_code(&at, &signed, &fields, "code").await? {
        return page(&at, &signed, StatusCode::FORBIDDEN, WRONG_CODE).await;
    }
    let account = signed.who.account;
    at.accounts
        .run_by(Right::own(signed.who), move |store, by| {
            store.set_second_factor(by, account, None, 0, now_s())
        })
        .await?;
    Ok(back())
}

/// Whether the password that was filled in is theirs: a browser that somebody left open is not enough for
/// what would lock them out.
async fn is_right(
    at: &Dashboard,
    signed: &Signed,
    network: Network,
    fields: &Fields,
) -> Result<bool, Trouble> {
    let login = signed.who.login.clone();
    at.gatekeeper.attempt(&login, network).await?;
    let wanted = login.clone();
    let found = at.accounts.run(move |store| store.credentials(&wanted)).await?;
    let kept = found.map(|found| found.password);
    let is_right = at.hasher.is_right(network.0, fields.text("password").to_owned(), kept).await?;
    if is_right {
        at.gatekeeper.well_done(&login, network).await;
    }
    Ok(is_right)
}

/// Whether the code of this field is one of the second factor that they have, if they have one: it guards what is
/// changed of it too, also from who has found out the password.
async fn is_code(
    at: &Dashboard,
    signed: &Signed,
    fields: &Fields,
    field: &str,
) -> Result<bool, Trouble> {
    at.gatekeeper.is_code(at, signed.who.account, fields.text(field)).await
}

fn session(signed: &Signed) -> Option<i64> {
    match signed.who.by {
        By::Session(session) => Some(session),
        By::Token { .. } => None,
    }
}

fn back() -> Response {
    Redirect::to("/account").into_response()
}

const WRONG: &str = "Your present password is not right.";
const WRONG_CODE: &str =
    "The code of your present second factor is not right, or was used already.";
