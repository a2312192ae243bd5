//! The gateway and its peers side by side: short rounds, interleaved, on the same CPU, so that
//! whatever else the machine does meets all of them.

mod bars;
mod cases;
mod criterion;
mod idle;
mod table;

use std::io;
use std::time::Duration;

use serde::Serialize;

use crate::args::{CompareArgs, LoadArgs};
use crate::background::Background;
use crate::bar;
use crate::cli::{Places, print, progress, say, write_json};
use crate::engine::{self, Digests, Pace, Settings};
use crate::machine::calls::Calls;
use crate::machine::cpus;
use crate::machine::usage::{Memory, Usage};
use crate::origin::Origin;
use crate::plan::Plan;
use crate::report::Outcome;
use crate::run::check_tls;
use crate::scenario::{Scenario, Shape};
use crate::start::{self, Started};
use crate::statistics::Median;
use crate::target::{Counted, Job, Kind, Target};
use cases::{Case, Metric, WORKERS_RATE, Way};

/// One load, on all.
#[derive(Debug, Serialize)]
pub struct Comparison {
    /// What was done, and how.
    pub case: String,
    /// Jobs a second, in an open loop.
    pub rate: Option<f64>,
    /// The gateway, then its peers.
    pub sides: Vec<Side>,
    /// What has to be said beside the figures.
    pub remarks: Vec<String>,
}

/// One of those compared.
#[derive(Debug, Serialize)]
pub struct Side {
    /// Who.
    pub name: &'static str,
    /// Each valid round's figures.
    pub rounds: Vec<Round>,
    /// What it comes to.
    pub figures: Vec<Figure>,
    /// System calls per good answer, of a round of its own, and who counted them.
    pub calls: Option<(f64, &'static str)>,
    /// Rounds that do not count, and why.
    pub void: Vec<Void>,
    /// Before the first round.
    pub idle: Memory,
    /// CPU time between the rounds and after them, per good answer of all of them, in microseconds:
    /// a part of what each round cost.
    pub between_us: f64,
    /// What it had used when the round before ended.
    #[serde(skip)]
    after_round: Option<Usage>,
    /// What was used between rounds.
    #[serde(skip)]
    between: Usage,
}

/// A round that does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Void {
    /// Which.
    pub round: usize,
    /// Why.
    pub why: String,
    /// Whether something was wrong with who was measured, and not with the measurement.
    pub is_wrong: bool,
}

/// What is compared.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figure {
    /// What it is.
    pub metric: Metric,
    /// This side's.
    pub value: Option<Median>,
    /// The gateway's over this side's, round by round.
    pub ratio: Option<Median>,
    /// The most that may be.
    pub bar: Option<f64>,
    /// Whether the median is not above it; not known where more than half of the rounds are void.
    pub is_met: Option<bool>,
}

/// One round of one side.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[allow(missing_docs, reason = "each is the figure that it is called by")]
pub struct Round {
    pub number: usize,
    pub cpu_us: f64,
    pub user_us: f64,
    pub system_us: f64,
    pub cpu_ms_per_gib: f64,
    pub switches: f64,
    pub helpers: u64,
    pub per_second: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    pub p99_9_us: f64,
    pub idle_bytes: f64,
    pub peak_bytes: u64,
    pub is_saturated: bool,
    pub load_percent: f64,
    pub unfolded: u64,
    pub answers: f64,
}

/// Whether all answers were good and counted. That a bar is missed is a result like others, and so is a load
/// that was at its limit.
pub fn run(args: &CompareArgs) -> io::Result<bool> {
    let places = Places::of(&args.load)?;
    cpus::keep_to(&[places.load])?;
    let Some(scenario) = args.scenario else { return all(args, &places) };
    let case = Case::of(scenario, args);
    let comparison = compare(&case, args, &places)?;
    print(&comparison.text(&case))?;
    let is_right = comparison.is_right();
    if let Some(file) = &args.json {
        write_json(file, &[comparison])?;
    }
    Ok(is_right)
}

/// Everything that has a bar, and at its end the table of all bars. What cannot be measured takes nothing else with
/// it: its rows say why, and the outcome is false.
fn all(args: &CompareArgs, places: &Places) -> io::Result<bool> {
    let mut is_right = true;
    let mut rows = criterion::rows(args.criterion.as_deref());
    let load = LoadArgs { packages: start::PACKAGES, ..args.load.clone() };
    let kinds = start::kinds(&args.gateway, args.alone);
    let started = Started::measure(&kinds, &load, None, places, args.rounds);
    match &started {
        Ok(started) => print(&started.text())?,
        Err(problem) => {
            say(&format!("start: {problem}"))?;
            is_right = false;
        }
    }
    rows.push(Started::row(&started));
    let mut comparisons = Vec::new();
    let mut remarks = String::new();
    for case in Case::all(&args.load) {
        let measured = compare(&case, args, places);
        rows.extend(bars::rows(&case, &args.gateway, &measured));
        match measured {
            Ok(comparison) => {
                print(&comparison.text(&case))?;
                is_right &= comparison.is_right();
                for remark in &comparison.remarks {
                    remarks += &format!("{}: {remark}\n", comparison.case);
                }
                comparisons.push(comparison);
            }
            Err(problem) => {
                say(&format!("{}: {problem}", case.words()))?;
                is_right = false;
            }
        }
        if let Some(file) = &args.json {
            write_json(file, &comparisons)?;
        }
    }
    rows.extend(bars::elsewhere());
    print(&(bar::all(&rows) + &remarks))?;
    Ok(is_right)
}

/// What the rounds of a case have in common.
struct Bench<'a> {
    case: &'a Case,
    origin: &'a Origin,
    /// Of who is measured.
    cpus: Vec<usize>,
    plan: Plan,
    pace: Pace,
}

fn compare(case: &Case, args: &CompareArgs, places: &Places) -> io::Result<Comparison> {
    let load = &case.load;
    check_tls(case.scenario, load)?;
    let (cpus, pace) = match case.way {
        Way::TwoWorkers if case.scenario != Scenario::Redirect => {
            return Err(io::Error::other("--two-workers is for `redirect`"));
        }
        Way::TwoWorkers => (places.two().to_vec(), Pace::Open(WORKERS_RATE)),
        Way::Closed | Way::Open => (places.target.clone(), Pace::Closed),
    };
    let origin = if load.upstream_tls {
        Origin::start_tls(places.load, &[load.size])?
    } else {
        Origin::start(places.load, &[load.size])?
    };
    let delivery = load.delivery.unwrap_or_else(|| case.scenario.delivery());
    let shape = Shape {
        packages: load.packages,
        delivery,
        origin: Some(&origin.url),
        blob_bytes: load.size,
        keep_alive: !load.close,
    };
    let plan = case.scenario.plan(&shape);
    let mut bench = Bench { case, origin: &origin, cpus, plan, pace };
    let peers = match &*args.peers {
        _ if args.alone => Vec::new(),
        [] => case.peers(&args.gateway),
        named => named.iter().map(|peer| peer.kind()).collect(),
    };
    let kinds: Vec<Kind> =
        [Kind::Pullgate(args.gateway.clone())].into_iter().chain(peers).collect();
    if case.scenario == Scenario::Idle {
        return idle::compare(&bench, &kinds, args.rounds);
    }
    let start = |kind| Target::start(kind, &bench.job(kind));
    let targets: Vec<Target> = kinds.iter().map(start).collect::<io::Result<_>>()?;
    let mut sides: Vec<Side> = targets.iter().map(Side::new).collect::<io::Result<_>>()?;
    // Warm, proven to work, and counted.
    for (target, side) in targets.iter().zip(&mut sides) {
        side.calls = bench.calls(target)?;
    }
    if case.way == Way::Open {
        bench.pace = Pace::Open(bench.rate(&targets)?);
    }
    targets.iter().try_for_each(Target::hold)?;
    for number in 1..=args.rounds {
        // Whoever comes first has another one before them each time.
        for step in 0..targets.len() {
            let index = (number + step) % targets.len();
            let (target, side) = (&targets[index], &mut sides[index]);
            target.go_on()?;
            side.begin_round(target)?;
            match bench.round(number, target)? {
                Ok(round) => side.rounds.push(round),
                Err(void) => side.void.push(void),
            }
            side.after_round = Some(Usage::of(target.id())?);
            target.hold()?;
        }
    }
    for (target, side) in targets.iter().zip(&mut sides) {
        target.go_on()?;
        if target.is_gateway() {
            rest(target)?;
        }
        side.begin_round(target)?;
        side.share();
    }
    let rate = if let Pace::Open(rate) = bench.pace { Some(rate) } else { None };
    let mut comparison = Comparison::new(case, &kinds, sides, rate, args.rounds);
    if let (Way::TwoWorkers, [_, second]) = (case.way, &*bench.cpus) {
        comparison.remarks.push(second_worker(*second, places.load));
    }
    Ok(comparison)
}

/// Which of `all` CPUs `kind` has: one worker has one.
fn cpus_of<'a>(kind: &Kind, all: &'a [usize]) -> &'a [usize] {
    if matches!(kind, Kind::OneWorker(_)) { &all[..1] } else { all }
}

/// Where the second worker was.
fn second_worker(second: usize, load: usize) -> String {
    if second == load {
        format!(
            "The second worker shares CPU {second} with the load: what they take from each other, of caches and \
             of time, is in its figure."
        )
    } else {
        format!("The second worker has CPU {second} for itself.")
    }
}

impl Bench<'_> {
    /// What `kind` has to do, and where.
    fn job(&self, kind: &Kind) -> Job<'_> {
        let Case { scenario, load, .. } = self.case;
        load.job(*scenario, self.origin, cpus_of(kind, &self.cpus))
    }

    fn settings(&self, target: &Target, pace: Pace) -> Settings {
        let Case { scenario, load, way } = self.case;
        // Long enough for a thousandth to be many, or for several large bodies.
        let default = match (way, *scenario == Scenario::StreamBlob) {
            (Way::Open, _) => Duration::from_secs(3),
            (_, true) => Duration::from_secs(2),
            (_, false) => Duration::from_secs(1),
        };
        let duration = load.duration.unwrap_or(default);
        let pace = if *scenario == Scenario::PullStorm { Pace::Once } else { pace };
        // A digest costs the load more than the body costs who serves it.
        let digests = Digests::None;
        let tls = target.tls.clone();
        Settings { duration, digests, tls, ..load.settings(target.address, pace) }
    }

    /// System calls per good answer, in a short round of their own behind one in which all digests are looked at.
    fn calls(&self, target: &Target) -> io::Result<Option<(f64, &'static str)>> {
        let settings = self.settings(target, self.pace);
        let settings = Settings { duration: CALLS_TIME, digests: Digests::All, ..settings };
        let recorded = engine::run(&self.plan, &settings, &mut progress(target.name))?;
        if recorded.answers == 0 || !recorded.faults.is_empty() {
            let faults: Vec<String> = recorded.faults.keys().map(ToString::to_string).collect();
            let name = target.name;
            return Err(io::Error::other(format!("{name} does not answer: {}", faults.join(", "))));
        }
        let calls = match Calls::start(target.id()) {
            Ok(calls) => calls,
            Err(problem) => {
                say(&format!("system calls are not counted: {problem}"))?;
                return Ok(None);
            }
        };
        let settings = Settings { digests: Digests::None, ..settings };
        let recorded = engine::run(&self.plan, &settings, &mut progress(target.name))?;
        let tool = calls.tool();
        let calls = calls.stop()?;
        crate::pause(SETTLE_TIME);
        Ok(Some((calls as f64 / recorded.answers.max(1) as f64, tool)))
    }

    /// 70 % of what the slower one beside the gateway can do; with nobody there, of what it can.
    fn rate(&self, targets: &[Target]) -> io::Result<f64> {
        let peers = if targets.len() > 1 { &targets[1..] } else { targets };
        let mut slowest = f64::INFINITY;
        for target in peers {
            let mut peaks = Vec::new();
            for _ in 0..PEAK_ROUNDS {
                let settings = self.settings(target, Pace::Closed);
                let recorded = engine::run(&self.plan, &settings, &mut progress(target.name))?;
                peaks.push(recorded.answers as f64 / recorded.elapsed.as_secs_f64());
                // What was counted of this is not the first round's.
                crate::pause(SETTLE_TIME);
            }
            slowest = slowest.min(Median::of(&peaks).map_or(f64::INFINITY, |peak| peak.value));
        }
        Ok((0.7 * slowest).floor().max(1.0))
    }

    /// One round, or why it does not count.
    fn round(&self, number: usize, target: &Target) -> io::Result<Result<Round, Void>> {
        let settings = self.settings(target, self.pace);
        let id = target.id();
        let counted_before = target.counted()?;
        let background = if target.is_unchanged {
            None
        } else {
            Background::start(self.case.scenario, target, self.case.load.slow)?
        };
        let before = Usage::of(id)?;
        let watched = format!("{}, {}, round {number}", self.case.scenario.as_str(), target.name);
        let origin_before = self.origin.used()?;
        let mut recorded = engine::run(&self.plan, &settings, &mut progress(&watched))?;
        // It is on the load's CPU.
        recorded.cpu += self.origin.used()?.saturating_sub(origin_before);
        let went_on = background.map(Background::finish).transpose();
        // What is done behind the answers belongs to their cost: counts are folded and written.
        crate::pause(SETTLE_TIME);
        let used = (Usage::of(id)?.since(before), Memory::of(id)?);
        let counted = target.counted()?;
        let scenario = self.case.scenario.as_str();
        let outcome = Outcome::new(scenario, target.name, &settings, &recorded, Some(used));
        let void = |why, is_wrong| Ok(Err(Void { round: number, why, is_wrong }));
        if let Err(problem) = went_on {
            return void(format!("what went on beside the load has ended: {problem}"), false);
        }
        if !outcome.is_good() {
            return void(format!("not all answers were good: {:?}", outcome.faults), true);
        }
        if let Some(why) = is_miscounted(counted_before, counted, recorded.counted) {
            return void(why, true);
        }
        let kept = outcome.rate.map_or(1.0, |rate| outcome.per_second / rate);
        if let Some(why) = is_another_load(self.case.way, outcome.is_saturated, kept) {
            return void(why.to_owned(), false);
        }
        let unfolded = |counted: Option<Counted>| counted.map_or(0, |counted| counted.unfolded);
        let unfolded = unfolded(counted) - unfolded(counted_before);
        Ok(Ok(Round { unfolded, ..Round::of(number, &outcome) }))
    }
}

impl Round {
    fn of(number: usize, outcome: &Outcome) -> Self {
        let Some(cost) = &outcome.cost else { return Self { number, ..Self::default() } };
        let gibibytes = outcome.body_bytes as f64 / f64::from(1 << 30);
        let latency = outcome.latency;
        Self {
            number,
            cpu_us: cost.cpu_us,
            user_us: cost.user_us,
            system_us: cost.system_us,
            cpu_ms_per_gib: cost.cpu_us * outcome.answers as f64 / 1e3 / gibibytes,
            switches: cost.switches,
            helpers: cost.helpers,
            per_second: outcome.per_second,
            p50_us: latency.p50,
            p99_us: latency.p99,
            p99_9_us: latency.p99_9,
            idle_bytes: 0.0,
            peak_bytes: cost.memory.peak,
            is_saturated: outcome.is_saturated,
            load_percent: outcome.own_cpu_percent,
            unfolded: 0,
            answers: outcome.answers as f64,
        }
    }

    fn figure(&self, metric: Metric) -> f64 {
        match metric {
            Metric::CpuPerAnswer => self.cpu_us,
            Metric::CpuPerGib => self.cpu_ms_per_gib,
            Metric::P99 => self.p99_us,
            Metric::P99_9 => self.p99_9_us,
            Metric::IdleBytes => self.idle_bytes,
        }
    }
}

impl Side {
    fn new(target: &Target) -> io::Result<Self> {
        Ok(Self { idle: Memory::of(target.id())?, ..Self::of(target.name, Vec::new()) })
    }

    fn of(name: &'static str, rounds: Vec<Round>) -> Self {
        Self {
            name,
            rounds,
            figures: Vec::new(),
            calls: None,
            void: Vec::new(),
            idle: Memory::default(),
            between_us: 0.0,
            after_round: None,
            between: Usage::default(),
        }
    }

    /// Notes what was used since the round before: what is put off there is done now.
    fn begin_round(&mut self, target: &Target) -> io::Result<()> {
        if let Some(after) = self.after_round.take() {
            self.between += Usage::of(target.id())?.since(after);
        }
        Ok(())
    }

    /// Lays what was used between the rounds on all of them, by their answers.
    fn share(&mut self) {
        let answers: f64 = self.rounds.iter().map(|round| round.answers).sum();
        self.between_us = self.between.cpu.as_secs_f64() * 1e6 / answers.max(1.0);
        let user = self.between.user_part();
        for round in &mut self.rounds {
            let before = round.cpu_us;
            round.cpu_us += self.between_us;
            round.user_us += self.between_us * user;
            round.system_us += self.between_us * (1.0 - user);
            round.cpu_ms_per_gib *= round.cpu_us / before;
        }
    }

    /// `gateway` are the gateway's rounds: each is set against this side's of the same number.
    fn figure(
        &self,
        case: &Case,
        kind: &Kind,
        metric: Metric,
        (gateway, asked): (&[Round], usize),
    ) -> Figure {
        let is_enough = |many: usize| many * 2 > asked;
        let values: Vec<f64> = self.rounds.iter().map(|round| round.figure(metric)).collect();
        let value = Median::of(&values);
        if matches!(kind, Kind::Pullgate(_)) {
            let bar = case.bound(metric);
            let known = value.filter(|_| is_enough(values.len()));
            let is_met = bar.zip(known).map(|(bar, value)| value.value <= bar);
            return Figure { metric, value, ratio: None, bar, is_met };
        }
        let ratio = |round: &Round| {
            let theirs = self.rounds.iter().find(|one| one.number == round.number)?;
            Some(round.figure(metric) / theirs.figure(metric))
        };
        let ratios: Vec<f64> = gateway.iter().filter_map(ratio).collect();
        let ratio = Median::of(&ratios);
        let bar = case.bar(metric, kind);
        let known = ratio.filter(|_| is_enough(ratios.len()));
        let is_met = bar.zip(known).map(|(bar, ratio)| ratio.value <= bar);
        Figure { metric, value, ratio, bar, is_met }
    }
}

impl Comparison {
    /// `asked`: how many rounds there were, void ones included.
    fn new(
        case: &Case,
        kinds: &[Kind],
        mut sides: Vec<Side>,
        rate: Option<f64>,
        asked: usize,
    ) -> Self {
        let gateway = sides.first().map(|side| side.rounds.clone()).unwrap_or_default();
        for (side, kind) in sides.iter_mut().zip(kinds) {
            let figure = |metric: &Metric| side.figure(case, kind, *metric, (&gateway, asked));
            side.figures = case.metrics().iter().map(figure).collect();
        }
        Self { case: case.words(), rate, sides, remarks: Vec::new() }
    }

    /// Whether all answers were good and counted.
    fn is_right(&self) -> bool {
        !self.sides.iter().flat_map(|side| &side.void).any(|round| round.is_wrong)
    }
}

/// Why the load was not the one that is spoken of, if it was not; `kept` is the part of its rate that there was.
fn is_another_load(way: Way, is_saturated: bool, kept: f64) -> Option<&'static str> {
    match way {
        Way::Open if is_saturated => {
            Some("the load was at its own limit: the latencies were its own")
        }
        Way::TwoWorkers if is_saturated || kept < RATE_KEPT => {
            Some("the load did not keep the rate, so that several were answered at a time")
        }
        Way::Closed | Way::Open | Way::TwoWorkers => None,
    }
}

/// Why what was stored between two looks is not what was answered, if it is not.
fn is_miscounted(before: Option<Counted>, after: Option<Counted>, answered: u64) -> Option<String> {
    let (before, after) = before.zip(after)?;
    let is_right = before.requests.checked_add(answered) == Some(after.requests);
    (!is_right).then(|| {
        let (before, after) = (before.requests, after.requests);
        format!("{before} were counted before and {after} after it, {answered} answered in it")
    })
}

/// Waits until what the gateway has put off is done: until it uses hardly any time for a while, longer
/// than it puts anything off.
fn rest(target: &Target) -> io::Result<()> {
    let (mut quiet, mut waited) = (Duration::ZERO, Duration::ZERO);
    while quiet < QUIET_TIME && waited < REST_TIME_MAX {
        let before = Usage::of(target.id())?;
        crate::pause(SETTLE_TIME);
        waited += SETTLE_TIME;
        let used = Usage::of(target.id())?.since(before).cpu;
        quiet = if used > SETTLE_TIME / 50 { Duration::ZERO } else { quiet + SETTLE_TIME };
    }
    Ok(())
}

/// Counts go to the gateway's store once a minute.
const QUIET_TIME: Duration = Duration::from_secs(62);
const REST_TIME_MAX: Duration = Duration::from_secs(150);
/// They are written to its journal every second.
const SETTLE_TIME: Duration = Duration::from_millis(1200);
const CALLS_TIME: Duration = Duration::from_millis(500);
const PEAK_ROUNDS: usize = 5;
/// The part of a rate from which it was kept: the last answers come a little after the load's end.
const RATE_KEPT: f64 = 0.95;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_counts_only_if_what_is_stored_is_what_was_answered() {
        let counted = |requests| Some(Counted { requests, unfolded: 0 });
        assert_eq!(is_miscounted(counted(7), counted(12), 5), None);
        // Peers count nothing.
        assert_eq!(is_miscounted(None, None, 5), None);
        for (before, after) in [(7, 11), (7, 13), (12, 7)] {
            let why = is_miscounted(counted(before), counted(after), 5).unwrap();
            assert!(why.contains("5 answered"), "{why}");
        }
    }

    #[test]
    fn rounds_are_set_against_each_other_and_too_few_say_nothing() {
        let case = Case::all(&cases::load()).remove(0);
        let round = |number: usize, cpu_us: f64| Round { number, cpu_us, ..Round::default() };
        let kinds = [Kind::Pullgate("pullgate".into()), Kind::Nginx];
        let compared = |asked| {
            // The second of nginx's is void: the gateway's second is set against nothing.
            let ours = Side::of("pullgate", vec![round(1, 8.0), round(2, 1.0), round(3, 9.0)]);
            let theirs = Side::of("nginx", vec![round(1, 10.0), round(3, 10.0)]);
            let compared = Comparison::new(&case, &kinds, vec![ours, theirs], None, asked);
            let figure = &compared.sides[1].figures[0];
            (figure.ratio.unwrap().low, figure.ratio.unwrap().high, figure.is_met)
        };
        assert_eq!(compared(3), (0.8, 0.9, Some(true)));
        assert_eq!(compared(4), (0.8, 0.9, None));
    }

    #[test]
    fn one_worker_has_the_first_cpu_of_two_and_where_the_second_was_is_said() {
        let program = || "pullgate".into();
        assert_eq!(cpus_of(&Kind::OneWorker(program()), &[4, 5]), [4]);
        assert_eq!(cpus_of(&Kind::Pullgate(program()), &[4, 5]), [4, 5]);
        assert!(second_worker(1, 1).contains("shares CPU 1 with the load"));
        assert!(second_worker(1, 3).contains("CPU 1 for itself"));
    }

    #[test]
    fn a_load_at_its_limit_has_latencies_of_its_own_and_costs_what_it_costs() {
        assert_eq!(is_another_load(Way::Closed, true, 1.0), None);
        assert_eq!(is_another_load(Way::Open, false, 0.9), None);
        assert!(is_another_load(Way::Open, true, 1.0).unwrap().contains("its own limit"));
        assert_eq!(is_another_load(Way::TwoWorkers, false, 0.99), None);
        for (is_saturated, kept) in [(true, 1.0), (false, 0.9)] {
            let why = is_another_load(Way::TwoWorkers, is_saturated, kept);
            assert!(why.unwrap().contains("did not keep the rate"));
        }
    }

    #[test]
    fn a_missed_bar_is_no_wrong_answer_and_neither_is_a_load_at_its_limit() {
        let compared = |is_wrong| {
            let mut side = Side::of("pullgate", Vec::new());
            side.void.push(Void { round: 1, why: String::new(), is_wrong });
            let case = "redirect".to_owned();
            Comparison { case, rate: None, sides: vec![side], remarks: Vec::new() }
        };
        assert!(compared(false).is_right());
        assert!(!compared(true).is_right());
    }
}
