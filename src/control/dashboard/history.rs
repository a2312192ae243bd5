//! `/history`: who did what to an organisation or a package.

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::Dashboard;
use super::changed::{Field, fields};
use super::page::{Frame, shown, time};
use super::place::Named;
use super::trouble::Trouble;
use super::viewer::Signed;
use crate::control::accounts::audit::Entry;
use crate::pure::access::Action;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new().route("/history", get(history))
}

/// Of what, and before which entry.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    organisation: String,
    #[serde(default)]
    package: String,
    before: Option<i64>,
}

#[derive(Template)]
#[template(path = "history.html")]
struct HistoryPage {
    frame: Frame,
    named: Named,
    entries: Vec<Entry>,
    /// The number that the next page begins before.
    next: Option<i64>,
}

async fn history(
    State(at): State<Dashboard>,
    signed: Signed,
    Query(asked): Query<Asked>,
) -> Result<Response, Trouble> {
    let Asked { organisation, package, before } = asked;
    let named = Named::find(&at, &signed, Action::Configure, &organisation, &package).await?;
    let (place, before) = (named.place.clone(), before.unwrap_or(i64::MAX));
    let mut entries = at.accounts.run(move |store| store.audit(&place, before, SHOWN + 1)).await?;
    let next = (entries.len() > SHOWN).then(|| entries[SHOWN - 1].id);
    entries.truncate(SHOWN);
    let frame = signed.frame(&format!("History of {}", named.name()));
    Ok(shown(StatusCode::OK, &HistoryPage { frame, named, entries, next }))
}

/// What an entry tells: of a package that was changed the fields that are others, and else also those that say
/// of what or whom it is.
fn told(entry: &Entry) -> Vec<Field> {
    let mut fields = fields(entry);
    if entry.deed == "package.change" {
        fields.retain(|field| !field.is_same());
    }
    fields
}

const SHOWN: usize = 100;
