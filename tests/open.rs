//! Where anybody may make an account: signing up, organisations of one's own, and domains that a TXT record
//! proves, before a name server of the test's.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::net::IpAddr;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;

use serde_json::{Value, json};
use support::eventually::eventually;
use support::gate::{Gate, pullgate};
use support::http::{Answer, Connection};
use support::names::{Names, wanted};
use support::person::{FORM, PACKAGES, PASSWORD, Person, text};
use support::process::run;
use support::program::{ask, json_of, problem, send, token_of};

fn gate(names: &Names) -> Gate {
    gate_with(names, PACKAGES)
}

fn gate_with(names: &Names, config: &str) -> Gate {
    let keys = "sign_up = \"open\"\ndomain = \"pullgate.acme.com\"\n";
    let at = names.at;
    Gate::start_with_admin_and("epoll", keys, config, move |command| {
        command.arg("--resolver").arg(at.to_string());
    })
}

fn signed_up(gate: &Gate, login: &str, organisation: &str, last: u8) -> Person {
    let mut person = Person::before(gate);
    person.from = Some(IpAddr::from([127, 0, 0, last]));
    let fields = [("login", login), ("organisation", organisation), ("password", PASSWORD)];
    let answer = person.fill_in("/sign-up", &fields);
    assert_eq!(answer.status, 303, "{}", text(&answer));
    person
}

#[test]
fn anybody_makes_an_account_with_an_organisation_of_its_own() {
    let names = Names::start();
    let mut gate = gate(&names);
    let mut early = Person::before(&gate);
    let fields = [("login", "eve"), ("organisation", "moon"), ("password", PASSWORD)];
    assert_eq!(early.fill_in("/sign-up", &fields).status, 404, "nobody runs the gateway yet");
    let mut ada = Person::set_up(&mut gate);
    assert!(text(&early.get("/sign-in")).contains("href=\"/sign-up\""));
    for (login, organisation, password, status, why) in [
        ("eve", "a b", PASSWORD, 400, "organisation&#39;s name is made of"),
        ("eve", "moon", "short", 400, "fewer than 12"),
        ("ada", "moon", PASSWORD, 409, "There is an account `ada` already"),
        ("eve", "acme", PASSWORD, 409, "There is an organisation `acme` already"),
    ] {
        let fields = [("login", login), ("organisation", organisation), ("password", password)];
        let answer = early.fill_in("/sign-up", &fields);
        assert_eq!(answer.status, status, "{}", text(&answer));
        assert!(text(&answer).contains(why), "{}", text(&answer));
    }
    let mut eve = signed_up(&gate, "eve", "moon", 9);
    assert_eq!(eve.get("/people?organisation=moon").status, 200);
    for target in ["/people?organisation=acme", "/organisations", "/domains?organisation=acme"] {
        assert_eq!(eve.get(target).status, 404, "{target}");
    }
    assert!(!text(&eve.get("/")).contains("acme/rocket"));
    // Another organisation is its founder's too.
    assert_eq!(eve.act("/organisations", &[("organisation", "mars")]).status, 303);
    assert_eq!(eve.get("/domains?organisation=mars").status, 200);
    assert_eq!(
        ada.get("/domains?organisation=mars").status,
        404,
        "who runs the gateway lists it only"
    );
    assert!(text(&ada.get("/organisations")).contains("mars"));
    // A network gets a few accounts, and waits then.
    let is_refused = (0..20).any(|number| {
        let mut person = Person::before(&gate);
        person.from = Some(IpAddr::from([127, 0, 0, 77]));
        let (login, of) = (format!("p{number}"), format!("o{number}"));
        let fields = [("login", login.as_str()), ("organisation", &of), ("password", PASSWORD)];
        person.fill_in("/sign-up", &fields).status == 429
    });
    assert!(is_refused);
}

#[test]
fn a_domain_is_an_organisations_once_a_record_proves_it() {
    let names = Names::start();
    let mut gate = gate(&names);
    let mut ada = Person::set_up(&mut gate);
    let mut eve = signed_up(&gate, "eve", "moon", 9);
    let mut bob = signed_up(&gate, "bob", "mars", 10);
    let claim = |person: &mut Person, organisation, domain| {
        person.act("/domains/claim", &[("organisation", organisation), ("domain", domain)])
    };
    for (domain, why) in [
        ("registry.acme.com", "is served here already"),
        ("Pullgate.acme.com", "is the dashboard&#39;s own name"),
        ("localhost", "A domain is a host name"),
        ("192.0.2.1", "A domain is a host name"),
        ("moon.example:8080", "A domain is a host name"),
        ("*.moon.example", "A domain is a host name"),
        ("", "A domain is a host name"),
    ] {
        let answer = claim(&mut eve, "moon", domain);
        assert_eq!(answer.status, 400, "{domain}");
        assert!(text(&answer).contains(why), "{domain}: {}", text(&answer));
    }
    assert_eq!(claim(&mut eve, "mars", "moon.example").status, 404, "another's organisation");
    assert_eq!(claim(&mut eve, "moon", " Registry.Moon.example. ").status, 303);
    assert_eq!(
        claim(&mut bob, "mars", "registry.moon.example").status,
        303,
        "who proves it has it"
    );
    let host = "registry.moon.example";
    let page = text(&eve.get("/domains?organisation=moon"));
    let record = wanted(&page, host);
    let fields = [("organisation", "moon"), ("domain", host)];
    for (texts, why) in [
        (vec![], "no TXT record is there"),
        (vec!["v=spf1 -all", "pullgate-domain=00"], "of 2 TXT records there none says that"),
    ] {
        names.say("_pullgate.registry.moon.example", &texts);
        let answer = eve.act("/domains/check", &fields);
        assert_eq!(answer.status, 409);
        assert!(text(&answer).contains(why), "{}", text(&answer));
    }
    names.say("_pullgate.registry.moon.example", &["other", &record]);
    // The record proves it for who has claimed it by that text, and for nobody else.
    let others = [("organisation", "mars"), ("domain", host)];
    assert_eq!(bob.act("/domains/check", &others).status, 409);
    assert_eq!(eve.act("/domains/check", &fields).status, 303);
    let page = text(&eve.get("/domains?organisation=moon"));
    assert!(page.contains("<li>registry.moon.example") && !page.contains(&record), "{page}");
    assert_eq!(bob.act("/domains/check", &others).status, 404, "its claim is over");
    assert_eq!(claim(&mut bob, "mars", host).status, 409);
    assert!(text(&ada.get("/organisations")).contains(host));
    assert!(text(&eve.get("/history?organisation=moon")).contains("domain.give"));
    // It is given back once nothing is there, and is then whoever's proves it.
    let token = token_of(&mut eve, "moon");
    let body = json!({ "domain": host, "name": "x", "backends": ["ghcr.io/moon/x"] });
    let make = "/api/v1/packages?organisation=moon";
    let made = send(&gate, &token, "POST", make, &[], Some(&body));
    assert_eq!(made.status, 201, "{}", text(&made));
    let refused = eve.act("/domains/return", &fields);
    assert_eq!(refused.status, 409);
    assert!(text(&refused).contains("move or remove them first"), "{}", text(&refused));
    assert_eq!(bob.act("/domains/return", &fields).status, 404);
    let settings = text(&eve.get(&format!("/settings/package/{host}/x")));
    let removed = format!("/settings/remove/{host}/x");
    assert_eq!(eve.send_form(&settings, &removed, &[("confirm", "yes")]).status, 303);
    assert_eq!(eve.send_form(&page, "/domains/return", &[]).status, 303);
    assert_eq!(eve.act("/domains/return", &fields).status, 404, "it is nobody's");
    assert!(text(&eve.get("/history?organisation=moon")).contains("domain.return"));
    assert_eq!(claim(&mut bob, "mars", host).status, 303);
    let record = wanted(&text(&bob.get("/domains?organisation=mars")), host);
    names.say("_pullgate.registry.moon.example", &[&record]);
    assert_eq!(bob.act("/domains/check", &others).status, 303);
}

/// A look at a name server that says nothing takes seconds, and one account can ask for many.
#[test]
fn whoever_has_many_domains_looked_up_holds_up_nobody_else() {
    let names = Names::start();
    let mut gate = gate(&names);
    Person::set_up(&mut gate);
    let mut eve = signed_up(&gate, "eve", "moon", 9);
    let mut bob = signed_up(&gate, "bob", "mars", 10);
    for (person, organisation, domain) in
        [(&mut eve, "moon", "quiet.example"), (&mut bob, "mars", "mars.example")]
    {
        let fields = [("organisation", organisation), ("domain", domain)];
        assert_eq!(person.act("/domains/claim", &fields).status, 303);
    }
    let record = wanted(&text(&bob.get("/domains?organisation=mars")), "mars.example");
    names.say("_pullgate.mars.example", &[&record]);
    let token = token_of(&mut eve, "moon");
    let (answered, answers) = channel();
    for _ in 0..10 {
        let head = format!(
            "PUT /api/v1/domains/quiet.example?organisation=moon HTTP/1.1\r\nHost: {}\r\n\
             Authorization: Bearer {token}\r\nIf-Match: *\r\nContent-Length: 0\r\n\r\n",
            gate.admin()
        );
        let (mut connection, answered) =
            (Connection::open(gate.admin()).unwrap(), answered.clone());
        connection.send(head.as_bytes()).unwrap();
        thread::spawn(move || answered.send(connection.answer(false)));
    }
    // One is looked up, three wait.
    for _ in 0..6 {
        let refused = answers.recv().unwrap().unwrap();
        assert_eq!(problem(&refused), (429, "Too many at once".to_owned()));
        assert_eq!(refused.header("retry-after"), Some("5"));
    }
    let proven = bob.act("/domains/check", &[("organisation", "mars"), ("domain", "mars.example")]);
    assert_eq!(proven.status, 303, "{}", text(&proven));
}

#[test]
fn who_changes_a_package_has_it_looked_where_its_domain_leads_one_at_a_time() {
    let names = Names::start();
    let package = |domain: &str| {
        format!(
            "\n[[packages]]\ndomain = \"{domain}\"\nname = \"x\"\nbackend = \"quay.io/moon/x\"\n"
        )
    };
    let (own, quiet) = (package("registry.moon.example"), package("quiet.example"));
    let allowed = "[upstream]\nallow_private = [\"127.0.0.9/32\"]\n";
    let mut gate = gate_with(&names, &format!("{allowed}{PACKAGES}{own}{quiet}"));
    let mut ada = Person::set_up(&mut gate);
    let mut eve = signed_up(&gate, "eve", "moon", 9);
    for domain in ["registry.moon.example", "quiet.example"] {
        let fields = [("organisation", "moon"), ("domain", domain)];
        assert_eq!(ada.act("/organisations/domain", &fields).status, 303);
    }
    // What is inside is visited for who runs the gateway, and for others where the configuration says so.
    names.say("registry.moon.example A", &["127.0.0.9", "127.0.0.10"]);
    names.say("registry.acme.com A", &["127.0.0.10"]);
    let looked = |person: &mut Person, package: &str| {
        let answer = person.fill_in(&format!("/first-pull/{package}"), &[]);
        assert_eq!(answer.status, 200, "{package}: {}", text(&answer));
        text(&answer)
    };
    let page = looked(&mut eve, "registry.moon.example/x");
    assert!(page.contains("127.0.0.9, port 80 (plain HTTP): nobody answers"), "{page}");
    assert!(page.contains("127.0.0.10: is not public"), "{page}");
    assert!(!page.contains("127.0.0.10, port"), "{page}");
    // Programs are told the same.
    let token = token_of(&mut eve, "moon");
    let by_program = |package: &str| {
        let target = format!("/api/v1/package/first-pull?package={package}");
        json_of(&ask(&gate, &token, "POST", &target, &[]))
    };
    let told = by_program("registry.moon.example/x");
    assert_eq!(told["leads_here"], false);
    let found = told["found"].as_array().unwrap();
    let has = |says: &str, words: &str| {
        let is_it =
            |one: &Value| one["says"] == says && one["detail"].as_str().unwrap().starts_with(words);
        assert!(found.iter().any(is_it), "{says} {words}: {told}");
    };
    has("ok", "DNS: registry.moon.example is at 127.0.0.9, 127.0.0.10");
    has("change", "127.0.0.9, port 80 (plain HTTP): nobody answers");
    has("change", "127.0.0.10: is not public");
    assert!(!told.to_string().contains("127.0.0.10, port"), "{told}");
    let page = looked(&mut ada, "registry.acme.com/acme/rocket");
    assert!(page.contains("127.0.0.10, port 80 (plain HTTP): nobody answers"), "{page}");
    // However many eve asks for, by pages and by programs, one is looked at and three wait, and others have their
    // turn.
    let target = "/first-pull/quiet.example/x";
    let body = format!("form_token={}", eve.form_token(target));
    let by_page = format!(
        "POST {target} HTTP/1.1\r\nHost: {}\r\nCookie: {}\r\n{FORM}\r\nContent-Length: {}\r\n\r\n{body}",
        gate.admin(),
        eve.cookie.clone().unwrap(),
        body.len()
    );
    let by_program = format!(
        "POST /api/v1/package/first-pull?package=quiet.example/x HTTP/1.1\r\nHost: {}\r\n\
         Authorization: Bearer {token}\r\n\r\n",
        gate.admin()
    );
    let (answered, answers) = channel();
    for number in 0..10 {
        let head = if number % 2 == 0 { &by_page } else { &by_program };
        let (mut connection, answered) =
            (Connection::open(gate.admin()).unwrap(), answered.clone());
        connection.send(head.as_bytes()).unwrap();
        thread::spawn(move || answered.send(connection.answer(false)));
    }
    for _ in 0..6 {
        let refused = answers.recv().unwrap().unwrap();
        assert_eq!((refused.status, refused.header("retry-after")), (429, Some("5")));
    }
    looked(&mut ada, "registry.acme.com/acme/rocket");
}

/// Counts are their domain's owner's: who proves a domain would see what others have pulled there.
#[test]
fn a_domain_with_counts_of_another_time_is_nobodys_to_claim() {
    let names = Names::start();
    let mut gate = gate(&names);
    Person::set_up(&mut gate);
    let mut eve = signed_up(&gate, "eve", "moon", 9);
    let token = token_of(&mut eve, "moon");
    let host = "registry.moon.example";
    let fields = [("organisation", "moon"), ("domain", host)];
    assert_eq!(eve.act("/domains/claim", &fields).status, 303);
    let record = wanted(&text(&eve.get("/domains?organisation=moon")), host);
    names.say(&format!("_pullgate.{host}"), &[&record]);
    // Before it is proven the configuration file serves it for a while, and somebody pulls.
    let mut pulled = 0;
    let mut answered = |status| {
        eventually(|| {
            let mut connection = Connection::open(gate.address()).unwrap();
            let (at, from) = ("/v2/x/manifests/latest", [format!("Host: {host}")]);
            let answer = connection.ask("GET", at, &from, b"").unwrap();
            pulled += u64::from(answer.status == 307);
            if answer.status == status { Ok(()) } else { Err(format!("{answer:?}")) }
        });
    };
    let before = fs::read_to_string(gate.config_file()).unwrap();
    let more = format!(
        "\n[[packages]]\ndomain = \"{host}\"\nname = \"x\"\nbackend = \"quay.io/moon/x\"\n\
         delivery = \"redirect\"\n"
    );
    fs::write(gate.config_file(), format!("{before}{more}")).unwrap();
    answered(307);
    fs::write(gate.config_file(), before).unwrap();
    answered(404);
    eventually(|| match gate.counts(&format!("{host}/x")) {
        counts if counts.requests == pulled => Ok(()),
        counts => Err(format!("{counts:?} of {pulled}")),
    });
    for target in ["/domains/check", "/domains/claim"] {
        let refused = eve.act(target, &fields);
        let words = text(&refused);
        assert_eq!(refused.status, 409, "{target}: {words}");
        assert!(words.contains("were counted when it was another&#39;s"), "{target}: {words}");
        assert!(words.contains("pullgate erase --domain"), "{target}: {words}");
    }
    let (claim, one) = ("/api/v1/domains", format!("/api/v1/domains/{host}"));
    let wanted = json!({ "host": host });
    let of_moon = |target: &str| format!("{target}?organisation=moon");
    let refused = send(&gate, &token, "POST", &of_moon(claim), &[], Some(&wanted));
    assert_eq!(problem(&refused), (409, "That does not work".to_owned()));
    let any = [("If-Match", "*")];
    let refused = send(&gate, &token, "PUT", &of_moon(&one), &any, None);
    assert_eq!(problem(&refused), (409, "That does not work".to_owned()));
    assert!(!text(&eve.get("/domains?organisation=moon")).contains("<li>"), "it is not moon's");
    // Who runs the gateway erases them.
    let mut erase = Command::new(pullgate());
    erase.args(["erase", "--domain", host, "--yes", "--data"]).arg(gate.data_dir());
    run(&mut erase);
    let proven = eve.act("/domains/check", &fields);
    assert_eq!(proven.status, 303, "{}", text(&proven).replace("\n<", "  <"));
    assert!(text(&eve.get("/domains?organisation=moon")).contains(&format!("<li>{host}")));
}

#[test]
fn programs_claim_and_prove_domains_too() {
    let names = Names::start();
    let mut gate = gate(&names);
    Person::set_up(&mut gate);
    let mut eve = signed_up(&gate, "eve", "moon", 9);
    let fields = [("organisation", "moon"), ("label", "a"), ("role", "admin"), ("days", "1")];
    let page = text(&eve.act("/tokens", &fields));
    let token = page[page.find("pullgate_").unwrap()..].split('<').next().unwrap().to_owned();
    let ask = |method: &str, target: &str, more: &[&str], body: Option<Value>| -> Answer {
        let mut headers = vec![format!("Host: {}", gate.admin())];
        headers.push(format!("Authorization: Bearer {token}"));
        headers.extend(more.iter().map(|line| (*line).to_owned()));
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        headers.push("Content-Type: application/json".to_owned());
        let mut connection = Connection::open(gate.admin()).unwrap();
        connection.ask(method, target, &headers, body.as_bytes()).unwrap()
    };
    let of = |answer: &Answer| -> Value { serde_json::from_slice(&answer.body).unwrap() };
    let listed = of(&ask("GET", "/api/v1/organisations", &[], None));
    assert_eq!(listed["items"], json!([{ "name": "moon", "domains": [] }]));
    let organisations = "/api/v1/organisations";
    let made = ask("POST", organisations, &[], Some(json!({ "name": "venus" })));
    assert_eq!(made.status, 201, "{}", text(&made));
    assert_eq!(eve.get("/domains?organisation=venus").status, 200, "it is the account's");
    assert_eq!(
        ask("GET", "/api/v1/domains?organisation=venus", &[], None).status,
        404,
        "no further"
    );
    let again = ask("POST", organisations, &[], Some(json!({ "name": "acme" })));
    assert_eq!(again.status, 409);
    let all = "/api/v1/domains?organisation=moon";
    let claimed = ask("POST", all, &[], Some(json!({ "host": "moon.example" })));
    assert_eq!(claimed.status, 201, "{}", text(&claimed));
    let claimed = of(&claimed);
    assert_eq!(claimed["record"]["name"], "_pullgate.moon.example");
    let one = "/api/v1/domains/moon.example?organisation=moon";
    let found = ask("GET", one, &[], None);
    assert_eq!(of(&found), claimed);
    let tag = format!("If-Match: {}", found.header("etag").unwrap());
    assert_eq!(ask("PUT", one, &[], None).status, 428);
    assert_eq!(ask("PUT", one, &[&tag], None).status, 409, "no record yet");
    names.say("_pullgate.moon.example", &[claimed["record"]["text"].as_str().unwrap()]);
    let proven = of(&ask("PUT", one, &[&tag], None));
    assert_eq!(proven, json!({ "host": "moon.example", "is_proven": true, "record": null }));
    assert_eq!(ask("DELETE", one, &[&tag], None).status, 412, "it is another by now");
    assert_eq!(ask("DELETE", one, &[], None).status, 428);
    assert_eq!(ask("DELETE", one, &["If-Match: *"], None).status, 204, "it is given back");
    assert_eq!(ask("GET", one, &[], None).status, 404);
    ask("POST", all, &[], Some(json!({ "host": "moon.example" })));
    assert_eq!(ask("POST", all, &[], Some(json!({ "host": "x" }))).status, 400);
    ask("POST", all, &[], Some(json!({ "host": "gone.example" })));
    let gone = "/api/v1/domains/gone.example?organisation=moon";
    assert_eq!(ask("DELETE", gone, &["If-Match: *"], None).status, 204);
    let listed = of(&ask("GET", all, &[], None));
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(ask("GET", "/api/v1/domains?organisation=acme", &[], None).status, 404);
}
