//! Which addresses are public. What a registry names (by DNS, in a realm, in a redirect) must not
//! lead into the operator's own network.

/// Whether `address` (IPv4 in its mapped form) is one that the public Internet routes. Forms that
/// carry an IPv4 address are judged by it: mapped, 6to4 (RFC 3056) and NAT64 (RFC 6052, 8215).
/// Documentation networks count as public: nothing is there, and tests need somewhere to be.
pub fn is_public(address: [u8; 16]) -> bool {
    match address {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
        | [0x20, 0x02, a, b, c, d, ..]
        | [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => is_public_v4([a, b, c, d]),
        // The deprecated form of an address with IPv4 in it, loopback and unspecified among them.
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ..]
        // NAT64 of one's own network, wherever the IPv4 address stands in it (RFC 8215).
        | [0, 0x64, 0xff, 0x9b, 0, 1, ..]
        // Discard (RFC 6666).
        | [1, 0, 0, 0, 0, 0, 0, 0, ..]
        // Teredo (RFC 4380).
        | [0x20, 1, 0, 0, ..]
        // Unique local (RFC 4193).
        | [0xfc | 0xfd, ..]
        // Multicast.
        | [0xff, ..] => false,
        // Link-local, and what was site-local.
        [0xfe, second, ..] => second & 0x80 == 0,
        _ => true,
    }
}

fn is_public_v4(address: [u8; 4]) -> bool {
    !matches!(
        address,
        // This network; private; loopback (RFC 1122, 1918).
        [0 | 10 | 127, ..]
            | [172, 16..=31, ..]
            | [192, 168, ..]
            // Shared by carriers (RFC 6598).
            | [100, 64..=127, ..]
            // Link-local (RFC 3927): also where clouds keep their machines' secrets.
            | [169, 254, ..]
            // Protocol assignments (RFC 6890); benchmarks (RFC 2544).
            | [192, 0, 0, _]
            | [198, 18..=19, ..]
            // Multicast, reserved and broadcast.
            | [224..=255, ..]
    )
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn octets(text: &str) -> [u8; 16] {
        match text.parse().unwrap() {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        }
    }

    #[test]
    fn what_leads_inside_in_any_form_is_not_public() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "64:ff9b:1:fffe::8.8.8.8",
            "100::1",
            "2001::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(octets(address)), "{address}");
        }
    }

    #[test]
    fn the_rest_is() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.51.100.10",
            "203.0.113.7",
            "223.255.255.255",
            "2606:4700::1",
            "2001:db8::1",
            "2001:4860::8888",
            "2002:808:808::1",
            "64:ff9b::8.8.8.8",
            "2a00::1",
        ] {
            assert!(is_public(octets(address)), "{address}");
        }
    }
}
