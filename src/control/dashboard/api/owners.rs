//! `/api/v1/domains/{host}/owner`: whose a domain is, for who runs the gateway.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::problem::{Problem, Refusal, Sent, read};
use super::tagged::{is_meant, one_of, tagged};
use crate::control::accounts::organisations::Organisation;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::organisations::{NO_HOST, give, host};
use crate::control::dashboard::trouble::Trouble;
use crate::pure::access::{Action, OrganisationId};

/// Whose a domain is.
#[derive(Serialize, ToSchema)]
pub(super) struct Owner {
    /// The domain.
    #[schema(example = "registry.acme.com")]
    host: String,
    /// The organisation; the one that runs the gateway has those that no other has.
    #[schema(example = "acme")]
    organisation: String,
}

/// Whose it is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedOwner {
    /// The organisation of this name.
    #[schema(example = "moon")]
    organisation: String,
}

/// Whose the domain is: for who runs the gateway.
#[utoipa::path(
    get, path = "/api/v1/domains/{host}/owner", tag = "organisations",
    params(("host" = String, Path, description = "The domain")),
    responses(
        (status = 200, body = Owner),
        Refusal
    )
)]
pub(super) async fn one(
    State(at): State<Dashboard>,
    caller: Caller,
    Path(written): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if !caller.viewer.may_gateway(Action::See) {
        return Err(Problem(Trouble::absent()));
    }
    tagged(&headers, &found(&at, named(&written)?).await?.1)
}

/// Gives the domain to an organisation, with all packages at it; roles, tokens and invitations of these end. For
/// who runs the gateway.
#[utoipa::path(
    put, path = "/api/v1/domains/{host}/owner", tag = "organisations",
    params(
        ("host" = String, Path, description = "The domain"),
        ("If-Match" = String, Header, description = "The ETag of the owner")
    ),
    request_body = WantedOwner,
    responses(
        (status = 200, body = Owner),
        Refusal
    )
)]
pub(super) async fn change(
    State(at): State<Dashboard>,
    caller: Caller,
    Path(written): Path<String>,
    headers: HeaderMap,
    wanted: Sent<WantedOwner>,
) -> Result<Response, Problem> {
    caller.writes()?;
    caller.viewer.must_configure_gateway()?;
    let (host, wanted) = (named(&written)?, read(wanted)?);
    let (id, owner) = found(&at, host.clone()).await?;
    is_meant(&headers, &owner)?;
    give(&at, caller.who, host.clone(), wanted.organisation, Some(id)).await?;
    tagged(&HeaderMap::new(), &found(&at, host).await?.1)
}

fn named(written: &str) -> Result<String, Problem> {
    host(written).ok_or_else(|| Problem::refused(NO_HOST.to_owned()))
}

async fn found(at: &Dashboard, host: String) -> Result<(OrganisationId, Owner), Problem> {
    let (owners, all) =
        at.accounts.run(|store| Ok((store.owners()?, store.organisations()?))).await?;
    let id = owners.of_domain(&host);
    let Organisation { name: organisation, .. } = one_of(all, |one| one.id == id)?;
    Ok((id, Owner { host, organisation }))
}
