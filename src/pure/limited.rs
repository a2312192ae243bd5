//! How often an error that repeats is said.

use std::fmt;

/// One place in the code that may have the same to say a thousand times a second: it says so once
/// per interval, and with the next line how often it kept quiet.
#[derive(Debug)]
pub struct Limited {
    interval_us: u64,
    open_at_us: u64,
    kept_quiet: u64,
}

impl Limited {
    /// One line per `interval_us` microseconds.
    pub const fn per(interval_us: u64) -> Self {
        Self { interval_us, open_at_us: 0, kept_quiet: 0 }
    }

    /// Whether something that happened at `now_us` (any clock that does not go back) is said now,
    /// and what to add to it.
    pub fn pass(&mut self, now_us: u64) -> Option<Repeats> {
        if now_us < self.open_at_us {
            self.kept_quiet += 1;
            return None;
        }
        self.open_at_us = now_us.saturating_add(self.interval_us);
        Some(Repeats(std::mem::take(&mut self.kept_quiet)))
    }
}

/// The end of a line that was limited: empty, or ` (and 123 more since the last such line)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeats(pub u64);

impl fmt::Display for Repeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            more => write!(f, " (and {more} more since the last such line)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_interval_and_the_rest_is_counted() {
        let mut limited = Limited::per(10);
        let said: Vec<(u64, String)> = [0, 1, 9, 10, 11, 30, 41]
            .into_iter()
            .filter_map(|now| limited.pass(now).map(|repeats| (now, repeats.to_string())))
            .collect();
        let and = |more| format!(" (and {more} more since the last such line)");
        assert_eq!(said, [(0, String::new()), (10, and(2)), (30, and(1)), (41, String::new())]);
    }
}
