//! Cases of `decide`, one line each: who asks for what of which configuration, and what is done.

use std::sync::Arc;

use crate::pure::certificates::{Names, Shown};
use crate::pure::client::ClientTable;
use crate::pure::config::check;
use crate::pure::config::values::Credentials;
use crate::pure::decide::{Action, Known, Say, decide};
use crate::pure::desk::Purpose;
use crate::pure::desk::{LIFE_S, OwnKeys};
use crate::pure::door::Door;
use crate::pure::http1::encode::Out;
use crate::pure::http1::head::{self, HeadLimits};
use crate::pure::proof::{Proof, Proofs, RegistryProof};
use crate::pure::snapshot::{Circumstances, Snapshot};

/// Who asks, and what a client of that name calls itself.
const CLIENTS: &[(&str, &str)] = &[
    ("docker", "docker/20.10.24+dfsg1 go/go1.19.8 os/linux arch/amd64"),
    ("docker29", "docker/29.1.0 os/linux arch/amd64 containerd-client/2.1.5 storage-driver"),
    ("containerd", "containerd/1.6.20"),
    ("old-containerd", "containerd/1.5.4"),
    ("podman", "containers/5.34.2 (github.com/containers/image)"),
    ("watchtower", "Watchtower (Docker)"),
];

const GHCR: &str = "https://ghcr.io/v2/";
const CHALLENGE: &str = r#"Bearer realm="https://ghcr.io/token",service="ghcr.io""#;

/// Packages as lines of domain, name, backend, delivery and credentials.
fn snapshot(packages: &str, before: Option<&Snapshot>, now_s: u64) -> Snapshot {
    let mut text = String::from(
        "[[registries]]\nhost = 'ghcr.io'\nusername = 'pull'\npassword_env = 'PASSWORD'\n",
    );
    for line in packages.lines().filter(|line| !line.trim().is_empty()) {
        text.push_str("[[packages]]\n");
        let keys = ["domain", "name", "backend", "delivery", "credentials"];
        for (key, value) in keys.iter().zip(line.split_whitespace()) {
            text.push_str(&format!("{key} = '{value}'\n"));
        }
    }
    let (config, _) = check("f", &text).unwrap_or_else(|problems| panic!("{problems:?}"));
    let clients = ClientTable::built_in();
    let now_us = now_s * 1_000_000;
    Snapshot::build(&config, 1, Circumstances { clients, via: "pullgate", before, now_us })
}

/// What is known of ghcr.io since the first second (`token`, `open`, or nothing), and of the
/// one repository that was asked for.
fn proofs(registry: &str, repository: Proof) -> Proofs {
    let challenge = match registry {
        "token" => Some(Some(CHALLENGE.to_owned())),
        "open" => Some(None),
        _ => None,
    };
    let known = challenge.map(|challenge| RegistryProof { challenge, since_us: 1_000_000 });
    Proofs::build(
        7,
        [(format!("{GHCR}acme/rocket"), repository)],
        known.map(|known| (GHCR.to_owned(), known)),
    )
}

/// What is said to `client path`, or `client path with login`, at a second.
fn said(snapshot: &Snapshot, proofs: &Proofs, at_s: u64, asked: &str) -> String {
    let mut words = asked.split(' ');
    let (client, path) = (words.next().unwrap(), words.next().unwrap());
    let user_agent = CLIENTS.iter().find(|(name, _)| *name == client).unwrap().1;
    let login = if words.next().is_some() { "Authorization: Basic eA==\r\n" } else { "" };
    let bytes =
        format!("GET {path} HTTP/1.1\r\nHost: a.b\r\nUser-Agent: {user_agent}\r\n{login}\r\n");
    let limits = HeadLimits { head_bytes: 4096, headers: 16 };
    let head = head::parse(bytes.as_bytes(), &limits).unwrap().unwrap();
    let keys = &OwnKeys::new(&[1; 32], None);
    let now_us = at_s * 1_000_000;
    let door = Door::Plain(&Names::default());
    told(&decide(Known { snapshot, door, proofs, keys, now_us, unix_s: at_s }, &head))
}

fn told(action: &Action<'_>) -> String {
    match action {
        Action::Redirect(to) => {
            let depends = if to.depends_on_client { " for this client" } else { "" };
            format!("307 to {}{}{depends}", to.location, to.name_tail)
        }
        Action::Forward(to) => {
            let login = match to.credentials {
                Credentials::None => "",
                Credentials::Client => " with the client's login",
                Credentials::Registry => " with our login",
            };
            let streams = if to.streams { ", streams" } else { "" };
            let wants_proof = if to.wants_proof { ", wants a proof" } else { "" };
            format!("asks {}{}{login}{streams}{wants_proof}", to.location, to.name_tail)
        }
        Action::Secure(to) => {
            let mut room = [0; 256];
            let mut out = Out::new(&mut room, 0);
            to.put(&mut out);
            format!("308 to {}", String::from_utf8_lossy(out.written(0)))
        }
        Action::HandOn(socket) => format!("to {}", socket.display()),
        Action::Say(Say::Base) => "200".to_owned(),
        Action::Grant(errand) => {
            let purpose = match errand.purpose {
                Purpose::Token => "gets a token",
                Purpose::Base => "checks a login",
            };
            format!("{purpose} for {:?} at {}", errand.repositories(), errand.registry)
        }
        Action::Say(Say::Challenge(challenge)) => format!("401 {}", challenge.pieces().concat()),
        Action::Say(Say::RegistryChallenge(challenge)) => format!("401 {challenge}"),
        Action::Say(Say::Token(_)) => "a token of ours".to_owned(),
        Action::Say(Say::Proof(said)) => format!("200 {said}"),
        Action::Say(Say::Reached(_)) => "200, it is us".to_owned(),
        Action::Say(Say::Welcome(..) | Say::Robots) => "200 in words".to_owned(),
        Action::Refuse(refusal) => refusal.fault.kind.row().status.to_owned(),
    }
}

const ONE_REGISTRY: &str = "
    a.b acme/rocket ghcr.io/acme/rocket auto
    a.b acme/lander ghcr.io/acme/lander stream";

#[test]
fn v2_is_answered_by_domain_and_client_alone() {
    let redirect = "a.b acme/rocket ghcr.io/acme/rocket redirect";
    let client = "a.b acme/rocket ghcr.io/acme/rocket auto client
                  a.b acme/lander ghcr.io/acme/lander redirect";
    let several = "a.b acme/rocket ghcr.io/acme/rocket redirect
                   a.b acme/lander quay.io/acme/lander";
    let account = "a.b acme/rocket ghcr.io/acme/rocket auto registry";
    let brokered = "a.b acme/rocket ghcr.io/acme/rocket broker";
    let any = "* acme/rocket ghcr.io/acme/rocket broker";
    let relayed = format!("401 {CHALLENGE}");
    let ours = r#"401 Bearer realm="http://a.b:8080/token",service="a.b""#;
    let there = format!("307 to {GHCR} for this client");
    for (packages, registry, client, expected) in [
        // Some with `credentials = "client"`: any client.
        (client, "token", "docker", ours),
        (client, "open", "podman", ours),
        (client, "unknown", "watchtower", ours),
        // All anonymous, one registry that needs a token, auto or redirect in force.
        (ONE_REGISTRY, "token", "docker", &there),
        (redirect, "token", "docker", &there),
        (brokered, "token", "docker", "200"),
        (account, "token", "docker", "200"),
        (several, "token", "docker", "200"),
        (ONE_REGISTRY, "open", "docker", "200"),
        (redirect, "open", "docker", "200"),
        // While it is not known whether it needs one.
        (redirect, "unknown", "docker", &there),
        (ONE_REGISTRY, "unknown", "docker", "200"),
        (several, "unknown", "docker", "200"),
        // Those that need a challenge.
        (ONE_REGISTRY, "token", "watchtower", ours),
        (brokered, "open", "watchtower", ours),
        (account, "unknown", "watchtower", ours),
        (several, "token", "watchtower", ours),
        (any, "token", "watchtower", &relayed),
        (any, "open", "watchtower", "200"),
        (any, "unknown", "watchtower", "200"),
        // Everybody else.
        (redirect, "token", "podman", "200"),
        (ONE_REGISTRY, "token", "docker29", "200"),
        (ONE_REGISTRY, "token", "containerd", "200"),
    ] {
        let snapshot = snapshot(packages, None, 0);
        let proofs = proofs(registry, Proof::Unknown);
        let said = said(&snapshot, &proofs, 1, &format!("{client} /v2/"));
        assert_eq!(said, expected, "{registry}, {client}: {packages}");
    }
}

#[test]
fn a_login_is_checked_and_a_token_given_where_the_package_lives() {
    let client = "a.b acme/rocket ghcr.io/acme/rocket auto client
                  a.b acme/lander ghcr.io/acme/lander";
    let (client, open) = (snapshot(client, None, 0), snapshot(ONE_REGISTRY, None, 0));
    let any = snapshot("* acme/rocket ghcr.io/acme/rocket", None, 0);
    let of = |package: &str| format!("podman /token?scope=repository:acme/{package}:pull");
    for (snapshot, asked, expected) in [
        (&client, "podman /v2/ with-login".to_owned(), "checks a login for [] at 0"),
        (&client, "podman /token with-login".into(), "gets a token for [] at 0"),
        (&client, of("rocket"), "gets a token for [\"acme/rocket\"] at 0"),
        (&client, of("lander"), "a token of ours"),
        (&client, of("lander") + " with-login", "a token of ours"),
        (&client, "podman /token".into(), "a token of ours"),
        (&open, "podman /v2/ with-login".into(), "200"),
        (&open, "podman /token with-login".into(), "a token of ours"),
        (&any, "podman /token".into(), "404 Not Found"),
    ] {
        let said = said(snapshot, &proofs("token", Proof::Unknown), 1, &asked);
        assert_eq!(said, expected, "{asked}");
    }
}

#[test]
fn a_token_of_ours_opens_v2_of_its_domain() {
    let snapshot = snapshot("a.b x ghcr.io/x auto client\n c.d x ghcr.io/x auto client", None, 0);
    let keys = &OwnKeys::new(&[1; 32], None);
    let ask = |host: &str, token: &str| {
        let bytes =
            format!("GET /v2/ HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n");
        let limits = HeadLimits { head_bytes: 4096, headers: 16 };
        let head = head::parse(bytes.as_bytes(), &limits).unwrap().unwrap();
        let proofs = &proofs("token", Proof::Unknown);
        let door = Door::Plain(&Names::default());
        let known = Known { snapshot: &snapshot, door, proofs, keys, now_us: 0, unix_s: 1_000 };
        told(&decide(known, &head))
    };
    let token = String::from_utf8(keys.sign("a.b", 1_000 + LIFE_S).to_vec()).unwrap();
    assert_eq!(ask("a.b:443", &token), "200");
    assert!(ask("c.d", &token).starts_with("401 "));
    assert!(ask("a.b", "a-registry-s-own").starts_with("401 "));
}

#[test]
fn auto_redirects_where_that_is_proven_safe() {
    let (there, asks) = (format!("307 to {GHCR}acme/rocket"), format!("asks {GHCR}acme/rocket"));
    let for_this = format!("{there} for this client");
    let wants_proof = format!("{asks}, wants a proof");
    let several = "a.b acme/rocket ghcr.io/acme/rocket\n * mirror/** quay.io/mirror/**";
    let renamed = "a.b rocket ghcr.io/acme/rocket";
    let pattern = "a.b acme/* ghcr.io/acme/*";
    for (packages, proof, asked, expected) in [
        // Without a token: every client.
        (ONE_REGISTRY, Proof::Open, "podman acme/rocket", &there),
        (ONE_REGISTRY, Proof::Open, "old-containerd acme/rocket", &there),
        (several, Proof::Open, "podman acme/rocket", &there),
        (renamed, Proof::Open, "podman rocket", &there),
        (pattern, Proof::Open, "podman acme/rocket", &there),
        // With one: who survives.
        (ONE_REGISTRY, Proof::WithToken, "docker acme/rocket", &for_this),
        (ONE_REGISTRY, Proof::WithToken, "docker29 acme/rocket", &for_this),
        (ONE_REGISTRY, Proof::WithToken, "containerd acme/rocket", &for_this),
        (pattern, Proof::WithToken, "containerd acme/rocket", &for_this),
        (ONE_REGISTRY, Proof::WithToken, "old-containerd acme/rocket", &asks),
        (ONE_REGISTRY, Proof::WithToken, "podman acme/rocket", &asks),
        // And only where nothing leads it astray.
        (several, Proof::WithToken, "containerd acme/rocket", &asks),
        (renamed, Proof::WithToken, "containerd rocket", &asks),
        // Neither.
        (ONE_REGISTRY, Proof::Refused, "containerd acme/rocket", &asks),
        (ONE_REGISTRY, Proof::Unknown, "containerd acme/rocket", &wants_proof),
    ] {
        let snapshot = snapshot(packages, None, 0);
        let proofs = proofs("token", proof);
        let (client, name) = asked.split_once(' ').unwrap();
        for what in ["manifests/1.0", "tags/list"] {
            let asked = format!("{client} /v2/{name}/{what}");
            assert_eq!(&said(&snapshot, &proofs, 100, &asked), expected, "{asked}: {packages}");
        }
    }
    let snapshot = snapshot(ONE_REGISTRY, None, 0);
    let proofs = proofs("token", Proof::WithToken);
    let asked = "containerd /v2/acme/rocket/manifests/1.0 with-login";
    assert_eq!(said(&snapshot, &proofs, 100, asked), asks);
    let asked = "podman /v2/acme/lander/manifests/1.0";
    assert_eq!(said(&snapshot, &proofs, 100, asked), format!("asks {GHCR}acme/lander, streams"));
}

#[test]
fn logins_are_never_redirected() {
    for (credentials, expected) in [
        ("client", "asks https://ghcr.io/v2/acme/rocket with the client's login"),
        ("registry", "asks https://ghcr.io/v2/acme/rocket with our login"),
    ] {
        let packages = format!("a.b acme/rocket ghcr.io/acme/rocket auto {credentials}");
        let snapshot = snapshot(&packages, None, 0);
        for proof in [Proof::Open, Proof::WithToken, Proof::Unknown] {
            let asked = "containerd /v2/acme/rocket/manifests/1.0";
            assert_eq!(said(&snapshot, &proofs("token", proof), 100, asked), expected);
        }
    }
}

/// Classic docker's `/v2/` and manifest, `307` or `200` each.
fn docker(snapshot: &Snapshot, registry: &str, at_s: u64) -> String {
    let proofs = proofs(registry, Proof::WithToken);
    let said = |path| said(snapshot, &proofs, at_s, &format!("docker {path}"));
    let word = |said: String| if said.starts_with("307") { "307" } else { "200" };
    [word(said("/v2/")), word(said("/v2/acme/rocket/manifests/1.0"))].join(" ")
}

#[test]
fn classic_docker_is_not_caught_between_its_ping_and_its_pull() {
    // It was found out in the first second.
    let first = snapshot(ONE_REGISTRY, None, 0);
    assert_eq!(docker(&first, "token", 2), "307 200");
    assert_eq!(docker(&first, "token", 60), "307 200");
    assert_eq!(docker(&first, "token", 61), "307 307");
    // A registry's door that asks for nothing shows docker no challenge.
    assert_eq!(docker(&first, "open", 100), "200 200");
    assert_eq!(docker(&first, "unknown", 100), "200 200");

    // Another configuration that says the same of `/v2/` changes nothing.
    let same = snapshot(&format!("{ONE_REGISTRY}\n a.b new ghcr.io/new"), Some(&first), 100);
    assert_eq!(docker(&same, "token", 101), "307 307");
    // One under which it was no redirect does, and so does the way back.
    let other = snapshot(&format!("{ONE_REGISTRY}\n a.b new quay.io/new"), Some(&same), 200);
    assert_eq!(docker(&other, "token", 201), "200 200");
    let back = snapshot(ONE_REGISTRY, Some(&other), 300);
    assert_eq!(docker(&back, "token", 359), "307 200");
    assert_eq!(docker(&back, "token", 360), "307 307");

    // And so for a host that falls back to the rules of `*`.
    let any = "* acme/rocket ghcr.io/acme/rocket";
    let exact = snapshot(&format!("{any}\n a.b new quay.io/new"), None, 0);
    assert_eq!(docker(&exact, "token", 399), "200 200");
    let gone = snapshot(any, Some(&exact), 400);
    assert_eq!(docker(&gone, "token", 401), "307 200");
    // A host that comes keeps what the rules of `*` had said.
    let come = snapshot(&format!("{any}\n a.b new ghcr.io/new"), Some(&gone), 500);
    assert_eq!(docker(&come, "token", 501), "307 307");
}

#[test]
fn who_takes_us_for_a_mirror_says_of_which_registry() {
    let packages = "
        a.b ** quay.io/** broker
        a.b library/** docker.io/library/** broker
        a.b library/own ghcr.io/acme/own broker
        c.d x ghcr.io/x broker";
    let snapshot = snapshot(packages, None, 0);
    let hub = "asks https://registry-1.docker.io/v2/library/";
    for (name, ns, expected) in [
        ("library/own", "", "asks https://ghcr.io/v2/acme/own".to_owned()),
        ("library/own", "?ns=ghcr.io", "asks https://ghcr.io/v2/acme/own".into()),
        ("library/own", "?ns=docker.io", format!("{hub}own")),
        ("library/own", "?ns=QUAY.io", "asks https://quay.io/v2/library/own".into()),
        ("library/redis", "?ns=index.docker.io", format!("{hub}redis")),
        ("library/redis", "?x=y&ns=registry-1.docker.io", format!("{hub}redis")),
        ("acme/redis", "?ns=docker.io", "404 Not Found".into()),
        ("library/redis", "?ns=gcr.io", "404 Not Found".into()),
        ("library/redis", "?ns=", "404 Not Found".into()),
        // A domain of ours is no registry.
        ("library/redis", "?ns=c.d", format!("{hub}redis")),
        ("library/redis", "?ns=A.b:443", format!("{hub}redis")),
    ] {
        let asked = format!("containerd /v2/{name}/manifests/1.0{ns}");
        let said = said(&snapshot, &proofs("token", Proof::Unknown), 1, &asked);
        assert_eq!(said, expected, "{asked}");
    }
}

/// What is said to docker at `host` and `path`, by a door where `a.b` and `*.c.d` have certificates:
/// over TLS to who has `asked` for a host, or in plain HTTP.
fn said_at_door(gateway: &str, asked: Option<&str>, host: &str, path: &str) -> String {
    let packages = "domain = '*'\nname = 'x'\nbackend = 'ghcr.io/x'\ndelivery = 'stream'\n";
    let log_in = "domain = 'a.b'\nname = 'y'\nbackend = 'ghcr.io/y'\ncredentials = 'client'\n";
    let text = format!("{gateway}\n[[packages]]\n{packages}[[packages]]\n{log_in}");
    let (config, _) = check("f", &text).unwrap_or_else(|problems| panic!("{problems:?}"));
    let clients = ClientTable::built_in();
    let around = Circumstances { clients, via: "pullgate", before: None, now_us: 0 };
    let snapshot = Snapshot::build(&config, 1, around);
    let certificates: [Arc<[Box<str>]>; 2] =
        [Arc::new([Box::from("a.b")]), Arc::new([Box::from("*.c.d")])];
    let names = Names::new(certificates.iter().map(|one| &**one));
    let found = asked.and_then(|asked| names.find(asked.as_bytes()));
    let shown = Shown::new(asked, found.map(|one| Arc::clone(&certificates[one])));
    let door = if asked.is_some() { Door::Tls(&shown) } else { Door::Plain(&names) };
    let bytes = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
    let head = head::parse(bytes.as_bytes(), &snapshot.head).unwrap().unwrap();
    let (proofs, keys) = (&Proofs::default(), &OwnKeys::new(&[1; 32], None));
    told(&decide(Known { snapshot: &snapshot, door, proofs, keys, now_us: 0, unix_s: 0 }, &head))
}

#[test]
fn who_comes_in_plain_http_is_sent_to_https_where_there_is_a_certificate() {
    let tls = "[gateway]\nlisten_tls = ['127.0.0.1:443']";
    let other_port = "[gateway]\nlisten_tls = ['127.0.0.1:8443']";
    let serves = "[gateway]\nlisten_tls = ['127.0.0.1:443']\nhttps_redirect = false";
    let elsewhere = "[gateway]\nlisten_tls = ['127.0.0.1:443']\n[[domains]]\nhost = 'a.b'\n\
                     public_url = 'https://a.b:4443'";
    let front_end = "[gateway]\nlisten_tls = ['127.0.0.1:443']\n[[domains]]\nhost = 'a.b'\n\
                     public_url = 'http://a.b'";
    let challenge = "401 Bearer realm=\"http://a.b:8080/token\",service=\"a.b\"";
    for (gateway, host, path, answer) in [
        (tls, "A.B:8080", "/v2/y/tags/list?n=3", "308 to https://a.b/v2/y/tags/list?n=3"),
        (other_port, "a.b:8080", "/v2/", "308 to https://a.b:8443/v2/"),
        (other_port, "X.c.d.:8080", "/", "308 to https://x.c.d:8443/"),
        (elsewhere, "a.b", "/v2/", "308 to https://a.b:4443/v2/"),
        (tls, "c.d", "/v2/x/manifests/1", "asks https://ghcr.io/v2/x, streams"),
        (tls, "a.b", "/.well-known/acme-challenge/x", "404 Not Found"),
        (serves, "a.b", "/v2/", "401 Bearer realm=\"https://a.b/token\",service=\"a.b\""),
        (front_end, "a.b", "/v2/", "401 Bearer realm=\"http://a.b/token\",service=\"a.b\""),
        ("", "a.b", "/v2/", challenge),
    ] {
        assert_eq!(said_at_door(gateway, None, host, path), answer, "{gateway} {host}");
    }
}

#[test]
fn a_request_for_a_host_that_the_certificate_is_not_for_belongs_elsewhere() {
    let tls = "[gateway]\nlisten_tls = ['127.0.0.1:8443']";
    let asks = "asks https://ghcr.io/v2/x, streams";
    for (asked, host, path, answer) in [
        ("a.b", "a.b:8443", "/v2/", "401 Bearer realm=\"https://a.b:8443/token\",service=\"a.b\""),
        ("x.c.d", "y.C.d", "/v2/x/manifests/1", asks),
        ("a.b", "y.c.d", "/v2/x/manifests/1", "421 Misdirected Request"),
        ("a.b", "a.c", "/v2/x/manifests/1", "421 Misdirected Request"),
        ("a.c", "a.c", "/v2/x/manifests/1", "421 Misdirected Request"),
        ("", "a.b", "/v2/", "421 Misdirected Request"),
    ] {
        assert_eq!(said_at_door(tls, Some(asked), host, path), answer, "{asked} {host}");
    }
}
