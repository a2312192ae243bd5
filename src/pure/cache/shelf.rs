//! The answers that one worker keeps, and those that it waits for.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry as Place;
use siphasher::sip::SipHasher13;

use super::{Failure, Good, Key, Refused, Scope, Told};
use crate::pure::backoff::Backoff;

/// Answers by what they are of: `V` is an answer, `W` is one who waits. They cost at most so many
/// bytes; past that those go that were not used for longest, but none that somebody waits for.
pub struct Shelf<V, W> {
    entries: HashMap<Key, Entry<V, W>, Keyed>,
    /// The scopes that have entries.
    scopes: HashMap<Scope, Standing, FixedState>,
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

/// What holds for all entries of one scope.
struct Standing {
    /// How many there are.
    entries: usize,
    /// Whether anything was kept since the last refusal.
    has_kept: bool,
    /// What was asked for by then is not served any more: it was refused.
    refused_us: i64,
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
            let standing = self.scopes.entry(key.scope()).or_insert(Standing::NEW);
            standing.entries += 1;
            self.bytes += cost::<V, W>(key);
        }
        let refused_us = self.refused_us(key.scope());
        let Some(entry) = self.entries.get_mut(key) else {
            unreachable!("it was put there a moment ago");
        };
        entry.used = used;
        if let Some(good) = entry.fresh(refused_us, rules, now_us) {
            return Want::Told(Told::Fresh(good.clone()));
        }
        if entry.under_way.is_none()
            && let Some(failure) = &entry.failed
            && now_us < failure.until_us
        {
            return Want::Told(entry.without(failure.clone(), refused_us, rules, now_us));
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
        let refused_us = self.refused_us(key.scope());
        let entry = self.entries.get_mut(key)?;
        let ended = entry.under_way.take_if(|under_way| under_way.round == round)?;
        let before = entry.bytes();
        let told = entry.learn(outcome, refused_us, rules, now_us);
        // One that is large would drive out many that are small; one that was refused meanwhile is for
        // those who wait.
        let bytes_max = self.bytes_max / PARTS_MIN;
        entry.good.take_if(|good| good.bytes > bytes_max || good.since_us <= refused_us);
        self.bytes = self.bytes - before + entry.bytes();
        if let (Some(_), Some(standing)) = (&entry.good, self.scopes.get_mut(&key.scope())) {
            standing.has_kept = true;
        }
        self.trim();
        Some((ended.waiting, told))
    }

    /// What `key` is known to be without asking.
    pub fn fresh(&self, key: &Key, rules: Rules, now_us: u64) -> Option<&Good<V>> {
        self.entries.get(key)?.fresh(self.refused_us(key.scope()), rules, now_us)
    }

    /// What is said of `key` where asking comes to `failure`, whatever is under way.
    pub fn without(&self, key: &Key, failure: Failure, rules: Rules, now_us: u64) -> Told<V> {
        match self.entries.get(key) {
            Some(entry) => entry.without(failure, self.refused_us(key.scope()), rules, now_us),
            None => Told::Failed(failure),
        }
    }

    /// Nothing of what is `refused` is served any more that was asked for by `now_us`, also where a
    /// round brings it that is under way; says whether there may have been anything. It goes when
    /// there is no room for it: looking for it now would be work that anybody can cause who is refused.
    pub fn refuse(&mut self, refused: &Refused, now_us: i64) -> bool {
        let mut had_any = false;
        let mut refuse = |standing: &mut Standing| {
            standing.refused_us = now_us;
            had_any |= std::mem::take(&mut standing.has_kept);
        };
        match refused {
            Refused::These(these) => {
                for scope in these {
                    self.scopes.get_mut(scope).map(&mut refuse);
                }
            }
            Refused::All => self.scopes.values_mut().for_each(refuse),
        }
        had_any
    }

    /// By when what was asked for of `scope` is not served any more, as far as anything of it is here.
    pub fn refused_us(&self, scope: Scope) -> i64 {
        self.scopes.get(&scope).map_or(i64::MIN, |standing| standing.refused_us)
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
                left.get_mut().entries -= 1;
                if left.get().entries == 0 {
                    left.remove();
                }
            }
            false
        });
    }
}

impl Standing {
    /// There are none.
    const NEW: Self = Self { entries: 0, has_kept: false, refused_us: i64::MIN };
}

impl<V: Clone, W> Entry<V, W> {
    fn new() -> Self {
        Self { good: None, under_way: None, failed: None, failures: Backoff::default(), used: 0 }
    }

    fn bytes(&self) -> usize {
        self.good.as_ref().map_or(0, |good| good.bytes)
    }

    /// What is kept, unless it is over.
    fn kept(&self, refused_us: i64) -> Option<&Good<V>> {
        self.good.as_ref().filter(|good| good.since_us > refused_us)
    }

    fn fresh(&self, refused_us: i64, rules: Rules, now_us: u64) -> Option<&Good<V>> {
        self.kept(refused_us).filter(|good| good.is_younger(rules.fresh_us, now_us))
    }

    /// What there is to say where the registry cannot be asked.
    fn without(&self, failure: Failure, refused_us: i64, rules: Rules, now_us: u64) -> Told<V> {
        let is_good = |good: &&Good<V>| good.lasts && good.is_younger(rules.stale_us, now_us);
        match self.kept(refused_us).filter(is_good) {
            Some(good) => Told::Stale(good.clone(), failure),
            None => Told::Failed(failure),
        }
    }

    fn learn(&mut self, outcome: Told<V>, refused_us: i64, rules: Rules, now_us: u64) -> Told<V> {
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
        self.without(failure, refused_us, rules, now_us)
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
