//! Copies of the counts while they are counted: the last checkpoint and the journal since, as long as they
//! were at one moment. From these a store opens, and makes the rest anew.

use std::fs::File;
use std::io::{self, Read, Take};
use std::path::Path;

use crate::aggregator::journal::Segment;
use crate::aggregator::recover::{self, is_counts};
use crate::aggregator::{checkpoint, erase, journal};

/// A file of the store, open, as long as it was when it was asked for. It can be read also once the store
/// has removed it.
pub struct Kept {
    /// What it is called in `data_dir`.
    pub name: String,
    /// How many bytes of it count.
    pub bytes: u64,
    file: File,
}

impl Kept {
    /// The checkpoint and the segments of the journal that this store has.
    pub(super) fn all(checkpoint: Option<&Path>, segments: &[Segment]) -> io::Result<Vec<Self>> {
        let whole = checkpoint.map(|path| Self::open(path, None));
        let segments = segments.iter().map(|one| Self::open(&one.path, Some(one.bytes)));
        whole.into_iter().chain(segments).collect()
    }

    fn open(path: &Path, bytes: Option<u64>) -> io::Result<Self> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let file = File::open(path)?;
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => file.metadata()?.len(),
        };
        Ok(Self { name: name.unwrap_or_default(), bytes, file })
    }

    /// Its bytes.
    pub fn reader(&self) -> Take<impl Read> {
        (&self.file).take(self.bytes)
    }
}

/// Whether a file of this name in `data_dir` is the store's, and told by [`Kept`] or made anew.
pub fn is_of_store(name: &str) -> bool {
    is_counts(name)
        || name.starts_with(journal::PREFIX)
        || name.starts_with(checkpoint::PREFIX)
        || [recover::UNFINISHED, erase::NOTE].contains(&name)
}
