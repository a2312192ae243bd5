//! How it stands with certificates from an authority, for who shows it to the operator.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::watch;

/// How it stands.
#[derive(Default)]
pub struct Record {
    domains: watch::Sender<BTreeMap<Box<str>, Standing>>,
    obtained: AtomicU64,
    failed: AtomicU64,
}

/// How it stands with one domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whether it has a certificate that an authority gave.
    pub has_certificate: bool,
    /// When the next one is asked for, in seconds since 1970.
    pub next_s: i64,
    /// What went wrong the last time, in words, until it goes well.
    pub said: Option<Box<str>>,
}

impl Record {
    /// Each domain that is to have a certificate.
    pub fn domains(&self) -> BTreeMap<Box<str>, Standing> {
        self.domains.borrow().clone()
    }

    /// Orders that went well, and those that went wrong.
    pub fn orders(&self) -> [u64; 2] {
        [&self.obtained, &self.failed].map(|counter| counter.load(Relaxed))
    }

    pub(super) fn stand(&self, domains: impl Iterator<Item = (Box<str>, Standing)>) {
        self.domains.send_replace(domains.collect());
    }

    pub(super) fn forget(&self) {
        self.domains.send_replace(BTreeMap::new());
    }

    pub(super) fn count(&self, went_well: bool) {
        let counter = if went_well { &self.obtained } else { &self.failed };
        counter.fetch_add(1, Relaxed);
    }
}
