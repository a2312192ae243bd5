//! What is measured: the gateway or a peer, started for the purpose and pinned.

pub mod packages;

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::machine::{cpus, limits};
use crate::pause;
use packages::{DOMAIN, Delivery};

/// A server that runs until this is dropped.
pub struct Target {
    /// What it is called in tables.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
    counts: Option<Counts>,
    room: TempDir,
}

/// Who asks a gateway for its counts.
struct Counts {
    program: PathBuf,
    data_dir: PathBuf,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The gateway, built at this path.
    Pullgate(PathBuf),
    /// nginx.
    Nginx,
    /// haproxy.
    Haproxy,
}

/// What it has to do.
#[derive(Clone, Debug)]
pub struct Job {
    /// How images get to clients.
    pub delivery: Delivery,
    /// Packages of the configuration.
    pub packages: usize,
    /// The registry behind it, as `http://host:port`.
    pub origin: String,
    /// The CPUs that it is kept to.
    pub cpus: Vec<usize>,
    /// More of the gateway's configuration.
    pub gateway_keys: String,
}

impl Target {
    /// Starts `kind` and waits until it listens.
    pub fn start(kind: &Kind, job: &Job) -> io::Result<Self> {
        let room = tempfile::Builder::new().prefix("loadtest-").tempdir()?;
        let address = free_address()?;
        let (command, counts) = match kind {
            Kind::Pullgate(program) => {
                let data_dir = room.path().join("data");
                let counts = Counts { program: program.clone(), data_dir };
                (gateway(program, job, address, room.path(), &counts)?, Some(counts))
            }
            Kind::Nginx => (nginx(job, address, room.path())?, None),
            Kind::Haproxy => (haproxy(job, address, room.path())?, None),
        };
        let name = kind.as_str().to_owned();
        Self::launch(name, command, address, room, counts, &job.cpus)
    }

    fn launch(
        name: String,
        mut command: Command,
        address: SocketAddr,
        room: TempDir,
        counts: Option<Counts>,
        cpus: &[usize],
    ) -> io::Result<Self> {
        let words = File::create(room.path().join("words"))?;
        command.stdin(Stdio::null()).stdout(words.try_clone()?).stderr(words);
        let child = cpus::start_on(cpus, &mut command)?;
        let mut target = Self { name, address, child, counts, room };
        target.wait_until_it_listens()?;
        Ok(target)
    }

    fn wait_until_it_listens(&mut self) -> io::Result<()> {
        let began = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.problem(&format!("ended with {status}")));
            }
            if began.elapsed() > START_TIME {
                return Err(self.problem("does not listen"));
            }
            pause(Duration::from_millis(5));
        }
        Ok(())
    }

    fn problem(&self, what: &str) -> io::Error {
        let words = fs::read_to_string(self.room.path().join("words")).unwrap_or_default();
        io::Error::other(format!("{}: {what}\n{words}", self.name))
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Requests that it has counted, if it counts.
    pub fn counted(&self) -> io::Result<Option<u64>> {
        let Some(Counts { program, data_dir }) = &self.counts else { return Ok(None) };
        let output = Command::new(program)
            .arg("pulls")
            .arg("--json")
            .arg("--data")
            .arg(data_dir)
            .output()?;
        let answer: serde_json::Value =
            serde_json::from_slice(&output.stdout).map_err(|problem| {
                let words = String::from_utf8_lossy(&output.stderr);
                io::Error::other(format!("pullgate pulls: {problem}: {words}"))
            })?;
        let rows = answer["rows"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(Some(rows.iter().filter_map(|row| row["requests"].as_u64()).sum()))
    }

    /// Its configuration file's room, where what it wrote is too.
    pub fn room(&self) -> &Path {
        self.room.path()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
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

impl Kind {
    /// Its name.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Pullgate(_) => "pullgate",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }
}

fn gateway(
    program: &Path,
    job: &Job,
    address: SocketAddr,
    room: &Path,
    counts: &Counts,
) -> io::Result<Command> {
    let data_dir = counts.data_dir.to_string_lossy();
    let head = packages::gateway_head(address, free_address()?, &data_dir, &job.gateway_keys);
    let file = room.join("pullgate.toml");
    fs::write(&file, packages::gateway(job.packages, job.delivery, &job.origin, &head))?;
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(file);
    Ok(command)
}

fn nginx(job: &Job, address: SocketAddr, room: &Path) -> io::Result<Command> {
    fs::write(room.join("packages.map"), packages::map(job.packages, &job.origin, ";"))?;
    let file = room.join("nginx.conf");
    fs::write(&file, fill(NGINX_REDIRECT, address, room))?;
    let mut command = Command::new(installed("nginx"));
    command.arg("-p").arg(room).arg("-c").arg(file);
    Ok(command)
}

fn haproxy(job: &Job, address: SocketAddr, room: &Path) -> io::Result<Command> {
    fs::write(room.join("packages.map"), packages::map(job.packages, &job.origin, ""))?;
    let file = room.join("haproxy.cfg");
    fs::write(&file, fill(HAPROXY_REDIRECT, address, room))?;
    let mut command = Command::new(installed("haproxy"));
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}

fn fill(template: &str, address: SocketAddr, room: &Path) -> String {
    let room = room.to_string_lossy();
    let descriptors = limits::descriptors();
    // haproxy reckons with two to a connection, and some for itself.
    let connections = (descriptors.saturating_sub(200) / 2).min(CONNECTIONS_MAX);
    [
        ("@room@", &*room),
        ("@address@", &address.to_string()),
        ("@domain@", DOMAIN),
        ("@connections@", &connections.to_string()),
        ("@descriptors@", &descriptors.to_string()),
    ]
    .iter()
    .fold(template.to_owned(), |text, (mark, value)| text.replace(mark, value))
}

/// Daemons are not in everybody's path.
pub fn installed(program: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];
    let found = folders.iter().map(|folder| Path::new(folder).join(program));
    found.into_iter().find(|path| path.exists()).unwrap_or_else(|| program.into())
}

/// An address of 127.0.0.1 that nobody listens on.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

const NGINX_REDIRECT: &str = include_str!("../../peers/nginx-redirect.conf");
const HAPROXY_REDIRECT: &str = include_str!("../../peers/haproxy-redirect.cfg");
/// More than any load here opens.
const CONNECTIONS_MAX: u64 = 32768;
const START_TIME: Duration = Duration::from_secs(20);
const STOP_TIME: Duration = Duration::from_secs(10);
