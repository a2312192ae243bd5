//! A gateway without its network: workers' ends that a test fills, and the aggregator behind them.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(crate) use pullgate::aggregator::Options;
use pullgate::aggregator::clock::Clock;
use pullgate::aggregator::lock::Lock;
use pullgate::aggregator::{Aggregator, Answer, Ask, Health, Query, open_offline, spawn};
use pullgate::control::while_busy;
use pullgate::messages::pulls::{PullSender, channel};
use pullgate::pure::client::ClientTable;
use pullgate::pure::config::values::{Counting, Insight, Retention, UniqueWindow};
use pullgate::pure::pull::event::{Address, Asked, Event, Outcome, Way};

pub(crate) const DOCKER: &str = "docker/28.5.2 go/go1.24.7 git-commit/e180ab8 kernel/6.12.1-secret os/linux \
                      arch/amd64 UpstreamClient(Docker-Client/28.5.2 \\(linux\\))";
pub(crate) const PODMAN: &str = "containers/5.34.2 (github.com/containers/image)";

pub(crate) struct Gateway {
    pub(crate) aggregator: Aggregator,
    pub(crate) query: Query,
    pub(crate) health: Arc<Health>,
    pub(crate) senders: Vec<PullSender>,
    pub(crate) worker: usize,
    pub(crate) collection: &'static str,
}

/// The store as the command line reads it. A fork of a neighbour may hold its lock until its exec.
pub(crate) fn opened(data_dir: &Path) -> Query {
    while_busy(|| open_offline(data_dir)).unwrap()
}

impl Gateway {
    pub(crate) fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, 1, counting())
    }

    pub(crate) fn start_with(data_dir: &Path, workers: usize, counting: Counting) -> Self {
        Self::start_from(options(data_dir, counting), workers)
    }

    pub(crate) fn start_from(options: Options, workers: usize) -> Self {
        let (senders, receivers) = (0..workers).map(|_| channel()).unzip();
        let health = Arc::new(Health::default());
        // As the program does: a fork of a neighbour may hold it until its exec.
        let lock = while_busy(|| Lock::take(&options.data_dir)).unwrap();
        let aggregator = spawn(options, lock, receivers, Arc::clone(&health)).unwrap();
        let query = aggregator.query();
        Self { aggregator, query, health, senders, worker: 0, collection: "" }
    }

    /// What docker sends for a multi-arch tag.
    pub(crate) fn docker_pull(&mut self, client: u32, name: &str, tag: &str) {
        self.send(client, DOCKER, name, Asked::ManifestHead, tag);
        self.send(client, DOCKER, name, Asked::Manifest, &digest("index"));
        self.send(client, DOCKER, name, Asked::Manifest, &digest("child"));
        self.send(client, DOCKER, name, Asked::Blob, &digest("layer"));
    }

    pub(crate) fn send(
        &mut self,
        client: u32,
        agent: &str,
        name: &str,
        asked: Asked,
        reference: &str,
    ) {
        let user_agent = agent.as_bytes();
        let collection = self.collection.as_bytes();
        let event = Event { asked, user_agent, collection, ..event(client, name, reference) };
        self.senders[self.worker].offer(&event);
    }

    /// Requests, pulls and checks that the store shows, if it does.
    pub(crate) fn totals(&mut self) -> Option<(u64, u64, u64)> {
        for sender in &mut self.senders {
            sender.flush();
        }
        self.query.rows(&Ask::default()).ok().map(|answer| sums(&answer))
    }

    /// Pulls that were counted, stored or not.
    pub(crate) fn counted_pulls(&mut self) -> u64 {
        for sender in &mut self.senders {
            sender.flush();
        }
        self.health.pulls.load(Ordering::Relaxed)
    }

    pub(crate) fn stop(mut self) {
        for sender in &mut self.senders {
            sender.flush();
            assert!(sender.is_settled());
        }
        self.aggregator.stop(Vec::new());
    }
}

pub(crate) fn event<'a>(client: u32, name: &'a str, reference: &'a str) -> Event<'a> {
    let mut address = [0; 16];
    address[10..12].fill(0xff);
    address[12..].copy_from_slice(&(0x0a00_0000 + client).to_be_bytes());
    Event {
        at_us: now_us(),
        address: Address(address),
        connection: u64::from(client),
        asked: Asked::Manifest,
        outcome: Outcome::Redirected,
        way: Way::Redirect,
        is_private: false,
        id: b"",
        domain: b"acme.com",
        collection: b"",
        name: name.as_bytes(),
        reference: reference.as_bytes(),
        user_agent: DOCKER.as_bytes(),
        digest: b"",
        kin: b"",
        bytes: 0,
    }
}

/// The monotonic clock, and never the same twice, so that the order of events is one.
pub(crate) fn now_us() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = u64::try_from(now.tv_sec * 1_000_000 + now.tv_nsec / 1000).unwrap();
    let last = LAST.fetch_max(now, Ordering::Relaxed);
    if last < now { now } else { LAST.fetch_add(1, Ordering::Relaxed) + 1 }
}

pub(crate) fn options(data_dir: &Path, counting: Counting) -> Options {
    Options {
        data_dir: data_dir.to_owned(),
        counting,
        insight: insight(),
        clients: ClientTable::built_in(),
        sources: Arc::default(),
        look: Arc::new(Clock::look),
    }
}

pub(crate) fn counting() -> Counting {
    Counting {
        flush: Duration::from_millis(50),
        window: Duration::from_secs(60),
        retention: Retention { minute: None, hour: None, day: None },
        max_names: 10_000,
        max_tags: 1000,
        max_clients: 200,
        respect_dnt: true,
    }
}

pub(crate) fn insight() -> Insight {
    Insight {
        databases: Vec::new(),
        cities: true,
        networks: None,
        k_public: 10,
        unique_window: UniqueWindow::Day,
    }
}

pub(crate) fn digest(name: &str) -> String {
    let number = name.bytes().fold(1u64, |sum, byte| sum * 31 + u64::from(byte));
    format!("sha256:{number:064x}")
}

pub(crate) fn totals(query: &Query) -> (u64, u64, u64) {
    sums(&query.rows(&Ask::default()).unwrap())
}

pub(crate) fn sums(answer: &Answer) -> (u64, u64, u64) {
    (answer.totals.requests, answer.totals.pulls, answer.totals.checks)
}

pub(crate) fn all_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(all_files(&path)) } else { files.push(path) }
    }
    files
}

pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
