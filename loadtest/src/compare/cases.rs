//! What is compared, and what is asked of it.

use std::path::Path;

use crate::args::{CompareArgs, Handshake, LoadArgs};
use crate::machine::limits;
use crate::scenario::Scenario;
use crate::target::Kind;

/// One load, for all.
#[derive(Clone, Debug)]
pub(super) struct Case {
    /// What clients do.
    pub(super) scenario: Scenario,
    /// How.
    pub(super) load: LoadArgs,
    /// At which pace, and so what is seen.
    pub(super) way: Way,
}

/// At which pace a load is laid on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A closed loop: what answers take is compared.
    Closed,
    /// A constant rate, of 70 % of what the slower one beside the gateway can do: latencies are compared.
    Open,
    /// A constant rate of [`WORKERS_RATE`]: what answers take by two workers is compared with what they
    /// take by one.
    TwoWorkers,
}

/// What is compared in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Metric {
    /// CPU time per good answer, in microseconds.
    CpuPerAnswer,
    /// CPU time per GiB of bodies, in milliseconds.
    CpuPerGib,
    /// Latency that 99 of a hundred stay below, in microseconds.
    P99,
    /// And 999 of a thousand.
    P99_9,
    /// Memory that a connection takes which waits, in bytes.
    IdleBytes,
}

impl Case {
    /// One as the command line says.
    pub(super) fn of(scenario: Scenario, args: &CompareArgs) -> Self {
        let way = match (args.open, args.two_workers) {
            (true, _) => Way::Open,
            (false, true) => Way::TwoWorkers,
            (false, false) => Way::Closed,
        };
        Self { scenario, load: args.load.clone(), way }
    }

    /// All that have a bar, with what of `load` they leave open.
    pub(super) fn all(load: &LoadArgs) -> Vec<Self> {
        let case = |scenario, connections, change: fn(&mut LoadArgs)| {
            let mut load = LoadArgs { connections, ..load.clone() };
            change(&mut load);
            Self { scenario, load, way: Way::Closed }
        };
        let same: fn(&mut LoadArgs) = |_| ();
        // As many as all can hold under this limit of descriptors.
        let room = usize::try_from(limits::connections_through()).unwrap_or(usize::MAX);
        let idle = room.saturating_sub(100).clamp(1, IDLE_CONNECTIONS);
        vec![
            case(Scenario::Redirect, 64, same),
            case(Scenario::Redirect, 256, same),
            case(Scenario::Redirect, 64, |load| load.pipeline = 16),
            case(Scenario::Redirect, 64, |load| load.close = true),
            case(Scenario::BrokerManifest, 64, same),
            case(Scenario::StreamBlob, 1, same),
            case(Scenario::StreamBlob, 8, same),
            case(Scenario::StreamBlob, 1, |load| load.upstream_tls = true),
            case(Scenario::StreamBlob, 8, |load| load.upstream_tls = true),
            case(Scenario::Idle, idle, same),
            case(Scenario::Redirect, 64, |load| load.tls = Some(Handshake::Full)),
            case(Scenario::Redirect, 64, |load| {
                (load.tls, load.close) = (Some(Handshake::Full), true);
            }),
            case(Scenario::Redirect, 64, |load| {
                (load.tls, load.close) = (Some(Handshake::Resumed), true);
            }),
            case(Scenario::Redirect, 8, |load| {
                (load.tls, load.http2) = (Some(Handshake::Full), Some(100));
            }),
            case(Scenario::Idle, idle.min(2_000), |load| load.tls = Some(Handshake::Full)),
            Self { way: Way::Open, ..case(Scenario::Redirect, 64, same) },
            Self { way: Way::Open, ..case(Scenario::Reload, 64, same) },
            Self { way: Way::TwoWorkers, ..case(Scenario::Redirect, 64, same) },
        ]
    }

    /// What is compared.
    pub(super) fn metrics(&self) -> &'static [Metric] {
        match self.scenario {
            Scenario::StreamBlob => &[Metric::CpuPerGib],
            Scenario::Idle => &[Metric::IdleBytes],
            _ if self.way == Way::Open => &[Metric::P99, Metric::P99_9],
            Scenario::Redirect
            | Scenario::BrokerManifest
            | Scenario::Pull
            | Scenario::PullStorm
            | Scenario::Slow
            | Scenario::Reload
            | Scenario::Mixed => &[Metric::CpuPerAnswer],
        }
    }

    /// The most that the gateway's may be of `peer`'s.
    pub(super) fn bar(&self, metric: Metric, peer: &Kind) -> Option<f64> {
        let LoadArgs { pipeline, close, upstream_tls, tls, http2, .. } = &self.load;
        match (metric, self.scenario, peer) {
            (Metric::CpuPerAnswer, _, Kind::OneWorker(_)) => Some(1.1),
            (Metric::CpuPerAnswer, Scenario::Redirect, Kind::Nginx) if tls.is_some() => {
                Some(match (http2, close) {
                    (Some(_), _) => 0.40,
                    (None, true) => 0.60,
                    (None, false) => 0.80,
                })
            }
            (Metric::CpuPerAnswer, ..) if tls.is_some() => None,
            (Metric::P99 | Metric::P99_9, Scenario::Redirect, Kind::Nginx) => Some(1.0),
            (Metric::P99_9, Scenario::Reload, Kind::Unchanged(_)) => Some(2.0),
            (Metric::CpuPerAnswer, Scenario::Redirect, Kind::Nginx) if *close => Some(1.05),
            (Metric::CpuPerAnswer, Scenario::Redirect, Kind::Nginx) if *pipeline > 1 => Some(0.10),
            (Metric::CpuPerAnswer, Scenario::Redirect, Kind::Nginx | Kind::Haproxy)
                if !*close && *pipeline == 1 =>
            {
                Some(0.87)
            }
            (Metric::CpuPerAnswer, Scenario::BrokerManifest, Kind::Nginx) => Some(1.0),
            (Metric::CpuPerGib, Scenario::StreamBlob, Kind::Haproxy) if *upstream_tls => Some(1.0),
            (Metric::CpuPerGib, Scenario::StreamBlob, Kind::Haproxy) => Some(0.80),
            (Metric::CpuPerGib, Scenario::StreamBlob, Kind::Nginx) if !*upstream_tls => Some(0.40),
            _ => None,
        }
    }

    /// What the gateway itself may need at most.
    pub(super) fn bound(&self, metric: Metric) -> Option<f64> {
        let bytes = if self.load.tls.is_some() { 8192.0 } else { 1024.0 };
        (metric == Metric::IdleBytes).then_some(bytes)
    }

    /// How many system calls, and how many microseconds in user space, an answer of the gateway's may
    /// take whatever others need.
    pub(super) fn gates(&self) -> Option<[f64; 2]> {
        let LoadArgs { pipeline, close, tls, .. } = &self.load;
        let is_closed = self.way == Way::Closed;
        let is_plain = self.scenario == Scenario::Redirect && is_closed && tls.is_none();
        (is_plain && !*close && *pipeline == 1).then_some([0.1, 1.0])
    }

    /// How many threads the kernel may have that do what would wait on the gateway's rings.
    pub(super) fn helpers_max(&self) -> Option<u64> {
        (self.scenario == Scenario::StreamBlob).then_some(0)
    }

    /// Who is measured beside `gateway`.
    pub(super) fn peers(&self, gateway: &Path) -> Vec<Kind> {
        match self.scenario {
            _ if self.way == Way::TwoWorkers => vec![Kind::OneWorker(gateway.to_owned())],
            // What a change costs is seen beside one that does not change.
            Scenario::Reload => vec![Kind::Unchanged(gateway.to_owned())],
            Scenario::StreamBlob => vec![Kind::Nginx, Kind::NginxUnbuffered, Kind::Haproxy],
            Scenario::Redirect
            | Scenario::BrokerManifest
            | Scenario::Pull
            | Scenario::PullStorm
            | Scenario::Idle
            | Scenario::Slow
            | Scenario::Mixed => vec![Kind::Nginx, Kind::Haproxy],
        }
    }

    /// In words.
    pub(super) fn words(&self) -> String {
        let LoadArgs { connections, pipeline, packages, close, size, upstream_tls, tls, .. } =
            &self.load;
        let mut words = format!("{}, {packages} packages", self.scenario.as_str());
        if self.scenario == Scenario::StreamBlob {
            words += &format!(", {}", crate::report::bytes(*size as f64));
        }
        words += &match connections {
            1 => ", 1 connection".to_owned(),
            more => format!(", {more} connections"),
        };
        if *close {
            words += ", one for each request";
        }
        if *pipeline > 1 {
            words += &format!(", {pipeline} requests at once on each");
        }
        words += match tls {
            Some(Handshake::Full) if *close => ", over TLS with full handshakes",
            Some(Handshake::Resumed) if *close => ", over TLS with resumed sessions",
            Some(_) => ", over TLS",
            None => "",
        };
        if let Some(streams) = self.load.http2 {
            words += &format!(", by HTTP/2 with {streams} streams on each");
        }
        if *upstream_tls {
            words += ", TLS to the registry";
        }
        if self.load.resolve {
            words += ", what clients find is looked up";
        }
        words += match self.way {
            Way::Closed => "",
            Way::Open => ", open loop at 70 % of the peak of the slower one beside it",
            Way::TwoWorkers => ", two workers beside one, open loop",
        };
        words
    }
}

/// Jobs a second on two workers and on one. In a closed loop the two would not do the same: one worker, never idle,
/// finds many requests each time it looks, each of two finds half as many and is woken more often for them, and
/// that would be compared. When as many arrive, far fewer than either can answer, both find one at a time, and what
/// is left of a difference is what workers cost each other. So few also leave room on a CPU that the second worker
/// shares with the load, and they are the most that the load sends each when it is due (`engine::TOGETHER`).
pub(super) const WORKERS_RATE: f64 = 20_000.0;
/// Of the bar.
const IDLE_CONNECTIONS: usize = 10_000;

impl Metric {
    /// A column's heading.
    pub fn heading(self) -> &'static str {
        match self {
            Self::CpuPerAnswer => "CPU µs per answer",
            Self::CpuPerGib => "CPU ms per GiB",
            Self::P99 => "p99 µs",
            Self::P99_9 => "p99.9 µs",
            Self::IdleBytes => "bytes per connection",
        }
    }
}

/// What is compared where the command line leaves everything open.
#[cfg(test)]
pub(super) fn load() -> LoadArgs {
    use clap::Parser as _;
    let cli = crate::args::Cli::parse_from(["loadtest", "compare", "--gateway", "pullgate"]);
    let crate::args::Command::Compare(args) = cli.command else { panic!("not compare") };
    args.load
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_of_all_has_a_bar() {
        let gateway = Path::new("pullgate");
        for case in Case::all(&load()) {
            let has_bar = |metric: &Metric| {
                let peers = case.peers(gateway);
                peers.iter().any(|peer| case.bar(*metric, peer).is_some())
                    || case.bound(*metric).is_some()
            };
            assert!(case.metrics().iter().any(has_bar), "{}", case.words());
        }
    }

    #[test]
    fn two_workers_are_compared_with_one_and_with_nobody_else() {
        let gateway = Path::new("pullgate");
        let cases = Case::all(&load());
        let mut found = cases.iter().filter(|case| case.way == Way::TwoWorkers);
        let case = found.next().unwrap();
        assert_eq!(case.peers(gateway), [Kind::OneWorker(gateway.to_owned())]);
        assert_eq!(case.metrics(), [Metric::CpuPerAnswer]);
        assert_eq!(case.bar(Metric::CpuPerAnswer, &Kind::OneWorker(gateway.to_owned())), Some(1.1));
        assert!(case.gates().is_none() && found.next().is_none());
    }

    #[test]
    fn plain_redirects_over_kept_connections_have_gates() {
        let cases = Case::all(&load());
        let gated: Vec<String> =
            cases.iter().filter(|case| case.gates().is_some()).map(Case::words).collect();
        let words = ["64", "256"].map(|it| format!("redirect, 1000 packages, {it} connections"));
        assert_eq!(gated, words);
    }

    #[test]
    fn cases_are_told_apart_by_their_words() {
        let words: Vec<String> = Case::all(&load()).iter().map(Case::words).collect();
        let different: std::collections::BTreeSet<&String> = words.iter().collect();
        assert_eq!(different.len(), words.len(), "{words:#?}");
    }
}
