//! `GET /api/v1/packages`

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::caller::{Caller, Part};
use super::problem::Problem;
use super::refusal::{Refusal, Unchanged};
use super::tagged::{List, Order, tagged};
use crate::control::dashboard::Dashboard;
use crate::pure::access::Action;

/// A package that the caller may see.
#[derive(Serialize, ToSchema)]
pub(super) struct ListedPackage {
    /// `<domain>/<name>`, as counts know it.
    #[schema(example = "registry.acme.com/acme/rocket")]
    name: String,
    /// The organisation that it belongs to.
    organisation: String,
    /// Whether the caller may change it.
    may_configure: bool,
    /// Whether everybody sees what the privacy threshold allows.
    public: bool,
}

/// The packages that the caller may see, by name.
#[utoipa::path(
    get,
    path = "/api/v1/packages",
    tag = "packages",
    params(Part),
    responses(
        (status = 200, body = List<ListedPackage>),
        Refusal, Unchanged
    )
)]
pub(super) async fn list(
    State(at): State<Dashboard>,
    caller: Caller,
    part: Part,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (organisations, public) =
        at.accounts.run(|store| Ok((store.organisations()?, store.public_packages()?))).await?;
    let seen = at
        .packages()
        .into_iter()
        .filter(|name| caller.viewer.may_package(Action::See, name, false));
    let package = |name: String| {
        let owner = caller.viewer.owner_of(&name);
        let organisation = organisations.iter().find(|one| one.id == owner);
        ListedPackage {
            organisation: organisation.map(|one| one.name.clone()).unwrap_or_default(),
            may_configure: caller.viewer.may_package(Action::Configure, &name, false),
            public: public.contains(&name) || at.is_public_by_file(&name),
            name,
        }
    };
    let seen = seen.map(package).collect();
    tagged(&headers, &List::part(seen, &part, Order::Rising, |one| one.name.clone())?)
}
