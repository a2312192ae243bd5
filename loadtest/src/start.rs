//! `loadtest start`: how long the gateway and its peers take from being started until they listen.

use std::io;
use std::time::Duration;

use crate::args::StartArgs;
use crate::cli::{Places, print};
use crate::machine::cpus;
use crate::origin::Origin;
use crate::report::{number, table};
use crate::scenario::Scenario;
use crate::statistics::Median;
use crate::target::{Job, Kind, Target};

/// Starts each of them in turn, round by round.
pub fn run(args: &StartArgs) -> io::Result<bool> {
    let places = Places::of(&args.load)?;
    cpus::keep_to(&[places.load])?;
    let origin = Origin::start(places.load, &[])?;
    let load = &args.load;
    let job = Job {
        delivery: load.delivery.unwrap_or_else(|| Scenario::Redirect.delivery()),
        packages: load.packages,
        origin: &origin,
        driver: load.driver,
        resolves: load.resolve,
        tls: load.tls,
        http2: load.http2.is_some(),
        cpus: &places.target,
        data: args.data.as_deref(),
    };
    let mut kinds = vec![Kind::Pullgate(args.gateway.clone())];
    if !args.alone {
        kinds.extend([Kind::Nginx, Kind::Haproxy]);
    }
    let mut took = vec![Vec::new(); kinds.len()];
    for _ in 0..args.rounds {
        for (kind, took) in kinds.iter().zip(&mut took) {
            took.push(ms(Target::start(kind, &job)?.started_in));
        }
    }
    let mut rows = vec![vec![String::new(), "ms until it listens".to_owned()]];
    for (kind, took) in kinds.iter().zip(&took) {
        let told = Median::of(took).map_or_else(String::new, |median| {
            let Median { value, low, high } = median;
            format!("{} ({} – {})", number(value), number(low), number(high))
        });
        rows.push(vec![kind.as_str().to_owned(), told]);
    }
    print(&format!("\n{} packages, {} rounds\n\n{}", load.packages, args.rounds, table(&rows)))?;
    Ok(true)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
