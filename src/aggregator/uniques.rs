//! How many different clients pulled, and how many different companies: per package, by sketches
//! of keyed hashes. The key is random, only in memory, and overwritten when its day is over:
//! nobody can tell then whether a client of one day is that of another.
//!
//! What goes to the store is by how much a count has risen: a range of days is the sum of its days.

use std::collections::HashMap;
use std::hash::Hasher as _;
use std::hint::black_box;

use foldhash::fast::RandomState;
use siphasher::sip::SipHasher13;

use crate::pure::config::values::UniqueWindow;
use crate::pure::limits::{CROWDS_MAX, SKETCH_BYTES_MAX};
use crate::pure::pull::event::Address;
use crate::pure::pull::fold::Key;
use crate::pure::pull::rollup::Dimension;
use crate::pure::pull::sketch::Sketch;
use crate::pure::pull::window::TagRow;

/// What was seen since the period began.
pub struct Uniques {
    key: Key,
    window: UniqueWindow,
    /// How many clients make a crowd: `insight.k_public`.
    crowd: usize,
    clients: Counts,
    /// Of the month, whatever the window: names of companies need no key.
    companies: Counts,
    /// Who pulled from a place, as long as these are few.
    crowds: HashMap<(u32, Dimension, u64, Option<TagRow>), Crowd, RandomState>,
    /// Clients that found no room.
    pub beyond: u64,
}

/// Sketches by package.
#[derive(Default)]
struct Counts {
    by_package: HashMap<u32, Counted, RandomState>,
    changed: Vec<u32>,
    bytes: usize,
}

#[derive(Default)]
struct Counted {
    sketch: Sketch,
    /// What the store was told.
    told: u64,
    has_changed: bool,
}

/// The clients of one row of one package on one day.
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
            crowds: HashMap::default(),
            beyond: 0,
        }
    }

    /// Counts like this from now on: a window that is open ends as it would now.
    pub fn set(&mut self, window: UniqueWindow, crowd: usize) {
        self.window = window;
        self.crowd = crowd;
    }

    /// A day is over, with which a month may be. What has risen was taken before.
    pub fn turn(&mut self, is_month_over: bool, key: Key) {
        self.crowds.clear();
        if is_month_over {
            self.companies = Counts::default();
        }
        if is_month_over || self.window == UniqueWindow::Day {
            self.forget(key);
        }
    }

    /// Nobody has pulled this package yet.
    pub fn forget_package(&mut self, package: u32) {
        self.clients.forget(package);
        self.companies.forget(package);
        self.crowds.retain(|(of, ..), _| *of != package);
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
        let has_room = self.crowds.len() < CROWDS_MAX;
        let crowd = match self.crowds.get_mut(&key) {
            Some(crowd) => crowd,
            None if has_room => self.crowds.entry(key).or_insert_with(|| Crowd::Few(Vec::new())),
            None => return false,
        };
        let Crowd::Few(clients) = crowd else {
            return false;
        };
        if !clients.contains(&client) {
            clients.push(client);
        }
        let is_reached = clients.len() >= self.crowd;
        if is_reached {
            *crowd = Crowd::Reached;
        }
        is_reached
    }

    /// A company that the store knows of this month: it is not new when it comes again.
    pub fn learn_company(&mut self, package: u32, company: &str) {
        self.companies.add(package, plain_hash(company));
        let counted = self.companies.by_package.entry(package).or_default();
        counted.told = counted.told.max(counted.sketch.count());
    }

    /// By how much clients have risen, and companies, since this was asked last.
    pub fn rises(&mut self) -> (Vec<Rise>, Vec<Rise>) {
        (self.clients.rises(), self.companies.rises())
    }

    fn hash(&self, source: Address) -> u64 {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        hasher.write(&source.0);
        hasher.finish()
    }

    fn forget(&mut self, key: Key) {
        self.clients = Counts::default();
        self.crowds.clear();
        // Overwritten in its place, and not only forgotten.
        self.key.fill(0);
        black_box(&self.key);
        self.key = key;
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
        let has_room = self.bytes < SKETCH_BYTES_MAX;
        let counted = match self.by_package.get_mut(&package) {
            Some(counted) => counted,
            None if has_room => {
                self.bytes += ENTRY_BYTES;
                self.by_package.entry(package).or_default()
            }
            None => return false,
        };
        let bytes = counted.sketch.bytes();
        if counted.sketch.add(hash) && !std::mem::replace(&mut counted.has_changed, true) {
            self.changed.push(package);
        }
        self.bytes = self.bytes + counted.sketch.bytes() - bytes;
        true
    }

    fn forget(&mut self, package: u32) {
        if let Some(counted) = self.by_package.remove(&package) {
            self.bytes -= ENTRY_BYTES + counted.sketch.bytes();
        }
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

fn plain_hash(text: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// What a package costs beside its sketch, in a map that is half full at the worst.
const ENTRY_BYTES: usize = 2 * size_of::<(u32, Counted)>();

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
        uniques.learn_company(0, "Acme");
        for company in ["Acme", "Other", "Other"] {
            uniques.see_company(0, company);
        }
        let companies =
            |uniques: &mut Uniques| uniques.rises().1.iter().map(|rise| rise.by).sum::<u64>();
        assert_eq!(companies(&mut uniques), 1);
        uniques.turn(false, [2; 16]);
        uniques.see_company(0, "Other");
        assert_eq!(companies(&mut uniques), 0);
        uniques.turn(true, [3; 16]);
        uniques.see_company(0, "Other");
        assert_eq!(companies(&mut uniques), 1);
    }

    #[test]
    fn many_packages_are_bounded_and_what_found_no_room_is_told() {
        let mut uniques = uniques(UniqueWindow::Day);
        let packages = u32::try_from(2 * SKETCH_BYTES_MAX / ENTRY_BYTES).unwrap();
        for package in 0..packages {
            uniques.see(package, client(1));
        }
        assert!(uniques.beyond > 0);
        assert!(uniques.clients.by_package.len() * ENTRY_BYTES <= SKETCH_BYTES_MAX + ENTRY_BYTES);
    }
}
