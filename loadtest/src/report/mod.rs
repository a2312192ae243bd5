//! A run's result: as values, as text for a person, as JSON.

pub mod html;
mod text;

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::engine::{Pace, Point, Recorded, Settings, TOGETHER};
use crate::machine::usage::{Memory, Usage};
pub use text::{bytes, number, table};

/// One step of a run.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// What clients did.
    pub scenario: &'static str,
    /// Who was asked.
    pub target: String,
    /// `closed`, `open` or `once`.
    pub pace: &'static str,
    /// Whether a stall of the target can hide in the latencies.
    pub blind_to_stalls: bool,
    /// Jobs a second that were to be, in an open loop.
    pub rate: Option<f64>,
    /// Connections.
    pub connections: usize,
    /// Requests at once on each.
    pub pipeline: usize,
    /// Whether connections stayed.
    pub keep_alive: bool,
    /// From the first request to the last answer, in seconds.
    pub seconds: f64,
    /// Good answers.
    pub answers: u64,
    /// Those a second.
    pub per_second: f64,
    /// Bytes of bodies.
    pub body_bytes: u64,
    /// What went wrong, and how often.
    pub faults: BTreeMap<String, u64>,
    /// Of requests.
    pub latency: Latency,
    /// Of jobs of several requests.
    pub jobs: Option<Jobs>,
    /// Jobs that were due when all connections were busy.
    pub queued: u64,
    /// The load's own CPU, in percent of one.
    pub own_cpu_percent: f64,
    /// Whether that was all that it could do.
    pub is_saturated: bool,
    /// The target's side, where its process is known.
    pub cost: Option<Cost>,
    /// Of connections that stayed open, in `idle`.
    pub held: Option<Held>,
    /// What has to be said beside the figures.
    pub remarks: Vec<String>,
    /// In the course of time.
    pub points: Vec<Point>,
    /// Latencies in microseconds, by how many nines the percentile has: `[2, 850]` says that 99 %
    /// stayed below 850 µs.
    pub quantiles: Vec<[f64; 2]>,
}

/// In microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
#[allow(missing_docs, reason = "each is the quantile that it is called by")]
pub struct Latency {
    pub mean: f64,
    pub p50: f64,
    pub p75: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub p99_99: f64,
    pub max: f64,
}

/// Jobs of several requests.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Jobs {
    /// How many.
    pub count: u64,
    /// How many did not go well.
    pub failed: u64,
    /// From when one was due to its last answer.
    pub latency: Latency,
}

/// What the target used.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// CPU per good answer, in microseconds.
    pub cpu_us: f64,
    /// Of that in user space.
    pub user_us: f64,
    /// And in the kernel.
    pub system_us: f64,
    /// In percent of one CPU, while the load was on.
    pub cpu_percent: f64,
    /// Context switches per good answer.
    pub switches: f64,
    /// Helper threads of its rings at the end.
    pub helpers: u64,
    /// At the end.
    pub memory: Memory,
}

/// Connections that stay open.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Held {
    /// How many.
    pub connections: usize,
    /// By how much the target's resident memory grew for each, in bytes.
    pub resident_bytes: Option<f64>,
    /// And its own memory that no file stands behind.
    pub anonymous_bytes: Option<f64>,
}

impl Held {
    /// With memory before the first and after the last of them, if that is known.
    pub fn new(connections: usize, memory: Option<(Memory, Memory)>) -> Self {
        let each = |part: fn(Memory) -> u64| {
            let (before, after) = memory?;
            Some(part(after).saturating_sub(part(before)) as f64 / connections.max(1) as f64)
        };
        Self {
            connections,
            resident_bytes: each(|memory| memory.resident),
            anonymous_bytes: each(|memory| memory.anonymous),
        }
    }
}

impl Outcome {
    /// Puts together what was recorded, and what the target used meanwhile, if that is known.
    pub fn new(
        scenario: &'static str,
        target: &str,
        settings: &Settings,
        recorded: &Recorded,
        used: Option<(Usage, Memory)>,
    ) -> Self {
        let seconds = recorded.elapsed.as_secs_f64();
        let own_cpu_percent = percent(recorded.cpu, recorded.elapsed);
        let cost = used.map(|(usage, memory)| {
            let each = |time: f64| time * 1e6 / recorded.answers.max(1) as f64;
            let cpu = usage.cpu.as_secs_f64();
            Cost {
                cpu_us: each(cpu),
                user_us: each(cpu * usage.user_part()),
                system_us: each(cpu * (1.0 - usage.user_part())),
                cpu_percent: percent(usage.cpu, recorded.elapsed),
                switches: usage.switches as f64 / recorded.answers.max(1) as f64,
                helpers: usage.helpers,
                memory,
            }
        });
        let mut faults = BTreeMap::new();
        for (fault, count) in &recorded.faults {
            *faults.entry(fault.to_string()).or_default() += count;
        }
        let (pace, rate) = match settings.pace {
            Pace::Closed => ("closed", None),
            Pace::Open(rate) => ("open", Some(rate)),
            Pace::Once => ("once", None),
        };
        let mut outcome = Self {
            scenario,
            target: target.to_owned(),
            pace,
            blind_to_stalls: settings.pace == Pace::Closed,
            rate,
            connections: settings.connections,
            pipeline: settings.pipeline,
            keep_alive: settings.keep_alive,
            seconds,
            answers: recorded.answers,
            per_second: recorded.answers as f64 / seconds.max(1e-9),
            body_bytes: recorded.body_bytes,
            faults,
            latency: Latency::of(&recorded.latency),
            jobs: recorded.jobs.as_ref().map(|(latency, failed)| Jobs {
                count: latency.len(),
                failed: *failed,
                latency: Latency::of(latency),
            }),
            queued: recorded.queued,
            own_cpu_percent,
            is_saturated: own_cpu_percent >= SATURATED_PERCENT,
            cost,
            held: None,
            remarks: Vec::new(),
            points: recorded.points.clone(),
            quantiles: quantiles(&recorded.latency),
        };
        outcome.remarks = outcome.remarks();
        outcome
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if self.blind_to_stalls {
            remarks.push(
                "closed loop: blind to stalls, because nothing is sent while an answer is \
                 awaited; for latencies give a --rate"
                    .to_owned(),
            );
        }
        if self.is_saturated {
            let theirs = match self.cost {
                Some(cost) => format!("the target's {:.0} %", cost.cpu_percent),
                None => "the target's is not known: give its --pid".to_owned(),
            };
            remarks.push(format!(
                "the load used {:.0} % of its CPU ({theirs}): the throughput, and latencies with \
                 it, are the load's own limit; CPU per request holds all the same",
                self.own_cpu_percent
            ));
        }
        if self.queued > 0 && self.rate.is_some() {
            remarks.push(format!(
                "{} requests were due when all connections were busy: they waited, and their latency \
                 counts from when they were due",
                self.queued
            ));
        }
        if self.rate.is_some_and(|rate| rate * TOGETHER.as_secs_f64() > 1.0) {
            remarks.push(format!(
                "at such a rate the load looks every {} µs, which is in the latencies",
                TOGETHER.as_micros()
            ));
        }
        if self.faults.values().any(|count| *count > 0) {
            remarks.push(
                "faults are among the latencies, with the time until they were found".to_owned(),
            );
        }
        remarks
    }

    /// Whether every answer was as it should be.
    pub fn is_good(&self) -> bool {
        self.faults.is_empty() && self.answers > 0
    }
}

impl Latency {
    /// Of nanoseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: histogram.max() as f64 / 1e3,
        }
    }
}

/// As far out as there are enough latencies to say so.
fn quantiles(histogram: &Histogram<u64>) -> Vec<[f64; 2]> {
    let nines = (0..=NINES_MAX * 8).map(|eighths| f64::from(eighths) / 8.0);
    nines
        .take_while(|nines| 10_f64.powf(*nines) <= histogram.len().max(1) as f64)
        .map(|nines| {
            let quantile = 1.0 - 10_f64.powf(-nines);
            [nines, histogram.value_at_quantile(quantile) as f64 / 1e3]
        })
        .collect()
}

fn percent(part: Duration, all: Duration) -> f64 {
    100.0 * part.as_secs_f64() / all.as_secs_f64().max(1e-9)
}

/// Of percentiles.
const NINES_MAX: u32 = 5;
/// From here on it is not known whether more could have been sent.
const SATURATED_PERCENT: f64 = 90.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Digests;

    fn recorded(elapsed: Duration, cpu: Duration) -> Recorded {
        let mut latency = Histogram::new(3).unwrap();
        latency.record(1_000_000).unwrap();
        Recorded {
            elapsed,
            load: elapsed,
            answers: 1,
            counted: 1,
            faults: BTreeMap::new(),
            body_bytes: 0,
            latency,
            jobs: None,
            points: Vec::new(),
            queued: 0,
            cpu,
        }
    }

    fn outcome(recorded: &Recorded, used: Option<(Usage, Memory)>) -> Outcome {
        let settings = Settings {
            address: ([127, 0, 0, 1], 80).into(),
            connections: 1,
            pipeline: 1,
            keep_alive: true,
            pace: Pace::Open(1.0),
            duration: recorded.load,
            patience: recorded.load,
            digests: Digests::None,
            tls: None,
            streams: None,
            sources: 0,
        };
        Outcome::new("redirect", "it", &settings, recorded, used)
    }

    #[test]
    fn percentiles_are_told_to_the_ten_thousandth() {
        let mut recorded = recorded(Duration::from_secs(1), Duration::ZERO);
        recorded.latency.reset();
        for (us, times) in [(1000, 99_890), (10_000, 90), (50_000, 15), (900_000, 5)] {
            recorded.latency.record_n(us * 1000, times).unwrap();
        }
        let outcome = outcome(&recorded, None);
        let json = serde_json::to_value(&outcome).unwrap();
        // To three digits.
        let is_about = |name: &str, us: f64| {
            let told = json["latency"][name].as_f64().unwrap();
            assert!((told - us).abs() < us / 500.0, "{name}: {told}");
        };
        is_about("p50", 1000.0);
        is_about("p99", 1000.0);
        is_about("p99_9", 10_000.0);
        is_about("p99_99", 50_000.0);
        is_about("max", 900_000.0);
        let told = outcome.to_string();
        for part in ["p99 1.00 ms", "p99.9 10.0", "p99.99 50.0", "max 900.", "mean 1.0"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        // As far out as a hundred thousand go: five nines.
        assert_eq!(outcome.quantiles.last().map(|[nines, _]| *nines), Some(5.0));
        let [_, of_four] = outcome.quantiles.iter().find(|[nines, _]| *nines == 4.0).unwrap();
        assert!((of_four - 50_000.0).abs() < 100.0, "{of_four}");
    }

    #[test]
    fn a_load_that_had_nine_tenths_of_its_cpu_says_so_with_the_targets_beside_it() {
        let elapsed = Duration::from_secs(10);
        let of = |cpu, used| outcome(&recorded(elapsed, Duration::from_millis(cpu)), used);
        let free = of(8_990, None);
        assert!(!free.is_saturated && free.remarks.is_empty(), "{:?}", free.remarks);
        let full = of(9_000, None);
        assert!(full.is_saturated);
        let [remark] = &*full.remarks else { panic!("{:?}", full.remarks) };
        assert!(remark.contains("used 90 % of its CPU (the target's is not known"), "{remark}");
        let mut usage = Usage::default();
        usage.cpu = Duration::from_millis(4_200);
        let beside = of(9_900, Some((usage, Memory::default())));
        let [remark] = &*beside.remarks else { panic!("{:?}", beside.remarks) };
        assert!(remark.contains("used 99 % of its CPU (the target's 42 %)"), "{remark}");
        assert!(beside.to_string().contains("own CPU     99 % of one"), "{beside}");
    }
}
