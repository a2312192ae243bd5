//! The admin listener and the control socket, over sockets, without workers.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use pullgate::aggregator::lock::Lock;
use pullgate::aggregator::{self, Aggregator, Health};
use pullgate::control::accounts::Accounts;
use pullgate::control::acme::{self, Acme};
use pullgate::control::admin::explain::InForce;
use pullgate::control::admin::{Options, Sources};
use pullgate::control::alerts::file::OfFiles;
use pullgate::control::made;
use pullgate::control::own_secrets::OwnSecrets;
use pullgate::control::prove::{self, Plan, Prover, Publish};
use pullgate::control::showcase::Showcase;
use pullgate::control::signals::Signals;
use pullgate::control::status::Status;
use pullgate::control::{self, Control};
use pullgate::messages::keyring::Keyring;
use pullgate::messages::latency;
use pullgate::messages::meters::Meters;
use pullgate::messages::quotas;
use pullgate::messages::wanted;
use pullgate::pure::client::ClientTable;
use pullgate::pure::config::check;
use pullgate::pure::snapshot::{Circumstances, Snapshot};
use support::http::get;
use support::process::passes_promtool;

#[test]
fn readiness_follows_the_gateways_life() {
    let status = Status::new();
    let control = with_status(&status);
    let admin = control.admin();
    assert_eq!(answer(admin, "/readyz"), (503, "starting\n".to_owned()));
    status.adopted(1, 3);
    assert_eq!(answer(admin, "/readyz"), (200, "ready\n".to_owned()));
    status.drain();
    assert_eq!(answer(admin, "/readyz"), (503, "draining\n".to_owned()));
    assert_eq!(answer(admin, "/healthz"), (200, "ok\n".to_owned()));
    let (code, words) = answer(admin, "/nowhere");
    assert_eq!(code, 404);
    assert!(words.contains("Look whether the address is whole"), "{words}");
    control.stop();
}

#[test]
fn metrics_pass_prometheus_own_check() {
    let status = Status::new();
    let control = with_status(&status);
    let (code, text) = answer(control.admin(), "/metrics");
    assert_eq!(code, 200);
    passes_promtool(&text);
    control.stop();
}

#[test]
fn a_busy_port_is_refused_with_the_key_that_names_it() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let refused = started(taken, None, &Status::new()).err().unwrap();
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    assert!(refused.to_string().starts_with(&format!("admin.listen {taken}: ")), "{refused}");
}

#[test]
fn stopping_waits_for_no_idle_connection() {
    let status = Status::new();
    let control = with_status(&status);
    let mut idle = TcpStream::connect(control.admin()).unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    control.stop();
    idle.read_to_end(&mut Vec::new()).unwrap();
}

/// As a name does that is being looked up while the gateway stops.
#[test]
fn stopping_waits_for_nothing_that_hangs() {
    let (hang, hung) = bounded::<()>(0);
    let (begin, begun) = bounded(1);
    let publish = move |_: &_| {
        let _ = begin.try_send(());
        let _ = hung.recv();
    };
    let started = started_with(anywhere(), None, &Status::new(), Arc::new(publish)).unwrap();
    begun.recv_timeout(Duration::from_secs(10)).unwrap();
    let (stop, stopped) = bounded(1);
    thread::spawn(move || {
        started.stop();
        stop.send(()).unwrap();
    });
    let outcome = stopped.recv_timeout(Duration::from_secs(10));
    drop(hang);
    assert_eq!(outcome, Ok(()));
}

#[test]
fn the_control_socket_is_its_owners_and_replaces_what_a_dead_process_left() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    drop(UnixListener::bind(&socket).unwrap());
    let control = with_socket(&socket);
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let (head, body) = ask(&socket, "/pulls?by=tag&by=day&from=2026-01-01T00:00:00Z");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert!(body["rows"].is_array(), "{body}");
    control.stop();
    assert!(!socket.exists());
}

#[test]
fn a_question_that_makes_no_sense_is_answered_with_words() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    let control = with_socket(&socket);
    for (question, words) in [
        ("/pulls?by=colour", "by=colour: "),
        ("/pulls?from=yesterday", "from=yesterday: "),
        ("/pulls?sort=name", "sort: unknown; there are package, by, only"),
        ("/explain", "url: is missing"),
        ("/explain?url=a.b/acme/rocket", "url=a.b/acme/rocket: does not begin with https://"),
        ("/explain?url=http://a.b/&user_agent=x%0D%0AHost:+c", "user_agent: is no header"),
        ("/explain?url=http://a.b/&login=x", "login: unknown; there are url and user_agent"),
    ] {
        let (head, body) = ask(&socket, question);
        assert!(head.starts_with("HTTP/1.1 400"), "{head}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(body["error"].as_str().unwrap().starts_with(words), "{body}");
    }
    control.stop();
}

#[test]
fn a_control_socket_that_cannot_be_made_is_named() {
    let socket = PathBuf::from("/nonexistent/control.sock");
    let refused = started(anywhere(), Some(socket), &Status::new());
    let words = refused.err().unwrap().to_string();
    assert!(words.starts_with("the control socket /nonexistent/control.sock cannot"), "{words}");
}

/// Control without workers, and an aggregator whose counts are all zero.
struct Started {
    control: Control,
    aggregator: Aggregator,
    _data_dir: tempfile::TempDir,
}

impl Started {
    fn admin(&self) -> SocketAddr {
        self.control.admin_address()
    }

    fn stop(self) {
        self.control.stop();
        self.aggregator.stop(Vec::new());
    }
}

fn started(
    listen: SocketAddr,
    control_socket: Option<PathBuf>,
    status: &Arc<Status>,
) -> io::Result<Started> {
    started_with(listen, control_socket, status, Arc::new(|_| ()))
}

fn started_with(
    listen: SocketAddr,
    control_socket: Option<PathBuf>,
    status: &Arc<Status>,
    publish: Arc<Publish>,
) -> io::Result<Started> {
    let data_dir = tempfile::tempdir().unwrap();
    let (config, _) = check("demo.toml", include_str!("../config/demo.toml")).unwrap();
    let (nothing, _) = check("empty.toml", "").unwrap();
    let health = Arc::<Health>::default();
    let counting = aggregator::Options {
        data_dir: data_dir.path().to_owned(),
        counting: config.counting,
        insight: config.insight,
        clients: ClientTable::built_in(),
        sources: Arc::default(),
        look: Arc::new(aggregator::clock::Clock::look),
    };
    let lock = Lock::take(data_dir.path()).unwrap();
    let aggregator = aggregator::spawn(counting, lock, Vec::new(), Arc::clone(&health)).unwrap();
    let standing = Arc::<acme::Record>::default();
    let sources = Sources {
        workers: vec![Meters::new(), Meters::new()],
        latencies: vec![latency::channel().1],
        driver: "epoll",
        health,
        status: Arc::clone(status),
        log_dropped: None,
        proofs: Default::default(),
        certificates: Default::default(),
        acme: Arc::clone(&standing),
        webhooks: Default::default(),
        quotas: quotas::channel().1,
        on_disk: Default::default(),
    };
    let signals = Signals { drain: Box::new(|_| ()), hang_up: Box::new(|| ()) };
    let (_, wanted) = wanted::channel();
    let (prover, plans) =
        Prover::new(prove::Options { wanted, publish, record: Default::default() });
    let (secrets, keys) = OwnSecrets::open(data_dir.path()).unwrap();
    let clients = ClientTable::built_in();
    let around = Circumstances { clients, via: "test", before: None, now_us: 0 };
    let snapshot = Arc::new(Snapshot::build(&nothing, 1, around));
    let in_force = InForce::new(Arc::clone(&snapshot), keys);
    plans.adopt(Plan::new(&nothing, snapshot, Arc::new(Keyring::bare())));
    let query = aggregator.query();
    let accounts = Accounts::open(data_dir.path()).unwrap();
    let makers = made::channel(bounded(1).0).0;
    let handed = None;
    let options = Options {
        listen,
        handed,
        control_socket,
        sources,
        query,
        in_force,
        accounts,
        makers,
        sign_up: config.admin.sign_up,
        resolver: None,
        data_dir: data_dir.path().to_owned(),
        alerts: OfFiles::new(Arc::from([])).subscribe(),
    };
    let rotation = secrets.rotation(Box::new(|_| ()));
    let (nobody, showcase) = (acme::Plan::default(), Showcase::new());
    let (acme, _) = Acme::new(data_dir.path().to_owned(), &showcase, &standing, nobody);
    match control::start(options, signals, prover, rotation, acme) {
        Ok(control) => Ok(Started { control, aggregator, _data_dir: data_dir }),
        Err(refused) => {
            aggregator.stop(Vec::new());
            Err(refused)
        }
    }
}

fn with_status(status: &Arc<Status>) -> Started {
    started(anywhere(), None, status).unwrap()
}

fn with_socket(socket: &Path) -> Started {
    started(anywhere(), Some(socket.to_owned()), &Status::new()).unwrap()
}

fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn answer(admin: SocketAddr, target: &str) -> (u16, String) {
    let answer = get(admin, target).unwrap();
    (answer.status, String::from_utf8(answer.body).unwrap())
}

/// A GET over the socket: the head and the body of its answer.
fn ask(socket: &Path, target: &str) -> (String, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}
