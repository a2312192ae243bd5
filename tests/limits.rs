//! What is bounded, and what happens at the bound: connections, descriptors, slow clients, many
//! packages, and a kernel that forbids io_uring.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate};
use support::http::{Answer, Connection};
use support::sandbox::{few_descriptors, forbid_io_uring};

#[test]
fn connections_beyond_the_limit_are_told_so_and_room_is_used_again() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &with_package("[limits]\nconnections = 3\n"));
        let mut held: Vec<_> = (0..3).map(|_| open(&gate)).collect();
        let refused = first_words(&gate);
        assert!(refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{refused}");
        assert!(refused.contains("\r\nRetry-After: 1\r\n"), "{refused}");
        assert!(refused.contains("UNAVAILABLE") && refused.contains("too many connections"));
        held.iter_mut().for_each(|connection| assert_eq!(ask(connection).status, 307));
        drop(held.pop());
        eventually(|| serves(Connection::open(gate.address())));
        gate.stop();
    }
}

#[test]
fn a_client_is_held_to_its_own_connections_and_leaves_the_others_theirs() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &with_package("[limits]\nconnections_per_client = 2\n"));
        let _held = [open(&gate), open(&gate)];
        let refused = first_words(&gate);
        assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
        let neighbour: IpAddr = [127, 0, 0, 9].into();
        serves(Connection::open_from(neighbour, gate.address())).unwrap();
        let series = "pullgate_connections_refused_total{limit=\"connections_per_client\"}";
        assert_eq!(gate.metric(series), 1);
        gate.stop();
    }
}

#[test]
fn a_client_that_does_not_read_is_ended_and_the_others_are_served() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &with_package("[limits]\nwrite_timeout = \"1s\"\n"));
        let mut deaf = TcpStream::connect(gate.address()).unwrap();
        deaf.set_nonblocking(true).unwrap();
        let requests = b"GET /v2/acme/rocket/tags/list HTTP/1.1\r\nHost: a\r\n\r\n".repeat(500);
        eventually(|| {
            // It sends for as long as somebody takes it, and never reads.
            let _ = deaf.write(&requests);
            serves(Connection::open(gate.address()))?;
            match gate.metric("pullgate_timeouts_total{limit=\"write_timeout\"}") {
                1 => Ok(()),
                ended => Err(format!("{ended} ended")),
            }
        });
        eventually(|| match gate.metric("pullgate_connections_open{worker=\"0\"}") {
            open if open <= 1 => Ok(()),
            open => Err(format!("{open} connections")),
        });
        gate.stop();
    }
}

#[test]
fn quiet_connections_hold_no_buffer_and_go_on_where_they_were() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &with_package(""));
        let mut idle: Vec<_> = (0..50).map(|_| open(&gate)).collect();
        let mut half = TcpStream::connect(gate.address()).unwrap();
        half.write_all(b"GET /v2/acme/rocket/tags/list HTTP/1.1\r\n").unwrap();
        eventually(|| match buffers_out(&gate) {
            // The half head is kept.
            1 => Ok(()),
            out => Err(format!("{out} buffers")),
        });
        idle.iter_mut().for_each(|connection| assert_eq!(ask(connection).status, 307));
        half.write_all(b"Host: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        half.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 307 "), "{answer}");
        gate.stop();
    }
}

#[test]
fn without_descriptors_accepting_pauses_and_resumes() {
    for driver in DRIVERS {
        let config = with_package("[limits]\nconnections = 10000\nconnections_per_client = 0\n");
        let mut gate = Gate::start_with(driver, &config, few_descriptors);
        let began = Instant::now();
        let held: Vec<_> = (0..300).map(|_| TcpStream::connect(gate.address()).unwrap()).collect();
        // The admin listener has no descriptor either: the log tells.
        eventually(|| match gate.process().words() {
            words if words.contains("connections cannot be accepted") => Ok(()),
            words => Err(words),
        });
        drop(held);
        eventually(|| serves(Connection::open(gate.address())));
        let pauses = gate.metric("pullgate_accept_pauses_total");
        // One per worker and sweep at most: more would be a spin.
        let tenths = began.elapsed().as_millis() / 100 + 2;
        let workers = thread::available_parallelism().unwrap().get();
        assert!(
            pauses >= 1 && u128::from(pauses) <= tenths * workers as u128,
            "{pauses} pauses in {tenths} tenths"
        );
        let said = gate.process().words().matches("cannot be accepted").count();
        assert!(said <= workers, "said {said} times");
        gate.stop();
    }
}

#[test]
fn an_answer_is_whole_wherever_the_buffer_ends() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &with_package(""));
        // One answer buffer holds about a hundred redirects: the refusal falls on its end.
        for requests in 90..125 {
            let mut stream = TcpStream::connect(gate.address()).unwrap();
            let good = "GET /v2/acme/rocket/tags/list HTTP/1.1\r\nHost: a\r\n\r\n";
            let bad = "GET /v2/ HTTP/1.1\r\n\r\n";
            stream.write_all((good.repeat(requests) + bad).as_bytes()).unwrap();
            let mut answers = String::new();
            stream.read_to_string(&mut answers).unwrap();
            assert_eq!(answers.matches("HTTP/1.1 307 ").count(), requests);
            assert_eq!(answers.matches("HTTP/1.1 400 ").count(), 1);
            assert!(answers.ends_with("no Host field\"}]}\n"), "{requests} on {driver}");
        }
        gate.stop();
    }
}

#[test]
fn a_client_that_floods_leaves_the_others_their_turns() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &format!("workers = 1\n{}", with_package("")));
        let over = AtomicBool::new(false);
        let address = gate.address();
        thread::scope(|scope| {
            scope.spawn(|| flood(address, &over));
            // The flood has begun: each of these waits behind it, but not for its end.
            eventually(|| match gate.metric("pullgate_requests_total{endpoint=\"tags\"}") {
                10_000.. => Ok(()),
                begun => Err(format!("{begun} requests")),
            });
            for _ in 0..20 {
                serves(Connection::open(address)).unwrap();
                assert!(!over.load(Ordering::Relaxed), "the flood ended first");
            }
            over.store(true, Ordering::Relaxed);
        });
        gate.stop();
    }
}

#[test]
fn where_io_uring_is_forbidden_epoll_serves_and_one_line_says_so() {
    let mut gate = Gate::start_with("auto", &with_package(""), forbid_io_uring);
    serves(Connection::open(gate.address())).unwrap();
    let workers = thread::available_parallelism().unwrap();
    assert_eq!(gate.metric("pullgate_workers{driver=\"epoll\"}"), workers.get() as u64);
    let words = gate.process().words();
    let lines: Vec<_> = words.lines().filter(|line| line.contains("io_uring")).collect();
    assert_eq!(lines.len(), 1, "{words}");
    assert!(lines[0].contains("workers use epoll"), "{words}");
    gate.stop();
}

#[test]
fn a_hundred_thousand_packages_are_served_and_reloaded() {
    for driver in DRIVERS {
        let packages = |host: &str| {
            (0..100_000).fold(String::new(), |mut text, number| {
                write!(
                    text,
                    "[[packages]]\ndomain = \"*\"\nname = \"acme/p{number}\"\n\
                 backend = \"{host}/acme/p{number}\"\ndelivery = \"redirect\"\n"
                )
                .unwrap();
                text
            })
        };
        let mut gate = Gate::start(driver, &packages("one.example"));
        let leads_to = |gate: &Gate, host: &str| {
            for number in [0, 1, 4_711, 50_000, 99_999] {
                let mut connection = Connection::open(gate.address()).unwrap();
                let target = format!("/v2/acme/p{number}/tags/list");
                let answer = connection.ask("GET", &target, &["Host: a".to_owned()], b"").unwrap();
                let location = answer.header("location").unwrap().to_owned();
                if location != format!("https://{host}/v2/acme/p{number}/tags/list") {
                    return Err(location);
                }
            }
            Ok(())
        };
        leads_to(&gate, "one.example").unwrap();
        assert_eq!(gate.metric("pullgate_packages"), 100_000);
        let text = fs::read_to_string(gate.config_file()).unwrap();
        fs::write(gate.config_file(), text.replace("one.example", "two.example")).unwrap();
        gate.process().signal(Signal::HUP);
        eventually(|| leads_to(&gate, "two.example"));
        gate.stop();
    }
}

fn with_package(config: &str) -> String {
    format!(
        "{config}\n[[packages]]\ndomain = \"*\"\nname = \"acme/rocket\"\n\
         backend = \"ghcr.io/acme/rocket\"\ndelivery = \"redirect\"\n"
    )
}

/// A connection that has been answered once.
fn open(gate: &Gate) -> Connection {
    let mut connection = Connection::open(gate.address()).unwrap();
    assert_eq!(ask(&mut connection).status, 307);
    connection
}

fn ask(connection: &mut Connection) -> Answer {
    let headers = ["Host: a".to_owned()];
    connection.ask("GET", "/v2/acme/rocket/tags/list", &headers, b"").unwrap()
}

fn serves(connection: std::io::Result<Connection>) -> Result<(), String> {
    let mut connection = connection.map_err(|problem| problem.to_string())?;
    let headers = ["Host: a".to_owned()];
    match connection.ask("GET", "/v2/acme/rocket/tags/list", &headers, b"") {
        Ok(answer) if answer.status == 307 => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// Sends requests as fast as they are taken, and reads the answers beside it.
fn flood(address: SocketAddr, over: &AtomicBool) {
    let mut sending = TcpStream::connect(address).unwrap();
    let mut reading = sending.try_clone().unwrap();
    let reader = thread::spawn(move || std::io::copy(&mut reading, &mut std::io::sink()));
    let requests = b"GET /v2/acme/rocket/tags/list HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
    // Bounded, should nobody ever be served beside it.
    for _ in 0..5_000 {
        if over.load(Ordering::Relaxed) || sending.write_all(&requests).is_err() {
            break;
        }
    }
    over.store(true, Ordering::Relaxed);
    sending.shutdown(std::net::Shutdown::Both).unwrap();
    let _ = reader.join().unwrap();
}

/// What a new connection is told without having asked.
fn first_words(gate: &Gate) -> String {
    let mut connection = TcpStream::connect(gate.address()).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut words = String::new();
    connection.read_to_string(&mut words).unwrap();
    words
}

fn buffers_out(gate: &Gate) -> u64 {
    let workers = thread::available_parallelism().unwrap().get();
    (0..workers)
        .map(|worker| gate.metric(&format!("pullgate_receive_buffers_out{{worker=\"{worker}\"}}")))
        .sum()
}
