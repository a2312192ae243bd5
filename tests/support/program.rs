//! A program at `/api/v1`, with a token.

use serde_json::Value;

use super::gate::Gate;
use super::http::{Answer, Connection};
use super::person::{Person, text};

/// A request with a token, and without a body.
pub fn ask(gate: &Gate, token: &str, method: &str, target: &str, more: &[(&str, &str)]) -> Answer {
    send(gate, token, method, target, more, None)
}

/// A request with a token.
pub fn send(
    gate: &Gate,
    token: &str,
    method: &str,
    target: &str,
    more: &[(&str, &str)],
    body: Option<&Value>,
) -> Answer {
    let mut headers = vec![format!("Host: {}", gate.admin())];
    if !token.is_empty() {
        headers.push(format!("Authorization: Bearer {token}"));
    }
    headers.extend(more.iter().map(|(name, value)| format!("{name}: {value}")));
    let body = body.map(|body| {
        headers.push("Content-Type: application/json".to_owned());
        body.to_string()
    });
    let mut connection = Connection::open(gate.admin()).expect("the admin listener");
    let body = body.unwrap_or_default();
    connection.ask(method, target, &headers, body.as_bytes()).expect("an answer")
}

/// An export that begins, of which nobody reads more than the head. `who` is the line that says who asks.
pub fn begin_export(gate: &Gate, who: &str, query: &str) -> (Answer, Connection) {
    let mut connection = Connection::open(gate.admin()).expect("the admin listener");
    let head =
        format!("GET /api/v1/export{query} HTTP/1.1\r\nHost: {}\r\n{who}\r\n\r\n", gate.admin());
    connection.send(head.as_bytes()).expect("sent");
    (connection.head().expect("an answer"), connection)
}

/// What it says.
pub fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", text(answer)))
}

/// The status and title of a problem.
pub fn problem(answer: &Answer) -> (u64, String) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", text(answer));
    let problem = json_of(answer);
    assert!(!problem["detail"].as_str().expect("text").is_empty(), "{problem}");
    assert_eq!(problem["status"], answer.status);
    let status = problem["status"].as_u64().expect("a number");
    (status, problem["title"].as_str().expect("text").to_owned())
}

/// A token that the page makes.
pub fn made(person: &mut Person, fields: &[(&str, &str)]) -> String {
    let page = text(&person.act("/tokens", fields));
    let at = page.find("pullgate_").unwrap_or_else(|| panic!("no token in\n{page}"));
    page[at..].split('<').next().expect("the token").to_owned()
}

/// One that may do all to the organisation.
pub fn token_of(person: &mut Person, organisation: &str) -> String {
    let place = ("organisation", organisation);
    made(person, &[place, ("label", "test"), ("role", "admin"), ("days", "1")])
}
