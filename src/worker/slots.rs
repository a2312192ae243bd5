//! What each connection of a worker is waiting for, and since when: the one sweep that ends those
//! that wait too long.

use std::cell::RefCell;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;

use rustix::net::Shutdown;

/// What a connection is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// For a request to begin.
    Idle,
    /// For a stream of HTTP/2 to begin.
    Streamless,
    /// For the client to make room for streams whose answers are ready.
    Stalling,
    /// For TLS to be agreed on.
    Handshake,
    /// For a request head, of which some has come, to be complete.
    Head,
    /// For the client to take its answer.
    Writing,
    /// For the other side of what is forwarded, whose own wait is bounded.
    Forwarding,
    /// For a refused client to see its answer and go.
    Lingering,
    /// For nothing any more: the sweep has ended the wait.
    Overdue,
}

/// How long each wait may take, in sweeps.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// See [`Phase::Idle`].
    pub idle: u64,
    /// See [`Phase::Head`] and [`Phase::Handshake`].
    pub head: u64,
    /// See [`Phase::Streamless`].
    pub streamless: u64,
    /// See [`Phase::Writing`] and [`Phase::Stalling`].
    pub writing: u64,
    /// See [`Phase::Lingering`].
    pub lingering: u64,
}

/// One slot per connection.
#[derive(Default)]
pub struct Slots {
    slots: RefCell<Vec<Slot>>,
    free: RefCell<Vec<usize>>,
}

struct Slot {
    /// -1 while the slot is free.
    descriptor: RawFd,
    phase: Phase,
    since_sweep: u64,
}

/// A connection's own slot; freed with it. It has to be dropped before the stream is (fields are
/// dropped in the order of their declaration): the sweep must not meet a descriptor that was closed
/// and given to somebody else.
pub struct Seat {
    slots: Rc<Slots>,
    index: usize,
}

impl Slots {
    /// A slot for the connection behind `stream`.
    pub fn seat(self: &Rc<Self>, stream: &impl AsRawFd, now_sweep: u64) -> Seat {
        let slot =
            Slot { descriptor: stream.as_raw_fd(), phase: Phase::Idle, since_sweep: now_sweep };
        let mut slots = self.slots.borrow_mut();
        let index = match self.free.borrow_mut().pop() {
            Some(index) => {
                slots[index] = slot;
                index
            }
            None => {
                slots.push(slot);
                slots.len() - 1
            }
        };
        Seat { slots: Rc::clone(self), index }
    }

    /// How many connections there are.
    pub fn taken(&self) -> usize {
        self.slots.borrow().len() - self.free.borrow().len()
    }

    /// Ends the waits that have taken too long, and says which to `overdue`.
    pub fn sweep(&self, now_sweep: u64, patience: &Patience, mut overdue: impl FnMut(Phase)) {
        for slot in self.slots.borrow_mut().iter_mut().filter(|slot| slot.descriptor >= 0) {
            let bound = match slot.phase {
                Phase::Idle => patience.idle,
                Phase::Handshake | Phase::Head => patience.head,
                Phase::Streamless => patience.streamless,
                Phase::Writing | Phase::Stalling => patience.writing,
                Phase::Lingering => patience.lingering,
                Phase::Forwarding | Phase::Overdue => continue,
            };
            if now_sweep.saturating_sub(slot.since_sweep) > bound {
                overdue(slot.phase);
                slot.end();
            }
        }
    }

    /// Ends every wait in one of `phases` that has lasted for `sweeps`.
    pub fn end_waiting(&self, phases: &[Phase], now_sweep: u64, sweeps: u64) {
        for slot in self.slots.borrow_mut().iter_mut().filter(|slot| slot.descriptor >= 0) {
            if phases.contains(&slot.phase) && now_sweep.saturating_sub(slot.since_sweep) >= sweeps
            {
                slot.end();
            }
        }
    }

    /// Ends every wait in one of `phases`.
    pub fn end_all(&self, phases: &[Phase]) {
        self.end_waiting(phases, 0, 0);
    }
}

impl Slot {
    /// Ends what the connection waits for, by ending that direction of the socket: the operation
    /// under way completes by itself, and its buffer comes home. Who waits for a request only stops
    /// reading: what has come already is answered, and half a head is told that it is late.
    fn end(&mut self) {
        let how = match self.phase {
            // HTTP/2 has a word to say goodbye with.
            Phase::Idle | Phase::Head | Phase::Streamless | Phase::Stalling => Shutdown::Read,
            Phase::Handshake
            | Phase::Writing
            | Phase::Forwarding
            | Phase::Lingering
            | Phase::Overdue => Shutdown::Both,
        };
        // SAFETY: the slot is taken, so its connection has not closed the descriptor yet (`Seat`).
        let descriptor = unsafe { BorrowedFd::borrow_raw(self.descriptor) };
        // A socket that is not connected any more needs no ending.
        let _ = rustix::net::shutdown(descriptor, how);
        self.phase = Phase::Overdue;
    }
}

impl Seat {
    /// Says what the connection waits for from now on.
    pub fn wait(&self, phase: Phase, now_sweep: u64) {
        let slot = &mut self.slots.slots.borrow_mut()[self.index];
        slot.phase = phase;
        slot.since_sweep = now_sweep;
    }

    /// What it is said to wait for.
    pub fn phase(&self) -> Phase {
        self.slots.slots.borrow()[self.index].phase
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.slots.slots.borrow_mut()[self.index].descriptor = -1;
        self.slots.free.borrow_mut().push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    const PATIENCE: Patience =
        Patience { idle: 3, head: 1, streamless: 4, writing: 5, lingering: 2 };

    #[test]
    fn exactly_those_that_wait_too_long_are_ended() {
        let slots = Rc::new(Slots::default());
        let (idle, mut idle_peer) = UnixStream::pair().unwrap();
        let (head, _head_peer) = UnixStream::pair().unwrap();
        let idle_seat = slots.seat(&idle, 0);
        let head_seat = slots.seat(&head, 0);
        head_seat.wait(Phase::Head, 0);
        let mut overdue = Vec::new();
        slots.sweep(2, &PATIENCE, |phase| overdue.push(phase));
        assert_eq!(overdue, [Phase::Head]);
        assert_eq!(head_seat.phase(), Phase::Overdue);
        assert_eq!(idle_seat.phase(), Phase::Idle);
        slots.sweep(4, &PATIENCE, |phase| overdue.push(phase));
        assert_eq!(overdue, [Phase::Head, Phase::Idle]);
        // Only reading has ended: what had come would still be answered.
        let mut idle = idle;
        assert_eq!(idle.read(&mut [0]).unwrap(), 0);
        idle.write_all(b"answer").unwrap();
        let mut answer = [0; 6];
        idle_peer.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");
    }

    #[test]
    fn who_has_waited_long_enough_is_ended() {
        let slots = Rc::new(Slots::default());
        let (one, _peer) = UnixStream::pair().unwrap();
        let seat = slots.seat(&one, 5);
        slots.end_waiting(&[Phase::Head], 100, 0);
        slots.end_waiting(&[Phase::Idle], 6, 2);
        assert_eq!(seat.phase(), Phase::Idle);
        slots.end_waiting(&[Phase::Idle], 7, 2);
        assert_eq!(seat.phase(), Phase::Overdue);
    }

    #[test]
    fn a_freed_slot_is_not_swept_and_is_used_again() {
        let slots = Rc::new(Slots::default());
        let (one, _peer) = UnixStream::pair().unwrap();
        drop(slots.seat(&one, 0));
        slots.sweep(100, &PATIENCE, |phase| panic!("nobody waits, least of all {phase:?}"));
        let _seat = slots.seat(&one, 100);
        assert_eq!(slots.slots.borrow().len(), 1);
        assert_eq!(slots.taken(), 1);
    }
}
