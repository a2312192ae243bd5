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
        let passwords = usize::from(password_file.is_some()) + usize::from(password_env.is_some());
        let (key, what) = match (username, passwords) {
            (None, 0) | (Some(_), 1) => continue,
            (Some(_), 0) => {
                ("username", "has no password beside it; add password_file or password_env")
            }
            (None, _) if password_file.is_some() => {
                ("password_file", "has no username beside it; add username, or leave it out")
            }
            (None, _) => {
                ("password_env", "has no username beside it; add username, or leave it out")
            }
            (Some(_), _) => ("password_env", "stands beside password_file; leave one of them out"),
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
    let mut first_of_domain: HashMap<&str, &Entry<Package>> = HashMap::new();
    let mut second_registry: HashMap<&str, &Entry<Package>> = HashMap::new();
    for entry in packages {
        let domain = entry.value.domain.as_str();
        let first = first_of_domain.entry(domain).or_insert(entry);
        let registry = |entry: &Entry<Package>| {
            (entry.value.backend.scheme, entry.value.backend.authority.clone())
        };
        if registry(first) != registry(entry) {
            second_registry.entry(domain).or_insert(entry);
        }
    }
    for entry in packages {
        let Package { domain, name, backend, delivery, credentials, .. } = &entry.value;
        let mut wrong = |key: &str, what: String| {
            document.wrong(("packages", Some(entry.index), key), what);
        };
        match credentials {
            Credentials::None => {}
            Credentials::Registry => {
                if *delivery == Delivery::Redirect {
                    wrong(
                        "delivery",
                        "redirect sends clients to the registry without your account; \
                        use \"broker\" or \"stream\" with credentials = \"registry\""
                            .to_owned(),
                    );
                }
                let has_account = |one: &Entry<Registry>| {
                    one.value.host == backend.authority && one.value.username.is_some()
                };
                if !registries.iter().any(has_account) {
                    wrong(
                        "credentials",
                        format!(
                            "needs your account at {}; add a section [[registries]] with this host, \
                         username and password_file",
                            backend.authority
                        ),
                    );
                }
            }
            Credentials::Client => {
                if *delivery == Delivery::Redirect {
                    wrong(
                        "delivery",
                        "redirect loses the client's login on its way to another host; \
                        use \"auto\", \"broker\" or \"stream\" with credentials = \"client\""
                            .to_owned(),
                    );
                }
                if domain == "*" {
                    wrong(
                        "credentials",
                        "\"client\" needs a domain of its own, for `*` nobody can \
                        log in to; name the domain"
                            .to_owned(),
                    );
                }
                if let Some(other) = second_registry.get(domain.as_str()) {
                    wrong(
                        "credentials",
                        format!(
                            "\"client\" needs one registry to a domain, so that it is clear whose login \
                         is asked for; the package in line {} lives on another one",
                            other.line
                        ),
                    );
                }
                let there = backend.star.map_or_else(
                    || backend.repository.clone(),
                    |star| format!("{}{}", backend.repository, star.as_str()),
                );
                if name.to_string() != there {
                    wrong(
                        "backend",
                        format!(
                            "has another name than {}, but with credentials = \"client\" clients ask for \
                         tokens by the public name; give both the same name",
                            quoted(&name.to_string())
                        ),
                    );
                }
            }
        }
    }
}
