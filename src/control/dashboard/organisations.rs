//! `/organisations`: which there are and which domains are whose, for the people who run the gateway.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};

use super::Dashboard;
use super::form::{Fields, Filled, again};
use super::page::{Frame, shown};
use super::people::places;
use super::trouble::Trouble;
use super::viewer::Signed;
use crate::control::accounts::audit::Actor;
use crate::control::accounts::organisations::Organisation;
use crate::control::accounts::rights::Right;
use crate::control::accounts::sessions::Who;
use crate::control::accounts::{Store, StoreError, now_s};
use crate::pure::access::Action;
use crate::pure::account;
use crate::pure::config::kinds::{HostName, Scalar as _};
use crate::pure::config::values::SignUp;
use crate::pure::oci::backend::is_address;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/organisations", get(list).post(add))
        .route("/organisations/domain", post(give_domain))
}

#[derive(Template)]
#[template(path = "organisations.html")]
struct OrganisationsPage {
    frame: Frame,
    organisations: Vec<Organisation>,
    /// The domains that packages are served at.
    domains: Vec<String>,
    may_configure: bool,
    /// To give a domain, and to add an organisation.
    give: Filled,
    add: Filled,
}

async fn list(State(at): State<Dashboard>, signed: Signed) -> Result<Response, Trouble> {
    page(&at, &signed, Filled::default(), Filled::default()).await
}

async fn page(
    at: &Dashboard,
    signed: &Signed,
    give: Filled,
    add: Filled,
) -> Result<Response, Trouble> {
    if !signed.may_gateway(Action::See) {
        return Err(Trouble::absent());
    }
    let organisations = at.accounts.run(|store| store.organisations()).await?;
    let domains = at.domains();
    let may_configure = signed.may_gateway(Action::Configure);
    let frame = signed.frame("Organisations");
    let page = OrganisationsPage { frame, organisations, domains, may_configure, give, add };
    Ok(shown(StatusCode::OK, &page))
}

async fn add(
    State(at): State<Dashboard>,
    signed: Signed,
    fields: Fields,
) -> Result<Response, Trouble> {
    // Where anybody may make an account, an organisation is its founder's.
    let founds = at.sign_up == SignUp::Open && !signed.may_gateway(Action::Configure);
    if !founds {
        signed.must_configure_gateway()?;
    }
    let made = make(&at, &signed.who, fields.text("organisation"), founds).await;
    match (made, founds) {
        (Ok(()), true) => Ok(Redirect::to("/people").into_response()),
        (Ok(()), false) => Ok(back()),
        (Err(trouble), true) => again(trouble, &fields, |form| places(&at, &signed, form)).await,
        (Err(trouble), false) => {
            again(trouble, &fields, |form| page(&at, &signed, Filled::default(), form)).await
        }
    }
}

/// Makes an organisation of this name, whose founder is its admin.
async fn make(at: &Dashboard, who: &Who, name: &str, founds: bool) -> Result<(), Trouble> {
    let name = account::organisation(name).map_err(|why| {
        Trouble::refused(format!("The organisation's name {why}.")).at("organisation")
    })?;
    let account = who.account;
    if founds {
        let own = Right::own(who.clone());
        let found = move |store: &mut Store, by: &Actor| store.found(by, account, &name, now_s());
        at.accounts.run_by(own, found).await?;
        return Ok(());
    }
    let add = move |store: &mut Store, by: &Actor| store.add_organisation(by, &name, now_s());
    at.accounts.run_by(Right::gateway(who.clone()), add).await?;
    Ok(())
}

async fn give_domain(
    State(at): State<Dashboard>,
    signed: Signed,
    fields: Fields,
) -> Result<Response, Trouble> {
    signed.must_configure_gateway()?;
    let organisation = fields.text("organisation").to_owned();
    let given = match host(fields.text("domain")) {
        Some(host) => give(&at, signed.who.clone(), host, organisation, |_| Ok(())).await,
        None => Err(Trouble::refused(NO_HOST).at("domain")),
    };
    match given {
        Ok(()) => Ok(back()),
        Err(trouble) => {
            again(trouble, &fields, |form| page(&at, &signed, form, Filled::default())).await
        }
    }
}

/// What is written, if a domain can be called so.
pub(super) fn host(written: &str) -> Option<String> {
    let host = HostName.make(written.trim().to_owned()).ok()?;
    (host != "*" && !is_address(&host)).then_some(host)
}

/// Gives a domain to the organisation of this name, for who runs the gateway, if it `is_meant` as it is then.
///
/// # Errors
/// [`Trouble::absent`] where there is no such organisation; what `is_meant` says.
pub(super) async fn give(
    at: &Dashboard,
    who: Who,
    host: String,
    organisation: String,
    is_meant: impl FnOnce(&Store) -> Result<(), StoreError> + Send + 'static,
) -> Result<(), Trouble> {
    at.accounts
        .run_by(Right::gateway(who), move |store, by| {
            is_meant(store)?;
            let to = store.organisation_named(&organisation)?.ok_or(StoreError::Absent)?;
            store.give_domain(by, &host, to, now_s())
        })
        .await?;
    // Packages made there may use less now, or more; their badges are found by other addresses.
    at.makers.look();
    at.badges.forget().await;
    Ok(())
}

fn back() -> Response {
    Redirect::to("/organisations").into_response()
}

/// What is said of what is no host name.
pub(super) const NO_HOST: &str = "The domain is no host name, as registry.acme.com.";
