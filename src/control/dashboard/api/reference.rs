//! The description of the API: for programs as OpenAPI, and for people as a page.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi, RefOr};

use super::tagged::tagged;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::page::{Frame, shown};
use crate::control::dashboard::viewer::Viewer;

/// One thing that can be asked or done.
struct Entry {
    method: &'static str,
    path: String,
    about: String,
    /// Name, where it stands, and what it is for.
    parameters: Vec<(String, &'static str, String)>,
}

#[derive(Template)]
#[template(path = "api.html")]
struct ApiPage<'p> {
    frame: Frame,
    entries: &'p [Entry],
}

pub(super) fn routes(described: OpenApi) -> Router<Dashboard> {
    let entries: Arc<[Entry]> = described
        .paths
        .paths
        .iter()
        .flat_map(|(path, item)| operations(item).map(|(method, it)| entry(method, path, it)))
        .collect();
    let described = Arc::new(described);
    let json = async move |headers: HeaderMap| tagged(&headers, &*described);
    let page = async move |viewer: Viewer| -> Response {
        let frame = viewer.frame("The API");
        shown(StatusCode::OK, &ApiPage { frame, entries: &entries })
    };
    Router::new().route("/api/v1/openapi.json", get(json)).route("/api", get(page))
}

fn operations(item: &PathItem) -> impl Iterator<Item = (&'static str, &Operation)> {
    [("GET", &item.get), ("POST", &item.post), ("PUT", &item.put), ("DELETE", &item.delete)]
        .into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

fn entry(method: &'static str, path: &str, operation: &Operation) -> Entry {
    let about = [&operation.summary, &operation.description];
    let about: Vec<&str> = about.into_iter().flatten().map(String::as_str).collect();
    let parameters = operation.parameters.iter().flatten().filter_map(|one| match one {
        RefOr::T(Parameter { name, parameter_in, description, .. }) => {
            let stands = match parameter_in {
                ParameterIn::Query | ParameterIn::QueryString => "query",
                ParameterIn::Path => "path",
                ParameterIn::Header => "header",
                ParameterIn::Cookie => "cookie",
            };
            Some((name.clone(), stands, description.clone().unwrap_or_default()))
        }
        RefOr::Ref(_) => None,
    });
    Entry {
        method,
        path: path.to_owned(),
        about: about.join(" "),
        parameters: parameters.collect(),
    }
}
