//! `/api/v1/alerts`: who is told of what happens to a package.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Part, Place};
use super::problem::{Problem, ProblemBody, Sent, read};
use super::tagged::{List, tagged};
use crate::control::accounts::alerts::Alert;
use crate::control::accounts::now_s;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::alerts;
use crate::control::dashboard::page::time;
use crate::control::dashboard::place::Named;
use crate::pure::access::Action;
use crate::pure::alert::Event;

/// A webhook.
#[derive(Serialize, ToSchema)]
pub(super) struct Webhook {
    /// Its number.
    id: i64,
    /// Where is told.
    url: String,
    /// Of what.
    events: Vec<&'static str>,
    /// Since when.
    created: String,
    /// How the last delivery went: of what, when it came up, how its last try went, and when the next is.
    last: Option<Last>,
}

/// How a delivery went.
#[derive(Serialize, ToSchema)]
pub(super) struct Last {
    /// Of what.
    event: String,
    /// When it came up.
    at: String,
    /// How the last try went; null before the first.
    said: Option<String>,
    /// When it is tried next; null where it is not.
    next: Option<String>,
}

/// A webhook to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WantedWebhook {
    /// Where is told.
    #[schema(example = "https://hooks.acme.com/pullgate")]
    url: String,
    /// Of what: `backend`, `certificate`, `unusual`, `weekly`.
    events: Vec<String>,
}

/// A webhook that was just made.
#[derive(Serialize, ToSchema)]
pub(super) struct MadeWebhook {
    /// Its number.
    id: i64,
    /// What its messages are signed with (Standard Webhooks). It is said once.
    secret: String,
}

/// The webhooks of a package.
#[utoipa::path(
    get, path = "/api/v1/alerts", tag = "alerts", params(Place, Part),
    responses(
        (status = 200, body = List<Webhook>),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn list(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    part: Part,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let package = of_package(&at, &caller, place).await?.package;
    let alerts = at.accounts.run(move |store| store.alerts(Some(&package))).await?;
    let shown = alerts.into_iter().map(|Alert { id, url, events, created_s, last, .. }| Webhook {
        id,
        url,
        events: events.into_iter().map(Event::word).collect(),
        created: time(created_s),
        last: last.map(|last| Last {
            event: last.event,
            at: time(last.created_s),
            said: last.said,
            next: last.next_s.map(time),
        }),
    });
    tagged(&headers, &List::part(shown.collect(), &part, |one: &Webhook| one.id.to_string()))
}

/// Has a webhook told of what happens to a package.
#[utoipa::path(
    post, path = "/api/v1/alerts", tag = "alerts", params(Place), request_body = WantedWebhook,
    responses(
        (status = 201, body = MadeWebhook),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn make(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    wanted: Sent<WantedWebhook>,
) -> Result<Response, Problem> {
    caller.writes()?;
    let place = of_package(&at, &caller, place).await?.place;
    let WantedWebhook { url, events } = read(wanted)?;
    let known = Event::of_words(&events.join(" "));
    if known.len() != events.len() {
        let words: Vec<_> = Event::EVERY.iter().map(|event| event.word()).collect();
        return Err(Problem::refused(format!("events: each once, of {}.", words.join(", "))));
    }
    let added = alerts::add(&at, &caller.who.actor(), &place, &url, &known).await?;
    let (id, secret) = added.map_err(Problem::refused)?;
    Ok((StatusCode::CREATED, Json(MadeWebhook { id, secret })).into_response())
}

/// Nobody is told there any more.
#[utoipa::path(
    delete, path = "/api/v1/alerts/{alert}", tag = "alerts",
    params(Place, ("alert" = i64, Path, description = "Its number")),
    responses(
        (status = 204),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn remove(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    Path(alert): Path<i64>,
) -> Result<StatusCode, Problem> {
    caller.writes()?;
    let (by, place) = (caller.who.actor(), of_package(&at, &caller, place).await?.place);
    at.accounts.run(move |store| store.remove_alert(&by, &place, alert, now_s())).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a test there.
#[utoipa::path(
    post, path = "/api/v1/alerts/{alert}/test", tag = "alerts",
    params(Place, ("alert" = i64, Path, description = "Its number")),
    responses(
        (status = 202),
        (status = "4XX", body = ProblemBody, content_type = "application/problem+json")
    )
)]
pub(super) async fn test(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    Path(alert): Path<i64>,
) -> Result<StatusCode, Problem> {
    caller.writes()?;
    let package = of_package(&at, &caller, place).await?.package;
    alerts::test(&at, &package, alert).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn of_package(at: &Dashboard, caller: &Caller, place: Place) -> Result<Named, Problem> {
    caller.find(at, Action::Configure, &place.package()?).await
}
