//! What became of a package that was made here, and how a change is undone: by another one.

use askama::Template;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::post;

use super::Dashboard;
use super::address::address;
use super::changed::{Field, fields};
use super::form::Fields;
use super::page::{Frame, shown, time};
use super::settled::{Settled, configurable, seen};
use super::trouble::Trouble;
use super::viewer::Signed;
use crate::control::accounts::audit::Entry;
use crate::control::accounts::now_s;
use crate::control::accounts::packages::Package;
use crate::control::made::{Asker, Change as Wanted, Outcome, Refused};
use crate::pure::access::OrganisationId;
use crate::pure::config::made::Written;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new().route("/settings/revert/{*package}", post(revert))
}

/// A change, as it is shown.
pub(super) struct Change {
    /// Its number.
    pub(super) id: i64,
    pub(super) at: String,
    pub(super) by: String,
    pub(super) what: &'static str,
    /// Each field that is another then.
    pub(super) fields: Vec<Field>,
    /// Whether there is something before it to go back to.
    pub(super) is_reverted_to: bool,
}

/// The changes of the package of this name, the newest first.
pub(super) async fn past(
    at: &Dashboard,
    owner: OrganisationId,
    package: &str,
) -> Result<Vec<Change>, Trouble> {
    let name = package.to_owned();
    let entries = at
        .accounts
        .run(move |store| store.package_history(owner, &name, i64::MAX, CHANGES_SHOWN))
        .await?;
    Ok(entries.iter().map(Change::of).collect())
}

impl Change {
    fn of(entry: &Entry) -> Self {
        let what = match entry.deed.as_str() {
            "package.make" => "made it",
            "package.restore" => "brought it back",
            "package.remove" => "removed it",
            _ => "changed it",
        };
        let mut fields = fields(entry);
        fields.retain(|field| !field.is_same());
        Self {
            id: entry.id,
            at: time(entry.at_s),
            by: entry.login.clone(),
            what,
            fields,
            is_reverted_to: entry.before.is_some(),
        }
    }
}

/// Undoes the change of this number: the package is what it was before, as one more change. Everything that
/// a change is held to holds for it too. What ended with one that was removed does not come back. `seen` is the
/// package as who asks has found it, by its name now.
pub(super) async fn undo(
    at: &Dashboard,
    asker: Asker,
    owner: OrganisationId,
    (package, seen): (&str, Option<Package>),
    change: i64,
) -> Result<Outcome, Trouble> {
    let name = package.to_owned();
    let found = at.accounts.run(move |store| store.package_change(owner, &name, change)).await?;
    if found.present != seen.filter(|seen| seen.id == found.made) {
        return Err(Refused::Changed.into());
    }
    let before =
        found.entry.before.and_then(|before| serde_json::from_value::<Written>(before).ok());
    let Some(written) = before else {
        let why =
            "It was made then, so there is nothing before that to go back to: remove it instead.";
        return Err(Trouble::refused(why));
    };
    let wanted = match found.present {
        Some(from) => Wanted::Change { from, to: written },
        None => Wanted::Restore { organisation: owner, id: found.made, written },
    };
    Ok(at.makers.put(asker, wanted, now_s()).await?)
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct ConfirmPage {
    frame: Frame,
    action: String,
    back: String,
    why: String,
    change: i64,
    /// Which state of the package was looked at.
    seen: String,
}

async fn revert(
    State(at): State<Dashboard>,
    signed: Signed,
    Path(package): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    let owner = configurable(&signed, &package)?;
    let change = fields.number("change")?;
    let found = match Settled::of(&at, &signed, &package).await {
        Ok(settled) => settled.made,
        Err(trouble) if trouble.status == StatusCode::NOT_FOUND => None,
        Err(trouble) => return Err(trouble),
    };
    let state = found.as_ref().map(seen).unwrap_or_default();
    if state != fields.text("seen") {
        return Err(Refused::Changed.into());
    }
    let asker =
        Asker { who: signed.who.clone(), confirms: fields.text("confirm") == "yes", keeps: None };
    match undo(&at, asker, owner, (&package, found), change).await {
        Ok(outcome) => {
            let name = outcome.package.map_or(package, |one| one.written.package());
            Ok(Redirect::to(&address("settings/package", &name)).into_response())
        }
        Err(Trouble { status: StatusCode::CONFLICT, what, why, .. })
            if fields.text("confirm") != "yes" && what == Refused::BREAKS =>
        {
            let page = ConfirmPage {
                frame: signed.frame(&what),
                action: address("settings/revert", &package),
                back: address("settings/package", &package),
                why,
                change,
                seen: state,
            };
            Ok(shown(StatusCode::CONFLICT, &page))
        }
        Err(trouble) => Err(trouble),
    }
}

/// Changes on one page.
const CHANGES_SHOWN: usize = 100;
