//! `/packages/new` and `/settings/package/<domain>/<name>`: what is written of a package, and how it is
//! made, moved and removed. Where it is to live is looked at before it is put in force.

use std::future::ready;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;

use super::Dashboard;
use super::address::address;
use super::form::{Fields, Filled, again};
use super::page::{Frame, shown};
use super::past::{Change as Past, past};
use super::settled::{Settled, configurable, removable, seen};
use super::trouble::Trouble;
use super::viewer::Signed;
use crate::control::accounts::now_s;
use crate::control::made::{Asker, Breaks, Change, Refused};
use crate::pure::access::{Action, OrganisationId};
use crate::pure::config::made::Written;
use crate::pure::route::pattern::Pattern;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/packages/new", get(blank).post(make))
        .route("/settings/package/{*package}", get(settings).post(change))
        .route("/settings/remove/{*package}", post(remove))
}

/// Whose a new package is to be.
#[derive(Deserialize)]
struct Asked {
    organisation: String,
    /// `yes` on the way from the first account to the first pull.
    #[serde(default)]
    guide: String,
}

/// Where a package is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// Nowhere yet.
    New,
    /// In the configuration file.
    File,
    /// Here.
    Dashboard,
    /// Here, and in the configuration file by now, which comes first.
    Overruled,
    /// It was removed.
    Gone,
}

#[derive(Template)]
#[template(path = "package_written.html")]
struct WrittenPage {
    frame: Frame,
    source: Source,
    /// Where the form goes.
    action: String,
    /// Where it is removed, and where a change of it is undone.
    removal: String,
    reversal: String,
    /// Whose a new one is, and whether it is the first, whose page leads on to its first pull.
    organisation: String,
    is_guided: bool,
    /// `<domain>/<name>` of one that there is, and where its counts are.
    package: String,
    page: String,
    written: Written,
    /// Which state of it was looked at.
    seen: String,
    may_configure: bool,
    /// Whether they say what it is called.
    may_name: bool,
    /// The domain that its organisation has below the shared one.
    own_domain: String,
    /// Other domains of its organisation.
    domains: Vec<String>,
    alert: String,
    form: Filled,
    removal_form: Filled,
    /// What was ticked beside what is written.
    ticks: Ticks,
    /// What its registries say: whether that is well, and in words.
    checked: Vec<(bool, String)>,
    /// Whether it is to be said that what speaks against it does not matter.
    asks_anyway: bool,
    /// Whether it is to be said that a change of name is meant.
    asks_confirmation: bool,
    /// Whether it is to be said what becomes of what is left on its name.
    asks_people: bool,
    /// Whether a collection serves it once it is removed.
    is_served_without: bool,
    /// What became of it, the newest first.
    past: Vec<Past>,
}

impl WrittenPage {
    /// As it was filled in, and refused.
    fn refused(self, form: Filled) -> impl Future<Output = Result<Response, Trouble>> {
        ready(Ok(shown(StatusCode::OK, &Self { form, ..self })))
    }

    /// Without what is wrong with it as it is, for something else that is written.
    fn without_faults(self) -> Self {
        Self { form: Filled::default(), alert: String::new(), ..self }
    }
}

/// What a form says.
struct Said {
    written: Written,
    is_check: bool,
    ticks: Ticks,
}

/// What is ticked on a form, beside what is written.
#[derive(Clone, Copy, Default)]
struct Ticks {
    /// Speaking against it does not matter.
    anyway: bool,
    /// A change of name is meant.
    confirms: bool,
    /// Whether what is left on the name of a new one comes with it, where that is said.
    keeps: Option<bool>,
}

async fn blank(
    State(at): State<Dashboard>,
    signed: Signed,
    Query(asked): Query<Asked>,
) -> Result<Response, Trouble> {
    let (_, page) = new_page(&at, &signed, &asked.organisation).await?;
    Ok(shown(StatusCode::OK, &WrittenPage { is_guided: asked.guide == "yes", ..page }))
}

async fn make(
    State(at): State<Dashboard>,
    signed: Signed,
    fields: Fields,
) -> Result<Response, Trouble> {
    let (organisation, page) = new_page(&at, &signed, fields.text("organisation")).await?;
    let said = said(&fields);
    let is_guided = fields.text("guide") == "yes";
    let page = WrittenPage { is_guided, written: said.written.clone(), ticks: said.ticks, ..page };
    let change = Change::Make { organisation, written: said.written.clone() };
    put(&at, &signed, change, said, &fields, page).await
}

async fn settings(
    State(at): State<Dashboard>,
    signed: Signed,
    Path(package): Path<String>,
) -> Result<Response, Trouble> {
    let found = Settled::of(&at, &signed, &package).await;
    let page = page_of(&at, &signed, &package, found).await?;
    Ok(shown(StatusCode::OK, &page))
}

async fn change(
    State(at): State<Dashboard>,
    signed: Signed,
    Path(package): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    configurable(&signed, &package)?;
    let found = Settled::of(&at, &signed, &package).await?;
    let from = found.changeable()?;
    let said = said(&fields);
    // What is sent from the page again is held to what was found here, and to nothing that came after it.
    let page = page_of(&at, &signed, &package, Ok(found)).await?.without_faults();
    let page = WrittenPage { written: said.written.clone(), ticks: said.ticks, ..page };
    if seen(&from) != fields.text("seen") {
        return again(Refused::Changed.into(), &fields, |form| page.refused(form)).await;
    }
    let change = Change::Change { from, to: said.written.clone() };
    put(&at, &signed, change, said, &fields, page).await
}

async fn remove(
    State(at): State<Dashboard>,
    signed: Signed,
    Path(package): Path<String>,
    fields: Fields,
) -> Result<Response, Trouble> {
    removable(&signed, &package)?;
    match put_away(&at, &signed, &package, &fields).await {
        Ok(()) => Ok(Redirect::to(&address("settings/package", &package)).into_response()),
        Err(trouble) => {
            let page = async |form: Filled| {
                let found = Settled::of(&at, &signed, &package).await;
                let page = page_of(&at, &signed, &package, found).await?;
                let removal_form = form.below("remove-");
                Ok(shown(StatusCode::OK, &WrittenPage { removal_form, ..page }))
            };
            again(trouble, &fields, page).await
        }
    }
}

async fn put_away(
    at: &Dashboard,
    signed: &Signed,
    package: &str,
    fields: &Fields,
) -> Result<(), Trouble> {
    let from = Settled::of(at, signed, package).await?.changeable()?;
    if seen(&from) != fields.text("seen") {
        return Err(Refused::Changed.into());
    }
    if fields.text("confirm") != "yes" {
        let why = "Nothing was removed. Tick that you want to remove it: who pulls it gets an error from \
                   then on.";
        return Err(Trouble::refused(why).at("confirm"));
    }
    let asker = Asker { who: signed.who.clone(), confirms: true, keeps: None };
    at.makers.put(asker, Change::Remove(from), now_s()).await?;
    Ok(())
}

/// Looks where it is to live, and puts it in force; or shows what speaks against it.
async fn put(
    at: &Dashboard,
    signed: &Signed,
    change: Change,
    said: Said,
    fields: &Fields,
    page: WrittenPage,
) -> Result<Response, Trouble> {
    let Ticks { anyway, confirms, keeps } = said.ticks;
    let asker = Asker { who: signed.who.clone(), confirms, keeps };
    let outcome = match at.makers.try_out(asker.clone(), change.clone(), now_s()).await {
        Ok(outcome) => outcome,
        Err(refused) => return again(refused.into(), fields, |form| page.refused(form)).await,
    };
    let package = outcome.package.as_ref().map(|one| &one.written);
    let (domain, name) = package.map(|it| (&*it.domain, &*it.name)).unwrap_or_default();
    let sights = {
        let account = signed.who.account;
        let place = (domain, name);
        at.onlooker.look(account, &outcome.snapshot, &outcome.keyring, place).await
    };
    let checked: Vec<(bool, String)> = match sights {
        Ok(sights) => sights.iter().map(|one| (one.works(), one.to_string())).collect(),
        Err(taken) => vec![(false, Trouble::of_looks(taken).why)],
    };
    let page = WrittenPage { checked, ..page };
    if said.is_check {
        return Ok(shown(StatusCode::OK, &page));
    }
    let breaks = match &change {
        Change::Change { from, .. } => package.and_then(|to| Breaks::of(&from.written, to)),
        Change::Make { .. } | Change::Remove(_) | Change::Restore { .. } => None,
    };
    let breaks = breaks.filter(|_| !confirms);
    let asks_confirmation = breaks.is_some();
    let asks_anyway = page.checked.iter().any(|(works, _)| !works) && !anyway;
    if asks_confirmation || asks_anyway {
        let alert = match breaks {
            Some(breaks) => format!("Nothing was changed yet. {breaks}"),
            None => "Nothing was changed yet: people could not pull this.".to_owned(),
        };
        let page = WrittenPage { alert, asks_confirmation, asks_anyway, ..page };
        return Ok(shown(StatusCode::CONFLICT, &page));
    }
    match at.makers.put(asker, change, now_s()).await {
        Ok(outcome) => {
            let name = outcome.package.map(|one| one.written.package()).unwrap_or_default();
            // What of a collection is pulled first, its people know.
            let goes_on = page.is_guided && !name.ends_with('*');
            let then = if goes_on { "first-pull" } else { "packages" };
            Ok(Redirect::to(&address(then, &name)).into_response())
        }
        Err(refused @ Refused::Left(_)) => {
            let alert = format!("Nothing was changed yet. {refused}");
            let page = WrittenPage { alert, asks_people: true, ..page };
            Ok(shown(StatusCode::CONFLICT, &page))
        }
        Err(refused) => again(refused.into(), fields, |form| page.refused(form)).await,
    }
}

/// The page of a new package of the organisation of this name.
async fn new_page(
    at: &Dashboard,
    signed: &Signed,
    organisation: &str,
) -> Result<(OrganisationId, WrittenPage), Trouble> {
    let name = organisation.to_owned();
    let id = at.accounts.run(move |store| store.organisation_named(&name)).await?;
    let id = id.ok_or_else(Trouble::absent)?;
    match (signed.may_organisation(Action::See, id), signed.may_organisation(Action::Configure, id))
    {
        (_, true) => {}
        (true, false) => return Err(Trouble::forbidden()),
        (false, false) => return Err(Trouble::absent()),
    }
    let frame = signed.frame("A new package");
    let page = page(at, signed, frame, id).await?;
    let written = Written {
        delivery: "auto".to_owned(),
        credentials: "none".to_owned(),
        ..Written::default()
    };
    let (action, organisation) = ("/packages/new".to_owned(), organisation.to_owned());
    let page = WrittenPage { action, organisation, written, may_name: true, ..page };
    Ok((id, WrittenPage { may_configure: true, ..page }))
}

/// The page of one that there is, or was: of what was found of it, whatever becomes of that meanwhile.
async fn page_of(
    at: &Dashboard,
    signed: &Signed,
    package: &str,
    found: Result<Settled, Trouble>,
) -> Result<WrittenPage, Trouble> {
    if !signed.may_package(Action::See, package, false) {
        return Err(Trouble::absent());
    }
    let may_configure = signed.may_package(Action::Configure, package, false);
    let owner = signed.owner_of(package);
    let past = match may_configure {
        true => past(at, owner, package).await?,
        false => Vec::new(),
    };
    let page = page(at, signed, signed.frame(&format!("Settings of {package}")), owner).await?;
    let page = WrittenPage {
        action: address("settings/package", package),
        removal: address("settings/remove", package),
        reversal: address("settings/revert", package),
        package: package.to_owned(),
        page: address("packages", package),
        may_configure,
        may_name: signed.may_organisation(Action::Configure, owner),
        past,
        ..page
    };
    match found {
        Ok(Settled { made: Some(made), written, wrong, is_overruled, .. }) => {
            let (source, alert) = match (is_overruled, wrong.is_empty()) {
                (true, _) => (Source::Overruled, ""),
                (false, true) => (Source::Dashboard, ""),
                (false, false) => {
                    (Source::Dashboard, "It is not served by this: see what is wrong below.")
                }
            };
            let (alert, seen) = (alert.to_owned(), seen(&made));
            let is_served_without = is_served_without(at, &written);
            let form = Filled::with(&wrong);
            Ok(WrittenPage { source, seen, written, form, alert, is_served_without, ..page })
        }
        Ok(Settled { written, .. }) => Ok(WrittenPage { source: Source::File, written, ..page }),
        Err(trouble) if trouble.status == StatusCode::NOT_FOUND && !page.past.is_empty() => {
            Ok(WrittenPage { source: Source::Gone, ..page })
        }
        Err(trouble) => Err(trouble),
    }
}

/// Whether another rule of its domain serves a package of this name too.
fn is_served_without(at: &Dashboard, Written { domain, name, .. }: &Written) -> bool {
    let snapshot = at.in_force.snapshot();
    snapshot.routes.packages().any(|(of, rule)| {
        let serves = |pattern: Pattern| pattern.has(name);
        of == domain && rule != name && Pattern::parse(rule).is_ok_and(serves)
    })
}

/// What all of them have.
async fn page(
    at: &Dashboard,
    signed: &Signed,
    frame: Frame,
    owner: OrganisationId,
) -> Result<WrittenPage, Trouble> {
    let organisations = at.accounts.run(|store| store.organisations()).await?;
    let of = organisations.into_iter().find(|one| one.id == owner);
    let (name, mut domains) = of.map(|one| (one.name, one.domains)).unwrap_or_default();
    if owner == signed.owners.operator {
        // Those of nobody else.
        domains = at.domains();
        domains.retain(|domain| signed.owners.of_domain(domain) == owner);
    }
    let shared = at.makers.standing().shared_domain.clone();
    let own_domain = shared.map(|shared| format!("{name}.{shared}")).unwrap_or_default();
    domains.retain(|domain| *domain != own_domain);
    domains.truncate(DOMAINS_SHOWN);
    Ok(WrittenPage {
        frame,
        source: Source::New,
        action: String::new(),
        removal: String::new(),
        reversal: String::new(),
        organisation: String::new(),
        is_guided: false,
        package: String::new(),
        page: String::new(),
        written: Written::default(),
        seen: String::new(),
        may_configure: false,
        may_name: false,
        own_domain,
        domains,
        alert: String::new(),
        form: Filled::default(),
        removal_form: Filled::default(),
        ticks: Ticks::default(),
        checked: Vec::new(),
        asks_anyway: false,
        asks_confirmation: false,
        asks_people: false,
        is_served_without: false,
        past: Vec::new(),
    })
}

fn said(fields: &Fields) -> Said {
    let text = |name| fields.text(name).to_owned();
    let written = Written {
        domain: text("domain"),
        name: text("name"),
        backends: fields.text("backends").split_whitespace().map(str::to_owned).collect(),
        failover_on_404: fields.text("failover_on_404") == "yes",
        delivery: text("delivery"),
        credentials: text("credentials"),
        id: text("id"),
        description: text("description"),
    };
    Said {
        written: written.tidied(),
        is_check: fields.text("act") == "check",
        ticks: Ticks {
            anyway: fields.text("anyway") == "yes",
            confirms: fields.text("confirm") == "yes",
            keeps: match fields.text("people") {
                "keep" => Some(true),
                "end" => Some(false),
                _ => None,
            },
        },
    }
}

/// What is offered to choose from.
const DOMAINS_SHOWN: usize = 100;
