//! The workers, started together and told the same things.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use rustix::process::{Resource, getrlimit};
use rustix::thread::sched_getaffinity;

use crate::cli::inherited::{Handed, Inherited, Key};
use crate::cli::listening::{self, Lendable, Listening};
use crate::messages::access::{self, AccessReceiver};
use crate::messages::archive::{self, Archivist};
use crate::messages::certificates::Certificates;
use crate::messages::keyring::Keyring;
use crate::messages::latency::{self, LatencyReceiver};
use crate::messages::ledger::{Ledger, ROWS};
use crate::messages::mail;
use crate::messages::meters::Meters;
use crate::messages::names;
use crate::messages::order::{self, Drain, Order, Orders};
use crate::messages::pulls::{self, Parcel, PullReceiver};
use crate::messages::quotas::{self, QuotaReceiver};
use crate::messages::random::random;
use crate::messages::wanted::WantedSender;
use crate::pure::config::values::{AccessLog, Config, Delivery};
use crate::pure::desk::OwnKeys;
use crate::pure::limits::{DESCRIPTORS_RESERVED, REFUSING_MAX};
use crate::pure::proof::Proofs;
use crate::pure::snapshot::Snapshot;
use crate::worker::driver::Driver;
use crate::worker::upstream::resolver;
use crate::worker::{self, Ended, Parts};

/// All workers.
pub struct DataPlane {
    /// Where clients are listened for, with the ports that the system chose for port 0.
    pub addresses: Vec<SocketAddr>,
    /// Where they are listened for over TLS.
    pub tls_addresses: Vec<SocketAddr>,
    /// What the workers' runtimes stand on.
    pub driver: Driver,
    /// Their counters.
    pub meters: Vec<Arc<Meters>>,
    orders: Arc<[Orders]>,
    listeners: Arc<Lendable>,
    ended: Receiver<Ended>,
    workers: usize,
    retired: Receiver<Arc<Snapshot>>,
}

/// The other ends of what the workers send.
pub struct Ends {
    /// Pull events.
    pub pulls: Vec<PullReceiver>,
    /// Latencies.
    pub latencies: Vec<LatencyReceiver>,
    /// Access log lines; none where there is no access log.
    pub access: Vec<AccessReceiver>,
    /// How often registries may still be asked.
    pub quotas: QuotaReceiver,
    /// Manifests to be kept on disk.
    pub archivist: Archivist,
}

/// Workers about to start.
pub struct Starting {
    parts: Vec<Parts>,
    end: Sender<Ended>,
}

impl Starting {
    /// Starts them: from now on clients are answered.
    pub fn start(self) -> Result<(), Refused> {
        for parts in self.parts {
            worker::spawn(parts, self.end.clone()).map_err(Refused::System)?;
        }
        Ok(())
    }
}

/// All workers have ended.
pub struct Drained {
    /// What each, by its number, could not hand to the aggregator any more.
    pub rest: Vec<Vec<Parcel>>,
    /// Whether one ended that should not have.
    pub failed: bool,
}

/// Tells all workers the same.
#[derive(Clone)]
pub struct Command {
    orders: Arc<[Orders]>,
    listeners: Arc<Lendable>,
    retired: Receiver<Arc<Snapshot>>,
}

/// Why the workers do not start.
#[derive(Debug)]
pub enum Refused {
    /// A listening address cannot be had, which this key names.
    Address(SocketAddr, Key, io::Error),
    /// io_uring was asked for by name and is not to be had.
    Driver(io::Error),
    /// Threads, descriptors or randomness.
    System(io::Error),
}

impl DataPlane {
    /// Listens, by `inherited` sockets where there are some, and makes everything that the workers
    /// need. Connections wait until they are started.
    pub fn prepare(
        config: &Config,
        inherited: &mut Inherited,
        (snapshot, keyring): (&Arc<Snapshot>, &Arc<Keyring>),
        certificates: &Arc<Certificates>,
        keys: &Arc<OwnKeys>,
        (wanted, look): (&WantedSender, &Sender<()>),
    ) -> Result<(Self, Starting, Ends), Refused> {
        let driver = Driver::choose(config.gateway.driver).map_err(Refused::Driver)?;
        let cpus = cpus();
        let usable = std::thread::available_parallelism().map_or(1, usize::from);
        let count = match config.gateway.workers {
            0 => usable,
            count => count,
        };
        // With more workers than CPUs, pinning would only keep some from running; under a quota of
        // CPU time, all who share these CPUs would choose the same ones.
        let pinned = count <= cpus.len() && usable == cpus.len();
        let Listening { of_workers, lendable, addresses, tls_addresses } =
            Listening::open(config, inherited, count)?;
        let ledger = Ledger::new(random_keys().map_err(Refused::System)?);
        let connections_max =
            connections_allowed(count, of_workers.iter().map(Vec::len).sum(), forwards(config));
        let (retire, retired) = bounded(count * 2);
        let (quotas, said) = quotas::channel();
        let (pulls, latencies, access) = (Vec::new(), Vec::new(), Vec::new());
        let (mut orders, mut meters) = (Vec::new(), Vec::new());
        let (end, ended) = bounded(count);
        let mut starting = Starting { parts: Vec::new(), end };
        let channels: Result<Vec<_>, _> = (0..count).map(|_| order::channel()).collect();
        let channels = channels.map_err(Refused::System)?;
        let bells = || channels.iter().map(|(order, _)| order.bell());
        let post = mail::post(bells());
        let (names, desk) = names::channel(bells());
        let (archives, archivist) = archive::channel(bells());
        let mut ends = Ends { pulls, latencies, access, quotas: said, archivist };
        resolver::spawn(&desk).map_err(Refused::System)?;
        let each = channels.into_iter().zip(post).zip(names.into_iter().zip(archives));
        let each = each.zip(of_workers).enumerate();
        for (index, ((((order, order_book), post), (names, archive)), listeners)) in each {
            let (pulls, pulls_end) = pulls::channel();
            let (latency, latency_end) = latency::channel();
            let access = (config.log.access != AccessLog::Off).then(access::channel).map(
                |(sender, receiver)| {
                    ends.access.push(receiver);
                    sender
                },
            );
            let worker_meters = Meters::new();
            let parts = Parts {
                index,
                cpu: cpus.get(index).copied().filter(|_| pinned),
                driver,
                listeners,
                snapshot: Arc::clone(snapshot),
                keyring: Arc::clone(keyring),
                keys: Arc::clone(keys),
                certificates: Arc::clone(certificates),
                wanted: wanted.clone(),
                quotas: quotas.clone(),
                look: look.clone(),
                retired: retire.clone(),
                orders: order_book,
                post,
                names,
                archive,
                seed: u64::from_ne_bytes(random().map_err(Refused::System)?),
                pulls,
                meters: Arc::clone(&worker_meters),
                latency,
                access,
                ledger: Arc::clone(&ledger),
                connections_max,
            };
            starting.parts.push(parts);
            orders.push(order);
            meters.push(worker_meters);
            ends.pulls.push(pulls_end);
            ends.latencies.push(latency_end);
        }
        let plane = Self {
            addresses,
            tls_addresses,
            driver,
            meters,
            orders: orders.into(),
            listeners: Arc::new(lendable),
            ended,
            workers: count,
            retired,
        };
        Ok((plane, starting, ends))
    }

    /// What tells the workers.
    pub fn command(&self) -> Command {
        let (orders, listeners) = (Arc::clone(&self.orders), Arc::clone(&self.listeners));
        Command { orders, listeners, retired: self.retired.clone() }
    }

    /// Waits for the workers to end, as they do when they have drained; should one end otherwise,
    /// `drain` is called, for its listeners would never be served again.
    pub fn join(self, drain: impl Fn(&str)) -> Drained {
        let mut rest: Vec<Vec<Parcel>> = (0..self.workers).map(|_| Vec::new()).collect();
        let mut failed = false;
        for Ended { index, result } in self.ended.iter().take(self.workers) {
            match result {
                Ok(Ok(left)) => rest[index] = left,
                Ok(Err(error)) => {
                    tracing::error!("worker {index} failed: {error}");
                    failed = true;
                }
                Err(_) => {
                    tracing::error!("worker {index} panicked: a bug of pullgate");
                    failed = true;
                }
            }
            drain("a worker has ended");
        }
        Drained { rest, failed }
    }
}

impl Command {
    /// New requests are decided by `snapshot`, whose registries `keyring` opens.
    pub fn adopt(&self, snapshot: &Arc<Snapshot>, keyring: &Arc<Keyring>) {
        for worker in self.orders.iter() {
            if !worker.give(Order::Adopt(Arc::clone(snapshot), Arc::clone(keyring))) {
                tracing::warn!("a worker that is gone did not take the new configuration");
            }
        }
    }

    /// Frees snapshots that no worker uses any more.
    pub fn free(&self) {
        // The last request that uses an old one sends it here, most within a turn.
        while self.retired.recv_timeout(RETIRING).is_ok() {}
    }

    /// New requests are decided by `proofs` too. Freeing those before takes time: whoever calls
    /// this keeps them a while longer than the workers do.
    pub fn know(&self, proofs: &Arc<Proofs>) {
        for worker in self.orders.iter() {
            worker.give(Order::Know(Arc::clone(proofs)));
        }
    }

    /// New tokens of the gateway's own are made with `keys`.
    pub fn sign(&self, keys: &Arc<OwnKeys>) {
        for worker in self.orders.iter() {
            worker.give(Order::Sign(Arc::clone(keys)));
        }
    }

    /// Clients are shown `certificates`.
    pub fn show(&self, certificates: &Arc<Certificates>) {
        for worker in self.orders.iter() {
            worker.give(Order::Show(Arc::clone(certificates)));
        }
    }

    /// Whether all workers answer, in the time that they have: they have followed what they were told
    /// before.
    pub fn answer(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let (reply, replies) = bounded(self.orders.len());
        for worker in self.orders.iter() {
            worker.give(Order::Answer(reply.clone()));
        }
        // Then of workers that end nobody is waited for.
        drop(reply);
        self.orders.iter().all(|_| replies.recv_deadline(deadline).is_ok())
    }

    /// The workers end, within a time. Unless another process accepts by them, nobody does from now on
    /// by the listening sockets.
    pub fn drain(&self, drain: &Drain) {
        self.listeners.forget();
        for worker in self.orders.iter() {
            worker.give(Order::Drain(drain.clone()));
        }
    }

    /// The sockets that clients come to.
    pub fn listeners(&self) -> io::Result<Vec<Handed>> {
        self.listeners.copies()
    }
}

impl From<listening::Refused> for Refused {
    fn from((address, key, error): listening::Refused) -> Self {
        Self::Address(address, key, error)
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address, key, error) if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{address} is in use by another process; stop it, or change {key}")
            }
            Self::Address(address, key, error) => {
                write!(f, "{address} cannot be listened on: {error}; change {key}")
            }
            Self::Driver(error) => write!(
                f,
                "io_uring is not to be had here ({error}); allow it, or set gateway.driver to \
                 \"auto\" or \"epoll\""
            ),
            Self::System(error) => write!(f, "the workers cannot start: {error}"),
        }
    }
}

/// How long no worker may have sent an old snapshot before no other is waited for.
const RETIRING: Duration = Duration::from_millis(100);

/// The CPUs that this process may run on.
fn cpus() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else {
        return Vec::new();
    };
    (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect()
}

/// What the descriptor limit leaves for clients. `listeners`: of all workers.
fn connections_allowed(workers: usize, listeners: usize, forwards: bool) -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
    let own = workers * DESCRIPTORS_PER_WORKER + DESCRIPTORS_PER_LISTENER * listeners;
    let reserved = DESCRIPTORS_RESERVED.saturating_add(own as u64);
    let left = descriptors.saturating_sub(reserved).max(descriptors / 2);
    let left = if forwards { left / DESCRIPTORS_PER_STREAM } else { left };
    usize::try_from(left).unwrap_or(usize::MAX)
}

/// Whether a client's request may need more descriptors than its connection.
fn forwards(config: &Config) -> bool {
    config.packages.iter().any(|package| package.delivery != Delivery::Redirect)
}

/// A client's connection, a registry's, and the two ends of the pipe between them.
const DESCRIPTORS_PER_STREAM: u64 = 4;

/// A listener that is accepted from, the same to end with, and the same to hand over.
const DESCRIPTORS_PER_LISTENER: usize = 3;

/// A worker's own descriptors but for its listeners: a ring, its timer and doorbell, and room for
/// the connections it is refusing.
const DESCRIPTORS_PER_WORKER: usize = 6 + REFUSING_MAX;

fn random_keys() -> io::Result<[(u64, u64); ROWS]> {
    let mut keys = [(0, 0); ROWS];
    for (first, second) in &mut keys {
        *first = u64::from_ne_bytes(random()?);
        *second = u64::from_ne_bytes(random()?);
    }
    Ok(keys)
}
