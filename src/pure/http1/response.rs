//! Heads of upstream answers. Two parsers in series are how messages are smuggled: whoever reads a
//! body afterwards is told here, once, how it is framed, and what can be read in two ways is
//! refused (RFC 9112, 6.3 and 11).

use std::mem::MaybeUninit;

use super::head::{HeadLimits, Version};
use crate::pure::fault::{Fault, Kind};
use crate::pure::limits::HEADERS_MAX;

/// Where the body ends (RFC 9112, 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many bytes; may be 0.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// What the head of an answer says about the connection and the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResponseHead {
    /// `200` and so on; 1xx for an interim answer, behind which another head follows.
    pub status: u16,
    /// How it is spoken.
    pub version: Version,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the connection stays open behind the body.
    pub keep_alive: bool,
    /// The head's length, final empty line included, in bytes.
    pub length: usize,
}

/// The head at the front of `bytes`; `None` if more bytes are needed. `is_head`: it answers a HEAD.
///
/// # Errors
/// [`Kind::UpstreamMalformed`] and [`Kind::UpstreamTooLarge`], with what is wrong. Nothing behind
/// such a head can be trusted.
pub fn parse(
    bytes: &[u8],
    limits: &HeadLimits,
    is_head: bool,
) -> Result<Option<ResponseHead>, Fault> {
    let bounded = bytes.get(..limits.head_bytes).unwrap_or(bytes);
    let mut storage = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let storage = storage.get_mut(..limits.headers).unwrap_or_default();
    let mut head = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let parsed = config.parse_response_with_uninit_headers(&mut head, bounded, storage);
    let length = match parsed {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < limits.head_bytes => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(too_large("its answer's head")),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(too_large("its answer's header fields"));
        }
        Err(_) => return Err(malformed("its answer is not HTTP")),
    };
    let (Some(minor), Some(status)) = (head.version, head.code) else {
        return Err(malformed("its answer is not HTTP"));
    };
    // As in `head::parse`: every line ends in CRLF if there are as many CRs as lines.
    let ends = memchr::memchr_iter(b'\r', bounded.get(..length).unwrap_or_default()).count();
    if ends != head.headers.len() + 2 {
        return Err(malformed("a line of its answer's head ends in LF without CR"));
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    if !(100..600).contains(&status) || status == 101 {
        return Err(malformed("its answer has a status that none was asked for"));
    }
    let fields = Fields::read(head.headers)?;
    let framing = fields.framing(status, version, is_head)?;
    let stays = match version {
        Version::Http11 => !fields.close,
        Version::Http10 => fields.keep_alive && !fields.close,
    };
    let keep_alive = stays && framing != Framing::UntilClose;
    Ok(Some(ResponseHead { status, version, framing, keep_alive, length }))
}

/// The fields of a head that parsed before, a request's or an answer's, in their order.
pub fn fields(head: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    let lines = head.split(|byte| *byte == b'\n').skip(1);
    lines.map_while(|line| {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = line.split_at_checked(colon)?;
        let name = std::str::from_utf8(name).ok()?;
        Some((name, value.get(1..).unwrap_or_default().trim_ascii()))
    })
}

/// The first field of a name.
pub fn field<'h>(head: &'h [u8], name: &str) -> Option<&'h [u8]> {
    fields(head).find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// What decides where a body ends.
#[derive(Default)]
struct Fields {
    length: Option<u64>,
    is_chunked: bool,
    close: bool,
    keep_alive: bool,
}

impl Fields {
    fn read(headers: &[httparse::Header<'_>]) -> Result<Self, Fault> {
        let mut fields = Self::default();
        for header in headers {
            let is = |known: &str| header.name.eq_ignore_ascii_case(known);
            if is("Content-Length") {
                if fields.length.is_some() {
                    return Err(malformed("its answer has several Content-Length fields"));
                }
                fields.length = Some(number(header.value)?);
            } else if is("Transfer-Encoding") {
                if fields.is_chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(malformed("its answer has a Transfer-Encoding but chunked"));
                }
                fields.is_chunked = true;
            } else if is("Connection") {
                for option in header.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    fields.close |= option.eq_ignore_ascii_case(b"close");
                    fields.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
        }
        Ok(fields)
    }

    fn framing(&self, status: u16, version: Version, is_head: bool) -> Result<Framing, Fault> {
        if self.is_chunked && self.length.is_some() {
            return Err(malformed("its answer has Content-Length beside Transfer-Encoding"));
        }
        if self.is_chunked && version == Version::Http10 {
            return Err(malformed("its answer has Transfer-Encoding in HTTP/1.0"));
        }
        if is_head || matches!(status, 100..=199 | 204 | 304) {
            return Ok(Framing::None);
        }
        Ok(match self.length {
            Some(length) => Framing::Length(length),
            None if self.is_chunked => Framing::Chunked,
            None => Framing::UntilClose,
        })
    }
}

fn number(digits: &[u8]) -> Result<u64, Fault> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_number);
    text.and_then(|text| text.parse().ok())
        .ok_or_else(|| malformed("its answer has a Content-Length that is no number"))
}

fn malformed(detail: &'static str) -> Fault {
    Fault::new(Kind::UpstreamMalformed, detail)
}

fn too_large(detail: &'static str) -> Fault {
    Fault::new(Kind::UpstreamTooLarge, detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, headers: 64 };

    fn told(head: &str, is_head: bool) -> String {
        match parse(head.replace('\n', "\r\n").as_bytes(), &LIMITS, is_head) {
            Ok(None) => "more".to_owned(),
            Ok(Some(head)) => {
                format!(
                    "{} {:?}{}",
                    head.status,
                    head.framing,
                    if head.keep_alive { "" } else { " closes" }
                )
            }
            Err(fault) => fault.detail.to_owned(),
        }
    }

    #[test]
    fn a_body_ends_in_one_way() {
        for (head, expected) in [
            ("HTTP/1.1 200 OK\nContent-Length: 5\n\n", "200 Length(5)"),
            ("HTTP/1.1 200\nContent-Length: 0\n\n", "200 Length(0)"),
            ("HTTP/1.1 200 OK\nTransfer-Encoding: Chunked\n\n", "200 Chunked"),
            ("HTTP/1.1 200 OK\n\n", "200 UntilClose closes"),
            ("HTTP/1.0 200 OK\nContent-Length: 5\n\n", "200 Length(5) closes"),
            ("HTTP/1.0 200 OK\nConnection: Keep-Alive\nContent-Length: 5\n\n", "200 Length(5)"),
            (
                "HTTP/1.1 200 OK\nConnection: x, close\nContent-Length: 5\n\n",
                "200 Length(5) closes",
            ),
            ("HTTP/1.1 204 No Content\nContent-Length: 5\n\n", "204 None"),
            ("HTTP/1.1 304 Not Modified\nContent-Length: 5\n\n", "304 None"),
            ("HTTP/1.1 103 Early Hints\nLink: </a>\n\n", "103 None"),
            ("HTTP/1.1 307 Temporary Redirect\nContent-Length: 9\n\n", "307 Length(9)"),
            ("HTTP/1.1 200 OK\nContent-Len", "more"),
            ("", "more"),
        ] {
            assert_eq!(told(head, false), expected, "{head}");
        }
        assert_eq!(told("HTTP/1.1 200 OK\nContent-Length: 5\n\n", true), "200 None");
        assert_eq!(told("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n", true), "200 None");
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for head in [
            "HTTP/1.1 200 OK\nContent-Length: 5\nTransfer-Encoding: chunked\n\n",
            "HTTP/1.1 200 OK\nContent-Length: 5\nContent-Length: 5\n\n",
            "HTTP/1.1 200 OK\nContent-Length: 5, 5\n\n",
            "HTTP/1.1 200 OK\nContent-Length: +5\n\n",
            "HTTP/1.1 200 OK\nContent-Length: 0x5\n\n",
            "HTTP/1.1 200 OK\nContent-Length:\n\n",
            "HTTP/1.1 200 OK\nContent-Length: 99999999999999999999\n\n",
            "HTTP/1.1 200 OK\nTransfer-Encoding: gzip, chunked\n\n",
            "HTTP/1.1 200 OK\nTransfer-Encoding: identity\n\n",
            "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n",
            "HTTP/1.0 200 OK\nTransfer-Encoding: chunked\n\n",
            "HTTP/1.1 200 OK\nContent-Length : 5\n\n",
            "HTTP/1.1 200 OK\nA: b\n folded\n\n",
            "HTTP/1.1 101 Switching Protocols\n\n",
            "HTTP/1.1 099 Early\n\n",
            "HTTP/1.1 600 Late\n\n",
            "HTTP/2 200 OK\n\n",
            "SSH-2.0-OpenSSH_9.2\n",
        ] {
            let bytes = head.replace('\n', "\r\n");
            assert!(parse(bytes.as_bytes(), &LIMITS, false).is_err(), "{head}");
        }
        let bare = b"HTTP/1.1 200 OK\r\nContent-Length: 5\n\r\n";
        assert!(parse(bare, &LIMITS, false).is_err());
        let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(5000));
        let fault = parse(long.as_bytes(), &LIMITS, false).unwrap_err();
        assert_eq!(fault.kind, Kind::UpstreamTooLarge);
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(65));
        let fault = parse(many.as_bytes(), &LIMITS, false).unwrap_err();
        assert_eq!(fault.kind, Kind::UpstreamTooLarge);
    }

    #[test]
    fn fields_come_in_their_order() {
        let head = b"HTTP/1.1 200 OK\r\nA: 1\r\nb:2 \r\nA:  3:4\r\n\r\n";
        let seen: Vec<_> = fields(head).collect();
        assert_eq!(seen, [("A", &b"1"[..]), ("b", b"2"), ("A", b"3:4")]);
        assert_eq!(field(head, "B"), Some(&b"2"[..]));
        assert_eq!(field(head, "c"), None);
    }

    proptest! {
        #[test]
        fn the_verdict_does_not_depend_on_how_the_bytes_arrived(
            text in "HTTP/1.[01] [0-9]{3} [a-z]{0,3}\r\n((Content-Length|Transfer-Encoding|X): ([0-9]{1,3}|chunked)\r?\n){0,3}(\r\n)?",
            cut in 0_usize..100,
            is_head: bool,
        ) {
            let bytes = text.as_bytes();
            let part = &bytes[..cut.min(bytes.len())];
            if let Ok(Some(early)) = parse(part, &LIMITS, is_head) {
                prop_assert_eq!(parse(bytes, &LIMITS, is_head), Ok(Some(early)));
            }
        }

        #[test]
        fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, &LIMITS, false);
            let _ = fields(&bytes).count();
        }
    }
}
