//! An authority for one run, and a certificate that it vouches for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::NAME;

/// Writes the registry's certificate and key into `room`, and returns the authority's file.
pub(super) fn write(room: &Path) -> io::Result<PathBuf> {
    let (authority, certificate, key) = make().map_err(io::Error::other)?;
    let file = room.join("authority.crt");
    fs::write(&file, authority)?;
    fs::write(room.join("registry.crt"), certificate)?;
    fs::write(room.join("registry.key"), key)?;
    Ok(file)
}

/// All three in PEM.
fn make() -> Result<(String, String, String), rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    // A name of its own: who signs for himself is not believed.
    params.distinguished_name.push(DnType::CommonName, "authority of a load test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let names = vec![NAME.to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    Ok((authority.pem(), certificate.pem(), key.serialize_pem()))
}
