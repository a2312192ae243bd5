//! The gateway is upgraded under load: another process takes over, and no client notices; nor does
//! any where that one fails.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use rustls::ClientConfig;
use rustls::version::TLS13;
use serde_json::json;
use support::eventually::{eventually, pause};
use support::gate::{DRIVERS, Gate, pullgate};
use support::http::Connection;
use support::http2::{ACK, Frame, Frames, GOAWAY, HEADERS, PING, RST_STREAM, frame, get};
use support::origin::{Origin, Talk};
use support::process::{Process, attempt};
use support::tls::Authority;

/// Each upgrade finds downloads of the processes before it under way, and has another number of
/// workers. `PULLGATE_UPGRADES=20` for the long form.
#[test]
fn upgrades_under_load_refuse_reset_and_lose_nothing() {
    let upgrades = std::env::var("PULLGATE_UPGRADES").ok();
    let upgrades: u64 = upgrades.map_or(4, |number| number.parse().unwrap());
    for driver in DRIVERS {
        let scene = Scene::start(driver);
        let Scene { mut gate, tls, client, released, .. } = scene;
        let (address, over) = (gate.address(), AtomicBool::new(false));
        let answered = thread::scope(|scope| {
            let load = [
                scope.spawn(|| anew(&over, || Connection::open(address))),
                scope.spawn(|| anew(&over, || Connection::open(address))),
                scope.spawn(|| anew(&over, || Connection::open_tls(tls, &client, HOST))),
                scope.spawn(|| kept_open(&over, || Connection::open(address))),
                scope.spawn(|| kept_open(&over, || Connection::open_tls(tls, &client, HOST))),
                scope.spawn(|| streams(&over, || Frames::open(tls, &client, HOST, b""))),
            ];
            let mut before: Vec<(Process, TcpStream)> = Vec::new();
            for number in 1..=upgrades {
                let download = begin_download(address, number);
                set_workers(&gate, 1 + number * 2 % 3);
                before.push((gate.upgrade(), download));
                // Two drain at once: what the older sends goes by way of the younger.
                if before.len() == 2 {
                    end(before.remove(0), &released, number - 1);
                }
            }
            end(before.remove(0), &released, upgrades);
            over.store(true, Ordering::SeqCst);
            load.into_iter().map(|client| client.join().unwrap()).sum::<u64>()
        });
        gate.stop();
        let counts = gate.counts("*/acme/rocket");
        assert_eq!(counts.requests, answered, "on {driver}");
        // All of them are one client's, within one window.
        assert_eq!(counts.pulls, 1, "windows go on, on {driver}");
        let totals = &gate.pulls(&["--package", "*/acme/large"])["totals"];
        let expected = (json!(upgrades), json!(upgrades * LENGTH), json!(0));
        let found = |key: &str| totals[key].clone();
        assert_eq!((found("blobs"), found("blob_bytes"), found("blobs_aborted")), expected);
    }
}

#[test]
fn a_process_that_cannot_take_over_changes_nothing() {
    for driver in DRIVERS {
        let scene = Scene::start(driver);
        let Scene { mut gate, .. } = scene;
        let mut connection = Connection::open(gate.address()).unwrap();
        manifest(&mut connection).unwrap();
        let text = fs::read_to_string(gate.config_file()).unwrap();
        let other = if driver == "epoll" { "io_uring" } else { "epoll" };
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = holder.local_addr().unwrap();
        let busy = format!("listen = [\"{taken}\", ");
        for (from, to, words) in [
            ("backend", "bakend", "bakend: unknown key"),
            (driver, other, "gateway.driver: the running gateway is on"),
            ("listen = [", &busy, &*format!("{taken} is in use")),
        ] {
            // In the place of the one that it runs by, which is not read again for that.
            let file = gate.config_file().with_file_name("other.toml");
            fs::write(&file, text.replacen(from, to, 1)).unwrap();
            let said = refused(&file);
            assert!(said.contains(words), "{words} in {said}");
            manifest(&mut connection).unwrap();
        }
        gate.stop();
        assert_eq!(gate.counts("*/acme/rocket").requests, 4);
    }
}

/// One that speaks as it should, and dies when it is handed the counts.
#[test]
fn a_process_that_dies_while_it_takes_over_changes_nothing() {
    for driver in DRIVERS {
        let scene = Scene::start(driver);
        let Scene { mut gate, .. } = scene;
        let mut connection = Connection::open(gate.address()).unwrap();
        manifest(&mut connection).unwrap();
        for round in 1..=2 {
            let mut successor = UnixStream::connect(gate.data_dir().join("upgrade.sock")).unwrap();
            successor.write_all(b"pullgate upgrade\x01\0\0\0\x01\0\0\0").unwrap();
            // "Ready", to listen nowhere.
            successor.write_all(&[2, 0, 0, 0, 1, 0]).unwrap();
            eventually(|| match pulls(&gate) {
                Err(words) if words.contains("another process takes over") => Ok(()),
                other => Err(format!("{other:?}")),
            });
            for _ in 0..100 {
                manifest(&mut connection).unwrap();
                manifest(&mut Connection::open(gate.address()).unwrap()).unwrap();
            }
            drop(successor);
            let expected = 1 + round * 200;
            eventually(|| match pulls(&gate) {
                Ok(_) => match gate.counts("*/acme/rocket").requests {
                    same if same == expected => Ok(()),
                    other => Err(format!("{other} instead of {expected}")),
                },
                Err(words) => Err(words),
            });
        }
        // And one that lives takes over all the same.
        let mut before = gate.upgrade();
        manifest(&mut Connection::open(gate.address()).unwrap()).unwrap();
        drop(connection);
        assert!(before.wait().success(), "{}", before.words());
        gate.stop();
        let counts = gate.counts("*/acme/rocket");
        assert_eq!((counts.requests, counts.pulls), (402, 1), "on {driver}");
    }
}

#[test]
fn an_address_that_is_not_wanted_any_more_is_closed_and_a_new_one_is_served() {
    for driver in DRIVERS {
        let scene = Scene::start(driver);
        let Scene { mut gate, .. } = scene;
        let free = support::free_address([127, 0, 0, 1].into());
        let text = fs::read_to_string(gate.config_file()).unwrap();
        let both = format!("listen = [\"{free}\", \"{}\"]", gate.address());
        let one = format!("listen = [\"{}\"]", gate.address());
        fs::write(gate.config_file(), text.replacen(&one, &both, 1)).unwrap();
        let mut first = gate.upgrade();
        assert!(first.wait().success(), "{}", first.words());
        manifest(&mut Connection::open(free).unwrap()).unwrap();
        fs::write(gate.config_file(), &text).unwrap();
        let mut second = gate.upgrade();
        assert!(second.wait().success(), "{}", second.words());
        assert!(Connection::open(free).is_err(), "nobody listens there");
        manifest(&mut Connection::open(gate.address()).unwrap()).unwrap();
        gate.stop();
        assert_eq!(gate.counts("*/acme/rocket").requests, 2);
    }
}

/// What the process before still counts is waited for, also by one that is to stop.
#[test]
fn one_that_is_stopped_waits_for_the_counts_of_the_one_before() {
    for driver in DRIVERS {
        let scene = Scene::start(driver);
        let Scene { mut gate, released, .. } = scene;
        let download = begin_download(gate.address(), 1);
        let before = gate.upgrade();
        gate.process().signal(Signal::TERM);
        eventually(|| match gate.words() {
            words if words.contains("draining") => Ok(()),
            words => Err(words),
        });
        end((before, download), &released, 1);
        assert!(gate.process().wait().success(), "{}", gate.words());
        let totals = &gate.pulls(&["--package", "*/acme/large"])["totals"];
        assert_eq!(totals["blob_bytes"], json!(LENGTH), "on {driver}");
    }
}

/// Fifty downloads are under way when the gateway is told to stop.
#[test]
fn what_is_under_way_at_the_end_comes_whole_and_nobody_else_is_served() {
    for driver in DRIVERS {
        let scene = Scene::start(driver);
        let Scene { mut gate, released, .. } = scene;
        let downloads: Vec<_> =
            (1..=50).map(|number| begin_download(gate.address(), number)).collect();
        gate.process().signal(Signal::TERM);
        eventually(|| match Connection::open(gate.address()) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            other => Err(format!("{:?}", other.err())),
        });
        released.store(50, Ordering::SeqCst);
        for mut download in downloads {
            let length = io::copy(&mut download, &mut io::sink()).unwrap();
            assert_eq!(length, LENGTH, "on {driver}");
        }
        assert!(gate.process().wait().success(), "{}", gate.words());
        let totals = &gate.pulls(&["--package", "*/acme/large"])["totals"];
        assert_eq!(totals["blob_bytes"], json!(50 * LENGTH), "on {driver}");
    }
}

#[test]
fn without_a_gateway_there_is_nothing_to_upgrade() {
    let mut scene = Scene::start("epoll");
    scene.gate.stop();
    let words = refused(&scene.gate.config_file());
    assert!(words.contains("no gateway runs there") && words.contains("without --upgrade"));
}

/// A gateway with two packages: one that is redirected, and one whose layers are long and go through.
struct Scene {
    gate: Gate,
    tls: SocketAddr,
    client: Arc<ClientConfig>,
    /// Up to which download the registry sends all.
    released: Arc<AtomicU64>,
    _registry: Origin,
    _files: tempfile::TempDir,
}

impl Scene {
    fn start(driver: &str) -> Self {
        let released = Arc::<AtomicU64>::default();
        let known = Arc::clone(&released);
        let registry = Origin::start([127, 0, 0, 1], move |talk| registry(talk, &known));
        let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
        let [cert, key] = authority.identify(HOST).write(files.path(), "registry");
        let tls = support::free_address([127, 0, 0, 1].into());
        let config = format!(
            "listen_tls = [\"{tls}\"]\nworkers = 2\nhttps_redirect = false\n\
             drain_timeout = \"60s\"\n\n\
             [counting]\nflush = \"100ms\"\nwindow = \"1h\"\n\n\
             [limits]\nconnections_per_client = 0\n\n\
             [[packages]]\ndomain = \"*\"\nname = \"acme/rocket\"\n\
             backend = \"one.example/acme/rocket\"\ndelivery = \"redirect\"\n\n\
             [[packages]]\ndomain = \"*\"\nname = \"acme/large\"\n\
             backend = \"http://{}/acme/large\"\ndelivery = \"stream\"\n\n\
             [[certificates]]\ncert = \"{}\"\nkey = \"{}\"\n",
            registry.address(),
            cert.display(),
            key.display(),
        );
        let gate = Gate::start(driver, &config);
        let client = Arc::new(authority.client(&[&TLS13]));
        Self { gate, tls, client, released, _registry: registry, _files: files }
    }
}

/// Sends half of each layer, and the rest when it was released.
fn registry(talk: &mut Talk, released: &AtomicU64) -> io::Result<()> {
    while let Some(request) = talk.request()? {
        let Some((_, digest)) = request.target.split_once("/blobs/sha256:") else {
            talk.answer(&request, "200 OK", &[], b"{}")?;
            continue;
        };
        let number = digest.trim_start_matches('0').parse::<u64>().map_err(io::Error::other)?;
        let half = vec![b'x'; HALF];
        talk.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n"))?;
        talk.send(&half)?;
        while released.load(Ordering::SeqCst) < number {
            pause();
        }
        talk.send(&half)?;
    }
    Ok(())
}

/// A download of which the head has come.
fn begin_download(gateway: SocketAddr, number: u64) -> TcpStream {
    let mut stream = TcpStream::connect(gateway).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let target = format!("/v2/acme/large/blobs/sha256:{number:064}");
    write!(stream, "GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    stream
}

/// Lets a download end, which has to come whole, and with it the process that it goes through.
fn end((mut process, download): (Process, TcpStream), released: &AtomicU64, number: u64) {
    released.fetch_max(number, Ordering::SeqCst);
    let length = io::copy(&mut (&download).take(LENGTH), &mut io::sink()).unwrap();
    assert_eq!(length, LENGTH);
    drop(download);
    let status = process.wait();
    let words = process.words();
    assert!(status.success() && words.contains("everything counted is handed over"), "{words}");
}

/// Asks again and again over connections of their own; how often it was answered.
fn anew(over: &AtomicBool, open: impl Fn() -> io::Result<Connection>) -> u64 {
    let mut answered = 0;
    while !over.load(Ordering::SeqCst) {
        let mut connection = open().unwrap_or_else(|error| panic!("refused: {error}"));
        manifest(&mut connection).unwrap_or_else(|error| panic!("not answered: {error}"));
        answered += 1;
    }
    answered
}

/// The same over one connection, and another when that is said to close.
fn kept_open(over: &AtomicBool, open: impl Fn() -> io::Result<Connection>) -> u64 {
    let (mut answered, mut connection) = (0, None);
    while !over.load(Ordering::SeqCst) {
        let mut used = connection.take().unwrap_or_else(|| open().expect("it listens"));
        let closes = manifest(&mut used).unwrap_or_else(|error| panic!("not answered: {error}"));
        answered += 1;
        connection = (!closes).then_some(used);
    }
    answered
}

/// The same over streams of HTTP/2, until the server bids farewell. A stream that it does not know of is
/// asked for again elsewhere (RFC 9113, 6.8).
fn streams(over: &AtomicBool, open: impl Fn() -> io::Result<Frames>) -> u64 {
    let mut answered = 0;
    'connections: while !over.load(Ordering::SeqCst) {
        let mut frames = open().unwrap_or_else(|error| panic!("refused: {error}"));
        let mut last_taken = u32::MAX;
        for stream in (1..100).step_by(2) {
            let is_sent = frames.send(&get(stream, HOST, "/v2/acme/rocket/manifests/1"));
            loop {
                match frames.next() {
                    Ok(Frame { kind: HEADERS, stream: of, .. }) if of == stream => break,
                    Ok(Frame { kind: GOAWAY, payload, .. }) => {
                        let last = payload[..4].try_into().map(u32::from_be_bytes).unwrap();
                        last_taken = last_taken.min(last);
                        if last_taken < stream {
                            continue 'connections;
                        }
                    }
                    Ok(Frame { kind: PING, flags: 0, payload, .. }) => {
                        let _ = frames.send(&frame(PING, ACK, 0, &payload));
                    }
                    Ok(Frame { kind: RST_STREAM, .. }) => panic!("a stream is reset"),
                    Ok(_) => {}
                    Err(error) => panic!("not answered on {stream}: {error}, {is_sent:?}"),
                }
            }
            answered += 1;
            if last_taken < u32::MAX {
                continue 'connections;
            }
        }
    }
    answered
}

/// Asks for a manifest; whether the connection closes after it.
fn manifest(connection: &mut Connection) -> io::Result<bool> {
    let headers = [format!("Host: {HOST}")];
    let answer = connection.ask("GET", "/v2/acme/rocket/manifests/1", &headers, b"")?;
    assert_eq!(answer.status, 307);
    Ok(answer.header("connection") == Some("close"))
}

fn set_workers(gate: &Gate, workers: u64) {
    let text = fs::read_to_string(gate.config_file()).unwrap();
    let lines = text.lines().map(|line| match line.starts_with("workers = ") {
        true => format!("workers = {workers}\n"),
        false => format!("{line}\n"),
    });
    fs::write(gate.config_file(), lines.collect::<String>()).unwrap();
}

/// What `pullgate pulls` prints, or says where it cannot.
fn pulls(gate: &Gate) -> Result<String, String> {
    attempt(Command::new(pullgate()).args(["pulls", "--data"]).arg(gate.data_dir()))
}

/// What a process says that does not take over.
fn refused(config: &Path) -> String {
    let output = Command::new(pullgate())
        .args(["serve", "--upgrade", "--config"])
        .arg(config)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{words}");
    words
}

const HOST: &str = "registry.acme.com";
/// More than sockets and pipes hold between the registry and who downloads.
const LENGTH: u64 = 2 * HALF as u64;
const HALF: usize = 8 << 20;
