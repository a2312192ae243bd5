//! Counts come and go: `pullgate export`, `import` and `erase`, beside a running gateway and on the
//! store that it has left.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

#[path = "support/counting.rs"]
mod counting;
mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::Ordering;
use std::time::Duration;

use counting::{DOCKER, Gateway, all_files};
use serde_json::Value;
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate, pullgate};
use support::http::Connection;

use pullgate::aggregator::Export;
use pullgate::control::accounts::deliveries::{Delivery, Put};
use pullgate::control::accounts::{FILE, Store};
use pullgate::pure::alert::Event;
use pullgate::pure::config::values::{Counting, Retention};
use pullgate::pure::pull::event::Asked;

#[test]
fn an_export_has_what_pulls_has_running_and_stopped() {
    let mut gate = started();
    for name in ["acme/rocket", "acme/lander"] {
        pull(&gate, name, "latest");
        pull(&gate, name, "1.0");
    }
    let data = gate.data_dir();
    let csv = |more: &[&str]| said(&run("export", &data, &[&["--format", "csv"], more].concat()));
    let lines = eventually(|| match csv(&[]) {
        text if text.lines().count() == 5 => Ok(text),
        text => Err(text),
    });
    assert!(lines.starts_with("package,time,version,requests,pulls,checks,"), "{lines}");
    let today = &gate.pulls(&["--by", "day"])["rows"][0]["day"];
    let today = today.as_str().unwrap();
    for (line, row) in lines.lines().skip(1).zip([
        format!("*/acme/rocket,{today},1.0,1,1,0,"),
        format!("*/acme/rocket,{today},latest,1,1,0,"),
        format!("*/acme/lander,{today},1.0,1,1,0,"),
        format!("*/acme/lander,{today},latest,1,1,0,"),
    ]) {
        assert!(line.starts_with(&row), "{line} is not {row}");
    }
    let objects = said(&run(
        "export",
        &data,
        &["--format", "ndjson", "--by", "country", "--package", "*/acme/rocket"],
    ));
    let object: Value = serde_json::from_str(objects.trim_end()).unwrap();
    assert_eq!(object["origin_country"], "unknown");
    assert_eq!(object["pulls"], 2);
    let none = csv(&["--from", "2001-01-01", "--to", "2001-01-02"]);
    assert_eq!(none.lines().count(), 1, "{none}");
    gate.stop();
    assert_eq!(csv(&[]), lines);
    let words = refusal(&run("export", &data, &["--format", "csv", "--package", "*/acme/rokcet"]));
    assert_eq!(words, "*/acme/rokcet: nothing was counted; did you mean */acme/rocket?\n");
}

/// However many packages and days there are, no more than one package's part is read at once, and all
/// of them together are what an answer has.
#[test]
fn an_export_of_many_packages_comes_in_portions_of_one() {
    const PACKAGES: u64 = 3000;
    const DAYS: u32 = 40;
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    let first = 19_800;
    let total = |package: u64, day: u32, tag: u64| pullgate::pure::history::Total {
        day: day * 1440,
        package: format!("acme.com/acme/package-{package}"),
        tag: format!("v{tag}"),
        pulls: package + u64::from(day) + tag,
        requests: 0,
        uniques: 0,
    };
    let mut totals: Vec<_> = (0..PACKAGES).map(|package| total(package, first, 0)).collect();
    // Of one package there is more than fits into a portion.
    totals.extend((0..DAYS).flat_map(|day| (1..5).map(move |tag| total(7, first + day, tag))));
    gateway.query.amend(pullgate::aggregator::Amendment::Import(totals.clone())).unwrap();
    gateway.docker_pull(1, "acme/new", "latest");
    counting::eventually("it is counted", || gateway.counted_pulls() == 1);
    let by = vec!["day".parse().unwrap(), "tag".parse().unwrap()];
    let ask = pullgate::aggregator::Ask { by, ..Default::default() };
    let read = |query: &pullgate::aggregator::Query| {
        let mut export = Export::begin(query.clone(), ask.clone()).unwrap();
        let (mut rows, mut portions, mut last) = (Vec::new(), 0, 0);
        while let Some(portion) = export.portion().unwrap() {
            assert!(portion.rows.iter().all(|row| row.package == portion.rows[0].package));
            assert!(portion.rows.len() <= 31 * 5 && portion.done >= last);
            assert_eq!(portion.of, PACKAGES + 1);
            (portions, last) = (portions + 1, portion.done);
            rows.extend(portion.rows);
            if portions % 100 == 0 {
                export.rest();
            }
        }
        assert_eq!((portions, last), (PACKAGES + 2, PACKAGES + 1));
        rows.sort_by_key(|row| (row.package.clone(), row.keys.clone()));
        rows
    };
    let running = read(&gateway.query);
    assert_eq!(running.len(), totals.len() + 1);
    let mut answered = gateway.query.rows(&ask).unwrap().rows;
    answered.sort_by_key(|row| (row.package.clone(), row.keys.clone()));
    assert!(running == answered, "as in an answer");
    gateway.stop();
    let query = counting::opened(dir.path());
    assert!(read(&query) == running, "as before");
    // By the minute a day is read by its hours, where it has minutes, and each pull is in one row.
    for (name, expected) in [("new", 1), ("package-7", 0)] {
        let (by, package) = (vec!["minute".parse().unwrap()], format!("acme.com/acme/{name}"));
        let ask = pullgate::aggregator::Ask { by, package: Some(package), ..Default::default() };
        let mut export = Export::begin(query.clone(), ask).unwrap();
        let mut pulls = 0;
        while let Some(portion) = export.portion().unwrap() {
            pulls += portion.rows.iter().map(|row| row.measures.pulls).sum::<u64>();
        }
        assert_eq!(pulls, expected, "what was imported has no minutes");
    }
    let cut = pullgate::aggregator::Ask { top: Some(1), ..Default::default() };
    let refused = Export::begin(query, cut);
    assert!(refused.err().unwrap().to_string().contains("all rows"));
}

/// While it is written the gateway goes on counting, and whoever stops reading stops the export.
#[test]
fn a_reader_that_goes_away_ends_an_export() {
    let mut gate = started();
    for number in 0..200 {
        pull(&gate, &format!("acme/package-{number}"), "latest");
    }
    eventually(|| match gate.pulls(&[])["totals"]["pulls"].as_u64() {
        Some(200) => Ok(()),
        pulls => Err(format!("{pulls:?}")),
    });
    let mut export = Command::new(pullgate());
    export.args(["export", "--format", "csv", "--data"]).arg(gate.data_dir());
    let mut export = export.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut first = [0; 8];
    std::io::Read::read_exact(export.stdout.as_mut().unwrap(), &mut first).unwrap();
    assert_eq!(&first, b"package,");
    drop(export.stdout.take());
    assert!(export.wait().unwrap().success());
    let data = gate.data_dir();
    assert_eq!(said(&run("export", &data, &["--format", "ndjson"])).lines().count(), 200);
    gate.stop();
}

#[test]
fn history_is_imported_once_marked_and_whole_or_not_at_all() {
    for runs in [true, false] {
        let mut gate = started();
        pull(&gate, "acme/rocket", "latest");
        if !runs {
            gate.stop();
        }
        let data = gate.data_dir();
        let good = "time,package,version,pulls,daily_uniques\n\
                    2024-02-28,*/acme/rocket,1.0,10,4\n\
                    2024-02-29,*/acme/rocket,1.0,20,\n\
                    2024-02-29,*/acme/rocket,2.0,30,7\n\
                    2024-02-29T00:00:00Z,acme.com/old,,5,\n";
        let bad = format!("{good}2024-02-30,acme.com/old,,5,\n2024-02-27,acme.com/old,,x,\n");
        let file = gate.config_file().with_file_name("old.csv");
        let import = |text: &str| {
            fs::write(&file, text).unwrap();
            run("import", &data, &[file.to_str().unwrap()])
        };
        let words = refusal(&import(&bad));
        let name = file.display();
        assert_eq!(
            words,
            format!(
                "{name}:6: time: `2024-02-30` is neither like 2026-01-31T12:00:00Z nor like \
                 2026-01-31\n{name}:7: pulls: `x` is no whole number up to 1000000000000\n\
                 nothing was imported\n"
            )
        );
        let table = |more: &[&str]| said(&run("pulls", &data, more));
        assert!(!table(&[]).contains("acme.com/old"), "nothing is half imported");

        assert_eq!(said(&import(good)), "imported 65 pulls in 4 lines\n");
        let rows = |more: &[&str]| -> Vec<(String, String, u64, u64, u64)> {
            let text =
                said(&run("pulls", &data, &[&["--json", "--to", "2025-01-01"], more].concat()));
            let answer: Value = serde_json::from_str(&text).unwrap();
            let row = |row: &Value| {
                let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
                let count = |key: &str| row[key].as_u64().unwrap();
                let shown = (count("pulls"), count("imported"), count("daily_uniques"));
                (text("package"), text("tag") + &text("day"), shown.0, shown.1, shown.2)
            };
            answer["rows"].as_array().unwrap().iter().map(row).collect()
        };
        let row = |package: &str, key: &str, pulls, uniques| {
            (package.to_owned(), key.to_owned(), pulls, pulls, uniques)
        };
        assert_eq!(
            rows(&["--by", "day"]),
            [
                row("*/acme/rocket", "2024-02-28T00:00:00Z", 10, 4),
                row("*/acme/rocket", "2024-02-29T00:00:00Z", 50, 7),
                row("acme.com/old", "2024-02-29T00:00:00Z", 5, 0),
            ]
        );
        assert_eq!(
            rows(&["--by", "tag"]),
            [
                row("*/acme/rocket", "1.0", 30, 0),
                row("*/acme/rocket", "2.0", 30, 0),
                row("acme.com/old", "(imported)", 5, 0),
            ]
        );
        let words = refusal(&import(good));
        assert!(words.contains("has imported counts of 2024-02-2"), "{words}");
        assert_eq!(rows(&["--by", "day"]).len(), 3);
        // A day that is erased can be imported again, and what was exported too.
        let exported = said(&run("export", &data, &["--format", "csv", "--to", "2025-01-01"]));
        let days = ["--to", "2025-01-01", "--yes"];
        said(&run("erase", &data, &[&["--package", "*/acme/rocket"], &days[..]].concat()));
        said(&run("erase", &data, &[&["--domain", "acme.com"], &days[..]].concat()));
        assert_eq!(rows(&["--by", "day"]), []);
        let kept = ["time", "package", "version", "pulls"];
        assert_eq!(said(&import(&columns(&exported, &kept))), "imported 65 pulls in 4 lines\n");
        assert_eq!(rows(&["--by", "day"])[1].2, 50);
        if runs {
            gate.stop();
        }
    }
}

/// Of days that are not kept any more it cannot be seen whether they were imported already.
#[test]
fn history_before_the_retention_is_imported_once_too() {
    let dir = tempfile::tempdir().unwrap();
    let day = Some(Duration::from_secs(90 * 86_400));
    let retention = Retention { minute: None, hour: None, day };
    let gateway =
        Gateway::start_with(dir.path(), 1, Counting { retention, ..counting::counting() });
    let today = u32::try_from(jiff::Timestamp::now().as_second().div_euclid(86_400)).unwrap();
    let import = |name: &str, days_ago: u32, pulls: u64| {
        let total = pullgate::pure::history::Total {
            day: (today - days_ago) * 1440,
            package: format!("acme.com/{name}"),
            tag: "1.0".to_owned(),
            pulls,
            requests: 0,
            uniques: 0,
        };
        gateway.query.amend(pullgate::aggregator::Amendment::Import(vec![total]))
    };
    let ever = |by: &[&str]| {
        let by = by.iter().map(|by| by.parse().unwrap()).collect();
        let answer = gateway.query.rows(&pullgate::aggregator::Ask { by, ..Default::default() });
        answer.map_or(u64::MAX, |answer| answer.totals.pulls)
    };
    import("old", 400, 7).unwrap();
    import("new", 2, 10).unwrap();
    counting::eventually("the old day is not kept", || ever(&["day"]) == 10);
    assert_eq!(ever(&[]), 17);
    // Until it is removed it is seen, and refused for that.
    counting::eventually("the old day is removed", || {
        import("old", 400, 7).unwrap_err().to_string().contains("cannot be told")
    });
    for days_ago in [400, 399] {
        let refused = import("old", days_ago, 7).unwrap_err().to_string();
        assert!(
            refused.contains("cannot be told") && refused.contains("acme.com/old"),
            "{refused}"
        );
    }
    // What is kept can be told apart, and of another package nothing so old was imported.
    import("old", 3, 100).unwrap();
    import("new", 400, 1000).unwrap();
    counting::eventually("this one is not kept either", || ever(&["day"]) == 110);
    assert!(import("new", 400, 1000).is_err());
    assert_eq!(ever(&["tag"]), 1117);
    gateway.stop();
}

#[test]
fn what_is_erased_is_in_no_answer_and_in_no_file() {
    for runs in [true, false] {
        let mut gate = started();
        pull(&gate, "acme/secret-probe", "only-there");
        pull(&gate, "acme/rocket", "latest");
        let data = gate.data_dir();
        eventually(|| match gate.pulls(&["--by", "tag"]).to_string() {
            rows if rows.contains("only-there") && rows.contains("rocket") => Ok(()),
            rows => Err(rows),
        });
        if !runs {
            gate.stop();
            put_news(&data);
        }
        let erase = |more: &[&str]| {
            run("erase", &data, &[&["--package", "*/acme/secret-probe"], more].concat())
        };
        let words = said(&erase(&[]));
        assert_eq!(
            words,
            "*/acme/secret-probe: 1 pulls, 1 requests\nThese counts of all time, and their names \
             would be erased. Nothing was: say --yes\n"
        );
        eventually(|| match is_in_a_file(&data, "only-there") {
            true => Ok(()),
            false => Err("it is not on disk".to_owned()),
        });
        assert!(said(&erase(&["--yes"])).ends_with("are erased\n"));
        for needle in ["secret-probe", "only-there"] {
            assert!(!is_in_a_file(&data, needle), "{needle}");
        }
        assert!(runs || news(&data).is_empty(), "what waited to be told of it");
        let rows = gate.pulls(&["--by", "tag"]).to_string();
        assert!(rows.contains("*/acme/rocket") && !rows.contains("probe"), "{rows}");
        let words = refusal(&erase(&["--yes"]));
        assert!(words.contains("nothing was counted"), "{words}");
        if runs {
            // It is counted again when it is pulled again, and only then.
            pull(&gate, "acme/secret-probe", "new");
            let expected = eventually(|| match gate.pulls(&["--by", "tag"]).to_string() {
                rows if rows.contains("\"new\"") => Ok(rows),
                rows => Err(rows),
            });
            assert!(!expected.contains("only-there"));
            gate.stop();
        }
        assert!(!is_in_a_file(&data, "only-there"));
    }
    let words = refusal(&run("erase", Path::new("/nonexistent"), &["--domain", "x"]));
    assert!(words.contains("no such directory"), "{words}");
}

/// Counts that are in memory only, or in the journal and not in sled, go like any other, and who
/// pulled today is new again.
#[test]
fn what_is_still_on_its_way_to_the_disk_is_erased_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    for client in 0..5 {
        gateway.send(client, DOCKER, "acme/gone", Asked::Manifest, "latest");
        gateway.send(client, DOCKER, "acme/kept", Asked::Manifest, "latest");
    }
    counting::eventually("both are counted", || gateway.counted_pulls() == 10);
    let scope = pullgate::aggregator::Scope::Package("acme.com/acme/gone".to_owned());
    let erasure = pullgate::aggregator::Erasure { scope, days: None };
    gateway.query.amend(pullgate::aggregator::Amendment::Erase(erasure)).unwrap();
    assert_eq!(gateway.totals().unwrap().1, 5);
    gateway.send(1, DOCKER, "acme/gone", Asked::Manifest, "1.0");
    counting::eventually("it is counted again", || gateway.totals().unwrap().1 == 6);
    let answer = gateway.query.rows(&pullgate::aggregator::Ask::default()).unwrap();
    let uniques: Vec<_> = answer.rows.iter().map(|row| row.measures.daily_uniques).collect();
    assert_eq!(uniques, [1, 5]);
    gateway.stop();
}

/// What was only looked at is booked when its window closes: not if it was erased before.
#[test]
fn a_window_that_was_open_when_its_package_was_erased_books_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let window = Duration::from_secs(2);
    let mut gateway =
        Gateway::start_with(dir.path(), 1, Counting { window, ..counting::counting() });
    for name in ["acme/gone", "acme/kept"] {
        gateway.send(1, DOCKER, name, Asked::ManifestHead, "only-there");
    }
    counting::eventually("both windows are open", || {
        gateway.counted_pulls();
        gateway.health.fold_windows_open.load(Ordering::Relaxed) == 2
    });
    let scope = pullgate::aggregator::Scope::Package("acme.com/acme/gone".to_owned());
    let erasure = pullgate::aggregator::Erasure { scope, days: None };
    gateway.query.amend(pullgate::aggregator::Amendment::Erase(erasure)).unwrap();
    counting::eventually("the other one's check is booked", || {
        gateway.totals().is_some_and(|(.., checks)| checks > 0)
    });
    gateway.stop();
    let answer = counting::opened(dir.path()).rows(&pullgate::aggregator::Ask::default()).unwrap();
    let rows: Vec<_> = answer.rows.iter().map(|row| (&*row.package, row.measures.checks)).collect();
    assert_eq!(rows, [("acme.com/acme/kept", 1)]);
    assert!(!is_in_a_file(dir.path(), "gone"));
}

/// A message that tells of the package waits for a webhook.
fn put_news(data: &Path) {
    let mut store = accounts(data);
    store.set_alerts_of_file(&[("https://a.example".to_owned(), vec![Event::Weekly])], 1).unwrap();
    let id = store.alerts_of_file().unwrap()[0].id;
    let body = r#"{"name":"*/acme/secret-probe","pulls":1}"#;
    assert_eq!(store.put_delivery(id, "week", "pulls.week", body, 1).unwrap(), Put::Waits);
    assert_eq!(store.due_deliveries(2, &[], 9).unwrap().len(), 1);
}

/// What waits to be told.
fn news(data: &Path) -> Vec<Delivery> {
    accounts(data).due_deliveries(2, &[], 9).unwrap()
}

fn accounts(data: &Path) -> Store {
    Store::open(&data.join(FILE)).unwrap()
}

fn started() -> Gate {
    let packages = "\n[[packages]]\ndomain = \"*\"\nname = \"acme/*\"\nbackend = \"one.example/acme/*\"\n\
         delivery = \"redirect\"\n";
    Gate::start(DRIVERS[0], packages)
}

/// A redirected GET of the package's manifest.
fn pull(gate: &Gate, name: &str, tag: &str) {
    let mut connection = Connection::open(gate.address()).unwrap();
    let host = format!("Host: {}", gate.address());
    let target = format!("/v2/{name}/manifests/{tag}");
    assert_eq!(connection.ask("GET", &target, &[host], b"").unwrap().status, 307);
}

fn run(command: &str, data: &Path, arguments: &[&str]) -> Output {
    Command::new(pullgate()).arg(command).arg("--data").arg(data).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Only these columns of an export.
fn columns(csv: &str, kept: &[&str]) -> String {
    let lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let lines: Vec<Vec<&str>> = lines.collect();
    let at = |name: &&str| lines[0].iter().position(|column| column == name).unwrap();
    let at: Vec<usize> = kept.iter().map(at).collect();
    let line =
        |line: &Vec<&str>| at.iter().map(|at| line[*at]).collect::<Vec<_>>().join(",") + "\n";
    lines.iter().map(line).collect()
}

fn is_in_a_file(dir: &Path, text: &str) -> bool {
    all_files(dir).iter().any(|path| {
        // The control socket is no file to read.
        let bytes = fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}
