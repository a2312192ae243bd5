//! What a worker counts, on its way to `/metrics`.
//!
//! Counters and gauges are memory with one writer: the worker adds with a plain load and store, no
//! locked instruction, and the admin listener reads whenever it is asked. Their names and help
//! stand here once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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
    /// A TLS handshake was made.
    TlsFull,
    /// A TLS session was resumed.
    TlsResumed,
    /// A TLS handshake failed.
    TlsFailed,
    /// A TLS handshake took longer than `limits.header_timeout`.
    TlsLate,
    /// A client spoke plain HTTP where TLS is spoken.
    TlsPlain,
    /// A client was shown the certificate that nobody trusts.
    TlsStandIn,
    /// HTTP/2 was agreed on.
    Http2Connections,
    /// A client of HTTP/2 was told to go: it has asked for nothing for a while.
    GoawaysIdle,
    /// It was told so because the gateway stops.
    GoawaysDrain,
    /// It took nothing of what it has asked for.
    GoawaysStalled,
    /// It gave up too many requests.
    GoawaysResets,
    /// It made us give up too many of its requests.
    GoawaysResetsCaused,
    /// It sent far too large a head.
    GoawaysHeaders,
    /// It sent heads in too many pieces.
    GoawaysContinuations,
    /// It sent too many frames of bodies.
    GoawaysData,
    /// It sent too many settings.
    GoawaysSettings,
    /// It sent too many pings.
    GoawaysPings,
    /// It sent too many window updates.
    GoawaysWindows,
    /// It sent too many priorities.
    GoawaysPriorities,
    /// It sent too many frames of unknown sorts.
    GoawaysUnknown,
    /// It did not keep to the protocol.
    GoawaysProtocol,
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
    /// A request for the dashboard, by its host name.
    RequestsDashboard,
    /// A request for anything else, or one that is no request at all.
    RequestsOther,
    /// A request that came in one receive with the one before it.
    RequestsPipelined,
    /// A redirect to a registry.
    Redirects,
    /// Of which it was known what the client finds there.
    RedirectsSeen,
    /// A request that a registry was asked for in the client's stead, and that was answered.
    Forwarded,
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
    /// A token service has given a token.
    TokensGranted,
    /// A token service has said that there is no token for us.
    TokensDenied,
    /// A token service has failed, or may not be asked.
    TokensFailed,
    /// A manifest, or its head, was answered from memory.
    ManifestsFromMemory,
    /// It was answered after the registry was asked.
    ManifestsFromRegistry,
    /// It was answered from memory because the registry could not be asked.
    ManifestsStale,
    /// A request was answered by another registry than the package's first.
    Failovers,
    /// A registry was asked by HEAD what a tag stands for.
    ManifestHeads,
    /// A registry was asked for a manifest that is kept.
    ManifestGets,
    /// A registry, or whoever it has named, has answered with status 2xx.
    UpstreamAnswers2xx,
    /// It has answered with status 3xx.
    UpstreamAnswers3xx,
    /// It has answered with status 4xx.
    UpstreamAnswers4xx,
    /// It has answered with status 5xx.
    UpstreamAnswers5xx,
    /// It has not answered, or with what is no answer.
    UpstreamFailed,
    /// A connection to one was made.
    UpstreamConnectionsOpened,
    /// A connection was used again.
    UpstreamConnectionsReused,
    /// A connection that was used again had been closed: the request went by another one.
    UpstreamConnectionsStale,
    /// A name could not be looked up.
    NamesFailed,
    /// An access log line was dropped, because the writer is behind.
    AccessLinesDropped,
    /// A body went to a client whole.
    StreamsWhole,
    /// A body was broken off by its client.
    StreamsBrokenByClient,
    /// A body was broken off by its registry.
    StreamsBrokenByUpstream,
    /// Bytes of bodies that went through by splice(2).
    StreamedBytesSpliced,
    /// Bytes of bodies that went through a buffer.
    StreamedBytesCopied,
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
    /// Connections to registries and their like that are used.
    UpstreamConnectionsUsed,
    /// Those that nobody uses at the moment.
    UpstreamConnectionsIdle,
    /// Tokens that are held.
    TokensHeld,
    /// Bytes of manifests that are kept.
    ManifestBytes,
    /// Generation of the snapshot that new requests are answered from.
    SnapshotGeneration,
    /// Bodies on their way to clients.
    StreamsOpen,
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

    /// The counter of answers with `status` from registries.
    pub fn upstream_answered(status: u16) -> Self {
        match status {
            0..300 => Self::UpstreamAnswers2xx,
            300..400 => Self::UpstreamAnswers3xx,
            400..500 => Self::UpstreamAnswers4xx,
            500.. => Self::UpstreamAnswers5xx,
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
        name: "pullgate_tls_handshakes_total",
        help: "TLS handshakes with clients, by how they went; `plain`: the client spoke plain HTTP \
               instead.",
        label: "outcome",
        series: &[
            (Counter::TlsFull, "full"),
            (Counter::TlsResumed, "resumed"),
            (Counter::TlsFailed, "failed"),
            (Counter::TlsLate, "late"),
            (Counter::TlsPlain, "plain"),
        ],
    },
    Family {
        name: "pullgate_tls_stand_ins_total",
        help: "TLS handshakes in which the certificate was shown that nobody trusts, because there \
               is none for the host asked for, or none was named.",
        label: "",
        series: &[(Counter::TlsStandIn, "")],
    },
    Family {
        name: "pullgate_http2_connections_total",
        help: "Connections over which HTTP/2 was agreed on.",
        label: "",
        series: &[(Counter::Http2Connections, "")],
    },
    Family {
        name: "pullgate_http2_goaways_total",
        help: "Connections of HTTP/2 that the gateway has ended, by why: nothing was asked for, the \
               gateway stops, the client takes nothing, or sends too much of something.",
        label: "why",
        series: &[
            (Counter::GoawaysIdle, "idle"),
            (Counter::GoawaysDrain, "drain"),
            (Counter::GoawaysStalled, "stalled"),
            (Counter::GoawaysResets, "resets"),
            (Counter::GoawaysResetsCaused, "resets_caused"),
            (Counter::GoawaysHeaders, "headers"),
            (Counter::GoawaysContinuations, "continuations"),
            (Counter::GoawaysData, "data"),
            (Counter::GoawaysSettings, "settings"),
            (Counter::GoawaysPings, "pings"),
            (Counter::GoawaysWindows, "windows"),
            (Counter::GoawaysPriorities, "priorities"),
            (Counter::GoawaysUnknown, "unknown"),
            (Counter::GoawaysProtocol, "protocol"),
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
            (Counter::RequestsDashboard, "dashboard"),
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
        name: "pullgate_redirects_resolved_total",
        help: "Those of them of which it was known what the client finds there.",
        label: "",
        series: &[(Counter::RedirectsSeen, "")],
    },
    Family {
        name: "pullgate_forwarded_total",
        help: "Answers to requests that the gateway asked a registry itself for, then or before.",
        label: "",
        series: &[(Counter::Forwarded, "")],
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
        name: "pullgate_token_requests_total",
        help: "Requests for tokens of registries, by how they went.",
        label: "outcome",
        series: &[
            (Counter::TokensGranted, "granted"),
            (Counter::TokensDenied, "denied"),
            (Counter::TokensFailed, "failed"),
        ],
    },
    Family {
        name: "pullgate_manifests_total",
        help: "Answers with manifests that may be kept, or their heads: from memory, after asking \
               for them (another worker, the disk, the registry), or what was said last because \
               the registry could not be asked.",
        label: "source",
        series: &[
            (Counter::ManifestsFromMemory, "memory"),
            (Counter::ManifestsFromRegistry, "registry"),
            (Counter::ManifestsStale, "stale"),
        ],
    },
    Family {
        name: "pullgate_manifest_requests_total",
        help: "Requests to registries for these, each that was sent: by HEAD for what a tag stands for, \
               by GET for the manifest.",
        label: "method",
        series: &[(Counter::ManifestHeads, "HEAD"), (Counter::ManifestGets, "GET")],
    },
    Family {
        name: "pullgate_failovers_total",
        help: "Answers that came from another registry than the package's first.",
        label: "",
        series: &[(Counter::Failovers, "")],
    },
    Family {
        name: "pullgate_upstream_requests_total",
        help: "Requests to registries, their token services and storage, by the class of the answer.",
        label: "outcome",
        series: &[
            (Counter::UpstreamAnswers2xx, "2xx"),
            (Counter::UpstreamAnswers3xx, "3xx"),
            (Counter::UpstreamAnswers4xx, "4xx"),
            (Counter::UpstreamAnswers5xx, "5xx"),
            (Counter::UpstreamFailed, "failed"),
        ],
    },
    Family {
        name: "pullgate_upstream_connections_total",
        help: "Connections that those requests took: new ones, ones used again, and of these those \
               that had been closed meanwhile, so that the request went by a new one.",
        label: "how",
        series: &[
            (Counter::UpstreamConnectionsOpened, "opened"),
            (Counter::UpstreamConnectionsReused, "reused"),
            (Counter::UpstreamConnectionsStale, "stale"),
        ],
    },
    Family {
        name: "pullgate_names_failed_total",
        help: "Host names that could not be looked up.",
        label: "",
        series: &[(Counter::NamesFailed, "")],
    },
    Family {
        name: "pullgate_access_log_dropped_total",
        help: "Access log lines dropped because their writer was behind.",
        label: "",
        series: &[(Counter::AccessLinesDropped, "")],
    },
    Family {
        name: "pullgate_streams_total",
        help: "Bodies streamed from registries to clients, by whether they came through whole or \
               who broke them off.",
        label: "outcome",
        series: &[
            (Counter::StreamsWhole, "whole"),
            (Counter::StreamsBrokenByClient, "client"),
            (Counter::StreamsBrokenByUpstream, "registry"),
        ],
    },
    Family {
        name: "pullgate_streamed_bytes_total",
        help: "Bytes of streamed bodies, by whether the kernel moved them or they were copied.",
        label: "way",
        series: &[
            (Counter::StreamedBytesSpliced, "splice"),
            (Counter::StreamedBytesCopied, "copy"),
        ],
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
        name: "pullgate_upstream_connections_used",
        help: "Connections to registries, their token services and storage that a request uses.",
        label: "",
        series: &[(Gauge::UpstreamConnectionsUsed, "")],
    },
    Family {
        name: "pullgate_upstream_connections_idle",
        help: "Connections kept for the next request.",
        label: "",
        series: &[(Gauge::UpstreamConnectionsIdle, "")],
    },
    Family {
        name: "pullgate_tokens_held",
        help: "Tokens of registries that the worker holds, for itself and as a copy.",
        label: "",
        series: &[(Gauge::TokensHeld, "")],
    },
    Family {
        name: "pullgate_manifest_bytes",
        help: "Memory that the manifests take which the worker keeps, its copies included, in bytes.",
        label: "",
        series: &[(Gauge::ManifestBytes, "")],
    },
    Family {
        name: "pullgate_worker_snapshot_generation",
        help: "Generation of the configuration that new requests are answered from.",
        label: "",
        series: &[(Gauge::SnapshotGeneration, "")],
    },
    Family {
        name: "pullgate_streams_open",
        help: "Bodies on their way from registries to clients.",
        label: "",
        series: &[(Gauge::StreamsOpen, "")],
    },
];

const COUNTERS_LEN: usize = Counter::StreamedBytesCopied as usize + 1;
const GAUGES_LEN: usize = Gauge::StreamsOpen as usize + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_and_gauge_has_exactly_one_name() {
        let mut counters: Vec<usize> =
            COUNTERS.iter().flat_map(|f| f.series.iter().map(|(c, _)| *c as usize)).collect();
        counters.sort_unstable();
        assert_eq!(counters, (0..COUNTERS_LEN).collect::<Vec<_>>());
        let mut gauges: Vec<usize> =
            GAUGES.iter().flat_map(|f| f.series.iter().map(|(g, _)| *g as usize)).collect();
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
}
