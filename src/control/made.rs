//! Packages made in the dashboard, on their way into force. The thread that reloads the configuration has
//! them: a change is checked beside the file that is in force, written down, and told to every worker,
//! one after the other and in turn with the file's own changes. Who asked hears when it is in force.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::{oneshot, watch};

use super::accounts::audit::Actor;
use super::accounts::packages::{Package, Put};
use super::accounts::people::Owners;
use super::accounts::{Store, StoreError};
use crate::messages::keyring::Keyring;
use crate::pure::access::OrganisationId;
use crate::pure::config::made::{Made, Written, Wrong};
use crate::pure::config::values::Config;
use crate::pure::snapshot::Snapshot;

/// Who wants something.
#[derive(Clone, Debug)]
pub struct Asker {
    /// As the audit log names them.
    pub by: Actor,
    /// Whether they may configure the gateway itself, and so choose its accounts.
    pub runs_gateway: bool,
    /// Whether they may configure the organisation, and so say which names it serves.
    pub owns: bool,
    /// Whether they know that a change of domain or name breaks what people type.
    pub confirms: bool,
}

/// What somebody wants to be done.
#[derive(Clone, Debug)]
pub enum Change {
    /// One more package of this organisation. Without a domain it is served below the shared one.
    Make {
        /// Whose it is.
        organisation: OrganisationId,
        /// What was written.
        written: Written,
    },
    /// A package, as it was when they looked, becomes another.
    Change {
        /// What they saw.
        from: Package,
        /// What is written now.
        to: Written,
    },
    /// A package, as it was when they looked, goes.
    Remove(Package),
    /// One that went comes back.
    Restore {
        /// Whose it is.
        organisation: OrganisationId,
        /// Its number.
        id: i64,
        /// What is written.
        written: Written,
    },
}

/// What the thread that reloads the configuration is asked for.
pub enum Errand {
    /// Do this.
    Change(Box<Order>),
    /// Look whether the store has other packages, or other owners of them, than are in force.
    Look,
}

/// A change under way.
pub struct Order {
    /// Who wants it.
    pub asker: Asker,
    /// What they want.
    pub change: Change,
    /// Whether it is only to be found out whether it can be done.
    pub is_trial: bool,
    /// When it is done, in seconds since 1970.
    pub now_s: i64,
    answer: oneshot::Sender<Result<Outcome, Refused>>,
}

/// What came of it.
pub struct Outcome {
    /// The package as it is written down, or would be; `None` where it is gone.
    pub package: Option<Package>,
    /// What is decided by, or would be.
    pub snapshot: Arc<Snapshot>,
    /// What opens registries to it.
    pub keyring: Arc<Keyring>,
}

/// Why it was not done.
#[derive(Debug)]
pub enum Refused {
    /// These fields are wrong.
    Wrong(Vec<Wrong>),
    /// It is another by now than it was when they looked.
    Changed,
    /// Its domain or name would be another, which is not theirs to say.
    NotTheirs,
    /// Its domain or name would be another, and they have not said that they know what that breaks: what
    /// it is called now, and would be.
    Breaks(String, String),
    /// The configuration, or a file that it names, is not what it was: words that say what to do.
    Configuration(String),
    /// It is written down, but not every worker has said that it knows.
    Unheard,
    /// The accounts' database says no.
    Store(StoreError),
}

impl Refused {
    /// What [`Refused::Breaks`] is called.
    pub const BREAKS: &str = "This breaks what people type";
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(wrong) => {
                let words: Vec<String> =
                    wrong.iter().map(|one| format!("{}: {}", one.field, one.what)).collect();
                f.write_str(&words.join("; "))
            }
            Self::Changed => f.write_str("it is another by now"),
            Self::NotTheirs => f.write_str("its name is its organisation's to say"),
            Self::Breaks(from, to) => write!(f, "{from} would be {to}"),
            Self::Configuration(words) => f.write_str(words),
            Self::Unheard => f.write_str("not every worker has taken it"),
            Self::Store(error) => error.fmt(f),
        }
    }
}

/// What is known of all of them.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Each by `<domain>/<name>`: why it is not served; nothing where it is.
    pub packages: BTreeMap<String, Vec<Wrong>>,
    /// Below which each organisation has a domain.
    pub shared_domain: Option<String>,
}

impl Standing {
    /// Of these packages, of which those set `aside` are not served, beside what `config` says.
    pub fn of(made: &[Made], aside: &BTreeMap<usize, Vec<Wrong>>, config: &Config) -> Self {
        let wrong = |at| aside.get(&at).cloned().unwrap_or_default();
        let packages = made.iter().enumerate().map(|(at, one)| (one.written.package(), wrong(at)));
        Self { packages: packages.collect(), shared_domain: config.gateway.shared_domain.clone() }
    }
}

/// Asks for changes, and knows how it stands.
#[derive(Clone)]
pub struct Makers {
    errands: Sender<Errand>,
    waker: Sender<()>,
    standing: watch::Receiver<Arc<Standing>>,
}

/// Where they are heard.
pub struct Orders {
    errands: Receiver<Errand>,
    standing: watch::Sender<Arc<Standing>>,
}

/// Both ends. `waker` has the thread look that hears them.
pub fn channel(waker: Sender<()>) -> (Makers, Orders) {
    let (errands, to_do) = bounded(ERRANDS_MAX);
    let (tell, standing) = watch::channel(Arc::default());
    (Makers { errands, waker, standing }, Orders { errands: to_do, standing: tell })
}

impl Makers {
    /// Has it done, and waits until it is in force at every worker.
    ///
    /// # Errors
    /// Why nothing was changed; [`Refused::Unheard`] where it was.
    pub async fn put(&self, asker: Asker, change: Change, now_s: i64) -> Result<Outcome, Refused> {
        self.send(asker, change, false, now_s).await
    }

    /// Finds out whether it could be done, and does nothing.
    ///
    /// # Errors
    /// Why not.
    pub async fn try_out(&self, asker: Asker, change: Change) -> Result<Outcome, Refused> {
        self.send(asker, change, true, 0).await
    }

    async fn send(
        &self,
        asker: Asker,
        change: Change,
        is_trial: bool,
        now_s: i64,
    ) -> Result<Outcome, Refused> {
        let (answer, told) = oneshot::channel();
        let order = Order { asker, change, is_trial, now_s, answer };
        if self.errands.try_send(Errand::Change(Box::new(order))).is_err() {
            let what = "too many changes are under way; try again in a moment";
            return Err(Refused::Configuration(what.to_owned()));
        }
        // A wake that waits already is as good.
        let _ = self.waker.try_send(());
        told.await.map_err(|_| Refused::Store(StoreError::Stopped))?
    }

    /// The store may have other packages, or other owners of them, than are in force.
    pub fn look(&self) {
        // Where many wait, each reads the store anew.
        let _ = self.errands.try_send(Errand::Look);
        let _ = self.waker.try_send(());
    }

    /// How it stands.
    pub fn standing(&self) -> Arc<Standing> {
        Arc::clone(&self.standing.borrow())
    }
}

impl Orders {
    /// The next that waits.
    pub fn next(&self) -> Option<Errand> {
        self.errands.try_recv().ok()
    }

    /// This is in force from now on.
    pub fn stands(&self, standing: Standing) {
        self.standing.send_replace(Arc::new(standing));
    }
}

impl Order {
    /// Tells who asked.
    pub fn answer(self, outcome: Result<Outcome, Refused>) {
        // Who no longer listens has gone away; what was done is done.
        let _ = self.answer.send(outcome);
    }
}

/// The packages as the store has them, and whose domains are.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The oldest first.
    pub packages: Vec<Package>,
    /// Whose domains are.
    pub owners: Owners,
    /// Each organisation's number and name.
    names: Vec<(OrganisationId, String)>,
}

impl Stored {
    /// What `store` has.
    pub fn read(store: &Store) -> Result<Self, StoreError> {
        let names = store.organisations()?.into_iter().map(|one| (one.id, one.name)).collect();
        Ok(Self { packages: store.packages()?, owners: store.owners()?, names })
    }

    /// As they are put beside the file.
    pub fn made(&self) -> Vec<Made> {
        let made = |Package { written, .. }: &Package| Made {
            is_operators: self.owners.of_domain(&written.domain) == self.owners.operator,
            written: written.clone(),
        };
        self.packages.iter().map(made).collect()
    }

    /// What `order` makes of them: the packages then, the place of the one that is changed among them,
    /// and what the store is told, with whose it is. `config` is what is in force.
    ///
    /// # Errors
    /// What is wrong whatever else there is.
    pub fn with(&self, order: &Order, config: &Config) -> Result<Planned, Refused> {
        let operator = self.owners.operator;
        let mut made = self.made();
        let (at, owner, put) = match &order.change {
            Change::Make { organisation, written }
            | Change::Restore { organisation, written, .. } => {
                let written = written.clone().tidied();
                let domain = self.domain(*organisation, &written.domain, config);
                let domain = domain.map_err(|wrong| Refused::Wrong(vec![wrong]))?;
                let written = Written { domain, ..written };
                let is_operators = *organisation == operator && order.asker.runs_gateway;
                made.push(Made { written: written.clone(), is_operators });
                let put = match order.change {
                    Change::Restore { id, .. } => Put::Restore(Package { id, written }),
                    Change::Make { .. } | Change::Change { .. } | Change::Remove(_) => {
                        Put::Make(written)
                    }
                };
                (Some(made.len() - 1), *organisation, put)
            }
            Change::Change { from, to } => {
                let at = self.place(from)?;
                let owner = self.owners.of_domain(&from.written.domain);
                let to = to.clone().tidied();
                let domain = self.domain(owner, &to.domain, config);
                let domain = domain.map_err(|wrong| Refused::Wrong(vec![wrong]))?;
                let to = Written { domain, ..to };
                let (was, is) = (from.written.package(), to.package());
                match was == is {
                    false if !order.asker.owns => return Err(Refused::NotTheirs),
                    false if !order.asker.confirms && !order.is_trial => {
                        return Err(Refused::Breaks(was, is));
                    }
                    true | false => {}
                }
                // What somebody who runs the gateway has chosen, others keep as it is.
                let is_kept = to.credentials == from.written.credentials
                    && to.backends == from.written.backends;
                let is_operators = owner == operator && (order.asker.runs_gateway || is_kept);
                if let Some(one) = made.get_mut(at) {
                    *one = Made { written: to.clone(), is_operators };
                }
                (Some(at), owner, Put::Change(from.clone(), to))
            }
            Change::Remove(package) => {
                let at = self.place(package)?;
                made.remove(at);
                let owner = self.owners.of_domain(&package.written.domain);
                (None, owner, Put::Remove(package.clone()))
            }
        };
        Ok(Planned { made, at, owner, put })
    }

    fn place(&self, package: &Package) -> Result<usize, Refused> {
        let at = self.packages.iter().position(|one| one.id == package.id);
        let at = at.ok_or(Refused::Store(StoreError::Absent))?;
        match self.packages.get(at) == Some(package) {
            true => Ok(at),
            false => Err(Refused::Changed),
        }
    }

    /// The domain for a package of this organisation: the one that is written, if it is theirs, else the
    /// one below the shared domain.
    fn domain(
        &self,
        organisation: OrganisationId,
        written: &str,
        config: &Config,
    ) -> Result<String, Wrong> {
        let wrong = |what: String| Err(Wrong::new("domain", what));
        let shared = config.gateway.shared_domain.as_deref();
        let name = self.names.iter().find(|(id, _)| *id == organisation);
        let own = shared.zip(name).map(|(shared, (_, name))| format!("{name}.{shared}"));
        let domain = match (written, &own) {
            ("", None) => {
                return wrong(
                    "is empty: name the domain that clients pull from (or have gateway.shared_domain \
                     set, below which each organisation has one)"
                        .to_owned(),
                );
            }
            ("", Some(own)) => own.as_str(),
            (written, _) => written,
        };
        let is_own = own.as_deref() == Some(domain);
        let owner = self.owners.of_domain(domain);
        if let Some(shared) = shared
            && !is_own
            && (domain == shared || domain.ends_with(&format!(".{shared}")))
            && self.owners.domains.get(domain) != Some(&organisation)
        {
            return wrong(format!(
                "is not this organisation's: below {shared} it has {}",
                own.unwrap_or_default()
            ));
        }
        if owner == organisation {
            return Ok(domain.to_owned());
        }
        let is_served =
            config.packages.iter().any(|one| one.domain == domain && one.line.is_some());
        let is_free = owner == self.owners.operator && !self.owners.domains.contains_key(domain);
        if is_own && is_free && !is_served {
            return Ok(domain.to_owned());
        }
        wrong(
            "is not a domain of this organisation: ask who runs the gateway to give it to you"
                .to_owned(),
        )
    }
}

/// What a change comes to.
pub struct Planned {
    /// All packages then.
    pub made: Vec<Made>,
    /// Which of them is changed.
    pub at: Option<usize>,
    /// Whose it is.
    pub owner: OrganisationId,
    /// What the store is told.
    pub put: Put,
}

impl Planned {
    /// Whether it can stand: those that are set `aside` with it and were not `before`, each by its name,
    /// are what speaks against it.
    ///
    /// # Errors
    /// What is wrong with the package, or with what it does to others.
    pub fn stands(
        &self,
        aside: &BTreeMap<usize, Vec<Wrong>>,
        before: &Standing,
    ) -> Result<(), Refused> {
        let Some(changed) = self.at else {
            return Ok(());
        };
        if let Some(wrong) = aside.get(&changed) {
            return Err(Refused::Wrong(wrong.clone()));
        }
        let others = aside.iter().filter_map(|(at, wrong)| {
            let name = self.made.get(*at)?.written.package();
            let was_served = before.packages.get(&name).is_none_or(Vec::is_empty);
            was_served.then(|| {
                let what = wrong.first().map(|one| one.what.as_str()).unwrap_or_default();
                Wrong::new("domain", format!("would end {name}, which then {what}"))
            })
        });
        let others: Vec<Wrong> = others.collect();
        if others.is_empty() { Ok(()) } else { Err(Refused::Wrong(others)) }
    }
}

/// Errands that may wait.
const ERRANDS_MAX: usize = 64;
