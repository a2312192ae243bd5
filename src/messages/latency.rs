//! How long a worker's answers took, on the way to `/metrics`.
//!
//! Latencies go into a histogram that changes hands whole: a full one out, an empty one back,
//! nothing allocated, and nothing lost while the reader is slow.

use std::mem;

use crossbeam_channel::{Receiver, Sender, bounded};
use hdrhistogram::Histogram;

/// Makes the two ends of one worker's latencies. Two histograms exist: the one being recorded into,
/// and one that is full, being read, or empty and on its way back.
pub fn channel() -> (LatencySender, LatencyReceiver) {
    let (full, to_read) = bounded(1);
    let (emptied, to_fill) = bounded(1);
    // The channel is new and empty: there is room.
    let _ = emptied.try_send(Box::new(Latencies::new()));
    let sender = LatencySender { current: Box::new(Latencies::new()), full, to_fill };
    (sender, LatencyReceiver { to_read, emptied })
}

/// Latencies in nanoseconds: to two significant digits from a microsecond to a minute, longer ones
/// as a minute.
pub struct Latencies {
    histogram: Histogram<u64>,
    sum_ns: u64,
}

impl Latencies {
    /// None yet.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, 2)
            .unwrap_or_else(|error| unreachable!("constant bounds are valid: {error}"));
        Self { histogram, sum_ns: 0 }
    }

    /// `count` requests took `ns` each.
    #[inline]
    pub fn record(&mut self, ns: u64, count: u64) {
        self.histogram.saturating_record_n(ns, count);
        self.sum_ns = self.sum_ns.saturating_add(ns.saturating_mul(count));
    }

    /// Adds what `other` holds.
    pub fn merge(&mut self, other: &Self) {
        if self.histogram.add(&other.histogram).is_err() {
            unreachable!("all histograms have the same bounds");
        }
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
    }

    /// How many were recorded.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// How many took at most `ns`, give or take those within one percent of it.
    pub fn count_up_to(&self, ns: u64) -> u64 {
        self.histogram.count_between(0, ns)
    }

    /// All of them added up, exactly.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    fn clear(&mut self) {
        self.histogram.reset();
        self.sum_ns = 0;
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// A worker's end.
pub struct LatencySender {
    current: Box<Latencies>,
    full: Sender<Box<Latencies>>,
    to_fill: Receiver<Box<Latencies>>,
}

impl LatencySender {
    /// `count` requests took `ns` each. Allocates nothing.
    #[inline]
    pub fn record(&mut self, ns: u64, count: u64) {
        self.current.record(ns, count);
    }

    /// Sends what was recorded, if the reader has given the last one back; else goes on recording
    /// into the same. Called at every tick. Never blocks, loses nothing.
    pub fn hand_over(&mut self) {
        if self.current.count() == 0 {
            return;
        }
        let Ok(empty) = self.to_fill.try_recv() else {
            return;
        };
        let full = mem::replace(&mut self.current, empty);
        // Both histograms were here, so the channel has room; it refuses only when nobody reads.
        if let Err(refused) = self.full.try_send(full) {
            self.current = refused.into_inner();
        }
    }
}

/// The admin listener's end of one worker's latencies.
pub struct LatencyReceiver {
    to_read: Receiver<Box<Latencies>>,
    emptied: Sender<Box<Latencies>>,
}

impl LatencyReceiver {
    /// Adds what has arrived to `total`. Never blocks.
    pub fn take_into(&self, total: &mut Latencies) {
        while let Ok(mut full) = self.to_read.try_recv() {
            total.merge(&full);
            full.clear();
            // There is room for the only one that was out; a worker that is gone needs none.
            let _ = self.emptied.try_send(full);
        }
    }
}

/// Below the time of one system call differences mean nothing.
const LATENCY_NS_MIN: u64 = 1_000;
/// Past a minute it does not matter how much longer.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_reader_loses_no_latency() {
        let (mut sender, receiver) = channel();
        let mut total = Latencies::new();
        for round in 1..=100 {
            sender.record(2_000 * round, 3);
            sender.hand_over();
            if round % 10 == 0 {
                receiver.take_into(&mut total);
            }
        }
        // What stayed behind follows as soon as the reader has read.
        sender.hand_over();
        receiver.take_into(&mut total);
        assert_eq!(total.count(), 300);
        assert_eq!(total.sum_ns(), 3 * 2_000 * (100 * 101 / 2));
    }

    #[test]
    fn without_a_reader_recording_goes_on() {
        let (mut sender, receiver) = channel();
        drop(receiver);
        sender.record(5_000, 1);
        sender.hand_over();
        sender.hand_over();
        assert_eq!(sender.current.count(), 1);
    }

    #[test]
    fn a_bound_parts_the_latencies_below_it_from_those_above() {
        let mut latencies = Latencies::new();
        latencies.record(900, 1);
        latencies.record(90_000, 2);
        latencies.record(110_000, 4);
        latencies.record(u64::MAX / 16, 8);
        assert_eq!(latencies.count_up_to(1_000), 1);
        assert_eq!(latencies.count_up_to(100_000), 3);
        assert_eq!(latencies.count_up_to(1_000_000_000), 7);
        assert_eq!(latencies.count(), 15);
    }
}
