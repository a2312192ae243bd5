//! Who asks for something and holds the last byte of it back, or is still being answered, until they may not do
//! it any more.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::io::ErrorKind;

use serde_json::{Value, json};
use support::eventually::eventually;
use support::gate::Gate;
use support::http::Connection;
use support::old::import_much;
use support::packages::OF_FILE;
use support::people::{account_of, invited, link, number};
use support::person::{FORM, PACKAGES, PASSWORD, Person, ROCKET, SLEDGE, encoded, text};
use support::program::{ask, begin_export, json_of, made, send, token_of};

/// A request of which the gateway waits for the last byte.
struct Held {
    what: String,
    connection: Connection,
    last: u8,
}

impl Held {
    /// The gateway has looked at who asks when it says that it wants the body (RFC 9110, 10.1.1).
    fn back(gate: &Gate, (method, target): (&str, &str), lines: &[String], body: &str) -> Self {
        let mut connection = Connection::open(gate.admin()).unwrap();
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", gate.admin());
        for line in lines {
            head += &format!("{line}\r\n");
        }
        head += &format!("Content-Length: {}\r\nExpect: 100-continue\r\n\r\n", body.len());
        connection.send(head.as_bytes()).unwrap();
        let what = format!("{method} {target} {body}");
        assert_eq!(connection.head().unwrap().status, 100, "{what}");
        let (last, first) = body.as_bytes().split_last().unwrap();
        connection.send(first).unwrap();
        Self { what, connection, last: *last }
    }

    /// A form of somebody's.
    fn form(
        gate: &Gate,
        person: &Person,
        token: &str,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Self {
        let mut all = vec![("form_token".to_owned(), token.to_owned())];
        all.extend(fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let lines = [FORM.to_owned(), format!("Cookie: {}", person.cookie.as_ref().unwrap())];
        Self::back(gate, ("POST", target), &lines, &encoded(&all))
    }

    /// What a program sends, whatever state of a thing it finds.
    fn program(gate: &Gate, token: &str, asked: (&str, &str), body: &Value) -> Self {
        let lines = [
            format!("Authorization: Bearer {token}"),
            "Content-Type: application/json".to_owned(),
            "If-Match: *".to_owned(),
        ];
        Self::back(gate, asked, &lines, &body.to_string())
    }

    /// Lets it go; it is too late.
    fn comes_too_late(mut self) {
        self.connection.send(&[self.last]).unwrap();
        let answer = self.connection.answer(false).unwrap();
        assert_eq!(answer.status, 403, "{}: {}", self.what, text(&answer));
    }
}

/// All deeds that acme's log has, the newest first.
fn deeds(gate: &Gate, token: &str) -> Vec<String> {
    let log = json_of(&ask(gate, token, "GET", "/api/v1/audit?organisation=acme&limit=1000", &[]));
    let items = log["items"].as_array().unwrap();
    items.iter().map(|one| one["deed"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_an_admin_has_asked_for_is_not_done_once_they_are_none() {
    let mut gate = Gate::start_with_admin("epoll", "sign_up = \"open\"\n", PACKAGES);
    let mut ada = Person::set_up(&mut gate);
    let acme = ("organisation", "acme");
    let mut bob = invited(&gate, &mut ada, acme, "admin", "bob");
    invited(&gate, &mut ada, acme, "member", "eve");
    let (adas, bobs) = (token_of(&mut ada, "acme"), token_of(&mut bob, "acme"));
    ada.act("/people/invite", &[acme, ("role", "member")]);
    let people = ada.get("/people?organisation=acme");
    let [bob_is, eve_is] = ["bob", "eve"].map(|login| account_of(&people, login));
    let (invitation, token) = (number(&people, "invitation"), number(&people, "token"));
    let at_rocket = |what: &str| format!("/api/v1/{what}?package={ROCKET}");
    let hook = json!({ "url": "https://hooks.example/x", "events": ["weekly"] });
    send(&gate, &adas, "POST", &at_rocket("alerts"), &[], Some(&hook));
    let alert = json_of(&ask(&gate, &adas, "GET", &at_rocket("alerts"), &[]));
    let alert = alert["items"][0]["id"].to_string();
    ada.act("/domains/claim", &[acme, ("domain", "claimed.example")]);
    let before = deeds(&gate, &adas);

    let rocket = ("package", ROCKET);
    let (member, admin) = (("role", "member"), ("role", "admin"));
    let (alerts, publish) = (format!("/alerts/{ROCKET}"), format!("/settings/public/{ROCKET}"));
    let first_pull = format!("/first-pull/{ROCKET}");
    let badges = format!("/settings/badges/{ROCKET}");
    let url = ("url", "https://hooks.example/y");
    let claimed = ("domain", "claimed.example");
    let forms: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("/people/role", vec![acme, ("account", &bob_is), admin]),
        ("/people/role", vec![acme, ("account", &eve_is), admin]),
        ("/people/remove", vec![acme, ("account", &eve_is)]),
        ("/people/invite", vec![acme, admin]),
        ("/people/invite", vec![rocket, member]),
        ("/people/withdraw", vec![acme, ("invitation", &invitation)]),
        ("/people/revoke", vec![acme, ("token", &token)]),
        ("/tokens", vec![acme, ("label", "late"), admin]),
        (&alerts, vec![("do", "add"), url, ("weekly", "on")]),
        (&alerts, vec![("do", "remove"), ("alert", &alert)]),
        (&alerts, vec![("do", "test"), ("alert", &alert)]),
        (&publish, vec![("public", "on")]),
        (&badges, vec![("badges", "off")]),
        (&first_pull, vec![]),
        ("/organisations", vec![("organisation", "late")]),
        ("/organisations/domain", vec![acme, ("domain", "late.example")]),
        ("/domains/claim", vec![acme, ("domain", "late.example")]),
        ("/domains/withdraw", vec![acme, claimed]),
        ("/domains/return", vec![acme, claimed]),
        (
            "/packages/new",
            vec![acme, ("domain", "late.example"), ("name", "x"), ("backends", "ghcr.io/x")],
        ),
    ];
    let role = |word: &str| json!({ "role": word });
    let of_acme = |what: &str| format!("/api/v1/{what}?organisation=acme");
    let asked: Vec<(&str, String, Value)> = vec![
        ("PUT", of_acme(&format!("people/{bob_is}")), role("admin")),
        ("POST", of_acme("invitations"), role("admin")),
        ("POST", of_acme("tokens"), json!({ "label": "late", "role": "admin" })),
        ("POST", at_rocket("alerts"), hook.clone()),
        ("PUT", at_rocket(&format!("alerts/{alert}")), hook),
        ("PUT", at_rocket("settings"), json!({ "public": true, "badges": false })),
        ("PUT", at_rocket("badges"), json!({ "on": false })),
        ("POST", "/api/v1/organisations".to_owned(), json!({ "name": "late" })),
        ("POST", of_acme("domains"), json!({ "host": "late.example" })),
        ("PUT", "/api/v1/domains/late.example/owner".to_owned(), json!({ "organisation": "acme" })),
        (
            "POST",
            of_acme("packages"),
            json!({ "domain": "late.example", "name": "x", "backends": ["ghcr.io/x"] }),
        ),
    ];
    let form_token = bob.form_token("/account");
    let mut held: Vec<Held> = forms
        .iter()
        .map(|(target, fields)| Held::form(&gate, &bob, &form_token, target, fields))
        .collect();
    held.extend(
        asked
            .iter()
            .map(|(method, target, body)| Held::program(&gate, &bobs, (method, target), body)),
    );
    let demoted = ada.act("/people/role", &[acme, ("account", &bob_is), member]);
    assert_eq!(demoted.status, 303);
    held.into_iter().for_each(Held::comes_too_late);
    let after = deeds(&gate, &adas);
    assert_eq!(after[0], "member.change");
    assert_eq!(after[1..], before);
}

#[test]
fn what_was_asked_for_in_a_session_or_by_a_token_is_not_done_once_that_has_ended() {
    let mut gate = Gate::start_with_admin("epoll", "sign_up = \"open\"\n", PACKAGES);
    let mut ada = Person::set_up(&mut gate);
    let acme = ("organisation", "acme");
    let token = token_of(&mut ada, "acme");
    let mut bob = invited(&gate, &mut ada, ("package", ROCKET), "member", "bob");
    made(&mut bob, &[("package", ROCKET), ("label", "a"), ("role", "member"), ("days", "1")]);
    let of_bob = number(&bob.get("/tokens"), "token");
    let link = link(&ada.act("/people/invite", &[acme, ("role", "member")]));
    let key = link.rsplit('=').next().unwrap();
    let other = "another one, just as long";
    let mut elsewhere = Person::before(&gate);
    assert_eq!(elsewhere.sign_in("bob", PASSWORD).status, 303);
    let session = number(&elsewhere.get("/account"), "session");
    let form_token = bob.form_token("/account");
    let forms = [
        ("/account/password", vec![("password", PASSWORD), ("new_password", other)]),
        ("/account/second-factor/off", vec![("password", PASSWORD)]),
        ("/account/sessions", vec![("session", session.as_str())]),
        ("/tokens/revoke", vec![("token", of_bob.as_str())]),
        ("/organisations", vec![("organisation", "late")]),
        ("/join", vec![("key", key)]),
    ];
    let mut held: Vec<Held> = forms
        .iter()
        .map(|(target, fields)| Held::form(&gate, &bob, &form_token, target, fields))
        .collect();
    for target in ["/api/v1/invitations?organisation=acme", "/api/v1/tokens?organisation=acme"] {
        let body = json!({ "role": "member", "label": "late" });
        held.push(Held::program(&gate, &token, ("POST", target), &body));
    }
    assert_eq!(bob.act("/sign-out", &[]).status, 303);
    held.push(Held::program(&gate, &token, ("POST", "/api/v1/join"), &json!({ "key": key })));
    let id = number(&ada.get("/tokens"), "token");
    assert_eq!(ada.act("/tokens/revoke", &[("token", &id)]).status, 303);
    held.into_iter().for_each(Held::comes_too_late);
    assert_eq!(elsewhere.get("/account").status, 200, "nothing of it was done");
    assert!(text(&elsewhere.get("/tokens")).contains(ROCKET));
    assert_eq!(Person::before(&gate).get(&link).status, 200);
}

#[test]
fn who_watches_hears_nothing_more_once_they_may_not_see_it_or_what_they_came_by_has_ended() {
    let packages = format!("{OF_FILE}delivery = \"redirect\"\n");
    let mut gate = Gate::start_with_admin("epoll", "sign_up = \"invitation\"\n", &packages);
    let mut ada = Person::set_up(&mut gate);
    let acme = ("organisation", "acme");
    let mut bob = invited(&gate, &mut ada, acme, "member", "bob");
    let mut eve = invited(&gate, &mut ada, acme, "member", "eve");
    let watch = |target: &str, who: &str| {
        let mut stream = Connection::open(gate.admin()).unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n{who}\r\n\r\n", gate.admin());
        stream.send(head.as_bytes()).unwrap();
        let answer = stream.head().unwrap();
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(answer.header("content-type"), Some("text/event-stream"), "{target}");
        stream.until("watching").unwrap();
        stream
    };
    let [mut bobs, mut eves, mut adas] = [&bob, &eve, &ada].map(|person| {
        let cookie = format!("Cookie: {}", person.cookie.as_ref().unwrap());
        watch(&format!("/live/{ROCKET}"), &cookie)
    });
    let token_of_rocket = |person: &mut Person| {
        made(person, &[("package", ROCKET), ("label", "a"), ("role", "member"), ("days", "1")])
    };
    let program = |token: &str| {
        let by_token = format!("Authorization: Bearer {token}");
        watch(&format!("/api/v1/live?package={ROCKET}"), &by_token)
    };
    let [of_bob, of_eve] = [&mut bob, &mut eve].map(token_of_rocket);
    let [mut bobs_program, mut eves_program] = [&of_bob, &of_eve].map(|token| program(token));
    // A token of hers that ends, before the one that lasts.
    let ends = token_of_rocket(&mut ada);
    let of_ada = number(&ada.get("/tokens"), "token");
    let (mut ended, mut lasting) = (program(&ends), program(&token_of_rocket(&mut ada)));
    assert_eq!(ada.act("/tokens/revoke", &[("token", &of_ada)]).status, 303);
    let bob_is = account_of(&ada.get("/people?organisation=acme"), "bob");
    assert_eq!(ada.act("/people/remove", &[acme, ("account", &bob_is)]).status, 303);
    assert_eq!(eve.act("/sign-out", &[]).status, 303);
    for (stream, whose) in [
        (&mut bobs, "bob"),
        (&mut eves, "eve"),
        (&mut bobs_program, "bob's program"),
        (&mut ended, "ada's program"),
    ] {
        // The last piece of the body, empty (RFC 9112, 7.1), after which the connection is free.
        let rest = stream.until("0").unwrap_or_else(|error| panic!("{whose}: {error}"));
        assert_eq!(rest.lines().next_back(), Some("0"), "{whose}: {rest}");
    }
    // Who may still hears of what is pulled then.
    let mut client = Connection::open(gate.address()).unwrap();
    let lines =
        ["Host: registry.acme.com".to_owned(), "User-Agent: docker/28.5.2 go/go1".to_owned()];
    let manifest = "/v2/acme/rocket/manifests/latest";
    assert_eq!(client.ask("GET", manifest, &lines, b"").unwrap().status, 307);
    adas.until("event: pull").unwrap();
    // Who signs out ends no token.
    for stream in [&mut lasting, &mut eves_program] {
        stream.until("event: pull").unwrap();
        let told = stream.until("data: ").unwrap();
        let told: Value =
            serde_json::from_str(told.trim_end().strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!((&told["tag"], &told["client"]), (&json!("latest"), &json!("docker")));
    }
}

/// Who watches all that they may see hears of nothing else, by page and by program, and of nothing once that is less.
#[test]
fn who_watches_all_packages_hears_of_those_they_may_see() {
    let packages = PACKAGES.replace("backend", "delivery = \"redirect\"\nbackend");
    let mut gate = Gate::start_with_admin("epoll", "sign_up = \"invitation\"\n", &packages);
    let mut ada = Person::set_up(&mut gate);
    let rocket = ("package", ROCKET);
    let mut pat = invited(&gate, &mut ada, rocket, "member", "pat");
    let of_one = made(&mut pat, &[rocket, ("label", "a"), ("role", "member"), ("days", "1")]);
    let watch = |target: &str, who: &str| {
        let mut stream = Connection::open(gate.admin()).unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n{who}\r\n\r\n", gate.admin());
        stream.send(head.as_bytes()).unwrap();
        assert_eq!(stream.head().unwrap().status, 200, "{target}");
        stream.until("watching").unwrap();
        stream
    };
    let [mut adas, mut pats] = [&ada, &pat]
        .map(|person| watch("/live", &format!("Cookie: {}", person.cookie.as_ref().unwrap())));
    let mut program = watch("/api/v1/live", &format!("Authorization: Bearer {of_one}"));
    let mut client = Connection::open(gate.address()).unwrap();
    for name in ["acme/sledge", "acme/rocket"] {
        let lines =
            ["Host: registry.acme.com".to_owned(), "User-Agent: docker/28.5.2 go/go1".to_owned()];
        let manifest = format!("/v2/{name}/manifests/latest");
        assert_eq!(client.ask("GET", &manifest, &lines, b"").unwrap().status, 307);
        adas.until(name).unwrap();
    }
    for (stream, whose) in [(&mut pats, "pat"), (&mut program, "pat's program")] {
        let told = stream.until("acme/rocket").unwrap();
        assert!(!told.contains("sledge"), "{whose}: {told}");
    }
    let pat_is = account_of(&ada.get(&format!("/people?package={ROCKET}")), "pat");
    assert_eq!(ada.act("/people/remove", &[rocket, ("account", &pat_is)]).status, 303);
    for stream in [&mut pats, &mut program] {
        let rest = stream.until("0").unwrap();
        assert_eq!(rest.lines().next_back(), Some("0"), "{rest}");
    }
}

/// A package that gets a rule of its own is none of its collection any more, and so nothing for its people.
#[test]
fn an_export_breaks_off_once_the_file_sets_apart_what_it_is_of() {
    let collection = "[[packages]]\ndomain = \"registry.acme.com\"\nname = \"acme/*\"\n\
                      backend = \"ghcr.io/acme/*\"\n[limits]\nwrite_timeout = \"300s\"\n";
    let mut gate = Gate::start_with_admin("epoll", "sign_up = \"invitation\"\n", collection);
    let mut ada = Person::set_up(&mut gate);
    let place = ("package", "registry.acme.com/acme/*");
    let mut bob = invited(&gate, &mut ada, place, "member", "bob");
    let rows = import_much(&gate, ROCKET);
    let [of_bob, of_ada] =
        [&bob, &ada].map(|person| format!("Cookie: {}", person.cookie.as_ref().unwrap()));
    let [(answer, mut cut), (other, _held), (whole, mut all)] =
        [&of_bob, &of_bob, &of_ada].map(|who| begin_export(&gate, who, ""));
    assert_eq!([answer.status, other.status, whole.status], [200; 3]);
    assert_eq!(begin_export(&gate, &of_bob, "").0.status, 429, "two are under way");
    assert_eq!(bob.get(&format!("/download/{ROCKET}")).status, 429, "and a page's download is one");
    let before = fs::read_to_string(gate.config_file()).unwrap();
    let own = "[[packages]]\ndomain = \"registry.acme.com\"\nname = \"acme/rocket\"\n\
               backend = \"ghcr.io/acme/rocket\"\n";
    fs::write(gate.config_file(), format!("{before}\n{own}")).unwrap();
    eventually(|| match begin_export(&gate, &of_bob, "").0.status {
        200 => Ok(()),
        status => Err(format!("{status}: none has ended")),
    });
    assert_eq!(bob.get(&format!("/packages/{ROCKET}")).status, 404);
    let broken = cut.chunks(&mut Vec::new()).unwrap_err();
    let is_noticed =
        [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&broken.kind());
    assert!(is_noticed, "{broken}");
    // Who sees it by another role goes on.
    let mut came = Vec::new();
    all.chunks(&mut came).unwrap();
    assert_eq!(String::from_utf8(came).unwrap().lines().count(), rows);
}

/// Nobody reads on what they have begun, so that it stays under way.
#[test]
fn an_export_breaks_off_once_what_it_was_asked_by_has_ended_or_reaches_less() {
    let packages = format!("{PACKAGES}\n[limits]\nwrite_timeout = \"300s\"\n");
    let mut gate = Gate::start_with_admin("epoll", "sign_up = \"invitation\"\n", &packages);
    let mut ada = Person::set_up(&mut gate);
    let acme = ("organisation", "acme");
    let mut bob = invited(&gate, &mut ada, acme, "member", "bob");
    let bob_is = account_of(&ada.get("/people?organisation=acme"), "bob");
    let to_sledge = link(&ada.act("/people/invite", &[("package", SLEDGE), ("role", "member")]));
    assert_eq!(bob.fill_in(&to_sledge, &[]).status, 303);
    import_much(&gate, ROCKET);
    let rows = import_much(&gate, SLEDGE);
    let token = |bob: &mut Person, place| {
        made(bob, &[place, ("label", "test"), ("role", "member"), ("days", "1")])
    };
    // An account has two at once. This one ends with nothing of what comes.
    let lasting = format!("Authorization: Bearer {}", token(&mut bob, ("package", SLEDGE)));
    let begin = |who: &str, query: &str| {
        eventually(|| match begin_export(&gate, who, query) {
            (answer, export) if answer.status == 200 => Ok(export),
            (answer, _) => Err(format!("{who}: {}", answer.status)),
        })
    };
    let mut whole = begin(&lasting, "");
    let breaks_off =
        |bob: &mut Person, (who, query): (&str, &str), end: &mut dyn FnMut(&mut Person)| {
            let mut export = begin(who, query);
            assert_eq!(begin_export(&gate, &lasting, "").0.status, 429, "{who}: it is under way");
            end(bob);
            begin(&lasting, "");
            let mut came = Vec::new();
            let cut = export.chunks(&mut came).unwrap_err();
            let is_noticed =
                [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&cut.kind());
            assert!(is_noticed && !came.is_empty(), "{who}: {cut}");
        };
    let by_token = format!("Authorization: Bearer {}", token(&mut bob, acme));
    breaks_off(&mut bob, (&by_token, &format!("?package={ROCKET}")), &mut |bob| {
        let newest = number(&bob.get("/tokens"), "token");
        assert_eq!(bob.act("/tokens/revoke", &[("token", &newest)]).status, 303);
    });
    let by_session = |bob: &Person| format!("Cookie: {}", bob.cookie.as_ref().unwrap());
    let session = by_session(&bob);
    breaks_off(&mut bob, (&session, ""), &mut |bob| {
        assert_eq!(bob.act("/sign-out", &[]).status, 303);
    });
    assert_eq!(bob.sign_in("bob", PASSWORD).status, 303);
    let session = by_session(&bob);
    breaks_off(&mut bob, (&session, ""), &mut |_| {
        assert_eq!(ada.act("/people/remove", &[acme, ("account", &bob_is)]).status, 303);
    });
    let mut came = Vec::new();
    whole.chunks(&mut came).unwrap();
    assert_eq!(String::from_utf8(came).unwrap().lines().count(), rows);
}
