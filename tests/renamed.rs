//! What becomes of packages made in the dashboard: another name, a collection, counts that follow an id, changes that
//! are undone.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use serde_json::json;
use support::eventually::eventually;
use support::gate::Gate;
use support::packages::{MAKE, OF_FILE, config, leads, redirected, target};
use support::person::{Person, text};
use support::program::{ask, json_of, made as made_token, problem, send, token_of};

#[test]
fn a_change_of_name_is_confirmed_and_what_people_may_goes_along() {
    let mut gate = Gate::start("epoll", &config(OF_FILE));
    let mut ada = Person::set_up(&mut gate);
    let token = token_of(&mut ada, "acme");
    let body = |name: &str| redirected("", name, "http://127.1.1.1/x");
    let made = send(&gate, &token, "POST", MAKE, &[], Some(&body("sledge")));
    let old = "acme.pkg.pg.test/sledge";
    assert_eq!(json_of(&made)["package"], old, "{}", text(&made));
    assert_eq!(ada.act("/people/invite", &[("package", old), ("role", "member")]).status, 200);
    let tag = ("If-Match", made.header("etag").unwrap());
    let (to, written) = (target(old), body("sled"));
    let refused = send(&gate, &token, "PUT", &to, &[tag], Some(&written));
    assert_eq!(problem(&refused).0, 409);
    assert!(text(&refused).contains("until they type acme.pkg.pg.test/sled"), "{}", text(&refused));
    leads(&gate, old, Some("127.1.1.1/v2/x"));
    // An admin of the package alone moves it, but does not name it.
    let of_package = [("package", old), ("label", "p"), ("role", "admin"), ("days", "1")];
    let of_package = made_token(&mut ada, &of_package);
    let confirmed = format!("{to}&confirm=true");
    let refused = send(&gate, &of_package, "PUT", &confirmed, &[tag], Some(&written));
    assert_eq!(problem(&refused).0, 403, "{}", text(&refused));
    let renamed = send(&gate, &token, "PUT", &confirmed, &[tag], Some(&written));
    assert_eq!(renamed.status, 200, "{}", text(&renamed));
    let new = json_of(&renamed)["package"].as_str().unwrap().to_owned();
    assert_eq!(new, "acme.pkg.pg.test/sled");
    leads(&gate, old, None);
    leads(&gate, &new, Some("127.1.1.1/v2/x"));
    assert_eq!(ask(&gate, &of_package, "GET", &target(&new), &[]).status, 200);
    assert!(
        text(&ada.get(&format!("/people?package={new}"))).contains("Links that nobody has used")
    );
}

/// Whoever was let in to one package has that and no more when it becomes a collection.
#[test]
fn a_role_on_one_package_is_none_on_the_collection_that_it_becomes() {
    let mut gate = Gate::start("epoll", &config(OF_FILE));
    let mut ada = Person::set_up(&mut gate);
    let token = token_of(&mut ada, "acme");
    let at = |name: &str| format!("acme.pkg.pg.test/{name}");
    let sledge = at("team/sledge");
    let body = |name: &str, backend: &str| redirected("", name, backend);
    let first = body("team/sledge", "http://127.1.1.1/sledge");
    assert_eq!(send(&gate, &token, "POST", MAKE, &[], Some(&first)).status, 201);
    let mut pia = Person::admin_of(&gate, &mut ada, &sledge, "pia");
    let of_sledge = [("package", &*sledge), ("label", "p"), ("role", "admin"), ("days", "1")];
    let of_sledge = made_token(&mut pia, &of_sledge);
    let any = [("If-Match", "*")];
    let all = body("team/*", "http://127.1.1.1/*");
    let refused = send(&gate, &token, "PUT", &target(&sledge), &any, Some(&all));
    assert_eq!(problem(&refused), (409, "This breaks what people type".to_owned()));
    let words = text(&refused);
    assert!(words.contains("is one of acme.pkg.pg.test/team/* then"), "{words}");
    assert!(words.contains("public page stay with acme.pkg.pg.test/team/sledge alone"), "{words}");
    // At its page the same is told.
    let settings = format!("/settings/package/{sledge}");
    let form = text(&ada.get(&settings));
    let fields = [
        ("domain", "acme.pkg.pg.test"),
        ("name", "team/*"),
        ("backends", "http://127.1.1.1/*"),
        ("delivery", "redirect"),
        ("credentials", "none"),
        ("anyway", "yes"),
        ("act", "save"),
    ];
    let asked = ada.send_form(&form, &settings, &fields);
    assert_eq!(asked.status, 409);
    assert!(
        text(&asked).contains("so who is to see all of that is let in anew"),
        "{}",
        text(&asked)
    );
    let confirmed = format!("{}&confirm=true", target(&sledge));
    let renamed = send(&gate, &token, "PUT", &confirmed, &any, Some(&all));
    assert_eq!(renamed.status, 200, "{}", text(&renamed));
    leads(&gate, &at("team/hammer"), Some("127.1.1.1/v2/hammer"));
    let people = |name: &str| format!("/people?package={}", at(name));
    assert_eq!(pia.get(&people("team/sledge")).status, 200, "as before");
    let counts = |name: &str| format!("/api/v1/pulls?package={}", at(name));
    assert_eq!(ask(&gate, &of_sledge, "GET", &counts("team/sledge"), &[]).status, 200);
    for other in ["team/*", "team/hammer"] {
        assert_eq!(pia.get(&people(other)).status, 404, "{other}");
        assert_eq!(ask(&gate, &of_sledge, "GET", &counts(other), &[]).status, 404, "{other}");
    }
    // And where the collection is elsewhere, nothing is left.
    let elsewhere = body("crew/*", "http://127.1.1.1/*");
    let hammer = body("hammer", "http://127.1.1.1/hammer");
    assert_eq!(send(&gate, &token, "POST", MAKE, &[], Some(&hammer)).status, 201);
    let mut bob = Person::admin_of(&gate, &mut ada, &at("hammer"), "bob");
    let refused = send(&gate, &token, "PUT", &target(&at("hammer")), &any, Some(&elsewhere));
    assert!(text(&refused).contains("and its public page end: for"), "{}", text(&refused));
    let confirmed = format!("{}&confirm=true", target(&at("hammer")));
    assert_eq!(send(&gate, &token, "PUT", &confirmed, &any, Some(&elsewhere)).status, 200);
    for gone in ["hammer", "crew/*", "crew/hammer"] {
        assert_eq!(bob.get(&people(gone)).status, 404, "{gone}");
    }
    let told = text(&ada.get("/history?organisation=acme"));
    assert!(told.contains("member.remove"), "{told}");
}

/// Counts follow an id through another name, and an id leads to nobody else's.
#[test]
fn counts_follow_an_id_and_each_organisations_ids_are_its_own() {
    let mut gate = Gate::start("epoll", &config(OF_FILE));
    let mut ada = Person::set_up(&mut gate);
    let of_acme = token_of(&mut ada, "acme");
    let mut eve = Person::created(&gate, "eve", &["--organisation", "other"]);
    let of_other = token_of(&mut eve, "other");
    let [old, new, theirs] =
        ["acme.pkg.pg.test/sledge", "acme.pkg.pg.test/sled", "other.pkg.pg.test/hammer"];
    let body = |name: &str| {
        let mut body = redirected("", name, "http://127.1.1.1/x");
        body["id"] = json!("rocket");
        body
    };
    for (token, organisation, name) in
        [(&of_acme, "acme", "sledge"), (&of_other, "other", "hammer")]
    {
        let make = format!("/api/v1/packages?organisation={organisation}");
        let made = send(&gate, token, "POST", &make, &[], Some(&body(name)));
        assert_eq!(made.status, 201, "{}", text(&made));
        assert_eq!(json_of(&made)["written"]["id"], "rocket");
    }
    let again = send(&gate, &of_acme, "POST", MAKE, &[], Some(&body("again")));
    assert_eq!(problem(&again).0, 400, "{}", text(&again));
    let said = json_of(&again)["errors"][0].to_string();
    assert!(said.contains("is that of acme.pkg.pg.test/sledge already"), "{said}");
    let pulled = |package: &str, before: u64| {
        leads(&gate, package, Some("127.1.1.1/v2/x"));
        eventually(|| match gate.counts(package).requests {
            many if many == before + 24 => Ok(()),
            many => Err(format!("{package}: {many} beside {before}")),
        });
    };
    pulled(old, 0);
    pulled(theirs, 0);
    let any = [("If-Match", "*")];
    let refused = send(&gate, &of_acme, "PUT", &target(old), &any, Some(&body("sled")));
    assert!(text(&refused).contains("its counts go on there"), "{}", text(&refused));
    let confirmed = format!("{}&confirm=true", target(old));
    let renamed = send(&gate, &of_acme, "PUT", &confirmed, &any, Some(&body("sled")));
    assert_eq!(renamed.status, 200, "{}", text(&renamed));
    pulled(new, 24);
    assert_eq!((gate.counts(old).requests, gate.counts(theirs).requests), (0, 24));
    // Who is an admin of it alone sees the id, and has no other counts by another.
    let mut pia = Person::admin_of(&gate, &mut ada, new, "pia");
    let page = text(&pia.get(&format!("/settings/package/{new}")));
    let field = page.split("<input id=\"id\"").nth(1).unwrap().split('>').next().unwrap();
    assert!(field.contains("value=\"rocket\"") && field.contains("readonly"), "{field}");
    let of_package = [("package", new), ("label", "p"), ("role", "admin"), ("days", "1")];
    let of_package = made_token(&mut pia, &of_package);
    let mut other = body("sled");
    other["id"] = json!("saturn");
    let refused = send(&gate, &of_package, "PUT", &target(new), &any, Some(&other));
    assert_eq!(problem(&refused).0, 403, "{}", text(&refused));
    // Once it is gone the id leads its own organisation to its counts, and no other.
    assert_eq!(ask(&gate, &of_acme, "DELETE", &target(new), &any).status, 204);
    pulled(theirs, 24);
    assert_eq!(send(&gate, &of_acme, "POST", MAKE, &[], Some(&body("saw"))).status, 201);
    pulled("acme.pkg.pg.test/saw", 48);
    assert_eq!(gate.counts(theirs).requests, 48);
}

/// The number of the newest change.
fn newest(gate: &Gate, token: &str, package: &str) -> i64 {
    let to = format!("/api/v1/package/history?package={package}&limit=1");
    let history = json_of(&ask(gate, token, "GET", &to, &[]));
    history["items"][0]["id"].as_i64().unwrap_or_else(|| panic!("{history}"))
}

#[test]
fn what_became_of_it_is_seen_and_undone() {
    let mut gate = Gate::start("epoll", &config(OF_FILE));
    let token = token_of(&mut Person::set_up(&mut gate), "acme");
    let package = "registry.acme.com/acme/sledge";
    let at = |backend: &str| redirected("registry.acme.com", "acme/sledge", backend);
    let made = send(&gate, &token, "POST", MAKE, &[], Some(&at("http://127.1.1.1/x")));
    let made_by = newest(&gate, &token, package);
    let tag = ("If-Match", made.header("etag").unwrap());
    let to = target(package);
    let moved = send(&gate, &token, "PUT", &to, &[tag], Some(&at("http://127.1.1.2/x")));
    let moved_by = newest(&gate, &token, package);
    let tag = ("If-Match", moved.header("etag").unwrap());
    let revert = |change: i64, more: &[(&str, &str)]| {
        let to = format!("/api/v1/package/revert?package={package}");
        send(&gate, &token, "POST", &to, more, Some(&json!({ "change": change })))
    };
    assert_eq!(problem(&revert(moved_by, &[])).0, 428);
    assert_eq!(problem(&revert(made_by, &[tag])).0, 400, "there is nothing before that");
    assert_eq!(problem(&revert(1, &[tag])).0, 404, "a change of something else");
    let back = revert(moved_by, &[tag]);
    assert_eq!(back.status, 200, "{}", text(&back));
    leads(&gate, package, Some("127.1.1.1/v2/x"));
    // One that was removed comes back, and is the same one.
    let tag = ("If-Match", back.header("etag").unwrap());
    assert_eq!(ask(&gate, &token, "DELETE", &to, &[tag]).status, 204);
    leads(&gate, package, None);
    let removed_by = newest(&gate, &token, package);
    let back = revert(removed_by, &[]);
    assert_eq!(back.status, 200, "{}", text(&back));
    leads(&gate, package, Some("127.1.1.1/v2/x"));
    let history = format!("/api/v1/package/history?package={package}");
    let told = json_of(&ask(&gate, &token, "GET", &history, &[]));
    let deeds: Vec<_> = told["items"].as_array().unwrap().iter().map(|one| &one["deed"]).collect();
    let expected =
        ["package.restore", "package.remove", "package.change", "package.change", "package.make"];
    assert_eq!(deeds, expected);
    assert_eq!(told["items"][2]["before"]["backends"], json!(["http://127.1.1.2/x"]));
    assert_eq!(told["items"][0]["by"], "ada");
    // A name that is taken meanwhile is refused as always.
    let tag = ("If-Match", back.header("etag").unwrap());
    assert_eq!(ask(&gate, &token, "DELETE", &to, &[tag]).status, 204);
    let removed_by = newest(&gate, &token, package);
    let other = send(&gate, &token, "POST", MAKE, &[], Some(&at("http://127.1.1.3/x")));
    assert_eq!(other.status, 201, "{}", text(&other));
    let tag = ("If-Match", other.header("etag").unwrap());
    let refused = revert(removed_by, &[tag]);
    assert_eq!(json_of(&refused)["errors"][0]["field"], "name", "{}", text(&refused));
}
