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
    let mut heads = Heads { received: worker.pool.lend(), is_head, interim: 0 };
    loop {
        if let Some(head) = heads.next().map_err(Failed::Fault)? {
            let Heads { received: mut rest, .. } = heads;
            let head_bytes = rest.filled().get(..head.length).unwrap_or_default().into();
            rest.consume(head.length);
            if let Framing::Length(length) = head.framing
                && rest.filled().len() as u64 > length
            {
                return Err(Failed::Fault(TOO_LONG));
            }
            return Ok(Answer { head, head_bytes, rest, seat, link });
        }
        let filled = heads.received.filled().len();
        let (read, back) = link.read(heads.received.slice_mut(filled..BUFFER_BYTES)).await;
        heads.received = back.into_inner();
        if !read.is_ok_and(|bytes| bytes > 0) {
            let is_unheard = filled == 0 && heads.interim == 0;
            let otherwise = if is_unheard { Failed::Unheard } else { Failed::Fault(CUT_SHORT) };
            return Err(broken(&seat, otherwise));
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
struct Heads {
    received: Buffer,
    is_head: bool,
    /// Interim ones so far.
    interim: usize,
}

impl Heads {
    /// The head of the answer; `None` where more has to be received.
    fn next(&mut self) -> Result<Option<ResponseHead>, Fault> {
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
