//! Every key of the configuration file. What is said of a key is said here: `docs/config.md` and
//! `config/pullgate.toml` are written from it (`tests/config.rs`).

use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use super::kinds::{
    Address, AuthorityUrl, CertificateName, Directory, File, Flag, Home, HostName, Id, List,
    MailAddress, Names, Network, OneOf, OptionalFile, OptionalHome, OptionalHostName,
    OptionalRegistryHost, PrivatePlace, PublicUrl, RegistryHost, TokenHost, WebhookUrl, Word,
};
use super::measures::{Count, Kept, PerTime, Size, Time};
use super::section::{Nested, sections};
use super::values::{
    AccessLog, Acme, Admin, Cache, CertificateFiles, Counting, Credentials, Delivery, Domain,
    Driver, Gateway, Insight, Limits, Log, LogFormat, LogLevel, Proving, Retention, SignUp,
    UniqueWindow, Upstream,
};
use crate::pure::alert::Event;
use crate::pure::limits::{HEADERS_MAX, RECEIVE_BYTES};
use crate::pure::oci::backend::Backend;
use crate::pure::route::pattern::Pattern;

sections! {
    /// How the gateway runs. A change of `listen`, `listen_tls`, `workers`, `driver`, `data_dir` or `core_dumps`
    /// takes effect at the next start; everything else when the file is read again.
    "gateway" once Gateway {
        /// Where clients are listened for, in plain HTTP. An IPv6 address is IPv6 only, so the
        /// two defaults do not collide.
        listen: LISTEN => r#"["0.0.0.0:8080", "[::]:8080"]"#;
        /// Where clients are listened for over TLS, with the certificates of `[[certificates]]` and
        /// those that `[acme]` gets.
        listen_tls: LISTEN_TLS => "[]", like r#"["0.0.0.0:8443", "[::]:8443"]"#;
        /// Worker threads; 0 for one per CPU that this process may use, by affinity and by its
        /// control group's quota.
        workers: Count { least: 0, most: 1024 } => "0";
        /// How the workers speak to the kernel: `auto` is io_uring where that is allowed, else
        /// epoll.
        driver: DRIVER => r#""auto""#;
        /// Where the counts are kept. It is created, and locked: one gateway to a directory.
        data_dir: Directory => r#""/var/lib/pullgate""#;
        /// Networks whose `Forwarded` and `X-Forwarded-For` are believed, and who may begin with a
        /// PROXY header. From others these fields are ignored and that header is refused.
        trusted_proxies: PROXIES => "[]", like r#"["10.0.0.0/8"]"#;
        /// Whether clients that come over plain HTTP are sent to https where there is a certificate for
        /// the domain. Switch it off behind a front end that speaks TLS itself and passes clients on
        /// in plain HTTP.
        https_redirect: Flag => "true";
        /// Whether answers say, in `Pullgate-Explain`, which rule matched, which delivery was chosen
        /// and by which fact. `pullgate explain` tells more, and tells you alone.
        explain_header: Flag => "false";
        /// Whether the process may leave a core dump. Pulls that wait to be counted are kept out of
        /// it either way.
        core_dumps: Flag => "false";
        /// How long requests under way may take to finish when the gateway stops.
        drain_timeout: Time { least: ZERO, most: HOUR } => r#""30s""#;
        /// A domain that is yours with all below it (DNS: `*.pkg.acme.com`). Packages that are made in
        /// the dashboard without a domain of their own are served at `<organisation>.<shared_domain>`.
        shared_domain: OptionalHostName => r#""""#, like r#""pkg.acme.com""#;
        /// A file of user agents to know clients by, instead of the built-in one.
        clients_file: OptionalFile => r#""""#, like r#""/etc/pullgate/clients.toml""#;
    }

    /// The operator's own door.
    "admin" once Admin {
        /// Where `/metrics`, `/healthz`, `/readyz` and the dashboard are served.
        listen: Address => r#""127.0.0.1:8081""#;
        /// A host name that clients' listeners know the dashboard by, beside `listen`: requests for it go
        /// to the dashboard and to nothing else, and it gets a certificate like a package's domain.
        domain: OptionalHostName => r#""""#, like r#""pullgate.acme.com""#;
        /// Who may make an account at the dashboard: only the operator (`closed`, by `pullgate account`),
        /// or also whom an admin has sent a link (`invitation`), or anybody (`open`): then a domain is an
        /// organisation's once a TXT record proves it. Who has an account can be invited either way.
        sign_up: SIGN_UP => r#""closed""#;
    }

    /// What is written about what happens.
    "log" once Log {
        /// The least important lines that are written. A release is built without those of "trace",
        /// which only libraries have: there it is the same as "debug".
        level: LEVEL => r#""info""#;
        /// What a line looks like: for people, or one JSON object.
        format: FORMAT => r#""text""#;
        /// A line for each request, in JSON or like a web server's combined format. It never holds
        /// an address.
        access: ACCESS => r#""off""#;
        /// Where the lines of `access` go; to standard output if left out.
        access_file: OptionalFile => r#""""#, like r#""/var/log/pullgate/access.log""#;
    }

    /// How pulls are counted. `docs/counting.md` says what a pull is.
    "counting" once Counting {
        /// How often counts are written to disk: what a crash can lose.
        flush: Time { least: Duration::from_millis(100), most: HOUR } => r#""1s""#;
        /// How long requests of one client for one image are one pull.
        window: Time { least: Duration::from_secs(1), most: HOUR } => r#""60s""#;
        /// How long the counts are kept, by their grain.
        retention: RETENTION => "{}";
        /// Names that one collection rule (`acme/*`) counts apart; more go to `other`.
        max_names: Count { least: 1, most: 1_000_000 } => "10000";
        /// Tags that one package counts apart; more go to `other`.
        max_tags: Count { least: 1, most: 100_000 } => "1000";
        /// Clients, each version for itself, that one package counts apart; more go to `other`.
        max_clients: Count { least: 1, most: 100_000 } => "200";
        /// Whether of requests with `DNT: 1` or `Sec-GPC: 1` nothing but the pull is counted: no
        /// place, no company, no unique client.
        respect_dnt: Flag => "true";
    }

    /// How long the counts are kept, by their grain. May also be written as one line in
    /// `[counting]`: `retention = { minute = "48h" }`.
    "counting.retention" once Retention {
        /// Counts of single minutes.
        minute: Kept(Time { least: HOUR, most: YEARS }) => r#""48h""#;
        /// Counts of single hours.
        hour: Kept(Time { least: DAY, most: YEARS }) => r#""90d""#;
        /// Counts of single days. Totals over all time are kept in any case.
        day: Kept(Time { least: DAY, most: YEARS }) => r#""forever""#;
    }

    /// What clients can ask of the gateway. What is over a limit is refused and metered.
    "limits" once Limits {
        /// A request's head, in all.
        head_bytes: Size { least: 1024, most: RECEIVE_BYTES } => r#""16KiB""#;
        /// Fields of a request's head.
        headers: Count { least: 8, most: HEADERS_MAX } => "96";
        /// Connections at once; 0 for what the limit of open files leaves.
        connections: Count { least: 0, most: 10_000_000 } => "0";
        /// Connections at once of one client: an IPv4 address or an IPv6 /64. Trusted proxies are
        /// exempt; 0 for no limit.
        connections_per_client: Count { least: 0, most: 10_000_000 } => "256";
        /// Requests of one client; over it the answer is 429 and says when to come again.
        requests_per_client: PerTime => r#""0/s""#, like r#""100/s""#;
        /// How long a request's head may take, from its first byte to its last.
        header_timeout: TIMEOUT => r#""10s""#;
        /// How long a connection may stay open without a request.
        idle_timeout: TIMEOUT => r#""75s""#;
        /// How long an answer may make no progress.
        write_timeout: TIMEOUT => r#""30s""#;
        /// How much of a body that is streamed to a client is held at once, whatever its length.
        buffer_bytes: Size { least: RECEIVE_BYTES, most: 16 * 1024 * 1024 } => r#""256KiB""#;
    }

    /// How registries are asked, where the gateway asks them itself.
    "upstream" once Upstream {
        /// How long a connection to a registry may take to be made.
        connect_timeout: TIMEOUT => r#""5s""#;
        /// How long a registry may take to begin its answer, or to go on with a body.
        first_byte_timeout: TIMEOUT => r#""60s""#;
        /// How long a connection is kept that nobody uses.
        idle_timeout: TIMEOUT => r#""60s""#;
        /// How many unused connections each worker keeps for one host.
        idle_per_host: Count { least: 0, most: 10_000 } => "32";
        /// How many redirects are followed for one request.
        max_redirects: Count { least: 0, most: 100 } => "10";
        /// Certificates, in PEM, that are trusted beside the system's.
        ca_file: OptionalFile => r#""""#, like r#""/etc/pullgate/ca.pem""#;
        /// Networks and hosts that may be dialled although they are not public: loopback, private,
        /// link-local and their like are refused, so that nobody is led into your own network. A
        /// `backend` in this file that is written as such an address is allowed as it stands, for its own
        /// package: not where a redirect leads.
        allow_private: PRIVATE => "[]", like r#"["10.0.0.0/8", "registry.internal"]"#;
        /// How long a name's addresses are believed. If it cannot be resolved again, the old ones
        /// serve on.
        dns_ttl: Time { least: Duration::from_secs(1), most: DAY } => r#""30s""#;
    }

    /// What is kept of manifests, so that registries are asked for each of them once. Only what is
    /// pulled without the client's own login is kept.
    "cache" once Cache {
        /// What manifests may take in memory. "0B" keeps none: then the registry is asked each time.
        memory: Size { least: 0, most: 1 << 40 } => r#""256MiB""#;
        /// What manifests may take in `data_dir`, so that they are there after a restart, also while
        /// their registry is not. "0B" keeps none there; nor is any kept where `memory` is "0B".
        disk: Size { least: 0, most: 1 << 40 } => r#""4GiB""#;
        /// How long it is believed what a tag stands for before the registry is asked again, by a
        /// HEAD, which costs nothing of Docker Hub's limit.
        tag_ttl: Time { least: ZERO, most: DAY } => r#""30s""#;
        /// How long what a tag stood for still serves while the registry cannot be reached, fails,
        /// or says that it is asked too often.
        stale_if_error: Time { least: ZERO, most: YEARS } => r#""24h""#;
        /// Whether the gateway looks up what clients find that it redirects: by a HEAD in each `tag_ttl`
        /// for each tag in use, and a GET for each new manifest. Then their pulls are counted as exactly
        /// as where it asks the registry for them, and it says itself that a tag is absent. A request
        /// of which nothing is known waits for that, a second at the most. Switch it off where the
        /// gateway itself cannot reach the registries.
        resolve_redirects: Flag => "true";
    }

    /// What is made of where requests come from. `docs/privacy.md` says what is kept of it.
    "insight" once Insight {
        /// Databases of countries, cities, networks or companies in MaxMind's format: GeoLite2,
        /// DB-IP, IPinfo, ip-location-db. What each knows is read from itself; of several that know
        /// the same, the first holds. They are read again when they change.
        databases: DATABASES => "[]", like r#"["/var/lib/GeoIP/GeoLite2-City.mmdb"]"#;
        /// Whether cities are counted apart too, and not only countries and regions.
        cities: Flag => "false";
        /// A file of your own networks, a line each: `10.0.0.0/8, office` to give it a label, or
        /// `192.0.2.0/24, our CI, exclude` to leave it out of the counts.
        networks: OptionalFile => r#""""#, like r#""/etc/pullgate/networks""#;
        /// How many different clients must have pulled from a place, a network, a company or a cloud
        /// on one day before it is shown in public. It is weighed as pulls come: what was enough
        /// under a lower number stays shown when this is raised, until those days are erased
        /// (`pullgate erase`).
        k_public: Count { least: 1, most: 1000 } => "10";
        /// For how long a client counts once: for a `day`, or for a `month`, for which it can then
        /// be told in memory that two pulls are one client's.
        unique_window: UNIQUE_WINDOW => r#""day""#;
    }

    /// What is special about one public host name; needed only then.
    "domains" several Domain {
        /// The host name.
        host: HostName, like r#""registry.acme.com""#;
        /// Where clients find it: they are sent to its `/token` to log in. If left out, that is
        /// `https://`, the host, and the port of the first TLS listener where there is a certificate
        /// for the domain; else `http://`, the host, and the port of the first listener. Behind a
        /// front end that speaks TLS it has to be said.
        public_url: PublicUrl => r#""""#, like r#""https://registry.acme.com""#;
        /// Which registry checks a `docker login`, which names no repository. If left out, that is
        /// the one registry that clients log in at here; where there are several, a login is taken
        /// unchecked, and is checked when something is pulled.
        login: OptionalRegistryHost => r#""""#, like r#""ghcr.io""#;
        /// Whether errors and `GET /` may name the packages served here.
        list: Flag => "false";
    }

    /// What is special about one registry; needed only then.
    "registries" several Registry {
        /// The registry, as it stands in `backend`.
        host: RegistryHost, like r#""ghcr.io""#;
        /// Your account there, for packages with `credentials = "registry"`. It needs a password.
        username: Word => r#""""#, like r#""pull""#;
        /// A file that holds its password; read again when it changes.
        password_file: OptionalFile => r#""""#, like r#""/run/credentials/registry""#;
        /// An environment variable that holds its password, instead of a file.
        password_env: Word => r#""""#, like r#""REGISTRY_PASSWORD""#;
        /// Certificates, in PEM, that are trusted for this registry beside all others.
        ca_file: OptionalFile => r#""""#, like r#""/etc/pullgate/registry.pem""#;
        /// Hosts that may give this registry's tokens beside itself. Those of the large registries
        /// are known.
        token_hosts: TOKEN_HOSTS => "[]", like r#"["sso.acme.com"]"#;
        /// Whether it speaks plain HTTP. `http://` in a `backend` says the same for that backend.
        plain_http: Flag => "false";
    }

    /// A certificate and its key, in files; they are read again when they change. A file that cannot
    /// be used is a problem, and what was read before stays in force.
    "certificates" several CertificateFiles {
        /// The host names that it is shown for; `*.acme.com` for all of one more label. If left out,
        /// those that stand in the certificate.
        domains: CERTIFICATE_NAMES => "[]", like r#"["registry.acme.com"]"#;
        /// The certificate in PEM, and behind it those that lead to a known authority.
        cert: File, like r#""/etc/pullgate/registry.acme.com.pem""#;
        /// Its private key, in PEM.
        key: File, like r#""/etc/pullgate/registry.acme.com.key""#;
    }

    /// Certificates that get and renew themselves, from an authority that speaks ACME (RFC 8555), for
    /// every domain that a package names and that has none in `[[certificates]]`. To write this
    /// section is to ask for them, and to agree to the authority's terms; without it no authority is
    /// asked for anything. Port 80 or 443 of the domains has to lead here.
    "acme" once Acme {
        /// Where the authority writes to when something is wrong with a certificate.
        email: MailAddress => r#""""#, like r#""ops@acme.com""#;
        /// The authority's directory.
        directory: AuthorityUrl => r#""""#, like r#""https://acme-staging-v02.api.letsencrypt.org/directory""#;
        /// Certificates, in PEM, that are trusted for the authority beside the system's.
        ca_file: OptionalFile => r#""""#, like r#""/etc/pullgate/authority.pem""#;
        /// How domains are proven to be yours: `http-01` needs port 80 of the domain to lead to
        /// `gateway.listen`, `tls-alpn-01` needs port 443 to lead to `gateway.listen_tls`. `auto` tries
        /// one after the other.
        challenge: CHALLENGE => r#""auto""#;
        /// The name of your account with the authority, where it wants one (external account
        /// binding). It needs a key.
        eab_kid: Word => r#""""#, like r#""kid-1""#;
        /// A file that holds that account's key, as the authority gives it: in base64url.
        eab_key_file: OptionalFile => r#""""#, like r#""/run/credentials/eab""#;
    }

    /// A webhook of yours: a program that is told what happens to all packages, beside those that the
    /// people of a package name in the dashboard. What it is told stands in `docs/dashboard.md`.
    "alerts" several Alert {
        /// Where it is told. It may lead into your own network.
        url: WebhookUrl, like r#""https://hooks.acme.com/pullgate""#;
        /// A file that holds what its messages are signed with, as Standard Webhooks has it: `whsec_` and 24
        /// to 64 random bytes in base64. It is read again when it changes.
        secret_file: File, like r#""/etc/pullgate/webhook""#;
        /// What it is told of; everything where the list is empty.
        events: EVENTS => "[]", like r#"["backend", "certificate"]"#;
    }

    /// What clients can pull: a name under a public host, and where it really lives. Of several
    /// that fit, an exact domain comes before `*`; then the exact name; then the longest text
    /// before a star, `*` before `**`. Two that tie are a problem.
    "packages" several PackageWritten {
        /// The public host name that clients pull from.
        domain: HostName, like r#""registry.acme.com""#;
        /// The name that clients pull.
        name: Names, like r#""acme/rocket""#;
        /// The registry and the name there. For a name with a star it ends in the same star, and
        /// the rest of the name is carried over: `acme/*` to `ghcr.io/acme/*`. Without a host it
        /// is Docker Hub, where one segment means `library/`; for `docker.io/**` clients write
        /// `library/` themselves. It cannot be one of the gateway's own domains or addresses.
        backend: OptionalHome => r#""""#, like r#""ghcr.io/acme/rocket""#;
        /// Several registries that have the same, in order, instead of `backend`: the next is asked
        /// where the ones before cannot be reached or fail. What the first has said a tag stands
        /// for holds: another is asked for that very content then. Such a package is never
        /// redirected.
        backends: HOMES => "[]", like r#"["ghcr.io/acme/rocket", "quay.io/acme/rocket"]"#;
        /// Whether the next of `backends` is asked too where one says that there is no such thing.
        failover_on_404: Flag => "false";
        /// How it gets to clients. `redirect` sends them to the registry; with `broker` the
        /// gateway asks the registry itself, and clients fetch layers from its storage; with
        /// `stream` layers come through the gateway too. `auto` redirects where that is proven to
        /// work for the client, else it is `broker`.
        delivery: DELIVERY => r#""auto""#;
        /// Whose login the registry sees: nobody's (`none`), the client's own (`client`: clients
        /// log in at this domain, and each login goes to the registry of the package that it is
        /// for), or yours (`registry`, from `[[registries]]`: a private image can then be pulled
        /// by everybody).
        credentials: CREDENTIALS => r#""none""#;
        /// What the counts know it by. If left out, that is its domain and name: give an id to
        /// keep counting on through a change of name.
        id: Id => r#""""#, like r#""rocket""#;
        /// Whether everybody sees at the dashboard what `insight.k_public` allows of its counts. If not,
        /// an admin can make it public there.
        public: Flag => "false";
    }
}

/// One of `[[registries]]`, as written.
pub struct Registry {
    /// Host and port as they are dialled, lower case.
    pub host: String,
    /// The operator's account there.
    pub username: Option<String>,
    /// Its password, in a file.
    pub password_file: Option<PathBuf>,
    /// Its password, in an environment variable.
    pub password_env: Option<String>,
    /// Certificates that are trusted for it.
    pub ca_file: Option<PathBuf>,
    /// Whether it speaks plain HTTP.
    pub plain_http: bool,
    /// Hosts that may give its tokens.
    pub token_hosts: Vec<String>,
}

/// One of `[[alerts]]`, as written.
pub struct Alert {
    /// Where it is told.
    pub url: String,
    /// What it is signed with.
    pub secret_file: PathBuf,
    /// What it is told of; everything where it is empty.
    pub events: Vec<Event>,
}

/// One of `[[packages]]`, as written.
pub struct PackageWritten {
    /// The host name, lower case, without a port; `*` for any.
    pub domain: String,
    /// Which names it serves.
    pub name: Pattern,
    /// Where they live.
    pub backend: Option<Backend>,
    /// Or where they live, in order.
    pub backends: Vec<Backend>,
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
}

/// One of `[[packages]]` that says where it lives.
pub struct Package {
    /// The host name, lower case, without a port; `*` for any.
    pub domain: String,
    /// Which names it serves.
    pub name: Pattern,
    /// Where they live.
    pub backend: Backend,
    /// Where else, in order.
    pub others: Vec<Backend>,
    /// The key that says so.
    pub home_key: &'static str,
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
}

impl Package {
    /// Everywhere that it lives, in order.
    pub fn homes(&self) -> impl Iterator<Item = &Backend> {
        std::iter::once(&self.backend).chain(&self.others)
    }
}

const DATABASES: List<File> = List { of: File, may_be_empty: true };
const EVENTS: List<OneOf<Event>> = List {
    of: OneOf {
        words: &[
            ("backend", Event::Backend),
            ("certificate", Event::Certificate),
            ("unusual", Event::Unusual),
            ("weekly", Event::Weekly),
        ],
        elsewhere: &[],
    },
    may_be_empty: true,
};
const LISTEN: List<Address> = List { of: Address, may_be_empty: false };
const LISTEN_TLS: List<Address> = List { of: Address, may_be_empty: true };
const CERTIFICATE_NAMES: List<CertificateName> = List { of: CertificateName, may_be_empty: true };
const HOMES: List<Home> = List { of: Home, may_be_empty: true };
const PRIVATE: List<PrivatePlace> = List { of: PrivatePlace, may_be_empty: true };
const TOKEN_HOSTS: List<TokenHost> = List { of: TokenHost, may_be_empty: true };
const PROXIES: List<Network> = List { of: Network, may_be_empty: true };
const RETENTION: Nested<Retention> = Nested(PhantomData);

const DRIVER: OneOf<Driver> = OneOf {
    words: &[("auto", Driver::Auto), ("io_uring", Driver::IoUring), ("epoll", Driver::Epoll)],
    elsewhere: &[],
};
const LEVEL: OneOf<LogLevel> = OneOf {
    words: &[
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ],
    elsewhere: &[],
};
const FORMAT: OneOf<LogFormat> =
    OneOf { words: &[("text", LogFormat::Text), ("json", LogFormat::Json)], elsewhere: &[] };
const ACCESS: OneOf<AccessLog> = OneOf {
    words: &[("off", AccessLog::Off), ("json", AccessLog::Json), ("combined", AccessLog::Combined)],
    elsewhere: &[],
};
const CHALLENGE: OneOf<Proving> = OneOf {
    words: &[("auto", Proving::Auto), ("http-01", Proving::Http), ("tls-alpn-01", Proving::Tls)],
    elsewhere: &[("dns-01", "names are proven by port 80 or 443")],
};
const SIGN_UP: OneOf<SignUp> = OneOf {
    words: &[
        ("closed", SignUp::Closed),
        ("invitation", SignUp::Invitation),
        ("open", SignUp::Open),
    ],
    elsewhere: &[],
};
const UNIQUE_WINDOW: OneOf<UniqueWindow> =
    OneOf { words: &[("day", UniqueWindow::Day), ("month", UniqueWindow::Month)], elsewhere: &[] };
const DELIVERY: OneOf<Delivery> = OneOf {
    words: &[
        ("auto", Delivery::Auto),
        ("redirect", Delivery::Redirect),
        ("broker", Delivery::Broker),
        ("stream", Delivery::Stream),
    ],
    elsewhere: &[],
};
const CREDENTIALS: OneOf<Credentials> = OneOf {
    words: &[
        ("none", Credentials::None),
        ("client", Credentials::Client),
        ("registry", Credentials::Registry),
    ],
    elsewhere: &[],
};

const TIMEOUT: Time = Time { least: Duration::from_millis(100), most: DAY };
const ZERO: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// A hundred years: what is longer is meant as `forever`.
const YEARS: Duration = Duration::from_secs(36_500 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_called_as_the_dashboard_calls_them() {
        let words: Vec<_> = EVENTS.of.words.iter().map(|(word, event)| (*word, *event)).collect();
        assert_eq!(words, Event::EVERY.map(|event| (event.word(), event)));
    }

    #[test]
    fn every_default_and_example_is_allowed() {
        use crate::pure::config::check;

        for header in SECTIONS {
            for key in header.keys {
                for text in [key.default, key.example].into_iter().flatten() {
                    let open = if header.several { ("[[", "]]") } else { ("[", "]") };
                    let mut file = format!("{}{}{}\n", open.0, header.name, open.1);
                    for other in header.keys {
                        let example = other.example.or(other.default).unwrap_or("");
                        let value = if other.name == key.name { text } else { example };
                        file.push_str(&format!("{} = {value}\n", other.name));
                    }
                    let problems = check("f", &file).err().unwrap_or_default();
                    // Of a value that is wrong, what is allowed is said; others miss their pair.
                    let of_values = problems.iter().filter(|one| one.what.contains("allowed: "));
                    assert_eq!(of_values.count(), 0, "{problems:?} {file}");
                }
            }
        }
    }
}
