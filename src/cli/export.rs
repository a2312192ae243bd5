//! `pullgate export`: the counts row by row, of one package and one stretch of time after another, so
//! that no more than that is in memory.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::args::{ExportArgs, Format, Wanted};
use super::counts::{Counts, rows};
use super::fail;
use super::progress::Progress;
use super::pulls::unknown;
use crate::aggregator::{Ask, By};
use crate::pure::csv;
use crate::pure::pull::rollup::{MEASURE_NAMES, Unit};

/// Writes the rows to standard output.
pub fn run(args: &ExportArgs) -> ExitCode {
    let out = io::BufWriter::new(io::stdout().lock());
    match export(args, out) {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough (`| head`).
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Failure::Output(error)) => fail(&format!("standard output: {error}")),
        Err(Failure::Words(words)) => fail(&words),
    }
}

enum Failure {
    Output(io::Error),
    Words(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<String> for Failure {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

fn export(args: &ExportArgs, mut out: impl Write) -> Result<(), Failure> {
    // Where the rows themselves run over the screen a bar would stand among them.
    let progress = match io::stdout().is_terminal() {
        true => Progress::none(),
        false => Progress::start("asking for the counts"),
    };
    let mut counts = Counts::of(&args.wanted.data)?;
    let Wanted { package, only, from, to, .. } = args.wanted.clone();
    let ask = Ask { package, from, to, ..Ask::default() };
    let all = counts.answer(&ask, &progress)?;
    let packages: Vec<String> =
        rows(&all).iter().filter_map(|row| Some(row["package"].as_str()?.to_owned())).collect();
    if let (Some(package), true) = (&ask.package, packages.is_empty()) {
        let words = unknown(package, &counts.answer(&Ask::default(), &progress)?);
        return Err(Failure::Words(words));
    }
    let mut text = String::new();
    if args.format == Format::Csv {
        let by = args.by.iter().map(|by| by.column());
        csv::put_line(&mut text, ["package"].into_iter().chain(by).chain(MEASURE_NAMES));
        out.write_all(text.as_bytes())?;
    }
    let unit = args.by.iter().find_map(|by| by.unit());
    for (done, package) in packages.iter().enumerate() {
        progress.portion(done, packages.len(), "packages");
        let ask = Ask { package: Some(package.clone()), ..ask.clone() };
        for (from, to) in stretches(&mut counts, &ask, unit, &progress)? {
            let (by, only) = (args.by.clone(), only.clone());
            let answer = counts.answer(&Ask { by, only, from, to, ..ask.clone() }, &progress)?;
            for row in rows(&answer) {
                text.clear();
                put(&mut text, args, row);
                out.write_all(text.as_bytes())?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

/// From when, and until when.
type Stretch = (Option<Timestamp>, Option<Timestamp>);

/// The stretches of time whose rows are asked for at once: everything where rows are not told apart
/// by time, else so many days in a row of those that have any.
fn stretches(
    counts: &mut Counts<'_>,
    ask: &Ask,
    unit: Option<Unit>,
    progress: &Progress,
) -> Result<Vec<Stretch>, String> {
    let Some(unit) = unit else {
        return Ok(vec![(ask.from, ask.to)]);
    };
    let answer = counts.answer(&Ask { by: vec![By::Day], ..ask.clone() }, progress)?;
    let days = rows(&answer).iter().filter_map(|row| row["day"].as_str()?.parse().ok());
    let mut stretches: Vec<(Timestamp, Timestamp)> = Vec::new();
    for day in days {
        let end = day + SignedDuration::from_hours(24);
        match stretches.last_mut() {
            Some((begin, last)) if *last == day && end.duration_since(*begin) <= longest(unit) => {
                *last = end;
            }
            _ => stretches.push((day, end)),
        }
    }
    let within = |(from, to): (Timestamp, Timestamp)| {
        let from = ask.from.map_or(from, |asked| asked.max(from));
        let to = ask.to.map_or(to, |asked| asked.min(to));
        (Some(from), Some(to))
    };
    Ok(stretches.into_iter().map(within).collect())
}

/// How much is asked for at once: at the most some ten thousand rows for a hundred tags.
fn longest(unit: Unit) -> SignedDuration {
    SignedDuration::from_hours(match unit {
        Unit::Minute => 24,
        Unit::Hour => 7 * 24,
        Unit::Day | Unit::Ever => 92 * 24,
    })
}

/// Appends one row as it is written.
fn put(text: &mut String, args: &ExportArgs, row: &Value) {
    let words = ["package"].into_iter().chain(args.by.iter().map(|by| by.as_str()));
    let columns = ["package"].into_iter().chain(args.by.iter().map(|by| by.column()));
    match args.format {
        Format::Csv => {
            let told = words.map(|word| row[word].as_str().unwrap_or_default().to_owned());
            let measures = MEASURE_NAMES.iter().map(|name| row[*name].to_string());
            let fields: Vec<String> = told.chain(measures).collect();
            csv::put_line(text, fields.iter().map(String::as_str));
        }
        Format::Ndjson => {
            let told = columns.zip(words).map(|(column, word)| (column, &row[word]));
            let measures = MEASURE_NAMES.iter().map(|name| (*name, &row[*name]));
            let members = told.chain(measures);
            let object: Map<String, Value> =
                members.map(|(name, value)| (name.to_owned(), value.clone())).collect();
            text.push_str(&Value::Object(object).to_string());
            text.push('\n');
        }
    }
}
