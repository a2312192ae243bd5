//! What somebody changes of their own account: password, second factor, sessions.

use rusqlite::{OptionalExtension as _, Row, params};

use super::audit::{self, Actor, Deed};
use super::store::{Store, StoreError};
use crate::pure::totp;

/// A session as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its number.
    pub id: i64,
    /// The browser's family and system.
    pub browser: String,
    /// When it began.
    pub created_s: i64,
    /// When it was used last, to the minute.
    pub seen_s: i64,
}

impl Store {
    /// An account's sessions, the one used last first.
    pub fn sessions(&self, account: i64) -> Result<Vec<Session>, StoreError> {
        let read = |row: &Row<'_>| {
            let (id, browser) = (row.get(0)?, row.get(1)?);
            Ok(Session { id, browser, created_s: row.get(2)?, seen_s: row.get(3)? })
        };
        let sql = "SELECT id, browser, created_s, seen_s FROM sessions WHERE account = ?1
                   ORDER BY seen_s DESC, id DESC";
        let mut listed = self.connection.prepare_cached(sql)?;
        Ok(listed.query_map([account], read)?.collect::<Result<_, _>>()?)
    }

    /// Gives an account another password, as [`super::hash`] keeps it. Whoever had the one before may have
    /// signed in by it, and have made tokens and invitations: all sessions of the account end but the one
    /// that is `kept`, and so do its tokens and the invitations that nobody has taken.
    pub fn change_password(
        &mut self,
        by: &Actor,
        account: i64,
        password: &str,
        kept: Option<i64>,
        now_s: i64,
    ) -> Result<(), StoreError> {
        let step = self.begin()?;
        let sql = "UPDATE accounts SET password = ?1 WHERE id = ?2";
        if step.execute(sql, params![password, account])? == 0 {
            return Err(StoreError::Absent);
        }
        let sql = "DELETE FROM sessions WHERE account = ?1 AND id IS NOT ?2";
        step.execute(sql, params![account, kept])?;
        step.execute("DELETE FROM tokens WHERE account = ?1", [account])?;
        step.execute("DELETE FROM invitations WHERE account = ?1", [account])?;
        audit::note(&step, by, &of_account("account.password"), now_s)?;
        step.commit()?;
        Ok(())
    }

    /// Whether an account has a second factor.
    pub fn has_second_factor(&self, account: i64) -> Result<bool, StoreError> {
        let sql = "SELECT second_factor IS NOT NULL FROM accounts WHERE id = ?1";
        Ok(self.connection.query_row(sql, [account], |row| row.get(0))?)
    }

    /// Gives an account a second factor of this secret, of which the code of `step` was taken; or takes
    /// it away.
    pub fn set_second_factor(
        &mut self,
        by: &Actor,
        account: i64,
        secret: Option<&[u8]>,
        taken: u64,
        now_s: i64,
    ) -> Result<(), StoreError> {
        let step = self.begin()?;
        let sql = "UPDATE accounts SET second_factor = ?1, second_factor_step = ?2 WHERE id = ?3";
        step.execute(sql, params![secret, i64::try_from(taken).unwrap_or(i64::MAX), account])?;
        let what = match secret {
            Some(_) => "account.second_factor_on",
            None => "account.second_factor_off",
        };
        audit::note(&step, by, &of_account(what), now_s)?;
        step.commit()?;
        Ok(())
    }

    /// Takes a code of an account's second factor, once. Right for who has none, whatever the code.
    pub fn take_code(&mut self, account: i64, code: &str, now_s: i64) -> Result<bool, StoreError> {
        let step = self.begin()?;
        let sql = "SELECT second_factor, second_factor_step FROM accounts WHERE id = ?1";
        let (secret, last) = step
            .query_row(sql, [account], |row| {
                Ok((row.get::<_, Option<Vec<u8>>>(0)?, row.get::<_, i64>(1)?))
            })
            .optional()?
            .ok_or(StoreError::Absent)?;
        let Some(secret) = secret else {
            return Ok(true);
        };
        let (now, last) = (u64::try_from(now_s).unwrap_or(0), u64::try_from(last).unwrap_or(0));
        let Some(taken) = totp::step(&secret, code, now, last) else {
            return Ok(false);
        };
        let sql = "UPDATE accounts SET second_factor_step = ?1 WHERE id = ?2";
        step.execute(sql, params![i64::try_from(taken).unwrap_or(i64::MAX), account])?;
        step.commit()?;
        Ok(true)
    }
}

fn of_account(what: &str) -> Deed<'_> {
    Deed { what, organisation: None, package: None, before: None, after: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::accounts::place::Place;
    use crate::control::accounts::tokens::Wanted;
    use crate::control::tests::scratch;
    use crate::pure::access::Role;

    #[test]
    fn a_new_password_ends_other_sessions_and_a_code_is_taken_once() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let ada = store.set_up("ada", "$hash", "acme", 0).unwrap();
        let by = Actor { account: Some(ada), login: "ada".to_owned() };
        for secret in ["one", "two"] {
            store.open_session(ada, "", secret, "Firefox", 10).unwrap();
        }
        let acme = Place::Organisation(store.owners().unwrap().operator);
        store.invite(&by, None, &acme, Role::Member, "link", 10).unwrap();
        let (label, most) = ("ci".to_owned(), Role::Member);
        let place = acme.clone();
        let wanted = Wanted { label, place, most, expires_s: None, made_with: None };
        store.add_token(&by, &wanted, "token", 10).unwrap();
        let kept = store.sessions(ada).unwrap()[0].id;
        store.change_password(&by, ada, "$other", Some(kept), 11).unwrap();
        assert_eq!(store.sessions(ada).unwrap().len(), 1);
        assert_eq!(store.tokens_of(ada).unwrap(), []);
        assert_eq!(store.invitations(&acme, 11).unwrap(), []);
        assert_eq!(store.credentials("ada").unwrap().unwrap().password, "$other");

        assert!(store.take_code(ada, "", 59).unwrap(), "there is no second factor");
        store.set_second_factor(&by, ada, Some(b"12345678901234567890"), 0, 12).unwrap();
        assert!(store.has_second_factor(ada).unwrap());
        for (code, expected) in [("000000", false), ("287082", true), ("287082", false)] {
            assert_eq!(store.take_code(ada, code, 59).unwrap(), expected, "{code}");
        }
        store.set_second_factor(&by, ada, None, 0, 13).unwrap();
        assert!(!store.has_second_factor(ada).unwrap());
    }
}
