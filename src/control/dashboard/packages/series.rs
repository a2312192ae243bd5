//! Counts over time, in the pieces that a chart shows.

use jiff::{SignedDuration, Timestamp};

use super::view::{Measure, View};
use crate::aggregator::{Answer, By};
use crate::pure::chart::time::{Chart, Point};
use crate::pure::period::Piece;
use crate::pure::pull::rollup::Measures;

/// The counts of each piece of a period, in its order.
pub(super) struct Series {
    pub(super) piece: Piece,
    /// What it is of, in words.
    pub(super) period: String,
    pub(super) points: Vec<Counted>,
}

/// What one piece came to.
pub(super) struct Counted {
    pub(super) begin: Timestamp,
    pub(super) measures: Measures,
    pub(super) previous: Option<Measures>,
}

impl Series {
    /// By what has to be asked for the pieces.
    pub(super) fn unit(piece: Piece) -> By {
        match piece {
            Piece::Hour => By::Hour,
            Piece::Day | Piece::Week | Piece::Month => By::Day,
        }
    }

    /// Adds up the rows of `answer`, which is grouped by [`Self::unit`]. Pieces without rows are 0.
    pub(super) fn of(view: &View, piece: Piece, since: Timestamp, answer: &Answer) -> Self {
        let mut points: Vec<Counted> = view
            .period
            .pieces(piece, since)
            .into_iter()
            .map(|begin| {
                let previous = answer.previous.map(|_| Measures::ZERO);
                Counted { begin, measures: Measures::ZERO, previous }
            })
            .collect();
        for row in &answer.rows {
            let at = row.keys.iter().find(|(by, _)| by.unit().is_some());
            let Some(at) = at.and_then(|(_, at)| at.parse::<Timestamp>().ok()) else { continue };
            let place = points.partition_point(|point| point.begin <= at);
            let Some(point) = place.checked_sub(1).and_then(|place| points.get_mut(place)) else {
                continue;
            };
            point.measures += row.measures;
            if let (Some(sum), Some(previous)) = (&mut point.previous, row.previous) {
                *sum += previous;
            }
        }
        let mut period = view.period_words();
        if let Some(days) = view.whole_days(answer) {
            period.push_str(&format!(", {days}"));
        }
        Self { piece, period, points }
    }

    /// What a small chart shows.
    pub(super) fn values(&self, measure: &Measure) -> Vec<u64> {
        self.points.iter().map(|point| (measure.of)(&point.measures)).collect()
    }

    /// The chart of one measure.
    pub(super) fn chart(&self, view: &View, now: Timestamp) -> String {
        let measure = view.measure;
        let number = measure.number;
        let points: Vec<Point> = self
            .points
            .iter()
            .map(|point| {
                let value = (measure.of)(&point.measures);
                let before = point.previous.as_ref().map(measure.of);
                let so_far = if self.piece.end(point.begin) > now { " so far" } else { "" };
                let mut told =
                    format!("{}: {}{so_far}", self.piece.told(point.begin), number(value));
                if let Some(before) = before {
                    told.push_str(&format!(", {} before", number(before)));
                }
                let (label, days) = (self.piece.label(point.begin), self.days(view, point.begin));
                Point { label, told, value, before, days }
            })
            .collect();
        let title = format!("{} per {}", measure.title, self.piece.word());
        let told = self.told(measure);
        Chart { id: "chart", title: &title, told: &told, points: &points, number: measure.short }
            .draw()
    }

    /// The first and the last day of the piece that begins then, as far as they are in the period.
    fn days(&self, view: &View, begin: Timestamp) -> [String; 2] {
        let end = self.piece.end(begin).min(view.period.to);
        let last = end.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(end);
        let first = view.period.from.map_or(begin, |from| from.max(begin));
        [first, last].map(|at| at.strftime("%Y-%m-%d").to_string())
    }

    /// The chart in a sentence.
    fn told(&self, measure: &Measure) -> String {
        let values = self.values(measure);
        let most = self.points.iter().max_by_key(|point| (measure.of)(&point.measures));
        let Some(most) = most else { return "Nothing was counted yet.".to_owned() };
        format!(
            "{}: {} in all; the most on {}: {}.",
            self.period,
            (measure.number)(values.iter().sum()),
            self.piece.told(most.begin),
            (measure.number)((measure.of)(&most.measures)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::Row;

    #[test]
    fn days_without_counts_are_nothing_and_weeks_are_sums() {
        let now: Timestamp = "2026-11-27T15:30:00Z".parse().unwrap();
        let row = |day: &str, pulls| Row {
            package: "a.b/c".into(),
            keys: vec![(By::Day, format!("2026-11-{day}T00:00:00Z"))],
            measures: Measures { pulls, ..Measures::ZERO },
            previous: Some(Measures { pulls: 1, ..Measures::ZERO }),
        };
        let answer = Answer {
            from: None,
            to: now,
            rows: vec![row("21", 5), row("22", 7), row("27", 2)],
            totals: Measures::ZERO,
            previous: Some(Measures::ZERO),
        };
        let view = View::of(&[("range".to_owned(), "7d".to_owned())], now).unwrap();
        let days = Series::of(&view, Piece::Day, now, &answer);
        assert_eq!(days.values(view.measure), [5, 7, 0, 0, 0, 0, 2]);
        let weeks = Series::of(&view, Piece::Week, now, &answer);
        assert_eq!(weeks.values(view.measure), [12, 2]);
        assert_eq!(weeks.points[0].previous.unwrap().pulls, 2);
        let chart = days.chart(&view, now);
        for part in
            ["Pulls per day", "14 in all; the most on Sun 22 Nov 2026: 7.", "2 so far, 1 before"]
        {
            assert!(chart.contains(part), "{part} in {chart}");
        }
        assert_eq!(days.period, "Last 7 days");
        let answer = Answer { from: "2026-11-20T00:00:00Z".parse().ok(), ..answer };
        let wider = Series::of(&view, Piece::Day, now, &answer).chart(&view, now);
        let told = "Last 7 days, whole days: 20 Nov to 27 Nov (UTC): 14 in all";
        assert!(wider.contains(told), "{wider}");
        // Of a week those days that are shown.
        for (begin, expected) in [
            (weeks.points[0].begin, ["2026-11-21", "2026-11-22"]),
            (weeks.points[1].begin, ["2026-11-23", "2026-11-27"]),
        ] {
            assert_eq!(weeks.days(&view, begin), expected);
        }
        assert!(chart.contains("data-from=\"2026-11-22\"><title>Sun 22 Nov"), "{chart}");
    }
}
