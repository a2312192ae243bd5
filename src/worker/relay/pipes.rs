//! A worker's pipes: what splice(2) moves a body through without copying it.

use std::cell::RefCell;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::io::Errno;
use rustix::pipe::{
    PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe_with, splice,
};

/// A worker's pipes that nobody uses now. All of them are empty.
#[derive(Default)]
pub struct Pipes {
    free: RefCell<Vec<Pipe>>,
}

/// A pipe, lent. It goes home when it is dropped, unless there are bytes in it: they belong to a
/// body that broke off, and nobody else is ever to see them.
pub struct Lent {
    /// `None` only while it is dropped.
    pipe: Option<Pipe>,
    held: usize,
    home: Rc<Pipes>,
}

struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    /// The length that was asked for; what the system gave is at least [`PIPE_BYTES_MIN`].
    asked_bytes: usize,
}

impl Pipes {
    /// A pipe for at most `bytes_max` at once. `None` where the system has none that is worth it: a
    /// user's pipes may hold `fs.pipe-user-pages-soft` pages (64 MiB) together, and past that new
    /// ones are tiny (pipe(7)).
    pub fn lend(self: &Rc<Self>, bytes_max: usize) -> Option<Lent> {
        let asked_bytes = bytes_max.clamp(PIPE_BYTES_MIN, PIPE_BYTES_MAX);
        let free = self.free.borrow_mut().pop().filter(|pipe| pipe.asked_bytes == asked_bytes);
        let pipe = match free {
            Some(pipe) => pipe,
            None => Pipe::new(asked_bytes).ok()?,
        };
        Some(Lent { pipe: Some(pipe), held: 0, home: Rc::clone(self) })
    }
}

impl Pipe {
    fn new(asked_bytes: usize) -> io::Result<Self> {
        let (reader, writer) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        // Refused where the user's pipes hold too much already: then it stays as it is.
        let _ = fcntl_setpipe_size(&writer, asked_bytes);
        if fcntl_getpipe_size(&writer)? < PIPE_BYTES_MIN {
            return Err(io::Error::from(io::ErrorKind::QuotaExceeded));
        }
        Ok(Self { reader, writer, asked_bytes })
    }
}

impl Lent {
    /// How many bytes are in it.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Moves at most `bytes_max` from the socket `from` into it: how many; 0 at the end of what
    /// comes.
    ///
    /// # Errors
    /// `AGAIN`, where nothing is there yet (the pipe should be empty, or it may mean that the pipe
    /// is full); an error of the socket.
    pub fn fill(&mut self, from: BorrowedFd<'_>, bytes_max: usize) -> Result<usize, Errno> {
        let Some(pipe) = &self.pipe else {
            return Ok(0);
        };
        let moved = splice(from, None, &pipe.writer, None, bytes_max, FLAGS)?;
        self.held += moved;
        Ok(moved)
    }

    /// Moves what is in it to the socket `to`: how many bytes. With `more` the system may wait for
    /// what follows rather than send a packet that is not full.
    ///
    /// # Errors
    /// `AGAIN`, where the socket takes nothing now; an error of the socket.
    pub fn drain(&mut self, to: BorrowedFd<'_>, more: bool) -> Result<usize, Errno> {
        let Some(pipe) = &self.pipe else {
            return Ok(0);
        };
        let flags = if more { FLAGS | SpliceFlags::MORE } else { FLAGS };
        let moved = splice(&pipe.reader, None, to, None, self.held, flags)?;
        self.held = self.held.saturating_sub(moved);
        Ok(moved)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut free = self.home.free.borrow_mut();
        if self.held == 0 && free.len() < PIPES_KEPT_MAX {
            free.extend(self.pipe.take());
        }
    }
}

const FLAGS: SpliceFlags = SpliceFlags::MOVE.union(SpliceFlags::NONBLOCK);
/// What a fresh pipe holds. A smaller one costs more calls than copying does.
const PIPE_BYTES_MIN: usize = 64 * 1024;
/// What anybody may ask for (`fs.pipe-max-size`).
const PIPE_BYTES_MAX: usize = 1024 * 1024;
/// Pipes that a worker keeps: two descriptors each, and no memory while they are empty.
const PIPES_KEPT_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn an_empty_pipe_is_lent_again_and_a_dirty_one_never() {
        let pipes = Rc::new(Pipes::default());
        let (mut source, from) = UnixStream::pair().unwrap();
        let (to, mut sink) = UnixStream::pair().unwrap();
        let mut lent = pipes.lend(64 * 1024).unwrap();
        let number = |lent: &Lent| lent.pipe.as_ref().unwrap().writer.as_raw_fd();
        let first = number(&lent);
        source.write_all(b"layer").unwrap();
        assert_eq!(lent.fill(from.as_fd(), 5), Ok(5));
        assert_eq!(lent.drain(to.as_fd(), false), Ok(5));
        let mut seen = [0; 5];
        sink.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"layer");
        drop(lent);
        let mut lent = pipes.lend(64 * 1024).unwrap();
        assert_eq!(number(&lent), first, "it was empty");
        source.write_all(b"secret").unwrap();
        assert_eq!(lent.fill(from.as_fd(), 6), Ok(6));
        drop(lent);
        assert!(pipes.free.borrow().is_empty(), "it holds another body's bytes");
        let lent = pipes.lend(64 * 1024).unwrap();
        let pipe = lent.pipe.as_ref().unwrap();
        assert_eq!(rustix::io::read(&pipe.reader, &mut [0; 6]), Err(Errno::AGAIN));
    }

    #[test]
    fn pipes_are_as_long_as_asked_and_only_so_many_are_kept() {
        let pipes = Rc::new(Pipes::default());
        let size = |lent: &Lent| fcntl_getpipe_size(&lent.pipe.as_ref().unwrap().writer).unwrap();
        let small = pipes.lend(1).unwrap();
        assert_eq!(size(&small), PIPE_BYTES_MIN);
        drop(small);
        // The one that is kept has another length.
        assert!(size(&pipes.lend(128 * 1024).unwrap()) >= PIPE_BYTES_MIN);
        let many: Vec<Lent> = (0..PIPES_KEPT_MAX + 3).map_while(|_| pipes.lend(1)).collect();
        assert_eq!(many.len(), PIPES_KEPT_MAX + 3);
        drop(many);
        assert_eq!(pipes.free.borrow().len(), PIPES_KEPT_MAX);
    }
}
