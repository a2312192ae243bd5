//! What is counted, and the cells it is counted in: per package and row of a dimension, by the
//! minute, the hour, the day (UTC) and over all time.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What is counted in one cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// GETs of manifests that were answered 2xx, 304 or by a redirect.
    pub requests: u64,
    /// Pulls, by the rule of `docs/counting.md`.
    pub pulls: u64,
    /// Looks whether something changed.
    pub checks: u64,
    /// GETs of signatures, attestations, SBOMs and referrers.
    pub supply_chain: u64,
    /// Those of the requests that were redirected, so that their outcome is unseen.
    pub unseen: u64,
    /// Those of the requests that were counted without folding.
    pub unfolded: u64,
    /// Those of the pulls in which a layer was asked for.
    pub complete: u64,
    /// Those of the pulls in which manifests and configurations were enough.
    pub up_to_date: u64,
    /// Requests from networks that are left out of all other counts.
    pub excluded: u64,
    /// By how much the number of different clients has risen: a range is the sum of its days.
    pub daily_uniques: u64,
    /// The same of companies, for which it is the sum of its months.
    pub monthly_companies: u64,
    /// Days on which so many clients pulled that it may be said in public.
    pub public_days: u64,
    /// Those of the pulls that somebody else counted: see [`crate::pure::history`].
    pub imported: u64,
    /// Requests for blobs that the gateway asked a registry for, and that were answered well.
    pub blobs: u64,
    /// Bytes of blobs that the gateway has sent.
    pub blob_bytes: u64,
    /// Those transfers of blobs through the gateway that broke off.
    pub blobs_aborted: u64,
    /// Those of the complete pulls of which a transfer broke off and was not resumed.
    pub partial: u64,
}

impl Measures {
    /// Nothing.
    pub const ZERO: Self = Self {
        requests: 0,
        pulls: 0,
        checks: 0,
        supply_chain: 0,
        unseen: 0,
        unfolded: 0,
        complete: 0,
        up_to_date: 0,
        excluded: 0,
        daily_uniques: 0,
        monthly_companies: 0,
        public_days: 0,
        imported: 0,
        blobs: 0,
        blob_bytes: 0,
        blobs_aborted: 0,
        partial: 0,
    };

    /// All of them, in the order of [`MEASURE_NAMES`].
    pub fn to_array(self) -> [u64; MEASURE_NAMES.len()] {
        [
            self.requests,
            self.pulls,
            self.checks,
            self.supply_chain,
            self.unseen,
            self.unfolded,
            self.complete,
            self.up_to_date,
            self.excluded,
            self.daily_uniques,
            self.monthly_companies,
            self.public_days,
            self.imported,
            self.blobs,
            self.blob_bytes,
            self.blobs_aborted,
            self.partial,
        ]
    }

    /// The measures in the order of [`MEASURE_NAMES`].
    pub fn from_array(values: [u64; MEASURE_NAMES.len()]) -> Self {
        let [
            requests,
            pulls,
            checks,
            supply_chain,
            unseen,
            unfolded,
            complete,
            up_to_date,
            excluded,
            daily_uniques,
            monthly_companies,
            public_days,
            imported,
            blobs,
            blob_bytes,
            blobs_aborted,
            partial,
        ] = values;
        Self {
            requests,
            pulls,
            checks,
            supply_chain,
            unseen,
            unfolded,
            complete,
            up_to_date,
            excluded,
            daily_uniques,
            monthly_companies,
            public_days,
            imported,
            blobs,
            blob_bytes,
            blobs_aborted,
            partial,
        }
    }

    /// What is left when `part` is taken away.
    pub fn less(self, part: Self) -> Self {
        let (mut values, part) = (self.to_array(), part.to_array());
        for (value, part) in values.iter_mut().zip(part) {
            *value = value.saturating_sub(part);
        }
        Self::from_array(values)
    }

    /// What is left when a row is taken away. What does not add up over rows is left out: one
    /// client may be in several.
    pub fn without(self, row: Self) -> Self {
        Self { daily_uniques: 0, monthly_companies: 0, public_days: 0, ..self.less(row) }
    }
}

impl AddAssign for Measures {
    fn add_assign(&mut self, more: Self) {
        self.requests = self.requests.saturating_add(more.requests);
        self.pulls = self.pulls.saturating_add(more.pulls);
        self.checks = self.checks.saturating_add(more.checks);
        self.supply_chain = self.supply_chain.saturating_add(more.supply_chain);
        self.unseen = self.unseen.saturating_add(more.unseen);
        self.unfolded = self.unfolded.saturating_add(more.unfolded);
        self.complete = self.complete.saturating_add(more.complete);
        self.up_to_date = self.up_to_date.saturating_add(more.up_to_date);
        self.excluded = self.excluded.saturating_add(more.excluded);
        self.daily_uniques = self.daily_uniques.saturating_add(more.daily_uniques);
        self.monthly_companies = self.monthly_companies.saturating_add(more.monthly_companies);
        self.public_days = self.public_days.saturating_add(more.public_days);
        self.imported = self.imported.saturating_add(more.imported);
        self.blobs = self.blobs.saturating_add(more.blobs);
        self.blob_bytes = self.blob_bytes.saturating_add(more.blob_bytes);
        self.blobs_aborted = self.blobs_aborted.saturating_add(more.blobs_aborted);
        self.partial = self.partial.saturating_add(more.partial);
    }
}

/// What people call the measures. Their order is that of the store: a new one stands at the end.
pub const MEASURE_NAMES: [&str; 17] = [
    "requests",
    "pulls",
    "checks",
    "supply_chain",
    "unseen",
    "unfolded",
    "complete",
    "up_to_date",
    "excluded",
    "daily_uniques",
    "monthly_companies",
    "public_days",
    "imported",
    "blobs",
    "blob_bytes",
    "blobs_aborted",
    "partial",
];

/// By what a package's counts are told apart. The numbers stand in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Dimension {
    /// Not at all: one row, the empty text.
    All = 0,
    /// `latest`
    Tag = 1,
    /// `docker 28.5.2`
    Client = 2,
    /// `docker`
    Family = 3,
    /// `linux`
    Os = 4,
    /// `amd64`
    Arch = 5,
    /// `linux/amd64`
    Platform = 6,
    /// `redirect`
    Delivery = 7,
    /// `DE`
    Country = 8,
    /// `DE-BY`
    Region = 9,
    /// `DE Munich`
    City = 10,
    /// `AS64496 Acme Telecom`
    Network = 11,
    /// `Acme AG`
    Company = 12,
    /// `business`
    Kind = 13,
    /// `aws`
    Cloud = 14,
    /// `aws eu-west-1`
    CloudRegion = 15,
    /// What the operator calls the network: `our CI`.
    Label = 16,
    /// Tag and client, [`CROSS`] between them.
    TagClient = 17,
    /// Country and tag.
    CountryTag = 18,
    /// Company and tag.
    CompanyTag = 19,
    /// What the fetched image is for, `linux/arm64`: only pulls are told apart by it.
    ImagePlatform = 20,
    /// `sha256:…` of what was fetched: only pulls are told apart by it.
    Digest = 21,
    /// `found`, `unchanged`, `unseen`: only requests and pulls are told apart by it.
    Outcome = 22,
}

impl Dimension {
    /// Every dimension.
    pub const EVERY: [Self; 23] = [
        Self::All,
        Self::Tag,
        Self::Client,
        Self::Family,
        Self::Os,
        Self::Arch,
        Self::Platform,
        Self::Delivery,
        Self::Country,
        Self::Region,
        Self::City,
        Self::Network,
        Self::Company,
        Self::Kind,
        Self::Cloud,
        Self::CloudRegion,
        Self::Label,
        Self::TagClient,
        Self::CountryTag,
        Self::CompanyTag,
        Self::ImagePlatform,
        Self::Digest,
        Self::Outcome,
    ];
    /// Those that say who asked, and with what.
    pub const OF_CLIENTS: [Self; 5] =
        [Self::Client, Self::Family, Self::Os, Self::Arch, Self::Platform];
    /// Those that say where from.
    pub const OF_PLACES: [Self; 9] = [
        Self::Country,
        Self::Region,
        Self::City,
        Self::Network,
        Self::Company,
        Self::Kind,
        Self::Cloud,
        Self::CloudRegion,
        Self::Label,
    ];

    /// The shortest unit in which its rows are counted apart. Of places and deliveries minutes say
    /// little, and of pairs and digests hours: each would cost a row for every one.
    pub fn finest(self) -> Unit {
        match self {
            Self::All
            | Self::Tag
            | Self::Client
            | Self::Family
            | Self::Os
            | Self::Arch
            | Self::Platform => Unit::Minute,
            Self::Delivery
            | Self::Country
            | Self::Region
            | Self::City
            | Self::Network
            | Self::Company
            | Self::Kind
            | Self::Cloud
            | Self::CloudRegion
            | Self::Label
            | Self::ImagePlatform
            | Self::Outcome => Unit::Hour,
            Self::TagClient | Self::CountryTag | Self::CompanyTag | Self::Digest => Unit::Day,
        }
    }

    /// The two that are crossed in it.
    pub fn pair(self) -> Option<(Self, Self)> {
        match self {
            Self::TagClient => Some((Self::Tag, Self::Client)),
            Self::CountryTag => Some((Self::Country, Self::Tag)),
            Self::CompanyTag => Some((Self::Company, Self::Tag)),
            Self::All
            | Self::Tag
            | Self::Client
            | Self::Family
            | Self::Os
            | Self::Arch
            | Self::Platform
            | Self::Delivery
            | Self::Country
            | Self::Region
            | Self::City
            | Self::Network
            | Self::Company
            | Self::Kind
            | Self::Cloud
            | Self::CloudRegion
            | Self::Label
            | Self::ImagePlatform
            | Self::Digest
            | Self::Outcome => None,
        }
    }

    /// Where what is not known need not have a row of its own: the dimension whose rows hold it too. What
    /// its rows have more is what is not known.
    pub fn whole(self) -> Option<Self> {
        match self {
            Self::All | Self::Tag | Self::Client | Self::Family => None,
            Self::Os
            | Self::Arch
            | Self::Platform
            | Self::Delivery
            | Self::Country
            | Self::Region
            | Self::City
            | Self::Network
            | Self::Company
            | Self::Kind
            | Self::Cloud
            | Self::CloudRegion
            | Self::Label
            | Self::ImagePlatform
            | Self::Digest
            | Self::Outcome => Some(Self::All),
            Self::TagClient | Self::CountryTag | Self::CompanyTag => Some(Self::Tag),
        }
    }
}

impl Dimension {
    /// What is told apart by it.
    pub fn told(self, measures: Measures) -> Measures {
        let Measures { requests, pulls, .. } = measures;
        match self {
            Self::ImagePlatform | Self::Digest => Measures { pulls, ..Measures::ZERO },
            Self::Outcome => Measures { requests, pulls, ..Measures::ZERO },
            Self::All
            | Self::Tag
            | Self::Client
            | Self::Family
            | Self::Os
            | Self::Arch
            | Self::Platform
            | Self::Delivery
            | Self::Country
            | Self::Region
            | Self::City
            | Self::Network
            | Self::Company
            | Self::Kind
            | Self::Cloud
            | Self::CloudRegion
            | Self::Label
            | Self::TagClient
            | Self::CountryTag
            | Self::CompanyTag => measures,
        }
    }
}

/// Stands between the two values of a pair; nothing that is counted has it.
pub const CROSS: char = '\u{1f}';

/// How long the time is that one cell counts. The numbers stand in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Unit {
    /// A minute.
    Minute = 0,
    /// An hour.
    Hour = 1,
    /// A day, UTC.
    Day = 2,
    /// All time.
    Ever = 3,
}

impl Unit {
    /// Every unit, the shortest first.
    pub const EVERY: [Self; 4] = [Self::Minute, Self::Hour, Self::Day, Self::Ever];

    /// How many minutes it has; 0 for all time.
    pub fn minutes(self) -> u32 {
        match self {
            Self::Minute => 1,
            Self::Hour => 60,
            Self::Day => 24 * 60,
            Self::Ever => 0,
        }
    }

    /// The first minute of the unit in which `minute` lies, counted from the Unix epoch.
    pub fn floor(self, minute: u32) -> u32 {
        minute.checked_rem(self.minutes()).map_or(0, |rest| minute - rest)
    }
}

/// Where something is added up until it is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// The package's number.
    pub package: u32,
    /// The dimension.
    pub dimension: Dimension,
    /// The row of that dimension.
    pub value: Arc<str>,
    /// The shortest unit in which it is still told apart.
    pub unit: Unit,
    /// That unit's first minute.
    pub minute: u32,
}

impl Cell {
    /// The units this cell is added to, each with its first minute.
    pub fn buckets(&self) -> impl Iterator<Item = (Unit, u32)> + '_ {
        let coarser = Unit::EVERY.into_iter().filter(|unit| *unit >= self.unit);
        coarser.map(|unit| (unit, unit.floor(self.minute)))
    }
}

/// Counts that wait to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cells(BTreeMap<Cell, Measures>);

impl Cells {
    /// How many cells there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds `measures` to one cell.
    pub fn add(&mut self, cell: Cell, measures: Measures) {
        *self.0.entry(cell).or_insert(Measures::ZERO) += measures;
    }

    /// The cells in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Cell, &Measures)> {
        self.0.iter()
    }

    /// Brings the number of cells to `cells_max` by telling less apart: first minutes, then hours,
    /// then days, then the rows of a dimension (under `other`). What is left is one cell per
    /// package and dimension, and every total is exact. Whether anything was given up.
    pub fn coarsen(&mut self, cells_max: usize, other: &Arc<str>) -> bool {
        let before = self.len();
        for unit in [Unit::Hour, Unit::Day, Unit::Ever] {
            if self.len() <= cells_max {
                break;
            }
            self.rewrite(|mut cell| {
                cell.unit = cell.unit.max(unit);
                cell.minute = cell.unit.floor(cell.minute);
                cell
            });
        }
        if self.len() > cells_max {
            self.rewrite(|mut cell| {
                if cell.dimension != Dimension::All {
                    cell.value = Arc::clone(other);
                }
                cell
            });
        }
        self.len() < before
    }

    fn rewrite(&mut self, to: impl Fn(Cell) -> Cell) {
        for (cell, measures) in std::mem::take(&mut self.0) {
            self.add(to(cell), measures);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(unit: Unit, minute: u32, value: &str) -> Cell {
        Cell { package: 1, dimension: Dimension::Tag, value: value.into(), unit, minute }
    }

    #[test]
    fn a_minute_is_counted_in_its_hour_its_day_and_ever() {
        let cell = cell(Unit::Minute, 24 * 60 + 61, "latest");
        let buckets: Vec<_> = cell.buckets().collect();
        assert_eq!(
            buckets,
            [
                (Unit::Minute, 24 * 60 + 61),
                (Unit::Hour, 24 * 60 + 60),
                (Unit::Day, 24 * 60),
                (Unit::Ever, 0)
            ]
        );
    }

    #[test]
    fn coarsening_gives_up_time_before_rows_and_never_a_count() {
        let mut cells = Cells::default();
        let one = Measures { requests: 1, ..Measures::ZERO };
        for minute in 0..200 {
            cells.add(cell(Unit::Minute, minute, "a"), one);
            cells.add(cell(Unit::Minute, minute, "b"), one);
        }
        let total =
            |cells: &Cells| cells.iter().map(|(_, measures)| measures.requests).sum::<u64>();
        assert!(!cells.coarsen(400, &"(other)".into()));
        assert!(cells.coarsen(10, &"(other)".into()));
        assert_eq!(cells.len(), 8, "four hours of two tags");
        assert!(cells.coarsen(1, &"(other)".into()));
        assert_eq!(cells.len(), 1);
        assert_eq!(total(&cells), 400);
    }
}
