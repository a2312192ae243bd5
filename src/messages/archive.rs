//! Manifests on their way from the workers to the thread that keeps them on disk, and back. A disk may
//! take seconds and blocks, so no worker touches it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::messages::doorbell::Bell;
use crate::pure::cache::{Held, Key, Record, Refused};
use crate::pure::limits::KEEPS_WAITING_BYTES_MAX;

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
        /// For how many seconds the same need not be written anew.
        good_s: u64,
    },
    /// To forget what is kept under this key: the registry says otherwise.
    Forget(Key),
    /// To forget all that is kept of these.
    Refuse(Refused),
    /// To look how many bytes may be kept from now on.
    Resize,
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
    waiting: Arc<Waiting>,
    found: Receiver<Found>,
}

/// What manifests take in memory that wait to be kept, in bytes.
#[derive(Default)]
struct Waiting(AtomicUsize);

/// The end of the disk's thread.
pub struct Archivist {
    to_do: Receiver<Errand>,
    errands: Sender<Errand>,
    waiting: Arc<Waiting>,
    workers: Box<[(Sender<Found>, Bell)]>,
}

/// Makes the ends for as many workers as there are `bells`, in their order. Answers come with a ring of
/// the worker's bell.
pub fn channel(bells: impl IntoIterator<Item = Bell>) -> (Vec<Archive>, Archivist) {
    let (errands, to_do) = bounded(ERRANDS_WAITING_MAX);
    let (mut archives, mut workers) = (Vec::new(), Vec::new());
    let waiting = Arc::<Waiting>::default();
    for (from, bell) in bells.into_iter().enumerate() {
        let (answer, found) = bounded(ERRANDS_WAITING_MAX);
        let waiting = Arc::clone(&waiting);
        archives.push(Archive { from, errands: errands.clone(), waiting, found });
        workers.push((answer, bell));
    }
    (archives, Archivist { to_do, errands, waiting, workers: workers.into() })
}

impl Archive {
    /// Looks for what is kept under `key`, by this `number`, unless too many errands wait.
    pub fn find(&self, key: Key, number: u64) -> bool {
        self.give(Errand::Find(Question { key, number, from: self.from })).is_ok()
    }

    /// Keeps `held`, which was asked for at `since_s`, unless the same was written less than `good_s`
    /// before, or too much waits to be kept: that costs a question to a registry later on.
    pub fn keep(&self, key: Key, held: Arc<Held>, since_s: u64, good_s: u64) {
        let bytes = held.bytes();
        let errand = Errand::Keep { key, held, since_s, good_s };
        if self.waiting.enter(bytes) && self.give(errand).is_err() {
            self.waiting.leave(bytes);
        }
    }

    /// Forgets what is kept under `key`, and says whether that will be done.
    pub fn forget(&self, key: Key) -> bool {
        self.give(Errand::Forget(key)).is_ok()
    }

    /// Forgets all that is kept of what is `refused`.
    ///
    /// # Errors
    /// The same, where too many errands wait.
    pub fn refuse(&self, refused: Refused) -> Result<(), Refused> {
        match self.give(Errand::Refuse(refused)) {
            Err(Errand::Refuse(refused)) => Err(refused),
            Err(_) | Ok(()) => Ok(()),
        }
    }

    fn give(&self, errand: Errand) -> Result<(), Errand> {
        self.errands.try_send(errand).map_err(|refused| refused.into_inner())
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
        let errand = self.to_do.recv().unwrap_or(Errand::End);
        if let Errand::Keep { held, .. } = &errand {
            self.waiting.leave(held.bytes());
        }
        errand
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

impl Waiting {
    /// Whether there is room for so many bytes more, which then is taken.
    fn enter(&self, bytes: usize) -> bool {
        let has_room = self.0.fetch_add(bytes, Relaxed) + bytes <= KEEPS_WAITING_BYTES_MAX;
        if !has_room {
            self.leave(bytes);
        }
        has_room
    }

    fn leave(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Relaxed);
    }
}

/// Errands that wait for the disk, and answers that wait for one worker. An errand takes some tens of
/// microseconds.
const ERRANDS_WAITING_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::messages::doorbell::Doorbell;
    use crate::pure::cache::{Body, Sought};
    use crate::pure::tokens::Identity;

    fn key() -> Key {
        Key::of(&Sought {
            base: "https://ghcr.io/v2/".into(),
            repository: "acme/rocket".into(),
            reference: "latest".into(),
            identity: Identity::Anonymous,
            accept: "".into(),
            is_head: false,
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

    fn held(bytes: usize) -> Arc<Held> {
        let body = Body::new(vec![0; bytes].into());
        Arc::new(Held::new(200, b"", "", Some(body), b""))
    }

    #[test]
    fn who_finds_no_room_is_told() {
        let (archives, archivist) = channel([Bell::new().unwrap().0]);
        let given = (0..=ERRANDS_WAITING_MAX).filter(|_| archives[0].forget(key())).count();
        assert_eq!(given, ERRANDS_WAITING_MAX);
        assert!(!archives[0].find(key(), 1));
        assert_eq!(archives[0].refuse(Refused::All), Err(Refused::All));
        // What is not taken takes no room either.
        (0..10).for_each(|_| archives[0].keep(key(), held(KEEPS_WAITING_BYTES_MAX / 2), 0, 0));
        assert!(matches!(archivist.next(), Errand::Forget(_)));
        archives[0].keep(key(), held(KEEPS_WAITING_BYTES_MAX / 2), 0, 0);
        let behind =
            (1..ERRANDS_WAITING_MAX).filter(|_| matches!(archivist.next(), Errand::Forget(_)));
        assert_eq!(behind.count(), ERRANDS_WAITING_MAX - 1);
        assert!(matches!(archivist.next(), Errand::Keep { .. }));
        assert_eq!(archives[0].refuse(Refused::All), Ok(()));
    }

    #[test]
    fn what_waits_to_be_kept_is_bounded_in_bytes() {
        let (archives, archivist) = channel([Bell::new().unwrap().0]);
        let large = || held(KEEPS_WAITING_BYTES_MAX / 4);
        for _ in 0..10 {
            archives[0].keep(key(), large(), 0, 0);
        }
        assert_eq!(archives[0].errands.len(), 3, "each is somewhat larger than its body");
        assert!(matches!(archivist.next(), Errand::Keep { .. }));
        archives[0].keep(key(), large(), 0, 0);
        archives[0].keep(key(), large(), 0, 0);
        assert_eq!(archives[0].errands.len(), 3);
    }
}
