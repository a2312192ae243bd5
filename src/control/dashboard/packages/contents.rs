//! What a page of one package shows of its counts, to its people or to everybody.

use jiff::Timestamp;

use super::figures::{
    Audience, CHART, Completeness, MORE, PANELS, PARTS, Panel, ROWS_MANY, Tile, completeness,
    download, is_place, tiles,
};
use super::series::Series;
use super::view::View;
use crate::aggregator::{Ask, By, Query, QueryError};
use crate::pure::chart::grouped;
use crate::pure::period::NAMED;

/// What was chosen to be shown.
pub(super) struct Chosen {
    /// Each filter: its name, its value, and where it is gone.
    pub(super) filters: Vec<(&'static str, String, String)>,
    /// Each named period: its name, where it is, and whether it is this one.
    pub(super) ranges: Vec<(&'static str, String, bool)>,
    pub(super) days: [String; 2],
    pub(super) is_by_days: bool,
    /// What the form that chooses other days carries along.
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) measure: &'static str,
}

/// What came of it.
pub(super) struct Counts {
    /// What they are of, in words.
    pub(super) period: String,
    pub(super) tiles: Vec<Tile>,
    /// As SVG.
    pub(super) chart: String,
    pub(super) has_before: bool,
    /// The chart as a table: the time, and the numbers now and before.
    pub(super) points: Vec<(String, String, String)>,
    pub(super) piece: &'static str,
    pub(super) chart_download: String,
    pub(super) completeness: Option<Completeness>,
    pub(super) completeness_download: String,
    pub(super) panels: Vec<Panel>,
    /// None for whom there is no more.
    pub(super) more: Option<More>,
    pub(super) ever: String,
    pub(super) since: String,
    pub(super) is_empty: bool,
}

/// What says something of some packages only. It is many questions, asked where somebody wants to see it.
pub(super) struct More {
    /// Where it is shown, or not any more.
    pub(super) href: String,
    /// What there may be.
    pub(super) titles: String,
    /// Of what something is known, where it is shown.
    pub(super) panels: Option<Vec<Panel>>,
}

/// Asks for everything at once that is shown, and that this audience may see.
pub(super) fn counts(
    query: &Query,
    package: &str,
    path: &str,
    view: &View,
    now: Timestamp,
    audience: Audience,
) -> Result<Counts, QueryError> {
    let ever = query.rows(&Ask { package: Some(package.to_owned()), ..Ask::default() })?;
    let since = ever.from.unwrap_or(now);
    let piece = view.piece(since);
    let base = base(view, package, audience);
    let compare = view.compares(since);
    let by_time = Ask { compare, ..told_by(&base, Series::unit(piece), audience) };
    let of_panel =
        |(by, _): &(By, &str)| Ask { top: Some(ROWS_MANY), ..told_by(&base, *by, audience) };
    let has_more = audience == Audience::People;
    let shown: &[(By, &str)] = if has_more && view.is_more { &MORE } else { &[] };
    let every = PANELS.iter().chain(shown);
    let asks: Vec<Ask> =
        std::iter::once(by_time.clone()).chain(every.clone().map(of_panel)).collect();
    let mut answers = query.all(&asks)?.into_iter();
    let answer = match answers.next() {
        Some(Ok(answer)) => answer,
        // Where the period before has lost its short cells, there is nothing to compare with.
        Some(Err(_)) | None => query.rows(&Ask { compare: false, ..by_time })?,
    };
    let mut panels: Vec<Panel> = every
        .zip(answers)
        .map(|(panel, answer)| Panel::of(*panel, path, view, answer.as_ref().ok(), audience))
        .collect();
    let mut more_panels = panels.split_off(PANELS.len());
    more_panels.retain(|panel| panel.is_known);
    let more = has_more.then(|| More {
        href: format!("{path}{}#more", view.with_more(!view.is_more).query()),
        titles: MORE.map(|(_, title)| title).join(", "),
        panels: view.is_more.then_some(more_panels),
    });
    let series = Series::of(view, piece, since, &answer);
    let has_before = answer.previous.is_some();
    let number = view.measure.number;
    let points = series.points.iter().rev().map(|point| {
        let before = point.previous.as_ref().map(|before| number((view.measure.of)(before)));
        let value = number((view.measure.of)(&point.measures));
        (piece.told(point.begin), value, before.unwrap_or_default())
    });
    Ok(Counts {
        tiles: tiles(path, view, &answer.totals, answer.previous.as_ref()),
        chart: series.chart(view, now),
        has_before,
        points: points.collect(),
        period: series.period,
        piece: piece.word(),
        chart_download: format!(
            "{}{}",
            download(view, CHART),
            if has_before { "&compare=true" } else { "" }
        ),
        completeness: completeness(&answer.totals),
        completeness_download: download(view, PARTS),
        panels,
        more,
        ever: grouped(ever.totals.pulls),
        since: since.strftime("%-d %b %Y").to_string(),
        is_empty: ever.rows.is_empty(),
    })
}

/// The chart alone, to be downloaded: beside the period before where that is wanted.
///
/// # Errors
/// The counts cannot be read now, or of the period before not in these pieces any more.
pub(super) fn charted(
    query: &Query,
    package: &str,
    view: &View,
    now: Timestamp,
    audience: Audience,
    compare: bool,
) -> Result<Series, QueryError> {
    let ever = query.rows(&Ask { package: Some(package.to_owned()), ..Ask::default() })?;
    let since = ever.from.unwrap_or(now);
    let piece = view.piece(since);
    let by_time = told_by(&base(view, package, audience), Series::unit(piece), audience);
    let answer = query.rows(&Ask { compare, ..by_time })?;
    Ok(Series::of(view, piece, since, &answer))
}

/// What this audience may ask about a package in this view, not told apart.
pub(super) fn base(view: &View, package: &str, audience: Audience) -> Ask {
    Ask { public: audience == Audience::Everybody, ..view.ask(Some(package)) }
}

/// The same told apart by this, as far as this audience may.
pub(super) fn told_by(base: &Ask, by: By, audience: Audience) -> Ask {
    let asked = Ask { by: vec![by], ..base.clone() };
    match audience == Audience::Everybody && is_place(by) {
        // A part of what a place has may give away what its whole hides.
        true => Ask { only: Vec::new(), from: None, to: None, ..asked },
        false => asked,
    }
}

pub(super) fn chosen(path: &str, view: &View) -> Chosen {
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
        days: view.typed_days().map(str::to_owned),
        is_by_days: view.period.name.is_none(),
        fields: view.fields_beside_time(),
        measure: view.measure.title,
    }
}

/// What people type. Of a package of any domain the host is theirs to say.
pub(in crate::control::dashboard) fn pull_command(package: &str) -> String {
    match package.strip_prefix("*/") {
        Some(name) => format!("docker pull <host>/{name}"),
        None => format!("docker pull {package}"),
    }
}
