//! A body from one plain socket to another by splice(2), without a copy. The calls are made
//! directly: as an operation of the ring each of them would go to a kernel thread, at 2.5 times the
//! cost. The ring only says when a socket is ready.

use std::os::fd::BorrowedFd;

use monoio::net::TcpStream;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use super::pipes::Lent;
use super::{Broke, Stream, has_unread};
use crate::messages::meters::Counter;
use crate::pure::http1::body::{TOO_LONG, TOO_SHORT};
use crate::worker::buffers::Buffer;
use crate::worker::socket::descriptor;

/// Moves `left` bytes (where that is `None`, all until the end) `to` the client: `rest` first, then
/// what comes `from` the registry.
pub(super) async fn splice(
    stream: &Stream<'_>,
    rest: Buffer,
    (from, to): (&TcpStream, &TcpStream),
    mut pipe: Lent,
    mut left: Option<u64>,
) -> Result<(), Broke> {
    let Stream { pace, buffer_bytes, .. } = stream;
    if !rest.is_empty() {
        left = without(left, rest.filled().len(), from)?;
        pace.write(to, rest.filled()).await?;
        pace.passed(Counter::StreamedBytesCopied, rest.filled().len());
    }
    drop(rest);
    let source = NonBlocking::new(from).map_err(|_| pace.upstream_broke())?;
    let sink = NonBlocking::new(to).map_err(|_| Broke::Client)?;
    while left != Some(0) {
        if pace.is_turn_over() {
            pace.let_others().await;
            // A ring completes what they wait for only when it is waited on itself.
            pace.upstream_readable(from).await?;
        }
        let bytes_max = left.map_or(*buffer_bytes, |left| at_most(left, *buffer_bytes));
        match pipe.fill(source.descriptor, bytes_max) {
            Ok(0) => return pace.upstream_ended(left.map_or(Ok(()), |_| Err(TOO_SHORT))),
            Ok(moved) => left = without(left, moved, from)?,
            Err(Errno::AGAIN | Errno::INTR) => pace.upstream_readable(from).await?,
            Err(_) => return Err(pace.upstream_broke()),
        }
        while pipe.held() > 0 {
            match pipe.drain(sink.descriptor, left != Some(0)) {
                Err(Errno::AGAIN | Errno::INTR) => pace.client_writable(to).await?,
                Ok(0) | Err(_) => return Err(Broke::Client),
                Ok(moved) => {
                    pace.sent(moved);
                    pace.passed(Counter::StreamedBytesSpliced, moved);
                }
            }
        }
    }
    Ok(())
}

/// What is left when `bytes` have come. The last of them are not to be sent if there are more.
fn without(left: Option<u64>, bytes: usize, from: &TcpStream) -> Result<Option<u64>, Broke> {
    let Some(left) = left else {
        return Ok(None);
    };
    match left.checked_sub(bytes as u64) {
        None => Err(Broke::Upstream(TOO_LONG)),
        Some(0) if has_unread(from) => Err(Broke::Upstream(TOO_LONG)),
        left => Ok(left),
    }
}

/// A socket that does not block until this is dropped: a ring's sockets do, and splice(2) has no
/// flag for one call that reaches them.
struct NonBlocking<'s> {
    descriptor: BorrowedFd<'s>,
    before: OFlags,
}

impl<'s> NonBlocking<'s> {
    fn new(stream: &'s TcpStream) -> Result<Self, Errno> {
        let descriptor = descriptor(stream);
        let before = fcntl_getfl(descriptor)?;
        fcntl_setfl(descriptor, before | OFlags::NONBLOCK)?;
        Ok(Self { descriptor, before })
    }
}

impl Drop for NonBlocking<'_> {
    fn drop(&mut self) {
        // The same call has worked on this descriptor before.
        let _ = fcntl_setfl(self.descriptor, self.before);
    }
}

/// `left`, but at most `bytes_max`.
fn at_most(left: u64, bytes_max: usize) -> usize {
    usize::try_from(left).map_or(bytes_max, |left| left.min(bytes_max))
}
