//! What the aggregator says about itself, read by `/metrics` while it works.

use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers with one writer, the aggregator. Counters run from the process's start.
#[derive(Debug, Default)]
pub struct Health {
    /// Requests that were counted.
    pub requests: AtomicU64,
    /// Pulls that were counted.
    pub pulls: AtomicU64,
    /// Checks that were counted.
    pub checks: AtomicU64,
    /// Supply chain requests that were counted.
    pub supply_chain: AtomicU64,
    /// Requests that were counted without folding.
    pub unfolded: AtomicU64,
    /// Windows that are open.
    pub fold_windows_open: AtomicU64,
    /// Windows that were booked early for want of room.
    pub fold_evictions_total: AtomicU64,
    /// Windows in which requests of more than one connection were folded together.
    pub fold_joined_connections_total: AtomicU64,
    /// Requests counted under a collection's `(other)` for want of room for names.
    pub other_names_total: AtomicU64,
    /// Requests that named a tag counted under `(other)` for want of room for tags.
    pub other_tags_total: AtomicU64,
    /// Cells counted under `(other)` for want of room for clients and their systems.
    pub other_clients_total: AtomicU64,
    /// Cells counted under `(other)` for want of room for places and pairs.
    pub other_places_total: AtomicU64,
    /// Pulls whose client found no room to be counted as a unique one.
    pub uniques_beyond_total: AtomicU64,
    /// Pulls from a row of place that found no room to be known of.
    pub crowds_beyond_total: AtomicU64,
    /// Cells that are in memory only: they could not be written yet.
    pub persist_pending: AtomicU64,
    /// How often what waits in memory had to be told apart less.
    pub persist_coarsened_total: AtomicU64,
    /// Failures to write counts.
    pub persist_failures_total: AtomicU64,
    /// 1 while counts reach the disk.
    pub store_ok: AtomicU64,
    /// 1 while the store is read or rewritten as a whole, which takes as long as it is large.
    pub store_busy: AtomicU64,
    /// How long the journal is, in bytes.
    pub journal_bytes: AtomicU64,
    /// How often the store was found damaged and built anew.
    pub store_rebuilds_total: AtomicU64,
    /// How often counting panicked and began again.
    pub aggregator_panics_total: AtomicU64,
    /// Pulls that a subscriber of the live feed was too slow for.
    pub feed_dropped_total: AtomicU64,
}

/// Adds to a number that only this thread writes.
pub fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

/// Sets a number that only this thread writes.
pub fn set(number: &AtomicU64, to: u64) {
    number.store(to, Ordering::Relaxed);
}
