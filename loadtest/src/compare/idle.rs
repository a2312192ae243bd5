//! What a connection costs that waits: memory of a fresh process, before and after a burst.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::{Bench, Comparison, Round, Side, Void};
use crate::cli::progress;
use crate::engine::{self, Pace};
use crate::machine::usage::Memory;
use crate::target::{Kind, Target};

/// Every round starts everybody anew, so that there are few of the rounds that were `asked` for.
pub(super) fn compare(bench: &Bench<'_>, kinds: &[Kind], asked: usize) -> io::Result<Comparison> {
    let mut sides: Vec<Side> = Vec::new();
    let (rounds, remark) = few(asked);
    for number in 1..=rounds {
        for (index, kind) in kinds.iter().enumerate() {
            let target = Target::start(kind, &bench.job(kind))?;
            if sides.len() == index {
                sides.push(Side::new(&target)?);
            }
            match round(bench, number, &target)? {
                Ok(round) => sides[index].rounds.push(round),
                Err(why) => sides[index].void.push(Void { round: number, why, is_wrong: true }),
            }
        }
    }
    let comparison = Comparison::new(bench.case, kinds, sides, None, rounds);
    Ok(Comparison { remarks: remark.into_iter().collect(), ..comparison })
}

/// How many rounds there are, and what is to be said where that is not what was asked for.
fn few(asked: usize) -> (usize, Option<String>) {
    let remark = (asked > ROUNDS_MAX).then(|| {
        format!(
            "{ROUNDS_MAX} rounds, not {asked}: each starts everybody anew and takes more than a minute."
        )
    });
    (asked.min(ROUNDS_MAX), remark)
}

fn round(bench: &Bench<'_>, number: usize, target: &Target) -> io::Result<Result<Round, String>> {
    let settings = bench.settings(target, Pace::Once);
    // What is made once for each package and each client, and is there for whoever comes next, is not the
    // connections'. As many clients ask before, few at once, so that what they leave free is little.
    let few = bench.settings(target, Pace::Open(settings.connections as f64));
    let few = engine::Settings {
        connections: FIRST_CONNECTIONS,
        duration: FIRST_TIME,
        keep_alive: false,
        ..few
    };
    engine::run(&bench.plan, &few, &mut progress(target.name))?;
    crate::pause(if target.is_gateway() { FOLDING_TIME } else { QUIET_TIME });
    let before = Memory::of(target.id())?;
    let watched = format!("idle, {}, round {number}", target.name);
    let (recorded, held) = engine::run_and_hold(&bench.plan, &settings, &mut progress(&watched))?;
    if held.len() < settings.connections || !recorded.faults.is_empty() {
        let (stay, all) = (held.len(), settings.connections);
        return Ok(Err(format!("{stay} of {all} connections stay open: {:?}", recorded.faults)));
    }
    crate::pause(QUIET_TIME);
    let after = Memory::of(target.id())?;
    let closed = held.iter().filter(|socket| is_closed(socket)).count();
    if closed > 0 {
        return Ok(Err(format!("{closed} of {} connections were closed", settings.connections)));
    }
    let grown = after.resident as f64 - before.resident as f64;
    let idle_bytes = grown / settings.connections as f64;
    Ok(Ok(Round { number, idle_bytes, peak_bytes: after.peak, ..Round::default() }))
}

/// Whether the other side has ended it.
fn is_closed(socket: &OwnedFd) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    !matches!(recv(socket, &mut [0_u8; 1], flags), Err(Errno::AGAIN))
}

const ROUNDS_MAX: usize = 5;
const FIRST_CONNECTIONS: usize = 64;
/// As many requests are made in it as there are connections later.
const FIRST_TIME: Duration = Duration::from_secs(1);
/// After the burst: what is given back is given back by then.
const QUIET_TIME: Duration = Duration::from_secs(5);
/// The gateway knows for a minute what a client has asked for, to fold requests into pulls; then others
/// have that memory.
const FOLDING_TIME: Duration = Duration::from_secs(65);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_rounds_than_were_asked_for_are_said_to_be() {
        assert_eq!(few(3), (3, None));
        assert_eq!(few(ROUNDS_MAX), (5, None));
        let (rounds, remark) = few(15);
        assert_eq!(rounds, 5);
        assert!(remark.unwrap().starts_with("5 rounds, not 15"));
    }
}
