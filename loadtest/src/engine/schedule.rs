//! When jobs are due: a constant rate from the beginning, that nothing holds up.

use std::time::Duration;

use super::{Pace, nanoseconds};

/// The arrivals of a run, taken one after the other.
pub(super) struct Schedule {
    /// Nanoseconds from one to the next; none without a rate.
    apart: Option<f64>,
    /// How many there are in all.
    all: u64,
    taken: u64,
}

impl Schedule {
    pub(super) fn new(pace: Pace, duration: Duration) -> Self {
        let apart = match pace {
            Pace::Open(per_second) => Some(1e9 / per_second),
            Pace::Closed | Pace::Once => None,
        };
        let all = apart.map_or(0, |apart| whole(nanoseconds(duration) as f64 / apart));
        Self { apart, all, taken: 0 }
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        let apart = self.apart.filter(|_| self.has_more())?;
        Some(whole(self.taken as f64 * apart))
    }

    /// Where arrivals are so many that to wake for each, and for each answer, would cost the load more than they do:
    /// for how long it looks at nothing, nanoseconds, so that it sends and receives several at a time. Each still
    /// counts from when it was due.
    pub(super) fn pause(&self, now: u64) -> Option<u64> {
        let is_dense = self.apart.is_some_and(|apart| apart < TOGETHER.as_nanos() as f64);
        (is_dense && self.has_more()).then(|| nanoseconds(TOGETHER) - now % nanoseconds(TOGETHER))
    }

    pub(super) fn has_more(&self) -> bool {
        self.taken < self.all
    }

    pub(super) fn is_due(&self, now: u64) -> bool {
        self.next_due().is_some_and(|due| due <= now)
    }

    /// How many have become due, whether or not they were taken.
    pub(super) fn due(&self, now: u64) -> u64 {
        self.apart.map_or(0, |apart| (whole(now as f64 / apart) + 1).min(self.all))
    }

    /// How many were taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes the next one if it is due, and says since when.
    pub(super) fn take(&mut self, now: u64) -> Option<u64> {
        let due = self.next_due().filter(|due| *due <= now)?;
        self.taken += 1;
        Some(due)
    }

    /// Takes the next one if it has been due for longer than `age`.
    pub(super) fn take_older(&mut self, now: u64, age: u64) -> Option<u64> {
        self.take(now.saturating_sub(age))
    }
}

/// How often the load looks where arrivals are closer than that: short beside the latencies that matter then.
pub const TOGETHER: Duration = Duration::from_micros(50);

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts and nanoseconds of a run, far below 2^53"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_keeps_its_time() {
        let mut schedule = Schedule::new(Pace::Open(1000.0), Duration::from_millis(5));
        assert_eq!(schedule.take(0), Some(0));
        assert_eq!(schedule.take(999_999), None);
        assert_eq!([0, 999_999, 3_500_000, u64::MAX].map(|now| schedule.due(now)), [1, 1, 4, 5]);
        // A stall: three are due at once, each since its own time.
        let late: Vec<u64> = std::iter::from_fn(|| schedule.take(3_500_000)).collect();
        assert_eq!(late, [1_000_000, 2_000_000, 3_000_000]);
        assert!(schedule.has_more());
        assert_eq!(schedule.take_older(6_000_000, 2_000_000), Some(4_000_000));
        assert!(!schedule.has_more());
        assert_eq!(schedule.take(u64::MAX), None);
    }

    #[test]
    fn a_dense_schedule_is_looked_at_every_now_and_then() {
        let schedule = |rate| Schedule::new(Pace::Open(rate), Duration::from_millis(5));
        assert_eq!(schedule(20_000.0).pause(7), None);
        assert_eq!(schedule(40_000.0).pause(0), Some(50_000));
        assert_eq!(schedule(40_000.0).pause(120_000), Some(30_000));
        let mut over = schedule(40_000.0);
        while over.take(u64::MAX).is_some() {}
        assert_eq!(over.pause(0), None);
    }
}
