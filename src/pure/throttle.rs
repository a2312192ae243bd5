//! How often somebody may try to sign in: the first failures cost nothing, then each costs twice the
//! wait of the one before. Nothing is known here but numbers; whose they are, the caller knows.

use std::collections::{HashMap, VecDeque};

/// Failures, by whose they are.
pub struct Throttle {
    limits: Limits,
    failures: HashMap<u64, Failures>,
}

/// What is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Failures that cost nothing.
    pub free: u32,
    /// The longest wait, in seconds.
    pub wait_max_s: u64,
    /// How long nothing has to happen until all is forgotten, in seconds.
    pub forgotten_after_s: u64,
    /// How many are remembered at once. When there are more, the one that is longest ago is forgotten.
    pub many_max: usize,
}

#[derive(Clone, Copy)]
struct Failures {
    many: u32,
    last_s: u64,
}

impl Throttle {
    /// Nobody has failed yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, failures: HashMap::new() }
    }

    /// How many seconds `key` has to wait, at `now_s` of a clock that is not set back.
    ///
    /// # Errors
    /// These seconds, at least 1.
    pub fn check(&self, key: u64, now_s: u64) -> Result<(), u64> {
        let Some(Failures { many, last_s }) = self.failures.get(&key) else {
            return Ok(());
        };
        let Some(beyond) = many.checked_sub(self.limits.free) else {
            return Ok(());
        };
        let wait = 1u64.checked_shl(beyond).unwrap_or(u64::MAX).min(self.limits.wait_max_s);
        match (last_s + wait).checked_sub(now_s) {
            None | Some(0) => Ok(()),
            Some(left) => Err(left),
        }
    }

    /// Counts a try as failed. To be called before it is known, so that many at once are as many.
    pub fn count(&mut self, key: u64, now_s: u64) {
        let limits = self.limits;
        self.failures.retain(|_, one| now_s < one.last_s + limits.forgotten_after_s);
        if self.failures.len() >= limits.many_max
            && !self.failures.contains_key(&key)
            && let Some(oldest) = self.oldest()
        {
            self.failures.remove(&oldest);
        }
        let failures = self.failures.entry(key).or_insert(Failures { many: 0, last_s: now_s });
        failures.many = failures.many.saturating_add(1);
        failures.last_s = now_s;
    }

    /// The try went well, and those before it were mistakes.
    pub fn forget(&mut self, key: u64) {
        self.failures.remove(&key);
    }

    /// The try went well; those before it stand.
    pub fn take_back(&mut self, key: u64) {
        if let Some(failures) = self.failures.get_mut(&key) {
            failures.many = failures.many.saturating_sub(1);
        }
    }

    fn oldest(&self) -> Option<u64> {
        self.failures.iter().min_by_key(|(_, one)| one.last_s).map(|(key, _)| *key)
    }
}

/// So many failures in so long, and no more: for what is short, and guessed by who knows the rest. There are as many
/// keys as are given, those of accounts whose passwords are known.
pub struct Bound {
    many: usize,
    within_s: u64,
    failures: HashMap<u64, VecDeque<u64>>,
}

impl Bound {
    /// So many in so many seconds.
    pub fn new(many: usize, within_s: u64) -> Self {
        Self { many, within_s, failures: HashMap::new() }
    }

    /// Counts a try as failed, at `now_s` of a clock that is not set back; before it is known, so that many at
    /// once are as many.
    ///
    /// # Errors
    /// Where there were too many: in how many seconds there is one less, at least 1.
    pub fn count(&mut self, key: u64, now_s: u64) -> Result<(), u64> {
        let within_s = self.within_s;
        let is_over = |at: &u64| at.saturating_add(within_s) <= now_s;
        self.failures.retain(|_, times| !times.back().is_none_or(is_over));
        let times = self.failures.entry(key).or_default();
        while times.front().is_some_and(is_over) {
            times.pop_front();
        }
        match times.front() {
            Some(first) if times.len() >= self.many => Err(first + within_s - now_s),
            Some(_) | None => {
                times.push_back(now_s);
                Ok(())
            }
        }
    }

    /// The try went well; those before it stand.
    pub fn take_back(&mut self, key: u64) {
        if let Some(times) = self.failures.get_mut(&key) {
            times.pop_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { free: 3, wait_max_s: 60, forgotten_after_s: 100, many_max: 3 };

    #[test]
    fn each_failure_costs_twice_the_wait_up_to_a_bound() {
        let mut throttle = Throttle::new(LIMITS);
        let mut waits = Vec::new();
        for _ in 0..12 {
            throttle.count(1, 50);
            waits.push(throttle.check(1, 50).err().unwrap_or(0));
        }
        assert_eq!(waits, [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]);
        assert_eq!(throttle.check(1, 109), Err(1));
        assert_eq!(throttle.check(1, 110), Ok(()));
        assert_eq!(throttle.check(2, 50), Ok(()), "another's failures are another's");
        for _ in 0..200 {
            throttle.count(1, 50);
        }
        assert_eq!(throttle.check(1, 50), Err(60));
    }

    #[test]
    fn beyond_the_bound_there_is_one_try_for_each_that_is_long_ago() {
        let mut bound = Bound::new(3, 100);
        for now_s in [0, 10, 20] {
            assert_eq!(bound.count(1, now_s), Ok(()));
        }
        assert_eq!(bound.count(1, 20), Err(80));
        assert_eq!(bound.count(1, 99), Err(1));
        assert_eq!(bound.count(2, 20), Ok(()), "another's failures are another's");
        assert_eq!(bound.count(1, 100), Ok(()));
        assert_eq!(bound.count(1, 100), Err(10));
        bound.take_back(1);
        assert_eq!(bound.count(1, 100), Ok(()), "one that went well is none");
        assert_eq!(bound.count(1, 100), Err(10));
        assert_eq!(bound.count(1, 300), Ok(()));
        assert_eq!(bound.failures.len(), 1, "what is over is forgotten");
    }

    #[test]
    fn success_and_time_forget() {
        let mut throttle = Throttle::new(LIMITS);
        for _ in 0..4 {
            throttle.count(1, 0);
        }
        throttle.take_back(1);
        assert_eq!(throttle.check(1, 0), Err(1));
        throttle.forget(1);
        assert_eq!(throttle.check(1, 0), Ok(()));
        for _ in 0..9 {
            throttle.count(1, 0);
        }
        throttle.count(1, 100);
        assert_eq!(throttle.check(1, 100), Ok(()));
    }

    #[test]
    fn more_than_can_be_remembered_forget_the_oldest() {
        let mut throttle = Throttle::new(LIMITS);
        for (key, now_s) in [(1, 0), (2, 1), (3, 2), (4, 3), (2, 4)] {
            throttle.count(key, now_s);
        }
        let mut keys: Vec<u64> = throttle.failures.keys().copied().collect();
        keys.sort_unstable();
        assert_eq!(keys, [2, 3, 4]);
    }
}
