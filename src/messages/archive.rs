//! Manifests on their way from the workers to the thread that keeps them on disk, and back. A disk may
//! take seconds and blocks, so no worker touches it.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::messages::doorbell::Bell;
use crate::pure::cache::{Held, Key, Record, Scope};

/// What the disk's thread is asked to do.
pub enum Errand {
    /// To look for what is kept under this key.
    Find(Question),
    /// To keep this, which was asked for at `since_s`, in seconds since 1970.
    Keep {
        /// Under which key.
        key: Key,
        /// What.
        held: Arc<Held>,
        /// See above.
        since_s: u64,
    },
    /// To forget what is kept under this key: the registry says otherwise.
    Forget(Key),
    /// To forget all that is kept of this.
    Revoke(Scope),
    /// To keep so many bytes at the most from now on.
    Resize(u64),
    /// To end, once what was asked before is done.
    End,
}

/// A worker looks for something.
pub struct Question {
    /// What it is kept under.
    pub key: Key,
    number: u64,
    from: usize,
}

/// The answer.
pub struct Found {
    /// The question's number.
    pub number: u64,
    /// What is kept, if anything is.
    pub record: Option<Record>,
}

/// A worker's end.
pub struct Archive {
    from: usize,
    errands: Sender<Errand>,
    found: Receiver<Found>,
}

/// The end of the disk's thread.
pub struct Archivist {
    to_do: Receiver<Errand>,
    errands: Sender<Errand>,
    workers: Box<[(Sender<Found>, Bell)]>,
}

/// Makes the ends for as many workers as there are `bells`, in their order. Answers come with a ring of
/// the worker's bell.
pub fn channel(bells: impl IntoIterator<Item = Bell>) -> (Vec<Archive>, Archivist) {
    let (errands, to_do) = bounded(ERRANDS_WAITING_MAX);
    let (mut archives, mut workers) = (Vec::new(), Vec::new());
    for (from, bell) in bells.into_iter().enumerate() {
        let (answer, found) = bounded(ERRANDS_WAITING_MAX);
        archives.push(Archive { from, errands: errands.clone(), found });
        workers.push((answer, bell));
    }
    (archives, Archivist { to_do, errands, workers: workers.into() })
}

impl Archive {
    /// Looks for what is kept under `key`, by this `number`, unless too many errands wait.
    pub fn find(&self, key: Key, number: u64) -> bool {
        self.give(Errand::Find(Question { key, number, from: self.from }))
    }

    /// Gives an errand that nobody waits for; says whether it will be done. Where the disk is behind
    /// it is not: that costs a question to a registry later on.
    pub fn give(&self, errand: Errand) -> bool {
        self.errands.try_send(errand).is_ok()
    }

    /// The next answer that waits. Answer the doorbell first: one that comes in between rings again.
    pub fn take(&self) -> Option<Found> {
        self.found.try_recv().ok()
    }
}

impl Archivist {
    /// Waits for the next errand.
    pub fn next(&self) -> Errand {
        // There is always somebody left to give one: this end.
        self.to_do.recv().unwrap_or(Errand::End)
    }

    /// What gives errands beside the workers.
    pub fn errands(&self) -> Sender<Errand> {
        self.errands.clone()
    }

    /// Answers `question`.
    pub fn answer(&self, question: &Question, record: Option<Record>) {
        let Some((found, bell)) = self.workers.get(question.from) else {
            return;
        };
        // A worker that takes no answers has stopped waiting for them.
        let _ = found.try_send(Found { number: question.number, record });
        bell.ring();
    }
}

/// Errands that wait for the disk, and answers that wait for one worker. An errand takes some tens of
/// microseconds; manifests that are kept wait in memory, and past so many are not kept.
const ERRANDS_WAITING_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::messages::doorbell::Doorbell;
    use crate::pure::cache::Sought;
    use crate::pure::tokens::Identity;

    fn key() -> Key {
        Key::of(&Sought {
            base: "https://ghcr.io/v2/".into(),
            repository: "acme/rocket".into(),
            reference: "latest".into(),
            identity: Identity::Anonymous,
            accept: "".into(),
            is_head: false,
            is_named: false,
            has_others: false,
        })
    }

    fn has_rung(doorbell: Doorbell) -> bool {
        let descriptor = doorbell.into_descriptor();
        let mut polled = [PollFd::new(&descriptor, PollFlags::IN)];
        poll(&mut polled, Some(&Timespec::default())).unwrap() == 1
    }

    #[test]
    fn an_answer_goes_to_who_asked_and_rings_there() {
        let (bells, doorbells): (Vec<_>, Vec<_>) = (0..2).map(|_| Bell::new().unwrap()).unzip();
        let (archives, archivist) = channel(bells);
        assert!(archives[1].find(key(), 7));
        let Errand::Find(question) = archivist.next() else {
            panic!("a question was asked");
        };
        assert!(question.key == key());
        archivist.answer(&question, None);
        assert!(archives[0].take().is_none());
        assert_eq!(archives[1].take().map(|found| found.number), Some(7));
        let rung: Vec<bool> = doorbells.into_iter().map(has_rung).collect();
        assert_eq!(rung, [false, true]);
    }

    #[test]
    fn who_finds_no_room_is_told() {
        let (archives, archivist) = channel([Bell::new().unwrap().0]);
        let given = (0..=ERRANDS_WAITING_MAX).filter(|_| archives[0].give(Errand::End)).count();
        assert_eq!(given, ERRANDS_WAITING_MAX);
        assert!(matches!(archivist.next(), Errand::End));
        assert!(archives[0].give(Errand::End));
    }
}
