//! Which registries fail, and since when: kept, so that nobody is told of the same outage again by a gateway
//! that was started anew.

use rusqlite::{Row, params};

use super::store::{Store, StoreError};

/// A time in which a registry fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Where its `/v2/` is.
    pub registry: String,
    /// Since when it fails, in seconds since 1970. With the registry it tells one outage from another.
    pub since_s: i64,
    /// How it failed, in words.
    pub why: String,
    /// Since when it works again, if it does: then some are still to be told.
    pub ended_s: Option<i64>,
}

impl Outage {
    /// Whether it is this one, whatever is known of it.
    pub fn is(&self, other: &Self) -> bool {
        self.registry == other.registry && self.since_s == other.since_s
    }
}

impl Store {
    /// Those that are not told to everybody yet, or not over.
    pub fn outages(&self) -> Result<Vec<Outage>, StoreError> {
        let mut listed = self.connection.prepare_cached(
            "SELECT registry, since_s, why, ended_s FROM outages ORDER BY since_s, registry",
        )?;
        let read = |row: &Row<'_>| {
            Ok(Outage {
                registry: row.get(0)?,
                since_s: row.get(1)?,
                why: row.get(2)?,
                ended_s: row.get(3)?,
            })
        };
        Ok(listed.query_map([], read)?.collect::<Result<_, _>>()?)
    }

    /// One that has begun, or ended.
    pub fn put_outage(&mut self, outage: &Outage) -> Result<(), StoreError> {
        let Outage { registry, since_s, why, ended_s } = outage;
        let sql = "INSERT INTO outages (registry, since_s, why, ended_s) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT DO UPDATE SET ended_s = excluded.ended_s";
        self.connection.execute(sql, params![registry, since_s, why, ended_s])?;
        Ok(())
    }

    /// One that everybody knows to be over, or that nobody wants to hear of any more.
    pub fn remove_outage(&mut self, outage: &Outage) -> Result<(), StoreError> {
        let sql = "DELETE FROM outages WHERE registry = ?1 AND since_s = ?2";
        self.connection.execute(sql, params![outage.registry, outage.since_s])?;
        Ok(())
    }
}
