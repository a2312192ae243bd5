//! Who is told of what happens to a package, or to all of them.

use rusqlite::{Connection, Row, params};
use serde_json::{Value, json};

use super::audit::{self, Actor, Deed};
use super::place::Place;
use super::room;
use super::store::{Store, StoreError};
use crate::pure::alert::{Event, origin_of};

/// Somebody who is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its number.
    pub id: i64,
    /// `<domain>/<name>`; `None` for one of the configuration file, which is told of all.
    pub package: Option<String>,
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

impl Store {
    /// From now on whoever hears at `url` is told of these events of a package; says its number.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where the package has [`ALERTS_MAX`] already, or its domain as many as there can be.
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
        room::at_domain(
            &step,
            "alerts",
            package,
            (AT_DOMAIN_MAX, "webhooks", "remove some first"),
        )?;
        let deed = Deed { after: Some(shown(url, &words)), ..Deed::at(place, "alert.make") };
        audit::note(&step, by, &deed, now_s)?;
        step.commit()?;
        Ok(id)
    }

    /// Somebody who is told of the package is told at `url` and of these events from now on, signed as before.
    ///
    /// # Errors
    /// [`StoreError::Absent`] also for one of another package.
    pub fn change_alert(
        &mut self,
        by: &Actor,
        place: &Place,
        id: i64,
        (url, events): (&str, &[Event]),
        now_s: i64,
    ) -> Result<(), StoreError> {
        let step = self.begin()?;
        let (before_url, before_words) = written(&step, place, id)?;
        let words = Event::words(events);
        let sql = "UPDATE alerts SET url = ?2, events = ?3 WHERE id = ?1";
        step.execute(sql, params![id, url, words])?;
        let (before, after) = (shown(&before_url, &before_words), shown(url, &words));
        let deed = Deed::at(place, "alert.change");
        audit::note(&step, by, &Deed { before: Some(before), after: Some(after), ..deed }, now_s)?;
        step.commit()?;
        Ok(())
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
        let step = self.begin()?;
        let (url, words) = written(&step, place, id)?;
        step.execute("DELETE FROM alerts WHERE id = ?1", [id])?;
        let before = Some(shown(&url, &words));
        let deed = Deed { before, ..Deed::at(place, "alert.remove") };
        audit::note(&step, by, &deed, now_s)?;
        step.commit()?;
        Ok(())
    }

    /// Those of the configuration file, each with what it is told of, are these from now on. They are told of
    /// all packages.
    pub fn set_alerts_of_file(
        &mut self,
        wanted: &[(String, Vec<Event>)],
        now_s: i64,
    ) -> Result<(), StoreError> {
        let step = self.begin()?;
        let urls: Vec<&str> = wanted.iter().map(|(url, _)| url.as_str()).collect();
        let sql = "DELETE FROM alerts
                   WHERE in_file AND url NOT IN (SELECT value FROM json_each(?1))";
        step.execute(sql, [json!(urls).to_string()])?;
        for (url, events) in wanted {
            let words = Event::words(events);
            let sql = "UPDATE alerts SET events = ?2 WHERE in_file AND url = ?1";
            if step.execute(sql, [url, &words])? == 0 {
                step.execute(
                    "INSERT INTO alerts (package, url, secret, events, created_s, in_file)
                     VALUES (?4, ?1, '', ?2, ?3, 1)",
                    params![url, words, now_s, OF_FILE],
                )?;
            }
        }
        step.commit()?;
        Ok(())
    }

    /// Those of the configuration file.
    pub fn alerts_of_file(&self) -> Result<Vec<Alert>, StoreError> {
        self.alerts(Some(OF_FILE))
    }

    /// Who is told of a package; or everybody, also those of the configuration file.
    pub fn alerts(&self, package: Option<&str>) -> Result<Vec<Alert>, StoreError> {
        let mut listed = self.connection.prepare_cached(
            "SELECT alerts.id, alerts.package, alerts.url, alerts.events, alerts.created_s,
                    last.event, last.created_s, last.said, last.next_s, alerts.in_file
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
            let (package, in_file) = (row.get(1)?, row.get::<_, bool>(9)?);
            Ok(Alert {
                id: row.get(0)?,
                package: (!in_file).then_some(package),
                url: row.get(2)?,
                events: Event::of_words(&row.get::<_, String>(3)?),
                created_s: row.get(4)?,
                last,
            })
        };
        Ok(listed.query_map([package], read)?.collect::<Result<_, _>>()?)
    }
}

/// Where the package's webhook of this number is told, and of what, in words.
fn written(step: &Connection, place: &Place, id: i64) -> Result<(String, String), StoreError> {
    let package = place.package().ok_or(StoreError::Absent)?;
    let sql = "SELECT url, events FROM alerts WHERE id = ?1 AND package = ?2";
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    Ok(step.query_row(sql, params![id, package], read)?)
}

/// Such addresses hold secrets: the audit log says the host.
fn shown(url: &str, words: &str) -> Value {
    json!({ "host": origin_of(url), "events": words })
}

/// What those of the configuration file have instead of a package, which has a slash in its name.
const OF_FILE: &str = "";
/// Webhooks of one package.
pub const ALERTS_MAX: i64 = 10;
/// Webhooks of all packages at one domain: each is looked after every ten seconds.
const AT_DOMAIN_MAX: i64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::accounts::room::tests::is_held_at_domain;
    use crate::control::tests::scratch;

    fn store() -> (tempfile::TempDir, Store, Actor, Place) {
        let dir = scratch();
        let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
        store.set_up("ada", "$hash", "acme", 0).unwrap();
        let by = Actor { account: None, login: "ada".to_owned() };
        (dir, store, by, Place::new(1, Some("a.b/c".to_owned())))
    }

    #[test]
    fn webhooks_are_few_and_go_with_the_domain_and_what_waits_with_them() {
        let (_dir, mut store, by, place) = store();
        let add = |store: &mut Store| {
            store.add_alert(&by, &place, "https://a.b/x", &[Event::Backend], "whsec_", 5)
        };
        let id = add(&mut store).unwrap();
        store.put_delivery(id, "week", "pulls.week", "{}", 1).unwrap();
        let elsewhere = Place::new(1, Some("a.b/d".to_owned()));
        let anothers = store.change_alert(&by, &elsewhere, id, ("https://e.f/y", &[]), 6);
        assert!(matches!(anothers, Err(StoreError::Absent)), "{anothers:?}");
        let anothers = store.remove_alert(&by, &elsewhere, id, 6);
        assert!(matches!(anothers, Err(StoreError::Absent)), "{anothers:?}");
        store.change_alert(&by, &place, id, ("https://e.f/x", &[Event::Weekly]), 6).unwrap();
        let changed = store.alerts(None).unwrap().remove(0);
        assert_eq!((&*changed.url, &changed.events[..]), ("https://e.f/x", &[Event::Weekly][..]));
        store.remove_alert(&by, &place, id, 6).unwrap();
        assert_eq!(store.waiting_deliveries().unwrap(), 0);
        for _ in 0..ALERTS_MAX {
            add(&mut store).unwrap();
        }
        assert!(matches!(add(&mut store), Err(StoreError::Refused(_))));
        let other = store.add_organisation(&by, "other", 7).unwrap();
        store.give_domain(&by, "a.b", other, 8).unwrap();
        assert!(store.alerts(None).unwrap().is_empty(), "its people are others now");
        let told = store.audit(&place, i64::MAX, 50).unwrap();
        let deeds: Vec<&str> = told.iter().rev().map(|entry| &*entry.deed).collect();
        assert_eq!(deeds[..3], ["alert.make", "alert.change", "alert.remove"]);
        let told = told.iter().map(|entry| format!("{:?}{:?}", entry.before, entry.after));
        assert!(told.into_iter().all(|entry| !entry.contains("/x")), "no secret");
    }

    #[test]
    fn at_one_domain_there_are_so_many() {
        let (_dir, mut store, by, _) = store();
        let insert = "INSERT INTO alerts (package, url, secret, events, created_s)
                      VALUES (?1, 'https://a.b/x', '', 'weekly', 0)";
        is_held_at_domain(&mut store, (AT_DOMAIN_MAX, "webhooks"), insert, |store, package| {
            let place = Place::new(1, Some(package.to_owned()));
            let added =
                store.add_alert(&by, &place, "https://a.b/x", &[Event::Weekly], "whsec_", 5);
            added.map(drop)
        });
    }

    #[test]
    fn those_of_the_file_are_as_it_says_and_keep_what_waits() {
        let (_dir, mut store, by, place) = store();
        let (one, two) = ("https://ops.example/1".to_owned(), "https://ops.example/2".to_owned());
        let own = store.add_alert(&by, &place, &one, &[Event::Weekly], "whsec_", 5).unwrap();
        let every = Event::EVERY.to_vec();
        let wanted = [(one.clone(), every.clone()), (two.clone(), vec![Event::Backend])];
        store.set_alerts_of_file(&wanted, 7).unwrap();
        let of_file = store.alerts_of_file().unwrap();
        assert_eq!(
            of_file.iter().map(|alert| (&alert.url, &alert.events)).collect::<Vec<_>>(),
            [(&one, &every), (&two, &vec![Event::Backend])]
        );
        let kept = of_file[1].id;
        store.put_delivery(of_file[0].id, "week", "pulls.week", "{}", 8).unwrap();
        store.put_delivery(kept, "failing", "backend.failing", "{}", 8).unwrap();
        let wanted = [(two, vec![Event::Weekly])];
        store.set_alerts_of_file(&wanted, 9).unwrap();
        let listed = store.alerts(None).unwrap();
        let ids: Vec<i64> = listed.iter().map(|alert| alert.id).collect();
        assert_eq!(ids, [own, kept], "one at the same address that a person made is theirs");
        assert_eq!(listed[1].events, [Event::Weekly]);
        assert_eq!(store.waiting_deliveries().unwrap(), 1);
    }
}
