//! `/`: the packages that somebody may see, those with the most pulls first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};

use askama::Template;
use axum::Router;
use axum::extract::{Query as Params, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use jiff::Timestamp;

use super::counted;
use super::figures::Change;
use super::series::Series;
use super::view::{MEASURES, View};
use crate::aggregator::{Ask, Query, QueryError};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::address::address;
use crate::control::dashboard::page::{Frame, shown};
use crate::control::dashboard::trouble::Trouble;
use crate::control::dashboard::viewer::Signed;
use crate::pure::access::Action;
use crate::pure::chart::grouped;
use crate::pure::chart::spark::spark;
use crate::pure::period::NAMED;
use crate::pure::pull::rollup::Measures;
use crate::pure::query::put_encoded;

pub(super) fn routes() -> Router<Dashboard> {
    Router::new().route("/", get(list))
}

#[derive(Template)]
#[template(path = "packages.html")]
struct ListPage {
    frame: Frame,
    /// What was searched for.
    wanted: String,
    range: &'static str,
    /// Each named period: its name, where it is, and whether it is this one.
    ranges: Vec<(&'static str, String, bool)>,
    period: String,
    packages: Vec<Listed>,
    /// Rules for names of which each is a package once it is pulled.
    collections: Vec<String>,
    /// How many there are, searched for or not.
    all: usize,
    pulls: String,
    /// The pages before and after this one.
    turns: [Option<String>; 2],
    /// For which organisations they make packages, and where.
    makes: Vec<(String, String)>,
}

/// One package.
struct Listed {
    name: String,
    domain: String,
    href: String,
    pulls: String,
    change: Option<Change>,
    clients: String,
    /// As SVG.
    spark: String,
    /// Whether it was made here and is not served by that.
    is_unserved: bool,
}

/// A package and what it came to, now and before.
type Total = (String, Measures, Option<Measures>);

async fn list(
    State(at): State<Dashboard>,
    signed: Signed,
    params: Params<Vec<(String, String)>>,
) -> Result<Response, Trouble> {
    let now = Timestamp::now();
    let (mut wanted, mut page, mut rest) = (String::new(), 0usize, Vec::new());
    for (key, value) in params.0 {
        match key.as_str() {
            "q" => wanted = value,
            "page" => page = value.parse().unwrap_or_default(),
            "range" => rest.push((key, value)),
            _ => {
                return Err(Trouble::refused(format!(
                    "There is nothing called {key:?} here: there are q, range and page."
                )));
            }
        }
    }
    let view = View::of(&rest, now).map_err(Trouble::refused)?;
    let ask = view.ask(None);
    let asked = view.clone();
    let (ever, answer) = counted(&at.query, move |query| {
        let ever = query.rows(&Ask::default())?;
        let compare = ever.from.is_some_and(|since| asked.compares(since));
        Ok((ever, query.rows(&Ask { compare, ..ask })?))
    })
    .await?;
    let snapshot = at.in_force.snapshot();
    let configured = snapshot.routes.packages().map(|(domain, name)| format!("{domain}/{name}"));
    let made = at.makers.standing();
    let unserved = made.packages.iter().filter(|(_, wrong)| !wrong.is_empty());
    let configured = configured.chain(unserved.clone().map(|(name, _)| name.clone()));
    let configured = configured.filter(|name| signed.may_package(Action::See, name, false));
    let (collections, names): (Vec<String>, Vec<String>) =
        configured.partition(|name| name.ends_with('*'));
    let mut totals: BTreeMap<String, (Measures, Option<Measures>)> =
        names.into_iter().map(|name| (name, (Measures::ZERO, None))).collect();
    for row in ever.rows {
        totals.insert(row.package.to_string(), (Measures::ZERO, None));
    }
    for row in answer.rows {
        totals.insert(row.package.to_string(), (row.measures, row.previous));
    }
    totals.retain(|name, _| signed.may_package(Action::See, name, false));
    let all = totals.len();
    let mut totals: Vec<Total> =
        totals.into_iter().map(|(name, (now, before))| (name, now, before)).collect();
    let lower = wanted.to_lowercase();
    totals.retain(|(name, _, _)| name.to_lowercase().contains(lower.trim()));
    totals.sort_by_key(|(_, measures, _)| Reverse(measures.pulls));
    let pulls: u64 = totals.iter().map(|(_, measures, _)| measures.pulls).sum();
    let pages = totals.len().div_ceil(PAGE).max(1);
    let page = page.min(pages - 1);
    let on_page: Vec<Total> = totals.into_iter().skip(page * PAGE).take(PAGE).collect();
    let range = view.period.name.unwrap_or_default();
    let href = |range: &str, page: usize| {
        let mut href = format!("/?range={range}");
        if !wanted.is_empty() {
            href.push_str("&q=");
            put_encoded(&mut href, &wanted);
        }
        if page > 0 {
            href.push_str(&format!("&page={page}"));
        }
        href
    };
    let ranges = NAMED.iter().map(|(name, _, _)| (*name, href(name, 0), *name == range)).collect();
    let turns = [
        page.checked_sub(1).map(|page| href(range, page)),
        (page + 1 < pages).then(|| href(range, page + 1)),
    ];
    let (period, asked) = (view.period_words(), view);
    let unserved: HashSet<String> = unserved.map(|(name, _)| name.clone()).collect();
    let packages =
        counted(&at.query, move |query| listed(query, on_page, &asked, &unserved, now)).await?;
    let organisations = at.accounts.run(|store| store.organisations()).await?;
    let makes = organisations.into_iter().filter(|one| {
        // Whose packages they configure all.
        signed.may_organisation(Action::Configure, one.id)
    });
    let makes = makes.map(|one| (address_new(&one.name), one.name)).collect();
    let (frame, pulls) = (signed.frame("Packages"), grouped(pulls));
    let page = ListPage {
        frame,
        wanted,
        range,
        ranges,
        period,
        packages,
        collections,
        all,
        pulls,
        turns,
        makes,
    };
    Ok(shown(StatusCode::OK, &page))
}

/// The packages of one page, each with its course.
fn listed(
    query: &Query,
    totals: Vec<Total>,
    view: &View,
    unserved: &HashSet<String>,
    now: Timestamp,
) -> Result<Vec<Listed>, QueryError> {
    let since = match view.period.from {
        Some(from) => from,
        None => query.rows(&Ask::default())?.from.unwrap_or(now),
    };
    let piece = view.period.piece(since);
    let by_time =
        |(name, _, _): &Total| Ask { by: vec![Series::unit(piece)], ..view.ask(Some(name)) };
    let courses = query.all(&totals.iter().map(by_time).collect::<Vec<_>>())?;
    let packages = totals.into_iter().zip(courses).map(|((package, measures, before), course)| {
        let values =
            course.map(|course| Series::of(view, piece, since, &course).values(&MEASURES[0]));
        let told = format!("Pulls per {} of {package}", piece.word());
        let (domain, name) = package.split_once('/').unwrap_or(("", &package));
        let before = before.filter(|before| before.requests > 0 || before.checks > 0);
        let is_unserved = unserved.contains(&package);
        Listed {
            is_unserved,
            name: name.to_owned(),
            domain: domain.to_owned(),
            href: format!("{}{}", address("packages", &package), view.query()),
            pulls: grouped(measures.pulls),
            change: before.and_then(|before| Change::of(measures.pulls, before.pulls, grouped)),
            clients: grouped(measures.daily_uniques),
            spark: spark(&values.unwrap_or_default(), &told),
        }
    });
    Ok(packages.collect())
}

/// Where a package of an organisation is made.
fn address_new(organisation: &str) -> String {
    let mut address = "/packages/new?organisation=".to_owned();
    put_encoded(&mut address, organisation);
    address
}

/// Packages on one page.
const PAGE: usize = 50;
