//! `pullgate package`, `people`, `token`, `alert` and `api`: what people manage at a gateway elsewhere from their own machine,
//! and what they are told where it does not go.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::io;
use std::process::Command;

use serde_json::{Value, json};
use support::gate::{Gate, pullgate};
use support::http::Connection;
use support::origin::{Origin, Talk};
use support::person::{PACKAGES, Person, ROCKET, text};
use support::process::{attempt, installed};
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

    /// What the API says to who asks for it in its own words.
    fn api(&self, arguments: &[&str]) -> Value {
        let said = self.says(&[&["api"][..], arguments].concat());
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
fn what_has_no_command_of_its_own_is_asked_of_the_api() {
    let world = World::start();
    let room = tempfile::tempdir().unwrap();
    let file = |name: &str, body: Value| {
        let path = room.path().join(name);
        fs::write(&path, body.to_string()).unwrap();
        path.into_os_string().into_string().unwrap()
    };

    // Badges: off, by the state that was just read, and on again by that of before.
    let badges = format!("badges?package={ROCKET}");
    let (off, on) = (file("off", json!({ "on": false })), file("on", json!({ "on": true })));
    let whole = world.says(&["api", "get", &badges, "--include"]);
    let (head, body) = whole.split_once("\n\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\n"), "{whole}");
    assert_eq!(serde_json::from_str::<Value>(body).unwrap()["on"], true, "{whole}");
    let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
    let switch = ["PUT", &badges, "--data", &off];
    let refused = world.by(&world.writes, &[&["api"][..], &switch].concat()).unwrap_err();
    assert!(refused.contains("exit status: 1") && refused.contains("If-Match"), "{refused}");
    let switched = world.api(&[&switch[..], &["--current"]].concat());
    assert_eq!((&switched["on"], &switched["badges"]), (&json!(false), &json!([])), "{switched}");
    let again = ["api", "PUT", &badges, "--if-match", tag, "--data", &on];
    let refused = world.by(&world.writes, &again).unwrap_err();
    assert!(refused.contains("look again"), "they are off by now: {refused}");
    let piped = format!("exec \"$0\" api PUT '{badges}' --current --data - --url \"$1\" < '{on}'");
    let mut shell = Command::new("sh");
    shell.args(["-c", &piped]).arg(pullgate()).arg(format!("http://{}", world.gate.admin()));
    let switched = attempt(shell.env("PULLGATE_TOKEN", &world.writes)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&switched).unwrap()["on"], true, "{switched}");

    // A package is what it was, by the state of another path.
    let sled = "made.example/acme/sled";
    let to = ["--domain", "made.example", "--name", "acme/sled", "--backend", "ghcr.io/acme/sled"];
    world.says(&[&["package", "create", "--organisation", "acme"][..], &to].concat());
    world.says(&["package", "edit", sled, "--backend", "quay.io/acme/sled"]);
    let history = world.api(&["GET", &format!("package/history?package={sled}")]);
    assert_eq!(history["items"].as_array().unwrap().len(), 2, "{history}");
    let change = file("change", json!({ "change": history["items"][0]["id"] }));
    let (revert, current) =
        (format!("package/revert?package={sled}"), format!("--current=package?package={sled}"));
    let reverted = world.api(&["POST", &revert, "--data", &change, &current]);
    assert_eq!(reverted["written"]["backends"], json!(["ghcr.io/acme/sled"]), "{reverted}");

    // An invitation leads nowhere any more, by its command and in the API's words.
    let acme = ["--organisation", "acme"];
    for withdraw in [&["people", "withdraw"][..], &["api", "DELETE", "--current"]] {
        let invited = world.says(&[&["people", "invite"][..], &acme].concat());
        let link = invited.lines().last().unwrap().to_owned();
        let target = link.strip_prefix(&format!("http://{}", world.gate.admin())).unwrap();
        assert_eq!(Person::before(&world.gate).get(target).status, 200, "{invited}");
        let listed = world.says(&[&["people", "invitations"][..], &acme].concat());
        assert!(listed.starts_with("id ") && listed.lines().count() == 2, "{listed}");
        let id = listed.lines().nth(1).unwrap().split(' ').next().unwrap();
        let path = format!("/api/v1/invitations/{id}?organisation=acme");
        let what = if withdraw[0] == "api" { vec![&*path] } else { [&[id][..], &acme].concat() };
        world.says(&[withdraw, &what].concat());
        assert_eq!(Person::before(&world.gate).get(target).status, 404, "{listed}");
    }

    // Everybody sees a package, and nobody else any more.
    let page = format!("/public/{ROCKET}");
    for (word, shown, status) in [("public", "yes", 200), ("private", "no", 404)] {
        let said = world.says(&["package", word, ROCKET]);
        assert!(said.lines().any(|line| line == format!("public   {shown}")), "{said}");
        assert_eq!(Person::before(&world.gate).get(&page).status, status, "{word}");
    }

    // All of that was written down.
    let audit = world.api(&["GET", "audit?organisation=acme&limit=100"]);
    let deeds = audit["items"].as_array().unwrap().iter().map(|one| one["deed"].as_str().unwrap());
    let many = |deed: &str| deeds.clone().filter(|one| *one == deed).count();
    for (deed, times) in [
        ("package.publish", 2),
        ("invitation.withdraw", 2),
        ("badges.switch", 2),
        ("package.change", 2),
    ] {
        assert_eq!(many(deed), times, "{deed}: {audit}");
    }
    // What is no JSON comes as it is.
    let export = world.says(&["api", "GET", "export?format=csv"]);
    assert!(export.starts_with("package,time,version,requests,"), "{export}");
}

/// Somebody changes a package between the two requests of who edits it.
#[test]
fn a_change_in_between_is_neither_lost_nor_overwritten() {
    let world = World::start();
    let sled = "made.example/acme/sled";
    let to = ["--domain", "made.example", "--name", "acme/sled", "--backend", "ghcr.io/acme/sled"];
    world.says(&[&["package", "create", "--organisation", "acme"][..], &to].concat());
    let (admin, token) = (world.gate.admin(), world.writes.clone());
    let between = Origin::start([127, 0, 0, 1], move |talk: &mut Talk| -> io::Result<()> {
        while let Some(request) = talk.request()? {
            let mut gateway = Connection::open(admin)?;
            let mut ask = |method: &str, fields: &[String], body: &[u8]| {
                gateway.ask(method, &request.target, fields, body)
            };
            let of = |names: &[&str]| -> Vec<String> {
                let fields = names.iter().filter_map(|name| Some((name, request.field(name)?)));
                let fields = fields.map(|(name, value)| format!("{name}: {value}"));
                fields.chain([format!("host: {admin}")]).collect()
            };
            if request.method == "PUT" {
                let seen = ask("GET", &of(&["authorization"]), b"")?;
                let mut written: Value = serde_json::from_slice(&seen.body)?;
                let mut written = written["written"].take();
                written["description"] = "what bob says".into();
                let tag = format!("if-match: {}", seen.header("etag").unwrap_or_default());
                let fields = [of(&["authorization", "content-type"]), vec![tag]].concat();
                let done = ask("PUT", &fields, written.to_string().as_bytes())?;
                assert_eq!(done.status, 200, "{}", text(&done));
            }
            let fields = of(&["authorization", "content-type", "if-match"]);
            let answer = ask(&request.method, &fields, &request.body)?;
            let status = format!("{} Said", answer.status);
            let [kind, tag] = ["content-type", "etag"]
                .map(|name| format!("{name}: {}", answer.header(name).unwrap_or_default()));
            talk.answer(&request, &status, &[&kind, &tag], &answer.body)?;
        }
        Ok(())
    });
    let mut command = Command::new(pullgate());
    command.env("PULLGATE_TOKEN", &token).args(["package", "edit", sled]);
    command.args(["--description", "what ada says", "--url"]);
    let refused = attempt(command.arg(format!("http://{}", between.address()))).unwrap_err();
    let words = "Somebody has changed it since you looked";
    assert!(refused.contains("exit status: 1") && refused.contains(words), "{refused}");
    let methods: Vec<_> = between.requests().into_iter().map(|it| it.method).collect();
    assert_eq!(methods, ["GET", "PUT"], "it is not tried again: {refused}");
    let shown = world.json(&["package", "show", sled]);
    assert_eq!(shown["written"]["description"], "what bob says", "{shown}");
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
        (&world.writes, &["people", "withdraw", "9", "--organisation", acme], "of this number"),
        (&world.reads, &["package", "public", ROCKET], "only reads"),
        (&world.writes, &["api", "GET", "../../account"], "no path of the API"),
        (&world.writes, &["api", "GET", "people?organisation=none"], "no such organisation"),
        (&world.writes, &["api", "PATCH", "people"], "invalid value 'PATCH'"),
        (&world.writes, &["api", "PUT", "people", "--data", "/nowhere"], "--data /nowhere: "),
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

/// A program has the very bytes; a terminal what they say.
#[test]
fn what_is_answered_in_the_apis_own_words_steers_no_terminal() {
    const ESC: &str = "\u{1b}[2J\u{9b}2J\u{202e}\n";
    let origin = Origin::start([127, 0, 0, 1], move |talk: &mut Talk| -> io::Result<()> {
        while let Some(request) = talk.request()? {
            talk.answer(&request, "200 OK", &["Content-Type: text/csv"], ESC.as_bytes())?;
        }
        Ok(())
    });
    let url = format!("http://{}", origin.address());
    let mut command = Command::new(pullgate());
    assert_eq!(attempt(command.args(["api", "GET", "export", "--url", &url])).unwrap(), ESC);
    let typed = format!("'{}' api GET export --include --url {url}", pullgate().display());
    let mut terminal = Command::new(installed("script"));
    let said = attempt(terminal.args(["-qec", &typed, "/dev/null"])).unwrap();
    assert!(said.contains("HTTP/1.1 200 OK"), "{said:?}");
    assert!(said.contains("\\u001b[2J\\u009b2J\\u202e"), "{said:?}");
    let steers = |one: char| one.is_control() && !matches!(one, '\r' | '\n');
    assert!(!said.contains(steers) && !said.contains('\u{202e}'), "{said:?}");
}
