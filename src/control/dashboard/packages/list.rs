//! `/`: the packages that somebody may see, those with the most pulls first, or in another order.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Query as Params, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use jiff::Timestamp;

use super::figures::Change;
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

/// By what the list is in order, and whether from its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Order {
    column: Column,
    is_reversed: bool,
}

/// What packages are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    /// Its name, by the letter.
    Name,
    /// The most pulls first.
    Pulls,
    /// What has grown most first; last what there was not before.
    Change,
}

/// A column's head: where the list is in its order, and how it is in that now (`aria-sort`).
struct Head {
    href: String,
    sorted: Option<&'static str>,
}

impl Column {
    const EVERY: [Self; 3] = [Self::Name, Self::Pulls, Self::Change];

    fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Pulls => "pulls",
            Self::Change => "change",
        }
    }

    /// Whether its order begins with what is least.
    fn ascends(self) -> bool {
        match self {
            Self::Name => true,
            Self::Pulls | Self::Change => false,
        }
    }
}

impl Order {
    const USUAL: Self = Self { column: Column::Pulls, is_reversed: false };

    /// As it stands in an address: a column's word, with `-` before it from the other end.
    fn of(word: &str) -> Option<Self> {
        let (is_reversed, word) = match word.strip_prefix('-') {
            Some(word) => (true, word),
            None => (false, word),
        };
        let column = Column::EVERY.into_iter().find(|column| column.word() == word)?;
        Some(Self { column, is_reversed })
    }

    fn word(self) -> String {
        format!("{}{}", if self.is_reversed { "-" } else { "" }, self.column.word())
    }

    /// The order that a click on a column's head leads to: its own, and from there the other way round.
    fn next(self, column: Column) -> Self {
        let is_reversed = self.column == column && !self.is_reversed;
        Self { column, is_reversed }
    }

    fn sorted(self, column: Column) -> Option<&'static str> {
        (self.column == column).then_some(match column.ascends() != self.is_reversed {
            true => "ascending",
            false => "descending",
        })
    }

    /// Which of two comes first. Equals are in the order of their names.
    fn compare(self, one: &Total, other: &Total) -> Ordering {
        let by_name = as_shown(&one.0).cmp(&as_shown(&other.0));
        let by_column = match self.column {
            Column::Name => by_name,
            Column::Pulls => other.1.pulls.cmp(&one.1.pulls),
            Column::Change => grown(one, other),
        };
        let by_column = if self.is_reversed { by_column.reverse() } else { by_column };
        by_column.then(by_name)
    }
}

/// A package's name, and below it its domain.
fn as_shown(package: &str) -> (&str, &str) {
    let (domain, name) = package.split_once('/').unwrap_or(("", package));
    (name, domain)
}

/// What it was before, where there is something to compare with.
fn compared(before: Option<&Measures>) -> Option<&Measures> {
    before.filter(|before| before.requests > 0 || before.checks > 0)
}

/// What has grown more comes first: by what share, and first what is new. What was not pulled at either time,
/// or is not compared, comes last.
fn grown((_, one, before): &Total, (_, other, before_other): &Total) -> Ordering {
    let pulls =
        |of: &Option<Measures>| compared(of.as_ref()).map(|before| u128::from(before.pulls));
    let (one, other) = (u128::from(one.pulls), u128::from(other.pulls));
    match (pulls(before), pulls(before_other)) {
        (Some(before), Some(before_other)) => {
            let has_none = |now: u128, before: u128| now == 0 && before == 0;
            let last = has_none(one, before).cmp(&has_none(other, before_other));
            // one / before against other / before_other; by nothing, it is more than all others.
            last.then_with(|| (other * before).cmp(&(one * before_other)))
        }
        (before, before_other) => before_other.is_some().cmp(&before.is_some()),
    }
}

async fn list(
    State(at): State<Dashboard>,
    signed: Signed,
    params: Params<Vec<(String, String)>>,
) -> Result<Response, Trouble> {
    let now = Timestamp::now();
    let (mut wanted, mut page, mut rest) = (String::new(), 0usize, Vec::new());
    let mut order = Order::USUAL;
    for (key, value) in params.0 {
        match key.as_str() {
            "q" => wanted = value,
            "page" => page = value.parse().unwrap_or_default(),
            "range" => rest.push((key, value)),
            "sort" => {
                order = Order::of(&value).ok_or_else(|| {
                    let words = Column::EVERY.map(Column::word).join(", ");
                    Trouble::refused(format!(
                        "There is no order {value:?}: there are {words}, and with `-` before them the \
                         other way round."
                    ))
                })?;
            }
            _ => {
                return Err(Trouble::refused(format!(
                    "There is nothing called {key:?} here: there are q, range, sort and page."
                )));
            }
        }
    }
    let view = View::of(&rest, now).map_err(Trouble::refused)?;
    let ask = view.ask(None);
    let (asked, signed) = (view.clone(), Arc::new(signed));
    let asker = Asker::Account(signed.who.account);
    let viewer = Arc::clone(&signed);
    let (ever, answer) = counted(&at, asker, move |query| {
        // However much others have, who has little waits for little.
        let is_seen = |name: &str| viewer.may_package(Action::See, name, false);
        let ever = query.rows_seen(&Ask::default(), is_seen)?;
        let compare = ever.from.is_some_and(|since| asked.compares(since));
        Ok((ever, query.rows_seen(&Ask { compare, ..ask }, is_seen)?))
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
    let began = ever.from.unwrap_or(now);
    for row in ever.rows {
        totals.insert(row.package.to_string(), (Measures::ZERO, None));
    }
    for row in answer.rows {
        totals.insert(row.package.to_string(), (row.measures, row.previous));
    }
    let all = totals.len();
    let mut totals: Vec<Total> =
        totals.into_iter().map(|(name, (now, before))| (name, now, before)).collect();
    let lower = wanted.to_lowercase();
    totals.retain(|(name, _, _)| name.to_lowercase().contains(lower.trim()));
    totals.sort_by(|one, other| order.compare(one, other));
    let pulls: u64 = totals.iter().map(|(_, measures, _)| measures.pulls).sum();
    let pages = totals.len().div_ceil(PAGE).max(1);
    let page = page.min(pages - 1);
    let on_page: Vec<Total> = totals.into_iter().skip(page * PAGE).take(PAGE).collect();
    let range = view.period.name.unwrap_or_default();
    let href = |range: &str, order: Order, page: usize| {
        let mut href = format!("/?range={range}");
        if !wanted.is_empty() {
            href.push_str("&q=");
            put_encoded(&mut href, &wanted);
        }
        if order != Order::USUAL {
            href.push_str(&format!("&sort={}", order.word()));
        }
        if page > 0 {
            href.push_str(&format!("&page={page}"));
        }
        href
    };
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
    let unserved: HashSet<String> = unserved.map(|(name, _)| name.clone()).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_the_order_that_its_address_says() {
        let total = |name: &str, now, before: Option<u64>| {
            let of = |pulls| Measures { pulls, requests: 1, ..Measures::ZERO };
            (name.to_owned(), of(now), before.map(of))
        };
        let all = [
            total("b/halved", 50, Some(100)),
            total("a/doubled", 20, Some(10)),
            total("f/unknown", 7, None),
            total("c/new", 5, Some(0)),
            total("e/idle", 0, Some(0)),
            total("d/same", 30, Some(30)),
        ];
        for (word, expected) in [
            ("pulls", "bdafce"),
            ("-pulls", "ecfadb"),
            ("name", "abecdf"),
            ("-name", "fdceba"),
            ("change", "cadbef"),
            ("-change", "febdac"),
        ] {
            let order = Order::of(word).unwrap();
            assert_eq!(order.word(), word);
            let mut sorted = all.to_vec();
            sorted.sort_by(|one, other| order.compare(one, other));
            let first: String =
                sorted.iter().filter_map(|(name, ..)| name.chars().next()).collect();
            assert_eq!(first, expected, "{word}");
        }
        for none in ["", "-", "clients", "--name"] {
            assert_eq!(Order::of(none), None, "{none}");
        }
        let by_name = Order::USUAL.next(Column::Name);
        assert_eq!(
            (by_name.word().as_str(), by_name.sorted(Column::Name)),
            ("name", Some("ascending"))
        );
        assert_eq!(by_name.next(Column::Name).sorted(Column::Name), Some("descending"));
        assert_eq!(by_name.next(Column::Change).sorted(Column::Change), Some("descending"));
        assert_eq!(by_name.sorted(Column::Pulls), None);
    }
}
