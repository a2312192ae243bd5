//! Organisations, their names, and their domains.

use rusqlite::{Connection, OptionalExtension as _, params};
use serde_json::json;

use super::audit::{self, Actor, Deed};
use super::store::{Store, StoreError, is_taken};
use crate::pure::access::OrganisationId;

/// An organisation as it is listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organisation {
    /// Its number.
    pub id: OrganisationId,
    /// Its name.
    pub name: String,
    /// The domains that are its by name.
    pub domains: Vec<String>,
}

impl Store {
    /// The organisation of this name.
    pub fn organisation_named(&self, name: &str) -> Result<Option<OrganisationId>, StoreError> {
        let sql = "SELECT id FROM organisations WHERE name = ?1";
        Ok(self.connection.query_row(sql, [name], |row| row.get(0)).optional()?)
    }

    /// All organisations, by name.
    pub fn organisations(&self) -> Result<Vec<Organisation>, StoreError> {
        let owners = self.owners()?;
        let mut listed =
            self.connection.prepare_cached("SELECT id, name FROM organisations ORDER BY name")?;
        let listed = listed.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut organisations = Vec::new();
        for row in listed {
            let (id, name) = row?;
            let of = owners.domains.iter().filter(|(_, owner)| **owner == id);
            let mut domains: Vec<String> = of.map(|(host, _)| host.clone()).collect();
            domains.sort_unstable();
            organisations.push(Organisation { id, name, domains });
        }
        Ok(organisations)
    }

    /// Makes an organisation; it has nobody and nothing yet.
    ///
    /// # Errors
    /// [`StoreError::Taken`] for a name that is taken.
    pub fn add_organisation(
        &mut self,
        by: &Actor,
        name: &str,
        now_s: i64,
    ) -> Result<OrganisationId, StoreError> {
        let step = self.begin()?;
        let id = put_organisation(&step, name, false, now_s)?;
        let after = Some(json!({ "name": name }));
        audit::note(&step, by, &deed("organisation.make", id, None, after), now_s)?;
        step.commit()?;
        Ok(id)
    }

    /// Gives a domain to an organisation; the one that runs the gateway has those that no other has, and whoever proves
    /// such a one has it.
    pub fn give_domain(
        &mut self,
        by: &Actor,
        host: &str,
        to: OrganisationId,
        now_s: i64,
    ) -> Result<(), StoreError> {
        let owners = self.owners()?;
        let step = self.begin()?;
        put_owner(&step, by, host, [owners.of_domain(host), to], now_s)?;
        if to == owners.operator {
            step.execute("DELETE FROM domains WHERE host = ?1", [host])?;
        }
        step.commit()?;
        Ok(())
    }
}

/// Has the domain, whose it was until now, be one of another's own, also where that runs the gateway. To be called in a
/// transaction.
pub(super) fn put_owner(
    step: &Connection,
    by: &Actor,
    host: &str,
    [from, to]: [OrganisationId; 2],
    now_s: i64,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO domains (host, organisation) VALUES (?1, ?2)
               ON CONFLICT DO UPDATE SET organisation = excluded.organisation";
    step.execute(sql, params![host, to])?;
    if from != to {
        end_below(step, host)?;
    }
    let named = |id: OrganisationId| {
        let sql = "SELECT name FROM organisations WHERE id = ?1";
        step.query_row(sql, [id], |row| row.get::<_, String>(0)).optional()
    };
    let before = json!({ "domain": host, "organisation": named(from)? });
    let after = json!({ "domain": host, "organisation": named(to)? });
    let deed = deed("domain.give", to, Some(before), Some(after));
    audit::note(step, by, &deed, now_s)
}

/// What hung on the packages of a domain that has another owner: roles on them were the one before's to give,
/// and so were invitations to them, tokens of it, whether everybody sees them, and who is told of them. To be
/// called in a transaction.
pub(super) fn end_below(step: &Connection, host: &str) -> Result<(), StoreError> {
    for table in ["package_members", "tokens", "invitations", "public_packages", "alerts"] {
        let below = "substr(package, 1, length(?1) + 1) = ?1 || '/'";
        step.execute(&format!("DELETE FROM {table} WHERE {below}"), [host])?;
    }
    Ok(())
}

/// Makes an organisation, in a transaction of the caller's.
pub(super) fn put_organisation(
    step: &Connection,
    name: &str,
    is_operator: bool,
    now_s: i64,
) -> Result<OrganisationId, StoreError> {
    let sql = "INSERT INTO organisations (name, is_operator, created_s) VALUES (?1, ?2, ?3)";
    match step.execute(sql, params![name, is_operator, now_s]) {
        Ok(_) => Ok(step.last_insert_rowid()),
        Err(error) if is_taken(&error) => {
            let words = format!("There is an organisation `{name}` already; choose another name.");
            Err(StoreError::Taken("organisation", words))
        }
        Err(error) => Err(error.into()),
    }
}

fn deed<'d>(
    what: &'d str,
    organisation: OrganisationId,
    before: Option<serde_json::Value>,
    after: Option<serde_json::Value>,
) -> Deed<'d> {
    Deed { what, organisation: Some(organisation), package: None, before, after }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::scratch;

    #[test]
    fn domains_go_to_organisations_and_back() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        store.set_up("ada", "$hash", "acme", 0).unwrap();
        let by = Actor { account: None, login: "operator".to_owned() };
        let other = store.add_organisation(&by, "other", 1).unwrap();
        let again = store.add_organisation(&by, "other", 1);
        assert!(matches!(again, Err(StoreError::Taken(..))), "{again:?}");
        assert_eq!(store.organisation_named("other").unwrap(), Some(other));
        for package in ["a.b/x", "a.bc/x"] {
            let sql =
                "INSERT INTO package_members (account, package, role) VALUES (1, ?1, 'admin')";
            store.connection.execute(sql, [package]).unwrap();
        }
        store.give_domain(&by, "a.b", other, 2).unwrap();
        let sql = "SELECT group_concat(package) FROM package_members";
        let left = store.connection.query_row(sql, [], |row| row.get::<_, String>(0));
        assert_eq!(left.unwrap(), "a.bc/x", "roles on its packages end with its owner");
        assert_eq!(store.owners().unwrap().of_domain("a.b"), other);
        assert_eq!(store.organisations().unwrap()[1].domains, ["a.b"]);
        let operator = store.owners().unwrap().operator;
        store.give_domain(&by, "a.b", operator, 3).unwrap();
        assert_eq!(store.owners().unwrap().of_domain("a.b"), operator);
        assert!(store.give_domain(&by, "a.b", other + 1, 4).is_err(), "there is no such");
    }
}
