//! Bytes in, bytes out: the dialogues of `tests/golden/dialogues`, held with the built gateway on
//! each driver.
//!
//! A file begins with what its configuration adds, up to a line `---`. Each dialogue begins with
//! `== title` and has a connection of its own. Its lines:
//!
//! ```text
//! > text      sent, with CRLF
//! >> text     sent as it stands; \r \n \t \0 \\ and \xHH are escapes
//! >* N text   sent N times, with CRLF
//! < HTTP/…    the next answer's status line; then, of that answer:
//! < Name: v     has this field
//! <! Name       has no such field
//! <~ text       its body contains this
//! <= N          its body has N bytes
//! . closed    the server has closed the connection
//! . fin       the client will send no more
//! = PACKAGE requests N pulls N checks N    what is counted at the end of all dialogues
//! ```
//!
//! All that is sent before something is expected goes out in one write. `{host}` is the gateway's
//! own address.

#![allow(clippy::panic, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use support::gate::{DRIVERS, Gate};

#[test]
fn on_io_uring() {
    hold_all(DRIVERS[0]);
}

#[test]
fn on_epoll() {
    hold_all(DRIVERS[1]);
}

fn hold_all(driver: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dialogues");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the dialogues")
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    assert!(files.len() > 5, "the dialogues are gone");
    for file in files {
        hold(driver, &file);
    }
}

fn hold(driver: &str, file: &Path) {
    let text = fs::read_to_string(file).expect("a text");
    let (config, dialogues) =
        text.split_once("\n---\n").expect("a line `---` ends the configuration");
    let mut gate = Gate::start(driver, config);
    let mut counted = Vec::new();
    for dialogue in dialogues.split("\n== ").skip(1) {
        let title = dialogue.lines().next().unwrap_or_default();
        let place = format!("{} on {driver}, `{title}`", file.display());
        let mut talk = Talk::begin(gate.address(), place);
        for line in dialogue.lines().skip(1) {
            match line.strip_prefix("= ") {
                Some(count) => counted.push(count.to_owned()),
                None => talk.follow(line),
            }
        }
        talk.end();
    }
    gate.stop();
    for line in counted {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [package, "requests", requests, "pulls", pulls, "checks", checks] = words[..] else {
            panic!("{}: not a count: {line}", file.display());
        };
        let counts = gate.counts(package);
        let found = [counts.requests, counts.pulls, counts.checks].map(|count| count.to_string());
        assert_eq!(found, [requests, pulls, checks], "{} on {driver}: {line}", file.display());
    }
}

/// One connection's side of a dialogue.
struct Talk {
    place: String,
    host: String,
    stream: BufReader<TcpStream>,
    to_send: Vec<u8>,
    sent_head: bool,
    answer: Option<Answer>,
}

struct Answer {
    fields: Vec<(String, String)>,
    /// Read once it is asked for: after a HEAD there is none.
    body: Option<String>,
}

impl Talk {
    fn begin(server: SocketAddr, place: String) -> Self {
        let stream = TcpStream::connect(server).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        Self {
            place,
            host: server.to_string(),
            stream: BufReader::new(stream),
            to_send: Vec::new(),
            sent_head: false,
            answer: None,
        }
    }

    fn follow(&mut self, line: &str) {
        let line = &line.replace("{host}", &self.host);
        if line.is_empty() || line.starts_with('#') {
        } else if let Some(raw) = line.strip_prefix(">> ") {
            self.to_send.extend(unescape(raw));
        } else if let Some(repeated) = line.strip_prefix(">* ") {
            let (times, text) = repeated.split_once(' ').expect("how often, and what");
            for _ in 0..times.parse::<usize>().expect("how often") {
                self.to_send.extend(format!("{text}\r\n").bytes());
            }
        } else if let Some(text) = line.strip_prefix("> ").or_else(|| (line == ">").then_some("")) {
            self.sent_head = text.starts_with("HEAD ") || (self.sent_head && !is_request(text));
            self.to_send.extend(format!("{text}\r\n").bytes());
        } else if line == ". fin" {
            self.send();
            self.stream.get_ref().shutdown(Shutdown::Write).expect("half a connection");
        } else if line == ". closed" {
            self.send();
            self.finish_answer();
            let mut rest = Vec::new();
            let end = self.stream.read_to_end(&mut rest);
            assert!(
                end.is_ok() && rest.is_empty(),
                "{}: not closed: {end:?}, {:?}",
                self.place,
                String::from_utf8_lossy(&rest)
            );
        } else if line.starts_with("< HTTP/") {
            self.send();
            self.finish_answer();
            self.read_head(line.trim_start_matches("< "));
        } else if let Some(field) = line.strip_prefix("< ") {
            let (name, value) = field.split_once(": ").expect("a field");
            let found = self.field(name);
            assert_eq!(found.as_deref(), Some(value), "{}: {name}", self.place);
        } else if let Some(name) = line.strip_prefix("<! ") {
            assert_eq!(self.field(name), None, "{}: {name}", self.place);
        } else if let Some(text) = line.strip_prefix("<~ ") {
            let body = self.body();
            assert!(body.contains(text), "{}: no `{text}` in {body}", self.place);
        } else if let Some(length) = line.strip_prefix("<= ") {
            assert_eq!(self.body().len().to_string(), length, "{}", self.place);
        } else {
            panic!("{}: what is `{line}`?", self.place);
        }
    }

    /// What is not said is not there: every answer was expected, and nothing follows the last one
    /// when the client has gone.
    fn end(&mut self) {
        self.send();
        self.finish_answer();
        let _ = self.stream.get_ref().shutdown(Shutdown::Write);
        let mut rest = String::new();
        let _ = self.stream.read_to_string(&mut rest);
        assert_eq!(rest, "", "{}: more was answered than expected", self.place);
    }

    fn send(&mut self) {
        if !self.to_send.is_empty() {
            self.stream.get_mut().write_all(&self.to_send).expect("sent");
            self.to_send.clear();
        }
    }

    fn read_head(&mut self, expected: &str) {
        let status = self.line();
        assert_eq!(status, expected, "{}", self.place);
        let mut fields = Vec::new();
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let body = self.sent_head.then(String::new);
        self.answer = Some(Answer { fields, body });
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.stream.read_line(&mut line);
        assert!(matches!(read, Ok(1..)), "{}: no more lines: {read:?}", self.place);
        line.trim_end_matches("\r\n").to_owned()
    }

    fn field(&self, name: &str) -> Option<String> {
        let answer = self.answer.as_ref().expect("an answer");
        let name = name.to_ascii_lowercase();
        answer.fields.iter().find(|(it, _)| *it == name).map(|(_, value)| value.clone())
    }

    fn body(&mut self) -> String {
        let length = self.field("content-length").map_or(0, |text| text.parse().expect("a length"));
        let stream = &mut self.stream;
        let answer = self.answer.as_mut().expect("an answer");
        let body = answer.body.get_or_insert_with(|| {
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("the whole body");
            String::from_utf8(body).expect("text")
        });
        body.clone()
    }

    fn finish_answer(&mut self) {
        if self.answer.is_some() {
            self.body();
            self.answer = None;
        }
    }
}

fn is_request(text: &str) -> bool {
    text.contains(" HTTP/1")
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next().expect("an escape") {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let digits = [rest.next(), rest.next()].map(|digit| digit.expect("two digits"));
                let digits = std::str::from_utf8(&digits).expect("digits").to_owned();
                u8::from_str_radix(&digits, 16).expect("two hexadecimal digits")
            }
            other => panic!("\\{} is no escape", char::from(other)),
        });
    }
    bytes
}
