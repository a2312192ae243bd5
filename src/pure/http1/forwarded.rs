//! Which address is the client's, where trusted proxies stand between it and us: `Forwarded`
//! (RFC 7239) and its predecessor `X-Forwarded-For`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use memchr::memchr;

use crate::pure::config::values::Cidr;

/// What a request's header fields say of the way it came. Each proxy adds at the right, so only the
/// last four lines of each kind are kept: what proxies of ours wrote is among them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ForwardedFields<'a> {
    forwarded: Lines<'a>,
    x_forwarded_for: Lines<'a>,
}

impl<'a> ForwardedFields<'a> {
    /// Adds the value of a `Forwarded` line, in the order of the head.
    pub fn push_forwarded(&mut self, value: &'a [u8]) {
        self.forwarded.push(value);
    }

    /// Adds the value of an `X-Forwarded-For` line, in the order of the head.
    pub fn push_x_forwarded_for(&mut self, value: &'a [u8]) {
        self.x_forwarded_for.push(value);
    }
}

/// The client's address: the peer's, unless the peer is trusted; then the hops it names are walked
/// from right to left while they are trusted too, and the first that is not is the client. A hop
/// that does not give an address (`unknown`, `_hidden`, garbage) ends the walk at the hop before.
///
/// Where both kinds are present and disagree, one of them is what the client itself sent and the
/// trusted proxy, which writes the other kind, has let pass; which one nobody can tell. So neither
/// is believed, and the client is the peer.
pub fn client_address(fields: &ForwardedFields<'_>, peer: [u8; 16], trusted: &[Cidr]) -> [u8; 16] {
    let by_forwarded = walk(&fields.forwarded, element, peer, trusted);
    let by_x_forwarded_for = walk(&fields.x_forwarded_for, node, peer, trusted);
    if fields.forwarded.is_empty() {
        by_x_forwarded_for
    } else if fields.x_forwarded_for.is_empty() || by_forwarded == by_x_forwarded_for {
        by_forwarded
    } else {
        peer
    }
}

fn walk(lines: &Lines<'_>, hop: Hop, peer: [u8; 16], trusted: &[Cidr]) -> [u8; 16] {
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    let mut address = peer;
    for text in lines.iter_back().flat_map(|line| split_back(line, b',')) {
        if !is_trusted(address) {
            break;
        }
        match hop(text) {
            Some(further) => address = further,
            None => break,
        }
    }
    address
}

/// An address in 16 bytes; IPv4 in its mapped form (`::ffff:a.b.c.d`).
pub fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// What of an address tells clients apart: all of IPv4, and of IPv6 the /64 that one subscriber has.
pub fn client_key(address: [u8; 16]) -> [u8; 16] {
    let bits = u128::from_be_bytes(address);
    match Ipv6Addr::from_bits(bits).to_ipv4_mapped() {
        Some(_) => address,
        None => (bits >> 64 << 64).to_be_bytes(),
    }
}

/// How the text of a hop gives its address.
type Hop = fn(&[u8]) -> Option<[u8; 16]>;

/// The last [`LINES_MAX`] values of one field, in the order of the head.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Lines<'a> {
    lines: [&'a [u8]; LINES_MAX],
    count: usize,
}

impl<'a> Lines<'a> {
    fn push(&mut self, line: &'a [u8]) {
        self.lines.rotate_left(1);
        if let Some(last) = self.lines.last_mut() {
            *last = line;
        }
        self.count += 1;
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// From the last line to the first.
    fn iter_back(&self) -> impl Iterator<Item = &'a [u8]> {
        self.lines.into_iter().rev().take(self.count)
    }
}

/// The parts of a list from the last to the first, trimmed, without the empty ones (RFC 9110,
/// 5.6.1.2). Separators in quoted strings do not count. Reading from the right, what proxies of
/// ours wrote is read before anything that a client sent, so that a quote which a client left open
/// spoils nothing but its own words.
fn split_back(list: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let text = rest?;
        let part = match separator_from_right(text, separator) {
            Some(at) => {
                rest = text.get(..at);
                text.get(at + 1..).unwrap_or_default()
            }
            None => {
                rest = None;
                text
            }
        };
        Some(part.trim_ascii())
    })
    .filter(|part| !part.is_empty())
}

/// Where the last separator outside quoted strings stands.
fn separator_from_right(text: &[u8], separator: u8) -> Option<usize> {
    let mut quoted = false;
    for (at, &byte) in text.iter().enumerate().rev() {
        if byte == b'"' {
            let backslashes =
                text.iter().take(at).rev().take_while(|before| **before == b'\\').count();
            let escaped = quoted && backslashes % 2 == 1;
            quoted ^= !escaped;
        } else if byte == separator && !quoted {
            return Some(at);
        }
    }
    None
}

/// The address in a forwarded-element: `for=192.0.2.43;proto=http` (RFC 7239, 4).
fn element(element: &[u8]) -> Option<[u8; 16]> {
    let mut found = None;
    for pair in split_back(element, b';') {
        let (name, value) = split_at_byte(pair, b'=')?;
        if name.eq_ignore_ascii_case(b"for") {
            if found.is_some() {
                return None;
            }
            let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
            found = Some(node(unquoted.unwrap_or(value)));
        }
    }
    found?
}

/// The address in a node, with or without a port: `192.0.2.43`, `192.0.2.43:47011`,
/// `[2001:db8::17]`, `[2001:db8::17]:47011` (RFC 7239, 6), and the bare `2001:db8::17` that
/// `X-Forwarded-For` has.
fn node(node: &[u8]) -> Option<[u8; 16]> {
    let text = std::str::from_utf8(node).ok()?;
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        return (port.is_empty() || is_port(port.strip_prefix(':')?)).then(|| address.octets());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(mapped(address));
    }
    let (address, port) = text.split_once(':')?;
    let address: Ipv4Addr = address.parse().ok()?;
    is_port(port).then(|| mapped(address.into()))
}

/// A port, or the obfuscated one (`_x1`) that RFC 7239 allows in its place.
fn is_port(port: &str) -> bool {
    port.parse::<u16>().is_ok() || port.starts_with('_')
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = memchr(byte, text)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Lines kept of each field. Proxies join their hop to the last line or add one of their own, and
/// chains of trusted proxies are short.
const LINES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> [u8; 16] {
        mapped(text.parse().unwrap())
    }

    fn network(text: &str, bits: u8) -> Cidr {
        Cidr { network: u128::from_be_bytes(address(text)), bits }
    }

    /// Trusted: 10.0.0.0/8 and fd00::/8. The peer is 10.0.0.1 unless said otherwise.
    fn client(forwarded: &[&str], x_forwarded_for: &[&str], peer: &str) -> String {
        let mut fields = ForwardedFields::default();
        forwarded.iter().for_each(|line| fields.push_forwarded(line.as_bytes()));
        x_forwarded_for.iter().for_each(|line| fields.push_x_forwarded_for(line.as_bytes()));
        let trusted = [network("10.0.0.0", 104), network("fd00::", 8)];
        let client = client_address(&fields, address(peer), &trusted);
        Ipv6Addr::from(client).to_canonical().to_string()
    }

    #[test]
    fn forwarded_and_whom_it_names() {
        for (lines, expected) in [
            (&[][..], "10.0.0.1"),
            (&["for=192.0.2.43"], "192.0.2.43"),
            (&["For=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17"),
            (&["for=\"[2001:db8::17]\""], "2001:db8::17"),
            (&["for=\"192.0.2.43:47011\""], "192.0.2.43"),
            (&["for=\"192.0.2.43:_port\""], "192.0.2.43"),
            (&["for=192.0.2.60;proto=http;by=203.0.113.43"], "192.0.2.60"),
            (&["proto=http ; FOR=192.0.2.60 ;by=203.0.113.43"], "192.0.2.60"),
            (&["for=192.0.2.43, for=198.51.100.17"], "198.51.100.17"),
            (&["for=192.0.2.43, for=10.1.2.3"], "192.0.2.43"),
            (&["for=192.0.2.43", "for=10.1.2.3"], "192.0.2.43"),
            (&["for=10.1.1.1, for=\"[fd00::2]\""], "10.1.1.1"),
            (&["for=192.0.2.43,, ,for=10.1.2.3,"], "192.0.2.43"),
            // The walk ends before what is no address.
            (&["for=unknown"], "10.0.0.1"),
            (&["for=_hidden, for=10.1.2.3"], "10.1.2.3"),
            (&["for=192.0.2.43, for=unknown, for=10.1.2.3"], "10.1.2.3"),
            (&["for=192.0.2.43, proto=http"], "10.0.0.1"),
            (&["for=192.0.2.43, nonsense"], "10.0.0.1"),
            (&["for=192.0.2.43;for=192.0.2.44"], "10.0.0.1"),
            (&["for=192.0.2.999"], "10.0.0.1"),
            (&["for=\"[2001:db8::17\""], "10.0.0.1"),
            (&["for=\"[2001:db8::17]x\""], "10.0.0.1"),
            (&["for=\"192.0.2.43:99999\""], "10.0.0.1"),
            (&["for=\"\""], "10.0.0.1"),
            (&["for="], "10.0.0.1"),
            // Quoted separators are none, and a quote that the client left open is its own affair.
            (&["for=192.0.2.43;secret=\"a,b;c\\\",d\""], "192.0.2.43"),
            (&["for=\"x, for=192.0.2.43"], "192.0.2.43"),
            (&["for=192.0.2.7, for=\"x, for=10.1.2.3"], "10.1.2.3"),
            // Only the last four lines are kept.
            (&["for=192.0.2.1", "for=10.0.0.2", "for=10.0.0.3", "for=10.0.0.4"], "192.0.2.1"),
            (
                &["for=192.0.2.1", "for=10.0.0.2", "for=10.0.0.3", "for=10.0.0.4", "for=10.0.0.5"],
                "10.0.0.2",
            ),
        ] {
            assert_eq!(client(lines, &[], "10.0.0.1"), expected, "{lines:?}");
        }
    }

    #[test]
    fn x_forwarded_for_and_whom_it_names() {
        for (lines, expected) in [
            (&["192.0.2.43"][..], "192.0.2.43"),
            (&["192.0.2.43, 198.51.100.17"], "198.51.100.17"),
            (&["192.0.2.43,10.1.2.3"], "192.0.2.43"),
            (&["2001:db8::17"], "2001:db8::17"),
            (&["[2001:db8::17]:4711"], "2001:db8::17"),
            (&["192.0.2.43:4711"], "192.0.2.43"),
            (&["::ffff:192.0.2.43"], "192.0.2.43"),
            (&["spoofed", "192.0.2.43"], "192.0.2.43"),
            (&["192.0.2.43, unknown, 10.1.2.3"], "10.1.2.3"),
            (&["<script>"], "10.0.0.1"),
            (&[""], "10.0.0.1"),
        ] {
            assert_eq!(client(&[], lines, "10.0.0.1"), expected, "{lines:?}");
        }
    }

    #[test]
    fn strangers_are_not_believed() {
        assert_eq!(client(&["for=192.0.2.43"], &["192.0.2.44"], "198.51.100.1"), "198.51.100.1");
    }

    #[test]
    fn two_kinds_that_disagree_are_not_believed_and_two_that_agree_are() {
        for (x_forwarded_for, expected) in
            [("192.0.2.43", "192.0.2.43"), ("192.0.2.44", "10.0.0.1")]
        {
            assert_eq!(client(&["for=192.0.2.43"], &[x_forwarded_for], "10.0.0.1"), expected);
        }
    }

    #[test]
    fn a_subscriber_is_an_ipv4_address_or_a_64() {
        let key = |text| Ipv6Addr::from(client_key(address(text))).to_canonical().to_string();
        assert_eq!(key("192.0.2.43"), "192.0.2.43");
        assert_eq!(key("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }

    /// The hops once more: all are collected, then walked.
    fn naive(lines: &[String], peer: &str, trusted: &[Cidr]) -> [u8; 16] {
        let hops = lines.iter().rev().take(LINES_MAX).flat_map(|line| {
            line.split(',').rev().map(|hop| hop.trim()).filter(|hop| !hop.is_empty())
        });
        let mut found = address(peer);
        for hop in hops {
            if !trusted.iter().any(|network| network.contains(found)) {
                return found;
            }
            let Ok(further) = hop.parse() else {
                return found;
            };
            found = mapped(further);
        }
        found
    }

    proptest! {
        #[test]
        fn the_walk_agrees_with_its_naive_twin(
            lines in prop::collection::vec("((10|11)\\.0\\.0\\.[1-3]|x|fd00::1| )(, ?((10|11)\\.0\\.0\\.[1-3]|fd00::1|)){0,4}", 0..6),
        ) {
            let trusted = [network("10.0.0.0", 104), network("fd00::", 8)];
            let mut fields = ForwardedFields::default();
            lines.iter().for_each(|line| fields.push_x_forwarded_for(line.as_bytes()));
            let walked = client_address(&fields, address("10.0.0.1"), &trusted);
            prop_assert_eq!(walked, naive(&lines, "10.0.0.1", &trusted));
        }

        #[test]
        fn what_a_client_sends_never_hides_it_from_the_proxy_behind_it(
            sent in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let line = [&sent[..], b", for=\"[2001:db8::1]:5\";proto=\"a,b\""].concat();
            let mut fields = ForwardedFields::default();
            fields.push_forwarded(&line);
            let trusted = [network("10.0.0.0", 104)];
            let client = client_address(&fields, address("10.0.0.1"), &trusted);
            prop_assert_eq!(client, address("2001:db8::1"));
        }
    }
}
