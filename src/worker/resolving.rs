//! What looking up for redirects has shown of registries.

use std::collections::{HashMap, HashSet};

use crate::pure::cache::Scope;
use crate::pure::health::Health;
use crate::pure::limits::RESOLVED_REPOSITORIES_MAX;

/// Nothing at first.
#[derive(Default)]
pub struct Resolving {
    health: Health,
    /// Repositories that have shown anybody a manifest. Only of these it is believed that there is no
    /// such one: others may just not be shown to everybody.
    open: HashSet<Scope>,
    /// Repositories that are not shown to anybody, and until when that is believed.
    closed: HashMap<Scope, u64>,
}

impl Resolving {
    /// Whether a redirect to the registry with this `base` waits for its word at `now_us`.
    pub fn waits(&self, base: &str, now_us: u64) -> bool {
        !self.health.is_ill(base, now_us)
    }

    /// It did not say in time what there is: its redirects do not wait for a while.
    pub fn failed(&mut self, base: &str, now_us: u64) {
        self.health.failed(base, now_us);
    }

    /// It has said it.
    pub fn well(&mut self, base: &str) {
        self.health.well(base);
    }

    /// A repository has shown anybody a manifest.
    pub fn has_shown(&mut self, scope: Scope) {
        if self.open.len() >= RESOLVED_REPOSITORIES_MAX {
            self.open.clear();
        }
        self.open.insert(scope);
    }

    /// Whether it has.
    pub fn is_open(&self, scope: Scope) -> bool {
        self.open.contains(&scope)
    }

    /// A repository was not shown at `now_us` to somebody without a login.
    pub fn refused(&mut self, scope: Scope, now_us: u64) {
        if self.closed.len() >= RESOLVED_REPOSITORIES_MAX {
            self.closed.clear();
        }
        self.closed.insert(scope, now_us + CLOSED_US);
    }

    /// Whether that is so still.
    pub fn is_closed(&self, scope: Scope, now_us: u64) -> bool {
        self.closed.get(&scope).is_some_and(|until_us| now_us < *until_us)
    }
}

/// How long it is believed that a repository is not for everybody: a minute.
const CLOSED_US: u64 = 60_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::tokens::Identity;

    #[test]
    fn what_is_not_for_everybody_is_asked_for_again_after_a_minute() {
        let mut resolving = Resolving::default();
        let [refused, other] = ["a/b", "a/c"]
            .map(|repository| Scope::of("https://r", repository, Identity::Anonymous));
        resolving.refused(refused, 5);
        assert!(resolving.is_closed(refused, 5) && !resolving.is_closed(other, 5));
        assert!(resolving.is_closed(refused, CLOSED_US + 4));
        assert!(!resolving.is_closed(refused, CLOSED_US + 5));
    }
}
