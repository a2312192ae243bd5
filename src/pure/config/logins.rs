//! What the file itself shows of logins that cannot work.

use std::collections::{BTreeMap, BTreeSet};

use super::file::{Package, Registry};
use super::homes::needs_account;
use super::problem::Warning;
use super::section::{Document, Entry};
use super::values::{Credentials, Delivery, Domain, Gateway};
use crate::pure::oci::backend::{authority_of, split_port};
use crate::pure::route::table::{Ports, TOKEN};

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
    for entry in packages {
        let wrong = match entry.value.credentials {
            Credentials::None => continue,
            Credentials::Registry => of_ours(&entry.value, registries),
            Credentials::Client => of_clients(&entry.value),
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
        wrong.push(("credentials", needs_account(&backend.authority)));
    }
    wrong
}

/// Clients log in at the domain, which needs a name of its own.
fn of_clients(package: &Package) -> Wrong {
    let Package { domain, delivery, .. } = package;
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
    wrong
}

/// Where clients of a domain are sent to log in, and who checks it.
pub(super) fn domains_can_log_in(
    document: &mut Document<'_>,
    domains: &[Entry<Domain>],
    packages: &[Entry<Package>],
) {
    for Entry { index, value: Domain { host, public_url, login, .. }, .. } in domains {
        let spot = |key| ("domains", Some(*index), key);
        if host == "*" {
            for (key, is_there) in
                [("public_url", public_url.is_some()), ("login", login.is_some())]
            {
                if is_there {
                    let what = "is not for `*`, which clients cannot be sent to; name the domain";
                    document.wrong(spot(key), what);
                }
            }
            continue;
        }
        let named = public_url.as_deref().map(|url| split_port(authority_of(url)).0);
        if let Some(named) = named.filter(|named| named != host) {
            let what = format!("names {named}, but this domain is {host}; write where it is found");
            document.wrong(spot("public_url"), what);
        }
        let lives_there = |one: &Entry<Package>| {
            one.value.domain == *host
                && one.value.credentials == Credentials::Client
                && Some(&one.value.backend.authority) == login.as_ref()
        };
        if let Some(login) = login.as_ref().filter(|_| !packages.iter().any(lives_there)) {
            let what = format!(
                "no package of {host} with credentials = \"client\" lives on {login}; name a registry \
                 that clients log in at"
            );
            document.wrong(spot("login"), what);
        }
    }
}

/// What works, but hardly as it is meant.
pub(super) fn odd_logins(
    document: &Document<'_>,
    gateway: Option<&Gateway>,
    domains: &[Entry<Domain>],
    packages: &[Entry<Package>],
) -> Vec<Warning> {
    let mut homes: BTreeMap<&str, (usize, BTreeSet<&str>)> = BTreeMap::new();
    let with_logins = |one: &&Entry<Package>| one.value.credentials == Credentials::Client;
    for Entry { index, value: Package { domain, backend, .. }, .. } in
        packages.iter().filter(with_logins)
    {
        let (_, homes) = homes.entry(domain).or_insert_with(|| (*index, BTreeSet::new()));
        homes.insert(&backend.authority);
    }
    let mut found = Vec::new();
    for (domain, (index, homes)) in homes.into_iter().filter(|(domain, _)| *domain != "*") {
        let spot = ("packages", Some(index), "credentials");
        let section = domains.iter().map(|entry| &entry.value).find(|one| one.host == domain);
        let has_url = section.is_some_and(|one| one.public_url.is_some());
        if let Some(gateway) = gateway.filter(|one| !has_url && one.listen_tls.is_empty()) {
            let what = format!(
                "clients are sent to {}{TOKEN} to log in; if they find {domain} elsewhere, say so in \
                 its [[domains]] with public_url",
                Ports::of(gateway).plain_url(domain)
            );
            found.push(document.problem(spot, what));
        }
        if homes.len() > 1 && section.is_none_or(|one| one.login.is_none()) {
            let homes: Vec<&str> = homes.into_iter().collect();
            let what = format!(
                "a `docker login {domain}` is not checked, since clients log in at {} here; say in \
                 its [[domains]] with login who checks it",
                homes.join(" and ")
            );
            found.push(document.problem(spot, what));
        }
    }
    found
}
