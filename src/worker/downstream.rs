//! The client's side: the socket of its connection, its seat among the waits, and writing to it; or one
//! stream among those of a connection.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use monoio::buf::IoBuf;
use monoio::io::AsyncWriteRent;
use monoio::net::TcpStream;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{SendFlags, send};

use crate::messages::meters::Counter;
use crate::pure::cache::Body;
use crate::worker::Worker;
use crate::worker::buffers::{Buffer, Pool};
use crate::worker::http2::stream::Stream;
use crate::worker::over::Over;
use crate::worker::slots::{Phase, Seat};
use crate::worker::socket::descriptor;
use crate::worker::tls::Session;

/// A client's connection.
pub struct Line {
    /// Who serves it.
    pub worker: Rc<Worker>,
    /// Before the stream, so that it is dropped first (see [`Seat`]).
    pub seat: Seat,
    /// Its socket.
    pub stream: TcpStream,
    /// What goes over it is sealed with this, where it is TLS.
    pub tls: Option<Box<RefCell<Session>>>,
}

/// Where one answer goes.
pub enum Downstream<'d> {
    /// To a connection that is all its own.
    Line(&'d mut Line),
    /// To a stream of HTTP/2.
    Stream(&'d mut Stream),
}

impl Downstream<'_> {
    /// Who serves the client.
    pub fn worker(&self) -> &Rc<Worker> {
        match self {
            Self::Line(line) => &line.worker,
            Self::Stream(stream) => &stream.worker,
        }
    }

    /// The connection's seat, where what this answer waits for is what the connection waits for.
    pub fn seat(&self) -> Option<&Seat> {
        match self {
            Self::Line(line) => Some(&line.seat),
            Self::Stream(_) => None,
        }
    }

    /// Says what the answer waits for from now on.
    pub fn wait(&self, phase: Phase) {
        match self {
            Self::Line(line) => line.wait(phase),
            Self::Stream(_) => {}
        }
    }

    /// Sends all of `output`.
    pub async fn send<B: Whole>(&mut self, output: B) -> Result<(), Over> {
        match self {
            Self::Line(line) => line.send(output).await,
            Self::Stream(stream) => stream.send(output.all()).await,
        }
    }

    /// Where bodies go.
    pub fn sink(&self) -> Sink<'_> {
        match self {
            Self::Line(line) => line.sink(),
            Self::Stream(stream) => Sink::Stream(stream),
        }
    }

    /// Sees to it that the client cannot take the connection's end for that of its answer.
    pub fn cut(&self) {
        match self {
            // Without a length, only a reset says that this is not the end.
            Self::Line(line) => {
                let _ = set_socket_linger(descriptor(&line.stream), Some(Duration::ZERO));
            }
            // An answer that fails is reset in any case.
            Self::Stream(_) => {}
        }
    }
}

/// Where a body goes that is sent piece by piece.
#[derive(Clone, Copy)]
pub enum Sink<'s> {
    /// As it is.
    Plain(&'s TcpStream),
    /// Sealed, by way of a buffer.
    Tls(&'s TcpStream, &'s RefCell<Session>, &'s Rc<Pool>),
    /// As frames of a stream.
    Stream(&'s Stream),
}

impl<'s> Sink<'s> {
    /// The socket, where nothing stands between it and who writes.
    pub fn plain(self) -> Option<&'s TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(..) | Self::Stream(_) => None,
        }
    }
}

/// A body that is here, whole.
pub trait Whole: IoBuf {
    /// All of it.
    fn all(&self) -> &[u8];
}

impl Whole for Buffer {
    fn all(&self) -> &[u8] {
        self.filled()
    }
}

impl Whole for Bytes {
    fn all(&self) -> &[u8] {
        self
    }
}

impl Whole for Body {
    fn all(&self) -> &[u8] {
        self
    }
}

impl Line {
    /// A seat and a stream for each other.
    pub fn new(worker: Rc<Worker>, stream: TcpStream) -> Self {
        let seat = worker.slots.seat(&stream, worker.clock.sweep());
        Self { worker, seat, stream, tls: None }
    }

    /// Where bodies go.
    pub fn sink(&self) -> Sink<'_> {
        match &self.tls {
            Some(tls) => Sink::Tls(&self.stream, tls, &self.worker.pool),
            None => Sink::Plain(&self.stream),
        }
    }

    /// Writes all of `output`. Progress of any size starts the time-out anew.
    pub async fn send<B: Whole>(&mut self, output: B) -> Result<(), Over> {
        match self.tls {
            None => self.write(output).await,
            // Apart, so that plain connections do not carry its room.
            Some(_) => Box::pin(self.seal(output.all())).await,
        }
    }

    /// Writes `output` as it is.
    pub async fn write<B: Whole>(&mut self, mut output: B) -> Result<(), Over> {
        let (mut sent, length) = (0, output.all().len());
        while sent < length {
            self.wait(Phase::Writing);
            let (written, rest) = self.stream.write(output.slice(sent..length)).await;
            output = rest.into_inner();
            match written? {
                0 => return Err(Over),
                written => sent += written,
            }
        }
        self.worker.meters.add(Counter::BytesSent, length as u64);
        Ok(())
    }

    async fn seal(&mut self, mut plain: &[u8]) -> Result<(), Over> {
        while let (Some(tls), false) = (&self.tls, plain.is_empty()) {
            let mut sealed = self.worker.pool.lend();
            let taken = tls.borrow_mut().seal(plain, &mut sealed)?;
            plain = plain.get(taken..).unwrap_or_default();
            self.write(sealed).await?;
        }
        Ok(())
    }

    /// Says that nothing follows, where TLS wants that said and the socket takes it at once.
    pub fn say_end(&self) {
        if let Some(tls) = &self.tls {
            let mut sealed = self.worker.pool.lend();
            tls.borrow_mut().seal_end(&mut sealed);
            // Whoever is gone need not be told.
            let _ = send(descriptor(&self.stream), sealed.filled(), AT_ONCE);
        }
    }

    /// Says what the connection waits for from now on.
    pub fn wait(&self, phase: Phase) {
        self.seat.wait(phase, self.worker.clock.sweep());
    }
}

/// Without waiting, and without a signal where nobody reads any more.
pub const AT_ONCE: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
