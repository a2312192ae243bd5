//! `loadtest doctor`: whether this machine can measure anything, and what to change.

use std::fs;
use std::io;
use std::process::Command;

use io_uring::IoUring;
use rustix::process::{Resource, getrlimit};

use crate::cli::print;
use crate::machine::{cpus, limits};
use crate::target::installed;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// As it should be.
    Good(String),
    /// Not so good, and what to do.
    Bad { what: String, remedy: String },
    /// Could not be seen.
    Unknown(String),
}

/// Whether all is as it should be.
pub fn run() -> io::Result<bool> {
    let findings = findings();
    for finding in &findings {
        print(&match finding {
            Finding::Good(what) => format!("ok       {what}\n"),
            Finding::Bad { what, remedy } => format!("CHANGE   {what}\n         {remedy}\n"),
            Finding::Unknown(what) => format!("unknown  {what}\n"),
        })?;
    }
    Ok(findings.iter().all(|finding| !matches!(finding, Finding::Bad { .. })))
}

fn findings() -> Vec<Finding> {
    let mut found = vec![
        cores(cpus::allowed().len()),
        descriptors(limits::descriptors()),
        io_uring(&ring(), read("/proc/sys/kernel/io_uring_disabled").as_deref()),
        locked_memory(getrlimit(Resource::Memlock).current),
        governor(read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").as_deref()),
        backlog(read("/proc/sys/net/core/somaxconn").as_deref()),
        ports(read("/proc/sys/net/ipv4/ip_local_port_range").as_deref()),
        migration(read("/proc/sys/net/ipv4/tcp_migrate_req").as_deref()),
        load(read("/proc/loadavg").as_deref()),
    ];
    found.extend(["nginx", "haproxy"].map(peer));
    found.push(counter());
    found
}

fn cores(count: usize) -> Finding {
    good_if(
        count >= 2,
        format!("{count} CPUs may be used"),
        "the load needs one beside the target's",
    )
}

fn descriptors(limit: u64) -> Finding {
    good_if(
        limit >= 32768,
        format!("{limit} descriptors"),
        "`ulimit -n 65536`, or LimitNOFILE= of a unit: 10,000 connections through a proxy take \
         twice as many, at both ends",
    )
}

/// Whether a ring does something here, and whether it may be one whose completions wait for the thread that wants
/// them (Linux 6.1), as the gateway's do where they can.
fn ring() -> io::Result<bool> {
    let mut deferred: io_uring::Builder = IoUring::builder();
    deferred.setup_single_issuer().setup_defer_taskrun();
    match deferred.build(2).and_then(turn) {
        Ok(()) => Ok(true),
        Err(_) => IoUring::new(2).and_then(turn).map(|()| false),
    }
}

/// Has a ring do nothing, once: it may be made and not entered.
fn turn(mut ring: IoUring) -> io::Result<()> {
    let nothing = io_uring::opcode::Nop::new().build();
    // SAFETY: it points to nothing.
    unsafe { ring.submission().push(&nothing) }.map_err(io::Error::other)?;
    ring.submit_and_wait(1).map(drop)
}

/// `disabled`: the sysctl `kernel.io_uring_disabled` (Linux 6.6): 0 for everybody, 1 for a group, 2 for nobody.
fn io_uring(ring: &io::Result<bool>, disabled: Option<&str>) -> Finding {
    match (ring, disabled) {
        (Ok(true), _) => Finding::Good("io_uring is to be had".to_owned()),
        (Ok(false), _) => bad(
            "io_uring is to be had, but not with deferred task work: the kernel interrupts for each completion"
                .to_owned(),
            "Linux 6.1 or later",
        ),
        (Err(problem), Some("1" | "2")) => bad(
            format!("io_uring is not to be had ({problem}): the gateway falls back on epoll"),
            "`sysctl -w kernel.io_uring_disabled=0`, if you want to measure io_uring",
        ),
        (Err(problem), _) => bad(
            format!("io_uring is not to be had ({problem}): the gateway falls back on epoll"),
            "allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp profile, if you \
             want to measure io_uring",
        ),
    }
}

/// Rings are not accounted to it since Linux 5.12, registered buffers are.
fn locked_memory(limit: Option<u64>) -> Finding {
    match limit {
        None => Finding::Good("memory may be locked without a limit".to_owned()),
        Some(limit) => good_if(
            limit >= 8 << 20,
            format!("{} KiB of memory may be locked", limit >> 10),
            "`ulimit -l 65536`: buffers that are registered with io_uring count against it",
        ),
    }
}

fn governor(governor: Option<&str>) -> Finding {
    match governor {
        None => {
            Finding::Unknown("the CPUs' frequency is not ours to see: a virtual machine".to_owned())
        }
        Some("performance") => Finding::Good("the CPUs' governor is `performance`".to_owned()),
        Some(other) => bad(
            format!("the CPUs' governor is `{other}`: CPU time depends on how busy they are"),
            "`cpupower frequency-set -g performance`",
        ),
    }
}

fn backlog(limit: Option<&str>) -> Finding {
    number_or(limit, "net.core.somaxconn", |limit| {
        good_if(
            limit >= 4096,
            format!("net.core.somaxconn is {limit}"),
            "`sysctl -w net.core.somaxconn=4096`: a storm of connections overflows a shorter queue",
        )
    })
}

fn ports(range: Option<&str>) -> Finding {
    let bounds: Vec<u64> =
        range.unwrap_or_default().split_whitespace().filter_map(|it| it.parse().ok()).collect();
    match *bounds {
        [low, high] => good_if(
            high.saturating_sub(low) >= 28_000,
            format!("ports from {low} to {high} for connections, from each source address"),
            "`sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\"`",
        ),
        _ => Finding::Unknown("net.ipv4.ip_local_port_range".to_owned()),
    }
}

fn migration(value: Option<&str>) -> Finding {
    match value {
        Some("1") => Finding::Good(
            "connections that wait at a closing listener move to another one".to_owned(),
        ),
        Some(_) => bad(
            "net.ipv4.tcp_migrate_req is 0: a worker that stops takes with it what waits for it"
                .to_owned(),
            "`sysctl -w net.ipv4.tcp_migrate_req=1`, where gateways are replaced under load",
        ),
        None => Finding::Unknown("net.ipv4.tcp_migrate_req: before Linux 5.14".to_owned()),
    }
}

/// Its first number is the load of the last minute.
fn load(averages: Option<&str>) -> Finding {
    let first = averages.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    match first {
        Some(load) => good_if(
            load < 0.5,
            format!("load average {load}"),
            "something else runs: rounds are interleaved, so ratios stand it, times do not",
        ),
        None => Finding::Unknown("the load average".to_owned()),
    }
}

fn peer(name: &str) -> Finding {
    let version = Command::new(installed(name)).arg("-v").output();
    match version {
        Ok(output) => {
            // nginx says it on standard error.
            let words = [output.stdout, output.stderr].concat();
            let words =
                String::from_utf8_lossy(&words).lines().next().unwrap_or_default().to_owned();
            Finding::Good(words)
        }
        Err(_) => bad(format!("{name} is not installed"), "`apt-get install nginx-light haproxy`"),
    }
}

fn counter() -> Finding {
    let is_there = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
    match ["perf", "strace"].into_iter().find(|tool| is_there(tool)) {
        Some(tool) => Finding::Good(format!("{tool} counts system calls")),
        None => bad(
            "neither perf nor strace is installed: system calls are not counted".to_owned(),
            "`apt-get install linux-perf`, or `strace`",
        ),
    }
}

fn number_or(text: Option<&str>, name: &str, judge: impl Fn(u64) -> Finding) -> Finding {
    let number = text.and_then(|text| text.parse().ok());
    number.map_or_else(|| Finding::Unknown(name.to_owned()), judge)
}

fn good_if(is_good: bool, what: String, remedy: &str) -> Finding {
    if is_good { Finding::Good(what) } else { bad(what, remedy) }
}

fn bad(what: String, remedy: &str) -> Finding {
    Finding::Bad { what, remedy: remedy.to_owned() }
}

fn read(file: &str) -> Option<String> {
    fs::read_to_string(file).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_bad(finding: &Finding) -> bool {
        matches!(finding, Finding::Bad { .. })
    }

    #[test]
    fn what_hinders_is_found() {
        for finding in [
            cores(1),
            descriptors(1024),
            io_uring(&Err(io::ErrorKind::PermissionDenied.into()), Some("2")),
            io_uring(&Err(io::ErrorKind::PermissionDenied.into()), Some("0")),
            io_uring(&Ok(false), None),
            locked_memory(Some(64 << 10)),
            governor(Some("powersave")),
            backlog(Some("128")),
            ports(Some("50000\t51000")),
            migration(Some("0")),
            load(Some("3.10 2.00 1.00 1/100 1")),
            peer("no-such-program"),
        ] {
            assert!(is_bad(&finding), "{finding:?}");
        }
        for finding in [
            cores(2),
            descriptors(65536),
            io_uring(&Ok(true), None),
            locked_memory(None),
            governor(Some("performance")),
            backlog(Some("4096")),
            ports(Some("32768\t60999")),
            migration(Some("1")),
            load(Some("0.01 0.05 0.10 1/100 1")),
        ] {
            assert!(matches!(finding, Finding::Good(_)), "{finding:?}");
        }
    }
}
