//! Repositories that a worker met and of which nothing is known yet: whether anybody can pull them
//! is for the control plane to find out.

use crossbeam_channel::{Receiver, Sender, bounded};

/// `https://ghcr.io/v2/acme/rocket`: where a repository lives, from its registry's base on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The registry's base and the repository's name behind it.
    pub location: String,
    /// Where in `location` the repository's name begins.
    pub base_length: usize,
}

/// Makes the two ends of the workers' way to the control plane; all workers share it.
pub fn channel() -> (WantedSender, WantedReceiver) {
    let (names, to_ask) = bounded(WANTED_WAITING_MAX);
    (WantedSender { names }, WantedReceiver { names: to_ask })
}

/// A worker's end.
#[derive(Clone)]
pub struct WantedSender {
    names: Sender<Wanted>,
}

impl WantedSender {
    /// Says that the repository `location` + `tail` was asked for. Never blocks; while the channel
    /// is full it does nothing: the next request for the same name says so again.
    pub fn offer(&self, location: &str, base_length: usize, tail: &str) {
        if self.names.is_full() {
            return;
        }
        let location = [location, tail].concat();
        let _ = self.names.try_send(Wanted { location, base_length });
    }
}

/// The control plane's end. It polls, so that a worker never pays for waking it.
pub struct WantedReceiver {
    names: Receiver<Wanted>,
}

impl WantedReceiver {
    /// The next name, if one waits. Never blocks.
    pub fn try_take(&self) -> Option<Wanted> {
        self.names.try_recv().ok()
    }
}

impl Wanted {
    /// The registry's base and the repository: `https://ghcr.io/v2/` and `acme/rocket`.
    pub fn parts(&self) -> Option<(&str, &str)> {
        self.location.split_at_checked(self.base_length)
    }
}

/// Names that may wait for the control plane, which takes them ten times a second.
const WANTED_WAITING_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_offered_comes_in_its_parts_and_a_full_channel_drops() {
        let (sender, receiver) = channel();
        sender.offer("https://ghcr.io/v2/acme/", 19, "rocket");
        assert_eq!(
            receiver.try_take().unwrap().parts(),
            Some(("https://ghcr.io/v2/", "acme/rocket"))
        );
        for _ in 0..WANTED_WAITING_MAX + 3 {
            sender.offer("https://ghcr.io/v2/acme/rocket", 19, "");
        }
        assert_eq!(std::iter::from_fn(|| receiver.try_take()).count(), WANTED_WAITING_MAX);
    }
}
