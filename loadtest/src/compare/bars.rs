//! A comparison's rows of the table of all bars.

use std::io;
use std::path::Path;

use super::{Case, Comparison, Figure, Median, Metric, Side};
use crate::bar::{Bar, Row};

/// What the gateway may take whatever others need.
pub(super) struct Gate {
    /// Of what, and who counted it.
    pub(super) what: String,
    /// What it took.
    pub(super) value: Option<Median>,
    /// What it may.
    pub(super) bar: Bar,
    /// How it stands to that.
    pub(super) standing: &'static str,
}

/// Those of `case`, and how `ours`, the gateway's side, stands to them.
pub(super) fn gates(case: &Case, ours: Option<&Side>) -> Vec<Gate> {
    let is_enough = ours.is_some_and(|side| side.rounds.len() > side.void.len());
    let gate = |what: &str, value: Option<Median>, bar: f64| {
        let bar = Bar::Most(bar);
        let standing = bar.standing(value.filter(|_| is_enough));
        Gate { what: what.to_owned(), value, bar, standing }
    };
    let mut gates = Vec::new();
    if let Some([calls, user_us]) = case.gates() {
        let bar = Bar::Most(calls);
        let what = "system calls per answer";
        gates.push(match ours.and_then(|side| side.calls) {
            Some((counted, tool)) => {
                let value = Some(Median::exact(counted));
                let what = format!("{what}, by {tool}");
                Gate { what, value, bar, standing: bar.standing(value) }
            }
            None => {
                let standing = "not measured: neither perf nor strace could count them";
                Gate { what: what.to_owned(), value: None, bar, standing }
            }
        });
        let user = ours.and_then(|side| side.median(|round| round.user_us));
        gates.push(gate("user µs per answer", user, user_us));
    }
    if let Some(most) = case.helpers_max() {
        let helpers = ours.and_then(|side| side.rounds.iter().map(|round| round.helpers).max());
        let value = helpers.map(|helpers| Median::exact(helpers as f64));
        gates.push(gate("helper threads of the ring", value, most as f64));
    }
    gates
}

/// A row for each bar of `case`, met or not, measured or not.
pub(super) fn rows(case: &Case, gateway: &Path, measured: &io::Result<Comparison>) -> Vec<Row> {
    let (sides, why) = match measured {
        Ok(comparison) => (&*comparison.sides, "nobody stood beside it".to_owned()),
        Err(problem) => (&[][..], problem.to_string()),
    };
    let row = |what: &str, beside: &str, bar: Bar| Row::new(&case.words(), what, beside, bar);
    let ours = sides.first();
    let of = |side: &Side, metric| side.figures.iter().find(|it| it.metric == metric).copied();
    let figure = |metric: Metric, beside: &str, bar: f64, figure: Option<Figure>| {
        let row = row(metric.heading(), beside, Bar::Most(bar));
        let value = ours.and_then(|side| of(side, metric)?.value);
        match figure.and_then(|it| Some((it.ratio, it.bar()?))) {
            Some((ratio, (_, standing))) => {
                Row { value, ratio, standing: standing.to_owned(), ..row }
            }
            None => row.not_measured(&why),
        }
    };
    let mut rows = Vec::new();
    for metric in case.metrics().iter().copied() {
        if let Some(bar) = case.bound(metric) {
            rows.push(figure(metric, "", bar, ours.and_then(|side| of(side, metric))));
        }
        for peer in case.peers(gateway) {
            if let Some(bar) = case.bar(metric, &peer) {
                let theirs = sides.iter().find(|side| side.name == peer.as_str());
                let theirs = theirs.and_then(|side| of(side, metric));
                rows.push(figure(metric, peer.as_str(), bar, theirs));
            }
        }
    }
    for Gate { what, value, bar, standing } in gates(case, ours) {
        let row = row(&what, "", bar);
        rows.push(match measured {
            Ok(_) => Row { value, standing: standing.to_owned(), ..row },
            Err(_) => row.not_measured(&why),
        });
    }
    rows
}

/// Those of what is not measured here.
pub(super) fn elsewhere() -> impl Iterator<Item = Row> {
    ELSEWHERE
        .into_iter()
        .map(|(case, what, bar, how)| Row::new(case, what, "", Bar::Most(bar)).not_measured(how))
}

const ELSEWHERE: [(&str, &str, f64, &str); 2] = [
    ("redirect", "allocations per answer", 0.0, "cargo test --test no_alloc"),
    ("a snapshot of 100,000 packages, swapped", "slowest answer, ms", 5.0, "docs/performance.md"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Round, cases};
    use crate::target::Kind;

    fn cases() -> Vec<Case> {
        Case::all(&cases::load())
    }

    /// What stands beside a figure, what it came to, and how that stands to its bar.
    fn said(rows: &[Row]) -> Vec<String> {
        let told = |median: Option<Median>| median.map_or_else(String::new, |it| it.to_string());
        let line = |row: &Row| {
            let Row { what, beside, value, ratio, bar, standing, .. } = row;
            let (value, ratio) = (told(*value), told(*ratio));
            format!("{what} | {beside} | {value} | {ratio} | {bar} | {standing}")
        };
        rows.iter().map(line).collect()
    }

    fn compared(case: &Case, kinds: &[Kind], sides: Vec<Side>, asked: usize) -> Vec<String> {
        let compared = Comparison::new(case, kinds, sides, None, asked);
        said(&rows(case, Path::new("pullgate"), &Ok(compared)))
    }

    #[test]
    fn each_bar_is_a_row_with_who_it_is_set_against() {
        let case = &cases()[0];
        let round = |number, cpu_us, user_us| Round { number, cpu_us, user_us, ..Round::default() };
        let of = |name, cpu_us: [f64; 3]| {
            let rounds = cpu_us.iter().zip(1..).map(|(cpu_us, number)| round(number, *cpu_us, 1.5));
            Side::of(name, rounds.collect())
        };
        let kinds = [Kind::Pullgate("pullgate".into()), Kind::Nginx, Kind::Haproxy];
        let sides = || {
            let mut ours = of("pullgate", [8.0, 8.0, 8.0]);
            ours.calls = Some((0.08, "perf"));
            vec![ours, of("nginx", [10.0, 10.0, 8.0]), of("haproxy", [8.0, 8.0, 8.0])]
        };
        let told = compared(case, &kinds, sides(), 3);
        let expected = [
            "CPU µs per answer | nginx | 8 | 0.80 (0.80 – 1) | ≤ 0.87 | met, just",
            "CPU µs per answer | haproxy | 8 | 1 | ≤ 0.87 | MISSED",
            "system calls per answer, by perf |  | 0.08 |  | ≤ 0.10 | met",
            "user µs per answer |  | 1.50 |  | ≤ 1 | MISSED",
        ];
        assert_eq!(told, expected);
        // Half of the rounds were void, nobody counts calls, and haproxy was not there.
        let mut sides = sides();
        sides[0].calls = None;
        sides.pop();
        let told = compared(case, &kinds[..2], sides, 6);
        let expected = [
            "CPU µs per answer | nginx | 8 | 0.80 (0.80 – 1) | ≤ 0.87 | too few rounds",
            "CPU µs per answer | haproxy |  |  | ≤ 0.87 | not measured: nobody stood beside it",
            "system calls per answer |  |  |  | ≤ 0.10 | \
             not measured: neither perf nor strace could count them",
            "user µs per answer |  | 1.50 |  | ≤ 1 | MISSED",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_the_gateway_is_held_to_by_itself_is_a_row_too() {
        let kinds = [Kind::Pullgate("pullgate".into())];
        let of = |rounds: &[Round]| vec![Side::of("pullgate", rounds.to_vec())];
        let cases = cases();
        let idle = cases.iter().find(|case| case.metrics() == [Metric::IdleBytes]).unwrap();
        let round = Round { number: 1, idle_bytes: 900.0, ..Round::default() };
        let told = compared(idle, &kinds, of(&[round]), 1);
        assert_eq!(told, ["bytes per connection |  | 900 |  | ≤ 1024 | met"]);
        let stream = cases.iter().find(|case| case.helpers_max().is_some()).unwrap();
        let rounds = [0, 2].map(|helpers| Round { number: 1, helpers, ..Round::default() });
        let told = compared(stream, &kinds, of(&rounds), 2);
        assert_eq!(told.last().unwrap(), "helper threads of the ring |  | 2 |  | ≤ 0 | MISSED");
    }

    #[test]
    fn what_cannot_be_measured_is_in_the_table_with_the_reason() {
        let count = |measured: &dyn Fn() -> io::Result<Comparison>, case: &Case| {
            rows(case, Path::new("pullgate"), &measured()).len()
        };
        for case in cases() {
            let failed = || Err(io::Error::other("nginx: no such file\nand more"));
            let rows = rows(&case, Path::new("pullgate"), &failed());
            assert!(!rows.is_empty(), "{}", case.words());
            for row in &rows {
                assert_eq!(row.standing, "not measured: nginx: no such file", "{}", case.words());
                assert_eq!(row.case, case.words());
            }
            let empty = || Ok(Comparison::new(&case, &[], Vec::new(), None, 1));
            assert_eq!(count(&empty, &case), rows.len(), "{}", case.words());
        }
    }
}
