//! Who is signed in, and on which browsers.

use rusqlite::{OptionalExtension as _, Row, params};

use super::audit::Actor;
use super::people::{Owners, role};
use super::store::{Store, StoreError};
use crate::pure::access::{Grants, Reach, Role};
use crate::pure::secret;

/// Somebody who is known.
#[derive(Clone, Debug)]
pub struct Who {
    /// The account's number.
    pub account: i64,
    /// What they sign in with.
    pub login: String,
    /// What they came by.
    pub by: By,
}

/// Somebody who is known, and all that they may.
#[derive(Clone, Debug)]
pub struct Known {
    /// Who.
    pub who: Who,
    /// What they may.
    pub grants: Grants,
    /// Whose domains are.
    pub owners: Owners,
}

/// What somebody is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A session of this number.
    Session(i64),
    /// An API token.
    Token {
        /// Its number.
        id: i64,
        /// The most that it may be.
        most: Role,
        /// When it ends, where it does.
        expires_s: Option<i64>,
    },
}

/// A token that something is made with: what is made ends with it, and lasts no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MadeWith {
    /// The token's number.
    pub token: i64,
    /// When it ends, where it does.
    pub expires_s: Option<i64>,
}

impl MadeWith {
    /// Until when something lasts that is made with a token, or with none, and wanted to end at
    /// `expires_s`.
    pub fn until(made_with: Option<Self>, expires_s: Option<i64>) -> Option<i64> {
        let own = made_with.and_then(|token| token.expires_s);
        [expires_s, own].into_iter().flatten().min()
    }
}

impl Who {
    /// The token that they came by.
    pub fn made_with(&self) -> Option<MadeWith> {
        match self.by {
            By::Session(_) => None,
            By::Token { id: token, expires_s, .. } => Some(MadeWith { token, expires_s }),
        }
    }

    /// As the audit log names them. Others have it of a [`Right`](super::rights::Right).
    pub(super) fn actor(&self) -> Actor {
        Actor { account: Some(self.account), login: self.login.clone() }
    }
}

impl Store {
    /// Begins a session that the secret with this text stands for. One that stood for the browser
    /// `before` ends, and so do those of the account that were used least lately, where it has many.
    pub fn open_session(
        &mut self,
        account: i64,
        before: &str,
        secret_text: &str,
        browser: &str,
        now_s: i64,
    ) -> Result<(), StoreError> {
        let step = self.begin()?;
        step.execute(
            "DELETE FROM sessions WHERE secret = ?1 OR seen_s <= ?2 OR created_s <= ?3",
            params![secret::kept(before), now_s - IDLE_MAX_S, now_s - AGE_MAX_S],
        )?;
        step.execute(
            "INSERT INTO sessions (account, secret, browser, created_s, seen_s)
             VALUES (?1, ?2, ?3, ?4, ?4)",
            params![account, secret::kept(secret_text), browser, now_s],
        )?;
        // The new one is the last, whatever the clock says of others.
        step.execute(
            "DELETE FROM sessions WHERE account = ?1 AND id <> last_insert_rowid() AND id NOT IN
                 (SELECT id FROM sessions WHERE account = ?1 AND id <> last_insert_rowid()
                  ORDER BY seen_s DESC, id DESC LIMIT ?2)",
            params![account, SESSIONS_MAX - 1],
        )?;
        step.commit()?;
        Ok(())
    }

    /// Who the secret with this text stands for, and that they were here.
    ///
    /// # Errors
    /// [`StoreError::Absent`] for a session that is none, is over, or was ended.
    pub fn by_session(&mut self, secret_text: &str, now_s: i64) -> Result<Known, StoreError> {
        let (session, account, login, seen_s) = self
            .connection
            .prepare_cached(
                "SELECT sessions.id, accounts.id, login, seen_s
                 FROM sessions JOIN accounts ON accounts.id = sessions.account
                 WHERE secret = ?1 AND seen_s > ?2 AND sessions.created_s > ?3",
            )?
            .query_row(
                params![secret::kept(secret_text), now_s - IDLE_MAX_S, now_s - AGE_MAX_S],
                |row| Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, row.get::<_, i64>(3)?)),
            )
            .optional()?
            .ok_or(StoreError::Absent)?;
        // To the minute is near enough, and spares a write for each page.
        if now_s - seen_s >= SEEN_EVERY_S {
            self.saw("sessions", session, now_s);
        }
        Ok(Known {
            who: Who { account, login, by: By::Session(session) },
            grants: self.grants(account)?,
            owners: self.owners()?,
        })
    }

    /// All that somebody may now who was known before, by what they were known by then: for what is done
    /// later than it was asked for.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`] where their session or token has ended meanwhile.
    pub fn grants_of(&self, who: &Who, now_s: i64) -> Result<Grants, StoreError> {
        let reach = match who.by {
            By::Session(id) => {
                let sql = "SELECT 1 FROM sessions
                           WHERE id = ?1 AND account = ?2 AND seen_s > ?3 AND created_s > ?4";
                let times = (now_s - IDLE_MAX_S, now_s - AGE_MAX_S);
                let of = params![id, who.account, times.0, times.1];
                self.connection.query_row(sql, of, |_| Ok(None)).optional()?
            }
            By::Token { id, .. } => {
                let sql = "SELECT organisation, package, role FROM tokens
                           WHERE id = ?1 AND account = ?2 AND (expires_s IS NULL OR expires_s > ?3)";
                let read = |row: &Row<'_>| {
                    let (organisation, package) = (row.get(0)?, row.get(1)?);
                    Ok(Some(Reach { organisation, package, most: role(row, 2)? }))
                };
                self.connection.query_row(sql, params![id, who.account, now_s], read).optional()?
            }
        };
        let reach = reach.ok_or(StoreError::Forbidden)?;
        Ok(Grants { reach, ..self.grants(who.account)? })
    }

    /// Ends a session of this account.
    ///
    /// # Errors
    /// [`StoreError::Absent`] also for another's.
    pub fn close_session(&mut self, account: i64, session: i64) -> Result<(), StoreError> {
        let sql = "DELETE FROM sessions WHERE id = ?1 AND account = ?2";
        match self.connection.execute(sql, params![session, account])? {
            0 => Err(StoreError::Absent),
            _ => Ok(()),
        }
    }
}

/// A session that nobody comes back to ends after two weeks, and any after three months.
const IDLE_MAX_S: i64 = 14 * 24 * 3600;
const AGE_MAX_S: i64 = 90 * 24 * 3600;
const SEEN_EVERY_S: i64 = 60;
/// Sessions of one account.
const SESSIONS_MAX: i64 = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::scratch;

    #[test]
    fn who_is_here_is_known_where_nothing_can_be_written() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let ada = store.set_up("ada", "$hash", "acme", 0).unwrap();
        store.open_session(ada, "", "one", "Firefox", 0).unwrap();
        let sql = "INSERT INTO tokens (account, label, secret, organisation, role, created_s)
                   VALUES (?1, 'ci', ?2, 1, 'admin', 0)";
        store.connection.execute(sql, params![ada, secret::kept("two")]).unwrap();
        store.connection.pragma_update(None, "query_only", true).unwrap();
        assert!(store.connection.execute("DELETE FROM tokens", []).is_err(), "nothing can");
        for now_s in [SEEN_EVERY_S, 2 * SEEN_EVERY_S] {
            assert_eq!(store.by_session("one", now_s).unwrap().who.login, "ada");
            assert_eq!(store.by_token("two", now_s).unwrap().who.login, "ada");
        }
        store.connection.pragma_update(None, "query_only", false).unwrap();
        store.by_session("one", 3 * SEEN_EVERY_S).unwrap();
        assert_eq!(store.sessions(ada).unwrap()[0].seen_s, 3 * SEEN_EVERY_S);
    }

    #[test]
    fn of_many_sessions_those_that_were_used_least_lately_end() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let ada = store.set_up("ada", "$hash", "acme", 0).unwrap();
        let eve = store.sign_up("eve", "$hash", "moon", 0).unwrap();
        store.open_session(eve, "", "eve's", "Firefox", 0).unwrap();
        for number in 0..SESSIONS_MAX {
            store.open_session(ada, "", &number.to_string(), "Firefox", number).unwrap();
        }
        store.by_session("0", 1_000).unwrap();
        store.open_session(ada, "", "another", "Firefox", 1_000).unwrap();
        assert!(matches!(store.by_session("1", 1_000), Err(StoreError::Absent)));
        for there in ["0", "2", "99", "another", "eve's"] {
            assert!(store.by_session(there, 1_000).is_ok(), "{there}");
        }
    }

    #[test]
    fn a_session_ends_by_itself_and_by_its_owner_only() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let ada = store.set_up("ada", "$hash", "acme", 0).unwrap();
        let begun = 1_000;
        store.open_session(ada, "zero", "one", "Firefox", begun).unwrap();
        let known = store.by_session("one", begun).unwrap();
        assert_eq!((known.who.account, known.who.login.as_str()), (ada, "ada"));
        for (secret, now_s) in [("two", begun), ("one", begun + IDLE_MAX_S)] {
            let found = store.by_session(secret, now_s);
            assert!(matches!(found, Err(StoreError::Absent)), "{secret} {found:?}");
        }
        let mut now_s = begun;
        while now_s + IDLE_MAX_S - 1 < begun + AGE_MAX_S {
            now_s += IDLE_MAX_S - 1;
            store.by_session("one", now_s).unwrap();
        }
        assert!(store.by_session("one", begun + AGE_MAX_S).is_err(), "used or not, it ends");
        let By::Session(session) = known.who.by else { panic!("{known:?}") };
        assert_eq!(store.grants_of(&known.who, now_s).unwrap(), known.grants);
        let late = store.grants_of(&known.who, begun + AGE_MAX_S);
        assert!(matches!(late, Err(StoreError::Forbidden)), "{late:?}");
        assert!(matches!(store.close_session(ada + 1, session), Err(StoreError::Absent)));
        store.close_session(ada, session).unwrap();
        assert!(store.by_session("one", begun).is_err());
        assert!(matches!(store.grants_of(&known.who, begun), Err(StoreError::Forbidden)));
    }
}
