//! API tokens: what programs come with in an account's name, for one organisation or one package of it.

use rusqlite::{OptionalExtension as _, Row, params};
use serde_json::json;

use super::audit::{self, Actor, Deed};
use super::people::role;
use super::place::Place;
use super::room;
use super::sessions::{By, Known, MadeWith, Who};
use super::store::{Store, StoreError};
use crate::pure::access::{Reach, Role};
use crate::pure::secret;

/// What a token is to be.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// What it is for.
    pub label: String,
    /// Where it reaches.
    pub place: Place,
    /// The most that it may be there.
    pub most: Role,
    /// When it ends, where it does.
    pub expires_s: Option<i64>,
    /// The token that it is made with, where it is not its owner who makes it.
    pub made_with: Option<MadeWith>,
}

/// A token as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its number.
    pub id: i64,
    /// Whose it is.
    pub login: String,
    /// What it is for.
    pub label: String,
    /// The organisation that it reaches.
    pub organisation: String,
    /// Where it reaches.
    pub place: Place,
    /// The most that it may be there.
    pub most: Role,
    /// When it was made.
    pub created_s: i64,
    /// When it ends, where it does.
    pub expires_s: Option<i64>,
    /// When it was used last, to the minute.
    pub seen_s: Option<i64>,
}

impl Store {
    /// Makes a token that the secret with this text stands for; says its number. Whether its account may
    /// have it is the caller's question; what it may later is asked at each use. Those that have ended go.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where the account has as many as it may.
    pub fn add_token(
        &mut self,
        by: &Actor,
        wanted: &Wanted,
        secret_text: &str,
        now_s: i64,
    ) -> Result<i64, StoreError> {
        let Wanted { label, place, most, expires_s, made_with } = wanted;
        let expires_s = MadeWith::until(*made_with, *expires_s);
        let step = self.begin()?;
        step.execute("DELETE FROM tokens WHERE expires_s <= ?1", [now_s])?;
        step.execute(
            "INSERT INTO tokens
                 (account, label, secret, organisation, package, role, created_s, expires_s, made_with)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                by.account,
                label,
                secret::kept(secret_text),
                place.organisation(),
                place.package(),
                most.word(),
                now_s,
                expires_s,
                made_with.map(|with| with.token)
            ],
        )?;
        let id = step.last_insert_rowid();
        let bound = (TOKENS_MAX, "Of one account", "API tokens", "revoke one first");
        room::has(&step, "tokens WHERE account = ?1", [by.account], bound)?;
        let after = json!({ "label": label, "role": most.word(), "expires_s": expires_s });
        let deed = Deed { after: Some(after), ..Deed::at(place, "token.make") };
        audit::note(&step, by, &deed, now_s)?;
        step.commit()?;
        Ok(id)
    }

    /// An account's tokens, the newest first.
    pub fn tokens_of(&self, account: i64) -> Result<Vec<Token>, StoreError> {
        let sql = format!("{LISTED} WHERE tokens.account = ?1 ORDER BY tokens.id DESC");
        let mut listed = self.connection.prepare_cached(&sql)?;
        Ok(listed.query_map([account], token)?.collect::<Result<_, _>>()?)
    }

    /// All accounts' tokens that reach just this place, the newest first.
    pub fn tokens_at(&self, place: &Place) -> Result<Vec<Token>, StoreError> {
        let sql = format!(
            "{LISTED} WHERE tokens.organisation = ?1 AND tokens.package IS ?2
             ORDER BY tokens.id DESC"
        );
        let mut listed = self.connection.prepare_cached(&sql)?;
        let of = params![place.organisation(), place.package()];
        Ok(listed.query_map(of, token)?.collect::<Result<_, _>>()?)
    }

    /// Ends a token of who asks.
    ///
    /// # Errors
    /// [`StoreError::Absent`] also for another's.
    pub fn revoke_own_token(&mut self, by: &Actor, id: i64, now_s: i64) -> Result<(), StoreError> {
        self.revoke(by, id, now_s, |account, _| Some(account) == by.account)
    }

    /// Ends anybody's token that reaches just this place.
    ///
    /// # Errors
    /// [`StoreError::Absent`] also for one that reaches elsewhere.
    pub fn revoke_token_at(
        &mut self,
        by: &Actor,
        place: &Place,
        id: i64,
        now_s: i64,
    ) -> Result<(), StoreError> {
        self.revoke(by, id, now_s, |_, reached| reached == place)
    }

    fn revoke(
        &mut self,
        by: &Actor,
        id: i64,
        now_s: i64,
        is_meant: impl FnOnce(i64, &Place) -> bool,
    ) -> Result<(), StoreError> {
        let step = self.begin()?;
        let sql =
            "DELETE FROM tokens WHERE id = ?1 RETURNING account, label, organisation, package";
        let read = |row: &Row<'_>| {
            let place = Place::new(row.get(2)?, row.get(3)?);
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, place))
        };
        let found = step.query_row(sql, [id], read).optional()?;
        // A step that is not committed has not been.
        let (_, label, place) = found
            .filter(|(account, _, place)| is_meant(*account, place))
            .ok_or(StoreError::Absent)?;
        let before = Some(json!({ "label": label }));
        let deed = Deed { before, ..Deed::at(&place, "token.revoke") };
        audit::note(&step, by, &deed, now_s)?;
        step.commit()?;
        Ok(())
    }

    /// Who comes with the token of this text, and what they may by it.
    ///
    /// # Errors
    /// [`StoreError::Absent`] for one that is none, has ended, or was revoked.
    pub fn by_token(&mut self, secret_text: &str, now_s: i64) -> Result<Known, StoreError> {
        let (id, account, login, reach, seen_s, expires_s) = self
            .connection
            .prepare_cached(
                "SELECT tokens.id, accounts.id, login, organisation, package, role, seen_s, expires_s
                 FROM tokens JOIN accounts ON accounts.id = tokens.account
                 WHERE secret = ?1 AND (expires_s IS NULL OR expires_s > ?2)",
            )?
            .query_row(params![secret::kept(secret_text), now_s], |row| {
                let (organisation, package) = (row.get(3)?, row.get(4)?);
                let reach = Reach { organisation, package, most: role(row, 5)? };
                let seen_s = row.get::<_, Option<i64>>(6)?;
                let id = row.get::<_, i64>(0)?;
                Ok((id, row.get(1)?, row.get(2)?, reach, seen_s, row.get(7)?))
            })
            .optional()?
            .ok_or(StoreError::Absent)?;
        if seen_s.is_none_or(|seen_s| now_s - seen_s >= SEEN_EVERY_S) {
            self.saw("tokens", id, now_s);
        }
        let mut grants = self.grants(account)?;
        let who = Who { account, login, by: By::Token { id, most: reach.most, expires_s } };
        grants.reach = Some(reach);
        Ok(Known { who, grants, owners: self.owners()? })
    }
}

fn token(row: &Row<'_>) -> rusqlite::Result<Token> {
    Ok(Token {
        id: row.get(0)?,
        login: row.get(1)?,
        label: row.get(2)?,
        organisation: row.get(3)?,
        place: Place::new(row.get(9)?, row.get(4)?),
        most: role(row, 5)?,
        created_s: row.get(6)?,
        expires_s: row.get(7)?,
        seen_s: row.get(8)?,
    })
}

const LISTED: &str = "SELECT tokens.id, login, label, name, package, role, tokens.created_s,
                             expires_s, seen_s, organisation
                      FROM tokens
                          JOIN accounts ON accounts.id = tokens.account
                          JOIN organisations ON organisations.id = tokens.organisation";
const SEEN_EVERY_S: i64 = 60;
/// API tokens of one account.
const TOKENS_MAX: i64 = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::scratch;
    use crate::pure::access::{Action, Object};

    #[test]
    fn a_token_gives_what_its_account_has_and_no_more() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let ada = store.set_up("ada", "$hash", "acme", 0).unwrap();
        let by = Actor { account: Some(ada), login: "ada".to_owned() };
        let acme = Place::Organisation(store.owners().unwrap().operator);
        let wanted = Wanted {
            label: "report".to_owned(),
            place: acme.clone(),
            most: Role::Member,
            expires_s: Some(100),
            made_with: None,
        };
        let id = store.add_token(&by, &wanted, "one", 0).unwrap();
        let known = store.by_token("one", 99).unwrap();
        let object = Object::Organisation(acme.organisation());
        assert!(known.grants.may(Action::See, object));
        assert!(!known.grants.may(Action::Configure, object));
        for (text, now_s) in [("two", 0), ("one", 100)] {
            assert!(matches!(store.by_token(text, now_s), Err(StoreError::Absent)), "{text}");
        }
        let eve = Actor { account: Some(ada + 1), login: "eve".to_owned() };
        let elsewhere = Place::Organisation(acme.organisation() + 1);
        assert!(matches!(store.revoke_own_token(&eve, id, 1), Err(StoreError::Absent)));
        assert!(matches!(store.revoke_token_at(&by, &elsewhere, id, 1), Err(StoreError::Absent)));
        assert_eq!(store.tokens_of(ada).unwrap()[0].seen_s, Some(99));
        assert_eq!(store.grants_of(&known.who, 99).unwrap(), known.grants, "no further either");
        assert!(matches!(store.grants_of(&known.who, 100), Err(StoreError::Forbidden)));
        store.revoke_own_token(&by, id, 1).unwrap();
        assert!(matches!(store.by_token("one", 1), Err(StoreError::Absent)));
        assert!(matches!(store.grants_of(&known.who, 1), Err(StoreError::Forbidden)));
        let id = store.add_token(&by, &wanted, "three", 0).unwrap();
        assert_eq!(store.tokens_at(&acme).unwrap().len(), 1);
        store.revoke_token_at(&by, &acme, id, 1).unwrap();
        assert_eq!(store.tokens_at(&acme).unwrap(), []);
    }

    #[test]
    fn an_account_has_so_many_and_those_that_have_ended_go() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let ada = store.set_up("ada", "$hash", "acme", 0).unwrap();
        let eve = store.sign_up("eve", "$hash", "moon", 0).unwrap();
        let place = Place::Organisation(store.owners().unwrap().operator);
        let mut add = |account, text: &str, expires_s, now_s| {
            let by = Actor { account: Some(account), login: "ada".to_owned() };
            let (label, place) = ("ci".to_owned(), place.clone());
            let most = Role::Member;
            let wanted = Wanted { label, place, most, expires_s, made_with: None };
            store.add_token(&by, &wanted, text, now_s)
        };
        for number in 0..TOKENS_MAX {
            let expires_s = (number == 7).then_some(100);
            add(ada, &number.to_string(), expires_s, 0).unwrap();
        }
        let more = add(ada, "more", None, 99);
        let words = "Of one account there are 50 API tokens already, the most there can be: revoke";
        assert!(more.unwrap_err().to_string().starts_with(words));
        add(eve, "another's", None, 99).unwrap();
        add(ada, "more", None, 100).unwrap();
        let listed = store.tokens_of(ada).unwrap();
        assert!(listed.len() == 50 && listed.iter().all(|one| one.expires_s.is_none()));
    }

    #[test]
    fn what_is_made_with_a_token_ends_with_it_and_is_no_longer() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let ada = store.set_up("ada", "$hash", "acme", 0).unwrap();
        let by = Actor { account: Some(ada), login: "ada".to_owned() };
        let acme = Place::Organisation(store.owners().unwrap().operator);
        let wanted = |expires_s, made_with| Wanted {
            label: "report".to_owned(),
            place: acme.clone(),
            most: Role::Admin,
            expires_s,
            made_with,
        };
        store.add_token(&by, &wanted(Some(100), None), "one", 0).unwrap();
        let with = |store: &mut Store, text| store.by_token(text, 1).unwrap().who.made_with();
        let first = with(&mut store, "one");
        store.add_token(&by, &wanted(None, first), "two", 0).unwrap();
        let second = with(&mut store, "two");
        store.add_token(&by, &wanted(Some(500), second), "three", 0).unwrap();
        store.invite(&by, first, &acme, Role::Admin, "link", 0).unwrap();
        assert!(store.tokens_of(ada).unwrap().iter().all(|one| one.expires_s == Some(100)));
        assert_eq!(store.invitations(&acme, 0).unwrap()[0].expires_s, 100);
        store.revoke_own_token(&by, first.unwrap().token, 1).unwrap();
        assert_eq!(store.tokens_of(ada).unwrap(), []);
        assert_eq!(store.invitations(&acme, 0).unwrap(), []);
    }
}
