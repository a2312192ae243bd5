//! One client connection: receive, answer every complete request with one write, receive again.

use std::rc::Rc;

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent, CancelableAsyncReadRent};
use monoio::net::TcpStream;
use rustix::io::Errno;

use crate::messages::clock::monotonic_us;
use crate::messages::ledger::{Place, Refused};
use crate::messages::meters::Counter;
use crate::pure::fault::{Fault, Kind};
use crate::pure::limits::LINGER_BYTES_MAX;
use crate::worker::answer::{Answered, Next};
use crate::worker::buffers::Buffer;
use crate::worker::listener::client_place;
use crate::worker::slots::{Phase, Seat};
use crate::worker::{Entrance, Worker, answer};

/// Serves the connection until either side ends it.
pub async fn serve(
    worker: Rc<Worker>,
    stream: TcpStream,
    peer: [u8; 16],
    entrance: Entrance,
) {
    let seat = worker.slots.seat(&stream, worker.clock.sweep());
    let snapshot = worker.snapshot();
    let client = Client {
        address: peer,
        place: client_place(&worker, peer),
        behind_proxy: snapshot.trusts(peer),
        greeted: !snapshot.trusts(peer),
        connection: worker.next_connection(),
    };
    drop(snapshot);
    let mut connection = Connection { worker, stream, seat, client, _entrance: entrance };
    connection.run().await;
}

/// Tells a connection that there are too many, and closes it.
pub async fn refuse(worker: Rc<Worker>, stream: TcpStream, refused: Refused) {
    let counter = match refused {
        Refused::All => Counter::RefusedTotal,
        Refused::Client => Counter::RefusedClient,
    };
    worker.meters.add(counter, 1);
    let seat = worker.slots.seat(&stream, worker.clock.sweep());
    let mut output = worker.pool.take();
    answer::refusal(&worker, &mut output, Fault::new(Kind::ConnectionsTooMany, ""));
    let mut closing = Closing { worker, stream, seat };
    if closing.send(output).await.is_ok() {
        closing.linger().await;
    }
}

/// What is known of the client behind a connection.
#[derive(Clone, Copy)]
pub struct Client {
    /// Its address: the peer's, or what a trusted proxy's PROXY header says.
    pub address: [u8; 16],
    /// Its place in the ledger.
    pub place: Place,
    /// Whether the peer is a trusted proxy, whose header fields are believed.
    pub behind_proxy: bool,
    /// Whether a PROXY header can no longer come.
    pub greeted: bool,
    /// The connection's number.
    pub connection: u64,
}
