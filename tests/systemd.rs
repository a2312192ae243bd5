//! The gateway under systemd: what it says of itself, and sockets that were opened for it. The test
//! is the service manager.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use support::gate::{DRIVERS, Gate};
use support::http::{Connection, get};

#[test]
fn the_manager_is_told_of_the_start_of_reloads_and_of_the_end() {
    for driver in DRIVERS {
        let manager = Manager::new();
        let mut gate = Gate::start_with(driver, PACKAGE, manager.environment(&[]));
        assert_eq!(manager.next(), "READY=1");

        gate.process().signal(Signal::HUP);
        manager.expect_reload();
        let text = fs::read_to_string(gate.config_file()).unwrap();
        let made = gate.config_file().with_extension("new");
        fs::write(&made, text.replace("backend", "bakend")).unwrap();
        fs::rename(made, gate.config_file()).unwrap();
        manager.expect_reload();

        gate.stop();
        assert_eq!(manager.next(), "STOPPING=1");
        assert!(manager.has_heard_all(), "nothing follows");
    }
}

#[test]
fn the_watchdog_hears_something_while_the_gateway_answers() {
    for driver in DRIVERS {
        let manager = Manager::new();
        let told = manager.environment(&[("WATCHDOG_USEC", "400000")]);
        let mut gate = Gate::start_with(driver, PACKAGE, told);
        let words: Vec<_> = (0..4).map(|_| manager.next()).collect();
        assert_eq!(words.iter().filter(|words| *words == "WATCHDOG=1").count(), 3, "{words:?}");
        gate.stop();
    }
}

#[test]
fn a_watchdog_that_is_meant_for_another_process_hears_nothing() {
    let manager = Manager::new();
    let told = manager.environment(&[("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")]);
    let mut gate = Gate::start_with("epoll", PACKAGE, told);
    gate.stop();
    assert_eq!([manager.next(), manager.next()], ["READY=1", "STOPPING=1"]);
    assert!(manager.has_heard_all());
}

/// Connections that come before the gateway does wait for it, whichever socket they are at.
#[test]
fn sockets_that_were_opened_before_are_served() {
    for driver in DRIVERS {
        // More sockets than workers at one address, and fewer at another.
        for (workers, sockets) in [(1, 3), (2, 1)] {
            let mut gate = Gate::write(driver, &format!("workers = {workers}\n{PACKAGE}"));
            let plain = reuse_port(gate.address(), sockets);
            let admin = TcpListener::bind(gate.admin()).unwrap();
            let mut early: Vec<_> =
                (0..20).map(|_| Connection::open(gate.address()).unwrap()).collect();
            let handed: Vec<OwnedFd> = plain.into_iter().chain([admin.into()]).collect();
            let command = activated(&gate.command(), &handed, "a:b:c:d", sockets + 1);
            gate.launch_by(command);
            // The test's own would keep those alive that the gateway does not accept from.
            drop(handed);
            for connection in &mut early {
                manifest(connection);
            }
            for _ in 0..20 {
                manifest(&mut Connection::open(gate.address()).unwrap());
            }
            assert_eq!(get(gate.admin(), "/readyz").unwrap().status, 200);
            gate.stop();
        }
    }
}

#[test]
fn a_socket_that_nobody_wants_stops_the_start_in_words() {
    let gate = Gate::write("epoll", PACKAGE);
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = stranger.local_addr().unwrap().to_string();
    let (pair, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let of_tls = TcpListener::bind(gate.address()).unwrap();
    for (socket, name, expected) in [
        (OwnedFd::from(stranger), "pullgate.socket", [&*address, "(pullgate.socket)"]),
        (pair.into(), "control", ["descriptor 3 (control)", "ListenStream="]),
        (of_tls.into(), "listen_tls", ["for gateway.listen_tls", "change the socket unit"]),
    ] {
        let words = refused(&mut activated(&gate.command(), &[socket], name, 1));
        assert!(expected.iter().all(|part| words.contains(part)), "{expected:?} in {words}");
    }
    let words = refused(&mut activated(&gate.command(), &[], "", 1));
    assert!(words.contains("descriptor 3 () is not open"), "{words}");
    let mut command = activated(&gate.command(), &[], "", 1);
    let words = refused(command.env("COUNT", "many"));
    assert!(words.contains("LISTEN_FDS=many"), "{words}");
}

/// What a service manager hears.
struct Manager {
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket, folder }
    }

    /// What a process is told by its environment.
    fn environment(
        &self,
        more: &[(&'static str, &'static str)],
    ) -> impl Fn(&mut Command) + Send + Sync + 'static {
        let (path, more) = (self.folder.path().join("notify"), more.to_vec());
        move |command| {
            command.env("NOTIFY_SOCKET", &path).envs(more.iter().copied());
        }
    }

    fn next(&self) -> String {
        let mut bytes = [0; 200];
        let length = self.socket.recv(&mut bytes).expect("something is said");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    /// That and when the configuration is read again, and that this is over.
    fn expect_reload(&self) {
        let words = self.next();
        let at_us = words.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("a reload");
        assert!(at_us.parse::<u64>().unwrap() > 0);
        assert_eq!(self.next(), "READY=1");
    }

    fn has_heard_all(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let more = self.socket.recv(&mut [0]).is_ok();
        self.socket.set_nonblocking(false).unwrap();
        !more
    }
}

/// `count` sockets that listen at one address.
fn reuse_port(address: SocketAddr, count: usize) -> Vec<OwnedFd> {
    let sockets = (0..count).map(|_| {
        use socket2::{Domain, Socket, Type};
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&address.into()).unwrap();
        socket.listen(64).unwrap();
        OwnedFd::from(socket)
    });
    sockets.collect()
}

/// `command` as systemd would start it: with these sockets from descriptor 3 on.
fn activated(command: &Command, sockets: &[OwnedFd], names: &str, count: usize) -> Command {
    let mut moves = String::new();
    for (number, socket) in sockets.iter().enumerate() {
        fcntl_setfd(socket, FdFlags::empty()).unwrap();
        // Out of the way first: the descriptors of one may be the numbers of another.
        moves += &format!("exec {}<&{}; ", 200 + number, socket.as_raw_fd());
    }
    for number in 0..sockets.len() {
        moves += &format!("exec {}<&{} {}<&-; ", 3 + number, 200 + number, 200 + number);
    }
    let mut shell = Command::new("/bin/bash");
    let script = format!("{moves} LISTEN_PID=$$ LISTEN_FDS=$COUNT exec \"$@\"");
    shell.args(["-c", &script, "bash"]).arg(command.get_program()).args(command.get_args());
    shell.env("LISTEN_FDNAMES", names).env("COUNT", count.to_string());
    shell
}

fn manifest(connection: &mut Connection) {
    let headers = ["Host: registry.acme.com".to_owned()];
    let answer = connection.ask("GET", "/v2/acme/rocket/manifests/1", &headers, b"").unwrap();
    assert_eq!(answer.status, 307);
}

/// What a gateway says that does not start.
fn refused(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const PACKAGE: &str = "\n[[packages]]\ndomain = \"*\"\nname = \"acme/rocket\"\n\
                       backend = \"one.example/acme/rocket\"\ndelivery = \"redirect\"\n";
/// Long enough for a machine that builds something else at the same time.
const PATIENCE: Duration = Duration::from_secs(30);
