//! Several registries behind one domain, each of its own kind, and names that are not theirs: real
//! clients pull without a login and with one, and no registry sees what is another's.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::path::Path;

use serde_json::Value;
use support::bench::request;
use support::clients::{self, Docker};
use support::gate::{Counts, DRIVERS, Gate, UPSTREAM};
use support::hosts::{MEMBERS, TOKENS};
use support::http::Connection;
use support::images::image;
use support::origin::Request;
use support::tokens::{Login, RIGHT, WRONG, basic};
use support::world::{Kind, Storage, World};

#[test]
fn one_domain_leads_to_registries_of_every_kind() {
    let storage = Storage::with([OPEN, PUBLIC, PRIVATE, SAW].map(str::to_owned));
    for driver in DRIVERS {
        let [open, htpasswd, wants_token, redirecting] =
            Kind::ALL.map(|kind| World::start(kind, &storage));
        let worlds = Worlds { open, wants_token, redirecting, htpasswd };
        let directory = tempfile::tempdir().expect("a temporary directory");
        let access_file = directory.path().join("access.log");
        let mut gate = Gate::start_proxy(driver, &worlds.config(&access_file));
        let clients = clients::all();
        for client in &clients {
            for package in ["acme/lander", "tools/saw"] {
                for login in [None, Some(WRONG)] {
                    worlds.forget();
                    let reference = format!("{MEMBERS}:{}/{package}:latest", gate.address().port());
                    let words = client.try_pull_as(login, &reference).expect_err("no right to it");
                    says_why(&words);
                }
            }
            for (package, login, there) in [
                ("open", None, OPEN),
                ("rocket", None, PUBLIC),
                ("open", Some(RIGHT), OPEN),
                ("rocket", Some(RIGHT), PUBLIC),
                ("acme/lander", Some(RIGHT), PRIVATE),
                ("tools/saw", Some(RIGHT), SAW),
            ] {
                worlds.forget();
                let reference = format!("{MEMBERS}:{}/{package}:latest", gate.address().port());
                let name = client.name();
                client
                    .try_pull_as(login, &reference)
                    .unwrap_or_else(|words| panic!("{name}, {package}: {words}"));
                client.assert_holds(&reference, &image(there));
                worlds.assert_credentials(package);
            }
        }
        gate.stop();
        for package in ["acme/lander", "tools/saw"] {
            let counts = gate.counts(&format!("{MEMBERS}/{package}"));
            let expected = Counts { requests: 10, pulls: 5, ..Counts::default() };
            assert_eq!(counts, expected, "{package}");
        }
        logged_in_containerd_asks_by_post_first(&access_file);
    }
}

/// containerd asks by POST where it has a login, and by GET once it is told 405.
fn logged_in_containerd_asks_by_post_first(access_file: &Path) {
    let text = fs::read_to_string(access_file).expect("the access log");
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let tokens: Vec<(&str, u64)> = lines
        .iter()
        .filter(|line| line["path"].as_str().is_some_and(|path| path.starts_with("/token")))
        .map(|line| {
            (line["method"].as_str().unwrap_or_default(), line["status"].as_u64().unwrap_or(0))
        })
        .collect();
    let follows = tokens.windows(2).any(|two| two == [("POST", 405), ("GET", 200)]);
    assert!(follows, "{tokens:?}");
}

#[test]
fn docker_and_podman_log_in_to_the_domain() {
    let storage = Storage::with([PRIVATE.to_owned()]);
    let docker = Docker::start();
    for (driver, kind) in [(DRIVERS[0], Kind::Htpasswd), (DRIVERS[1], Kind::Token)] {
        let (open, checks) = (World::start(Kind::Open, &storage), World::start(kind, &storage));
        let config = [
            format!("{UPSTREAM}[[domains]]\nhost = \"{MEMBERS}\"\n"),
            format!("login = \"{}\"\n", checks.authority()),
            registry(&checks),
            package("open/*", &open, "there/*", "none"),
            package("private/*", &checks, "there/*", "client"),
        ];
        let gate = Gate::start_proxy(driver, &config.concat());
        let authority = format!("{MEMBERS}:{}", gate.address().port());
        for (name, log_in) in [
            ("docker", &(|login| docker.try_login(login, &authority)) as &dyn Fn(Login) -> _),
            ("podman", &|login| clients::Podman::new().try_login(login, &authority)),
            ("skopeo", &|login| clients::Skopeo::new().try_login(login, &authority)),
        ] {
            log_in(RIGHT).unwrap_or_else(|words| panic!("{name}: {words}"));
            says_why(&log_in(WRONG).expect_err("a wrong password"));
        }
        assert!(open.registry.requests().iter().all(|request| request.scheme().is_empty()));
    }
}

/// The next page is asked for here, by the name that is known here.
#[test]
fn lists_say_the_name_that_clients_know() {
    let storage = Storage::with([PUBLIC.to_owned()]);
    for driver in DRIVERS {
        let open = World::start(Kind::Open, &storage);
        let config = [UPSTREAM.to_owned(), package("rocket", &open, PUBLIC, "none")].concat();
        let gate = Gate::start_proxy(driver, &config);
        let ask = |method: &str, target: &str| {
            let mut connection = Connection::open(gate.address()).expect("the gateway listens");
            let asked = String::from_utf8(request(method, target, &[])).expect("text");
            let asked = asked.replace(support::hosts::GATEWAY, MEMBERS);
            connection.send(asked.as_bytes()).expect("it is read");
            connection.answer(method == "HEAD").expect("an answer")
        };
        let answer = ask("GET", "/v2/rocket/tags/list?n=1");
        let list: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(list, serde_json::json!({"name": "rocket", "tags": ["latest"]}));
        assert!(answer.is_whole);
        assert_eq!(ask("HEAD", "/v2/rocket/tags/list").header("content-length"), None);
    }
}

/// What stands behind the domain.
struct Worlds {
    open: World,
    wants_token: World,
    redirecting: World,
    htpasswd: World,
}

impl Worlds {
    fn config(&self, access_file: &Path) -> String {
        [
            format!("[log]\naccess = \"json\"\naccess_file = \"{}\"\n", access_file.display()),
            format!("{UPSTREAM}[[domains]]\nhost = \"{MEMBERS}\"\n"),
            format!("login = \"{}\"\n", self.htpasswd.authority()),
            registry(&self.wants_token),
            registry(&self.redirecting),
            package("open", &self.open, OPEN, "none"),
            package("rocket", &self.wants_token, PUBLIC, "none"),
            package("acme/lander", &self.redirecting, PRIVATE, "client"),
            package("tools/*", &self.htpasswd, "there/*", "client"),
        ]
        .concat()
    }

    fn all(&self) -> [&World; 4] {
        [&self.open, &self.wants_token, &self.redirecting, &self.htpasswd]
    }

    fn forget(&self) {
        self.all().iter().for_each(|world| world.forget());
    }

    /// A login arrived at the one registry, or its token service, that the package lives on.
    fn assert_credentials(&self, package: &str) {
        let is_login = |request: &Request| request.field("authorization") == Some(&basic(RIGHT));
        for world in self.all() {
            let registry = world.registry.requests();
            let tokens: Vec<Request> =
                world.tokens.iter().flat_map(|tokens| tokens.requests()).collect();
            let (at_registry, at_tokens) = match package {
                "acme/lander" if std::ptr::eq(world, &self.redirecting) => (false, true),
                "tools/saw" if std::ptr::eq(world, &self.htpasswd) => (true, false),
                _ => (false, false),
            };
            assert_eq!(registry.iter().any(is_login), at_registry, "{package}: {registry:?}");
            assert_eq!(tokens.iter().any(is_login), at_tokens, "{package}: {tokens:?}");
            let is_basic = |request: &&Request| request.scheme() == "Basic" && !is_login(request);
            assert!(registry.iter().chain(&tokens).find(is_basic).is_none(), "{package}");
            let cdn = world.cdn.iter().flat_map(|cdn| cdn.requests());
            assert!(cdn.into_iter().all(|request| request.scheme().is_empty()), "{package}");
        }
    }
}

fn package(name: &str, world: &World, there: &str, credentials: &str) -> String {
    format!(
        "[[packages]]\ndomain = \"{MEMBERS}\"\nname = \"{name}\"\nbackend = \"http://{}/{there}\"\n\
         credentials = \"{credentials}\"\n",
        world.authority(),
    )
}

fn registry(world: &World) -> String {
    format!("[[registries]]\nhost = \"{}\"\ntoken_hosts = [\"{TOKENS}\"]\n", world.authority())
}

/// What a person reads has to tell them that it was about their password.
fn says_why(words: &str) {
    let said = words.to_lowercase();
    let known = ["unauthorized", "authentication required", "denied", "401", "invalid username"];
    let is_known = known.iter().any(|word| said.contains(word)) && !said.contains("took too long");
    assert!(is_known, "an unclear refusal: {words}");
}

/// Under these names the registries have it; nobody has to know them here.
const OPEN: &str = "there/open/public";
const PUBLIC: &str = "there/deep/public";
const PRIVATE: &str = "there/private";
const SAW: &str = "there/saw";
