//! From memory to the store, whatever state that is in. Counts that cannot be written wait here,
//! told apart less when they become too many, but never fewer.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use crate::aggregator::amend::{self, Amendment, Erasure};
use crate::aggregator::ask::QueryError;
use crate::aggregator::backup::Kept;
use crate::aggregator::clients::OTHER;
use crate::aggregator::clock::{Clock, month_begins};
use crate::aggregator::counts::CountsError;
use crate::aggregator::giving_way::giving_way;
use crate::aggregator::health::{Health, add, set};
use crate::aggregator::lock::Lock;
use crate::aggregator::names::Names;
use crate::aggregator::recall::Memory;
use crate::aggregator::retention;
use crate::aggregator::schema::{Record, RecordCell, cell_range};
use crate::aggregator::store::Store;
use crate::aggregator::uniques::has_come;
use crate::aggregator::view::View;
use crate::pure::config::values::Retention;
use crate::pure::limits::PENDING_CELLS_MAX;
use crate::pure::pull::rollup::{Cells, Dimension, Unit};

/// Counts on their way to the store.
pub struct Persist {
    data_dir: PathBuf,
    /// Held for as long as anything is written; without it, it is taken before.
    pub lock: Option<Lock>,
    store: Option<Store>,
    /// What waits to become a record.
    pub cells: Cells,
    /// Companies that the store knows of this month, by their package in memory: found when it was
    /// opened for the first time, or without what was erased, for whoever counts them. Else nobody
    /// knows more than they do.
    pub companies: Option<Vec<(u32, String)>>,
    /// Whether it was opened already.
    has_been_open: bool,
    /// The record that is being written: the same until it is, for a failed write may be found
    /// after a crash.
    record: Option<Record>,
    /// What went wrong last, and for how long opening is not tried again.
    failure: Option<Failure>,
    health: Arc<Health>,
    other: Arc<str>,
    node: u64,
    /// When the next run is begun to be applied, and when the next bit of one is.
    next_run_us: u64,
    next_step_us: u64,
    /// What readers have read of days that are over.
    memory: Memory,
    /// Held by whoever reads, and since when somebody has.
    reading: Arc<()>,
    read_since_us: Option<u64>,
}

struct Failure {
    why: String,
    wait_us: u64,
    retry_at_us: u64,
}

impl Persist {
    /// Nothing is open yet. `node` names the gateway where the store does not know one.
    pub fn new(data_dir: PathBuf, lock: Option<Lock>, health: Arc<Health>, node: u64) -> Self {
        Self {
            data_dir,
            lock,
            store: None,
            cells: Cells::default(),
            companies: None,
            has_been_open: false,
            record: None,
            failure: None,
            health,
            other: Arc::from(OTHER),
            node,
            next_run_us: 0,
            next_step_us: 0,
            memory: Memory::default(),
            reading: Arc::default(),
            read_since_us: None,
        }
    }

    /// Writes what waits, if that is possible now; opens the store, if it is not open.
    pub fn flush(&mut self, names: &mut Names, now_us: u64) {
        if self.store.is_none()
            && self.failure.as_ref().is_none_or(|last| last.retry_at_us <= now_us)
        {
            self.open(names, now_us);
        }
        while let Some(record) = self.next_record(names) {
            self.record = Some(record);
            if let Err(error) = self.write() {
                self.fail(&error, now_us);
                break;
            }
        }
        if self.cells.coarsen(PENDING_CELLS_MAX, &self.other) {
            add(&self.health.persist_coarsened_total, 1);
        }
        let in_record = self.record.as_ref().map_or(0, |record| record.cells.len());
        set(&self.health.persist_pending, (in_record + self.cells.len()) as u64);
    }

    /// Brings a little of what is in the journal to sled.
    pub fn apply(&mut self, now_us: u64) {
        self.memory.listen();
        // Far behind a step follows the other: each is as short as ever.
        let is_behind = self.store.as_ref().is_some_and(Store::is_far_behind);
        if (now_us < self.next_step_us && !is_behind) || self.is_read(now_us) {
            return;
        }
        self.next_step_us = now_us.saturating_add(STEP_US);
        let Some(store) = &mut self.store else {
            return;
        };
        if (now_us >= self.next_run_us || is_behind) && store.begin_run() {
            self.next_run_us = now_us.saturating_add(RUN_US);
        }
        if let Err(error) = store.apply_some() {
            self.store = None;
            self.fail(&error, now_us);
        }
    }

    /// Removes old cells and sees to the journal's length.
    pub fn maintain(&mut self, retention: &Retention, now_us: u64, minute: u32) {
        if self.is_read(now_us) {
            return;
        }
        let Some(store) = &mut self.store else {
            return;
        };
        let kept_from = |unit: Unit| retention::kept_from(retention, unit, minute);
        let maintained = store.maintain(kept_from);
        set(&self.health.journal_bytes, store.journal_bytes());
        if let Err(error) = maintained {
            self.store = None;
            self.fail(&error, now_us);
        }
    }

    /// Opens the store anew before it is used again: whoever used it has panicked.
    pub fn distrust(&mut self, now_us: u64) {
        set(&self.health.store_busy, 0);
        self.store = None;
        self.fail(&CountsError::Unavailable("counting panicked".to_owned()), now_us);
    }

    /// Changes what was counted, with all that waits: on disk when this returns. `forget` is called
    /// once it is certain that something is erased, before anything is counted again, and before what
    /// is left is learned anew.
    ///
    /// # Errors
    /// Nothing was changed, unless the error says so: an import that was refused by the disk waits
    /// like anything that is counted, an erasure ends when the store can be opened.
    pub fn amend(
        &mut self,
        amendment: &Amendment,
        names: &mut Names,
        now_us: u64,
        forget: impl FnOnce(&Erasure, &mut Names),
    ) -> Result<(), QueryError> {
        amendment.check(Unit::Day.floor(Clock::look().minute_now()))?;
        self.settle(names, now_us).map_err(QueryError::Unavailable)?;
        match amendment {
            Amendment::Import(totals) => {
                amend::refuse_twice(totals, &self.view(names))?;
                self.cells = amend::cells(totals, names);
                self.settle(names, now_us).map_err(|why| {
                    QueryError::Unavailable(format!(
                        "{why}. What was imported waits in memory, and is written when counts are"
                    ))
                })
            }
            Amendment::Erase(erasure) => {
                amend::refuse_forgotten(erasure, &self.view(names))?;
                set(&self.health.store_busy, 1);
                self.memory.forget();
                let erased = self.store.take().map_or(Ok(()), |store| store.erase(erasure));
                set(&self.health.store_busy, 0);
                if let Err(error) = erased {
                    self.fail(&error, now_us);
                    return Err(error.into());
                }
                forget(erasure, names);
                self.has_been_open = false;
                self.settle(names, now_us).map_err(|why| {
                    QueryError::Unavailable(format!(
                        "{why}. The erasure is under way: it ends when the counts can be opened"
                    ))
                })
            }
        }
    }

    /// The files from which all that was counted can be made anew.
    ///
    /// # Errors
    /// Why not all of it can be written now.
    pub fn kept(&mut self, names: &mut Names, now_us: u64) -> Result<Vec<Kept>, String> {
        self.settle(names, now_us)?;
        let kept = self.store.as_ref().map_or_else(|| Ok(Vec::new()), Store::kept);
        kept.map_err(|error| error.to_string())
    }

    /// What the packages that the store has are shown as; `None` where it is not open.
    pub fn packages(&self) -> Option<HashSet<&str>> {
        let packages = self.store.as_ref()?.dictionary.iter();
        Some(packages.map(|(_, package)| &*package.shown).collect())
    }

    /// Writes all that waits and lets go of the store and its lock, for another process.
    ///
    /// # Errors
    /// Why not all can be written. Then nothing was let go of.
    pub fn let_go(&mut self, names: &mut Names, now_us: u64) -> Result<(), String> {
        self.settle(names, now_us)?;
        self.close_store();
        self.lock = None;
        Ok(())
    }

    /// Writes all that waits, or says why that cannot be.
    fn settle(&mut self, names: &mut Names, now_us: u64) -> Result<(), String> {
        self.flush(names, now_us);
        self.failure.as_ref().map_or(Ok(()), |failure| Err(failure.why.clone()))
    }

    /// What a reader needs to know, as it is at this moment.
    pub fn view(&mut self, names: &Names) -> View {
        let Some(store) = &mut self.store else {
            let why = self.failure.as_ref().map(|failure| failure.why.clone());
            return View::unavailable(why.unwrap_or_else(|| "it is not open yet".to_owned()));
        };
        let mut pending = store.unapplied();
        if let Some(record) = &self.record {
            pending.fresh.push(record);
        }
        pending.fresh.push(&Record {
            sequence: pending.fresh.sequence() + 1,
            cells: to_record_cells(&self.cells, names, store),
            packages: store.dictionary.unwritten(),
            ..Record::default()
        });
        if let Some(day) = store.take_written_day() {
            self.memory.written(day);
        }
        let recall = self.memory.recall(Unit::Day.floor(Clock::look().minute_now()));
        let (tree, marker) = (store.counts().tree(), store.marker());
        View::new(tree, marker, pending, Arc::clone(&self.reading)).recalling(recall)
    }

    /// Whether somebody reads, and has not for too long: sled is left alone then, for a reader who
    /// finds that it was written to has to begin again.
    fn is_read(&mut self, now_us: u64) -> bool {
        if Arc::strong_count(&self.reading) == 1 {
            self.read_since_us = None;
            return false;
        }
        let since_us = *self.read_since_us.get_or_insert(now_us);
        let for_us = now_us.saturating_sub(since_us);
        if for_us >= READ_US_MAX + WRITE_US_MAX {
            // Readers that follow one another must not find it being written to for ever.
            self.read_since_us = Some(now_us);
            return true;
        }
        for_us < READ_US_MAX
    }

    /// The end: writes what waits, however short ago that failed, and makes sure that sled is on
    /// disk too. Whether everything is written.
    pub fn close(&mut self, names: &mut Names) -> bool {
        self.flush(names, u64::MAX);
        let is_written = self.record.is_none() && self.cells.is_empty();
        if !is_written {
            let cells =
                self.cells.len() + self.record.as_ref().map_or(0, |record| record.cells.len());
            tracing::error!(cells, "counts could not be written and are lost with this process");
        }
        self.close_store();
        is_written
    }

    fn close_store(&mut self) {
        self.memory.forget();
        if let Some(mut store) = self.store.take()
            && let Err(error) = store.flush()
        {
            tracing::warn!(%error, "the counts could not be flushed; the journal has them");
        }
    }

    fn open(&mut self, names: &mut Names, now_us: u64) {
        if self.lock.is_none() {
            match Lock::take(&self.data_dir) {
                Ok(lock) => self.lock = Some(lock),
                Err(error) => return self.fail(&error.into(), now_us),
            }
        }
        set(&self.health.store_busy, 1);
        let opened = self.try_open(names);
        set(&self.health.store_busy, 0);
        match opened {
            Ok((store, companies)) => {
                if !std::mem::replace(&mut self.has_been_open, true) {
                    self.companies = Some(companies);
                }
                self.settle_record(&store);
                self.memory.forget();
                add(&self.health.store_rebuilds_total, store.rebuilds);
                set(&self.health.journal_bytes, store.journal_bytes());
                self.store = Some(store);
                if self.failure.is_none() {
                    set(&self.health.store_ok, 1);
                }
            }
            Err(error) => self.fail(&error, now_us),
        }
    }

    fn try_open(&self, names: &mut Names) -> Result<(Store, Vec<(u32, String)>), CountsError> {
        let mut store = Store::open(&self.data_dir)?;
        let mut numbers = Vec::new();
        for (_, package) in store.dictionary.iter() {
            // A number whose package was erased has no name.
            let is_there = !package.shown.is_empty();
            numbers.push(is_there.then(|| names.learn_package(package.clone())));
        }
        store.counts().rows(|cell, _| {
            let package = numbers.get(cell.package as usize).copied().flatten();
            if let Some((package, value)) = package.zip(std::str::from_utf8(cell.value).ok()) {
                names.learn_row(package, cell.dimension, value);
            }
        })?;
        let month = month_begins(Clock::look().minute_now());
        let mut companies = Vec::new();
        let numbers = (0..).zip(&numbers).filter_map(|(number, local)| Some((number, (*local)?)));
        for (number, local) in numbers {
            let range = cell_range(Unit::Day, number, Dimension::Company, month..u32::MAX);
            store.counts().cells(range, |cell, measures| {
                if has_come(cell.value, &measures) {
                    companies.push((local, String::from_utf8_lossy(cell.value).into_owned()));
                }
            })?;
        }
        // The record that is being written has given numbers already.
        for (number, package) in self.record.iter().flat_map(|record| &record.packages) {
            store.dictionary.learn(*number, package.clone());
        }
        Ok((store, companies))
    }

    /// A record whose writing failed may be in the journal after all, and is then applied by now.
    /// One that is not goes on where the journal ends.
    fn settle_record(&mut self, store: &Store) {
        let next = store.next_sequence();
        self.record.take_if(|record| record.sequence < next);
        if let Some(record) = &mut self.record {
            record.sequence = next;
        }
    }

    /// The record to write now: the one that failed, or what waits.
    fn next_record(&mut self, names: &Names) -> Option<Record> {
        let store = self.store.as_mut()?;
        if self.record.is_some() {
            return self.record.take();
        }
        // After a failure an empty record finds out whether writing works again.
        if self.cells.is_empty() && self.failure.is_none() {
            return None;
        }
        let cells = to_record_cells(&self.cells, names, store);
        self.cells = Cells::default();
        let node = store.marker().node;
        Some(Record {
            node: if node == 0 { self.node } else { node },
            epoch: store.epoch(),
            sequence: store.next_sequence(),
            packages: store.dictionary.take_unwritten(),
            cells,
        })
    }

    fn write(&mut self) -> Result<(), CountsError> {
        let (Some(store), Some(record)) = (&mut self.store, &self.record) else {
            return Ok(());
        };
        store.append(record)?;
        // It is on disk: what sled does not have, it gets at the latest when it is opened again.
        self.record = None;
        set(&self.health.journal_bytes, store.journal_bytes());
        // After a failure it is to be known at once whether sled is well.
        let applied = match self.failure.is_some() {
            true => store.apply_all(),
            false => store.apply_overflow(),
        };
        if applied.is_err() {
            self.store = None;
        } else {
            self.recovered();
        }
        applied
    }

    fn recovered(&mut self) {
        set(&self.health.store_ok, 1);
        if self.failure.take().is_some() {
            tracing::info!(dir = %self.data_dir.display(), "counts are written again");
        }
    }

    fn fail(&mut self, error: &CountsError, now_us: u64) {
        add(&self.health.persist_failures_total, 1);
        set(&self.health.store_ok, 0);
        let why = error.to_string();
        if self.failure.as_ref().is_none_or(|last| last.why != why) {
            tracing::error!(
                dir = %self.data_dir.display(),
                "counts cannot be written ({why}): pulls go on, counts wait in memory"
            );
        }
        // Opening reads everything: the longer it fails, the less often it is tried.
        let wait_us = match &self.failure {
            Some(last) if self.store.is_none() => last.wait_us * 2,
            _ => 0,
        };
        let wait_us = wait_us.clamp(RETRY_US_MIN, RETRY_US_MAX);
        self.failure = Some(Failure { why, wait_us, retry_at_us: now_us.saturating_add(wait_us) });
    }
}

/// Gives cells the store's numbers.
fn to_record_cells(cells: &Cells, names: &Names, store: &mut Store) -> Vec<RecordCell> {
    let mut out = Vec::with_capacity(cells.len());
    for (cell, measures) in giving_way(cells.iter(), 1) {
        let Some(package) = names.packages().get(cell.package as usize) else {
            continue;
        };
        out.push(RecordCell {
            package: store.dictionary.number(cell.package, package),
            dimension: cell.dimension,
            unit: cell.unit,
            minute: cell.minute,
            value: Arc::clone(&cell.value),
            measures: *measures,
        });
    }
    out
}

/// How often what the journal has gained is applied to sled: writing a key there costs ten
/// microseconds, so the keys that many intervals add to are written once for all of them. The shortest
/// cells are of a minute.
const RUN_US: u64 = 60_000_000;
/// How often a bit of it is applied: a worker on the same CPU must not feel it.
const STEP_US: u64 = 10_000;
/// How long sled is left alone for somebody who reads.
const READ_US_MAX: u64 = 2_000_000;
/// How long it is written to then before it is left alone again.
const WRITE_US_MAX: u64 = 1_000_000;
const RETRY_US_MIN: u64 = 1_000_000;
const RETRY_US_MAX: u64 = 8_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::amend::Scope;
    use crate::aggregator::counts::KEYS_PER_BATCH;
    use crate::aggregator::names::{Bounds, PackageTexts};
    use crate::aggregator::run::CELLS_WAITING_MAX;
    use crate::aggregator::schema::unit_range;
    use crate::pure::pull::rollup::{Cell, Dimension, Measures};
    use crate::pure::pull::spans::Span;
    use std::fs;
    use std::sync::atomic::Ordering;

    /// All bytes are in the journal, and syncing them failed: when the store is opened anew the
    /// record is found there.
    #[test]
    fn a_record_that_was_written_although_that_failed_counts_once() {
        let dir = tempfile::tempdir().unwrap();
        let (mut persist, mut names) = persist(dir.path());
        count(&mut persist, &mut names);
        persist.flush(&mut names, 0);
        count(&mut persist, &mut names);
        let record = persist.next_record(&names).unwrap();
        persist.store.as_mut().unwrap().append(&record).unwrap();
        persist.record = Some(record);
        persist.store = None;
        count(&mut persist, &mut names);
        persist.flush(&mut names, 0);
        assert_eq!(stored_pulls(&persist), 3);
        assert_eq!(persist.health.persist_pending.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_store_that_failed_is_well_again_when_it_is_written_not_when_it_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (mut persist, mut names) = persist(dir.path());
        let is_ok = |persist: &Persist| persist.health.store_ok.load(Ordering::Relaxed) == 1;
        persist.flush(&mut names, 0);
        assert!(is_ok(&persist), "nothing has failed");
        persist.store = None;
        persist.fail(&CountsError::Unavailable("no room".to_owned()), 0);
        persist.open(&mut names, RETRY_US_MIN);
        assert!(persist.store.is_some() && !is_ok(&persist));
        // Nothing waits; that writing works is found out nevertheless.
        persist.flush(&mut names, RETRY_US_MIN);
        assert!(is_ok(&persist) && persist.failure.is_none());
    }

    #[test]
    fn at_the_end_nothing_waits_for_the_next_try() {
        let dir = tempfile::tempdir().unwrap();
        let (mut persist, mut names) = persist(dir.path());
        let in_the_way = dir.path().join("counts");
        fs::write(&in_the_way, "not a folder").unwrap();
        count(&mut persist, &mut names);
        persist.flush(&mut names, 0);
        assert!(persist.store.is_none());
        fs::remove_file(&in_the_way).unwrap();
        persist.flush(&mut names, 1);
        assert!(persist.store.is_none(), "it is not yet tried again");
        assert!(persist.close(&mut names));
        persist.flush(&mut names, u64::MAX);
        assert_eq!(stored_pulls(&persist), 1);
    }

    fn persist(dir: &std::path::Path) -> (Persist, Names) {
        let lock = Lock::take(dir).unwrap();
        let persist = Persist::new(dir.to_owned(), Some(lock), Arc::default(), 7);
        (persist, Names::new(Bounds { max_names: 10, max_tags: 10, max_clients: 10 }))
    }

    /// One pull waits.
    fn count(persist: &mut Persist, names: &mut Names) {
        let package = PackageTexts { id: b"", domain: b"acme.com", collection: b"", name: b"x" };
        let package = names.package(package);
        let cell = Cell {
            package,
            dimension: Dimension::All,
            unit: Unit::Minute,
            minute: 1,
            value: "".into(),
        };
        persist.cells.add(cell, Measures { pulls: 1, ..Measures::ZERO });
    }

    fn stored_pulls(persist: &Persist) -> u64 {
        let store = persist.store.as_ref().unwrap();
        let tree = store.counts().tree();
        let view = View::new(tree, store.marker(), store.unapplied(), Arc::default());
        let mut pulls = 0;
        view.cells(unit_range(Unit::Ever), |_, measures| pulls += measures.pulls).unwrap();
        pulls
    }

    #[test]
    fn sled_is_left_alone_while_somebody_reads_but_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let (mut persist, mut names) = persist(dir.path());
        let is_applied =
            |persist: &Persist| persist.store.as_ref().unwrap().unapplied().additions().is_empty();
        count(&mut persist, &mut names);
        persist.flush(&mut names, 0);
        let view = persist.view(&names);
        for now_us in [1, READ_US_MAX] {
            persist.apply(now_us);
            assert!(!is_applied(&persist) && !view.is_stale().unwrap());
        }
        persist.apply(1 + READ_US_MAX);
        assert!(is_applied(&persist) && view.is_stale().unwrap());
        // Those who come all the time have their turn again.
        count(&mut persist, &mut names);
        persist.flush(&mut names, 0);
        let view = persist.view(&names);
        for now_us in [READ_US_MAX + WRITE_US_MAX + 1, 2 * READ_US_MAX + WRITE_US_MAX] {
            persist.apply(now_us);
            assert!(!is_applied(&persist) && !view.is_stale().unwrap());
        }
    }

    #[test]
    fn what_is_far_behind_is_applied_step_by_step() {
        let dir = tempfile::tempdir().unwrap();
        let (mut persist, mut names) = persist(dir.path());
        for minute in 0..2 * CELLS_WAITING_MAX {
            let minute = u32::try_from(minute).unwrap();
            let all = Cell {
                package: 0,
                dimension: Dimension::All,
                unit: Unit::Minute,
                minute,
                value: "".into(),
            };
            persist.cells.add(all, Measures { pulls: 1, ..Measures::ZERO });
        }
        count(&mut persist, &mut names);
        persist.flush(&mut names, 0);
        let left = |persist: &Persist| {
            let store = persist.store.as_ref().unwrap();
            store.unapplied().additions().len()
        };
        let mut before = left(&persist);
        assert!(before > CELLS_WAITING_MAX, "nothing is applied at once");
        // Though no time passes.
        for _ in 0..3 {
            persist.apply(0);
            let after = left(&persist);
            assert!(after < before && before - after <= KEYS_PER_BATCH, "{before} to {after}");
            before = after;
        }
    }

    #[test]
    fn what_the_journal_has_gained_is_applied_together() {
        let dir = tempfile::tempdir().unwrap();
        let (mut persist, mut names) = persist(dir.path());
        let applied = |persist: &Persist| persist.store.as_ref().unwrap().marker().applied();
        for now_us in [0, RUN_US / 2, RUN_US - 1] {
            count(&mut persist, &mut names);
            persist.flush(&mut names, now_us);
            persist.apply(now_us);
            assert_eq!(
                (applied(&persist), stored_pulls(&persist)),
                (1, 1 + now_us.div_ceil(RUN_US / 2))
            );
        }
        persist.apply(RUN_US + STEP_US);
        assert_eq!((applied(&persist), stored_pulls(&persist)), (3, 3));
    }

    #[test]
    fn a_day_that_was_read_is_read_anew_once_it_is_written_to_or_erased() {
        let dir = tempfile::tempdir().unwrap();
        let (mut persist, mut names) = persist(dir.path());
        let mut now_us = 0;
        let mut count_one = |persist: &mut Persist, names: &mut Names| {
            count(persist, names);
            persist.flush(names, now_us);
            now_us += RUN_US;
            persist.apply(now_us);
            assert!(persist.store.as_ref().unwrap().unapplied().additions().is_empty());
        };
        let day = 0..Unit::Day.minutes();
        let read = |persist: &mut Persist, names: &Names| {
            let mut pulls = 0;
            let span = Span { unit: Unit::Day, from: day.start, to: day.end };
            let each = |_: &[u8], _, measures: Measures| pulls += measures.pulls;
            persist.view(names).series((0, Dimension::All), span, each).unwrap();
            pulls
        };
        let is_known = |persist: &mut Persist| {
            let recall = persist.memory.recall(day.end);
            recall.give((0, Dimension::All), &day, |_, _, _| ())
        };
        for pulls in 1..=3 {
            count_one(&mut persist, &mut names);
            assert_eq!(read(&mut persist, &names), pulls);
            assert!(is_known(&mut persist));
            assert_eq!(read(&mut persist, &names), pulls);
        }
        let scope = Scope::Package("acme.com/x".to_owned());
        let erasure = Amendment::Erase(Erasure { scope, days: None });
        persist.amend(&erasure, &mut names, 0, |_, _| ()).unwrap();
        assert!(!is_known(&mut persist));
        assert_eq!(read(&mut persist, &names), 0);
        assert!(is_known(&mut persist));
        assert!(persist.close(&mut names) && !is_known(&mut persist));
    }
}
