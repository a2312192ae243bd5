//! Packages that were made in the dashboard, and what became of them. Whose one is, its domain says.

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::json;

use super::audit::{self, Actor, Deed, Entry, entry};
use super::belongings;
use super::organisations::end_below;
use super::sessions::Who;
use super::store::{Store, StoreError, is_taken};
use crate::pure::access::{Action, Grants, Object, OrganisationId};
use crate::pure::config::made::Written;
use crate::pure::route::table::Table;

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
    /// There is one more.
    Make(Written),
    /// One is changed.
    Change(Package, Written),
    /// One goes, and with it what hangs on names that nothing has then (`belongings`); what was counted
    /// stays.
    Remove(Package),
    /// One that went comes back, under its number.
    Restore(Package),
}

/// As what something is done, and by whom. Whether they may is decided when it is done.
#[derive(Clone, Copy)]
pub struct Doing<'d> {
    /// Who.
    pub who: &'d Who,
    /// Whose the package is, or is to be.
    pub owner: OrganisationId,
    /// Whether it was found right for who configures the organisation. Else to configure the package is
    /// enough, where it stays what it is called.
    pub as_owner: bool,
    /// Whether its domain, which is nobody's, becomes the organisation's.
    pub claims: bool,
    /// Whether what is [left](Store::left) on the name of one that is made comes with it.
    pub keeps: bool,
    /// The rules that packages are served by.
    pub routes: &'d Table,
    /// Those that they are served by once it is done.
    pub then: &'d Table,
    /// When, in seconds since 1970.
    pub now_s: i64,
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

    /// Does what is to be done to one, if they may do so now, and notes who did. Says its number.
    ///
    /// # Errors
    /// [`StoreError::Forbidden`] and [`StoreError::Absent`] for who may not, or not any more;
    /// [`StoreError::Refused`] for a name that is taken, and a domain that is another's.
    pub fn put_package(&mut self, doing: &Doing<'_>, put: &Put) -> Result<i64, StoreError> {
        let Doing { who, owner, claims, keeps, routes, then, now_s, .. } = *doing;
        let by = &who.actor();
        let end_unless = |step: &Connection, written: &Written, rules: &Table| {
            belongings::end_unless(step, (by, owner), written, rules, now_s)
        };
        // Between this and what follows nobody else's job runs.
        self.decide(doing, put)?;
        let step = self.begin()?;
        let (id, before, after) = match put {
            Put::Make(written) | Put::Restore(Package { written, .. }) => {
                let number = match put {
                    Put::Restore(Package { id, .. }) => Some(*id),
                    Put::Make(_) | Put::Change(..) | Put::Remove(_) => None,
                };
                // What is left of another time is not to hang on what is new, unless that is meant.
                if !keeps || number.is_some() {
                    end_unless(&step, written, routes)?;
                }
                let sql =
                    "INSERT INTO packages (id, domain, name, written) VALUES (?1, ?2, ?3, ?4)";
                let row = params![number, written.domain, written.name, text(written)];
                step.execute(sql, row).map_err(|error| refused(error, written))?;
                (step.last_insert_rowid(), None, Some(written))
            }
            Put::Change(Package { id, written: before }, after) => {
                let is_renamed = before.package() != after.package();
                if is_renamed {
                    end_unless(&step, after, routes)?;
                }
                let sql = "UPDATE packages SET domain = ?2, name = ?3, written = ?4 WHERE id = ?1";
                let row = params![id, after.domain, after.name, text(after)];
                step.execute(sql, row).map_err(|error| refused(error, after))?;
                if is_renamed {
                    belongings::rename(&step, before, after)?;
                    end_unless(&step, before, then)?;
                }
                (*id, Some(before), Some(after))
            }
            Put::Remove(Package { id, written }) => {
                step.execute("DELETE FROM packages WHERE id = ?1", [id])?;
                end_unless(&step, written, then)?;
                (*id, Some(written), None)
            }
        };
        if let Some(written) = after.filter(|_| claims) {
            claim(&step, by, &written.domain, owner, now_s)?;
        }
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

    /// That it may be done by who does it, and that its domains are its owner's, as it stands now.
    fn decide(&self, doing: &Doing<'_>, put: &Put) -> Result<(), StoreError> {
        let grants = self.grants_of(doing.who, doing.now_s)?;
        let (before, after) = match put {
            Put::Make(after) | Put::Restore(Package { written: after, .. }) => (None, Some(after)),
            Put::Change(before, after) => (Some(&before.written), Some(after)),
            Put::Remove(before) => (Some(&before.written), None),
        };
        let name = before.map(Written::package);
        let name = name.as_deref().filter(|_| !doing.as_owner);
        let is_owner = may_put(&grants, doing.owner, name, doing.routes)?;
        if doing.as_owner && !is_owner {
            return Err(StoreError::Forbidden);
        }
        let owners = self.owners()?;
        let is_theirs = |written: &Written| {
            let is_free = !owners.domains.contains_key(&written.domain);
            owners.of_domain(&written.domain) == doing.owner || (doing.claims && is_free)
        };
        match before.into_iter().chain(after).all(is_theirs) {
            true => Ok(()),
            false => {
                let words = "The domain is another organisation's by now: look again.";
                Err(StoreError::Refused(words.to_owned()))
            }
        }
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
            "SELECT id, at_s, login, deed, package, before, after, account FROM audit
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

/// Whether somebody may make, change and remove packages of `owner`, or else change what is written of the one
/// of this `name`: `true` for who configures the organisation.
///
/// # Errors
/// [`StoreError::Forbidden`] for who sees them and may not, [`StoreError::Absent`] for who sees nothing.
pub fn may_put(
    grants: &Grants,
    owner: OrganisationId,
    name: Option<&str>,
    routes: &Table,
) -> Result<bool, StoreError> {
    let organisation = Object::Organisation(owner);
    if grants.may(Action::Configure, organisation) {
        return Ok(true);
    }
    let package = name.map(|name| {
        let rule = routes.serving(name);
        Object::Package { name, rule, owner, is_public: false }
    });
    let may = |action| package.is_some_and(|package| grants.may(action, package));
    if may(Action::Configure) {
        return Ok(false);
    }
    match may(Action::See) || grants.may(Action::See, organisation) {
        true => Err(StoreError::Forbidden),
        false => Err(StoreError::Absent),
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
        // What hung there was the one before's to give.
        end_below(step, host)?;
    }
    Ok(())
}

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
