//! The `pullgate` program: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    pullgate::cli::main()
}
