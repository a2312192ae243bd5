//! The heart: one request head becomes one action. Twin of `docs/request.md`; the two move
//! together.

use std::path::Path;

use crate::pure::config::values::{Credentials, Delivery};
use crate::pure::desk::{Challenge, Errand, LIFE_S, OwnKeys, Shown, Signed};
use crate::pure::door::{self, Door, ToHttps};
use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::head::{Method, RequestHead};
use crate::pure::limits::HOST_BYTES_MAX;
use crate::pure::oci::backend::{authority_of, is_registry};
use crate::pure::oci::endpoint::Endpoint;
use crate::pure::oci::name::Name;
use crate::pure::proof::{Proof, Proofs};
use crate::pure::query::{decoded, values};
use crate::pure::route::table::{Base, Match, Site};
use crate::pure::snapshot::Snapshot;
use crate::pure::why::{Explained, Why};

/// What is decided by.
#[derive(Clone, Copy)]
pub struct Known<'r> {
    /// The configuration.
    pub snapshot: &'r Snapshot,
    /// How the request came.
    pub door: Door<'r>,
    /// What was found out about registries.
    pub proofs: &'r Proofs,
    /// What tokens of our own are known by.
    pub keys: &'r OwnKeys,
    /// Now, in microseconds of the monotonic clock.
    pub now_us: u64,
    /// Now, in seconds since 1970.
    pub unix_s: u64,
}

/// What is done about a request. Borrowed from the request and the snapshot.
#[derive(Clone, Copy)]
pub enum Action<'r> {
    /// The client is sent to the backend.
    Redirect(Redirect<'r>),
    /// The client is to ask the same over TLS.
    Secure(ToHttps<'r>),
    /// The backend is asked in the client's stead.
    Forward(Forward<'r>),
    /// A registry is asked about the client's login: for a token, or whether it is right.
    Grant(Errand<'r>),
    /// It is the dashboard's, and goes by this socket to the control plane, whatever it asks for.
    HandOn(&'r Path),
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
    /// By which fact it is one.
    pub why: Why,
    /// Whether the answer says so.
    pub explains: bool,
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
    /// The rule that matched.
    pub matched: Match<'r>,
    /// Whether blobs come through the gateway even where storage could be redirected to.
    pub streams: bool,
    /// Whose login the registry sees.
    pub credentials: Credentials,
    /// Whether a redirect might do, if only it were known that everybody can pull this.
    pub wants_proof: bool,
    /// By which fact it is asked.
    pub why: Why,
}

impl<'r> Redirect<'r> {
    /// What its registry is asked so that it is known what the client finds there; `None` where that is
    /// not to be known, or is no manifest that anybody may be shown.
    pub fn asked(&self, snapshot: &Snapshot) -> Option<Forward<'r>> {
        if !snapshot.cache.resolve_redirects {
            return None;
        }
        let matched = self.matched.filter(|matched| matched.credentials == Credentials::None)?;
        let is_manifest = matches!(self.endpoint, Endpoint::Manifest { .. });
        is_manifest.then_some(Forward {
            registry: matched.registry,
            location: self.location,
            base_length: matched.base_length,
            name_tail: self.name_tail,
            endpoint: self.endpoint,
            query: self.query,
            matched,
            streams: false,
            credentials: Credentials::None,
            wants_proof: false,
            why: self.why,
        })
    }

    /// What the answer says of its way, where it does.
    pub fn explained(&self) -> Option<Explained<'_>> {
        let (matched, name) = (self.matched?, self.endpoint.name()?);
        let explained = Explained { matched, name, delivery: "redirect", why: self.why };
        self.explains.then_some(explained)
    }
}

impl Forward<'_> {
    /// What the answer can say of its way.
    pub fn explained(&self) -> Option<Explained<'_>> {
        let delivery = if self.streams { "stream" } else { "broker" };
        let (matched, name, why) = (self.matched, self.endpoint.name()?, self.why);
        Some(Explained { matched, name, delivery, why })
    }

    /// The same asked of each registry that has the package, in order.
    pub fn homes(self) -> impl Iterator<Item = Self> {
        let others = self.matched.others.iter().map(move |other| Self {
            registry: other.registry,
            location: &other.location,
            base_length: other.base_length,
            ..self
        });
        std::iter::once(self).chain(others)
    }

    /// The backend's name for the repository.
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
    /// 401 at `/v2/`: tokens are given here.
    Challenge(Challenge<'r>),
    /// 401 at `/v2/`, with the registry's challenge: for clients that need one where the gateway has
    /// no name to send them to.
    RegistryChallenge(&'r str),
    /// A token for what anybody may pull.
    Token(Signed),
    /// A sentence for a browser at `/`.
    Welcome(Site<'r>, &'r [u8]),
    /// What proves a domain to an authority.
    Proof(&'r str),
    /// What proves to who has our secrets that it is us who were reached.
    Reached(Signed),
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
    /// Where to log in, where that helps.
    pub challenge: Option<Challenge<'r>>,
    /// What the answer says of its way.
    pub explained: Option<Explained<'r>>,
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
        Self {
            fault,
            site: None,
            host: b"",
            name: None,
            registry: None,
            challenge: None,
            explained: None,
            retry_after_s: 1,
        }
    }
}

/// Decides about the request that `head` begins.
pub fn decide<'r>(known: Known<'r>, head: &RequestHead<'r>) -> Action<'r> {
    let host = head.host.unwrap_or_default();
    let refuse_with =
        |fault, site, name| Action::Refuse(Refusal { site, host, name, ..Refusal::of(fault) });
    let refuse = |kind, site, name| refuse_with(Fault::new(kind, ""), site, name);
    // For `*` and for CONNECT there is no path.
    let is_page = head.path.starts_with(b"/");
    let dashboard = known.snapshot.dashboard_at(host).filter(|_| is_page);
    if matches!(head.method, Method::Other(_)) && dashboard.is_none() {
        return refuse(Kind::MethodUnsupported, None, None);
    }
    if let Some(say) = well_known(known, head.path) {
        return Action::Say(say);
    }
    if let Door::Tls(shown) = known.door
        && !shown.covers(host)
    {
        return refuse_with(Fault::new(Kind::Misdirected, shown.why_not()), None, None);
    }
    if let Some(to) = known.door.to_https(known.snapshot, head) {
        return Action::Secure(to);
    }
    if let Some(socket) = dashboard {
        return Action::HandOn(socket);
    }
    let endpoint = match Endpoint::parse(head.path) {
        Ok(endpoint) => endpoint,
        Err(fault) => return refuse_with(fault, None, None),
    };
    let site = known.door.site(known.snapshot, host);
    match endpoint {
        Endpoint::Root => return Action::Say(Say::Welcome(site, host)),
        Endpoint::Robots => return Action::Say(Say::Robots),
        Endpoint::Upload { name } => {
            return refuse(Kind::MethodUnsupported, Some(site), Some(name));
        }
        Endpoint::Catalog => return refuse(Kind::CatalogUnsupported, Some(site), None),
        Endpoint::Token
        | Endpoint::Base
        | Endpoint::Manifest { .. }
        | Endpoint::Blob { .. }
        | Endpoint::TagsList { .. }
        | Endpoint::Referrers { .. } => {}
    }
    if !site.is_known() {
        return refuse(Kind::DomainUnknown, None, endpoint.name());
    }
    let asked = Asked { known, head, site, endpoint };
    match (endpoint.name(), endpoint) {
        (None, Endpoint::Token) if site.realm().is_none() => {
            refuse(Kind::PathUnknown, Some(site), None)
        }
        (None, Endpoint::Token) => asked.token(),
        (None, _) => asked.base(),
        (Some(name), _) => match asked.rule(name) {
            Some(matched) => asked.package(name, matched),
            None => refuse(Kind::NameUnknown, Some(site), Some(name)),
        },
    }
}

/// What is said to who wants to know whose a domain is: an authority, or `pullgate doctor`, by whatever
/// door and name it comes.
fn well_known<'r>(known: Known<'r>, path: &[u8]) -> Option<Say<'r>> {
    if !path.starts_with(WELL_KNOWN) {
        return None;
    }
    // Like a token for a domain that cannot exist, which has ended long ago.
    let reached = door::nonce(path).map(|nonce| Say::Reached(known.keys.sign(nonce, 0)));
    reached.or_else(|| known.door.proof(path).map(Say::Proof))
}

/// A request that makes sense, and all that it is judged by.
struct Asked<'a, 'r> {
    known: Known<'r>,
    head: &'a RequestHead<'r>,
    site: Site<'r>,
    endpoint: Endpoint<'r>,
}

impl<'r> Asked<'_, 'r> {
    /// The rule for a name. A client that takes this domain for a mirror says whose (`ns`, containerd's
    /// word): then only rules that lead there will do. It chooses among what is configured, and where
    /// it names a domain of ours that is no registry.
    ///
    /// For a token it asks by the name alone, so a login must not go elsewhere by what is said here.
    fn rule(&self, name: Name<'r>) -> Option<Match<'r>> {
        let by_name = self.site.find(name);
        let Some(meant) = values(self.head.query.unwrap_or_default(), "ns").next() else {
            return by_name;
        };
        let mut room = [0; HOST_BYTES_MAX];
        let meant = decoded(meant, &mut room)?;
        if self.known.snapshot.routes.site(meant).is_named() {
            return by_name;
        }
        let found = self.site.find_at(name, |registry| is_registry(meant, authority_of(registry)));
        found.filter(|it| it.credentials != Credentials::Client || Some(*it) == by_name)
    }

    /// `/v2/`: which image will be pulled is not known yet, so domain and user agent decide.
    fn base(&self) -> Action<'r> {
        let facts = self.site.facts();
        let ours = Challenge::of(self.site, None);
        if let Some(ours) = ours.filter(|_| facts.clients_log_in) {
            return self.base_with_login(ours);
        }
        let trust = self.known.snapshot.clients.trust(self.head.user_agent);
        let mut theirs = None;
        if let Base::Registry(location, _) = self.site.base() {
            let proof = self.known.proofs.registry(location);
            theirs = proof.and_then(|proof| proof.challenge.as_deref());
            // Classic docker learns a registry's challenge here, and files it under the host that
            // answered: where its manifests are redirected, this has to be too.
            let needs_token = match proof {
                Some(_) => theirs.is_some() && facts.may_redirect,
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
                    why: Why::ShowsChallenge,
                    explains: false,
                });
            }
        }
        match (trust.needs_challenge, ours, theirs) {
            (true, Some(ours), _) => self.base_with_login(ours),
            (true, None, Some(theirs)) => Action::Say(Say::RegistryChallenge(theirs)),
            (true, None, None) | (false, ..) => Action::Say(Say::Base),
        }
    }

    /// `/v2/` for who has to get a token first. A token of ours is all that is needed here; others are
    /// not known.
    fn base_with_login(&self, challenge: Challenge<'r>) -> Action<'r> {
        let Known { keys, unix_s, .. } = self.known;
        match Shown::of(self.head.authorization) {
            Shown::Token(token) if keys.read(token, challenge.service, unix_s).is_some() => {
                Action::Say(Say::Base)
            }
            Shown::Login(login) => {
                Errand::base(self.site, login).map_or(Action::Say(Say::Base), Action::Grant)
            }
            Shown::Token(_) | Shown::Nothing => Action::Say(Say::Challenge(challenge)),
        }
    }

    /// `/token`: for a package that clients log in for its registry is asked, for anything else the
    /// gateway gives a token itself.
    fn token(&self) -> Action<'r> {
        let shown = Shown::of(self.head.authorization);
        Errand::token(self.site, self.head.query, shown)
            .map_or_else(|| self.own_token(), Action::Grant)
    }

    fn own_token(&self) -> Action<'r> {
        let Known { keys, unix_s, .. } = self.known;
        Action::Say(Say::Token(keys.sign(self.site.domain(), unix_s + LIFE_S)))
    }

    fn package(&self, name: Name<'r>, matched: Match<'r>) -> Action<'r> {
        let name_tail = name.as_str().get(matched.tail_from..).unwrap_or_default();
        let redirect = |depends_on_client, why| {
            Action::Redirect(Redirect {
                location: matched.location,
                name_tail,
                endpoint: self.endpoint,
                query: self.head.query,
                matched: Some(matched),
                depends_on_client,
                why,
                explains: self.known.snapshot.explain_header,
            })
        };
        let forward = |wants_proof, why| {
            Action::Forward(Forward {
                registry: matched.registry,
                location: matched.location,
                base_length: matched.base_length,
                name_tail,
                endpoint: self.endpoint,
                query: self.head.query,
                matched,
                streams: matched.delivery == Delivery::Stream,
                credentials: matched.credentials,
                wants_proof,
                why,
            })
        };
        match (matched.delivery, matched.credentials) {
            (Delivery::Redirect, _) => redirect(false, Why::Configured),
            (Delivery::Broker | Delivery::Stream, _) => forward(false, Why::Configured),
            (Delivery::Auto, Credentials::Client) => forward(false, Why::ClientsLogIn),
            (Delivery::Auto, Credentials::Registry) => forward(false, Why::OurAccount),
            // One that may be elsewhere in a moment is nothing to send a client to.
            (Delivery::Auto, Credentials::None) if !matched.others.is_empty() => {
                forward(false, Why::SeveralHomes)
            }
            (Delivery::Auto, Credentials::None) => {
                match self.known.proofs.repository(matched.location, name_tail) {
                    Proof::Open => redirect(false, Why::Open),
                    Proof::WithToken => match self.survives(name, matched, name_tail) {
                        Ok(()) => redirect(true, Why::Survives),
                        Err(why) => forward(false, why),
                    },
                    Proof::Refused => forward(false, Why::Refused),
                    Proof::Unknown => forward(true, Why::Unknown),
                }
            }
        }
    }

    /// Whether this client finds its way through a redirect to a registry that asks for a token, or
    /// why not: it asks for that by the name it knows, and at the registry whose challenge it has seen.
    fn survives(&self, name: Name<'_>, matched: Match<'_>, name_tail: &str) -> Result<(), Why> {
        let Base::Registry(base, _) = self.site.base() else {
            return Err(Why::SeveralRegistries);
        };
        let there = matched.location.get(matched.base_length..).unwrap_or_default();
        let is_same_name = name.as_str().strip_prefix(there) == Some(name_tail);
        if !is_same_name {
            return Err(Why::Renamed);
        }
        if self.head.authorization.is_some() {
            return Err(Why::LoginSent);
        }
        let trust = self.known.snapshot.clients.trust(self.head.user_agent);
        if !trust.survives_redirect {
            return Err(Why::ClientLosesToken);
        }
        if !trust.asks_base_first {
            return Ok(());
        }
        // A client between its `/v2/` and its pull must not be caught by a change.
        let facts = self.site.facts();
        let proof = self.known.proofs.registry(base).filter(|proof| proof.challenge.is_some());
        let is_settled = proof.is_some_and(|proof| {
            let redirected_since_us = proof.since_us.max(facts.since_us);
            redirected_since_us.saturating_add(BASE_SETTLES_US) <= self.known.now_us
        });
        if is_settled && !facts.clients_log_in { Ok(()) } else { Err(Why::Unsettled) }
    }
}

/// How long `/v2/` has to have been a redirect before manifests are one too for who asks it first.
const BASE_SETTLES_US: u64 = 60_000_000;

/// Where what is asked of a host itself stands (RFC 8615, 3).
const WELL_KNOWN: &[u8] = b"/.well-known/";
