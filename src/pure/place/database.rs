//! One database in MaxMind's format, read from memory: a file that is mapped, and overwritten in
//! its place, would end the process. Makers lay out what they know in different ways; what is read
//! here are the layouts of MaxMind (nested), of IPinfo and of ip-location-db (flat).

use std::collections::HashSet;
use std::net::IpAddr;

use maxminddb::{Reader, WithinOptions};
use serde_json::Value;

use super::Kind;
use crate::pure::limits::PLACE_TEXT_BYTES_MAX;

/// A database that was found sound.
pub struct Database {
    reader: Reader<Vec<u8>>,
}

/// What one database, or several, know of an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) country: Option<String>,
    pub(super) region: Option<String>,
    pub(super) city: Option<String>,
    pub(super) asn: Option<u32>,
    pub(super) operator: Option<String>,
    pub(super) organization: Option<String>,
    pub(super) company: Option<String>,
    pub(super) kind: Option<Kind>,
}

impl Database {
    /// Takes the bytes of a file and looks at every entry in it.
    ///
    /// # Errors
    /// Words for what is wrong with it.
    pub fn read(bytes: Vec<u8>) -> Result<Self, String> {
        let reader = Reader::from_source(bytes)
            .map_err(|error| format!("is no database in MaxMind's format: {error}"))?;
        let is_of_use = check(&reader).map_err(|error| format!("is damaged: {error}"))?;
        if is_of_use {
            return Ok(Self { reader });
        }
        Err(format!(
            "is sound, but of its kind ({}) nothing is known here: it tells neither country nor \
             network nor company",
            tidy(&reader.metadata().database_type).unwrap_or_default()
        ))
    }

    /// Which entry an address has; 0 for none.
    pub(super) fn entry(&self, address: IpAddr) -> u32 {
        let offset = self.reader.lookup(address).ok().and_then(|found| found.offset());
        offset.and_then(|offset| u32::try_from(offset + 1).ok()).unwrap_or(0)
    }

    pub(super) fn known(&self, address: IpAddr) -> Known {
        let found = self.reader.lookup(address).ok();
        let value = found.and_then(|found| found.decode::<Value>().ok().flatten());
        value.map_or_else(Known::default, |value| Known::of(&value))
    }
}

/// Whether any entry tells something. A file that was cut or overwritten shows here, and not when
/// somebody pulls.
fn check(reader: &Reader<Vec<u8>>) -> Result<bool, maxminddb::MaxMindDbError> {
    let mut seen = HashSet::new();
    let mut is_of_use = false;
    for network in reader.networks(WithinOptions::default())? {
        let network = network?;
        if network.offset().is_some_and(|offset| seen.insert(offset))
            && let Some(value) = network.decode::<Value>()?
        {
            is_of_use |= Known::of(&value) != Known::default();
        }
    }
    Ok(is_of_use)
}

impl Known {
    fn of(value: &Value) -> Self {
        let text =
            |paths: &[&str]| paths.iter().find_map(|path| tidy(value.pointer(path)?.as_str()?));
        let country = text(&["/country/iso_code", "/country_code", "/country"])
            .or_else(|| text(&["/registered_country/iso_code"]))
            .map(|code| code.to_ascii_uppercase())
            .filter(|code| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase()));
        let within = |name: String| match &country {
            Some(country) => format!("{country} {name}"),
            None => name,
        };
        let subdivision = text(&["/subdivisions/0/iso_code"]).zip(country.as_ref());
        let region = subdivision.map(|(code, country)| format!("{country}-{code}")).or_else(|| {
            let names =
                ["/subdivisions/0/names/en", "/state1", "/region", "/region_name", "/state"];
            text(&names).map(within)
        });
        let city = text(&["/city/names/en", "/city", "/city_name"]).map(within);
        let operator = text(&[
            "/autonomous_system_organization",
            "/traits/autonomous_system_organization",
            "/as_name",
            "/asn/name",
            "/isp",
            "/traits/isp",
            "/name",
        ]);
        let organization = text(&["/organization", "/traits/organization", "/company/name"]);
        let kind = kind(value);
        let own = organization.clone().filter(|own| Some(own) != operator.as_ref());
        // Where a network's kind is told beside its name, the name is the business's own.
        let named = || operator.clone().filter(|_| value.get("type").is_some());
        let company = own.or_else(named).filter(|_| kind.is_none_or(|kind| kind == Kind::Business));
        Self { asn: asn(value), country, region, city, operator, organization, company, kind }
    }

    /// Adds what `other` knows and this does not.
    pub(super) fn add(&mut self, other: Self) {
        fn fill<T>(own: &mut Option<T>, other: Option<T>) {
            if own.is_none() {
                *own = other;
            }
        }
        let Self { country, region, city, asn, operator, organization, company, kind } = other;
        // Of a place all parts are from one database: two need not agree where a border runs.
        if self.country.is_none() || self.country == country {
            fill(&mut self.country, country);
            fill(&mut self.region, region);
            fill(&mut self.city, city);
        }
        if self.asn.is_none() || asn.is_none() || self.asn == asn {
            fill(&mut self.asn, asn);
            fill(&mut self.operator, operator);
        }
        fill(&mut self.organization, organization);
        fill(&mut self.company, company);
        fill(&mut self.kind, kind);
    }
}

fn asn(value: &Value) -> Option<u32> {
    let paths =
        ["/autonomous_system_number", "/traits/autonomous_system_number", "/asn/asn", "/asn"];
    paths.iter().find_map(|path| match value.pointer(path)? {
        Value::Number(number) => u32::try_from(number.as_u64()?).ok(),
        Value::String(text) => text.trim_start_matches("AS").parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    })
}

/// What the database itself calls the network, in the words of its maker.
fn kind(value: &Value) -> Option<Kind> {
    let is = |name: &str| {
        let nested = value.pointer(&format!("/traits/{name}"));
        value.get(name).or(nested).and_then(Value::as_bool) == Some(true)
    };
    if is("is_hosting_provider") {
        return Some(Kind::Hosting);
    }
    if is("is_residential_proxy") {
        return Some(Kind::Isp);
    }
    let paths = [
        "/user_type",
        "/traits/user_type",
        "/company/type",
        "/type",
        "/as_type",
        "/asn/type",
        "/connection_type",
        "/traits/connection_type",
    ];
    paths.iter().find_map(|path| {
        Some(match value.pointer(path)?.as_str()?.to_ascii_lowercase().as_str() {
            "business" | "corporate" => Kind::Business,
            "hosting" | "content_delivery_network" => Kind::Hosting,
            "isp" | "residential" | "cellular" | "dialup" | "cable/dsl" | "satellite" => Kind::Isp,
            "education" | "college" | "school" | "library" => Kind::Education,
            "government" | "military" => Kind::Government,
            _ => return None,
        })
    })
}

/// A text as it may be kept: bounded, without what steers a terminal or separates columns.
pub(super) fn tidy(text: &str) -> Option<String> {
    let mut tidied = String::new();
    for word in text.split(|c: char| c.is_control() || c.is_whitespace()) {
        let space = usize::from(!tidied.is_empty());
        if word.is_empty() {
            continue;
        }
        if tidied.len() + space + word.len() > PLACE_TEXT_BYTES_MAX {
            break;
        }
        if space == 1 {
            tidied.push(' ');
        }
        tidied.push_str(word);
    }
    (!tidied.is_empty()).then_some(tidied)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn golden(name: &str) -> Vec<u8> {
        let path = format!("{}/tests/golden/places/{name}.mmdb", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).unwrap()
    }

    #[test]
    fn damaged_files_are_refused_with_words_wherever_they_are_cut() {
        let whole = golden("GeoLite2-Country-Test");
        for length in (0..whole.len()).step_by(997) {
            let said = Database::read(whole[..length].to_vec()).err().unwrap();
            assert!(said.starts_with("is "), "{said}");
        }
        for name in ["GeoIP2-City-Test-Broken-Double-Format", "GeoIP2-City-Test-Invalid-Node-Count"]
        {
            assert!(Database::read(golden(name)).is_err(), "{name}");
        }
        assert!(Database::read(golden("MaxMind-DB-string-value-entries")).is_err());
        assert!(Database::read(whole).is_ok());
    }

    #[test]
    fn each_makers_words_for_a_network_are_understood() {
        let kind = |value: Value| Known::of(&value).kind;
        assert_eq!(kind(json!({"traits": {"user_type": "college"}})), Some(Kind::Education));
        assert_eq!(kind(json!({"connection_type": "Cable/DSL"})), Some(Kind::Isp));
        assert_eq!(kind(json!({"connection_type": "Corporate"})), Some(Kind::Business));
        assert_eq!(kind(json!({"is_hosting_provider": true})), Some(Kind::Hosting));
        assert_eq!(kind(json!({"asn": {"type": "isp"}})), Some(Kind::Isp));
        assert_eq!(kind(json!({"company": {"type": "government"}})), Some(Kind::Government));
        assert_eq!(kind(json!({"type": "something"})), None);
    }

    #[test]
    fn a_company_is_named_only_where_the_network_is_its_own() {
        let company = |value: Value| Known::of(&value).company;
        let isp =
            json!({"isp": "Telstra", "organization": "Telstra", "connection_type": "Corporate"});
        assert_eq!(company(isp), None);
        let own = json!({"isp": "Telstra", "organization": "Acme", "connection_type": "Corporate"});
        assert_eq!(company(own).as_deref(), Some("Acme"));
        assert_eq!(company(json!({"asn": "AS1", "name": "Acme", "type": "isp"})), None);
        let business = json!({"asn": "AS1", "name": "Acme", "type": "business"});
        assert_eq!(company(business).as_deref(), Some("Acme"));
        assert_eq!(company(json!({"autonomous_system_organization": "Acme"})), None);
    }

    #[test]
    fn texts_are_bounded_and_without_control_characters() {
        assert_eq!(tidy("a\u{1b}[1m \tb\u{1f}c").as_deref(), Some("a [1m b c"));
        assert_eq!(tidy(" \n"), None);
        assert!(tidy(&"wörd ".repeat(100)).unwrap().len() <= PLACE_TEXT_BYTES_MAX);
        assert_eq!(tidy(&"x".repeat(1000)), None);
    }
}
