//! Checkpoints: all counts up to one record of the journal, in one checksummed file.
//!
//! A checkpoint is made of the one before it and the journal, never of sled: what sled loses
//! cannot reach it. It bounds the journal, and it is what a damaged store is rebuilt from.

use std::fs::{self, File};
use std::io::{self, BufReader, Write as _};
use std::path::{Path, PathBuf};

use crate::aggregator::codec::{put, put_bytes, take, take_bytes, take_u32};
use crate::aggregator::journal::{Segment, read_records};
use crate::aggregator::run::Run;
use crate::aggregator::schema::{CellKey, Marker, Record, VERSION, Value, is_read, package_key};
use crate::aggregator::{frame, sync_dir};
use crate::pure::pull::rollup::{Measures, Unit};

/// A minute for each unit.
pub type KeptFrom = [u32; Unit::EVERY.len()];

/// A checkpoint being read: the store's keys and values, in order.
pub struct Reader {
    file: BufReader<File>,
    block: Vec<u8>,
    at: usize,
    entries: u64,
    is_done: bool,
    /// The first minute of the oldest cell that is kept, by unit: what is before may be missing.
    pub kept_from: KeptFrom,
}

/// Where the newest checkpoint in `dir` is that can be opened, with what is in it.
pub fn newest(dir: &Path) -> io::Result<Option<(PathBuf, Marker)>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if name.and_then(|name| name.strip_prefix(PREFIX)?.parse::<u64>().ok()).is_some() {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    for path in paths.into_iter().rev() {
        match open(&path) {
            Ok((marker, _)) => return Ok(Some((path, marker))),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                tracing::error!(path = %path.display(), %error, "a checkpoint cannot be read");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Opens the checkpoint at `path`.
pub fn open(path: &Path) -> io::Result<(Marker, Reader)> {
    let mut file = BufReader::new(File::open(path)?);
    let payload = read_frame(&mut file)?;
    let (marker, kept_from) =
        decode_head(&payload).ok_or_else(|| damaged("it is not a checkpoint"))?;
    let (block, at, entries, is_done) = (Vec::new(), 0, 0, false);
    Ok((marker, Reader { file, block, at, entries, is_done, kept_from }))
}

/// Reads the checkpoint at `path` to its end.
///
/// # Errors
/// `InvalidData` where it is damaged.
pub fn verify(path: &Path) -> io::Result<()> {
    let (_, mut reader) = open(path)?;
    while reader.next_entry()?.is_some() {}
    Ok(())
}

/// Where the checkpoint up to this sequence is.
pub fn path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{PREFIX}{sequence:020}"))
}

impl Reader {
    /// The next key and value; `None` past the last. `InvalidData` where the file is damaged.
    pub fn next_entry(&mut self) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
        while self.at == self.block.len() {
            if self.is_done {
                return Ok(None);
            }
            self.block = read_frame(&mut self.file)?;
            self.at = 0;
            if let Some(count) = self.block.strip_prefix(END) {
                if take(&mut &*count) != Some(self.entries) {
                    return Err(damaged("entries are missing"));
                }
                self.is_done = true;
                self.block.clear();
            }
        }
        let mut rest = self.block.get(self.at..).unwrap_or_default();
        let entry = take_bytes(&mut rest).zip(take_bytes(&mut rest));
        let (key, value) = entry.ok_or_else(|| damaged("an entry is cut"))?;
        let entry = (key.to_vec(), value.to_vec());
        self.at = self.block.len() - rest.len();
        self.entries += 1;
        Ok(Some(entry))
    }
}

/// A checkpoint being written: under another name until it is whole and on disk.
pub struct Writer {
    dir: PathBuf,
    sequence: u64,
    file: File,
    block: Vec<u8>,
    entries: u64,
    is_finished: bool,
}

impl Writer {
    /// Begins a checkpoint in `dir`; `kept_from`: see [`Reader::kept_from`].
    pub fn create(dir: &Path, marker: &Marker, kept_from: KeptFrom) -> io::Result<Self> {
        let file = File::create(dir.join(UNFINISHED))?;
        let mut writer = Self {
            dir: dir.to_owned(),
            sequence: marker.sequence,
            file,
            block: encode_head(marker, kept_from),
            entries: 0,
            is_finished: false,
        };
        writer.write_block()?;
        Ok(writer)
    }

    /// Adds an entry; keys come in order.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        put_bytes(&mut self.block, key);
        put_bytes(&mut self.block, value);
        self.entries += 1;
        if self.block.len() >= BLOCK_BYTES { self.write_block() } else { Ok(()) }
    }

    /// Ends the checkpoint; only now it is one.
    pub fn finish(mut self) -> io::Result<PathBuf> {
        if !self.block.is_empty() {
            self.write_block()?;
        }
        self.block.extend(END);
        put(&mut self.block, self.entries);
        self.write_block()?;
        self.file.sync_all()?;
        let path = path(&self.dir, self.sequence);
        fs::rename(self.dir.join(UNFINISHED), &path)?;
        self.is_finished = true;
        sync_dir(&self.dir)?;
        Ok(path)
    }

    fn write_block(&mut self) -> io::Result<()> {
        let mut framed = Vec::with_capacity(self.block.len() + 8);
        frame::put(&mut framed, &self.block);
        self.block.clear();
        self.file.write_all(&framed)
    }
}

impl Drop for Writer {
    /// What could not be finished must not keep a full disk full.
    fn drop(&mut self) {
        if !self.is_finished {
            // What stays is removed when the store is opened.
            let _ = remove_unfinished(&self.dir);
        }
    }
}

/// Makes a checkpoint of the one at `before` and the journal's `segments`, without the cells that
/// `kept_from` (a unit's oldest minute) has no room for. Where it is and what is in it.
/// `InvalidData` where either is not whole.
pub fn compact(
    dir: &Path,
    before: Option<&Path>,
    segments: &[Segment],
    kept_from: impl Fn(Unit) -> u32,
) -> io::Result<(PathBuf, Marker)> {
    let (mut marker, mut old) = match before.map(open).transpose()? {
        Some((marker, reader)) => (marker, Some(reader)),
        None => (Marker::default(), None),
    };
    let gone_before = old.as_ref().map_or_else(KeptFrom::default, |old| old.kept_from);
    let kept_from = Unit::EVERY.map(|unit| kept_from(unit).max(gone_before[unit as usize]));
    let mut run = Run::default();
    let mut last = marker.sequence;
    for segment in segments {
        let bytes = fs::read(&segment.path)?;
        let sound = read_records(&bytes, |record: Record| {
            if record.sequence <= last {
                return io::Result::Ok(());
            }
            if record.sequence != last + 1 {
                return Err(damaged("the journal has lost a record"));
            }
            last = record.sequence;
            run.push(&record);
            Ok(())
        })?;
        if sound < bytes.len() || sound as u64 != segment.bytes {
            return Err(damaged("the journal is damaged"));
        }
    }
    // Packages come before cells in the order of keys, so that the two can be one row.
    let run = (!run.is_empty()).then(|| run.begin());
    if let Some(run) = &run {
        marker = run.marker(marker, None, 0);
    }
    let (packages, cells) = run.map_or_else(Default::default, |run| (run.packages, run.additions));
    let packages = packages
        .into_iter()
        .map(|(number, package)| (package_key(number).to_vec(), package.encode()));
    let cells = cells.into_iter().map(|(key, measures)| (key, measures.encode()));
    let mut new = packages.chain(cells).peekable();
    let mut writer = Writer::create(dir, &marker, kept_from)?;
    let mut put_kept = |key: &[u8], value: &[u8]| match CellKey::parse(key) {
        Some(cell) if cell.minute < kept_from[cell.unit as usize] => Ok(()),
        _ => writer.put(key, value),
    };
    while let Some((key, value)) = old.as_mut().map_or(Ok(None), Reader::next_entry)? {
        while let Some((key, value)) = new.next_if(|(new_key, _)| *new_key < key) {
            put_kept(&key, &value)?;
        }
        match new.next_if(|(new_key, _)| *new_key == key) {
            Some((_, more)) => put_kept(&key, &merge(&key, &value, more)?)?,
            None => put_kept(&key, &value)?,
        }
    }
    for (key, value) in new {
        put_kept(&key, &value)?;
    }
    Ok((writer.finish()?, marker))
}

/// Removes the checkpoint that was not finished.
pub fn remove_unfinished(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(UNFINISHED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Removes what a crash left unfinished, and all checkpoints but `kept`.
pub fn remove_others(dir: &Path, kept: Option<&Path>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(PREFIX) && Some(path.as_path()) != kept {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Cells add up; of a package the newer record holds.
fn merge(key: &[u8], value: &[u8], more: Vec<u8>) -> io::Result<Vec<u8>> {
    if CellKey::parse(key).is_none() {
        return Ok(more);
    }
    let (Some(mut sum), Some(more)) = (Measures::decode(value), Measures::decode(&more)) else {
        return Err(damaged("a cell cannot be read"));
    };
    sum += more;
    Ok(sum.encode())
}

fn encode_head(marker: &Marker, kept_from: KeptFrom) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    put(&mut out, u64::from(VERSION));
    marker.encode_to(&mut out);
    for minute in kept_from {
        put(&mut out, u64::from(minute));
    }
    out
}

fn decode_head(payload: &[u8]) -> Option<(Marker, KeptFrom)> {
    let from = &mut payload.strip_prefix(MAGIC)?;
    let version = take_u32(from).filter(|version| is_read(*version))?;
    let marker = Marker::decode_from(from)?;
    let mut kept_from = KeptFrom::default();
    if version >= VERSION_OF_KEPT {
        for minute in &mut kept_from {
            *minute = take_u32(from)?;
        }
    }
    from.is_empty().then_some((marker, kept_from))
}

/// A file that ends too early is as damaged as one whose checksum is wrong.
fn read_frame(file: &mut BufReader<File>) -> io::Result<Vec<u8>> {
    frame::read(file).map_err(|error| {
        let is_short = error.kind() == io::ErrorKind::UnexpectedEof;
        if is_short { damaged("it ends too early") } else { error }
    })
}

fn damaged(how: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, how)
}

/// The first version whose checkpoints say what is kept.
const VERSION_OF_KEPT: u32 = 7;
const MAGIC: &[u8] = b"pullgate checkpoint\n";
/// What the last block begins with; no entry does, for a key is never that long.
const END: &[u8] = b"\xff\xff\xff\xff\xff\xff\xff\xff\x01";
/// What names of checkpoints begin with.
pub(super) const PREFIX: &str = "checkpoint.";
const UNFINISHED: &str = "checkpoint.unfinished";
const BLOCK_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use crate::aggregator::journal::Journal;
    use crate::aggregator::schema::PackageRecord;
    use crate::aggregator::schema::RecordCell;
    use crate::pure::pull::rollup::Dimension;

    fn record(sequence: u64, minute: u32) -> Record {
        let measures = Measures { pulls: sequence, ..Measures::ZERO };
        let cell = RecordCell {
            package: 0,
            dimension: Dimension::All,
            unit: Unit::Minute,
            minute,
            value: "".into(),
            measures,
        };
        let package =
            PackageRecord { shown: format!("name {sequence}"), ..PackageRecord::default() };
        Record { node: 9, epoch: 2, sequence, packages: vec![(0, package)], cells: vec![cell] }
    }

    fn entries(path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
        let (_, mut reader) = open(path)?;
        let mut entries = BTreeMap::new();
        while let Some((key, value)) = reader.next_entry()? {
            entries.insert(key, value);
        }
        Ok(entries)
    }

    #[test]
    fn a_checkpoint_of_a_checkpoint_and_a_journal_is_that_of_the_whole_journal() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), 0).unwrap();
        let mut naive: BTreeMap<Vec<u8>, Measures> = BTreeMap::new();
        let mut first = None;
        for sequence in 1..=40u32 {
            let record = record(u64::from(sequence), sequence * 7);
            for cell in &record.cells {
                for key in cell.keys() {
                    *naive.entry(key).or_default() += cell.measures;
                }
            }
            journal.append(&record).unwrap();
            if sequence == 20 {
                let sealed = journal.seal().unwrap();
                first = Some(compact(dir.path(), None, &sealed, |_| 0).unwrap());
                journal.remove_through(20).unwrap();
            }
        }
        let (first, marker) = first.unwrap();
        assert_eq!((marker.sequence, marker.since), (20, Some(7)));
        let sealed = journal.seal().unwrap();
        let (path, marker) = compact(dir.path(), Some(&first), &sealed, |_| 0).unwrap();
        assert_eq!((marker.node, marker.epoch, marker.sequence), (9, 2, 40));
        assert_eq!(marker.since, Some(7));
        assert_eq!(newest(dir.path()).unwrap(), Some((path.clone(), marker)));

        let mut entries = entries(&path).unwrap();
        let package = entries.remove(&package_key(0)[..]).unwrap();
        assert_eq!(PackageRecord::decode(&package).unwrap().shown, "name 40");
        let read: BTreeMap<_, _> = entries
            .into_iter()
            .map(|(key, value)| (key, Measures::decode(&value).unwrap()))
            .collect();
        assert_eq!(read, naive);
    }

    #[test]
    fn a_checkpoint_that_cannot_be_finished_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), 0).unwrap();
        journal.append(&record(1, 1)).unwrap();
        let sealed = journal.seal().unwrap();
        let in_the_way = dir.path().join(format!("{PREFIX}{:020}", 1));
        fs::create_dir(&in_the_way).unwrap();
        compact(dir.path(), None, &sealed, |_| 0).unwrap_err();
        assert!(!dir.path().join(UNFINISHED).exists());
        fs::remove_dir(&in_the_way).unwrap();
        let (path, _) = compact(dir.path(), None, &sealed, |_| 0).unwrap();
        assert_eq!((path.clone(), path.exists()), (in_the_way, true));
    }

    #[test]
    fn no_checkpoint_is_made_of_a_journal_that_is_not_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), 0).unwrap();
        for sequence in 1..=3 {
            journal.append(&record(sequence, 1)).unwrap();
        }
        let sealed = journal.seal().unwrap();
        let whole = fs::read(&sealed[0].path).unwrap();
        let third = whole.len() / 3;
        let refused = |sealed: &[Segment]| {
            let refused = compact(dir.path(), None, sealed, |_| 0).unwrap_err();
            (refused.kind(), refused.to_string())
        };
        let damaged = |how: &str| (io::ErrorKind::InvalidData, how.to_owned());

        let mut changed = whole.clone();
        changed[third + 20] ^= 1;
        fs::write(&sealed[0].path, changed).unwrap();
        assert_eq!(refused(&sealed), damaged("the journal is damaged"));

        fs::write(&sealed[0].path, &whole[..2 * third]).unwrap();
        assert_eq!(refused(&sealed), damaged("the journal is damaged"));

        let without_second = [&whole[..third], &whole[2 * third..]].concat();
        fs::write(&sealed[0].path, without_second).unwrap();
        assert_eq!(refused(&sealed), damaged("the journal has lost a record"));

        fs::write(&sealed[0].path, &whole).unwrap();
        assert_eq!(compact(dir.path(), None, &sealed, |_| 0).unwrap().1.sequence, 3);
    }

    #[test]
    fn a_changed_or_shortened_checkpoint_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(dir.path(), &Marker::default(), [0; 4]).unwrap();
        for number in 0..10 {
            writer.put(&package_key(number), b"x").unwrap();
        }
        let path = writer.finish().unwrap();
        let whole = fs::read(&path).unwrap();
        assert_eq!(entries(&path).unwrap().len(), 10);
        for at in (0..whole.len()).step_by(7) {
            fs::write(&path, &whole[..at]).unwrap();
            assert!(entries(&path).is_err(), "cut at {at}");
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            assert!(entries(&path).is_err(), "byte {at}");
        }
    }
}
