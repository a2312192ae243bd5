//! One exchange with a token service (distribution's token authentication specification).
//!
//! A registry names its token service itself, so it is asked only where the registry may name it:
//! whoever could be sent anywhere could be sent into the operator's network, or with an account's
//! password to a stranger. For the same reason no redirect is followed.

use std::rc::Rc;

use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue};

use crate::messages::clock::monotonic_us;
use crate::messages::keyring::Account;
use crate::messages::meters::Counter;
use crate::pure::fault::{Fault, Kind};
use crate::pure::limits::TOKEN_BYTES_MAX;
use crate::pure::oci::basic::basic;
use crate::pure::oci::challenge::{self, granted, may_be_realm};
use crate::pure::origin::Url;
use crate::pure::tokens::{Granted, Identity, NoToken};
use crate::worker::upstream::{self, Method, Request};
use crate::worker::within::within;
use crate::worker::{Adopted, Worker, sweeps};

/// A registry, as the configuration in use knows it.
#[derive(Clone)]
pub struct Source {
    /// The configuration.
    pub adopted: Rc<Adopted>,
    /// Which of its registries.
    pub registry: usize,
    /// The client's login, where it is asked as the client.
    pub login: Option<Login>,
}

/// A client's login: the value of its `Authorization`. It has no form that a log could print.
#[derive(Clone)]
pub struct Login(Rc<[u8]>);

impl Login {
    /// As it was sent, with its scheme.
    pub fn new(value: &[u8]) -> Self {
        Self(value.into())
    }

    /// Whose it is.
    pub fn identity(&self) -> Identity {
        Identity::client(&self.0)
    }

    /// As a field's value.
    pub fn value(&self) -> Result<HeaderValue, NoToken> {
        let mut value = HeaderValue::from_bytes(&self.0).map_err(|_| NoToken::Denied(401))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Asks for a token at `at`, once, as who `identity` is.
pub async fn fetch(
    worker: &Rc<Worker>,
    source: &Source,
    identity: Identity,
    at: &Url,
) -> Result<Given, NoToken> {
    let limits = &source.adopted.upstream;
    // However steadily a few bytes come: connecting, the head and the body.
    let patience = limits.connect_timeout + 2 * limits.first_byte_timeout;
    let asked = within(worker, sweeps(patience), ask(worker, source, identity, at)).await;
    let outcome = asked.unwrap_or_else(|| Err(failed(at, TOO_SLOW)));
    worker.meters.add(
        match &outcome {
            Ok(_) => Counter::TokensGranted,
            Err(NoToken::Denied(_)) => Counter::TokensDenied,
            Err(NoToken::Failed { .. }) => Counter::TokensFailed,
        },
        1,
    );
    if let Err(NoToken::Failed { fault, host }) = &outcome
        && let Some(repeats) = worker.wallet.complaints.borrow_mut().pass(monotonic_us())
    {
        let (base, what, detail) = (source.base(), fault.kind.row().label, fault.detail);
        tracing::warn!("no token for {base} from {host}: {what}: {detail}{repeats}");
    }
    outcome
}

/// A token that was given. It has no debug form: it is a secret.
#[derive(Clone)]
pub struct Given {
    /// What goes behind `Bearer `.
    pub token: String,
    /// When it was asked for.
    pub asked_at_us: u64,
    /// For how long it is good from then.
    pub expires_in_s: u64,
}

impl Given {
    /// To be held for many requests.
    pub fn held(self) -> Result<Granted<HeaderValue>, NoToken> {
        let token = secret(&format!("Bearer {}", self.token))?;
        Ok(Granted::for_s(token, self.asked_at_us, self.expires_in_s))
    }
}

/// A text that a request may carry and that no debug form shows.
pub fn secret(text: &str) -> Result<HeaderValue, NoToken> {
    // What is granted was parsed, and accounts are checked: this is never reached.
    let mut value = HeaderValue::from_str(text).map_err(|_| NoToken::Denied(401))?;
    value.set_sensitive(true);
    Ok(value)
}

impl Source {
    /// The registry's base, as `https://ghcr.io/v2/`.
    pub fn base(&self) -> &str {
        &self.adopted.registries[self.registry].base
    }

    /// Who is asked as, if not as anybody.
    pub fn account(&self, identity: Identity) -> Option<&Account> {
        match identity {
            Identity::Anonymous | Identity::Client(_) => None,
            Identity::Account(_) => {
                let key = self.adopted.keyring().registries.get(self.registry)?;
                key.account.as_ref().filter(|account| account.identity == identity)
            }
        }
    }

    /// The name and the password of who is asked as; `None` for anybody.
    pub fn login(&self, identity: Identity) -> Result<Option<HeaderValue>, NoToken> {
        match identity {
            Identity::Anonymous => Ok(None),
            Identity::Account(_) => {
                let account = self.account(identity);
                account.map(|it| secret(&basic(&it.username, &it.password))).transpose()
            }
            Identity::Client(_) => self.login.as_ref().map(Login::value).transpose(),
        }
    }
}

async fn ask(
    worker: &Rc<Worker>,
    source: &Source,
    identity: Identity,
    at: &Url,
) -> Result<Given, NoToken> {
    let registry = &source.adopted.registries[source.registry];
    if !may_be_realm(at, &registry.origin, &registry.token_hosts) {
        return Err(failed(at, Fault::new(Kind::UpstreamForbidden, NOT_ITS_REALM)));
    }
    let request = Request {
        origin: at.origin.clone(),
        registry: (at.origin.host == registry.origin.host).then_some(source.registry),
        method: Method::Get,
        target: at.target.clone(),
        fields: fields(source, identity)?,
    };
    let asked_at_us = monotonic_us();
    let answer = upstream::ask(worker, &source.adopted, &request);
    let answer = answer.await.map_err(|fault| failed(at, fault))?;
    let detail = match answer.head.status {
        200 => {
            let body = answer.read_body(worker, TOKEN_BYTES_MAX).await;
            let body = body.map_err(|fault| failed(at, fault))?;
            let granted = granted(&body).map_err(|fault| failed(at, fault))?;
            let challenge::Granted { token, expires_in_s } = granted;
            return Ok(Given { token, asked_at_us, expires_in_s });
        }
        status @ (401 | 403) => {
            answer.discard(worker);
            return Err(NoToken::Denied(status));
        }
        300..=399 => "it answers with a redirect, which is not followed there",
        429 => "it is asked too often",
        500.. => "it answers with an error of its own",
        _ => "it does not understand the question",
    };
    answer.discard(worker);
    Err(failed(at, Fault::new(Kind::TokenService, detail)))
}

fn failed(at: &Url, fault: Fault) -> NoToken {
    NoToken::Failed { fault, host: at.origin.authority().into() }
}

fn fields(source: &Source, identity: Identity) -> Result<HeaderMap, NoToken> {
    let mut fields = HeaderMap::with_capacity(4);
    fields.insert(ACCEPT, HeaderValue::from_static("application/json"));
    fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    fields.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_OWN));
    match (identity, source.login(identity)?) {
        (_, Some(login)) => drop(fields.insert(AUTHORIZATION, login)),
        (Identity::Anonymous, None) => {}
        (Identity::Account(_) | Identity::Client(_), None) => return Err(NoToken::Denied(401)),
    }
    Ok(fields)
}

/// What the gateway calls itself where it asks for itself.
pub const USER_AGENT_OWN: &str = concat!("pullgate/", env!("CARGO_PKG_VERSION"));

const TOO_SLOW: Fault = Fault::new(Kind::TokenService, "it takes too long");

const NOT_ITS_REALM: &str = "the registry may not send for tokens there; if it should, add that host to the registry's \
     token_hosts";
