//! `pullgate demo`, as the README tells to run it.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use support::eventually::eventually;
use support::free_address;
use support::gate::pullgate;
use support::process::{Process, attempt, installed, run};

#[test]
fn its_own_words_pull_the_image_and_each_pull_is_a_line() {
    let room = tempfile::tempdir().expect("a temporary directory");
    let (gateway, admin) = (free_address(LOOPBACK), free_address(LOOPBACK));
    let mut demo = start(room.path(), gateway, admin);

    let words = demo.words();
    let told = words.lines().find_map(|line| line.trim().strip_prefix("skopeo "));
    let mut skopeo = Command::new(installed("skopeo"));
    skopeo.args(told.expect("the command to copy").split(' '));
    run(skopeo.current_dir(room.path()));
    assert!(room.path().join("hello/index.json").exists());
    let line = eventually(|| match pulls(&demo).as_slice() {
        [line] => Ok(line.clone()),
        other => Err(format!("{other:?}")),
    });
    assert!(line.starts_with("demo/hello  latest  skopeo "), "{line}");

    demo.signal(Signal::INT);
    assert!(demo.wait().success(), "{}", demo.words());
    assert_eq!(pulls(&demo).len(), 1);
    let left = fs::read_dir(room.path().join("tmp")).expect("its temporary directory").count();
    assert_eq!(left, 0, "nothing is left behind");
    assert!(TcpStream::connect(gateway).is_err());
}

#[test]
fn a_port_that_is_taken_is_refused_with_the_flag_that_helps() {
    let holder = TcpListener::bind((LOOPBACK, 0)).expect("a loopback port");
    let taken = holder.local_addr().expect("its address").port().to_string();
    for (flag, other) in [("--port", "--admin-port"), ("--admin-port", "--port")] {
        let mut demo = Command::new(pullgate());
        demo.arg("demo").args([flag, &taken, other, "0"]);
        let words = attempt(&mut demo).expect_err("the port is taken");
        assert!(words.contains(&format!("`{flag} NUMBER`")), "{words}");
    }
}

fn start(room: &Path, gateway: SocketAddr, admin: SocketAddr) -> Process {
    let temporary = room.join("tmp");
    fs::create_dir(&temporary).expect("its temporary directory");
    let mut command = Command::new(pullgate());
    command.arg("demo").env("TMPDIR", temporary);
    command.args(["--port", &gateway.port().to_string()]);
    command.args(["--admin-port", &admin.port().to_string()]);
    let mut demo = Process::start(command, &room.join("log"));
    let log = room.join("log");
    demo.wait_ready(|| match fs::read_to_string(&log) {
        Ok(words) if words.contains(HEADING) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    demo
}

/// The lines below the heading.
fn pulls(demo: &Process) -> Vec<String> {
    let words = demo.words();
    let (_, pulls) = words.split_once(HEADING).expect("the heading");
    pulls.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

const HEADING: &str = "Pulls, as they are counted:";
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
