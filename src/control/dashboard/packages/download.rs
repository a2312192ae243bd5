//! `/download/<domain>/<name>`: the rows behind what a page shows, to take along.

use axum::Router;
use axum::extract::{Path, Query as Params, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use jiff::Timestamp;

use super::view::View;
use crate::aggregator::{Ask, By};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::exported::exported;
use crate::control::dashboard::trouble::Trouble;
use crate::control::dashboard::viewer::Signed;
use crate::pure::access::Action;
use crate::pure::export::Format;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new().route("/download/{*package}", get(download))
}

async fn download(
    State(at): State<Dashboard>,
    signed: Signed,
    Path(package): Path<String>,
    params: Params<Vec<(String, String)>>,
) -> Result<Response, Trouble> {
    if !signed.may_package(Action::See, &package, false) {
        return Err(Trouble::absent());
    }
    let (mut by, mut format, mut rest) = (By::Day, Format::Csv, Vec::new());
    for (key, value) in params.0 {
        match key.as_str() {
            "by" => by = value.parse().map_err(|error| Trouble::refused(format!("{error}")))?,
            "format" => format = format_of(&value).map_err(Trouble::refused)?,
            _ => rest.push((key, value)),
        }
    }
    let view = View::of(&rest, Timestamp::now()).map_err(Trouble::refused)?;
    let ask = Ask { by: vec![by], ..view.ask(Some(&package)) };
    let (account, right) = (signed.who.account, signed.sight(Some(&package)));
    let rows = exported(&at, account, right, (ask, format), |_| true).await?;
    let (kind, ending) = (kind(format), if format == Format::Csv { "csv" } else { "ndjson" });
    let name: String = package
        .chars()
        .map(|one| if one.is_ascii_alphanumeric() || one == '.' { one } else { '-' })
        .collect();
    let disposition = format!("attachment; filename=\"{name}-{}.{ending}\"", by.as_str());
    let headers = [(CONTENT_TYPE, kind.to_owned()), (CONTENT_DISPOSITION, disposition)];
    Ok((headers, rows).into_response())
}

/// The format of this word.
pub(in crate::control::dashboard) fn format_of(word: &str) -> Result<Format, &'static str> {
    match word {
        "csv" => Ok(Format::Csv),
        "ndjson" => Ok(Format::Ndjson),
        _ => Err("A format is csv or ndjson."),
    }
}

/// What kind of text it is.
pub(in crate::control::dashboard) fn kind(format: Format) -> &'static str {
    match format {
        Format::Csv => "text/csv; charset=utf-8",
        Format::Ndjson => "application/x-ndjson",
    }
}
