//! How much there may be of a sort. Whoever means well meets none of these bounds; without them one person, or one
//! collection, whose names anybody below it invents, would fill the database for all.

use rusqlite::{Connection, Params};

use super::store::StoreError;

/// That no more than so many rows of `table` are of packages at the domain of this one, the new one among them.
///
/// # Errors
/// [`StoreError::Refused`] where there are, with `what` they are and what to do `first`.
pub(super) fn at_domain(
    step: &Connection,
    table: &str,
    package: &str,
    (most, what, first): (i64, &str, &str),
) -> Result<(), StoreError> {
    let domain = package.split('/').next().unwrap_or_default();
    // In order of bytes `0` is what follows `/`.
    let are_there = "package >= ?1 || '/' AND package < ?1 || '0'";
    let there = format!("At {domain}");
    has(step, &format!("{table} WHERE {are_there}"), [domain], (most, &there, what, first))
}

/// That no more than so many rows are of these, the new one among them.
///
/// # Errors
/// [`StoreError::Refused`] where there are, with `where_` they are, `what` they are and what to do `first`.
pub(super) fn has(
    step: &Connection,
    rows: &str,
    of: impl Params,
    (most, where_, what, first): (i64, &str, &str, &str),
) -> Result<(), StoreError> {
    let many: i64 = step
        .prepare_cached(&format!("SELECT count(*) FROM {rows}"))?
        .query_row(of, |row| row.get(0))?;
    if many <= most {
        return Ok(());
    }
    let words =
        format!("{where_} there are {most} {what} already, the most there can be: {first}.");
    Err(StoreError::Refused(words))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::control::accounts::Store;

    /// That there are so many at one domain and no more, whatever there is at others. `insert` is the SQL that puts
    /// one on a package, `add` what somebody does who adds one.
    pub(in crate::control::accounts) fn is_held_at_domain(
        store: &mut Store,
        (most, what): (i64, &str),
        insert: &str,
        mut add: impl FnMut(&mut Store, &str) -> Result<(), StoreError>,
    ) {
        let step = store.begin().unwrap();
        for number in 1..most {
            step.execute(insert, [format!("a.b/acme/{number}")]).unwrap();
        }
        step.commit().unwrap();
        add(store, "a.b/last").unwrap();
        let more = add(store, "a.b/more").unwrap_err().to_string();
        let expected = format!("At a.b there are {most} {what} already, the most there can be: ");
        assert!(more.starts_with(&expected), "{more}");
        add(store, "a.bc/more").unwrap();
    }
}
