//! Whichever worker saw a request, and however its pages lay between those of others: the same events
//! come to the same numbers, in every way in which counts are told apart. `PULLGATE_SEED=` replays one.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and its numbers are small"
)]

#[path = "support/month.rs"]
mod month;

use std::fmt::Write as _;

use pullgate::aggregator::{Ask, By, open_offline};
use pullgate::control::while_busy;
use pullgate::pure::config::values::Retention;
use pullgate::pure::pull::event::{Address, Asked, Event, Outcome, Way};
use pullgate::pure::pull::kin;
use pullgate::pure::pull::rollup::Dimension;

use month::{BEGIN, Simulation, random::Random};

/// What clients ask for.
struct Scene {
    /// When it begins.
    minute: u32,
    sent: Vec<Sent>,
    /// How many of those are counted before midnight comes; none where it does not.
    on_the_day_before: usize,
}

/// What a client asks for, and how it is answered.
#[derive(Clone)]
struct Sent {
    /// After the simulation's begin, in microseconds: no two at once.
    after_us: u64,
    client: u32,
    package: u32,
    asked: Asked,
    outcome: Outcome,
    reference: String,
    is_private: bool,
}

#[test]
fn any_interleaving_over_workers_comes_to_the_same_numbers() {
    let seed = std::env::var("PULLGATE_SEED").ok().and_then(|seed| seed.parse().ok());
    let (first, last) = seed.map_or((1, 24), |seed: u64| (seed, seed));
    for seed in first..=last {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let over_midnight = seed.is_multiple_of(3);
        let scene = events(&mut random, over_midnight);
        let expected = counted(&scene, 1, None);
        assert!(expected.contains("pulls: 1,"), "{expected}");
        // Each package's clients, on each day.
        let days = expected.split("by ").find(|by| by.starts_with("[Day]")).unwrap();
        let counting = days.lines().skip(1).filter(|row| !row.contains("daily_uniques: 0,"));
        assert_eq!(counting.count(), if over_midnight { 6 } else { 3 }, "{days}");
        for workers in [1, 2, 4] {
            let told = counted(&scene, workers, Some(&mut random));
            assert!(
                told == expected,
                "PULLGATE_SEED={seed}, {workers} workers:\n{told}\n{expected}"
            );
        }
    }
}

/// A page that comes seconds too late may fold otherwise; no request is lost by it, or counts twice.
#[test]
fn of_what_comes_late_every_request_counts_once() {
    let mut random = Random(0x1234_5678_9abc_def1);
    let Scene { minute, sent, .. } = events(&mut random, false);
    let dir = tempfile::tempdir().unwrap();
    let mut simulation = Simulation::start_at(minute, dir.path(), EVERYTHING);
    let begin_us = simulation.at_us;
    for (number, one) in sent.iter().enumerate() {
        // The last worker's events wait for a while, in order, before they are told.
        let late_us = if number % 3 == 0 { LATE_US } else { 0 };
        simulation.turn_to(begin_us + one.after_us + late_us);
        offer(&mut simulation, if late_us > 0 { 3 } else { 0 }, begin_us, one);
    }
    simulation.turn_to(begin_us + sent.last().unwrap().after_us + LATE_US);
    simulation.settle();
    simulation.stop();
    let query = while_busy(|| open_offline(dir.path())).unwrap();
    let requests = sent.iter().filter(|one| one.asked == Asked::Manifest).count() as u64;
    for by in [vec![], vec![By::Tag], vec![By::Minute], vec![By::Country], vec![By::Outcome]] {
        let answer = query.rows(&Ask { by: by.clone(), ..Ask::default() }).unwrap();
        assert_eq!(answer.totals.requests, requests, "{by:?}");
    }
}

/// All counts that the events come to: sent by so many workers, each in order and in time, as `random`
/// wills; without it by one worker, each at once.
///
/// Different clients among them: each run has random keys of its own, but so few clients are counted
/// exactly. Whose day a client's is is decided when it is counted, which is when events have been held
/// back: who asks in the moment before midnight is a client of the new day, whichever worker says so.
/// What is left out is an aggregator that is too late at midnight, with events that were old enough to
/// be counted before: those clients are the new day's, in one run and not in another. So the clock
/// stands still before midnight until those are counted.
fn counted(scene: &Scene, workers: u64, mut random: Option<&mut Random>) -> String {
    let Scene { minute, sent, on_the_day_before } = scene;
    let dir = tempfile::tempdir().unwrap();
    let mut simulation = Simulation::start_at(*minute, dir.path(), EVERYTHING);
    let begin_us = simulation.at_us;
    // Of each worker, when the oldest event was offered that may not be sent yet.
    let mut waiting: [Option<u64>; 4] = [None; 4];
    for (number, one) in sent.iter().enumerate() {
        let at_us = begin_us + one.after_us;
        if number > 0 && number == *on_the_day_before {
            for worker in 0..4 {
                simulation.flush(worker);
            }
            waiting = [None; 4];
            simulation.turn_to(begin_us + sent[number - 1].after_us);
            simulation.settle();
        }
        let Some(random) = random.as_deref_mut() else {
            simulation.turn_to(at_us);
            offer(&mut simulation, 0, begin_us, one);
            simulation.flush(0);
            continue;
        };
        // The clock goes on in steps, and whoever has waited long enough sends first: that is when a
        // worker flushes at the latest.
        for (worker, waiting) in waiting.iter_mut().enumerate().take(workers as usize) {
            let is_due = waiting.is_some_and(|since_us| since_us + FLUSH_US < at_us);
            if is_due || random.below(5) == 0 {
                simulation.flush(worker);
                *waiting = None;
            }
        }
        if random.below(3) > 0 {
            simulation.turn_to(at_us - random.below(1000));
        }
        if random.below(20) == 0 {
            // Let the aggregator see that.
            simulation.settle_some();
        }
        let worker = random.below(workers) as usize;
        waiting[worker] = waiting[worker].or(Some(at_us));
        offer(&mut simulation, worker, begin_us, one);
    }
    for worker in 0..4 {
        simulation.flush(worker);
    }
    simulation.turn_to(begin_us + sent.last().unwrap().after_us + LATE_US);
    simulation.settle();
    simulation.stop();
    let query = while_busy(|| open_offline(dir.path())).unwrap();
    let mut told = String::new();
    for by in ways() {
        let answer = query.rows(&Ask { by: by.clone(), ..Ask::default() }).unwrap();
        writeln!(told, "by {by:?}").unwrap();
        for row in answer.rows {
            writeln!(told, "{} {:?} {:?}", row.package, row.keys, row.measures).unwrap();
        }
    }
    told
}

/// Every word by itself, and with a unit of time; every pair.
fn ways() -> Vec<Vec<By>> {
    let mut ways = vec![vec![], vec![By::Minute], vec![By::Day]];
    for by in By::EVERY.into_iter().filter(|by| by.unit().is_none()) {
        ways.push(vec![by]);
        ways.push(vec![by, By::Day]);
    }
    for (first, second) in Dimension::EVERY.into_iter().filter_map(Dimension::pair) {
        let word = |of| By::EVERY.into_iter().find(|by| by.dimension() == Some(of)).unwrap();
        ways.push(vec![word(first), word(second)]);
    }
    ways
}

fn offer(simulation: &mut Simulation, worker: usize, begin_us: u64, sent: &Sent) {
    let address = std::net::Ipv4Addr::new(20 + sent.client as u8, 1, 2, 3).to_ipv6_mapped();
    let answer = match sent.reference.as_str() {
        _ if sent.outcome == Outcome::Redirected => String::new(),
        tag if !tag.contains(':') => digest("index"),
        digest => digest.to_owned(),
    };
    let is_read = (sent.asked, sent.outcome) == (Asked::Manifest, Outcome::Succeeded);
    let kin = if is_read { kin_of(&answer) } else { kin::Kin::default() };
    simulation.offer(
        worker,
        &Event {
            at_us: begin_us + sent.after_us,
            address: Address(address.octets()),
            connection: u64::from(sent.client),
            asked: sent.asked,
            outcome: sent.outcome,
            way: if sent.outcome == Outcome::Redirected { Way::Redirect } else { Way::Stream },
            is_private: sent.is_private,
            id: b"",
            domain: b"registry.acme.com",
            collection: b"acme/*",
            name: format!("acme/package-{}", sent.package).as_bytes(),
            reference: sent.reference.as_bytes(),
            user_agent: AGENTS[sent.client as usize % AGENTS.len()].as_bytes(),
            digest: if is_blob(sent.asked) { b"" } else { answer.as_bytes() },
            kin: kin.bytes(),
            bytes: if sent.asked == Asked::BlobEnd { 1000 } else { 0 },
        },
    );
}

fn is_blob(asked: Asked) -> bool {
    matches!(asked, Asked::Blob | Asked::BlobHead | Asked::BlobEnd)
}

/// Some minutes of a few clients: most requests lie close together, some just before or after the
/// minute in which a window closes that began with them, or a minute of the clock. At noon, or half
/// of them on an evening, and the others from the moment before its midnight.
fn events(random: &mut Random, over_midnight: bool) -> Scene {
    let mut after_us = 1_000;
    let mut opened_us = after_us;
    let mut sent: Vec<Sent> = Vec::new();
    let mut on_the_day_before = 0;
    for _ in 0..150 + random.below(150) {
        // A GET of a manifest is the last of them: it is known when those are counted.
        let may_end = sent.len() > 75 && sent.last().is_some_and(|it| it.asked == Asked::Manifest);
        if over_midnight && may_end && on_the_day_before == 0 {
            on_the_day_before = sent.len();
            assert!(after_us < EVENING_US - 600_000_000, "it is too late for them");
            after_us = EVENING_US - 1 - random.below(FLUSH_US);
            opened_us = after_us;
        }
        after_us = match random.below(30) {
            0 => (opened_us + 60_000_000 + random.below(3)).max(after_us + 2) - 1,
            1 => (after_us / 60_000_000 + 1) * 60_000_000 + random.below(3),
            2 => after_us + 1 + random.below(30_000_000),
            3..=5 => after_us + 1 + random.below(100_000),
            _ => after_us + 1 + random.below(40),
        };
        if random.below(8) == 0 {
            opened_us = after_us;
        }
        let client = random.below(5) as u32;
        let asked = match random.below(12) {
            0..=5 => Asked::Manifest,
            6..=7 => Asked::ManifestHead,
            8 => Asked::Referrers,
            9 => Asked::BlobEnd,
            _ => Asked::Blob,
        };
        let outcome = match random.below(8) {
            way if asked == Asked::BlobEnd => {
                [Outcome::Broken, Outcome::Succeeded][way as usize % 2]
            }
            0..=2 => Outcome::Redirected,
            3..=6 => Outcome::Succeeded,
            _ => Outcome::NotModified,
        };
        let words: &[&str] = match asked {
            Asked::Blob | Asked::BlobHead | Asked::BlobEnd => &["layer", "config"],
            Asked::Referrers => &["index"],
            Asked::Manifest | Asked::ManifestHead => &["v1", "v2", "index", "arm", "amd"],
        };
        let word = words[random.below(words.len() as u64) as usize];
        let reference = if word.starts_with('v') { word.to_owned() } else { digest(word) };
        let (package, is_private) = (random.below(3) as u32, random.below(6) == 0);
        sent.push(Sent { after_us, client, package, asked, outcome, reference, is_private });
    }
    // [`BEGIN`] is a midnight.
    let minute = if over_midnight { BEGIN - EVENING_MINUTES } else { BEGIN + 12 * 60 };
    Scene { minute, sent, on_the_day_before }
}

fn digest(name: &str) -> String {
    let number = name.bytes().fold(1u64, |sum, byte| sum * 31 + u64::from(byte));
    format!("sha256:{number:064x}")
}

fn kin_of(answer: &str) -> kin::Kin {
    let (arm, amd, layer) = (digest("arm"), digest("amd"), digest("layer"));
    let member = |digest: &str, arch: &str| {
        format!(r#"{{"digest":"{digest}","platform":{{"os":"linux","architecture":"{arch}"}}}}"#)
    };
    let body = match answer == digest("index") {
        true => format!(r#"{{"manifests":[{},{}]}}"#, member(&arm, "arm64"), member(&amd, "amd64")),
        false => format!(r#"{{"config":{{}},"layers":[{{"digest":"{layer}"}}]}}"#),
    };
    kin::read(body.as_bytes())
}

const AGENTS: [&str; 3] = [
    "docker/28.5.2 go/go1.24.9 git-commit/89c5e8f kernel/6.1.0 os/linux arch/amd64 \
     UpstreamClient(Docker-Client/28.5.2 \\(linux\\))",
    "containers/5.34.2 (github.com/containers/image)",
    "containerd/1.7.18",
];
/// How long before midnight an evening begins.
const EVENING_MINUTES: u32 = 120;
const EVENING_US: u64 = EVENING_MINUTES as u64 * 60_000_000;
/// How much later than it should a worker's page may come.
const LATE_US: u64 = 7_000_000;
/// How often a worker flushes at least. Events are held back for longer.
const FLUSH_US: u64 = pullgate::messages::pulls::FLUSH_US_MAX;
const EVERYTHING: Retention = Retention { minute: None, hour: None, day: None };
