//! What the library reads from and writes to: the connection's TLS, by readiness. No buffer is held
//! while nothing comes, nothing is sent before a whole turn's answers are there to be sent together,
//! and no more than so much is read in one turn, so that one client does not keep the worker.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use monoio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv, send};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::messages::meters::Counter;
use crate::pure::http2::frames::{Flood, Frames};
use crate::pure::limits::BUFFER_BYTES;
use crate::worker::Worker;
use crate::worker::buffers::Buffer;
use crate::worker::downstream::AT_ONCE;
use crate::worker::socket::descriptor;
use crate::worker::tls::Session;

/// A connection's bytes, both ways.
pub(super) struct Wire {
    worker: Rc<Worker>,
    stream: Rc<TcpStream>,
    session: Session,
    /// What was said and not read yet, all behind the number.
    said: Option<(Buffer, usize)>,
    /// What waits to be sealed.
    corked: Option<Buffer>,
    /// What is sealed and not sent yet, all behind the number.
    sealed: Option<(Buffer, usize)>,
    frames: Frames,
    flood: Option<Flood>,
    /// Whether the preface was read: before it there is nobody to say goodbye to.
    has_begun: bool,
    read_in_turn: usize,
    sent: usize,
    has_ended: bool,
    readable: Option<Readiness>,
    writable: Option<Readiness>,
}

/// A wait for the socket.
type Readiness = Pin<Box<dyn Future<Output = io::Result<()>>>>;

impl Wire {
    /// Of a client with which TLS is agreed, and which has `said` something already.
    pub(super) fn new(
        worker: Rc<Worker>,
        stream: TcpStream,
        session: Session,
        said: Option<Buffer>,
    ) -> Self {
        let mut wire = Self {
            frames: Frames::new(worker.clock.seconds()),
            worker,
            stream: Rc::new(stream),
            session,
            said: None,
            corked: None,
            sealed: None,
            flood: None,
            has_begun: false,
            read_in_turn: 0,
            sent: 0,
            has_ended: false,
            readable: None,
            writable: None,
        };
        if let Some(said) = said {
            wire.hear(said);
        }
        wire
    }

    /// The preface was read.
    pub(super) fn begin(&mut self) {
        self.has_begun = true;
    }

    /// What there was too much of.
    pub(super) fn flood(&self) -> Option<Flood> {
        self.flood
    }

    /// Whether what waits to be sent has these words in it.
    pub(super) fn is_about_to_say(&self, words: &str) -> bool {
        let waiting = self.corked.as_ref().map(Buffer::filled).unwrap_or_default();
        waiting.windows(words.len()).any(|window| window == words.as_bytes())
    }

    /// How many bytes were sent since this was asked last.
    pub(super) fn take_sent(&mut self) -> usize {
        std::mem::take(&mut self.sent)
    }

    /// Sends everything that waits.
    pub(super) fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if let Some((sealed, from)) = &mut self.sealed {
                let rest = sealed.filled().get(*from..).unwrap_or_default();
                match send(descriptor(&self.stream), rest, AT_ONCE) {
                    Ok(sent) => {
                        *from += sent;
                        self.sent += sent;
                        self.worker.meters.add(Counter::BytesSent, sent as u64);
                        if sent == rest.len() {
                            self.sealed = None;
                        }
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => ready!(self.poll_writable(context))?,
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
                continue;
            }
            let Some(mut corked) = self.corked.take() else {
                return Poll::Ready(Ok(()));
            };
            let mut sealed = self.worker.pool.lend();
            let taken = self.session.seal(corked.filled(), &mut sealed).map_err(broken)?;
            self.frames.sent(taken);
            self.sealed = Some((sealed, 0));
            corked.consume(taken);
            self.corked = Some(corked).filter(|corked| !corked.is_empty());
        }
    }

    /// Sends that nothing follows, if the socket takes it at once.
    pub(super) fn say_end(&mut self) {
        let mut sealed = self.worker.pool.lend();
        self.session.seal_end(&mut sealed);
        // Whoever is gone need not be told.
        let _ = send(descriptor(&self.stream), sealed.filled(), AT_ONCE);
    }

    /// Receives once. What comes is said, or answered by TLS itself.
    fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.read_in_turn >= TURN_BYTES {
            // By way of the ring: whoever waits there goes first.
            self.readable.get_or_insert_with(|| readiness(&self.stream, Direction::Read));
        }
        if let Some(readable) = &mut self.readable {
            ready!(readable.as_mut().poll(context))?;
            self.readable = None;
            self.read_in_turn = 0;
        }
        let mut came = self.session.take_came().unwrap_or_else(|| self.worker.pool.lend());
        let filled = came.filled().len();
        let room = came.all_mut().get_mut(filled..).unwrap_or_default();
        match recv(descriptor(&self.stream), room, RecvFlags::DONTWAIT) {
            Ok((0, _)) => self.has_ended = true,
            Ok((received, _)) => {
                came.set_filled(filled + received);
                self.read_in_turn += received;
                self.worker.meters.add(Counter::BytesReceived, received as u64);
                self.take(came)?;
            }
            Err(Errno::INTR) => self.session.give_came(came),
            Err(Errno::AGAIN) => {
                self.session.give_came(came);
                let mut readable = readiness(&self.stream, Direction::Read);
                let is_readable = readable.as_mut().poll(context);
                self.readable = Some(readable);
                ready!(is_readable)?;
                self.readable = None;
            }
            Err(error) => return Poll::Ready(Err(error.into())),
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, came: Buffer) -> io::Result<()> {
        let mut said = self.worker.pool.lend();
        let mut answer = self.worker.pool.lend();
        let taken = self.session.take(came, &mut said, &mut answer);
        if !answer.is_empty() {
            self.answer(&answer);
        }
        if !said.is_empty() {
            self.hear(said);
        }
        self.has_ended |= self.session.has_ended();
        taken.map_err(broken)
    }

    /// What TLS itself has to say goes out with the next answer.
    fn answer(&mut self, answer: &Buffer) {
        let (mut sealed, from) = match self.sealed.take() {
            Some(waiting) => waiting,
            None => (self.worker.pool.lend(), 0),
        };
        if sealed.append(answer.filled()) < answer.filled().len() {
            // It takes nothing and asks for ever more.
            self.has_ended = true;
        }
        self.sealed = Some((sealed, from));
    }

    fn hear(&mut self, said: Buffer) {
        let now_s = self.worker.clock.seconds();
        if let Err(flood) = self.frames.read(said.filled(), now_s) {
            self.flood.get_or_insert(flood);
        }
        self.said = Some((said, 0));
    }

    fn poll_writable(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &self.stream;
        let writable = self.writable.get_or_insert_with(|| readiness(stream, Direction::Write));
        let is_writable = ready!(writable.as_mut().poll(context));
        self.writable = None;
        Poll::Ready(is_writable)
    }
}

/// The library's handle.
pub(super) struct Handle(pub(super) Rc<RefCell<Wire>>);

impl AsyncRead for Handle {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut wire = self.0.borrow_mut();
        loop {
            // Of a flood nothing more is read: it is over.
            if wire.flood.is_some() && wire.has_begun {
                return Poll::Pending;
            }
            if let Some((said, from)) = &mut wire.said {
                let rest = said.filled().get(*from..).unwrap_or_default();
                let fits = rest.len().min(room.remaining());
                room.put_slice(rest.get(..fits).unwrap_or_default());
                *from += fits;
                if fits == rest.len() {
                    wire.said = None;
                }
                return Poll::Ready(Ok(()));
            }
            if wire.session.has_rest() {
                let mut said = wire.worker.pool.lend();
                wire.session.give_rest(&mut said);
                wire.hear(said);
                continue;
            }
            if wire.has_ended {
                return Poll::Ready(Ok(()));
            }
            ready!(wire.poll_receive(context))?;
        }
    }
}

impl AsyncWrite for Handle {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.0.borrow_mut();
        if wire.corked.as_ref().is_some_and(|corked| corked.filled().len() >= CORK_BYTES) {
            ready!(wire.poll_send(context))?;
        }
        let wire = &mut *wire;
        let corked = wire.corked.get_or_insert_with(|| wire.worker.pool.lend());
        Poll::Ready(Ok(corked.append(bytes)))
    }

    /// Says that it is done: what is written goes out when the turn is over.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
}

fn readiness(stream: &Rc<TcpStream>, direction: Direction) -> Readiness {
    let stream = Rc::clone(stream);
    Box::pin(async move {
        match direction {
            Direction::Read => stream.readable(false).await,
            Direction::Write => stream.writable(false).await,
        }
    })
}

fn broken<E>(_: E) -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// How much is read before the others have their turn.
const TURN_BYTES: usize = 64 * 1024;
/// How much is collected before it is sent: about a record, less than a buffer.
const CORK_BYTES: usize = 16_000;
const _: () = assert!(CORK_BYTES < BUFFER_BYTES);
