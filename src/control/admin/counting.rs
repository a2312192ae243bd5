//! The part of `/metrics` in which the aggregator speaks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::exposition::Exposition;
use crate::aggregator::Health;

pub(super) fn write(page: &mut Exposition, health: &Health) {
    for (kind, name, help, number) in COUNTING {
        page.family(name, help, kind);
        page.sample(&[], number(health).load(Relaxed));
    }
}

/// What the aggregator says of itself: type, name, help, and where the number is.
type Row = (&'static str, &'static str, &'static str, fn(&Health) -> &AtomicU64);
const COUNTING: &[Row] = &[
    (
        "counter",
        "pullgate_counted_requests_total",
        "GETs of manifests that were counted.",
        |health| &health.requests,
    ),
    ("counter", "pullgate_counted_pulls_total", "Pulls that were counted.", |health| &health.pulls),
    (
        "counter",
        "pullgate_counted_checks_total",
        "Checks for something newer that were counted.",
        |health| &health.checks,
    ),
    (
        "counter",
        "pullgate_counted_supply_chain_total",
        "Requests for signatures, attestations and the like that were counted.",
        |health| &health.supply_chain,
    ),
    (
        "counter",
        "pullgate_counted_unfolded_total",
        "Requests that were counted without their pull being recognised.",
        |health| &health.unfolded,
    ),
    (
        "gauge",
        "pullgate_fold_windows_open",
        "Windows in which requests of one client still fold into one pull.",
        |health| &health.fold_windows_open,
    ),
    (
        "counter",
        "pullgate_fold_evictions_total",
        "Windows that were booked early for want of room.",
        |health| &health.fold_evictions_total,
    ),
    (
        "counter",
        "pullgate_fold_joined_connections_total",
        "Windows in which requests of more than one connection were folded together.",
        |health| &health.fold_joined_connections_total,
    ),
    (
        "counter",
        "pullgate_other_names_total",
        "Requests counted under a collection's other names: counting.max_names was reached.",
        |health| &health.other_names_total,
    ),
    (
        "counter",
        "pullgate_other_tags_total",
        "Requests counted under a package's other tags: counting.max_tags was reached.",
        |health| &health.other_tags_total,
    ),
    (
        "counter",
        "pullgate_other_clients_total",
        "Counts under a package's other clients or systems: counting.max_clients was reached.",
        |health| &health.other_clients_total,
    ),
    (
        "counter",
        "pullgate_other_places_total",
        "Counts under a package's other places, companies or pairs: there were too many of them.",
        |health| &health.other_places_total,
    ),
    (
        "counter",
        "pullgate_uniques_beyond_total",
        "Pulls whose client is in no count of unique clients: too many packages were pulled today.",
        |health| &health.uniques_beyond_total,
    ),
    (
        "counter",
        "pullgate_crowds_beyond_total",
        "Pulls of which it is not known that they make a crowd, so that places may be hidden in \
         public: there were too many places today.",
        |health| &health.crowds_beyond_total,
    ),
    (
        "gauge",
        "pullgate_persist_pending_cells",
        "Cells of counts that are in memory only. Alert when it keeps rising: the disk is full \
         or fails.",
        |health| &health.persist_pending,
    ),
    (
        "counter",
        "pullgate_persist_coarsened_total",
        "Times that counts waiting in memory were told apart less, to keep their memory bounded.",
        |health| &health.persist_coarsened_total,
    ),
    (
        "counter",
        "pullgate_persist_failures_total",
        "Failures to write counts; they are tried again.",
        |health| &health.persist_failures_total,
    ),
    (
        "gauge",
        "pullgate_store_ok",
        "1 while counts reach the disk. Alert on 0: a process that dies now loses counts.",
        |health| &health.store_ok,
    ),
    ("gauge", "pullgate_journal_bytes", "Length of the journal.", |health| &health.journal_bytes),
    (
        "counter",
        "pullgate_store_rebuilds_total",
        "Times that the store was found damaged and was built anew.",
        |health| &health.store_rebuilds_total,
    ),
    (
        "counter",
        "pullgate_aggregator_panics_total",
        "Times that counting panicked and began again: each is a defect to report.",
        |health| &health.aggregator_panics_total,
    ),
    (
        "counter",
        "pullgate_feed_dropped_total",
        "Pulls that a follower of the live feed was too slow for.",
        |health| &health.feed_dropped_total,
    ),
];
