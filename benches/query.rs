//! Thirty days of a thousand packages, asked for in the ways that people look at them, from a store
//! that is warm; beside the plainest way, which reads everything and keeps what was asked for.
//!
//! `PULLGATE_EVENTS=10000000` makes the month as busy as the tests' longest.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "../tests/support/month.rs"]
mod month;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use pullgate::aggregator::{Ask, By, Query, QueryError, open_offline};
use pullgate::pure::config::values::Retention;

use month::{BEGIN, DAY, Scale, Simulation, play};

const PACKAGE: &str = "registry.acme.com/acme/package-7";

fn thirty_days(package: Option<&str>, by: &[By], top: Option<usize>) -> Ask {
    let time = |minute: u32| Timestamp::from_second(i64::from(minute) * 60).unwrap();
    Ask {
        package: package.map(str::to_owned),
        by: by.to_vec(),
        from: Some(time(BEGIN)),
        to: Some(time(BEGIN + 30 * DAY)),
        top,
        ..Ask::default()
    }
}

/// All there is, by the day; then only the wanted.
fn naive(query: &Query, ask: &Ask) -> u64 {
    let mut by = ask.by.clone();
    if !by.contains(&By::Day) {
        by.push(By::Day);
    }
    let answer = query.rows(&Ask { by, ..Ask::default() }).unwrap();
    let (from, to) = (ask.from.unwrap(), ask.to.unwrap());
    let is_wanted = |row: &&pullgate::aggregator::Row| {
        let day = row.keys.iter().find(|(by, _)| *by == By::Day);
        let day: Timestamp = day.unwrap().1.parse().unwrap();
        ask.package.as_ref().is_none_or(|package| **package == *row.package)
            && day >= from
            && day < to
    };
    answer.rows.iter().filter(is_wanted).map(|row| row.measures.pulls).sum()
}

fn bench(criterion: &mut Criterion) {
    let events = std::env::var("PULLGATE_EVENTS").map_or(1_000_000, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let everything = Retention { minute: None, hour: None, day: None };
    let mut simulation = Simulation::start(dir.path(), everything);
    let scale = Scale { days: 30, packages: 1000, events, clients: 200_000, step: 60 };
    play(&mut simulation, scale);
    simulation.stop();
    let mut group = criterion.benchmark_group("query");
    group.sample_size(10);
    // Nothing is remembered where no gateway runs.
    let offline = open_offline(dir.path()).unwrap();
    let ask = thirty_days(None, &[By::Country], None);
    group.bench_function("all packages by country, read for the first time", |bench| {
        bench.iter(|| offline.rows(black_box(&ask)).unwrap());
    });
    drop(offline);
    let simulation = Simulation::start(dir.path(), everything);
    let query = simulation.query.clone();
    // A large store takes a while to open, and whoever asks meanwhile is told so.
    while let Err(QueryError::Unavailable(_)) = query.rows(&Ask::default()) {}
    let one = Some(PACKAGE);
    for (name, ask) in [
        ("a package by day", thirty_days(one, &[By::Day], None)),
        ("a package by day and tag", thirty_days(one, &[By::Day, By::Tag], None)),
        ("a package by country", thirty_days(one, &[By::Country], None)),
        ("a package by tag and client", thirty_days(one, &[By::Tag, By::Client], None)),
        (
            "a package by country and tag, by day",
            thirty_days(one, &[By::Country, By::Tag, By::Day], None),
        ),
        ("all packages", thirty_days(None, &[], None)),
        ("all packages by day", thirty_days(None, &[By::Day], None)),
        ("all packages by family", thirty_days(None, &[By::Family], None)),
        ("all packages, ten tags each", thirty_days(None, &[By::Tag], Some(10))),
        ("all packages by country", thirty_days(None, &[By::Country], None)),
    ] {
        group.bench_function(name, |bench| bench.iter(|| query.rows(black_box(&ask)).unwrap()));
    }
    let ask = thirty_days(one, &[By::Day, By::Tag], None);
    let pulls = query.rows(&ask).unwrap().totals.pulls;
    assert_eq!(naive(&query, &ask), pulls);
    group.bench_function("a package by day and tag, naive", |bench| {
        bench.iter(|| naive(&query, black_box(&ask)));
    });
    group.finish();
    simulation.stop();
}

criterion_group!(benches, bench);
criterion_main!(benches);
