//! Programs that run beside a test and end with it.

use std::fs::{self, File};
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
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("a log file");
        command.stdin(Stdio::null());
        command
            .stdout(out.try_clone().expect("a second handle"))
            .stderr(out);
        let child = command
            .spawn()
            .unwrap_or_else(|problem| panic!("{name}: {problem}"));
        Self {
            child,
            name,
            log: log.to_owned(),
        }
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

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        // Asked first, so that a daemon ends what it started; a test that failed waits not long.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let began = Instant::now();
        while !self.has_ended() && began.elapsed() < FAREWELL {
            pause();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `command` to its end and returns what it wrote to standard output. Panics with all its
/// words if it fails or takes a minute.
pub fn run(command: &Command) -> String {
    attempt(command).unwrap_or_else(|words| panic!("{words}"))
}

/// Like [`run`], but returns the words of a failure.
pub fn attempt(command: &Command) -> Result<String, String> {
    let mut timed = Command::new("timeout");
    timed
        .args(["--kill-after=5", "60"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        timed.env(name, value.unwrap_or_default());
    }
    let output = timed
        .output()
        .map_err(|problem| format!("{command:?}: {problem}"))?;
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(out);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?}: {}\n{out}{words}", output.status))
}

/// The path of a program that `tests/setup.sh` installs. Panics with what to do if it is not there.
pub fn installed(name: &str) -> PathBuf {
    ["/usr/bin", "/usr/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is not installed; run `sh tests/setup.sh` as root"))
}

/// How long a program may take to end when it is asked to at the end of a test.
const FAREWELL: Duration = Duration::from_secs(5);
