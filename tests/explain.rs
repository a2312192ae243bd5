//! Which way a request goes and why: in a header for whoever asks, and for the operator by
//! `pullgate explain`; and that a package which moves has moved for the next request.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::io;
use std::process::Command;

use crossbeam_channel::bounded;
use support::bench::ask;
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate, UPSTREAM, pullgate};
use support::hosts::{GATEWAY, REGISTRY, REGISTRY_IP};
use support::images::image;
use support::origin::{Origin, Talk};
use support::process::{attempt, run};
use support::scripted::serve;

#[test]
fn an_answer_says_its_way_where_the_operator_wants_that() {
    for driver in DRIVERS {
        for explains in [true, false] {
            let registry = Origin::start(REGISTRY_IP, give_hello);
            let config = format!("explain_header = {explains}\n{}", packages(&registry));
            let gate = Gate::start_proxy(driver, &config);
            for (path, said) in [
                ("/v2/acme/rocket/manifests/latest", "rule=\"gw.pg.test/acme/*\"; delivery=broker"),
                ("/v2/acme/rocket/manifests/.x", ""),
                ("/v2/acme/rocket/tags/list", "rule=\"gw.pg.test/acme/*\"; delivery=broker"),
                ("/v2/moon/manifests/latest", "rule=\"gw.pg.test/moon\"; delivery=redirect"),
                ("/v2/gone/manifests/latest", "rule=\"gw.pg.test/gone\"; delivery=stream"),
                ("/v2/", ""),
            ] {
                let answer = ask(&gate, "GET", path, &[]);
                let header = answer.header("pullgate-explain").unwrap_or_default();
                let expected = if explains && !said.is_empty() {
                    format!("{said}; why=\"the package's delivery says so\"")
                } else {
                    String::new()
                };
                assert_eq!(header, expected, "{path}: {}", answer.status);
            }
        }
    }
}

#[test]
fn the_running_gateway_is_asked_what_it_would_do() {
    for driver in DRIVERS {
        let registry = Origin::start(REGISTRY_IP, give_hello);
        let mut gate = Gate::start_proxy(driver, &packages(&registry));
        let backend = format!("http://{REGISTRY}:{}/v2", registry.address().port());
        for (asked, expected) in [
            (
                "gw.pg.test/acme/rocket:1.0",
                format!(
                    "asked for: manifest 1.0 of acme/rocket\ndomain: gw.pg.test\n\
                     rule: acme/* of gw.pg.test, delivery = \"broker\", credentials = \"none\"\n\
                     lives at: {backend}/deep/rocket\n\
                     delivery: broker, because the package's delivery says so\n\
                     answer: {backend}/deep/rocket/manifests/1.0 is asked, as anybody\n"
                ),
            ),
            (
                "https://gw.pg.test/v2/unknown/tags/list",
                "asked for: unknown/tags/list\ndomain: gw.pg.test\n\
                 answer: 404 Not Found NAME_UNKNOWN (name_unknown)\n"
                    .to_owned(),
            ),
            (
                "gw.pg.test/v2/",
                "asked for: /v2/, which names no package\ndomain: gw.pg.test\n\
                 answer: 200, clients need not log in\n"
                    .to_owned(),
            ),
        ] {
            assert_eq!(run(&mut explain(&gate, asked)), expected);
        }
        // What was found out is told, and who asks matters.
        let found =
            run(explain(&gate, "gw.pg.test/auto").args(["--user-agent", "containerd/2.1.4"]));
        assert!(found.contains("\nfound out: ") && found.contains("because"), "{found}");
        gate.stop();
        let words = attempt(&mut explain(&gate, "gw.pg.test/auto")).expect_err("nobody runs");
        assert!(words.contains("no gateway runs on this data_dir"), "{words}");
    }
}

/// A pull under way ends where it began; the next one goes to where the package lives now.
#[test]
fn a_package_that_moves_has_moved_for_the_next_request() {
    for driver in DRIVERS {
        let (release, released) = bounded::<()>(1);
        let old = Origin::start(REGISTRY_IP, move |talk| {
            let hello = image("hello");
            while let Some(request) = talk.request()? {
                let Some(layer) = large(&request.target) else {
                    serve(talk, &request, &hello)?;
                    continue;
                };
                talk.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", layer.len()))?;
                let (first, rest) = layer.split_at(layer.len() / 2);
                talk.send(first)?;
                released.recv().map_err(io::Error::other)?;
                talk.send(rest)?;
            }
            Ok(())
        });
        let new = Origin::start(REGISTRY_IP, |talk| {
            let moved = image("moved");
            while let Some(request) = talk.request()? {
                serve(talk, &request, &moved)?;
            }
            Ok(())
        });
        let mut gate = Gate::start_proxy(driver, &format!("workers = 2\n{}", packages(&old)));
        let digest = |seed| image(seed).index.digest;
        let served = |gate: &Gate| {
            let answer = ask(gate, "GET", "/v2/gone/manifests/latest", &[]);
            answer.header("docker-content-digest").unwrap_or_default().to_owned()
        };
        assert_eq!(served(&gate), digest("hello"));
        let layer = LARGE.repeat(LARGE_TIMES);
        let path = format!("/v2/gone/blobs/{}", digest("large"));
        let mut under_way =
            support::http::Connection::open(gate.address()).expect("the gateway listens");
        under_way.send(&support::bench::request("GET", &path, &[])).expect("it is read");
        eventually(|| {
            let has = old.requests().iter().any(|request| request.target.contains("/blobs/"));
            if has { Ok(()) } else { Err("the blob is not asked for".into()) }
        });
        let text = fs::read_to_string(gate.config_file()).expect("the configuration");
        let moved = text
            .replace(&format!(":{}", old.address().port()), &format!(":{}", new.address().port()));
        fs::write(gate.config_file(), moved).expect("another configuration");
        eventually(|| match served(&gate) {
            now if now == digest("moved") => Ok(()),
            now => Err(format!("still {now}")),
        });
        // Both workers, however connections fall to them.
        (0..20).for_each(|_| assert_eq!(served(&gate), digest("moved")));
        release.send(()).expect("it waits");
        let answer = under_way.answer(false).expect("an answer");
        assert!(answer.is_whole && answer.body == layer.as_bytes());
        gate.stop();
    }
}

fn explain(gate: &Gate, asked: &str) -> Command {
    let mut command = Command::new(pullgate());
    command.args(["explain", asked, "--data"]).arg(gate.data_dir());
    command
}

fn packages(registry: &Origin) -> String {
    let authority = format!("{REGISTRY}:{}", registry.address().port());
    let package = |name: &str, there: &str, delivery: &str| {
        format!(
            "[[packages]]\ndomain = \"{GATEWAY}\"\nname = \"{name}\"\n\
             backend = \"http://{authority}/{there}\"\ndelivery = \"{delivery}\"\n"
        )
    };
    [
        UPSTREAM.to_owned(),
        package("acme/*", "deep/*", "broker"),
        package("moon", "moon", "redirect"),
        package("gone", "gone", "stream"),
        package("auto", "auto", "auto"),
    ]
    .concat()
}

fn give_hello(talk: &mut Talk) -> io::Result<()> {
    let hello = image("hello");
    while let Some(request) = talk.request()? {
        if request.target.contains("/gone/") {
            return talk.reset();
        }
        serve(talk, &request, &hello)?;
    }
    Ok(())
}

/// A body that takes its time.
fn large(target: &str) -> Option<String> {
    target.contains("/blobs/").then(|| LARGE.repeat(LARGE_TIMES))
}

const LARGE: &str = "a layer of some length; ";
const LARGE_TIMES: usize = 100_000;
