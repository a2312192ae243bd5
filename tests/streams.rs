//! Memory is bounded by `buffer_bytes`, whatever the length of a body, the size of a chunk, or the
//! patience of its reader.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use rustls::version::TLS13;
use serde_json::json;

use support::bench::{Bench, config, request};
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate};
use support::hosts::{GATEWAY, REGISTRY_IP};
use support::http::Connection;
use support::origin::{Origin, Talk};
use support::tls::Authority;

#[test]
fn a_long_body_passes_through_little_memory() {
    for driver in DRIVERS {
        for (name, framing) in FRAMINGS {
            let length = if framing == Framing::Length { 2 * GIB } else { GIB };
            let mut bench = bench(driver, length);
            let before = warm(&mut bench);
            let mut client = open(&bench, name, [127, 0, 0, 1]);
            let mut received = 0;
            let mut part = vec![0; 1 << 20];
            // Head and chunk lines are few beside it; whether all is right is `forward`'s matter.
            while received < length {
                match client.read(&mut part).expect("it goes on") {
                    0 => panic!("{name} on {driver} ended after {received} bytes"),
                    more => received += more as u64,
                }
            }
            let grown = bench.gate.peak_bytes() - before;
            assert!(grown < SLACK_BYTES, "{name} on {driver}: {grown} bytes more for {length}");
        }
    }
}

#[test]
fn two_hundred_slow_readers_hold_a_buffer_each() {
    for driver in DRIVERS {
        for (name, _) in FRAMINGS {
            let mut bench = bench(driver, GIB);
            let before = warm(&mut bench);
            let readers: Vec<_> = (0..READERS)
                .map(|number| open(&bench, name, [127, 0, 1, (number % 4) as u8 + 1]))
                .collect();
            for reader in &readers {
                eventually(|| match reader.peek(&mut [0]) {
                    Ok(1) => Ok(()),
                    other => Err(format!("{other:?}")),
                });
            }
            // All are under way, and nobody reads: others are served all the same.
            let mut quick = open(&bench, "small", [127, 0, 0, 1]);
            let mut answer = [0; 15];
            quick.read_exact(&mut answer).expect("an answer");
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
            let bound = READERS * 2 * BUFFER_BYTES + SLACK_BYTES;
            let grown = bench.gate.peak_bytes() - before;
            assert!(grown < bound, "{name} on {driver}: {grown} bytes more for {READERS} readers");
        }
    }
}

/// A layer whose client goes away, then comes back for it, then goes away again; and one that comes
/// whole.
#[test]
fn what_was_sent_and_what_broke_off_is_counted() {
    for driver in DRIVERS {
        let length = 64 << 20;
        let mut bench = bench(driver, length);
        let drop_early = |bench: &Bench| {
            let mut client = open(bench, "length", [127, 0, 0, 1]);
            client.read_exact(&mut [0; 1000]).expect("it begins");
        };
        drop_early(&bench);
        bench.get(&format!("/v2/acme/small/blobs/sha256:{}", "a".repeat(64)));
        let mut client = open(&bench, "length", [127, 0, 0, 1]);
        let mut part = vec![0; 1 << 20];
        let mut received = 0;
        while received < length {
            received += client.read(&mut part).expect("it goes on") as u64;
        }
        eventually(|| match bench.gate.metric("pullgate_streams_total{outcome=\"client\"}") {
            1 => Ok(()),
            other => Err(format!("{other} broke off")),
        });
        // A pull: a layer that its client never comes back for.
        let source = [127, 0, 0, 2];
        let mut client = ask(&bench, "/v2/acme/length/manifests/latest", source);
        client.read_exact(&mut [0; 15]).expect("a manifest");
        open(&bench, "length", source).read_exact(&mut [0; 1000]).expect("it begins");
        eventually(|| match bench.gate.metric("pullgate_streams_total{outcome=\"client\"}") {
            2 => Ok(()),
            other => Err(format!("{other} broke off")),
        });
        bench.gate.stop();
        let answer = bench.gate.pulls(&[]);
        let totals = &answer["totals"];
        let count = |key: &str| totals[key].as_u64().expect("a count");
        assert_eq!((count("blobs"), count("blobs_aborted")), (4, 2), "{totals}");
        let whole = length + (1 << 20);
        let bytes = count("blob_bytes");
        assert!((whole + 1..whole + 2 * length).contains(&bytes), "{bytes} of {whole} and parts");
        let pulls = (count("requests"), count("pulls"), count("complete"), count("partial"));
        assert_eq!(pulls, (1, 1, 1, 1));
    }
}

/// Bytes of blobs are those of the blobs, not those that a framing or TLS makes of them.
#[test]
fn bytes_of_blobs_are_exact_whatever_is_around_them() {
    for driver in DRIVERS {
        let (authority, files) = (Authority::new(), tempfile::tempdir().expect("a directory"));
        let pair = authority.identify(GATEWAY).write(files.path(), "gateway");
        let [cert, key] = pair.map(|file| file.display().to_string());
        let certificate = format!("[[certificates]]\ncert = \"{cert}\"\nkey = \"{key}\"\n");
        let tls = support::free_address([127, 0, 0, 1].into());
        let listen = format!("listen_tls = [\"{tls}\"]\n");
        let client = Arc::new(authority.client(&[&TLS13]));
        let sealed = bench_with(driver, 0, &listen, &certificate);
        for (mut bench, is_sealed) in [(bench(driver, 0), false), (sealed, true)] {
            for name in ["small", "small-chunks"] {
                let mut connection = match is_sealed {
                    true => Connection::open_tls(tls, &client, GATEWAY).expect("it listens"),
                    false => bench.connect(),
                };
                let target = format!("/v2/acme/{name}/blobs/sha256:{}", "a".repeat(64));
                connection.send(&request("GET", &target, &[])).expect("it reads");
                assert_eq!(connection.answer(false).expect("an answer").body.len(), 1 << 20);
            }
            bench.gate.stop();
            let totals = &bench.gate.pulls(&[])["totals"];
            assert_eq!((&totals["blobs"], &totals["blob_bytes"]), (&json!(2), &json!(2 << 20)));
        }
    }
}

/// A client that is gone before the answer's head can be written breaks its transfer off too.
#[test]
fn a_blob_whose_head_nobody_takes_has_broken_off() {
    for driver in DRIVERS {
        let met = Arc::new(Barrier::new(2));
        let there = Arc::clone(&met);
        let mut bench = Bench::start(driver, "stream", move |talk| {
            while let Some(request) = talk.request()? {
                if request.target.contains("/blobs/") {
                    // Its client has come, and gone.
                    there.wait();
                    there.wait();
                    send(talk, Framing::Length, 1 << 20)?;
                } else {
                    talk.answer(&request, "200 OK", &[], b"{}")?;
                }
            }
            Ok(())
        });
        let client = open(&bench, "late", [127, 0, 0, 1]);
        met.wait();
        rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO))
            .expect("it is a socket");
        drop(client);
        met.wait();
        eventually(|| match bench.gate.pulls(&[])["totals"]["blobs_aborted"].as_u64() {
            Some(1) => Ok(()),
            other => Err(format!("{other:?}")),
        });
        bench.gate.stop();
        assert_eq!(bench.gate.pulls(&[])["totals"]["blobs"], 1);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length,
    OneChunk,
    UntilClose,
}

const FRAMINGS: [(&str, Framing); 3] = [
    ("length", Framing::Length),
    ("one-chunk", Framing::OneChunk),
    ("until-close", Framing::UntilClose),
];

/// A gateway before a registry whose every blob has `length` bytes, framed as its name says.
fn bench(driver: &str, length: u64) -> Bench {
    bench_with(driver, length, "", "")
}

/// The same with more keys of the gateway, and more sections.
fn bench_with(driver: &str, length: u64, keys: &str, sections: &str) -> Bench {
    let layer = format!("sha256:{}", "a".repeat(64));
    let manifest = format!(r#"{{"layers":[{{"digest":"{layer}"}}]}}"#);
    let registry = Origin::start(REGISTRY_IP, move |talk| {
        while let Some(request) = talk.request()? {
            let name = request.target.split('/').nth(3).unwrap_or_default();
            if request.target.contains("/manifests/") {
                talk.answer(&request, "200 OK", &[], manifest.as_bytes())?;
                continue;
            }
            match FRAMINGS.iter().find(|(it, _)| *it == name) {
                Some((_, framing)) => send(talk, *framing, length)?,
                None if name == "small-chunks" => send(talk, Framing::OneChunk, 1 << 20)?,
                None if name == "small" => send(talk, Framing::Length, 1 << 20)?,
                None => talk.answer(&request, "200 OK", &[], b"{}")?,
            }
        }
        Ok(())
    });
    Bench::behind(registry, |backend| {
        let limits = format!("\n[limits]\nbuffer_bytes = \"{}KiB\"\n", BUFFER_BYTES >> 10);
        let package = format!("delivery = \"stream\"\n{limits}{sections}");
        Gate::start_proxy(driver, &format!("{keys}{}", config("", &package, backend)))
    })
}

fn send(talk: &mut Talk, framing: Framing, length: u64) -> io::Result<()> {
    let part = vec![b'x'; 256 << 10];
    let field = match framing {
        Framing::Length => format!("Content-Length: {length}\r\n\r\n"),
        Framing::OneChunk => format!("Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n"),
        Framing::UntilClose => "Connection: close\r\n\r\n".to_owned(),
    };
    talk.send(format!("HTTP/1.1 200 OK\r\n{field}"))?;
    let mut rest = length;
    while rest > 0 {
        let now = rest.min(part.len() as u64);
        let (now_bytes, _) = part.split_at(usize::try_from(now).map_err(io::Error::other)?);
        talk.send(now_bytes)?;
        rest -= now;
    }
    match framing {
        Framing::Length => Ok(()),
        Framing::OneChunk => talk.send("\r\n0\r\n\r\n"),
        Framing::UntilClose => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}

/// What it takes once it has done everything there is to do, the program's own pages among it.
fn warm(bench: &mut Bench) -> u64 {
    for name in ["small", "small-chunks"] {
        let target = format!("/v2/acme/{name}/blobs/sha256:{}", "a".repeat(64));
        assert_eq!(bench.get(&target).status, 200);
    }
    bench.gate.peak_bytes()
}

/// A client at `source` that has asked for the blob of `acme/<name>`.
fn open(bench: &Bench, name: &str, source: [u8; 4]) -> TcpStream {
    ask(bench, &format!("/v2/acme/{name}/blobs/sha256:{}", "a".repeat(64)), source)
}

fn ask(bench: &Bench, target: &str, source: [u8; 4]) -> TcpStream {
    let source = IpAddr::V4(Ipv4Addr::from(source));
    let mut stream = support::http::connect_from(source, bench.gate.address()).expect("it listens");
    stream.write_all(&request("GET", target, &[])).expect("it reads");
    stream
}

const GIB: u64 = 1 << 30;
const READERS: u64 = 200;
const BUFFER_BYTES: u64 = 64 << 10;
/// What the gateway may take for anything else meanwhile, tables and connections among it.
const SLACK_BYTES: u64 = 16 << 20;
