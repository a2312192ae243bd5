//! What the system says of this process, under the names that Prometheus' own clients use.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// Figures of this process; zero where the system does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Process {
    pub(super) cpu_seconds: f64,
    pub(super) resident_bytes: u64,
    pub(super) open_fds: u64,
    pub(super) max_fds: u64,
}

impl Process {
    pub(super) fn now() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let fields = fields(&stat);
        let ticks = fields.cpu_ticks as f64;
        Self {
            cpu_seconds: ticks / rustix::param::clock_ticks_per_second() as f64,
            resident_bytes: fields.resident_pages * rustix::param::page_size() as u64,
            // The directory's own descriptor is among those it lists.
            open_fds: fs::read_dir("/proc/self/fd")
                .map_or(0, |entries| entries.count().saturating_sub(1) as u64),
            max_fds: rustix::process::getrlimit(rustix::process::Resource::Nofile)
                .current
                .unwrap_or(0),
        }
    }
}

/// Seconds since 1970.
pub(super) fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Fields {
    cpu_ticks: u64,
    resident_pages: u64,
}

/// The fields of proc_pid_stat(5) that are wanted: 14 and 15 (user and system time), 24 (resident).
/// The second one is the program's name in parentheses and may hold anything.
fn fields(stat: &str) -> Fields {
    let Some((_, after_name)) = stat.rsplit_once(')') else {
        return Fields::default();
    };
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let number = |field: usize| -> u64 {
        fields.get(field - 3).and_then(|text| text.parse().ok()).unwrap_or(0)
    };
    Fields { cpu_ticks: number(14) + number(15), resident_pages: number(24) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_spaces_and_parentheses_shifts_nothing() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 0 0 20 0 4 0 99 8192 55 1 2 3";
        assert_eq!(fields(stat), Fields { cpu_ticks: 42, resident_pages: 55 });
    }

    #[test]
    fn this_process_has_memory_and_descriptors() {
        let process = Process::now();
        assert!(process.resident_bytes > 1 << 20, "{process:?}");
        assert!((3..=process.max_fds).contains(&process.open_fds), "{process:?}");
    }
}
