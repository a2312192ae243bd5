//! What may be shown in public: no place, network, company or cloud from which fewer than
//! `insight.k_public` different clients pulled within one day, and nothing from which that could be
//! worked out.

use std::collections::{BTreeMap, BTreeSet};

/// One cell of a table: what it is of (of a pair two values, else the second is empty), how much it
/// counts, and whether a crowd was in it. `None` for a value that is no place, such as a tag or what
/// is not known: it needs no crowd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// The values.
    pub values: [&'a str; 2],
    /// How much it counts; of two that could hide, the smaller does.
    pub count: u64,
    /// Whether so many clients were in it.
    pub has_crowd: Option<bool>,
}

/// Which of a table's cells must be counted together under `other`. Sums over the whole table are
/// known, and of a pair those over each value of either side: where only one cell of a sum were
/// hidden, the sum would give it away, so that the next smallest hides too. A cell that counts nothing is
/// no company: beside it the sum is the other's count. Where nothing else in a sum counts, its one count is the
/// sum whatever hides.
///
/// That holds for what [`Shown::count`] is of: other counts of the same cells may still be one cell's alone.
pub fn hidden(cells: &[Shown<'_>]) -> BTreeSet<usize> {
    let is_small = |cell: &Shown<'_>| cell.has_crowd == Some(false);
    let of = |is: &dyn Fn(&Shown<'_>) -> bool| -> BTreeSet<usize> {
        let those = cells.iter().enumerate().filter(|(_, cell)| is(cell));
        those.map(|(at, _)| at).collect()
    };
    let mut hidden = of(&is_small);
    let is_pair = cells.iter().any(|cell| !cell.values[1].is_empty());
    let mut sums: Vec<BTreeMap<&str, Vec<usize>>> = Vec::new();
    if is_pair {
        for side in 0..2 {
            let mut by_value: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
            for (at, cell) in cells.iter().enumerate() {
                by_value.entry(cell.values.get(side).unwrap_or(&"")).or_default().push(at);
            }
            sums.push(by_value);
        }
    }
    sums.push(BTreeMap::from([("", (0..cells.len()).collect())]));
    // One more cell hides in each turn, so that it ends.
    while let Some(next) = next_to_hide(cells, &sums, &hidden) {
        hidden.insert(next);
    }
    hidden
}

/// The cell that must keep a hidden one company.
fn next_to_hide(
    cells: &[Shown<'_>],
    sums: &[BTreeMap<&str, Vec<usize>>],
    hidden: &BTreeSet<usize>,
) -> Option<usize> {
    let count = |at: &usize| cells.get(*at).map_or(0, |cell| cell.count);
    for sum in sums.iter().flat_map(BTreeMap::values) {
        let weighs = sum.iter().copied().filter(|at| count(at) > 0);
        let (inside, visible): (Vec<usize>, Vec<usize>) =
            weighs.partition(|at| hidden.contains(at));
        let smallest = visible.into_iter().min_by_key(|at| (count(at), *at));
        if inside.len() == 1 && smallest.is_some() {
            return smallest;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cell<'a>(first: &'a str, second: &'a str, count: u64, has_crowd: bool) -> Shown<'a> {
        Shown { values: [first, second], count, has_crowd: Some(has_crowd) }
    }

    #[test]
    fn the_small_ones_hide_and_one_alone_gets_company() {
        let places = [
            cell("DE", "", 100, true),
            cell("FR", "", 30, true),
            cell("SE", "", 3, false),
            cell("US", "", 50, true),
        ];
        assert_eq!(hidden(&places), BTreeSet::from([1, 2]), "France is the next smallest");
        let two = [cell("DE", "", 9, true), cell("SE", "", 3, false), cell("NO", "", 2, false)];
        assert_eq!(hidden(&two), BTreeSet::from([1, 2]));
        assert_eq!(hidden(&[cell("DE", "", 9, true)]), BTreeSet::new());
        assert_eq!(hidden(&[cell("DE", "", 9, false)]), BTreeSet::from([0]));
        let nobody = Shown { has_crowd: None, ..cell("unknown", "", 0, false) };
        let beside = [cell("DE", "", 9, true), cell("SE", "", 3, false), nobody];
        assert_eq!(hidden(&beside), BTreeSet::from([0, 1]), "who is nobody is no company");
        let empty = [cell("DE", "", 9, true), cell("SE", "", 3, false), cell("NO", "", 0, false)];
        assert_eq!(hidden(&empty), BTreeSet::from([0, 1, 2]), "hidden or not");
        assert_eq!(hidden(&[cell("SE", "", 3, false), nobody]), BTreeSet::from([0]));
        let tags = [Shown { has_crowd: None, ..cell("latest", "", 1, false) }];
        assert_eq!(hidden(&tags), BTreeSet::new());
    }

    #[test]
    fn of_a_pair_neither_sides_sums_give_one_away() {
        let cells = [
            cell("DE", "1.0", 40, true),
            cell("DE", "2.0", 50, true),
            cell("SE", "1.0", 2, false),
            cell("SE", "2.0", 60, true),
            cell("US", "1.0", 70, true),
            cell("US", "2.0", 80, true),
        ];
        // 1.0 alone would give Sweden's away, then Germany's sum 2.0's, then Sweden's sum.
        assert_eq!(hidden(&cells), BTreeSet::from([0, 1, 2, 3]));
    }

    proptest! {
        /// What hides of a sum is never one count alone while others could hide beside it, and none hides
        /// without need.
        #[test]
        fn nothing_can_be_worked_out(
            cells in prop::collection::btree_map(
                ("[a-d]", "[x-z]?"), (prop_oneof![Just(0), 0u64..50], any::<bool>(), any::<bool>()), 0..12,
            ),
        ) {
            let cells: Vec<_> = cells.iter().collect();
            let shown: Vec<_> = cells.iter().map(|((first, second), (count, crowd, is_place))| {
                let cell = cell(first, second, *count, *crowd);
                Shown { has_crowd: cell.has_crowd.filter(|_| *is_place), ..cell }
            }).collect();
            let hidden = hidden(&shown);
            for (at, cell) in shown.iter().enumerate() {
                prop_assert!(cell.has_crowd != Some(false) || hidden.contains(&at));
            }
            let needs = shown.iter().any(|cell| cell.has_crowd == Some(false));
            prop_assert!(needs || hidden.is_empty());
            let is_pair = shown.iter().any(|cell| !cell.values[1].is_empty());
            let sides: &[usize] = if is_pair { &[0, 1] } else { &[] };
            // Whoever takes from a sum what is visible of it is left with what hides.
            let gives_away = |members: Vec<usize>| {
                let weight = |is_hidden: bool| {
                    let those = members.iter().filter(|at| hidden.contains(at) == is_hidden);
                    those.map(|at| shown[*at].count).sum::<u64>()
                };
                let (hides, is_seen) = (weight(true), weight(false));
                let mut inside = members.iter().filter(|at| hidden.contains(at));
                hides > 0 && is_seen > 0 && inside.any(|at| shown[*at].count == hides)
            };
            prop_assert!(!gives_away((0..shown.len()).collect()));
            for side in sides {
                for value in shown.iter().map(|cell| cell.values[*side]) {
                    let members = (0..shown.len()).filter(|at| shown[*at].values[*side] == value);
                    prop_assert!(!gives_away(members.collect()));
                }
            }
        }
    }
}
