//! Erasing: the store is written anew without what is to go, and what else knew of it is removed.
//!
//! The new checkpoint stands for one record more than there are. From the moment it has its name it
//! is what the store is built of: what comes between that and the end is made up for at the next
//! start, by a note that says which checkpoint it is.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::aggregator::amend::Gone;
use crate::aggregator::checkpoint;
use crate::aggregator::counts::{Counts, CountsError, guarded};
use crate::aggregator::journal;
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
    let mut writer = checkpoint::Writer::create(dir, &marker)?;
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

/// Ends an erasure whose checkpoint is there, and forgets one that never got that far. `counts` is
/// where sled's files are, `unfinished` where new ones are made.
pub fn finish(
    dir: &Path,
    newest: Option<&(PathBuf, Marker)>,
    counts: &Path,
    unfinished: &Path,
) -> Result<(), CountsError> {
    let note = match fs::read_to_string(dir.join(NOTE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        note => note?,
    };
    if let Some((path, marker)) = newest
        && note.parse() == Ok(marker.sequence)
    {
        checkpoint::remove_others(dir, Some(path))?;
        journal::remove_all(dir)?;
        remove_counts(dir, counts)?;
        Counts::build(unfinished, path)?;
        fs::rename(unfinished, counts)?;
        sync_dir(dir)?;
    }
    fs::remove_file(dir.join(NOTE))?;
    sync_dir(dir)?;
    Ok(())
}

/// Removes sled's files, and those that were moved aside.
fn remove_counts(dir: &Path, counts: &Path) -> io::Result<()> {
    let name = counts.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let of_counts = path.file_name().and_then(|it| it.to_str()?.strip_prefix(name));
        if of_counts.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')) {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

const NOTE: &str = "erasing";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::amend::{Erasure, Scope};
    use crate::aggregator::schema::{PackageRecord, Record, RecordCell};
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
