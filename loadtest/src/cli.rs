//! The commands.

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use serde::Serialize;

use crate::args::{Cli, Command, LoadArgs, Peer, RunArgs};
use crate::compare;
use crate::engine::{self, Digests, Glimpse, Pace, Settings};
use crate::machine::usage::{Memory, Usage};
use crate::machine::{cpus, limits};
use crate::report::{Outcome, number};
use crate::target::packages::Delivery;
use crate::target::{Job, Kind, Target};

/// Does what the command line says. Status 0 when all was well, 1 with words on standard error when
/// not, 2 when the command line makes no sense.
pub fn main() -> ExitCode {
    limits::raise_descriptors();
    let outcome = match Cli::parse().command {
        Command::Run(args) => run(&args),
        Command::Compare(args) => compare::run(&args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(problem) => {
            let _ = writeln!(io::stderr(), "loadtest: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every answer was as it should be.
fn run(args: &RunArgs) -> io::Result<bool> {
    let places = Places::of(&args.load)?;
    let kind = match (&args.who.gateway, args.who.peer) {
        (Some(program), _) => Some(Kind::Pullgate(program.clone())),
        (_, Some(peer)) => Some(peer.kind()),
        (None, None) => None,
    };
    let job = Job {
        delivery: Delivery::Redirect,
        packages: args.load.packages,
        origin: ORIGIN.to_owned(),
        cpus: places.target.clone(),
        gateway_keys: String::new(),
    };
    let target = kind.map(|kind| Target::start(&kind, &job)).transpose()?;
    let address = target.as_ref().map(|target| target.address).or(args.who.target);
    let address = address.ok_or_else(|| io::Error::other("nobody to ask"))?;
    let name = target.as_ref().map_or_else(|| address.to_string(), |target| target.name.clone());
    let id = target.as_ref().map(Target::id).or(args.pid);
    let origin = target.as_ref().map(|_| ORIGIN);
    let plan = args.scenario.plan(args.load.packages, origin, !args.load.close);
    cpus::keep_to(&[places.load])?;
    let paces = match &*args.rate {
        [] => vec![Pace::Closed],
        rates => rates.iter().copied().map(Pace::Open).collect(),
    };
    let mut outcomes = Vec::new();
    for pace in paces {
        let settings = args.load.settings(address, pace);
        let before = id.map(Usage::of).transpose()?;
        let recorded = engine::run(&plan, &settings, &mut progress(&name))?;
        let used = match (id, before) {
            (Some(id), Some(before)) => Some((Usage::of(id)?.since(before), Memory::of(id)?)),
            _ => None,
        };
        let outcome = Outcome::new(args.scenario.as_str(), &name, &settings, &recorded, used);
        print(&outcome.to_string())?;
        outcomes.push(outcome);
    }
    if let Some(file) = &args.json {
        write_json(file, &outcomes)?;
    }
    Ok(outcomes.iter().all(Outcome::is_good))
}

/// Who runs on which CPUs.
pub struct Places {
    /// The load.
    pub load: usize,
    /// What is started.
    pub target: Vec<usize>,
}

impl Places {
    /// As the command line says; left out, the target has the first CPU and the load the last.
    pub fn of(args: &LoadArgs) -> io::Result<Self> {
        let allowed = cpus::allowed();
        let first = allowed.first().copied().unwrap_or(0);
        let load = args.load_cpu.or_else(|| allowed.last().copied()).unwrap_or(0);
        let target = match &*args.target_cpus {
            [] => vec![first],
            named => named.to_vec(),
        };
        if target.contains(&load) {
            say(&format!(
                "the load and the target share CPU {load}: figures are worth little (--load-cpu, \
                 --target-cpus)"
            ))?;
        }
        Ok(Self { load, target })
    }
}

impl LoadArgs {
    /// The load on `address`.
    pub fn settings(&self, address: std::net::SocketAddr, pace: Pace) -> Settings {
        let each =
            if self.close { self.connections.max(SOURCES_CLOSING) } else { self.connections };
        let default = if address.ip().is_loopback() && address.is_ipv4() { each } else { 0 };
        Settings {
            address,
            connections: self.connections,
            pipeline: self.pipeline,
            keep_alive: !self.close,
            pace,
            duration: self.duration,
            patience: self.patience,
            digests: Digests::All,
            sources: self.sources.unwrap_or(default),
        }
    }
}

impl Peer {
    /// What is started for it.
    pub fn kind(self) -> Kind {
        match self {
            Self::Nginx => Kind::Nginx,
            Self::Haproxy => Kind::Haproxy,
        }
    }
}

/// A line that is written over and over, where a person watches.
pub fn progress(name: &str) -> impl FnMut(&Glimpse) {
    let shown = io::stderr().is_terminal().then(|| name.to_owned());
    move |glimpse| {
        let Some(name) = &shown else { return };
        let Glimpse { point, answers, faults } = glimpse;
        let _ = write!(
            io::stderr(),
            "\r\x1b[K{name}: {:.0} s, {} answers a second, p99 {} µs; {answers} in all, {faults} \
             faults\r",
            point.at_s,
            number(point.per_second),
            number(point.p99_us),
        );
    }
}

/// Says something to a person who waits.
pub fn say(words: &str) -> io::Result<()> {
    writeln!(io::stderr(), "{words}")
}

/// Prints a result. A reader that has seen enough (`| head`) is no failure.
pub fn print(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(problem) if problem.kind() != io::ErrorKind::BrokenPipe => Err(problem),
        _ => Ok(()),
    }
}

/// Writes a result.
pub fn write_json(file: &Path, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    fs::write(file, text + "\n")
        .map_err(|problem| io::Error::other(format!("{}: {problem}", file.display())))
}

/// Where packages live whose clients are redirected: nobody is asked there.
pub const ORIGIN: &str = "http://127.0.0.1:9";
/// With a connection for each request, an address' ports do not suffice for long.
const SOURCES_CLOSING: usize = 1024;
