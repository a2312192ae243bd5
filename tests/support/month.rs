//! A gateway's months without its network: pulls whose truth is known because they were made up, an
//! aggregator whose clock a test turns, and a database of places of its own.
#![allow(dead_code, reason = "each test and benchmark uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and its numbers are small"
)]

#[path = "random.rs"]
pub(crate) mod random;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use pullgate::aggregator::Ask;
use pullgate::cli::demo::past::Past;
use pullgate::cli::demo::places::{self, Network};
use pullgate::pure::config::values::{Counting, Insight, Retention, UniqueWindow};
use pullgate::pure::place::Sources;
use pullgate::pure::pull::event::{Address, Asked, Event, Outcome, Way};

use random::Random;

pub(crate) const DAY: u32 = 24 * 60;
/// 2026-03-01, the first of a month of 31 days.
pub(crate) const BEGIN: u32 = 20_513 * DAY;
const WORKERS: usize = 4;

/// Requests, pulls, checks.
pub(crate) type Counted = [u64; 3];

/// How much happens.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) days: u32,
    pub(crate) packages: u32,
    /// Requests, roughly: blobs and HEADs among them.
    pub(crate) events: u64,
    pub(crate) clients: u64,
    /// How far the clock goes at once, in minutes.
    pub(crate) step: u32,
}

/// What is true of what was made up.
#[derive(Default)]
pub(crate) struct Truth {
    pub(crate) events: u64,
    pub(crate) by_tag: BTreeMap<(u32, u8), Counted>,
    /// By package and first minute.
    pub(crate) by_day: BTreeMap<(u32, u32), Counted>,
    pub(crate) by_country: BTreeMap<(u32, &'static str), Counted>,
    /// How many clients pulled a package on a day.
    pub(crate) uniques: BTreeMap<(u32, u32), u64>,
    /// Which, on the day that is under way.
    seen: BTreeMap<(u32, u32), HashSet<u64>>,
}

impl Truth {
    /// Adds to all sums that this belongs to.
    fn add(&mut self, package: u32, tag: u8, day: u32, country: &'static str, more: Counted) {
        for sum in [
            self.by_tag.entry((package, tag)).or_default(),
            self.by_day.entry((package, day)).or_default(),
            self.by_country.entry((package, country)).or_default(),
        ] {
            sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        }
    }
}

/// A gateway of four workers, and the clock that it looks at.
pub(crate) struct Simulation(Past);

impl Deref for Simulation {
    type Target = Past;

    fn deref(&self) -> &Past {
        &self.0
    }
}

impl Simulation {
    /// An empty store at [`BEGIN`].
    pub(crate) fn start(dir: &Path, retention: Retention) -> Self {
        Self::start_at(BEGIN, dir, retention)
    }

    /// An empty store at that minute.
    pub(crate) fn start_at(minute: u32, dir: &Path, retention: Retention) -> Self {
        let counting = Counting {
            flush: Duration::from_secs(1),
            window: Duration::from_secs(60),
            retention,
            max_names: 10_000,
            max_tags: 1000,
            max_clients: 200,
            respect_dnt: true,
        };
        let insight = Insight {
            databases: Vec::new(),
            cities: false,
            networks: None,
            k_public: 10,
            unique_window: UniqueWindow::Day,
        };
        Self(Past::begin(dir, minute, WORKERS, sources(), (counting, insight)).unwrap())
    }

    /// Offers one request by one worker.
    pub(crate) fn offer(&mut self, worker: usize, event: &Event<'_>) {
        self.0.offer(worker, event).unwrap();
    }

    /// The clock goes on to this time; it never goes back.
    pub(crate) fn turn_to(&mut self, at_us: u64) {
        self.0.turn_to(at_us);
    }

    /// A worker sends what it has.
    pub(crate) fn flush(&mut self, worker: usize) {
        assert_eq!(self.0.flush(worker), 0);
    }

    /// Waits until the aggregator has looked at its clock and its workers.
    pub(crate) fn settle_some(&self) {
        self.query.rows(&Ask { package: Some(String::new()), ..Ask::default() }).unwrap();
    }

    /// Waits until all that was offered is counted; it is older than what is held back.
    pub(crate) fn settle(&mut self) {
        self.pass(1);
    }

    /// So many minutes pass; what was offered has been counted then.
    pub(crate) fn pass(&mut self, minutes: u32) {
        self.0.pass(minutes).unwrap();
    }

    pub(crate) fn stop(self) {
        self.0.end().unwrap();
    }
}

/// Lets everything happen that `scale` says, and says what is true of it.
pub(crate) fn play(simulation: &mut Simulation, scale: Scale) -> Truth {
    let mut truth = Truth::default();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let steps = scale.days * DAY / scale.step;
    let per_step = scale.events / u64::from(steps) / EVENTS_PER_DIALOGUE;
    let begin = simulation.at_us;
    for step in 0..steps {
        let day = (BEGIN + step * scale.step) / DAY * DAY;
        let mut at_us = begin + u64::from(step * scale.step) * 60_000_000;
        // Whoever asks twice within a step asks for the same: what comes of it is plain.
        let mut keys: HashMap<(u32, u64), bool> = HashMap::new();
        for _ in 0..per_step {
            let package = random.skewed(scale.packages.into()) as u32;
            let client = random.skewed(scale.clients);
            let pulls = random.below(3) > 0;
            let asker = Asker::of(client);
            let tag = tag_of(package, step, client);
            let name = format!("acme/package-{package}");
            let tag_text = format!("v{tag}");
            for (asked, reference) in asker.dialogue(pulls, &tag_text) {
                at_us += 3;
                let worker = random.below(WORKERS as u64) as usize;
                simulation.offer(worker, &event(at_us, client, &asker, &name, asked, reference));
                truth.events += 1;
            }
            let requests = if pulls { 2 } else { 0 };
            truth.add(package, tag, day, asker.country, [requests, 0, 0]);
            let has_pulled = keys.entry((package, client)).or_default();
            *has_pulled |= pulls;
        }
        let mut keys: Vec<_> = keys.into_iter().collect();
        keys.sort_unstable();
        for ((package, client), has_pulled) in keys {
            let asker = Asker::of(client);
            let (pulls, checks) = if has_pulled { (1, 0) } else { (0, 1) };
            let tag = tag_of(package, step, client);
            truth.add(package, tag, day, asker.country, [0, pulls, checks]);
            if has_pulled {
                truth.seen.entry((package, day)).or_default().insert(client);
            }
        }
        simulation.pass(scale.step);
        if ((step + 1) * scale.step).is_multiple_of(DAY) {
            for (key, clients) in std::mem::take(&mut truth.seen) {
                truth.uniques.insert(key, clients.len() as u64);
            }
        }
    }
    truth
}

/// A request that belongs to nobody's truth.
pub(crate) fn offer_one(
    simulation: &mut Simulation,
    at_us: u64,
    client: u64,
    name: &str,
    tag: &str,
) {
    let asker = Asker::of(client);
    simulation.offer(3, &event(at_us, client, &asker, name, Asked::Manifest, tag));
}

/// The tag that a client asks for within a step: of a package that has few, mostly the newest.
fn tag_of(package: u32, step: u32, client: u64) -> u8 {
    let tag = random_of(u64::from(package) << 32 | u64::from(step), client) % TAGS;
    (tag as u8).min((package % TAGS as u32) as u8)
}

/// Who asks: an address, and a program.
pub(crate) struct Asker {
    address: [u8; 4],
    agent: &'static str,
    is_docker: bool,
    pub(crate) country: &'static str,
}

impl Asker {
    fn of(client: u64) -> Self {
        let number = random_of(7, client);
        let first = (20 + number % 160) as u8;
        let agents = AGENTS.len() as u64;
        let (agent, is_docker) = AGENTS[(number / 160 % agents) as usize];
        let [.., b, c, d] = (client as u32).to_be_bytes();
        let country = COUNTRIES[usize::from(first) % COUNTRIES.len()];
        Self { address: [first, b, c, d], agent, is_docker, country }
    }

    /// What it sends for a pull of a multi-arch tag, or to see whether there is something new.
    fn dialogue<'t>(&self, pulls: bool, tag: &'t str) -> Vec<(Asked, &'t str)> {
        match (pulls, self.is_docker) {
            (false, _) => vec![(Asked::ManifestHead, tag)],
            (true, true) => vec![
                (Asked::ManifestHead, tag),
                (Asked::Manifest, INDEX),
                (Asked::Manifest, CHILD),
                (Asked::Blob, LAYER),
            ],
            (true, false) => {
                vec![(Asked::Manifest, tag), (Asked::Manifest, CHILD), (Asked::Blob, LAYER)]
            }
        }
    }
}

fn event<'e>(
    at_us: u64,
    client: u64,
    asker: &'e Asker,
    name: &'e str,
    asked: Asked,
    reference: &'e str,
) -> Event<'e> {
    let address = std::net::Ipv4Addr::from(asker.address).to_ipv6_mapped().octets();
    Event {
        at_us,
        address: Address(address),
        connection: client,
        asked,
        outcome: Outcome::Redirected,
        way: Way::Redirect,
        is_private: false,
        id: b"",
        domain: b"registry.acme.com",
        collection: b"acme/*",
        name: name.as_bytes(),
        reference: reference.as_bytes(),
        user_agent: asker.agent.as_bytes(),
        digest: b"",
        kin: b"",
        bytes: 0,
    }
}

/// What is known of addresses here: a country, a region and a network for each first number.
pub(crate) fn sources() -> Sources {
    let networks: [Network; 256] = std::array::from_fn(|first| {
        let asn = 64_496 + first as u32 / 2;
        Network {
            country: COUNTRIES[first % COUNTRIES.len()],
            region: ["North", "South", "West"][first % 3],
            asn,
            operator: format!("Network {asn}"),
            company: "",
        }
    });
    places::sources(&networks).unwrap()
}

impl Random {
    /// Small numbers come much more often.
    fn skewed(&mut self, bound: u64) -> u64 {
        let (one, other) = (self.below(bound), self.below(bound));
        one * other / bound
    }
}

/// The same for the same numbers.
fn random_of(one: u64, other: u64) -> u64 {
    let mut random = Random((one.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ other).wrapping_mul(2) | 1);
    random.below(1 << 40);
    random.below(1 << 40)
}

/// On average, of these programs.
const EVENTS_PER_DIALOGUE: u64 = 3;
const TAGS: u64 = 12;
const INDEX: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
const CHILD: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
const LAYER: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";
pub(crate) const COUNTRIES: [&str; 24] = [
    "US", "DE", "FR", "GB", "CN", "IN", "JP", "BR", "NL", "CA", "AU", "SG", "KR", "RU", "SE", "CH",
    "ES", "IT", "PL", "FI", "IE", "HK", "CZ", "ZA",
];
const AGENTS: [(&str, bool); 10] = [
    (
        "docker/28.5.2 go/go1.24.9 git-commit/89c5e8f kernel/6.1.0 os/linux arch/amd64 UpstreamClient(Docker-Client/28.5.2 \\(linux\\))",
        true,
    ),
    (
        "docker/27.0.3 go/go1.21.11 git-commit/662f78c kernel/5.15.153 os/linux arch/amd64 UpstreamClient(Docker-Client/27.0.3 \\(linux\\))",
        true,
    ),
    (
        "docker/24.0.6 go/go1.20.7 git-commit/1a79695 kernel/6.4.16 os/linux arch/arm64 UpstreamClient(Docker-Client/24.0.6 \\(darwin\\))",
        true,
    ),
    (
        "docker/20.10.24+dfsg1 go/go1.19.8 git-commit/5d6db84 kernel/6.1.0-13-amd64 os/linux arch/amd64 UpstreamClient(Docker-Client/20.10.24+dfsg1 \\(linux\\))",
        true,
    ),
    ("containerd/1.7.18", true),
    ("containerd/1.6.20", true),
    ("containers/5.34.2 (github.com/containers/image)", false),
    ("skopeo/1.18.0", false),
    ("cri-o/1.29.1 go/go1.21.7 os/linux arch/amd64", false),
    ("Buildah/1.39.3", false),
];
