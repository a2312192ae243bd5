//! `auto` on registries that are public: in a network of its own, where addresses that documentation
//! reserves (RFC 5737) are at home, and count as public.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use support::bench::ask;
use support::clients;
use support::eventually::eventually;
use support::gate::{Counts, DRIVERS, Gate};
use support::hosts::{
    GATEWAY, MEMBERS, PUBLIC_REGISTRY, PUBLIC_REGISTRY_IP, PUBLIC_TOKENS, PUBLIC_TOKENS_IP,
};
use support::http::{Answer, Connection};
use support::images::image;
use support::process::{installed, run};
use support::registry::{Access, Options, Registry};
use support::sandbox::in_a_network_of_its_own;
use support::tls::Authority;
use support::tokens::Tokens;
use support::world::Storage;

#[test]
fn what_is_proven_is_redirected_and_the_rest_is_brokered() {
    if !in_a_network_of_its_own("what_is_proven_is_redirected_and_the_rest_is_brokered") {
        return;
    }
    for ip in [PUBLIC_REGISTRY_IP, PUBLIC_TOKENS_IP] {
        run(Command::new(installed("ip")).args([
            "address",
            "add",
            &format!("{ip}/32"),
            "dev",
            "lo",
        ]));
    }
    let storage = Storage::with([OPEN, GUARDED, PRIVATE].map(str::to_owned));
    for driver in DRIVERS {
        let world = World::start(&storage);
        let mut gate = world.gate(driver);
        world.guarded_is_redirected_where_it_survives(&gate);
        world.open_is_redirected_for_all(&gate);
        world.private_is_never_redirected(&gate);
        for client in clients::all() {
            for (domain, name) in [(GATEWAY, GUARDED), (MEMBERS, OPEN)] {
                let reference = format!("{domain}:{}/{name}:latest", gate.address().port());
                let pulled = client.try_pull(&reference);
                pulled.unwrap_or_else(|words| panic!("{name} on {driver}: {words}"));
                client.assert_holds(&reference, &image(name));
            }
        }
        gate.stop();
        for (package, client, requests) in [
            (format!("{GATEWAY}/{GUARDED}"), "docker", 2),
            // Redirected, and its first GET comes again with a token.
            (format!("{GATEWAY}/{GUARDED}"), "containerd", 3),
            (format!("{GATEWAY}/{GUARDED}"), "skopeo", 2),
            (format!("{GATEWAY}/{GUARDED}"), "buildah", 2),
            (format!("{MEMBERS}/{OPEN}"), "docker", 2),
            (format!("{MEMBERS}/{OPEN}"), "containerd", 2),
            (format!("{MEMBERS}/{OPEN}"), "skopeo", 2),
            (format!("{MEMBERS}/{OPEN}"), "buildah", 2),
        ] {
            let counted = gate.counts_where(&["--by", "client"], |row| {
                let by = row["client"].as_str().unwrap_or_default();
                let is_real = ![" 99", " 0."].iter().any(|it| by.contains(it));
                row["package"] == *package && by.starts_with(client) && is_real
            });
            let expected = Counts { requests, pulls: 1, ..Counts::default() };
            assert_eq!(counted, expected, "{package} by {client} on {driver}");
        }
    }
}

/// Two registries over TLS, one of which wants tokens.
struct World {
    open: Registry,
    guarded: Registry,
    _tokens: Tokens,
    directory: tempfile::TempDir,
}

impl World {
    fn start(storage: &Storage) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let authority = Authority::new();
        authority.write(&directory.path().join("ca.crt"));
        let tls = authority.identify(PUBLIC_TOKENS).server();
        let tokens = Tokens::start_tls(PUBLIC_TOKENS_IP, PUBLIC_TOKENS, tls);
        let files = authority.identify(PUBLIC_REGISTRY).write(directory.path(), "registry");
        let certificate = Some(files.each_ref().map(Path::new));
        let start = |access| {
            let (storage, ip) = (storage.path(), PUBLIC_REGISTRY_IP.into());
            Registry::start_with(&Options { storage, access, blobs_at: None, certificate, ip })
        };
        let (open, guarded) = (start(Access::Open), start(Access::Token(&tokens)));
        Self { open, guarded, _tokens: tokens, directory }
    }

    fn gate(&self, driver: &str) -> Gate {
        let mut config = format!(
            "[upstream]\nca_file = \"{}\"\n\n\
             [[registries]]\nhost = \"{}\"\ntoken_hosts = [\"{PUBLIC_TOKENS}\"]\n",
            self.directory.path().join("ca.crt").display(),
            authority(&self.guarded),
        );
        for (domain, name, registry) in [
            (GATEWAY, GUARDED, &self.guarded),
            (GATEWAY, PRIVATE, &self.guarded),
            (MEMBERS, OPEN, &self.open),
        ] {
            let _ = write!(
                config,
                "\n[[packages]]\ndomain = \"{domain}\"\nname = \"{name}\"\nbackend = \"{}/{name}\"\n",
                authority(registry),
            );
        }
        Gate::start_proxy(driver, &config)
    }

    fn guarded_is_redirected_where_it_survives(&self, gate: &Gate) {
        let manifest = format!("/v2/{GUARDED}/manifests/latest");
        let there = format!("https://{}{manifest}", authority(&self.guarded));
        let ask = |agent: &str, more: &[&str]| {
            let agent = format!("User-Agent: {agent}");
            ask(gate, "GET", &manifest, &[&[agent.as_str(), ACCEPT], more].concat())
        };
        let redirected = eventually(|| leads_to(ask(CONTAINERD, &[]), &there));
        assert_eq!(redirected.header("cache-control"), Some("no-store"));
        let vary = redirected.header("vary").unwrap_or_default().to_lowercase();
        assert!(vary.contains("user-agent") && vary.contains("authorization"), "{vary}");
        leads_to(ask(DOCKER_29, &[]), &there).expect("it pulls as containerd does");
        for agent in [PODMAN, OLD_CONTAINERD, "unheard-of/1.0"] {
            assert_eq!(ask(agent, &[]).status, 200, "{agent}");
        }
        // Whoever brings credentials keeps them.
        assert_eq!(ask(CONTAINERD, &["Authorization: Basic c2VjcmV0"]).status, 200);
        // Classic docker is led to the challenge at once; to manifests once that has been so for long
        // enough, which `pure::decide` tests with a clock of its own.
        let base = support::bench::ask(gate, "GET", "/v2/", &[&format!("User-Agent: {DOCKER}")]);
        leads_to(base, &format!("https://{}/v2/", authority(&self.guarded))).expect("its ping");
        let base = support::bench::ask(gate, "GET", "/v2/", &[&format!("User-Agent: {PODMAN}")]);
        assert_eq!(base.status, 200);
    }

    fn open_is_redirected_for_all(&self, gate: &Gate) {
        let manifest = format!("/v2/{OPEN}/manifests/latest");
        let there = format!("https://{}{manifest}", authority(&self.open));
        for agent in [PODMAN, CONTAINERD, DOCKER, "unheard-of/1.0"] {
            eventually(|| {
                let mut connection = Connection::open(gate.address()).expect("it listens");
                let fields = [format!("Host: {MEMBERS}"), format!("User-Agent: {agent}")];
                let answer = connection.ask("GET", &manifest, &fields, b"");
                leads_to(answer.map_err(|problem| problem.to_string())?, &there)
            });
        }
    }

    /// What is proven of its neighbour says nothing of it.
    fn private_is_never_redirected(&self, gate: &Gate) {
        let manifest = format!("/v2/{PRIVATE}/manifests/latest");
        let answer = ask(gate, "GET", &manifest, &[&format!("User-Agent: {CONTAINERD}"), ACCEPT]);
        assert_eq!(answer.status, 401, "{answer:?}");
    }
}

fn leads_to(answer: Answer, location: &str) -> Result<Answer, String> {
    match (answer.status, answer.header("location")) {
        (307, Some(it)) if it == location => Ok(answer),
        other => Err(format!("{other:?} instead of {location}")),
    }
}

fn authority(registry: &Registry) -> String {
    format!("{PUBLIC_REGISTRY}:{}", registry.address().port())
}

const OPEN: &str = "open/public";
const GUARDED: &str = "guarded/public";
const PRIVATE: &str = "guarded/private";

/// docker-registry shows an index only to who knows what it is.
const ACCEPT: &str = "Accept: application/vnd.oci.image.index.v1+json";
/// Versions 0 and 99 are this test's own: what they ask for is told apart from real pulls.
const CONTAINERD: &str = "containerd/99.1.0";
const OLD_CONTAINERD: &str = "containerd/0.2.9";
const PODMAN: &str = "containers/5.34.2 (github.com/containers/image)";
const DOCKER: &str = "docker/99.0.0 go/go1.19.8 git-commit/5d6db84 kernel/6.1 os/linux \
                      arch/amd64 UpstreamClient(Docker-Client/99.0.0 \\(linux\\))";
const DOCKER_29: &str = "docker/99.1.0 go/go1.25 git-commit/a kernel/6.1 os/linux arch/amd64 \
                         containerd-client/2.1.9 storage-driver/overlayfs";
