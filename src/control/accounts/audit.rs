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

/// Writes it down, and forgets what is older than anybody asks for or more than is kept. To be called in the
/// transaction that does it.
///
/// # Errors
/// [`StoreError::Refused`] for what takes more than an entry may have: then it is not done.
pub fn note(
    connection: &Connection,
    by: &Actor,
    deed: &Deed<'_>,
    now_s: i64,
) -> Result<(), StoreError> {
    let [before, after] =
        [&deed.before, &deed.after].map(|value| value.as_ref().map(Value::to_string));
    let bytes = [&before, &after].into_iter().flatten().map(String::len).sum::<usize>();
    if bytes > ENTRY_BYTES_MAX {
        let words = format!(
            "What it was and what it is to be takes {bytes} bytes to write down; there is room for \
             {ENTRY_BYTES_MAX}."
        );
        return Err(StoreError::Refused(words));
    }
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
            ":before": before,
            ":after": after,
        },
    )?;
    forget(connection, by, deed.organisation, now_s)
}

/// Forgets what is too old, a piece at a time; and of what is too much at an organisation the oldest, first of who
/// does most: so that nobody has what others did forgotten by doing much.
fn forget(
    connection: &Connection,
    by: &Actor,
    organisation: Option<OrganisationId>,
    now_s: i64,
) -> Result<(), StoreError> {
    let sql = "DELETE FROM audit
               WHERE at_s < ?1 AND id IN (SELECT id FROM audit ORDER BY id LIMIT ?2)";
    connection.prepare_cached(sql)?.execute([now_s - KEPT_S, FORGOTTEN_AT_ONCE])?;
    let beyond = |of| {
        format!(
            "DELETE FROM audit WHERE {of} AND id <=
                 (SELECT id FROM audit WHERE {of} ORDER BY id DESC LIMIT 1 OFFSET ?2)"
        )
    };
    let sql = beyond("organisation IS ?1 AND account IS ?3");
    let of = params![organisation, KEPT_OF_ACCOUNT, by.account];
    connection.prepare_cached(&sql)?.execute(of)?;
    let sql = beyond("organisation IS ?1");
    connection.prepare_cached(&sql)?.execute(params![organisation, KEPT_OF_ORGANISATION])?;
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

/// Three years.
const KEPT_S: i64 = 3 * 365 * 24 * 3600;
const FORGOTTEN_AT_ONCE: i64 = 100;
/// What was before and what is then, of one entry: more than the largest package takes twice.
const ENTRY_BYTES_MAX: usize = 16 * 1024;
/// Entries of one organisation, and those of them that are of one account: some megabytes as people change things,
/// 320 where somebody fills each.
const KEPT_OF_ORGANISATION: i64 = 20_000;
const KEPT_OF_ACCOUNT: i64 = 4000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::control::tests::scratch;
    use crate::pure::config::made::{BACKENDS_MAX, DESCRIPTION_BYTES_MAX, Written};
    use crate::pure::limits::{HOST_BYTES_MAX, NAME_BYTES_MAX, PACKAGE_ID_BYTES_MAX};

    fn by(account: i64) -> Actor {
        Actor { account: Some(account), login: account.to_string() }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = scratch();
        let store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        (dir, store)
    }

    /// How many entries there are of this account at the organisation, and the oldest.
    fn kept(store: &Store, organisation: i64, account: i64) -> (i64, Option<i64>) {
        let sql = "SELECT count(*), min(at_s) FROM audit WHERE organisation = ?1 AND account = ?2";
        let of = [organisation, account];
        store.connection.query_row(sql, of, |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    }

    fn fill(store: &mut Store, organisation: i64, account: i64, many: i64) {
        let step = store.begin().unwrap();
        for at_s in 0..many {
            let sql = "INSERT INTO audit (at_s, account, login, organisation, deed)
                       VALUES (?1, ?2, 'x', ?3, 'x')";
            step.execute(sql, [at_s, account, organisation]).unwrap();
        }
        step.commit().unwrap();
    }

    #[test]
    fn who_does_much_has_their_own_forgotten_and_in_the_end_the_oldest() {
        let (_dir, mut store) = store();
        let place = Place::Organisation(1);
        let done = |store: &Store, account| {
            note(&store.connection, &by(account), &Deed::at(&place, "x"), 9_000).unwrap();
        };
        fill(&mut store, 1, 1, 1);
        fill(&mut store, 2, 2, 1);
        fill(&mut store, 1, 2, KEPT_OF_ACCOUNT);
        done(&store, 2);
        assert_eq!(kept(&store, 1, 2), (KEPT_OF_ACCOUNT, Some(1)));
        assert_eq!((kept(&store, 1, 1).0, kept(&store, 2, 2).0), (1, 1), "others' stay");
        for account in 3..=6 {
            fill(&mut store, 1, account, KEPT_OF_ACCOUNT);
        }
        done(&store, 7);
        assert_eq!(kept(&store, 1, 1).0, 0, "the oldest of all");
        assert_eq!(kept(&store, 1, 2), (KEPT_OF_ACCOUNT - 1, Some(2)));
        assert_eq!(kept(&store, 2, 2).0, 1, "another organisation's");
    }

    #[test]
    fn an_entry_has_room_for_the_largest_package_twice_and_for_no_more() {
        let (_dir, mut store) = store();
        let host = |number: usize| format!("{number}.{}", "h".repeat(HOST_BYTES_MAX - 2));
        let name = "n".repeat(NAME_BYTES_MAX);
        let largest = Written {
            domain: host(0),
            name: name.clone(),
            backends: (0..BACKENDS_MAX)
                .map(|at| format!("https://{}:65535/{name}", host(at)))
                .collect(),
            failover_on_404: false,
            delivery: "redirect".to_owned(),
            credentials: "registry".to_owned(),
            id: "i".repeat(PACKAGE_ID_BYTES_MAX),
            // Each is two bytes in JSON.
            description: "\"".repeat(DESCRIPTION_BYTES_MAX),
        };
        let place = Place::Organisation(1);
        let value = || Some(json!(largest));
        let deed = Deed { before: value(), after: value(), ..Deed::at(&place, "package.change") };
        note(&store.connection, &by(1), &deed, 7).unwrap();
        let after = Some(json!("x".repeat(ENTRY_BYTES_MAX - 1)));
        let step = store.begin().unwrap();
        let more = note(&step, &by(1), &Deed { after, ..Deed::at(&place, "x") }, 8);
        assert!(matches!(more, Err(StoreError::Refused(_))), "{more:?}");
        step.commit().unwrap();
        assert_eq!(kept(&store, 1, 1), (1, Some(7)));
    }

    #[test]
    fn what_is_older_than_three_years_is_forgotten_a_piece_at_a_time() {
        let (_dir, mut store) = store();
        fill(&mut store, 1, 1, FORGOTTEN_AT_ONCE + 10);
        let elsewhere = Place::Organisation(2);
        let deed = Deed::at(&elsewhere, "x");
        note(&store.connection, &by(2), &deed, KEPT_S + 5).unwrap();
        assert_eq!(kept(&store, 1, 1), (FORGOTTEN_AT_ONCE + 5, Some(5)));
        for _ in 0..2 {
            note(&store.connection, &by(2), &deed, 2 * KEPT_S).unwrap();
        }
        assert_eq!(kept(&store, 1, 1).0, 0);
        assert_eq!(kept(&store, 2, 2).0, 3, "what is younger stays");
    }
}
