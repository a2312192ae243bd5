//! Whose day it is: of which UTC day the clients are that are counted, by a wall clock that may be set
//! wrong, and right again.
//!
//! A day that comes by itself begins at once. One that the clock was set to begins when the clock has
//! stood there for an hour, so that what is taken back before changes nothing; and nothing goes back to
//! yesterday, which a clock that is put right after midnight would count again.

use crate::aggregator::clock::Clock;
use crate::pure::pull::rollup::Unit;

/// The day, and what the clocks did.
pub struct Days {
    /// Counted from the Unix epoch.
    pub day: u32,
    clock: Clock,
    /// When the wall clock was last seen to be set.
    set_us: Option<u64>,
    /// Since when it has said another day.
    other_since_us: Option<u64>,
}

impl Days {
    /// It is `day` now.
    pub fn new(day: u32, clock: Clock) -> Self {
        Self { day, clock, set_us: None, other_since_us: None }
    }

    /// Whether the wall clock was ever seen to be set, so that a day may have been counted before.
    pub fn is_doubted(&self) -> bool {
        self.set_us.is_some()
    }

    /// The day that begins now, if one does: then it is that day once somebody says so.
    pub fn next(&mut self, clock: &Clock) -> Option<u32> {
        let now_us = clock.now_us;
        if clock.is_set_since(&self.clock) {
            self.set_us = Some(now_us);
        }
        self.clock = *clock;
        let day = clock.minute_now() / Unit::Day.minutes();
        if day == self.day || day.checked_add(1) == Some(self.day) {
            self.other_since_us = None;
            return None;
        }
        let is_past = |at_us: u64| now_us.saturating_sub(at_us) >= SETTLED_US;
        let since_us = *self.other_since_us.get_or_insert(now_us);
        let begins = self.set_us.is_none_or(is_past) || is_past(since_us);
        begins.then_some(day)
    }
}

/// For how long a clock stands where it was set to before that is believed.
const SETTLED_US: u64 = 3600 * 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_US: u64 = 3600 * 1_000_000;
    const DAY_US: u64 = 24 * HOUR_US;

    /// A wall clock that is set, and a monotonic one that began an hour before day 100.
    struct Scene {
        days: Days,
        now_us: u64,
        set_by_us: i64,
    }

    impl Scene {
        fn new() -> Self {
            let mut scene = Self { days: Days::new(0, Clock::at(0, 0)), now_us: 0, set_by_us: 0 };
            scene.days = Days::new(99, scene.clock());
            scene
        }

        fn clock(&self) -> Clock {
            let began_us = (100 * DAY_US - HOUR_US).cast_signed();
            Clock::at(self.now_us, began_us + self.set_by_us)
        }

        /// So long passes, in a few looks, and the clock is set by so many hours; the day then.
        fn after(&mut self, minutes: u64, hours: i64) -> u32 {
            self.set_by_us += hours * HOUR_US.cast_signed();
            for _ in 0..=minutes {
                if let Some(day) = self.days.next(&self.clock()) {
                    self.days.day = day;
                }
                self.now_us += 60_000_000;
            }
            self.now_us -= 60_000_000;
            self.days.day
        }
    }

    #[test]
    fn a_day_begins_at_midnight() {
        let mut scene = Scene::new();
        assert_eq!(
            (scene.after(59, 0), scene.after(1, 0), scene.after(24 * 60, 0)),
            (99, 100, 101)
        );
        assert!(!scene.days.is_doubted());
    }

    #[test]
    fn a_clock_that_is_set_forth_and_back_changes_nothing() {
        let mut scene = Scene::new();
        assert_eq!((scene.after(1, 5), scene.after(57, 0), scene.after(1, -5)), (99, 99, 99));
        // A real midnight waits for the clock too, no longer than an hour.
        assert_eq!((scene.after(30, 0), scene.after(40, 0)), (99, 100));
    }

    #[test]
    fn where_the_clock_stays_is_believed_and_nothing_goes_back_to_yesterday() {
        let mut scene = Scene::new();
        assert_eq!((scene.after(59, 5), scene.after(2, 0)), (99, 100));
        assert_eq!(scene.after(10, -8), 100, "it was a wrong clock after all, on day 99");
        assert_eq!((scene.after(120, 0), scene.after(25 * 60, 0)), (100, 101));
        // Far off, and put right.
        assert_eq!((scene.after(59, 24 * 400), scene.after(2, 0)), (99 + 2, 99 + 402));
        assert_eq!((scene.after(59, -24 * 400), scene.after(2, 0)), (99 + 402, 99 + 2));
    }

    #[test]
    fn a_clock_that_is_set_again_and_again_holds_up_no_day_for_longer() {
        let mut scene = Scene::new();
        for _ in 0..6 {
            scene.after(20, 1);
        }
        assert_eq!(scene.days.day, 100);
    }
}
