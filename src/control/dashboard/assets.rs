//! What pages load beside themselves, embedded in the program. Each has its digest in its address, so
//! that browsers keep it for good and never have an old one.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::Dashboard;
use crate::pure::secret;

/// One embedded file.
pub(super) struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
    path: LazyLock<String>,
}

/// The style sheet of all pages.
pub(super) static STYLE: Asset = Asset {
    name: "style.css",
    kind: "text/css; charset=utf-8",
    text: include_str!("assets/style.css"),
    path: LazyLock::new(|| STYLE.hashed()),
};

/// What pages have more with scripts than without.
pub(super) static SCRIPT: Asset = Asset {
    name: "page.js",
    kind: "text/javascript; charset=utf-8",
    text: include_str!("assets/page.js"),
    path: LazyLock::new(|| SCRIPT.hashed()),
};

impl Asset {
    /// Where it is: `/assets/<digest>/style.css`.
    pub(super) fn path(&'static self) -> &'static str {
        &self.path
    }

    fn hashed(&self) -> String {
        let digest = secret::text(&secret::kept(self.text));
        format!("/assets/{}/{}", &digest[..16], self.name)
    }

    fn answer(&self) -> Response {
        let headers =
            [(CONTENT_TYPE, self.kind), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
        (headers, self.text).into_response()
    }
}

pub(super) fn routes() -> Router<Dashboard> {
    [&STYLE, &SCRIPT].into_iter().fold(Router::new(), |routes, asset| {
        routes.route(asset.path(), get(async || asset.answer()))
    })
}
