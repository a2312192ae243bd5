//! Letters between workers. What belongs to a key (a token, a manifest) is fetched by the worker
//! that owns the key's hash; others write to it and are answered.
//!
//! Nothing here blocks: a letter that finds no room comes back, and its sender does without.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::messages::doorbell::Bell;
use crate::pure::cache::{self, Held, Refused, Sought, Told};
use crate::pure::limits::LETTERS_WAITING_MAX;
use crate::pure::origin::Url;
use crate::pure::tokens::{Granted, Key, NoToken};

/// What workers write to each other.
pub enum Letter {
    /// To the owner of a key: a token is wanted.
    TokenWanted(Wanted),
    /// The answer.
    Token {
        /// [`Wanted::round`].
        round: u64,
        /// What it is for.
        key: Key,
        /// The value of an `Authorization` field.
        outcome: Result<Granted<Box<str>>, NoToken>,
    },
    /// To the owner of a key: a manifest is wanted.
    ManifestWanted(Box<ManifestWanted>),
    /// It will be answered, when the registry has answered.
    ManifestAwaited {
        /// [`ManifestWanted::round`].
        round: u64,
    },
    /// Registries have said that somebody may not pull there: what is kept of it is not served.
    ManifestsRefused(Refused),
    /// The answer.
    Manifest {
        /// [`ManifestWanted::round`].
        round: u64,
        /// What it is kept under.
        key: cache::Key,
        /// What came of it.
        told: Told<Arc<Held>>,
    },
}

/// A token is wanted.
pub struct Wanted {
    /// The worker to answer.
    pub from: usize,
    /// Its number for this question.
    pub round: u64,
    /// What the token is for.
    pub key: Key,
    /// Where the registry said that tokens are fetched.
    pub at: Url,
    /// The token that the registry has not taken.
    pub refused: Option<Box<str>>,
}

/// A manifest is wanted.
pub struct ManifestWanted {
    /// The worker to answer.
    pub from: usize,
    /// Its number for this question.
    pub round: u64,
    /// What it is kept under.
    pub key: cache::Key,
    /// What the registry is asked for.
    pub sought: Sought,
}

/// Makes the post of as many workers as there are `bells`, in their order. Letters come with a
/// ring of the receiver's bell.
pub fn post<L>(bells: impl IntoIterator<Item = Bell>) -> Vec<Post<L>> {
    let (letterboxes, received): (Vec<_>, Vec<_>) = bells
        .into_iter()
        .map(|bell| {
            let (letters, received) = bounded(LETTERS_WAITING_MAX);
            (Letterbox { letters, bell }, received)
        })
        .unzip();
    let letterboxes: Arc<[_]> = letterboxes.into();
    let post = |(own, received)| Post { own, letterboxes: Arc::clone(&letterboxes), received };
    received.into_iter().enumerate().map(post).collect()
}

/// One worker's post: it writes to all and reads what is written to it.
pub struct Post<L> {
    /// Whose post this is.
    pub own: usize,
    letterboxes: Arc<[Letterbox<L>]>,
    received: Receiver<L>,
}

struct Letterbox<L> {
    letters: Sender<L>,
    bell: Bell,
}

impl<L> Post<L> {
    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.letterboxes.len()
    }

    /// Sends `letter` to worker `to`.
    ///
    /// # Errors
    /// The letter, where that worker's letterbox is full or the worker is gone.
    pub fn send(&self, to: usize, letter: L) -> Result<(), L> {
        let Some(letterbox) = self.letterboxes.get(to) else {
            return Err(letter);
        };
        letterbox.letters.try_send(letter).map_err(|refused| refused.into_inner())?;
        letterbox.bell.ring();
        Ok(())
    }

    /// The next letter that was received. Answer the doorbell first: a letter that comes in between
    /// rings again.
    pub fn take(&self) -> Option<L> {
        self.received.try_recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::messages::doorbell::Doorbell;

    fn workers(number: usize) -> (Vec<Post<usize>>, Vec<Doorbell>) {
        let (bells, doorbells): (Vec<_>, Vec<_>) =
            (0..number).map(|_| Bell::new().unwrap()).unzip();
        (post(bells), doorbells)
    }

    fn has_rung(doorbell: Doorbell) -> bool {
        let descriptor = doorbell.into_descriptor();
        let mut polled = [PollFd::new(&descriptor, PollFlags::IN)];
        poll(&mut polled, Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn a_letter_reaches_whom_it_is_for_and_rings_there_alone() {
        let (post, doorbells) = workers(3);
        assert_eq!(post[0].send(2, 7), Ok(()));
        assert_eq!(post[1].take(), None);
        assert_eq!(post[2].take(), Some(7));
        assert_eq!(post[2].take(), None);
        let rung: Vec<bool> = doorbells.into_iter().map(has_rung).collect();
        assert_eq!(rung, [false, false, true]);
    }

    #[test]
    fn one_may_write_to_oneself() {
        let (post, _doorbells) = workers(1);
        assert_eq!((post[0].workers(), post[0].own), (1, 0));
        assert_eq!(post[0].send(0, 1), Ok(()));
        assert_eq!(post[0].take(), Some(1));
    }

    #[test]
    fn who_finds_no_room_is_told_and_so_is_who_writes_to_nobody() {
        let (mut post, _doorbells) = workers(2);
        for number in 0..LETTERS_WAITING_MAX {
            assert_eq!(post[0].send(1, number), Ok(()));
        }
        assert_eq!(post[0].send(1, 4711), Err(4711));
        assert_eq!(post[1].take(), Some(0));
        assert_eq!(post[0].send(1, 4711), Ok(()));
        // Worker 1 is gone, and worker 2 has never been.
        post.truncate(1);
        assert_eq!(post[0].send(1, 8), Err(8));
        assert_eq!(post[0].send(2, 9), Err(9));
    }
}
