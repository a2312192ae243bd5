//! Invitations: a link that gives whoever opens it a role, once, for a week.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;

use super::audit::{self, Actor, Deed};
use super::people::{add_account, role};
use super::place::Place;
use super::roles::grant;
use super::room;
use super::sessions::MadeWith;
use super::store::{Store, StoreError};
use crate::pure::access::{Action, Object, Role};
use crate::pure::route::table::Table;
use crate::pure::secret;

/// An invitation that nobody has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// Its number.
    pub id: i64,
    /// What it gives.
    pub role: Role,
    /// Who invites.
    pub by: String,
    /// Until when it can be taken.
    pub expires_s: i64,
}

/// What somebody is invited to.
#[derive(Clone, Debug)]
pub struct Invited {
    /// Where.
    pub place: Place,
    /// The organisation's name.
    pub organisation: String,
    /// As what.
    pub role: Role,
    /// Who invites.
    pub by: String,
    id: i64,
    inviter: i64,
}

/// Who takes an invitation.
pub enum Guest {
    /// This account.
    Known(i64),
    /// Somebody new, with the password as [`super::hash`] keeps it.
    New {
        /// What they will sign in with.
        login: String,
        /// The password.
        password: String,
    },
}

impl Store {
    /// Invites whoever has the secret with this text. What a token invites to ends with it.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where too many are open.
    pub fn invite(
        &mut self,
        by: &Actor,
        made_with: Option<MadeWith>,
        place: &Place,
        to: Role,
        secret_text: &str,
        now_s: i64,
    ) -> Result<(), StoreError> {
        let step = self.begin()?;
        step.execute("DELETE FROM invitations WHERE expires_s <= ?1", [now_s])?;
        step.execute(
            "INSERT INTO invitations
                 (secret, organisation, package, role, account, created_s, expires_s, made_with)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                secret::kept(secret_text),
                place.organisation(),
                place.package(),
                to.word(),
                by.account,
                now_s,
                MadeWith::until(made_with, Some(now_s + LIFE_S)),
                made_with.map(|with| with.token)
            ],
        )?;
        let (owner, open, first) =
            (place.organisation(), "open invitations", "withdraw some first");
        let bound =
            (OPEN_OF_ONE_MAX, "Of one account, to an organisation and its packages,", open, first);
        let rows = "invitations WHERE organisation = ?1 AND account IS ?2";
        room::has(&step, rows, params![owner, by.account], bound)?;
        let bound = (OPEN_MAX, "To an organisation and its packages", open, first);
        room::has(&step, "invitations WHERE organisation = ?1", [owner], bound)?;
        note(&step, by, place, "invitation.make", to, now_s)?;
        step.commit()?;
        Ok(())
    }

    /// Those to this place that can still be taken, the newest first.
    pub fn invitations(&self, place: &Place, now_s: i64) -> Result<Vec<Invitation>, StoreError> {
        let read = |row: &Row<'_>| {
            let (id, by, expires_s) = (row.get(0)?, row.get(2)?, row.get(3)?);
            Ok(Invitation { id, role: role(row, 1)?, by, expires_s })
        };
        let found = self
            .connection
            .prepare_cached(
                "SELECT invitations.id, role, login, expires_s
                 FROM invitations JOIN accounts ON accounts.id = account
                 WHERE organisation = ?1 AND package IS ?2 AND expires_s > ?3
                 ORDER BY invitations.id DESC",
            )?
            .query_map(params![place.organisation(), place.package(), now_s], read)?
            .collect::<Result<_, _>>()?;
        Ok(found)
    }

    /// Takes back an invitation to this place.
    ///
    /// # Errors
    /// [`StoreError::Absent`] also for one to another.
    pub fn withdraw(
        &mut self,
        by: &Actor,
        place: &Place,
        id: i64,
        now_s: i64,
    ) -> Result<(), StoreError> {
        let step = self.begin()?;
        let to = step
            .query_row(
                "DELETE FROM invitations WHERE id = ?1 AND organisation = ?2 AND package IS ?3
                 RETURNING role",
                params![id, place.organisation(), place.package()],
                |row| role(row, 0),
            )
            .optional()?
            .ok_or(StoreError::Absent)?;
        note(&step, by, place, "invitation.withdraw", to, now_s)?;
        step.commit()?;
        Ok(())
    }

    /// What the secret with this text invites to, packages being served by the rules of `routes`.
    ///
    /// # Errors
    /// [`StoreError::Absent`] for one that is none, was taken or withdrawn, is too old, or is of
    /// somebody who may not invite there any more.
    pub fn invited(
        &self,
        secret_text: &str,
        routes: &Table,
        now_s: i64,
    ) -> Result<Invited, StoreError> {
        let read = |row: &Row<'_>| {
            let place = Place::new(row.get(1)?, row.get(2)?);
            let (organisation, by, inviter) = (row.get(4)?, row.get(5)?, row.get(6)?);
            Ok(Invited { place, organisation, role: role(row, 3)?, by, id: row.get(0)?, inviter })
        };
        let invited = self
            .connection
            .query_row(
                "SELECT invitations.id, organisation, package, role, name, login, accounts.id
                 FROM invitations
                     JOIN accounts ON accounts.id = account
                     JOIN organisations ON organisations.id = organisation
                 WHERE secret = ?1 AND expires_s > ?2",
                params![secret::kept(secret_text), now_s],
                read,
            )
            .optional()?
            .ok_or(StoreError::Absent)?;
        // Whose the package is by now counts, not whose it was.
        let owners = self.owners()?;
        let object = match &invited.place {
            Place::Organisation(id) => Object::Organisation(*id),
            Place::Package { name, .. } => owners.package(name, routes.serving(name), false),
        };
        match self.grants(invited.inviter)?.may(Action::Grant, object) {
            true => Ok(invited),
            false => Err(StoreError::Absent),
        }
    }

    /// Gives `guest` what they are invited to; says which account that is, and what it was.
    ///
    /// # Errors
    /// As [`Store::invited`]; [`StoreError::Taken`] for a name that is taken.
    pub fn accept(
        &mut self,
        secret_text: &str,
        guest: Guest,
        routes: &Table,
        now_s: i64,
    ) -> Result<(i64, Invited), StoreError> {
        let invited = self.invited(secret_text, routes, now_s)?;
        let step = self.begin()?;
        let account = match guest {
            Guest::Known(account) => account,
            Guest::New { login, password } => add_account(&step, &login, &password, now_s)?,
        };
        step.execute("DELETE FROM invitations WHERE id = ?1", [invited.id])?;
        let sql = "SELECT login FROM accounts WHERE id = ?1";
        let login = step.query_row(sql, [account], |row| row.get(0))?;
        let by = Actor { account: Some(account), login };
        grant(&step, &by, &invited.place, account, invited.role, now_s)?;
        step.commit()?;
        Ok((account, invited))
    }
}

fn note(
    step: &Connection,
    by: &Actor,
    place: &Place,
    what: &str,
    to: Role,
    now_s: i64,
) -> Result<(), StoreError> {
    let after = Some(json!({ "role": to.word() }));
    let deed = Deed { after, ..Deed::at(place, what) };
    audit::note(step, by, &deed, now_s)
}

/// How long one can be taken: a week.
const LIFE_S: i64 = 7 * 24 * 3600;
/// Invitations to an organisation and its packages that nobody has taken; and those that one account has made, so
/// that who is an admin of one package takes nobody else's room.
const OPEN_MAX: i64 = 1000;
const OPEN_OF_ONE_MAX: i64 = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::scratch;

    fn new(login: &str) -> Guest {
        Guest::New { login: login.to_owned(), password: "$hash".to_owned() }
    }

    #[test]
    fn an_invitation_is_taken_once_and_in_time_by_anybody() {
        let (dir, routes) = (scratch(), Table::build(&[], &[]));
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let ada = store.set_up("ada", "$hash", "acme", 0).unwrap();
        let by = Actor { account: Some(ada), login: "ada".to_owned() };
        let owner = store.owners().unwrap().operator;
        let acme = Place::Organisation(owner);
        let rocket = Place::Package { name: "a.b/acme/rocket".to_owned(), owner };
        store.invite(&by, None, &acme, Role::Admin, "one", 0).unwrap();
        store.invite(&by, None, &rocket, Role::Member, "two", 0).unwrap();
        assert_eq!(store.invitations(&acme, 0).unwrap().len(), 1);
        for (secret, now_s) in [("three", 0), ("one", LIFE_S)] {
            let outcome = store.accept(secret, new("bob"), &routes, now_s);
            assert!(matches!(outcome, Err(StoreError::Absent)), "{secret}: {outcome:?}");
        }
        let outcome = store.accept("one", new("ada"), &routes, 1);
        assert!(matches!(outcome, Err(StoreError::Taken(..))), "{outcome:?}");
        let (bob, _) = store.accept("one", new("bob"), &routes, 1).unwrap();
        assert_eq!(
            store.grants(bob).unwrap().role(Object::Organisation(acme.organisation())),
            Some(Role::Admin)
        );
        assert!(matches!(store.accept("one", new("eve"), &routes, 1), Err(StoreError::Absent)));
        let (account, invited) = store.accept("two", Guest::Known(bob), &routes, 1).unwrap();
        assert_eq!((account, &invited.place, &*invited.by), (bob, &rocket, "ada"));
        assert_eq!(store.members(&rocket).unwrap().len(), 1);
    }

    #[test]
    fn so_many_are_open_of_one_and_of_all() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        store.set_up("p1", "$hash", "acme", 0).unwrap();
        for number in 2..=6 {
            let (login, organisation) = (format!("p{number}"), format!("o{number}"));
            store.sign_up(&login, "$hash", &organisation, 0).unwrap();
        }
        let owner = store.owners().unwrap().operator;
        let mut invite = |account, number: i64, now_s| {
            let by = Actor { account: Some(account), login: "ada".to_owned() };
            // Anybody invents names below a collection.
            let place = Place::new(owner, Some(format!("a.b/acme/{number}")));
            let secret = format!("{account} {number} {now_s}");
            store.invite(&by, None, &place, Role::Member, &secret, now_s)
        };
        for account in 1..=OPEN_MAX / OPEN_OF_ONE_MAX {
            for number in 0..OPEN_OF_ONE_MAX {
                invite(account, number, 0).unwrap();
            }
            let more = invite(account, OPEN_OF_ONE_MAX, 1);
            let words = "Of one account, to an organisation and its packages, there are 200 open";
            assert!(more.unwrap_err().to_string().starts_with(words));
        }
        let more = invite(6, 0, 1).unwrap_err().to_string();
        assert!(more.starts_with("To an organisation and its packages there are 1000"), "{more}");
        invite(1, 0, LIFE_S).unwrap();
    }

    #[test]
    fn who_may_not_invite_any_more_has_invited_nobody() {
        let (dir, routes) = (scratch(), Table::build(&[], &[]));
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let ada = store.set_up("ada", "$hash", "acme", 0).unwrap();
        let by_ada = Actor { account: Some(ada), login: "ada".to_owned() };
        let acme = Place::Organisation(store.owners().unwrap().operator);
        store.invite(&by_ada, None, &acme, Role::Admin, "one", 0).unwrap();
        let (bob, _) = store.accept("one", new("bob"), &routes, 0).unwrap();
        let by_bob = Actor { account: Some(bob), login: "bob".to_owned() };
        store.invite(&by_bob, None, &acme, Role::Admin, "two", 0).unwrap();
        store.change_role(&by_ada, &acme, bob, Role::Member, 0).unwrap();
        assert!(matches!(store.accept("two", new("eve"), &routes, 0), Err(StoreError::Absent)));
        // And what is withdrawn is gone; another place's cannot be.
        store.invite(&by_ada, None, &acme, Role::Member, "three", 0).unwrap();
        let id = store.invitations(&acme, 0).unwrap()[0].id;
        let elsewhere = Place::Organisation(acme.organisation() + 1);
        assert!(matches!(store.withdraw(&by_ada, &elsewhere, id, 0), Err(StoreError::Absent)));
        store.withdraw(&by_ada, &acme, id, 0).unwrap();
        assert!(matches!(store.accept("three", new("eve"), &routes, 0), Err(StoreError::Absent)));
    }
}
