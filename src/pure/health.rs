//! Which registries have failed lately, where others have the same.

use std::collections::HashMap;

use crate::pure::backoff::Backoff;

/// Registries by their bases. There are as many as are configured.
#[derive(Debug, Default)]
pub struct Health(HashMap<Box<str>, Backoff>);

impl Health {
    /// Whether it is too early to ask this one again.
    pub fn is_ill(&self, base: &str, now_us: u64) -> bool {
        self.ill_until_us(base, now_us).is_some()
    }

    /// The same, and until when.
    pub fn ill_until_us(&self, base: &str, now_us: u64) -> Option<u64> {
        let failures = self.0.get(base).filter(|failures| failures.holds(now_us));
        failures.map(Backoff::until_us)
    }

    /// It could not be asked at `now_us`. Those who asked at the same time say it once.
    pub fn failed(&mut self, base: &str, now_us: u64) {
        if !self.is_ill(base, now_us) {
            self.0.entry(base.into()).or_default().step(now_us);
        }
    }

    /// It has answered.
    pub fn well(&mut self, base: &str) {
        self.0.remove(base);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_fails_is_left_alone_longer_and_longer_until_it_answers() {
        let mut health = Health::default();
        let ill = |health: &Health, at_s: f64| {
            let now = std::time::Duration::from_secs_f64(at_s).as_micros().try_into().unwrap();
            ["a", "b"].map(|base| health.is_ill(base, now))
        };
        assert_eq!(ill(&health, 0.0), [false, false]);
        health.failed("a", 0);
        health.failed("a", 500_000);
        assert_eq!(ill(&health, 0.9), [true, false]);
        assert_eq!(ill(&health, 1.0), [false, false], "it may be tried");
        health.failed("a", 1_000_000);
        assert_eq!(ill(&health, 2.9), [true, false]);
        health.well("a");
        assert_eq!(ill(&health, 2.9), [false, false]);
        health.failed("a", 3_000_000);
        assert_eq!(ill(&health, 4.0), [false, false], "it begins anew");
    }
}
