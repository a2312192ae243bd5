//! A client's business with a registry's token service: its login is brought there, and there alone,
//! and what comes of it is the token that the client gets.
//!
//! The token is the registry's own, passed through; where clients of the domain log in at several
//! registries, it is sealed into one of ours, so that none of them sees another's. A registry that
//! wants the login with each request gives none: there the login is checked, and sealed the same way.

use std::rc::Rc;

use bytes::Bytes;

use crate::messages::meters::Counter;
use crate::messages::random::random;
use crate::pure::answer;
use crate::pure::decide::{Action, Refusal};
use crate::pure::desk::{BEARER, Challenge as OwnChallenge, Errand, LIFE_S, Purpose};
use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::encode::{self, Manner, Out};
use crate::pure::http1::head::{Method, RequestHead};
use crate::pure::limits::BUFFER_BYTES;
use crate::pure::oci::challenge::{Challenge, scope, token_target};
use crate::pure::origin::Url;
use crate::pure::tokens::{Identity, NoToken};
use crate::worker::answer::{Next, manner_of};
use crate::worker::downstream::Downstream;
use crate::worker::obtain::Trouble;
use crate::worker::over::Over;
use crate::worker::record::{self, Answered};
use crate::worker::upstream::token_service::{Given, Login, Source};
use crate::worker::upstream::{door, flights};
use crate::worker::{Adopted, Worker};

/// Answers a request that `errand` is to be run for, and says what comes next.
pub async fn serve(
    down: &mut Downstream<'_>,
    adopted: &Rc<Adopted>,
    head: &RequestHead<'_>,
    errand: &Errand<'_>,
    read_at_us: u64,
) -> Result<Next, Over> {
    let worker = Rc::clone(down.worker());
    let granted = Box::pin(grant(&worker, adopted, errand)).await;
    let registry = &adopted.registries[errand.registry];
    let (next, connection) = manner_of(&worker, head, false);
    let date = worker.clock.date();
    let manner = Manner { date: &date, head_only: head.method == Method::Head, connection };
    let token_bytes = granted.as_ref().map_or(0, |(token, _)| token.len());
    let mut memory = vec![0; BUFFER_BYTES + 2 * token_bytes];
    let mut out = Out::new(&mut memory, 0);
    let status = match (&granted, errand.purpose) {
        (Ok((token, seconds)), Purpose::Token) => {
            encode::token(&mut out, &manner, token.as_bytes(), *seconds);
            200
        }
        (Ok(_), Purpose::Base) => {
            encode::base(&mut out, &manner);
            200
        }
        (Err(Trouble { fault, at }), _) => {
            worker.meters.fault(fault.kind);
            if fault.kind != Kind::LoginRefused {
                worker.complain(*fault, &registry.origin);
            }
            let authority = registry.origin.authority();
            let challenge = OwnChallenge::of(errand.site, None);
            let refusal = Refusal {
                registry: Some(at.as_deref().unwrap_or(&authority)),
                challenge: challenge.filter(|_| fault.kind == Kind::LoginRefused),
                ..Refusal::of(*fault)
            };
            answer::write(&mut out, &manner, &Action::Refuse(refusal));
            fault.kind.row().status_code()
        }
    };
    debug_assert!(!out.is_overrun(), "an answer does not fit the memory made for it");
    let (used, bytes) = (out.used(), out.body_bytes() as u64);
    let asked = match errand.purpose {
        Purpose::Token => Counter::RequestsOther,
        Purpose::Base => Counter::RequestsBase,
    };
    worker.meters.add(Counter::Forwarded, 1);
    record::answered(&worker, head, Answered { asked, status, bytes, read_at_us });
    memory.truncate(used);
    down.send(Bytes::from(memory)).await?;
    Ok(next)
}

/// A token for the client, and for how many seconds it is good.
async fn grant(
    worker: &Rc<Worker>,
    adopted: &Rc<Adopted>,
    errand: &Errand<'_>,
) -> Result<(String, u64), Trouble> {
    let login = errand.login.map(Login::new);
    let source =
        Source { adopted: Rc::clone(adopted), registry: errand.registry, login: login.clone() };
    let repositories = errand.repositories();
    let (domain, until_s) = (errand.site.domain(), worker.clock.unix_s() + LIFE_S);
    let own = || String::from_utf8_lossy(&worker.keys().sign(domain, until_s)).into_owned();
    match (door::challenge(worker, &source).await?, login) {
        // Anybody may pull there, whatever the login.
        (None, _) => Ok((own(), LIFE_S)),
        (Some(Challenge::Bearer { realm, service, scope: theirs }), login) => {
            let mut scopes: Vec<String> =
                repositories.iter().map(|name| scope(theirs.as_deref(), name)).collect();
            scopes.dedup();
            let identity = login.map_or(Identity::Anonymous, |login| login.identity());
            let target = token_target(&realm, service.as_deref(), &scopes, None);
            let at = Url { origin: realm.origin, target };
            let given = flights::fetch(worker, &source, identity, at).await;
            let Given { token, expires_in_s, .. } = given.map_err(of_client)?;
            // What names nothing was asked for to see whether the login is right.
            if repositories.is_empty() {
                return Ok((own(), LIFE_S));
            }
            if !errand.site.has_several_logins() {
                return Ok((token, expires_in_s));
            }
            // The client may show it for a package of another registry, which is not to see it.
            let seconds = expires_in_s.min(LIFE_S);
            let until_s = worker.clock.unix_s() + seconds;
            let shown = [BEARER, token.as_bytes()].concat();
            Ok((seal(worker, domain, until_s, source.base(), &shown)?, seconds))
        }
        (Some(Challenge::Basic), None) => Err(refused()),
        (Some(Challenge::Basic), Some(login)) => {
            if !door::takes(worker, &source, login.value().map_err(of_client)?).await? {
                return Err(refused());
            }
            let login = errand.login.unwrap_or_default();
            Ok((seal(worker, domain, until_s, source.base(), login)?, LIFE_S))
        }
    }
}

/// A token of ours that opens to `shown` for one registry, until then.
fn seal(
    worker: &Worker,
    domain: &str,
    until_s: u64,
    base: &str,
    shown: &[u8],
) -> Result<String, Fault> {
    let nonce = random().map_err(|_| Fault::new(Kind::TokenService, NO_RANDOMNESS))?;
    Ok(worker.keys().seal(nonce, domain, until_s, base, shown))
}

/// Who does not get a token is the client here, not the gateway.
fn of_client(none: NoToken) -> Trouble {
    match none {
        NoToken::Denied(401) => refused(),
        NoToken::Denied(_) | NoToken::Failed { .. } => none.into(),
    }
}

fn refused() -> Trouble {
    Fault::new(Kind::LoginRefused, "").into()
}

const NO_RANDOMNESS: &str = "the system gives no random bytes";
