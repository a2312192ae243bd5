//! What a configuration wants to be asked, and which of its redirects the answers put in doubt.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::ask::Asker;
use super::registry::Names;
use super::schedule::{Schedule, Subject};
use crate::messages::keyring::Keyring;
use crate::pure::config::values::{Config, Credentials, Delivery, Package};
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
    /// Where it stands in the configuration; `None` for one that was made in the dashboard.
    pub(super) line: Option<usize>,
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
            let bases = bases.entry(&package.domain).or_default();
            bases.insert(package.backend.base());
        }
        let mut redirects = Vec::new();
        for package in &config.packages {
            let backend = &package.backend;
            let has_several = bases.get(&*package.domain).is_some_and(|bases| bases.len() > 1);
            let doubt = in_doubt(package, has_several);
            // With several registries, nobody is redirected.
            let may_redirect =
                package.credentials == Credentials::None && package.others.is_empty();
            if !may_redirect || (package.delivery != Delivery::Auto && doubt.is_none()) {
                continue;
            }
            let names = names.entry(backend.base()).or_default();
            match backend.star {
                None => names.own.push(backend.repository.clone()),
                Some(star) => drop(names.patterns.insert((backend.repository.clone(), star))),
            }
            redirects.extend(doubt);
        }
        let subject = |(base, names)| Subject { base, names };
        let subjects = names.into_iter().map(subject).collect();
        Self { asker: Asker::new(snapshot, keyring), subjects, redirects }
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
        let place = match self.line {
            Some(line) => format!("line {line}"),
            None => "made in the dashboard".to_owned(),
        };
        Some(format!(
            "{place}: {} is redirected to {}, which asks for a login, {}: most clients will fail; \
             set delivery to \"auto\" or \"broker\"",
            self.public, self.authority, self.why
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
        base: backend.base(),
        authority: backend.authority.clone(),
        repository: backend.star.is_none().then(|| backend.repository.clone()),
        why,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::control::keys;
    use crate::control::prove::{Answer, Facts};
    use crate::control::tests::compiled;

    /// Packages as `domain/name = backend, delivery`, one a line.
    fn plan(packages: &str) -> Plan {
        let package = |line: &str| {
            let (public, rest) = line.trim().split_once(" = ").unwrap();
            let (domain, name) = public.split_once('/').unwrap();
            let (backend, delivery) = rest.split_once(", ").unwrap();
            format!(
                "[[packages]]\ndomain = \"{domain}\"\nname = \"{name}\"\nbackend = \"{backend}\"\n\
                 delivery = \"{delivery}\"\n"
            )
        };
        let text: String = packages.lines().map(package).collect();
        let (config, snapshot) = compiled(&text);
        let keyring = keys::read("", &config).unwrap().keyring(&snapshot.registries);
        Plan::new(&config, Arc::new(snapshot), Arc::new(keyring))
    }

    /// What is asked of the registries, each as `base: names`.
    fn asked(packages: &str) -> Vec<String> {
        let subjects = plan(packages).subjects.into_iter();
        subjects
            .map(|Subject { base, names }| {
                let patterns = names.patterns.iter();
                let patterns = patterns.map(|(prefix, star)| format!("{prefix}{}", star.as_str()));
                let names: Vec<String> = names.own.iter().cloned().chain(patterns).collect();
                format!("{base}: {}", names.join(" "))
            })
            .collect()
    }

    #[test]
    fn asked_is_what_auto_may_redirect_and_every_registry() {
        assert_eq!(
            asked(
                "a.com/acme/x = ghcr.io/acme/x, auto
                   a.com/acme/y = ghcr.io/acme/y, broker
                   a.com/lib/** = ghcr.io/other/**, auto
                   b.com/acme/x = quay.io/acme/x, stream
                   c.com/acme/x = quay.io/acme/same, redirect"
            ),
            ["https://ghcr.io/v2/: acme/x other/**", "https://quay.io/v2/: acme/same"]
        );
    }

    /// Which redirects fail where each registry asks for a login, and `proof` is what its
    /// repositories showed.
    fn failing(packages: &str, challenge: Option<&str>, proof: Proof) -> Vec<String> {
        let plan = plan(packages);
        let mut schedule = Schedule::new(1);
        schedule.adopt(plan.subjects, Duration::ZERO);
        for second in 0..60 {
            let now = Duration::from_secs(second);
            while let Some(question) = schedule.next(now) {
                let challenge = challenge.map(str::to_owned);
                let answer = match &question.repository {
                    None => Answer::Base(Facts { challenge, is_for_all: true }),
                    Some(_) if proof == Proof::Unknown => Answer::Failed(None),
                    Some(_) => Answer::Repository(proof),
                };
                schedule.told(&question, answer, now);
            }
        }
        plan.redirects.iter().filter_map(|redirect| redirect.fails(&schedule)).collect()
    }

    #[test]
    fn a_redirect_fails_where_a_login_is_asked_for_and_the_client_cannot_know_whose() {
        let renamed = "a.com/acme/x = ghcr.io/acme/y, redirect";
        assert_eq!(
            failing(renamed, Some("Bearer"), Proof::WithToken),
            ["line 1: a.com/acme/x is redirected to ghcr.io, which asks for a login, under \
                 another name: most clients will fail; set delivery to \"auto\" or \"broker\""]
        );
        // Quay asks at its door, and serves its public repositories to everybody.
        assert_eq!(failing(renamed, Some("Bearer"), Proof::Open).len(), 0);
        assert_eq!(failing(renamed, Some("Bearer"), Proof::Unknown).len(), 0);
        assert_eq!(failing(renamed, None, Proof::Open).len(), 0);
        let several = "a.com/acme/x = ghcr.io/acme/x, redirect
                       a.com/acme/y = quay.io/acme/y, broker";
        assert_eq!(failing(several, Some("Bearer"), Proof::WithToken).len(), 1);
        let same = "a.com/acme/x = ghcr.io/acme/x, redirect";
        assert_eq!(failing(same, Some("Bearer"), Proof::WithToken).len(), 0);
        // Of a pattern only the registry can be judged.
        let pattern = "a.com/acme/* = ghcr.io/other/*, redirect";
        assert_eq!(failing(pattern, Some("Bearer"), Proof::Unknown).len(), 1);
    }
}
