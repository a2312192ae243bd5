//! The exact requests of clients, sent to the gateway, and what must be counted for them.
//!
//! `golden/replay/*.txt` holds one client per file. Header lines before the first scene are sent
//! with every request; indented ones replace the header of that name for the request above them.
//! `@2` goes on as another client: from another address, on another connection.
//!
//! An answer is a redirect, and 200 where the gateway fetches what is asked for; at `/v2/` it is 200.
//! `-> STATUS` behind the request says otherwise, `-> REDIRECTED/FETCHED` for each, and `-` that no
//! client asks then.
//! The line that begins with `=` is what must be counted once everything has been booked (how far
//! the pulls went is seen only where the gateway fetches), `~` behind it what must be where the
//! gateway fetches, if that is something else.
//!
//! What is fetched comes from a registry that has under every name what the placeholders stand for,
//! and fails as the scenes say.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::thread;

use pullgate::cli::demo::image::Image;
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate};
use support::hosts::{GATEWAY, REGISTRY};
use support::http::Connection;
use support::origin::{Origin, Request, Talk};
use support::scenes::{Counted, Scene, Shelf, Step};
use support::scripted::serve_found;

#[test]
fn every_client_is_counted_as_its_file_says() {
    let scenes = Shelf::new().scenes();
    for driver in DRIVERS {
        let gate = Gate::start(driver, &config("redirect", REGISTRY));
        let run = format!("redirect on {driver}");
        play(&run, gate, &scenes, |step| Some(step.redirected), |scene| scene.redirected);
    }
}

#[test]
fn every_client_is_counted_so_where_the_gateway_fetches() {
    let scenes = Shelf::new().scenes();
    for (driver, delivery, stored) in [
        ("io_uring", "broker", Stored::Here),
        ("io_uring", "broker", Stored::Elsewhere),
        ("epoll", "broker", Stored::Here),
        ("epoll", "broker", Stored::Elsewhere),
        ("io_uring", "stream", Stored::Elsewhere),
    ] {
        let registry = registry(&scenes, stored);
        let gate = Gate::start(driver, &config(delivery, &registry.address().to_string()));
        let is_handed_on = delivery == "broker" && stored == Stored::Elsewhere;
        let status = |step: &Step| match step.fetched {
            Some(200) if is_handed_on && step.target.contains("/blobs/") => Some(307),
            said => said,
        };
        let run = format!("{delivery} on {driver}, blobs {stored:?}");
        play(&run, gate, &scenes, status, |scene| scene.fetched);
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
    let gate = Gate::start(
        driver,
        &format!("{}\n[counting]\nwindow = \"2s\"\n", config("redirect", REGISTRY)),
    );
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

fn config(delivery: &str, backend: &str) -> String {
    format!(
        "workers = 2\n\n[[packages]]\ndomain = \"{GATEWAY}\"\nname = \"replay/*\"\n\
         backend = \"http://{backend}/replay/*\"\ndelivery = \"{delivery}\"\n"
    )
}

/// Where a registry has its blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    Here,
    /// On storage that it redirects to.
    Elsewhere,
}

/// What the gateway fetches from.
fn registry(scenes: &[Scene], stored: Stored) -> Origin {
    let (shelf, failures) = (Shelf::new(), failures(scenes));
    Origin::start(Ipv4Addr::LOCALHOST, move |talk| {
        while let Some(request) = talk.request()? {
            let key = (request.method.clone(), request.target.clone());
            match failures.get(&key) {
                Some(status) => talk.answer(&request, &format!("{status} So"), &[], b"")?,
                None => serve(talk, &request, &shelf, stored)?,
            }
        }
        Ok(())
    })
}

/// The requests, method and target, that are not answered 200, and how they are.
fn failures(scenes: &[Scene]) -> HashMap<(String, String), u16> {
    let mut failures = HashMap::new();
    for (number, scene) in scenes.iter().enumerate() {
        for step in &scene.steps {
            if let Some(status) = step.fetched.filter(|status| *status != 200) {
                let target = step.target.replace("{name}", &name(number));
                failures.insert((step.method.clone(), target), status);
            }
        }
    }
    failures
}

fn serve(talk: &mut Talk, request: &Request, shelf: &Shelf, stored: Stored) -> io::Result<()> {
    match request.target.split_once("/blobs/") {
        Some((_, digest)) if stored == Stored::Elsewhere => {
            let location = format!("Location: /storage/{digest}");
            talk.answer(request, "307 Temporary Redirect", &[&location], b"")
        }
        Some(_) | None => serve_found(talk, request, |reference| shelf.find(reference)),
    }
}

/// Plays all scenes, and compares what is counted for each. Clients ask on two connections in turn,
/// so that two workers' events are put in order.
fn play(
    run: &str,
    mut gate: Gate,
    scenes: &[Scene],
    status: impl Fn(&Step) -> Option<u16>,
    counted: impl Fn(&Scene) -> Counted,
) {
    for (number, scene) in scenes.iter().enumerate() {
        let mut connections = HashMap::new();
        for (at, step) in scene.steps.iter().enumerate() {
            let Some(status) = status(step) else { continue };
            let key = (step.client, at % 2);
            let connection =
                connections.entry(key).or_insert_with(|| connect(&gate, number, step.client));
            let target = step.target.replace("{name}", &name(number));
            let answer = connection.ask(&step.method, &target, &step.headers, b"");
            let said = |what: String| format!("{run}: {}: {target}: {what}", scene.title);
            let answer = answer.unwrap_or_else(|problem| panic!("{}", said(problem.to_string())));
            let words = String::from_utf8_lossy(&answer.body).into_owned();
            assert_eq!(answer.status, status, "{}", said(words));
            if answer.header("connection") == Some("close") {
                connections.remove(&key);
            }
        }
    }
    gate.stop();
    compare(run, &gate.pulls(&[]), scenes, counted);
}

/// Scenes come from addresses of their own.
fn connect(gate: &Gate, number: usize, client: u8) -> Connection {
    let scene_byte = u8::try_from(number).expect("fewer than 256 scenes");
    let source = IpAddr::V4(Ipv4Addr::new(127, 1, scene_byte, client));
    Connection::open_from(source, gate.address()).expect("the gateway listens")
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
