//! What a reader of counts sees: sled as it is, and beside it what is not in it yet.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::aggregator::counts::{CountsError, guarded, kept_from};
use crate::aggregator::run::{Additions, Unapplied};
use crate::aggregator::schema::{
    CellKey, MARKER_KEY, Marker, PACKAGES, PackageRecord, Value, package_number,
};
use crate::pure::pull::rollup::{Measures, Unit};

/// A view of the counts, good for one question: the store cannot be reopened while one is held.
pub struct View {
    tree: Result<sled::Tree, String>,
    marker: Marker,
    unapplied: Unapplied,
    /// What that adds: made by who reads, so that the aggregator need not.
    additions: OnceLock<Additions>,
    /// Somebody reads for as long as this is held.
    _reading: Arc<()>,
}

impl View {
    /// A view of `tree`, with what is to be added to it. It holds `reading` to its end.
    pub fn new(tree: sled::Tree, marker: Marker, unapplied: Unapplied, reading: Arc<()>) -> Self {
        Self { tree: Ok(tree), marker, unapplied, additions: OnceLock::new(), _reading: reading }
    }

    /// A view of nothing: the store is not open.
    pub fn unavailable(why: String) -> Self {
        Self {
            tree: Err(why),
            marker: Marker::default(),
            unapplied: Unapplied::default(),
            additions: OnceLock::new(),
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
        packages.extend(self.unapplied.packages.iter().cloned());
        for run in [&*self.unapplied.waiting, &self.unapplied.fresh] {
            packages.extend(run.packages().iter().map(|(number, it)| (*number, it.clone())));
        }
        Ok(packages)
    }

    /// Gives the cells in `range` to `each`, some of them in two parts.
    pub fn cells(
        &self,
        range: Range<Vec<u8>>,
        mut each: impl FnMut(CellKey<'_>, Measures),
    ) -> Result<(), CountsError> {
        for (key, measures) in self.additions().range(range.clone()) {
            if let Some(cell) = CellKey::parse(key) {
                each(cell, *measures);
            }
        }
        let tree = self.tree()?;
        guarded(|| {
            for entry in tree.range(range) {
                let (key, value) = entry?;
                if let Some((cell, measures)) = CellKey::parse(&key).zip(Measures::decode(&value)) {
                    each(cell, measures);
                }
            }
            Ok(())
        })
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
