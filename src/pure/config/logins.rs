//! What the file itself shows of logins that cannot work.

use std::collections::HashMap;

use super::file::{Package, Registry};
use super::problem::quoted;
use super::section::{Document, Entry};
use super::values::{Credentials, Delivery};

/// An account is a name and one password.
pub(super) fn accounts_are_whole(document: &mut Document<'_>, registries: &[Entry<Registry>]) {
    for Entry { index, value, .. } in registries {
        let Registry { username, password_file, password_env, .. } = value;
        let (key, what) = match (username, password_file, password_env) {
            (None, None, None) | (Some(_), Some(_), None) | (Some(_), None, Some(_)) => continue,
            (_, Some(_), Some(_)) => {
                ("password_env", "stands beside password_file; leave one of them out")
            }
            (Some(_), None, None) => {
                ("username", "has no password; add password_file or password_env")
            }
            (None, Some(_), None) => ("password_file", "has no username; add it"),
            (None, None, Some(_)) => ("password_env", "has no username; add it"),
        };
        document.wrong(("registries", Some(*index), key), what);
    }
}

/// Whose login a registry sees decides how a package can be delivered.
pub(super) fn logins_can_work(
    document: &mut Document<'_>,
    registries: &[Entry<Registry>],
    packages: &[Entry<Package>],
) {
    let homes = Homes::of(packages);
    for entry in packages {
        let wrong = match entry.value.credentials {
            Credentials::None => continue,
            Credentials::Registry => of_ours(&entry.value, registries),
            Credentials::Client => of_clients(&entry.value, &homes),
        };
        for (key, what) in wrong {
            document.wrong(("packages", Some(entry.index), key), what);
        }
    }
}

type Wrong = Vec<(&'static str, String)>;

fn of_ours(package: &Package, registries: &[Entry<Registry>]) -> Wrong {
    let Package { backend, delivery, .. } = package;
    let mut wrong = Wrong::new();
    if *delivery == Delivery::Redirect {
        let what = "redirect sends clients to the registry without your account; with credentials = \
                    \"registry\" use \"auto\", \"broker\" or \"stream\"";
        wrong.push(("delivery", what.to_owned()));
    }
    let is_account = |entry: &Entry<Registry>| {
        entry.value.host == backend.authority && entry.value.username.is_some()
    };
    if !registries.iter().any(is_account) {
        let what = format!(
            "needs your account at {}; add a section [[registries]] for this host with a username \
             and a password_file",
            backend.authority
        );
        wrong.push(("credentials", what));
    }
    wrong
}

/// The registry's challenge is relayed, so clients ask its token service for the name they know,
/// and there is one registry to a domain.
fn of_clients(package: &Package, homes: &Homes<'_>) -> Wrong {
    let Package { domain, name, backend, delivery, .. } = package;
    let mut wrong = Wrong::new();
    if *delivery == Delivery::Redirect {
        let what = "redirect loses the client's login on its way to another host; with credentials \
                    = \"client\" use \"auto\", \"broker\" or \"stream\"";
        wrong.push(("delivery", what.to_owned()));
    }
    if domain == "*" {
        let what = "\"client\" is not for `*`, where nobody can log in; name the domain";
        wrong.push(("credentials", what.to_owned()));
    }
    if let Some(other) = homes.another(package) {
        let what = format!(
            "\"client\" needs one registry for all packages of a domain, those of `*` included; the \
             one in line {} lives on {}; give one of them a domain of its own",
            other.line, other.value.backend.authority
        );
        wrong.push(("credentials", what));
    }
    if (&name.prefix, name.star) != (&backend.repository, backend.star) {
        let there =
            [backend.repository.as_str(), backend.star.map_or("", |star| star.as_str())].concat();
        let what = format!(
            "is not of the same name as {}, by which clients log in where credentials = \"client\"; \
             serve it as {}",
            quoted(&name.to_string()),
            quoted(&there)
        );
        wrong.push(("backend", what));
    }
    wrong
}

/// Of each domain a package on each of at most two registries: more are not told apart.
struct Homes<'p>(HashMap<&'p str, Vec<&'p Entry<Package>>>);

impl<'p> Homes<'p> {
    fn of(packages: &'p [Entry<Package>]) -> Self {
        let mut homes: HashMap<&str, Vec<&Entry<Package>>> = HashMap::new();
        for entry in packages {
            let known = homes.entry(&entry.value.domain).or_default();
            if known.len() < 2 && known.iter().all(|one| !is_neighbour(&one.value, &entry.value)) {
                known.push(entry);
            }
        }
        Self(homes)
    }

    /// One that clients of the package's domain can pull, on another registry.
    fn another(&self, package: &Package) -> Option<&'p Entry<Package>> {
        let of_domain = [package.domain.as_str(), "*"].map(|domain| self.0.get(domain));
        let mut all = of_domain.into_iter().flatten().flatten();
        all.find(|one| !is_neighbour(&one.value, package)).copied()
    }
}

fn is_neighbour(one: &Package, other: &Package) -> bool {
    (one.backend.scheme, &one.backend.authority) == (other.backend.scheme, &other.backend.authority)
}
