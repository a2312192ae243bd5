//! The gateway's own token service: who gets a token, whose it is, and where a client's login goes.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::io;
use std::net::Ipv4Addr;

use crossbeam_channel::bounded;
use serde_json::Value;
use support::bench::{Bench, ask, is_refusal, request};
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate, UPSTREAM};
use support::hosts::{GATEWAY, REGISTRY, REGISTRY_IP, TOKENS, TOKENS_IP};
use support::http::{Answer, Connection};
use support::images::image;
use support::origin::{Origin, Request, Talk};
use support::scripted::serve;
use support::tokens::{RIGHT, WRONG, basic};

#[test]
fn a_token_for_what_anybody_may_pull_costs_no_registry_anything() {
    for driver in DRIVERS {
        let scene = Scene::start(driver);
        for query in ["", "?service=gw.pg.test&scope=repository%3Aopen%3Apull"] {
            let answer = scene.token(query, None);
            assert_eq!(answer.status, 200);
            let granted: Value = serde_json::from_slice(&answer.body).expect("JSON");
            assert_eq!(granted["token"], granted["access_token"]);
            assert!(granted["expires_in"].as_u64().is_some_and(|seconds| seconds >= 60));
            let issued = granted["issued_at"].as_str().expect("when it was given");
            assert!(issued.starts_with("20") && issued.ends_with('Z') && issued.len() == 20);
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            let token = granted["token"].as_str().expect("a token").to_owned();
            assert_eq!(scene.base(Some(&format!("Bearer {token}"))).status, 200);
        }
        // A login that nobody needs goes nowhere.
        assert_eq!(scene.token("?scope=repository:open:pull", Some(&basic(RIGHT))).status, 200);
        scene.assert_asked(&[], &[], &[]);
        let head = ask(&scene.gate, "HEAD", "/token", &[]);
        assert_eq!((head.status, head.body.len()), (200, 0));
        let post = ask(&scene.gate, "POST", "/token", &["Content-Length: 4"]);
        assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    }
}

#[test]
fn the_base_sends_clients_to_us_and_a_token_opens_it() {
    for driver in DRIVERS {
        let scene = Scene::start(driver);
        let refused = scene.base(None);
        assert_eq!(refused.status, 401);
        let port = scene.gate.address().port();
        let realm = format!("http://{GATEWAY}:{port}/token");
        let challenge = format!("Bearer realm=\"{realm}\",service=\"{GATEWAY}\"");
        assert_eq!(refused.header("www-authenticate"), Some(challenge.as_str()));
        for token in ["Bearer a-registry-s-own", "Bearer pga_00", "Bearer pgs_00", "Digest x"] {
            assert_eq!(scene.base(Some(token)).status, 401, "{token}");
        }
        scene.assert_asked(&[], &[], &[]);
        // The domain says who checks a login that names nothing.
        assert_eq!(scene.base(Some(&basic(RIGHT))).status, 200);
        assert_eq!(scene.base(Some(&basic(WRONG))).status, 401);
        scene.assert_asked(&[], &["/token Basic"; 2], &[]);
    }
}

#[test]
fn a_registry_s_own_token_is_sealed_for_it_and_its_scope_is_by_its_own_name() {
    for driver in DRIVERS {
        let scene = Scene::start(driver);
        let query = "?scope=repository%3Aprivate%2Frocket%3Apull&service=x&account=ada";
        let answer = scene.token(query, Some(&basic(RIGHT)));
        let granted: Value = serde_json::from_slice(&answer.body).expect("JSON");
        // Clients log in at two registries here: neither is to see the other's token.
        let token = format!("Bearer {}", granted["token"].as_str().expect("a token"));
        assert!(answer.status == 200 && token.starts_with("Bearer pgs_"), "{token}");
        assert_eq!(granted["expires_in"], 120);
        let asked = scene.tokens.requests();
        let target = asked[0].target.replace("%3A", ":").replace("%2F", "/");
        assert_eq!(target, "/token?service=the-registry&scope=repository:deep/rocket:pull");
        assert_eq!(asked[0].field("authorization"), Some(basic(RIGHT).as_str()));
        scene.forget();
        // What comes with it goes to that registry.
        let manifest = scene.get("/v2/private/rocket/manifests/latest", Some(&token));
        assert_eq!(manifest.status, 200);
        let mut asked = scene.token_registry.requests().into_iter();
        let sent = asked.find(|request| request.target != "/v2/").expect("it was asked");
        assert_eq!(sent.target, "/v2/deep/rocket/manifests/latest");
        assert_eq!(sent.field("authorization"), Some("Bearer good"));
        scene.forget();
        // It says nothing elsewhere, and one of unknown make is sent to nobody.
        assert_eq!(scene.get("/v2/tools/saw/manifests/latest", Some(&token)).status, 401);
        let own = scene.get("/v2/private/rocket/manifests/latest", Some("Bearer good"));
        assert_eq!(own.status, 401);
        for request in scene.basic.requests().iter().chain(&scene.token_registry.requests()) {
            assert_eq!(request.field("authorization"), None);
        }

        let refused = scene.token(query, Some(&basic(WRONG)));
        is_refusal(&refused, 401, "UNAUTHORIZED", REGISTRY);
        is_refusal(&scene.token(query, None), 401, "UNAUTHORIZED", REGISTRY);
    }
}

#[test]
fn a_login_for_a_registry_that_gives_no_tokens_is_sealed_for_it_alone() {
    for driver in DRIVERS {
        let scene = Scene::start(driver);
        let query = "?scope=repository:tools/saw:pull";
        is_refusal(&scene.token(query, None), 401, "UNAUTHORIZED", REGISTRY);
        is_refusal(&scene.token(query, Some(&basic(WRONG))), 401, "UNAUTHORIZED", REGISTRY);
        let answer = scene.token(query, Some(&basic(RIGHT)));
        let granted: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let token = format!("Bearer {}", granted["token"].as_str().expect("a token"));
        assert!(!token.contains(basic(RIGHT).trim_start_matches("Basic ")));
        assert_eq!(scene.base(Some(&token)).status, 200);
        scene.forget();
        assert_eq!(scene.get("/v2/tools/saw/manifests/latest", Some(&token)).status, 200);
        let asked: Vec<Request> = scene.basic.requests();
        let sent = asked.last().and_then(|request| request.field("authorization"));
        assert_eq!(sent, Some(basic(RIGHT).as_str()));
        scene.forget();
        // At another registry of the same domain it is nothing.
        let elsewhere = scene.get("/v2/private/rocket/manifests/latest", Some(&token));
        assert_eq!(elsewhere.status, 401);
        scene.assert_asked(&["/v2/deep/rocket/manifests/latest -"], &[], &[]);
        // And what has been changed is nothing anywhere.
        let changed = token.replace("pgs_0", "pgs_1");
        assert_eq!(scene.get("/v2/tools/saw/manifests/latest", Some(&changed)).status, 401);
        scene.assert_asked(&[], &[], &["/v2/saw/manifests/latest -"]);
    }
}

#[test]
fn a_password_with_the_request_itself_is_a_login_for_that_package() {
    for driver in DRIVERS {
        let scene = Scene::start(driver);
        for _ in 0..3 {
            let path = "/v2/private/rocket/manifests/latest";
            assert_eq!(scene.get(path, Some(&basic(RIGHT))).status, 200);
            let path = "/v2/tools/saw/manifests/latest";
            assert_eq!(scene.get(path, Some(&basic(RIGHT))).status, 200);
        }
        let tokens = scene.tokens.requests();
        assert_eq!(tokens.len(), 1, "the token is kept: {tokens:?}");
        for request in scene.token_registry.requests() {
            assert_ne!(request.scheme(), "Basic", "the login went to the registry: {request:?}");
        }
        let basics = scene.basic.requests().iter().filter(|it| it.scheme() == "Basic").count();
        assert_eq!(basics, 3);
        for path in ["/v2/private/rocket/manifests/latest", "/v2/tools/saw/manifests/latest"] {
            let refused = scene.get(path, Some(&basic(WRONG)));
            assert_eq!(refused.status, 401);
            let challenge = refused.header("www-authenticate").unwrap_or_default();
            assert!(challenge.contains("/token\"") && challenge.contains("scope"), "{challenge}");
        }
    }
}

#[test]
fn who_has_no_token_is_told_where_to_get_one_by_the_name_that_it_knows() {
    for driver in DRIVERS {
        let scene = Scene::start(driver);
        for token in [None, Some("Bearer bad"), Some("Bearer pga_00")] {
            let refused = scene.get("/v2/private/rocket/manifests/latest", token);
            assert_eq!(refused.status, 401);
            let challenge = refused.header("www-authenticate").unwrap_or_default();
            assert!(challenge.contains(&format!("realm=\"http://{GATEWAY}:")), "{challenge}");
            let scope = "scope=\"repository:private/rocket:pull\"";
            assert!(challenge.contains(scope) && !challenge.contains(TOKENS), "{challenge}");
        }
        let mut asked = scene.token_registry.requests();
        asked.retain(|request| request.target != "/v2/");
        let sent: Vec<&str> = asked.iter().map(Request::scheme).collect();
        assert_eq!(
            sent,
            ["", "", ""],
            "what is worth nothing, or is nobody knows whose, goes nowhere"
        );
        // Whatever is public asks for none, and takes any.
        for token in [None, Some("Bearer bad"), Some("Basic eDp5")] {
            assert_eq!(scene.get("/v2/open/manifests/latest", token).status, 200);
        }
        assert!(scene.open.requests().iter().all(|request| request.scheme().is_empty()));
    }
}

/// A registry that sends logins elsewhere (CVE-2020-15157 and its like).
#[test]
fn a_login_is_not_brought_where_a_registry_may_not_send_it() {
    for driver in DRIVERS {
        let victim = Origin::start(VICTIM_IP, |talk| {
            while let Some(request) = talk.request()? {
                give_token(talk, &request)?;
            }
            Ok(())
        });
        let port = victim.address().port();
        for realm in [
            format!("http://{VICTIM_IP}:{port}/token"),
            format!("http://stranger.test:{port}/token"),
            "http://169.254.169.254/latest/meta-data/".to_owned(),
        ] {
            let registry = Origin::start(REGISTRY_IP, move |talk| wants_token(talk, &realm));
            let backend = format!("{REGISTRY}:{}", registry.address().port());
            let config =
                format!("{UPSTREAM}{}", package("private/*", &backend, "deep/*", "client"));
            let gate = Gate::start_among_names(driver, &config, |hosts| {
                hosts.add("stranger.test", &VICTIM_IP.to_string());
            });
            let bench = Bench { gate, registry };
            let login = format!("Authorization: {}", basic(RIGHT));
            for target in
                ["/token?scope=repository:private/x:pull", "/token", "/v2/private/x/tags/list"]
            {
                assert_eq!(bench.ask("GET", target, &[&login]).status, 502, "{target}");
            }
            let asked = bench.registry.requests();
            assert!(asked.iter().all(|request| request.scheme().is_empty()), "{asked:?}");
        }
        assert_eq!(victim.connections(), 0, "a packet left");
    }
}

/// A build that starts a hundred pulls logs in a hundred times; the registry hears of it once.
#[test]
fn who_asks_the_same_at_the_same_time_causes_one_request() {
    for driver in DRIVERS {
        let (release, released) = bounded::<()>(1);
        let tokens = Origin::start(TOKENS_IP, move |talk| {
            while let Some(request) = talk.request()? {
                // Whoever comes once nobody waits is answered at once.
                let _ = released.recv();
                give_token(talk, &request)?;
            }
            Ok(())
        });
        let scene = Scene::with(driver, tokens);
        let query = "/token?scope=repository:private/rocket:pull";
        let login = format!("Authorization: {}", basic(RIGHT));
        // What the registry asks for is known from now on.
        release.send(()).expect("room");
        assert_eq!(ask(&scene.gate, "GET", query, &[&login]).status, 200);
        scene.forget();
        let received = || scene.gate.metric("pullgate_received_bytes_total");
        let asks = request("GET", query, &[&login]);
        let all = received() + 50 * asks.len() as u64;
        let mut waiting: Vec<_> = (0..50)
            .map(|_| Connection::open(scene.gate.address()).expect("the gateway listens"))
            .collect();
        for connection in &mut waiting {
            connection.send(&asks).expect("it is read");
        }
        eventually(|| if received() >= all { Ok(()) } else { Err("not all are read".to_owned()) });
        drop(release);
        for connection in &mut waiting {
            assert_eq!(connection.answer(false).expect("an answer").status, 200);
        }
        assert_eq!(scene.tokens.requests().len(), 1);
    }
}

#[test]
fn a_restart_breaks_no_token() {
    for driver in DRIVERS {
        let mut scene = Scene::start(driver);
        let answer = scene.token("?scope=repository:tools/saw:pull", Some(&basic(RIGHT)));
        let granted: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let token = format!("Bearer {}", granted["token"].as_str().expect("a token"));
        scene.gate.stop();
        scene.gate.launch();
        assert_eq!(scene.get("/v2/tools/saw/manifests/latest", Some(&token)).status, 200);
    }
}

/// One domain with what is open, what wants tokens and what wants a password.
struct Scene {
    gate: Gate,
    open: Origin,
    token_registry: Origin,
    tokens: Origin,
    basic: Origin,
}

impl Scene {
    fn start(driver: &str) -> Self {
        let tokens = Origin::start(TOKENS_IP, |talk| {
            while let Some(request) = talk.request()? {
                if request.field("authorization") == Some(&basic(RIGHT)) {
                    give_token(talk, &request)?;
                } else {
                    talk.answer(&request, "401 Unauthorized", &[], b"")?;
                }
            }
            Ok(())
        });
        Self::with(driver, tokens)
    }

    fn with(driver: &str, tokens: Origin) -> Self {
        let realm = format!("http://{TOKENS}:{}/token", tokens.address().port());
        let open = Origin::start(REGISTRY_IP, |talk| {
            let hello = image("hello");
            while let Some(request) = talk.request()? {
                serve(talk, &request, &hello)?;
            }
            Ok(())
        });
        let token_registry = Origin::start(REGISTRY_IP, move |talk| wants_token(talk, &realm));
        let basic_registry = Origin::start(REGISTRY_IP, wants_password);
        let authority = |origin: &Origin| format!("{REGISTRY}:{}", origin.address().port());
        let config = [
            format!("{UPSTREAM}[[registries]]\nhost = \"{}\"\n", authority(&token_registry)),
            format!("token_hosts = [\"{TOKENS}\"]\n[[domains]]\nhost = \"{GATEWAY}\"\n"),
            format!("login = \"{}\"\n", authority(&token_registry)),
            package("open", &authority(&open), "acme/open", "none"),
            package("private/*", &authority(&token_registry), "deep/*", "client"),
            package("tools/*", &authority(&basic_registry), "*", "client"),
        ];
        let gate = Gate::start_proxy(driver, &format!("workers = 1\n{}", config.concat()));
        Self { gate, open, token_registry, tokens, basic: basic_registry }
    }

    fn get(&self, target: &str, authorization: Option<&str>) -> Answer {
        let field = authorization.map(|value| format!("Authorization: {value}"));
        ask(&self.gate, "GET", target, &field.as_deref().into_iter().collect::<Vec<_>>())
    }

    fn base(&self, authorization: Option<&str>) -> Answer {
        self.get("/v2/", authorization)
    }

    fn token(&self, query: &str, authorization: Option<&str>) -> Answer {
        self.get(&format!("/token{query}"), authorization)
    }

    fn forget(&self) {
        for origin in [&self.open, &self.token_registry, &self.tokens, &self.basic] {
            origin.requests();
        }
    }

    /// What came to the registry with tokens, its token service, and the one with passwords since
    /// this was asked last: paths and schemes. What the gateway asks for itself, to know what
    /// anybody can pull, is none of it.
    fn assert_asked(&self, registry: &[&str], tokens: &[&str], basic: &[&str]) {
        let told = |origin: &Origin| -> Vec<String> {
            let told = |request: &Request| {
                let path = request.target.split('?').next().unwrap_or_default();
                format!(
                    "{path} {}",
                    if request.scheme().is_empty() { "-" } else { request.scheme() }
                )
            };
            origin.requests().iter().map(told).collect()
        };
        // The prover knocks at each door, once; so may whoever needs to know what it asks for.
        let without_knocks = |mut told: Vec<String>| {
            told.retain(|line| line != "/v2/ -");
            told
        };
        assert_eq!(without_knocks(told(&self.token_registry)), registry);
        assert_eq!(told(&self.tokens), tokens);
        assert_eq!(without_knocks(told(&self.basic)), basic);
    }
}

fn package(name: &str, registry: &str, there: &str, credentials: &str) -> String {
    format!(
        "[[packages]]\ndomain = \"{GATEWAY}\"\nname = \"{name}\"\n\
         backend = \"http://{registry}/{there}\"\ndelivery = \"broker\"\n\
         credentials = \"{credentials}\"\n"
    )
}

fn wants_token(talk: &mut Talk, realm: &str) -> io::Result<()> {
    let hello = image("hello");
    while let Some(request) = talk.request()? {
        if request.field("authorization") == Some("Bearer good") {
            serve(talk, &request, &hello)?;
        } else {
            let challenge =
                format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"the-registry\"");
            talk.answer(&request, "401 Unauthorized", &[&challenge], b"{}")?;
        }
    }
    Ok(())
}

fn wants_password(talk: &mut Talk) -> io::Result<()> {
    let hello = image("hello");
    while let Some(request) = talk.request()? {
        if request.field("authorization") == Some(&basic(RIGHT)) {
            serve(talk, &request, &hello)?;
        } else {
            let challenge = "WWW-Authenticate: Basic realm=\"r\"";
            talk.answer(&request, "401 Unauthorized", &[challenge], b"{}")?;
        }
    }
    Ok(())
}

fn give_token(talk: &mut Talk, request: &Request) -> io::Result<()> {
    let body = br#"{"token":"good","expires_in":120}"#;
    talk.answer(request, "200 OK", &["Content-Type: application/json"], body)
}

/// Something that listens where the gateway is not allowed to go.
const VICTIM_IP: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);
