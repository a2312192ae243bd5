//! The pull event and the page it travels in.
//!
//! A worker appends events to a page, the aggregator reads them and gives the page back. Appending
//! allocates nothing; reading takes the address out of the page, and clearing overwrites all that
//! was written.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::pure::limits::{DIGEST_BYTES_MAX, PAGE_BYTES, USER_AGENT_BYTES_MAX};
use crate::pure::pull::kin::KIN_BYTES_MAX;

/// What a client asked for, as far as counting is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Asked {
    /// `GET /v2/<name>/manifests/<reference>`
    Manifest = 0,
    /// `HEAD /v2/<name>/manifests/<reference>`
    ManifestHead = 1,
    /// `GET /v2/<name>/blobs/<digest>`
    Blob = 2,
    /// `GET /v2/<name>/referrers/<digest>`
    Referrers = 3,
    /// `HEAD /v2/<name>/blobs/<digest>`
    BlobHead = 4,
    /// No request: the end of a blob's way through the gateway.
    BlobEnd = 5,
}

/// How it was answered. What failed is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// Redirected to the backend: what came of it there is unseen.
    Redirected = 0,
    /// Answered 2xx.
    Succeeded = 1,
    /// Answered 304.
    NotModified = 2,
    /// Of a blob's end: it broke off.
    Broken = 3,
}

impl Outcome {
    /// What it is to somebody who asked for a manifest, in a word; a blob's end is none.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redirected => "unseen",
            Self::Succeeded | Self::Broken => "found",
            Self::NotModified => "unchanged",
        }
    }
}

/// How what was asked for gets to the client. The numbers stand in the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Way {
    /// The client was sent to the registry.
    Redirect = 0,
    /// The gateway asked the registry; layers come from its storage.
    Broker = 1,
    /// The gateway asked the registry, and layers come through it too.
    Stream = 2,
}

impl Way {
    /// The word, as in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Broker => "broker",
            Self::Stream => "stream",
        }
    }
}

/// A client's address: IPv6, or IPv4 in its mapped form (`::ffff:a.b.c.d`). It is never shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Address(pub [u8; 16]);

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(not shown)")
    }
}

/// One request that counting looks at. Texts are borrowed: from the request and the snapshot when
/// it is appended, from the page when it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// When the request was answered, in microseconds of the monotonic clock: what a client asks
    /// for next comes after it.
    pub at_us: u64,
    /// Who asked.
    pub address: Address,
    /// Which connection it came by: unique among this process's connections.
    pub connection: u64,
    /// What was asked for.
    pub asked: Asked,
    /// How it was answered.
    pub outcome: Outcome,
    /// How it gets to the client.
    pub way: Way,
    /// Whether the client asks not to be tracked.
    pub is_private: bool,
    /// The package's `id` where the configuration gives one, else empty.
    pub id: &'a [u8],
    /// The rule's domain as configured, lower case; `*` for any.
    pub domain: &'a [u8],
    /// The collection rule's `name` (`acme/*`) that matched, empty for an exact name.
    pub collection: &'a [u8],
    /// The repository name that the client asked for.
    pub name: &'a [u8],
    /// The tag or digest.
    pub reference: &'a [u8],
    /// The first [`USER_AGENT_BYTES_MAX`] bytes of the user agent, as sent.
    pub user_agent: &'a [u8],
    /// The digest of the manifest that was answered, also to a HEAD; empty where it is not known,
    /// as under a redirect.
    pub digest: &'a [u8],
    /// What that manifest says, as [`crate::pure::pull::kin::Kin::bytes`]; empty where its body
    /// was not read.
    pub kin: &'a [u8],
    /// Of a blob's end: how many bytes the client was sent.
    pub bytes: u64,
}

/// A page of events: [`PAGE_BYTES`] of memory, aligned so that it can be kept out of core dumps.
pub struct Page {
    memory: Box<Memory>,
    used: usize,
    events: usize,
    opened_at_us: u64,
}

/// The memory itself, aligned to the system's pages.
#[repr(C, align(4096))]
struct Memory([u8; PAGE_BYTES]);

/// No room: the event was not appended. Take a fresh page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFull;

impl Page {
    /// An empty page.
    pub fn new() -> Self {
        Self { memory: Box::new(Memory([0; PAGE_BYTES])), used: 0, events: 0, opened_at_us: 0 }
    }

    /// Appends `event`; the user agent is cut to its bound, and what is known of the answer is left
    /// out where it is beyond its own.
    pub fn append(&mut self, event: &Event<'_>) -> Result<(), PageFull> {
        let agent = &event.user_agent[..event.user_agent.len().min(USER_AGENT_BYTES_MAX)];
        let within = |text, bytes_max| if <[u8]>::len(text) <= bytes_max { text } else { &[] };
        let digest = within(event.digest, DIGEST_BYTES_MAX);
        let kin = within(event.kin, KIN_BYTES_MAX);
        let Event { id, domain, collection, name, reference, .. } = *event;
        let texts = [id, domain, collection, name, reference, agent, digest, kin];
        let length = HEAD_BYTES + texts.iter().map(|text| text.len()).sum::<usize>();
        let Some(record) = self.memory.0.get_mut(self.used..self.used + length) else {
            return Err(PageFull);
        };
        record[0..8].copy_from_slice(&event.at_us.to_ne_bytes());
        record[8..24].copy_from_slice(&event.address.0);
        record[24..32].copy_from_slice(&event.connection.to_ne_bytes());
        record[32] = event.asked as u8;
        record[33] = event.outcome as u8;
        record[34] = event.way as u8;
        record[35] = u8::from(event.is_private);
        record[BYTES_AT..LENGTHS_AT].copy_from_slice(&event.bytes.to_ne_bytes());
        let mut at = HEAD_BYTES;
        for (index, text) in texts.iter().enumerate() {
            // Every text is bounded far below 64 KiB: it came out of one request or a checked rule.
            let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
            record[LENGTHS_AT + 2 * index..][..2].copy_from_slice(&length.to_ne_bytes());
            record[at..at + text.len()].copy_from_slice(text);
            at += text.len();
        }
        if self.events == 0 {
            self.opened_at_us = event.at_us;
        }
        self.used += length;
        self.events += 1;
        Ok(())
    }

    /// The event at byte `at` of the page (0 for the first) and where the next one begins; `None`
    /// past the last. The address is overwritten in the page: it can be read once.
    pub fn take(&mut self, at: usize) -> Option<(Event<'_>, usize)> {
        if at >= self.used {
            return None;
        }
        let record = &mut self.memory.0[at..self.used];
        let mut address = [0; 16];
        address.copy_from_slice(&record[8..24]);
        record[8..24].fill(0);
        let record = &self.memory.0[at..self.used];
        let mut texts: [&[u8]; TEXTS] = [&[]; TEXTS];
        let mut end = HEAD_BYTES;
        for (index, text) in texts.iter_mut().enumerate() {
            let length = usize::from(u16_at(record, LENGTHS_AT + 2 * index));
            *text = &record[end..end + length];
            end += length;
        }
        let [id, domain, collection, name, reference, user_agent, digest, kin] = texts;
        let event = Event {
            at_us: u64_at(record, 0),
            address: Address(address),
            connection: u64_at(record, 24),
            asked: match record[32] {
                0 => Asked::Manifest,
                1 => Asked::ManifestHead,
                2 => Asked::Blob,
                3 => Asked::Referrers,
                4 => Asked::BlobHead,
                _ => Asked::BlobEnd,
            },
            outcome: match record[33] {
                0 => Outcome::Redirected,
                1 => Outcome::Succeeded,
                2 => Outcome::NotModified,
                _ => Outcome::Broken,
            },
            way: match record[34] {
                0 => Way::Redirect,
                1 => Way::Broker,
                _ => Way::Stream,
            },
            is_private: record[35] != 0,
            id,
            domain,
            collection,
            name,
            reference,
            user_agent,
            digest,
            kin,
            bytes: u64_at(record, BYTES_AT),
        };
        Some((event, at + end))
    }

    /// What stands from byte `at` on, for a page of another process ([`Page::receive`]).
    pub fn rest(&self, at: usize) -> &[u8] {
        self.memory.0.get(at..self.used).unwrap_or_default()
    }

    /// Takes what another process's page [had](Page::rest), in its place; `false`, and nothing, where
    /// those are no events in the order of their time.
    pub fn receive(&mut self, events: &[u8]) -> bool {
        self.clear();
        let Some(room) = self.memory.0.get_mut(..events.len()) else {
            return false;
        };
        room.copy_from_slice(events);
        let (mut at, mut last_us) = (0, 0);
        while at < events.len() {
            let record = &events[at..];
            if record.len() < HEAD_BYTES || u64_at(record, 0) < last_us {
                break;
            }
            last_us = u64_at(record, 0);
            let lengths = (0..TEXTS).map(|index| u16_at(record, LENGTHS_AT + 2 * index));
            at += HEAD_BYTES + lengths.map(usize::from).sum::<usize>();
            self.events += 1;
        }
        self.used = events.len();
        if at != events.len() {
            self.clear();
            return false;
        }
        self.opened_at_us = self.at_us(0).unwrap_or(0);
        true
    }

    /// When the event at byte `at` happened, without taking it; `None` past the last.
    pub fn at_us(&self, at: usize) -> Option<u64> {
        (at < self.used).then(|| u64_at(&self.memory.0[at..], 0))
    }

    /// How many events the page holds.
    pub fn len(&self) -> usize {
        self.events
    }

    /// Whether nothing was appended since the page was made or cleared.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// When the first event happened, in microseconds; 0 for an empty page.
    pub fn opened_at_us(&self) -> u64 {
        self.opened_at_us
    }

    /// Overwrites all that was written and makes the page empty.
    pub fn clear(&mut self) {
        self.memory.0[..self.used].fill(0);
        self.used = 0;
        self.events = 0;
        self.opened_at_us = 0;
    }

    /// The whole memory, for keeping it out of core dumps.
    pub fn memory(&self) -> &[u8; PAGE_BYTES] {
        &self.memory.0
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::new()
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(value)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

/// How many texts an event carries.
const TEXTS: usize = 8;
/// Where the bytes that were sent stand in a record: after time, address, connection, and a byte each
/// for what was asked for, how it was answered, which way, and whether in private.
const BYTES_AT: usize = 36;
/// Where the texts' lengths stand.
const LENGTHS_AT: usize = BYTES_AT + 8;
/// The fixed part of a record.
const HEAD_BYTES: usize = LENGTHS_AT + 2 * TEXTS;

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event<'static> {
        Event {
            at_us: 7,
            address: Address([9; 16]),
            connection: 3,
            asked: Asked::ManifestHead,
            outcome: Outcome::Redirected,
            way: Way::Stream,
            is_private: true,
            id: b"",
            domain: b"registry.acme.com",
            collection: b"acme/*",
            name: b"acme/rocket",
            reference: b"latest",
            user_agent: b"docker/28.5.2 go/go1.24",
            digest: b"sha256:c0ffee",
            kin: b"\x01 a child",
            bytes: 1 << 40,
        }
    }

    #[test]
    fn what_was_appended_is_read_back_until_the_page_is_full() {
        let mut page = Page::new();
        let mut appended = 0;
        while page.append(&Event { at_us: 7 + appended, ..event() }).is_ok() {
            appended += 1;
        }
        assert!(appended > 350);
        let (mut at, mut seen) = (0, 0);
        while let Some((read, next)) = page.take(at) {
            assert_eq!(read, Event { at_us: 7 + seen, ..event() });
            (at, seen) = (next, seen + 1);
        }
        assert_eq!(seen, appended);
        assert_eq!(page.len() as u64, appended);
    }

    #[test]
    fn an_address_is_read_once_and_nothing_stays_after_clearing() {
        let mut page = Page::new();
        page.append(&event()).unwrap();
        assert_eq!(page.take(0).unwrap().0.address, Address([9; 16]));
        assert_eq!(page.take(0).unwrap().0.address, Address([0; 16]));
        page.clear();
        assert!(page.memory().iter().all(|byte| *byte == 0));
        assert!(page.take(0).is_none());
    }

    #[test]
    fn an_address_is_not_shown_whatever_shows_the_event() {
        let shown = format!("{:?}", Event { address: Address([0xab; 16]), ..event() });
        assert!(shown.contains("Address(not shown)"), "{shown}");
        assert!(!shown.contains("171") && !shown.contains("ab, ab"), "{shown}");
    }

    #[test]
    fn what_is_left_of_a_page_is_the_same_elsewhere_and_nonsense_is_refused() {
        let mut page = Page::new();
        for at_us in [7, 9, 9] {
            page.append(&Event { at_us, ..event() }).unwrap();
        }
        let (_, second) = page.take(0).unwrap();
        let left = page.rest(second).to_vec();
        let mut elsewhere = Page::new();
        assert!(elsewhere.receive(&left));
        assert_eq!((elsewhere.len(), elsewhere.opened_at_us()), (2, 9));
        let (read, next) = elsewhere.take(0).unwrap();
        assert_eq!(read, Event { at_us: 9, ..event() });
        assert_eq!(elsewhere.take(next).unwrap().1, left.len());
        for cut in 1..left.len() {
            let is_whole = cut == left.len() / 2;
            assert_eq!(elsewhere.receive(&left[..cut]), is_whole, "cut at {cut}");
        }
        let backwards = [&left[..], &event_bytes(8)].concat();
        assert!(!elsewhere.receive(&backwards) && elsewhere.is_empty());
        assert!(!elsewhere.receive(&[0; PAGE_BYTES + 1]));
        assert!(elsewhere.memory().iter().all(|byte| *byte == 0));
    }

    fn event_bytes(at_us: u64) -> Vec<u8> {
        let mut page = Page::new();
        page.append(&Event { at_us, ..event() }).unwrap();
        page.rest(0).to_vec()
    }

    #[test]
    fn a_long_user_agent_is_cut_and_an_endless_answer_is_left_out() {
        let mut page = Page::new();
        let long = &[b'x'; 5000];
        page.append(&Event { user_agent: long, digest: long, kin: long, ..event() }).unwrap();
        let read = page.take(0).unwrap().0;
        assert_eq!(read.user_agent.len(), USER_AGENT_BYTES_MAX);
        assert_eq!((read.digest, read.kin), (&b""[..], &b""[..]));
    }
}
