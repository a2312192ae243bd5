//! The head of an answer that comes from a registry, as the client gets it.

use super::encode::{Connection, Manner, Out};
use super::pass;
use crate::pure::desk::Challenge;
use crate::pure::why::Explained;

/// What is said of a registry's answer.
#[derive(Clone, Copy, Debug)]
pub struct Relayed<'r> {
    /// Its status.
    pub status: u16,
    /// Its head, of which passes what may ([`pass::response_fields`]); empty for nothing of it.
    pub upstream: &'r [u8],
    /// Fields that have been through that already, each behind a line break.
    pub ready: &'r [u8],
    /// What the client asked for, without its query: there it finds the next page of a list.
    pub path: &'r [u8],
    /// Where the client is sent instead.
    pub location: Option<&'r str>,
    /// The digest of the body as it was read, in place of the registry's word on it.
    pub digest: Option<&'r str>,
    /// How long the body is.
    pub length: Length<'r>,
    /// What is said of its way.
    pub explained: Option<Explained<'r>>,
    /// Where the client gets a token, should the registry want one.
    pub challenge: Option<Challenge<'r>>,
}

impl Relayed<'_> {
    /// An answer without anything.
    pub const EMPTY: Self = Self {
        status: 200,
        upstream: b"",
        ready: b"",
        path: b"",
        location: None,
        digest: None,
        length: Length::Known(0),
        explained: None,
        challenge: None,
    };
}

/// How the client learns where the body ends (RFC 9112, 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length<'r> {
    /// By its length in bytes.
    Known(u64),
    /// There is none, but this is how long a GET's would be, as the registry said.
    Said(&'r [u8]),
    /// It comes in chunks.
    Chunked,
    /// Nothing is said: there is none, or it ends with the connection.
    Unsaid,
}

/// Writes the head. `via` is the gateway's own name on the way (RFC 9110, 7.6.3).
pub fn write(out: &mut Out<'_>, manner: &Manner<'_>, relayed: &Relayed<'_>, via: &str) {
    out.put("HTTP/1.1 ");
    out.put_number(usize::from(relayed.status));
    out.put(" ");
    out.put(reason(relayed.status));
    for (name, value) in pass::response_fields(relayed.upstream) {
        if relayed.digest.is_some() && name.eq_ignore_ascii_case(DIGEST_FIELD) {
            continue;
        }
        if !name.eq_ignore_ascii_case("Link") {
            put(out, name, value);
        } else if let Some(query) = pass::next_page(value) {
            out.put("\r\nLink: <");
            out.put(relayed.path);
            out.put(query);
            out.put(">; rel=\"next\"");
        }
    }
    out.put(relayed.ready);
    if let Some(digest) = relayed.digest {
        put(out, DIGEST_FIELD, digest.as_bytes());
    }
    if let Some(explained) = &relayed.explained {
        explained.pieces().iter().for_each(|piece| out.put(piece));
    }
    if let (401, Some(challenge)) = (relayed.status, &relayed.challenge) {
        out.put("\r\nWWW-Authenticate: ");
        challenge.pieces().iter().for_each(|piece| out.put(piece));
    }
    if let Some(location) = relayed.location {
        put(out, "Location", location.as_bytes());
        // What is signed for one client at one time is nobody else's.
        put(out, "Cache-Control", b"no-store");
    }
    match relayed.length {
        Length::Known(bytes) => {
            out.put("\r\nContent-Length: ");
            out.put_number(usize::try_from(bytes).unwrap_or(usize::MAX));
        }
        Length::Said(bytes) => put(out, "Content-Length", bytes),
        Length::Chunked => out.put("\r\nTransfer-Encoding: chunked"),
        Length::Unsaid => {}
    }
    out.put("\r\nVia: 1.1 ");
    out.put(via);
    out.put("\r\nDate: ");
    out.put(manner.date);
    match manner.connection {
        Connection::Stays => {}
        Connection::StaysSaid => out.put("\r\nConnection: keep-alive"),
        Connection::Closes => out.put("\r\nConnection: close"),
    }
    out.put("\r\n\r\n");
    out.end_head();
}

/// What registries name a manifest's digest in (distribution spec, "Pulling manifests").
pub const DIGEST_FIELD: &str = "Docker-Content-Digest";

fn put(out: &mut Out<'_>, name: &str, value: &[u8]) {
    out.put("\r\n");
    out.put(name);
    out.put(": ");
    out.put(value);
}

/// The reason phrases of what registries, and the control plane, answer; clients do not read them (RFC 9112, 4).
pub(super) const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::http1::encode::DATE_BYTES;

    const DATE: &[u8; DATE_BYTES] = b"Mon, 23 Nov 2026 21:00:00 GMT";

    fn written(relayed: &Relayed<'_>, connection: Connection) -> String {
        let mut memory = [0; 1024];
        let mut out = Out::new(&mut memory, 0);
        let manner = Manner { date: DATE, head_only: false, connection };
        write(&mut out, &manner, relayed, "pullgate-1");
        assert!(!out.is_overrun());
        String::from_utf8(out.written(0).to_vec()).unwrap().replace("\r\n", "\n")
    }

    #[test]
    fn what_may_passes_and_the_rest_is_ours() {
        let upstream = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
            Docker-Content-Digest: sha256:wrong\r\nSet-Cookie: a=b\r\nContent-Length: 9\r\n\
            Docker-RateLimit-Source: 192.0.2.1\r\nConnection: close\r\n\r\n";
        let relayed = Relayed {
            status: 200,
            upstream,
            ready: b"",
            path: b"/v2/acme/rocket/manifests/latest",
            location: None,
            digest: Some("sha256:right"),
            length: Length::Known(7),
            challenge: None,
            explained: None,
        };
        assert_eq!(
            written(&relayed, Connection::StaysSaid),
            "HTTP/1.1 200 OK\nContent-Type: application/json\n\
             Docker-Content-Digest: sha256:right\nContent-Length: 7\nVia: 1.1 pullgate-1\n\
             Date: Mon, 23 Nov 2026 21:00:00 GMT\nConnection: keep-alive\n\n"
        );
    }

    #[test]
    fn the_next_page_of_a_list_is_asked_for_here_and_by_the_public_name() {
        let upstream = b"HTTP/1.1 200 OK\r\n\
            Link: <https://quay.io/v2/acme/moon/tags/list?last=b&n=2>; rel=\"next\"\r\n\
            Link: <https://quay.io/v2/acme/moon>; rel=\"about\"\r\n\r\n";
        let relayed = Relayed {
            status: 200,
            upstream,
            ready: b"",
            path: b"/v2/acme/rocket/tags/list",
            location: None,
            digest: None,
            length: Length::Known(2),
            challenge: None,
            explained: None,
        };
        assert_eq!(
            written(&relayed, Connection::Stays),
            "HTTP/1.1 200 OK\nLink: </v2/acme/rocket/tags/list?last=b&n=2>; rel=\"next\"\n\
             Content-Length: 2\nVia: 1.1 pullgate-1\nDate: Mon, 23 Nov 2026 21:00:00 GMT\n\n"
        );
    }

    #[test]
    fn a_registry_that_wants_a_login_is_answered_by_way_of_us() {
        let upstream = b"HTTP/1.1 401 Unauthorized\r\n\
            WWW-Authenticate: Bearer realm=\"https://ghcr.io/token\"\r\n\r\n";
        let (realm, service) = ("https://registry.acme.com/token", "registry.acme.com");
        let mut relayed = Relayed {
            status: 401,
            upstream,
            ready: b"",
            path: b"/v2/acme/rocket/manifests/latest",
            location: None,
            digest: None,
            length: Length::Known(0),
            explained: None,
            challenge: Some(Challenge { realm, service, name: None }),
        };
        let ours = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"{service}\"\n");
        let told = written(&relayed, Connection::Stays);
        assert!(told.contains(&ours) && !told.contains("ghcr.io"), "{told}");
        relayed.challenge = None;
        assert!(!written(&relayed, Connection::Stays).contains("WWW-Authenticate"));
    }

    #[test]
    fn a_client_is_sent_to_storage() {
        let relayed = Relayed {
            status: 307,
            upstream: b"",
            ready: b"",
            path: b"/v2/acme/rocket/blobs/sha256:00",
            location: Some("https://cdn.example/a?sig=1"),
            digest: None,
            length: Length::Known(0),
            challenge: None,
            explained: None,
        };
        assert_eq!(
            written(&relayed, Connection::Stays),
            "HTTP/1.1 307 Temporary Redirect\nLocation: https://cdn.example/a?sig=1\n\
             Cache-Control: no-store\nContent-Length: 0\nVia: 1.1 pullgate-1\n\
             Date: Mon, 23 Nov 2026 21:00:00 GMT\n\n"
        );
    }
}
