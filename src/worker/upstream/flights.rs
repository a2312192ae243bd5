//! Tokens that are fetched for clients to have: once for all who ask the same as the same somebody at the
//! same time. They are handed out, not held.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::pure::fault::{Fault, Kind};
use crate::pure::origin::Url;
use crate::pure::tokens::{Identity, NoToken};
use crate::worker::Worker;
use crate::worker::guard::guarded;
use crate::worker::ticket::Ticket;
use crate::worker::upstream::token_service::{self, Given, Source};

/// Fetches under way, and who waits for them. There are no more than clients that wait.
#[derive(Default)]
pub struct Flights(RefCell<HashMap<Flight, Vec<Waiting>>>);

type Outcome = Result<Given, NoToken>;
type Waiting = Rc<Ticket<Outcome>>;

/// What is asked, as whom.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Flight {
    base: String,
    identity: Identity,
    at: String,
}

/// A fetch that ends, however it goes: should its code panic, those who wait are told too.
struct Fetching {
    worker: Rc<Worker>,
    flight: Flight,
    outcome: Option<Outcome>,
}

/// A token from `at` as `identity`, which is `source`'s login where it is a client's.
///
/// # Errors
/// That there is none, because the token service says so or has failed.
pub async fn fetch(worker: &Rc<Worker>, source: &Source, identity: Identity, at: Url) -> Outcome {
    let flight = Flight { base: source.base().to_owned(), identity, at: at.to_string() };
    let ticket = Waiting::default();
    let is_first = {
        let mut flights = worker.wallet.flights.0.borrow_mut();
        let waiting = flights.entry(flight.clone()).or_default();
        waiting.push(Rc::clone(&ticket));
        waiting.len() == 1
    };
    if is_first {
        let source = source.clone();
        let fetching = Fetching { worker: Rc::clone(worker), flight, outcome: None };
        let task = Box::pin(async move {
            let worker = Rc::clone(&fetching.worker);
            let fetched = token_service::fetch(&worker, &source, identity, &at).await;
            fetching.end(fetched);
        });
        monoio::spawn(guarded(Rc::clone(worker), task, ()));
    }
    ticket.told().await
}

impl Fetching {
    fn end(mut self, outcome: Outcome) {
        self.outcome = Some(outcome);
    }
}

impl Drop for Fetching {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or_else(|| {
            let fault = Fault::new(Kind::TokenService, "asking it failed: a bug of pullgate");
            Err(NoToken::Failed { fault, host: "".into() })
        });
        let waiting = self.worker.wallet.flights.0.borrow_mut().remove(&self.flight);
        for ticket in waiting.into_iter().flatten() {
            ticket.tell(outcome.clone());
        }
    }
}
