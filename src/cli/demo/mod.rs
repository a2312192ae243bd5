//! `pullgate demo`: a registry with one image, the gateway in front of it, and the pulls as they
//! are counted. It needs no file, no network and no set-up, and leaves nothing behind.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use crossbeam_channel::{Receiver, bounded, select};
use tokio::signal::unix::{SignalKind, signal};

use self::image::Image;
use self::registry::{Registry, Repository};
use crate::aggregator::Booked;
use crate::cli::serve::{self, Running};
use crate::pure::config::check;
use crate::pure::config::values::Config;
use crate::pure::oci::backend::Backend;

pub mod image;
pub mod registry;

/// The command line of `pullgate demo`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Arguments {
    /// The gateway's port on 127.0.0.1
    #[arg(long, value_name = "NUMBER", default_value_t = 8080)]
    port: u16,
    /// The port of /metrics, /healthz and /readyz on 127.0.0.1
    #[arg(long, value_name = "NUMBER", default_value_t = 8081)]
    admin_port: u16,
}

/// Runs until SIGINT, SIGTERM or SIGHUP.
pub fn run(arguments: Arguments) -> ExitCode {
    match demonstrate(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let _ = writeln!(io::stderr(), "pullgate demo: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn demonstrate(arguments: Arguments) -> Result<(), String> {
    require_free(arguments)?;
    let stop = stop_signals().map_err(|problem| format!("no signal can be taken: {problem}"))?;
    let registry = start_registry().map_err(|problem| format!("no sample registry: {problem}"))?;
    let data_dir = tempfile::Builder::new().prefix("pullgate-demo-").tempdir();
    let data_dir = data_dir.map_err(|problem| format!("no temporary directory: {problem}"))?;

    let config = config(arguments, data_dir.path(), registry.address())?;
    let gateway = serve::start(config).map_err(|problem| problem.to_string())?;
    let shown = show(&gateway, arguments, &stop);
    gateway.stop();
    match shown {
        // `pullgate demo | head` is a way to end it.
        Err(problem) if problem.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output cannot be written: {problem}"))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Says so before anything is started, with the flag that helps. Both ports are tried at once: the
/// same number for both is taken as well.
fn require_free(arguments: Arguments) -> Result<(), String> {
    let mut held = Vec::new();
    for (flag, port) in [("--port", arguments.port), ("--admin-port", arguments.admin_port)] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|problem| {
            format!("cannot listen on 127.0.0.1:{port}: {problem}; choose another with `{flag} NUMBER`")
        })?;
        held.push(listener);
    }
    Ok(())
}

fn start_registry() -> io::Result<Registry> {
    let repository = Repository::of(&Image::hello()?, &["latest", "1.0"]);
    let repositories = HashMap::from([("demo/hello".to_owned(), repository)]);
    Registry::start((Ipv4Addr::LOCALHOST, 0).into(), repositories, |_| ())
}

/// `config/demo.toml` with what only this run knows.
fn config(arguments: Arguments, data_dir: &Path, registry: SocketAddr) -> Result<Config, String> {
    let (mut config, _) = check("config/demo.toml", include_str!("../../../config/demo.toml"))
        .map_err(|problems| problems.iter().map(|problem| format!("\n{problem}")).collect::<String>())?;
    config.gateway.listen = vec![(Ipv4Addr::LOCALHOST, arguments.port).into()];
    config.admin.listen = (Ipv4Addr::LOCALHOST, arguments.admin_port).into();
    config.gateway.data_dir = data_dir.to_owned();
    for package in &mut config.packages {
        package.backend = Backend::parse(&format!("http://{registry}/demo/*"))
            .map_err(|problem| problem.to_string())?;
    }
    Ok(config)
}

fn show(gateway: &Running, arguments: Arguments, stop: &Receiver<()>) -> io::Result<()> {
    let pulls = gateway.subscribe();
    let mut out = io::stdout();
    for address in gateway.plain_addresses() {
        write!(out, "{}", welcome(*address, arguments.admin_port))?;
    }
    loop {
        select! {
            recv(pulls) -> booked => match booked {
                Ok(booked) => writeln!(out, "{}", line(&booked))?,
                Err(_) => return Ok(()),
            },
            recv(stop) -> _ => return Ok(()),
        }
    }
}

fn welcome(gateway: SocketAddr, admin_port: u16) -> String {
    let reference = format!("{gateway}/demo/hello:latest");
    format!(
        "\
A sample registry runs behind the gateway. Pull its image through it, from another terminal:

  docker pull {reference}
  podman pull --tls-verify=false {reference}
  skopeo copy --src-tls-verify=false docker://{reference} oci:hello:latest

Metrics are at http://127.0.0.1:{admin_port}/metrics. Ctrl-C ends it all and leaves nothing behind.

Pulls, as they are counted:
"
    )
}

/// Takes the signals that end the demo from now on.
fn stop_signals() -> io::Result<Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    drop(entered);
    let (stop, stopped) = bounded(1);
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
        });
        // Nobody waits for it any more: the demo has ended by itself.
        let _ = stop.try_send(());
    })?;
    Ok(stopped)
}
