//! How many different clients pulled, and how many different companies: per package, by sketches
//! of keyed hashes. The key is random, only in memory, and overwritten when its day is over:
//! nobody can tell then whether a client of one day is that of another.
//!
//! What goes to the store is by how much a count has risen: a range of days is the sum of its days.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::hint::black_box;

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use crate::aggregator::clients::OTHER;
use crate::pure::config::values::UniqueWindow;
use crate::pure::limits::{CROWDS_BYTES_MAX, SKETCH_BYTES_MAX};
use crate::pure::pull::event::Address;
use crate::pure::pull::fold::Key;
use crate::pure::pull::rollup::{Dimension, Measures};
use crate::pure::pull::sketch::{SKETCH_BYTES_FIRST, Sketch};
use crate::pure::pull::window::TagRow;

/// What was seen since the period began. What another process goes on with is all of it but how it is
/// counted, what it costs there, and the numbers that it says about itself.
#[derive(Serialize, Deserialize)]
pub struct Uniques {
    key: Key,
    #[serde(skip, default = "any_window")]
    window: UniqueWindow,
    /// How many clients make a crowd: `insight.k_public`.
    #[serde(skip)]
    crowd: usize,
    clients: Counts,
    /// Of the month, whatever the window: names of companies need no key.
    companies: Counts,
    /// Whether it is known which of them the store has: until then it is told of none.
    are_companies_known: bool,
    /// Who pulled from a place, as long as these are few.
    crowds: HashMap<(u32, Dimension, u64, Option<TagRow>), Crowd, RandomState>,
    /// What those few cost.
    #[serde(skip)]
    crowds_bytes: usize,
    /// Clients that found no room.
    #[serde(skip)]
    pub beyond: u64,
    /// The same of those who pulled from a place.
    #[serde(skip)]
    pub crowds_beyond: u64,
}

/// Sketches by package.
#[derive(Default, Serialize, Deserialize)]
struct Counts {
    by_package: HashMap<u32, Counted, RandomState>,
    changed: Vec<u32>,
    #[serde(skip)]
    bytes: usize,
}

#[derive(Default, Serialize, Deserialize)]
struct Counted {
    sketch: Sketch,
    /// What the store was told.
    told: u64,
    has_changed: bool,
}

/// The clients of one row of one package on one day.
#[derive(Serialize, Deserialize)]
enum Crowd {
    /// Truncated hashes of them, fewer than a crowd.
    Few(Vec<u32>),
    /// So many that it need not be known who.
    Reached,
}

/// By how much a count of a package has risen.
pub struct Rise {
    /// The package's number in memory.
    pub package: u32,
    /// By how much.
    pub by: u64,
}

impl Uniques {
    /// Nobody was seen yet.
    pub fn new(key: Key, window: UniqueWindow, crowd: usize) -> Self {
        Self {
            key,
            window,
            crowd,
            clients: Counts::default(),
            companies: Counts::default(),
            are_companies_known: false,
            crowds: HashMap::default(),
            crowds_bytes: 0,
            beyond: 0,
            crowds_beyond: 0,
        }
    }

    /// Goes on where another process has ended, from what that has written of its own.
    pub fn go_on(&mut self, mut from: Self) {
        from.set(self.window, self.crowd);
        *self = from;
        self.crowds_bytes = self.crowds.values().map(Crowd::bytes).sum();
        for counts in [&mut self.clients, &mut self.companies] {
            let counted = counts.by_package.values();
            counts.bytes = counted.map(|counted| ENTRY_BYTES + counted.sketch.bytes()).sum();
        }
    }

    /// Counts like this from now on: a window that is open ends as it would now.
    pub fn set(&mut self, window: UniqueWindow, crowd: usize) {
        self.window = window;
        self.crowd = crowd;
    }

    /// A day is over, with which a month may be. What has risen was taken before.
    pub fn turn(&mut self, is_month_over: bool, key: Key) {
        self.forget_crowds();
        if is_month_over {
            self.companies = Counts::default();
        }
        if is_month_over || self.window == UniqueWindow::Day {
            self.forget(key);
        }
    }

    /// A part of the month, perhaps `of_today`, is to be as if nobody had pulled these packages. Which
    /// companies are left is to be [learned](Self::learn_companies) again. Clients of a window that
    /// had other days too count again: who came on which of them is not known.
    pub fn forget_packages(&mut self, is_gone: impl Fn(u32) -> bool, of_today: bool) {
        self.companies.forget(&is_gone);
        self.are_companies_known = false;
        if of_today || self.window == UniqueWindow::Month {
            self.clients.forget(&is_gone);
        }
        if of_today {
            self.crowds.retain(|(package, ..), crowd| {
                let goes = is_gone(*package);
                self.crowds_bytes -= if goes { crowd.bytes() } else { 0 };
                !goes
            });
        }
    }

    /// `source` pulled.
    pub fn see(&mut self, package: u32, source: Address) {
        if !self.clients.add(package, self.hash(source)) {
            self.beyond += 1;
        }
    }

    /// It did so from a company's network.
    pub fn see_company(&mut self, package: u32, company: &str) {
        self.companies.add(package, plain_hash(company));
    }

    /// It did so from this row of a package, of a pair with this tag; whether that makes a crowd, today for the first time.
    pub fn crowds(
        &mut self,
        source: Address,
        package: u32,
        dimension: Dimension,
        value: &str,
        tag: Option<TagRow>,
    ) -> bool {
        let key = (package, dimension, plain_hash(value), tag);
        // Another part of the hash than the sketches use.
        let client = u32::try_from(self.hash(source) & u64::from(u32::MAX)).unwrap_or(0);
        let has_room = self.crowds_bytes < CROWDS_BYTES_MAX;
        let crowd = match self.crowds.get_mut(&key) {
            Some(crowd) => crowd,
            None if has_room => {
                self.crowds_bytes += CROWD_BYTES;
                self.crowds.entry(key).or_insert_with(|| Crowd::Few(Vec::new()))
            }
            None => {
                self.crowds_beyond += 1;
                return false;
            }
        };
        let before = crowd.bytes();
        let Crowd::Few(clients) = crowd else {
            return false;
        };
        if !clients.contains(&client) {
            if clients.len() == clients.capacity() && !has_room {
                self.crowds_beyond += 1;
                return false;
            }
            clients.push(client);
        }
        let is_reached = clients.len() >= self.crowd;
        if is_reached {
            *crowd = Crowd::Reached;
        }
        self.crowds_bytes = self.crowds_bytes + crowd.bytes() - before;
        is_reached
    }

    /// All companies that the store knows of this month, by package: they are not new when they come
    /// again, and those that came before this was known are new if they are not among them.
    pub fn learn_companies(&mut self, known: &[(u32, String)]) {
        let mut stored = Counts::default();
        for (package, company) in known {
            stored.add(*package, plain_hash(company));
        }
        for (package, company) in known {
            self.companies.add(*package, plain_hash(company));
        }
        for (package, counted) in &mut self.companies.by_package {
            let stored = stored.by_package.get(package);
            counted.told = counted.told.max(stored.map_or(0, |stored| stored.sketch.count()));
        }
        self.are_companies_known = true;
    }

    /// By how much clients have risen, and companies, since this was asked last.
    pub fn rises(&mut self) -> (Vec<Rise>, Vec<Rise>) {
        let companies = if self.are_companies_known { self.companies.rises() } else { Vec::new() };
        (self.clients.rises(), companies)
    }

    fn forget_crowds(&mut self) {
        self.crowds.clear();
        self.crowds_bytes = 0;
    }

    fn hash(&self, source: Address) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(&source.0);
        hasher.finish()
    }

    fn forget(&mut self, key: Key) {
        self.clients = Counts::default();
        self.forget_crowds();
        // Overwritten in its place, and not only forgotten.
        self.key.fill(0);
        black_box(&self.key);
        self.key = key;
    }
}

impl Crowd {
    /// What it costs.
    fn bytes(&self) -> usize {
        CROWD_BYTES
            + match self {
                Self::Few(clients) => size_of::<u32>() * clients.capacity(),
                Self::Reached => 0,
            }
    }
}

impl Drop for Uniques {
    fn drop(&mut self) {
        self.key.fill(0);
        black_box(&self.key);
    }
}

impl Counts {
    /// Whether there was room.
    fn add(&mut self, package: u32, hash: u64) -> bool {
        let room = SKETCH_BYTES_MAX.saturating_sub(self.bytes);
        let counted = match self.by_package.get_mut(&package) {
            Some(counted) => counted,
            None if room >= ENTRY_BYTES + SKETCH_BYTES_FIRST => {
                self.bytes += ENTRY_BYTES;
                self.by_package.entry(package).or_default()
            }
            None => return false,
        };
        let more = counted.sketch.grows_by(hash);
        if more > room {
            return false;
        }
        self.bytes += more;
        if counted.sketch.add(hash) && !std::mem::replace(&mut counted.has_changed, true) {
            self.changed.push(package);
        }
        true
    }

    fn forget(&mut self, is_gone: impl Fn(u32) -> bool) {
        self.by_package.retain(|package, counted| {
            let goes = is_gone(*package);
            self.bytes -= if goes { ENTRY_BYTES + counted.sketch.bytes() } else { 0 };
            !goes
        });
    }

    /// An estimate may fall a little where a sketch begins: what was told stays.
    fn rises(&mut self) -> Vec<Rise> {
        let mut rises = Vec::with_capacity(self.changed.len());
        for package in self.changed.drain(..) {
            let Some(counted) = self.by_package.get_mut(&package) else {
                continue;
            };
            counted.has_changed = false;
            let by = counted.sketch.count().saturating_sub(counted.told);
            counted.told += by;
            if by > 0 {
                rises.push(Rise { package, by });
            }
        }
        rises
    }
}

/// Whether a cell of a day says that this company came then; those that stand together cannot be told apart.
pub fn has_come(company: &[u8], measures: &Measures) -> bool {
    measures.pulls > 0 && company != OTHER.as_bytes()
}

fn any_window() -> UniqueWindow {
    UniqueWindow::Day
}

fn plain_hash(text: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// What a package costs beside its sketch, in a map that is half full at the worst.
const ENTRY_BYTES: usize = 2 * size_of::<(u32, Counted)>();
/// What a row costs beside its clients.
const CROWD_BYTES: usize = 2 * size_of::<((u32, Dimension, u64, Option<TagRow>), Crowd)>();

#[cfg(test)]
mod tests {
    use super::*;

    fn uniques(window: UniqueWindow) -> Uniques {
        Uniques::new([1; 16], window, 3)
    }

    fn client(number: u32) -> Address {
        let mut address = [0; 16];
        address[12..].copy_from_slice(&number.to_be_bytes());
        Address(address)
    }

    /// By how much package 0 has risen.
    fn risen(uniques: &mut Uniques) -> u64 {
        uniques.rises().0.iter().filter(|rise| rise.package == 0).map(|rise| rise.by).sum()
    }

    #[test]
    fn a_client_counts_once_a_day_and_a_package() {
        let mut uniques = uniques(UniqueWindow::Day);
        for number in [1, 2, 1, 1] {
            uniques.see(0, client(number));
        }
        uniques.see(1, client(1));
        assert_eq!(risen(&mut uniques), 2);
        uniques.see(0, client(2));
        assert_eq!(risen(&mut uniques), 0);
        uniques.turn(false, [2; 16]);
        uniques.see(0, client(2));
        assert_eq!(risen(&mut uniques), 1, "another day");
    }

    #[test]
    fn a_month_of_days_is_one_window_where_that_is_asked_for() {
        let mut uniques = uniques(UniqueWindow::Month);
        uniques.see(0, client(1));
        assert_eq!(risen(&mut uniques), 1);
        uniques.turn(false, [2; 16]);
        uniques.see(0, client(1));
        assert_eq!(risen(&mut uniques), 0);
        uniques.turn(true, [3; 16]);
        uniques.see(0, client(1));
        assert_eq!(risen(&mut uniques), 1);
        uniques.set(UniqueWindow::Day, 3);
        uniques.turn(false, [4; 16]);
        uniques.see(0, client(1));
        assert_eq!(risen(&mut uniques), 1, "the window is a day now");
    }

    #[test]
    fn nothing_of_a_key_is_left_when_its_day_is_over() {
        let mut uniques = uniques(UniqueWindow::Day);
        let before = uniques.hash(client(1));
        uniques.turn(false, [2; 16]);
        assert_eq!(uniques.key, [2; 16]);
        assert_ne!(uniques.hash(client(1)), before);
    }

    #[test]
    fn a_crowd_is_reached_once_a_day_by_different_clients() {
        let mut uniques = uniques(UniqueWindow::Day);
        let mut from =
            |number, row: &str| uniques.crowds(client(number), 0, Dimension::Country, row, None);
        assert!(!from(1, "DE") && !from(1, "DE") && !from(2, "DE") && !from(3, "FR"));
        assert!(from(4, "DE"));
        assert!(!from(5, "DE") && !from(6, "DE"));
        uniques.turn(false, [2; 16]);
        assert!(!uniques.crowds(client(1), 0, Dimension::Country, "DE", None));
    }

    #[test]
    fn companies_count_once_a_month_also_those_that_the_store_knows() {
        let mut uniques = uniques(UniqueWindow::Day);
        uniques.see_company(0, "Early");
        assert!(uniques.rises().1.is_empty(), "it may be one that the store has");
        uniques.learn_companies(&[0, 0, 1].map(|package| (package, "Acme".to_owned())));
        for company in ["Acme", "Other", "Other"] {
            uniques.see_company(0, company);
        }
        let companies =
            |uniques: &mut Uniques| uniques.rises().1.iter().map(|rise| rise.by).sum::<u64>();
        assert_eq!(companies(&mut uniques), 2);
        uniques.turn(false, [2; 16]);
        uniques.see_company(0, "Other");
        assert_eq!(companies(&mut uniques), 0);
        uniques.turn(true, [3; 16]);
        uniques.see_company(0, "Other");
        assert_eq!(companies(&mut uniques), 1);
    }

    #[test]
    fn what_is_erased_is_new_when_it_comes_again_and_companies_that_are_left_are_not() {
        let mut uniques = uniques(UniqueWindow::Day);
        uniques.learn_companies(&[]);
        let come = |uniques: &mut Uniques| {
            for package in [0, 1] {
                uniques.see(package, client(1));
                uniques.see_company(package, "Acme");
            }
            let risen =
                |rises: Vec<Rise>| -> Vec<u32> { rises.iter().map(|rise| rise.package).collect() };
            let (clients, companies) = uniques.rises();
            format!("{:?} {:?}", risen(clients), risen(companies))
        };
        assert_eq!(come(&mut uniques), "[0, 1] [0, 1]");
        // A day of the month, not today.
        uniques.forget_packages(|package| package == 0, false);
        assert_eq!(come(&mut uniques), "[] []", "it is not known yet what is left");
        uniques.learn_companies(&[0, 1].map(|package| (package, "Acme".to_owned())));
        assert_eq!(come(&mut uniques), "[] []");
        // Today, and with it all that there was.
        uniques.forget_packages(|package| package == 0, true);
        uniques.learn_companies(&[(1, "Acme".to_owned())]);
        assert_eq!(come(&mut uniques), "[0] [0]");
        uniques.set(UniqueWindow::Month, 3);
        uniques.forget_packages(|package| package == 0, false);
        uniques.learn_companies(&[0, 1].map(|package| (package, "Acme".to_owned())));
        assert_eq!(come(&mut uniques), "[0] []", "whose day it was is not known");
    }

    #[test]
    fn many_packages_are_bounded_and_what_found_no_room_is_told() {
        let mut uniques = uniques(UniqueWindow::Day);
        let packages = u32::try_from(2 * SKETCH_BYTES_MAX / ENTRY_BYTES).unwrap();
        for package in 0..packages {
            uniques.see(package, client(1));
        }
        assert!(uniques.beyond > 0);
        let held = |uniques: &Uniques| {
            let counts = uniques.clients.by_package.values();
            counts.map(|counted| ENTRY_BYTES + counted.sketch.bytes()).sum::<usize>()
        };
        assert!(held(&uniques) <= SKETCH_BYTES_MAX);
        // Those that are there grow no further, but know whom they know.
        let beyond = uniques.beyond;
        for number in 0..200 {
            uniques.see(number % 2, client(number / 2));
        }
        assert!(uniques.beyond > beyond && held(&uniques) <= SKETCH_BYTES_MAX);
        assert_eq!(held(&uniques), uniques.clients.bytes);
        let beyond = uniques.beyond;
        uniques.see(0, client(1));
        assert_eq!(uniques.beyond, beyond);
    }

    #[test]
    fn crowds_are_bounded_and_what_found_no_room_is_told() {
        let mut uniques = uniques(UniqueWindow::Day);
        let rows = CROWDS_BYTES_MAX / CROWD_BYTES + 1000;
        for row in 0..u32::try_from(rows).unwrap() {
            uniques.crowds(client(1), row, Dimension::Country, "DE", None);
        }
        assert!(uniques.crowds_beyond > 0);
        let held: usize = uniques.crowds.values().map(Crowd::bytes).sum();
        assert_eq!(held, uniques.crowds_bytes);
        assert!(held <= CROWDS_BYTES_MAX + 2 * CROWD_BYTES, "{held}");
        uniques.forget_packages(|package| package == 0, true);
        uniques.turn(false, [2; 16]);
        assert_eq!((uniques.crowds.len(), uniques.crowds_bytes), (0, 0));
    }
}
