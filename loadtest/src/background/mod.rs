//! What goes on beside the load: clients that are very slow, a configuration that changes.

mod reload;
mod slow;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::scenario::Scenario;
use crate::target::Target;

/// A thread of its own, on the load's CPU, until this is dropped.
pub struct Background {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<String>>>,
}

/// Whether the work is to end.
#[derive(Clone)]
struct Stop(Arc<AtomicBool>);

impl Background {
    /// What `scenario` has going on beside `target`'s load, with so many `slow` clients.
    pub fn start(scenario: Scenario, target: &Target, slow: usize) -> io::Result<Option<Self>> {
        match scenario {
            Scenario::Slow => {
                let address = target.address;
                Self::spawn(move |stop| slow::run(address, slow, &stop)).map(Some)
            }
            Scenario::Reload => {
                let work = reload::Reload::of(target)?;
                Self::spawn(move |stop| work.run(&stop)).map(Some)
            }
            Scenario::Redirect
            | Scenario::BrokerManifest
            | Scenario::StreamBlob
            | Scenario::Pull
            | Scenario::PullStorm
            | Scenario::Idle
            | Scenario::Mixed => Ok(None),
        }
    }

    fn spawn(work: impl FnOnce(Stop) -> io::Result<String> + Send + 'static) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Stop(Arc::clone(&stop));
        let builder = std::thread::Builder::new().name("background".into());
        let thread = builder.spawn(move || work(seen))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends it, and returns what it has to say.
    pub fn finish(mut self) -> io::Result<String> {
        self.end().unwrap_or_else(|| Ok(String::new()))
    }

    fn end(&mut self) -> Option<io::Result<String>> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.take()?.join();
        Some(
            ended
                .unwrap_or_else(|_| Err(io::Error::other("what went on beside the load panicked"))),
        )
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.end());
    }
}

impl Stop {
    fn is_asked_for(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
