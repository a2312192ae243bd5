//! Clients that are not installed here log in and pull by their exact sequences: docker 29, containerd
//! 2, crane, oras and Watchtower; anonymously, with a password, with a wrong one, and with a token that
//! ends in the middle.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pullgate::cli::demo::image::Image;
use serde_json::Value;
use support::gate::{Counts, DRIVERS, Gate, UPSTREAM};
use support::hosts::{GATEWAY, REGISTRY, REGISTRY_IP, TOKENS, TOKENS_IP};
use support::http::{Answer, Connection};
use support::images::image;
use support::origin::{Origin, Talk};
use support::scripted::serve;
use support::tokens::{Login, RIGHT, WRONG, basic};

#[test]
fn they_pull_with_a_login_and_without_one() {
    for driver in DRIVERS {
        let scene = Scene::start(driver);
        for client in &CLIENTS {
            // What anybody may pull, with and without a login; what is private, with one.
            for (name, login) in
                [("open", None), ("open", Some(RIGHT)), ("private/rocket", Some(RIGHT))]
            {
                let pulled = Session::new(&scene, client, name, login).pull();
                assert_eq!(pulled, Ok(()), "{}, {name}", client.name);
            }
            for login in [None, Some(WRONG)] {
                let refused = Session::new(&scene, client, "private/rocket", login).pull();
                assert_eq!(refused, Err(401), "{}: a clear refusal", client.name);
            }
        }
    }
}

#[test]
fn they_go_on_when_a_token_ends_in_the_middle() {
    for driver in DRIVERS {
        let mut scene = Scene::start(driver);
        for client in &CLIENTS {
            let mut session = Session::new(&scene, client, "private/rocket", Some(RIGHT));
            let hello = image("hello");
            let platform = &hello.platforms[0];
            let end = |session: &mut Session<'_>| {
                scene.round.fetch_add(1, Ordering::SeqCst);
                // Who does not react to a 401 looks at the clock, and asks before.
                if client.reacts { Ok(()) } else { session.get_token() }
            };
            session.get_token().expect("a token");
            session.get("manifests", "latest").expect("the index");
            end(&mut session).expect("another token");
            session.get("manifests", &platform.manifest.digest).expect("the platform");
            end(&mut session).expect("another token");
            let layer = session.get("blobs", &platform.layers[1].digest).expect("a layer");
            assert_eq!(layer.body, platform.layers[1].bytes, "{}", client.name);
        }
        scene.gate.stop();
        let counts = scene.gate.counts(&format!("{GATEWAY}/private/rocket"));
        assert_eq!((counts.pulls, counts.checks), (4, 0), "a refused request is none: {counts:?}");
    }
}

/// Watchtower asks for the digest alone, and pulls everything whenever that goes wrong.
#[test]
fn watchtower_learns_the_digest_on_a_domain_with_several_registries() {
    for driver in DRIVERS {
        let mut scene = Scene::start(driver);
        for (name, login) in [("open", None), ("private/rocket", Some(RIGHT))] {
            let base = scene.ask("GET", "/v2/", &["User-Agent: Watchtower (Docker)"]);
            let challenge = base.header("www-authenticate").expect("a challenge").to_lowercase();
            let rest = challenge.strip_prefix("bearer ").expect("one of tokens");
            let values: Vec<(&str, &str)> =
                rest.split(',').map(|pair| pair.split_once('=').expect("a pair")).collect();
            let value = |key: &str| {
                let found = values.iter().find(|(it, _)| *it == key);
                found.map(|(_, value)| value.trim_matches('"')).expect("it is there")
            };
            let query = format!("service={}&scope=repository%3A{name}%3Apull", value("service"));
            let (_, path) = value("realm").rsplit_once('/').expect("a URL");
            let login = login.map(|login| format!("Authorization: {}", basic(login)));
            let fields: Vec<&str> = login.as_deref().into_iter().collect();
            let granted = scene.ask("GET", &format!("/{path}?{query}"), &fields);
            let granted: Value = serde_json::from_slice(&granted.body).expect("JSON");
            let token = granted["token"].as_str().expect("a token");
            let fields = [
                "User-Agent: Watchtower/1.7.1",
                "Accept: application/vnd.docker.distribution.manifest.list.v2+json",
                &format!("Authorization: Bearer {token}"),
            ];
            let head = scene.ask("HEAD", &format!("/v2/{name}/manifests/latest"), &fields);
            let digest = head.header("docker-content-digest").unwrap_or_default();
            assert_eq!((head.status, digest), (200, image("hello").index.digest.as_str()));
        }
        scene.gate.stop();
        for name in ["open", "private/rocket"] {
            let counts = scene.gate.counts(&format!("{GATEWAY}/{name}"));
            assert_eq!(counts, Counts { checks: 1, ..Counts::default() }, "{name}");
        }
    }
}

/// How a client asks.
struct Client {
    name: &'static str,
    /// Whether it learns from `/v2/` what it needs, and only there.
    asks_base: bool,
    /// Whether it asks for tokens by POST first, where it has a login.
    posts: bool,
    /// Whether a 401 makes it get another token.
    reacts: bool,
    /// Whether it asks by HEAD what a tag is.
    heads: bool,
    user_agent: &'static str,
    /// For tokens.
    token_agent: &'static str,
}

const CLIENTS: [Client; 4] = [
    Client {
        name: "docker 29",
        asks_base: false,
        posts: true,
        reacts: false,
        heads: true,
        user_agent: "docker/29.1.0 go/go1.25.3 git-commit/abc kernel/6.12 os/linux arch/amd64 \
                     containerd-client/2.2.0 storage-driver/overlayfs \
                     UpstreamClient(Docker-Client/29.1.0 \\(linux\\))",
        token_agent: "containerd/2.2.0",
    },
    Client {
        name: "containerd 2",
        asks_base: false,
        posts: true,
        reacts: false,
        heads: true,
        user_agent: "containerd/2.1.9+unknown",
        token_agent: "containerd/2.1.9+unknown",
    },
    Client {
        name: "oras",
        asks_base: false,
        posts: false,
        reacts: true,
        heads: false,
        user_agent: "oras/1.3.3",
        token_agent: "oras/1.3.3",
    },
    Client {
        name: "crane",
        asks_base: true,
        posts: false,
        reacts: false,
        heads: false,
        user_agent: "go-containerregistry",
        token_agent: "Go-http-client/1.1",
    },
];

/// One pull of one client.
struct Session<'s> {
    scene: &'s Scene,
    client: &'s Client,
    name: &'s str,
    login: Option<Login>,
    token: Option<String>,
}

impl<'s> Session<'s> {
    fn new(scene: &'s Scene, client: &'s Client, name: &'s str, login: Option<Login>) -> Self {
        Self { scene, client, name, login, token: None }
    }

    /// The whole image by its tag; or the status that ended it.
    fn pull(mut self) -> Result<(), u16> {
        let hello = image("hello");
        if self.client.asks_base {
            let base = self.ask("GET", "/v2/");
            if base.status == 401 {
                self.log_in(&base)?;
            }
        }
        let mut reference = "latest".to_owned();
        if self.client.heads {
            let head = self.send("HEAD", "/v2/{name}/manifests/latest")?;
            reference = head.header("docker-content-digest").expect("a digest").to_owned();
        }
        let index = self.get("manifests", &reference)?;
        assert_eq!(index.body, hello.index.bytes);
        let Image { platforms, .. } = &hello;
        let platform = &platforms[0];
        assert_eq!(self.get("manifests", &platform.manifest.digest)?.body, platform.manifest.bytes);
        for blob in platform.layers.iter().chain([&platform.config]) {
            assert_eq!(self.get("blobs", &blob.digest)?.body, blob.bytes);
        }
        Ok(())
    }

    fn get(&mut self, kind: &str, reference: &str) -> Result<Answer, u16> {
        self.send("GET", &format!("/v2/{{name}}/{kind}/{reference}"))
    }

    /// One request; without a token a 401 says where to get one.
    fn send(&mut self, method: &str, path: &str) -> Result<Answer, u16> {
        let path = path.replace("{name}", self.name);
        let mut answer = self.ask(method, &path);
        let learns = self.client.reacts || self.token.is_none() && !self.client.asks_base;
        if answer.status == 401 && learns {
            self.log_in(&answer)?;
            answer = self.ask(method, &path);
        }
        if answer.status == 200 { Ok(answer) } else { Err(answer.status) }
    }

    fn ask(&self, method: &str, path: &str) -> Answer {
        let token = self.token.as_ref().map(|token| format!("Authorization: Bearer {token}"));
        let agent = format!("User-Agent: {}", self.client.user_agent);
        let fields: Vec<&str> = [agent.as_str()].into_iter().chain(token.as_deref()).collect();
        self.scene.ask(method, path, &fields)
    }

    /// Gets a token as the challenge says.
    fn log_in(&mut self, refused: &Answer) -> Result<(), u16> {
        let challenge = refused.header("www-authenticate").expect("a challenge");
        let port = self.scene.gate.address().port();
        assert!(challenge.contains(&format!("realm=\"http://{GATEWAY}:{port}/token\"")));
        let named = format!("scope=\"repository:{}:pull\"", self.name);
        assert_eq!(challenge.contains(&named), !self.client.asks_base, "{challenge}");
        self.get_token()
    }

    fn get_token(&mut self) -> Result<(), u16> {
        let agent = format!("User-Agent: {}", self.client.token_agent);
        if self.client.posts && self.login.is_some() {
            let form = ["Content-Type: application/x-www-form-urlencoded", "Content-Length: 0"];
            assert_eq!(self.scene.ask("POST", "/token", &form).status, 405);
        }
        let login = self.login.map(|login| format!("Authorization: {}", basic(login)));
        let fields: Vec<&str> = [agent.as_str()].into_iter().chain(login.as_deref()).collect();
        let scope = format!("repository%3A{}%3Apull", self.name.replace('/', "%2F"));
        let granted =
            self.scene.ask("GET", &format!("/token?scope={scope}&service={GATEWAY}"), &fields);
        if granted.status != 200 {
            return Err(granted.status);
        }
        let granted: Value = serde_json::from_slice(&granted.body).expect("JSON");
        self.token = Some(granted["token"].as_str().expect("a token").to_owned());
        Ok(())
    }
}

/// An open package, and one for which clients log in and whose tokens end when a test says so.
struct Scene {
    gate: Gate,
    /// Which token is good: `good0`, `good1` and so on.
    round: Arc<AtomicU64>,
    _open: Origin,
    _private: Origin,
    _tokens: Origin,
}

impl Scene {
    fn start(driver: &str) -> Self {
        let round = Arc::new(AtomicU64::new(0));
        let (given, good) = (Arc::clone(&round), Arc::clone(&round));
        let tokens = Origin::start(TOKENS_IP, move |talk| give_tokens(talk, &given));
        let realm = format!("http://{TOKENS}:{}/token", tokens.address().port());
        let open = Origin::start(REGISTRY_IP, |talk| {
            let hello = image("hello");
            while let Some(request) = talk.request()? {
                serve(talk, &request, &hello)?;
            }
            Ok(())
        });
        let private = Origin::start(REGISTRY_IP, move |talk| guarded(talk, &realm, &good));
        let authority = |origin: &Origin| format!("{REGISTRY}:{}", origin.address().port());
        let config = format!(
            "{UPSTREAM}[[registries]]\nhost = \"{1}\"\ntoken_hosts = [\"{TOKENS}\"]\n\
             [[packages]]\ndomain = \"{GATEWAY}\"\nname = \"open\"\n\
             backend = \"http://{0}/acme/open\"\ndelivery = \"broker\"\n\
             [[packages]]\ndomain = \"{GATEWAY}\"\nname = \"private/*\"\n\
             backend = \"http://{1}/deep/*\"\ncredentials = \"client\"\n",
            authority(&open),
            authority(&private)
        );
        let gate = Gate::start_proxy(driver, &config);
        Self { gate, round, _open: open, _private: private, _tokens: tokens }
    }

    fn ask(&self, method: &str, path: &str, fields: &[&str]) -> Answer {
        let mut connection = Connection::open(self.gate.address()).expect("the gateway listens");
        let host = format!("Host: {GATEWAY}:{}", self.gate.address().port());
        let lines: String =
            [host.as_str()].iter().chain(fields).map(|line| format!("{line}\r\n")).collect();
        let request = format!("{method} {path} HTTP/1.1\r\n{lines}\r\n");
        connection.send(request.as_bytes()).expect("it is read");
        connection.answer(method == "HEAD").unwrap_or_else(|it| panic!("{method} {path}: {it}"))
    }
}

fn give_tokens(talk: &mut Talk, round: &AtomicU64) -> io::Result<()> {
    while let Some(request) = talk.request()? {
        if request.field("authorization") != Some(&basic(RIGHT)) {
            talk.answer(&request, "401 Unauthorized", &[], b"")?;
            continue;
        }
        let token = format!(r#"{{"access_token":"good{}"}}"#, round.load(Ordering::SeqCst));
        talk.answer(&request, "200 OK", &["Content-Type: application/json"], token.as_bytes())?;
    }
    Ok(())
}

fn guarded(talk: &mut Talk, realm: &str, round: &AtomicU64) -> io::Result<()> {
    let hello = image("hello");
    while let Some(request) = talk.request()? {
        let good = format!("Bearer good{}", round.load(Ordering::SeqCst));
        if request.field("authorization") == Some(&good) {
            serve(talk, &request, &hello)?;
        } else {
            let challenge = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"r\"");
            talk.answer(&request, "401 Unauthorized", &[&challenge], b"{}")?;
        }
    }
    Ok(())
}
