//! A request for the dashboard: handed on to the control plane by its socket, and its answer, however long
//! that goes on, handed back.
//!
//! Nobody here waits for the control plane but who has asked for it: a connection to its socket is there at
//! once or not at all, requests under way are bounded, and so is the wait for an answer.

use std::cell::Cell;
use std::io;
use std::net::TcpStream as StdTcpStream;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
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
use crate::worker::answer::{Client, Next, manner_of};
use crate::worker::downstream::Downstream;
use crate::worker::over::Over;
use crate::worker::record::{self, Answered};
use crate::worker::relay::{self, Broke, ClientFraming};
use crate::worker::slots::Phase;
use crate::worker::upstream::link::Way;
use crate::worker::upstream::{Answer, Link, exchange};

/// A request for the dashboard.
pub struct Handed<'r> {
    /// Whose it is.
    pub client: &'r Client,
    /// Its head.
    pub head: &'r RequestHead<'r>,
    /// The head's bytes.
    pub bytes: &'r [u8],
    /// When it was read.
    pub read_at_us: u64,
}

/// Why a request's body is not handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is longer than the control plane takes.
    TooLong,
    /// It was not there in time.
    TooLate,
    /// It comes in chunks that are none.
    Malformed,
}

impl Unread {
    /// The status that says so, and the words.
    fn told(self) -> (u16, &'static str) {
        match self {
            Self::TooLong => {
                (413, "the body is longer than 64 KiB, which is all that is taken here\n")
            }
            Self::TooLate => (408, "the body was not there in time: send it again\n"),
            Self::Malformed => (400, "the body comes in chunks that cannot be read\n"),
        }
    }
}

impl Handed<'_> {
    /// Hands it on with its `body`, and hands back what comes. What comes next is said.
    pub async fn serve(
        &self,
        down: &mut Downstream<'_>,
        socket: &Path,
        body: &[u8],
    ) -> Result<Next, Over> {
        down.wait(Phase::Forwarding);
        let worker = &Rc::clone(down.worker());
        let Some(_place) = Place::take(worker) else {
            return self.say(down, 503, TOO_MANY, false).await;
        };
        let of = Of {
            address: self.client.address_behind(self.head, &worker.snapshot()),
            is_https: self.client.shown.is_some()
                || self.client.behind_proxy && handed::says_https(self.bytes),
        };
        let request = handed::request(self.head, self.bytes, of, body);
        match ask(worker, socket, request, self.head.method == Method::Head).await {
            Ok(answer) => self.pass(down, answer).await,
            Err(why) => {
                worker.complain_of(format_args!("the dashboard does not answer: {why}"));
                self.say(down, 503, ABSENT, false).await
            }
        }
    }

    /// Says that its body was not read, after which nothing on its connection can be.
    pub async fn give_up(&self, down: &mut Downstream<'_>, why: Unread) -> Result<Next, Over> {
        let (status, words) = why.told();
        self.say(down, status, words, true).await.map(|_| Next::Part)
    }

    async fn pass(&self, down: &mut Downstream<'_>, answer: Answer) -> Result<Next, Over> {
        let worker = &Rc::clone(down.worker());
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
        let next = self.put(down, ends, |out, manner| {
            handed::answer(out, manner, status, &bytes, length);
        });
        let said = if let Length::Known(bytes) = length { bytes } else { 0 };
        self.record(worker, status, said);
        let next = next.await?;
        if answer.head.framing == Framing::None {
            return Ok(next);
        }
        let bytes_max = worker.snapshot().limits.buffer_bytes;
        let (sink, seat, passed) = (down.sink(), down.seat(), Cell::new(0));
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

    /// Answers in words of ours; `ends` where the connection does.
    async fn say(
        &self,
        down: &mut Downstream<'_>,
        status: u16,
        words: &'static str,
        ends: bool,
    ) -> Result<Next, Over> {
        self.record(&Rc::clone(down.worker()), status, words.len() as u64);
        self.put(down, ends, |out, manner| handed::words(out, manner, status, words)).await
    }

    async fn put(
        &self,
        down: &mut Downstream<'_>,
        ends: bool,
        write: impl FnOnce(&mut Out<'_>, &Manner<'_>),
    ) -> Result<Next, Over> {
        let worker = &Rc::clone(down.worker());
        let (next, connection) = manner_of(worker, self.head, ends);
        let (date, head_only) = (worker.clock.date(), self.head.method == Method::Head);
        let mut output = worker.pool.lend();
        let mut out = Out::new(output.all_mut(), 0);
        write(&mut out, &Manner { date: &date, head_only, connection });
        if out.is_overrun() {
            return Err(Over);
        }
        let used = out.used();
        output.set_filled(used);
        down.send(output).await?;
        Ok(next)
    }

    fn record(&self, worker: &Worker, status: u16, bytes: u64) {
        let (asked, read_at_us) = (Counter::RequestsDashboard, self.read_at_us);
        record::answered(worker, self.head, Answered { asked, status, bytes, read_at_us });
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

/// Sends `request` to the control plane, and waits for the head of its answer.
async fn ask(
    worker: &Rc<Worker>,
    socket: &Path,
    request: Vec<u8>,
    is_head: bool,
) -> Result<Answer, String> {
    let stream = dial(worker, socket).map_err(|error| format!("{}: {error}", socket.display()))?;
    // A connection for one request: nobody else's way.
    let origin = Origin { scheme: Scheme::Http, host: "dashboard".to_owned(), port: 0 };
    let way = Rc::new(Way { origin, registry: None, adoption: worker.snapshot().number() });
    let link = Link::over_tcp(way, stream);
    match exchange::exchange(worker, link, Bytes::from(request), is_head).await {
        // Whatever it says of that, its connection is for one request.
        Ok(answer) => {
            Ok(Answer { head: ResponseHead { keep_alive: false, ..answer.head }, ..answer })
        }
        Err(failed) => {
            let Fault { kind, detail } = failed.fault();
            Err(format!("{detail} ({})", kind.row().label))
        }
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
