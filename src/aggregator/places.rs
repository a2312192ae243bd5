//! Where requests came from, as numbers. An address is looked up and forgotten; what is remembered
//! is which entries of the databases and tables it had, and what those say.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::pure::limits::PLACES_MAX;
use crate::pure::place::{Entries, Place, Sources};
use crate::pure::pull::rollup::Dimension;

/// The places seen in this run.
pub struct Places {
    sources: Arc<Sources>,
    by_entries: hashbrown::HashMap<Entries, u32, RandomState>,
    by_place: HashMap<Place, u32>,
    /// By their number.
    places: Vec<Located>,
    /// By the numbers that countries and companies have here.
    texts: Vec<Arc<str>>,
    by_text: HashMap<Arc<str>, u32>,
}

/// A place, with numbers for what counts are crossed by.
struct Located {
    place: Place,
    country: u32,
    company: u32,
}

/// The place of which nothing is known.
pub const NOWHERE: u32 = 0;

impl Places {
    /// Nothing was seen yet.
    pub fn new(sources: Arc<Sources>) -> Self {
        let nowhere = Located { place: Place::default(), country: 0, company: 0 };
        let empty: Arc<str> = Arc::default();
        Self {
            sources,
            by_entries: hashbrown::HashMap::default(),
            by_place: HashMap::from([(Place::default(), NOWHERE)]),
            places: vec![nowhere],
            texts: vec![Arc::clone(&empty)],
            by_text: HashMap::from([(empty, 0)]),
        }
    }

    /// Those that another process has [listed](Places::list), under the same numbers.
    pub fn restored(sources: Arc<Sources>, list: Vec<Place>) -> Self {
        let mut places = Self::new(sources);
        for place in list.into_iter().skip(1) {
            places.add(place);
        }
        places
    }

    /// What addresses are looked up in.
    pub fn sources(&self) -> Arc<Sources> {
        Arc::clone(&self.sources)
    }

    /// All of them, by their number.
    pub fn list(&self) -> Vec<&Place> {
        self.places.iter().map(|located| &located.place).collect()
    }

    /// Looks up in others from now on.
    pub fn set_sources(&mut self, sources: Arc<Sources>) {
        self.sources = sources;
        self.by_entries.clear();
    }

    /// The number of the place of `address`, of which nothing else is kept.
    pub fn locate(&mut self, address: [u8; 16]) -> u32 {
        let entries = self.sources.entries(address);
        if entries == Entries::default() {
            return NOWHERE;
        }
        if let Some(number) = self.by_entries.get(&entries) {
            return *number;
        }
        let number = self.number(self.sources.place(address));
        if self.by_entries.len() >= 2 * PLACES_MAX {
            self.by_entries.clear();
        }
        self.by_entries.insert(entries, number);
        number
    }

    /// Whether nothing from there is counted.
    pub fn is_excluded(&self, number: u32) -> bool {
        self.get(number).place.is_excluded
    }

    /// The numbers of its country and company; 0 for what is not known.
    pub fn crossed(&self, number: u32) -> (u32, u32) {
        let Located { country, company, .. } = self.get(number);
        (*country, *company)
    }

    /// The country or company of that number.
    pub fn text(&self, number: u32) -> &Arc<str> {
        self.texts.get(number as usize).unwrap_or(&self.texts[0])
    }

    /// What a place is in one dimension; empty where that is not known.
    pub fn value(&self, number: u32, dimension: Dimension) -> &str {
        let place = &self.get(number).place;
        match dimension {
            Dimension::Country => &place.country,
            Dimension::Region => &place.region,
            Dimension::City => &place.city,
            Dimension::Network => &place.network,
            Dimension::Company => &place.company,
            Dimension::Kind => &place.kind,
            Dimension::Cloud => &place.cloud,
            Dimension::CloudRegion => &place.cloud_region,
            Dimension::Label => &place.label,
            Dimension::All
            | Dimension::Tag
            | Dimension::Client
            | Dimension::Family
            | Dimension::Os
            | Dimension::Arch
            | Dimension::Platform
            | Dimension::Delivery
            | Dimension::TagClient
            | Dimension::CountryTag
            | Dimension::CompanyTag
            | Dimension::ImagePlatform
            | Dimension::Digest
            | Dimension::Outcome => "",
        }
    }

    fn get(&self, number: u32) -> &Located {
        self.places.get(number as usize).unwrap_or(&self.places[0])
    }

    /// The number of a place, a new one where there is room; beyond that only its country is told
    /// apart, and whether it is excluded.
    fn number(&mut self, place: Place) -> u32 {
        if let Some(number) = self.by_place.get(&place) {
            return *number;
        }
        if self.places.len() >= PLACES_MAX {
            let Place { country, is_excluded, .. } = place;
            let country = Place { country, is_excluded, ..Place::default() };
            if let Some(number) = self.by_place.get(&country) {
                return *number;
            }
            return self.add(country);
        }
        self.add(place)
    }

    fn add(&mut self, place: Place) -> u32 {
        let number = u32::try_from(self.places.len()).unwrap_or(NOWHERE);
        let (country, company) = (self.intern(&place.country), self.intern(&place.company));
        self.by_place.insert(place.clone(), number);
        self.places.push(Located { place, country, company });
        number
    }

    fn intern(&mut self, text: &str) -> u32 {
        if let Some(number) = self.by_text.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(0);
        let text: Arc<str> = text.into();
        self.by_text.insert(Arc::clone(&text), number);
        self.texts.push(text);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::place::{Database, Labels};

    fn places(labels: &str) -> Places {
        let databases = ["GeoLite2-City-Test", "GeoLite2-ASN-Test"].map(|name| {
            let path = format!("{}/tests/golden/places/{name}.mmdb", env!("CARGO_MANIFEST_DIR"));
            Arc::new(Database::read(std::fs::read(path).unwrap()).unwrap())
        });
        let labels = Labels::parse(labels).unwrap();
        Places::new(Arc::new(Sources::new(databases.into(), labels, true)))
    }

    fn v4(address: [u8; 4]) -> [u8; 16] {
        std::net::Ipv4Addr::from(address).to_ipv6_mapped().octets()
    }

    #[test]
    fn a_place_has_one_number_whatever_the_address() {
        let mut places = places("192.0.2.0/24, ours, exclude\n");
        let london = places.locate(v4([81, 2, 69, 160]));
        assert_eq!(places.locate(v4([81, 2, 69, 161])), london);
        assert_eq!(places.value(london, Dimension::Country), "GB");
        assert_eq!(places.value(london, Dimension::City), "GB London");
        let (country, company) = places.crossed(london);
        assert_eq!((&**places.text(country), company), ("GB", 0));
        assert_eq!(places.locate(v4([127, 0, 0, 1])), NOWHERE);
        let ours = places.locate(v4([192, 0, 2, 7]));
        assert!(places.is_excluded(ours) && !places.is_excluded(london));
        // Other databases: the same number for the same place, and no other for what they lack.
        places.set_sources(Arc::default());
        assert_eq!(places.locate(v4([81, 2, 69, 160])), NOWHERE);
        assert_eq!(places.value(london, Dimension::Country), "GB");
    }

    #[test]
    fn beyond_the_bound_countries_are_told_apart_and_nothing_else() {
        let mut places = places("");
        for city in 0..PLACES_MAX + 10 {
            let (country, city) = ("GB".to_owned(), format!("GB {city}"));
            places.number(Place { country, city, ..Place::default() });
        }
        let country = Place { country: "SE".to_owned(), ..Place::default() };
        let far = places.number(Place { city: "SE Lund".to_owned(), ..country.clone() });
        assert_eq!(places.value(far, Dimension::City), "");
        assert_eq!(places.value(far, Dimension::Country), "SE");
        assert_eq!(places.number(country), far);
        assert!(places.places.len() <= PLACES_MAX + 3);
    }
}
