//! How many system calls a process makes: asked of perf(1), else of strace(1), in a round of its
//! own, because counting them costs.

use std::io;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::cpus::ends_with_us;

/// Counts system calls of a process until it is asked for them.
pub struct Calls {
    child: Child,
    tool: Tool,
}

#[derive(Clone, Copy)]
enum Tool {
    Perf,
    Strace,
}

impl Calls {
    /// Begins to count those of process `id`. The error says what would have to be installed.
    pub fn start(id: u32) -> io::Result<Self> {
        let mut problems = Vec::new();
        for tool in [Tool::Perf, Tool::Strace] {
            match Self::start_with(tool, id) {
                Ok(calls) => return Ok(calls),
                Err(problem) => problems.push(problem.to_string()),
            }
        }
        let problems = problems.join("; ");
        Err(io::Error::other(format!("neither perf nor strace can count them: {problems}")))
    }

    fn start_with(tool: Tool, id: u32) -> io::Result<Self> {
        let id = id.to_string();
        let mut command = match tool {
            Tool::Perf => {
                let mut command = Command::new("perf");
                command.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", &id]);
                command
            }
            Tool::Strace => {
                let mut command = Command::new("strace");
                command.args(["-c", "-f", "-q", "-p", &id]);
                command
            }
        };
        let program = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let named = |problem| io::Error::other(format!("{program}: {problem}"));
        let mut child = ends_with_us(&mut command).spawn().map_err(named)?;
        // It needs a moment to attach; one that cannot ends in it.
        crate::pause(ATTACH_TIME);
        if child.try_wait()?.is_some() {
            let words = io::read_to_string(child.stderr.take().ok_or(io::ErrorKind::Other)?)?;
            return Err(named(io::Error::other(
                words.lines().next().unwrap_or("ended").to_owned(),
            )));
        }
        Ok(Self { child, tool })
    }

    /// Who counts them: strace slows what it watches, perf does not.
    pub fn tool(&self) -> &'static str {
        match self.tool {
            Tool::Perf => "perf",
            Tool::Strace => "strace",
        }
    }

    /// How many there were.
    pub fn stop(mut self) -> io::Result<u64> {
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        let words = io::read_to_string(self.child.stderr.take().ok_or(io::ErrorKind::Other)?)?;
        self.child.wait()?;
        let found = match self.tool {
            Tool::Perf => perf(&words),
            Tool::Strace => strace(&words),
        };
        found.ok_or_else(|| io::Error::other(format!("no count of system calls in: {words}")))
    }
}

/// `12345,,raw_syscalls:sys_enter,…`
fn perf(words: &str) -> Option<u64> {
    let line = words.lines().find(|line| line.contains("raw_syscalls:sys_enter"))?;
    line.split(',').next()?.parse().ok()
}

/// The last line of its table: `100.00 0.5 1 12345 67 total`.
fn strace(words: &str) -> Option<u64> {
    let line = words.lines().find(|line| line.trim_end().ends_with("total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

const ATTACH_TIME: std::time::Duration = std::time::Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tools_are_understood() {
        let words = "12345,,raw_syscalls:sys_enter,1000,100.00,,\n";
        assert_eq!(perf(words), Some(12345));
        assert_eq!(perf("<not counted>,,raw_syscalls:sys_enter,0,0.00,,"), None);
        let words = "strace: Process 1 attached\n\
                     % time     seconds  usecs/call     calls    errors syscall\n\
                     ------ ----------- ----------- --------- --------- ------------\n \
                     60.00    0.000030           1        30           read\n\
                     100.00    0.000050           1        50         2 total\n";
        assert_eq!(strace(words), Some(50));
    }
}
