//! `pullgate serve`: the wiring.
//!
//! ```text
//!             signals ──► control thread ◄── GET /metrics, /pulls (admin listener, control socket)
//!                │         prover │  ▲  ▲
//!                │          ▲     │  │  │ meters, latencies, health
//!                │ drain    │Know │  │names
//!   files ─► reload ─ Adopt ┴─► worker 0 … n ── pages of events ──► aggregator ──► journal, sled
//!                                │    ▲
//!                                └────┴── lines ──► access log
//! ```

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::bounded;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};

use crate::aggregator::clock::Clock;
use crate::aggregator::lock::Lock;
use crate::aggregator::succession::Beginning;
use crate::aggregator::{self, Aggregator, Feed, Health};
use crate::cli::adopt::{self, Adoption, Ready};
use crate::cli::adopting::{Adopting, Told, disk, milliseconds};
use crate::cli::books::Books;
use crate::cli::data_plane::{self, DataPlane, Ends};
use crate::cli::drain::{Drain, giving};
use crate::cli::inherited::Inherited;
use crate::cli::supervised;
use crate::cli::upgrade::{self, Predecessor};
use crate::control::access_log::{self, AccessLog};
use crate::control::accounts::Accounts;
use crate::control::acme::{self, Acme};
use crate::control::admin::explain::InForce;
use crate::control::admin::{self, Sources};
use crate::control::alerts::file::OfFiles;
use crate::control::archive::{self, Keeping};
use crate::control::logging::{self, Dropped};
use crate::control::made;
use crate::control::own_secrets::OwnSecrets;
use crate::control::prove::{self, Prover};
use crate::control::reload::{self, Files, Reload};
use crate::control::showcase::Showcase;
use crate::control::signals::Signals;
use crate::control::status::Status;
use crate::control::supervisor::{Supervisor, Watchdog};
use crate::control::{self, Control, while_busy};
use crate::messages::wanted;
use crate::pure::config::check::check;
use crate::pure::config::problem::Problem;
use crate::pure::config::values::{AccessLog as AccessKind, Config};

/// Serves by the file at `path` until a signal ends it, or another process takes over. `upgrades` where
/// this one takes over itself; `resolver` is asked what proves domains. Status 0 after an orderly stop, 1 with words where the gateway cannot
/// start.
pub fn run(path: &Path, upgrades: bool, resolver: Option<SocketAddr>) -> ExitCode {
    let name = path.display().to_string();
    let text = match super::check::read(path) {
        Ok(text) => text,
        Err(words) => return super::fail(&words),
    };
    let (config, warnings) = match check(&name, &text) {
        Ok(checked) => checked,
        Err(problems) => {
            for problem in &problems {
                super::say(&problem.to_string());
            }
            return super::fail(&format!("{name}: not served, because of the above"));
        }
    };
    let logging = logging::start(&config.log);
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    let inherited = match Inherited::from_environment() {
        Ok(inherited) => inherited,
        Err(words) => {
            tracing::error!("the gateway does not start: {words}");
            return ExitCode::FAILURE;
        }
    };
    let options = Options {
        source: Source { path: Some(path.to_path_buf()), text },
        log_dropped: Some(logging.dropped()),
        inherited,
        supervisor: supervised::supervisor(),
        watchdog: supervised::watchdog(),
        upgrades,
        resolver,
    };
    match start(config, options) {
        Ok(running) => {
            if running.wait() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(refused) => {
            tracing::error!("the gateway does not start: {refused}");
            ExitCode::FAILURE
        }
    }
}

/// What a gateway is started with beside its configuration.
#[derive(Default)]
pub struct Options {
    /// What the configuration came from.
    pub source: Source,
    /// Log lines dropped, for `/metrics`.
    pub log_dropped: Option<Dropped>,
    /// Sockets that listen already.
    pub inherited: Inherited,
    /// Who is told how the gateway fares.
    pub supervisor: Supervisor,
    /// How often that wants to hear that all goes on, if at all.
    pub watchdog: Option<Duration>,
    /// Whether it takes over from the gateway that runs on the same `data_dir`.
    pub upgrades: bool,
    /// The name server that is asked what proves domains, where it is not the machine's.
    pub resolver: Option<SocketAddr>,
}

/// What a configuration came from.
#[derive(Default)]
pub struct Source {
    /// The file, to be watched, where it is one.
    pub path: Option<PathBuf>,
    /// The text.
    pub text: String,
}

/// A gateway that serves.
pub struct Running {
    data_dir: PathBuf,
    data_plane: DataPlane,
    drain: Drain,
    aggregator: Aggregator,
    control: Control,
    reload: Reload,
    access_log: Option<AccessLog>,
    keeping: Keeping,
    _watchdog: Option<Watchdog>,
}

/// Why a gateway does not start.
#[derive(Debug)]
pub enum StartError {
    /// The data directory cannot be used.
    Data(io::Error),
    /// A socket was handed over that the configuration does not want.
    Inherited(String),
    /// The gateway that runs does not make way.
    Upgrade(String),
    /// A file that the configuration names cannot be used.
    Files(Vec<Problem>),
    /// The access log cannot be opened.
    AccessLog(io::Error),
    /// The workers do not start.
    Workers(data_plane::Refused),
    /// The admin listener or the control socket cannot be had.
    Admin(io::Error),
    /// Threads or memory.
    System(io::Error),
}

/// Starts a gateway by `config`, which was read from the text of `options`. When this returns, clients are
/// listened for; the store opens meanwhile.
pub fn start(config: Config, options: Options) -> Result<Running, StartError> {
    prepare_process(&config);
    let data_dir = config.gateway.data_dir.clone();
    let mut inherited = options.inherited;
    inherited.check(&config).map_err(StartError::Inherited)?;
    let predecessor = match options.upgrades {
        false => None,
        true => {
            let (found, sockets) = Predecessor::find(&data_dir).map_err(StartError::Upgrade)?;
            // Not checked: what is not wanted any more is left to it.
            inherited = sockets;
            Some(found)
        }
    };
    let offered = inherited.addresses();
    let (supervisor, watchdog) = match &predecessor {
        Some(before) => supervised::as_before(before, options.supervisor, options.watchdog),
        None => (options.supervisor, options.watchdog),
    };
    let Source { path, text } = options.source;
    let file = path.as_ref().map_or_else(String::new, |path| path.display().to_string());
    let files = Files::look_at(adopt::files(&config));
    let adoption = Adoption::new(file).map_err(StartError::System)?;
    let lock = match predecessor {
        None => Some(while_busy(|| Lock::take(&data_dir)).map_err(StartError::Data)?),
        Some(_) => None,
    };
    let accounts = Accounts::open(&data_dir).map_err(StartError::System)?;
    let (books, config, ready) =
        Books::open(config, text, adoption, accounts.clone()).map_err(StartError::Files)?;
    let (secrets, keys) = OwnSecrets::open(&data_dir).map_err(StartError::System)?;
    let status = Status::new();
    let (wanted, to_ask) = wanted::channel();
    let showcase = Showcase::new();
    let wake = bounded(1);
    let (makers, orders) = made::channel(wake.0.clone());
    let Ready { snapshot, keyring, acme, read } = &ready;
    let (shown, clients, sources) = (&read.files, &read.clients, &read.sources);
    showcase.adopt(shown.clone());
    let standing = Arc::<acme::Record>::default();
    let (acme, acme_plans) = Acme::new(data_dir.clone(), &showcase, &standing, acme.clone());
    let alerts = OfFiles::new(Arc::clone(&read.alerts));
    let certificates = showcase.table();
    let (data_plane, workers, ends) = DataPlane::prepare(
        &config,
        &mut inherited,
        (snapshot, keyring),
        &certificates,
        &keys,
        (&wanted, &wake.0),
    )
    .map_err(StartError::Workers)?;
    if let Some(before) = &predecessor {
        before.suits(data_plane.driver.name()).map_err(StartError::Upgrade)?;
    }
    let plain = data_plane.addresses.iter().map(ToString::to_string);
    let sealed = data_plane.tls_addresses.iter().map(|address| format!("{address} (TLS)"));
    tracing::info!(
        "{} workers on {} listen at {}",
        data_plane.meters.len(),
        data_plane.driver,
        plain.chain(sealed).collect::<Vec<_>>().join(", ")
    );
    let Ends { pulls, latencies, access, quotas, archivist } = ends;
    let on_disk = Arc::<archive::Health>::default();
    let keeping = archive::start(&data_dir, disk(&config), archivist, Arc::clone(&on_disk))
        .map_err(StartError::System)?;
    let access_log = start_access_log(&config, access, &status)?;
    let health = Arc::<Health>::default();
    let counting = aggregator::Options {
        data_dir: data_dir.clone(),
        counting: config.counting.clone(),
        insight: config.insight.clone(),
        clients: clients.clone(),
        sources: Arc::clone(sources),
        look: Arc::new(Clock::look),
    };
    let (aggregator, begin) = aggregator::spawn_waiting(counting, pulls, Arc::clone(&health))
        .map_err(StartError::System)?;
    let drain = Drain {
        status: Arc::clone(&status),
        supervisor: supervisor.clone(),
        successor: Arc::default(),
        workers: data_plane.command(),
        timeout_ms: Arc::new(AtomicU64::new(milliseconds(config.gateway.drain_timeout))),
    };
    let in_force = InForce::new(Arc::clone(snapshot), Arc::clone(&keys));
    in_force.open(keyring);
    in_force.show(&certificates);
    let (workers_to_tell, known) = (data_plane.command(), Arc::clone(&in_force));
    showcase.publish(Box::new(move |certificates| {
        known.show(certificates);
        workers_to_tell.show(certificates);
    }));
    let record = Arc::<prove::Record>::default();
    let (workers_to_tell, known) = (data_plane.command(), Arc::clone(&in_force));
    let (prover, plans) = Prover::new(prove::Options {
        wanted: to_ask,
        publish: Arc::new(move |proofs| {
            known.know(proofs);
            workers_to_tell.know(proofs);
        }),
        record: Arc::clone(&record),
    });
    plans.adopt(ready.plan(&config));
    let admin = admin::Options {
        listen: config.admin.listen,
        handed: inherited.take(config.admin.listen).pop(),
        control_socket: Some(data_dir.join("control.sock")),
        sources: Sources {
            workers: data_plane.meters.clone(),
            latencies,
            driver: data_plane.driver.name(),
            health: Arc::clone(&health),
            status: Arc::clone(&status),
            log_dropped: options.log_dropped,
            proofs: record,
            certificates: showcase.record(),
            acme: standing,
            webhooks: Arc::default(),
            quotas,
            on_disk,
        },
        query: aggregator.query(),
        in_force: Arc::clone(&in_force),
        accounts,
        makers: makers.clone(),
        data_dir: data_dir.clone(),
        sign_up: config.admin.sign_up,
        resolver: options.resolver,
        alerts: alerts.subscribe(),
    };
    let packages = config.packages.len() as u64;
    let known = Arc::clone(&in_force);
    let told = Told {
        plans,
        in_force,
        showcase,
        acme: acme_plans,
        alerts,
        on_disk: keeping.room(),
        drain: drain.clone(),
        counts: aggregator.query(),
        recount: Box::new(aggregator.reconfigure()),
    };
    orders.stands(books.standing());
    let has_file = path.is_some();
    let text = books.text();
    let adopter = Box::new(Adopting::new(config, books, told));
    let options = {
        let (status, supervisor) = (Arc::clone(&status), supervisor.clone());
        reload::Options { path, text, files, adopter, orders, status, supervisor, wake }
    };
    let reload = reload::start(options).map_err(StartError::System)?;
    let signals = signals(&drain, has_file.then_some(&reload), access_log.as_ref());
    let workers_to_tell = data_plane.command();
    let rotation = secrets.rotation(Box::new(move |keys| {
        known.sign(keys);
        workers_to_tell.sign(keys);
    }));
    let left = inherited.addresses();
    let taken = offered.into_iter().filter(|address| !left.contains(address)).collect();
    // Closed here: the process before accepts what still comes there.
    drop(inherited);
    // Until here that one has not noticed anything.
    let handed_over = match predecessor {
        None => None,
        Some(mut before) => {
            let estate = before.let_go(&data_dir, taken).map_err(StartError::Upgrade)?;
            Some((before, estate))
        }
    };
    let mut control =
        control::start(admin, signals, prover, rotation, acme).map_err(StartError::Admin)?;
    let watched = watchdog.map(|within| {
        let known = (health, Arc::clone(&status));
        supervised::watch(within, supervisor.clone(), data_plane.command(), &aggregator, known)
    });
    let _watchdog = watched.transpose().map_err(StartError::System)?;
    // Last, so that nobody is answered by a gateway that then does not start.
    workers.start().map_err(StartError::Workers)?;
    let beginning = match handed_over {
        None => lock.map(|lock| Beginning { lock, before: None }),
        Some((before, estate)) => {
            let beginning = before.take_over(estate).map_err(StartError::Upgrade)?;
            // It may have written down more until now.
            makers.look();
            Some(beginning)
        }
    };
    if let Some(beginning) = beginning {
        begin.now(beginning);
    }
    control.begin();
    let giving = giving(&drain, &data_plane, &aggregator, &mut control, watchdog, &data_dir);
    upgrade::listen(&data_dir, giving).map_err(StartError::Admin)?;
    status.adopted(1, packages);
    supervisor.ready();
    Ok(Running {
        data_dir,
        data_plane,
        drain,
        aggregator,
        control,
        reload,
        access_log,
        keeping,
        _watchdog,
    })
}

impl Running {
    /// Where clients are listened for.
    pub fn plain_addresses(&self) -> &[SocketAddr] {
        &self.data_plane.addresses
    }

    /// Where the admin listener is.
    pub fn admin_address(&self) -> SocketAddr {
        self.control.admin_address()
    }

    /// Where the first account is made.
    pub fn set_up_link(&self) -> String {
        format!("http://{}{}", self.admin_address(), self.control.set_up_path())
    }

    /// Each pull as it is booked.
    pub fn subscribe(&self) -> Feed {
        self.aggregator.subscribe()
    }

    /// Serves until a signal says to drain, and ends in order: what is under way is finished, what
    /// was counted is written. Says whether all of that went well.
    pub fn wait(self) -> bool {
        let drained = self.data_plane.join(|why| self.drain.begin(why));
        self.reload.stop();
        let written = self.aggregator.stop(drained.rest);
        self.keeping.stop();
        if let Some(access_log) = self.access_log {
            access_log.stop();
        }
        let is_succeeded = self.drain.successor.load(Ordering::Relaxed);
        if !is_succeeded {
            upgrade::forget(&self.data_dir);
        }
        self.control.stop();
        match (written, is_succeeded) {
            (true, false) => tracing::info!("stopped: everything counted is written"),
            (true, true) => tracing::info!("stopped: everything counted is handed over"),
            (false, _) => tracing::error!("stopped: not everything counted could be written"),
        }
        written && !drained.failed
    }

    /// What tells it to drain.
    pub fn drain(&self) -> Drain {
        self.drain.clone()
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(error) => write!(f, "gateway.{error}"),
            Self::Inherited(words) | Self::Upgrade(words) => f.write_str(words),
            Self::Files(problems) => {
                let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("; "))
            }
            Self::Workers(refused) => refused.fmt(f),
            Self::Admin(error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{error}; stop what uses it, or change the key")
            }
            Self::Admin(error) | Self::AccessLog(error) => error.fmt(f),
            Self::System(error) => write!(f, "the system refuses: {error}"),
        }
    }
}

fn signals(drain: &Drain, reload: Option<&Reload>, access_log: Option<&AccessLog>) -> Signals {
    let (drain, hung_up) = (drain.clone(), drain.clone());
    let trigger = reload.map(Reload::trigger);
    let reopen = access_log.map(AccessLog::reopen);
    Signals {
        drain: Box::new(move |signal| drain.begin(signal)),
        hang_up: Box::new(move || {
            match &trigger {
                Some(trigger) => trigger.ask(),
                // There is no file to read again: the terminal was closed.
                None => hung_up.begin("SIGHUP"),
            }
            if let Some(reopen) = &reopen {
                reopen.ask();
            }
        }),
    }
}

fn start_access_log(
    config: &Config,
    lines: Vec<crate::messages::access::AccessReceiver>,
    status: &Arc<Status>,
) -> Result<Option<AccessLog>, StartError> {
    let format = match config.log.access {
        AccessKind::Off => return Ok(None),
        AccessKind::Json => access_log::Format::Json,
        AccessKind::Combined => access_log::Format::Combined,
    };
    let file = config.log.access_file.clone();
    access_log::start(format, file, lines, Arc::clone(status))
        .map(Some)
        .map_err(StartError::AccessLog)
}

/// What the process is to the system: no core dumps, whose memory would hold addresses, and as many
/// descriptors as it may have.
fn prepare_process(config: &Config) {
    if !config.gateway.core_dumps
        && let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable)
    {
        tracing::warn!("core dumps cannot be switched off: {error}");
    }
    let descriptors = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: descriptors.maximum, maximum: descriptors.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("the limit of open files stays at {:?}: {error}", descriptors.current);
    }
}
