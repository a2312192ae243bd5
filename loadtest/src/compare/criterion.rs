//! Bars of single functions: what criterion has measured before (`cargo bench`), as it leaves it in
//! `target/criterion`.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Median;
use crate::bar::{Bar, Row};

/// Their rows of the table of all bars, from what is in `folder`, if that is known.
pub(super) fn rows(folder: Option<&Path>) -> Vec<Row> {
    let found = Row::new("a package found among 1,000,000", "ns", "among 10", Bar::Most(2.0));
    let built =
        Row::new("a snapshot of 100,000 packages", "ms until it is built", "", Bar::Most(1e3));
    let taken = Row::new("aggregator, fed by four threads", "events a second", "", Bar::Least(1e6));
    let alone = |measured: Result<Median, String>| measured.map(|value| (value, None));
    vec![
        fill(found, found_among(folder)),
        fill(built, alone(snapshot(folder))),
        fill(taken, alone(aggregator(folder))),
    ]
}

fn fill(row: Row, measured: Result<(Median, Option<Median>), String>) -> Row {
    match measured {
        Ok((value, ratio)) => row.measured(value, ratio),
        Err(why) => row.not_measured(&why),
    }
}

/// Among a million, in nanoseconds, and that over the same among ten.
fn found_among(folder: Option<&Path>) -> Result<(Median, Option<Median>), String> {
    let many = nanoseconds(folder, "route_1000000/ours", "route")?;
    let few = nanoseconds(folder, "route_10/ours", "route")?;
    // As far apart as the two may be.
    let ratio = Median {
        value: many.value / few.value,
        low: many.low / few.high,
        high: many.high / few.low,
    };
    Ok((many, Some(ratio)))
}

/// In milliseconds, from its text on.
fn snapshot(folder: Option<&Path>) -> Result<Median, String> {
    let read = nanoseconds(folder, "snapshot_100000/read", "route")?;
    let built = nanoseconds(folder, "snapshot_100000/built", "route")?;
    let ms = |read: f64, built: f64| (read + built) / 1e6;
    Ok(Median {
        value: ms(read.value, built.value),
        low: ms(read.low, built.low),
        high: ms(read.high, built.high),
    })
}

/// Events a second.
fn aggregator(folder: Option<&Path>) -> Result<Median, String> {
    let Benchmark { throughput: Throughput::Elements(events) } =
        read(folder, "store/aggregate/new/benchmark.json", "store")?;
    let took = nanoseconds(folder, "store/aggregate", "store")?;
    let per_second = |nanoseconds: f64| events as f64 * 1e9 / nanoseconds;
    Ok(Median {
        value: per_second(took.value),
        low: per_second(took.high),
        high: per_second(took.low),
    })
}

/// The median of a benchmark, and where it lies with 95 %, which criterion finds by resampling.
fn nanoseconds(folder: Option<&Path>, benchmark: &str, bench: &str) -> Result<Median, String> {
    let file = format!("{benchmark}/new/estimates.json");
    let Estimates { median } = read(folder, &file, bench)?;
    let Interval { lower_bound, upper_bound } = median.confidence_interval;
    Ok(Median { value: median.point_estimate, low: lower_bound, high: upper_bound })
}

/// Reads a file of what `cargo bench --bench` of this name leaves, or says how to come by it.
fn read<T: DeserializeOwned>(folder: Option<&Path>, file: &str, bench: &str) -> Result<T, String> {
    let how = format!("`cargo bench --bench {bench}`");
    let Some(folder) = folder else {
        return Err(format!("{how}, then --criterion target/criterion"));
    };
    let file = folder.join(file);
    let is_missing = |problem: &io::Error| problem.kind() == ErrorKind::NotFound;
    let text = fs::read(&file).map_err(|problem| {
        if is_missing(&problem) { how } else { format!("{}: {problem}", file.display()) }
    })?;
    serde_json::from_slice(&text).map_err(|problem| format!("{}: {problem}", file.display()))
}

/// As criterion 0.8 writes them; more is in there.
#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

#[derive(Deserialize)]
struct Estimate {
    confidence_interval: Interval,
    point_estimate: f64,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

#[derive(Deserialize)]
struct Benchmark {
    throughput: Throughput,
}

#[derive(Deserialize)]
enum Throughput {
    Elements(u64),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As criterion leaves a benchmark whose median was so many nanoseconds.
    fn leave(folder: &Path, benchmark: &str, [low, median, high]: [f64; 3]) {
        let new = folder.join(benchmark).join("new");
        fs::create_dir_all(&new).unwrap();
        let estimate = |value: f64| {
            format!(
                "{{\"confidence_interval\":{{\"confidence_level\":0.95,\"lower_bound\":{low},\
                 \"upper_bound\":{high}}},\"point_estimate\":{value},\"standard_error\":0.1}}"
            )
        };
        // The mean is another one.
        let (mean, median) = (estimate(1.0), estimate(median));
        let text = format!("{{\"mean\":{mean},\"median\":{median},\"slope\":null}}");
        fs::write(new.join("estimates.json"), text).unwrap();
        let text = "{\"group_id\":\"store\",\"function_id\":\"aggregate\",\"value_str\":null,\
                    \"throughput\":{\"Elements\":400000},\"full_id\":\"store/aggregate\",\
                    \"directory_name\":\"store/aggregate\",\"title\":\"store/aggregate\"}";
        fs::write(new.join("benchmark.json"), text).unwrap();
    }

    fn said(folder: Option<&Path>) -> Vec<String> {
        let told = |median: Option<Median>| median.map_or_else(String::new, |it| it.to_string());
        let line = |row: Row| {
            format!("{} | {} | {} {}", told(row.value), told(row.ratio), row.bar, row.standing)
        };
        rows(folder).into_iter().map(line).collect()
    }

    #[test]
    fn medians_are_read_and_held_to_their_bars() {
        let room = tempfile::tempdir().unwrap();
        leave(room.path(), "route_10/ours", [70.0, 80.0, 90.0]);
        leave(room.path(), "route_1000000/ours", [540.0, 560.0, 630.0]);
        leave(room.path(), "snapshot_100000/read", [4e8, 4.5e8, 5e8]);
        leave(room.path(), "snapshot_100000/built", [2e7, 3e7, 4e7]);
        leave(room.path(), "store/aggregate", [3.2e8, 3.7e8, 4.1e8]);
        let expected = [
            "560 (540 – 630) | 7 (6 – 9) | ≤ 2 MISSED",
            "480 (420 – 540) |  | ≤ 1000 met",
            "1081081 (975610 – 1250000) |  | ≥ 1000000 met, just",
        ];
        assert_eq!(said(Some(room.path())), expected);
    }

    #[test]
    fn what_is_missing_or_broken_is_said_and_how_to_come_by_it() {
        let how = said(None);
        assert_eq!(how.len(), 3);
        assert!(how[0].ends_with(
            "not measured: `cargo bench --bench route`, then --criterion target/criterion"
        ));
        let room = tempfile::tempdir().unwrap();
        leave(room.path(), "route_10/ours", [70.0, 80.0, 90.0]);
        leave(room.path(), "store/aggregate", [3.2e8, 3.7e8, 4.1e8]);
        fs::write(room.path().join("store/aggregate/new/estimates.json"), "{}").unwrap();
        let told = said(Some(room.path()));
        assert!(told[0].ends_with("≤ 2 not measured: `cargo bench --bench route`"), "{told:?}");
        assert!(told[2].contains("estimates.json: missing field `median`"), "{told:?}");
    }
}
