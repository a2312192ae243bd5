//! How a template becomes an answer.

use std::borrow::Borrow;

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};
use jiff::Timestamp;

use super::assets;
use crate::pure::secret::Secret;

/// What `base.html` needs of every page.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    /// What the page is about.
    pub(super) title: String,
    /// Who is signed in.
    pub(super) login: Option<String>,
    /// What forms carry; empty on pages without any.
    pub(super) form_token: Secret,
    /// Where the style sheet is.
    pub(super) style: &'static str,
    /// Where the script is, for pages that have more with one.
    pub(super) script: &'static str,
}

impl Frame {
    /// Of a page for anybody, without forms.
    pub(super) fn bare(title: &str) -> Self {
        let (title, form_token) = (title.to_owned(), Secret::default());
        let (style, script) = (assets::STYLE.path(), assets::SCRIPT.path());
        Self { title, login: None, form_token, style, script }
    }
}

/// A time as pages and the API say it, in UTC to the second.
pub(super) fn time(at_s: impl Borrow<i64>) -> String {
    Timestamp::from_second(*at_s.borrow()).unwrap_or(Timestamp::MAX).to_string()
}

/// The page.
pub(super) fn shown(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(error) => {
            tracing::error!("a page cannot be written: {error}");
            (StatusCode::INTERNAL_SERVER_ERROR, "this page cannot be written: see the log\n")
                .into_response()
        }
    }
}
