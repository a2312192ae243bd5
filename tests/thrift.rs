//! What pulls cost a registry: one GET for each manifest, one HEAD in each `tag_ttl`, one token, for
//! however many clients. And who keeps content itself is served as any client is.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::env;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use pullgate::cli::demo::image::Image;
use support::clients::{Client, Docker, Podman, Skopeo};
use support::gate::{Counts, DRIVERS, Gate, UPSTREAM};
use support::hosts::{GATEWAY, TOKENS};
use support::http::Connection;
use support::images::image;
use support::registry::Registry;
use support::world::{Kind, Storage, World};

#[test]
fn many_pulls_of_one_tag_cost_a_registry_almost_nothing() {
    let pulls = env::var("PULLGATE_PULLS").ok().and_then(|pulls| pulls.parse().ok());
    let each = pulls.unwrap_or(PULLS_MAX) / CLIENTS;
    let storage = Storage::with([REPOSITORY.to_owned()]);
    let pulled = image(REPOSITORY);
    let mut table = String::from(HEAD);
    for driver in DRIVERS {
        let world = World::start(Kind::Token, &storage);
        let mut gate =
            Gate::start_proxy(driver, &config(&world, &format!("workers = {WORKERS}\n")));
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| (0..each).for_each(|_| pull(&gate, &pulled)));
            }
        });
        let elapsed = began.elapsed();
        let cost = Cost::of(&world);
        table += &cost.row(driver, each * CLIENTS, elapsed);
        println!("{table}");
        assert_eq!(cost.gets, 2, "one for each manifest: the index and one platform's");
        // A worker that meets the registry by a digest begins with a HEAD too.
        let first_contacts = WORKERS - 1;
        let heads = elapsed.as_nanos() / TAG_TTL.as_nanos() + 1 + first_contacts as u128;
        assert!(cost.heads as u128 <= heads, "{} HEADs in {elapsed:?}", cost.heads);
        assert_eq!(cost.tokens, 1);
        assert!(cost.refused <= WORKERS, "each worker learns once that there is one to be had");
        gate.stop();
        let counted = gate.counts(&format!("{GATEWAY}/{REPOSITORY}")).requests;
        assert_eq!(counted, 2 * (each * CLIENTS) as u64);
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("thrift.md");
    fs::write(target, table).expect("the table");
}

#[test]
fn a_pull_through_cache_is_served_as_any_client_is() {
    let storage = Storage::with([REPOSITORY.to_owned()]);
    for driver in DRIVERS {
        let world = World::start(Kind::Redirecting, &storage);
        let mut gate = Gate::start_proxy(driver, &config(&world, ""));
        let remote = format!("http://{GATEWAY}:{}", gate.address().port());
        let mirror = Registry::start_mirror(&remote);
        let reference = format!("{}/{REPOSITORY}:latest", mirror.address());
        let clients: [Box<dyn Client>; 3] =
            [Box::new(Skopeo::new()), Box::new(Podman::new()), Box::new(Docker::start())];
        for client in clients {
            client.try_pull(&reference).unwrap_or_else(|words| {
                panic!("{} through the cache: {words}\n{}", client.name(), gate.words())
            });
            client.assert_holds(&reference, &image(REPOSITORY));
        }
        gate.stop();
        let counts = gate.counts(&format!("{GATEWAY}/{REPOSITORY}"));
        assert!(counts.pulls >= 1 && counts.requests >= 2, "{counts:?}");
        assert_eq!(counts.supply_chain, Counts::default().supply_chain);
    }
}

/// What docker sends, as far as manifests go: HEAD and GET of the tag, GET of the platform's.
fn pull(gate: &Gate, pulled: &Image) {
    let mut connection = Connection::open(gate.address()).expect("the gateway listens");
    let host = [format!("Host: {GATEWAY}"), format!("Accept: {ACCEPT}")];
    let child = &pulled.platforms[0].manifest;
    for (method, reference, expected) in [
        ("HEAD", "latest", &[][..]),
        ("GET", "latest", &pulled.index.bytes),
        ("GET", &child.digest, &child.bytes),
    ] {
        let target = format!("/v2/{REPOSITORY}/manifests/{reference}");
        let answer = connection.ask(method, &target, &host, b"").expect("an answer");
        assert_eq!((answer.status, &*answer.body), (200, expected), "{method} {reference}");
    }
}

/// What arrived behind the gateway, by clients' doing.
struct Cost {
    heads: usize,
    gets: usize,
    /// Those that came without a token.
    refused: usize,
    tokens: usize,
}

impl Cost {
    fn of(world: &World) -> Self {
        let mut arrived = world.registry.requests();
        arrived.retain(|request| request.target.contains("/manifests/"));
        let (known, refused): (Vec<_>, Vec<_>) =
            arrived.into_iter().partition(|request| request.scheme() == "Bearer");
        let by = |method| known.iter().filter(|request| request.method == method).count();
        Self {
            heads: by("HEAD"),
            gets: by("GET"),
            refused: refused.len(),
            tokens: world.tokens.as_ref().map_or(0, |tokens| tokens.requests().len()),
        }
    }

    fn row(&self, driver: &str, pulls: usize, elapsed: Duration) -> String {
        let Self { heads, gets, refused, tokens } = self;
        let pulled = image(REPOSITORY);
        let each = pulled.index.bytes.len() + pulled.platforms[0].manifest.bytes.len();
        let seconds = elapsed.as_secs_f64();
        format!(
            "| {driver} | {pulls} | {seconds:.1} | {heads} | {gets} | {refused} | {tokens} | {each} | \
             {} |\n",
            pulls * each
        )
    }
}

fn config(world: &World, gateway: &str) -> String {
    format!(
        "{gateway}\n{UPSTREAM}\n[cache]\ntag_ttl = \"{}s\"\n\n\
         [[registries]]\nhost = \"{authority}\"\ntoken_hosts = [\"{TOKENS}\"]\n\n\
         [[packages]]\ndomain = \"{GATEWAY}\"\nname = \"{REPOSITORY}\"\n\
         backend = \"http://{authority}/{REPOSITORY}\"\ndelivery = \"broker\"\n",
        TAG_TTL.as_secs(),
        authority = world.authority(),
    )
}

const HEAD: &str = "| driver | pulls | seconds | HEADs | GETs | without a token | tokens | bytes of \
                    manifests from the registry | to clients |\n|---|---|---|---|---|---|---|---|---|\n";
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
                      application/vnd.oci.image.manifest.v1+json";
const REPOSITORY: &str = "thrift/public";
const WORKERS: usize = 2;
const CLIENTS: usize = 100;
/// How many pulls, unless it is said otherwise.
const PULLS_MAX: usize = 1_000;
const TAG_TTL: Duration = Duration::from_secs(1);
