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

#[cfg(test)]
mod tests {
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ClientConnection, ServerConfig, ServerConnection};

    use super::*;

    const NAME: &str = "registry.acme.com";

    /// Who shows the certificate `<stem>.crt` of `room`.
    fn server(room: &Path, stem: &str) -> Arc<ServerConfig> {
        let chain = CertificateDer::pem_file_iter(room.join(format!("{stem}.crt"))).unwrap();
        let key = PrivateKeyDer::from_pem_file(room.join(format!("{stem}.key"))).unwrap();
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let chain = chain.map(Result::unwrap).collect();
        Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap())
    }

    /// Lets both agree, or says why the client does not.
    fn shake(client: &Arc<ClientConfig>, server: Arc<ServerConfig>) -> Result<(), Error> {
        let name = ServerName::try_from(NAME).unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name)?;
        let mut server = ServerConnection::new(server)?;
        let mut sent = Vec::new();
        while client.is_handshaking() || server.is_handshaking() {
            client.write_tls(&mut sent).unwrap();
            server.read_tls(&mut sent.as_slice()).unwrap();
            server.process_new_packets()?;
            sent.clear();
            server.write_tls(&mut sent).unwrap();
            client.read_tls(&mut sent.as_slice()).unwrap();
            client.process_new_packets()?;
            sent.clear();
        }
        Ok(())
    }

    #[test]
    fn a_certificate_that_was_good_is_taken_again_and_no_other_for_it() {
        let room = tempfile::tempdir().unwrap();
        let authority = write(room.path(), "known", &[NAME]).unwrap();
        write(room.path(), "foreign", &[NAME]).unwrap();
        let client = client(&authority, Handshake::Full, false).unwrap();
        let [known, foreign] = ["known", "foreign"].map(|stem| server(room.path(), stem));
        let refused = |outcome| matches!(outcome, Err(Error::InvalidCertificate(_)));
        assert!(refused(shake(&client, Arc::clone(&foreign))));
        for _ in 0..2 {
            assert_eq!(shake(&client, Arc::clone(&known)), Ok(()));
        }
        assert!(refused(shake(&client, foreign)));
    }
}
