//! Floor 3: what is slow and ordinary. The admin listener, the control socket, the signals and the
//! prover share one thread with a runtime; the configuration's watcher, the access log and the log have theirs.
#![forbid(unsafe_code)]

pub mod access_log;
pub mod accounts;
pub mod acme;
pub mod admin;
pub mod alerts;
pub mod archive;
pub mod backup;
pub mod certificates;
mod dashboard;
pub mod databases;
mod files;
pub mod keys;
pub mod logging;
pub mod made;
pub mod outbound;
pub mod own_secrets;
mod pieces;
mod private_file;
pub mod private_socket;
pub mod prove;
pub mod reload;
mod seats;
mod serving;
pub mod showcase;
pub mod signals;
pub mod status;
pub mod supervisor;
mod turns;
pub mod visit;
mod watch;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use acme::Acme;
use own_secrets::Rotation;
use prove::Prover;
use signals::Signals;

/// The control thread at work.
pub struct Control {
    admin_address: SocketAddr,
    set_up_path: String,
    /// The admin listener once more, to be handed over.
    admin: Option<TcpListener>,
    begin: Option<oneshot::Sender<()>>,
    stand_down: Option<oneshot::Sender<()>>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// Binds the admin listener and the control socket, takes the signals, and serves them all on a
/// thread named `control`, where the prover, the change of keys, the errands to an authority and
/// alerts run too, the last two once they [may](Control::begin). When this returns, connections are taken and no
/// signal is lost.
pub fn start(
    admin: admin::Options,
    signals: Signals,
    prover: Prover,
    rotation: Rotation,
    acme: Acme,
) -> io::Result<Control> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let signals = signals::Listening::new(signals)?;
    let (admin, lent) = admin::Server::bind(admin)?;
    drop(entered);
    let alerts = admin.alerts();
    let (admin_address, set_up_path) = (admin.address(), admin.set_up_path());
    let (begin, begun) = oneshot::channel();
    let (stand_down, mut stood_down) = oneshot::channel();
    let (stop, mut stopped) = oneshot::channel();
    let thread = std::thread::Builder::new().name("control".into()).spawn(move || {
        runtime.block_on(async {
            let signals = tokio::spawn(signals.run());
            let prover = tokio::spawn(prover.run());
            let rotation = tokio::spawn(rotation.run());
            let alone = tokio::spawn(async {
                if begun.await.is_ok() {
                    tokio::join!(acme.run(), alerts.run());
                }
            });
            let is_over = admin
                .serve(async {
                    tokio::select! {
                        Ok(()) = &mut stood_down => false,
                        _ = &mut stopped => true,
                    }
                })
                .await;
            prover.abort();
            rotation.abort();
            alone.abort();
            if !is_over {
                let _ = stopped.await;
            }
            signals.abort();
        });
        // A name that the prover looks up may take the resolver half a minute; nobody waits for it.
        runtime.shutdown_background();
    })?;
    let (admin, begin, stand_down) = (Some(lent), Some(begin), Some(stand_down));
    Ok(Control { admin_address, set_up_path, admin, begin, stand_down, stop, thread })
}

impl Control {
    /// Where the admin listener is, with the port that the system chose for port 0.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Whatever only one process may do on a `data_dir` begins.
    pub fn begin(&mut self) {
        if let Some(begin) = self.begin.take() {
            let _ = begin.send(());
        }
    }

    /// The admin listener, for another process to accept by; only once.
    pub fn lend_admin_listener(&mut self) -> Option<TcpListener> {
        self.admin.take()
    }

    /// What leaves everything but the signals to another process; only once.
    pub fn stand_down(&mut self) -> impl FnOnce() + Send + use<> {
        let stand_down = self.stand_down.take();
        move || {
            if let Some(stand_down) = stand_down {
                let _ = stand_down.send(());
            }
        }
    }

    /// Where the first account is made: path and query. Worth nothing once there is one.
    pub fn set_up_path(&self) -> &str {
        &self.set_up_path
    }

    /// Finishes the answers under way and ends. To be called last: until then `/readyz` says that
    /// the gateway is draining.
    pub fn stop(self) {
        let _ = self.stop.send(());
        if self.thread.join().is_err() {
            tracing::error!("the control thread panicked");
        }
    }
}

/// Tries again for two seconds while what is wanted (a port, a lock) is still held: the kernel
/// frees what a killed process held a little late.
#[expect(clippy::disallowed_methods, reason = "only at the start, on threads that may wait")]
pub fn while_busy<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let end = Instant::now() + BUSY_PATIENCE;
    loop {
        match attempt() {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::WouldBlock)
                    && Instant::now() < end =>
            {
                std::thread::sleep(BUSY_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

const BUSY_PATIENCE: Duration = Duration::from_secs(2);
const BUSY_PAUSE: Duration = Duration::from_millis(50);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::pure::client::ClientTable;
    use crate::pure::config::check::check;
    use crate::pure::config::values::Config;
    use crate::pure::snapshot::{Circumstances, Snapshot};

    pub(crate) use tempfile::TempDir as Scratch;

    /// A directory that goes away with the test.
    pub(crate) fn scratch() -> Scratch {
        tempfile::tempdir().unwrap()
    }

    /// A configuration without problems, and what it compiles to.
    pub(crate) fn compiled(text: &str) -> (Config, Snapshot) {
        let (config, _) = check("pullgate.toml", text).unwrap();
        let clients = ClientTable::built_in();
        let around = Circumstances { clients, via: "pullgate-test", before: None, now_us: 0 };
        let snapshot = Snapshot::build(&config, 1, around);
        (config, snapshot)
    }

    /// Waits until `met`, at most ten seconds.
    #[expect(clippy::disallowed_methods, reason = "a test's thread is its own")]
    pub(crate) fn eventually(what: &str, mut met: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !met() {
            assert!(Instant::now() < end, "still waiting for {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_is_busy_is_tried_again_and_other_errors_are_final() {
        let mut tries = 0;
        let got = while_busy(|| {
            tries += 1;
            if tries < 3 { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(tries) }
        });
        assert_eq!(got.unwrap(), 3);
        let mut tries = 0;
        let refused: io::Result<()> = while_busy(|| {
            tries += 1;
            Err(io::ErrorKind::PermissionDenied.into())
        });
        assert_eq!((refused.unwrap_err().kind(), tries), (io::ErrorKind::PermissionDenied, 1));
    }
}
