//! HTTP/2 towards clients: the same answers, bodies at the client's pace, and an end to whoever sends
//! too much of something, for each sort of too much.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::io;
use std::net::SocketAddr;
use std::process::Command;

use rustix::process::Signal;
use rustls::ClientConfig;
use rustls::version::TLS13;
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate};
use support::http2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, PING, PREFACE,
    PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, block, frame, get, setting,
};
use support::origin::{Origin, Talk};
use support::process::{installed, run};
use support::tls::Authority;
use tempfile::TempDir;

struct Sealed {
    gate: Gate,
    tls: SocketAddr,
    client: ClientConfig,
    files: TempDir,
}

impl Sealed {
    fn start(driver: &str, more: &str) -> Self {
        let (authority, files) = (Authority::new(), tempfile::tempdir().unwrap());
        let tls = support::free_address([127, 0, 0, 1].into());
        authority.write(&files.path().join("ca.pem"));
        let [cert, key] = authority.identify(HOST).write(files.path(), "gateway");
        let (cert, key) = (cert.display(), key.display());
        let config = format!(
            "listen_tls = [\"{tls}\"]\n{more}\n\
             [[certificates]]\ncert = \"{cert}\"\nkey = \"{key}\"\n\
             [[packages]]\ndomain = \"*\"\nname = \"acme/rocket\"\n\
             backend = \"one.example/acme/rocket\"\ndelivery = \"redirect\"\n"
        );
        let client = authority.client(&[&TLS13]);
        Self { gate: Gate::start(driver, &config), tls, client, files }
    }

    fn open(&self) -> Frames {
        Frames::open(self.tls, &self.client, HOST, b"").unwrap()
    }

    fn goaways(&self, why: &str) -> u64 {
        self.gate.metric(&format!("pullgate_http2_goaways_total{{why=\"{why}\"}}"))
    }

    /// All of them, for the words of a failure.
    fn all_goaways(&self) -> String {
        let page = support::http::get(self.gate.admin(), "/metrics").unwrap().body;
        let page = String::from_utf8(page).unwrap();
        page.lines().filter(|line| line.contains("goaways_total{")).collect::<Vec<_>>().join(", ")
    }

    fn curl(&self, arguments: &[&str], path: &str) -> String {
        let mut curl = Command::new(installed("curl"));
        curl.args(["-sS", "--http2", "--max-time", "50", "--cacert"])
            .arg(self.files.path().join("ca.pem"))
            .args(["--resolve", &format!("{HOST}:{}:127.0.0.1", self.tls.port())])
            .args(arguments)
            .arg(format!("https://{HOST}:{}{path}", self.tls.port()));
        run(&mut curl)
    }
}

#[test]
fn curl_is_answered_as_by_the_older_version() {
    for driver in DRIVERS {
        let access = "[log]\naccess = \"json\"\naccess_file = \"ACCESS\"\n";
        let room = tempfile::tempdir().unwrap();
        let lines = room.path().join("access");
        let access = access.replace("ACCESS", &lines.display().to_string());
        let mut sealed = Sealed::start(driver, &access);
        let told = "%{http_version} %{http_code} %{redirect_url}";
        let ask = |more: &[&str], path| {
            sealed.curl(&[&["-o", "/dev/null", "-w", told], more].concat(), path)
        };
        let backend = "https://one.example/v2/acme/rocket/manifests/latest";
        assert_eq!(ask(&[], MANIFEST), format!("2 307 {backend}"));
        assert_eq!(ask(&["-I"], MANIFEST), format!("2 307 {backend}"));
        assert_eq!(ask(&[], "/v2/"), "2 200 ");
        assert_eq!(ask(&[], "/v2/acme/moon/manifests/1"), "2 404 ");
        assert_eq!(ask(&["-X", "POST"], "/v2/acme/rocket/blobs/uploads/"), "2 405 ");
        assert_eq!(ask(&["-H", "Host: other.example"], "/v2/"), "2 421 ");
        assert!(sealed.curl(&["-i"], "/v2/acme/moon/manifests/1").contains("no such package here"));
        let three = sealed
            .curl(&["-w", "%{num_connects}", "-o", "/dev/null", "-o", "/dev/null"], "/v2/{,}");
        assert_eq!(three, "10", "one connection for both");
        sealed.gate.stop();
        let lines = std::fs::read_to_string(lines).unwrap();
        assert!(lines.contains("HTTP/2.0"), "{lines}");
        assert_eq!(sealed.gate.counts("*/acme/rocket").requests, 1);
    }
}

/// Frames that a client that means well does not send so often, and what they are counted as.
#[test]
fn floods_of_every_sort_come_to_an_end() {
    let no_host = [(":method", "GET"), (":scheme", "https"), (":path", "/v2/"), ("te", "gzip")];
    let malformed = block(&no_host);
    type Flood = fn(u32, &[u8]) -> Vec<u8>;
    let floods: [(&str, Flood); 13] = [
        ("settings", |_, _| frame(SETTINGS, 0, 0, b"")),
        ("settings", |_, _| frame(SETTINGS, 0, 0, &setting(3, 1).repeat(6))),
        ("settings", |_, _| frame(SETTINGS, ACK, 0, b"")),
        ("pings", |_, _| frame(PING, 0, 0, b"12345678")),
        ("pings", |_, _| frame(PING, ACK, 0, b"12345678")),
        ("priorities", |_, _| frame(PRIORITY, 0, 5, &[0, 0, 0, 0, 9])),
        ("windows", |_, _| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes())),
        ("unknown", |_, _| frame(0xbe, 0, 0, b"what is this")),
        // Rapid reset, as fast as it goes and with answers in between.
        ("resets", |number, _| {
            let stream = number * 2 + 1;
            let reset = frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes());
            [get(stream, HOST, MANIFEST), reset].concat()
        }),
        // Resets that we are made to send.
        ("resets_caused", |number, malformed| {
            frame(HEADERS, END_STREAM | END_HEADERS, number * 2 + 1, malformed)
        }),
        ("data", |number, _| {
            if number > 0 {
                return frame(DATA, 0, 1, b"");
            }
            let fields =
                [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/")];
            frame(HEADERS, END_HEADERS, 1, &block(&fields))
        }),
        ("continuations", |number, _| match number {
            0 => frame(HEADERS, END_STREAM, 1, b""),
            _ => frame(CONTINUATION, 0, 1, b""),
        }),
        // A field that is written once and named ten thousand times.
        ("headers", |_, _| {
            let mut bomb = block(&[("x", &"y".repeat(3900))]);
            bomb[0] = 0x40;
            bomb.extend([0xbe; 10_000]);
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &bomb)
        }),
    ];
    for driver in DRIVERS {
        let mut sealed = Sealed::start(driver, "");
        let mut peak = None;
        for (why, flood) in floods {
            let before = sealed.goaways(why);
            let mut frames = sealed.open();
            // As long as it listens.
            for round in 0..400 {
                let many: Vec<u8> =
                    (0..100).flat_map(|one| flood(round * 100 + one, &malformed)).collect();
                if frames.send(&many).is_err() {
                    break;
                }
            }
            // What is unread when it closes may take the farewell along; what is counted is not lost.
            let said = frames.farewell();
            assert!(matches!(said, None | Some(CALM)), "{why}: {said:?}");
            eventually(|| match sealed.goaways(why) - before {
                1 => Ok(()),
                many => Err(format!("{why}: {many} on {driver}; {}", sealed.all_goaways())),
            });
            // Others are served.
            assert_eq!(answered(&mut sealed.open()), 1);
            // The first has met whatever there is to warm up.
            peak = peak.or_else(|| Some(sealed.gate.peak_bytes()));
        }
        let grown = sealed.gate.peak_bytes() - peak.unwrap();
        assert!(grown < 12 << 20, "memory stays flat, but for {grown} bytes on {driver}");
        sealed.gate.stop();
    }
}

#[test]
fn who_takes_nothing_or_asks_for_nothing_is_told_to_go() {
    for driver in DRIVERS {
        let limits = "[limits]\nwrite_timeout = \"300ms\"\nidle_timeout = \"1500ms\"\n";
        let mut sealed = Sealed::start(driver, limits);
        let no_window = setting(4, 0);
        let mut stalled = Frames::open(sealed.tls, &sealed.client, HOST, &no_window).unwrap();
        stalled.send(&get(1, HOST, "/v2/")).unwrap();
        assert_eq!(stalled.farewell(), Some(CALM));
        assert_eq!(sealed.goaways("stalled"), 1);
        let mut idle = sealed.open();
        assert_eq!(answered(&mut idle), 1);
        assert_eq!(idle.farewell(), Some(0));
        assert_eq!(sealed.goaways("idle"), 1);
        // Who says nothing at all is no client.
        let mut silent = Frames::open_silent(sealed.tls, &sealed.client, HOST).unwrap();
        assert!(silent.farewell().is_none_or(|code| code == 0));
        let mut open = sealed.open();
        assert_eq!(answered(&mut open), 1);
        sealed.gate.process().signal(Signal::TERM);
        assert_eq!(open.farewell(), Some(0), "no error: it stops");
        assert!(sealed.gate.process().wait().success());
    }
}

#[test]
fn bodies_come_at_the_clients_pace_and_whole() {
    for driver in DRIVERS {
        let origin = Origin::start([127, 0, 0, 1], |talk: &mut Talk| {
            while let Some(request) = talk.request()? {
                match request.target.as_str() {
                    target if target.ends_with('c') => {
                        talk.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nshort")?;
                        return Err(io::ErrorKind::ConnectionAborted.into());
                    }
                    target if target.ends_with('b') => {
                        talk.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                        for _ in 0..LENGTH / 1024 {
                            talk.send(format!("400\r\n{}\r\n", "x".repeat(1024)))?;
                        }
                        talk.send("0\r\n\r\n")?;
                    }
                    _ => {
                        let body = vec![b'x'; LENGTH];
                        talk.answer(&request, "200 OK", &[], &body)?;
                    }
                }
            }
            Ok(())
        });
        let more = format!(
            "[[packages]]\ndomain = \"*\"\nname = \"acme/stream\"\n\
             backend = \"http://{}/acme/stream\"\ndelivery = \"stream\"\n",
            origin.address()
        );
        let mut sealed = Sealed::start(driver, &more);
        let told = ["-o", "/dev/null", "-w", "%{http_version} %{http_code} %{size_download}"];
        for kind in ["a", "b"] {
            let path = blob(kind);
            assert_eq!(sealed.curl(&told, &path), format!("2 200 {LENGTH}"), "{kind}");
            let slow = [&["--limit-rate", "20M"], &told[..]].concat();
            assert_eq!(sealed.curl(&slow, &path), format!("2 200 {LENGTH}"), "{kind}");
        }
        // One that is cut off is reset, not ended.
        let mut frames = sealed.open();
        frames.send(&get(1, HOST, &blob("c"))).unwrap();
        let reset = frames.until(RST_STREAM).unwrap();
        assert_eq!((reset.stream, reset.payload), (1, 2_u32.to_be_bytes().to_vec()));
        // Many at once, and one that is given up.
        frames
            .send(&(0..20).flat_map(|one| get(one * 2 + 3, HOST, &blob("a"))).collect::<Vec<_>>())
            .unwrap();
        frames.send(&frame(RST_STREAM, 0, 3, &8_u32.to_be_bytes())).unwrap();
        frames.send(&frame(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes())).unwrap();
        let (mut came, mut ended) = (0, 0);
        while ended < 19 {
            let frame_in = frames.next().unwrap();
            if frame_in.kind == DATA {
                came += frame_in.payload.len();
                let more = u32::try_from(frame_in.payload.len()).unwrap();
                if more > 0 {
                    let more = more.to_be_bytes();
                    frames.send(&frame(WINDOW_UPDATE, 0, frame_in.stream, &more)).unwrap();
                }
                ended += usize::from(frame_in.flags & END_STREAM != 0);
            }
        }
        assert!(came >= 19 * LENGTH, "{came}");
        sealed.gate.stop();
    }
}

/// What each of these is answered with (RFC 9113, the sections beside them).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// A farewell with this code, or just the end.
    Connection(u32),
    /// This stream is reset with this code, or refused with status 4xx.
    Stream(u32),
    /// An answer to stream 1.
    Fine,
}

#[test]
fn frames_that_break_the_rules_end_what_they_must() {
    use End::{Connection, Fine, Stream};
    let ok = || get(1, HOST, "/v2/");
    let head =
        |fields: &[(&str, &str)]| frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(fields));
    const BASE: [(&str, &str); 4] =
        [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/v2/")];
    let with = |more: (&'static str, &'static str)| head(&[&BASE[..], &[more]].concat());
    let cases: Vec<(&str, Vec<u8>, End)> = vec![
        ("5.1 DATA on an idle stream", frame(DATA, 0, 1, b"x"), Connection(1)),
        ("5.1 RST_STREAM on an idle stream", frame(RST_STREAM, 0, 1, &[0; 4]), Connection(1)),
        (
            "5.1 WINDOW_UPDATE on an idle stream",
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
            Connection(1),
        ),
        ("5.1.1 an even stream", get(2, HOST, "/v2/"), Connection(1)),
        (
            "5.1.1 a stream that goes back",
            [get(5, HOST, "/v2/"), get(3, HOST, "/v2/")].concat(),
            Connection(1),
        ),
        ("4.1 an unknown frame", [frame(0xcc, 0xff, 0, b"x"), ok()].concat(), Fine),
        ("4.1 reserved bits", [frame(PING, 0, 0x8000_0000, &[0; 8]), ok()].concat(), Fine),
        (
            "4.2 DATA too long",
            [get(1, HOST, "/v2/"), frame(DATA, 0, 1, &[0; 16_385])].concat(),
            Connection(6),
        ),
        (
            "4.3 a block that is none",
            frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0x80]),
            Connection(9),
        ),
        (
            "4.3 HEADERS between CONTINUATIONs",
            [frame(HEADERS, END_STREAM, 1, &block(&BASE)), get(3, HOST, "/v2/")].concat(),
            Connection(1),
        ),
        (
            "4.3 PING between CONTINUATIONs",
            [frame(HEADERS, END_STREAM, 1, &block(&BASE)), frame(PING, 0, 0, &[0; 8])].concat(),
            Connection(1),
        ),
        (
            "6.10 CONTINUATION that continues",
            [
                frame(HEADERS, END_STREAM, 1, &block(&BASE[..2])),
                frame(CONTINUATION, END_HEADERS, 1, &block(&BASE[2..])),
            ]
            .concat(),
            Fine,
        ),
        ("6.10 CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, b""), Connection(1)),
        (
            "6.10 CONTINUATION on stream 0",
            [frame(HEADERS, END_STREAM, 1, b""), frame(CONTINUATION, END_HEADERS, 0, b"")].concat(),
            Connection(1),
        ),
        ("6.1 DATA on stream 0", frame(DATA, 0, 0, b"x"), Connection(1)),
        (
            "6.1 padding longer than the frame",
            [frame(HEADERS, END_HEADERS, 1, &block(&BASE)), frame(DATA, 8, 1, &[9, 0])].concat(),
            Connection(1),
        ),
        ("6.2 HEADERS on stream 0", get(0, HOST, "/v2/"), Connection(1)),
        (
            "6.2 a padded head",
            frame(
                HEADERS,
                END_STREAM | END_HEADERS | 8,
                1,
                &[&[2][..], &block(&BASE), &[0, 0]].concat(),
            ),
            Fine,
        ),
        ("6.3 PRIORITY on stream 0", frame(PRIORITY, 0, 0, &[0; 5]), Connection(1)),
        (
            "6.3 PRIORITY of four bytes",
            [ok(), frame(PRIORITY, 0, 1, &[0; 4])].concat(),
            Connection(6),
        ),
        ("6.4 RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, &[0; 4]), Connection(1)),
        (
            "6.4 RST_STREAM of three bytes",
            [ok(), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
            Connection(6),
        ),
        ("6.5 SETTINGS on a stream", frame(SETTINGS, 0, 1, b""), Connection(1)),
        (
            "6.5 an acknowledgement that says something",
            frame(SETTINGS, ACK, 0, &setting(3, 1)),
            Connection(6),
        ),
        ("6.5 SETTINGS of five bytes", frame(SETTINGS, 0, 0, &[0; 5]), Connection(6)),
        ("6.5.2 ENABLE_PUSH of 2", frame(SETTINGS, 0, 0, &setting(2, 2)), Connection(1)),
        (
            "6.5.2 a window too large",
            frame(SETTINGS, 0, 0, &setting(4, 0x8000_0000)),
            Connection(3),
        ),
        ("6.5.2 frames too small", frame(SETTINGS, 0, 0, &setting(5, 16_383)), Connection(1)),
        ("6.5.2 frames too large", frame(SETTINGS, 0, 0, &setting(5, 0x0100_0000)), Connection(1)),
        (
            "6.5.2 an unknown setting",
            [frame(SETTINGS, 0, 0, &setting(0xff, 1)), ok()].concat(),
            Fine,
        ),
        (
            "6.6 PUSH_PROMISE of a client",
            [ok(), frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])].concat(),
            Connection(1),
        ),
        ("6.7 PING on a stream", frame(PING, 0, 1, &[0; 8]), Connection(1)),
        ("6.7 PING of seven bytes", frame(PING, 0, 0, &[0; 7]), Connection(6)),
        ("6.8 GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), Connection(1)),
        ("6.9 WINDOW_UPDATE of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), Connection(1)),
        ("6.9 WINDOW_UPDATE of three bytes", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), Connection(6)),
        (
            "6.9.1 a window that overflows",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(2),
            Connection(3),
        ),
        ("8.1.1 no method", head(&BASE[1..]), Stream(1)),
        ("8.3 an unknown pseudo-header", with((":what", "x")), Stream(1)),
        ("8.3 an answer's pseudo-header", with((":status", "200")), Stream(1)),
        ("8.3 a pseudo-header twice", with((":path", "/")), Stream(1)),
        (
            "8.3 a pseudo-header after a field",
            head(&[&[("a", "b")][..], &BASE].concat()),
            Stream(1),
        ),
        ("8.3.1 no path", head(&BASE[..3]), Stream(1)),
        ("8.3.1 an empty path", head(&[&BASE[..3], &[(":path", "")]].concat()), Stream(1)),
        ("8.3.1 no host", head(&[BASE[0], BASE[1], BASE[3]]), Stream(1)),
        ("8.3.1 two hosts", with(("host", "other.example")), Stream(1)),
        ("8.3.1 the same host twice", with(("host", HOST)), Fine),
        ("8.3.1 a host in Host alone", head(&[BASE[0], BASE[1], BASE[3], ("host", HOST)]), Fine),
        ("8.2.1 a name in upper case", with(("X-Y", "z")), Stream(1)),
        ("8.2.1 a line break in a value", with(("x", "a\r\nb: c")), Stream(1)),
        ("8.2.2 Connection", with(("connection", "close")), Stream(1)),
        ("8.2.2 Transfer-Encoding", with(("transfer-encoding", "chunked")), Stream(1)),
        ("8.2.2 TE: trailers", with(("te", "trailers")), Fine),
        ("8.1.1 a length that is not so", with(("content-length", "5")), Stream(1)),
        ("a GET with a body", frame(HEADERS, END_HEADERS, 1, &block(&BASE)), Stream(1)),
        ("a path with a space", head(&[&BASE[..3], &[(":path", "/v2/ x")]].concat()), Stream(1)),
    ];
    let mut sealed = Sealed::start("io_uring", "");
    let mut wrong = Vec::new();
    for (what, bytes, end) in &cases {
        let mut frames = sealed.open();
        frames.send(bytes).unwrap();
        let found = found(&mut frames);
        let is_right = match (end, found) {
            // PROTOCOL_ERROR stands for any that says more.
            (Connection(code), Connection(found)) => [*code, 1, u32::MAX].contains(&found),
            // More than has to end.
            (Stream(1), Connection(1)) => true,
            (end, found) => *end == found,
        };
        if !is_right {
            wrong.push(format!("{what}: {end:?} is wanted, {found:?} came"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // 3.4: what does not begin as it must.
    let mut frames = Frames::open_silent(sealed.tls, &sealed.client, HOST).unwrap();
    frames.send(&[b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", PREFACE].concat()).unwrap();
    assert!(matches!(frames.farewell(), None | Some(1)));
    sealed.gate.stop();
}

/// How the connection goes on.
fn found(frames: &mut Frames) -> End {
    loop {
        let Ok(it) = frames.next() else {
            return End::Connection(u32::MAX);
        };
        let code = |at: usize| u32::from_be_bytes(it.payload[at..at + 4].try_into().unwrap());
        match it.kind {
            GOAWAY => return End::Connection(code(4)),
            RST_STREAM if it.stream == 1 => return End::Stream(code(0)),
            // 400 and 421 are other words for it.
            HEADERS if it.stream == 1 && it.payload[0] == 0x8c => return End::Stream(1),
            HEADERS if it.stream == 1 && it.payload[0] != 0x88 => return End::Stream(1),
            // A connection may still be ended by what came behind the request.
            HEADERS if it.stream == 1 => {
                let ping = frame(PING, 0, 0, b"are you?");
                frames.send(&ping).unwrap();
            }
            PING if it.flags & ACK != 0 && it.payload == b"are you?" => return End::Fine,
            _ => {}
        }
    }
}

/// The stream of the answer to a request.
fn answered(frames: &mut Frames) -> u32 {
    frames.send(&get(1, HOST, MANIFEST)).unwrap();
    frames.until(HEADERS).unwrap().stream
}

fn blob(kind: &str) -> String {
    format!("/v2/acme/stream/blobs/sha256:{}", kind.repeat(64))
}

const HOST: &str = "registry.acme.com";
const MANIFEST: &str = "/v2/acme/rocket/manifests/latest";
/// ENHANCE_YOUR_CALM
const CALM: u32 = 11;
const LENGTH: usize = 8 << 20;
