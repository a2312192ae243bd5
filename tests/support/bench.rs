//! The gateway before a registry that a test scripts.

use std::io;

use super::gate::{Gate, UPSTREAM};
use super::hosts::{GATEWAY, REGISTRY, REGISTRY_IP, TOKENS};
use super::http::{Answer, Connection};
use super::origin::{Origin, Request, Talk};

/// A gateway with one worker, and the registry behind all that it serves: `acme/…`.
pub struct Bench {
    /// The gateway.
    pub gate: Gate,
    /// The registry.
    pub registry: Origin,
}

impl Bench {
    /// Delivers by `delivery` what a registry led by `lead` gives to anybody.
    pub fn start<L>(driver: &str, delivery: &str, lead: L) -> Self
    where
        L: Fn(&mut Talk) -> io::Result<()> + Send + Sync + 'static,
    {
        let keys = format!("delivery = \"{delivery}\"\n");
        Self::behind(Origin::start(REGISTRY_IP, lead), |backend| {
            Gate::start_proxy(driver, &config("", &keys, backend))
        })
    }

    /// Starts the gateway by `start`, which is told the registry's `host:port`.
    pub fn behind(registry: Origin, start: impl FnOnce(&str) -> Gate) -> Self {
        let gate = start(&format!("{REGISTRY}:{}", registry.address().port()));
        Self { gate, registry }
    }

    /// What clients made the gateway ask, since this was asked last; not what it asks for itself.
    pub fn asked(&self) -> Vec<Request> {
        let mut requests = self.registry.requests();
        requests.retain(|request| request.target != "/v2/");
        requests
    }

    /// Whether a request for a target that contains `part` has arrived.
    pub fn has_arrived(&self, part: &str) -> Result<(), String> {
        let requests = self.asked();
        let has = requests.iter().any(|request| request.target.contains(part));
        if has { Ok(()) } else { Err(format!("no request for {part}")) }
    }

    /// A connection to the gateway.
    pub fn connect(&self) -> Connection {
        Connection::open(self.gate.address()).expect("the gateway listens")
    }

    /// The answer to one GET, whole or not, on a connection of its own.
    pub fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[])
    }

    /// The answer to one request with more `fields`, whole or not, on a connection of its own.
    pub fn ask(&self, method: &str, target: &str, fields: &[&str]) -> Answer {
        ask(&self.gate, method, target, fields)
    }
}

/// The answer of `gate` to one request with more `fields`, on a connection of its own.
pub fn ask(gate: &Gate, method: &str, target: &str, fields: &[&str]) -> Answer {
    let mut connection = Connection::open(gate.address()).expect("the gateway listens");
    connection.send(&request(method, target, fields)).expect("the gateway reads");
    connection.answer(method == "HEAD").unwrap_or_else(|it| panic!("{method} {target}: {it}"))
}

/// A request to the gateway, `fields` being lines.
pub fn request(method: &str, target: &str, fields: &[&str]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {GATEWAY}\r\n");
    fields.iter().for_each(|line| text += &format!("{line}\r\n"));
    text += "\r\n";
    text.into_bytes()
}

/// A configuration with one worker that keeps no manifests, so that all requests arrive at the
/// registry: `upstream` and `package` are more keys of these tables.
pub fn config(upstream: &str, package: &str, backend: &str) -> String {
    format!(
        "workers = 1\n\n{UPSTREAM}{upstream}\n[cache]\n{NOTHING_KEPT}\n\
         [[registries]]\nhost = \"{backend}\"\ntoken_hosts = [\"{TOKENS}\"]\n\n\
         [[packages]]\ndomain = \"{GATEWAY}\"\nname = \"acme/**\"\n\
         backend = \"http://{backend}/acme/**\"\n{package}"
    )
}

/// The line of [`config`] by which no manifest is kept, for tests that replace it.
pub const NOTHING_KEPT: &str = "memory = \"0B\"\n";

/// Asserts that what a person reads names the registry as they know it, never
/// by its address.
pub fn is_refusal(answer: &Answer, status: u16, code: &str, registry: &str) {
    let words = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, status, "{words}");
    assert!(answer.is_whole);
    let json: serde_json::Value = serde_json::from_slice(&answer.body).expect("an OCI error");
    assert_eq!(json["errors"][0]["code"], code, "{words}");
    let message = json["errors"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains(registry), "{registry} is not named: {words}");
    assert!(!words.contains("127.0.0."), "an address: {words}");
}
