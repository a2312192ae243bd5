//! `/api/v1/alerts`: who is told of what happens to a package.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::caller::{Caller, Part, Place};
use super::problem::{Problem, Sent, read};
use super::refusal::{Absent, Forbidden, InTheWay, Refusal, Stale, TooLong, Unchanged};
use super::tagged::{List, Meant, Order, one_of, tagged, tagged_by};
use crate::control::accounts::alerts::Alert;
use crate::control::accounts::audit::Actor;
use crate::control::accounts::{Store, StoreError, now_s};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::alerts::{self, Shown};
use crate::control::dashboard::page::time;
use crate::control::dashboard::place::Named;
use crate::control::dashboard::trouble::Trouble;
use crate::pure::access::Action;
use crate::pure::alert::Event;

/// A webhook.
#[derive(Serialize, ToSchema)]
pub(super) struct Webhook {
    /// Its number.
    id: i64,
    /// Where it is written, and so changed: `dashboard`, or `file` for one of the gateway's configuration
    /// file, which is told of all packages.
    source: &'static str,
    /// The line of that file.
    line: Option<usize>,
    /// Where is told; of one of the configuration file, only scheme, host and port.
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

/// What is written of a webhook, whatever is told there.
#[derive(Serialize)]
struct Written<'w> {
    id: i64,
    url: &'w str,
    events: &'w [&'static str],
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

/// The webhooks of a package. Who runs the gateway sees those of its configuration file too, to be read only.
#[utoipa::path(
    get, path = "/api/v1/alerts", tag = "alerts", params(Place, Part),
    responses(
        (status = 200, body = List<Webhook>),
        Refusal, Absent, Forbidden, Unchanged
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
    let alerts = alerts::all(&at, &caller.viewer, &package).await?;
    let shown = alerts.into_iter().map(Webhook::from).collect();
    tagged(&headers, &List::part(shown, &part, Order::Rising, |one: &Webhook| one.id)?)
}

/// One of them. Its ETag stays when something is told there.
#[utoipa::path(
    get, path = "/api/v1/alerts/{alert}", tag = "alerts",
    params(Place, ("alert" = i64, Path, description = "Its number")),
    responses(
        (status = 200, body = Webhook),
        Refusal, Absent, Forbidden
    )
)]
pub(super) async fn one(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    Path(alert): Path<i64>,
) -> Result<Response, Problem> {
    let package = of_package(&at, &caller, place).await?.package;
    let webhook = Webhook::from(found(&at, &caller, &package, alert).await?);
    tagged_by(&webhook, &webhook.state())
}

/// Has a webhook told of what happens to a package.
#[utoipa::path(
    post, path = "/api/v1/alerts", tag = "alerts", params(Place), request_body = WantedWebhook,
    responses(
        (status = 201, body = MadeWebhook),
        Refusal, Absent, Forbidden, InTheWay, TooLong
    )
)]
pub(super) async fn make(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    wanted: Sent<WantedWebhook>,
) -> Result<Response, Problem> {
    caller.writes()?;
    let named = of_package(&at, &caller, place).await?;
    let (url, events) = read(wanted)?.read()?;
    let (id, secret) = alerts::add(&at, &named, &url, &events).await?;
    Ok((StatusCode::CREATED, Json(MadeWebhook { id, secret })).into_response())
}

/// Has a webhook told elsewhere, or of something else. Its secret stays.
#[utoipa::path(
    put, path = "/api/v1/alerts/{alert}", tag = "alerts",
    params(
        Place,
        ("alert" = i64, Path, description = "Its number"),
        ("If-Match" = String, Header, description = "The ETag of the webhook")
    ),
    request_body = WantedWebhook,
    responses(
        (status = 200, body = Webhook),
        Refusal, Absent, Forbidden, InTheWay, Stale, TooLong
    )
)]
pub(super) async fn change(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    Path(alert): Path<i64>,
    headers: HeaderMap,
    wanted: Sent<WantedWebhook>,
) -> Result<Response, Problem> {
    caller.writes()?;
    let Named { place, package, right, .. } = of_package(&at, &caller, place).await?;
    let (url, events) = read(wanted)?.read()?;
    let url = alerts::right(&url, &events)?;
    changeable(found(&at, &caller, &package, alert).await?)?;
    let meant = Meant::of(&headers)?;
    let of = package.clone();
    let change = move |store: &mut Store, by: &Actor| {
        meant.is(&Webhook::read(store, &of, alert)?.state())?;
        store.change_alert(by, &place, alert, (&url, &events), now_s())
    };
    at.accounts.run_by(right, change).await?;
    let webhook = Webhook::from(found(&at, &caller, &package, alert).await?);
    tagged_by(&webhook, &webhook.state())
}

/// Nobody is told there any more.
#[utoipa::path(
    delete, path = "/api/v1/alerts/{alert}", tag = "alerts",
    params(
        Place,
        ("alert" = i64, Path, description = "Its number"),
        ("If-Match" = String, Header, description = "The ETag of the webhook")
    ),
    responses(
        (status = 204),
        Refusal, Absent, Forbidden, InTheWay, Stale
    )
)]
pub(super) async fn remove(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    Path(alert): Path<i64>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    caller.writes()?;
    let Named { place, package, right, .. } = of_package(&at, &caller, place).await?;
    changeable(found(&at, &caller, &package, alert).await?)?;
    let meant = Meant::of(&headers)?;
    let remove = move |store: &mut Store, by: &Actor| {
        meant.is(&Webhook::read(store, &package, alert)?.state())?;
        store.remove_alert(by, &place, alert, now_s())
    };
    at.accounts.run_by(right, remove).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a test there.
#[utoipa::path(
    post, path = "/api/v1/alerts/{alert}/test", tag = "alerts",
    params(Place, ("alert" = i64, Path, description = "Its number")),
    responses(
        (status = 202),
        Refusal, Absent, Forbidden, InTheWay
    )
)]
pub(super) async fn test(
    State(at): State<Dashboard>,
    caller: Caller,
    place: Place,
    Path(alert): Path<i64>,
) -> Result<StatusCode, Problem> {
    caller.writes()?;
    let named = of_package(&at, &caller, place).await?;
    changeable(found(&at, &caller, &named.package, alert).await?)?;
    alerts::test(&at, &named, alert).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn of_package(at: &Dashboard, caller: &Caller, place: Place) -> Result<Named, Problem> {
    caller.find(at, Action::Configure, &place.package()?).await
}

async fn found(at: &Dashboard, caller: &Caller, package: &str, id: i64) -> Result<Shown, Problem> {
    let alerts = alerts::all(at, &caller.viewer, package).await?;
    Ok(one_of(alerts, |shown| shown.alert.id == id)?)
}

/// That it is changed here.
///
/// # Errors
/// 409 for one of the configuration file.
fn changeable(shown: Shown) -> Result<(), Problem> {
    let Some(line) = shown.line else {
        return Ok(());
    };
    let why = format!(
        "This webhook stands in line {line} of the gateway's configuration file, and is changed there."
    );
    Err(Problem(Trouble::new(StatusCode::CONFLICT, "Not here", why)))
}

impl Webhook {
    /// One of the package's own.
    fn read(store: &Store, package: &str, id: i64) -> Result<Self, StoreError> {
        let alert = one_of(store.alerts(Some(package))?, |one| one.id == id)?;
        Ok(Self::from(Shown { alert, line: None }))
    }

    fn state(&self) -> Written<'_> {
        Written { id: self.id, url: &self.url, events: &self.events }
    }
}

impl From<Shown> for Webhook {
    fn from(Shown { alert, line }: Shown) -> Self {
        let Alert { id, url, events, created_s, last, .. } = alert;
        let source = if line.is_some() { "file" } else { "dashboard" };
        let last = last.map(|last| Last {
            event: last.event,
            at: time(last.created_s),
            said: last.said,
            next: last.next_s.map(time),
        });
        let events = events.into_iter().map(Event::word).collect();
        Self { id, source, line, url, events, created: time(created_s), last }
    }
}

impl WantedWebhook {
    /// Where, and of what, each once.
    fn read(self) -> Result<(String, Vec<Event>), Problem> {
        let events = Event::of_words(&self.events.join(" "));
        if events.len() != self.events.len() {
            let words: Vec<_> = Event::EVERY.iter().map(|event| event.word()).collect();
            return Err(Problem::refused(format!("events: each once, of {}.", words.join(", "))));
        }
        Ok((self.url, events))
    }
}
