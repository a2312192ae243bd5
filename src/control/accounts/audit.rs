//! The audit log: who did what, when, and what it was before and after.

use rusqlite::{Connection, Row, named_params, params};
use serde_json::Value;

use super::place::Place;
use super::store::{Store, StoreError};
use crate::pure::access::OrganisationId;

/// Who does something.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The account; `None` for the operator at the command line.
    pub account: Option<i64>,
    /// How it is shown, also when the account is gone.
    pub login: String,
}

/// Something that was done.
pub struct Deed<'d> {
    /// A word and what it is done to: `member.add`.
    pub what: &'d str,
    /// The organisation whose admins see it; `None` for what concerns one account only.
    pub organisation: Option<OrganisationId>,
    /// The package that it was done to, `<domain>/<name>`.
    pub package: Option<&'d str>,
    /// What it was before; never a secret.
    pub before: Option<Value>,
    /// What it is now; never a secret.
    pub after: Option<Value>,
}

impl<'d> Deed<'d> {
    /// Something that is done to this place.
    pub fn at(place: &'d Place, what: &'d str) -> Self {
        let (organisation, package) = (Some(place.organisation()), place.package());
        Self { what, organisation, package, before: None, after: None }
    }
}

/// Writes it down. To be called in the transaction that does it.
pub fn note(
    connection: &Connection,
    by: &Actor,
    deed: &Deed<'_>,
    now_s: i64,
) -> Result<(), StoreError> {
    connection.execute(
        "INSERT INTO audit (at_s, account, login, organisation, package, deed, before, after)
         VALUES (:at_s, :account, :login, :organisation, :package, :deed, :before, :after)",
        named_params! {
            ":at_s": now_s,
            ":account": by.account,
            ":login": by.login,
            ":organisation": deed.organisation,
            ":package": deed.package,
            ":deed": deed.what,
            ":before": deed.before.as_ref().map(Value::to_string),
            ":after": deed.after.as_ref().map(Value::to_string),
        },
    )?;
    Ok(())
}

/// Writes down what was done to the package made in the dashboard that has this number, so that it is found
/// whatever that was called then. To be called in the transaction that does it.
pub fn note_made(
    connection: &Connection,
    by: &Actor,
    deed: &Deed<'_>,
    made: i64,
    now_s: i64,
) -> Result<(), StoreError> {
    note(connection, by, deed, now_s)?;
    let sql = "UPDATE audit SET made = ?1 WHERE id = last_insert_rowid()";
    connection.execute(sql, [made])?;
    Ok(())
}

/// Who does something without an account. Nobody's name has a space in it.
pub const COMMAND_LINE: &str = "the operator, at the command line";

/// An entry of the log.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number; a later one is larger.
    pub id: i64,
    /// When.
    pub at_s: i64,
    /// Who did it.
    pub login: String,
    /// What.
    pub deed: String,
    /// The package that it was done to, where it was one.
    pub package: Option<String>,
    /// What it was before.
    pub before: Option<Value>,
    /// What it was then.
    pub after: Option<Value>,
}

impl Store {
    /// What was done to an organisation and its packages, or to a package while it was the
    /// organisation's: so `many` entries before the one numbered `before`, the newest first.
    pub fn audit(&self, place: &Place, before: i64, many: usize) -> Result<Vec<Entry>, StoreError> {
        let mut listed = self.connection.prepare_cached(
            "SELECT id, at_s, login, deed, package, before, after, account FROM audit
             WHERE organisation = ?1 AND (?2 IS NULL OR package = ?2) AND id < ?3
             ORDER BY id DESC LIMIT ?4",
        )?;
        let many = i64::try_from(many).unwrap_or(i64::MAX);
        let of = params![place.organisation(), place.package(), before, many];
        Ok(listed.query_map(of, entry)?.collect::<Result<_, _>>()?)
    }
}

/// An entry, of these columns: id, at_s, login, deed, package, before, after, account.
pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let json = |column| {
        let text: Option<String> = row.get(column)?;
        Ok::<_, rusqlite::Error>(text.and_then(|text| serde_json::from_str(&text).ok()))
    };
    let login = match row.get::<_, Option<i64>>(7)? {
        Some(_) => row.get(2)?,
        None => COMMAND_LINE.to_owned(),
    };
    Ok(Entry {
        id: row.get(0)?,
        at_s: row.get(1)?,
        login,
        deed: row.get(3)?,
        package: row.get(4)?,
        before: json(5)?,
        after: json(6)?,
    })
}
