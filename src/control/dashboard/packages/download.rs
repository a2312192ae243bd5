//! `/download/<domain>/<name>`: the rows behind what a page shows, to take along.

use axum::Router;
use axum::extract::{Path, Query as Params, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use jiff::Timestamp;

use super::view::View;
use super::{Asker, counted};
use crate::aggregator::{Answer, Ask, By, Row};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::trouble::Trouble;
use crate::control::dashboard::viewer::Signed;
use crate::pure::access::Action;
use crate::pure::export::{self, Format};

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
    let answer =
        counted(&at, Asker::Account(signed.who.account), move |query| query.rows(&ask)).await?;
    let (kind, ending) = (kind(format), if format == Format::Csv { "csv" } else { "ndjson" });
    let name: String = package
        .chars()
        .map(|one| if one.is_ascii_alphanumeric() || one == '.' { one } else { '-' })
        .collect();
    let disposition = format!("attachment; filename=\"{name}-{}.{ending}\"", by.as_str());
    let headers = [(CONTENT_TYPE, kind.to_owned()), (CONTENT_DISPOSITION, disposition)];
    Ok((headers, written(&answer, by, format)).into_response())
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

/// Row by row, in the columns of `pullgate export`.
fn written(answer: &Answer, by: By, format: Format) -> String {
    let mut out = String::new();
    format.put_header(&mut out, &["package", by.column()]);
    for row in &answer.rows {
        put_row(&mut out, format, row);
    }
    out
}

/// Appends one row in those columns.
pub(in crate::control::dashboard) fn put_row(out: &mut String, format: Format, row: &Row) {
    let keys = row.keys.iter().map(|(by, value)| (by.column(), value.as_str()));
    let told: Vec<(&str, &str)> = [("package", &*row.package)].into_iter().chain(keys).collect();
    format.put_row(out, &export::Row { told: &told, measures: row.measures.to_array() });
}
