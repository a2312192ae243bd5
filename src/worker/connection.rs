//! One client connection: receive, answer every complete request with one write, receive again.

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRent, CancelableAsyncReadRent};
use monoio::net::TcpStream;
use rustix::io::Errno;

use crate::messages::clock::monotonic_us;
use crate::messages::meters::Counter;
use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::proxy_header::{self, ProxyHeader};
use crate::pure::limits::{BUFFER_BYTES, BUFFERS_WAITING_MAX, LINGER_BYTES_MAX};
use crate::worker::answer::{self, Client, Next};
use crate::worker::buffers::Buffer;
use crate::worker::downstream::{Downstream, Line};
use crate::worker::over::Over;
use crate::worker::slots::Phase;
use crate::worker::tls::{self, Session};
use crate::worker::{Entrance, Refusing, Worker, aside, http2};

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
    let mut connection = Connection { down, client, _entrance: Some(entrance) };
    async move {
        let mut is_new = true;
        loop {
            // Apart, so that who has been quiet for long does not carry the room of who is served.
            let served = Box::pin(connection.run(over_tls, is_new)).await;
            is_new = false;
            match served {
                Ok(Served::Quiet) if connection.down.stream.readable(false).await.is_ok() => {}
                Ok(Served::Greeted(said)) => {
                    let Connection { down, client, _entrance } = connection;
                    let _ = Box::pin(http2::serve(down, client, said)).await;
                    return;
                }
                // Which of the two ended it, and how, is in the meters: a client may go away at any
                // time.
                Ok(Served::Quiet | Served::Wholly) | Err(Over) => return,
            }
        }
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
    let mut connection = Connection { down, client, _entrance: None };
    let too_many = Fault::new(Kind::ConnectionsTooMany, "");
    let _ = connection.refuse(too_many).await;
    drop(refusing);
}

struct Connection {
    down: Line,
    client: Client,
    /// Given back when the connection ends; a refused one has none.
    _entrance: Option<Entrance>,
}

/// What has come of a connection.
enum Served {
    /// It is served to its end.
    Wholly,
    /// The client has said nothing for a second, and waits for nothing.
    Quiet,
    /// HTTP/2 is agreed on, and the client has said this already.
    Greeted(Option<Buffer>),
}

/// What has come of a receive.
enum Filled {
    /// There is more in it.
    More(Buffer),
    /// The client sends no more.
    End(Buffer),
    /// Nothing for a second.
    Quiet,
}

impl Connection {
    /// Answers what comes, until the client is quiet or it ends. `is_new` where nothing has come yet.
    async fn run(&mut self, over_tls: bool, is_new: bool) -> Result<Served, Over> {
        let mut input = None;
        if is_new && self.client.behind_proxy {
            input = Some(Box::pin(self.greet()).await?);
        }
        if is_new && over_tls {
            input = Box::pin(self.shake_hands(input)).await?;
            if self.client.speaks_http2 {
                return Ok(Served::Greeted(input));
            }
        }
        let mut batches: u32 = 0;
        loop {
            batches = batches.wrapping_add(1);
            if batches.is_multiple_of(BATCHES_PER_TURN) {
                self.down.worker.yield_turn().await;
            }
            let mut received = match input.take() {
                Some(received) => received,
                None => match self.receive(None, true).await? {
                    Some(received) => received,
                    None => return Ok(Served::Quiet),
                },
            };
            let read_at_us = monotonic_us();
            let mut output = self.down.worker.pool.lend();
            let (worker, client) = (&self.down.worker, &self.client);
            let answered = answer::batch(worker, client, read_at_us, &mut received, &mut output);
            if !output.is_empty() {
                self.down.send(output).await?;
                let took_us = monotonic_us().saturating_sub(read_at_us);
                self.down.worker.took(took_us, answered.requests);
            } else {
                drop(output);
            }
            let mut next = answered.next;
            if next == Next::Forward {
                let mut down = Downstream::Line(&mut self.down);
                (received, next) = aside::serve(&mut down, &self.client, received).await?;
            }
            input = match next {
                Next::Answer | Next::Forward => Some(received),
                Next::Receive => match self.receive(Some(received), true).await? {
                    Some(received) => Some(received),
                    None => return Ok(Served::Quiet),
                },
                Next::Close => {
                    self.down.say_end();
                    return Ok(Served::Wholly);
                }
                Next::Part => return Box::pin(self.linger()).await.map(|()| Served::Wholly),
            };
        }
    }

    /// Learns from a trusted proxy's PROXY header, if there is one, who the client is.
    async fn greet(&mut self) -> Result<Buffer, Over> {
        let mut received = self.receive(None, false).await?.ok_or(Over)?;
        loop {
            match proxy_header::parse(received.filled()) {
                Ok(ProxyHeader::None) => return Ok(received),
                Ok(ProxyHeader::Incomplete) => {
                    received = self.receive(Some(received), false).await?.ok_or(Over)?;
                }
                Ok(ProxyHeader::Complete { source, length }) => {
                    received.consume(length);
                    if let Some(source) = source {
                        self.client.address = source;
                        self.client.place = self.down.worker.place(source);
                        // The client may itself be a trusted proxy, with fields to be believed.
                        self.client.behind_proxy = self.down.worker.snapshot().trusts(source);
                    }
                    return Ok(received);
                }
                Err(fault) => {
                    drop(received);
                    self.refuse(fault).await?;
                    return Err(Over);
                }
            }
        }
    }

    /// Agrees with the client on TLS, beginning with what it has `sent` already. Returns what it has
    /// asked for meanwhile.
    async fn shake_hands(&mut self, sent: Option<Buffer>) -> Result<Option<Buffer>, Over> {
        self.down.wait(Phase::Handshake);
        let mut came = match sent.filter(|sent| !sent.is_empty()) {
            Some(came) => came,
            None => self.fill(None).await?,
        };
        let worker = Rc::clone(&self.down.worker);
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
            came = self.fill(session.take_came()).await?;
        }
        let how = if session.is_resumed() { Counter::TlsResumed } else { Counter::TlsFull };
        worker.meters.add(how, 1);
        let shown = session.shown();
        worker.meters.add(Counter::TlsStandIn, u64::from(!shown.is_trusted()));
        self.client.shown = Some(shown);
        self.client.speaks_http2 = session.speaks_http2();
        self.down.tls = Some(Box::new(RefCell::new(session)));
        self.down.wait(Phase::Idle);
        Ok(Some(plain).filter(|plain| !plain.is_empty()))
    }

    /// Receives more behind what `held` holds. Whoever is quiet for a second holds no buffer,
    /// unless part of a request is in it; and `None` is returned then, if it `rests`.
    async fn receive(&mut self, held: Option<Buffer>, rests: bool) -> Result<Option<Buffer>, Over> {
        // A line break behind a request begins none (RFC 9112, 2.2).
        let begun =
            held.as_ref().is_some_and(|held| !matches!(held.filled(), b"" | b"\r" | b"\r\n"));
        if !begun {
            self.down.wait(Phase::Idle);
        } else if self.down.seat.phase() != Phase::Head {
            // The whole head has its time, however many receives it takes.
            self.down.wait(Phase::Head);
        }
        if self.down.tls.is_some() {
            return Box::pin(self.receive_sealed(held, rests)).await;
        }
        match self.fill_or_end(held, rests).await? {
            Filled::More(buffer) => Ok(Some(buffer)),
            Filled::End(buffer) => Box::pin(self.ended(buffer)).await,
            Filled::Quiet => Ok(None),
        }
    }

    /// The same over TLS.
    async fn receive_sealed(
        &mut self,
        held: Option<Buffer>,
        rests: bool,
    ) -> Result<Option<Buffer>, Over> {
        let mut held = held.filter(|held| !held.is_empty());
        loop {
            let Some(tls) = &self.down.tls else { return Err(Over) };
            let pool = Rc::clone(&self.down.worker.pool);
            if tls.borrow().has_rest() {
                let mut plain = held.take().unwrap_or_else(|| pool.lend());
                tls.borrow_mut().give_rest(&mut plain);
                return Ok(Some(plain));
            }
            let came = tls.borrow_mut().take_came();
            let came = match self.fill_or_end(came, rests && held.is_none()).await? {
                Filled::More(came) => came,
                Filled::End(_) => return self.ended(held.unwrap_or_else(|| pool.lend())).await,
                Filled::Quiet => return Ok(None),
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
                return Ok(Some(plain));
            }
            if is_over {
                self.down.say_end();
                return Err(Over);
            }
            held = Some(plain).filter(|plain| !plain.is_empty());
        }
    }

    /// Receives behind what `held` holds; the end is an end.
    async fn fill(&mut self, held: Option<Buffer>) -> Result<Buffer, Over> {
        match self.fill_or_end(held, false).await? {
            Filled::More(buffer) => Ok(buffer),
            Filled::End(_) | Filled::Quiet => Err(Over),
        }
    }

    /// Receives behind what `held` holds. Whoever is quiet for a second is told of if it `rests` and
    /// nothing is held, and waited for otherwise.
    async fn fill_or_end(&mut self, mut held: Option<Buffer>, rests: bool) -> Result<Filled, Over> {
        loop {
            let buffer = match held.take() {
                Some(buffer) => buffer,
                None => {
                    if self.down.worker.pool.out() > BUFFERS_WAITING_MAX {
                        self.down.stream.readable(false).await?;
                    }
                    self.down.worker.pool.lend()
                }
            };
            let filled = buffer.filled().len();
            let canceller = self.down.worker.quiet_canceller();
            let spare = buffer.slice_mut(filled..BUFFER_BYTES);
            let (received, spare) = self.down.stream.cancelable_read(spare, canceller).await;
            let buffer = spare.into_inner();
            match received {
                Ok(0) => return Ok(Filled::End(buffer)),
                Ok(bytes) => {
                    self.down.worker.meters.add(Counter::BytesReceived, bytes as u64);
                    return Ok(Filled::More(buffer));
                }
                // Quiet for a second: wait on without a buffer, or at least without a receive.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::CANCELED) => {
                    if rests && filled == 0 {
                        return Ok(Filled::Quiet);
                    }
                    held = (filled > 0).then_some(buffer);
                    self.down.stream.readable(false).await?;
                }
                Err(_) => return Err(Over),
            }
        }
    }

    /// The client sends no more. Half a request that took too long is told so.
    async fn ended(&mut self, received: Buffer) -> Result<Option<Buffer>, Over> {
        let late = self.down.seat.phase() == Phase::Overdue && !received.is_empty();
        drop(received);
        if late {
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

/// What a client is told that speaks plain HTTP where TLS is spoken.
const PLAIN_TO_TLS: &str = "this port speaks TLS, not plain HTTP; ask for https://";

/// Batches of answers between two yields.
const BATCHES_PER_TURN: u32 = 32;
