//! Heads of answers that registries give. What can be read in two ways is refused and the
//! connection given up: bytes of one answer must never be taken for another's (RFC 9112, 11.1).
//!
//! As strict as `head` is on requests, for the same reasons.

use std::mem::MaybeUninit;

use super::head::{HeadLimits, Version};
use super::lines::{Persistence, all_end_in_crlf, wrong_field};
use crate::pure::fault::{Fault, Kind};
use crate::pure::limits::HEADERS_MAX;

/// Where an answer's body ends (RFC 9112, 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// There is none: the answer ends with its head.
    None,
    /// After so many bytes; there may be none of them.
    Length(u64),
    /// With its last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// What an answer's head says of the bytes behind it. Its fields are read by [`fields`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResponseHead {
    /// 100 to 599, and not 101; below 200 another head follows for the same request.
    pub status: u16,
    /// How it is spoken.
    pub version: Version,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the connection stays open behind the body (RFC 9112, 9.3).
    pub keep_alive: bool,
    /// The head's length, final empty line included, in bytes.
    pub length: usize,
}

/// The head at the front of `bytes`, which answers a HEAD if `is_head`; `None` if more bytes are
/// needed. Bytes behind the head are not looked at, and what the verdict is does not depend on how
/// the bytes arrived.
///
/// # Errors
/// [`Kind::UpstreamMalformed`] and [`Kind::UpstreamTooLarge`], with what is wrong. Nothing on that
/// connection can be trusted any more.
pub fn parse(
    bytes: &[u8],
    limits: &HeadLimits,
    is_head: bool,
) -> Result<Option<ResponseHead>, Fault> {
    let bounded = bytes.get(..limits.head_bytes).unwrap_or(bytes);
    // httparse passes over empty lines in front; they are what another answer has left.
    if matches!(bounded.first(), Some(b'\r' | b'\n')) {
        return Err(malformed("an empty line where an answer should begin"));
    }
    let mut storage = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let storage = storage.get_mut(..limits.headers).unwrap_or_default();
    let mut head = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut head, bounded, storage) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < limits.head_bytes => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(too_large("a head that is too long")),
        Err(error) => return Err(explain(error)),
    };
    let (Some(status), Some(minor)) = (head.code, head.version) else {
        return Err(malformed("a status line that is not complete"));
    };
    if !all_end_in_crlf(bounded.get(..length).unwrap_or_default(), head.headers.len()) {
        return Err(malformed("a line that ends in LF without CR"));
    }
    match status {
        101 => return Err(malformed("a switch of protocols that nobody asked for")),
        100..=599 => {}
        _ => return Err(malformed("a status outside 100 to 599")),
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let said = Said::read(head.headers)?;
    let framing = said.framing(status, version, is_head)?;
    let keep_alive = said.persistence.stays(version) && framing != Framing::UntilClose;
    Ok(Some(ResponseHead { status, version, framing, keep_alive, length }))
}

/// The fields of a head that has been parsed before, a request's or an answer's: names as sent,
/// values without the spaces around them, in order.
pub fn fields(head: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    lines(head).filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value)))
}

/// As [`fields`], names as bytes.
pub fn lines(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    // Before a request's first line there may be an empty one.
    let mut rest = head.strip_prefix(b"\r\n").unwrap_or(head);
    next_line(&mut rest);
    std::iter::from_fn(move || next_line(&mut rest).filter(|line| !line.is_empty())).filter_map(
        |line| {
            let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
            let value = value.strip_prefix(b":")?;
            Some((name, value.trim_ascii()))
        },
    )
}

/// The value of the first field of this name.
pub fn field<'a>(head: &'a [u8], name: &'a str) -> Option<&'a [u8]> {
    fields_named(head, name).next()
}

/// The values of all fields of this name.
pub fn fields_named<'a>(head: &'a [u8], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    fields(head).filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The line at the front of `rest`, which begins behind it then.
fn next_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = memchr::memchr(b'\n', rest)?;
    let (line, behind) = rest.split_at_checked(end + 1)?;
    *rest = behind;
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

/// What the fields say of framing and of the connection.
#[derive(Default)]
struct Said {
    length: Option<u64>,
    is_chunked: bool,
    persistence: Persistence,
}

impl Said {
    fn read(headers: &[httparse::Header<'_>]) -> Result<Self, Fault> {
        let mut said = Self::default();
        for header in headers {
            said.add(header.name, header.value)?;
        }
        Ok(said)
    }

    fn add(&mut self, name: &str, value: &[u8]) -> Result<(), Fault> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("Connection") {
            self.persistence.add(value);
        } else if is("Content-Length") {
            let digits = std::str::from_utf8(value).ok();
            let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let length = digits.and_then(|digits| digits.parse().ok());
            let length = length.ok_or_else(|| malformed("a Content-Length that is no number"))?;
            if self.length.replace(length).is_some() {
                return Err(malformed("several Content-Length fields"));
            }
        } else if is("Transfer-Encoding") {
            if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(malformed("a Transfer-Encoding that is not just chunked"));
            }
            self.is_chunked = true;
        }
        Ok(())
    }

    /// RFC 9112, 6.3, with at most one reading.
    fn framing(&self, status: u16, version: Version, is_head: bool) -> Result<Framing, Fault> {
        if self.is_chunked && self.length.is_some() {
            return Err(malformed("Content-Length beside Transfer-Encoding"));
        }
        if self.is_chunked && version == Version::Http10 {
            return Err(malformed("Transfer-Encoding in HTTP/1.0"));
        }
        // These have none whatever they say (RFC 9110, 8.6); who says it might send one.
        let is_interim_or_empty = matches!(status, 100..=199 | 204);
        if is_interim_or_empty && (self.is_chunked || self.length.is_some_and(|bytes| bytes > 0)) {
            return Err(malformed("a body announced where none can be"));
        }
        Ok(match self.length {
            _ if is_head || is_interim_or_empty || status == 304 => Framing::None,
            Some(bytes) => Framing::Length(bytes),
            None if self.is_chunked => Framing::Chunked,
            None => Framing::UntilClose,
        })
    }
}

/// What to say of a head that httparse refuses.
#[cold]
fn explain(error: httparse::Error) -> Fault {
    if matches!(error, httparse::Error::TooManyHeaders) {
        return too_large("too many header fields");
    }
    malformed(wrong_field(error).unwrap_or("a status line that is not `HTTP/1.1 200 OK`"))
}

fn malformed(detail: &'static str) -> Fault {
    Fault::new(Kind::UpstreamMalformed, detail)
}

fn too_large(detail: &'static str) -> Fault {
    Fault::new(Kind::UpstreamTooLarge, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_head_alone() {
        let told = |head: &[u8]| {
            let told = fields(head)
                .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)));
            told.collect::<Vec<_>>().join("|")
        };
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\n", ""),
            ("HTTP/1.1 200 OK\r\nA: b\r\nC:d\r\na:\t e: f \r\n\r\nX: y\r\n", "A=b|C=d|a=e: f"),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\nGET /", "Host=a"),
            ("GET /: HTTP/1.1\r\nEmpty:\r\n\r\n", "Empty="),
            ("", ""),
            ("HTTP/1.1 200 OK", ""),
        ] {
            assert_eq!(told(head.as_bytes()), expected, "{head:?}");
        }
        let head = b"HTTP/1.1 401 \r\nWWW-Authenticate: Basic\r\nwww-authenticate: Bearer\r\n\r\n";
        assert_eq!(field(head, "www-Authenticate"), Some(b"Basic".as_slice()));
        assert_eq!(field(head, "ETag"), None);
    }
}
