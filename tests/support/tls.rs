//! An authority of the tests' own, and servers that it vouches for.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// Signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What a server shows and proves.
pub struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    /// With a key of its own.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        // A name of its own: who signs for himself is not believed.
        params.distinguished_name.push(DnType::CommonName, "authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Writes its certificate, for those who are to trust it.
    pub fn write(&self, file: &Path) {
        fs::write(file, self.0.pem()).expect("the authority's certificate");
    }

    /// For a client in the test that trusts it.
    pub fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a certificate");
        ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .expect("its versions of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    /// Vouches for `host`.
    pub fn identify(&self, host: &str) -> Identity {
        self.identify_until(host, (4096, 1, 1))
    }

    /// Vouches for `host` until a day begins: its year, month and number.
    pub fn identify_until(&self, host: &str, (year, month, day): (i32, u8, u8)) -> Identity {
        let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, month, day);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity { certificate, key }
    }
}

impl Identity {
    /// For a server in the test.
    pub fn server(&self) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let chain = vec![self.certificate.der().clone()];
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("its versions of TLS")
            .with_no_client_auth()
            .with_single_cert(chain, key);
        Arc::new(config.expect("a certificate and its key"))
    }

    /// The certificate, in PEM.
    pub fn certificate(&self) -> Vec<u8> {
        self.certificate.pem().into_bytes()
    }

    /// Its key, in PEM.
    pub fn key(&self) -> Vec<u8> {
        self.key.serialize_pem().into_bytes()
    }

    /// For a program: the files of the certificate and its key.
    pub fn write(&self, directory: &Path, name: &str) -> [PathBuf; 2] {
        let files = ["crt", "key"].map(|kind| directory.join(format!("{name}.{kind}")));
        fs::write(&files[0], self.certificate()).expect("the certificate");
        fs::write(&files[1], self.key()).expect("the key");
        files
    }
}
