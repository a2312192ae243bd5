//! What is kept on disk of what a worker fetches. The disk is asked before a registry is for what a
//! digest names, and after it has failed for what a tag stands for; whoever waits does not wait long.

use std::rc::Rc;
use std::sync::Arc;

use super::refusals::refuse_on_disk;
use super::{Expected, Kept, good};
use crate::messages::clock::monotonic_us;
use crate::pure::cache::{Good, Key, Told};
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
    let record = found.flatten()?;
    let age_us = record.age_s(worker.clock.unix_s())?.saturating_mul(1_000_000);
    let since_us = monotonic_us().cast_signed().saturating_sub_unsigned(age_us);
    // What was refused while the disk looked for it is no answer.
    let refused_us = worker.manifests.shelf.borrow().refused_us(key.scope());
    (since_us > refused_us).then(|| good(record.held, since_us))
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
    let refused_us = worker.manifests.shelf.borrow().refused_us(key.scope());
    match told {
        Told::Fresh(good) if good.lasts && good.since_us > refused_us => {
            let age_us = monotonic_us().saturating_sub(good.since_us.unsigned_abs());
            let since_s = worker.clock.unix_s().saturating_sub(age_us / 1_000_000);
            let good_s = RENEW_AFTER_S_MAX.min(adopted.cache.stale_if_error.as_secs() / 4);
            worker.archive.keep(key.clone(), Arc::clone(&good.value), since_s, good_s);
        }
        Told::Failed(failure) | Told::Stale(_, failure) if failure.is_outage() => {}
        Told::Fresh(_) | Told::Said(_) | Told::Failed(_) | Told::Stale(..) => {
            if !worker.archive.forget(key.clone()) {
                refuse_on_disk(worker, key.scope());
            }
        }
    }
}

/// How long what a tag stands for, and still does, is not written anew, at the most: after a restart it
/// may count as older by so much than it is.
const RENEW_AFTER_S_MAX: u64 = 15 * 60;
/// How long the disk has to answer: half a second.
pub(super) const DISK_SWEEPS_MAX: u64 = 5;
