//! `/first-pull/<domain>/<name>`: from a package to its first counted pull. `/first-pull` leads to the first package
//! that there is, or to where one is made.

use std::net::IpAddr;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{Redirect, Response};
use axum::routing::get;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use super::Dashboard;
use super::address::{address, guided};
use super::counted::{Asker, counted};
use super::domains::LOOK_UP_DEADLINE;
use super::form::Fields;
use super::packages::pull_command;
use super::page::{Frame, shown};
use super::trouble::Trouble;
use super::viewer::{Signed, Viewer};
use super::whereabouts::{Way, domain_of};
use crate::aggregator::Ask;
use crate::control::accounts::rights::Right;
use crate::control::accounts::sessions::Who;
use crate::control::visit::{self, Call};
use crate::messages::random::random;
use crate::pure::access::Action;
use crate::pure::chart::grouped;
use crate::pure::doctor::{Findings, Report, Visit};
use crate::pure::http1::forwarded::mapped;
use crate::pure::record::Record;
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
    /// What leads that here; none where it cannot be known, or is for others to know.
    records: Vec<Record>,
    is_withheld: bool,
    /// The domain of all organisations that it is below: then who runs the gateway adds what leads there.
    shared: Option<String>,
    /// Whose DNS has that, and whether it is for who looks to add it.
    zone: String,
    may_add: bool,
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

async fn any(State(at): State<Dashboard>, signed: Signed) -> Result<Redirect, Trouble> {
    let mut names = at.packages();
    names.retain(|name| !name.ends_with('*') && signed.may_package(Action::See, name, false));
    names.sort_unstable();
    if let Some(name) = names.first() {
        return Ok(Redirect::to(&address("first-pull", name)));
    }
    let organisations = at.accounts.run(|store| store.organisations()).await?;
    let theirs =
        organisations.iter().find(|one| signed.may_organisation(Action::Configure, one.id));
    Ok(match theirs {
        Some(one) => Redirect::to(&guided(&one.name)),
        None => Redirect::to("/"),
    })
}

async fn guide(
    State(at): State<Dashboard>,
    signed: Signed,
    Path(package): Path<String>,
) -> Result<Response, Trouble> {
    page(&at, &signed, package, None).await
}

/// Looks whether the domain leads here, for who may say where the package lives.
async fn check(
    State(at): State<Dashboard>,
    signed: Signed,
    Path(package): Path<String>,
    _fields: Fields,
) -> Result<Response, Trouble> {
    let found = checked(&at, &signed, &signed.who, &package).await?;
    page(&at, &signed, package, Some(found)).await
}

/// What is found where the domain of a package leads, for who may change its settings or runs the gateway, and as
/// they may be told of it.
///
/// # Errors
/// [`Trouble::absent`] for who may not see it and where there is none, [`Trouble::forbidden`] for who may not look;
/// a package of any domain; that too much is looked at by now.
pub(super) async fn checked(
    at: &Dashboard,
    viewer: &Viewer,
    who: &Who,
    package: &str,
) -> Result<Report, Trouble> {
    seen(at, viewer, package)?;
    if !may_check(viewer, package) {
        return Err(Trouble::forbidden());
    }
    let Some(domain) = domain_of(package) else {
        return Err(Trouble::refused("A package of any domain has no name to look up."));
    };
    let right = match viewer.may_gateway(Action::Configure) {
        true => Right::gateway(who.clone()),
        false => viewer.right(Action::Configure, package).under(at.in_force.snapshot()),
    };
    // However long the form took: whom it looks for may be nobody here any more.
    at.accounts.run_by(right, |_, _| Ok(())).await?;
    look(at, viewer, who.account, domain).await
}

/// That there is a package, and that they may see it.
///
/// # Errors
/// [`Trouble::absent`], which does not tell the one from the other.
pub(super) fn seen(at: &Dashboard, viewer: &Viewer, package: &str) -> Result<(), Trouble> {
    match viewer.may_package(Action::See, package, false) && at.has_package(package) {
        true => Ok(()),
        false => Err(Trouble::absent()),
    }
}

fn may_check(viewer: &Viewer, package: &str) -> bool {
    viewer.may_package(Action::Configure, package, false) || viewer.may_gateway(Action::Configure)
}

async fn look(
    at: &Dashboard,
    viewer: &Viewer,
    account: i64,
    domain: String,
) -> Result<Report, Trouble> {
    let _turn = at.look_ups.take(account).await.map_err(Trouble::of_looks)?;
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
    let names = timeout(LOOK_UP_DEADLINE, visit::look_up(&at.name_servers(), &domain)).await;
    let names = names.unwrap_or_else(|_| Err("no name server answers in time".to_owned()));
    let (snapshot, runs_gateway) = (at.in_force.snapshot(), viewer.may_gateway(Action::Configure));
    let addresses = names.iter().flat_map(|said| &said.addresses).copied().take(ADDRESSES_MAX);
    // Whoever has a name can let it lead inside: what answers there is for who runs the gateway to know.
    let (outside, inside): (Vec<IpAddr>, Vec<IpAddr>) = addresses.partition(|address| {
        runs_gateway || snapshot.may_dial(None, &domain, 443, mapped(*address))
    });
    let visits = all_visits(call, outside).await;
    let findings = Findings { domain: &domain, config: None, names, visits, trouble: None };
    let mut report = Report::of(&findings);
    for address in inside {
        report.is_well = false;
        report.lines.push(format!(
            "change  {address}: is not public, so only who runs the gateway can look who answers there; let \
             the name lead to the gateway's public address"
        ));
    }
    Ok(report)
}

/// Who answers at each of these, in their order: each takes some seconds, and all are visited at once.
async fn all_visits(call: Call, addresses: Vec<IpAddr>) -> Vec<Visit> {
    let call = Arc::new(call);
    let mut under_way = JoinSet::new();
    for (place, address) in addresses.into_iter().enumerate() {
        let call = Arc::clone(&call);
        under_way.spawn(async move { (place, visit::visit(&call, address).await) });
    }
    let mut visits = under_way.join_all().await;
    visits.sort_unstable_by_key(|(place, _)| *place);
    visits.into_iter().map(|(_, visit)| visit).collect()
}

async fn page(
    at: &Dashboard,
    signed: &Signed,
    package: String,
    found: Option<Report>,
) -> Result<Response, Trouble> {
    seen(at, signed, &package)?;
    let ask = Ask { package: Some(package.clone()), ..Ask::default() };
    let asker = Asker::Account(signed.who.account);
    let pulls = counted(at, asker, move |query| query.rows(&ask)).await?.totals.pulls;
    let Way { domain, records, is_withheld, shared } = Way::of(at, signed, &package);
    let page = FirstPullPage {
        frame: signed.frame("The first pull"),
        records,
        is_withheld,
        may_add: shared.is_none() || signed.may_gateway(Action::Configure),
        zone: shared.clone().or_else(|| domain.clone()).unwrap_or_default(),
        shared,
        domain,
        pull_command: pull_command(&package),
        path: address("first-pull", &package),
        live: address("live", &package),
        package_page: address("packages", &package),
        pulls: (pulls > 0).then(|| grouped(pulls)),
        may_check: may_check(signed, &package),
        found,
        package,
    };
    Ok(shown(StatusCode::OK, &page))
}

/// Addresses of a domain that are visited.
const ADDRESSES_MAX: usize = 4;
