//! `/account`: one's own password, second factor, and sessions.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};

use super::Dashboard;
use super::form::{Fields, Filled, again};
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
struct OwnPage {
    frame: Frame,
    sessions: Vec<Session>,
    /// The one that asks.
    session: Option<i64>,
    has_second_factor: bool,
    /// To change the password, and to turn the second factor off.
    form: Filled,
    off: Filled,
}

impl OwnPage {
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
    form: Filled,
}

async fn own(State(at): State<Dashboard>, signed: Signed) -> Result<Response, Trouble> {
    page(&at, &signed, Filled::default(), Filled::default()).await
}

async fn page(
    at: &Dashboard,
    signed: &Signed,
    form: Filled,
    off: Filled,
) -> Result<Response, Trouble> {
    let account = signed.who.account;
    let (sessions, has_second_factor) = at
        .accounts
        .run(move |store| Ok((store.sessions(account)?, store.has_second_factor(account)?)))
        .await?;
    let session = session(signed);
    let (frame, off) = (signed.frame("Your account"), off.below("off-"));
    let page = OwnPage { frame, sessions, session, has_second_factor, form, off };
    Ok(shown(StatusCode::OK, &page))
}

async fn change_password(
    State(at): State<Dashboard>,
    signed: Signed,
    network: Network,
    fields: Fields,
) -> Result<Response, Trouble> {
    let done = put_password(&at, &signed, network, &fields).await;
    told(&at, &signed, &fields, done, |form| (form, Filled::default())).await
}

async fn put_password(
    at: &Dashboard,
    signed: &Signed,
    network: Network,
    fields: &Fields,
) -> Result<(), Trouble> {
    is_right(at, signed, network, fields).await?;
    password::judge(fields.text("new_password"), &signed.who.login)
        .map_err(|why| Trouble::refused(format!("The new password {why}.")).at("new_password"))?;
    let password = at.hasher.hash(network.0, fields.text("new_password").to_owned()).await?;
    let (account, kept) = (signed.who.account, session(signed));
    let change = at.accounts.run_by(Right::own(signed.who.clone()), move |store, by| {
        store.change_password(by, account, &password, kept, now_s())
    });
    Ok(change.await?)
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
    offered(&at, &signed, &totp::base32(&bytes), Filled::default()).await
}

async fn offered(
    at: &Dashboard,
    signed: &Signed,
    secret: &str,
    form: Filled,
) -> Result<Response, Trouble> {
    let account = signed.who.account;
    let has_second_factor = at.accounts.run(move |store| store.has_second_factor(account)).await?;
    let mut link = "otpauth://totp/pullgate:".to_owned();
    put_encoded(&mut link, &signed.who.login);
    link += &format!("?secret={secret}&issuer=pullgate");
    let frame = signed.frame("A second factor");
    Ok(shown(StatusCode::OK, &OfferPage { frame, secret, has_second_factor, link, form }))
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
    match put_second_factor(&at, &signed, network, &fields, secret).await {
        Ok(()) => Ok(back()),
        Err(trouble) => again(trouble, &fields, |form| offered(&at, &signed, text, form)).await,
    }
}

async fn put_second_factor(
    at: &Dashboard,
    signed: &Signed,
    network: Network,
    fields: &Fields,
    secret: Vec<u8>,
) -> Result<(), Trouble> {
    is_right(at, signed, network, fields).await?;
    let now = now_s();
    let now_u = u64::try_from(now).unwrap_or(0);
    let Some(step) = totp::step(&secret, fields.text("code"), now_u, 0) else {
        return Err(Trouble::refused("The code is not right: is your clock?").at("code"));
    };
    is_code(at, signed, fields, "present_code").await?;
    let account = signed.who.account;
    let put = at.accounts.run_by(Right::own(signed.who.clone()), move |store, by| {
        store.set_second_factor(by, account, Some(&secret), step, now)
    });
    Ok(put.await?)
}

async fn turn_off(
    State(at): State<Dashboard>,
    signed: Signed,
    network: Network,
    fields: Fields,
) -> Result<Response, Trouble> {
    let done = end_second_factor(&at, &signed, network, &fields).await;
    told(&at, &signed, &fields, done, |off| (Filled::default(), off)).await
}

async fn end_second_factor(
    at: &Dashboard,
    signed: &Signed,
    network: Network,
    fields: &Fields,
) -> Result<(), Trouble> {
    is_right(at, signed, network, fields).await?;
    is_code(at, signed, fields, "code").await?;
    let account = signed.who.account;
    let put = at.accounts.run_by(Right::own(signed.who.clone()), move |store, by| {
        store.set_second_factor(by, account, None, 0, now_s())
    });
    Ok(put.await?)
}

/// That the password that was filled in is theirs: a browser that somebody left open is not enough for
/// what would lock them out.
async fn is_right(
    at: &Dashboard,
    signed: &Signed,
    network: Network,
    fields: &Fields,
) -> Result<(), Trouble> {
    let login = signed.who.login.clone();
    at.gatekeeper.attempt(&login, network).await?;
    let wanted = login.clone();
    let found = at.accounts.run(move |store| store.credentials(&wanted)).await?;
    let kept = found.map(|found| found.password);
    let is_right = at.hasher.is_right(network.0, fields.text("password").to_owned(), kept).await?;
    if !is_right {
        let why = "Your present password is not right.";
        return Err(Trouble::new(StatusCode::FORBIDDEN, "Not allowed", why).at("password"));
    }
    at.gatekeeper.well_done(&login, network).await;
    Ok(())
}

/// That the code of this field is one of the second factor that they have, if they have one: it guards what is
/// changed of it too, also from who has found out the password.
async fn is_code(
    at: &Dashboard,
    signed: &Signed,
    fields: &Fields,
    field: &'static str,
) -> Result<(), Trouble> {
    if at.gatekeeper.is_code(at, signed.who.account, fields.text(field)).await? {
        return Ok(());
    }
    let why = "The code of your present second factor is not right, or was used already.";
    Err(Trouble::new(StatusCode::FORBIDDEN, "Not allowed", why).at(field))
}

/// The page again after one of its forms; `which` says which of the two that was.
async fn told(
    at: &Dashboard,
    signed: &Signed,
    fields: &Fields,
    done: Result<(), Trouble>,
    which: impl FnOnce(Filled) -> (Filled, Filled),
) -> Result<Response, Trouble> {
    let Err(trouble) = done else { return Ok(back()) };
    let page = |filled| {
        let (form, off) = which(filled);
        page(at, signed, form, off)
    };
    again(trouble, fields, page).await
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
