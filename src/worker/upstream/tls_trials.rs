//! Origins behind TLS, asked by real workers on every driver.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, bounded};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{
    ALL_VERSIONS, HandshakeKind, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
};

use super::trials::{LOOPBACK, connections, get, whole};
use super::*;
use crate::messages::keyring::{Key, Keyring, trusting};
use crate::messages::meters::Meters;
use crate::pure::oci::backend::Scheme;
use crate::worker::driver::Driver;
use crate::worker::trial::{drivers, errand, snapshot, workers};

#[test]
fn what_the_authority_vouches_for_is_asked_over_tls() {
    let authority = Authority::new();
    for (driver, version) in drivers()
        .into_iter()
        .flat_map(|driver| ALL_VERSIONS.iter().map(move |version| (driver, *version)))
    {
        let origin = origin(authority.serves("localhost", version), |_| 2);
        let (host, port) = ("localhost".to_owned(), origin.address.port());
        let (told, meters) = trial(driver, authority.trusted(), move |worker| async move {
            let mut told = Vec::new();
            for target in ["/small", "/large", "/small", "/small", "/unended"] {
                told.push(whole(&worker, &https(&host, port, target)).await);
            }
            told
        });
        let hello = "200 hello";
        assert_eq!(
            told,
            [
                hello,
                "200 xx… of 45000",
                hello,
                hello,
                "UpstreamMalformed less body than it announced"
            ],
            "{driver} {version:?}"
        );
        // Each connection answers two requests; who has been there before needs no certificate.
        assert_eq!(connections(&meters), "3 opened, 2 used again, 0 stale");
        let handshakes: Vec<_> = origin.handshakes.try_iter().collect();
        assert_eq!(
            handshakes,
            [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed],
            "{driver} {version:?}"
        );
    }
}

#[test]
fn who_is_not_vouched_for_is_not_asked() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let failed = "UpstreamTls a handshake that fails";
    for driver in drivers() {
        for (shown, host, registry, expected) in [
            (authority.serves("localhost", ALL_VERSIONS[0]), "localhost", None, "200 hello"),
            (stranger.serves("localhost", ALL_VERSIONS[0]), "localhost", None, failed),
            (stranger.serves("localhost", ALL_VERSIONS[0]), "localhost", Some(0), "200 hello"),
            (authority.serves("other.example", ALL_VERSIONS[0]), "localhost", None, failed),
            (authority.serves("127.0.0.1", ALL_VERSIONS[0]), "127.0.0.1", None, "200 hello"),
            (authority.serves("localhost", ALL_VERSIONS[0]), "127.0.0.1", None, failed),
        ] {
            let origin = origin(shown, |_| 1);
            let port = origin.address.port();
            let key = Key { tls: stranger.trusted(), account: None };
            let keyring = Keyring { registries: vec![key], elsewhere: authority.trusted() };
            let asks = errand(move |worker: Rc<Worker>| async move {
                whole(&worker, &Request { registry, ..https(host, port, "/small") }).await
            });
            let trial = workers(driver, &snapshot(LOOPBACK), &Arc::new(keyring), vec![asks]);
            assert_eq!(trial[0].0, expected, "{driver}: {host}, {registry:?}");
        }
    }
}

#[test]
fn who_does_not_speak_tls_is_said() {
    for driver in drivers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            // One that speaks plainly, one that hangs up, one that says nothing.
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
            drop(listener.accept().unwrap());
            let _ = listener.accept().unwrap().0.read_to_end(&mut Vec::new());
        });
        let (told, _) = trial(driver, Authority::new().trusted(), move |worker| async move {
            let request = https("127.0.0.1", port, "/");
            let mut told = Vec::new();
            for _ in 0..3 {
                told.push(whole(&worker, &request).await);
            }
            told
        });
        let fails = "UpstreamTls a handshake that fails";
        let stalls = "UpstreamTimeout a connection that does not come about";
        assert_eq!(told, [fails, fails, stalls], "{driver}");
    }
}

fn trial<T: Send, F: Future<Output = T> + 'static>(
    driver: Driver,
    trusted: Arc<rustls::ClientConfig>,
    does: impl FnOnce(Rc<Worker>) -> F + Send + 'static,
) -> (T, Arc<Meters>) {
    let keyring = Arc::new(Keyring { registries: Vec::new(), elsewhere: trusted });
    workers(driver, &snapshot(LOOPBACK), &keyring, vec![errand(does)]).remove(0)
}

fn https(host: &str, port: u16, target: &str) -> Request {
    let origin = Origin { scheme: Scheme::Https, host: host.to_owned(), port };
    Request { origin, ..get(SocketAddr::from(([127, 0, 0, 1], port)), target) }
}

struct Secure {
    address: SocketAddr,
    /// How each connection began.
    handshakes: Receiver<HandshakeKind>,
}

/// An origin behind TLS that closes its connections after `requests` of their number.
fn origin(config: Arc<ServerConfig>, requests: fn(usize) -> usize) -> Secure {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, handshakes) = bounded(100);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(tls, stream.unwrap());
            let last = requests(number) - 1;
            for request in 0..=last {
                if serve(&mut stream, request == last).is_none() {
                    break;
                }
            }
            if let Some(kind) = stream.conn.handshake_kind() {
                let _ = tell.send(kind);
            }
        }
    });
    Secure { address, handshakes }
}

fn serve(
    stream: &mut StreamOwned<ServerConnection, std::net::TcpStream>,
    is_last: bool,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let (length, body) = match head.split(|byte| *byte == b' ').nth(1)? {
        b"/small" => (5, "hello".to_owned()),
        b"/large" => (45_000, "x".repeat(45_000)),
        // Its end is cut off, without a word of TLS.
        _ => (9, "hello".to_owned()),
    };
    let connection = if is_last { "close" } else { "keep-alive" };
    let head =
        format!("HTTP/1.1 200 OK\r\nConnection: {connection}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body.as_bytes()).ok()?;
    (length == body.len()).then_some(())
}

/// Signs certificates.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Trust in it alone.
    fn trusted(&self) -> Arc<rustls::ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        trusting(roots)
    }

    /// What a server shows that it vouches to be `host`.
    fn serves(&self, host: &str, version: &'static SupportedProtocolVersion) -> Arc<ServerConfig> {
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Arc::new(config)
    }
}
