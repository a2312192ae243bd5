//! What registries say of how often they may still be asked, on its way to `/metrics`.

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::pure::http1::quota::Quota;
use crate::pure::tokens::Identity;

/// What one registry has said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its host and port.
    pub registry: Box<str>,
    /// As whom it was asked: each has a quota of its own.
    pub identity: Identity,
    /// What it has said.
    pub quota: Quota,
}

/// Makes the two ends of the workers' way to the admin listener; all workers share it.
pub fn channel() -> (QuotaSender, QuotaReceiver) {
    let (said, heard) = bounded(QUOTAS_WAITING_MAX);
    (QuotaSender(said), QuotaReceiver(heard))
}

/// A worker's end.
#[derive(Clone)]
pub struct QuotaSender(Sender<Said>);

impl QuotaSender {
    /// Says it. Never blocks; while the channel is full it does nothing: the registry's next answer
    /// says it again.
    pub fn offer(&self, said: Said) {
        let _ = self.0.try_send(said);
    }
}

/// The admin listener's end. It looks when it is asked, and once a second.
pub struct QuotaReceiver(Receiver<Said>);

impl QuotaReceiver {
    /// The next that waits. Never blocks.
    pub fn take(&self) -> Option<Said> {
        self.0.try_recv().ok()
    }
}

/// How much may wait for the admin listener.
const QUOTAS_WAITING_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_heard_and_a_full_channel_drops() {
        let (sender, receiver) = channel();
        let said = |remaining| Said {
            registry: "ghcr.io".into(),
            identity: Identity::Anonymous,
            quota: Quota { limit: None, remaining },
        };
        for remaining in 0..QUOTAS_WAITING_MAX as u64 + 3 {
            sender.offer(said(remaining));
        }
        assert_eq!(receiver.take(), Some(said(0)));
        assert_eq!(std::iter::from_fn(|| receiver.take()).count(), QUOTAS_WAITING_MAX - 1);
    }
}
