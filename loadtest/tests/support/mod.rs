//! What tests of several files start.

use std::env;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The first result of `loadtest run`, for a third of a second, whose answers were all as they should be.
pub(crate) fn run(arguments: &[&str]) -> Value {
    let room = tempfile::tempdir().expect("a temporary directory");
    let file = room.path().join("result.json");
    let mut command = loadtest(&["run"]);
    command.args(["--duration=300ms", "--packages=20", "--json"]).arg(&file).args(arguments);
    if !arguments.iter().any(|argument| argument.starts_with("--connections")) {
        command.arg("--connections=4");
    }
    let output = command.output().expect("it runs");
    let words = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&words));
    let result: Value = serde_json::from_slice(&fs::read(file).expect("a result")).expect("JSON");
    result[0].clone()
}

pub(crate) fn loadtest(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(arguments);
    command
}

/// The gateway's program: `PULLGATE` names it; left out, it is the one built beside this test.
pub(crate) fn pullgate() -> PathBuf {
    let beside = || Path::new(env!("CARGO_BIN_EXE_loadtest")).with_file_name("pullgate");
    let program = env::var_os("PULLGATE").map_or_else(beside, PathBuf::from);
    assert!(
        program.exists(),
        "{}: no such program: `cargo build` in the repository's root, or set PULLGATE",
        program.display()
    );
    program
}

/// An address of 127.0.0.1 that nobody listens on.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    listener.local_addr().expect("its address")
}
