//! `/download/<domain>/<name>`: the rows behind what a page shows, to take along; `/download` those of the list, and
//! `/public-download/<domain>/<name>` those of what everybody sees.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query as Params, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use jiff::Timestamp;

use super::contents::{base, charted, told_by};
use super::figures::{Audience, CHART, PANELS, PARTS, ROWS_MANY, is_place, parts};
use super::listed::{Asked, found};
use super::public::{KEPT, glimpsed};
use super::series::{Counted, Series};
use super::sheet::Sheet;
use super::view::View;
use super::{Asker, counted, is_there};
use crate::aggregator::{Ask, By, Query};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::exported::exported;
use crate::control::dashboard::sign_in::Network;
use crate::control::dashboard::trouble::Trouble;
use crate::control::dashboard::viewer::{Signed, Viewer};
use crate::pure::access::Action;
use crate::pure::export::{Format, Row};

pub(super) fn routes() -> Router<Dashboard> {
    Router::new()
        .route("/download", get(list))
        .route("/download/{*package}", get(download))
        .route("/public-download/{*package}", get(public))
}

/// What a file is to have of a package.
struct Wanted {
    rows: Rows,
    format: Format,
    /// Whether each row has the period before, too.
    is_compared: bool,
    view: View,
}

#[derive(Clone, Copy)]
enum Rows {
    /// One for each of these that was counted.
    By(By),
    /// One for each point of the chart, nothing or not.
    Chart,
    /// How far pulls went.
    Parts,
}

impl Wanted {
    fn of(params: Vec<(String, String)>) -> Result<Self, Trouble> {
        let (mut rows, mut format, mut rest) = (Rows::By(By::Day), Format::Csv, Vec::new());
        let mut is_compared = false;
        for (key, value) in params {
            match (key.as_str(), value.as_str()) {
                ("by", CHART) => rows = Rows::Chart,
                ("by", PARTS) => rows = Rows::Parts,
                ("by", by) => {
                    let by =
                        by.parse::<By>().map_err(|error| Trouble::refused(format!("{error}")))?;
                    rows = Rows::By(by);
                }
                ("format", word) => format = format_of(word).map_err(Trouble::refused)?,
                ("compare", "true") => is_compared = true,
                ("compare", _) => {
                    return Err(Trouble::refused("What is compared is so by `compare=true`."));
                }
                _ => rest.push((key, value)),
            }
        }
        let is_by_time = match rows {
            Rows::By(by) => by.unit().is_some(),
            Rows::Chart => true,
            Rows::Parts => false,
        };
        if is_compared && !is_by_time {
            let why = "Only what is told apart by time is compared with the period before.";
            return Err(Trouble::refused(why));
        }
        let view = View::of(&rest, Timestamp::now()).map_err(Trouble::refused)?;
        Ok(Self { rows, format, is_compared, view })
    }
}

async fn list(
    State(at): State<Dashboard>,
    signed: Signed,
    params: Params<Vec<(String, String)>>,
) -> Result<Response, Trouble> {
    let now = Timestamp::now();
    let (mut format, mut rest) = (Format::Csv, Vec::new());
    for (key, value) in params.0 {
        match key.as_str() {
            "format" => format = format_of(&value).map_err(Trouble::refused)?,
            _ => rest.push((key, value)),
        }
    }
    let (asked, signed) = (Asked::of(rest, now)?, Arc::new(signed));
    let totals = found(&at, &signed, &asked, now).await?.totals;
    let is_compared = totals.iter().any(|(_, _, before)| before.is_some());
    // There may be very many, and who waits for something else here must not wait for that.
    let written = tokio::task::spawn_blocking(move || {
        let mut sheet = Sheet::begin(format, &["package"], |_| true, is_compared);
        for (package, now, before) in &totals {
            sheet.put(&[("package", package)], now, before.as_ref());
        }
        sheet.end()
    });
    let text = written.await.map_err(|error| Trouble::failed(&error))?;
    Ok(file("packages", format, text.into()))
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
    let account = signed.who.account;
    let asker = Asker::Account(account);
    is_there(&at, asker, &package).await?;
    let wanted = Wanted::of(params.0)?;
    let format = wanted.format;
    let (word, body) = match wanted.rows {
        Rows::By(by) if !wanted.is_compared => {
            let ask = Ask { by: vec![by], ..wanted.view.ask(Some(&package)) };
            let right = signed.sight(Some(&package));
            (by.as_str(), exported(&at, account, right, (ask, format), |_| true).await?)
        }
        Rows::By(_) | Rows::Chart | Rows::Parts => {
            let (word, text) = sheet(&at, asker, &package, wanted, Audience::People).await?;
            (word, text.into())
        }
    };
    Ok(file(&name(&package, word), format, body))
}

/// What everybody sees of a package, by the same questions as the page asks, and no others.
async fn public(
    State(at): State<Dashboard>,
    viewer: Viewer,
    network: Network,
    Path(package): Path<String>,
    params: Params<Vec<(String, String)>>,
) -> Result<Response, Trouble> {
    let is_public = glimpsed(&at, &viewer, &package).await?;
    let asker = Asker::Network(network);
    is_there(&at, asker, &package).await?;
    let wanted = Wanted::of(params.0)?;
    if let Rows::By(by) = wanted.rows
        && !matches!(by, By::Hour | By::Day)
        && PANELS.iter().all(|(shown, _)| *shown != by)
    {
        return Err(Trouble::refused("What the page does not show is not downloaded from it."));
    }
    let format = wanted.format;
    let (word, text) = sheet(&at, asker, &package, wanted, Audience::Everybody).await?;
    let file = file(&name(&package, word), format, text.into());
    Ok(match is_public {
        true => ([(CACHE_CONTROL, KEPT)], file).into_response(),
        false => file,
    })
}

/// The rows of one answer, and the word for what tells them apart.
async fn sheet(
    at: &Dashboard,
    asker: Asker,
    package: &str,
    Wanted { rows, format, is_compared, view }: Wanted,
    audience: Audience,
) -> Result<(&'static str, String), Trouble> {
    let base = base(&view, package, audience);
    let is_public = audience == Audience::Everybody;
    let by = match rows {
        Rows::By(by) => by,
        Rows::Chart => {
            let name = package.to_owned();
            let chart = move |query: &Query| {
                charted(query, &name, &view, Timestamp::now(), audience, is_compared)
            };
            let Series { piece, points, .. } = counted(at, asker, chart).await?;
            let time = Series::unit(piece).column();
            let is_told = |name: &str| !is_public || !HIDDEN.contains(&name);
            let mut sheet = Sheet::begin(format, &["package", time], is_told, is_compared);
            for Counted { begin, measures, previous } in points {
                let told = [("package", package), (time, &*begin.to_string())];
                sheet.put(&told, &measures, previous.as_ref());
            }
            return Ok((piece.word(), sheet.end()));
        }
        Rows::Parts => {
            let answer = counted(at, asker, move |query| query.rows(&base)).await?;
            let mut text = String::new();
            format.put_header(&mut text, &["package", "part", "pulls"]);
            for part in parts(&answer.totals) {
                let told = [("package", package), ("part", part.word)];
                format.put_row(&mut text, &Row { told: &told, counts: &[("pulls", part.pulls)] });
            }
            return Ok((PARTS, text));
        }
    };
    let ask = told_by(&base, by, audience);
    let top = (is_public && by.unit().is_none()).then_some(ROWS_MANY);
    let ask = Ask { compare: is_compared, top, ..ask };
    let ask_all = move |query: &Query| {
        if is_public {
            // What the page as a whole is refused for, as a filter by place, this is refused for.
            query.rows(&base)?;
        }
        query.rows(&ask)
    };
    let answer = counted(at, asker, ask_all).await?;
    // Of places everybody is told the pulls alone, and of companies nothing.
    let is_told = |name: &str| match (is_public, is_place(by)) {
        (true, true) => name == "pulls",
        (true, false) => !HIDDEN.contains(&name),
        (false, _) => true,
    };
    let mut sheet = Sheet::begin(format, &["package", by.column()], is_told, is_compared);
    for row in &answer.rows {
        let key = row.keys.first().map(|(_, key)| key.as_str()).unwrap_or_default();
        let told = [("package", package), (by.column(), key)];
        sheet.put(&told, &row.measures, row.previous.as_ref());
    }
    Ok((by.as_str(), sheet.end()))
}

/// What a file of a package is called, by what tells its rows apart.
fn name(package: &str, word: &str) -> String {
    let letter = |one: char| if one.is_ascii_alphanumeric() || one == '.' { one } else { '-' };
    let package: String = package.chars().map(letter).collect();
    format!("{package}-{word}")
}

fn file(name: &str, format: Format, body: Body) -> Response {
    let ending = if format == Format::Csv { "csv" } else { "ndjson" };
    let disposition = format!("attachment; filename=\"{name}.{ending}\"");
    let headers = [(CONTENT_TYPE, kind(format).to_owned()), (CONTENT_DISPOSITION, disposition)];
    (headers, body).into_response()
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

/// What an answer for everybody does not have.
const HIDDEN: [&str; 2] = ["monthly_companies", "public_days"];
