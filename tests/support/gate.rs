//! The built gateway, run as its users run it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use super::free_address;
use super::hosts::Hosts;
use super::http::get;
use super::process::{Process, run};

/// `gateway.driver`, for tests that run on each.
pub const DRIVERS: [&str; 2] = ["io_uring", "epoll"];

/// Allows what the names of `hosts` lead to; more keys of `[upstream]` may follow.
pub const UPSTREAM: &str = "[upstream]\nallow_private = [\"127.0.0.0/8\"]\n";

/// Nobody is asked what clients find that are redirected.
pub const NOTHING_RESOLVED: &str = "\n[cache]\nresolve_redirects = false\n";

/// A gateway on 127.0.0.1, with a data directory of its own.
pub struct Gate {
    process: Option<Process>,
    /// How many processes it has had.
    launched: usize,
    address: SocketAddr,
    admin: SocketAddr,
    directory: TempDir,
    prepare: Box<dyn Fn(&mut Command) + Send + Sync>,
    hosts: Option<Hosts>,
}

/// One row of `pullgate pulls --json`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Counted GETs of manifests.
    pub requests: u64,
    /// Pulls.
    pub pulls: u64,
    /// Checks for something newer.
    pub checks: u64,
    /// Signatures, attestations and their like.
    pub supply_chain: u64,
}

impl Gate {
    /// Starts one and waits until it is ready. `config` continues the `[gateway]` table, whose
    /// `listen`, `data_dir` and `driver` are already there, as is `[admin]`.
    pub fn start(driver: &str, config: &str) -> Self {
        Self::start_with(driver, config, |_| ())
    }

    /// Like [`Self::start`], with the process prepared in some way each time it is launched.
    pub fn start_with(
        driver: &str,
        config: &str,
        prepare: impl Fn(&mut Command) + Send + Sync + 'static,
    ) -> Self {
        let mut gate = Self { prepare: Box::new(prepare), ..Self::write(driver, config) };
        gate.launch();
        gate
    }

    /// Like [`Self::start`], with more keys of `[admin]`.
    pub fn start_with_admin(driver: &str, keys: &str, config: &str) -> Self {
        Self::start_with_admin_and(driver, keys, config, |_| ())
    }

    /// Both.
    pub fn start_with_admin_and(
        driver: &str,
        keys: &str,
        config: &str,
        prepare: impl Fn(&mut Command) + Send + Sync + 'static,
    ) -> Self {
        let mut gate = Self { prepare: Box::new(prepare), ..Self::write(driver, config) };
        let text = fs::read_to_string(gate.config_file()).expect("the configuration");
        let text = text.replacen("[admin]\n", &format!("[admin]\n{keys}"), 1);
        fs::write(gate.config_file(), text).expect("the configuration");
        gate.launch();
        gate
    }

    /// Like [`Self::start`], for a gateway that sees the names of `hosts` (as root).
    pub fn start_proxy(driver: &str, config: &str) -> Self {
        Self::start_among_names(driver, config, |_| ())
    }

    /// Like [`Self::start_proxy`], with more names.
    pub fn start_among_names(driver: &str, config: &str, name: impl FnOnce(&Hosts)) -> Self {
        let mut gate = Self::write(driver, config);
        let hosts = Hosts::write(gate.directory.path());
        name(&hosts);
        gate.hosts = Some(hosts);
        gate.launch();
        gate
    }

    /// Like [`Self::start`], but leaves it to be [launched](Self::launch_by).
    pub fn write(driver: &str, config: &str) -> Self {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let gate = Self {
            process: None,
            launched: 0,
            address: free_address(loopback),
            admin: free_address(loopback),
            directory: tempfile::tempdir().expect("a temporary directory"),
            prepare: Box::new(|_| ()),
            hosts: None,
        };
        let text = format!(
            "[admin]\nlisten = \"{}\"\n\n\
             [gateway]\nlisten = [\"{}\"]\ndata_dir = \"{}\"\ndriver = \"{driver}\"\n{config}",
            gate.admin,
            gate.address,
            gate.data_dir().display(),
        );
        // Most tests redirect to registries that there are not.
        let cache = if config.contains("[cache]") { "" } else { NOTHING_RESOLVED };
        fs::write(gate.config_file(), text + cache).expect("the configuration");
        gate
    }

    /// Where clients are listened for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where `/metrics` and its like are.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Its `data_dir`.
    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The configuration file that it was started with.
    pub fn config_file(&self) -> PathBuf {
        self.directory.path().join("pullgate.toml")
    }

    /// The process, while it runs.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("the gateway runs")
    }

    /// The value of a series in `/metrics`, written as it stands there, labels and all.
    pub fn metric(&self, series: &str) -> u64 {
        let answer = get(self.admin, "/metrics").expect("the metrics");
        let text = String::from_utf8(answer.body).expect("text");
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = value.unwrap_or_else(|| panic!("no {series} in\n{text}"));
        value.parse().expect("a whole number")
    }

    /// The most memory that it ever had resident, in bytes (proc(5), `VmHWM`).
    pub fn peak_bytes(&mut self) -> u64 {
        let file = format!("/proc/{}/status", self.process().id());
        let text = fs::read_to_string(file).expect("its status");
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
        let kibibytes = line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number");
        kibibytes << 10
    }

    /// Whether it says that it is stopping.
    pub fn is_draining(&self) -> Result<(), String> {
        match get(self.admin, "/readyz") {
            Ok(answer) if answer.status == 503 && answer.body == b"draining\n" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    }

    /// Stops it in an orderly way: every open window is booked and on disk afterwards.
    pub fn stop(&mut self) {
        let mut process = self.process.take().expect("the gateway runs");
        process.signal(Signal::TERM);
        let status = process.wait();
        assert!(status.success(), "{status} after SIGTERM:\n{}", process.words());
    }

    /// Starts it again on the same addresses and data.
    pub fn launch(&mut self) {
        self.launch_by(self.command());
    }

    /// What launches it.
    pub fn command(&self) -> Command {
        let hosts = self.hosts.as_ref();
        let mut command =
            hosts.map_or_else(|| Command::new(pullgate()), |hosts| hosts.command_at(pullgate()));
        command.arg("serve").arg("--config").arg(self.config_file());
        (self.prepare)(&mut command);
        command
    }

    /// Starts it by `command`, and waits until it is ready.
    pub fn launch_by(&mut self, command: Command) {
        let admin = self.admin;
        let mut process = Process::start(command, &self.directory.path().join("log"));
        process.wait_ready(|| match get(admin, "/readyz") {
            Ok(answer) if answer.status == 200 => Ok(()),
            other => Err(format!("/readyz: {other:?}")),
        });
        self.process = Some(process);
    }

    /// Has another process take over, and waits until it has; the one before, which drains.
    pub fn upgrade(&mut self) -> Process {
        let (mut new, log) = self.try_upgrade();
        new.wait_ready(|| match fs::read_to_string(&log).unwrap_or_default() {
            words if words.contains("taken over from process") => Ok(()),
            _ => Err("nobody has taken over".to_owned()),
        });
        self.process.replace(new).expect("the gateway runs")
    }

    /// Starts another process that is to take over; and where its log is.
    pub fn try_upgrade(&mut self) -> (Process, PathBuf) {
        self.launched += 1;
        let log = self.directory.path().join(format!("log.{}", self.launched));
        let mut command = self.command();
        command.arg("--upgrade");
        (Process::start(command, &log), log)
    }

    /// What is counted for `package` (`<domain>/<name>`), over all time; nothing is all zeros.
    pub fn counts(&self, package: &str) -> Counts {
        self.counts_where(&[], |row| row["package"] == package)
    }

    /// What is counted for the one row of `pullgate pulls --json` with `arguments` that `is_meant`.
    pub fn counts_where(&self, arguments: &[&str], is_meant: impl Fn(&Value) -> bool) -> Counts {
        let rows = self.pulls(arguments);
        let rows = rows["rows"].as_array().expect("rows");
        let mut found = rows.iter().filter(|row| is_meant(row));
        let counts = found.next().map_or_else(Counts::default, Counts::of);
        assert!(found.next().is_none(), "there is one row: {rows:?}");
        counts
    }

    /// What it wrote to its log since it was launched last.
    pub fn words(&mut self) -> String {
        self.process().words()
    }

    /// `pullgate pulls --json` with more `arguments`.
    pub fn pulls(&self, arguments: &[&str]) -> Value {
        let mut command = Command::new(pullgate());
        command.arg("pulls").arg("--json").arg("--data").arg(self.data_dir()).args(arguments);
        let text = run(&mut command);
        serde_json::from_str(&text).unwrap_or_else(|problem| panic!("{problem} in {text}"))
    }
}

impl Counts {
    fn of(row: &Value) -> Self {
        let count = |key: &str| row[key].as_u64().unwrap_or_else(|| panic!("{key} in {row}"));
        Self {
            requests: count("requests"),
            pulls: count("pulls"),
            checks: count("checks"),
            supply_chain: count("supply_chain"),
        }
    }
}

/// The built program.
pub fn pullgate() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_pullgate"))
}
