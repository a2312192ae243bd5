//! What the service manager is told of the gateway's life: a datagram for each word (sd_notify(3)).
//! Where nobody wants to know, nothing is said.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded};

use crate::messages::clock::monotonic_us;

/// The way to the service manager, if there is one.
#[derive(Clone, Default)]
pub struct Supervisor(Option<Arc<(UnixDatagram, OsString)>>);

impl Supervisor {
    /// The one that listens at `socket`, as `NOTIFY_SOCKET` says it: a path, or a name in the
    /// abstract namespace after an `@`.
    pub fn at(socket: &OsStr) -> io::Result<Self> {
        let address = match socket.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            _ => SocketAddr::from_pathname(socket),
        };
        let datagrams = UnixDatagram::unbound()?;
        datagrams.connect_addr(&address?)?;
        // A manager that does not read must not hold anything up.
        datagrams.set_nonblocking(true)?;
        Ok(Self(Some(Arc::new((datagrams, socket.to_owned())))))
    }

    /// Where it listens, as it was [said](Self::at).
    pub fn socket(&self) -> Option<&OsStr> {
        self.0.as_ref().map(|it| it.1.as_os_str())
    }

    /// Clients are answered by the configuration.
    pub fn ready(&self) {
        self.say("READY=1");
    }

    /// The configuration is read again; [`Supervisor::ready`] follows, whatever comes of it.
    pub fn reloading(&self) {
        self.say(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_us()));
    }

    /// The gateway drains.
    pub fn stopping(&self) {
        self.say("STOPPING=1");
    }

    /// All goes on.
    pub fn alive(&self) {
        self.say("WATCHDOG=1");
    }

    /// From now on the gateway is this process.
    pub fn succeeded_by(&self, process: u32) {
        self.say(&format!("MAINPID={process}"));
    }

    fn say(&self, words: &str) {
        let Some(supervisor) = &self.0 else {
            return;
        };
        if let Err(error) = supervisor.0.send(words.as_bytes()) {
            let word = words.lines().next().unwrap_or_default();
            tracing::warn!("the service manager was not told {word}: {error}");
        }
    }
}

/// Tells the service manager again and again that all goes on, as long as it does.
pub struct Watchdog {
    _end: Sender<()>,
    _thread: JoinHandle<()>,
}

impl Watchdog {
    /// Begins. The manager wants to hear something every `within`; `look` says who does not answer in the
    /// time that it is given. Ends when it is dropped.
    ///
    /// # Errors
    /// That the system gives no thread.
    pub fn start(
        within: Duration,
        supervisor: Supervisor,
        look: impl Fn(Duration) -> Result<(), &'static str> + Send + 'static,
    ) -> io::Result<Self> {
        let (end, ended) = bounded(0);
        // Half of it is what sd_watchdog_enabled(3) recommends: the other half is for answering.
        let pause = within / 2;
        let thread = std::thread::Builder::new().name("watchdog".into()).spawn(move || {
            let mut is_said = false;
            while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                match look(pause / 2) {
                    Ok(()) => {
                        supervisor.alive();
                        is_said = false;
                    }
                    Err(who) => {
                        if !std::mem::replace(&mut is_said, true) {
                            tracing::error!(
                                "{who} does not answer: the service manager's watchdog is not told \
                                 that all goes on"
                            );
                        }
                    }
                }
            }
        })?;
        Ok(Self { _end: end, _thread: thread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn heard(manager: &UnixDatagram) -> String {
        let mut bytes = [0; 100];
        let length = manager.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    fn manager() -> (tempfile::TempDir, UnixDatagram, Supervisor) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let supervisor = Supervisor::at(path.as_os_str()).unwrap();
        (dir, manager, supervisor)
    }

    #[test]
    fn each_word_is_a_datagram_and_reloading_says_when() {
        let (_dir, manager, supervisor) = manager();
        supervisor.ready();
        assert_eq!(heard(&manager), "READY=1");
        supervisor.reloading();
        let words = heard(&manager);
        let at_us = words.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(at_us.parse::<u64>().unwrap() <= monotonic_us());
        Supervisor::default().ready();
    }

    #[test]
    fn a_name_of_the_abstract_namespace_begins_with_an_at_sign() {
        let name = format!("pullgate-{}", std::process::id());
        let manager =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Supervisor::at(OsStr::new(&format!("@{name}"))).unwrap().stopping();
        assert_eq!(heard(&manager), "STOPPING=1");
    }

    /// Who is asked says no until the test has seen that nothing comes.
    #[test]
    fn the_watchdog_is_told_only_while_everybody_answers() {
        let (_dir, manager, supervisor) = manager();
        let is_well = Arc::new(AtomicBool::new(false));
        let looked = bounded(100);
        let (is_it, looks) = (Arc::clone(&is_well), looked.0);
        let watchdog = Watchdog::start(Duration::from_millis(20), supervisor, move |_| {
            let _ = looks.try_send(());
            if is_it.load(Ordering::SeqCst) { Ok(()) } else { Err("nobody") }
        });
        let _watchdog = watchdog.unwrap();
        for _ in 0..3 {
            looked.1.recv().unwrap();
        }
        manager.set_nonblocking(true).unwrap();
        manager.recv(&mut [0; 100]).unwrap_err();
        manager.set_nonblocking(false).unwrap();
        is_well.store(true, Ordering::SeqCst);
        assert_eq!(heard(&manager), "WATCHDOG=1");
    }
}
