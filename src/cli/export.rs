//! `pullgate export`: the counts row by row, of one package and one stretch of time after another, so
//! that no more than that is in memory.

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use serde_json::Value;

use super::args::{ExportArgs, Wanted};
use super::counts::{Counts, rows};
use super::ended;
use super::progress::Progress;
use super::pulls::unknown;
use super::remote::Failure;
use crate::aggregator::Ask;
use crate::pure::export::{self, Row};
use crate::pure::pull::rollup::MEASURE_NAMES;

/// Writes the rows to standard output.
pub fn run(args: &ExportArgs) -> ExitCode {
    let out = io::BufWriter::new(io::stdout().lock());
    ended(export(args, out))
}

fn export(args: &ExportArgs, mut out: impl Write) -> Result<(), Failure> {
    // Where the rows themselves run over the screen a bar would stand among them.
    let progress = match io::stdout().is_terminal() {
        true => Progress::none(),
        false => Progress::start("asking for the counts"),
    };
    let mut counts = Counts::wanted(&args.wanted)?;
    let Wanted { package, only, from, to, .. } = args.wanted.clone();
    let ask = Ask { package, by: args.by.clone(), only, from, to, ..Ask::default() };
    if let Some(copied) = counts.copied(&ask, args.format, &mut out) {
        return copied;
    }
    let mut exported = counts.export(&ask, &progress)?;
    let mut text = String::new();
    let mut is_begun = false;
    while let Some(portion) = exported.next()? {
        let count = |key: &str| portion[key].as_u64().and_then(|count| count.try_into().ok());
        progress.portion(count("done").unwrap_or(0), count("of").unwrap_or(0), "packages");
        if !std::mem::replace(&mut is_begun, true) {
            begin(args, &mut out)?;
        }
        for row in rows(&portion) {
            text.clear();
            put(&mut text, args, row);
            out.write_all(text.as_bytes())?;
        }
    }
    if !is_begun {
        if let Some(package) = &ask.package {
            let words = unknown(package, &counts.answer(&Ask::default(), &progress)?);
            return Err(Failure::Words(words));
        }
        begin(args, &mut out)?;
    }
    out.flush()?;
    Ok(())
}

/// What stands before the first row.
fn begin(args: &ExportArgs, out: &mut impl Write) -> io::Result<()> {
    let mut text = String::new();
    let told = ["package"].into_iter().chain(args.by.iter().map(|by| by.column()));
    let columns = told.chain(MEASURE_NAMES);
    export::Format::from(args.format).put_header(&mut text, &columns.collect::<Vec<_>>());
    out.write_all(text.as_bytes())
}

/// Appends one row as it is written.
fn put(text: &mut String, args: &ExportArgs, row: &Value) {
    let of = |word: &str| row[word].as_str().unwrap_or_default().to_owned();
    let mut told = vec![("package", of("package"))];
    told.extend(args.by.iter().map(|by| (by.column(), of(by.as_str()))));
    let told: Vec<(&str, &str)> =
        told.iter().map(|(column, text)| (*column, text.as_str())).collect();
    let counts = MEASURE_NAMES.map(|name| (name, row[name].as_u64().unwrap_or_default()));
    export::Format::from(args.format).put_row(text, &Row { told: &told, counts: &counts });
}
