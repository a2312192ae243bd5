//! Requests and answers between HTTP/2 and the words of HTTP/1.1. There is one reader of requests and
//! one place where answers are written; what comes as frames goes through the same.

use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::encode::Out;
use crate::pure::http1::head::{self, HeadLimits, RequestHead, Version};
use crate::pure::http1::response::lines;

/// A request as the library tells it: names are tokens in small letters, values have no end of a line in
/// them.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r, F> {
    /// `:method` (RFC 9113, 8.3.1)
    pub method: &'r str,
    /// `:authority`
    pub authority: Option<&'r str>,
    /// `:path`; none for CONNECT.
    pub path: Option<&'r str>,
    /// The fields that are no pseudo-header fields, in their order.
    pub fields: F,
}

impl<'r, F, N, V> Request<'r, F>
where
    F: Copy + IntoIterator<Item = (&'r N, &'r V)>,
    N: AsRef<str> + 'r,
    V: AsRef<[u8]> + 'r,
{
    /// Writes the head that HTTP/1.1 has for it.
    ///
    /// # Errors
    /// Where it is beyond these limits, or does not fit.
    pub fn write(&self, out: &mut Out<'_>, limits: &HeadLimits) -> Result<(), Fault> {
        let before = out.used();
        out.put(self.method);
        out.put(" ");
        out.put(self.target());
        out.put(" HTTP/1.1");
        let mut count = 0;
        for (name, value) in self.all_fields() {
            out.put("\r\n");
            out.put(name);
            out.put(": ");
            out.put(value);
            count += 1;
        }
        out.put("\r\n\r\n");
        match () {
            () if count > limits.headers => Err(Fault::new(Kind::HeadersTooMany, "")),
            () if out.is_overrun() || out.used() - before > limits.head_bytes => {
                Err(Fault::new(Kind::HeadTooLarge, ""))
            }
            () => Ok(()),
        }
    }

    /// What it says, as if it had come in the `length` bytes that were written. What is refused of the
    /// older version is refused here, be it a byte that no URL has or two fields where there may be one.
    ///
    /// # Errors
    /// As [`head::parse`], and where the host is named twice, and not alike.
    pub fn head(&self, length: usize) -> Result<RequestHead<'r>, Fault> {
        let is_other = |value: &[u8]| {
            self.authority.is_some_and(|host| !value.eq_ignore_ascii_case(host.as_bytes()))
        };
        let is_said_otherwise = |(name, value)| is_host(name) && is_other(value);
        if self.texts().any(is_said_otherwise) {
            return Err(Fault::new(Kind::Malformed, TWO_HOSTS));
        }
        head::of(self.method, self.target(), Version::Http2, self.all_fields(), length)
    }

    /// CONNECT names the authority alone.
    fn target(&self) -> &'r str {
        self.path.or(self.authority).unwrap_or_default()
    }

    /// The authority is the host, and stands first; who says it again has said it.
    fn all_fields(&self) -> impl Iterator<Item = (&'r str, &'r [u8])> {
        let is_named = self.authority.is_some();
        let host = self.authority.map(|host| ("Host", host.as_bytes()));
        let others = self.texts().filter(move |(name, _)| !(is_named && is_host(name)));
        host.into_iter().chain(others)
    }

    fn texts(&self) -> impl Iterator<Item = (&'r str, &'r [u8])> {
        // Spaces around a value are no part of it (RFC 9110, 5.5).
        self.fields.into_iter().map(|(name, value)| (name.as_ref(), value.as_ref().trim_ascii()))
    }
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host")
}

/// The head of an answer of ours that is whole, and what follows it.
pub fn split_head(answer: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_last = |at: &usize| answer.get(at + 1..).is_some_and(|rest| rest.starts_with(b"\r\n"));
    let last = memchr::memchr_iter(b'\n', answer).find(is_last)?;
    answer.split_at_checked(last + 3)
}

/// The status that a head begins with.
pub fn status(head: &[u8]) -> Option<u16> {
    let digits = head.get("HTTP/1.1 ".len()..)?.get(..3)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The fields of an answer's head, but for those that concern a connection of HTTP/1.1 (RFC 9113, 8.2.2).
pub fn fields_of(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let of_connection = |name: &[u8]| match name.len() {
        10 => name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"keep-alive"),
        17 => name.eq_ignore_ascii_case(b"transfer-encoding"),
        _ => false,
    };
    lines(head).filter(move |(name, _)| !of_connection(name))
}

const TWO_HOSTS: &str = ":authority and the Host field disagree";

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;
    use crate::pure::http1::head::Method;

    type Read<'r> = Request<'r, &'r HeaderMap>;

    const LIMITS: HeadLimits = HeadLimits { head_bytes: 256, headers: 4 };

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).unwrap();
        let value = |value: &str| HeaderValue::from_str(value).unwrap();
        fields.iter().map(|(field, said)| (name(field), value(said))).collect()
    }

    fn get(fields: &HeaderMap) -> Read<'_> {
        Request { method: "GET", authority: Some("a.b"), path: Some("/v2/?n=1"), fields }
    }

    fn written(request: &Read<'_>) -> Result<String, Fault> {
        let mut memory = [0; 512];
        let mut out = Out::new(&mut memory, 0);
        request.write(&mut out, &LIMITS)?;
        Ok(String::from_utf8(out.written(0).to_vec()).unwrap())
    }

    #[test]
    fn a_request_reads_as_it_would_have_come_by_the_older_version() {
        let fields = map(&[("user-agent", "docker/29"), ("host", "A.b")]);
        let text = written(&get(&fields)).unwrap();
        assert_eq!(text, "GET /v2/?n=1 HTTP/1.1\r\nHost: a.b\r\nuser-agent: docker/29\r\n\r\n");
        let head = get(&fields).head(text.len()).unwrap();
        assert_eq!(
            (head.method, head.path, head.host),
            (Method::Get, &b"/v2/"[..], Some(&b"a.b"[..]))
        );
        assert_eq!((head.user_agent, head.version), (&b"docker/29"[..], Version::Http2));
        let fields = map(&[("host", "a.b")]);
        let text = written(&Request { authority: None, ..get(&fields) }).unwrap();
        assert_eq!(text, "GET /v2/?n=1 HTTP/1.1\r\nhost: a.b\r\n\r\n");
        let fields = map(&[]);
        let connect =
            Request { method: "CONNECT", authority: Some("a.b:1"), path: None, fields: &fields };
        assert_eq!(written(&connect).unwrap(), "CONNECT a.b:1 HTTP/1.1\r\nHost: a.b:1\r\n\r\n");
        assert_eq!(connect.head(0).unwrap().path, b"a.b:1");
    }

    #[test]
    fn two_hosts_and_a_head_beyond_its_limits_are_refused() {
        let fields = map(&[("host", "b.c")]);
        assert_eq!(get(&fields).head(0).unwrap_err().kind, Kind::Malformed);
        let kind = |fields: &HeaderMap| written(&get(fields)).unwrap_err().kind;
        assert_eq!(kind(&map(&[("x", &"y".repeat(230))])), Kind::HeadTooLarge);
        assert_eq!(kind(&map(&[("x", &"y".repeat(600))])), Kind::HeadTooLarge);
        assert_eq!(kind(&map(&[("a", ""), ("b", ""), ("c", ""), ("d", "")])), Kind::HeadersTooMany);
    }

    proptest! {
        /// What was written is read again where a registry is asked: both have to say the same.
        #[test]
        fn what_is_read_is_what_was_written(
            method in prop::sample::select(vec!["GET", "HEAD", "POST", "OPTIONS", "CONNECT", "get"]),
            authority in prop::option::of(prop::sample::select(vec!["a.b", "a.b:5000", "a b", "[::1]:1", ""])),
            path in prop::option::of("(/[a-z\"{}%é?#/]{0,12})|\\*|http://c\\.d/x"),
            fields in prop::collection::vec(
                (
                    prop::sample::select(vec![
                        "host", "user-agent", "referer", "authorization", "dnt", "sec-gpc", "expect",
                        "content-length", "transfer-encoding", "connection", "x-forwarded-for", "x",
                    ]),
                    prop::sample::select(vec!["", "0", "1", "a.b", "close", "100-continue", " x "]),
                ),
                0..5,
            ),
        ) {
            let fields = map(&fields);
            let path = path.as_deref();
            let request = Request { method, authority, path, fields: &fields };
            let limits = HeadLimits { head_bytes: 512, headers: 8 };
            let mut memory = [0; 1024];
            let mut out = Out::new(&mut memory, 0);
            prop_assert!(request.write(&mut out, &limits).is_ok());
            let read = request.head(out.used());
            let is_two_hosts = matches!(&read, Err(fault) if fault.detail == TWO_HOSTS);
            // The library tells no target that has no byte of its own.
            prop_assume!(!is_two_hosts && !request.target().is_empty());
            let text = out.written(0);
            match (read, head::parse(text, &limits)) {
                (Ok(read), Ok(Some(again))) => {
                    prop_assert_eq!(read, RequestHead { version: Version::Http2, ..again });
                }
                (Err(_), Err(_)) => {}
                (read, again) => prop_assert!(false, "{read:?} and {again:?}"),
            }
        }
    }

    #[test]
    fn an_answer_is_taken_apart_and_what_concerns_the_connection_stays() {
        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\
                       Transfer-Encoding: chunked\r\nVia: 1.1 x\r\n\r\n{}";
        let (head, body) = split_head(answer).unwrap();
        assert_eq!((status(head), body), (Some(404), &b"{}"[..]));
        let told: Vec<_> = fields_of(head).map(|(name, _)| name).collect();
        assert_eq!(told, [&b"Content-Length"[..], b"Via"]);
        assert!(split_head(b"HTTP/1.1 404 Not Found\r\nConten").is_none());
    }
}
