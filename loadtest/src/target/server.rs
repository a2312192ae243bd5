//! A program that listens, until it is dropped.

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::machine::cpus;
use crate::pause;

/// It, and the directory that it has for itself.
pub struct Server {
    name: String,
    child: Child,
    room: TempDir,
}

impl Server {
    /// Starts `command` on `cpus` and waits until it listens on `address`.
    pub fn start(
        name: &str,
        mut command: Command,
        address: SocketAddr,
        room: TempDir,
        cpus: &[usize],
    ) -> io::Result<Self> {
        let words = File::create(room.path().join("words"))?;
        command.stdin(Stdio::null()).stdout(words.try_clone()?).stderr(words);
        let child = cpus::start_on(cpus, &mut command)?;
        let mut server = Self { name: name.to_owned(), child, room };
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                return Err(server.problem(&format!("ended with {status}")));
            }
            if began.elapsed() > START_TIME {
                return Err(server.problem("does not listen"));
            }
            pause(Duration::from_millis(1));
        }
        Ok(server)
    }

    fn problem(&self, what: &str) -> io::Error {
        let words = fs::read_to_string(self.room.path().join("words")).unwrap_or_default();
        io::Error::other(format!("{}: {what}\n{words}", self.name))
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Tells it something.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Its directory: its configuration, and what it wrote.
    pub fn room(&self) -> &Path {
        self.room.path()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.signal(Signal::TERM);
        // It may be held.
        let _ = self.signal(Signal::CONT);
        let began = Instant::now();
        while let Ok(None) = self.child.try_wait() {
            if began.elapsed() > STOP_TIME {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            pause(Duration::from_millis(5));
        }
    }
}

const START_TIME: Duration = Duration::from_secs(20);
const STOP_TIME: Duration = Duration::from_secs(10);
