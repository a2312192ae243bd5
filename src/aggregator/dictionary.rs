//! Which number a package has in the store, and the way there from its number in memory.

use std::collections::{BTreeSet, HashMap};

use crate::aggregator::schema::PackageRecord;

/// The packages of the store. Numbers run from 0 without a gap.
#[derive(Default)]
pub struct Dictionary {
    records: Vec<PackageRecord>,
    by_id: HashMap<String, u32>,
    by_shown: HashMap<String, u32>,
    /// By the number in memory.
    numbers: Vec<Option<u32>>,
    /// What the journal does not have yet.
    unwritten: BTreeSet<u32>,
}

impl Dictionary {
    /// Takes a package as the store or the journal has it.
    pub fn learn(&mut self, number: u32, record: PackageRecord) {
        let at = number as usize;
        if self.records.len() <= at {
            self.records.resize_with(at + 1, PackageRecord::default);
        }
        if let Some(before) = self.records.get(at)
            && self.by_shown.get(&before.shown) == Some(&number)
        {
            self.by_shown.remove(&before.shown);
        }
        if !record.id.is_empty() {
            self.by_id.insert(record.id.clone(), number);
        }
        self.by_shown.insert(record.shown.clone(), number);
        self.records[at] = record;
    }

    /// The store's number of the package that has `local` in memory. A package is known again by
    /// its id; one without an id, or whose id is new, by its domain and name.
    pub fn number(&mut self, local: u32, package: &PackageRecord) -> u32 {
        let at = local as usize;
        // One that has an id may have got another name since.
        if let Some(Some(number)) = self.numbers.get(at)
            && (package.id.is_empty() || self.records.get(*number as usize) == Some(package))
        {
            return *number;
        }
        let by_id = self.by_id.get(&package.id).copied().filter(|_| !package.id.is_empty());
        let by_shown = || {
            let number = *self.by_shown.get(&package.shown)?;
            let id = &self.records.get(number as usize)?.id;
            (id.is_empty() || package.id.is_empty()).then_some(number)
        };
        // A million packages are far below 2^32.
        let next = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        let number = by_id.or_else(by_shown).unwrap_or(next);
        let mut record = package.clone();
        if let Some(known) = self.records.get(number as usize)
            && record.id.is_empty()
        {
            record.id.clone_from(&known.id);
        }
        if self.records.get(number as usize) != Some(&record) {
            self.learn(number, record);
            self.unwritten.insert(number);
        }
        if self.numbers.len() <= at {
            self.numbers.resize(at + 1, None);
        }
        self.numbers[at] = Some(number);
        number
    }

    /// All packages, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &PackageRecord)> {
        (0..).zip(&self.records)
    }

    /// What the journal does not have yet.
    pub fn unwritten(&self) -> Vec<(u32, PackageRecord)> {
        let record = |number: &u32| Some((*number, self.records.get(*number as usize)?.clone()));
        self.unwritten.iter().filter_map(record).collect()
    }

    /// As [`unwritten`](Self::unwritten), which is empty from now on.
    pub fn take_unwritten(&mut self) -> Vec<(u32, PackageRecord)> {
        let taken = self.unwritten();
        self.unwritten.clear();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(id: &str, shown: &str) -> PackageRecord {
        PackageRecord { id: id.into(), shown: shown.into(), collection: String::new() }
    }

    #[test]
    fn a_package_keeps_its_number_through_a_new_id_and_a_new_name() {
        let mut dictionary = Dictionary::default();
        assert_eq!(dictionary.number(0, &package("", "acme.com/rocket")), 0);
        assert_eq!(dictionary.number(1, &package("", "acme.com/other")), 1);
        assert_eq!(dictionary.take_unwritten().len(), 2);
        // It gets an id, then another name.
        assert_eq!(dictionary.number(2, &package("r1", "acme.com/rocket")), 0);
        assert_eq!(dictionary.number(3, &package("r1", "acme.com/saturn")), 0);
        assert_eq!(dictionary.take_unwritten(), [(0, package("r1", "acme.com/saturn"))]);
        // Asking again changes nothing.
        assert_eq!(dictionary.number(3, &package("r1", "acme.com/saturn")), 0);
        assert!(dictionary.take_unwritten().is_empty());
        // Under the same number in memory, another name: a reload while it ran.
        assert_eq!(dictionary.number(3, &package("r1", "acme.com/mars")), 0);
        assert_eq!(dictionary.take_unwritten(), [(0, package("r1", "acme.com/mars"))]);
        assert_eq!(dictionary.number(3, &package("r1", "acme.com/saturn")), 0);
        // The id is taken out of the configuration again: the name still finds it.
        assert_eq!(dictionary.number(4, &package("", "acme.com/saturn")), 0);
        // The name it had belongs to whoever takes it.
        assert_eq!(dictionary.number(6, &package("", "acme.com/rocket")), 2);
        // Another id under a known name is another package.
        assert_eq!(dictionary.number(5, &package("r2", "acme.com/saturn")), 3);
    }
}
