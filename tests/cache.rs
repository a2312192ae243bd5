//! Manifests cost a registry almost nothing, and are there while it is not: what is kept, for whom,
//! for how long, and what is counted.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::{fs, io};

use crossbeam_channel::bounded;
use support::bench::{Bench, NOTHING_KEPT, config, is_refusal, request};
use support::eventually::{eventually, pause};
use support::gate::{Counts, DRIVERS, Gate};
use support::hosts::{GATEWAY, REGISTRY, REGISTRY_IP};
use support::images::image;
use support::origin::{Origin, Request, Talk};
use support::scripted::{give, serve};

#[test]
fn a_manifest_is_fetched_once_and_its_tag_asked_for_by_head() {
    for driver in DRIVERS {
        let mut bench = sample(driver, KEPT);
        let hello = image("hello");
        for _ in 0..5 {
            let answer = bench.get(LATEST);
            assert_eq!((answer.status, &answer.body), (200, &hello.index.bytes));
            assert_eq!(answer.header("docker-content-digest"), Some(&*hello.index.digest));
            assert_eq!(answer.header("content-type"), Some(hello.index.media_type));
            let digest = format!("/v2/acme/rocket/manifests/{}", hello.index.digest);
            assert!(bench.get(&digest).body == hello.index.bytes);
            for target in [LATEST, &digest] {
                let head = bench.ask("HEAD", target, &[]);
                let length = hello.index.bytes.len().to_string();
                assert_eq!((head.status, head.header("content-length")), (200, Some(&*length)));
                assert_eq!(head.header("docker-content-digest"), Some(&*hello.index.digest));
                assert_eq!(head.header("content-type"), Some(hello.index.media_type));
            }
        }
        let digest = &hello.index.digest;
        assert_eq!(asked(&bench), ["HEAD latest".to_owned(), format!("GET {digest}")]);
        assert_eq!(bench.gate.metric("pullgate_manifest_requests_total{method=\"HEAD\"}"), 1);
        assert_eq!(bench.gate.metric("pullgate_manifest_requests_total{method=\"GET\"}"), 1);
        assert_eq!(bench.gate.metric("pullgate_manifests_total{source=\"registry\"}"), 1);
        assert_eq!(bench.gate.metric("pullgate_manifests_total{source=\"memory\"}"), 19);
        bench.gate.stop();
        let counts = bench.gate.counts(PACKAGE);
        assert_eq!(counts, Counts { requests: 10, pulls: 1, ..Counts::default() });
    }
}

/// A HEAD is free of Docker Hub's limit, and is answered with no more than one.
#[test]
fn who_wants_to_know_of_a_digest_costs_no_get() {
    for driver in DRIVERS {
        let bench = sample(driver, KEPT);
        let hello = image("hello");
        let target = format!("/v2/acme/rocket/manifests/{}", hello.index.digest);
        for _ in 0..3 {
            let head = bench.ask("HEAD", &target, &[]);
            let length = hello.index.bytes.len().to_string();
            assert_eq!((head.status, head.header("content-length")), (200, Some(&*length)));
            assert_eq!(head.header("docker-content-digest"), Some(&*hello.index.digest));
        }
        assert_eq!(asked(&bench), [format!("HEAD {}", hello.index.digest)]);
        assert!(bench.get(&target).body == hello.index.bytes);
        assert_eq!(bench.ask("HEAD", &target, &[]).status, 200);
        assert_eq!(asked(&bench), [format!("GET {}", hello.index.digest)]);
        let absent = format!("/v2/acme/rocket/manifests/{}", image("other").index.digest);
        assert_eq!(bench.ask("HEAD", &absent, &[]).status, 404);
    }
}

/// Each step of a registry's takes almost as long as it may, and all of them too long together.
#[test]
fn nobody_waits_for_a_manifest_longer_than_for_any_other_answer() {
    for driver in DRIVERS {
        let hello = image("hello");
        let registry = Origin::start(REGISTRY_IP, move |talk| {
            while let Some(request) = talk.request()? {
                if request.target != "/v2/" {
                    // Two take longer than one may, and one much shorter.
                    (0..175).for_each(|_| pause());
                }
                serve(talk, &request, &hello)?;
            }
            Ok(())
        });
        let bench = Bench::behind(registry, |backend| {
            let times = "connect_timeout = \"1s\"\nfirst_byte_timeout = \"5s\"\n";
            let config = config(times, "delivery = \"broker\"\n", backend);
            Gate::start_proxy(driver, &config.replace(NOTHING_KEPT, KEPT))
        });
        is_refusal(&bench.get(LATEST), 504, "UNAVAILABLE", REGISTRY);
        // What was under way has gone on.
        eventually(|| match bench.get(LATEST) {
            answer if answer.body == image("hello").index.bytes => Ok(()),
            answer => Err(format!("{answer:?}")),
        });
        assert_eq!(asked(&bench).len(), 2);
    }
}

#[test]
fn a_hundred_who_wait_in_two_workers_cause_one_head_and_one_get() {
    for driver in DRIVERS {
        let (release, released) = bounded::<()>(3);
        let hello = image("hello");
        let keys = "memory = \"1MiB\"\ntag_ttl = \"1h\"\n";
        let bench = bench_with(driver, "workers = 2", keys, move |talk, request| {
            if request.target.contains("/manifests/") {
                released.recv().map_err(io::Error::other)?;
            }
            serve(talk, request, &hello)
        });
        let mut waiting: Vec<_> = (0..100).map(|_| bench.connect()).collect();
        for connection in &mut waiting {
            connection.send(&request("GET", LATEST, &[])).expect("it is read");
        }
        // A worker that meets the registry by the digest begins with a HEAD too.
        (0..3).for_each(|_| release.send(()).expect("room"));
        for connection in &mut waiting {
            assert_eq!(connection.answer(false).expect("an answer").status, 200);
        }
        let asked = asked(&bench);
        assert_eq!(asked.iter().filter(|it| it.starts_with("GET")).count(), 1, "{asked:?}");
        assert_eq!(asked.iter().filter(|it| *it == "HEAD latest").count(), 1, "{asked:?}");
    }
}

#[test]
fn a_tag_that_moves_is_seen_as_soon_as_it_is_asked_for_again() {
    for driver in DRIVERS {
        let which = Arc::new(AtomicU8::new(0));
        let (old, new) = (image("old"), image("new"));
        let now = Arc::clone(&which);
        let bench = bench(driver, EACH_TIME, move |talk, request| {
            serve(talk, request, [&old, &new][usize::from(now.load(Ordering::SeqCst))])
        });
        assert!(bench.get(LATEST).body == image("old").index.bytes);
        which.store(1, Ordering::SeqCst);
        assert!(bench.get(LATEST).body == image("new").index.bytes);
        let old = format!("/v2/acme/rocket/manifests/{}", image("old").index.digest);
        assert!(bench.get(&old).body == image("old").index.bytes, "it is not there any more");
    }
}

#[test]
fn a_registry_that_is_gone_is_not_missed() {
    for driver in DRIVERS {
        let state = State::default();
        let mut bench = stateful(driver, EACH_TIME, &state);
        let hello = image("hello");
        let child = format!("/v2/acme/rocket/manifests/{}", hello.platforms[0].manifest.digest);
        assert_eq!([bench.get(LATEST).status, bench.get(&child).status], [200, 200]);
        state.set(GONE);
        for _ in 0..3 {
            assert!(bench.get(LATEST).body == hello.index.bytes);
            assert_eq!(bench.ask("HEAD", LATEST, &[]).status, 200);
            assert!(bench.get(&child).body == hello.platforms[0].manifest.bytes);
        }
        assert_eq!(bench.gate.metric("pullgate_manifests_total{source=\"stale\"}"), 6);
        is_refusal(&bench.get("/v2/acme/rocket/manifests/other"), 502, "UNAVAILABLE", REGISTRY);
        bench.gate.stop();
        let counts = bench.gate.counts(PACKAGE);
        assert_eq!(counts, Counts { requests: 8, pulls: 1, ..Counts::default() });
    }
}

#[test]
fn a_registry_that_is_asked_too_often_is_left_alone_as_long_as_it_says() {
    for (driver, busy) in [(DRIVERS[0], BUSY), (DRIVERS[1], BUSY_UNTIL)] {
        let state = State::default();
        let bench = stateful(driver, EACH_TIME, &state);
        assert_eq!(bench.get(LATEST).status, 200);
        state.set(busy);
        asked(&bench);
        for _ in 0..10 {
            let answer = bench.get(LATEST);
            assert_eq!((answer.status, &answer.body), (200, &image("hello").index.bytes));
        }
        assert_eq!(asked(&bench), ["HEAD latest"]);
        for _ in 0..10 {
            let answer = bench.get("/v2/acme/rocket/manifests/other");
            is_refusal(&answer, 429, "TOOMANYREQUESTS", REGISTRY);
            let after = answer.header("retry-after").and_then(|after| after.parse::<u64>().ok());
            assert!(after.is_some_and(|after| (3000..=3600).contains(&after)), "{after:?}");
        }
        assert_eq!(asked(&bench), ["HEAD other"]);
        state.set(THERE);
        assert_eq!(bench.get(LATEST).status, 200);
        assert!(asked(&bench).is_empty(), "it asked to be left alone");
    }
}

#[test]
fn a_registry_that_fails_serves_on_and_is_named_where_nothing_is_kept() {
    for driver in DRIVERS {
        let state = State::default();
        let bench = stateful(driver, EACH_TIME, &state);
        assert_eq!(bench.get(LATEST).status, 200);
        state.set(FAILING);
        assert!(bench.get(LATEST).body == image("hello").index.bytes);
        let answer = bench.get("/v2/acme/rocket/manifests/other");
        is_refusal(&answer, 503, "UNAVAILABLE", REGISTRY);
        assert!(answer.header("retry-after").is_some());
    }
}

/// What was good is served while nobody knows better, not when the registry has said otherwise.
#[test]
fn what_a_registry_takes_back_is_not_served_any_more() {
    for driver in DRIVERS {
        for (says, status) in [(ABSENT, 404), (REFUSED, 403)] {
            let state = State::default();
            let bench = stateful(driver, EACH_TIME, &state);
            assert_eq!(bench.get(LATEST).status, 200);
            state.set(says);
            let answer = bench.get(LATEST);
            assert_eq!(answer.status, status);
            assert!(String::from_utf8_lossy(&answer.body).contains("so it is"), "its own words");
            assert_eq!(bench.ask("HEAD", LATEST, &[]).status, status);
            state.set(GONE);
            is_refusal(&bench.get(LATEST), 502, "UNAVAILABLE", REGISTRY);
        }
    }
}

#[test]
fn that_a_tag_is_absent_is_believed_as_long_as_that_it_is_there_and_a_refusal_is_not() {
    for driver in DRIVERS {
        let state = State::default();
        let bench = stateful(driver, KEPT, &state);
        state.set(ABSENT);
        for _ in 0..3 {
            assert_eq!(bench.get(LATEST).status, 404);
        }
        assert_eq!(asked(&bench), ["HEAD latest", "GET latest"]);
        state.set(REFUSED);
        assert_eq!(bench.get("/v2/acme/rocket/manifests/other").status, 403);
        state.set(THERE);
        assert_eq!(bench.get("/v2/acme/rocket/manifests/other").status, 200);
    }
}

#[test]
fn what_is_not_what_its_digest_says_is_neither_served_nor_kept() {
    for driver in DRIVERS {
        let which = Arc::new(AtomicU8::new(0));
        let now = Arc::clone(&which);
        let (asked_for, other) = (image("asked for"), image("other"));
        let right = asked_for.clone();
        let mut bench = bench(driver, KEPT, move |talk, request| {
            let by_digest = request.target.contains("/manifests/sha256:");
            match now.load(Ordering::SeqCst) {
                0 if by_digest => give(talk, request, &other.index),
                _ => serve(talk, request, &right),
            }
        });
        let target = format!("/v2/acme/rocket/manifests/{}", asked_for.index.digest);
        for target in [&target, LATEST, &target] {
            is_refusal(&bench.get(target), 502, "UNKNOWN", REGISTRY);
        }
        which.store(1, Ordering::SeqCst);
        for target in [&target, LATEST] {
            assert!(bench.get(target).body == asked_for.index.bytes);
        }
        assert_eq!(bench.gate.metric("pullgate_faults_total{kind=\"upstream_digest\"}"), 3);
        bench.gate.stop();
        assert_eq!(bench.gate.counts(PACKAGE).requests, 2);
    }
}

/// A registry of old formats converts as it answers: what comes of that has no name of its own.
#[test]
fn what_cannot_be_had_by_its_digest_is_had_by_its_tag() {
    for driver in DRIVERS {
        let hello = image("hello");
        let bench = bench(driver, KEPT, move |talk, request| {
            if request.target.contains("/manifests/sha256:") {
                return talk.answer(request, "404 Not Found", &[], b"");
            }
            serve(talk, request, &hello)
        });
        for _ in 0..2 {
            assert!(bench.get(LATEST).body == image("hello").index.bytes);
        }
    }
}

#[test]
fn a_registry_that_names_no_digest_or_knows_no_head_is_asked_by_get() {
    for driver in DRIVERS {
        for status in ["200 OK", "405 Method Not Allowed", "404 Not Found"] {
            let hello = image("hello");
            let bench = bench(driver, KEPT, move |talk, request| {
                if request.method == "HEAD" {
                    return talk.answer(request, status, &[], b"");
                }
                talk.answer(request, "200 OK", &["Content-Type: a/b"], &hello.index.bytes)
            });
            let hello = image("hello");
            for _ in 0..3 {
                assert!(bench.get(LATEST).body == hello.index.bytes);
                let head = bench.ask("HEAD", LATEST, &[]);
                assert_eq!(head.header("docker-content-digest"), Some(&*hello.index.digest));
            }
            assert_eq!(asked(&bench), ["HEAD latest", "GET latest"]);
        }
    }
}

#[test]
fn who_accepts_other_formats_is_asked_for_apart() {
    for driver in DRIVERS {
        let hello = image("hello");
        let bench = bench(driver, KEPT, move |talk, request| {
            let wants_index = request.field("accept").is_some_and(|it| it.contains("index"));
            let child = &hello.platforms[0].manifest;
            match request.target.contains("/manifests/latest") && !wants_index {
                true => give(talk, request, child),
                false => serve(talk, request, &hello),
            }
        });
        let hello = image("hello");
        for _ in 0..2 {
            let index = ["Accept: application/vnd.oci.image.index.v1+json, a/b"];
            assert!(bench.ask("GET", LATEST, &index).body == hello.index.bytes);
            let same = ["Accept: a/b", "Accept: application/vnd.oci.image.index.v1+json"];
            assert!(bench.ask("GET", LATEST, &same).body == hello.index.bytes);
            let answer = bench.ask("GET", LATEST, &["Accept: a/b"]);
            assert!(answer.body == hello.platforms[0].manifest.bytes);
        }
        assert_eq!(asked(&bench).iter().filter(|it| *it == "HEAD latest").count(), 2);
    }
}

#[test]
fn who_has_it_already_is_told_so_and_counted_as_a_check() {
    for driver in DRIVERS {
        let hello = image("hello");
        let mut bench = bench(driver, KEPT, move |talk, request| {
            let fields = ["ETag: \"x\"", &format!("Docker-Content-Digest: {}", hello.index.digest)];
            talk.answer(request, "200 OK", &fields, &hello.index.bytes)
        });
        for _ in 0..2 {
            let answer = bench.ask("GET", LATEST, &["If-None-Match: \"x\""]);
            assert_eq!((answer.status, answer.header("etag")), (304, Some("\"x\"")));
            assert!(answer.body.is_empty());
        }
        bench.gate.stop();
        let counts = bench.gate.counts(PACKAGE);
        assert_eq!(counts, Counts { requests: 2, checks: 2, ..Counts::default() });
    }
}

/// What a client was given for its own login is asked for each time.
#[test]
fn what_is_pulled_with_a_clients_login_is_not_kept() {
    for driver in DRIVERS {
        let hello = image("hello");
        let registry = Origin::start(REGISTRY_IP, move |talk| {
            while let Some(request) = talk.request()? {
                match request.field("authorization") {
                    Some("Basic bTpw") => serve(talk, &request, &hello)?,
                    _ => {
                        let challenge = ["WWW-Authenticate: Basic realm=\"r\""];
                        talk.answer(&request, "401 Unauthorized", &challenge, b"")?;
                    }
                }
            }
            Ok(())
        });
        let bench = Bench::behind(registry, |backend| {
            let keys = "delivery = \"broker\"\ncredentials = \"client\"\n";
            Gate::start_proxy(driver, &config("", keys, backend).replace(NOTHING_KEPT, KEPT))
        });
        for _ in 0..2 {
            let member = ["Authorization: Basic bTpw"];
            assert_eq!(bench.ask("GET", LATEST, &member).status, 200);
            assert_eq!(bench.get(LATEST).status, 401);
        }
    }
}

#[test]
fn nobody_gets_what_the_operators_account_fetched_for_another_package() {
    for driver in DRIVERS {
        let hello = image("hello");
        let registry = Origin::start(REGISTRY_IP, move |talk| {
            while let Some(request) = talk.request()? {
                match request.field("authorization") {
                    Some(_) => serve(talk, &request, &hello)?,
                    None => {
                        let challenge = ["WWW-Authenticate: Basic realm=\"r\""];
                        talk.answer(&request, "401 Unauthorized", &challenge, b"")?;
                    }
                }
            }
            Ok(())
        });
        let bench = Bench::behind(registry, |backend| {
            let config = config("", "delivery = \"broker\"\n", backend)
                .replace(NOTHING_KEPT, KEPT)
                .replace("token_hosts", "username = \"u\"\npassword_env = \"PATH\"\ntoken_hosts");
            let ours = format!(
                "\n[[packages]]\ndomain = \"{GATEWAY}\"\nname = \"ours\"\n\
                 backend = \"http://{backend}/acme/rocket\"\n\
                 delivery = \"broker\"\ncredentials = \"registry\"\n"
            );
            Gate::start_proxy(driver, &(config + &ours))
        });
        let digest = image("hello").index.digest;
        for reference in ["latest", &digest, "latest"] {
            let of = |name: &str| bench.get(&format!("/v2/{name}/manifests/{reference}")).status;
            assert_eq!([of("ours"), of("acme/rocket"), of("ours")], [200, 401, 200]);
        }
    }
}

/// What was asked as one account is not found again by who asks as the next, even where the answer
/// comes only when that is in force.
#[test]
fn an_answer_that_comes_after_the_account_has_changed_is_nobody_elses() {
    for driver in DRIVERS {
        let (hello, state) = (image("hello"), State::default());
        let of_registry = state.clone();
        // `robot:` in base64, by which only the first account begins.
        let first = "Basic cm9ib3Q6";
        let registry = Origin::start(REGISTRY_IP, move |talk| {
            while let Some(request) = talk.request()? {
                let is_first =
                    request.field("authorization").is_some_and(|it| it.starts_with(first));
                if !is_first {
                    let challenge = ["WWW-Authenticate: Basic realm=\"r\""];
                    talk.answer(&request, "401 Unauthorized", &challenge, b"")?;
                    continue;
                }
                while request.method == "GET" && of_registry.0.load(Ordering::SeqCst) == HELD {
                    pause();
                }
                serve(talk, &request, &hello)?;
            }
            Ok(())
        });
        let bench = Bench::behind(registry, |backend| {
            let config = config("", "delivery = \"broker\"\ncredentials = \"registry\"\n", backend)
                .replace(NOTHING_KEPT, KEPT)
                .replace(
                    "token_hosts",
                    "username = \"robot\"\npassword_env = \"PATH\"\ntoken_hosts",
                );
            Gate::start_proxy(driver, &config)
        });
        state.set(HELD);
        let mut held = bench.connect();
        held.send(&request("GET", LATEST, &[])).expect("the gateway reads");
        eventually(|| match asked(&bench).iter().any(|line| line.starts_with("GET")) {
            true => Ok(()),
            false => Err("the registry was not asked".to_owned()),
        });
        let file = bench.gate.config_file();
        let config = fs::read_to_string(&file).expect("the configuration");
        fs::write(&file, config.replace("\"robot\"", "\"other\"")).expect("a new one");
        eventually(|| match bench.gate.metric("pullgate_reloads_total{outcome=\"applied\"}") {
            1 => Ok(()),
            more => Err(format!("{more} reloads")),
        });
        state.set(THERE);
        assert_eq!(held.answer(false).expect("an answer").status, 200);
        assert_eq!(bench.get(LATEST).status, 401);
    }
}

/// What a registry that has `hello` does at the moment.
#[derive(Clone, Default)]
struct State(Arc<AtomicU8>);

impl State {
    fn set(&self, state: u8) {
        self.0.store(state, Ordering::SeqCst);
    }
}

const THERE: u8 = 0;
const GONE: u8 = 1;
const BUSY: u8 = 2;
const FAILING: u8 = 3;
const ABSENT: u8 = 4;
const REFUSED: u8 = 5;
const BUSY_UNTIL: u8 = 6;
const HELD: u8 = 7;
const RETRY_AFTER: &str = "Retry-After: 3600";
/// The same as a date, by a clock that is wrong.
const RETRY_AT: [&str; 2] =
    ["Date: Fri, 27 Nov 2015 07:00:00 GMT", "Retry-After: Fri, 27 Nov 2015 08:00:00 GMT"];

fn stateful(driver: &str, cache: &str, state: &State) -> Bench {
    let hello = image("hello");
    let state = state.clone();
    bench(driver, cache, move |talk, request| {
        let words = br#"{"errors":[{"code":"X","message":"so it is"}]}"#;
        let json = "Content-Type: application/json";
        match state.0.load(Ordering::SeqCst) {
            GONE => Err(io::ErrorKind::ConnectionAborted.into()),
            BUSY => talk.answer(request, "429 Too Many Requests", &[RETRY_AFTER], b""),
            BUSY_UNTIL => talk.answer(request, "429 Too Many Requests", &RETRY_AT, b""),
            FAILING => talk.answer(request, "500 Internal Server Error", &[], b""),
            ABSENT => talk.answer(request, "404 Not Found", &[json], words),
            REFUSED => talk.answer(request, "403 Forbidden", &[json], words),
            _ => serve(talk, request, &hello),
        }
    })
}

/// Gives anybody the sample image.
fn sample(driver: &str, cache: &str) -> Bench {
    let hello = image("hello");
    bench(driver, cache, move |talk, request| serve(talk, request, &hello))
}

fn bench<L>(driver: &str, cache: &str, lead: L) -> Bench
where
    L: Fn(&mut Talk, &Request) -> io::Result<()> + Send + Sync + 'static,
{
    bench_with(driver, "workers = 1", cache, lead)
}

/// `workers` and `cache` are keys of the gateway's and of `[cache]`.
fn bench_with<L>(driver: &str, workers: &str, cache: &str, lead: L) -> Bench
where
    L: Fn(&mut Talk, &Request) -> io::Result<()> + Send + Sync + 'static,
{
    let registry = Origin::start(REGISTRY_IP, move |talk| {
        while let Some(request) = talk.request()? {
            lead(talk, &request)?;
        }
        Ok(())
    });
    Bench::behind(registry, |backend| {
        let config = config("", "delivery = \"broker\"\n", backend);
        let config = config.replace(NOTHING_KEPT, cache).replace("workers = 1", workers);
        Gate::start_proxy(driver, &config)
    })
}

/// What arrived since this was asked last, as a method and a reference.
fn asked(bench: &Bench) -> Vec<String> {
    let reference = |target: &str| target.rsplit('/').next().unwrap_or_default().to_owned();
    let requests = bench.asked();
    requests.iter().map(|it| format!("{} {}", it.method, reference(&it.target))).collect()
}

const LATEST: &str = "/v2/acme/rocket/manifests/latest";
const PACKAGE: &str = "gw.pg.test/acme/rocket";
/// Tags are believed for longer than the test runs.
const KEPT: &str = "memory = \"1MiB\"\ntag_ttl = \"1h\"\n";
/// Tags are asked for each time.
const EACH_TIME: &str = "memory = \"1MiB\"\ntag_ttl = \"0s\"\n";
