//! Certificates from an authority, got and renewed by themselves (RFC 8555). What is done when is
//! decided in `pure/agenda.rs`; here it is done, one thing after the other, beside everything else:
//! neither the start nor a worker waits for an authority.

mod access;
mod http;
mod order;
mod record;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, CertificateIdentifier, Error, ExternalAccountKey, NewAccount, Problem,
};
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::timeout;

use self::http::Http;
use super::certificates::{Entry, Ready, date};
use super::showcase::Showcase;
use crate::messages::certificates::Certificate;
use crate::messages::random::random;
use crate::pure::agenda::{Agenda, Failure, Held, Step, Trouble, Way, domains, remedy, verdict};
use crate::pure::config::values::Config;
pub use access::{Access, files, read};
use order::Wanted;
pub use record::{Record, Standing};
use store::{Kept, Store};

/// What is wanted of an authority.
#[derive(Clone, Default)]
pub struct Plan {
    access: Option<Access>,
    domains: BTreeSet<Box<str>>,
}

impl Plan {
    /// What `config` wants beside the certificates of its `files`, if `access` is to be had.
    pub fn new(config: &Config, access: Option<Access>, files: &Ready) -> Self {
        let own: Vec<Box<str>> =
            files.iter().flat_map(|(_, entry)| entry.names.iter().cloned()).collect();
        let wanted = access.iter().flat_map(|_| domains(config, &own));
        Self { domains: wanted.map(Box::from).collect(), access }
    }
}

/// Tells of changed plans.
pub type Plans = watch::Sender<Plan>;

/// Gets certificates, for as long as it runs.
pub struct Acme {
    data_dir: PathBuf,
    showcase: Arc<Showcase>,
    record: Arc<Record>,
    plans: watch::Receiver<Plan>,
    /// Where there is somebody to be asked.
    desk: Option<Desk>,
}

/// What is known of one authority.
struct Desk {
    access: Access,
    http: Http,
    store: Store,
    /// Once it has been asked for something.
    account: Option<Account>,
    agenda: Agenda,
    troubles: BTreeMap<Box<str>, Kept>,
    /// By domain, what ends up in `replaces` and in questions about renewal.
    held: BTreeMap<Box<str>, (Certificate, Entry)>,
    /// Whether it is one that says when to renew (RFC 9773).
    suggests: bool,
}

/// Why there is no certificate.
struct Failed {
    failure: Failure,
    why: String,
}

impl Acme {
    /// What was got before is shown at once; the rest is got by [`Acme::run`].
    pub fn new(
        data_dir: PathBuf,
        showcase: &Arc<Showcase>,
        record: &Arc<Record>,
        plan: Plan,
    ) -> (Self, Plans) {
        let plans = watch::Sender::new(plan);
        let (showcase, record) = (Arc::clone(showcase), Arc::clone(record));
        let mut acme = Self { data_dir, showcase, record, plans: plans.subscribe(), desk: None };
        acme.adopt();
        (acme, plans)
    }

    /// Gets what is wanted, for ever.
    pub async fn run(mut self) {
        loop {
            if self.plans.has_changed().unwrap_or(false) {
                self.adopt();
            }
            let now_s = now_s();
            let Some(desk) = &mut self.desk else {
                if self.plans.changed().await.is_err() {
                    return;
                }
                self.adopt();
                continue;
            };
            match desk.agenda.next(now_s) {
                Step::Obtain(domain) => {
                    let domain = Box::from(domain);
                    desk.obtain(&domain, &self.showcase, &self.record).await;
                }
                Step::Ask(domain) => {
                    let domain = Box::from(domain);
                    desk.ask(&domain).await;
                }
                Step::Wait(until_s) => {
                    let wait_s = u64::try_from(until_s.saturating_sub(now_s)).unwrap_or(0).max(1);
                    // The wall clock may be set meanwhile.
                    let wait = Duration::from_secs(wait_s).min(LOOK_EVERY);
                    match timeout(wait, self.plans.changed()).await {
                        Ok(Ok(())) => self.adopt(),
                        // Nobody can change it any more.
                        Ok(Err(_)) => tokio::time::sleep(wait).await,
                        Err(_) => {}
                    }
                    continue;
                }
            }
            if let Some(desk) = &self.desk {
                desk.say_standing(&self.record);
            }
        }
    }

    /// Follows the plan as it is now.
    fn adopt(&mut self) {
        let Plan { access, domains } = self.plans.borrow_and_update().clone();
        let Some(access) = access else {
            self.desk = None;
            self.showcase.issue(BTreeMap::new());
            self.record.forget();
            return;
        };
        let known = self.desk.take().filter(|desk| desk.access.directory == access.directory);
        let mut desk = known.unwrap_or_else(|| Desk::new(&self.data_dir, access.clone()));
        desk.adopt(access, &domains);
        self.showcase.issue(desk.held.clone());
        desk.say_standing(&self.record);
        self.desk = Some(desk);
    }
}

impl Desk {
    fn new(data_dir: &std::path::Path, access: Access) -> Self {
        let store = Store::new(data_dir, &access.directory);
        let troubles = store.troubles();
        let http = Http::new(Arc::clone(&access.tls));
        let (agenda, held) = (Agenda::default(), BTreeMap::new());
        Self { access, http, store, account: None, agenda, troubles, held, suggests: false }
    }

    /// Gets certificates for `domains` from now on, with `access`.
    fn adopt(&mut self, access: Access, domains: &BTreeSet<Box<str>>) {
        if !Arc::ptr_eq(&self.access.tls, &access.tls) {
            self.http = Http::new(Arc::clone(&access.tls));
            self.account = None;
        }
        self.access = access;
        self.held.retain(|domain, _| domains.contains(domain));
        for domain in domains.iter().filter(|domain| self.agenda.held(domain).is_none()) {
            if let Some(found) = self.store.certificate(domain) {
                self.held.insert(domain.clone(), found);
            }
        }
        let (held, troubles) = (&self.held, &self.troubles);
        self.agenda.adopt(domains.iter().map(|domain| &**domain), |domain| {
            let held = held.get(domain).map(|(_, entry)| Held::new(entry.begins_s, entry.ends_s));
            (held, troubles.get(domain).map_or_else(Trouble::default, Kept::trouble))
        });
    }

    /// Gets a certificate for `domain`, or notes why not.
    async fn obtain(&mut self, domain: &str, showcase: &Showcase, record: &Record) {
        let way = Way::choose(self.access.proving, self.agenda.trouble(domain).failures);
        let got = match timeout(ORDER_PATIENCE, self.order(domain, way, showcase)).await {
            Ok(got) => got,
            Err(_) => Err(Failed {
                failure: Failure::Refused,
                why: "the authority takes too long over it".to_owned(),
            }),
        };
        match got {
            Ok((certificate, entry)) => {
                tracing::info!("{domain}: has a certificate until {}", date(entry.ends_s));
                self.agenda.obtained(domain, Held::new(entry.begins_s, entry.ends_s));
                self.held.insert(domain.into(), (certificate.clone(), entry.clone()));
                showcase.add(domain, (certificate, entry));
                record.count(true);
                if self.troubles.remove(domain).is_some() {
                    self.store.keep_troubles(&self.troubles);
                }
            }
            Err(Failed { failure, why }) => {
                let until_s = self.agenda.failed(domain, failure, now_s());
                let what = match self.held.get(domain) {
                    Some((_, entry)) => format!(
                        "its certificate is not renewed, and ends on {}",
                        date(entry.ends_s)
                    ),
                    None => "it has no certificate, and clients are shown one that nobody trusts"
                        .to_owned(),
                };
                tracing::warn!("{domain}: {what}: {why}; tried again on {}", date(until_s));
                record.count(false);
                let Trouble { failures, until_s } = self.agenda.trouble(domain);
                self.troubles.insert(domain.into(), Kept { failures, until_s, said: why });
                self.store.keep_troubles(&self.troubles);
            }
        }
    }

    async fn order(
        &mut self,
        domain: &str,
        way: Way,
        showcase: &Showcase,
    ) -> Result<(Certificate, Entry), Failed> {
        let account = self.account().await?;
        self.agenda.begin(now_s());
        let is_first_try = self.agenda.trouble(domain).failures == 0;
        let before = self.held.get(domain).map(|(certificate, _)| certificate.clone());
        let before = before.filter(|_| self.suggests && is_first_try);
        let replaces = before.as_ref().and_then(identifier);
        let fulfilled = order::fulfil(&account, Wanted { domain, way, replaces }, showcase).await;
        let pem = fulfilled.map_err(|error| self.judge(&error, way))?;
        let certificate =
            super::certificates::of_authority(domain, &pem).map_err(|what| Failed {
                failure: Failure::Refused,
                why: format!("what the authority has given {what}"),
            })?;
        self.store.keep_certificate(domain, &pem);
        Ok(certificate)
    }

    /// Our account: the one that is kept, or a new one.
    async fn account(&mut self) -> Result<Account, Failed> {
        if let Some(account) = &self.account {
            return Ok(account.clone());
        }
        let builder = Account::builder_with_http(Box::new(self.http.clone()));
        let account = match self.store.account() {
            Some(kept) => {
                builder.from_credentials(kept).await.map_err(|error| self.judge_account(&error))?
            }
            None => {
                let contact = self.access.email.as_ref().map(|email| format!("mailto:{email}"));
                let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
                let new = NewAccount {
                    contact: &contact,
                    terms_of_service_agreed: true,
                    only_return_existing: false,
                };
                let binding = self.access.binding.as_ref();
                let binding = binding.map(|(kid, key)| ExternalAccountKey::new(kid.clone(), key));
                let directory = self.access.directory.clone();
                let made = builder.create(&new, directory, binding.as_ref()).await;
                let (account, credentials) = made.map_err(|error| self.judge_account(&error))?;
                self.store.keep_account(&credentials);
                account
            }
        };
        Ok(self.account.insert(account).clone())
    }

    /// Asks when `domain`'s certificate is to be renewed.
    async fn ask(&mut self, domain: &str) {
        let now_s = now_s();
        let chance = random().map_or(0, u32::from_ne_bytes);
        let Ok(account) = self.account().await else {
            return self.agenda.suggested(domain, None, now_s.saturating_add(ASK_AGAIN_S), chance);
        };
        let held = self.held.get(domain).map(|(certificate, _)| certificate.clone());
        let Some(identifier) = held.as_ref().and_then(identifier) else {
            return self.agenda.suggested(domain, None, i64::MAX, chance);
        };
        match account.renewal_info(&identifier).await {
            Ok((info, again)) => {
                self.suggests = true;
                let window = &info.suggested_window;
                let window_s = (window.start.unix_timestamp(), window.end.unix_timestamp());
                let again_s = i64::try_from(again.as_secs()).unwrap_or(i64::MAX);
                let again_s = now_s.saturating_add(again_s.clamp(ASK_S_MIN, ASK_S_MAX));
                self.agenda.suggested(domain, Some(window_s), again_s, chance);
            }
            Err(Error::Unsupported(_)) => self.agenda.suggested(domain, None, i64::MAX, chance),
            Err(error) => {
                tracing::debug!("{domain}: not known when to renew its certificate: {error}");
                let again_s = now_s.saturating_add(ASK_AGAIN_S);
                self.agenda.suggested(domain, None, again_s, chance);
            }
        }
    }

    /// What an error of an order means.
    fn judge(&mut self, error: &Error, way: Way) -> Failed {
        let Error::Api(problem) = error else {
            let is_refusal = matches!(error, Error::Timeout(_) | Error::Unsupported(_));
            let failure = if is_refusal { Failure::Refused } else { Failure::Unreachable };
            return Failed { failure, why: format!("the authority cannot be asked: {error}") };
        };
        let kind = kind(problem);
        if kind == "accountDoesNotExist" {
            self.account = None;
            self.store.forget_account();
        }
        let failure = verdict(kind, problem.status, self.http.retry_at_s());
        let detail = problem.detail.as_deref().unwrap_or(kind);
        Failed {
            failure,
            why: format!("the authority says: {detail} ({kind}); {}", remedy(kind, way)),
        }
    }

    /// The same of our account: that is no domain's fault.
    fn judge_account(&self, error: &Error) -> Failed {
        let Error::Api(problem) = error else {
            let why = format!("the authority cannot be asked: {error}");
            return Failed { failure: Failure::Unreachable, why };
        };
        let (kind, detail) = (kind(problem), problem.detail.as_deref().unwrap_or_default());
        let failure = match verdict(kind, problem.status, self.http.retry_at_s()) {
            Failure::Refused => Failure::Limited(None),
            other @ (Failure::Limited(_) | Failure::Unreachable) => other,
        };
        let why = format!(
            "the authority gives us no account: {detail} ({kind}); see email, eab_kid and \
             eab_key_file of [acme]"
        );
        Failed { failure, why }
    }

    fn say_standing(&self, record: &Record) {
        record.stand(self.agenda.domains().map(|domain| {
            let next_s = self.agenda.due_s(domain);
            let said = self.troubles.get(domain).map(|kept| kept.said.as_str().into());
            (
                domain.into(),
                Standing { has_certificate: self.held.contains_key(domain), next_s, said },
            )
        }));
    }
}

/// How an authority knows a certificate of its own; none where that has no authority's key id.
fn identifier(certificate: &Certificate) -> Option<CertificateIdentifier<'_>> {
    CertificateIdentifier::try_from(certificate.key.cert.first()?).ok()
}

/// `rateLimited` (RFC 8555, 6.7)
fn kind(problem: &Problem) -> &str {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    kind.rsplit(':').next().unwrap_or_default()
}

fn now_s() -> i64 {
    Timestamp::now().as_second()
}

/// How long one order may take.
const ORDER_PATIENCE: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How often an authority is asked when to renew, whatever it says (RFC 9773, 4.3), and after a failure.
const ASK_S_MIN: i64 = 60;
const ASK_S_MAX: i64 = 24 * 3600;
const ASK_AGAIN_S: i64 = 6 * 3600;
