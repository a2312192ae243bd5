//! Databases of accounts that an older pullgate has written: today's opens them, and everybody goes on as before.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use pullgate::pure::totp;
use rusqlite::Connection as Database;
use serde_json::json;
use support::eventually::eventually;
use support::gate::{Gate, UPSTREAM};
use support::http::Connection;
use support::people::{account, signed_in};
use support::person::{PACKAGES, Person, ROCKET, text, written};
use support::program::{ask, json_of};
use support::webhooks::{body, heard, is_signed, receiver};

/// What the accounts' hash was made of.
const PASSWORD: &str = "406d2e-4244e4-f508ec-54f681-61024b";
/// The second factor of who has one.
const SECOND_FACTOR: &[u8] = b"12345678901234567890";
/// The secret of the webhooks.
const SECRET: &str = "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The step to a version, as it was released.
fn step(version: u32) -> String {
    read(&format!("tests/golden/accounts/tables-{version}.sql"))
}

/// The version that today's pullgate writes.
fn newest() -> u32 {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/control/accounts");
    let names = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name());
    let is_step = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("tables-");
    u32::try_from(names.filter(is_step).count()).unwrap()
}

/// Writes the database of the first version, brought to another by the steps of that time.
fn write(gate: &Gate, version: u32) -> Database {
    fs::create_dir_all(gate.data_dir()).unwrap();
    let database = Database::open(gate.data_dir().join("accounts.sqlite")).unwrap();
    for version in 1..=version {
        database.execute_batch(&step(version)).unwrap();
        if version == 1 {
            database.execute_batch(&read("tests/golden/accounts/version-1.sql")).unwrap();
        }
        database.pragma_update(None, "user_version", version).unwrap();
    }
    database
}

/// eve, who signs in with the code of this moment.
fn with_second_factor(gate: &Gate) -> Person {
    let mut eve = Person::before(gate);
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let code = totp::code(SECOND_FACTOR, now_s / totp::STEP_S).to_string();
    let fields = [("login", "eve"), ("password", PASSWORD), ("code", &*code)];
    assert_eq!(eve.fill_in("/sign-in", &fields).status, 303);
    eve
}

fn version(gate: &Gate) -> u32 {
    let database = Database::open(gate.data_dir().join("accounts.sqlite")).unwrap();
    database.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
}

#[test]
fn a_step_that_was_released_is_never_changed() {
    for version in 1..=newest() {
        let file = format!("tables-{version}.sql");
        let golden =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/accounts").join(&file);
        let then = fs::read_to_string(golden).unwrap_or_else(|_| {
            panic!("src/control/accounts/{file} is new: copy it to tests/golden/accounts, where it stays")
        });
        let now = read(&format!("src/control/accounts/{file}"));
        assert!(
            now == then,
            "src/control/accounts/{file} is another than there are databases by: leave it as it was, and write \
             a step behind the newest"
        );
    }
}

#[test]
fn one_of_any_version_is_brought_up_to_date() {
    assert!(newest() >= 10);
    for before in 1..=newest() {
        let gate = Gate::write("epoll", PACKAGES);
        drop(write(&gate, before));
        let listed = account(&gate, &["list"]).unwrap();
        let expected = "ada\tacme admin\nbob\tacme member\neve\tother admin\npat\t\npia\t\n";
        let now = (&*listed, version(&gate));
        assert_eq!(now, (expected, newest()), "from version {before}");
    }
}

#[test]
fn all_people_of_the_first_version_go_on_as_before() {
    let mut gate = Gate::write("epoll", PACKAGES);
    drop(write(&gate, 1));
    gate.launch();
    // Who was signed in still is.
    let mut bob = Person::before(&gate);
    bob.cookie = Some(format!("pullgate={}", "a".repeat(64)));
    assert!(text(&bob.get("/")).contains(ROCKET));
    // Everybody signs in, and may what they might.
    let people = format!("/people?package={ROCKET}");
    for (login, [list, of_acme, of_rocket, history]) in [
        ("ada", [true, true, true, true]),
        ("bob", [true, true, true, false]),
        ("pat", [true, false, true, false]),
        ("pia", [true, false, true, true]),
    ] {
        let mut person = signed_in(&gate, login, PASSWORD);
        assert_eq!(text(&person.get("/")).contains(ROCKET), list, "{login}");
        for (page, expected) in [
            ("/people?organisation=acme", of_acme),
            (&*people, of_rocket),
            (&*format!("/history?package={ROCKET}"), history),
        ] {
            assert_eq!(person.get(page).status == 200, expected, "{login} {page}");
        }
    }
    // The second factor is asked for, and its codes are right.
    assert_eq!(Person::before(&gate).sign_in("eve", PASSWORD).status, 401);
    let mut eve = with_second_factor(&gate);
    let domains = text(&eve.get("/domains?organisation=other"));
    assert!(domains.contains("<li>other.example"), "{domains}");
    assert_eq!(eve.get(&people).status, 404);
    // Tokens and invitations are worth what they were.
    let token = format!("pullgate_{}", "b".repeat(64));
    let listed = json_of(&ask(&gate, &token, "GET", "/api/v1/people?organisation=acme", &[]));
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");
    let link = format!("/join?key={}", "c".repeat(64));
    assert_eq!(eve.fill_in(&link, &[]).status, 303);
    assert_eq!(eve.get("/people?organisation=acme").status, 200);
    // What was done then is told, nothing was made public, and badges are on.
    let mut ada = signed_in(&gate, "ada", PASSWORD);
    let history = text(&ada.get("/history?organisation=acme"));
    assert!(history.contains("<td>ada</td><td>invitation.make</td>"), "{history}");
    assert_eq!(Person::before(&gate).get(&format!("/public/{ROCKET}")).status, 404);
    assert!(text(&ada.get(&format!("/packages/{ROCKET}"))).contains("/pulls.svg"));
    // What came later works in it: a package is made and served, a webhook is set up.
    let fields = written("made.example", "sled");
    let made = ada.fill_in("/packages/new?organisation=acme", &fields);
    assert_eq!(made.status, 303, "{}", text(&made));
    let hook = [("do", "add"), ("url", "https://hooks.example/x"), ("weekly", "on")];
    assert_eq!(ada.act("/alerts/made.example/sled", &hook).status, 200);
    // And once more: what is up to date is left as it is.
    gate.stop();
    assert_eq!(version(&gate), newest());
    gate.launch();
    assert_eq!(ada.get("/alerts/made.example/sled").status, 200);
}

#[test]
fn packages_webhooks_and_messages_of_the_seventh_version_go_on_as_before() {
    let origin = receiver(0);
    let mut gate = Gate::write("epoll", &format!("{PACKAGES}{UPSTREAM}"));
    let rows = read("tests/golden/accounts/version-7.sql");
    let rows = rows.replace("{receiver}", &origin.address().to_string());
    write(&gate, 7).execute_batch(&rows).unwrap();
    gate.launch();
    // What waited is sent, and nothing that was heard or given up.
    let request = heard(&origin, 1).remove(0);
    assert_eq!((&*request.target, &body(&request)["text"]), ("/x", &json!("it waits")));
    assert!(is_signed(&request, SECRET));
    eventually(|| match gate.metric("pullgate_webhooks_waiting") {
        0 => Ok(()),
        many => Err(format!("{many} wait")),
    });
    assert!(origin.requests().is_empty());
    let mut ada = signed_in(&gate, "ada", PASSWORD);
    let page = text(&ada.get(&format!("/alerts/{ROCKET}")));
    assert!(page.contains("/rocket") && page.contains("pulls.surge"), "{page}");
    // The package is served, without badges; the other is public.
    let mut client = Connection::open(gate.address()).unwrap();
    let host = ["Host: other.example".to_owned()];
    let answer = client.ask("GET", "/v2/x/manifests/latest", &host, b"").unwrap();
    assert_eq!(answer.header("location"), Some("https://ghcr.io/v2/other/x/manifests/latest"));
    assert_eq!(Person::before(&gate).get(&format!("/public/{ROCKET}")).status, 200);
    let mut eve = with_second_factor(&gate);
    let page = text(&eve.get("/packages/other.example/x"));
    assert!(page.contains("The badges of this package are off"), "{page}");
    let domains = text(&eve.get("/domains?organisation=other"));
    assert!(domains.contains("claimed.example"), "{domains}");
    // Of what is over it is kept that it was told, and to whom it belonged, not what was said.
    gate.stop();
    let database = Database::open(gate.data_dir().join("accounts.sqlite")).unwrap();
    let mut rows =
        database.prepare("SELECT about, body, organisation FROM deliveries ORDER BY id").unwrap();
    let rows: Vec<(String, String, i64)> = rows
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let row = |about: &str, owner| (about.to_owned(), String::new(), owner);
    let all = [row("week 2026-01-05", 2), row("week 2026-01-12", 2), row("day 2026-01-12", 1)];
    assert_eq!(rows, all);
}
