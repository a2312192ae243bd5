//! Questions about the counts, and their answers: what the command line, and later the API, asks.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::aggregator::Order;
use crate::aggregator::clock::Clock;
use crate::aggregator::counts::CountsError;
use crate::aggregator::lock::Lock;
use crate::aggregator::schema::cell_range;
use crate::aggregator::view::View;
use crate::pure::pull::rollup::{Dimension, MEASURE_NAMES, Measures, Span, Unit, spans};

/// Answers questions, from any thread.
#[derive(Clone)]
pub struct Query {
    source: Source,
}

#[derive(Clone)]
enum Source {
    /// The aggregator's thread gives a view.
    Live(Sender<Order>),
    /// No gateway runs: the store is this process's own.
    Offline(Arc<(View, Lock)>),
}

/// A question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// `<domain>/<name>`; all packages where it is `None`.
    pub package: Option<String>,
    /// What the counts are grouped by, beside the package: at most one unit of time, and at most
    /// one other.
    pub by: Vec<By>,
    /// From when; from the beginning where it is `None`.
    pub from: Option<Timestamp>,
    /// Until when, exclusive; until now where it is `None`.
    pub to: Option<Timestamp>,
}

/// What counts can be grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
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
    /// `2026-11-23T17:41:00Z`
    Minute,
    /// `2026-11-23T17:00:00Z`
    Hour,
    /// `2026-11-23T00:00:00Z`
    Day,
}

/// An answer. As JSON: `{"from", "to", "rows": [{"package", the group's keys…, "requests",
/// "pulls", "checks", "supply_chain", "unseen", "unfolded", "complete", "up_to_date"}], "totals":
/// {"requests", …}}`, times in RFC 3339. `from` is null where nothing was ever counted.
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

impl Query {
    /// Questions to a running aggregator.
    pub(super) fn live(orders: Sender<Order>) -> Self {
        Self { source: Source::Live(orders) }
    }

    /// Questions to a store that nobody else has open.
    pub(super) fn offline(view: View, lock: Lock) -> Self {
        Self { source: Source::Offline(Arc::new((view, lock))) }
    }

    /// Answers `ask`. Reads the store in the caller's thread, which may take a while where much is
    /// asked for.
    pub fn rows(&self, ask: &Ask) -> Result<Answer, QueryError> {
        let plan = Plan::of(ask)?;
        match &self.source {
            Source::Offline(offline) => Ok(plan.run(&offline.0)?),
            Source::Live(orders) => {
                for _ in 0..VIEWS_MAX {
                    let (reply, view) = bounded(1);
                    orders.send(Order::View(reply)).map_err(|_| QueryError::Stopped)?;
                    let view = view.recv_timeout(VIEW_TIMEOUT).map_err(|error| match error {
                        RecvTimeoutError::Disconnected => QueryError::Stopped,
                        RecvTimeoutError::Timeout => QueryError::Unavailable(
                            "the store is being opened, or the disk is slow".to_owned(),
                        ),
                    })?;
                    let answer = plan.run(&view)?;
                    if !view.is_stale()? {
                        return Ok(answer);
                    }
                }
                Err(QueryError::Unavailable("counts are just being written; ask again".to_owned()))
            }
        }
    }
}

/// A question that was understood.
struct Plan<'a> {
    ask: &'a Ask,
    dimension: Dimension,
    /// The unit of time asked for.
    unit: Option<Unit>,
    /// The end of the current minute: what is counted now is before it.
    now_end: Timestamp,
}

impl<'a> Plan<'a> {
    fn of(ask: &'a Ask) -> Result<Self, QueryError> {
        let units: Vec<Unit> = ask.by.iter().filter_map(|by| by.unit()).collect();
        let dimensions: Vec<Dimension> = ask.by.iter().filter_map(|by| by.dimension()).collect();
        if units.len() > 1 || dimensions.len() > 1 {
            return Err(QueryError::Question(
                "counts are grouped by at most one of tag, client, family, os, arch, platform and \
                 one of minute, hour, day"
                    .to_owned(),
            ));
        }
        if let (Some(from), Some(to)) = (ask.from, ask.to)
            && from > to
        {
            return Err(QueryError::Question(format!(
                "counts cannot be from {from} to {to}: from is the earlier time"
            )));
        }
        let dimension = dimensions.first().copied().unwrap_or(Dimension::All);
        Ok(Self {
            ask,
            dimension,
            unit: units.first().copied(),
            now_end: timestamp(Clock::look().minute_now() + 1),
        })
    }

    fn run(&self, view: &View) -> Result<Answer, CountsError> {
        let since = view.since();
        let kept_from = view.kept_from()?;
        let spans = self.spans(kept_from, since);
        let mut groups: BTreeMap<(Arc<str>, String, u32), Measures> = BTreeMap::new();
        for (number, package) in view.packages()? {
            if self.ask.package.as_ref().is_some_and(|wanted| *wanted != package.shown) {
                continue;
            }
            let shown: Arc<str> = package.shown.into();
            for span in &spans {
                let range = cell_range(span.unit, number, self.dimension, span.from..span.to);
                view.cells(range, |cell, measures| {
                    let value = String::from_utf8_lossy(cell.value).into_owned();
                    let minute = self.unit.map_or(0, |unit| unit.floor(cell.minute));
                    *groups.entry((Arc::clone(&shown), value, minute)).or_insert(Measures::ZERO) +=
                        measures;
                })?;
            }
        }
        let mut totals = Measures::ZERO;
        let mut rows = Vec::with_capacity(groups.len());
        for ((package, value, minute), measures) in groups {
            totals += measures;
            let key = |by: &By| match by.unit() {
                Some(_) => (*by, timestamp(minute).to_string()),
                None => (*by, value.clone()),
            };
            rows.push(Row { package, keys: self.ask.by.iter().map(key).collect(), measures });
        }
        let from = match self.ask.from {
            Some(_) => spans.first().map(|span| timestamp(span.from)).or(self.ask.from),
            None => since.map(|since| {
                timestamp(since.max(kept_from[self.unit.unwrap_or(Unit::Ever) as usize]))
            }),
        };
        let to = match self.ask.to {
            Some(_) => spans.last().map(|span| timestamp(span.to)).or(self.ask.to),
            None => Some(self.now_end),
        };
        Ok(Answer { from, to: to.unwrap_or(self.now_end), rows, totals })
    }

    /// Which cells are added up.
    fn spans(&self, kept_from: [u32; Unit::EVERY.len()], since: Option<u32>) -> Vec<Span> {
        if self.ask.from.is_none() && self.ask.to.is_none() {
            let unit = self.unit.unwrap_or(Unit::Ever);
            return vec![Span { unit, from: kept_from[unit as usize], to: u32::MAX }];
        }
        let Some(since) = since else {
            return Vec::new();
        };
        // Nothing was counted before the first minute: no need to look there.
        let from = self.ask.from.map_or(since, minute_of).max(Unit::Day.floor(since));
        let to = self.ask.to.map_or_else(
            || minute_of(self.now_end),
            |to| {
                let whole = minute_of(to);
                if timestamp(whole) == to { whole } else { whole + 1 }
            },
        );
        spans(from, to, self.unit.unwrap_or(Unit::Day), |unit| kept_from[unit as usize])
    }
}

impl By {
    /// Every word that can be asked for.
    pub const EVERY: [Self; 9] = [
        Self::Tag,
        Self::Client,
        Self::Family,
        Self::Os,
        Self::Arch,
        Self::Platform,
        Self::Minute,
        Self::Hour,
        Self::Day,
    ];

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tag => "tag",
            Self::Client => "client",
            Self::Family => "family",
            Self::Os => "os",
            Self::Arch => "arch",
            Self::Platform => "platform",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    fn dimension(self) -> Option<Dimension> {
        match self {
            Self::Tag => Some(Dimension::Tag),
            Self::Client => Some(Dimension::Client),
            Self::Family => Some(Dimension::Family),
            Self::Os => Some(Dimension::Os),
            Self::Arch => Some(Dimension::Arch),
            Self::Platform => Some(Dimension::Platform),
            Self::Minute | Self::Hour | Self::Day => None,
        }
    }

    fn unit(self) -> Option<Unit> {
        match self {
            Self::Minute => Some(Unit::Minute),
            Self::Hour => Some(Unit::Hour),
            Self::Day => Some(Unit::Day),
            Self::Tag | Self::Client | Self::Family | Self::Os | Self::Arch | Self::Platform => {
                None
            }
        }
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

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry("from", &self.from.map(|from| from.to_string()))?;
        map.serialize_entry("to", &self.to.to_string())?;
        map.serialize_entry("rows", &self.rows)?;
        map.serialize_entry("totals", &Totals(self.totals))?;
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
        map.end()
    }
}

struct Totals(Measures);

impl Serialize for Totals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(MEASURE_NAMES.into_iter().zip(self.0.to_array()))
    }
}

fn timestamp(minute: u32) -> Timestamp {
    Timestamp::from_second(i64::from(minute) * 60).unwrap_or(Timestamp::MAX)
}

fn minute_of(time: Timestamp) -> u32 {
    u32::try_from(time.as_second().div_euclid(60).max(0)).unwrap_or(u32::MAX)
}

/// How long the aggregator may take to give a view: it opens the store first.
const VIEW_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a view is taken again because the store was written to meanwhile.
const VIEWS_MAX: usize = 5;
