//! `/alerts/<domain>/<name>`: who is told of what happens to a package, by webhook.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use jiff::Timestamp;
use serde_json::json;

use super::Dashboard;
use super::address::address;
use super::form::{Fields, Filled, again};
use super::page::{Frame, shown, time};
use super::place::Named;
use super::trouble::Trouble;
use super::viewer::{Signed, Viewer};
use crate::control::accounts::alerts::{Alert, Last};
use crate::control::accounts::audit::Actor;
use crate::control::accounts::deliveries::{TEST, Tested};
use crate::control::accounts::{Store, now_s};
use crate::messages::random::random;
use crate::pure::access::Action;
use crate::pure::alert::{self, Event, Message};
use crate::pure::{secret, webhook};

pub(super) fn routes() -> Router<Dashboard> {
    Router::new().route("/alerts/{*package}", get(list).post(change))
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage<'p> {
    frame: Frame,
    /// Where forms go.
    path: String,
    package: String,
    package_page: String,
    /// Those that people of the package have added, and those of the configuration file.
    alerts: Vec<Shown>,
    of_file: Vec<Shown>,
    events: [Event; 4],
    /// A secret that was just made: it is shown once.
    made: &'p str,
    form: Filled,
}

/// A webhook as it is shown.
pub(super) struct Shown {
    /// It. Where it stands in the configuration file, only the origin of its address is told.
    pub(super) alert: Alert,
    /// The line of that file, where it stands there.
    pub(super) line: Option<usize>,
}

/// All that are told of a package, by their numbers. Those of the configuration file are told of all packages,
/// and who runs the gateway is told of them.
pub(super) async fn all(
    at: &Dashboard,
    viewer: &Viewer,
    package: &str,
) -> Result<Vec<Shown>, Trouble> {
    let package = package.to_owned();
    let (own, of_file) = at
        .accounts
        .run(move |store| Ok((store.alerts(Some(&package))?, store.alerts_of_file()?)))
        .await?;
    let own = own.into_iter().map(|alert| Shown { alert, line: None });
    let mut shown: Vec<Shown> = own.collect();
    if viewer.may_gateway(Action::See) {
        let known = Arc::clone(&at.alerts_of_file.borrow());
        shown.extend(of_file.into_iter().filter_map(|alert| {
            let line = known.iter().find(|one| one.url == alert.url)?.line;
            let url = alert::origin_of(&alert.url);
            Some(Shown { alert: Alert { url, ..alert }, line: Some(line) })
        }));
    }
    shown.sort_unstable_by_key(|one| one.alert.id);
    Ok(shown)
}

impl Shown {
    /// How its last delivery went, in words.
    fn last(&self) -> String {
        let Some(Last { event, created_s, said, next_s }) = &self.alert.last else {
            return "nothing yet".to_owned();
        };
        let said = said.as_deref().unwrap_or("not sent yet");
        let next = next_s.map(|next_s| format!("; next try {}", time(next_s)));
        format!("{event}, {}: {said}{}", time(created_s), next.unwrap_or_default())
    }
}

async fn list(
    State(at): State<Dashboard>,
    signed: Signed,
    Path(package): Path<String>,
) -> Result<Response, Trouble> {
    let named = Named::find(&at, &signed, Action::Configure, "", &package).await?;
    page(&at, &signed, &named, Filled::default(), "").await
}

async fn page(
    at: &Dashboard,
    signed: &Signed,
    named: &Named,
    form: Filled,
    made: &str,
) -> Result<Response, Trouble> {
    let shown_all = all(at, signed, &named.package).await?;
    let (of_file, alerts) = shown_all.into_iter().partition(|one| one.line.is_some());
    let page = AlertsPage {
        frame: signed.frame(&format!("Alerts of {}", named.package)),
        path: address("alerts", &named.package),
        package_page: address("packages", &named.package),
        package: named.package.clone(),
        alerts,
        of_file,
        events: Event::EVERY,
        made,
        form,
    };
    Ok(shown(StatusCode::OK, &page))
}

/// Adds a webhook, removes one, or tries one.
async fn change(
    State(at): State<Dashboard>,
    signed: Signed,
    Path(package): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let named = Named::find(&at, &signed, Action::Configure, "", &package).await?;
    match fields.text("do") {
        "add" => {
            let is_chosen = |event: &Event| fields.text(event.word()) == "on";
            let events: Vec<Event> = Event::EVERY.into_iter().filter(is_chosen).collect();
            match add(&at, &named, fields.text("url"), &events).await {
                Ok((_, made)) => page(&at, &signed, &named, Filled::default(), &made).await,
                Err(trouble) => {
                    again(trouble, &fields, |form| page(&at, &signed, &named, form, "")).await
                }
            }
        }
        "remove" => {
            let (id, place) = (fields.number("alert")?, named.place);
            let remove =
                move |store: &mut Store, by: &Actor| store.remove_alert(by, &place, id, now_s());
            at.accounts.run_by(named.right, remove).await?;
            Ok(Redirect::to(&address("alerts", &package)).into_response())
        }
        "test" => match test(&at, &named, fields.number("alert")?).await {
            Ok(()) => Ok(Redirect::to(&address("alerts", &package)).into_response()),
            Err(trouble) => {
                let page = |form: Filled| page(&at, &signed, &named, form.above(), "");
                again(trouble, &fields, page).await
            }
        },
        _ => Err(Trouble::refused("A webhook is added, removed or tried.")),
    }
}

/// Adds a webhook: its number and its secret.
///
/// # Errors
/// Also what is wrong with it.
pub(super) async fn add(
    at: &Dashboard,
    named: &Named,
    url: &str,
    events: &[Event],
) -> Result<(i64, String), Trouble> {
    let url = right(url, events)?;
    let bytes = random::<32>().map_err(|error| Trouble::failed(&error))?;
    let secret = webhook::secret(&bytes);
    let (place, events, kept) = (named.place.clone(), events.to_vec(), secret.clone());
    let add = move |store: &mut Store, by: &Actor| {
        store.add_alert(by, &place, &url, &events, &kept, now_s())
    };
    Ok((at.accounts.run_by(named.right.clone(), add).await?, secret))
}

/// The address of a webhook that is told of these.
///
/// # Errors
/// What is wrong with them.
pub(super) fn right(url: &str, events: &[Event]) -> Result<String, Trouble> {
    let url = alert::address(url)
        .map_err(|why| Trouble::refused(format!("The address {why}.")).at("url"))?;
    if events.is_empty() {
        let words: Vec<_> = Event::EVERY.iter().map(|event| event.word()).collect();
        let why = format!("Choose of what is told: {}.", words.join(", "));
        return Err(Trouble::refused(why).at("events"));
    }
    Ok(url)
}

/// Has a message sent that says that it works.
///
/// # Errors
/// [`Trouble::absent`] also for a webhook of another package; that too much waits, or a test, or that one was sent a
/// moment ago.
pub(super) async fn test(at: &Dashboard, named: &Named, id: i64) -> Result<(), Trouble> {
    let package = named.place.package().ok_or_else(Trouble::absent)?;
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let text = format!("{package}: this is a test, and it was heard");
    let package = Some(package);
    let message = Message { kind: TEST, package, at: &now, text, data: json!({}) };
    let bytes = random::<8>().map_err(|error| Trouble::failed(&error))?;
    let (about, body) = (format!("test {}", secret::text(&bytes)), message.body());
    let place = named.place.clone();
    let put = move |store: &mut Store, by: &Actor| {
        store.put_test(by, &place, id, (&about, &body), now_s())
    };
    match at.accounts.run_by(named.right.clone(), put).await? {
        Tested::Waits => Ok(()),
        Tested::Full => {
            let why = "Too much waits to be heard there. Look how the last delivery went.";
            Err(Trouble::new(StatusCode::CONFLICT, "Not sent", why))
        }
        Tested::Behind => {
            let why = "The last test of it still waits to be heard. Look how its last try went.";
            Err(Trouble::new(StatusCode::CONFLICT, "Not sent", why))
        }
        Tested::TooSoon(left_s) => {
            let why = format!(
                "A test was sent there a moment ago: look how that went. Another one can be sent in \
                 {left_s} seconds."
            );
            let trouble = Trouble::new(StatusCode::TOO_MANY_REQUESTS, "Not sent", why);
            Err(Trouble { retry_s: u64::try_from(left_s).ok(), ..trouble })
        }
    }
}
