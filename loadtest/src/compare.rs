//! The gateway and its peers side by side: short rounds, interleaved, on the same CPU, so that
//! whatever else the machine does meets all of them.

use std::io;
use std::time::Duration;

use serde::Serialize;

use crate::args::{CompareArgs, LoadArgs, Peer};
use crate::cli::{ORIGIN, Places, print, progress, say, write_json};
use crate::engine::{self, Pace};
use crate::machine::calls::Calls;
use crate::machine::cpus;
use crate::machine::usage::{Memory, Usage};
use crate::plan::Plan;
use crate::report::{Cost, Outcome, number, table};
use crate::scenario::Scenario;
use crate::statistics::Median;
use crate::target::packages::Delivery;
use crate::target::{Job, Kind, Target};

/// One load, on all.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// What was done, and how.
    pub case: String,
    /// The gateway, then its peers.
    pub sides: Vec<Side>,
}

/// One of those compared.
#[derive(Debug, Serialize)]
pub struct Side {
    /// Who.
    pub name: String,
    /// Each valid round's figures.
    pub rounds: Vec<Round>,
    /// CPU per good answer, in microseconds.
    pub cpu_us: Option<Median>,
    /// The gateway's over this one's, round by round.
    pub ratio: Option<Median>,
    /// System calls per good answer, of a round of its own.
    pub calls: Option<f64>,
    /// Rounds that do not count, and why.
    pub void: Vec<String>,
    /// Before the first round.
    pub idle: Memory,
}

/// One round of one side.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Round {
    /// Which.
    pub number: usize,
    /// What it cost.
    pub cost: Cost,
    /// Good answers a second.
    pub per_second: f64,
    /// In microseconds.
    pub p99_us: f64,
    /// Whether the load was at its own limit.
    pub is_saturated: bool,
}

/// Whether all rounds were valid.
pub fn run(args: &CompareArgs) -> io::Result<bool> {
    let places = Places::of(&args.load)?;
    let scenario = args.scenario.unwrap_or(Scenario::Redirect);
    cpus::keep_to(&[places.load])?;
    let comparison = compare(scenario, args, &places)?;
    print(&comparison.text())?;
    if let Some(file) = &args.json {
        write_json(file, &[&comparison])?;
    }
    Ok(comparison.sides.iter().all(|side| side.void.is_empty()))
}

fn compare(scenario: Scenario, args: &CompareArgs, places: &Places) -> io::Result<Comparison> {
    let load = &args.load;
    let job = Job {
        delivery: Delivery::Redirect,
        packages: load.packages,
        origin: ORIGIN.to_owned(),
        cpus: places.target.clone(),
        gateway_keys: String::new(),
    };
    let peers = match &*args.peers {
        [] => vec![Peer::Nginx, Peer::Haproxy],
        named => named.to_vec(),
    };
    let kinds = [Kind::Pullgate(args.gateway.clone())];
    let kinds = kinds.into_iter().chain(peers.into_iter().map(Peer::kind));
    let targets: Vec<Target> =
        kinds.map(|kind| Target::start(&kind, &job)).collect::<io::Result<_>>()?;
    let plan = scenario.plan(load.packages, Some(ORIGIN), !load.close);
    let case = case(scenario, load);
    let mut sides = Vec::new();
    for target in &targets {
        sides.push(Side::new(target)?);
    }
    // Warm, proven to work, and counted.
    for (target, side) in targets.iter().zip(&mut sides) {
        side.calls = calls(target, &plan, load)?;
    }
    for number in 1..=args.rounds {
        // Whoever comes first has another one before them each time.
        for step in 0..targets.len() {
            let index = (number + step) % targets.len();
            let (target, side) = (&targets[index], &mut sides[index]);
            match round(number, scenario, target, &plan, load)? {
                Ok(round) => side.rounds.push(round),
                Err(why) => side.void.push(format!("round {number}: {why}")),
            }
        }
    }
    let gateway = sides[0].rounds.clone();
    sides.iter_mut().for_each(|side| side.add_up(&gateway));
    Ok(Comparison { case, sides })
}

/// One round, or why it does not count.
fn round(
    number: usize,
    scenario: Scenario,
    target: &Target,
    plan: &Plan,
    load: &LoadArgs,
) -> io::Result<Result<Round, String>> {
    let settings = load.settings(target.address, Pace::Closed);
    let id = target.id();
    let counted_before = target.counted()?;
    let before = Usage::of(id)?;
    let watched = format!("{}, round {number}", target.name);
    let recorded = engine::run(plan, &settings, &mut progress(&watched))?;
    // What is done behind the answers belongs to their cost: counts are folded and written.
    crate::pause(SETTLE_TIME);
    let used = (Usage::of(id)?.since(before), Memory::of(id)?);
    let counted = target.counted()?;
    let outcome = Outcome::new(scenario.as_str(), &target.name, &settings, &recorded, Some(used));
    if !outcome.is_good() {
        return Ok(Err(format!("not all answers were good: {:?}", outcome.faults)));
    }
    if let (Some(before), Some(after)) = (counted_before, counted)
        && after - before != recorded.counted
    {
        let stored = after - before;
        return Ok(Err(format!("{stored} were counted, {} answered", recorded.counted)));
    }
    let Some(cost) = outcome.cost else {
        return Ok(Err("nothing is known of its cost".to_owned()));
    };
    Ok(Ok(Round {
        number,
        cost,
        per_second: outcome.per_second,
        p99_us: outcome.latency.p99,
        is_saturated: outcome.is_saturated,
    }))
}

/// System calls per good answer, in a short round of their own.
fn calls(target: &Target, plan: &Plan, load: &LoadArgs) -> io::Result<Option<f64>> {
    let settings = load.settings(target.address, Pace::Closed);
    let settings = engine::Settings { duration: CALLS_TIME, ..settings };
    let calls = match Calls::start(target.id()) {
        Ok(calls) => Some(calls),
        Err(problem) => {
            say(&format!("system calls are not counted: {problem}"))?;
            None
        }
    };
    let recorded = engine::run(plan, &settings, &mut progress(&target.name))?;
    let calls = calls.map(Calls::stop).transpose()?;
    crate::pause(SETTLE_TIME);
    Ok(calls.map(|calls| calls as f64 / recorded.answers.max(1) as f64))
}

impl Side {
    fn new(target: &Target) -> io::Result<Self> {
        Ok(Self {
            name: target.name.clone(),
            rounds: Vec::new(),
            cpu_us: None,
            ratio: None,
            calls: None,
            void: Vec::new(),
            idle: Memory::of(target.id())?,
        })
    }

    /// `gateway` are the gateway's rounds: each is set against this side's of the same number.
    fn add_up(&mut self, gateway: &[Round]) {
        let costs: Vec<f64> = self.rounds.iter().map(|round| round.cost.cpu_us).collect();
        self.cpu_us = Median::of(&costs);
        let ratio = |round: &Round| {
            let theirs = self.rounds.iter().find(|one| one.number == round.number)?;
            Some(round.cost.cpu_us / theirs.cost.cpu_us)
        };
        self.ratio = Median::of(&gateway.iter().filter_map(ratio).collect::<Vec<f64>>());
    }

    fn median(&self, figure: impl Fn(&Round) -> f64) -> f64 {
        let figures: Vec<f64> = self.rounds.iter().map(figure).collect();
        Median::of(&figures).map_or(f64::NAN, |median| median.value)
    }
}

impl Comparison {
    fn text(&self) -> String {
        let heading = [
            "",
            "CPU µs per answer",
            "user",
            "system",
            "pullgate ÷ this",
            "calls",
            "switches",
            "answers a second",
            "p99 µs",
            "memory idle",
            "peak",
            "rounds",
        ];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        for side in &self.sides {
            let median = |median: Option<Median>| match median {
                Some(Median { value, low, high }) => format!("{value:.2} ({low:.2} – {high:.2})"),
                None => "none".to_owned(),
            };
            let mebibytes = |bytes: f64| format!("{:.1} MiB", bytes / f64::from(1 << 20));
            rows.push(vec![
                side.name.clone(),
                median(side.cpu_us),
                format!("{:.2}", side.median(|round| round.cost.user_us)),
                format!("{:.2}", side.median(|round| round.cost.system_us)),
                if side.name == "pullgate" { "1".to_owned() } else { median(side.ratio) },
                side.calls.map_or_else(|| "not known".to_owned(), |calls| format!("{calls:.3}")),
                format!("{:.4}", side.median(|round| round.cost.switches)),
                number(side.median(|round| round.per_second)),
                number(side.median(|round| round.p99_us)),
                mebibytes(side.idle.anonymous as f64),
                mebibytes(side.median(|round| round.cost.memory.peak as f64)),
                side.rounds.len().to_string(),
            ]);
        }
        let mut text = format!("{}\n\n{}", self.case, table(&rows));
        for side in &self.sides {
            for why in &side.void {
                text += &format!("VOID: {}, {why}\n", side.name);
            }
        }
        if self.sides.iter().flat_map(|side| &side.rounds).any(|round| round.is_saturated) {
            text += "The load was at its own limit in some rounds: answers a second say little, CPU \
                     per answer holds.\n";
        }
        text + "In brackets: where the median lies with 95 %. CPU is of the whole process, all \
                threads, what is done within a second behind the answers included.\n"
    }
}

fn case(scenario: Scenario, load: &LoadArgs) -> String {
    let LoadArgs { connections, pipeline, packages, .. } = load;
    let how = match (load.close, pipeline) {
        (true, _) => ", a connection for each request".to_owned(),
        (false, 1) => String::new(),
        (false, more) => format!(", {more} requests at once on each"),
    };
    format!("{}, {packages} packages, {connections} connections{how}", scenario.as_str())
}

/// Counts are written every second.
const SETTLE_TIME: Duration = Duration::from_millis(1200);
const CALLS_TIME: Duration = Duration::from_millis(500);
