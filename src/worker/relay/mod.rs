//! A body on its way from a registry to a client, at the pace of the slower of the two: nothing is
//! read from the registry that the client has not made room for.
//!
//! Where both sides are plain and the bytes go through as they come, the kernel moves them
//! ([`splice`]); else they pass through one buffer ([`copy`]). A body that ends otherwise than its
//! head announced is broken off before its last piece is sent, so that the client sees that it is
//! short, and the registry's connection is never used again.

pub mod copy;
#[cfg(test)]
mod dialogues;
pub mod pipes;
pub mod splice;

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use monoio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::send;

use crate::messages::meters::{Counter, Gauge, Meters};
use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::body::{Body, TOO_SHORT};
use crate::pure::http1::response::Framing;
use crate::worker::Worker;
use crate::worker::buffers::Buffer;
use crate::worker::clock::Clock;
use crate::worker::downstream::{AT_ONCE, Sink};
use crate::worker::slots::{Phase, Seat};
use crate::worker::socket::{descriptor, peek};
use crate::worker::upstream::{Answer, Link};
use crate::worker::usher::Usher;
use pipes::Pipes;

/// How the client was told that its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFraming {
    /// By its length, which is the registry's.
    Length,
    /// By a last chunk (RFC 9112, 7.1).
    Chunked,
    /// By the connection's end: HTTP/1.0 has nothing else for a length that is not known.
    UntilClose,
}

/// Who broke a body off. The client's head is out: all that is left is to close its connection, so
/// hard that it cannot take what it has for all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broke {
    /// The client went away, or took nothing for too long.
    Client,
    /// The registry: what it did.
    Upstream(Fault),
}

/// Streams the body that `answer` brings to `client`, whose head was sent already. At most
/// `buffer_bytes` are under way beside what the two sockets hold. The registry's connection goes
/// back to the pool if the body ended exactly where it should and nothing came behind it.
///
/// A client that ends its side of the connection meanwhile has gone away: nobody waits for a
/// registry on its behalf.
///
/// `passed` rises by what of the body the client's connection has taken, without what framing and
/// encryption put around it; of a piece that is copied, once that is taken whole. Who broke it off if
/// somebody did: the client's connection cannot go on then.
pub async fn body(
    worker: &Rc<Worker>,
    answer: Answer,
    client: Sink<'_>,
    seat: Option<&Seat>,
    to_client: ClientFraming,
    buffer_bytes: usize,
    passed: &Cell<u64>,
) -> Result<(), Broke> {
    // The seat last, so that it is dropped first (see [`Seat`]).
    let Answer { head, rest, mut link, seat: upstream, .. } = answer;
    let pace = Pace {
        clock: &worker.clock,
        meters: &worker.meters,
        usher: &worker.usher,
        client: seat,
        upstream: &upstream,
        in_turn: Cell::new(0),
        passed,
    };
    let (pipes, framing) = (&worker.pipes, head.framing);
    let stream = Stream { pace: &pace, pipes, client, framing, to_client, buffer_bytes };
    let ended = stream.run(&mut link, rest).await;
    if ended.is_ok() && head.keep_alive && framing != Framing::UntilClose {
        drop(upstream);
        link.give_back(worker);
    }
    ended
}

/// One body under way.
struct Stream<'s> {
    pace: &'s Pace<'s>,
    pipes: &'s Rc<Pipes>,
    client: Sink<'s>,
    framing: Framing,
    to_client: ClientFraming,
    buffer_bytes: usize,
}

impl Stream<'_> {
    /// Streams it, first `rest`, then what comes from `link`, until it ends or the client goes.
    async fn run(&self, link: &mut Link, rest: Buffer) -> Result<(), Broke> {
        let meters = self.pace.meters;
        let _open = Open::new(meters);
        let streamed = unless(gone(self.client), self.pass(link, rest)).await;
        let streamed = streamed.unwrap_or(Err(Broke::Client));
        meters.add(
            match streamed {
                Ok(()) => Counter::StreamsWhole,
                Err(Broke::Client) => Counter::StreamsBrokenByClient,
                Err(Broke::Upstream(_)) => Counter::StreamsBrokenByUpstream,
            },
            1,
        );
        streamed
    }

    async fn pass(&self, link: &mut Link, rest: Buffer) -> Result<(), Broke> {
        let as_it_comes =
            self.framing != Framing::Chunked && self.to_client != ClientFraming::Chunked;
        let body = Body::new(self.framing);
        if let (Some(from), Some(to), true) = (link.plain(), self.client.plain(), as_it_comes)
            && let Some(pipe) = self.pipes.lend(self.buffer_bytes)
        {
            return splice::splice(self, rest, (from, to), pipe, body.left()).await;
        }
        copy::copy(self, rest, link, body).await
    }
}

/// Tells both sides' slots who is waited for and the meters what was sent, and knows whose turn it
/// is.
struct Pace<'p> {
    clock: &'p Clock,
    meters: &'p Meters,
    usher: &'p Usher,
    /// None where the client's connection waits for more than this.
    client: Option<&'p Seat>,
    upstream: &'p Seat,
    /// Bytes sent since the others had their turn.
    in_turn: Cell<usize>,
    /// Bytes of the body that the client has taken.
    passed: &'p Cell<u64>,
}

impl Pace<'_> {
    /// Sends all of `bytes`.
    async fn send(&self, client: Sink<'_>, mut bytes: &[u8]) -> Result<(), Broke> {
        let (stream, tls, pool) = match client {
            Sink::Plain(stream) => return self.write(stream, bytes).await,
            Sink::Tls(stream, tls, pool) => (stream, tls, pool),
            Sink::Stream(stream) => {
                self.upstream.wait(Phase::Forwarding, self.clock.sweep());
                stream.pass(bytes).await.map_err(|_| Broke::Client)?;
                // What goes over the wire is metered there.
                self.in_turn.set(self.in_turn.get() + bytes.len());
                return Ok(());
            }
        };
        while !bytes.is_empty() {
            let mut sealed = pool.lend();
            let taken = tls.borrow_mut().seal(bytes, &mut sealed).map_err(|_| Broke::Client)?;
            self.write(stream, sealed.filled()).await?;
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Writes all of `bytes`. The calls are made directly: a piece that the socket takes at once, as
    /// most are, costs no round of the ring.
    async fn write(&self, client: &TcpStream, mut bytes: &[u8]) -> Result<(), Broke> {
        while !bytes.is_empty() {
            match send(descriptor(client), bytes, AT_ONCE) {
                Ok(sent) => {
                    self.sent(sent);
                    bytes = bytes.get(sent..).unwrap_or_default();
                }
                Err(Errno::AGAIN | Errno::INTR) => self.client_writable(client).await?,
                Err(_) => return Err(Broke::Client),
            }
        }
        Ok(())
    }

    /// Waits until the client takes something. The registry is not to be blamed for that.
    async fn client_writable(&self, client: &TcpStream) -> Result<(), Broke> {
        self.upstream.wait(Phase::Forwarding, self.clock.sweep());
        self.client_waits(Phase::Writing);
        client.writable(false).await.map_err(|_| Broke::Client)
    }

    /// Waits until something comes from the registry.
    async fn upstream_readable(&self, upstream: &TcpStream) -> Result<(), Broke> {
        self.waits_for_upstream();
        upstream.readable(false).await.map_err(|_| self.upstream_broke())
    }

    /// The registry is waited for from now on. The client is not to be blamed for that.
    fn waits_for_upstream(&self) {
        self.client_waits(Phase::Forwarding);
        self.upstream.wait(Phase::Writing, self.clock.sweep());
    }

    fn client_waits(&self, phase: Phase) {
        if let Some(client) = self.client {
            client.wait(phase, self.clock.sweep());
        }
    }

    /// What a registry's end is, where by the framing alone it is `end`.
    fn upstream_ended(&self, end: Result<(), Fault>) -> Result<(), Broke> {
        // It may be the sweep that ended it.
        if self.is_upstream_late() {
            Err(self.upstream_broke())
        } else {
            end.map_err(Broke::Upstream)
        }
    }

    /// What a failure of the registry's connection is.
    fn upstream_broke(&self) -> Broke {
        Broke::Upstream(if self.is_upstream_late() { TOO_LATE } else { TOO_SHORT })
    }

    fn is_upstream_late(&self) -> bool {
        self.upstream.phase() == Phase::Overdue
    }

    fn sent(&self, bytes: usize) {
        self.meters.add(Counter::BytesSent, bytes as u64);
        self.in_turn.set(self.in_turn.get() + bytes);
    }

    /// The client has taken so much of the body, by the way whose `counter` this is.
    fn passed(&self, counter: Counter, bytes: usize) {
        self.meters.add(counter, bytes as u64);
        self.passed.set(self.passed.get() + bytes as u64);
    }

    /// Whether the others are to go first: between a fast registry and a fast client there is
    /// nothing to wait for.
    fn is_turn_over(&self) -> bool {
        self.in_turn.get() >= TURN_BYTES
    }

    async fn let_others(&self) {
        self.in_turn.set(0);
        self.usher.wait().await;
    }
}

/// A stream under way, as the gauge sees it.
struct Open<'m>(&'m Meters);

impl<'m> Open<'m> {
    fn new(meters: &'m Meters) -> Self {
        meters.set(Gauge::StreamsOpen, meters.gauge(Gauge::StreamsOpen) + 1);
        Self(meters)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.set(Gauge::StreamsOpen, self.0.gauge(Gauge::StreamsOpen).saturating_sub(1));
    }
}

/// Waits until the client goes away. One that has sent its next request already is not looked
/// after: what would come behind that cannot be seen.
pub async fn gone(client: Sink<'_>) {
    let client = match client {
        Sink::Plain(stream) | Sink::Tls(stream, ..) => stream,
        Sink::Stream(stream) => return stream.gone().await,
    };
    while client.readable(false).await.is_ok() {
        match peek(client) {
            Ok(0) => return,
            Ok(_) => return pending().await,
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

/// What `future` comes to, unless `end` comes first: then it is dropped.
async fn unless<T>(end: impl Future<Output = ()>, future: impl Future<Output = T>) -> Option<T> {
    let (mut end, mut future) = (pin!(end), pin!(future));
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => end.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// Whether something has come that nobody has read.
fn has_unread(stream: &TcpStream) -> bool {
    peek(stream).is_ok_and(|bytes| bytes > 0)
}

/// A body that stopped coming.
const TOO_LATE: Fault = Fault::new(Kind::UpstreamTimeout, "a body that does not go on");
/// How much goes through in one turn.
const TURN_BYTES: usize = 1024 * 1024;
