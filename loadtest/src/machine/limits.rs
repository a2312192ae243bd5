//! How many descriptors there may be.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of descriptors, for this process and what it starts, as far as it goes: root
/// may go beyond the hard limit.
pub fn raise_descriptors() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let wanted = maximum.map_or(WANTED, |maximum| maximum.max(WANTED));
    let raised = Rlimit { current: Some(wanted), maximum: Some(wanted) };
    if setrlimit(Resource::Nofile, raised).is_err() {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// The limit.
pub fn descriptors() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(WANTED)
}

/// Connections that the limit allows a proxy: haproxy refuses to start where it is not two
/// descriptors to each, and those of its pipes and listeners.
pub fn connections_through() -> u64 {
    (descriptors().saturating_sub(1500) / 2).clamp(1, CONNECTIONS_MAX)
}

/// Connections that the limit allows who needs one descriptor for each.
pub fn connections() -> u64 {
    descriptors().saturating_sub(500).clamp(1, CONNECTIONS_MAX)
}

/// More than any load here opens.
const CONNECTIONS_MAX: u64 = 32768;
/// For ten thousand connections, of which a proxy makes twice as many.
const WANTED: u64 = 65536;
