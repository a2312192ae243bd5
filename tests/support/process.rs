//! Programs that run beside a test and end with it.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::eventually::{eventually, pause};

/// A program under way. Dropping it ends it.
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it says goes to `log`.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let name = format!("{command:?}");
        let out = File::options().create(true).append(true).open(log).expect("a log file");
        command.stdin(Stdio::null());
        command.stdout(out.try_clone().expect("a second handle")).stderr(out);
        let child = command.spawn().unwrap_or_else(|problem| panic!("{name}: {problem}"));
        Self { child, name, log: log.to_owned() }
    }

    /// Waits until `is_ready` says so. Panics with the program's own words if it ends before.
    pub fn wait_ready(&mut self, mut is_ready: impl FnMut() -> Result<(), String>) {
        eventually(|| {
            if let Some(status) = self.child.try_wait().expect("its status") {
                panic!("{} ended with {status}:\n{}", self.name, self.words());
            }
            is_ready().map_err(|words| format!("{words}; {} says:\n{}", self.name, self.words()))
        });
    }

    /// Sends `signal`.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|problem| panic!("{}: {problem}", self.name));
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        eventually(|| match self.child.try_wait().expect("its status") {
            Some(status) => Ok(status),
            None => Err(format!("{} still runs:\n{}", self.name, self.words())),
        })
    }

    /// What it wrote so far.
    pub fn words(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // Asked first, so that a daemon ends what it started.
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            within(FAREWELL_TIME, &mut self.child);
        }
    }
}

/// Runs `command` to its end and returns what it wrote to standard output. Panics with all its
/// words if it fails or takes too long.
pub fn run(command: &mut Command) -> String {
    attempt(command).unwrap_or_else(|words| panic!("{words}"))
}

/// Like [`run`], but returns the words of a failure.
pub fn attempt(command: &mut Command) -> Result<String, String> {
    let (mut out, mut err) = (scratch(), scratch());
    command.stdin(Stdio::null());
    command.stdout(out.try_clone().expect("a second handle"));
    command.stderr(err.try_clone().expect("a second handle"));
    let mut child = command.spawn().map_err(|problem| format!("{command:?}: {problem}"))?;
    let ended = within(RUN_TIME, &mut child);
    let status = ended.map_or_else(|| "took too long".to_owned(), |status| status.to_string());
    let out = text(&mut out);
    match ended {
        Some(status) if status.success() => Ok(out),
        Some(_) | None => Err(format!("{command:?}: {status}\n{out}{}", text(&mut err))),
    }
}

/// Waits for `child`, and ends it when it takes longer than `time`.
fn within(time: Duration, child: &mut Child) -> Option<ExitStatus> {
    let began = Instant::now();
    while began.elapsed() < time {
        if let Some(status) = child.try_wait().expect("its status") {
            return Some(status);
        }
        pause();
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn scratch() -> File {
    tempfile::tempfile().expect("a temporary file")
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("what it wrote");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Prometheus' own check of a page of metrics finds nothing wrong.
pub fn passes_promtool(metrics: &str) {
    let mut promtool = Command::new(installed("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    let mut stdin = promtool.stdin.take().expect("its standard input");
    stdin.write_all(metrics.as_bytes()).expect("promtool reads");
    drop(stdin);
    let outcome = promtool.wait_with_output().expect("its verdict");
    let words = String::from_utf8_lossy(&outcome.stdout) + String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success() && words.is_empty(), "{words}\n{metrics}");
}

/// The path of a program that `tests/setup.sh` installs. Panics with what to do if it is not there.
pub fn installed(name: &str) -> PathBuf {
    ["/usr/bin", "/usr/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is not installed; run `sh tests/setup.sh` as root"))
}

/// How long a client may take.
const RUN_TIME: Duration = Duration::from_secs(180);
/// How long a program may take to end when it is asked to.
const FAREWELL_TIME: Duration = Duration::from_secs(5);
