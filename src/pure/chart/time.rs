//! Counts over time: a line with its area, beside it the period before, an axis to the right, and
//! for each point what it says in words.
//!
//! The chart is as wide as what it stands in: its text keeps its size, only the plot inside of it is
//! stretched.

use super::{DEPTH, per_mille, put_paths, put_percent, ticks};
use crate::pure::markup::put_text;

/// What is drawn.
pub struct Chart<'a> {
    /// Unique within the page, and an identifier.
    pub id: &'a str,
    /// What it shows, in a few words.
    pub title: &'a str,
    /// The same in a sentence, with the numbers that matter.
    pub told: &'a str,
    /// The points, in the order of time.
    pub points: &'a [Point],
    /// How a number stands at the axis.
    pub number: fn(u64) -> String,
}

/// One point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// How its time stands at the axis: `27 Nov`.
    pub label: String,
    /// What it says when it is pointed at: `Fri 27 Nov 2026: 123 pulls`.
    pub told: String,
    /// How many.
    pub value: u64,
    /// How many there were one period before.
    pub before: Option<u64>,
    /// Its first and its last day, as the form that chooses days has them.
    pub days: [String; 2],
}

impl Chart<'_> {
    /// The chart as SVG.
    pub fn draw(&self) -> String {
        let Self { id, points, .. } = self;
        let all = points.iter().flat_map(|point| [Some(point.value), point.before]).flatten();
        let ticks = ticks(all.max().unwrap_or_default());
        let top = ticks.last().copied().unwrap_or(1);
        let mut out = format!(
            "<svg class=\"chart\" id=\"{id}\" width=\"100%\" height=\"{HEIGHT}\" role=\"img\" \
             aria-labelledby=\"{id}-title {id}-told\"><title id=\"{id}-title\">"
        );
        put_text(&mut out, self.title);
        out.push_str(&format!("</title><desc id=\"{id}-told\">"));
        put_text(&mut out, self.told);
        out.push_str("</desc><g class=\"grid\">");
        let y_of = |tick| PLOT_TOP + (DEPTH - per_mille(tick, top)) * PLOT_HEIGHT / DEPTH;
        for y in std::iter::once(0).chain(ticks.iter().copied()).map(y_of) {
            out.push_str(&format!("<line x1=\"0\" x2=\"100%\" y1=\"{y}\" y2=\"{y}\"/>"));
        }
        out.push_str("</g>");
        self.put_plot(&mut out, top);
        // In front of the line, which may run through them.
        out.push_str("<g class=\"ticks\">");
        for tick in ticks {
            out.push_str(&format!("<text x=\"100%\" y=\"{}\">", y_of(tick) - 5));
            put_text(&mut out, &(self.number)(tick));
            out.push_str("</text>");
        }
        out.push_str("</g>");
        self.put_times(&mut out);
        out.push_str("</svg>");
        out
    }

    fn put_plot(&self, out: &mut String, top: u64) {
        let points = self.points;
        let width = points.len().max(1) * 10;
        out.push_str(&format!(
            "<svg class=\"plot\" y=\"{PLOT_TOP}\" width=\"100%\" height=\"{PLOT_HEIGHT}\" \
             viewBox=\"0 0 {width} {DEPTH}\" preserveAspectRatio=\"none\">"
        ));
        let before: Vec<u64> = points.iter().filter_map(|point| point.before).collect();
        if !before.is_empty() && before.len() == points.len() {
            out.push_str("<g class=\"before\">");
            put_paths(out, &before, top, 5);
            out.push_str("</g>");
        }
        let values: Vec<u64> = points.iter().map(|point| point.value).collect();
        out.push_str("<g class=\"now\">");
        put_paths(out, &values, top, 5);
        out.push_str("</g><g class=\"hits\">");
        for (at, point) in points.iter().enumerate() {
            let (x, y) = (at * 10, DEPTH - per_mille(point.value, top));
            let [from, to] = &point.days;
            out.push_str(&format!(
                "<rect x=\"{x}\" width=\"10\" height=\"{DEPTH}\" data-y=\"{y}\" data-from=\"{from}\""
            ));
            // Most points are of one day, and there are many.
            if to != from {
                out.push_str(&format!(" data-to=\"{to}\""));
            }
            out.push_str("><title>");
            put_text(out, &point.told);
            out.push_str("</title></rect>");
        }
        out.push_str("</g></svg>");
    }

    /// Every so many points the time; every second of these is left out where there is little room.
    fn put_times(&self, out: &mut String) {
        let points = self.points;
        out.push_str("<g class=\"times\">");
        let every = points.len().div_ceil(LABELS_MAX).max(1);
        let y = PLOT_TOP + PLOT_HEIGHT + 20;
        // Counted from the end: the newest has its label.
        let labelled = points.iter().enumerate().rev().step_by(every).enumerate();
        for (number, (at, point)) in labelled {
            let middle = per_mille(at as u64 * 2 + 1, points.len() as u64 * 2);
            let anchor = match middle {
                0..=40 => " class=\"begin\"",
                41..=959 if number % 2 == 1 => " class=\"minor\"",
                41..=959 => "",
                _ => " class=\"end\"",
            };
            let x = match middle {
                0..=40 => 0,
                41..=959 => middle,
                _ => 1000,
            };
            out.push_str(&format!("<text{anchor} y=\"{y}\" x=\""));
            put_percent(out, x);
            out.push_str("\">");
            put_text(out, &point.label);
            out.push_str("</text>");
        }
        out.push_str("</g>");
    }
}

const HEIGHT: u64 = 264;
const PLOT_TOP: u64 = 24;
const PLOT_HEIGHT: u64 = 208;
const LABELS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::chart::short;
    use crate::pure::markup::tests::well_formed;
    use proptest::prelude::*;

    fn point(label: &str, value: u64, before: Option<u64>) -> Point {
        let days = ["2026-11-02", "2026-11-08"].map(str::to_owned);
        Point { label: label.to_owned(), told: format!("{label}: {value}"), value, before, days }
    }

    fn drawn(points: &[Point]) -> String {
        Chart { id: "c", title: "Pulls", told: "Few.", points, number: short }.draw()
    }

    #[test]
    fn a_chart_has_its_lines_its_axis_and_its_words() {
        let points = [point("1 Nov", 500, Some(1000)), point("2 Nov", 2000, Some(0))];
        let chart = drawn(&points);
        assert_eq!(well_formed(&chart), Ok(()));
        assert_eq!(chart, drawn(&points));
        for part in [
            "<title id=\"c-title\">Pulls</title><desc id=\"c-told\">Few.</desc>",
            "<text x=\"100%\" y=\"19\">2k</text>",
            "<g class=\"before\"><path class=\"area\" d=\"M5 500L15 1000L15 1000L5 1000Z\"/>",
            "<path class=\"line\" d=\"M5 750L15 0\"/>",
            "<rect x=\"10\" width=\"10\" height=\"1000\" data-y=\"0\" data-from=\"2026-11-02\" \
             data-to=\"2026-11-08\"><title>2 Nov: 2000</title>",
            "<text y=\"252\" x=\"75%\">2 Nov</text>",
        ] {
            assert!(chart.contains(part), "{part} in {chart}");
        }
    }

    #[test]
    fn nothing_at_all_is_drawn_too() {
        assert_eq!(well_formed(&drawn(&[])), Ok(()));
        assert!(!drawn(&[point("now", 0, None)]).contains("before"));
    }

    #[test]
    fn the_newest_point_has_its_label_and_few_others_do() {
        let points: Vec<_> = (0..90).map(|day| point(&format!("d{day}"), day, None)).collect();
        let chart = drawn(&points);
        assert!(chart.contains(">d89</text>"));
        let (_, times) = chart.split_once("<g class=\"times\">").unwrap();
        assert_eq!(times.matches("<text").count(), 8);
    }

    proptest! {
        #[test]
        fn any_numbers_and_words_are_well_formed(
            points in prop::collection::vec((any::<u64>(), prop::option::of(any::<u64>()), any::<String>()), 0..30),
            title in any::<String>(),
        ) {
            let points: Vec<_> = points
                .into_iter()
                .map(|(value, before, told)| Point { told: told.clone(), ..point(&told, value, before) })
                .collect();
            let chart = Chart { id: "c", title: &title, told: &title, points: &points, number: short };
            prop_assert_eq!(well_formed(&chart.draw()), Ok(()));
        }
    }
}
