//! The built gateway in operation: reloads, stops, refusals to start, metrics.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::process::Signal;
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate, NOTHING_RESOLVED, pullgate};
use support::http::{Connection, get, half_a_request};
use support::process::passes_promtool;

#[test]
fn a_changed_file_is_put_in_force_and_a_broken_one_is_not() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &backend("one.example"));
        eventually(|| leads_to(&gate, "one.example"));

        replace(&gate.config_file(), &text_with(&gate, "two.example"));
        eventually(|| leads_to(&gate, "two.example"));

        let broken = text_with(&gate, "three.example").replace("backend", "bakend");
        let line = 1 + broken.lines().position(|line| line.contains("bakend")).unwrap();
        fs::write(gate.config_file(), &broken).unwrap();
        eventually(|| has_metric(&gate, "pullgate_reloads_total{outcome=\"refused\"} 1"));
        leads_to(&gate, "two.example").unwrap();
        let words = eventually(|| match gate.process().words() {
            words if words.contains("the running configuration stays") => Ok(words),
            words => Err(words),
        });
        let place = format!("{}:{line}: packages[0].bakend: ", gate.config_file().display());
        assert!(words.contains(&place), "{place} in\n{words}");

        fs::write(gate.config_file(), text_with(&gate, "four.example")).unwrap();
        gate.process().signal(Signal::HUP);
        eventually(|| leads_to(&gate, "four.example"));
        has_metric(&gate, "pullgate_packages 1").unwrap();
        gate.stop();
    }
}

#[test]
fn a_swap_of_symlinks_is_a_change() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &backend("one.example"));
        let directory = gate.config_file().parent().unwrap().to_owned();
        let name = gate.config_file().file_name().unwrap().to_owned();
        // As Kubernetes lays out a mounted ConfigMap: pullgate.toml -> ..data/pullgate.toml, and
        // ..data -> a directory that is never written to again.
        for backend in ["two.example", "three.example"] {
            fs::create_dir(directory.join(backend)).unwrap();
            fs::write(directory.join(backend).join(&name), text_with(&gate, backend)).unwrap();
            symlink(backend, directory.join("..data_tmp")).unwrap();
            fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
            if !gate.config_file().is_symlink() {
                let made = directory.join("link");
                symlink(Path::new("..data").join(&name), &made).unwrap();
                fs::rename(&made, gate.config_file()).unwrap();
            }
            eventually(|| leads_to(&gate, backend));
        }
        gate.stop();
    }
}

#[test]
fn a_key_that_needs_a_restart_is_named() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &backend("one.example"));
        let text = text_with(&gate, "two.example").replace("listen = [", "workers = 1\nlisten = [");
        fs::write(gate.config_file(), text).unwrap();
        eventually(|| leads_to(&gate, "two.example"));
        eventually(|| match gate.process().words() {
            words if words.contains("in force only after a restart: gateway.workers") => Ok(()),
            words => Err(words),
        });
        gate.stop();
    }
}

/// Four connections that are never idle, while the file changes forth and back.
#[test]
fn reloads_under_load_fail_no_request_and_mix_no_answer() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &backend("one.example"));
        let address = gate.address();
        let over = AtomicBool::new(false);
        let seen = thread::scope(|scope| {
            let load = || {
                let mut connection = Connection::open(address).unwrap();
                let mut seen = [0_u32; 2];
                while !over.load(Ordering::Relaxed) {
                    let location = location(&mut connection, address).unwrap();
                    let known = ["one.example", "two.example"]
                        .map(|host| format!("https://{host}/v2/acme/rocket/manifests/latest"));
                    let which = known.iter().position(|one| *one == location);
                    seen[which.unwrap_or_else(|| panic!("a mixed answer: {location}"))] += 1;
                }
                seen
            };
            let clients: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
            for generation in 2..=6 {
                let host = if generation % 2 == 0 { "two.example" } else { "one.example" };
                replace(&gate.config_file(), &text_with(&gate, host));
                let line = format!("pullgate_snapshot_generation {generation}");
                eventually(|| has_metric(&gate, &line));
            }
            over.store(true, Ordering::Relaxed);
            clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
        });
        for each in seen {
            assert!(each.iter().all(|answers| *answers > 0), "both were seen: {each:?}");
        }
        gate.stop();
    }
}

#[test]
fn sigterm_finishes_what_is_under_way_and_ends_well() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &backend("one.example"));
        let mut idle = Connection::open(gate.address()).unwrap();
        location(&mut idle, gate.address()).unwrap();
        let mut under_way = half_a_request(gate.address()).unwrap();
        gate.process().signal(Signal::TERM);
        idle.closed().expect("an idle connection is closed");
        eventually(|| gate.is_draining());
        under_way.write_all(b"Host: registry.acme.com\r\n\r\n").unwrap();
        let mut answer = String::new();
        under_way.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 307 "), "{answer}");
        assert!(answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
        let status = gate.process().wait();
        assert!(status.success(), "{status}: {}", gate.process().words());
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &backend("one.example"));
        let _under_way = half_a_request(gate.address()).unwrap();
        gate.process().signal(Signal::INT);
        eventually(|| gate.is_draining());
        gate.process().signal(Signal::TERM);
        let status = gate.process().wait();
        assert_eq!((status.code(), status.signal()), (Some(143), None));
    }
}

#[test]
fn sigterm_under_load_counts_just_what_was_answered() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &backend("one.example"));
        let address = gate.address();
        let answered = thread::scope(|scope| {
            let mut answered = 0;
            let clients: Vec<_> = (0..40)
                .map(|_| {
                    let mut connection = Connection::open(address).unwrap();
                    answered += u64::from(manifest(&mut connection).is_ok());
                    scope.spawn(move || manifests_until_closed(connection))
                })
                .collect();
            assert_eq!(answered, 40);
            gate.process().signal(Signal::TERM);
            answered + clients.into_iter().map(|client| client.join().unwrap()).sum::<u64>()
        });
        let status = gate.process().wait();
        assert!(status.success(), "{status}: {}", gate.process().words());
        let counted = gate.counts("*/acme/rocket").requests;
        assert_eq!(counted, answered, "on {driver}");
    }
}

#[test]
fn reloads_during_a_drain_hold_nothing_up() {
    for driver in DRIVERS {
        let config = format!("drain_timeout = \"2s\"\n{}", backend("one.example"));
        let mut gate = Gate::start(driver, &config);
        let _under_way = half_a_request(gate.address()).unwrap();
        gate.process().signal(Signal::TERM);
        eventually(|| gate.is_draining());
        for number in 0..40 {
            fs::write(gate.config_file(), text_with(&gate, &format!("host{number}.example")))
                .unwrap();
            gate.process().signal(Signal::HUP);
        }
        let status = gate.process().wait();
        assert!(status.success(), "{status}: {}", gate.process().words());
    }
}

#[test]
fn an_access_log_that_nobody_reads_does_not_hold_up_the_end() {
    for driver in DRIVERS {
        let room = tempfile::tempdir().unwrap();
        let pipe = room.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        // Open for reading and writing, so that opening it waits for nobody, and never read.
        let _end = fs::File::options().read(true).write(true).open(&pipe).unwrap();
        let log = format!("[log]\naccess = \"json\"\naccess_file = \"{}\"\n", pipe.display());
        let mut gate = Gate::start(driver, &format!("{log}{}", backend("one.example")));
        let mut connection = Connection::open(gate.address()).unwrap();
        for _ in 0..2_000 {
            location(&mut connection, gate.address()).unwrap();
        }
        gate.stop();
    }
}

#[test]
fn what_drains_too_long_is_ended() {
    for driver in DRIVERS {
        let config = format!("drain_timeout = \"1s\"\n{}", backend("one.example"));
        let mut gate = Gate::start(driver, &config);
        let mut under_way = half_a_request(gate.address()).unwrap();
        gate.stop();
        let mut rest = Vec::new();
        let _ = under_way.read_to_end(&mut rest);
        assert!(!String::from_utf8_lossy(&rest).contains(" 307 "));
    }
}

#[test]
fn a_busy_port_is_named_with_its_key() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &backend("one.example"));
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let free = support::free_address([127, 0, 0, 1].into());
        let data = tempfile::tempdir().unwrap();
        for (listen, admin, key) in [
            (holder.local_addr().unwrap(), free, "gateway.listen"),
            // Another gateway's port could be shared: it must not be.
            (gate.address(), free, "gateway.listen"),
            (free, holder.local_addr().unwrap(), "admin.listen"),
        ] {
            let words = refused(listen, admin, &data.path().join("data"));
            let busy = if key == "gateway.listen" { listen } else { admin };
            assert!(words.contains(key) && words.contains(&busy.to_string()), "{words}");
        }
        gate.stop();
    }
}

#[test]
fn a_data_directory_in_use_is_named_with_its_key() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &backend("one.example"));
        let free = || support::free_address([127, 0, 0, 1].into());
        let words = refused(free(), free(), &gate.data_dir());
        let directory = gate.data_dir().display().to_string();
        assert!(words.contains("gateway.data_dir") && words.contains(&directory), "{words}");
        gate.stop();
    }
}

#[test]
fn a_file_with_problems_is_not_served_and_check_says_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pullgate.toml");
    fs::write(&file, "[gateway]\nworkers = -1\nlissten = []\n").unwrap();
    let outcome =
        |command: &str| ran(Command::new(pullgate()).arg(command).arg("--config").arg(&file));
    let (serve, check) = (outcome("serve"), outcome("check"));
    for output in [&serve, &check] {
        assert_eq!(output.status.code(), Some(1));
        let words = String::from_utf8_lossy(&output.stderr);
        for place in ["pullgate.toml:2: gateway.workers: ", "pullgate.toml:3: gateway.lissten: "] {
            assert!(words.contains(place), "{place} in {words}");
        }
    }
}

#[test]
fn the_files_in_config_pass_check() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for name in ["pullgate.toml", "minimal.toml", "demo.toml"] {
        let output =
            ran(Command::new(pullgate()).args(["check", "--config"]).arg(folder.join(name)));
        assert!(output.status.success(), "{name}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("no problem"), "{output:?}");
    }
}

#[test]
fn live_metrics_pass_prometheus_own_check_and_add_up() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &backend("one.example"));
        let mut connection = Connection::open(gate.address()).unwrap();
        for _ in 0..5 {
            location(&mut connection, gate.address()).unwrap();
        }
        for line in [
            "pullgate_requests_total{endpoint=\"manifest\"} 5",
            "pullgate_redirects_total 5",
            "pullgate_answers_total{class=\"3xx\"} 5",
            "pullgate_connections_total 1",
            "pullgate_request_duration_seconds_count 5",
            "pullgate_events_total 5",
            "pullgate_counted_requests_total 5",
            "pullgate_store_ok 1",
            "pullgate_persist_pending_cells 0",
            "pullgate_ready 1",
        ] {
            eventually(|| has_metric(&gate, line));
        }
        let text = metrics(&gate).unwrap();
        passes_promtool(&text);
        gate.stop();
    }
}

#[test]
fn the_access_log_has_no_address_and_is_opened_again_after_rotation() {
    for driver in DRIVERS {
        let directory = tempfile::tempdir().unwrap();
        let (log, rotated) = (directory.path().join("access"), directory.path().join("access.1"));
        let tables = format!(
            "{}\n[log]\naccess = \"combined\"\naccess_file = \"{}\"\n",
            backend("one.example"),
            log.display()
        );
        let mut gate = Gate::start(driver, &tables);
        let mut connection = Connection::open(gate.address()).unwrap();
        let lines = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let wait_for = |count: usize| {
            eventually(|| match lines(&log).lines().count() {
                found if found == count => Ok(()),
                found => Err(format!("{found} lines")),
            });
        };
        location(&mut connection, gate.address()).unwrap();
        wait_for(1);
        fs::rename(&log, &rotated).unwrap();
        gate.process().signal(Signal::HUP);
        eventually(|| log.exists().then_some(()).ok_or_else(|| "no new file".to_owned()));
        let lines_sent = [
            format!("Host: {}", gate.address()),
            "Referer: https://pullgate.acme.com/join?key=0a1b2c#x".to_owned(),
        ];
        let target = "/v2/acme/rocket/manifests/latest";
        assert_eq!(connection.ask("GET", target, &lines_sent, b"").unwrap().status, 307);
        wait_for(1);
        gate.stop();
        let text = lines(&log);
        assert!(
            text.contains("\"https://pullgate.acme.com/join\"") && !text.contains("0a1b"),
            "{text}"
        );
        for text in [lines(&log), lines(&rotated)] {
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(text.starts_with("- - - ["), "{text}");
            assert!(
                text.contains("\"GET /v2/acme/rocket/manifests/latest HTTP/1.1\" 307 "),
                "{text}"
            );
        }
    }
}

/// The tables of a configuration with one package, which lives at `host`.
/// Asks for a manifest again and again; how often it was answered before the connection ended.
fn manifests_until_closed(mut connection: Connection) -> u64 {
    let mut answered = 0;
    while manifest(&mut connection).is_ok() {
        answered += 1;
    }
    answered
}

fn manifest(connection: &mut Connection) -> io::Result<()> {
    let headers = ["Host: registry.acme.com".to_owned()];
    let answer = connection.ask("GET", "/v2/acme/rocket/manifests/1", &headers, b"")?;
    assert_eq!(answer.status, 307);
    Ok(())
}

fn backend(host: &str) -> String {
    format!(
        "\n[[packages]]\ndomain = \"*\"\nname = \"acme/rocket\"\nbackend = \"{host}/acme/rocket\"\n\
         delivery = \"redirect\"\n"
    )
}

/// The gateway's configuration with another backend.
fn text_with(gate: &Gate, host: &str) -> String {
    let text = fs::read_to_string(gate.config_file()).unwrap();
    let (gateway, _) = text.split_once("\n[[packages]]").unwrap();
    gateway.to_owned() + &backend(host) + NOTHING_RESOLVED
}

/// Replaces a file in one step, as editors do.
fn replace(path: &Path, text: &str) {
    let made = path.with_extension("new");
    fs::write(&made, text).unwrap();
    fs::rename(made, path).unwrap();
}

/// Where a request for the package is sent.
fn location(connection: &mut Connection, host: SocketAddr) -> io::Result<String> {
    let target = "/v2/acme/rocket/manifests/latest";
    let answer = connection.ask("GET", target, &[format!("Host: {host}")], b"")?;
    answer
        .header("location")
        .map(str::to_owned)
        .ok_or_else(|| io::Error::other(format!("{answer:?}")))
}

/// Whether every worker sends the package's clients to `host`: so many connections that each worker
/// has had one.
fn leads_to(gate: &Gate, host: &str) -> Result<(), String> {
    for _ in 0..16 {
        let mut connection = Connection::open(gate.address()).map_err(|error| error.to_string())?;
        let location =
            location(&mut connection, gate.address()).map_err(|error| error.to_string())?;
        if !location.starts_with(&format!("https://{host}/")) {
            return Err(format!("{location} instead of {host}"));
        }
    }
    Ok(())
}

fn metrics(gate: &Gate) -> Result<String, String> {
    let answer = get(gate.admin(), "/metrics").map_err(|error| error.to_string())?;
    String::from_utf8(answer.body).map_err(|error| error.to_string())
}

fn has_metric(gate: &Gate, line: &str) -> Result<(), String> {
    let text = metrics(gate)?;
    let name = line.split(['{', ' ']).next().unwrap_or_default();
    let found: Vec<&str> = text.lines().filter(|other| other.starts_with(name)).collect();
    if found.contains(&line) { Ok(()) } else { Err(format!("{line} is not among {found:?}")) }
}

/// What a gateway says that does not start.
fn refused(listen: SocketAddr, admin: SocketAddr, data_dir: &Path) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pullgate.toml");
    let text = format!(
        "[gateway]\nlisten = [\"{listen}\"]\ndata_dir = \"{}\"\n[admin]\nlisten = \"{admin}\"\n{}",
        data_dir.display(),
        backend("one.example")
    );
    fs::write(&file, text).unwrap();
    let output = ran(Command::new(pullgate()).args(["serve", "--config"]).arg(&file));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn ran(command: &mut Command) -> Output {
    command.output().unwrap()
}
