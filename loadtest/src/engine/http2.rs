//! The same load over HTTP/2 (RFC 9113): several streams at once on each connection, in a closed
//! loop. By a library, which costs the load more than what the rest of the engine does by hand: what
//! the target takes for an answer is seen all the same, its highest rate is not.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::header::{CONTENT_LENGTH, HOST, LOCATION};
use http::{Method, Request, Response};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpSocket;
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::connection::loopback;
use super::reader::{Answer, Fault};
use super::record::{Glimpse, Recorded, Recorder};
use super::{Digests, Pace, SWEEP_NS, Settings, nanoseconds, process_cpu};
use crate::plan::{self, Expect, Plan};
use crate::target::packages::DOMAIN;

/// Lays the load of `plan` on by `streams` at once on each connection.
///
/// # Errors
/// For any but a closed loop over TLS; and where a connection cannot be opened at first.
pub(super) fn run(
    plan: &Plan,
    settings: &Settings,
    streams: usize,
    watch: &mut dyn FnMut(&Glimpse),
) -> io::Result<Recorded> {
    if settings.pace != Pace::Closed {
        return Err(io::Error::other("HTTP/2 is laid on in a closed loop only"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let load = Rc::new(Load::new(plan, settings)?);
    LocalSet::new().block_on(&runtime, go(&load, settings, streams, watch))?;
    drop(runtime);
    let load = Rc::into_inner(load).ok_or_else(|| io::Error::other("a stream has not ended"))?;
    Ok(load.recorder.into_inner().finish())
}

async fn go(
    load: &Rc<Load>,
    settings: &Settings,
    streams: usize,
    watch: &mut dyn FnMut(&Glimpse),
) -> io::Result<()> {
    let mut connections = Vec::new();
    for index in 0..settings.connections {
        connections.push(connect(settings, index).await?);
    }
    let cpu_before = process_cpu();
    load.began.set(Instant::now());
    let mut running = JoinSet::new();
    for connection in connections {
        for _ in 0..streams {
            running.spawn_local(Rc::clone(load).keep_asking(connection.clone()));
        }
    }
    while load.began.get().elapsed() < settings.duration && !running.is_empty() {
        sleep(Duration::from_nanos(SWEEP_NS)).await;
        if let Some(glimpse) = load.recorder.borrow_mut().glimpse(load.now()) {
            watch(&glimpse);
        }
    }
    load.is_over.set(true);
    load.recorder.borrow_mut().load_ended(load.now());
    while let Some(ended) = running.join_next().await {
        ended.map_err(io::Error::other)?;
    }
    let cpu = process_cpu().saturating_sub(cpu_before);
    load.recorder.borrow_mut().end(load.now(), cpu);
    Ok(())
}

async fn connect(settings: &Settings, index: usize) -> io::Result<SendRequest<Bytes>> {
    let Some(tls) = &settings.tls else {
        return Err(io::Error::other("HTTP/2 is spoken over TLS only"));
    };
    let socket = match settings.address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if settings.sources > 0 {
        socket.bind(SocketAddr::new(loopback(index % settings.sources), 0))?;
    }
    let stream = socket.connect(settings.address).await?;
    stream.set_nodelay(true)?;
    let name = DOMAIN.try_into().map_err(io::Error::other)?;
    let sealed = TlsConnector::from(tls.clone()).connect(name, stream).await?;
    let mut builder = client::Builder::new();
    builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(16 * WINDOW_BYTES);
    let opened = builder.handshake(sealed).await;
    let (ask, connection) = opened.map_err(io::Error::other)?;
    // What goes wrong with it is told to each of its streams.
    spawn_local(async move { drop(connection.await) });
    Ok(ask)
}

/// What all streams share.
struct Load {
    requests: Vec<Asked>,
    jobs: Vec<Range<usize>>,
    order: Vec<u32>,
    /// The next place in the order.
    turn: Cell<usize>,
    digests: bool,
    patience: Duration,
    recorder: RefCell<Recorder>,
    began: Cell<Instant>,
    is_over: Cell<bool>,
}

struct Asked {
    request: Request<()>,
    is_counted: bool,
    expect: Expect,
}

impl Load {
    fn new(plan: &Plan, settings: &Settings) -> io::Result<Self> {
        Ok(Self {
            requests: plan.requests.iter().map(Asked::of).collect::<io::Result<_>>()?,
            jobs: plan.jobs.clone(),
            order: plan.order.clone(),
            turn: Cell::new(0),
            digests: settings.digests == Digests::All,
            patience: settings.patience,
            recorder: RefCell::new(Recorder::new(settings.duration, plan.steps_max() > 1)?),
            began: Cell::new(Instant::now()),
            is_over: Cell::new(false),
        })
    }

    /// Nanoseconds since the beginning.
    fn now(&self) -> u64 {
        nanoseconds(self.began.get().elapsed())
    }

    fn next_job(&self) -> Range<usize> {
        let turn = self.turn.replace(self.turn.get() + 1);
        self.jobs[self.order[turn % self.order.len()] as usize].clone()
    }

    /// One job after another on one stream at a time, until the load is over or its connection is.
    async fn keep_asking(self: Rc<Self>, mut connection: SendRequest<Bytes>) {
        while !self.is_over.get() {
            let job = self.next_job();
            let (has_steps, job_since) = (job.len() > 1, self.now());
            let mut lost = None;
            let mut has_failed = false;
            for asked in &self.requests[job] {
                let since = self.now();
                let answer = timeout(self.patience, self.ask(&mut connection, asked)).await;
                let (now, mut recorder) = (self.now(), self.recorder.borrow_mut());
                match answer {
                    Ok(Ok(answer)) => {
                        recorder.answer(now, since, asked.is_counted, answer);
                        has_failed = answer.fault.is_some();
                    }
                    Ok(Err(_)) => lost = Some(Fault::BrokenOff),
                    Err(_) => lost = Some(Fault::TimedOut),
                }
                if let Some(fault) = lost {
                    recorder.failure(now, since, fault);
                }
                if has_failed || lost.is_some() {
                    break;
                }
            }
            if has_steps {
                let has_failed = has_failed || lost.is_some();
                self.recorder.borrow_mut().job(self.now(), job_since, has_failed);
            }
            if lost.is_some() {
                return;
            }
        }
    }

    async fn ask(
        &self,
        connection: &mut SendRequest<Bytes>,
        asked: &Asked,
    ) -> Result<Answer, h2::Error> {
        poll_fn(|context| connection.poll_ready(context)).await?;
        let (answer, _) = connection.send_request(asked.request.clone(), true)?;
        let mut answer = answer.await?;
        let mut hash = (self.digests && asked.expect.digest.is_some()).then(Sha256::new);
        let mut body_bytes = 0;
        while let Some(piece) = answer.body_mut().data().await {
            let piece = piece?;
            body_bytes += piece.len() as u64;
            if let Some(hash) = &mut hash {
                hash.update(&piece);
            }
            answer.body_mut().flow_control().release_capacity(piece.len())?;
        }
        let digest = hash.map(|hash| hash.finalize().into());
        Ok(Answer { fault: asked.fault(&answer, body_bytes, digest), closes: false, body_bytes })
    }
}

impl Asked {
    /// What the plan has as bytes of HTTP/1.1.
    fn of(planned: &plan::Request) -> io::Result<Self> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Request::new(&mut fields);
        head.parse(&planned.bytes).map_err(io::Error::other)?;
        let target = format!("https://{DOMAIN}{}", head.path.unwrap_or("/"));
        let mut request = Request::builder().method(head.method.unwrap_or("GET")).uri(target);
        // The host is in the target; connections are not spoken of (RFC 9113, 8.2.2).
        let is_hop = |name: &str| name.eq_ignore_ascii_case("connection") || HOST == *name;
        // Go's clients have each line of a field in their table of what was said before (RFC 7541, 2.3),
        // and name it by a byte; the library has one line of each name there, and spells out the
        // others in every request. So there is one, which says the same (RFC 9110, 5.3).
        let mut lines: Vec<(&str, Vec<u8>)> = Vec::new();
        for field in head.headers.iter().filter(|field| !is_hop(&field.name.to_lowercase())) {
            match lines.iter_mut().find(|(name, _)| *name == field.name) {
                Some((_, line)) => line.extend([b", ", field.value].concat()),
                None => lines.push((field.name, field.value.to_vec())),
            }
        }
        for (name, line) in lines {
            request = request.header(name, line);
        }
        let request = request.body(()).map_err(io::Error::other)?;
        Ok(Self { request, is_counted: planned.is_counted, expect: planned.expect.clone() })
    }

    /// What is wrong with the answer.
    fn fault<B>(
        &self,
        answer: &Response<B>,
        body_bytes: u64,
        digest: Option<[u8; 32]>,
    ) -> Option<Fault> {
        let Expect { status, length, location, .. } = &self.expect;
        let got = answer.status().as_u16();
        if if *status == 0 { got >= 400 } else { got != *status } {
            return Some(Fault::Status(got));
        }
        let field = |name| answer.headers().get(name).map(http::HeaderValue::as_bytes);
        if location.as_deref().is_some_and(|location| field(LOCATION) != Some(location)) {
            return Some(Fault::Location);
        }
        let announced = || std::str::from_utf8(field(CONTENT_LENGTH)?).ok()?.parse().ok();
        let is_head = self.request.method() == Method::HEAD;
        let came = if is_head { announced().unwrap_or(0) } else { body_bytes };
        if length.is_some_and(|length| length != came) {
            return Some(Fault::Length(came));
        }
        let is_other = digest.is_some() && !is_head && digest != self.expect.digest;
        is_other.then_some(Fault::Digest)
    }
}

const FIELDS_MAX: usize = 32;
const WINDOW_BYTES: u32 = 1 << 20;
