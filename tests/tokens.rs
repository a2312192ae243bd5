//! The gateway gets tokens for its clients: once for all of them, only from where the registry may
//! send it, and with words when there is none to be had.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::io;
use std::net::Ipv4Addr;

use crossbeam_channel::bounded;
use support::bench::{Bench, config, is_refusal, request};
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate};
use support::hosts::{REGISTRY, REGISTRY_IP, TOKENS, TOKENS_IP};
use support::images::image;
use support::origin::{Origin, Request, Talk};
use support::scripted::serve;

#[test]
fn a_hundred_waiting_clients_cause_one_request() {
    for driver in DRIVERS {
        let (release, released) = bounded::<()>(1);
        let tokens = Origin::start(TOKENS_IP, move |talk| {
            while let Some(request) = talk.request()? {
                released.recv().map_err(io::Error::other)?;
                give_token(talk, &request, "good")?;
            }
            Ok(())
        });
        // Two workers: whoever of them asks, it is asked once.
        let bench = bench(driver, "workers = 2", &tokens);
        let mut waiting: Vec<_> = (0..100).map(|_| bench.connect()).collect();
        for connection in &mut waiting {
            let asks = request("GET", "/v2/acme/rocket/manifests/latest", &[]);
            connection.send(&asks).expect("it is read");
        }
        eventually(|| arrived(&tokens));
        release.send(()).expect("it waits");
        for connection in &mut waiting {
            assert_eq!(connection.answer(false).expect("an answer").status, 200);
        }
        assert!(tokens.requests().is_empty(), "it was asked again");
    }
}

#[test]
fn a_token_is_asked_for_by_repository_and_sent_to_the_registry_alone() {
    for driver in DRIVERS {
        let tokens = Origin::start(TOKENS_IP, |talk| {
            while let Some(request) = talk.request()? {
                give_token(talk, &request, "good")?;
            }
            Ok(())
        });
        let bench = bench(driver, "", &tokens);
        for _ in 0..2 {
            let answer = bench.ask(
                "GET",
                "/v2/acme/rocket/manifests/latest",
                &["Authorization: Basic c2VjcmV0"],
            );
            assert_eq!(answer.status, 200);
        }
        let asked = tokens.requests();
        assert_eq!(asked.len(), 1, "once, for as long as it lasts");
        let query = asked[0].target.replace("%3A", ":").replace("%2F", "/");
        assert!(query.contains("scope=repository:acme/rocket:pull"), "{query}");
        assert!(query.contains("service=the-registry"), "{query}");
        assert_eq!(asked[0].field("authorization"), None);
        assert!(asked[0].field("user-agent").is_some_and(|agent| agent.starts_with("pullgate/")));
        let sent: Vec<Option<String>> = bench
            .asked()
            .iter()
            .map(|request| request.field("authorization").map(str::to_owned))
            .collect();
        let bearer = Some("Bearer good".to_owned());
        assert_eq!(sent, [None, bearer.clone(), bearer], "its own token, never the client's words");
    }
}

#[test]
fn a_token_that_is_refused_is_renewed_once() {
    for driver in DRIVERS {
        let tokens = Origin::start(TOKENS_IP, |talk| {
            while let Some(request) = talk.request()? {
                give_token(talk, &request, "bad")?;
            }
            Ok(())
        });
        let bench = bench(driver, "", &tokens);
        for _ in 0..2 {
            let answer = bench.get("/v2/acme/rocket/manifests/latest");
            assert_eq!(answer.status, 401);
            assert_eq!(answer.header("www-authenticate"), None, "there is nothing to log in to");
            assert!(tokens.requests().len() <= 1);
            assert!(bench.asked().len() <= 2);
        }
    }
}

#[test]
fn a_token_service_that_fails_is_named_and_left_alone_for_a_while() {
    type Fails = fn(&mut Talk, &Request) -> io::Result<()>;
    let failures: [(&str, Fails); 6] = [
        ("an error", |talk, request| talk.answer(request, "500 Internal Server Error", &[], b"")),
        ("not JSON", |talk, request| talk.answer(request, "200 OK", &[], b"<html>")),
        ("no token", |talk, request| talk.answer(request, "200 OK", &[], b"{}")),
        ("two lines", |talk, request| {
            talk.answer(request, "200 OK", &[], br#"{"token":"a\r\nX-Injected: b"}"#)
        }),
        ("too much", |talk, request| {
            let padding = "x".repeat(10 << 20);
            let body = format!(r#"{{"padding":"{padding}","token":"good"}}"#);
            talk.answer(request, "200 OK", &[], body.as_bytes())
        }),
        ("a redirect", |talk, request| {
            talk.answer(request, "307 Temporary Redirect", &["Location: /elsewhere"], b"")
        }),
    ];
    for driver in DRIVERS {
        for (name, fail) in failures {
            println!("{name}");
            let tokens = Origin::start(TOKENS_IP, move |talk| {
                while let Some(request) = talk.request()? {
                    fail(talk, &request)?;
                }
                Ok(())
            });
            let bench = bench(driver, "", &tokens);
            for _ in 0..20 {
                let answer = bench.get("/v2/acme/rocket/manifests/latest");
                is_refusal(&answer, 502, "UNAVAILABLE", TOKENS);
            }
            let asked = tokens.requests();
            assert!(asked.len() < 20, "{name}: it is asked each time");
            assert!(asked.iter().all(|request| request.target.starts_with("/token?")));
        }
    }
}

#[test]
fn a_token_service_that_is_silent_is_named() {
    for driver in DRIVERS {
        let tokens = Origin::start(TOKENS_IP, |talk| {
            talk.request()?;
            talk.stall()
        });
        let realm = format!("http://{TOKENS}:{}/token", tokens.address().port());
        let registry = Origin::start(REGISTRY_IP, move |talk| guarded(talk, &realm));
        let bench = Bench::behind(registry, |backend| {
            let config = config("first_byte_timeout = \"1s\"\n", BROKER, backend);
            Gate::start_proxy(driver, &config)
        });
        is_refusal(&bench.get("/v2/acme/rocket/manifests/latest"), 502, "UNAVAILABLE", TOKENS);
    }
}

/// SSRF: a registry may not point the gateway at what only the gateway can reach.
#[test]
fn a_realm_elsewhere_is_refused_and_no_packet_leaves() {
    for driver in DRIVERS {
        let victim = Origin::start(VICTIM_IP, |talk| {
            while let Some(request) = talk.request()? {
                give_token(talk, &request, "good")?;
            }
            Ok(())
        });
        let port = victim.address().port();
        let by_address = [
            format!("http://{VICTIM_IP}:{port}/token"),
            format!("http://[::ffff:{VICTIM_IP}]:{port}/token"),
            format!("http://2130706437:{port}/token"),
            "http://169.254.169.254/latest/meta-data/".to_owned(),
            "http://[2002:7f00:5::1]/token".to_owned(),
            "http://[64:ff9b::7f00:5]/token".to_owned(),
        ];
        // Both names are in `token_hosts`, or may be; what they lead to decides.
        let by_name = [
            format!("http://stranger.test:{port}/token"),
            format!("http://inside.test:{port}/token"),
            format!("http://{REGISTRY}@inside.test:{port}/token"),
            "ftp://inside.test/token".to_owned(),
            "/token".to_owned(),
        ];
        for realm in by_address.into_iter().chain(by_name) {
            println!("{realm}");
            let names_an_address = realm.contains(&VICTIM_IP.to_string());
            let registry = Origin::start(REGISTRY_IP, move |talk| guarded(talk, &realm));
            let backend = format!("{REGISTRY}:{}", registry.address().port());
            let config = config("", BROKER, &backend)
                .replace("\"127.0.0.0/8\"", &format!("\"{REGISTRY_IP}/32\""))
                .replace(&format!("\"{TOKENS}\""), "\"inside.test\"");
            assert!(config.contains("inside.test") && config.contains("/32"));
            let gate = Gate::start_among_names(driver, &config, |hosts| {
                hosts.add("inside.test", &VICTIM_IP.to_string());
                hosts.add("stranger.test", &VICTIM_IP.to_string());
            });
            let mut bench = Bench { gate, registry };
            let answer = bench.get("/v2/acme/rocket/manifests/latest");
            assert_eq!(answer.status, 502);
            let words = String::from_utf8_lossy(&answer.body);
            // What a name leads to is nobody's business; what the registry says anybody can read.
            let names_it = words.contains(&VICTIM_IP.to_string());
            assert!(names_an_address || !names_it, "an address: {words}");
            eventually(|| match bench.gate.words() {
                words if RULES.iter().any(|rule| words.contains(rule)) => Ok(()),
                words => Err(format!("the log does not name the rule:\n{words}")),
            });
        }
        assert_eq!(victim.connections(), 0, "a packet left");
    }
}

/// A gateway before a registry that sends its clients to `tokens`; `gateway` replaces a key.
fn bench(driver: &str, gateway: &str, tokens: &Origin) -> Bench {
    let realm = format!("http://{TOKENS}:{}/token", tokens.address().port());
    let registry = Origin::start(REGISTRY_IP, move |talk| guarded(talk, &realm));
    Bench::behind(registry, |backend| {
        let config = config("", BROKER, backend);
        let keys = if gateway.is_empty() { "workers = 1" } else { gateway };
        Gate::start_proxy(driver, &config.replace("workers = 1", keys))
    })
}

/// A registry that wants `good` for everything, from `realm`.
fn guarded(talk: &mut Talk, realm: &str) -> io::Result<()> {
    let hello = image("hello");
    while let Some(request) = talk.request()? {
        if request.field("authorization") == Some("Bearer good") {
            serve(talk, &request, &hello)?;
            continue;
        }
        let name: Vec<&str> = request.target.split('/').skip(2).take(2).collect();
        let challenge = format!(
            "WWW-Authenticate: Bearer realm=\"{realm}\",service=\"the-registry\",\
             scope=\"repository:{}:pull\"",
            name.join("/")
        );
        let words = br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        talk.answer(&request, "401 Unauthorized", &[&challenge], words)?;
    }
    Ok(())
}

fn give_token(talk: &mut Talk, request: &Request, token: &str) -> io::Result<()> {
    let body = format!(r#"{{"token":"{token}","expires_in":300}}"#);
    talk.answer(request, "200 OK", &["Content-Type: application/json"], body.as_bytes())
}

fn arrived(origin: &Origin) -> Result<(), String> {
    if origin.requests().is_empty() { Err("nobody asked".into()) } else { Ok(()) }
}

/// What the log may give as the reason why a realm is not asked.
const RULES: [&str; 3] = ["token_hosts", "allow_private", "challenge names no URL"];
const BROKER: &str = "delivery = \"broker\"\n";
/// Something that listens where the gateway is not allowed to go.
const VICTIM_IP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);
