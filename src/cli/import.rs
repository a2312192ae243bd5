//! `pullgate import`: what a former provider counted, added as a whole or not at all.

use std::fs::File;
use std::io::Read as _;
use std::process::ExitCode;

use jiff::Timestamp;

use super::args::{ImportArgs, time};
use super::counts::Counts;
use super::progress::Progress;
use super::{fail, print};
use crate::aggregator::Amendment;
use crate::pure::history;
use crate::pure::limits::HISTORY_BYTES_MAX;
use crate::pure::pull::rollup::Unit;

/// Imports the file, and says what that came to.
pub fn run(args: &ImportArgs) -> ExitCode {
    match import(args) {
        Ok(words) => print(&words),
        Err(words) => fail(&words),
    }
}

fn import(args: &ImportArgs) -> Result<String, String> {
    let file = args.file.display().to_string();
    let mut text = String::new();
    let read = File::open(&args.file)
        .and_then(|open| open.take(HISTORY_BYTES_MAX as u64 + 1).read_to_string(&mut text));
    read.map_err(|error| format!("{file}: {error}"))?;
    if text.len() > HISTORY_BYTES_MAX {
        let mebibytes = HISTORY_BYTES_MAX >> 20;
        return Err(format!("{file}: it is longer than {mebibytes} MiB: nothing was imported"));
    }
    let minute_of = |text: &str| {
        let seconds = time(text)?.as_second();
        // Before the epoch, or in the middle of a minute, it is no day of a gateway's.
        u32::try_from(seconds / 60)
            .ok()
            .filter(|_| seconds % 60 == 0)
            .ok_or_else(|| "no day since 1970".to_owned())
    };
    let now = u32::try_from(Timestamp::now().as_second() / 60).unwrap_or(0);
    let totals =
        history::read(&file, &text, Unit::Day.floor(now), &minute_of).map_err(|problems| {
            let lines = problems.iter().map(|problem| format!("{problem}\n"));
            format!("{}nothing was imported", lines.collect::<String>())
        })?;
    let pulls: u64 = totals.iter().map(|total| total.pulls).sum();
    let lines = totals.len();
    if totals.is_empty() {
        return Err(format!("{file}: there are no totals: nothing was imported"));
    }
    let counts = Counts::of(&args.data)?;
    let progress = Progress::start("importing");
    counts.amend(&Amendment::Import(totals))?;
    drop(progress);
    Ok(format!("imported {pulls} pulls in {lines} lines\n"))
}
