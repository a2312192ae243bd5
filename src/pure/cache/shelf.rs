//! The answers that one worker keeps, and those that it waits for.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry as Place;
use siphasher::sip::SipHasher13;

use super::{Failure, Good, Key, Scope, Told};
use crate::pure::backoff::Backoff;

/// Answers by what they are of: `V` is an answer, `W` is one who waits. They cost at most so many
/// bytes; past that those go that were not used for longest, but none that somebody waits for.
pub struct Shelf<V, W> {
    entries: HashMap<Key, Entry<V, W>, Keyed>,
    /// How many entries there are of each scope.
    scopes: HashMap<Scope, usize, FixedState>,
    bytes: usize,
    bytes_max: usize,
    /// How often anything was looked up: the entries' measure of age.
    uses: u64,
    rounds: u64,
}

/// How long an answer is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Without asking again.
    pub fresh_us: u64,
    /// While the registry cannot be asked.
    pub stale_us: u64,
}

/// What one who asks does.
#[derive(Debug, PartialEq, Eq)]
pub enum Want<V> {
    /// Take this.
    Told(Told<V>),
    /// Wait: for a round that is under way, or for this one, which has to be done and ends with
    /// [`Shelf::finish`] whatever happens.
    Wait(Option<u64>),
}

struct Entry<V, W> {
    good: Option<Good<V>>,
    under_way: Option<UnderWay<W>>,
    failed: Option<Failure>,
    failures: Backoff,
    used: u64,
}

struct UnderWay<W> {
    round: u64,
    waiting: Vec<W>,
}

/// Clients have a say in keys: which of them collide must be nobody's to guess.
struct Keyed(u64);

impl<V: Clone, W> Shelf<V, W> {
    /// Nothing is kept, in `bytes_max` at most. `seed` is a random number.
    pub fn new(bytes_max: usize, seed: u64) -> Self {
        let entries = HashMap::with_hasher(Keyed(seed));
        let scopes = HashMap::with_hasher(FixedState::with_seed(seed));
        Self { entries, scopes, bytes: 0, bytes_max, uses: 0, rounds: 0 }
    }

    /// Changes how much is kept.
    pub fn resize(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.trim();
    }

    /// What one who asks for `key` does. `wait` is called where that is to wait.
    pub fn want(
        &mut self,
        key: &Key,
        rules: Rules,
        now_us: u64,
        wait: impl FnOnce() -> W,
    ) -> Want<V> {
        self.uses += 1;
        let used = self.uses;
        if !self.entries.contains_key(key) {
            // Its round will end, and then it is seen whether there is room.
            self.entries.insert(key.clone(), Entry::new());
            *self.scopes.entry(key.scope()).or_default() += 1;
            self.bytes += cost::<V, W>(key);
        }
        let Some(entry) = self.entries.get_mut(key) else {
            unreachable!("it was put there a moment ago");
        };
        entry.used = used;
        if let Some(good) = entry.fresh(rules, now_us) {
            return Want::Told(Told::Fresh(good.clone()));
        }
        if entry.under_way.is_none()
            && let Some(failure) = &entry.failed
            && now_us < failure.until_us
        {
            return Want::Told(entry.without(failure.clone(), rules, now_us));
        }
        if let Some(under_way) = &mut entry.under_way {
            under_way.waiting.push(wait());
            return Want::Wait(None);
        }
        self.rounds += 1;
        entry.under_way = Some(UnderWay { round: self.rounds, waiting: vec![wait()] });
        Want::Wait(Some(self.rounds))
    }

    /// How round number `round` went: who is told, and what; nobody where it had ended already.
    pub fn finish(
        &mut self,
        key: &Key,
        round: u64,
        outcome: Told<V>,
        rules: Rules,
        now_us: u64,
    ) -> Option<(Vec<W>, Told<V>)> {
        let entry = self.entries.get_mut(key)?;
        let ended = entry.under_way.take_if(|under_way| under_way.round == round)?;
        let before = entry.bytes();
        let told = entry.learn(outcome, rules, now_us);
        // One that is large would drive out many that are small.
        entry.good.take_if(|good| good.bytes > self.bytes_max / PARTS_MIN);
        self.bytes = self.bytes - before + entry.bytes();
        self.trim();
        Some((ended.waiting, told))
    }

    /// What `key` is known to be without asking.
    pub fn fresh(&self, key: &Key, rules: Rules, now_us: u64) -> Option<&Good<V>> {
        self.entries.get(key)?.fresh(rules, now_us)
    }

    /// What is said of `key` where asking comes to `failure`, whatever is under way.
    pub fn without(&self, key: &Key, failure: Failure, rules: Rules, now_us: u64) -> Told<V> {
        match self.entries.get(key) {
            Some(entry) => entry.without(failure, rules, now_us),
            None => Told::Failed(failure),
        }
    }

    /// Nothing that is kept of `scope` is served any more.
    pub fn revoke(&mut self, scope: Scope) {
        if self.scopes.contains_key(&scope) {
            self.let_go(|key, _| key.scope() == scope);
        }
    }

    /// Whether round number `round` has not ended.
    pub fn is_under_way(&self, key: &Key, round: u64) -> bool {
        let entry = self.entries.get(key);
        entry.and_then(|entry| entry.under_way.as_ref()).is_some_and(|way| way.round == round)
    }

    /// What all of it costs.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Lets what was not used for longest go: an eighth at a time, so that looking for it is seldom.
    fn trim(&mut self) {
        while self.bytes > self.bytes_max {
            let idle = self.entries.values().filter(|entry| entry.under_way.is_none());
            let mut ages: Vec<u64> = idle.map(|entry| entry.used).collect();
            if ages.is_empty() {
                return;
            }
            let nth = ages.len() / 8;
            let (_, &mut newest_to_go, _) = ages.select_nth_unstable(nth);
            self.let_go(|_, entry| entry.used <= newest_to_go && entry.under_way.is_none());
        }
    }

    /// Lets everything that `goes` go; who waits for it is answered all the same.
    fn let_go(&mut self, goes: impl Fn(&Key, &Entry<V, W>) -> bool) {
        let Self { entries, scopes, bytes, .. } = self;
        entries.retain(|key, entry| {
            if !goes(key, entry) {
                return true;
            }
            *bytes -= entry.bytes();
            entry.good = None;
            if entry.under_way.is_some() {
                return true;
            }
            *bytes -= cost::<V, W>(key);
            if let Place::Occupied(mut left) = scopes.entry(key.scope()) {
                *left.get_mut() -= 1;
                if *left.get() == 0 {
                    left.remove();
                }
            }
            false
        });
    }
}

impl<V: Clone, W> Entry<V, W> {
    fn new() -> Self {
        Self { good: None, under_way: None, failed: None, failures: Backoff::default(), used: 0 }
    }

    fn bytes(&self) -> usize {
        self.good.as_ref().map_or(0, |good| good.bytes)
    }

    fn fresh(&self, rules: Rules, now_us: u64) -> Option<&Good<V>> {
        let good = self.good.as_ref();
        good.filter(|good| good.is_younger(rules.fresh_us, now_us))
    }

    /// What there is to say where the registry cannot be asked.
    fn without(&self, failure: Failure, rules: Rules, now_us: u64) -> Told<V> {
        let last =
            self.good.as_ref().filter(|good| good.lasts && good.is_younger(rules.stale_us, now_us));
        match last {
            Some(good) => Told::Stale(good.clone(), failure),
            None => Told::Failed(failure),
        }
    }

    fn learn(&mut self, outcome: Told<V>, rules: Rules, now_us: u64) -> Told<V> {
        let failure = match outcome {
            Told::Fresh(good) => {
                self.failed = None;
                self.failures = Backoff::default();
                self.good = Some(good.clone());
                return Told::Fresh(good);
            }
            // The registry has spoken: what it said before is over.
            Told::Said(value) => {
                self.failed = None;
                self.good = None;
                return Told::Said(value);
            }
            Told::Failed(failure) if !failure.is_outage() => {
                self.good = None;
                return Told::Failed(failure);
            }
            Told::Failed(failure) => failure,
            Told::Stale(good, failure) => {
                if self.good.as_ref().is_none_or(|own| own.since_us < good.since_us) {
                    self.good = Some(good);
                }
                failure
            }
        };
        self.failures.step(now_us);
        let until_us = failure.until_us.max(self.failures.until_us());
        let failure = Failure { until_us, ..failure };
        self.failed = Some(failure.clone());
        self.without(failure, rules, now_us)
    }
}

/// Of one worker's share of memory, no answer takes more than one part in so many.
pub(super) const PARTS_MIN: usize = 8;

/// What an entry costs beside its answer: its place in a map that is half full at the worst, its
/// key, and what allocations cost.
fn cost<V, W>(key: &Key) -> usize {
    2 * size_of::<(Key, Entry<V, W>)>() + key.len() + 32
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, 0)
    }
}
