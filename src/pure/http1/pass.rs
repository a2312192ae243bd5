//! What passes from client to registry and back: what is named here, and nothing else. So what
//! nobody thought of (a cookie, a proxy's login, an address) stays where it came from.

use std::borrow::Cow;

use super::response::{fields, fields_named};
use crate::pure::limits::TAGS_N_MAX;

/// What is asked of a registry, as far as it decides what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A manifest, which is read here.
    Manifest,
    /// A blob, which passes through.
    Blob,
    /// Tags or referrers, which are read here.
    List,
    /// `/v2/`
    Base,
}

/// The fields of a client's head that go to the registry, as they came; every line of each. What
/// `Connection` nominates is for the next hop only, which is us (RFC 9110, 7.6.1).
///
/// `Authorization` is not among them: whose it is, is decided elsewhere. Encodings and ranges are
/// for blobs only: everything else is read here, whole, and compared with its digest.
pub fn request_fields(head: &[u8], asked: Asked) -> impl Iterator<Item = (&str, &[u8])> {
    let is_blob = asked == Asked::Blob;
    let nominates = nominates(head);
    fields(head).filter(move |(name, _)| {
        let passes = is_one_of(name, &REQUEST_FIELDS)
            || is_blob && is_one_of(name, &REQUEST_FIELDS_OF_BLOBS);
        passes && !(nominates && is_nominated(head, name))
    })
}

/// The fields of a registry's head that go to the client, as they came. How its body ends is not
/// among them: that is said anew. Nor is a challenge: where the client logs in is said by us.
pub fn response_fields(head: &[u8]) -> impl Iterator<Item = (&str, &[u8])> {
    let nominates = nominates(head);
    fields(head).filter(move |(name, _)| {
        let passes = is_one_of(name, &RESPONSE_FIELDS)
            || RESPONSE_PREFIXES.iter().any(|prefix| {
                name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
            });
        let passes = passes && !is_one_of(name, &RESPONSE_NEVER);
        passes && !(nominates && is_nominated(head, name))
    })
}

/// The query for the registry. In a list, an `n` that is not plainly a number of at most
/// [`TAGS_N_MAX`] becomes that: some registries build whatever list they are asked for in memory
/// (CVE-2023-2253).
pub fn query(query: Option<&[u8]>, asked: Asked) -> Cow<'_, [u8]> {
    let query = query.unwrap_or_default();
    let pairs = || query.split(|byte| *byte == b'&');
    if asked != Asked::List || !pairs().any(asks_too_much) {
        return Cow::Borrowed(query);
    }
    let most = format!("n={TAGS_N_MAX}");
    let capped = pairs().map(|pair| if asks_too_much(pair) { most.as_bytes() } else { pair });
    Cow::Owned(capped.collect::<Vec<_>>().join(&b'&'))
}

/// The query, with its `?`, by which a `Link` (RFC 8288) leads to the next page of a list; `None` if
/// it leads anywhere else. Its host and path are the registry's, and not for clients: they know the
/// repository by another name, and would take their logins there.
pub fn next_page(link: &[u8]) -> Option<&[u8]> {
    let target = link.strip_prefix(b"<")?;
    let (target, params) = target.split_at_checked(memchr::memchr(b'>', target)?)?;
    let (_, query) = target.split_at_checked(memchr::memchr(b'?', target)?)?;
    let is_next = |param: &[u8]| {
        [&b"rel=\"next\""[..], b"rel=next"].iter().any(|next| param.eq_ignore_ascii_case(next))
    };
    let mut params = params.split(|byte| b";,>".contains(byte)).map(<[u8]>::trim_ascii);
    params.any(is_next).then_some(query)
}

/// Whether the head has passed the gateway of this pseudonym before (RFC 9110, 7.6.3).
pub fn via_names(head: &[u8], pseudonym: &str) -> bool {
    fields_named(head, "Via").flat_map(|value| value.split(|byte| *byte == b',')).any(|hop| {
        let mut words = hop.split(|byte| matches!(byte, b' ' | b'\t')).filter(|w| !w.is_empty());
        words.nth(1).is_some_and(|by| by.eq_ignore_ascii_case(pseudonym.as_bytes()))
    })
}

/// Whether a pair of a query asks for too long a list. The name may be percent-encoded too.
fn asks_too_much(pair: &[u8]) -> bool {
    let ([b'n', value @ ..] | [b'%', b'6', b'e' | b'E', value @ ..]) = pair else {
        return false;
    };
    let number = match value {
        [] => return true,
        [b'=', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => digits,
        [b'=', ..] => return true,
        _ => return false,
    };
    let number = std::str::from_utf8(number).ok().and_then(|digits| digits.parse().ok());
    number.is_none_or(|number: usize| number > TAGS_N_MAX)
}

/// Whether the head has a `Connection` at all; most have none.
fn nominates(head: &[u8]) -> bool {
    fields_named(head, "Connection").next().is_some()
}

/// Whether a `Connection` of the head says that the field of this name ends here.
fn is_nominated(head: &[u8], name: &str) -> bool {
    let lines = fields_named(head, "Connection");
    let mut options = lines.flat_map(|value| value.split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
}

fn is_one_of(name: &str, known: &[&str]) -> bool {
    known.iter().any(|known| known.eq_ignore_ascii_case(name))
}

const REQUEST_FIELDS: [&str; 3] = ["Accept", "If-None-Match", "User-Agent"];

const REQUEST_FIELDS_OF_BLOBS: [&str; 3] = ["Accept-Encoding", "If-Range", "Range"];

const RESPONSE_FIELDS: [&str; 8] = [
    "Accept-Ranges",
    "Cache-Control",
    "ETag",
    "Last-Modified",
    "Link",
    "Retry-After",
    "Vary",
    "Warning",
];

/// Docker's and OCI's own, what describes the body, and how often one may still ask.
const RESPONSE_PREFIXES: [&str; 4] = ["Docker-", "OCI-", "Content-", "RateLimit-"];

/// What these prefixes have that does not pass: an address, and how the body ended there.
const RESPONSE_NEVER: [&str; 2] = ["Docker-RateLimit-Source", "Content-Length"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
        let lines =
            fields.map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn head(lines: &str) -> Vec<u8> {
        format!("first line\n{lines}\n\n").replace('\n', "\r\n").into_bytes()
    }

    #[test]
    fn of_a_request_passes_what_registries_answer_to() {
        let sent = head(
            "Host: a\nAccept: x/y\naccept: x/z;q=0.5, */*\nUser-Agent: docker/29\n\
             Authorization: Basic a\nProxy-Authorization: Basic b\nCookie: c=d\n\
             Accept-Encoding: gzip\nRange: bytes=5-\nIf-Range: \"e\"\nIf-None-Match: \"f\"\n\
             Connection: keep-alive\nTE: trailers\nX-Forwarded-For: 192.0.2.1\n\
             Forwarded: for=192.0.2.1\nReferer: https://g/\nExpect: 100-continue\nVia: 1.1 h\n\
             Upgrade: h2c\nX-Real-IP: 192.0.2.1",
        );
        let whole =
            "Accept: x/y\naccept: x/z;q=0.5, */*\nUser-Agent: docker/29\nIf-None-Match: \"f\"";
        for asked in [Asked::Manifest, Asked::List, Asked::Base] {
            assert_eq!(told(request_fields(&sent, asked)), whole);
        }
        assert_eq!(
            told(request_fields(&sent, Asked::Blob)),
            "Accept: x/y\naccept: x/z;q=0.5, */*\nUser-Agent: docker/29\nAccept-Encoding: gzip\n\
             Range: bytes=5-\nIf-Range: \"e\"\nIf-None-Match: \"f\""
        );
    }

    #[test]
    fn of_an_answer_passes_what_clients_need() {
        let sent = head(
            "Server: a\nDate: b\nContent-Type: x/y; charset=utf-8\nContent-Length: 5\n\
             Content-Encoding: gzip\nContent-Range: bytes 1-2/3\nDocker-Content-Digest: sha256:c\n\
             docker-distribution-api-version: registry/2.0\nDocker-RateLimit-Source: 192.0.2.1\n\
             ratelimit-limit: 100;w=21600\nRateLimit-Remaining: 99;w=21600\nETag: \"d\"\n\
             Link: </v2/a>; rel=\"next\"\nWarning: 299 - \"moved\"\nOCI-Subject: sha256:e\n\
             Accept-Ranges: bytes\nRetry-After: 30\nVary: Accept\nVary: Cookie\nSet-Cookie: f=g\n\
             WWW-Authenticate: Basic\nProxy-Authenticate: Basic\nLocation: /h\n\
             Transfer-Encoding: chunked\nConnection: close\nKeep-Alive: timeout=5\nTrailer: i\n\
             Upgrade: h2c\nAlt-Svc: h3\nStrict-Transport-Security: max-age=9\nVia: 1.1 j\n\
             Cache-Control: max-age=9\nLast-Modified: k\nX-Served-By: l\nDocke: m",
        );
        let passes = "Content-Type: x/y; charset=utf-8\nContent-Encoding: gzip\n\
             Content-Range: bytes 1-2/3\nDocker-Content-Digest: sha256:c\n\
             docker-distribution-api-version: registry/2.0\n\
             ratelimit-limit: 100;w=21600\nRateLimit-Remaining: 99;w=21600\nETag: \"d\"\n\
             Link: </v2/a>; rel=\"next\"\nWarning: 299 - \"moved\"\nOCI-Subject: sha256:e\n\
             Accept-Ranges: bytes\nRetry-After: 30\nVary: Accept\nVary: Cookie\n";
        let behind = "Cache-Control: max-age=9\nLast-Modified: k";
        assert_eq!(told(response_fields(&sent)), format!("{passes}{behind}"));
    }

    #[test]
    fn what_connection_nominates_ends_here() {
        let sent = head(
            "Accept: a\nETag: b\nConnection: close, etag\nUser-Agent: c\nVary: d\n\
             connection: ACCEPT ,x, vary",
        );
        assert_eq!(told(request_fields(&sent, Asked::Blob)), "User-Agent: c");
        assert_eq!(told(response_fields(&sent)), "");
    }

    #[test]
    fn a_list_is_asked_for_in_pages() {
        for (asked, sent, expected) in [
            (Asked::List, "", ""),
            (Asked::List, "n=5&last=x", "n=5&last=x"),
            (Asked::List, "n=1000", "n=1000"),
            (Asked::List, "n=1001", "n=1000"),
            (Asked::List, "last=x&n=99999999999999999999999&a", "last=x&n=1000&a"),
            (Asked::List, "n=1&n=2000", "n=1&n=1000"),
            (Asked::List, "n=-1", "n=1000"),
            (Asked::List, "n=%32000", "n=1000"),
            (Asked::List, "%6E=2000", "n=1000"),
            (Asked::List, "%6e=2", "%6e=2"),
            (Asked::List, "n", "n=1000"),
            (Asked::List, "n=", "n=1000"),
            (Asked::List, "ns=2000&nn=3000", "ns=2000&nn=3000"),
            (Asked::Manifest, "ns=docker.io&n=2000", "ns=docker.io&n=2000"),
        ] {
            let told = query(Some(sent.as_bytes()), asked).into_owned();
            assert_eq!(String::from_utf8(told).unwrap(), expected, "{sent}");
        }
        assert_eq!(query(None, Asked::List), b"".as_slice());
    }

    #[test]
    fn a_link_to_the_next_page_is_worth_its_query() {
        for (link, expected) in [
            ("</v2/acme/moon/tags/list?last=b&n=2>; rel=\"next\"", Some("?last=b&n=2")),
            (
                "<https://quay.io/v2/a/tags/list?n=2&next_page=g%3D%3D>; rel=\"next\"",
                Some("?n=2&next_page=g%3D%3D"),
            ),
            ("<?n=2>;REL=next", Some("?n=2")),
            ("<?n=2>; title=\"a\"; rel=\"next\"", Some("?n=2")),
            ("<?n=2>; rel=\"prev\"", None),
            ("<?n=2>", None),
            ("</v2/a/tags/list>; rel=\"next\"", None),
            ("?n=2; rel=\"next\"", None),
            ("<?n=2; rel=\"next\"", None),
            ("", None),
        ] {
            assert_eq!(next_page(link.as_bytes()), expected.map(str::as_bytes), "{link}");
        }
    }

    #[test]
    fn a_gateway_knows_its_own_name() {
        for (lines, expected) in [
            ("Via: 1.1 pullgate-1a2b", true),
            ("Via: 1.1 varnish, HTTP/1.1 PULLGATE-1a2b (comment)", true),
            ("Via: 1.0 a\nvia:  1.1\tpullgate-1a2b , 1.1 c", true),
            ("Via: 1.1 pullgate-1a2b3", false),
            ("Via: pullgate-1a2b", false),
            ("Via: 1.1 a (1.1 pullgate-1a2b)", false),
            ("X-Via: 1.1 pullgate-1a2b", false),
            ("Via:", false),
        ] {
            assert_eq!(via_names(&head(lines), "pullgate-1a2b"), expected, "{lines}");
        }
    }

    /// Fields of requests and answers, whatever they say.
    fn any_head() -> impl Strategy<Value = Vec<u8>> {
        let name = prop::sample::select(vec![
            "Accept",
            "ETAG",
            "Vary",
            "Authorization",
            "authorization",
            "Cookie",
            "Set-Cookie",
            "Proxy-Authorization",
            "Proxy-Authenticate",
            "Proxy-Connection",
            "docker-ratelimit-source",
            "Docker-RateLimit-Source",
            "Connection",
            "Connection",
            "Keep-Alive",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "Content-Length",
            "Content-Type",
            "OCI-Subject",
        ]);
        let value =
            prop::sample::select(vec!["close", "accept", "Vary, x", "etag ,OCI-subject", "a"]);
        prop::collection::vec((name, value), 0..12).prop_map(|lines| {
            let lines: Vec<String> =
                lines.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            head(&lines.join("\n"))
        })
    }

    proptest! {
        #[test]
        fn what_never_passes_never_does(head in any_head()) {
            let nominated: Vec<String> = fields(&head)
                .filter(|(name, _)| *name == "Connection")
                .flat_map(|(_, value)| {
                    let value = String::from_utf8(value.to_ascii_lowercase()).unwrap();
                    value.split(',').map(|option| option.trim().to_owned()).collect::<Vec<_>>()
                })
                .collect();
            let never = [
                "authorization", "cookie", "set-cookie", "docker-ratelimit-source", "connection",
                "keep-alive", "te", "trailer", "www-authenticate", "transfer-encoding", "upgrade", "content-length",
            ];
            let passed = request_fields(&head, Asked::Blob).chain(response_fields(&head));
            for (name, _) in passed {
                let name = name.to_ascii_lowercase();
                prop_assert!(!never.contains(&&*name) && !name.starts_with("proxy-"), "{}", name);
                prop_assert!(!nominated.contains(&name), "{}", name);
            }
        }
    }
}
