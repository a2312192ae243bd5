//! Where is listened, and the certificates that are shown there.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::file::Package;
use super::problem::Warning;
use super::section::{Document, Entry, Spot};
use super::values::{Acme, Admin, CertificateFiles, Domain, Gateway};

/// The operator's own door is not one of the clients'.
pub(super) fn admin_stands_apart(
    document: &mut Document<'_>,
    gateway: Option<&Gateway>,
    admin: Option<&Admin>,
) {
    let (Some(gateway), Some(admin)) = (gateway, admin) else {
        return;
    };
    let collides = |public: &&SocketAddr| collide(public, &admin.listen);
    for (key, listen) in [("listen", &gateway.listen), ("listen_tls", &gateway.listen_tls)] {
        if let Some(public) = listen.iter().find(collides) {
            let line = document.line(("gateway", None, key));
            let what = format!(
                "collides with {public} of gateway.{key} in line {line}; give it a port of its own"
            );
            document.wrong(("admin", None, "listen"), what);
        }
    }
}

/// The dashboard's host name is no package's: what it is asked for never reaches a registry.
pub(super) fn admin_domain_stands_apart(
    document: &mut Document<'_>,
    admin: Option<&Admin>,
    domains: &[Entry<Domain>],
    packages: &[Entry<Package>],
) {
    let Some(domain) = admin.and_then(|admin| admin.domain.as_deref()) else {
        return;
    };
    let of_packages =
        packages.iter().map(|one| ("packages", one.index, "domain", &one.value.domain));
    let of_domains = domains.iter().map(|one| ("domains", one.index, "host", &one.value.host));
    let all: Vec<_> = of_packages
        .chain(of_domains)
        .filter(|(.., host)| *host == domain)
        .map(|(section, index, key, _)| (section, Some(index), key))
        .collect();
    let line = document.line(("admin", None, "domain"));
    for spot in all {
        let what = format!(
            "{domain} is the dashboard's name (admin.domain, line {line}); they cannot share one"
        );
        document.wrong(spot, what);
    }
}

/// No port speaks both plain HTTP and TLS.
pub(super) fn listeners_stand_apart(document: &mut Document<'_>, gateway: Option<&Gateway>) {
    let Some(gateway) = gateway else {
        return;
    };
    for sealed in &gateway.listen_tls {
        if let Some(plain) = gateway.listen.iter().find(|plain| collide(plain, sealed)) {
            let line = document.line(("gateway", None, "listen"));
            let what = format!(
                "{sealed} collides with {plain} of gateway.listen in line {line}; give TLS a port of \
                 its own"
            );
            document.wrong(("gateway", None, "listen_tls"), what);
        }
    }
}

/// Whether two sockets cannot both have their address.
fn collide(one: &SocketAddr, other: &SocketAddr) -> bool {
    let overlap = one.ip() == other.ip()
        || one.is_ipv4() == other.is_ipv4()
            && (one.ip().is_unspecified() || other.ip().is_unspecified());
    overlap && one.port() == other.port() && one.port() != 0
}

/// For each name there is one certificate.
pub(super) fn certificates_are_apart(
    document: &mut Document<'_>,
    certificates: &[Entry<CertificateFiles>],
) {
    let mut first: HashMap<&str, Spot<'_>> = HashMap::new();
    for entry in certificates {
        let spot = ("certificates", Some(entry.index), "domains");
        for domain in &entry.value.domains {
            if let Some(earlier) = first.insert(domain, spot) {
                let line = document.line(earlier);
                let what = format!(
                    "{domain} has a certificate already, in line {line}; leave one of them out"
                );
                document.wrong(spot, what);
            }
        }
    }
}

/// An account with an authority has a name and a key.
pub(super) fn binding_is_whole(document: &mut Document<'_>, acme: Option<&Acme>) {
    let Some(Acme { eab_kid, eab_key_file, .. }) = acme else {
        return;
    };
    let (has, lacks) = match (eab_kid, eab_key_file) {
        (Some(_), None) => ("eab_kid", "eab_key_file"),
        (None, Some(_)) => ("eab_key_file", "eab_kid"),
        (Some(_), Some(_)) | (None, None) => return,
    };
    document
        .wrong(("acme", None, has), format!("needs {lacks} beside it; add it, or leave both out"));
}

/// Certificates without a door to show them at, or a door without any.
pub(super) fn odd_certificates(
    document: &Document<'_>,
    gateway: Option<&Gateway>,
    certificates: &[Entry<CertificateFiles>],
) -> Vec<Warning> {
    let Some(gateway) = gateway else {
        return Vec::new();
    };
    match (gateway.listen_tls.is_empty(), certificates.first()) {
        (true, Some(first)) => {
            let what =
                "is shown to nobody, since gateway.listen_tls is empty; add an address there";
            vec![document.problem(("certificates", Some(first.index), ""), what)]
        }
        (false, None) if !document.has("acme") => {
            let what =
                "clients find no certificate here that they trust; add [acme] or [[certificates]]";
            vec![document.problem(("gateway", None, "listen_tls"), what)]
        }
        (true, None) | (false, _) => Vec::new(),
    }
}
