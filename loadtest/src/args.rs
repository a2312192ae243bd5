//! The command line as a person types it.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::scenario::Scenario;
use crate::target::packages::{Delivery, Driver};

/// Load for the gateway and its peers: what a pull costs, measured in the open.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lay a load on one target and say how it answered
    Run(RunArgs),
    /// Measure the gateway beside nginx and haproxy, in interleaved rounds on the same CPU
    Compare(CompareArgs),
    /// Find the highest rate at which the 99th percentile of latency stays under a bound
    Sweep(SweepArgs),
    /// Measure how long the gateway, nginx and haproxy take to start
    Start(StartArgs),
    /// Look whether this machine can measure anything, and say what to change
    Doctor,
    /// Print the packages that the load asks for, for a gateway of your own
    Config(ConfigArgs),
    /// The registry behind them, which `run` and `compare` start by themselves
    Origin(OriginArgs),
    /// A server that does nothing but answer redirects, which `--peer bare-…` starts by itself
    Bare(BareArgs),
}

/// Of `bare`.
#[derive(Args, Debug)]
pub struct BareArgs {
    /// Where it listens
    #[arg(long)]
    pub listen: SocketAddr,
    /// Where clients are sent
    #[arg(long, value_name = "URL")]
    pub origin: String,
    /// How it speaks to the kernel
    #[arg(long)]
    pub driver: BareDriver,
}

/// How a bare server speaks to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BareDriver {
    /// By epoll
    Epoll,
    /// By io_uring
    #[value(name = "io_uring")]
    IoUring,
}

/// Of `origin`.
#[derive(Args, Debug)]
pub struct OriginArgs {
    /// Where it listens
    #[arg(long)]
    pub listen: SocketAddr,
    /// Of blobs that it has beside the image, in bytes
    #[arg(long)]
    pub size: Vec<u64>,
}

/// Of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// What clients do
    pub scenario: Scenario,
    /// Who is asked
    #[command(flatten)]
    pub who: Who,
    /// The process of --target, to show its CPU time beside ours
    #[arg(long, value_name = "PID", requires = "target")]
    pub pid: Option<u32>,
    /// The load
    #[command(flatten)]
    pub load: LoadArgs,
    /// Jobs a second, an open loop: latencies count from when a request was due. Several, with
    /// commas, are steps. Left out: a closed loop, which is blind to stalls
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', value_parser = rate)]
    pub rate: Vec<f64>,
    /// Write the result to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write the result to this file, as a page with plots that needs nothing else
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Of `start`.
#[derive(Args, Debug)]
pub struct StartArgs {
    /// The gateway's program
    #[arg(long, value_name = "PATH")]
    pub gateway: PathBuf,
    /// Start the gateway beside nobody
    #[arg(long)]
    pub alone: bool,
    /// Counts that the gateway finds when it starts: a data directory, of which it gets a copy each time
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Rounds
    #[arg(long, value_name = "NUMBER", default_value_t = 15)]
    pub rounds: usize,
    /// What is started
    #[command(flatten)]
    pub load: LoadArgs,
}

/// Of `sweep`.
#[derive(Args, Debug)]
pub struct SweepArgs {
    /// What clients do
    pub scenario: Scenario,
    /// Who is asked
    #[command(flatten)]
    pub who: Who,
    /// The process of --target, to show its CPU time beside ours
    #[arg(long, value_name = "PID", requires = "target")]
    pub pid: Option<u32>,
    /// The load
    #[command(flatten)]
    pub load: LoadArgs,
    /// What the 99th percentile of latency may be
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = time)]
    pub p99: Duration,
    /// The first rate, in jobs a second
    #[arg(long, value_name = "NUMBER", default_value = "1000", value_parser = rate)]
    pub from: f64,
    /// Write the steps to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

/// Of `config`.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// Packages
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    pub packages: usize,
    /// How they get to clients
    #[arg(long, default_value = "redirect")]
    pub delivery: Delivery,
    /// The registry behind them, as http://HOST:PORT
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5000")]
    pub origin: String,
}

/// One of three.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Who {
    /// What runs already, as http://HOST:PORT
    #[arg(long, value_name = "URL", value_parser = url)]
    pub target: Option<SocketAddr>,
    /// The gateway's program, which is started for the run
    #[arg(long, value_name = "PATH")]
    pub gateway: Option<PathBuf>,
    /// A peer, which is started for the run
    #[arg(long)]
    pub peer: Option<Peer>,
}

/// Peers.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Peer {
    /// nginx
    Nginx,
    /// nginx, not buffering bodies
    NginxUnbuffered,
    /// haproxy
    Haproxy,
    /// A server that does nothing but answer redirects, by epoll: the least that they can cost
    BareEpoll,
    /// The same by io_uring
    BareRing,
}

/// How a connection over TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Handshake {
    /// Certificate and all
    Full,
    /// By a session that was
    Resumed,
}

/// What the load is like.
#[derive(Args, Clone, Debug)]
pub struct LoadArgs {
    /// Connections at once
    #[arg(long, value_name = "NUMBER", default_value_t = 64)]
    pub connections: usize,
    /// Requests sent at once on each
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub pipeline: usize,
    /// A connection for each request
    #[arg(long, conflicts_with = "pipeline")]
    pub close: bool,
    /// How long each step or round takes; left out: 10s, in `compare` 1s, for streams 2s
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub duration: Option<Duration>,
    /// How long an answer may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub patience: Duration,
    /// Packages of the configuration
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    pub packages: usize,
    /// How they get to clients; left out, as the scenario says
    #[arg(long)]
    pub delivery: Option<Delivery>,
    /// Bytes of the blobs that are streamed, as 1KiB, 64MiB or 1GiB
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub size: u64,
    /// The registry behind what is started speaks TLS (stream-blob only)
    #[arg(long)]
    pub upstream_tls: bool,
    /// Clients come over TLS, and each new connection makes a handshake of its own or takes up a
    /// session that was
    #[arg(long, value_name = "HANDSHAKE", num_args = 0..=1, default_missing_value = "full")]
    pub tls: Option<Handshake>,
    /// Clients speak HTTP/2, each with so many streams at once, in a closed loop
    #[arg(long, value_name = "STREAMS", num_args = 0..=1, default_missing_value = "100",
          requires = "tls", conflicts_with_all = ["pipeline", "close"])]
    pub http2: Option<usize>,
    /// Addresses of 127.0.0.0/8 that the connections come from; 0 for the one that the kernel
    /// chooses. Left out: one for each connection, as clients have, if the target is on loopback
    #[arg(long, value_name = "NUMBER")]
    pub sources: Option<usize>,
    /// How the gateway speaks to the kernel
    #[arg(long, default_value = "auto")]
    pub driver: Driver,
    /// A gateway that is started looks up what clients find that it redirects, as it does if not told
    /// otherwise; left out, it does not, for its peers do not either
    #[arg(long)]
    pub resolve: bool,
    /// Slow readers, and as many slow writers, beside the load of `slow`
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    pub slow: usize,
    /// Look at statuses and lengths only: digests of large bodies cost the load a lot
    #[arg(long)]
    pub trust_digests: bool,
    /// The CPU of this program
    #[arg(long, value_name = "NUMBER")]
    pub load_cpu: Option<usize>,
    /// The CPUs of what is started; the gateway has a worker on each
    #[arg(long, value_name = "NUMBER", value_delimiter = ',')]
    pub target_cpus: Vec<usize>,
}

/// Of `compare`.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// What clients do; left out: everything that has a bar
    pub scenario: Option<Scenario>,
    /// The gateway's program
    #[arg(long, value_name = "PATH")]
    pub gateway: PathBuf,
    /// Peers to measure beside it; left out: those that the scenario has a use for
    #[arg(long, value_delimiter = ',')]
    pub peers: Vec<Peer>,
    /// Measure the gateway beside nobody
    #[arg(long, conflicts_with = "peers")]
    pub alone: bool,
    /// Compare latencies at a constant rate, of 70 % of what the slower peer can do: an open loop
    #[arg(long, requires = "scenario")]
    pub open: bool,
    /// Compare what a redirect takes by two workers with what it takes by one, at the same constant rate
    #[arg(long, requires = "scenario", conflicts_with_all = ["open", "peers", "alone"])]
    pub two_workers: bool,
    /// Where criterion has left what it measured (target/criterion), for the table of all bars
    #[arg(long, value_name = "DIR", conflicts_with = "scenario")]
    pub criterion: Option<PathBuf>,
    /// Rounds
    #[arg(long, value_name = "NUMBER", default_value_t = 15)]
    pub rounds: usize,
    /// The load
    #[command(flatten)]
    pub load: LoadArgs,
    /// Write the result to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

fn time(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("a time, as 500ms, 10s, 5m or 1h".to_owned()),
    };
    let seconds = number.parse::<f64>().map_err(|_| format!("`{number}` is no number"))? * factor;
    Duration::try_from_secs_f64(seconds).map_err(|problem| problem.to_string())
}

fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err("a size, as 512B, 1KiB, 64MiB or 1GiB".to_owned()),
    };
    let number = number.parse::<u64>().map_err(|_| format!("`{number}` is no number"))?;
    match number.checked_mul(1 << shift) {
        Some(size) if (1..=64 << 30).contains(&size) => Ok(size),
        _ => Err("from 1B to 64GiB".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate > 0.0 => Ok(rate),
        _ => Err("a number above 0, as 1000 or 0.5".to_owned()),
    }
}

fn url(text: &str) -> Result<SocketAddr, String> {
    let host = text.strip_prefix("http://").ok_or("it begins with http://")?;
    let host = host.strip_suffix('/').unwrap_or(host);
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let mut found = host.to_socket_addrs().map_err(|problem| format!("{host}: {problem}"))?;
    found.next().ok_or_else(|| format!("{host} has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_sizes_rates_and_urls_are_read_or_refused() {
        assert_eq!(time("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
        assert!(time("5").is_err() && time("s").is_err());
        assert_eq!([size("512B"), size("1KiB"), size("1GiB")], [Ok(512), Ok(1024), Ok(1 << 30)]);
        assert!(size("0").is_err() && size("1TB").is_err() && size("1000GiB").is_err());
        assert!(rate("0").is_err() && rate("inf").is_err() && rate("2.5") == Ok(2.5));
        assert_eq!(url("http://127.0.0.1:8080/"), Ok(SocketAddr::from(([127, 0, 0, 1], 8080))));
        assert!(url("127.0.0.1:8080").is_err());
    }
}
