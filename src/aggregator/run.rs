//! Runs: records of the journal that are applied to sled together. A key that many of them add to
//! is written once, and a busy gateway adds to the same keys in every interval.

use std::collections::BTreeMap;

use crate::aggregator::schema::{Marker, PackageRecord, Record};
use crate::pure::pull::rollup::Measures;

/// Consecutive records, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// How many records.
    records: u64,
    /// Of the last one.
    sequence: u64,
    node: u64,
    epoch: u64,
    /// The first minute that is added to.
    since: Option<u32>,
    packages: BTreeMap<u32, PackageRecord>,
    additions: BTreeMap<Vec<u8>, Measures>,
}

impl Run {
    /// Adds the record that follows those that are there.
    pub fn push(&mut self, record: &Record) {
        let Record { sequence, node, epoch, .. } = *record;
        debug_assert!(self.is_empty() || self.sequence + 1 == sequence, "a record is left out");
        self.records += 1;
        (self.sequence, self.node, self.epoch) = (sequence, node, epoch);
        self.since = self.since.into_iter().chain(record.since()).min();
        self.packages.extend(record.packages.iter().cloned());
        for (key, measures) in record.additions() {
            *self.additions.entry(key).or_insert(Measures::ZERO) += measures;
        }
    }

    /// Adds a run that follows this one.
    pub fn append(&mut self, run: &Self) {
        self.records += run.records;
        (self.sequence, self.node, self.epoch) = (run.sequence, run.node, run.epoch);
        self.since = self.since.into_iter().chain(run.since).min();
        self.packages.extend(run.packages.iter().map(|(number, it)| (*number, it.clone())));
        for (key, measures) in &run.additions {
            *self.additions.entry(key.clone()).or_insert(Measures::ZERO) += *measures;
        }
    }

    /// The sequence of its last record.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether there is no record in it.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// How many keys it adds to.
    pub fn keys(&self) -> usize {
        self.additions.len()
    }

    /// Makes it ready to be applied, key by key.
    pub fn begin(self) -> Begun {
        Begun {
            records: self.records,
            packages: self.packages.into_iter().collect(),
            additions: self.additions.into_iter().collect(),
            after: Marker {
                sequence: self.sequence,
                since: self.since,
                node: self.node,
                epoch: self.epoch,
                ..Marker::default()
            },
        }
    }

    /// What it adds and what it names.
    pub fn into_parts(self) -> (BTreeMap<Vec<u8>, Measures>, BTreeMap<u32, PackageRecord>) {
        (self.additions, self.packages)
    }
}

/// A run that is being applied: always in the same order, so that after a crash the same run goes
/// on where it was.
#[derive(Debug)]
pub struct Begun {
    records: u64,
    /// Packages that are new or changed; they are put before the first key.
    pub packages: Vec<(u32, PackageRecord)>,
    /// What is added to which key.
    pub additions: Vec<(Vec<u8>, Measures)>,
    after: Marker,
}

impl Begun {
    /// What is left of it when `keys_done` of its keys are applied.
    pub fn left(&self, keys_done: usize) -> Run {
        Run {
            records: self.records,
            sequence: self.after.sequence,
            node: self.after.node,
            epoch: self.after.epoch,
            since: self.after.since,
            packages: self.packages.iter().cloned().collect(),
            additions: self.additions.iter().skip(keys_done).cloned().collect(),
        }
    }

    /// The record before its first.
    pub fn follows(&self) -> u64 {
        self.after.sequence - self.records
    }

    /// Its last record.
    pub fn sequence(&self) -> u64 {
        self.after.sequence
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::schema::{RecordCell, Value as _};
    use crate::pure::pull::rollup::{Dimension, Unit};

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
        // Three minutes, two hours, one day, all time.
        assert_eq!(run.keys(), 7);
        let begun = run.begin();
        assert_eq!((begun.follows(), begun.sequence()), (6, 8));
        assert_eq!(begun.packages.len(), 1);
        assert_eq!(begun.packages[0].1.shown, "a/8");
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
}
