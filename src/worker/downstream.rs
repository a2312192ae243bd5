//! The client's side of a connection: its socket, its seat among the waits, and writing to it.

use std::io;
use std::rc::Rc;

use monoio::buf::IoBuf;
use monoio::io::AsyncWriteRent;
use monoio::net::TcpStream;

use crate::messages::meters::Counter;
use crate::worker::Worker;
use crate::worker::buffers::Buffer;
use crate::worker::slots::{Phase, Seat};

/// A client at the other end.
pub struct Downstream {
    /// Who serves it.
    pub worker: Rc<Worker>,
    /// Before the stream, so that it is dropped first (see [`Seat`]).
    pub seat: Seat,
    /// Its socket.
    pub stream: TcpStream,
}

/// The connection is over: closed by the client, by a time-out, or by an error of the socket.
pub struct Over;

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl Downstream {
    /// A seat and a stream for each other.
    pub fn new(worker: Rc<Worker>, stream: TcpStream) -> Self {
        let seat = worker.slots.seat(&stream, worker.clock.sweep());
        Self { worker, seat, stream }
    }

    /// Writes all of `output`. Progress of any size starts the time-out anew.
    pub async fn send(&mut self, output: Buffer) -> Result<(), Over> {
        let length = output.filled().len();
        self.send_all(output, length).await
    }

    /// Writes the first `length` bytes of `output`.
    pub async fn send_all<B: IoBuf>(&mut self, mut output: B, length: usize) -> Result<(), Over> {
        let mut sent = 0;
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

    /// Says what the connection waits for from now on.
    pub fn wait(&self, phase: Phase) {
        self.seat.wait(phase, self.worker.clock.sweep());
    }
}
