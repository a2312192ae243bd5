//! When to ask which registry what. No I/O and no clock: time is an argument, and what the answers
//! say is told.
//!
//! A registry is asked for its `/v2/` first; while that fails, nothing else is asked of it. Then
//! come its repositories: what was never asked before what is asked again, and among the former
//! those with a rule of their own and those under patterns by turns, so that a flood of one kind
//! does not keep the other waiting. A registry hears a question at most every `PACE`, a repeated
//! one every `PACE_OF_REPEATS`, and has at most [`ASKS_PER_REGISTRY_MAX`] before it.

use std::sync::Arc;
use std::time::Duration;

use super::registry::{Dice, Names, PACE, Registry};
use super::{Answer, Question};
use crate::pure::proof::{Proof, Proofs, RegistryProof};

/// What one registry is to be asked.
#[derive(Debug, Default)]
pub(super) struct Subject {
    /// `https://ghcr.io/v2/`
    pub(super) base: String,
    /// Its repositories.
    pub(super) names: Names,
}

/// All registries, what is known of them, and what is to be asked when.
pub(super) struct Schedule {
    /// Sorted by base.
    registries: Vec<Registry>,
    /// Whose turn it is.
    turn: usize,
    under_way: Vec<Question>,
    dice: Dice,
    seed: u64,
    changed: bool,
}

impl Schedule {
    /// Of nothing yet. `seed`, which is random, spreads repeated questions over time.
    pub(super) fn new(seed: u64) -> Self {
        let dice = Dice::new(seed);
        Self { registries: Vec::new(), turn: 0, under_way: Vec::new(), dice, seed, changed: false }
    }

    /// Asks about these from now on. What is known of what stays, stays.
    pub(super) fn adopt(&mut self, subjects: Vec<Subject>, now: Duration) {
        let mut before = std::mem::take(&mut self.registries);
        for Subject { base, names } in subjects {
            let known = before.iter().position(|registry| *registry.base == *base);
            let mut registry = match known {
                Some(index) => before.swap_remove(index),
                None => Registry::new(base.into(), now),
            };
            registry.adopt(names);
            self.registries.push(registry);
        }
        self.registries.sort_by(|a, b| a.base.cmp(&b.base));
        self.turn = 0;
        self.changed = true;
    }

    /// A client asked for this repository, and nothing was known of it.
    pub(super) fn want(&mut self, base: &str, repository: &str) {
        let patterned: usize = self.registries.iter().map(Registry::patterned).sum();
        if let Some(index) = self.find(base) {
            self.registries[index].want(repository, patterned < PATTERNED_MAX);
        }
    }

    /// What to ask now, if anything; its answer must be told.
    pub(super) fn next(&mut self, now: Duration) -> Option<Question> {
        if self.under_way.len() >= ASKS_MAX {
            return None;
        }
        let count = self.registries.len();
        for index in (0..count).map(|offset| (self.turn + offset) % count) {
            let registry = &mut self.registries[index];
            let before_it = self.under_way.iter().filter(|asked| asked.base == registry.base);
            if before_it.count() >= ASKS_PER_REGISTRY_MAX {
                continue;
            }
            let base = Question { base: Arc::clone(&registry.base), repository: None };
            let question = if registry.is_due(now) && !self.under_way.contains(&base) {
                registry.quieten(now + PACE);
                base
            } else if let Some(name) = registry.next(now) {
                Question { repository: Some(name), ..base }
            } else {
                continue;
            };
            self.turn = (index + 1) % count;
            self.under_way.push(question.clone());
            return Some(question);
        }
        None
    }

    /// What `question` brought.
    pub(super) fn told(&mut self, question: &Question, answer: Answer, now: Duration) {
        self.under_way.retain(|asked| asked != question);
        if let Some(index) = self.find(&question.base) {
            let name = question.repository.as_ref();
            self.changed |= self.registries[index].told(name, answer, now, &mut self.dice);
        }
    }

    /// Whether [`Schedule::proofs`] may say something else than when this was asked last.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// All that is known.
    pub(super) fn proofs(&self) -> Proofs {
        let repositories = self.registries.iter().flat_map(|registry| {
            let known = registry.proofs().filter(|(_, proof)| *proof != Proof::Unknown);
            known.map(|(name, proof)| ([&*registry.base, name].concat(), proof))
        });
        let registries = self.registries.iter().filter_map(|registry| {
            let challenge = registry.facts()?.challenge.clone();
            let since_us = u64::try_from(registry.since().as_micros()).unwrap_or(u64::MAX);
            Some((registry.base.to_string(), RegistryProof { challenge, since_us }))
        });
        Proofs::build(self.seed, repositories, registries)
    }

    /// What is known of one registry.
    pub(super) fn registry(&self, base: &str) -> Option<&Registry> {
        self.find(base).map(|index| &self.registries[index])
    }

    /// All registries.
    pub(super) fn registries(&self) -> &[Registry] {
        &self.registries
    }

    fn find(&self, base: &str) -> Option<usize> {
        self.registries.binary_search_by(|registry| (*registry.base).cmp(base)).ok()
    }
}

/// Questions under way, of all registries and of one: one that answers slowly holds up no other.
const ASKS_MAX: usize = 8;
const ASKS_PER_REGISTRY_MAX: usize = 2;
/// Names under patterns that are remembered; a name of 40 bytes takes about 200.
const PATTERNED_MAX: usize = 100_000;
