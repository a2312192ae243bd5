//! What is measured: the gateway or a peer, started for the purpose and pinned.

pub mod packages;
pub mod server;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustls::ClientConfig;

use crate::args::{BareDriver, Handshake};
use crate::certificates;
use crate::machine::limits;
use crate::origin::Origin;
use packages::{DOMAIN, Delivery, Driver};
use server::Server;

/// The gateway or a peer, until this is dropped.
pub struct Target {
    /// What it is called in tables.
    pub name: &'static str,
    /// Where it listens.
    pub address: SocketAddr,
    /// How long it took until it did.
    pub started_in: Duration,
    /// Whether its configuration stays as it is, whatever the scenario.
    pub is_unchanged: bool,
    /// How clients secure their connections to it, if they do.
    pub tls: Option<Arc<ClientConfig>>,
    server: Server,
    /// The gateway's program, if it is one.
    program: Option<PathBuf>,
    /// Where it listens for who runs it.
    admin: SocketAddr,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The gateway, built at this path.
    Pullgate(PathBuf),
    /// The same, whose configuration stays as it is while the other's changes.
    Unchanged(PathBuf),
    /// The same by one worker, beside two.
    OneWorker(PathBuf),
    /// nginx, as it comes where its documentation has nothing to say.
    Nginx,
    /// nginx, not buffering bodies.
    NginxUnbuffered,
    /// haproxy, splicing bodies.
    Haproxy,
    /// This program, doing nothing but answering redirects.
    Bare(BareDriver),
}

/// What it has to do.
pub struct Job<'a> {
    /// How images get to clients.
    pub delivery: Delivery,
    /// Packages of the configuration.
    pub packages: usize,
    /// The registry behind it.
    pub origin: &'a Origin,
    /// How the gateway speaks to the kernel.
    pub driver: Driver,
    /// Whether it looks up what clients find that it redirects, which nobody beside it does.
    pub resolves: bool,
    /// How clients come over TLS, if they do.
    pub tls: Option<Handshake>,
    /// Whether they speak HTTP/2.
    pub http2: bool,
    /// The CPUs that it is kept to.
    pub cpus: &'a [usize],
    /// What of a gateway's data directory there is at first.
    pub data: Option<&'a Path>,
}

impl Target {
    /// Whether it is the gateway.
    pub fn is_gateway(&self) -> bool {
        self.program.is_some()
    }

    /// Starts `kind` and waits until it listens.
    pub fn start(kind: &Kind, job: &Job<'_>) -> io::Result<Self> {
        let room = tempfile::Builder::new().prefix("loadtest-").tempdir()?;
        let address = free_address()?;
        let tls = match job.tls {
            Some(handshake) => {
                let authority = certificates::write(room.path(), "front", &[DOMAIN])?;
                Some(certificates::client(&authority, handshake, job.http2)?)
            }
            None => None,
        };
        let admin = free_address()?;
        let command = match kind {
            Kind::Pullgate(program) | Kind::Unchanged(program) | Kind::OneWorker(program) => {
                gateway(program, job, [address, admin], room.path())?
            }
            Kind::Nginx => nginx(job, address, room.path(), "")?,
            Kind::NginxUnbuffered => nginx(job, address, room.path(), UNBUFFERED)?,
            Kind::Haproxy => haproxy(job, address, room.path())?,
            Kind::Bare(driver) => bare(*driver, job, address)?,
        };
        let program = match kind {
            Kind::Pullgate(program) | Kind::Unchanged(program) | Kind::OneWorker(program) => {
                Some(program.clone())
            }
            Kind::Nginx | Kind::NginxUnbuffered | Kind::Haproxy | Kind::Bare(_) => None,
        };
        let name = kind.as_str();
        let began = Instant::now();
        let server = Server::start(name, command, address, room, job.cpus)?;
        let started_in = began.elapsed();
        let is_unchanged = matches!(kind, Kind::Unchanged(_));
        Ok(Self { name, address, started_in, is_unchanged, tls, server, program, admin })
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.server.id()
    }

    /// Requests that it has counted, if it counts.
    pub fn counted(&self) -> io::Result<Option<Counted>> {
        let Some(program) = &self.program else { return Ok(None) };
        let data_dir = self.server.room().join(DATA_DIR);
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
        let sum = |name| rows.iter().filter_map(|row| row[name].as_u64()).sum();
        Ok(Some(Counted { requests: sum("requests"), unfolded: sum("unfolded") }))
    }

    /// Where the gateway says how it is doing.
    pub fn metrics(&self) -> Metrics {
        Metrics { admin: self.admin }
    }

    /// The gateway's configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.server.room().join(CONFIG_FILE)
    }

    /// Keeps it from doing anything until [`Self::go_on`]: what it has put off must not take the CPU from who
    /// is measured meanwhile.
    pub fn hold(&self) -> io::Result<()> {
        self.server.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn go_on(&self) -> io::Result<()> {
        self.server.signal(Signal::CONT)
    }

    /// Has the gateway read its configuration again.
    pub fn reload(&self) -> io::Result<()> {
        self.server.signal(Signal::HUP)
    }
}

/// What the gateway has counted so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// GETs of manifests.
    pub requests: u64,
    /// Those of them that were counted by package alone: there were too many to be folded into pulls.
    pub unfolded: u64,
}

/// What the gateway says of itself at its admin listener.
pub struct Metrics {
    admin: SocketAddr,
}

impl Metrics {
    /// Its clients are listened to before who runs it is.
    fn connect(&self) -> io::Result<TcpStream> {
        let began = Instant::now();
        loop {
            match TcpStream::connect(self.admin) {
                Err(_) if began.elapsed() < ADMIN_TIME => crate::pause(Duration::from_millis(10)),
                connected => return connected,
            }
        }
    }

    /// A sample's value, by its name and labels as they are written.
    pub fn value(&self, sample: &str) -> io::Result<u64> {
        let mut stream = self.connect()?;
        let host = self.admin;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let mut values =
            text.lines().filter_map(|line| line.strip_prefix(sample)?.trim().parse().ok());
        values
            .next()
            .ok_or_else(|| io::Error::other(format!("the gateway does not tell its {sample}")))
    }
}

impl Kind {
    /// Its name.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Pullgate(_) => "pullgate",
            Self::Unchanged(_) => "pullgate, unchanged",
            Self::OneWorker(_) => "pullgate, one worker",
            Self::Nginx => "nginx",
            Self::NginxUnbuffered => "nginx, unbuffered",
            Self::Haproxy => "haproxy",
            Self::Bare(BareDriver::Epoll) => "bare epoll",
            Self::Bare(BareDriver::IoUring) => "bare io_uring",
        }
    }
}

fn gateway(
    program: &Path,
    job: &Job<'_>,
    [address, admin]: [SocketAddr; 2],
    room: &Path,
) -> io::Result<Command> {
    let file = room.join(CONFIG_FILE);
    let mut more = match &job.origin.authority {
        Some(file) => format!("[upstream]\nca_file = \"{}\"\n", file.display()),
        None => String::new(),
    };
    more += &format!("[cache]\nresolve_redirects = {}\n", job.resolves);
    let (mut listen, mut listen_tls) = (address, None);
    if job.tls.is_some() {
        let [cert, key] = ["front.crt", "front.key"].map(|name| room.join(name));
        let (cert, key) = (cert.display(), key.display());
        more += &format!("[[certificates]]\ncert = \"{cert}\"\nkey = \"{key}\"\n");
        (listen, listen_tls) = (free_address()?, Some(address));
    }
    let listens = packages::Listens { listen, listen_tls, admin };
    let head =
        packages::gateway_head(listens, &room.join(DATA_DIR), job.driver, job.cpus.len(), &more);
    let backend = &job.origin.backend;
    fs::write(&file, packages::gateway(job.packages, job.delivery, backend, &head))?;
    if let Some(data) = job.data {
        copy(data, &room.join(DATA_DIR))?;
    }
    let mut command = Command::new(program);
    command.arg("serve").arg("--config").arg(file);
    Ok(command)
}

/// A directory with what is in it, and the same rights.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let told = Command::new("cp").arg("-a").arg(from).arg(to).output()?;
    match told.status.success() {
        true => Ok(()),
        false => Err(io::Error::other(String::from_utf8_lossy(&told.stderr).into_owned())),
    }
}

fn nginx(job: &Job<'_>, address: SocketAddr, room: &Path, buffering: &str) -> io::Result<Command> {
    fs::write(room.join("packages.map"), packages::map(job.packages, &job.origin.url, ";"))?;
    let template = match job.delivery {
        Delivery::Redirect => NGINX_REDIRECT,
        Delivery::Broker | Delivery::Stream => NGINX_PROXY,
    };
    let (scheme, tls) = match &job.origin.authority {
        Some(file) => (
            "https",
            format!(
                "proxy_ssl_protocols TLSv1.3; proxy_ssl_verify on; proxy_ssl_trusted_certificate {}; proxy_ssl_name {};",
                file.display(),
                crate::origin::NAME
            ),
        ),
        None => ("http", String::new()),
    };
    let file = room.join("nginx.conf");
    let text = fill(template, job, address, room);
    let front = match job.tls {
        Some(_) => {
            let http2 = if job.http2 { " http2" } else { "" };
            format!("ssl{http2}; {}", fill(NGINX_TLS, job, address, room))
        }
        None => String::new(),
    };
    let marks =
        [("@buffering@", buffering), ("@scheme@", scheme), ("@tls@", &tls), ("@front@", &front)];
    fs::write(&file, replace(text, &marks))?;
    let mut command = Command::new(installed("nginx"));
    command.arg("-p").arg(room).arg("-c").arg(file);
    Ok(command)
}

fn haproxy(job: &Job<'_>, address: SocketAddr, room: &Path) -> io::Result<Command> {
    fs::write(room.join("packages.map"), packages::map(job.packages, &job.origin.url, ""))?;
    let template = match job.delivery {
        Delivery::Redirect => HAPROXY_REDIRECT,
        Delivery::Broker | Delivery::Stream => HAPROXY_PROXY,
    };
    let tls = match &job.origin.authority {
        Some(file) => {
            let name = crate::origin::NAME;
            format!("ssl verify required ca-file {} verifyhost {name}", file.display())
        }
        None => String::new(),
    };
    let front = match job.tls {
        Some(_) => {
            let http2 = if job.http2 { " alpn h2" } else { "" };
            format!("ssl crt {}{http2}", room.join("front.pem").display())
        }
        None => String::new(),
    };
    let marks = [("@tls@", &*tls), ("@front@", &front)];
    let file = room.join("haproxy.cfg");
    fs::write(&file, replace(fill(template, job, address, room), &marks))?;
    let mut command = Command::new(installed("haproxy"));
    command.arg("-db").arg("-f").arg(file);
    Ok(command)
}

fn bare(driver: BareDriver, job: &Job<'_>, address: SocketAddr) -> io::Result<Command> {
    if job.delivery != Delivery::Redirect {
        return Err(io::Error::other("a bare server knows only redirects"));
    }
    let driver = match driver {
        BareDriver::Epoll => "epoll",
        BareDriver::IoUring => "io_uring",
    };
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bare", "--driver", driver, "--origin", &job.origin.url]);
    command.arg("--listen").arg(address.to_string());
    Ok(command)
}

fn fill(template: &str, job: &Job<'_>, address: SocketAddr, room: &Path) -> String {
    let descriptors = limits::descriptors();
    let marks = [
        ("@room@", &*room.to_string_lossy()),
        ("@address@", &address.to_string()),
        ("@origin@", &job.origin.address.to_string()),
        ("@domain@", DOMAIN),
        ("@connections@", &limits::connections().to_string()),
        ("@connections-through@", &limits::connections_through().to_string()),
        ("@descriptors@", &descriptors.to_string()),
    ];
    replace(template.to_owned(), &marks)
}

/// `text` with all that is marked filled in.
pub fn replace(text: String, marks: &[(&str, &str)]) -> String {
    marks.iter().fold(text, |text, (mark, value)| text.replace(mark, value))
}

/// Daemons are not in everybody's path.
pub fn installed(program: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/local/sbin", "/usr/bin", "/usr/local/bin"];
    let mut found = folders.iter().map(|folder| Path::new(folder).join(program));
    found.find(|path| path.exists()).unwrap_or_else(|| program.into())
}

/// An address of 127.0.0.1 that nobody listens on.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

const ADMIN_TIME: Duration = Duration::from_secs(10);
const CONFIG_FILE: &str = "pullgate.toml";
const DATA_DIR: &str = "data";
const NGINX_REDIRECT: &str = include_str!("../../peers/nginx-redirect.conf");
const NGINX_PROXY: &str = include_str!("../../peers/nginx-proxy.conf");
const HAPROXY_REDIRECT: &str = include_str!("../../peers/haproxy-redirect.cfg");
const HAPROXY_PROXY: &str = include_str!("../../peers/haproxy-proxy.cfg");
/// The same as the gateway has: one certificate, and sessions that their clients keep, each by one ticket.
const NGINX_TLS: &str = "ssl_certificate @room@/front.crt; ssl_certificate_key @room@/front.key; \
                         ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets on; ssl_session_cache off; \
                         ssl_conf_command NumTickets 1";
/// A piece goes on as it comes; of the sizes, those that are allowed beside the first.
const UNBUFFERED: &str = "proxy_buffering off; proxy_buffer_size 64k; proxy_buffers 8 64k; \
                          proxy_busy_buffers_size 128k;";
