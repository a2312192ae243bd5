//! `pullgate pulls`: the counts, asked of the running gateway, else read from its store.

use std::process::ExitCode;

use serde_json::Value;

use super::args::{PullsArgs, Wanted};
use super::counts::{Counts, parsed, rows};
use super::plain::{plain, plain_json};
use super::progress::Progress;
use super::{fail, print};
use crate::aggregator::{Ask, By};
use crate::pure::config::problem::nearest;

/// Prints the counts.
pub fn run(args: &PullsArgs) -> ExitCode {
    match answer(args) {
        Ok(text) => print(&text),
        Err(words) => fail(&words),
    }
}

/// What is printed.
fn answer(args: &PullsArgs) -> Result<String, String> {
    let PullsArgs { wanted, by, top, compare, public, json } = args;
    let Wanted { package, only, from, to, .. } = wanted;
    let ask = Ask {
        package: package.clone(),
        by: by.clone(),
        only: only.clone(),
        from: *from,
        to: *to,
        top: *top,
        compare: *compare,
        public: *public,
    };
    let progress = Progress::start("asking for the counts");
    let mut counts = Counts::wanted(wanted)?;
    let text = counts.ask(&ask, &progress)?;
    if *json {
        return Ok(plain_json(&text) + "\n");
    }
    let answer = parsed(&text)?;
    if !rows(&answer).is_empty() {
        return Ok(table(&answer, by));
    }
    match package {
        None => Ok("nothing was counted in this time\n".to_owned()),
        Some(package) => Err(unknown(package, &counts.answer(&Ask::default(), &progress)?)),
    }
}

/// Words for a package without counts, with the nearest that has some.
pub(super) fn unknown(package: &str, all: &Value) -> String {
    let counted = rows(all).iter().filter_map(|row| row["package"].as_str());
    match nearest(package, counted) {
        Some(near) if near != package => {
            format!("{package}: nothing was counted; did you mean {near}?")
        }
        Some(_) => format!("{package}: nothing was counted in this time"),
        None => format!(
            "{package}: nothing was counted; a package is <domain>/<name>, and without --package \
             all are shown"
        ),
    }
}

/// Columns for people: texts to the left, numbers to the right, the totals below.
fn table(answer: &Value, by: &[By]) -> String {
    let texts: Vec<&str> =
        std::iter::once("package").chain(by.iter().map(|by| by.as_str())).collect();
    let is_there = |key: &&&str| answer["totals"][**key].as_u64().is_some_and(|count| count > 0);
    let mut columns: Vec<&str> = texts.iter().chain(COUNTS).copied().collect();
    columns.extend(COUNTS_IF_ANY.iter().filter(is_there));
    if answer["previous"].is_object() {
        columns.push(PULLS_BEFORE);
    }
    let of = |row: &Value, key: &str| match key {
        PULLS_BEFORE => cell(&row["previous"]["pulls"]),
        _ => cell(&row[key]),
    };
    let cells = |row: &Value| columns.iter().map(|key| of(row, key)).collect::<Vec<_>>();
    let mut lines = vec![columns.iter().map(|key| key.replace('_', " ")).collect::<Vec<_>>()];
    lines.extend(rows(answer).iter().map(cells));
    let mut sums = answer["totals"].clone();
    sums["previous"] = answer["previous"].clone();
    let mut totals = cells(&sums);
    "total".clone_into(&mut totals[0]);
    lines.push(totals);
    let width = |column: usize| {
        lines.iter().map(|line| line[column].chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = format!("from {} to {}\n\n", cell(&answer["from"]), cell(&answer["to"]));
    for line in &lines {
        let mut text = String::new();
        for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            match column < texts.len() {
                true => text += &format!("{cell:<width$}  "),
                false => text += &format!("{cell:>width$}  "),
            }
        }
        out += text.trim_end();
        out.push('\n');
    }
    out
}

/// A value as it stands in a table.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => plain(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// The counts of a row, in the order of the columns.
const COUNTS: &[&str] = &[
    "requests",
    "pulls",
    "complete",
    "up_to_date",
    "checks",
    "supply_chain",
    "unseen",
    "unfolded",
];
/// Counts that have a column only where there are any.
const COUNTS_IF_ANY: &[&str] = &[
    "partial",
    "blobs",
    "blob_bytes",
    "blobs_aborted",
    "excluded",
    "daily_uniques",
    "monthly_companies",
    "imported",
];
/// The pulls of the period before.
const PULLS_BEFORE: &str = "pulls before";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_is_aligned_and_ends_with_the_totals() {
        let counts = |requests: u64| {
            json!({"requests": requests, "pulls": 1, "checks": 0, "supply_chain": 0,
                   "unseen": 0, "unfolded": 0, "complete": 1, "up_to_date": 0})
        };
        let row = |package: &str, tag: &str, requests: u64| {
            let mut row = counts(requests);
            row["package"] = package.into();
            row["tag"] = tag.into();
            row
        };
        let answer = json!({
            "from": "2026-01-01T00:00:00Z",
            "to": "2026-01-02T00:00:00Z",
            "rows": [row("r.acme.com/acme/rocket", "latest", 12345), row("r.acme.com/x", "a\u{1b}", 2)],
            "totals": counts(12347),
        });
        assert_eq!(
            table(&answer, &[By::Tag]),
            "\
from 2026-01-01T00:00:00Z to 2026-01-02T00:00:00Z

package                 tag      requests  pulls  complete  up to date  checks  supply chain  unseen  unfolded
r.acme.com/acme/rocket  latest      12345      1         1           0       0             0       0         0
r.acme.com/x            a\\u{1b}         2      1         1           0       0             0       0         0
total                               12347      1         1           0       0             0       0         0
"
        );
    }

    #[test]
    fn an_unknown_package_is_met_with_the_nearest() {
        let all = json!({"rows": [{"package": "registry.acme.com/acme/rocket"}]});
        assert_eq!(
            unknown("registry.acme.com/acme/rokcet", &all),
            "registry.acme.com/acme/rokcet: nothing was counted; did you mean \
             registry.acme.com/acme/rocket?"
        );
        assert!(unknown("elsewhere", &all).contains("<domain>/<name>"));
    }
}
