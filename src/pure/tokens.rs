//! Which tokens a worker holds for registries: which one is fresh, when it is fetched anew, who
//! waits for it meanwhile, and how long a token service that fails is left alone.
//!
//! Nothing is fetched here. Whoever is handed a [`Fetch`] fetches and says how it went; time is an
//! argument, in microseconds of a clock that does not go back.

use foldhash::fast::FixedState;
use hashbrown::{Equivalent, HashMap};
use std::hash::BuildHasher as _;

use crate::pure::backoff::Backoff;
use crate::pure::fault::Fault;
use crate::pure::limits::TOKENS_MAX;

/// Who we are to a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// Anybody.
    Anonymous,
    /// The account that is configured for the registry.
    Account,
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

/// What one who needs a token does.
#[derive(PartialEq, Eq)]
pub enum Want<A, T> {
    /// Ask without one: nothing is known of this registry and repository.
    Unknown,
    /// Send this one; where it grows old, fetch the next.
    Use(T, Option<Fetch<A>>),
    /// Wait, for this fetch or for one that is under way.
    Wait(Option<Fetch<A>>),
    /// Give up: there was none lately, and it is too early to try again.
    None(NoToken),
}

/// A fetch that has to be done, and ends with [`Tokens::finish`] whatever happens.
#[derive(Debug, PartialEq, Eq)]
pub struct Fetch<A> {
    /// Its number, which no other fetch of these tokens has.
    pub round: u64,
    /// Where to fetch.
    pub at: A,
}

/// Tokens by what they are for: `A` says where they are fetched, `T` is what requests carry, `W`
/// is one who waits. At most [`TOKENS_MAX`] are kept, and those that somebody waits for.
pub struct Tokens<A, T, W> {
    entries: HashMap<Key, Entry<A, T, W>, FixedState>,
    entries_max: usize,
    /// How often anything was looked up: the entries' measure of age.
    uses: u64,
    rounds: u64,
}

struct Entry<A, T, W> {
    at: Option<A>,
    held: Option<Granted<T>>,
    under_way: Option<UnderWay<W>>,
    failed: Option<NoToken>,
    failures: Backoff,
    refusals: Backoff,
    used: u64,
}

struct UnderWay<W> {
    round: u64,
    waiting: Vec<W>,
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

impl<A: Clone, T: Clone + PartialEq, W> Tokens<A, T, W> {
    /// None is held. `seed` should be nobody's to guess: clients have a say in repositories' names.
    pub fn new(seed: u64) -> Self {
        Self::with_room_for(TOKENS_MAX, seed)
    }

    fn with_room_for(entries_max: usize, seed: u64) -> Self {
        let entries = HashMap::with_hasher(FixedState::with_seed(seed));
        Self { entries, entries_max, uses: 0, rounds: 0 }
    }

    /// A registry has said where tokens for `key` are fetched.
    pub fn fetched_at(&mut self, key: KeyRef<'_>, at: A) {
        self.entry(key).at = Some(at);
    }

    /// `key` needs no fetching: `token` serves until it is refused.
    pub fn hold(&mut self, key: KeyRef<'_>, token: T) {
        let entry = self.entry(key);
        entry.at = None;
        entry.held = Some(Granted { token, renew_at_us: u64::MAX, expires_at_us: u64::MAX });
    }

    /// What one who needs a token for `key` does. `refused` is the token that the registry has just
    /// not taken; it is renewed once, whoever says so first, and not at all where renewing did not
    /// help a moment ago. `wait` is called where the answer is to wait.
    pub fn want(
        &mut self,
        key: KeyRef<'_>,
        refused: Option<&T>,
        now_us: u64,
        wait: impl FnOnce() -> W,
    ) -> Want<A, T> {
        let used = self.next_use();
        let Some(entry) = self.entries.get_mut(&key) else {
            return Want::Unknown;
        };
        entry.used = used;
        entry.held.take_if(|held| now_us >= held.expires_at_us || Some(&held.token) == refused);
        if let Some(held) = &entry.held {
            let token = held.token.clone();
            let renew = now_us >= held.renew_at_us && entry.may_fetch(now_us);
            return Want::Use(token, renew.then(|| entry.fetch(&mut self.rounds)).flatten());
        }
        let mut fetch = None;
        if entry.under_way.is_none() {
            if refused.is_some() && entry.refusals.holds(now_us) {
                return Want::None(NoToken::Denied(401));
            }
            if let Some(failed) = &entry.failed
                && entry.failures.holds(now_us)
            {
                return Want::None(failed.clone());
            }
            fetch = entry.fetch(&mut self.rounds);
            if refused.is_some() {
                entry.refusals.step(now_us);
            }
        }
        match &mut entry.under_way {
            Some(under_way) => {
                under_way.waiting.push(wait());
                Want::Wait(fetch)
            }
            None => Want::Unknown,
        }
    }

    /// How fetch number `round` went. Returns whom to tell; nobody where it had ended already.
    pub fn finish(
        &mut self,
        key: KeyRef<'_>,
        round: u64,
        outcome: Result<Granted<T>, NoToken>,
        now_us: u64,
    ) -> Vec<W> {
        let Some(entry) = self.entries.get_mut(&key) else {
            return Vec::new();
        };
        let Some(ended) = entry.under_way.take_if(|under_way| under_way.round == round) else {
            return Vec::new();
        };
        match outcome {
            Ok(granted) => {
                entry.held = Some(granted);
                entry.failed = None;
                entry.failures = Backoff::default();
            }
            Err(none) => {
                entry.failed = Some(none);
                entry.failures.step(now_us);
            }
        }
        ended.waiting
    }

    /// Whether fetch number `round` has not ended.
    pub fn is_under_way(&self, key: KeyRef<'_>, round: u64) -> bool {
        let entry = self.entries.get(&key);
        entry.and_then(|entry| entry.under_way.as_ref()).is_some_and(|way| way.round == round)
    }

    /// How many tokens are held, fresh or not.
    pub fn held(&self) -> usize {
        self.entries.values().filter(|entry| entry.held.is_some()).count()
    }

    fn entry(&mut self, key: KeyRef<'_>) -> &mut Entry<A, T, W> {
        if !self.entries.contains_key(&key) && self.entries.len() >= self.entries_max {
            self.forget_oldest();
        }
        let used = self.next_use();
        let entry = self.entries.entry(key.to_owned()).or_insert_with(Entry::new);
        entry.used = used;
        entry
    }

    /// Forgets the eighth that was not used for longest, but nobody who waits. A whole share at a
    /// time, so that looking for it is seldom.
    fn forget_oldest(&mut self) {
        let mut ages: Vec<u64> = self.entries.values().map(|entry| entry.used).collect();
        let nth = ages.len() / 8;
        let (_, &mut newest_to_go, _) = ages.select_nth_unstable(nth);
        self.entries.retain(|_, entry| entry.used > newest_to_go || entry.under_way.is_some());
    }

    fn next_use(&mut self) -> u64 {
        self.uses += 1;
        self.uses
    }
}

impl<A: Clone, T, W> Entry<A, T, W> {
    fn new() -> Self {
        Self {
            at: None,
            held: None,
            under_way: None,
            failed: None,
            failures: Backoff::default(),
            refusals: Backoff::default(),
            used: 0,
        }
    }

    fn may_fetch(&self, now_us: u64) -> bool {
        self.under_way.is_none() && !self.failures.holds(now_us)
    }

    /// Begins a fetch, where it is known where from.
    fn fetch(&mut self, rounds: &mut u64) -> Option<Fetch<A>> {
        let at = self.at.clone()?;
        *rounds += 1;
        self.under_way = Some(UnderWay { round: *rounds, waiting: Vec::new() });
        Some(Fetch { round: *rounds, at })
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

/// The longest that a token is believed to be good: half a day, as the longest of real ones.
const LIFE_S_MAX: u64 = 12 * 60 * 60;

/// Any number, but the same for all workers.
const OWNER_SEED: u64 = 0x70_75_6c_6c;
