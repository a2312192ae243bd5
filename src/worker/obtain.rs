//! Getting a registry's answer in a client's stead: with its token, through its redirects.

use std::rc::Rc;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, VIA};

use crate::messages::meters::Counter;
use crate::messages::quotas::Said;
use crate::pure::config::values::Credentials;
use crate::pure::decide::Forward;
use crate::pure::desk::{self, Own, Shown};
use crate::pure::fault::{Fault, Kind};
use crate::pure::follow::{Course, Hop};
use crate::pure::http1::head::{Method, RequestHead};
use crate::pure::http1::pass::{self, Asked};
use crate::pure::http1::quota::quota;
use crate::pure::http1::response::{field, fields_named};
use crate::pure::oci::challenge::{self, Challenge};
use crate::pure::oci::endpoint::Endpoint;
use crate::pure::origin::Url;
use crate::pure::snapshot::Registry;
use crate::pure::tokens::{Identity, NoToken};
use crate::worker::upstream::token;
use crate::worker::upstream::token_service::{Login, Source};
use crate::worker::upstream::{self, Answer, Request};
use crate::worker::{Adopted, Worker};

/// What came of asking.
pub enum Obtained {
    /// The answer, whatever its status, with its body still to be read.
    Answered(Answer),
    /// Storage that the client can reach itself.
    HandOn {
        /// The redirect that said so.
        answer: Answer,
        /// Where it leads.
        to: Url,
    },
}

impl Obtained {
    /// The answer, whatever it leads to.
    pub fn answer(&self) -> &Answer {
        match self {
            Self::Answered(answer) | Self::HandOn { answer, .. } => answer,
        }
    }
}

/// Why there is no answer.
pub struct Trouble {
    /// What is wrong.
    pub fault: Fault,
    /// Whose fault it is, where that is not the registry itself.
    pub at: Option<Box<str>>,
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self { fault, at: None }
    }
}

impl From<NoToken> for Trouble {
    fn from(none: NoToken) -> Self {
        let at = match &none {
            // What a realm may not be is the gateway's word, not the realm's fault.
            NoToken::Failed { fault, host } if fault.kind != Kind::UpstreamForbidden => {
                Some(host.clone())
            }
            NoToken::Failed { .. } | NoToken::Denied(_) => None,
        };
        Self { fault: none.into(), at }
    }
}

/// What a registry is asked, and as whom.
pub struct Question {
    /// The configuration in use.
    pub adopted: Rc<Adopted>,
    /// Which of its registries.
    pub registry: usize,
    /// The repository's name there; empty for `/v2/`.
    pub repository: Box<str>,
    /// Who asks.
    pub who: Who,
    /// What is to be done.
    pub method: upstream::Method,
    /// What is asked for, as far as it decides what passes.
    pub asked: Asked,
    /// The same in origin-form, by the backend's name.
    pub target: String,
    /// What goes with every request on the way, whoever is asked.
    pub fields: HeaderMap,
    /// Whether the client has one host to reach.
    pub streams: bool,
    /// The public host that the client asked, if it sent a login there.
    pub login_for: Option<Box<str>>,
}

/// Who asks the registry.
pub enum Who {
    /// The gateway, as somebody.
    Gateway(Identity),
    /// The gateway, with the name and the password that the client has sent.
    Login(Login),
    /// The client itself, with what it has: a token of the registry's own, or nothing.
    Client(Option<HeaderValue>),
}

impl Question {
    /// What the client asks by `head`, of which `bytes` are the bytes, by `plan`.
    ///
    /// # Errors
    /// [`Kind::LoopDetected`]
    pub fn of_client(
        worker: &Worker,
        adopted: &Rc<Adopted>,
        plan: &Forward<'_>,
        head: &RequestHead<'_>,
        bytes: &[u8],
    ) -> Result<Self, Fault> {
        if pass::via_names(bytes, &adopted.via) {
            return Err(Fault::new(Kind::LoopDetected, ""));
        }
        let asked = asked(&plan.endpoint);
        let host = host_name(head.host.unwrap_or_default());
        Ok(Self {
            adopted: Rc::clone(adopted),
            registry: plan.registry,
            repository: plan.repository().into(),
            who: who(worker, adopted, plan, head),
            method: match head.method {
                Method::Head => upstream::Method::Head,
                Method::Get | Method::Other(_) => upstream::Method::Get,
            },
            asked,
            target: target(plan, asked),
            fields: base_fields(bytes, asked, &adopted.via),
            streams: plan.streams,
            login_for: head.authorization.and(host).map(Box::from),
        })
    }
}

/// Asks a registry.
///
/// # Errors
/// Whatever can be wrong with a registry, its token service or its redirects.
pub async fn obtain(worker: &Rc<Worker>, question: &Question) -> Result<Obtained, Trouble> {
    let origin = question.adopted.registries[question.registry].origin.clone();
    let mut asking = Asking {
        worker,
        question,
        url: Url { origin, target: question.target.clone() },
        authorization: None,
        has_left: false,
        followed: 0,
    };
    asking.log_in().await?;
    let mut answer = asking.ask().await?;
    if answer.head.status == 401
        && let Some((identity, challenge)) = asking.challenged(&answer)?
    {
        // The connection is free while the token is fetched.
        answer.discard(worker);
        asking.log_in_again(identity, challenge).await?;
        answer = asking.ask().await?;
    }
    while matches!(answer.head.status, 301 | 302 | 303 | 307 | 308) {
        match asking.hop(&answer).course()? {
            Course::HandOn(to) => return Ok(Obtained::HandOn { answer, to }),
            Course::Follow(to) => asking.go(to),
        }
        answer.discard(worker);
        answer = asking.ask().await?;
    }
    Ok(Obtained::Answered(answer))
}

/// One question on its way through a registry's demands.
struct Asking<'a> {
    worker: &'a Rc<Worker>,
    question: &'a Question,
    /// What is asked for next.
    url: Url,
    authorization: Option<HeaderValue>,
    /// Whether a redirect has led away from the registry. Nobody who was asked since may choose
    /// what is read there with its authorization.
    has_left: bool,
    followed: usize,
}

impl Asking<'_> {
    fn source(&self) -> Source {
        let Question { adopted, registry, who, .. } = self.question;
        let login = match who {
            Who::Login(login) => Some(login.clone()),
            Who::Gateway(_) | Who::Client(_) => None,
        };
        Source { adopted: Rc::clone(adopted), registry: *registry, login }
    }

    /// Who the gateway is to the registry; `None` where that is the client.
    fn identity(&self) -> Option<Identity> {
        match &self.question.who {
            Who::Gateway(identity) => Some(*identity),
            Who::Login(login) => Some(login.identity()),
            Who::Client(_) => None,
        }
    }

    async fn log_in(&mut self) -> Result<(), Trouble> {
        let Question { repository, who, .. } = self.question;
        self.authorization = match (self.identity(), who) {
            (Some(identity), _) => {
                let source = self.source();
                let held = token::authorization(self.worker, &source, repository, identity);
                held.await.map_err(|none| self.trouble(none))?
            }
            (None, Who::Client(token)) => token.clone(),
            (None, Who::Gateway(_) | Who::Login(_)) => None,
        };
        Ok(())
    }

    /// What the registry demands of the gateway; `None` where that is the client's to answer.
    fn challenged(&self, answer: &Answer) -> Result<Option<(Identity, Challenge)>, Fault> {
        let Some(identity) = self.identity() else {
            return Ok(None);
        };
        let challenge = challenge::parse(fields_named(&answer.head_bytes, "WWW-Authenticate"))?;
        Ok(challenge.map(|challenge| (identity, challenge)))
    }

    async fn log_in_again(
        &mut self,
        identity: Identity,
        challenge: Challenge,
    ) -> Result<(), Trouble> {
        let Self { worker, question, authorization, .. } = &*self;
        let (source, refused) = (self.source(), authorization.as_ref());
        let repository = &question.repository;
        let renewed = token::renew(worker, &source, repository, identity, challenge, refused);
        let renewed = renewed.await.map_err(|none| self.trouble(none))?;
        self.authorization = Some(renewed);
        Ok(())
    }

    /// A login that is not taken is the client's own trouble.
    fn trouble(&self, none: NoToken) -> Trouble {
        match (&self.question.who, none) {
            (Who::Login(_), NoToken::Denied(401)) => Fault::new(Kind::LoginRefused, "").into(),
            (_, none) => none.into(),
        }
    }

    async fn ask(&self) -> Result<Answer, Fault> {
        let Self { worker, question, url, .. } = self;
        let mut fields = question.fields.clone();
        // Authorization belongs to one origin (RFC 9110, 11.5), whoever it is redirected to.
        let is_registry = url.origin == self.registry().origin;
        if let Some(mut authorization) = self.authorization.clone()
            && is_registry
            && !self.has_left
        {
            authorization.set_sensitive(true);
            fields.insert(AUTHORIZATION, authorization);
        }
        let request = Request {
            origin: url.origin.clone(),
            registry: is_registry.then_some(question.registry),
            method: question.method,
            target: url.target.clone(),
            fields,
        };
        if matches!(question.who, Who::Gateway(_)) && question.asked == Asked::Manifest {
            // Each time: a registry that wants a token first is asked twice.
            let counter = match question.method {
                upstream::Method::Head => Counter::ManifestHeads,
                upstream::Method::Get => Counter::ManifestGets,
            };
            worker.meters.add(counter, 1);
        }
        let answer = upstream::ask(worker, &question.adopted, &request).await?;
        if let (Who::Gateway(identity), true) = (&question.who, is_registry)
            && let Some(quota) = quota(&answer.head_bytes)
        {
            let registry = self.registry().origin.authority().into();
            worker.quotas.offer(Said { registry, identity: *identity, quota });
        }
        Ok(answer)
    }

    fn hop<'h>(&'h self, answer: &'h Answer) -> Hop<'h> {
        let Question { adopted, asked, streams, login_for, .. } = self.question;
        Hop {
            asked: &self.url,
            location: field(&answer.head_bytes, "Location"),
            registry: &self.registry().origin,
            is_blob: *asked == Asked::Blob,
            streams: *streams,
            login_for: login_for.as_deref(),
            followed: self.followed,
            most: adopted.upstream.max_redirects,
        }
    }

    fn go(&mut self, to: Url) {
        self.has_left |= to.origin != self.registry().origin;
        self.url = to;
        self.followed += 1;
    }

    fn registry(&self) -> &Registry {
        &self.question.adopted.registries[self.question.registry]
    }
}

/// Who asks in the place of the client that sent `head`. Its login goes to the registry of its package
/// alone; one that is sealed into a token of ours was sealed for that registry.
fn who(worker: &Worker, adopted: &Adopted, plan: &Forward<'_>, head: &RequestHead<'_>) -> Who {
    match plan.credentials {
        Credentials::None => return Who::Gateway(Identity::Anonymous),
        Credentials::Registry => {
            return Who::Gateway(adopted.keyring().identity(plan.registry));
        }
        Credentials::Client => {}
    }
    let token = match Shown::of(head.authorization) {
        Shown::Nothing => return Who::Client(None),
        Shown::Login(login) => return Who::Login(Login::new(login)),
        Shown::Token(token) => token,
    };
    let has_several = || adopted.routes.site(head.host.unwrap_or_default()).has_several_logins();
    match worker.keys().read(token, plan.matched.domain, worker.clock.unix_s()) {
        Some(Own::Login { base, login }) if base == adopted.registries[plan.registry].base => {
            match login.starts_with(desk::BEARER) {
                true => Who::Client(HeaderValue::from_bytes(&login).ok()),
                false => Who::Login(Login::new(&login)),
            }
        }
        Some(Own::Login { .. } | Own::Anybody) => Who::Client(None),
        // Ours that has ended means nothing to the registry, and is sent to nobody.
        None if desk::is_own(token) => Who::Client(None),
        // Whose it is nobody knows: it may be another registry's.
        None if has_several() => Who::Client(None),
        None => {
            let value = head.authorization.and_then(|value| HeaderValue::from_bytes(value).ok());
            Who::Client(value)
        }
    }
}

fn asked(endpoint: &Endpoint<'_>) -> Asked {
    match endpoint {
        Endpoint::Manifest { .. } => Asked::Manifest,
        Endpoint::Blob { .. } => Asked::Blob,
        Endpoint::TagsList { .. } | Endpoint::Referrers { .. } => Asked::List,
        Endpoint::Base
        | Endpoint::Catalog
        | Endpoint::Upload { .. }
        | Endpoint::Root
        | Endpoint::Robots
        | Endpoint::Token => Asked::Base,
    }
}

/// The origin-form of what is asked for, by the backend's name.
fn target(plan: &Forward<'_>, asked: Asked) -> String {
    let (kind, what) = plan.endpoint.tail();
    let mut target = format!("/v2/{}{kind}{what}", plan.repository());
    let query = pass::query(plan.query, asked);
    if let Ok(query) = std::str::from_utf8(&query)
        && !query.is_empty()
    {
        target.push('?');
        target.push_str(query);
    }
    target
}

/// What goes with every request on the way, whoever is asked.
pub fn base_fields(bytes: &[u8], asked: Asked, via: &str) -> HeaderMap {
    let mut passed = HeaderMap::new();
    let mut pass = |name: &str, value: &[u8]| {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            passed.append(name, value);
        }
    };
    for (name, value) in pass::request_fields(bytes, asked) {
        pass(name, value);
    }
    for value in fields_named(bytes, "Via") {
        pass(VIA.as_str(), value);
    }
    pass(VIA.as_str(), format!("1.1 {via}").as_bytes());
    if asked != Asked::Blob {
        // It is read here, and a digest is of the bytes as they are.
        pass(ACCEPT_ENCODING.as_str(), b"identity");
    }
    passed
}

/// The host in a `Host` field, without its port.
fn host_name(host: &[u8]) -> Option<&str> {
    let host = std::str::from_utf8(host).ok()?;
    Some(crate::pure::oci::backend::split_port(host).0)
}
