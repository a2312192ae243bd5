//! Packages that live on several registries: the next is asked where one cannot be, and two images
//! are never mixed.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use support::bench::{ask, is_refusal};
use support::gate::{Counts, DRIVERS, Gate, UPSTREAM};
use support::hosts::{CDN, CDN_IP, GATEWAY, REGISTRY, REGISTRY_IP};
use support::http::Answer;
use support::images::image;
use support::origin::Origin;
use support::scripted::serve;

#[test]
fn what_the_first_cannot_give_the_second_does() {
    for driver in DRIVERS {
        for fails in [GONE, FAILING, BUSY] {
            let mut pair = Pair::start(driver, "", ["hello", "hello"]);
            let hello = image("hello");
            let blob = format!("blobs/{}", hello.platforms[0].config.digest);
            assert!(pair.get("manifests/latest").body == hello.index.bytes);
            assert!(pair.get(&blob).body == hello.platforms[0].config.bytes);
            assert_eq!(pair.asked(1), 0, "the first has it");
            pair.set(0, fails);
            let child = &hello.platforms[0].manifest;
            assert!(pair.get(&format!("manifests/{}", child.digest)).body == child.bytes);
            assert!(pair.get(&blob).body == hello.platforms[0].config.bytes);
            assert_eq!(pair.get("tags/list").status, 200);
            assert!(pair.asked(1) >= 3);
            assert!(pair.gate.metric("pullgate_failovers_total") >= 3);
            pair.gate.stop();
            let counts = pair.gate.counts(&format!("{GATEWAY}/acme/rocket"));
            assert_eq!(counts, Counts { requests: 2, pulls: 1, ..Counts::default() });
        }
    }
}

#[test]
fn a_tag_that_nobody_knows_yet_is_had_from_the_second() {
    for driver in DRIVERS {
        let pair = Pair::start(driver, "", ["hello", "hello"]);
        pair.set(0, GONE);
        for _ in 0..3 {
            assert!(pair.get("manifests/latest").body == image("hello").index.bytes);
        }
    }
}

/// Two registries that have the same as a rule, but not at the moment.
#[test]
fn two_images_are_never_mixed() {
    for driver in DRIVERS {
        let pair = Pair::start(driver, "", ["one", "other"]);
        // Only what the tag stands for is known, not the manifest.
        assert_eq!(pair.head("manifests/latest").status, 200);
        pair.set(0, GONE);
        is_refusal(&pair.get("manifests/latest"), 502, "UNAVAILABLE", REGISTRY);
        let head = pair.head("manifests/latest");
        assert_eq!(head.header("docker-content-digest"), Some(&*image("one").index.digest));
        pair.set(0, THERE);
    }
}

#[test]
fn that_the_first_has_no_such_thing_is_the_answer_unless_it_is_said_otherwise() {
    for driver in DRIVERS {
        for (keys, status) in [("", 404), ("failover_on_404 = true\n", 200)] {
            let pair = Pair::start(driver, keys, ["hello", "hello"]);
            pair.set(0, ABSENT);
            let hello = image("hello");
            let blob = format!("blobs/{}", hello.platforms[0].config.digest);
            for what in ["manifests/latest", &format!("manifests/{}", hello.index.digest), &blob] {
                assert_eq!(pair.get(what).status, status, "{what}");
            }
        }
    }
}

#[test]
fn where_nobody_can_be_asked_the_first_is_named() {
    for driver in DRIVERS {
        let pair = Pair::start(driver, "", ["hello", "hello"]);
        pair.set(0, GONE);
        pair.set(1, ABSENT);
        is_refusal(&pair.get("manifests/latest"), 502, "UNAVAILABLE", REGISTRY);
        pair.set(1, GONE);
        for what in ["manifests/other", "tags/list"] {
            let answer = pair.get(what);
            assert_eq!(answer.status, 502, "{}", String::from_utf8_lossy(&answer.body));
        }
    }
}

#[test]
fn where_nobody_can_be_asked_it_is_said_how_long_the_first_wants_to_be_left_alone() {
    for driver in DRIVERS {
        for what in ["tags/list", "manifests/latest"] {
            let pair = Pair::start(driver, "", ["hello", "hello"]);
            pair.set(0, BUSY);
            pair.set(1, GONE);
            let answer = pair.get(what);
            assert_eq!(answer.status, 429, "{}", String::from_utf8_lossy(&answer.body));
            let after = answer.header("retry-after").and_then(|after| after.parse::<u64>().ok());
            assert!(after.is_some_and(|after| (3000..=3600).contains(&after)), "{what}: {after:?}");
        }
    }
}

/// A gateway, and two registries for `acme/…`.
struct Pair {
    gate: Gate,
    registries: [Origin; 2],
    states: [Arc<AtomicU8>; 2],
}

impl Pair {
    /// Each has the image of its seed. `keys` are more of the package's.
    fn start(driver: &str, keys: &str, seeds: [&str; 2]) -> Self {
        let states: [Arc<AtomicU8>; 2] = Default::default();
        let registry = |at: usize, ip| {
            let (state, image) = (Arc::clone(&states[at]), image(seeds[at]));
            Origin::start(ip, move |talk| {
                while let Some(request) = talk.request()? {
                    match state.load(Ordering::SeqCst) {
                        _ if request.target == "/v2/" => serve(talk, &request, &image)?,
                        GONE => return Err(io::ErrorKind::ConnectionAborted.into()),
                        FAILING => talk.answer(&request, "503 Service Unavailable", &[], b"")?,
                        BUSY => {
                            let after = ["Retry-After: 3600"];
                            talk.answer(&request, "429 Too Many Requests", &after, b"")?;
                        }
                        ABSENT => talk.answer(&request, "404 Not Found", &[], b"")?,
                        _ => serve(talk, &request, &image)?,
                    }
                }
                Ok(())
            })
        };
        let registries = [registry(0, REGISTRY_IP), registry(1, CDN_IP)];
        let homes: Vec<String> = [REGISTRY, CDN]
            .iter()
            .zip(&registries)
            .map(|(host, origin)| format!("\"http://{host}:{}/acme/**\"", origin.address().port()))
            .collect();
        let config = format!(
            "workers = 1\n\n{UPSTREAM}\n[cache]\ntag_ttl = \"0s\"\n\n\
             [[packages]]\ndomain = \"{GATEWAY}\"\nname = \"acme/**\"\nbackends = [{}]\n{keys}",
            homes.join(", ")
        );
        Self { gate: Gate::start_proxy(driver, &config), registries, states }
    }

    fn set(&self, registry: usize, state: u8) {
        self.states[registry].store(state, Ordering::SeqCst);
    }

    fn get(&self, what: &str) -> Answer {
        ask(&self.gate, "GET", &format!("/v2/acme/rocket/{what}"), &[])
    }

    fn head(&self, what: &str) -> Answer {
        ask(&self.gate, "HEAD", &format!("/v2/acme/rocket/{what}"), &[])
    }

    /// How much clients have made arrive at one of them since this was asked last.
    fn asked(&self, registry: usize) -> usize {
        let requests = self.registries[registry].requests();
        requests.iter().filter(|request| request.is_forwarded()).count()
    }
}

const THERE: u8 = 0;
const GONE: u8 = 1;
const FAILING: u8 = 2;
const BUSY: u8 = 3;
const ABSENT: u8 = 4;
