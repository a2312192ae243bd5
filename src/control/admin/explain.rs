//! `GET /reach?nonce=<number>` at the control socket: what the workers say at
//! `/.well-known/pullgate/<number>`, as `{"answer": "..."}`.
//!
//! `GET /explain?url=<URL>&user_agent=<text>` at the control socket: how the gateway would answer a
//! request, and why, as `{"steps": [...]}`. It is decided here by what the workers decide by.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Query as Params, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;

use super::socket::refused;
use crate::messages::certificates::Certificates;
use crate::messages::clock::monotonic_us;
use crate::messages::keyring::Keyring;
use crate::pure::decide::Known;
use crate::pure::desk::OwnKeys;
use crate::pure::door::Door;
use crate::pure::explain;
use crate::pure::http1::head;
use crate::pure::oci::backend::Scheme;
use crate::pure::origin::Url;
use crate::pure::proof::Proofs;
use crate::pure::snapshot::Snapshot;

/// What the workers were told last.
pub struct InForce {
    snapshot: watch::Sender<Arc<Snapshot>>,
    proofs: watch::Sender<Arc<Proofs>>,
    certificates: watch::Sender<Arc<Certificates>>,
    keys: watch::Sender<Arc<OwnKeys>>,
    keyring: watch::Sender<Arc<Keyring>>,
}

impl InForce {
    /// The first of all.
    pub fn new(snapshot: Arc<Snapshot>, keys: Arc<OwnKeys>) -> Arc<Self> {
        let (snapshot, proofs) = (watch::Sender::new(snapshot), watch::Sender::default());
        let (certificates, keys) = (watch::Sender::default(), watch::Sender::new(keys));
        let keyring = watch::Sender::new(Arc::new(Keyring::bare()));
        Arc::new(Self { snapshot, proofs, certificates, keys, keyring })
    }

    /// What opens registries.
    pub fn keyring(&self) -> Arc<Keyring> {
        Arc::clone(&self.keyring.borrow())
    }

    /// They open registries with this from now on.
    pub fn open(&self, keyring: &Arc<Keyring>) {
        self.keyring.send_replace(Arc::clone(keyring));
    }

    /// What the workers decide by.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.borrow())
    }

    /// The workers decide by `snapshot` from now on.
    pub fn adopt(&self, snapshot: &Arc<Snapshot>) {
        self.snapshot.send_replace(Arc::clone(snapshot));
    }

    /// They know this from now on.
    pub fn know(&self, proofs: &Arc<Proofs>) {
        self.proofs.send_replace(Arc::clone(proofs));
    }

    /// They show these from now on.
    pub fn show(&self, certificates: &Arc<Certificates>) {
        self.certificates.send_replace(Arc::clone(certificates));
    }

    /// They sign with these from now on.
    pub fn sign(&self, keys: &Arc<OwnKeys>) {
        self.keys.send_replace(Arc::clone(keys));
    }

    /// What they say at `/.well-known/pullgate/<nonce>`.
    pub fn reach(&self, nonce: &str) -> String {
        String::from_utf8_lossy(&self.keys.borrow().sign(nonce, 0)).into_owned()
    }

    /// How a GET of `url` by a client of this user agent would be answered; or why it is no request.
    pub fn explain(&self, url: &str, user_agent: &str) -> Result<Vec<String>, String> {
        if user_agent.bytes().any(|byte| byte.is_ascii_control()) {
            return Err("user_agent: is no header field's value".to_owned());
        }
        let Url { origin, target } =
            Url::parse(url.as_bytes()).map_err(|wrong| format!("url={url}: {wrong}"))?;
        let snapshot = self.snapshot();
        let proofs = Arc::clone(&self.proofs.borrow());
        let keys = Arc::clone(&self.keys.borrow());
        let certificates = Arc::clone(&self.certificates.borrow());
        let shown = certificates.shown(Some(&origin.host));
        // Where there is no certificate for it, a front end has to speak TLS.
        let door = match origin.scheme {
            Scheme::Https if shown.is_trusted() => Door::Tls(&shown),
            Scheme::Https | Scheme::Http => Door::Plain(certificates.names()),
        };
        let bytes = format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {user_agent}\r\n\r\n",
            origin.authority()
        );
        let head = match head::parse(bytes.as_bytes(), &snapshot.head) {
            Ok(Some(head)) => head,
            Ok(None) => return Err("no valid request: it does not end".to_owned()),
            Err(fault) => return Err(format!("no valid request: {}", fault.detail)),
        };
        let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let known = Known {
            snapshot: &snapshot,
            door,
            proofs: &proofs,
            keys: &keys,
            now_us: monotonic_us(),
            unix_s,
        };
        Ok(explain::steps(known, &head))
    }
}

pub(super) fn routes(in_force: Arc<InForce>) -> Router {
    let routes = Router::new().route("/explain", get(answer)).route("/reach", get(reach));
    routes.with_state(in_force)
}

async fn reach(State(in_force): State<Arc<InForce>>, params: Params<Reach>) -> Response {
    Json(json!({ "answer": in_force.reach(&params.nonce) })).into_response()
}

#[derive(Deserialize)]
struct Reach {
    nonce: String,
}

async fn answer(
    State(in_force): State<Arc<InForce>>,
    params: Params<Vec<(String, String)>>,
) -> Response {
    let (mut url, mut user_agent) = (None, String::new());
    for (key, value) in params.0 {
        match key.as_str() {
            "url" => url = Some(value),
            "user_agent" => user_agent = value,
            _ => {
                let words = format!("{key}: unknown; there are url and user_agent");
                return refused(StatusCode::BAD_REQUEST, &words);
            }
        }
    }
    let Some(url) = url else {
        return refused(StatusCode::BAD_REQUEST, "url: is missing");
    };
    match in_force.explain(&url, &user_agent) {
        Ok(steps) => Json(json!({ "steps": steps })).into_response(),
        Err(words) => refused(StatusCode::BAD_REQUEST, &words),
    }
}
