//! What is asked of the gateway, how it stands to that, and all of it as one table.

use std::fmt::{self, Display, Formatter};

use crate::report::{number, table};
use crate::statistics::Median;

/// What a figure may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bar {
    /// At most this.
    Most(f64),
    /// At least this.
    Least(f64),
}

impl Bar {
    /// How what was measured stands to it; nothing is said of what was not measured often enough. "Just"
    /// is where the interval has the bar in it: the next run may say otherwise.
    pub fn standing(self, measured: Option<Median>) -> &'static str {
        let Some(Median { value, low, high }) = measured else { return "too few rounds" };
        match (self.holds(value), self.holds(low) == self.holds(high)) {
            (true, true) => "met",
            (true, false) => "met, just",
            (false, true) => "MISSED",
            (false, false) => "MISSED, just",
        }
    }

    fn holds(self, value: f64) -> bool {
        match self {
            Self::Most(bar) => value <= bar,
            Self::Least(bar) => value >= bar,
        }
    }
}

impl Display for Bar {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Most(bar) => write!(f, "≤ {}", number(*bar)),
            Self::Least(bar) => write!(f, "≥ {}", number(*bar)),
        }
    }
}

/// A line of the table of all bars.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What was done, and how.
    pub case: String,
    /// Which figure of it, and its unit.
    pub what: String,
    /// Whose figure the gateway's is set against; empty where it stands for itself.
    pub beside: String,
    /// The gateway's.
    pub value: Option<Median>,
    /// The gateway's over the other's.
    pub ratio: Option<Median>,
    /// Of the ratio where there is somebody beside it, else of the gateway's figure.
    pub bar: Bar,
    /// How it stands to the bar, or why that is not known.
    pub standing: String,
}

impl Row {
    /// One to be filled.
    pub fn new(case: &str, what: &str, beside: &str, bar: Bar) -> Self {
        Self {
            case: case.to_owned(),
            what: what.to_owned(),
            beside: beside.to_owned(),
            value: None,
            ratio: None,
            bar,
            standing: String::new(),
        }
    }

    /// With what was measured.
    pub fn measured(self, value: Median, ratio: Option<Median>) -> Self {
        let standing = self.bar.standing(ratio.or(Some(value))).to_owned();
        Self { value: Some(value), ratio, standing, ..self }
    }

    /// Without anything, and `why`.
    pub fn not_measured(self, why: &str) -> Self {
        // Of a peer that does not start, what it said.
        let why = why.lines().next().unwrap_or_default();
        Self { value: None, ratio: None, standing: format!("not measured: {why}"), ..self }
    }

    fn cells(&self) -> Vec<String> {
        let told = |median: Option<Median>| median.map_or_else(String::new, |it| it.to_string());
        let Self { case, what, beside, value, ratio, bar, standing } = self;
        let (value, ratio) = (told(*value), told(*ratio));
        let all = [case, what, beside, &value, &ratio, &bar.to_string(), standing];
        all.map(String::clone).to_vec()
    }
}

/// The table of all bars.
pub fn all(rows: &[Row]) -> String {
    let heading = HEADING.map(str::to_owned).to_vec();
    let rows: Vec<Vec<String>> = [heading].into_iter().chain(rows.iter().map(Row::cells)).collect();
    format!("\nAll bars\n\n{}", table(&rows))
}

const HEADING: [&str; 7] = ["case", "figure", "beside", "pullgate", "pullgate ÷ this", "bar", ""];

#[cfg(test)]
mod tests {
    use super::*;

    fn median(value: f64, low: f64, high: f64) -> Option<Median> {
        Some(Median { value, low, high })
    }

    /// Between its edges.
    fn line(cells: [&str; 7]) -> Vec<&str> {
        [&[""][..], &cells, &[""]].concat()
    }

    #[test]
    fn a_bar_is_met_or_missed_surely_or_just() {
        let most = |value, low, high| Bar::Most(0.87).standing(median(value, low, high));
        assert_eq!(most(0.8, 0.7, 0.87), "met");
        assert_eq!(most(0.87, 0.7, 0.88), "met, just");
        assert_eq!(most(0.88, 0.87, 0.9), "MISSED, just");
        assert_eq!(most(0.9, 0.88, 0.95), "MISSED");
        let least = |value, low, high| Bar::Least(1e6).standing(median(value, low, high));
        assert_eq!(least(1.1e6, 1e6, 1.2e6), "met");
        assert_eq!(least(1e6, 0.9e6, 1.2e6), "met, just");
        assert_eq!(least(0.9e6, 0.8e6, 1e6), "MISSED, just");
        assert_eq!(least(0.9e6, 0.8e6, 0.95e6), "MISSED");
        assert_eq!(Bar::Most(1.0).standing(None), "too few rounds");
    }

    #[test]
    fn all_bars_are_one_table() {
        let ratio = Median { value: 0.9, low: 0.85, high: 0.95 };
        let beside = Row::new("redirect", "CPU µs per answer", "nginx", Bar::Most(0.87))
            .measured(Median { value: 7.5, low: 7.0, high: 8.0 }, Some(ratio));
        let alone = Row::new("aggregator", "events a second", "", Bar::Least(1e6))
            .measured(Median::exact(2e6), None);
        let lost = beside.clone().not_measured("nginx: ended\nits words");
        let told = all(&[beside, alone, lost]);
        let cells: Vec<Vec<&str>> =
            told.lines().map(|line| line.split('|').map(str::trim).collect()).collect();
        assert_eq!(cells[1], ["All bars"]);
        assert_eq!(cells[3], line(HEADING));
        let ratio = "0.90 (0.85 – 0.95)";
        let measured = ["7.50 (7 – 8)", ratio, "≤ 0.87", "MISSED, just"];
        let [value, ratio, bar, standing] = measured;
        let what = "CPU µs per answer";
        assert_eq!(cells[5], line(["redirect", what, "nginx", value, ratio, bar, standing]));
        let what = "events a second";
        assert_eq!(cells[6], line(["aggregator", what, "", "2000000", "", "≥ 1000000", "met"]));
        let why = "not measured: nginx: ended";
        assert_eq!(cells[7], line(["redirect", "CPU µs per answer", "nginx", "", "", bar, why]));
        assert_eq!(cells.len(), 8);
    }
}
