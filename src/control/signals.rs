//! Signals: SIGTERM and SIGINT drain, a second one ends at once; SIGHUP reloads.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What the signals do. Called on the control thread: they say a word to another and return.
pub struct Signals {
    /// At the first SIGTERM or SIGINT, with its name.
    pub drain: Box<dyn FnOnce(&'static str) + Send>,
    /// At every SIGHUP.
    pub hang_up: Box<dyn FnMut() + Send>,
}

/// Signals that arrive from now on are kept for [`Listening::run`].
pub(super) struct Listening {
    signals: Signals,
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Listening {
    pub(super) fn new(signals: Signals) -> io::Result<Self> {
        Ok(Self {
            signals,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Runs until the process ends or this is dropped.
    pub(super) async fn run(self) {
        let Self { signals, mut terminate, mut interrupt, mut hang_up } = self;
        let Signals { drain, hang_up: mut on_hang_up } = signals;
        let mut drain = Some(drain);
        loop {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                _ = hang_up.recv() => {
                    on_hang_up();
                    continue;
                }
            };
            match drain.take() {
                Some(drain) => drain(name),
                None => {
                    tracing::warn!("{name} again: ending at once");
                    std::process::exit(ENDED_AT_ONCE);
                }
            }
        }
    }
}

/// The status of a process that did not finish what it was asked to: as a shell reports SIGTERM.
const ENDED_AT_ONCE: i32 = 128 + 15;
