//! Which packages' badges are off. They are on until somebody turns them off.

use std::collections::HashSet;

use rusqlite::{Connection, params};
use serde_json::json;

use super::audit::{self, Actor, Deed};
use super::room;
use super::store::{Store, StoreError};
use crate::pure::access::OrganisationId;

impl Store {
    /// The packages whose badges are off, each as `<domain>/<name>`.
    pub fn badges_off(&self) -> Result<HashSet<String>, StoreError> {
        let mut off = self.connection.prepare_cached("SELECT package FROM badges_off")?;
        Ok(off.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    /// Whether this package has badges.
    pub fn has_badges(&self, package: &str) -> Result<bool, StoreError> {
        let sql = "SELECT NOT EXISTS (SELECT 1 FROM badges_off WHERE package = ?1)";
        Ok(self.connection.query_row(sql, [package], |row| row.get(0))?)
    }

    /// Turns the badges of a package of `owner` on or off, and notes who did.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where those of many packages at its domain are off.
    pub fn switch_badges(
        &mut self,
        by: &Actor,
        owner: OrganisationId,
        package: &str,
        is_on: bool,
        now_s: i64,
    ) -> Result<(), StoreError> {
        let step = self.begin()?;
        let changed = match is_on {
            true => step.execute("DELETE FROM badges_off WHERE package = ?1", [package])?,
            false => step.execute(
                "INSERT INTO badges_off (package) VALUES (?1) ON CONFLICT DO NOTHING",
                params![package],
            )?,
        };
        if changed > 0 {
            has_room(&step, package)?;
            let deed = Deed {
                what: "badges.switch",
                organisation: Some(owner),
                package: Some(package),
                before: Some(json!({ "badges": !is_on })),
                after: Some(json!({ "badges": is_on })),
            };
            audit::note(&step, by, &deed, now_s)?;
        }
        step.commit()?;
        Ok(())
    }
}

/// A package has another name: where its badges are off, they are off under both. Under the old one they would
/// show again what was not to be seen any more. To be called in a transaction.
///
/// # Errors
/// [`StoreError::Refused`] where there is no room for it at another domain, or for more names of before.
pub(super) fn follow(step: &Connection, was: &str, is: &str) -> Result<(), StoreError> {
    let sql = "INSERT INTO badges_off (package) SELECT ?2 FROM badges_off WHERE package = ?1
               ON CONFLICT DO UPDATE SET is_former = 0";
    if step.execute(sql, [was, is])? == 0 {
        return Ok(());
    }
    step.execute("UPDATE badges_off SET is_former = 1 WHERE package = ?1", [was])?;
    has_room(step, is)?;
    let former = "(SELECT package FROM badges_off WHERE is_former = 1)";
    let bound = (FORMER_MAX, "former names whose badges are off", FORMER_FIRST);
    room::at_domain(step, former, was, bound)
}

/// That badges of no more packages at the domain of this one are off than may be.
fn has_room(step: &Connection, package: &str) -> Result<(), StoreError> {
    let off = "(SELECT package FROM badges_off WHERE is_former = 0)";
    let bound = (OFF_MAX, "packages whose badges are off", "turn on some first");
    room::at_domain(step, off, package, bound)
}

/// Packages at one domain whose badges are off.
const OFF_MAX: i64 = 1000;
/// Names that packages at one domain had before, and under which badges are off.
const FORMER_MAX: i64 = 10_000;
/// Nobody finds the pages of names that there are not any more, to turn theirs on there.
const FORMER_FIRST: &str = "turn the badges of this one on, give it the other name, and turn them off again under \
                            that; under its old name they show what was counted there";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::accounts::room::tests::is_held_at_domain;
    use crate::control::tests::scratch;

    #[test]
    fn at_one_domain_so_many_are_off() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let by = Actor { account: None, login: "ada".to_owned() };
        let insert = "INSERT INTO badges_off (package) VALUES (?1)";
        let bound = (OFF_MAX, "packages whose badges are off");
        is_held_at_domain(&mut store, bound, insert, |store, package| {
            store.switch_badges(&by, 1, package, false, 7)
        });
        assert!(store.has_badges("a.b/more").unwrap());
        for (package, is_on) in [("a.b/last", true), ("a.b/more", false)] {
            store.switch_badges(&by, 1, package, is_on, 8).unwrap();
        }
    }

    #[test]
    fn one_of_as_many_as_there_can_be_gets_another_name_and_is_off_under_both() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let by = Actor { account: None, login: "ada".to_owned() };
        let step = store.begin().unwrap();
        for number in 0..OFF_MAX {
            for domain in ["a.b", "c.d"] {
                let sql = "INSERT INTO badges_off (package) VALUES (?1)";
                step.execute(sql, [format!("{domain}/{number}")]).unwrap();
            }
        }
        follow(&step, "a.b/on", "a.b/still-on").unwrap();
        follow(&step, "a.b/0", "a.b/new").unwrap();
        follow(&step, "a.b/new", "a.b/0").unwrap();
        follow(&step, "a.b/0", "a.b/newer").unwrap();
        step.commit().unwrap();
        for (package, is_off) in [("a.b/0", true), ("a.b/newer", true), ("a.b/still-on", false)] {
            assert_eq!(store.has_badges(package).unwrap(), !is_off, "{package}");
        }
        let full = |outcome: Result<(), StoreError>, domain: &str| {
            let words = outcome.unwrap_err().to_string();
            assert!(words.starts_with(&format!("At {domain} there are 1000 packages")), "{words}");
        };
        full(store.switch_badges(&by, 1, "a.b/more", false, 7), "a.b");
        let step = store.begin().unwrap();
        full(follow(&step, "a.b/1", "c.d/more"), "c.d");
    }

    #[test]
    fn at_one_domain_there_are_so_many_former_names() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let by = Actor { account: None, login: "ada".to_owned() };
        let insert = "INSERT INTO badges_off (package, is_former) VALUES (?1, 1)";
        let bound = (FORMER_MAX, "former names whose badges are off");
        is_held_at_domain(&mut store, bound, insert, |store, package| {
            let step = store.begin()?;
            step.execute("INSERT INTO badges_off (package) VALUES (?1)", [package])?;
            follow(&step, package, "e.f/now")?;
            Ok(step.commit()?)
        });
        // What is said then works.
        let step = store.begin().unwrap();
        step.execute("INSERT INTO badges_off (package) VALUES ('a.b/x')", []).unwrap();
        let words = follow(&step, "a.b/x", "e.f/x").unwrap_err().to_string();
        assert!(
            words.contains("turn the badges of this one on, give it the other name"),
            "{words}"
        );
        drop(step);
        store.switch_badges(&by, 1, "a.b/x", true, 7).unwrap();
        let step = store.begin().unwrap();
        follow(&step, "a.b/x", "e.f/x").unwrap();
        step.commit().unwrap();
        store.switch_badges(&by, 1, "e.f/x", false, 8).unwrap();
        assert!(!store.has_badges("e.f/x").unwrap());
    }

    #[test]
    fn badges_are_on_until_they_are_turned_off_and_each_change_is_noted_once() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let by = Actor { account: None, login: "ada".to_owned() };
        assert!(store.badges_off().unwrap().is_empty());
        for (is_on, off) in [(false, 1), (false, 1), (true, 0), (true, 0)] {
            store.switch_badges(&by, 1, "a.b/c", is_on, 7).unwrap();
            assert_eq!(store.badges_off().unwrap().len(), off, "{is_on}");
            assert_eq!(store.has_badges("a.b/c").unwrap(), is_on);
        }
        let noted = store.connection.query_row("SELECT count(*) FROM audit", [], |row| row.get(0));
        assert_eq!(noted, Ok(2));
    }
}
