//! What changes counts otherwise than by counting: history that is brought along, and counts that
//! are to go.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::aggregator::ask::QueryError;
use crate::aggregator::counts::CountsError;
use crate::aggregator::names::{Names, text_of_tag};
use crate::aggregator::plan::timestamp;
use crate::aggregator::schema::{CellKey, PackageRecord, cell_range};
use crate::aggregator::tally::UNKNOWN;
use crate::aggregator::view::View;
use crate::pure::history::Total;
use crate::pure::pull::rollup::{Cell, Cells, Dimension, Measures, Unit};

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Amendment {
    /// These totals are added, all or none of them.
    Import(Vec<Total>),
    /// This is to be as if it had never been counted.
    Erase(Erasure),
}

/// What is to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Of which packages.
    pub scope: Scope,
    /// The minutes (counted from the Unix epoch) of whole days, UTC; everything where it is `None`.
    pub days: Option<Range<u32>>,
}

/// Which packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// The one with this name, `<domain>/<name>`.
    Package(String),
    /// All of this domain.
    Domain(String),
}

impl Erasure {
    /// Whether the day that begins in this minute is among what goes.
    pub fn has_day(&self, minute: u32) -> bool {
        self.days.as_ref().is_none_or(|days| days.contains(&minute))
    }
}

impl Scope {
    /// Whether the package that is shown so is meant.
    pub fn has(&self, shown: &str) -> bool {
        match self {
            Self::Package(package) => package == shown,
            Self::Domain(domain) => shown.split_once('/').is_some_and(|(of, _)| of == domain),
        }
    }
}

/// What is to go, by the store's numbers.
pub struct Gone {
    packages: BTreeSet<u32>,
    days: Option<Range<u32>>,
    /// What the counts over all time lose, by package, dimension and row.
    ever: BTreeMap<(u32, Dimension, Vec<u8>), Measures>,
}

impl Gone {
    /// What `erasure` means in the store that `view` shows.
    pub fn of(erasure: &Erasure, view: &View) -> Result<Self, CountsError> {
        let mut packages = view.packages()?;
        packages.retain(|_, package| erasure.scope.has(&package.shown));
        let packages: BTreeSet<u32> = packages.into_keys().collect();
        let mut gone = Self { packages, days: erasure.days.clone(), ever: BTreeMap::new() };
        let Some(days) = &erasure.days else {
            return Ok(gone);
        };
        for package in &gone.packages {
            for dimension in Dimension::EVERY {
                let range = cell_range(Unit::Day, *package, dimension, days.clone());
                view.cells(range, |cell, measures| {
                    let row = (*package, dimension, cell.value.to_vec());
                    *gone.ever.entry(row).or_insert(Measures::ZERO) += measures;
                })?;
            }
        }
        Ok(gone)
    }

    /// Whether nothing of this package is left, its name neither.
    pub fn has_package(&self, package: u32) -> bool {
        self.days.is_none() && self.packages.contains(&package)
    }

    /// What is left of a cell, if anything is.
    pub fn rest(&self, cell: &CellKey<'_>, measures: Measures) -> Option<Measures> {
        if !self.packages.contains(&cell.package) {
            return Some(measures);
        }
        let days = self.days.as_ref()?;
        if cell.unit != Unit::Ever {
            return (!days.contains(&cell.minute)).then_some(measures);
        }
        let row = (cell.package, cell.dimension, cell.value.to_vec());
        let rest = self.ever.get(&row).map_or(measures, |part| measures.less(*part));
        (rest != Measures::ZERO).then_some(rest)
    }
}

/// The cells of `totals`: of whole days, each under its tag, and under `unknown` in what is never
/// left out where it is not known.
pub fn cells(totals: &[Total], names: &mut Names) -> Cells {
    let mut cells = Cells::default();
    let unknown: Arc<str> = UNKNOWN.into();
    for total in totals {
        let shown = total.package.clone();
        let package = names.learn_package(PackageRecord { shown, ..PackageRecord::default() });
        let measures = total.measures();
        let minute = total.day;
        let mut add = |dimension, value, measures| {
            cells.add(Cell { package, dimension, value, unit: Unit::Day, minute }, measures);
        };
        add(Dimension::All, Arc::default(), measures);
        // A client may have pulled several tags: different ones are told by package alone.
        let of_row = measures.without(Measures::ZERO);
        add(Dimension::Tag, text_of_tag(names, package, &total.tag), of_row);
        for dimension in Dimension::OF_CLIENTS {
            add(dimension, Arc::clone(&unknown), of_row);
        }
    }
    cells
}

/// Refuses totals of a package's days of which there are some already: they would count twice.
pub fn refuse_twice(totals: &[Total], view: &View) -> Result<(), QueryError> {
    let mut days: HashMap<&str, BTreeSet<u32>> = HashMap::new();
    for total in totals {
        days.entry(&total.package).or_default().insert(total.day);
    }
    for (number, package) in view.packages()? {
        let Some(days) = days.get(&*package.shown) else {
            continue;
        };
        let (Some(first), Some(last)) = (days.first(), days.last()) else {
            continue;
        };
        let mut twice = None;
        let range = cell_range(Unit::Day, number, Dimension::All, *first..last.saturating_add(1));
        view.cells(range, |cell, measures| {
            if measures.imported > 0 && days.contains(&cell.minute) {
                twice = twice.or(Some(cell.minute));
            }
        })?;
        if let Some(day) = twice {
            let (package, day) = (package.shown, timestamp(day));
            return Err(QueryError::Question(format!(
                "{package} has imported counts of {day} already: nothing was imported. `pullgate \
                 erase` removes a day"
            )));
        }
    }
    Ok(())
}
