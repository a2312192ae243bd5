//! From one process to the next: what an aggregator knows, as bytes for the one that goes on, and the
//! events of workers that outlive it.
//!
//! Both speak of the same layouts in memory: [`VERSION`] is another wherever one of them changes.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::aggregator::inbox::Forwarded;
use crate::aggregator::lock::Lock;
use crate::aggregator::names::Names;
use crate::aggregator::uniques::Uniques;
use crate::messages::pulls::{Parcel, PullReceiver, Relay, relay};
use crate::pure::client::Client;
use crate::pure::limits::PAGE_BYTES;
use crate::pure::place::Place;
use crate::pure::pull::fold::Fold;

/// Which form everything here has: of open windows, of names and of pages of events.
pub const VERSION: u32 = 1;

/// What is known by who counts, beside what the store has.
#[derive(Serialize)]
pub struct Known<'a> {
    /// Windows that are open, and the key that tells clients apart.
    pub fold: &'a Fold,
    /// The day of that key.
    pub key_day: u32,
    /// What windows and events call packages and tags.
    pub names: &'a Names,
    /// What they call clients,
    pub clients: &'a [Client],
    /// and places.
    pub places: Vec<&'a Place>,
    /// Who was seen,
    pub uniques: &'a Uniques,
    /// and on which day.
    pub unique_day: u32,
}

/// The same, for who goes on.
#[derive(Deserialize)]
pub struct Estate {
    pub(super) fold: Fold,
    pub(super) key_day: u32,
    pub(super) names: Names,
    pub(super) clients: Vec<Client>,
    pub(super) places: Vec<Place>,
    pub(super) uniques: Uniques,
    pub(super) unique_day: u32,
}

impl Known<'_> {
    /// All of it as bytes: as much again as it takes in memory, at the most.
    ///
    /// # Errors
    /// In words, that it cannot be written.
    pub fn bytes(&self) -> Result<Vec<u8>, String> {
        postcard::to_stdvec(self).map_err(|error| format!("what is counted by: {error}"))
    }
}

impl Estate {
    /// What was written by [`Known::bytes`].
    ///
    /// # Errors
    /// In words, that it makes no sense.
    pub fn read(bytes: &[u8]) -> Result<Self, String> {
        postcard::from_bytes(bytes).map_err(|error| format!("what was counted by: {error}"))
    }
}

/// What an aggregator leaves to the next.
pub struct Legacy {
    /// An [`Estate`]: it has keys in it, and is to be overwritten once it was sent.
    pub estate: Vec<u8>,
    /// How many workers its own events come from.
    pub lanes: usize,
}

/// How an aggregator begins.
pub struct Beginning {
    /// What it may write under.
    pub lock: Lock,
    /// What the process before it has left, where there was one.
    pub before: Option<Before>,
}

/// What the process before has left.
pub struct Before {
    /// What it knew.
    pub estate: Estate,
    /// Its workers, as long as they last.
    pub lanes: Vec<PullReceiver>,
    /// How long that may be, in microseconds from now.
    pub lasts_us: u64,
}

/// Hands events on to the process that counts.
pub struct Forwarding {
    to: Box<dyn Write + Send>,
    /// Why that is over.
    broken: Option<io::Error>,
    /// What could not be handed on, in bytes of events.
    lost_bytes: u64,
}

impl Forwarding {
    /// Hands them on to who [hears](Lanes::hear) them at the other end.
    pub fn new(to: Box<dyn Write + Send>) -> Self {
        Self { to, broken: None, lost_bytes: 0 }
    }

    /// Hands on what a worker has sent. Waits for the other process, which waits for its store at times.
    pub fn give(&mut self, lane: usize, what: Forwarded<'_>) {
        match what {
            Forwarded::Events(events) => self.send(EVENTS, lane, events),
            Forwarded::Unfolded(unfolded) => match postcard::to_stdvec(unfolded) {
                Ok(bytes) => self.send(UNFOLDED, lane, &bytes),
                Err(error) => self.broken = Some(io::Error::other(error)),
            },
        }
    }

    /// That was all. Whether it was handed on.
    pub fn end(mut self) -> bool {
        self.send(END, 0, &[]);
        match self.broken {
            None => true,
            Some(error) => {
                tracing::error!(
                    bytes = self.lost_bytes,
                    "events could not be handed over to the process that counts now ({error}); they \
                     are lost with this one"
                );
                false
            }
        }
    }

    fn send(&mut self, kind: u8, lane: usize, payload: &[u8]) {
        if self.broken.is_none() {
            let mut head = [0; HEAD_BYTES];
            head[0] = kind;
            // Workers and payloads are far below 2^32.
            head[1..5].copy_from_slice(&u32::try_from(lane).unwrap_or(u32::MAX).to_le_bytes());
            let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
            head[5..].copy_from_slice(&length.to_le_bytes());
            let sent = self.to.write_all(&head).and_then(|()| self.to.write_all(payload));
            self.broken = sent.err();
        }
        if self.broken.is_some() {
            self.lost_bytes += payload.len() as u64;
        }
    }
}

/// Hears the workers of the process before.
pub struct Lanes(Vec<Relay>);

/// The two ends of the ways of `count` workers.
pub fn lanes(count: usize) -> (Lanes, Vec<PullReceiver>) {
    let (relays, receivers) = (0..count).map(|_| relay()).unzip();
    (Lanes(relays), receivers)
}

impl Lanes {
    /// Hears them to their end.
    ///
    /// # Errors
    /// That it came too early: something was not handed over.
    pub fn hear(self, mut from: impl Read) -> io::Result<()> {
        let nonsense = || io::Error::new(io::ErrorKind::InvalidData, "nobody could have sent this");
        let mut payload = Vec::new();
        loop {
            let mut head = [0; HEAD_BYTES];
            from.read_exact(&mut head)?;
            let [kind, a, b, c, d, e, f, g, h] = head;
            if kind == END {
                return Ok(());
            }
            let lane = u32::from_le_bytes([a, b, c, d]) as usize;
            let length = u32::from_le_bytes([e, f, g, h]);
            let relay = self.0.get(lane).ok_or_else(nonsense)?;
            payload.clear();
            if from.by_ref().take(u64::from(length)).read_to_end(&mut payload)? != length as usize {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let parcel = match kind {
                EVENTS if payload.len() <= PAGE_BYTES => {
                    let mut page = relay.page();
                    let is_read = page.receive(&payload);
                    // Addresses were in it.
                    payload.fill(0);
                    if !is_read {
                        return Err(nonsense());
                    }
                    Parcel::Page(page)
                }
                UNFOLDED => {
                    let unfolded = postcard::from_bytes(&payload).map_err(|_| nonsense())?;
                    Parcel::Unfolded(Box::new(unfolded))
                }
                _ => return Err(nonsense()),
            };
            if !relay.send(parcel) {
                return Err(io::Error::other("counting has ended"));
            }
        }
    }
}

/// What a message begins with: its kind, the number of its lane and its length.
const HEAD_BYTES: usize = 9;
const END: u8 = 0;
const EVENTS: u8 = 1;
const UNFOLDED: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    use crate::messages::pulls::{Unfolded, UnfoldedRequests};
    use crate::pure::pull::event::{Address, Asked, Event, Outcome, Page, Way};

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
            domain: b"acme.com",
            collection: b"",
            name: b"rocket",
            reference: b"latest",
            user_agent: b"",
            digest: b"",
            kin: b"",
            bytes: 0,
        }
    }

    #[test]
    fn what_is_handed_on_is_heard_lane_by_lane() {
        let (to, from) = UnixStream::pair().unwrap();
        let (lanes, receivers) = lanes(2);
        let mut forwarding = Forwarding::new(Box::new(to));
        let mut page = Page::new();
        for at_us in [7, 8] {
            page.append(&event(at_us)).unwrap();
        }
        let (_, second) = page.take(0).unwrap();
        forwarding.give(1, Forwarded::Events(page.rest(second)));
        let requests_other = UnfoldedRequests { all: 3, unseen: 2 };
        let unfolded = Unfolded { requests_other, total: 3, since_us: 9, ..Unfolded::default() };
        forwarding.give(0, Forwarded::Unfolded(&unfolded));
        assert!(forwarding.end());
        lanes.hear(from).unwrap();
        let Ok(Parcel::Page(mut page)) = receivers[1].try_take() else { panic!("a page") };
        assert_eq!(page.take(0).unwrap().0, event(8));
        let Ok(Parcel::Unfolded(heard)) = receivers[0].try_take() else { panic!("totals") };
        assert_eq!(*heard, unfolded);
        assert!(receivers.iter().all(|it| it.try_take().is_err_and(|it| it.is_disconnected())));
    }

    #[test]
    fn an_end_that_comes_too_early_is_told_at_both_ends() {
        let (to, from) = UnixStream::pair().unwrap();
        let (one, _receivers) = lanes(1);
        drop(to);
        assert_eq!(one.hear(from).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);

        let (to, from) = UnixStream::pair().unwrap();
        drop(from);
        let mut forwarding = Forwarding::new(Box::new(to));
        let mut page = Page::new();
        page.append(&event(7)).unwrap();
        forwarding.give(0, Forwarded::Events(page.rest(0)));
        assert!(!forwarding.end());
    }

    #[test]
    fn what_nobody_could_have_sent_is_refused() {
        for (kind, lane, payload) in [(EVENTS, 0, &b"no event"[..]), (EVENTS, 1, b""), (9, 0, b"")]
        {
            let mut bytes = vec![kind, lane, 0, 0, 0, 0, 0, 0, 0];
            bytes[5] = u8::try_from(payload.len()).unwrap();
            bytes.extend(payload);
            let (one, _receivers) = lanes(1);
            let refused = one.hear(&bytes[..]).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::InvalidData, "{kind} {lane}");
        }
    }
}
