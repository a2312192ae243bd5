//! Waiting for what takes a while, with an end.

use std::thread;
use std::time::{Duration, Instant};

/// Asks `what` until it answers, and panics with its last words after `PATIENCE`.
pub fn eventually<T>(mut what: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match what() {
            Ok(answer) => return answer,
            Err(words) if began.elapsed() > PATIENCE => {
                panic!("still not so after {} s: {words}", PATIENCE.as_secs())
            }
            Err(_) => pause(),
        }
    }
}

/// A moment between two looks.
#[allow(clippy::disallowed_methods, reason = "the one place where a test sleeps")]
pub fn pause() {
    thread::sleep(Duration::from_millis(20));
}

/// Long enough for a machine that builds something else at the same time.
const PATIENCE: Duration = Duration::from_secs(90);
