//! The built-in rules (`config/places.toml`): whose clouds networks are, and what an operator's
//! name says of whose network it is.

use serde::Deserialize;

use super::Kind;
use super::networks::Networks;
use crate::pure::config::values::Cidr;

/// See the module.
#[derive(Clone, Debug)]
pub struct Rules {
    clouds: Networks<Cloud>,
    by_asn: Vec<(u32, Cloud)>,
    /// Words of lower case, in the order in which they are tried.
    kinds: Vec<(String, Kind)>,
}

/// A cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cloud {
    /// `aws`
    pub(super) provider: String,
    /// `aws eu-west-1`; empty where the network does not tell.
    pub(super) region: String,
}

impl Rules {
    /// The rules that come with the program.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("a test parses the built-in rules")
    }

    fn parse(text: &str) -> Result<Self, String> {
        let File { clouds, kinds } = toml::from_str(text).map_err(|error| error.to_string())?;
        let (mut networks, mut by_asn, mut words) = (Vec::new(), Vec::new(), Vec::new());
        for WrittenCloud { provider, asns, networks: of_any_region, regions } in clouds {
            let cloud = |region| Cloud { provider: provider.clone(), region };
            by_asn.extend(asns.into_iter().map(|asn| (asn, cloud(String::new()))));
            for network in of_any_region {
                networks.push((Cidr::parse(&network)?, cloud(String::new())));
            }
            for (region, written) in regions {
                for network in written {
                    let region = format!("{provider} {region}");
                    networks.push((Cidr::parse(&network)?, cloud(region)));
                }
            }
        }
        by_asn.sort_unstable_by_key(|(asn, _)| *asn);
        for WrittenKind { kind, has } in kinds {
            let kind = Kind::EVERY.into_iter().find(|known| known.as_str() == kind);
            let kind = kind.ok_or("a kind that there is not")?;
            words.extend(has.into_iter().map(|word| (word, kind)));
        }
        Ok(Self { clouds: Networks::new(networks), by_asn, kinds: words })
    }

    /// See [`Networks::entry`].
    pub(super) fn entry(&self, address: [u8; 16]) -> u32 {
        self.clouds.entry(address)
    }

    /// Whose cloud it is: by its network, else by its autonomous system.
    pub(super) fn cloud(&self, address: [u8; 16], asn: Option<u32>) -> Option<&Cloud> {
        let by_asn = || {
            let at = self.by_asn.binary_search_by_key(&asn?, |(asn, _)| *asn).ok()?;
            self.by_asn.get(at).map(|(_, cloud)| cloud)
        };
        self.clouds.get(address).or_else(by_asn)
    }

    /// Whose network it is, as far as its operator's name tells.
    pub(super) fn kind(&self, operator: &str) -> Option<Kind> {
        let name = format!(" {} ", operator.to_lowercase());
        self.kinds.iter().find(|(word, _)| name.contains(word.as_str())).map(|(_, kind)| *kind)
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    clouds: Vec<WrittenCloud>,
    kinds: Vec<WrittenKind>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCloud {
    provider: String,
    #[serde(default)]
    asns: Vec<u32>,
    #[serde(default)]
    networks: Vec<String>,
    #[serde(default)]
    regions: std::collections::BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKind {
    kind: String,
    has: Vec<String>,
}

const BUILT_IN: &str = include_str!("../../../config/places.toml");

#[cfg(test)]
mod tests {
    use super::*;

    /// Names as registries of networks have them, one for each word of the rules at least.
    const OPERATORS: &[(&str, Option<Kind>)] = &[
        ("Massachusetts Institute of Technology", Some(Kind::Education)),
        ("Stanford University", Some(Kind::Education)),
        ("Universitaet Stuttgart", Some(Kind::Education)),
        ("Universidad de Chile", Some(Kind::Education)),
        ("Imperial College London", Some(Kind::Education)),
        ("Norwich School", Some(Kind::Education)),
        ("Ecole Polytechnique", Some(Kind::Education)),
        ("Government Digital Service", Some(Kind::Government)),
        ("US Department of Energy", Some(Kind::Government)),
        ("Ministry of Finance of Georgia", Some(Kind::Government)),
        ("DoD Network Information Center", Some(Kind::Government)),
        ("Hetzner Online GmbH", None),
        ("M247 Hosting Services", Some(Kind::Hosting)),
        ("Leaseweb Data Center", Some(Kind::Hosting)),
        ("Example Datacenter Ltd", Some(Kind::Hosting)),
        ("UpCloud Cloud Servers", Some(Kind::Hosting)),
        ("Acme VPS", Some(Kind::Hosting)),
        ("Telstra Corporation Ltd", None),
        ("Deutsche Telekom AG", Some(Kind::Isp)),
        ("Turk Telecom", Some(Kind::Isp)),
        ("Verizon Communications", Some(Kind::Isp)),
        ("Comcast Cable", Some(Kind::Isp)),
        ("Bredband2 AB", Some(Kind::Isp)),
        ("Sky Broadband", Some(Kind::Isp)),
        ("T-Mobile USA", Some(Kind::Isp)),
        ("Starlink Internet Services", Some(Kind::Isp)),
        ("Acme Wireless", Some(Kind::Isp)),
        ("Hurricane Fiber", Some(Kind::Isp)),
        ("Collegemobile Widgets", Some(Kind::Isp)),
    ];

    /// Addresses that providers are known by, as their documentation, their well-known services and
    /// the registries have them, and the first and last of some networks.
    const ADDRESSES: &[(&str, Option<&str>, &str)] = &[
        ("52.16.1.2", Some("aws"), "aws eu-west-1"),
        ("54.239.28.85", None, ""),
        ("54.230.10.1", Some("aws"), ""),
        ("3.120.0.1", Some("aws"), ""),
        ("44.192.0.1", Some("aws"), ""),
        ("2600:1f18::1", Some("aws"), ""),
        ("34.72.1.1", Some("google"), "google us-central1"),
        ("35.241.1.1", Some("google"), ""),
        ("34.118.200.1", Some("google"), ""),
        ("2600:1900:4000::1", Some("google"), ""),
        ("20.50.2.1", Some("azure"), ""),
        ("13.107.42.14", None, ""),
        ("40.113.200.201", Some("azure"), ""),
        ("52.168.1.1", Some("azure"), ""),
        ("52.97.1.1", None, ""),
        ("2603:1020::1", Some("azure"), ""),
        ("130.61.100.1", Some("oracle"), "oracle eu-frankfurt-1"),
        ("129.146.200.1", Some("oracle"), "oracle us-phoenix-1"),
        ("150.136.1.1", Some("oracle"), "oracle us-ashburn-1"),
        ("104.131.0.1", Some("digitalocean"), ""),
        ("2604:a880:800::1", Some("digitalocean"), ""),
        ("88.198.1.1", Some("hetzner"), ""),
        ("5.161.0.1", Some("hetzner"), ""),
        ("2a01:4f9:c010::1", Some("hetzner"), ""),
        ("51.254.0.1", Some("ovh"), ""),
        ("15.235.1.1", Some("ovh"), ""),
        ("2001:41d0::1", Some("ovh"), ""),
        ("45.79.100.1", Some("akamai"), ""),
        ("2600:3c00::f03c:91ff:fe00:1", Some("akamai"), ""),
        ("45.76.1.1", Some("vultr"), ""),
        ("2001:19f0:5::1", Some("vultr"), ""),
        ("51.15.1.1", Some("scaleway"), ""),
        ("163.172.1.1", Some("scaleway"), ""),
        ("47.88.1.1", Some("alibaba"), ""),
        ("47.100.1.1", Some("alibaba"), ""),
        ("119.28.1.1", Some("tencent"), ""),
        ("49.232.1.1", Some("tencent"), ""),
        ("119.3.1.1", Some("huawei"), ""),
        ("169.45.1.1", Some("ibm"), ""),
        ("104.16.132.229", Some("cloudflare"), ""),
        ("2606:4700::6810:84e5", Some("cloudflare"), ""),
        ("137.66.1.1", Some("fly"), ""),
        ("2a09:8280:1::1", Some("fly"), ""),
        ("140.82.112.1", Some("github"), ""),
        ("140.82.63.255", Some("vultr"), ""),
        ("140.82.127.255", Some("github"), ""),
        ("140.82.128.0", None, ""),
        ("185.199.108.153", Some("github"), ""),
        ("128.30.1.1", None, ""),
        ("192.0.2.1", None, ""),
        ("81.2.69.160", None, ""),
        ("2001:db8::1", None, ""),
    ];

    fn mapped(text: &str) -> [u8; 16] {
        match text.parse().unwrap() {
            std::net::IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            std::net::IpAddr::V6(v6) => v6.octets(),
        }
    }

    fn written() -> File {
        toml::from_str(BUILT_IN).unwrap()
    }

    #[test]
    fn every_word_of_the_rules_is_tried_by_a_name() {
        let rules = Rules::built_in();
        for (operator, kind) in OPERATORS {
            assert_eq!(rules.kind(operator), *kind, "{operator}");
        }
        for (word, _) in &rules.kinds {
            let decides = |operator: &str| {
                let name = format!(" {} ", operator.to_lowercase());
                rules.kinds.iter().find(|(word, _)| name.contains(word.as_str()))
            };
            let mut tried = OPERATORS.iter().filter_map(|(operator, _)| decides(operator));
            assert!(tried.any(|(decided, _)| decided == word), "{word:?}: no name shows it");
        }
    }

    #[test]
    fn clouds_are_told_by_their_systems() {
        let rules = Rules::built_in();
        let nowhere = [0; 16];
        for (asn, provider) in [
            (16509, "aws"),
            (396_982, "google"),
            (8075, "azure"),
            (31898, "oracle"),
            (14061, "digitalocean"),
            (24940, "hetzner"),
            (16276, "ovh"),
        ] {
            assert_eq!(rules.cloud(nowhere, Some(asn)).unwrap().provider, provider);
        }
        assert_eq!(rules.cloud(nowhere, Some(3320)), None);
        assert_eq!(rules.cloud(nowhere, None), None);
        let mut asns: Vec<_> = rules.by_asn.iter().map(|(asn, _)| asn).collect();
        asns.dedup();
        assert_eq!(asns.len(), rules.by_asn.len(), "a system belongs to one cloud");
    }
    #[test]
    fn clouds_are_told_by_their_networks_alone() {
        let rules = Rules::built_in();
        for (address, provider, region) in ADDRESSES {
            let cloud = rules.cloud(mapped(address), None);
            let told = cloud.map(|cloud| (cloud.provider.as_str(), cloud.region.as_str()));
            let expected = provider.map(|provider| (provider, *region));
            assert_eq!(told, expected, "{address}");
        }
        for WrittenCloud { provider, .. } in written().clouds {
            let mut tried = ADDRESSES.iter().filter_map(|(_, provider, _)| *provider);
            assert!(tried.any(|of| of == provider), "{provider}: no address shows it");
        }
    }

    /// No network lies in one of another provider's, or of another region's, and none of `networks`
    /// in one of a region: there it would take what is known of the region away, or say nothing.
    #[test]
    fn no_network_is_said_to_be_two_clouds() {
        let mut all = Vec::new();
        for WrittenCloud { provider, networks, regions, .. } in written().clouds {
            for (region, networks) in regions.into_iter().chain([(String::new(), networks)]) {
                for network in networks {
                    let cidr = Cidr::parse(&network).unwrap();
                    all.push((cidr, network, provider.clone(), region.clone()));
                }
            }
        }
        for (at, (inner, written, provider, region)) in all.iter().enumerate() {
            for (other, (outer, around, its_provider, its_region)) in all.iter().enumerate() {
                if at != other && outer.contains(inner.network.to_be_bytes()) {
                    let is_refined = provider == its_provider
                        && its_region.is_empty()
                        && !region.is_empty()
                        && outer.bits < inner.bits;
                    // An outer one that is smaller only shares its first address with the inner.
                    assert!(is_refined || outer.bits > inner.bits, "{written} is in {around}");
                }
            }
        }
        assert!(all.len() > 500, "{}", all.len());
    }
}
