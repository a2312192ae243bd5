//! The harness is honest: what stalls shows, and what is wrong is said.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const STALL: Duration = Duration::from_millis(200);

#[test]
fn an_open_loop_shows_a_stall_that_a_closed_loop_hides() {
    let open = &run(server(REDIRECT, STALL), &["--rate", "1000", "--connections", "8"])[0];
    let closed = &run(server(REDIRECT, STALL), &["--connections", "2"])[0];

    // Of 2,000 requests 200 were due while it stood still; the first of them waited longest.
    assert_eq!(open["pace"], "open");
    assert_eq!(open["answers"], 2000);
    assert_eq!(open["blind_to_stalls"], false);
    assert!(p99_9(open) > 190_000.0, "{open}");
    let p90_to_p99 = [&open["latency"]["p99"], &open["latency"]["p90"]];
    assert!(p90_to_p99[0].as_f64().unwrap() > 150_000.0, "{open}");

    // The closed loop sent two requests into the stall, and thousands around it.
    assert_eq!(closed["pace"], "closed");
    assert_eq!(closed["blind_to_stalls"], true);
    assert!(closed["remarks"][0].as_str().unwrap().contains("blind to stalls"), "{closed}");
    assert!(closed["answers"].as_u64().unwrap() > 2000, "{closed}");
    assert!(p99_9(closed) < 190_000.0, "{closed}");
    assert!(closed["latency"]["max"].as_f64().unwrap() > 190_000.0, "{closed}");
}

#[test]
fn a_stall_shows_also_where_several_requests_are_sent_at_a_time() {
    let open = &run(server(REDIRECT, STALL), &["--rate", "21000", "--connections", "32"])[0];
    assert_eq!(open["answers"], 42_000);
    assert!(open["remarks"].to_string().contains("looks every 50 µs"), "{open}");
    assert!(open["queued"].as_u64().unwrap() > 3000, "{open}");
    assert!(p99_9(open) > 190_000.0, "{open}");
    // Of 42,000 the four that waited longest stay above it.
    let p99_99 = open["latency"]["p99_99"].as_f64().unwrap();
    assert!(p99_99 >= p99_9(open) && p99_99 <= open["latency"]["max"].as_f64().unwrap(), "{open}");
}

#[test]
fn what_cannot_be_sent_in_time_is_late_and_not_left_out() {
    // One connection and a stall: hundreds wait for it, and all of them are sent.
    let open = &run(server(REDIRECT, STALL), &["--rate", "1000", "--connections", "1"])[0];
    assert_eq!(open["answers"], 2000);
    // All that were due in the stall but the one that was under way.
    let queued = open["queued"].as_u64().unwrap();
    assert!((150..=2000).contains(&queued), "{open}");
    assert!(open["latency"]["p99"].as_f64().unwrap() > 150_000.0, "{open}");
}

#[test]
fn steps_of_a_rate_are_results_of_their_own() {
    let steps = run(server(REDIRECT, Duration::ZERO), &["--rate", "100,200"]);
    let answers: Vec<u64> = steps.iter().map(|step| step["answers"].as_u64().unwrap()).collect();
    assert_eq!(answers, [200, 400]);
}

#[test]
fn who_watches_in_a_terminal_sees_how_it_goes_and_who_does_not_is_not_told() {
    let target = server(REDIRECT, Duration::ZERO);
    let program = env!("CARGO_BIN_EXE_loadtest");
    let line = format!(
        "{program} run redirect --target http://{target} --rate 100 --connections 2 --duration 1s"
    );
    // A terminal of its own, whose output comes here.
    let mut watched = Command::new("script");
    watched.args(["--quiet", "--return", "--command", &line, "/dev/null"]).stdin(Stdio::null());
    let watched = watched.output().expect("it runs");
    let told = String::from_utf8_lossy(&watched.stdout);
    assert!(watched.status.success(), "{told}");
    // Each time the line is wiped first, and at the end once more: the result stands alone.
    let pieces: Vec<&str> = told.split(WIPE).collect();
    let [_, lines @ .., result] = &*pieces else { panic!("{told}") };
    assert!(lines.len() > 1, "{told:?}");
    assert!(result.starts_with(&format!("redirect of {target}: open loop")), "{told:?}");
    for line in lines {
        assert!(line.starts_with(&format!("{target}: ")), "{line:?}");
        assert!(line.contains(" answers a second, p99 ") && line.contains(" in all, 0 faults"));
    }
    // So many as have come by then: in the end nearly all of a hundred.
    let in_all = |line: &str| {
        let (_, behind) = line.split_once("; ").expect("what there is in all");
        behind.split(' ').next().and_then(|count| count.parse::<u64>().ok()).expect("a number")
    };
    let counts: Vec<u64> = lines.iter().map(|line| in_all(line)).collect();
    assert!(counts.is_sorted() && counts.first() < counts.last(), "{counts:?}");
    assert!(counts.iter().all(|count| *count <= 100), "{counts:?}");

    let unwatched = Command::new(program).args(line.split(' ').skip(1)).output().expect("it runs");
    assert!(unwatched.status.success());
    let told = [unwatched.stderr, unwatched.stdout].concat();
    assert!(!told.contains(&b'\x1b'), "{}", String::from_utf8_lossy(&told));
}

#[test]
fn a_load_on_the_cpu_of_its_target_says_so() {
    let target = server(REDIRECT, Duration::ZERO);
    let cpu = loadtest::machine::cpus::allowed()[0].to_string();
    let run = |target_cpu: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
        command.args(["run", "redirect", "--target", &format!("http://{target}")]);
        command.args(["--duration=200ms", "--rate=50", "--load-cpu", &cpu]);
        let output = command.args(["--target-cpus", target_cpu]).output().expect("it runs");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let said = run(&cpu);
    assert!(said.contains(&format!("the load and the target share CPU {cpu}")), "{said}");
    assert_eq!(run("1000"), "");
}

#[test]
fn wrong_answers_are_faults() {
    let brokered = "HTTP/1.1 200 OK\r\nContent-Length: ";
    // As long as the manifest is, and not the manifest.
    let length = manifest_bytes();
    let wrong: &str = format!("{brokered}{length}\r\n\r\n{}", "x".repeat(length)).leak();
    let short: &str = format!("{brokered}2\r\n\r\n{{}}").leak();
    for (scenario, answer, fault) in [
        ("redirect", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "status 404"),
        ("redirect", "HTTP/1.1 307 Temporary", "broken off"),
        ("redirect", "SSH-2.0-OpenSSH\r\n\r\n", "malformed"),
        ("broker-manifest", short, "length"),
        ("broker-manifest", wrong, "digest"),
    ] {
        let target = server(answer, Duration::ZERO);
        let results = run_to(false, scenario, target, &["--rate", "100", "--duration", "500ms"]);
        let faults = results[0]["faults"].as_object().unwrap();
        assert_eq!(faults.keys().collect::<Vec<_>>(), [fault]);
        assert_eq!(results[0]["answers"], 0);
    }
}

/// The results of `loadtest run redirect` with more `arguments`, two seconds long.
fn run(target: SocketAddr, arguments: &[&str]) -> Vec<Value> {
    run_to(true, "redirect", target, &[&["--duration", "2s"], arguments].concat())
}

/// The length of the manifest that every package has.
fn manifest_bytes() -> usize {
    let image = loadtest::origin::content::Image::new();
    usize::try_from(image.index[0].body.length()).expect("a length")
}

fn run_to(success: bool, scenario: &str, target: SocketAddr, arguments: &[&str]) -> Vec<Value> {
    let room = tempfile::tempdir().expect("a temporary directory");
    let file = room.path().join("result.json");
    let output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["run", scenario, "--target", &format!("http://{target}")])
        .arg("--json")
        .arg(&file)
        .args(arguments)
        .output()
        .expect("it runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), success, "{words}");
    let text = fs::read(file).expect("a result");
    serde_json::from_slice(&text).expect("JSON")
}

fn p99_9(result: &Value) -> f64 {
    result["latency"]["p99_9"].as_f64().expect("a number")
}

/// A server that gives the same answer to everything, and stands still for `stall`, once, in the
/// middle of the two seconds after its first request. Where the answer is no whole one, it closes.
fn server(answer: &'static str, stall: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("its address");
    let first: &'static OnceLock<Instant> = Box::leak(Box::default());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream, answer, stall, first));
        }
    });
    address
}

#[allow(clippy::disallowed_methods, reason = "to stand still is what this server is for")]
fn serve(
    mut stream: TcpStream,
    answer: &str,
    stall: Duration,
    first: &OnceLock<Instant>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(Ok(line)) = lines.next() {
        if !line.is_empty() {
            continue;
        }
        let stands_from = *first.get_or_init(Instant::now) + Duration::from_secs(1);
        let now = Instant::now();
        if now >= stands_from {
            thread::sleep((stands_from + stall).saturating_duration_since(now));
        }
        stream.write_all(answer.as_bytes())?;
        // Half a head, and then the end.
        if !answer.contains("\r\n\r\n") {
            break;
        }
    }
    Ok(())
}

/// To the first column, and erase the line.
const WIPE: &str = "\r\x1b[K";
const REDIRECT: &str = "HTTP/1.1 307 Temporary Redirect\r\nLocation: /there\r\n\
                        Content-Length: 0\r\n\r\n";
