//! Looks for what is to be told: registries that fail, certificates that end, unusual days, weeks that are over.
//!
//! What is so is told to everybody who was not told of it yet, each time that it is looked at: whoever has no
//! room now hears of it later. What was told stands in the database.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::body::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::counted::{busiest, last_week, last_week_of_all, yesterday};
use super::news::{News, of_certificate, of_outage, shown_for};
use super::{Alerts, DATABASE_EVERY, Whose, ask};
use crate::aggregator::{Query, QueryError};
use crate::control::accounts::alerts::Alert;
use crate::control::accounts::deliveries::Put;
use crate::control::accounts::outages::Outage;
use crate::control::accounts::{Accounts, Store, now_s};
use crate::pure::alert::{Event, Message, Standing, Turn, origin_of};
use crate::pure::oci::name::Name;
use crate::pure::origin::Url;
use crate::pure::period::Piece;
use crate::pure::snapshot::Snapshot;

/// What was seen so far.
#[derive(Default)]
struct Watch {
    /// How registries stand, by where their `/v2/` is.
    standings: HashMap<String, Standing>,
    /// Those that fail, and those that work again without all knowing it: as the database has them.
    outages: Vec<Outage>,
    /// What the database has for told, so that it is not asked again and again.
    told: HashSet<(i64, String)>,
    /// What the counts have shown and somebody had no room for.
    untold: Vec<(Alert, Arc<News>)>,
    /// Who has no room, as the log says.
    full: HashSet<i64>,
    /// The day whose beginning was looked at.
    today: Option<Timestamp>,
}

/// How it went to ask a registry, by where its `/v2/` is.
type Tried = (String, Result<(), String>);

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
        watch.days(at, &alerts).await;
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
        let tried = try_all(at, &snapshot, of.keys().copied()).await;
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
            let news = of_outage(&outage);
            for alert in of.get(&*outage.registry).copied().unwrap_or_default() {
                let is_later = outage.ended_s.is_some_and(|ended_s| alert.created_s > ended_s);
                is_told &= is_later || self.tell(accounts, alert, &news).await;
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

    /// A quarter of an hour into a day, what the last one and the week before were.
    async fn days(&mut self, at: &Alerts, alerts: &[Alert]) {
        for (alert, news) in std::mem::take(&mut self.untold) {
            self.tell_later(&at.accounts, &alert, &news).await;
        }
        let now = Timestamp::now();
        let today = Piece::Day.begin(now);
        if now.duration_since(today) < LATE_COME || self.today == Some(today) {
            return;
        }
        // The counts cannot be read now: next time.
        let Ok(found) = counted(&at.query, alerts, today).await else { return };
        self.untold.clear();
        for (alert, news) in found {
            self.tell_later(&at.accounts, &alert, &news).await;
        }
        self.today = Some(today);
    }

    /// Tells somebody, now or as soon as there is room.
    async fn tell_later(&mut self, accounts: &Accounts, alert: &Alert, news: &Arc<News>) {
        if !self.tell(accounts, alert, news).await {
            self.untold.push((alert.clone(), Arc::clone(news)));
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

/// Who is concerned by which of the snapshot's registries.
fn concerned<'a>(snapshot: &Snapshot, alerts: &'a [Alert]) -> BTreeMap<usize, Vec<&'a Alert>> {
    let mut of: BTreeMap<usize, Vec<&Alert>> = BTreeMap::new();
    for alert in alerts.iter().filter(|alert| alert.events.contains(&Event::Backend)) {
        let indexes = match &alert.package {
            Some(package) => homes(snapshot, package),
            None => (0..snapshot.registries.len()).collect(),
        };
        for index in indexes {
            of.entry(index).or_default().push(alert);
        }
    }
    of
}

/// Asks these of the snapshot's registries, some at once. Any answer that is no failure is one.
async fn try_all(
    at: &Alerts,
    snapshot: &Arc<Snapshot>,
    indexes: impl Iterator<Item = usize>,
) -> Vec<Tried> {
    let keyring = at.in_force.keyring();
    let (mut asking, mut tried) = (JoinSet::new(), Vec::new());
    for index in indexes {
        let Some(registry) = snapshot.registries.get(index) else { continue };
        let (base, snapshot) = (registry.base.clone(), Arc::clone(snapshot));
        let tls = Arc::clone(keyring.tls(Some(index)));
        if asking.len() >= ASKED_AT_ONCE {
            tried.extend(asking.join_next().await.and_then(Result::ok));
        }
        asking.spawn(async move {
            let answer = match Url::parse(base.as_bytes()) {
                Ok(url) => {
                    let (whose, what) = (Whose::Registrys(index), (Method::GET, &url));
                    ask(&snapshot, whose, what, Vec::new(), Bytes::new(), tls).await
                }
                Err(why) => Err(why.to_string()),
            };
            let works = match answer {
                Ok(status @ 500..) => Err(format!("answered {status}")),
                Ok(_) => Ok(()),
                Err(why) => Err(why),
            };
            (base, works)
        });
    }
    while let Some(asked) = asking.join_next().await {
        tried.extend(asked);
    }
    tried
}

/// What the counts of the last day and the last week are to tell, and whom: of who hears of all packages the
/// days of those that are pulled most, and one week.
async fn counted(
    query: &Query,
    alerts: &[Alert],
    today: Timestamp,
) -> Result<Vec<(Alert, Arc<News>)>, QueryError> {
    let hears = |alert: &Alert, event, since: Timestamp| {
        alert.events.contains(&event) && alert.created_s < since.as_second()
    };
    let monday = Piece::Week.begin(today);
    let (mut days, mut weeks) = (BTreeMap::<_, Vec<&Alert>>::new(), BTreeMap::<_, Vec<_>>::new());
    for alert in alerts {
        if hears(alert, Event::Weekly, monday) {
            weeks.entry(alert.package.clone()).or_default().push(alert);
        }
        if hears(alert, Event::Unusual, today)
            && let Some(package) = &alert.package
        {
            days.entry(package.clone()).or_default().push(alert);
        }
    }
    let of_all = |alert: &&Alert| alert.package.is_none() && hears(alert, Event::Unusual, today);
    let of_all: Vec<&Alert> = alerts.iter().filter(of_all).collect();
    if !of_all.is_empty() {
        for package in read(query, move |query| busiest(query, today)).await? {
            days.entry(package).or_default().extend(&of_all);
        }
    }
    let mut found = Vec::new();
    let mut put = |alerts: Vec<&Alert>, news: News| {
        let news = Arc::new(news);
        found.extend(alerts.into_iter().map(|alert| (alert.clone(), Arc::clone(&news))));
    };
    for (package, alerts) in days {
        let day = read(query, move |query| yesterday(query, &package, today)).await?;
        day.into_iter().for_each(|day| put(alerts.clone(), day));
    }
    for (package, alerts) in weeks {
        let week = read(query, move |query| match &package {
            Some(package) => last_week(query, package, today),
            None => last_week_of_all(query, today),
        });
        put(alerts, week.await?);
    }
    Ok(found)
}

/// Reads counts where that may take a while.
async fn read<T: Send + 'static>(
    query: &Query,
    how: impl FnOnce(&Query) -> Result<T, QueryError> + Send + 'static,
) -> Result<T, QueryError> {
    let query = query.clone();
    spawn_blocking(move || how(&query)).await.unwrap_or(Err(QueryError::Stopped))
}

/// The registries that a package lives on, by their place in the snapshot.
fn homes(snapshot: &Snapshot, package: &str) -> Vec<usize> {
    let (domain, name) = package.split_once('/').unwrap_or_default();
    // Of a collection any name leads there.
    let name = name.replace("**", "any").replace('*', "any");
    let site = snapshot.routes.site(domain.as_bytes());
    let found = Name::parse(name.as_bytes()).ok().and_then(|name| site.find(name));
    let Some(found) = found else { return Vec::new() };
    std::iter::once(found.registry).chain(found.others.iter().map(|it| it.registry)).collect()
}

/// How often registries are asked; each has to fail three times, for ten seconds.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const DOUBT_EVERY: Duration = Duration::from_secs(5);
/// Registries that are asked at once.
const ASKED_AT_ONCE: usize = 256;
/// After so long all of a day is counted.
const LATE_COME: SignedDuration = SignedDuration::from_mins(15);
/// What is remembered of what was told.
const TOLD_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::accounts::audit::Actor;
    use crate::control::accounts::place::Place;
    use crate::control::tests::{compiled, scratch};

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
    }

    #[test]
    fn a_packages_registries_are_found_also_of_collections() {
        let package = |domain: &str, name: &str, to: &str| {
            format!("[[packages]]\ndomain = \"{domain}\"\nname = \"{name}\"\n{to}\n")
        };
        let text = package("a.b", "acme/rocket", "backends = [\"ghcr.io/x/y\", \"quay.io/x/y\"]")
            + &package("a.b", "acme/*", "backend = \"quay.io/acme/*\"")
            + &package("*", "library/**", "backend = \"ghcr.io/lib/**\"");
        let (_, snapshot) = compiled(&text);
        let hosts = |package: &str| -> Vec<&str> {
            let registries = homes(&snapshot, package);
            registries
                .iter()
                .map(|index| snapshot.registries[*index].origin.host.as_str())
                .collect()
        };
        assert_eq!(hosts("a.b/acme/rocket"), ["ghcr.io", "quay.io"]);
        assert_eq!(hosts("a.b/acme/*"), ["quay.io"]);
        assert_eq!(hosts("a.b/acme/sledge"), ["quay.io"]);
        assert_eq!(hosts("*/library/**"), ["ghcr.io"]);
        assert!(hosts("a.b/other").is_empty());
    }
}
