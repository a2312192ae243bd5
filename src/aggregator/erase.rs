//! Erasing: the store is written anew without what is to go, and what else knew of it is removed.
//!
//! The new checkpoint stands for one record more than there are. From the moment it has its name it
//! is what the store is built of: what comes between that and the end is made up for at the next
//! start, by a note that says which checkpoint it is.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use crate::aggregator::amend::Gone;
use crate::aggregator::checkpoint;
use crate::aggregator::counts::{Counts, CountsError, guarded};
use crate::aggregator::journal;
use crate::aggregator::recover::{COUNTS, UNFINISHED, is_counts};
use crate::aggregator::schema::{CellKey, Marker, PACKAGES, Value as _, package_number};
use crate::aggregator::sync_dir;
use crate::pure::pull::rollup::Measures;

/// Writes the checkpoint that has what is left; all that the journal has is applied to `counts`.
/// [`finish`] does the rest, once nobody writes to these counts any more.
pub fn begin(dir: &Path, counts: &Counts, next: u64, gone: &Gone) -> Result<(), CountsError> {
    let mut note = File::create(dir.join(NOTE))?;
    note.write_all(next.to_string().as_bytes())?;
    note.sync_all()?;
    sync_dir(dir)?;
    let marker = Marker { sequence: next, keys_done: None, ..counts.marker() };
    let mut writer = checkpoint::Writer::create(dir, &marker, counts.kept_from()?)?;
    let tree = counts.tree();
    let mut entries = tree.range([PACKAGES]..);
    while let Some((key, value)) = guarded(|| entries.next().transpose())? {
        if let Some(package) = package_number(&key) {
            if !gone.has_package(package) {
                writer.put(&key, &value)?;
            }
            continue;
        }
        let cell = CellKey::parse(&key).zip(Measures::decode(&value));
        let (cell, measures) =
            cell.ok_or_else(|| CountsError::Damaged("a cell cannot be read".into()))?;
        if let Some(rest) = gone.rest(&cell, measures) {
            writer.put(&key, &rest.encode())?;
        }
    }
    writer.finish()?;
    Ok(())
}

/// Ends an erasure whose checkpoint is there, and forgets one that never got that far. Nothing else is
/// removed before that checkpoint was read to its end.
///
/// # Errors
/// `Damaged` where it cannot be read: it is removed, and nothing is erased.
pub fn finish(dir: &Path) -> Result<(), CountsError> {
    let note = match fs::read_to_string(dir.join(NOTE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        note => note?,
    };
    let path = note.parse().map(|sequence| checkpoint::path(dir, sequence));
    if let Some(path) = path.ok().filter(|path| path.exists()) {
        match checkpoint::verify(&path) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                fs::remove_file(&path)?;
                forget_note(dir)?;
                let what = format!("what was written without it cannot be read: {error}");
                return Err(CountsError::Damaged(format!("nothing was erased; {what}")));
            }
            verified => verified?,
        }
        checkpoint::remove_others(dir, Some(&path))?;
        journal::remove_all(dir)?;
        remove_counts(dir)?;
        Counts::build(&dir.join(UNFINISHED), &path)?;
        fs::rename(dir.join(UNFINISHED), dir.join(COUNTS))?;
        sync_dir(dir)?;
    }
    forget_note(dir)
}

fn forget_note(dir: &Path) -> Result<(), CountsError> {
    fs::remove_file(dir.join(NOTE))?;
    sync_dir(dir)?;
    Ok(())
}

/// Removes sled's files, and those that were moved aside; nothing else that somebody has put there.
fn remove_counts(dir: &Path) -> io::Result<()> {
    let entries: Vec<_> = fs::read_dir(dir)?.collect::<Result<_, _>>()?;
    for entry in entries {
        if entry.file_name().to_str().is_some_and(is_counts) {
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false => fs::remove_file(entry.path())?,
            }
        }
    }
    Ok(())
}

pub(super) const NOTE: &str = "erasing";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::amend::{Erasure, Scope, refuse_forgotten};
    use crate::aggregator::schema::{PackageRecord, Record, RecordCell, cell_range};
    use crate::aggregator::store::Store;
    use crate::aggregator::view::View;
    use crate::pure::pull::rollup::{Dimension, Unit};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    const DAY: u32 = 24 * 60;

    fn record(sequence: u64, package: u32, shown: &str, minute: u32) -> Record {
        let cell = |dimension: Dimension| RecordCell {
            package,
            dimension,
            unit: dimension.finest(),
            minute: dimension.finest().floor(minute),
            value: format!("{dimension:?}").into(),
            measures: Measures { pulls: 1, ..Measures::ZERO },
        };
        let named = PackageRecord { shown: shown.to_owned(), ..PackageRecord::default() };
        let cells = Dimension::EVERY.map(cell).into();
        Record { node: 1, epoch: 1, sequence, packages: vec![(package, named)], cells }
    }

    /// Three days of two packages of two domains: on disk in all the ways there are.
    fn store(dir: &Path) -> Store {
        let mut store = Store::open(dir).unwrap();
        let packages = [(0, "a.example/gone"), (1, "b.example/kept")];
        for day in 0..3 {
            for (package, shown) in packages {
                let minute = day * DAY + 61;
                store.append(&record(store.next_sequence(), package, shown, minute)).unwrap();
            }
            if day == 0 {
                store.flush().unwrap();
                drop(store);
                store = Store::open(dir).unwrap();
            }
        }
        store
    }

    /// Pulls by package, unit and first minute, each dimension being counted.
    fn read(store: &Store) -> BTreeMap<(u32, Unit, u32), u64> {
        let tree = store.counts().tree();
        let view = View::new(tree, store.marker(), store.unapplied(), Arc::default());
        let mut pulls = BTreeMap::new();
        for unit in Unit::EVERY {
            let range = crate::aggregator::schema::unit_range(unit);
            view.cells(range, |cell, measures| {
                *pulls.entry((cell.package, unit, cell.minute)).or_default() += measures.pulls;
            })
            .unwrap();
        }
        pulls
    }

    fn erasure(scope: &str, days: Option<std::ops::Range<u32>>) -> Erasure {
        let scope = match scope.contains('/') {
            true => Scope::Package(scope.to_owned()),
            false => Scope::Domain(scope.to_owned()),
        };
        Erasure { scope, days }
    }

    fn is_in_a_file(dir: &Path, text: &str) -> bool {
        fs::read_dir(dir).unwrap().any(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                return is_in_a_file(&path, text);
            }
            let bytes = fs::read(&path).unwrap();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    }

    #[test]
    fn a_package_or_a_domain_goes_and_the_rest_stays() {
        for scope in ["a.example/gone", "a.example"] {
            let dir = tempfile::tempdir().unwrap();
            let store = store(dir.path());
            fs::create_dir(dir.path().join("counts.damaged.1")).unwrap();
            fs::write(dir.path().join("counts.damaged.1/db"), "a.example/gone").unwrap();
            let next = store.next_sequence();
            store.erase(&erasure(scope, None)).unwrap();
            let mut store = Store::open(dir.path()).unwrap();
            let left = read(&store);
            assert!(left.keys().all(|(package, ..)| *package == 1));
            let dimensions = Dimension::EVERY.len() as u64;
            assert_eq!(left[&(1, Unit::Ever, 0)], 3 * dimensions);
            assert!(!is_in_a_file(dir.path(), "gone"));
            assert_eq!((store.rebuilds, store.next_sequence()), (0, next + 1));
            // Its number is free, and counting goes on.
            store.append(&record(next + 1, 0, "c.example/new", DAY)).unwrap();
            store.flush().unwrap();
            drop(store);
            let store = Store::open(dir.path()).unwrap();
            assert_eq!(read(&store)[&(0, Unit::Ever, 0)], dimensions);
        }
    }

    #[test]
    fn days_go_and_the_counts_over_all_time_lose_them() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let before = read(&store);
        store.erase(&erasure("a.example/gone", Some(DAY..2 * DAY))).unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mut expected = before;
        expected.retain(|(package, unit, minute), _| {
            *package != 0 || *unit == Unit::Ever || !(DAY..2 * DAY).contains(minute)
        });
        expected.insert((0, Unit::Ever, 0), 2 * Dimension::EVERY.len() as u64);
        assert_eq!(read(&store), expected);
        assert!(is_in_a_file(dir.path(), "gone"), "its name has other counts");
    }

    #[test]
    fn a_name_that_has_no_counts_left_goes_and_its_number_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        store.erase(&erasure("a.example/gone", Some(0..3 * DAY))).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(read(&store).keys().all(|(package, ..)| *package == 1));
        assert!(!is_in_a_file(dir.path(), "gone"));
    }

    #[test]
    fn what_is_kept_is_still_known() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = store(dir.path());
        store.flush().unwrap();
        let kept_from = [3 * DAY, 2 * DAY, DAY, 0];
        store.counts().set_kept_from(kept_from).unwrap();
        store.erase(&erasure("a.example", None)).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.counts().kept_from().unwrap(), kept_from);
        drop(store);
        // Also where the counts are built anew.
        fs::remove_dir_all(dir.path().join(COUNTS)).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!((store.rebuilds, store.counts().kept_from().unwrap()), (1, kept_from));
        // Days of which only the counts over all time are left are not erased.
        let view = |store: &Store| {
            let tree = store.counts().tree();
            View::new(tree, store.marker(), store.unapplied(), Arc::default())
        };
        let refused = |days| refuse_forgotten(&erasure("b.example", days), &view(&store));
        let kept_days = store.counts().kept_from().unwrap()[Unit::Day as usize];
        assert!(refused(Some(0..kept_days + DAY)).is_err());
        assert!(refused(Some(kept_days..u32::MAX)).is_ok() && refused(None).is_ok());
    }

    /// Acme pulls on the 1st and the 3rd of a month, Other on the 2nd and in the next month.
    #[test]
    fn a_company_counts_in_its_month_as_long_as_any_of_its_days_is_left() {
        let company = |minute, value: &str, is_new: u64| {
            let cell = |dimension, value: &str, measures| RecordCell {
                package: 0,
                dimension,
                unit: Unit::Day,
                minute,
                value: value.into(),
                measures,
            };
            let pulls = Measures { pulls: 1, ..Measures::ZERO };
            let new = Measures { monthly_companies: is_new, ..pulls };
            [cell(Dimension::Company, value, pulls), cell(Dimension::All, "", new)]
        };
        let days = [(0, "Acme", 1), (1, "Other", 1), (2, "Acme", 0), (31, "Other", 1)];
        for (erased, expected) in [
            (0..1, vec![(1, 1), (2, 1), (31, 1)]),
            (0..2, vec![(2, 1), (31, 1)]),
            (1..2, vec![(0, 1), (2, 0), (31, 1)]),
            (2..32, vec![(0, 1), (1, 1)]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let mut store = Store::open(dir.path()).unwrap();
            let cells = days.iter().flat_map(|(day, name, new)| company(day * DAY, name, *new));
            let named = PackageRecord { shown: "a.b/c".to_owned(), ..PackageRecord::default() };
            let packages = vec![(0, named)];
            let cells = cells.collect();
            store.append(&Record { sequence: 1, packages, cells, ..Record::default() }).unwrap();
            let erased = erased.start * DAY..erased.end * DAY;
            store.erase(&erasure("a.b/c", Some(erased))).unwrap();
            let store = Store::open(dir.path()).unwrap();
            let of = |unit| {
                let mut left = Vec::new();
                let range = cell_range(unit, 0, Dimension::All, 0..u32::MAX);
                let each = |cell: CellKey<'_>, measures: Measures| {
                    left.push((cell.minute / DAY, measures.monthly_companies));
                };
                store.counts().cells(range, each).unwrap();
                left
            };
            let sum = expected.iter().map(|(_, new)| new).sum();
            assert_eq!((of(Unit::Day), of(Unit::Ever)), (expected, vec![(0, sum)]));
        }
    }

    #[test]
    fn nothing_else_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let own = ["counts.bak", "counts.csv", "counts.damaged.old"];
        for name in own {
            fs::write(dir.path().join(name), "gone").unwrap();
        }
        fs::write(dir.path().join("counts.damaged.2"), "gone").unwrap();
        store.erase(&erasure("a.example", None)).unwrap();
        Store::open(dir.path()).unwrap();
        assert!(own.iter().all(|name| dir.path().join(name).exists()));
        assert!(!dir.path().join("counts.damaged.2").exists());
    }

    /// The new checkpoint is all that is left in the end: until it is known to be whole the rest stays.
    #[test]
    fn an_erasure_whose_checkpoint_is_damaged_has_not_happened() {
        let dir = tempfile::tempdir().unwrap();
        let first = store(dir.path());
        let (before, next) = (read(&first), first.next_sequence());
        first.erase(&erasure("a.example", None)).unwrap();
        let path = checkpoint::path(dir.path(), next);
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert!(matches!(Store::open(dir.path()), Err(CountsError::Damaged(_))));
        let second = Store::open(dir.path()).unwrap();
        assert!(read(&second) == before && !path.exists());
        assert_eq!(second.next_sequence(), next);
    }

    /// Killed before the checkpoint has its name nothing has happened, and after that all has.
    #[test]
    fn an_erasure_that_is_killed_has_happened_or_has_not() {
        let dir = tempfile::tempdir().unwrap();
        let first = store(dir.path());
        drop(first);
        let first = Store::open(dir.path()).unwrap();
        let before = read(&first);
        fs::write(dir.path().join(NOTE), first.next_sequence().to_string()).unwrap();
        fs::write(dir.path().join("checkpoint.unfinished"), "half").unwrap();
        drop(first);
        let second = Store::open(dir.path()).unwrap();
        assert!(read(&second) == before && !dir.path().join(NOTE).exists());

        second.erase(&erasure("a.example", None)).unwrap();
        // As it is when files are being removed.
        fs::remove_dir_all(dir.path().join("counts")).unwrap();
        fs::create_dir(dir.path().join("counts.unfinished")).unwrap();
        let third = Store::open(dir.path()).unwrap();
        assert!(read(&third).keys().all(|(package, ..)| *package == 1));
        assert!(!is_in_a_file(dir.path(), "gone") && !dir.path().join(NOTE).exists());
        assert_eq!(third.rebuilds, 0);
    }
}
