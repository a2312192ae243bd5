//! Request heads. What can be read in two ways is refused (RFC 9112, 11.2): the gateway stands
//! before and behind other parsers, and two that disagree are how requests are smuggled.
//!
//! httparse finds the tokens; this file adds what it tolerates (a bare LF) or leaves to its caller:
//! how bodies are framed, hosts, connection options, bounds.

use std::mem::MaybeUninit;

use super::forwarded::ForwardedFields;
use super::lines::{Persistence, all_end_in_crlf, wrong_field};
use super::target::{Host, Target};
use crate::pure::fault::{Fault, Kind};
use crate::pure::limits::HEADERS_MAX;

pub use super::lines::Version;
pub use super::target::Method;

/// What a head is held to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeadLimits {
    /// The head's length with its final empty line, in bytes.
    pub head_bytes: usize,
    /// Header fields, at most [`HEADERS_MAX`].
    pub headers: usize,
}

/// A request's head, borrowed from the bytes it came in. It has no body behind it if its method is
/// GET or HEAD; behind other methods nothing is said about the bytes that follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestHead<'a> {
    /// What to do.
    pub method: Method<'a>,
    /// How it is spoken.
    pub version: Version,
    /// The target's path: begins with `/`, has only bytes that URLs have, nothing decoded. `*` for
    /// OPTIONS of the whole server; the authority for CONNECT.
    pub path: &'a [u8],
    /// What stands behind the target's first `?`; only bytes that URLs have.
    pub query: Option<&'a [u8]>,
    /// The host as sent, port included. `None` only in HTTP/1.0.
    pub host: Option<&'a [u8]>,
    /// The first `User-Agent`; empty when absent.
    pub user_agent: &'a [u8],
    /// The first `Referer`; empty when absent.
    pub referer: &'a [u8],
    /// `Authorization`, which may stand once. Never to be logged or kept.
    pub authorization: Option<&'a [u8]>,
    /// Whether the client asks not to be tracked: `DNT: 1` or `Sec-GPC: 1`.
    pub is_private: bool,
    /// Which way the request came, in the words of proxies.
    pub forwarded: ForwardedFields<'a>,
    /// Whether the connection stays open behind the answer (RFC 9112, 9.3).
    pub keep_alive: bool,
    /// The head's length, final empty line included, in bytes.
    pub length: usize,
}

/// The head at the front of `bytes`; `None` if more bytes are needed. Bytes behind the head are
/// not looked at, and what the verdict is does not depend on how the bytes arrived.
///
/// # Errors
/// [`Kind::Malformed`], [`Kind::BodyRefused`], [`Kind::TargetTooLong`], [`Kind::HeadTooLarge`],
/// [`Kind::HeadersTooMany`], [`Kind::ExpectationFailed`] and [`Kind::VersionUnsupported`], with
/// what is wrong. Nothing behind such a head can be trusted.
pub fn parse<'a>(bytes: &'a [u8], limits: &HeadLimits) -> Result<Option<RequestHead<'a>>, Fault> {
    let bounded = bytes.get(..limits.head_bytes).unwrap_or(bytes);
    let Some(lines) = skip_empty_line(bounded)? else {
        return Ok(None);
    };
    let mut fields = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let fields = fields.get_mut(..limits.headers).unwrap_or_default();
    let mut head = httparse::Request::new(&mut []);
    let length = match head.parse_with_uninit_headers(lines, fields) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < limits.head_bytes => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(too_long(lines)),
        Err(error) => return Err(explain(error, lines)),
    };
    let (Some(method), Some(target), Some(minor)) = (head.method, head.path, head.version) else {
        return Err(malformed("the request line is not complete"));
    };
    if !all_end_in_crlf(lines.get(..length).unwrap_or_default(), head.headers.len()) {
        return Err(malformed("a line ends in LF without CR"));
    }
    let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    let length = bounded.len() - lines.len() + length;
    let fields = head.headers.iter().map(|field| (field.name, field.value));
    of(method, target, version, fields, length).map(Some)
}

/// The head that these words make, which somebody else has told apart. Names are tokens and values have no
/// end of a line in them.
///
/// # Errors
/// As [`parse`].
pub fn of<'a>(
    method: &'a str,
    target: &'a str,
    version: Version,
    fields: impl Iterator<Item = (&'a str, &'a [u8])>,
    length: usize,
) -> Result<RequestHead<'a>, Fault> {
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        other => Method::Other(other.as_bytes()),
    };
    let target = Target::parse(method, target.as_bytes())?;
    let fields = Fields::read(fields)?;
    fields.check_framing(method, version)?;
    let host = fields.host_of(&target, version)?;
    Ok(RequestHead {
        method,
        version,
        path: target.path,
        query: target.query,
        host,
        user_agent: fields.user_agent.unwrap_or_default(),
        referer: fields.referer.unwrap_or_default(),
        authorization: fields.authorization,
        is_private: fields.is_private,
        forwarded: fields.forwarded,
        keep_alive: fields.persistence.stays(version),
        length,
    })
}

/// What the header fields say that the gateway listens to. All others pass unread.
#[derive(Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    user_agent: Option<&'a [u8]>,
    referer: Option<&'a [u8]>,
    authorization: Option<&'a [u8]>,
    is_private: bool,
    forwarded: ForwardedFields<'a>,
    content_length: Option<&'a [u8]>,
    transfer_encoding: bool,
    persistence: Persistence,
}

impl<'a> Fields<'a> {
    fn read(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<Self, Fault> {
        let mut fields = Self::default();
        for (name, value) in headers {
            fields.add(name, value)?;
        }
        Ok(fields)
    }

    fn add(&mut self, name: &str, value: &'a [u8]) -> Result<(), Fault> {
        // The length first: most fields are none of these, and then no letter is compared.
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            3 if is("DNT") => self.is_private |= value == b"1",
            4 if is("Host") => {
                let earlier = self.host.replace(value);
                refuse_second(earlier, "several Host fields")?;
            }
            // 100-continue is met by the answer itself: there is no body to wait for (RFC 9110,
            // 10.1.1).
            6 if is("Expect") && !value.eq_ignore_ascii_case(b"100-continue") => {
                let detail = "only 100-continue can be expected";
                return Err(Fault::new(Kind::ExpectationFailed, detail));
            }
            7 if is("Referer") => {
                self.referer.get_or_insert(value);
            }
            7 if is("Sec-GPC") => self.is_private |= value == b"1",
            9 if is("Forwarded") => self.forwarded.push_forwarded(value),
            10 if is("User-Agent") => {
                self.user_agent.get_or_insert(value);
            }
            10 if is("Connection") => self.persistence.add(value),
            13 if is("Authorization") => {
                let earlier = self.authorization.replace(value);
                refuse_second(earlier, "several Authorization fields")?;
            }
            14 if is("Content-Length") => {
                let earlier = self.content_length.replace(value);
                refuse_second(earlier, "several Content-Length fields")?;
                if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
                    return Err(malformed("a Content-Length that is no number"));
                }
            }
            15 if is("X-Forwarded-For") => self.forwarded.push_x_forwarded_for(value),
            17 if is("Transfer-Encoding") => self.transfer_encoding = true,
            _ => {}
        }
        Ok(())
    }

    /// RFC 9112, 6.1 and 6.3: at most one reading of where the body ends, and no body behind GET
    /// and HEAD, where it means nothing and only smuggles.
    fn check_framing(&self, method: Method<'_>, version: Version) -> Result<(), Fault> {
        if self.transfer_encoding && self.content_length.is_some() {
            return Err(malformed("Content-Length beside Transfer-Encoding"));
        }
        if self.transfer_encoding && version == Version::Http10 {
            return Err(malformed("Transfer-Encoding in HTTP/1.0"));
        }
        let announced = self.transfer_encoding
            || self.content_length.is_some_and(|digits| digits.iter().any(|digit| *digit != b'0'));
        match method {
            Method::Get | Method::Head if announced => {
                Err(Fault::new(Kind::BodyRefused, "GET and HEAD have no body here"))
            }
            Method::Get | Method::Head | Method::Other(_) => Ok(()),
        }
    }

    /// The host as sent (RFC 9112, 3.2.2 and 3.3).
    fn host_of(&self, target: &Target<'a>, version: Version) -> Result<Option<&'a [u8]>, Fault> {
        let Some(sent) = self.host else {
            return match (version, target.authority) {
                (Version::Http11 | Version::Http2, _) => Err(malformed("no Host field")),
                (Version::Http10, None) => Ok(None),
                (Version::Http10, Some((authority, _port))) => {
                    Host::parse(authority).map(|_| Some(authority))
                }
            };
        };
        if !target.agrees_with(Host::parse(sent)?)? {
            return Err(malformed("the target's host and the Host field disagree"));
        }
        Ok(Some(sent))
    }
}

/// A field that may stand once stands again, even if it says the same.
fn refuse_second(earlier: Option<&[u8]>, detail: &'static str) -> Result<(), Fault> {
    if earlier.is_some() { Err(malformed(detail)) } else { Ok(()) }
}

/// One empty line before the request line is forgiven (RFC 9112, 2.2).
fn skip_empty_line(bytes: &[u8]) -> Result<Option<&[u8]>, Fault> {
    match bytes {
        [] | [b'\r'] | [b'\r', b'\n'] => Ok(None),
        [b'\r', b'\n', b'\r' | b'\n', ..] | [b'\n', ..] => {
            Err(malformed("an empty line where a request should begin"))
        }
        [b'\r', b'\n', rest @ ..] => Ok(Some(rest)),
        _ => Ok(Some(bytes)),
    }
}

/// What to say of a head that fills its bound.
#[cold]
fn too_long(lines: &[u8]) -> Fault {
    match memchr::memchr(b'\n', lines) {
        Some(_) => Fault::new(Kind::HeadTooLarge, ""),
        None => Fault::new(Kind::TargetTooLong, ""),
    }
}

/// What to say of a head that httparse refuses.
#[cold]
fn explain(error: httparse::Error, lines: &[u8]) -> Fault {
    match error {
        httparse::Error::TooManyHeaders => Fault::new(Kind::HeadersTooMany, ""),
        // What a TLS client says first: a handshake record (RFC 8446, 5.1).
        httparse::Error::Token if lines.first() == Some(&0x16) => {
            malformed("this port speaks plain HTTP, not TLS")
        }
        httparse::Error::Version if names_a_version(lines) => {
            Fault::new(Kind::VersionUnsupported, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        }
        httparse::Error::HeaderName
        | httparse::Error::HeaderValue
        | httparse::Error::NewLine
        | httparse::Error::Token
        | httparse::Error::Version
        | httparse::Error::Status => malformed(
            wrong_field(error).unwrap_or("the request line is not `METHOD /path HTTP/1.1`"),
        ),
    }
}

/// Whether the request line ends in `HTTP/` and a digit, though in none of ours.
fn names_a_version(lines: &[u8]) -> bool {
    let version = lines.splitn(3, |byte| *byte == b' ').nth(2).unwrap_or_default();
    matches!(version.strip_prefix(b"HTTP/"), Some([b'0'..=b'9', ..]))
}

fn malformed(detail: &'static str) -> Fault {
    Fault::new(Kind::Malformed, detail)
}
