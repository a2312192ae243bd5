//! Certificates that get and renew themselves, from a real authority: pebble.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::clients::{Client, Containerd, Docker, Podman, Skopeo};
use support::eventually::eventually;
use support::free_address;
use support::gate::{DRIVERS, Gate, UPSTREAM, pullgate};
use support::hosts::{GATEWAY, REGISTRY};
use support::http::get;
use support::images::image;
use support::packages::{MAKE, OF_FILE, redirected, target};
use support::pebble::Pebble;
use support::person::{Person, text};
use support::process::{attempt, installed, run};
use support::program::{send, token_of};
use support::world::{Kind, Storage, World};

const HOST: &str = "registry.acme.com";
const HOSTS: [&str; 3] = [HOST, "images.acme.org", "rocket.shared.example"];
const TARGET: &str = "/v2/acme/rocket/manifests/latest";

/// A gateway for these hosts that asks `pebble`, by keys of `[acme]` that follow.
struct Asking {
    gate: Gate,
    tls: SocketAddr,
}

impl Asking {
    fn start(driver: &str, hosts: &[&str], pebble: &Pebble, keys: &str) -> Self {
        let tls = free_address([127, 0, 0, 1].into());
        let mut config = format!("listen_tls = [\"{tls}\"]\n\n{}{keys}", pebble.section());
        for host in hosts {
            config += &format!(
                "\n[[packages]]\ndomain = \"{host}\"\nname = \"acme/rocket\"\n\
                 backend = \"one.example/acme/rocket\"\ndelivery = \"redirect\"\n"
            );
        }
        Self { gate: Gate::start(driver, &config), tls }
    }

    fn answer_to(&self, pebble: &mut Pebble, more: &Value) {
        pebble.start(self.gate.address(), self.tls, more, 5);
    }

    /// The status and the body that `curl` gets of `host`, which trusts `root` alone, or why it gets
    /// nothing.
    fn curl(&self, host: &str, path: &str, root: &Path) -> Result<(String, Vec<u8>), String> {
        let (port, body) = (self.tls.port(), tempfile::NamedTempFile::new().unwrap());
        let mut curl = Command::new(installed("curl"));
        curl.args(["-sS", "-w", "%{http_code}", "--cacert"]).arg(root).arg("-o").arg(body.path());
        curl.args(["-H", "Accept: */*, application/vnd.oci.image.index.v1+json"]);
        curl.args(["--resolve", &format!("{host}:{port}:127.0.0.1")]);
        let status = attempt(curl.arg(format!("https://{host}:{port}{path}")))?;
        Ok((status, fs::read(body.path()).unwrap()))
    }

    /// What `pullgate certs --json` lists.
    fn certs(&self) -> Value {
        let mut certs = Command::new(pullgate());
        let text = run(certs.args(["certs", "--json", "--data"]).arg(self.gate.data_dir()));
        serde_json::from_str::<Value>(&text).unwrap()["certificates"].take()
    }

    fn is_served(&self, host: &str, root: &Path) {
        eventually(|| match self.curl(host, TARGET, root)?.0.as_str() {
            "307" => Ok(()),
            other => Err(other.to_owned()),
        });
    }

    /// Waits until the log has a line with all of these words.
    fn says(&mut self, words: &[&str]) {
        eventually(|| {
            let log = self.gate.words();
            let is_meant = |line: &str| words.iter().all(|word| line.contains(word));
            log.lines().any(is_meant).then_some(()).ok_or(log)
        });
    }
}

#[test]
fn each_domain_gets_a_certificate_each_way_though_the_authority_is_down_at_first() {
    for (driver, way) in DRIVERS.into_iter().zip(["http-01", "tls-alpn-01"]) {
        let mut pebble = Pebble::new();
        let keys = format!("challenge = \"{way}\"\nemail = \"ops@acme.com\"\n");
        let mut asking = Asking::start(driver, &HOSTS, &pebble, &keys);
        asking.says(&["it has no certificate", "the authority cannot be asked"]);
        let address = asking.gate.address();
        assert_eq!(get(address, "/v2/").unwrap().status, 404, "it serves, if not this host");
        asking.answer_to(&mut pebble, &json!({}));
        let root = pebble.root_file();
        for host in HOSTS {
            asking.is_served(host, &root);
        }
        let served = "pullgate_acme_domains{state=\"served\"}";
        eventually(|| match asking.gate.metric(served) {
            3 => Ok(()),
            other => Err(format!("{other} served")),
        });
        assert_eq!(asking.gate.metric("pullgate_acme_orders_total{outcome=\"obtained\"}"), 3);
        // They are kept, for nobody else to read, and outlive the process without the authority.
        let kept = kept_files(&asking.gate.data_dir());
        assert_eq!(kept.len(), 4, "three certificates, one account: {kept:?}");
        asking.gate.stop();
        pebble.stop();
        asking.gate.launch();
        for host in HOSTS {
            let (status, _) = asking.curl(host, TARGET, &root).unwrap();
            assert_eq!(status, "307");
        }
        assert_eq!(asking.gate.metric(served), 3);
        asking.gate.stop();
    }
}

#[test]
fn a_certificate_is_renewed_before_it_ends_and_nonces_are_refused_meanwhile() {
    let mut pebble = Pebble::new();
    let mut asking = Asking::start(DRIVERS[0], &[HOST], &pebble, "");
    let more = json!({ "certificateValidityPeriod": 15 });
    pebble.start(asking.gate.address(), asking.tls, &more, 25);
    let root = pebble.root_file();
    asking.is_served(HOST, &root);
    let ends = format!("pullgate_certificate_expiry_timestamp_seconds{{domain=\"{HOST}\"}}");
    let first = asking.gate.metric(&ends);
    for _ in 0..2 {
        let before = asking.gate.metric(&ends);
        eventually(|| match asking.gate.metric(&ends) {
            same if same == before => Err(format!("it still ends at {same}")),
            _ => Ok(()),
        });
        asking.is_served(HOST, &root);
    }
    assert!(asking.gate.metric(&ends) > first);
    asking.gate.stop();
}

#[test]
fn a_domain_that_leads_elsewhere_is_said_to_and_left_alone_while_others_get_theirs() {
    for (way, remedy) in [
        ("http-01", "80 of the domain lead to gateway.listen"),
        ("tls-alpn-01", "port 443 lead to gateway.listen_tls"),
    ] {
        let mut pebble = Pebble::new();
        let keys = format!("challenge = \"{way}\"\n");
        let hosts = ["a-stray.acme.com", HOST];
        let mut asking = Asking::start(DRIVERS[1], &[], &pebble, &keys);
        asking.answer_to(&mut pebble, &json!({}));
        pebble.lead(hosts[0], "127.0.0.9");
        let root = pebble.root_file();
        // Domains that a changed configuration brings are served too.
        let file = asking.gate.config_file();
        let mut text = fs::read_to_string(&file).unwrap();
        for host in hosts {
            text += &format!(
                "\n[[packages]]\ndomain = \"{host}\"\nname = \"acme/rocket\"\n\
                 backend = \"one.example/acme/rocket\"\ndelivery = \"redirect\"\n"
            );
        }
        fs::write(&file, text).unwrap();
        asking.says(&[hosts[0], "it has no certificate", "the authority says: ", remedy]);
        asking.is_served(HOST, &root);
        assert!(
            asking.curl(hosts[0], TARGET, &root).is_err(),
            "nobody trusts what is shown instead"
        );
        assert_eq!(asking.gate.metric("pullgate_acme_orders_total{outcome=\"failed\"}"), 1);
        assert_eq!(asking.gate.metric("pullgate_acme_domains{state=\"missing\"}"), 1);
        let listed = asking.certs();
        assert!(listed[0]["error"].as_str().is_some_and(|said| said.contains(remedy)), "{listed}");
        assert_eq!((&listed[0]["issuer"], &listed[1]["error"]), (&Value::Null, &Value::Null));
        assert!(
            listed[1]["issuer"].as_str().is_some_and(|said| said.contains("Pebble")),
            "{listed}"
        );
        // A restart is no reason to ask at once again.
        asking.gate.stop();
        asking.gate.launch();
        asking.is_served(HOST, &root);
        assert_eq!(asking.gate.metric("pullgate_acme_orders_total{outcome=\"failed\"}"), 0);
        assert_eq!(asking.gate.metric("pullgate_acme_domains{state=\"missing\"}"), 1);
        asking.gate.stop();
    }
}

#[test]
fn domains_of_the_dashboard_get_theirs_while_it_runs_and_none_once_they_are_gone() {
    let (own, shared, counts) = ("images.acme.org", "acme.pkg.pg.test", "counts.acme.com");
    let mut pebble = Pebble::new();
    let tls = free_address([127, 0, 0, 1].into());
    let config = format!(
        "listen_tls = [\"{tls}\"]\nhttps_redirect = false\nshared_domain = \"pkg.pg.test\"\n\n\
         {}\n{UPSTREAM}{OF_FILE}",
        pebble.section()
    );
    let keys = format!("domain = \"{counts}\"\n");
    let gate = Gate::start_with_admin(DRIVERS[0], &keys, &config);
    let mut asking = Asking { gate, tls };
    let token = token_of(&mut Person::set_up(&mut asking.gate), "acme");
    // Short ones, so that what is still wanted is asked for again and again.
    pebble.start(asking.gate.address(), tls, &json!({ "certificateValidityPeriod": 15 }), 5);
    let root = pebble.root_file();
    let status_of = |asking: &Asking, host: &str, path: &str, status: &str| {
        eventually(|| match asking.curl(host, path, &root)?.0 {
            is if is == status => Ok(()),
            other => Err(other),
        });
    };
    status_of(&asking, counts, "/sign-in", "200");
    for host in [own, shared] {
        let package = redirected(host, "acme/rocket", "http://127.1.1.1/v1");
        let made = send(&asking.gate, &token, "POST", MAKE, &[], Some(&package));
        assert_eq!(made.status, 201, "{}", text(&made));
        status_of(&asking, host, TARGET, "307");
    }
    let listed = |asking: &Asking| -> Vec<String> {
        let certs = asking.certs();
        let certs = certs.as_array().unwrap();
        certs.iter().map(|one| one["domain"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed(&asking), [shared, counts, own, HOST]);
    assert!(pebble.mentions(own) > 0 && pebble.mentions(counts) > 0);
    // A package goes, and the dashboard gets another name.
    let package = target(&format!("{own}/acme/rocket"));
    let tag = send(&asking.gate, &token, "GET", &package, &[], None);
    let tag = [("If-Match", tag.header("etag").unwrap())];
    let removed = send(&asking.gate, &token, "DELETE", &package, &tag, None);
    assert_eq!(removed.status, 204, "{}", text(&removed));
    let file = asking.gate.config_file();
    let config = fs::read_to_string(&file).unwrap().replace(counts, "pulls.acme.com");
    fs::write(&file, config).unwrap();
    eventually(|| match listed(&asking) {
        domains if domains == [shared, "pulls.acme.com", HOST] => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let before = [own, counts].map(|host| pebble.mentions(host));
    status_of(&asking, "pulls.acme.com", "/sign-in", "200");
    for host in [own, counts] {
        assert!(asking.curl(host, TARGET, &root).is_err(), "{host}: nobody trusts what is shown");
    }
    // Until the others were asked for again, twice.
    for host in [shared, HOST] {
        let ends = format!("pullgate_certificate_expiry_timestamp_seconds{{domain=\"{host}\"}}");
        for _ in 0..2 {
            let now = asking.gate.metric(&ends);
            eventually(|| match asking.gate.metric(&ends) {
                same if same == now => Err(format!("it still ends at {same}")),
                _ => Ok(()),
            });
        }
    }
    assert_eq!([own, counts].map(|host| pebble.mentions(host)), before);
    asking.gate.stop();
}

#[test]
fn an_authority_that_wants_an_account_of_its_own_gets_one() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let binding = json!({
        "externalAccountBindingRequired": true,
        "externalAccountMACKeys": { "kid-1": key },
    });
    let mut pebble = Pebble::new();
    let mut asking = Asking::start(DRIVERS[0], &[HOST], &pebble, "");
    asking.answer_to(&mut pebble, &binding);
    asking.says(&["the authority gives us no account", "eab_kid"]);
    asking.gate.stop();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("eab");
    fs::write(&file, format!("{key}\n")).unwrap();
    let keys = format!("eab_kid = \"kid-1\"\neab_key_file = \"{}\"\n", file.display());
    let mut pebble = Pebble::new();
    let mut asking = Asking::start(DRIVERS[0], &[HOST], &pebble, &keys);
    asking.answer_to(&mut pebble, &binding);
    asking.is_served(HOST, &pebble.root_file());
    asking.gate.stop();
}

#[test]
fn a_whole_image_is_pulled_under_such_a_certificate() {
    let storage = Storage::with(["acme/rocket".to_owned()]);
    let world = World::start(Kind::Open, &storage);
    let (mut pebble, tls) = (Pebble::new(), free_address([127, 0, 0, 1].into()));
    let config = format!(
        "listen_tls = [\"{tls}\"]\n\n{}\n{UPSTREAM}\n[[packages]]\ndomain = \"{GATEWAY}\"\n\
         name = \"acme/rocket\"\nbackend = \"http://{REGISTRY}:{}/acme/rocket\"\n\
         delivery = \"stream\"\n",
        pebble.section(),
        world.registry.address().port(),
    );
    let mut asking = Asking { gate: Gate::start_proxy(DRIVERS[0], &config), tls };
    asking.answer_to(&mut pebble, &json!({}));
    let root = pebble.root_file();
    eventually(|| match asking.curl(GATEWAY, TARGET, &root)?.0.as_str() {
        "200" => Ok(()),
        other => Err(other.to_owned()),
    });
    let image = image("acme/rocket");
    let layer = &image.platforms[0].layers[0];
    let (_, body) =
        asking.curl(GATEWAY, &format!("/v2/acme/rocket/blobs/{}", layer.digest), &root).unwrap();
    assert_eq!(body, layer.bytes);
    let by_http2 = asking.gate.metric("pullgate_http2_connections_total");
    assert!(by_http2 > 0, "curl offers it, which the others may not");
    let reference = format!("{GATEWAY}:{}/acme/rocket:latest", tls.port());
    let clients: [Box<dyn Client>; 4] = [
        Box::new(Docker::trusting(&root)),
        Box::new(Containerd::trusting(&root)),
        Box::new(Podman::trusting(&root)),
        Box::new(Skopeo::trusting(&root)),
    ];
    for client in clients {
        let pulled = client.try_pull(&reference);
        assert_eq!(pulled, Ok(()), "{}", client.name());
        client.assert_holds(&reference, &image);
    }
    asking.gate.stop();
}

#[test]
fn the_doctor_says_whether_a_domain_leads_here_and_what_to_change() {
    let mut pebble = Pebble::new();
    let hosts = [HOST, "images.acme.org", "stray.acme.com"];
    let mut asking = Asking::start(DRIVERS[0], &hosts, &pebble, "challenge = \"http-01\"\n");
    let at = [asking.gate.address().port(), asking.tls.port()];
    let doctor = |gate: &Gate, host: &str, root: &Path, names: SocketAddr| {
        let mut doctor = Command::new(pullgate());
        doctor
            .args(["doctor", host, "--config"])
            .arg(gate.config_file())
            .arg("--ca-file")
            .arg(root);
        doctor.args(["--resolver", &names.to_string()]);
        doctor.args(["--http-port", &at[0].to_string(), "--https-port", &at[1].to_string()]);
        let output = doctor.output().unwrap();
        let words = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(words).unwrap())
    };
    asking.answer_to(&mut pebble, &json!({}));
    pebble.lead(hosts[2], "127.0.0.9");
    pebble.alias(hosts[1], HOST);
    let root = pebble.root_file();
    hosts[..2].iter().for_each(|host| asking.is_served(host, &root));
    for host in &hosts[..2] {
        let (is_well, words) = doctor(&asking.gate, host, &root, pebble.names());
        assert!(is_well && !words.contains("change"), "{words}");
        assert_eq!(words.matches("this gateway answers").count(), 2, "{words}");
        assert!(words.contains("shows a certificate by ") && words.contains("Pebble"), "{words}");
        assert!(words.contains(&format!("redirect: {host}, one.example, and wherever")), "{words}");
        let alias = format!("DNS: {} is an alias (CNAME) of {HOST} is at 127.0.0.1", hosts[1]);
        assert_eq!(words.contains(&alias), *host == hosts[1], "{words}");
    }
    // Whom nobody vouches for, and who is nowhere near.
    let other = pebble.other_file();
    let (is_well, words) = doctor(&asking.gate, HOST, &other, pebble.names());
    assert!(!is_well && words.contains("which clients do not believe: "), "{words}");
    asking.says(&[hosts[2], "the authority says: "]);
    let (is_well, words) = doctor(&asking.gate, hosts[2], &root, pebble.names());
    assert!(!is_well && words.matches("nobody answers (").count() == 2, "{words}");
    assert!(words.contains("certificate: the last try failed: the authority says: "), "{words}");
    // Another gateway is not this one, though it serves the domain.
    let mut theirs = Asking::start(DRIVERS[1], &[HOST], &Pebble::new(), "");
    let (is_well, words) = doctor(&theirs.gate, HOST, &root, pebble.names());
    assert!(!is_well, "{words}");
    assert_eq!(words.matches("somebody else answers (status 200)").count(), 2, "{words}");
    let (is_well, words) =
        doctor(&theirs.gate, "acme.net", &root, free_address([127, 0, 0, 1].into()));
    assert!(!is_well && words.contains("packages: none is served at acme.net"), "{words}");
    assert!(words.contains("DNS: acme.net could not be looked up: 127.0.0.1:"), "{words}");
    theirs.gate.stop();
    let (is_well, words) = doctor(&theirs.gate, HOST, &root, pebble.names());
    assert!(!is_well && words.contains("no gateway runs on this data_dir"), "{words}");
    asking.gate.stop();
}

/// What is kept of authorities; all of it for its owner alone.
fn kept_files(data_dir: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for authority in fs::read_dir(data_dir.join("acme")).unwrap() {
        for file in fs::read_dir(authority.unwrap().path()).unwrap() {
            let file = file.unwrap();
            let name = file.file_name().to_string_lossy().into_owned();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
            if name != "troubles.json" {
                names.push(name);
            }
        }
    }
    names
}
