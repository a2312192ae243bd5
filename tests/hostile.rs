//! What others name themselves, in a real browser: tags and user agents of whoever pulls, companies and
//! networks of a database, labels and addresses of other people, and names that nobody may have, where they are
//! refused. All of it is text, and no script runs: not even without the pages' policy, which would keep it from that.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;

use pullgate::cli::demo::places::{Network, database};
use serde_json::json;
use support::browser::Browser;
use support::eventually::eventually;
use support::gate::Gate;
use support::http::Connection;
use support::person::{PACKAGES, PASSWORD, Person, ROCKET, text, written};
use support::program::made;

/// Each would set `pwned` if it were more than text.
const COMPANY: &str = "<img src=x onerror=pwned=1>AG";
const NETWORK: &str = "\"><svg onload=pwned=1>";
const LABEL: &str = "</td><script>pwned=1</script>";
const URL: &str = "https://a.b/'\"><script>pwned=1</script>";

fn pull(gate: &Gate, reference: &str, agent: &str) -> u16 {
    let mut connection = Connection::open(gate.address()).unwrap();
    let headers = ["Host: registry.acme.com".to_owned(), format!("User-Agent: {agent}")];
    let target = format!("/v2/acme/rocket/manifests/{reference}");
    connection.ask("GET", &target, &headers, b"").unwrap().status
}

#[test]
fn whatever_others_call_themselves_is_text_in_a_browser() {
    let room = tempfile::tempdir().unwrap();
    let file = room.path().join("places.mmdb");
    let networks = std::array::from_fn(|_| Network {
        country: "DE",
        region: "",
        asn: 64_496,
        operator: NETWORK.to_owned(),
        company: COMPANY,
    });
    fs::write(&file, database(&networks)).unwrap();
    let packages = PACKAGES.replace("backend", "delivery = \"redirect\"\nbackend");
    let config = format!("{packages}\n[insight]\ndatabases = [\"{}\"]\n", file.display());
    let mut gate = Gate::start("epoll", &config);
    let mut ada = Person::set_up(&mut gate);

    // A tag has a grammar, and what breaks it is no pull. A user agent has none.
    let agents = [
        "docker/28.5.2\"><script>pwned=1</script>",
        "<script>pwned=1</script>/1.0",
        "containerd/<img src=x onerror=pwned=1>",
    ];
    for agent in agents {
        assert_eq!(pull(&gate, "1.0", agent), 307);
    }
    for tag in ["%3Cscript%3Epwned=1%3C/script%3E", "<script>pwned=1</script>", "a\"onload=pwned=1"]
    {
        assert!(pull(&gate, tag, "docker/28.5.2") >= 400, "{tag}");
    }
    let acme = [("organisation", "acme"), ("label", LABEL), ("role", "member"), ("days", "")];
    made(&mut ada, &acme);
    let fields = [("do", "add"), ("url", URL), ("weekly", "on")];
    assert_eq!(ada.act(&format!("/alerts/{ROCKET}"), &fields).status, 200);
    let switch = format!("/settings/public/{ROCKET}");
    assert_eq!(ada.act(&switch, &[("public", "on")]).status, 303);
    let rocket = format!("/packages/{ROCKET}");
    eventually(|| match text(&ada.get(&rocket)) {
        page if page.contains("onerror") => Ok(()),
        page => Err(page),
    });

    let mut browser = Browser::start();
    browser.ignore_policies();
    let at = |path: &str| format!("http://{}{path}", gate.admin());
    // Who signs in is led to where they wanted, and nowhere else.
    browser.open(&at("/sign-in?next=%2F%2Fevil.example%2F"));
    browser.eval(&format!(
        "login.value = 'ada'; password.value = '{PASSWORD}'; document.querySelector('main button').click()"
    ));
    browser.until("!!document.querySelector('.packages')");
    assert_eq!(browser.eval("location.origin + location.pathname"), at("/"));
    let all = format!("{rocket}?all=company");
    let filtered = format!("{rocket}?company=%3Cimg%20src=x%20onerror=pwned=1%3EAG");
    for (path, shown) in [
        ("/", ""),
        (rocket.as_str(), COMPANY),
        (&rocket, NETWORK),
        (&all, COMPANY),
        (&filtered, COMPANY),
        (&format!("{rocket}?tag=%3Cscript%3Epwned=1%3C/script%3E"), "<script>pwned=1</script>"),
        (
            &format!("/public/{ROCKET}?tag=%3Cscript%3Epwned=1%3C/script%3E"),
            "<script>pwned=1</script>",
        ),
        (&format!("/first-pull/{ROCKET}"), ""),
        (&format!("/alerts/{ROCKET}"), URL),
        ("/tokens", LABEL),
        ("/people?organisation=acme", LABEL),
        ("/history?organisation=acme", LABEL),
        ("/?q=%22%3E%3Cscript%3Epwned=1%3C/script%3E", "\"><script>pwned=1</script>"),
    ] {
        browser.open(&at(path));
        is_harmless(&mut browser, path);
        let all = "document.body.textContent + [...document.querySelectorAll('input')].map(it => it.value)";
        let said = browser.eval(all);
        let said = said.as_str().unwrap();
        // JSON in the history has its quotes escaped.
        assert!(said.replace("\\\"", "\"").contains(shown), "{shown} in {path}: {said}");
    }

    // As it happens, too: what a script of ours writes is text.
    browser.open(&at(&rocket));
    browser.until("document.querySelector('.live').classList.contains('is-live')");
    assert_eq!(pull(&gate, "2.0", agents[1]), 307);
    browser.until("document.querySelectorAll('#live li').length > 0");
    is_harmless(&mut browser, "live");
    // Alone in a window a badge runs nothing either.
    let page = text(&ada.get(&rocket));
    let badge = page.split("src=\"/badges/").nth(1).unwrap().split('/').next().unwrap();
    browser.open(&at(&format!(
        "/badges/{badge}/pulls.svg?label=%3C/text%3E%3Cscript%3Epwned=1%3C/script%3E&style=social"
    )));
    is_harmless(&mut browser, "badge");
    assert_eq!(browser.eval("document.documentElement.localName"), "svg");
}

/// A name that nothing may have.
const NAME: &str = "\"><img src=x onerror=pwned=1><script>pwned=1</script>";

/// Sends the form to `action` of the page that is shown, with these fields, whatever it lets people fill in.
fn send(browser: &mut Browser, action: &str, fields: &[(&str, &str)]) {
    let (action, fields) = (json!(action), json!(fields));
    browser.leave(&format!(
        "{{ const form = [...document.forms].find(it => it.getAttribute('action') === {action}); \
         for (const [name, value] of {fields}) {{ \
           [...form.elements].filter(it => it.name === name).forEach(it => it.remove()); \
           const field = document.createElement('input'); \
           Object.assign(field, {{ type: 'hidden', name, value }}); form.append(field); \
         }} \
         HTMLFormElement.prototype.submit.call(form); }}"
    ));
}

#[test]
fn names_that_nobody_may_have_are_text_where_they_are_refused() {
    let mut gate = Gate::start_with_admin("epoll", "sign_up = \"open\"\n", PACKAGES);
    let mut ada = Person::set_up(&mut gate);
    let fields = [&written("made.example", "acme/sled")[..], &[("description", NAME)]].concat();
    let made = ada.fill_in("/packages/new?organisation=acme", &fields);
    assert_eq!(made.status, 303, "{}", text(&made));
    let publish = "/settings/public/made.example/acme/sled";
    assert_eq!(ada.act(publish, &[("public", "on")]).status, 303);

    let mut browser = Browser::start();
    browser.ignore_policies();
    let at = |path: &str| format!("http://{}{path}", gate.admin());
    let said = |browser: &mut Browser| {
        let fields = "[...document.querySelectorAll('input, textarea')].map(it => it.value)";
        let all = format!("document.body.textContent + {fields}");
        browser.eval(&all).as_str().unwrap().to_owned()
    };
    // Who nobody knows, and somebody new.
    for (page, action, fields) in [
        ("/sign-in", "/sign-in", &[("login", NAME), ("password", NAME), ("next", NAME)][..]),
        (
            "/sign-up",
            "/sign-up",
            &[("login", NAME), ("organisation", NAME), ("password", PASSWORD)],
        ),
    ] {
        browser.open(&at(page));
        send(&mut browser, action, fields);
        assert!(said(&mut browser).contains(NAME), "{page}");
        is_harmless(&mut browser, page);
    }
    browser.open(&at("/sign-in"));
    send(&mut browser, "/sign-in", &[("login", "ada"), ("password", PASSWORD)]);
    assert_eq!(browser.eval("location.pathname"), "/");

    // In the addresses of pages.
    let quoted = "%22%3E%3Cimg%20src=x%20onerror=pwned=1%3E%3Cscript%3Epwned=1%3C%2Fscript%3E";
    for path in ["packages", "public", "first-pull", "alerts", "settings/package"] {
        for name in [format!("registry.acme.com/{quoted}"), format!("{quoted}/acme/rocket")] {
            let path = format!("/{path}/{name}");
            browser.open(&at(&path));
            assert_eq!(browser.eval("document.querySelectorAll('h1').length"), 1, "{path}");
            is_harmless(&mut browser, &path);
        }
    }
    for path in [
        "/people?package=",
        "/people?organisation=",
        "/history?package=",
        "/domains?organisation=",
        "/packages/new?organisation=",
        "/join?key=",
        "/set-up?key=",
        "/?sort=",
        "/?range=",
        "/api/v1/package?package=",
        "/api/v1/pulls?by=",
        "/badges/",
        "/",
    ] {
        let path = format!("{path}{quoted}");
        browser.open(&at(&path));
        is_harmless(&mut browser, &path);
    }
    for path in ["tag", "client", "company", "from", "measure", NAME] {
        let path = format!("/packages/{ROCKET}?{}={quoted}", path.replace(NAME, quoted));
        browser.open(&at(&path));
        is_harmless(&mut browser, &path);
    }

    // In forms: each is refused, and most of what was filled in is there again.
    let alerts = format!("/alerts/{ROCKET}");
    let acme = ("organisation", "acme");
    for (page, action, fields, is_shown) in [
        (
            "/packages/new?organisation=acme",
            "/packages/new",
            &[("domain", NAME), ("name", NAME), ("backends", NAME), ("id", NAME), ("act", "save")]
                [..],
            true,
        ),
        (
            "/packages/new?organisation=acme",
            "/packages/new",
            &[("delivery", NAME), ("credentials", NAME), ("act", NAME), ("name", "x")],
            false,
        ),
        ("/tokens", "/tokens", &[("label", NAME), ("days", NAME), ("role", "member")], true),
        ("/tokens", "/tokens", &[("label", "x"), ("organisation", NAME), ("role", NAME)], false),
        ("/tokens", "/tokens", &[("label", "x"), ("package", NAME), ("role", "member")], false),
        ("/people?organisation=acme", "/people/invite", &[acme, ("role", NAME)], false),
        ("/people?organisation=acme", "/people/role", &[("account", NAME), ("role", NAME)], true),
        ("/organisations", "/organisations", &[("organisation", NAME)], true),
        ("/organisations", "/organisations/domain", &[("domain", NAME), acme], true),
        ("/domains?organisation=acme", "/domains/claim", &[("domain", NAME), acme], true),
        (&alerts, &alerts, &[("url", NAME), ("do", "add"), ("weekly", "on")], true),
        (&alerts, &alerts, &[("url", "x"), ("do", NAME)], false),
    ] {
        browser.open(&at(page));
        send(&mut browser, action, fields);
        let said = said(&mut browser);
        assert!(!is_shown || said.contains(NAME), "{action}: {said}");
        is_harmless(&mut browser, action);
    }

    // A description may say anything.
    for (path, is_shown) in [
        ("/packages/made.example/acme/sled", true),
        ("/public/made.example/acme/sled", false),
        ("/settings/package/made.example/acme/sled", true),
        ("/history?package=made.example/acme/sled", true),
        ("/", false),
    ] {
        browser.open(&at(path));
        let said = said(&mut browser).replace("\\\"", "\"");
        assert!(!is_shown || said.contains(NAME), "{path}: {said}");
        is_harmless(&mut browser, path);
    }

    // It would have been noticed.
    browser.eval(&format!(
        "document.querySelector('main').insertAdjacentHTML('beforeend', {}); 0",
        json!(NAME)
    ));
    browser.until("typeof pwned === 'number'");
}

/// Nothing has run, and nothing is there that would.
fn is_harmless(browser: &mut Browser, path: &str) {
    assert_eq!(browser.eval("typeof pwned"), "undefined", "{path}");
    let found = browser.eval(
        "[...document.querySelectorAll('script:not([src]), [onerror], [onload], img[src=x]')].length",
    );
    assert_eq!(found, 0, "{path}");
}
