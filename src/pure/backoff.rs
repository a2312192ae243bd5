//! How long something that failed is left alone before it is tried again.

/// What has failed so many times in a row is left alone for 1 s, 2 s, 4 s … 30 s.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    times: u32,
    until_us: u64,
}

impl Backoff {
    /// Whether `now_us` (any clock that does not go back) is too early to try again.
    pub fn holds(&self, now_us: u64) -> bool {
        now_us < self.until_us
    }

    /// Until when it is too early.
    pub fn until_us(&self) -> u64 {
        self.until_us
    }

    /// It failed at `now_us`. What had not failed for so long that the longest wait is over twice
    /// begins anew.
    pub fn step(&mut self, now_us: u64) {
        if now_us >= self.until_us.saturating_add(WAIT_US_MAX) {
            self.times = 0;
        }
        let wait_us = (WAIT_US_MIN << self.times).min(WAIT_US_MAX);
        self.until_us = now_us.saturating_add(wait_us);
        self.times = (self.times + 1).min(DOUBLINGS_MAX);
    }
}

/// The first wait.
const WAIT_US_MIN: u64 = 1_000_000;
/// The longest wait.
const WAIT_US_MAX: u64 = 30_000_000;
/// Failures after which waiting does not grow any more.
const DOUBLINGS_MAX: u32 = 5;
const _: () = assert!(WAIT_US_MIN << DOUBLINGS_MAX >= WAIT_US_MAX);

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails whenever it may be tried again, for ten minutes; says how long it was left alone.
    fn waits(mut backoff: Backoff, from_s: u64) -> Vec<u64> {
        let mut failed_s = Vec::new();
        for second in from_s..from_s + 600 {
            if !backoff.holds(second * 1_000_000) {
                backoff.step(second * 1_000_000);
                failed_s.push(second);
            }
        }
        failed_s.windows(2).map(|two| two[1] - two[0]).collect()
    }

    #[test]
    fn waits_double_up_to_half_a_minute() {
        assert_eq!(waits(Backoff::default(), 5)[..8], [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn what_went_well_for_long_begins_anew() {
        let mut backoff = Backoff::default();
        for second in [0, 1, 3, 7, 15] {
            assert!(!backoff.holds(second * 1_000_000));
            backoff.step(second * 1_000_000);
        }
        assert!(backoff.holds(30_999_999));
        assert_eq!(waits(backoff, 31)[..1], [30], "it failed at once again");
        assert_eq!(waits(backoff, 61)[..3], [1, 2, 4]);
    }
}
