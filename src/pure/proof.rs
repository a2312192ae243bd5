//! What control has found out about registries: who can pull what there without a login. Immutable;
//! what is found out later comes in a new one.

use std::hash::Hasher as _;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};
use siphasher::sip::SipHasher13;

use crate::pure::limits::CHALLENGE_BYTES_MAX;

/// What is known of one repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing: it was not asked for yet, or did not answer.
    Unknown,
    /// Not everybody can pull it, or a redirect there is not safe.
    Refused,
    /// Everybody can pull it, without a token.
    Open,
    /// Everybody can pull it, with a token that the registry gives to anybody.
    WithToken,
}

/// What is known of one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryProof {
    /// What its `/v2/` demands, as `WWW-Authenticate` says it; `None` where it demands nothing.
    pub challenge: Option<String>,
    /// Since when that is known, in microseconds of the monotonic clock.
    pub since_us: u64,
}

/// All that is known.
#[derive(Default)]
pub struct Proofs {
    repositories: HashTable<(String, Proof)>,
    registries: HashMap<String, RegistryProof, FixedState>,
    seed: u64,
}

impl Proofs {
    /// `seed` is random: the names under a pattern are the clients' to choose. From repositories by their URL (`https://ghcr.io/v2/acme/rocket`) and registries by theirs
    /// (`https://ghcr.io/v2/`), each once. A registry whose challenge cannot be relayed, because it
    /// is too long or no field's value, stays unknown.
    pub fn build(
        seed: u64,
        repositories: impl IntoIterator<Item = (String, Proof)>,
        registries: impl IntoIterator<Item = (String, RegistryProof)>,
    ) -> Self {
        let registries = registries.into_iter().filter(|(_, proof)| {
            proof.challenge.as_deref().is_none_or(|challenge| can_be_relayed(challenge.as_bytes()))
        });
        let mut proofs = Self { registries: registries.collect(), seed, ..Self::default() };
        let table = &mut proofs.repositories;
        for (location, proof) in repositories {
            let hash = hash_of(seed, &location, "");
            table.insert_unique(hash, (location, proof), |(it, _)| hash_of(seed, it, ""));
        }
        proofs
    }

    /// What is known of the repository whose URL is `location` and `tail` together. Allocates
    /// nothing.
    pub fn repository(&self, location: &str, tail: &str) -> Proof {
        let is_it = |(known, _): &(String, Proof)| {
            known.strip_prefix(location).is_some_and(|rest| rest == tail)
        };
        let found = self.repositories.find(hash_of(self.seed, location, tail), is_it);
        found.map_or(Proof::Unknown, |(_, proof)| *proof)
    }

    /// What is known of the registry with this base.
    pub fn registry(&self, base: &str) -> Option<&RegistryProof> {
        self.registries.get(base)
    }
}

/// RFC 9110, 5.5.
fn can_be_relayed(value: &[u8]) -> bool {
    (1..=CHALLENGE_BYTES_MAX).contains(&value.len())
        && value.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t' | 0x80..))
}

/// A hash of bytes, not of pieces: it does not matter where one ends and the other begins.
fn hash_of(seed: u64, location: &str, tail: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(seed, !seed);
    hasher.write(location.as_bytes());
    hasher.write(tail.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_found_however_its_url_is_cut() {
        let url = "https://ghcr.io/v2/acme/rocket";
        let registry = RegistryProof { challenge: None, since_us: 7 };
        let proofs = Proofs::build(
            7,
            [(url.to_owned(), Proof::Open), (format!("{url}s"), Proof::WithToken)],
            [("https://ghcr.io/v2/".to_owned(), registry.clone())],
        );
        for cut in 0..=url.len() {
            let (location, tail) = url.split_at(cut);
            assert_eq!(proofs.repository(location, tail), Proof::Open, "{cut}");
        }
        assert_eq!(proofs.repository(url, "s"), Proof::WithToken);
        assert_eq!(proofs.repository(url, "t"), Proof::Unknown);
        assert_eq!(proofs.registry("https://ghcr.io/v2/"), Some(&registry));
        assert_eq!(proofs.registry("http://ghcr.io/v2/"), None);
    }

    #[test]
    fn a_challenge_that_cannot_be_relayed_is_none() {
        for (challenge, is_known) in [
            ("Bearer realm=\"https://ghcr.io/token\"".to_owned(), true),
            ("Basic realm=\"caf\u{e9}\"".to_owned(), true),
            ("x".repeat(CHALLENGE_BYTES_MAX), true),
            ("x".repeat(CHALLENGE_BYTES_MAX + 1), false),
            ("Bearer\r\nX: y".to_owned(), false),
            (String::new(), false),
        ] {
            let proof = RegistryProof { challenge: Some(challenge), since_us: 0 };
            let proofs = Proofs::build(7, [], [("base".to_owned(), proof.clone())]);
            assert_eq!(proofs.registry("base").is_some(), is_known, "{proof:?}");
        }
    }
}
