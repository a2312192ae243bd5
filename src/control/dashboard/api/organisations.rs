//! `/api/v1/organisations` and `/api/v1/domains`

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Part, Place};
use super::problem::{Problem, Sent, read};
use super::refusal::{Absent, Forbidden, InTheWay, Refusal, Stale, TooLong, TooMany, Unchanged};
use super::tagged::{List, Meant, Order, one_of, tagged};
use crate::control::accounts::audit::Actor;
use crate::control::accounts::claims::Claim;
use crate::control::accounts::rights::Right;
use crate::control::accounts::{Store, StoreError, now_s};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::domains::{Domains, prove, put_back, put_claim, record_name};
use crate::control::dashboard::place::Named;
use crate::control::dashboard::trouble::Trouble;
use crate::pure::access::{Action, OrganisationId};
use crate::pure::account;
use crate::pure::config::values::SignUp;

/// An organisation that the caller has a role on.
#[derive(Serialize, ToSchema)]
pub(super) struct Organisation {
    /// Its name.
    #[schema(example = "acme")]
    name: String,
    /// The domains that are its own by name.
    domains: Vec<String>,
}

/// What an organisation is to be called.
#[derive(Deserialize, ToSchema)]
pub(super) struct WantedOrganisation {
    /// 1 to 63 letters, digits and hyphens.
    #[schema(example = "moon")]
    name: String,
}

/// A domain of an organisation.
#[derive(Serialize, ToSchema)]
pub(super) struct OwnDomain {
    /// It.
    #[schema(example = "registry.acme.com")]
    host: String,
    /// Whether it is the organisation's. Else it has said so, and the record is to prove it.
    is_proven: bool,
    /// The TXT record that proves it; null where it is proven.
    record: Option<Record>,
}

/// A TXT record.
#[derive(Serialize, ToSchema)]
pub(super) struct Record {
    /// Where it stands.
    #[schema(example = "_pullgate.registry.acme.com")]
    name: String,
    /// What it says.
    text: String,
}

/// A domain that an organisation says is its own.
#[derive(Deserialize, ToSchema)]
pub(super) struct WantedDomain {
    /// It.
    #[schema(example = "registry.acme.com")]
    host: String,
}

/// The organisations that the caller has a role on, by name.
#[utoipa::path(
    get, path = "/api/v1/organisations", tag = "organisations", params(Part),
    responses(
        (status = 200, body = List<Organisation>),
        Refusal, Unchanged
    )
)]
pub(super) async fn list(
    State(at): State<Dashboard>,
    caller: Caller,
    part: Part,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let organisations = at.accounts.run(|store| store.organisations()).await?;
    let seen = organisations.into_iter().filter(|one| {
        caller.viewer.may_organisation(Action::See, one.id)
            || caller.viewer.may_gateway(Action::See)
    });
    let told = seen.map(|one| Organisation { name: one.name, domains: one.domains });
    let told = told.collect();
    tagged(&headers, &List::part(told, &part, Order::Rising, |one| one.name.clone())?)
}

/// Makes an organisation. Who runs the gateway makes one that has nobody yet; where anybody may make an account,
/// admins of an organisation make another, of which the token's account is the admin.
#[utoipa::path(
    post, path = "/api/v1/organisations", tag = "organisations", request_body = WantedOrganisation,
    responses(
        (status = 201, body = Organisation),
        Refusal, Forbidden, InTheWay, TooLong, Absent
    )
)]
pub(super) async fn make(
    State(at): State<Dashboard>,
    caller: Caller,
    wanted: Sent<WantedOrganisation>,
) -> Result<Response, Problem> {
    caller.writes()?;
    let founds = at.sign_up == SignUp::Open
        && !caller.viewer.may_gateway(Action::Configure)
        && caller.viewer.configures_an_organisation();
    if !founds {
        caller.viewer.must_configure_gateway()?;
    }
    let name = account::organisation(&read(wanted)?.name);
    let name = name.map_err(|why| Problem::refused(format!("name: {why}.")))?;
    let (account, wanted) = (caller.who.account, name.clone());
    let right = if founds { Right::own(caller.who) } else { Right::gateway(caller.who) };
    let make = move |store: &mut Store, by: &Actor| match founds {
        true => store.found(by, account, &wanted, now_s()),
        false => store.add_organisation(by, &wanted, now_s()),
    };
    at.accounts.run_by(right, make).await?;
    Ok((StatusCode::CREATED, Json(Organisation { name, domains: Vec::new() })).into_response())
}

/// The domains of the organisation, and those that it has claimed, by name.
#[utoipa::path(
    get, path = "/api/v1/domains", tag = "organisations", params(Place, Part),
    responses(
        (status = 200, body = List<OwnDomain>),
        Refusal, Absent, Unchanged
    )
)]
pub(super) async fn domains(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    part: Part,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let organisation = found(&at, &caller, Action::See, &place).await?.place.organisation();
    let domains = at.accounts.run(move |store| all(store, organisation)).await?;
    tagged(&headers, &List::part(domains, &part, Order::Rising, |one| one.host.clone())?)
}

/// One of them.
#[utoipa::path(
    get, path = "/api/v1/domains/{host}", tag = "organisations",
    params(Place, ("host" = String, Path, description = "The domain")),
    responses(
        (status = 200, body = OwnDomain),
        Refusal, Absent, Unchanged
    )
)]
pub(super) async fn domain(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    Path(host): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let organisation = found(&at, &caller, Action::See, &place).await?.place.organisation();
    tagged(&headers, &at.accounts.run(move |store| one(store, organisation, &host)).await?)
}

/// Says that a domain is the organisation's; it is answered which TXT record is to prove that. Where
/// anybody may make an account.
#[utoipa::path(
    post, path = "/api/v1/domains", tag = "organisations", params(Place), request_body = WantedDomain,
    responses(
        (status = 201, body = OwnDomain),
        Refusal, Absent, Forbidden, InTheWay, TooLong, TooMany
    )
)]
pub(super) async fn claim(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    wanted: Sent<WantedDomain>,
) -> Result<Response, Problem> {
    caller.writes()?;
    let named = found(&at, &caller, Action::Configure, &place).await?;
    let wanted = read(wanted)?;
    let claim = put_claim(&at, &named, caller.who.account, &wanted.host).await?;
    Ok((StatusCode::CREATED, Json(claimed(claim))).into_response())
}

/// Looks for the record; where it is there, the domain is the organisation's from now on. Else 409 says
/// what was found.
#[utoipa::path(
    put, path = "/api/v1/domains/{host}", tag = "organisations",
    params(
        Place,
        ("host" = String, Path, description = "The domain"),
        ("If-Match" = String, Header, description = "The ETag of the domain")
    ),
    responses(
        (status = 200, body = OwnDomain),
        Refusal, Absent, Forbidden, InTheWay, Stale, TooMany
    )
)]
pub(super) async fn check(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    Path(host): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    caller.writes()?;
    let named = found(&at, &caller, Action::Configure, &place).await?;
    let (organisation, meant, name) =
        (named.place.organisation(), Meant::of(&headers)?, host.clone());
    let claim = move |store: &mut Store| {
        meant.is(&one(store, organisation, &name)?)?;
        Domains::read(store, organisation)?.claim(&name)
    };
    let claim = at.accounts.run(claim).await?;
    prove(&at, &named, caller.who.account, claim).await?;
    // Not as it is listed: the organisation that runs the gateway has it as it has all that nobody else has.
    tagged(&HeaderMap::new(), &OwnDomain { host, is_proven: true, record: None })
}

/// Gives a domain back at which there are no packages: it is nobody's then, and whoever proves it has it. Of one
/// that is not proven, what was said of it is taken back.
#[utoipa::path(
    delete, path = "/api/v1/domains/{host}", tag = "organisations",
    params(
        Place,
        ("host" = String, Path, description = "The domain"),
        ("If-Match" = String, Header, description = "The ETag of the domain")
    ),
    responses(
        (status = 204),
        Refusal, Absent, Forbidden, InTheWay, Stale, TooMany
    )
)]
pub(super) async fn withdraw(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    Path(host): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    caller.writes()?;
    let named = found(&at, &caller, Action::Configure, &place).await?;
    let (organisation, meant, name) =
        (named.place.organisation(), Meant::of(&headers)?, host.clone());
    let withdraw = move |store: &mut Store, by: &Actor| {
        let domain = one(store, organisation, &name)?;
        meant.is(&domain)?;
        match domain.is_proven {
            true => Ok(true),
            false => store.unclaim(by, organisation, &name, now_s()).map(|()| false),
        }
    };
    // A proven one has no other state than that it is there, which giving it back asks again.
    if at.accounts.run_by(named.right.clone(), withdraw).await? {
        put_back(&at, &named, host).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The organisation, if they may do this to it; a package has no domains.
async fn found(
    at: &Dashboard,
    caller: &Caller,
    action: Action,
    place: &Place,
) -> Result<Named, Problem> {
    if !place.package.is_empty() {
        return Err(Problem(Trouble::refused("package: organisations have domains.")));
    }
    caller.find(at, action, place).await
}

fn all(store: &Store, organisation: OrganisationId) -> Result<Vec<OwnDomain>, StoreError> {
    let Domains { owned, claimed: claims } = Domains::read(store, organisation)?;
    let owned = owned.into_iter().map(|host| OwnDomain { host, is_proven: true, record: None });
    let mut all: Vec<OwnDomain> = owned.chain(claims.into_iter().map(claimed)).collect();
    all.sort_by(|one, other| one.host.cmp(&other.host));
    Ok(all)
}

fn one(store: &Store, organisation: OrganisationId, host: &str) -> Result<OwnDomain, StoreError> {
    one_of(all(store, organisation)?, |one| one.host == host)
}

fn claimed(Claim { host, text }: Claim) -> OwnDomain {
    let record = Some(Record { name: record_name(&host), text });
    OwnDomain { host, is_proven: false, record }
}
