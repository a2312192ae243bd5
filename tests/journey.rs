//! A package from when it is made until it is gone, all of it real: pages in a browser, registries, and a client.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use pullgate::cli::demo::image::Image;
use support::clients::{Client as _, Skopeo};
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate};
use support::hosts::{GATEWAY, REGISTRY};
use support::images::image;
use support::packages::{OF_FILE, config};
use support::person::{PASSWORD, set_up_link};
use support::registry::Registry;
use support::somebody::Somebody;

/// What the page has counted as it happened.
const SEEN: &str =
    "[...document.querySelectorAll('#live li')].map(it => it.textContent).join('; ')";

#[test]
fn who_pulls_follows_a_package_that_is_made_moved_and_removed_in_a_browser() {
    // Each has an image of its own under the same name.
    let [(first, one), (second, other)] = ["first", "second"].map(|seed| {
        let (registry, image) = (Registry::start(), image(seed));
        registry.push("origin/hello", "latest", &image);
        (registry, image)
    });
    assert_ne!(one.index.digest, other.index.digest);
    let lives_at = |registry: &Registry| {
        format!("http://{REGISTRY}:{}/origin/hello", registry.address().port())
    };
    let mut gate =
        Gate::start_proxy(DRIVERS[0], &config(&format!("{OF_FILE}[counting]\nwindow = \"1s\"\n")));
    let reference = format!("{GATEWAY}:{}/demo/hello:latest", gate.address().port());
    let pulls = |image: &Image| {
        let client = Skopeo::new();
        client.try_pull(&reference).unwrap_or_else(|words| panic!("{words}"));
        client.assert_holds(&reference, image);
    };
    // The page that watches hears of a pull, and its numbers follow.
    let sees = |ada: &mut Somebody, before: u64| {
        ada.browser.until("document.querySelectorAll('#live li').length === 1");
        let line = ada.browser.eval(SEEN);
        assert!(line.as_str().unwrap().contains("latestskopeo"), "{line}");
        eventually(|| match ada.pulls() {
            after if after == before + 1 => Ok(()),
            other => Err(format!("{other} pulls after {before}")),
        });
    };

    let link = set_up_link(&mut gate);
    let mut ada = Somebody::before(&gate);
    ada.open(&link);
    let account = [("login", "ada"), ("organisation", "acme"), ("password", PASSWORD)];
    ada.fill_in(&account, "Make the account");

    // She makes it, and is told what is there.
    let package = format!("{GATEWAY}/demo/hello");
    let (page, settings) = (format!("/packages/{package}"), format!("/settings/package/{package}"));
    ada.open("/packages/new?organisation=acme");
    let backend = lives_at(&first);
    let written = [("domain", GATEWAY), ("name", "demo/hello"), ("backends", &backend)];
    ada.fill_in(&written, "Only look whether it works");
    assert!(ada.text().contains("exists: 1 tag; anybody can pull it"), "{}", ada.text());
    ada.fill_in(&[], "Save");
    assert_eq!(ada.path(), page, "{}", ada.text());
    ada.watch();
    pulls(&one);
    sees(&mut ada, 0);

    // She moves it, and the same command brings what the other registry has.
    ada.open(&settings);
    let backend = lives_at(&second);
    ada.fill_in(&[("backends", &backend)], "Save");
    assert_eq!(ada.path(), page, "{}", ada.text());
    ada.watch();
    // What one client pulls again within a window is the same pull.
    eventually(|| match gate.metric("pullgate_fold_windows_open") {
        0 => Ok(()),
        open => Err(format!("{open} windows are open")),
    });
    pulls(&other);
    sees(&mut ada, 1);

    // And it goes. What was counted stays.
    ada.open(&settings);
    ada.fill_in(&[("confirm", "on")], "Remove");
    assert_eq!(ada.path(), settings, "{}", ada.text());
    let words = Skopeo::new().try_pull(&reference).unwrap_err();
    assert!(words.contains("404 (Not Found)"), "{words}");
    gate.stop();
    assert_eq!(gate.counts(&package).pulls, 2);
}
