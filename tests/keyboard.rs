//! One whole task at the dashboard by keyboard alone, in a real browser: no click, and no focus that a script sets.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::collections::HashSet;

use support::browser::{Browser, Screen};
use support::demo::Demo;
use support::http::Connection;
use support::person::{PASSWORD, text};

/// Somebody who has nothing but a keyboard.
struct Keys {
    browser: Browser,
    /// Where the focus has been, a page and an element each.
    stops: HashSet<String>,
}

impl Keys {
    /// Goes on with `key` from stop to stop until the one of which a script says that it is meant; `it` is the
    /// element.
    fn go(&mut self, key: &str, meant: &str) {
        let is_meant = format!("(it => !!({meant}))(document.activeElement)");
        let mut passed = Vec::new();
        while passed.len() < STOPS_MAX {
            self.browser.press(key);
            let stop = self.browser.eval(STOP);
            // Behind the last stop the focus leaves the page, and comes back before the first.
            if stop.is_null() {
                continue;
            }
            let stop = stop.as_str().unwrap().to_owned();
            assert!(!stop.contains("UNSEEN"), "nobody sees where the keyboard is: {stop}");
            self.stops.insert(stop.clone());
            passed.push(stop);
            if self.browser.eval(&is_meant) == true {
                return;
            }
        }
        panic!("{key} never comes to {meant}: {passed:#?}");
    }

    /// The same, onwards.
    fn to(&mut self, meant: &str) {
        self.go("Tab", meant);
    }

    /// Goes on to a field, and types into it in place of what is there, if that is marked.
    fn write(&mut self, field: &str, words: &str) {
        self.to(&format!("it.name === '{field}'"));
        self.browser.type_text(words);
    }

    fn says(&mut self, script: &str) -> String {
        self.browser.eval(script).as_str().unwrap().to_owned()
    }

    fn address(&mut self) -> String {
        self.says("location.pathname + location.search")
    }
}

#[test]
fn from_signing_in_to_signing_out_nothing_but_a_keyboard_is_needed() {
    let (demo, mut ada) = Demo::start();
    // Where the demo's own image lives, for a package of the same.
    let settings = text(&ada.get("/settings/package/%2A/demo/hello"));
    let lives_at = settings.split("<dd><code>").nth(1).unwrap().split('<').next().unwrap();
    let mut keys = Keys { browser: Browser::start(), stops: HashSet::new() };
    keys.browser.set_screen(Screen { width: 1200, height: 900, is_dark: false });
    keys.browser.open(&format!("http://{}/", demo.admin));

    // She signs in.
    keys.write("login", "ada");
    keys.write("password", PASSWORD);
    keys.browser.leave_by("Enter");
    assert_eq!(keys.address(), "/");

    // The first stop of a page leads past what all pages begin with.
    keys.to("it.className === 'skip'");
    keys.browser.press("Enter");
    keys.browser.until("location.hash === '#main'");
    keys.to("it.closest('main')");
    let stops = "document.querySelectorAll('main a[href], main input:not([type=hidden])')";
    assert_eq!(keys.browser.eval(&format!("document.activeElement === {stops}[0]")), true);

    // A package, another stretch of time, and one country alone.
    keys.to("it.textContent === 'acme/rocket'");
    keys.browser.leave_by("Enter");
    assert_eq!(keys.address(), ROCKET);
    let whole = keys.says("document.getElementById('tile-pulls').textContent");
    keys.to("it.closest('nav.ranges') && it.search === '?range=7d'");
    keys.browser.leave_by("Enter");
    assert_eq!(keys.address(), format!("{ROCKET}?range=7d"));
    let week = keys.says("document.getElementById('tile-pulls').textContent");
    assert_ne!(week, whole);
    keys.to("it.closest('.rows') && it.textContent === 'Germany'");
    keys.browser.leave_by("Enter");
    assert_eq!(keys.address(), format!("{ROCKET}?country=DE&range=7d"));
    assert_ne!(keys.says("document.getElementById('tile-pulls').textContent"), week);

    // What is folded opens and closes; the way back has the same stops.
    keys.to("it.matches('.as-table summary')");
    let is_open = "document.querySelector('.as-table').open";
    for (key, expected) in [("Space", true), ("Enter", false), ("Enter", true)] {
        keys.browser.press(key);
        keys.browser.until(&format!("{is_open} === {expected}"));
    }
    keys.to("it.getAttribute('aria-label') === 'The chart as a table'");
    keys.go("Shift+Tab", "it.matches('.as-table summary')");
    keys.go("Shift+Tab", "it.matches('.plotted')");
    keys.browser.press("ArrowRight");
    assert!(!keys.says("document.querySelector('p.pointed').textContent").is_empty());
    keys.go("Shift+Tab", "it.closest('nav') && it.textContent === 'Packages'");
    keys.browser.leave_by("Enter");
    assert_eq!(keys.address(), "/");

    // She makes a package, has a look whether it works, and saves it.
    keys.to("it.textContent === 'Make a package'");
    keys.browser.leave_by("Enter");
    keys.write("domain", "made.example");
    keys.write("name", "demo/new");
    keys.write("backends", lives_at);
    keys.to("it.name === 'failover_on_404'");
    keys.browser.press("Space");
    keys.browser.until("document.activeElement.checked");
    keys.browser.press("Space");
    keys.browser.until("!document.activeElement.checked");
    // A list chooses what is typed.
    keys.write("delivery", "stream");
    keys.browser.until("document.activeElement.value === 'stream'");
    keys.write("description", "made without a mouse");
    keys.to("it.textContent === 'Only look whether it works'");
    keys.browser.leave_by("Space");
    let found = keys.says("document.querySelector('[role=status]').textContent");
    assert!(found.contains("exists"), "{found}");
    keys.to("it.textContent === 'Save'");
    keys.browser.leave_by("Enter");
    assert_eq!(keys.address(), "/packages/made.example/demo/new");
    let mut client = Connection::open(demo.gateway).unwrap();
    let host = ["Host: made.example".to_owned()];
    let answer = client.ask("GET", "/v2/demo/new/manifests/latest", &host, b"").unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    keys.to("it.textContent === 'Markdown: copy the badge pulls'");
    keys.browser.press("Enter");
    // Where there is no clipboard for the page, it is marked, and the keyboard is there.
    keys.browser.until(
        "[...document.querySelectorAll('.copy')]\
           .some(it => /^(Copied|Marked: copy it): copy the badge pulls$/.test(it.textContent))",
    );
    keys.go("Shift+Tab", "it.textContent === 'Settings'");
    keys.browser.leave_by("Enter");
    let kept = keys.says("[delivery.value, description.value].join(': ')");
    assert_eq!(kept, "stream: made without a mouse");

    // She signs out, and nothing is shown any more.
    keys.to("it.textContent === 'Sign out'");
    keys.browser.leave_by("Space");
    assert_eq!(keys.address(), "/sign-in");
    keys.browser.open(&format!("http://{}{ROCKET}", demo.admin));
    assert_eq!(keys.says("location.pathname"), "/sign-in");
    assert!(keys.stops.len() > 40, "{:#?}", keys.stops);
}

/// The element that has the focus, in words, and whether that is seen: it has a ring that it has not without the
/// focus, and is on the screen. Null where the page has none.
const STOP: &str = "(() => {
    const it = document.activeElement;
    if (!it || it === document.body) return null;
    const { outlineStyle, outlineWidth, outlineColor, boxShadow } = getComputedStyle(it);
    const isRinged = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2 && !/, 0\\)$/.test(outlineColor);
    const { top, bottom, left, right, width, height } = it.getBoundingClientRect();
    const isThere = width > 1 && height > 1 && bottom > 0 && right > 0 && top < innerHeight && left < innerWidth;
    const isSeen = isThere && (isRinged || boxShadow !== 'none');
    const name = it.getAttribute('aria-label') ?? it.labels?.[0]?.textContent ?? it.textContent;
    return `${isSeen ? '' : 'UNSEEN '}${location.pathname} ${it.localName} ${it.name ?? ''} ${name.trim()} \
      (${outlineStyle} ${outlineWidth} at ${[left, top, width, height].map(Math.round)})`;
  })()";
/// As many as no page of the demo has.
const STOPS_MAX: usize = 300;
const ROCKET: &str = "/packages/registry.acme.example/acme/rocket";
