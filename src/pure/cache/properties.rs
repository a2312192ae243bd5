//! What holds for what is kept, compared with a record of everything that happened.

use proptest::prelude::*;

use super::shelf::PARTS_MIN;
use super::*;
use crate::pure::backoff::Backoff;

/// One thing that happens at a worker.
#[derive(Clone, Debug)]
enum Step {
    Pass(u64),
    Want(usize),
    /// The oldest round under way ends so.
    End(Ending),
    /// Of this scope, or of all, nothing is served any more.
    Refuse(Option<u8>),
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Fresh,
    /// 404: nothing that lasts.
    Absent,
    Said,
    Busy(u64),
    Refused,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let ms = prop_oneof![0..900_u64, 900..40_000_u64, 60_000..300_000_u64];
    let ending = prop_oneof![
        4 => Just(Ending::Fresh),
        1 => Just(Ending::Absent),
        1 => Just(Ending::Said),
        4 => (0..100_u64).prop_map(Ending::Busy),
        1 => Just(Ending::Refused),
    ];
    let step = prop_oneof![
        3 => ms.prop_map(Step::Pass),
        5 => (0..3_usize).prop_map(Step::Want),
        4 => ending.prop_map(Step::End),
        1 => prop::option::of(0..2_u8).prop_map(Step::Refuse),
    ];
    prop::collection::vec(step, 0..120)
}

fn key(number: usize) -> Key {
    let text = format!("key {number}").into();
    Key { text, names_content: false, scope: Scope([scope(number); 8]) }
}

fn scope(number: usize) -> u8 {
    number.to_le_bytes()[0] % 2
}

/// What is known of one key, as the list of all rounds that ended: when they began, when they
/// ended, and how. The value of an answer is the round's number.
#[derive(Default)]
struct Naive {
    ended: Vec<(u64, u64, u64, Ending)>,
    under_way: Option<(u64, u64)>,
    waiting: Vec<usize>,
    refused_us: Option<u64>,
}

impl Naive {
    /// The last round that said something of the key, if that is still worth anything.
    fn last(&self) -> Option<(u64, u64, bool)> {
        let spoke = self.ended.iter().rev().find(|(.., how)| !matches!(how, Ending::Busy(_)));
        let last = match spoke {
            Some(&(round, since, _, Ending::Fresh)) => Some((round, since, true)),
            Some(&(round, since, _, Ending::Absent)) => Some((round, since, false)),
            _ => None,
        };
        last.filter(|(_, since, _)| self.refused_us.is_none_or(|refused| refused < *since))
    }

    /// Until when the registry is left alone: as long as it says, and longer the oftener it failed
    /// in a row.
    fn held_until(&self) -> u64 {
        let mut until = 0;
        let mut backoff = Backoff::default();
        for &(.., at, how) in &self.ended {
            match how {
                Ending::Busy(seconds) => {
                    backoff.step(at);
                    until = (at + seconds * SECOND_US).max(backoff.until_us());
                }
                Ending::Fresh | Ending::Absent => (until, backoff) = (0, Backoff::default()),
                Ending::Said | Ending::Refused => until = 0,
            }
        }
        until
    }

    fn want(&self, now_us: u64) -> String {
        let last = self.last();
        if let Some((round, since, _)) = last
            && now_us < since + RULES.fresh_us
        {
            return format!("fresh {round}");
        }
        if self.under_way.is_none() && now_us < self.held_until() {
            return match last {
                Some((round, since, true)) if now_us < since + RULES.stale_us => {
                    format!("stale {round}")
                }
                _ => "failed".into(),
            };
        }
        if self.under_way.is_some() { "wait".into() } else { "begin".into() }
    }
}

fn said(told: &Told<u64>) -> String {
    match told {
        Told::Fresh(good) => format!("fresh {}", good.value),
        Told::Stale(good, _) => format!("stale {}", good.value),
        Told::Said(value) => format!("said {value}"),
        Told::Failed(_) => "failed".into(),
    }
}

fn outcome(how: Ending, round: u64, since_us: u64, now_us: u64) -> Told<u64> {
    let since_us = since_us as i64;
    let good = |lasts| Good { value: round, since_us, bytes: 100, lasts };
    let fault = |kind| Fault::new(kind, "");
    match how {
        Ending::Fresh => Told::Fresh(good(true)),
        Ending::Absent => Told::Fresh(good(false)),
        Ending::Said => Told::Said(round),
        Ending::Busy(seconds) => {
            Told::Failed(Failure::new(fault(Kind::UpstreamBusy), seconds, now_us))
        }
        Ending::Refused => Told::Failed(Failure::new(fault(Kind::UpstreamDenied), 0, now_us)),
    }
}

proptest! {
    /// What is told, who waits and who is told it, and when a registry is asked.
    #[test]
    fn each_is_told_what_the_record_says(steps in steps()) {
        let mut shelf: Shelf<u64, usize> = Shelf::new(usize::MAX, 1);
        let mut naive: [Naive; 3] = Default::default();
        let (mut now_us, mut waiter) = (1_000 * SECOND_US, 0);
        for step in steps {
            match step {
                Step::Pass(ms) => now_us += ms * 1_000,
                Step::Want(number) => {
                    let expected = naive[number].want(now_us);
                    waiter += 1;
                    let got = match shelf.want(&key(number), RULES, now_us, || waiter) {
                        Want::Told(told) => said(&told),
                        Want::Wait(None) => "wait".into(),
                        Want::Wait(Some(round)) => {
                            naive[number].under_way = Some((round, now_us));
                            "begin".into()
                        }
                    };
                    prop_assert_eq!(&got, &expected);
                    if matches!(&*got, "wait" | "begin") {
                        naive[number].waiting.push(waiter);
                    }
                }
                Step::Refuse(which) => {
                    let refused = match which {
                        Some(which) => Refused::These([Scope([which; 8])].into()),
                        None => Refused::All,
                    };
                    shelf.refuse(&refused, now_us as i64);
                    for (number, one) in naive.iter_mut().enumerate() {
                        if which.is_none_or(|which| which == scope(number)) {
                            one.refused_us = Some(now_us);
                        }
                    }
                    now_us += 1;
                }
                Step::End(how) => {
                    let oldest = naive.iter_mut().enumerate().filter_map(|(number, one)| {
                        one.under_way.map(|(round, _)| (round, number))
                    }).min();
                    let Some((round, number)) = oldest else { continue };
                    let one = &mut naive[number];
                    let (_, began_us) = one.under_way.take().unwrap();
                    one.ended.push((round, began_us, now_us, how));
                    let outcome = outcome(how, round, began_us, now_us);
                    let ended = shelf.finish(&key(number), round, outcome.clone(), RULES, now_us);
                    let (waiting, told) = ended.unwrap();
                    prop_assert_eq!(waiting, std::mem::take(&mut one.waiting));
                    let stale = one.last().filter(|(_, since, lasts)| {
                        *lasts && now_us < since + RULES.stale_us
                    });
                    let expected = match (how, stale) {
                        (Ending::Busy(_), Some((round, ..))) => format!("stale {round}"),
                        _ => said(&outcome),
                    };
                    prop_assert_eq!(said(&told), expected);
                    let again = shelf.finish(&key(number), round, outcome, RULES, now_us);
                    prop_assert!(again.is_none(), "it has ended");
                }
            }
        }
    }

    /// The bound holds whatever comes, but for what is under way, and what was used last stays.
    #[test]
    fn no_more_is_kept_than_there_is_room_for(
        sizes in prop::collection::vec((0..40_usize, 0..4_000_usize), 1..200),
    ) {
        let mut shelf: Shelf<u64, ()> = Shelf::new(ROOM_BYTES, 1);
        for (number, bytes) in sizes {
            let Want::Wait(Some(round)) = shelf.want(&key(number), NEVER, 0, || ()) else {
                panic!("nothing is fresh");
            };
            let good = Good { value: round, since_us: 0, bytes, lasts: true };
            shelf.finish(&key(number), round, Told::Fresh(good), NEVER, 0);
            prop_assert!(shelf.bytes() <= ROOM_BYTES);
            // What is large drives nothing out.
            let last = shelf.fresh(&key(number), RULES, 0);
            prop_assert_eq!(last.is_some(), bytes <= ROOM_BYTES / PARTS_MIN);
        }
        shelf.resize(0);
        prop_assert_eq!(shelf.bytes(), 0);
    }
}

const SECOND_US: u64 = 1_000_000;
const RULES: Rules = Rules { fresh_us: 30 * SECOND_US, stale_us: 300 * SECOND_US };
const NEVER: Rules = Rules { fresh_us: 0, stale_us: 0 };
const ROOM_BYTES: usize = 16_384;
