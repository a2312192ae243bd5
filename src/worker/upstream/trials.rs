//! Origins that do what a test says, asked by real workers on every driver.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream as Peer};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};

use super::*;
use crate::messages::keyring::Keyring;
use crate::messages::meters::Meters;
use crate::messages::order::Order;
use crate::pure::oci::backend::Scheme;
use crate::worker::driver::Driver;
use crate::worker::trial::{drivers, errand, snapshot, workers};
use crate::worker::within::within;

#[test]
fn a_connection_is_used_again() {
    for driver in drivers() {
        let origin = origin(|_, talk| {
            while let Some(head) = talk.hear() {
                talk.say(if head.starts_with("HEAD") { HEAD_OF_5 } else { HELLO });
            }
        });
        let address = origin.address;
        let (told, meters) = trial(driver, move |worker| async move {
            let mut told = Vec::new();
            for request in [get(address, "/a"), head(address, "/b?c=d"), get(address, "/")] {
                told.push(whole(&worker, &request).await);
            }
            told
        });
        assert_eq!(told, ["200 hello", "200 ", "200 hello"], "{driver}");
        let asked = |line: &str, number| {
            (
                number,
                format!("{line} HTTP/1.1\r\nhost: {address}\r\naccept: a/b\r\naccept: */*\r\n\r\n"),
            )
        };
        assert_eq!(
            origin.asked(),
            [asked("GET /a", 0), asked("HEAD /b?c=d", 0), asked("GET /", 0)]
        );
        assert_eq!(connections(&meters), "1 opened, 2 used again, 0 stale");
        assert_eq!(meters.counter(Counter::UpstreamAnswers2xx), 3);
    }
}

#[test]
fn a_connection_that_was_closed_unheard_is_done_without_once() {
    for driver in drivers() {
        // The first connection answers one request and is closed when the next one has come; from
        // the fourth on they are closed at once.
        let origin = origin(|number, talk| {
            if talk.hear().is_some() && number < 3 {
                talk.say(HELLO);
                talk.hear();
            }
        });
        let address = origin.address;
        let (told, meters) = trial(driver, move |worker| async move {
            let mut told = Vec::new();
            for target in ["/1", "/2", "/3", "/4", "/5"] {
                told.push(whole(&worker, &get(address, target)).await);
            }
            told
        });
        let unheard = "UpstreamUnreachable a connection that is dropped";
        assert_eq!(told, ["200 hello", "200 hello", "200 hello", unheard, unheard], "{driver}");
        let asked: Vec<_> = origin
            .asked()
            .into_iter()
            .map(|(number, head)| format!("{number} {}", head.split(' ').nth(1).unwrap()))
            .collect();
        assert_eq!(asked, ["0 /1", "0 /2", "1 /2", "1 /3", "2 /3", "2 /4", "3 /4", "4 /5"]);
        assert_eq!(connections(&meters), "5 opened, 3 used again, 3 stale");
    }
}

#[test]
fn a_connection_with_anything_unread_or_doubtful_is_never_used_again() {
    for driver in drivers() {
        for answer in [
            // Closed, or as good as that.
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            // A body where none may be.
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
            // More behind it.
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n",
        ] {
            let origin = origin(move |_, talk| {
                while talk.hear().is_some() {
                    talk.say(answer);
                }
            });
            let address = origin.address;
            trial(driver, move |worker| async move {
                whole(&worker, &get(address, "/1")).await;
                whole(&worker, &get(address, "/2")).await;
            });
            let numbers: Vec<_> = origin.asked().into_iter().map(|(number, _)| number).collect();
            assert_eq!(numbers, [0, 1], "{driver}: {answer}");
        }
    }
}

#[test]
fn what_comes_unasked_spoils_an_idle_connection() {
    for driver in drivers() {
        let (idle, is_idle) = bounded(MANY);
        let (unasked, came) = bounded(MANY);
        let origin = origin(move |_, talk| {
            talk.hear();
            talk.say(HELLO);
            is_idle.recv().unwrap();
            talk.say("HTTP/1.1 408 Request Timeout\r\n\r\n");
            unasked.send(()).unwrap();
            talk.hear();
        });
        let address = origin.address;
        trial(driver, move |worker| async move {
            for target in ["/1", "/2"] {
                assert_eq!(whole(&worker, &get(address, target)).await, "200 hello");
                idle.send(()).unwrap();
                came.recv().unwrap();
            }
        });
        let numbers: Vec<_> = origin.asked().into_iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [0, 1], "{driver}");
    }
}

#[test]
fn who_does_not_answer_in_time_is_not_waited_for() {
    for driver in drivers() {
        let origin = origin(|_, talk| {
            let head = talk.hear().unwrap();
            if head.contains("/drips") {
                talk.say("HTTP/1.1 200 OK\r\nA: ");
                while talk.try_say("b") && talk.is_quiet_for_a_while() {}
            } else if head.contains("/stops") {
                talk.say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe");
                talk.hear();
            } else {
                talk.hear();
            }
        });
        let address = origin.address;
        let (told, _) = trial(driver, move |worker| async move {
            let mut told = Vec::new();
            for target in ["/silent", "/drips", "/stops"] {
                told.push(whole(&worker, &get(address, target)).await);
            }
            assert_eq!(worker.upstream_slots.taken(), 0);
            told
        });
        let late = "UpstreamTimeout a head that does not come";
        assert_eq!(told, [late, late, "UpstreamTimeout a body that does not go on"], "{driver}");
    }
}

#[test]
fn a_request_that_nobody_waits_for_any_more_leaves_nothing_behind() {
    for driver in drivers() {
        let (gone, seen) = bounded(MANY);
        let origin = origin(move |_, talk| {
            talk.hear();
            gone.send(talk.hear()).unwrap();
        });
        let address = origin.address;
        trial(driver, move |worker| async move {
            let (adopted, request) = (worker.snapshot(), get(address, "/"));
            let mut asking = Box::pin(ask(&worker, &adopted, &request));
            while worker.upstream_slots.taken() == 0 {
                assert!(within(&worker, 1, &mut asking).await.is_none());
            }
            drop(asking);
            assert_eq!(worker.upstream_slots.taken(), 0);
            while seen.is_empty() {
                worker.next_sweep().await;
            }
            assert_eq!(seen.recv(), Ok(None));
            assert_eq!(worker.meters.counter(Counter::UpstreamConnectionsOpened), 1);
        });
    }
}

#[test]
fn nothing_is_sent_where_it_may_not_go() {
    for driver in drivers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asks = errand(move |worker: Rc<Worker>| async move {
            let mut told = Vec::new();
            for host in ["127.0.0.1", "localhost", "127.1", "[::ffff:127.0.0.1]", "[2002:7f00:1::]"]
            {
                let origin = Origin { scheme: Scheme::Http, host: host.into(), port };
                told.push(whole(&worker, &Request { origin, ..get(ANYWHERE, "/") }).await);
            }
            told
        });
        let told = workers(driver, &snapshot(""), &Arc::new(Keyring::bare()), vec![asks]).remove(0);
        assert_eq!(told.0, ["UpstreamForbidden an address that is not public"; 5], "{driver}");
        listener.set_nonblocking(true).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "{driver}");
    }
}

#[test]
fn who_cannot_be_found_or_reached_is_said() {
    for driver in drivers() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (told, meters) = trial(driver, move |worker| async move {
            let host = "no-such-name.invalid".into();
            let nobody = Origin { scheme: Scheme::Http, host, port: 80 };
            let nobody = Request { origin: nobody, ..get(closed, "/") };
            [whole(&worker, &get(closed, "/")).await, whole(&worker, &nobody).await]
        });
        let expected = [
            "UpstreamUnreachable no address takes a connection",
            "UpstreamName a name that is not found",
        ];
        assert_eq!(told, expected, "{driver}");
        assert_eq!(meters.counter(Counter::NamesFailed), 1);
        assert_eq!(meters.counter(Counter::UpstreamFailed), 2);
    }
}

#[test]
fn an_address_that_swallows_everything_is_not_waited_for_long() {
    for driver in drivers() {
        let origin = origin(|_, talk| {
            talk.hear();
            talk.say(HELLO);
        });
        let (closed, good) = (ANYWHERE, origin.address);
        let swallowing = Swallowing::new();
        let address = swallowing.address;
        trial(driver, move |worker| async move {
            for addresses in [vec![address, good], vec![closed, good], vec![good, address]] {
                let began = worker.clock.sweep();
                let stream = dial::first_of(&worker, addresses.into_iter()).await.unwrap();
                assert_eq!(stream.peer_addr().unwrap(), good);
                assert!(worker.clock.sweep() - began < 600, "the system would take two minutes");
            }
        });
    }
}

#[test]
fn bodies_are_read_whole_or_not_at_all() {
    let length = |length: usize, body: &str| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let chunked =
        |body: &str| format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
    let long = "x".repeat(40_000);
    let cases = [
        (length(5, "hello"), "200 hello"),
        (length(0, ""), "200 "),
        (length(40_000, &long), "200 xx… of 40000"),
        (chunked("5\r\nhello\r\n0\r\n\r\n"), "200 hello"),
        (chunked("0\r\n\r\n"), "200 "),
        (chunked("1;a=\"b\"\r\nh\r\n04\r\nello\r\n0\r\nTrailer: c\r\n\r\n"), "200 hello"),
        (chunked(&format!("9c40\r\n{long}\r\n0\r\n\r\n")), "200 xx… of 40000"),
        ("HTTP/1.1 200 OK\r\n\r\nhello".to_owned(), "200 hello"),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), "204 "),
        (
            "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n".repeat(2) + &length(5, "hello"),
            "200 hello",
        ),
        (
            "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100) + &length(5, "hello"),
            "UpstreamMalformed one interim answer after another",
        ),
        (length(9, "hello"), "UpstreamMalformed less body than it announced"),
        (length(4, "hello"), "UpstreamMalformed more body than it announced"),
        (length(50_001, &long), "UpstreamTooLarge a body that is too long"),
        (
            format!("HTTP/1.1 200 OK\r\n\r\n{long}{long}"),
            "UpstreamTooLarge a body that is too long",
        ),
        (
            chunked(&"9c40\r\n".replace("9c40", "ffffffff")),
            "UpstreamMalformed less body than it announced",
        ),
        (
            chunked(&format!("9c40\r\n{long}\r\n").repeat(2)),
            "UpstreamTooLarge a body that is too long",
        ),
        (chunked("5\nhello\n0\n\n"), "UpstreamMalformed"),
        (chunked("5\r\nhello\r\n"), "UpstreamMalformed less body than it announced"),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
            "UpstreamMalformed several Content-Length fields",
        ),
        (
            format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(200 * 1024)),
            "UpstreamTooLarge a head that is too long",
        ),
        ("HTTP/1.1 200 OK\r\nContent-".to_owned(), "UpstreamUnreachable a head that breaks off"),
    ];
    for driver in drivers() {
        let answers: Vec<String> = cases.iter().map(|(answer, _)| answer.clone()).collect();
        let origin = origin(move |_, talk| {
            let head = talk.hear().unwrap();
            let number: usize = head[5..head.find(" HTTP").unwrap()].parse().unwrap();
            talk.try_say(&answers[number]);
        });
        let (address, count) = (origin.address, cases.len());
        let (told, _) = trial(driver, move |worker| async move {
            let mut told = Vec::new();
            for number in 0..count {
                told.push(whole(&worker, &get(address, &format!("/{number}"))).await);
            }
            told
        });
        for ((answer, expected), told) in cases.iter().zip(told) {
            let answer = &answer[..answer.len().min(100)];
            assert!(told.starts_with(expected), "{driver}: {answer:?}: {told}");
        }
    }
}

#[test]
fn a_small_body_that_nobody_wants_costs_no_connection() {
    for driver in drivers() {
        let (continued, go_on) = bounded::<()>(MANY);
        let origin = origin(move |_, talk| {
            while let Some(head) = talk.hear() {
                if head.contains("/large") {
                    talk.say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 99999999\r\n\r\nx");
                } else {
                    talk.say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 5\r\n\r\nhe");
                    go_on.recv().unwrap();
                    talk.say("llo");
                }
            }
        });
        let address = origin.address;
        let (_, meters) = trial(driver, move |worker| async move {
            for target in ["/small", "/small", "/large"] {
                let answer = ask(&worker, &worker.snapshot(), &get(address, target)).await.unwrap();
                answer.discard(&worker);
                continued.send(()).unwrap();
                while worker.upstream_slots.taken() > 0 {
                    worker.next_sweep().await;
                }
            }
            // The large one's connection is closed.
            continued.send(()).unwrap();
            ask(&worker, &worker.snapshot(), &get(address, "/small"))
                .await
                .unwrap()
                .discard(&worker);
        });
        assert_eq!(connections(&meters), "2 opened, 2 used again, 0 stale", "{driver}");
    }
}

#[test]
fn connections_do_not_outlive_their_configuration_or_their_idle_time() {
    for driver in drivers() {
        let origin = origin(|_, talk| {
            while talk.hear().is_some() {
                talk.say(HELLO);
            }
        });
        let address = origin.address;
        trial(driver, move |worker| async move {
            let before = worker.snapshot();
            whole(&worker, &get(address, "/")).await;
            // One is under way while another configuration comes.
            let answer = ask(&worker, &before, &get(address, "/")).await.unwrap();
            worker.follow(Order::Adopt(snapshot(LOOPBACK), Arc::new(Keyring::bare())));
            answer.read_body(&worker, 5).await.unwrap();
            let idle =
                || worker.meters.gauge(crate::messages::meters::Gauge::UpstreamConnectionsIdle);
            whole(&worker, &get(address, "/")).await;
            assert_eq!(connections(&worker.meters), "2 opened, 1 used again, 0 stale");
            while idle() == 0 {
                worker.next_sweep().await;
            }
            // Nobody uses it for a second.
            while idle() > 0 {
                worker.next_sweep().await;
            }
        });
    }
}

const HELLO: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
const HEAD_OF_5: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";

/// More than anybody says.
const MANY: usize = 1000;

/// With which the other side gives up soon, and loopback may be asked.
pub(super) const LOOPBACK: &str = "[upstream]\nallow_private = [\"127.0.0.0/8\"]\n\
                        first_byte_timeout = \"1s\"\nidle_timeout = \"1s\"\n";

/// Where nobody listens.
const ANYWHERE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

/// Lets a worker do something that may ask loopback. Returns what came of it and its meters.
fn trial<T: Send, F: Future<Output = T> + 'static>(
    driver: Driver,
    does: impl FnOnce(Rc<Worker>) -> F + Send + 'static,
) -> (T, Arc<Meters>) {
    let keyring = Arc::new(Keyring::bare());
    workers(driver, &snapshot(LOOPBACK), &keyring, vec![errand(does)]).remove(0)
}

/// Asks, reads the body, and tells what came.
pub(super) async fn whole(worker: &Rc<Worker>, request: &Request) -> String {
    let answer = match ask(worker, &worker.snapshot(), request).await {
        Ok(answer) => answer,
        Err(fault) => return format!("{:?} {}", fault.kind, fault.detail),
    };
    let status = answer.head.status;
    match answer.read_body(worker, 50_000).await {
        Ok(body) if body.len() > 100 => {
            format!("{status} {}… of {}", String::from_utf8_lossy(&body[..2]), body.len())
        }
        Ok(body) => format!("{status} {}", String::from_utf8_lossy(&body)),
        Err(fault) => format!("{:?} {}", fault.kind, fault.detail),
    }
}

pub(super) fn connections(meters: &Meters) -> String {
    format!(
        "{} opened, {} used again, {} stale",
        meters.counter(Counter::UpstreamConnectionsOpened),
        meters.counter(Counter::UpstreamConnectionsReused),
        meters.counter(Counter::UpstreamConnectionsStale)
    )
}

pub(super) fn get(address: SocketAddr, target: &str) -> Request {
    let mut fields = HeaderMap::new();
    fields.append(ACCEPT, HeaderValue::from_static("a/b"));
    fields.append(ACCEPT, HeaderValue::from_static("*/*"));
    let (host, port) = (address.ip().to_string(), address.port());
    let origin = Origin { scheme: Scheme::Http, host, port };
    Request { origin, registry: None, method: Method::Get, target: target.to_owned(), fields }
}

fn head(address: SocketAddr, target: &str) -> Request {
    Request { method: Method::Head, ..get(address, target) }
}

/// An origin on loopback.
struct Scripted {
    address: SocketAddr,
    asked: Receiver<(usize, String)>,
}

impl Scripted {
    /// What it was asked, with the numbers of the connections.
    fn asked(&self) -> Vec<(usize, String)> {
        self.asked.try_iter().collect()
    }
}

/// What one of its connections is to its script.
struct Talk {
    stream: Peer,
    number: usize,
    ask: Sender<(usize, String)>,
}

/// An origin whose connections are served by `script` in threads of their own, numbered from 0.
fn origin(script: impl Fn(usize, &mut Talk) + Send + Sync + 'static) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (ask, asked) = bounded(MANY);
    let script = Arc::new(script);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut talk = Talk { stream: stream.unwrap(), number, ask: ask.clone() };
            let script = Arc::clone(&script);
            thread::spawn(move || script(number, &mut talk));
        }
    });
    Scripted { address, asked }
}

impl Talk {
    /// The next head, or `None` at the end.
    fn hear(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if self.stream.read(&mut byte).unwrap_or(0) == 0 {
                return None;
            }
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap();
        let _ = self.ask.send((self.number, head.clone()));
        Some(head)
    }

    fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// Says something to who may not listen any more.
    fn try_say(&mut self, text: &str) -> bool {
        self.stream.write_all(text.as_bytes()).is_ok()
    }

    /// Whether the other side neither says something nor ends for a tenth of a second.
    fn is_quiet_for_a_while(&mut self) -> bool {
        self.stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        self.stream.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

/// An address that takes no connection and refuses none: its queue is full.
struct Swallowing {
    address: SocketAddr,
    _held: (socket2::Socket, Vec<socket2::Socket>),
}

impl Swallowing {
    fn new() -> Self {
        use socket2::{Domain, Socket, Type};

        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let waiting = (0..8).map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address.into());
            socket
        });
        let waiting = waiting.collect();
        Self { address, _held: (listener, waiting) }
    }
}
