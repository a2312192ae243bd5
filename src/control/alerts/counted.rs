//! What is told of the counts: unusual days, and weeks that are over.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::news::News;
use crate::aggregator::{Answer, Ask, By, Query, QueryError, Row};
use crate::pure::alert::of_day;
use crate::pure::chart::grouped;
use crate::pure::period::Piece;
use crate::pure::unusual::{DAYS, unusual};

/// Whether the day before `today` was unusual.
pub(super) fn yesterday(
    query: &Query,
    package: &str,
    today: Timestamp,
) -> Result<Option<News>, QueryError> {
    let ask = Ask {
        package: Some(package.to_owned()),
        by: vec![By::Day],
        from: Some(days_before(today, DAYS)),
        to: Some(today),
        ..Ask::default()
    };
    Ok(of_days(package, &query.rows(&ask)?, today))
}

/// The same of an answer that has a row for each day.
fn of_days(package: &str, answer: &Answer, today: Timestamp) -> Option<News> {
    let mut days = vec![0; DAYS];
    for row in &answer.rows {
        let begin = row.keys.first().and_then(|(_, day)| day.parse::<Timestamp>().ok());
        let ago = begin.map(|begin| today.duration_since(begin).as_secs() / DAY_S);
        let place = ago.and_then(|ago| DAYS.checked_sub(usize::try_from(ago).ok()?));
        if let Some(day) = place.and_then(|place| days.get_mut(place)) {
            *day += row.measures.pulls;
        }
    }
    // Before its first day a package was not pulled because it was not there.
    let first = days.iter().position(|pulls| *pulls > 0).unwrap_or(days.len());
    let days = days.split_off(first);
    let (unusual, pulls) = (unusual(&days)?, days.last()?);
    let day = days_before(today, 1).strftime("%Y-%m-%d").to_string();
    let (kind, text, data) = of_day(&day, *pulls, unusual);
    let (about, package) = (format!("day {day}"), Some(package.to_owned()));
    Some(News { about, kind, package, text, data })
}

fn days_before(today: Timestamp, days: usize) -> Timestamp {
    today - SignedDuration::from_secs(DAY_S * i64::try_from(days).unwrap_or_default())
}

/// When the week before this one began, and ended.
fn week_before(today: Timestamp) -> [Timestamp; 2] {
    let to = Piece::Week.begin(today);
    [days_before(to, 7), to]
}

/// What the week before this one came to.
pub(super) fn last_week(
    query: &Query,
    package: &str,
    today: Timestamp,
) -> Result<News, QueryError> {
    let [from, to] = week_before(today);
    let base =
        Ask { package: Some(package.to_owned()), from: Some(from), to: Some(to), ..Ask::default() };
    let top = |by| Ask { by: vec![by], top: Some(TOP), ..base.clone() };
    let asks = [Ask { compare: true, ..base.clone() }, base.clone(), top(By::Tag), top(By::Family)];
    let mut answers = query.all(&asks)?.into_iter();
    // Where the week before has lost its short cells, there is nothing to compare with.
    let compared = answers.next().and_then(Result::ok);
    let mut next = || answers.next().unwrap_or(Err(QueryError::Stopped));
    let (totals, tags, clients) = (next()?, next()?, next()?);
    let parts = [("tags", &tags), ("clients", &clients)];
    Ok(of_week(Some(package), [from, to], compared, &totals, &parts))
}

/// The same of all packages together.
pub(super) fn last_week_of_all(query: &Query, today: Timestamp) -> Result<News, QueryError> {
    let [from, to] = week_before(today);
    let base = Ask { from: Some(from), to: Some(to), ..Ask::default() };
    let mut answers = query.all(&[Ask { compare: true, ..base.clone() }, base])?.into_iter();
    let compared = answers.next().and_then(Result::ok);
    let mut totals = answers.next().unwrap_or(Err(QueryError::Stopped))?;
    let rows = largest(std::mem::take(&mut totals.rows), TOP);
    let packages = Answer { rows, ..totals.clone() };
    Ok(of_week(None, [from, to], compared, &totals, &[("packages", &packages)]))
}

/// The packages that were pulled most in the week before `today`, whose days are looked at where all
/// packages are meant.
pub(super) fn busiest(query: &Query, today: Timestamp) -> Result<Vec<String>, QueryError> {
    // With the day that is looked at: who was pulled much before it and not on it is among them.
    let (from, to) = (Some(days_before(today, 8)), Some(today));
    let rows = query.rows(&Ask { from, to, ..Ask::default() })?.rows;
    Ok(largest(rows, BUSIEST).into_iter().map(|row| row.package.to_string()).collect())
}

/// Those with the most pulls, so many at the most.
fn largest(mut rows: Vec<Row>, many: usize) -> Vec<Row> {
    rows.sort_by(|a, b| {
        let (one, other) = ((b.measures.pulls, &a.package), (a.measures.pulls, &b.package));
        one.cmp(&other)
    });
    rows.truncate(many);
    rows
}

/// A week beside the one before, and what it came to in `parts`.
fn of_week(
    package: Option<&str>,
    [from, to]: [Timestamp; 2],
    compared: Option<Answer>,
    totals: &Answer,
    parts: &[(&str, &Answer)],
) -> News {
    let before = compared.and_then(|answer| answer.previous).map(|before| before.pulls);
    let name = |row: &Row| match row.keys.first() {
        Some((_, name)) => name.clone(),
        None => row.package.to_string(),
    };
    let (day, pulls) = (from.strftime("%Y-%m-%d").to_string(), totals.totals.pulls);
    let told = before.map(|before| format!(", {} the week before", grouped(before)));
    let most = parts.first().and_then(|(_, answer)| answer.rows.first());
    let most = most.map(|row| format!("; most of {}", name(row))).unwrap_or_default();
    let text = format!(
        "{} pulls in the week from {day}{}{most}",
        grouped(pulls),
        told.unwrap_or_default()
    );
    let mut data = json!({
        "from": from.to_string(),
        "to": to.to_string(),
        "pulls": pulls,
        "pulls_before": before,
        "daily_uniques": totals.totals.daily_uniques,
    });
    for (part, answer) in parts {
        let one = |row: &Row| json!({ "name": name(row), "pulls": row.measures.pulls });
        data[*part] = answer.rows.iter().map(one).collect::<Value>();
    }
    let (about, package) = (format!("week {day}"), package.map(str::to_owned));
    News { about, kind: "pulls.week", package, text, data }
}

/// Tags, clients and packages that a week's summary names.
const TOP: usize = 5;
/// Packages whose days are looked at where all are meant.
const BUSIEST: usize = 100;
const DAY_S: i64 = 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::pull::rollup::Measures;

    /// An answer with these rows: each with what it is of, and its pulls.
    fn answer(rows: &[(By, String, u64)]) -> Answer {
        let measures = |pulls| Measures { pulls, ..Measures::ZERO };
        let row = |(by, value, pulls): &(By, String, u64)| Row {
            package: "a.b/c".into(),
            keys: vec![(*by, value.clone())],
            measures: measures(*pulls),
            previous: None,
        };
        let totals = measures(rows.iter().map(|(_, _, pulls)| pulls).sum());
        let rows = rows.iter().map(row).collect();
        Answer { from: None, to: Timestamp::UNIX_EPOCH, rows, totals, previous: None }
    }

    #[test]
    fn a_day_is_told_from_the_counts_of_the_days_before() {
        let today = Piece::Day.begin(Timestamp::now());
        let days = |many: usize, last: u64| {
            let day = |ago: usize| {
                let pulls = if ago == 1 { last } else { 100 };
                (By::Day, days_before(today, ago).to_string(), pulls)
            };
            of_days("a.b/c", &answer(&(1..=many).map(day).collect::<Vec<_>>()), today)
        };
        assert!(days(30, 100).is_none());
        assert!(days(5, 900).is_none(), "it is new");
        assert!(days(0, 0).is_none(), "nobody pulled it");
        let surge = days(30, 900).unwrap();
        assert_eq!((surge.kind, &surge.data["usual"]), ("pulls.surge", &100.into()));
        assert!(surge.text.contains("900 pulls on 20"), "{}", surge.text);
        assert_eq!(days(30, 10).unwrap().kind, "pulls.drop");
    }

    #[test]
    fn a_week_is_told_beside_the_one_before() {
        let to = Piece::Week.begin(Timestamp::now());
        let from = days_before(to, 7);
        let before = Measures { pulls: 1_100, ..Measures::ZERO };
        let tags = [(By::Tag, "1.0".to_owned(), 1_000), (By::Tag, "0.9".to_owned(), 234)];
        let (tags, nothing) = (answer(&tags), answer(&[]));
        let package = Some("a.b/c");
        let compared = Answer { previous: Some(before), ..answer(&[]) };
        let week = of_week(package, [from, to], Some(compared), &tags, &[("tags", &tags)]);
        let day = from.strftime("%Y-%m-%d").to_string();
        let expected =
            format!("1,234 pulls in the week from {day}, 1,100 the week before; most of 1.0");
        assert_eq!((week.text, week.about), (expected, format!("week {day}")));
        assert_eq!(week.data["tags"][1]["name"], "0.9");
        let alone = of_week(package, [from, to], None, &nothing, &[("tags", &nothing)]);
        assert_eq!(alone.text, format!("0 pulls in the week from {day}"));
    }

    #[test]
    fn of_all_packages_the_largest_are_named() {
        let to = Piece::Week.begin(Timestamp::now());
        let row = |package: &str, pulls| Row {
            package: package.into(),
            keys: Vec::new(),
            measures: Measures { pulls, ..Measures::ZERO },
            previous: None,
        };
        let rows = vec![row("a.b/few", 1), row("a.b/b", 7), row("a.b/a", 7), row("a.b/most", 9)];
        let packages = Answer { rows: largest(rows, 3), ..answer(&[]) };
        let parts = [("packages", &packages)];
        let week = of_week(None, [days_before(to, 7), to], None, &answer(&[]), &parts);
        assert!(week.text.ends_with("; most of a.b/most"), "{}", week.text);
        let named: Vec<&str> =
            (0..3).filter_map(|at| week.data["packages"][at]["name"].as_str()).collect();
        assert_eq!(named, ["a.b/most", "a.b/a", "a.b/b"]);
    }
}
