//! The PROXY protocol, versions 1 and 2: what a load balancer says of its client before the
//! client's first byte (haproxy's `proxy-protocol.txt`, sections 2.1 and 2.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use memchr::memchr;

use super::forwarded::mapped;
use crate::pure::fault::{Fault, Kind};

/// What the first bytes of a connection are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProxyHeader {
    /// No PROXY header: the client's own bytes.
    None,
    /// They may become one.
    Incomplete,
    /// One, of `length` bytes.
    Complete {
        /// The client's address, IPv4 in its mapped form; `None` where the proxy speaks for itself
        /// (LOCAL) or does not tell (UNKNOWN, UNSPEC, a unix socket).
        source: Option<[u8; 16]>,
        /// The header's length, in bytes.
        length: usize,
    },
}

/// The PROXY header at the front of `bytes`.
///
/// # Errors
/// [`Kind::ProxyHeader`]: the bytes begin one and then break its grammar or its bounds.
pub fn parse(bytes: &[u8]) -> Result<ProxyHeader, Fault> {
    if V1_PREFIX.starts_with(bytes) || V2_SIGNATURE.starts_with(bytes) {
        Ok(ProxyHeader::Incomplete)
    } else if bytes.starts_with(V1_PREFIX) {
        version_1(bytes)
    } else if let Some(rest) = bytes.strip_prefix(V2_SIGNATURE) {
        version_2(rest)
    } else {
        Ok(ProxyHeader::None)
    }
}

/// `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443`, one line of at most [`V1_BYTES_MAX`] bytes.
fn version_1(bytes: &[u8]) -> Result<ProxyHeader, Fault> {
    let bounded = bytes.get(..V1_BYTES_MAX).unwrap_or(bytes);
    let line = match memchr(b'\r', bounded).and_then(|at| bounded.split_at_checked(at)) {
        Some((line, [b'\r', b'\n', ..])) => line,
        None | Some((_, [b'\r'])) if bytes.len() < V1_BYTES_MAX => {
            return Ok(ProxyHeader::Incomplete);
        }
        None | Some(_) => return Err(refused("its line does not end in CRLF within 107 bytes")),
    };
    let text = std::str::from_utf8(line).map_err(|_| refused("its line is not text"))?;
    let mut words = text.split(' ').skip(1);
    let source = match words.next() {
        Some("TCP4") => addresses::<Ipv4Addr>(words).map(|source| Some(source.into())),
        Some("TCP6") => addresses::<Ipv6Addr>(words).map(|source| Some(source.into())),
        // What else stands there has no meaning.
        Some("UNKNOWN") => Some(None),
        _ => None,
    };
    let Some(source): Option<Option<IpAddr>> = source else {
        return Err(refused(
            "its line is not `PROXY TCP4|TCP6 <source> <destination> <port> <port>`",
        ));
    };
    Ok(ProxyHeader::Complete { source: source.map(mapped), length: line.len() + 2 })
}

/// The source of `<source> <destination> <port> <port>`, if all four are what they should be.
fn addresses<'a, A: std::str::FromStr>(mut words: impl Iterator<Item = &'a str>) -> Option<A> {
    let source: A = words.next()?.parse().ok()?;
    let _destination: A = words.next()?.parse().ok()?;
    for _source_then_destination in 0..2 {
        let port = words.next()?;
        let zeros_lead = port.len() > 1 && port.starts_with('0');
        if zeros_lead || !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let _port: u16 = port.parse().ok()?;
    }
    words.next().is_none().then_some(source)
}

/// What follows the signature: version and command, family and protocol, the length of the rest.
fn version_2(bytes: &[u8]) -> Result<ProxyHeader, Fault> {
    let Some((&[command, family, high, low], rest)) = bytes.split_first_chunk() else {
        return Ok(ProxyHeader::Incomplete);
    };
    let rest_bytes = usize::from(u16::from_be_bytes([high, low]));
    if rest_bytes > V2_REST_BYTES_MAX {
        return Err(refused("its addresses and extensions are longer than 512 bytes"));
    }
    if family >> 4 > 3 || family & 0xf > 2 {
        return Err(refused("its address family or protocol is unknown"));
    }
    let speaks_for_itself = match command {
        0x20 => true,
        0x21 => false,
        _ => return Err(refused("its version or command is unknown")),
    };
    let Some(rest) = rest.get(..rest_bytes) else {
        return Ok(ProxyHeader::Incomplete);
    };
    // Source and destination addresses, both ports; extensions (TLV) behind them are not read.
    let short = || refused("its addresses are cut short");
    let source = match family >> 4 {
        _ if speaks_for_itself => None,
        1 => {
            let addresses: &[u8; 12] = rest.first_chunk().ok_or_else(short)?;
            let [a, b, c, d, ..] = *addresses;
            Some(mapped(Ipv4Addr::new(a, b, c, d).into()))
        }
        2 => {
            let addresses: &[u8; 36] = rest.first_chunk().ok_or_else(short)?;
            addresses.first_chunk().copied()
        }
        _ => None,
    };
    let length = V2_SIGNATURE.len() + 4 + rest_bytes;
    Ok(ProxyHeader::Complete { source, length })
}

fn refused(detail: &'static str) -> Fault {
    Fault::new(Kind::ProxyHeader, detail)
}

const V1_PREFIX: &[u8] = b"PROXY ";

/// The longest line of version 1: two whole IPv6 addresses, two ports, CRLF.
const V1_BYTES_MAX: usize = 107;

const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Room for two unix socket paths (216 bytes) and the extensions that proxies send.
const V2_REST_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(bytes: &[u8]) -> String {
        match parse(bytes) {
            Ok(ProxyHeader::None) => "none".into(),
            Ok(ProxyHeader::Incomplete) => "incomplete".into(),
            Ok(ProxyHeader::Complete { source, length }) => {
                assert!(length <= bytes.len());
                match source {
                    Some(source) => format!("{length} {}", Ipv6Addr::from(source).to_canonical()),
                    None => format!("{length} -"),
                }
            }
            Err(fault) => fault.detail.into(),
        }
    }

    #[test]
    fn version_1_lines_and_what_they_tell() {
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\nGET", "42 192.0.2.1"),
            ("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n", "36 2001:db8::1"),
            ("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "37 192.0.2.1"),
            ("PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n", "15 -"),
            ("PROXY UNKNOWN ffff::1 what ever\r\n", "33 -"),
            ("GET / HTTP/1.1\r\n", "none"),
            ("PROXYTCP4", "none"),
            ("proxy TCP4", "none"),
            ("POST", "none"),
            ("\r\nGET / HTTP/1.1", "none"),
            ("", "incomplete"),
            ("P", "incomplete"),
            ("PROXY", "incomplete"),
            ("\r", "incomplete"),
            ("\r\n", "incomplete"),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r", "incomplete"),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\n", "incomplete"),
        ] {
            assert_eq!(told(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn version_1_lines_that_are_refused() {
        let grammar = "its line is not `PROXY TCP4|TCP6";
        for (line, expected) in [
            ("PROXY \r\n", grammar),
            ("PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n", grammar),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", grammar),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", grammar),
            ("PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n", grammar),
            ("PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", grammar),
            ("PROXY TCP4 2001:db8::1 ::1 1 2\r\n", grammar),
            ("PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", grammar),
            ("PROXY TCP4 192.0.2.1 nowhere 1 2\r\n", grammar),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", grammar),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", grammar),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", grammar),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rGET", "its line does not end"),
            ("PROXY UNKNOWN \u{e9}\r\n", "-"),
        ] {
            let told = told(line.as_bytes());
            assert!(told.contains(expected), "{line:?}: {told}");
        }
        let longest = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 16));
        assert_eq!(told(longest.as_bytes()), "107 -");
        let longer = format!("PROXY UNKNOWN {}\r\n", "x".repeat(107 - 15));
        assert!(told(longer.as_bytes()).contains("within 107 bytes"));
        assert!(told(b"PROXY UNKNOWN \xff\r\n").contains("not text"));
    }

    fn version_2(command: u8, family: u8, length: u16, rest: &[u8]) -> Vec<u8> {
        [V2_SIGNATURE, &[command, family], &length.to_be_bytes(), rest].concat()
    }

    #[test]
    fn version_2_headers_and_what_they_tell() {
        let four = [192, 0, 2, 1, 192, 0, 2, 2, 0, 1, 0, 2];
        let mut six = [0; 36];
        six[..4].copy_from_slice(&[0x20, 0x01, 0x0d, 0xb8]);
        let with_tlv = [&four[..], &[0xEE, 0, 1, 7]].concat();
        for (command, family, length, rest, expected) in [
            (0x21, 0x11, 12, &four[..], "28 192.0.2.1"),
            (0x21, 0x12, 12, &four, "28 192.0.2.1"),
            (0x21, 0x11, 16, &with_tlv, "32 192.0.2.1"),
            (0x21, 0x21, 36, &six, "52 2001:db8::"),
            (0x21, 0x31, 216, &[b'/'; 216], "232 -"),
            (0x21, 0x00, 0, &[], "16 -"),
            (0x20, 0x00, 0, &[], "16 -"),
            (0x20, 0x11, 12, &four, "28 -"),
            (0x20, 0x11, 3, &[1, 2, 3], "19 -"),
            (0x21, 0x11, 12, &four[..11], "incomplete"),
            (0x21, 0x11, 512, &four, "incomplete"),
            (0x21, 0x11, 11, &four[..11], "its addresses are cut short"),
            (0x21, 0x21, 12, &four, "its addresses are cut short"),
            (0x21, 0x11, 513, &four, "longer than 512 bytes"),
            (0x21, 0x41, 12, &four, "family or protocol"),
            (0x21, 0x13, 12, &four, "family or protocol"),
            (0x22, 0x11, 12, &four, "version or command"),
            (0x11, 0x11, 12, &four, "version or command"),
        ] {
            let told = told(&version_2(command, family, length, rest));
            assert!(told.contains(expected), "{command:x} {family:x} {length}: {told}");
        }
    }

    proptest! {
        #[test]
        fn the_verdict_does_not_depend_on_the_split(
            start in prop_oneof![
                Just(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec()),
                Just(b"PROXY UNKNOWN\r\n".to_vec()),
                Just(version_2(0x21, 0x11, 12, &[7; 12])),
                Just(version_2(0x20, 0x00, 0, &[])),
            ],
            flip in any::<Option<(prop::sample::Index, u8)>>(),
            rest in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut bytes = start;
            if let Some((at, byte)) = flip {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.extend(rest);
            let verdicts: Vec<_> = (0..=bytes.len()).map(|end| parse(&bytes[..end])).collect();
            let decided = verdicts.iter().position(|v| *v != Ok(ProxyHeader::Incomplete));
            for verdict in &verdicts[decided.unwrap_or(verdicts.len())..] {
                prop_assert_eq!(verdict, &verdicts[decided.unwrap()]);
            }
        }
    }
}
