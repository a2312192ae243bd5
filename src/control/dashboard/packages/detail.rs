//! `/packages/<domain>/<name>`: all that is known of one package's pulls.

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query as Params, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use jiff::Timestamp;

use super::counted;
use super::figures::{Completeness, PANELS, Panel, ROWS_MANY, Tile, completeness, download, tiles};
use super::series::Series;
use super::view::View;
use crate::aggregator::{Ask, By, Query, QueryError};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::address::address;
use crate::control::dashboard::badges::{Code, codes};
use crate::control::dashboard::page::{Frame, shown};
use crate::control::dashboard::trouble::Trouble;
use crate::control::dashboard::viewer::Signed;
use crate::pure::access::Action;
use crate::pure::chart::grouped;
use crate::pure::period::NAMED;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new().route("/packages/{*package}", get(detail))
}

#[derive(Template)]
#[template(path = "package.html")]
struct DetailPage {
    frame: Frame,
    /// What people type to pull it.
    pull_command: String,
    /// Where only the same is shown, without any choice.
    path: String,
    live: String,
    downloads: String,
    chosen: Chosen,
    counts: Counts,
    /// None where they are off.
    badges: Vec<Code>,
    may_configure: bool,
    /// Where badges are switched on and off.
    badges_switch: String,
}

/// What was chosen to be shown.
struct Chosen {
    /// Each filter: its name, its value, and where it is gone.
    filters: Vec<(&'static str, String, String)>,
    /// Each named period: its name, where it is, and whether it is this one.
    ranges: Vec<(&'static str, String, bool)>,
    period: String,
    days: [String; 2],
    is_by_days: bool,
    /// What the form that chooses other days carries along.
    fields: Vec<(&'static str, String)>,
    measure: &'static str,
}

/// What came of it.
struct Counts {
    tiles: Vec<Tile>,
    /// As SVG.
    chart: String,
    has_before: bool,
    /// The chart as a table: the time, and the numbers now and before.
    points: Vec<(String, String, String)>,
    piece: &'static str,
    chart_download: String,
    completeness: Option<Completeness>,
    panels: Vec<Panel>,
    ever: String,
    since: String,
    is_empty: bool,
}

async fn detail(
    State(at): State<Dashboard>,
    signed: Signed,
    Path(package): Path<String>,
    headers: HeaderMap,
    params: Params<Vec<(String, String)>>,
) -> Result<Response, Trouble> {
    if !signed.may_package(Action::See, &package, false) {
        return Err(Trouble::absent());
    }
    let now = Timestamp::now();
    let view = View::of(&params.0, now).map_err(Trouble::refused)?;
    let (path, name, asked) = (address("packages", &package), package.clone(), view.clone());
    let found = {
        let path = path.clone();
        counted(&at.query, move |query| counts(query, &name, &path, &asked, now)).await?
    };
    let snapshot = at.in_force.snapshot();
    let is_configured = snapshot
        .routes
        .packages()
        .any(|(domain, name)| package.split_once('/') == Some((domain, name)));
    if found.is_empty && !is_configured {
        return Err(Trouble::absent());
    }
    let may_configure = signed.may_package(Action::Configure, &package, false);
    let off = at.accounts.run(|store| store.badges_off()).await?;
    let badges = match off.contains(&package) {
        true => Vec::new(),
        false => codes(&origin(&headers), &at.badges.id(&package)),
    };
    let page = DetailPage {
        badges,
        may_configure,
        badges_switch: address("settings/badges", &package),
        frame: signed.frame(&package),
        pull_command: pull_command(&package),
        live: address("live", &package),
        downloads: address("download", &package),
        chosen: chosen(&path, &view),
        path,
        counts: found,
    };
    Ok(shown(StatusCode::OK, &page))
}

/// Asks for everything at once.
fn counts(
    query: &Query,
    package: &str,
    path: &str,
    view: &View,
    now: Timestamp,
) -> Result<Counts, QueryError> {
    let ever = query.rows(&Ask { package: Some(package.to_owned()), ..Ask::default() })?;
    let since = ever.from.unwrap_or(now);
    let piece = view.period.piece(since);
    let base = view.ask(Some(package));
    let by_time =
        Ask { by: vec![Series::unit(piece)], compare: view.compares(since), ..base.clone() };
    let of_panel =
        |(by, _): &(By, &str)| Ask { by: vec![*by], top: Some(ROWS_MANY), ..base.clone() };
    let asks: Vec<Ask> =
        std::iter::once(by_time.clone()).chain(PANELS.iter().map(of_panel)).collect();
    let mut answers = query.all(&asks)?.into_iter();
    let answer = match answers.next() {
        Some(Ok(answer)) => answer,
        // Where the period before has lost its short cells, there is nothing to compare with.
        Some(Err(_)) | None => query.rows(&Ask { compare: false, ..by_time })?,
    };
    let panels = PANELS.iter().zip(answers);
    let panels =
        panels.map(|(panel, answer)| Panel::of(*panel, path, view, answer.as_ref().ok())).collect();
    let series = Series::of(view, piece, since, &answer);
    let number = view.measure.number;
    let points = series.points.iter().rev().map(|point| {
        let before = point.previous.as_ref().map(|before| number((view.measure.of)(before)));
        let value = number((view.measure.of)(&point.measures));
        (piece.told(point.begin), value, before.unwrap_or_default())
    });
    Ok(Counts {
        tiles: tiles(path, view, &answer.totals, answer.previous.as_ref()),
        chart: series.chart(view, now),
        has_before: answer.previous.is_some(),
        points: points.collect(),
        piece: piece.word(),
        chart_download: download(view, Series::unit(piece)),
        completeness: completeness(&answer.totals),
        panels,
        ever: grouped(ever.totals.pulls),
        since: since.strftime("%-d %b %Y").to_string(),
        is_empty: ever.rows.is_empty(),
    })
}

fn chosen(path: &str, view: &View) -> Chosen {
    let filters = view.only.iter().map(|only| {
        let without = format!("{path}{}", view.without(only.by).query());
        (only.by.as_str(), only.value.clone(), without)
    });
    let ranges = NAMED.iter().map(|(name, _, _)| {
        let href = format!("{path}{}", view.in_range(name).query());
        (*name, href, view.period.name == Some(*name))
    });
    Chosen {
        filters: filters.collect(),
        ranges: ranges.collect(),
        period: view.period_words(),
        days: view.typed_days().map(str::to_owned),
        is_by_days: view.period.name.is_none(),
        fields: view.fields_beside_time(),
        measure: view.measure.title,
    }
}

/// What the addresses of this dashboard begin with, as its visitor knows it.
fn origin(headers: &HeaderMap) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let scheme = if text("x-forwarded-proto") == Some("https") { "https" } else { "http" };
    format!("{scheme}://{}", text("host").unwrap_or("localhost"))
}

/// What people type. Of a package of any domain the host is theirs to say.
fn pull_command(package: &str) -> String {
    match package.strip_prefix("*/") {
        Some(name) => format!("docker pull <host>/{name}"),
        None => format!("docker pull {package}"),
    }
}
