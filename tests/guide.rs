//! From the first account to the first counted pull, where the configuration file has no package yet: each page leads
//! to the next.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use serde_json::json;
use support::eventually::eventually;
use support::gate::{Gate, UPSTREAM};
use support::http::Connection;
use support::person::{PACKAGES, PASSWORD, Person, ROCKET, text, written};
use support::program::{ask, json_of, made, token_of};

#[test]
fn the_first_account_is_led_to_the_first_counted_pull() {
    let mut gate = Gate::start_with_admin("epoll", "domain = \"counts.pg.test\"\n", UPSTREAM);
    let mut ada = Person::set_up(&mut gate);
    let to = |answer: &support::http::Answer| {
        assert_eq!(answer.status, 303, "{}", text(answer));
        answer.header("location").unwrap().to_owned()
    };
    let new = to(&ada.get("/first-pull"));
    assert_eq!(new, "/packages/new?guide=yes&organisation=acme");
    let page = text(&ada.get(&new));
    assert!(page.contains("From here to the first counted pull"), "{page}");
    // Nobody answers there, which she says does not matter: people are sent there.
    let written = [
        ("domain", "registry.pg.test"),
        ("name", "acme/rocket"),
        ("backends", "http://127.1.1.1:1/acme/rocket"),
        ("delivery", "redirect"),
        ("credentials", "none"),
        ("anyway", "yes"),
    ];
    let guide = to(&ada.fill_in(&new, &written));
    assert_eq!(guide, "/first-pull/registry.pg.test/acme/rocket");

    // The record, whole; and the command.
    let page = text(&ada.get(&guide));
    for shown in [
        "<code>registry.pg.test</code></th><td><code>CNAME</code></td>",
        ">counts.pg.test</code>",
        "Look whether it leads here",
        "docker pull registry.pg.test/acme/rocket",
        "Nothing was pulled yet",
        "data-live=\"/live/registry.pg.test/acme/rocket\"",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert_eq!(to(&ada.get("/first-pull")), guide);
    // A program is told the same, one that only reads too.
    let place = ("organisation", "acme");
    let reads = made(&mut ada, &[place, ("label", "a"), ("role", "member"), ("days", "1")]);
    let target = "/api/v1/package/first-pull?package=registry.pg.test/acme/rocket";
    let told = json_of(&ask(&gate, &reads, "GET", target, &[]));
    let record = json!({ "name": "registry.pg.test", "type": "CNAME", "value": "counts.pg.test" });
    assert_eq!(told["added_by"], "domain", "{told}");
    assert_eq!((&told["domain"], &told["records"]), (&json!("registry.pg.test"), &json!([record])));
    assert_eq!(told["pull_command"], "docker pull registry.pg.test/acme/rocket", "{told}");

    let mut client = Connection::open(gate.address()).unwrap();
    let headers = ["Host: registry.pg.test".to_owned(), "User-Agent: docker/28.5.2".to_owned()];
    let target = "/v2/acme/rocket/manifests/latest";
    assert_eq!(client.ask("GET", target, &headers, b"").unwrap().status, 307);
    eventually(|| match text(&ada.get(&guide)) {
        page if page.contains("Counted: 1.") => Ok(()),
        page => Err(page),
    });
    // A second one is made without it.
    let second = [&[("name", "acme/sledge")][..], &written[..1], &written[2..]].concat();
    let made = ada.fill_in("/packages/new?organisation=acme", &second);
    assert_eq!(to(&made), "/packages/registry.pg.test/acme/sledge");
}

/// Behind a front end nothing says which address is meant, and none is made up.
#[test]
fn a_gateway_that_cannot_know_where_it_is_says_so() {
    let mut gate = Gate::start("epoll", PACKAGES);
    let mut ada = Person::set_up(&mut gate);
    let page = text(&ada.get(&format!("/first-pull/{ROCKET}")));
    assert!(page.contains("it cannot know by itself"), "{page}");
    assert!(!page.contains("<th scope=\"col\">Value</th>"), "{page}");
    let token = token_of(&mut ada, "acme");
    let target = format!("/api/v1/package/first-pull?package={ROCKET}");
    for method in ["GET", "POST"] {
        let told = json_of(&ask(&gate, &token, method, &target, &[]));
        assert_eq!((&told["records"], &told["is_withheld"]), (&json!([]), &json!(false)), "{told}");
    }
}

/// Below the domain of all organisations the one record is for who runs the gateway, and nobody else is told to add it.
#[test]
fn a_record_for_all_organisations_is_for_who_runs_the_gateway_to_add() {
    let config = format!("shared_domain = \"pkg.pg.test\"\n{PACKAGES}");
    let keys = "domain = \"counts.pg.test\"\nsign_up = \"open\"\n";
    let mut gate = Gate::start_with_admin("epoll", keys, &config);
    let mut ada = Person::set_up(&mut gate);
    let mut eve = Person::before(&gate);
    let fields = [("login", "eve"), ("organisation", "moon"), ("password", PASSWORD)];
    assert_eq!(eve.fill_in("/sign-up", &fields).status, 303);
    let record = "<code>*.pkg.pg.test</code></th><td><code>CNAME</code></td>";
    for (person, organisation, says, never) in [
        (&mut eve, "moon", "You have nothing to add", "Add this record at"),
        (
            &mut ada,
            "acme",
            "Add this record at who has the DNS of <code>pkg.pg.test</code>",
            "nothing to add",
        ),
    ] {
        let new = format!("/packages/new?organisation={organisation}");
        let made = person.fill_in(&new, &written("", "sled"));
        assert_eq!(made.status, 303, "{}", text(&made));
        let package = format!("{organisation}.pkg.pg.test/sled");
        let page = text(&person.get(&format!("/first-pull/{package}")));
        assert!(page.contains(record) && page.contains(says), "{says}: {page}");
        assert!(!page.contains(never), "{never}: {page}");
        let token = token_of(person, organisation);
        let target = format!("/api/v1/package/first-pull?package={package}");
        let told = json_of(&ask(&gate, &token, "GET", &target, &[]));
        assert_eq!(
            (&told["added_by"], &told["records"][0]["name"]),
            (&json!("gateway"), &json!("*.pkg.pg.test"))
        );
    }
    // At a domain of one's own it is one's own to add.
    let page = text(&ada.get(&format!("/first-pull/{ROCKET}")));
    assert!(
        page.contains("Add this record at who has the DNS of <code>registry.acme.com</code>"),
        "{page}"
    );
}
