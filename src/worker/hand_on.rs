//! A request for the dashboard: handed on to the control plane by its socket, and its answer, however long
//! that goes on, handed back.
//!
//! Nobody here waits for the control plane but who has asked for it: a connection to its socket is there at
//! once or not at all, requests under way are bounded, and so is the wait for an answer.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::TcpStream as StdTcpStream;
use std::path::Path;
use std::rc::Rc;

use monoio::net::TcpStream;
use rustix::io::ioctl_fionbio;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::messages::meters::Counter;
use crate::pure::fault::Fault;
use crate::pure::http1::encode::{Manner, Out};
use crate::pure::http1::handed::{self, Of};
use crate::pure::http1::head::{Method, RequestHead, Version};
use crate::pure::http1::relayed::Length;
use crate::pure::http1::response::{Framing, ResponseHead, field};
use crate::pure::limits::HANDED_ON_MAX;
use crate::pure::oci::backend::Scheme;
use crate::pure::origin::Origin;
use crate::worker::Worker;
use crate::worker::answer::{Next, manner_of};
use crate::worker::over::Over;
use crate::worker::record::{self, Answered};
use crate::worker::relay::{self, Broke, ClientFraming};
use crate::worker::slots::Phase;
use crate::worker::upload::{Cut, Unanswered, Upload, Visitor};
use crate::worker::upstream::Answer;
use crate::worker::upstream::link::Way;

/// A request for the dashboard.
pub struct Handed<'r> {
    /// Who serves its client.
    pub worker: &'r Rc<Worker>,
    /// Its head.
    pub head: &'r RequestHead<'r>,
    /// The head's bytes.
    pub bytes: &'r [u8],
    /// How what follows is framed: as the head says, or by frames of HTTP/2 as chunks.
    pub body: Framing,
    /// Whose it is.
    pub of: Of,
    /// When it was read.
    pub read_at_us: u64,
}

impl Cut {
    /// The status that says so, and the words; none where nobody is there to hear them.
    fn told(self) -> Option<(u16, &'static str)> {
        match self {
            Self::TooLate => Some((408, "the body was not there in time: send it again\n")),
            Self::Malformed => Some((400, "the body comes in chunks that cannot be read\n")),
            Self::Gone => None,
        }
    }
}

impl Handed<'_> {
    /// Hands it on by the `socket`, with the body that its `visitor` sends, and hands back what comes. What
    /// comes next is said.
    pub async fn serve<V: Visitor>(&self, visitor: &mut V, socket: &Path) -> Result<Next, Over> {
        visitor.down().wait(Phase::Forwarding);
        let Some(_place) = Place::take(self.worker) else {
            return self.say(visitor, 503, TOO_MANY).await;
        };
        let stream = match dial(self.worker, socket) {
            Ok(stream) => stream,
            Err(error) => {
                let why = format_args!("{}: {error}", socket.display());
                return self.say_absent(visitor, why).await;
            }
        };
        match self.ask(visitor, stream).await {
            Ok(answer) => self.pass(visitor, answer).await,
            Err(Unanswered::Client(cut)) => {
                let (status, words) = cut.told().ok_or(Over)?;
                self.say(visitor, status, words).await
            }
            Err(Unanswered::Asked(Fault { kind, detail })) => {
                self.say_absent(visitor, format_args!("{detail} ({})", kind.row().label)).await
            }
        }
    }

    /// Sends it to the control plane by `stream`, and waits for the head of its answer.
    async fn ask<V: Visitor>(
        &self,
        visitor: &mut V,
        stream: TcpStream,
    ) -> Result<Answer, Unanswered> {
        let Self { worker, head, bytes, body, .. } = *self;
        let waits =
            body != Framing::None && !visitor.has_begun() && handed::expects_word(head, bytes);
        let request = handed::request(head, bytes, self.of, body, waits);
        let upload = Upload::new(worker, stream, head.method == Method::Head);
        // A connection for one request: nobody else's way.
        let origin = Origin { scheme: Scheme::Http, host: "dashboard".to_owned(), port: 0 };
        let way = Rc::new(Way { origin, registry: None, adoption: worker.snapshot().number() });
        let answer = upload.run(visitor, &request, body, waits, way).await?;
        // Whatever it says of that, its connection is for one request.
        Ok(Answer { head: ResponseHead { keep_alive: false, ..answer.head }, ..answer })
    }

    async fn pass<V: Visitor>(&self, visitor: &mut V, answer: Answer) -> Result<Next, Over> {
        let worker = self.worker;
        let (status, bytes) = (answer.head.status, answer.head_bytes.clone());
        let (length, framing) = match (answer.head.framing, self.head.version) {
            (Framing::None, _) => match field(&bytes, "Content-Length") {
                Some(digits) if self.head.method == Method::Head => {
                    (Length::Said(digits), ClientFraming::Length)
                }
                Some(_) | None => (Length::Unsaid, ClientFraming::Length),
            },
            (Framing::Length(bytes), _) => (Length::Known(bytes), ClientFraming::Length),
            (_, Version::Http11) => (Length::Chunked, ClientFraming::Chunked),
            (_, Version::Http10 | Version::Http2) => (Length::Unsaid, ClientFraming::UntilClose),
        };
        let ends = framing == ClientFraming::UntilClose;
        let next = self.put(visitor, ends, |out, manner| {
            handed::answer(out, manner, status, &bytes, length);
        });
        let said = if let Length::Known(bytes) = length { bytes } else { 0 };
        self.record(status, said);
        let next = next.await?;
        if answer.head.framing == Framing::None {
            return Ok(next);
        }
        let bytes_max = worker.snapshot().limits.buffer_bytes;
        let (down, passed) = (visitor.down(), Cell::new(0));
        let (sink, seat) = (down.sink(), down.seat());
        match relay::body(worker, answer, sink, seat, framing, bytes_max, &passed).await {
            Ok(()) => Ok(next),
            Err(Broke::Client) => Err(Over),
            Err(Broke::Upstream(_)) => {
                if ends {
                    // Without a length, only a reset says that this is not the end.
                    down.cut();
                }
                Err(Over)
            }
        }
    }

    /// Says that the control plane does not answer; to the log also `why`.
    async fn say_absent<V: Visitor>(
        &self,
        visitor: &mut V,
        why: fmt::Arguments<'_>,
    ) -> Result<Next, Over> {
        self.worker.complain_of(format_args!("the dashboard does not answer: {why}"));
        self.say(visitor, 503, ABSENT).await
    }

    /// Answers in words of ours.
    async fn say<V: Visitor>(
        &self,
        visitor: &mut V,
        status: u16,
        words: &'static str,
    ) -> Result<Next, Over> {
        self.record(status, words.len() as u64);
        self.put(visitor, false, |out, manner| handed::words(out, manner, status, words)).await
    }

    /// Sends a head, and what `write` puts behind it; `ends` where only the connection's end ends the answer.
    async fn put<V: Visitor>(
        &self,
        visitor: &mut V,
        ends: bool,
        write: impl FnOnce(&mut Out<'_>, &Manner<'_>),
    ) -> Result<Next, Over> {
        let worker = self.worker;
        // With a body that nobody reads in the way, nothing that follows can be told from it.
        let is_whole = visitor.is_whole();
        let (next, connection) = manner_of(worker, self.head, ends || !is_whole);
        let (date, head_only) = (worker.clock.date(), self.head.method == Method::Head);
        let mut output = worker.pool.lend();
        let mut out = Out::new(output.all_mut(), 0);
        write(&mut out, &Manner { date: &date, head_only, connection });
        if out.is_overrun() {
            return Err(Over);
        }
        let used = out.used();
        output.set_filled(used);
        visitor.down().send(output).await?;
        Ok(if is_whole { next } else { Next::Part })
    }

    fn record(&self, status: u16, bytes: u64) {
        let (asked, read_at_us) = (Counter::RequestsDashboard, self.read_at_us);
        record::answered(self.worker, self.head, Answered { asked, status, bytes, read_at_us });
    }
}

/// A request that is handed on, until it is dropped.
struct Place(Rc<Worker>);

impl Place {
    fn take(worker: &Rc<Worker>) -> Option<Self> {
        let taken = worker.handed_on.get();
        (taken < HANDED_ON_MAX).then(|| {
            worker.handed_on.set(taken + 1);
            Self(Rc::clone(worker))
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.handed_on.set(self.0.handed_on.get() - 1);
    }
}

/// A connection to the control plane's socket. It is there at once, or the socket is not, or too many wait
/// there already. To who reads and writes it is like any other.
fn dial(worker: &Worker, path: &Path) -> io::Result<TcpStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    ioctl_fionbio(&socket, !worker.is_on_ring())?;
    TcpStream::from_std(StdTcpStream::from(socket))
}

const TOO_MANY: &str = "too many requests for this host are under way: try again in a moment\n";
const ABSENT: &str = "the dashboard does not answer just now; pulls go on. Try again in a moment\n";
