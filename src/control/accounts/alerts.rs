//! Who is told of what happens to a package, what is to be told, and how that went.

use rusqlite::{OptionalExtension as _, Row, params};
use serde_json::json;

use super::audit::{self, Actor, Deed};
use super::place::Place;
use super::store::{Store, StoreError};
use crate::pure::alert::{Event, origin_of};
use crate::pure::webhook;

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its number.
    pub id: i64,
    /// `<domain>/<name>`
    pub package: String,
    /// Where it is told.
    pub url: String,
    /// Of what.
    pub events: Vec<Event>,
    /// Since when, in seconds since 1970.
    pub created_s: i64,
    /// The last delivery: of what, and how it went.
    pub last: Option<Last>,
}

/// How the last delivery went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// Of what.
    pub event: String,
    /// When it came up.
    pub created_s: i64,
    /// How the last try went; `None` before the first.
    pub said: Option<String>,
    /// When it is tried next, if it is.
    pub next_s: Option<i64>,
}

/// Something that is to be told now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its number.
    pub id: i64,
    /// Where.
    pub url: String,
    /// What it is signed with.
    pub secret: String,
    /// What.
    pub body: String,
    /// How often that has failed.
    pub failed: u32,
}

impl Store {
    /// From now on whoever hears at `url` is told of these events of a package; says its number.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where the package has [`ALERTS_MAX`] already.
    pub fn add_alert(
        &mut self,
        by: &Actor,
        place: &Place,
        url: &str,
        events: &[Event],
        secret: &str,
        now_s: i64,
    ) -> Result<i64, StoreError> {
        let package = place.package().ok_or(StoreError::Absent)?;
        let step = self.begin()?;
        let sql = "SELECT count(*) FROM alerts WHERE package = ?1";
        let many: i64 = step.query_row(sql, [package], |row| row.get(0))?;
        if many >= ALERTS_MAX {
            let words =
                format!("A package has {ALERTS_MAX} webhooks at the most; remove one first.");
            return Err(StoreError::Refused(words));
        }
        let words = Event::words(events);
        step.execute(
            "INSERT INTO alerts (package, url, secret, events, created_s)
             VALUES (?1, ?2, ?3, ?4, ?5)",
            params![package, url, secret, words, now_s],
        )?;
        let id = step.last_insert_rowid();
        // Such addresses hold secrets: the log says the host.
        let after = json!({ "host": origin_of(url), "events": words });
        let deed = Deed { after: Some(after), ..Deed::at(place, "alert.make") };
        audit::note(&step, by, &deed, now_s)?;
        step.commit()?;
        Ok(id)
    }

    /// Nobody is told there any more.
    ///
    /// # Errors
    /// [`StoreError::Absent`] also for one of another package.
    pub fn remove_alert(
        &mut self,
        by: &Actor,
        place: &Place,
        id: i64,
        now_s: i64,
    ) -> Result<(), StoreError> {
        let package = place.package().ok_or(StoreError::Absent)?;
        let step = self.begin()?;
        let sql = "DELETE FROM alerts WHERE id = ?1 AND package = ?2 RETURNING url, events";
        let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
        let (url, events) = step.query_row(sql, params![id, package], read)?;
        let before = json!({ "host": origin_of(&url), "events": events });
        let deed = Deed { before: Some(before), ..Deed::at(place, "alert.remove") };
        audit::note(&step, by, &deed, now_s)?;
        step.commit()?;
        Ok(())
    }

    /// The package of this number.
    pub fn package_of_alert(&self, id: i64) -> Result<Option<String>, StoreError> {
        let sql = "SELECT package FROM alerts WHERE id = ?1";
        Ok(self.connection.query_row(sql, [id], |row| row.get(0)).optional()?)
    }

    /// Who is told of a package, or of all of them.
    pub fn alerts(&self, package: Option<&str>) -> Result<Vec<Alert>, StoreError> {
        let mut listed = self.connection.prepare_cached(
            "SELECT alerts.id, alerts.package, alerts.url, alerts.events, alerts.created_s,
                    last.event, last.created_s, last.said, last.next_s
             FROM alerts LEFT JOIN deliveries AS last ON last.id =
                 (SELECT max(id) FROM deliveries WHERE deliveries.alert = alerts.id)
             WHERE ?1 IS NULL OR alerts.package = ?1 ORDER BY alerts.id",
        )?;
        let read = |row: &Row<'_>| {
            let event: Option<String> = row.get(5)?;
            let last = match event {
                None => None,
                Some(event) => Some(Last {
                    event,
                    created_s: row.get(6)?,
                    said: row.get(7)?,
                    next_s: row.get(8)?,
                }),
            };
            Ok(Alert {
                id: row.get(0)?,
                package: row.get(1)?,
                url: row.get(2)?,
                events: Event::of_words(&row.get::<_, String>(3)?),
                created_s: row.get(4)?,
                last,
            })
        };
        Ok(listed.query_map([package], read)?.collect::<Result<_, _>>()?)
    }

    /// `body` is to be told to this one, unless it was told `about` that already. Whether it is now to be
    /// told; `false` also where too much waits: then `about` stays untold.
    pub fn put_delivery(
        &mut self,
        alert: i64,
        about: &str,
        event: &str,
        body: &str,
        now_s: i64,
    ) -> Result<bool, StoreError> {
        let step = self.begin()?;
        let waiting = "SELECT count(*) FROM deliveries WHERE next_s IS NOT NULL";
        let all: i64 = step.query_row(waiting, [], |row| row.get(0))?;
        let sql = format!("{waiting} AND alert = ?1");
        let own: i64 = step.query_row(&sql, [alert], |row| row.get(0))?;
        if all >= WAITING_MAX || own >= WAITING_OF_ONE_MAX {
            return Ok(false);
        }
        let put = step.execute(
            "INSERT INTO deliveries (alert, about, event, body, created_s, next_s)
             SELECT id, ?2, ?3, ?4, ?5, ?5 FROM alerts WHERE id = ?1
             ON CONFLICT DO NOTHING",
            params![alert, about, event, body, now_s],
        )?;
        // What is over is kept for as long as the same might come up again.
        let sql = "DELETE FROM deliveries WHERE next_s IS NULL AND created_s < ?1";
        step.execute(sql, [now_s - KEPT_S])?;
        step.commit()?;
        Ok(put > 0)
    }

    /// What is to be told now, so many at the most.
    pub fn due_deliveries(&self, now_s: i64, many: usize) -> Result<Vec<Delivery>, StoreError> {
        let mut due = self.connection.prepare_cached(
            "SELECT deliveries.id, url, secret, body, failed
             FROM deliveries JOIN alerts ON alerts.id = deliveries.alert
             WHERE next_s <= ?1 ORDER BY next_s, deliveries.id LIMIT ?2",
        )?;
        let read = |row: &Row<'_>| {
            Ok(Delivery {
                id: row.get(0)?,
                url: row.get(1)?,
                secret: row.get(2)?,
                body: row.get(3)?,
                failed: row.get(4)?,
            })
        };
        let many = i64::try_from(many).unwrap_or(i64::MAX);
        Ok(due.query_map(params![now_s, many], read)?.collect::<Result<_, _>>()?)
    }

    /// When the next one is due, if there is one.
    pub fn next_delivery_s(&self) -> Result<Option<i64>, StoreError> {
        let sql = "SELECT min(next_s) FROM deliveries WHERE next_s IS NOT NULL";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    /// It was told.
    pub fn delivered(&mut self, id: i64, said: &str) -> Result<(), StoreError> {
        let sql = "UPDATE deliveries SET next_s = NULL, said = ?2 WHERE id = ?1";
        self.connection.execute(sql, params![id, said])?;
        Ok(())
    }

    /// It was not. Tried again unless `is_final`, or tried often enough; says whether that is so.
    pub fn not_delivered(
        &mut self,
        delivery: &Delivery,
        said: &str,
        is_final: bool,
        now_s: i64,
    ) -> Result<bool, StoreError> {
        let failed = delivery.failed + 1;
        let wait = webhook::next_try(failed).filter(|_| !is_final);
        let next_s = wait.map(|wait| now_s + i64::try_from(wait.as_secs()).unwrap_or(i64::MAX));
        let sql = "UPDATE deliveries SET failed = ?2, next_s = ?3, said = ?4 WHERE id = ?1";
        self.connection.execute(sql, params![delivery.id, failed, next_s, said])?;
        Ok(next_s.is_some())
    }
}

/// Webhooks of one package.
pub const ALERTS_MAX: i64 = 10;
/// Deliveries that wait, in all and of one webhook. Beyond that there is nobody who hears.
const WAITING_MAX: i64 = 1000;
const WAITING_OF_ONE_MAX: i64 = 50;
/// Forty days: longer than anything is told about.
const KEPT_S: i64 = 40 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::tests::scratch;

    fn store() -> (tempfile::TempDir, Store, Actor, Place) {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        store.set_up("ada", "$hash", "acme", 0).unwrap();
        let by = Actor { account: None, login: "ada".to_owned() };
        (dir, store, by, Place::new(1, Some("a.b/c".to_owned())))
    }

    #[test]
    fn the_same_is_told_once_and_tried_until_it_is_heard_or_given_up() {
        let (_dir, mut store, by, place) = store();
        let url = "https://hooks.example/T0/secret";
        let id = store.add_alert(&by, &place, url, &[Event::Weekly], "whsec_", 5).unwrap();
        assert!(store.put_delivery(id, "week", "weekly", "{}", 10).unwrap());
        assert!(!store.put_delivery(id, "week", "weekly", "{}", 11).unwrap(), "the same");
        assert!(!store.put_delivery(id + 1, "week", "weekly", "{}", 11).unwrap(), "nobody");
        assert!(store.due_deliveries(9, 5).unwrap().is_empty());
        let mut now_s = 10;
        for failed in 0..9 {
            assert_eq!(store.next_delivery_s().unwrap(), Some(now_s));
            let [delivery] = &store.due_deliveries(now_s, 5).unwrap()[..] else { panic!() };
            assert_eq!((delivery.failed, &*delivery.url), (failed, url));
            assert!(store.not_delivered(delivery, "500", false, now_s).unwrap(), "{failed}");
            now_s += i64::try_from(webhook::next_try(failed + 1).unwrap().as_secs()).unwrap();
        }
        let last = store.due_deliveries(now_s, 5).unwrap().remove(0);
        assert!(!store.not_delivered(&last, "500", false, now_s).unwrap(), "it is given up");
        assert_eq!(store.next_delivery_s().unwrap(), None);
        assert!(store.put_delivery(id, "next week", "weekly", "{}", now_s).unwrap());
        let next = store.due_deliveries(now_s, 5).unwrap().remove(0);
        store.delivered(next.id, "204").unwrap();
        let last = store.alerts(Some("a.b/c")).unwrap().remove(0).last.unwrap();
        assert_eq!((last.said.as_deref(), last.next_s), (Some("204"), None));
        let third = store.put_delivery(id, "third", "weekly", "{}", now_s).unwrap();
        let delivery = store.due_deliveries(now_s, 5).unwrap().remove(0);
        assert!(third && !store.not_delivered(&delivery, "410", true, now_s).unwrap(), "for good");
    }

    #[test]
    fn what_waits_is_bounded_and_goes_with_the_webhook_or_the_domain() {
        let (_dir, mut store, by, place) = store();
        let add = |store: &mut Store| {
            store.add_alert(&by, &place, "https://a.b/x", &[Event::Backend], "whsec_", 5)
        };
        let id = add(&mut store).unwrap();
        for number in 0..WAITING_OF_ONE_MAX {
            assert!(store.put_delivery(id, &number.to_string(), "backend", "{}", 1).unwrap());
        }
        assert!(!store.put_delivery(id, "more", "backend", "{}", 1).unwrap());
        let elsewhere = Place::new(1, Some("a.b/d".to_owned()));
        assert!(store.remove_alert(&by, &elsewhere, id, 6).is_err(), "another's");
        store.remove_alert(&by, &place, id, 6).unwrap();
        assert_eq!(store.next_delivery_s().unwrap(), None);
        for _ in 0..ALERTS_MAX {
            add(&mut store).unwrap();
        }
        assert!(matches!(add(&mut store), Err(StoreError::Refused(_))));
        let other = store.add_organisation(&by, "other", 7).unwrap();
        store.give_domain(&by, "a.b", other, 8).unwrap();
        assert!(store.alerts(None).unwrap().is_empty(), "its people are others now");
        let told = store.audit(&place, i64::MAX, 50).unwrap();
        let told = told.iter().map(|entry| format!("{:?}{:?}", entry.before, entry.after));
        assert!(told.into_iter().all(|entry| !entry.contains("/x")), "no secret");
    }
}
