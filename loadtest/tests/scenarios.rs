//! Every scenario, for a moment, against the built gateway: all answers as they should be.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

mod support;

use support::free_address;

#[test]
fn redirects_in_a_closed_and_in_an_open_loop() {
    for (more, pace) in [("--pipeline=4", "closed"), ("--close", "closed"), ("--rate=200", "open")]
    {
        let result = run("redirect", &[more]);
        assert_eq!(result["pace"], pace);
        assert!(result["cost"]["cpu_us"].as_f64().expect("a cost") > 0.0);
    }
}

#[test]
fn manifests_and_blobs_come_through_whole() {
    run("broker-manifest", &["--rate=100"]);
    let result = run("stream-blob", &["--size=1MiB", "--connections=2"]);
    assert_eq!(
        result["body_bytes"].as_u64().expect("bytes"),
        result["answers"].as_u64().expect("answers") << 20
    );
    run("stream-blob", &["--size=1KiB", "--rate=100"]);
}

#[test]
fn images_are_pulled_as_docker_and_podman_do() {
    for delivery in ["redirect", "broker", "stream"] {
        let result = run("pull", &["--connections=2", "--delivery", delivery]);
        assert_eq!(result["jobs"]["failed"], 0);
        assert!(result["jobs"]["count"].as_u64().expect("jobs") > 0);
    }
    let result = run("mixed", &["--rate=50"]);
    assert_eq!(result["jobs"]["failed"], 0);
}

#[test]
fn a_storm_is_one_pull_for_each_connection() {
    let result = run("pull-storm", &["--connections=20", "--delivery=broker"]);
    assert_eq!(result["pace"], "once");
    assert_eq!(result["jobs"]["count"], 20);
    assert_eq!(result["jobs"]["failed"], 0);
}

#[test]
fn connections_are_held() {
    let result = run("idle", &["--connections=500"]);
    assert_eq!(result["held"]["connections"], 500);
    assert!(result["held"]["resident_bytes"].as_f64().is_some());
}

#[test]
fn a_load_goes_on_beside_slow_clients_and_changes() {
    let slow = run("slow", &["--rate=100", "--slow=10"]);
    assert!(slow["remarks"].to_string().contains("10 slow readers"), "{slow}");
    let reload = run("reload", &["--rate=100"]);
    assert!(reload["remarks"].to_string().contains("were put in force"), "{reload}");
}

#[test]
fn a_page_is_written_that_needs_nothing_else() {
    let room = tempfile::tempdir().expect("a temporary directory");
    let page = room.path().join("result.html");
    run("redirect", &["--rate=100,200", "--html", &page.to_string_lossy()]);
    let text = fs::read_to_string(page).expect("the page");
    assert!(text.contains("<svg") && text.contains("200 a second"));
    for outside in ["<script", "src=", "href=", "@import", "url("] {
        assert!(!text.contains(outside), "{outside}");
    }
}

#[test]
fn what_was_counted_is_what_was_answered() {
    let room = tempfile::tempdir().expect("a temporary directory");
    let file = room.path().join("result.json");
    let mut command = loadtest(&["compare", "redirect"]);
    // Peers need not be installed here.
    command.args(["--alone", "--rounds=2", "--duration=200ms", "--packages=20", "--json"]);
    command.arg(&file);
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_slice(&fs::read(file).expect("a result")).expect("JSON");
    let side = &result[0]["sides"][0];
    assert_eq!(side["rounds"].as_array().expect("rounds").len(), 2, "{side}");
    assert_eq!(side["void"].as_array().expect("void rounds").len(), 0, "{side}");
}

#[test]
fn clients_come_over_tls_and_by_http2() {
    for more in [&["--tls"][..], &["--tls=resumed", "--close"], &["--tls=full", "--http2=10"]] {
        let result = run("redirect", more);
        assert!(result["answers"].as_u64().expect("answers") > 0, "{more:?}: {result}");
    }
}

#[test]
fn at_a_part_of_the_peak_latencies_are_compared() {
    let room = tempfile::tempdir().expect("a temporary directory");
    let file = room.path().join("result.json");
    let mut command = loadtest(&["compare", "redirect", "--open", "--alone"]);
    command.args(["--rounds=2", "--duration=300ms", "--packages=20", "--json"]).arg(&file);
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let result: Value = serde_json::from_slice(&fs::read(file).expect("a result")).expect("JSON");
    assert!(result[0]["rate"].as_f64().expect("a rate") >= 1.0);
    let side = &result[0]["sides"][0];
    // On a busy machine the load may be at its own limit, which it says.
    let many = |rounds: &str| side[rounds].as_array().expect("rounds").len();
    assert_eq!(many("rounds") + many("void"), 2, "{side}");
    let metrics = side["figures"].as_array().expect("figures");
    let metrics: Vec<&Value> = metrics.iter().map(|figure| &figure["metric"]).collect();
    assert_eq!(metrics, ["P99", "P99_9"]);
}

#[test]
fn what_is_not_compared_is_refused_in_words() {
    for (arguments, told) in [
        (&["idle", "--two-workers"][..], "--two-workers is for `redirect`"),
        (&["redirect", "--two-workers", "--peers=nginx"], "cannot be used with"),
        (&["--two-workers"], "required arguments were not provided"),
        (&["redirect", "--criterion=target/criterion"], "cannot be used with"),
    ] {
        let output = loadtest(&[&["compare"], arguments].concat()).output().expect("it runs");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && words.contains(told), "{arguments:?}: {words}");
    }
}

#[test]
fn all_bars_are_in_one_table_also_those_that_were_not_measured() {
    let room = tempfile::tempdir().expect("a temporary directory");
    let mut command = support::loadtest(&["compare", "--gateway=/no/such/gateway", "--size=1KiB"]);
    let output = command.arg("--criterion").arg(room.path()).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stdout);
    // Nothing was measured, which is no success.
    assert_eq!(output.status.code(), Some(1), "{told}");
    let (nothing, table) = told.split_once("All bars\n\n").expect("the table");
    assert_eq!(nothing.trim(), "");
    // Behind the heading and the line below it.
    let rows: Vec<&str> = table.lines().skip(2).collect();
    for row in &rows {
        let how = ["/no/such/gateway: ", "`cargo bench --bench ", "cargo test ", "docs/"];
        assert!(how.iter().any(|how| row.contains(&format!("not measured: {how}"))), "{row}");
    }
    for (beginning, many) in [
        ("| a package found among 1,000,000 ", 1),
        ("| aggregator", 1),
        ("| start, 10000 packages ", 1),
        ("| redirect, 1000 packages, 64 connections ", 4),
        ("| redirect, 1000 packages, 64 connections, two workers beside one", 1),
        ("| reload", 1),
        ("| stream-blob, 1000 packages, 1.0 KiB, 8 connections ", 3),
    ] {
        let found = rows.iter().filter(|row| row.starts_with(beginning)).count();
        assert_eq!(found, many, "{beginning}: {table}");
    }
}

#[test]
fn a_bound_that_no_rate_keeps_is_said_to_be_one() {
    let room = tempfile::tempdir().expect("a temporary directory");
    let file = room.path().join("steps.json");
    let mut command = loadtest(&["sweep", "redirect", "--p99=0.001ms", "--from=200"]);
    command.args(["--duration=200ms", "--packages=20", "--json"]).arg(&file);
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(words.contains("not even 200 a second keeps p99"), "{words}");
    let steps: Value = serde_json::from_slice(&fs::read(file).expect("steps")).expect("JSON");
    assert_eq!(steps.as_array().expect("steps").len(), 1, "{steps}");
}

#[test]
fn a_start_is_measured_also_with_counts_that_are_there() {
    let room = tempfile::tempdir().expect("a temporary directory");
    let start = |more: &[&str]| {
        let mut command = loadtest(&["start", "--alone", "--rounds=2", "--packages=20"]);
        command.args(more).output().expect("it runs")
    };
    let data = room.path().join("data");
    fs::create_dir(&data).expect("a directory");
    for more in [&[][..], &["--data", &data.to_string_lossy()]] {
        let output = start(more);
        let words = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && words.contains("ms until it listens"), "{words}");
    }
    let output = start(&["--data", "/no/such/directory"]);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && words.contains("/no/such/directory"), "{words}");
}

#[test]
fn a_data_directory_that_a_gateway_runs_on_is_not_copied() {
    let room = tempfile::tempdir().expect("a temporary directory");
    let data = room.path().join("data");
    let start = || {
        let mut command = loadtest(&["start", "--alone", "--rounds=1", "--packages=20"]);
        command.arg("--data").arg(&data).output().expect("it runs")
    };
    let config = room.path().join("pullgate.toml");
    let [listen, admin] = [free_address(), free_address()];
    let head = format!(
        "[gateway]\nlisten = [\"{listen}\"]\nworkers = 1\ndata_dir = \"{}\"\n\n\
         [admin]\nlisten = \"{admin}\"\n\n",
        data.display()
    );
    let packages = support::loadtest(&["config", "--packages=1"]).output().expect("it runs").stdout;
    fs::write(&config, [head.as_bytes(), &packages].concat()).expect("a file");
    let mut command = Command::new(support::pullgate());
    command.arg("serve").arg("--config").arg(&config);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut gateway = command.spawn().expect("it starts");
    // It takes its directory before it can be asked anything.
    let began = Instant::now();
    while !data.join("control.sock").exists() {
        assert!(began.elapsed() < PATIENCE, "it does not start");
        thread::yield_now();
    }
    let refused = start();
    gateway.kill().expect("it is ended");
    gateway.wait().expect("it has ended");
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && words.contains("a gateway is running on it"), "{words}");
    let output = start();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_was_started_ends_with_who_started_it() {
    let mut command = loadtest(&["compare", "redirect", "--alone", "--packages=20"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let children = |id: u32| {
        let path = format!("/proc/{id}/task/{id}/children");
        let ids = fs::read_to_string(path).unwrap_or_default();
        ids.split_whitespace().map(|id| id.parse().expect("a number")).collect::<Vec<u32>>()
    };
    let is_alive = |id: &u32| Path::new(&format!("/proc/{id}/exe")).exists();
    // The registry and the gateway.
    let began = Instant::now();
    let started = loop {
        let started = children(child.id());
        if started.len() >= 2 {
            break started;
        }
        assert!(began.elapsed() < PATIENCE, "it has started {started:?}");
        thread::yield_now();
    };
    child.kill().expect("it is ended");
    child.wait().expect("it has ended");
    while started.iter().any(is_alive) {
        assert!(began.elapsed() < PATIENCE, "{started:?} go on");
        thread::yield_now();
    }
}

/// The first result of `loadtest run` on the gateway.
fn run(scenario: &str, arguments: &[&str]) -> Value {
    let gateway = support::pullgate();
    support::run(&[&[scenario, "--gateway", &gateway.to_string_lossy()], arguments].concat())
}

fn loadtest(arguments: &[&str]) -> Command {
    let mut command = support::loadtest(arguments);
    command.arg("--gateway").arg(support::pullgate());
    command
}

/// Beside builds.
const PATIENCE: Duration = Duration::from_secs(90);
