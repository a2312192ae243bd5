//! Which domain gets a certificate of an authority next, and when: renewal, patience after failures,
//! and a pace that authorities allow. Times are in seconds since 1970.

use std::collections::{BTreeMap, BTreeSet};

use crate::pure::certificates::is_for;
use crate::pure::config::values::{Config, Proving};
use crate::pure::oci::backend::is_address;

/// The domains of `config` that can have a certificate, `own` not being among those of files: those
/// that packages name, and the dashboard's. An address, a star and what has no dot get none of a public authority.
pub fn domains<'c>(config: &'c Config, own: &[Box<str>]) -> BTreeSet<&'c str> {
    let of_packages = config.packages.iter().map(|package| package.domain.as_str());
    let named = of_packages.chain(config.admin.domain.as_deref());
    let can_be_had = |domain: &&str| {
        domain.contains('.')
            && !is_address(domain)
            && !own.iter().any(|name| is_for(name, domain.as_bytes()))
    };
    named.filter(can_be_had).collect()
}

/// What is planned for each domain.
#[derive(Debug, Default)]
pub struct Agenda {
    domains: BTreeMap<Box<str>, Plan>,
    pace: Pace,
    /// Until when the authority wants to be left alone, whichever domain it is about.
    hold_until_s: i64,
    /// How often in a row it could not be reached.
    unreachable: u32,
}

/// One domain's.
#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    held: Option<Held>,
    trouble: Trouble,
}

/// A certificate that a domain has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// When it became valid.
    pub begins_s: i64,
    /// When it ends.
    pub ends_s: i64,
    /// When it is to be renewed.
    renew_s: i64,
    /// When the authority is asked whether that is still right (RFC 9773, 4.3).
    ask_s: i64,
}

/// What went wrong with a domain since it last went well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// How often in a row.
    pub failures: u32,
    /// Before when it is not tried again.
    pub until_s: i64,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// This domain needs a certificate, its first or its next.
    Obtain(&'a str),
    /// The authority is asked when this domain's is to be renewed.
    Ask(&'a str),
    /// Nothing, before then.
    Wait(i64),
}

/// Why there is no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The authority refuses this domain, or has not found what proves it.
    Refused,
    /// The authority wants to be left alone, until then if it has said so.
    Limited(Option<i64>),
    /// The authority cannot be reached or does not work.
    Unreachable,
}

/// How a domain is proven to be ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a text in plain HTTP (RFC 8555, 8.3).
    Http,
    /// By a certificate in a handshake of its own (RFC 8737).
    Tls,
}

impl Way {
    /// The way to try after so many failures: where nothing is configured, one after the other.
    pub fn choose(configured: Proving, failures: u32) -> Self {
        match configured {
            Proving::Http => Self::Http,
            Proving::Tls => Self::Tls,
            Proving::Auto if failures.is_multiple_of(2) => Self::Http,
            Proving::Auto => Self::Tls,
        }
    }
}

impl Held {
    /// One that is renewed after two thirds of its life.
    pub fn new(begins_s: i64, ends_s: i64) -> Self {
        let life_s = ends_s.saturating_sub(begins_s).max(0);
        let renew_s = ends_s.saturating_sub(life_s / 3);
        Self { begins_s, ends_s, renew_s, ask_s: i64::MIN }
    }

    /// The authority wants it renewed between `from_s` and `to_s` (RFC 9773, 4.2): then at `chance`
    /// of 2^32 of that time, but never in the last tenth of its life.
    fn suggest(&mut self, from_s: i64, to_s: i64, chance: u32) {
        let span_s = i128::from(to_s.saturating_sub(from_s).max(0));
        let offset_s = (span_s * i128::from(chance)) >> 32;
        let suggested_s = from_s.saturating_add(i64::try_from(offset_s).unwrap_or(i64::MAX));
        let latest_s = self.ends_s.saturating_sub(self.ends_s.saturating_sub(self.begins_s) / 10);
        self.renew_s = suggested_s.min(latest_s);
    }
}

impl Agenda {
    /// These domains need certificates from now on, and no others. What is known of those that did
    /// before stays; of new ones `known` says what they have.
    pub fn adopt<'d>(
        &mut self,
        domains: impl IntoIterator<Item = &'d str>,
        known: impl Fn(&str) -> (Option<Held>, Trouble),
    ) {
        let mut before = std::mem::take(&mut self.domains);
        for domain in domains {
            let plan = before.remove(domain).unwrap_or_else(|| {
                let (held, trouble) = known(domain);
                Plan { held, trouble }
            });
            self.domains.insert(domain.into(), plan);
        }
    }

    /// What is to be done at `now_s`: who has no certificate comes first, then whose ends first.
    pub fn next(&self, now_s: i64) -> Step<'_> {
        let due = |plan: &Plan| self.due_of(plan);
        let ends = |plan: &Plan| plan.held.map_or(i64::MIN, |held| held.ends_s);
        let obtain = self.domains.iter().filter(|(_, plan)| due(plan) <= now_s);
        if let Some((domain, _)) = obtain.min_by_key(|(_, plan)| ends(plan)) {
            return Step::Obtain(domain);
        }
        let ask_s =
            |plan: &Plan| plan.held.map_or(i64::MAX, |held| held.ask_s).max(self.hold_until_s);
        let mut asks = self.domains.iter().filter(|(_, plan)| ask_s(plan) <= now_s);
        if let Some((domain, _)) = asks.next() {
            return Step::Ask(domain);
        }
        let next = self.domains.values().map(|plan| due(plan).min(ask_s(plan))).min();
        Step::Wait(next.unwrap_or(i64::MAX))
    }

    /// The authority is about to be asked for a certificate.
    pub fn begin(&mut self, now_s: i64) {
        self.pace.take(now_s);
    }

    /// `domain` has a certificate now.
    pub fn obtained(&mut self, domain: &str, held: Held) {
        self.unreachable = 0;
        if let Some(plan) = self.domains.get_mut(domain) {
            *plan = Plan { held: Some(held), trouble: Trouble::default() };
        }
    }

    /// The authority has said between when to renew `domain`'s, and to ask again at `ask_s`; `None`
    /// where it does not say such things.
    pub fn suggested(
        &mut self,
        domain: &str,
        window_s: Option<(i64, i64)>,
        ask_s: i64,
        chance: u32,
    ) {
        let held = self.domains.get_mut(domain).and_then(|plan| plan.held.as_mut());
        if let Some(held) = held {
            held.ask_s = ask_s;
            if let Some((from_s, to_s)) = window_s {
                held.suggest(from_s, to_s, chance);
            }
        }
    }

    /// It went wrong at `now_s`. Returns before when it is not tried again.
    pub fn failed(&mut self, domain: &str, failure: Failure, now_s: i64) -> i64 {
        match failure {
            Failure::Refused => {
                self.unreachable = 0;
                let Some(plan) = self.domains.get_mut(domain) else {
                    return now_s;
                };
                let trouble = &mut plan.trouble;
                let wait = REFUSED_WAITS_S.get(trouble.failures as usize);
                trouble.failures = trouble.failures.saturating_add(1);
                trouble.until_s = now_s.saturating_add(*wait.unwrap_or(&REFUSED_WAIT_S_MAX));
                trouble.until_s
            }
            Failure::Limited(until_s) => {
                let most_s = now_s.saturating_add(LIMITED_WAIT_S_MAX);
                let until_s = until_s.unwrap_or_else(|| now_s.saturating_add(LIMITED_WAIT_S));
                self.hold_until_s = until_s.clamp(now_s.saturating_add(1), most_s);
                self.hold_until_s
            }
            Failure::Unreachable => {
                let wait_s = (1 << self.unreachable.min(DOUBLINGS_MAX)).min(UNREACHABLE_WAIT_S_MAX);
                self.unreachable = self.unreachable.saturating_add(1);
                self.hold_until_s = now_s.saturating_add(wait_s);
                self.hold_until_s
            }
        }
    }

    /// All domains, in their order.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.keys().map(|domain| &**domain)
    }

    /// When a certificate for `domain` is asked for next; at once may be any time that is over.
    pub fn due_s(&self, domain: &str) -> i64 {
        self.domains.get(domain).map_or(i64::MAX, |plan| self.due_of(plan))
    }

    fn due_of(&self, plan: &Plan) -> i64 {
        let wanted_s = plan.held.map_or(i64::MIN, |held| held.renew_s);
        wanted_s.max(plan.trouble.until_s).max(self.hold_until_s).max(self.pace.free_s())
    }

    /// What went wrong with `domain`.
    pub fn trouble(&self, domain: &str) -> Trouble {
        self.domains.get(domain).map_or_else(Trouble::default, |plan| plan.trouble)
    }

    /// What `domain` has.
    pub fn held(&self, domain: &str) -> Option<Held> {
        self.domains.get(domain)?.held
    }
}

/// What an authority's refusal means: of the `kind` of RFC 8555, 6.7, with this status, where it wants
/// to be left alone until `retry_s`.
pub fn verdict(kind: &str, status: Option<u16>, retry_s: Option<i64>) -> Failure {
    match (kind, status) {
        ("rateLimited", _) | (_, Some(429)) => Failure::Limited(retry_s),
        // The account is made anew.
        ("badNonce" | "serverInternal" | "accountDoesNotExist", _) => Failure::Unreachable,
        (_, Some(500..)) => {
            retry_s.map_or(Failure::Unreachable, |at_s| Failure::Limited(Some(at_s)))
        }
        _ => Failure::Refused,
    }
}

/// What helps where an authority has refused a domain with this `kind` of RFC 8555, 6.7.
pub fn remedy(kind: &str, way: Way) -> &'static str {
    match (kind, way) {
        ("dns", _) => "give the domain an address in DNS that leads here",
        ("connection", Way::Http) => "let port 80 of the domain lead to gateway.listen",
        ("connection" | "tls", Way::Tls) => "let port 443 of the domain lead to gateway.listen_tls",
        ("unauthorized" | "incorrectResponse", Way::Http) => {
            "somebody else answers there: let the domain's port 80 lead to gateway.listen"
        }
        ("unauthorized" | "incorrectResponse", Way::Tls) => {
            "nobody answers there as we do: let the domain's port 443 lead to gateway.listen_tls"
        }
        ("caa", _) => "the domain's CAA record in DNS allows other authorities only; add this one",
        ("rateLimited", _) => "it was asked too often for this domain; it is left alone meanwhile",
        ("rejectedIdentifier", _) => {
            "it gives no certificate for such a name; bring one in [[certificates]]"
        }
        _ => "see `pullgate doctor` for whether the domain leads here",
    }
}

/// Orders, evenly over time after a first burst: Let's Encrypt takes 300 in three hours.
#[derive(Debug, Default)]
struct Pace {
    /// When all that was taken would have been taken evenly.
    even_s: i64,
}

impl Pace {
    fn free_s(&self) -> i64 {
        self.even_s.saturating_sub(BURST * EACH_S)
    }

    fn take(&mut self, now_s: i64) {
        self.even_s = self.even_s.max(now_s).saturating_add(EACH_S);
    }
}

/// Waits after a refusal. Let's Encrypt allows five failures of one host in an hour.
const REFUSED_WAITS_S: [i64; 8] = [120, 600, 1800, 3600, 7200, 14_400, 28_800, 43_200];
const REFUSED_WAIT_S_MAX: i64 = 43_200;
/// How long an authority is left alone that wants that and does not say until when, and at most.
const LIMITED_WAIT_S: i64 = 3600;
const LIMITED_WAIT_S_MAX: i64 = 7 * 24 * 3600;
/// Waits for one that cannot be reached double up to this.
const UNREACHABLE_WAIT_S_MAX: i64 = 600;
const DOUBLINGS_MAX: u32 = 10;
/// Orders at once, and seconds for each after those.
const BURST: i64 = 50;
const EACH_S: i64 = 45;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pure::config::check;

    const HOUR: i64 = 3600;

    fn agenda(domains: &[&str]) -> Agenda {
        let mut agenda = Agenda::default();
        agenda.adopt(domains.iter().copied(), |_| (None, Trouble::default()));
        agenda
    }

    #[test]
    fn domains_are_those_of_packages_that_an_authority_knows() {
        let text: String =
            ["*", "a.acme.com", "acme.shared.org", "localhost", "192.0.2.1", "b.acme.com", "f.org"]
                .iter()
                .map(|domain| {
                    format!(
                        "[[packages]]\ndomain = '{domain}'\nname = 'x'\nbackend = 'ghcr.io/x'\n"
                    )
                })
                .collect();
        let (config, _) = check("f", &text).unwrap();
        let own: [Box<str>; 2] = ["b.acme.com".into(), "*.org".into()];
        let found: Vec<_> = domains(&config, &own).into_iter().collect();
        assert_eq!(found, ["a.acme.com", "acme.shared.org"]);
    }

    #[test]
    fn who_has_none_comes_first_then_whose_ends_first() {
        let mut agenda = agenda(&["a.b", "c.d", "e.f"]);
        agenda.obtained("a.b", Held::new(0, 900));
        agenda.obtained("c.d", Held::new(0, 600));
        assert_eq!(agenda.next(700), Step::Obtain("e.f"));
        agenda.obtained("e.f", Held::new(700, 9_000));
        assert_eq!(agenda.next(700), Step::Obtain("c.d"));
        for domain in ["a.b", "c.d", "e.f"] {
            agenda.suggested(domain, None, i64::MAX, 0);
        }
        assert_eq!(agenda.next(300), Step::Wait(400), "two thirds of 600");
        agenda.adopt(["a.b"], |_| unreachable!("it is known"));
        assert_eq!(agenda.next(700), Step::Obtain("a.b"));
        agenda.adopt([], |_| unreachable!("there is none"));
        assert_eq!(agenda.next(700), Step::Wait(i64::MAX));
    }

    #[test]
    fn an_authority_is_asked_when_to_renew_and_heeded_up_to_the_last_tenth() {
        let mut agenda = agenda(&["a.b"]);
        agenda.obtained("a.b", Held::new(0, 1000));
        assert_eq!(agenda.next(1), Step::Ask("a.b"));
        agenda.suggested("a.b", Some((200, 400)), 500, u32::MAX / 2);
        assert_eq!(agenda.next(1), Step::Wait(299));
        agenda.suggested("a.b", Some((5_000, 6_000)), i64::MAX, 0);
        assert_eq!(agenda.next(899), Step::Wait(900));
        assert_eq!(agenda.next(900), Step::Obtain("a.b"));
        agenda.suggested("a.b", Some((-5, 5)), i64::MAX, 0);
        assert_eq!(agenda.next(1), Step::Obtain("a.b"), "at once: it may have been revoked");
    }

    #[test]
    fn one_that_wants_to_be_left_alone_is_whichever_domain_it_is_about() {
        let mut agenda = agenda(&["a.b", "c.d"]);
        assert_eq!(agenda.failed("a.b", Failure::Limited(Some(500)), 100), 500);
        assert_eq!(agenda.next(499), Step::Wait(500));
        assert_eq!(agenda.next(500), Step::Obtain("a.b"));
        assert_eq!(agenda.failed("a.b", Failure::Limited(None), 500), 500 + HOUR);
        let waits: Vec<_> =
            (0..12).map(|_| agenda.failed("a.b", Failure::Unreachable, 0)).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        assert_eq!(agenda.trouble("a.b"), Trouble::default(), "no fault of the domain");
    }

    #[test]
    fn ways_take_turns_where_none_is_configured() {
        let chosen = [0, 1, 2].map(|failures| Way::choose(Proving::Auto, failures));
        assert_eq!(chosen, [Way::Http, Way::Tls, Way::Http]);
        assert_eq!(Way::choose(Proving::Tls, 0), Way::Tls);
        assert_eq!(Way::choose(Proving::Http, 1), Way::Http);
    }

    #[test]
    fn what_an_authority_says_counts_against_whom_it_is_about() {
        for (kind, status, retry_s, failure) in [
            ("connection", Some(400), None, Failure::Refused),
            ("rateLimited", Some(429), Some(7), Failure::Limited(Some(7))),
            ("", Some(429), None, Failure::Limited(None)),
            ("badNonce", Some(400), None, Failure::Unreachable),
            ("serverInternal", Some(500), None, Failure::Unreachable),
            ("", Some(503), Some(9), Failure::Limited(Some(9))),
            ("unauthorized", None, Some(9), Failure::Refused),
        ] {
            assert_eq!(verdict(kind, status, retry_s), failure, "{kind}");
        }
        for kind in ["dns", "connection", "tls", "unauthorized", "caa", "rejectedIdentifier", "x"] {
            assert!(!remedy(kind, Way::Tls).is_empty());
        }
    }

    proptest! {
        /// Whoever fails whenever it may be tried, with looks at any times, fails less than five
        /// times in any hour, and all together are tried less than 300 times in three.
        #[test]
        fn limits_of_authorities_are_kept(
            looks in prop::collection::vec(1i64..2000, 1..400),
            many in 1usize..400,
        ) {
            let names: Vec<String> = (0..many).map(|index| format!("a{index}.b")).collect();
            let mut agenda = agenda(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let mut tried: BTreeMap<String, Vec<i64>> = BTreeMap::new();
            let mut now_s = 1_800_000_000;
            for look in looks {
                now_s += look;
                while let Step::Obtain(domain) = agenda.next(now_s) {
                    let domain = domain.to_owned();
                    agenda.begin(now_s);
                    prop_assert!(agenda.failed(&domain, Failure::Refused, now_s) > now_s);
                    tried.entry(domain).or_default().push(now_s);
                }
            }
            for times in tried.values() {
                prop_assert!(times.windows(5).all(|five| five[4] - five[0] > HOUR), "{times:?}");
            }
            let mut all: Vec<i64> = tried.into_values().flatten().collect();
            all.sort_unstable();
            prop_assert!(all.windows(300).all(|some| some[299] - some[0] > 3 * HOUR));
        }

        /// A certificate is renewed in its life, whatever is suggested, and never before it began
        /// unless the authority says so.
        #[test]
        fn renewal_is_in_time(begins_s in 0i64..1 << 40, life_s in 10i64..1 << 30,
                              from_s: i64, to_s: i64, chance: u32) {
            let mut held = Held::new(begins_s, begins_s + life_s);
            prop_assert!(held.renew_s >= begins_s + life_s / 2 && held.renew_s < held.ends_s);
            held.suggest(from_s, to_s, chance);
            prop_assert!(held.renew_s < held.ends_s);
        }
    }
}
