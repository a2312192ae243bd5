//! Which addresses the gateway connects to on a stranger's word: a name in a redirect or a challenge
//! resolves to whatever its owner wants (server-side request forgery).

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether `address` (IPv4 in its mapped form) is one of the public Internet's, so that connecting
/// to it reaches nothing that this machine or its network has for itself.
///
/// Of IPv6 only what IANA gives out for global unicast is public. Forms that carry an IPv4 address
/// (mapped, 6to4, NAT64) are judged by that address, for that is where their packets go; the NAT64
/// prefix of local use has no fixed place for it, and Teredo ends at whoever opened the tunnel:
/// neither is public. The networks of documentation count as public: nobody is there.
pub fn is_public(address: [u8; 16]) -> bool {
    let address = Ipv6Addr::from(address);
    match carried_ipv4(address) {
        Some(carried) => is_public_ipv4(carried),
        None => {
            let within = |(network, bits)| is_within(address, network, bits);
            within(GLOBAL_UNICAST) && !RESERVED_IPV6.into_iter().any(within)
        }
    }
}

/// The IPv4 address that packets to `address` end at.
fn carried_ipv4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    // The lower 32 of the bits.
    #[allow(clippy::cast_possible_truncation, reason = "the upper bits are the prefix")]
    let low = |bits: u128| Ipv4Addr::from_bits(bits as u32);
    if is_within(address, NAT64.0, NAT64.1) {
        return Some(low(bits));
    }
    if is_within(address, SIX_TO_FOUR.0, SIX_TO_FOUR.1) {
        return Some(low(bits >> 80));
    }
    address.to_ipv4_mapped()
}

fn is_public_ipv4(address: Ipv4Addr) -> bool {
    let reserved = |(network, bits): (Ipv4Addr, u32)| {
        (address.to_bits() ^ network.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
    };
    !RESERVED_IPV4.into_iter().any(reserved)
}

fn is_within(address: Ipv6Addr, network: Ipv6Addr, bits: u32) -> bool {
    (address.to_bits() ^ network.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
}

/// RFC 4291, 2.4. Loopback, unspecified, unique local, link-local, site-local and multicast
/// addresses are all outside it.
const GLOBAL_UNICAST: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// RFC 6052, 2.1: the IPv4 address is the last four bytes.
const NAT64: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// RFC 3056, 2: the IPv4 address follows the prefix.
const SIX_TO_FOUR: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16);

/// What of global unicast leads nowhere public (IANA, special-purpose address registry).
const RESERVED_IPV6: [(Ipv6Addr, u32); 3] = [
    // Teredo (RFC 4380).
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32),
    // Benchmarking (RFC 5180).
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48),
    // Identifiers that are no places: ORCHID (RFC 7343).
    (Ipv6Addr::new(0x2001, 0x20, 0, 0, 0, 0, 0, 0), 28),
];

/// What of IPv4 leads nowhere public (IANA, special-purpose address registry).
const RESERVED_IPV4: [(Ipv4Addr, u32); 13] = [
    // This network (RFC 791): connecting there reaches this machine.
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    // Private (RFC 1918).
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    // Carrier-grade NAT (RFC 6598), and what clouds put there.
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    // Loopback (RFC 1122).
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // Link-local (RFC 3927); the instance metadata of most clouds.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    // Protocol assignments (RFC 6890); the instance metadata of another cloud.
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    // Relays of 6to4 (RFC 7526, deprecated).
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    // Benchmarking (RFC 2544).
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    // Azure's platform services: by number public, but always the machine's own host.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    // Multicast (RFC 5771).
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    // Reserved (RFC 1112), with the broadcast address.
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::pure::http1::forwarded::mapped;

    fn address(text: &str) -> [u8; 16] {
        mapped(text.parse().unwrap())
    }

    #[test]
    fn the_internet_is_public() {
        for text in [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.255.255",
            "172.32.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "169.253.255.255",
            "198.17.255.255",
            "168.63.129.15",
            "223.255.255.255",
            "192.0.2.1",
            "198.51.100.7",
            "203.0.113.9",
            "2606:4700::1111",
            "2a00:1450:4001:80e::200e",
            "2001:db8::1",
            "2001:4860:4860::8888",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2002:101:101::1",
        ] {
            assert!(is_public(address(text)), "{text}");
        }
    }

    #[test]
    fn what_is_somebodys_own_is_not() {
        for text in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::1.1.1.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:1.1.1.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1.1.1.1",
            "64:ff9b:1:fffe::10.0.0.1",
            "64:ff9c::1.1.1.1",
            "100::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2002:a9fe:a9fe::",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:20::1",
            "2001:2f:ffff::1",
            "fc00::1",
            "fd12:3456:789a::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ] {
            assert!(!is_public(address(text)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_standard_librarys_words_for_it_agree(bits in any::<u32>(), near in 0usize..4) {
            // Half of all addresses would be ordinary ones.
            let first = [bits.to_be_bytes()[0], 10, 127, 169][near];
            let [_, b, c, d] = bits.to_be_bytes();
            let ipv4 = Ipv4Addr::new(first, b, c, d);
            let own = ipv4.is_private()
                || ipv4.is_loopback()
                || ipv4.is_link_local()
                || ipv4.is_multicast()
                || ipv4.is_broadcast()
                || ipv4.is_unspecified();
            prop_assert!(!(own && is_public(mapped(IpAddr::V4(ipv4)))));
        }

        #[test]
        fn a_form_is_as_public_as_what_it_carries(bits in any::<u32>(), below in any::<u64>()) {
            let ipv4 = Ipv4Addr::from_bits(bits);
            let expected = is_public(mapped(IpAddr::V4(ipv4)));
            let nat64 = NAT64.0.to_bits() | u128::from(bits);
            let six_to_four = SIX_TO_FOUR.0.to_bits() | u128::from(bits) << 80 | u128::from(below);
            prop_assert_eq!(is_public(nat64.to_be_bytes()), expected);
            prop_assert_eq!(is_public(six_to_four.to_be_bytes()), expected);
        }
    }
}
