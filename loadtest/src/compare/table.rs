//! A comparison as a table.

use super::{Case, Comparison, Figure, Median, Metric, Round, Side, bars};
use crate::bar::Bar;
use crate::report::{number, table};

impl Comparison {
    pub(super) fn text(&self, case: &Case) -> String {
        let metrics = case.metrics();
        let is_idle = metrics == [Metric::IdleBytes];
        let mut heading = vec![String::new()];
        for metric in metrics {
            heading.push(metric.heading().to_owned());
            heading.push("pullgate ÷ this".to_owned());
            heading.push("bar".to_owned());
        }
        let more: &[&str] = if is_idle { &IDLE_COLUMNS } else { &COLUMNS };
        heading.extend(more.iter().map(|name| (*name).to_owned()));
        let mut rows = vec![heading];
        for side in &self.sides {
            let mut row = vec![side.name.to_owned()];
            side.figures.iter().for_each(|figure| row.extend(figure.cells()));
            row.extend(if is_idle { side.idle_cells() } else { side.cells() });
            rows.push(row);
        }
        let rate = self.rate.map_or_else(String::new, |it| format!(": {} a second", number(it)));
        let mut text = format!("\n{}{rate}\n\n{}", self.case, table(&rows));
        for gate in bars::gates(case, self.sides.first()) {
            let value = gate.value.map_or_else(|| "not known".to_owned(), |it| it.to_string());
            let bars::Gate { what, bar, standing, .. } = gate;
            text += &format!("Whatever others need: {what}: {value} ({bar} {standing}).\n");
        }
        for side in &self.sides {
            for why in &side.void {
                text += &format!("VOID: {}, round {}: {}\n", side.name, why.round, why.why);
            }
        }
        if let Some(gateway) = self.sides.first()
            && gateway.rounds.iter().any(|round| round.unfolded > 0)
        {
            let sum = |figure: fn(&Round) -> f64| gateway.rounds.iter().map(figure).sum::<f64>();
            let share = 100.0 * sum(|round| round.unfolded as f64) / sum(|round| round.answers);
            text += &format!(
                "Of the gateway's answers {share:.0} % were counted by package alone: there were too many to \
                 fold.\n"
            );
        }
        if self.sides.iter().flat_map(|side| &side.rounds).any(|round| round.is_saturated) {
            text += "The load was at its own limit in some rounds: what is a second says little, \
                     CPU holds.\n";
        }
        for remark in &self.remarks {
            text += &format!("{remark}\n");
        }
        text
    }
}

impl Figure {
    fn cells(&self) -> [String; 3] {
        let told = |median: Option<Median>| median.map_or_else(String::new, |it| it.to_string());
        let bar =
            self.bar().map_or_else(String::new, |(bar, standing)| format!("{bar} {standing}"));
        [told(self.value), told(self.ratio), bar]
    }

    /// How it stands to its bar.
    pub(super) fn bar(&self) -> Option<(Bar, &'static str)> {
        let bar = Bar::Most(self.bar?);
        let measured = self.ratio.or(self.value).filter(|_| self.is_met.is_some());
        Some((bar, bar.standing(measured)))
    }
}

impl Side {
    /// Beside what is compared; as [`COLUMNS`] says.
    fn cells(&self) -> Vec<String> {
        vec![
            self.told(|it| format!("{it:.2}"), |round| round.user_us),
            self.told(|it| format!("{it:.2}"), |round| round.system_us),
            self.calls.map_or_else(|| "not known".to_owned(), |(calls, _)| format!("{calls:.3}")),
            self.told(|it| format!("{it:.4}"), |round| round.switches),
            self.told(number, |round| round.per_second),
            self.told(number, |round| round.p50_us),
            self.told(number, |round| round.p99_9_us),
            mebibytes(self.idle.anonymous),
            self.peak(),
            self.told(|it| format!("{it:.0} %"), |round| round.load_percent),
            self.rounds.len().to_string(),
        ]
    }

    /// As [`IDLE_COLUMNS`] says.
    fn idle_cells(&self) -> Vec<String> {
        vec![mebibytes(self.idle.anonymous), self.peak(), self.rounds.len().to_string()]
    }

    /// Of all rounds.
    fn peak(&self) -> String {
        let peaks = self.rounds.iter().map(|round| round.peak_bytes);
        peaks.max().map_or_else(|| "–".to_owned(), mebibytes)
    }

    /// The median of its rounds, if there is one.
    fn told(&self, as_text: impl Fn(f64) -> String, figure: impl Fn(&Round) -> f64) -> String {
        self.median(figure).map_or_else(|| "–".to_owned(), |median| as_text(median.value))
    }

    pub(super) fn median(&self, figure: impl Fn(&Round) -> f64) -> Option<Median> {
        let figures: Vec<f64> = self.rounds.iter().map(figure).collect();
        Median::of(&figures)
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

const COLUMNS: [&str; 11] = [
    "user µs",
    "system µs",
    "calls",
    "switches",
    "a second",
    "p50 µs",
    "p99.9 µs",
    "own memory at first",
    "peak",
    "load's CPU",
    "rounds",
];
const IDLE_COLUMNS: [&str; 3] = ["own memory at first", "peak", "rounds"];
