//! What is to be told by webhook, how that went, and what was told. A message waits here from the moment that
//! it counts as told: what finds no room is not told yet.

use rusqlite::{Connection, OptionalExtension as _, Params, Row, params};
use serde_json::json;

use super::audit::{self, Actor, Deed};
use super::place::Place;
use super::store::{Store, StoreError};
use crate::pure::access::OrganisationId;
use crate::pure::alert::origin_of;
use crate::pure::webhook;

/// Something that is to be told now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its number.
    pub id: i64,
    /// Where.
    pub url: String,
    /// What it is signed with; empty where the configuration file says.
    pub secret: String,
    /// Whether it goes to a webhook of the configuration file.
    pub in_file: bool,
    /// What.
    pub body: String,
    /// How often that has failed.
    pub failed: u32,
}

/// What comes of something that is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It waits to be told.
    Waits,
    /// It was told already, or waits.
    Told,
    /// Too much waits: it is still to be told.
    Full,
    /// There is nobody any more who is told there.
    Nobody,
}

/// What comes of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tested {
    /// It waits to be told.
    Waits,
    /// Too much waits.
    Full,
    /// The last test still waits.
    Behind,
    /// There was one a moment ago: so many seconds are left.
    TooSoon(i64),
}

impl Store {
    /// `body` is to be told to this one, unless it was told `about` that already.
    pub fn put_delivery(
        &mut self,
        alert: i64,
        about: &str,
        event: &str,
        body: &str,
        now_s: i64,
    ) -> Result<Put, StoreError> {
        let step = self.begin()?;
        let put = put(&step, alert, about, event, body, now_s)?;
        step.commit()?;
        Ok(put)
    }

    /// The same of a message that says that it is a test; `about` is another for each.
    ///
    /// # Errors
    /// [`StoreError::Absent`] also for a webhook of another package.
    pub fn put_test(
        &mut self,
        by: &Actor,
        place: &Place,
        alert: i64,
        (about, body): (&str, &str),
        now_s: i64,
    ) -> Result<Tested, StoreError> {
        let package = place.package().ok_or(StoreError::Absent)?;
        let step = self.begin()?;
        let sql = "SELECT url FROM alerts WHERE id = ?1 AND package = ?2";
        let url: String = step.query_row(sql, params![alert, package], |row| row.get(0))?;
        let sql = "SELECT max(created_s) FROM deliveries WHERE alert = ?1 AND event = ?2";
        let last: Option<i64> = step.query_row(sql, params![alert, TEST], |row| row.get(0))?;
        // The clock may have been set back meanwhile.
        let since = last.map(|last| now_s - last).filter(|since| (0..TEST_EVERY_S).contains(since));
        if let Some(since) = since {
            return Ok(Tested::TooSoon(TEST_EVERY_S - since));
        }
        // Tests that nobody hears would take the room of what there is to tell.
        if waiting(&step, "alert = ?1 AND event = ?2", params![alert, TEST])? > 0 {
            return Ok(Tested::Behind);
        }
        match put(&step, alert, about, TEST, body, now_s)? {
            Put::Waits | Put::Told => {}
            Put::Full => return Ok(Tested::Full),
            Put::Nobody => return Err(StoreError::Absent),
        }
        let after = json!({ "host": origin_of(&url) });
        let deed = Deed { after: Some(after), ..Deed::at(place, "alert.test") };
        audit::note(&step, by, &deed, now_s)?;
        step.commit()?;
        Ok(Tested::Waits)
    }

    /// What is to be told now, so many at the most, while those of the numbers `under_way` are being told:
    /// to each webhook one at a time, of each organisation a few, whoever waits longest first.
    pub fn due_deliveries(
        &self,
        now_s: i64,
        under_way: &[i64],
        many: usize,
    ) -> Result<Vec<Delivery>, StoreError> {
        let mut due = self.connection.prepare_cached(
            "WITH due AS (
                 SELECT id, alert, organisation, next_s,
                        id IN (SELECT value FROM json_each(?2)) AS is_under_way
                 FROM deliveries WHERE next_s <= ?1
             ), of_alert AS (
                 SELECT *, row_number() OVER (
                     PARTITION BY alert ORDER BY is_under_way DESC, next_s, id) AS turn
                 FROM due
             ), of_owner AS (
                 SELECT *, row_number() OVER (
                     PARTITION BY organisation ORDER BY is_under_way DESC, next_s, id) AS turn_there
                 FROM of_alert WHERE turn = 1
             )
             SELECT deliveries.id, url, secret, in_file, body, failed
             FROM of_owner
                 JOIN deliveries ON deliveries.id = of_owner.id
                 JOIN alerts ON alerts.id = of_owner.alert
             WHERE NOT is_under_way AND turn_there <= ?3
             ORDER BY turn_there, of_owner.next_s, of_owner.id LIMIT ?4",
        )?;
        let read = |row: &Row<'_>| {
            Ok(Delivery {
                id: row.get(0)?,
                url: row.get(1)?,
                secret: row.get(2)?,
                in_file: row.get(3)?,
                body: row.get(4)?,
                failed: row.get(5)?,
            })
        };
        let many = i64::try_from(many).unwrap_or(i64::MAX);
        let under_way = json!(under_way).to_string();
        let of = params![now_s, under_way, OF_OWNER_AT_ONCE, many];
        Ok(due.query_map(of, read)?.collect::<Result<_, _>>()?)
    }

    /// How many wait. They are counted anew only where something was written since they were last.
    pub fn waiting_deliveries(&mut self) -> Result<u64, StoreError> {
        let written = self.connection.total_changes();
        if let Some((then, waiting)) = self.waiting
            && then == written
        {
            return Ok(waiting);
        }
        let waiting = waiting(&self.connection, "TRUE", [])?.unsigned_abs();
        self.waiting = Some((written, waiting));
        Ok(waiting)
    }

    /// It was told.
    pub fn delivered(&mut self, id: i64, said: &str) -> Result<(), StoreError> {
        let sql = "UPDATE deliveries SET next_s = NULL, said = ?2, body = '' WHERE id = ?1";
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
        let sql = "UPDATE deliveries SET failed = ?2, next_s = ?3, said = ?4,
                       body = CASE WHEN ?3 IS NULL THEN '' ELSE body END
                   WHERE id = ?1 AND next_s IS NOT NULL";
        // One that was ended meanwhile does not begin again.
        let changed = self.connection.execute(sql, params![delivery.id, failed, next_s, said])?;
        Ok(changed > 0 && next_s.is_some())
    }

    /// What waits to be told of the counts of this package, or of all of this domain, is told no more, and not
    /// made again: they are to be as if they had never been counted. So is what is told of all packages and
    /// names one of them. How many messages that were.
    pub fn end_news(&mut self, of: &str, is_domain: bool) -> Result<usize, StoreError> {
        let (begins, in_body) = match is_domain {
            false => (of.to_owned(), format!("\"{of}\"")),
            true => (format!("{of}/"), format!("\"{of}/")),
        };
        let sql = "UPDATE deliveries SET next_s = NULL, said = ?4, body = ''
                   WHERE next_s IS NOT NULL AND event LIKE 'pulls.%' AND alert IN (
                       SELECT id FROM alerts WHERE CASE
                           WHEN in_file THEN instr(deliveries.body, ?2) > 0
                           WHEN ?3 THEN substr(package, 1, length(?1)) = ?1
                           ELSE package = ?1 END)";
        let of = params![begins, in_body, is_domain, ERASED];
        let ended = self.connection.execute(sql, of)?;
        if ended > 0 {
            // The log beside the database has what they were, until it is begun anew.
            self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        }
        Ok(ended)
    }
}

/// Puts it, in a transaction of the caller's.
fn put(
    step: &Connection,
    alert: i64,
    about: &str,
    event: &str,
    body: &str,
    now_s: i64,
) -> Result<Put, StoreError> {
    let sql = "SELECT package, in_file FROM alerts WHERE id = ?1";
    let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?));
    let Some((package, in_file)) = step.query_row(sql, [alert], read).optional()? else {
        return Ok(Put::Nobody);
    };
    let sql = "SELECT EXISTS (SELECT 1 FROM deliveries WHERE alert = ?1 AND about = ?2)";
    if step.query_row(sql, params![alert, about], |row| row.get(0))? {
        return Ok(Put::Told);
    }
    let own = waiting(step, "alert = ?1", [alert])?;
    let owner = if in_file { None } else { owner(step, &package)? };
    let is_full = if in_file {
        own >= WAITING_OF_FILE_MAX
    } else {
        let of_package = "alert IN (SELECT id FROM alerts WHERE package = ?1)";
        let of_package = waiting(step, of_package, [&package])?;
        let of_owner = waiting(step, "organisation IS ?1", [owner])?;
        let all = waiting(step, "organisation IS NOT NULL", [])?;
        own >= WAITING_OF_ONE_MAX
            || of_package >= WAITING_OF_PACKAGE_MAX
            || of_owner >= WAITING_OF_OWNER_MAX
            || all >= WAITING_MAX && of_owner >= WAITING_OF_OWNER_ALWAYS
    };
    if is_full {
        return Ok(Put::Full);
    }
    step.execute(
        "INSERT INTO deliveries (alert, about, event, body, created_s, next_s, organisation)
         VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)",
        params![alert, about, event, body, now_s, owner],
    )?;
    forget(step, alert, now_s)?;
    Ok(Put::Waits)
}

/// How many wait of which this is so.
fn waiting(step: &Connection, is_so: &str, of: impl Params) -> Result<i64, StoreError> {
    let sql = format!("SELECT count(*) FROM deliveries WHERE next_s IS NOT NULL AND {is_so}");
    Ok(step.query_row(&sql, of, |row| row.get(0))?)
}

/// Whose a package is, by its domain.
fn owner(step: &Connection, package: &str) -> Result<Option<OrganisationId>, StoreError> {
    let domain = package.split('/').next().unwrap_or_default();
    let sql = "SELECT coalesce((SELECT organisation FROM domains WHERE host = ?1),
                               (SELECT id FROM organisations WHERE is_operator))";
    Ok(step.query_row(sql, [domain], |row| row.get(0))?)
}

/// What is over is kept for as long as the same might come up again: what is told of once a day, a week or a
/// certificate, for some weeks; of what can come up at any time, the last few, and those of an outage for as
/// long as that is kept.
fn forget(step: &Connection, alert: i64, now_s: i64) -> Result<(), StoreError> {
    let is_over = "next_s IS NULL AND NOT EXISTS (SELECT 1 FROM outages WHERE about IN
                   ('failing ' || registry || ' ' || since_s,
                    'working ' || registry || ' ' || since_s))";
    let sql = format!("DELETE FROM deliveries WHERE {is_over} AND created_s < ?1");
    step.execute(&sql, [now_s - KEPT_S])?;
    let at_any_time = "event IN ('test', 'backend.failing', 'backend.working')";
    let sql = format!(
        "DELETE FROM deliveries WHERE {is_over} AND alert = ?1 AND {at_any_time} AND id <=
             (SELECT id FROM deliveries WHERE alert = ?1 AND {at_any_time}
              ORDER BY id DESC LIMIT 1 OFFSET ?2)"
    );
    step.execute(&sql, [alert, KEPT_OF_ONE])?;
    Ok(())
}

/// How it went with what is told no more.
const ERASED: &str = "not told: the counts were erased";
/// What a test is of.
pub const TEST: &str = "test";
/// What waits for one webhook: beyond that there is nobody who hears.
const WAITING_OF_ONE_MAX: i64 = 50;
/// What waits for all webhooks of one package: its admins take no other package's room.
const WAITING_OF_PACKAGE_MAX: i64 = 100;
/// What waits for all webhooks of one organisation's packages.
const WAITING_OF_OWNER_MAX: i64 = 500;
/// What waits for all organisations': some tens of megabytes. Beyond that each organisation still has a little.
const WAITING_MAX: i64 = 20_000;
const WAITING_OF_OWNER_ALWAYS: i64 = 20;
/// What waits for one of the configuration file's, which hears of all packages.
const WAITING_OF_FILE_MAX: i64 = 1000;
/// What is told at once of one organisation's packages, so that receivers of theirs that hear slowly hold up
/// nobody else's.
const OF_OWNER_AT_ONCE: i64 = 4;
/// Forty days: longer than anything is told about.
const KEPT_S: i64 = 40 * 24 * 3600;
/// What is kept of tests and outages that are over, for one webhook.
const KEPT_OF_ONE: i64 = 20;
/// How long after a test of a webhook the next one may come: each is in the audit log too.
const TEST_EVERY_S: i64 = 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::accounts::outages::Outage;
    use crate::control::tests::scratch;
    use crate::pure::alert::Event;

    struct Scene {
        _dir: tempfile::TempDir,
        store: Store,
        by: Actor,
    }

    impl Scene {
        fn new() -> Self {
            let dir = scratch();
            let mut store = Store::open(&dir.path().join("a.sqlite")).unwrap();
            store.set_up("ada", "$hash", "acme", 0).unwrap();
            let by = Actor { account: None, login: "ada".to_owned() };
            Self { _dir: dir, store, by }
        }

        /// One more webhook of this package.
        fn webhook(&mut self, package: &str) -> i64 {
            let place = Place::new(1, Some(package.to_owned()));
            let url = format!("https://{package}");
            self.store.add_alert(&self.by, &place, &url, &[Event::Weekly], "whsec_", 5).unwrap()
        }

        fn put(&mut self, alert: i64, about: &str, now_s: i64) -> Put {
            self.store.put_delivery(alert, about, "pulls.week", "{}", now_s).unwrap()
        }

        fn due(&self, now_s: i64) -> Vec<Delivery> {
            self.store.due_deliveries(now_s, &[], 5).unwrap()
        }

        fn kept(&self, alert: i64) -> i64 {
            let sql = "SELECT count(*) FROM deliveries WHERE alert = ?1";
            self.store.connection.query_row(sql, [alert], |row| row.get(0)).unwrap()
        }
    }

    #[test]
    fn the_same_is_told_once_and_tried_until_it_is_heard_or_given_up() {
        let mut scene = Scene::new();
        let id = scene.webhook("a.b/c");
        assert_eq!(scene.put(id, "week", 10), Put::Waits);
        assert_eq!(scene.put(id, "week", 11), Put::Told);
        assert_eq!(scene.put(id + 1, "week", 11), Put::Nobody);
        assert_eq!(scene.due(9), []);
        let mut now_s = 10;
        for failed in 0..9 {
            assert_eq!(scene.due(now_s - 1), [], "{failed}");
            let [delivery] = &scene.due(now_s)[..] else { panic!() };
            assert_eq!((delivery.failed, &*delivery.url), (failed, "https://a.b/c"));
            assert!(scene.store.not_delivered(delivery, "500", false, now_s).unwrap(), "{failed}");
            now_s += i64::try_from(webhook::next_try(failed + 1).unwrap().as_secs()).unwrap();
        }
        let last = scene.due(now_s).remove(0);
        assert!(!scene.store.not_delivered(&last, "500", false, now_s).unwrap(), "it is given up");
        assert_eq!(scene.store.waiting_deliveries().unwrap(), 0);
        assert_eq!(scene.put(id, "week", now_s), Put::Told, "it is not begun again");
        assert_eq!(scene.put(id, "next week", now_s), Put::Waits);
        let next = scene.due(now_s).remove(0);
        scene.store.delivered(next.id, "204").unwrap();
        let last = scene.store.alerts(Some("a.b/c")).unwrap().remove(0).last.unwrap();
        assert_eq!((last.said.as_deref(), last.next_s), (Some("204"), None));
        let third = scene.put(id, "third", now_s);
        let delivery = scene.due(now_s).remove(0);
        assert!(!scene.store.not_delivered(&delivery, "410", true, now_s).unwrap(), "for good");
        assert_eq!(third, Put::Waits);
        let sql = "SELECT count(*) FROM deliveries WHERE body != ''";
        let said: i64 = scene.store.connection.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(said, 0, "what is over says nothing any more");
    }

    #[test]
    fn nobody_takes_the_room_of_others_and_what_finds_none_is_still_to_be_told() {
        let mut scene = Scene::new();
        let greedy = scene.store.add_organisation(&scene.by, "greedy", 7).unwrap();
        scene.store.give_domain(&scene.by, "greedy.example", greedy, 8).unwrap();
        let mut webhooks = Vec::new();
        // One package takes no more than its own room, however many webhooks it has.
        let fill = WAITING_OF_PACKAGE_MAX / WAITING_OF_ONE_MAX;
        for package in 0..WAITING_OF_OWNER_MAX / WAITING_OF_PACKAGE_MAX {
            let package = format!("greedy.example/{package}");
            webhooks.extend((0..fill).map(|_| scene.webhook(&package)));
        }
        let third = scene.webhook("greedy.example/0");
        let last = scene.webhook("greedy.example/last");
        for webhook in &webhooks {
            for number in 0..WAITING_OF_ONE_MAX {
                assert_eq!(scene.put(*webhook, &number.to_string(), 10), Put::Waits);
            }
            assert_eq!(scene.put(*webhook, "more", 10), Put::Full);
            assert_eq!(scene.put(*webhook, "0", 10), Put::Told, "also where there is no room");
            if *webhook == webhooks[1] {
                assert_eq!(scene.put(third, "first", 10), Put::Full, "its package's room is taken");
                let elsewhere = scene.put(last, "of another package", 10);
                assert_eq!(elsewhere, Put::Waits, "the others' is not");
                let sql = "DELETE FROM deliveries WHERE alert = ?1";
                scene.store.connection.execute(sql, [last]).unwrap();
            }
        }
        assert_eq!(scene.put(last, "first", 10), Put::Full, "its organisation's room is taken");
        let ours = scene.webhook("a.b/c");
        assert_eq!(scene.put(ours, "week", 10), Put::Waits);
        // Once there is room, it is told.
        let heard = scene.due(10).remove(0);
        scene.store.delivered(heard.id, "204").unwrap();
        assert_eq!(scene.put(last, "first", 11), Put::Waits);
    }

    #[test]
    fn where_all_room_is_taken_each_organisation_still_has_a_little() {
        let mut scene = Scene::new();
        let (one, mut number) = (scene.webhook("a.b/c"), 0);
        let mut fill = |scene: &Scene, organisation: Option<i64>, many: i64| {
            let sql = "INSERT INTO deliveries (alert, about, event, body, created_s, next_s,
                           organisation) VALUES (?1, ?2, 'x', '{}', 1, 1, ?3)";
            let step = scene.store.connection.unchecked_transaction().unwrap();
            for _ in 0..many {
                number += 1;
                let about = format!("filled {number}");
                step.execute(sql, params![one, about, organisation]).unwrap();
            }
            step.commit().unwrap();
        };
        let greedy = scene.store.add_organisation(&scene.by, "greedy", 7).unwrap();
        scene.store.give_domain(&scene.by, "late.example", greedy, 8).unwrap();
        let late = scene.webhook("late.example/c");
        // The operator's own take nobody's room.
        fill(&scene, None, WAITING_MAX);
        for number in 0..=WAITING_OF_OWNER_ALWAYS {
            assert_eq!(scene.put(late, &format!("early {number}"), 10), Put::Waits);
        }
        let sql = "DELETE FROM deliveries WHERE alert = ?1";
        scene.store.connection.execute(sql, [late]).unwrap();
        fill(&scene, Some(7_777), WAITING_MAX);
        for number in 0..WAITING_OF_OWNER_ALWAYS {
            assert_eq!(scene.put(late, &format!("late {number}"), 10), Put::Waits);
        }
        assert_eq!(scene.put(late, "one more", 10), Put::Full);
    }

    #[test]
    fn one_at_a_time_is_told_to_each_and_a_few_of_each_organisation() {
        let mut scene = Scene::new();
        let slow = scene.store.add_organisation(&scene.by, "slow", 7).unwrap();
        scene.store.give_domain(&scene.by, "slow.example", slow, 8).unwrap();
        for number in 0..2 * OF_OWNER_AT_ONCE {
            let webhook = scene.webhook(&format!("slow.example/{number}"));
            for about in ["one", "two"] {
                assert_eq!(scene.put(webhook, about, 10), Put::Waits);
            }
        }
        let ours = scene.webhook("a.b/c");
        assert_eq!(scene.put(ours, "week", 20), Put::Waits);
        let due = scene.store.due_deliveries(20, &[], 100).unwrap();
        let urls: Vec<&str> = due.iter().map(|delivery| &*delivery.url).collect();
        assert_eq!(
            urls,
            [
                "https://slow.example/0",
                "https://a.b/c",
                "https://slow.example/1",
                "https://slow.example/2",
                "https://slow.example/3"
            ]
        );
        // While these are told, nothing more of theirs is; but of others.
        let under_way: Vec<i64> = due.iter().map(|delivery| delivery.id).collect();
        assert_eq!(scene.store.due_deliveries(20, &under_way, 100).unwrap(), []);
        assert_eq!(scene.put(ours, "next", 20), Put::Waits);
        assert_eq!(scene.store.due_deliveries(20, &under_way, 100).unwrap(), [], "one at a time");
        let other = scene.webhook("a.b/d");
        assert_eq!(scene.put(other, "week", 20), Put::Waits);
        let [next] = &scene.store.due_deliveries(20, &under_way, 100).unwrap()[..] else {
            panic!()
        };
        assert_eq!(next.url, "https://a.b/d");
        // One that is done makes room for the next of the same organisation.
        scene.store.delivered(under_way[0], "204").unwrap();
        let next = scene.store.due_deliveries(20, &under_way[1..], 1).unwrap();
        assert_eq!(next.len(), 1);
    }

    #[test]
    fn tests_are_rare_noted_and_few_are_kept() {
        let mut scene = Scene::new();
        let id = scene.webhook("a.b/c");
        let place = Place::new(1, Some("a.b/c".to_owned()));
        let elsewhere = Place::new(1, Some("a.b/d".to_owned()));
        let test = |scene: &mut Scene, place: &Place, number: i64, now_s: i64| {
            let about = format!("test {number}");
            scene.store.put_test(&scene.by, place, id, (&about, "{}"), now_s)
        };
        let another = test(&mut scene, &elsewhere, 0, 100);
        assert!(matches!(another, Err(StoreError::Absent)), "{another:?}");
        assert_eq!(test(&mut scene, &place, 0, 100).unwrap(), Tested::Waits);
        assert_eq!(test(&mut scene, &place, 1, 110).unwrap(), Tested::TooSoon(20));
        assert_eq!(test(&mut scene, &place, 1, 200).unwrap(), Tested::Behind, "it still waits");
        let heard = scene.due(200).remove(0);
        scene.store.delivered(heard.id, "204").unwrap();
        assert_eq!(test(&mut scene, &place, 1, 90).unwrap(), Tested::Waits, "the clock was set");
        for number in 2..100 {
            let now_s = 100 + number * TEST_EVERY_S;
            for due in scene.due(now_s) {
                scene.store.delivered(due.id, "204").unwrap();
            }
            assert_eq!(test(&mut scene, &place, number, now_s).unwrap(), Tested::Waits);
        }
        assert!(scene.kept(id) <= KEPT_OF_ONE + 2, "{}", scene.kept(id));
        let told = scene.store.audit(&place, i64::MAX, 200).unwrap();
        let tests: Vec<_> = told.iter().filter(|entry| entry.deed == "alert.test").collect();
        assert_eq!(tests.len(), 100);
        assert_eq!(tests[0].after.as_ref().unwrap()["host"], "https://a.b");
    }

    #[test]
    fn what_is_forgotten_is_what_cannot_come_up_again() {
        let mut scene = Scene::new();
        let id = scene.webhook("a.b/c");
        let outage = |since_s| Outage {
            registry: "https://r.example/v2/".to_owned(),
            since_s,
            why: "answered 503".to_owned(),
            ended_s: None,
        };
        scene.store.put_outage(&outage(7)).unwrap();
        let about = |since_s: i64| format!("failing https://r.example/v2/ {since_s}");
        let (week, mut now_s) = ("week 2026-11-23", 1000);
        assert_eq!(scene.put(id, week, now_s), Put::Waits);
        for since_s in 7..100 {
            let put = scene.store.put_delivery(id, &about(since_s), "backend.failing", "{}", now_s);
            assert_eq!(put.unwrap(), Put::Waits);
            while let Some(due) = scene.due(now_s).pop() {
                scene.store.delivered(due.id, "204").unwrap();
            }
        }
        assert!(scene.kept(id) <= KEPT_OF_ONE + 3, "{}", scene.kept(id));
        assert_eq!(scene.put(id, week, now_s), Put::Told);
        assert_eq!(scene.put(id, &about(7), now_s), Put::Told, "it still fails");
        // Much later the week is over, and the outage is not.
        now_s += 2 * KEPT_S;
        assert_eq!(scene.put(id, "later", now_s), Put::Waits);
        assert_eq!(scene.put(id, &about(7), now_s), Put::Told);
        assert_eq!(scene.put(id, week, now_s), Put::Waits);
        scene.store.remove_outage(&outage(7)).unwrap();
        assert_eq!(scene.put(id, "later still", now_s), Put::Waits);
        assert_eq!(scene.kept(id), 3, "the outage is over and told");
    }

    #[test]
    fn what_is_erased_is_told_no_more_and_all_else_is() {
        let mut scene = Scene::new();
        let ids = ["a.b/c", "a.b/d", "a.bc/c"].map(|package| scene.webhook(package));
        let of_all = [("https://all".to_owned(), vec![Event::Weekly])];
        scene.store.set_alerts_of_file(&of_all, 5).unwrap();
        let file = scene.store.alerts_of_file().unwrap().remove(0).id;
        let outage = scene.store.put_delivery(ids[0], "failing", "backend.failing", "{}", 10);
        assert_eq!(outage.unwrap(), Put::Waits);
        for id in ids {
            assert_eq!(scene.put(id, "week", 10), Put::Waits);
        }
        for (about, body) in [("one", r#"{"name":"a.b/c"}"#), ("two", r#"{"name":"a.b/c2"}"#)] {
            let put = scene.store.put_delivery(file, about, "pulls.week", body, 10);
            assert_eq!(put.unwrap(), Put::Waits);
        }
        let end = |scene: &mut Scene, of: &str, is_domain: bool| {
            let ended = scene.store.end_news(of, is_domain).unwrap();
            (ended, scene.store.waiting_deliveries().unwrap())
        };
        assert_eq!(end(&mut scene, "a.b/c", false), (2, 4));
        assert_eq!(scene.put(ids[0], "week", 11), Put::Told, "it is not made again");
        assert_eq!(end(&mut scene, "a.b", true), (2, 2));
        let sql = "SELECT count(*) FROM deliveries WHERE body != ''";
        let bodies: i64 = scene.store.connection.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(bodies, 2, "the outage, and another domain's week");
    }

    #[test]
    fn what_was_ended_while_it_was_being_told_is_not_told_again() {
        let mut scene = Scene::new();
        let alert = scene.webhook("acme.com/x");
        assert_eq!(scene.put(alert, "a week", 0), Put::Waits);
        let under_way = scene.due(0).remove(0);
        assert_eq!(scene.store.end_news("acme.com/x", false).unwrap(), 1);
        assert!(!scene.store.not_delivered(&under_way, "500", false, 1).unwrap());
        assert!(scene.due(i64::MAX).is_empty());
    }
}
