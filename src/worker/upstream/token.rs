//! Tokens: from memory where one is fresh, else fetched once for all who wait, by the worker that
//! owns the key; the others write to it. What is to be done is decided in `pure::tokens`.
//!
//! A token goes to nobody but the registry, and for nothing but the repository, that it was given
//! for; it is never logged.

use std::cell::RefCell;
use std::rc::Rc;
use std::thread;

use http::HeaderValue;

use crate::messages::clock::monotonic_us;
use crate::messages::mail::{Letter, Wanted};
use crate::messages::meters::Gauge;
use crate::pure::fault::{Fault, Kind};
use crate::pure::limited::Limited;
use crate::pure::oci::challenge::{self, Challenge, token_target};
use crate::pure::origin::Url;
use crate::pure::tokens::{Fetch, Granted, Identity, Key, KeyRef, NoToken, Tokens, Want, owner};
use crate::worker::Worker;
use crate::worker::guard::guarded;
use crate::worker::ticket::Ticket;
use crate::worker::upstream::flights::Flights;
use crate::worker::upstream::token_service::{self, Given, Source, secret};

/// The tokens that a worker holds, and who waits for them.
pub struct Wallet {
    tokens: RefCell<Tokens<Url, HeaderValue, Waiter>>,
    /// Those that are fetched for clients to have.
    pub flights: Flights,
    /// How often it is said that there is no token.
    pub complaints: RefCell<Limited>,
}

/// The `Authorization` for asking the registry for `repository`, or `None` where none is known to
/// be needed. Waits where one is being fetched.
///
/// # Errors
/// That there is none, because the token service says so or has failed.
pub async fn authorization(
    worker: &Rc<Worker>,
    source: &Source,
    repository: &str,
    identity: Identity,
) -> Result<Option<HeaderValue>, NoToken> {
    let key = KeyRef { base: source.base(), repository, identity };
    obtain(worker, source, key, None).await
}

/// The same after the registry has answered 401 with `challenge` to a request that carried
/// `refused`: if that is the one held, it is renewed, once for all who were refused.
///
/// # Errors
/// That there is none, because the token service says so or has failed, the challenge asks for an
/// account and there is none, or renewing has not helped a moment ago.
pub async fn renew(
    worker: &Rc<Worker>,
    source: &Source,
    repository: &str,
    identity: Identity,
    challenge: Challenge,
    refused: Option<&HeaderValue>,
) -> Result<HeaderValue, NoToken> {
    let key = KeyRef { base: source.base(), repository, identity };
    match (challenge, source.login(identity)?) {
        (Challenge::Bearer { realm, service, scope }, _) => {
            let scope = challenge::scope(scope.as_deref(), repository);
            let username = source.account(identity).map(|account| &*account.username);
            let target = token_target(&realm, service.as_deref(), &[scope], username);
            worker.wallet.tokens.borrow_mut().fetched_at(key, Url { origin: realm.origin, target });
            let renewed = obtain(worker, source, key, refused).await?;
            renewed.filter(|renewed| Some(renewed) != refused).ok_or(NoToken::Denied(401))
        }
        (Challenge::Basic, Some(value)) => {
            if Some(&value) == refused {
                return Err(NoToken::Denied(401));
            }
            worker.wallet.tokens.borrow_mut().hold(key, value.clone(), monotonic_us());
            Ok(value)
        }
        (Challenge::Basic, None) => Err(NoToken::Denied(401)),
    }
}

/// Whoever waits for a token.
enum Waiter {
    Task(Rc<Ticket<Outcome>>),
    /// Another worker, and the number by which it knows its question.
    Worker {
        from: usize,
        round: u64,
    },
}

type Outcome = Result<Granted<HeaderValue>, NoToken>;

/// A fetch under way. It ends, however it goes: should its code panic, those who wait are told too.
struct Round {
    worker: Rc<Worker>,
    key: Key,
    number: u64,
}

/// The owner of `key` has answered question number `round`.
pub fn learn(
    worker: &Rc<Worker>,
    round: u64,
    key: &Key,
    outcome: Result<Granted<Box<str>>, NoToken>,
) {
    let outcome = outcome.and_then(|granted| {
        let token = secret(&granted.token)?;
        Ok(granted.map(|_| token))
    });
    end_round(worker, key.by_ref(), round, outcome);
}

/// A token from memory, or from a fetch that is begun or already under way.
async fn obtain(
    worker: &Rc<Worker>,
    source: &Source,
    key: KeyRef<'_>,
    refused: Option<&HeaderValue>,
) -> Result<Option<HeaderValue>, NoToken> {
    let mut ticket = None;
    let wait = || Waiter::Task(Rc::clone(ticket.insert(Rc::default())));
    let want = worker.wallet.tokens.borrow_mut().want(key, refused, monotonic_us(), wait);
    match want {
        Want::Unknown => Ok(None),
        Want::None(none) => Err(none),
        Want::Use(granted, fetch) => {
            begin(worker, source, key, fetch, refused);
            Ok(Some(granted.token))
        }
        Want::Wait(fetch) => {
            begin(worker, source, key, fetch, refused);
            match ticket {
                Some(ticket) => ticket.told().await.map(|granted| Some(granted.token)),
                None => unreachable!("who waits was given a ticket"),
            }
        }
    }
}

/// Answers another worker: now, or when the fetch ends that its question begins or joins.
pub fn answer(worker: &Rc<Worker>, wanted: Wanted) {
    let Wanted { from, round, key, at, refused } = wanted;
    let adopted = worker.snapshot();
    let known = adopted.registries.iter().position(|registry| *registry.base == *key.base);
    // Who has not adopted the configuration yet that names this registry, or its account, does not
    // answer, and the other worker will do it alone.
    let Some(registry) = known.filter(|registry| adopted.knows(*registry, key.identity)) else {
        return;
    };
    let source = Source { adopted, registry, login: None };
    let refused = refused.and_then(|refused| secret(&refused).ok());
    let asking = || Waiter::Worker { from, round };
    let want = {
        let mut tokens = worker.wallet.tokens.borrow_mut();
        tokens.fetched_at(key.by_ref(), at);
        tokens.want(key.by_ref(), refused.as_ref(), monotonic_us(), asking)
    };
    match want {
        Want::Unknown => {}
        Want::None(none) => {
            // One that is refused though it is new may be good for what others ask for: who asks
            // must not be left without.
            let serving = worker.wallet.tokens.borrow().serving(key.by_ref(), monotonic_us());
            tell(worker, asking(), &key, serving.ok_or(none));
        }
        Want::Use(granted, fetch) => {
            tell(worker, asking(), &key, Ok(granted));
            begin(worker, &source, key.by_ref(), fetch, refused.as_ref());
        }
        Want::Wait(fetch) => begin(worker, &source, key.by_ref(), fetch, refused.as_ref()),
    }
}

/// Fetches, or has the worker fetch that owns the key. One that is not asked, because its
/// letterbox is full, or does not answer in time, is done without.
fn begin(
    worker: &Rc<Worker>,
    source: &Source,
    key: KeyRef<'_>,
    fetch: Option<Fetch<Url>>,
    refused: Option<&HeaderValue>,
) {
    let Some(Fetch { round: number, at }) = fetch else {
        return;
    };
    let round = Round { worker: Rc::clone(worker), key: key.to_owned(), number };
    let asked = ask_owner(&round, &at, refused);
    let source = source.clone();
    let task = Box::pin(async move {
        if !asked || round.is_unanswered().await {
            let worker = &round.worker;
            let outcome = token_service::fetch(worker, &source, round.key.identity, &at).await;
            let outcome = outcome.and_then(Given::held);
            end_round(worker, round.key.by_ref(), round.number, outcome);
        }
    });
    monoio::spawn(guarded(Rc::clone(worker), task, ()));
}

fn ask_owner(round: &Round, at: &Url, refused: Option<&HeaderValue>) -> bool {
    let worker = &round.worker;
    // A client's login is not written to others: whoever was sent it fetches.
    if matches!(round.key.identity, Identity::Client(_)) {
        return false;
    }
    let owner = owner(round.key.by_ref(), worker.post.workers());
    let wanted = || Wanted {
        from: worker.post.own,
        round: round.number,
        key: round.key.clone(),
        at: at.clone(),
        refused: refused.and_then(|refused| Some(refused.to_str().ok()?.into())),
    };
    owner != worker.post.own && worker.post.send(owner, Letter::TokenWanted(wanted())).is_ok()
}

fn end_round(worker: &Rc<Worker>, key: KeyRef<'_>, round: u64, outcome: Outcome) {
    let waiting = {
        let mut tokens = worker.wallet.tokens.borrow_mut();
        let waiting = tokens.finish(key, round, outcome.clone(), monotonic_us());
        worker.meters.set(Gauge::TokensHeld, tokens.held() as u64);
        waiting
    };
    for waiter in waiting {
        tell(worker, waiter, &key.to_owned(), outcome.clone());
    }
}

fn tell(worker: &Rc<Worker>, waiter: Waiter, key: &Key, outcome: Outcome) {
    match waiter {
        Waiter::Task(ticket) => ticket.tell(outcome),
        Waiter::Worker { from, round } => {
            let outcome = outcome
                .map(|granted| granted.map(|token| token.to_str().unwrap_or_default().into()));
            // One whose letterbox is full will not wait for ever.
            let _ = worker.post.send(from, Letter::Token { round, key: key.clone(), outcome });
        }
    }
}

impl Wallet {
    /// None is held. `seed` is nobody's to guess.
    pub fn new(seed: u64) -> Self {
        Self {
            tokens: RefCell::new(Tokens::new(seed)),
            flights: Flights::default(),
            complaints: RefCell::new(Limited::per(COMPLAINTS_US)),
        }
    }
}

impl Round {
    /// Waits for the owner's letter, and says whether none has come.
    async fn is_unanswered(&self) -> bool {
        let by = self.worker.clock.sweep() + OWNER_SWEEPS_MAX;
        while self.is_under_way() && self.worker.clock.sweep() < by {
            self.worker.next_sweep().await;
        }
        self.is_under_way()
    }

    fn is_under_way(&self) -> bool {
        self.worker.wallet.tokens.borrow().is_under_way(self.key.by_ref(), self.number)
    }
}

impl Drop for Round {
    fn drop(&mut self) {
        // At the worker's end there is nobody left who could be told.
        if !thread::panicking() {
            return;
        }
        let fault = Fault::new(Kind::TokenService, "asking it failed: a bug of pullgate");
        let failed = NoToken::Failed { fault, host: "".into() };
        end_round(&self.worker, self.key.by_ref(), self.number, Err(failed));
    }
}

/// How long the owner of a key has to answer: two seconds.
const OWNER_SWEEPS_MAX: u64 = 20;
/// How often one complaint is said.
const COMPLAINTS_US: u64 = 10_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::trial::{alone, drivers};

    #[test]
    fn who_waits_for_a_fetch_whose_code_panics_is_told() {
        for driver in drivers() {
            let told = alone(driver, |worker| async move {
                let key = KeyRef {
                    base: "https://ghcr.io/v2/",
                    repository: "acme/rocket",
                    identity: Identity::Anonymous,
                };
                let at = Url::parse(b"https://ghcr.io/token").unwrap();
                let ticket = Rc::<Ticket<_>>::default();
                let want = {
                    let mut tokens = worker.wallet.tokens.borrow_mut();
                    tokens.fetched_at(key, at);
                    tokens.want(key, None, monotonic_us(), || Waiter::Task(Rc::clone(&ticket)))
                };
                let Want::Wait(Some(Fetch { round, .. })) = want else {
                    panic!("nothing was held");
                };
                let round =
                    Round { worker: Rc::clone(&worker), key: key.to_owned(), number: round };
                let panics = Box::pin(async move {
                    let _round = round;
                    panic!("on purpose");
                });
                monoio::spawn(guarded(Rc::clone(&worker), panics, ()));
                ticket.told().await.err()
            });
            let Some(NoToken::Failed { fault, .. }) = told else {
                panic!("{told:?}");
            };
            assert_eq!(fault.kind, Kind::TokenService);
        }
    }
}
