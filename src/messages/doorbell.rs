//! What wakes a ring from another thread: an eventfd that the ring polls. A channel alone would
//! not wake it, and no task of a ring may be woken by another thread.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

/// The side that rings.
#[derive(Clone)]
pub struct Bell(Arc<OwnedFd>);

/// The side that is woken: a descriptor that becomes readable.
pub struct Doorbell(OwnedFd);

impl Bell {
    /// A bell and its doorbell.
    pub fn new() -> io::Result<(Self, Doorbell)> {
        let descriptor = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let twin = descriptor.try_clone()?;
        Ok((Self(Arc::new(descriptor)), Doorbell(twin)))
    }

    /// Makes the doorbell readable. Never blocks: a counter that is full has rung already.
    pub fn ring(&self) {
        let _ = rustix::io::write(self.0.as_fd(), &1u64.to_ne_bytes());
    }
}

impl Doorbell {
    /// The descriptor to wait on. Answering is reading its eight bytes.
    pub fn into_descriptor(self) -> OwnedFd {
        self.0
    }
}
