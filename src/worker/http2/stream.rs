//! One request over HTTP/2 and its answer, which comes in the words of HTTP/1.1 and leaves as frames.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{CONTENT_LENGTH, DATE, LOCATION};
use http::{HeaderName, HeaderValue, Response, StatusCode};

use crate::pure::http2::message::{fields_of, split_head, status};
use crate::worker::over::Over;
use crate::worker::within::within;
use crate::worker::{Worker, sweeps};

/// A request that waits for its answer, or an answer under way.
pub struct Stream {
    /// Who serves it.
    pub worker: Rc<Worker>,
    connection: Rc<Shared>,
    is_head: bool,
    side: RefCell<Side>,
}

/// What streams and their connection have in common.
#[derive(Default)]
pub(super) struct Shared {
    /// A client that takes nothing for too long, so that its connection is to end.
    stalled: Cell<bool>,
    /// Streams for which registries are asked.
    tasks: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

/// A stream for which a registry is asked, until it is dropped.
pub(super) struct Task(Rc<Shared>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.tasks.set(self.0.tasks.get() - 1);
        self.0.wake();
    }
}

impl Shared {
    /// Whether a stream's client takes nothing; else `waker` is woken when one does not.
    pub(super) fn is_stalled(&self, waker: &Waker) -> bool {
        let mut known = self.waker.borrow_mut();
        if known.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        self.stalled.get()
    }

    /// Whether registries are asked for any stream.
    pub(super) fn has_tasks(&self) -> bool {
        self.tasks.get() > 0
    }

    fn stall(&self) {
        self.stalled.set(true);
        self.wake();
    }

    /// Gives the connection its turn.
    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

enum Side {
    /// No head has been sent.
    Waiting(SendResponse<Bytes>),
    /// The head was sent, and so much of the body is left; `None` where nobody knows.
    Body(SendStream<Bytes>, Option<u64>),
    /// All was sent.
    Done,
}

impl Stream {
    pub(super) fn new(
        worker: Rc<Worker>,
        connection: Rc<Shared>,
        respond: SendResponse<Bytes>,
        is_head: bool,
    ) -> Self {
        Self { worker, connection, is_head, side: RefCell::new(Side::Waiting(respond)) }
    }

    /// A registry is asked for it from now on, until what is returned is dropped.
    pub(super) fn begin_task(&self) -> Task {
        self.connection.tasks.set(self.connection.tasks.get() + 1);
        Task(Rc::clone(&self.connection))
    }

    /// Sends a whole answer of ours without waiting: it is less than any client's window may be made
    /// to hold back, and what it does hold back waits in the library.
    pub(super) fn answer(&self, answer: &[u8]) -> Result<(), Over> {
        let body = self.begin(answer)?;
        let mut side = self.side.borrow_mut();
        if let Side::Body(stream, _) = &mut *side {
            stream.send_data(Bytes::copy_from_slice(body), true).map_err(gone)?;
            *side = Side::Done;
        }
        Ok(())
    }

    /// Tells who waits for that to send the request's body.
    pub(super) fn go_on(&self) -> Result<(), Over> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::CONTINUE;
        match &mut *self.side.borrow_mut() {
            Side::Waiting(respond) => respond.send_informational(response).map_err(gone),
            Side::Body(..) | Side::Done => Err(Over),
        }
    }

    /// Sends what is next of the answer: its head and what of the body is there, or more of that.
    pub async fn send(&self, answer: &[u8]) -> Result<(), Over> {
        let is_begun = !matches!(*self.side.borrow(), Side::Waiting(_));
        let body = if is_begun { answer } else { self.begin(answer)? };
        self.pass(body).await
    }

    /// The head of `answer`; returns the body behind it.
    fn begin<'a>(&self, answer: &'a [u8]) -> Result<&'a [u8], Over> {
        let (head, body) = split_head(answer).ok_or(Over)?;
        let status = status(head).ok_or(Over)?;
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).map_err(gone)?;
        let fields = response.headers_mut();
        let mut length = None;
        // One piece of memory for all values.
        let head = Bytes::copy_from_slice(head);
        for (name, value) in fields_of(&head) {
            let name = field_name(name)?;
            if name == CONTENT_LENGTH {
                length = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                // That nothing follows is said by the frame itself.
                if length == Some(0) && !self.is_head {
                    continue;
                }
            }
            let value = HeaderValue::from_maybe_shared(head.slice_ref(value)).map_err(gone)?;
            fields.append(name, value);
        }
        let is_empty = self.is_head || matches!(status, 204 | 304) || length == Some(0);
        let mut side = self.side.borrow_mut();
        let Side::Waiting(respond) = &mut *side else {
            return Err(Over);
        };
        let stream = respond.send_response(response, is_empty).map_err(gone)?;
        *side = if is_empty { Side::Done } else { Side::Body(stream, length) };
        Ok(body)
    }

    /// Sends a piece of the body, as fast as the client makes room for it. One that makes none for
    /// `limits.write_timeout` loses its connection.
    pub async fn pass(&self, mut piece: &[u8]) -> Result<(), Over> {
        while !piece.is_empty() {
            if let Side::Body(stream, _) = &mut *self.side.borrow_mut() {
                stream.reserve_capacity(piece.len());
            }
            let patience = sweeps(self.worker.snapshot().limits.write_timeout);
            let room = poll_fn(|context| match &mut *self.side.borrow_mut() {
                Side::Body(stream, _) => poll_room(stream, context),
                Side::Waiting(_) | Side::Done => Poll::Ready(Err(Over)),
            });
            let Some(room) = within(&self.worker, patience, room).await else {
                self.connection.stall();
                return Err(Over);
            };
            let room = room?.min(piece.len());
            let (now, rest) = piece.split_at(room);
            piece = rest;
            let mut side = self.side.borrow_mut();
            let Side::Body(stream, left) = &mut *side else {
                return Err(Over);
            };
            let is_last = left.is_some_and(|left| left <= room as u64);
            *left = left.map(|left| left.saturating_sub(room as u64));
            stream.send_data(Bytes::copy_from_slice(now), is_last).map_err(gone)?;
            if is_last {
                *side = Side::Done;
            }
        }
        Ok(())
    }

    /// The answer is over: well where it is whole, or had no length that it could be short of.
    pub(super) fn end(&self, is_well: bool) {
        let mut side = self.side.borrow_mut();
        match &mut *side {
            // The client may be gone; then nobody needs to be told.
            Side::Body(stream, None) if is_well => drop(stream.send_data(Bytes::new(), true)),
            Side::Body(stream, _) => stream.send_reset(Reason::INTERNAL_ERROR),
            Side::Waiting(respond) => respond.send_reset(Reason::INTERNAL_ERROR),
            Side::Done => {}
        }
        *side = Side::Done;
    }

    /// Waits until the client gives it up.
    pub async fn gone(&self) {
        poll_fn(|context| match &mut *self.side.borrow_mut() {
            Side::Waiting(respond) => respond.poll_reset(context).map(drop),
            Side::Body(stream, _) => stream.poll_reset(context).map(drop),
            Side::Done => Poll::Pending,
        })
        .await;
    }
}

/// How much of the body the client has room for, once that is anything. The library says only when it
/// becomes more.
fn poll_room(
    stream: &mut SendStream<Bytes>,
    context: &mut Context<'_>,
) -> Poll<Result<usize, Over>> {
    loop {
        match stream.capacity() {
            0 => ready!(stream.poll_capacity(context)).ok_or(Over)?.map_err(gone)?,
            room => return Poll::Ready(Ok(room)),
        };
    }
}

fn field_name(name: &[u8]) -> Result<HeaderName, Over> {
    match name {
        // Those of a redirect, and so of most answers.
        b"Location" => Ok(LOCATION),
        b"Content-Length" => Ok(CONTENT_LENGTH),
        b"Date" => Ok(DATE),
        // The library does not know it: it would be copied for each answer.
        _ if name.eq_ignore_ascii_case(API_VERSION.as_str().as_bytes()) => Ok(API_VERSION.clone()),
        _ => HeaderName::from_bytes(name).map_err(gone),
    }
}

static API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

fn gone<E>(_: E) -> Over {
    Over
}
