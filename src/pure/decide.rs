//! The heart: one request head becomes one action. Twin of `docs/request.md`; the two move
//! together.

use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::head::{Method, RequestHead};
use crate::pure::oci::endpoint::Endpoint;
use crate::pure::oci::name::Name;
use crate::pure::route::table::{Base, Match, Site};
use crate::pure::snapshot::Snapshot;

/// What is done about a request. Borrowed from the request and the snapshot.
#[derive(Clone, Copy)]
pub enum Action<'r> {
    /// The client is sent to the backend.
    Redirect(Redirect<'r>),
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
}

/// What the gateway says by itself.
#[derive(Clone, Copy)]
pub enum Say<'r> {
    /// 200 at `/v2/`: the distribution API is spoken here.
    Base,
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
    /// After how many seconds it is worth trying again, where that helps.
    pub retry_after_s: u64,
}

impl From<Fault> for Action<'_> {
    /// A refusal of which nothing more is known, such as that of a head that did not parse.
    fn from(fault: Fault) -> Self {
        Self::Refuse(Refusal { fault, site: None, host: b"", name: None, retry_after_s: 1 })
    }
}

/// Decides about the request that `head` begins.
pub fn decide<'r>(snapshot: &'r Snapshot, head: &RequestHead<'r>) -> Action<'r> {
    let host = head.host.unwrap_or_default();
    let refuse_with =
        |fault, site, name| Action::Refuse(Refusal { fault, site, host, name, retry_after_s: 1 });
    let refuse = |kind, site, name| refuse_with(Fault::new(kind, ""), site, name);
    if matches!(head.method, Method::Other(_)) {
        return refuse(Kind::MethodUnsupported, None, None);
    }
    let endpoint = match Endpoint::parse(head.path) {
        Ok(endpoint) => endpoint,
        Err(fault) => return refuse_with(fault, None, None),
    };
    let site = snapshot.routes.site(host);
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
    let Some(name) = endpoint.name() else {
        return match site.base() {
            // Classic docker learns a registry's challenge here, and files it under the host that
            // answered: one registry per domain, so it is that registry's to answer.
            Base::Registry(location) => Action::Redirect(Redirect {
                location,
                name_tail: "",
                endpoint,
                query: head.query,
                matched: None,
            }),
            Base::Several => Action::Say(Say::Base),
        };
    };
    match site.find(name) {
        Some(matched) => Action::Redirect(Redirect {
            location: matched.location,
            name_tail: name.as_str().get(matched.tail_from..).unwrap_or_default(),
            endpoint,
            query: head.query,
            matched: Some(matched),
        }),
        None => refuse(Kind::NameUnknown, Some(site), Some(name)),
    }
}
