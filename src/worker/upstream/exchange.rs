//! One request over one connection: its head goes out, the answer's head comes in, judged by our
//! own parser before anybody else reads a byte of it.

use std::rc::Rc;

use bytes::Bytes;
use monoio::buf::IoBufMut;

use super::Answer;
use super::link::Link;
use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::body::TOO_LONG;
use crate::pure::http1::head::HeadLimits;
use crate::pure::http1::response::{self, Framing, ResponseHead};
use crate::pure::limits::{BUFFER_BYTES, HEADERS_MAX, INTERIM_HEADS_MAX, UPSTREAM_HEAD_BYTES_MAX};
use crate::worker::Worker;
use crate::worker::buffers::Buffer;
use crate::worker::slots::{Phase, Seat};

/// Why there is no answer.
pub enum Failed {
    /// The connection ended before a byte of the answer came: where it had been used before, the
    /// other side may have closed it without having seen the request.
    Unheard,
    /// Whatever else.
    Fault(Fault),
}

/// Sends `request` over `link` and waits for the answer's head.
pub async fn exchange(
    worker: &Rc<Worker>,
    mut link: Link,
    request: Bytes,
    is_head: bool,
) -> Result<Answer, Failed> {
    let seat = worker.upstream_slots.seat(link.socket(), worker.clock.sweep());
    // One time for all of it, however many reads it takes.
    seat.wait(Phase::Writing, worker.clock.sweep());
    if link.write_all(request).await.is_err() {
        return Err(broken(&seat, Failed::Unheard));
    }
    let mut heads = Heads::new(worker, is_head);
    loop {
        if let Some(head) = heads.take().map_err(Failed::Fault)? {
            return heads.answer(head, link, seat);
        }
        let filled = heads.received.filled().len();
        let (read, back) = link.read(heads.received.slice_mut(filled..BUFFER_BYTES)).await;
        heads.received = back.into_inner();
        if !read.is_ok_and(|bytes| bytes > 0) {
            return Err(heads.cut_short(&seat));
        }
    }
}

impl Failed {
    /// What is wrong, where nothing is left to try.
    pub fn fault(self) -> Fault {
        match self {
            Self::Unheard => Fault::new(Kind::UpstreamUnreachable, "a connection that is dropped"),
            Self::Fault(fault) => fault,
        }
    }
}

/// The heads that come before a body.
pub struct Heads {
    received: Buffer,
    is_head: bool,
    /// Interim ones so far.
    interim: usize,
}

impl Heads {
    /// Of an answer of which nothing has come. That to a HEAD has no body.
    pub fn new(worker: &Worker, is_head: bool) -> Self {
        Self { received: worker.pool.lend(), is_head, interim: 0 }
    }

    /// The head of the answer; `None` where more has to be received.
    ///
    /// # Errors
    /// Where it is none.
    pub fn take(&mut self) -> Result<Option<ResponseHead>, Fault> {
        loop {
            match response::parse(self.received.filled(), &LIMITS, self.is_head)? {
                Some(head) if head.status < 200 => {
                    self.interim += 1;
                    if self.interim > INTERIM_HEADS_MAX {
                        return Err(INTERIM);
                    }
                    self.received.consume(head.length);
                }
                parsed => return Ok(parsed),
            }
        }
    }

    /// Whether an interim one has come.
    pub fn has_interim(&self) -> bool {
        self.interim > 0
    }

    /// Room for more of them.
    pub fn room(&mut self) -> &mut [u8] {
        let filled = self.received.filled().len();
        self.received.all_mut().get_mut(filled..).unwrap_or_default()
    }

    /// So many bytes were received there.
    pub fn received(&mut self, bytes: usize) {
        self.received.set_filled(self.received.filled().len() + bytes);
    }

    /// What it means that the connection ends before the head does.
    pub fn cut_short(&self, seat: &Seat) -> Failed {
        let is_unheard = self.received.is_empty() && !self.has_interim();
        broken(seat, if is_unheard { Failed::Unheard } else { Failed::Fault(CUT_SHORT) })
    }

    /// The answer whose `head` this is, and what has come behind it.
    ///
    /// # Errors
    /// Where that is more than it announces.
    pub fn answer(self, head: ResponseHead, link: Link, seat: Seat) -> Result<Answer, Failed> {
        let mut rest = self.received;
        let head_bytes = rest.filled().get(..head.length).unwrap_or_default().into();
        rest.consume(head.length);
        if let Framing::Length(length) = head.framing
            && rest.filled().len() as u64 > length
        {
            return Err(Failed::Fault(TOO_LONG));
        }
        Ok(Answer { head, head_bytes, rest, seat, link })
    }
}

/// The time is up, if it was the sweep that ended it; else `otherwise`.
fn broken(seat: &Seat, otherwise: Failed) -> Failed {
    if seat.phase() == Phase::Overdue {
        return Failed::Fault(Fault::new(Kind::UpstreamTimeout, "a head that does not come"));
    }
    otherwise
}

const LIMITS: HeadLimits = HeadLimits { head_bytes: UPSTREAM_HEAD_BYTES_MAX, headers: HEADERS_MAX };
const INTERIM: Fault = Fault::new(Kind::UpstreamMalformed, "one interim answer after another");
const CUT_SHORT: Fault = Fault::new(Kind::UpstreamUnreachable, "a head that breaks off");
