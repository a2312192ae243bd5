//! What people do at the dashboard, in a real browser by the pages alone: the first account, letting somebody in,
//! roles, and a package from when it is made until it is gone. Each form on the way is for everybody.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;

use support::eventually::eventually;
use support::gate::Gate;
use support::packages::{OF_FILE, config, leads};
use support::person::{PASSWORD, set_up_link};
use support::somebody::Somebody;

/// The row of the table that is somebody's, as a script finds it.
fn row_of(login: &str) -> String {
    format!(
        "[...document.querySelectorAll('tr')].find(it => it.cells[0].textContent === '{login}')"
    )
}

#[test]
fn from_the_first_account_to_a_package_that_comes_and_goes_by_pages_alone() {
    let gate_config = config(OF_FILE);
    let mut gate = Gate::start_with_admin("epoll", "sign_up = \"open\"\n", &gate_config);
    let (mut ada, mut bob) = (Somebody::before(&gate), Somebody::before(&gate));

    // The first account, by the link in the log.
    let link = set_up_link(&mut gate);
    ada.open(&link);
    ada.is_for_everybody("set-up");
    // What is refused is there again, and the keyboard is where something is wrong.
    let weak = [("login", "ada"), ("organisation", "acme"), ("password", "Password1234")];
    ada.fill_in(&weak, "Make the account");
    ada.browser.until("document.activeElement.id === 'password'");
    let kept = ada.browser.eval("login.value + ' ' + organisation.value + ' ' + password.value");
    assert_eq!(kept, "ada acme ");
    ada.is_for_everybody("set-up-refused");
    ada.fill_in(&[("password", PASSWORD)], "Make the account");
    assert_eq!(ada.path(), "/first-pull/registry.acme.com/acme/rocket");
    bob.open("/sign-up");
    assert_eq!(bob.heading(), "Make an account");
    bob.is_for_everybody("sign-up");

    // She lets somebody in, who makes an account by the link.
    ada.open("/people?organisation=acme");
    ada.fill_in(&[], "Make a link");
    let told = ada.text();
    let at = told.find("/join?key=").unwrap_or_else(|| panic!("no link: {told}"));
    let link = told[at..].split_whitespace().next().unwrap();
    ada.browser.eval("document.querySelector('[data-copies=link]').click()");
    // Where the browser has no clipboard for the page, it is marked.
    ada.browser
        .until("/^(Copied|Marked: copy it)$/.test(document.querySelector('.copy').textContent)");
    bob.open(link);
    assert!(bob.text().contains("ada invites you to acme, as member."), "{}", bob.text());
    bob.is_for_everybody("join");
    bob.fill_in(&[("login", "bob"), ("password", PASSWORD)], "Make an account and join");
    assert_eq!(bob.path(), "/");
    assert!(bob.text().contains("acme/rocket"), "{}", bob.text());
    ada.open(link);
    assert_eq!(ada.heading(), "Not found", "a link works once");

    // A member sees; once she makes him an admin, he changes.
    let new = "/packages/new?organisation=acme";
    bob.open(new);
    assert_eq!(bob.heading(), "Not allowed");
    ada.open("/people?organisation=acme");
    ada.press(&row_of("bob"), "Make admin");
    let roles = ada.browser.eval(&format!("{}.cells[1].textContent", row_of("bob")));
    assert_eq!(roles, "admin");
    bob.open(new);

    // He makes a package, although nobody answers where it is to live, and people are sent there.
    let package = "registry.acme.com/acme/sledge";
    let fields = [
        ("domain", "registry.acme.com"),
        ("name", "acme/sledge"),
        ("backends", "http://127.1.1.1/v1"),
        ("delivery", "redirect"),
    ];
    bob.fill_in(&fields, "Save");
    assert!(bob.text().contains("Nothing was changed yet"), "{}", bob.text());
    bob.is_for_everybody("package-anyway");
    leads(&gate, package, None);
    bob.fill_in(&[("anyway", "on")], "Save");
    assert_eq!(bob.path(), format!("/packages/{package}"));
    leads(&gate, package, Some("127.1.1.1/v2/v1"));

    // He moves it to another registry.
    bob.open(&format!("/settings/package/{package}"));
    bob.fill_in(&[("backends", "http://127.1.1.2/v1")], "Save");
    bob.fill_in(&[("anyway", "on")], "Save");
    assert_eq!(bob.path(), format!("/packages/{package}"), "{}", bob.text());
    leads(&gate, package, Some("127.1.1.2/v2/v1"));

    // What was counted is downloaded.
    let folder = tempfile::tempdir().unwrap();
    bob.browser.keep_downloads(folder.path());
    let csv = "document.querySelector('main a[download][href*=\"format=csv\"]')";
    eventually(|| {
        bob.open(&format!("/packages/{package}"));
        match bob.browser.eval(&format!("!!{csv}")) == true {
            true => Ok(()),
            false => Err("nothing to download".to_owned()),
        }
    });
    bob.browser.eval(&format!("{csv}.click()"));
    let kept = eventually(|| {
        let files = fs::read_dir(folder.path()).unwrap().map(|one| one.unwrap().path());
        let whole = files.filter(|path| path.extension().is_some_and(|kind| kind == "csv"));
        let texts = whole.filter_map(|path| fs::read_to_string(path).ok());
        texts.last().filter(|text| text.contains('\n')).ok_or_else(|| "no file yet".to_owned())
    });
    assert!(kept.starts_with("package,"), "{kept}");
    assert!(kept.lines().any(|line| line.starts_with(package)), "{kept}");

    // Another name breaks what people type, so he is asked; and so he is when he takes that back.
    bob.open(&format!("/settings/package/{package}"));
    bob.fill_in(&[("name", "acme/sleigh")], "Save");
    let alert = bob.text();
    assert!(alert.contains("gets an error from then on"), "{alert}");
    bob.fill_in(&[("confirm", "on"), ("anyway", "on")], "Save");
    let renamed = "registry.acme.com/acme/sleigh";
    assert_eq!(bob.path(), format!("/packages/{renamed}"), "{}", bob.text());
    leads(&gate, renamed, Some("127.1.1.2/v2/v1"));
    leads(&gate, package, None);
    bob.open(&format!("/settings/package/{renamed}"));
    let latest = "document.querySelector('main tbody tr')";
    bob.press(latest, "As it was before");
    assert_eq!(bob.heading(), "This breaks what people type");
    bob.is_for_everybody("confirm");
    bob.fill_in(&[], "Do it");
    assert_eq!(bob.path(), format!("/settings/package/{package}"), "{}", bob.text());
    leads(&gate, package, Some("127.1.1.2/v2/v1"));
    leads(&gate, renamed, None);

    // And it goes. Ada sees who did all that.
    bob.fill_in(&[("confirm", "on")], "Remove");
    leads(&gate, package, None);
    ada.open("/history?organisation=acme");
    let told = ada.text();
    for deed in ["package.make", "package.change", "package.remove", "member.change"] {
        assert!(told.contains(deed), "{deed}: {told}");
    }
    for change in [
        "login: bobrole: member → admin",
        "backends: http://127.1.1.1/v1 → http://127.1.1.2/v1",
        "name: acme/sledge → acme/sleigh",
        "name: acme/sledge (removed)",
    ] {
        assert!(told.contains(change), "{change}: {told}");
    }
    assert!(!told.contains('{'), "{told}");
}
