//! One client connection: receive, answer every complete request with one write, receive again.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use monoio::buf::{IoBufMut, SliceMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent, CancelHandle, CancelableAsyncReadRent};
use monoio::net::TcpStream;
use rustix::io::Errno;

use crate::messages::clock::monotonic_us;
use crate::messages::meters::Counter;
use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::handed::{self, Coming};
use crate::pure::http1::proxy_header::{self, ProxyHeader};
use crate::pure::limits::{BUFFER_BYTES, BUFFERS_WAITING_MAX, LINGER_BYTES_MAX};
use crate::worker::answer::{self, Client, Next};
use crate::worker::buffers::Buffer;
use crate::worker::downstream::{Downstream, Line};
use crate::worker::hand_on::Handed;
use crate::worker::over::Over;
use crate::worker::slots::Phase;
use crate::worker::tls::{self, Session};
use crate::worker::upload::{Cut, Visitor};
use crate::worker::within::Allowance;
use crate::worker::{Entrance, Refusing, Worker, aside, http2, relay, sweeps};

/// Serves the connection until either side ends it. `over_tls` where it came to a TLS listener.
pub fn serve(
    worker: Rc<Worker>,
    stream: TcpStream,
    peer: [u8; 16],
    entrance: Entrance,
    over_tls: bool,
) -> impl Future<Output = ()> {
    let client = Client {
        address: peer,
        place: entrance.place(),
        behind_proxy: worker.snapshot().trusts(peer),
        connection: worker.next_connection(),
        shown: None,
        speaks_http2: false,
    };
    let down = Line::new(worker, stream);
    let mut connection =
        Connection { down, client, input: None, batches: 0, _entrance: Some(entrance) };
    async move {
        if over_tls || connection.client.behind_proxy {
            match Box::pin(connection.begin(over_tls)).await {
                Ok(()) if connection.client.speaks_http2 => return connection.speak_http2().await,
                Ok(()) => {}
                Err(Over) => return,
            }
        }
        if connection.input.is_none() && connection.receive().await.is_err() {
            return;
        }
        // Which of the two ends it, and how, is in the meters: a client may go away at any time.
        while connection.answer().await.is_ok() && connection.receive().await.is_ok() {}
    }
}

/// Tells a connection that there are too many, and closes it.
pub async fn refuse(worker: Rc<Worker>, stream: TcpStream, peer: [u8; 16], refusing: Refusing) {
    let place = worker.place(peer);
    let client = Client {
        address: peer,
        place,
        behind_proxy: false,
        connection: 0,
        shown: None,
        speaks_http2: false,
    };
    let down = Line::new(worker, stream);
    let mut connection = Connection { down, client, input: None, batches: 0, _entrance: None };
    let too_many = Fault::new(Kind::ConnectionsTooMany, "");
    let _ = connection.refuse(too_many).await;
    drop(refusing);
}

struct Connection {
    down: Line,
    client: Client,
    /// What has come and was not answered yet. Here, and not handed from one future to the next: each
    /// would have room for it twice, and there is one of them for each connection.
    input: Option<Buffer>,
    /// Batches of answers so far.
    batches: u32,
    /// Given back when the connection ends; a refused one has none.
    _entrance: Option<Entrance>,
}

/// What has come of a receive.
enum Filled {
    /// There is more.
    More,
    /// The client sends no more.
    End,
}

impl Connection {
    /// Goes on by HTTP/2. Boxed here, so that nobody else's future has room for it.
    fn speak_http2(self) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(async move {
            let Self { down, client, input, batches: _, _entrance } = self;
            let _ = http2::serve(down, client, input).await;
        })
    }

    /// Learns who the client is, and agrees on TLS.
    async fn begin(&mut self, over_tls: bool) -> Result<(), Over> {
        if self.client.behind_proxy {
            self.greet().await?;
        }
        if over_tls { self.shake_hands().await } else { Ok(()) }
    }

    /// Answers what has come, and what could be answered of what came behind it.
    async fn answer(&mut self) -> Result<(), Over> {
        loop {
            self.batches = self.batches.wrapping_add(1);
            if self.batches.is_multiple_of(BATCHES_PER_TURN) {
                self.down.worker.yield_turn().await;
            }
            let read_at_us = monotonic_us();
            let mut output = self.down.worker.pool.lend();
            let (worker, client) = (&self.down.worker, &self.client);
            let Some(input) = &mut self.input else { return Ok(()) };
            let answered = answer::batch(worker, client, read_at_us, input, &mut output);
            if !output.is_empty() {
                self.down.send(output).await?;
                let took_us = monotonic_us().saturating_sub(read_at_us);
                self.down.worker.took(took_us, answered.requests);
            } else {
                drop(output);
            }
            let mut next = answered.next;
            if next == Next::Forward
                && let Some(input) = self.input.take()
            {
                let mut down = Downstream::Line(&mut self.down);
                let served = aside::serve(&mut down, &self.client, input).await?;
                (self.input, next) = (Some(served.0), served.1);
            }
            if next == Next::HandOn {
                next = Box::pin(self.hand_on()).await?;
            }
            match next {
                Next::Answer | Next::Forward | Next::HandOn => {}
                Next::Receive => return Ok(()),
                Next::Close => {
                    self.down.say_end();
                    return Err(Over);
                }
                Next::Part => {
                    self.input = None;
                    return Box::pin(self.linger()).await.and(Err(Over));
                }
            }
        }
    }

    /// Hands the request at the front of what has come on to the dashboard, with its body, which may
    /// not have come yet.
    async fn hand_on(&mut self) -> Result<Next, Over> {
        let read_at_us = monotonic_us();
        let worker = &Rc::clone(&self.down.worker);
        let snapshot = worker.snapshot();
        let Some(input) = &mut self.input else { return Err(Over) };
        // It parsed a moment ago, unless by other bounds: then the next batch refuses it.
        let Ok(Some(head)) = self.client.parse(input.filled(), &snapshot.head) else {
            return Ok(Next::Answer);
        };
        let bytes: Box<[u8]> = input.filled().get(..head.length).unwrap_or_default().into();
        input.consume(bytes.len());
        let body = match handed::framing(&bytes) {
            Ok(body) => body,
            Err(fault) => {
                self.input = None;
                self.refuse(fault).await?;
                return Err(Over);
            }
        };
        let Ok(Some(head)) = self.client.parse(&bytes, &snapshot.head) else { return Err(Over) };
        let Some(socket) = snapshot.dashboard_at(head.host.unwrap_or_default()) else {
            // Another configuration has come meanwhile, by which the host is no dashboard's.
            return Err(Over);
        };
        let of = self.client.of(&head, &bytes, &snapshot);
        let request = Handed { worker, head: &head, bytes: &bytes, body, of, read_at_us };
        let allowance = Allowance::new(sweeps(snapshot.limits.write_timeout));
        let mut sender = Sender { connection: self, coming: Coming::new(body), allowance };
        request.serve(&mut sender, socket).await
    }

    /// Learns from a trusted proxy's PROXY header, if there is one, who the client is.
    async fn greet(&mut self) -> Result<(), Over> {
        self.receive().await?;
        loop {
            let Some(input) = &mut self.input else { return Err(Over) };
            match proxy_header::parse(input.filled()) {
                Ok(ProxyHeader::None) => return Ok(()),
                Ok(ProxyHeader::Incomplete) => self.receive().await?,
                Ok(ProxyHeader::Complete { source, length }) => {
                    input.consume(length);
                    if let Some(source) = source {
                        self.client.address = source;
                        self.client.place = self.down.worker.place(source);
                        // The client may itself be a trusted proxy, with fields to be believed.
                        self.client.behind_proxy = self.down.worker.snapshot().trusts(source);
                    }
                    return Ok(());
                }
                Err(fault) => {
                    self.input = None;
                    self.refuse(fault).await?;
                    return Err(Over);
                }
            }
        }
    }

    /// Agrees with the client on TLS, beginning with what it has sent already. What it has asked for
    /// meanwhile is there then.
    async fn shake_hands(&mut self) -> Result<(), Over> {
        self.down.wait(Phase::Handshake);
        if self.input.as_ref().is_none_or(Buffer::is_empty) {
            self.fill().await?;
        }
        let worker = Rc::clone(&self.down.worker);
        let mut came = self.input.take().ok_or(Over)?;
        if !tls::is_handshake(came.filled()) {
            worker.meters.add(Counter::TlsPlain, 1);
            drop(came);
            self.refuse(Fault::new(Kind::Malformed, PLAIN_TO_TLS)).await?;
            return Err(Over);
        }
        let mut session = Session::new(&worker.serving())?;
        let mut plain = worker.pool.lend();
        loop {
            let mut said = worker.pool.lend();
            let taken = session.take(came, &mut plain, &mut said);
            if !said.is_empty() {
                self.down.write(said).await?;
                self.down.wait(Phase::Handshake);
            }
            if taken.is_err() || session.has_ended() {
                worker.meters.add(Counter::TlsFailed, 1);
                return Err(Over);
            }
            if !session.is_handshaking() {
                break;
            }
            self.input = session.take_came();
            self.fill().await?;
            came = self.input.take().ok_or(Over)?;
        }
        let how = if session.is_resumed() { Counter::TlsResumed } else { Counter::TlsFull };
        worker.meters.add(how, 1);
        let shown = session.shown();
        worker.meters.add(Counter::TlsStandIn, u64::from(!shown.is_trusted()));
        self.client.shown = Some(shown);
        self.client.speaks_http2 = session.speaks_http2();
        self.down.tls = Some(Box::new(RefCell::new(session)));
        self.down.wait(Phase::Idle);
        self.input = Some(plain).filter(|plain| !plain.is_empty());
        Ok(())
    }

    /// Receives more behind what is there. Whoever is quiet for a second holds no buffer, unless part
    /// of a request is in it.
    async fn receive(&mut self) -> Result<(), Over> {
        // A line break behind a request begins none (RFC 9112, 2.2).
        let begins = |input: &Buffer| !matches!(input.filled(), b"" | b"\r" | b"\r\n");
        if !self.input.as_ref().is_some_and(begins) {
            self.down.wait(Phase::Idle);
        } else if self.down.seat.phase() != Phase::Head {
            // The whole head has its time, however many receives it takes.
            self.down.wait(Phase::Head);
        }
        self.receive_more().await
    }

    /// Receives more behind what is there, whatever the connection waits for.
    async fn receive_more(&mut self) -> Result<(), Over> {
        if self.down.tls.is_some() {
            return Box::pin(self.receive_sealed()).await;
        }
        match self.fill_or_end().await? {
            Filled::More => Ok(()),
            Filled::End => Box::pin(self.ended()).await,
        }
    }

    /// The same over TLS.
    async fn receive_sealed(&mut self) -> Result<(), Over> {
        let mut held = self.input.take().filter(|held| !held.is_empty());
        loop {
            let Some(tls) = &self.down.tls else { return Err(Over) };
            let pool = Rc::clone(&self.down.worker.pool);
            if tls.borrow().has_rest() {
                let mut plain = held.take().unwrap_or_else(|| pool.lend());
                tls.borrow_mut().give_rest(&mut plain);
                self.input = Some(plain);
                return Ok(());
            }
            self.input = tls.borrow_mut().take_came();
            let filled = self.fill_or_end().await?;
            let came = self.input.take();
            let (Filled::More, Some(came)) = (filled, came) else {
                self.input = held;
                return self.ended().await;
            };
            let Some(tls) = &self.down.tls else { return Err(Over) };
            let (mut plain, mut said) = (held.take().unwrap_or_else(|| pool.lend()), pool.lend());
            let before = plain.filled().len();
            let taken = tls.borrow_mut().take(came, &mut plain, &mut said);
            let is_over = taken.is_err() || tls.borrow().has_ended();
            if !said.is_empty() {
                let phase = self.down.seat.phase();
                self.down.write(said).await?;
                self.down.wait(phase);
            }
            if plain.filled().len() > before {
                self.input = Some(plain);
                return Ok(());
            }
            if is_over {
                self.down.say_end();
                return Err(Over);
            }
            held = Some(plain).filter(|plain| !plain.is_empty());
        }
    }

    /// Receives behind what is there; the end is an end.
    async fn fill(&mut self) -> Result<(), Over> {
        match self.fill_or_end().await? {
            Filled::More => Ok(()),
            Filled::End => Err(Over),
        }
    }

    /// Receives behind what is there, and waits without a buffer for whoever is quiet for a second.
    async fn fill_or_end(&mut self) -> Result<Filled, Over> {
        loop {
            if self.input.is_none() && self.down.worker.pool.out() > BUFFERS_WAITING_MAX {
                self.down.stream.readable(false).await?;
            }
            match self.fill_at_once().await? {
                0 => return Ok(Filled::End),
                QUIET => self.down.stream.readable(false).await?,
                bytes => {
                    self.down.worker.meters.add(Counter::BytesReceived, bytes as u64);
                    return Ok(Filled::More);
                }
            }
        }
    }

    /// Receives behind what is there: how much, or [`QUIET`] where nothing has come for a second.
    async fn fill_at_once(&mut self) -> Result<usize, Over> {
        let (spare, canceller) = self.spare();
        let (received, spare) = self.down.stream.cancelable_read(spare, canceller).await;
        let buffer = spare.into_inner();
        let received = match received {
            Ok(bytes) => Ok(bytes),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::CANCELED) => Ok(QUIET),
            Err(_) => Err(Over),
        };
        // Who waits on does so without a buffer, or at least without a receive.
        if !matches!(received, Ok(QUIET)) || !buffer.is_empty() {
            self.input = Some(buffer);
        }
        received
    }

    /// Room behind what is there, and what ends a receive into it. Not a part of that receive, whose
    /// future would have room for all that is looked at here.
    fn spare(&mut self) -> (SliceMut<Buffer>, CancelHandle) {
        let buffer = self.input.take().unwrap_or_else(|| self.down.worker.pool.lend());
        let filled = buffer.filled().len();
        (buffer.slice_mut(filled..BUFFER_BYTES), self.down.worker.quiet_canceller())
    }

    /// The client sends no more. Half a request that took too long is told so.
    async fn ended(&mut self) -> Result<(), Over> {
        let has_begun = self.input.take().is_some_and(|input| !input.is_empty());
        if self.down.seat.phase() == Phase::Overdue && has_begun {
            self.refuse(Fault::new(Kind::HeaderTimeout, "")).await?;
        }
        self.down.say_end();
        Err(Over)
    }

    async fn refuse(&mut self, fault: Fault) -> Result<(), Over> {
        let mut output = self.down.worker.pool.lend();
        answer::refusal(&self.down.worker, &mut output, fault);
        self.down.send(output).await?;
        self.linger().await
    }

    /// Ends our side and reads what the client still sends, for a while.
    async fn linger(&mut self) -> Result<(), Over> {
        self.down.wait(Phase::Lingering);
        self.down.say_end();
        self.down.stream.shutdown().await?;
        let mut left = LINGER_BYTES_MAX;
        let mut buffer = self.down.worker.pool.lend();
        while left > 0 {
            let (received, back) = self.down.stream.read(buffer).await;
            buffer = back;
            match received? {
                0 => return Ok(()),
                bytes => left = left.saturating_sub(bytes),
            }
        }
        Ok(())
    }
}

/// Who sends a request's body, which stands at the front of what has come or is to come.
struct Sender<'c> {
    connection: &'c mut Connection,
    coming: Coming,
    /// What the client may take to send it.
    allowance: Allowance,
}

impl Visitor for Sender<'_> {
    async fn piece(&mut self) -> Result<Option<Bytes>, Cut> {
        let Self { connection, coming, allowance } = self;
        while !coming.is_over() {
            if let Some(input) = connection.input.as_mut().filter(|input| !input.is_empty()) {
                let data = coming.step(input.filled()).map_err(|_| Cut::Malformed)?;
                let (done, piece) = (data.end, input.filled().get(data).unwrap_or_default());
                let piece = Bytes::copy_from_slice(piece);
                input.consume(done);
                if !piece.is_empty() {
                    return Ok(Some(piece));
                }
            } else {
                let worker = Rc::clone(&connection.down.worker);
                connection.down.wait(Phase::Forwarding);
                let received = allowance.within(&worker, connection.receive_more()).await;
                received.ok_or(Cut::TooLate)?.map_err(|Over| Cut::Gone)?;
            }
        }
        Ok(None)
    }

    fn has_begun(&self) -> bool {
        self.connection.input.as_ref().is_some_and(|input| !input.is_empty())
    }

    async fn go_on(&mut self) -> Result<(), Over> {
        self.connection.down.send(Bytes::from_static(CONTINUE)).await
    }

    async fn gone(&mut self) {
        relay::gone(self.connection.down.sink()).await;
    }

    fn is_whole(&self) -> bool {
        self.coming.is_over()
    }

    fn down(&mut self) -> Downstream<'_> {
        Downstream::Line(&mut self.connection.down)
    }
}

/// What a client is told that speaks plain HTTP where TLS is spoken.
const PLAIN_TO_TLS: &str = "this port speaks TLS, not plain HTTP; ask for https://";

/// What a client waits for before it sends its body (RFC 9110, 10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// More than a receive can bring.
const QUIET: usize = usize::MAX;

/// Batches of answers between two yields.
const BATCHES_PER_TURN: u32 = 32;
