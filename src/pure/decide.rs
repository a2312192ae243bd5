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
        let since_us = self.known.proofs.registry(base).map(|proof| proof.since_us);
        let is_settled = since_us.is_some_and(|since_us| {
            let redirected_since_us = since_us.max(facts.since_us);
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

    const DOCKER: &str = "docker/20.10.24 go/go1.19.8 os/linux arch/amd64";
    const DOCKER_29: &str = "docker/29.0.1 os/linux arch/amd64 containerd-client/2.1.5";
    const CONTAINERD: &str = "containerd/1.7.24~ds1";
    const OLD_CONTAINERD: &str = "containerd/1.5.4";
    const PODMAN: &str = "containers/5.34.2 (github.com/containers/image)";
    const WATCHTOWER: &str = "Watchtower (Docker)";
    const BEARER: &str = "Bearer realm=\"https://ghcr.io/token\"";
    const MINUTE_US: u64 = 60_000_000;

    /// One package `acme/rocket` on `a.b`, and what is known about its registry.
    struct World {
        snapshot: Snapshot,
        proofs: Proofs,
        now_us: u64,
    }

    impl World {
        fn new(keys: &str, proof: Proof, challenge: Option<Option<&str>>) -> Self {
            let text = format!(
                "[[packages]]\ndomain = \"a.b\"\nname = \"acme/rocket\"\n{}\
                 [[registries]]\nhost = \"ghcr.io\"\nusername = \"u\"\npassword_env = \"P\"\n",
                if keys.contains("backend") {
                    keys.to_owned()
                } else {
                    format!("backend = \"ghcr.io/acme/rocket\"\n{keys}")
                }
            );
            let (config, _) = check("f", &text).unwrap_or_else(|wrong| panic!("{wrong:?}"));
            let clients = ClientTable::built_in();
            let around = Circumstances { clients, via: "p", before: None, now_us: 0 };
            let known = challenge.map(|challenge| {
                let challenge = challenge.map(str::to_owned);
                ("https://ghcr.io/v2/".to_owned(), RegistryProof { challenge, since_us: 0 })
            });
            let repositories =
                ["rocket", "moon"].map(|name| (format!("https://ghcr.io/v2/acme/{name}"), proof));
            Self {
                snapshot: Snapshot::build(&config, 1, around),
                proofs: Proofs::build(repositories, known),
                now_us: MINUTE_US,
            }
        }

        fn told(&self, path: &str, user_agent: &str, more: &str) -> String {
            let text = format!(
                "GET {path} HTTP/1.1\r\nHost: a.b\r\nUser-Agent: {user_agent}\r\n{more}\r\n"
            );
            let limits = HeadLimits { head_bytes: 4096, headers: 64 };
            let head = head::parse(text.as_bytes(), &limits).unwrap().unwrap();
            let Self { snapshot, proofs, now_us } = self;
            match decide(Known { snapshot, proofs, now_us: *now_us }, &head) {
                Action::Redirect(to) if to.depends_on_client => "redirect, this client".to_owned(),
                Action::Redirect(_) => "redirect".to_owned(),
                Action::Forward(Forward { streams, wants_proof, .. }) => {
                    let how = if streams { "stream" } else { "broker" };
                    format!("{how}{}", if wants_proof { ", wants proof" } else { "" })
                }
                Action::Say(Say::Base) => "200".to_owned(),
                Action::Say(Say::Challenge(challenge)) => format!("401 {challenge}"),
                Action::Say(Say::Welcome(..) | Say::Robots) => "a sentence".to_owned(),
                Action::Refuse(refusal) => format!("{:?}", refusal.fault.kind),
            }
        }

        fn manifest(&self, user_agent: &str) -> String {
            self.told("/v2/acme/rocket/manifests/latest", user_agent, "")
        }

        fn base(&self, user_agent: &str) -> String {
            self.told("/v2/", user_agent, "")
        }
    }

    #[test]
    fn a_delivery_that_is_written_is_what_happens() {
        for (delivery, expected) in
            [("redirect", "redirect"), ("broker", "broker"), ("stream", "stream")]
        {
            for proof in [Proof::Unknown, Proof::Refused, Proof::Open, Proof::WithToken] {
                let keys = format!("delivery = \"{delivery}\"\n");
                let world = World::new(&keys, proof, Some(Some(BEARER)));
                assert_eq!(world.manifest(PODMAN), expected);
            }
        }
    }

    #[test]
    fn auto_redirects_where_it_is_proven_safe() {
        let auto = |proof| World::new("", proof, Some(Some(BEARER)));
        for (proof, user_agent, expected) in [
            (Proof::Unknown, CONTAINERD, "broker, wants proof"),
            (Proof::Refused, CONTAINERD, "broker"),
            (Proof::Open, PODMAN, "redirect"),
            (Proof::Open, "", "redirect"),
            (Proof::WithToken, CONTAINERD, "redirect, this client"),
            (Proof::WithToken, DOCKER, "redirect, this client"),
            (Proof::WithToken, DOCKER_29, "redirect, this client"),
            (Proof::WithToken, OLD_CONTAINERD, "broker"),
            (Proof::WithToken, "containerd/", "broker"),
            (Proof::WithToken, "docker/29.0.1 containerd-client/1.4.0", "broker"),
            (Proof::WithToken, PODMAN, "broker"),
            (Proof::WithToken, WATCHTOWER, "broker"),
            (Proof::WithToken, "", "broker"),
        ] {
            assert_eq!(auto(proof).manifest(user_agent), expected, "{proof:?} {user_agent}");
        }
        let world = auto(Proof::WithToken);
        let path = "/v2/acme/rocket/blobs/sha256:".to_owned() + &"0".repeat(64);
        assert_eq!(world.told(&path, CONTAINERD, ""), "redirect, this client");
        let login = "Authorization: Basic dTpw\r\n";
        assert_eq!(world.told(&path, CONTAINERD, login), "broker");
        assert_eq!(auto(Proof::Open).told(&path, PODMAN, login), "redirect");
    }

    #[test]
    fn a_renamed_package_and_one_with_a_login_are_not_redirected_to_a_token() {
        let renamed = "backend = \"ghcr.io/acme/moon\"\n";
        let world = World::new(renamed, Proof::WithToken, Some(Some(BEARER)));
        assert_eq!(world.manifest(CONTAINERD), "broker");
        let world = World::new(renamed, Proof::Open, Some(None));
        assert_eq!(world.manifest(CONTAINERD), "redirect");
        for credentials in ["client", "registry"] {
            let keys = format!("credentials = \"{credentials}\"\n");
            let world = World::new(&keys, Proof::Open, Some(None));
            assert_eq!(world.manifest(CONTAINERD), "broker", "{credentials}");
        }
    }

    #[test]
    fn classic_docker_is_redirected_once_its_base_has_been_for_a_minute() {
        let mut world = World::new("", Proof::WithToken, Some(Some(BEARER)));
        world.now_us = MINUTE_US - 1;
        assert_eq!(world.base(DOCKER), "redirect, this client");
        assert_eq!(world.manifest(DOCKER), "broker");
        assert_eq!(world.manifest(CONTAINERD), "redirect, this client");
        world.now_us = MINUTE_US;
        assert_eq!(world.manifest(DOCKER), "redirect, this client");
    }

    #[test]
    fn a_minute_goes_on_through_reloads_that_change_nothing_here() {
        let text = "[[packages]]\ndomain = \"a.b\"\nname = \"acme/rocket\"\n\
                    backend = \"ghcr.io/acme/rocket\"\n";
        let build = |text: &str, before: Option<&Snapshot>, now_us| {
            let (config, _) = check("f", text).expect("a configuration");
            let clients = ClientTable::built_in();
            Snapshot::build(&config, 1, Circumstances { clients, via: "p", before, now_us })
        };
        let since_us = |snapshot: &Snapshot| snapshot.routes.site(b"a.b").facts().since_us;
        let first = build(text, None, 7);
        assert_eq!(since_us(&first), 7);
        let more = format!("{text}{}", text.replace("rocket", "lander"));
        let second = build(&more, Some(&first), 8);
        assert_eq!(since_us(&second), 7);
        let elsewhere = text.replace("ghcr.io", "quay.io");
        assert_eq!(since_us(&build(&elsewhere, Some(&second), 9)), 9);
    }

    #[test]
    fn base_is_decided_by_domain_and_user_agent() {
        let wanted = format!("401 {BEARER}");
        let broker = "delivery = \"broker\"\n";
        let redirect = "delivery = \"redirect\"\n";
        for (keys, challenge, user_agent, expected) in [
            // Clients log in: the registry's own answer.
            ("credentials = \"client\"\n", None, DOCKER, "broker"),
            ("credentials = \"client\"\n", Some(Some(BEARER)), WATCHTOWER, "broker"),
            // Its token is needed.
            ("", Some(Some(BEARER)), DOCKER, "redirect, this client"),
            (redirect, Some(Some(BEARER)), DOCKER, "redirect, this client"),
            (broker, Some(Some(BEARER)), DOCKER, "200"),
            ("", Some(Some(BEARER)), DOCKER_29, "200"),
            ("", Some(Some(BEARER)), CONTAINERD, "200"),
            ("", Some(Some(BEARER)), PODMAN, "200"),
            ("", Some(Some(BEARER)), WATCHTOWER, wanted.as_str()),
            (broker, Some(Some(BEARER)), WATCHTOWER, wanted.as_str()),
            // None is.
            ("", Some(None), DOCKER, "200"),
            ("", Some(None), WATCHTOWER, "200"),
            // Nobody knows yet.
            ("", None, DOCKER, "200"),
            (redirect, None, DOCKER, "redirect, this client"),
            (redirect, None, PODMAN, "200"),
            (redirect, None, WATCHTOWER, "200"),
            // The operator's account counts as nobody's.
            ("credentials = \"registry\"\n", Some(Some(BEARER)), PODMAN, "200"),
        ] {
            let world = World::new(keys, Proof::Unknown, challenge);
            assert_eq!(world.base(user_agent), expected, "{keys} {challenge:?} {user_agent}");
        }
    }

    #[test]
    fn several_registries_have_no_base_of_their_own() {
        let keys = "backend = \"ghcr.io/acme/rocket\"\n\
            [[packages]]\ndomain = \"a.b\"\nname = \"other\"\nbackend = \"quay.io/other\"\n";
        let world = World::new(keys, Proof::WithToken, Some(Some(BEARER)));
        for user_agent in [DOCKER, PODMAN, WATCHTOWER] {
            assert_eq!(world.base(user_agent), "200", "{user_agent}");
        }
        assert_eq!(world.manifest(CONTAINERD), "broker");
    }
}
