//! `data_dir/dashboard.sock`: the dashboard for those who come by its host name to the workers, who hand
//! their requests on. Here alone a header field says who the client is.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::StatusCode;
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

/// Notes whose request it is, as if they had come here themselves.
async fn client(mut request: Request, next: Next) -> Response {
    let said = request.headers_mut().remove(CLIENT_FIELD);
    let address = said.and_then(|said| said.to_str().ok()?.parse::<IpAddr>().ok());
    if let Some(address) = address {
        request.extensions_mut().insert(SocketAddr::new(address, 0));
    }
    next.run(request).await
}

/// In the form that registries' clients show (OCI distribution spec, "Error Codes").
async fn no_registry() -> Response {
    let message =
        "this host has the gateway's dashboard and no packages: pull by a package's own domain";
    let told = json!({ "errors": [{ "code": "NAME_UNKNOWN", "message": message }] });
    (StatusCode::NOT_FOUND, Json(told)).into_response()
}
