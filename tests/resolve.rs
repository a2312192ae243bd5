//! Redirects of which it is known what the client finds at the registry.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use support::bench::{Bench, NOTHING_KEPT, config};
use support::gate::{DRIVERS, Gate};
use support::hosts::REGISTRY_IP;
use support::images::image;
use support::origin::Origin;
use support::scripted::serve;

#[test]
fn pulls_are_counted_by_what_clients_find_and_cost_the_registry_one_look() {
    for driver in DRIVERS {
        let mut bench = bench(driver, "", &Arc::default());
        let hello = image("hello");
        let child = &hello.platforms[0].manifest.digest;
        for _ in 0..3 {
            for (method, reference) in
                [("HEAD", "latest"), ("GET", &*hello.index.digest), ("GET", child)]
            {
                let answer = bench.ask(method, &target(reference), &[]);
                assert_eq!(answer.status, 307, "{method} {reference}");
                let to = answer.header("location").unwrap_or_default();
                assert!(to.ends_with(&target(reference)), "{to}");
            }
        }
        let index = format!("GET {}", hello.index.digest);
        assert_eq!(asked(&bench), ["HEAD latest".to_owned(), index, format!("GET {child}")]);
        assert_eq!(bench.gate.metric("pullgate_redirects_resolved_total"), 9);
        bench.gate.stop();
        let rows = bench.gate.pulls(&["--by", "tag"]);
        let rows = rows["rows"].as_array().expect("rows");
        let row = rows.iter().find(|row| row["tag"] == "latest").expect("the tag's row");
        assert_eq!(row["requests"], 6, "the digests are that tag's: {rows:?}");
        assert_eq!((&row["pulls"], &row["unseen"]), (&1.into(), &0.into()));
    }
}

#[test]
fn that_a_tag_is_absent_is_said_here_where_anything_else_was_seen() {
    for driver in DRIVERS {
        let mut bench = bench(driver, "", &Arc::default());
        // It may be that others are shown what we are not.
        assert_eq!(bench.get(&target("absent")).status, 307);
        assert_eq!(bench.get(&target("latest")).status, 307);
        assert_eq!(bench.get(&target("absent")).status, 404);
        bench.gate.stop();
        let rows = bench.gate.pulls(&[]);
        assert_eq!(
            (&rows["rows"][0]["requests"], &rows["rows"][0]["unseen"]),
            (&2.into(), &1.into())
        );
    }
}

/// Where the registry does not say what there is, or not in time, clients are redirected unseen.
#[test]
fn nobody_is_kept_from_the_registry() {
    for driver in DRIVERS {
        for state in [SILENT, FAILING] {
            let now = Arc::new(AtomicU8::new(state));
            let mut bench = bench(driver, "", &now);
            for _ in 0..3 {
                assert_eq!(bench.get(&target("latest")).status, 307);
            }
            bench.gate.stop();
            let rows = bench.gate.pulls(&[]);
            assert_eq!(
                (&rows["rows"][0]["requests"], &rows["rows"][0]["unseen"]),
                (&3.into(), &3.into())
            );
        }
    }
}

/// What is not for everybody is not asked for again with each request.
#[test]
fn a_registry_that_refuses_is_left_alone_for_that_repository() {
    for driver in DRIVERS {
        let bench = bench(driver, "", &Arc::new(AtomicU8::new(REFUSING)));
        for _ in 0..3 {
            assert_eq!(bench.get(&target("latest")).status, 307);
        }
        assert_eq!(asked(&bench), ["HEAD latest", "GET latest"], "once, in both ways");
    }
}

#[test]
fn without_it_the_registry_is_not_asked() {
    for driver in DRIVERS {
        let bench = bench(driver, "resolve_redirects = false\n", &Arc::default());
        for _ in 0..3 {
            assert_eq!(bench.get(&target("latest")).status, 307);
        }
        assert!(asked(&bench).is_empty());
        assert_eq!(bench.gate.metric("pullgate_redirects_resolved_total"), 0);
    }
}

fn bench(driver: &str, keys: &str, state: &Arc<AtomicU8>) -> Bench {
    let (hello, state) = (image("hello"), Arc::clone(state));
    let registry = Origin::start(REGISTRY_IP, move |talk| {
        while let Some(request) = talk.request()? {
            match state.load(Ordering::SeqCst) {
                SILENT => return talk.stall(),
                REFUSING => talk.answer(&request, "403 Forbidden", &[], b"")?,
                FAILING => return Err(io::ErrorKind::ConnectionAborted.into()),
                _ if request.target.ends_with("/absent") => {
                    talk.answer(&request, "404 Not Found", &[], b"")?;
                }
                _ => serve(talk, &request, &hello)?,
            }
        }
        Ok(())
    });
    Bench::behind(registry, |backend| {
        let config = config("", "delivery = \"redirect\"\n", backend);
        let keys = format!("memory = \"1MiB\"\ntag_ttl = \"1h\"\n{keys}");
        Gate::start_proxy(driver, &config.replace(NOTHING_KEPT, &keys))
    })
}

/// What of manifests arrived, as a method and a reference.
fn asked(bench: &Bench) -> Vec<String> {
    let mut requests = bench.asked();
    requests.retain(|request| request.target.contains("/manifests/"));
    let reference = |target: &str| target.rsplit('/').next().unwrap_or_default().to_owned();
    requests.iter().map(|it| format!("{} {}", it.method, reference(&it.target))).collect()
}

fn target(reference: &str) -> String {
    format!("/v2/acme/rocket/manifests/{reference}")
}

const SILENT: u8 = 1;
const FAILING: u8 = 2;
const REFUSING: u8 = 3;
