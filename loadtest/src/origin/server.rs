//! A registry that serves one image under every name.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags, SendFlags, SocketFlags};

use super::content::{Body, Content, Image, PATTERN_BYTES, blob, hex, pattern};

/// Serves on `address` until the process is ended, the image and a blob of each of `sizes`.
pub fn serve(address: SocketAddr, sizes: &[u64]) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    // Inherited by what is accepted.
    net::sockopt::set_tcp_nodelay(&listener, true)?;
    let registry = Registry::new(sizes)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut talks: HashMap<u64, Talk> = HashMap::new();
    let mut next = 0;
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(problem) => return Err(problem.into()),
        }
        for event in &events {
            let name = event.data.u64();
            if name == LISTENER {
                while let Ok(socket) =
                    net::accept_with(&listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
                {
                    epoll::add(&epoll, &socket, EventData::new_u64(next), EventFlags::IN)?;
                    talks.insert(next, Talk::new(socket));
                    next += 1;
                }
                continue;
            }
            let Some(talk) = talks.get_mut(&name) else { continue };
            let Ok(Some(waits_for)) = talk.go_on(&registry) else {
                talks.remove(&name);
                continue;
            };
            if talk.waits_for != waits_for {
                talk.waits_for = waits_for;
                epoll::modify(&epoll, &talk.socket, EventData::new_u64(name), waits_for)?;
            }
        }
    }
}

struct Registry {
    /// By what stands behind the package's name.
    answers: HashMap<Vec<u8>, Ready>,
    base: Ready,
    unknown: Ready,
    pattern: OwnedFd,
}

/// An answer, ready to go out.
struct Ready {
    head: Vec<u8>,
    /// The head with its body behind it, where that is short.
    whole: Vec<u8>,
    /// Bytes of the pattern that follow.
    length: u64,
}

/// One connection.
struct Talk {
    socket: OwnedFd,
    /// Of requests.
    unread: Vec<u8>,
    /// What is left of the answer under way.
    answer: Option<Rest>,
    waits_for: EventFlags,
}

struct Rest {
    /// Of the head, and of a short body.
    bytes: Vec<u8>,
    sent: usize,
    /// Of the pattern: from here up to there.
    from: u64,
    to: u64,
}

impl Registry {
    fn new(sizes: &[u64]) -> io::Result<Self> {
        let image = Image::new();
        let blobs: Vec<Content> = sizes.iter().map(|size| blob(*size)).collect();
        let contents = image.contents().chain(&blobs);
        let answers = contents.map(|it| (it.tail.clone().into_bytes(), Ready::of(it))).collect();
        let memory = memfd_create("pattern", MemfdFlags::CLOEXEC)?;
        let mut bytes = &*pattern();
        while !bytes.is_empty() {
            let written = rustix::io::write(&memory, bytes)?;
            bytes = &bytes[written..];
        }
        Ok(Self {
            answers,
            base: Ready::small("200 OK", b"{}"),
            unknown: Ready::small("404 Not Found", b"{\"errors\":[{\"code\":\"NAME_UNKNOWN\"}]}"),
            pattern: memory,
        })
    }

    /// `/v2/<name>/manifests/<reference>` and its like.
    fn answer(&self, target: &[u8]) -> &Ready {
        if target == b"/v2/" {
            return &self.base;
        }
        let mut slashes = target.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
        let tail = slashes.nth(1).map_or(&[][..], |(index, _)| &target[index + 1..]);
        self.answers.get(tail).unwrap_or(&self.unknown)
    }
}

impl Ready {
    fn of(content: &Content) -> Self {
        let length = content.body.length();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {length}\r\n\
             Docker-Content-Digest: sha256:{}\r\n\r\n",
            content.kind,
            hex(&content.digest)
        )
        .into_bytes();
        match &content.body {
            Body::Bytes(bytes) => {
                let whole = [&*head, bytes].concat();
                Self { head, whole, length: 0 }
            }
            Body::Pattern(length) => Self { whole: head.clone(), head, length: *length },
        }
    }

    fn small(status: &str, body: &[u8]) -> Self {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        Self { whole: [head.as_bytes(), body].concat(), head: head.into_bytes(), length: 0 }
    }
}

impl Talk {
    fn new(socket: OwnedFd) -> Self {
        Self { socket, unread: Vec::new(), answer: None, waits_for: EventFlags::IN }
    }

    /// Reads and answers as far as it goes, and returns what to wait for; nothing at its end.
    fn go_on(&mut self, registry: &Registry) -> io::Result<Option<EventFlags>> {
        loop {
            if self.answer.is_some() {
                if !self.send(registry)? {
                    return Ok(Some(EventFlags::OUT));
                }
                self.answer = None;
            }
            if self.begin(registry)? {
                continue;
            }
            let mut buffer = [0; 16 << 10];
            match net::recv(self.socket.as_fd(), &mut buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Ok(None),
                Ok((count, _)) => self.unread.extend_from_slice(&buffer[..count]),
                Err(Errno::AGAIN) => return Ok(Some(EventFlags::IN)),
                Err(problem) => return Err(problem.into()),
            }
        }
    }

    /// Takes the next request, if it is there.
    fn begin(&mut self, registry: &Registry) -> io::Result<bool> {
        let mut fields = [httparse::EMPTY_HEADER; 96];
        let mut head = httparse::Request::new(&mut fields);
        let length = match head.parse(&self.unread).map_err(io::Error::other)? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => return Ok(false),
        };
        let ready = registry.answer(head.path.unwrap_or_default().as_bytes());
        let rest = if head.method == Some("HEAD") {
            Rest { bytes: ready.head.clone(), sent: 0, from: 0, to: 0 }
        } else {
            Rest { bytes: ready.whole.clone(), sent: 0, from: 0, to: ready.length }
        };
        self.unread.drain(..length);
        self.answer = Some(rest);
        Ok(true)
    }

    /// Sends what is left, and says whether that was all.
    fn send(&mut self, registry: &Registry) -> io::Result<bool> {
        let Some(rest) = &mut self.answer else { return Ok(true) };
        let more = if rest.from < rest.to { SendFlags::MORE } else { SendFlags::empty() };
        while rest.sent < rest.bytes.len() {
            match net::send(&self.socket, &rest.bytes[rest.sent..], SendFlags::NOSIGNAL | more) {
                Ok(sent) => rest.sent += sent,
                Err(Errno::AGAIN) => return Ok(false),
                Err(problem) => return Err(problem.into()),
            }
        }
        while rest.from < rest.to {
            let mut offset = rest.from % PATTERN_BYTES as u64;
            let count = (rest.to - rest.from).min(PATTERN_BYTES as u64 - offset);
            let count = usize::try_from(count).unwrap_or(PATTERN_BYTES);
            match sendfile(&self.socket, &registry.pattern, Some(&mut offset), count) {
                Ok(sent) => rest.from += sent as u64,
                Err(Errno::AGAIN) => return Ok(false),
                Err(problem) => return Err(problem.into()),
            }
        }
        Ok(true)
    }
}

const LISTENER: u64 = u64::MAX;
