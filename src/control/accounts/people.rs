//! Accounts, organisations, and who is what in them.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;

use super::audit::{self, Actor, Deed};
use super::organisations::put_organisation;
use super::store::{Store, StoreError, is_taken};
use crate::pure::access::{Grants, Object, OrganisationId, Role};

/// Whose domains are.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    /// The organisation that runs the gateway; 0 before there is one, which nobody has a role in.
    pub operator: OrganisationId,
    /// Domains that are an organisation's own: another's, or proven by that which runs the gateway.
    pub domains: HashMap<String, OrganisationId>,
}

/// What is needed to let somebody in.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The account.
    pub account: i64,
    /// As [`super::hash`] keeps it.
    pub password: String,
}

impl Owners {
    /// Whose the domain is; `*` is the operator's.
    pub fn of_domain(&self, domain: &str) -> OrganisationId {
        self.domains.get(domain).copied().unwrap_or(self.operator)
    }

    /// The package of this name, `<domain>/<name>`, to ask a [`Grants`] about; `rule` is what serves it.
    pub fn package<'p>(
        &self,
        name: &'p str,
        rule: Option<(&'p str, &'p str)>,
        is_public: bool,
    ) -> Object<'p> {
        let domain = name.split('/').next().unwrap_or_default();
        Object::Package { name, rule, owner: self.of_domain(domain), is_public }
    }
}

impl Store {
    /// Whether anybody can sign in at all.
    pub fn has_accounts(&self) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM accounts)";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// Makes the first account, and the organisation that runs the gateway with it as its admin. Says
    /// which account that is. `password` is as [`super::hash`] keeps it.
    ///
    /// # Errors
    /// [`StoreError::Absent`] where there is an account already.
    pub fn set_up(
        &mut self,
        login: &str,
        password: &str,
        organisation: &str,
        now_s: i64,
    ) -> Result<i64, StoreError> {
        if self.has_accounts()? {
            return Err(StoreError::Absent);
        }
        let step = self.begin()?;
        let account = add_account(&step, login, password, now_s)?;
        let operator = put_organisation(&step, organisation, true, now_s)?;
        put_member(&step, account, operator, Role::Admin)?;
        let by = Actor { account: Some(account), login: login.to_owned() };
        let deed = Deed {
            what: "gateway.set_up",
            organisation: Some(operator),
            package: None,
            before: None,
            after: Some(json!({ "login": login, "organisation": organisation })),
        };
        audit::note(&step, &by, &deed, now_s)?;
        step.commit()?;
        Ok(account)
    }

    /// What is needed to let in who signs in by `login`.
    pub fn credentials(&self, login: &str) -> Result<Option<Credentials>, StoreError> {
        let sql = "SELECT id, password FROM accounts WHERE login = ?1";
        let read = |row: &Row<'_>| Ok(Credentials { account: row.get(0)?, password: row.get(1)? });
        Ok(self.connection.query_row(sql, [login], read).optional()?)
    }

    /// All that this account may.
    pub fn grants(&self, account: i64) -> Result<Grants, StoreError> {
        let mut of_organisations = self
            .connection
            .prepare_cached("SELECT organisation, role FROM members WHERE account = ?1")?;
        let mut of_packages = self
            .connection
            .prepare_cached("SELECT package, role FROM package_members WHERE account = ?1")?;
        let organisations = of_organisations
            .query_map([account], |row| Ok((row.get(0)?, role(row, 1)?)))?
            .collect::<Result<_, _>>()?;
        let packages = of_packages
            .query_map([account], |row| Ok((row.get(0)?, role(row, 1)?)))?
            .collect::<Result<_, _>>()?;
        Ok(Grants { organisations, packages, reach: None })
    }

    /// Whose domains are.
    pub fn owners(&self) -> Result<Owners, StoreError> {
        let sql = "SELECT id FROM organisations WHERE is_operator = 1";
        let operator = self.connection.query_row(sql, [], |row| row.get(0)).optional()?;
        let mut domains =
            self.connection.prepare_cached("SELECT host, organisation FROM domains")?;
        let domains = domains
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        Ok(Owners { operator: operator.unwrap_or_default(), domains })
    }
}

/// Makes an account, in a transaction of the caller's.
pub(super) fn add_account(
    connection: &Connection,
    login: &str,
    password: &str,
    now_s: i64,
) -> Result<i64, StoreError> {
    let sql = "INSERT INTO accounts (login, password, created_s) VALUES (?1, ?2, ?3)";
    match connection.execute(sql, params![login, password, now_s]) {
        Ok(_) => Ok(connection.last_insert_rowid()),
        Err(error) if is_taken(&error) => {
            let words = format!("There is an account `{login}` already; choose another name.");
            Err(StoreError::Taken("login", words))
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives a role on an organisation, or another one than before.
pub(super) fn put_member(
    connection: &Connection,
    account: i64,
    organisation: OrganisationId,
    role: Role,
) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO members (account, organisation, role) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET role = excluded.role",
        params![account, organisation, role.word()],
    )?;
    Ok(())
}

/// The role in this column, which the table holds to the words that there are.
pub(super) fn role(row: &Row<'_>, column: usize) -> rusqlite::Result<Role> {
    let word: String = row.get(column)?;
    Role::of(&word).ok_or_else(|| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::InvalidColumnType(column, word, kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::scratch;
    use crate::pure::access::Action;

    #[test]
    fn the_first_account_runs_the_gateway_and_there_is_one_first() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        assert!(!store.has_accounts().unwrap());
        let nobody = store.owners().unwrap();
        assert!(
            !Grants::default().may(Action::See, nobody.package("a.b/acme/rocket", None, false))
        );
        let account = store.set_up("ada", "$hash", "acme", 7).unwrap();
        let again = store.set_up("eve", "$hash", "evil", 8);
        assert!(matches!(again, Err(StoreError::Absent)), "{again:?}");
        let (grants, owners) = (store.grants(account).unwrap(), store.owners().unwrap());
        assert!(grants.may(Action::Grant, owners.package("a.b/acme/rocket", None, false)));
        assert!(grants.may(Action::Configure, Object::Gateway { operator: owners.operator }));
        assert_eq!(store.credentials("ada").unwrap().unwrap().account, account);
        assert!(store.credentials("eve").unwrap().is_none());
    }

    #[test]
    fn a_domain_of_another_is_anothers() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let account = store.set_up("ada", "$hash", "acme", 7).unwrap();
        let sql = "INSERT INTO organisations (name, created_s) VALUES ('other', 8)";
        store.connection.execute(sql, []).unwrap();
        let other = store.connection.last_insert_rowid();
        let sql = "INSERT INTO domains (host, organisation) VALUES ('other.example', ?1)";
        store.connection.execute(sql, [other]).unwrap();
        let (grants, owners) = (store.grants(account).unwrap(), store.owners().unwrap());
        assert_eq!(owners.of_domain("other.example"), other);
        assert!(!grants.may(Action::Glimpse, owners.package("other.example/a", None, false)));
        assert!(grants.may(Action::See, owners.package("*/a", None, false)));
    }
}
