//! What people open in a browser, on the admin listener: pages made by the server, complete without
//! scripts.
//!
//! How a page is added:
//! - A handler in a file beside this one takes a [`viewer::Viewer`] (who asks, anybody at all), or a
//!   [`viewer::Signed`], which sends whom nobody knows to sign in first. What it shows or does, it asks
//!   [`viewer::Viewer::may_package`] about; what may not be seen is [`trouble::Trouble::absent`], so that nobody
//!   learns what there is.
//! - Its template lies in `templates/`, extends `base.html`, and has a field `frame: Frame` that
//!   [`viewer::Viewer::frame`] makes; [`page::shown`] turns it into an answer.
//! - A form posts `<input type="hidden" name="form_token" value="{{ frame.form_token }}">` with its
//!   fields; its handler takes [`form::Fields`], which refuses a form that is not ours. Its page has a
//!   [`form::Filled`], that `templates/fields.html` shows: what is refused is shown by [`form::again`].
//! - It has a function `routes() -> Router<Dashboard>` that [`routes`] merges.
//!
//! What is answered passes [`headers`], which adds what keeps pages from being framed, scripts from
//! elsewhere out, and answers out of caches; a handler that sets such a field itself keeps its own. A
//! [`trouble::Trouble`] becomes a page in [`manners`].

mod address;
mod alerts;
mod api;
mod assets;
mod badges;
mod changed;
mod cookie;
mod counted;
mod domains;
mod exported;
mod first_pull;
mod form;
mod headers;
mod history;
mod join;
mod making;
mod manners;
mod newcomer;
mod organisations;
mod own;
mod packages;
mod page;
mod past;
mod people;
mod place;
mod set_up;
mod settled;
mod sight;
mod sign_in;
mod sign_up;
mod tokens;
mod trouble;
mod unsent;
mod viewer;
mod whereabouts;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::header::CONTENT_LENGTH;
use axum::middleware;
use tokio::sync::{Mutex, watch};

use super::accounts::hash::Hasher;
use super::accounts::{Accounts, StoreError};
use super::admin::explain::InForce;
use super::alerts::file::OfFile;
use super::made::Makers;
use super::prove::look::Onlooker;
use super::seats::Seats;
use super::status::Status;
use super::turns::Turns;
use super::visit;
use crate::aggregator::Query;
use crate::messages::random::random;
use crate::pure::config::values::SignUp;
use crate::pure::secret::{self, Secret};
use badges::Badges;
use counted::Questions;
use packages::live::Watching;
use sign_in::Gatekeeper;

/// What all pages have.
#[derive(Clone)]
pub(super) struct Dashboard(Arc<Parts>);

pub(super) struct Parts {
    /// Who may sign in, and what was done.
    pub(super) accounts: Accounts,
    /// Who changes packages made here.
    pub(super) makers: Makers,
    /// Who looks where they are to live.
    pub(super) onlooker: Onlooker,
    /// Who looks domains up that they say are theirs, or that are to lead here.
    look_ups: Turns<i64>,
    /// Where passwords are hashed.
    pub(super) hasher: Hasher,
    /// The counts.
    pub(super) query: Query,
    /// Who asks about them.
    questions: Questions,
    /// What requests are decided by: the packages that there are.
    pub(super) in_force: Arc<InForce>,
    /// Who is told of all packages by the configuration file.
    alerts_of_file: watch::Receiver<Arc<[OfFile]>>,
    /// What badges say.
    badges: Badges,
    /// Who watches pulls.
    seats: Watching,
    /// Who exports counts, by account.
    exports: Mutex<Seats<i64>>,
    /// Who may make an account.
    pub(super) sign_up: SignUp,
    /// The name server that is asked about domains, where it is not the machine's.
    resolver: Option<SocketAddr>,
    /// Whether the gateway stops.
    status: Arc<Status>,
    /// Who has failed to sign in lately.
    gatekeeper: Gatekeeper,
    /// What the set-up link ends in.
    set_up: Secret,
}

impl std::ops::Deref for Dashboard {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl Dashboard {
    /// One over these.
    ///
    /// # Errors
    /// That the system gives no random bytes.
    pub(super) fn new(
        accounts: Accounts,
        makers: Makers,
        query: Query,
        (in_force, alerts_of_file): (Arc<InForce>, watch::Receiver<Arc<[OfFile]>>),
        data_dir: &Path,
        (sign_up, resolver): (SignUp, Option<SocketAddr>),
        status: Arc<Status>,
    ) -> io::Result<Self> {
        Ok(Self(Arc::new(Parts {
            accounts,
            makers,
            onlooker: Onlooker::default(),
            look_ups: domains::look_ups(),
            hasher: Hasher::new(HASHED_AT_ONCE)?,
            query: query.bounded(counted::ROWS_MAX),
            questions: Questions::new(),
            in_force,
            alerts_of_file,
            seats: Watching::new(),
            exports: Mutex::new(Seats::new(EXPORTS_MAX, EXPORTS_OF_ACCOUNT_MAX)),
            badges: Badges::open(data_dir)?,
            sign_up,
            resolver,
            status,
            gatekeeper: Gatekeeper::new(),
            set_up: Secret::new(secret::text(&random::<32>()?)),
        })))
    }

    /// Where the first account is made: path and query.
    pub(super) fn set_up_path(&self) -> String {
        format!("/set-up?key={}", self.set_up)
    }

    /// `<domain>/<name>` of each package that is served.
    pub(super) fn packages(&self) -> Vec<String> {
        let snapshot = self.in_force.snapshot();
        snapshot.routes.packages().map(|(domain, name)| format!("{domain}/{name}")).collect()
    }

    /// The domains that they are served at, each once; `*` is no domain.
    pub(super) fn domains(&self) -> Vec<String> {
        let snapshot = self.in_force.snapshot();
        let mut domains: Vec<String> = snapshot
            .routes
            .packages()
            .map(|(domain, _)| domain)
            .filter(|domain| *domain != "*")
            .map(str::to_owned)
            .collect();
        domains.sort_unstable();
        domains.dedup();
        domains
    }

    /// Whether this package is served, by a rule of its name or by a collection's, or was made here.
    pub(super) fn has_package(&self, name: &str) -> bool {
        self.makers.standing().packages.contains_key(name)
            || self.in_force.snapshot().routes.has(name)
    }

    /// Whether everybody sees a package: the configuration says so, or an admin of it. Nobody sees what
    /// was counted of one that there is not any more.
    pub(super) async fn is_public(&self, package: &str) -> Result<bool, StoreError> {
        if !self.has_package(package) {
            return Ok(false);
        }
        let name = package.to_owned();
        match self.is_public_by_file(package) {
            true => Ok(true),
            false => self.accounts.run(move |store| store.is_public(&name)).await,
        }
    }

    /// Whether the configuration says so: then no admin makes it private.
    pub(super) fn is_public_by_file(&self, package: &str) -> bool {
        let snapshot = self.in_force.snapshot();
        let rule =
            snapshot.routes.serving(package).map(|(domain, rule)| format!("{domain}/{rule}"));
        snapshot.public.iter().any(|of| of == package || Some(of) == rule.as_ref())
    }

    /// Who is asked for names.
    fn name_servers(&self) -> Vec<SocketAddr> {
        self.resolver.map_or_else(visit::name_servers, |server| vec![server])
    }

    /// Says in the log how the first account is made, as long as there is none.
    pub(super) async fn announce(self, listening: SocketAddr) {
        if let Ok(false) = self.accounts.run(|store| store.has_accounts()).await {
            let at = match listening.ip().is_unspecified() {
                true => format!("localhost:{}", listening.port()),
                false => listening.to_string(),
            };
            let path = self.set_up_path();
            let by_name = match self.in_force.snapshot().dashboard_name() {
                Some(name) => {
                    format!("https://{name}{path} or, as long as that name does not lead here, at ")
                }
                None => String::new(),
            };
            tracing::info!(
                "nobody can sign in yet: the first account is made, once, at {by_name}http://{at}{path}"
            );
        }
    }
}

/// All pages.
pub(super) fn routes(dashboard: Dashboard) -> Router {
    let pages = Router::new()
        .merge(packages::routes())
        .merge(badges::routes())
        .merge(api::routes())
        .merge(alerts::routes())
        .merge(first_pull::routes())
        .merge(history::routes())
        .merge(join::routes())
        .merge(making::routes())
        .merge(past::routes())
        .merge(organisations::routes())
        .merge(own::routes())
        .merge(people::routes())
        .merge(set_up::routes())
        .merge(sign_in::routes())
        .merge(sign_up::routes())
        .merge(domains::routes())
        .merge(tokens::routes())
        .merge(assets::routes())
        .fallback(trouble::no_such_page);
    let known = (dashboard.clone(), pages.clone().with_state(dashboard.clone()));
    pages
        .layer(middleware::map_request(unread_if_too_long))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(headers::guard))
        .layer(middleware::from_fn_with_state(known, manners::say))
        .with_state(dashboard)
}

/// What says itself that it is too long is not read. A body of as much stands for it, so that whoever wants
/// it refuses it in words of their own, and before it is sent.
async fn unread_if_too_long(request: Request) -> Request {
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    match length.and_then(|length| length.parse::<u64>().ok()) {
        Some(length) if length > BODY_BYTES_MAX as u64 => request.map(|_| TOO_LONG.into()),
        Some(_) | None => request,
    }
}

/// Exports and downloads at once, each with a thread and as much memory as three portions take; whoever reads one
/// slowly holds it for long.
const EXPORTS_MAX: usize = 8;
const EXPORTS_OF_ACCOUNT_MAX: usize = 2;
/// Passwords that are hashed at once, each with 19 MiB.
const HASHED_AT_ONCE: usize = 2;
/// A form, or what a program sends to the API, in all. The words for more name it
/// ([`Trouble::unreadable`](trouble::Trouble::unreadable)).
const BODY_BYTES_MAX: usize = 64 * 1024;
const TOO_LONG: &[u8] = &[0; BODY_BYTES_MAX + 1];
