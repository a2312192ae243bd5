//! Servers that do nothing but answer: the least that a redirect can cost here, by epoll and by
//! io_uring. They look for a head's end, copy its path behind a fixed answer, and know nothing of
//! HTTP, limits, time-outs, packages or counting.

mod epoll;
mod ring;

use std::io;
use std::net::{SocketAddr, TcpListener};

use memchr::memmem;
use socket2::{Domain, Protocol, Socket, Type};

use crate::args::{BareArgs, BareDriver};

/// Serves until it is ended.
pub fn serve(args: &BareArgs) -> io::Result<bool> {
    let listener = listen(args.listen)?;
    match args.driver {
        BareDriver::Epoll => epoll::serve(&listener, &args.origin),
        BareDriver::IoUring => ring::serve(&listener, &args.origin),
    }
}

/// TCP_NODELAY is inherited by what it accepts.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// What a connection has received and is to be sent.
struct Exchange {
    input: Box<[u8]>,
    filled: usize,
    output: Vec<u8>,
    sent: usize,
}

impl Exchange {
    fn new() -> Self {
        let input = vec![0; INPUT_BYTES].into();
        Self { input, filled: 0, output: Vec::with_capacity(INPUT_BYTES), sent: 0 }
    }

    /// Where the next bytes go.
    fn room(&mut self) -> &mut [u8] {
        self.input.get_mut(self.filled..).unwrap_or_default()
    }

    /// What is still to be sent.
    fn unsent(&self) -> &[u8] {
        self.output.get(self.sent..).unwrap_or_default()
    }

    /// Answers all heads that are complete with `length` more bytes.
    fn take(&mut self, length: usize, origin: &str) {
        self.filled += length;
        self.output.clear();
        self.sent = 0;
        let mut read = 0;
        while let Some(rest) = self.input.get(read..self.filled)
            && let Some(end) = memmem::find(rest, b"\r\n\r\n")
        {
            let mut words = rest.split(|byte| *byte == b' ');
            let path = words.nth(1).unwrap_or_default();
            for piece in [HEAD, origin.as_bytes(), path, TAIL] {
                self.output.extend_from_slice(piece);
            }
            read += end + 4;
        }
        self.input.copy_within(read..self.filled, 0);
        self.filled -= read;
    }
}

/// Sixteen requests of the load, and more.
const INPUT_BYTES: usize = 16 * 1024;
const HEAD: &[u8] = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: ";
const TAIL: &[u8] = b"\r\nContent-Length: 0\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_complete_head_is_answered_and_the_rest_is_kept() {
        let mut exchange = Exchange::new();
        let sent = b"GET /v2/a HTTP/1.1\r\nHost: b\r\n\r\nGET /v2/c HTTP/1.1\r\n\r\nGET /v2";
        exchange.room()[..sent.len()].copy_from_slice(sent);
        exchange.take(sent.len(), "http://o");
        let told = String::from_utf8(exchange.unsent().to_vec()).unwrap();
        let locations: Vec<&str> =
            told.lines().filter_map(|line| line.strip_prefix("Location: ")).collect();
        assert_eq!(locations, ["http://o/v2/a", "http://o/v2/c"]);
        assert_eq!(&exchange.input[..exchange.filled], b"GET /v2");
    }
}
