//! Host names on their way from the workers to the threads that look them up, and their addresses
//! on the way back. Looking up may take seconds and blocks, so no worker does it.

use std::net::IpAddr;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::messages::doorbell::Bell;

/// A worker asks for a host's addresses.
#[derive(Debug, PartialEq, Eq)]
pub struct Question {
    /// The host.
    pub host: Box<str>,
    from: usize,
}

/// The answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// The host that was asked for.
    pub host: Box<str>,
    /// Its addresses, the best first and at least one; or why there are none.
    pub addresses: Result<Box<[IpAddr]>, Box<str>>,
}

/// A worker's end.
pub struct Names {
    from: usize,
    questions: Sender<Question>,
    found: Receiver<Found>,
}

/// The end of the threads that look up.
#[derive(Clone)]
pub struct Desk {
    questions: Receiver<Question>,
    workers: Arc<[(Sender<Found>, Bell)]>,
}

/// Makes the ends for as many workers as there are `bells`, in their order. Answers come with a
/// ring of the worker's bell.
pub fn channel(bells: impl IntoIterator<Item = Bell>) -> (Vec<Names>, Desk) {
    let (ask, questions) = bounded(QUESTIONS_WAITING_MAX);
    let (mut names, mut workers) = (Vec::new(), Vec::new());
    for (from, bell) in bells.into_iter().enumerate() {
        let (answer, found) = bounded(QUESTIONS_PER_WORKER_MAX);
        names.push(Names { from, questions: ask.clone(), found });
        workers.push((answer, bell));
    }
    (names, Desk { questions, workers: workers.into() })
}

impl Names {
    /// Asks for the addresses of `host`, unless too many questions wait. A worker asks at most
    /// [`QUESTIONS_PER_WORKER_MAX`] at a time.
    pub fn ask(&self, host: &str) -> bool {
        self.questions.try_send(Question { host: host.into(), from: self.from }).is_ok()
    }

    /// The next answer that waits. Answer the doorbell first: one that comes in between rings again.
    pub fn take(&self) -> Option<Found> {
        self.found.try_recv().ok()
    }
}

impl Desk {
    /// Waits for the next question; `None` when no worker is left to ask one.
    pub fn next(&self) -> Option<Question> {
        self.questions.recv().ok()
    }

    /// Answers `question`.
    pub fn answer(&self, question: Question, addresses: Result<Box<[IpAddr]>, Box<str>>) {
        let Some((found, bell)) = self.workers.get(question.from) else {
            return;
        };
        // There is room for every question under way, and nobody to tell where the worker is gone.
        let _ = found.try_send(Found { host: question.host, addresses });
        bell.ring();
    }
}

/// How many questions one worker may have under way.
pub const QUESTIONS_PER_WORKER_MAX: usize = 256;

/// How many wait for the threads that look up. Each takes milliseconds, or seconds where a name
/// server does not answer; who does not get in asks again.
const QUESTIONS_WAITING_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    #[test]
    fn an_answer_goes_to_who_asked_and_rings_there() {
        let (bells, doorbells): (Vec<_>, Vec<_>) = (0..2).map(|_| Bell::new().unwrap()).unzip();
        let (names, desk) = channel(bells);
        assert!(names[1].ask("registry.example"));
        let question = desk.next().unwrap();
        assert_eq!(&*question.host, "registry.example");
        let addresses: Box<[IpAddr]> = Box::new([[192, 0, 2, 1].into()]);
        desk.answer(question, Ok(addresses.clone()));
        assert_eq!(names[0].take(), None);
        let found = Found { host: "registry.example".into(), addresses: Ok(addresses) };
        assert_eq!(names[1].take(), Some(found));
        let rung = doorbells.into_iter().map(|doorbell| {
            let descriptor = doorbell.into_descriptor();
            let mut polled = [PollFd::new(&descriptor, PollFlags::IN)];
            poll(&mut polled, Some(&Timespec::default())).unwrap() == 1
        });
        assert_eq!(rung.collect::<Vec<_>>(), [false, true]);
        drop(names);
        assert_eq!(desk.next(), None);
    }

    #[test]
    fn who_finds_no_room_is_told() {
        let (names, desk) = channel([Bell::new().unwrap().0]);
        let asked = (0..=QUESTIONS_WAITING_MAX).filter(|_| names[0].ask("a")).count();
        assert_eq!(asked, QUESTIONS_WAITING_MAX);
        let question = desk.next().unwrap();
        assert!(names[0].ask("a"));
        // One who is gone is not waited for.
        drop(names);
        desk.answer(question, Err("gone".into()));
    }
}
