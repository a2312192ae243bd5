//! The peers that the gateway is compared with, as they are started for that: each gives the answers that
//! the gateway gives, or figures of the two would be of different things.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

mod support;

use support::{free_address, loadtest, pullgate, run};

/// Plain, over TLS, and over HTTP/2.
const DOORS: [&[&str]; 3] = [&[], &["--tls"], &["--tls", "--http2=4"]];
const PEERS: [&str; 2] = ["nginx", "haproxy"];

#[test]
fn all_redirect_to_the_same_place() {
    for door in DOORS {
        assert_alike("redirect", &PEERS, door);
    }
    assert_alike("redirect", &["bare-epoll", "bare-ring"], &[]);
    assert_alike("redirect", &["nginx", "haproxy", "bare-epoll", "bare-ring"], &["--close"]);
}

#[test]
fn all_have_the_same_manifest() {
    for door in DOORS {
        assert_alike("broker-manifest", &PEERS, door);
    }
}

#[test]
fn all_have_the_same_blob() {
    let peers = ["nginx", "nginx-unbuffered", "haproxy"];
    for door in DOORS {
        assert_alike("stream-blob", &peers, &[&["--size=1MiB"], door].concat());
    }
    assert_alike("stream-blob", &peers, &["--size=1MiB", "--upstream-tls"]);
}

/// Status, whole `Location`, length and digest of each answer are what the scenario says, of the gateway's and of
/// each peer's.
fn assert_alike(scenario: &str, peers: &[&str], more: &[&str]) {
    let gateway = pullgate();
    let gateway = ["--gateway", &*gateway.to_string_lossy()];
    for who in [gateway].into_iter().chain(peers.iter().map(|peer| ["--peer", *peer])) {
        run(&[&[scenario], &who[..], more].concat());
    }
}

#[test]
fn a_bare_server_that_was_held_goes_on() {
    for driver in ["epoll", "io_uring"] {
        let address = free_address();
        let mut command = loadtest(&["bare", "--origin", "http://there", "--driver", driver]);
        command.arg("--listen").arg(address.to_string());
        command.stdout(Stdio::null()).stderr(Stdio::inherit());
        let server = Server(command.spawn().expect("it starts"));
        eventually("it answers", || ask(address).is_some_and(|told| told == TOLD));
        // It waits for somebody then; what it waits by ends with EINTR (signal(7)).
        server.signal(Signal::STOP);
        eventually("it is held", || server.state() == 'T');
        server.signal(Signal::CONT);
        eventually("it goes on", || server.state() != 'T');
        assert_eq!(ask(address).as_deref(), Some(TOLD), "{driver}");
    }
}

/// The first line of the answer, and where it leads.
const TOLD: &str = "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://there/v2/a\r\n";

fn ask(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).expect("a time");
    stream.write_all(b"GET /v2/a HTTP/1.1\r\nHost: there\r\n\r\n").ok()?;
    let mut told = vec![0; TOLD.len()];
    stream.read_exact(&mut told).ok()?;
    String::from_utf8(told).ok()
}

struct Server(Child);

impl Server {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("it is there");
    }

    /// As proc(5) has it.
    fn state(&self) -> char {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).expect("it is there");
        let (_, behind_name) = text.rsplit_once(") ").expect("a name");
        behind_name.chars().next().expect("a state")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        thread::yield_now();
    }
}

/// Beside builds.
const PATIENCE: Duration = Duration::from_secs(60);
