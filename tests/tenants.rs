//! Packages between the configuration file, organisations and people: what each may do, what is left to the
//! others, and what is told of them.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate, pullgate};
use support::http::half_a_request;
use support::packages::{MAKE, OF_FILE, config, eventually_leads, leads, redirected, target};
use support::person::{Person, text};
use support::process::run;
use support::program::{ask, json_of, made, problem, send, token_of};

/// A token that does all to a package.
fn token_for(person: &mut Person, package: &str) -> String {
    made(person, &[("package", package), ("label", "t"), ("role", "admin"), ("days", "1")])
}

#[test]
fn what_is_the_files_by_now_stays_when_what_was_made_goes() {
    let mut gate = Gate::start("epoll", &config(OF_FILE));
    let mut ada = Person::set_up(&mut gate);
    let token = token_of(&mut ada, "acme");
    let sledge = "registry.acme.com/acme/sledge";
    let at = |name: &str, backend: &str| redirected("registry.acme.com", name, backend);
    let first = at("acme/sledge", "http://127.1.1.1/x");
    let made = send(&gate, &token, "POST", MAKE, &[], Some(&first));
    assert_eq!(made.status, 201, "{}", text(&made));
    let (to, tag) = (target(sledge), ("If-Match", made.header("etag").unwrap()));
    let second = at("acme/sledge", "http://127.1.1.2/x");
    assert_eq!(send(&gate, &token, "PUT", &to, &[tag], Some(&second)).status, 200);
    let history = format!("/api/v1/package/history?package={sledge}&limit=1");
    let moved_by = json_of(&ask(&gate, &token, "GET", &history, &[]))["items"][0]["id"].clone();
    // What hangs on the name: a role, a token, a page for everybody.
    let mut pia = Person::admin_of(&gate, &mut ada, sledge, "pia");
    let of_sledge = token_for(&mut pia, sledge);
    let settings = format!("/api/v1/settings?package={sledge}");
    let public = json!({ "public": true });
    let any = [("If-Match", "*")];
    assert_eq!(send(&gate, &of_sledge, "PUT", &settings, &any, Some(&public)).status, 200);
    // The file gets the name.
    let before = fs::read_to_string(gate.config_file()).unwrap();
    let more = "[[packages]]\ndomain = \"registry.acme.com\"\nname = \"acme/sledge\"\n\
                backend = \"http://127.0.0.1:5000/sledge\"\ndelivery = \"redirect\"\n";
    fs::write(gate.config_file(), format!("{before}\n{more}")).unwrap();
    let seen = eventually(|| {
        let seen = ask(&gate, &token, "GET", &to, &[]);
        if json_of(&seen)["served"] == false { Ok(seen) } else { Err(text(&seen)) }
    });
    let tag = ("If-Match", seen.header("etag").unwrap());
    let confirmed = format!("{to}&confirm=true");
    for name in ["acme/sledge", "acme/sled"] {
        let body = at(name, "http://127.1.1.3/x");
        let refused = send(&gate, &token, "PUT", &confirmed, &[tag], Some(&body));
        assert_eq!(problem(&refused), (409, "The file comes first".to_owned()), "{name}");
    }
    let revert = format!("/api/v1/package/revert?package={sledge}&confirm=true");
    let moved = json!({ "change": moved_by });
    assert_eq!(problem(&send(&gate, &token, "POST", &revert, &[tag], Some(&moved))).0, 409);
    let page = text(&ada.get(&format!("/settings/package/{sledge}")));
    assert!(page.contains("can only be removed") && !page.contains("<textarea"), "{page}");
    // Only what was made goes.
    let remove = format!("/settings/remove/{sledge}");
    assert_eq!(ada.send_form(&page, &remove, &[("confirm", "yes")]).status, 303);
    leads(&gate, sledge, Some("127.0.0.1:5000/v2/sledge"));
    assert_eq!(json_of(&ask(&gate, &token, "GET", &to, &[]))["source"], "file");
    assert_eq!(json_of(&ask(&gate, &of_sledge, "GET", &settings, &[]))["public"], true);
    assert_eq!(pia.get(&format!("/people?package={sledge}")).status, 200);
    assert_eq!(Person::before(&gate).get(&format!("/public/{sledge}")).status, 200);
}

#[test]
fn only_admins_of_the_organisation_remove_a_package_and_what_hung_on_it_ends() {
    let mut gate = Gate::start("epoll", &config(OF_FILE));
    let mut ada = Person::set_up(&mut gate);
    let token = token_of(&mut ada, "acme");
    let body = redirected("", "sledge", "http://127.1.1.1/x");
    let make = |gate: &Gate| {
        let made = send(gate, &token, "POST", MAKE, &[], Some(&body));
        assert_eq!(made.status, 201, "{}", text(&made));
    };
    make(&gate);
    let sledge = "acme.pkg.pg.test/sledge";
    let mut pia = Person::admin_of(&gate, &mut ada, sledge, "pia");
    let of_sledge = token_for(&mut pia, sledge);
    let (people, public) = (format!("/people?package={sledge}"), format!("/public/{sledge}"));
    let publish = format!("/settings/public/{sledge}");
    assert_eq!(pia.act(&publish, &[("public", "on")]).status, 303);
    let mut nobody = Person::before(&gate);
    assert_eq!(nobody.get(&public).status, 200);
    // Who is an admin of the package alone changes it, and does not remove it.
    let (to, any) = (target(sledge), [("If-Match", "*")]);
    let refused = ask(&gate, &of_sledge, "DELETE", &to, &any);
    assert_eq!(problem(&refused).0, 403, "{}", text(&refused));
    let settings = format!("/settings/package/{sledge}");
    let page = text(&pia.get(&settings));
    assert!(page.contains("<textarea") && !page.contains("/settings/remove/"), "{page}");
    let remove = format!("/settings/remove/{sledge}");
    assert_eq!(pia.act(&remove, &[("confirm", "yes")]).status, 403);
    leads(&gate, sledge, Some("127.1.1.1/v2/x"));
    // It goes, and with it whoever could see it.
    let page = text(&ada.get(&settings));
    assert!(page.contains("Roles on it alone"), "{page}");
    assert_eq!(ada.send_form(&page, &remove, &[("confirm", "yes")]).status, 303);
    leads(&gate, sledge, None);
    let has_ended = |gate: &Gate, pia: &mut Person, nobody: &mut Person| {
        assert_eq!(ask(gate, &of_sledge, "GET", "/api/v1/packages", &[]).status, 401);
        assert_eq!(pia.get(&people).status, 404);
        assert_eq!(nobody.get(&public).status, 404);
    };
    has_ended(&gate, &mut pia, &mut nobody);
    let page = text(&ada.get(&settings));
    assert!(page.contains("roles on it alone, tokens, invitations and webhooks"), "{page}");
    let revert = format!("/settings/revert/{sledge}");
    assert_eq!(ada.send_form(&page, &revert, &[]).status, 303);
    leads(&gate, sledge, Some("127.1.1.1/v2/x"));
    has_ended(&gate, &mut pia, &mut nobody);
    // The same under its name made anew.
    assert_eq!(ask(&gate, &token, "DELETE", &to, &any).status, 204);
    make(&gate);
    has_ended(&gate, &mut pia, &mut nobody);
    let told = text(&ada.get(&format!("/history?package={sledge}")));
    for deed in ["member.remove", "token.revoke", "package.publish"] {
        assert!(told.contains(deed), "{deed}: {told}");
    }
}

#[test]
fn with_a_collection_goes_what_hung_on_the_packages_below_it() {
    let mut gate = Gate::start("epoll", &config(OF_FILE));
    let mut ada = Person::set_up(&mut gate);
    let token = token_of(&mut ada, "acme");
    let any = [("If-Match", "*")];
    let make = |gate: &Gate, name: &str| {
        let backend = format!("http://127.1.1.1/{}", name.trim_start_matches("team/"));
        let body = redirected("", name, &backend);
        let made = send(gate, &token, "POST", MAKE, &[], Some(&body));
        assert_eq!(made.status, 201, "{}", text(&made));
    };
    let remove = |gate: &Gate, name: &str| {
        let to = target(&format!("acme.pkg.pg.test/{name}"));
        assert_eq!(ask(gate, &token, "DELETE", &to, &any).status, 204, "{name}");
    };
    let sledge = "acme.pkg.pg.test/team/sledge";
    let public = format!("/public/{sledge}");
    let counts = format!("/api/v1/pulls?package={sledge}&public=true");
    make(&gate, "team/*");
    make(&gate, "team/sledge");
    let mut pia = Person::admin_of(&gate, &mut ada, sledge, "pia");
    let of_sledge = token_for(&mut pia, sledge);
    let publish = format!("/settings/public/{sledge}");
    assert_eq!(pia.act(&publish, &[("public", "on")]).status, 303);
    let mut nobody = Person::before(&gate);
    // Its own rule goes: it is the collection's then, with all that it has.
    let page = text(&ada.get(&format!("/settings/package/{sledge}")));
    assert!(page.contains("A collection has"), "{page}");
    remove(&gate, "team/sledge");
    leads(&gate, sledge, Some("127.1.1.1/v2/sledge"));
    assert_eq!(pia.get(&format!("/people?package={sledge}")).status, 200);
    assert_eq!(nobody.get(&public).status, 200);
    assert_eq!(nobody.get(&counts).status, 200);
    // The collection goes.
    remove(&gate, "team/*");
    leads(&gate, sledge, None);
    let has_ended = |gate: &Gate, pia: &mut Person, nobody: &mut Person| {
        assert_eq!(ask(gate, &of_sledge, "GET", "/api/v1/packages", &[]).status, 401);
        assert_eq!(pia.get(&format!("/people?package={sledge}")).status, 404);
        assert_eq!(nobody.get(&public).status, 404);
        assert_eq!(nobody.get(&counts).status, 401);
    };
    has_ended(&gate, &mut pia, &mut nobody);
    make(&gate, "team/*");
    has_ended(&gate, &mut pia, &mut nobody);
}

#[test]
fn nobody_sees_what_was_counted_of_a_public_package_that_the_file_has_no_more() {
    let more = "[[packages]]\ndomain = \"registry.acme.com\"\nname = \"acme/open\"\n\
                backend = \"http://127.0.0.1:5000/open\"\ndelivery = \"redirect\"\n";
    let mut gate = Gate::start("epoll", &config(&format!("{OF_FILE}{more}")));
    let mut ada = Person::set_up(&mut gate);
    let open = "registry.acme.com/acme/open";
    leads(&gate, open, Some("127.0.0.1:5000/v2/open"));
    let publish = format!("/settings/public/{open}");
    assert_eq!(ada.act(&publish, &[("public", "on")]).status, 303);
    let page = format!("/packages/{open}");
    eventually(|| {
        let seen = text(&ada.get(&page));
        if seen.contains("24") { Ok(()) } else { Err(seen) }
    });
    let mut nobody = Person::before(&gate);
    let public = format!("/public/{open}");
    assert_eq!(nobody.get(&public).status, 200);
    let before = fs::read_to_string(gate.config_file()).unwrap();
    fs::write(gate.config_file(), before.replace(more, "")).unwrap();
    eventually(|| {
        let answer = nobody.get(&public);
        if answer.status == 404 { Ok(()) } else { Err(text(&answer)) }
    });
    assert_eq!(ada.get(&page).status, 200, "its people see them");
}

/// From the file to the dashboard: in between nothing serves the name. Its people come with it where its
/// organisation means that, and never another organisation's.
#[test]
fn who_moves_a_package_from_the_file_says_whether_its_people_come_with_it() {
    let more = "[[packages]]\ndomain = \"registry.acme.com\"\nname = \"acme/sledge\"\n\
                backend = \"http://127.0.0.1:5000/sledge\"\ndelivery = \"redirect\"\n";
    let mut gate = Gate::start("epoll", &config(&format!("{OF_FILE}{more}")));
    let mut ada = Person::set_up(&mut gate);
    let token = token_of(&mut ada, "acme");
    let sledge = "registry.acme.com/acme/sledge";
    let of_file = Some("127.0.0.1:5000/v2/sledge");
    let mut pia = Person::admin_of(&gate, &mut ada, sledge, "pia");
    let of_sledge = token_for(&mut pia, sledge);
    let publish = format!("/settings/public/{sledge}");
    assert_eq!(pia.act(&publish, &[("public", "on")]).status, 303);
    let mut nobody = Person::before(&gate);
    let mut sees = |gate: &Gate, pia: &mut Person| {
        [
            pia.get(&format!("/people?package={sledge}")).status,
            ask(gate, &of_sledge, "GET", "/api/v1/packages", &[]).status,
            nobody.get(&format!("/public/{sledge}")).status,
        ]
    };
    assert_eq!(sees(&gate, &mut pia), [200, 200, 200]);
    let with = fs::read_to_string(gate.config_file()).unwrap();
    let file = |gate: &Gate, text: &str, to| {
        fs::write(gate.config_file(), text).unwrap();
        eventually_leads(gate, sledge, to);
    };
    file(&gate, &with.replace(more, ""), None);
    assert_eq!(sees(&gate, &mut pia), [404, 200, 404], "there is nothing now");
    let body = redirected("registry.acme.com", "acme/sledge", "http://127.1.1.1/x");
    let make = |gate: &Gate, people: &str| {
        send(gate, &token, "POST", &format!("{MAKE}{people}"), &[], Some(&body))
    };
    let asked = make(&gate, "");
    assert_eq!(problem(&asked), (409, "Who comes with it?".to_owned()));
    let left = format!("pia (admin of {sledge}), 1 token, 1 public page");
    assert!(text(&asked).contains(&left), "{}", text(&asked));
    assert_eq!(make(&gate, "&people=some").status, 400);
    leads(&gate, sledge, None);
    assert_eq!(make(&gate, "&people=keep").status, 201);
    leads(&gate, sledge, Some("127.1.1.1/v2/x"));
    assert_eq!(sees(&gate, &mut pia), [200, 200, 200]);
    // Back to the file, and once more, by the page. There the other is said.
    file(&gate, &with, of_file);
    assert_eq!(ask(&gate, &token, "DELETE", &target(sledge), &[("If-Match", "*")]).status, 204);
    assert_eq!(sees(&gate, &mut pia), [200, 200, 200]);
    file(&gate, &with.replace(more, ""), None);
    let mut fields = vec![
        ("domain", "registry.acme.com"),
        ("name", "acme/sledge"),
        ("backends", "http://127.1.1.1/x"),
        ("delivery", "redirect"),
        ("credentials", "none"),
        ("anyway", "yes"),
        ("act", "save"),
    ];
    let form = text(&ada.get("/packages/new?organisation=acme"));
    let asked = ada.send_form(&form, "/packages/new", &fields);
    let page = text(&asked);
    assert_eq!(asked.status, 409, "{page}");
    assert!(page.contains(&left) && page.contains("name=\"people\" value=\"keep\""), "{page}");
    fields.push(("people", "end"));
    assert_eq!(ada.send_form(&page, "/packages/new", &fields).status, 303);
    assert_eq!(sees(&gate, &mut pia), [404, 401, 404]);
    let told = text(&ada.get(&format!("/history?package={sledge}")));
    assert!(told.contains("member.remove"), "{told}");
    // Another organisation that has the domain by then is not asked, and nobody comes with it.
    file(&gate, &with, of_file);
    assert_eq!(ask(&gate, &token, "DELETE", &target(sledge), &[("If-Match", "*")]).status, 204);
    let mut bob = Person::admin_of(&gate, &mut ada, sledge, "bob");
    file(&gate, &with.replace(more, ""), None);
    let mut eve = Person::created(&gate, "eve", &["--organisation", "other"]);
    let of_other = token_of(&mut eve, "other");
    let given = [("organisation", "other"), ("domain", "registry.acme.com")];
    assert_eq!(ada.act("/organisations/domain", &given).status, 303);
    let make = "/api/v1/packages?organisation=other&people=keep";
    let made = send(&gate, &of_other, "POST", make, &[], Some(&body));
    assert_eq!(made.status, 201, "{}", text(&made));
    for person in [&mut bob, &mut pia, &mut ada] {
        assert_eq!(person.get(&format!("/people?package={sledge}")).status, 404);
    }
}

#[test]
fn a_domain_with_counts_of_others_is_not_claimed_by_making_a_package_there() {
    let domain = "tools.pkg.pg.test";
    let more = format!(
        "[[packages]]\ndomain = \"{domain}\"\nname = \"secret\"\n\
         backend = \"http://127.0.0.1:5000/secret\"\ndelivery = \"redirect\"\n"
    );
    let mut gate = Gate::start("epoll", &config(&format!("{OF_FILE}{more}")));
    let mut ada = Person::set_up(&mut gate);
    leads(&gate, &format!("{domain}/secret"), Some("127.0.0.1:5000/v2/secret"));
    let page = format!("/packages/{domain}/secret");
    eventually(|| {
        let seen = text(&ada.get(&page));
        if seen.contains("24") { Ok(()) } else { Err(seen) }
    });
    let before = fs::read_to_string(gate.config_file()).unwrap();
    fs::write(gate.config_file(), before.replace(&more, "")).unwrap();
    eventually(|| {
        let listed = text(&ada.get("/people"));
        if listed.contains(domain) { Err(listed) } else { Ok(()) }
    });
    let mut tom = Person::created(&gate, "tom", &["--organisation", "tools"]);
    let token = token_of(&mut tom, "tools");
    let make = "/api/v1/packages?organisation=tools";
    let body = redirected("", "new", "http://127.1.1.1/x");
    let refused = send(&gate, &token, "POST", make, &[], Some(&body));
    assert_eq!(refused.status, 409, "{}", text(&refused));
    assert!(text(&refused).contains("pullgate erase --domain"), "{}", text(&refused));
    let form = [("organisation", "tools"), ("name", "new"), ("backends", "http://127.1.1.1/x")];
    let refused = tom.act(
        "/packages/new",
        &[&form[..], &[("delivery", "redirect"), ("credentials", "none")]].concat(),
    );
    assert!(text(&refused).contains("were counted when it was another"), "{}", text(&refused));
    assert_eq!(tom.get(&page).status, 404);
    // Without them it is theirs to have.
    let mut erase = Command::new(pullgate());
    erase.args(["erase", "--domain", domain, "--yes", "--data"]).arg(gate.data_dir());
    run(&mut erase);
    let made = send(&gate, &token, "POST", make, &[], Some(&body));
    assert_eq!(made.status, 201, "{}", text(&made));
    leads(&gate, &format!("{domain}/new"), Some("127.1.1.1/v2/x"));
}

#[test]
fn where_a_domain_begins_as_an_address_does_its_packages_go_and_come_back() {
    let mut gate = Gate::start("epoll", &config(OF_FILE));
    let mut ada = Person::set_up(&mut gate);
    let token = token_of(&mut ada, "acme");
    let body = redirected("packages.acme.com", "sledge", "http://127.1.1.1/x");
    let made = send(&gate, &token, "POST", MAKE, &[], Some(&body));
    assert_eq!(made.status, 201, "{}", text(&made));
    let sledge = "packages.acme.com/sledge";
    let settings = format!("/settings/package/{sledge}");
    let page = text(&ada.get(&settings));
    let remove = format!("/settings/remove/{sledge}");
    assert_eq!(ada.send_form(&page, &remove, &[("confirm", "yes")]).status, 303);
    leads(&gate, sledge, None);
    let page = text(&ada.get(&settings));
    assert_eq!(ada.send_form(&page, &format!("/settings/revert/{sledge}"), &[]).status, 303);
    leads(&gate, sledge, Some("127.1.1.1/v2/x"));
}

#[test]
fn with_another_owner_of_the_domain_badges_are_found_by_other_addresses() {
    let mut gate = Gate::start("epoll", &config(OF_FILE));
    let mut ada = Person::set_up(&mut gate);
    let mut eve = Person::created(&gate, "eve", &["--organisation", "other"]);
    let page = "/packages/registry.acme.com/acme/rocket";
    let address = |person: &mut Person| {
        let page = text(&person.get(page));
        let at = page.find("src=\"/badges/").unwrap_or_else(|| panic!("no badge in\n{page}"));
        page[at..].split('"').nth(1).unwrap().to_owned()
    };
    let mut nobody = Person::before(&gate);
    let mut seen = |address: &str| nobody.get(address).status;
    let give = |ada: &mut Person, organisation| {
        let fields = [("organisation", organisation), ("domain", "registry.acme.com")];
        assert_eq!(ada.act("/organisations/domain", &fields).status, 303);
    };
    let first = address(&mut ada);
    assert_eq!(seen(&first), 200, "{first}");
    give(&mut ada, "other");
    assert_eq!(seen(&first), 404, "it was the one before's to hand out");
    let second = address(&mut eve);
    assert_eq!((first == second, seen(&second)), (false, 200), "{second}");
    give(&mut ada, "acme");
    assert_eq!((seen(&first), seen(&second)), (200, 404));
}

#[test]
fn of_the_file_and_of_others_only_who_runs_the_gateway_hears() {
    let more = "[[packages]]\ndomain = \"registry.acme.com\"\nname = \"acme/hidden\"\n\
                backend = \"soon.acme.com/acme/hidden\"\n";
    let mut gate = Gate::start("epoll", &config(&format!("{OF_FILE}{more}")));
    let mut ada = Person::set_up(&mut gate);
    let of_acme = token_of(&mut ada, "acme");
    let mut eve = Person::created(&gate, "eve", &["--organisation", "other"]);
    let of_other = token_of(&mut eve, "other");
    for domain in ["soon.acme.com", "shared.acme.com"] {
        let given = [("organisation", "other"), ("domain", domain)];
        assert_eq!(ada.act("/organisations/domain", &given).status, 303);
    }
    let body = redirected("soon.acme.com", "x", "http://127.1.1.1/x");
    let make = "/api/v1/packages?organisation=other";
    let refused = send(&gate, &of_other, "POST", make, &[], Some(&body));
    assert_eq!(problem(&refused).0, 400);
    let said = text(&refused);
    assert_eq!(json_of(&refused)["errors"][0]["field"], "domain", "{said}");
    assert!(said.contains("is in the way of what is served here already"), "{said}");
    let file = gate.config_file().display().to_string();
    for secret in [file.as_str(), "pullgate.toml", "packages[", "acme/hidden"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    let words = eventually(|| {
        let words = gate.words();
        let told = words.lines().find(|line| line.contains("a change of eve was refused"));
        told.map(str::to_owned).ok_or(words)
    });
    assert!(words.contains(&file) && words.contains("soon.acme.com"), "{words}");
    // A name that the file has is taken; where, who runs the gateway is told.
    let given = [("organisation", "other"), ("domain", "registry.acme.com")];
    assert_eq!(ada.act("/organisations/domain", &given).status, 303);
    let body = redirected("registry.acme.com", "acme/rocket", "http://127.1.1.1/x");
    let refused = send(&gate, &of_other, "POST", make, &[], Some(&body));
    let said = text(&refused);
    assert!(said.contains("is a package at this domain already: choose"), "{said}");
    assert!(!said.contains("line"), "{said}");
    let given = [("organisation", "acme"), ("domain", "registry.acme.com")];
    assert_eq!(ada.act("/organisations/domain", &given).status, 303);
    let refused = send(&gate, &of_acme, "POST", MAKE, &[], Some(&body));
    assert!(text(&refused).contains("of the configuration file"), "{}", text(&refused));
    // What was made and is overruled later is told of in the same way.
    let body = redirected("shared.acme.com", "x", "http://127.1.1.1/x");
    assert_eq!(send(&gate, &of_other, "POST", make, &[], Some(&body)).status, 201);
    let before = fs::read_to_string(gate.config_file()).unwrap();
    let more = "[[packages]]\ndomain = \"registry.acme.com\"\nname = \"acme/later\"\n\
                backend = \"shared.acme.com/x\"\n";
    fs::write(gate.config_file(), format!("{before}\n{more}")).unwrap();
    let to = target("shared.acme.com/x");
    let said = eventually(|| {
        let seen = ask(&gate, &of_other, "GET", &to, &[]);
        if json_of(&seen)["served"] == false { Ok(text(&seen)) } else { Err(text(&seen)) }
    });
    assert!(said.contains("is in the way") && !said.contains("pullgate.toml"), "{said}");
    let page = text(&eve.get("/settings/package/shared.acme.com/x"));
    assert!(page.contains("is in the way") && !page.contains("pullgate.toml"), "{page}");
}

#[test]
fn a_gateway_that_is_stopping_changes_nothing_and_says_so() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &config(OF_FILE));
        let token = token_of(&mut Person::set_up(&mut gate), "acme");
        let under_way = half_a_request(gate.address()).unwrap();
        gate.process().signal(Signal::TERM);
        eventually(|| gate.is_draining());
        let body = redirected("", "sledge", "http://127.1.1.1/x");
        let refused = send(&gate, &token, "POST", MAKE, &[], Some(&body));
        assert_eq!(problem(&refused), (503, "Stopping".to_owned()), "{}", text(&refused));
        assert!(text(&refused).contains("Nothing was changed"), "{}", text(&refused));
        assert!(refused.header("retry-after").is_some());
        drop(under_way);
        let status = gate.process().wait();
        assert!(status.success(), "{status}: {}", gate.process().words());
        gate.launch();
        let to = target("acme.pkg.pg.test/sledge");
        assert_eq!(ask(&gate, &token, "GET", &to, &[]).status, 404);
    }
}
