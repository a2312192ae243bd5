//! How a gateway elsewhere is named on the command line.

use std::path::PathBuf;

use clap::Args;

/// A gateway elsewhere.
#[derive(Args, Clone, Debug)]
pub struct Elsewhere {
    /// Ask a gateway elsewhere: where its dashboard is, as `https://counts.acme.com`
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    pub url: Option<String>,
    /// Who asks there
    #[command(flatten)]
    pub pass: Pass,
}

/// By what a gateway elsewhere is asked.
#[derive(Args, Clone, Debug)]
pub struct Pass {
    /// An API token of that gateway. Others on this machine see what is typed: rather put it into the
    /// variable PULLGATE_TOKEN, or into a file
    #[arg(long, value_name = "TOKEN", requires = "url", conflicts_with = "token_file")]
    pub token: Option<String>,
    /// A file that holds the API token
    #[arg(long, value_name = "FILE", requires = "url")]
    pub token_file: Option<PathBuf>,
    /// Certificates, in PEM, that are trusted there beside the system's
    #[arg(long, value_name = "FILE", requires = "url")]
    pub ca_file: Option<PathBuf>,
}
