//! What passes between clients and registries, and what does not (RFC 9110, 7.6).

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::io;
use std::sync::Arc;

use rustix::process::Signal;
use support::bench::{Bench, request};
use support::eventually::eventually;
use support::gate::{Counts, DRIVERS};
use support::hosts::{GATEWAY, REGISTRY};
use support::http::Connection;
use support::images::{image, noise};
use support::origin::{Request, Talk};
use support::scripted::serve;

#[test]
fn of_a_request_only_what_a_registry_needs_passes() {
    for driver in DRIVERS {
        let bench = sample(driver, "broker");
        let more = [
            "User-Agent: containers/5.34.2 (github.com/containers/image)",
            "Accept: application/vnd.oci.image.index.v1+json",
            "Accept: application/vnd.oci.image.manifest.v1+json, */*;q=0.1",
            "accept: text/plain",
            "If-None-Match: \"x\"",
            "Accept-Encoding: gzip",
            "Authorization: Basic c2VjcmV0",
            "Cookie: a=b",
            "Proxy-Authorization: Basic c2VjcmV0",
            "X-Forwarded-For: 192.0.2.1",
            "Forwarded: for=192.0.2.1",
            "Connection: keep-alive, X-Hop",
            "X-Hop: 1",
            "X-Other: 1",
            "Upgrade-Insecure-Requests: 1",
        ];
        assert_eq!(bench.ask("GET", "/v2/acme/rocket/manifests/latest", &more).status, 200);
        let asked = bench.asked().remove(0);
        let accepted: Vec<&str> =
            asked.fields.iter().filter(|(name, _)| name == "accept").map(|it| &*it.1).collect();
        let expected = [
            "application/vnd.oci.image.index.v1+json",
            "application/vnd.oci.image.manifest.v1+json, */*;q=0.1",
            "text/plain",
        ];
        assert_eq!(accepted, expected, "every line, in order");
        let host = format!("{REGISTRY}:{}", bench.registry.address().port());
        assert_eq!(asked.field("host"), Some(&*host));
        assert!(asked.field("user-agent").is_some_and(|agent| agent.starts_with("containers/")));
        assert_eq!(asked.field("if-none-match"), Some("\"x\""));
        assert!(asked.field("via").is_some_and(|via| via.starts_with("1.1 pullgate")));
        assert!(matches!(asked.field("accept-encoding"), None | Some("identity")));
        for name in [
            "authorization",
            "cookie",
            "proxy-authorization",
            "x-forwarded-for",
            "forwarded",
            "x-hop",
            "x-other",
            "upgrade-insecure-requests",
        ] {
            assert_eq!(asked.field(name), None, "{name} passed");
        }
        assert!(!asked.field("connection").is_some_and(|words| words.contains("X-Hop")));
    }
}

#[test]
fn a_blob_may_be_encoded_as_its_client_likes() {
    for driver in DRIVERS {
        let bench = sample(driver, "stream");
        let target = format!("/v2/acme/rocket/blobs/{}", image("hello").platforms[0].config.digest);
        let fields =
            ["Accept-Encoding: zstd;q=1.0, gzip;q=0.8", "If-Range: \"x\"", "Range: bytes=2-"];
        let answer = bench.ask("GET", &target, &fields);
        assert_eq!(answer.status, 206);
        assert_eq!(answer.body, image("hello").platforms[0].config.bytes[2..]);
        let asked = bench.asked().remove(0);
        assert_eq!(asked.field("accept-encoding"), Some("zstd;q=1.0, gzip;q=0.8"));
        assert_eq!(asked.field("if-range"), Some("\"x\""));
        assert_eq!(asked.field("range"), Some("bytes=2-"));
    }
}

#[test]
fn of_an_answer_only_what_a_client_needs_passes() {
    const PASS: [&str; 12] = [
        "Content-Type: application/vnd.oci.image.index.v1+json; charset=utf-8",
        "Docker-Distribution-Api-Version: registry/2.0",
        "ETag: \"x\"",
        "Warning: 299 - \"this image has moved\"",
        "OCI-Subject: sha256:abc",
        "OCI-Filters-Applied: artifactType",
        "RateLimit-Limit: 100;w=21600",
        "RateLimit-Remaining: 20;w=21600",
        "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT",
        "Vary: Accept",
        "Retry-After: 30",
        "Accept-Ranges: bytes",
    ];
    const STAY: [&str; 9] = [
        "Set-Cookie: a=b",
        "Docker-RateLimit-Source: 192.0.2.1",
        "Proxy-Authenticate: Basic",
        "WWW-Authenticate: Basic realm=\"elsewhere\"",
        "Connection: X-Hop",
        "X-Hop: 1",
        "Keep-Alive: timeout=5",
        "Alt-Svc: h3=\":443\"",
        "Strict-Transport-Security: max-age=1",
    ];
    for driver in DRIVERS {
        let hello = image("hello");
        let bench = bench(driver, "broker", move |talk, request| {
            let fields = [PASS.as_slice(), &STAY].concat();
            talk.answer(request, "200 OK", &fields, &hello.index.bytes)
        });
        for method in ["GET", "HEAD"] {
            let answer = bench.ask(method, "/v2/acme/rocket/manifests/latest", &[]);
            let length = image("hello").index.bytes.len().to_string();
            assert_eq!(answer.header("content-length"), Some(&*length), "{method}");
            for line in PASS {
                let (name, value) = line.split_once(": ").expect("a field");
                assert_eq!(answer.header(&name.to_lowercase()), Some(value), "{method}: {name}");
            }
            for line in STAY {
                let (name, value) = line.split_once(": ").expect("a field");
                assert_ne!(answer.header(&name.to_lowercase()), Some(value), "{method}: {name}");
            }
            assert!(answer.header("via").is_some_and(|via| via.starts_with("1.1 pullgate")));
        }
    }
}

#[test]
fn a_request_that_was_here_before_is_a_loop() {
    for driver in DRIVERS {
        let bench = sample(driver, "broker");
        let target = "/v2/acme/rocket/manifests/latest";
        bench.get(target);
        let via = format!("Via: 1.0 fred, {}", bench.asked()[0].field("via").unwrap_or_default());
        let answer = bench.ask("GET", target, &[&via]);
        assert_eq!(answer.status, 508, "{}", String::from_utf8_lossy(&answer.body));
        assert!(bench.asked().is_empty());
        assert_eq!(bench.ask("GET", target, &["Via: 1.1 another"]).status, 200);
        let asked = bench.asked().remove(0);
        let head = String::from_utf8_lossy(&asked.head).to_lowercase();
        assert!(head.contains("1.1 another"), "who was before us stays: {head}");
    }
}

#[test]
fn what_a_registry_refuses_is_said_in_its_own_words() {
    for driver in DRIVERS {
        for (status, code) in [
            ("404 Not Found", "MANIFEST_UNKNOWN"),
            ("403 Forbidden", "DENIED"),
            ("429 Too Many Requests", "TOOMANYREQUESTS"),
            ("500 Internal Server Error", "UNKNOWN"),
            ("503 Service Unavailable", "UNAVAILABLE"),
        ] {
            let words = format!(r#"{{"errors":[{{"code":"{code}","message":"so it is"}}]}}"#);
            let body = words.clone();
            let mut bench = bench(driver, "broker", move |talk, request| {
                let fields = ["Content-Type: application/json", "Retry-After: 7"];
                talk.answer(request, status, &fields, body.as_bytes())
            });
            for what in
                ["manifests/latest", "tags/list", &format!("blobs/sha256:{}", "a".repeat(64))]
            {
                let answer = bench.get(&format!("/v2/acme/rocket/{what}"));
                assert_eq!(answer.status.to_string(), status[..3]);
                assert_eq!(String::from_utf8_lossy(&answer.body), words);
                assert_eq!(answer.header("retry-after"), Some("7"));
            }
            bench.gate.stop();
            let counts = bench.gate.counts(&format!("{GATEWAY}/acme/rocket"));
            assert_eq!(counts, Counts::default(), "{status} is no pull");
        }
    }
}

#[test]
fn unchanged_is_a_check() {
    for driver in DRIVERS {
        let mut bench = bench(driver, "broker", |talk, _| {
            talk.send("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n")
        });
        let answer =
            bench.ask("GET", "/v2/acme/rocket/manifests/latest", &["If-None-Match: \"x\""]);
        assert_eq!((answer.status, answer.header("etag")), (304, Some("\"x\"")));
        bench.gate.stop();
        let counts = bench.gate.counts(&format!("{GATEWAY}/acme/rocket"));
        assert_eq!(counts, Counts { requests: 1, checks: 1, ..Counts::default() });
    }
}

#[test]
fn lists_pass_and_ask_for_no_more_than_a_bounded_page() {
    for driver in DRIVERS {
        let bench = sample(driver, "broker");
        let referrers = format!("/v2/acme/rocket/referrers/sha256:{}", "b".repeat(64));
        for (target, arrives_as) in [
            ("/v2/acme/rocket/tags/list", "/v2/acme/rocket/tags/list"),
            ("/v2/acme/rocket/tags/list?n=50&last=v1", "/v2/acme/rocket/tags/list?n=50&last=v1"),
            ("/v2/acme/rocket/tags/list?n=99999999", "/v2/acme/rocket/tags/list?n=1000"),
            (&format!("{referrers}?artifactType=a"), &format!("{referrers}?artifactType=a")),
        ] {
            bench.get(target);
            assert_eq!(bench.asked().remove(0).target, arrives_as);
        }
        assert_eq!(bench.get("/v2/_catalog").status, 404);
        assert!(bench.asked().is_empty());
    }
}

#[test]
fn a_body_comes_whole_however_it_is_framed() {
    for (driver, delivery) in DRIVERS.iter().flat_map(|it| [(it, "broker"), (it, "stream")]) {
        let bytes = Arc::new(noise(&["a large one"], 3 << 20));
        let sent = Arc::clone(&bytes);
        let bench = bench(driver, delivery, move |talk, request| {
            let name = request.target.split('/').nth(3).unwrap_or_default();
            match name {
                "length" => talk.answer(request, "200 OK", &[], &sent),
                "until-close" => {
                    talk.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
                    talk.send(sent.as_slice())?;
                    talk.socket().shutdown(std::net::Shutdown::Write)
                }
                chunks => {
                    talk.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                    let size = chunks.parse().unwrap_or(sent.len());
                    for part in sent.chunks(size) {
                        talk.send(format!("{:x};ext=\"a\"\r\n", part.len()))?;
                        talk.send(part)?;
                        talk.send("\r\n")?;
                    }
                    talk.send("0\r\nX-Trailer: dropped\r\n\r\n")
                }
            }
        });
        let mut connection = bench.connect();
        for name in ["length", "1000", "100000", "whole", "length", "until-close"] {
            let target = format!("/v2/acme/{name}/blobs/sha256:{}", "a".repeat(64));
            connection.send(&request("GET", &target, &[])).expect("it is read");
            let answer = connection.answer(false).expect("an answer");
            assert_eq!((answer.status, answer.is_whole), (200, true), "{name} on {driver}");
            assert!(answer.body == *bytes, "{name} came otherwise on {driver}");
        }
    }
}

#[test]
fn requests_sent_at_once_are_answered_in_their_order() {
    for driver in DRIVERS {
        let bench = sample(driver, "stream");
        let hello = image("hello");
        let layer = &hello.platforms[0].layers[1];
        let targets = [
            "/v2/acme/rocket/manifests/latest".to_owned(),
            format!("/v2/acme/rocket/blobs/{}", layer.digest),
            "/v2/".to_owned(),
            format!("/v2/acme/rocket/manifests/{}", hello.platforms[1].manifest.digest),
            "/v2/acme/rocket/blobs/sha256:0".to_owned(),
            format!("/v2/acme/rocket/blobs/{}", layer.digest),
        ];
        let all: Vec<u8> = targets.iter().flat_map(|it| request("GET", it, &[])).collect();
        let mut connection = bench.connect();
        connection.send(&all).expect("it is read");
        let answers = targets.map(|_| connection.answer(false).expect("an answer"));
        assert_eq!(answers.each_ref().map(|it| it.status), [200, 200, 200, 200, 400, 200]);
        assert!(answers[0].body == hello.index.bytes);
        assert!(answers[1].body == layer.bytes);
        assert!(answers[3].body == hello.platforms[1].manifest.bytes);
        assert!(answers[5].body == layer.bytes);
    }
}

/// HTTP/1.0 knows no chunks: the end of the connection ends the body (RFC 9112, 6.3).
#[test]
fn an_old_client_gets_a_chunked_body_up_to_the_end() {
    for driver in DRIVERS {
        let bench = bench(driver, "stream", |talk, _| {
            talk.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
            talk.send("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
        });
        let mut connection = bench.connect();
        let target = format!("/v2/acme/rocket/blobs/sha256:{}", "a".repeat(64));
        let asked = format!("GET {target} HTTP/1.0\r\nHost: {GATEWAY}\r\n\r\n");
        connection.send(asked.as_bytes()).expect("it is read");
        let answer = connection.answer(false).expect("an answer");
        assert_eq!(answer.header("transfer-encoding"), None);
        assert_eq!((answer.status, &*answer.body), (200, b"hello world".as_slice()));
    }
}

#[test]
fn connections_to_a_registry_are_used_again() {
    for driver in DRIVERS {
        let bench = sample(driver, "stream");
        let hello = image("hello");
        let blob = format!("/v2/acme/rocket/blobs/{}", hello.platforms[0].layers[1].digest);
        for target in
            ["/v2/acme/rocket/manifests/latest", &blob, "/v2/acme/rocket/tags/list"].repeat(5)
        {
            assert_eq!(bench.get(target).status, 200);
            assert_eq!(bench.ask("HEAD", target, &[]).status, 200);
        }
        let asked = bench.asked();
        assert_eq!(asked.len(), 30);
        assert!(asked.iter().all(|request| request.connection == asked[0].connection));
    }
}

#[test]
fn a_download_under_way_is_finished_before_the_gateway_stops() {
    for driver in DRIVERS {
        let (release, released) = crossbeam_channel::bounded::<()>(1);
        let mut bench = bench(driver, "stream", move |talk, request| {
            if request.target == "/v2/" {
                return talk.answer(request, "200 OK", &[], b"{}");
            }
            talk.send("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello")?;
            released.recv().map_err(io::Error::other)?;
            talk.send(" world")
        });
        let mut connection = bench.connect();
        let target = format!("/v2/acme/rocket/blobs/sha256:{}", "a".repeat(64));
        connection.send(&request("GET", &target, &[])).expect("it is read");
        eventually(|| bench.has_arrived("/blobs/"));
        bench.gate.process().signal(Signal::TERM);
        eventually(|| match Connection::open(bench.gate.address()) {
            Err(_) => Ok(()),
            Ok(_) => Err("it still listens".to_owned()),
        });
        release.send(()).expect("it waits");
        let answer = connection.answer(false).expect("an answer");
        assert_eq!((answer.status, &*answer.body), (200, b"hello world".as_slice()));
        let status = bench.gate.process().wait();
        assert!(status.success(), "{status}");
    }
}

#[test]
fn a_client_that_goes_away_ends_the_registry_s_sending() {
    for driver in DRIVERS {
        for framing in ["Content-Length: 1000000000000", "Transfer-Encoding: chunked"] {
            let (over, is_over) = crossbeam_channel::bounded::<()>(1);
            let bench = bench(driver, "stream", move |talk, request| {
                if request.target == "/v2/" {
                    return talk.answer(request, "200 OK", &[], b"{}");
                }
                talk.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n"))?;
                let part = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
                while talk.send(&part).is_ok() {}
                over.send(()).map_err(io::Error::other)
            });
            let mut connection = bench.connect();
            let target = format!("/v2/acme/rocket/blobs/sha256:{}", "a".repeat(64));
            connection.send(&request("GET", &target, &[])).expect("it is read");
            eventually(|| bench.has_arrived("/blobs/"));
            drop(connection);
            eventually(|| is_over.try_recv().map_err(|_| "it sends on".to_owned()));
        }
    }
}

/// Gives anybody the sample image.
fn sample(driver: &str, delivery: &str) -> Bench {
    let hello = image("hello");
    bench(driver, delivery, move |talk, request| serve(talk, request, &hello))
}

fn bench<L>(driver: &str, delivery: &str, lead: L) -> Bench
where
    L: Fn(&mut Talk, &Request) -> io::Result<()> + Send + Sync + 'static,
{
    Bench::start(driver, delivery, move |talk| {
        while let Some(request) = talk.request()? {
            lead(talk, &request)?;
        }
        Ok(())
    })
}
