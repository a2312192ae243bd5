//! The client's side of a connection: its socket, its seat among the waits, and writing to it.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use monoio::buf::IoBuf;
use monoio::io::AsyncWriteRent;
use monoio::net::TcpStream;
use rustix::net::{SendFlags, send};

use crate::messages::meters::Counter;
use crate::pure::cache::Body;
use crate::worker::Worker;
use crate::worker::buffers::{Buffer, Pool};
use crate::worker::slots::{Phase, Seat};
use crate::worker::socket::descriptor;
use crate::worker::tls::{Broken, Session};

/// A client at the other end.
pub struct Downstream {
    /// Who serves it.
    pub worker: Rc<Worker>,
    /// Before the stream, so that it is dropped first (see [`Seat`]).
    pub seat: Seat,
    /// Its socket.
    pub stream: TcpStream,
    /// What goes over it is sealed with this, where it is TLS.
    pub tls: Option<Box<RefCell<Session>>>,
}

/// Where a body goes that is sent piece by piece.
#[derive(Clone, Copy)]
pub enum Sink<'s> {
    /// As it is.
    Plain(&'s TcpStream),
    /// Sealed, by way of a buffer.
    Tls(&'s TcpStream, &'s RefCell<Session>, &'s Rc<Pool>),
}

impl<'s> Sink<'s> {
    /// The socket, whatever goes over it.
    pub fn socket(self) -> &'s TcpStream {
        match self {
            Self::Plain(stream) | Self::Tls(stream, ..) => stream,
        }
    }

    /// The socket, where nothing stands between it and who writes.
    pub fn plain(self) -> Option<&'s TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
            Self::Tls(..) => None,
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

/// The connection is over: closed by the client, by a time-out, or by an error of the socket.
pub struct Over;

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl From<Broken> for Over {
    fn from(_: Broken) -> Self {
        Self
    }
}

impl Downstream {
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
