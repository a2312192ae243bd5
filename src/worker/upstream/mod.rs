//! Stand-in until the upstream is merged.

use std::io;
use std::rc::Rc;

use monoio::buf::IoBufMut;
use monoio::io::AsyncReadRent;
use monoio::net::TcpStream;

use crate::pure::http1::response::ResponseHead;
use crate::worker::Worker;
use crate::worker::buffers::Buffer;
use crate::worker::slots::Seat;

/// An answer.
pub struct Answer {
    /// Its head.
    pub head: ResponseHead,
    /// What came with the head.
    pub rest: Buffer,
    /// Before the link, so that it is dropped first.
    pub seat: Seat,
    /// Where the body comes from.
    pub link: Link,
}

/// A connection to a registry.
pub enum Link {
    /// A plain one.
    Plain(TcpStream),
}

impl Link {
    /// Back to the pool.
    pub fn give_back(self, _: &Rc<Worker>) {}

    /// Reads.
    pub async fn read<B: IoBufMut>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        match self {
            Self::Plain(stream) => stream.read(buffer).await,
        }
    }

    /// Its socket, where it is a plain one.
    pub fn plain(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(stream) => Some(stream),
        }
    }
}
