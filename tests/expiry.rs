//! Tokens that end while real clients are in the middle of a pull: the gateway's own towards a
//! registry, and those that clients get for their logins.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::clients;
use support::eventually::{eventually, pause};
use support::gate::{DRIVERS, Gate, UPSTREAM};
use support::hosts::{MEMBERS, TOKENS};
use support::images::layered;
use support::origin::Request;
use support::tokens::{Life, RIGHT, basic};
use support::world::{Kind, Storage, World};

/// The registry trickles until every token that was given out by then has ended. No client asks for
/// all of the layers at once, so each has to ask for the last ones with another token.
#[test]
fn a_token_that_ends_in_the_middle_of_a_pull_is_replaced() {
    let storage = Storage::with([]);
    for repository in [PUBLIC, PRIVATE] {
        storage.push(repository, &layered(repository, &LAYERS));
    }
    thread::scope(|scope| {
        for driver in DRIVERS {
            scope.spawn(|| pull_by_all(driver, &storage));
        }
    });
}

fn pull_by_all(driver: &str, storage: &Storage) {
    let is_slow = Arc::new(AtomicBool::new(true));
    let world = World::start_slow(Kind::Token, storage, LIFE, &is_slow);
    let mut gate = Gate::start_proxy(driver, &config(&world));
    // One of each for each pull: some keep one image only.
    let clients = [clients::all(), clients::all()];
    let each = clients[0].len();
    let authority = format!("{MEMBERS}:{}", gate.address().port());
    let pulls = [(PUBLIC, None), (PRIVATE, Some(RIGHT))]
        .map(|(there, login)| (there, format!("{authority}/{there}:latest"), login));
    let before = thread::scope(|scope| {
        for (clients, (there, reference, login)) in clients.iter().zip(&pulls) {
            for client in clients {
                scope.spawn(move || {
                    client.try_pull_as(*login, reference).unwrap_or_else(|words| {
                        panic!("{driver}, {}, {reference}: {words}", client.name())
                    });
                    client.assert_holds(reference, &layered(there, &LAYERS));
                });
            }
        }
        let mut asked = Vec::new();
        // Each client has begun both pulls.
        eventually(|| {
            asked.extend(world.registry.requests());
            let begun = |there| asked.iter().filter(|it| is_layer(it, there)).count();
            let fewer = begun(PRIVATE).min(begun(PUBLIC));
            if fewer >= each { Ok(()) } else { Err(format!("{fewer} layers")) }
        });
        let ended = Instant::now() + Duration::from_secs(LIFE_IN_ALL_S);
        let before = world.tokens.as_ref().expect("they are there").requests();
        while Instant::now() < ended {
            pause();
        }
        is_slow.store(false, Ordering::SeqCst);
        before
    });
    let after = world.tokens.as_ref().expect("they are there").requests();
    for (when, requests) in [("before", &before), ("after", &after)] {
        // For clients that ask in the same moment it is asked once.
        let is_login = |it: &Request| it.field("authorization") == Some(&basic(RIGHT));
        assert!(requests.iter().any(is_login), "{driver}, {when}: {requests:?}");
        let is_own = |it: &&Request| it.scheme().is_empty() && it.target.contains("public");
        assert!(requests.iter().any(|it| is_own(&it)), "{driver}, {when}: {requests:?}");
    }
    gate.stop();
    for there in [PUBLIC, PRIVATE] {
        let counts = gate.counts(&format!("{MEMBERS}/{there}"));
        assert_eq!(counts.pulls, each as u64, "{driver}, {there}: {counts:?}");
    }
}

fn is_layer(request: &Request, repository: &str) -> bool {
    request.method == "GET" && request.target.starts_with(&format!("/v2/{repository}/blobs/"))
}

fn config(world: &World) -> String {
    let authority = world.authority();
    let package = |name, credentials| {
        format!(
            "[[packages]]\ndomain = \"{MEMBERS}\"\nname = \"{name}\"\n\
             backend = \"http://{authority}/{name}\"\ndelivery = \"stream\"\n\
             credentials = \"{credentials}\"\n"
        )
    };
    [
        format!("{UPSTREAM}[[registries]]\nhost = \"{authority}\"\ntoken_hosts = [\"{TOKENS}\"]\n"),
        package(PUBLIC, "none"),
        package(PRIVATE, "client"),
    ]
    .concat()
}

const PUBLIC: &str = "expiry/public";
const PRIVATE: &str = "expiry/private";
/// More layers than any client asks for at once, and more bytes than trickle in time.
const LAYERS: [usize; 10] = [1 << 20; 10];
/// Clients take less than a minute for a minute. What is signed for a second is believed for 61.
const LIFE: Life = Life { told: 60, signed: 1 };
/// After which no token is good that was given before, for anybody, in seconds.
const LIFE_IN_ALL_S: u64 = 62;
