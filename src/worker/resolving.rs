//! What looking up for redirects has shown of registries.

use std::collections::HashSet;

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
}
