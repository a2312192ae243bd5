//! A configuration on its way into force: read with the files it names, compiled, and told to the
//! workers and the prover.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::check::clients;
use crate::control::acme;
use crate::control::alerts;
use crate::control::certificates;
use crate::control::databases::{self, Shelf};
use crate::control::keys;
use crate::control::prove::Plan;
use crate::messages::clock::monotonic_us;
use crate::messages::keyring::Keyring;
use crate::messages::random::random;
use crate::pure::client::ClientTable;
use crate::pure::config::problem::Problem;
use crate::pure::config::values::{Config, Credentials};
use crate::pure::place::Sources;
use crate::pure::snapshot::{Circumstances, Snapshot};

/// Makes one configuration after the other ready.
pub struct Adoption {
    /// The configuration's file, as it was named.
    file: String,
    /// Who the gateway is in `Via`.
    pseudonym: String,
    /// What was made ready last.
    last: Option<Arc<Snapshot>>,
    /// Databases that were read.
    shelf: Shelf,
    /// What was read for the configuration in force.
    read: Option<Arc<Read>>,
    /// What was said last of accounts that are lent to everybody.
    said: Vec<String>,
}

/// A configuration, ready.
pub struct Ready {
    /// What workers decide by.
    pub snapshot: Arc<Snapshot>,
    /// What opens registries to them.
    pub keyring: Arc<Keyring>,
    /// What is wanted of an authority beside the certificates of files.
    pub acme: acme::Plan,
    /// What the files say.
    pub read: Arc<Read>,
}

/// What the files say that a configuration names.
pub struct Read {
    keys: keys::Keys,
    /// What clients are shown of files.
    pub files: certificates::Ready,
    /// Who is asked for more of that, and how.
    access: Option<acme::Access>,
    /// Who is told of all packages.
    pub alerts: Arc<[alerts::file::OfFile]>,
    /// How the aggregator tells clients apart.
    pub clients: ClientTable,
    /// What it knows of addresses.
    pub sources: Arc<Sources>,
}

impl Adoption {
    /// For configurations from `file`.
    pub fn new(file: String) -> io::Result<Self> {
        Ok(Self {
            file,
            pseudonym: pseudonym()?,
            last: None,
            shelf: Shelf::default(),
            read: None,
            said: Vec::new(),
        })
    }

    /// The configuration's file, as it was named.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Reads what `config` names, and compiles both; or says everything that is wrong with them.
    pub fn ready(&mut self, config: &Config) -> Result<Ready, Vec<Problem>> {
        let read = Arc::new(self.read(config)?);
        Ok(self.compiled(config, read))
    }

    /// The same of a `config` that differs from the one in force in the dashboard's packages alone, and so
    /// names the same files: they are read anew where one of them changes, and not here.
    pub fn ready_again(&mut self, config: &Config) -> Result<Ready, Vec<Problem>> {
        match self.read.clone() {
            Some(read) => Ok(self.compiled(config, read)),
            None => self.ready(config),
        }
    }

    fn read(&mut self, config: &Config) -> Result<Read, Vec<Problem>> {
        let clients = clients(config);
        let keys = keys::read(&self.file, config);
        let (files, access) = (certificates::read(config), acme::read(config));
        let (sources, alerts) = (self.shelf.sources(config), alerts::file::read(config));
        match (clients, keys, files, access, sources, alerts) {
            (Ok(clients), Ok(keys), Ok(files), Ok(access), Ok(sources), Ok(alerts)) => {
                Ok(Read { keys, files, access, alerts, clients, sources })
            }
            (clients, keys, files, access, sources, alerts) => {
                let problems = [clients.err(), keys.err(), files.err(), access.err()];
                let problems = problems.into_iter().chain([sources.err(), alerts.err()]);
                Err(problems.flatten().flatten().collect())
            }
        }
    }

    fn compiled(&self, config: &Config, read: Arc<Read>) -> Ready {
        let last = self.last.as_deref();
        let generation = last.map_or(1, |last| last.generation + 1);
        let circumstances = Circumstances {
            clients: read.clients.clone(),
            via: &self.pseudonym,
            before: last,
            now_us: monotonic_us(),
        };
        let snapshot = Snapshot::build(config, generation, circumstances);
        let keyring = Arc::new(read.keys.keyring(&snapshot.registries));
        let snapshot = Arc::new(snapshot);
        let acme = acme::Plan::new(config, read.access.clone(), &read.files);
        Ready { snapshot, keyring, acme, read }
    }

    /// What is `ready` of `config` is put in force.
    pub fn adopted(&mut self, ready: &Ready, config: &Config) {
        self.last = Some(Arc::clone(&ready.snapshot));
        self.read = Some(Arc::clone(&ready.read));
        let lent = lent(config);
        if lent != self.said {
            for words in &lent {
                tracing::warn!("{words}");
            }
            self.said = lent;
        }
    }
}

impl Ready {
    /// What the prover is told.
    pub fn plan(&self, config: &Config) -> Plan {
        Plan::new(config, Arc::clone(&self.snapshot), Arc::clone(&self.keyring))
    }
}

/// The files that `config` names and [`Adoption::ready`] reads.
pub fn files(config: &Config) -> Vec<PathBuf> {
    let mut files = keys::files(config);
    files.extend(certificates::files(config));
    files.extend(acme::files(config));
    files.extend(alerts::file::files(config));
    files.extend(config.gateway.clients_file.clone());
    files.extend(databases::files(config));
    files
}

/// Whose account everybody pulls with, a line for each registry.
fn lent(config: &Config) -> Vec<String> {
    let mut packages: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for package in &config.packages {
        if package.credentials == Credentials::Registry {
            let name = format!("{}/{}", package.domain, package.name);
            for home in std::iter::once(&package.backend).chain(&package.others) {
                packages.entry(&home.authority).or_default().push(name.clone());
            }
        }
    }
    let words = |(registry, mut packages): (&str, Vec<String>)| {
        let more = packages.len().saturating_sub(NAMED_MAX);
        packages.truncate(NAMED_MAX);
        let and_more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!(
            "credentials = \"registry\": with the gateway's own account at {registry}, anybody \
             can pull {}{and_more}",
            packages.join(", ")
        )
    };
    packages.into_iter().map(words).collect()
}

/// Another one in each process, so that a request that comes back to this one is told from one that
/// passes through several gateways (RFC 9110, 7.6.3).
fn pseudonym() -> io::Result<String> {
    Ok(format!("pullgate-{:08x}", u32::from_ne_bytes(random()?)))
}

/// Packages named in one line of the log.
const NAMED_MAX: usize = 5;
