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

use crate::aggregator::checkpoint;
use crate::aggregator::schema::{
    CellKey, KEPT_KEY, MARKER_KEY, Marker, PACKAGES, PackageRecord, Record, VERSION, VERSION_KEY,
    Value, package_key, package_number, unit_range,
};
use crate::pure::pull::rollup::{Dimension, Measures, Unit};

/// The opened store of counts.
pub struct Counts {
    tree: sled::Db,
    marker: Marker,
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
        guarded(|| {
            let config = sled::Config::new()
                .path(path)
                .cache_capacity(CACHE_BYTES)
                .flush_every_ms(None);
            let tree = config.open()?;
            let is_new = tree.is_empty();
            if is_new {
                tree.insert(VERSION_KEY, &VERSION.to_be_bytes())?;
                tree.insert(MARKER_KEY, Marker::default().encode())?;
            }
            Ok((tree.get(VERSION_KEY)?, tree.get(MARKER_KEY)?, tree))
        })
        .and_then(|(version, marker, tree)| {
            let version =
                version.and_then(|bytes| Some(u32::from_be_bytes((*bytes).try_into().ok()?)));
            match version {
                Some(VERSION) => {}
                Some(other) => return Err(CountsError::Version(other)),
                None => return Err(CountsError::Damaged("it does not say its version".into())),
            }
            let marker = marker.and_then(|bytes| Marker::decode(&bytes));
            let marker = marker.ok_or_else(|| CountsError::Damaged("its marker is gone".into()))?;
            Ok(Self { tree, marker })
        })
    }

    /// Makes the counts at `path` out of a checkpoint; nothing may be there. What cannot be read
    /// of a damaged checkpoint is lost, and said.
    pub fn build(path: &Path, from: &Path) -> Result<(), CountsError> {
        let (marker, mut reader) = checkpoint::open(from)?;
        let mut counts = Self::open(path)?;
        loop {
            let mut batch = sled::Batch::default();
            let mut keys = 0;
            while keys < KEYS_PER_BATCH {
                match reader.next() {
                    Ok(Some((key, value))) => batch.insert(key, value),
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
        counts.set_marker(marker)?;
        counts.flush()
    }

    /// What has been applied.
    pub fn marker(&self) -> Marker {
        self.marker
    }

    /// The last record all of which is applied.
    pub fn applied(&self) -> u64 {
        self.marker
            .sequence
            .saturating_sub(u64::from(self.marker.keys_done.is_some()))
    }

    /// Applies a record, or what is left of it. After an error only reopening helps.
    pub fn apply(&mut self, record: &Record) -> Result<(), CountsError> {
        let before = self.marker;
        let done = match before.keys_done {
            Some(keys) if before.sequence == record.sequence => keys,
            _ => 0,
        };
        let additions = record.additions();
        let mut left = additions
            .iter()
            .skip(usize::try_from(done).unwrap_or(usize::MAX))
            .peekable();
        let mut packages = record.packages.iter().peekable();
        let mut keys_done = done;
        loop {
            let mut batch = sled::Batch::default();
            let mut keys = 0;
            // Packages are put as they are: doing it again after a crash changes nothing.
            while keys < KEYS_PER_BATCH
                && let Some((number, package)) = packages.next()
            {
                batch.insert(&package_key(*number), package.encode());
                keys += 1;
            }
            while keys < KEYS_PER_BATCH
                && let Some((key, more)) = left.next()
            {
                let mut sum = self.read(key)?;
                sum += *more;
                batch.insert(key.as_slice(), sum.encode());
                keys += 1;
                keys_done += 1;
            }
            let is_last = left.peek().is_none() && packages.peek().is_none();
            let marker = if is_last {
                record.marker_after(before)
            } else {
                Marker {
                    sequence: record.sequence,
                    keys_done: Some(keys_done),
                    ..before
                }
            };
            batch.insert(MARKER_KEY, marker.encode());
            guarded(|| self.tree.apply_batch(batch))?;
            self.marker = marker;
            if is_last {
                return Ok(());
            }
        }
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

    /// Says that cells before these minutes may be gone, by unit.
    pub fn set_kept_from(&self, kept_from: [u32; Unit::EVERY.len()]) -> Result<(), CountsError> {
        let kept_from = kept_from.map(u32::to_be_bytes);
        guarded(|| self.tree.insert(KEPT_KEY, kept_from.as_flattened())).map(|_| ())
    }

    /// Removes cells, at most [`KEYS_PER_BATCH`].
    pub fn remove(&self, keys: &[Vec<u8>]) -> Result<(), CountsError> {
        let mut batch = sled::Batch::default();
        for key in keys.iter().take(KEYS_PER_BATCH) {
            batch.remove(key.as_slice());
        }
        guarded(|| self.tree.apply_batch(batch))
    }

    /// The first keys in `range`, at most `keys_max`.
    pub fn keys(
        &self,
        range: Range<Vec<u8>>,
        keys_max: usize,
    ) -> Result<Vec<Vec<u8>>, CountsError> {
        let keys = || self.tree.range(range).keys().take(keys_max);
        guarded(|| keys().map(|key| Ok(key?.to_vec())).collect())
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
    pub fn rows(&self, mut each: impl FnMut(CellKey<'_>, Measures)) -> Result<(), CountsError> {
        guarded(|| {
            for entry in self.tree.range(unit_range(Unit::Ever)) {
                let (key, value) = entry?;
                if let Some((cell, measures)) = CellKey::parse(&key).zip(Measures::decode(&value)) {
                    each(cell, measures);
                }
            }
            Ok(())
        })
    }

    /// The sum of all counts by each dimension: all the same, and the marker's, if nothing is lost.
    pub fn sums(&self) -> Result<[Measures; Dimension::EVERY.len()], CountsError> {
        let mut sums = [Measures::ZERO; Dimension::EVERY.len()];
        self.rows(|cell, measures| sums[cell.dimension as usize] += measures)?;
        Ok(sums)
    }

    /// Writes all of it as a checkpoint, and says where that is.
    pub fn export(&self, dir: &Path) -> io::Result<PathBuf> {
        let mut writer = checkpoint::Writer::create(dir, &self.marker)?;
        for entry in self.tree.range([PACKAGES]..) {
            let (key, value) = entry.map_err(io::Error::other)?;
            writer.put(&key, &value)?;
        }
        writer.finish()
    }

    /// A handle that reads, from any thread.
    pub fn tree(&self) -> sled::Tree {
        (*self.tree).clone()
    }

    fn read(&self, key: &[u8]) -> Result<Measures, CountsError> {
        match guarded(|| self.tree.get(key))? {
            None => Ok(Measures::ZERO),
            Some(value) => Measures::decode(&value)
                .ok_or_else(|| CountsError::Damaged("a cell cannot be read".into())),
        }
    }
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
    error.raw_os_error().is_some() || error.to_string().contains("lock")
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
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.ends_with(".generating"))
        {
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

/// What sled may keep of the counts in memory.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// With the marker 256 keys: sled leaks memory with batches of more than about 500.
pub const KEYS_PER_BATCH: usize = 255;
