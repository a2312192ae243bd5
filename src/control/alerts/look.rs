//! What is to be told: registries that fail, certificates that end, unusual days, weeks that are over.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::body::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use super::{Alerts, ask};
use crate::aggregator::{Answer, Ask, By, Query, QueryError};
use crate::control::accounts::alerts::Alert;
use crate::control::accounts::now_s;
use crate::pure::alert::{Event, Message, Standing, Turn, certificate_steps, of_day};
use crate::pure::chart::grouped;
use crate::pure::oci::name::Name;
use crate::pure::origin::Url;
use crate::pure::period::Piece;
use crate::pure::snapshot::Snapshot;
use crate::pure::unusual::{DAYS, unusual};

/// What was seen so far.
#[derive(Default)]
struct Watch {
    /// How registries stand, by where their `/v2/` is.
    standings: HashMap<String, Standing>,
    /// What was given to the database, which tells each once; so that it is not asked again and again.
    told: HashSet<(i64, String)>,
    /// The day whose beginning was looked at.
    today: Option<Timestamp>,
}

/// Something that happened, and to whom.
struct News {
    /// The same is told once.
    about: String,
    kind: &'static str,
    text: String,
    data: Value,
}

/// Looks, for good.
pub(super) async fn look(at: &Alerts) {
    let mut watch = Watch::default();
    loop {
        let is_in_doubt = watch.standings.values().any(Standing::is_in_doubt);
        sleep(if is_in_doubt { DOUBT_EVERY } else { LOOK_EVERY }).await;
        // What is wrong with the database is said by who has it.
        let Ok(alerts) = at.accounts.run(|store| store.alerts(None)).await else { continue };
        if alerts.is_empty() {
            watch = Watch::default();
            continue;
        }
        watch.registries(at, &alerts).await;
        watch.certificates(at, &alerts).await;
        watch.days(at, &alerts).await;
    }
}

impl Watch {
    /// Asks each registry of theirs for its `/v2/`. Any answer that is no failure is one.
    async fn registries(&mut self, at: &Alerts, alerts: &[Alert]) {
        let (snapshot, keyring) = (at.in_force.snapshot(), at.in_force.keyring());
        let mut of: BTreeMap<usize, Vec<&Alert>> = BTreeMap::new();
        for alert in alerts.iter().filter(|alert| alert.events.contains(&Event::Backend)) {
            for index in homes(&snapshot, &alert.package) {
                of.entry(index).or_default().push(alert);
            }
        }
        let mut asking = JoinSet::new();
        for index in of.keys().copied() {
            let Some(registry) = snapshot.registries.get(index) else { continue };
            let (base, snapshot) = (registry.base.clone(), Arc::clone(&snapshot));
            let tls = Arc::clone(keyring.tls(Some(index)));
            asking.spawn(async move {
                let url = Url::parse(base.as_bytes()).map_err(|why| why.to_string());
                let answer = match &url {
                    Ok(url) => {
                        ask(&snapshot, Some(index), Method::GET, url, Vec::new(), Bytes::new(), tls)
                            .await
                    }
                    Err(why) => Err(why.clone()),
                };
                let works = match answer {
                    Ok(status @ 500..) => Err(format!("answered {status}")),
                    Ok(_) => Ok(()),
                    Err(why) => Err(why),
                };
                (index, base, works)
            });
        }
        let (mut seen, now_s) = (HashSet::new(), now_s());
        while let Some(asked) = asking.join_next().await {
            let Ok((index, base, works)) = asked else { continue };
            seen.insert(base.clone());
            let turn = self.standings.entry(base.clone()).or_default().tried(works.is_ok(), now_s);
            let Some(turn) = turn else { continue };
            let news = of_registry(&base, turn, works.err());
            for alert in of.get(&index).into_iter().flatten() {
                self.tell(at, alert, &news).await;
            }
        }
        self.standings.retain(|base, _| seen.contains(base));
    }

    async fn certificates(&mut self, at: &Alerts, alerts: &[Alert]) {
        let (entries, now_s) = (at.certificates.borrow().clone(), now_s());
        for alert in alerts.iter().filter(|alert| alert.events.contains(&Event::Certificate)) {
            let domain = alert.package.split('/').next().unwrap_or_default();
            let is_for = |name: &str| {
                let below = domain.split_once('.').map(|(_, below)| below);
                name == domain || name.strip_prefix("*.").is_some_and(|of| below == Some(of))
            };
            let found = entries.iter().find(|entry| entry.names.iter().any(|name| is_for(name)));
            let Some(entry) = found else { continue };
            let left_s = entry.ends_s - now_s;
            let steps = certificate_steps(entry.begins_s, entry.ends_s);
            let step = steps.iter().filter(|step| left_s <= **step).count();
            if step == 0 {
                continue;
            }
            let ends = Timestamp::from_second(entry.ends_s).unwrap_or(Timestamp::MAX).to_string();
            let text = match left_s {
                ..0 => format!("The certificate of {domain} has ended: {ends}"),
                _ => format!("The certificate of {domain} ends in {} days: {ends}", left_s / DAY_S),
            };
            let news = News {
                about: format!("certificate {domain} {} {step}", entry.ends_s),
                kind: "certificate.expiring",
                text,
                data: json!({ "domain": domain, "ends": ends, "issuer": entry.issuer }),
            };
            self.tell(at, alert, &news).await;
        }
    }

    /// A quarter of an hour into a day, what the last one and the week before were.
    async fn days(&mut self, at: &Alerts, alerts: &[Alert]) {
        let now = Timestamp::now();
        let today = Piece::Day.begin(now);
        if now.duration_since(today) < LATE_COME || self.today == Some(today) {
            return;
        }
        let mut by_package: BTreeMap<&str, Vec<&Alert>> = BTreeMap::new();
        for alert in alerts {
            by_package.entry(&alert.package).or_default().push(alert);
        }
        for (package, alerts) in by_package {
            let wants = |event| alerts.iter().any(|alert| alert.events.contains(&event));
            let (of_day, of_week) = (wants(Event::Unusual), wants(Event::Weekly));
            let (query, name) = (at.query.clone(), package.to_owned());
            let counted = spawn_blocking(move || {
                let day = if of_day { yesterday(&query, &name, today)? } else { None };
                let week = if of_week { Some(last_week(&query, &name, today)?) } else { None };
                Ok::<_, QueryError>((day, week))
            });
            // The counts cannot be read now: next time.
            let Ok(Ok((day, week))) = counted.await else { return };
            for alert in alerts {
                let is_for = |event, since: Timestamp| {
                    alert.events.contains(&event) && alert.created_s < since.as_second()
                };
                if let Some(news) = day.as_ref().filter(|_| is_for(Event::Unusual, today)) {
                    self.tell(at, alert, news).await;
                }
                let monday = Piece::Week.begin(today);
                if let Some(news) = week.as_ref().filter(|_| is_for(Event::Weekly, monday)) {
                    self.tell(at, alert, news).await;
                }
            }
        }
        self.today = Some(today);
    }

    async fn tell(&mut self, at: &Alerts, alert: &Alert, news: &News) {
        let News { about, kind, text, data } = news;
        let kind = *kind;
        if self.told.contains(&(alert.id, about.clone())) {
            return;
        }
        let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let text = format!("{}: {text}", alert.package);
        let message = Message { kind, package: &alert.package, at: &now, text, data: data.clone() };
        let (id, about, body) = (alert.id, about.clone(), message.body());
        let key = (id, about.clone());
        let put = move |store: &mut crate::control::accounts::Store| {
            store.put_delivery(id, &about, kind, &body, now_s())
        };
        if at.accounts.run(put).await.is_ok() {
            if self.told.len() >= TOLD_MAX {
                self.told.clear();
            }
            self.told.insert(key);
        }
    }
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

fn of_registry(base: &str, turn: Turn, why: Option<String>) -> News {
    let place = base.trim_end_matches("/v2/");
    let time = |at_s| Timestamp::from_second(at_s).unwrap_or(Timestamp::MAX).to_string();
    match turn {
        Turn::Fails { since_s } => {
            let (why, since) = (why.unwrap_or_default(), time(since_s));
            News {
                // Also where the gateway is started anew meanwhile.
                about: format!("failing {base} {}", since_s / 3600),
                kind: "backend.failing",
                text: format!("{place} fails since {since}: {why}"),
                data: json!({ "registry": place, "since": since, "why": why }),
            }
        }
        Turn::Works { failing_since_s } => {
            let since = time(failing_since_s);
            News {
                about: format!("working {base} {failing_since_s}"),
                kind: "backend.working",
                text: format!("{place} works again; it had failed since {since}"),
                data: json!({ "registry": place, "since": since }),
            }
        }
    }
}

/// Whether the day before `today` was unusual.
fn yesterday(query: &Query, package: &str, today: Timestamp) -> Result<Option<News>, QueryError> {
    let ask = Ask {
        package: Some(package.to_owned()),
        by: vec![By::Day],
        from: Some(days_before(today, DAYS)),
        to: Some(today),
        ..Ask::default()
    };
    Ok(of_days(&query.rows(&ask)?, today))
}

/// The same of an answer that has a row for each day.
fn of_days(answer: &Answer, today: Timestamp) -> Option<News> {
    let mut days = vec![0; DAYS];
    for row in &answer.rows {
        let begin = row.keys.first().and_then(|(_, day)| day.parse::<Timestamp>().ok());
        let ago = begin.map(|begin| today.duration_since(begin).as_secs() / DAY_S);
        let place = ago.and_then(|ago| DAYS.checked_sub(usize::try_from(ago).ok()?));
        if let Some(day) = place.and_then(|place| days.get_mut(place)) {
            *day += row.measures.pulls;
        }
    }
    // Before its first day a package was not pulled because it was not there.
    let first = days.iter().position(|pulls| *pulls > 0).unwrap_or(days.len());
    let days = days.split_off(first);
    let (unusual, pulls) = (unusual(&days)?, days.last()?);
    let day = days_before(today, 1).strftime("%Y-%m-%d").to_string();
    let (kind, text, data) = of_day(&day, *pulls, unusual);
    Some(News { about: format!("day {day}"), kind, text, data })
}

fn days_before(today: Timestamp, days: usize) -> Timestamp {
    today - SignedDuration::from_secs(DAY_S * i64::try_from(days).unwrap_or_default())
}

/// What the week before this one came to.
fn last_week(query: &Query, package: &str, today: Timestamp) -> Result<News, QueryError> {
    let to = Piece::Week.begin(today);
    let from = to - SignedDuration::from_secs(7 * DAY_S);
    let base =
        Ask { package: Some(package.to_owned()), from: Some(from), to: Some(to), ..Ask::default() };
    let top = |by| Ask { by: vec![by], top: Some(TOP), ..base.clone() };
    let asks = [Ask { compare: true, ..base.clone() }, base.clone(), top(By::Tag), top(By::Family)];
    let mut answers = query.all(&asks)?.into_iter();
    // Where the week before has lost its short cells, there is nothing to compare with.
    let compared = answers.next().and_then(Result::ok);
    let mut next = || answers.next().unwrap_or(Err(QueryError::Stopped));
    let (totals, tags, clients) = (next()?, next()?, next()?);
    Ok(of_week([from, to], compared, &totals, &tags, &clients))
}

fn of_week(
    [from, to]: [Timestamp; 2],
    compared: Option<Answer>,
    totals: &Answer,
    tags: &Answer,
    clients: &Answer,
) -> News {
    let before = compared.and_then(|answer| answer.previous).map(|before| before.pulls);
    let named = |answer: &Answer| -> Vec<Value> {
        let row = |row: &crate::aggregator::Row| {
            let name = row.keys.first().map_or("", |(_, name)| name.as_str());
            json!({ "name": name, "pulls": row.measures.pulls })
        };
        answer.rows.iter().map(row).collect()
    };
    let (day, pulls) = (from.strftime("%Y-%m-%d").to_string(), totals.totals.pulls);
    let told = before.map(|before| format!(", {} the week before", grouped(before)));
    let most = tags.rows.first().and_then(|row| row.keys.first());
    let most = most.map(|(_, tag)| format!("; most of {tag}")).unwrap_or_default();
    let text = format!(
        "{} pulls in the week from {day}{}{most}",
        grouped(pulls),
        told.unwrap_or_default()
    );
    let data = json!({
        "from": from.to_string(),
        "to": to.to_string(),
        "pulls": pulls,
        "pulls_before": before,
        "daily_uniques": totals.totals.daily_uniques,
        "tags": named(tags),
        "clients": named(clients),
    });
    News { about: format!("week {day}"), kind: "pulls.week", text, data }
}

/// How often registries are asked; each has to fail three times, for ten seconds.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const DOUBT_EVERY: Duration = Duration::from_secs(5);
/// After so long all of a day is counted.
const LATE_COME: SignedDuration = SignedDuration::from_mins(15);
/// What is remembered of what was told.
const TOLD_MAX: usize = 10_000;
/// Tags and clients that a week's summary names.
const TOP: usize = 5;
const DAY_S: i64 = 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::Row;
    use crate::control::tests::compiled;
    use crate::pure::pull::rollup::Measures;

    /// An answer with these rows: each with what it is of, and its pulls.
    fn answer(rows: &[(By, String, u64)]) -> Answer {
        let measures = |pulls| Measures { pulls, ..Measures::ZERO };
        let row = |(by, value, pulls): &(By, String, u64)| Row {
            package: "a.b/c".into(),
            keys: vec![(*by, value.clone())],
            measures: measures(*pulls),
            previous: None,
        };
        let totals = measures(rows.iter().map(|(_, _, pulls)| pulls).sum());
        let rows = rows.iter().map(row).collect();
        Answer { from: None, to: Timestamp::UNIX_EPOCH, rows, totals, previous: None }
    }

    #[test]
    fn a_day_is_told_from_the_counts_of_the_days_before() {
        let today = Piece::Day.begin(Timestamp::now());
        let days = |many: usize, last: u64| {
            let day = |ago: usize| {
                let pulls = if ago == 1 { last } else { 100 };
                (By::Day, days_before(today, ago).to_string(), pulls)
            };
            of_days(&answer(&(1..=many).map(day).collect::<Vec<_>>()), today)
        };
        assert!(days(30, 100).is_none());
        assert!(days(5, 900).is_none(), "it is new");
        assert!(days(0, 0).is_none(), "nobody pulled it");
        let surge = days(30, 900).unwrap();
        assert_eq!((surge.kind, &surge.data["usual"]), ("pulls.surge", &100.into()));
        assert!(surge.text.contains("900 pulls on 20"), "{}", surge.text);
        assert_eq!(days(30, 10).unwrap().kind, "pulls.drop");
    }

    #[test]
    fn a_week_is_told_beside_the_one_before() {
        let to = Piece::Week.begin(Timestamp::now());
        let from = days_before(to, 7);
        let before = Measures { pulls: 1_100, ..Measures::ZERO };
        let tags = [(By::Tag, "1.0".to_owned(), 1_000), (By::Tag, "0.9".to_owned(), 234)];
        let (tags, nothing) = (answer(&tags), answer(&[]));
        let compared = Answer { previous: Some(before), ..answer(&[]) };
        let week = of_week([from, to], Some(compared), &tags, &tags, &nothing);
        let day = from.strftime("%Y-%m-%d").to_string();
        let expected =
            format!("1,234 pulls in the week from {day}, 1,100 the week before; most of 1.0");
        assert_eq!((week.text, week.about), (expected, format!("week {day}")));
        assert_eq!(week.data["tags"][1]["name"], "0.9");
        let alone = of_week([from, to], None, &nothing, &nothing, &nothing);
        assert_eq!(alone.text, format!("0 pulls in the week from {day}"));
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
