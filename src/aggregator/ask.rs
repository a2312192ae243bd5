//! Questions about the counts, and the words they are asked in.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::aggregator::counts::CountsError;
use crate::pure::pull::rollup::{Dimension, Unit};

/// A question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// `<domain>/<name>`; all packages where it is `None`.
    pub package: Option<String>,
    /// What the counts are grouped by, beside the package or in its stead the domain: at most one unit
    /// of time, and one other word or one of the pairs that are counted.
    pub by: Vec<By>,
    /// Only what has these values; the domain apart, together with `by` one word or one of the pairs.
    pub only: Vec<Only>,
    /// From when; from the beginning where it is `None`.
    pub from: Option<Timestamp>,
    /// Until when, exclusive; until now where it is `None`.
    pub to: Option<Timestamp>,
    /// So many values of each package by themselves, those with the most pulls, and the rest
    /// together.
    pub top: Option<usize>,
    /// Whether each row also says what the period of the same length before it came to.
    pub compare: bool,
    /// Only what may be shown in public: places in which a crowd was on one day.
    pub public: bool,
}

/// What counts can be grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// `registry.acme.com`: then a row is of all its packages
    Domain,
    /// `latest`, `(by digest)`, `(supply chain)`, `(other)`
    Tag,
    /// `docker 28.5.2`
    Client,
    /// `docker`
    Family,
    /// `linux`
    Os,
    /// `amd64`
    Arch,
    /// `linux/amd64`
    Platform,
    /// `linux/arm64`
    ImagePlatform,
    /// `sha256:…`
    Digest,
    /// `redirect`
    Delivery,
    /// `found`, `unchanged`, `unseen`
    Outcome,
    /// `DE`
    Country,
    /// `DE-BY`
    Region,
    /// `DE Munich`
    City,
    /// `AS64496 Acme Telecom`
    Network,
    /// `Acme AG`
    Company,
    /// `business`
    Kind,
    /// `aws`
    Cloud,
    /// `aws eu-west-1`
    CloudRegion,
    /// `our CI`
    Label,
    /// `2026-11-23T17:41:00Z`
    Minute,
    /// `2026-11-23T17:00:00Z`
    Hour,
    /// `2026-11-23T00:00:00Z`
    Day,
}

impl By {
    /// Every word that can be asked for.
    pub const EVERY: [Self; 23] = [
        Self::Domain,
        Self::Tag,
        Self::Client,
        Self::Family,
        Self::Os,
        Self::Arch,
        Self::Platform,
        Self::ImagePlatform,
        Self::Digest,
        Self::Delivery,
        Self::Outcome,
        Self::Country,
        Self::Region,
        Self::City,
        Self::Network,
        Self::Company,
        Self::Kind,
        Self::Cloud,
        Self::CloudRegion,
        Self::Label,
        Self::Minute,
        Self::Hour,
        Self::Day,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Domain => "domain",
            Self::Tag => "tag",
            Self::Client => "client",
            Self::Family => "family",
            Self::Os => "os",
            Self::Arch => "arch",
            Self::Platform => "platform",
            Self::ImagePlatform => "image_platform",
            Self::Digest => "digest",
            Self::Delivery => "delivery",
            Self::Outcome => "outcome",
            Self::Country => "country",
            Self::Region => "region",
            Self::City => "city",
            Self::Network => "network",
            Self::Company => "company",
            Self::Kind => "kind",
            Self::Cloud => "cloud",
            Self::CloudRegion => "cloud_region",
            Self::Label => "label",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// What its column is called in an export: as Scarf's export calls what means the same.
    pub fn column(self) -> &'static str {
        match self {
            Self::Tag => "version",
            Self::Country => "origin_country",
            Self::Region => "origin_state",
            Self::City => "origin_city",
            Self::Company => "origin_company",
            Self::Minute | Self::Hour | Self::Day => "time",
            Self::Domain
            | Self::Client
            | Self::Family
            | Self::Os
            | Self::Arch
            | Self::Platform
            | Self::ImagePlatform
            | Self::Digest
            | Self::Delivery
            | Self::Outcome
            | Self::Network
            | Self::Kind
            | Self::Cloud
            | Self::CloudRegion
            | Self::Label => self.as_str(),
        }
    }

    /// The dimension that it is; `None` for a unit of time, and for the domain, which the package
    /// says.
    pub fn dimension(self) -> Option<Dimension> {
        Some(match self {
            Self::Tag => Dimension::Tag,
            Self::Client => Dimension::Client,
            Self::Family => Dimension::Family,
            Self::Os => Dimension::Os,
            Self::Arch => Dimension::Arch,
            Self::Platform => Dimension::Platform,
            Self::ImagePlatform => Dimension::ImagePlatform,
            Self::Digest => Dimension::Digest,
            Self::Delivery => Dimension::Delivery,
            Self::Outcome => Dimension::Outcome,
            Self::Country => Dimension::Country,
            Self::Region => Dimension::Region,
            Self::City => Dimension::City,
            Self::Network => Dimension::Network,
            Self::Company => Dimension::Company,
            Self::Kind => Dimension::Kind,
            Self::Cloud => Dimension::Cloud,
            Self::CloudRegion => Dimension::CloudRegion,
            Self::Label => Dimension::Label,
            Self::Domain | Self::Minute | Self::Hour | Self::Day => return None,
        })
    }

    /// The unit of time that it is.
    pub fn unit(self) -> Option<Unit> {
        let units =
            [(Self::Minute, Unit::Minute), (Self::Hour, Unit::Hour), (Self::Day, Unit::Day)];
        units.into_iter().find(|(by, _)| *by == self).map(|(_, unit)| unit)
    }
}

impl FromStr for By {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        Self::EVERY.into_iter().find(|by| by.as_str() == text).ok_or_else(|| {
            let words = Self::EVERY.map(Self::as_str).join(", ");
            QueryError::Question(format!("counts are not grouped by {text:?}, but by {words}"))
        })
    }
}

/// Only what has this value: `tag=latest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Only {
    /// What is looked at.
    pub by: By,
    /// What it has to be.
    pub value: String,
}

impl FromStr for Only {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        let (by, value) = text.split_once('=').ok_or_else(|| {
            QueryError::Question(format!("{text:?} is not of the form tag=latest"))
        })?;
        let by: By = by.parse()?;
        if by.unit().is_some() {
            let words = format!("{}: a time is asked for by `from` and `to`", by.as_str());
            return Err(QueryError::Question(words));
        }
        Ok(Self { by, value: value.to_owned() })
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryError {
    /// The question cannot be answered: how it can be asked.
    Question(String),
    /// The store does not answer now: why.
    Unavailable(String),
    /// The aggregator has stopped.
    Stopped,
}

impl QueryError {
    /// Whoever reads is too slow for who writes.
    pub(super) fn being_written() -> Self {
        Self::Unavailable("counts are just being written; ask again".to_owned())
    }
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Question(how) => f.write_str(how),
            Self::Unavailable(why) => write!(f, "the counts cannot be read now: {why}"),
            Self::Stopped => f.write_str("the counts cannot be read: the gateway is stopping"),
        }
    }
}

impl std::error::Error for QueryError {}

impl From<CountsError> for QueryError {
    fn from(error: CountsError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::pull::rollup::MEASURE_NAMES;

    #[test]
    fn every_dimension_that_is_no_pair_has_a_word() {
        for dimension in Dimension::EVERY {
            let words = By::EVERY.iter().filter(|by| by.dimension() == Some(dimension)).count();
            let has_none = dimension == Dimension::All || dimension.pair().is_some();
            assert_eq!(words, usize::from(!has_none), "{dimension:?}");
        }
        for by in By::EVERY {
            assert_eq!(by.as_str().parse(), Ok(by));
            let told_by = [by.dimension().is_some(), by.unit().is_some(), by == By::Domain];
            assert_eq!(told_by.into_iter().filter(|is_so| *is_so).count(), 1);
        }
    }

    /// Scripts that read Scarf's export find here what means the same, and nothing else under its names.
    #[test]
    fn columns_are_called_as_in_scarfs_export_where_they_mean_the_same() {
        const SCARFS: [&str; 23] = [
            "id",
            "type",
            "package",
            "pixel",
            "version",
            "time",
            "referer",
            "user_agent",
            "variables",
            "origin_id",
            "origin_latitude",
            "origin_longitude",
            "origin_country",
            "origin_city",
            "origin_state",
            "origin_postal",
            "origin_connection_type",
            "origin_company",
            "origin_domain",
            "dnt",
            "confidence",
            "endpoint_id",
            "mtc_quota_exceeded",
        ];
        let same = [
            (By::Tag, "version"),
            (By::Minute, "time"),
            (By::Hour, "time"),
            (By::Day, "time"),
            (By::Country, "origin_country"),
            (By::City, "origin_city"),
            (By::Region, "origin_state"),
            (By::Company, "origin_company"),
        ];
        for by in By::EVERY {
            let meant = same.iter().find(|(same, _)| *same == by).map(|(_, column)| *column);
            assert_eq!(by.column(), meant.unwrap_or(by.as_str()));
            assert_eq!(SCARFS.contains(&by.column()), meant.is_some(), "{by:?}");
        }
        for measure in MEASURE_NAMES {
            assert!(!SCARFS.contains(&measure), "{measure}");
        }
    }

    #[test]
    fn a_filter_is_a_word_and_a_value_that_may_hold_anything() {
        let only: Only = "tag=a=b".parse().unwrap();
        assert_eq!((only.by, only.value.as_str()), (By::Tag, "a=b"));
        for wrong in ["tag", "day=2026-01-01", "colour=red"] {
            assert!(wrong.parse::<Only>().is_err(), "{wrong}");
        }
    }
}
