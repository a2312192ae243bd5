//! Clients come over TLS: which certificate they are shown, what goes on when files change, sessions
//! that any worker resumes, and what is said to who comes by the wrong door.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::version::{TLS12, TLS13};
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate, pullgate};
use support::http::{Connection, get};
use support::process::{installed, run};
use support::tls::Authority;
use tempfile::TempDir;

/// A gateway with certificates for three hosts: from a file, by RSA, and for all names beside one.
struct Sealed {
    gate: Gate,
    tls: SocketAddr,
    authority: Authority,
    files: TempDir,
}

const EC: &str = "registry.acme.com";
const RSA: &str = "rsa.acme.org";
const STAR: &str = "*.stars.acme.com";

impl Sealed {
    fn start(driver: &str, more: &str) -> Self {
        let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
        let tls = support::free_address([127, 0, 0, 1].into());
        let mut config = format!("listen_tls = [\"{tls}\"]\n{more}\n{PACKAGE}");
        authority.write(&files.path().join("ca.pem"));
        for (index, host) in [EC, STAR].into_iter().enumerate() {
            let pair = authority.identify(host).write(files.path(), &index.to_string());
            config += &section(&pair, "");
        }
        config += &section(&rsa(files.path()), &format!("domains = [\"{RSA}\"]\n"));
        Self { gate: Gate::start(driver, &config), tls, authority, files }
    }

    /// What `openssl s_client` and the gateway have to say to each other.
    fn s_client(&self, arguments: &[&str], host: &str) -> String {
        let ca = if arguments.contains(&RSA) { "rsa.crt" } else { "ca.pem" };
        let mut client = Command::new(installed("openssl"))
            .args(["s_client", "-ign_eof", "-alpn", "http/1.1", "-CAfile"])
            .arg(self.files.path().join(ca))
            .args(["-connect", &self.tls.to_string()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let request = format!("GET {TARGET} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        client.stdin.take().unwrap().write_all(request.as_bytes()).unwrap();
        let output = client.wait_with_output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

#[test]
fn openssl_is_shown_the_certificate_it_asks_for_in_both_versions() {
    for driver in DRIVERS {
        let mut sealed = Sealed::start(driver, "");
        for version in ["-tls1_2", "-tls1_3"] {
            for (asked, key) in [(EC, "ECDSA"), (RSA, "RSA"), ("any.stars.acme.com", "ECDSA")] {
                let words = sealed
                    .s_client(&[version, "-servername", asked, "-verify_hostname", asked], asked);
                assert!(words.contains("Verify return code: 0 (ok)"), "{asked}\n{words}");
                assert!(words.contains("ALPN protocol: http/1.1"), "{words}");
                let spoken = words.lines().find(|line| line.contains("Peer signature type"));
                let spoken = spoken.unwrap_or_default().to_ascii_uppercase();
                assert!(spoken.contains(key), "{key} in {spoken}");
                let answer = "Location: https://one.example/v2/acme/rocket/manifests/latest";
                assert!(words.contains("HTTP/1.1 307 ") && words.contains(answer), "{words}");
            }
            for (arguments, host, why) in [
                (&[version, "-noservername"][..], EC, "has named no host in its TLS greeting"),
                (&[version, "-servername", "acme.net"], "acme.net", "there is no certificate for"),
                (&[version, "-servername", "acme.net"], EC, "there is no certificate for"),
            ] {
                let words = sealed.s_client(arguments, host);
                assert!(words.contains("no-certificate-for-this-name.invalid"), "{words}");
                assert!(words.contains("HTTP/1.1 421 ") && words.contains(why), "{words}");
            }
            let words = sealed.s_client(&[version, "-servername", EC], RSA);
            let why = "this connection's certificate is not for it";
            assert!(words.contains("HTTP/1.1 421 ") && words.contains(why), "{words}");
        }
        let words = sealed.s_client(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], EC);
        assert!(words.contains("SSL alert number"), "{words}");
        assert!(sealed.gate.metric("pullgate_tls_stand_ins_total") >= 6);
        assert!(sealed.gate.metric("pullgate_tls_handshakes_total{outcome=\"failed\"}") >= 1);
        sealed.gate.stop();
    }
}

#[test]
fn curl_finds_its_way_from_plain_http_to_https() {
    for driver in DRIVERS {
        let mut sealed = Sealed::start(driver, "");
        let curl = |url: &str| {
            let mut curl = Command::new(installed("curl"));
            curl.args(["-sS", "-o", "/dev/null", "-L", "--max-redirs", "1", "--cacert"])
                .arg(sealed.files.path().join("ca.pem"))
                .args(["-w", "%{http_code} %{url_effective}", "--resolve"])
                .arg(format!("{EC}:{}:127.0.0.1", sealed.tls.port()))
                .args(["--connect-to", &format!("{EC}:80:{}", sealed.gate.address()), url]);
            run(&mut curl)
        };
        let url = format!("https://{EC}:{}/v2/", sealed.tls.port());
        assert_eq!(curl(&format!("http://{EC}/v2/")), format!("200 {url}"));
        let challenge = format!("http://{EC}/.well-known/acme-challenge/x");
        assert_eq!(curl(&challenge), format!("404 {challenge}"));
        // Without a certificate there is nothing to be sent to.
        let target = "/v2/";
        assert_eq!(get(sealed.gate.address(), target).unwrap().status, 200);
        sealed.gate.stop();
    }
}

#[test]
fn who_comes_by_the_wrong_door_is_told_so() {
    for driver in DRIVERS {
        let mut sealed = Sealed::start(driver, "");
        let answer = get(sealed.tls, "/v2/").unwrap();
        let words = String::from_utf8(answer.body).unwrap();
        assert_eq!(answer.status, 400);
        assert!(
            words.contains("this port speaks TLS, not plain HTTP; ask for https://"),
            "{words}"
        );
        assert_eq!(sealed.gate.metric("pullgate_tls_handshakes_total{outcome=\"plain\"}"), 1);
        let tls = Arc::new(sealed.authority.client(&[&TLS13]));
        assert!(Connection::open_tls(sealed.gate.address(), &tls, EC).is_err());
        sealed.gate.stop();
    }
}

#[test]
fn sessions_are_resumed_by_whichever_worker_answers_and_after_a_restart() {
    for driver in DRIVERS {
        let mut sealed = Sealed::start(driver, "workers = 2\n");
        let resumed =
            |gate: &Gate| gate.metric("pullgate_tls_handshakes_total{outcome=\"resumed\"}");
        for version in [&TLS12, &TLS13] {
            let tls = Arc::new(sealed.authority.client(&[version]));
            let ask = || {
                let mut connection = Connection::open_tls(sealed.tls, &tls, EC).unwrap();
                assert_eq!(asked(&mut connection, EC), 307);
            };
            ask();
            let before = resumed(&sealed.gate);
            (0..1000).for_each(|_| ask());
            assert!(resumed(&sealed.gate) - before >= 990, "of 1,000");
            sealed.gate.stop();
            sealed.gate.launch();
            let mut connection = Connection::open_tls(sealed.tls, &tls, EC).unwrap();
            assert_eq!(asked(&mut connection, EC), 307);
            assert_eq!(resumed(&sealed.gate), 1, "the keys outlive the process");
        }
        sealed.gate.stop();
    }
}

#[test]
fn changed_files_are_shown_and_broken_ones_are_not_and_no_connection_ends() {
    for driver in DRIVERS {
        let mut sealed = Sealed::start(driver, "");
        let refused = |gate: &Gate, many| {
            eventually(|| match gate.metric("pullgate_reloads_total{outcome=\"refused\"}") {
                seen if seen >= many => Ok(()),
                seen => Err(format!("{seen} refused")),
            });
        };
        let tls = Arc::new(sealed.authority.client(&[&TLS13]));
        let mut connection = Connection::open_tls(sealed.tls, &tls, EC).unwrap();
        assert_eq!(asked(&mut connection, EC), 307);
        // Another authority's: who trusts the first one alone sees the difference.
        let other = Authority::new();
        let expired = other.identify_until(EC, (2020, 1, 1));
        let [crt, key] = ["0.crt", "0.key"].map(|name| sealed.files.path().join(name));
        let (old_crt, old_key) = (fs::read(&crt).unwrap(), fs::read(&key).unwrap());
        let mut refusals = 0;
        for (certificate, its_key, at, what) in [
            (&b"nothing"[..], &old_key[..], &crt, "certificates[0].cert: holds no certificate"),
            (&old_crt, b"nothing", &key, "certificates[0].key: holds no private key"),
            (
                &expired.certificate(),
                &expired.key(),
                &crt,
                "has expired, on 2020-01-01 00:00:00 UTC",
            ),
            (&old_crt, &expired.key(), &key, "is not the key of"),
        ] {
            fs::write(&key, its_key).unwrap();
            fs::write(&crt, certificate).unwrap();
            refusals += 1;
            eventually(|| {
                let words = sealed.gate.words();
                let line = words.lines().find(|line| line.contains(what));
                let line = line.ok_or_else(|| format!("no {what:?} in {words}"))?;
                let place = format!("{}:1: ", at.display());
                line.contains(&place).then_some(()).ok_or_else(|| line.to_owned())
            });
            let mut fresh = Connection::open_tls(sealed.tls, &tls, EC).unwrap();
            assert_eq!(asked(&mut fresh, EC), 307, "the old one stays");
        }
        refused(&sealed.gate, refusals);
        other.identify(EC).write(sealed.files.path(), "0");
        let others = Arc::new(other.client(&[&TLS13]));
        eventually(|| {
            Connection::open_tls(sealed.tls, &others, EC).map(drop).map_err(|why| why.to_string())
        });
        assert_eq!(asked(&mut connection, EC), 307, "what was open goes on");
        sealed.gate.stop();
    }
}

#[test]
fn a_gateway_does_not_start_with_a_certificate_that_is_none() {
    let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
    let good = authority.identify(EC).write(files.path(), "good");
    let expired = authority.identify_until(EC, (2021, 1, 1)).write(files.path(), "expired");
    let mixed = [good[0].clone(), expired[1].clone()];
    let missing = [files.path().join("none"), good[1].clone()];
    for (pair, domains, what) in [
        (
            &good,
            "domains = [\"acme.org\"]\n",
            "is not for acme.org, but for registry.acme.com; get",
        ),
        (&expired, "", "has expired, on 2021-01-01 00:00:00 UTC; put a valid certificate there"),
        (&mixed, "", "expired.key:1: certificates[0].key: is not the key of "),
        (&missing, "", "none:1: certificates[0].cert: cannot be read: No such file"),
    ] {
        let file = files.path().join("pullgate.toml");
        let data = files.path().join("data").display().to_string();
        let gateway = format!(
            "[gateway]\nlisten = [\"127.0.0.1:0\"]\nlisten_tls = [\"127.0.0.1:0\"]\n\
             data_dir = \"{data}\"\n{PACKAGE}"
        );
        fs::write(&file, gateway + &section(pair, domains)).unwrap();
        for command in ["serve", "check"] {
            let mut run = Command::new(pullgate());
            let output = run.arg(command).arg("--config").arg(&file).output().unwrap();
            let words = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{words}");
            assert!(words.contains(what), "{what} in\n{words}");
        }
    }
}

#[test]
fn requests_come_as_they_like_and_a_proxy_says_whose_they_are() {
    for driver in DRIVERS {
        let more = "trusted_proxies = [\"127.0.0.1\"]\n";
        let mut sealed = Sealed::start(driver, more);
        let tls = Arc::new(sealed.authority.client(&[&TLS12, &TLS13]));
        let mut stream = TcpStream::connect(sealed.tls).unwrap();
        stream.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n").unwrap();
        let mut connection = Connection::over_tls(stream, &tls, EC).unwrap();
        // Many in one record, and one in many.
        let request = format!("GET {TARGET} HTTP/1.1\r\nHost: {EC}\r\n\r\n");
        connection.send(request.repeat(200).as_bytes()).unwrap();
        for _ in 0..200 {
            assert_eq!(connection.answer(false).unwrap().status, 307);
        }
        for byte in request.as_bytes() {
            connection.send(&[*byte]).unwrap();
        }
        assert_eq!(connection.answer(false).unwrap().status, 307);
        sealed.gate.stop();
        connection.closed().expect("the end is said, not cut");
    }
}

#[test]
fn a_greeting_that_does_not_come_is_not_waited_for() {
    for driver in DRIVERS {
        let limits = "[limits]\nheader_timeout = \"300ms\"\n";
        let mut sealed = Sealed::start(driver, limits);
        let mut silent = TcpStream::connect(sealed.tls).unwrap();
        let mut slow = TcpStream::connect(sealed.tls).unwrap();
        slow.write_all(&[0x16, 3, 1]).unwrap();
        for stream in [&mut silent, &mut slow] {
            assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0);
        }
        eventually(|| {
            match sealed.gate.metric("pullgate_tls_handshakes_total{outcome=\"late\"}") {
                2 => Ok(()),
                other => Err(other.to_string()),
            }
        });
        let expiry = format!("pullgate_certificate_expiry_timestamp_seconds{{domain=\"{EC}\"}}");
        assert!(sealed.gate.metric(&expiry) > 60_000_000_000, "in the year 4096");
        sealed.gate.stop();
    }
}

/// The status of the package's manifest.
fn asked(connection: &mut Connection, host: &str) -> u16 {
    connection.ask("GET", TARGET, &[format!("Host: {host}")], b"").unwrap().status
}

/// One of `[[certificates]]`.
fn section([cert, key]: &[PathBuf; 2], domains: &str) -> String {
    let (cert, key) = (cert.display(), key.display());
    format!("[[certificates]]\n{domains}cert = \"{cert}\"\nkey = \"{key}\"\n")
}

/// A certificate signed by itself, with a key that rcgen does not make.
fn rsa(directory: &Path) -> [PathBuf; 2] {
    let files = ["crt", "key"].map(|kind| directory.join(format!("rsa.{kind}")));
    run(Command::new(installed("openssl"))
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"])
        .args(["-subj", "/CN=rsa", "-addext", &format!("subjectAltName=DNS:{RSA}")])
        .arg("-out")
        .arg(&files[0])
        .arg("-keyout")
        .arg(&files[1]));
    files
}

const TARGET: &str = "/v2/acme/rocket/manifests/latest";
const PACKAGE: &str = "\n[[packages]]\ndomain = \"*\"\nname = \"acme/rocket\"\n\
                       backend = \"one.example/acme/rocket\"\ndelivery = \"redirect\"\n";
