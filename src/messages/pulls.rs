//! Pull events on their way from a worker to the aggregator.
//!
//! A worker never waits and never drops silently: pages go into a bounded channel, then into a
//! backlog with a byte bound, and past that only exact request totals are kept, said to be
//! unfolded. The aggregator polls, so that sending never pays for waking it.

use std::collections::VecDeque;
use std::mem;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};
use serde::{Deserialize, Serialize};

use crate::pure::limits::{BACKLOG_BYTES_MAX, PAGE_BYTES, PAGES_IN_CHANNEL, UNFOLDED_NAMES_MAX};
use crate::pure::pull::event::{Asked, Event, Outcome, Page};

/// How old the first event of a page may get before the page is sent, in microseconds. Together
/// with the worker's tick it bounds how late an event reaches the aggregator, which holds events
/// back for longer than that to order them.
pub const PAGE_AGE_US_MAX: u64 = 5_000;

/// How often a worker flushes at least, in microseconds.
pub const FLUSH_US_MAX: u64 = 25_000;

/// Makes the two ends of one worker's way to the aggregator.
pub fn channel() -> (PullSender, PullReceiver) {
    let (full, to_read) = bounded(PAGES_IN_CHANNEL);
    let (emptied, to_fill) = bounded(PAGES_IN_CHANNEL);
    let sender = PullSender {
        page: new_page(),
        full,
        to_fill,
        backlog: VecDeque::new(),
        backlog_pages_max: BACKLOG_BYTES_MAX / PAGE_BYTES,
        unfolded: Unfolded::default(),
        last_us: 0,
    };
    (sender, PullReceiver { to_read, emptied })
}

/// Makes the two ends of the way by which a worker of another process is heard.
pub fn relay() -> (Relay, PullReceiver) {
    let (full, to_read) = bounded(PAGES_IN_CHANNEL);
    let (emptied, to_fill) = bounded(PAGES_IN_CHANNEL);
    (Relay { full, to_fill }, PullReceiver { to_read, emptied })
}

/// What the aggregator receives.
pub enum Parcel {
    /// Events, in the order they happened in this worker.
    Page(Box<Page>),
    /// Requests that were counted without their events.
    Unfolded(Box<Unfolded>),
}

/// Exact totals of counted requests (GETs of manifests) whose events could not be kept.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfolded {
    /// Per package: the event's `id`, `domain`, `collection` and `name`, and how many requests.
    pub requests: HashMap<UnfoldedPackage, UnfoldedRequests, RandomState>,
    /// Requests of packages beyond [`UNFOLDED_NAMES_MAX`].
    pub requests_other: UnfoldedRequests,
    /// When the first of them happened, in microseconds of the monotonic clock.
    pub since_us: u64,
    /// How many requests these totals stand for.
    pub total: u64,
}

/// How many requests one unfolded total stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnfoldedRequests {
    /// All of them.
    pub all: u64,
    /// Those that were redirected.
    pub unseen: u64,
}

/// Which package an unfolded total belongs to: the texts of [`Event`] of the same names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UnfoldedPackage {
    /// See [`Event::id`].
    pub id: Box<[u8]>,
    /// See [`Event::domain`].
    pub domain: Box<[u8]>,
    /// See [`Event::collection`].
    pub collection: Box<[u8]>,
    /// See [`Event::name`].
    pub name: Box<[u8]>,
}

/// The same, borrowed from an event, to look for it.
#[derive(Hash)]
struct Wanted<'e> {
    id: &'e [u8],
    domain: &'e [u8],
    collection: &'e [u8],
    name: &'e [u8],
}

impl Equivalent<UnfoldedPackage> for Wanted<'_> {
    fn equivalent(&self, package: &UnfoldedPackage) -> bool {
        let UnfoldedPackage { id, domain, collection, name } = package;
        *self.name == **name
            && *self.id == **id
            && *self.domain == **domain
            && *self.collection == **collection
    }
}

impl From<&Wanted<'_>> for UnfoldedPackage {
    fn from(wanted: &Wanted<'_>) -> Self {
        let Wanted { id, domain, collection, name } = *wanted;
        let [id, domain, collection, name] = [id, domain, collection, name].map(Box::from);
        Self { id, domain, collection, name }
    }
}

/// A worker's end.
pub struct PullSender {
    page: Box<Page>,
    full: Sender<Parcel>,
    to_fill: Receiver<Box<Page>>,
    backlog: VecDeque<Box<Page>>,
    backlog_pages_max: usize,
    unfolded: Unfolded,
    /// When the last event happened.
    last_us: u64,
}

/// How far behind the aggregator is, as one worker sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Bytes of pages that wait in the worker.
    pub bytes: usize,
    /// Requests that wait to be sent as totals.
    pub unfolded: u64,
}

impl PullSender {
    /// Takes `event`; says whether it was kept, or at best its total. Never blocks; allocates
    /// only while the aggregator is behind. An event is never before the one that was offered
    /// before it: the aggregator merges workers by time, and takes each as being in order.
    pub fn offer(&mut self, event: &Event<'_>) -> bool {
        self.last_us = self.last_us.max(event.at_us);
        let event = &Event { at_us: self.last_us, ..*event };
        if self.page.append(event).is_ok() {
            if event.at_us.saturating_sub(self.page.opened_at_us()) >= PAGE_AGE_US_MAX {
                self.send_what_there_is();
            }
            return true;
        }
        self.send_page();
        let kept = self.page.append(event).is_ok();
        if !kept {
            // The page could not be sent nor kept: it is still the full one.
            self.unfolded.add(event);
        }
        kept
    }

    /// Sends what there is. Called at every tick, and for the last time when the worker stops.
    pub fn flush(&mut self) -> Backlog {
        self.send_what_there_is();
        self.backlog()
    }

    /// What could not be sent, in order: for a worker that ends while the aggregator is behind.
    pub fn rest(&mut self) -> Vec<Parcel> {
        let mut rest: Vec<_> = self.backlog.drain(..).map(Parcel::Page).collect();
        if !self.page.is_empty() {
            rest.push(Parcel::Page(mem::replace(&mut self.page, new_page())));
        }
        if self.unfolded.total > 0 {
            rest.push(Parcel::Unfolded(Box::new(mem::take(&mut self.unfolded))));
        }
        rest
    }

    /// Whether everything that was offered has been handed to the channel.
    pub fn is_settled(&self) -> bool {
        self.page.is_empty() && self.backlog.is_empty() && self.unfolded.total == 0
    }

    fn backlog(&self) -> Backlog {
        Backlog { bytes: self.backlog.len() * PAGE_BYTES, unfolded: self.unfolded.total }
    }

    /// Sends what waits, and the current page if nothing waits before it: pages that wait anyway
    /// are better full, for their number is bounded.
    fn send_what_there_is(&mut self) {
        self.send_backlog();
        if self.backlog.is_empty() && !self.page.is_empty() {
            self.send_page();
        }
    }

    /// Replaces the current page by an empty one, if there is anywhere to put it.
    fn send_page(&mut self) {
        self.send_backlog();
        if self.backlog.len() >= self.backlog_pages_max {
            return;
        }
        let fresh = self.to_fill.try_recv().unwrap_or_else(|_| new_page());
        let page = mem::replace(&mut self.page, fresh);
        self.backlog.push_back(page);
        self.send_backlog();
    }

    /// Sends in order: pages first, then the totals of what happened after them.
    fn send_backlog(&mut self) {
        while let Some(page) = self.backlog.pop_front() {
            if let Err(refused) = self.full.try_send(Parcel::Page(page)) {
                if let Parcel::Page(page) = refused.into_inner() {
                    self.backlog.push_front(page);
                }
                return;
            }
        }
        if self.unfolded.total > 0 {
            let unfolded = Box::new(mem::take(&mut self.unfolded));
            if let Err(refused) = self.full.try_send(Parcel::Unfolded(unfolded))
                && let Parcel::Unfolded(unfolded) = refused.into_inner()
            {
                self.unfolded = *unfolded;
            }
        }
    }
}

/// The end of whoever hears a worker of another process.
pub struct Relay {
    full: Sender<Parcel>,
    to_fill: Receiver<Box<Page>>,
}

impl Relay {
    /// An empty page.
    pub fn page(&self) -> Box<Page> {
        self.to_fill.try_recv().unwrap_or_else(|_| new_page())
    }

    /// Hands on what was heard. Waits while the aggregator is behind: so does then the other process,
    /// whose workers keep what they have. `false` where the aggregator has ended.
    pub fn send(&self, parcel: Parcel) -> bool {
        self.full.send(parcel).is_ok()
    }
}

/// The aggregator's end of one worker's way.
pub struct PullReceiver {
    to_read: Receiver<Parcel>,
    emptied: Sender<Box<Page>>,
}

impl PullReceiver {
    /// The next parcel. Never blocks.
    ///
    /// # Errors
    /// `Empty` where none waits; `Disconnected` where the worker is gone too.
    pub fn try_take(&self) -> Result<Parcel, TryRecvError> {
        self.to_read.try_recv()
    }

    /// How many parcels wait: at most [`PAGES_IN_CHANNEL`].
    pub fn waiting(&self) -> usize {
        self.to_read.len()
    }

    /// Gives a page that was read back to the worker, overwritten with zeros.
    pub fn give_back(&self, mut page: Box<Page>) {
        page.clear();
        // Full means that the worker has pages enough: this one is freed.
        let _ = self.emptied.try_send(page);
    }
}

impl Unfolded {
    fn add(&mut self, event: &Event<'_>) {
        if event.asked != Asked::Manifest {
            return;
        }
        if self.total == 0 {
            self.since_us = event.at_us;
        }
        self.total += 1;
        let Event { id, domain, collection, name, .. } = *event;
        let wanted = Wanted { id, domain, collection, name };
        let has_room = self.requests.len() < UNFOLDED_NAMES_MAX;
        let requests = match self.requests.get_mut(&wanted) {
            Some(requests) => requests,
            None if has_room => self.requests.entry((&wanted).into()).or_default(),
            None => &mut self.requests_other,
        };
        requests.all += 1;
        requests.unseen += u64::from(event.outcome == Outcome::Redirected);
    }
}

/// A page whose memory stays out of core dumps: it holds addresses.
fn new_page() -> Box<Page> {
    let page = Box::new(Page::new());
    let memory = page.memory();
    // SAFETY: the range is exactly the page's own memory, aligned to and a multiple of the
    // system's page size, and MADV_DONTDUMP changes nothing but what a core dump contains.
    let advised = unsafe {
        rustix::mm::madvise(
            memory.as_ptr().cast_mut().cast(),
            memory.len(),
            rustix::mm::Advice::LinuxDontDump,
        )
    };
    if let Err(error) = advised {
        tracing::debug!(%error, "a page of pull events could not be kept out of core dumps");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::pull::event::{Address, Way};

    fn event(at_us: u64) -> Event<'static> {
        Event {
            at_us,
            address: Address([1; 16]),
            connection: 1,
            asked: Asked::Manifest,
            outcome: Outcome::Redirected,
            way: Way::Redirect,
            is_private: false,
            id: b"",
            domain: b"*",
            collection: b"",
            name: b"acme/rocket",
            reference: b"latest",
            user_agent: b"docker/28.5.2",
            digest: b"",
            kin: b"",
            bytes: 0,
        }
    }

    fn events(parcel: Parcel) -> u64 {
        match parcel {
            Parcel::Page(page) => page.len() as u64,
            Parcel::Unfolded(unfolded) => unfolded.total,
        }
    }

    #[test]
    fn while_the_aggregator_is_behind_pages_are_filled_before_they_wait() {
        let (mut sender, receiver) = channel();
        // Each event is older than a page may get, and each is followed by a tick.
        let offered = 40 * PAGES_IN_CHANNEL as u64;
        for number in 0..offered {
            sender.offer(&event(number * 2 * PAGE_AGE_US_MAX));
            sender.flush();
        }
        let waiting = sender.backlog();
        assert!(waiting.bytes <= 16 * PAGE_BYTES && waiting.unfolded == 0, "{waiting:?}");
        let mut received = 0;
        while let Ok(parcel) = receiver.try_take() {
            received += events(parcel);
            sender.flush();
        }
        assert!(sender.is_settled());
        assert_eq!(received, offered);
    }

    #[test]
    fn who_was_answered_late_does_not_break_the_order() {
        let (mut sender, receiver) = channel();
        for at_us in [5, 3, 8] {
            sender.offer(&event(at_us));
        }
        sender.flush();
        let Ok(Parcel::Page(mut page)) = receiver.try_take() else { panic!("a page") };
        let (mut at, mut times) = (0, Vec::new());
        while let Some((event, next)) = page.take(at) {
            times.push(event.at_us);
            at = next;
        }
        assert_eq!(times, [5, 5, 8]);
    }

    #[test]
    fn past_the_bound_totals_are_kept_and_nothing_is_missing_at_the_end() {
        let (mut sender, receiver) = channel();
        let mut offered = 0;
        while sender.offer(&event(offered)) {
            offered += 1;
        }
        offered += 1;
        let rest = sender.rest();
        assert!(sender.is_settled());
        let mut received: u64 = rest.into_iter().map(events).sum();
        while let Ok(parcel) = receiver.try_take() {
            received += events(parcel);
        }
        assert_eq!(received, offered);
    }
}
