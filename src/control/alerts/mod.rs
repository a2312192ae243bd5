//! People of packages are told what happens to them, and the operator what happens to all of them, by webhook:
//! `look` finds what is to be told, the accounts' database keeps it until it is heard, and from there it is
//! sent (`deliver`), signed, again and again until somebody takes it or it is given up. Who is told stands in
//! that database, or in the configuration file (`file`).

mod counted;
mod day;
mod deliver;
pub mod file;
mod look;
mod news;
mod registries;

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use tokio::sync::watch;
use tokio::time::sleep;

use super::accounts::{Accounts, now_s};
use super::admin::explain::InForce;
use super::outbound::{Call, Trust};
use super::showcase;
use crate::aggregator::Query;
use crate::pure::http1::forwarded::mapped;
use crate::pure::origin::Url;
use crate::pure::snapshot::Snapshot;
pub use deliver::Record;
use file::OfFile;

/// Who tells.
#[derive(Clone)]
pub(super) struct Alerts {
    /// Who is to be told, and what.
    pub(super) accounts: Accounts,
    /// The counts.
    pub(super) query: Query,
    /// Where packages live, and where may be dialled.
    pub(super) in_force: Arc<InForce>,
    /// What clients are shown.
    pub(super) certificates: Arc<showcase::Record>,
    /// Who is told by the configuration file.
    pub(super) of_file: watch::Receiver<Arc<[OfFile]>>,
    /// How deliveries went.
    pub(super) record: Arc<Record>,
}

impl Alerts {
    /// For good.
    pub(super) async fn run(self) {
        tokio::join!(self.know_file(), deliver::deliver(&self), look::look(&self));
    }

    /// Has the database know whom the configuration file names.
    async fn know_file(&self) {
        let mut of_file = self.of_file.clone();
        of_file.mark_changed();
        while of_file.changed().await.is_ok() {
            let known = Arc::clone(&of_file.borrow_and_update());
            loop {
                let named = known.iter().map(|one| (one.url.clone(), one.events.clone()));
                let named: Vec<_> = named.collect();
                let set = move |store: &mut super::accounts::Store| {
                    store.set_alerts_of_file(&named, now_s())
                };
                // What is wrong with the database is said by who has it.
                match self.accounts.run(set).await {
                    Ok(()) => break,
                    Err(_) => sleep(DATABASE_EVERY).await,
                }
            }
        }
    }
}

/// The status that is answered there, if that may be dialled: as this registry of the snapshot's, where it is
/// one; wherever it is for the operator's own webhooks.
async fn ask(
    snapshot: &Snapshot,
    whose: Whose,
    (method, url): (Method, &Url),
    fields: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    tls: Trust,
) -> Result<u16, String> {
    let origin = &url.origin;
    let may_dial = |address| {
        let may =
            |registry| snapshot.may_dial(registry, &origin.host, origin.port, mapped(address));
        match whose {
            Whose::Operators => true,
            Whose::Registrys(index) => may(Some(index)),
            Whose::Anybodys => may(None),
        }
    };
    let call = Call {
        method,
        url,
        fields,
        body,
        tls,
        may_dial: &may_dial,
        patience: PATIENCE,
        deadline: DEADLINE,
    };
    Ok(call.send().await?.status().as_u16())
}

/// Who has said where to ask.
#[derive(Clone, Copy)]
enum Whose {
    /// The operator, in the configuration file.
    Operators,
    /// It is this registry of the snapshot's.
    Registrys(usize),
    /// Anybody who has a package.
    Anybodys,
}

/// How long connecting to one address may take, and then an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long all of it may take: looking up the name, one address after the other, and an answer.
const DEADLINE: Duration = Duration::from_secs(15);
/// How often a database is tried that cannot be used.
const DATABASE_EVERY: Duration = Duration::from_secs(5);
