//! What the workers sent, merged by time: an exact merge over a cursor per worker, for each
//! worker's pages are in order.

use crate::messages::pulls::{Parcel, PullReceiver, Unfolded};
use crate::pure::pull::event::{Event, Page};

/// All workers' ways to the aggregator.
pub struct Inbox {
    lanes: Vec<Lane>,
}

/// One worker's way, and the page that is being read.
struct Lane {
    receiver: PullReceiver,
    page: Option<Box<Page>>,
    /// Where the next event stands in the page.
    at: usize,
    /// When it happened.
    at_us: u64,
}

/// What is taken out of the inbox.
pub enum Arrival<'a> {
    /// One event.
    Event(Event<'a>),
    /// Totals of requests whose events could not be kept.
    Unfolded(Box<Unfolded>),
}

impl Inbox {
    /// An inbox of these workers.
    pub fn new(receivers: Vec<PullReceiver>) -> Self {
        let lane = |receiver| Lane { receiver, page: None, at: 0, at_us: 0 };
        Self { lanes: receivers.into_iter().map(lane).collect() }
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
            let Some((next, until_us)) = self.next_lane(until_us) else {
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
    fn take(&mut self, take: &mut impl FnMut(Arrival<'_>)) {
        let Some(page) = &mut self.page else {
            return;
        };
        if let Some((event, next)) = page.take(self.at) {
            take(Arrival::Event(event));
            self.at = next;
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
            match self.receiver.try_take() {
                Err(_) => return,
                Ok(Parcel::Unfolded(unfolded)) => take(Arrival::Unfolded(unfolded)),
                Ok(Parcel::Page(page)) => match page.at_us(0) {
                    None => self.receiver.give_back(page),
                    Some(at_us) => {
                        (self.at, self.at_us) = (0, at_us);
                        self.page = Some(page);
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::pulls::channel;
    use crate::pure::pull::event::{Asked, Outcome};
    use proptest::prelude::*;

    fn event(at_us: u64) -> Event<'static> {
        Event {
            at_us,
            address: [0; 16],
            connection: 1,
            asked: Asked::Manifest,
            outcome: Outcome::Redirected,
            id: b"",
            domain: b"d",
            collection: b"",
            name: b"n",
            reference: b"t",
            user_agent: b"",
        }
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
