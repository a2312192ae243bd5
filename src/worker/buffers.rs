//! A worker's pool of buffers: one size, for receiving as for answering.
//!
//! Buffers that nobody used for half a second go back to the system page by page but stay in the
//! pool. Giving them back any earlier costs more than it saves: a whole batch of answers is under
//! way at once, so all its buffers come home together.

use std::alloc::{self, Layout};
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::slice;

use monoio::buf::{IoBuf, IoBufMut};

use crate::pure::limits::BUFFER_BYTES;

/// [`BUFFER_BYTES`] of memory, of which the first `filled` bytes hold something.
pub struct Buffer {
    memory: NonNull<u8>,
    filled: usize,
}

impl Buffer {
    fn new() -> Self {
        // SAFETY: the layout's size is not zero.
        let memory = unsafe { alloc::alloc_zeroed(LAYOUT) };
        let Some(memory) = NonNull::new(memory) else {
            alloc::handle_alloc_error(LAYOUT);
        };
        Self { memory, filled: 0 }
    }

    /// What it holds.
    pub fn filled(&self) -> &[u8] {
        &self.all()[..self.filled]
    }

    /// The whole memory; what lies beyond the filled part is some initialised byte or other.
    pub fn all_mut(&mut self) -> &mut [u8] {
        // SAFETY: the memory is ours alone, `LAYOUT` bytes long, and was initialised to zero;
        // giving pages back to the system makes them zero again.
        unsafe { slice::from_raw_parts_mut(self.memory.as_ptr(), BUFFER_BYTES) }
    }

    /// Says that the first `filled` bytes hold something now.
    pub fn set_filled(&mut self, filled: usize) {
        self.filled = filled.min(BUFFER_BYTES);
    }

    /// Drops the first `bytes` of what it holds.
    pub fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(self.filled);
        let filled = self.filled;
        self.all_mut().copy_within(bytes..filled, 0);
        self.filled -= bytes;
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    fn all(&self) -> &[u8] {
        // SAFETY: as in `all_mut`.
        unsafe { slice::from_raw_parts(self.memory.as_ptr(), BUFFER_BYTES) }
    }

    /// Gives the memory's pages back to the system; they read as zero from now on.
    fn give_back(&mut self) {
        self.filled = 0;
        // SAFETY: the range is this buffer's own, aligned to and a multiple of the page size.
        // Losing its contents is what is wanted.
        let _ = unsafe {
            rustix::mm::madvise(
                self.memory.as_ptr().cast(),
                BUFFER_BYTES,
                rustix::mm::Advice::LinuxDontNeed,
            )
        };
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout, and not freed before.
        unsafe { alloc::dealloc(self.memory.as_ptr(), LAYOUT) }
    }
}

// SAFETY: the pointer is to memory that does not move with the value and lives as long as it;
// the first `filled` bytes are initialised (all of them are).
unsafe impl IoBuf for Buffer {
    fn read_ptr(&self) -> *const u8 {
        self.memory.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.filled
    }
}

// SAFETY: the pointer is to memory that does not move with the value and lives as long as it, and
// `bytes_total` of it may be written.
unsafe impl IoBufMut for Buffer {
    fn write_ptr(&mut self) -> *mut u8 {
        self.memory.as_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        BUFFER_BYTES
    }

    unsafe fn set_init(&mut self, filled: usize) {
        self.filled = filled;
    }
}

/// Buffers that are not in use.
#[derive(Default)]
pub struct Pool {
    /// Used lately, the last one last.
    warm: RefCell<Vec<Buffer>>,
    /// Without pages.
    cold: RefCell<Vec<Buffer>>,
    /// The fewest that were warm since the last sweep: so many were not needed.
    warm_min: Cell<usize>,
    out: Cell<usize>,
}

impl Pool {
    /// An empty buffer, the most recently used if there is one.
    pub fn take(&self) -> Buffer {
        self.out.set(self.out.get() + 1);
        let mut warm = self.warm.borrow_mut();
        let buffer = warm.pop();
        self.warm_min.set(self.warm_min.get().min(warm.len()));
        buffer.or_else(|| self.cold.borrow_mut().pop()).unwrap_or_else(Buffer::new)
    }

    /// Takes a buffer home.
    pub fn put(&self, mut buffer: Buffer) {
        self.out.set(self.out.get() - 1);
        buffer.filled = 0;
        self.warm.borrow_mut().push(buffer);
    }

    /// Notes that a buffer was dropped instead of put home (its connection panicked).
    pub fn forget(&self) {
        self.out.set(self.out.get() - 1);
    }

    /// How many are in use.
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
        for mut buffer in warm.drain(..unneeded) {
            buffer.give_back();
            cold.push(buffer);
        }
        self.warm_min.set(warm.len());
    }
}

/// How many buffers one sweep gives back: a bound on how long it keeps the worker.
const GIVEN_BACK_MAX: usize = 2048;

/// The system's page size or a divisor of it, so that whole pages can be given back.
const PAGE_ALIGN: usize = 4096;

const LAYOUT: Layout = match Layout::from_size_align(BUFFER_BYTES, PAGE_ALIGN) {
    Ok(layout) => layout,
    Err(_) => panic!("a buffer's size and alignment make a layout"),
};
const _: () = assert!(BUFFER_BYTES % PAGE_ALIGN == 0);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_consumed_makes_room_at_the_end() {
        let mut buffer = Buffer::new();
        buffer.all_mut()[..6].copy_from_slice(b"abcdef");
        buffer.set_filled(6);
        buffer.consume(4);
        assert_eq!(buffer.filled(), b"ef");
        buffer.consume(9);
        assert!(buffer.is_empty());
    }

    #[test]
    fn buffers_that_were_not_needed_lose_their_pages_and_come_back_empty() {
        let pool = Pool::default();
        let mut used = pool.take();
        used.all_mut().fill(7);
        pool.put(used);
        pool.sweep();
        assert_eq!(pool.warm.borrow().len(), 1, "it was used since the sweep before");
        pool.sweep();
        assert_eq!((pool.warm.borrow().len(), pool.cold.borrow().len()), (0, 1));
        let mut again = pool.take();
        assert!(again.all_mut().iter().all(|byte| *byte == 0));
        assert_eq!(pool.out(), 1);
        pool.put(again);
        assert_eq!(pool.out(), 0);
    }
}
