//! `/api/v1/domains/{host}/owner`: whose a domain is, for who runs the gateway.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::Caller;
use super::problem::{Problem, Sent, read};
use super::refusal::{Absent, Forbidden, InTheWay, Refusal, Stale, TooLong, Unchanged};
use super::tagged::{Meant, one_of, tagged};
use crate::control::accounts::organisations::Organisation;
use crate::control::accounts::{Store, StoreError};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::organisations::{NO_HOST, give, host};
use crate::control::dashboard::trouble::Trouble;
use crate::pure::access::Action;

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
        Refusal, Absent, Unchanged
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
    let host = named(&written)?;
    tagged(&headers, &at.accounts.run(|store| Owner::read(store, host)).await?)
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
        Refusal, Absent, Forbidden, InTheWay, Stale, TooLong
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
    let (host, wanted, meant) = (named(&written)?, read(wanted)?, Meant::of(&headers)?);
    let of = host.clone();
    let is_meant = move |store: &Store| meant.is(&Owner::read(store, of)?);
    give(&at, caller.who, host.clone(), wanted.organisation, is_meant).await?;
    tagged(&HeaderMap::new(), &at.accounts.run(|store| Owner::read(store, host)).await?)
}

fn named(written: &str) -> Result<String, Problem> {
    host(written).ok_or_else(|| Problem::refused(NO_HOST.to_owned()))
}

impl Owner {
    fn read(store: &Store, host: String) -> Result<Self, StoreError> {
        let id = store.owners()?.of_domain(&host);
        let Organisation { name: organisation, .. } =
            one_of(store.organisations()?, |one| one.id == id)?;
        Ok(Self { host, organisation })
    }
}
