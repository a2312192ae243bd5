//! Answers about the counts.

use std::sync::Arc;

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::aggregator::ask::By;
use crate::pure::pull::rollup::{MEASURE_NAMES, Measures};

/// An answer. As JSON: `{"from", "to", "rows": [{"package", the group's keys…, the measures…}],
/// "totals": {the measures…}}`, times in RFC 3339, and measures by their [`MEASURE_NAMES`]. `from` is
/// null where nothing was ever counted. Compared with the period before, each row and the answer
/// have a `previous` with the same measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// From when the counts are. Earlier than asked where the short cells are gone already.
    pub from: Option<Timestamp>,
    /// Until when, exclusive.
    pub to: Timestamp,
    /// One row per package and group, in their order.
    pub rows: Vec<Row>,
    /// The sum of all rows.
    pub totals: Measures,
    /// The same of the period before, where that was asked for.
    pub previous: Option<Measures>,
}

impl Answer {
    /// Makes the sums what the rows come to.
    pub(super) fn add_up(&mut self) {
        let sum = |of: fn(&Row) -> Measures| {
            self.rows.iter().fold(Measures::ZERO, |mut sum, row| {
                sum += of(row);
                sum
            })
        };
        self.totals = sum(|row| row.measures);
        let before = |row: &Row| row.previous.unwrap_or(Measures::ZERO);
        self.previous = self.previous.map(|_| sum(before));
    }
}

/// One row of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// `<domain>/<name>`
    pub package: Arc<str>,
    /// What the row is of: as asked, in the same order.
    pub keys: Vec<(By, String)>,
    /// The counts.
    pub measures: Measures,
    /// Those of the period before, where that was asked for.
    pub previous: Option<Measures>,
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("from", &self.from.map(|from| from.to_string()))?;
        map.serialize_entry("to", &self.to.to_string())?;
        map.serialize_entry("rows", &self.rows)?;
        map.serialize_entry("totals", &Totals(self.totals))?;
        if let Some(previous) = self.previous {
            map.serialize_entry("previous", &Totals(previous))?;
        }
        map.end()
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("package", &*self.package)?;
        for (by, value) in &self.keys {
            map.serialize_entry(by.as_str(), value)?;
        }
        for (name, value) in MEASURE_NAMES.into_iter().zip(self.measures.to_array()) {
            map.serialize_entry(name, &value)?;
        }
        if let Some(previous) = self.previous {
            map.serialize_entry("previous", &Totals(previous))?;
        }
        map.end()
    }
}

struct Totals(Measures);

impl Serialize for Totals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(MEASURE_NAMES.into_iter().zip(self.0.to_array()))
    }
}
