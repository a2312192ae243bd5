//! What a GiB costs on its way through the gateway, beside nginx and haproxy (which splices) with one
//! worker each: rounds are interleaved, so that whatever else the machine does meets all of them.
//!
//! `make relay`, as root; `cargo bench --bench relay -- 2 7` runs 7 rounds of 2 GiB.

#![allow(clippy::panic, reason = "a bench says what went wrong by panicking")]
#![allow(clippy::print_stdout, reason = "its result")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use support::bench::{config, request};
use support::free_address;
use support::gate::{DRIVERS, Gate};
use support::hosts::{REGISTRY, REGISTRY_IP};
use support::origin::{Origin, Talk};
use support::process::{Process, installed};

fn main() {
    // cargo passes `--bench`.
    let mut numbers = std::env::args().filter_map(|it| it.parse::<u64>().ok());
    let (gib, rounds) = (numbers.next().unwrap_or(2), numbers.next().unwrap_or(7));
    let registry = Origin::start(REGISTRY_IP, move |talk| serve(talk, gib << 30));
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut ways = vec![Way::nginx(&registry, directory.path())];
    ways.push(Way::haproxy(&registry, directory.path()));
    ways.extend(DRIVERS.map(|driver| Way::pullgate(&registry, driver)));
    // Warm, and proven to work.
    for way in &mut ways {
        way.pull(gib << 30);
    }
    for _ in 0..rounds {
        for way in &mut ways {
            let cost = way.pull(gib << 30);
            way.costs.push(cost);
        }
    }
    println!("| per GiB, {rounds} rounds of {gib} GiB | CPU, median | CPU, all | time, median |");
    println!("|---|---|---|---|");
    for way in &mut ways {
        way.costs.sort();
        let per_gib = |time: Duration| time.as_secs_f64() * 1000.0 / gib as f64;
        let all = [&way.costs[0], &way.costs[way.costs.len() - 1]].map(|it| per_gib(it.cpu));
        let middle = &way.costs[way.costs.len() / 2];
        println!(
            "| {} | {:.0} ms | {:.0} – {:.0} ms | {:.0} ms |",
            way.name,
            per_gib(middle.cpu),
            all[0],
            all[1],
            per_gib(middle.wall),
        );
    }
}

/// A proxy before the registry.
struct Way {
    name: String,
    address: SocketAddr,
    process: Running,
    costs: Vec<Cost>,
}

enum Running {
    Program(Process),
    Gate(Box<Gate>),
}

/// Of one body.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    /// Of the proxy, in user and kernel.
    cpu: Duration,
    wall: Duration,
}

impl Way {
    fn pullgate(registry: &Origin, driver: &str) -> Self {
        let backend = format!("{REGISTRY}:{}", registry.address().port());
        let gate = Gate::start_proxy(driver, &config("", "delivery = \"stream\"\n", &backend));
        let (name, address) = (format!("pullgate, {driver}"), gate.address());
        Self { name, address, process: Running::Gate(Box::new(gate)), costs: Vec::new() }
    }

    fn nginx(registry: &Origin, directory: &Path) -> Self {
        let address = free_address(Ipv4Addr::LOCALHOST.into());
        let text = format!(
            "daemon off; master_process off; worker_processes 1; pid {0}/nginx.pid; error_log {0}/nginx.log;\n\
             events {{}}\n\
             http {{ access_log off; proxy_temp_path {0}/t; client_body_temp_path {0}/b;\n\
             fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n\
             upstream registry {{ server {1}; keepalive 4; }}\n\
             server {{ listen {address}; location / {{ proxy_pass http://registry;\n\
             proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_max_temp_file_size 0; }} }} }}\n",
            directory.display(),
            registry.address(),
        );
        let file = directory.join("nginx.conf");
        fs::write(&file, text).expect("nginx's configuration");
        let mut command = Command::new(installed("nginx"));
        command.arg("-c").arg(file);
        Self::program("nginx", command, address, directory)
    }

    fn haproxy(registry: &Origin, directory: &Path) -> Self {
        let address = free_address(Ipv4Addr::LOCALHOST.into());
        let text = format!(
            "global\n nbthread 1\n\
             defaults\n mode http\n option splice-response\n http-reuse always\n\
             timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
             frontend f\n bind {address}\n default_backend b\n\
             backend b\n server s {}\n",
            registry.address(),
        );
        let file = directory.join("haproxy.cfg");
        fs::write(&file, text).expect("haproxy's configuration");
        let mut command = Command::new(installed("haproxy"));
        command.arg("-db").arg("-f").arg(file);
        Self::program("haproxy, splice", command, address, directory)
    }

    fn program(name: &str, command: Command, address: SocketAddr, directory: &Path) -> Self {
        let mut process = Process::start(command, &directory.join("said"));
        process.wait_ready(|| match TcpStream::connect(address) {
            Ok(_) => Ok(()),
            Err(problem) => Err(problem.to_string()),
        });
        Self { name: name.into(), address, process: Running::Program(process), costs: Vec::new() }
    }

    fn pull(&mut self, length: u64) -> Cost {
        let mut client = TcpStream::connect(self.address).expect("it listens");
        let target = format!("/v2/acme/rocket/blobs/sha256:{}", "a".repeat(64));
        let (began, before) = (Instant::now(), self.cpu());
        client.write_all(&request("GET", &target, &[])).expect("it reads");
        let mut part = vec![0; 1 << 20];
        let mut received = 0;
        while received < length {
            match client.read(&mut part).expect("it goes on") {
                0 => panic!("{}: it ended after {received} bytes", self.name),
                more => received += more as u64,
            }
        }
        Cost { cpu: self.cpu() - before, wall: began.elapsed() }
    }

    /// What it has used so far (proc(5), `utime` and `stime`).
    fn cpu(&mut self) -> Duration {
        let id = match &mut self.process {
            Running::Program(process) => process.id(),
            Running::Gate(gate) => gate.process().id(),
        };
        let text = fs::read_to_string(format!("/proc/{id}/stat")).expect("its status");
        let (_, behind_name) = text.rsplit_once(')').expect("its name");
        let ticks: u64 = behind_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<u64>().expect("ticks"))
            .sum();
        Duration::from_secs(ticks)
            / u32::try_from(rustix::param::clock_ticks_per_second()).expect("ticks")
    }
}

fn serve(talk: &mut Talk, length: u64) -> io::Result<()> {
    let part = vec![b'x'; 1 << 20];
    while let Some(request) = talk.request()? {
        if request.target == "/v2/" {
            talk.answer(&request, "200 OK", &[], b"{}")?;
            continue;
        }
        talk.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"))?;
        for _ in 0..length >> 20 {
            talk.send(&part)?;
        }
    }
    Ok(())
}
