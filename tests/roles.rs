//! Who may do what at the dashboard: every page and form × everybody, and what belongs to others.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::net::IpAddr;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use pullgate::pure::totp;
use support::eventually::eventually;
use support::gate::{Gate, pullgate};
use support::http::Connection;
use support::people::{account, account_of, invited, link, number, password, signed_in};
use support::person::{PACKAGES, PASSWORD, Person, ROCKET, SLEDGE, text};
use support::process::{attempt, run};
use support::routes::{of_pages, without_a_row};

/// A gateway where people who are invited make their own accounts. Names are asked for where nobody answers.
fn gate() -> Gate {
    Gate::start_with_admin_and("epoll", "sign_up = \"invitation\"\n", PACKAGES, |command| {
        command.args(["--resolver", "127.0.0.1:9"]);
    })
}

struct World {
    gate: Gate,
    ada: Person,
    bob: Person,
    eve: Person,
    pat: Person,
    pia: Person,
    mia: Person,
}

/// ada is acme's admin, bob its member, eve admin and mia member of another organisation, pat member and pia admin of
/// one package.
fn world() -> World {
    let mut gate = gate();
    let mut ada = Person::set_up(&mut gate);
    let bob = invited(&gate, &mut ada, ("organisation", "acme"), "member", "bob");
    let pat = invited(&gate, &mut ada, ("package", ROCKET), "member", "pat");
    let pia = invited(&gate, &mut ada, ("package", ROCKET), "admin", "pia");
    let secret = password(&gate, &["create", "eve", "--organisation", "other"]);
    let mut eve = signed_in(&gate, "eve", &secret);
    let mut mia = invited(&gate, &mut eve, ("organisation", "other"), "member", "mia");
    // From another network: who fails to sign in as often as all of these waits.
    mia.from = Some(IpAddr::from([127, 0, 0, 9]));
    World { gate, ada, bob, eve, pat, pia, mia }
}

#[test]
fn every_page_and_form_by_everybody() {
    let mut world = world();
    let acme = ("organisation", "acme");
    let rocket = ("package", ROCKET);
    let bobs = account_of(&world.ada.get("/people?organisation=acme"), "bob");
    let pats = account_of(&world.ada.get(&format!("/people?package={ROCKET}")), "pat");
    let bob_again = ("account", bobs.as_str());
    let pat_again = ("account", pats.as_str());
    let member = ("role", "member");
    let admin = ("role", "admin");
    let label = ("label", "report");
    let domain = ("domain", "registry.acme.com");
    let people_of_rocket = format!("/people?package={ROCKET}");
    let (alerts, first_pull) = (format!("/alerts/{ROCKET}"), format!("/first-pull/{ROCKET}"));
    let (public_page, publish) =
        (format!("/public/{ROCKET}"), format!("/settings/public/{ROCKET}"));
    let public_download = format!("/public-download/{ROCKET}");
    let (written, removed) =
        (format!("/settings/package/{ROCKET}"), format!("/settings/remove/{ROCKET}"));
    let reverted = format!("/settings/revert/{ROCKET}");
    let [package, live, download, badges] =
        ["packages", "live", "download", "settings/badges"].map(|at| format!("/{at}/{ROCKET}"));
    let history_of_rocket = format!("/history?package={ROCKET}");
    let wrong_password = ("password", "not the right one");
    // Each row: nobody, acme's member, acme's admin, another's admin, the package's member and admin, another's member.
    // `door` is sent to sign in.
    type Row<'r> = (&'r str, &'r str, Vec<(&'r str, &'r str)>, &'r str);
    #[rustfmt::skip]
    let table: Vec<Row<'_>> = vec![
        ("GET", "/", vec![], "door 200 200 200 200 200 200"),
        ("GET", "/packages/new?organisation=acme", vec![], "door 403 200 404 404 404 404"),
        ("GET", "/packages/new?organisation=nowhere", vec![], "door 404 404 404 404 404 404"),
        ("POST", "/packages/new", vec![acme, ("name", "x")], "door 403 400 404 404 404 404"),
        ("GET", &written, vec![], "door 200 200 404 200 200 404"),
        ("POST", &written, vec![], "door 403 409 404 403 409 404"),
        ("POST", &removed, vec![], "door 403 409 404 403 403 404"),
        ("POST", &reverted, vec![("change", "1")], "door 403 404 404 403 404 404"),
        ("GET", "/sign-in", vec![], "200 303 303 303 303 303 303"),
        ("GET", "/account", vec![], "door 200 200 200 200 200 200"),
        ("GET", "/account/second-factor", vec![], "door 200 200 200 200 200 200"),
        ("GET", "/tokens", vec![], "door 200 200 200 200 200 200"),
        ("GET", "/organisations", vec![], "door 200 200 404 404 404 404"),
        ("POST", "/organisations", vec![("organisation", "third")], "door 403 303 404 404 404 404"),
        ("POST", "/organisations/domain", vec![acme, domain], "door 403 303 404 404 404 404"),
        ("GET", "/sign-up", vec![], "404 404 404 404 404 404 404"),
        ("POST", "/sign-up", vec![("login", "x")], "403 404 404 404 404 404 404"),
        ("GET", "/domains?organisation=acme", vec![], "door 200 200 404 404 404 404"),
        ("GET", "/domains?organisation=nowhere", vec![], "door 404 404 404 404 404 404"),
        ("POST", "/domains/claim", vec![acme, domain], "door 403 403 404 404 404 404"),
        ("POST", "/domains/check", vec![acme, domain], "door 403 403 404 404 404 404"),
        ("POST", "/domains/withdraw", vec![acme, domain], "door 403 404 404 404 404 404"),
        ("POST", "/domains/return", vec![acme, domain], "door 403 404 404 404 404 404"),
        ("GET", "/people", vec![], "door 200 200 200 200 200 200"),
        ("GET", "/people?organisation=acme", vec![], "door 200 200 404 404 404 404"),
        ("GET", "/people?organisation=nowhere", vec![], "door 404 404 404 404 404 404"),
        ("GET", &people_of_rocket, vec![], "door 200 200 404 200 200 404"),
        ("GET", "/people?package=registry.acme.com/acme/sledge", vec![], "door 200 200 404 404 404 404"),
        ("GET", "/people?package=registry.acme.com/acme/nowhere", vec![], "door 404 404 404 404 404 404"),
        ("GET", "/first-pull", vec![], "door 303 303 303 303 303 303"),
        ("GET", &first_pull, vec![], "door 200 200 404 200 200 404"),
        ("GET", "/first-pull/registry.acme.com/acme/nowhere", vec![], "door 404 404 404 404 404 404"),
        ("POST", &first_pull, vec![], "door 403 200 404 403 200 404"),
        ("GET", &alerts, vec![], "door 403 200 404 403 200 404"),
        ("GET", "/alerts/registry.acme.com/acme/nowhere", vec![], "door 404 404 404 404 404 404"),
        ("POST", &alerts, vec![("do", "add"), ("url", "nowhere")], "door 403 400 404 403 400 404"),
        ("POST", &alerts, vec![("do", "remove"), ("alert", "999")], "door 403 404 404 403 404 404"),
        ("POST", &alerts, vec![("do", "test"), ("alert", "999")], "door 403 404 404 403 404 404"),
        // A package that is not public looks to strangers as one that is not there.
        ("GET", &public_page, vec![], "404 200 200 404 200 200 404"),
        ("GET", &public_download, vec![], "404 200 200 404 200 200 404"),
        ("GET", "/public/registry.acme.com/acme/nowhere", vec![], "404 404 404 404 404 404 404"),
        ("GET", "/public-download/registry.acme.com/acme/nowhere", vec![], "404 404 404 404 404 404 404"),
        ("POST", &publish, vec![("public", "on")], "door 403 303 404 403 303 404"),
        ("GET", &public_page, vec![], "200 200 200 200 200 200 200"),
        ("GET", &public_download, vec![], "200 200 200 200 200 200 200"),
        ("POST", &publish, vec![("public", "off")], "door 403 303 404 403 303 404"),
        ("POST", &publish, vec![("public", "maybe")], "door 403 400 404 403 400 404"),
        ("POST", "/settings/public/registry.acme.com/acme/nowhere", vec![("public", "on")], "door 404 404 404 404 404 404"),
        ("GET", "/join?key=00", vec![], "404 404 404 404 404 404 404"),
        ("GET", "/set-up?key=00", vec![], "404 404 404 404 404 404 404"),
        ("POST", "/people/invite", vec![acme, member], "door 403 200 404 404 404 404"),
        ("POST", "/people/invite", vec![rocket, admin], "door 403 200 404 403 200 404"),
        ("POST", "/people/invite", vec![acme, ("role", "owner")], "door 403 400 404 404 404 404"),
        ("POST", "/people/role", vec![acme, bob_again, member], "door 403 303 404 404 404 404"),
        ("POST", "/people/role", vec![rocket, pat_again, member], "door 403 303 404 403 303 404"),
        ("POST", "/people/role", vec![rocket, bob_again, admin], "door 403 404 404 403 404 404"),
        ("POST", "/people/remove", vec![acme, pat_again], "door 403 404 404 404 404 404"),
        ("POST", "/people/withdraw", vec![acme, ("invitation", "999")], "door 403 404 404 404 404 404"),
        ("POST", "/people/withdraw", vec![rocket, ("invitation", "999")], "door 403 404 404 403 404 404"),
        ("POST", "/people/revoke", vec![acme, ("token", "999")], "door 403 404 404 404 404 404"),
        ("POST", "/tokens", vec![acme, label, member], "door 200 200 404 404 404 404"),
        ("POST", "/tokens", vec![acme, label, admin], "door 403 200 404 404 404 404"),
        ("POST", "/tokens", vec![rocket, label, member], "door 200 200 404 200 200 404"),
        ("POST", "/tokens", vec![rocket, label, admin], "door 403 200 404 403 200 404"),
        ("POST", "/tokens/revoke", vec![("token", "999")], "door 404 404 404 404 404 404"),
        ("POST", "/account/sessions", vec![("session", "999")], "door 404 404 404 404 404 404"),
        ("GET", &package, vec![], "door 200 200 404 200 200 404"),
        ("GET", "/packages/registry.acme.com/acme/nowhere", vec![], "door 404 404 404 404 404 404"),
        ("GET", &live, vec![], "door 200 200 404 200 200 404"),
        ("GET", "/live", vec![], "door 200 200 200 200 200 200"),
        // Who sees all packages of the domain may wait for the first pull of one.
        ("GET", "/live/registry.acme.com/acme/nowhere", vec![], "door 200 200 404 404 404 404"),
        ("GET", &download, vec![], "door 200 200 404 200 200 404"),
        ("GET", "/download/registry.acme.com/acme/nowhere", vec![], "door 404 404 404 404 404 404"),
        ("GET", "/download", vec![], "door 200 200 200 200 200 200"),
        ("GET", "/history?organisation=acme", vec![], "door 403 200 404 404 404 404"),
        ("GET", &history_of_rocket, vec![], "door 403 200 404 403 200 404"),
        ("POST", &badges, vec![("badges", "on")], "door 403 303 404 403 303 404"),
        ("POST", &badges, vec![("badges", "maybe")], "door 403 400 404 403 400 404"),
        ("GET", "/badges/00/pulls.svg", vec![], "404 404 404 404 404 404 404"),
        ("POST", "/join", vec![("key", "00")], "403 404 404 404 404 404 404"),
        ("POST", "/set-up", vec![("key", "00")], "403 404 404 404 404 404 404"),
        ("POST", "/sign-in", vec![("login", "x")], "403 401 401 401 401 401 401"),
        ("POST", "/account/password", vec![wrong_password], "door 403 403 403 403 403 403"),
        ("POST", "/account/second-factor", vec![("secret", "x")], "door 400 400 400 400 400 400"),
        ("POST", "/account/second-factor/off", vec![wrong_password], "door 403 403 403 403 403 403"),
        // Who signs out is sent to where they can sign in again.
        ("POST", "/sign-out", vec![], "door door door door door door door"),
        ("GET", "/account", vec![], "door door door door door door door"),
    ];
    every_route_has_a_row(table.iter().map(|(method, target, ..)| (*method, *target)));
    let World { gate, ada, bob, eve, pat, pia, mia } = &mut world;
    let mut nobody = Person::before(gate);
    let mut wrong = Vec::new();
    for (method, target, fields, expected) in table {
        let mut said = Vec::new();
        for person in [&mut nobody, bob, ada, eve, pat, pia, mia] {
            let answer = match method {
                // It goes on for as long as somebody looks.
                "GET" if target.starts_with("/live") => person.head_of(target),
                "GET" => person.get(target),
                _ => person.act(target, &fields),
            };
            let door = answer.header("location").is_some_and(|to| to.starts_with("/sign-in"));
            said.push(if door { "door".to_owned() } else { answer.status.to_string() });
        }
        let said = said.join(" ");
        if said != expected {
            wrong.push(format!("{method} {target} {fields:?}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "not as the table says:\n{}", wrong.join("\n"));
}

/// That each page and form of the dashboard is among these, as its source has them: the API has a table of its own.
fn every_route_has_a_row<'r>(rows: impl Iterator<Item = (&'r str, &'r str)>) {
    let forgotten = without_a_row(&of_pages(), rows);
    assert!(forgotten.is_empty(), "nobody asks who may do this: {forgotten:?}");
}

#[test]
fn what_is_anothers_is_not_reached_by_its_number() {
    let World { gate: _gate, mut ada, mut eve, .. } = world();
    let acme = ("organisation", "acme");
    ada.act("/people/invite", &[acme, ("role", "admin")]);
    ada.act("/tokens", &[acme, ("label", "report"), ("role", "admin")]);
    let people = ada.get("/people?organisation=acme");
    let (invitation, token) = (number(&people, "invitation"), number(&people, "token"));
    let (account, session) = (number(&people, "account"), number(&ada.get("/account"), "session"));
    // Under an organisation of one's own, and under theirs.
    for place in [("organisation", "other"), acme] {
        for (target, field) in [
            ("/people/withdraw", ("invitation", invitation.as_str())),
            ("/people/revoke", ("token", token.as_str())),
            ("/people/remove", ("account", account.as_str())),
            ("/people/role", ("account", account.as_str())),
            ("/tokens/revoke", ("token", token.as_str())),
            ("/account/sessions", ("session", session.as_str())),
        ] {
            let answer = eve.act(target, &[place, field, ("role", "admin")]);
            assert_eq!(answer.status, 404, "{target} {place:?}");
        }
    }
    assert_eq!(text(&people).len(), text(&ada.get("/people?organisation=acme")).len());
}

#[test]
fn the_last_admin_stays_until_there_is_another() {
    let World { gate: _gate, mut ada, mut bob, .. } = world();
    let acme = ("organisation", "acme");
    let people = ada.get("/people?organisation=acme");
    let (adas, bobs) = (account_of(&people, "ada"), account_of(&people, "bob"));
    for answer in [
        ada.act("/people/role", &[acme, ("account", &adas), ("role", "member")]),
        ada.act("/people/remove", &[acme, ("account", &adas)]),
    ] {
        assert_eq!(answer.status, 409);
        assert!(text(&answer).contains("last admin"), "{}", text(&answer));
    }
    assert_eq!(bob.act("/people/remove", &[acme, ("account", &adas)]).status, 403);
    assert_eq!(ada.act("/people/role", &[acme, ("account", &bobs), ("role", "admin")]).status, 303);
    assert_eq!(bob.act("/people/remove", &[acme, ("account", &adas)]).status, 303);
    assert_eq!(ada.get("/people?organisation=acme").status, 404, "at once");
    assert_eq!(bob.act("/people/remove", &[acme, ("account", &bobs)]).status, 409);
}

#[test]
fn a_domain_is_given_with_its_packages_and_at_once() {
    let World { gate: _gate, mut ada, mut eve, .. } = world();
    let domain = ("domain", "registry.acme.com");
    let to = |name| [("organisation", name), domain];
    assert!(!text(&eve.get("/")).contains(ROCKET));
    assert_eq!(ada.act("/organisations/domain", &to("other")).status, 303);
    assert!(text(&eve.get("/")).contains(ROCKET));
    assert!(!text(&ada.get("/")).contains(ROCKET));
    assert_eq!(eve.act("/organisations/domain", &to("other")).status, 404);
    assert_eq!(ada.act("/organisations/domain", &to("acme")).status, 303);
    assert!(text(&ada.get("/")).contains(ROCKET));
    for (fields, status) in [
        ([("organisation", "other"), ("domain", "Elsewhere.example")], 303),
        ([("organisation", "acme"), ("domain", "no host")], 400),
        ([("organisation", "acme"), ("domain", "*")], 400),
        ([("organisation", "nowhere"), domain], 404),
    ] {
        assert_eq!(ada.act("/organisations/domain", &fields).status, status, "{fields:?}");
    }
    for (name, status) in [("other", 409), ("a b", 400), ("third", 303)] {
        assert_eq!(ada.act("/organisations", &[("organisation", name)]).status, status, "{name}");
    }
}

#[test]
fn a_role_on_a_collection_ends_where_a_package_has_a_rule_of_its_own() {
    let rules = ["acme/*", "acme/secret"].map(|name| {
        let domain = "registry.acme.com";
        format!("\n[[packages]]\ndomain = \"{domain}\"\nname = \"{name}\"\nbackend = \"ghcr.io/{name}\"\n")
    });
    let keys = "sign_up = \"invitation\"\n";
    let mut gate = Gate::start_with_admin("epoll", keys, &rules.concat());
    let mut ada = Person::set_up(&mut gate);
    let collection = "registry.acme.com/acme/*";
    let mut pia = invited(&gate, &mut ada, ("package", collection), "admin", "pia");
    let secret = ("package", "registry.acme.com/acme/secret");
    assert_eq!(pia.get(&format!("/people?package={collection}")).status, 200);
    let list = text(&pia.get("/"));
    assert!(list.contains("acme/*") && !list.contains("acme/secret"), "{list}");
    for page in ["/packages/", "/people?package=", "/live/", "/download/"] {
        assert_eq!(pia.get(&format!("{page}{}", secret.1)).status, 404, "{page}");
    }
    assert_eq!(pia.act("/people/invite", &[secret, ("role", "admin")]).status, 404);
    assert_eq!(pia.act("/tokens", &[secret, ("label", "a"), ("role", "member")]).status, 404);
    // A token of the collection ends there too, even its admin's.
    let page = ada.act("/tokens", &[("package", collection), ("label", "a"), ("role", "admin")]);
    let page = text(&page);
    let token = &page[page.find("pullgate_").unwrap()..];
    let bearer = format!("Authorization: Bearer {}", token.split('<').next().unwrap());
    let mut program = Person::before(&gate);
    program.also = vec![bearer];
    let listed = text(&program.get("/api/v1/packages"));
    assert!(listed.contains("acme/*") && !listed.contains("acme/secret"), "{listed}");
}

#[test]
fn a_list_that_is_downloaded_has_no_package_of_others() {
    let redirected = PACKAGES.replace("backend", "delivery = \"redirect\"\nbackend");
    let mut gate = Gate::start_with_admin("epoll", "sign_up = \"invitation\"\n", &redirected);
    let mut ada = Person::set_up(&mut gate);
    let mut pat = invited(&gate, &mut ada, ("package", ROCKET), "member", "pat");
    let secret = password(&gate, &["create", "eve", "--organisation", "other"]);
    let mut eve = signed_in(&gate, "eve", &secret);
    for name in ["rocket", "sledge"] {
        let mut client = Connection::open(gate.address()).unwrap();
        let headers =
            ["Host: registry.acme.com".to_owned(), "User-Agent: docker/28.5.2".to_owned()];
        let target = format!("/v2/acme/{name}/manifests/latest");
        assert_eq!(client.ask("GET", &target, &headers, b"").unwrap().status, 307);
    }
    eventually(|| match [ROCKET, SLEDGE].map(|name| gate.counts(name).pulls) {
        [1, 1] => Ok(()),
        counted => Err(format!("{counted:?}")),
    });
    for format in ["csv", "ndjson"] {
        for (person, who, theirs) in [
            (&mut ada, "ada", &[ROCKET, SLEDGE][..]),
            (&mut pat, "pat", &[ROCKET]),
            (&mut eve, "eve", &[]),
        ] {
            let answer = person.get(&format!("/download?format={format}"));
            assert_eq!(answer.status, 200, "{who} {format}");
            let list = text(&answer);
            let rows = list.lines().skip(usize::from(format == "csv"));
            let named = |row: &str| [ROCKET, SLEDGE].into_iter().find(|name| row.contains(name));
            let mut packages: Vec<_> = rows.map(|row| named(row).expect(row)).collect();
            packages.sort_unstable();
            assert_eq!(packages, theirs, "{who} {format}: {list}");
        }
    }
}

#[test]
fn an_invitation_works_once_and_for_who_is_here_already() {
    let World { gate, mut ada, mut eve, .. } = world();
    let link = link(&ada.act("/people/invite", &[("organisation", "acme"), ("role", "member")]));
    let page = text(&eve.get(&link));
    assert!(page.contains("ada invites you to") && page.contains("Join as eve"), "{page}");
    assert_eq!(eve.get("/people?organisation=acme").status, 404);
    assert_eq!(eve.send_form(&page, "/join", &[]).status, 303);
    assert_eq!(eve.get("/people?organisation=acme").status, 200);
    let mut late = Person::before(&gate);
    assert_eq!(late.get(&link).status, 404);
}

#[test]
fn where_sign_up_is_closed_an_invitation_is_for_who_has_an_account() {
    let mut gate = Gate::start("epoll", PACKAGES);
    let mut ada = Person::set_up(&mut gate);
    let link = link(&ada.act("/people/invite", &[("organisation", "acme"), ("role", "member")]));
    let mut stranger = Person::before(&gate);
    let page = text(&stranger.get(&link));
    assert!(page.contains("pullgate account create"), "{page}");
    let key = link.rsplit('=').next().unwrap();
    let fields = [("key", key), ("login", "eve"), ("password", PASSWORD)];
    assert_eq!(stranger.act_on("/sign-in", "/join", &fields).status, 403);
    let secret = password(&gate, &["create", "bob"]);
    let door = format!("/sign-in?next=%2Fjoin%3Fkey%3D{key}");
    let mut bob = Person::before(&gate);
    let answer = bob.fill_in(&door, &[("login", "bob"), ("password", &secret)]);
    assert_eq!(answer.header("location"), Some(link.as_str()));
    assert_eq!(bob.fill_in(&link, &[]).status, 303);
    assert_eq!(bob.get("/people?organisation=acme").status, 200);
}

#[test]
fn a_new_password_ends_other_sessions_and_needs_the_old_one() {
    let mut gate = gate();
    let mut ada = Person::set_up(&mut gate);
    let mut elsewhere = signed_in(&gate, "ada", PASSWORD);
    let new = "another one, just as long";
    for (old, new, status, why) in [
        ("not the right one", new, 403, "present password is not right"),
        (PASSWORD, "short", 400, "fewer than 12"),
    ] {
        let fields = [("password", old), ("new_password", new)];
        let answer = ada.act("/account/password", &fields);
        assert_eq!(answer.status, status);
        assert!(text(&answer).contains(why), "{why}");
    }
    let acme = ("organisation", "acme");
    ada.act("/tokens", &[acme, ("label", "report"), ("role", "admin")]);
    let link = link(&ada.act("/people/invite", &[acme, ("role", "admin")]));
    assert!(text(&ada.get("/tokens")).contains("report"));
    assert!(text(&ada.get("/account")).contains("so do all your API tokens"));
    let fields = [("password", PASSWORD), ("new_password", new)];
    assert_eq!(ada.act("/account/password", &fields).status, 303);
    assert_eq!(ada.get("/").status, 200);
    assert!(!text(&ada.get("/tokens")).contains("report"), "whoever had the password may have it");
    assert_eq!(Person::before(&gate).get(&link).status, 404);
    assert_eq!(elsewhere.get("/").status, 303, "another browser's session is over");
    let mut person = Person::before(&gate);
    assert_eq!(person.sign_in("ada", PASSWORD).status, 401);
    assert_eq!(person.sign_in("ada", new).status, 303);
}

#[test]
fn a_second_factor_is_asked_for_and_each_code_is_good_once() {
    let mut gate = gate();
    let mut ada = Person::set_up(&mut gate);
    let page = text(&ada.get("/account/second-factor"));
    let secret = secret_of(&page);
    let code = |later: u64| totp::code(&secret, step_now() + later).to_string();
    let target = "/account/second-factor";
    let wrong = [("code", "000000"), ("password", PASSWORD)];
    assert_eq!(ada.send_form(&page, target, &wrong).status, 400);
    let first = code(0);
    let right = [("code", first.as_str()), ("password", PASSWORD)];
    assert_eq!(ada.send_form(&page, target, &right).status, 303);
    let mut person = Person::before(&gate);
    for wrong in ["", "000000", first.as_str()] {
        let fields = [("login", "ada"), ("password", PASSWORD), ("code", wrong)];
        assert_eq!(person.fill_in("/sign-in", &fields).status, 401, "{wrong}");
    }
    let next = code(1);
    let fields = [("login", "ada"), ("password", PASSWORD), ("code", next.as_str())];
    assert_eq!(person.fill_in("/sign-in", &fields).status, 303);
    // Who has lost the app is let in by the operator.
    let secret = password(&gate, &["reset", "ada"]);
    assert_eq!(person.get("/").status, 303, "its sessions are over");
    signed_in(&gate, "ada", &secret);
}

#[test]
fn a_second_factor_is_moved_and_turned_off_by_a_code_of_it() {
    let mut gate = gate();
    let mut ada = Person::set_up(&mut gate);
    let (target, off) = ("/account/second-factor", "/account/second-factor/off");
    let password = ("password", PASSWORD);
    let page = text(&ada.get(target));
    let secret = secret_of(&page);
    // The code before the present one, so that two are left; tried again where the time goes on meanwhile.
    let step = loop {
        let step = step_now();
        let code = totp::code(&secret, step - 1).to_string();
        if ada.send_form(&page, target, &[("code", &code), password]).status == 303 {
            break step;
        }
        assert_ne!(step, step_now(), "it is right");
    };
    // The password alone neither moves it nor turns it off, nor does a code of another app.
    let page = text(&ada.get(target));
    assert!(page.contains("A code of the app that you have had until now"), "{page}");
    let other = secret_of(&page);
    let of_other = totp::code(&other, step).to_string();
    for present in ["", "000000", &of_other] {
        let code = totp::code(&other, step_now()).to_string();
        let fields = [("code", &*code), ("present_code", present), password];
        assert_eq!(ada.send_form(&page, target, &fields).status, 403, "{present}");
        assert_eq!(ada.act(off, &[("code", present), password]).status, 403, "{present}");
    }
    let present = totp::code(&secret, step).to_string();
    let code = totp::code(&other, step_now()).to_string();
    let fields = [("code", &*code), ("present_code", &present), password];
    assert_eq!(ada.send_form(&page, target, &fields).status, 303);
    let last = totp::code(&other, step_now() + 1).to_string();
    assert_eq!(ada.act(off, &[("code", &last), ("password", "not it")]).status, 403);
    assert_eq!(ada.act(off, &[("code", &last), password]).status, 303);
    signed_in(&gate, "ada", PASSWORD);
}

#[test]
fn who_has_the_password_guesses_ten_codes_and_then_waits() {
    let mut gate = gate();
    let mut ada = Person::set_up(&mut gate);
    let page = text(&ada.get("/account/second-factor"));
    let secret = secret_of(&page);
    let code = |later: u64| totp::code(&secret, step_now() + later).to_string();
    let fields = [("code", &*code(0)), ("password", PASSWORD)];
    assert_eq!(ada.send_form(&page, "/account/second-factor", &fields).status, 303);
    // Each from a network of its own, which has not failed before.
    let from = |number: u8, password: &str, code: &str| {
        let mut person = Person::before(&gate);
        person.from = Some(IpAddr::from([127, 0, 1, number]));
        person.fill_in("/sign-in", &[("login", "ada"), ("password", password), ("code", code)])
    };
    for number in 1..=10 {
        assert_eq!(from(number, PASSWORD, "000000").status, 401, "{number}");
    }
    let late = from(11, PASSWORD, &code(1));
    assert_eq!(late.status, 429);
    let wait_s: u64 = late.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=900).contains(&wait_s), "{wait_s}");
    assert!(text(&late).contains("10 wrong codes of this account"), "{}", text(&late));
    // Who has not the password is not told, and who is signed in stays so.
    assert_eq!(from(12, "another one, as long", "000000").status, 401);
    assert_eq!(ada.get("/account").status, 200);
    let fields = [("code", &*code(1)), ("password", PASSWORD)];
    assert_eq!(ada.act("/account/second-factor/off", &fields).status, 429);
}

#[test]
fn accounts_at_the_command_line_with_and_without_a_gateway() {
    let mut gate = gate();
    let secret = password(&gate, &["create", "Ada", "--organisation", "acme"]);
    let mut ada = signed_in(&gate, "ada", &secret);
    assert!(text(&ada.get("/")).contains(ROCKET), "the first organisation runs the gateway");
    // Who reads does not wait for who writes: by a log of what is written (SQLite's file format, 1.3.3).
    let file = fs::read(gate.data_dir().join("accounts.sqlite")).unwrap();
    assert_eq!(file[18..20], [2, 2], "versions of the format for writing and reading: 2 is WAL");
    gate.stop();
    let secret = password(&gate, &["create", "bob", "--organisation", "acme", "--role", "member"]);
    let listed = account(&gate, &["list"]).unwrap();
    assert_eq!(listed, "ada\tacme admin\nbob\tacme member\n");
    let refused = account(&gate, &["create", "bob"]).unwrap_err();
    assert!(refused.contains("There is an account `bob` already"), "{refused}");
    gate.launch();
    let refused = account(&gate, &["reset", "nobody"]).unwrap_err();
    assert!(refused.contains("There is no account `nobody`"), "{refused}");
    signed_in(&gate, "bob", &secret);
    let mut nowhere = Command::new(pullgate());
    nowhere.args(["account", "list", "--data", "/nowhere/at/all"]);
    assert!(attempt(&mut nowhere).unwrap_err().contains("--data is the data_dir"));
    let mut help = Command::new(pullgate());
    assert!(run(help.args(["account", "--help"])).contains("reset"));
}

/// The second factor that a page offers.
fn secret_of(page: &str) -> Vec<u8> {
    let mark = "name=\"secret\" value=\"";
    let at = page.find(mark).unwrap() + mark.len();
    totp::from_base32(page[at..].split('"').next().unwrap()).unwrap()
}

/// The step of time that codes are of now.
fn step_now() -> u64 {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    now_s / totp::STEP_S
}
