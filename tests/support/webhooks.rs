//! Webhooks of a package and of the configuration file, and what receivers hear.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use pullgate::pure::webhook;
use serde_json::{Value, json};

use super::eventually::eventually;
use super::origin::{Origin, Request, Talk};
use super::person::{Person, ROCKET, text};

/// Where the first package's webhooks are.
pub const ALERTS: &str = "/alerts/registry.acme.com/acme/rocket";

/// A receiver that fails so many times first.
pub fn receiver(fails: usize) -> Origin {
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
pub fn heard(origin: &Origin, many: usize) -> Vec<Request> {
    let mut all = Vec::new();
    eventually(|| {
        all.extend(origin.requests());
        if all.len() >= many { Ok(()) } else { Err(format!("{} of {many}", all.len())) }
    });
    all
}

/// What it says.
pub fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).expect("JSON")
}

/// Whether it is signed by this secret, as Standard Webhooks says.
pub fn is_signed(request: &Request, secret: &str) -> bool {
    let of = |name| request.field(name).unwrap_or_else(|| panic!("no {name}"));
    let signed = String::from_utf8(request.body.clone()).expect("text");
    let at_s = of("webhook-timestamp").parse().expect("a time");
    let expected = webhook::signature(secret, of("webhook-id"), at_s, &signed);
    Some(of("webhook-signature")) == expected.as_deref()
}

/// Adds a webhook at the page: its secret.
pub fn added(person: &mut Person, url: &str, events: &[&str]) -> String {
    added_to(person, ALERTS, url, events)
}

/// The same at the page of some package.
pub fn added_to(person: &mut Person, page: &str, url: &str, events: &[&str]) -> String {
    let mut fields = vec![("do", "add"), ("url", url)];
    fields.extend(events.iter().map(|event| (*event, "on")));
    let answer = person.act(page, &fields);
    let page = text(&answer);
    assert_eq!(answer.status, 200, "{page}");
    let at = page.find("whsec_").unwrap_or_else(|| panic!("no secret in\n{page}"));
    page[at..].split('<').next().expect("the secret").replace("&#61;", "=")
}

/// What the configuration file says of a webhook at `/ops`, with its secret in this file; and the secret.
pub fn operators(origin: &Origin, secret_file: &Path) -> (String, String) {
    let secret = webhook::secret(&[1; 32]);
    fs::write(secret_file, &secret).expect("the secret is written");
    let (address, file) = (origin.address(), secret_file.display());
    let alerts = format!("[[alerts]]\nurl = \"http://{address}/ops\"\nsecret_file = \"{file}\"\n");
    (alerts, secret)
}

/// Adds a webhook at `/hook`, and waits until the database knows the operator's too: its secret.
pub fn added_beside_operators(ada: &mut Person, origin: &Origin, event: &str) -> String {
    let secret = added(ada, &format!("http://{}/hook", origin.address()), &[event]);
    eventually(|| match text(&ada.get(ALERTS)) {
        page if page.contains("From the configuration file") => Ok(()),
        page => Err(page),
    });
    secret
}

/// What is heard at `/hook` and at `/ops`, of this kind, each signed by its secret.
pub fn heard_by_both(origin: &Origin, kind: &str, [own, operators]: [&str; 2]) -> [Value; 2] {
    let mut both = heard(origin, 2);
    both.sort_by(|one, other| one.target.cmp(&other.target));
    let targets: Vec<&str> = both.iter().map(|request| &*request.target).collect();
    assert_eq!(targets, ["/hook", "/ops"]);
    assert!(is_signed(&both[0], own) && is_signed(&both[1], operators));
    let told = [body(&both[0]), body(&both[1])];
    for (told, package) in told.iter().zip([json!(ROCKET), Value::Null]) {
        assert_eq!((&told["type"], &told["package"]), (&json!(kind), &package), "{told}");
    }
    told
}
