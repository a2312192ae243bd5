//! `pullgate backup`: taken under load, unpacked into an empty `data_dir`, and a gateway goes on from it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use serde_json::Value;
use support::eventually::eventually;
use support::gate::{Gate, pullgate};
use support::http::Connection;
use support::person::{PACKAGES, PASSWORD, Person, ROCKET, text};
use support::process::{attempt, installed, run};
use support::program::made;

fn packages() -> String {
    PACKAGES.replace("backend", "delivery = \"redirect\"\nbackend")
}

fn pull(gate: &Gate, tag: u64) {
    let mut connection = Connection::open(gate.address()).unwrap();
    let headers = ["Host: registry.acme.com".to_owned(), "User-Agent: docker/28.5.2".to_owned()];
    let target = format!("/v2/acme/rocket/manifests/v{tag}");
    assert_eq!(connection.ask("GET", &target, &headers, b"").unwrap().status, 307);
}

fn requests(gate: &Gate) -> u64 {
    gate.pulls(&[])["totals"]["requests"].as_u64().unwrap()
}

fn backup(gate: &Gate, to: &Path) -> Result<String, String> {
    let mut command = Command::new(pullgate());
    attempt(command.arg("backup").arg("--data").arg(gate.data_dir()).arg("--to").arg(to))
}

/// A gateway that is not started, with what is in this archive.
fn unpacked(archive: &Path) -> Gate {
    let gate = Gate::write("epoll", &packages());
    fs::create_dir(gate.data_dir()).unwrap();
    let mut tar = Command::new(installed("tar"));
    run(tar.arg("-xpf").arg(archive).arg("-C").arg(gate.data_dir()));
    gate
}

#[test]
fn what_was_copied_under_load_is_all_there() {
    let room = tempfile::tempdir().unwrap();
    let mut gate = Gate::start("epoll", &packages());
    let mut ada = Person::set_up(&mut gate);
    let fields = [("organisation", "acme"), ("label", "a"), ("role", "admin"), ("days", "1")];
    let token = made(&mut ada, &fields);
    let is_over = AtomicBool::new(false);
    let under_load = room.path().join("under-load.tar");
    let (before, after) = thread::scope(|scope| {
        let (gate, is_over) = (&gate, &is_over);
        let pullers: Vec<_> = (0..2)
            .map(|worker| {
                scope.spawn(move || {
                    for tag in 0.. {
                        if is_over.load(Relaxed) {
                            return;
                        }
                        pull(gate, worker * 50 + tag % 50);
                    }
                })
            })
            .collect();
        let before = eventually(|| match requests(gate) {
            few @ ..300 => Err(format!("only {few}")),
            enough => Ok(enough),
        });
        let said = backup(gate, &under_load).unwrap();
        assert!(
            said.ends_with(" bytes\n") && said.starts_with(under_load.to_str().unwrap()),
            "{said}"
        );
        let after = eventually(|| match requests(gate) {
            still if still <= before => Err(format!("still {still}")),
            more => Ok(more),
        });
        is_over.store(true, Relaxed);
        for puller in pullers {
            puller.join().unwrap();
        }
        (before, after)
    });
    let mode = fs::metadata(&under_load).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds keys");
    let refused = backup(&gate, &under_load).unwrap_err();
    assert!(refused.contains("is there already"), "{refused}");
    let other = room.path().join("other.tar");
    fs::write(&other, "of yesterday").unwrap();
    let mut command = Command::new(pullgate());
    command.args(["backup", "--replace", "--to"]).arg(&other);
    run(command.arg("--data").arg(gate.data_dir()));
    assert!(fs::metadata(&other).unwrap().len() > 1024, "it is replaced");

    // All that was counted when it began, and nothing that there never was.
    let mut restored = unpacked(&under_load);
    restored.launch();
    let there = requests(&restored);
    assert!((before..=after).contains(&there), "{before} <= {there} <= {after}");
    restored.stop();

    // At rest it is the same to the last row; and so is that of a gateway that does not run.
    let rows = |gate: &Gate| -> Value { gate.pulls(&["--by", "tag,day"])["rows"].clone() };
    let whole = eventually(|| {
        let (first, second) = (rows(&gate), rows(&gate));
        if first == second { Ok(first) } else { Err("it still counts".to_owned()) }
    });
    let running = room.path().join("running.tar");
    backup(&gate, &running).unwrap();
    let badge = badge(&mut ada);
    gate.stop();
    let stopped = room.path().join("stopped.tar");
    backup(&gate, &stopped).unwrap();
    for archive in [&running, &stopped] {
        let mut restored = unpacked(archive);
        assert_eq!(rows(&restored), whole, "{}", archive.display());
        restored.launch();
        assert_eq!(rows(&restored), whole, "{}", archive.display());
        let mut again = Person::before(&restored);
        assert_eq!(again.sign_in("ada", PASSWORD).status, 303);
        assert_eq!(self::badge(&mut again), badge, "badges stay where they are");
        let known = [format!("Authorization: Bearer {token}")];
        let answer = Person::before(&restored).ask("GET", "/api/v1/packages", &known, b"");
        assert!(text(&answer).contains(ROCKET), "{}", text(&answer));
        pull(&restored, 1);
        eventually(|| match restored.pulls(&["--only", "tag=v1"])["totals"]["requests"].as_u64() {
            Some(many) if many > 0 => Ok(()),
            none => Err(format!("{none:?}")),
        });
        restored.stop();
    }
    // Nothing that others left behind is in there: no cache, no socket.
    let listed = run(Command::new(installed("tar")).arg("-tf").arg(&running));
    for line in listed.lines() {
        let is_known =
            ["journal.", "checkpoint.", "accounts.sqlite", "badges.key", "token.secrets", "lock"];
        assert!(is_known.iter().any(|known| line.starts_with(known)), "{listed}");
    }
    // A part of it is refused where it is unpacked.
    let bytes = fs::read(&running).unwrap();
    let cut = room.path().join("cut.tar");
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    let mut tar = Command::new(installed("tar"));
    let refused = attempt(tar.arg("-xpf").arg(&cut).arg("-C").arg(room.path())).unwrap_err();
    assert!(refused.contains("Unexpected EOF"), "{refused}");
}

/// A backup that is killed leaves nothing behind, and what is no file is not replaced.
#[test]
fn one_that_is_killed_leaves_no_file() {
    let room = tempfile::tempdir().unwrap();
    let data = tempfile::tempdir().unwrap();
    let control = UnixListener::bind(data.path().join("control.sock")).unwrap();
    for replace in [&[][..], &["--replace"]] {
        let mut command = Command::new(pullgate());
        command.arg("backup").args(replace).arg("--data").arg(data.path());
        command.arg("--to").arg(room.path().join("backup.tar")).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        // The gateway that is asked sends a part and no more: by then there is somewhere to write it.
        let (mut asked, _) = control.accept().unwrap();
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n";
        asked.write_all(head.as_bytes()).unwrap();
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        assert_eq!(fs::read_dir(room.path()).unwrap().count(), 0);
    }
    let folder = room.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let mut command = Command::new(pullgate());
    command.args(["backup", "--replace", "--data"]).arg(data.path()).arg("--to").arg(&folder);
    let refused = attempt(&mut command).unwrap_err();
    assert!(refused.contains("is no regular file"), "{refused}");
}

/// Where the package's badge is.
fn badge(person: &mut Person) -> String {
    let page = text(&person.get(&format!("/packages/{ROCKET}")));
    page.split("src=\"/badges/").nth(1).unwrap()[..24].to_owned()
}

#[test]
fn what_cannot_be_copied_is_said_and_leaves_no_file() {
    let room = tempfile::tempdir().unwrap();
    let gate = Gate::write("epoll", &packages());
    let to = room.path().join("backup.tar");
    let refused = backup(&gate, &to).unwrap_err();
    assert!(refused.contains("no such directory: --data"), "{refused}");
    fs::create_dir(gate.data_dir()).unwrap();
    let refused = backup(&gate, &to).unwrap_err();
    assert!(refused.contains("no gateway has kept anything here"), "{refused}");
    let nowhere = room.path().join("nowhere/backup.tar");
    let refused = backup(&gate, &nowhere).unwrap_err();
    assert!(refused.contains("nowhere") && refused.contains(": No such file"), "{refused}");
    // In what is copied it would copy itself, by whatever way it is named.
    let link = room.path().join("link");
    std::os::unix::fs::symlink(gate.data_dir(), &link).unwrap();
    fs::create_dir(gate.data_dir().join("below")).unwrap();
    for inside in [gate.data_dir().join("backup.tar"), link.join("below/backup.tar")] {
        let refused = backup(&gate, &inside).unwrap_err();
        assert!(refused.contains("which is to be copied: name a file elsewhere"), "{refused}");
        assert!(!inside.exists());
    }
    fs::remove_file(&link).unwrap();
    assert_eq!(fs::read_dir(room.path()).unwrap().count(), 0);
}
