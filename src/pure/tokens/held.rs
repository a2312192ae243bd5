//! The tokens that one worker holds, and those that it waits for.

use std::hash::BuildHasher;

use hashbrown::HashMap;
use siphasher::sip::SipHasher13;

use crate::pure::backoff::Backoff;
use crate::pure::limits::TOKENS_MAX;
use crate::pure::tokens::{Granted, Key, KeyRef, LIFE_S_MAX, NoToken};

/// What one who needs a token does.
#[derive(PartialEq, Eq)]
pub enum Want<A, T> {
    /// Ask without one: nothing is known of this registry and repository.
    Unknown,
    /// Send this one; where it grows old, fetch the next.
    Use(Granted<T>, Option<Fetch<A>>),
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
    entries: HashMap<Key, Entry<A, T, W>, Keyed>,
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

/// Clients have a say in repositories' names: which of them collide must be nobody's to guess.
struct Keyed(u64);

struct UnderWay<W> {
    round: u64,
    waiting: Vec<W>,
}

impl<A: Clone, T: Clone + PartialEq, W> Tokens<A, T, W> {
    /// None is held. `seed` is a random number.
    pub fn new(seed: u64) -> Self {
        Self::with_room_for(TOKENS_MAX, seed)
    }

    fn with_room_for(entries_max: usize, seed: u64) -> Self {
        let entries = HashMap::with_hasher(Keyed(seed));
        Self { entries, entries_max, uses: 0, rounds: 0 }
    }

    /// A registry has said where tokens for `key` are fetched.
    pub fn fetched_at(&mut self, key: KeyRef<'_>, at: A) {
        self.entry(key).at = Some(at);
    }

    /// `key` needs no fetching: `token` serves for as long as any.
    pub fn hold(&mut self, key: KeyRef<'_>, token: T, now_us: u64) {
        let entry = self.entry(key);
        entry.at = None;
        entry.held = Some(Granted::for_s(token, now_us, LIFE_S_MAX));
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
        entry.held.take_if(|held| now_us >= held.expires_at_us);
        if refused.is_some() && entry.held.as_ref().map(|held| &held.token) == refused {
            if entry.refusals.holds(now_us) {
                return Want::None(NoToken::Denied(401));
            }
            entry.refusals.step(now_us);
            entry.held = None;
        }
        if let Some(held) = &entry.held {
            let held = held.clone();
            let renew = now_us >= held.renew_at_us && entry.may_fetch(now_us);
            return Want::Use(held, renew.then(|| entry.fetch(&mut self.rounds)).flatten());
        }
        let mut fetch = None;
        if entry.under_way.is_none() {
            if let Some(failed) = &entry.failed
                && entry.failures.holds(now_us)
            {
                return Want::None(failed.clone());
            }
            fetch = entry.fetch(&mut self.rounds);
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
                // One that is old already brings the next fetch no nearer: its owner has none newer.
                if now_us >= granted.renew_at_us {
                    entry.failures.step(now_us);
                } else {
                    entry.failures = Backoff::default();
                }
                entry.held = Some(granted);
                entry.failed = None;
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

    /// The token that is held for `key`, if it still serves.
    pub fn serving(&self, key: KeyRef<'_>, now_us: u64) -> Option<Granted<T>> {
        let held = self.entries.get(&key)?.held.clone();
        held.filter(|held| now_us < held.expires_at_us)
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

    /// Forgets an eighth, but nobody who waits: first what has brought no token, as invented logins
    /// do, then what was not used for longest. A whole share at a time, so that looking for it is
    /// seldom.
    fn forget_oldest(&mut self) {
        let mut ranks: Vec<_> = self.entries.values().map(Entry::rank).collect();
        let nth = ranks.len() / 8;
        let (_, &mut last_to_go, _) = ranks.select_nth_unstable(nth);
        self.entries.retain(|_, entry| entry.rank() > last_to_go || entry.under_way.is_some());
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

    /// What is forgotten first ranks lowest.
    fn rank(&self) -> (bool, u64) {
        (self.held.is_some(), self.used)
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

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::fault::{Fault, Kind};
    use crate::pure::tokens::Identity;

    /// Tokens by `A` = the challenge's number, `T` = a text, `W` = the waiter's name.
    struct Told(Tokens<u32, &'static str, &'static str>);

    const KEY: KeyRef<'static> = KeyRef {
        base: "https://ghcr.io/v2/",
        repository: "acme/rocket",
        identity: Identity::Anonymous,
    };

    impl Told {
        fn new() -> Self {
            Self(Tokens::new(1))
        }

        fn challenged() -> Self {
            let mut told = Self::new();
            told.0.fetched_at(KEY, 1);
            told
        }

        fn wants(&mut self, who: &'static str, refused: Option<&'static str>, at_s: f64) -> String {
            said(self.0.want(KEY, refused.as_ref(), us(at_s), || who))
        }

        /// Fetch `round` brings a token for a hundred seconds.
        fn brings(&mut self, round: u64, token: &'static str, at_s: f64) -> String {
            let granted = Granted::for_s(token, us(at_s), 100);
            self.0.finish(KEY, round, Ok(granted), us(at_s)).join(" ")
        }

        fn fails(&mut self, round: u64, at_s: f64) -> String {
            self.0.finish(KEY, round, Err(broken()), us(at_s)).join(" ")
        }
    }

    fn us(at_s: f64) -> u64 {
        std::time::Duration::from_secs_f64(at_s).as_micros().try_into().unwrap()
    }

    fn broken() -> NoToken {
        let fault = Fault::new(Kind::RequestsTooMany, "it is broken");
        NoToken::Failed { fault, host: "auth.test".into() }
    }

    fn said(want: Want<u32, &'static str>) -> String {
        let and = |fetch: Option<Fetch<u32>>| {
            fetch.map_or(String::new(), |Fetch { round, at }| format!(", fetch {round} from {at}"))
        };
        match want {
            Want::Unknown => "unknown".into(),
            Want::Use(held, fetch) => format!("use {}{}", held.token, and(fetch)),
            Want::Wait(fetch) => format!("wait{}", and(fetch)),
            Want::None(NoToken::Denied(status)) => format!("denied {status}"),
            Want::None(NoToken::Failed { fault, host }) => format!("{host}: {}", fault.detail),
        }
    }

    #[test]
    fn a_hundred_wait_for_one_fetch_and_all_are_told() {
        let mut told = Told::new();
        assert_eq!(told.wants("early", None, 0.0), "unknown");
        told.0.fetched_at(KEY, 1);
        assert_eq!(told.wants("first", None, 1.0), "wait, fetch 1 from 1");
        for _ in 1..100 {
            assert_eq!(told.wants("another", None, 1.0), "wait");
        }
        assert!(told.0.is_under_way(KEY, 1) && !told.0.is_under_way(KEY, 2));
        let all = told.brings(1, "T1", 1.5);
        assert_eq!((all.matches("first").count(), all.matches("another").count()), (1, 99));
        assert_eq!(told.brings(1, "T2", 1.6), "", "it has ended");
        assert_eq!(told.wants("late", None, 2.0), "use T1");
        assert_eq!(told.0.held(), 1);
    }

    #[test]
    fn the_next_is_fetched_while_the_old_one_serves() {
        let mut told = Told::challenged();
        told.wants("a", None, 0.0);
        told.brings(1, "T1", 0.0);
        assert_eq!(told.wants("b", None, 79.9), "use T1");
        assert_eq!(told.wants("c", None, 80.0), "use T1, fetch 2 from 1");
        assert_eq!(told.wants("d", None, 80.1), "use T1");
        assert_eq!(told.fails(2, 81.0), "", "nobody waits");
        assert_eq!(told.wants("e", None, 81.9), "use T1");
        assert_eq!(told.wants("f", None, 82.0), "use T1, fetch 3 from 1");
        assert_eq!(told.wants("g", None, 95.0), "wait", "five seconds are left, and not enough");
        assert_eq!(told.brings(3, "T2", 95.1), "g");
        assert_eq!(told.wants("h", None, 95.2), "use T2");
    }

    #[test]
    fn one_that_is_old_when_it_comes_is_not_asked_for_again_at_once() {
        let mut told = Told::challenged();
        assert_eq!(told.wants("a", None, 90.0), "wait, fetch 1 from 1");
        let granted = Granted::for_s("T1", 0, 100);
        assert_eq!(told.0.finish(KEY, 1, Ok(granted), us(90.0)), ["a"]);
        assert_eq!(told.wants("b", None, 90.9), "use T1");
        assert_eq!(told.wants("c", None, 91.0), "use T1, fetch 2 from 1");
        assert_eq!(told.brings(2, "T2", 91.0), "");
        assert_eq!(told.wants("d", None, 91.1), "use T2");
    }

    #[test]
    fn who_fails_is_left_alone_longer_and_longer() {
        let mut told = Told::challenged();
        assert_eq!(told.wants("a", None, 0.0), "wait, fetch 1 from 1");
        assert_eq!(told.fails(1, 0.0), "a");
        assert_eq!(told.wants("b", None, 0.9), "auth.test: it is broken");
        assert_eq!(told.wants("c", None, 1.0), "wait, fetch 2 from 1");
        assert_eq!(told.fails(2, 1.0), "c");
        assert_eq!(told.wants("d", None, 2.9), "auth.test: it is broken");
        assert_eq!(told.wants("e", None, 3.0), "wait, fetch 3 from 1");
        assert_eq!(told.brings(3, "T1", 3.0), "e");
        assert_eq!(told.wants("f", Some("T1"), 4.0), "wait, fetch 4 from 1");
        assert_eq!(told.fails(4, 4.0), "f");
        assert_eq!(told.wants("g", None, 4.9), "auth.test: it is broken", "it had recovered");
        assert_eq!(told.wants("h", None, 5.0), "wait, fetch 5 from 1");
    }

    #[test]
    fn a_refused_token_is_renewed_once_whoever_says_so() {
        let mut told = Told::challenged();
        told.wants("a", None, 0.0);
        told.brings(1, "T1", 0.0);
        assert_eq!(told.wants("b", Some("T1"), 9.0), "wait, fetch 2 from 1");
        assert_eq!(told.wants("c", Some("T1"), 9.0), "wait");
        assert_eq!(told.brings(2, "T2", 9.1), "b c");
        assert_eq!(told.wants("d", Some("T1"), 9.2), "use T2", "d comes late");
        // The registry takes none of them.
        assert_eq!(told.wants("e", Some("T2"), 9.5), "denied 401");
        assert_eq!(told.wants("f", None, 9.6), "use T2", "the service is not asked for each");
        let serving = |at_s| told.0.serving(KEY, us(at_s)).map(|held| held.token);
        assert_eq!((serving(9.6), serving(9_999.0)), (Some("T2"), None));
        assert_eq!(told.wants("g", Some("T2"), 10.0), "wait, fetch 3 from 1");
    }

    #[test]
    fn what_needs_no_fetching_serves_for_an_hour_unless_it_is_refused() {
        let mut told = Told::new();
        told.0.hold(KEY, "Basic", 0);
        assert_eq!(told.wants("a", None, 3_400.0), "use Basic");
        assert_eq!(told.wants("b", None, 3_600.0), "unknown");
        told.0.hold(KEY, "Basic", us(3_600.0));
        assert_eq!(told.wants("c", Some("Basic"), 3_600.0), "unknown");
        told.0.fetched_at(KEY, 2);
        assert_eq!(told.wants("d", None, 3_600.0), "wait, fetch 1 from 2");
    }

    #[test]
    fn what_was_not_used_for_longest_is_forgotten_but_nobody_who_waits() {
        let mut tokens = Tokens::with_room_for(16, 1);
        let names: Vec<String> = (0..40).map(|number| format!("acme/{number}")).collect();
        let key = |number: usize| KeyRef { repository: &names[number], ..KEY };
        tokens.fetched_at(key(0), 0);
        assert!(matches!(tokens.want(key(0), None, 0, || "waits"), Want::Wait(Some(_))));
        for number in 1..40 {
            tokens.hold(key(number), "T", 0);
            assert!(matches!(
                tokens.want(key(1), None, 0, || ""),
                Want::Use(Granted { token: "T", .. }, None)
            ));
            assert!(tokens.entries.len() <= 16);
        }
        assert_eq!(tokens.finish(key(0), 1, Err(broken()), 0), ["waits"]);
        let mut has = |number| tokens.want(key(number), None, 0, || "") != Want::Unknown;
        assert!(has(1) && has(39) && !has(2));
    }

    #[test]
    fn logins_that_bring_nothing_drive_out_none_that_do() {
        let mut tokens = Tokens::with_room_for(16, 1);
        let of = |number: u8| KeyRef { identity: Identity::Client([number; 32]), ..KEY };
        for good in 0..8 {
            tokens.hold(of(good), "T", 0);
        }
        for invented in 8..200 {
            tokens.fetched_at(of(invented), 0);
            let Want::Wait(Some(Fetch { round, .. })) = tokens.want(of(invented), None, 0, || "")
            else {
                panic!("nothing is held");
            };
            tokens.finish(of(invented), round, Err(NoToken::Denied(401)), 0);
            assert!(tokens.entries.len() <= 16);
        }
        let has = |good| tokens.serving(of(good), 1).is_some();
        assert!((0..8).all(has));
    }

    #[test]
    fn tokens_of_others_are_never_given() {
        let mut tokens = Tokens::new(1);
        tokens.hold(KEY, "mine", 0);
        for other in [
            KeyRef { base: "https://ghcr.io:444/v2/", ..KEY },
            KeyRef { base: "http://ghcr.io/v2/", ..KEY },
            KeyRef { repository: "acme/rocke", ..KEY },
            KeyRef { identity: Identity::Account([1; 32]), ..KEY },
        ] {
            assert!(tokens.want(other, None, 0, || ()) == Want::<u32, _>::Unknown, "{other:?}");
        }
    }
}
