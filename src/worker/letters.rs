//! The letters of other workers, handed to whom they are for.

use std::rc::Rc;

use crate::messages::mail::Letter;
use crate::worker::upstream::token;
use crate::worker::{Worker, cache};

/// Reads the letters that wait.
pub fn read(worker: &Rc<Worker>) {
    while let Some(letter) = worker.post.take() {
        match letter {
            Letter::TokenWanted(wanted) => token::answer(worker, wanted),
            Letter::Token { round, key, outcome } => token::learn(worker, round, &key, outcome),
            Letter::ManifestWanted(wanted) => cache::answer(worker, *wanted),
            Letter::ManifestAwaited { round } => cache::wait_on(worker, round),
            Letter::ManifestsRefused(refused) => worker.manifests.refuse(&refused),
            Letter::Manifest { round, key, told } => cache::learn(worker, round, &key, told),
        }
    }
}
