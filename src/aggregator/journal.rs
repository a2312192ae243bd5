//! The journal: each interval's counts, on disk before the store sees them.
//!
//! It is a run of segments, `journal.<sequence of the first record>`, each a run of frames with one
//! [`Record`] in each. What a crash tore off the last segment is cut when it is opened.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crate::aggregator::schema::Record;
use crate::aggregator::{frame, sync_dir};

/// An open journal.
pub struct Journal {
    dir: PathBuf,
    /// Every segment, the oldest first; records are appended to the last.
    segments: Vec<Segment>,
    file: File,
    /// Whether the file may have more than `bytes`, of an append that failed.
    is_unsound: bool,
    last_sequence: u64,
}

/// One file of the journal.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The sequence of its first record.
    pub first: u64,
    /// Where it is.
    pub path: PathBuf,
    /// How long it is.
    pub bytes: u64,
}

impl Journal {
    /// Opens the journal in `dir`; a new one begins with the record after `applied`.
    pub fn open(dir: &Path, applied: u64) -> io::Result<Self> {
        let mut segments = list(dir)?;
        remove_empty(&mut segments)?;
        if segments.is_empty() {
            segments.push(create(dir, applied + 1)?);
        }
        let last = segments.last_mut().ok_or(io::ErrorKind::NotFound)?;
        let bytes = fs::read(&last.path)?;
        let mut last_sequence = last.first.saturating_sub(1);
        let sound = read_records(&bytes, |record| {
            last_sequence = record.sequence;
            io::Result::Ok(())
        })?;
        let file = OpenOptions::new().write(true).open(&last.path)?;
        if sound < bytes.len() {
            let (path, cut) = (last.path.display(), bytes.len() - sound);
            tracing::warn!(%path, bytes = cut, "cut what a crash left unfinished off the journal");
            file.set_len(sound as u64)?;
            file.sync_all()?;
        }
        last.bytes = sound as u64;
        Ok(Self { dir: dir.to_owned(), segments, file, is_unsound: false, last_sequence })
    }

    /// The sequence of the last record.
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// The sequence of the first record that it can have.
    pub fn first_sequence(&self) -> u64 {
        self.segments.first().map_or(1, |segment| segment.first)
    }

    /// Every segment, the oldest first.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// How long all of it is, in bytes.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// How long the segment is that is appended to, in bytes.
    pub fn open_segment_bytes(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.bytes)
    }

    /// Writes `record` and waits until it is on disk. After an error the same record, and no
    /// other, must be appended again: the one that failed may be found after a crash.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        if record.sequence != self.last_sequence + 1 {
            let words = format!("record {} after {}", record.sequence, self.last_sequence);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, words));
        }
        self.cut_unsound()?;
        let last = self.segments.last_mut().ok_or(io::ErrorKind::NotFound)?;
        let mut bytes = Vec::new();
        frame::put(&mut bytes, &record.encode());
        self.is_unsound = true;
        self.file.write_all_at(&bytes, last.bytes)?;
        self.file.sync_data()?;
        self.is_unsound = false;
        last.bytes += bytes.len() as u64;
        self.last_sequence = record.sequence;
        Ok(())
    }

    /// Gives every record after `applied` to `apply`, in order. A segment that is damaged ends
    /// where it is; the next one is read.
    pub fn replay<E: From<io::Error>>(
        &self,
        applied: u64,
        mut apply: impl FnMut(Record) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut done = applied;
        for (at, segment) in self.segments.iter().enumerate() {
            let next = self.segments.get(at + 1).map(|segment| segment.first);
            if next.is_some_and(|first| first <= applied + 1) {
                continue;
            }
            let bytes = fs::read(&segment.path)?;
            let sound = read_records(&bytes, |record| {
                if record.sequence <= done {
                    return Ok(());
                }
                done = record.sequence;
                apply(record)
            })?;
            if sound < bytes.len() {
                let (path, lost) = (segment.path.display(), bytes.len() - sound);
                tracing::error!(%path, bytes = lost, "the journal is damaged: these counts are lost");
            }
        }
        Ok(())
    }

    /// Goes on after `sequence`, whose record and those before it are elsewhere.
    pub fn skip_to(&mut self, sequence: u64) -> io::Result<()> {
        self.last_sequence = sequence;
        self.seal().map(|_| ())
    }

    /// Ends the current segment and begins another. The ended ones are returned: they can be made
    /// a checkpoint of.
    pub fn seal(&mut self) -> io::Result<Vec<Segment>> {
        let next = self.last_sequence + 1;
        if let [sealed @ .., last] = self.segments.as_slice()
            && last.first == next
        {
            // Nothing was appended since the last time.
            return Ok(sealed.to_vec());
        }
        // What a failed append left would stand between two segments.
        self.cut_unsound()?;
        let segment = create(&self.dir, next)?;
        self.file = OpenOptions::new().write(true).open(&segment.path)?;
        let sealed = self.segments.clone();
        self.segments.push(segment);
        Ok(sealed)
    }

    /// Removes the segments all of whose records are in `sequence` and before.
    pub fn remove_through(&mut self, sequence: u64) -> io::Result<()> {
        while let [oldest, next, ..] = self.segments.as_slice()
            && next.first <= sequence + 1
        {
            fs::remove_file(&oldest.path)?;
            self.segments.remove(0);
        }
        Ok(())
    }

    fn cut_unsound(&mut self) -> io::Result<()> {
        if self.is_unsound {
            self.file.set_len(self.open_segment_bytes())?;
            self.is_unsound = false;
        }
        Ok(())
    }
}

/// Reads the records at the front of `bytes`; how many bytes were sound.
pub fn read_records<E>(
    bytes: &[u8],
    mut each: impl FnMut(Record) -> Result<(), E>,
) -> Result<usize, E> {
    let mut rest = bytes;
    while let Some((payload, after)) = frame::take(rest)
        && let Some(record) = Record::decode(payload)
    {
        each(record)?;
        rest = after;
    }
    Ok(bytes.len() - rest.len())
}

/// Removes all segments in `dir`: what they have is elsewhere, and no journal is open on them.
pub fn remove_all(dir: &Path) -> io::Result<()> {
    list(dir)?.iter().try_for_each(|segment| fs::remove_file(&segment.path))
}

fn list(dir: &Path) -> io::Result<Vec<Segment>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let first = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
        if let Some(first) = first {
            segments.push(Segment { first, path: entry.path(), bytes: entry.metadata()?.len() });
        }
    }
    segments.sort_unstable_by_key(|segment| segment.first);
    Ok(segments)
}

/// A seal that failed may have left a segment where the one before it went on: an empty one after
/// another says nothing.
fn remove_empty(segments: &mut Vec<Segment>) -> io::Result<()> {
    for segment in segments.iter().skip(1).filter(|segment| segment.bytes == 0) {
        fs::remove_file(&segment.path)?;
    }
    let oldest = segments.first().map(|segment| segment.first);
    segments.retain(|segment| segment.bytes > 0 || Some(segment.first) == oldest);
    Ok(())
}

fn create(dir: &Path, first: u64) -> io::Result<Segment> {
    let path = dir.join(format!("{PREFIX}{first:020}"));
    OpenOptions::new().create(true).truncate(false).write(true).open(&path)?.sync_all()?;
    sync_dir(dir)?;
    Ok(Segment { first, path, bytes: 0 })
}

/// What names of segments begin with.
pub(super) const PREFIX: &str = "journal.";

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u64) -> Record {
        Record { node: 1, epoch: 1, sequence, ..Record::default() }
    }

    fn sequences(journal: &Journal, applied: u64) -> Vec<u64> {
        let mut seen = Vec::new();
        journal
            .replay(applied, |record| {
                seen.push(record.sequence);
                io::Result::Ok(())
            })
            .unwrap();
        seen
    }

    #[test]
    fn records_are_replayed_over_segments_and_a_torn_tail_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), 0).unwrap();
        for sequence in 1..=3 {
            journal.append(&record(sequence)).unwrap();
        }
        assert_eq!(journal.seal().unwrap().len(), 1);
        assert_eq!(journal.seal().unwrap().len(), 1);
        journal.append(&record(4)).unwrap();
        journal.append(&record(5)).unwrap();
        assert_eq!(sequences(&journal, 0), [1, 2, 3, 4, 5]);
        assert_eq!(sequences(&journal, 3), [4, 5]);

        let last = journal.segments.last().unwrap().clone();
        drop(journal);
        OpenOptions::new().write(true).open(&last.path).unwrap().set_len(last.bytes - 1).unwrap();
        let mut journal = Journal::open(dir.path(), 0).unwrap();
        assert_eq!(journal.last_sequence(), 4);
        assert_eq!(sequences(&journal, 1), [2, 3, 4]);
        journal.append(&record(5)).unwrap();
        assert_eq!(sequences(&journal, 1), [2, 3, 4, 5]);
        journal.remove_through(3).unwrap();
        assert_eq!(sequences(&journal, 0), [4, 5]);
        assert_eq!(journal.first_sequence(), 4);
    }

    #[test]
    fn a_record_out_of_its_order_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), 0).unwrap();
        journal.append(&record(1)).unwrap();
        for sequence in [0, 1, 3] {
            let refused = journal.append(&record(sequence)).unwrap_err();
            assert_eq!(refused.to_string(), format!("record {sequence} after 1"));
        }
        journal.append(&record(2)).unwrap();
        assert_eq!(sequences(&journal, 0), [1, 2]);
    }

    /// The folder could not be synced, say: the file is there, and the segment before goes on.
    #[test]
    fn what_a_failed_seal_left_hides_no_record() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), 0).unwrap();
        journal.append(&record(1)).unwrap();
        create(dir.path(), 2).unwrap();
        journal.append(&record(2)).unwrap();
        journal.append(&record(3)).unwrap();
        drop(journal);
        let journal = Journal::open(dir.path(), 2).unwrap();
        assert_eq!(journal.last_sequence(), 3);
        assert_eq!(sequences(&journal, 2), [3]);
    }

    #[test]
    fn what_a_failed_append_left_is_cut_before_a_seal() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path(), 0).unwrap();
        journal.append(&record(1)).unwrap();
        // All bytes are there, and syncing them failed.
        let mut bytes = Vec::new();
        frame::put(&mut bytes, &record(2).encode());
        journal.file.write_all_at(&bytes, journal.bytes()).unwrap();
        journal.is_unsound = true;
        let sealed = journal.seal().unwrap();
        assert_eq!(fs::metadata(&sealed[0].path).unwrap().len(), sealed[0].bytes);
    }
}
