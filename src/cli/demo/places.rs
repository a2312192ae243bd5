//! A database of places in MaxMind's format, made in memory: who has addresses that begin with which
//! number. For the demo's made-up past, and for tests whose truth is known.

use std::sync::Arc;

use crate::pure::place::{Database, Labels, Sources};

/// What is known of the addresses that begin with one number. What is empty is not known.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// `DE`
    pub country: &'static str,
    /// `South`
    pub region: &'static str,
    /// The number of the autonomous system.
    pub asn: u32,
    /// Who runs it.
    pub operator: String,
    /// The company whose own network it is.
    pub company: &'static str,
}

/// What is known of the networks `0.0.0.0/8` to `255.0.0.0/8`.
///
/// # Errors
/// That the format's reader does not take what is written here.
pub fn sources(networks: &[Network; 256]) -> Result<Sources, String> {
    let database = Database::read(database(networks));
    let database = database.map_err(|words| format!("a made-up database {words}"))?;
    Ok(Sources::new(vec![Arc::new(database)], Labels::default(), false))
}

/// The same as the bytes of a database's file.
pub fn database(networks: &[Network; 256]) -> Vec<u8> {
    let (mut offsets, mut data) = (Vec::new(), Vec::new());
    for network in networks {
        offsets.push(data.len());
        let Network { country, region, asn, operator, company } = network;
        let texts = [
            ("country_code", *country),
            ("region", region),
            ("autonomous_system_organization", operator),
            ("organization", company),
            ("user_type", if company.is_empty() { "" } else { "business" }),
        ];
        let texts: Vec<_> = texts.into_iter().filter(|(_, text)| !text.is_empty()).collect();
        put_map(&mut data, texts.len() + 1);
        for (key, text) in texts {
            put_text(&mut data, key);
            put_text(&mut data, text);
        }
        put_text(&mut data, "autonomous_system_number");
        put_number(&mut data, *asn);
    }
    // A whole tree over the first eight bits: node n leads to 2n + 1 and 2n + 2.
    let nodes = networks.len() - 1;
    let mut bytes = Vec::new();
    for side in 1..=2 * nodes {
        let to = match side.checked_sub(nodes) {
            None => side,
            Some(leaf) => nodes + 16 + offsets[leaf],
        };
        bytes.extend(u32::try_from(to).unwrap_or(u32::MAX).to_be_bytes());
    }
    bytes.extend([0; 16]);
    bytes.extend(data);
    bytes.extend(b"\xab\xcd\xefMaxMind.com");
    put_map(&mut bytes, 9);
    put_text(&mut bytes, "node_count");
    put_number(&mut bytes, u32::try_from(nodes).unwrap_or(u32::MAX));
    for (key, number) in [
        ("record_size", 32u16),
        ("ip_version", 4),
        ("binary_format_major_version", 2),
        ("binary_format_minor_version", 0),
    ] {
        put_text(&mut bytes, key);
        bytes.push(0xa0 | 2);
        bytes.extend(number.to_be_bytes());
    }
    put_text(&mut bytes, "database_type");
    put_text(&mut bytes, "Made-Up");
    put_text(&mut bytes, "build_epoch");
    bytes.extend([8, 2]);
    bytes.extend(1u64.to_be_bytes());
    put_text(&mut bytes, "languages");
    bytes.extend([0, 4]);
    put_text(&mut bytes, "description");
    put_map(&mut bytes, 0);
    bytes
}

/// Few pairs are to follow.
fn put_map(out: &mut Vec<u8>, pairs: usize) {
    out.push(0xe0 | u8::try_from(pairs).unwrap_or_default());
}

/// A text of fewer than 285 bytes.
fn put_text(out: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(short @ ..29) => out.push(0x40 | short),
        Ok(long) => out.extend([0x40 | 29, long - 29]),
        Err(_) => out.extend([0x40 | 29, u8::try_from(text.len() - 29).unwrap_or(u8::MAX)]),
    }
    out.extend(text.bytes());
}

fn put_number(out: &mut Vec<u8>, number: u32) {
    out.push(0xc0 | 4);
    out.extend(number.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reader_finds_what_was_written() {
        let networks: [Network; 256] = std::array::from_fn(|first| Network {
            country: if first % 2 == 0 { "DE" } else { "FR" },
            region: "",
            asn: 64_496,
            operator: format!("Network {first}"),
            company: if first == 4 { "Acme AG" } else { "" },
        });
        let sources = sources(&networks).unwrap();
        let place = |first| {
            sources.place(std::net::Ipv4Addr::new(first, 1, 2, 3).to_ipv6_mapped().octets())
        };
        assert_eq!((place(4).country, place(4).company), ("DE".into(), "Acme AG".into()));
        let odd = place(225);
        assert_eq!((odd.country, odd.network), ("FR".into(), "AS64496 Network 225".into()));
    }
}
