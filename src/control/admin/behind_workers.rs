//! `data_dir/dashboard.sock`: the dashboard for those who come by its host name to the workers, who hand
//! their requests on. Here alone a header field says who the client is.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::header::STRICT_TRANSPORT_SECURITY;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use axum::{Json, Router};
use serde_json::json;

use crate::pure::http1::handed::CLIENT_FIELD;

/// The `dashboard`'s pages, and words for who takes its host for a registry's.
pub(super) fn routes(dashboard: Router) -> Router {
    dashboard
        .route("/v2", any(no_registry))
        .route("/v2/", any(no_registry))
        .route("/v2/{*rest}", any(no_registry))
        .layer(middleware::from_fn(client))
}

/// Notes whose request it is, as if they had come here themselves; and to who comes over https says not to come
/// otherwise again, so that nobody on the way sends them elsewhere the next time.
async fn client(mut request: Request, next: Next) -> Response {
    let is_https = request.headers().get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let said = request.headers_mut().remove(CLIENT_FIELD);
    let address = said.and_then(|said| said.to_str().ok()?.parse::<IpAddr>().ok());
    if let Some(address) = address {
        request.extensions_mut().insert(SocketAddr::new(address, 0));
    }
    let mut response = next.run(request).await;
    if is_https {
        // Over plain HTTP browsers would not believe it (RFC 6797, 7.2).
        let always = HeaderValue::from_static(HTTPS_ONLY);
        response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, always);
    }
    response
}

/// In the form that registries' clients show (OCI distribution spec, "Error Codes").
async fn no_registry() -> Response {
    let message =
        "this host has the gateway's dashboard and no packages: pull by a package's own domain";
    let told = json!({ "errors": [{ "code": "NAME_UNKNOWN", "message": message }] });
    (StatusCode::NOT_FOUND, Json(told)).into_response()
}

/// For a year, and of this host alone: others of the domain are none of ours.
const HTTPS_ONLY: &str = "max-age=31536000";
