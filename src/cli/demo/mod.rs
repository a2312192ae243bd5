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
use crate::cli::args::DemoArgs;
use crate::cli::serve::{self, Options, Running};
use crate::control::logging;
use crate::pure::config::check::check;
use crate::pure::config::values::{Config, LogLevel};

pub mod image;
pub mod registry;

/// Runs until SIGINT, SIGTERM or SIGHUP.
pub fn run(args: DemoArgs) -> ExitCode {
    match demonstrate(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let _ = writeln!(io::stderr(), "pullgate demo: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn demonstrate(args: DemoArgs) -> Result<(), String> {
    require_free(args)?;
    let stop = stop_signals().map_err(|problem| format!("no signal can be taken: {problem}"))?;
    let registry = start_registry().map_err(|problem| format!("no sample registry: {problem}"))?;
    let data_dir = tempfile::Builder::new().prefix("pullgate-demo-").tempdir();
    let data_dir = data_dir.map_err(|problem| format!("no temporary directory: {problem}"))?;

    let config = config(args, data_dir.path(), registry.address())?;
    let logging = logging::start(&config.log);
    let options = Options {
        source: None,
        log_dropped: Some(logging.dropped()),
    };
    let gateway = serve::start(config, options).map_err(|problem| problem.to_string())?;
    let shown = show(&gateway, &stop);
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
fn require_free(args: DemoArgs) -> Result<(), String> {
    let mut held = Vec::new();
    for (flag, port) in [("--port", args.port), ("--admin-port", args.admin_port)] {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(|problem| {
            format!(
                "cannot listen on 127.0.0.1:{port}: {problem}; choose another with `{flag} NUMBER`"
            )
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
fn config(args: DemoArgs, data_dir: &Path, registry: SocketAddr) -> Result<Config, String> {
    let (mut config, _) = check(
        "config/demo.toml",
        include_str!("../../../config/demo.toml"),
    )
    .map_err(|problems| {
        problems
            .iter()
            .map(|problem| format!("\n{problem}"))
            .collect::<String>()
    })?;
    config.gateway.listen = vec![(Ipv4Addr::LOCALHOST, args.port).into()];
    config.gateway.data_dir = data_dir.to_owned();
    config.admin.listen = (Ipv4Addr::LOCALHOST, args.admin_port).into();
    config.log.level = LogLevel::Warn;
    for package in &mut config.packages {
        package.backend.authority = registry.to_string();
    }
    Ok(config)
}

fn show(gateway: &Running, stop: &Receiver<()>) -> io::Result<()> {
    let pulls = gateway.subscribe();
    let mut out = io::stdout();
    for address in gateway.plain_addresses() {
        write!(out, "{}", welcome(*address, gateway.admin_address()))?;
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

fn welcome(gateway: SocketAddr, admin: SocketAddr) -> String {
    let reference = format!("{gateway}/demo/hello:latest");
    format!(
        "\
A sample registry runs behind the gateway. Pull its image through it, from another terminal:

  docker pull {reference}
  podman pull --tls-verify=false {reference}
  skopeo copy --src-tls-verify=false docker://{reference} oci:hello:latest

Metrics are at http://{admin}/metrics. Ctrl-C ends it all and leaves nothing behind.

Pulls, as they are counted:
"
    )
}

/// `demo/hello  latest  docker 28.5.2  linux/amd64`, without what the client does not tell.
fn line(booked: &Booked) -> String {
    let Booked {
        package,
        tag,
        client,
        version,
        platform,
    } = booked;
    // Any host name is served: the domain is always `*`.
    let name = package
        .split_once('/')
        .map_or(package.as_str(), |(_, name)| name);
    let mut line = format!("{name}  {tag}  {client}");
    if !version.is_empty() {
        line += &format!(" {version}");
    }
    if platform != "unknown" {
        line += &format!("  {platform}");
    }
    line
}

/// Takes the signals that end the demo from now on.
fn stop_signals() -> io::Result<Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    drop(entered);
    let (stop, stopped) = bounded(1);
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_the_client_told() {
        for (version, platform, expected) in [
            (
                "28.5.2",
                "linux/arm64",
                "demo/hello  1.0  docker 28.5.2  linux/arm64",
            ),
            ("28.5.2", "unknown", "demo/hello  1.0  docker 28.5.2"),
            ("", "unknown", "demo/hello  1.0  docker"),
        ] {
            let booked = Booked {
                package: "*/demo/hello".into(),
                tag: "1.0".into(),
                client: "docker".into(),
                version: version.into(),
                platform: platform.into(),
            };
            assert_eq!(line(&booked), expected);
        }
    }

    #[test]
    fn its_configuration_is_the_file_in_config_with_this_runs_addresses() {
        let args = DemoArgs {
            port: 1,
            admin_port: 2,
        };
        let registry = "127.0.0.1:3".parse().unwrap();
        let config = config(args, Path::new("/tmp/d"), registry).unwrap();
        assert_eq!(config.gateway.listen, ["127.0.0.1:1".parse().unwrap()]);
        assert_eq!(config.admin.listen, "127.0.0.1:2".parse().unwrap());
        assert_eq!(config.packages[0].backend.authority, "127.0.0.1:3");
    }
}
