//! Webhooks: what is sent to a real receiver, signed, again until it is heard, and nowhere that may not be
//! dialled; receivers that never answer; a registry that fails and works again, a certificate that ends; those of the
//! configuration file.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use pullgate::pure::webhook;
use serde_json::{Value, json};
use support::eventually::eventually;
use support::free_address;
use support::gate::{Gate, UPSTREAM};
use support::http::Answer;
use support::origin::{Origin, Talk};
use support::person::{PACKAGES, Person, ROCKET, SLEDGE, text};
use support::program::{ask, json_of, made, problem, send, token_of};
use support::tls::Authority;
use support::webhooks::{
    ALERTS, added, added_beside_operators, body, heard, heard_by_both, is_signed, operators,
    receiver,
};

/// The number of the only webhook.
fn number(person: &mut Person) -> String {
    let page = text(&person.get(ALERTS));
    let field = page.split("name=\"alert\" value=\"").nth(1).expect("a webhook");
    field.split('"').next().unwrap().to_owned()
}

#[test]
fn a_message_is_signed_and_sent_again_until_it_is_heard() {
    let mut gate = Gate::start("epoll", &format!("{PACKAGES}{UPSTREAM}"));
    let mut ada = Person::set_up(&mut gate);
    let origin = receiver(2);
    let url = format!("http://{}/hook?key=of-ours", origin.address());
    for (fields, words) in [
        (vec![("do", "add"), ("url", "nowhere"), ("weekly", "on")], "The address is none"),
        (vec![("do", "add"), ("url", &*url)], "Choose of what is told"),
    ] {
        let answer = ada.act(ALERTS, &fields);
        assert!(answer.status == 400 && text(&answer).contains(words), "{}", text(&answer));
    }
    let secret = added(&mut ada, &url, &["weekly", "unusual"]);
    assert!(!text(&ada.get(ALERTS)).contains("whsec_"), "it is shown once");
    let id = number(&mut ada);
    assert_eq!(ada.act(ALERTS, &[("do", "test"), ("alert", &id)]).status, 303);
    let again = ada.act(ALERTS, &[("do", "test"), ("alert", &id)]);
    assert_eq!(again.status, 429, "{}", text(&again));
    assert!(again.header("retry-after").is_some());
    let tries = heard(&origin, 3);
    for request in &tries {
        assert_eq!((&*request.method, &*request.target), ("POST", "/hook?key=of-ours"));
        assert_eq!(request.field("webhook-id"), tries[0].field("webhook-id"), "it is the same");
        assert!(is_signed(request, &secret));
        assert_eq!(
            (&body(request)["type"], &body(request)["package"]),
            (&json!("test"), &json!(ROCKET))
        );
    }
    eventually(|| match text(&ada.get(ALERTS)) {
        page if page.contains("answered 204") && !page.contains("next try") => Ok(()),
        page => Err(page),
    });
    // What was done is told, and not where: such addresses are secrets.
    let history = text(&ada.get(&format!("/history?package={ROCKET}")));
    assert!(history.contains("alert.make") && !history.contains("of-ours"), "{history}");
    assert_eq!(history.matches("alert.test").count(), 1, "{history}");
    let tries = |outcome| gate.metric(&format!("pullgate_webhooks_total{{outcome=\"{outcome}\"}}"));
    assert_eq!(["delivered", "failed", "given_up"].map(tries), [1, 2, 0]);
    eventually(|| match gate.metric("pullgate_webhooks_waiting") {
        0 => Ok(()),
        many => Err(format!("{many} wait")),
    });
    assert_eq!(ada.act(ALERTS, &[("do", "remove"), ("alert", &id)]).status, 303);
    assert_eq!(ada.act(ALERTS, &[("do", "test"), ("alert", &id)]).status, 404);
    assert!(origin.requests().is_empty(), "heard once, it is not sent again");
}

#[test]
fn where_may_not_be_dialled_nothing_is_sent() {
    let mut gate = Gate::start("epoll", PACKAGES);
    let mut ada = Person::set_up(&mut gate);
    let origin = receiver(0);
    let port = origin.address().port();
    let forms = ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"];
    for host in forms {
        added(&mut ada, &format!("http://{host}:{port}/"), &["weekly"]);
    }
    let page = text(&ada.get(ALERTS));
    for field in page.split("name=\"alert\" value=\"").skip(1) {
        let id = field.split('"').next().unwrap();
        assert_eq!(ada.act(ALERTS, &[("do", "test"), ("alert", id)]).status, 303);
    }
    eventually(|| match text(&ada.get(ALERTS)) {
        page if page.matches("may not be dialled").count() == forms.len() => Ok(()),
        page => Err(page),
    });
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_program_sets_up_what_its_token_reaches() {
    let mut gate = Gate::start("epoll", &format!("{PACKAGES}{UPSTREAM}"));
    let mut ada = Person::set_up(&mut gate);
    let token = |ada: &mut Person, package, role| {
        made(ada, &[("package", package), ("label", "a"), ("role", role), ("days", "1")])
    };
    let rockets = token(&mut ada, ROCKET, "admin");
    let reads = token(&mut ada, ROCKET, "member");
    let sledges = token(&mut ada, SLEDGE, "admin");
    let ask_as = |token: &str, tag: &str, method: &str, target: &str, body: Value| {
        let mut headers = vec![
            format!("Authorization: Bearer {token}"),
            "Content-Type: application/json".to_owned(),
        ];
        if !tag.is_empty() {
            headers.push(format!("If-Match: {tag}"));
        }
        Person::before(&gate).ask(method, target, &headers, body.to_string().as_bytes())
    };
    let ask =
        |token: &str, method: &str, target: &str, body| ask_as(token, "", method, target, body);
    let origin = receiver(0);
    let url = format!("http://{}/", origin.address());
    let alerts = format!("/api/v1/alerts?package={ROCKET}");
    let wanted = json!({ "url": url, "events": ["backend", "weekly"] });
    assert_eq!(ask(&reads, "POST", &alerts, wanted.clone()).status, 403);
    assert_eq!(ask(&sledges, "POST", &alerts, wanted.clone()).status, 404);
    for wrong in
        [json!({ "url": url, "events": ["all"] }), json!({ "url": "x", "events": ["weekly"] })]
    {
        assert_eq!(ask(&rockets, "POST", &alerts, wrong).status, 400);
    }
    let answer = ask(&rockets, "POST", &alerts, wanted);
    assert_eq!(answer.status, 201, "{}", text(&answer));
    let webhook: Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(webhook["secret"].as_str().unwrap().starts_with("whsec_"));
    let id = webhook["id"].as_i64().unwrap();
    // By its number it is reached through its own package alone.
    let at = |package: &str, what: &str| format!("/api/v1/alerts/{id}{what}?package={package}");
    for (token, method, target, status) in [
        (&sledges, "POST", at(SLEDGE, "/test"), 404),
        (&sledges, "DELETE", at(SLEDGE, ""), 404),
        (&sledges, "DELETE", at(ROCKET, ""), 404),
        (&reads, "POST", at(ROCKET, "/test"), 403),
        (&rockets, "POST", at(ROCKET, "/test"), 202),
    ] {
        assert_eq!(ask(token, method, &target, Value::Null).status, status, "{method} {target}");
    }
    let request = heard(&origin, 1).remove(0);
    assert_eq!(body(&request)["type"], "test");
    let listed = eventually(|| {
        let answer = ask(&rockets, "GET", &alerts, Value::Null);
        let listed: Value = serde_json::from_slice(&answer.body).unwrap();
        match listed["items"][0]["last"]["said"] == "answered 204" {
            true => Ok(listed),
            false => Err(listed.to_string()),
        }
    });
    assert_eq!(listed["items"][0]["events"], json!(["backend", "weekly"]));
    assert!(!listed.to_string().contains("whsec_"));
    assert_eq!(ask(&reads, "GET", &alerts, Value::Null).status, 403);
    // Whoever looks again sees how it went, though there is nothing to change it by.
    let headers = [format!("Authorization: Bearer {rockets}"), "If-None-Match: *".to_owned()];
    let again = Person::before(&gate).ask("GET", &at(ROCKET, ""), &headers, b"");
    assert_eq!(again.status, 200, "{}", text(&again));
    assert!(text(&again).contains("answered 204"), "{}", text(&again));
    // It is changed and removed as it was seen; what is told there makes it no other.
    let there = at(ROCKET, "");
    let tag = |answer: &Answer| answer.header("etag").unwrap().to_owned();
    let seen = tag(&ask(&rockets, "GET", &there, Value::Null));
    let wanted = json!({ "url": url, "events": ["unusual"] });
    for (tag, status) in [("", 428), ("\"other\"", 412), (&*seen, 200), (&*seen, 412)] {
        let answer = ask_as(&rockets, tag, "PUT", &there, wanted.clone());
        assert_eq!(answer.status, status, "{tag}: {}", text(&answer));
    }
    assert_eq!(ask_as(&reads, "*", "PUT", &there, wanted).status, 403);
    let answer = ask(&rockets, "GET", &there, Value::Null);
    let webhook: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(webhook["events"], json!(["unusual"]));
    let now = tag(&answer);
    for (tag, status) in [("", 428), (&*seen, 412), (&*now, 204), (&*now, 404)] {
        let answer = ask_as(&rockets, tag, "DELETE", &there, Value::Null);
        assert_eq!(answer.status, status, "{tag}: {}", text(&answer));
    }
}

/// Receivers that take what is sent and never answer hold up those of others by nothing.
#[test]
fn who_never_answers_holds_up_nobody_else() {
    let theirs = |name: &str| {
        format!(
            "\n[[packages]]\ndomain = \"other.example\"\nname = \"{name}\"\nbackend = \"quay.io/x\"\n"
        )
    };
    let packages = format!("{PACKAGES}{}{}{UPSTREAM}", theirs("one"), theirs("two"));
    let mut gate = Gate::start("epoll", &packages);
    let mut ada = Person::set_up(&mut gate);
    let mut eve = Person::created(&gate, "eve", &["--organisation", "other"]);
    let give = [("organisation", "other"), ("domain", "other.example")];
    assert_eq!(ada.act("/organisations/domain", &give).status, 303);
    let ended = Arc::new(AtomicUsize::new(0));
    let ends = Arc::clone(&ended);
    let deaf = Origin::start([127, 0, 0, 1], move |talk: &mut Talk| {
        talk.request()?;
        let stalled = talk.stall();
        ends.fetch_add(1, SeqCst);
        stalled
    });
    let url = format!("http://{}/", deaf.address());
    for page in ["/alerts/other.example/one", "/alerts/other.example/two"] {
        for _ in 0..10 {
            let answer = eve.act(page, &[("do", "add"), ("url", &url), ("weekly", "on")]);
            assert_eq!(answer.status, 200, "{}", text(&answer));
        }
        let listed = text(&eve.get(page));
        for field in listed.split("name=\"alert\" value=\"").skip(1) {
            let id = field.split('"').next().unwrap();
            assert_eq!(eve.act(page, &[("do", "test"), ("alert", id)]).status, 303);
        }
    }
    let origin = receiver(0);
    added(&mut ada, &format!("http://{}/", origin.address()), &["weekly"]);
    let id = number(&mut ada);
    let before = ended.load(SeqCst);
    assert_eq!(ada.act(ALERTS, &[("do", "test"), ("alert", &id)]).status, 303);
    heard(&origin, 1);
    // Twenty wait for eve's, more than are sent at once: of those before ada's hardly any has ended.
    assert!(ended.load(SeqCst) - before <= 4, "{} have ended", ended.load(SeqCst));
    assert!(gate.metric("pullgate_webhooks_waiting") >= 12);
}

/// A registry, and whether it fails from now on.
fn registry() -> (Origin, Arc<AtomicBool>) {
    let is_failing = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&is_failing);
    let registry = Origin::start([127, 0, 0, 1], move |talk: &mut Talk| {
        while let Some(request) = talk.request()? {
            let status = if fails.load(SeqCst) { "503 Service Unavailable" } else { "200 OK" };
            talk.answer(&request, status, &[], b"{}")?;
        }
        Ok(())
    });
    (registry, is_failing)
}

/// The operator's own: of all packages, to wherever the file says, with the secret that its file has then.
#[test]
fn the_configuration_file_names_who_hears_of_everything() {
    let (registry, is_failing) = registry();
    let origin = receiver(0);
    let dir = tempfile::tempdir().unwrap();
    let secret_file = dir.path().join("secret");
    let second = webhook::secret(&[2; 32]);
    let backend = format!("http://{}", registry.address());
    let packages = PACKAGES.replace("ghcr.io", &backend);
    let (alerts, first) = operators(&origin, &secret_file);
    // Nothing private may be dialled but what the file itself names.
    let mut gate = Gate::start("epoll", &format!("{packages}{alerts}"));
    let mut ada = Person::set_up(&mut gate);
    registry.requests();
    heard(&registry, 1);
    is_failing.store(true, SeqCst);
    let request = heard(&origin, 1).remove(0);
    let told = body(&request);
    assert_eq!((&*request.target, &told["type"]), ("/ops", &json!("backend.failing")));
    assert_eq!((&told["package"], &told["data"]["registry"]), (&Value::Null, &json!(backend)));
    assert!(is_signed(&request, &first));
    fs::write(&secret_file, &second).unwrap();
    eventually(|| match gate.metric("pullgate_reloads_total{outcome=\"applied\"}") {
        0 => Err("not read again".to_owned()),
        _ => Ok(()),
    });
    is_failing.store(false, SeqCst);
    let request = heard(&origin, 1).remove(0);
    assert_eq!(body(&request)["type"], "backend.working");
    assert!(is_signed(&request, &second), "the secret was changed");
    eventually(|| match text(&ada.get(ALERTS)) {
        page if page.contains("backend.working") && page.contains("answered 204") => Ok(()),
        page => Err(page),
    });
}

/// They are shown where the people who run the gateway look for webhooks, and nobody else learns of them.
#[test]
fn who_runs_the_gateway_sees_what_the_configuration_file_names() {
    let dir = tempfile::tempdir().unwrap();
    let secret_file = dir.path().join("secret");
    let secret = webhook::secret(&[1; 32]);
    fs::write(&secret_file, &secret).unwrap();
    let theirs =
        "\n[[packages]]\ndomain = \"other.example\"\nname = \"one\"\nbackend = \"quay.io/x\"\n";
    let alerts = format!(
        "[[alerts]]\nurl = \"https://ops.acme.test/hook?key=of-ours\"\nsecret_file = \"{}\"\n\
         events = [\"certificate\"]\n",
        secret_file.display()
    );
    let mut gate = Gate::start("epoll", &format!("{PACKAGES}{theirs}{alerts}"));
    let file = fs::read_to_string(gate.config_file()).unwrap();
    let line = 1 + file.lines().position(|line| line == "[[alerts]]").unwrap();
    let mut ada = Person::set_up(&mut gate);
    let mut eve = Person::created(&gate, "eve", &["--organisation", "other"]);
    let give = [("organisation", "other"), ("domain", "other.example")];
    assert_eq!(ada.act("/organisations/domain", &give).status, 303);
    let mut pia = Person::admin_of(&gate, &mut ada, ROCKET, "pia");
    let token = token_of(&mut ada, "acme");
    let page = eventually(|| match text(&ada.get(ALERTS)) {
        page if page.contains("From the configuration file") => Ok(page),
        page => Err(page),
    });
    let row = format!("https://ops.acme.test</th>\n<td>{line}</td>\n<td>certificate</td>");
    assert!(page.contains(&row), "{row}: {page}");
    assert!(!page.contains("name=\"alert\""), "nothing of it is changed here: {page}");
    let list = format!("/api/v1/alerts?package={ROCKET}");
    let listed = ask(&gate, &token, "GET", &list, &[]);
    let one = json_of(&listed)["items"][0].clone();
    let (source, url) = (&one["source"], &one["url"]);
    assert_eq!((source, url), (&json!("file"), &json!("https://ops.acme.test")), "{one}");
    assert_eq!((&one["line"], &one["events"]), (&json!(line), &json!(["certificate"])));
    for said in [page, text(&listed)] {
        for hidden in ["of-ours", "/hook", "whsec_", &*secret_file.display().to_string()] {
            assert!(!said.contains(hidden), "{hidden}: {said}");
        }
    }
    // By its number it is read, and not changed.
    let at = |what: &str| format!("/api/v1/alerts/{}{what}?package={ROCKET}", one["id"]);
    let seen = ask(&gate, &token, "GET", &at(""), &[]);
    assert_eq!(json_of(&seen)["line"], line, "{}", text(&seen));
    let tag = [("If-Match", seen.header("etag").unwrap())];
    let wanted = json!({ "url": "https://evil.example/", "events": ["weekly"] });
    for (method, what, body) in
        [("PUT", "", Some(&wanted)), ("DELETE", "", None), ("POST", "/test", None)]
    {
        let refused = send(&gate, &token, method, &at(what), &tag, body);
        assert_eq!(problem(&refused), (409, "Not here".to_owned()), "{method}{what}");
    }
    let id = one["id"].to_string();
    for what in ["remove", "test"] {
        assert_eq!(ada.act(ALERTS, &[("do", what), ("alert", &id)]).status, 404, "{what}");
    }
    // Who is an admin of a package alone, a token of it, and another organisation hear nothing.
    let of_rocket = [("package", ROCKET), ("label", "a"), ("role", "admin"), ("days", "1")];
    let of_rocket = made(&mut ada, &of_rocket);
    for (person, page) in [(&mut pia, ALERTS), (&mut eve, "/alerts/other.example/one")] {
        let answer = person.get(page);
        assert_eq!(answer.status, 200);
        let page = text(&answer);
        assert!(!page.contains("ops.acme.test") && !page.contains("From the conf"), "{page}");
    }
    assert_eq!(json_of(&ask(&gate, &of_rocket, "GET", &list, &[]))["items"], json!([]));
    for (method, what) in [("GET", ""), ("DELETE", ""), ("POST", "/test")] {
        let absent = ask(&gate, &of_rocket, method, &at(what), &tag);
        assert_eq!(absent.status, 404, "{method}{what}");
    }
    // It is as the file says by now.
    fs::write(gate.config_file(), format!("# ours\n{file}")).unwrap();
    eventually(|| match json_of(&ask(&gate, &token, "GET", &at(""), &[])) {
        one if one["line"] == line + 1 => Ok(()),
        one => Err(one.to_string()),
    });
    fs::write(gate.config_file(), file.replace(&alerts, "")).unwrap();
    eventually(|| match json_of(&ask(&gate, &token, "GET", &list, &[])) {
        listed if listed["items"] == json!([]) => Ok(()),
        listed => Err(listed.to_string()),
    });
}

#[test]
fn a_registry_that_fails_and_works_again_is_told() {
    let (registry, is_failing) = registry();
    let backend = format!("http://{}", registry.address());
    let packages = PACKAGES.replace("ghcr.io", &backend);
    let mut gate = Gate::start("epoll", &format!("{packages}{UPSTREAM}"));
    let mut ada = Person::set_up(&mut gate);
    let origin = receiver(0);
    added(&mut ada, &format!("http://{}/", origin.address()), &["backend"]);
    registry.requests();
    heard(&registry, 1);
    is_failing.store(true, SeqCst);
    let told = body(&heard(&origin, 1).remove(0));
    assert_eq!(
        (&told["type"], &told["data"]["registry"]),
        (&json!("backend.failing"), &json!(backend))
    );
    let words = told["text"].as_str().unwrap();
    assert!(words.contains("answered 503") && words.starts_with(ROCKET), "{words}");
    is_failing.store(false, SeqCst);
    let told = body(&heard(&origin, 1).remove(0));
    assert_eq!(told["type"], "backend.working", "{told}");
}

#[test]
fn a_certificate_that_ends_soon_is_told() {
    let (origin, files) = (receiver(0), tempfile::tempdir().unwrap());
    let in_five_days = Timestamp::now() + SignedDuration::from_hours(5 * 24);
    let ends = TimeZone::UTC.to_datetime(in_five_days).date();
    let day = (i32::from(ends.year()), ends.month().unsigned_abs(), ends.day().unsigned_abs());
    let host = "registry.acme.com";
    let [cert, key] = Authority::new().identify_until(host, day).write(files.path(), "soon");
    let (alerts, operators) = operators(&origin, &files.path().join("secret"));
    let config = format!(
        "listen_tls = [\"{}\"]\n{PACKAGES}{UPSTREAM}{alerts}events = [\"certificate\"]\n\
         [[certificates]]\ncert = \"{}\"\n\
         key = \"{}\"\n",
        free_address([127, 0, 0, 1].into()),
        cert.display(),
        key.display()
    );
    let mut gate = Gate::start("epoll", &config);
    let mut ada = Person::set_up(&mut gate);
    let own = added_beside_operators(&mut ada, &origin, "certificate");
    for told in heard_by_both(&origin, "certificate.expiring", [&own, &operators]) {
        let data = &told["data"];
        let expected = json!([host, format!("{ends}T00:00:00Z")]);
        assert_eq!(json!([data["domain"], data["ends"]]), expected, "{told}");
        let words = told["text"].as_str().unwrap();
        assert!(words.contains("The certificate of registry.acme.com ends in "), "{words}");
    }
}
