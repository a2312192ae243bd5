//! What is typed to manage a gateway elsewhere.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;

use crate::cli::elsewhere::Pass;

/// Of `package`.
#[derive(Args, Clone, Debug)]
pub struct PackageArgs {
    /// What is done
    #[command(subcommand)]
    pub command: PackageCommand,
}

/// What `package` does.
#[derive(Clone, Debug, Subcommand)]
pub enum PackageCommand {
    /// List the packages that the token reaches
    List {
        /// Where
        #[command(flatten)]
        there: There,
    },
    /// Show what is written of a package
    Show {
        /// It, as `<domain>/<name>`
        #[arg(value_name = "NAME")]
        package: String,
        /// Where
        #[command(flatten)]
        there: There,
    },
    /// Make a package; it is in force when this returns
    Create {
        /// The organisation that it is to belong to
        #[arg(long, value_name = "NAME")]
        organisation: String,
        /// What is written of it
        #[command(flatten)]
        written: WrittenArgs,
        /// Whether people, tokens and webhooks that its name has from the configuration file come with it
        #[arg(long, value_name = "WHICH")]
        people: Option<Left>,
        /// Where
        #[command(flatten)]
        there: There,
    },
    /// Change what is written of a package; what is not named stays
    Edit {
        /// It, as `<domain>/<name>`
        #[arg(value_name = "NAME")]
        package: String,
        /// What is written of it from then on
        #[command(flatten)]
        written: WrittenArgs,
        /// Change what people type, where domain or name change
        #[arg(long)]
        confirm: bool,
        /// Where
        #[command(flatten)]
        there: There,
    },
    /// Remove a package; what was counted stays
    Delete {
        /// It, as `<domain>/<name>`
        #[arg(value_name = "NAME")]
        package: String,
        /// Where
        #[command(flatten)]
        there: There,
    },
    /// Show everybody the counts of a package, of places those that the privacy threshold allows
    Public {
        /// It, as `<domain>/<name>`
        #[arg(value_name = "NAME")]
        package: String,
        /// Where
        #[command(flatten)]
        there: There,
    },
    /// Show the counts of a package to its people alone
    Private {
        /// It, as `<domain>/<name>`
        #[arg(value_name = "NAME")]
        package: String,
        /// Where
        #[command(flatten)]
        there: There,
    },
}

/// What is written of a package, in the words of the configuration file.
#[derive(Args, Clone, Debug)]
pub struct WrittenArgs {
    /// The host that people pull from; without one the organisation's below the gateway's `shared_domain`
    #[arg(long, value_name = "HOST")]
    pub domain: Option<String>,
    /// What people pull there, as `acme/rocket`, or `acme/*` for a collection
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Where it lives, as `ghcr.io/acme/rocket`; several stand in for each other in this order
    #[arg(long, value_name = "REPOSITORY")]
    pub backend: Vec<String>,
    /// Whether the next backend is asked where one has no such thing
    #[arg(long, value_name = "BOOL")]
    pub failover_on_404: Option<bool>,
    /// auto, redirect, broker or stream
    #[arg(long, value_name = "HOW")]
    pub delivery: Option<String>,
    /// none, client or registry: whose login the registry sees
    #[arg(long, value_name = "WHOSE")]
    pub credentials: Option<String>,
    /// What its counts know it by
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    pub description: Option<String>,
}

/// What becomes of what hangs on a name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Left {
    /// It comes with the package
    Keep,
    /// It ends
    End,
}

/// Of `people`.
#[derive(Args, Clone, Debug)]
pub struct PeopleArgs {
    /// What is done
    #[command(subcommand)]
    pub command: PeopleCommand,
}

/// What `people` does.
#[derive(Clone, Debug, Subcommand)]
pub enum PeopleCommand {
    /// List who has a role there
    List {
        /// Of what
        #[command(flatten)]
        place: PlaceArgs,
        /// Where
        #[command(flatten)]
        there: There,
    },
    /// Make a link by which somebody gets a role there, once, within a week
    Invite {
        /// To what
        #[command(flatten)]
        place: PlaceArgs,
        /// member or admin
        #[arg(long, value_name = "ROLE", default_value = "member")]
        role: String,
        /// Where
        #[command(flatten)]
        there: There,
    },
    /// List the links that nobody has taken yet
    Invitations {
        /// To what
        #[command(flatten)]
        place: PlaceArgs,
        /// Where
        #[command(flatten)]
        there: There,
    },
    /// Have a link lead nowhere any more
    Withdraw {
        /// Its number in the list of invitations
        #[arg(value_name = "NUMBER")]
        id: i64,
        /// To what it leads
        #[command(flatten)]
        place: PlaceArgs,
        /// Where
        #[command(flatten)]
        there: There,
    },
    /// Give somebody who has a role there another one
    Role {
        /// What they sign in with
        #[arg(value_name = "LOGIN")]
        login: String,
        /// member or admin
        #[arg(value_name = "ROLE")]
        role: String,
        /// On what
        #[command(flatten)]
        place: PlaceArgs,
        /// Where
        #[command(flatten)]
        there: There,
    },
    /// Take somebody's role there away
    Remove {
        /// What they sign in with
        #[arg(value_name = "LOGIN")]
        login: String,
        /// On what
        #[command(flatten)]
        place: PlaceArgs,
        /// Where
        #[command(flatten)]
        there: There,
    },
}

/// Of `token`.
#[derive(Args, Clone, Debug)]
pub struct TokenArgs {
    /// What is done
    #[command(subcommand)]
    pub command: TokenCommand,
}

/// What `token` does.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// List the account's tokens that reach no further than the one this is done with
    List {
        /// Where
        #[command(flatten)]
        there: There,
    },
    /// Make a token, and print it; it ends with the one that it is made with
    Create {
        /// What it reaches
        #[command(flatten)]
        place: PlaceArgs,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        label: String,
        /// member, which reads only, or admin
        #[arg(long, value_name = "ROLE", default_value = "member")]
        role: String,
        /// For how many days; without end if left out
        #[arg(long, value_name = "NUMBER")]
        days: Option<i64>,
        /// Where
        #[command(flatten)]
        there: There,
    },
    /// End a token
    Revoke {
        /// Its number in the list
        #[arg(value_name = "NUMBER")]
        id: i64,
        /// Where
        #[command(flatten)]
        there: There,
    },
}

/// Of `alert`.
#[derive(Args, Clone, Debug)]
pub struct AlertArgs {
    /// What is done
    #[command(subcommand)]
    pub command: AlertCommand,
}

/// What `alert` does.
#[derive(Clone, Debug, Subcommand)]
pub enum AlertCommand {
    /// List the webhooks of a package, and how they were heard
    List {
        /// It, as `<domain>/<name>`
        #[arg(long, value_name = "NAME")]
        package: String,
        /// Where
        #[command(flatten)]
        there: There,
    },
    /// Have a webhook told of a package, and print the secret that its messages are signed with
    Add {
        /// Who is told
        #[arg(value_name = "WEBHOOK")]
        webhook: String,
        /// Of what: backend, certificate, unusual, weekly; all of them if left out
        #[arg(long, value_name = "WORD", value_delimiter = ',')]
        events: Vec<String>,
        /// The package, as `<domain>/<name>`
        #[arg(long, value_name = "NAME")]
        package: String,
        /// Where
        #[command(flatten)]
        there: There,
    },
    /// Tell a webhook nothing any more
    Remove {
        /// Its number in the list
        #[arg(value_name = "NUMBER")]
        id: i64,
        /// The package, as `<domain>/<name>`
        #[arg(long, value_name = "NAME")]
        package: String,
        /// Where
        #[command(flatten)]
        there: There,
    },
}

/// Of `api`.
#[derive(Args, Clone, Debug)]
pub struct ApiArgs {
    /// How it is asked
    #[arg(value_name = "METHOD", ignore_case = true)]
    pub method: Verb,
    /// What is asked for: what stands behind `/api/v1/` in the reference, which is the dashboard's page `/api`, as
    /// `audit?organisation=acme`
    #[arg(value_name = "PATH")]
    pub path: String,
    /// What is sent: a file of JSON, or - for what is piped in
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    /// Do it only if the state of what is changed still has this ETag
    #[arg(long, value_name = "ETAG", conflicts_with = "current")]
    pub if_match: Option<String>,
    /// Read that ETag before, at the same path or at another: what somebody changes in between is not lost
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub current: Option<String>,
    /// Print status and fields of the answer before it
    #[arg(long)]
    pub include: bool,
    /// Where the gateway's dashboard is, as `https://counts.acme.com`
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// Who asks
    #[command(flatten)]
    pub pass: Pass,
}

/// A method that the API has.
#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum Verb {
    /// Reads
    Get,
    /// Makes, or does
    Post,
    /// Changes
    Put,
    /// Removes
    Delete,
}

impl From<Verb> for Method {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Get => Self::GET,
            Verb::Post => Self::POST,
            Verb::Put => Self::PUT,
            Verb::Delete => Self::DELETE,
        }
    }
}

/// An organisation, or a package.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct PlaceArgs {
    /// The organisation
    #[arg(long, value_name = "NAME")]
    pub organisation: Option<String>,
    /// Or the package, as `<domain>/<name>`
    #[arg(long, value_name = "NAME")]
    pub package: Option<String>,
}

/// The gateway elsewhere, and how it is told.
#[derive(Args, Clone, Debug)]
pub struct There {
    /// Where its dashboard is, as `https://counts.acme.com`
    #[arg(long, value_name = "URL")]
    pub url: String,
    /// Who asks
    #[command(flatten)]
    pub pass: Pass,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
