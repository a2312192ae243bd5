//! The gateway's own account, and packages under another name than the registry's.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::bench::{Bench, NOTHING_KEPT, ask, config, request};
use support::clients::{self, Docker};
use support::eventually::eventually;
use support::gate::{Counts, DRIVERS, Gate, UPSTREAM};
use support::hosts::{GATEWAY, MEMBERS, REGISTRY_IP, TOKENS};
use support::http::Connection;
use support::images::image;
use support::origin::Origin;
use support::scripted::serve;
use support::tokens::{RIGHT, WRONG, basic};
use support::world::{Kind, Storage, World};

#[test]
fn anonymous_clients_pull_a_private_image_by_the_gateway_s_account() {
    let storage = Storage::with([PRIVATE.to_owned()]);
    for (driver, kind) in
        [(DRIVERS[0], Kind::Htpasswd), (DRIVERS[1], Kind::Token), (DRIVERS[0], Kind::Redirecting)]
    {
        let world = World::start(kind, &storage);
        let mut gate = Gate::start_proxy(driver, &with_account(&world, RIGHT.password));
        let log = gate.words();
        assert!(log.contains("hidden/hello") && log.contains("anybody"), "not said:\n{log}");
        assert!(!log.contains(RIGHT.password));
        let clients = clients::all();
        for client in &clients {
            world.forget();
            let reference = format!("{GATEWAY}:{}/hidden/hello:latest", gate.address().port());
            client.try_pull(&reference).unwrap_or_else(|words| panic!("{words}"));
            client.assert_holds(&reference, &image(PRIVATE));
            for request in world.registry.requests() {
                assert!(request.field("via").is_some() || request.target == "/v2/", "{request:?}");
                let scheme = if kind == Kind::Htpasswd { "Basic" } else { "Bearer" };
                assert!(["", scheme].contains(&request.scheme()));
            }
            for request in world.cdn.iter().flat_map(|cdn| cdn.requests()) {
                assert_eq!(request.scheme(), "", "credentials went to the storage");
            }
            for request in world.tokens.iter().flat_map(|tokens| tokens.requests()) {
                let words = request.field("authorization");
                assert!(words.is_none() || words == Some(&basic(RIGHT)), "{request:?}");
            }
        }
        gate.stop();
        let counts = gate.counts(&format!("{GATEWAY}/hidden/hello"));
        assert_eq!(counts, Counts { requests: 10, pulls: 5, ..Counts::default() });
    }
}

#[test]
fn a_password_that_changes_is_read_again() {
    let storage = Storage::with([PRIVATE.to_owned()]);
    for (driver, kind) in [(DRIVERS[0], Kind::Htpasswd), (DRIVERS[1], Kind::Token)] {
        let world = World::start(kind, &storage);
        let gate = Gate::start_proxy(driver, &with_account(&world, "an old one"));
        let manifest = || ask(&gate, "GET", "/v2/hidden/hello/manifests/latest", &[ACCEPT]);
        let refused = manifest();
        assert!([401, 502].contains(&refused.status), "{refused:?}");
        fs::write(password_file(&world), RIGHT.password).expect("the new password");
        eventually(|| match manifest().status {
            200 => Ok(()),
            status => Err(format!("still {status}")),
        });
    }
}

/// What the account before could see is nothing to the one after it, until the registry says so; and
/// an account that may not pull any more does not see what it has pulled.
#[test]
fn what_an_account_has_fetched_is_served_as_long_as_it_may_pull() {
    let hello = image(PRIVATE);
    for driver in DRIVERS {
        let may_pull = Arc::new(AtomicBool::new(true));
        let (may, served) = (Arc::clone(&may_pull), hello.clone());
        let registry = Origin::start(REGISTRY_IP, move |talk| {
            while let Some(request) = talk.request()? {
                let is_right = request.field("authorization") == Some(&*basic(RIGHT));
                match is_right && may.load(Ordering::SeqCst) {
                    true => serve(talk, &request, &served)?,
                    false => talk.answer(&request, "401 Unauthorized", &[BASIC], b"")?,
                }
            }
            Ok(())
        });
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("password");
        fs::write(&file, RIGHT.password).expect("the password");
        let bench = before(registry, driver, &file);
        let digest = format!("/v2/acme/rocket/manifests/{}", hello.index.digest);
        let status = |reference: &str| bench.get(reference).status;
        let tag = "/v2/acme/rocket/manifests/latest";
        assert_eq!([status(tag), status(&digest), status(&digest)], [200; 3]);
        // Another password, that the registry does not take.
        fs::write(&file, WRONG.password).expect("the password");
        eventually(|| match status(&digest) {
            401 => Ok(()),
            other => Err(format!("still {other}")),
        });
        fs::write(&file, RIGHT.password).expect("the password");
        eventually(|| match status(&digest) {
            200 => Ok(()),
            other => Err(format!("still {other}")),
        });
        // The password is the same, but the registry does not take it any more.
        may_pull.store(false, Ordering::SeqCst);
        assert_eq!(status(&digest), 200, "nobody has said otherwise");
        assert_eq!(status(tag), 401);
        assert_eq!(status(&digest), 401);
    }
}

/// Who pulls in the moment in which the password is replaced notices nothing of that.
#[test]
fn a_password_that_was_replaced_a_moment_ago_is_read_before_anybody_is_refused() {
    let hello = image(PRIVATE);
    for driver in DRIVERS {
        let is_new = Arc::new(AtomicBool::new(false));
        let (new, served) = (Arc::clone(&is_new), hello.clone());
        let registry = Origin::start(REGISTRY_IP, move |talk| {
            while let Some(request) = talk.request()? {
                let good = if new.load(Ordering::SeqCst) { RIGHT } else { WRONG };
                match request.field("authorization") == Some(&*basic(good)) {
                    true => serve(talk, &request, &served)?,
                    false => talk.answer(&request, "401 Unauthorized", &[BASIC], b"")?,
                }
            }
            Ok(())
        });
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("password");
        fs::write(&file, WRONG.password).expect("the password");
        let bench = before(registry, driver, &file);
        assert_eq!(bench.get("/v2/acme/rocket/manifests/latest").status, 200);
        is_new.store(true, Ordering::SeqCst);
        fs::write(&file, RIGHT.password).expect("the new password");
        assert_eq!(bench.get("/v2/acme/rocket/manifests/latest").status, 200);
        // With the same password there is nothing to wait for twice.
        is_new.store(false, Ordering::SeqCst);
        for _ in 0..2 {
            assert_eq!(bench.get("/v2/acme/rocket/manifests/latest").status, 401);
        }
    }
}

/// A gateway that asks for tags each time, with the account whose password is in `file`.
fn before(registry: Origin, driver: &str, file: &Path) -> Bench {
    Bench::behind(registry, |backend| {
        let keys = "delivery = \"broker\"\ncredentials = \"registry\"\n";
        let account = format!(
            "username = \"{}\"\npassword_file = \"{}\"\ntoken_hosts",
            RIGHT.user,
            file.display()
        );
        let config = config("", keys, backend).replace(NOTHING_KEPT, "tag_ttl = \"0s\"\n");
        Gate::start_proxy(driver, &config.replace("token_hosts", &account))
    })
}

#[test]
fn docker_login_tells_a_right_password_from_a_wrong_one() {
    let storage = Storage::with([]);
    let docker = Docker::start();
    for (driver, kind) in [(DRIVERS[0], Kind::Htpasswd), (DRIVERS[1], Kind::Token)] {
        let world = World::start(kind, &storage);
        let config = format!(
            "{}[[packages]]\ndomain = \"{MEMBERS}\"\nname = \"there/*\"\n\
             backend = \"http://{}/there/*\"\ncredentials = \"client\"\n",
            registries(&world),
            world.authority(),
        );
        let gate = Gate::start_proxy(driver, &config);
        let authority = format!("{MEMBERS}:{}", gate.address().port());
        eventually(|| docker.try_login(RIGHT, &authority));
        let words = docker.try_login(WRONG, &authority).expect_err("a wrong password");
        assert!(words.contains("unauthorized") || words.contains("401"), "{words}");
    }
}

/// Path and scope are built from the registry's name.
#[test]
fn a_package_has_another_name_here_than_there() {
    let storage = Storage::with([PUBLIC.to_owned()]);
    for (driver, kind) in [(DRIVERS[0], Kind::Token), (DRIVERS[1], Kind::Redirecting)] {
        for delivery in ["auto", "broker", "stream"] {
            let world = World::start(kind, &storage);
            let config = format!(
                "{}[[packages]]\ndomain = \"{GATEWAY}\"\nname = \"team/*\"\n\
                 backend = \"http://{}/there/deep/*\"\ndelivery = \"{delivery}\"\n",
                registries(&world),
                world.authority(),
            );
            let gate = Gate::start_proxy(driver, &config);
            for client in clients::all() {
                let reference = format!("{GATEWAY}:{}/team/public:latest", gate.address().port());
                client.try_pull(&reference).unwrap_or_else(|words| panic!("{words}"));
                client.assert_holds(&reference, &image(PUBLIC));
            }
        }
    }
}

/// `/v2/` is all that clients have to find out how to log in.
#[test]
fn the_base_tells_who_has_to_log_in() {
    let storage = Storage::with([PUBLIC.to_owned()]);
    for driver in DRIVERS {
        let world = World::start(Kind::Token, &storage);
        let package = |domain: &str, keys: &str| {
            format!(
                "[[packages]]\ndomain = \"{domain}\"\nname = \"{PUBLIC}\"\n\
                 backend = \"http://{}/{PUBLIC}\"\n{keys}\n",
                world.authority(),
            )
        };
        let config = [
            registries(&world),
            package(GATEWAY, "delivery = \"broker\""),
            package(MEMBERS, "credentials = \"client\""),
        ]
        .concat();
        let gate = Gate::start_proxy(driver, &config);
        let realm = |host: &str| format!("http://{host}:{}/token", gate.address().port());
        let base = |host: &str, agent: &str| {
            let mut connection = Connection::open(gate.address()).expect("the gateway listens");
            let asked = request("GET", "/v2/", &[&format!("User-Agent: {agent}")]);
            let asked = String::from_utf8_lossy(&asked).replace(GATEWAY, host);
            connection.send(asked.as_bytes()).expect("it is read");
            let answer = connection.answer(false).expect("an answer");
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            (answer.status, challenge.contains(&realm(host)))
        };
        for agent in ["containers/5.34.2 (github.com/containers/image)", "docker/28.5.2", "x"] {
            eventually(|| match base(MEMBERS, agent) {
                (401, true) => Ok(()),
                other => Err(format!("{agent}: {other:?}")),
            });
            assert_eq!(base(GATEWAY, agent), (200, false), "{agent}");
        }
        eventually(|| match base(GATEWAY, "Watchtower (Docker)") {
            (401, true) => Ok(()),
            other => Err(format!("Watchtower: {other:?}")),
        });
    }
}

fn with_account(world: &World, password: &str) -> String {
    let file = password_file(world);
    fs::write(&file, format!("{password}\n")).expect("the password");
    format!(
        "{}username = \"{}\"\npassword_file = \"{}\"\n\
         [[packages]]\ndomain = \"{GATEWAY}\"\nname = \"hidden/hello\"\n\
         backend = \"http://{}/{PRIVATE}\"\ndelivery = \"broker\"\ncredentials = \"registry\"\n",
        registries(world),
        RIGHT.user,
        file.display(),
        world.authority(),
    )
}

fn password_file(world: &World) -> PathBuf {
    world.directory().join("password")
}

/// Up to the registry's own table, which may go on.
fn registries(world: &World) -> String {
    format!(
        "{UPSTREAM}[[registries]]\nhost = \"{}\"\ntoken_hosts = [\"{TOKENS}\"]\n",
        world.authority(),
    )
}

const BASIC: &str = "WWW-Authenticate: Basic realm=\"r\"";
const PRIVATE: &str = "there/private";
const PUBLIC: &str = "there/deep/public";
/// docker-registry shows an index only to who knows what it is.
const ACCEPT: &str = "Accept: application/vnd.oci.image.index.v1+json";
