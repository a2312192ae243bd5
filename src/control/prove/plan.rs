//! What a configuration wants to be asked, and which of its redirects the answers put in doubt.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::ask::Asker;
use super::registry::Names;
use super::schedule::{Schedule, Subject};
use crate::messages::keyring::Keyring;
use crate::pure::config::values::{Config, Credentials, Delivery, Package};
use crate::pure::oci::backend::Backend;
use crate::pure::proof::Proof;
use crate::pure::snapshot::Snapshot;

/// A configuration as the prover sees it.
pub struct Plan {
    pub(super) asker: Asker,
    /// What to ask; taken by the schedule.
    pub(super) subjects: Vec<Subject>,
    pub(super) redirects: Vec<Redirect>,
}

/// A package that is redirected whatever the client, in a way that a registry which asks for a
/// token makes fail.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Redirect {
    /// `registry.acme.com/acme/rocket`
    pub(super) public: String,
    /// Where it stands in the configuration.
    pub(super) line: usize,
    base: String,
    authority: String,
    /// `None` under a pattern.
    repository: Option<String>,
    why: &'static str,
}

impl Plan {
    /// Of `config`, from which `snapshot` and `keyring` were made.
    pub fn new(config: &Config, snapshot: Arc<Snapshot>, keyring: Arc<Keyring>) -> Self {
        let mut names: BTreeMap<String, Names> = BTreeMap::new();
        let mut bases: BTreeMap<&str, HashSet<String>> = BTreeMap::new();
        for registry in &snapshot.registries {
            names.entry(registry.base.clone()).or_default();
        }
        for package in &config.packages {
            bases.entry(&package.domain).or_default().insert(base(&package.backend));
        }
        let mut redirects = Vec::new();
        for package in &config.packages {
            let backend = &package.backend;
            let has_several = bases.get(&*package.domain).is_some_and(|bases| bases.len() > 1);
            let doubt = in_doubt(package, has_several);
            let is_anonymous = package.credentials == Credentials::None;
            if !is_anonymous || (package.delivery != Delivery::Auto && doubt.is_none()) {
                continue;
            }
            let names = names.entry(base(backend)).or_default();
            match backend.star {
                None => names.own.push(backend.repository.clone()),
                Some(star) => drop(names.patterns.insert((backend.repository.clone(), star))),
            }
            redirects.extend(doubt);
        }
        let subject = |(base, names)| Subject { base, names };
        let subjects = names.into_iter().map(subject).collect();
        Self { asker: Asker { snapshot, keyring }, subjects, redirects }
    }
}

impl Redirect {
    /// In which words it will fail for most clients, by what is known.
    pub(super) fn fails(&self, known: &Schedule) -> Option<String> {
        let registry = known.registry(&self.base)?;
        let facts = registry.facts()?;
        facts.challenge.as_ref()?;
        if let (true, Some(repository)) = (facts.is_for_all, &self.repository) {
            // The registry may ask for a login at its door and for none at this repository.
            match registry.proof(repository) {
                Proof::Unknown | Proof::Open => return None,
                Proof::Refused | Proof::WithToken => {}
            }
        }
        Some(format!(
            "line {}: {} is redirected to {}, which asks for a login, {}: most clients will fail; \
             set delivery to \"auto\" or \"broker\"",
            self.line, self.public, self.authority, self.why
        ))
    }
}

fn in_doubt(package: &Package, has_several: bool) -> Option<Redirect> {
    let Package { backend, name, .. } = package;
    let is_renamed = backend.repository != name.prefix;
    let why = match (is_renamed, has_several) {
        _ if package.delivery != Delivery::Redirect => return None,
        (true, _) => "under another name",
        (false, true) => "from a domain that leads to several registries",
        (false, false) => return None,
    };
    Some(Redirect {
        public: format!("{}/{name}", package.domain),
        line: package.line,
        base: base(backend),
        authority: backend.authority.clone(),
        repository: backend.star.is_none().then(|| backend.repository.clone()),
        why,
    })
}

fn base(backend: &Backend) -> String {
    [backend.scheme.as_str(), &backend.authority, "/v2/"].concat()
}
