//! Pulls as they are counted, for whoever follows them.

use std::ops::Deref;
use std::sync::{Arc, Weak};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

/// A counted pull, as it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    /// `<domain>/<name>`
    pub package: String,
    /// The tag, or `(by digest)`.
    pub tag: String,
    /// The client's family.
    pub client: String,
    /// The client's version, empty where it is unknown.
    pub version: String,
    /// `linux/amd64`, or `unknown`.
    pub platform: String,
}

/// The pulls that somebody follows. Who is too slow misses some: of those that are meant, so that nobody misses theirs
/// for what others have.
pub struct Feed {
    booked: Receiver<Booked>,
    #[expect(dead_code, reason = "held, not read: whoever is followed sees by it that this is")]
    is_meant: Arc<Meant>,
}

/// The aggregator's end of a feed.
pub struct Follower {
    feed: Sender<Booked>,
    is_meant: Weak<Meant>,
}

/// Whether somebody means the pulls of the package of this name, `<domain>/<name>`.
type Meant = dyn Fn(&str) -> bool + Send + Sync;

impl Feed {
    /// Of the packages that `is_meant` says, which the aggregator's thread asks of each pull.
    pub fn open(is_meant: impl Fn(&str) -> bool + Send + Sync + 'static) -> (Follower, Self) {
        let (feed, booked) = bounded(BEHIND_MAX);
        let is_meant: Arc<Meant> = Arc::new(is_meant);
        (Follower { feed, is_meant: Arc::downgrade(&is_meant) }, Self { booked, is_meant })
    }
}

impl Deref for Feed {
    type Target = Receiver<Booked>;

    fn deref(&self) -> &Receiver<Booked> {
        &self.booked
    }
}

/// All who follow pulls.
#[derive(Default)]
pub struct Followers(Vec<Follower>);

impl Followers {
    /// One more. Those that are gone are forgotten, also where nothing is pulled.
    pub(super) fn add(&mut self, follower: Follower) {
        self.0.retain(|follower| follower.is_meant.strong_count() > 0);
        self.0.push(follower);
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells those that mean it of a pull of `package`, which is put in words for the first of them; how many were too
    /// slow for it.
    pub(super) fn tell(&mut self, package: &str, booked: impl FnOnce() -> Booked) -> u64 {
        let (mut dropped, mut unsaid, mut said) = (0, Some(booked), None);
        self.0.retain(|follower| {
            let Some(is_meant) = follower.is_meant.upgrade() else { return false };
            if !is_meant(package) {
                return true;
            }
            if let Some(booked) = unsaid.take() {
                said = Some(booked());
            }
            let Some(booked) = said.clone() else { return true };
            match follower.feed.try_send(booked) {
                Ok(()) => true,
                Err(TrySendError::Full(_)) => {
                    dropped += 1;
                    true
                }
                Err(TrySendError::Disconnected(_)) => false,
            }
        });
        dropped
    }
}

/// Pulls that whoever follows may be behind.
pub(super) const BEHIND_MAX: usize = 1024;
