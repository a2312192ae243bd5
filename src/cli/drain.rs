//! How the gateway ends: by a signal, or because another process goes on.

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::aggregator::Aggregator;
use crate::aggregator::lock::Lock;
use crate::cli::data_plane::{Command, DataPlane};
use crate::cli::inherited::{Handed, Key};
use crate::cli::upgrade::Giving;
use crate::control::Control;
use crate::control::status::{Phase, Status};
use crate::control::supervisor::Supervisor;
use crate::messages::order;

/// What tells a gateway to drain.
#[derive(Clone)]
pub struct Drain {
    pub(super) status: Arc<Status>,
    pub(super) supervisor: Supervisor,
    /// Whether another process has taken over.
    pub(super) successor: Arc<AtomicBool>,
    pub(super) workers: Command,
    pub(super) timeout_ms: Arc<AtomicU64>,
}

impl Drain {
    /// Lets what is under way finish and the gateway end, once.
    pub fn begin(&self, why: &str) {
        if self.status.phase() == Phase::Draining {
            return;
        }
        let within = self.within();
        tracing::info!("draining, within {within:?}: {why}");
        self.status.drain();
        self.supervisor.stopping();
        self.workers.drain(&order::Drain { within, handed_over: None });
    }

    /// The same because another `process` accepts connections at these addresses.
    fn hand_over(&self, process: u32, taken: Arc<[SocketAddr]>) {
        self.successor.store(true, Ordering::Relaxed);
        self.supervisor.succeeded_by(process);
        if self.status.phase() == Phase::Draining {
            return;
        }
        let within = self.within();
        tracing::info!("draining, within {within:?}: process {process} has taken over");
        self.status.drain();
        self.workers.drain(&order::Drain { within, handed_over: Some(taken) });
    }

    fn within(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.load(Ordering::Relaxed))
    }
}

/// What is handed over to a process that takes over.
pub(super) fn giving(
    drain: &Drain,
    data_plane: &DataPlane,
    aggregator: &Aggregator,
    control: &mut Control,
    watchdog: Option<Duration>,
    data_dir: &Path,
) -> Giving {
    let (workers, admin) = (data_plane.command(), control.lend_admin_listener());
    let (locked, stand_down) = (data_dir.to_owned(), control.stand_down());
    let (serving, patient, ended) = (drain.clone(), drain.clone(), drain.clone());
    let socket = drain.supervisor.socket();
    Giving {
        driver: data_plane.driver.name(),
        sockets: Box::new(move || {
            let mut sockets = workers.listeners()?;
            if let Some(admin) = &admin {
                let admin = admin.try_clone()?.into();
                sockets.push(Handed::new(Key::Admin.name().to_owned(), admin)?);
            }
            Ok(sockets)
        }),
        counting: aggregator.succession(),
        control_socket: data_dir.join("control.sock"),
        lock: Box::new(move || Lock::take(&locked)),
        supervisor: socket.map(|socket| socket.as_bytes().to_owned()),
        watchdog,
        serves: Box::new(move || serving.status.phase() == Phase::Serving),
        drains_within: Box::new(move || patient.within()),
        drain: Box::new(move |process, taken| {
            ended.hand_over(process, taken);
            stand_down();
        }),
    }
}
