//! What a reader of counts sees: sled as it is, and beside it what is not in it yet.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::aggregator::counts::{CountsError, guarded, kept_from, stored};
use crate::aggregator::recall::Recall;
use crate::aggregator::run::{Additions, Unapplied};
use crate::aggregator::schema::{
    CellKey, MARKER_KEY, Marker, PACKAGES, PackageRecord, Value, cell_range, package_key,
    package_number,
};
use crate::pure::pull::rollup::{Dimension, Measures, Unit};
use crate::pure::pull::spans::Span;

/// A view of the counts, good for one question: the store cannot be reopened while one is held.
pub struct View {
    tree: Result<sled::Tree, String>,
    marker: Marker,
    unapplied: Unapplied,
    /// What that adds: made by who reads, so that the aggregator need not.
    additions: OnceLock<Additions>,
    /// The same of packages.
    newer_packages: OnceLock<BTreeMap<u32, PackageRecord>>,
    /// What sled has of days that are over, where somebody read it before.
    recall: Recall,
    /// Somebody reads for as long as this is held.
    _reading: Arc<()>,
}

impl View {
    /// A view of `tree`, with what is to be added to it. It holds `reading` to its end.
    pub fn new(tree: sled::Tree, marker: Marker, unapplied: Unapplied, reading: Arc<()>) -> Self {
        let (additions, newer_packages) = (OnceLock::new(), OnceLock::new());
        let (tree, recall) = (Ok(tree), Recall::default());
        Self { tree, marker, unapplied, additions, newer_packages, recall, _reading: reading }
    }

    /// The same for who need not read again what is remembered.
    pub fn recalling(self, recall: Recall) -> Self {
        Self { recall, ..self }
    }

    /// A view of nothing: the store is not open.
    pub fn unavailable(why: String) -> Self {
        Self {
            tree: Err(why),
            marker: Marker::default(),
            unapplied: Unapplied::default(),
            additions: OnceLock::new(),
            newer_packages: OnceLock::new(),
            recall: Recall::default(),
            _reading: Arc::default(),
        }
    }

    /// The first minute that was ever counted.
    pub fn since(&self) -> Option<u32> {
        let Unapplied { since, waiting, fresh, .. } = &self.unapplied;
        let all = [self.marker.since, *since, waiting.since(), fresh.since()];
        all.into_iter().flatten().min()
    }

    /// The first minute of the oldest cell that is kept, by unit.
    pub fn kept_from(&self) -> Result<[u32; Unit::EVERY.len()], CountsError> {
        kept_from(self.tree()?)
    }

    /// All packages by their number.
    pub fn packages(&self) -> Result<BTreeMap<u32, PackageRecord>, CountsError> {
        let mut packages = BTreeMap::new();
        let mut entries = self.tree()?.scan_prefix([PACKAGES]);
        while let Some((key, value)) = guarded(|| entries.next().transpose())? {
            packages.extend(package_number(&key).zip(PackageRecord::decode(&value)));
        }
        packages.extend(self.newer_packages().clone());
        Ok(packages)
    }

    /// The first package whose number is `from` or more.
    pub fn package(&self, from: u32) -> Result<Option<(u32, PackageRecord)>, CountsError> {
        let tree = self.tree()?;
        let range = package_key(from).to_vec()..vec![PACKAGES + 1];
        let stored = guarded(|| tree.range(range).next().transpose())?;
        let stored =
            stored.and_then(|(key, value)| package_number(&key).zip(PackageRecord::decode(&value)));
        let newer = self.newer_packages().range(from..).next();
        let newer = newer.map(|(number, package)| (*number, package.clone()));
        Ok(match (stored, newer) {
            (Some(stored), Some(newer)) if stored.0 < newer.0 => Some(stored),
            (stored, newer) => newer.or(stored),
        })
    }

    /// How many packages there are.
    pub fn count_packages(&self) -> Result<u64, CountsError> {
        let tree = self.tree()?;
        let mut count = 0;
        let mut keys = tree.scan_prefix([PACKAGES]).keys();
        while guarded(|| keys.next().transpose())?.is_some() {
            count += 1;
        }
        for number in self.newer_packages().keys() {
            count += u64::from(!guarded(|| tree.contains_key(package_key(*number)))?);
        }
        Ok(count)
    }

    /// Those that sled does not have like this.
    fn newer_packages(&self) -> &BTreeMap<u32, PackageRecord> {
        self.newer_packages.get_or_init(|| {
            let Unapplied { packages, waiting, fresh, .. } = &self.unapplied;
            let mut newer: BTreeMap<u32, PackageRecord> = packages.iter().cloned().collect();
            for run in [&**waiting, fresh] {
                newer.extend(run.packages().iter().map(|(number, it)| (*number, it.clone())));
            }
            newer
        })
    }

    /// Gives the cells in `range` to `each`, some of them in two parts.
    pub fn cells(
        &self,
        range: Range<Vec<u8>>,
        mut each: impl FnMut(CellKey<'_>, Measures),
    ) -> Result<(), CountsError> {
        self.added(range.clone(), &mut each);
        stored(self.tree()?, range, |cell, _, measures| each(cell, measures))
    }

    /// Gives the cells of a package and dimension in these units of time to `each`, as row, first minute and
    /// counts; some of them in two parts.
    pub fn series(
        &self,
        of: (u32, Dimension),
        Span { unit, from, to }: Span,
        mut each: impl FnMut(&[u8], u32, Measures),
    ) -> Result<(), CountsError> {
        let range = |minutes| cell_range(unit, of.0, of.1, minutes);
        self.added(range(from..to), by_row(&mut each));
        let past = if unit == Unit::Day { self.recall.past(&(from..to)) } else { from..from };
        if !past.is_empty() && !self.recall.give(of, &past, &mut each) {
            let (mut reading, mut each) = (self.recall.read(of, past.clone()), by_row(&mut each));
            stored(self.tree()?, range(past.clone()), |cell, value, measures| {
                if let Some(reading) = &mut reading {
                    reading.push(cell.value, cell.minute, value);
                }
                each(cell, measures);
            })?;
            if let Some(reading) = reading {
                self.recall.learn(reading);
            }
        }
        if past.end < to {
            let mut each = by_row(&mut each);
            stored(self.tree()?, range(past.end..to), |cell, _, measures| each(cell, measures))?;
        }
        Ok(())
    }

    /// Gives what is not in sled yet to `each`.
    fn added(&self, range: Range<Vec<u8>>, mut each: impl FnMut(CellKey<'_>, Measures)) {
        for (key, measures) in self.additions().range(range) {
            if let Some(cell) = CellKey::parse(key) {
                each(cell, *measures);
            }
        }
    }

    /// Whether what was pending may have been written since, so that it was seen twice or not at
    /// all: then a new view is needed.
    pub fn is_stale(&self) -> Result<bool, CountsError> {
        let tree = self.tree()?;
        let marker = guarded(|| tree.get(MARKER_KEY))?;
        Ok(marker.and_then(|bytes| Marker::decode(&bytes)) != Some(self.marker))
    }

    fn additions(&self) -> &Additions {
        self.additions.get_or_init(|| self.unapplied.additions())
    }

    fn tree(&self) -> Result<&sled::Tree, CountsError> {
        self.tree.as_ref().map_err(|why| CountsError::Unavailable(why.clone()))
    }
}

/// What takes a row of a package and dimension, as what takes their cells.
fn by_row<E: FnMut(&[u8], u32, Measures)>(each: &mut E) -> impl FnMut(CellKey<'_>, Measures) {
    move |cell, measures| each(cell.value, cell.minute, measures)
}
