//! How rules lie in the route table.

use std::net::SocketAddr;
use std::ops::Range;

use super::pattern::Star;
use crate::pure::config::values::{Credentials, Delivery, Gateway};
use crate::pure::limits::HOST_BYTES_MAX;
use crate::pure::oci::backend::Scheme;

/// One host's part of the table.
pub(super) struct Host {
    pub(super) name: Text,
    /// Where its rules stand.
    pub(super) rules: Range<u32>,
    /// The length of the longest prefix that a star follows; `None` without stars.
    pub(super) longest_prefix: Option<u16>,
    pub(super) base: HostBase,
    pub(super) facts: Facts,
    /// Where its clients get tokens that come over plain HTTP, and over TLS; empty for `*`.
    pub(super) realms: [Text; 2],
    /// Which of the table's registries checks a login that names no package.
    pub(super) login: Option<u32>,
    /// Whether clients log in at more than one registry here.
    pub(super) has_several_logins: bool,
    pub(super) list: bool,
}

/// What all rules of a host together say about `/v2/`, which names none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// For some, clients log in at the registry.
    pub clients_log_in: bool,
    /// For some, clients may be redirected: by `redirect`, or by `auto` where that is proven safe.
    pub may_redirect: bool,
    /// For some, clients are redirected whoever they are.
    pub redirects: bool,
    /// Since when `/v2/` is answered by the present rules, in microseconds of the monotonic clock.
    pub since_us: u64,
}

impl Facts {
    pub(super) fn of(terms: &Terms) -> Self {
        Self {
            clients_log_in: terms.credentials == Credentials::Client,
            may_redirect: match terms.delivery {
                Delivery::Redirect => true,
                Delivery::Auto => terms.credentials == Credentials::None && !terms.has_others,
                Delivery::Broker | Delivery::Stream => false,
            },
            redirects: terms.delivery == Delivery::Redirect,
            since_us: 0,
        }
    }

    /// Whether `/v2/` is answered alike, as far as that depends on these.
    pub(super) fn agrees(&self, other: &Self) -> bool {
        Self { since_us: 0, ..*self } == Self { since_us: 0, ..*other }
    }

    pub(super) fn joined(self, other: Self) -> Self {
        Self {
            clients_log_in: self.clients_log_in || other.clients_log_in,
            may_redirect: self.may_redirect || other.may_redirect,
            redirects: self.redirects || other.redirects,
            since_us: 0,
        }
    }
}

#[derive(Clone, Copy)]
pub(super) enum HostBase {
    None,
    Registry(u32),
    Several,
}

impl HostBase {
    pub(super) fn joined(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, one) | (one, Self::None) => one,
            (Self::Registry(a), Self::Registry(b)) if a == b => self,
            (Self::Registry(_) | Self::Several, Self::Registry(_) | Self::Several) => Self::Several,
        }
    }
}

/// One rule. Its texts stand in the arena one after the other: pattern, location, id.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    pub(super) at: u32,
    /// Which of the table's terms.
    pub(super) terms: u32,
    pub(super) pattern_length: u16,
    pub(super) location_length: u16,
    pub(super) id_length: u16,
    pub(super) star: Option<Star>,
}

/// What many rules share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Terms {
    /// Which of the table's registries.
    pub(super) registry: u32,
    pub(super) delivery: Delivery,
    pub(super) credentials: Credentials,
    /// Whether other registries have the same.
    pub(super) has_others: bool,
    /// Whether the next is asked where one has no such thing.
    pub(super) failover_on_404: bool,
}

impl Rule {
    pub(super) fn pattern(&self) -> Text {
        Text { at: self.at, length: self.pattern_length }
    }

    pub(super) fn prefix(&self) -> Text {
        let star = match self.star {
            None => 0,
            Some(Star::One) => 1,
            Some(Star::Many) => 2,
        };
        Text { at: self.at, length: self.pattern_length - star }
    }

    pub(super) fn location(&self) -> Text {
        Text { at: self.at + u32::from(self.pattern_length), length: self.location_length }
    }

    pub(super) fn id(&self) -> Text {
        let location = self.location();
        Text { at: location.at + u32::from(location.length), length: self.id_length }
    }
}

/// The rule that serves a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match<'t> {
    /// The rule's domain as configured, lower case; `*` for any.
    pub domain: &'t str,
    /// The package's id in the counts; empty if none is given.
    pub id: &'t str,
    /// The pattern as written (`acme/*`); empty for an exact name.
    pub collection: &'t str,
    /// `https://ghcr.io/v2/acme/rocket`; for a pattern up to where the tail joins:
    /// `https://ghcr.io/v2/acme/`.
    pub location: &'t str,
    /// How much of it is the registry's `/v2/`; behind it begins the backend's name.
    pub base_length: usize,
    /// Which of the snapshot's registries that is.
    pub registry: usize,
    /// The other registries that have the same, in the order in which they are asked.
    pub others: &'t [Other],
    /// Whether the next is asked where one has no such thing.
    pub failover_on_404: bool,
    /// How it gets to clients.
    pub delivery: Delivery,
    /// Whose login the registry sees.
    pub credentials: Credentials,
    /// The byte of the public name where the tail begins; its length for an exact name.
    pub tail_from: usize,
}

/// Another registry that has what a rule serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Which of the snapshot's.
    pub registry: usize,
    /// As [`Match::location`].
    pub location: String,
    /// How much of it is the registry's `/v2/`.
    pub base_length: usize,
}

/// A text in the arena.
#[derive(Clone, Copy)]
pub(super) struct Text {
    pub(super) at: u32,
    pub(super) length: u16,
}

impl Text {
    pub(super) fn of(self, texts: &str) -> &str {
        &texts[self.at as usize..][..usize::from(self.length)]
    }
}

/// The host of a `Host` field in lower case, without port and final dot; `None` for what is longer
/// than a host can be.
pub fn host_name<'b>(host: &[u8], buffer: &'b mut [u8; HOST_BYTES_MAX]) -> Option<&'b [u8]> {
    let end = match host.first() {
        Some(b'[') => memchr::memchr(b']', host).map(|bracket| bracket + 1),
        _ => memchr::memchr(b':', host),
    };
    let name = host.get(..end.unwrap_or(host.len()))?;
    let name = name.strip_suffix(b".").unwrap_or(name);
    let lower = buffer.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    Some(lower)
}

/// Where domains are found that do not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// The first listener's.
    pub plain: u16,
    /// The first TLS listener's, if there is one.
    pub tls: Option<u16>,
}

impl Ports {
    /// Those that `gateway` listens at.
    pub fn of(gateway: &Gateway) -> Self {
        let first = |listen: &[SocketAddr]| listen.first().map(SocketAddr::port);
        let plain = first(&gateway.listen).unwrap_or(Scheme::Http.port());
        Self { plain, tls: first(&gateway.listen_tls) }
    }

    /// Where `host` is found in plain HTTP.
    pub fn plain_url(self, host: &str) -> String {
        url(Scheme::Http, host, self.plain)
    }

    /// Where it is found over TLS, or else in plain HTTP.
    pub(super) fn tls_url(self, host: &str) -> String {
        self.tls.map_or_else(|| self.plain_url(host), |port| url(Scheme::Https, host, port))
    }
}

fn url(scheme: Scheme, host: &str, port: u16) -> String {
    let port = if port == scheme.port() { String::new() } else { format!(":{port}") };
    [scheme.as_str(), host, &port].concat()
}

/// Where the gateway gives tokens, on every domain.
pub const TOKEN: &str = "/token";
