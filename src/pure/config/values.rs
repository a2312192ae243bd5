//! The configuration after it was checked: plain values, every default filled in.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::problem::quoted;
use crate::pure::alert::Event;
use crate::pure::oci::backend::Backend;
use crate::pure::route::pattern::Pattern;

/// A checked configuration file.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[admin]`
    pub admin: Admin,
    /// `[log]`
    pub log: Log,
    /// `[counting]`
    pub counting: Counting,
    /// `[limits]`
    pub limits: Limits,
    /// `[upstream]`
    pub upstream: Upstream,
    /// `[cache]`
    pub cache: Cache,
    /// `[insight]`
    pub insight: Insight,
    /// `[[domains]]`
    pub domains: Vec<Domain>,
    /// `[[registries]]`
    pub registries: Vec<Registry>,
    /// `[[certificates]]`
    pub certificates: Vec<CertificateFiles>,
    /// `[acme]`, where it is written.
    pub acme: Option<Acme>,
    /// `[[alerts]]`
    pub alerts: Vec<Alert>,
    /// `[[packages]]`
    pub packages: Vec<Package>,
}

/// `[gateway]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    /// Where clients are listened for, in plain HTTP.
    pub listen: Vec<SocketAddr>,
    /// Where clients are listened for over TLS.
    pub listen_tls: Vec<SocketAddr>,
    /// Worker threads; 0 for one per CPU that this process may use.
    pub workers: usize,
    /// Which driver the rings use.
    pub driver: Driver,
    /// Where counts are kept.
    pub data_dir: PathBuf,
    /// Peers whose word on the client's address is believed.
    pub trusted_proxies: Vec<Cidr>,
    /// Whether clients are sent to https where there is a certificate for the domain.
    pub https_redirect: bool,
    /// Whether answers say which rule and delivery were chosen.
    pub explain_header: bool,
    /// Whether the process may leave a core dump.
    pub core_dumps: bool,
    /// How long requests under way may take to finish at a stop.
    pub drain_timeout: Duration,
    /// The domain below which each organisation has one for packages without a domain of their own.
    pub shared_domain: Option<String>,
    /// A file that replaces the built-in `clients.toml`.
    pub clients_file: Option<PathBuf>,
}

/// `gateway.driver`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// io_uring where the system allows it, else epoll.
    Auto,
    /// io_uring or nothing.
    IoUring,
    /// epoll.
    Epoll,
}

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where `/metrics`, `/healthz`, `/readyz` and the dashboard are served.
    pub listen: SocketAddr,
    /// A host name that clients' listeners know the dashboard by; lower case, without a port.
    pub domain: Option<String>,
    /// Who may make an account at the dashboard.
    pub sign_up: SignUp,
}

/// `admin.sign_up`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignUp {
    /// The operator, at the command line.
    Closed,
    /// And whom an admin invites.
    Invitation,
    /// And anybody, with an organisation of their own.
    Open,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least important level that is logged.
    pub level: LogLevel,
    /// What a log line looks like.
    pub format: LogFormat,
    /// What an access log line looks like, if there is one.
    pub access: AccessLog,
    /// Where the access log goes; standard output where it is `None`.
    pub access_file: Option<PathBuf>,
}

/// `log.level`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Failures that need somebody.
    Error,
    /// And what may become one.
    Warn,
    /// And what happened.
    Info,
    /// And why.
    Debug,
    /// And each step.
    Trace,
}

/// `log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// `log.access`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// None.
    Off,
    /// One JSON object per line.
    Json,
    /// Like the combined format of web servers, with `-` where the address would be.
    Combined,
}

/// `[counting]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counting {
    /// How often counts are written to disk.
    pub flush: Duration,
    /// How long requests of one client fold into one pull.
    pub window: Duration,
    /// How long the rollups are kept.
    pub retention: Retention,
    /// Names counted apart per collection rule.
    pub max_names: usize,
    /// Tags counted apart per package.
    pub max_tags: usize,
    /// Client versions counted apart per package.
    pub max_clients: usize,
    /// Whether of those who ask not to be tracked nothing but the pull is counted.
    pub respect_dnt: bool,
}

/// `counting.retention`; `None` is for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Of the cells of one minute.
    pub minute: Option<Duration>,
    /// Of the cells of one hour.
    pub hour: Option<Duration>,
    /// Of the cells of one day.
    pub day: Option<Duration>,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A request head's length, in bytes.
    pub head_bytes: usize,
    /// A request's header fields.
    pub headers: usize,
    /// Client connections at once; 0 for what the descriptor limit leaves.
    pub connections: usize,
    /// Connections at once of one IPv4 address or IPv6 /64; 0 for no limit.
    pub connections_per_client: usize,
    /// Requests of one client; `None` for no limit.
    pub requests_per_client: Option<Rate>,
    /// How long a request head may take from its first byte to its last.
    pub header_timeout: Duration,
    /// How long a connection may stay open without a request.
    pub idle_timeout: Duration,
    /// How long an answer may make no progress.
    pub write_timeout: Duration,
    /// How much of a streamed body is held at once, in bytes.
    pub buffer_bytes: usize,
}

/// `[upstream]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long a registry may take to begin its answer, or to go on with it.
    pub first_byte_timeout: Duration,
    /// How long a connection is kept that nobody uses.
    pub idle_timeout: Duration,
    /// How many such connections a worker keeps for one host.
    pub idle_per_host: usize,
    /// How many redirects are followed for one request.
    pub max_redirects: usize,
    /// Certificates that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// What may be dialled although it is not public.
    pub allow_private: Vec<Private>,
    /// How long a name's addresses are believed.
    pub dns_ttl: Duration,
}

impl Upstream {
    /// Whether `address`, which `host` (lower case, without a port) leads to, may be dialled although it
    /// is not public.
    pub fn allows(&self, host: &str, address: [u8; 16]) -> bool {
        self.allow_private.iter().any(|private| match private {
            Private::Network(network) => network.contains(address),
            Private::Host(named) => named == host,
        })
    }
}

/// One of `upstream.allow_private`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Private {
    /// Every address of this network.
    Network(Cidr),
    /// Whatever this host's addresses are; lower case, without a port.
    Host(String),
}

/// `[cache]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    /// What manifests may take in memory, in bytes, in all workers together; 0 for no cache.
    pub memory: usize,
    /// What they may take in `data_dir`, in bytes; 0 for none.
    pub disk: usize,
    /// How long what a tag stands for is believed.
    pub tag_ttl: Duration,
    /// How long it still serves while the registry cannot be asked.
    pub stale_if_error: Duration,
    /// Whether it is looked up what redirected clients find.
    pub resolve_redirects: bool,
}

/// `[insight]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Insight {
    /// Databases in MaxMind's format; the first that knows something holds.
    pub databases: Vec<PathBuf>,
    /// Whether cities are counted apart too.
    pub cities: bool,
    /// A file of the operator's own networks.
    pub networks: Option<PathBuf>,
    /// How many clients must have pulled on one day for a place to be shown in public.
    pub k_public: usize,
    /// For how long one client is known again.
    pub unique_window: UniqueWindow,
}

/// `insight.unique_window`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UniqueWindow {
    /// For a UTC day.
    Day,
    /// For a calendar month, UTC.
    Month,
}

/// So many in such a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In which time.
    pub per: Duration,
}

/// One of `[[domains]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// The host name, lower case, without a port.
    pub host: String,
    /// Where clients find it, without a path: `https://registry.acme.com`. `None` for where it is
    /// listened for.
    pub public_url: Option<String>,
    /// The registry, as dialled, that checks a login which names no repository.
    pub login: Option<String>,
    /// Whether errors and `GET /` may name the packages served here.
    pub list: bool,
}

/// One of `[[registries]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registry {
    /// Host and port as they are dialled, lower case.
    pub host: String,
    /// The operator's account there. It has a password if it has a name.
    pub username: Option<String>,
    /// Where its password is.
    pub password: Option<Password>,
    /// Certificates that are trusted for this registry, beside all others.
    pub ca_file: Option<PathBuf>,
    /// Whether it speaks plain HTTP.
    pub plain_http: bool,
    /// Hosts, lower case, with or without a port, that may give its tokens.
    pub token_hosts: Vec<String>,
    /// Where the section begins in the file.
    pub line: usize,
}

/// One of `[[certificates]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The host names that it is shown for, lower case; those in the certificate where it is empty.
    pub domains: Vec<String>,
    /// The certificate and its chain.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// `[acme]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acme {
    /// Where the authority can reach the operator.
    pub email: Option<String>,
    /// The URL of the authority's directory.
    pub directory: String,
    /// Certificates that vouch for the authority's own server.
    pub ca_file: Option<PathBuf>,
    /// How domains are proven.
    pub challenge: Proving,
    /// The account with the authority that its own belongs to (RFC 8555, 7.3.4).
    pub eab_kid: Option<String>,
    /// That account's key.
    pub eab_key_file: Option<PathBuf>,
}

/// `acme.challenge`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proving {
    /// One way after the other until one succeeds.
    Auto,
    /// HTTP-01
    Http,
    /// TLS-ALPN-01
    Tls,
}

/// One of `[[alerts]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Where it is told.
    pub url: String,
    /// What it is signed with.
    pub secret_file: PathBuf,
    /// What it is told of; everything where it is empty.
    pub events: Vec<Event>,
    /// Where the section begins in the file.
    pub line: usize,
}

/// Where a password is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Password {
    /// In this file.
    File(PathBuf),
    /// In this environment variable.
    Env(String),
}

/// `packages.delivery`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// By redirect where that is proven safe, else as a broker.
    Auto,
    /// Clients are sent to the registry.
    Redirect,
    /// The gateway asks the registry; blobs in storage are fetched by the client.
    Broker,
    /// The gateway asks everybody.
    Stream,
}

/// `packages.credentials`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Credentials {
    /// Pulled by anybody.
    None,
    /// With the client's own login.
    Client,
    /// With the operator's account.
    Registry,
}

/// One of `[[packages]]`.
#[derive(Clone, Debug)]
pub struct Package {
    /// The host name, lower case, without a port; `*` for any.
    pub domain: String,
    /// Which names it serves.
    pub name: Pattern,
    /// Where they live; `plain_http` of `[[registries]]` is already in its scheme.
    pub backend: Backend,
    /// Where else, in the order in which they are asked.
    pub others: Vec<Backend>,
    /// Whether the next is asked where one has no such thing.
    pub failover_on_404: bool,
    /// How it gets to clients.
    pub delivery: Delivery,
    /// Whose login the registry sees.
    pub credentials: Credentials,
    /// The stable id in the counts, where one is given.
    pub id: Option<String>,
    /// Whether everybody sees it.
    pub public: bool,
    /// Where the package begins in the file; `None` for one that was made in the dashboard.
    pub line: Option<usize>,
}

/// A network: an address and how many of its leading bits count. IPv4 networks are kept in their
/// mapped form (`::ffff:a.b.c.d`, 96 bits more).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// The network's address, host bits zero.
    pub network: u128,
    /// How many leading bits count, 0 to 128.
    pub bits: u8,
}

impl Cidr {
    /// Reads `10.0.0.0/8`, `fd00::/8`, or one address; or says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return Err(format!("{} is not a network", quoted(text)));
        };
        let (mapped, most) = match address {
            IpAddr::V4(address) => (address.to_ipv6_mapped(), 32),
            IpAddr::V6(address) => (address, 128),
        };
        let bits = bits.map_or(Ok(most), str::parse).ok().filter(|bits| *bits <= most);
        let Some(bits) = bits else {
            return Err(format!("{} needs a length from 0 to {most}", quoted(text)));
        };
        let cidr = Self { network: u128::from(mapped), bits: bits + (128 - most) };
        if cidr.contains(mapped.octets()) {
            Ok(cidr)
        } else {
            Err(format!("{} has bits behind its length", quoted(text)))
        }
    }

    /// Whether `address` (IPv4 in its mapped form) lies in the network.
    pub fn contains(&self, address: [u8; 16]) -> bool {
        let Some(host_bits) = 128u32.checked_sub(u32::from(self.bits)) else {
            return false;
        };
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        u128::from_be_bytes(address) & mask == self.network
    }
}
