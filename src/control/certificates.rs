//! Certificates, from the files that the configuration names or from an authority: read, and held
//! against their keys, their names and the time before anybody is shown them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::files::read_file;
use crate::messages::certificates::Certificate;
use crate::pure::certificates::is_for;
use crate::pure::config::problem::Problem;
use crate::pure::config::values::{CertificateFiles, Config};

/// A certificate that is in force, as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is shown for.
    pub names: Arc<[Box<str>]>,
    /// Who vouches for it, as it says itself.
    pub issuer: Box<str>,
    /// When it became valid, in seconds since 1970.
    pub begins_s: i64,
    /// When it ends, in seconds since 1970.
    pub ends_s: i64,
    /// Whether it is from an authority that was asked for it, and not from files.
    pub renews_itself: bool,
}

/// Certificates ready to be shown, and what is to be known of each.
pub type Ready = Vec<(Certificate, Entry)>;

/// Reads the files that `config` names, as of now; or says everything that is wrong with them.
pub fn read(config: &Config) -> Result<Ready, Vec<Problem>> {
    let now_s = Timestamp::now().as_second();
    let (mut ready, mut problems) = (Ready::new(), vec![]);
    for (index, files) in config.certificates.iter().enumerate() {
        match one(files, now_s) {
            Ok(certificate) => ready.push(certificate),
            Err(Wrong { file, key, what }) => {
                let (file, key) =
                    (file.display().to_string(), format!("certificates[{index}].{key}"));
                problems.push(Problem { file, line: 1, key, what });
            }
        }
    }
    if problems.is_empty() { Ok(ready) } else { Err(problems) }
}

/// The files that [`read`] reads.
pub fn files(config: &Config) -> Vec<PathBuf> {
    let both = |files: &CertificateFiles| [files.cert.clone(), files.key.clone()];
    config.certificates.iter().flat_map(both).collect()
}

/// The certificate of `domain` and its key, as they were kept in one file; or why they do not serve.
pub(super) fn of_authority(domain: &str, pem: &[u8]) -> Result<(Certificate, Entry), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| format!("is no PEM file: {error}"))?;
    let first = chain.first().ok_or("holds no certificate")?;
    let (_, certificate) = X509Certificate::from_der(first)
        .map_err(|error| format!("holds what is no certificate: {error}"))?;
    if !names_in(&certificate).iter().any(|name| is_for(name, domain.as_bytes())) {
        return Err(format!("is not for {domain}"));
    }
    let entry = Entry { renews_itself: true, ..entry([domain.into()].into(), &certificate) };
    let key =
        PrivateKeyDer::from_pem_slice(pem).map_err(|error| format!("holds no key: {error}"))?;
    let certified = CertifiedKey::from_der(chain, key, &default_provider());
    let key = Arc::new(certified.map_err(|error| format!("its key does not serve: {error}"))?);
    Ok((Certificate { names: Arc::clone(&entry.names), key }, entry))
}

/// A certificate that nobody trusts, for names that have none: who does not insist on trust is told
/// then what is wrong. `None` where it cannot be made: then such clients see a failed handshake.
pub(super) fn stand_in() -> Option<Arc<CertifiedKey>> {
    let made = self_signed(STAND_IN, None);
    made.inspect_err(|why| tracing::error!("no certificate for unknown names: {why}")).ok()
}

/// The certificate that proves `domain` to an authority, which has asked for one with this `digest`
/// (RFC 8737, 3).
pub(super) fn proving(domain: &str, digest: &[u8]) -> Result<Arc<CertifiedKey>, String> {
    self_signed(domain, Some(CustomExtension::new_acme_identifier(digest)))
}

fn self_signed(
    name: &str,
    extension: Option<CustomExtension>,
) -> Result<Arc<CertifiedKey>, String> {
    let made = || {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.custom_extensions.extend(extension);
        Ok((params.self_signed(&key)?, key))
    };
    let (certificate, key) = made().map_err(|error: rcgen::Error| error.to_string())?;
    let key = PrivateKeyDer::try_from(key.serialize_der())?;
    let chain = vec![certificate.der().clone()];
    // Whether they match is known, and rustls does not look at what an authority has asked for.
    let key = default_provider().key_provider.load_private_key(key);
    Ok(Arc::new(CertifiedKey::new(chain, key.map_err(|error| error.to_string())?)))
}

/// What is wrong with a file, and which key names it.
struct Wrong<'f> {
    file: &'f Path,
    key: &'static str,
    what: String,
}

fn one(files: &CertificateFiles, now_s: i64) -> Result<(Certificate, Entry), Wrong<'_>> {
    let of_cert = |what| Wrong { file: &files.cert, key: "cert", what };
    let of_key = |what| Wrong { file: &files.key, key: "key", what };
    let text = read_file(&files.cert, CHAIN_FILE_BYTES_MAX).map_err(of_cert)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| of_cert(format!("is no PEM file: {error}; {NEW_CERT}")))?;
    let Some(first) = chain.first() else {
        let what = format!("holds no certificate (-----BEGIN CERTIFICATE-----); {NEW_CERT}");
        return Err(of_cert(what));
    };
    let length: usize = chain.iter().map(|one| one.len()).sum();
    if length > CHAIN_BYTES_MAX {
        let what = format!(
            "holds {length} bytes of certificates, which no client wants to receive at \
                            each connection; keep the domain's own and the few behind it"
        );
        return Err(of_cert(what));
    }
    for der in &chain {
        X509Certificate::from_der(der).map_err(|error| {
            of_cert(format!("holds what is no certificate: {error}; {NEW_CERT}"))
        })?;
    }
    let (_, certificate) = X509Certificate::from_der(first)
        .map_err(|error| of_cert(format!("holds what is no certificate: {error}; {NEW_CERT}")))?;
    let [begins_s, ends_s] = validity(&certificate);
    if ends_s <= now_s {
        return Err(of_cert(format!("has expired, on {}; {NEW_CERT}", date(ends_s))));
    }
    if begins_s > now_s {
        let what = format!("is not valid before {}; set the clock right, or wait", date(begins_s));
        return Err(of_cert(what));
    }
    let own = names_in(&certificate);
    let names = match files.domains.as_slice() {
        [] if own.is_empty() => {
            return Err(of_cert(format!("names no host; {NEW_CERT}")));
        }
        [] => own,
        wanted => {
            let is_covered =
                |wanted: &&String| own.iter().any(|name| is_for(name, wanted.as_bytes()));
            if let Some(missing) = wanted.iter().find(|wanted| !is_covered(wanted)) {
                let what = format!(
                    "is not for {missing}, but for {}; get one that is, or change domains",
                    own.join(", ")
                );
                return Err(of_cert(what));
            }
            wanted.to_vec()
        }
    };
    let names: Arc<[Box<str>]> = names.into_iter().map(Box::from).collect();
    let text = read_file(&files.key, KEY_FILE_BYTES_MAX).map_err(of_key)?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
        of_key(format!("holds no private key in PEM form: {error}; name the certificate's key"))
    })?;
    let provider = default_provider();
    let key = provider.key_provider.load_private_key(key).map_err(|error| {
        of_key(format!("is a key that is not spoken here: {error}; use one of ECDSA P-256, or RSA"))
    })?;
    let certified = CertifiedKey::new(chain.clone(), key);
    certified.keys_match().map_err(|_| {
        let cert = files.cert.display();
        of_key(format!("is not the key of {cert}; name the key that belongs to it"))
    })?;
    let shown = Certificate { names: Arc::clone(&names), key: Arc::new(certified) };
    Ok((shown, entry(names, &certificate)))
}

fn entry(names: Arc<[Box<str>]>, certificate: &X509Certificate<'_>) -> Entry {
    let [begins_s, ends_s] = validity(certificate);
    let issuer = certificate.issuer().to_string().into();
    Entry { names, issuer, begins_s, ends_s, renews_itself: false }
}

/// From when until when, in seconds since 1970.
fn validity(certificate: &X509Certificate<'_>) -> [i64; 2] {
    let validity = certificate.validity();
    [&validity.not_before, &validity.not_after].map(|at| at.timestamp())
}

/// The host names that a certificate is for (RFC 9525, 6): those of its extension, never the subject.
fn names_in(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let of_host = |name: &GeneralName<'_>| {
        let GeneralName::DNSName(name) = name else { return None };
        Some(name.to_ascii_lowercase())
    };
    extension.value.general_names.iter().filter_map(of_host).collect()
}

/// `2026-11-27 09:00:00 UTC`
pub fn date(unix_s: i64) -> String {
    let at = Timestamp::from_second(unix_s).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

const NEW_CERT: &str = "put a valid certificate there";
/// What stands in the certificate for unknown names: a name that cannot exist (RFC 2606, 2).
const STAND_IN: &str = "no-certificate-for-this-name.invalid";
const CHAIN_FILE_BYTES_MAX: usize = 256 << 10;
const KEY_FILE_BYTES_MAX: usize = 64 << 10;
/// A chain goes out whole in a buffer of the worker's; real ones are 2 to 6 KB.
const CHAIN_BYTES_MAX: usize = 12 << 10;
