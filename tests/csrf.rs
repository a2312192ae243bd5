//! What a page of another site could have a browser send: every form of the dashboard without its token and with
//! another session's, and every operation of `/api/v1` that writes, by a cookie. All is refused and nothing is changed;
//! the same form with its token is done.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use rusqlite::Connection as Database;
use rusqlite::types::Value as Cell;
use serde_json::{Value, json};
use support::deeds::{Doer, SLED, open_gate};
use support::gate::Gate;
use support::http::Answer;
use support::names::Names;
use support::people::{invited, link, number, signed_in};
use support::person::{FORM, PASSWORD, Person, ROCKET, carried, set_up_link, text, written};
use support::program::{json_of, problem, send, token_of};
use support::routes::{of_api, of_pages, without_a_row};

/// All that is kept of people, of packages and of what was done, but for what changes by itself: when somebody was seen
/// last, and how messages to webhooks go out.
fn kept(gate: &Gate) -> String {
    const CHANGING: [&str; 5] = ["seen_s", "failed", "next_s", "said", "body"];
    let database = Database::open(gate.data_dir().join("accounts.sqlite")).unwrap();
    let mut tables =
        database.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1").unwrap();
    let tables: Vec<String> =
        tables.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let mut text = String::new();
    for table in tables {
        let mut rows = database.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns: Vec<String> = rows.column_names().into_iter().map(str::to_owned).collect();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            text.push_str(&table);
            for (number, column) in columns.iter().enumerate() {
                if !CHANGING.contains(&column.as_str()) {
                    let cell: Cell = row.get(number).unwrap();
                    text.push_str(&format!(" {column}={cell:?}"));
                }
            }
            text.push('\n');
        }
    }
    text
}

/// What is sent to a gateway, and has been.
struct Scene<'g> {
    gate: &'g Gate,
    /// Tokens of forms of other sessions.
    foreign: Vec<String>,
    done: Vec<String>,
}

impl Scene<'_> {
    /// Sends this, which has the person's own token, without that and with each foreign one, and at last as it is.
    fn sends(&mut self, person: &mut Person, target: &str, fields: &[(String, String)]) -> Answer {
        let is_token = |(name, _): &&(String, String)| name == "form_token";
        let own = fields.iter().find(is_token).map(|(_, token)| token.clone()).unwrap();
        let rest: Vec<_> = fields.iter().filter(|one| !is_token(one)).cloned().collect();
        let (before, cookie) = (kept(self.gate), person.cookie.clone());
        for token in [None, Some(&String::new())].into_iter().chain(self.foreign.iter().map(Some)) {
            assert_ne!(token, Some(&own), "{target}: it is another's");
            let token = token.map(|token| ("form_token".to_owned(), token.clone()));
            let sent: Vec<_> = token.into_iter().chain(rest.iter().cloned()).collect();
            let answer = person.post(target, &sent);
            let said = text(&answer);
            assert_eq!(answer.status, 403, "{target} {sent:?}: {said}");
            assert!(said.contains("The form is out of date"), "{target} {sent:?}: {said}");
            assert_eq!(kept(self.gate), before, "{target} {sent:?}");
            assert_eq!(person.cookie, cookie, "{target} {sent:?}");
        }
        let answer = person.post(target, fields);
        let to = answer.header("location").unwrap_or_default();
        let is_done = (200..400).contains(&answer.status)
            && (!to.starts_with("/sign-in") || target == "/sign-out");
        assert!(is_done, "{target}: {} {to}\n{}", answer.status, text(&answer));
        // Only looks where a name leads leave nothing behind.
        let is_look = target.starts_with("/first-pull/");
        assert_eq!(kept(self.gate) != before, !is_look, "{target} is seen in what is kept");
        self.done.push(target.to_owned());
        answer
    }

    /// What an admin does with organisations and packages.
    fn configures(&mut self, ada: &mut Person) {
        self.does(ada, "/organisations", &[("organisation", "third")]);
        let given = [("organisation", "third"), ("domain", "third.example")];
        self.does(ada, "/organisations/domain", &given);
        let written = written("made.example", "acme/sled");
        self.fills(ada, ("/packages/new?organisation=acme", "/packages/new"), &written);
        let at = |what: &str| format!("/{what}/{SLED}");
        self.does(ada, &at("first-pull"), &[]);
        let (settings, alerts) = (at("settings/package"), at("alerts"));
        let written = [&written[..], &[("description", "of the test")]].concat();
        self.fills(ada, (&settings, &settings), &written);
        self.fills(ada, (&settings, &at("settings/revert")), &[]);
        self.does(ada, &at("settings/public"), &[("public", "on")]);
        self.does(ada, &at("settings/badges"), &[("badges", "off")]);
        let hook = [("do", "add"), ("url", "https://hooks.example/x"), ("weekly", "on")];
        let id = number(&self.does(ada, &alerts, &hook), "alert");
        for what in ["test", "remove"] {
            self.does(ada, &alerts, &[("do", what), ("alert", &id)]);
        }
        self.fills(ada, (&settings, &at("settings/remove")), &[("confirm", "yes")]);
    }
}

impl Doer for Scene<'_> {
    fn sees(&mut self, person: &mut Person, target: &str) -> Answer {
        person.get(target)
    }

    fn does(&mut self, person: &mut Person, target: &str, fields: &[(&str, &str)]) -> Answer {
        let token = person.form_token("/account");
        let fields = [&[("form_token", token.as_str())], fields].concat();
        let fields: Vec<_> =
            fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.sends(person, target, &fields)
    }

    fn fills(
        &mut self,
        person: &mut Person,
        (target, action): (&str, &str),
        fields: &[(&str, &str)],
    ) -> Answer {
        let mut all = carried(&text(&person.get(target)), action);
        all.extend(fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        self.sends(person, action, &all)
    }
}

#[test]
fn each_form_is_taken_with_its_own_token_and_with_no_other() {
    let names = Names::start();
    let mut gate = open_gate(&names);
    let first = set_up_link(&mut gate);
    let foreign = vec![Person::before(&gate).form_token(&first)];
    let mut scene = Scene { gate: &gate, foreign, done: Vec::new() };
    let mut ada = Person::before(&gate);
    let fields = [("login", "ada"), ("organisation", "acme"), ("password", PASSWORD)];
    scene.fills(&mut ada, (&first, "/set-up"), &fields);
    // Of nobody's session, and of another one of hers, who may do all.
    scene.foreign = vec![
        Person::before(&gate).form_token("/sign-in"),
        signed_in(&gate, "ada", PASSWORD).form_token("/account"),
    ];
    assert!(scene.foreign.iter().all(|token| !token.is_empty()));
    scene.has_an_account(&gate, &names);
    scene.lets_in(&gate, &mut ada, ("organisation", "acme"), "bob");
    scene.configures(&mut ada);
    let mut forms = of_pages();
    forms.retain(|(method, _)| method == "POST");
    let left = without_a_row(&forms, scene.done.iter().map(|target| ("POST", &**target)));
    assert!(left.is_empty(), "nobody sends these: {left:?}");
}

#[test]
fn a_cookie_changes_nothing_by_the_api() {
    let names = Names::start();
    let mut gate = open_gate(&names);
    let mut ada = Person::set_up(&mut gate);
    let token = token_of(&mut ada, "acme");
    invited(&gate, &mut ada, ("organisation", "acme"), "member", "bob");
    let done = |method: &str, target: &str, body: Value| {
        let answer = send(&gate, &token, method, target, &[], Some(&body));
        assert!((200..300).contains(&answer.status), "{method} {target}: {}", text(&answer));
        json_of(&answer)["id"].to_string()
    };
    let acme = |what: &str| format!("/api/v1/{what}?organisation=acme");
    let of = |what: &str, package: &str| format!("/api/v1/{what}?package={package}");
    let written = json!({
        "domain": "made.example", "name": "acme/sled", "backends": ["ghcr.io/acme/sled"],
        "delivery": "redirect", "description": "of the test"
    });
    done("POST", &acme("packages"), written.clone());
    let hook = json!({ "url": "https://hooks.example/x", "events": ["weekly"] });
    let alert = done("POST", &of("alerts", ROCKET), hook.clone());
    let admin = json!({ "role": "admin" });
    done("POST", &acme("invitations"), admin.clone());
    let more = json!({ "role": "admin", "label": "more" });
    let more_token = done("POST", &acme("tokens"), more.clone());
    done("POST", &acme("domains"), json!({ "host": "claimed.example" }));
    let read = |ada: &mut Person, target: &str| json_of(&ada.get(target))["items"].clone();
    let invitation = read(&mut ada, &acme("invitations"))[0]["id"].to_string();
    let people = read(&mut ada, &acme("people"));
    let bob = people.as_array().unwrap().iter().find(|one| one["login"] == "bob").unwrap();
    let bob = bob["account"].to_string();
    let change = read(&mut ada, &of("package/history", SLED))[0]["id"].clone();
    let key = link(&ada.act("/people/invite", &[("organisation", "acme"), ("role", "admin")]));
    let key = json!({ "key": key.rsplit('=').next().unwrap() });

    let fresh = json!({ "domain": "made.example", "name": "x", "backends": ["ghcr.io/acme/x"] });
    let table: Vec<(&str, String, Option<Value>)> = vec![
        ("POST", acme("packages"), Some(fresh)),
        ("PUT", of("package", SLED), Some(written.clone())),
        ("DELETE", of("package", SLED), None),
        ("POST", of("package/check", SLED), Some(written)),
        ("POST", of("package/revert", SLED), Some(json!({ "change": change }))),
        ("POST", of("package/first-pull", SLED), None),
        ("PUT", of("settings", SLED), Some(json!({ "public": true }))),
        ("PUT", of("badges", SLED), Some(json!({ "on": false }))),
        ("POST", acme("invitations"), Some(admin.clone())),
        ("DELETE", acme(&format!("invitations/{invitation}")), None),
        ("PUT", acme(&format!("people/{bob}")), Some(admin)),
        ("DELETE", acme(&format!("people/{bob}")), None),
        ("DELETE", acme(&format!("people/tokens/{more_token}")), None),
        ("POST", acme("tokens"), Some(more)),
        ("DELETE", format!("/api/v1/tokens/{more_token}"), None),
        ("POST", "/api/v1/organisations".to_owned(), Some(json!({ "name": "third" }))),
        ("POST", acme("domains"), Some(json!({ "host": "own.example" }))),
        ("PUT", acme("domains/claimed.example"), None),
        ("DELETE", acme("domains/claimed.example"), None),
        (
            "PUT",
            "/api/v1/domains/third.example/owner".to_owned(),
            Some(json!({ "organisation": "acme" })),
        ),
        ("POST", "/api/v1/join".to_owned(), Some(key)),
        ("POST", of("alerts", ROCKET), Some(hook.clone())),
        ("PUT", of(&format!("alerts/{alert}"), ROCKET), Some(hook)),
        ("DELETE", of(&format!("alerts/{alert}"), ROCKET), None),
        ("POST", of(&format!("alerts/{alert}/test"), ROCKET), None),
    ];
    let mut writing = of_api(&gate);
    writing.retain(|(method, _)| method != "GET");
    let left = without_a_row(&writing, table.iter().map(|(method, at, _)| (*method, &**at)));
    assert!(left.is_empty(), "nobody asks for these: {left:?}");

    let before = kept(&gate);
    let meant = "If-Match: *".to_owned();
    // As a script of a page of ours would, and as a form of anybody's can.
    let as_ours =
        ["Content-Type: application/json".to_owned(), format!("Origin: http://{}", gate.admin())];
    let kinds = [&as_ours[..], &[FORM.to_owned()], &["Content-Type: text/plain".to_owned()]];
    for (method, target, body) in table {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        for kind in kinds {
            let more = [kind, std::slice::from_ref(&meant)].concat();
            let answer = ada.ask(method, &target, &more, body.as_bytes());
            let said = format!("{method} {target} {kind:?}: {}", text(&answer));
            assert_eq!(problem(&answer), (403, "Not allowed".to_owned()), "{said}");
            assert!(said.contains("is done with a token"), "{said}");
            assert_eq!(kept(&gate), before, "{said}");
        }
    }
}
