//! A configuration compiled for the workers: flat, immutable, read by all of them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::pure::address::is_public;
use crate::pure::client::ClientTable;
use crate::pure::config::values::{Cache, Cidr, Config, Limits, Upstream};
use crate::pure::http1::head::HeadLimits;
use crate::pure::limits::HOST_BYTES_MAX;
use crate::pure::oci::backend::{Scheme, authority_of, is_address};
use crate::pure::origin::{Origin, Url};
use crate::pure::route::table::{Ports, Table, host_name};

/// What a worker decides by. Built once per configuration, never written afterwards.
pub struct Snapshot {
    /// Which rule serves a host and name.
    pub routes: Table,
    /// The registries that packages live on, each once; rules name them by their place here.
    pub registries: Vec<Registry>,
    /// Which client a user agent is, and what it can be trusted with.
    pub clients: ClientTable,
    /// Bounds of the request head.
    pub head: HeadLimits,
    /// `[limits]`, as configured.
    pub limits: Limits,
    /// `[upstream]`, as configured.
    pub upstream: Upstream,
    /// `[cache]`, as configured.
    pub cache: Cache,
    /// The gateway's own name on the way of a request (RFC 9110, 7.6.3).
    pub via: String,
    /// Peers whose word on the client's address is believed.
    pub trusted_proxies: Vec<Cidr>,
    /// The port that clients are sent to who come in plain HTTP, where they are.
    pub https_port: Option<u16>,
    /// Whether answers say which rule and delivery were chosen.
    pub explain_header: bool,
    /// The dashboard's host name, where it has one: lower case, without a port.
    dashboard: Option<String>,
    /// The control plane's socket that requests for it go to.
    dashboard_socket: PathBuf,
    /// `insight.k_public`, for what is shown to everybody.
    pub k_public: usize,
    /// What everybody may see at the dashboard, as far as the configuration says so: `<domain>/<name>`,
    /// patterns as written.
    pub public: Vec<String>,
    /// Counts up with each configuration that was adopted, from 1.
    pub generation: u64,
}

/// A registry that packages live on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// Where it is asked.
    pub origin: Origin,
    /// `https://ghcr.io/v2/`
    pub base: String,
    /// Hosts that may give its tokens, beside itself and the known ones.
    pub token_hosts: Vec<String>,
    /// Whether a package in the configuration file names it.
    pub is_in_file: bool,
}

/// What a snapshot is made from beside the configuration.
pub struct Circumstances<'c> {
    /// Which client a user agent is.
    pub clients: ClientTable,
    /// The gateway's own name on the way of a request.
    pub via: &'c str,
    /// The snapshot before, where there is one.
    pub before: Option<&'c Snapshot>,
    /// Now, in microseconds of the monotonic clock.
    pub now_us: u64,
}

impl Snapshot {
    /// Compiles `config`.
    pub fn build(config: &Config, generation: u64, circumstances: Circumstances<'_>) -> Self {
        let Circumstances { clients, via, before, now_us } = circumstances;
        let mut routes = Table::build(&config.packages, &config.domains);
        let ports = Ports::of(&config.gateway);
        routes.add_realms(&config.domains, ports);
        let in_file = in_file(config);
        let registries = routes.registries().map(|base| {
            let registry = registry(base, config);
            let place = (registry.origin.scheme, authority_of(base));
            let is_in_file = in_file.as_ref().is_none_or(|in_file| in_file.contains(&place));
            Registry { is_in_file, ..registry }
        });
        let registries: Vec<_> = registries.collect();
        routes.carry_over(before.map(|before| &before.routes), now_us);
        Self {
            routes,
            registries,
            clients,
            head: HeadLimits {
                head_bytes: config.limits.head_bytes,
                headers: config.limits.headers,
            },
            limits: config.limits.clone(),
            upstream: config.upstream.clone(),
            cache: config.cache.clone(),
            via: via.to_owned(),
            trusted_proxies: config.gateway.trusted_proxies.clone(),
            https_port: ports.tls.filter(|_| config.gateway.https_redirect),
            explain_header: config.gateway.explain_header,
            dashboard: config.admin.domain.clone(),
            // A running process keeps the directory that it has locked.
            dashboard_socket: before.map_or_else(
                || config.gateway.data_dir.join(DASHBOARD_SOCKET),
                |before| before.dashboard_socket.clone(),
            ),
            k_public: config.insight.k_public,
            public: public(config),
            generation,
        }
    }

    /// The socket that leads to the dashboard, if `host` is its name, as a client sent it.
    pub fn dashboard_at(&self, host: &[u8]) -> Option<&Path> {
        let dashboard = self.dashboard.as_ref()?;
        let mut room = [0; HOST_BYTES_MAX];
        let is_it = host_name(host, &mut room) == Some(dashboard.as_bytes());
        is_it.then_some(&self.dashboard_socket)
    }

    /// The dashboard's name, where it has one.
    pub fn dashboard_name(&self) -> Option<&str> {
        self.dashboard.as_deref()
    }

    /// Whether `address` is a trusted proxy's.
    pub fn trusts(&self, address: [u8; 16]) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }

    /// Whether `address`, which `host` (as [`Origin`] has it) resolved to, may be dialled at `port`:
    /// it is public, or the configuration allows it, or it is asked as the `registry` that a backend in
    /// the file writes as that very address. Where a redirect has led, or a person, nobody is asked as a
    /// registry: what the operator wrote for one package opens nothing to others'.
    pub fn may_dial(
        &self,
        registry: Option<usize>,
        host: &str,
        port: u16,
        address: [u8; 16],
    ) -> bool {
        let is_written = |Registry { origin, is_in_file, .. }: &Registry| {
            let is_address = host == "localhost" || is_address(host);
            *is_in_file && is_address && origin.host == host && origin.port == port
        };
        is_public(address)
            || registry.and_then(|at| self.registries.get(at)).is_some_and(is_written)
            || self.upstream.allows(host, address)
    }
}

fn public(config: &Config) -> Vec<String> {
    let public = config.packages.iter().filter(|package| package.public);
    public.map(|package| format!("{}/{}", package.domain, package.name)).collect()
}

#[expect(clippy::expect_used, reason = "made of a backend, whose host was checked")]
fn registry(base: &str, config: &Config) -> Registry {
    let Url { origin, .. } = Url::parse(base.as_bytes()).expect("the URL of a checked backend");
    let section = config.registries.iter().find(|one| one.host == authority_of(base));
    let token_hosts = section.map(|one| one.token_hosts.clone()).unwrap_or_default();
    Registry { origin, base: base.to_owned(), token_hosts, is_in_file: true }
}

/// The registries that packages in the file name; `None` where all packages stand there.
fn in_file(config: &Config) -> Option<HashSet<(Scheme, &str)>> {
    config.packages.iter().any(|one| one.line.is_none()).then_some(())?;
    let written = config.packages.iter().filter(|one| one.line.is_some());
    let homes = written.flat_map(|one| std::iter::once(&one.backend).chain(&one.others));
    Some(homes.map(|home| (home.scheme, &*home.authority)).collect())
}

/// The name in `data_dir` of the socket by which workers reach the dashboard.
pub const DASHBOARD_SOCKET: &str = "dashboard.sock";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::config::check;

    fn snapshot(text: &str) -> Snapshot {
        let (config, _) = check("f", text).expect("a configuration");
        let clients = ClientTable::built_in();
        let around = Circumstances { clients, via: "pullgate-1", before: None, now_us: 5 };
        Snapshot::build(&config, 1, around)
    }

    #[test]
    fn each_registry_stands_there_once() {
        let snapshot = snapshot(
            "[[packages]]\ndomain = \"a.b\"\nname = \"x\"\nbackend = \"ghcr.io/x\"\n\
             [[packages]]\ndomain = \"a.b\"\nname = \"y\"\nbackend = \"ghcr.io/y\"\n\
             [[packages]]\ndomain = \"c.d\"\nname = \"x\"\nbackend = \"http://127.0.0.1:5000/x\"\n\
             [[registries]]\nhost = \"ghcr.io\"\ntoken_hosts = [\"sso.acme.com\"]\n",
        );
        let told: Vec<_> = snapshot
            .registries
            .iter()
            .map(|one| format!("{} {} {:?}", one.origin, one.base, one.token_hosts))
            .collect();
        assert_eq!(
            told,
            [
                "https://ghcr.io https://ghcr.io/v2/ [\"sso.acme.com\"]",
                "http://127.0.0.1:5000 http://127.0.0.1:5000/v2/ []"
            ]
        );
        let loopback = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];
        let may_dial = |registry, host, port| snapshot.may_dial(registry, host, port, loopback);
        assert!(may_dial(Some(1), "127.0.0.1", 5000), "written in a backend");
        assert!(!may_dial(Some(0), "127.0.0.1", 5000), "but in another's");
        assert!(!may_dial(None, "127.0.0.1", 5000), "a redirect there");
        assert!(!may_dial(Some(1), "127.0.0.1", 5001), "nothing beside it");
        assert!(!may_dial(Some(0), "ghcr.io", 443), "a name that leads inside");
    }

    #[test]
    fn what_is_private_is_dialled_where_the_configuration_says_so() {
        let snapshot = snapshot(
            "[upstream]\nallow_private = [\"10.0.0.0/8\", \"registry.internal\"]\n\
             [[packages]]\ndomain = \"a.b\"\nname = \"x\"\nbackend = \"ghcr.io/x\"\n",
        );
        let mapped = |a, b, c, d| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d];
        assert!(snapshot.may_dial(None, "a.b", 443, mapped(10, 1, 2, 3)));
        assert!(snapshot.may_dial(None, "registry.internal", 5000, mapped(192, 168, 0, 1)));
        assert!(!snapshot.may_dial(None, "a.b", 443, mapped(192, 168, 0, 1)));
        assert!(snapshot.may_dial(None, "a.b", 443, mapped(192, 0, 2, 1)));
    }

    #[test]
    fn the_dashboard_is_known_by_its_name_and_keeps_its_socket() {
        let text = |host: &str, dir: &str| {
            format!("[gateway]\ndata_dir = \"{dir}\"\n[admin]\ndomain = \"{host}\"\n")
        };
        let first = snapshot(&text("Pullgate.ACME.com:8443", "/var/lib/one"));
        let socket = Path::new("/var/lib/one/dashboard.sock");
        for host in ["pullgate.acme.com", "PULLGATE.acme.com.:443"] {
            assert_eq!(first.dashboard_at(host.as_bytes()), Some(socket), "{host}");
        }
        for host in ["", "acme.com", "pullgate.acme.com.evil.example", "x.pullgate.acme.com"] {
            assert_eq!(first.dashboard_at(host.as_bytes()), None, "{host}");
        }
        let (config, _) = check("f", &text("counts.acme.com", "/var/lib/two")).unwrap();
        let (clients, before) = (ClientTable::built_in(), Some(&first));
        let around = Circumstances { clients, via: "pullgate-1", before, now_us: 6 };
        let second = Snapshot::build(&config, 2, around);
        assert_eq!(second.dashboard_at(b"counts.acme.com"), Some(socket));
        assert_eq!(second.dashboard_at(b"pullgate.acme.com"), None);
        assert_eq!(snapshot("").dashboard_at(b""), None);
    }
}
