//! What must hold of any bytes that reach a parser, one function per fuzz target. Plain tests
//! replay the corpus through them and feed them generated input.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail the test")]

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};

use pullgate::pure::client::{ClientTable, UNKNOWN};
use pullgate::pure::config::values::Cidr;
use pullgate::pure::fault::Fault;
use pullgate::pure::http1::chunked::Chunked;
use pullgate::pure::http1::forwarded::{ForwardedFields, client_address, mapped};
use pullgate::pure::http1::head::{self, HeadLimits, Method, Version};
use pullgate::pure::http1::pass::{self, Asked};
use pullgate::pure::http1::proxy_header::{self, ProxyHeader};
use pullgate::pure::http1::response::{self, Framing};
use pullgate::pure::oci::challenge::{self, Challenge};
use pullgate::pure::oci::endpoint::Endpoint;
use pullgate::pure::origin::Url;

/// A property of any bytes.
pub(crate) type Property = fn(&[u8]);

/// The fuzz targets: each has a folder of this name in the corpus.
pub(crate) const TARGETS: [(&str, Property); 11] = [
    ("challenge", challenge),
    ("chunked", chunked),
    ("client", client),
    ("endpoint", endpoint),
    ("forwarded", forwarded),
    ("granted", granted),
    ("head", head),
    ("pass", pass),
    ("proxy_header", proxy_header),
    ("response", response),
    ("url", url),
];

/// Lines of `WWW-Authenticate`: what is understood is understood the same when it is written out.
pub(crate) fn challenge(lines: &[u8]) {
    let read = challenge::parse(lines.split(|byte| *byte == b'\n'));
    let Ok(Some(Challenge::Bearer { realm, service, scope })) = &read else {
        return;
    };
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut line = format!("Bearer realm={}", quoted(&realm.to_string()));
    for (name, value) in [("service", service), ("scope", scope)] {
        if let Some(value) = value {
            line += &format!(", {name}={}", quoted(value));
        }
    }
    assert_eq!(challenge::parse([line.as_bytes()].into_iter()), read);
    let target = challenge::token_target(realm, service.as_deref(), scope.as_slice(), Some("a b"));
    let asked = Url::parse(format!("{}{target}", realm.origin).as_bytes()).unwrap();
    assert_eq!(asked, Url { origin: realm.origin.clone(), target });
}

/// A chunked body with what follows it: body, end and verdict are the same however it comes.
pub(crate) fn chunked(sent: &[u8]) {
    let whole = dechunked(sent, sent.len());
    for piece in [1, 2, 3, 7, 64] {
        assert_eq!(dechunked(sent, piece), whole, "by {piece}");
    }
}

/// The body of `sent` as it comes in pieces; with how many bytes it took, if it was complete.
fn dechunked(sent: &[u8], piece: usize) -> Result<(Vec<u8>, Option<usize>), Fault> {
    let (mut chunked, mut body, mut at) = (Chunked::new(), Vec::new(), 0);
    while at < sent.len() {
        let step = chunked.decode(&sent[at..sent.len().min(at + piece)])?;
        body.extend_from_slice(&sent[at + step.skip..at + step.skip + step.data]);
        at += step.skip + step.data;
        if step.done {
            return Ok((body, Some(at)));
        }
    }
    Ok((body, None))
}

/// A user agent: what comes out is bounded and of closed sets.
pub(crate) fn client(user_agent: &[u8]) {
    let table = ClientTable::built_in();
    let client = table.classify(user_agent);
    assert!(client.family == UNKNOWN || table.families().any(|known| known == client.family));
    assert!(client.version.len() <= 40);
    assert!(client.version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
    assert!(client.os.len() <= 8 && client.arch.len() <= 8);
}

/// A path: what is accepted reads the same when it is written out, and holds no byte outside the
/// grammar.
pub(crate) fn endpoint(path: &[u8]) {
    let Ok(endpoint) = Endpoint::parse(path) else {
        return;
    };
    let Some(name) = endpoint.name() else { return };
    let (segment, last) = endpoint.tail();
    let written = format!("/v2/{}{segment}{last}", name.as_str()).into_bytes();
    assert_eq!(Endpoint::parse(&written), Ok(endpoint));
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-:=+".contains(byte);
    assert!(written.iter().all(allowed));
    assert!(!written.windows(2).any(|pair| matches!(pair, b".." | b"//")));
}

/// Lines of `Forwarded` that a client sent before a trusted proxy added its own: the client is
/// whom that proxy names, or the proxy, and strangers are not believed.
pub(crate) fn forwarded(lines: &[u8]) {
    let [client, proxy, stranger] =
        [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(198, 51, 100, 1)]
            .map(|address| mapped(IpAddr::V4(address)));
    let ours = [Cidr { network: u128::from_be_bytes(proxy), bits: 128 }];
    let everybody = [Cidr { network: 0, bits: 0 }];
    let added =
        [lines.rsplit(|byte| *byte == b'\n').next().unwrap(), b", for=192.0.2.1;proto=http"]
            .concat();

    let mut fields = ForwardedFields::default();
    for line in lines.split(|byte| *byte == b'\n') {
        fields.push_forwarded(line);
    }
    fields.push_forwarded(&added);
    assert_eq!(client_address(&fields, proxy, &ours), client);
    // What a client says in the other kind can at most make it nobody in particular.
    for line in lines.split(|byte| *byte == b'\n') {
        fields.push_x_forwarded_for(line);
    }
    let _whoever = client_address(&fields, proxy, &everybody);
    assert_eq!(client_address(&fields, stranger, &ours), stranger);
    let found = client_address(&fields, proxy, &ours);
    assert!(found == client || found == proxy);
}

/// A token service's answer: what is taken for a token can stand in a field, for a bounded time.
pub(crate) fn granted(body: &[u8]) {
    if let Ok(granted) = challenge::granted(body) {
        assert!(!granted.token.is_empty() && granted.token.bytes().all(|b| b.is_ascii_graphic()));
        assert!((60..=86_400).contains(&granted.expires_in_s));
    }
}

/// A head with what follows it: the verdict is the same however the bytes arrive, a head is
/// complete with its last byte and not before, and what is served means the same to httparse.
pub(crate) fn head(sent: &[u8]) {
    for limits in [
        HeadLimits { head_bytes: 16 * 1024, headers: 100 },
        HeadLimits { head_bytes: 100, headers: 5 },
    ] {
        let verdict = |bytes| head::parse(bytes, &limits);
        let decided = same_however_split(sent, |bytes| verdict(bytes) != Ok(None), verdict);
        let Ok(Some(head)) = head::parse(sent, &limits) else {
            continue;
        };
        assert_eq!(decided, Some(head.length));

        let mut fields = [httparse::EMPTY_HEADER; 128];
        let mut plain = httparse::Request::new(&mut fields);
        assert_eq!(plain.parse(sent), Ok(httparse::Status::Complete(head.length)));
        assert_eq!(
            plain.method.unwrap().as_bytes(),
            match head.method {
                Method::Get => b"GET",
                Method::Head => b"HEAD".as_slice(),
                Method::Other(other) => other,
            }
        );
        assert_eq!(plain.version == Some(1), head.version == Version::Http11);
        let target = plain.path.unwrap().as_bytes();
        assert!(target.ends_with(head.query.unwrap_or(head.path)) || head.path == b"/");
        let hosts: Vec<&[u8]> = plain
            .headers
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case("host"))
            .map(|field| field.value)
            .collect();
        assert!(hosts.len() <= 1);
        assert!(hosts.is_empty() || hosts.first() == head.host.as_ref());
        let served = &sent[..head.length];
        let lone = |at: usize| served[at] == b'\n' && (at == 0 || served[at - 1] != b'\r');
        assert!(!(0..served.len()).any(lone), "a bare LF");
        assert!(served.windows(2).all(|pair| pair[0] != b'\r' || pair[1] == b'\n'), "a bare CR");
    }
}

/// A head, whoever's: what belongs to one hop or one party never passes.
pub(crate) fn pass(head: &[u8]) {
    let never = |name: &str| {
        let name = name.to_ascii_lowercase();
        let of_one_hop =
            ["connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"];
        let of_one_party = ["authorization", "cookie", "set-cookie", "docker-ratelimit-source"];
        name.starts_with("proxy-")
            || name == "content-length"
            || of_one_hop.contains(&&*name)
            || of_one_party.contains(&&*name)
    };
    for asked in [Asked::Manifest, Asked::Blob, Asked::List, Asked::Base] {
        assert!(!pass::request_fields(head, asked).any(|(name, _)| never(name)));
        let query = pass::query(Some(head), asked);
        assert_eq!(pass::query(Some(&query), asked), query);
    }
    let mut passed = pass::response_fields(head);
    assert!(!passed.any(|(name, _)| never(name) || name.eq_ignore_ascii_case("www-authenticate")));
    let _whether = pass::via_names(head, "pullgate-1");
}

/// A PROXY header with what follows it: the verdict is the same however the bytes arrive.
pub(crate) fn proxy_header(sent: &[u8]) {
    let is_decided = |bytes: &[u8]| proxy_header::parse(bytes) != Ok(ProxyHeader::Incomplete);
    let decided = same_however_split(sent, is_decided, proxy_header::parse);
    if let Ok(ProxyHeader::Complete { length, .. }) = proxy_header::parse(sent) {
        assert_eq!(decided, Some(length));
    }
}

/// An answer's head with what follows it: the verdict is the same however the bytes arrive, what is
/// accepted means the same to httparse, and the same again when it is written out.
pub(crate) fn response(sent: &[u8]) {
    let limits = HeadLimits { head_bytes: 16 * 1024, headers: 100 };
    let tight = HeadLimits { head_bytes: 100, headers: 5 };
    for (limits, is_head) in [(limits, false), (limits, true), (tight, false)] {
        let verdict = |bytes| response::parse(bytes, &limits, is_head);
        let decided = same_however_split(sent, |bytes| verdict(bytes) != Ok(None), verdict);
        let Ok(Some(head)) = verdict(sent) else {
            continue;
        };
        assert_eq!(decided, Some(head.length));

        let mut storage = [httparse::EMPTY_HEADER; 128];
        let mut plain = httparse::Response::new(&mut storage);
        assert_eq!(plain.parse(sent), Ok(httparse::Status::Complete(head.length)));
        assert_eq!(plain.code, Some(head.status));
        let served = &sent[..head.length];
        let theirs = plain.headers.iter().map(|field| (field.name, field.value.trim_ascii()));
        let ours: Vec<(&str, &[u8])> = response::fields(served).collect();
        assert_eq!(theirs.collect::<Vec<_>>(), ours);
        let said =
            |name: &str| ours.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).count();
        match head.framing {
            Framing::None => assert!(is_head || matches!(head.status, 100..=199 | 204 | 304)),
            Framing::Length(_) => {
                assert_eq!((said("content-length"), said("transfer-encoding")), (1, 0))
            }
            Framing::Chunked => {
                assert_eq!((said("content-length"), said("transfer-encoding")), (0, 1))
            }
            Framing::UntilClose => assert!(!head.keep_alive && said("content-length") == 0),
        }

        let minor = u8::from(head.version == Version::Http11);
        let mut again = format!("HTTP/1.{minor} {}\r\n", head.status).into_bytes();
        for (name, value) in &ours {
            again.extend_from_slice(&[name.as_bytes(), b":", value, b"\r\n"].concat());
        }
        again.extend_from_slice(b"\r\n");
        let length = again.len();
        let read = response::parse(&again, &limits, is_head);
        assert_eq!(read, Ok(Some(response::ResponseHead { length, ..head })));
    }
}

/// A URL or a reference: what is read is of HTTP, in origin-form, and reads the same when it is
/// written out.
pub(crate) fn url(text: &[u8]) {
    let base = Url::parse(b"https://ghcr.io/v2/a/blobs/b?c=d").unwrap();
    for url in [Url::parse(text), base.join(text)].into_iter().flatten() {
        assert!(url.target.starts_with('/') && !url.target.contains('#'));
        assert!(url.target.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(url.origin.host, url.origin.host.to_ascii_lowercase());
        assert!(!url.origin.host.contains(['/', '@', '\\', '?']) && url.origin.port > 0);
        assert_eq!(Url::parse(url.to_string().as_bytes()), Ok(url.clone()));
        assert_eq!(base.join(url.to_string().as_bytes()), Ok(url));
    }
}

/// After how many bytes the verdict is decided; from then on it must not change.
fn same_however_split<'s, V: PartialEq + Debug>(
    sent: &'s [u8],
    is_decided: impl Fn(&'s [u8]) -> bool,
    verdict: impl Fn(&'s [u8]) -> V,
) -> Option<usize> {
    let decided = (0..=sent.len()).find(|end| is_decided(&sent[..*end]))?;
    let first = verdict(&sent[..decided]);
    for end in decided..=sent.len() {
        assert_eq!(verdict(&sent[..end]), first, "after {end} bytes, not {decided}");
    }
    Some(decided)
}
