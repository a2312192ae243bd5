//! The heart: one request head becomes one action. Twin of `docs/request.md`; the two move
//! together.

use crate::pure::config::values::{Credentials, Delivery};
use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::head::{Method, RequestHead};
use crate::pure::oci::endpoint::Endpoint;
use crate::pure::oci::name::Name;
use crate::pure::proof::{Proof, Proofs};
use crate::pure::route::table::{Base, Match, Site};
use crate::pure::snapshot::Snapshot;

/// What is decided by.
#[derive(Clone, Copy)]
pub struct Known<'r> {
    /// The configuration.
    pub snapshot: &'r Snapshot,
    /// What was found out about registries.
    pub proofs: &'r Proofs,
    /// Now, in microseconds of the monotonic clock.
    pub now_us: u64,
}

/// What is done about a request. Borrowed from the request and the snapshot.
#[derive(Clone, Copy)]
pub enum Action<'r> {
    /// The client is sent to the backend.
    Redirect(Redirect<'r>),
    /// The backend is asked in the client's stead.
    Forward(Forward<'r>),
    /// The gateway answers by itself.
    Say(Say<'r>),
    /// The request is refused.
    Refuse(Refusal<'r>),
}

/// Where to, piece by piece: the URL is `location`, `name_tail`, the endpoint's tail, the query.
#[derive(Clone, Copy)]
pub struct Redirect<'r> {
    /// The backend's URL up to where the name's tail joins.
    pub location: &'r str,
    /// What a pattern's star stood for; empty for an exact name.
    pub name_tail: &'r str,
    /// What is asked for there.
    pub endpoint: Endpoint<'r>,
    /// The request's query, as sent.
    pub query: Option<&'r [u8]>,
    /// The rule that matched; `None` for `/v2/`, which names no package.
    pub matched: Option<Match<'r>>,
    /// Whether another client might be answered otherwise.
    pub depends_on_client: bool,
}

/// What to ask for, and where: as in [`Redirect`].
#[derive(Clone, Copy)]
pub struct Forward<'r> {
    /// Which of the snapshot's registries is asked.
    pub registry: usize,
    /// The backend's URL up to where the name's tail joins.
    pub location: &'r str,
    /// How much of it is the registry's `/v2/`.
    pub base_length: usize,
    /// What a pattern's star stood for; empty for an exact name.
    pub name_tail: &'r str,
    /// What is asked for there.
    pub endpoint: Endpoint<'r>,
    /// The request's query, as sent.
    pub query: Option<&'r [u8]>,
    /// The rule that matched; `None` for `/v2/`, which names no package.
    pub matched: Option<Match<'r>>,
    /// Whether blobs come through the gateway even where storage could be redirected to.
    pub streams: bool,
    /// Whose login the registry sees.
    pub credentials: Credentials,
    /// Whether a redirect might do, if only it were known that everybody can pull this.
    pub wants_proof: bool,
}

impl Forward<'_> {
    /// The backend's name for the repository; empty for `/v2/`.
    pub fn repository(&self) -> String {
        let prefix = self.location.get(self.base_length..).unwrap_or_default();
        [prefix, self.name_tail].concat()
    }
}

/// What the gateway says by itself.
#[derive(Clone, Copy)]
pub enum Say<'r> {
    /// 200 at `/v2/`: the distribution API is spoken here.
    Base,
    /// 401 at `/v2/`, with the registry's challenge: for clients that need one.
    Challenge(&'r str),
    /// A sentence for a browser at `/`.
    Welcome(Site<'r>, &'r [u8]),
    /// `robots.txt`: nothing here is worth crawling.
    Robots,
}

/// What is wrong, and what the words about it can name.
#[derive(Clone, Copy)]
pub struct Refusal<'r> {
    /// What is wrong.
    pub fault: Fault,
    /// The domain, where it is known.
    pub site: Option<Site<'r>>,
    /// The host as the client sent it, empty where it sent none.
    pub host: &'r [u8],
    /// The repository name, where one was understood.
    pub name: Option<Name<'r>>,
    /// The registry that is to blame, where one is.
    pub registry: Option<&'r str>,
    /// After how many seconds it is worth trying again, where that helps.
    pub retry_after_s: u64,
}

impl From<Fault> for Action<'_> {
    /// A refusal of which nothing more is known, such as that of a head that did not parse.
    fn from(fault: Fault) -> Self {
        Self::Refuse(Refusal::of(fault))
    }
}

impl Refusal<'_> {
    /// A refusal of which nothing more is known.
    pub fn of(fault: Fault) -> Self {
        Self { fault, site: None, host: b"", name: None, registry: None, retry_after_s: 1 }
    }
}

/// Decides about the request that `head` begins.
pub fn decide<'r>(known: Known<'r>, head: &RequestHead<'r>) -> Action<'r> {
    let host = head.host.unwrap_or_default();
    let refuse_with =
        |fault, site, name| Action::Refuse(Refusal { site, host, name, ..Refusal::of(fault) });
    let refuse = |kind, site, name| refuse_with(Fault::new(kind, ""), site, name);
    if matches!(head.method, Method::Other(_)) {
        return refuse(Kind::MethodUnsupported, None, None);
    }
    let endpoint = match Endpoint::parse(head.path) {
        Ok(endpoint) => endpoint,
        Err(fault) => return refuse_with(fault, None, None),
    };
    let site = known.snapshot.routes.site(host);
    match endpoint {
        Endpoint::Root => return Action::Say(Say::Welcome(site, host)),
        Endpoint::Robots => return Action::Say(Say::Robots),
        Endpoint::Upload { name } => {
            return refuse(Kind::MethodUnsupported, Some(site), Some(name));
        }
        Endpoint::Catalog => return refuse(Kind::CatalogUnsupported, Some(site), None),
        Endpoint::Base
        | Endpoint::Manifest { .. }
        | Endpoint::Blob { .. }
        | Endpoint::TagsList { .. }
        | Endpoint::Referrers { .. } => {}
    }
    if !site.is_known() {
        return refuse(Kind::DomainUnknown, None, endpoint.name());
    }
    let asked = Asked { known, head, site, endpoint };
    let Some(name) = endpoint.name() else {
        return asked.base();
    };
    match site.find(name) {
        Some(matched) => asked.package(name, matched),
        None => refuse(Kind::NameUnknown, Some(site), Some(name)),
    }
}

/// A request that makes sense, and all that it is judged by.
struct Asked<'a, 'r> {
    known: Known<'r>,
    head: &'a RequestHead<'r>,
    site: Site<'r>,
    endpoint: Endpoint<'r>,
}

impl<'r> Asked<'_, 'r> {
    /// `/v2/`: which image will be pulled is not known yet, so domain and user agent decide.
    fn base(&self) -> Action<'r> {
        let Base::Registry(location, registry) = self.site.base() else {
            return Action::Say(Say::Base);
        };
        let facts = self.site.facts();
        if facts.clients_log_in {
            return Action::Forward(Forward {
                registry,
                location,
                base_length: location.len(),
                name_tail: "",
                endpoint: self.endpoint,
                query: self.head.query,
                matched: None,
                streams: false,
                credentials: Credentials::Client,
                wants_proof: false,
            });
        }
        let proof = self.known.proofs.registry(location);
        let challenge = proof.and_then(|proof| proof.challenge.as_deref());
        let trust = self.known.snapshot.clients.trust(self.head.user_agent);
        // Classic docker learns a registry's challenge here, and files it under the host that
        // answered: where its manifests are redirected, this has to be too.
        let needs_token = match proof {
            Some(_) => challenge.is_some() && facts.may_redirect,
            None => facts.redirects,
        };
        if trust.asks_base_first && needs_token {
            return Action::Redirect(Redirect {
                location,
                name_tail: "",
                endpoint: self.endpoint,
                query: self.head.query,
                matched: None,
                depends_on_client: true,
            });
        }
        match challenge.filter(|_| trust.needs_challenge) {
            Some(challenge) => Action::Say(Say::Challenge(challenge)),
            None => Action::Say(Say::Base),
        }
    }

    fn package(&self, name: Name<'r>, matched: Match<'r>) -> Action<'r> {
        let name_tail = name.as_str().get(matched.tail_from..).unwrap_or_default();
        let redirect = |depends_on_client| {
            Action::Redirect(Redirect {
                location: matched.location,
                name_tail,
                endpoint: self.endpoint,
                query: self.head.query,
                matched: Some(matched),
                depends_on_client,
            })
        };
        let forward = |wants_proof| {
            Action::Forward(Forward {
                registry: matched.registry,
                location: matched.location,
                base_length: matched.base_length,
                name_tail,
                endpoint: self.endpoint,
                query: self.head.query,
                matched: Some(matched),
                streams: matched.delivery == Delivery::Stream,
                credentials: matched.credentials,
                wants_proof,
            })
        };
        match (matched.delivery, matched.credentials) {
            (Delivery::Redirect, _) => redirect(false),
            (Delivery::Broker | Delivery::Stream, _)
            | (Delivery::Auto, Credentials::Client | Credentials::Registry) => forward(false),
            (Delivery::Auto, Credentials::None) => {
                match self.known.proofs.repository(matched.location, name_tail) {
                    Proof::Open => redirect(false),
                    Proof::WithToken if self.survives(name, matched, name_tail) => redirect(true),
                    Proof::WithToken | Proof::Refused => forward(false),
                    Proof::Unknown => forward(true),
                }
            }
        }
    }

    /// Whether this client finds its way through a redirect to a registry that asks for a token:
    /// it asks for that by the name it knows, and at the registry whose challenge it has seen.
    fn survives(&self, name: Name<'_>, matched: Match<'_>, name_tail: &str) -> bool {
        let Base::Registry(base, _) = self.site.base() else {
            return false;
        };
        let there = matched.location.get(matched.base_length..).unwrap_or_default();
        let is_same_name = name.as_str().strip_prefix(there) == Some(name_tail);
        if !is_same_name || self.head.authorization.is_some() {
            return false;
        }
        let trust = self.known.snapshot.clients.trust(self.head.user_agent);
        if !trust.asks_base_first {
            return trust.survives_redirect;
        }
        // A client between its `/v2/` and its pull must not be caught by a change.
        let facts = self.site.facts();
        let proof = self.known.proofs.registry(base).filter(|proof| proof.challenge.is_some());
        let is_settled = proof.is_some_and(|proof| {
            let redirected_since_us = proof.since_us.max(facts.since_us);
            redirected_since_us.saturating_add(BASE_SETTLES_US) <= self.known.now_us
        });
        trust.survives_redirect && is_settled && !facts.clients_log_in
    }
}

/// How long `/v2/` has to have been a redirect before manifests are one too for who asks it first.
const BASE_SETTLES_US: u64 = 60_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::client::ClientTable;
    use crate::pure::config::check;
    use crate::pure::http1::head::{self, HeadLimits};
    use crate::pure::proof::RegistryProof;
    use crate::pure::snapshot::Circumstances;

    /// Who asks, and what a client of that name calls itself.
    const CLIENTS: &[(&str, &str)] = &[
        ("docker", "docker/20.10.24+dfsg1 go/go1.19.8 os/linux arch/amd64"),
        ("docker29", "docker/29.1.0 os/linux arch/amd64 containerd-client/2.1.5 storage-driver"),
        ("containerd", "containerd/1.6.20"),
        ("old-containerd", "containerd/1.5.4"),
        ("podman", "containers/5.34.2 (github.com/containers/image)"),
        ("watchtower", "Watchtower (Docker)"),
    ];

    const GHCR: &str = "https://ghcr.io/v2/";
    const CHALLENGE: &str = r#"Bearer realm="https://ghcr.io/token",service="ghcr.io""#;

    /// Packages as lines of domain, name, backend, delivery and credentials.
    fn snapshot(packages: &str, before: Option<&Snapshot>, now_s: u64) -> Snapshot {
        let mut text = String::from(
            "[[registries]]\nhost = 'ghcr.io'\nusername = 'pull'\npassword_env = 'PASSWORD'\n",
        );
        for line in packages.lines().filter(|line| !line.trim().is_empty()) {
            text.push_str("[[packages]]\n");
            let keys = ["domain", "name", "backend", "delivery", "credentials"];
            for (key, value) in keys.iter().zip(line.split_whitespace()) {
                text.push_str(&format!("{key} = '{value}'\n"));
            }
        }
        let (config, _) = check("f", &text).unwrap_or_else(|problems| panic!("{problems:?}"));
        let clients = ClientTable::built_in();
        let now_us = now_s * 1_000_000;
        Snapshot::build(&config, 1, Circumstances { clients, via: "pullgate", before, now_us })
    }

    /// What is known of ghcr.io since the first second (`token`, `open`, or nothing), and of the
    /// one repository that was asked for.
    fn proofs(registry: &str, repository: Proof) -> Proofs {
        let challenge = match registry {
            "token" => Some(Some(CHALLENGE.to_owned())),
            "open" => Some(None),
            _ => None,
        };
        let known = challenge.map(|challenge| RegistryProof { challenge, since_us: 1_000_000 });
        Proofs::build(
            7,
            [(format!("{GHCR}acme/rocket"), repository)],
            known.map(|known| (GHCR.to_owned(), known)),
        )
    }

    /// What is said to `client path`, or `client path with login`, at a second.
    fn said(snapshot: &Snapshot, proofs: &Proofs, at_s: u64, asked: &str) -> String {
        let mut words = asked.split(' ');
        let (client, path) = (words.next().unwrap(), words.next().unwrap());
        let user_agent = CLIENTS.iter().find(|(name, _)| *name == client).unwrap().1;
        let login = if words.next().is_some() { "Authorization: Basic eA==\r\n" } else { "" };
        let bytes =
            format!("GET {path} HTTP/1.1\r\nHost: a.b\r\nUser-Agent: {user_agent}\r\n{login}\r\n");
        let limits = HeadLimits { head_bytes: 4096, headers: 16 };
        let head = head::parse(bytes.as_bytes(), &limits).unwrap().unwrap();
        told(&decide(Known { snapshot, proofs, now_us: at_s * 1_000_000 }, &head))
    }

    fn told(action: &Action<'_>) -> String {
        match action {
            Action::Redirect(to) => {
                let depends = if to.depends_on_client { " for this client" } else { "" };
                format!("307 to {}{}{depends}", to.location, to.name_tail)
            }
            Action::Forward(to) => {
                let login = match to.credentials {
                    Credentials::None => "",
                    Credentials::Client => " with the client's login",
                    Credentials::Registry => " with our login",
                };
                let streams = if to.streams { ", streams" } else { "" };
                let wants_proof = if to.wants_proof { ", wants a proof" } else { "" };
                format!("asks {}{}{login}{streams}{wants_proof}", to.location, to.name_tail)
            }
            Action::Say(Say::Base) => "200".to_owned(),
            Action::Say(Say::Challenge(challenge)) => format!("401 {challenge}"),
            Action::Say(Say::Welcome(..) | Say::Robots) => "200 in words".to_owned(),
            Action::Refuse(refusal) => refusal.fault.kind.row().status.to_owned(),
        }
    }

    const ONE_REGISTRY: &str = "
        a.b acme/rocket ghcr.io/acme/rocket auto
        a.b acme/lander ghcr.io/acme/lander stream";

    #[test]
    fn v2_is_answered_by_domain_and_client_alone() {
        let redirect = "a.b acme/rocket ghcr.io/acme/rocket redirect";
        let client = "a.b acme/rocket ghcr.io/acme/rocket auto client
                      a.b acme/lander ghcr.io/acme/lander redirect";
        let several = "a.b acme/rocket ghcr.io/acme/rocket redirect
                       a.b acme/lander quay.io/acme/lander";
        let ours = "a.b acme/rocket ghcr.io/acme/rocket auto registry";
        let brokered = "a.b acme/rocket ghcr.io/acme/rocket broker";
        let challenge = format!("401 {CHALLENGE}");
        let asks = format!("asks {GHCR} with the client's login");
        let there = format!("307 to {GHCR} for this client");
        for (packages, registry, client, expected) in [
            // Some with `credentials = "client"`: any client.
            (client, "token", "docker", asks.as_str()),
            (client, "open", "podman", &asks),
            (client, "unknown", "watchtower", &asks),
            // All anonymous, one registry that needs a token, auto or redirect in force.
            (ONE_REGISTRY, "token", "docker", &there),
            (redirect, "token", "docker", &there),
            (brokered, "token", "docker", "200"),
            (ours, "token", "docker", "200"),
            (several, "token", "docker", "200"),
            (ONE_REGISTRY, "open", "docker", "200"),
            (redirect, "open", "docker", "200"),
            // While it is not known whether it needs one.
            (redirect, "unknown", "docker", &there),
            (ONE_REGISTRY, "unknown", "docker", "200"),
            (several, "unknown", "docker", "200"),
            // Those that need a challenge.
            (ONE_REGISTRY, "token", "watchtower", &challenge),
            (brokered, "token", "watchtower", &challenge),
            (ours, "token", "watchtower", &challenge),
            (ONE_REGISTRY, "open", "watchtower", "200"),
            (ONE_REGISTRY, "unknown", "watchtower", "200"),
            (several, "token", "watchtower", "200"),
            // Everybody else.
            (redirect, "token", "podman", "200"),
            (ONE_REGISTRY, "token", "docker29", "200"),
            (ONE_REGISTRY, "token", "containerd", "200"),
        ] {
            let snapshot = snapshot(packages, None, 0);
            let proofs = proofs(registry, Proof::Unknown);
            for asked in [format!("{client} /v2/"), format!("{client} /v2/ with-login")] {
                let said = said(&snapshot, &proofs, 1, &asked);
                assert_eq!(said, expected, "{registry}, {asked}: {packages}");
            }
        }
    }

    #[test]
    fn auto_redirects_where_that_is_proven_safe() {
        let (there, asks) =
            (format!("307 to {GHCR}acme/rocket"), format!("asks {GHCR}acme/rocket"));
        let for_this = format!("{there} for this client");
        let wants_proof = format!("{asks}, wants a proof");
        let several = "a.b acme/rocket ghcr.io/acme/rocket\n * mirror/** quay.io/mirror/**";
        let renamed = "a.b rocket ghcr.io/acme/rocket";
        let pattern = "a.b acme/* ghcr.io/acme/*";
        for (packages, proof, asked, expected) in [
            // Without a token: every client.
            (ONE_REGISTRY, Proof::Open, "podman acme/rocket", &there),
            (ONE_REGISTRY, Proof::Open, "old-containerd acme/rocket", &there),
            (several, Proof::Open, "podman acme/rocket", &there),
            (renamed, Proof::Open, "podman rocket", &there),
            (pattern, Proof::Open, "podman acme/rocket", &there),
            // With one: who survives.
            (ONE_REGISTRY, Proof::WithToken, "docker acme/rocket", &for_this),
            (ONE_REGISTRY, Proof::WithToken, "docker29 acme/rocket", &for_this),
            (ONE_REGISTRY, Proof::WithToken, "containerd acme/rocket", &for_this),
            (pattern, Proof::WithToken, "containerd acme/rocket", &for_this),
            (ONE_REGISTRY, Proof::WithToken, "old-containerd acme/rocket", &asks),
            (ONE_REGISTRY, Proof::WithToken, "podman acme/rocket", &asks),
            // And only where nothing leads it astray.
            (several, Proof::WithToken, "containerd acme/rocket", &asks),
            (renamed, Proof::WithToken, "containerd rocket", &asks),
            // Neither.
            (ONE_REGISTRY, Proof::Refused, "containerd acme/rocket", &asks),
            (ONE_REGISTRY, Proof::Unknown, "containerd acme/rocket", &wants_proof),
        ] {
            let snapshot = snapshot(packages, None, 0);
            let proofs = proofs("token", proof);
            let (client, name) = asked.split_once(' ').unwrap();
            for what in ["manifests/1.0", "tags/list"] {
                let asked = format!("{client} /v2/{name}/{what}");
                assert_eq!(&said(&snapshot, &proofs, 100, &asked), expected, "{asked}: {packages}");
            }
        }
        let snapshot = snapshot(ONE_REGISTRY, None, 0);
        let proofs = proofs("token", Proof::WithToken);
        let asked = "containerd /v2/acme/rocket/manifests/1.0 with-login";
        assert_eq!(said(&snapshot, &proofs, 100, asked), asks);
        let asked = "podman /v2/acme/lander/manifests/1.0";
        assert_eq!(
            said(&snapshot, &proofs, 100, asked),
            format!("asks {GHCR}acme/lander, streams")
        );
    }

    #[test]
    fn logins_are_never_redirected() {
        for (credentials, expected) in [
            ("client", "asks https://ghcr.io/v2/acme/rocket with the client's login"),
            ("registry", "asks https://ghcr.io/v2/acme/rocket with our login"),
        ] {
            let packages = format!("a.b acme/rocket ghcr.io/acme/rocket auto {credentials}");
            let snapshot = snapshot(&packages, None, 0);
            for proof in [Proof::Open, Proof::WithToken, Proof::Unknown] {
                let asked = "containerd /v2/acme/rocket/manifests/1.0";
                assert_eq!(said(&snapshot, &proofs("token", proof), 100, asked), expected);
            }
        }
    }

    /// Classic docker's `/v2/` and manifest, `307` or `200` each.
    fn docker(snapshot: &Snapshot, registry: &str, at_s: u64) -> String {
        let proofs = proofs(registry, Proof::WithToken);
        let said = |path| said(snapshot, &proofs, at_s, &format!("docker {path}"));
        let word = |said: String| if said.starts_with("307") { "307" } else { "200" };
        [word(said("/v2/")), word(said("/v2/acme/rocket/manifests/1.0"))].join(" ")
    }

    #[test]
    fn classic_docker_is_not_caught_between_its_ping_and_its_pull() {
        // It was found out in the first second.
        let first = snapshot(ONE_REGISTRY, None, 0);
        assert_eq!(docker(&first, "token", 2), "307 200");
        assert_eq!(docker(&first, "token", 60), "307 200");
        assert_eq!(docker(&first, "token", 61), "307 307");
        // A registry's door that asks for nothing shows docker no challenge.
        assert_eq!(docker(&first, "open", 100), "200 200");
        assert_eq!(docker(&first, "unknown", 100), "200 200");

        // Another configuration that says the same of `/v2/` changes nothing.
        let same = snapshot(&format!("{ONE_REGISTRY}\n a.b new ghcr.io/new"), Some(&first), 100);
        assert_eq!(docker(&same, "token", 101), "307 307");
        // One under which it was no redirect does, and so does the way back.
        let other = snapshot(&format!("{ONE_REGISTRY}\n a.b new quay.io/new"), Some(&same), 200);
        assert_eq!(docker(&other, "token", 201), "200 200");
        let back = snapshot(ONE_REGISTRY, Some(&other), 300);
        assert_eq!(docker(&back, "token", 359), "307 200");
        assert_eq!(docker(&back, "token", 360), "307 307");

        // And so for a host that falls back to the rules of `*`.
        let any = "* acme/rocket ghcr.io/acme/rocket";
        let exact = snapshot(&format!("{any}\n a.b new quay.io/new"), None, 0);
        assert_eq!(docker(&exact, "token", 399), "200 200");
        let gone = snapshot(any, Some(&exact), 400);
        assert_eq!(docker(&gone, "token", 401), "307 200");
        // A host that comes keeps what the rules of `*` had said.
        let come = snapshot(&format!("{any}\n a.b new ghcr.io/new"), Some(&gone), 500);
        assert_eq!(docker(&come, "token", 501), "307 307");
    }
}
