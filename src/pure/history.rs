//! Counts of a former provider: a CSV file of daily totals, taken whole or not at all.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::pure::config::problem::{Problem, quoted};
use crate::pure::csv::{self, Broken, Record};
use crate::pure::limits::{HISTORY_LINES_MAX, HOST_BYTES_MAX};
use crate::pure::oci::name::Name;
use crate::pure::oci::reference::Reference;
use crate::pure::pull::rollup::{Measures, Unit};

/// What was counted of a package and version on one day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Total {
    /// The first minute of the day (UTC), counted from the Unix epoch.
    pub day: u32,
    /// `<domain>/<name>`
    pub package: String,
    /// The row of the tag that it is counted under.
    pub tag: String,
    /// Pulls.
    pub pulls: u64,
    /// Requests, where that was told: GETs of manifests.
    pub requests: u64,
    /// Different clients on that day, where that was told.
    pub uniques: u64,
}

impl Total {
    /// What is added for it, marked as brought along.
    pub fn measures(&self) -> Measures {
        let Self { pulls, requests, uniques, .. } = *self;
        Measures { requests, pulls, daily_uniques: uniques, imported: pulls, ..Measures::ZERO }
    }

    /// Whether [`read`] could have read it, from a file that was written before `today`; what is
    /// wrong with it where that is not so.
    pub fn check(&self, today: u32) -> Result<(), String> {
        let Self { day, pulls, requests, uniques, .. } = *self;
        package(&self.package)?;
        let is_row = tag(&self.tag)? == self.tag;
        let is_over = Unit::Day.floor(day) == day && day < today;
        if !is_row || !is_over || pulls.max(requests).max(uniques) > COUNT_MAX {
            return Err(format!("{self:?} is no total of a day that is over"));
        }
        self.check_mark()
    }

    /// What is imported is known again by its pulls.
    fn check_mark(&self) -> Result<(), String> {
        if self.pulls == 0 && (self.requests > 0 || self.uniques > 0) {
            return Err("0, but there are requests or clients: leave such a line out".to_owned());
        }
        Ok(())
    }
}

/// Reads a file of this name. `minute_of` reads a time, as people type it; `today` is the first
/// minute of the day that is not over yet.
///
/// # Errors
/// Everything that is wrong with it, line by line.
pub fn read(
    file: &str,
    text: &str,
    today: u32,
    minute_of: &impl Fn(&str) -> Result<u32, String>,
) -> Result<Vec<Total>, Vec<Problem>> {
    let problem = |line, key: &str, what: String| Problem {
        file: file.to_owned(),
        line,
        key: key.to_owned(),
        what,
    };
    let mut records = csv::read(text);
    let header = match records.next() {
        Some(Ok(header)) => header,
        Some(Err(broken)) => return Err(vec![problem(broken.line, "header", broken.what.into())]),
        None => return Err(vec![problem(1, "header", format!("it is empty; {COLUMNS_ARE}"))]),
    };
    let columns = columns(&header).map_err(|wrong| {
        let wrong = wrong.into_iter();
        wrong.map(|(key, what)| problem(header.line, &key, what)).collect::<Vec<_>>()
    })?;
    let name = |at: usize| columns.get(at).map_or("more", |column| column.name());
    let (mut totals, mut problems) = (Vec::new(), Vec::new());
    let mut lines: HashMap<(u32, String, String), usize> = HashMap::new();
    for record in records {
        if problems.len() >= PROBLEMS_MAX {
            let rest = "what is behind this line was not looked at".to_owned();
            problems.extend(
                problems.last().map(|last: &Problem| Problem { what: rest, ..last.clone() }),
            );
            break;
        }
        let record = match record {
            Ok(record) => record,
            Err(Broken { line, field, what }) => {
                problems.push(problem(line, name(field), what.into()));
                continue;
            }
        };
        let line = record.line;
        if record.fields.len() != columns.len() {
            let (has, wants) = (record.fields.len(), columns.len());
            let what = format!("the line has {has} fields, the header {wants}");
            problems.push(problem(line, name(has.min(wants)), what));
            continue;
        }
        match total(&columns, &record, today, minute_of) {
            Err(wrong) => {
                problems.extend(wrong.into_iter().map(|(key, what)| problem(line, key, what)));
            }
            Ok(total) => {
                let key = (total.day, total.package.clone(), total.tag.clone());
                match lines.insert(key, line) {
                    Some(before) => {
                        let what = format!("line {before} has the same package, version and day");
                        problems.push(problem(line, Column::Package.name(), what));
                    }
                    None if totals.len() == HISTORY_LINES_MAX => {
                        let what = format!(
                            "a file has at most {HISTORY_LINES_MAX} lines: import it in parts, \
                             cut between days"
                        );
                        problems.push(problem(line, Column::Time.name(), what));
                        break;
                    }
                    None => totals.push(total),
                }
            }
        }
    }
    if problems.is_empty() { Ok(totals) } else { Err(problems) }
}

/// What a column tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Time,
    Package,
    Version,
    Pulls,
    Requests,
    Uniques,
}

impl Column {
    const EVERY: [Self; 6] =
        [Self::Time, Self::Package, Self::Version, Self::Pulls, Self::Requests, Self::Uniques];
    const NEEDED: [Self; 3] = [Self::Time, Self::Package, Self::Pulls];

    fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Package => "package",
            Self::Version => "version",
            Self::Pulls => "pulls",
            Self::Requests => "requests",
            Self::Uniques => "daily_uniques",
        }
    }
}

/// Which column is what, or what is wrong with which.
fn columns(header: &Record<'_>) -> Result<Vec<Column>, Vec<(String, String)>> {
    let (mut columns, mut wrong) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for field in &header.fields {
        let known = Column::EVERY.into_iter().find(|column| column.name() == field.trim());
        match known {
            Some(column) if seen.insert(column) => columns.push(column),
            Some(column) => wrong.push((column.name().to_owned(), "it stands twice".to_owned())),
            None => wrong.push((quoted(field), format!("unknown; {COLUMNS_ARE}"))),
        }
    }
    for needed in Column::NEEDED.into_iter().filter(|column| !seen.contains(column)) {
        wrong.push((needed.name().to_owned(), format!("there is no such column; {COLUMNS_ARE}")));
    }
    if wrong.is_empty() { Ok(columns) } else { Err(wrong) }
}

fn total(
    columns: &[Column],
    record: &Record<'_>,
    today: u32,
    minute_of: &impl Fn(&str) -> Result<u32, String>,
) -> Result<Total, Vec<(&'static str, String)>> {
    let mut total = Total {
        day: 0,
        package: String::new(),
        tag: UNTOLD.to_owned(),
        pulls: 0,
        requests: 0,
        uniques: 0,
    };
    let mut wrong = Vec::new();
    for (column, field) in columns.iter().zip(&record.fields) {
        let field = field.trim();
        let done = match column {
            Column::Time => day(field, today, minute_of).map(|day| total.day = day),
            Column::Package => package(field).map(|()| field.clone_into(&mut total.package)),
            Column::Version => tag(field).map(|tag| tag.clone_into(&mut total.tag)),
            Column::Pulls => number(field, false).map(|pulls| total.pulls = pulls),
            Column::Requests => number(field, true).map(|requests| total.requests = requests),
            Column::Uniques => number(field, true).map(|uniques| total.uniques = uniques),
        };
        if let Err(what) = done {
            wrong.push((column.name(), what));
        }
    }
    if let (true, Err(what)) = (wrong.is_empty(), total.check_mark()) {
        wrong.push((Column::Pulls.name(), what));
    }
    if wrong.is_empty() { Ok(total) } else { Err(wrong) }
}

fn day(
    field: &str,
    today: u32,
    minute_of: &impl Fn(&str) -> Result<u32, String>,
) -> Result<u32, String> {
    let minute = minute_of(field).map_err(|what| format!("{} is {what}", quoted(field)))?;
    if Unit::Day.floor(minute) != minute {
        return Err(format!("{} is no day: totals are by the day, in UTC", quoted(field)));
    }
    if minute >= today {
        return Err(format!("{} is not over yet", quoted(field)));
    }
    Ok(minute)
}

/// `<domain>/<name>`, the domain being `*` where any will do.
fn package(field: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("{} is no <domain>/<name>: {why}", quoted(field)));
    let Some((domain, name)) = field.split_once('/') else {
        return wrong("there is no /");
    };
    let is_host = !domain.is_empty()
        && domain.len() <= HOST_BYTES_MAX
        && domain.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-'));
    if !is_host && domain != "*" {
        return wrong("the domain is a host name in lower case, without a port, or *");
    }
    match Name::parse(name.as_bytes()) {
        Ok(_) => Ok(()),
        Err(invalid) => wrong(invalid.detail),
    }
}

/// The row of a version: a tag's own, or, as an export writes them, one of those that are no tag.
fn tag(field: &str) -> Result<&str, String> {
    if field.is_empty() {
        return Ok(UNTOLD);
    }
    if NO_TAGS.contains(&field) {
        return Ok(field);
    }
    match Reference::parse(field.as_bytes()) {
        Ok(Reference::Tag(_)) => Ok(field),
        Ok(Reference::Digest(_)) => Ok(NO_TAGS[0]),
        Err(_) => Err(format!("{} is neither a tag nor a digest", quoted(field))),
    }
}

fn number(field: &str, may_be_empty: bool) -> Result<u64, String> {
    if field.is_empty() && may_be_empty {
        return Ok(0);
    }
    let is_plain = field.bytes().all(|byte| byte.is_ascii_digit());
    let number = field.parse().ok().filter(|number| is_plain && *number <= COUNT_MAX);
    number.ok_or_else(|| format!("{} is no whole number up to {COUNT_MAX}", quoted(field)))
}

/// Nobody reads more of them; a file may be anything.
const PROBLEMS_MAX: usize = 100;
/// The row of what was not told by version. No tag begins with a parenthesis.
const UNTOLD: &str = "(imported)";
/// Rows of the dimension of tags that are no tags.
const NO_TAGS: [&str; 4] = ["(by digest)", "(supply chain)", "(other)", UNTOLD];
/// More than anybody pulled on a day; so many lines of it are far from what a count holds.
const COUNT_MAX: u64 = 1_000_000_000_000;
const COLUMNS_ARE: &str = "the columns are time (a day), package (<domain>/<name>) and pulls, and \
                           where they are known version, requests and daily_uniques";

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u32 = 24 * 60;

    /// Days are numbers here.
    fn minute_of(text: &str) -> Result<u32, String> {
        let days: f32 = text.parse().map_err(|_| "no number".to_owned())?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a test's")]
        Ok((days * 1440.0) as u32)
    }

    fn told(text: &str) -> Vec<String> {
        match read("old.csv", text, 10 * DAY, &minute_of) {
            Ok(totals) => totals.iter().map(|it| format!("{it:?}")).collect(),
            Err(problems) => problems.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn totals_are_read_in_any_order_of_columns() {
        let text = "pulls,package,time,version,daily_uniques\n\
                    12,acme.com/rocket,3,1.0,\n5,*/x/y,4,,2\n1,a.b/c,4,sha256:\
                    0123456789012345678901234567890123456789012345678901234567890123,0\n";
        let totals = read("old.csv", text, 10 * DAY, &minute_of).unwrap();
        let row = |total: &Total| {
            (total.day / DAY, total.package.clone(), total.tag.clone(), total.pulls, total.uniques)
        };
        let rows: Vec<_> = totals.iter().map(row).collect();
        let expected = |day, package: &str, tag: &str, pulls, uniques| {
            (day, package.to_owned(), tag.to_owned(), pulls, uniques)
        };
        assert_eq!(
            rows,
            [
                expected(3, "acme.com/rocket", "1.0", 12, 0),
                expected(4, "*/x/y", "(imported)", 5, 2),
                expected(4, "a.b/c", "(by digest)", 1, 0),
            ]
        );
        assert_eq!(totals[0].measures().imported, 12);
    }

    #[test]
    fn every_bad_line_is_said_with_its_column() {
        let text = "time,package,pulls\n1,acme.com/rocket,x\n1.5,rocket,1\n10,Acme.com/a,-1\n\
                    2,acme.com/a,3,4\n3,acme.com/a,1\n3,acme.com/a,2\n4,\"acme.com/a,1\n";
        assert_eq!(
            told(text),
            [
                "old.csv:2: pulls: `x` is no whole number up to 1000000000000",
                "old.csv:3: time: `1.5` is no day: totals are by the day, in UTC",
                "old.csv:3: package: `rocket` is no <domain>/<name>: there is no /",
                "old.csv:4: time: `10` is not over yet",
                "old.csv:4: package: `Acme.com/a` is no <domain>/<name>: the domain is a host name \
                 in lower case, without a port, or *",
                "old.csv:4: pulls: `-1` is no whole number up to 1000000000000",
                "old.csv:5: more: the line has 4 fields, the header 3",
                "old.csv:7: package: line 6 has the same package, version and day",
                "old.csv:8: package: a quote is not closed",
            ]
        );
    }

    #[test]
    fn what_could_not_be_known_again_is_refused_and_what_is_nothing_is_not() {
        let text = "time,package,pulls,requests,daily_uniques\n\
                    1,a.b/c,0,3,0\n2,a.b/c,0,,1\n3,a.b/c,0,0,\n";
        let what = "pulls: 0, but there are requests or clients: leave such a line out";
        let bad = [2, 3].map(|line| format!("old.csv:{line}: {what}"));
        assert_eq!(told(text), bad);
        assert_eq!(told("time,package,pulls\n3,a.b/c,0\n").len(), 1);
    }

    #[test]
    fn a_file_that_is_something_else_is_not_read_to_its_end() {
        let text = "time,package,pulls\n".to_owned() + &"x\n".repeat(10_000);
        let words = told(&text);
        assert_eq!(words.len(), PROBLEMS_MAX + 1);
        assert_eq!(
            words[PROBLEMS_MAX],
            "old.csv:101: package: what is behind this line was not looked at"
        );
    }

    #[test]
    fn a_total_from_elsewhere_is_checked_like_one_that_was_read() {
        let good = Total {
            day: 3 * DAY,
            package: "a.b/c".to_owned(),
            tag: UNTOLD.to_owned(),
            pulls: 1,
            requests: 0,
            uniques: 0,
        };
        assert_eq!(good.check(10 * DAY), Ok(()));
        for bad in [
            Total { day: 3 * DAY + 1, ..good.clone() },
            Total { day: 10 * DAY, ..good.clone() },
            Total { package: "a.b".to_owned(), ..good.clone() },
            Total { tag: "(unfolded)".to_owned(), ..good.clone() },
            Total { tag: String::new(), ..good.clone() },
            Total { pulls: COUNT_MAX + 1, ..good.clone() },
            Total { requests: u64::MAX, ..good.clone() },
            Total { pulls: 0, uniques: 1, ..good },
        ] {
            assert!(bad.check(10 * DAY).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_header_that_does_not_say_enough_is_refused() {
        let words = told("date,package,pulls,pulls\n");
        assert_eq!(words.len(), 3, "{words:?}");
        assert!(
            words[0].starts_with("old.csv:1: `date`: unknown; the columns are time"),
            "{words:?}"
        );
        assert_eq!(words[1], "old.csv:1: pulls: it stands twice");
        assert!(words[2].starts_with("old.csv:1: time: there is no such column"), "{words:?}");
        assert!(told("")[0].starts_with("old.csv:1: header: it is empty"));
    }
}
