//! The prover's numbers, for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::schedule::Schedule;
use crate::pure::proof::Proof;

/// Written by the prover, read by the admin listener.
#[derive(Default)]
pub struct Record {
    proofs: [AtomicU64; PROOFS.len()],
    registries: [AtomicU64; 2],
    asks: [AtomicU64; 2],
    redirects_failing: AtomicU64,
}

impl Record {
    /// Repositories that may be redirected, by what is known of them.
    pub fn proofs(&self) -> impl Iterator<Item = (&'static str, u64)> {
        PROOFS.iter().zip(&self.proofs).map(|((_, state), count)| (*state, count.load(Relaxed)))
    }

    /// Registries whose `/v2/` was heard, and those where it was not.
    pub fn registries(&self) -> [u64; 2] {
        [self.registries[0].load(Relaxed), self.registries[1].load(Relaxed)]
    }

    /// Questions answered, and those that were not.
    pub fn asks(&self) -> [u64; 2] {
        [self.asks[0].load(Relaxed), self.asks[1].load(Relaxed)]
    }

    /// Packages whose configured redirect fails for most clients.
    pub fn redirects_failing(&self) -> u64 {
        self.redirects_failing.load(Relaxed)
    }

    pub(super) fn count_ask(&self, is_answered: bool) {
        self.asks[usize::from(!is_answered)].fetch_add(1, Relaxed);
    }

    pub(super) fn set(&self, known: &Schedule, redirects_failing: usize) {
        let (mut proofs, mut registries) = ([0; PROOFS.len()], [0; 2]);
        for registry in known.registries() {
            registries[usize::from(registry.facts().is_none())] += 1;
            for (_, proof) in registry.proofs() {
                if let Some(index) = PROOFS.iter().position(|(other, _)| *other == proof) {
                    proofs[index] += 1;
                }
            }
        }
        let counts = proofs.iter().chain(&registries);
        for (gauge, count) in self.proofs.iter().chain(&self.registries).zip(counts) {
            gauge.store(*count, Relaxed);
        }
        self.redirects_failing.store(redirects_failing as u64, Relaxed);
    }
}

const PROOFS: [(Proof, &str); 4] = [
    (Proof::Open, "open"),
    (Proof::Refused, "refused"),
    (Proof::Unknown, "unknown"),
    (Proof::WithToken, "with_token"),
];
