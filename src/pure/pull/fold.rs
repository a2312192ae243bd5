//! The table of open windows: which requests belong together, over all workers and connections.
//!
//! A window is fixed, from the first manifest request of its key; the key is a keyed hash of the
//! client's address, its user agent's family and major version, and the package. No address is
//! kept. Time, and the hash's key, are arguments.

use std::collections::VecDeque;
use std::hash::Hasher as _;
use std::hint::black_box;

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use crate::pure::limits::{FOLD_REFERENCES_MAX, FOLD_WINDOWS_MAX};
use crate::pure::pull::event::{Address, Asked, Outcome, Way};
use crate::pure::pull::families::Families;
use crate::pure::pull::kin::reference_hash;
use crate::pure::pull::platform::Platform;
use crate::pure::pull::rollup::Measures;
use crate::pure::pull::window::{Answer, Named, Subject, TagRow, Window};

/// One request, with what the aggregator knows about it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// When it was answered, in microseconds of the monotonic clock.
    pub at_us: u64,
    /// The minute it was answered in, counted from the Unix epoch by the wall clock.
    pub minute: u32,
    /// The client: its IPv4 address in the mapped form, or its IPv6 /64.
    pub source: Address,
    /// Which connection it came by.
    pub connection: u64,
    /// What was asked for.
    pub asked: Asked,
    /// How it was answered.
    pub outcome: Outcome,
    /// How it gets to the client.
    pub way: Way,
    /// The package's number in the bookings.
    pub package: u32,
    /// What tells the package from all others, also from those that share its number.
    pub package_identity: &'a [u8],
    /// The client program's number in the bookings.
    pub client: u32,
    /// The client program's family.
    pub family: &'a str,
    /// Its major version.
    pub major: &'a str,
    /// The tag or digest.
    pub reference: &'a [u8],
    /// The tag's row; ignored for anything but a tag.
    pub row: TagRow,
    /// The digest of the manifest that was answered; empty where it is not known.
    pub digest: &'a [u8],
    /// What that manifest says: [`Kin::bytes`](crate::pure::pull::kin::Kin::bytes), or empty.
    pub kin: &'a [u8],
    /// Of a blob's end: how many bytes were sent.
    pub bytes: u64,
}

/// Something to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booking {
    /// See [`Request::package`].
    pub package: u32,
    /// See [`Request::client`].
    pub client: u32,
    /// The tag's row.
    pub row: TagRow,
    /// Where its window's first request came from: a number of the caller's.
    pub place: u32,
    /// How it got to the client; `None` where that is not known.
    pub way: Option<Way>,
    /// What the image is for of a pull, told once for each: only that pull is counted by it.
    pub platform: Platform,
    /// The minute that it is booked in: the one in which its window opened.
    pub minute: u32,
    /// What to add.
    pub measures: Measures,
}

/// The random key of the hash that tells clients apart.
pub type Key = [u8; 16];

/// The open windows. What another process goes on with is all of it but the table by keys, which is
/// made again, and the numbers that it says about itself.
#[derive(Serialize, Deserialize)]
pub struct Fold {
    key: Key,
    /// Yesterday's key and until when windows that were opened with it may be open.
    key_before: Option<(Key, u64)>,
    #[serde(skip)]
    window_us: u64,
    /// The latest time that was seen: it never goes back.
    now_us: u64,
    windows: Vec<Open>,
    unused: Vec<u32>,
    #[serde(skip)]
    by_key: HashTable<u32>,
    /// In the order in which they opened, and so will close.
    by_age: VecDeque<u32>,
    references: usize,
    families: Families,
    #[serde(skip)]
    meters: Meters,
}

/// What folding says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meters {
    /// Windows that are open.
    pub windows_open: usize,
    /// Windows that were booked early for want of room.
    pub evictions: u64,
    /// Windows in which manifest requests of more than one connection were folded together.
    pub joined_connections: u64,
}

#[derive(Serialize, Deserialize)]
struct Open {
    key: u64,
    opened_at_us: u64,
    connection: u64,
    minute: u32,
    package: u32,
    client: u32,
    place: u32,
    way: Way,
    is_of_several_connections: bool,
    asked: Window,
}

impl Fold {
    /// No window is open; `window_us` is how long one will be, in microseconds.
    pub fn new(key: Key, window_us: u64) -> Self {
        Self {
            key,
            key_before: None,
            window_us,
            now_us: 0,
            windows: Vec::new(),
            unused: Vec::new(),
            by_key: HashTable::new(),
            by_age: VecDeque::new(),
            references: 0,
            families: Families::default(),
            meters: Meters::default(),
        }
    }

    /// Goes on where another process has ended, from what that has written of its own; `None` where it
    /// makes no sense.
    pub fn restored(mut self, window_us: u64) -> Option<Self> {
        self.window_us = window_us;
        for number in &self.by_age {
            let key = self.windows.get(*number as usize)?.key;
            let key_of = |at: &u32| self.windows.get(*at as usize).map_or(0, |open| open.key);
            self.by_key.insert_unique(key, *number, key_of);
        }
        let is_there = |number: &u32| (*number as usize) < self.windows.len();
        self.unused.iter().all(is_there).then_some(self)
    }

    /// Changes how long windows are, also those that are open.
    pub fn set_window(&mut self, window_us: u64) {
        self.window_us = window_us;
    }

    /// Hashes with a new key from now on. The old one is kept for a window, so that no pull is
    /// split; until then another change is refused with `false`.
    pub fn rotate(&mut self, key: Key) -> bool {
        if self.key_before.is_some() {
            return false;
        }
        let before = std::mem::replace(&mut self.key, key);
        self.key_before = Some((before, self.now_us.saturating_add(self.window_us)));
        true
    }

    /// Takes one request and books what it makes. Requests come in the order of their time. Where
    /// it comes from is asked of `locate` once for each window, at its first request, and for what
    /// belongs to none.
    pub fn take(
        &mut self,
        request: &Request<'_>,
        locate: &mut impl FnMut() -> u32,
        book: &mut impl FnMut(Booking),
    ) {
        self.pass(request.at_us, book);
        let hash = reference_hash(request.reference);
        let answered = (!request.digest.is_empty()).then(|| reference_hash(request.digest));
        if let Some(digest) = answered {
            self.families.learn(digest, request.kin);
        }
        match (request.asked, Subject::of(request.reference)) {
            (Asked::Referrers, _) => {
                let measures = Measures { supply_chain: 1, ..Measures::ZERO };
                self.book_supply_chain(request, measures, locate, book);
            }
            (Asked::Blob | Asked::BlobHead, _) => self.take_blob(request, hash, locate, book),
            (Asked::BlobEnd, _) => self.take_blobs_end(request, hash, locate, book),
            (Asked::Manifest | Asked::ManifestHead, Subject::SupplyChain) => {
                self.take_signature(request, locate, book);
            }
            (Asked::Manifest | Asked::ManifestHead, subject @ (Subject::Tag | Subject::Digest)) => {
                let is_digest = subject == Subject::Digest;
                let digest = answered.or_else(|| is_digest.then_some(hash));
                if self.is_supply_chain(request, hash, digest) {
                    return self.take_signature(request, locate, book);
                }
                let named = Named { hash, row: request.row, is_digest };
                let at = match self.find(request) {
                    Some(at) => at,
                    None => self.open(request, locate(), book),
                };
                self.take_manifest(at, request, named, digest, book);
            }
        }
    }

    /// Closes the windows that are over at `now_us`, and books their checks.
    pub fn pass(&mut self, now_us: u64, book: &mut impl FnMut(Booking)) {
        self.now_us = self.now_us.max(now_us);
        while let Some(oldest) = self.by_age.front().and_then(|at| self.windows.get(*at as usize))
            && oldest.opened_at_us.saturating_add(self.window_us) <= self.now_us
        {
            self.close_oldest(book);
        }
        if self.key_before.is_some_and(|(_, until_us)| until_us <= self.now_us) {
            if let Some((key, _)) = &mut self.key_before {
                // Overwritten in its place, and not only forgotten.
                key.fill(0);
                black_box(&*key);
            }
            self.key_before = None;
        }
    }

    /// Closes all windows, and books their checks: an orderly stop.
    pub fn close(&mut self, book: &mut impl FnMut(Booking)) {
        while !self.by_age.is_empty() {
            self.close_oldest(book);
        }
    }

    /// Forgets all open windows without booking their checks.
    pub fn forget(&mut self) {
        self.windows.clear();
        self.unused.clear();
        self.by_key.clear();
        self.by_age.clear();
        self.references = 0;
        self.families = Families::default();
    }

    /// Forgets the windows of which `is_gone` is true, by their package and the minute in which they
    /// opened, without booking their checks.
    pub fn forget_some(&mut self, is_gone: impl Fn(u32, u32) -> bool) {
        let gone = |number: &u32| {
            let open = self.windows.get(*number as usize);
            open.is_some_and(|open| is_gone(open.package, open.minute))
        };
        let (gone, stay): (Vec<u32>, Vec<u32>) =
            self.by_age.iter().partition(|number| gone(number));
        self.by_age = stay.into();
        for number in gone {
            let open = &mut self.windows[number as usize];
            self.references -= open.asked.len();
            open.asked.clear();
            self.release(number);
        }
    }

    /// The windows that are open: of which package each is, and what it names.
    pub fn open_windows(&self) -> impl Iterator<Item = (u32, impl Iterator<Item = TagRow>)> {
        let windows = self.by_age.iter().filter_map(|at| self.windows.get(*at as usize));
        windows.map(|open| (open.package, open.asked.rows()))
    }

    /// What folding says about itself.
    pub fn meters(&self) -> Meters {
        Meters { windows_open: self.by_age.len(), ..self.meters }
    }

    /// Whether a manifest is known to be a signature, an attestation or an SBOM. The attestation
    /// that belongs to an index of its window is a part of the pull.
    fn is_supply_chain(&mut self, request: &Request<'_>, hash: u64, digest: Option<u64>) -> bool {
        if !digest.is_some_and(|digest| self.families.is_supply_chain(digest)) {
            return false;
        }
        let window = self.find(request).map(|at| &self.windows[at].asked);
        !window.is_some_and(|window| window.lists(hash, &mut self.families))
    }

    fn take_blob(
        &mut self,
        request: &Request<'_>,
        blob: u64,
        locate: &mut impl FnMut() -> u32,
        book: &mut impl FnMut(Booking),
    ) {
        if request.asked == Asked::Blob && request.outcome == Outcome::Succeeded {
            let measures = Measures { blobs: 1, ..Measures::ZERO };
            self.book_blob(request, blob, measures, locate, book);
        }
        let Some(at) = self.find(request) else {
            return;
        };
        let open = &mut self.windows[at];
        if let Some(row) = open.asked.prove() {
            let measures = Measures { pulls: 1, ..Measures::ZERO };
            book(open.book(row, measures));
        }
        if let Some(row) = open.asked.layer(blob, &mut self.families) {
            let measures = Measures { complete: 1, ..Measures::ZERO };
            book(open.book(row, measures));
        }
    }

    /// What has come of a blob's way through the gateway.
    fn take_blobs_end(
        &mut self,
        request: &Request<'_>,
        blob: u64,
        locate: &mut impl FnMut() -> u32,
        book: &mut impl FnMut(Booking),
    ) {
        let is_broken = request.outcome == Outcome::Broken;
        let (blob_bytes, blobs_aborted) = (request.bytes, u64::from(is_broken));
        let measures = Measures { blob_bytes, blobs_aborted, ..Measures::ZERO };
        self.book_blob(request, blob, measures, locate, book);
        if let Some(at) = self.find(request) {
            let window = &mut self.windows[at].asked;
            match is_broken {
                true => window.broke_off(blob, &mut self.families),
                false => window.has_come(blob),
            }
        }
    }

    /// Books under the pull that a blob belongs to, else by digest.
    fn book_blob(
        &mut self,
        request: &Request<'_>,
        blob: u64,
        measures: Measures,
        locate: &mut impl FnMut() -> u32,
        book: &mut impl FnMut(Booking),
    ) {
        match self.find(request) {
            Some(at) => {
                let open = &self.windows[at];
                let row = open.asked.row_of_blob(blob, &mut self.families);
                book(open.book(row, measures));
            }
            None => {
                let Request { package, client, minute, way, .. } = *request;
                let (row, place, way) = (TagRow::BY_DIGEST, locate(), Some(way));
                let platform = Platform::NONE;
                book(Booking { package, client, row, place, way, platform, minute, measures });
            }
        }
    }

    /// A GET of a signature and its like is counted, a HEAD is not.
    fn take_signature(
        &self,
        request: &Request<'_>,
        locate: &mut impl FnMut() -> u32,
        book: &mut impl FnMut(Booking),
    ) {
        if request.asked == Asked::Manifest {
            let measures = Measures { supply_chain: 1, ..request.counted() };
            self.book_supply_chain(request, measures, locate, book);
        }
    }

    fn book_supply_chain(
        &self,
        request: &Request<'_>,
        measures: Measures,
        locate: &mut impl FnMut() -> u32,
        book: &mut impl FnMut(Booking),
    ) {
        let window = self.find(request);
        let place = window.map_or_else(locate, |at| self.windows[at].place);
        let Request { package, client, minute, way, .. } = *request;
        let (row, way, platform) = (TagRow::SUPPLY_CHAIN, Some(way), Platform::NONE);
        book(Booking { package, client, row, place, way, platform, minute, measures });
    }

    fn take_manifest(
        &mut self,
        at: usize,
        request: &Request<'_>,
        named: Named,
        digest: Option<u64>,
        book: &mut impl FnMut(Booking),
    ) {
        let open = &mut self.windows[at];
        if open.connection != request.connection && !open.is_of_several_connections {
            open.is_of_several_connections = true;
            self.meters.joined_connections += 1;
        }
        if open.asked.is_full() {
            self.meters.evictions += 1;
            self.references -= open.asked.len();
            open.settle(book);
        }
        let remembered = open.asked.len();
        let answer = Answer { outcome: request.outcome, digest };
        if request.asked == Asked::ManifestHead {
            open.asked.head(named, answer, request.family == DOCKER);
        } else {
            let got = open.asked.get(named, answer, &mut self.families);
            let measures = Measures { pulls: u64::from(got.is_pull), ..request.counted() };
            book(Booking { platform: got.platform, ..open.book(got.row, measures) });
        }
        self.references += open.asked.len() - remembered;
    }

    /// Where the request's window stands, if it is open.
    fn find(&self, request: &Request<'_>) -> Option<usize> {
        let look_up = |key: &Key| {
            let key = request.key(key);
            let is_it =
                |at: &u32| self.windows.get(*at as usize).is_some_and(|open| open.key == key);
            self.by_key.find(key, is_it).map(|at| *at as usize)
        };
        look_up(&self.key).or_else(|| look_up(&self.key_before.as_ref()?.0))
    }

    /// Opens the request's window, and closes the oldest ones where there is no room.
    fn open(&mut self, request: &Request<'_>, place: u32, book: &mut impl FnMut(Booking)) -> usize {
        while self.by_age.len() >= FOLD_WINDOWS_MAX || self.references >= FOLD_REFERENCES_MAX {
            self.meters.evictions += 1;
            self.close_oldest(book);
        }
        let key = request.key(&self.key);
        let at = self.unused.pop().map_or(self.windows.len(), |at| at as usize);
        if at == self.windows.len() {
            self.windows.push(Open::new());
        }
        let open = &mut self.windows[at];
        open.key = key;
        open.opened_at_us = self.now_us;
        open.connection = request.connection;
        open.minute = request.minute;
        open.package = request.package;
        open.client = request.client;
        open.place = place;
        open.way = request.way;
        open.is_of_several_connections = false;
        // FOLD_WINDOWS_MAX is far below 2^32.
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        self.by_age.push_back(number);
        self.by_key.insert_unique(key, number, |at| self.windows[*at as usize].key);
        at
    }

    fn close_oldest(&mut self, book: &mut impl FnMut(Booking)) {
        let Some(number) = self.by_age.pop_front() else {
            return;
        };
        let open = &mut self.windows[number as usize];
        self.references -= open.asked.len();
        open.settle(book);
        self.release(number);
    }

    /// A window that was closed makes room for another.
    fn release(&mut self, number: u32) {
        let key = self.windows[number as usize].key;
        if let Ok(entry) = self.by_key.find_entry(key, |at| *at == number) {
            entry.remove();
        }
        self.unused.push(number);
    }
}

/// The family of clients that ask for a tag by GET only after their HEAD of it failed.
const DOCKER: &str = "docker";

impl Open {
    fn new() -> Self {
        Self {
            key: 0,
            opened_at_us: 0,
            connection: 0,
            minute: 0,
            package: 0,
            client: 0,
            place: 0,
            way: Way::Redirect,
            is_of_several_connections: false,
            asked: Window::default(),
        }
    }

    /// Books what is known only now and forgets what was asked for.
    fn settle(&mut self, book: &mut impl FnMut(Booking)) {
        for (row, measures) in self.asked.closing() {
            book(self.book(row, measures));
        }
        self.asked.clear();
    }

    fn book(&self, row: TagRow, measures: Measures) -> Booking {
        let Self { package, client, place, way, minute, .. } = *self;
        let platform = Platform::NONE;
        Booking { package, client, row, place, way: Some(way), platform, minute, measures }
    }
}

impl Request<'_> {
    fn key(&self, key: &Key) -> u64 {
        let mut hasher = SipHasher13::new_with_key(key);
        hasher.write(&self.source.0);
        hasher.write(self.package_identity);
        // No identity, family or version contains it.
        hasher.write_u8(0xff);
        hasher.write(self.family.as_bytes());
        hasher.write_u8(0xff);
        hasher.write(self.major.as_bytes());
        hasher.finish()
    }

    /// The measures of a counted request.
    fn counted(&self) -> Measures {
        let unseen = u64::from(self.outcome == Outcome::Redirected);
        Measures { requests: 1, unseen, ..Measures::ZERO }
    }
}
