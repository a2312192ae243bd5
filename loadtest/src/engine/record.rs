//! What came back, and when.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::nanoseconds;
use super::reader::{Answer, Fault};

/// A run, as it was.
pub struct Recorded {
    /// From the first send to the last answer.
    pub elapsed: Duration,
    /// For how long requests were sent.
    pub load: Duration,
    /// Answers that were as they should be.
    pub answers: u64,
    /// Those of them that a gateway that counts has counted.
    pub counted: u64,
    /// What went wrong, and how often.
    pub faults: BTreeMap<Fault, u64>,
    /// Bytes of bodies.
    pub body_bytes: u64,
    /// Latencies of requests, in nanoseconds; those without an answer with as long as they waited.
    pub latency: Histogram<u64>,
    /// Latencies of jobs of several requests, and how many of these failed.
    pub jobs: Option<(Histogram<u64>, u64)>,
    /// In the course of time.
    pub points: Vec<Point>,
    /// Jobs that were due when no connection had room for them.
    pub queued: u64,
    /// CPU time of the thread that laid the load on.
    pub cpu: Duration,
}

/// A stretch of a run.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Point {
    /// Its end, in seconds since the beginning.
    pub at_s: f64,
    /// Answers a second.
    pub per_second: f64,
    /// Bytes of bodies a second.
    pub bytes_per_second: f64,
    /// Latency that half stayed below, in microseconds.
    pub p50_us: f64,
    /// That 99 of a hundred stayed below.
    pub p99_us: f64,
    /// The highest.
    pub max_us: f64,
    /// Faults.
    pub faults: u64,
}

/// What a person who watches is shown.
pub struct Glimpse {
    /// The stretch that has just ended.
    pub point: Point,
    /// Answers so far.
    pub answers: u64,
    /// Faults so far.
    pub faults: u64,
}

pub(super) struct Recorder {
    recorded: Recorded,
    /// Of the stretch under way.
    part: Histogram<u64>,
    part_since: u64,
    part_length: u64,
    part_bytes: u64,
    part_faults: u64,
}

impl Recorder {
    pub(super) fn new(duration: Duration, has_jobs: bool) -> io::Result<Self> {
        let recorded = Recorded {
            elapsed: Duration::ZERO,
            load: Duration::ZERO,
            answers: 0,
            counted: 0,
            faults: BTreeMap::new(),
            body_bytes: 0,
            latency: histogram()?,
            jobs: if has_jobs { Some((histogram()?, 0)) } else { None },
            points: Vec::new(),
            queued: 0,
            cpu: Duration::ZERO,
        };
        let part_length = (nanoseconds(duration) / POINTS).clamp(PART_NS_MIN, PART_NS_MAX);
        Ok(Self {
            recorded,
            part: histogram()?,
            part_since: 0,
            part_length,
            part_bytes: 0,
            part_faults: 0,
        })
    }

    pub(super) fn answer(&mut self, now: u64, since: u64, is_counted: bool, answer: Answer) {
        self.recorded.body_bytes += answer.body_bytes;
        self.part_bytes += answer.body_bytes;
        if let Some(fault) = answer.fault {
            return self.failure(now, since, fault);
        }
        self.recorded.answers += 1;
        self.recorded.counted += u64::from(is_counted);
        self.latency(now, since);
    }

    /// A request without a good answer. It has waited, and is not left out of the latencies.
    pub(super) fn failure(&mut self, now: u64, since: u64, fault: Fault) {
        *self.recorded.faults.entry(fault).or_default() += 1;
        self.part_faults += 1;
        self.latency(now, since);
    }

    pub(super) fn job(&mut self, now: u64, since: u64, has_failed: bool) {
        if let Some((latency, failed)) = &mut self.recorded.jobs {
            latency.saturating_record(now.saturating_sub(since).max(1));
            *failed += u64::from(has_failed);
        }
    }

    pub(super) fn queued(&mut self, jobs: u64) {
        self.recorded.queued += jobs;
    }

    fn latency(&mut self, now: u64, since: u64) {
        let latency = now.saturating_sub(since).max(1);
        self.recorded.latency.saturating_record(latency);
        self.part.saturating_record(latency);
    }

    /// The stretch under way, if it is over.
    pub(super) fn glimpse(&mut self, now: u64) -> Option<Glimpse> {
        let length = now.saturating_sub(self.part_since);
        if length < self.part_length {
            return None;
        }
        let seconds = length as f64 / 1e9;
        let good = self.part.len().saturating_sub(self.part_faults);
        let point = Point {
            at_s: now as f64 / 1e9,
            per_second: good as f64 / seconds,
            bytes_per_second: self.part_bytes as f64 / seconds,
            p50_us: self.part.value_at_quantile(0.5) as f64 / 1e3,
            p99_us: self.part.value_at_quantile(0.99) as f64 / 1e3,
            max_us: self.part.max() as f64 / 1e3,
            faults: self.part_faults,
        };
        self.part.reset();
        (self.part_since, self.part_bytes, self.part_faults) = (now, 0, 0);
        self.recorded.points.push(point);
        let Recorded { answers, faults, .. } = &self.recorded;
        Some(Glimpse { point, answers: *answers, faults: faults.values().sum() })
    }

    /// No more is sent from now on.
    pub(super) fn load_ended(&mut self, now: u64) {
        self.recorded.load = Duration::from_nanos(now);
    }

    pub(super) fn end(&mut self, now: u64, cpu: Duration) {
        self.recorded.elapsed = Duration::from_nanos(now);
        if self.recorded.load.is_zero() {
            self.recorded.load = self.recorded.elapsed;
        }
        self.recorded.cpu = cpu;
    }

    pub(super) fn finish(self) -> Recorded {
        self.recorded
    }
}

/// From a nanosecond to an hour, to three digits.
fn histogram() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).map_err(io::Error::other)
}

/// About as many as a plot can show.
const POINTS: u64 = 100;
const PART_NS_MIN: u64 = 100_000_000;
const PART_NS_MAX: u64 = 1_000_000_000;
