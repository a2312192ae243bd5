//! The command line as a person types it. Its help is what the README shows.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::elsewhere::Elsewhere;
use super::manage::args::{AlertArgs, ApiArgs, PackageArgs, PeopleArgs, TokenArgs};
use crate::aggregator::{By, Only};
use crate::pure::export;

/// The gateway in front of container registries: decouples the pull command from the registry, and
/// counts the pulls.
#[derive(Debug, Parser)]
#[command(name = "pullgate", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway: SIGHUP reloads the file, SIGTERM finishes what is under way and stops
    Serve(ServeArgs),
    /// Check a configuration file and say everything that is wrong with it
    Check(ConfigArgs),
    /// Try it: a sample registry and the gateway in front of it, without network or set-up
    Demo(DemoArgs),
    /// Show the counts, also while the gateway runs
    Pulls(PullsArgs),
    /// Write the counts as CSV or as one JSON object per line, also while the gateway runs
    Export(ExportArgs),
    /// Bring along what a former provider counted: a CSV file of daily totals
    Import(ImportArgs),
    /// Remove counts for good; says what would be removed, and does it with --yes
    Erase(EraseArgs),
    /// Copy counts, accounts, certificates and keys into one file, also while the gateway runs
    Backup(BackupArgs),
    /// Say whether a domain leads to the running gateway, and what to change
    Doctor(DoctorArgs),
    /// Make accounts for the dashboard, reset their passwords, list them, also while the gateway runs
    Account(AccountArgs),
    /// List the running gateway's certificates, and what went wrong with those it asks for
    Certs(CertsArgs),
    /// Say how the running gateway would answer a request, and why
    Explain(ExplainArgs),
    /// List, make, change and remove packages of a gateway elsewhere
    Package(PackageArgs),
    /// List who has a role at a gateway elsewhere, invite people, change roles, take them away
    People(PeopleArgs),
    /// List, make and end API tokens of a gateway elsewhere
    Token(TokenArgs),
    /// List, add and remove webhooks that a gateway elsewhere tells what happens
    Alert(AlertArgs),
    /// Ask the API of a gateway elsewhere for anything: audit log, badges, history, domains, organisations
    Api(ApiArgs),
}

/// Of `serve`.
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The configuration
    #[command(flatten)]
    pub config: ConfigArgs,
    /// Take over from the gateway that runs on the same data_dir, unnoticed by clients
    #[arg(long)]
    pub upgrade: bool,
    /// The name server that is asked for the records that prove domains, instead of this machine's
    #[arg(long, value_name = "ADDRESS")]
    pub resolver: Option<SocketAddr>,
}

/// Of `serve` and `check`.
#[derive(Args, Debug)]
pub struct ConfigArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

/// Of `demo`, which is for this machine alone: both listen on 127.0.0.1.
#[derive(Args, Clone, Copy, Debug)]
pub struct DemoArgs {
    /// The gateway's port
    #[arg(long, value_name = "NUMBER", default_value_t = 8080)]
    pub port: u16,
    /// The port of /metrics, /healthz and /readyz
    #[arg(long, value_name = "NUMBER", default_value_t = 8081)]
    pub admin_port: u16,
    /// Make up ninety days of pulls first, of four packages, for a look around
    #[arg(long)]
    pub with_history: bool,
}

/// Of `pulls`.
#[derive(Args, Clone, Debug)]
pub struct PullsArgs {
    /// What is asked for
    #[command(flatten)]
    pub wanted: Wanted,
    /// Group by tag, client, family, os, arch, platform, image_platform, digest, delivery, outcome,
    /// country, region, city, network, company, kind, cloud, cloud_region or label, or by two of
    /// them: tag and client, country and tag, company and tag; by minute, hour or day; and by domain
    /// in the package's stead
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    pub by: Vec<By>,
    /// Only so many of each package, those with the most pulls, and the rest together
    #[arg(long, value_name = "NUMBER")]
    pub top: Option<usize>,
    /// Compare with the period of the same length before
    #[arg(long)]
    pub compare: bool,
    /// Only what may be shown in public: places from which enough clients pulled on one day
    #[arg(long)]
    pub public: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Which counts are meant.
#[derive(Args, Clone, Debug)]
pub struct Wanted {
    /// The gateway's data_dir
    #[arg(long, value_name = "DIR", required_unless_present = "url")]
    pub data: Option<PathBuf>,
    /// Or a gateway elsewhere
    #[command(flatten)]
    pub elsewhere: Elsewhere,
    /// Only this package, as `<domain>/<name>`
    #[arg(long, value_name = "NAME")]
    pub package: Option<String>,
    /// Only what has this value, as in tag=latest
    #[arg(long, value_name = "KEY=VALUE")]
    pub only: Vec<Only>,
    /// From this time on: RFC 3339, or a date for its midnight in UTC
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub from: Option<Timestamp>,
    /// Up to, but not including, this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub to: Option<Timestamp>,
}

/// Of `export`.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    /// What is asked for
    #[command(flatten)]
    pub wanted: Wanted,
    /// How it is written
    #[arg(long)]
    pub format: Format,
    /// What rows are told apart by beside the package, as in `pulls`
    #[arg(long, value_name = "KEY", value_delimiter = ',', default_value = "day,tag")]
    pub by: Vec<By>,
}

/// What an export looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Comma-separated values, names in the first line
    Csv,
    /// A JSON object on each line
    Ndjson,
}

impl From<Format> for export::Format {
    fn from(format: Format) -> Self {
        match format {
            Format::Csv => Self::Csv,
            Format::Ndjson => Self::Ndjson,
        }
    }
}

/// Of `import`.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// The file: its columns are time (a day), package (`<domain>/<name>`) and pulls, and where they
    /// are known version, requests and daily_uniques
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The gateway's data_dir
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
}

/// Of `erase`.
#[derive(Args, Clone, Debug)]
pub struct EraseArgs {
    /// The gateway's data_dir
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// This package, as `<domain>/<name>`
    #[arg(
        long,
        value_name = "NAME",
        required_unless_present = "domain",
        conflicts_with = "domain"
    )]
    pub package: Option<String>,
    /// All packages of this domain
    #[arg(long, value_name = "HOST")]
    pub domain: Option<String>,
    /// From this day on (UTC)
    #[arg(long, value_name = "DATE", value_parser = time)]
    pub from: Option<Timestamp>,
    /// Up to, but not including, this day
    #[arg(long, value_name = "DATE", value_parser = time)]
    pub to: Option<Timestamp>,
    /// Do it
    #[arg(long)]
    pub yes: bool,
}

/// Of `backup`.
#[derive(Args, Clone, Debug)]
pub struct BackupArgs {
    /// The file to be made, a tar archive
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// Replace a file that is there already, once the new one is whole
    #[arg(long)]
    pub replace: bool,
    /// The gateway's data_dir
    #[arg(long, value_name = "DIR", default_value = "/var/lib/pullgate")]
    pub data: PathBuf,
}

/// Of `doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// The domain that clients pull from
    #[arg(value_name = "DOMAIN")]
    pub domain: String,
    /// The running gateway's configuration file
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The name server to ask, instead of this machine's
    #[arg(long, value_name = "ADDRESS")]
    pub resolver: Option<SocketAddr>,
    /// Certificates, in PEM, that your clients trust beside the system's
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// The port where clients come in plain HTTP
    #[arg(long, value_name = "NUMBER", default_value_t = 80)]
    pub http_port: u16,
    /// The port where clients come over TLS
    #[arg(long, value_name = "NUMBER", default_value_t = 443)]
    pub https_port: u16,
}

/// Of `account`.
#[derive(Args, Clone, Debug)]
pub struct AccountArgs {
    /// What is done
    #[command(subcommand)]
    pub command: AccountCommand,
}

/// What `account` does.
#[derive(Clone, Debug, Subcommand)]
pub enum AccountCommand {
    /// Make an account, and print a password for it
    Create(AccountCreateArgs),
    /// Print a new password for an account; its sessions and its second factor end
    Reset(AccountResetArgs),
    /// List the accounts and their roles on organisations
    List(AccountListArgs),
}

/// Of `account create`.
#[derive(Args, Clone, Debug)]
pub struct AccountCreateArgs {
    /// What it signs in with
    #[arg(value_name = "LOGIN")]
    pub login: String,
    /// Its organisation, which is made if it is not there; the first of all runs the gateway
    #[arg(long, value_name = "NAME")]
    pub organisation: Option<String>,
    /// What it is there: member or admin
    #[arg(long, value_name = "ROLE", default_value = "admin")]
    pub role: String,
    /// The gateway's data_dir
    #[arg(long, value_name = "DIR", default_value = "/var/lib/pullgate")]
    pub data: PathBuf,
}

/// Of `account reset`.
#[derive(Args, Clone, Debug)]
pub struct AccountResetArgs {
    /// What it signs in with
    #[arg(value_name = "LOGIN")]
    pub login: String,
    /// The gateway's data_dir
    #[arg(long, value_name = "DIR", default_value = "/var/lib/pullgate")]
    pub data: PathBuf,
}

/// Of `account list`.
#[derive(Args, Clone, Debug)]
pub struct AccountListArgs {
    /// The gateway's data_dir
    #[arg(long, value_name = "DIR", default_value = "/var/lib/pullgate")]
    pub data: PathBuf,
    /// Or a gateway elsewhere: those of the organisations that the token reaches
    #[command(flatten)]
    pub elsewhere: Elsewhere,
}

/// Of `certs`.
#[derive(Args, Clone, Debug)]
pub struct CertsArgs {
    /// The gateway's data_dir
    #[arg(long, value_name = "DIR", default_value = "/var/lib/pullgate")]
    pub data: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// Of `explain`.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// What is pulled (`registry.acme.com/acme/rocket:1.0`), or asked for (`https://…/v2/…`)
    #[arg(id = "asked", value_name = "URL")]
    pub url_asked: String,
    /// Who asks, as `containerd/2.1.4`
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub user_agent: String,
    /// The gateway's data_dir
    #[arg(long, value_name = "DIR", default_value = "/var/lib/pullgate")]
    pub data: PathBuf,
    /// Or a gateway elsewhere
    #[command(flatten)]
    pub elsewhere: Elsewhere,
}

/// A moment, or a day for its midnight in UTC.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let midnight = || -> Result<Timestamp, jiff::Error> {
        TimeZone::UTC.to_timestamp(text.parse::<Date>()?.at(0, 0, 0, 0))
    };
    text.parse()
        .or_else(|_| midnight())
        .map_err(|_| "neither like 2026-01-31T12:00:00Z nor like 2026-01-31".to_owned())
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
    fn a_time_is_a_moment_or_a_day() {
        assert_eq!(time("2026-01-31").unwrap().to_string(), "2026-01-31T00:00:00Z");
        assert_eq!(time("2026-01-31T01:00:00+01:00"), time("2026-01-31"));
        assert!(time("yesterday").unwrap_err().contains("2026-01-31T12:00:00Z"));
    }
}
