//! What the workers sent, merged by time: an exact merge over a cursor per worker, for each
//! worker's pages are in order.

use std::collections::VecDeque;

use crate::messages::pulls::{FLUSH_US_MAX, Parcel, PullReceiver, Unfolded};
use crate::pure::limits::PAGES_IN_CHANNEL;
use crate::pure::pull::event::{Event, Page};

/// All workers' ways to the aggregator, those of a process before this one among them.
pub struct Inbox {
    lanes: Vec<Lane>,
}

/// One worker's way, and the page that is being read.
struct Lane {
    receiver: PullReceiver,
    page: Option<Box<Page>>,
    /// Where the next event stands in the page.
    at: usize,
    /// When it happened; without a page, when the last one did.
    at_us: u64,
    /// What the worker could not send before it ended; `None` while it runs.
    rest: Option<VecDeque<Parcel>>,
    /// Whether the channel was full since the last round began: the worker may have a backlog.
    was_full: bool,
    /// Until when what the worker has in its backlog may still be on its way.
    behind_until_us: u64,
    is_behind: bool,
    /// Whether it is a worker's of the process before this one: it ends with the channel.
    is_foreign: bool,
    is_over: bool,
}

/// What is taken out of the inbox.
pub enum Arrival<'a> {
    /// One event.
    Event(Event<'a>),
    /// Totals of requests whose events could not be kept.
    Unfolded(Box<Unfolded>),
}

/// What goes on to another process.
pub enum Forwarded<'a> {
    /// Events, as [`Page::rest`].
    Events(&'a [u8]),
    /// Totals.
    Unfolded(&'a Unfolded),
}

impl Inbox {
    /// An inbox of these workers.
    pub fn new(receivers: Vec<PullReceiver>) -> Self {
        Self { lanes: receivers.into_iter().map(|receiver| Lane::new(receiver, false)).collect() }
    }

    /// Takes from these workers of the process before this one too, as long as they last.
    /// What they have sent before `now_us` comes soon.
    pub fn add_foreign(&mut self, receivers: Vec<PullReceiver>, now_us: u64) {
        let behind_until_us = now_us + FIRST_WORD_US_MAX;
        let lanes = receivers.into_iter().map(|receiver| Lane::new(receiver, true));
        self.lanes.extend(lanes.map(|lane| Lane { behind_until_us, ..lane }));
    }

    /// Whether workers of the process before this one may still be heard.
    pub fn has_foreign(&self) -> bool {
        self.lanes.iter().any(|lane| lane.is_foreign && !lane.is_done())
    }

    /// How many workers there are, without those of which nothing more will come.
    pub fn lanes_left(&mut self) -> usize {
        self.lanes.retain(|lane| !lane.is_foreign || !lane.is_done());
        self.lanes.len()
    }

    /// Gives all that has come and was not taken to `give`, for another process, each with the number of
    /// its lane; of a page that has been begun, what is left. How many that were.
    pub fn forward(&mut self, mut give: impl FnMut(usize, Forwarded<'_>)) -> usize {
        let mut given = 0;
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(page) = lane.page.take() {
                give(number, Forwarded::Events(page.rest(lane.at)));
                lane.receiver.give_back(page);
                given += 1;
            }
            while let Some(parcel) = lane.next_parcel() {
                match parcel {
                    Parcel::Page(page) => {
                        give(number, Forwarded::Events(page.rest(0)));
                        lane.receiver.give_back(page);
                    }
                    Parcel::Unfolded(unfolded) => give(number, Forwarded::Unfolded(&unfolded)),
                }
                given += 1;
            }
        }
        given
    }

    /// Begins a round at `now_us`.
    pub fn begin(&mut self, now_us: u64) {
        for lane in &mut self.lanes {
            if std::mem::take(&mut lane.was_full) {
                lane.behind_until_us = now_us + REFILL_US_MAX;
            }
            lane.is_behind = now_us < lane.behind_until_us;
        }
    }

    /// Takes what this process's workers, which have ended, could not send: it follows what they sent.
    pub fn end(&mut self, rest: Vec<Vec<Parcel>>) {
        let mut rest = rest.into_iter();
        for lane in self.lanes.iter_mut().filter(|lane| !lane.is_foreign) {
            lane.rest = Some(rest.next().unwrap_or_default().into());
        }
    }

    /// Until when, and at most until `until_us`, everything has arrived.
    pub fn complete_until(&self, until_us: u64) -> u64 {
        let behind = self.lanes.iter().filter(|lane| lane.page.is_none() && lane.may_be_behind());
        behind.map(|lane| lane.at_us).fold(until_us, u64::min)
    }

    /// Gives what happened up to `until_us` to `take`, in the order of time, and at most about
    /// `events_max`. How many that were: as many means that there may be more.
    pub fn merge(
        &mut self,
        until_us: u64,
        events_max: usize,
        mut take: impl FnMut(Arrival<'_>),
    ) -> usize {
        let mut taken = 0;
        for lane in &mut self.lanes {
            lane.load(&mut take);
        }
        while taken < events_max {
            let Some((next, until_us)) = self.next_lane(self.complete_until(until_us)) else {
                break;
            };
            // The lane's run: up to where another one has something older.
            let lane = &mut self.lanes[next];
            while lane.page.is_some() && lane.at_us <= until_us && taken < events_max {
                lane.take(&mut take);
                taken += 1;
            }
        }
        taken
    }

    /// The lane whose next event is the oldest of all, and until when it stays that; `None` where
    /// nothing happened up to `until_us`.
    fn next_lane(&self, until_us: u64) -> Option<(usize, u64)> {
        let mut oldest = None;
        let mut oldest_us = u64::MAX;
        let mut second_us = u64::MAX;
        for (at, lane) in self.lanes.iter().enumerate().filter(|(_, lane)| lane.page.is_some()) {
            if lane.at_us < oldest_us || oldest.is_none() {
                second_us = oldest_us;
                (oldest, oldest_us) = (Some(at), lane.at_us);
            } else {
                second_us = second_us.min(lane.at_us);
            }
        }
        let until_us = second_us.min(until_us);
        oldest.filter(|_| oldest_us <= until_us).map(|at| (at, until_us))
    }
}

impl Lane {
    fn new(receiver: PullReceiver, is_foreign: bool) -> Self {
        Self {
            receiver,
            page: None,
            at: 0,
            at_us: 0,
            rest: None,
            was_full: false,
            behind_until_us: 0,
            is_behind: false,
            is_foreign,
            is_over: false,
        }
    }

    /// Whether nothing more will come.
    fn is_done(&self) -> bool {
        self.is_over && self.page.is_none()
    }

    fn take(&mut self, take: &mut impl FnMut(Arrival<'_>)) {
        let Some(page) = &mut self.page else {
            return;
        };
        if let Some((event, next)) = page.take(self.at) {
            // Before it is taken: one that makes the aggregator panic does so once.
            self.at = next;
            take(Arrival::Event(event));
        }
        match page.at_us(self.at) {
            Some(at_us) => self.at_us = at_us,
            None => {
                if let Some(page) = self.page.take() {
                    self.receiver.give_back(page);
                }
                self.load(take);
            }
        }
    }

    /// Begins the next page, if none is being read and one waits.
    fn load(&mut self, take: &mut impl FnMut(Arrival<'_>)) {
        while self.page.is_none() {
            match self.next_parcel() {
                None => return,
                Some(Parcel::Unfolded(unfolded)) => take(Arrival::Unfolded(unfolded)),
                Some(Parcel::Page(page)) => match page.at_us(0) {
                    None => self.receiver.give_back(page),
                    Some(at_us) => {
                        (self.at, self.at_us) = (0, at_us);
                        self.page = Some(page);
                    }
                },
            }
        }
    }

    fn next_parcel(&mut self) -> Option<Parcel> {
        let parcel = self.receiver.try_take();
        self.is_over |= parcel.as_ref().is_err_and(|error| error.is_disconnected());
        let parcel = parcel.ok();
        // A worker keeps a backlog only after it found the channel full, and only taking makes
        // room: whoever looks after each taking misses none.
        self.was_full |= parcel.is_some() && self.receiver.waiting() + 1 >= PAGES_IN_CHANNEL;
        parcel.or_else(|| self.rest.as_mut()?.pop_front())
    }

    /// Whether older events than those of other workers may still come, though none wait.
    fn may_be_behind(&self) -> bool {
        let is_over = self.rest.is_some() || (self.is_foreign && self.is_over);
        !is_over && (self.was_full || self.is_behind)
    }
}

/// How soon the process before this one begins to hand over what its workers have sent.
const FIRST_WORD_US_MAX: u64 = 1_000_000;
/// How soon a worker refills a channel in which there is room again: it does so at each flush.
const REFILL_US_MAX: u64 = 2 * FLUSH_US_MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::pulls::{UnfoldedRequests, channel};
    use crate::pure::pull::event::{Address, Asked, Outcome, Way};
    use proptest::prelude::*;

    fn event(at_us: u64) -> Event<'static> {
        Event {
            at_us,
            address: Address([0; 16]),
            connection: 1,
            asked: Asked::Manifest,
            outcome: Outcome::Redirected,
            way: Way::Redirect,
            is_private: false,
            id: b"",
            domain: b"d",
            collection: b"",
            name: b"n",
            reference: b"t",
            user_agent: b"",
            digest: b"",
            kin: b"",
            bytes: 0,
        }
    }

    fn taken(inbox: &mut Inbox, now_us: u64, until_us: u64) -> Vec<u64> {
        let mut times = Vec::new();
        inbox.begin(now_us);
        inbox.merge(until_us, usize::MAX, |arrival| {
            if let Arrival::Event(event) = arrival {
                times.push(event.at_us);
            }
        });
        times
    }

    /// A worker that has a backlog sends it when it finds room: until then nobody else's later
    /// events are taken, and no window is closed beyond what it has sent.
    #[test]
    fn nothing_overtakes_what_waits_in_a_workers_backlog() {
        let (mut slow, slow_receiver) = channel();
        let (mut quick, quick_receiver) = channel();
        let mut inbox = Inbox::new(vec![slow_receiver, quick_receiver]);
        let mut sent = 0;
        while slow.flush().bytes == 0 {
            sent += 1;
            slow.offer(&event(sent));
        }
        quick.offer(&event(sent + 1));
        quick.flush();

        let now_us = 10 * REFILL_US_MAX;
        let first = taken(&mut inbox, now_us, now_us);
        let last_us = *first.last().unwrap();
        assert!(last_us < sent, "some of it is in the backlog");
        assert_eq!(inbox.complete_until(now_us), last_us);
        assert!(taken(&mut inbox, now_us + 1000, now_us).is_empty());

        slow.flush();
        let second = taken(&mut inbox, now_us + 2000, now_us);
        assert!(second.iter().copied().eq(last_us + 1..=sent), "{second:?}");
        // A channel that is not full any more is believed to be all there is, a little later.
        assert_eq!(inbox.complete_until(now_us), sent);
        assert_eq!(taken(&mut inbox, now_us + 2000 + REFILL_US_MAX, now_us), [sent + 1]);
        assert_eq!(inbox.complete_until(now_us), now_us);
    }

    #[test]
    fn what_a_worker_could_not_send_follows_what_it_sent() {
        let (mut sender, receiver) = channel();
        let mut inbox = Inbox::new(vec![receiver]);
        sender.offer(&event(1));
        sender.flush();
        let mut page = Box::new(Page::new());
        page.append(&event(2)).unwrap();
        let requests_other = UnfoldedRequests { all: 3, unseen: 3 };
        let unfolded = Unfolded { requests_other, ..Unfolded::default() };
        inbox.end(vec![vec![Parcel::Page(page), Parcel::Unfolded(Box::new(unfolded))]]);
        let mut arrived = Vec::new();
        inbox.merge(u64::MAX, 10, |arrival| match arrival {
            Arrival::Event(event) => arrived.push(event.at_us),
            Arrival::Unfolded(unfolded) => arrived.push(unfolded.requests_other.all),
        });
        assert_eq!(arrived, [1, 2, 3]);
    }

    #[test]
    fn an_event_that_makes_the_taker_panic_is_not_taken_again() {
        let (mut sender, receiver) = channel();
        let mut inbox = Inbox::new(vec![receiver]);
        for at_us in 1..=3 {
            sender.offer(&event(at_us));
        }
        sender.flush();
        let panics = std::panic::AssertUnwindSafe(|| inbox.merge(u64::MAX, 1, |_| panic!()));
        assert!(std::panic::catch_unwind(panics).is_err());
        assert_eq!(taken(&mut inbox, 0, u64::MAX), [2, 3]);
    }

    proptest! {
        /// The naive twin: put all events into one list and sort it.
        #[test]
        fn lanes_are_merged_by_time(
            lanes in prop::collection::vec(prop::collection::vec(0u64..20_000, 0..300), 0..5),
            until_us in 0u64..25_000,
        ) {
            let (mut receivers, mut naive, mut senders) = (Vec::new(), Vec::new(), Vec::new());
            for mut times in lanes {
                times.sort_unstable();
                let (mut sender, receiver) = channel();
                for at_us in &times {
                    sender.offer(&event(*at_us));
                }
                sender.flush();
                naive.extend(times);
                receivers.push(receiver);
                senders.push(sender);
            }
            naive.sort_unstable();
            let mut inbox = Inbox::new(receivers);
            let mut merged = Vec::new();
            for until_us in [until_us, u64::MAX] {
                while inbox.merge(until_us, 7, |arrival| {
                    if let Arrival::Event(event) = arrival { merged.push(event.at_us) }
                }) > 0 {}
                let expected = naive.iter().filter(|at_us| **at_us <= until_us).count();
                prop_assert_eq!(merged.len(), expected);
            }
            prop_assert_eq!(merged, naive);
        }
    }
}
