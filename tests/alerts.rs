//! Webhooks: what is sent to a real receiver, signed, again until it is heard, and nowhere that may not be
//! dialled; a registry that fails and works again.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use pullgate::pure::webhook;
use serde_json::{Value, json};
use support::eventually::eventually;
use support::gate::{Gate, UPSTREAM};
use support::origin::{Origin, Request, Talk};
use support::person::{PACKAGES, Person, ROCKET, text};
use support::program::made;

/// A receiver that fails so many times first.
fn receiver(fails: usize) -> Origin {
    let left = AtomicUsize::new(fails);
    Origin::start([127, 0, 0, 1], move |talk: &mut Talk| -> io::Result<()> {
        while let Some(request) = talk.request()? {
            let is_failing = left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
            let status = if is_failing { "500 Internal Server Error" } else { "204 No Content" };
            talk.answer(&request, status, &[], b"")?;
        }
        Ok(())
    })
}

/// Waits for so many requests, in their order.
fn heard(origin: &Origin, many: usize) -> Vec<Request> {
    let mut all = Vec::new();
    eventually(|| {
        all.extend(origin.requests());
        if all.len() >= many { Ok(()) } else { Err(format!("{} of {many}", all.len())) }
    });
    all
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

const ALERTS: &str = "/alerts/registry.acme.com/acme/rocket";

/// Adds a webhook at the page: its secret.
fn added(person: &mut Person, url: &str, events: &[&str]) -> String {
    let mut fields = vec![("do", "add"), ("url", url)];
    fields.extend(events.iter().map(|event| (*event, "on")));
    let answer = person.act(ALERTS, &fields);
    let page = text(&answer);
    assert_eq!(answer.status, 200, "{page}");
    let at = page.find("whsec_").unwrap_or_else(|| panic!("no secret in\n{page}"));
    page[at..].split('<').next().unwrap().replace("&#61;", "=")
}

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
    let tries = heard(&origin, 3);
    for request in &tries {
        assert_eq!((&*request.method, &*request.target), ("POST", "/hook?key=of-ours"));
        let of = |name| request.field(name).unwrap();
        assert_eq!(of("webhook-id"), tries[0].field("webhook-id").unwrap(), "it is the same");
        let at_s = of("webhook-timestamp").parse().unwrap();
        let signed = String::from_utf8(request.body.clone()).unwrap();
        let expected = webhook::signature(&secret, of("webhook-id"), at_s, &signed);
        assert_eq!(Some(of("webhook-signature")), expected.as_deref());
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
    let sledge = "registry.acme.com/acme/sledge";
    let rockets = token(&mut ada, ROCKET, "admin");
    let reads = token(&mut ada, ROCKET, "member");
    let sledges = token(&mut ada, sledge, "admin");
    let ask = |token: &str, method: &str, target: &str, body: Value| {
        let headers =
            [format!("Authorization: Bearer {token}"), "Content-Type: application/json".to_owned()];
        Person::before(&gate).ask(method, target, &headers, body.to_string().as_bytes())
    };
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
        (&sledges, "POST", at(sledge, "/test"), 404),
        (&sledges, "DELETE", at(sledge, ""), 404),
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
    assert_eq!(ask(&rockets, "DELETE", &at(ROCKET, ""), Value::Null).status, 204);
}

#[test]
fn a_registry_that_fails_and_works_again_is_told() {
    let is_failing = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&is_failing);
    let registry = Origin::start([127, 0, 0, 1], move |talk: &mut Talk| {
        while let Some(request) = talk.request()? {
            let status = if fails.load(SeqCst) { "503 Service Unavailable" } else { "200 OK" };
            talk.answer(&request, status, &[], b"{}")?;
        }
        Ok(())
    });
    let backend = format!("http://{}", registry.address());
    let packages = PACKAGES.replacen("ghcr.io", &backend, 1);
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
