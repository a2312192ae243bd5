//! The counts in sled: applied records, each batch together with the marker that says so.
//!
//! What is known of sled 0.34 and heeded here: a batch of more than about 500 keys leaks memory; a
//! half-written `snap.*.generating` keeps it from opening; a shortened file opens without a word
//! and shows an older state; an I/O error stays until it is reopened; damage can make it panic.

use std::fs;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::aggregator::checkpoint;
use crate::aggregator::run::{Begun, Run};
use crate::aggregator::schema::{
    CellKey, KEPT_KEY, MARKER_KEY, Marker, PACKAGES, PackageRecord, VERSION, VERSION_KEY, Value,
    entry_hash, is_read, package_key, package_number, unit_range,
};
use crate::pure::pull::rollup::{Measures, Unit};

/// The opened store of counts.
pub struct Counts {
    tree: sled::Db,
    marker: Marker,
    /// The first day that was written to, since somebody asked.
    written_day: Option<u32>,
}

/// Why counts could not be read or written.
#[derive(Debug)]
pub enum CountsError {
    /// Now is not the time: no room, no permission, an I/O error. The same may work later.
    Unavailable(String),
    /// It is damaged, and will be so later.
    Damaged(String),
    /// Another version of the program wrote it.
    Version(u32),
}

impl Counts {
    /// Opens the counts at `path`, which may not be there yet.
    pub fn open(path: &Path) -> Result<Self, CountsError> {
        remove_unfinished_snapshots(path)?;
        let tree = open_tree(path)?;
        let (version, marker) = guarded(|| {
            if tree.is_empty() {
                tree.insert(VERSION_KEY, &VERSION.to_be_bytes())?;
                tree.insert(MARKER_KEY, Marker::default().encode())?;
            }
            Ok((tree.get(VERSION_KEY)?, tree.get(MARKER_KEY)?))
        })?;
        match version.and_then(|bytes| Some(u32::from_be_bytes((*bytes).try_into().ok()?))) {
            Some(VERSION) => {}
            // On disk before anything is written that the version before could not read.
            Some(before) if is_read(before) => guarded(|| {
                tree.insert(VERSION_KEY, &VERSION.to_be_bytes())?;
                tree.flush().map(|_| ())
            })?,
            Some(other) => return Err(CountsError::Version(other)),
            None => return Err(CountsError::Damaged("it does not say its version".into())),
        }
        match marker.and_then(|bytes| Marker::decode(&bytes)) {
            Some(marker) => Ok(Self { tree, marker, written_day: None }),
            None => Err(CountsError::Damaged("its marker is gone".into())),
        }
    }

    /// Makes the counts at `path` out of a checkpoint; nothing may be there. What cannot be read
    /// of a damaged checkpoint is lost, and said.
    pub fn build(path: &Path, from: &Path) -> Result<(), CountsError> {
        let (marker, mut reader) = checkpoint::open(from)?;
        let mut counts = Self::open(path)?;
        let mut digest = 0u64;
        loop {
            let mut batch = sled::Batch::default();
            let mut keys = 0;
            while keys < KEYS_PER_BATCH {
                match reader.next_entry() {
                    Ok(Some((key, value))) => {
                        digest = digest.wrapping_add(entry_hash(&key, &value));
                        batch.insert(key, value);
                    }
                    Ok(None) => break,
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        let path = from.display();
                        tracing::error!(%path, %error, "the checkpoint is damaged: counts are lost");
                        break;
                    }
                    Err(error) => return Err(error.into()),
                }
                keys += 1;
            }
            guarded(|| counts.tree.apply_batch(batch))?;
            if keys < KEYS_PER_BATCH {
                break;
            }
        }
        counts.set_kept_from(reader.kept_from)?;
        counts.set_marker(Marker { digest, ..marker })?;
        counts.flush()
    }

    /// What has been applied.
    pub fn marker(&self) -> Marker {
        self.marker
    }

    /// The last record all of which is applied.
    pub fn applied(&self) -> u64 {
        self.marker.applied()
    }

    /// The first day that was written to since this was asked last, by its first minute.
    pub fn take_written_day(&mut self) -> Option<u32> {
        self.written_day.take()
    }

    /// How many keys of the run that was begun are applied.
    pub fn keys_done(&self) -> usize {
        self.marker.keys_done.and_then(|keys| usize::try_from(keys).ok()).unwrap_or(0)
    }

    /// Applies a run, or what is left of it.
    ///
    /// # Errors
    /// As [`Self::apply_some`].
    pub fn apply(&mut self, run: Run) -> Result<(), CountsError> {
        let run = run.begin();
        while !self.apply_some(&run, KEYS_PER_BATCH)? {}
        Ok(())
    }

    /// Applies at most `keys_max` more keys of a run, at most [`KEYS_PER_BATCH`]; whether it is
    /// applied then.
    ///
    /// # Errors
    /// A run that does not follow what is applied is refused. After any error only reopening helps.
    pub fn apply_some(&mut self, run: &Begun, keys_max: usize) -> Result<bool, CountsError> {
        let before = self.marker;
        let is_another = before.keys_done.is_some() && before.sequence != run.sequence();
        if run.follows() < before.applied() || is_another {
            let (first, last) = (run.follows() + 1, run.sequence());
            let words = format!("records {first} to {last} would count twice");
            return Err(CountsError::Unavailable(words));
        }
        let done = self.keys_done();
        let left = run.additions.get(done..).unwrap_or_default();
        let batch_keys = left.len().min(keys_max).min(KEYS_PER_BATCH);
        let mut digest = before.digest;
        if done == 0 {
            digest = self.put_packages(run, digest)?;
        }
        let mut batch = sled::Batch::default();
        for (key, more) in left.iter().take(batch_keys) {
            self.touch(key);
            digest = self.put(&mut batch, digest, key, |before| {
                let mut sum = before.map_or(Some(Measures::ZERO), Measures::decode)?;
                sum += *more;
                Some(sum.encode())
            })?;
        }
        let is_last = batch_keys == left.len();
        let keys_done = (!is_last).then_some((done + batch_keys) as u64);
        self.write(batch, run.marker(before, keys_done, digest))?;
        Ok(is_last)
    }

    /// Puts the packages that a run names, before any of its keys: they are put as they are, so
    /// doing it again after a crash changes nothing. The digest then.
    fn put_packages(&mut self, run: &Begun, mut digest: u64) -> Result<u64, CountsError> {
        for packages in run.packages.chunks(KEYS_PER_BATCH) {
            let mut batch = sled::Batch::default();
            for (number, package) in packages {
                let key = package_key(*number);
                digest = self.put(&mut batch, digest, &key, |_| Some(package.encode()))?;
            }
            self.write(batch, run.marker(self.marker, Some(0), digest))?;
        }
        Ok(digest)
    }

    /// Notes that this key will be written to.
    fn touch(&mut self, key: &[u8]) {
        let cell = CellKey::parse(key).filter(|cell| cell.unit == Unit::Day);
        self.written_day = cell.map(|cell| cell.minute).into_iter().chain(self.written_day).min();
    }

    /// Writes a batch together with the marker that says so.
    fn write(&mut self, mut batch: sled::Batch, marker: Marker) -> Result<(), CountsError> {
        batch.insert(MARKER_KEY, marker.encode());
        guarded(|| self.tree.apply_batch(batch))?;
        self.marker = marker;
        Ok(())
    }

    /// Sets the marker to what is really there.
    pub fn set_marker(&mut self, marker: Marker) -> Result<(), CountsError> {
        guarded(|| self.tree.insert(MARKER_KEY, marker.encode()))?;
        self.marker = marker;
        Ok(())
    }

    /// Waits until all that was applied is on disk.
    pub fn flush(&self) -> Result<(), CountsError> {
        guarded(|| self.tree.flush()).map(|_| ())
    }

    /// The first minute of the oldest cell that is kept, by unit.
    pub fn kept_from(&self) -> Result<[u32; Unit::EVERY.len()], CountsError> {
        kept_from(&self.tree)
    }

    /// Says that cells before these minutes may be gone, by unit.
    pub fn set_kept_from(&self, kept_from: [u32; Unit::EVERY.len()]) -> Result<(), CountsError> {
        let kept_from = kept_from.map(u32::to_be_bytes);
        guarded(|| self.tree.insert(KEPT_KEY, kept_from.as_flattened())).map(|_| ())
    }

    /// Removes the cells in `range`, at most `keys_max`, itself at most [`KEYS_PER_BATCH`]. How
    /// many those were.
    pub fn remove(&mut self, range: Range<Vec<u8>>, keys_max: usize) -> Result<usize, CountsError> {
        let entries = || self.tree.range(range).take(keys_max.min(KEYS_PER_BATCH));
        let entries: Vec<_> = guarded(|| entries().collect())?;
        if entries.is_empty() {
            return Ok(0);
        }
        let mut batch = sled::Batch::default();
        let mut marker = self.marker;
        for (key, value) in &entries {
            self.touch(key);
            marker.digest = marker.digest.wrapping_sub(entry_hash(key, value));
            batch.remove(key);
        }
        self.write(batch, marker)?;
        Ok(entries.len())
    }

    /// Gives every package to `each`.
    pub fn packages(&self, mut each: impl FnMut(u32, PackageRecord)) -> Result<(), CountsError> {
        guarded(|| {
            for entry in self.tree.scan_prefix([PACKAGES]) {
                let (key, value) = entry?;
                if let Some(entry) = package_number(&key).zip(PackageRecord::decode(&value)) {
                    each(entry.0, entry.1);
                }
            }
            Ok(())
        })
    }

    /// Gives the counts over all time of every package and row to `each`.
    pub fn rows(&self, each: impl FnMut(CellKey<'_>, Measures)) -> Result<(), CountsError> {
        self.cells(unit_range(Unit::Ever), each)
    }

    /// Gives the cells in `range` to `each`.
    pub fn cells(
        &self,
        range: Range<Vec<u8>>,
        mut each: impl FnMut(CellKey<'_>, Measures),
    ) -> Result<(), CountsError> {
        stored(&self.tree, range, |cell, _, measures| each(cell, measures))
    }

    /// What [`Marker::digest`] must be: reads everything.
    pub fn digest(&self) -> Result<u64, CountsError> {
        guarded(|| {
            let mut digest = 0u64;
            for entry in self.tree.range([PACKAGES]..) {
                let (key, value) = entry?;
                digest = digest.wrapping_add(entry_hash(&key, &value));
            }
            Ok(digest)
        })
    }

    /// Writes all of it as a checkpoint, and says where that is.
    pub fn export(&self, dir: &Path) -> io::Result<PathBuf> {
        let kept_from = self.kept_from().map_err(|error| io::Error::other(error.to_string()))?;
        let mut writer = checkpoint::Writer::create(dir, &self.marker, kept_from)?;
        let mut entries = self.tree.range([PACKAGES]..);
        let mut next = || guarded(|| entries.next().transpose());
        while let Some((key, value)) =
            next().map_err(|error| io::Error::other(error.to_string()))?
        {
            writer.put(&key, &value)?;
        }
        writer.finish()
    }

    /// A handle that reads, from any thread.
    pub fn tree(&self) -> sled::Tree {
        (*self.tree).clone()
    }

    /// Puts into `batch` what `new` makes of the entry that is there; the digest then.
    fn put(
        &self,
        batch: &mut sled::Batch,
        digest: u64,
        key: &[u8],
        new: impl FnOnce(Option<&[u8]>) -> Option<Vec<u8>>,
    ) -> Result<u64, CountsError> {
        let before = guarded(|| self.tree.get(key))?;
        let value = new(before.as_deref());
        let value = value.ok_or_else(|| CountsError::Damaged("a cell cannot be read".into()))?;
        let gone = before.map_or(0, |before| entry_hash(key, &before));
        let digest = digest.wrapping_sub(gone).wrapping_add(entry_hash(key, &value));
        batch.insert(key, value);
        Ok(digest)
    }
}

/// Opens sled. Its threads may hold the lock of the one that was closed just now a little longer.
fn open_tree(path: &Path) -> Result<sled::Db, CountsError> {
    let config = sled::Config::new().path(path);
    let config = config.cache_capacity(CACHE_BYTES).flush_every_ms(None);
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match guarded(|| config.open()) {
            Err(CountsError::Unavailable(why))
                if why.contains(LOCK_WORD) && Instant::now() < deadline =>
            {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

/// The first minute of the oldest cell that `tree` keeps, by unit; 0 where nothing was removed yet.
pub(super) fn kept_from(tree: &sled::Tree) -> Result<[u32; Unit::EVERY.len()], CountsError> {
    let kept = guarded(|| tree.get(KEPT_KEY))?;
    let mut minutes = kept.iter().flat_map(|kept| kept.as_chunks().0);
    Ok([(); Unit::EVERY.len()].map(|()| minutes.next().map_or(0, |at| u32::from_be_bytes(*at))))
}

/// Gives the cells that `tree` has in `range` to `each`, also as they stand there.
pub(super) fn stored(
    tree: &sled::Tree,
    range: Range<Vec<u8>>,
    mut each: impl FnMut(CellKey<'_>, &[u8], Measures),
) -> Result<(), CountsError> {
    guarded(|| {
        for entry in tree.range(range) {
            let (key, value) = entry?;
            if let Some((cell, measures)) = CellKey::parse(&key).zip(Measures::decode(&value)) {
                each(cell, &value, measures);
            }
        }
        Ok(())
    })
}

/// Runs something of sled's: damage makes it fail in many ways, and panic.
pub fn guarded<T>(run: impl FnOnce() -> sled::Result<T>) -> Result<T, CountsError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) if is_passing(&error) => Err(error.into()),
        Ok(Err(error)) => Err(CountsError::Damaged(error.to_string())),
        Err(_) => Err(CountsError::Damaged("sled panicked".into())),
    }
}

/// Whether an error speaks of the system rather than of what is stored. sled's own lock is said in
/// words only: it may still be held by a reader of the store that was closed just now.
fn is_passing(error: &io::Error) -> bool {
    error.raw_os_error().is_some() || error.to_string().contains(LOCK_WORD)
}

impl From<io::Error> for CountsError {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// A kill while sled writes a snapshot leaves a half that it then refuses to open with.
fn remove_unfinished_snapshots(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| name.ends_with(".generating")) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl std::fmt::Display for CountsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unavailable(why) | Self::Damaged(why) => f.write_str(why),
            Self::Version(version) => write!(
                f,
                "it was written in format {version} and this program reads format {VERSION}: \
                 use the version of pullgate that wrote it, or another data_dir"
            ),
        }
    }
}

/// How sled says that its lock is taken: `could not acquire lock on …`.
const LOCK_WORD: &str = "acquire lock";
/// How long to wait for it.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
/// What sled may keep of the counts in memory.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// With the marker 256 keys: sled leaks memory with batches of more than about 500.
pub const KEYS_PER_BATCH: usize = 255;
