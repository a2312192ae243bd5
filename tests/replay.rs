//! The exact requests of clients, sent to the gateway, and what must be counted for them.
//!
//! `golden/replay/*.txt` holds one client per file. Header lines before the first scene are sent
//! with every request; indented ones replace the header of that name for the request above them.
//! `@2` goes on as another client: from another address, on another connection. An answer is a
//! redirect unless `-> STATUS` stands behind the request. The line that begins with `=` is what
//! must be counted once everything has been booked.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::thread;

use pullgate::cli::demo::image::Image;
use support::eventually::eventually;
use support::gate::{Counts, DRIVERS, Gate};
use support::hosts::{GATEWAY, REGISTRY};
use support::http::Connection;

#[test]
fn every_client_is_counted_as_its_file_says() {
    let scenes = scenes();
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &config());
        for (number, scene) in scenes.iter().enumerate() {
            play(&gate, number, scene);
        }
        gate.stop();
        let mut wrong = String::new();
        for (number, scene) in scenes.iter().enumerate() {
            let counted = gate.counts(&format!("{GATEWAY}/{}", name(number)));
            if counted != scene.expected {
                let Scene { title, expected, .. } = scene;
                wrong += &format!("{title}\n   must be {expected:?}\n       was {counted:?}\n");
            }
        }
        assert!(wrong.is_empty(), "on {driver}:\n{wrong}");
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

struct Scene {
    title: String,
    steps: Vec<Step>,
    expected: Counts,
}

struct Step {
    client: u8,
    method: String,
    target: String,
    headers: Vec<String>,
    status: u16,
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
        assert_eq!(answer.status, step.status, "{}", said(words));
        if answer.header("connection") == Some("close") {
            connections.remove(&step.client);
        }
    }
}

fn scenes() -> Vec<Scene> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/replay");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the scenes' folder")
        .map(|entry| entry.expect("its entry").path())
        .collect();
    files.sort();
    let values = placeholders();
    let mut scenes = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a file of scenes");
        let text = values.iter().fold(text, |text, (name, value)| text.replace(name, value));
        let file = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        read(&file, &text, &mut scenes);
    }
    assert!(!scenes.is_empty());
    scenes
}

fn placeholders() -> Vec<(&'static str, String)> {
    let image = Image::hello().expect("the sample image");
    let [amd64, arm64] = image.platforms.as_slice() else { panic!("two platforms") };
    let stranger = |digit: &str| format!("sha256:{}", digit.repeat(64));
    vec![
        ("{tag}", "v1.2".into()),
        ("{tag2}", "v1.3".into()),
        ("{index}", image.index.digest.clone()),
        ("{index2}", stranger("2")),
        ("{index_tag}", image.index.digest.replace(':', "-")),
        ("{amd64}", amd64.manifest.digest.clone()),
        ("{arm64}", arm64.manifest.digest.clone()),
        ("{config}", amd64.config.digest.clone()),
        ("{config2}", arm64.config.digest.clone()),
        ("{layer1}", amd64.layers[0].digest.clone()),
        ("{layer2}", amd64.layers[1].digest.clone()),
        ("{layer3}", amd64.layers[2].digest.clone()),
        ("{attestation}", stranger("a")),
        ("{attestation_tag}", stranger("a").replace(':', "-")),
    ]
}

fn read(file: &str, text: &str, scenes: &mut Vec<Scene>) {
    let mut common = vec![format!("Host: {GATEWAY}")];
    let (mut title, mut client, mut steps) = (String::new(), 1, Vec::<Step>::new());
    for (number, line) in text.lines().enumerate() {
        let bad = || format!("{file}:{}: {line}", number + 1);
        if let Some(words) = line.strip_prefix("## ") {
            title = format!("{file}:{}: {words}", number + 1);
        } else if line.is_empty() || line.starts_with('#') {
        } else if let Some(other) = line.strip_prefix('@') {
            client = other.parse().unwrap_or_else(|_| panic!("{}", bad()));
        } else if let Some(counts) = line.strip_prefix("= ") {
            let expected = counts_of(counts).unwrap_or_else(|| panic!("{}", bad()));
            scenes.push(Scene {
                title: title.clone(),
                steps: std::mem::take(&mut steps),
                expected,
            });
            client = 1;
        } else if let Some(header) = line.strip_prefix("  ") {
            let step = steps.last_mut().unwrap_or_else(|| panic!("{}", bad()));
            replace(&mut step.headers, header, &common);
        } else if title.is_empty() {
            common.push(line.to_owned());
        } else {
            let (request, status) = line.split_once(" -> ").unwrap_or((line, "307"));
            let (method, target) = request.split_once(' ').unwrap_or_else(|| panic!("{}", bad()));
            steps.push(Step {
                client,
                method: method.into(),
                target: target.into(),
                headers: common.clone(),
                status: status.parse().unwrap_or_else(|_| panic!("{}", bad())),
            });
        }
    }
    assert!(steps.is_empty(), "{file}: the last scene has no line of counts");
}

/// Adds `header`; the first of its name takes the place of those in `common`.
fn replace(headers: &mut Vec<String>, header: &str, common: &[String]) {
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_owned();
    headers.retain(|line| name(line) != name(header) || !common.contains(line));
    headers.push(header.to_owned());
}

fn counts_of(text: &str) -> Option<Counts> {
    let mut counts = Counts::default();
    let words: Vec<&str> = text.split(' ').collect();
    for pair in words.chunks(2) {
        let [key, number] = pair else { return None };
        let number = number.parse().ok()?;
        match *key {
            "requests" => counts.requests = number,
            "pulls" => counts.pulls = number,
            "checks" => counts.checks = number,
            "supply_chain" => counts.supply_chain = number,
            _ => return None,
        }
    }
    Some(counts)
}
