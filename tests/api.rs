//! `/api/v1`, as programs use it: tokens and how far they reach, problems, parts of lists, ETags, and the
//! description that is made from the code.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::path::Path;

use pullgate::aggregator::By;
use serde_json::{Value, json};
use support::described::Described;
use support::eventually::eventually;
use support::gate::Gate;
use support::http::Connection;
use support::people::{link, password, signed_in};
use support::person::{PACKAGES, Person, ROCKET, SLEDGE, text};
use support::program::{ask, json_of, made, problem, send, token_of};

#[test]
fn what_a_token_has_made_ends_with_it() {
    let mut gate = Gate::start("epoll", PACKAGES);
    let mut ada = Person::set_up(&mut gate);
    let acme = ("organisation", "acme");
    let token = made(&mut ada, &[acme, ("label", "first"), ("role", "admin"), ("days", "1")]);
    let target = "/api/v1/tokens?organisation=acme";
    let more = json!({ "role": "admin", "label": "more", "days": 100 });
    let second = json_of(&send(&gate, &token, "POST", target, &[], Some(&more)));
    let second = second["token"].as_str().unwrap();
    let third = json_of(&send(&gate, second, "POST", target, &[], Some(&more)));
    let third = third["token"].as_str().unwrap();
    let listed = json_of(&ask(&gate, third, "GET", "/api/v1/tokens", &[]));
    let ends: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|one| &one["expires"]).collect();
    assert!(
        ends.len() == 3 && ends.iter().all(|end| *end == ends[0] && end.is_string()),
        "{listed}"
    );
    let invite = "/api/v1/invitations?organisation=acme";
    let link = send(&gate, third, "POST", invite, &[], Some(&json!({ "role": "admin" })));
    let link = json_of(&link)["path"].as_str().unwrap().to_owned();
    let invited = json_of(&ask(&gate, &token, "GET", invite, &[]));
    assert_eq!(&invited["items"][0]["expires"], ends[0], "{invited}");
    let mut guest = Person::before(&gate);
    assert_eq!(guest.get(&link).status, 200);
    let first = listed["items"].as_array().unwrap().last().unwrap()["id"].as_i64().unwrap();
    let target = format!("/api/v1/tokens/{first}");
    assert_eq!(ask(&gate, &token, "DELETE", &target, &[("If-Match", "*")]).status, 204);
    for token in [&token, second, third] {
        assert_eq!(ask(&gate, token, "GET", "/api/v1/tokens", &[]).status, 401);
    }
    assert_eq!(guest.get(&link).status, 404);
}

#[test]
fn an_invitation_is_withdrawn_by_who_means_it() {
    let mut gate = Gate::start("epoll", PACKAGES);
    let mut ada = Person::set_up(&mut gate);
    let acme = ("organisation", "acme");
    let token = made(&mut ada, &[acme, ("label", "a"), ("role", "admin"), ("days", "1")]);
    let invite = "/api/v1/invitations?organisation=acme";
    send(&gate, &token, "POST", invite, &[], Some(&json!({ "role": "member" })));
    let listed = json_of(&ask(&gate, &token, "GET", invite, &[]));
    let id = listed["items"][0]["id"].as_i64().unwrap();
    let target = format!("/api/v1/invitations/{id}?organisation=acme");
    let found = ask(&gate, &token, "GET", &target, &[]);
    assert_eq!(json_of(&found), listed["items"][0]);
    let tag = found.header("etag").unwrap();
    assert_eq!(problem(&ask(&gate, &token, "DELETE", &target, &[])).0, 428);
    let other = [("If-Match", "\"other\"")];
    assert_eq!(problem(&ask(&gate, &token, "DELETE", &target, &other)).0, 412);
    assert_eq!(ask(&gate, &token, "DELETE", &target, &[("If-Match", tag)]).status, 204);
    assert_eq!(ask(&gate, &token, "GET", &target, &[]).status, 404);
}

#[test]
fn a_browsers_session_reads_and_changes_nothing() {
    let mut gate = Gate::start("epoll", PACKAGES);
    let mut ada = Person::set_up(&mut gate);
    assert_eq!(ada.get("/api/v1/people?organisation=acme").status, 200);
    let target = "/api/v1/invitations?organisation=acme";
    let kind = "Content-Type: application/json".to_owned();
    let answer = ada.ask("POST", target, &[kind], br#"{"role":"admin"}"#);
    assert_eq!(problem(&answer), (403, "Not allowed".to_owned()));
}

#[test]
fn who_changes_something_says_which_state_of_it() {
    let mut gate = Gate::start("epoll", PACKAGES);
    let mut ada = Person::set_up(&mut gate);
    let token = made(
        &mut ada,
        &[("organisation", "acme"), ("label", "a"), ("role", "admin"), ("days", "1")],
    );
    let invite = "/api/v1/invitations?organisation=acme";
    let answer = send(&gate, &token, "POST", invite, &[], Some(&json!({ "role": "member" })));
    let path = json_of(&answer)["path"].as_str().unwrap().to_owned();
    let secret = password(&gate, &["create", "bob"]);
    let mut bob = signed_in(&gate, "bob", &secret);
    assert_eq!(bob.fill_in(&path, &[]).status, 303);
    let people = json_of(&ask(&gate, &token, "GET", "/api/v1/people?organisation=acme", &[]));
    let account = people["items"][1]["account"].as_i64().unwrap();
    let target = format!("/api/v1/people/{account}?organisation=acme");
    let first = ask(&gate, &token, "GET", &target, &[]);
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(ask(&gate, &token, "GET", &target, &[("If-None-Match", &tag)]).status, 304);
    let admin = json!({ "role": "admin" });
    let change = |more: &[(&str, &str)]| send(&gate, &token, "PUT", &target, more, Some(&admin));
    assert_eq!(problem(&change(&[])).0, 428);
    assert_eq!(problem(&change(&[("If-Match", "\"other\"")])).0, 412);
    let changed = change(&[("If-Match", &tag)]);
    assert_eq!((changed.status, &json_of(&changed)["role"]), (200, &json!("admin")));
    assert_eq!(problem(&change(&[("If-Match", &tag)])).0, 412, "it is another by now");
    assert_eq!(ask(&gate, &token, "DELETE", &target, &[("If-Match", &tag)]).status, 412);
    let tag = changed.header("etag").unwrap();
    assert_eq!(ask(&gate, &token, "DELETE", &target, &[("If-Match", tag)]).status, 204);
    // All of it is in the log, in parts, and names no secret.
    let (mut deeds, mut after) = (Vec::new(), String::new());
    loop {
        let target = format!("/api/v1/audit?organisation=acme&limit=2&after={after}");
        let part = json_of(&ask(&gate, &token, "GET", &target, &[]));
        let items = part["items"].as_array().unwrap();
        deeds.extend(items.iter().map(|one| one["deed"].as_str().unwrap().to_owned()));
        assert!(!part.to_string().contains(&token[9..]) && !part.to_string().contains(&path[10..]));
        match part["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(
        deeds,
        [
            "member.remove",
            "member.change",
            "member.add",
            "invitation.make",
            "token.make",
            "gateway.set_up"
        ]
    );
    let page = text(&ada.get("/history?organisation=acme"));
    for shown in ["member.remove", "bob", "invitation.make"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert_eq!(bob.get("/history?organisation=acme").status, 404);
}

#[test]
fn a_package_is_made_public_by_a_token_and_asked_about_without_one() {
    let open = "[[packages]]\ndomain = \"registry.acme.com\"\nname = \"open/*\"\n\
                backend = \"ghcr.io/acme/*\"\npublic = true\n";
    let mut gate = Gate::start("epoll", &format!("{PACKAGES}{open}"));
    let mut ada = Person::set_up(&mut gate);
    // What the file makes public is so until the file says otherwise.
    let of_file = "/api/v1/settings?package=registry.acme.com/open/lander";
    let public = "/api/v1/pulls?package=registry.acme.com/open/lander&public=true";
    assert_eq!(ask(&gate, "", "GET", public, &[]).status, 200);
    let acme = [("organisation", "acme"), ("label", "all"), ("role", "admin"), ("days", "1")];
    let all = made(&mut ada, &acme);
    let private = json!({ "public": false });
    let refused = send(&gate, &all, "PUT", of_file, &[("If-Match", "*")], Some(&private));
    assert_eq!(problem(&refused), (409, "The file says so".to_owned()));
    let fields = [("package", ROCKET), ("label", "a"), ("role", "admin"), ("days", "1")];
    let token = made(&mut ada, &fields);
    let settings = format!("/api/v1/settings?package={ROCKET}");
    let pulls = format!("/api/v1/pulls?package={ROCKET}&by=country");
    let public = format!("{pulls}&public=true");
    let seen = ask(&gate, &token, "GET", &settings, &[]);
    assert_eq!(json_of(&seen), json!({ "package": ROCKET, "public": false, "badges": true }));
    assert_eq!(problem(&ask(&gate, "", "GET", &public, &[])).0, 401);
    let wanted = json!({ "public": true, "badges": false });
    let tag = [("If-Match", seen.header("etag").unwrap())];
    let changed = send(&gate, &token, "PUT", &settings, &tag, Some(&wanted));
    assert_eq!(json_of(&changed), json!({ "package": ROCKET, "public": true, "badges": false }));
    assert_eq!(problem(&send(&gate, &token, "PUT", &settings, &tag, Some(&wanted))).0, 412);
    let listed = json_of(&ask(&gate, &token, "GET", "/api/v1/packages", &[]));
    assert_eq!(listed["items"][0]["public"], true, "{listed}");
    assert_eq!(ask(&gate, "", "GET", &public, &[]).status, 200);
    assert_eq!(problem(&ask(&gate, "", "GET", &pulls, &[])).0, 401, "not all of it");
    assert_eq!(problem(&ask(&gate, "pullgate_00", "GET", &public, &[])).0, 401);
    let sledge = "/api/v1/pulls?package=registry.acme.com/acme/sledge&public=true";
    assert_eq!(problem(&ask(&gate, "", "GET", sledge, &[])).0, 401);
    let unknown = send(&gate, &token, "PUT", &settings, &[], Some(&json!({ "colour": true })));
    assert_eq!(problem(&unknown).0, 400);
}

/// A company that comes alone would be seen to come, on its day.
#[test]
fn everybody_is_told_of_no_company_that_comes() {
    let golden =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/places/flat-company.mmdb");
    let gate = Gate::start(
        "epoll",
        &format!(
            "trusted_proxies = [\"127.0.0.1\"]\n[insight]\ndatabases = [{golden:?}]\n\
             [[packages]]\ndomain = \"registry.acme.com\"\nname = \"acme/rocket\"\n\
             backend = \"ghcr.io/acme/rocket\"\ndelivery = \"redirect\"\npublic = true\n"
        ),
    );
    let headers = ["Host: registry.acme.com", "X-Forwarded-For: 198.51.100.1"].map(str::to_owned);
    let mut client = Connection::open(gate.address()).unwrap();
    let pulled = client.ask("GET", "/v2/acme/rocket/manifests/latest", &headers, b"").unwrap();
    assert_eq!(pulled.status, 307);
    eventually(|| match &gate.pulls(&["--by", "day"])["totals"] {
        totals if totals["monthly_companies"] == 1 => Ok(()),
        totals => Err(totals.to_string()),
    });
    for by in ["", "&by=day", "&by=hour", "&from=2026-01-01T00:00:00Z"] {
        let target = format!("/api/v1/pulls?package={ROCKET}&public=true{by}");
        let told = json_of(&ask(&gate, "", "GET", &target, &[]));
        for row in [&told["rows"][0], &told["totals"]] {
            let of = |measure: &str| row[measure].as_u64().unwrap();
            assert_eq!(
                (of("pulls"), of("monthly_companies"), of("public_days")),
                (1, 0, 0),
                "{told}"
            );
        }
    }
    // Of places only the pulls are told.
    let target = format!("/api/v1/pulls?package={ROCKET}&public=true&by=company");
    let told = json_of(&ask(&gate, "", "GET", &target, &[]));
    assert_eq!(told["totals"]["requests"], 0, "{told}");
}

#[test]
fn badges_have_the_addresses_that_the_page_shows_and_none_while_they_are_off() {
    let mut gate = Gate::start("epoll", PACKAGES);
    let mut ada = Person::set_up(&mut gate);
    let place = ("package", ROCKET);
    let [reads, writes] = ["member", "admin"]
        .map(|role| made(&mut ada, &[place, ("label", "a"), ("role", role), ("days", "1")]));
    let target = format!("/api/v1/badges?package={ROCKET}");
    let seen = ask(&gate, &reads, "GET", &target, &[]);
    let before = json_of(&seen);
    assert_eq!((&before["package"], &before["on"]), (&json!(ROCKET), &json!(true)));
    let badges = before["badges"].as_array().unwrap();
    let words: Vec<_> = badges.iter().map(|one| one["badge"].as_str().unwrap()).collect();
    assert_eq!(words, ["pulls", "latest-month", "companies", "version"]);
    let page = text(&ada.get(&format!("/packages/{ROCKET}")));
    let origin = format!("http://{}", gate.admin());
    let mut anybody = Person::before(&gate);
    let addresses = |badge: &Value| {
        ["svg", "json"].map(|key| {
            let address = badge[key].as_str().unwrap();
            address.strip_prefix(&origin).unwrap_or_else(|| panic!("{badge}")).to_owned()
        })
    };
    for badge in badges {
        for key in ["markdown", "restructuredtext", "asciidoc"] {
            assert!(page.contains(badge[key].as_str().unwrap()), "{badge}\n{page}");
        }
        let html = format!(
            "<img alt=\"{}\" src=\"{}\">",
            badge["about"].as_str().unwrap(),
            badge["svg"].as_str().unwrap()
        );
        assert_eq!(badge["html"], html);
        for (address, kind) in addresses(badge).iter().zip(["image/svg+xml", "application/json"]) {
            let shown = anybody.get(address);
            assert!(
                shown.status == 200 && shown.header("content-type").unwrap().starts_with(kind),
                "{address}"
            );
        }
    }
    // Off, they are nowhere; on again, where they were.
    let put = |on: bool, tag: &str| {
        let wanted = json!({ "on": on });
        send(&gate, &writes, "PUT", &target, &[("If-Match", tag)], Some(&wanted))
    };
    let tag = seen.header("etag").unwrap();
    let off = put(false, tag);
    assert_eq!(json_of(&off), json!({ "package": ROCKET, "on": false, "badges": [] }));
    assert_eq!(problem(&put(true, tag)).0, 412, "it is another by now");
    let settings = format!("/api/v1/settings?package={ROCKET}");
    assert_eq!(json_of(&ask(&gate, &reads, "GET", &settings, &[]))["badges"], false);
    let all = || badges.iter().flat_map(addresses);
    assert!(all().all(|address| anybody.get(&address).status == 404));
    let on = put(true, off.header("etag").unwrap());
    assert_eq!((on.status, json_of(&on)), (200, before.clone()));
    assert!(all().all(|address| anybody.get(&address).status == 200));
    let unknown =
        send(&gate, &writes, "PUT", &target, &[("If-Match", "*")], Some(&json!({ "off": true })));
    assert_eq!(problem(&unknown).0, 400);
}

#[test]
fn an_invitation_is_taken_for_the_tokens_account_once() {
    let mut gate = Gate::start("epoll", PACKAGES);
    let mut ada = Person::set_up(&mut gate);
    let secret = password(&gate, &["create", "eve", "--organisation", "other"]);
    let mut eve = signed_in(&gate, "eve", &secret);
    let token = token_of(&mut eve, "other");
    let take =
        |key: &str| send(&gate, &token, "POST", "/api/v1/join", &[], Some(&json!({ "key": key })));
    for (place, package) in
        [(("organisation", "acme"), json!(null)), (("package", SLEDGE), json!(SLEDGE))]
    {
        let link = link(&ada.act("/people/invite", &[place, ("role", "member")]));
        let key = link.rsplit('=').next().unwrap();
        let people = format!("/people?{}={}", place.0, place.1);
        let joined =
            json!({ "organisation": "acme", "package": package, "role": "member", "by": "ada" });
        let offered = ask(&gate, &token, "GET", &format!("/api/v1/join?key={key}"), &[]);
        assert_eq!((offered.status, &json_of(&offered)), (200, &joined));
        let taken = take(key);
        assert_eq!((taken.status, json_of(&taken)), (200, joined));
        assert!(text(&ada.get(&people)).contains("eve"), "{people}");
        assert_eq!(eve.get(&people).status, 200, "{people}");
        // It was for one, and the token is one of its own organisation still.
        assert_eq!(problem(&take(key)).0, 404);
        assert_eq!(ask(&gate, &token, "GET", &format!("/api/v1{people}"), &[]).status, 404);
    }
    for body in [json!({}), json!({ "key": "00", "role": "admin" }), json!({ "key": 0 })] {
        let refused = send(&gate, &token, "POST", "/api/v1/join", &[], Some(&body));
        assert_eq!(problem(&refused).0, 400, "{body}");
    }
    let log = text(&ada.get("/history?organisation=acme"));
    assert!(log.contains("member.add") && log.contains("eve"), "{log}");
}

#[test]
fn what_makes_no_sense_is_a_problem_with_words() {
    let mut gate = Gate::start("epoll", PACKAGES);
    let mut ada = Person::set_up(&mut gate);
    let token = made(
        &mut ada,
        &[("organisation", "acme"), ("label", "a"), ("role", "admin"), ("days", "1")],
    );
    for (method, target, body, status) in [
        ("GET", "/api/v1/packages?limit=0".to_owned(), None, 400),
        ("GET", "/api/v1/packages?limit=x".to_owned(), None, 400),
        ("GET", format!("/api/v1/pulls?package={ROCKET}&by=colour"), None, 400),
        ("GET", "/api/v1/export?format=xml".to_owned(), None, 400),
        ("GET", "/api/v1/export?top=3".to_owned(), None, 400),
        ("GET", "/api/v1/explain?url=nowhere".to_owned(), None, 400),
        ("GET", "/api/v1/audit?organisation=acme&after=x".to_owned(), None, 400),
        ("GET", "/api/v1/tokens/x?organisation=acme".to_owned(), None, 400),
        ("GET", format!("/api/v1/alerts/x?package={ROCKET}"), None, 400),
        ("PATCH", "/api/v1/packages".to_owned(), None, 405),
        ("POST", "/api/v1/invitations?organisation=acme".to_owned(), Some(json!({})), 400),
        (
            "POST",
            "/api/v1/tokens?organisation=acme".to_owned(),
            Some(json!({ "role": "member", "label": "" })),
            400,
        ),
        (
            "POST",
            "/api/v1/tokens?organisation=acme".to_owned(),
            Some(json!({ "role": "member", "label": "a", "days": 0 })),
            400,
        ),
    ] {
        let answer = send(&gate, &token, method, &target, &[], body.as_ref());
        assert_eq!(problem(&answer).0, status, "{method} {target}");
    }
}

#[test]
fn the_description_names_what_there_is() {
    let gate = Gate::start("epoll", PACKAGES);
    let mut anybody = Person::before(&gate);
    let described = json_of(&anybody.get("/api/v1/openapi.json"));
    assert!(described["openapi"].as_str().unwrap().starts_with("3."), "{described}");
    let paths = described["paths"].as_object().unwrap();
    let page = text(&anybody.get("/api"));
    let mut many = 0;
    for (path, item) in paths {
        for method in ["get", "post", "put", "delete"] {
            if item.get(method).is_some() {
                let method = method.to_uppercase();
                assert!(page.contains(&format!("{method} {path}")), "{method} {path}: {page}");
                // It is there, and asks who that is.
                let target = path.replace("{account}", "1").replace("{invitation}", "1");
                let target = target.replace("{alert}", "1");
                let target = target.replace("{token}", "1").replace("{host}", "a.b");
                let answer = anybody.ask(&method, &target, &[], b"");
                assert_eq!(answer.status, 401, "{method} {path}");
                many += 1;
            }
        }
    }
    assert_eq!(many, 51);
    assert_eq!(Described::of(&gate).gaps(), [] as [String; 0]);
    // Whatever counts may be told apart by is named.
    let parameters = paths["/api/v1/pulls"]["get"]["parameters"].as_array().unwrap();
    let by = parameters.iter().find(|one| one["name"] == "by").unwrap()["description"].as_str();
    let words: Vec<_> = by.unwrap().split([' ', ',', '.', ':']).collect();
    for word in By::EVERY.map(By::as_str) {
        assert!(words.contains(&word), "{word}: {by:?}");
    }
    // For people: parameters, what is sent, what is answered and what may be refused.
    for shown in [
        "<code>If-Match</code> <small>header, text, always</small>",
        "<code>backends</code> <small>list of text</small>",
        "<code>items[].may_configure</code> <small>true or false</small>",
        "<code>rows[].previous</code> <small>object, as before, may be left out</small>",
        "<small>text/event-stream</small>",
        "<dt><code>428</code></dt>",
    ] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
}

/// A schema that leaves open what it is of would fit anything.
#[test]
fn answers_are_held_to_what_is_said_of_them() {
    let mut gate = Gate::start("epoll", PACKAGES);
    let mut ada = Person::set_up(&mut gate);
    let token = token_of(&mut ada, "acme");
    let document = json_of(&Person::before(&gate).get("/api/v1/openapi.json"));
    let whole = Described::read(document.clone());
    let of_answer = |path: &str| {
        let answer = &document["paths"][path]["get"]["responses"]["200"];
        let name = answer["content"]["application/json"]["schema"]["$ref"].as_str().unwrap();
        format!("/components/schemas/{}", name.rsplit('/').next().unwrap())
    };
    let settings = format!("/api/v1/settings?package={ROCKET}");
    for (target, path, member, left_out) in [
        (&*settings, "/api/v1/settings", "public", "type"),
        ("/api/v1/packages", "/api/v1/packages", "items", "items"),
        ("/api/v1/packages", "/api/v1/packages", "items", "type"),
        ("/api/v1/audit?organisation=acme", "/api/v1/audit", "items", "items"),
    ] {
        let answer = ask(&gate, &token, "GET", target, &[]);
        assert_eq!(whole.check("GET", target, &answer), Ok(()));
        let mut less = document.clone();
        let at = format!("{}/properties/{member}", of_answer(path));
        let schema = less.pointer_mut(&at).unwrap_or_else(|| panic!("{at}"));
        assert!(schema.as_object_mut().unwrap().remove(left_out).is_some(), "{at}/{left_out}");
        let less = Described::read(less);
        assert!(less.check("GET", target, &answer).is_err(), "{at}/{left_out}");
        assert!(!less.gaps().is_empty(), "{at}/{left_out}");
    }
    // Who is told to come again is told when.
    let mut answer = ask(&gate, "", "GET", "/api/v1/pulls", &[]);
    answer.status = 429;
    let silent = whole.check("GET", "/api/v1/pulls", &answer).unwrap_err();
    assert!(silent.contains("Retry-After"), "{silent}");
    answer.headers.push(("retry-after".to_owned(), "5".to_owned()));
    assert_eq!(whole.check("GET", "/api/v1/pulls", &answer), Ok(()));
}

/// Settings, tokens, invitations and owners of domains, each by itself.
#[test]
fn what_is_not_as_it_is_meant_any_more_stays_as_it_is() {
    let mut gate = Gate::start("epoll", PACKAGES);
    let mut ada = Person::set_up(&mut gate);
    for organisation in ["mars", "moon"] {
        assert_eq!(ada.act("/organisations", &[("organisation", organisation)]).status, 303);
    }
    let token = token_of(&mut ada, "acme");
    let get = |target: &str| {
        let answer = ask(&gate, &token, "GET", target, &[]);
        assert_eq!(answer.status, 200, "{target}: {}", text(&answer));
        (answer.header("etag").unwrap().to_owned(), json_of(&answer))
    };
    let put = |target: &str, tag: &str, body: &Value| {
        send(&gate, &token, "PUT", target, &[("If-Match", tag)], Some(body)).status
    };
    // What somebody has changed meanwhile.
    let settings = format!("/api/v1/settings?package={ROCKET}");
    let owner = "/api/v1/domains/new.example/owner".to_owned();
    let badges = format!("/api/v1/badges?package={SLEDGE}");
    for (target, first, second) in [
        (badges, json!({ "on": false }), json!({ "on": true })),
        (settings, json!({ "badges": false }), json!({ "badges": true, "public": true })),
        (owner.clone(), json!({ "organisation": "mars" }), json!({ "organisation": "moon" })),
    ] {
        let (stale, before) = get(&target);
        assert_eq!(put(&target, &stale, &first), 200, "{target}");
        let (tag, changed) = get(&target);
        assert_ne!(before, changed);
        assert_eq!(put(&target, &stale, &second), 412, "{target}");
        assert_eq!(get(&target), (tag.clone(), changed), "{target}");
        assert_eq!(put(&target, &tag, &second), 200, "{target}");
        let (_, changed) = get(&target);
        let is_so = |(key, value): (&String, &Value)| changed[key] == *value;
        assert!(second.as_object().unwrap().iter().all(is_so), "{changed}");
    }
    // Of two at once who have seen the same, one changes it.
    let (tag, _) = get(&owner);
    let statuses = std::thread::scope(|scope| {
        let both = ["acme", "mars"].map(|organisation| {
            let wanted = json!({ "organisation": organisation });
            let (put, owner, tag) = (&put, &owner, &tag);
            scope.spawn(move || put(owner, tag, &wanted))
        });
        both.map(|one| one.join().unwrap())
    });
    assert!(matches!(statuses, [200, 412] | [412, 200]), "{statuses:?}");
    // What nobody changes is one or another: who means the one does not end the other.
    let (of_token, of_invitation) =
        (json!({ "role": "member", "label": "x" }), json!({ "role": "member" }));
    for (what, made_at, wanted) in [
        ("tokens", "tokens", &of_token),
        ("people/tokens", "tokens", &of_token),
        ("invitations", "invitations", &of_invitation),
    ] {
        let acme = |what: &str| format!("/api/v1/{what}?organisation=acme");
        for _ in 0..2 {
            let made = send(&gate, &token, "POST", &acme(made_at), &[], Some(wanted));
            assert_eq!(made.status, 201, "{what}: {}", text(&made));
        }
        let (_, listed) = get(&acme(what));
        let [one, other] = [0, 1].map(|newest| {
            let id = listed["items"][newest]["id"].as_i64().unwrap();
            acme(&format!("{what}/{id}"))
        });
        let end = |tag: &str| ask(&gate, &token, "DELETE", &one, &[("If-Match", tag)]).status;
        let (tag, before) = get(&one);
        assert_eq!(end(&get(&other).0), 412, "{one}");
        assert_eq!(get(&one), (tag.clone(), before), "{one}");
        assert_eq!(end(&tag), 204, "{one}");
        assert_eq!(ask(&gate, &token, "GET", &one, &[]).status, 404, "{one}");
        get(&other);
    }
}

#[test]
fn every_change_of_what_is_there_says_which_state_of_it_is_meant() {
    let mut gate = Gate::start_with_admin("epoll", "sign_up = \"open\"\n", PACKAGES);
    let mut ada = Person::set_up(&mut gate);
    let token = token_of(&mut ada, "acme");
    // One of each sort.
    let acme = |what: &str| format!("/api/v1/{what}?organisation=acme");
    let of = |what: &str, package: &str| format!("/api/v1/{what}?package={package}");
    let package = "made.example/acme/sledge";
    let written =
        json!({ "domain": "made.example", "name": "acme/sledge", "backends": ["ghcr.io/x"] });
    let webhook = json!({ "url": "https://hooks.example/x", "events": ["weekly"] });
    for (target, body) in [
        (acme("packages"), written.clone()),
        (acme("invitations"), json!({ "role": "member" })),
        (acme("domains"), json!({ "host": "claimed.example" })),
        (of("alerts", ROCKET), webhook.clone()),
    ] {
        let made = send(&gate, &token, "POST", &target, &[], Some(&body));
        assert_eq!(made.status, 201, "{target}: {}", text(&made));
    }
    let first = |list: String, key: &str| {
        let listed = json_of(&ask(&gate, &token, "GET", &list, &[]));
        listed["items"][0][key].as_i64().unwrap_or_else(|| panic!("{listed}"))
    };
    let (account, invitation) =
        (first(acme("people"), "account"), first(acme("invitations"), "id"));
    let (tokens, alert) = (first(acme("tokens"), "id"), first(of("alerts", ROCKET), "id"));
    let member = json!({ "role": "member" });
    // Where one of each is, and what is sent there.
    let all = [
        ("/api/v1/package", of("package", package), written),
        ("/api/v1/package/revert", of("package/revert", package), json!({ "change": 1 })),
        ("/api/v1/settings", of("settings", ROCKET), json!({ "public": true })),
        ("/api/v1/badges", of("badges", ROCKET), json!({ "on": false })),
        ("/api/v1/people/{account}", acme(&format!("people/{account}")), member),
        ("/api/v1/people/tokens/{token}", acme(&format!("people/tokens/{tokens}")), json!(null)),
        (
            "/api/v1/invitations/{invitation}",
            acme(&format!("invitations/{invitation}")),
            json!(null),
        ),
        ("/api/v1/tokens/{token}", acme(&format!("tokens/{tokens}")), json!(null)),
        ("/api/v1/alerts/{alert}", of(&format!("alerts/{alert}"), ROCKET), webhook),
        ("/api/v1/domains/{host}", acme("domains/claimed.example"), json!(null)),
        (
            "/api/v1/domains/{host}/owner",
            "/api/v1/domains/claimed.example/owner".to_owned(),
            json!({ "organisation": "acme" }),
        ),
    ];
    let described = json_of(&Person::before(&gate).get("/api/v1/openapi.json"));
    let mut seen = Vec::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        for method in ["put", "delete", "post", "patch"] {
            let Some(described) = item.get(method) else { continue };
            let parameters = described["parameters"].as_array().cloned().unwrap_or_default();
            let says =
                parameters.iter().any(|one| one["name"] == "If-Match" && one["in"] == "header");
            // A POST makes something, or changes nothing, but for the one that undoes a change. What cannot be
            // read by itself has no ETag to send.
            let needs = match method {
                "post" => path == "/api/v1/package/revert",
                _ => item.get("get").is_some(),
            };
            assert_eq!(says, needs, "{method} {path}");
            if !needs {
                continue;
            }
            let (_, target, body) = all.iter().find(|(at, ..)| at == path).expect(path);
            let method = method.to_uppercase();
            let body = Some(body).filter(|body| !body.is_null());
            for (more, status) in [(&[][..], 428), (&[("If-Match", "\"other\"")], 412)] {
                let refused = send(&gate, &token, &method, target, more, body);
                assert_eq!(problem(&refused).0, status, "{method} {target}");
            }
            let read = target.replace("/revert", "");
            let found = ask(&gate, &token, "GET", &read, &[]);
            assert!(
                found.status == 200 && found.header("etag").is_some(),
                "{read}: {}",
                text(&found)
            );
            seen.push(path.as_str());
        }
    }
    for (path, ..) in &all {
        let has_one = seen.contains(path) || described["paths"][path].get("get").is_none();
        assert!(has_one, "{path} is changed by nothing");
    }
}
