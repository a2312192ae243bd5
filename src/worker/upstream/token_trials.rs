//! Tokens fetched from services that do what a test says, on every driver.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use http::HeaderValue;

use super::token::{authorization, renew};
use super::token_service::{Login, Source};
use crate::messages::clock::monotonic_us;
use crate::messages::keyring::{Account, Key, Keyring};
use crate::messages::meters::{Counter, Meters};
use crate::pure::fault::Fault;
use crate::pure::oci::challenge::Challenge;
use crate::pure::origin::Url;
use crate::pure::snapshot::Snapshot;
use crate::pure::tokens::{Identity, KeyRef, NoToken, owner};
use crate::worker::Worker;
use crate::worker::driver::Driver;
use crate::worker::trial::{self, Errand, drivers, errand, workers};

const REPOSITORY: &str = "acme/rocket";

/// A token service on loopback and what it was asked.
struct Service {
    address: SocketAddr,
    asked: Receiver<String>,
}

/// A token service that answers its first request with the first of `answers`, and so on, and the
/// rest with the last; an empty one it never gives.
fn service(answers: &[String]) -> Service {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (ask, asked) = bounded(ASKED_MAX);
    let answers = answers.to_vec();
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let answer = answers[number.min(answers.len() - 1)].clone();
            let ask = ask.clone();
            thread::spawn(move || serve(stream.unwrap(), &answer, &ask));
        }
    });
    Service { address, asked }
}

fn serve(mut stream: TcpStream, answer: &str, ask: &Sender<String>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        head.push(byte[0]);
    }
    ask.send(String::from_utf8(head).unwrap().to_ascii_lowercase()).unwrap();
    let _ = stream.write_all(answer.as_bytes());
    if answer.is_empty() {
        // Until the other side has had enough.
        let _ = stream.read(&mut [0]);
    }
}

fn with(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn token(token: &str) -> String {
    with("200 OK", &format!("{{\"token\":\"{token}\",\"expires_in\":300}}"))
}

/// The challenge of a registry whose token service is `host` and `port`.
fn bearer(host: &str, port: u16) -> Challenge {
    let realm = Url::parse(format!("http://{host}:{port}/token").as_bytes()).unwrap();
    Challenge::Bearer { realm, service: Some("test".into()), scope: None }
}

/// One registry without TLS on 127.0.0.1, with an account, where loopback may be dialled.
fn snapshot() -> Arc<Snapshot> {
    trial::snapshot(
        "[upstream]\nallow_private = [\"127.0.0.0/8\"]\nfirst_byte_timeout = \"1s\"\n\
         [[packages]]\ndomain = \"*\"\nname = \"acme/rocket\"\n\
         backend = \"http://127.0.0.1:1/acme/rocket\"\n",
    )
}

fn keyring() -> Arc<Keyring> {
    let bare = Keyring::bare();
    let account = Account::new("user".into(), "pass".into());
    let key = Key { tls: Arc::clone(&bare.elsewhere), account: Some(account) };
    Arc::new(Keyring { registries: vec![key], ..bare })
}

/// The one registry of the configuration, and a client that has sent a login.
fn source(worker: &Worker) -> Source {
    let login = Some(Login::new(b"Basic Y2xpZW50OnBhc3M="));
    Source { adopted: worker.snapshot(), registry: 0, login }
}

/// After a 401 that says to ask `service`.
async fn challenged(
    worker: &Rc<Worker>,
    identity: Identity,
    service: SocketAddr,
    refused: Option<&HeaderValue>,
) -> Result<HeaderValue, NoToken> {
    let challenge = bearer("127.0.0.1", service.port());
    renew(worker, &source(worker), REPOSITORY, identity, challenge, refused).await
}

/// The token that is held, if it is known that there must be one.
async fn held(worker: &Rc<Worker>) -> Result<HeaderValue, NoToken> {
    let held = authorization(worker, &source(worker), REPOSITORY, Identity::Anonymous).await;
    held.map(|held| held.expect("the registry has said that one is needed"))
}

fn said(outcome: Result<HeaderValue, NoToken>) -> String {
    match outcome {
        Ok(value) => value.to_str().unwrap().to_owned(),
        Err(NoToken::Denied(status)) => format!("denied {status}"),
        Err(NoToken::Failed { fault, host }) => {
            let host = host.split(':').next().unwrap().to_owned();
            let fault = Fault::from(NoToken::Failed { fault, host: host.as_str().into() });
            format!("{:?} of {host}: {}", fault.kind, fault.detail)
        }
    }
}

/// What one worker is told that asks once.
fn once(
    driver: Driver,
    identity: Identity,
    challenge: impl FnOnce() -> Challenge + Send + 'static,
) -> String {
    let asks = errand(move |worker| async move {
        said(renew(&worker, &source(&worker), REPOSITORY, identity, challenge(), None).await)
    });
    workers(driver, &snapshot(), &keyring(), vec![asks]).remove(0).0
}

#[test]
fn a_hundred_who_wait_in_two_workers_cause_one_request() {
    for driver in drivers() {
        let service = service(&[token("T1"), token("T2")]);
        let address = service.address;
        let fifty = || {
            errand(move |worker: Rc<Worker>| async move {
                let one = |_| {
                    let worker = Rc::clone(&worker);
                    monoio::spawn(async move {
                        said(challenged(&worker, Identity::Anonymous, address, None).await)
                    })
                };
                let asking: Vec<_> = (0..50).map(one).collect();
                for asked in asking {
                    assert_eq!(asked.await, "Bearer T1");
                }
                assert_eq!(said(held(&worker).await), "Bearer T1");
            })
        };
        let done = workers(driver, &snapshot(), &keyring(), vec![fifty(), fifty()]);
        let granted = |((), meters): &((), Arc<Meters>)| meters.counter(Counter::TokensGranted);
        assert_eq!(done.iter().map(granted).sum::<u64>(), 1);
        let asked: Vec<String> = service.asked.try_iter().collect();
        assert_eq!(asked.len(), 1);
        let request = &asked[0];
        assert!(request.starts_with("get /token?"), "{request}");
        assert!(request.contains("acme%2frocket") || request.contains("acme/rocket"), "{request}");
        assert!(request.contains("accept: application/json\r\n"), "{request}");
        assert!(!request.contains("authorization"), "{request}");
    }
}

#[test]
fn a_service_that_fails_is_left_alone_for_a_while_and_then_asked_again() {
    for driver in drivers() {
        let service = service(&[with("500 Oh", ""), token("T1")]);
        let (address, asked) = (service.address, service.asked);
        let asks = errand(move |worker| async move {
            let began_us = monotonic_us();
            let first = said(challenged(&worker, Identity::Anonymous, address, None).await);
            assert_eq!(first, "TokenService of 127.0.0.1: it answers with an error of its own");
            for _ in 0..PATIENCE_SWEEPS {
                let told = said(held(&worker).await);
                if told == "Bearer T1" {
                    break;
                }
                assert_eq!(told, first);
                worker.next_sweep().await;
            }
            assert_eq!(asked.len(), 2);
            assert!(monotonic_us() >= began_us + 1_000_000);
        });
        workers(driver, &snapshot(), &keyring(), vec![asks]);
    }
}

#[test]
fn what_is_no_token_is_told_apart() {
    let elsewhere = service(&[token("stolen")]);
    let location = format!("http://{}/token", elsewhere.address);
    let redirect = format!("HTTP/1.1 307 Go\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
    let rows = [
        (with("401 No", "{}"), "denied 401"),
        (with("403 No", "{}"), "denied 403"),
        (redirect, "redirect"),
        (with("200 OK", "<html>"), "TokenService of 127.0.0.1"),
        (with("200 OK", "{\"token\":\"a\\r\\nb\"}"), "TokenService of 127.0.0.1"),
        (with("200 OK", &"x".repeat(10 << 20)), "TokenService of 127.0.0.1"),
        ("not HTTP".to_owned(), "TokenService of 127.0.0.1"),
        (with("429 Slow", ""), "TokenService of 127.0.0.1: it is asked too often"),
        // It never answers.
        (String::new(), "TokenService of 127.0.0.1"),
    ];
    for driver in drivers() {
        for (answer, expected) in &rows {
            let service = service(std::slice::from_ref(answer));
            let port = service.address.port();
            let told = once(driver, Identity::Anonymous, move || bearer("127.0.0.1", port));
            assert!(told.contains(expected), "{expected}: {told}");
            assert_eq!(service.asked.len(), 1, "{expected}");
        }
    }
    assert!(elsewhere.asked.is_empty());
}

#[test]
fn where_a_registry_may_not_send_us_no_packet_goes() {
    for driver in drivers() {
        let recorder = TcpListener::bind("127.0.0.1:0").unwrap();
        recorder.set_nonblocking(true).unwrap();
        let port = recorder.local_addr().unwrap().port();
        for host in ["localhost", "127.0.0.2", "[::ffff:127.0.0.1]", "[2002:7f00:1::]"] {
            let told = once(driver, Identity::account("user", "pass"), move || bearer(host, port));
            assert!(told.starts_with("UpstreamForbidden"), "{host}: {told}");
        }
        let nobody = recorder.accept().unwrap_err();
        assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
    }
}

#[test]
fn an_account_is_said_to_the_token_service_and_basic_to_the_registry_alone() {
    for driver in drivers() {
        let service = service(&[token("T1")]);
        let port = service.address.port();
        let ours = Identity::account("user", "pass");
        let told = once(driver, ours, move || bearer("127.0.0.1", port));
        assert_eq!(told, "Bearer T1");
        let request = service.asked.recv().unwrap();
        assert!(request.contains("authorization: basic dxnlcjpwyxnz\r\n"), "{request}");
        assert!(request.contains("account=user"), "{request}");
        assert_eq!(once(driver, ours, || Challenge::Basic), "Basic dXNlcjpwYXNz");
        let client = Identity::client(b"Basic Y2xpZW50OnBhc3M=");
        assert_eq!(once(driver, client, || Challenge::Basic), "Basic Y2xpZW50OnBhc3M=");
        let before = Identity::account("user", "old");
        for other in [Identity::Anonymous, before] {
            assert_eq!(once(driver, other, || Challenge::Basic), "denied 401");
        }
    }
}

#[test]
fn a_refused_token_is_renewed_once_for_all_who_were_refused() {
    for driver in drivers() {
        let service = service(&[token("T1"), token("T2")]);
        let (address, asked) = (service.address, service.asked);
        let asks = errand(move |worker| async move {
            let first = challenged(&worker, Identity::Anonymous, address, None).await;
            let first = first.ok().unwrap();
            let refused = |refused: HeaderValue| {
                let worker = Rc::clone(&worker);
                monoio::spawn(async move {
                    let refused = Some(&refused);
                    said(challenged(&worker, Identity::Anonymous, address, refused).await)
                })
            };
            let all: Vec<_> = (0..10).map(|_| refused(first.clone())).collect();
            for one in all {
                assert_eq!(one.await, "Bearer T2");
            }
            assert_eq!(refused(first).await, "Bearer T2", "it comes late");
            asked.len()
        });
        assert_eq!(workers(driver, &snapshot(), &keyring(), vec![asks]).remove(0).0, 2);
    }
}

#[test]
fn what_one_thing_is_refused_with_still_serves_for_others_in_every_worker() {
    let (snapshot, keyring) = (snapshot(), keyring());
    let base = &snapshot.registries[0].base;
    let key = KeyRef { base, repository: REPOSITORY, identity: Identity::Anonymous };
    let owner = owner(key, 2);
    for driver in drivers() {
        let service = service(&[token("T1"), token("T2")]);
        let address = service.address;
        let (go, gone) = bounded::<()>(1);
        let mut owns = Some(errand(move |worker| async move {
            let first = challenged(&worker, Identity::Anonymous, address, None).await.ok();
            let next = challenged(&worker, Identity::Anonymous, address, first.as_ref()).await;
            assert_eq!(said(next), "Bearer T2");
            go.send(()).unwrap();
        }));
        let mut asks = Some(errand(move |worker| async move {
            while gone.is_empty() {
                worker.next_sweep().await;
            }
            let ours = challenged(&worker, Identity::Anonymous, address, None).await.ok();
            // The registry answers 401 to this one request, whatever it carries.
            let again = challenged(&worker, Identity::Anonymous, address, ours.as_ref()).await;
            assert_eq!(said(again), "denied 401");
            assert_eq!(said(held(&worker).await), "Bearer T2");
        }));
        let errands = (0..2).filter_map(|at| if at == owner { owns.take() } else { asks.take() });
        workers(driver, &snapshot, &keyring, errands.collect());
    }
}

#[test]
fn an_owner_that_does_not_answer_is_done_without() {
    let snapshot = snapshot();
    let base = &snapshot.registries[0].base;
    let key = KeyRef { base, repository: REPOSITORY, identity: Identity::Anonymous };
    let owner = owner(key, 2);
    for driver in drivers() {
        let service = service(&[token("T1")]);
        let address = service.address;
        let (done, stuck) = bounded::<()>(0);
        let mut errands: Vec<Errand<String>> = Vec::new();
        let mut asks = Some(errand(move |worker| async move {
            let _until_here = done;
            said(challenged(&worker, Identity::Anonymous, address, None).await)
        }));
        let mut owns = Some(errand(move |_| async move {
            // Its thread does nothing else until the other has been told.
            let _ = stuck.recv();
            String::new()
        }));
        for index in 0..2 {
            errands.extend(if index == owner { owns.take() } else { asks.take() });
        }
        let told = workers(driver, &snapshot, &keyring(), errands);
        assert_eq!(told[1 - owner].0, "Bearer T1");
        assert_eq!(told[1 - owner].1.counter(Counter::TokensGranted), 1);
    }
}

/// More than any test asks.
const ASKED_MAX: usize = 1_000;
/// Long enough for a machine that builds something else at the same time: 30 seconds.
const PATIENCE_SWEEPS: u64 = 300;
