//! What holds for tokens whatever happens, looked up in a record of everything that did.

use proptest::prelude::*;

use super::{Fetch, Granted, Identity, KeyRef, NoToken, Tokens, Want};

const KEY: KeyRef<'static> = KeyRef {
    base: "https://ghcr.io/v2/",
    repository: "acme/rocket",
    identity: Identity::Account([1; 32]),
};

const LIFE_S: u64 = 100;
const SECOND_US: u64 = 1_000_000;

#[derive(Clone, Debug)]
enum Step {
    Pass {
        ms: u64,
    },
    Want,
    /// The registry refuses the token that was given so many times ago.
    Refuse {
        back: usize,
    },
    Grant,
    Fail,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => prop_oneof![0..900_u64, 900..40_000_u64, 60_000..120_000_u64].prop_map(|ms| Step::Pass { ms }),
        4 => Just(Step::Want),
        2 => (0..3_usize).prop_map(|back| Step::Refuse { back }),
        2 => Just(Step::Grant),
        2 => Just(Step::Fail),
    ];
    prop::collection::vec(step, 0..120)
}

/// Everything that happened; tokens are the numbers of the fetches that brought them.
struct Record {
    tokens: Tokens<(), u64, usize>,
    now_us: u64,
    under_way: Option<u64>,
    given: Vec<u64>,
    granted: Vec<(u64, u64)>,
    /// Tokens that were refused while they were the newest.
    refused: Vec<u64>,
    failed_in_a_row: u32,
    failed_at_us: u64,
    waiting: Vec<usize>,
    waiters: usize,
}

impl Record {
    fn new() -> Self {
        let mut tokens = Tokens::new(1);
        tokens.fetched_at(KEY, ());
        Self {
            tokens,
            now_us: 1_000 * SECOND_US,
            under_way: None,
            given: Vec::new(),
            granted: Vec::new(),
            refused: Vec::new(),
            failed_in_a_row: 0,
            failed_at_us: 0,
            waiting: Vec::new(),
            waiters: 0,
        }
    }

    /// The newest token, if it is good for `share` twentieths of its life.
    fn good(&self, share: u64) -> Option<u64> {
        let &(token, at_us) = self.granted.last()?;
        let is_good = self.now_us < at_us + share * LIFE_S * SECOND_US / 20;
        (is_good && !self.refused.contains(&token)).then_some(token)
    }

    fn is_left_alone(&self) -> bool {
        let wait_s = match self.failed_in_a_row {
            0 => return false,
            failed => (1 << (failed - 1).min(10)).min(30),
        };
        self.now_us < self.failed_at_us + wait_s * SECOND_US
    }

    fn want(&mut self, refused: Option<u64>) -> Result<(), TestCaseError> {
        let waiter = self.waiters;
        let want = self.tokens.want(KEY, refused.as_ref(), self.now_us, || waiter);
        let fetch = match want {
            Want::Unknown => return Err(TestCaseError::fail("it is known")),
            Want::Use(Granted { token, .. }, fetch) => {
                prop_assert_eq!(Some(token), self.good(19));
                prop_assert_ne!(Some(token), refused);
                let is_old = self.good(16).is_none();
                let may = self.under_way.is_none() && !self.is_left_alone();
                prop_assert_eq!(fetch.is_some(), is_old && may, "the next one in good time");
                self.given.push(token);
                fetch
            }
            Want::Wait(fetch) => {
                prop_assert!(self.good(19).is_none() || refused.is_some());
                self.refused.extend(refused.filter(|_| refused == self.good(19)));
                prop_assert_eq!(fetch.is_some(), self.under_way.is_none(), "one at a time");
                prop_assert!(fetch.is_none() || !self.is_left_alone());
                self.waiting.push(waiter);
                self.waiters += 1;
                fetch
            }
            Want::None(NoToken::Denied(401)) if self.good(19).is_some() => {
                prop_assert_eq!(refused, self.good(19), "refused again, too early");
                prop_assert!(!self.refused.is_empty());
                None
            }
            Want::None(_) => {
                self.refused.extend(refused.filter(|_| refused == self.good(19)));
                prop_assert!(self.good(19).is_none());
                prop_assert!(self.is_left_alone() && self.under_way.is_none());
                None
            }
        };
        if let Some(Fetch { round, .. }) = fetch {
            prop_assert!(self.under_way.replace(round).is_none());
        }
        Ok(())
    }

    fn end(&mut self, well: bool) -> Result<(), TestCaseError> {
        let Some(round) = self.under_way.take() else {
            return Ok(());
        };
        let outcome = if well {
            self.granted.push((round, self.now_us));
            self.failed_in_a_row = 0;
            Ok(Granted::for_s(round, self.now_us, LIFE_S))
        } else {
            self.failed_in_a_row += 1;
            Err(NoToken::Denied(403))
        };
        if !well {
            // Long after the last failure it counts as the first again.
            let rest_us = (1 << (self.failed_in_a_row.max(2) - 2).min(10)).min(30) * SECOND_US;
            if self.now_us >= self.failed_at_us + rest_us + 30 * SECOND_US {
                self.failed_in_a_row = 1;
            }
            self.failed_at_us = self.now_us;
        }
        let told = self.tokens.finish(KEY, round, outcome, self.now_us);
        prop_assert_eq!(&told, &std::mem::take(&mut self.waiting), "each is told, once");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn good_tokens_serve_and_their_service_is_asked_once_and_not_too_often(steps in steps()) {
        let mut record = Record::new();
        for step in steps {
            match step {
                Step::Pass { ms } => record.now_us += ms * 1_000,
                Step::Want => record.want(None)?,
                Step::Refuse { back } => {
                    let given = record.given.iter().rev().nth(back).copied();
                    record.want(given)?;
                }
                Step::Grant => record.end(true)?,
                Step::Fail => record.end(false)?,
            }
        }
    }
}
