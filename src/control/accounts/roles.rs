//! Who has which role where.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;

use super::audit::{self, Actor, Deed};
use super::people::{put_member, role};
use super::place::Place;
use super::room;
use super::store::{Store, StoreError};
use crate::pure::access::Role;

/// Somebody who has a role somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The account.
    pub account: i64,
    /// What they sign in with.
    pub login: String,
    /// What they are there.
    pub role: Role,
}

impl Store {
    /// Who has a role there itself, by name. Who has one on a package through its organisation is not
    /// among the package's.
    pub fn members(&self, place: &Place) -> Result<Vec<Member>, StoreError> {
        let read = |row: &Row<'_>| {
            Ok(Member { account: row.get(0)?, login: row.get(1)?, role: role(row, 2)? })
        };
        let members = match place {
            Place::Organisation(id) => self
                .connection
                .prepare_cached(
                    "SELECT id, login, role FROM members JOIN accounts ON id = account
                     WHERE organisation = ?1 ORDER BY login",
                )?
                .query_map([id], read)?
                .collect::<Result<_, _>>()?,
            Place::Package { name, .. } => self
                .connection
                .prepare_cached(
                    "SELECT id, login, role FROM package_members JOIN accounts ON id = account
                     WHERE package = ?1 ORDER BY login",
                )?
                .query_map([name], read)?
                .collect::<Result<_, _>>()?,
        };
        Ok(members)
    }

    /// Gives who has a role there another one.
    ///
    /// # Errors
    /// [`StoreError::Absent`] for who has none; [`StoreError::Refused`] for an organisation's last admin.
    pub fn change_role(
        &mut self,
        by: &Actor,
        place: &Place,
        account: i64,
        to: Role,
        now_s: i64,
    ) -> Result<(), StoreError> {
        let step = self.begin()?;
        let (login, from) = held(&step, place, account)?.ok_or(StoreError::Absent)?;
        put_role(&step, place, account, to)?;
        has_an_admin(&step, place)?;
        let show = |role: Role| Some(json!({ "login": login, "role": role.word() }));
        let deed = Deed { before: show(from), after: show(to), ..Deed::at(place, "member.change") };
        audit::note(&step, by, &deed, now_s)?;
        step.commit()?;
        Ok(())
    }

    /// Takes somebody's role there away.
    ///
    /// # Errors
    /// As [`Store::change_role`].
    pub fn remove_member(
        &mut self,
        by: &Actor,
        place: &Place,
        account: i64,
        now_s: i64,
    ) -> Result<(), StoreError> {
        let step = self.begin()?;
        let (login, from) = held(&step, place, account)?.ok_or(StoreError::Absent)?;
        match place {
            Place::Organisation(id) => {
                let sql = "DELETE FROM members WHERE account = ?1 AND organisation = ?2";
                step.execute(sql, params![account, id])?;
            }
            Place::Package { name, .. } => {
                let sql = "DELETE FROM package_members WHERE account = ?1 AND package = ?2";
                step.execute(sql, params![account, name])?;
            }
        }
        has_an_admin(&step, place)?;
        let before = Some(json!({ "login": login, "role": from.word() }));
        audit::note(&step, by, &Deed { before, ..Deed::at(place, "member.remove") }, now_s)?;
        step.commit()?;
        Ok(())
    }
}

/// Gives a role, at least: who has a higher one there keeps it. Says so in the audit log. To be called in
/// a transaction.
pub(super) fn grant(
    step: &Connection,
    by: &Actor,
    place: &Place,
    account: i64,
    to: Role,
    now_s: i64,
) -> Result<(), StoreError> {
    let before = held(step, place, account)?.map(|(_, role)| role);
    let to = before.map_or(to, |before| before.max(to));
    put_role(step, place, account, to)?;
    if let Some(package) = place.package() {
        let bound =
            (AT_DOMAIN_MAX, "roles on single packages", "have an admin take some away first");
        room::at_domain(step, "package_members", package, bound)?;
    }
    let sql = "SELECT login FROM accounts WHERE id = ?1";
    let login: String = step.query_row(sql, [account], |row| row.get(0))?;
    let show = |role: Role| json!({ "login": login, "role": role.word() });
    let (before, after) = (before.map(show), Some(show(to)));
    audit::note(step, by, &Deed { before, after, ..Deed::at(place, "member.add") }, now_s)
}

fn put_role(step: &Connection, place: &Place, account: i64, to: Role) -> Result<(), StoreError> {
    match place {
        Place::Organisation(id) => put_member(step, account, *id, to),
        Place::Package { name, .. } => {
            step.execute(
                "INSERT INTO package_members (account, package, role) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO UPDATE SET role = excluded.role",
                params![account, name, to.word()],
            )?;
            Ok(())
        }
    }
}

fn held(
    step: &Connection,
    place: &Place,
    account: i64,
) -> Result<Option<(String, Role)>, StoreError> {
    let read = |row: &Row<'_>| Ok((row.get(0)?, role(row, 1)?));
    let found = match place {
        Place::Organisation(organisation) => step.query_row(
            "SELECT login, role FROM members JOIN accounts ON id = account
             WHERE account = ?1 AND organisation = ?2",
            params![account, organisation],
            read,
        ),
        Place::Package { name, .. } => step.query_row(
            "SELECT login, role FROM package_members JOIN accounts ON id = account
             WHERE account = ?1 AND package = ?2",
            params![account, name],
            read,
        ),
    };
    Ok(found.optional()?)
}

/// An organisation without an admin could never get one again. A package has its organisation's.
fn has_an_admin(step: &Connection, place: &Place) -> Result<(), StoreError> {
    let Place::Organisation(id) = place else {
        return Ok(());
    };
    let sql = "SELECT EXISTS (SELECT 1 FROM members WHERE organisation = ?1 AND role = 'admin')";
    match step.query_row(sql, [id], |row| row.get(0))? {
        true => Ok(()),
        false => Err(StoreError::Refused(
            "This is the organisation's last admin: make somebody else one first.".to_owned(),
        )),
    }
}

/// Roles on single packages at one domain: each name below a collection may have some.
const AT_DOMAIN_MAX: i64 = 5000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::accounts::people::add_account;
    use crate::control::accounts::room::tests::is_held_at_domain;
    use crate::control::tests::scratch;

    #[test]
    fn at_one_domain_there_are_so_many() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let ada = store.set_up("ada", "$hash", "acme", 0).unwrap();
        let by = Actor { account: Some(ada), login: "ada".to_owned() };
        let give = |store: &mut Store, package: &str, role| {
            let step = store.begin().unwrap();
            grant(&step, &by, &Place::new(1, Some(package.to_owned())), ada, role, 1)?;
            step.commit().unwrap();
            Ok(())
        };
        let insert =
            "INSERT INTO package_members (account, package, role) VALUES (1, ?1, 'member')";
        let bound = (AT_DOMAIN_MAX, "roles on single packages");
        is_held_at_domain(&mut store, bound, insert, |store, package| {
            give(store, package, Role::Member)
        });
        give(&mut store, "a.b/last", Role::Admin).unwrap();
        let last = Place::new(1, Some("a.b/last".to_owned()));
        store.remove_member(&by, &last, ada, 2).unwrap();
        give(&mut store, "a.b/more", Role::Member).unwrap();
    }

    #[test]
    fn roles_change_and_the_last_admin_stays() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let ada = store.set_up("ada", "$hash", "acme", 0).unwrap();
        let by = Actor { account: Some(ada), login: "ada".to_owned() };
        let acme = Place::Organisation(store.owners().unwrap().operator);
        let rocket =
            Place::Package { name: "a.b/acme/rocket".to_owned(), owner: acme.organisation() };
        let bob = add_account(&store.connection, "bob", "$hash", 0).unwrap();
        for place in [&acme, &rocket] {
            let absent = store.change_role(&by, place, bob, Role::Admin, 1);
            assert!(matches!(absent, Err(StoreError::Absent)), "{place}: {absent:?}");
            let absent = store.remove_member(&by, place, bob, 1);
            assert!(matches!(absent, Err(StoreError::Absent)), "{place}: {absent:?}");
        }
        for outcome in [
            store.change_role(&by, &acme, ada, Role::Member, 1),
            store.remove_member(&by, &acme, ada, 1),
        ] {
            let Err(StoreError::Refused(words)) = outcome else { panic!("{outcome:?}") };
            assert!(words.contains("last admin"), "{words}");
        }
        for place in [&acme, &rocket] {
            let step = store.begin().unwrap();
            grant(&step, &by, place, bob, Role::Admin, 2).unwrap();
            // An invitation to less takes nothing away.
            grant(&step, &by, place, bob, Role::Member, 2).unwrap();
            step.commit().unwrap();
            let bob_there = Member { account: bob, login: "bob".to_owned(), role: Role::Admin };
            assert!(store.members(place).unwrap().contains(&bob_there), "{place}");
        }
        store.remove_member(&by, &acme, ada, 3).unwrap();
        store.remove_member(&by, &rocket, bob, 3).unwrap();
        assert_eq!(store.members(&acme).unwrap().len(), 1);
        assert_eq!(store.members(&rocket).unwrap(), []);
        assert_eq!(store.grants(ada).unwrap(), Default::default());
    }
}
