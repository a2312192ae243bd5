//! An authority for one run, and a certificate that it vouches for: of the registry, or of what clients
//! ask.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::args::Handshake;

/// Writes `<stem>.crt` and `<stem>.key` for `names` into `room`, and both as `<stem>.pem`; returns the
/// authority's file.
pub fn write(room: &Path, stem: &str, names: &[&str]) -> io::Result<PathBuf> {
    let (authority, certificate, key) = make(names).map_err(io::Error::other)?;
    let file = room.join(format!("{stem}-authority.crt"));
    fs::write(&file, authority)?;
    fs::write(room.join(format!("{stem}.pem")), format!("{certificate}{key}"))?;
    fs::write(room.join(format!("{stem}.crt")), certificate)?;
    fs::write(room.join(format!("{stem}.key")), key)?;
    Ok(file)
}

/// How a client trusts the authority in `file`, begins a connection, and which protocol it wants.
pub fn client(
    file: &Path,
    handshake: Handshake,
    wants_http2: bool,
) -> io::Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_file_iter(file).map_err(io::Error::other)? {
        roots.add(root.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let mut provider = default_provider();
    // In the order of Go's clients, which docker, podman and containerd are: whoever is asked follows it,
    // and a handshake with the other hash (SHA-384) takes a tenth longer.
    provider.cipher_suites.sort_by_key(|suite| !AS_GO.contains(&suite.suite()));
    let provider = Arc::new(provider);
    let looks = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let verifier = Once { looks: looks.build().map_err(io::Error::other)?, seen: OnceLock::new() };
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = builder.with_no_client_auth();
    if handshake == Handshake::Full {
        config.resumption = Resumption::disabled();
    }
    if wants_http2 {
        config.alpn_protocols.push(b"h2".to_vec());
    }
    Ok(Arc::new(config))
}

/// Looks at a certificate, and at what is signed with it, until one was found good; then whether it is the
/// same. Two signatures for each handshake cost the load more than the handshake costs who is measured, and
/// tell nothing new of him.
#[derive(Debug)]
struct Once {
    looks: Arc<WebPkiServerVerifier>,
    seen: OnceLock<CertificateDer<'static>>,
}

impl Once {
    fn knows(&self, certificate: &CertificateDer<'_>) -> bool {
        self.seen.get().is_some_and(|seen| seen == certificate)
    }

    fn signed(
        &self,
        certificate: &CertificateDer<'_>,
        look: impl FnOnce() -> Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        if self.knows(certificate) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        let valid = look()?;
        // Of two that look at once the first is kept.
        self.seen.get_or_init(|| certificate.clone().into_owned());
        Ok(valid)
    }
}

impl ServerCertVerifier for Once {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.knows(certificate) {
            return Ok(ServerCertVerified::assertion());
        }
        self.looks.verify_server_cert(certificate, above, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let look = || self.looks.verify_tls12_signature(message, certificate, signed);
        self.signed(certificate, look)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let look = || self.looks.verify_tls13_signature(message, certificate, signed);
        self.signed(certificate, look)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.looks.supported_verify_schemes()
    }
}

/// What Go offers first where the processor has AES (`crypto/tls`, `cipher_suites.go`).
const AS_GO: [CipherSuite; 3] = [
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];

/// All three in PEM.
fn make(names: &[&str]) -> Result<(String, String, String), rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    // A name of its own: who signs for himself is not believed.
    params.distinguished_name.push(DnType::CommonName, "authority of a load test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    Ok((authority.pem(), certificate.pem(), key.serialize_pem()))
}
