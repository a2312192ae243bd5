//! What others name themselves, in a real browser: tags and user agents of whoever pulls, companies and
//! networks of a database, labels and addresses of other people. All of it is text, and no script runs.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;

use pullgate::cli::demo::places::{Network, database};
use support::browser::Browser;
use support::eventually::eventually;
use support::gate::Gate;
use support::http::Connection;
use support::person::{PACKAGES, PASSWORD, Person, ROCKET, text};
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

/// Nothing has run, and nothing is there that would.
fn is_harmless(browser: &mut Browser, path: &str) {
    assert_eq!(browser.eval("typeof pwned"), "undefined", "{path}");
    let found = browser.eval(
        "[...document.querySelectorAll('script:not([src]), [onerror], [onload], img[src=x]')].length",
    );
    assert_eq!(found, 0, "{path}");
}
