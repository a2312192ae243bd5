//! What goes wrong behind the gateway, and what its clients then see: a clear refusal that names the
//! registry, or a body that ends short, so that they resume.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;

use crossbeam_channel::bounded;
use support::bench::{Bench, ask, config, is_refusal, request};
use support::eventually::eventually;
use support::free_address;
use support::gate::{Counts, DRIVERS, Gate};
use support::hosts::{GATEWAY, REGISTRY, REGISTRY_IP};
use support::images::image;
use support::origin::{Origin, Request};
use support::scripted::{give, serve};

#[test]
fn a_registry_that_refuses_connections_is_named() {
    for driver in DRIVERS {
        let nobody = free_address(REGISTRY_IP.into());
        let backend = format!("{REGISTRY}:{}", nobody.port());
        let mut gate = Gate::start_proxy(driver, &config("", BROKER, &backend));
        let answer = ask(&gate, "GET", "/v2/acme/rocket/manifests/latest", &[]);
        is_refusal(&answer, 502, "UNAVAILABLE", &backend);
        nothing_is_counted(&mut gate, "acme/rocket");
    }
}

#[test]
fn a_name_that_leads_nowhere_is_named() {
    for driver in DRIVERS {
        let mut gate = Gate::start_proxy(driver, &config("", BROKER, "nowhere.invalid"));
        let answer = ask(&gate, "GET", "/v2/acme/rocket/manifests/latest", &[]);
        is_refusal(&answer, 502, "UNAVAILABLE", "nowhere.invalid");
        nothing_is_counted(&mut gate, "acme/rocket");
    }
}

#[test]
fn of_several_addresses_one_that_answers_is_enough() {
    for driver in DRIVERS {
        let hello = image("hello");
        let registry = Origin::start(REGISTRY_IP, move |talk| {
            while let Some(request) = talk.request()? {
                serve(talk, &request, &hello)?;
            }
            Ok(())
        });
        for dead in ["::1", "127.0.0.6"] {
            let backend = format!("{REGISTRY}:{}", registry.address().port());
            let config = config("", BROKER, &backend)
                .replace("\"127.0.0.0/8\"", "\"127.0.0.0/8\", \"::1/128\"");
            let gate = Gate::start_among_names(driver, &config, |hosts| hosts.add(REGISTRY, dead));
            let answer = ask(&gate, "GET", "/v2/acme/rocket/manifests/latest", &[]);
            assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        }
    }
}

#[test]
fn a_registry_that_takes_no_connection_times_out() {
    for driver in DRIVERS {
        // Its queue of two is full, so the kernel answers nobody any more.
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let listener = listener.expect("a socket");
        let address = free_address(REGISTRY_IP.into());
        listener.bind(&address.into()).expect("an address of its own");
        listener.listen(0).expect("a queue of its own");
        let listener = TcpListener::from(listener);
        let mut waiting = Vec::new();
        let moment = std::time::Duration::from_millis(100);
        while let Ok(socket) = std::net::TcpStream::connect_timeout(&address, moment) {
            waiting.push(socket);
        }
        let backend = format!("{REGISTRY}:{}", address.port());
        let config = config("connect_timeout = \"1s\"\n", BROKER, &backend);
        let mut gate = Gate::start_proxy(driver, &config);
        let answer = ask(&gate, "GET", "/v2/acme/rocket/manifests/latest", &[]);
        is_refusal(&answer, 504, "UNAVAILABLE", &backend);
        nothing_is_counted(&mut gate, "acme/rocket");
        drop(listener);
    }
}

#[test]
fn a_registry_that_never_answers_times_out() {
    for driver in DRIVERS {
        let registry = Origin::start(REGISTRY_IP, |talk| {
            talk.request()?;
            talk.stall()
        });
        let mut bench = Bench::behind(registry, |backend| {
            let config = config("first_byte_timeout = \"1s\"\n", BROKER, backend);
            Gate::start_proxy(driver, &config)
        });
        for target in ["/v2/acme/rocket/manifests/latest", &format!("/v2/acme/rocket/blobs/{ANY}")]
        {
            is_refusal(&bench.get(target), 504, "UNAVAILABLE", REGISTRY);
        }
        nothing_is_counted(&mut bench.gate, "acme/rocket");
    }
}

#[test]
fn while_one_registry_is_silent_the_worker_serves_others() {
    for driver in DRIVERS {
        let (release, released) = bounded::<()>(1);
        let hello = image("hello");
        let bench = Bench::start(driver, "broker", move |talk| {
            while let Some(request) = talk.request()? {
                if request.target.contains("/slow/") {
                    released.recv().map_err(io::Error::other)?;
                }
                serve(talk, &request, &hello)?;
            }
            Ok(())
        });
        let mut slow = bench.connect();
        slow.send(&request("GET", "/v2/acme/slow/manifests/latest", &[])).expect("it is read");
        eventually(|| bench.has_arrived("/slow/"));
        assert_eq!(bench.get("/v2/acme/fast/manifests/latest").status, 200);
        release.send(()).expect("it waits");
        assert_eq!(slow.answer(false).expect("an answer").status, 200);
    }
}

#[test]
fn a_blob_that_breaks_off_ends_short_and_resumes_as_one_pull() {
    for (driver, delivery) in DRIVERS.iter().flat_map(|it| [(it, "broker"), (it, "stream")]) {
        let hello = image("hello");
        let blob = hello.platforms[0].layers[1].clone();
        let served = hello.clone();
        let mut bench = Bench::start(driver, delivery, move |talk| {
            while let Some(request) = talk.request()? {
                let blob = &served.platforms[0].layers[1];
                let is_whole =
                    request.target.ends_with(&blob.digest) && request.field("range").is_none();
                if is_whole {
                    let head =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blob.bytes.len());
                    talk.send(head)?;
                    return talk.send(&blob.bytes[..blob.bytes.len() / 2]);
                }
                serve(talk, &request, &served)?;
            }
            Ok(())
        });
        assert_eq!(bench.get("/v2/acme/rocket/manifests/latest").status, 200);
        let child = format!("/v2/acme/rocket/manifests/{}", hello.platforms[0].manifest.digest);
        assert_eq!(bench.get(&child).status, 200);
        let target = format!("/v2/acme/rocket/blobs/{}", blob.digest);
        let cut = bench.get(&target);
        assert_eq!((cut.status, cut.is_whole), (200, false));
        assert_eq!(cut.body, blob.bytes[..blob.bytes.len() / 2]);
        let range = format!("Range: bytes={}-", cut.body.len());
        let rest = bench.ask("GET", &target, &[&range]);
        assert_eq!((rest.status, rest.is_whole), (206, true));
        assert_eq!([cut.body, rest.body].concat(), blob.bytes);
        bench.gate.stop();
        let counts = bench.gate.counts(&format!("{GATEWAY}/acme/rocket"));
        assert_eq!(counts, Counts { requests: 2, pulls: 1, ..Counts::default() });
    }
}

#[test]
fn a_reset_in_the_middle_of_a_blob_shows() {
    for driver in DRIVERS {
        let bench = Bench::start(driver, "broker", |talk| {
            talk.request()?;
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nsome")?;
            talk.reset()
        });
        let mut connection = bench.connect();
        let target = format!("/v2/acme/rocket/blobs/{ANY}");
        connection.send(&request("GET", &target, &[])).expect("it is read");
        // Either the head was on its way already, or there is a refusal.
        match connection.answer(false) {
            Ok(answer) if answer.status == 200 => assert!(!answer.is_whole),
            Ok(answer) => assert_eq!(answer.status, 502),
            Err(problem) => panic!("no answer at all: {problem}"),
        }
    }
}

#[test]
fn a_connection_that_was_closed_meanwhile_is_replaced_without_a_word() {
    for driver in DRIVERS {
        let hello = image("hello");
        let bench = Bench::start(driver, "broker", move |talk| {
            let mut answered = 0;
            while let Some(request) = talk.request()? {
                let is_stale = answered > 0 && request.target.contains("/again/");
                if is_stale || request.target.contains("/never/") {
                    return Ok(());
                }
                serve(talk, &request, &hello)?;
                answered += 1;
            }
            Ok(())
        });
        let ask = |name: &str| bench.get(&format!("/v2/acme/{name}/manifests/latest")).status;
        assert_eq!(ask("first"), 200);
        let first = bench.asked().pop().expect("it arrived");
        assert_eq!(ask("again"), 200);
        let asked = bench.asked();
        assert_eq!(asked.len(), 2, "once on the old connection, once on a new one");
        assert_eq!(asked[0].connection, first.connection, "the connection was kept");
        assert_ne!(asked[1].connection, first.connection);
        // A new connection that ends without a word is not tried again.
        assert_eq!(ask("never"), 502);
        assert!(bench.asked().len() <= 2, "the old one, and one new one");
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_not_read() {
    for (driver, delivery) in [(DRIVERS[0], "broker"), (DRIVERS[1], "stream")] {
        let mut bench = Bench::start(driver, delivery, |talk| {
            while let Some(request) = talk.request()? {
                let name = request.target.split('/').nth(3).unwrap_or_default();
                match nonsense().into_iter().find(|it| it.name == name) {
                    Some(nonsense) => talk.send(nonsense.answer)?,
                    None => talk.answer(&request, "404 Not Found", &[], b"")?,
                }
                if name == "short" || name == "nothing" {
                    return Ok(());
                }
            }
            Ok(())
        });
        for Nonsense { name, head_shows_it, .. } in nonsense() {
            println!("{name}");
            let answer = bench.get(&format!("/v2/acme/{name}/manifests/latest"));
            is_refusal(&answer, 502, "UNAVAILABLE", REGISTRY);
            let answer = bench.get(&format!("/v2/acme/{name}/blobs/{ANY}"));
            if head_shows_it {
                is_refusal(&answer, 502, "UNAVAILABLE", REGISTRY);
            } else {
                assert!(!answer.is_whole, "{name} passed for whole: {answer:?}");
            }
        }
        let mut on_connection: HashMap<u64, Vec<Request>> = HashMap::new();
        for request in bench.asked() {
            on_connection.entry(request.connection).or_default().push(request);
        }
        let used_again = on_connection.values().find(|requests| requests.len() > 1);
        assert!(
            used_again.is_none(),
            "after a doubtful answer came another request: {used_again:?}"
        );
        bench.gate.stop();
        for Nonsense { name, .. } in nonsense() {
            let counts = bench.gate.counts(&format!("{GATEWAY}/acme/{name}"));
            assert_eq!(counts, Counts::default(), "{name}");
        }
    }
}

#[test]
fn nothing_of_a_body_follows_where_its_head_is_refused() {
    for driver in DRIVERS {
        let bench = Bench::start(driver, "stream", |talk| {
            while let Some(request) = talk.request()? {
                // Each of these lines is longer for the client: they lead to what it asked for.
                let links = ["Link:<?n=1>;rel=next"; 100];
                let filler = format!("Content-Filler: {}", "x".repeat(12 * 1024));
                let fields = [&links[..], &[&filler]].concat();
                let body = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
                talk.answer(&request, "200 OK", &fields, body.as_bytes())?;
            }
            Ok(())
        });
        let mut client = bench.connect();
        for _ in 0..2 {
            let target = format!("/v2/acme/rocket/blobs/{ANY}");
            client.send(&request("GET", &target, &[])).expect("it is read");
            let answer = client.answer(false).expect("an answer");
            is_refusal(&answer, 502, "UNAVAILABLE", REGISTRY);
        }
    }
}

#[test]
fn more_than_was_announced_is_cut_and_ends_the_connection() {
    for driver in DRIVERS {
        let hello = image("hello");
        // Longer than what comes with a head: what is too much shows when the answer is under way.
        let layer = hello.platforms[0].layers[1].clone();
        let served = layer.clone();
        let (sends, sent) = bounded::<()>(1);
        let bench = Bench::start(driver, "broker", move |talk| {
            while let Some(request) = talk.request()? {
                if request.target.contains("/blobs/") {
                    let given = give(talk, &request, &served);
                    let more = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
                    let more = given.and_then(|()| talk.send(more));
                    sends.send(()).map_err(io::Error::other)?;
                    more?;
                } else {
                    serve(talk, &request, &hello)?;
                }
            }
            Ok(())
        });
        for _ in 0..3 {
            let answer = bench.get(&format!("/v2/acme/rocket/blobs/{}", layer.digest));
            // Seen in time, it breaks the body off, so that the client sees it too.
            assert_eq!((answer.status, layer.bytes.starts_with(&answer.body)), (200, true));
            sent.recv().expect("it is sent, or cannot be");
            let answer = bench.get("/v2/acme/rocket/manifests/latest");
            assert_eq!(answer.status, 200);
            assert_ne!(answer.body, b"evil");
            let asked = bench.asked();
            assert_ne!(asked[0].connection, asked[1].connection, "it was used again");
        }
    }
}

#[test]
fn a_manifest_that_is_not_what_was_asked_for_is_not_served() {
    for driver in DRIVERS {
        let (asked_for, other) = (image("asked for"), image("other"));
        let bench = Bench::start(driver, "broker", move |talk| {
            while let Some(request) = talk.request()? {
                if request.target.contains("/manifests/sha256:") {
                    let kind = format!("Content-Type: {}", other.index.media_type);
                    talk.answer(&request, "200 OK", &[&kind], &other.index.bytes)?;
                } else {
                    serve(talk, &request, &other)?;
                }
            }
            Ok(())
        });
        let target = format!("/v2/acme/rocket/manifests/{}", asked_for.index.digest);
        is_refusal(&bench.get(&target), 502, "UNKNOWN", REGISTRY);
    }
}

/// An answer that no two readers agree on, or that no reader should try to read.
struct Nonsense {
    name: &'static str,
    answer: Vec<u8>,
    /// Whether it shows before a body has begun.
    head_shows_it: bool,
}

fn nonsense() -> Vec<Nonsense> {
    let many = |line: &str, times: usize| line.repeat(times);
    let head = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
    let chunks = "5\r\nhello\r\n0\r\n\r\n";
    let te = "Transfer-Encoding: chunked\r\n";
    let in_the_head = [
        ("length-and-chunks", head(&format!("Content-Length: 20\r\n{te}"), chunks)),
        ("two-lengths", head("Content-Length: 5\r\nContent-Length: 6\r\n", "hello")),
        ("length-twice", head("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")),
        ("length-list", head("Content-Length: 5, 5\r\n", "hello")),
        ("length-signed", head("Content-Length: +5\r\n", "hello")),
        ("length-hex", head("Content-Length: 0x5\r\n", "hello")),
        ("length-huge", head("Content-Length: 99999999999999999999\r\n", "hello")),
        ("coded", head("Transfer-Encoding: gzip, chunked\r\n", chunks)),
        ("coded-twice", head(&format!("{te}{te}"), chunks)),
        ("old-chunks", format!("HTTP/1.0 200 OK\r\n{te}\r\n{chunks}")),
        ("bare-lf", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello".into()),
        ("folded", head("X: a\r\n b\r\nContent-Length: 5\r\n", "hello")),
        ("space", head("Content-Length : 5\r\n", "hello")),
        ("nul", head("X: a\0b\r\nContent-Length: 5\r\n", "hello")),
        ("switching", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".into()),
        ("not-http", "SSH-2.0-OpenSSH_9.2p1\r\n\r\n".into()),
        ("hints", many("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 100) + &head("", "")),
        ("large-head", head(&many("X-Filler: 0123456789abcdef\r\n", 200 * 1024 / 28), "")),
        ("nothing", String::new()),
    ];
    let in_the_body = [
        ("short", head("Content-Length: 10\r\n", "hello")),
        ("bare-lf-chunks", head(te, "5\nhello\n0\n\n")),
        ("chunk-huge", head(te, "fffffffffffffffff\r\nhello")),
        ("chunk-signed", head(te, "-5\r\nhello\r\n0\r\n\r\n")),
        ("chunk-long", head(te, "4\r\nhello\r\n0\r\n\r\n")),
    ];
    let all = [(in_the_head.to_vec(), true), (in_the_body.to_vec(), false)];
    let all = all.into_iter().flat_map(|(list, shows)| list.into_iter().map(move |it| (it, shows)));
    all.map(|((name, answer), head_shows_it)| Nonsense {
        name,
        answer: answer.into_bytes(),
        head_shows_it,
    })
    .collect()
}

fn nothing_is_counted(gate: &mut Gate, name: &str) {
    gate.stop();
    assert_eq!(gate.counts(&format!("{GATEWAY}/{name}")), Counts::default());
}

const BROKER: &str = "delivery = \"broker\"\n";
/// A digest that no content has.
const ANY: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
