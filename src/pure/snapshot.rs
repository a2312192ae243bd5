//! A configuration compiled for the workers: flat, immutable, read by all of them.

use crate::pure::config::values::{Cidr, Config, Limits};
use crate::pure::http1::head::HeadLimits;
use crate::pure::route::table::Table;

/// What a worker decides by. Built once per configuration, never written afterwards.
pub struct Snapshot {
    /// Which rule serves a host and name.
    pub routes: Table,
    /// Bounds of the request head.
    pub head: HeadLimits,
    /// `[limits]`, as configured.
    pub limits: Limits,
    /// Peers whose word on the client's address is believed.
    pub trusted_proxies: Vec<Cidr>,
    /// Counts up with each configuration that was adopted, from 1.
    pub generation: u64,
}

impl Snapshot {
    /// Compiles `config`.
    pub fn build(config: &Config, generation: u64) -> Self {
        Self {
            routes: Table::build(&config.packages, &config.domains),
            head: HeadLimits {
                head_bytes: config.limits.head_bytes,
                headers: config.limits.headers,
            },
            limits: config.limits.clone(),
            trusted_proxies: config.gateway.trusted_proxies.clone(),
            generation,
        }
    }

    /// Whether `address` is a trusted proxy's.
    pub fn trusts(&self, address: [u8; 16]) -> bool {
        self.trusted_proxies.iter().any(|network| network.contains(address))
    }
}
