//! What puts a changed configuration in force: one new snapshot in every worker, or none.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::aggregator::{Query, Reconfigured};
use crate::cli::adopt::{self, Ready};
use crate::cli::books::Books;
use crate::cli::drain::Drain;
use crate::control::accounts::packages::{Doing, Package, Put};
use crate::control::acme;
use crate::control::admin::explain::InForce;
use crate::control::alerts::file::OfFiles;
use crate::control::archive;
use crate::control::made::plan::{Around, Planned};
use crate::control::made::{Order, Orders, Outcome, Refused, has_counts};
use crate::control::prove::Plans;
use crate::control::reload::{Adopter, Applied, Files};
use crate::control::showcase::Showcase;
use crate::control::status::Phase;
use crate::pure::access::{Action, Grants, Object};
use crate::pure::config::made::{Made, Merged};
use crate::pure::config::problem::Problem;
use crate::pure::config::values::Config;

/// Who is told of a changed configuration beside the workers.
pub struct Told {
    /// The prover.
    pub plans: Plans,
    /// Who explains what workers decide.
    pub in_force: Arc<InForce>,
    /// What clients are shown.
    pub showcase: Arc<Showcase>,
    /// Who asks an authority for certificates.
    pub acme: acme::Plans,
    /// Who is told of all packages.
    pub alerts: OfFiles,
    /// Who keeps manifests on disk.
    pub on_disk: archive::Room,
    /// Who ends the workers, and knows them.
    pub drain: Drain,
    /// The counts.
    pub counts: Query,
    /// The aggregator.
    pub recount: Box<dyn Fn(Reconfigured) + Send>,
}

/// Puts one configuration after the other in force.
pub struct Adopting {
    /// What the process was started with; only keys that it cannot change are compared.
    started: Config,
    books: Books,
    told: Told,
}

impl Adopting {
    /// From what the process was `started` with.
    pub fn new(started: Config, books: Books, told: Told) -> Self {
        let started = Config { packages: Vec::new(), ..started };
        Self { started, books, told }
    }

    /// Tells everybody. Workers have been told when this returns, but not followed yet.
    fn tell(&self, config: &Config, ready: Ready) {
        let told = &self.told;
        told.in_force.adopt(&ready.snapshot);
        told.in_force.open(&ready.keyring);
        told.drain.workers.adopt(&ready.snapshot, &ready.keyring);
        told.plans.adopt(ready.plan(config));
        told.on_disk.resize(disk(config));
        let Ready { snapshot, acme, read, .. } = ready;
        told.showcase.adopt(read.files.clone());
        told.acme.send_replace(acme);
        told.alerts.send_replace(Arc::clone(&read.alerts));
        let (counting, insight) = (config.counting.clone(), config.insight.clone());
        let (clients, sources) = (read.clients.clone(), Arc::clone(&read.sources));
        (told.recount)(Reconfigured { counting, insight, clients, sources });
        let timeout_ms = milliseconds(config.gateway.drain_timeout);
        told.drain.timeout_ms.store(timeout_ms, Ordering::Relaxed);
        told.drain.status.adopted(snapshot.generation, config.packages.len() as u64);
    }

    /// Puts what is `ready` in force, of this text where it is another, and tells everybody.
    fn adopt(
        &mut self,
        text: Option<&str>,
        made: &[Made],
        (merged, ready): (Merged, Ready),
        orders: &Orders,
    ) -> Config {
        let config = self.books.adopt(text, made, merged, &ready);
        self.tell(&config, ready);
        orders.stands(self.books.standing());
        config
    }

    /// What comes of it. Where that is in force, snapshots before it are still to be freed.
    fn put(&mut self, order: &Order, orders: &Orders) -> Result<Outcome, Refused> {
        if self.is_draining() {
            return Err(Refused::Draining);
        }
        self.books.read().map_err(Refused::Store)?;
        let grants = self.books.grants(&order.asker.who, order.now_s).map_err(Refused::Store)?;
        let operator = self.books.stored().owners.operator;
        let runs_gateway = grants.may(Action::See, Object::Gateway { operator });
        let outcome = self.put_by(order, &grants, orders);
        outcome.map_err(|refused| refused.told(&order.asker.who, runs_gateway))
    }

    /// The same by who may all that.
    fn put_by(
        &mut self,
        order: &Order,
        grants: &Grants,
        orders: &Orders,
    ) -> Result<Outcome, Refused> {
        let (file, _) = self.books.of_file().map_err(refused)?;
        let in_force = self.told.in_force.snapshot();
        let around = Around { grants, file: &file, routes: &in_force.routes };
        let planned = self.books.stored().with(order, &around)?;
        let merged = self.books.merged(None, &planned.made).map_err(refused)?;
        let owners = &self.books.stored().owners;
        planned.stands(&merged.aside, &self.books.standing(), owners, &around)?;
        let ready = self.books.ready_again(&merged).map_err(refused)?;
        let (snapshot, keyring) = (Arc::clone(&ready.snapshot), Arc::clone(&ready.keyring));
        let Planned { made, owner, owns, claims, put, .. } = planned;
        if claims {
            self.is_new(&put)?;
        }
        if order.is_trial {
            return Ok(Outcome { package: package(put, 0), snapshot, keyring });
        }
        let store = self.books.accounts();
        let (asks, routes) = (order.asker.keeps.is_none(), Arc::clone(&in_force));
        // What another left there ends as the domain becomes theirs, and is not theirs to know.
        if let Put::Make(written) = put.clone()
            && asks
            && !claims
            && let Some(left) = store
                .wait(move |store| store.left(&written, &routes.routes))
                .map_err(Refused::Store)?
        {
            return Err(Refused::Left(left));
        }
        let keeps = order.asker.keeps == Some(true);
        let (who, to_store, now_s) = (order.asker.who.clone(), put.clone(), order.now_s);
        let next = Arc::clone(&snapshot);
        let id = store.wait(move |store| {
            let (who, routes, then) = (&who, &in_force.routes, &next.routes);
            let as_owner = owns;
            let doing = Doing { who, owner, as_owner, claims, keeps, routes, then, now_s };
            store.put_package(&doing, &to_store)
        });
        let id = id.map_err(Refused::Store)?;
        // From here on nothing can fail: it is written down, and will be in force after a crash.
        self.adopt(None, &made, (merged, ready), orders);
        match self.told.drain.workers.answer(WORKERS_PATIENCE) {
            true => Ok(Outcome { package: package(put, id), snapshot, keyring }),
            false => Err(Refused::Unheard { is_draining: self.is_draining() }),
        }
    }

    /// That the domain that becomes an organisation's by this has no counts of others.
    fn is_new(&self, put: &Put) -> Result<(), Refused> {
        let Some(Package { written, .. }) = package(put.clone(), 0) else {
            return Ok(());
        };
        match has_counts(&self.told.counts, &written.domain) {
            Ok(false) => Ok(()),
            Ok(true) => Err(Refused::Counted(written.domain)),
            Err(error) => {
                Err(Refused::Configuration(format!("just now {error}; try again in a moment")))
            }
        }
    }

    fn is_draining(&self) -> bool {
        self.told.drain.status.phase() == Phase::Draining
    }
}

/// The keys that differ between the configuration the process was `started` with and the one it
/// runs `now`, and that a running process cannot change.
fn needs_restart(started: &Config, now: &Config) -> Vec<&'static str> {
    let (was, is) = (&started.gateway, &now.gateway);
    [
        ("gateway.listen", was.listen != is.listen),
        ("gateway.listen_tls", was.listen_tls != is.listen_tls),
        ("gateway.workers", was.workers != is.workers),
        ("gateway.driver", was.driver != is.driver),
        ("gateway.data_dir", was.data_dir != is.data_dir),
        ("gateway.core_dumps", was.core_dumps != is.core_dumps),
        ("admin.listen", started.admin.listen != now.admin.listen),
        ("admin.sign_up", started.admin.sign_up != now.admin.sign_up),
        ("log.level", started.log.level != now.log.level),
        ("log.format", started.log.format != now.log.format),
        ("log.access", started.log.access != now.log.access),
        ("log.access_file", started.log.access_file != now.log.access_file),
    ]
    .into_iter()
    .filter_map(|(key, differs)| differs.then_some(key))
    .collect()
}

impl Adopter for Adopting {
    fn file(
        &mut self,
        text: &str,
        files: &mut Files,
        orders: &Orders,
    ) -> Result<Applied, Vec<Problem>> {
        if let Err(error) = self.books.read() {
            tracing::error!("packages made in the dashboard stay as they were: {error}");
        }
        let made = self.books.stored().made();
        let merged = self.books.merged(Some(text), &made)?;
        *files = Files::look_at(adopt::files(&merged.config));
        let ready = self.books.ready(&merged)?;
        for warning in &merged.warnings {
            tracing::warn!("{warning}");
        }
        let generation = ready.snapshot.generation;
        let config = self.adopt(Some(text), &made, (merged, ready), orders);
        self.told.drain.workers.free();
        Ok(Applied {
            summary: format!("{} packages, generation {generation}", config.packages.len()),
            needs_restart: needs_restart(&self.started, &config),
        })
    }

    fn change(&mut self, order: Order, orders: &Orders) {
        let outcome = self.put(&order, orders);
        let is_in_force =
            !order.is_trial && matches!(outcome, Ok(_) | Err(Refused::Unheard { .. }));
        order.answer(outcome);
        if is_in_force {
            self.told.drain.workers.free();
        }
    }

    fn look(&mut self, orders: &Orders) -> bool {
        if let Err(error) = self.books.read() {
            tracing::error!("packages made in the dashboard stay as they were: {error}");
            return false;
        }
        if !self.books.is_behind() {
            return true;
        }
        let made = self.books.stored().made();
        let outcome = self.books.merged(None, &made).and_then(|merged| {
            let ready = self.books.ready_again(&merged)?;
            Ok((merged, ready))
        });
        match outcome.map_err(refused) {
            Ok(adopted) => {
                self.adopt(None, &made, adopted, orders);
                self.told.drain.workers.free();
                true
            }
            Err(why) => {
                tracing::error!("packages made in the dashboard stay as they were: {why}");
                false
            }
        }
    }
}

/// The package as it stands then.
fn package(put: Put, id: i64) -> Option<Package> {
    match put {
        Put::Make(written) | Put::Change(_, written) => Some(Package { id, written }),
        Put::Restore(package) => Some(package),
        Put::Remove(_) => None,
    }
}

/// The text was right when it was put in force.
fn refused(problems: Vec<Problem>) -> Refused {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    Refused::Configuration(lines.join("; "))
}

/// How many bytes of manifests are kept on disk: none without any in memory.
pub fn disk(config: &Config) -> u64 {
    if config.cache.memory == 0 { 0 } else { config.cache.disk as u64 }
}

/// For what counts so.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// How long every worker may take to follow. One that takes longer has failed.
const WORKERS_PATIENCE: Duration = Duration::from_secs(10);
