//! Floor 4: the command line. It composes everything, and is the only floor that sees both the
//! workers and control.

pub mod account;
pub mod adopt;
pub mod adopting;
pub mod args;
pub mod backup;
pub mod books;
pub mod certs;
pub mod check;
mod counts;
pub mod data_plane;
pub mod demo;
pub mod doctor;
pub mod drain;
pub mod elsewhere;
pub mod erase;
pub mod explain;
pub mod export;
pub mod import;
pub mod inherited;
pub mod listening;
pub mod manage;
mod plain;
pub mod progress;
pub mod pulls;
mod remote;
pub mod serve;
mod socket;
pub mod supervised;
pub mod upgrade;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use remote::Failure;

/// Does what the command line says. Status 0 when it was done, 1 with words on standard error when
/// not, 2 when the command line makes no sense.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve::run(&args.config.config, args.upgrade, args.resolver),
        Command::Check(args) => check::run(&args.config),
        Command::Demo(args) => demo::run(args),
        Command::Pulls(args) => pulls::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Import(args) => import::run(&args),
        Command::Erase(args) => erase::run(&args),
        Command::Backup(args) => backup::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Account(args) => account::run(&args),
        Command::Certs(args) => certs::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Package(args) => manage::package(args),
        Command::People(args) => manage::people(args),
        Command::Token(args) => manage::token(args),
        Command::Alert(args) => manage::alert(args),
        Command::Api(args) => manage::api(&args),
    }
}

/// Prints a result on standard output. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            fail(&format!("standard output: {error}"))
        }
        _ => ExitCode::SUCCESS,
    }
}

/// What was written to standard output as it came has ended.
fn ended(done: Result<(), Failure>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough (`| head`).
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(Failure::Output(error)) => fail(&format!("standard output: {error}")),
        Err(Failure::Words(words)) => fail(&words),
    }
}

/// Says on standard error what stands in the way.
fn fail(words: &str) -> ExitCode {
    say(words);
    ExitCode::FAILURE
}

/// Says something on standard error, if anybody can hear it.
fn say(words: &str) {
    let _ = writeln!(io::stderr(), "{words}");
}
