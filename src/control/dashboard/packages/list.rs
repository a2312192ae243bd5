//! `/`: the packages that somebody may see, those with the most pulls first, or in another order.

use std::collections::HashSet;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Query as Params, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use jiff::Timestamp;

use super::figures::Change;
use super::listed::{Asked, Column, Found, Order, Total, as_shown, compared, found};
use super::series::Series;
use super::view::{MEASURES, View};
use super::{Asker, counted};
use crate::aggregator::{Ask, Query, QueryError};
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::address::{address, guided};
use crate::control::dashboard::page::{Frame, shown};
use crate::control::dashboard::trouble::Trouble;
use crate::control::dashboard::viewer::Signed;
use crate::pure::access::Action;
use crate::pure::chart::grouped;
use crate::pure::chart::spark::spark;
use crate::pure::period::NAMED;
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
    /// Which order this is.
    order: Order,
    /// Where it is in the order of a column: package, pulls, change.
    orders: [Head; 3],
    packages: Vec<Listed>,
    /// Rules for names of which each is a package once it is pulled.
    collections: Vec<String>,
    /// How many there are, searched for or not.
    all: usize,
    pulls: String,
    /// Where all of it is downloaded.
    download: String,
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

/// A column's head: where the list is in its order, and how it is in that now (`aria-sort`).
struct Head {
    href: String,
    sorted: Option<&'static str>,
}

async fn list(
    State(at): State<Dashboard>,
    signed: Signed,
    params: Params<Vec<(String, String)>>,
) -> Result<Response, Trouble> {
    let now = Timestamp::now();
    let asked = Asked::of(params.0, now)?;
    let signed = Arc::new(signed);
    let Found { totals, all, began, collections, unserved } =
        found(&at, &signed, &asked, now).await?;
    let Asked { wanted, page, order, view } = asked;
    let pulls: u64 = totals.iter().map(|(_, measures, _)| measures.pulls).sum();
    let pages = totals.len().div_ceil(PAGE).max(1);
    let page = page.min(pages - 1);
    let on_page: Vec<Total> = totals.into_iter().skip(page * PAGE).take(PAGE).collect();
    let range = view.period.name.unwrap_or_default();
    let query = |range: &str, order: Order, page: usize| {
        let mut query = format!("?range={range}");
        if !wanted.is_empty() {
            query.push_str("&q=");
            put_encoded(&mut query, &wanted);
        }
        if order != Order::USUAL {
            query.push_str(&format!("&sort={}", order.word()));
        }
        if page > 0 {
            query.push_str(&format!("&page={page}"));
        }
        query
    };
    let href = |range: &str, order: Order, page: usize| format!("/{}", query(range, order, page));
    let download = format!("/download{}", query(range, order, 0));
    let named = NAMED.iter().map(|(name, _, _)| (*name, href(name, order, 0), *name == range));
    let ranges = named.collect();
    let turns = [
        page.checked_sub(1).map(|page| href(range, order, page)),
        (page + 1 < pages).then(|| href(range, order, page + 1)),
    ];
    let orders = Column::EVERY.map(|column| Head {
        href: href(range, order.next(column), 0),
        sorted: order.sorted(column),
    });
    let (period, asked) = (view.period_words(), view);
    let asker = Asker::Account(signed.who.account);
    let packages =
        counted(&at, asker, move |query| listed(query, on_page, &asked, &unserved, began)).await?;
    let organisations = at.accounts.run(|store| store.organisations()).await?;
    let makes = organisations.into_iter().filter(|one| {
        // Whose packages they configure all.
        signed.may_organisation(Action::Configure, one.id)
    });
    let new = |name: &str| if all == 0 { guided(name) } else { address_new(name) };
    let makes = makes.map(|one| (new(&one.name), one.name)).collect();
    let (frame, pulls) = (signed.frame("Packages"), grouped(pulls));
    let page = ListPage {
        frame,
        wanted,
        range,
        ranges,
        period,
        order,
        orders,
        packages,
        collections,
        all,
        pulls,
        download,
        turns,
        makes,
    };
    Ok(shown(StatusCode::OK, &page))
}

/// The packages of one page, each with its course, which goes back to when counts `began` at the most.
fn listed(
    query: &Query,
    totals: Vec<Total>,
    view: &View,
    unserved: &HashSet<String>,
    began: Timestamp,
) -> Result<Vec<Listed>, QueryError> {
    let since = view.period.from.unwrap_or(began);
    let piece = view.period.piece(since);
    let by_time =
        |(name, _, _): &Total| Ask { by: vec![Series::unit(piece)], ..view.ask(Some(name)) };
    let courses = query.all(&totals.iter().map(by_time).collect::<Vec<_>>())?;
    let packages = totals.into_iter().zip(courses).map(|((package, measures, before), course)| {
        let values =
            course.map(|course| Series::of(view, piece, since, &course).values(&MEASURES[0]));
        let told = format!("Pulls per {} of {package}", piece.word());
        let (name, domain) = as_shown(&package);
        let before = compared(before.as_ref());
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
