//! `/sign-in` and `/sign-out`.
//!
//! Who fails is slowed down, in memory, where a network is known by a number that no address can be made of,
//! and not at all after a restart. What waits is a network that tries an account, and a network that tries
//! any: so nobody locks an account's owner out, who comes from elsewhere. Where an account is tried from
//! ever new networks, each try at it takes a few seconds, the owner's too.

use std::convert::Infallible;
use std::future::ready;
use std::hash::{BuildHasher as _, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::{FromRequestParts, Query, State};
use axum::http::StatusCode;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::Dashboard;
use super::address::local;
use super::cookie::Cookie;
use super::form::{Fields, Filled, again};
use super::newcomer;
use super::page::{Frame, shown};
use super::trouble::Trouble;
use super::viewer::{Signed, Viewer};
use crate::control::accounts::now_s;
use crate::control::accounts::sessions::By;
use crate::messages::clock::monotonic_us;
use crate::pure::browser;
use crate::pure::config::values::SignUp;
use crate::pure::http1::forwarded::{ForwardedFields, client_address, client_key, mapped};
use crate::pure::secret;
use crate::pure::throttle::{Bound, Limits, Throttle};

pub(super) fn routes() -> Router<Dashboard> {
    Router::new().route("/sign-in", get(door).post(sign_in)).route("/sign-out", post(sign_out))
}

/// Who has failed lately.
pub(super) struct Gatekeeper {
    hasher: RandomState,
    failed: Mutex<Failed>,
}

struct Failed {
    /// At an account, from a network.
    there: Throttle,
    /// From a network, at any account.
    from: Throttle,
    /// At an account, from any network.
    at: Throttle,
    /// At an account's second factor, by who has its password.
    codes: Bound,
}

impl Gatekeeper {
    pub(super) fn new() -> Self {
        let [there, from, at] = [OF_BOTH, OF_NETWORK, OF_ACCOUNT].map(Throttle::new);
        let codes = Bound::new(WRONG_CODES_MAX, WRONG_CODES_S);
        Self { hasher: RandomState::new(), failed: Mutex::new(Failed { there, from, at, codes }) }
    }

    /// Takes a try for failed until [`Self::well_done`] says otherwise. Comes back a few seconds later
    /// where an account is tried from everywhere.
    ///
    /// # Errors
    /// That this network has to wait.
    pub(super) async fn attempt(&self, login: &str, network: Network) -> Result<(), Trouble> {
        let (there, account) = self.keys(login, network);
        let now_s = monotonic_us() / 1_000_000;
        let mut failed = self.failed.lock().await;
        let Failed { there: both, from, at, .. } = &mut *failed;
        let waits = both.check(there, now_s).err().max(from.check(network.0, now_s).err());
        if let Some(wait_s) = waits {
            return Err(Trouble::too_often(wait_s));
        }
        let slowed_s = at.check(account, now_s).err().unwrap_or_default();
        both.count(there, now_s);
        from.count(network.0, now_s);
        at.count(account, now_s);
        drop(failed);
        // Connections are bounded, and so are those who wait here.
        tokio::time::sleep(Duration::from_secs(slowed_s)).await;
        Ok(())
    }

    /// It was who they said.
    pub(super) async fn well_done(&self, login: &str, network: Network) {
        let (there, account) = self.keys(login, network);
        let mut failed = self.failed.lock().await;
        failed.there.forget(there);
        // Not forgotten: who has an account of their own may guess others' as slowly as everybody, and
        // who guesses an account goes on while its owner signs in.
        failed.from.take_back(network.0);
        failed.at.take_back(account);
    }

    /// Whether this is a code of the account's second factor that nobody has used, of whose password is right; yes
    /// where it has none.
    ///
    /// # Errors
    /// That there were too many wrong ones.
    pub(super) async fn is_code(
        &self,
        at: &Dashboard,
        account: i64,
        code: &str,
    ) -> Result<bool, Trouble> {
        if !at.accounts.run(move |store| store.has_second_factor(account)).await? {
            return Ok(true);
        }
        let key = self.hasher.hash_one(account);
        let counted = self.failed.lock().await.codes.count(key, monotonic_us() / 1_000_000);
        counted.map_err(too_many_codes)?;
        let code = code.to_owned();
        let is_right =
            at.accounts.run(move |store| store.take_code(account, &code, now_s())).await?;
        if is_right {
            self.failed.lock().await.codes.take_back(key);
        }
        Ok(is_right)
    }

    fn keys(&self, login: &str, network: Network) -> (u64, u64) {
        (self.hasher.hash_one((login, network.0)), self.hasher.hash_one(login))
    }
}

fn too_many_codes(wait_s: u64) -> Trouble {
    let why = format!(
        "There were {WRONG_CODES_MAX} wrong codes of this account's second factor within {} minutes, all with its \
         right password. Wait {wait_s} seconds and try again. If that was not you, change the password: somebody \
         has it.",
        WRONG_CODES_S / 60
    );
    let trouble = Trouble::new(StatusCode::TOO_MANY_REQUESTS, "Too many wrong codes", why);
    Trouble { retry_s: Some(wait_s), ..trouble }
}

/// Where a request comes from: an IPv4 address or an IPv6 /64, as a number that stands for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Network(pub(super) u64);

impl FromRequestParts<Dashboard> for Network {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, at: &Dashboard) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<SocketAddr>();
        let peer = peer.map_or([0; 16], |peer| mapped(peer.ip()));
        let mut fields = ForwardedFields::default();
        for value in parts.headers.get_all("forwarded") {
            fields.push_forwarded(value.as_bytes());
        }
        for value in parts.headers.get_all("x-forwarded-for") {
            fields.push_x_forwarded_for(value.as_bytes());
        }
        let snapshot = at.in_force.snapshot();
        let address = client_address(&fields, peer, &snapshot.trusted_proxies);
        Ok(Self(at.gatekeeper.hasher.hash_one(client_key(address))))
    }
}

/// What follows after signing in.
#[derive(Deserialize)]
struct Next {
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "sign_in.html")]
struct SignInPage<'p> {
    frame: Frame,
    next: &'p str,
    form: Filled,
    /// Whether anybody may make an account.
    is_open: bool,
}

async fn door(
    State(at): State<Dashboard>,
    viewer: Viewer,
    cookie: Cookie,
    Query(next): Query<Next>,
) -> Response {
    let next = next.next.as_deref().map_or("/", local);
    if viewer.who.is_some() {
        return Redirect::to(next).into_response();
    }
    cookie.keep(page(&at, &cookie, next, Filled::default()))
}

async fn sign_in(
    State(at): State<Dashboard>,
    cookie: Cookie,
    network: Network,
    browser: Browser,
    fields: Fields,
) -> Result<Response, Trouble> {
    let next = local(fields.text("next"));
    match enter(&at, &cookie, network, browser, &fields).await {
        Ok(session) => Ok(session.keep_signed_in(Redirect::to(next).into_response())),
        Err(trouble) => {
            again(trouble, &fields, |form| ready(Ok(page(&at, &cookie, next, form)))).await
        }
    }
}

/// A session of who says that they have this account, if they do.
async fn enter(
    at: &Dashboard,
    cookie: &Cookie,
    network: Network,
    Browser(browser): Browser,
    fields: &Fields,
) -> Result<Cookie, Trouble> {
    let login = fields.text("login").trim().to_lowercase();
    at.gatekeeper.attempt(&login, network).await?;
    let wanted = login.clone();
    let found = at.accounts.run(move |store| store.credentials(&wanted)).await?;
    let kept = found.as_ref().map(|found| found.password.clone());
    let is_right = at.hasher.is_right(network.0, fields.text("password").to_owned(), kept).await?;
    let wrong = || {
        let why = "The name, the password or the code is not right.";
        Trouble::new(StatusCode::UNAUTHORIZED, "Not signed in", why).at("password")
    };
    let account = found.filter(|_| is_right).ok_or_else(wrong)?.account;
    if !at.gatekeeper.is_code(at, account, fields.text("code")).await? {
        return Err(wrong());
    }
    at.gatekeeper.well_done(&login, network).await;
    newcomer::enter(at, cookie, browser, move |_| Ok(account)).await
}

async fn sign_out(
    State(at): State<Dashboard>,
    signed: Signed,
    cookie: Cookie,
    _fields: Fields,
) -> Result<Response, Trouble> {
    let account = signed.who.account;
    if let By::Session(session) = signed.who.by {
        at.accounts.run(move |store| store.close_session(account, session)).await?;
    }
    Ok(cookie.forget(Redirect::to("/sign-in").into_response()))
}

fn page(at: &Dashboard, cookie: &Cookie, next: &str, form: Filled) -> Response {
    let form_token = secret::form_token(&cookie.text);
    let frame = Frame { form_token, ..Frame::bare("Sign in") };
    let is_open = at.sign_up == SignUp::Open;
    shown(StatusCode::OK, &SignInPage { frame, next, form, is_open })
}

/// Which browser it is, in words.
pub(super) struct Browser(pub(super) String);

impl<S: Sync> FromRequestParts<S> for Browser {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let said = parts.headers.get(USER_AGENT).and_then(|said| said.to_str().ok());
        Ok(Self(browser::family(said.unwrap_or_default())))
    }
}

/// Of a million codes three are right at a time: who has the password needs 240 days of guessing for an even chance.
const WRONG_CODES_MAX: usize = 10;
const WRONG_CODES_S: u64 = 15 * 60;
/// A person's mistakes cost nothing; a guesser has a thousand tries a day at one account from each network.
const OF_BOTH: Limits =
    Limits { free: 5, wait_max_s: 60, forgotten_after_s: 3600, many_max: 10_000 };
/// A network may be a whole office.
const OF_NETWORK: Limits =
    Limits { free: 30, wait_max_s: 900, forgotten_after_s: 3600, many_max: 10_000 };
/// Four seconds at the most: whoever has ten thousand networks is slowed down, and the owner is let in.
const OF_ACCOUNT: Limits =
    Limits { free: 20, wait_max_s: 4, forgotten_after_s: 3600, many_max: 10_000 };
