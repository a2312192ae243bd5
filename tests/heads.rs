//! Heads as dialogues: what is sent, and what the gateway makes of it. The cases are those of RFC
//! 9112 (section 11.2 on smuggling before all) and of what other servers got wrong.
//!
//! Clients' requests are in `heads.txt`, which says how to read them, registries' answers in
//! `answers.txt`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail the test")]

use proptest::prelude::*;
use pullgate::pure::fault::Fault;
use pullgate::pure::http1::head::{self, HeadLimits, Method, Version};
use pullgate::pure::http1::response::{self, Framing};

#[path = "fuzz/properties.rs"]
#[allow(dead_code, reason = "the other targets are corpus.rs's")]
mod properties;

const REQUESTS: &str = include_str!("heads.txt");

const ANSWERS: &str = include_str!("answers.txt");

const LIMITS: HeadLimits = HeadLimits { head_bytes: 16 * 1024, headers: 100 };

#[test]
fn requests_and_their_verdicts() {
    hold(REQUESTS, |sent| told(&raw(sent), &LIMITS));
}

#[test]
fn answers_and_their_verdicts() {
    hold(ANSWERS, |sent| match sent.strip_prefix("HEAD ") {
        Some(answer) => told_of_answer(&raw(answer), true),
        None => told_of_answer(&raw(sent), false),
    });
}

#[test]
fn answers_are_bounded() {
    let filled = |fields: usize, bytes: usize| {
        let line = format!("X: {}\n", "b".repeat(bytes - 5));
        raw(&format!("HTTP/1.1 200 OK\n{}\n", line.repeat(fields)))
    };
    for (sent, expected) in [
        (filled(100, 100), "200, until close, closes"),
        (filled(101, 100), "UpstreamTooLarge: too many header fields"),
        // 200 KiB of them, and the same in one line that does not end.
        (filled(100, 2048), "UpstreamTooLarge: a head that is too long"),
        (filled(1, 200 * 1024)[..100 * 1024].to_vec(), "UpstreamTooLarge: a head that is too long"),
        (filled(1, 200 * 1024)[..LIMITS.head_bytes - 1].to_vec(), "more"),
    ] {
        assert_eq!(told_of_answer(&sent, false), expected, "{} bytes", sent.len());
    }
}

#[test]
fn a_host_name_is_bounded() {
    for (bytes, expected) in [(253, "GET /"), (254, "Malformed: a host name longer than 253 bytes")]
    {
        let sent = raw(&format!("GET / HTTP/1.1\nHost: {}:80\n\n", "a".repeat(bytes)));
        assert!(told(&sent, &LIMITS).starts_with(expected));
    }
}

#[test]
fn heads_are_bounded() {
    let limits = HeadLimits { head_bytes: 64, headers: 2 };
    let fits = raw(&format!("GET / HTTP/1.1\nHost: a\nX: {}\n\n", "b".repeat(64 - 32)));
    assert_eq!(fits.len(), 64);
    let long =
        |field: usize| raw(&format!("GET / HTTP/1.1\nHost: a\nX: {}\n\n", "b".repeat(field)));
    let line = |target: usize| raw(&format!("GET /{} HTTP/1.1\nHost: a\n\n", "b".repeat(target)));
    for (sent, expected) in [
        (fits.clone(), "GET / of a"),
        // The last byte of the bound decides, whether more is there or not.
        (fits[..63].to_vec(), "more"),
        ([&fits[..], b"GET "].concat(), "GET / of a"),
        (long(33), "HeadTooLarge"),
        (long(33)[..64].to_vec(), "HeadTooLarge"),
        (long(33)[..63].to_vec(), "more"),
        (line(60), "TargetTooLong"),
        (line(60)[..64].to_vec(), "TargetTooLong"),
        (raw("GET / HTTP/1.1\nHost: a\nX: b\nY: c\n\n"), "HeadersTooMany"),
        (raw("GET / HTTP/1.1\nHost: a\nX: b\n\n"), "GET / of a"),
    ] {
        let text = String::from_utf8_lossy(&sent);
        assert!(told(&sent, &limits).starts_with(expected), "{text:?}: {}", told(&sent, &limits));
    }
}

#[test]
fn fields_are_handed_on() {
    let sent = raw("GET / HTTP/1.1\nHost: a\nuser-agent: docker/1\nUser-Agent: second\n\
         Referer: https://b/\nForwarded: for=192.0.2.1\nX-Forwarded-For: 192.0.2.2\n\n");
    let head = head::parse(&sent, &LIMITS).unwrap().unwrap();
    assert_eq!(head.user_agent, b"docker/1");
    assert_eq!(head.referer, b"https://b/");
    assert!(format!("{:?}", head.forwarded).contains(&format!("{:?}", b"for=192.0.2.1")));
    assert!(format!("{:?}", head.forwarded).contains(&format!("{:?}", b"192.0.2.2")));
}

#[test]
fn a_pipeline_is_read_head_by_head() {
    let sent =
        raw("GET /a HTTP/1.1\nHost: a\n\nHEAD /b HTTP/1.1\nHost: a\n\n\nGET /c HTTP/1.1\nHo");
    let mut rest = &sent[..];
    let mut paths = Vec::new();
    while let Some(head) = head::parse(rest, &LIMITS).unwrap() {
        paths.push(std::str::from_utf8(head.path).unwrap());
        rest = &rest[head.length..];
    }
    assert_eq!(paths, ["/a", "/b"]);
    assert_eq!(rest, raw("\nGET /c HTTP/1.1\nHo"));
}

/// Each case of `dialogues` is told as it says.
fn hold(dialogues: &str, told: impl Fn(&str) -> String) {
    let cases = dialogues.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let wrong: Vec<String> = cases
        .filter_map(|case| {
            let (sent, expected) = case.split_once("  ⇒  ").expect(case);
            let told = told(sent);
            let right = match expected.strip_suffix('…') {
                Some(beginning) => told.starts_with(beginning),
                None => told == expected,
            };
            (!right).then(|| format!("{case}\n    but: {told}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The bytes that a dialogue's text stands for.
fn raw(text: &str) -> Vec<u8> {
    let byte = |sign: char| match sign {
        '↵' | '\n' => "\r\n".to_owned(),
        '␀'..='␟' => char::from_u32(sign as u32 - '␀' as u32).unwrap().to_string(),
        '␡' => '\x7f'.to_string(),
        other => other.to_string(),
    };
    text.chars().map(byte).collect::<String>().into_bytes()
}

/// The verdict on `sent`, in words.
fn told(sent: &[u8], limits: &HeadLimits) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    match head::parse(sent, limits) {
        Ok(None) => "more".into(),
        Err(Fault { kind, detail }) => format!("{kind:?}: {detail}"),
        Ok(Some(head)) => {
            let mut told = match head.method {
                Method::Get => "GET".into(),
                Method::Head => "HEAD".into(),
                Method::Other(other) => text(other),
            };
            told += &format!(" {}", text(head.path));
            told += &head.query.map_or(String::new(), |query| format!(" ?{}", text(query)));
            told += &head.host.map_or(String::new(), |host| format!(" of {}", text(host)));
            told += if head.version == Version::Http10 { " in 1.0" } else { "" };
            told += if head.is_private { ", private" } else { "" };
            told += if head.keep_alive { "" } else { ", closes" };
            told
        }
    }
}

/// The verdict on an answer, in words.
fn told_of_answer(sent: &[u8], is_head: bool) -> String {
    match response::parse(sent, &LIMITS, is_head) {
        Ok(None) => "more".into(),
        Err(Fault { kind, detail }) => format!("{kind:?}: {detail}"),
        Ok(Some(head)) => {
            let framing = match head.framing {
                Framing::None => "nothing".into(),
                Framing::Length(bytes) => format!("{bytes} bytes"),
                Framing::Chunked => "chunks".into(),
                Framing::UntilClose => "until close".into(),
            };
            let closes = if head.keep_alive { "" } else { ", closes" };
            format!("{}, {framing}{closes}", head.status)
        }
    }
}

/// A request's head of likely and unlikely parts, whose verdict is open.
fn any_head() -> impl Strategy<Value = Vec<u8>> {
    let starts = vec![
        "GET / HTTP/1.1",
        "GET /v2/a/manifests/x?b HTTP/1.1",
        "HEAD http://a:80/ HTTP/1.1",
        "POST / HTTP/1.1",
        "GET / HTTP/1.0",
        "GET / HTTP/2.0",
        "GET  / HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "\r\nGET / HTTP/1.1",
        "\nGET / HTTP/1.1",
        "GET /\u{e9} HTTP/1.1",
        "CONNECT a:1 HTTP/1.1",
        "\x16\x03",
    ];
    let fields = vec![
        "Host: a",
        "Host: a",
        "Host: a:80",
        "Host: b\u{e9}",
        "X: y",
        " folded",
        "X : y",
        "X: \0",
        "User-Agent: z",
        "Content-Length: 0",
        "Content-Length: 5",
        "Transfer-Encoding: chunked",
        "Connection: close",
        "Expect: 100-continue",
        "Expect: x",
        "Forwarded: for=1.2.3.4",
        "X-Forwarded-For: 1.2.3.4",
    ];
    any_of(starts, fields)
}

/// An answer's.
fn any_answer() -> impl Strategy<Value = Vec<u8>> {
    let starts = vec![
        "HTTP/1.1 200 OK",
        "HTTP/1.1 206 Partial Content",
        "HTTP/1.0 200 OK",
        "HTTP/1.1 307",
        "HTTP/1.1 304 Not Modified",
        "HTTP/1.1 204 No Content",
        "HTTP/1.1 103 Early Hints",
        "HTTP/1.1 101 Switching Protocols",
        "HTTP/1.1 600 \u{e9}",
        "HTTP/1.1  200 OK",
        "\r\nHTTP/1.1 200 OK",
    ];
    let fields = vec![
        "Content-Length: 5",
        "Content-Length: 0",
        "content-length:\t7 ",
        "Content-Length: 5, 5",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Connection: close",
        "Connection: keep-alive",
        "Location: https://a/b",
        "X: \u{e9}",
        "X:",
        "X : y",
        " folded",
    ];
    any_of(starts, fields)
}

/// A head of such parts, sometimes with one byte that does not belong, and what follows it.
fn any_of(starts: Vec<&'static str>, fields: Vec<&'static str>) -> impl Strategy<Value = Vec<u8>> {
    let (start, field) = (prop::sample::select(starts), prop::sample::select(fields));
    let end = prop::sample::select(vec!["\r\n", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r"]);
    let lines = prop::collection::vec((field, end.clone()), 0..7);
    let noise = prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>()));
    (start, end.clone(), lines, end, noise, "[a-z\r\n ]{0,12}").prop_map(
        |(start, first, lines, last, noise, rest)| {
            let fields: String = lines.into_iter().flat_map(|(field, end)| [field, end]).collect();
            let mut head = format!("{start}{first}{fields}{last}{rest}").into_bytes();
            if let Some((at, byte)) = noise {
                let at = at.index(head.len());
                head[at] = byte;
            }
            head
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn heads_of_any_parts_hold_their_property(sent in any_head()) {
        properties::head(&sent);
    }

    #[test]
    fn answers_of_any_parts_hold_their_property(sent in any_answer()) {
        properties::response(&sent);
    }
}
