//! The exact requests of clients, sent to the gateway, and what must be counted for them.
//!
//! `golden/replay/*.txt` holds one client per file. Header lines before the first scene are sent
//! with every request; indented ones replace the header of that name for the request above them.
//! `@2` goes on as another client: from another address, on another connection.
//!
//! An answer is a redirect, and 200 where the gateway fetches what is asked for; `-> STATUS` behind
//! the request says otherwise, `-> REDIRECTED/FETCHED` for each, and `-` that no client asks then.
//! The line that begins with `=` is what must be counted once everything has been booked (how far
//! the pulls went is seen only where the gateway fetches), `~` behind it what must be where the
//! gateway fetches, if that is something else.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

#[path = "support/counting.rs"]
mod counting;
mod support;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;

use pullgate::aggregator::{Ask, open_offline};
use pullgate::cli::demo::image::Image;
use pullgate::pure::oci::endpoint::Endpoint;
use pullgate::pure::pull::event::{Asked, Event, Outcome};
use pullgate::pure::pull::kin::{self, Kin};
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate};
use support::hosts::{GATEWAY, REGISTRY};
use support::http::Connection;
use support::scenes::{Counted, Scene, Shelf, Step};

#[test]
fn every_client_is_counted_as_its_file_says() {
    let scenes = Shelf::new().scenes();
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &config());
        for (number, scene) in scenes.iter().enumerate() {
            play(&gate, number, scene);
        }
        gate.stop();
        let pulls = gate.pulls(&[]);
        compare(driver, &pulls, &scenes, |scene| scene.redirected);
    }
}

/// The same where the gateway fetches what clients ask for: the events of its answers, by any of
/// two workers.
#[test]
fn every_client_is_counted_so_where_answers_are_seen() {
    let shelf = Shelf::new();
    let scenes = shelf.scenes();
    for workers in [1, 2] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut gateway = counting::Gateway::start_with(dir.path(), workers, counting::counting());
        for (number, scene) in scenes.iter().enumerate() {
            for (at, step) in scene.steps.iter().enumerate() {
                gateway.worker = at % workers;
                tell(&mut gateway, &shelf, number, step);
            }
        }
        gateway.stop();
        let query = open_offline(dir.path()).expect("the store");
        let pulls = serde_json::to_value(query.rows(&Ask::default()).expect("an answer"));
        compare("fetched", &pulls.expect("JSON"), &scenes, |scene| scene.fetched);
    }
}

#[test]
fn counts_show_while_the_gateway_runs() {
    thread::scope(|scope| {
        for driver in DRIVERS {
            scope.spawn(move || counts_show_on(driver));
        }
    });
}

fn counts_show_on(driver: &str) {
    let gate = Gate::start(driver, &format!("[counting]\nwindow = \"2s\"\n{}", config()));
    let package = format!("{GATEWAY}/replay/live");
    let expect = |pulls, checks| {
        eventually(|| {
            let counts = gate.counts(&package);
            let so = (counts.pulls, counts.checks) == (pulls, checks);
            if so { Ok(()) } else { Err(format!("{driver}: {counts:?}")) }
        });
    };
    let ask = |method: &str, reference: &str| {
        let mut connection = Connection::open(gate.address()).expect("the gateway listens");
        let target = format!("/v2/replay/live/manifests/{reference}");
        let headers = [format!("Host: {GATEWAY}"), "User-Agent: containerd/1.7.24".into()];
        let answer = connection.ask(method, &target, &headers, b"").expect("an answer");
        assert_eq!(answer.status, 307);
    };
    // A check shows when its window has closed, and the next window makes the next check.
    ask("HEAD", "latest");
    expect(0, 1);
    ask("HEAD", "latest");
    expect(0, 2);
    // A pull shows at once, and is not a check as well once its window closes.
    ask("HEAD", "latest");
    ask("GET", &Image::hello().expect("the sample image").index.digest);
    expect(1, 2);
    ask("HEAD", "other");
    expect(1, 3);
}

/// Every scene is a package of its own, so that all of them are told apart in one run.
fn name(number: usize) -> String {
    format!("replay/scene-{number}")
}

fn config() -> String {
    format!(
        "[[packages]]\ndomain = \"{GATEWAY}\"\nname = \"replay/*\"\n\
         backend = \"http://{REGISTRY}/replay/*\"\ndelivery = \"redirect\"\n"
    )
}

fn play(gate: &Gate, number: usize, scene: &Scene) {
    let mut connections: HashMap<u8, Connection> = HashMap::new();
    for step in &scene.steps {
        let scene_byte = u8::try_from(number).expect("fewer than 256 scenes");
        let source = IpAddr::V4(Ipv4Addr::new(127, 1, scene_byte, step.client));
        let connection = connections.entry(step.client).or_insert_with(|| {
            Connection::open_from(source, gate.address()).expect("the gateway listens")
        });
        let target = step.target.replace("{name}", &name(number));
        let answer = connection.ask(&step.method, &target, &step.headers, b"");
        let said = |what: String| format!("{}: {} {target}: {what}", scene.title, step.method);
        let answer = answer.unwrap_or_else(|problem| panic!("{}", said(problem.to_string())));
        let words = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, step.redirected, "{}", said(words));
        if answer.header("connection") == Some("close") {
            connections.remove(&step.client);
        }
    }
}

/// Tells counting of one request that the gateway fetched the answer to.
fn tell(gateway: &mut counting::Gateway, shelf: &Shelf, number: usize, step: &Step) {
    let name = name(number);
    let target = step.target.replace("{name}", &name);
    let path = target.split('?').next().unwrap_or_default();
    let (asked, reference) = match (Endpoint::parse(path.as_bytes()), step.method.as_str()) {
        (Ok(Endpoint::Manifest { reference, .. }), "GET") => (Asked::Manifest, reference.as_str()),
        (Ok(Endpoint::Manifest { reference, .. }), _) => (Asked::ManifestHead, reference.as_str()),
        (Ok(Endpoint::Blob { digest, .. }), _) => (Asked::Blob, digest.as_str()),
        (Ok(Endpoint::Referrers { digest, .. }), _) => (Asked::Referrers, digest.as_str()),
        _ => return,
    };
    let outcome = match step.fetched {
        Some(200..=299) => Outcome::Succeeded,
        Some(304) => Outcome::NotModified,
        _ => return,
    };
    let manifest = shelf.find(reference).filter(|_| asked != Asked::Blob);
    let kin = match (manifest, asked) {
        (Some(manifest), Asked::Manifest) => kin::read(&manifest.bytes),
        _ => Kin::default(),
    };
    let agent = step.headers.iter().rev().find_map(|line| line.strip_prefix("User-Agent: "));
    let client = u32::try_from(number).expect("few scenes") << 8 | u32::from(step.client);
    gateway.senders[gateway.worker].offer(&Event {
        asked,
        outcome,
        domain: GATEWAY.as_bytes(),
        user_agent: agent.unwrap_or_default().as_bytes(),
        digest: manifest.map_or(b"", |manifest| manifest.digest.as_bytes()),
        kin: kin.bytes(),
        ..counting::event(client, &name, reference)
    });
}

/// Compares each scene's row in what `pullgate pulls --json` says with what it must be.
fn compare(
    run: &str,
    pulls: &serde_json::Value,
    scenes: &[Scene],
    expected: impl Fn(&Scene) -> Counted,
) {
    let rows = pulls["rows"].as_array().expect("rows");
    let mut wrong = String::new();
    for (number, scene) in scenes.iter().enumerate() {
        let package = format!("{GATEWAY}/{}", name(number));
        let row = rows.iter().find(|row| row["package"] == package);
        let (counted, expected) = (row.map_or_else(Counted::default, Counted::of), expected(scene));
        if counted != expected {
            wrong += &format!("{}\n   must be {expected:?}\n       was {counted:?}\n", scene.title);
        }
    }
    assert!(wrong.is_empty(), "{run}:\n{wrong}");
}
