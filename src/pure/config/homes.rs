//! Where packages live: on one registry, or on several that stand in for each other.

use super::file::{Package, PackageWritten, Registry};
use super::problem::quoted;
use super::section::{Document, Entry};
use super::values::{Credentials, Delivery};
use crate::pure::oci::backend::Backend;

/// The packages that say where they live, and that of those that do not.
pub(super) fn homes(
    document: &mut Document<'_>,
    written: Vec<Entry<PackageWritten>>,
) -> Vec<Entry<Package>> {
    let mut packages = Vec::with_capacity(written.len());
    for Entry { index, line, value } in written {
        let PackageWritten { domain, name, backend, backends, failover_on_404, .. } = value;
        let PackageWritten { delivery, credentials, id, public, .. } = value;
        let spot = |key| ("packages", Some(index), key);
        let home_key = if backend.is_some() { "backend" } else { "backends" };
        let mut homes = match (backend, backends) {
            (Some(_), backends) if !backends.is_empty() => {
                let what = "stands beside backend; write all of them here, in order, and leave \
                            backend out";
                document.wrong(spot("backends"), what);
                continue;
            }
            (Some(backend), _) => vec![backend].into_iter(),
            (None, backends) => backends.into_iter(),
        };
        let Some(backend) = homes.next() else {
            let what = "is missing; add where the package lives, as backend = \
                        \"ghcr.io/acme/rocket\"";
            document.wrong(spot("backend"), what);
            continue;
        };
        let others: Vec<Backend> = homes.collect();
        let value = Package {
            domain,
            name,
            backend,
            others,
            home_key,
            failover_on_404,
            delivery,
            credentials,
            id,
            public,
        };
        packages.push(Entry { index, line, value });
    }
    packages
}

/// The rest of a name is carried over to each of its homes.
pub(super) fn stars_match(document: &mut Document<'_>, packages: &[Entry<Package>]) {
    for Entry { index, value, .. } in packages {
        let (name, star) = (&value.name, value.name.star);
        let Some(home) = value.homes().find(|home| home.star != star) else {
            continue;
        };
        let what = match star {
            Some(star) => format!(
                "has to end in `{star}` as the name {} does: the rest of a name is carried over",
                quoted(&name.to_string()),
                star = star.as_str(),
            ),
            None => format!(
                "has a star, but the name {} has none; name one repository",
                quoted(&name.to_string())
            ),
        };
        let which = if value.others.is_empty() {
            String::new()
        } else {
            format!("{}/{}: ", home.authority, home.repository)
        };
        document.wrong(("packages", Some(*index), value.home_key), which + &what);
    }
}

/// Several registries can stand in for each other only where the gateway asks them itself.
pub(super) fn others_can_stand_in(
    document: &mut Document<'_>,
    registries: &[Entry<Registry>],
    packages: &[Entry<Package>],
) {
    for Entry { index, value, .. } in packages {
        let mut wrong = |key, what: String| document.wrong(("packages", Some(*index), key), what);
        if value.others.is_empty() {
            if value.failover_on_404 {
                let what = "there is only one registry; write several as `backends`";
                wrong("failover_on_404", what.to_owned());
            }
            continue;
        }
        if value.delivery == Delivery::Redirect {
            let what = "redirect sends clients to one registry; with several backends use \"auto\", \
                        \"broker\" or \"stream\"";
            wrong("delivery", what.to_owned());
        }
        match value.credentials {
            Credentials::None => {}
            Credentials::Client => {
                let what = "several registries do not know a client's login alike; with credentials \
                            = \"client\" name one as `backend`";
                wrong("backends", what.to_owned());
            }
            Credentials::Registry => {
                let lacks = |home: &&Backend| {
                    !registries.iter().any(|entry| {
                        entry.value.host == home.authority && entry.value.username.is_some()
                    })
                };
                for home in value.others.iter().filter(lacks) {
                    wrong("credentials", needs_account(&home.authority));
                }
            }
        }
    }
}

/// What is said where an account is missing.
pub(super) fn needs_account(authority: &str) -> String {
    format!(
        "needs your account at {authority}; add a section [[registries]] for this host with a \
         username and a password_file"
    )
}
