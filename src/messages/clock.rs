//! The one monotonic clock that all threads mean: an event's time must compare across them.

use rustix::time::{ClockId, clock_gettime};

/// Microseconds of the system's monotonic clock.
pub fn monotonic_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // The monotonic clock begins at zero with the system: neither part is negative.
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds * 1_000_000 + nanoseconds / 1_000
}
