//! Connections that nobody uses at the moment, by where they lead.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use super::link::{Link, Way};
use crate::messages::meters::{Counter, Gauge};
use crate::worker::{Worker, sweeps};

/// A worker's idle connections.
#[derive(Default)]
pub struct Idle {
    /// The last one used last.
    links: RefCell<HashMap<Rc<Way>, Vec<Kept>>>,
    count: Cell<usize>,
}

struct Kept {
    link: Link,
    since_sweep: u64,
}

impl Idle {
    /// A connection that leads `way`, if there is one that can be used.
    pub fn lend(&self, worker: &Worker, way: &Rc<Way>) -> Option<Link> {
        let mut links = self.links.borrow_mut();
        let kept = links.get_mut(way)?;
        while let Some(Kept { mut link, .. }) = kept.pop() {
            self.count.set(self.count.get() - 1);
            if link.is_quiet() {
                worker.meters.add(Counter::UpstreamConnectionsReused, 1);
                return Some(link);
            }
        }
        None
    }

    /// Keeps `link`, unless it cannot be used again, there are enough like it, or its configuration
    /// is not in force any more.
    pub fn take(&self, worker: &Worker, mut link: Link) {
        let adopted = worker.snapshot();
        if link.way().adoption != adopted.number() || !link.is_quiet() {
            return;
        }
        let mut links = self.links.borrow_mut();
        let kept = links.entry(Rc::clone(link.way())).or_default();
        if kept.len() < adopted.upstream.idle_per_host {
            kept.push(Kept { link, since_sweep: worker.clock.sweep() });
            self.count.set(self.count.get() + 1);
        }
    }

    /// Closes those that were idle for too long, or that the other side has closed.
    pub fn sweep(&self, worker: &Worker) {
        let bound = sweeps(worker.snapshot().upstream.idle_timeout);
        let now = worker.clock.sweep();
        let mut count = 0;
        self.links.borrow_mut().retain(|_, kept| {
            kept.retain_mut(|Kept { link, since_sweep }| {
                now.saturating_sub(*since_sweep) <= bound && link.is_quiet()
            });
            count += kept.len();
            !kept.is_empty()
        });
        self.count.set(count);
        worker.meters.set(Gauge::UpstreamConnectionsIdle, count as u64);
    }

    /// Closes all.
    pub fn clear(&self) {
        self.links.borrow_mut().clear();
        self.count.set(0);
    }
}
