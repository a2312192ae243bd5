//! Sockets that the ring's streams own, asked directly: for what only concerns the moment, a round
//! of the ring is too late and costs more.

use std::os::fd::{AsRawFd, BorrowedFd};

use monoio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

/// The stream's descriptor.
pub fn descriptor(stream: &TcpStream) -> BorrowedFd<'_> {
    // SAFETY: the stream owns its descriptor and is borrowed for as long.
    unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) }
}

/// How many bytes (at most one) could be read now; 0 at the end.
pub fn peek(stream: &TcpStream) -> Result<usize, Errno> {
    let mut byte = [0; 1];
    let (bytes, _) = recv(descriptor(stream), &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT)?;
    Ok(bytes)
}
