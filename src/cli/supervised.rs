//! How the gateway is supervised: what the environment says of it, and when all goes on.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::aggregator::{Aggregator, Health};
use crate::cli::data_plane::Command;
use crate::cli::upgrade::Predecessor;
use crate::control::status::{Phase, Status};
use crate::control::supervisor::{Supervisor, Watchdog};

/// Tells the service manager that all goes on, while workers and aggregator answer. Who drains has
/// until then a deadline of its own.
pub(super) fn watch(
    within: Duration,
    supervisor: Supervisor,
    workers: Command,
    aggregator: &Aggregator,
    (health, status): (Arc<Health>, Arc<Status>),
) -> io::Result<Watchdog> {
    // A large store takes its time, in which pulls go on.
    let is_at_the_store = move || health.store_busy.load(Ordering::Relaxed) == 1;
    let aggregator = aggregator.answers();
    Watchdog::start(within, supervisor, move |within| match () {
        () if status.phase() == Phase::Draining => Ok(()),
        () if !workers.answer(within) => Err("a worker"),
        () if !is_at_the_store() && !aggregator(within) && !is_at_the_store() => {
            Err("the aggregator")
        }
        () => Ok(()),
    })
}

/// Who supervises a process that takes over from another: who has started it, or else who supervises that
/// one.
pub(super) fn as_before(
    before: &Predecessor,
    own: Supervisor,
    watchdog: Option<Duration>,
) -> (Supervisor, Option<Duration>) {
    let supervisor = match (own.socket(), before.supervisor()) {
        (None, Some(socket)) => at(&socket),
        _ => own,
    };
    (supervisor, watchdog.or_else(|| before.watchdog()))
}

/// Whoever started this process and wants to know how it fares, if anybody.
pub(super) fn supervisor() -> Supervisor {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return Supervisor::default();
    };
    at(&socket)
}

fn at(socket: &OsStr) -> Supervisor {
    Supervisor::at(socket).unwrap_or_else(|error| {
        tracing::warn!("NOTIFY_SOCKET={}: {error}; nobody is told", socket.display());
        Supervisor::default()
    })
}

/// How often the service manager wants to hear of this process: `WATCHDOG_USEC`.
pub(super) fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let is_meant = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC").filter(|us| *us > 0 && is_meant).map(Duration::from_micros)
}
