//! Runs: records of the journal that are applied to sled together. A key that many of them add to
//! is written once, and a busy gateway adds to the same keys in every interval.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::aggregator::giving_way::giving_way;
use crate::aggregator::schema::{Marker, PackageRecord, Record, RecordCell};
use crate::pure::pull::rollup::{Measures, Unit};

/// What is added to which key of the store, in the order of keys.
pub type Additions = BTreeMap<Vec<u8>, Measures>;

/// Consecutive records, added up cell by cell.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// How many records.
    records: u64,
    /// The marker after them, but for the digest.
    after: Marker,
    packages: BTreeMap<u32, PackageRecord>,
    cells: HashTable<RecordCell>,
    hasher: RandomState,
}

impl Run {
    /// Adds the record that follows those that are there.
    pub fn push(&mut self, record: &Record) {
        let Record { sequence, node, epoch, .. } = *record;
        debug_assert!(self.is_empty() || self.sequence() + 1 == sequence, "a record is left out");
        self.records += 1;
        let since = self.after.since.into_iter().chain(record.since()).min();
        self.after = Marker { sequence, node, epoch, since, ..Marker::default() };
        self.packages.extend(record.packages.iter().cloned());
        let hash_of = |hasher: &RandomState, it: &RecordCell| hasher.hash_one(it.place());
        for cell in giving_way(&record.cells, 1) {
            let hash = hash_of(&self.hasher, cell);
            let is_it = |known: &RecordCell| known.place() == cell.place();
            match self.cells.entry(hash, is_it, |known| hash_of(&self.hasher, known)) {
                Entry::Occupied(mut known) => known.get_mut().measures += cell.measures,
                Entry::Vacant(room) => {
                    room.insert(cell.clone());
                }
            }
        }
    }

    /// How many records it has.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// The sequence of its last record.
    pub fn sequence(&self) -> u64 {
        self.after.sequence
    }

    /// The first minute that it adds to.
    pub fn since(&self) -> Option<u32> {
        self.after.since
    }

    /// Whether there is no record in it.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// How many cells it adds to.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }

    /// Packages that are new or changed.
    pub fn packages(&self) -> &BTreeMap<u32, PackageRecord> {
        &self.packages
    }

    /// What it adds to which key, in their order. Cells are put in order by what keys are made of, and
    /// added up before they become keys: there are fewer of those.
    pub fn additions(&self) -> Vec<(Vec<u8>, Measures)> {
        let mut additions = Vec::new();
        // In the order of keys a longer unit comes first.
        for unit in Unit::EVERY.into_iter().rev() {
            let within = self.cells.iter().filter(|cell| cell.unit <= unit);
            let mut cells: Vec<_> = within.map(|cell| (cell.key(unit), &cell.measures)).collect();
            cells.sort_unstable_by(|(one, _), (other, _)| one.place().cmp(&other.place()));
            for same in cells.chunk_by(|(one, _), (other, _)| one == other) {
                let mut sum = Measures::ZERO;
                same.iter().for_each(|(_, measures)| sum += **measures);
                additions.extend(same.first().map(|(key, _)| (key.to_bytes(), sum)));
            }
        }
        additions
    }

    /// Makes it ready to be applied, key by key.
    pub fn begin(self) -> Begun {
        let additions = self.additions();
        let packages = self.packages.into_iter().collect();
        Begun { records: self.records, after: self.after, packages, additions }
    }
}

/// A run that is being applied: always in the same order, so that after a crash the same run goes
/// on where it was.
#[derive(Debug)]
pub struct Begun {
    records: u64,
    after: Marker,
    /// Packages that are new or changed; they are put before the first key.
    pub packages: Vec<(u32, PackageRecord)>,
    /// What is added to which key.
    pub additions: Vec<(Vec<u8>, Measures)>,
}

impl Begun {
    /// The record before its first.
    pub fn follows(&self) -> u64 {
        self.after.sequence - self.records
    }

    /// Its last record.
    pub fn sequence(&self) -> u64 {
        self.after.sequence
    }

    /// The first minute that it adds to.
    pub fn since(&self) -> Option<u32> {
        self.after.since
    }

    /// The marker when `keys_done` of its keys (`None` for all) are applied after `before`, and
    /// the counts come to `digest`.
    pub fn marker(&self, before: Marker, keys_done: Option<u64>, digest: u64) -> Marker {
        let (sequence, run) = (self.after.sequence, self.records);
        match keys_done {
            Some(_) => Marker { sequence, keys_done, digest, run, ..before },
            None => {
                let since = before.since.into_iter().chain(self.after.since).min();
                Marker { keys_done, digest, since, run, ..self.after }
            }
        }
    }
}

/// What the journal has and sled has not.
#[derive(Clone, Debug, Default)]
pub struct Unapplied {
    /// What is left of a run that was begun.
    pub begun: Vec<(Vec<u8>, Measures)>,
    /// Its packages.
    pub packages: Vec<(u32, PackageRecord)>,
    /// The first minute that it adds to.
    pub since: Option<u32>,
    /// What follows it: not copied for who looks at it, unless more is added meanwhile.
    pub waiting: Arc<Run>,
    /// What is not even in the journal.
    pub fresh: Run,
}

impl Unapplied {
    /// What it adds to which key.
    pub fn additions(&self) -> Additions {
        let mut additions: Additions = self.waiting.additions().into_iter().collect();
        for (key, measures) in self.begun.iter().cloned().chain(self.fresh.additions()) {
            *additions.entry(key).or_insert(Measures::ZERO) += measures;
        }
        additions
    }
}

/// Cells that may wait to be applied at leisure.
pub const CELLS_WAITING_MAX: usize = 50_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::schema::Value as _;
    use crate::pure::pull::rollup::Dimension;
    use proptest::prelude::*;

    fn record(sequence: u64, minutes: &[u32]) -> Record {
        let cell = |minute: &u32| RecordCell {
            package: 1,
            dimension: Dimension::All,
            unit: Unit::Minute,
            minute: *minute,
            value: "".into(),
            measures: Measures { pulls: 1, ..Measures::ZERO },
        };
        let package = PackageRecord { shown: format!("a/{sequence}"), ..PackageRecord::default() };
        let cells = minutes.iter().map(cell).collect();
        Record { node: 1, epoch: 2, sequence, packages: vec![(1, package)], cells }
    }

    #[test]
    fn records_are_added_up_and_the_last_word_on_a_package_holds() {
        let mut run = Run::default();
        run.push(&record(7, &[60, 61]));
        run.push(&record(8, &[61, 3]));
        assert_eq!(run.cells(), 3);
        let begun = run.begin();
        assert_eq!((begun.follows(), begun.sequence()), (6, 8));
        assert_eq!(begun.packages.len(), 1);
        assert_eq!(begun.packages[0].1.shown, "a/8");
        // Three minutes, two hours, one day, all time.
        assert_eq!(begun.additions.len(), 7);
        assert!(begun.additions.is_sorted_by(|a, b| a.0 < b.0));
        let pulls: u64 = begun.additions.iter().map(|(_, measures)| measures.pulls).sum();
        assert_eq!(pulls, 4 * 4);
    }

    #[test]
    fn a_marker_says_what_is_applied_also_in_the_middle_of_a_run() {
        let mut run = Run::default();
        run.push(&record(7, &[60]));
        run.push(&record(8, &[61]));
        let begun = run.begin();
        let before = Marker { sequence: 6, since: Some(9), node: 1, epoch: 1, ..Marker::default() };
        let midway = begun.marker(before, Some(3), 5);
        assert_eq!((midway.applied(), midway.since, midway.epoch), (6, Some(9), 1));
        assert_eq!(Marker::decode(&midway.encode()), Some(midway));
        let done = begun.marker(midway, None, 6);
        assert_eq!((done.applied(), done.since, done.epoch, done.digest), (8, Some(9), 2, 6));
    }

    proptest! {
        /// The naive twin: every cell is added to each of its keys, in a map.
        #[test]
        fn cells_come_to_what_their_keys_come_to(
            places in prop::collection::vec((0u32..3, 0usize..4, 0u32..3000, "[ab]{0,2}", 1u64..9), 0..60),
        ) {
            let cell = |(package, dimension, minute, value, pulls): (u32, usize, u32, String, u64)| {
                let dimension = Dimension::EVERY[dimension * 5];
                let unit = dimension.finest();
                let measures = Measures { pulls, ..Measures::ZERO };
                let (minute, value) = (unit.floor(minute), value.into());
                RecordCell { package, dimension, unit, minute, value, measures }
            };
            let cells: Vec<RecordCell> = places.into_iter().map(cell).collect();
            let mut naive = Additions::new();
            for cell in &cells {
                for key in cell.keys() {
                    *naive.entry(key).or_insert(Measures::ZERO) += cell.measures;
                }
            }
            let mut run = Run::default();
            run.push(&Record { sequence: 1, cells, ..Record::default() });
            prop_assert_eq!(run.additions(), naive.into_iter().collect::<Vec<_>>());
        }
    }
}
