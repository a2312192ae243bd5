//! What a registry asks for at its door, `/v2/`: how clients' logins get to it is known from there.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue, USER_AGENT};

use crate::messages::clock::monotonic_us;
use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::response::fields_named;
use crate::pure::oci::challenge::{self, Challenge};
use crate::worker::Worker;
use crate::worker::upstream::token_service::{Source, USER_AGENT_OWN};
use crate::worker::upstream::{self, Answer, Method, Request};

/// What doors have asked for lately, by the registry's base: as many as the configuration names.
#[derive(Default)]
pub struct Doors(RefCell<HashMap<Box<str>, Door>>);

struct Door {
    challenge: Option<Challenge>,
    asked_at_us: u64,
}

/// What the registry asks for; `None` where it is open to anybody.
///
/// # Errors
/// That it cannot be asked, or what is wrong with its challenge.
pub async fn challenge(worker: &Rc<Worker>, source: &Source) -> Result<Option<Challenge>, Fault> {
    let now_us = monotonic_us();
    let known = worker.doors.0.borrow().get(source.base()).and_then(|door| {
        let is_fresh = now_us.saturating_sub(door.asked_at_us) < FRESH_US;
        is_fresh.then(|| door.challenge.clone())
    });
    if let Some(challenge) = known {
        return Ok(challenge);
    }
    let answer = ask(worker, source, None).await?;
    let status = answer.head.status;
    let challenge = challenge::parse(fields_named(&answer.head_bytes, "WWW-Authenticate"));
    answer.discard(worker);
    let challenge = match status {
        401 => challenge?,
        status => is_open(status).map(|()| None)?,
    };
    let door = Door { challenge: challenge.clone(), asked_at_us: now_us };
    let mut doors = worker.doors.0.borrow_mut();
    doors.retain(|_, door| now_us.saturating_sub(door.asked_at_us) < FRESH_US);
    doors.insert(source.base().into(), door);
    Ok(challenge)
}

/// Whether the registry takes this login, which it wants with each request.
///
/// # Errors
/// That it cannot be asked.
pub async fn takes(
    worker: &Rc<Worker>,
    source: &Source,
    login: HeaderValue,
) -> Result<bool, Fault> {
    let answer = ask(worker, source, Some(login)).await?;
    let status = answer.head.status;
    answer.discard(worker);
    match status {
        401 | 403 => Ok(false),
        status => is_open(status).map(|()| true),
    }
}

async fn ask(
    worker: &Rc<Worker>,
    source: &Source,
    login: Option<HeaderValue>,
) -> Result<Answer, Fault> {
    let registry = &source.adopted.registries[source.registry];
    let mut fields = HeaderMap::with_capacity(2);
    fields.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_OWN));
    fields.extend(login.map(|login| (AUTHORIZATION, login)));
    let request = Request {
        origin: registry.origin.clone(),
        registry: Some(source.registry),
        method: Method::Get,
        target: "/v2/".to_owned(),
        fields,
    };
    upstream::ask(worker, &source.adopted, &request).await
}

/// Some registries have nothing at all at `/v2/`.
fn is_open(status: u16) -> Result<(), Fault> {
    match status {
        200..300 | 404 => Ok(()),
        300..400 => Err(Fault::new(Kind::UpstreamRedirects, "at /v2/")),
        _ => Err(Fault::new(Kind::UpstreamUnreachable, "it answers /v2/ with an error")),
    }
}

/// How long it is believed: a registry changes its token service once in years.
const FRESH_US: u64 = 5 * 60 * 1_000_000;
