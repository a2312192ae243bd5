//! Request targets and hosts (RFC 9112, 3.2; RFC 9110, 4.2).

use std::net::Ipv6Addr;

use memchr::memchr;

use crate::pure::fault::{Fault, Kind};
use crate::pure::limits::HOST_BYTES_MAX;

/// A request's method. Methods are case-sensitive (RFC 9110, 9.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method<'a> {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// Any other token.
    Other(&'a [u8]),
}

/// A request target, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Target<'a> {
    /// Begins with `/`; `*` in asterisk-form, the authority in authority-form.
    pub(super) path: &'a [u8],
    /// What stands behind the first `?`.
    pub(super) query: Option<&'a [u8]>,
    /// The authority of an absolute-form, and the port that its scheme implies.
    pub(super) authority: Option<(&'a [u8], u16)>,
}

/// A host with its port, as `Host` and an authority have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Host<'a> {
    name: &'a [u8],
    port: Option<u16>,
}

impl<'a> Target<'a> {
    /// The target that `bytes` are, in the form that `method` allows.
    pub(super) fn parse(method: Method<'_>, bytes: &'a [u8]) -> Result<Self, Fault> {
        let target = match (method, bytes) {
            (Method::Other(b"CONNECT"), _) => {
                if Host::parse(bytes)?.port.is_none() {
                    return Err(malformed("CONNECT without a port"));
                }
                return Ok(Self { path: bytes, query: None, authority: None });
            }
            (Method::Other(b"OPTIONS"), b"*") => {
                return Ok(Self { path: bytes, query: None, authority: None });
            }
            (_, [b'/', ..]) => Self::from_path(bytes, None),
            _ => Self::absolute(bytes)
                .ok_or_else(|| malformed("the target is neither a path nor an http URL"))?,
        };
        if !target.path.iter().chain(target.query.unwrap_or_default()).all(is_uri_byte) {
            return Err(malformed("the target has a byte that no URL has"));
        }
        Ok(target)
    }

    /// Whether `host` names the same authority as the target, where the target names one.
    pub(super) fn agrees_with(&self, host: Host<'_>) -> Result<bool, Fault> {
        let Some((authority, port)) = self.authority else {
            return Ok(true);
        };
        let own = Host::parse(authority)?;
        Ok(own.name.eq_ignore_ascii_case(host.name)
            && own.port.unwrap_or(port) == host.port.unwrap_or(port))
    }

    fn absolute(bytes: &'a [u8]) -> Option<Self> {
        let (scheme, rest) = bytes.split_at_checked(memchr(b':', bytes)?)?;
        let rest = rest.strip_prefix(b"://")?;
        let port = match () {
            () if scheme.eq_ignore_ascii_case(b"http") => 80,
            () if scheme.eq_ignore_ascii_case(b"https") => 443,
            () => return None,
        };
        let end = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        Some(Self::from_path(path, Some((authority, port))))
    }

    fn from_path(path_and_query: &'a [u8], authority: Option<(&'a [u8], u16)>) -> Self {
        let (path, query) = match memchr(b'?', path_and_query) {
            Some(at) => {
                (path_and_query.get(..at).unwrap_or_default(), path_and_query.get(at + 1..))
            }
            None => (path_and_query, None),
        };
        // Only an absolute-form's path can be empty (RFC 9110, 4.2.3).
        Self { path: if path.is_empty() { b"/" } else { path }, query, authority }
    }
}

impl<'a> Host<'a> {
    /// The host that `bytes` are: a DNS name, an IPv4 address or a bracketed IPv6 address, and
    /// maybe a port. URLs may have more in this place; no registry's host does.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let (name, port) = match memchr(b']', bytes) {
            Some(end) => {
                let (name, port) = bytes.split_at_checked(end + 1).unwrap_or_default();
                let address = name.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]"));
                let address = address.and_then(|text| std::str::from_utf8(text).ok());
                if address.is_none_or(|text| text.parse::<Ipv6Addr>().is_err()) {
                    return Err(malformed("a host in brackets that is no IPv6 address"));
                }
                (name, port)
            }
            None => {
                let end = memchr(b':', bytes).unwrap_or(bytes.len());
                bytes.split_at_checked(end).unwrap_or_default()
            }
        };
        let port = match port {
            [] | [b':'] => None,
            [b':', digits @ ..] if digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit) => {
                let port = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
                Some(port.ok_or_else(|| malformed("a port above 65535"))?)
            }
            _ => return Err(malformed("a port that is no number of at most five digits")),
        };
        if name.is_empty() {
            return Err(malformed("an empty host"));
        }
        if name.len() > HOST_BYTES_MAX {
            return Err(malformed("a host name longer than 253 bytes"));
        }
        if !name.starts_with(b"[") && !name.iter().all(is_host_byte) {
            return Err(malformed("a host with a byte that no host name has"));
        }
        Ok(Self { name, port })
    }
}

fn is_uri_byte(byte: &u8) -> bool {
    URI_BYTES[usize::from(*byte)]
}

fn is_host_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

fn malformed(detail: &'static str) -> Fault {
    Fault::new(Kind::Malformed, detail)
}

/// RFC 3986: unreserved, sub-delims, `%`, and of the delimiters those of paths and queries.
const URI_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut rest: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789\
                            -._~!$&'()*+,;=%:@/?";
    while let [first, others @ ..] = rest {
        table[*first as usize] = true;
        rest = others;
    }
    table
};
