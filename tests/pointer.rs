//! What people do with a pointer: what is copied, what the chart says, other days, also as they are drawn over it, a
//! session that is ended, and the guide to the first pull, in a real browser.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::net::SocketAddr;

use serde_json::{Value, json};
use support::browser::{Browser, Screen};
use support::demo::{Demo, send_new};
use support::gate::Gate;
use support::people::number;
use support::person::{PACKAGES, PASSWORD, Person, text};

const ROCKET: &str = "/packages/registry.acme.example/acme/rocket";

/// Somebody who has signed in, and may read what was copied.
fn signed_in(demo: &Demo) -> Browser {
    signed_in_at(demo.admin)
}

fn signed_in_at(admin: SocketAddr) -> Browser {
    let mut browser = Browser::start();
    browser.set_screen(Screen { width: 1200, height: 900, is_dark: false });
    browser.let_read_clipboard(&format!("http://{admin}"));
    browser.open(&format!("http://{admin}/sign-in"));
    browser.leave(&format!(
        "login.value = 'ada'; password.value = '{PASSWORD}'; \
         document.querySelector('main button').click()"
    ));
    assert_eq!(browser.eval("location.pathname"), "/");
    browser
}

/// Presses what copies the element with this identifier: what is in the clipboard then.
fn copied(browser: &mut Browser, id: &str) -> Value {
    let button = format!("document.querySelector('[data-copies=\"{id}\"]')");
    browser.click(&button);
    browser.until(&format!("{button}.firstChild.data === 'Copied'"));
    browser.eval("navigator.clipboard.readText()")
}

#[test]
fn what_is_copied_is_what_is_pasted() {
    let (demo, mut ada) = Demo::start();
    let mut browser = signed_in(&demo);
    let at = |path: &str| format!("http://{}{path}", demo.admin);
    browser.open(&at(ROCKET));
    let pull = "docker pull registry.acme.example/acme/rocket";
    assert_eq!(copied(&mut browser, "pull-command"), pull);
    // Each badge in each language, folded up or not: one click.
    let page = text(&ada.get(ROCKET));
    let source = |word: &str| {
        let before = page.split(&format!("/{word}.svg\"")).next().unwrap();
        at(&format!("/badges/{}/{word}.svg", before.rsplit('/').next().unwrap()))
    };
    for (word, told) in [
        ("pulls", "pulls"),
        ("latest-month", "pulls of the last 30 days"),
        ("companies", "companies of the last month"),
        ("version", "the version that is pulled most"),
    ] {
        let url = source(word);
        for (language, expected) in [
            (1, format!("![{told}]({url})")),
            (2, format!("<img alt=\"{told}\" src=\"{url}\">")),
            (3, format!(".. image:: {url}\n   :alt: {told}")),
            (4, format!("image:{url}[{told}]")),
        ] {
            let id = format!("badge-{word}-{language}");
            assert_eq!(copied(&mut browser, &id), expected, "{id}");
        }
    }
    // What is shown once is copied whole: a token, the secret of a webhook, the link of an invitation.
    browser.open(&at("/tokens"));
    browser.eval("label.value = 'copied'; 0");
    browser.leave("document.querySelector('form[action=\"/tokens\"] button').click()");
    let token = copied(&mut browser, "made");
    let mut program = Person::at(demo.admin);
    program.also = vec![format!("Authorization: Bearer {}", token.as_str().unwrap())];
    assert_eq!(program.get("/api/v1/packages").status, 200);
    browser.open(&at("/people?organisation=acme"));
    browser.leave("document.querySelector('form[action=\"/people/invite\"] button').click()");
    let link = copied(&mut browser, "link");
    let path = link.as_str().unwrap().strip_prefix(&at("")).unwrap();
    assert_eq!(Person::at(demo.admin).get(path).status, 200);
    browser.open(&at("/first-pull/registry.acme.example/acme/rocket"));
    assert_eq!(copied(&mut browser, "pull-command"), pull);
}

#[test]
fn the_record_of_the_guide_is_copied_whole() {
    let mut gate = Gate::start_with_admin("epoll", "domain = \"counts.pg.test\"\n", PACKAGES);
    Person::set_up(&mut gate);
    let mut browser = signed_in_at(gate.admin());
    browser.open(&format!("http://{}/first-pull/registry.acme.com/acme/rocket", gate.admin()));
    assert_eq!(copied(&mut browser, "record-1"), "counts.pg.test");
}

#[test]
fn the_chart_says_what_is_pointed_at() {
    let (demo, _) = Demo::start();
    let mut browser = signed_in(&demo);
    browser.open(&format!("http://{}{ROCKET}?range=30d", demo.admin));
    let said = "document.querySelector('p.pointed').textContent";
    assert_eq!(browser.eval(said), "");
    let mut seen = Vec::new();
    for place in [0, 14, 29] {
        let bar = format!("document.querySelectorAll('.hits rect')[{place}]");
        browser.point_at(&bar);
        browser.until(&format!("{bar}.classList.contains('pointed')"));
        // The table below has the same, the newest first: time, value, and the period before.
        let row = browser.eval(&format!(
            "[...[...document.querySelectorAll('.as-table tbody tr')].at(-1 - {place}).cells]\
               .map(it => it.textContent)"
        ));
        let [time, value, before] = [0, 1, 2].map(|cell| row[cell].as_str().unwrap().to_owned());
        let words = browser.eval(said).as_str().unwrap().to_owned();
        let so_far = if place == 29 { " so far" } else { "" };
        assert_eq!(words, format!("{time}: {value}{so_far}, {before} before"));
        assert_eq!(browser.eval("document.querySelectorAll('.hits .pointed').length"), 1);
        seen.push(words);
    }
    seen.dedup();
    assert_eq!(seen.len(), 3, "{seen:?}");
    browser.point_at("document.querySelector('h1')");
    browser.until(&format!("{said} === ''"));
}

#[test]
fn other_days_are_chosen_by_their_form() {
    let (demo, mut ada) = Demo::start();
    let mut browser = signed_in(&demo);
    browser.open(&format!("http://{}{ROCKET}?range=90d&country=DE", demo.admin));
    let times = "[...document.querySelectorAll('.as-table tbody th')].map(it => it.textContent)";
    let all = browser.eval(times);
    assert_eq!(all.as_array().unwrap().len(), 90);
    let summary = "document.querySelector('.ranges summary')";
    browser.click(summary);
    assert_eq!(browser.eval("document.querySelector('.ranges details').open"), true);
    // A week in the middle of it, whose days a date field has.
    let day = |ago: i32| {
        let ago = format!("new Date(Date.now() - {ago} * 86400000).toISOString().slice(0, 10)");
        format!("({ago})")
    };
    let [from, to] = [day(46), day(40)].map(|day| browser.eval(&day));
    for (name, value) in [("from", &from), ("to", &to)] {
        browser.eval(&format!("document.querySelector('.days [name={name}]').value = {value}; 0"));
    }
    browser.leave("document.querySelector('.days button').click()");
    let query = browser.eval("Object.fromEntries(new URLSearchParams(location.search))");
    assert_eq!((&query["from"], &query["to"]), (&from, &to), "{query}");
    assert_eq!((&query["country"], &query["range"]), (&json!("DE"), &Value::Null), "{query}");
    assert_eq!(browser.eval(times).as_array().unwrap().len(), 7);
    let current = "document.querySelector('.ranges details').className";
    assert_eq!(browser.eval(current), "current");
    let filled =
        browser.eval("[...document.querySelectorAll('.days [type=date]')].map(it => it.value)");
    assert_eq!(filled, json!([from, to]));
    // It is of those days: as the same is downloaded.
    let pulls = browser.eval("document.getElementById('tile-pulls').textContent");
    let pulls: u64 = pulls.as_str().unwrap().replace(',', "").parse().unwrap();
    let (from, to) = (from.as_str().unwrap(), to.as_str().unwrap());
    let lines = text(&ada.get(&format!(
        "/download/registry.acme.example/acme/rocket?from={from}&to={to}&country=DE&by=tag&format=ndjson"
    )));
    let told = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let sum: u64 = told.map(|line| line["pulls"].as_u64().unwrap()).sum();
    assert!(pulls > 0 && pulls == sum, "{pulls} {sum}");
}

/// The days of a range of the chart are shown alone, with all that was chosen beside them.
#[test]
fn other_days_are_drawn_over_the_chart() {
    let (demo, _) = Demo::start();
    let mut browser = signed_in(&demo);
    browser.watch();
    let at = |query: &str| format!("http://{}{ROCKET}?{query}", demo.admin);
    let bar = |number: i32| format!("[...document.querySelectorAll('.hits rect')].at({number})");
    let said = "document.querySelector('p.pointed').textContent";
    let many = "document.querySelectorAll('.hits rect').length";
    let days = |browser: &mut Browser, first: i32, last: i32| {
        let (first, last) = (bar(first), bar(last));
        let days = browser
            .eval(&format!("[{first}.dataset.from, {last}.dataset.to ?? {last}.dataset.from]"));
        [0, 1].map(|end| days[end].as_str().unwrap().to_owned())
    };
    let chosen = |browser: &mut Browser| {
        let query = browser.eval("Object.fromEntries(new URLSearchParams(location.search))");
        assert_eq!((&query["country"], &query["range"]), (&json!("DE"), &Value::Null), "{query}");
        [&query["from"], &query["to"]].map(|day| day.as_str().unwrap_or_default().to_owned())
    };

    // By pointer, to the left.
    browser.open(&at("range=90d&country=DE"));
    let [from, to] = days(&mut browser, 20, 26);
    let told = browser.leave_by_drawing(&bar(26), &bar(20), said);
    assert_eq!(told, format!("{from} to {to}: let go to see these days alone"));
    assert_eq!(chosen(&mut browser), [from, to]);
    assert_eq!(browser.eval(many), 7);
    // What is pressed is no range, and one that is given up is none either.
    browser.eval("window.isTheSamePage = true");
    browser.click(&bar(3));
    browser.eval("document.querySelector('.plotted').focus()");
    for key in ["ArrowRight", "Shift+ArrowRight", "Escape", "Enter"] {
        browser.press(key);
    }
    assert_eq!(
        (browser.eval(said), browser.eval("window.isTheSamePage")),
        (json!(""), json!(true))
    );

    // By keyboard: weeks, of which the first and the last may have begun before, and ended behind.
    browser.open(&at("range=12m&country=DE"));
    let weeks = browser.eval(many).as_i64().unwrap();
    assert!(weeks > 50, "{weeks}");
    let [from, to] = days(&mut browser, -3, -1);
    browser.eval("document.querySelector('.plotted').focus()");
    for key in ["ArrowLeft", "Shift+ArrowLeft", "Shift+ArrowLeft"] {
        browser.press(key);
    }
    assert_eq!(browser.eval(said), format!("{from} to {to}: Enter shows these days alone"));
    assert_eq!(browser.eval("document.querySelectorAll('.hits .pointed').length"), 3);
    browser.leave_by("Enter");
    assert_eq!(chosen(&mut browser), [from, to]);
    let shown = browser.eval(many).as_i64().unwrap();
    assert!((15..=21).contains(&shown), "{shown} days of three weeks, of which one is not over");
    let today = browser.eval("new Date().toISOString().slice(0, 10)");
    assert_eq!(browser.eval("document.querySelector('.days [name=to]').value"), today);
    assert_eq!(browser.violations(), Vec::<String>::new());
    assert_eq!(browser.inaccessible(), "");
}

/// Hours are drawn over too: it is their days that are shown, and said to be.
#[test]
fn hours_that_are_drawn_over_are_their_days() {
    let (demo, _) = Demo::start();
    let mut browser = signed_in(&demo);
    browser.open(&format!("http://{}{ROCKET}?range=24h", demo.admin));
    let bar = |number: u64| format!("document.querySelectorAll('.hits rect')[{number}]");
    let said = "document.querySelector('p.pointed').textContent";
    // Two hours of one day.
    let first = browser.eval(
        "[...document.querySelectorAll('.hits rect')].findIndex(it => \
           it.dataset.from === it.nextElementSibling.dataset.from)",
    );
    let first = first.as_u64().unwrap();
    let day = browser.eval(&format!("{}.dataset.from", bar(first)));
    let day = day.as_str().unwrap();
    let told = browser.leave_by_drawing(&bar(first), &bar(first + 1), said);
    assert_eq!(told, format!("{day}: let go to see this day alone"));
    assert_eq!(browser.eval("location.search"), format!("?from={day}&to={day}"));
    assert_eq!(browser.eval("document.querySelectorAll('.hits rect').length"), 24);
    // Of one that is shown alone there is nothing else to see.
    browser.eval(
        "document.querySelector('form.days').addEventListener('submit', () => { window.isSent = true; }); 0",
    );
    browser.eval("document.querySelector('.plotted').focus()");
    for key in ["ArrowLeft", "Shift+ArrowLeft"] {
        browser.press(key);
    }
    assert_eq!(browser.eval(said), format!("{day}: shown already"));
    browser.press("Enter");
    assert_eq!(browser.eval("window.isSent"), Value::Null);
}

/// Pulls that come meanwhile leave a chart alone that is drawn on, also where the keyboard is elsewhere.
#[test]
fn a_finger_draws_while_pulls_come() {
    let (demo, _) = Demo::start();
    let mut browser = signed_in(&demo);
    browser.open(&format!("http://{}/packages/%2A/demo/hello?range=7d", demo.admin));
    browser.until("document.querySelector('.live').classList.contains('is-live')");
    let bar = |number: u32| format!("document.querySelectorAll('.hits rect')[{number}]");
    let [from, to] = [2, 4].map(|number| browser.eval(&format!("{}.dataset.from", bar(number))));
    browser.eval("window.chartOfBefore = document.querySelector('.plotted'); 0");
    browser.leave_by_finger(&bar(2), &bar(4), |browser| {
        assert_eq!(browser.eval("document.querySelectorAll('.hits .pointed').length"), 3);
        assert_eq!(browser.eval("document.activeElement === document.body"), true);
        let tile = "document.getElementById('tile-pulls').textContent";
        let before = browser.eval(tile);
        demo.pull(61);
        browser.until(&format!("{tile} !== {before}"));
        assert_eq!(browser.eval("window.chartOfBefore.isConnected"), true);
    });
    let query = browser.eval("Object.fromEntries(new URLSearchParams(location.search))");
    assert_eq!((&query["from"], &query["to"]), (&from, &to), "{query}");
}

/// What says less is asked for by a click, is a filter, and follows each pull as all else does.
#[test]
fn more_is_shown_where_it_is_asked_for_and_follows_each_pull() {
    let (demo, _) = Demo::start();
    let mut browser = signed_in(&demo);
    browser.watch();
    browser.open(&format!("http://{}/packages/%2A/demo/hello?range=24h", demo.admin));
    let systems = "document.querySelector('[aria-labelledby=os]')";
    let shown = format!("!!{systems}");
    assert_eq!(browser.eval(&shown), false);
    browser.leave("document.querySelector('.further a').click()");
    assert_eq!(browser.eval("location.search + location.hash"), "?more=true&range=24h#more");
    assert_eq!(browser.eval(&shown), true);
    browser.leave(&format!(
        "[...{systems}.querySelectorAll('.rows a')].find(it => it.textContent === 'linux').click()"
    ));
    assert_eq!(browser.eval("location.search"), "?os=linux&more=true&range=24h");
    browser.until("document.querySelector('.live').classList.contains('is-live')");
    let parts = [
        "document.getElementById('tile-pulls').textContent".to_owned(),
        "document.querySelector('.plotted').textContent".to_owned(),
        format!("{systems}.querySelector('td.number').textContent"),
    ];
    let before = parts.each_ref().map(|part| browser.eval(part));
    demo.pull(62);
    for (part, before) in parts.iter().zip(before) {
        browser.until(&format!("{part} !== {before}"));
    }
    assert_eq!(browser.violations(), Vec::<String>::new());
    assert_eq!(browser.inaccessible(), "");
    browser.leave("document.querySelector('.further a').click()");
    assert_eq!(browser.eval("location.search"), "?os=linux&range=24h");
    assert_eq!(browser.eval(&shown), false);
}

#[test]
fn a_session_that_is_ended_is_over() {
    let (demo, mut ada) = Demo::start();
    let mut browser = signed_in(&demo);
    let mut elsewhere = Person::at(demo.admin);
    elsewhere.also = vec!["User-Agent: Elsewhere/1.0".to_owned()];
    assert_eq!(elsewhere.sign_in("ada", PASSWORD).status, 303);
    let its_id = number(&elsewhere.get("/account"), "session");
    browser.open(&format!("http://{}/account", demo.admin));
    let ids = "[...document.querySelectorAll('[name=session]')].map(it => it.value)";
    assert_eq!(browser.eval(ids).as_array().unwrap().len(), 3);
    let end = |browser: &mut Browser, id: &str| {
        browser.leave(&format!(
            "document.querySelector('[name=session][value=\"{id}\"]').form\
               .querySelector('button').click()"
        ));
    };
    end(&mut browser, &its_id);
    assert_eq!(browser.eval("location.pathname"), "/account");
    assert_eq!(browser.eval(ids).as_array().unwrap().len(), 2);
    let door = elsewhere.get("/account");
    assert_eq!(door.status, 303);
    assert!(door.header("location").unwrap().starts_with("/sign-in"));
    assert_eq!(ada.get("/account").status, 200, "another one goes on");
    // One's own, too.
    let own = "[...document.querySelectorAll('tr')].find(it => it.textContent.includes('this one'))\
               .querySelector('[name=session]').value";
    let own = browser.eval(own).as_str().unwrap().to_owned();
    end(&mut browser, &own);
    browser.open(&format!("http://{}/account", demo.admin));
    assert_eq!(browser.eval("location.pathname"), "/sign-in");
}

#[test]
fn the_guide_sees_the_first_pull_as_it_happens() {
    let (demo, _) = Demo::start();
    let mut browser = signed_in(&demo);
    // Nobody has pulled this one yet.
    let settings = "/settings/package/%2A/demo/hello";
    browser.open(&format!("http://{}{settings}", demo.admin));
    let lives_at = browser.eval("document.querySelector('dl code').textContent");
    browser.open(&format!("http://{}/packages/new?organisation=acme", demo.admin));
    send_new(&mut browser, &lives_at);
    browser.open(&format!("http://{}/first-pull/made.example/demo/new", demo.admin));
    let shown = "document.getElementById('shown').textContent";
    let before = browser.eval(shown);
    assert!(before.as_str().unwrap().contains("Nothing was pulled yet"), "{before}");
    browser.until("document.querySelector('.live').classList.contains('is-live')");
    browser.eval("window.isTheSamePage = true");
    demo.pull_of("made.example", "demo/new", 43);
    browser.until("document.querySelectorAll('#live li').length === 1");
    let line = browser.eval("document.querySelector('#live li').textContent");
    assert!(line.as_str().unwrap().contains("latestdocker 28.5.2linux/amd64"), "{line}");
    browser.until(&format!("{shown}.includes('Counted: 1.')"));
    assert_eq!(browser.eval("window.isTheSamePage"), true, "without loading it anew");
    browser.leave("document.querySelector('#shown a').click()");
    assert_eq!(browser.eval("location.pathname"), "/packages/made.example/demo/new");
}
