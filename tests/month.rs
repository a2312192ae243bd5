//! Months of pulls whose truth is known, under a clock that the test turns: totals and folding are
//! exact, different clients within the stated error, and the store's size is bounded.
//!
//! In short by default; `PULLGATE_EVENTS=10000000` makes it a busy month of a thousand packages, and
//! `PULLGATE_DAYS=90` a quarter of as many.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking, and says what it measured"
)]

#[path = "support/month.rs"]
mod month;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use pullgate::aggregator::{Answer, Ask, By, Query, open_offline};
use pullgate::control::while_busy;
use pullgate::pure::config::values::Retention;

use month::{BEGIN, Counted, DAY, Scale, Simulation, Truth, offer_one, play};

#[test]
fn a_month_comes_to_what_is_true_of_it() {
    let scale = match asked_for("PULLGATE_EVENTS") {
        None => Scale { days: 30, packages: 160, events: 200_000, clients: 4_000, step: 60 },
        Some(events) => Scale { days: 30, packages: 1000, events, clients: 200_000, step: 10 },
    };
    let dir = tempfile::tempdir().unwrap();
    let mut simulation = Simulation::start(dir.path(), EVERYTHING);
    let begin = Instant::now();
    let truth = play(&mut simulation, scale);
    simulation.stop();
    println!("{} events, taken and made up in {:?}", truth.events, begin.elapsed());
    is_true(&opened(dir.path()), &truth, scale.days);
}

/// Of the clock's steps and of what comes late nothing is lost and nothing counts twice, whatever it
/// is added up by; old cells go, and the store stays small.
#[test]
fn a_quarter_leaves_a_small_store_whatever_the_clock_does() {
    let (days, packages) = match asked_for("PULLGATE_DAYS") {
        None => (5, 40),
        Some(days) => (u32::try_from(days).unwrap(), 1000),
    };
    let per_day = 60;
    let events = u64::from(days * packages * per_day);
    let scale = Scale { days, packages, events, clients: 20_000, step: 60 };
    let dir = tempfile::tempdir().unwrap();
    let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
    let retention = Retention { minute: hours(48), hour: hours(90 * 24), day: None };
    let mut simulation = Simulation::start(dir.path(), retention);
    let truth = play(&mut simulation, scale);
    // One worker's page is ten minutes late, and meanwhile the clock is set back by an hour twice.
    let mut late = simulation.at_us;
    for hour in 0..3 {
        for number in 0..20 {
            late += 3;
            let name = format!("acme/late-{hour}");
            offer_one(&mut simulation, late, number, &name, &format!("v{number}"));
        }
        simulation.set_wall(if hour == 1 { 3_600_000_000 } else { -3_600_000_000 });
        simulation.pass(10);
        late = simulation.at_us;
    }
    let requests = simulation.requests;
    simulation.stop();
    let query = opened(dir.path());
    is_true(&query, &truth, days);
    for by in [vec![], vec![By::Day], vec![By::Hour], vec![By::Tag, By::Day], vec![By::Country]] {
        let answer = query.rows(&Ask { by: by.clone(), ..Ask::default() }).unwrap();
        assert_eq!(answer.totals.requests, requests, "{by:?}");
    }
    let minutes = query.rows(&Ask { by: vec![By::Minute], ..Ask::default() }).unwrap();
    let oldest = minutes.rows.iter().map(|row| row.keys[0].1.parse::<Timestamp>().unwrap()).min();
    // A sweep over many packages takes a while, of a clock that runs so fast above all.
    let kept = i64::from(BEGIN + (days - 4) * DAY) * 60;
    assert!(packages > 40 || oldest.unwrap().as_second() >= kept, "{oldest:?}");
    drop(query);
    let bytes = size(dir.path());
    let per_package_day = bytes / u64::from(days * packages);
    println!("{bytes} bytes: {per_package_day} for each of {packages} packages on {days} days");
    assert!(per_package_day < 128 * 1024, "{per_package_day}");
}

/// Everything that is asked is as it was made up.
fn is_true(query: &Query, truth: &Truth, days: u32) {
    let time = |minute: u32| Timestamp::from_second(i64::from(minute) * 60).unwrap();
    let (from, to) = (Some(time(BEGIN)), Some(time(BEGIN + days * DAY)));
    let ask = |by: &[By]| {
        let ask = Ask { by: by.to_vec(), from, to, ..Ask::default() };
        let answer = query.rows(&ask).unwrap();
        // However many threads had their part of it.
        assert!(answer.rows.is_sorted_by_key(|row| &row.package), "{by:?}");
        answer
    };
    let told = |answer: &Answer| -> BTreeMap<(String, String), Counted> {
        let row = |row: &pullgate::aggregator::Row| {
            let counted = [row.measures.requests, row.measures.pulls, row.measures.checks];
            ((row.package.to_string(), row.keys[0].1.clone()), counted)
        };
        let rows = answer.rows.iter().filter(|row| row.package.contains("/package-")).map(row);
        rows.filter(|(_, counted)| counted.iter().any(|count| *count > 0)).collect()
    };
    let package = |number: u32| format!("registry.acme.com/acme/package-{number}");
    // A step's last requests tick for all: no package of the month.
    let digests: BTreeMap<_, _> = truth
        .by_tag
        .iter()
        .map(|((of, tag), it)| ((package(*of), format!("v{tag}")), *it))
        .collect();
    assert!(told(&ask(&[By::Tag])) == digests, "by tag");
    let by_day = ask(&[By::Day]);
    let days: BTreeMap<_, _> = truth
        .by_day
        .iter()
        .map(|((of, day), it)| ((package(*of), time(*day).to_string()), *it))
        .collect();
    assert!(told(&by_day) == days, "by day");
    let countries: BTreeMap<_, _> = truth
        .by_country
        .iter()
        .map(|((of, country), it)| ((package(*of), (*country).to_owned()), *it))
        .collect();
    assert!(told(&ask(&[By::Country])) == countries, "by country");
    let (mut sum, mut estimated) = (0u64, 0u64);
    for row in by_day.rows.iter().filter(|row| row.package.contains("/package-")) {
        let of = row.package.rsplit_once('-').and_then(|(_, number)| number.parse().ok());
        let day = row.keys[0].1.parse::<Timestamp>().unwrap().as_second() / 60;
        let Some(expected) =
            of.and_then(|of| truth.uniques.get(&(of, u32::try_from(day).unwrap())))
        else {
            continue;
        };
        let said = row.measures.daily_uniques;
        let error = said.abs_diff(*expected) as f64 / *expected as f64;
        // Exact up to 512, then at the most some five times the standard error.
        assert!(
            error <= if *expected <= 512 { 0.0 } else { 5.0 * 1.04 / 64.0 },
            "{} on {}: {said} of {expected}",
            row.package,
            row.keys[0].1
        );
        sum += expected;
        estimated += said;
    }
    let error = (estimated as f64 / sum as f64 - 1.0).abs();
    println!("{estimated} clients where there were {sum}");
    assert!(sum > 0 && error < 0.01, "{estimated} of {sum}");
}

fn opened(dir: &Path) -> Query {
    while_busy(|| open_offline(dir)).unwrap()
}

fn asked_for(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|number| number.parse().unwrap())
}

fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| match entry.file_type().unwrap().is_dir() {
            true => size(&entry.path()),
            false => entry.metadata().unwrap().len(),
        })
        .sum()
}

/// Nothing is removed.
const EVERYTHING: Retention = Retention { minute: None, hour: None, day: None };
