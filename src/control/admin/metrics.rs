//! `/metrics`: Prometheus' text format (exposition formats, version 0.0.4).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;

use super::exposition::Exposition;
use super::process::{Process, unix_seconds};
use super::{Sources, counting};
use crate::control::status::Phase;
use crate::control::{acme, alerts, archive, prove, showcase};
use crate::messages::latency::Latencies;
use crate::messages::meters::{COUNTERS, FAULTS, GAUGES};
use crate::messages::quotas::Said;
use crate::pure::fault::Kind;
use crate::pure::http1::quota::Quota;
use crate::pure::tokens::Identity;

pub(super) fn routes(page: Arc<Page>) -> Router {
    let answer = async move || ([(CONTENT_TYPE, "text/plain; version=0.0.4")], page.text());
    Router::new().route("/metrics", get(answer))
}

/// What is served, and what was taken from the workers until now.
pub(super) struct Page {
    sources: Sources,
    #[expect(clippy::disallowed_types, reason = "control's own, never held across an await")]
    taken: std::sync::Mutex<Taken>,
}

/// What workers hand over.
#[derive(Default)]
struct Taken {
    latencies: Latencies,
    /// By registry and whom it is asked as; there are as many as are configured.
    quotas: BTreeMap<(Box<str>, &'static str), Quota>,
}

impl Page {
    pub(super) fn new(sources: Sources) -> Self {
        Self { sources, taken: Default::default() }
    }

    /// Takes what the workers have handed over.
    pub(super) fn take(&self) {
        self.with_taken(|_| ());
    }

    fn with_taken<T>(&self, then: impl FnOnce(&Taken) -> T) -> T {
        // What a panic left behind are numbers like any other.
        let mut taken = self.taken.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for receiver in &self.sources.latencies {
            receiver.take_into(&mut taken.latencies);
        }
        while let Some(Said { registry, identity, quota }) = self.sources.quotas.take() {
            let identity = match identity {
                Identity::Anonymous => "anonymous",
                Identity::Account(_) => "account",
                Identity::Client(_) => continue,
            };
            taken.quotas.insert((registry, identity), quota);
        }
        then(&taken)
    }

    fn text(&self) -> String {
        let mut page = Exposition::default();
        gateway(&mut page, &self.sources);
        workers(&mut page, &self.sources);
        self.with_taken(|taken| {
            latency(&mut page, &taken.latencies);
            quotas(&mut page, &taken.quotas);
        });
        certificates(&mut page, &self.sources.certificates, &self.sources.acme);
        webhooks(&mut page, &self.sources.webhooks);
        proofs(&mut page, &self.sources.proofs);
        on_disk(&mut page, &self.sources.on_disk);
        counting::write(&mut page, &self.sources.health);
        process(&mut page, self.sources.status.started_at);
        page.into_text()
    }
}

fn gateway(page: &mut Exposition, sources: &Sources) {
    let status = &sources.status;
    page.gauge("pullgate_build_info", "The running version; always 1.");
    page.sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.gauge("pullgate_workers", "Worker threads, by the driver of their rings.");
    page.sample(&[("driver", sources.driver)], sources.workers.len());
    page.gauge("pullgate_ready", "1 while new requests are wanted, as /readyz says.");
    page.sample(&[], u8::from(status.phase() == Phase::Serving));
    let configuration = status.configuration();
    page.gauge("pullgate_snapshot_generation", "Which configuration since the start is in force.");
    page.sample(&[], configuration.generation);
    page.gauge("pullgate_packages", "Packages of the configuration in force.");
    page.sample(&[], configuration.packages);
    page.counter(
        "pullgate_reloads_total",
        "Changed configurations: put in force, or refused while the one before stayed.",
    );
    page.sample(&[("outcome", "applied")], configuration.reloads);
    page.sample(&[("outcome", "refused")], configuration.reloads_refused);
    page.counter("pullgate_access_log_lost_total", "Access log lines that could not be written.");
    page.sample(&[], status.access_lines_lost());
    page.counter("pullgate_log_dropped_total", "Log lines that standard error did not take.");
    page.sample(&[], sources.log_dropped.as_ref().map_or(0, |dropped| dropped.lines()));
}

/// Counters added up over the workers, gauges one by one.
fn workers(page: &mut Exposition, sources: &Sources) {
    let workers = &sources.workers;
    for family in COUNTERS {
        page.counter(family.name, family.help);
        for (counter, value) in family.series {
            let total: u64 = workers.iter().map(|meters| meters.counter(*counter)).sum();
            page.sample(label(family.label, value).as_slice(), total);
        }
    }
    page.counter(FAULTS.name, FAULTS.help);
    for kind in Kind::ALL {
        let total: u64 = workers.iter().map(|meters| meters.faults(kind)).sum();
        page.sample(&[(FAULTS.label, kind.row().label)], total);
    }
    for family in GAUGES {
        page.gauge(family.name, family.help);
        for (index, meters) in workers.iter().enumerate() {
            let worker = index.to_string();
            for (gauge, value) in family.series {
                let mut labels = vec![("worker", worker.as_str())];
                labels.extend(label(family.label, value));
                page.sample(&labels, meters.gauge(*gauge));
            }
        }
    }
}

fn label<'l>(name: &'l str, value: &'l str) -> Option<(&'l str, &'l str)> {
    (!name.is_empty()).then_some((name, value))
}

fn latency(page: &mut Exposition, latencies: &Latencies) {
    let name = "pullgate_request_duration_seconds";
    let help = "Time from a request being read to its answer being written, where no registry was \
                asked for it.";
    page.family(name, help, "histogram");
    for (bound, ns) in LATENCY_BOUNDS {
        page.sample_of("_bucket", &[("le", bound)], latencies.count_up_to(*ns));
    }
    page.sample_of("_bucket", &[("le", "+Inf")], latencies.count());
    page.sample_of("_sum", &[], latencies.sum_ns() as f64 / 1e9);
    page.sample_of("_count", &[], latencies.count());
}

fn quotas(page: &mut Exposition, quotas: &BTreeMap<(Box<str>, &'static str), Quota>) {
    let labels = |(registry, identity): &(Box<str>, &'static str)| {
        [("registry", registry.to_string()), ("identity", (*identity).to_owned())]
    };
    let mut family = |name, help, value: fn(&Quota) -> Option<u64>| {
        page.gauge(name, help);
        for (of, quota) in quotas {
            let labels = labels(of);
            let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
            value(quota).into_iter().for_each(|value| page.sample(&labels, value));
        }
    };
    family(
        "pullgate_registry_ratelimit",
        "Requests that a registry allows in one window, where its last answer said so.",
        |quota| quota.limit,
    );
    family(
        "pullgate_registry_ratelimit_remaining",
        "How many of them are left, as its last answer said.",
        |quota| Some(quota.remaining),
    );
}

fn certificates(page: &mut Exposition, record: &showcase::Record, standing: &acme::Record) {
    page.gauge(
        "pullgate_certificate_expiry_timestamp_seconds",
        "When the certificate that is shown for a domain ends, in seconds since 1970.",
    );
    for entry in record.borrow().iter() {
        for name in entry.names.iter() {
            page.sample(&[("domain", name)], entry.ends_s);
        }
    }
    let [obtained, failed] = standing.orders();
    page.counter(
        "pullgate_acme_orders_total",
        "Certificates that an authority was asked for, by whether it gave them. `pullgate certs` \
         says why it did not.",
    );
    page.sample(&[("outcome", "obtained")], obtained);
    page.sample(&[("outcome", "failed")], failed);
    let domains = standing.domains();
    let missing = domains.values().filter(|one| !one.has_certificate).count();
    page.gauge(
        "pullgate_acme_domains",
        "Domains that get their certificate from an authority, by whether they have one.",
    );
    page.sample(&[("state", "served")], domains.len() - missing);
    page.sample(&[("state", "missing")], missing);
}

fn webhooks(page: &mut Exposition, record: &alerts::Record) {
    let value = |number: &AtomicU64| number.load(Ordering::Relaxed);
    page.counter(
        "pullgate_webhooks_total",
        "Tries to have a webhook's message heard: it was delivered, or it has failed and is tried \
         again, or it is given up.",
    );
    page.sample(&[("outcome", "delivered")], value(&record.delivered));
    page.sample(&[("outcome", "failed")], value(&record.failed));
    page.sample(&[("outcome", "given_up")], value(&record.given_up));
    page.gauge("pullgate_webhooks_waiting", "Messages of webhooks that wait to be heard.");
    page.sample(&[], value(&record.waiting));
}

fn proofs(page: &mut Exposition, record: &prove::Record) {
    page.gauge(
        "pullgate_proofs",
        "Repositories that clients may be sent to, by what asking their registry has shown.",
    );
    for (state, count) in record.proofs() {
        page.sample(&[("state", state)], count);
    }
    let [known, unknown] = record.registries();
    page.gauge("pullgate_registries", "Registries, by whether their /v2/ has answered.");
    page.sample(&[("state", "known")], known);
    page.sample(&[("state", "unknown")], unknown);
    let [answered, failed] = record.asks();
    page.counter(
        "pullgate_asks_total",
        "Questions to registries about what anybody can pull, by whether they were answered.",
    );
    page.sample(&[("outcome", "answered")], answered);
    page.sample(&[("outcome", "failed")], failed);
    page.gauge(
        "pullgate_redirects_failing",
        "Packages whose configured redirect fails for most clients, as the log says.",
    );
    page.sample(&[], record.redirects_failing());
}

fn on_disk(page: &mut Exposition, health: &archive::Health) {
    let value = |number: &AtomicU64| number.load(Ordering::Relaxed);
    page.gauge("pullgate_manifest_disk_bytes", "What manifests take on disk, in bytes.");
    page.sample(&[], value(&health.bytes));
    page.gauge("pullgate_manifest_disk_files", "How many manifests and tags are kept there.");
    page.sample(&[], value(&health.files));
    page.counter(
        "pullgate_manifest_disk_reads_total",
        "Manifests that were looked for there, by whether they were found.",
    );
    page.sample(&[("outcome", "found")], value(&health.found_total));
    page.sample(&[("outcome", "absent")], value(&health.absent_total));
    page.counter(
        "pullgate_manifest_disk_failures_total",
        "Manifests that could not be written or read there, or were damaged.",
    );
    page.sample(&[], value(&health.failures_total));
}

fn process(page: &mut Exposition, started_at: SystemTime) {
    let process = Process::now();
    page.gauge("process_start_time_seconds", "Start of the process, in seconds since 1970.");
    page.sample(&[], unix_seconds(started_at));
    page.counter("process_cpu_seconds_total", "User and system CPU time spent, in seconds.");
    page.sample(&[], process.cpu_seconds);
    page.gauge("process_resident_memory_bytes", "Resident memory, in bytes.");
    page.sample(&[], process.resident_bytes);
    page.gauge("process_open_fds", "Open file descriptors.");
    page.sample(&[], process.open_fds);
    page.gauge("process_max_fds", "The most file descriptors that may be open.");
    page.sample(&[], process.max_fds);
}

/// The histogram's bounds: in seconds as they are written, and in nanoseconds.
const LATENCY_BOUNDS: &[(&str, u64)] = &[
    ("0.00001", 10_000),
    ("0.000025", 25_000),
    ("0.00005", 50_000),
    ("0.0001", 100_000),
    ("0.00025", 250_000),
    ("0.0005", 500_000),
    ("0.001", 1_000_000),
    ("0.0025", 2_500_000),
    ("0.005", 5_000_000),
    ("0.01", 10_000_000),
    ("0.025", 25_000_000),
    ("0.05", 50_000_000),
    ("0.1", 100_000_000),
    ("0.25", 250_000_000),
    ("0.5", 500_000_000),
    ("1", 1_000_000_000),
    ("2.5", 2_500_000_000),
    ("5", 5_000_000_000),
    ("10", 10_000_000_000),
    ("30", 30_000_000_000),
    ("60", 60_000_000_000),
];

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::control::certificates::Entry;
    use crate::control::status::Status;
    use crate::messages::meters::{Counter, Gauge, Meters};
    use crate::messages::{latency, quotas};

    /// A page of two workers that have counted a little.
    fn page() -> Page {
        let (mut sender, receiver) = latency::channel();
        sender.record(80_000, 3);
        sender.hand_over();
        let (quotas, said) = quotas::channel();
        let quota = Quota { limit: Some(100), remaining: 76 };
        let registry = "registry-1.docker.io".into();
        quotas.offer(Said { registry, identity: Identity::Anonymous, quota });
        let workers = vec![Meters::new(), Meters::new()];
        workers[0].add(Counter::RequestsManifest, 2);
        workers[1].add(Counter::RequestsManifest, 5);
        workers[1].fault(Kind::NameUnknown);
        workers[1].set(Gauge::ConnectionsOpen, 4);
        let names = Arc::new([Box::from("registry.acme.com")]);
        let (issuer, begins_s, ends_s) = (Box::from("CN=one"), 1_700_000_000, 1_800_000_000);
        let certificate = Entry { names, issuer, begins_s, ends_s, renews_itself: false };
        Page::new(Sources {
            workers,
            latencies: vec![receiver],
            driver: "epoll",
            health: Default::default(),
            status: Status::new(),
            log_dropped: None,
            proofs: Default::default(),
            certificates: Arc::new(watch::Sender::new(vec![certificate])),
            acme: Default::default(),
            webhooks: Default::default(),
            quotas: said,
            on_disk: Default::default(),
        })
    }

    #[test]
    fn counters_are_added_up_and_gauges_told_apart() {
        let text = page().text();
        for line in [
            "pullgate_requests_total{endpoint=\"manifest\"} 7",
            "pullgate_faults_total{kind=\"name_unknown\"} 1",
            "pullgate_connections_open{worker=\"0\"} 0",
            "pullgate_connections_open{worker=\"1\"} 4",
            "pullgate_request_duration_seconds_bucket{le=\"0.00005\"} 0",
            "pullgate_request_duration_seconds_bucket{le=\"0.0001\"} 3",
            "pullgate_request_duration_seconds_bucket{le=\"+Inf\"} 3",
            "pullgate_request_duration_seconds_sum 0.00024",
            "pullgate_request_duration_seconds_count 3",
            "pullgate_workers{driver=\"epoll\"} 2",
            "pullgate_registry_ratelimit_remaining{registry=\"registry-1.docker.io\",\
             identity=\"anonymous\"} 76",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} in:\n{text}");
        }
    }

    #[test]
    fn latencies_stay_from_one_scrape_to_the_next() {
        let page = page();
        assert_eq!(page.text().matches("_seconds_count 3").count(), 1);
        assert_eq!(page.text().matches("_seconds_count 3").count(), 1);
    }

    #[test]
    fn bounds_are_written_as_what_they_are_and_rise() {
        let mut before = 0;
        for (seconds, ns) in LATENCY_BOUNDS {
            assert_eq!((seconds.parse::<f64>().unwrap() * 1e9).round(), *ns as f64);
            assert!(*ns > before);
            before = *ns;
        }
    }

    /// The table of `docs/operating.md` is what is served: no more, no less, in the same words.
    #[test]
    fn every_metric_is_documented_and_nothing_else() {
        let text = page().text();
        let mut expected = String::new();
        for block in text.split("# HELP ").skip(1) {
            let (name, rest) = block.split_once(' ').unwrap();
            let (help, rest) = rest.split_once('\n').unwrap();
            let (kind, samples) =
                rest.trim_start_matches(&format!("# TYPE {name} ")).split_once('\n').unwrap();
            let labels = samples.lines().next().and_then(|line| line.split_once('{'));
            let labels: Vec<&str> = labels
                .map_or("", |(_, labels)| labels)
                .split(',')
                .filter_map(|label| label.split_once('=').map(|(name, _)| name))
                .filter(|label| *label != "le")
                .collect();
            let labels = labels.join(", ");
            expected += &format!("| `{name}` | {kind} | {labels} | {help} |\n");
        }
        let documented: String = include_str!("../../../docs/operating.md")
            .lines()
            .filter(|line| ["| `pullgate_", "| `process_"].iter().any(|row| line.starts_with(row)))
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(expected == documented, "the table of docs/operating.md should be:\n{expected}");
    }
}
