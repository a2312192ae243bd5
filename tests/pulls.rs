//! `pullgate pulls`: asked of a running gateway, of its store afterwards, and where there is none.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate, pullgate};
use support::http::Connection;

#[test]
fn the_store_says_afterwards_what_the_gateway_said() {
    let mut gate = started();
    pull(&gate, "acme/rocket");
    pull(&gate, "acme/rocket");
    pull(&gate, "acme/lander");
    let by_tag = ["--by", "tag", "--json"];
    let requests = |text: &str| -> Vec<(String, String, u64)> {
        let answer: Value = serde_json::from_str(text).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let row = |row: &Value| {
            (text(&row["package"]), text(&row["tag"]), row["requests"].as_u64().unwrap())
        };
        answer["rows"].as_array().unwrap().iter().map(row).collect()
    };
    let expected = vec![
        ("*/acme/lander".to_owned(), "latest".to_owned(), 1),
        ("*/acme/rocket".to_owned(), "latest".to_owned(), 2),
    ];
    eventually(|| match requests(&said(&pulls(&gate.data_dir(), &by_tag))) {
        rows if rows == expected => Ok(()),
        rows => Err(format!("{rows:?}")),
    });
    gate.stop();
    assert!(!gate.data_dir().join("control.sock").exists());
    let afterwards = said(&pulls(&gate.data_dir(), &by_tag));
    assert_eq!(requests(&afterwards), expected);

    let table = said(&pulls(&gate.data_dir(), &["--by", "tag,day"]));
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("from 2") && lines[0].contains(" to 2"), "{table}");
    assert_eq!(
        lines[2].split_whitespace().collect::<Vec<_>>().join(" "),
        "package tag day requests pulls complete up to date checks supply chain unseen unfolded"
    );
    assert!(lines[3].starts_with("*/acme/lander  latest  2"), "{table}");
    assert!(lines[5].starts_with("total "), "{table}");
    assert_eq!(lines.len(), 6, "{table}");
}

#[test]
fn a_gateway_that_was_killed_leaves_a_socket_that_nobody_minds() {
    let mut gate = started();
    pull(&gate, "acme/rocket");
    eventually(|| match said(&pulls(&gate.data_dir(), &["--json"])) {
        text if text.contains("\"requests\":1") => Ok(()),
        text => Err(text),
    });
    gate.process().signal(rustix::process::Signal::KILL);
    gate.process().wait();
    assert!(gate.data_dir().join("control.sock").exists());
    let answer: Value = serde_json::from_str(&said(&pulls(&gate.data_dir(), &["--json"]))).unwrap();
    assert!(answer["rows"].is_array(), "{answer}");
    gate.launch();
    assert!(pulls(&gate.data_dir(), &[]).status.success());
    gate.stop();
}

#[test]
fn an_unknown_package_is_met_with_the_nearest() {
    let mut gate = started();
    pull(&gate, "acme/rocket");
    eventually(|| match pulls(&gate.data_dir(), &["--package", "*/acme/rocket"]) {
        output if output.status.success() => Ok(()),
        output => Err(refusal(&output)),
    });
    let unknown = ["--package", "*/acme/rokcet"];
    let words = refusal(&pulls(&gate.data_dir(), &unknown));
    assert_eq!(words, "*/acme/rokcet: nothing was counted; did you mean */acme/rocket?\n");
    let json = said(&pulls(&gate.data_dir(), &[&unknown[..], &["--json"]].concat()));
    let answer: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(answer["rows"], Value::Array(Vec::new()));
    gate.stop();
}

#[test]
fn where_nothing_is_counted_the_words_say_what_to_look_at() {
    let empty = tempfile::tempdir().unwrap();
    let words = refusal(&pulls(empty.path(), &[]));
    assert!(words.contains("no gateway has kept counts here: --data is the data_dir"), "{words}");
    assert_eq!(std::fs::read_dir(empty.path()).unwrap().count(), 0, "nothing is made by asking");
    let words = refusal(&pulls(Path::new("/nonexistent"), &[]));
    assert!(words.starts_with("/nonexistent: no such directory"), "{words}");
    let mut gate = started();
    assert_eq!(said(&pulls(&gate.data_dir(), &[])), "nothing was counted in this time\n");
    gate.stop();
}

#[test]
fn a_group_that_does_not_exist_is_refused_with_those_that_do() {
    let output = pulls(Path::new("/nonexistent"), &["--by", "colour"]);
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(words.contains("tag, client, family"), "{words}");
}

fn started() -> Gate {
    let packages = "\n[[packages]]\ndomain = \"*\"\nname = \"acme/*\"\nbackend = \"one.example/acme/*\"\n\
         delivery = \"redirect\"\n";
    Gate::start(DRIVERS[0], packages)
}

/// A redirected GET of the package's manifest.
fn pull(gate: &Gate, name: &str) {
    let mut connection = Connection::open(gate.address()).unwrap();
    let host = format!("Host: {}", gate.address());
    let target = format!("/v2/{name}/manifests/latest");
    let answer = connection.ask("GET", &target, &[host], b"").unwrap();
    assert_eq!(answer.status, 307);
}

fn pulls(data: &Path, arguments: &[&str]) -> Output {
    Command::new(pullgate()).args(["pulls", "--data"]).arg(data).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}
