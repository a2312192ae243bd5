//! The two clocks: events carry the monotonic one, counts stand under the wall's.

use std::sync::Arc;

use rustix::time::{ClockId, clock_gettime};

use crate::messages::clock::monotonic_us;

/// How the clocks stood when they were last looked at.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The monotonic clock, in microseconds: what [`Event::at_us`] counts in.
    ///
    /// [`Event::at_us`]: crate::pure::pull::event::Event::at_us
    pub now_us: u64,
    /// The wall clock less the monotonic one, in microseconds. It changes when the clock is set.
    offset_us: i64,
}

/// What the aggregator looks at to know the time.
pub type Look = Arc<dyn Fn() -> Clock + Send + Sync>;

impl Clock {
    /// Clocks that stand so: the monotonic one, and by how much the wall's differs, in microseconds.
    pub fn at(now_us: u64, offset_us: i64) -> Self {
        Self { now_us, offset_us }
    }

    /// Looks at both clocks.
    pub fn look() -> Self {
        let wall = clock_gettime(ClockId::Realtime);
        let wall_us = wall.tv_sec * 1_000_000 + wall.tv_nsec / 1_000;
        let now_us = monotonic_us();
        Self { now_us, offset_us: wall_us.saturating_sub_unsigned(now_us) }
    }

    /// Whether the wall clock was set between that look and this one, by a minute or more: what is less is
    /// what clocks that are kept right do every day.
    pub fn is_set_since(&self, before: &Self) -> bool {
        self.offset_us.abs_diff(before.offset_us) >= 60_000_000
    }

    /// The wall clock's minute at `at_us`, counted from the Unix epoch; never before it.
    pub fn minute(&self, at_us: u64) -> u32 {
        let wall_us = i64::try_from(at_us).unwrap_or(i64::MAX).saturating_add(self.offset_us);
        u32::try_from(wall_us.div_euclid(60_000_000).max(0)).unwrap_or(u32::MAX)
    }

    /// The wall clock's minute now.
    pub fn minute_now(&self) -> u32 {
        self.minute(self.now_us)
    }
}

/// The first minute of the month in which `minute` is.
pub fn month_begins(minute: u32) -> u32 {
    let utc = jiff::tz::TimeZone::UTC;
    let time = jiff::Timestamp::from_second(i64::from(minute) * 60).unwrap_or_default();
    let month = utc.to_datetime(time).date().first_of_month();
    let begins = utc.to_timestamp(month.at(0, 0, 0, 0)).unwrap_or_default();
    u32::try_from(begins.as_second() / 60).unwrap_or(0)
}

/// The longest month.
pub const MONTH_MINUTES_MAX: u32 = 31 * 24 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_moves_events_back_and_never_before_the_epoch() {
        let at = |offset_us| Clock { now_us: 90_000_000, offset_us };
        assert_eq!(at(0).minute_now(), 1);
        assert_eq!(at(3600 * 1_000_000).minute(0), 60);
        assert_eq!(at(-80_000_000).minute_now(), 0);
        assert_eq!(at(-900_000_000).minute_now(), 0);
        assert_eq!(at(i64::MAX).minute(u64::MAX), u32::MAX);
        assert!(at(0).is_set_since(&at(60_000_000)) && !at(59_000_000).is_set_since(&at(0)));
    }
}
