//! What a registry has refused, told to all that keep manifests: this worker at once, the others and
//! the disk once in a sweep, and again until they have taken it.

use std::cell::{Cell, RefCell};

use crate::messages::clock::monotonic_us;
use crate::messages::mail::Letter;
use crate::pure::cache::{Refused, Scope};
use crate::pure::tokens::Identity;
use crate::worker::Worker;

/// What is still to be told.
pub(super) struct Refusals {
    /// To each of the workers, by their numbers.
    workers: RefCell<Vec<Refused>>,
    disk: RefCell<Refused>,
    /// The sweep in which anybody was told last.
    told: Cell<u64>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self { workers: RefCell::default(), disk: RefCell::default(), told: Cell::new(u64::MAX) }
    }
}

/// A registry has said that `identity` may not pull this repository: what is kept of it for that
/// identity is not served any more, by no worker.
pub fn refused(worker: &Worker, base: &str, repository: &str, identity: Identity) {
    refuse(worker, Scope::of(base, repository, identity));
}

/// The same of a scope.
pub(super) fn refuse(worker: &Worker, scope: Scope) {
    worker.manifests.refuse(&Refused::These([scope].into()));
    let Refusals { workers, disk, told } = &worker.manifests.refusals;
    let mut to_tell = workers.borrow_mut();
    to_tell.resize_with(worker.post.workers(), Refused::default);
    for (number, refused) in to_tell.iter_mut().enumerate() {
        if number != worker.post.own {
            refused.add(scope);
        }
    }
    drop(to_tell);
    disk.borrow_mut().add(scope);
    if told.get() != worker.clock.sweep() {
        tell_refusals(worker);
    }
}

/// What is kept of `scope` on disk is not to be believed any more.
pub(super) fn refuse_on_disk(worker: &Worker, scope: Scope) {
    worker.manifests.refusals.disk.borrow_mut().add(scope);
}

/// Tells whoever has not been told yet. Who has no room is told at the next sweep.
pub fn tell_refusals(worker: &Worker) {
    let Refusals { workers, disk, told } = &worker.manifests.refusals;
    told.set(worker.clock.sweep());
    for (number, refused) in workers.borrow_mut().iter_mut().enumerate() {
        if let Some(told) = refused.take()
            && let Err(Letter::ManifestsRefused(back)) =
                worker.post.send(number, Letter::ManifestsRefused(told))
        {
            refused.join(back);
        }
    }
    let mut refused = disk.borrow_mut();
    if let Some(told) = refused.take()
        && let Err(back) = worker.archive.refuse(told)
    {
        refused.join(back);
    }
}

impl super::Manifests {
    /// Nothing of what is `refused` is served any more that was asked for until now.
    pub fn refuse(&self, refused: &Refused) {
        if self.shelf.borrow_mut().refuse(refused, monotonic_us().cast_signed()) {
            // Who is still being sent one keeps it alive.
            self.recent.borrow_mut().clear();
        }
    }
}
