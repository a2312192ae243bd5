//! Which fields pass the gateway on their way to a registry and back. Named are those that pass:
//! whatever is not known to be needed stays here (RFC 9110, 7.6.1, demands it of some).

use std::borrow::Cow;

use super::response::fields;
use crate::pure::limits::TAGS_N_MAX;

/// What is asked for, as far as it decides what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A manifest.
    Manifest,
    /// A blob, whose bytes are not looked at.
    Blob,
    /// Tags or referrers.
    List,
    /// `/v2/`
    Base,
}

/// The fields of a request's head that go to the registry. `Authorization` is not among them: who
/// gets it is decided elsewhere.
pub fn request_fields(head: &[u8], asked: Asked) -> impl Iterator<Item = (&str, &[u8])> {
    passing(head, move |name| {
        is_one_of(name, &["Accept", "Range", "If-None-Match", "If-Range", "User-Agent"])
            || asked == Asked::Blob && name.eq_ignore_ascii_case("Accept-Encoding")
    })
}

/// The fields of an answer's head that go to the client. How the body is framed is the gateway's
/// own affair; `challenge`: whether the client is to log in at the registry itself.
pub fn response_fields(head: &[u8], challenge: bool) -> impl Iterator<Item = (&str, &[u8])> {
    passing(head, move |name| {
        is_one_of(
            name,
            &[
                "Vary",
                "ETag",
                "Last-Modified",
                "Cache-Control",
                "Link",
                "Warning",
                "Accept-Ranges",
                "Retry-After",
                "RateLimit-Limit",
                "RateLimit-Remaining",
            ],
        ) || challenge && name.eq_ignore_ascii_case("WWW-Authenticate")
            || begins(name, "OCI-")
            // The source is this gateway's address.
            || begins(name, "Docker-") && !name.eq_ignore_ascii_case("Docker-RateLimit-Source")
            || begins(name, "Content-") && !name.eq_ignore_ascii_case("Content-Length")
    })
}

/// The query that goes to the registry: as sent, but a page of a list has a bounded size.
pub fn query(query: Option<&[u8]>, asked: Asked) -> Cow<'_, [u8]> {
    let query = query.unwrap_or_default();
    if asked != Asked::List {
        return Cow::Borrowed(query);
    }
    let is_over = |pair: &[u8]| {
        pair.strip_prefix(b"n=").is_some_and(|digits| {
            let number = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u64>().ok());
            number.is_none_or(|number| number > TAGS_N_MAX)
        })
    };
    if !query.split(|byte| *byte == b'&').any(is_over) {
        return Cow::Borrowed(query);
    }
    let most = format!("n={TAGS_N_MAX}").into_bytes();
    let pairs = query.split(|byte| *byte == b'&');
    let pairs: Vec<&[u8]> =
        pairs.map(|pair| if is_over(pair) { &most[..] } else { pair }).collect();
    Cow::Owned(pairs.join(&b'&'))
}

/// Whether the request has come by the gateway of this name before (RFC 9110, 7.6.3).
pub fn via_names(head: &[u8], pseudonym: &str) -> bool {
    let via = fields(head).filter(|(name, _)| name.eq_ignore_ascii_case("Via"));
    via.flat_map(|(_, value)| value.split(|byte| *byte == b',')).any(|hop| {
        let mut words = hop.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(pseudonym.as_bytes()))
    })
}

/// The fields that pass, but for those that `Connection` keeps to this hop.
fn passing<'h>(
    head: &'h [u8],
    passes: impl Fn(&str) -> bool + 'h,
) -> impl Iterator<Item = (&'h str, &'h [u8])> {
    fields(head).filter(move |(name, _)| passes(name) && !is_nominated(head, name))
}

fn is_nominated(head: &[u8], name: &str) -> bool {
    let connection = fields(head).filter(|(it, _)| it.eq_ignore_ascii_case("Connection"));
    connection
        .flat_map(|(_, value)| value.split(|byte| *byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

fn is_one_of(name: &str, known: &[&str]) -> bool {
    known.iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn begins(name: &str, with: &str) -> bool {
    name.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names<'h>(fields: impl Iterator<Item = (&'h str, &'h [u8])>) -> String {
        fields
            .map(|(name, value)| format!("{name}={}", String::from_utf8_lossy(value)))
            .collect::<Vec<_>>()
            .join(" ")
    }

    const REQUEST: &[u8] = b"GET /v2/ HTTP/1.1\r\nHost: a.b\r\naccept: one\r\nAccept: two\r\n\
        Authorization: Bearer x\r\nCookie: c\r\nRange: bytes=1-\r\nIf-Range: e\r\n\
        If-None-Match: f\r\nUser-Agent: docker/1\r\nAccept-Encoding: zstd\r\nTE: trailers\r\n\
        Proxy-Authorization: p\r\nX-Forwarded-For: 192.0.2.1\r\nConnection: close, If-Range\r\n\r\n";

    #[test]
    fn requests() {
        let common = "accept=one Accept=two Range=bytes=1- If-None-Match=f User-Agent=docker/1";
        assert_eq!(names(request_fields(REQUEST, Asked::Manifest)), common);
        let blob = names(request_fields(REQUEST, Asked::Blob));
        assert_eq!(blob, format!("{common} Accept-Encoding=zstd"));
    }

    #[test]
    fn answers() {
        let answer =
            b"HTTP/1.1 200 OK\r\nServer: s\r\nVary: v\r\nContent-Type: t; charset=utf-8\r\n\
            Content-Length: 5\r\nTransfer-Encoding: chunked\r\nDocker-Content-Digest: d\r\n\
            docker-ratelimit-source: 192.0.2.1\r\nRateLimit-Remaining: 9;w=1\r\nOCI-Subject: o\r\n\
            Set-Cookie: c\r\nWWW-Authenticate: Basic\r\nKeep-Alive: 5\r\nLink: l\r\nETag: e\r\n\
            Content-Encoding: gzip\r\nLocation: x\r\nConnection: ETag\r\n\r\n";
        let common = "Vary=v Content-Type=t; charset=utf-8 Docker-Content-Digest=d \
            RateLimit-Remaining=9;w=1 OCI-Subject=o";
        let rest = "Link=l Content-Encoding=gzip";
        assert_eq!(names(response_fields(answer, false)), format!("{common} {rest}"));
        let challenged = format!("{common} WWW-Authenticate=Basic {rest}");
        assert_eq!(names(response_fields(answer, true)), challenged);
    }

    #[test]
    fn a_lists_page_is_bounded() {
        let capped = |text: &str| {
            String::from_utf8(query(Some(text.as_bytes()), Asked::List).into_owned()).unwrap()
        };
        assert_eq!(capped("n=50&last=v1"), "n=50&last=v1");
        assert_eq!(capped("last=v1&n=99999999999999999999999"), "last=v1&n=1000");
        assert_eq!(capped("n=1001"), "n=1000");
        assert_eq!(capped("n=-1&n=x"), "n=1000&n=1000");
        assert_eq!(capped("artifactType=a%2Fb"), "artifactType=a%2Fb");
        assert_eq!(&*query(Some(b"n=9999"), Asked::Manifest), b"n=9999");
        assert_eq!(&*query(None, Asked::List), b"");
    }

    #[test]
    fn a_loop_shows() {
        let via = |value: &str| {
            let head = format!("GET / HTTP/1.1\r\nVia: 1.0 fred\r\nVia: {value}\r\n\r\n");
            via_names(head.as_bytes(), "pullgate-1")
        };
        assert!(via("1.1 pullgate-1"));
        assert!(via("1.1 other,1.1  PULLGATE-1 (comment)"));
        assert!(!via("1.1 pullgate-12, pullgate-1"));
        assert!(!via("1.1 pullgate-2 (pullgate-1)"));
    }

    proptest! {
        #[test]
        fn secrets_and_hops_never_pass(
            name in "(authorization|cookie|set-cookie|proxy-[a-z]{1,9}|te|upgrade|keep-alive|connection|transfer-encoding|trailer|docker-ratelimit-source|forwarded|x-forwarded-for|content-length)",
            upper: bool,
            challenge: bool,
        ) {
            let name = if upper { name.to_ascii_uppercase() } else { name };
            let head = format!("HTTP/1.1 200 OK\r\n{name}: x\r\n\r\n");
            prop_assert_eq!(response_fields(head.as_bytes(), challenge).count(), 0);
            for asked in [Asked::Manifest, Asked::Blob, Asked::List, Asked::Base] {
                prop_assert_eq!(request_fields(head.as_bytes(), asked).count(), 0);
            }
        }
    }
}
