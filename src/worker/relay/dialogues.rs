//! Bodies between real sockets, on both drivers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream as Peer};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use monoio::io::{AsyncReadRentExt, AsyncWriteRentExt};
use rustix::fs::{Mode, OFlags, fcntl_getfl, open};
use socket2::SockRef;

use super::*;
use crate::pure::config::values::Driver as Wanted;
use crate::pure::http1::body::TOO_LONG;
use crate::worker::buffers::Pool;
use crate::worker::downstream::Sink;
use crate::worker::driver::Driver;
use crate::worker::slots::{Patience, Slots};

#[test]
fn bodies_of_any_length_come_out_whole() {
    let lengths = [0, 1, KIB64 - 1, KIB64, KIB64 + 1, 10 * 1024 * 1024];
    for (scene, length) in scenes().flat_map(|scene| lengths.map(|length| (scene, length))) {
        let scene = Scene { from: scene.announcing(length), ..scene };
        for rest_max in [0, 700] {
            let mut wire = scene.wire(&bytes(length));
            let sent = wire.split_off(rest_max.min(wire.len()));
            let outcome = scene.stream(
                &wire,
                move |mut registry| {
                    // In pieces of many lengths.
                    let mut sent = sent.as_slice();
                    for piece in [1, 2, 1447, 9, 40_000, 300_000].iter().cycle() {
                        let (now, later) = sent.split_at(sent.len().min(*piece));
                        registry.write_all(now).unwrap();
                        sent = later;
                        if sent.is_empty() {
                            break;
                        }
                    }
                },
                move |mut client| {
                    let mut seen = Vec::new();
                    client.read_to_end(&mut seen).unwrap();
                    seen
                },
            );
            let case = format!("{scene:?}, {length} bytes");
            assert_eq!(outcome.streamed, Ok(()), "{case}");
            assert!(scene.unwrapped(&outcome.client) == bytes(length), "{case}");
            let counted = |counter| outcome.meters.counter(counter);
            assert_eq!(counted(Counter::StreamsWhole), 1);
            assert_eq!(counted(Counter::BytesSent), outcome.client.len() as u64);
            let spliced = counted(Counter::StreamedBytesSpliced);
            assert_eq!(spliced + counted(Counter::StreamedBytesCopied), length as u64, "{case}");
            assert_eq!(spliced > 0, scene.is_spliced() && length > rest_max, "{case}");
        }
    }
}

#[test]
fn a_slow_reader_is_not_run_ahead_of_however_long_the_body_or_a_chunk_is() {
    for scene in scenes().filter(|scene| scene.from != Framing::UntilClose) {
        let scene = Scene { from: scene.announcing(GIB), ..scene };
        let (accepted, may_read) = bounded(1);
        let outcome = scene.stream(
            b"",
            move |mut registry| {
                if scene.from == Framing::Chunked {
                    registry.write_all(format!("{GIB:x}\r\n").as_bytes()).unwrap();
                }
                // Until nothing is taken for so long that the reader must be what holds it up. A
                // machine too busy to take anything makes this test easier, never harder.
                registry.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
                let (mut written, supply) = (0, bytes(KIB64));
                while written < 1 << 26 {
                    match registry.write(&supply[written % KIB64..]) {
                        Ok(now) => written += now,
                        Err(_) => break,
                    }
                }
                accepted.send(written).unwrap();
                written
            },
            move |mut client| {
                let written = may_read.recv().unwrap();
                let mut seen = Vec::new();
                let _ = client.read_to_end(&mut seen);
                (written, seen)
            },
        );
        // The system lets a buffer be exceeded by the segment that fills it.
        let bound = UNDER_WAY_BYTES + 4 * (SOCKET_BYTES + KIB64);
        assert!(outcome.registry <= bound, "{scene:?}: {} bytes ahead", outcome.registry);
        assert_eq!(outcome.streamed, Err(Broke::Upstream(TOO_SHORT)), "{scene:?}");
        let (written, seen) = outcome.client;
        let seen = scene.unwrapped(&seen);
        let expected: Vec<u8> = bytes(KIB64).into_iter().cycle().take(written).collect();
        assert!(seen == expected, "{scene:?}: {} of {written} bytes", seen.len());
    }
}

#[test]
fn one_chunk_of_any_length_goes_through() {
    const LENGTH: usize = 1 << 28;
    for driver in drivers() {
        let scene = Scene { driver, from: Framing::Chunked, to: ClientFraming::Chunked };
        let outcome = scene.stream(
            b"",
            |mut registry| {
                registry.write_all(format!("{LENGTH:x}\r\n").as_bytes()).unwrap();
                let supply = bytes(KIB64);
                for _ in 0..LENGTH / KIB64 {
                    registry.write_all(&supply).unwrap();
                }
                registry.write_all(b"\r\n0\r\n\r\n").unwrap();
            },
            |mut client| {
                let (mut read, mut buffer) = (0, vec![0; KIB64]);
                let mut end = Vec::new();
                loop {
                    match client.read(&mut buffer).unwrap() {
                        0 => return (read, end),
                        bytes => {
                            read += bytes;
                            end.extend_from_slice(&buffer[bytes.saturating_sub(5)..bytes]);
                            end.drain(..end.len().saturating_sub(5));
                        }
                    }
                }
            },
        );
        assert_eq!(outcome.streamed, Ok(()));
        assert_eq!(outcome.meters.counter(Counter::StreamedBytesCopied), LENGTH as u64);
        assert_eq!(outcome.client.1, b"0\r\n\r\n");
        assert_eq!(outcome.meters.counter(Counter::BytesSent), outcome.client.0 as u64);
    }
}

#[test]
fn a_registry_that_breaks_off_leaves_the_client_a_short_body() {
    for scene in scenes() {
        let scene = Scene { from: scene.announcing(KIB64), ..scene };
        for resets in [false, true] {
            let mut wire = scene.wire(&bytes(KIB64));
            wire.truncate(wire.len() / 2);
            if scene.from == Framing::UntilClose && !resets {
                continue; // That is how such a body ends.
            }
            let (seen_some, may_break) = bounded(1);
            let outcome = scene.stream(
                b"",
                move |mut registry| {
                    registry.write_all(&wire).unwrap();
                    may_break.recv().unwrap();
                    if resets {
                        SockRef::from(&registry).set_linger(Some(Duration::ZERO)).unwrap();
                    }
                },
                move |mut client| {
                    let mut seen = vec![0; 1000];
                    client.read_exact(&mut seen).unwrap();
                    seen_some.send(()).unwrap();
                    client.read_to_end(&mut seen).unwrap();
                    seen
                },
            );
            assert_eq!(outcome.streamed, Err(Broke::Upstream(TOO_SHORT)), "{scene:?}");
            assert_eq!(outcome.meters.counter(Counter::StreamsBrokenByUpstream), 1);
            let seen = scene.unwrapped(&outcome.client);
            assert!(seen.len() < KIB64 && bytes(KIB64).starts_with(&seen), "{scene:?}");
            if scene.to == ClientFraming::Chunked {
                assert!(!outcome.client.ends_with(b"0\r\n\r\n"), "{scene:?}");
            }
        }
    }
}

#[test]
fn more_than_was_announced_is_broken_off_before_the_last_piece() {
    for scene in scenes().filter(|scene| scene.from != Framing::UntilClose) {
        let scene = Scene { from: scene.announcing(5), ..scene };
        let mut wire = scene.wire(b"layer");
        wire.extend_from_slice(b"!");
        for rest in [0, wire.len() - 1, wire.len()] {
            let sent = wire[rest..].to_vec();
            let outcome = scene.stream(
                &wire[..rest],
                move |mut registry| {
                    registry.write_all(&sent).unwrap();
                    // The connection stays until the gateway ends it.
                    let _ = registry.read(&mut [0]);
                },
                |mut client| {
                    let mut seen = Vec::new();
                    client.read_to_end(&mut seen).unwrap();
                    seen
                },
            );
            // What came with the head may be all, by then, that has come.
            if rest != wire.len() - 1 || outcome.streamed.is_err() {
                assert_eq!(outcome.streamed, Err(Broke::Upstream(TOO_LONG)), "{scene:?}");
                assert_eq!(scene.unwrapped(&outcome.client), b"", "{scene:?}");
            }
        }
    }
}

#[test]
fn a_client_that_goes_away_ends_the_reading_even_while_nothing_comes() {
    for scene in scenes() {
        let scene = Scene { from: scene.announcing(GIB), ..scene };
        let outcome = scene.stream(
            b"",
            move |mut registry| {
                if scene.from == Framing::Chunked {
                    registry.write_all(b"40000000\r\n").unwrap();
                }
                registry.write_all(&bytes(1000)).unwrap();
                // Until the gateway closes the connection.
                let _ = registry.read(&mut [0]);
            },
            |mut client| client.read_exact(&mut [0; 1000]).unwrap(),
        );
        assert_eq!(outcome.streamed, Err(Broke::Client), "{scene:?}");
        assert_eq!(outcome.meters.counter(Counter::StreamsBrokenByClient), 1);
    }
}

#[test]
fn a_client_that_has_sent_its_next_request_is_still_there() {
    for scene in scenes() {
        let scene = Scene { from: scene.announcing(KIB64), ..scene };
        let wire = scene.wire(&bytes(KIB64));
        let (asked, may_send) = bounded(1);
        let outcome = scene.stream(
            b"",
            move |mut registry| {
                may_send.recv().unwrap();
                registry.write_all(&wire).unwrap();
            },
            move |mut client| {
                client.write_all(b"GET /v2/ HTTP/1.1\r\n").unwrap();
                asked.send(()).unwrap();
                let mut seen = Vec::new();
                // The request is unread when the connection is closed here: a reset may follow.
                let _ = client.read_to_end(&mut seen);
            },
        );
        assert_eq!(outcome.streamed, Ok(()), "{scene:?}");
    }
}

/// On a ring: an endless source and a sink that takes everything leave nothing to wait for, and a
/// ring completes nothing unless it is waited on.
#[test]
fn a_stream_that_never_waits_lets_the_others_have_their_turns() {
    let driver = Driver::choose(Wanted::IoUring).unwrap();
    let scene = Scene { driver, from: Framing::Length(1 << 29), to: ClientFraming::Length };
    let endless = |path| Peer::from(open(path, OFlags::RDWR, Mode::empty()).unwrap());
    let neighbour = move || async move {
        let (near, far) = pair();
        let (mut near, mut far) = (scene.adopt(near), scene.adopt(far));
        for _ in 0..20 {
            near.write_all(b"x").await.0.unwrap();
            far.read_exact(vec![0; 1]).await.0.unwrap();
        }
    };
    let whole = driver.run(async {
        let (source, sink) = (scene.adopt(endless("/dev/zero")), scene.adopt(endless("/dev/null")));
        let slots = Rc::new(Slots::default());
        let (upstream, client) = (slots.seat(&source, 0), slots.seat(&sink, 0));
        let (usher, pool, pipes) =
            (Rc::new(Usher::default()), Rc::new(Pool::default()), Rc::default());
        let ushering = Rc::clone(&usher);
        monoio::spawn(async move { ushering.run().await });
        let (clock, meters, in_turn) = (Clock::default(), Meters::new(), Cell::new(0));
        let pace = Pace {
            clock: &clock,
            meters: &meters,
            usher: &usher,
            client: Some(&client),
            upstream: &upstream,
            in_turn,
            passed: &Cell::new(0),
        };
        let stream = scene.of(&pace, &pipes, &sink);
        let mut link = Link::nowhere(source);
        // What a client of its own is watched for, /dev/null knows nothing of.
        let passed = stream.pass(&mut link, pool.lend());
        unless(monoio::spawn(neighbour()), passed).await
    });
    assert_eq!(whole.unwrap(), None, "the stream ended before twenty round trips beside it did");
}

#[test]
fn who_is_waited_for_too_long_is_who_broke_it_off() {
    for scene in scenes() {
        let scene = Scene { from: scene.announcing(GIB), ..scene };
        // A registry of which nothing comes; the client's patience is not what ends it.
        let silent = scene.stream_beside(
            b"",
            |slots, _, upstream| {
                let is_waited_for = upstream.phase() == Phase::Writing;
                slots.sweep(1_000_000, &PATIENCE, |phase| assert_eq!(phase, Phase::Writing));
                is_waited_for
            },
            |mut registry| drop(registry.read(&mut [0])),
            |mut client| drop(client.read(&mut [0])),
        );
        assert_eq!(silent.streamed, Err(Broke::Upstream(TOO_LATE)), "{scene:?}");
        // A client that takes nothing.
        let (over, is_over) = bounded::<()>(0);
        let slow = scene.stream_beside(
            b"",
            |slots, client, _| {
                let is_waited_for = client.phase() == Phase::Writing;
                if is_waited_for {
                    slots.end_all(&[Phase::Writing]);
                }
                is_waited_for
            },
            move |mut registry| {
                let supply = bytes(KIB64);
                let _ = registry.write_all(format!("{GIB:x}\r\n").as_bytes());
                while registry.write_all(&supply).is_ok() {}
                drop(over);
            },
            move |client| {
                let _ = is_over.recv();
                drop(client);
            },
        );
        assert_eq!(slow.streamed, Err(Broke::Client), "{scene:?}");
    }
}

/// One way for a body to come and go.
#[derive(Clone, Copy, Debug)]
struct Scene {
    driver: Driver,
    from: Framing,
    to: ClientFraming,
}

/// What became of it, and what either side has to tell.
struct Outcome<R, C> {
    streamed: Result<(), Broke>,
    registry: R,
    client: C,
    meters: Arc<Meters>,
}

/// What happens in the worker beside the stream, again and again until it says that it is done: it
/// sees the slots, the client's seat and the registry's.
type Beside = fn(&Slots, &Seat, &Seat) -> bool;

/// Every way, on both drivers; the length is still to be announced.
fn scenes() -> impl Iterator<Item = Scene> {
    drivers().into_iter().flat_map(|driver| {
        [
            (Framing::Length(0), ClientFraming::Length),
            (Framing::UntilClose, ClientFraming::UntilClose),
            (Framing::Chunked, ClientFraming::UntilClose),
            (Framing::Chunked, ClientFraming::Chunked),
            (Framing::Length(0), ClientFraming::Chunked),
            (Framing::UntilClose, ClientFraming::Chunked),
        ]
        .map(|(from, to)| Scene { driver, from, to })
    })
}

fn drivers() -> [Driver; 2] {
    [Driver::Epoll, Driver::choose(Wanted::IoUring).unwrap()]
}

impl Scene {
    fn is_spliced(self) -> bool {
        self.from != Framing::Chunked && self.to != ClientFraming::Chunked
    }

    /// The registry's framing for a body of `length` bytes.
    fn announcing(self, length: usize) -> Framing {
        match self.from {
            Framing::Length(_) => Framing::Length(length as u64),
            Framing::None | Framing::Chunked | Framing::UntilClose => self.from,
        }
    }

    /// `body` as the registry sends it.
    fn wire(self, body: &[u8]) -> Vec<u8> {
        if self.from != Framing::Chunked {
            return body.to_vec();
        }
        let mut wire = Vec::new();
        for chunk in body.chunks(100_003) {
            wire.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        wire
    }

    /// The body that a client finds in what it has `seen`, which may end anywhere.
    fn unwrapped(self, mut seen: &[u8]) -> Vec<u8> {
        if self.to != ClientFraming::Chunked {
            return seen.to_vec();
        }
        let mut body = Vec::new();
        while let Some(end) = seen.windows(2).position(|two| two == b"\r\n") {
            let size = std::str::from_utf8(&seen[..end]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let chunk = &seen[end + 2..];
            body.extend_from_slice(&chunk[..size.min(chunk.len())]);
            seen = chunk.get(size + 2..).unwrap_or_default();
        }
        body
    }

    /// Streams `rest`, and then what `registry` sends, to `client`; both have a thread of their own.
    fn stream<R: Send + 'static, C: Send + 'static>(
        self,
        rest: &[u8],
        registry: impl FnOnce(Peer) -> R + Send + 'static,
        client: impl FnOnce(Peer) -> C + Send + 'static,
    ) -> Outcome<R, C> {
        self.stream_beside(rest, |_, _, _| true, registry, client)
    }

    fn stream_beside<R: Send + 'static, C: Send + 'static>(
        self,
        rest: &[u8],
        beside: Beside,
        registry: impl FnOnce(Peer) -> R + Send + 'static,
        client: impl FnOnce(Peer) -> C + Send + 'static,
    ) -> Outcome<R, C> {
        let ((up, origin), (down, reader)) = (pair(), pair());
        let registry = thread::spawn(move || registry(origin));
        let client = thread::spawn(move || client(reader));
        let meters = Meters::new();
        let streamed = self.driver.run(self.run(up, down, rest, beside, &meters)).unwrap();
        assert_eq!(meters.gauge(Gauge::StreamsOpen), 0);
        let (registry, client) = (registry.join().unwrap(), client.join().unwrap());
        Outcome { streamed, registry, client, meters }
    }

    async fn run(
        self,
        up: Peer,
        down: Peer,
        rest: &[u8],
        beside: Beside,
        meters: &Meters,
    ) -> Result<(), Broke> {
        let usher = Rc::new(Usher::default());
        let ushering = Rc::clone(&usher);
        monoio::spawn(async move { ushering.run().await });
        let (up, client) = (self.adopt(up), self.adopt(down));
        let slots = Rc::new(Slots::default());
        let (upstream_seat, client_seat) = (slots.seat(&up, 0), slots.seat(&client, 0));
        let mut link = Link::nowhere(up);
        let flags = |link: &Link| {
            [link.plain().unwrap(), &client].map(|socket| fcntl_getfl(descriptor(socket)).unwrap())
        };
        let before = flags(&link);
        let clock = Clock::default();
        let pace = Pace {
            clock: &clock,
            meters,
            usher: &usher,
            client: Some(&client_seat),
            upstream: &upstream_seat,
            in_turn: Cell::new(0),
            passed: &Cell::new(0),
        };
        let (pipes, pool) = (Rc::default(), Rc::new(Pool::default()));
        let stream = self.of(&pace, &pipes, &client);
        let mut buffer = pool.lend();
        buffer.all_mut()[..rest.len()].copy_from_slice(rest);
        buffer.set_filled(rest.len());
        let spare = self.adopt(pair().0);
        let watching = async {
            while !beside(&slots, &client_seat, &upstream_seat) {
                usher.wait().await;
                // A ring has to be waited on, or nothing comes.
                spare.writable(false).await.unwrap();
            }
            pending().await
        };
        let streamed = unless(watching, stream.run(&mut link, buffer)).await.unwrap();
        assert_eq!(flags(&link), before, "{self:?}");
        drop((upstream_seat, client_seat));
        drop((link, client));
        // Cancelling what was under way and closing take a round of the ring each.
        for _ in 0..4 {
            let _ = spare.writable(false).await;
        }
        streamed
    }

    fn of<'s>(self, pace: &'s Pace<'s>, pipes: &'s Rc<Pipes>, client: &'s TcpStream) -> Stream<'s> {
        let buffer_bytes = UNDER_WAY_BYTES;
        let client = Sink::Plain(client);
        Stream { pace, pipes, client, framing: self.from, to_client: self.to, buffer_bytes }
    }

    fn adopt(self, socket: Peer) -> TcpStream {
        // As the drivers' own sockets are.
        socket.set_nonblocking(self.driver == Driver::Epoll).unwrap();
        TcpStream::from_std(socket).unwrap()
    }
}

/// Both ends of a connection, with small buffers.
fn pair() -> (Peer, Peer) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = Peer::connect(listener.local_addr().unwrap()).unwrap();
    let (other, _) = listener.accept().unwrap();
    for socket in [&one, &other] {
        socket.set_nodelay(true).unwrap();
        // The system doubles it.
        SockRef::from(socket).set_send_buffer_size(SOCKET_BYTES / 2).unwrap();
        SockRef::from(socket).set_recv_buffer_size(SOCKET_BYTES / 2).unwrap();
    }
    (one, other)
}

/// Bytes of which hardly any two places look alike.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(0x9E37_79B1) >> 13).to_le_bytes()[0]).collect()
}

const PATIENCE: Patience =
    Patience { idle: u64::MAX, head: u64::MAX, streamless: u64::MAX, writing: 1, lingering: 1 };
const UNDER_WAY_BYTES: usize = 128 * 1024;
const SOCKET_BYTES: usize = 128 * 1024;
const KIB64: usize = 64 * 1024;
const GIB: usize = 1 << 30;
