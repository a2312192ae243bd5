//! Stand-in until the upstream is merged.

use std::io;

use monoio::buf::IoBufMut;
use monoio::io::AsyncReadRent;
use monoio::net::TcpStream;

/// A connection to a registry.
pub enum Link {
    /// A plain one.
    Plain(TcpStream),
}

impl Link {
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
