//! `pullgate pulls`, `export`, `explain` and `account list` of a gateway elsewhere: the same words as on its own machine, no
//! further than a token reaches, and what is said where it cannot be asked.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::process::Command;

use support::eventually::eventually;
use support::gate::{Gate, pullgate};
use support::http::Connection;
use support::person::{PACKAGES, Person, ROCKET};
use support::process::attempt;
use support::program::made;
use support::tls::Authority;

/// A gateway on which both packages were pulled, and one that has a certificate for `localhost`.
struct World {
    gate: Gate,
    tls_port: u16,
    files: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
        let files = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        authority.write(&files.path().join("ca.pem"));
        let [cert, key] = authority.identify("localhost").write(files.path(), "localhost");
        let tls = support::free_address([127, 0, 0, 1].into());
        let packages = PACKAGES.replace("backend", "delivery = \"redirect\"\nbackend");
        let config = format!(
            "listen_tls = [\"{tls}\"]\n{packages}\n[[packages]]\ndomain = \"localhost\"\n\
             name = \"a\"\nbackend = \"ghcr.io/acme/a\"\n\n\
             [[certificates]]\ncert = \"{}\"\nkey = \"{}\"\n",
            cert.display(),
            key.display(),
        );
        let gate = Gate::start("epoll", &config);
        for (name, tag) in [("rocket", "1.0"), ("rocket", "=2"), ("sledge", "1.0")] {
            let mut connection = Connection::open(gate.address()).unwrap();
            let headers =
                ["Host: registry.acme.com".to_owned(), "User-Agent: docker/28.5.2".to_owned()];
            let target = format!("/v2/acme/{name}/manifests/{}", tag.replace('=', "_"));
            assert_eq!(connection.ask("GET", &target, &headers, b"").unwrap().status, 307);
        }
        Self { gate, tls_port: tls.port(), files }
    }

    /// `pullgate` as somebody elsewhere types it, with this in `PULLGATE_TOKEN`.
    fn ask(&self, arguments: &[&str], token: Option<&str>) -> Result<String, String> {
        let url = format!("http://{}", self.gate.admin());
        attempt(remote(token).args(arguments).args(["--url", &url]))
    }

    /// The same on the gateway's own machine.
    fn here(&self, arguments: &[&str]) -> String {
        let data = self.gate.data_dir();
        attempt(Command::new(pullgate()).args(arguments).arg("--data").arg(data)).unwrap()
    }
}

fn remote(token: Option<&str>) -> Command {
    let mut command = Command::new(pullgate());
    command.env_remove("PULLGATE_TOKEN");
    command.envs(token.map(|token| ("PULLGATE_TOKEN", token)));
    command
}

#[test]
fn a_gateway_elsewhere_says_what_it_says_on_its_own_machine() {
    let mut world = World::start();
    let mut ada = Person::set_up(&mut world.gate);
    let acme = [("organisation", "acme"), ("label", "a"), ("role", "member"), ("days", "1")];
    let all = made(&mut ada, &acme);
    let package = [("package", ROCKET), ("label", "b"), ("role", "member"), ("days", "1")];
    let one = made(&mut ada, &package);
    // All three pulls are counted.
    eventually(|| match world.here(&["pulls", "--by", "tag"]) {
        table if table.contains("total") && table.matches("registry.acme.com").count() == 3 => {
            Ok(())
        }
        table => Err(table),
    });
    for arguments in [
        &["pulls"][..],
        &["pulls", "--json", "--by", "tag,day"],
        &["pulls", "--package", ROCKET, "--by", "tag", "--top", "1"],
        &["pulls", "--only", "tag=1.0", "--from", "2026-01-01", "--compare"],
        &["pulls", "--by", "tag", "--public"],
        &["export", "--format", "csv"],
        &["export", "--format", "ndjson", "--by", "client", "--package", ROCKET],
        &["explain", "registry.acme.com/acme/rocket:1.0"],
    ] {
        // Answers say until which minute they are.
        eventually(|| {
            let (there, here) = (world.ask(arguments, Some(&all))?, world.here(arguments));
            let is_same = there == here && there.contains("registry.acme.com");
            if is_same { Ok(()) } else { Err(format!("{arguments:?}: {there}\nis not\n{here}")) }
        });
    }
    // A token of one package sees that one, and sums of no other.
    let table = world.ask(&["pulls"], Some(&one)).unwrap();
    assert!(table.contains(ROCKET) && !table.contains("sledge"), "{table}");
    let total = table.lines().last().unwrap().split_whitespace().nth(1);
    assert_eq!(total, Some("2"), "{table}");
    let rows = world.ask(&["export", "--format", "csv"], Some(&one)).unwrap();
    assert!(rows.contains(ROCKET) && !rows.contains("sledge"), "{rows}");
    assert_eq!(rows.lines().count(), 3, "{rows}");
    // People of the organisations that it reaches, and of no others.
    for (login, organisation, role) in [("bob", "acme", "member"), ("eve", "moon", "admin")] {
        world.here(&["account", "create", login, "--organisation", organisation, "--role", role]);
    }
    let people = "ada\tacme admin\nbob\tacme member\n";
    assert_eq!(world.ask(&["account", "list"], Some(&all)).unwrap(), people);
    assert_eq!(world.here(&["account", "list"]), format!("{people}eve\tmoon admin\n"));
    // From a file, and typed.
    let file = world.files.path().join("token");
    fs::write(&file, format!("{one}\n")).unwrap();
    let file = file.to_str().unwrap();
    for also in [["--token-file", file], ["--token", &one]] {
        let table = world.ask(&["pulls", also[0], also[1]], None).unwrap();
        assert!(table.contains(ROCKET), "{table}");
    }
    for (arguments, token, words) in [
        (&["pulls"][..], None, "wants an API token: in the variable PULLGATE_TOKEN"),
        (&["pulls"], Some("pullgate_00"), "does not know the token"),
        (&["pulls"], Some(""), "PULLGATE_TOKEN: holds no token"),
        (&["pulls", "--token-file", "/nowhere"], None, "/nowhere: No such file"),
        (&["pulls", "--package", "registry.acme.com/acme/sledge"], Some(&one), "no such package"),
        (&["export", "--format", "csv", "--package", "a.b/c"], Some(&one), "no such package"),
        (&["explain", "registry.acme.com/acme/rocket"], Some(&one), "role does not allow"),
        (&["account", "list"], Some(&one), "reaches no organisation"),
        (&["pulls", "--from", "2026-02-01", "--to", "2026-01-01"], Some(&all), "earlier time"),
    ] {
        let refused = world.ask(arguments, token).unwrap_err();
        assert!(refused.contains(words), "{arguments:?}: {refused}");
        // What a test says of the command itself has the variable in it.
        let said = refused.split("exit status").last().unwrap();
        assert!(!said.contains(&one[9..]) && !said.contains(&all[9..]), "{said}");
    }
}

#[test]
fn who_cannot_be_asked_is_said() {
    let world = World::start();
    let ca_file = world.files.path().join("ca.pem");
    let ca_file = ca_file.to_str().unwrap();
    let tls = format!("https://localhost:{}", world.tls_port);
    let by_address = format!("https://127.0.0.1:{}", world.tls_port);
    let plain = format!("http://{}", world.gate.address());
    let nobody = format!("http://{}", support::free_address([127, 0, 0, 1].into()));
    for (url, also, words) in [
        (&*tls, &[][..], "--ca-file names certificates"),
        (&tls, &["--ca-file", ca_file], "not as a pullgate does"),
        (&tls, &["--ca-file", "/nowhere"], "/nowhere:1: --ca-file"),
        (&by_address, &["--ca-file", ca_file], "TLS: "),
        (&plain, &[], "--url is where its dashboard is"),
        (&nobody, &[], "--url is where the gateway's dashboard is"),
        ("http://no.such.host.invalid", &[], "--url is where the gateway's dashboard is"),
        ("counts.acme.com", &[], "it is like https://counts.acme.com"),
        ("http://127.0.0.1/packages", &[], "host and port are enough"),
    ] {
        let mut command = remote(Some("pullgate_00"));
        command.args(["pulls", "--url", url]).args(also);
        let refused = attempt(&mut command).unwrap_err();
        assert!(refused.contains(words), "{url} {also:?}: {refused}");
        let said = refused.split("exit status").last().unwrap();
        assert!(!said.contains("pullgate_00"), "{said}");
    }
}
