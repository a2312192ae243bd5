//! Clients that speak HTTP/2 (RFC 9113). Frames, streams, header compression and flow control are the
//! h2 library's; what it is not told to bound is bounded here, and what it does not count is counted
//! beneath it (`wire`). A request is written as the head that HTTP/1.1 has for it and goes the way of
//! all requests; its answer is taken apart again ([`stream`]).

mod sender;
pub mod stream;
mod wire;

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;

use crate::messages::clock::monotonic_us;
use crate::messages::meters::Counter;
use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::encode::Out;
use crate::pure::http2::frames::Flood;
use crate::pure::http2::message;
use crate::worker::answer::{self, Client, Next};
use crate::worker::buffers::Buffer;
use crate::worker::downstream::{Downstream, Line};
use crate::worker::guard::guarded;
use crate::worker::hand_on::Handed;
use crate::worker::over::Over;
use crate::worker::slots::{Phase, Seat};
use crate::worker::within::Allowance;
use crate::worker::{Worker, aside, sweeps};
use sender::Sender;
use stream::{Shared, Stream};
use wire::{Handle, Wire};

/// Serves a connection over which HTTP/2 was agreed on, until either side ends it. The client has
/// `said` something already.
pub(super) async fn serve(line: Line, client: Client, said: Option<Buffer>) -> Result<(), Over> {
    let Line { worker, seat, stream, tls } = line;
    let session = tls.ok_or(Over)?.into_inner();
    let wire = Rc::new(RefCell::new(Wire::new(Rc::clone(&worker), stream, session, said)));
    worker.meters.add(Counter::Http2Connections, 1);
    seat.wait(Phase::Handshake, worker.clock.sweep());
    let limits = worker.snapshot().limits.clone();
    let handshake = Builder::new()
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(Some(RESETS_CAUSED_MAX))
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .handshake(Handle(Rc::clone(&wire)));
    let Ok(library) = handshake.await else {
        // Before the socket (see [`Seat`]).
        drop(seat);
        return Err(Over);
    };
    wire.borrow_mut().begin();
    let shared = Rc::default();
    let client = Rc::new(client);
    let mut served =
        Served { worker, seat, wire, library, client, shared, waits_for: None, is_over: false };
    poll_fn(|context| served.turn(context)).await;
    served.wire.borrow_mut().say_end();
    Ok(())
}

struct Served {
    worker: Rc<Worker>,
    /// Before the wire, so that it is dropped before the socket (see [`Seat`]).
    seat: Seat,
    wire: Rc<RefCell<Wire>>,
    library: Connection<Handle, Bytes>,
    client: Rc<Client>,
    shared: Rc<Shared>,
    waits_for: Option<Phase>,
    /// The client was told that no more streams are taken.
    is_over: bool,
}

impl Served {
    /// Answers what has come, and sends all answers together.
    fn turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // Before anything is read: where the sweep has ended reading, nothing more comes.
        self.part_if_due(context);
        if !self.is_over {
            self.is_over = self.take_streams(context);
            self.part_if_due(context);
        }
        let is_sent = self.wire.borrow_mut().poll_send(context);
        let sent = self.wire.borrow_mut().take_sent();
        match is_sent {
            Poll::Ready(Ok(())) if !self.is_over => {
                let phase = match self.library.has_streams() {
                    false => Phase::Streamless,
                    true if self.shared.has_tasks() => Phase::Forwarding,
                    true => Phase::Stalling,
                };
                self.wait(phase, sent > 0);
                Poll::Pending
            }
            Poll::Pending => {
                self.wait(Phase::Writing, sent > 0);
                Poll::Pending
            }
            Poll::Ready(_) => Poll::Ready(()),
        }
    }

    /// Tells the client to go, if it is to.
    fn part_if_due(&mut self, context: &mut Context<'_>) {
        let Some(why) = self.why_over(context).filter(|_| !self.is_over) else {
            return;
        };
        self.is_over = true;
        self.worker.meters.add(why, 1);
        let is_orderly = matches!(why, Counter::GoawaysIdle | Counter::GoawaysDrain);
        let reason = if is_orderly { Reason::NO_ERROR } else { Reason::ENHANCE_YOUR_CALM };
        self.library.abrupt_shutdown(reason);
        // Writes the farewell; whatever else it says, this is the end.
        let _ = self.library.poll_closed(context);
    }

    /// Says what the connection waits for, if it is something else or begins `anew`.
    fn wait(&mut self, phase: Phase, anew: bool) {
        if self.waits_for != Some(phase) || anew {
            self.seat.wait(phase, self.worker.clock.sweep());
            self.waits_for = Some(phase);
        }
    }

    /// Answers the requests that have come; says whether the connection is over.
    fn take_streams(&mut self, context: &mut Context<'_>) -> bool {
        let (read_at_us, mut requests) = (monotonic_us(), 0);
        let is_over = loop {
            match self.library.poll_accept(context) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    self.waits_for = None;
                    requests += self.answer(request, respond, read_at_us);
                }
                Poll::Ready(Some(Err(error))) => {
                    if error.reason() == Some(Reason::ENHANCE_YOUR_CALM) {
                        self.worker.meters.add(why_calm(&self.wire.borrow()), 1);
                    } else if error.is_go_away() && error.is_library() {
                        self.worker.meters.add(Counter::GoawaysProtocol, 1);
                    }
                    break true;
                }
                Poll::Ready(None) => break true,
                Poll::Pending => break false,
            }
        };
        if requests > 0 {
            // They are sent together.
            self.worker.took(monotonic_us().saturating_sub(read_at_us), requests);
        }
        is_over
    }

    /// Why the client is to go, if it is.
    fn why_over(&self, context: &Context<'_>) -> Option<Counter> {
        if let Some(flood) = self.wire.borrow().flood() {
            return Some(counter(flood));
        }
        if self.shared.is_stalled(context.waker()) {
            return Some(Counter::GoawaysStalled);
        }
        // The sweep has ended reading.
        let is_swept = self.seat.phase() == Phase::Overdue;
        match is_swept {
            false => None,
            true if self.waits_for == Some(Phase::Stalling) => Some(Counter::GoawaysStalled),
            true if self.waits_for != Some(Phase::Streamless) => None,
            true if self.worker.is_draining() => Some(Counter::GoawaysDrain),
            true => Some(Counter::GoawaysIdle),
        }
    }

    /// Answers a request that was `read_at_us`, or has it answered aside; says how many it answered.
    fn answer(
        &mut self,
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        read_at_us: u64,
    ) -> u64 {
        let Self { worker, client, .. } = self;
        let (head, body) = request.into_parts();
        let is_head = head.method == http::Method::HEAD;
        let stream = Stream::new(Rc::clone(worker), Rc::clone(&self.shared), respond, is_head);
        let (mut input, mut output) = (worker.pool.lend(), worker.pool.lend());
        let (mut next, mut requests) = (Next::Receive, 0);
        let request = request_of(&head);
        let mut out = Out::new(input.all_mut(), 0);
        let written = request.write(&mut out, &worker.snapshot().head);
        let length = out.used();
        input.set_filled(length);
        // Of other methods than these nothing is said but that they are not spoken.
        let has_none = matches!(head.method, http::Method::GET | http::Method::HEAD);
        let read = written.and_then(|()| match has_none && !body.is_end_stream() {
            false => request.head(length),
            true => Err(Fault::new(Kind::BodyRefused, "GET and HEAD have no body here")),
        });
        match read {
            Ok(head) => {
                let bytes = input.filled();
                let answered = answer::one(worker, client, read_at_us, &head, bytes, &mut output);
                (next, requests) = (answered.next, answered.requests);
            }
            Err(fault) => answer::refusal(worker, &mut output, fault),
        }
        if next == Next::Forward {
            drop(output);
            forward_it(Rc::clone(worker), Rc::clone(client), stream, input);
        } else if next == Next::HandOn {
            drop(output);
            hand_it_on(Rc::clone(worker), Rc::clone(client), stream, input, body);
        } else {
            // A client that is gone need not be told.
            let _ = stream.answer(output.filled());
            stream.end(true);
        }
        if worker.is_draining() && !self.is_over {
            self.library.graceful_shutdown();
        }
        requests
    }
}

/// Asks the registry in a task of its own.
fn forward_it(worker: Rc<Worker>, client: Rc<Client>, mut stream: Stream, input: Buffer) {
    let (busy, task) = (worker.begin(), stream.begin_task());
    let guarding = Rc::clone(&worker);
    let forwarded = Box::pin(async move {
        let served = {
            let mut down = Downstream::Stream(&mut stream);
            aside::serve(&mut down, &client, input).await
        };
        stream.end(served.is_ok());
    });
    monoio::spawn(guarded(guarding, forwarded, (task, busy)));
}

/// Hands it on to the dashboard, in a task of its own, with the body that is still to come.
fn hand_it_on(
    worker: Rc<Worker>,
    client: Rc<Client>,
    stream: Stream,
    input: Buffer,
    body: RecvStream,
) {
    let read_at_us = monotonic_us();
    let (busy, task) = (worker.begin(), stream.begin_task());
    let guarding = Rc::clone(&worker);
    let handed = Box::pin(async move {
        let snapshot = &worker.snapshot();
        let allowance = Allowance::new(sweeps(snapshot.limits.write_timeout));
        let mut sender = Sender::new(&worker, stream, body, allowance);
        let served = match client.parse(input.filled(), &snapshot.head) {
            Ok(Some(head)) => {
                let (worker, bytes) = (&worker, input.filled());
                let of = client.of(&head, bytes, snapshot);
                let socket = snapshot.dashboard_at(head.host.unwrap_or_default());
                match (sender.framing(bytes), socket) {
                    (Ok(body), Some(socket)) => {
                        let request = Handed { worker, head: &head, bytes, body, of, read_at_us };
                        request.serve(&mut sender, socket).await
                    }
                    // Another configuration has come meanwhile, by which the host is no dashboard's.
                    (Ok(_), None) | (Err(_), _) => Err(Over),
                }
            }
            Ok(None) | Err(_) => Err(Over),
        };
        sender.end(served.is_ok()).await;
    });
    monoio::spawn(guarded(guarding, handed, (task, busy)));
}

/// The request in the words of the core.
fn request_of(head: &http::request::Parts) -> message::Request<'_, &http::HeaderMap> {
    message::Request {
        method: head.method.as_str(),
        authority: head.uri.authority().map(http::uri::Authority::as_str),
        path: head.uri.path_and_query().map(http::uri::PathAndQuery::as_str),
        fields: &head.headers,
    }
}

fn counter(flood: Flood) -> Counter {
    match flood {
        Flood::Data => Counter::GoawaysData,
        Flood::Priorities => Counter::GoawaysPriorities,
        Flood::Resets => Counter::GoawaysResets,
        Flood::Settings => Counter::GoawaysSettings,
        Flood::Pings => Counter::GoawaysPings,
        Flood::Windows => Counter::GoawaysWindows,
        Flood::Continuations => Counter::GoawaysContinuations,
        Flood::Unknown => Counter::GoawaysUnknown,
    }
}

/// What the library has had too much of: it tells the client, but not us.
fn why_calm(wire: &Wire) -> Counter {
    let says = |words| wire.is_about_to_say(words);
    match () {
        () if says("too_many_resets") => Counter::GoawaysResets,
        () if says("too_many_internal_resets") => Counter::GoawaysResetsCaused,
        () if says("too_many_continuations") => Counter::GoawaysContinuations,
        () if says("header_list_way_too_large") => Counter::GoawaysHeaders,
        () if says("too_many_data_frames") => Counter::GoawaysData,
        () => Counter::GoawaysProtocol,
    }
}

/// Streams of one connection at once: docker asks for three layers, browsers take 100 for granted.
const STREAMS_MAX: u32 = 100;
/// Streams that we have reset and still know.
const RESET_STREAMS_MAX: usize = 20;
/// Streams that we had to reset because of what the client sent, in a connection's life.
const RESETS_CAUSED_MAX: usize = 128;
/// What of one stream's body waits for its client to make room.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
