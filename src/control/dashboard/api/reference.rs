//! The description of the API: for programs as OpenAPI, and for people as a page.

use std::collections::BTreeMap;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde_json::{Map, Value};
use utoipa::openapi::OpenApi;

use super::shapes::{Field, fields};
use super::tagged::tagged;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::page::{Frame, shown};
use crate::control::dashboard::viewer::Viewer;

/// All of it, for people.
struct Reference {
    entries: Vec<Entry>,
    /// Each status that says what is wrong, and what it says.
    refusals: BTreeMap<String, String>,
    /// What a refusal looks like.
    problem: Vec<Field>,
}

/// One thing that can be asked or done.
struct Entry {
    method: String,
    path: String,
    about: String,
    /// Each with where it stands.
    parameters: Vec<(String, Field)>,
    body: Vec<Field>,
    answers: Vec<Answer>,
    /// With which statuses it may be refused.
    refusals: Vec<String>,
}

/// What is answered where nothing is wrong.
struct Answer {
    status: String,
    about: String,
    /// What kind of text it is; empty for none.
    kinds: String,
    fields: Vec<Field>,
}

#[derive(Template)]
#[template(path = "api.html")]
struct ApiPage<'p> {
    frame: Frame,
    reference: &'p Reference,
}

pub(super) fn routes(described: OpenApi) -> Router<Dashboard> {
    let told = serde_json::to_value(&described).unwrap_or_default();
    let reference = Arc::new(Reference::of(&told));
    let described = Arc::new(described);
    let json = async move |headers: HeaderMap| tagged(&headers, &*described);
    let page = async move |viewer: Viewer| -> Response {
        let frame = viewer.frame("The API");
        shown(StatusCode::OK, &ApiPage { frame, reference: &reference })
    };
    Router::new().route("/api/v1/openapi.json", get(json)).route("/api", get(page))
}

impl Reference {
    fn of(described: &Value) -> Self {
        let mut refusals = BTreeMap::new();
        let mut entries = Vec::new();
        for (path, item) in members(&described["paths"]) {
            for method in ["get", "post", "put", "delete"] {
                let operation = &item[method];
                if operation.is_object() {
                    entries.push(Entry::of(described, (method, path), operation, &mut refusals));
                }
            }
        }
        let problem = &described["components"]["schemas"]["ProblemBody"];
        Self { entries, refusals, problem: fields(described, problem) }
    }
}

impl Entry {
    fn of(
        described: &Value,
        (method, path): (&str, &str),
        operation: &Value,
        all_refusals: &mut BTreeMap<String, String>,
    ) -> Self {
        let about = [&operation["summary"], &operation["description"]];
        let about: Vec<&str> = about.into_iter().filter_map(Value::as_str).collect();
        let (mut answers, mut refusals) = (Vec::new(), Vec::new());
        for (status, response) in members(&operation["responses"]) {
            if status.starts_with('4') || status.starts_with('5') {
                refusals.push(status.clone());
                all_refusals.insert(status.clone(), text(&response["description"]));
            } else {
                answers.push(Answer::of(described, status, response));
            }
        }
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        Self {
            method: method.to_uppercase(),
            path: path.to_owned(),
            about: about.join(" "),
            parameters: parameters.map(|one| parameter(described, one)).collect(),
            body: content(described, &operation["requestBody"]),
            answers,
            refusals,
        }
    }
}

impl Answer {
    fn of(described: &Value, status: &str, response: &Value) -> Self {
        let kinds: Vec<_> = members(&response["content"]).map(|(kind, _)| kind.as_str()).collect();
        Self {
            status: status.to_owned(),
            about: text(&response["description"]),
            kinds: kinds.join(" or "),
            fields: content(described, response),
        }
    }
}

/// The fields of what is sent or answered; where there are several kinds of it, of the first.
fn content(described: &Value, of: &Value) -> Vec<Field> {
    let first = members(&of["content"]).next();
    first.map(|(_, content)| fields(described, &content["schema"])).unwrap_or_default()
}

/// Where a parameter stands, and it.
fn parameter(described: &Value, parameter: &Value) -> (String, Field) {
    let told = fields(described, &parameter["schema"]).into_iter().next();
    let example = parameter["example"].as_str().map(str::to_owned);
    let example = example.or_else(|| told.as_ref().map(|field| field.example.clone()));
    let field = Field {
        name: text(&parameter["name"]),
        kind: told.map(|field| field.kind.replace(" or null", "")).unwrap_or_default(),
        about: text(&parameter["description"]),
        example: example.unwrap_or_default(),
        is_required: parameter["required"] == true,
    };
    (text(&parameter["in"]), field)
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
