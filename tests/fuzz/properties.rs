//! What must hold of any bytes that reach a parser, one function per fuzz target. Plain tests
//! replay the corpus through them and feed them generated input.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test's helpers fail the test")]

use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};

use pullgate::pure::client::{ClientTable, UNKNOWN};
use pullgate::pure::config::values::Cidr;
use pullgate::pure::http1::forwarded::{ForwardedFields, client_address, mapped};
use pullgate::pure::http1::head::{self, HeadLimits, Method, Version};
use pullgate::pure::http1::proxy_header::{self, ProxyHeader};
use pullgate::pure::oci::endpoint::Endpoint;

/// A property of any bytes.
pub(crate) type Property = fn(&[u8]);

/// The fuzz targets: each has a folder of this name in the corpus.
pub(crate) const TARGETS: [(&str, Property); 5] = [
    ("client", client),
    ("endpoint", endpoint),
    ("forwarded", forwarded),
    ("head", head),
    ("proxy_header", proxy_header),
];

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

/// A PROXY header with what follows it: the verdict is the same however the bytes arrive.
pub(crate) fn proxy_header(sent: &[u8]) {
    let is_decided = |bytes: &[u8]| proxy_header::parse(bytes) != Ok(ProxyHeader::Incomplete);
    let decided = same_however_split(sent, is_decided, proxy_header::parse);
    if let Ok(ProxyHeader::Complete { length, .. }) = proxy_header::parse(sent) {
        assert_eq!(decided, Some(length));
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
