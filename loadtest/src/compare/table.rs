//! A comparison as a table.

use super::{Case, Comparison, Figure, Median, Metric, Round, Side};
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
        let is_enough = self.sides.first().is_some_and(|it| it.rounds.len() > it.void.len());
        if let (Some([calls, user_us]), Some(gateway)) = (case.gates(), self.sides.first()) {
            let user = gateway.median(|round| round.user_us);
            let told = user.map_or_else(|| "an unknown number of".to_owned(), number);
            text += &format!(
                "Whatever others need: {} ({}), {} µs in user space ({}).\n",
                gateway.calls.map_or_else(
                    || "an unknown number of system calls".to_owned(),
                    |(it, tool)| format!("{} system calls, by {tool}", number(it)),
                ),
                said(calls, gateway.calls.map(|(it, _)| it <= calls)),
                told,
                said(user_us, user.filter(|_| is_enough).map(|user| user <= user_us)),
            );
        }
        if let (Some(most), Some(gateway)) = (case.helpers_max(), self.sides.first()) {
            let helpers = gateway.rounds.iter().map(|round| round.helpers).max().unwrap_or(0);
            let said = said(most as f64, is_enough.then_some(helpers <= most));
            text += &format!("Helper threads of the ring: {helpers} ({said}).\n");
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
        text
    }
}

impl Figure {
    fn cells(&self) -> [String; 3] {
        let median = |median: Option<Median>| match median {
            Some(Median { value, low, high }) => {
                format!("{} ({} – {})", number(value), number(low), number(high))
            }
            None => String::new(),
        };
        let bar = match (self.bar, self.is_met) {
            (Some(bar), Some(is_met)) => {
                // The next run may say otherwise.
                let is_near = |it: Median| it.low <= bar && bar < it.high;
                let just =
                    if self.ratio.or(self.value).is_some_and(is_near) { ", just" } else { "" };
                said(bar, Some(is_met)) + just
            }
            (Some(bar), None) => said(bar, None) + " too few rounds",
            (None, _) => String::new(),
        };
        [median(self.value), median(self.ratio), bar]
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
        self.median(figure).map_or_else(|| "–".to_owned(), as_text)
    }

    fn median(&self, figure: impl Fn(&Round) -> f64) -> Option<f64> {
        let figures: Vec<f64> = self.rounds.iter().map(figure).collect();
        Median::of(&figures).map(|median| median.value)
    }
}

/// A bar, and whether it was met, where that is known.
fn said(bar: f64, is_met: Option<bool>) -> String {
    let met = is_met.map_or("", |is_met| if is_met { " met" } else { " MISSED" });
    format!("≤ {}{met}", number(bar))
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
