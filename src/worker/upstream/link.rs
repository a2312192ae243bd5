//! A connection to an origin: plain or over TLS, and whose it is.

use std::io;
use std::rc::Rc;

use bytes::Bytes;
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use rustix::io::Errno;

use super::tls;
use crate::pure::origin::Origin;
use crate::worker::Worker;
use crate::worker::socket::peek;

/// What connections are alike in that may stand for each other: they lead to the same place, under
/// the same trust.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Way {
    /// Where to.
    pub origin: Origin,
    /// Which registry's certificates are trusted; `None` for those of everything else.
    pub registry: Option<usize>,
    /// Of which configuration these are: its [number](crate::worker::Adopted::number).
    pub adoption: u64,
}

/// A connection.
pub struct Link {
    wire: Wire,
    way: Rc<Way>,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<tls::Stream>),
}

impl Link {
    /// A connection without TLS.
    pub fn over_tcp(way: Rc<Way>, stream: TcpStream) -> Self {
        Self { wire: Wire::Plain(stream), way }
    }

    /// A connection with TLS.
    pub fn over_tls(way: Rc<Way>, stream: tls::Stream) -> Self {
        Self { wire: Wire::Tls(Box::new(stream)), way }
    }

    /// Reads what has come; 0 bytes at the end.
    pub async fn read<B: IoBufMut>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        match &mut self.wire {
            Wire::Plain(stream) => stream.read(buffer).await,
            Wire::Tls(stream) => stream.read(buffer).await,
        }
    }

    /// Puts more that has come already behind what `buffer` holds, up to `most` bytes in all, where it
    /// comes in pieces that are smaller than that: records of TLS.
    pub fn read_at_once(&mut self, buffer: &mut Vec<u8>, most: usize) {
        match &mut self.wire {
            Wire::Plain(_) => {}
            Wire::Tls(stream) => stream.read_at_once(buffer, most),
        }
    }

    /// Writes all of `bytes`.
    pub async fn write_all(&mut self, bytes: Bytes) -> io::Result<()> {
        match &mut self.wire {
            Wire::Plain(stream) => stream.write_all(bytes).await.0.map(drop),
            Wire::Tls(stream) => stream.write_all(&bytes).await,
        }
    }

    /// The socket, where nothing stands between it and who reads.
    pub fn plain(&self) -> Option<&TcpStream> {
        match &self.wire {
            Wire::Plain(stream) => Some(stream),
            Wire::Tls(_) => None,
        }
    }

    /// The socket, whatever goes over it.
    pub fn socket(&self) -> &TcpStream {
        match &self.wire {
            Wire::Plain(stream) => stream,
            Wire::Tls(stream) => stream.socket(),
        }
    }

    /// Where it leads.
    pub fn way(&self) -> &Rc<Way> {
        &self.way
    }

    /// Whether it is open and nothing waits to be read: only then may it be used again.
    pub fn is_quiet(&mut self) -> bool {
        match &mut self.wire {
            Wire::Plain(stream) => peek(stream) == Err(Errno::AGAIN),
            Wire::Tls(stream) => stream.is_quiet(),
        }
    }

    /// Keeps it for others, if it may be used again. What was asked over it has been answered, and
    /// the answer was read to its end.
    pub fn give_back(self, worker: &Worker) {
        worker.upstreams.idle.take(worker, self);
    }
}

#[cfg(test)]
impl Link {
    /// A connection that leads nowhere, for tests of what passes through it.
    pub fn nowhere(stream: TcpStream) -> Self {
        use crate::pure::oci::backend::Scheme;

        let origin = Origin { scheme: Scheme::Http, host: "nowhere".into(), port: 80 };
        Self::over_tcp(Rc::new(Way { origin, registry: None, adoption: u64::MAX }), stream)
    }
}
