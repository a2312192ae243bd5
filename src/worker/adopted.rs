//! A configuration in use: its snapshot and its keys.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use crossbeam_channel::Sender;
use rustls::ClientConfig;
use rustls::client::Resumption;

use crate::messages::keyring::Keyring;
use crate::pure::snapshot::Snapshot;
use crate::pure::tokens::Identity;

/// A snapshot in use, and what opens its registries. The last request that uses it sends it back to
/// be freed.
pub struct Adopted {
    snapshot: Option<Arc<Snapshot>>,
    keyring: Arc<Keyring>,
    retired: Sender<Arc<Snapshot>>,
    number: u64,
    /// By those of the keyring: the worker's own, whose memory of sessions nobody shares, and with it
    /// no lock.
    tls: RefCell<HashMap<*const ClientConfig, Arc<ClientConfig>>>,
}

impl Adopted {
    /// The first one of a worker. What it uses no longer goes to `retired`.
    pub fn new(
        snapshot: Arc<Snapshot>,
        keyring: Arc<Keyring>,
        retired: Sender<Arc<Snapshot>>,
    ) -> Self {
        Self::numbered(0, snapshot, keyring, retired)
    }

    /// The one that follows this one.
    pub fn next(&self, snapshot: Arc<Snapshot>, keyring: Arc<Keyring>) -> Self {
        Self::numbered(self.number + 1, snapshot, keyring, self.retired.clone())
    }

    fn numbered(
        number: u64,
        snapshot: Arc<Snapshot>,
        keyring: Arc<Keyring>,
        retired: Sender<Arc<Snapshot>>,
    ) -> Self {
        Self { snapshot: Some(snapshot), keyring, retired, number, tls: RefCell::default() }
    }

    /// How many this worker has adopted before it: registries are told apart by their place in one
    /// of them.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Its keys.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Whether its keys open one of the snapshot's registries as `identity`.
    pub fn knows(&self, registry: usize, identity: Identity) -> bool {
        match identity {
            Identity::Anonymous => true,
            Identity::Account(_) => self.keyring.identity(registry) == identity,
            // A client's login is in nobody's keys.
            Identity::Client(_) => false,
        }
    }

    /// Whom TLS trusts at one of the snapshot's registries, or elsewhere.
    pub fn tls(&self, registry: Option<usize>) -> Arc<ClientConfig> {
        let shared = self.keyring.tls(registry);
        let mut tls = self.tls.borrow_mut();
        let own = tls.entry(Arc::as_ptr(shared)).or_insert_with(|| {
            let mut own = ClientConfig::clone(shared);
            own.resumption = Resumption::in_memory_sessions(SERVERS_MAX);
            Arc::new(own)
        });
        Arc::clone(own)
    }
}

impl Deref for Adopted {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        match &self.snapshot {
            Some(snapshot) => snapshot,
            None => unreachable!("taken only when dropped"),
        }
    }
}

impl Drop for Adopted {
    fn drop(&mut self) {
        if let Some(snapshot) = self.snapshot.take() {
            // Nobody takes it while the process ends: then it is freed here.
            let _ = self.retired.try_send(snapshot);
        }
    }
}

/// How many servers' sessions are remembered.
const SERVERS_MAX: usize = 256;
