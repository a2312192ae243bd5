//! `pullgate package`, `people`, `token` and `alert`: what people manage at a gateway elsewhere from their own machine,
//! and what they are told where it does not go.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::io;
use std::process::Command;

use serde_json::{Value, json};
use support::gate::{Gate, pullgate};
use support::http::Connection;
use support::origin::{Origin, Talk};
use support::person::{PACKAGES, Person, ROCKET, text};
use support::process::attempt;
use support::program::{made, token_of};

/// A gateway, and the tokens of who manages it and of who may only read.
struct World {
    gate: Gate,
    writes: String,
    reads: String,
    one: String,
}

impl World {
    fn start() -> Self {
        let mut gate = Gate::start_with_admin("epoll", "sign_up = \"invitation\"\n", PACKAGES);
        let mut ada = Person::set_up(&mut gate);
        let of = |place, role| [place, ("label", "x"), ("role", role), ("days", "1")];
        let reads = made(&mut ada, &of(("organisation", "acme"), "member"));
        let one = made(&mut ada, &of(("package", ROCKET), "admin"));
        Self { writes: token_of(&mut ada, "acme"), reads, one, gate }
    }

    /// What somebody elsewhere is told who types this, with a token.
    fn by(&self, token: &str, arguments: &[&str]) -> Result<String, String> {
        let url = format!("http://{}", self.gate.admin());
        let mut command = Command::new(pullgate());
        command.env("PULLGATE_TOKEN", token).args(arguments).args(["--url", &url]);
        attempt(&mut command)
    }

    fn says(&self, arguments: &[&str]) -> String {
        self.by(&self.writes, arguments).unwrap_or_else(|words| panic!("{arguments:?}: {words}"))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let said = self.says(&[arguments, &["--json"]].concat());
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    fn status_of(&self, name: &str) -> u16 {
        let mut connection = Connection::open(self.gate.address()).unwrap();
        let target = format!("/v2/{name}/manifests/1.0");
        let headers = ["Host: made.example".to_owned(), "User-Agent: docker/28.5.2".to_owned()];
        connection.ask("GET", &target, &headers, b"").unwrap().status
    }
}

#[test]
fn packages_are_made_changed_and_removed_from_elsewhere() {
    let world = World::start();
    let package = "made.example/acme/sled";
    assert_eq!(world.status_of("acme/sled"), 404);
    let said = world.says(&[
        "package",
        "create",
        "--organisation",
        "acme",
        "--domain",
        "made.example",
        "--name",
        "acme/sled",
        "--backend",
        "ghcr.io/acme/sled",
        "--delivery",
        "redirect",
        "--description",
        "for winters",
    ]);
    for line in ["package          made.example/acme/sled", "served           yes", "for winters"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    assert_eq!(world.status_of("acme/sled"), 307, "it is in force");
    let listed = world.says(&["package", "list"]);
    let lines: Vec<_> = listed.lines().collect();
    assert!(lines[0].starts_with("name") && lines.len() == 4, "{listed}");
    assert!(listed.contains("made.example/acme/sled") && listed.contains("acme"), "{listed}");
    assert_eq!(world.json(&["package", "list"]).as_array().unwrap().len(), 3);

    // What is not named stays.
    let edited = world.says(&["package", "edit", package, "--backend", "quay.io/acme/sled"]);
    assert!(edited.contains("quay.io/acme/sled") && edited.contains("for winters"), "{edited}");
    let shown = world.json(&["package", "show", package]);
    assert_eq!(shown["written"]["delivery"], "redirect", "{shown}");
    assert_eq!(shown["written"]["backends"], json!(["quay.io/acme/sled"]));

    // What breaks what people type wants to be confirmed.
    let rename = ["package", "edit", package, "--name", "acme/sleigh"];
    let refused = world.by(&world.writes, &rename).unwrap_err();
    assert!(refused.contains("confirm it"), "{refused}");
    world.says(&[&rename[..], &["--confirm"]].concat());
    assert_eq!((world.status_of("acme/sled"), world.status_of("acme/sleigh")), (404, 307));
    let gone = world.says(&["package", "delete", "made.example/acme/sleigh"]);
    assert_eq!(gone, "made.example/acme/sleigh is removed\n");
    assert_eq!(world.status_of("acme/sleigh"), 404);
}

#[test]
fn people_tokens_and_webhooks_are_managed_from_elsewhere() {
    let world = World::start();
    let acme = ["--organisation", "acme"];
    let with = |words: &[&str]| world.says(&[words, &acme].concat());

    let invited = with(&["people", "invite", "--role", "member"]);
    let link = invited.lines().last().unwrap().to_owned();
    let host = format!("http://{}", world.gate.admin());
    let target = link.strip_prefix(&host).unwrap_or_else(|| panic!("{invited}"));
    let mut bob = Person::before(&world.gate);
    let fields = [("login", "bob"), ("password", support::person::PASSWORD)];
    let joined = bob.fill_in(target, &fields);
    assert_eq!(joined.status, 303, "{}", text(&joined));
    let listed = "login  role\nada    admin\nbob    member\n";
    assert_eq!(with(&["people", "list"]), listed);
    let changed = with(&["people", "role", "bob", "admin"]);
    assert!(changed.contains("role     admin"), "{changed}");
    assert_eq!(with(&["people", "remove", "bob"]), "bob has no role there any more\n");
    assert_eq!(with(&["people", "list"]), "login  role\nada    admin\n");

    let made = with(&["token", "create", "--label", "nightly", "--days", "3"]);
    let token = made.lines().last().unwrap();
    assert!(token.starts_with("pullgate_"), "{made}");
    let of_bob = ["people", "list", "--organisation", "acme"];
    assert!(world.by(token, &of_bob).unwrap().contains("ada"));
    let tokens = world.json(&["token", "list"]);
    let nightly = tokens.as_array().unwrap().iter().find(|one| one["label"] == "nightly").unwrap();
    let id = nightly["id"].to_string();
    assert!(world.says(&["token", "list"]).contains("nightly  acme"), "{tokens}");
    assert_eq!(world.says(&["token", "revoke", &id]), format!("token {id} has ended\n"));
    assert!(world.by(token, &of_bob).unwrap_err().contains("does not know the token"));

    let of = ["--package", ROCKET];
    let hook = ["alert", "add", "https://hooks.example/x", "--events", "weekly,backend"];
    let made = world.says(&[&hook[..], &of].concat());
    assert!(made.lines().last().unwrap().starts_with("whsec_"), "{made}");
    let listed = world.json(&[&["alert", "list"][..], &of].concat());
    assert_eq!(listed[0]["url"], "https://hooks.example/x");
    assert_eq!(listed[0]["events"].as_array().unwrap().len(), 2, "{listed}");
    let id = listed[0]["id"].to_string();
    let gone = world.says(&[&["alert", "remove", &id][..], &of].concat());
    assert_eq!(gone, format!("webhook {id} is told nothing any more\n"));
    let none = world.says(&[&["alert", "list"][..], &of].concat());
    assert_eq!(none.lines().count(), 1, "{none}");
}

#[test]
fn what_does_not_go_is_said_in_words() {
    let world = World::start();
    let acme = "acme";
    for (token, arguments, words) in [
        (&world.reads, &["people", "invite", "--organisation", acme][..], "only reads"),
        (&world.reads, &["package", "show", "no.such/one"], "no such package"),
        (&world.one, &["people", "list", "--organisation", acme], "no such organisation"),
        (&world.writes, &["package", "delete", ROCKET], "configuration file"),
        (&world.writes, &["package", "edit", ROCKET, "--delivery", "x"], "configuration file"),
        (&world.writes, &["package", "create", "--organisation", acme], "domain: is empty"),
        (
            &world.writes,
            &["people", "remove", "zoe", "--organisation", acme],
            "nobody called \"zoe\"",
        ),
        (&world.writes, &["people", "remove", "ada", "--organisation", acme], "admin"),
        (&world.writes, &["token", "revoke", "999"], "no such thing of this number"),
        (&world.writes, &["alert", "add", "nowhere", "--package", ROCKET], "http"),
        (
            &world.writes,
            &["alert", "add", "https://a.b/", "--package", ROCKET, "--events", "x"],
            "events: ",
        ),
        (&world.writes, &["people", "list"], "--organisation"),
    ] {
        let refused = world.by(token, arguments).unwrap_err();
        assert!(refused.contains(words), "{arguments:?}: {refused}");
        let said = refused.split("exit status").last().unwrap();
        assert!(!said.contains(&world.writes[9..]), "{said}");
    }
    let mut unasked = Command::new(pullgate());
    let refused = attempt(unasked.args(["package", "list"])).unwrap_err();
    assert!(refused.contains("--url"), "{refused}");
}

/// Whoever asks is not sure of whom they ask.
#[test]
fn what_a_gateway_elsewhere_says_steers_no_terminal() {
    const ESC: &str = "\u{1b}[2J\u{9b}2J\u{202e}";
    let acme = ["--organisation", "acme"];
    for (status, body, arguments) in [
        ("403 Forbidden", json!({ "title": ESC, "detail": ESC }), vec!["package", "list"]),
        ("200 OK", json!({ "items": [{ "name": ESC }], "next": null }), vec!["package", "list"]),
        ("200 OK", json!({ "items": [{ "name": ESC }] }), vec!["package", "list", "--json"]),
        ("200 OK", json!({ ESC: ESC, "b": [ESC] }), vec!["package", "show", "a.b/c"]),
        ("201 Created", json!({ "path": ESC }), [&["people", "invite"][..], &acme].concat()),
        (
            "201 Created",
            json!({ "id": ESC, "token": ESC }),
            [&["token", "create", "--label", "a"][..], &acme].concat(),
        ),
        (
            "201 Created",
            json!({ "id": ESC, "secret": ESC }),
            vec!["alert", "add", "https://hooks.example/x", "--package", "a.b/c"],
        ),
        ("200 OK", json!({ "steps": [ESC] }), vec!["explain", "http://a.b/v2/"]),
        ("200 OK", json!({ "rows": [{ "package": ESC }], "totals": {} }), vec!["pulls"]),
        ("200 OK", json!({ "rows": [{ "package": ESC }] }), vec!["pulls", "--json"]),
    ] {
        let kind =
            if status.starts_with('4') { "application/problem+json" } else { "application/json" };
        let (kind, text) = (format!("Content-Type: {kind}"), body.to_string());
        let origin = Origin::start([127, 0, 0, 1], move |talk: &mut Talk| -> io::Result<()> {
            while let Some(request) = talk.request()? {
                talk.answer(&request, status, &[&kind], text.as_bytes())?;
            }
            Ok(())
        });
        let url = format!("http://{}", origin.address());
        let mut command = Command::new(pullgate());
        command.env("PULLGATE_TOKEN", "pullgate_00").args(&arguments).args(["--url", &url]);
        let (Ok(said) | Err(said)) = attempt(&mut command);
        assert!(said.contains("[2J"), "{arguments:?}: {said:?}");
        let steers = |one: char| (one.is_control() && one != '\n') || one == '\u{202e}';
        assert!(!said.contains(steers), "{arguments:?}: {said:?}");
    }
}
