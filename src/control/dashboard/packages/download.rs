//! `/download/<domain>/<name>`: the rows behind what a page shows, to take along.

use axum::Router;
use axum::extract::{Path, Query as Params, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use jiff::Timestamp;

use super::counted;
use super::view::View;
use crate::aggregator::{Answer, Ask, By};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::trouble::Trouble;
use crate::control::dashboard::viewer::Signed;
use crate::pure::access::Action;
use crate::pure::export::{Format, Row};

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
        match (key.as_str(), value.as_str()) {
            ("by", word) => {
                by = word.parse().map_err(|error| Trouble::refused(format!("{error}")))?
            }
            ("format", "csv") => format = Format::Csv,
            ("format", "ndjson") => format = Format::Ndjson,
            ("format", _) => return Err(Trouble::refused("A format is csv or ndjson.")),
            _ => rest.push((key, value)),
        }
    }
    let view = View::of(&rest, Timestamp::now()).map_err(Trouble::refused)?;
    let ask = Ask { by: vec![by], ..view.ask(Some(&package)) };
    let answer = counted(&at.query, move |query| query.rows(&ask)).await?;
    let (kind, ending) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
        Format::Ndjson => ("application/x-ndjson", "ndjson"),
    };
    let name: String = package
        .chars()
        .map(|one| if one.is_ascii_alphanumeric() || one == '.' { one } else { '-' })
        .collect();
    let disposition = format!("attachment; filename=\"{name}-{}.{ending}\"", by.as_str());
    let headers = [(CONTENT_TYPE, kind.to_owned()), (CONTENT_DISPOSITION, disposition)];
    Ok((headers, written(&answer, by, format)).into_response())
}

/// Row by row, in the columns of `pullgate export`.
fn written(answer: &Answer, by: By, format: Format) -> String {
    let mut out = String::new();
    format.put_header(&mut out, &["package", by.column()]);
    for row in &answer.rows {
        let value = row.keys.first().map_or("", |(_, value)| value.as_str());
        let told = [("package", &*row.package), (by.column(), value)];
        format.put_row(&mut out, &Row { told: &told, measures: row.measures.to_array() });
    }
    out
}
