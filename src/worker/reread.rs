//! An account that a registry refuses: its password may have been replaced a moment ago, in a file
//! that nobody has read since. So whoever reads the files is asked to look before a client is told
//! that there is nothing to be had.

use std::cell::Cell;

use crossbeam_channel::Sender;

use crate::worker::{Adopted, Worker};

/// When the files were looked at for the last time because of a refusal.
pub struct Rereading {
    look: Sender<()>,
    /// The sweep until which is waited for what comes of it.
    until: Cell<u64>,
    /// The sweep before which it is not asked for again.
    next: Cell<u64>,
}

impl Rereading {
    /// Nobody was refused yet; `look` wakes who reads the files.
    pub fn new(look: Sender<()>) -> Self {
        Self { look, until: Cell::new(0), next: Cell::new(0) }
    }
}

/// Has the files looked at, and says whether the account of the configuration `adopted` at its
/// `registry` is another one since. Those who are refused meanwhile wait for the same look; whoever
/// comes later is not kept waiting again for a while.
pub async fn account(worker: &Worker, adopted: &Adopted, registry: usize) -> bool {
    let Rereading { look, until, next } = &worker.rereading;
    let now = worker.clock.sweep();
    if now >= next.get() {
        // Where one waits already, the look that it asks for is still to come.
        let _ = look.try_send(());
        until.set(now + LOOK_SWEEPS_MAX);
        next.set(now + QUIET_SWEEPS);
    }
    while !is_another(worker, adopted, registry) {
        if worker.clock.sweep() >= until.get() {
            return false;
        }
        worker.next_sweep().await;
    }
    true
}

fn is_another(worker: &Worker, adopted: &Adopted, registry: usize) -> bool {
    let present = worker.snapshot();
    let base = &adopted.registries[registry].base;
    let there = present.registries.iter().position(|one| one.base == *base);
    let identity = adopted.keyring().identity(registry);
    there.is_some_and(|there| present.keyring().identity(there) != identity)
}

/// How long a look, and putting in force what it brings, is waited for: two seconds.
const LOOK_SWEEPS_MAX: u64 = 20;
/// How long another refusal asks for no other look: ten seconds. Files are watched anyway.
const QUIET_SWEEPS: u64 = 100;
