//! Who runs where.

use std::io;
use std::process::{Child, Command};

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

/// Starts `command` on `cpus`, with all threads that it will have.
pub fn start_on(cpus: &[usize], command: &mut Command) -> io::Result<Child> {
    let before = allowed();
    // A child begins where its parent is.
    keep_to(cpus)?;
    let child = command.spawn();
    keep_to(&before)?;
    child.map_err(|problem| {
        io::Error::other(format!("{}: {problem}", command.get_program().to_string_lossy()))
    })
}
