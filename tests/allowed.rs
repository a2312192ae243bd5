//! What people may do, done: each page and form by an admin of an organisation and by one of a package alone, and each
//! path and method of `/api/v1` by tokens of both. Who may not is in `roles.rs` and `api_roles.rs`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use serde_json::{Value, json};
use support::deeds::{Doer, SLED, open_gate};
use support::gate::Gate;
use support::http::{Answer, Connection};
use support::names::Names;
use support::people::{invited, link, number};
use support::person::{PASSWORD, Person, set_up_link, text, written};
use support::program::{json_of, made as made_token, send, token_of};
use support::routes::{of_api, of_pages, without_a_row};

/// What was done: method and target of each. It panics at what was not.
#[derive(Default)]
struct Done(Vec<(String, String)>);

impl Done {
    fn note(&mut self, method: &str, target: &str, answer: &Answer) {
        let to = answer.header("location").unwrap_or_default();
        let is_done = (200..400).contains(&answer.status)
            && (!to.starts_with("/sign-in") || target == "/sign-out");
        assert!(is_done, "{method} {target}: {} {to}\n{}", answer.status, text(answer));
        self.0.push((method.to_owned(), target.to_owned()));
    }

    /// What an admin does with a package: all but giving it another name or removing it.
    fn configures(&mut self, admin: &mut Person, package: &str) {
        let at = |what: &str| format!("/{what}/{package}");
        for all in ["/", "/live", "/download"] {
            self.sees(admin, all);
        }
        for page in ["packages", "live", "download", "first-pull", "public", "public-download"] {
            self.sees(admin, &at(page));
        }
        self.does(admin, &at("first-pull"), &[]);
        let (at_settings, reverted) = (at("settings/package"), at("settings/revert"));
        let fields = written("made.example", "acme/sled");
        let fields = [&fields[..], &[("description", "of the test")]].concat();
        self.fills(admin, (&at_settings, &at_settings), &fields);
        let is_told =
            |admin: &mut Person| text(&admin.get(&at("packages"))).contains("of the test");
        assert!(is_told(admin));
        self.fills(admin, (&at_settings, &reverted), &[]);
        assert!(!is_told(admin));
        let (publish, badges, alerts) =
            (at("settings/public"), at("settings/badges"), at("alerts"));
        for (switch, name) in [(&publish, "public"), (&badges, "badges")] {
            for to in ["on", "off", "on"] {
                self.does(admin, switch, &[(name, to)]);
            }
        }
        self.does(admin, &publish, &[("public", "off")]);
        let page = text(&self.sees(admin, &at("packages")));
        let badge = page.split("src=\"/badges/").nth(1).unwrap().split('"').next().unwrap();
        self.sees(admin, &format!("/badges/{badge}"));
        self.sees(admin, &alerts);
        let hook = [("do", "add"), ("url", "https://hooks.example/x"), ("weekly", "on")];
        let id = number(&self.does(admin, &alerts, &hook), "alert");
        for what in ["test", "remove"] {
            self.does(admin, &alerts, &[("do", what), ("alert", &id)]);
        }
    }
}

impl Doer for Done {
    fn sees(&mut self, person: &mut Person, target: &str) -> Answer {
        let answer = match target.starts_with("/live") {
            true => person.head_of(target),
            false => person.get(target),
        };
        self.note("GET", target, &answer);
        answer
    }

    fn does(&mut self, person: &mut Person, target: &str, fields: &[(&str, &str)]) -> Answer {
        let answer = person.act(target, fields);
        self.note("POST", target, &answer);
        answer
    }

    /// Fills in the form to `action` that is on the page at `target`.
    fn fills(
        &mut self,
        person: &mut Person,
        (target, action): (&str, &str),
        fields: &[(&str, &str)],
    ) -> Answer {
        let page = text(&self.sees(person, target));
        let answer = person.send_form(&page, action, fields);
        self.note("POST", action, &answer);
        answer
    }
}

#[test]
fn each_page_and_form_by_who_may() {
    let names = Names::start();
    let (mut gate, mut done) = (open_gate(&names), Done::default());
    let first = set_up_link(&mut gate);
    let mut ada = Person::before(&gate);
    let fields = [("login", "ada"), ("organisation", "acme"), ("password", PASSWORD)];
    done.fills(&mut ada, (&first, "/set-up"), &fields);

    done.has_an_account(&gate, &names);

    // Organisations, and whose a domain is.
    done.sees(&mut ada, "/organisations");
    done.does(&mut ada, "/organisations", &[("organisation", "third")]);
    let given = [("organisation", "third"), ("domain", "third.example")];
    done.does(&mut ada, "/organisations/domain", &given);
    let acme = ("organisation", "acme");

    // Packages and people, by an admin of the organisation and by one of the package.
    let fields = written("made.example", "acme/sled");
    let new = "/packages/new?organisation=acme";
    done.fills(&mut ada, (new, "/packages/new"), &fields);
    let sled = ("package", SLED);
    let mut pia = invited(&gate, &mut ada, sled, "admin", "pia");
    done.sees(&mut ada, "/people");
    done.sees(&mut ada, "/first-pull");
    done.lets_in(&gate, &mut ada, acme, "bob");
    done.lets_in(&gate, &mut ada, sled, "pat");
    done.configures(&mut ada, SLED);
    let before = done.0.len();
    done.sees(&mut pia, "/people");
    done.sees(&mut pia, "/first-pull");
    done.lets_in(&gate, &mut pia, sled, "pam");
    done.configures(&mut pia, SLED);
    let by_pia = &done.0[before..];
    let settings = format!("/settings/package/{SLED}");
    let removal = format!("/settings/remove/{SLED}");
    // What she does beside that is not for who has a package alone.
    let only_of_organisations = [
        ("GET", "/domains"),
        ("GET", "/organisations"),
        ("GET", "/packages/new"),
        ("POST", "/domains/check"),
        ("POST", "/domains/claim"),
        ("POST", "/domains/return"),
        ("POST", "/domains/withdraw"),
        ("POST", "/organisations"),
        ("POST", "/organisations/domain"),
        ("POST", "/packages/new"),
        ("POST", "/settings/remove/{*package}"),
    ];
    let own_accounts = ["/account", "/set-up", "/sign-"];
    let mut left = without_a_row(&of_pages(), by_pia.iter().map(|(m, t)| (&**m, &**t)));
    left.retain(|(method, page)| {
        !only_of_organisations.contains(&(method, page))
            && !own_accounts.iter().any(|own| page.starts_with(own))
    });
    assert!(left.is_empty(), "an admin of a package was not seen to do {left:?}");
    done.fills(&mut ada, (&settings, &removal), &[("confirm", "yes")]);
    let left = without_a_row(&of_pages(), done.0.iter().map(|(m, t)| (&**m, &**t)));
    assert!(left.is_empty(), "nobody was seen to do {left:?}");
}

/// A program, and what it has done.
struct Program<'g> {
    gate: &'g Gate,
    token: String,
    done: Vec<(String, String)>,
}

impl Program<'_> {
    /// Whatever changes something means what is there now.
    fn does(&mut self, method: &str, target: &str, body: Option<&Value>) -> Answer {
        let changes = method != "GET" && (method != "POST" || target.contains("/revert"));
        let tag: &[(&str, &str)] = if changes { &[("If-Match", "*")] } else { &[] };
        let answer = send(self.gate, &self.token, method, target, tag, body);
        let is_done = (200..300).contains(&answer.status);
        assert!(is_done, "{method} {target}: {} {}", answer.status, text(&answer));
        self.done.push((method.to_owned(), target.to_owned()));
        answer
    }

    /// Reads it, and once more as somebody who has it already.
    fn reads(&mut self, target: &str) -> Value {
        let path = target.split('?').next().unwrap();
        if path == "/api/v1/live" {
            let mut connection = Connection::open(self.gate.admin()).unwrap();
            let head = format!(
                "GET {target} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\r\n",
                self.gate.admin(),
                self.token
            );
            connection.send(head.as_bytes()).unwrap();
            let answer = connection.head().unwrap();
            assert_eq!((answer.status, answer.header("etag")), (200, None), "{target}");
            self.done.push(("GET".to_owned(), target.to_owned()));
            return Value::Null;
        }
        let answer = self.does("GET", target, None);
        if path == "/api/v1/export" {
            assert_eq!(answer.header("etag"), None, "it goes on for long");
            return Value::Null;
        }
        let tag = answer.header("etag").unwrap_or_else(|| panic!("{target} has no ETag"));
        let again = |known: &str| {
            send(self.gate, &self.token, "GET", target, &[("If-None-Match", known)], None)
        };
        // What has more than the state by which it is changed is whole each time.
        let is_whole = path == "/api/v1/badges"
            || ["/api/v1/alerts/", "/api/v1/tokens/", "/api/v1/people/tokens/"]
                .iter()
                .any(|one| path.starts_with(one));
        for known in [tag, &format!("W/{tag}"), &format!("\"other\", {tag}"), "*"] {
            let answer = again(known);
            assert_eq!(answer.header("etag"), Some(tag), "{target} {known}");
            match is_whole {
                true => assert!(answer.status == 200 && !answer.body.is_empty(), "{target}"),
                false => assert_eq!((answer.status, answer.body.len()), (304, 0), "{target}"),
            }
        }
        let other = again("\"other\"");
        assert_eq!((other.status, other.body.is_empty()), (200, false), "{target}");
        json_of(&answer)
    }

    /// All that is done with people and tokens at a place.
    fn lets_in(&mut self, place: &str, ada: &mut Person, guest: &str) {
        let at = |what: &str| format!("/api/v1/{what}?{place}");
        let member = json!({ "role": "member" });
        self.does("POST", &at("invitations"), Some(&member));
        let id = self.reads(&at("invitations"))["items"][0]["id"].clone();
        let one = at(&format!("invitations/{id}"));
        self.reads(&one);
        self.does("DELETE", &one, None);
        let (key, value) = place.split_once('=').unwrap();
        let mut person = invited(self.gate, ada, (key, value), "member", guest);
        let listed = self.reads(&at("people"));
        let is_guest = |one: &&Value| one["login"] == guest;
        let account = listed["items"].as_array().unwrap().iter().find(is_guest).unwrap();
        let one = at(&format!("people/{}", account["account"]));
        self.reads(&one);
        self.does("PUT", &one, Some(&json!({ "role": "admin" })));
        assert_eq!(person.get(&format!("/history?{place}")).status, 200);
        self.does("DELETE", &one, None);
        assert_eq!(person.get(&format!("/people?{place}")).status, 404);
        for list in ["people/tokens", "tokens"] {
            let wanted = json!({ "role": "admin", "label": "more" });
            let made = json_of(&self.does("POST", &at("tokens"), Some(&wanted)));
            self.reads(&at(list));
            let one = at(&format!("{list}/{}", made["id"]));
            self.reads(&one);
            self.does("DELETE", &one, None);
        }
    }

    /// All that is done with a package, but that it is removed.
    fn configures(&mut self, package: &str) {
        let of = |what: &str| format!("/api/v1/{what}?package={package}");
        self.reads("/api/v1/packages");
        self.reads("/api/v1/organisations");
        for what in
            ["package", "package/first-pull", "settings", "badges", "pulls", "export", "live"]
        {
            self.reads(&of(what));
        }
        let (domain, name) = package.split_once('/').unwrap();
        let written = json!({
            "domain": domain, "name": name, "backends": ["ghcr.io/acme/sled"],
            "delivery": "redirect", "description": "of the test"
        });
        self.does("POST", &of("package/check"), Some(&written));
        self.does("POST", &of("package/first-pull"), None);
        let changed = json_of(&self.does("PUT", &of("package"), Some(&written)));
        assert_eq!(changed["written"]["description"], "of the test", "{changed}");
        let change = self.reads(&of("package/history"))["items"][0]["id"].clone();
        let undone = json!({ "change": change });
        let undone = json_of(&self.does("POST", &of("package/revert"), Some(&undone)));
        assert_ne!(undone["written"]["description"], "of the test", "{undone}");
        for (what, body) in [
            ("settings", json!({ "public": true })),
            ("settings", json!({ "public": false })),
            ("badges", json!({ "on": false })),
            ("badges", json!({ "on": true })),
        ] {
            self.does("PUT", &of(what), Some(&body));
        }
        let hook = json!({ "url": "https://hooks.example/x", "events": ["weekly"] });
        let made = json_of(&self.does("POST", &of("alerts"), Some(&hook)));
        self.reads(&of("alerts"));
        let one = of(&format!("alerts/{}", made["id"]));
        self.reads(&one);
        self.does("PUT", &one, Some(&hook));
        self.does("POST", &of(&format!("alerts/{}/test", made["id"])), None);
        self.does("DELETE", &one, None);
    }
}

#[test]
fn each_path_of_the_api_by_who_may() {
    let names = Names::start();
    let mut gate = open_gate(&names);
    let mut ada = Person::set_up(&mut gate);
    let token = token_of(&mut ada, "acme");
    let mut program = Program { gate: &gate, token, done: Vec::new() };
    let written = json!({
        "domain": "made.example", "name": "acme/sled", "backends": ["ghcr.io/acme/sled"],
        "delivery": "redirect"
    });
    program.does("POST", "/api/v1/packages?organisation=acme", Some(&written));
    program.configures(SLED);
    program.lets_in("organisation=acme", &mut ada, "bob");
    program.lets_in(&format!("package={SLED}"), &mut ada, "pat");
    program.reads("/api/v1/audit?organisation=acme");
    program.reads("/api/v1/explain?url=http://registry.acme.com/v2/");
    // Organisations and domains.
    program.does("POST", "/api/v1/organisations", Some(&json!({ "name": "third" })));
    // Who runs the gateway may prove one like everybody, and is told that it is theirs.
    let own = json!({ "host": "own.example" });
    let own = json_of(&program.does("POST", "/api/v1/domains?organisation=acme", Some(&own)));
    names.say("_pullgate.own.example", &[own["record"]["text"].as_str().unwrap()]);
    let proven = "/api/v1/domains/own.example?organisation=acme";
    assert_eq!(json_of(&program.does("PUT", proven, None))["is_proven"], true);
    let owner = "/api/v1/domains/third.example/owner";
    program.reads(owner);
    program.does("PUT", owner, Some(&json!({ "organisation": "third" })));
    // An invitation, for whoever has another account.
    let page = ada.act("/people/invite", &[("organisation", "acme"), ("role", "member")]);
    let link = link(&page);
    let key = link.rsplit('=').next().unwrap();
    let mut eve = Person::before(&gate);
    let fields = [("login", "eve"), ("organisation", "moon"), ("password", PASSWORD)];
    assert_eq!(eve.fill_in("/sign-up", &fields).status, 303);
    let mut guest = Program { gate: &gate, token: token_of(&mut eve, "moon"), done: Vec::new() };
    guest.reads(&format!("/api/v1/join?key={key}"));
    guest.does("POST", "/api/v1/join", Some(&json!({ "key": key })));
    // A domain of an organisation that does not run the gateway.
    let domains = "/api/v1/domains?organisation=moon";
    let host = json!({ "host": "proven.example" });
    let claimed = json_of(&guest.does("POST", domains, Some(&host)));
    guest.reads(domains);
    let one = "/api/v1/domains/proven.example?organisation=moon";
    guest.reads(one);
    names.say("_pullgate.proven.example", &[claimed["record"]["text"].as_str().unwrap()]);
    let proven = json_of(&guest.does("PUT", one, None));
    assert_eq!(proven["is_proven"], true, "{proven}");
    guest.does("DELETE", one, None);
    program.done.extend(guest.done);

    // The same by a token of the package alone, of somebody who is admin of that alone.
    let mut pia = invited(&gate, &mut ada, ("package", SLED), "admin", "pia");
    let of_sled = [("package", SLED), ("label", "pia's"), ("role", "admin"), ("days", "1")];
    let token = made_token(&mut pia, &of_sled);
    let mut of_package = Program { gate: &gate, token, done: Vec::new() };
    of_package.configures(SLED);
    of_package.lets_in(&format!("package={SLED}"), &mut ada, "pam");
    let routes = of_api(&gate);
    let mut left = without_a_row(&routes, of_package.done.iter().map(|(m, t)| (&**m, &**t)));
    let only_of_organisations = [
        ("DELETE", "/api/v1/package"),
        ("GET", "/api/v1/audit"),
        ("GET", "/api/v1/explain"),
        ("GET", "/api/v1/join"),
        ("POST", "/api/v1/join"),
        ("POST", "/api/v1/organisations"),
        ("POST", "/api/v1/packages"),
    ];
    left.retain(|(method, path)| {
        !only_of_organisations.contains(&(method, path)) && !path.starts_with("/api/v1/domains")
    });
    assert!(left.is_empty(), "an admin of a package was not seen to do {left:?}");

    program.does("DELETE", &format!("/api/v1/package?package={SLED}"), None);
    let left = without_a_row(&routes, program.done.iter().map(|(m, t)| (&**m, &**t)));
    assert!(left.is_empty(), "nobody was seen to do {left:?}");
}
