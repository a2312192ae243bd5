//! `pullgate demo`: a registry with one image, the gateway in front of it, and the pulls as they
//! are counted. It needs no file, no network and no set-up, and leaves nothing behind.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use crossbeam_channel::Receiver;
use jiff::Timestamp;

use self::image::Image;
use self::registry::{Registry, Repository};
use crate::aggregator::Booked;
use crate::cli::args::DemoArgs;
use crate::cli::progress::Progress;
use crate::cli::serve::{self, Options, Running, Source};
use crate::control::logging;
use crate::pure::config::check::check;
use crate::pure::config::values::Config;

pub mod history;
pub mod image;
pub mod past;
pub mod places;
pub mod registry;

/// Runs until SIGINT, SIGTERM, SIGHUP or the end of standard output.
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
    let registry = start_registry().map_err(|problem| format!("no sample registry: {problem}"))?;
    let data_dir = tempfile::Builder::new().prefix("pullgate-demo-").tempdir();
    let data_dir = data_dir.map_err(|problem| format!("no temporary directory: {problem}"))?;

    let text = text(args, data_dir.path(), registry.address());
    let config = config(&text)?;
    if args.with_history {
        let progress = Progress::start("making up ninety days of pulls");
        let now = Timestamp::now().as_second().max(0).unsigned_abs() / 60;
        history::fill(data_dir.path(), u32::try_from(now).unwrap_or(u32::MAX), &config)
            .map_err(|problem| format!("no history: {problem}"))?;
        drop(progress);
    }
    let logging = logging::start(&config.log);
    let source = Source { path: None, text };
    let options = Options { source, log_dropped: Some(logging.dropped()), ..Options::default() };
    let gateway = serve::start(config, options).map_err(|problem| problem.to_string())?;
    let welcome = welcome(&gateway);
    let (pulls, drain) = (gateway.subscribe(), gateway.drain());
    let shown = thread::spawn(move || {
        let shown = show(&welcome, &pulls);
        // The feed ends with the gateway: either that has ended, or nobody reads this any more.
        drain.begin("standard output is closed");
        shown
    });
    gateway.wait();
    match shown.join() {
        // `pullgate demo | head` is a way to end it.
        Ok(Err(problem)) if problem.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output cannot be written: {problem}"))
        }
        _ => Ok(()),
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
fn text(args: DemoArgs, data_dir: &Path, registry: SocketAddr) -> String {
    let own = include_str!("../../../config/demo.toml");
    let more = if args.with_history { history::PACKAGES_TOML } else { "" };
    let data_dir = format!("'{}'", data_dir.display());
    format!("{own}{more}\n[log]\nlevel = \"warn\"\n")
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{}", args.port))
        .replace("127.0.0.1:8081", &format!("127.0.0.1:{}", args.admin_port))
        .replace("127.0.0.1:5000", &registry.to_string())
        .replace("\"pullgate-demo\"", &data_dir)
}

fn config(text: &str) -> Result<Config, String> {
    let (config, _) = check("config/demo.toml", text).map_err(|problems| {
        problems.iter().map(|problem| format!("\n{problem}")).collect::<String>()
    })?;
    Ok(config)
}

/// Prints the welcome, and then each pull until the feed ends.
fn show(welcome: &str, pulls: &Receiver<Booked>) -> io::Result<()> {
    let mut out = io::stdout();
    out.write_all(welcome.as_bytes())?;
    for booked in pulls {
        writeln!(out, "{}", line(&booked))?;
    }
    Ok(())
}

fn welcome(gateway: &Running) -> String {
    let (admin, set_up) = (gateway.admin_address(), gateway.set_up_link());
    let reference = match gateway.plain_addresses() {
        [address, ..] => format!("{address}/demo/hello:latest"),
        [] => return String::new(),
    };
    format!(
        "\
A sample registry runs behind the gateway. Pull its image through it, from another terminal:

  docker pull {reference}
  podman pull --tls-verify=false {reference}
  skopeo copy --src-tls-verify=false docker://{reference} oci:hello:latest

The dashboard is at http://{admin}/. Make its first account here:

  {set_up}

Metrics are at http://{admin}/metrics. Ctrl-C ends it all and leaves nothing behind.

Pulls, as they are counted:
"
    )
}

/// `demo/hello  latest  docker 28.5.2  linux/amd64`, without what the client does not tell.
fn line(booked: &Booked) -> String {
    let Booked { package, tag, client, version, platform } = booked;
    // Any host name is served: the domain is always `*`.
    let name = package.split_once('/').map_or(package.as_str(), |(_, name)| name);
    let mut line = format!("{name}  {tag}  {client}");
    if !version.is_empty() {
        line += &format!(" {version}");
    }
    if platform != "unknown" {
        line += &format!("  {platform}");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_the_client_told() {
        for (version, platform, expected) in [
            ("28.5.2", "linux/arm64", "demo/hello  1.0  docker 28.5.2  linux/arm64"),
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
        let args = DemoArgs { port: 1, admin_port: 2, with_history: false };
        let registry = "127.0.0.1:3".parse().unwrap();
        let more = DemoArgs { with_history: true, ..args };
        let more = config(&text(more, Path::new("/tmp/d"), registry)).unwrap();
        let config = config(&text(args, Path::new("/tmp/d"), registry)).unwrap();
        assert_eq!((config.packages.len(), more.packages.len()), (1, 4));
        assert_eq!(config.gateway.listen, ["127.0.0.1:1".parse().unwrap()]);
        assert_eq!(config.admin.listen, "127.0.0.1:2".parse().unwrap());
        assert_eq!(config.packages[0].backend.authority, "127.0.0.1:3");
    }
}
