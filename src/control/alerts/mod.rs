//! People of packages are told what happens to them, by webhook: [`look`] finds what is to be told, the
//! accounts' database keeps it until it is heard, and from there it is sent, signed, again and again until
//! somebody takes it or it is given up.

mod look;

use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::accounts::alerts::Delivery;
use super::accounts::{Accounts, now_s};
use super::admin::explain::InForce;
use super::outbound::{Call, Trust};
use super::showcase;
use crate::aggregator::Query;
use crate::pure::alert::origin_of;
use crate::pure::http1::forwarded::mapped;
use crate::pure::origin::Url;
use crate::pure::snapshot::Snapshot;
use crate::pure::webhook;

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
}

impl Alerts {
    /// For good.
    pub(super) async fn run(self) {
        tokio::join!(self.deliver(), look::look(&self));
    }

    async fn deliver(&self) {
        let mut turns = interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            let due = self.accounts.run(|store| store.due_deliveries(now_s(), AT_ONCE)).await;
            // What is wrong with the database is said by who has it.
            let mut sending = JoinSet::new();
            for delivery in due.unwrap_or_default() {
                let this = self.clone();
                sending.spawn(async move { this.deliver_one(delivery).await });
            }
            while sending.join_next().await.is_some() {}
        }
    }

    async fn deliver_one(&self, delivery: Delivery) {
        let id = delivery.id;
        let (said, is_final) = match self.send(&delivery).await {
            Ok(status @ 200..=299) => {
                let said = format!("answered {status}");
                if let Err(error) = self.accounts.run(move |store| store.delivered(id, &said)).await
                {
                    tracing::warn!("that a webhook was heard cannot be kept: {error}");
                }
                return;
            }
            // Gone (RFC 9110, 15.5.11): nobody wants to hear any more.
            Ok(status) => (format!("answered {status}"), status == 410),
            Err(why) => (why, false),
        };
        let (origin, words) = (origin_of(&delivery.url), said.clone());
        let kept = move |store: &mut super::accounts::Store| {
            store.not_delivered(&delivery, &said, is_final, now_s())
        };
        match self.accounts.run(kept).await {
            Ok(true) => tracing::debug!("a webhook at {origin} was not heard: {words}"),
            Ok(false) => tracing::warn!("a webhook at {origin} is given up: {words}"),
            Err(error) => tracing::warn!("how a webhook went cannot be kept: {error}"),
        }
    }

    /// Sends it once. The status that is answered; what else is answered is not read.
    async fn send(&self, delivery: &Delivery) -> Result<u16, String> {
        let url = Url::parse(delivery.url.as_bytes()).map_err(|why| why.to_string())?;
        let (id, at_s) = (format!("msg_{}", delivery.id), now_s());
        let signature = webhook::signature(&delivery.secret, &id, at_s, &delivery.body);
        let signature = signature.ok_or("its secret is none")?;
        let field = |name, value: &str| {
            let value = HeaderValue::from_str(value).map_err(|error| error.to_string())?;
            Ok::<_, String>((HeaderName::from_static(name), value))
        };
        let fields = vec![
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            field("webhook-id", &id)?,
            field("webhook-timestamp", &at_s.to_string())?,
            field("webhook-signature", &signature)?,
        ];
        let body = Bytes::from(delivery.body.clone());
        let tls = Arc::clone(self.in_force.keyring().tls(None));
        ask(&self.in_force.snapshot(), None, Method::POST, &url, fields, body, tls).await
    }
}

/// The status that is answered there, if that may be dialled: as this registry of the snapshot's, where it is
/// one.
async fn ask(
    snapshot: &Snapshot,
    registry: Option<usize>,
    method: Method,
    url: &Url,
    fields: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    tls: Trust,
) -> Result<u16, String> {
    let origin = &url.origin;
    let may_dial =
        |address| snapshot.may_dial(registry, &origin.host, origin.port, mapped(address));
    let call = Call { method, url, fields, body, tls, may_dial: &may_dial, patience: PATIENCE };
    Ok(call.send().await?.status().as_u16())
}

/// How often is looked for what is due.
const TURN: Duration = Duration::from_secs(2);
/// What is sent at once: who hears slowly holds up fifteen others, for a while.
const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(10);
