//! From the text of a configuration file to its values, or to everything that is wrong with it.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};

use toml::de::{DeTable, DeValue};

use super::file::{self, SECTIONS};
use super::homes::{homes, others_can_stand_in, stars_match};
use super::listeners::{
    admin_domain_stands_apart, admin_stands_apart, binding_is_whole, certificates_are_apart,
    listeners_stand_apart, odd_certificates,
};
use super::logins::{accounts_are_whole, domains_can_log_in, logins_can_work, odd_logins};
use super::problem::{Problem, Problems, Warning};
use super::section::{Document, Entry, Spot};
use super::syntax::Broken;
use super::values::{
    Acme, Admin, Alert, Cache, CertificateFiles, Config, Counting, Credentials, Domain, Gateway,
    Insight, Limits, Log, Package, Password, Registry, UniqueWindow, Upstream,
};
use crate::pure::limits::{DATABASES_MAX, PACKAGES_MAX};
use crate::pure::oci::backend::{Backend, Scheme};
use crate::pure::origin::Url;

/// Checks the text of the file of this name: its values and what is odd about them, or all that is
/// wrong with them, in the order of the lines. Nothing but the text is asked.
pub fn check(file_name: &str, text: &str) -> Result<(Config, Vec<Warning>), Vec<Problem>> {
    check_with(file_name, text, &[])
}

/// The same with packages that stand nowhere in the file, behind those that do.
pub(super) fn check_with(
    file_name: &str,
    text: &str,
    more: &[DeTable<'_>],
) -> Result<(Config, Vec<Warning>), Vec<Problem>> {
    let mut problems = Problems::new(file_name, text);
    if let Ok(root) = DeTable::parse(text) {
        let mut document = Document::new(root.into_inner(), problems, false, SECTIONS);
        let in_file = document.add("packages", more.iter().cloned().map(DeValue::Table));
        return read(document, in_file);
    }
    let Broken { readable, mistakes } = Broken::read(text);
    for (at, mistake) in mistakes {
        problems.add(at, "TOML", mistake);
    }
    let (root, _) = DeTable::parse_recoverable(&readable);
    read(Document::new(root.into_inner(), problems, true, SECTIONS), usize::MAX)
}

/// Of the packages, so many stand `in_file`.
fn read(
    mut document: Document<'_>,
    in_file: usize,
) -> Result<(Config, Vec<Warning>), Vec<Problem>> {
    let gateway = document.once::<Gateway>();
    let admin = document.once::<Admin>();
    let log = document.once::<Log>();
    let counting = document.once::<Counting>();
    let limits = document.once::<Limits>();
    let upstream = document.once::<Upstream>();
    let cache = document.once::<Cache>();
    let insight = document.once::<Insight>();
    let domains = document.several::<Domain>();
    let registries = document.several::<file::Registry>();
    let certificates = document.several::<CertificateFiles>();
    let alerts = document.several::<file::Alert>();
    let acme = document.once::<Acme>().map(|acme| document.has("acme").then_some(acme));
    let packages = document.several::<file::PackageWritten>();
    let mut packages = homes(&mut document, packages);

    apply_plain_http(&registries, &mut packages);
    let listening = listening(gateway.as_ref(), admin.as_ref());
    admin_stands_apart(&mut document, gateway.as_ref(), admin.as_ref());
    admin_domain_stands_apart(&mut document, admin.as_ref(), &domains, &packages);
    nothing_twice(&mut document, "domains", "host", &domains, |one| Some(&one.host));
    nothing_twice(&mut document, "registries", "host", &registries, |one| Some(&one.host));
    listeners_stand_apart(&mut document, gateway.as_ref());
    certificates_are_apart(&mut document, &certificates);
    binding_is_whole(&mut document, acme.as_ref().and_then(Option::as_ref));
    nothing_twice(&mut document, "packages", "name", &packages, |one| {
        Some((&one.domain, &one.name))
    });
    nothing_twice(&mut document, "packages", "id", &packages, |one| one.id.as_ref());
    nothing_twice(&mut document, "alerts", "url", &alerts, |one| Some(&one.url));
    stars_match(&mut document, &packages);
    no_backend_is_ourselves(&mut document, &domains, &packages, &listening);
    not_too_many(&mut document, &packages);
    not_too_many_databases(&mut document, insight.as_ref());
    others_can_stand_in(&mut document, &registries, &packages);
    accounts_are_whole(&mut document, &registries);
    logins_can_work(&mut document, &registries, &packages);
    domains_can_log_in(&mut document, &domains, &packages);
    let mut warnings = warnings(&document, &listening, &domains, &registries, &packages);
    warnings.extend(odd_logins(&document, gateway.as_ref(), &domains, &packages));
    warnings.extend(odd_certificates(&document, gateway.as_ref(), &certificates));
    warnings.extend(open_alerts(&document, &alerts));
    if insight.as_ref().is_some_and(|insight| insight.unique_window == UniqueWindow::Month) {
        let what = "for a month at a time it can be told in memory that two pulls are one client's; \
                    \"day\" forgets it each day";
        warnings.push(document.problem(("insight", None, "unique_window"), what));
    }
    warnings.sort_by_key(|warning| warning.line);

    if document.problems.is_empty()
        && let (Some(gateway), Some(admin), Some(log)) = (gateway, admin, log)
        && let (Some(counting), Some(limits)) = (counting, limits)
        && let (Some(upstream), Some(cache), Some(insight)) = (upstream, cache, insight)
        && let Some(acme) = acme
    {
        let domains = domains.into_iter().map(|entry| entry.value).collect();
        let registries = registries.into_iter().map(registry).collect();
        let packages = packages.into_iter().map(|entry| package(entry, in_file)).collect();
        let config = Config {
            gateway,
            admin,
            log,
            counting,
            limits,
            upstream,
            cache,
            insight,
            domains,
            registries,
            certificates: certificates.into_iter().map(|entry| entry.value).collect(),
            acme,
            alerts: alerts.into_iter().map(alert).collect(),
            packages,
        };
        return Ok((config, warnings));
    }
    Err(document.problems.into_sorted())
}

fn package(Entry { value, line, index }: Entry<file::Package>, in_file: usize) -> Package {
    let line = (index < in_file).then_some(line);
    let file::Package { domain, name, backend, others, failover_on_404, .. } = value;
    let file::Package { delivery, credentials, id, public, .. } = value;
    Package {
        domain,
        name,
        backend,
        others,
        failover_on_404,
        delivery,
        credentials,
        id,
        public,
        line,
    }
}

fn registry(Entry { value, line, .. }: Entry<file::Registry>) -> Registry {
    let file::Registry { password_file, password_env, .. } = value;
    let password = password_file.map(Password::File).or_else(|| password_env.map(Password::Env));
    let file::Registry { host, username, ca_file, plain_http, token_hosts, .. } = value;
    Registry { host, username, password, ca_file, plain_http, token_hosts, line }
}

fn alert(Entry { value, line, .. }: Entry<file::Alert>) -> Alert {
    let file::Alert { url, secret_file, events } = value;
    Alert { url, secret_file, events, line }
}

fn apply_plain_http(registries: &[Entry<file::Registry>], packages: &mut [Entry<file::Package>]) {
    let plain: HashSet<&str> = registries
        .iter()
        .filter(|entry| entry.value.plain_http)
        .map(|entry| entry.value.host.as_str())
        .collect();
    for Entry { value: file::Package { backend, others, .. }, .. } in packages {
        for home in std::iter::once(backend).chain(others) {
            if plain.contains(home.authority.as_str()) {
                home.scheme = Scheme::Http;
            }
        }
    }
}

fn listening(gateway: Option<&Gateway>, admin: Option<&Admin>) -> Vec<SocketAddr> {
    let public = gateway.iter().flat_map(|it| it.listen.iter().chain(&it.listen_tls).copied());
    public.chain(admin.map(|admin| admin.listen)).collect()
}

/// No two entries may share what `key` holds; the later one names the earlier one's line.
fn nothing_twice<'e, T, V: Eq + Hash>(
    document: &mut Document<'_>,
    section: &str,
    name: &str,
    entries: &'e [Entry<T>],
    value: impl Fn(&'e T) -> Option<V>,
) {
    let mut first: HashMap<V, Spot<'_>> = HashMap::new();
    for entry in entries {
        let spot = (section, Some(entry.index), name);
        let Some(value) = value(&entry.value) else {
            continue;
        };
        if let Some(earlier) = first.get(&value) {
            let (line, earlier) = (document.line(spot), document.line(*earlier));
            let of = if name == "name" { " of the same domain" } else { "" };
            let what = format!(
                "the same {name}{of} stands in line {earlier} and in line {line}; leave one out"
            );
            document.wrong(spot, what);
        } else {
            first.insert(value, spot);
        }
    }
}

/// A backend that is the gateway would send clients round in circles. One of our host names on
/// another port is another service; on a listening port, or on the ports that stand in front of
/// every gateway, it is ourselves.
fn no_backend_is_ourselves(
    document: &mut Document<'_>,
    domains: &[Entry<Domain>],
    packages: &[Entry<file::Package>],
    listening: &[SocketAddr],
) {
    let ours: HashSet<&str> = domains
        .iter()
        .map(|entry| entry.value.host.as_str())
        .chain(packages.iter().map(|entry| entry.value.domain.as_str()))
        .collect();
    let homes = |entry: &Entry<file::Package>| {
        let (index, key) = (entry.index, entry.value.home_key);
        entry.value.homes().map(move |home| (index, key, home.clone())).collect::<Vec<_>>()
    };
    for (index, key, backend) in packages.iter().flat_map(homes) {
        let port = backend.port();
        let is_our_port =
            matches!(port, 80 | 443) || listening.iter().any(|address| address.port() == port);
        let what = if ours.contains(backend.host()) && is_our_port {
            format!("names {}, which is one of the gateway's own domains", backend.authority)
        } else if let Some(address) = listening.iter().find(|address| reaches(&backend, address)) {
            format!("names {}, where the gateway itself listens ({address})", backend.authority)
        } else {
            continue;
        };
        let what = format!("{what}; name the registry that the package lives on");
        document.wrong(("packages", Some(index), key), what);
    }
}

/// Whether a client on this machine that dials the backend reaches this listener.
fn reaches(backend: &Backend, listener: &SocketAddr) -> bool {
    if backend.port() != listener.port() {
        return false;
    }
    let host = backend.host();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let is_this_machine = match address {
        Some(address) => address.is_loopback() || address.is_unspecified(),
        None => host == "localhost",
    };
    let is_every_address = listener.ip().is_unspecified();
    address == Some(listener.ip())
        || is_this_machine && is_every_address
        || host == "localhost" && listener.ip().is_loopback()
}

fn not_too_many(document: &mut Document<'_>, packages: &[Entry<file::Package>]) {
    if let Some(entry) = packages.get(PACKAGES_MAX) {
        let what = format!("more than {PACKAGES_MAX} packages; serve collections, as `acme/*`");
        document.wrong(("packages", Some(entry.index), "name"), what);
    }
}

fn not_too_many_databases(document: &mut Document<'_>, insight: Option<&Insight>) {
    if insight.is_some_and(|insight| insight.databases.len() > DATABASES_MAX) {
        let what = format!("more than {DATABASES_MAX} databases; leave some out");
        document.wrong(("insight", None, "databases"), what);
    }
}

/// What goes to these can be read on its way.
fn open_alerts(document: &Document<'_>, alerts: &[Entry<file::Alert>]) -> Vec<Warning> {
    let is_open = |alert: &file::Alert| {
        let origin = Url::parse(alert.url.as_bytes()).map(|url| url.origin);
        origin.is_ok_and(|origin| origin.scheme == Scheme::Http && !is_this_machine(&origin.host))
    };
    let open = alerts.iter().filter(|entry| is_open(&entry.value));
    let what = "is plain HTTP to another machine: messages can be read on their way; https is not";
    open.map(|entry| document.problem(("alerts", Some(entry.index), "url"), what)).collect()
}

/// Whether a host, as it stands in a URL, is this machine.
fn is_this_machine(host: &str) -> bool {
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

fn warnings(
    document: &Document<'_>,
    listening: &[SocketAddr],
    domains: &[Entry<Domain>],
    registries: &[Entry<file::Registry>],
    packages: &[Entry<file::Package>],
) -> Vec<Warning> {
    let mut found = Vec::new();
    let packages = || packages.iter().map(|entry| &entry.value);
    if packages().next().is_none() {
        let what = "there is none, so nothing can be pulled; add a section [[packages]]";
        found.push(document.problem(("packages", None, ""), what));
    }
    let served: HashSet<&str> = packages().map(|one| one.domain.as_str()).collect();
    for entry in domains {
        if !served.contains(entry.value.host.as_str()) && !served.contains("*") {
            let what = format!("no package is served at {}", entry.value.host);
            found.push(document.problem(("domains", Some(entry.index), "host"), what));
        }
    }
    let hosts =
        |one: &'_ file::Package| one.homes().map(|home| home.authority.clone()).collect::<Vec<_>>();
    let used: HashSet<String> = packages().flat_map(hosts).collect();
    for entry in registries {
        if !used.contains(entry.value.host.as_str()) {
            let what = format!("no package lives on {}", entry.value.host);
            found.push(document.problem(("registries", Some(entry.index), "host"), what));
        }
    }
    let with_account = || packages().filter(|one| one.credentials == Credentials::Registry);
    let lent: HashSet<String> = with_account().flat_map(hosts).collect();
    for entry in registries {
        let file::Registry { host, username, .. } = &entry.value;
        if username.is_some() && used.contains(host.as_str()) && !lent.contains(host.as_str()) {
            let what = format!(
                "this account is not used: no package on {host} has credentials = \"registry\""
            );
            found.push(document.problem(("registries", Some(entry.index), "username"), what));
        }
    }
    if let Some(admin) = listening.last().filter(|address| !address.ip().is_loopback()) {
        let what = format!(
            "{admin} can be reached from other machines, and asks nobody who looks at /metrics"
        );
        found.push(document.problem(("admin", None, "listen"), what));
    }
    found
}
