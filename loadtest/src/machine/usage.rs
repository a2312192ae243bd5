//! What a process has used so far, all of its threads and all that it has started.

use std::fs;
use std::io;
use std::ops::AddAssign;
use std::time::Duration;

/// CPU time and switches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time in all, to the nanosecond.
    pub cpu: Duration,
    /// In user space, in ticks of the kernel.
    user: u64,
    /// In the kernel, in ticks.
    system: u64,
    /// Context switches, voluntary and not, of the threads that live.
    pub switches: u64,
    /// Threads of the kernel's that do for its rings what would wait, at this moment.
    pub helpers: u64,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Memory {
    /// Resident.
    pub resident: u64,
    /// The most that was ever resident.
    pub peak: u64,
    /// Memory of its own that no file stands behind, shared pages in proportion.
    pub anonymous: u64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, more: Self) {
        self.cpu += more.cpu;
        self.user += more.user;
        self.system += more.system;
        self.switches += more.switches;
        self.helpers += more.helpers;
    }
}

impl Usage {
    /// Of process `id` and its children.
    pub fn of(id: u32) -> io::Result<Self> {
        let mut all = Self::default();
        for one in family(id) {
            let used = match Self::of_one(one) {
                Ok(used) => used,
                // A child may end meanwhile.
                Err(_) if one != id => continue,
                Err(problem) => return Err(problem),
            };
            all += used;
        }
        Ok(all)
    }

    fn of_one(id: u32) -> io::Result<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
        // proc(5): the name may hold anything, spaces and brackets too.
        let (_, behind_name) = text.rsplit_once(')').unwrap_or_default();
        let mut fields = behind_name.split_whitespace().skip(11);
        let mut ticks = || fields.next().and_then(|field| field.parse().ok()).unwrap_or(0);
        let (user, system) = (ticks(), ticks());
        let (mut switches, mut helpers) = (0, 0);
        for thread in fs::read_dir(format!("/proc/{id}/task"))?.flatten() {
            // A thread may end meanwhile.
            let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            switches += value(&status, "voluntary_ctxt_switches:");
            switches += value(&status, "nonvoluntary_ctxt_switches:");
            helpers += u64::from(status.starts_with("Name:\tiou-wrk"));
        }
        Ok(Self { cpu: cpu_time(id)?, user, system, switches, helpers })
    }

    /// What was used since `before`, and the helpers that there are.
    pub fn since(self, before: Self) -> Self {
        Self {
            cpu: self.cpu.saturating_sub(before.cpu),
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
            switches: self.switches.saturating_sub(before.switches),
            helpers: self.helpers,
        }
    }

    /// The part of the CPU time in user space. The kernel samples which it is, so this is truer the
    /// longer it was.
    pub fn user_part(self) -> f64 {
        match self.user + self.system {
            0 => 0.0,
            all => self.user as f64 / all as f64,
        }
    }
}

impl Memory {
    /// Of process `id` and its children.
    pub fn of(id: u32) -> io::Result<Self> {
        let mut all = Self::default();
        for one in family(id) {
            let read = |file: &str| fs::read_to_string(format!("/proc/{one}/{file}"));
            let (status, maps) = match (read("status"), read("smaps_rollup")) {
                (Ok(status), Ok(maps)) => (status, maps),
                _ if one != id => continue,
                (Err(problem), _) | (_, Err(problem)) => return Err(problem),
            };
            all.resident += value(&status, "VmRSS:") << 10;
            all.peak += value(&status, "VmHWM:") << 10;
            all.anonymous += value(&maps, "Pss_Anon:") << 10;
        }
        Ok(all)
    }
}

/// `id`, its children and theirs.
fn family(id: u32) -> Vec<u32> {
    let mut found = vec![id];
    let mut next = 0;
    while let Some(id) = found.get(next).copied() {
        let threads = fs::read_dir(format!("/proc/{id}/task")).into_iter().flatten().flatten();
        for thread in threads {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|it| it.parse::<u32>().ok()));
        }
        next += 1;
    }
    found
}

/// CPU time of all threads, those that have ended too. What is in /proc is rounded to ticks of 10 ms.
fn cpu_time(id: u32) -> io::Result<Duration> {
    let id = libc::pid_t::try_from(id).map_err(io::Error::other)?;
    let mut clock = 0;
    // SAFETY: it writes a clock's number to a place that is ours and valid.
    let outcome = unsafe { libc::clock_getcpuclockid(id, &raw mut clock) };
    if outcome != 0 {
        return Err(io::Error::from_raw_os_error(outcome));
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes a time to a place that is ours and valid.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Ok(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0)))
}

fn value(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_in_the_usage() {
        let id = std::process::id();
        let before = Usage::of(id).unwrap();
        let mut sum = 0_u64;
        while Usage::of(id).unwrap().since(before).cpu < Duration::from_millis(30) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let used = Usage::of(id).unwrap().since(before);
        assert!(used.cpu >= Duration::from_millis(30));
        assert!((0.0..=1.0).contains(&used.user_part()));
    }

    #[test]
    fn memory_is_what_the_kernel_says() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.anonymous > 0 && memory.peak >= memory.anonymous, "{memory:?}");
    }

    #[test]
    fn children_belong_to_it() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        assert!(family(std::process::id()).contains(&child.id()));
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
