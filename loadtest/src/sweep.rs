//! `loadtest sweep`: the highest rate at which latency stays under a bound.

use std::io;
use std::time::Duration;

use crate::args::SweepArgs;
use crate::cli::{Places, print, write_json};
use crate::engine::Pace;
use crate::machine::cpus;
use crate::report::{Outcome, number};
use crate::run::Subject;

/// Whether there is such a rate.
pub fn run(args: &SweepArgs) -> io::Result<bool> {
    let places = Places::of(&args.load)?;
    cpus::keep_to(&[places.load])?;
    let subject = Subject::start(args.scenario, &args.who, args.pid, &args.load, &places)?;
    let bound = args.p99.as_secs_f64() * 1e6;
    let mut steps: Vec<Outcome> = Vec::new();
    let mut search = Search::new(args.from);
    while let Some(rate) = search.next_rate() {
        let load = &args.load;
        let load =
            crate::args::LoadArgs { duration: load.duration.or(Some(STEP_TIME)), ..load.clone() };
        let outcome = subject.load(args.scenario, &load, Pace::Open(rate))?;
        let holds = outcome.is_good() && p99(&outcome) <= bound;
        print(&format!(
            "{:>10} a second: p99 {:>10} µs, target CPU {}, own CPU {:.0} %: {}\n",
            number(rate),
            number(p99(&outcome)),
            outcome
                .cost
                .map_or_else(|| "not known".to_owned(), |it| format!("{:.0} %", it.cpu_percent)),
            outcome.own_cpu_percent,
            if holds { "holds" } else { "too much" },
        ))?;
        search.learn(rate, holds);
        steps.push(outcome);
    }
    let limit = match search.highest {
        Some(rate) => format!("highest rate with p99 ≤ {} µs: {} a second\n", bound, number(rate)),
        None => format!("not even {} a second keeps p99 ≤ {bound} µs\n", number(args.from)),
    };
    print(&limit)?;
    let is_ours = |step: &Outcome| step.is_saturated && step.rate > search.highest;
    if steps.iter().any(is_ours) {
        print("The load was at its own limit in the steps above it: the target may do more.\n")?;
    }
    if let Some(file) = &args.json {
        write_json(file, &steps)?;
    }
    Ok(search.highest.is_some())
}

/// Of jobs, where these are several requests.
fn p99(outcome: &Outcome) -> f64 {
    outcome.jobs.map_or(outcome.latency.p99, |jobs| jobs.latency.p99)
}

/// Doubles the rate until it is too much, then halves what lies between.
struct Search {
    next: f64,
    /// That holds.
    highest: Option<f64>,
    /// That is too much.
    lowest: Option<f64>,
}

impl Search {
    fn new(from: f64) -> Self {
        Self { next: from, highest: None, lowest: None }
    }

    fn next_rate(&self) -> Option<f64> {
        match (self.highest, self.lowest) {
            (None, Some(_)) => None,
            (Some(highest), Some(lowest)) if lowest / highest < CLOSE_ENOUGH => None,
            _ => Some(self.next),
        }
    }

    fn learn(&mut self, rate: f64, holds: bool) {
        if holds {
            self.highest = Some(rate);
        } else {
            self.lowest = Some(rate);
        }
        self.next = match (self.highest, self.lowest) {
            (Some(highest), Some(lowest)) => f64::midpoint(highest, lowest).round(),
            _ => rate * 2.0,
        };
    }
}

const STEP_TIME: Duration = Duration::from_secs(3);
const CLOSE_ENOUGH: f64 = 1.05;

#[cfg(test)]
mod tests {
    use super::*;

    fn found(limit: f64) -> Option<f64> {
        let mut search = Search::new(1000.0);
        let mut steps = 0;
        while let Some(rate) = search.next_rate() {
            search.learn(rate, rate <= limit);
            steps += 1;
            assert!(steps < 30);
        }
        search.highest
    }

    #[test]
    fn the_limit_is_found_from_below() {
        for limit in [1000.0, 1024.0, 33_333.0, 250_000.0] {
            let found = found(limit).unwrap();
            assert!(found <= limit && found > limit / CLOSE_ENOUGH, "{limit}: {found}");
        }
        assert_eq!(found(999.0), None);
    }
}
