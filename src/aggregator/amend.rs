//! What changes counts otherwise than by counting: history that is brought along, and counts that
//! are to go.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::aggregator::ask::QueryError;
use crate::aggregator::clock::{MONTH_MINUTES_MAX, month_begins};
use crate::aggregator::counts::CountsError;
use crate::aggregator::names::{Names, text_of_tag};
use crate::aggregator::plan::timestamp;
use crate::aggregator::schema::{CellKey, PackageRecord, cell_range};
use crate::aggregator::tally::UNKNOWN;
use crate::aggregator::uniques::has_come;
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

impl Amendment {
    /// Refuses what no command line makes. `today`: the first minute of the day that is not over yet.
    pub fn check(&self, today: u32) -> Result<(), QueryError> {
        let checked = match self {
            Self::Import(totals) => totals.iter().try_for_each(|total| total.check(today)),
            Self::Erase(Erasure { days: None, .. }) => Ok(()),
            Self::Erase(Erasure { days: Some(days), .. }) => {
                let is_day = |minute| Unit::Day.floor(minute) == minute || minute == u32::MAX;
                let are_days = days.start < days.end && is_day(days.start) && is_day(days.end);
                are_days.then_some(()).ok_or_else(|| "counts are erased by whole days".to_owned())
            }
        };
        checked.map_err(QueryError::Question)
    }
}

impl Erasure {
    /// Whether this minute's day is among what goes.
    pub fn has(&self, minute: u32) -> bool {
        self.days.as_ref().is_none_or(|days| days.contains(&minute))
    }

    /// Whether any of these minutes is.
    pub fn has_any(&self, minutes: Range<u32>) -> bool {
        let meets = |days: &Range<u32>| days.start < minutes.end && minutes.start < days.end;
        self.days.as_ref().is_none_or(meets)
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
    /// Those of which nothing is left.
    whole: BTreeSet<u32>,
    days: Option<Range<u32>>,
    /// What the counts over all time lose, by package, dimension and row.
    ever: BTreeMap<(u32, Dimension, Vec<u8>), Measures>,
    /// By package and day: companies that are the month's from that day on, for the one on which they
    /// came first goes.
    companies: BTreeMap<(u32, u32), u64>,
}

impl Gone {
    /// What `erasure` means in the store that `view` shows.
    pub fn of(erasure: &Erasure, view: &View) -> Result<Self, CountsError> {
        let mut packages = view.packages()?;
        packages.retain(|_, package| erasure.scope.has(&package.shown));
        let packages: BTreeSet<u32> = packages.into_keys().collect();
        let (days, whole) = (erasure.days.clone(), BTreeSet::new());
        let (ever, companies) = (BTreeMap::new(), BTreeMap::new());
        let mut gone = Self { packages, whole, days, ever, companies };
        let Some(days) = &erasure.days else {
            gone.whole.clone_from(&gone.packages);
            return Ok(gone);
        };
        for package in gone.packages.clone() {
            for dimension in Dimension::EVERY {
                let range = cell_range(Unit::Day, package, dimension, days.clone());
                view.cells(range, |cell, measures| {
                    let row = (package, dimension, cell.value.to_vec());
                    *gone.ever.entry(row).or_insert(Measures::ZERO) += measures;
                })?;
            }
            gone.move_companies(package, days, view)?;
            let mut is_left = false;
            for dimension in Dimension::EVERY {
                view.cells(cell_range(Unit::Ever, package, dimension, 0..1), |cell, measures| {
                    is_left |= gone.rest(&cell, measures).is_some();
                })?;
            }
            if !is_left {
                gone.whole.insert(package);
            }
        }
        Ok(gone)
    }

    /// A company counts on the first of its days in a month that stays. Those that stand together
    /// under `(other)` cannot be told apart: they are counted as long as the day they came on.
    fn move_companies(
        &mut self,
        package: u32,
        days: &Range<u32>,
        view: &View,
    ) -> Result<(), CountsError> {
        // Of each company and month: whether its first day goes, and which is the first that stays.
        let mut seen: BTreeMap<(u32, Vec<u8>), (bool, Option<u32>)> = BTreeMap::new();
        let months = month_begins(days.start)..days.end.saturating_add(MONTH_MINUTES_MAX);
        let range = cell_range(Unit::Day, package, Dimension::Company, months);
        view.cells(range, |cell, measures| {
            if !has_come(cell.value, &measures) {
                return;
            }
            let goes = days.contains(&cell.minute);
            let key = (month_begins(cell.minute), cell.value.to_vec());
            let (_, stays) = seen.entry(key).or_insert((goes, None));
            *stays = stays.or((!goes).then_some(cell.minute));
        })?;
        let Some(ever) = self.ever.get_mut(&(package, Dimension::All, Vec::new())) else {
            return Ok(());
        };
        for first in seen.into_values().filter_map(|(goes, stays)| stays.filter(|_| goes)) {
            if ever.monthly_companies > 0 {
                ever.monthly_companies -= 1;
                *self.companies.entry((package, first)).or_default() += 1;
            }
        }
        Ok(())
    }

    /// Whether nothing of this package is left, its name neither.
    pub fn has_package(&self, package: u32) -> bool {
        self.whole.contains(&package)
    }

    /// What is left of a cell, if anything is.
    pub fn rest(&self, cell: &CellKey<'_>, measures: Measures) -> Option<Measures> {
        if !self.packages.contains(&cell.package) {
            return Some(measures);
        }
        let days = self.days.as_ref().filter(|_| !self.whole.contains(&cell.package))?;
        if cell.unit != Unit::Ever {
            let is_all = (cell.unit, cell.dimension) == (Unit::Day, Dimension::All);
            let moved = self.companies.get(&(cell.package, cell.minute)).filter(|_| is_all);
            let monthly_companies = measures.monthly_companies + moved.copied().unwrap_or(0);
            return (!days.contains(&cell.minute))
                .then_some(Measures { monthly_companies, ..measures });
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
    // What is nothing makes no row.
    for total in totals.iter().filter(|total| total.measures() != Measures::ZERO) {
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
        let with_unknown = |dimension: &Dimension| dimension.whole().is_none();
        for dimension in Dimension::OF_CLIENTS.into_iter().filter(with_unknown) {
            add(dimension, Arc::clone(&unknown), of_row);
        }
    }
    cells
}

/// Refuses to erase days of which only the counts over all time are left: what they have of these
/// days could not be told.
pub fn refuse_forgotten(erasure: &Erasure, view: &View) -> Result<(), QueryError> {
    let (Some(days), Some(since)) = (&erasure.days, view.since()) else {
        return Ok(());
    };
    let kept_from = view.kept_from()?[Unit::Day as usize];
    let first = days.start.max(Unit::Day.floor(since));
    if first >= kept_from.min(days.end) {
        return Ok(());
    }
    let kept_from = timestamp(kept_from);
    Err(QueryError::Question(format!(
        "days before {kept_from} are not kept (counting.retention), and what the counts over all time \
         have of them cannot be told: nothing was erased. Erase days from {kept_from} on, or all time"
    )))
}

/// Refuses totals of a package's days of which there are some already: they would count twice. Of days
/// that are not kept that cannot be seen: there only a package of which all that was imported is on days
/// that are kept may get more.
pub fn refuse_twice(totals: &[Total], view: &View) -> Result<(), QueryError> {
    let mut days: HashMap<&str, BTreeSet<u32>> = HashMap::new();
    for total in totals {
        days.entry(&total.package).or_default().insert(total.day);
    }
    let kept_from = view.kept_from()?[Unit::Day as usize];
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
        if *first < kept_from && has_imported_before(number, kept_from, view)? {
            let (package, kept_from) = (package.shown, timestamp(kept_from));
            return Err(QueryError::Question(format!(
                "{package} has imported counts of days before {kept_from} already, which are not kept \
                 by the day (counting.retention): whether {} is among them cannot be told. Nothing was \
                 imported. Import days from {kept_from} on, or remove all of the package by `pullgate \
                 erase` first",
                timestamp(*first)
            )));
        }
    }
    Ok(())
}

/// Whether some of what was imported of this package is of days before `kept_from`: the counts over all
/// time have more of it than the days since then.
fn has_imported_before(package: u32, kept_from: u32, view: &View) -> Result<bool, CountsError> {
    let imported = |unit, minutes| {
        let mut sum: u64 = 0;
        let range = cell_range(unit, package, Dimension::All, minutes);
        view.cells(range, |_, measures| sum = sum.saturating_add(measures.imported))?;
        Ok::<_, CountsError>(sum)
    };
    Ok(imported(Unit::Ever, 0..1)? > imported(Unit::Day, kept_from..u32::MAX)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_erasure_that_no_command_line_makes_is_refused() {
        const DAY: u32 = 24 * 60;
        let check = |days| {
            let scope = Scope::Domain("a.b".to_owned());
            Amendment::Erase(Erasure { scope, days }).check(10 * DAY)
        };
        for good in [None, Some(0..DAY), Some(DAY..u32::MAX)] {
            assert!(check(good).is_ok());
        }
        #[expect(clippy::reversed_empty_ranges, reason = "somebody may send it")]
        let backwards = DAY..0;
        for bad in [backwards, 0..0, 1..DAY, 0..DAY + 1] {
            assert!(check(Some(bad)).is_err());
        }
    }
}
