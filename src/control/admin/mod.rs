//! The admin listener and the control socket: what operators, people at the dashboard and the command
//! line ask a running gateway. Nothing here is on a request's way.

mod accounts;
mod backup;
mod behind_workers;
mod certs;
mod counting;
pub mod explain;
mod exposition;
mod health;
mod metrics;
mod process;
pub(super) mod socket;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::accounts::Accounts;
use super::acme;
use super::alerts::{self, Alerts};
use super::archive;
use super::dashboard::{self, Dashboard};
use super::logging::Dropped;
use super::made::Makers;
use super::private_socket;
use super::prove;
use super::serving::{Patience, Serving};
use super::showcase;
use super::status::Status;
use super::while_busy;
use crate::aggregator::{Health, Query};
use crate::messages::latency::LatencyReceiver;
use crate::messages::meters::Meters;
use crate::messages::quotas::QuotaReceiver;
use crate::pure::config::values::SignUp;
use crate::pure::snapshot::DASHBOARD_SOCKET;
use alerts::file::OfFile;
use explain::InForce;

/// What the admin listener needs.
pub struct Options {
    /// Where it listens; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// The socket that listens there already, if one was handed over.
    pub handed: Option<std::net::TcpListener>,
    /// Where the control socket is made, `data_dir/control.sock`, if there is to be one. What is
    /// there is replaced, so the caller must hold the lock of `data_dir`.
    pub control_socket: Option<PathBuf>,
    /// What `/metrics` and `/readyz` read.
    pub sources: Sources,
    /// What answers questions about the counts.
    pub query: Query,
    /// What requests are decided by.
    pub in_force: Arc<InForce>,
    /// Who may sign in.
    pub accounts: Accounts,
    /// Who changes packages made in the dashboard.
    pub makers: Makers,
    /// Where secrets of the gateway's own are kept.
    pub data_dir: PathBuf,
    /// And who may make an account.
    pub sign_up: SignUp,
    /// The name server that is asked what proves domains, where it is not the machine's.
    pub resolver: Option<SocketAddr>,
    /// Who is told of all packages, by the configuration file.
    pub alerts: watch::Receiver<Arc<[OfFile]>>,
}

/// What `/metrics` and `/readyz` read.
pub struct Sources {
    /// The meters of each worker, in the order of the workers.
    pub workers: Vec<Arc<Meters>>,
    /// The latencies of each worker.
    pub latencies: Vec<LatencyReceiver>,
    /// `io_uring` or `epoll`.
    pub driver: &'static str,
    /// The aggregator's.
    pub health: Arc<Health>,
    /// The gateway's own.
    pub status: Arc<Status>,
    /// Log lines dropped, where logging was started.
    pub log_dropped: Option<Dropped>,
    /// The prover's.
    pub proofs: Arc<prove::Record>,
    /// The certificates in force.
    pub certificates: Arc<showcase::Record>,
    /// How it stands with those from an authority.
    pub acme: Arc<acme::Record>,
    /// How webhooks are heard.
    pub webhooks: Arc<alerts::Record>,
    /// How often registries may still be asked.
    pub quotas: QuotaReceiver,
    /// The disk's, for manifests.
    pub on_disk: Arc<archive::Health>,
}

/// The listeners, bound.
pub(super) struct Server {
    tcp: TcpListener,
    address: SocketAddr,
    unix: Option<(UnixListener, PathBuf)>,
    /// Where workers hand requests for the dashboard on.
    behind_workers: Option<(UnixListener, PathBuf)>,
    metrics: Arc<metrics::Page>,
    certs: Router,
    status: Arc<Status>,
    query: Query,
    in_force: Arc<InForce>,
    dashboard: Dashboard,
    data_dir: PathBuf,
    certificates: Arc<showcase::Record>,
    alerts_of_file: watch::Receiver<Arc<[OfFile]>>,
    webhooks: Arc<alerts::Record>,
}

impl Server {
    /// Binds. To be called inside a runtime; a busy port is tried again for a while. The TCP listener is
    /// returned once more.
    pub(super) fn bind(options: Options) -> io::Result<(Self, std::net::TcpListener)> {
        let Options { listen, handed, control_socket, sources, query, in_force, .. } = options;
        let Options { accounts, makers, data_dir, sign_up, resolver, alerts, .. } = options;
        let (asked, known) = (query.clone(), (Arc::clone(&in_force), alerts.clone()));
        let (status, joining) = (Arc::clone(&sources.status), (sign_up, resolver));
        let dashboard = Dashboard::new(accounts, makers, asked, known, &data_dir, joining, status)?;
        let tcp = match handed {
            Some(handed) => handed,
            None => while_busy(|| std::net::TcpListener::bind(listen)).map_err(|error| {
                io::Error::new(error.kind(), format!("admin.listen {listen}: {error}"))
            })?,
        };
        tcp.set_nonblocking(true)?;
        let once_more = tcp.try_clone()?;
        let tcp = TcpListener::from_std(tcp)?;
        let socket = |what, path: PathBuf| {
            let unix = private_socket::bind(what, &path)?;
            unix.set_nonblocking(true)?;
            io::Result::Ok((UnixListener::from_std(unix)?, path))
        };
        let beside = control_socket.as_ref().map(|path| path.with_file_name(DASHBOARD_SOCKET));
        let unix = control_socket.map(|path| socket("control socket", path)).transpose()?;
        let behind_workers = beside.map(|path| socket("dashboard's socket", path)).transpose()?;
        let certificates = Arc::clone(&sources.certificates);
        let webhooks = Arc::clone(&sources.webhooks);
        let server = Self {
            address: tcp.local_addr()?,
            tcp,
            unix,
            behind_workers,
            status: Arc::clone(&sources.status),
            certs: certs::routes(Arc::clone(&sources.certificates), Arc::clone(&sources.acme)),
            metrics: Arc::new(metrics::Page::new(sources)),
            query,
            in_force,
            dashboard,
            data_dir,
            certificates,
            alerts_of_file: alerts,
            webhooks,
        };
        Ok((server, once_more))
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// See [`Dashboard::set_up_path`].
    pub(super) fn set_up_path(&self) -> String {
        self.dashboard.set_up_path()
    }

    /// Who tells people what happens to their packages.
    pub(super) fn alerts(&self) -> Alerts {
        Alerts {
            accounts: self.dashboard.accounts.clone(),
            query: self.query.clone(),
            in_force: Arc::clone(&self.in_force),
            certificates: Arc::clone(&self.certificates),
            of_file: self.alerts_of_file.clone(),
            record: Arc::clone(&self.webhooks),
        }
    }

    /// Serves until `stopped`, then gives answers under way a moment to finish. What that says is
    /// returned: whether this is the end of the gateway, and not only of this process.
    pub(super) async fn serve(self, stopped: impl Future<Output = bool>) -> bool {
        let (stop, stopping) = watch::channel(());
        let mut servers = JoinSet::new();
        let limits = self.in_force.snapshot().limits.clone();
        let patience = Patience { head: limits.header_timeout, body: limits.write_timeout };
        let admin = health::routes(self.status)
            .merge(metrics::routes(Arc::clone(&self.metrics)))
            .merge(dashboard::routes(self.dashboard.clone()));
        let accounts = accounts::routes(self.dashboard.accounts.clone());
        let copies = backup::routes(backup::Originals {
            data_dir: self.data_dir,
            query: self.query.clone(),
            accounts: self.dashboard.accounts.clone(),
        });
        tokio::spawn(self.dashboard.clone().announce(self.address));
        let admin = Serving {
            what: "the admin listener",
            listener: self.tcp,
            routes: admin,
            connections_max: CONNECTIONS_MAX,
            client: |peer| Some(peer.ip()),
            patience,
        };
        servers.spawn(admin.run(stopping.clone()));
        let behind_workers = self.behind_workers.map(|(listener, path)| {
            let behind_workers = Serving {
                what: "the dashboard's socket",
                listener,
                routes: behind_workers::routes(dashboard::routes(self.dashboard.clone())),
                connections_max: CONNECTIONS_MAX,
                client: |_| None,
                // A client that is slow to send a body is told so by its worker, which comes first.
                patience: Patience { body: patience.body * 2, ..patience },
            };
            servers.spawn(behind_workers.run(stopping.clone()));
            path
        });
        let socket = self.unix.map(|(unix, path)| {
            let routes = socket::routes(self.query).merge(explain::routes(self.in_force));
            let routes = routes.merge(accounts).merge(copies);
            let control = axum::serve(unix, routes.merge(self.certs));
            let control = control.with_graceful_shutdown(end(stopping)).into_future();
            servers.spawn(async {
                let _ = control.await;
            });
            path
        });
        let mut ticks = tokio::time::interval(TAKEN_EVERY);
        let mut stopped = pin!(stopped);
        let is_over = loop {
            tokio::select! {
                is_over = &mut stopped => break is_over,
                _ = ticks.tick() => self.metrics.take(),
            }
        };
        for path in [socket, behind_workers].into_iter().flatten().filter(|_| is_over) {
            // Who finds no control socket reads the store itself.
            let _ = std::fs::remove_file(path);
        }
        drop(stop);
        let _ = tokio::time::timeout(STOP_PATIENCE, servers.join_all()).await;
        is_over
    }
}

/// Ends with the sender.
async fn end(mut stopping: watch::Receiver<()>) {
    let _ = stopping.changed().await;
}

/// Connections of the admin listener at once, of people, programs and scrapers.
const CONNECTIONS_MAX: usize = 256;
/// How often is taken what workers hand over, so that a scrape is never further behind.
const TAKEN_EVERY: Duration = Duration::from_millis(500);
/// How long an answer under way may hold up the end of the process.
const STOP_PATIENCE: Duration = Duration::from_secs(1);
