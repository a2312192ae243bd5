//! Instructions per step, counted by callgrind: the same whatever else the machine is doing. Needs
//! valgrind; each step is done twice as often a second time, so that what comes before it cancels out.

use std::env;
use std::io::{self, Write as _};
use std::process::{Command, ExitCode};

#[path = "support/steps.rs"]
mod steps;

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1).skip_while(|argument| argument == "--bench");
    let told = match (arguments.next(), arguments.next().and_then(|times| times.parse().ok())) {
        (Some(step), Some(times)) => repeat(&step, times),
        _ => table(),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let _ = writeln!(io::stderr(), "instructions: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// What is counted.
fn repeat(step: &str, times: u64) -> io::Result<()> {
    let (_, steps) = steps::steps();
    let found = steps.into_iter().find(|(name, _)| *name == step);
    let (_, mut once) = found.ok_or_else(|| io::Error::other("no such step"))?;
    (0..times).for_each(|_| once());
    Ok(())
}

fn table() -> io::Result<()> {
    let (_, steps) = steps::steps();
    for (name, _) in steps {
        let per_step = (counted(name, 2 * TIMES)? - counted(name, TIMES)?) as f64 / TIMES as f64;
        writeln!(io::stdout(), "{name:>10} {per_step:8.1} instructions")?;
    }
    Ok(())
}

/// The instructions of a process that repeats a step.
fn counted(step: &str, times: u64) -> io::Result<u64> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    let output = command.arg(env::current_exe()?).args([step, &times.to_string()]).output();
    let output = output.map_err(|problem| io::Error::other(format!("valgrind: {problem}")))?;
    let words = String::from_utf8_lossy(&output.stderr);
    let collected = words.lines().find_map(|line| line.split_once("Collected : "));
    let collected = collected.and_then(|(_, number)| number.trim().parse().ok());
    collected.ok_or_else(|| io::Error::other(format!("valgrind counted nothing:\n{words}")))
}

const TIMES: u64 = 10_000;
