//! A request that has a body, over a connection of its own: the body goes on as it comes, at the pace of the
//! slower of both sides, and the answer is heard whenever it comes, also before the body is over.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use monoio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv, send};

use crate::pure::fault::Fault;
use crate::pure::http1::handed;
use crate::pure::http1::response::{Framing, ResponseHead};
use crate::worker::Worker;
use crate::worker::downstream::{AT_ONCE, Downstream};
use crate::worker::over::Over;
use crate::worker::slots::{Phase, Seat};
use crate::worker::socket::descriptor;
use crate::worker::upstream::exchange::{Failed, Heads};
use crate::worker::upstream::link::Way;
use crate::worker::upstream::{Answer, Link};

/// Whose request it is.
pub trait Visitor {
    /// What of the body comes next, at least a byte; `None` behind its end.
    fn piece(&mut self) -> impl Future<Output = Result<Option<Bytes>, Cut>>;

    /// Whether some of the body is here already: then nobody waits to send it.
    fn has_begun(&self) -> bool;

    /// Tells who waits for that to send the body (RFC 9110, 10.1.1).
    fn go_on(&mut self) -> impl Future<Output = Result<(), Over>>;

    /// Waits until the client goes away.
    fn gone(&mut self) -> impl Future<Output = ()>;

    /// Whether all of the body has been taken, so that what comes next is another request.
    fn is_whole(&self) -> bool;

    /// Where the answer goes.
    fn down(&mut self) -> Downstream<'_>;
}

/// Why a body ends before it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It was not there in time.
    TooLate,
    /// It comes in chunks that are none.
    Malformed,
    /// Its client has gone away.
    Gone,
}

/// Why there is no answer.
pub enum Unanswered {
    /// Because of the client.
    Client(Cut),
    /// Because of who was asked.
    Asked(Fault),
}

/// A request on its way.
pub struct Upload<'w> {
    worker: &'w Rc<Worker>,
    /// Before the stream, so that it is dropped first (see [`Seat`]).
    seat: Seat,
    stream: TcpStream,
    heads: Heads,
}

impl<'w> Upload<'w> {
    /// One by `stream`. The answer to a HEAD has no body.
    pub fn new(worker: &'w Rc<Worker>, stream: TcpStream, is_head: bool) -> Self {
        let seat = worker.upstream_slots.seat(&stream, worker.clock.sweep());
        // One time for each wait, however many reads and writes it takes.
        seat.wait(Phase::Writing, worker.clock.sweep());
        Self { worker, seat, stream, heads: Heads::new(worker, is_head) }
    }

    /// Sends `head` and the `visitor`'s body, framed as `body` says, and waits for the answer's head. A
    /// visitor that `waits` for a word is given it once the other side wants the body.
    ///
    /// # Errors
    /// Where the client ends it, or the other side does not answer.
    pub async fn run<V: Visitor>(
        mut self,
        visitor: &mut V,
        head: &[u8],
        body: Framing,
        waits: bool,
        way: Rc<Way>,
    ) -> Result<Answer, Unanswered> {
        let is_sent = write(&self.stream, head).await.is_ok();
        let mut answer = None;
        if waits && is_sent {
            answer = self.word().await?;
            if answer.is_none() {
                visitor.go_on().await.map_err(|Over| Unanswered::Client(Cut::Gone))?;
            }
        }
        let answer = match answer {
            Some(answer) => answer,
            None => self.pass(visitor, body).await?,
        };
        let Self { seat, stream, heads, .. } = self;
        Ok(heads.answer(answer, Link::over_tcp(way, stream), seat)?)
    }

    /// Waits for the word that the body is wanted, or for an answer that makes do without.
    async fn word(&mut self) -> Result<Option<ResponseHead>, Failed> {
        loop {
            let head = self.heads.take().map_err(Failed::Fault)?;
            if head.is_some() || self.heads.has_interim() {
                return Ok(head);
            }
            receive(&self.stream, &self.seat, &mut self.heads).await?;
        }
    }

    /// Sends the body until it is over, or the answer is there.
    async fn pass<V: Visitor>(
        &mut self,
        visitor: &mut V,
        body: Framing,
    ) -> Result<ResponseHead, Unanswered> {
        let Self { worker, seat, stream, heads } = self;
        let mut sending = pin!(send_all(worker, seat, stream, visitor, body));
        let mut hearing = pin!(hear(stream, seat, heads));
        poll_fn(|context| {
            // What has come of the body first: where that is all of it, the client's connection goes on
            // behind the answer.
            let cut = sending.as_mut().poll(context);
            match (hearing.as_mut().poll(context), cut) {
                (Poll::Ready(heard), _) => Poll::Ready(heard.map_err(Unanswered::from)),
                (Poll::Pending, Poll::Ready(cut)) => Poll::Ready(Err(Unanswered::Client(cut))),
                (Poll::Pending, Poll::Pending) => Poll::Pending,
            }
        })
        .await
    }
}

/// Sends a body. Ends where its client does, and not before: it says why.
async fn send_all<V: Visitor>(
    worker: &Worker,
    seat: &Seat,
    stream: &TcpStream,
    visitor: &mut V,
    body: Framing,
) -> Cut {
    loop {
        seat.wait(Phase::Forwarding, worker.clock.sweep());
        let piece = match visitor.piece().await {
            Ok(piece) => piece,
            Err(cut) => return cut,
        };
        seat.wait(Phase::Writing, worker.clock.sweep());
        let (bytes, is_last) = match &piece {
            Some(piece) => (handed::piece(body, piece), false),
            None => (handed::end(body).into(), true),
        };
        // Whoever takes no more has answered, or has gone: that is heard.
        if write(stream, &bytes).await.is_err() || is_last {
            break;
        }
        worker.yield_turn().await;
    }
    visitor.gone().await;
    Cut::Gone
}

/// Waits for an answer's head.
async fn hear(stream: &TcpStream, seat: &Seat, heads: &mut Heads) -> Result<ResponseHead, Failed> {
    loop {
        if let Some(head) = heads.take().map_err(Failed::Fault)? {
            return Ok(head);
        }
        receive(stream, seat, heads).await?;
    }
}

/// Receives more of an answer. Where this is given up nothing is lost.
async fn receive(stream: &TcpStream, seat: &Seat, heads: &mut Heads) -> Result<(), Failed> {
    loop {
        match recv(descriptor(stream), heads.room(), RecvFlags::DONTWAIT) {
            Ok((received @ 1.., _)) => {
                heads.received(received);
                return Ok(());
            }
            Err(Errno::AGAIN | Errno::INTR) if stream.readable(false).await.is_ok() => {}
            Ok(_) | Err(_) => return Err(heads.cut_short(seat)),
        }
    }
}

/// Writes all of `bytes`.
async fn write(stream: &TcpStream, mut bytes: &[u8]) -> Result<(), Over> {
    while !bytes.is_empty() {
        match send(descriptor(stream), bytes, AT_ONCE) {
            Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
            Err(Errno::AGAIN | Errno::INTR) => stream.writable(false).await?,
            Err(_) => return Err(Over),
        }
    }
    Ok(())
}

impl From<Failed> for Unanswered {
    fn from(failed: Failed) -> Self {
        Self::Asked(failed.fault())
    }
}
