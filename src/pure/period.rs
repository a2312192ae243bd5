//! Stretches of time as people choose them, and the pieces that a chart cuts them into. All of it is
//! in UTC, as the counts are.

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};

use crate::pure::limits::CHART_POINTS_MAX;

/// A stretch of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// Its name in a URL; `None` where it was chosen by its days.
    pub name: Option<&'static str>,
    /// From when; `None` from the beginning.
    pub from: Option<Timestamp>,
    /// Until when, exclusive.
    pub to: Timestamp,
}

/// A piece of a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week from Monday on.
    Week,
    /// A month.
    Month,
}

/// The periods that have a name: that of the URL, what people read, and how many days it is.
pub const NAMED: [(&str, &str, Option<i64>); 6] = [
    ("24h", "Last 24 hours", Some(1)),
    ("7d", "Last 7 days", Some(7)),
    ("30d", "Last 30 days", Some(30)),
    ("90d", "Last 90 days", Some(90)),
    ("12m", "Last 12 months", Some(365)),
    ("all", "Since the beginning", None),
];
/// The one that is shown where none was chosen.
pub const DEFAULT: &str = "30d";

impl Period {
    /// What was chosen: two days, the second one included, or a name. `today` is the hour that is not
    /// over yet, and the day.
    ///
    /// # Errors
    /// Words for the people who chose.
    pub fn chosen(
        range: Option<&str>,
        from: Option<&str>,
        to: Option<&str>,
        now: Timestamp,
    ) -> Result<Self, String> {
        let days = [from, to].map(|day| day.filter(|day| !day.is_empty()));
        if let ([None, None], range) = (days, range.unwrap_or(DEFAULT)) {
            let named = NAMED.iter().find(|(name, _, _)| *name == range).ok_or_else(|| {
                let names = NAMED.map(|(name, _, _)| name).join(", ");
                format!("There is no range {range:?}: there are {names}.")
            })?;
            return Ok(Self::named(named.0, named.2, now));
        }
        let [from, to] = days.map(|day| day.map(midnight).transpose());
        let (from, to) = (from?, to?);
        let to = to.map_or_else(|| Piece::Day.end(now), |to| Piece::Day.end(to));
        match from {
            Some(from) if from >= to => Err("The first day lies behind the last.".to_owned()),
            from => Ok(Self { name: None, from, to }),
        }
    }

    fn named(name: &'static str, days: Option<i64>, now: Timestamp) -> Self {
        // A single day is one of hours: it ends with this hour, and all others with today.
        let piece = if days == Some(1) { Piece::Hour } else { Piece::Day };
        let to = piece.end(now);
        let from = days.and_then(|days| to.checked_sub(SignedDuration::from_hours(24 * days)).ok());
        Self { name: Some(name), from, to }
    }

    /// The pieces that it is cut into, of which there are few enough for a chart.
    pub fn piece(&self, since: Timestamp) -> Piece {
        let from = self.from.unwrap_or(since);
        let hours = self.to.duration_since(from).as_hours();
        let points_max = i64::try_from(CHART_POINTS_MAX).unwrap_or(i64::MAX);
        match hours {
            ..=72 => Piece::Hour,
            _ if hours <= 24 * points_max => Piece::Day,
            _ if hours <= 24 * 7 * points_max => Piece::Week,
            _ => Piece::Month,
        }
    }

    /// When each of its pieces begins. The first may have begun before it.
    pub fn pieces(&self, piece: Piece, since: Timestamp) -> Vec<Timestamp> {
        let mut begin = piece.begin(self.from.unwrap_or(since));
        let mut begins = Vec::new();
        while begin < self.to && begins.len() <= PIECES_MAX {
            begins.push(begin);
            begin = piece.end(begin);
        }
        begins
    }
}

impl Piece {
    /// When the piece that holds `at` begins.
    pub fn begin(self, at: Timestamp) -> Timestamp {
        let civil = TimeZone::UTC.to_datetime(at);
        let date = civil.date();
        let begin = match self {
            Self::Hour => date.at(civil.hour(), 0, 0, 0),
            Self::Day => date.at(0, 0, 0, 0),
            Self::Week => {
                let days = date.weekday().since(Weekday::Monday);
                date.checked_sub(i64::from(days).days()).unwrap_or(date).at(0, 0, 0, 0)
            }
            Self::Month => date.first_of_month().at(0, 0, 0, 0),
        };
        TimeZone::UTC.to_timestamp(begin).unwrap_or(at)
    }

    /// When it ends.
    pub fn end(self, at: Timestamp) -> Timestamp {
        let begin = TimeZone::UTC.to_datetime(self.begin(at));
        let end = match self {
            Self::Hour => begin.checked_add(1.hours()),
            Self::Day => begin.checked_add(1.days()),
            Self::Week => begin.checked_add(7.days()),
            Self::Month => begin.checked_add(1.months()),
        };
        end.and_then(|end| TimeZone::UTC.to_timestamp(end)).unwrap_or(Timestamp::MAX)
    }

    /// How its beginning stands at an axis.
    pub fn label(self, begin: Timestamp) -> String {
        let format = match self {
            Self::Hour => "%H:%M",
            Self::Day | Self::Week => "%-d %b",
            Self::Month => "%b %Y",
        };
        begin.strftime(format).to_string()
    }

    /// How it is called in full.
    pub fn told(self, begin: Timestamp) -> String {
        let format = match self {
            Self::Hour => "%a %-d %b %Y, %H:%M UTC",
            Self::Day => "%a %-d %b %Y",
            Self::Week => "Week from %-d %b %Y",
            Self::Month => "%B %Y",
        };
        begin.strftime(format).to_string()
    }

    /// `hour`
    pub fn word(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

/// A day as a form sends it.
fn midnight(day: &str) -> Result<Timestamp, String> {
    let parsed = day.parse::<Date>().and_then(|day| TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)));
    parsed.map_err(|_| format!("{day:?} is no day: write it like 2026-01-31."))
}

/// Months of more than three hundred years: no count is older.
const PIECES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn told(range: Option<&str>, from: Option<&str>, to: Option<&str>) -> String {
        let now = at("2026-11-27T15:30:00Z");
        match Period::chosen(range, from, to, now) {
            Ok(Period { name, from, to }) => format!(
                "{} {} {to}",
                name.unwrap_or("-"),
                from.map_or_else(|| "-".to_owned(), |from| from.to_string())
            ),
            Err(words) => words,
        }
    }

    #[test]
    fn a_period_is_a_name_or_two_days() {
        for (range, from, to, expected) in [
            (None, None, None, "30d 2026-10-29T00:00:00Z 2026-11-28T00:00:00Z"),
            (Some("24h"), None, None, "24h 2026-11-26T16:00:00Z 2026-11-27T16:00:00Z"),
            (Some("all"), None, None, "all - 2026-11-28T00:00:00Z"),
            (
                Some("7d"),
                Some("2026-01-01"),
                Some("2026-01-31"),
                "- 2026-01-01T00:00:00Z 2026-02-01T00:00:00Z",
            ),
            (None, Some("2026-11-01"), Some(""), "- 2026-11-01T00:00:00Z 2026-11-28T00:00:00Z"),
            (None, Some("2026-02-01"), Some("2026-01-31"), "The first day lies behind the last."),
            (None, Some("x"), None, "\"x\" is no day: write it like 2026-01-31."),
        ] {
            assert_eq!(told(range, from, to), expected);
        }
        assert!(told(Some("3d"), None, None).contains("there are 24h, 7d"));
    }

    #[test]
    fn a_period_is_cut_into_as_many_pieces_as_a_chart_can_show() {
        let now = at("2026-11-27T15:30:00Z");
        let since = at("2024-02-28T10:11:00Z");
        for (range, piece, many, first) in [
            ("24h", Piece::Hour, 24, "2026-11-26T16:00:00Z"),
            ("7d", Piece::Day, 7, "2026-11-21T00:00:00Z"),
            ("90d", Piece::Day, 90, "2026-08-30T00:00:00Z"),
            ("12m", Piece::Week, 53, "2025-11-24T00:00:00Z"),
            ("all", Piece::Month, 34, "2024-02-01T00:00:00Z"),
        ] {
            let period = Period::chosen(Some(range), None, None, now).unwrap();
            assert_eq!(period.piece(since), piece);
            let pieces = period.pieces(piece, since);
            assert_eq!((pieces.len(), pieces[0].to_string()), (many, first.to_owned()), "{range}");
        }
    }

    #[test]
    fn pieces_have_names() {
        let at = at("2026-11-27T15:30:00Z");
        for (piece, label, told) in [
            (Piece::Hour, "15:00", "Fri 27 Nov 2026, 15:00 UTC"),
            (Piece::Day, "27 Nov", "Fri 27 Nov 2026"),
            (Piece::Week, "23 Nov", "Week from 23 Nov 2026"),
            (Piece::Month, "Nov 2026", "November 2026"),
        ] {
            let begin = piece.begin(at);
            assert_eq!(
                (piece.label(begin), piece.told(begin)),
                (label.to_owned(), told.to_owned())
            );
        }
    }
}
