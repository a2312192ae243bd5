//! How many connections there are, all together and of each client, and how fast each client
//! asks: what workers must know of each other to hold the limits.
//!
//! Entered when a connection is accepted and left when it is closed; on the request path it is
//! looked at only where the operator has set `requests_per_client`.

use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use siphasher::sip::SipHasher13;

use crate::pure::config::values::Rate;

/// Shared by all workers. A client is found by two hashes of its address in two rows; what counts
/// is the smaller of the two, so that only a collision in both could blame a client for another.
pub struct Ledger {
    keys: [(u64, u64); ROWS],
    open: AtomicUsize,
    connections: [Box<[AtomicU32]>; ROWS],
    used_up_at_us: [Box<[AtomicU64]>; ROWS],
}

/// One client's places in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place([usize; ROWS]);

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// All clients together hold as many as allowed.
    All,
    /// This client does.
    Client,
}

impl Ledger {
    /// An empty ledger, whose hashes nobody can predict from outside given random `keys`.
    pub fn new(keys: [(u64, u64); ROWS]) -> Arc<Self> {
        Arc::new(Self {
            keys,
            open: AtomicUsize::new(0),
            connections: std::array::from_fn(|_| (0..PLACES).map(|_| AtomicU32::new(0)).collect()),
            used_up_at_us: std::array::from_fn(|_| {
                (0..PLACES).map(|_| AtomicU64::new(0)).collect()
            }),
        })
    }

    /// The places of the client with this key (`http1::forwarded::client_key`).
    pub fn place(&self, client_key: [u8; 16]) -> Place {
        Place(self.keys.map(|(first, second)| {
            let mut hasher = SipHasher13::new_with_keys(first, second);
            hasher.write(&client_key);
            // The number of places is a power of two far below 2^32.
            #[expect(clippy::cast_possible_truncation, reason = "masked to the table's size")]
            let place = hasher.finish() as usize & (PLACES - 1);
            place
        }))
    }

    /// Counts one more connection, unless all together would then be more than `all_max`.
    pub fn enter(&self, all_max: usize) -> Result<(), Refused> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= all_max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Refused::All);
        }
        Ok(())
    }

    /// Takes back what [`Self::enter`] counted.
    pub fn leave(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts one more connection of the client, unless it would then have more than `max`
    /// (0 for no limit).
    pub fn enter_client(&self, place: Place, max: usize) -> Result<(), Refused> {
        let mut least = u32::MAX;
        for (row, at) in self.connections.iter().zip(place.0) {
            least = least.min(row[at].fetch_add(1, Ordering::Relaxed));
        }
        if max > 0 && least as usize >= max {
            self.leave_client(place);
            return Err(Refused::Client);
        }
        Ok(())
    }

    /// Takes back what [`Self::enter_client`] counted.
    pub fn leave_client(&self, place: Place) {
        for (row, at) in self.connections.iter().zip(place.0) {
            row[at].fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Charges the client for one more request at `now_us`, unless that would exceed `rate`, a
    /// burst of one period allowed; then says after how many microseconds it would not (the
    /// generic cell rate algorithm: one number per client, the time at which it will have used up
    /// what it asked for).
    pub fn charge(&self, place: Place, rate: Rate, now_us: u64) -> Result<(), u64> {
        let (period_us, cost_us) = costs(rate);
        let mut wait_us = u64::MAX;
        // Two clients may share a place in one row: only where both rows refuse, it is this one.
        let mut charged = false;
        for (row, at) in self.used_up_at_us.iter().zip(place.0) {
            let used_up = row[at].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used_up| {
                let next = used_up.max(now_us) + cost_us;
                (next <= now_us + period_us).then_some(next)
            });
            match used_up {
                Ok(_) => charged = true,
                Err(used_up) => {
                    wait_us = wait_us.min((used_up + cost_us).saturating_sub(now_us + period_us));
                }
            }
        }
        if charged { Ok(()) } else { Err(wait_us) }
    }

    /// Takes back a charge.
    pub fn refund(&self, place: Place, rate: Rate) {
        let (_, cost_us) = costs(rate);
        for (row, at) in self.used_up_at_us.iter().zip(place.0) {
            row[at].fetch_sub(cost_us, Ordering::Relaxed);
        }
    }
}

/// A period, and what of it one request uses up, in microseconds.
fn costs(rate: Rate) -> (u64, u64) {
    let period_us = u64::try_from(rate.per.as_micros()).unwrap_or(u64::MAX);
    (period_us, period_us / u64::from(rate.count.max(1)))
}

/// Rows of the table.
pub const ROWS: usize = 2;

/// Places in a row: at 64 Ki, two clients share one place with a probability of 0.002 %, and both
/// places with that squared.
const PLACES: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ledger() -> Arc<Ledger> {
        Ledger::new([(1, 2), (3, 4)])
    }

    #[test]
    fn a_client_is_held_to_its_own_connections() {
        let ledger = ledger();
        let (one, other) = (ledger.place([1; 16]), ledger.place([2; 16]));
        assert_ne!(one, other);
        assert!(ledger.enter_client(one, 2).is_ok());
        assert!(ledger.enter_client(one, 2).is_ok());
        assert_eq!(ledger.enter_client(one, 2), Err(Refused::Client));
        assert!(ledger.enter_client(other, 2).is_ok());
        ledger.leave_client(one);
        assert!(ledger.enter_client(one, 2).is_ok());
        assert!(ledger.enter_client(one, 0).is_ok());
    }

    #[test]
    fn all_together_are_held_to_theirs() {
        let ledger = ledger();
        assert!(ledger.enter(1).is_ok());
        assert_eq!(ledger.enter(1), Err(Refused::All));
        ledger.leave();
        assert!(ledger.enter(1).is_ok());
    }

    #[test]
    fn a_rate_allows_a_burst_and_then_its_pace() {
        let ledger = ledger();
        let place = ledger.place([1; 16]);
        let rate = Rate { count: 10, per: Duration::from_secs(1) };
        let start = 5_000_000;
        let allowed = (0..20).filter(|_| ledger.charge(place, rate, start).is_ok()).count();
        assert_eq!(allowed, 10);
        assert_eq!(ledger.charge(place, rate, start), Err(100_000));
        assert_eq!(ledger.charge(place, rate, start + 99_999), Err(1));
        assert_eq!(ledger.charge(place, rate, start + 100_000), Ok(()));
        assert_eq!(ledger.charge(place, rate, start + 100_000), Err(100_000));
        ledger.refund(place, rate);
        assert_eq!(ledger.charge(place, rate, start + 100_000), Ok(()));
    }
}
