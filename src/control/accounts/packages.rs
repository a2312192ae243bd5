//! Packages that were made in the dashboard, and what became of them. Whose one is, its domain says.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;

use super::audit::{self, Actor, Deed, Entry, entry};
use super::store::{Store, StoreError, is_taken};
use crate::pure::access::OrganisationId;
use crate::pure::config::made::Written;

/// A package that was made in the dashboard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// Its number, which it keeps under another name.
    pub id: i64,
    /// What was written.
    pub written: Written,
}

/// What is to be done to one.
#[derive(Clone, Debug)]
pub enum Put {
    /// There is one more, and its domain is the organisation's from now on, where it was nobody's.
    Make(Written),
    /// One is changed.
    Change(Package, Written),
    /// One goes; what was counted stays.
    Remove(Package),
    /// One that went comes back, under its number.
    Restore(Package),
}

/// A change that was made, and the package that it was made to.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The change.
    pub entry: Entry,
    /// The package's number.
    pub made: i64,
    /// The package as it is; `None` for one that went.
    pub present: Option<Package>,
}

impl Store {
    /// All of them, the oldest first. One that this version of the program cannot read is left out, and
    /// said in the log: the others are served.
    pub fn packages(&self) -> Result<Vec<Package>, StoreError> {
        let mut all =
            self.connection.prepare_cached("SELECT id, written FROM packages ORDER BY id")?;
        let mut packages = Vec::new();
        for row in all.query_map([], |row| Ok((row.get(0)?, package(row))))? {
            match row? {
                (_, Ok(package)) => packages.push(package),
                (id, Err(rusqlite::Error::FromSqlConversionFailure(_, _, error))) => {
                    let id: i64 = id;
                    tracing::error!("package {id} of the dashboard cannot be read: {error}");
                }
                (_, Err(error)) => return Err(error.into()),
            }
        }
        Ok(packages)
    }

    /// The one of this domain and name.
    pub fn package(&self, domain: &str, name: &str) -> Result<Option<Package>, StoreError> {
        let sql = "SELECT id, written FROM packages WHERE domain = ?1 AND name = ?2";
        Ok(self.connection.query_row(sql, [domain, name], package).optional()?)
    }

    /// Does what is to be done to one of `owner`, and notes who did. Says its number.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for a name that is taken.
    pub fn put_package(
        &mut self,
        by: &Actor,
        owner: OrganisationId,
        put: &Put,
        now_s: i64,
    ) -> Result<i64, StoreError> {
        let operator = self.owners()?.operator;
        let step = self.begin()?;
        let (id, before, after) = match put {
            Put::Make(written) | Put::Restore(Package { written, .. }) => {
                let number = match put {
                    Put::Restore(Package { id, .. }) => Some(*id),
                    Put::Make(_) | Put::Change(..) | Put::Remove(_) => None,
                };
                let sql =
                    "INSERT INTO packages (id, domain, name, written) VALUES (?1, ?2, ?3, ?4)";
                let row = params![number, written.domain, written.name, text(written)];
                step.execute(sql, row).map_err(|error| refused(error, written))?;
                let id = step.last_insert_rowid();
                if owner != operator {
                    claim(&step, by, &written.domain, owner, now_s)?;
                }
                (id, None, Some(written))
            }
            Put::Change(Package { id, written: before }, after) => {
                let sql = "UPDATE packages SET domain = ?2, name = ?3, written = ?4 WHERE id = ?1";
                let row = params![id, after.domain, after.name, text(after)];
                step.execute(sql, row).map_err(|error| refused(error, after))?;
                if before.package() != after.package() {
                    rename(&step, &before.package(), &after.package())?;
                }
                (*id, Some(before), Some(after))
            }
            Put::Remove(Package { id, written }) => {
                step.execute("DELETE FROM packages WHERE id = ?1", [id])?;
                // Nobody could make it private any more, nor say who is told.
                for table in ["public_packages", "alerts"] {
                    let sql = format!("DELETE FROM {table} WHERE package = ?1");
                    step.execute(&sql, [written.package()])?;
                }
                (*id, Some(written), None)
            }
        };
        let what = match put {
            Put::Make(_) => "package.make",
            Put::Change(..) => "package.change",
            Put::Remove(_) => "package.remove",
            Put::Restore(_) => "package.restore",
        };
        let name = after.or(before).map(Written::package);
        let deed = Deed {
            what,
            organisation: Some(owner),
            package: name.as_deref(),
            before: before.map(|written| json!(written)),
            after: after.map(|written| json!(written)),
        };
        audit::note_made(&step, by, &deed, id, now_s)?;
        step.commit()?;
        Ok(id)
    }

    /// The change of this number, if it is in the [history](Store::package_history) of these.
    ///
    /// # Errors
    /// [`StoreError::Absent`] where it is not.
    pub fn package_change(
        &self,
        owner: OrganisationId,
        package: &str,
        change: i64,
    ) -> Result<Changed, StoreError> {
        let found = self.package_history(owner, package, change.saturating_add(1), 1)?;
        let entry = found.into_iter().find(|one| one.id == change).ok_or(StoreError::Absent)?;
        let sql = "SELECT made FROM audit WHERE id = ?1";
        let made = self.connection.query_row(sql, [change], |row| row.get(0))?;
        let sql = "SELECT id, written FROM packages WHERE id = ?1";
        let present = self.connection.query_row(sql, [made], self::package).optional()?;
        Ok(Changed { entry, made, present })
    }

    /// What was done to the packages made in the dashboard that are or last were called so, under
    /// whatever name: so `many` entries before the one numbered `before`, the newest first.
    pub fn package_history(
        &self,
        owner: OrganisationId,
        package: &str,
        before: i64,
        many: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut listed = self.connection.prepare_cached(
            "SELECT id, at_s, login, deed, package, before, after FROM audit
             WHERE made IN (SELECT made FROM audit AS other WHERE made IS NOT NULL
                            AND package = ?2 AND organisation = ?1
                            AND id = (SELECT max(id) FROM audit WHERE made = other.made))
             AND organisation = ?1 AND id < ?3 ORDER BY id DESC LIMIT ?4",
        )?;
        let many = i64::try_from(many).unwrap_or(i64::MAX);
        let rows = listed.query_map(params![owner, package, before, many], entry)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// A domain that nobody has is the organisation's whose package it serves.
fn claim(
    step: &Connection,
    by: &Actor,
    host: &str,
    owner: OrganisationId,
    now_s: i64,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO domains (host, organisation) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    if step.execute(sql, params![host, owner])? > 0 {
        let deed = Deed {
            what: "domain.give",
            organisation: Some(owner),
            package: None,
            before: None,
            after: Some(json!({ "domain": host })),
        };
        audit::note(step, by, &deed, now_s)?;
    }
    Ok(())
}

/// Roles on a package, tokens and invitations that reach it, what is said of its badges and its page, and who
/// is told of it follow it to another name.
fn rename(step: &Connection, from: &str, to: &str) -> Result<(), StoreError> {
    for table in FOLLOWS {
        let sql = format!("UPDATE OR REPLACE {table} SET package = ?2 WHERE package = ?1");
        step.execute(&sql, [from, to])?;
    }
    Ok(())
}

const FOLLOWS: [&str; 6] =
    ["package_members", "tokens", "invitations", "badges_off", "public_packages", "alerts"];

fn package(row: &Row<'_>) -> rusqlite::Result<Package> {
    let text: String = row.get(1)?;
    let written = serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Text, Box::new(error))
    })?;
    Ok(Package { id: row.get(0)?, written })
}

fn text(written: &Written) -> String {
    json!(written).to_string()
}

fn refused(error: rusqlite::Error, written: &Written) -> StoreError {
    match is_taken(&error) {
        true => StoreError::Refused(format!(
            "There is a package {} already; choose another name.",
            written.package()
        )),
        false => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::accounts::place::Place;
    use crate::control::accounts::roles;
    use crate::control::tests::scratch;
    use crate::pure::access::Role;

    fn written(domain: &str, name: &str) -> Written {
        Written { domain: domain.to_owned(), name: name.to_owned(), ..Written::default() }
    }

    #[test]
    fn packages_are_made_changed_and_removed_and_all_of_it_is_noted() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        let ada = store.set_up("ada", "$hash", "acme", 0).unwrap();
        let by = Actor { account: Some(ada), login: "ada".to_owned() };
        let acme = store.owners().unwrap().operator;
        let first = written("a.b", "x");
        let id = store.put_package(&by, acme, &Put::Make(first.clone()), 1).unwrap();
        let again = store.put_package(&by, acme, &Put::Make(first.clone()), 1);
        assert!(matches!(again, Err(StoreError::Refused(_))), "{again:?}");
        let step = store.begin().unwrap();
        let place = Place::new(acme, Some("a.b/x".to_owned()));
        roles::grant(&step, &by, &place, ada, Role::Member, 1).unwrap();
        step.commit().unwrap();
        let (had, second) = (Package { id, written: first }, written("a.b", "y"));
        store.put_package(&by, acme, &Put::Change(had, second.clone()), 2).unwrap();
        let now = Package { id, written: second };
        assert_eq!(store.packages().unwrap(), std::slice::from_ref(&now));
        assert_eq!(store.package("a.b", "y").unwrap(), Some(now.clone()));
        assert_eq!(store.package("a.b", "x").unwrap(), None);
        let roles = store.grants(ada).unwrap().packages;
        assert_eq!(roles.into_keys().collect::<Vec<_>>(), ["a.b/y"], "a role follows");
        store.put_package(&by, acme, &Put::Remove(now.clone()), 3).unwrap();
        assert_eq!(store.packages().unwrap(), []);
        let deeds = |name: &str, before| {
            let history = store.package_history(acme, name, before, 9).unwrap();
            history.iter().map(|one| one.deed.clone()).collect::<Vec<_>>()
        };
        let all = ["package.remove", "package.change", "package.make"];
        assert_eq!(deeds("a.b/y", i64::MAX), all, "also under the name before");
        assert_eq!(deeds("a.b/x", i64::MAX), Vec::<String>::new());
        assert_eq!(store.package_history(acme + 1, "a.b/y", i64::MAX, 9).unwrap().len(), 0);
        let newest = store.package_history(acme, "a.b/y", i64::MAX, 1).unwrap().remove(0).id;
        let change = |name: &str, number| store.package_change(acme, name, number);
        let gone = change("a.b/y", newest).unwrap();
        assert_eq!((gone.made, gone.present), (id, None));
        assert!(matches!(change("a.b/x", newest), Err(StoreError::Absent)));
        assert!(matches!(change("a.b/y", 1), Err(StoreError::Absent)), "another sort of entry");
        store.put_package(&by, acme, &Put::Restore(now.clone()), 4).unwrap();
        let there = store.package_change(acme, "a.b/y", newest).unwrap();
        assert_eq!(there.present, Some(now));
    }

    #[test]
    fn one_that_cannot_be_read_keeps_no_other_from_being_served() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        store.set_up("ada", "$hash", "acme", 0).unwrap();
        let by = Actor { account: None, login: "operator".to_owned() };
        let acme = store.owners().unwrap().operator;
        for name in ["x", "y"] {
            store.put_package(&by, acme, &Put::Make(written("a.b", name)), 1).unwrap();
        }
        let sql = "UPDATE packages SET written = '{\"of\": \"another version\"}' WHERE name = 'x'";
        store.connection.execute(sql, []).unwrap();
        let left: Vec<_> = store.packages().unwrap().into_iter().map(|it| it.written).collect();
        assert_eq!(left, [written("a.b", "y")]);
    }

    #[test]
    fn a_domain_that_nobody_had_is_its_organisations() {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        store.set_up("ada", "$hash", "acme", 0).unwrap();
        let by = Actor { account: None, login: "operator".to_owned() };
        let other = store.add_organisation(&by, "other", 1).unwrap();
        store.put_package(&by, other, &Put::Make(written("other.pkg", "x")), 1).unwrap();
        assert_eq!(store.owners().unwrap().of_domain("other.pkg"), other);
        let acme = store.owners().unwrap().operator;
        store.put_package(&by, acme, &Put::Make(written("acme.pkg", "x")), 1).unwrap();
        assert!(!store.owners().unwrap().domains.contains_key("acme.pkg"));
    }
}
