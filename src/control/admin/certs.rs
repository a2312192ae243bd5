//! `GET /certs` at the control socket: every certificate that clients are shown, and every domain that
//! waits for one, as `{"certificates": [...]}` in the order of the domains.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::control::{acme, showcase};

/// One domain's. Times are in UTC (RFC 3339).
#[derive(Default, Serialize)]
struct Row {
    domain: Box<str>,
    /// `file` or `authority`.
    from: &'static str,
    /// Who vouches for it; `null` where there is none.
    issuer: Option<Box<str>>,
    expires: Option<String>,
    /// When an authority is asked for the next one.
    next: Option<String>,
    /// What went wrong the last time that one was asked for.
    error: Option<Box<str>>,
}

pub(super) fn routes(shown: Arc<showcase::Record>, standing: Arc<acme::Record>) -> Router {
    Router::new().route("/certs", get(async move || Json(rows(&shown, &standing))))
}

fn rows(shown: &showcase::Record, standing: &acme::Record) -> Value {
    let mut rows: BTreeMap<Box<str>, Row> = BTreeMap::new();
    for entry in shown.borrow().iter() {
        let from = if entry.renews_itself { "authority" } else { "file" };
        for name in entry.names.iter() {
            // Of two for one name the first is shown.
            rows.entry(name.clone()).or_insert_with(|| Row {
                domain: name.clone(),
                from,
                issuer: Some(entry.issuer.clone()),
                expires: time(entry.ends_s),
                ..Row::default()
            });
        }
    }
    let now_s = Timestamp::now().as_second();
    for (domain, acme::Standing { next_s, said, .. }) in standing.domains() {
        let row = rows.entry(domain.clone()).or_default();
        let next = time(next_s.max(now_s));
        (row.domain, row.from, row.next, row.error) = (domain, "authority", next, said);
    }
    json!({ "certificates": rows.into_values().collect::<Vec<_>>() })
}

fn time(unix_s: i64) -> Option<String> {
    Timestamp::from_second(unix_s).ok().map(|at| at.to_string())
}
