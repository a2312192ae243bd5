//! Getting a registry's answer in a client's stead: with its token, through its redirects.

use std::rc::Rc;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, VIA};

use crate::pure::config::values::Credentials;
use crate::pure::decide::Forward;
use crate::pure::fault::{Fault, Kind};
use crate::pure::follow::{Course, Hop};
use crate::pure::http1::head::{Method, RequestHead};
use crate::pure::http1::pass::{self, Asked};
use crate::pure::http1::response::{field, fields};
use crate::pure::oci::challenge;
use crate::pure::oci::endpoint::Endpoint;
use crate::pure::origin::Url;
use crate::pure::tokens::{Identity, NoToken};
use crate::worker::upstream::token;
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
        match none {
            NoToken::Denied(401) => Fault::new(Kind::UpstreamUnauthorized, "").into(),
            NoToken::Denied(_) => Fault::new(Kind::UpstreamDenied, "").into(),
            NoToken::Failed { ref host, .. } => {
                let at = Some(host.clone());
                Self { fault: none.into(), at }
            }
        }
    }
}

/// Asks the registry of `plan` for what the client's `head`, of which `bytes` are the bytes, asks
/// for.
///
/// # Errors
/// [`Kind::LoopDetected`], and whatever can be wrong with a registry, its token service or its
/// redirects.
pub async fn obtain(
    worker: &Rc<Worker>,
    adopted: &Rc<Adopted>,
    plan: &Forward<'_>,
    head: &RequestHead<'_>,
    bytes: &[u8],
) -> Result<Obtained, Trouble> {
    if pass::via_names(bytes, &adopted.via) {
        return Err(Fault::new(Kind::LoopDetected, "").into());
    }
    let asked = asked(&plan.endpoint);
    let base_fields = base_fields(bytes, asked, &adopted.via);
    let registry = &adopted.registries[plan.registry];
    let repository = plan.repository();
    let identity = match plan.credentials {
        Credentials::None => Some(Identity::Anonymous),
        Credentials::Registry => Some(Identity::Account),
        Credentials::Client => None,
    };
    let mut authorization = match identity {
        Some(identity) => {
            token::authorization(worker, adopted, plan.registry, &repository, identity).await?
        }
        None => head.authorization.and_then(|value| HeaderValue::from_bytes(value).ok()),
    };
    let method = match head.method {
        Method::Head => upstream::Method::Head,
        Method::Get | Method::Other(_) => upstream::Method::Get,
    };
    let mut url = Url { origin: registry.origin.clone(), target: target(plan, &repository, asked) };
    let (mut is_renewed, mut followed) = (false, 0);
    loop {
        // Authorization belongs to one origin (RFC 9110, 11.5), whoever it is redirected to.
        let is_registry = url.origin == registry.origin;
        let mut fields = base_fields.clone();
        if let Some(authorization) = authorization.clone().filter(|_| is_registry) {
            fields.insert(AUTHORIZATION, authorization);
        }
        let request = Request {
            origin: url.origin.clone(),
            registry: is_registry.then_some(plan.registry),
            method,
            target: url.target.clone(),
            fields,
        };
        let answer = upstream::ask(worker, adopted, &request).await?;
        match answer.head.status {
            401 if is_registry && !is_renewed => {
                is_renewed = true;
                let lines = fields_named(&answer.head_bytes, "WWW-Authenticate");
                let (Some(identity), Some(challenge)) = (identity, challenge::parse(lines)?) else {
                    return Ok(Obtained::Answered(answer));
                };
                let refused = authorization.as_ref();
                let renewed = token::renew(
                    worker,
                    adopted,
                    plan.registry,
                    &repository,
                    identity,
                    challenge,
                    refused,
                );
                authorization = Some(renewed.await?);
                answer.discard(worker);
            }
            301 | 302 | 303 | 307 | 308 => {
                let host = host_name(head.host.unwrap_or_default());
                let hop = Hop {
                    asked: &url,
                    location: field(&answer.head_bytes, "Location"),
                    registry: &registry.origin,
                    is_blob: asked == Asked::Blob,
                    streams: plan.streams,
                    login_for: head.authorization.and(host),
                    followed,
                    most: adopted.upstream.max_redirects,
                };
                match hop.course()? {
                    Course::HandOn(to) => return Ok(Obtained::HandOn { answer, to }),
                    Course::Follow(to) => url = to,
                }
                followed += 1;
                answer.discard(worker);
            }
            _ => return Ok(Obtained::Answered(answer)),
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
        | Endpoint::Robots => Asked::Base,
    }
}

/// The origin-form of what is asked for, by the backend's name.
fn target(plan: &Forward<'_>, repository: &str, asked: Asked) -> String {
    let (kind, what) = plan.endpoint.tail();
    let mut target = format!("/v2/{repository}{kind}{what}");
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
fn base_fields(bytes: &[u8], asked: Asked, via: &str) -> HeaderMap {
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

fn fields_named<'a>(head: &'a [u8], wanted: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields(head).filter(move |(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value)
}

/// The host in a `Host` field, without its port.
fn host_name(host: &[u8]) -> Option<&str> {
    let host = std::str::from_utf8(host).ok()?;
    Some(crate::pure::oci::backend::split_port(host).0)
}
