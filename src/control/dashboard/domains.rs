//! `/domains?organisation=…`: the domains of an organisation, and, where anybody may make an account, how it
//! proves that one is its own: by a TXT record (RFC 1035, 3.3.14) that only who has the domain can set.

use std::time::Duration;

use askama::Template;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use tokio::time::timeout;

use super::Dashboard;
use super::counted::{Asker, counted};
use super::form::{Fields, Filled, again};
use super::page::{Frame, shown};
use super::place::Named;
use super::trouble::Trouble;
use super::viewer::Signed;
use crate::control::accounts::claims::Claim;
use crate::control::accounts::{Store, StoreError, now_s};
use crate::control::made::{Refused, has_counts};
use crate::control::turns::Turns;
use crate::control::visit;
use crate::messages::random::random;
use crate::pure::access::{Action, OrganisationId};
use crate::pure::config::values::SignUp;
use crate::pure::oci::backend;
use crate::pure::secret;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/domains", get(list))
        .route("/domains/claim", post(claim))
        .route("/domains/check", post(check))
        .route("/domains/withdraw", post(withdraw))
        .route("/domains/return", post(give_back))
}

/// The domains of an organisation.
pub(super) struct Domains {
    /// Those that are its own.
    pub(super) owned: Vec<String>,
    /// Those that it has claimed.
    pub(super) claimed: Vec<Claim>,
}

/// Where the record of a claim stands.
pub(super) fn record_name(host: &str) -> String {
    format!("_pullgate.{host}")
}

impl Domains {
    pub(super) async fn of(at: &Dashboard, organisation: OrganisationId) -> Result<Self, Trouble> {
        Ok(at.accounts.run(move |store| Self::read(store, organisation)).await?)
    }

    pub(super) fn read(store: &Store, organisation: OrganisationId) -> Result<Self, StoreError> {
        let claimed = store.claims(organisation)?;
        let own = store.owners()?.domains.into_iter().filter(|(_, owner)| *owner == organisation);
        let mut owned: Vec<String> = own.map(|(host, _)| host).collect();
        owned.sort_unstable();
        Ok(Self { owned, claimed })
    }

    /// The claim to this one.
    pub(super) fn claim(self, host: &str) -> Result<Claim, StoreError> {
        self.claimed.into_iter().find(|one| one.host == host).ok_or(StoreError::Absent)
    }
}

/// Claims a domain for an organisation, whose admin asks.
///
/// # Errors
/// In words, for what cannot be claimed.
pub(super) async fn put_claim(
    at: &Dashboard,
    named: &Named,
    account: i64,
    written: &str,
) -> Result<Claim, Trouble> {
    is_open(at)?;
    let host = claimable(at, written).map_err(|why| Trouble::refused(why).at("domain"))?;
    let bytes = random::<16>().map_err(|error| Trouble::failed(&error))?;
    let text = format!("pullgate-domain={}", secret::text(&bytes));
    is_new(at, account, &host).await?;
    let organisation = named.place.organisation();
    let claim = at.accounts.run_by(named.right.clone(), move |store, by| {
        store.claim(by, organisation, &host, &text, now_s())
    });
    Ok(claim.await?)
}

/// That nothing was counted at this domain.
async fn is_new(at: &Dashboard, account: i64, host: &str) -> Result<(), Trouble> {
    let domain = host.to_owned();
    let asker = Asker::Account(account);
    match counted(at, asker, move |query| has_counts(query, &domain)).await? {
        false => Ok(()),
        true => Err(Trouble::from(Refused::Counted(host.to_owned())).at("domain")),
    }
}

/// Looks for the record of a claim; where it is there, the domain is the organisation's.
///
/// # Errors
/// In words, with what was found instead.
pub(super) async fn prove(
    at: &Dashboard,
    named: &Named,
    account: i64,
    claim: Claim,
) -> Result<(), Trouble> {
    is_open(at)?;
    // What is served meanwhile by the configuration is nobody's to claim any more.
    let host = claimable(at, &claim.host).map_err(Trouble::refused)?;
    let _turn = at.look_ups.take(account).await.map_err(Trouble::of_looks)?;
    let (servers, name) = (at.name_servers(), record_name(&host));
    let not_yet = |why: String| Err(Trouble::new(StatusCode::CONFLICT, "Not proven yet", why));
    let looked = timeout(LOOK_UP_DEADLINE, visit::texts(&servers, &name)).await;
    match looked.unwrap_or_else(|_| Err("no name server answers in time".to_owned())) {
        Ok(texts) if texts.iter().any(|text| text.trim() == claim.text) => {}
        Ok(texts) => {
            let seen = match texts.len() {
                0 => "no TXT record is there".to_owned(),
                many => format!("of {many} TXT records there none says that"),
            };
            return not_yet(format!(
                "At {name} should be a TXT record that says `{}`, but {seen}. A new record may take some \
                 minutes to be seen everywhere; then check again.",
                claim.text
            ));
        }
        Err(why) => return not_yet(format!("{name} cannot be looked up: {why}. Try again.")),
    }
    is_new(at, account, &host).await?;
    let (organisation, right) = (named.place.organisation(), named.right.clone());
    at.accounts
        .run_by(right, move |store, by| store.prove(by, organisation, &claim, now_s()))
        .await?;
    at.makers.look();
    at.badges.forget().await;
    Ok(())
}

/// Gives back a domain of an organisation, whose admin asks.
///
/// # Errors
/// In words, for one that packages are served at.
pub(super) async fn put_back(at: &Dashboard, named: &Named, host: String) -> Result<(), Trouble> {
    let organisation = named.place.organisation();
    let Domains { owned, .. } = Domains::of(at, organisation).await?;
    // What is made there and not served the store knows.
    if owned.contains(&host) && at.domains().contains(&host) {
        let why = format!(
            "There are packages at {host}: move or remove them first. Those of the gateway's \
             configuration file are for who runs it to move."
        );
        return Err(Trouble::new(StatusCode::CONFLICT, "That does not work", why));
    }
    at.accounts
        .run_by(named.right.clone(), move |store, by| {
            store.return_domain(by, organisation, &host, now_s())
        })
        .await?;
    at.makers.look();
    at.badges.forget().await;
    Ok(())
}

/// A host name that an organisation may say is its own, in lower case.
fn claimable(at: &Dashboard, written: &str) -> Result<String, String> {
    let written = written.trim().trim_end_matches('.');
    let authority = backend::authority(written).filter(|it| !it.contains(':'));
    let host = authority.filter(|host| host.contains('.') && !backend::is_address(host));
    let Some(host) = host else {
        return Err("A domain is a host name, as `registry.acme.com`.".to_owned());
    };
    if at.in_force.snapshot().dashboard_at(host.as_bytes()).is_some() {
        return Err(format!("{host} is the dashboard's own name."));
    }
    let standing = at.makers.standing();
    let shared = standing.shared_domain.as_deref();
    if shared.is_some_and(|shared| host == shared || host.ends_with(&format!(".{shared}"))) {
        return Err(format!("{host} is below the domain that all organisations share here."));
    }
    if at.domains().contains(&host) {
        return Err(format!(
            "{host} is served here already; ask who runs the gateway to give it to you."
        ));
    }
    Ok(host)
}

fn is_open(at: &Dashboard) -> Result<(), Trouble> {
    match at.sign_up {
        SignUp::Open => Ok(()),
        SignUp::Closed | SignUp::Invitation => {
            let why = "Domains are given to organisations by who runs this gateway.";
            Err(Trouble::new(StatusCode::FORBIDDEN, "Not allowed", why))
        }
    }
}

/// Which organisation.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    organisation: String,
}

#[derive(Template)]
#[template(path = "domains.html")]
struct DomainsPage<'p> {
    frame: Frame,
    organisation: &'p str,
    domains: Domains,
    /// Whether who asks may give some back.
    may_configure: bool,
    /// Whether they may claim some.
    may_claim: bool,
    form: Filled,
}

async fn list(
    State(at): State<Dashboard>,
    signed: Signed,
    Query(asked): Query<Asked>,
) -> Result<Response, Trouble> {
    let named = Named::find(&at, &signed, Action::See, &asked.organisation, "").await?;
    page(&at, &signed, &named, Filled::default()).await
}

async fn page(
    at: &Dashboard,
    signed: &Signed,
    named: &Named,
    form: Filled,
) -> Result<Response, Trouble> {
    let domains = Domains::of(at, named.place.organisation()).await?;
    let may_configure = signed.may_place(Action::Configure, &named.place);
    let may_claim = at.sign_up == SignUp::Open && may_configure;
    let organisation = named.name();
    let frame = signed.frame(&format!("Domains of {organisation}"));
    let page = DomainsPage { frame, organisation, domains, may_configure, may_claim, form };
    Ok(shown(StatusCode::OK, &page))
}

async fn claim(
    State(at): State<Dashboard>,
    signed: Signed,
    fields: Fields,
) -> Result<Response, Trouble> {
    let named = configured(&at, &signed, &fields).await?;
    match put_claim(&at, &named, signed.who.account, fields.text("domain")).await {
        Ok(_) => Ok(back(&named)),
        Err(trouble) => again(trouble, &fields, |form| page(&at, &signed, &named, form)).await,
    }
}

async fn check(
    State(at): State<Dashboard>,
    signed: Signed,
    fields: Fields,
) -> Result<Response, Trouble> {
    let named = configured(&at, &signed, &fields).await?;
    is_open(&at)?;
    let claims = Domains::of(&at, named.place.organisation()).await?;
    let claim = claims.claim(fields.text("domain"))?;
    let done = prove(&at, &named, signed.who.account, claim).await;
    told(&at, &signed, &named, &fields, done).await
}

async fn withdraw(
    State(at): State<Dashboard>,
    signed: Signed,
    fields: Fields,
) -> Result<Response, Trouble> {
    let named = configured(&at, &signed, &fields).await?;
    let (organisation, right) = (named.place.organisation(), named.right.clone());
    let host = fields.text("domain").to_owned();
    at.accounts
        .run_by(right, move |store, by| store.unclaim(by, organisation, &host, now_s()))
        .await?;
    Ok(back(&named))
}

async fn give_back(
    State(at): State<Dashboard>,
    signed: Signed,
    fields: Fields,
) -> Result<Response, Trouble> {
    let named = configured(&at, &signed, &fields).await?;
    let host = fields.text("domain").to_owned();
    let done = put_back(&at, &named, host).await;
    told(&at, &signed, &named, &fields, done).await
}

/// The page again after a button of it.
async fn told(
    at: &Dashboard,
    signed: &Signed,
    named: &Named,
    fields: &Fields,
    done: Result<(), Trouble>,
) -> Result<Response, Trouble> {
    match done {
        Ok(()) => Ok(back(named)),
        Err(trouble) => again(trouble, fields, |form| page(at, signed, named, form.above())).await,
    }
}

async fn configured(at: &Dashboard, signed: &Signed, fields: &Fields) -> Result<Named, Trouble> {
    Named::find(at, signed, Action::Configure, fields.text("organisation"), "").await
}

fn back(named: &Named) -> Response {
    Redirect::to(&format!("/domains?{}", named.query())).into_response()
}

/// Domains that are looked up or visited: at once, and those that are or wait, of all accounts and of one; how long
/// somebody waits.
pub(super) fn look_ups() -> Turns<i64> {
    Turns::new(8, (64, 4), LOOK_UP_DEADLINE)
}

/// Name servers that say nothing are asked for six seconds each.
pub(super) const LOOK_UP_DEADLINE: Duration = Duration::from_secs(15);
