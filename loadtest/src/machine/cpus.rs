//! Who runs where.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The CPUs that this process may use.
pub fn allowed() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
}

/// Keeps this thread, and what it starts from now on, to `cpus`.
pub fn keep_to(cpus: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cpus.iter().for_each(|cpu| set.set(*cpu));
    sched_setaffinity(None, &set)
        .map_err(|problem| io::Error::other(format!("CPUs {cpus:?}: {problem}")))
}

/// Has what `command` starts end with this thread, however that ends (prctl(2), `PR_SET_PDEATHSIG`).
pub fn ends_with_us(command: &mut Command) -> &mut Command {
    // It may be held, and hears of nothing else then.
    let us = Some(getpid());
    let tell = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // Who had ended before that is not heard of.
        if getppid() == us { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    };
    // SAFETY: what runs between fork and exec are two system calls, which touch no memory.
    unsafe { command.pre_exec(tell) }
}

/// Starts `command` on `cpus`, with all threads that it will have; it ends with this thread.
pub fn start_on(cpus: &[usize], command: &mut Command) -> io::Result<Child> {
    let before = allowed();
    // A child begins where its parent is.
    keep_to(cpus)?;
    let child = ends_with_us(command).spawn();
    keep_to(&before)?;
    child.map_err(|problem| {
        io::Error::other(format!("{}: {problem}", command.get_program().to_string_lossy()))
    })
}
