//! How rules lie in the route table.

use std::ops::Range;

use super::pattern::Star;
use crate::pure::config::values::{Credentials, Delivery};

impl Facts {
    pub(super) fn joined(self, other: Self) -> Self {
        Self {
            clients_log_in: self.clients_log_in || other.clients_log_in,
            may_redirect: self.may_redirect || other.may_redirect,
            redirects: self.redirects || other.redirects,
            since_us: self.since_us.max(other.since_us),
        }
    }
}

/// One host's part of the table.
pub(super) struct Host {
    pub(super) name: Text,
    /// Where its rules stand.
    pub(super) rules: Range<u32>,
    /// The length of the longest prefix that a star follows; `None` without stars.
    pub(super) longest_prefix: Option<u16>,
    pub(super) base: HostBase,
    pub(super) facts: Facts,
    pub(super) list: bool,
}

/// What all rules of a host together say about `/v2/`, which names none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// For some, clients log in at the registry.
    pub clients_log_in: bool,
    /// For some, clients may be redirected: `redirect` or `auto`.
    pub may_redirect: bool,
    /// For some, clients are always redirected.
    pub redirects: bool,
    /// Since when this is so, in microseconds of the monotonic clock.
    pub since_us: u64,
}

#[derive(Clone, Copy)]
pub(super) enum HostBase {
    None,
    Registry { base: Text, index: u32 },
    Several,
}

/// One rule. Its texts stand in the arena one after the other: pattern, location, id.
#[derive(Clone, Copy)]
pub(super) struct Rule {
    pub(super) at: u32,
    pub(super) pattern_length: u16,
    pub(super) location_length: u16,
    /// How much of the location is the registry's `/v2/`.
    pub(super) base_length: u16,
    pub(super) id_length: u16,
    pub(super) star: Option<Star>,
    pub(super) delivery: Delivery,
    pub(super) credentials: Credentials,
    /// Which of the snapshot's registries.
    pub(super) registry: u32,
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

    pub(super) fn base(&self) -> Text {
        Text { length: self.base_length, ..self.location() }
    }

    pub(super) fn id(&self) -> Text {
        let location = self.location();
        Text { at: location.at + u32::from(location.length), length: self.id_length }
    }
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
