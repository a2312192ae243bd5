//! What is kept on disk of what a worker fetches. The disk is asked before a registry is for what a
//! digest names, and after it has failed for what a tag stands for; whoever waits does not wait long.

use std::rc::Rc;
use std::sync::Arc;

use super::{Expected, Kept, good};
use crate::messages::archive::Errand;
use crate::messages::clock::monotonic_us;
use crate::pure::cache::{Good, Key, Record, Told};
use crate::worker::within::within;
use crate::worker::{Adopted, Worker};

/// What is on disk under `key`; the question has the number of the round that it is asked in.
pub(super) async fn find(
    worker: &Rc<Worker>,
    adopted: &Adopted,
    key: &Key,
    number: u64,
) -> Option<Good<Kept>> {
    if adopted.cache.disk == 0 {
        return None;
    }
    let ticket = Expected::default();
    worker.manifests.expected.borrow_mut().insert(number, Rc::clone(&ticket));
    let found = match worker.archive.find(key.clone(), number) {
        true => within(worker, DISK_SWEEPS_MAX, ticket.told()).await,
        false => None,
    };
    worker.manifests.expected.borrow_mut().remove(&number);
    let Record { held, since_s } = found.flatten()?;
    let age_us = worker.clock.unix_s().saturating_sub(since_s).saturating_mul(1_000_000);
    let since_us = monotonic_us().cast_signed().saturating_sub_unsigned(age_us);
    Some(good(held, since_us))
}

/// What the disk says to whoever still waits for it.
pub fn hear_of_disk(worker: &Worker) {
    while let Some(found) = worker.archive.take() {
        let waiting = worker.manifests.expected.borrow_mut().remove(&found.number);
        if let Some(ticket) = waiting {
            ticket.tell(found.record);
        }
    }
}

/// Keeps what a registry has `told`, or forgets what it has said before.
pub(super) fn keep(worker: &Worker, adopted: &Adopted, key: &Key, told: &Told<Kept>) {
    if adopted.cache.disk == 0 {
        return;
    }
    let errand = match told {
        Told::Fresh(good) if good.lasts => {
            let held = Arc::clone(&good.value);
            Errand::Keep { key: key.clone(), held, since_s: worker.clock.unix_s() }
        }
        Told::Failed(failure) | Told::Stale(_, failure) if failure.is_outage() => return,
        Told::Fresh(_) | Told::Said(_) | Told::Failed(_) | Told::Stale(..) => {
            Errand::Forget(key.clone())
        }
    };
    worker.archive.give(errand);
}

/// How long the disk has to answer: half a second.
const DISK_SWEEPS_MAX: u64 = 5;
