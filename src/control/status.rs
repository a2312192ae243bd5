//! What the gateway knows of itself as a whole: whether it serves, and which configuration.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::SystemTime;

/// Read by the admin listener, written by whoever starts, reloads and stops the gateway.
pub struct Status {
    /// When the process started.
    pub started_at: SystemTime,
    phase: AtomicU8,
    generation: AtomicU64,
    packages: AtomicU64,
    reloads: AtomicU64,
    reloads_refused: AtomicU64,
    access_lines_lost: AtomicU64,
}

/// Where in its life the gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No worker has a configuration yet.
    Starting,
    /// Requests are answered.
    Serving,
    /// What is under way finishes, nothing new is taken.
    Draining,
}

/// The configuration in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// Which one since the start, from 1.
    pub generation: u64,
    /// Its packages.
    pub packages: u64,
    /// How many were put in force.
    pub reloads: u64,
    /// How many were refused, and the one before stayed.
    pub reloads_refused: u64,
}

impl Status {
    /// Starting, now.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            started_at: SystemTime::now(),
            phase: AtomicU8::new(Phase::Starting as u8),
            generation: AtomicU64::new(0),
            packages: AtomicU64::new(0),
            reloads: AtomicU64::new(0),
            reloads_refused: AtomicU64::new(0),
            access_lines_lost: AtomicU64::new(0),
        })
    }

    /// Every worker was given configuration `generation` of `packages` packages.
    pub fn adopted(&self, generation: u64, packages: u64) {
        self.generation.store(generation, Relaxed);
        self.packages.store(packages, Relaxed);
        // A reload while draining does not bring the gateway back.
        let _ = self.phase.compare_exchange(
            Phase::Starting as u8,
            Phase::Serving as u8,
            SeqCst,
            SeqCst,
        );
    }

    /// Nothing new is taken from now on.
    pub fn drain(&self) {
        self.phase.store(Phase::Draining as u8, SeqCst);
    }

    /// Where in its life the gateway is.
    pub fn phase(&self) -> Phase {
        match self.phase.load(SeqCst) {
            phase if phase == Phase::Starting as u8 => Phase::Starting,
            phase if phase == Phase::Serving as u8 => Phase::Serving,
            _ => Phase::Draining,
        }
    }

    /// The configuration in numbers.
    pub fn configuration(&self) -> Configuration {
        Configuration {
            generation: self.generation.load(Relaxed),
            packages: self.packages.load(Relaxed),
            reloads: self.reloads.load(Relaxed),
            reloads_refused: self.reloads_refused.load(Relaxed),
        }
    }

    /// Access log lines that could not be written.
    pub fn access_lines_lost(&self) -> u64 {
        self.access_lines_lost.load(Relaxed)
    }

    pub(super) fn count_reload(&self, accepted: bool) {
        let counter = if accepted { &self.reloads } else { &self.reloads_refused };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn count_access_lines_lost(&self, lines: u64) {
        self.access_lines_lost.fetch_add(lines, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_does_not_end_draining() {
        let status = Status::new();
        assert_eq!(status.phase(), Phase::Starting);
        status.adopted(1, 3);
        assert_eq!(status.phase(), Phase::Serving);
        status.drain();
        status.adopted(2, 4);
        assert_eq!(status.phase(), Phase::Draining);
        assert_eq!(status.configuration().packages, 4);
    }
}
