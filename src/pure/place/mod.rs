//! Where a request came from, whose network that is, and whose cloud: as far as databases in
//! MaxMind's format and two tables of networks say. Told an address, it keeps none.

pub mod countries;
mod database;
mod networks;
mod rules;

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use self::database::Database;
use self::networks::Networks;
pub use self::networks::{Label, Labels, NetworksProblem};
pub use self::rules::Rules;
use crate::pure::limits::DATABASES_MAX;

/// What is known of where a request came from. What is not known is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// `DE` (ISO 3166-1).
    pub country: String,
    /// `DE-BY` (ISO 3166-2), or `DE Bavaria` where the database has only its name.
    pub region: String,
    /// `DE Munich`; only where cities are asked for.
    pub city: String,
    /// Who routes the network: `AS64496 Acme Telecom`.
    pub network: String,
    /// Whose business it is; never an internet provider's or a host's customer.
    pub company: String,
    /// A [`Kind`] in words.
    pub kind: String,
    /// `aws`
    pub cloud: String,
    /// `aws eu-west-1`, where the network tells.
    pub cloud_region: String,
    /// What the operator calls the network.
    pub label: String,
    /// Whether the operator wants nothing of this network counted.
    pub is_excluded: bool,
}

/// Whose network it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A company's own.
    Business,
    /// One where servers stand.
    Hosting,
    /// One that people and companies reach the internet by.
    Isp,
    /// A school's or a university's.
    Education,
    /// A state's.
    Government,
}

impl Kind {
    /// Every kind.
    pub const EVERY: [Self; 5] =
        [Self::Business, Self::Hosting, Self::Isp, Self::Education, Self::Government];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Business => "business",
            Self::Hosting => "hosting",
            Self::Isp => "isp",
            Self::Education => "education",
            Self::Government => "government",
        }
    }
}

/// Which entries of the sources an address has: the same entries are the same place. It says no
/// more about an address than they do.
pub type Entries = [u32; DATABASES_MAX + 2];

/// All that is known of addresses.
#[derive(Clone)]
pub struct Sources {
    databases: Vec<Arc<Database>>,
    labels: Networks<Label>,
    rules: Rules,
    cities: bool,
}

impl Sources {
    /// Of several databases that know the same, the first holds. `cities`: whether cities are kept.
    pub fn new(databases: Vec<Arc<Database>>, labels: Labels, cities: bool) -> Self {
        Self { databases, labels: labels.0, rules: Rules::built_in(), cities }
    }

    /// Which entries `address` (IPv4 in its mapped form) has. Allocates nothing.
    pub fn entries(&self, address: [u8; 16]) -> Entries {
        let mut entries = [0; DATABASES_MAX + 2];
        let address_of = ip(address);
        for (entry, database) in entries.iter_mut().zip(&self.databases) {
            *entry = database.entry(address_of);
        }
        let [.., label, cloud] = &mut entries;
        *label = self.labels.entry(address);
        *cloud = self.rules.entry(address);
        entries
    }

    /// The place of `address`.
    pub fn place(&self, address: [u8; 16]) -> Place {
        let mut known = database::Known::default();
        for database in &self.databases {
            known.add(database.known(ip(address)));
        }
        let label = self.labels.get(address);
        let cloud = self.rules.cloud(address, known.asn);
        let by_name = || self.rules.kind(known.organization.as_ref().or(known.operator.as_ref())?);
        let hosting = cloud.is_some().then_some(Kind::Hosting);
        let kind = hosting.or(known.kind).or_else(by_name);
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Place {
            country: text(&known.country),
            region: text(&known.region),
            city: if self.cities { text(&known.city) } else { String::new() },
            network: match (known.asn, &known.operator) {
                (Some(asn), Some(operator)) => format!("AS{asn} {operator}"),
                (Some(asn), None) => format!("AS{asn}"),
                (None, operator) => text(operator),
            },
            company: if kind == Some(Kind::Business) {
                text(&known.company)
            } else {
                String::new()
            },
            kind: kind.map_or("", Kind::as_str).to_owned(),
            cloud: cloud.map_or("", |cloud| &cloud.provider).to_owned(),
            cloud_region: cloud.map(|cloud| cloud.region.clone()).unwrap_or_default(),
            label: label.map(|label| label.text.clone()).unwrap_or_default(),
            is_excluded: label.is_some_and(|label| label.is_excluded),
        }
    }
}

impl Default for Sources {
    /// No databases and no labels: only clouds are told by their networks.
    fn default() -> Self {
        Self::new(Vec::new(), Labels::default(), false)
    }
}

fn ip(address: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(address).to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(text: &str) -> [u8; 16] {
        match text.parse().unwrap() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        }
    }

    fn golden(name: &str) -> Arc<Database> {
        let path = format!("{}/tests/golden/places/{name}.mmdb", env!("CARGO_MANIFEST_DIR"));
        Arc::new(Database::read(std::fs::read(path).unwrap()).unwrap())
    }

    fn sources(names: &[&str], labels: &str, cities: bool) -> Sources {
        let databases = names.iter().map(|name| golden(name)).collect();
        Sources::new(databases, Labels::parse(labels).unwrap(), cities)
    }

    #[test]
    fn without_databases_only_clouds_and_labels_are_known() {
        let sources =
            sources(&[], "203.0.113.0/24, our CI, exclude\n2001:db8::/32, office\n", true);
        assert_eq!(sources.place(mapped("81.2.69.160")), Place::default());
        let ci = sources.place(mapped("203.0.113.9"));
        assert_eq!((ci.label.as_str(), ci.is_excluded), ("our CI", true));
        let office = sources.place(mapped("2001:db8::9"));
        assert_eq!((office.label.as_str(), office.is_excluded), ("office", false));
        let aws = sources.place(mapped("52.16.1.2"));
        assert_eq!((aws.cloud.as_str(), aws.cloud_region.as_str()), ("aws", "aws eu-west-1"));
        assert_eq!(aws.kind, "hosting");
    }

    #[test]
    fn several_databases_make_one_place_and_the_first_that_knows_holds() {
        let stacked = sources(&["GeoLite2-City-Test", "GeoLite2-ASN-Test"], "", true);
        let place = stacked.place(mapped("89.160.20.112"));
        assert_eq!((place.country.as_str(), place.city.as_str()), ("SE", "SE Linköping"));
        assert_eq!(place.region, "SE-E");
        assert!(place.network.starts_with("AS29518 "), "{}", place.network);
        assert_eq!(place.company, "");
        let without_cities = sources(&["GeoLite2-City-Test"], "", false);
        assert_eq!(without_cities.place(mapped("89.160.20.112")).city, "");
        let japan = sources(&["GeoLite2-Country-Test"], "", false).place(mapped("2001:218::1"));
        assert_eq!(japan.country, "JP");
    }

    #[test]
    fn the_flat_layout_is_read_too() {
        let flat = sources(&["flat-country", "flat-city", "flat-company"], "", true);
        let place = flat.place(mapped("198.51.100.7"));
        assert_eq!((place.country.as_str(), place.region.as_str()), ("DE", "DE Bavaria"));
        assert_eq!(place.city, "DE Munich");
        assert_eq!((place.network.as_str(), place.kind.as_str()), ("AS64500 Acme AG", "business"));
        assert_eq!(place.company, "Acme AG");
        let isp = flat.place(mapped("198.51.100.200"));
        assert_eq!((isp.kind.as_str(), isp.company.as_str()), ("isp", ""));
    }

    #[test]
    fn equal_entries_are_equal_places() {
        let sources =
            sources(&["GeoLite2-City-Test", "GeoLite2-ASN-Test"], "10.0.0.0/8, x\n", true);
        let mut places = std::collections::HashMap::new();
        for text in ["81.2.69.160", "81.2.69.161", "89.160.20.112", "10.1.1.1", "52.16.0.1", "::1"]
        {
            let address = mapped(text);
            let place = sources.place(address);
            let known = places.entry(sources.entries(address)).or_insert_with(|| place.clone());
            assert_eq!(known, &place);
        }
        assert!(places.len() >= 4);
    }
}
