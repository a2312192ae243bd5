//! Real clients pull through a redirect from a real registry: what they get is what the registry
//! holds, and what is counted is `docs/counting.md`'s table.
//!
//! Gateway and registry have host names that are no part of each other, on two addresses.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use pullgate::cli::demo::image::Image;
use serde_json::Value;
use support::clients::{Client, Containerd, Docker, Podman, Skopeo};
use support::gate::{Counts, DRIVERS, Gate};
use support::hosts::{GATEWAY, REGISTRY};
use support::http::Connection;
use support::registry::Registry;

#[test]
fn skopeo() {
    let by_tag = [(2, 1, 0), (2, 1, 0)];
    let by_digest = [(2, 1, 0), (2, 1, 0)];
    counts_exactly(Skopeo::new, by_tag, by_digest);
}

#[test]
fn podman() {
    let by_tag = [(2, 1, 0), (2, 1, 0)];
    let by_digest = [(2, 1, 0), (2, 1, 0)];
    counts_exactly(Podman::new, by_tag, by_digest);
}

#[test]
fn docker() {
    let by_tag = [(2, 1, 0), (0, 0, 1)];
    let by_digest = [(2, 1, 0), (0, 0, 0)];
    counts_exactly(Docker::start, by_tag, by_digest);
}

#[test]
fn containerd() {
    let by_tag = [(2, 1, 0), (0, 0, 1)];
    let by_digest = [(2, 1, 0), (0, 0, 1)];
    counts_exactly(Containerd::start, by_tag, by_digest);
}

#[test]
fn a_name_that_is_not_served_is_explained_to_the_user() {
    let world = World::start(DRIVERS[0]);
    let reference = format!("{}/demo/unheard-of:latest", world.authority());
    let words = world.refusal("/v2/demo/unheard-of/manifests/latest");
    // containerd asks by HEAD, whose answer has no body.
    let clients: [Box<dyn Client>; 3] =
        [Box::new(Skopeo::new()), Box::new(Podman::new()), Box::new(Docker::start())];
    for client in clients {
        let shown = client.try_pull(&reference).expect_err("there is no such name");
        assert!(shown.contains(&words), "{shown}\nlacks our words: {words}");
    }
}

/// Requests, pulls and checks.
type Triple = (u64, u64, u64);

/// Pulls the image by tag into an empty store, then again; by digest into another, then again.
fn counts_exactly<C: Client>(new: fn() -> C, by_tag: [Triple; 2], by_digest: [Triple; 2]) {
    for driver in DRIVERS {
        let mut world = World::start(driver);
        for (reference, expected) in [(world.by_tag(), by_tag), (world.by_digest(), by_digest)] {
            let client = new();
            for expected in expected {
                world.pull(&client, &reference, expected);
            }
        }
    }
}

struct World {
    gate: Gate,
    _registry: Registry,
    image: Image,
}

impl World {
    fn start(driver: &str) -> Self {
        let image = Image::hello().expect("the sample image");
        let registry = Registry::start();
        registry.push("origin/hello", "latest", &image);
        let config = format!(
            "[[packages]]\ndomain = \"{GATEWAY}\"\nname = \"demo/hello\"\n\
             backend = \"http://{REGISTRY}:{}/origin/hello\"\ndelivery = \"redirect\"\n",
            registry.address().port(),
        );
        Self { gate: Gate::start(driver, &config), _registry: registry, image }
    }

    fn authority(&self) -> String {
        format!("{GATEWAY}:{}", self.gate.address().port())
    }

    fn by_tag(&self) -> String {
        format!("{}/demo/hello:latest", self.authority())
    }

    fn by_digest(&self) -> String {
        format!("{}/demo/hello@{}", self.authority(), self.image.index.digest)
    }

    /// Pulls, and looks at what this pull alone added. The gateway is stopped for that, which books
    /// every open window, and started again: the next pull happens in a later window.
    fn pull(&mut self, client: &impl Client, reference: &str, expected: Triple) {
        let before = self.counts();
        client.try_pull(reference).unwrap_or_else(|words| panic!("{words}"));
        client.assert_holds(reference, &self.image);
        self.gate.stop();
        let after = self.counts();
        self.gate.launch();
        let added = (
            after.requests - before.requests,
            after.pulls - before.pulls,
            after.checks - before.checks,
        );
        assert_eq!(added, expected, "(requests, pulls, checks) of {reference}");
        assert_eq!(after.supply_chain, 0);
    }

    fn counts(&self) -> Counts {
        self.gate.counts(&format!("{GATEWAY}/demo/hello"))
    }

    /// The message of the error that the gateway answers `target` with.
    fn refusal(&self, target: &str) -> String {
        let mut connection = Connection::open(self.gate.address()).expect("the gateway listens");
        let host = format!("Host: {}", self.authority());
        let answer = connection.ask("GET", target, &[host], b"").expect("an answer");
        let json: Value = serde_json::from_slice(&answer.body).expect("an OCI error");
        json["errors"][0]["message"].as_str().expect("its message").to_owned()
    }
}
