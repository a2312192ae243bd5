//! `/first-pull/<domain>/<name>`: from a package in the configuration to its first counted pull. `/first-pull`
//! leads to the first package that there is.

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Redirect, Response};
use axum::routing::get;
use tokio::task::spawn_blocking;

use super::Dashboard;
use super::address::address;
use super::counted::{Asker, counted};
use super::form::Fields;
use super::packages::pull_command;
use super::page::{Frame, shown};
use super::trouble::Trouble;
use super::viewer::Signed;
use crate::aggregator::Ask;
use crate::control::visit::{self, Call};
use crate::messages::random::random;
use crate::pure::access::Action;
use crate::pure::chart::grouped;
use crate::pure::doctor::{Findings, Report};
use crate::pure::secret;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/first-pull", get(any))
        .route("/first-pull/{*package}", get(guide).post(check))
}

#[derive(Template)]
#[template(path = "first_pull.html")]
struct FirstPullPage {
    frame: Frame,
    package: String,
    /// What it is pulled from; none where any host may be.
    domain: Option<String>,
    pull_command: String,
    path: String,
    live: String,
    package_page: String,
    /// How many pulls were counted.
    pulls: Option<String>,
    may_check: bool,
    /// What was found when it was looked whether the domain leads here.
    found: Option<Report>,
}

async fn any(State(at): State<Dashboard>, signed: Signed) -> Redirect {
    let mut names = at.packages();
    names.retain(|name| !name.ends_with('*') && signed.may_package(Action::See, name, false));
    names.sort_unstable();
    match names.first() {
        Some(name) => Redirect::to(&address("first-pull", name)),
        None => Redirect::to("/"),
    }
}

async fn guide(
    State(at): State<Dashboard>,
    signed: Signed,
    Path(package): Path<String>,
) -> Result<Response, Trouble> {
    page(&at, &signed, package, None).await
}

/// Looks whether the domain leads here. For the people who run the gateway: it says who answers at any
/// address that a name server names.
async fn check(
    State(at): State<Dashboard>,
    signed: Signed,
    Path(package): Path<String>,
    _fields: Fields,
) -> Result<Response, Trouble> {
    if !signed.may_package(Action::See, &package, false) || !at.has_package(&package) {
        return Err(Trouble::absent());
    }
    if !signed.may_gateway(Action::Configure) {
        return Err(Trouble::forbidden());
    }
    let Some(domain) = domain_of(&package) else {
        return Err(Trouble::refused("A package of any domain has no name to look up."));
    };
    let bytes = random::<16>().map_err(|error| Trouble::failed(&error))?;
    let nonce = secret::text(&bytes);
    let trust = spawn_blocking(|| visit::trust(None)).await;
    let trust = trust.map_err(|error| Trouble::failed(&error))?;
    let call = Call {
        domain: domain.clone(),
        answer: at.in_force.reach(&nonce),
        nonce,
        ports: [80, 443],
        trust: trust.map_err(|error| Trouble::failed(&error))?,
    };
    let names = visit::look_up(&visit::name_servers(), &domain).await;
    let mut visits = Vec::new();
    for address in names.iter().flat_map(|said| &said.addresses).take(ADDRESSES_MAX) {
        visits.push(visit::visit(&call, *address).await);
    }
    let findings = Findings { domain: &domain, config: None, names, visits, trouble: None };
    page(&at, &signed, package, Some(Report::of(&findings))).await
}

async fn page(
    at: &Dashboard,
    signed: &Signed,
    package: String,
    found: Option<Report>,
) -> Result<Response, Trouble> {
    if !signed.may_package(Action::See, &package, false) || !at.has_package(&package) {
        return Err(Trouble::absent());
    }
    let ask = Ask { package: Some(package.clone()), ..Ask::default() };
    let asker = Asker::Account(signed.who.account);
    let pulls = counted(at, asker, move |query| query.rows(&ask)).await?.totals.pulls;
    let page = FirstPullPage {
        frame: signed.frame("The first pull"),
        domain: domain_of(&package),
        pull_command: pull_command(&package),
        path: address("first-pull", &package),
        live: address("live", &package),
        package_page: address("packages", &package),
        pulls: (pulls > 0).then(|| grouped(pulls)),
        may_check: signed.may_gateway(Action::Configure),
        found,
        package,
    };
    Ok(shown(StatusCode::OK, &page))
}

fn domain_of(package: &str) -> Option<String> {
    package.split('/').next().filter(|domain| *domain != "*").map(str::to_owned)
}

/// Addresses of a domain that are visited: each may take some seconds.
const ADDRESSES_MAX: usize = 4;
