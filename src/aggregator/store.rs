//! The store: journal, counts in sled, checkpoints, and how they make up for each other.
//!
//! Each interval's counts go to the journal and are on disk when that returns. Now and then what has
//! come together since is applied to sled, a little at a time: writing sled is what costs. At start
//! sled gets what it lacks. It is only ever a copy: when it is damaged, or has lost something
//! without saying so, it is moved aside and built anew from the last checkpoint and the journal
//! since then.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::aggregator::amend::{Erasure, Gone};
use crate::aggregator::backup::Kept;
use crate::aggregator::counts::{Counts, CountsError, KEYS_PER_BATCH};
use crate::aggregator::dictionary::Dictionary;
use crate::aggregator::journal::Journal;
use crate::aggregator::recover::{COUNTS, UNFINISHED, catch_up, rebuild};
use crate::aggregator::retention::Sweep;
use crate::aggregator::run::{Begun, CELLS_WAITING_MAX, Run, Unapplied};
use crate::aggregator::schema::{Marker, Record};
use crate::aggregator::view::View;
use crate::aggregator::{checkpoint, erase};
use crate::pure::pull::rollup::Unit;

/// An open store.
pub struct Store {
    dir: PathBuf,
    counts: Counts,
    journal: Journal,
    /// What was appended and is not begun to be applied.
    waiting: Arc<Run>,
    /// What is being applied.
    begun: Option<Begun>,
    /// Whether that is so much that there is no pause between its steps.
    is_hurried: bool,
    /// Which number a package has.
    pub dictionary: Dictionary,
    checkpoint: Option<PathBuf>,
    compaction: Option<JoinHandle<io::Result<(PathBuf, Marker)>>>,
    sweep: Sweep,
    epoch: u64,
    /// How often counts were built anew when it was opened.
    pub rebuilds: u64,
}

impl Store {
    /// Opens the store in `dir`, which is there and locked by this process.
    pub fn open(dir: &Path) -> Result<Self, CountsError> {
        let path = dir.join(COUNTS);
        if dir.join(UNFINISHED).exists() {
            fs::remove_dir_all(dir.join(UNFINISHED))?;
        }
        checkpoint::remove_unfinished(dir)?;
        erase::finish(dir)?;
        let newest = checkpoint::newest(dir)?;
        let base = newest.as_ref().map_or(0, |(_, marker)| marker.sequence);
        let checkpoint = newest.map(|(path, _)| path);

        let mut rebuilds = 0;
        let opened = match path.exists() || base == 0 {
            true => Counts::open(&path),
            false => Err(CountsError::Damaged("it is not there".into())),
        };
        let unusable = match &opened {
            Ok(counts) if counts.applied() >= base => None,
            Ok(_) => Some("it is older than the last checkpoint: it has lost counts".to_owned()),
            Err(CountsError::Damaged(why)) => Some(why.clone()),
            Err(CountsError::Unavailable(_) | CountsError::Version(_)) => None,
        };
        let mut counts = match unusable {
            None => opened?,
            Some(why) => {
                drop(opened);
                rebuilds += 1;
                rebuild(dir, checkpoint.as_deref(), &why)?
            }
        };
        let mut journal = Journal::open(dir, counts.applied())?;
        let is_journal_short = journal.last_sequence() < counts.marker().sequence
            || journal.first_sequence() > counts.applied() + 1;
        let mut caught_up = catch_up(&mut counts, &journal)?;
        if let Err(why) = &caught_up
            && rebuilds == 0
            && !is_journal_short
        {
            drop(counts);
            rebuilds += 1;
            counts = rebuild(dir, checkpoint.as_deref(), why)?;
            caught_up = catch_up(&mut counts, &journal)?;
        }
        if let Err(why) = &caught_up {
            tracing::error!(dir = %dir.display(), "counts are lost: {why}");
            let digest = counts.digest()?;
            counts.set_marker(Marker { digest, keys_done: None, ..counts.marker() })?;
        }
        if journal.last_sequence() < counts.marker().sequence {
            journal.skip_to(counts.marker().sequence)?;
        }
        let mut dictionary = Dictionary::default();
        counts.packages(|number, record| dictionary.learn(number, record))?;
        let epoch = counts.marker().epoch + 1;
        let mut store = Self {
            dir: dir.to_owned(),
            counts,
            journal,
            waiting: Arc::default(),
            begun: None,
            is_hurried: false,
            dictionary,
            checkpoint,
            compaction: None,
            sweep: Sweep::default(),
            epoch,
            rebuilds,
        };
        if is_journal_short || caught_up.is_err() || store.journal.first_sequence() > base + 1 {
            // Checkpoint and journal together do not know what sled knows.
            store.export()?;
        }
        Ok(store)
    }

    /// What is written and applied.
    pub fn marker(&self) -> Marker {
        self.counts.marker()
    }

    /// As [`Counts::take_written_day`].
    pub fn take_written_day(&mut self) -> Option<u32> {
        self.counts.take_written_day()
    }

    /// The counts.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The sequence of the next record.
    pub fn next_sequence(&self) -> u64 {
        self.journal.last_sequence() + 1
    }

    /// How often it has been opened.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How long the journal is, in bytes.
    pub fn journal_bytes(&self) -> u64 {
        self.journal.bytes()
    }

    /// Writes `record` to the journal, on disk when this returns. After an error the same record
    /// must be appended again.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        self.journal.append(record)?;
        Arc::make_mut(&mut self.waiting).push(record);
        Ok(())
    }

    /// The files from which all that was appended can be made anew.
    pub fn kept(&self) -> io::Result<Vec<Kept>> {
        Kept::all(self.checkpoint.as_deref(), self.journal.segments())
    }

    /// What was appended and is not applied.
    pub fn unapplied(&self) -> Unapplied {
        let waiting = Arc::clone(&self.waiting);
        match &self.begun {
            None => Unapplied { waiting, ..Unapplied::default() },
            Some(run) => {
                let left = run.additions.get(self.counts.keys_done()..).unwrap_or_default();
                let (packages, since) = (run.packages.clone(), run.since());
                let begun = left.to_vec();
                Unapplied { begun, packages, since, waiting, ..Unapplied::default() }
            }
        }
    }

    /// Whether so much waits that it should be applied without a pause.
    pub fn is_far_behind(&self) -> bool {
        self.waiting.cells() >= CELLS_WAITING_MAX || self.is_hurried
    }

    /// Applies what waits where that does not keep up step by step: its memory is bounded.
    pub fn apply_overflow(&mut self) -> Result<(), CountsError> {
        if self.begun.is_some() && self.waiting.cells() >= 4 * CELLS_WAITING_MAX {
            return self.apply_all();
        }
        Ok(())
    }

    /// From now on what waits is to be applied; `false` where nothing waits, or the run before is
    /// still being applied.
    pub fn begin_run(&mut self) -> bool {
        let begins = self.begun.is_none() && !self.waiting.is_empty();
        if begins {
            self.is_hurried = self.is_far_behind();
            let waiting = std::mem::take(&mut self.waiting);
            self.begun = Some(Arc::unwrap_or_clone(waiting).begin());
        }
        begins
    }

    /// Applies a little of what is to be applied, the more the more there is. After an error the
    /// store must be opened anew, which applies what is missing.
    pub fn apply_some(&mut self) -> Result<(), CountsError> {
        if let Some(run) = &self.begun {
            let keys = (run.additions.len() / STEPS_PER_RUN).clamp(KEYS_PER_STEP, KEYS_PER_BATCH);
            if self.counts.apply_some(run, keys)? {
                self.begun = None;
                self.is_hurried = false;
            }
        }
        Ok(())
    }

    /// Applies all that was appended. After an error as [`Self::apply_some`].
    pub fn apply_all(&mut self) -> Result<(), CountsError> {
        while self.begun.is_some() || self.begin_run() {
            self.apply_some()?;
        }
        Ok(())
    }

    /// Removes some old cells, and sees to the journal's length.
    pub fn maintain(&mut self, kept_from: impl Fn(Unit) -> u32) -> Result<(), CountsError> {
        let packages = u32::try_from(self.dictionary.iter().count()).unwrap_or(u32::MAX);
        self.sweep.step(&mut self.counts, packages, &kept_from)?;
        if self.compaction.as_ref().is_some_and(JoinHandle::is_finished) {
            return self.end_compaction();
        }
        let checkpoint_bytes = match &self.checkpoint {
            Some(path) => fs::metadata(path).map_or(0, |file| file.len()),
            None => 0,
        };
        if self.compaction.is_none()
            && self.journal.open_segment_bytes() >= segment_bytes_max(checkpoint_bytes)
        {
            // Before there is a checkpoint: sled must never be older than it.
            self.flush()?;
            if let Err(error) = self.begin_compaction(kept_from) {
                tracing::warn!(%error, "the journal's segment could not be ended; it grows");
            }
        }
        Ok(())
    }

    /// Applies all that was appended, and waits until that is on disk in sled too.
    pub fn flush(&mut self) -> Result<(), CountsError> {
        self.apply_all()?;
        self.counts.flush()
    }

    /// Begins to erase; opened again, the store is without what is gone. After an error it has all
    /// that it had.
    pub fn erase(mut self, erasure: &Erasure) -> Result<(), CountsError> {
        if let Some(thread) = self.compaction.take() {
            // Its checkpoint goes with the others.
            let _ = thread.join();
        }
        self.flush()?;
        let (tree, marker) = (self.counts.tree(), self.marker());
        let view = View::new(tree, marker, Unapplied::default(), Arc::default());
        let gone = Gone::of(erasure, &view)?;
        erase::begin(&self.dir, &self.counts, self.next_sequence(), &gone)
    }

    /// A thread of its own reads the files that nobody writes to any more.
    fn begin_compaction(&mut self, kept_from: impl Fn(Unit) -> u32) -> io::Result<()> {
        let sealed = self.journal.seal()?;
        let (dir, before) = (self.dir.clone(), self.checkpoint.clone());
        let kept_from = Unit::EVERY.map(kept_from);
        let compact = move || {
            checkpoint::compact(&dir, before.as_deref(), &sealed, |unit| kept_from[unit as usize])
        };
        let thread = std::thread::Builder::new().name("checkpoint".to_owned());
        self.compaction = Some(thread.spawn(compact)?);
        Ok(())
    }

    fn end_compaction(&mut self) -> Result<(), CountsError> {
        let Some(thread) = self.compaction.take() else {
            return Ok(());
        };
        match thread.join() {
            Ok(Ok((path, marker))) => self.adopt(path, marker),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::error!(%error, "no checkpoint of the journal: it is made of the counts");
                self.export()
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "no checkpoint could be written; the journal grows");
                Ok(())
            }
            Err(_) => Err(CountsError::Unavailable("the checkpoint's thread panicked".into())),
        }
    }

    /// Makes a checkpoint of the counts themselves.
    fn export(&mut self) -> Result<(), CountsError> {
        self.flush()?;
        let path = self.counts.export(&self.dir)?;
        self.adopt(path, self.counts.marker())
    }

    /// From now on what is in the checkpoint need not be in the journal.
    fn adopt(&mut self, path: PathBuf, marker: Marker) -> Result<(), CountsError> {
        self.counts.flush()?;
        checkpoint::remove_others(&self.dir, Some(&path))?;
        self.checkpoint = Some(path);
        self.journal.remove_through(marker.sequence)?;
        Ok(())
    }
}

impl Drop for Store {
    /// The folder is this store's as long as it may write to it.
    fn drop(&mut self) {
        if let Some(thread) = self.compaction.take() {
            let _ = thread.join();
        }
    }
}

/// How long a segment of the journal gets before a checkpoint is made of it: as long as the last
/// checkpoint, so that writing checkpoints costs no more than writing the journal, within bounds.
fn segment_bytes_max(checkpoint_bytes: u64) -> u64 {
    checkpoint_bytes.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX)
}

/// How many steps a run is applied in, as long as it is neither short nor very long.
const STEPS_PER_RUN: usize = 512;
/// A step takes a good half of a millisecond then.
const KEYS_PER_STEP: usize = 64;

const SEGMENT_BYTES_MIN: u64 = 8 * 1024 * 1024;
/// A segment is read at once, when it is replayed and when a checkpoint is made of it.
const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::schema::{PackageRecord, RecordCell, unit_range};
    use crate::pure::pull::rollup::{Dimension, Measures};
    use std::collections::BTreeMap;
    use std::fs::OpenOptions;

    /// Any order of writing, stopping between the journal and sled, making checkpoints, and losing
    /// sled in part or whole: what is there is the sum of what was written.
    #[test]
    fn whatever_happens_to_sled_the_counts_are_those_that_were_written() {
        for seed in 1..=12u64 {
            let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut below = |bound: u64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                (random >> 11) % bound
            };
            let dir = tempfile::tempdir().unwrap();
            let db = dir.path().join(COUNTS).join("db");
            let mut naive: BTreeMap<Vec<u8>, Measures> = BTreeMap::new();
            let mut store = Store::open(dir.path()).unwrap();
            for step in 0..25 {
                match below(7) {
                    0..=2 => {
                        let record = record(store.next_sequence(), below(400), below(3000));
                        store.append(&record).unwrap();
                        for cell in &record.cells {
                            for key in cell.keys() {
                                *naive.entry(key).or_default() += cell.measures;
                            }
                        }
                        if below(2) > 0 {
                            store.begin_run();
                        }
                        for _ in 0..below(20) {
                            store.apply_some().unwrap();
                        }
                        if below(4) > 0 {
                            assert!(read(&store) == naive, "seed {seed}, step {step}");
                            continue;
                        }
                    }
                    3 => {
                        store.flush().unwrap();
                        store.begin_compaction(|_| 0).unwrap();
                        store.end_compaction().unwrap();
                        continue;
                    }
                    4 => {
                        drop(store);
                        let file = OpenOptions::new().write(true).open(&db).unwrap();
                        file.set_len(below(file.metadata().unwrap().len())).unwrap();
                        store = Store::open(dir.path()).unwrap();
                    }
                    5 => {
                        drop(store);
                        fs::remove_dir_all(dir.path().join(COUNTS)).unwrap();
                        store = Store::open(dir.path()).unwrap();
                    }
                    _ => store.flush().unwrap(),
                }
                drop(store);
                store = Store::open(dir.path()).unwrap();
                assert!(read(&store) == naive, "seed {seed}, step {step}");
                assert_eq!(store.dictionary.iter().count(), usize::from(!naive.is_empty()));
            }
        }
    }

    #[test]
    fn a_checkpoint_shortens_the_journal() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let mut sequence = 0;
        while store.journal_bytes() < SEGMENT_BYTES_MIN {
            sequence += 1;
            store.append(&record(sequence, 20_000, 1)).unwrap();
        }
        let before = read(&store);
        while store.checkpoint.is_none() {
            store.maintain(|_| 0).unwrap();
        }
        assert_eq!(store.journal_bytes(), 0);
        drop(store);
        fs::remove_dir_all(dir.path().join(COUNTS)).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(read(&store) == before);
        assert_eq!(store.next_sequence(), sequence + 1);
    }

    #[test]
    fn a_segment_that_cannot_be_ended_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        while store.journal_bytes() < SEGMENT_BYTES_MIN {
            store.append(&record(store.next_sequence(), 20_000, 1)).unwrap();
        }
        let next = store.next_sequence();
        let in_the_way = dir.path().join(format!("journal.{next:020}"));
        fs::create_dir(&in_the_way).unwrap();
        store.maintain(|_| 0).unwrap();
        store.append(&record(next, 1, 1)).unwrap();
        fs::remove_dir(&in_the_way).unwrap();
        while store.checkpoint.is_none() {
            store.maintain(|_| 0).unwrap();
        }
        assert_eq!((store.journal_bytes(), store.next_sequence()), (0, next + 1));
    }

    #[test]
    fn a_segment_is_as_long_as_the_checkpoint_within_bounds() {
        let mib = |mib: u64| mib * 1024 * 1024;
        assert_eq!([0, 20, 1000].map(|size| segment_bytes_max(mib(size))), [8, 20, 64].map(mib));
    }

    #[test]
    fn a_record_is_applied_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let record = record(1, 10, 1);
        store.append(&record).unwrap();
        store.apply_all().unwrap();
        let before = read(&store);
        let mut run = Run::default();
        run.push(&record);
        let refused = store.counts.apply(run).unwrap_err();
        assert_eq!(refused.to_string(), "records 1 to 1 would count twice");
        assert!(read(&store) == before);
    }

    /// A kill in the middle of a run: what is left of it is applied, and what followed.
    #[test]
    fn a_run_that_was_begun_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        for sequence in 1..=3 {
            store.append(&record(sequence, 40, sequence)).unwrap();
        }
        assert!(store.begin_run());
        store.append(&record(4, 40, 2)).unwrap();
        store.apply_some().unwrap();
        store.apply_some().unwrap();
        assert_eq!((store.counts.applied(), store.counts.keys_done()), (0, 2 * KEYS_PER_STEP));
        let before = read(&store);
        store.counts.flush().unwrap();
        drop(store);
        let mut store = Store::open(dir.path()).unwrap();
        assert_eq!((store.counts.applied(), store.rebuilds), (4, 0));
        assert!(!store.begin_run());
        assert!(read(&store) == before);
    }

    /// A kill in the middle of a run, and the journal damaged: what is left of the run cannot be told
    /// from a part of it.
    #[test]
    fn a_run_that_was_begun_and_is_not_whole_any_more_is_damage() {
        for lost in [1, 2] {
            let dir = tempfile::tempdir().unwrap();
            let mut store = Store::open(dir.path()).unwrap();
            let mut kept: BTreeMap<Vec<u8>, Measures> = BTreeMap::new();
            for sequence in 1..=3 {
                let record = record(sequence, 40, sequence * 50);
                for cell in record.cells.iter().filter(|_| sequence != lost) {
                    for key in cell.keys() {
                        *kept.entry(key).or_default() += cell.measures;
                    }
                }
                store.append(&record).unwrap();
                store.journal.seal().unwrap();
            }
            assert!(store.begin_run());
            store.apply_some().unwrap();
            store.counts.flush().unwrap();
            drop(store);
            fs::remove_file(dir.path().join(format!("journal.{lost:020}"))).unwrap();
            let store = Store::open(dir.path()).unwrap();
            assert_eq!(store.next_sequence(), 4);
            // Of a journal that lacks its beginning nothing is built anew: sled has more.
            if lost == 2 {
                assert_eq!(store.rebuilds, 1);
                assert!(read(&store) == kept);
            }
        }
    }

    #[test]
    fn an_unfinished_checkpoint_goes_when_the_store_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join("checkpoint.unfinished");
        fs::write(&left, "half").unwrap();
        Store::open(dir.path()).unwrap();
        assert!(!left.exists());
    }

    fn record(sequence: u64, cells: u64, from_minute: u64) -> Record {
        let mut record = Record { node: 1, epoch: 1, sequence, ..Record::default() };
        let name = PackageRecord { shown: "acme.com/x".to_owned(), ..PackageRecord::default() };
        record.packages.push((0, name));
        for number in 0..cells {
            for dimension in Dimension::EVERY {
                let minute = u32::try_from(from_minute + number).unwrap();
                let value = format!("{dimension:?}{}", number % 5).into();
                let measures = Measures { requests: number, pulls: 1, ..Measures::ZERO };
                let unit = Unit::Minute;
                record.cells.push(RecordCell {
                    package: 0,
                    dimension,
                    unit,
                    minute,
                    value,
                    measures,
                });
            }
        }
        record
    }

    /// All cells, as a reader sees them.
    fn read(store: &Store) -> BTreeMap<Vec<u8>, Measures> {
        let mut cells: BTreeMap<_, Measures> = BTreeMap::new();
        let tree = store.counts.tree();
        let view = View::new(tree, store.marker(), store.unapplied(), Arc::default());
        for unit in Unit::EVERY {
            view.cells(unit_range(unit), |cell, measures| {
                *cells.entry(cell.to_bytes()).or_default() += measures;
            })
            .unwrap();
        }
        cells
    }
}
