//! Requests and answers between HTTP/2 and the words of HTTP/1.1. There is one parser of requests and
//! one place where answers are written; what comes as frames goes through the same.

use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::encode::Out;
use crate::pure::http1::response::fields;

/// A request's pseudo-header fields (RFC 9113, 8.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pseudo<'r> {
    /// `:method`
    pub method: &'r [u8],
    /// `:authority`
    pub authority: Option<&'r [u8]>,
    /// `:path`; none for CONNECT.
    pub path: Option<&'r [u8]>,
}

/// Writes a request as the head that HTTP/1.1 has for it. What its parser refuses is refused then,
/// be it a byte that no URL has or two fields where there may be one.
///
/// # Errors
/// Where the host is named twice, and not alike, or the head does not fit.
pub fn write_request<'r>(
    out: &mut Out<'_>,
    pseudo: Pseudo<'r>,
    fields: impl Iterator<Item = (&'r [u8], &'r [u8])>,
) -> Result<(), Fault> {
    out.put(pseudo.method);
    out.put(" ");
    // CONNECT names the authority alone.
    out.put(pseudo.path.or(pseudo.authority).unwrap_or_default());
    out.put(" HTTP/1.1");
    if let Some(authority) = pseudo.authority {
        put_field(out, b"Host", authority);
    }
    for (name, value) in fields {
        let is_host = name.eq_ignore_ascii_case(b"host");
        match pseudo.authority {
            Some(authority) if is_host && value.eq_ignore_ascii_case(authority) => {}
            Some(_) if is_host => return Err(Fault::new(Kind::Malformed, TWO_HOSTS)),
            _ => put_field(out, name, value),
        }
    }
    out.put("\r\n\r\n");
    if out.is_overrun() { Err(Fault::new(Kind::HeadTooLarge, "")) } else { Ok(()) }
}

/// An answer of ours, taken apart.
pub struct Parts<'a> {
    /// Its status.
    pub status: u16,
    head: &'a [u8],
    /// What follows the head.
    pub body: &'a [u8],
    /// How long the body is said to be.
    pub length: Option<u64>,
}

impl<'a> Parts<'a> {
    /// Those of an answer whose head is whole.
    pub fn of(answer: &'a [u8]) -> Option<Self> {
        let end = memchr::memmem::find(answer, b"\r\n\r\n")? + 4;
        let (head, body) = answer.split_at_checked(end)?;
        let digits = head.get("HTTP/1.1 ".len()..)?.get(..3)?;
        let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
        let mut lengths =
            fields(head).filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = lengths.next().and_then(|(_, value)| std::str::from_utf8(value).ok());
        Some(Self { status, head, body, length: length.and_then(|it| it.parse().ok()) })
    }

    /// Its fields, but for those that concern a connection of HTTP/1.1 (RFC 9113, 8.2.2).
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let of_connection = |name: &str| match name.len() {
            10 => {
                name.eq_ignore_ascii_case("connection") || name.eq_ignore_ascii_case("keep-alive")
            }
            17 => name.eq_ignore_ascii_case("transfer-encoding"),
            _ => false,
        };
        fields(self.head).filter(move |(name, _)| !of_connection(name))
    }
}

fn put_field(out: &mut Out<'_>, name: &[u8], value: &[u8]) {
    out.put("\r\n");
    out.put(name);
    out.put(": ");
    out.put(value);
}

const TWO_HOSTS: &str = ":authority and the Host field disagree";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::http1::head::{self, HeadLimits, Method};

    fn written(pseudo: Pseudo<'_>, fields: &[(&str, &str)]) -> Result<String, Fault> {
        let mut memory = [0; 256];
        let mut out = Out::new(&mut memory, 0);
        let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        write_request(&mut out, pseudo, fields)?;
        Ok(String::from_utf8(out.written(0).to_vec()).unwrap())
    }

    const PSEUDO: Pseudo<'static> =
        Pseudo { method: b"GET", authority: Some(b"a.b"), path: Some(b"/v2/?n=1") };

    #[test]
    fn a_request_reads_as_it_would_have_come_by_the_older_version() {
        let text = written(PSEUDO, &[("user-agent", "docker/29"), ("host", "A.b")]).unwrap();
        assert_eq!(text, "GET /v2/?n=1 HTTP/1.1\r\nHost: a.b\r\nuser-agent: docker/29\r\n\r\n");
        let limits = HeadLimits { head_bytes: 256, headers: 8 };
        let head = head::parse(text.as_bytes(), &limits).unwrap().unwrap();
        assert_eq!(
            (head.method, head.path, head.host),
            (Method::Get, &b"/v2/"[..], Some(&b"a.b"[..]))
        );
        let by_host = Pseudo { authority: None, ..PSEUDO };
        let text = written(by_host, &[("host", "a.b")]).unwrap();
        assert_eq!(text, "GET /v2/?n=1 HTTP/1.1\r\nhost: a.b\r\n\r\n");
        let connect = Pseudo { method: b"CONNECT", authority: Some(b"a.b:1"), path: None };
        assert_eq!(written(connect, &[]).unwrap(), "CONNECT a.b:1 HTTP/1.1\r\nHost: a.b:1\r\n\r\n");
    }

    #[test]
    fn two_hosts_and_a_head_without_end_are_refused() {
        let kind = |fields: &[(&str, &str)]| written(PSEUDO, fields).unwrap_err().kind;
        assert_eq!(kind(&[("host", "b.c")]), Kind::Malformed);
        assert_eq!(kind(&[("x", &"y".repeat(256))]), Kind::HeadTooLarge);
    }

    #[test]
    fn an_answer_is_taken_apart_and_what_concerns_the_connection_stays() {
        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\
                       Transfer-Encoding: chunked\r\nVia: 1.1 x\r\n\r\n{}";
        let parts = Parts::of(answer).unwrap();
        assert_eq!((parts.status, parts.body, parts.length), (404, &b"{}"[..], Some(2)));
        let told: Vec<_> = parts.fields().map(|(name, _)| name).collect();
        assert_eq!(told, ["Content-Length", "Via"]);
        assert!(Parts::of(b"HTTP/1.1 404 Not Found\r\nConten").is_none());
    }
}
