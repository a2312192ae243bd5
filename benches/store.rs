//! From four workers, each a thread, to counts on disk, beside the plainest way: every event added to sled by itself.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "../tests/support/month.rs"]
mod month;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pullgate::aggregator::clock::Clock;
use pullgate::aggregator::lock::Lock;
use pullgate::aggregator::{Ask, Health, Options, open_offline, spawn};
use pullgate::messages::clock::monotonic_us;
use pullgate::messages::pulls::{PullSender, channel};
use pullgate::pure::client::ClientTable;
use pullgate::pure::config::values::{Counting, Insight, Retention, UniqueWindow};
use pullgate::pure::place::Sources;
use pullgate::pure::pull::event::{Address, Asked, Event, Outcome, Way};

const WORKERS: u64 = 4;
const EVENTS_PER_WORKER: u64 = 100_000;
const PACKAGES: u64 = 200;
const TAGS: u64 = 20;
const AGENT: &[u8] = b"docker/28.5.2 go/go1.24.7 git-commit/e180ab8 kernel/6.12.1 os/linux \
                       arch/amd64 UpstreamClient(Docker-Client/28.5.2 \\(linux\\))";
const DIGEST: &[u8] = b"sha256:1111111111111111111111111111111111111111111111111111111111111111";

fn event<'a>(at_us: u64, number: u64, name: &'a [u8], tag: &'a [u8]) -> Event<'a> {
    let mut address = [0; 16];
    address[10..12].fill(0xff);
    let client = u32::try_from(number % 30_000).unwrap();
    address[12..].copy_from_slice(&(((client % 160 + 20) << 24) | client).to_be_bytes());
    let is_head = number.is_multiple_of(3);
    Event {
        at_us,
        address: Address(address),
        connection: number % 30_000,
        asked: if is_head { Asked::ManifestHead } else { Asked::Manifest },
        outcome: Outcome::Redirected,
        way: Way::Redirect,
        is_private: false,
        id: b"",
        domain: b"registry.acme.com",
        collection: b"acme/*",
        name,
        reference: if is_head { tag } else { DIGEST },
        user_agent: AGENT,
        digest: b"",
        kin: b"",
        bytes: 0,
    }
}

fn aggregate() -> Duration {
    aggregate_with(Arc::default())
}

/// With places, networks and all that is counted by them.
fn enrich() -> Duration {
    aggregate_with(Arc::new(month::sources()))
}

/// How long it takes from the first event that a worker offers until all are stored, while all workers offer theirs as
/// fast as the aggregator takes them.
fn aggregate_with(sources: Arc<Sources>) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..WORKERS).map(|_| channel()).unzip();
    let counting = Counting {
        flush: Duration::from_secs(1),
        window: Duration::from_secs(60),
        retention: Retention { minute: None, hour: None, day: None },
        max_names: 10_000,
        max_tags: 1000,
        max_clients: 200,
        respect_dnt: true,
    };
    let options = Options {
        data_dir: dir.path().to_owned(),
        counting,
        insight: insight(),
        clients: ClientTable::built_in(),
        sources,
        look: Arc::new(Clock::look),
    };
    let lock = Lock::take(dir.path()).unwrap();
    let health = Arc::new(Health::default());
    let aggregator = spawn(options, lock, receivers, Arc::clone(&health)).unwrap();
    let names: Vec<String> = (0..PACKAGES).map(|number| format!("acme/package-{number}")).collect();
    let tags: Vec<String> = (0..TAGS).map(|number| format!("v{number}")).collect();
    let begin = Instant::now();
    let requests: u64 = std::thread::scope(|scope| {
        let (names, tags) = (&names, &tags);
        let started = (0..WORKERS)
            .zip(senders)
            .map(|(worker, sender)| scope.spawn(move || work(worker, sender, names, tags)));
        let started: Vec<_> = started.collect();
        started.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    while health.requests.load(Ordering::Relaxed) < requests {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    // What is still on its way to the disk belongs to it, as it does below.
    assert!(aggregator.stop(Vec::new()));
    let took = begin.elapsed();
    let stored = open_offline(dir.path()).unwrap().rows(&Ask::default()).unwrap();
    assert_eq!(stored.totals.requests, requests);
    took
}

/// What a worker does; says how many of its events are requests that count.
fn work(worker: u64, mut sender: PullSender, names: &[String], tags: &[String]) -> u64 {
    let mut requests = 0;
    for number in (worker..WORKERS * EVENTS_PER_WORKER).step_by(usize::try_from(WORKERS).unwrap()) {
        let name = names[usize::try_from(number % PACKAGES).unwrap()].as_bytes();
        let tag = tags[usize::try_from(number % TAGS).unwrap()].as_bytes();
        let event = event(monotonic_us(), number, name, tag);
        requests += u64::from(event.asked == Asked::Manifest);
        assert!(sender.offer(&event));
        // A worker does not wait and would count by package alone in the end: here all are folded.
        if number % (1000 * WORKERS) == worker {
            while sender.flush().bytes > 0 {
                std::thread::park_timeout(Duration::from_micros(200));
            }
        }
    }
    while !sender.is_settled() {
        sender.flush();
        std::thread::park_timeout(Duration::from_micros(200));
    }
    requests
}

fn insight() -> Insight {
    Insight {
        databases: Vec::new(),
        cities: true,
        networks: None,
        k_public: 10,
        unique_window: UniqueWindow::Day,
    }
}

fn naive() -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let counts = sled::Config::new().path(dir.path()).flush_every_ms(None).open().unwrap();
    let begin = Instant::now();
    for number in 0..WORKERS * EVENTS_PER_WORKER {
        let key =
            format!("registry.acme.com/acme/package-{} v{}", number % PACKAGES, number % TAGS);
        let add = |old: Option<&[u8]>| {
            let old = old.map_or(0, |old| u64::from_be_bytes(old.try_into().unwrap()));
            Some((old + 1).to_be_bytes().to_vec())
        };
        counts.update_and_fetch(key, add).unwrap();
    }
    counts.flush().unwrap();
    begin.elapsed()
}

fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("store");
    group.throughput(Throughput::Elements(WORKERS * EVENTS_PER_WORKER)).sample_size(10);
    let timed = |run: fn() -> Duration| move |times: u64| (0..times).map(|_| run()).sum();
    group.bench_function("aggregate", |bench| bench.iter_custom(timed(aggregate)));
    group.bench_function("enrich", |bench| bench.iter_custom(timed(enrich)));
    group.bench_function("naive", |bench| bench.iter_custom(timed(naive)));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
