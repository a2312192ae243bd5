//! `/api/v1/package/…`: whether a package would work, what became of it, and how a change is undone.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::audit::{Entry, before, listed};
use super::caller::{Caller, Confirmed, Part, Place};
use super::package::{Package, WrittenPackage, answer};
use super::problem::{Problem, Sent, read};
use super::refusal::{Absent, Forbidden, InTheWay, Refusal, Stale, TooLong, TooMany, Unchanged};
use super::tagged::{List, is_meant};
use crate::control::accounts::now_s;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::past::undo;
use crate::control::dashboard::settled::{Settled, configurable};
use crate::control::dashboard::trouble::Trouble;
use crate::control::made::{Asker, Change};
use crate::control::prove::look::{Found, Sight, Tags};
use crate::pure::access::Action;

/// What the registries say.
#[derive(Serialize, ToSchema)]
pub(super) struct Checked {
    /// Whether people could pull, as far as that can be known.
    works: bool,
    /// Each backend, in order.
    backends: Vec<CheckedBackend>,
}

/// What one of them says.
#[derive(Serialize, ToSchema)]
pub(super) struct CheckedBackend {
    /// The registry.
    #[schema(example = "ghcr.io")]
    registry: String,
    /// The repository there; for a collection what stands before the star.
    repository: String,
    /// Whether people could pull there.
    works: bool,
    /// So many tags were listed; null where they were not asked for.
    tags: Option<usize>,
    /// Whether there are more.
    more_tags: bool,
    /// All of it in words.
    #[schema(example = "ghcr.io/acme/rocket exists: 14 tags; anybody can pull it")]
    detail: String,
}

/// Which change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reverted {
    /// Its number in the history.
    change: i64,
}

/// Asks the registries of a package that could be made, of the organisation, or that the package could
/// become. Nothing is changed; what is wrong with it is said as if it were.
#[utoipa::path(
    post, path = "/api/v1/package/check", tag = "packages", params(Place),
    request_body = WrittenPackage,
    responses(
        (status = 200, body = Checked),
        Refusal, Absent, Forbidden, InTheWay, TooLong, TooMany
    )
)]
pub(super) async fn check(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    wanted: Sent<WrittenPackage>,
) -> Result<Response, Problem> {
    caller.writes()?;
    let named = caller.find(&at, Action::Configure, &place).await?;
    let written = read(wanted)?.into();
    let change = match named.package.as_str() {
        "" => Change::Make { organisation: named.place.organisation(), written },
        name => {
            let from = Settled::of(&at, &caller.viewer, name).await?.changeable()?;
            Change::Change { from, to: written }
        }
    };
    let account = caller.who.account;
    let asker = Asker { who: caller.who, confirms: false, keeps: None };
    let outcome = at.makers.try_out(asker, change, now_s()).await.map_err(Trouble::from)?;
    let package = outcome.package.map(|one| one.written).unwrap_or_default();
    let place = (package.domain.as_str(), package.name.as_str());
    let sights = at.onlooker.look(account, &outcome.snapshot, &outcome.keyring, place).await;
    let sights = sights.map_err(|taken| Problem(Trouble::of_looks(taken)))?;
    let works = sights.iter().all(Sight::works);
    let backends = sights.into_iter().map(CheckedBackend::from).collect();
    Ok(Json(Checked { works, backends }).into_response())
}

/// What became of the package, if it was made in the dashboard, under whatever name, the newest first; also
/// of one that was removed.
#[utoipa::path(
    get, path = "/api/v1/package/history", tag = "packages", params(Place, Part),
    responses(
        (status = 200, body = List<Entry>),
        Refusal, Absent, Forbidden, Unchanged
    )
)]
pub(super) async fn history(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    part: Part,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = place.package()?.package;
    let owner = configurable(&caller.viewer, &name)?;
    let (before, many) = (before(&part)?, part.limit + 1);
    let entries =
        at.accounts.run(move |store| store.package_history(owner, &name, before, many)).await?;
    listed(&headers, entries, part.limit)
}

/// Undoes a change: the package is what it was before, as one more change. One that was removed comes back, for
/// admins of its organisation, without the roles, tokens, invitations and webhooks that ended with it, and not
/// public. It is in force when this answers.
#[utoipa::path(
    post, path = "/api/v1/package/revert", tag = "packages",
    params(
        Place, Confirmed,
        ("If-Match" = Option<String>, Header, description = "The ETag of the package, if it is there")
    ),
    request_body = Reverted,
    responses(
        (status = 200, body = Package),
        Refusal, Absent, Forbidden, InTheWay, Stale, TooLong, TooMany
    )
)]
pub(super) async fn revert(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    confirmed: Confirmed,
    headers: HeaderMap,
    wanted: Sent<Reverted>,
) -> Result<Response, Problem> {
    caller.writes()?;
    let name = place.package()?.package;
    let owner = configurable(&caller.viewer, &name)?;
    let Reverted { change } = read(wanted)?;
    let seen = match Settled::of(&at, &caller.viewer, &name).await {
        Ok(settled) => {
            let made = settled.made.clone();
            is_meant(&headers, &Package::from(settled))?;
            made
        }
        Err(trouble) if trouble.status == StatusCode::NOT_FOUND => None,
        Err(trouble) => return Err(trouble.into()),
    };
    let asker = Asker { who: caller.who, confirms: confirmed.confirm, keeps: None };
    let outcome = undo(&at, asker, owner, (&name, seen), change).await?;
    let name = outcome.package.map(|one| one.written.package()).unwrap_or_default();
    answer(&at, &caller.viewer, &name).await
}

impl From<Sight> for CheckedBackend {
    fn from(sight: Sight) -> Self {
        let (works, detail) = (sight.works(), sight.to_string());
        let tags = match &sight.found {
            Found::Repository { tags, .. } => Some(*tags),
            Found::Registry | Found::Refused(_) | Found::NoList | Found::Failed(_) => None,
        };
        let more_tags = tags.is_some_and(|tags| tags.and_more);
        let tags = tags.map(|Tags { many, .. }| many);
        let Sight { registry, repository, .. } = sight;
        Self { registry, repository, works, tags, more_tags, detail }
    }
}
