//! How long cells are kept, and the sweep that removes old ones a few at a time. Counts over all
//! time are never removed: their number is bounded by that of the rows.

use crate::aggregator::counts::{Counts, CountsError, KEYS_PER_BATCH};
use crate::aggregator::schema::cell_range;
use crate::pure::config::values::Retention;
use crate::pure::pull::rollup::{Dimension, Unit};

/// The first minute of the oldest cell of `unit` that is kept at `now`.
pub fn kept_from(retention: &Retention, unit: Unit, now: u32) -> u32 {
    let kept = match unit {
        Unit::Minute => retention.minute,
        Unit::Hour => retention.hour,
        Unit::Day => retention.day,
        Unit::Ever => None,
    };
    let minutes = |kept: std::time::Duration| u32::try_from(kept.as_secs() / 60).ok();
    kept.and_then(minutes).map_or(0, |minutes| unit.floor(now.saturating_sub(minutes)))
}

/// Where the sweep is: it goes through all series (a unit's, a package's, a dimension's), one
/// after another, for ever.
#[derive(Default)]
pub struct Sweep {
    at: usize,
    /// What this pass keeps, as the counts say it: cells before are gone or going.
    kept_from: [u32; Unit::EVERY.len()],
}

impl Sweep {
    /// Looks at some series and removes old cells, in a bounded number of batches. How
    /// many it removed.
    pub fn step(
        &mut self,
        counts: &mut Counts,
        packages: u32,
        kept_from: impl Fn(Unit) -> u32,
    ) -> Result<usize, CountsError> {
        if self.at == 0 {
            self.begin_pass(counts, kept_from)?;
        }
        let (mut removed, mut batches) = (0, 0);
        for _ in 0..SERIES_PER_STEP {
            let (package, rest) = (self.at / SERIES_PER_PACKAGE, self.at % SERIES_PER_PACKAGE);
            let Some(package) = u32::try_from(package).ok().filter(|package| *package < packages)
            else {
                self.at = 0;
                break;
            };
            let unit = UNITS[rest / Dimension::EVERY.len()];
            let dimension = Dimension::EVERY[rest % Dimension::EVERY.len()];
            let range = cell_range(unit, package, dimension, 0..self.kept_from[unit as usize]);
            loop {
                if batches == BATCHES_PER_STEP {
                    return Ok(removed);
                }
                let in_batch = counts.remove(range.clone(), KEYS_PER_BATCH)?;
                removed += in_batch;
                batches += usize::from(in_batch > 0);
                if in_batch < KEYS_PER_BATCH {
                    break;
                }
            }
            self.at += 1;
        }
        Ok(removed)
    }

    /// A pass keeps what it began with, and never says that what is gone were there again.
    fn begin_pass(
        &mut self,
        counts: &Counts,
        kept_from: impl Fn(Unit) -> u32,
    ) -> Result<(), CountsError> {
        let before = counts.kept_from()?;
        self.kept_from = Unit::EVERY.map(|unit| kept_from(unit).max(before[unit as usize]));
        if self.kept_from != before {
            counts.set_kept_from(self.kept_from)?;
        }
        Ok(())
    }
}

const UNITS: [Unit; 3] = [Unit::Minute, Unit::Hour, Unit::Day];
const SERIES_PER_PACKAGE: usize = UNITS.len() * Dimension::EVERY.len();
/// A look costs a few microseconds.
const SERIES_PER_STEP: usize = 256;
/// About 16,000 cells, which take some 50 ms.
const BATCHES_PER_STEP: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::run::Run;
    use crate::aggregator::schema::{CellKey, Record, RecordCell, unit_range};
    use crate::pure::pull::rollup::Measures;
    use std::time::Duration;

    const HOUR: u64 = 3600;

    #[test]
    fn old_cells_go_in_one_step_of_several_batches_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut counts = Counts::open(&dir.path().join("counts")).unwrap();
        let cell = |minute| RecordCell {
            package: 1,
            dimension: Dimension::Tag,
            unit: Unit::Minute,
            minute,
            value: "latest".into(),
            measures: Measures { pulls: 1, ..Measures::ZERO },
        };
        let now = 100 * 24 * 60;
        let cells = (now - 5000..now).map(cell).collect();
        let mut run = Run::default();
        run.push(&Record { sequence: 1, cells, ..Record::default() });
        counts.apply(run).unwrap();

        let retention = Retention {
            minute: Some(Duration::from_secs(48 * HOUR)),
            hour: Some(Duration::from_secs(72 * HOUR)),
            day: None,
        };
        let mut sweep = Sweep::default();
        let removed = sweep.step(&mut counts, 2, |unit| kept_from(&retention, unit, now)).unwrap();
        let left = |unit| {
            let keys = counts.tree().range(unit_range(unit)).keys();
            let minutes = keys.map(|key| CellKey::parse(&key.unwrap()).unwrap().minute);
            let minutes: Vec<u32> = minutes.collect();
            (minutes.len(), minutes.first().copied())
        };
        assert_eq!(left(Unit::Minute), (48 * 60, Some(now - 48 * 60)));
        assert_eq!(left(Unit::Hour), (72, Some(now - 72 * 60)));
        assert_eq!(left(Unit::Day).0, 4);
        assert_eq!(left(Unit::Ever), (1, Some(0)));
        assert_eq!(counts.digest().unwrap(), counts.marker().digest);
        assert_eq!(removed, (5000 - 48 * 60) + (84 - 72));
    }

    #[test]
    fn a_pass_keeps_what_it_began_with_and_no_pass_brings_back_what_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let mut counts = Counts::open(&dir.path().join("counts")).unwrap();
        // Two steps make a pass over so many packages; the last one's cells are seen in the second.
        let packages = u32::try_from(SERIES_PER_STEP / SERIES_PER_PACKAGE + 2).unwrap();
        let cell = |minute| RecordCell {
            package: packages - 1,
            dimension: Dimension::All,
            unit: Unit::Minute,
            minute,
            value: "".into(),
            measures: Measures { pulls: 1, ..Measures::ZERO },
        };
        let cells = (0..100).map(cell).collect();
        let mut run = Run::default();
        run.push(&Record { sequence: 1, cells, ..Record::default() });
        counts.apply(run).unwrap();
        let said = |counts: &Counts| counts.kept_from().unwrap()[Unit::Minute as usize];
        let kept = |counts: &Counts| {
            let mut keys = counts.tree().range(unit_range(Unit::Minute)).keys();
            let key = keys.next().unwrap().unwrap();
            CellKey::parse(&key).unwrap().minute
        };
        let from = |minute| move |unit| if unit == Unit::Minute { minute } else { 0 };

        let mut sweep = Sweep::default();
        sweep.step(&mut counts, packages, from(10)).unwrap();
        sweep.step(&mut counts, packages, from(20)).unwrap();
        assert_eq!((said(&counts), kept(&counts)), (10, 10));
        sweep.step(&mut counts, packages, from(20)).unwrap();
        sweep.step(&mut counts, packages, from(20)).unwrap();
        assert_eq!((said(&counts), kept(&counts)), (20, 20));
        // A longer retention after a restart.
        let mut sweep = Sweep::default();
        sweep.step(&mut counts, packages, from(5)).unwrap();
        assert_eq!(said(&counts), 20);
    }
}
