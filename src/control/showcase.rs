//! What clients are shown now: certificates from files, those from an authority, and what proves
//! domains to it meanwhile. Whoever has another one puts it here, and all of them go to the workers
//! as one table.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use tokio::sync::watch;

use super::certificates::{Entry, Ready, stand_in};
use crate::messages::certificates::{Certificate, Certificates, Proof};

/// What is in force, for who shows it to the operator.
pub type Record = watch::Sender<Vec<Entry>>;

/// Tells the workers.
pub type Publish = Box<dyn Fn(&Arc<Certificates>) + Send>;

/// Everything that is shown.
pub struct Showcase {
    #[expect(
        clippy::disallowed_types,
        reason = "of two threads of control's; no worker waits here"
    )]
    shelves: std::sync::Mutex<Shelves>,
    record: Arc<Record>,
}

struct Shelves {
    files: Ready,
    issued: BTreeMap<Box<str>, (Certificate, Entry)>,
    proofs: BTreeMap<Box<str>, Proof>,
    stand_in: Option<Arc<CertifiedKey>>,
    /// Nobody yet while the gateway starts.
    publish: Option<Publish>,
}

/// A domain is proven until this is dropped.
pub(super) struct Proving<'s> {
    showcase: &'s Showcase,
    domain: Box<str>,
}

impl Showcase {
    /// One where every name gets a certificate that nobody trusts.
    pub fn new() -> Arc<Self> {
        let (files, issued, proofs) = (Ready::new(), BTreeMap::new(), BTreeMap::new());
        let shelves = Shelves { files, issued, proofs, stand_in: stand_in(), publish: None };
        Arc::new(Self { shelves: shelves.into(), record: Arc::default() })
    }

    /// What is in force.
    pub fn record(&self) -> Arc<Record> {
        Arc::clone(&self.record)
    }

    /// All of it as one table.
    pub fn table(&self) -> Arc<Certificates> {
        self.with(|shelves| shelves.table())
    }

    /// From now on every change is told to `publish`.
    pub fn publish(&self, publish: Publish) {
        self.with(|shelves| shelves.publish = Some(publish));
    }

    /// The configuration's files are these.
    pub fn adopt(&self, files: Ready) {
        self.change(|shelves| shelves.files = files);
    }

    /// An authority has given these, and no others are shown of those that it gave before. Of two for
    /// one name that from a file is.
    pub(super) fn issue(&self, issued: BTreeMap<Box<str>, (Certificate, Entry)>) {
        self.change(|shelves| shelves.issued = issued);
    }

    /// An authority has given this one too.
    pub(super) fn add(&self, domain: &str, issued: (Certificate, Entry)) {
        self.change(|shelves| drop(shelves.issued.insert(domain.into(), issued)));
    }

    /// `domain` is proven by `proof`.
    pub(super) fn prove(&self, domain: &str, proof: Proof) -> Proving<'_> {
        self.change(|shelves| drop(shelves.proofs.insert(domain.into(), proof)));
        Proving { showcase: self, domain: domain.into() }
    }

    fn change(&self, change: impl FnOnce(&mut Shelves)) {
        self.with(|shelves| {
            change(shelves);
            let issued = shelves.issued.values();
            let entries = shelves.files.iter().chain(issued).map(|(_, entry)| entry.clone());
            self.record.send_replace(entries.collect());
            if let Some(publish) = &shelves.publish {
                publish(&shelves.table());
            }
        });
    }

    fn with<T>(&self, then: impl FnOnce(&mut Shelves) -> T) -> T {
        // Each change is one step; what a panic left behind is what was there before it.
        then(&mut self.shelves.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }
}

impl Shelves {
    fn table(&self) -> Arc<Certificates> {
        let all = self.files.iter().chain(self.issued.values());
        let certificates = all.map(|(certificate, _)| certificate.clone()).collect();
        let proofs = self.proofs.iter().map(|(domain, proof)| (&**domain, proof));
        Arc::new(Certificates::new(certificates, self.stand_in.clone(), proofs))
    }
}

impl Drop for Proving<'_> {
    fn drop(&mut self) {
        self.showcase.change(|shelves| drop(shelves.proofs.remove(&self.domain)));
    }
}
