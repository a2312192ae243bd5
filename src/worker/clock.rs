//! A worker's sense of time: the sweep's number, and the date that its answers carry.

use std::cell::Cell;
use std::time::SystemTime;

use jiff::Timestamp;

use crate::pure::http1::encode::DATE_BYTES;

/// Read often, moved on by the tick.
pub struct Clock {
    sweep: Cell<u64>,
    second: Cell<u64>,
    date: Cell<[u8; DATE_BYTES]>,
}

/// See [`Clock::sweep`].
const SWEEPS_PER_S: u64 = 10;

impl Default for Clock {
    /// At sweep 0, with today's date.
    fn default() -> Self {
        let clock = Self {
            sweep: Cell::new(0),
            second: Cell::new(u64::MAX),
            date: Cell::new(*b"Thu, 01 Jan 1970 00:00:00 GMT"),
        };
        clock.set_date();
        clock
    }
}

impl Clock {
    /// The sweep's number: tenths of a second since the worker began.
    pub fn sweep(&self) -> u64 {
        self.sweep.get()
    }

    /// Seconds since the worker began.
    pub fn seconds(&self) -> u32 {
        u32::try_from(self.sweep() / SWEEPS_PER_S).unwrap_or(u32::MAX)
    }

    /// One sweep later.
    pub fn advance(&self) {
        self.sweep.set(self.sweep.get() + 1);
        self.set_date();
    }

    /// The `Date` field's value, right to the second and a tenth.
    pub fn date(&self) -> [u8; DATE_BYTES] {
        self.date.get()
    }

    /// The time of day, in seconds since 1970, right to the second and a tenth.
    pub fn unix_s(&self) -> u64 {
        self.second.get()
    }

    /// The time of day, in microseconds since 1970, for the access log.
    pub fn unix_us(&self) -> u64 {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since_epoch.map_or(0, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// Formats the date, once per second (RFC 9110, 5.6.7).
    fn set_date(&self) {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let second = since_epoch.map_or(0, |since| since.as_secs());
        if self.second.replace(second) == second {
            return;
        }
        let Ok(timestamp) = Timestamp::from_second(i64::try_from(second).unwrap_or(0)) else {
            return;
        };
        let text = timestamp.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        if let Ok(date) = text.as_bytes().try_into() {
            self.date.set(date);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_an_imf_fixdate() {
        let date = String::from_utf8(Clock::default().date().to_vec()).unwrap();
        assert!(date.ends_with(" GMT"), "{date}");
        assert_eq!(date.as_bytes()[3], b',', "{date}");
        assert_ne!(date, "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
