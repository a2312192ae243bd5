//! Everything between "send this request to that origin" and "here is the head of its answer, and
//! the connection its body comes by".
//!
//! Connections are made, used again and ended here; a head is judged here before anybody sees it.
//! What an answer means is not known here: that is for whoever asks.

pub mod body;
pub mod dial;
pub mod door;
pub mod encode;
pub mod exchange;
pub mod flights;
pub mod idle;
pub mod link;
pub mod resolve;
pub mod resolver;
pub mod tls;
#[cfg(test)]
mod tls_trials;
pub mod token;
pub mod token_service;
#[cfg(test)]
mod token_trials;
#[cfg(test)]
mod trials;

use std::rc::Rc;

use bytes::Bytes;
use http::HeaderMap;

use crate::messages::meters::Counter;
use crate::messages::names::Names;
use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::response::{Framing, ResponseHead};
use crate::pure::limits::ERROR_BYTES_MAX;
use crate::pure::origin::Origin;
use crate::worker::buffers::Buffer;
use crate::worker::guard::guarded;
use crate::worker::slots::Seat;
use crate::worker::within::within;
use crate::worker::{Adopted, Worker};
use exchange::Failed;
use idle::Idle;
pub use link::Link;
use link::Way;
use resolve::Resolver;

/// What a worker keeps for asking others.
pub struct Upstreams {
    /// Connections that nobody uses at the moment.
    pub idle: Idle,
    /// Names and their addresses.
    pub resolver: Resolver,
}

/// A request to an origin. It has no body.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where to.
    pub origin: Origin,
    /// Which registry's certificates are trusted; `None` for those of everything else.
    pub registry: Option<usize>,
    /// What is to be done.
    pub method: Method,
    /// Path and query, as they are sent.
    pub target: String,
    /// The fields. `Host` is added.
    pub fields: HeaderMap,
}

/// What may be asked: what may be asked twice (RFC 9110, 9.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
}

/// An answer. Dropped, its connection is closed.
pub struct Answer {
    /// What its head says of connection and body.
    pub head: ResponseHead,
    /// The head itself.
    pub head_bytes: Box<[u8]>,
    /// What came of the body with the head.
    pub rest: Buffer,
    /// The connection's place in the sweep that ends waits; before the link, so that it is dropped
    /// first.
    pub seat: Seat,
    /// Where the rest of the body comes from.
    pub link: Link,
}

/// Sends `request` and waits for the answer's head: by a connection that was used before, if there
/// is one. Should that have been closed meanwhile without an answer, by a new one.
///
/// Dropped, it closes the connection that it uses.
///
/// # Errors
/// Whatever can be wrong with names, addresses, connections, certificates and heads; what exactly
/// stands in the log.
pub async fn ask(
    worker: &Rc<Worker>,
    adopted: &Rc<Adopted>,
    request: &Request,
) -> Result<Answer, Fault> {
    let answer = attempt(worker, adopted, request).await;
    let counter = match &answer {
        Ok(answer) => Counter::upstream_answered(answer.head.status),
        Err(_) => Counter::UpstreamFailed,
    };
    worker.meters.add(counter, 1);
    answer
}

async fn attempt(
    worker: &Rc<Worker>,
    adopted: &Rc<Adopted>,
    request: &Request,
) -> Result<Answer, Fault> {
    let way = Rc::new(Way {
        origin: request.origin.clone(),
        registry: request.registry,
        adoption: adopted.number(),
    });
    let bytes = encode::encode(request).await?;
    let is_head = request.method == Method::Head;
    if let Some(link) = worker.upstreams.idle.lend(worker, &way) {
        match exchange::exchange(worker, link, bytes.clone(), is_head).await {
            Err(Failed::Unheard) => worker.meters.add(Counter::UpstreamConnectionsStale, 1),
            answered => return answered.map_err(Failed::fault),
        }
    }
    let link = dial::dial(worker, adopted, &way).await?;
    exchange::exchange(worker, link, bytes, is_head).await.map_err(Failed::fault)
}

impl Answer {
    /// The whole body, of at most `bytes_max`. The connection is kept for others where the body has
    /// ended as it should.
    ///
    /// # Errors
    /// [`crate::pure::fault::Kind::UpstreamTooLarge`], and whatever can be wrong with a body.
    pub async fn read_body(self, worker: &Rc<Worker>, bytes_max: usize) -> Result<Bytes, Fault> {
        let reading = within(worker, BODY_SWEEPS_MAX, body::read(worker, self, bytes_max));
        let late = Fault::new(Kind::UpstreamTimeout, "a body that comes in drops");
        Box::pin(reading).await.unwrap_or(Err(late))
    }

    /// Does without the body. The connection is kept for others where that is cheap.
    pub fn discard(mut self, worker: &Rc<Worker>) {
        let came = self.rest.filled().len() as u64;
        let (is_here, is_small) = match self.head.framing {
            Framing::None => (came == 0, true),
            Framing::Length(length) => (came == length, length <= ERROR_BYTES_MAX as u64),
            Framing::Chunked => (false, true),
            Framing::UntilClose => (false, false),
        };
        if is_here {
            self.rest.set_filled(0);
            self.finish(worker);
        } else if is_small && self.head.keep_alive {
            // It is about to come; nobody waits for that.
            let (worker, reading) = (Rc::clone(worker), Rc::clone(worker));
            let read = async move { drop(self.read_body(&reading, ERROR_BYTES_MAX).await) };
            monoio::spawn(guarded(worker, Box::pin(read), ()));
        }
    }

    /// The body was read to its end.
    fn finish(self, worker: &Worker) {
        let Self { head, rest, seat, link, .. } = self;
        drop(seat);
        if head.keep_alive && head.framing != Framing::UntilClose && rest.is_empty() {
            link.give_back(worker);
        }
    }
}

impl Upstreams {
    /// No connections, and no names but by `names`.
    pub fn new(names: Names) -> Self {
        Self { idle: Idle::default(), resolver: Resolver::new(names) }
    }
}

/// How long a small body may take, in sweeps: two minutes.
const BODY_SWEEPS_MAX: u64 = 1_200;
