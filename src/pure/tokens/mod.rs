//! Which tokens a worker holds for registries: which one is fresh, when it is fetched anew, who
//! waits for it meanwhile, and how long a token service that fails is left alone.
//!
//! Nothing is fetched here. Whoever is handed a [`Fetch`] fetches and says how it went; time is an
//! argument, in microseconds of a clock that does not go back.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use hashbrown::Equivalent;
use sha2::{Digest as _, Sha256};

use crate::pure::fault::{Fault, Kind};

mod held;
#[cfg(test)]
mod properties;

pub use held::{Fetch, Tokens, Want};

/// Who we are to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// Anybody.
    Anonymous,
    /// The account that is configured for the registry, by a digest of its name and password: another
    /// password is somebody else's until the registry has taken it.
    Account([u8; 32]),
    /// A client, by a digest of the login that it has sent.
    Client([u8; 32]),
}

impl Identity {
    /// Whose account this `username` and `password` are.
    pub fn account(username: &str, password: &str) -> Self {
        let digest = Sha256::new().chain_update(username).chain_update([0]);
        Self::Account(digest.chain_update(password).finalize().into())
    }

    /// What tells it from all others: a letter, and a digest where it is somebody.
    pub fn bytes(&self) -> (u8, &[u8]) {
        match self {
            Self::Anonymous => (b'-', &[]),
            Self::Account(digest) => (b'a', digest),
            Self::Client(digest) => (b'c', digest),
        }
    }

    /// Who sends this `login`.
    pub fn client(login: &[u8]) -> Self {
        Self::Client(Sha256::digest(login).into())
    }
}

/// What a token is for, and what it is never used beyond.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The registry's base, as `https://ghcr.io/v2/`.
    pub base: Box<str>,
    /// The repository's name there, as `acme/rocket`.
    pub repository: Box<str>,
    /// On whose behalf.
    pub identity: Identity,
}

/// A [`Key`] that owns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyRef<'k> {
    /// See [`Key::base`].
    pub base: &'k str,
    /// See [`Key::repository`].
    pub repository: &'k str,
    /// See [`Key::identity`].
    pub identity: Identity,
}

/// A token and how long it is good. It has no debug form: it is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Granted<T> {
    /// What a request carries.
    pub token: T,
    /// From when on the next one is fetched while this one still serves.
    pub renew_at_us: u64,
    /// From when on it does not serve any more.
    pub expires_at_us: u64,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoToken {
    /// The token service says, with this status, 401 or 403, that the repository is not ours to
    /// pull: it may be private, or may not exist. Also a registry that refuses its fresh tokens.
    Denied(u16),
    /// The token service failed, or may not be asked.
    Failed {
        /// What is wrong.
        fault: Fault,
        /// The token service's authority, for the words that a client sees.
        host: Box<str>,
    },
}

/// Which of `workers` fetches the tokens for `key`: all of them name the same one.
pub fn owner(key: KeyRef<'_>, workers: usize) -> usize {
    let hash = FixedState::with_seed(OWNER_SEED).hash_one(key);
    // The remainder is less than a number of workers.
    usize::try_from(hash % workers.max(1) as u64).unwrap_or(0)
}

impl<T> Granted<T> {
    /// A token that was asked for at `asked_at_us` and is good for `life_s` seconds from then: it
    /// is renewed after four fifths of them, and is not begun with in the last twentieth.
    pub fn for_s(token: T, asked_at_us: u64, life_s: u64) -> Self {
        let twentieth_us = life_s.min(LIFE_S_MAX) * 1_000_000 / 20;
        Self {
            token,
            renew_at_us: asked_at_us.saturating_add(16 * twentieth_us),
            expires_at_us: asked_at_us.saturating_add(19 * twentieth_us),
        }
    }

    /// The same, said otherwise.
    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> Granted<U> {
        let Self { token, renew_at_us, expires_at_us } = self;
        Granted { token: to(token), renew_at_us, expires_at_us }
    }
}

/// What failed at the token service is its fault to a client, whatever failed; but that it may not be
/// asked is the gateway's word.
impl From<NoToken> for Fault {
    fn from(none: NoToken) -> Self {
        match none {
            NoToken::Denied(401) => Self::new(Kind::UpstreamUnauthorized, ""),
            NoToken::Denied(_) => Self::new(Kind::UpstreamDenied, ""),
            NoToken::Failed { fault, .. } if fault.kind == Kind::UpstreamForbidden => fault,
            NoToken::Failed { fault, .. } => Self::new(Kind::TokenService, fault.detail),
        }
    }
}

impl Key {
    /// The same, borrowed.
    pub fn by_ref(&self) -> KeyRef<'_> {
        KeyRef { base: &self.base, repository: &self.repository, identity: self.identity }
    }
}

impl KeyRef<'_> {
    /// The same, owned.
    pub fn to_owned(self) -> Key {
        Key { base: self.base.into(), repository: self.repository.into(), identity: self.identity }
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.by_ref()
    }
}

/// The longest that a token is used: an hour later at the most, an account that was changed in the
/// configuration is in force. Real ones are good for one minute to half a day.
pub const LIFE_S_MAX: u64 = 60 * 60;

/// Any number, but the same for all workers.
const OWNER_SEED: u64 = 0x70_75_6c_6c;

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: KeyRef<'static> = KeyRef {
        base: "https://ghcr.io/v2/",
        repository: "acme/rocket",
        identity: Identity::Anonymous,
    };

    #[test]
    fn one_worker_owns_a_key_and_each_owns_some() {
        let names: Vec<String> = (0..100).map(|number| format!("acme/{number}")).collect();
        let mut keys = [0; 4];
        for repository in &names {
            keys[owner(KeyRef { repository, ..KEY }, 4)] += 1;
        }
        assert!(keys.iter().all(|&owned| owned > 10), "{keys:?}");
        assert_eq!(owner(KEY, 1), 0);
    }
}
