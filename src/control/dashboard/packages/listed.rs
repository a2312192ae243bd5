//! Which packages somebody's list has, and in which order, as its address says.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::view::View;
use super::{Asker, counted};
use crate::aggregator::Ask;
use crate::control::dashboard::Dashboard;
use crate::control::dashboard::trouble::Trouble;
use crate::control::dashboard::viewer::Signed;
use crate::pure::access::Action;
use crate::pure::pull::rollup::Measures;

/// What an address says.
pub(super) struct Asked {
    /// What was searched for.
    pub(super) wanted: String,
    /// Which page of it.
    pub(super) page: usize,
    pub(super) order: Order,
    pub(super) view: View,
}

/// What there is for who asks.
pub(super) struct Found {
    /// What was searched for, in its order.
    pub(super) totals: Vec<Total>,
    /// How many packages there are, searched for or not.
    pub(super) all: usize,
    /// Since when is counted.
    pub(super) began: Timestamp,
    /// Rules for names of which each is a package once it is pulled.
    pub(super) collections: Vec<String>,
    /// Those that were made here and are not served by that.
    pub(super) unserved: HashSet<String>,
}

/// A package and what it came to, now and before.
pub(super) type Total = (String, Measures, Option<Measures>);

/// By what the list is in order, and whether from its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    column: Column,
    is_reversed: bool,
}

/// What packages are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// Its name, by the letter.
    Name,
    /// The most pulls first.
    Pulls,
    /// What has grown most first; last what there was not before.
    Change,
}

impl Asked {
    /// # Errors
    /// Words for whoever typed it.
    pub(super) fn of(params: Vec<(String, String)>, now: Timestamp) -> Result<Self, Trouble> {
        let (mut wanted, mut page, mut rest) = (String::new(), 0usize, Vec::new());
        let mut order = Order::USUAL;
        for (key, value) in params {
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
        Ok(Self { wanted, page, order, view })
    }
}

/// The packages that somebody may see, those of the configuration and those that were counted, and what each came to.
pub(super) async fn found(
    at: &Dashboard,
    signed: &Arc<Signed>,
    asked: &Asked,
    now: Timestamp,
) -> Result<Found, Trouble> {
    let (ask, view) = (asked.view.ask(None), asked.view.clone());
    let asker = Asker::Account(signed.who.account);
    let viewer = Arc::clone(signed);
    let (ever, answer) = counted(at, asker, move |query| {
        // However much others have, who has little waits for little.
        let is_seen = |name: &str| viewer.may_package(Action::See, name, false);
        let ever = query.rows_seen(&Ask::default(), is_seen)?;
        let compare = ever.from.is_some_and(|since| view.compares(since));
        Ok((ever, query.rows_seen(&Ask { compare, ..ask }, is_seen)?))
    })
    .await?;
    let snapshot = at.in_force.snapshot();
    let configured = snapshot.routes.packages().map(|(domain, name)| format!("{domain}/{name}"));
    let made = at.makers.standing();
    let unserved = made.packages.iter().filter(|(_, wrong)| !wrong.is_empty());
    let unserved: HashSet<String> = unserved.map(|(name, _)| name.clone()).collect();
    let configured = configured.chain(unserved.iter().cloned());
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
    let all = totals.len();
    let mut totals: Vec<Total> =
        totals.into_iter().map(|(name, (now, before))| (name, now, before)).collect();
    let lower = asked.wanted.to_lowercase();
    totals.retain(|(name, _, _)| name.to_lowercase().contains(lower.trim()));
    totals.sort_by(|one, other| asked.order.compare(one, other));
    Ok(Found { totals, all, began: ever.from.unwrap_or(now), collections, unserved })
}

impl Column {
    pub(super) const EVERY: [Self; 3] = [Self::Name, Self::Pulls, Self::Change];

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
    pub(super) const USUAL: Self = Self { column: Column::Pulls, is_reversed: false };

    /// As it stands in an address: a column's word, with `-` before it from the other end.
    fn of(word: &str) -> Option<Self> {
        let (is_reversed, word) = match word.strip_prefix('-') {
            Some(word) => (true, word),
            None => (false, word),
        };
        let column = Column::EVERY.into_iter().find(|column| column.word() == word)?;
        Some(Self { column, is_reversed })
    }

    pub(super) fn word(self) -> String {
        format!("{}{}", if self.is_reversed { "-" } else { "" }, self.column.word())
    }

    /// The order that a click on a column's head leads to: its own, and from there the other way round.
    pub(super) fn next(self, column: Column) -> Self {
        let is_reversed = self.column == column && !self.is_reversed;
        Self { column, is_reversed }
    }

    pub(super) fn sorted(self, column: Column) -> Option<&'static str> {
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
pub(super) fn as_shown(package: &str) -> (&str, &str) {
    let (domain, name) = package.split_once('/').unwrap_or(("", package));
    (name, domain)
}

/// What it was before, where there is something to compare with.
pub(super) fn compared(before: Option<&Measures>) -> Option<&Measures> {
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
