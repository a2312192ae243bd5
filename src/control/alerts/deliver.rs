//! What waits is sent: each message by itself, several at once, none longer than its time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use hyper::Method;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use tokio::select;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::sleep;

use super::{Alerts, Whose, ask};
use crate::control::accounts::deliveries::Delivery;
use crate::control::accounts::{Store, now_s};
use crate::pure::alert::origin_of;
use crate::pure::origin::Url;
use crate::pure::webhook;

/// How deliveries went, since the start.
#[derive(Debug, Default)]
pub struct Record {
    /// Messages that were heard.
    pub delivered: AtomicU64,
    /// Tries that were not, and are made again.
    pub failed: AtomicU64,
    /// Messages that nobody heard in the end.
    pub given_up: AtomicU64,
    /// Messages that wait now.
    pub waiting: AtomicU64,
}

/// Sends what is due, for good.
pub(super) async fn deliver(at: &Alerts) {
    let mut sending = Sending::default();
    loop {
        let under_way: Vec<i64> = sending.numbers.values().copied().collect();
        let free = AT_ONCE - under_way.len();
        let due = at.accounts.run(move |store| {
            let due = store.due_deliveries(now_s(), &under_way, free)?;
            Ok((due, store.waiting_deliveries()?))
        });
        // What is wrong with the database is said by who has it.
        if let Ok((due, waiting)) = due.await {
            at.record.waiting.store(waiting, Relaxed);
            for delivery in due {
                sending.begin(at, delivery);
            }
        }
        select! {
            () = sleep(TURN) => {}
            // Whoever is done makes room for the next; many at once are looked for once.
            Some(done) = sending.tasks.join_next_with_id() => {
                sending.end(done);
                sleep(BREATH).await;
                while let Some(done) = sending.tasks.try_join_next_with_id() {
                    sending.end(done);
                }
            }
        }
    }
}

/// What is being sent.
#[derive(Default)]
struct Sending {
    tasks: JoinSet<()>,
    /// The delivery that each of them sends.
    numbers: HashMap<Id, i64>,
}

impl Sending {
    fn begin(&mut self, at: &Alerts, delivery: Delivery) {
        let (at, number) = (at.clone(), delivery.id);
        let task = self.tasks.spawn(async move { one(&at, delivery).await });
        self.numbers.insert(task.id(), number);
    }

    /// Also where it has panicked: then it is due again.
    fn end(&mut self, done: Result<(Id, ()), JoinError>) {
        let task = match done {
            Ok((task, ())) => task,
            Err(error) => error.id(),
        };
        self.numbers.remove(&task);
    }
}

/// Sends one, and keeps how that went.
async fn one(at: &Alerts, delivery: Delivery) {
    let (id, record) = (delivery.id, &at.record);
    let (said, is_final) = match send(at, &delivery).await {
        Ok(status @ 200..=299) => {
            let said = format!("answered {status}");
            record.delivered.fetch_add(1, Relaxed);
            if let Err(error) = at.accounts.run(move |store| store.delivered(id, &said)).await {
                tracing::warn!("that a webhook was heard cannot be kept: {error}");
            }
            return;
        }
        // Gone (RFC 9110, 15.5.11): nobody wants to hear any more.
        Ok(status) => (format!("answered {status}"), status == 410),
        Err(why) => (why, false),
    };
    let (origin, words) = (origin_of(&delivery.url), said.clone());
    let kept = move |store: &mut Store| store.not_delivered(&delivery, &said, is_final, now_s());
    match at.accounts.run(kept).await {
        Ok(true) => {
            record.failed.fetch_add(1, Relaxed);
            tracing::debug!("a webhook at {origin} was not heard: {words}");
        }
        Ok(false) => {
            record.given_up.fetch_add(1, Relaxed);
            tracing::warn!("a webhook at {origin} is given up: {words}");
        }
        Err(error) => tracing::warn!("how a webhook went cannot be kept: {error}"),
    }
}

/// Sends it once. The status that is answered; what else is answered is not read.
async fn send(at: &Alerts, delivery: &Delivery) -> Result<u16, String> {
    let url = Url::parse(delivery.url.as_bytes()).map_err(|why| why.to_string())?;
    let (whose, secret) = match delivery.in_file {
        false => (Whose::Anybodys, Some(delivery.secret.clone())),
        true => {
            let of_file = at.of_file.borrow();
            let one = of_file.iter().find(|one| one.url == delivery.url);
            (Whose::Operators, one.map(|one| one.secret.clone()))
        }
    };
    let (id, at_s) = (format!("msg_{}", delivery.id), now_s());
    let signature = secret.and_then(|it| webhook::signature(&it, &id, at_s, &delivery.body));
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
    let tls = Arc::clone(at.in_force.keyring().tls(None));
    let snapshot = at.in_force.snapshot();
    ask(&snapshot, whose, (Method::POST, &url), fields, body, tls).await
}

/// How often is looked for what is due.
const TURN: Duration = Duration::from_secs(2);
/// How long is waited for more to be done where something is.
const BREATH: Duration = Duration::from_millis(100);
/// What is sent at once.
const AT_ONCE: usize = 32;
