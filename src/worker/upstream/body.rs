//! Small bodies, read whole: tokens, manifests, lists, errors.
//!
//! monoio-http puts them together, but judges nothing: what it reads is a head of two fields and
//! chunks that were written here, from what our own decoders took off the connection. It never
//! holds more than the body's bound.

use std::io::{self, Write};
use std::mem;
use std::rc::Rc;

use bytes::Bytes;
use monoio::buf::{IoBufMut, IoVecBufMut};
use monoio::io::AsyncReadRent;
use monoio::io::stream::Stream;
use monoio_http::common::body::BodyExt;
use monoio_http::h1::codec::decoder::ClientResponseDecoder;

use super::Answer;
use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::body::{Body, TOO_SHORT};
use crate::pure::http1::response::Framing;
use crate::worker::Worker;
use crate::worker::buffers::Buffer;
use crate::worker::slots::Phase;

/// The whole body of `answer`, of at most `bytes_max`.
pub async fn read(
    worker: &Rc<Worker>,
    mut answer: Answer,
    bytes_max: usize,
) -> Result<Bytes, Fault> {
    let body = Body::new(answer.head.framing);
    let is_long = body.left().is_some_and(|left| left > bytes_max as u64);
    if is_long {
        return Err(TOO_LARGE);
    }
    if body.left() == Some(0) {
        answer.finish(worker);
        return Ok(Bytes::new());
    }
    let rest = mem::replace(&mut answer.rest, worker.pool.lend());
    let mut judged = Judged {
        worker,
        answer: &mut answer,
        rest: Some(rest),
        is_over: false,
        bytes_left: bytes_max,
        ready: head(&body),
        taken: 0,
        body,
        fault: None,
    };
    let mut decoder = ClientResponseDecoder::new(&mut judged);
    let read = async {
        let (_, payload) = decoder.next().await?.ok()?.into_parts();
        payload.with_io(&mut decoder).bytes().await.ok()
    };
    let read = read.await;
    drop(decoder);
    let Judged { is_over, fault, .. } = judged;
    match (read, fault) {
        (Some(body), None) if is_over => {
            answer.finish(worker);
            Ok(body)
        }
        (_, fault) => Err(fault.unwrap_or(UNREAD)),
    }
}

/// What monoio-http reads.
struct Judged<'j> {
    worker: &'j Rc<Worker>,
    answer: &'j mut Answer,
    /// What came with the head.
    rest: Option<Buffer>,
    body: Body,
    is_over: bool,
    /// What the body may still have.
    bytes_left: usize,
    /// What may be read, from `taken` on.
    ready: Vec<u8>,
    taken: usize,
    /// Why nothing more can be read.
    fault: Option<Fault>,
}

/// As much of a head as says how the body is framed: a length, or chunks of our own.
fn head(body: &Body) -> Vec<u8> {
    match body.left() {
        Some(length) => format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").into(),
        None => b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
    }
}

impl Judged<'_> {
    /// Makes what comes next ready.
    async fn receive(&mut self) -> Result<(), Fault> {
        let mut came = match self.rest.take() {
            Some(rest) => rest,
            None => self.read_link().await?,
        };
        let filled = came.filled().len();
        let bytes = if filled > 0 {
            let came = came.all_mut().get_mut(..filled).unwrap_or_default();
            let taken = self.body.take(came)?;
            self.is_over = taken.is_complete;
            taken.bytes
        } else {
            0
        };
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(TOO_LARGE)?;
        let body = came.filled().get(..bytes).unwrap_or_default();
        self.make_ready(body);
        Ok(())
    }

    async fn read_link(&mut self) -> Result<Buffer, Fault> {
        let Answer { seat, link, head, .. } = &mut *self.answer;
        seat.wait(Phase::Writing, self.worker.clock.sweep());
        let (read, came) = link.read(self.worker.pool.lend()).await;
        if seat.phase() == Phase::Overdue {
            return Err(Fault::new(Kind::UpstreamTimeout, "a body that does not go on"));
        }
        match read {
            Ok(0) if head.framing == Framing::UntilClose => self.is_over = true,
            Ok(0) => self.body.end()?,
            Ok(_) => {}
            Err(_) => return Err(TOO_SHORT),
        }
        Ok(came)
    }

    fn make_ready(&mut self, body: &[u8]) {
        self.ready.clear();
        self.taken = 0;
        let is_chunked = self.body.left().is_none();
        if is_chunked && !body.is_empty() {
            // Into memory, this does not fail.
            let _ = write!(self.ready, "{:x}\r\n", body.len());
        }
        self.ready.extend_from_slice(body);
        if is_chunked && !body.is_empty() {
            self.ready.extend_from_slice(b"\r\n");
        }
        if is_chunked && self.is_over {
            self.ready.extend_from_slice(b"0\r\n\r\n");
        }
    }
}

impl AsyncReadRent for Judged<'_> {
    async fn read<B: IoBufMut>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        while self.taken == self.ready.len() && !self.is_over {
            if let Err(fault) = self.receive().await {
                self.fault = Some(fault);
                return (Err(io::ErrorKind::InvalidData.into()), buffer);
            }
        }
        let mut ready = self.ready.get(self.taken..).unwrap_or_default();
        let (read, buffer) = AsyncReadRent::read(&mut ready, buffer).await;
        self.taken = self.ready.len() - ready.len();
        (read, buffer)
    }

    async fn readv<B: IoVecBufMut>(&mut self, buffers: B) -> (io::Result<usize>, B) {
        (Err(io::ErrorKind::Unsupported.into()), buffers)
    }
}

const TOO_LARGE: Fault = Fault::new(Kind::UpstreamTooLarge, "a body that is too long");
const UNREAD: Fault = Fault::new(Kind::UpstreamMalformed, "a body that cannot be read");
