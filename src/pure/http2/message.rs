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
pub fn fields_of(head: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    let of_connection = |name: &str| match name.len() {
        10 => name.eq_ignore_ascii_case("connection") || name.eq_ignore_ascii_case("keep-alive"),
        17 => name.eq_ignore_ascii_case("transfer-encoding"),
        _ => false,
    };
    fields(head).filter(move |(name, _)| !of_connection(name))
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
        let (head, body) = split_head(answer).unwrap();
        assert_eq!((status(head), body), (Some(404), &b"{}"[..]));
        let told: Vec<_> = fields_of(head).map(|(name, _)| name).collect();
        assert_eq!(told, ["Content-Length", "Via"]);
        assert!(split_head(b"HTTP/1.1 404 Not Found\r\nConten").is_none());
    }
}
