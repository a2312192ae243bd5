//! Going where a domain leads, as its clients do, to see who answers there: a name server is asked for
//! its addresses, and each of them for what this gateway alone can say.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::rt::{Read, Write};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::certificates::date;
use super::keys::{roots, system_roots};
use crate::messages::random::random;
use crate::pure::config::problem::Problem;
use crate::pure::dns::{self, Kind, Refused, Said};
use crate::pure::doctor::{Seen, Shown, Visit};
use crate::pure::door::REACH;

/// Who is looked for.
pub struct Call {
    /// The domain that is asked for.
    pub domain: String,
    /// A number that nobody else knows.
    pub nonce: String,
    /// What our gateway alone answers to it.
    pub answer: String,
    /// Where plain HTTP and TLS are looked for.
    pub ports: [u16; 2],
    /// Whom clients trust.
    pub trust: Arc<WebPkiServerVerifier>,
}

/// Whom clients trust: the system's authorities and those in `ca_file`.
pub fn trust(ca_file: Option<&Path>) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut problems: Vec<Problem> = Vec::new();
    let own = roots(ca_file, "ca-file", &mut problems);
    if let Some(problem) = problems.first() {
        return Err(problem.to_string());
    }
    let mut trusted = system_roots();
    trusted.add_parsable_certificates(own);
    let builder = WebPkiServerVerifier::builder_with_provider(
        Arc::new(trusted),
        Arc::new(default_provider()),
    );
    builder.build().map_err(|error| error.to_string())
}

/// The name servers that this machine asks (resolv.conf(5)).
pub fn name_servers() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let found: Vec<_> = named
        .filter_map(|rest| rest.trim().parse().ok())
        .map(|address: IpAddr| SocketAddr::new(address, DNS_PORT))
        .collect();
    if found.is_empty() { vec![(Ipv4Addr::LOCALHOST, DNS_PORT).into()] } else { found }
}

/// What the first of the `servers` that answers says of `name`.
pub async fn look_up(servers: &[SocketAddr], name: &str) -> Result<Said, String> {
    let mut last = "there is no name server to ask".to_owned();
    for server in servers {
        match look_up_at(*server, name).await {
            Ok(said) => return Ok(said),
            Err(why) => last = format!("{server}: {why}"),
        }
    }
    Err(last)
}

/// The texts that the first of the `servers` that answers has of `name`.
pub async fn texts(servers: &[SocketAddr], name: &str) -> Result<Vec<String>, String> {
    let mut last = "there is no name server to ask".to_owned();
    for server in servers {
        match ask(*server, name, Kind::Txt).await {
            Ok(said) => return Ok(said.texts),
            Err(why) => last = format!("{server}: {why}"),
        }
    }
    Err(last)
}

async fn look_up_at(server: SocketAddr, name: &str) -> Result<Said, String> {
    let mut found = Said::default();
    let mut name = name.to_owned();
    for _ in 0..ALIASES_MAX {
        let (four, six) = tokio::join!(ask(server, &name, Kind::A), ask(server, &name, Kind::Aaaa));
        let (four, six) = (four?, six?);
        found.aliases.extend(four.aliases);
        found.addresses.extend(four.addresses.into_iter().chain(six.addresses));
        // Some name servers do not follow an alias themselves.
        match found.aliases.last() {
            Some(alias) if found.addresses.is_empty() && *alias != name => name.clone_from(alias),
            _ => break,
        }
    }
    Ok(found)
}

async fn ask(server: SocketAddr, name: &str, kind: Kind) -> Result<Said, String> {
    let words = |error: io::Error| error.to_string();
    let id = random().map(u16::from_ne_bytes).map_err(words)?;
    let question = dns::question(id, name, kind).ok_or("it is no host name")?;
    let ours: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((ours, 0)).await.map_err(words)?;
    socket.connect(server).await.map_err(words)?;
    for _ in 0..QUESTIONS_MAX {
        socket.send(&question).await.map_err(words)?;
        let mut room = [0; ANSWER_BYTES_MAX];
        let Ok(received) = timeout(NAME_PATIENCE, socket.recv(&mut room)).await else {
            continue;
        };
        let length = received.map_err(words)?;
        match dns::answer(id, room.get(..length).unwrap_or_default()) {
            Some(Ok(said)) => return Ok(said),
            Some(Err(Refused(code))) => return Err(format!("it refuses, with code {code}")),
            None => {}
        }
    }
    Err("no answer in time".to_owned())
}

/// Who answers at `address`.
pub async fn visit(call: &Call, address: IpAddr) -> Visit {
    let [plain, tls] = call.ports;
    let (seen, (seen_sealed, certificate)) =
        tokio::join!(visit_plain(call, (address, plain)), visit_sealed(call, (address, tls)));
    Visit { address, plain: (plain, seen), tls: (tls, seen_sealed), certificate }
}

async fn visit_plain(call: &Call, at: (IpAddr, u16)) -> Seen {
    match dial(at).await {
        Ok(stream) => answered(call, TokioIo::new(stream)).await,
        Err(nobody) => nobody,
    }
}

async fn visit_sealed(call: &Call, at: (IpAddr, u16)) -> (Seen, Option<Shown>) {
    let stream = match dial(at).await {
        Ok(stream) => stream,
        Err(nobody) => return (nobody, None),
    };
    let noting = Arc::new(Noting { trust: Arc::clone(&call.trust), shown: OnceLock::new() });
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions();
    let (Ok(builder), Ok(name)) = (builder, ServerName::try_from(call.domain.clone())) else {
        return (Seen::Nobody("its name is none for TLS".to_owned()), None);
    };
    let verifier = Arc::<Noting>::clone(&noting);
    let mut config =
        builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let seen = match timeout(PATIENCE, connecting).await {
        Ok(Ok(stream)) => answered(call, TokioIo::new(stream)).await,
        Ok(Err(error)) => Seen::Other(format!("no TLS: {error}")),
        Err(_) => Seen::Other("no TLS in time".to_owned()),
    };
    (seen, noting.shown.get().cloned())
}

async fn dial(at: (IpAddr, u16)) -> Result<TcpStream, Seen> {
    match timeout(PATIENCE, TcpStream::connect(at)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(Seen::Nobody(error.to_string())),
        Err(_) => Err(Seen::Nobody("no connection in time".to_owned())),
    }
}

/// Whether what our gateway alone can say is said over this connection.
async fn answered(call: &Call, stream: impl Read + Write + Unpin + Send + 'static) -> Seen {
    match timeout(PATIENCE, get(call, stream)).await {
        Ok(Ok((StatusCode::OK, body))) if body == call.answer.as_bytes() => Seen::Us,
        Ok(Ok((status, _))) => Seen::Other(format!("status {}", status.as_u16())),
        Ok(Err(error)) => Seen::Other(error.to_string()),
        Err(_) => Seen::Other("no answer in time".to_owned()),
    }
}

async fn get(
    call: &Call,
    stream: impl Read + Write + Unpin + Send + 'static,
) -> io::Result<(StatusCode, Bytes)> {
    let target = [REACH, &call.nonce].concat();
    let request = Request::get(target).header(HOST, &call.domain).body(Empty::<Bytes>::new());
    let request = request.map_err(io::Error::other)?;
    let (mut sender, connection) = http1::handshake(stream).await.map_err(io::Error::other)?;
    let exchange = async move {
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        Ok((status, body.map(|body| body.to_bytes()).unwrap_or_default()))
    };
    // The connection ends with its last sender, which ends with the exchange.
    let (answer, _) = tokio::join!(exchange, connection);
    answer
}

/// Goes on whatever is shown, and notes what clients would think of it.
#[derive(Debug)]
struct Noting {
    trust: Arc<WebPkiServerVerifier>,
    shown: OnceLock<Shown>,
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        behind: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = self.trust.verify_server_cert(shown, behind, name, ocsp, now);
        let wrong = verdict.err().map(|error| error.to_string());
        let (issuer, ends) = match X509Certificate::from_der(shown) {
            Ok((_, certificate)) => {
                let ends_s = certificate.validity().not_after.timestamp();
                (certificate.issuer().to_string(), date(ends_s))
            }
            Err(error) => (format!("nobody knows whom ({error})"), "no known time".to_owned()),
        };
        let _ = self.shown.set(Shown { issuer, ends, wrong });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trust.verify_tls12_signature(message, shown, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trust.verify_tls13_signature(message, shown, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.supported_verify_schemes()
    }
}

const DNS_PORT: u16 = 53;
/// Aliases that lead to one another.
const ALIASES_MAX: usize = 8;
/// How often a name server is asked that does not answer, and how long each time.
const QUESTIONS_MAX: usize = 3;
const NAME_PATIENCE: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 4096;
