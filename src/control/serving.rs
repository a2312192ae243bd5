//! Connections of listeners that anybody may reach: so many at once, and none of them for longer than it
//! takes: a head, a wait for the next one and a body have a time, and so has an answer that nobody reads.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use axum::serve::Listener;
use axum::{BoxError, Router};
use hyper::body::{Bytes, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};

use crate::control::seats::Seats;
use crate::messages::clock::monotonic_us;
use crate::pure::limited::Limited;

/// How long connections may take for what they do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For a head, and for the wait until it begins.
    pub(super) head: Duration,
    /// For a whole body, and for an answer to make progress.
    pub(super) body: Duration,
}

/// A listener, and what is held of it.
pub(super) struct Serving<L: Listener> {
    /// What it is called in the log.
    pub(super) what: &'static str,
    /// It.
    pub(super) listener: L,
    /// What it answers by.
    pub(super) routes: Router,
    /// How many connections it has at once.
    pub(super) connections_max: usize,
    /// Whose one is, where nobody is to have more than half of them.
    pub(super) client: fn(&L::Addr) -> Option<IpAddr>,
    /// What connections may take.
    pub(super) patience: Patience,
}

impl<L> Serving<L>
where
    L: Listener,
    L::Addr: Clone + Send + Sync + 'static,
{
    /// Serves until `stopping` changes or ends, then lets requests under way finish. Each request is told
    /// its peer by an extension of the listener's address type.
    pub(super) async fn run(mut self, mut stopping: watch::Receiver<()>) {
        let mut places = Seats::new(self.connections_max, self.connections_max / 2);
        let (mut connections, mut refusals) = (JoinSet::new(), Limited::per(REFUSALS_SAID_US));
        loop {
            let (mut io, peer) = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stopping.changed() => break,
            };
            while connections.try_join_next().is_some() {}
            match places.take((self.client)(&peer)) {
                Ok(place) => {
                    let routes = self.routes.clone();
                    let served = connection(io, peer, routes, self.patience, stopping.clone());
                    connections.spawn(async move {
                        served.await;
                        drop(place);
                    });
                }
                Err(_) => {
                    if let Some(repeats) = refusals.pass(monotonic_us()) {
                        let (what, max) = (self.what, self.connections_max);
                        tracing::warn!(
                            "{what} has {max} connections, or half of them from one client: one is \
                             refused{repeats}"
                        );
                    }
                    refuse(&mut io).await;
                }
            }
        }
        connections.join_all().await;
    }
}

/// Says so where that costs no wait.
async fn refuse(io: &mut (impl AsyncWrite + Unpin)) {
    std::future::poll_fn(|context| {
        let _ = Pin::new(&mut *io).poll_write(context, REFUSED);
        Poll::Ready(())
    })
    .await;
}

async fn connection<A: Clone + Send + Sync + 'static>(
    io: impl AsyncRead + AsyncWrite + Send + Unpin,
    peer: A,
    routes: Router,
    patience: Patience,
    mut stopping: watch::Receiver<()>,
) {
    let routes = TowerToHyperService::new(routes);
    let answered = service_fn(move |request: Request<Incoming>| {
        let mut request =
            request.map(|body| Body::new(Timed { body, within: patience.body, ends: None }));
        request.extensions_mut().insert(peer.clone());
        routes.call(request)
    });
    let io = TokioIo::new(Patient { io, patience: patience.body, stalled: None });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(io, answered);
    let mut connection = std::pin::pin!(connection);
    // How a connection ends is its client's matter.
    let _ = tokio::select! {
        outcome = &mut connection => outcome,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
}

/// A request's body, which has to be there within a time.
struct Timed {
    body: Incoming,
    within: Duration,
    /// Set once somebody waits for it.
    ends: Option<Pin<Box<Sleep>>>,
}

impl hyper::body::Body for Timed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)));
        }
        let within = self.within;
        let ends = self.ends.get_or_insert_with(|| Box::pin(sleep(within)));
        ready!(ends.as_mut().poll(context));
        let words = format!("the body was not there within {} s", within.as_secs());
        Poll::Ready(Some(Err(words.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that fails where nothing can be written for a time.
struct Patient<T> {
    io: T,
    patience: Duration,
    /// Set while nothing can be written.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<T> Patient<T> {
    fn watched<R>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Patient<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Patient<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(context, bytes);
        self.watched(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.watched(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(context);
        self.watched(context, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_shutdown(context);
        self.watched(context, outcome)
    }
}

const REFUSED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 52\r\n\
    Retry-After: 5\r\n\
    Connection: close\r\n\r\n\
    too many connections at once: try again in a moment\n";
/// A head and what has come of a body, of one connection.
const BUFFER_BYTES: usize = 64 * 1024;
/// How often it is said that connections are refused.
const REFUSALS_SAID_US: u64 = 60_000_000;
