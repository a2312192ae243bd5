//! Looks for what is to be told: registries that fail, certificates that end, unusual days, weeks that are over.
//!
//! What is so is told to everybody who was not told of it yet, each time that it is looked at: whoever has no
//! room now hears of it later. What was told stands in the database.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::day::{Day, Found, Question};
use super::news::{News, of_certificate, of_outage, shown_for};
use super::registries::{Asking, Tried, concerned};
use super::{Alerts, DATABASE_EVERY};
use crate::aggregator::{Query, QueryError};
use crate::control::accounts::alerts::Alert;
use crate::control::accounts::deliveries::Put;
use crate::control::accounts::outages::Outage;
use crate::control::accounts::{Accounts, Store, now_s};
use crate::pure::alert::{Event, Message, Standing, Turn, origin_of};
use crate::pure::period::Piece;

/// What was seen so far.
#[derive(Default)]
struct Watch {
    /// Who is being asked.
    asking: Asking,
    /// How registries stand, by where their `/v2/` is.
    standings: HashMap<String, Standing>,
    /// Those that fail, and those that work again without all knowing it: as the database has them.
    outages: Vec<Outage>,
    /// What the database has for told, so that it is not asked again and again.
    told: HashSet<(i64, String)>,
    /// What the counts have shown and somebody had no room for.
    untold: VecDeque<(Alert, Arc<News>)>,
    /// When that is tried again.
    untold_at: Timestamp,
    /// Who has no room, as the log says.
    full: HashSet<i64>,
    /// The day whose beginning is looked at.
    day: Option<Day>,
}

/// Looks, for good.
pub(super) async fn look(at: &Alerts) {
    let mut watch = loop {
        // What is wrong with the database is said by who has it.
        match at.accounts.run(|store| store.outages()).await {
            Ok(outages) => break Watch::knowing(outages),
            Err(_) => sleep(DATABASE_EVERY).await,
        }
    };
    loop {
        let is_in_doubt = watch.standings.values().any(Standing::is_in_doubt);
        sleep(if is_in_doubt { DOUBT_EVERY } else { LOOK_EVERY }).await;
        let Ok(alerts) = at.accounts.run(|store| store.alerts(None)).await else { continue };
        watch.registries(at, &alerts).await;
        watch.certificates(at, &alerts).await;
        let asked = |question, today| read(at.query.clone(), question, today);
        watch.days(&at.accounts, &alerts, Timestamp::now(), asked).await;
    }
}

impl Watch {
    /// One that goes on from these.
    fn knowing(outages: Vec<Outage>) -> Self {
        let failing = outages.iter().filter(|one| one.ended_s.is_none());
        let standings = failing.map(|one| (one.registry.clone(), Standing::failing(one.since_s)));
        Self { standings: standings.collect(), outages, ..Self::default() }
    }

    /// Asks each registry of theirs for its `/v2/`, and tells what has come of that.
    async fn registries(&mut self, at: &Alerts, alerts: &[Alert]) {
        let snapshot = at.in_force.snapshot();
        let of = concerned(&snapshot, alerts);
        let standing = |base: &str| self.standings.get(base).copied().unwrap_or_default();
        let tried = self.asking.look(at, &snapshot, of.keys().copied(), standing).await;
        let base = |index: &usize| snapshot.registries.get(*index).map(|one| one.base.as_str());
        let of = of.iter().filter_map(|(index, alerts)| Some((base(index)?, &**alerts)));
        self.know(&at.accounts, tried, &of.collect(), now_s()).await;
    }

    /// Knows how it went to ask them, and tells whoever is concerned.
    async fn know(
        &mut self,
        accounts: &Accounts,
        tried: Vec<Tried>,
        of: &HashMap<&str, &[&Alert]>,
        now_s: i64,
    ) {
        for (registry, works) in tried {
            let mut standing = self.standings.get(&registry).copied().unwrap_or_default();
            if let Some(turn) = standing.tried(works.is_ok(), now_s) {
                let outage = self.turned(&registry, turn, works.err(), now_s);
                let kept = outage.clone();
                // What cannot be kept now is found out again by the next try.
                if accounts.run(move |store| store.put_outage(&kept)).await.is_err() {
                    continue;
                }
                self.outages.retain(|one| !one.is(&outage));
                self.outages.push(outage);
            }
            self.standings.insert(registry, standing);
        }
        self.standings.retain(|registry, _| of.contains_key(&**registry));
        for outage in self.outages.clone() {
            let mut is_told = true;
            let begun = of_outage(&Outage { ended_s: None, ..outage.clone() });
            let ended = outage.ended_s.is_some().then(|| of_outage(&outage));
            for alert in of.get(&*outage.registry).copied().unwrap_or_default() {
                let is_later = outage.ended_s.is_some_and(|ended_s| alert.created_s > ended_s);
                if is_later {
                    continue;
                }
                // That it is over tells nothing to whom it was not told that it had begun.
                is_told &= self.tell(accounts, alert, &begun).await
                    && match &ended {
                        Some(ended) => self.tell(accounts, alert, ended).await,
                        None => true,
                    };
            }
            let is_forgotten = !of.contains_key(&*outage.registry);
            if is_forgotten || is_told && outage.ended_s.is_some() {
                let over = outage.clone();
                if accounts.run(move |store| store.remove_outage(&over)).await.is_ok() {
                    self.outages.retain(|one| !one.is(&outage));
                }
            }
        }
    }

    /// The outage that has begun or ended by this.
    fn turned(&self, registry: &str, turn: Turn, why: Option<String>, now_s: i64) -> Outage {
        let (since_s, ended_s) = match turn {
            Turn::Fails { since_s } => (since_s, None),
            Turn::Works { failing_since_s } => (failing_since_s, Some(now_s)),
        };
        let why = why.unwrap_or_default();
        let outage = Outage { registry: registry.to_owned(), since_s, why, ended_s };
        let known = self.outages.iter().find(|one| one.is(&outage));
        match known.cloned() {
            Some(known) => Outage { ended_s, ..known },
            None => outage,
        }
    }

    async fn certificates(&mut self, at: &Alerts, alerts: &[Alert]) {
        let (entries, now_s) = (at.certificates.borrow().clone(), now_s());
        for alert in alerts.iter().filter(|alert| alert.events.contains(&Event::Certificate)) {
            let ends: Vec<News> = match &alert.package {
                Some(package) => {
                    let domain = package.split('/').next().unwrap_or_default();
                    let shown = shown_for(&entries, domain);
                    shown
                        .and_then(|entry| of_certificate(domain, entry, now_s))
                        .into_iter()
                        .collect()
                }
                None => {
                    let first = |names: &[Box<str>]| names.first().cloned().unwrap_or_default();
                    let ends = entries.iter();
                    ends.filter_map(|one| of_certificate(&first(&one.names), one, now_s)).collect()
                }
            };
            for news in ends {
                self.tell(&at.accounts, alert, &news).await;
            }
        }
    }

    /// What the last day that is counted whole and the week before were. What cannot be read is left out and tried
    /// again; nobody else waits for it.
    async fn days<F>(
        &mut self,
        accounts: &Accounts,
        alerts: &[Alert],
        now: Timestamp,
        read: impl Fn(Question, Timestamp) -> F,
    ) where
        F: Future<Output = Result<Found, QueryError>>,
    {
        self.tell_untold(accounts, now).await;
        // Just after midnight yesterday is still what it was: the day that has begun, after one that is known.
        let today = Piece::Day.begin(now - LATE_COME);
        let mut day = match self.day.take() {
            Some(day) if day.today == today => day,
            Some(_) | None => Day::of(alerts, today),
        };
        let begun = Instant::now();
        while begun.elapsed() < READ_FOR
            && let Some((question, hear)) = day.next(now)
        {
            match read(question.clone(), today).await {
                Ok(Found::News(news)) => {
                    if let Some(news) = news.map(Arc::new) {
                        for alert in &hear {
                            self.tell_later(accounts, alert, &news).await;
                        }
                    }
                }
                Ok(Found::Packages(packages)) => {
                    packages.into_iter().for_each(|package| day.add(package, &hear));
                }
                Err(why) => {
                    tracing::warn!("for webhooks: {question}: {why}; it is tried again");
                    day.put_off(question, hear, now + READ_AGAIN);
                }
            }
        }
        self.day = Some(day);
    }

    /// Tells what found no room before, where there is some by now.
    async fn tell_untold(&mut self, accounts: &Accounts, now: Timestamp) {
        if self.untold.is_empty() || now < self.untold_at {
            return;
        }
        self.untold_at = now + UNTOLD_EVERY;
        let mut are_full = HashSet::new();
        for (alert, news) in std::mem::take(&mut self.untold) {
            if are_full.contains(&alert.id) || !self.tell(accounts, &alert, &news).await {
                are_full.insert(alert.id);
                self.untold.push_back((alert, news));
            }
        }
    }

    /// Tells somebody, now or as soon as there is room.
    async fn tell_later(&mut self, accounts: &Accounts, alert: &Alert, news: &Arc<News>) {
        if !self.tell(accounts, alert, news).await {
            if self.untold.len() >= UNTOLD_MAX {
                self.untold.pop_front();
            }
            self.untold.push_back((alert.clone(), Arc::clone(news)));
        }
    }

    /// Tells somebody, unless they know it; whether they do by now.
    async fn tell(&mut self, accounts: &Accounts, alert: &Alert, news: &News) -> bool {
        let News { about, kind, package, text, data } = news;
        let kind = *kind;
        let about = match (&alert.package, package) {
            // Whoever hears of all packages hears the same of several.
            (None, Some(package)) => format!("{about} {package}"),
            (Some(_), _) | (None, None) => about.clone(),
        };
        let known = (alert.id, about.clone());
        if self.told.contains(&known) {
            return true;
        }
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let package = alert.package.as_deref().or(package.as_deref());
        let text = match package {
            Some(package) => format!("{package}: {text}"),
            None => text.clone(),
        };
        let message = Message { kind, package, at: &now, text, data: data.clone() };
        let (id, body) = (alert.id, message.body());
        let put = move |store: &mut Store| store.put_delivery(id, &about, kind, &body, now_s());
        match accounts.run(put).await {
            Ok(Put::Full) => {
                if self.full.insert(id) {
                    let (whose, origin) = (package.unwrap_or("the gateway"), origin_of(&alert.url));
                    tracing::warn!(
                        "for the webhook of {whose} at {origin} so many messages wait that more \
                         are put off until it has heard some"
                    );
                }
                false
            }
            Ok(Put::Waits | Put::Told | Put::Nobody) => {
                self.full.remove(&id);
                if self.told.len() >= TOLD_MAX {
                    self.told.clear();
                }
                self.told.insert(known);
                true
            }
            Err(_) => false,
        }
    }
}

/// Reads counts where that may take a while.
async fn read(query: Query, question: Question, today: Timestamp) -> Result<Found, QueryError> {
    let read = spawn_blocking(move || question.read(&query, today));
    read.await.unwrap_or(Err(QueryError::Stopped))
}

/// How often registries are asked; each has to fail three times, for ten seconds.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const DOUBT_EVERY: Duration = Duration::from_secs(5);
/// After so long all of a day is counted.
const LATE_COME: SignedDuration = SignedDuration::from_mins(15);
/// For how long counts are read before registries are asked again.
const READ_FOR: Duration = Duration::from_secs(5);
/// How long after it could not be read something is tried again.
const READ_AGAIN: SignedDuration = SignedDuration::from_mins(5);
/// How often what found no room is tried again, and how much of it is remembered: beyond that the oldest goes.
const UNTOLD_EVERY: SignedDuration = SignedDuration::from_secs(30);
const UNTOLD_MAX: usize = 10_000;
/// What is remembered of what was told.
const TOLD_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::accounts::audit::Actor;
    use crate::control::accounts::place::Place;
    use crate::control::tests::scratch;

    const REGISTRY: &str = "https://r.example/v2/";

    /// A watch over one registry, and who is told of it.
    struct Scene {
        _dir: tempfile::TempDir,
        accounts: Accounts,
        watch: Watch,
        now_s: i64,
    }

    impl Scene {
        fn new() -> Self {
            let dir = scratch();
            let accounts = Accounts::open(dir.path()).unwrap();
            accounts.wait(|store| store.set_up("ada", "$hash", "acme", 0)).unwrap();
            let scene = Self { _dir: dir, accounts, watch: Watch::default(), now_s: 36_000 };
            scene.add("https://a.b/1");
            scene
        }

        /// Adds a webhook.
        fn add(&self, url: &'static str) -> i64 {
            let now_s = self.now_s;
            let add = move |store: &mut Store| {
                let by = Actor { account: None, login: "ada".to_owned() };
                let place = Place::new(1, Some("a.b/c".to_owned()));
                store.add_alert(&by, &place, url, &[Event::Backend], "whsec_", now_s)
            };
            self.accounts.wait(add).unwrap()
        }

        /// Asks so often, each time five seconds later, and finds that it works (`w`) or fails (`f`).
        fn ask(&mut self, works: &str) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let alerts = self.accounts.wait(|store| store.alerts(None)).unwrap();
            let alerts: Vec<&Alert> = alerts.iter().collect();
            let of = HashMap::from([(REGISTRY, &*alerts)]);
            for letter in works.chars() {
                self.now_s += 5;
                let works = if letter == 'w' { Ok(()) } else { Err("answered 503".to_owned()) };
                let tried = vec![(REGISTRY.to_owned(), works)];
                runtime.block_on(self.watch.know(&self.accounts, tried, &of, self.now_s));
            }
        }

        /// The gateway is started anew.
        fn restart(&mut self) {
            self.watch = Watch::knowing(self.accounts.wait(|store| store.outages()).unwrap());
        }

        /// What is told since this was asked last: the kind, since when, and where.
        fn heard(&self) -> Vec<String> {
            let take = |store: &mut Store| {
                let mut told = Vec::new();
                loop {
                    let due = store.due_deliveries(i64::MAX, &[], 100)?;
                    if due.is_empty() {
                        return Ok(told);
                    }
                    for delivery in due {
                        store.delivered(delivery.id, "answered 204")?;
                        told.push((delivery.body, delivery.url));
                    }
                }
            };
            let said = |(body, url): (String, String)| {
                let body: serde_json::Value = serde_json::from_str(&body).unwrap();
                let since = body["data"]["since"].as_str().unwrap().parse::<Timestamp>().unwrap();
                format!("{} {} {url}", body["type"].as_str().unwrap(), since.as_second())
            };
            self.accounts.wait(take).unwrap().into_iter().map(said).collect()
        }
    }

    #[test]
    fn each_outage_is_told_once_also_within_an_hour_and_after_a_restart() {
        let mut scene = Scene::new();
        scene.ask("wffff");
        assert_eq!(scene.heard(), ["backend.failing 36010 https://a.b/1"]);
        scene.ask("www");
        assert_eq!(scene.heard(), ["backend.working 36010 https://a.b/1"]);
        scene.ask("fff");
        assert_eq!(scene.heard(), ["backend.failing 36045 https://a.b/1"], "in the same hour");
        scene.restart();
        scene.ask("ffffff");
        assert_eq!(scene.heard(), [""; 0], "it goes on");
        scene.restart();
        scene.ask("www");
        assert_eq!(scene.heard(), ["backend.working 36045 https://a.b/1"]);
        scene.restart();
        scene.ask("wwfff");
        assert_eq!(scene.heard(), ["backend.failing 36115 https://a.b/1"]);
        let second = scene.add("https://a.b/2");
        scene.ask("f");
        assert_eq!(scene.heard(), ["backend.failing 36115 https://a.b/2"], "who comes later");
        scene.ask("www");
        assert_eq!(scene.heard().len(), 2);
        assert!(scene.accounts.wait(|store| store.outages()).unwrap().is_empty());
        assert!(second > 0 && scene.watch.outages.is_empty());
    }

    #[test]
    fn what_found_no_room_is_told_once_there_is_some() {
        let mut scene = Scene::new();
        let (id, now_s) = (1, scene.now_s);
        let fill = move |store: &mut Store| {
            for number in 0.. {
                let put = store.put_delivery(id, &number.to_string(), "x", "{}", now_s)?;
                if put == Put::Full {
                    return Ok(());
                }
            }
            Ok(())
        };
        let empty = |store: &mut Store| {
            while let Some(due) = store.due_deliveries(i64::MAX, &[], 1)?.pop() {
                store.delivered(due.id, "answered 204")?;
            }
            Ok(())
        };
        scene.accounts.wait(fill).unwrap();
        scene.ask("wfff");
        scene.restart();
        scene.ask("f");
        scene.accounts.wait(empty).unwrap();
        assert_eq!(scene.heard(), [""; 0]);
        scene.ask("f");
        assert_eq!(scene.heard(), ["backend.failing 36010 https://a.b/1"]);
        // The same with its end, which is kept until it is told.
        scene.accounts.wait(fill).unwrap();
        scene.ask("wwww");
        scene.restart();
        scene.accounts.wait(empty).unwrap();
        scene.ask("w");
        assert_eq!(scene.heard(), ["backend.working 36010 https://a.b/1"]);
        scene.restart();
        scene.ask("www");
        assert_eq!(scene.heard(), [""; 0]);
        // One that begins and ends meanwhile is told with its beginning.
        scene.accounts.wait(fill).unwrap();
        scene.ask("fffwww");
        scene.accounts.wait(empty).unwrap();
        scene.ask("w");
        let both = ["backend.failing", "backend.working"];
        assert_eq!(scene.heard(), both.map(|kind| format!("{kind} 36075 https://a.b/1")));
        assert!(scene.watch.outages.is_empty());
    }

    #[test]
    fn what_cannot_be_read_of_one_keeps_nothing_from_others_and_old_days_wait_for_room() {
        let mut scene = Scene::new();
        let add = |package: &'static str| {
            let add = move |store: &mut Store| {
                let by = Actor { account: None, login: "ada".to_owned() };
                let place = Place::new(1, Some(package.to_owned()));
                store.add_alert(&by, &place, "https://a.b/", &[Event::Unusual], "whsec_", 5)
            };
            scene.accounts.wait(add).unwrap()
        };
        let ids = ["a.b/1", "a.b/2", "a.b/3"].map(add);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let accounts = scene.accounts.clone();
        // The questions of a look at `now`, where that of the package `failing` cannot be answered.
        let mut look = |now: Timestamp, failing: &str| {
            let alerts = accounts.wait(|store| store.alerts(None)).unwrap();
            let asked = std::cell::RefCell::new(Vec::new());
            let read = |question: Question, today: Timestamp| {
                asked.borrow_mut().push(question.to_string());
                let Question::Day(package) = question else { panic!("{question}") };
                std::future::ready(if package == failing {
                    Err(QueryError::Question("it is too much".to_owned()))
                } else {
                    let (about, text) = (format!("day {today}"), format!("{package} {today}"));
                    let (kind, package) = ("pulls.surge", Some(package));
                    let data = serde_json::json!({});
                    Ok(Found::News(Some(News { about, kind, package, text, data })))
                })
            };
            runtime.block_on(scene.watch.days(&accounts, &alerts, now, read));
            asked.into_inner()
        };
        let waiting = |id: i64| {
            let due = |store: &mut Store| {
                let mut abouts = Vec::new();
                while let Some(due) = store.due_deliveries(i64::MAX, &[], 1)?.pop() {
                    store.delivered(due.id, "answered 204")?;
                    abouts.push(due.body);
                }
                Ok(abouts)
            };
            let bodies: Vec<String> = accounts.wait(due).unwrap();
            let package = format!("\"a.b/{id}\"");
            bodies.iter().filter(|body| body.contains(&package)).count()
        };
        let today = Piece::Day.begin(Timestamp::now());
        let quarter = today + LATE_COME;
        let day = |package: u8| format!("the day of a.b/{package}");
        let all = [day(1), day(2), day(3)];
        assert_eq!(look(today, ""), all, "of the day before yesterday");
        assert_eq!(waiting(3), 1);
        let just_before = quarter - SignedDuration::from_secs(1);
        assert_eq!(look(just_before, ""), [""; 0], "not all of yesterday is counted yet");
        assert_eq!(look(quarter, "a.b/1"), all);
        assert_eq!(waiting(3), 1);
        let soon = quarter + SignedDuration::from_secs(10);
        assert_eq!(look(soon, ""), [""; 0], "it is tried again later, and nothing else is");
        assert_eq!(look(quarter + READ_AGAIN, ""), [day(1)]);
        assert_eq!(waiting(1), 1);
        // The next day one webhook has no room, and hears of it on the day after.
        let full = ids[1];
        let fill = move |store: &mut Store| {
            let mut number = 0;
            while store.put_delivery(full, &number.to_string(), "x", "{}", 5)? != Put::Full {
                number += 1;
            }
            Ok(())
        };
        accounts.wait(fill).unwrap();
        let next = |many: i64| quarter + SignedDuration::from_hours(24 * many);
        assert_eq!(look(next(1), "").len(), 3);
        assert_eq!(look(next(2), "").len(), 3);
        assert_eq!(waiting(2), 0, "it was full");
        assert_eq!(look(next(2) + UNTOLD_EVERY, ""), [""; 0]);
        assert_eq!(waiting(2), 2, "both days are told");
    }
}
