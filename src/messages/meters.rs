//! What a worker counts and times, on its way to `/metrics`.
//!
//! Counters and gauges are memory with one writer: the worker adds with a plain load and store, no
//! locked instruction, and the admin listener reads whenever it is asked. Latencies go into a
//! histogram that changes hands whole: a full one out, an empty one back, nothing allocated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam_channel::{Receiver, Sender, bounded};
use hdrhistogram::Histogram;

use crate::pure::fault::Kind;

/// One worker's counters and gauges. Two cache lines apart from anything else, because processors
/// fetch lines in pairs: what one worker writes never slows another.
#[repr(align(128))]
pub struct Meters {
    counters: [AtomicU64; COUNTERS_LEN],
    faults: [AtomicU64; Kind::ALL.len()],
    gauges: [AtomicU64; GAUGES_LEN],
}

/// What only grows. Names and help are in [`COUNTERS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Counter {
    /// A client connection was accepted.
    Connections,
    /// A connection was refused: all together hold as many as `limits.connections` allows.
    RefusedTotal,
    /// A connection was refused: its client holds `limits.connections_per_client`.
    RefusedClient,
    /// A connection was closed because its code panicked.
    Panics,
    /// Accepting failed.
    AcceptErrors,
    /// Accepting was paused for want of descriptors or memory.
    AcceptPauses,
    /// The head of a request took longer than `limits.header_timeout`.
    TimeoutsHeader,
    /// A connection waited for a request longer than `limits.idle_timeout`.
    TimeoutsIdle,
    /// An answer made no progress for `limits.write_timeout`.
    TimeoutsWrite,
    /// A request for `/v2/`.
    RequestsBase,
    /// A request for a manifest.
    RequestsManifest,
    /// A request for a blob.
    RequestsBlob,
    /// A request for a list of tags.
    RequestsTags,
    /// A request for referrers.
    RequestsReferrers,
    /// A request for anything else, or one that is no request at all.
    RequestsOther,
    /// A request that came in one receive with the one before it.
    RequestsPipelined,
    /// A redirect to a registry.
    Redirects,
    /// An answer with status 1xx or 2xx.
    Answers2xx,
    /// An answer with status 3xx.
    Answers3xx,
    /// An answer with status 4xx.
    Answers4xx,
    /// An answer with status 5xx.
    Answers5xx,
    /// Bytes read from clients.
    BytesReceived,
    /// Bytes written to clients.
    BytesSent,
    /// A pull event was handed to counting.
    Events,
    /// A counted request went on as a total, because its event could not be kept.
    Unfolded,
    /// An access log line was dropped, because the writer is behind.
    AccessLinesDropped,
}

/// What rises and falls, as of the worker's last tick. Names and help are in [`GAUGES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Gauge {
    /// Client connections open.
    ConnectionsOpen,
    /// Receive buffers that a connection holds.
    ReceiveBuffersOut,
    /// Bytes of pull events that wait because the aggregator is behind.
    BacklogBytes,
    /// Requests that wait to be sent to the aggregator as totals.
    UnfoldedPending,
    /// Generation of the snapshot that new requests are answered from.
    SnapshotGeneration,
}

impl Meters {
    /// All zero.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            counters: std::array::from_fn(|_| AtomicU64::new(0)),
            faults: std::array::from_fn(|_| AtomicU64::new(0)),
            gauges: std::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    /// Adds `n` to `counter`. Only the worker that owns these meters may.
    #[inline]
    pub fn add(&self, counter: Counter, n: u64) {
        add(&self.counters[counter as usize], n);
    }

    /// Counts a fault. Only the worker that owns these meters may.
    #[inline]
    pub fn fault(&self, kind: Kind) {
        add(&self.faults[kind as usize], 1);
    }

    /// Sets `gauge`. Only the worker that owns these meters may.
    #[inline]
    pub fn set(&self, gauge: Gauge, value: u64) {
        self.gauges[gauge as usize].store(value, Relaxed);
    }

    /// What `counter` stands at.
    pub fn counter(&self, counter: Counter) -> u64 {
        self.counters[counter as usize].load(Relaxed)
    }

    /// How many faults of `kind` were counted.
    pub fn faults(&self, kind: Kind) -> u64 {
        self.faults[kind as usize].load(Relaxed)
    }

    /// What `gauge` stands at.
    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauges[gauge as usize].load(Relaxed)
    }
}

/// With one writer, a load and a store lose nothing, and cost a tenth of a locked addition.
#[inline]
fn add(value: &AtomicU64, n: u64) {
    value.store(value.load(Relaxed).wrapping_add(n), Relaxed);
}

impl Counter {
    /// The counter of answers with `status`.
    pub fn answered(status: u16) -> Self {
        match status {
            0..300 => Self::Answers2xx,
            300..400 => Self::Answers3xx,
            400..500 => Self::Answers4xx,
            500.. => Self::Answers5xx,
        }
    }
}

/// Makes the two ends of one worker's latencies. Two histograms exist: the one being recorded into,
/// and one that is full, being read, or empty and on its way back.
pub fn latency_channel() -> (LatencySender, LatencyReceiver) {
    let (full, to_read) = bounded(1);
    let (emptied, to_fill) = bounded(1);
    // The channel is new and empty: there is room.
    let _ = emptied.try_send(Box::new(Latencies::new()));
    let sender = LatencySender {
        current: Box::new(Latencies::new()),
        full,
        to_fill,
    };
    (sender, LatencyReceiver { to_read, emptied })
}

/// Latencies in nanoseconds: to two significant digits from a microsecond to a minute, longer ones
/// as a minute.
pub struct Latencies {
    histogram: Histogram<u64>,
    sum_ns: u64,
}

impl Latencies {
    /// None yet.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, 2)
            .unwrap_or_else(|error| unreachable!("constant bounds are valid: {error}"));
        Self {
            histogram,
            sum_ns: 0,
        }
    }

    /// `count` requests took `ns` each.
    #[inline]
    pub fn record(&mut self, ns: u64, count: u64) {
        self.histogram.saturating_record_n(ns, count);
        self.sum_ns = self.sum_ns.saturating_add(ns.saturating_mul(count));
    }

    /// Adds what `other` holds.
    pub fn merge(&mut self, other: &Self) {
        if self.histogram.add(&other.histogram).is_err() {
            unreachable!("all histograms have the same bounds");
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// How many took at most `ns`, give or take those within one percent of it.
    pub fn count_up_to(&self, ns: u64) -> u64 {
        self.histogram.count_between(0, ns)
    }

    /// All of them added up, exactly.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    fn clear(&mut self) {
        self.histogram.reset();
        self.sum_ns = 0;
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// A worker's end.
pub struct LatencySender {
    current: Box<Latencies>,
    full: Sender<Box<Latencies>>,
    to_fill: Receiver<Box<Latencies>>,
}

impl LatencySender {
    /// `count` requests took `ns` each. Allocates nothing.
    #[inline]
    pub fn record(&mut self, ns: u64, count: u64) {
        self.current.record(ns, count);
    }

    /// Sends what was recorded, if the reader has given the last one back; else goes on recording
    /// into the same. Called at every tick. Never blocks, loses nothing.
    pub fn hand_over(&mut self) {
        if self.current.count() == 0 {
            return;
        }
        let Ok(empty) = self.to_fill.try_recv() else {
            return;
        };
        let full = std::mem::replace(&mut self.current, empty);
        // Both histograms were here, so the channel has room; it refuses only when nobody reads.
        if let Err(refused) = self.full.try_send(full) {
            self.current = refused.into_inner();
        }
    }
}

/// The admin listener's end of one worker's latencies.
pub struct LatencyReceiver {
    to_read: Receiver<Box<Latencies>>,
    emptied: Sender<Box<Latencies>>,
}

impl LatencyReceiver {
    /// Adds what has arrived to `total`. Never blocks.
    pub fn take_into(&self, total: &mut Latencies) {
        while let Ok(mut full) = self.to_read.try_recv() {
            total.merge(&full);
            full.clear();
            // There is room for the only one that was out; a worker that is gone needs none.
            let _ = self.emptied.try_send(full);
        }
    }
}

/// One metric: its name, its help, and which values are its series.
pub struct Family<M: 'static> {
    /// The name, unit and `_total` included (Prometheus, "Metric and label naming").
    pub name: &'static str,
    /// The `# HELP` line.
    pub help: &'static str,
    /// The label that tells its series apart; empty for a single one.
    pub label: &'static str,
    /// The series: where the value is, and the label's value.
    pub series: &'static [(M, &'static str)],
}

/// Every counter of a worker by its name in `/metrics`. Each [`Counter`] stands here once.
pub const COUNTERS: &[Family<Counter>] = &[
    Family {
        name: "pullgate_connections_total",
        help: "Client connections accepted.",
        label: "",
        series: &[(Counter::Connections, "")],
    },
    Family {
        name: "pullgate_connections_refused_total",
        help: "Client connections refused, by the limit that was reached.",
        label: "limit",
        series: &[
            (Counter::RefusedTotal, "connections"),
            (Counter::RefusedClient, "connections_per_client"),
        ],
    },
    Family {
        name: "pullgate_connection_panics_total",
        help: "Connections closed because their code panicked: each is a defect to report.",
        label: "",
        series: &[(Counter::Panics, "")],
    },
    Family {
        name: "pullgate_accept_errors_total",
        help: "Failures to accept a connection.",
        label: "",
        series: &[(Counter::AcceptErrors, "")],
    },
    Family {
        name: "pullgate_accept_pauses_total",
        help: "Times that accepting was paused for want of descriptors or memory.",
        label: "",
        series: &[(Counter::AcceptPauses, "")],
    },
    Family {
        name: "pullgate_timeouts_total",
        help: "Connections ended because a time of [limits] ran out.",
        label: "limit",
        series: &[
            (Counter::TimeoutsHeader, "header_timeout"),
            (Counter::TimeoutsIdle, "idle_timeout"),
            (Counter::TimeoutsWrite, "write_timeout"),
        ],
    },
    Family {
        name: "pullgate_requests_total",
        help: "Requests by what they asked for.",
        label: "endpoint",
        series: &[
            (Counter::RequestsBase, "base"),
            (Counter::RequestsManifest, "manifest"),
            (Counter::RequestsBlob, "blob"),
            (Counter::RequestsTags, "tags"),
            (Counter::RequestsReferrers, "referrers"),
            (Counter::RequestsOther, "other"),
        ],
    },
    Family {
        name: "pullgate_requests_pipelined_total",
        help: "Requests that came in one receive with the one before them.",
        label: "",
        series: &[(Counter::RequestsPipelined, "")],
    },
    Family {
        name: "pullgate_redirects_total",
        help: "Answers that sent the client to a registry.",
        label: "",
        series: &[(Counter::Redirects, "")],
    },
    Family {
        name: "pullgate_answers_total",
        help: "Answers by the class of their status.",
        label: "class",
        series: &[
            (Counter::Answers2xx, "2xx"),
            (Counter::Answers3xx, "3xx"),
            (Counter::Answers4xx, "4xx"),
            (Counter::Answers5xx, "5xx"),
        ],
    },
    Family {
        name: "pullgate_received_bytes_total",
        help: "Bytes read from clients.",
        label: "",
        series: &[(Counter::BytesReceived, "")],
    },
    Family {
        name: "pullgate_sent_bytes_total",
        help: "Bytes written to clients.",
        label: "",
        series: &[(Counter::BytesSent, "")],
    },
    Family {
        name: "pullgate_events_total",
        help: "Requests handed to counting.",
        label: "",
        series: &[(Counter::Events, "")],
    },
    Family {
        name: "pullgate_unfolded_requests_total",
        help: "Counted requests that went on as totals, without their pull being recognised, \
               because the aggregator was too far behind.",
        label: "",
        series: &[(Counter::Unfolded, "")],
    },
    Family {
        name: "pullgate_access_log_dropped_total",
        help: "Access log lines dropped because their writer was behind.",
        label: "",
        series: &[(Counter::AccessLinesDropped, "")],
    },
];

/// Faults, by [`Kind`] in the order of `Kind::ALL`, whose label is each kind's own.
pub const FAULTS: Family<Kind> = Family {
    name: "pullgate_faults_total",
    help: "Requests refused, by what was wrong with them.",
    label: "kind",
    series: &[],
};

/// Every gauge of a worker by its name in `/metrics`, where the label `worker` is added.
pub const GAUGES: &[Family<Gauge>] = &[
    Family {
        name: "pullgate_connections_open",
        help: "Client connections open.",
        label: "",
        series: &[(Gauge::ConnectionsOpen, "")],
    },
    Family {
        name: "pullgate_receive_buffers_out",
        help: "Receive buffers that a connection holds.",
        label: "",
        series: &[(Gauge::ReceiveBuffersOut, "")],
    },
    Family {
        name: "pullgate_backlog_bytes",
        help: "Bytes of pull events that wait in the worker because the aggregator is behind.",
        label: "",
        series: &[(Gauge::BacklogBytes, "")],
    },
    Family {
        name: "pullgate_unfolded_pending_requests",
        help: "Requests that wait in the worker to be counted as totals.",
        label: "",
        series: &[(Gauge::UnfoldedPending, "")],
    },
    Family {
        name: "pullgate_worker_snapshot_generation",
        help: "Generation of the configuration that new requests are answered from.",
        label: "",
        series: &[(Gauge::SnapshotGeneration, "")],
    },
];

const COUNTERS_LEN: usize = Counter::AccessLinesDropped as usize + 1;
const GAUGES_LEN: usize = Gauge::SnapshotGeneration as usize + 1;

/// Below the time of one system call differences mean nothing.
const LATENCY_NS_MIN: u64 = 1_000;
/// Past a minute it does not matter how much longer.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_and_gauge_has_exactly_one_name() {
        let mut counters: Vec<usize> = COUNTERS
            .iter()
            .flat_map(|f| f.series.iter().map(|(c, _)| *c as usize))
            .collect();
        counters.sort_unstable();
        assert_eq!(counters, (0..COUNTERS_LEN).collect::<Vec<_>>());
        let mut gauges: Vec<usize> = GAUGES
            .iter()
            .flat_map(|f| f.series.iter().map(|(g, _)| *g as usize))
            .collect();
        gauges.sort_unstable();
        assert_eq!(gauges, (0..GAUGES_LEN).collect::<Vec<_>>());
    }

    #[test]
    fn meters_of_two_workers_share_no_pair_of_cache_lines() {
        assert_eq!(align_of::<Meters>(), 128);
        assert_eq!(size_of::<Meters>() % 128, 0);
    }

    #[test]
    fn what_is_added_by_one_thread_is_read_by_another() {
        let meters = Meters::new();
        let writer = Arc::clone(&meters);
        std::thread::spawn(move || {
            for _ in 0..1000 {
                writer.add(Counter::answered(307), 2);
                writer.fault(Kind::NameUnknown);
            }
            writer.set(Gauge::ConnectionsOpen, 7);
        })
        .join()
        .unwrap();
        assert_eq!(meters.counter(Counter::Answers3xx), 2000);
        assert_eq!(meters.faults(Kind::NameUnknown), 1000);
        assert_eq!(meters.gauge(Gauge::ConnectionsOpen), 7);
    }

    #[test]
    fn a_slow_reader_loses_no_latency() {
        let (mut sender, receiver) = latency_channel();
        let mut total = Latencies::new();
        for round in 1..=100 {
            sender.record(2_000 * round, 3);
            sender.hand_over();
            if round % 10 == 0 {
                receiver.take_into(&mut total);
            }
        }
        // What stayed behind follows as soon as the reader has read.
        sender.hand_over();
        receiver.take_into(&mut total);
        assert_eq!(total.count(), 300);
        assert_eq!(total.sum_ns(), 3 * 2_000 * (100 * 101 / 2));
    }

    #[test]
    fn without_a_reader_recording_goes_on() {
        let (mut sender, receiver) = latency_channel();
        drop(receiver);
        sender.record(5_000, 1);
        sender.hand_over();
        sender.hand_over();
        assert_eq!(sender.current.count(), 1);
    }

    #[test]
    fn a_bound_parts_the_latencies_below_it_from_those_above() {
        let mut latencies = Latencies::new();
        latencies.record(900, 1);
        latencies.record(90_000, 2);
        latencies.record(110_000, 4);
        latencies.record(u64::MAX / 16, 8);
        assert_eq!(latencies.count_up_to(1_000), 1);
        assert_eq!(latencies.count_up_to(100_000), 3);
        assert_eq!(latencies.count_up_to(1_000_000_000), 7);
        assert_eq!(latencies.count(), 15);
    }
}
