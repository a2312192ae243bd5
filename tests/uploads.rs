//! Bodies on their way to the dashboard by its host name: they go on as they come, framed anew, in bounded
//! memory; answers come when they like; and who goes away ends the other side.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use support::gate::DRIVERS;
use support::hosted::{HOST, Secured, accept, gate, heard, in_its_place, open, pull};
use support::http::Connection;
use support::person::{Person, text};
use support::process::run;
use support::program::token_of;

/// The head of a form.
fn head(path: &str, framing: &str) -> String {
    let kind = "Content-Type: application/x-www-form-urlencoded";
    format!("POST {path} HTTP/1.1\r\nHost: {HOST}\r\n{kind}\r\n{framing}\r\n\r\n")
}

/// Reads just `expected`, and nothing behind it.
fn expect(stream: &mut UnixStream, expected: &str) {
    let mut came = vec![0; expected.len()];
    stream.read_exact(&mut came).unwrap();
    assert_eq!(String::from_utf8(came).unwrap(), expected);
}

/// Reads what comes until the worker ends the connection.
fn rest(stream: &mut UnixStream) -> String {
    let mut came = String::new();
    stream.read_to_string(&mut came).unwrap();
    came
}

fn answer(stream: &mut UnixStream, status: &str, body: &str) {
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
}

#[test]
fn bodies_come_as_they_like_and_have_an_end() {
    for driver in DRIVERS {
        let gate = gate(driver, "", "\n[limits]\nwrite_timeout = \"2s\"\n");
        let of = |framing: &str| head("/sign-in", framing);
        let body = format!("login={}", "a".repeat(60_000));
        let mut connection = open(&gate);
        connection.send(of(&format!("Content-Length: {}", body.len())).as_bytes()).unwrap();
        for piece in body.as_bytes().chunks(7_001) {
            connection.send(piece).unwrap();
        }
        assert_eq!(connection.answer(false).unwrap().status, 403);
        connection.send(of("Transfer-Encoding: chunked").as_bytes()).unwrap();
        for piece in body.as_bytes().chunks(9_001) {
            connection.send(format!("{:x};a=b\r\n", piece.len()).as_bytes()).unwrap();
            connection.send(piece).unwrap();
            connection.send(b"\r\n").unwrap();
        }
        connection.send(b"0\r\nTrailer: a\r\n\r\n").unwrap();
        assert_eq!(connection.answer(false).unwrap().status, 403);
        // Who waits for a word is given it.
        connection.send(of("Content-Length: 1\r\nExpect: 100-continue").as_bytes()).unwrap();
        assert_eq!(connection.answer(true).unwrap().status, 100);
        connection.send(b"a").unwrap();
        assert_eq!(connection.answer(false).unwrap().status, 403);
        // Where nobody reads it, it is in nobody's way.
        for _ in 0..2 {
            let sent = head("/nowhere", "Content-Length: 3") + "a=b";
            connection.send(sent.as_bytes()).unwrap();
            assert_eq!(connection.answer(false).unwrap().status, 404);
        }
        for (framing, sent, status, words) in [
            ("Content-Length: 65537", "", 413, "longer than 64 KiB"),
            ("Content-Length: 65537\r\nExpect: 100-continue", "", 413, "longer than 64 KiB"),
            ("Content-Length: 99999999999999999999", "", 400, "no number"),
            ("Transfer-Encoding: chunked", "10001\r\n", 413, "longer than 64 KiB"),
            ("Content-Length: 2", "a", 408, "not there in time"),
        ] {
            let mut connection = open(&gate);
            connection.send(of(framing).as_bytes()).unwrap();
            connection.send(sent.as_bytes()).unwrap();
            if sent.starts_with("10001") {
                connection.send(&[b'a'; 0x10001]).unwrap();
            }
            let answer = connection.answer(false).unwrap();
            assert_eq!(answer.status, status, "{framing}");
            assert!(text(&answer).contains(words), "{}", text(&answer));
            connection.closed().unwrap_or_else(|error| panic!("{framing}: {error}"));
        }
    }
}

#[test]
fn a_program_is_told_in_its_own_words_that_its_body_is_too_long() {
    let mut gate = gate("epoll", "", "");
    let token = token_of(&mut Person::set_up(&mut gate), "acme");
    for address in [gate.address(), gate.admin()] {
        let mut connection = Connection::open(address).unwrap();
        let host = if address == gate.admin() { address.to_string() } else { HOST.to_owned() };
        let sent = format!(
            "POST /api/v1/packages?organisation=acme HTTP/1.1\r\nHost: {host}\r\n\
             Authorization: Bearer {token}\r\nContent-Type: application/json\r\n\
             Content-Length: 65537\r\n\r\n"
        );
        connection.send(sent.as_bytes()).unwrap();
        let answer = connection.answer(false).unwrap();
        assert_eq!(answer.status, 413, "{}", text(&answer));
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    }
}

#[test]
fn a_body_goes_on_as_it_comes_and_is_framed_anew() {
    for driver in DRIVERS {
        let gate = gate(driver, "", "");
        let listener = in_its_place(&gate);
        let mut client = open(&gate);
        // Each piece is there before the next is sent.
        client.send(head("/a", "Content-Length: 10").as_bytes()).unwrap();
        let mut stream = accept(&listener);
        let told = heard(&mut stream);
        assert!(told.contains("\r\ncontent-length: 10\r\n") && !told.contains("expect"), "{told}");
        client.send(b"hello").unwrap();
        expect(&mut stream, "hello");
        client.send(b"world").unwrap();
        expect(&mut stream, "world");
        answer(&mut stream, "200 OK", "thanks");
        assert_eq!(text(&client.answer(false).unwrap()), "thanks");
        // What stands around chunks ends here, and what stands behind them is the next request.
        let chunked = "Transfer-Encoding: chunked\r\nTrailer: a";
        client.send(head("/b", chunked).as_bytes()).unwrap();
        let mut stream = accept(&listener);
        let told = heard(&mut stream);
        assert!(told.contains("\r\ntransfer-encoding: chunked\r\n"), "{told}");
        assert!(!told.contains("content-length") && !told.contains("trailer"), "{told}");
        client.send(b"005;a=b\r\nhello\r\n").unwrap();
        expect(&mut stream, "5\r\nhello\r\n");
        let next = format!("GET /c HTTP/1.1\r\nHost: {HOST}\r\n\r\n");
        client.send(format!("3\r\n\r\n0\r\n0\r\na: b\r\n\r\n{next}").as_bytes()).unwrap();
        expect(&mut stream, "3\r\n\r\n0\r\n0\r\n\r\n");
        answer(&mut stream, "200 OK", "thanks");
        assert_eq!(text(&client.answer(false).unwrap()), "thanks");
        assert_eq!(rest(&mut stream), "");
        let mut stream = accept(&listener);
        assert!(heard(&mut stream).starts_with("get /c "));
        answer(&mut stream, "200 OK", "and you");
        assert_eq!(text(&client.answer(false).unwrap()), "and you");
        // Who waits for a word is given that of the control plane.
        client.send(head("/d", "Content-Length: 2\r\nExpect: 100-continue").as_bytes()).unwrap();
        let mut stream = accept(&listener);
        assert!(heard(&mut stream).contains("\r\nexpect: 100-continue\r\n"));
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        assert_eq!(client.answer(true).unwrap().status, 100);
        client.send(b"hi").unwrap();
        expect(&mut stream, "hi");
        answer(&mut stream, "200 OK", "thanks");
        assert_eq!(text(&client.answer(false).unwrap()), "thanks");
        assert_eq!(pull(&mut client), 307, "and the connection goes on");
    }
}

#[test]
fn an_answer_that_comes_early_is_had() {
    for driver in DRIVERS {
        let gate = gate(driver, "", "");
        let listener = in_its_place(&gate);
        for framing in ["Content-Length: 1000000000", "Transfer-Encoding: chunked"] {
            let mut client = open(&gate);
            client.send(head("/a", framing).as_bytes()).unwrap();
            client.send(b"5\r\nhello\r\n").unwrap();
            let mut stream = accept(&listener);
            heard(&mut stream);
            expect(&mut stream, "5\r\nhello\r\n");
            answer(&mut stream, "401 Unauthorized", "who are you");
            let told = client.answer(false).unwrap();
            assert_eq!((told.status, text(&told).as_str()), (401, "who are you"));
            assert_eq!(told.header("connection"), Some("close"), "its body is in the way");
            client.closed().unwrap();
            assert_eq!(rest(&mut stream), "");
        }
        // By one who sends on and on, with nobody to read it.
        let mut client = TcpStream::connect(gate.address()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut sending = client.try_clone().unwrap();
        sending.write_all(head("/a", "Content-Length: 1000000000").as_bytes()).unwrap();
        let sender = thread::spawn(move || while sending.write_all(&[b'a'; 65_536]).is_ok() {});
        let mut stream = accept(&listener);
        heard(&mut stream);
        answer(&mut stream, "401 Unauthorized", "who are you");
        drop(stream);
        let mut told = Vec::new();
        let _ = client.read_to_end(&mut told);
        let told = String::from_utf8(told).unwrap();
        assert!(told.starts_with("HTTP/1.1 401 ") && told.ends_with("who are you"), "{told}");
        sender.join().unwrap();
    }
}

#[test]
fn who_goes_away_ends_the_other_side() {
    for driver in DRIVERS {
        let gate = gate(driver, "", "");
        let listener = in_its_place(&gate);
        for (framing, sent, came) in [
            ("Content-Length: 10", "hello", "hello"),
            ("Transfer-Encoding: chunked", "5\r\nhello\r\n", "5\r\nhello\r\n"),
            // All of it was sent; nobody waits for the answer.
            ("Content-Length: 5", "hello", "hello"),
        ] {
            let mut client = open(&gate);
            client.send(head("/a", framing).as_bytes()).unwrap();
            client.send(sent.as_bytes()).unwrap();
            let mut stream = accept(&listener);
            heard(&mut stream);
            expect(&mut stream, came);
            drop(client);
            assert_eq!(rest(&mut stream), "", "{framing}");
        }
        // One whose chunks are none is told so; the control plane does not take what came for all.
        let mut client = open(&gate);
        client.send(head("/a", "Transfer-Encoding: chunked").as_bytes()).unwrap();
        client.send(b"5\r\nhello\r\n").unwrap();
        let mut stream = accept(&listener);
        heard(&mut stream);
        expect(&mut stream, "5\r\nhello\r\n");
        client.send(b"x\r\n").unwrap();
        assert_eq!(client.answer(false).unwrap().status, 400);
        client.closed().unwrap();
        assert_eq!(rest(&mut stream), "");
        // A control plane that goes away is none.
        let mut client = open(&gate);
        client.send(head("/a", "Content-Length: 10").as_bytes()).unwrap();
        heard(&mut accept(&listener));
        let told = client.answer(false).unwrap();
        assert_eq!(told.status, 503, "{}", text(&told));
    }
}

#[test]
fn nobody_holds_what_the_control_plane_does_not_take() {
    for driver in DRIVERS {
        let limits =
            "\n[limits]\nwrite_timeout = \"1s\"\n[upstream]\nfirst_byte_timeout = \"3s\"\n";
        let (mut gate, secured) = Secured::gate(driver, "workers = 1\n", limits);
        let listener = in_its_place(&gate);
        // A connection that has its memory already.
        assert_eq!(pull(&mut open(&gate)), 307);
        let before = gate.peak_bytes();
        let long = secured.file("long");
        fs::write(&long, vec![b'a'; 64 << 20]).unwrap();
        for version in ["--http1.1", "--http2"] {
            let mut curl = secured.curl(version, "/a");
            curl.args(["-w", "%{http_code}", "--max-time", "60", "-H", "Expect:"]);
            curl.arg("--data-binary").arg(format!("@{}", long.display()));
            let asking = thread::spawn(move || run(&mut curl));
            let stream = accept(&listener);
            // It is not the client's fault that it could not send faster.
            let told = asking.join().unwrap();
            assert!(told.contains("does not answer") && told.ends_with("503"), "{version}: {told}");
            drop(stream);
            assert_eq!(pull(&mut open(&gate)), 307, "and pulls go on");
        }
        let held = gate.peak_bytes() - before;
        assert!(held < 16 << 20, "{held} bytes");
    }
}

#[test]
fn real_clients_send_as_they_like_by_either_version() {
    for driver in DRIVERS {
        let (gate, secured) = Secured::gate(driver, "", "");
        // To the control plane itself, as long as it takes, and longer.
        let long = secured.file("long");
        let data = format!("@{}", long.display());
        for (bytes, status) in [(60_000, " 403"), (70_000, " 413"), (5_000_000, " 413")] {
            fs::write(&long, vec![b'a'; bytes]).unwrap();
            for version in ["--http1.1", "--http2"] {
                for expect in ["Expect:", "Expect: 100-continue"] {
                    let mut curl = secured.curl(version, "/sign-in");
                    curl.args(["-i", "--max-time", "20", "-H", expect, "--data-binary", &data]);
                    let told = run(&mut curl);
                    assert!(told.contains(status), "{version}, {expect}, {bytes}: {told}");
                }
            }
        }
        // To one that looks closely.
        let listener = in_its_place(&gate);
        for version in ["--http1.1", "--http2"] {
            let begin = |more: &[&str]| {
                let mut curl = secured.curl(version, "/a");
                curl.args(["--max-time", "60", "-X", "POST", "-T", "-"]).args(more);
                curl.stdin(Stdio::piped()).stdout(Stdio::piped());
                let curl = curl.spawn().unwrap();
                let mut stream = accept(&listener);
                let told = heard(&mut stream);
                assert!(told.contains("\r\ntransfer-encoding: chunked\r\n"), "{version}: {told}");
                if told.contains("\r\nexpect: 100-continue\r\n") {
                    stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
                }
                (curl, stream)
            };
            for expect in ["Expect:", "Expect: 100-continue"] {
                let (mut curl, mut stream) = begin(&["-H", expect]);
                let mut input = curl.stdin.take().unwrap();
                input.write_all(b"hello").unwrap();
                expect_chunk(&mut stream, "hello");
                input.write_all(b"world").unwrap();
                expect_chunk(&mut stream, "world");
                drop(input);
                self::expect(&mut stream, "0\r\n\r\n");
                answer(&mut stream, "200 OK", "thanks");
                let told = curl.wait_with_output().unwrap();
                assert_eq!(told.stdout, b"thanks", "{version}");
            }
            // One that is gone in the middle of it.
            let (mut curl, mut stream) = begin(&[]);
            let mut input = curl.stdin.take().unwrap();
            input.write_all(b"hello").unwrap();
            expect_chunk(&mut stream, "hello");
            curl.kill().unwrap();
            curl.wait().unwrap();
            assert_eq!(rest(&mut stream), "", "{version}");
        }
    }
}

fn expect_chunk(stream: &mut UnixStream, data: &str) {
    expect(stream, &format!("{:x}\r\n{data}\r\n", data.len()));
}
