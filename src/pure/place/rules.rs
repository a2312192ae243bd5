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
        for WrittenCloud { provider, asns, regions } in clouds {
            let cloud = |region| Cloud { provider: provider.clone(), region };
            by_asn.extend(asns.into_iter().map(|asn| (asn, cloud(String::new()))));
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
    fn clouds_are_told_by_their_systems_and_their_networks() {
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
}
