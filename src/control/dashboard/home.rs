//! `/`: the packages that somebody may see, and how often each was pulled.

use std::collections::HashMap;

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;

use super::Dashboard;
use super::page::{Frame, shown};
use super::trouble::Trouble;
use super::viewer::Signed;
use crate::aggregator::Ask;
use crate::pure::access::Action;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new().route("/", get(home))
}

#[derive(Template)]
#[template(path = "home.html")]
struct HomePage {
    frame: Frame,
    /// `<domain>/<name>` of each, and its pulls over all time.
    packages: Vec<(String, u64)>,
}

async fn home(State(at): State<Dashboard>, signed: Signed) -> Result<Response, Trouble> {
    let query = at.query.clone();
    let counted = tokio::task::spawn_blocking(move || query.rows(&Ask::default())).await;
    let counted = counted.map_err(|error| Trouble::failed(&error))?;
    let counted = counted.map_err(|error| Trouble::failed(&error))?;
    let counted = counted.rows.iter().map(|row| (&*row.package, row.measures.pulls));
    let counted: HashMap<&str, u64> = counted.collect();
    let snapshot = at.in_force.snapshot();
    let names = snapshot.routes.packages().map(|(domain, name)| format!("{domain}/{name}"));
    let packages = names
        .filter(|name| signed.may_package(Action::See, name, false))
        .map(|name| {
            let pulls = counted.get(name.as_str()).copied().unwrap_or_default();
            (name, pulls)
        })
        .collect();
    Ok(shown(StatusCode::OK, &HomePage { frame: signed.frame("Packages"), packages }))
}
