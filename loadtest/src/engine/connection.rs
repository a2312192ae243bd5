//! One connection to the target.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::{AsFd, OwnedFd};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustls::{ClientConfig, ClientConnection};

use super::Settings;
use super::reader::Reader;
use crate::target::packages::DOMAIN;

/// A connection, open or not.
#[derive(Default)]
pub(super) struct Connection {
    socket: Option<OwnedFd>,
    tls: Option<Box<ClientConnection>>,
    /// What did not go out yet.
    unsent: Vec<u8>,
    /// Answers that are awaited, the oldest first.
    pub(super) flights: VecDeque<Flight>,
    pub(super) reader: Reader,
    /// It was lost, and waits for the next sweep.
    pub(super) rests: bool,
    /// Sockets so far.
    opened: usize,
}

/// A request under way.
#[derive(Clone, Copy)]
pub(super) struct Flight {
    /// Which.
    pub(super) request: usize,
    /// When it was due.
    pub(super) since: u64,
    /// Its job ends before this request.
    pub(super) steps_end: usize,
    /// When its job was due.
    pub(super) job_since: u64,
}

/// What was received.
pub(super) enum Taken {
    /// Not now.
    Nothing,
    /// So many bytes into the buffer.
    Bytes(usize),
    /// So many bytes, nowhere.
    Skipped(u64),
    /// The other side is done.
    End,
}

/// Whether opening waits until the connection stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Yes,
    No,
}

impl Connection {
    pub(super) fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// Opens the connection that is the `index`-th of all.
    pub(super) fn open(
        &mut self,
        epoll: &OwnedFd,
        index: usize,
        settings: &Settings,
        wait: Wait,
    ) -> io::Result<()> {
        let Settings { address, connections, sources, keep_alive, .. } = settings;
        let family = match address {
            SocketAddr::V4(_) => net::AddressFamily::INET,
            SocketAddr::V6(_) => net::AddressFamily::INET6,
        };
        let flags = match wait {
            Wait::Yes => SocketFlags::CLOEXEC,
            Wait::No => SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        };
        let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
        if *sources > 0 {
            let source = loopback((index + self.opened * connections) % sources);
            net::bind(&socket, &SocketAddr::new(source, 0))?;
        }
        match net::connect(&socket, address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(problem) => return Err(problem.into()),
        }
        self.tls = settings.tls.as_ref().map(begin_tls).transpose()?;
        let socket = match (wait, &mut self.tls) {
            (Wait::Yes, Some(tls)) => shake_hands(socket, tls)?,
            _ => socket,
        };
        if wait == Wait::Yes {
            rustix::io::ioctl_fionbio(&socket, true)?;
        }
        if *keep_alive {
            net::sockopt::set_tcp_nodelay(&socket, true)?;
        }
        epoll::add(epoll, &socket, EventData::new_u64(index as u64), EventFlags::IN)?;
        self.socket = Some(socket);
        self.opened += 1;
        Ok(())
    }

    pub(super) fn into_socket(self) -> Option<OwnedFd> {
        self.socket
    }

    pub(super) fn close(&mut self) {
        self.socket = None;
        self.tls = None;
        self.unsent.clear();
        self.reader = Reader::default();
    }

    /// Sends as much of `bytes` as goes, and the rest when there is room.
    pub(super) fn send(&mut self, epoll: &OwnedFd, index: usize, bytes: &[u8]) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            // What is said before both have agreed waits in there.
            tls.writer().write_all(bytes)?;
            return self.send_sealed(epoll, index);
        }
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        let sent = match net::send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(sent) => sent,
            // Not connected yet, or full.
            Err(Errno::AGAIN | Errno::NOTCONN | Errno::ALREADY) => 0,
            Err(problem) => return Err(problem.into()),
        };
        if sent < bytes.len() {
            self.unsent.extend_from_slice(&bytes[sent..]);
            let data = EventData::new_u64(index as u64);
            epoll::modify(epoll, socket, data, EventFlags::IN | EventFlags::OUT)?;
        }
        Ok(())
    }

    /// Sends what TLS has to say.
    fn send_sealed(&mut self, epoll: &OwnedFd, index: usize) -> io::Result<()> {
        let (Some(socket), Some(tls)) = (&self.socket, &mut self.tls) else { return Ok(()) };
        while tls.wants_write() {
            tls.write_tls(&mut self.unsent)?;
        }
        if self.unsent.is_empty() {
            return Ok(());
        }
        match net::send(socket, &self.unsent, SendFlags::NOSIGNAL) {
            Ok(sent) => drop(self.unsent.drain(..sent)),
            Err(Errno::AGAIN | Errno::NOTCONN | Errno::ALREADY) => {}
            Err(problem) => return Err(problem.into()),
        }
        if !self.unsent.is_empty() {
            let data = EventData::new_u64(index as u64);
            epoll::modify(epoll, socket, data, EventFlags::IN | EventFlags::OUT)?;
        }
        Ok(())
    }

    /// There is room again.
    pub(super) fn send_more(&mut self, epoll: &OwnedFd, index: usize) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        match net::send(socket, &self.unsent, SendFlags::NOSIGNAL) {
            Ok(sent) => drop(self.unsent.drain(..sent)),
            Err(Errno::AGAIN) => {}
            Err(problem) => return Err(problem.into()),
        }
        if self.unsent.is_empty() {
            epoll::modify(epoll, socket, EventData::new_u64(index as u64), EventFlags::IN)?;
        }
        Ok(())
    }

    /// Receives into `buffer`, or throws away what of a body is there that nobody looks at.
    pub(super) fn receive(&mut self, epoll: &OwnedFd, index: usize, buffer: &mut [u8]) -> Taken {
        if self.tls.is_some() {
            return self.receive_sealed(epoll, index, buffer).unwrap_or(Taken::End);
        }
        let skippable = self.reader.skippable();
        let Some(socket) = &self.socket else { return Taken::Nothing };
        if skippable > buffer.len() as u64 {
            return skip(socket, skippable);
        }
        match net::recv(socket.as_fd(), buffer, RecvFlags::empty()) {
            Ok((0, _)) => Taken::End,
            Ok((count, _)) => Taken::Bytes(count),
            Err(Errno::AGAIN | Errno::INTR) => Taken::Nothing,
            Err(_) => Taken::End,
        }
    }
}

impl Connection {
    fn receive_sealed(
        &mut self,
        epoll: &OwnedFd,
        index: usize,
        buffer: &mut [u8],
    ) -> io::Result<Taken> {
        let (Some(socket), Some(tls)) = (&self.socket, &mut self.tls) else {
            return Ok(Taken::Nothing);
        };
        let mut sealed = [0; SEALED_BYTES];
        let came = match net::recv(socket.as_fd(), &mut sealed[..], RecvFlags::empty()) {
            Ok((came, _)) => came,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Taken::Nothing),
            Err(problem) => return Err(problem.into()),
        };
        let mut rest = &sealed[..came];
        let mut plain = 0;
        while !rest.is_empty() {
            tls.read_tls(&mut rest)?;
            tls.process_new_packets().map_err(io::Error::other)?;
            loop {
                match tls.reader().read(&mut buffer[plain..]) {
                    Ok(0) => break,
                    Ok(more) => plain += more,
                    Err(problem) if problem.kind() == io::ErrorKind::WouldBlock => break,
                    Err(problem) => return Err(problem),
                }
            }
        }
        if tls.wants_write() {
            self.send_sealed(epoll, index)?;
        }
        Ok(match (plain, came) {
            (0, 0) => Taken::End,
            (0, _) => Taken::Nothing,
            (plain, _) => Taken::Bytes(plain),
        })
    }
}

fn begin_tls(config: &Arc<ClientConfig>) -> io::Result<Box<ClientConnection>> {
    let name = DOMAIN.try_into().map_err(io::Error::other)?;
    let tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    Ok(Box::new(tls))
}

/// Waits until both sides have agreed.
fn shake_hands(socket: OwnedFd, tls: &mut ClientConnection) -> io::Result<OwnedFd> {
    let mut stream = TcpStream::from(socket);
    while tls.is_handshaking() {
        tls.complete_io(&mut stream)?;
    }
    Ok(stream.into())
}

/// The kernel lets go of up to `most` bytes without copying them (tcp(7), `MSG_TRUNC`).
fn skip(socket: &OwnedFd, most: u64) -> Taken {
    // Nothing is written to it, so its pages never come to be.
    thread_local! {
        static NOWHERE: std::cell::RefCell<Vec<u8>> = std::cell::RefCell::new(vec![0; SKIP_BYTES_MAX]);
    }
    NOWHERE.with_borrow_mut(|nowhere| {
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(SKIP_BYTES_MAX);
        match net::recv(socket, &mut nowhere[..most], RecvFlags::TRUNC) {
            Ok((_, 0)) => Taken::End,
            Ok((_, count)) => Taken::Skipped(count as u64),
            Err(Errno::AGAIN | Errno::INTR) => Taken::Nothing,
            Err(_) => Taken::End,
        }
    })
}

/// The `index`-th address of 127.0.0.0/8, from 127.1.0.1 on; none ends in 0 or 255.
pub(super) fn loopback(index: usize) -> IpAddr {
    let (rest, last) = (index / 254, index % 254 + 1);
    let byte = |value: usize| u8::try_from(value % 256).unwrap_or(0);
    IpAddr::V4(Ipv4Addr::new(127, 1 + byte(rest / 256 % 254), byte(rest), byte(last)))
}

/// Taken from the socket at once, where it is sealed; less than the buffer that it is opened into.
const SEALED_BYTES: usize = 64 << 10;
pub(super) const SKIP_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_all_different_and_all_loopback() {
        let all: std::collections::BTreeSet<IpAddr> = (0..100_000).map(loopback).collect();
        assert_eq!(all.len(), 100_000);
        assert!(all.iter().all(IpAddr::is_loopback));
    }
}
