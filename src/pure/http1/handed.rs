//! Requests for the dashboard on their way to the control plane, and its answers on their way back.
//!
//! Both sides are ours, so everything passes but what concerns one connection, and what a client must not
//! say: who it is, and by which way it came. A body passes as it comes, framed anew.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::ops::Range;

use super::body::{CHUNK_AROUND_BYTES, CHUNK_BEFORE_BYTES, LAST_CHUNK, chunk};
use super::chunked::Chunked;
use super::encode::{Connection, Manner, Out};
use super::head::{Method, RequestHead, Version};
use super::relayed::{Length, reason};
use super::response::{Framing, field, fields, fields_named};
use crate::pure::fault::{Fault, Kind};

/// Who a request is of, and how it came.
#[derive(Clone, Copy, Debug)]
pub struct Of {
    /// The client's address; IPv4 in its mapped form.
    pub address: [u8; 16],
    /// Whether the client speaks https, to us or to a proxy that is believed.
    pub is_https: bool,
}

/// How the body behind a request's head is framed, `bytes` being the head. That it is not framed twice, and
/// is none behind GET and HEAD, is known from parsing it.
///
/// # Errors
/// [`Kind::Malformed`] for a coding other than `chunked`, or one that is named twice, and for a length that
/// is none.
pub fn framing(bytes: &[u8]) -> Result<Framing, Fault> {
    let mut codings = fields_named(bytes, "Transfer-Encoding");
    if let Some(coding) = codings.next() {
        return match coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none() {
            true => Ok(Framing::Chunked),
            false => Err(Fault::new(Kind::Malformed, "a Transfer-Encoding that is not `chunked`")),
        };
    }
    let Some(digits) = field(bytes, "Content-Length") else {
        return Ok(Framing::None);
    };
    let length = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    match length {
        Some(0) => Ok(Framing::None),
        Some(length) => Ok(Framing::Length(length)),
        None => Err(Fault::new(Kind::Malformed, "a Content-Length that is no number")),
    }
}

/// Whether the client waits to be told to send its body (RFC 9110, 10.1.1). That it expects nothing else is
/// known from parsing its head.
pub fn expects_word(head: &RequestHead<'_>, bytes: &[u8]) -> bool {
    head.version != Version::Http10 && field(bytes, "Expect").is_some()
}

/// Whether a proxy, which the caller believes, says that the client speaks https.
pub fn says_https(bytes: &[u8]) -> bool {
    field(bytes, "X-Forwarded-Proto").is_some_and(|said| said.eq_ignore_ascii_case(b"https"))
}

/// The request's head as the control plane gets it: `bytes` is the head that was parsed to `head`, `body` how
/// what follows is framed. Where the client `waits` for a word, so do we. The control plane closes the
/// connection behind its answer.
pub fn request(
    head: &RequestHead<'_>,
    bytes: &[u8],
    of: Of,
    body: Framing,
    waits: bool,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + AROUND_BYTES);
    let method = match head.method {
        Method::Get => &b"GET"[..],
        Method::Head => b"HEAD",
        Method::Other(method) => method,
    };
    out.extend_from_slice(method);
    out.push(b' ');
    out.extend_from_slice(head.path);
    if let Some(query) = head.query {
        out.push(b'?');
        out.extend_from_slice(query);
    }
    out.extend_from_slice(b" HTTP/1.1");
    let mut put = |name: &str, value: &[u8]| {
        for piece in [b"\r\n", name.as_bytes(), b": ", value] {
            out.extend_from_slice(piece);
        }
    };
    put("Host", head.host.unwrap_or_default());
    for (name, value) in fields(bytes).filter(|(name, _)| passes(bytes, name, &NEVER_IN)) {
        put(name, value);
    }
    put(CLIENT_FIELD, shown(of.address).as_bytes());
    put("X-Forwarded-Proto", if of.is_https { b"https" } else { b"http" });
    match body {
        Framing::None if matches!(head.method, Method::Get | Method::Head) => {}
        Framing::None => put("Content-Length", b"0"),
        Framing::Length(length) => put("Content-Length", length.to_string().as_bytes()),
        Framing::Chunked | Framing::UntilClose => put("Transfer-Encoding", b"chunked"),
    }
    if waits {
        put("Expect", b"100-continue");
    }
    put("Connection", b"close");
    out.extend_from_slice(b"\r\n\r\n");
    out
}

/// A piece of the body, of at least a byte, as the control plane gets it.
pub fn piece(body: Framing, bytes: &[u8]) -> Cow<'_, [u8]> {
    if matches!(body, Framing::None | Framing::Length(_)) {
        return Cow::Borrowed(bytes);
    }
    let mut framed = vec![0; bytes.len() + CHUNK_AROUND_BYTES];
    let within = CHUNK_BEFORE_BYTES..CHUNK_BEFORE_BYTES + bytes.len();
    if let Some(room) = framed.get_mut(within.clone()) {
        room.copy_from_slice(bytes);
    }
    let of = chunk(&mut framed, within, false);
    framed.truncate(of.end);
    framed.drain(..of.start);
    Cow::Owned(framed)
}

/// What stands behind the last piece.
pub fn end(body: Framing) -> &'static [u8] {
    match body {
        Framing::None | Framing::Length(_) => b"",
        Framing::Chunked | Framing::UntilClose => LAST_CHUNK,
    }
}

/// A request's body in what its client sends by HTTP/1.1, as far as it has come.
pub enum Coming {
    /// So many bytes are to come.
    Length(u64),
    /// Chunks are to come.
    Chunks(Chunked),
    /// All of it has come: what follows is the next request.
    Over,
}

impl Coming {
    /// A body framed so, of which nothing has come.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::UntilClose | Framing::Length(0) => Self::Over,
            Framing::Length(bytes) => Self::Length(bytes),
            Framing::Chunked => Self::Chunks(Chunked::new()),
        }
    }

    /// Whether all of it has come.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }

    /// Which bytes of `input` are the body's next, if any; what stands before them is framing. Up to their
    /// end `input` is done with.
    ///
    /// # Errors
    /// Where there are no chunks in it: where the body ends cannot be known any more.
    pub fn step(&mut self, input: &[u8]) -> Result<Range<usize>, Fault> {
        let (data, is_over) = match self {
            Self::Over => return Ok(0..0),
            Self::Length(left) => {
                let here = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= here as u64;
                (0..here, *left == 0)
            }
            Self::Chunks(chunks) => {
                let step = chunks.decode(input)?;
                (step.skip..step.skip + step.data, step.done)
            }
        };
        if is_over {
            *self = Self::Over;
        }
        Ok(data)
    }
}

/// Writes the head of the control plane's answer, whose head is `bytes`, as the client gets it.
pub fn answer(
    out: &mut Out<'_>,
    manner: &Manner<'_>,
    status: u16,
    bytes: &[u8],
    length: Length<'_>,
) {
    put_status(out, status);
    for (name, value) in fields(bytes).filter(|(name, _)| passes(bytes, name, &NEVER_OUT)) {
        put_field(out, name, value);
    }
    put_end(out, manner, length);
}

/// Writes an answer of ours, in words, where the control plane gives none.
pub fn words(out: &mut Out<'_>, manner: &Manner<'_>, status: u16, words: &str) {
    put_status(out, status);
    put_field(out, "Content-Type", b"text/plain; charset=utf-8");
    put_field(out, "Cache-Control", b"no-store");
    if status == 503 {
        put_field(out, "Retry-After", b"5");
    }
    put_end(out, manner, Length::Known(words.len() as u64));
    if !manner.head_only {
        out.put(words);
    }
}

fn put_status(out: &mut Out<'_>, status: u16) {
    out.put("HTTP/1.1 ");
    out.put_number(usize::from(status));
    out.put(" ");
    out.put(reason(status));
}

fn put_field(out: &mut Out<'_>, name: &str, value: &[u8]) {
    out.put("\r\n");
    out.put(name);
    out.put(": ");
    out.put(value);
}

fn put_end(out: &mut Out<'_>, manner: &Manner<'_>, length: Length<'_>) {
    match length {
        Length::Known(bytes) => {
            out.put("\r\nContent-Length: ");
            out.put_number(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        Length::Said(digits) => put_field(out, "Content-Length", digits),
        Length::Chunked => out.put("\r\nTransfer-Encoding: chunked"),
        Length::Unsaid => {}
    }
    put_field(out, "Date", manner.date);
    match manner.connection {
        Connection::Stays => {}
        Connection::StaysSaid => out.put("\r\nConnection: keep-alive"),
        Connection::Closes => out.put("\r\nConnection: close"),
    }
    out.put("\r\n\r\n");
    out.end_head();
}

/// Whether a field passes that is not among those that never do, nor nominated by `Connection`.
fn passes(bytes: &[u8], name: &str, never: &[&str]) -> bool {
    let of_proxies = |prefix: &str| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let mut nominated = fields_named(bytes, "Connection")
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii);
    !never.iter().any(|one| one.eq_ignore_ascii_case(name))
        && !of_proxies("Proxy-")
        && !of_proxies("X-Forwarded-")
        && !nominated.any(|one| one.eq_ignore_ascii_case(name.as_bytes()))
}

/// An address as the control plane reads it.
fn shown(address: [u8; 16]) -> String {
    Ipv6Addr::from(address).to_canonical().to_string()
}

/// The field by which workers tell the control plane who the client is, over their socket alone.
pub const CLIENT_FIELD: &str = "Pullgate-Client";

/// Fields of a request that are said anew, or end here (RFC 9110, 7.6.1).
const NEVER_IN: [&str; 12] = [
    CLIENT_FIELD,
    "Connection",
    "Content-Length",
    "Expect",
    "Forwarded",
    "Host",
    "Keep-Alive",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "X-Real-IP",
];

/// The same of an answer.
const NEVER_OUT: [&str; 7] = [
    "Connection",
    "Content-Length",
    "Date",
    "Keep-Alive",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

/// Room for what is added around a request.
const AROUND_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pure::http1::encode::DATE_BYTES;
    use crate::pure::http1::head::{HeadLimits, parse};

    const LIMITS: HeadLimits = HeadLimits { head_bytes: 4096, headers: 64 };
    const LOCAL: Of =
        Of { address: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 7], is_https: true };

    fn handed(text: &str) -> String {
        let text = text.replace('\n', "\r\n");
        let bytes = text.as_bytes();
        let head = parse(bytes, &LIMITS).unwrap().unwrap();
        let (body, waits) = (framing(bytes).unwrap(), expects_word(&head, bytes));
        let handed = request(&head, bytes, LOCAL, body, waits);
        // It is a request again, none of it is left over, and its body is framed as it was.
        let again = parse(&handed, &LIMITS).unwrap().unwrap();
        assert_eq!((again.length, framing(&handed).unwrap()), (handed.len(), body));
        String::from_utf8(handed).unwrap().replace("\r\n", "\n")
    }

    #[test]
    fn a_request_says_who_its_client_is_by_our_word_alone() {
        let sent = "POST http://Counts.acme.com:80/sign-in?a=b HTTP/1.1\nHost: Counts.acme.com:80\n\
                    Cookie: a=b\nPullgate-Client: 198.51.100.1\npullgate-client: ::1\n\
                    X-Forwarded-For: 198.51.100.2\nForwarded: for=198.51.100.3\nX-Real-IP: 1.2.3.4\n\
                    X-Forwarded-Proto: http\nX-Forwarded-Host: evil.example\nConnection: x-gone, close\n\
                    X-Gone: 1\nProxy-Authorization: a\nContent-Length: 9\nExpect: 100-continue\n\n";
        assert_eq!(
            handed(sent),
            "POST /sign-in?a=b HTTP/1.1\nHost: Counts.acme.com:80\nCookie: a=b\n\
             Pullgate-Client: 192.0.2.7\nX-Forwarded-Proto: https\nContent-Length: 9\n\
             Expect: 100-continue\nConnection: close\n\n"
        );
        let chunked = "POST /a HTTP/1.1\nHost: a\nTransfer-Encoding: Chunked\nTrailer: a\n\n";
        assert!(handed(chunked).ends_with("\nTransfer-Encoding: chunked\nConnection: close\n\n"));
        let none = "POST /a HTTP/1.1\nHost: a\n\n";
        assert!(handed(none).ends_with("\nContent-Length: 0\nConnection: close\n\n"));
        assert!(!handed("GET /a HTTP/1.1\nHost: a\n\n").contains("Content-Length"));
        // Who speaks HTTP/1.0 waits for no word, whatever it says (RFC 9110, 10.1.1).
        let old = "POST /a HTTP/1.0\nHost: a\nContent-Length: 1\nExpect: 100-continue\n\n";
        assert!(!handed(old).contains("Expect"));
    }

    proptest! {
        #[test]
        fn a_body_is_the_same_on_both_sides(
            chunks in prop::collection::vec("[a-z\r\n]{1,20}", 0..5),
            is_chunked: bool,
            pieces in prop::collection::vec(1usize..30, 1..9),
        ) {
            let (body, behind) = (chunks.concat(), "GET / HTTP/1.1\r\n");
            let mut wire = String::new();
            for chunk in chunks.iter().filter(|_| is_chunked) {
                wire += &format!("{:x};a=b\r\n{chunk}\r\n", chunk.len());
            }
            wire += if is_chunked { "0\r\nA: b\r\n\r\n" } else { &body };
            let framing =
                if is_chunked { Framing::Chunked } else { Framing::Length(body.len() as u64) };
            let length = wire.len();
            wire += behind;
            let (mut coming, mut handed, mut at) = (Coming::new(framing), Vec::new(), 0);
            for piece_bytes in pieces.iter().cycle() {
                if coming.is_over() {
                    break;
                }
                let came = &wire.as_bytes()[at..wire.len().min(at + piece_bytes)];
                let data = coming.step(came).unwrap();
                at += data.end;
                if !data.is_empty() {
                    handed.extend_from_slice(&piece(framing, &came[data]));
                }
            }
            handed.extend_from_slice(end(framing));
            prop_assert_eq!(at, length, "what stands behind the body is not touched");
            let mut again = Coming::new(framing);
            let (mut body_again, mut at) = (Vec::new(), 0);
            while !again.is_over() {
                let data = again.step(&handed[at..]).unwrap();
                prop_assert!(!handed[at..].is_empty());
                body_again.extend_from_slice(&handed[at..][data.clone()]);
                at += data.end;
            }
            prop_assert_eq!((at, body_again), (handed.len(), body.into_bytes()));
        }
    }

    #[test]
    fn a_body_is_framed_in_one_way() {
        let of = |fields: &str| framing(format!("POST / HTTP/1.1\r\n{fields}\r\n\r\n").as_bytes());
        for (fields, expected) in [
            ("Host: a", Some(Framing::None)),
            ("Content-Length: 0", Some(Framing::None)),
            ("Content-Length: 17", Some(Framing::Length(17))),
            ("Content-Length: 99999999999999999999", None),
            ("Transfer-Encoding: Chunked", Some(Framing::Chunked)),
            ("Transfer-Encoding: gzip, chunked", None),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", None),
            ("Transfer-Encoding: xchunked", None),
        ] {
            assert_eq!(of(fields).ok(), expected, "{fields}");
        }
    }

    #[test]
    fn an_answer_passes_but_for_what_concerns_its_connection() {
        const DATE: &[u8; DATE_BYTES] = b"Mon, 23 Nov 2026 21:00:00 GMT";
        let written = |put: &dyn Fn(&mut Out<'_>, &Manner<'_>), head_only| {
            let mut memory = [0; 1024];
            let mut out = Out::new(&mut memory, 0);
            put(&mut out, &Manner { date: DATE, head_only, connection: Connection::Closes });
            String::from_utf8(out.written(0).to_vec()).unwrap().replace("\r\n", "\n")
        };
        let bytes =
            b"HTTP/1.1 303 See Other\r\nLocation: /\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\
            Content-Length: 0\r\nDate: then\r\nConnection: close\r\n\r\n";
        assert_eq!(
            written(&|out, manner| answer(out, manner, 303, bytes, Length::Known(0)), false),
            "HTTP/1.1 303 See Other\nLocation: /\nSet-Cookie: a=b\nSet-Cookie: c=d\n\
             Content-Length: 0\nDate: Mon, 23 Nov 2026 21:00:00 GMT\nConnection: close\n\n"
        );
        for (head_only, body) in [(false, "come again\n"), (true, "")] {
            let said = written(&|out, manner| words(out, manner, 503, "come again\n"), head_only);
            assert!(said.contains("\nContent-Length: 11\n") && said.contains("\nRetry-After: 5\n"));
            assert_eq!(said.split_once("\n\n").unwrap().1, body, "{said}");
        }
    }
}
