//! `loadtest start`: how long the gateway and its peers take from being started until they listen.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::args::{LoadArgs, StartArgs};
use crate::bar::{Bar, Row};
use crate::cli::{Places, print};
use crate::machine::cpus;
use crate::origin::Origin;
use crate::report::table;
use crate::scenario::Scenario;
use crate::statistics::Median;
use crate::target::{Job, Kind, Target};

/// Starts each of them in turn, round by round.
pub fn run(args: &StartArgs) -> io::Result<bool> {
    let places = Places::of(&args.load)?;
    cpus::keep_to(&[places.load])?;
    let data = args.data.as_deref();
    // Until all is measured: a copy is made for each start.
    let _lock = data.map(lock).transpose()?;
    let kinds = kinds(&args.gateway, args.alone);
    let started = Started::measure(&kinds, &args.load, data, &places, args.rounds)?;
    print(&started.text())?;
    Ok(true)
}

/// Who is started.
pub fn kinds(gateway: &Path, is_alone: bool) -> Vec<Kind> {
    let mut kinds = vec![Kind::Pullgate(gateway.to_owned())];
    if !is_alone {
        kinds.extend([Kind::Nginx, Kind::Haproxy]);
    }
    kinds
}

/// How long each took until it listened.
pub struct Started {
    packages: usize,
    rounds: usize,
    /// The gateway, then its peers, in milliseconds.
    sides: Vec<(&'static str, Option<Median>)>,
}

impl Started {
    /// Starts each of `kinds` in turn; a gateway finds a copy of `data`.
    pub fn measure(
        kinds: &[Kind],
        load: &LoadArgs,
        data: Option<&Path>,
        places: &Places,
        rounds: usize,
    ) -> io::Result<Self> {
        let origin = Origin::start(places.load, &[])?;
        let job = Job { data, ..load.job(Scenario::Redirect, &origin, &places.target) };
        let mut took = vec![Vec::new(); kinds.len()];
        for _ in 0..rounds {
            for (kind, took) in kinds.iter().zip(&mut took) {
                took.push(ms(Target::start(kind, &job)?.started_in));
            }
        }
        let sides = kinds.iter().zip(&took).map(|(kind, took)| (kind.as_str(), Median::of(took)));
        Ok(Self { packages: load.packages, rounds, sides: sides.collect() })
    }

    /// As a table. The bar is one of so many packages.
    pub fn text(&self) -> String {
        let mut rows = vec![["", WHAT, "bar"].map(str::to_owned).to_vec()];
        for (index, (name, took)) in self.sides.iter().enumerate() {
            let told = took.map_or_else(String::new, |median| median.to_string());
            let is_held_to_it = index == 0 && self.packages == PACKAGES;
            let bar = if is_held_to_it {
                format!("{BAR} {}", BAR.standing(*took))
            } else {
                String::new()
            };
            rows.push(vec![(*name).to_owned(), told, bar]);
        }
        format!("\n{}, {} rounds\n\n{}", case(self.packages), self.rounds, table(&rows))
    }

    /// How the gateway stands to the bar, or why that is not known.
    pub fn row(measured: &io::Result<Self>) -> Row {
        let row = Row::new(&case(PACKAGES), WHAT, "", BAR);
        match measured {
            Ok(started) => match started.sides.first() {
                Some((_, Some(took))) => row.measured(*took, None),
                _ => row.not_measured("there were no rounds"),
            },
            Err(problem) => row.not_measured(&problem.to_string()),
        }
    }
}

fn case(packages: usize) -> String {
    format!("start, {packages} packages")
}

/// Takes a data directory as a gateway takes it (flock(2) of `lock`), beside others who only read: while
/// one runs on it, a copy is of no one moment.
fn lock(data: &Path) -> io::Result<Option<File>> {
    let told = |what: String| io::Error::other(format!("--data {}: {what}", data.display()));
    let file = match File::open(data.join("lock")) {
        Ok(file) => file,
        // No gateway was ever there.
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(problem) => return Err(told(format!("lock: {problem}"))),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::WOULDBLOCK) => Err(told(
            "a gateway is running on it, and what is copied meanwhile is of no one moment; stop it, or \
             unpack what `pullgate backup` writes"
                .to_owned(),
        )),
        Err(problem) => Err(told(format!("it cannot be locked: {problem}"))),
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

const WHAT: &str = "ms until it listens";
/// The gateway is to listen within so many milliseconds with [`PACKAGES`].
const BAR: Bar = Bar::Most(100.0);
/// Of the bar.
pub const PACKAGES: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn started(packages: usize, took: &[f64]) -> Started {
        let sides = vec![("pullgate", Median::of(took)), ("nginx", Median::of(&[200.0]))];
        Started { packages, rounds: took.len(), sides }
    }

    #[test]
    fn the_gateway_alone_is_held_to_the_bar_and_with_so_many_packages() {
        let text = started(PACKAGES, &[70.0, 80.0, 116.0]).text();
        let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap();
        assert!(line("pullgate").contains("80 (70 – 116)"), "{text}");
        assert!(line("pullgate").contains("≤ 100 met, just"), "{text}");
        assert!(line("nginx").contains("200") && !line("nginx").contains('≤'), "{text}");
        assert!(started(PACKAGES, &[130.0]).text().contains("≤ 100 MISSED"));
        assert!(!started(1000, &[130.0]).text().contains('≤'));
    }

    #[test]
    fn the_table_of_all_bars_has_it_or_says_why_not() {
        let row = Started::row(&Ok(started(PACKAGES, &[130.0])));
        assert_eq!((row.value, &*row.standing), (Some(Median::exact(130.0)), "MISSED"));
        let row = Started::row(&Err(io::Error::other("haproxy: no such file")));
        assert_eq!(row.standing, "not measured: haproxy: no such file");
        assert_eq!(row.case, "start, 10000 packages");
    }
}
