//! One registry as it is asked: what is known of it and its repositories, and whose turn it is.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{Answer, Facts};
use crate::pure::proof::Proof;
use crate::pure::route::pattern::Star;

/// The repositories of one registry that clients may be sent to.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Those with a rule of their own.
    pub(super) own: Vec<String>,
    /// Those that clients name under a pattern: what stands before its star, and the star.
    pub(super) patterns: HashSet<(String, Star)>,
}

/// See the module.
pub(super) struct Registry {
    /// `https://ghcr.io/v2/`
    pub(super) base: Arc<str>,
    facts: Option<Facts>,
    /// Since when its `/v2/` asks for a login, or does not.
    since: Duration,
    /// When its `/v2/` is to be asked.
    due: Duration,
    /// Since when its `/v2/` has not been answered.
    failing_since: Option<Duration>,
    /// Failures in a row, whatever was asked.
    failures: u32,
    /// Nothing is asked before.
    quiet_until: Duration,
    patterns: HashSet<(String, Star)>,
    repositories: HashMap<Arc<str>, Repository>,
    /// How many of them have no rule of their own.
    patterned: usize,
    /// Never asked: with a rule of their own, and under patterns. A name counts only where its
    /// repository is [`Turn::First`].
    first: [VecDeque<Arc<str>>; 2],
    first_of_patterned: bool,
    /// Asked before, by when they are to be asked again.
    again: BTreeSet<(Duration, Arc<str>)>,
}

struct Repository {
    proof: Proof,
    is_patterned: bool,
    turn: Turn,
    failing_since: Option<Duration>,
    failures: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Waits to be asked the first time; it may have been brought to the front.
    First { is_hurried: bool },
    /// Asked, or to be asked again.
    Later,
}

impl Registry {
    pub(super) fn new(base: Arc<str>, now: Duration) -> Self {
        Self {
            base,
            facts: None,
            since: now,
            due: now,
            failing_since: None,
            failures: 0,
            quiet_until: now,
            patterns: HashSet::new(),
            repositories: HashMap::new(),
            patterned: 0,
            first: Default::default(),
            first_of_patterned: false,
            again: BTreeSet::new(),
        }
    }

    /// Its repositories are these from now on.
    pub(super) fn adopt(&mut self, names: Names) {
        self.patterns = names.patterns;
        for repository in self.repositories.values_mut() {
            repository.is_patterned = true;
        }
        for name in names.own {
            match self.repositories.get_mut(&*name) {
                Some(repository) => repository.is_patterned = false,
                None => self.add(name.into(), false),
            }
        }
        let patterns = &self.patterns;
        self.repositories
            .retain(|name, repository| !repository.is_patterned || covers(patterns, name));
        self.again.retain(|(_, name)| self.repositories.contains_key(name));
        for queue in &mut self.first {
            queue.retain(|name| self.repositories.contains_key(name));
        }
        let patterned = self.repositories.values().filter(|repository| repository.is_patterned);
        self.patterned = patterned.count();
    }

    /// A client asked for `name`, and nothing was known of it; `has_room` for one more name under a
    /// pattern.
    pub(super) fn want(&mut self, name: &str, has_room: bool) {
        if let Some((name, _)) = self.repositories.get_key_value(name) {
            let name = Arc::clone(name);
            if let Some(repository) = self.repositories.get_mut(&name)
                && repository.turn == (Turn::First { is_hurried: false })
                && !repository.is_patterned
            {
                repository.turn = Turn::First { is_hurried: true };
                self.first[0].push_front(name);
            }
        } else if has_room
            && self.facts.as_ref().is_none_or(|facts| facts.is_for_all)
            && self.first[1].len() < PATTERNED_WAITING_MAX
            && covers(&self.patterns, name)
        {
            self.patterned += 1;
            self.add(name.into(), true);
        }
    }

    /// Whether its `/v2/` is to be asked.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        self.quiet_until <= now && self.due <= now
    }

    /// Nothing is asked before `until`.
    pub(super) fn quieten(&mut self, until: Duration) {
        self.quiet_until = self.quiet_until.max(until);
    }

    /// The repository to ask now, if any.
    pub(super) fn next(&mut self, now: Duration) -> Option<Arc<str>> {
        let is_worth_it = self.facts.as_ref().is_some_and(|facts| facts.is_for_all);
        if now < self.quiet_until || !is_worth_it || self.failing_since.is_some() {
            return None;
        }
        if let Some(name) = self.next_first() {
            self.quieten(now + PACE);
            return Some(name);
        }
        while self.again.first().is_some_and(|(due, _)| *due <= now) {
            let (_, name) = self.again.pop_first()?;
            let repository = self.repositories.get(&name)?;
            if repository.is_patterned && repository.proof == Proof::Refused {
                // Nobody may ever ask for it again; who does brings it back.
                self.repositories.remove(&name);
                self.patterned -= 1;
                continue;
            }
            self.quieten(now + PACE_OF_REPEATS);
            return Some(name);
        }
        None
    }

    /// What `name`, or `/v2/`, answered; says whether what is known has changed.
    pub(super) fn told(
        &mut self,
        name: Option<&Arc<str>>,
        answer: Answer,
        now: Duration,
        dice: &mut Dice,
    ) -> bool {
        if let Answer::Failed(retry_after) = &answer {
            let asked_for = retry_after.map(|pause| pause.clamp(BACK_OFF, RETRY_AFTER_MAX));
            let pause = asked_for.unwrap_or_else(|| back_off(self.failures));
            self.failures += 1;
            self.quieten(now + dice.about(pause));
        } else {
            self.failures = 0;
        }
        match name {
            None => self.told_of_base(answer, now, dice),
            Some(name) => self.told_of_repository(name, &answer, now, dice),
        }
    }

    /// What its `/v2/` said.
    pub(super) fn facts(&self) -> Option<&Facts> {
        self.facts.as_ref()
    }

    /// Since when its `/v2/` asks for a login, or does not.
    pub(super) fn since(&self) -> Duration {
        self.since
    }

    /// How many names without a rule of their own are remembered.
    pub(super) fn patterned(&self) -> usize {
        self.patterned
    }

    /// What is known of its repositories.
    pub(super) fn proofs(&self) -> impl Iterator<Item = (&str, Proof)> {
        self.repositories.iter().map(|(name, repository)| (&**name, self.proof_of(repository)))
    }

    /// What is known of one of them.
    pub(super) fn proof(&self, name: &str) -> Proof {
        self.repositories.get(name).map_or(Proof::Unknown, |known| self.proof_of(known))
    }

    fn proof_of(&self, repository: &Repository) -> Proof {
        match &self.facts {
            None => Proof::Unknown,
            Some(facts) if !facts.is_for_all => Proof::Refused,
            Some(_) => repository.proof,
        }
    }

    fn add(&mut self, name: Arc<str>, is_patterned: bool) {
        let repository = Repository {
            proof: Proof::Unknown,
            is_patterned,
            turn: Turn::First { is_hurried: false },
            failing_since: None,
            failures: 0,
        };
        self.repositories.insert(Arc::clone(&name), repository);
        self.first[usize::from(is_patterned)].push_back(name);
    }

    fn next_first(&mut self) -> Option<Arc<str>> {
        let turn = usize::from(self.first_of_patterned);
        for queue in [turn, 1 - turn] {
            while let Some(name) = self.first[queue].pop_front() {
                // What is gone meanwhile, or was asked when it was hurried, stands here still.
                if let Some(repository) = self.repositories.get_mut(&name)
                    && repository.turn != Turn::Later
                {
                    repository.turn = Turn::Later;
                    self.first_of_patterned = queue == 0;
                    return Some(name);
                }
            }
        }
        None
    }

    fn told_of_base(&mut self, answer: Answer, now: Duration, dice: &mut Dice) -> bool {
        let facts = if let Answer::Base(facts) = answer {
            self.failing_since = None;
            self.due = now + dice.about(REPEAT);
            Some(facts)
        } else {
            // The pause after a failure is all there is to wait for.
            self.due = now;
            let since = *self.failing_since.get_or_insert(now);
            self.facts.clone().filter(|_| now - since < KEPT_WHILE_FAILING)
        };
        let asks = |facts: &Option<Facts>| facts.as_ref().map(|facts| facts.challenge.is_some());
        if asks(&self.facts) != asks(&facts) {
            self.since = now;
        }
        let before = std::mem::replace(&mut self.facts, facts);
        before != self.facts
    }

    fn told_of_repository(
        &mut self,
        name: &Arc<str>,
        answer: &Answer,
        now: Duration,
        dice: &mut Dice,
    ) -> bool {
        let Some(repository) = self.repositories.get_mut(name) else {
            return false;
        };
        let before = repository.proof;
        let wait = if let Answer::Repository(proof) = answer {
            repository.proof = *proof;
            repository.failing_since = None;
            repository.failures = 0;
            REPEAT
        } else {
            let since = *repository.failing_since.get_or_insert(now);
            if now - since >= KEPT_WHILE_FAILING {
                repository.proof = Proof::Unknown;
            }
            repository.failures += 1;
            back_off(repository.failures)
        };
        repository.turn = Turn::Later;
        let proof = repository.proof;
        if repository.is_patterned && proof == Proof::Unknown {
            // Who asks for it again brings it back.
            self.repositories.remove(name);
            self.patterned -= 1;
        } else {
            self.again.insert((now + dice.about(wait), Arc::clone(name)));
        }
        before != proof
    }
}

/// Whether a pattern stands for `name`.
fn covers(patterns: &HashSet<(String, Star)>, name: &str) -> bool {
    let has = |prefix: &str, star| patterns.contains(&(prefix.to_owned(), star));
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let mut prefixes = name.match_indices('/').map(|(slash, _)| &name[..=slash]);
    has(&name[..last], Star::One) || has("", Star::Many) || prefixes.any(|p| has(p, Star::Many))
}

/// Doubles with each failure.
fn back_off(failures: u32) -> Duration {
    BACK_OFF.saturating_mul(1 << failures.min(16)).min(REPEAT)
}

/// Spreads what was asked at once: xorshift64 (Marsaglia, 2003).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed | 1)
    }

    /// Something between 0.8 and 1.2 of `time`.
    pub(super) fn about(&mut self, time: Duration) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let share = u32::try_from(self.0 % 401).unwrap_or(0);
        time * (800 + share) / 1000
    }
}

/// From one question to the next. A question is up to three requests: without a token, for a token,
/// with it. ECR Public answers one request a second to the anonymous, and says so by 429.
pub(super) const PACE: Duration = Duration::from_millis(200);
const PACE_OF_REPEATS: Duration = Duration::from_secs(1);
/// How often what is known is asked again, give or take a fifth.
const REPEAT: Duration = Duration::from_secs(5 * 60);
/// The first pause after a failure, and the longest that a registry may ask for.
const BACK_OFF: Duration = Duration::from_secs(2);
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60 * 60);
/// How long what was known stays while it cannot be asked again.
const KEPT_WHILE_FAILING: Duration = Duration::from_secs(30 * 60);
/// Names under patterns that wait to be asked of one registry: more than three minutes' worth would
/// keep those who come later waiting, and they are named again at the next request anyway.
const PATTERNED_WAITING_MAX: usize = 1000;
