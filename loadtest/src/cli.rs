//! The commands.

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use serde::Serialize;

use crate::args::{BareDriver, Cli, Command, ConfigArgs, LoadArgs, Peer};
use crate::engine::{Digests, Glimpse, Pace, Settings};
use crate::machine::{cpus, limits};
use crate::origin::{self, Origin};
use crate::report::number;
use crate::scenario::Scenario;
use crate::target::{Job, Kind, packages};
use crate::{bare, compare, doctor, run, start, sweep};

/// Does what the command line says. Status 0 when all was well, 1 with words on standard error when
/// not, 2 when the command line makes no sense.
pub fn main() -> ExitCode {
    limits::raise_descriptors();
    let outcome = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Sweep(args) => sweep::run(&args),
        Command::Start(args) => start::run(&args),
        Command::Doctor => doctor::run(),
        Command::Config(args) => config(&args),
        Command::Bare(args) => bare::serve(&args),
        Command::Origin(args) => origin::serve(args.listen, &args.size).map(|()| true),
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

fn config(args: &ConfigArgs) -> io::Result<bool> {
    print(&packages::gateway(args.packages, args.delivery, &args.origin, ""))?;
    Ok(true)
}

/// Who runs on which CPUs.
pub struct Places {
    /// The load.
    pub load: usize,
    /// What is started.
    pub target: Vec<usize>,
    /// What a second worker would have.
    second: usize,
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
        let second = second(&allowed, &target, load);
        Ok(Self { load, target, second })
    }

    /// The target's first CPU, and one for a second worker: the load's where there is no other.
    pub fn two(&self) -> [usize; 2] {
        [self.target.first().copied().unwrap_or(0), self.second]
    }
}

/// The second CPU of `target`; where it has one only, another of those `allowed`, the load's last.
fn second(allowed: &[usize], target: &[usize], load: usize) -> usize {
    let is_free = |cpu: &&usize| **cpu != load && !target.contains(cpu);
    target.get(1).or_else(|| allowed.iter().find(is_free)).copied().unwrap_or(load)
}

impl LoadArgs {
    /// The load on `address`.
    pub fn settings(&self, address: SocketAddr, pace: Pace) -> Settings {
        let each =
            if self.close { self.connections.max(SOURCES_CLOSING) } else { self.connections };
        let default = if address.ip().is_loopback() && address.is_ipv4() { each } else { 0 };
        Settings {
            address,
            connections: self.connections,
            pipeline: self.pipeline,
            keep_alive: !self.close,
            pace,
            duration: self.duration.unwrap_or(DURATION),
            patience: self.patience,
            digests: Digests::All,
            sources: self.sources.unwrap_or(default),
            tls: None,
            streams: self.http2,
        }
    }

    /// What whoever is started for `scenario` has to do, kept to `cpus`. A gateway finds no data.
    pub fn job<'a>(&self, scenario: Scenario, origin: &'a Origin, cpus: &'a [usize]) -> Job<'a> {
        Job {
            delivery: self.delivery.unwrap_or_else(|| scenario.delivery()),
            packages: self.packages,
            origin,
            driver: self.driver,
            resolves: self.resolve,
            tls: self.tls,
            http2: self.http2.is_some(),
            cpus,
            data: None,
        }
    }
}

impl Peer {
    /// What is started for it.
    pub fn kind(self) -> Kind {
        match self {
            Self::Nginx => Kind::Nginx,
            Self::NginxUnbuffered => Kind::NginxUnbuffered,
            Self::Haproxy => Kind::Haproxy,
            Self::BareEpoll => Kind::Bare(BareDriver::Epoll),
            Self::BareRing => Kind::Bare(BareDriver::IoUring),
        }
    }
}

/// A line that is written over and over, where a person watches, and wiped at the end.
pub fn progress(name: &str) -> impl FnMut(&Glimpse) {
    let line = io::stderr().is_terminal().then(|| Line(name.to_owned()));
    move |glimpse| {
        if let Some(line) = &line {
            line.show(glimpse);
        }
    }
}

struct Line(String);

impl Line {
    fn show(&self, glimpse: &Glimpse) {
        let Glimpse { point, answers, faults } = glimpse;
        let _ = write!(
            io::stderr(),
            "{WIPE}{}: {:.0} s, {} answers a second, p99 {} µs; {answers} in all, {faults} faults",
            self.0,
            point.at_s,
            number(point.per_second),
            number(point.p99_us),
        );
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = write!(io::stderr(), "{WIPE}");
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

/// Writes a result as JSON.
pub fn write_json(file: &Path, value: &impl Serialize) -> io::Result<()> {
    write(file, &(serde_json::to_string_pretty(value)? + "\n"))
}

/// Writes a result.
pub fn write(file: &Path, text: &str) -> io::Result<()> {
    fs::write(file, text)
        .map_err(|problem| io::Error::other(format!("{}: {problem}", file.display())))
}

/// To the line's first column, and erase to its end (ECMA-48, EL).
const WIPE: &str = "\r\x1b[K";
/// Of a step, if nothing else is said.
const DURATION: Duration = Duration::from_secs(10);
/// With a connection for each request, an address' ports do not suffice for long.
const SOURCES_CLOSING: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_worker_shares_a_cpu_with_the_load_only_where_there_is_no_other() {
        assert_eq!(second(&[0, 1], &[0], 1), 1);
        assert_eq!(second(&[0, 1, 2, 3], &[0], 3), 1);
        assert_eq!(second(&[0, 1, 2, 3], &[1], 0), 2);
        assert_eq!(second(&[0, 1, 2, 3], &[0, 2], 3), 2);
        assert_eq!(second(&[5], &[5], 5), 5);
    }
}
