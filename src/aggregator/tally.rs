//! What was booked since it was last written. Each booking is a few additions here; only when it is
//! written does it become one cell for each dimension.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use crate::aggregator::clients::Clients;
use crate::aggregator::giving_way::giving_way;
use crate::aggregator::names::Names;
use crate::aggregator::places::{NOWHERE, Places};
use crate::pure::client::Client;
use crate::pure::pull::event::{Outcome, Way};
use crate::pure::pull::fold::Booking;
use crate::pure::pull::platform::Platform;
use crate::pure::pull::rollup::{CROSS, Cell, Cells, Dimension, Measures, Unit};
use crate::pure::pull::window::TagRow;

/// Package, row of the tag, client, minute, and how it was delivered and answered where that is counted.
type Asked = (u32, TagRow, u32, u32, Option<Way>, Option<Outcome>);
/// Package, place, hour.
type From = (u32, u32, u32);
/// Package, delivery, hour.
type By = (u32, Way, u32);
/// Package, the image's platform, client, minute.
type For = (u32, Platform, u32, u32);
/// Package, how a request was answered, hour.
type Ended = (u32, Outcome, u32);
/// Package, row of the digest, day.
type Fetched = (u32, TagRow, u32);
/// Package, row of the tag, country or company, day.
type Crossed = (u32, TagRow, u32, u32);

/// Counts of the current interval. The keys are numbers that this process made: nobody outside
/// chooses them, so a fast hash will do. What is not known has no place here: it is what the whole
/// has more.
#[derive(Default)]
pub struct Tally {
    asked: HashMap<Asked, Measures, RandomState>,
    from: HashMap<From, Measures, RandomState>,
    pulled_for: HashMap<For, u64, RandomState>,
    fetched: HashMap<Fetched, u64, RandomState>,
    by_country: HashMap<Crossed, Measures, RandomState>,
    by_company: HashMap<Crossed, Measures, RandomState>,
    crowds: Vec<CrowdOf>,
}

/// A row in which a crowd was today, of a pair with its tag.
struct CrowdOf {
    package: u32,
    dimension: Dimension,
    value: String,
    tag: Option<TagRow>,
}

impl Tally {
    /// Adds a booking, and how the request was answered that made it, where one did.
    pub fn add(&mut self, booking: &Booking, outcome: Option<Outcome>, places: &Places) {
        let Booking { package, client, row, place, way, platform, minute, measures } = *booking;
        let key = (package, row, client, minute, way, outcome);
        *self.asked.entry(key).or_insert(Measures::ZERO) += measures;
        let (hour, day) = (Unit::Hour.floor(minute), Unit::Day.floor(minute));
        if platform != Platform::NONE {
            *self.pulled_for.entry((package, platform, client, minute)).or_default() += 1;
        }
        if place == NOWHERE {
            return;
        }
        *self.from.entry((package, place, hour)).or_insert(Measures::ZERO) += measures;
        let (country, company) = places.crossed(place);
        for (crossed, number) in [(&mut self.by_country, country), (&mut self.by_company, company)]
        {
            if number > 0 {
                let key = (package, row, number, day);
                *crossed.entry(key).or_insert(Measures::ZERO) += measures;
            }
        }
    }

    /// Adds a pull that fetched this digest, in the day in which `minute` is.
    pub fn fetch(&mut self, package: u32, digest: TagRow, minute: u32) {
        *self.fetched.entry((package, digest, Unit::Day.floor(minute))).or_default() += 1;
    }

    /// Notes that a crowd pulled from this row today.
    pub fn crowd(&mut self, package: u32, dimension: Dimension, value: &str, tag: Option<TagRow>) {
        self.crowds.push(CrowdOf { package, dimension, value: value.to_owned(), tag });
    }

    /// Whether so many different things were counted that it must be drained.
    pub fn is_full(&self) -> bool {
        let Self { asked, from, pulled_for, fetched, by_country, by_company, .. } = self;
        let of_places = from.len() + by_country.len() + by_company.len();
        asked.len() + of_places + pulled_for.len() + fetched.len() >= CROSSINGS_MAX
    }

    /// Moves all of it to `cells`. `today`: the first minute of the day in which crowds are.
    pub fn drain(
        &mut self,
        names: &mut Names,
        clients: &Clients,
        places: &Places,
        cells: &mut Cells,
        today: u32,
    ) {
        for CrowdOf { package, dimension, value, tag } in giving_way(self.crowds.drain(..), 1) {
            let value =
                tag.map_or_else(|| value.clone(), |tag| crossed([&value, &*names.text(tag)]));
            let value = names.value(package, dimension, &value);
            let cell = Cell { package, dimension, value, unit: Unit::Day, minute: today };
            cells.add(cell, Measures { public_days: 1, ..Measures::ZERO });
        }
        let mut by: HashMap<By, Measures, RandomState> = HashMap::default();
        let mut ended: HashMap<Ended, Measures, RandomState> = HashMap::default();
        for (asked, measures) in giving_way(self.asked.drain(), CELLS_EACH) {
            let (package, row, client, minute, way, outcome) = asked;
            let hour = Unit::Hour.floor(minute);
            if let Some(way) = way {
                *by.entry((package, way, hour)).or_insert(Measures::ZERO) += measures;
            }
            if let Some(outcome) = outcome {
                let told = Dimension::Outcome.told(measures);
                *ended.entry((package, outcome, hour)).or_insert(Measures::ZERO) += told;
            }
            let client = clients.get(client);
            let mut add = |dimension, value| {
                cells.add(cell(package, dimension, value, minute), measures);
            };
            add(Dimension::All, Arc::default());
            add(Dimension::Tag, names.text(row));
            for dimension in Dimension::OF_CLIENTS {
                let value = value_of(client, dimension);
                if dimension.whole().is_none() || value != UNKNOWN {
                    add(dimension, names.value(package, dimension, &value));
                }
            }
            let pair = [&*names.text(row), &value_of(client, Dimension::Client)];
            let pair = names.value(package, Dimension::TagClient, &crossed(pair));
            add(Dimension::TagClient, pair);
        }
        for ((package, way, hour), measures) in giving_way(by, 1) {
            cells.add(cell(package, Dimension::Delivery, way.as_str().into(), hour), measures);
        }
        for (pulled, pulls) in giving_way(self.pulled_for.drain(), CELLS_EACH) {
            let (package, platform, client, minute) = pulled;
            let measures = Measures { pulls, ..Measures::ZERO };
            let value = platform.as_str().into();
            cells.add(cell(package, Dimension::ImagePlatform, value, minute), measures);
            for (dimension, value) in systems(clients.get(client), platform) {
                let value = names.value(package, dimension, &value);
                cells.add(cell(package, dimension, value, minute), measures);
            }
        }
        for ((package, outcome, hour), measures) in giving_way(ended, 1) {
            // What of a booking is not a request's has no outcome.
            if measures != Measures::ZERO {
                let value = outcome.as_str().into();
                cells.add(cell(package, Dimension::Outcome, value, hour), measures);
            }
        }
        for ((package, digest, day), pulls) in giving_way(self.fetched.drain(), 1) {
            let measures = Measures { pulls, ..Measures::ZERO };
            cells.add(cell(package, Dimension::Digest, names.text(digest), day), measures);
        }
        for ((package, place, hour), measures) in giving_way(self.from.drain(), CELLS_EACH) {
            for dimension in Dimension::OF_PLACES {
                let value = places.value(place, dimension);
                if !value.is_empty() {
                    let value = names.value(package, dimension, value);
                    cells.add(cell(package, dimension, value, hour), measures);
                }
            }
        }
        for (pairs, dimension) in [
            (&mut self.by_country, Dimension::CountryTag),
            (&mut self.by_company, Dimension::CompanyTag),
        ] {
            for ((package, row, number, day), measures) in giving_way(pairs.drain(), 1) {
                let pair = crossed([&**places.text(number), &*names.text(row)]);
                let value = names.value(package, dimension, &pair);
                cells.add(cell(package, dimension, value, day), measures);
            }
        }
    }
}

/// Cells that one thing that was counted comes to, about.
const CELLS_EACH: usize = 8;

/// Where it is added: in the shortest unit that its dimension has.
fn cell(package: u32, dimension: Dimension, value: Arc<str>, minute: u32) -> Cell {
    let unit = dimension.finest();
    Cell { package, dimension, value, unit, minute: unit.floor(minute) }
}

fn crossed([first, second]: [&str; 2]) -> String {
    format!("{first}{CROSS}{second}")
}

/// What the image that it fetched says of a client's system where its user agent does not.
fn systems(client: &Client, platform: Platform) -> Vec<(Dimension, String)> {
    let Some((os, arch)) = platform.system() else {
        return Vec::new();
    };
    let (has_os, has_arch) = (!client.os.is_empty(), !client.arch.is_empty());
    let told = [
        (Dimension::Os, os.to_owned(), has_os),
        (Dimension::Arch, arch.to_owned(), has_arch),
        (Dimension::Platform, format!("{os}/{arch}"), has_os || has_arch),
    ];
    let untold = told.into_iter().filter(|(.., is_told)| !is_told);
    untold.map(|(dimension, value, _)| (dimension, value)).collect()
}

/// What a client is in one of the dimensions [`Dimension::OF_CLIENTS`], as people see it.
pub fn value_of(client: &Client, dimension: Dimension) -> String {
    let known = |text: &str| if text.is_empty() { UNKNOWN } else { text }.to_owned();
    let Client { family, version, os, arch } = client;
    if dimension == Dimension::Client {
        return match version.is_empty() {
            true => known(family),
            false => format!("{} {version}", known(family)),
        };
    }
    if dimension == Dimension::Platform {
        return match os.is_empty() && arch.is_empty() {
            true => UNKNOWN.to_owned(),
            false => format!("{}/{}", known(os), known(arch)),
        };
    }
    let is = |known| dimension == known;
    known(if is(Dimension::Os) {
        os
    } else if is(Dimension::Arch) {
        arch
    } else {
        family
    })
}

/// Different things that are added up before they become cells early.
const CROSSINGS_MAX: usize = 100_000;
/// The row of what is not known.
pub const UNKNOWN: &str = "unknown";
