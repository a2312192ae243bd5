//! Packages made in the dashboard, and where they lead whoever pulls.

use std::thread;

use serde_json::{Value, json};

use super::eventually::eventually;
use super::gate::{Gate, UPSTREAM};
use super::http::{Answer, Connection};

/// What each gateway has beside the packages of a test.
pub fn config(more: &str) -> String {
    format!("workers = 2\nshared_domain = \"pkg.pg.test\"\n{UPSTREAM}{more}")
}

/// A package of the configuration file.
pub const OF_FILE: &str = "
[[packages]]
domain = \"registry.acme.com\"
name = \"acme/rocket\"
backend = \"http://127.0.0.1:5000/acme/rocket\"
";

/// A package that sends clients where it lives.
pub fn redirected(domain: &str, name: &str, backend: &str) -> Value {
    json!({ "domain": domain, "name": name, "backends": [backend], "delivery": "redirect" })
}

/// Where the API has what is written of one.
pub fn target(package: &str) -> String {
    format!("/api/v1/package?package={package}")
}

/// Where the first organisation makes one.
pub const MAKE: &str = "/api/v1/packages?organisation=acme";

/// What clients are answered who ask for a manifest, over so many connections at once.
fn asked(gate: &Gate, host: &str, name: &str, many: usize) -> Vec<Answer> {
    let ask = || {
        let mut connection = Connection::open(gate.address()).expect("a connection");
        let host = format!("Host: {host}");
        let target = format!("/v2/{name}/manifests/latest");
        connection.ask("GET", &target, &[host], b"").expect("an answer")
    };
    thread::scope(|scope| {
        let asking: Vec<_> = (0..many).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|one| one.join().expect("no panic")).collect()
    })
}

/// Asserts that everybody is sent there, or told that there is nothing.
pub fn leads(gate: &Gate, package: &str, to: Option<&str>) {
    all_led(gate, package, to).unwrap_or_else(|answer| panic!("{package}: {answer}"));
}

/// Waits until that is so.
pub fn eventually_leads(gate: &Gate, package: &str, to: Option<&str>) {
    eventually(|| all_led(gate, package, to));
}

/// Whether it is so; an answer that says otherwise.
fn all_led(gate: &Gate, package: &str, to: Option<&str>) -> Result<(), String> {
    let (host, name) = package.split_once('/').expect("domain and name");
    let location = to.map(|to| format!("http://{to}/manifests/latest"));
    let is_right = |answer: &Answer| match &location {
        Some(location) => answer.header("location") == Some(location),
        None => answer.status == 404,
    };
    match asked(gate, host, name, 24).iter().find(|answer| !is_right(answer)) {
        None => Ok(()),
        Some(answer) => Err(format!("{answer:?}")),
    }
}
