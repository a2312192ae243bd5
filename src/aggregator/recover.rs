//! What a store does when it is opened: the counts get what the journal has and they lack, or are
//! built anew.

use std::fs;
use std::path::Path;

use crate::aggregator::counts::{Counts, CountsError};
use crate::aggregator::journal::Journal;
use crate::aggregator::run::{CELLS_WAITING_MAX, Run};
use crate::aggregator::sync_dir;

/// Applies what the journal has and the counts lack. The inner error says why something is missing
/// nevertheless.
pub fn catch_up(counts: &mut Counts, journal: &Journal) -> Result<Result<(), String>, CountsError> {
    let digest = match replay(counts, journal).and_then(|()| counts.digest()) {
        Ok(digest) => digest,
        Err(CountsError::Damaged(why)) => return Ok(Err(why)),
        Err(error) => return Err(error),
    };
    let marker = counts.marker();
    if marker.keys_done.is_some() || marker.sequence < journal.last_sequence() {
        return Ok(Err("the journal has lost a record".into()));
    }
    if digest != marker.digest {
        return Ok(Err("sled has lost something without saying so".into()));
    }
    Ok(Ok(()))
}

/// Applies what the journal has and the counts lack: first what is left of the run that was begun,
/// if all of it is there, for what is left depends on what was added up.
fn replay(counts: &mut Counts, journal: &Journal) -> Result<(), CountsError> {
    let marker = counts.marker();
    let begun = if marker.keys_done.is_some() { marker.sequence } else { 0 };
    let mut run = Run::default();
    journal.replay(counts.applied(), |record| {
        // Where the journal is damaged, what follows is another run.
        if !run.is_empty() && record.sequence != run.sequence() + 1 {
            if run.sequence() < begun {
                return Err(CountsError::Damaged(NOT_WHOLE.into()));
            }
            counts.apply(std::mem::take(&mut run))?;
        }
        run.push(&record);
        let is_whole = record.sequence == begun
            || (record.sequence > begun && run.cells() >= CELLS_WAITING_MAX);
        if record.sequence == begun && run.records() != marker.run {
            return Err(CountsError::Damaged(NOT_WHOLE.into()));
        }
        if is_whole { counts.apply(std::mem::take(&mut run)) } else { Ok(()) }
    })?;
    if run.is_empty() || run.sequence() < begun {
        return Ok(());
    }
    counts.apply(run)
}

/// Moves damaged counts aside and builds them anew up to the checkpoint.
pub fn rebuild(dir: &Path, checkpoint: Option<&Path>, why: &str) -> Result<Counts, CountsError> {
    let path = dir.join(COUNTS);
    if path.exists() {
        let aside = (1..).map(|number| dir.join(format!("{COUNTS}.damaged.{number}")));
        let aside = aside.into_iter().find(|aside| !aside.exists()).unwrap_or_default();
        tracing::error!(
            kept = %aside.display(),
            "the counts in {} cannot be used ({why}): they are moved aside and built anew",
            path.display()
        );
        fs::rename(&path, aside)?;
    }
    if let Some(checkpoint) = checkpoint {
        Counts::build(&dir.join(UNFINISHED), checkpoint)?;
        fs::rename(dir.join(UNFINISHED), &path)?;
    }
    sync_dir(dir)?;
    Counts::open(&path)
}

/// Whether a file of this name has counts: those in use, or some that were moved aside.
pub fn is_counts(name: &str) -> bool {
    let aside = name.strip_prefix(COUNTS).and_then(|rest| rest.strip_prefix(".damaged."));
    name == COUNTS || aside.is_some_and(|number| number.parse::<u64>().is_ok())
}

/// Where the counts are.
pub const COUNTS: &str = "counts";
/// Where they are made.
pub const UNFINISHED: &str = "counts.unfinished";
const NOT_WHOLE: &str = "the journal has lost a part of the run that was begun";
