//! `pullgate erase`: counts go for good, once it is said which.

use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;

use super::account::done;
use super::args::EraseArgs;
use super::counts::{Counts, rows};
use super::plain::plain;
use super::progress::Progress;
use super::pulls::unknown;
use super::{fail, print};
use crate::aggregator::{Amendment, Ask, Erasure, Scope};
use crate::control::accounts::FILE;
use crate::control::accounts::command::Command;
use crate::pure::pull::rollup::Unit;

/// Erases, or says what would be erased.
pub fn run(args: &EraseArgs) -> ExitCode {
    match erase(args) {
        Ok(words) => print(&words),
        Err(words) => fail(&words),
    }
}

fn erase(args: &EraseArgs) -> Result<String, String> {
    let EraseArgs { data, package, domain, yes, .. } = args;
    let (from, to) = (args.from, args.to);
    let scope = match (package, domain) {
        (Some(package), _) => Scope::Package(package.clone()),
        (None, Some(domain)) => Scope::Domain(domain.clone()),
        (None, None) => return Err("say --package or --domain".to_owned()),
    };
    let days = match (from, to) {
        (None, None) => None,
        (from, to) => {
            let from = from.map_or(Ok(0), |from| day("--from", from))?;
            let to = to.map_or(Ok(u32::MAX), |to| day("--to", to))?;
            if from >= to {
                return Err("--from is the earlier day".to_owned());
            }
            Some(from..to)
        }
    };
    let progress = Progress::start("asking for the counts");
    let mut counts = Counts::of(data)?;
    let ask = Ask { package: package.clone(), from, to, ..Ask::default() };
    let answer = counts.answer(&ask, &progress)?;
    let meant: Vec<_> = rows(&answer)
        .iter()
        .filter(|row| row["package"].as_str().is_some_and(|shown| scope.has(shown)))
        .collect();
    if meant.is_empty() {
        if *yes {
            // Where it could not be done when they were erased.
            end_news(data, &scope)?;
        }
        return Err(match package {
            Some(package) => unknown(package, &counts.answer(&Ask::default(), &progress)?),
            None => "nothing of this domain was counted in this time".to_owned(),
        });
    }
    let mut words = String::new();
    for row in &meant {
        let package = plain(row["package"].as_str().unwrap_or_default());
        words += &format!("{package}: {} pulls, {} requests\n", row["pulls"], row["requests"]);
    }
    let time = match &days {
        None => "of all time, and their names".to_owned(),
        Some(_) => {
            let from = from.map_or_else(|| "the beginning".to_owned(), |from| from.to_string());
            let to = to.map_or_else(|| "now".to_owned(), |to| to.to_string());
            format!("from {from} to {to}")
        }
    };
    if !yes {
        return Ok(format!("{words}These counts {time} would be erased. Nothing was: say --yes\n"));
    }
    progress.say("writing the store without them");
    let erasure = Amendment::Erase(Erasure { scope: scope.clone(), days });
    counts.amend(&erasure)?;
    // Then nobody makes more of it of what was counted before.
    end_news(data, &scope).map_err(|why| format!("these counts {time} are erased, but {why}"))?;
    drop(progress);
    Ok(format!("{words}These counts {time} are erased\n"))
}

/// What waits to be told of these counts by webhook is told no more.
fn end_news(data: &Path, scope: &Scope) -> Result<(), String> {
    if !data.join(FILE).exists() {
        return Ok(());
    }
    let (of, is_domain) = match scope {
        Scope::Package(package) => (package.clone(), false),
        Scope::Domain(domain) => (domain.clone(), true),
    };
    done(data, Command::EndNews { of, is_domain }).map(|_| ()).map_err(|why| {
        format!("what waits to be told of them is still told: {why}. Then say the same once more")
    })
}

/// The first minute of a day.
fn day(option: &str, time: Timestamp) -> Result<u32, String> {
    let minute = u32::try_from(time.as_second() / 60).unwrap_or(u32::MAX);
    match Unit::Day.floor(minute) == minute && time.as_second() % 60 == 0 {
        true => Ok(minute),
        false => Err(format!("{option} {time}: counts are erased by whole days, UTC")),
    }
}
