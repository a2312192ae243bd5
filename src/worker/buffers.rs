//! A worker's pool of buffers: one size, for receiving as for answering.
//!
//! Buffers that nobody used for half a second go back to the system page by page but stay in the
//! pool. Giving them back any earlier costs more than it saves: a whole batch of answers is under
//! way at once, so all its buffers come home together.

use std::alloc::{self, Layout};
use std::cell::{Cell, RefCell};
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::rc::Rc;
use std::slice;

use monoio::buf::{IoBuf, IoBufMut};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::pure::limits::BUFFER_BYTES;

/// A pool's buffer, lent: [`BUFFER_BYTES`] of memory, of which the first `filled` bytes hold
/// something. It goes home when it is dropped, also when its connection panicked or the ring was
/// still reading into it.
pub struct Buffer {
    memory: ManuallyDrop<Memory>,
    filled: usize,
    home: Rc<Pool>,
}

impl Buffer {
    /// What it holds.
    pub fn filled(&self) -> &[u8] {
        &self.memory.all()[..self.filled]
    }

    /// The whole memory; what lies beyond the filled part is some initialised byte or other.
    pub fn all_mut(&mut self) -> &mut [u8] {
        self.memory.all_mut()
    }

    /// Says that the first `filled` bytes hold something now.
    pub fn set_filled(&mut self, filled: usize) {
        self.filled = filled.min(BUFFER_BYTES);
    }

    /// Puts the front of `bytes` behind what it holds; returns how many found room.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let filled = self.filled;
        let fits = bytes.len().min(BUFFER_BYTES - filled);
        let (room, bytes) = (&mut self.all_mut()[filled..filled + fits], &bytes[..fits]);
        room.copy_from_slice(bytes);
        self.filled = filled + fits;
        fits
    }

    /// Drops the first `bytes` of what it holds.
    pub fn consume(&mut self, bytes: usize) {
        let (bytes, filled) = (bytes.min(self.filled), self.filled);
        if bytes < filled {
            self.all_mut().copy_within(bytes..filled, 0);
        }
        self.filled -= bytes;
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: `memory` is taken here only, and a dropped buffer is never used again.
        let memory = unsafe { ManuallyDrop::take(&mut self.memory) };
        self.home.take_home(memory);
    }
}

// SAFETY: the pointer is to memory that does not move with the value and lives as long as it;
// all of it is initialised, so the first `filled` bytes are.
unsafe impl IoBuf for Buffer {
    fn read_ptr(&self) -> *const u8 {
        self.memory.0.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.filled
    }
}

// SAFETY: the pointer is to memory that does not move with the value and lives as long as it, and
// `bytes_total` of it may be written.
unsafe impl IoBufMut for Buffer {
    fn write_ptr(&mut self) -> *mut u8 {
        self.memory.0.as_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        BUFFER_BYTES
    }

    unsafe fn set_init(&mut self, filled: usize) {
        self.filled = filled;
    }
}

/// A worker's buffers.
#[derive(Default)]
pub struct Pool {
    /// Used lately, the last one last.
    warm: RefCell<Vec<Memory>>,
    /// Without pages.
    cold: RefCell<Vec<Memory>>,
    /// The fewest that were warm since the last sweep: so many were not needed.
    warm_min: Cell<usize>,
    out: Cell<usize>,
}

impl Pool {
    /// An empty buffer, the most recently used if there is one.
    pub fn lend(self: &Rc<Self>) -> Buffer {
        self.out.set(self.out.get() + 1);
        let mut warm = self.warm.borrow_mut();
        let memory = warm.pop();
        self.warm_min.set(self.warm_min.get().min(warm.len()));
        let memory = memory.or_else(|| self.cold.borrow_mut().pop());
        Buffer {
            memory: ManuallyDrop::new(memory.unwrap_or_else(Memory::new)),
            filled: 0,
            home: Rc::clone(self),
        }
    }

    /// How many are lent.
    pub fn out(&self) -> usize {
        self.out.get()
    }

    /// Gives the pages of those back that nobody needed since the last call. Called every half a
    /// second.
    pub fn sweep(&self) {
        let mut warm = self.warm.borrow_mut();
        let unneeded = self.warm_min.get().min(GIVEN_BACK_MAX).min(warm.len());
        // The front of the stack is what was used longest ago.
        let mut cold = self.cold.borrow_mut();
        for mut memory in warm.drain(..unneeded) {
            memory.give_back();
            cold.push(memory);
        }
        self.warm_min.set(warm.len());
    }

    fn take_home(&self, memory: Memory) {
        self.out.set(self.out.get() - 1);
        self.warm.borrow_mut().push(memory);
    }
}

/// [`BUFFER_BYTES`] of memory in pages of its own.
struct Memory(NonNull<u8>);

impl Memory {
    /// From the system directly: its pages are zero and take no room until they are written to,
    /// while an allocator would zero them by hand.
    fn new() -> Self {
        // SAFETY: no address is asked for, so no mapping of anybody's is replaced.
        let mapped = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                BUFFER_BYTES,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        };
        match mapped.ok().and_then(|memory| NonNull::new(memory.cast())) {
            Some(memory) => Self(memory),
            None => alloc::handle_alloc_error(Layout::new::<[u8; BUFFER_BYTES]>()),
        }
    }

    fn all(&self) -> &[u8] {
        // SAFETY: the memory is ours alone, `BUFFER_BYTES` long, and the system made it zero; giving
        // pages back makes them zero again.
        unsafe { slice::from_raw_parts(self.0.as_ptr(), BUFFER_BYTES) }
    }

    fn all_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `all`, and `self` is borrowed for as long.
        unsafe { slice::from_raw_parts_mut(self.0.as_ptr(), BUFFER_BYTES) }
    }

    /// Gives the pages back to the system; they read as zero from now on.
    fn give_back(&mut self) {
        // SAFETY: the range is this memory, aligned to and a multiple of the page size. Losing its
        // contents is what is wanted.
        let _ = unsafe { madvise(self.0.as_ptr().cast(), BUFFER_BYTES, Advice::LinuxDontNeed) };
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length, and nobody refers to it any more.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), BUFFER_BYTES) };
    }
}

/// How many buffers one sweep gives back: a bound on how long it keeps the worker.
const GIVEN_BACK_MAX: usize = 2048;

/// The system's pages are at least so large: whole pages can be given back.
const PAGE_BYTES: usize = 4096;
const _: () = assert!(BUFFER_BYTES.is_multiple_of(PAGE_BYTES));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_consumed_makes_room_at_the_end() {
        let mut buffer = Rc::new(Pool::default()).lend();
        buffer.all_mut()[..6].copy_from_slice(b"abcdef");
        buffer.set_filled(6);
        buffer.consume(4);
        assert_eq!(buffer.filled(), b"ef");
        buffer.consume(9);
        assert!(buffer.is_empty());
    }

    #[test]
    fn buffers_that_were_not_needed_lose_their_pages_and_are_lent_empty() {
        let pool = Rc::new(Pool::default());
        let mut used = pool.lend();
        used.all_mut().fill(7);
        drop(used);
        pool.sweep();
        assert_eq!(pool.warm.borrow().len(), 1, "it was used since the sweep before");
        pool.sweep();
        assert_eq!((pool.warm.borrow().len(), pool.cold.borrow().len()), (0, 1));
        let mut again = pool.lend();
        assert!(again.all_mut().iter().all(|byte| *byte == 0));
        assert_eq!(pool.out(), 1);
        drop(again);
        assert_eq!(pool.out(), 0);
    }
}
