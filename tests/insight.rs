//! Where pulls come from: what databases and tables say of an address is counted, the address is
//! not kept, and who asks not to be tracked is counted as a pull and nothing else.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/counting.rs"]
mod support;

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use pullgate::aggregator::clock::{Clock, Look};
use pullgate::aggregator::{Amendment, Ask, By, Erasure, Query, Reconfigured, Row, Scope};
use pullgate::cli::demo::past::Past;
use pullgate::pure::client::ClientTable;
use pullgate::pure::config::values::{Counting, Insight, Retention};
use pullgate::pure::history::Total;
use pullgate::pure::limits::CROSSED_ROWS_MAX;
use pullgate::pure::place::{Database, Labels, Sources};
use pullgate::pure::pull::event::{Address, Asked, Event, Way};
use pullgate::pure::pull::rollup::Measures;

use support::*;

const LONDON: &str = "81.2.69.160";
const LINKOPING: &str = "89.160.20.112";
const NOWHERE: &str = "10.9.8.7";

#[test]
fn places_are_counted_and_what_is_not_known_is_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = start(dir.path(), counting(), "");
    pull(&mut gateway, LONDON, "latest");
    pull(&mut gateway, LONDON, "1.0");
    pull(&mut gateway, LINKOPING, "latest");
    pull(&mut gateway, NOWHERE, "latest");
    gateway.stop();
    let query = opened(dir.path());
    assert_eq!(pulls(&query, &["country"], &[]), ["GB 2", "SE 1", "unknown 1"]);
    assert_eq!(pulls(&query, &["region"], &[]), ["GB-ENG 2", "SE-E 1", "unknown 1"]);
    assert_eq!(pulls(&query, &["city"], &[]), ["GB London 2", "SE Linköping 1", "unknown 1"]);
    assert_eq!(pulls(&query, &["network"], &[]), ["AS29518 Bredband2 AB 1", "unknown 3"]);
    assert_eq!(pulls(&query, &["company"], &[]), ["unknown 4"]);
    assert_eq!(pulls(&query, &["delivery"], &[]), ["redirect 4"]);
    // Crossed, in either order; and one of the two as a filter.
    let crossed = ["GB 1.0 1", "GB latest 1", "SE latest 1", "unknown latest 1"];
    assert_eq!(pulls(&query, &["country", "tag"], &[]), crossed);
    assert_eq!(pulls(&query, &["tag", "country"], &[]).len(), 4);
    assert_eq!(pulls(&query, &["country"], &["tag=latest"]), ["GB 1", "SE 1", "unknown 1"]);
    assert_eq!(pulls(&query, &["tag"], &["country=GB"]), ["1.0 1", "latest 1"]);
    assert_eq!(pulls(&query, &[], &["country=SE"]), ["1"]);
    assert_eq!(pulls(&query, &["client"], &["tag=latest"]), ["docker 28.5.2 3"]);
    assert_eq!(pulls(&query, &["tag"], &["company=unknown"]), ["1.0 1", "latest 3"]);
}

#[test]
fn a_window_belongs_to_the_place_of_its_first_request() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = start(dir.path(), counting(), "");
    send(&mut gateway, LONDON, Asked::ManifestHead, "latest", false);
    eventually("the window is open", || {
        gateway.counted_pulls();
        gateway.health.fold_windows_open.load(std::sync::atomic::Ordering::Relaxed) == 1
    });
    // Other databases meanwhile, that know nothing.
    gateway.aggregator.reconfigure()(Reconfigured {
        counting: counting(),
        insight: insight(),
        clients: ClientTable::built_in(),
        sources: Arc::default(),
    });
    send(&mut gateway, LONDON, Asked::Manifest, &digest("index"), false);
    send(&mut gateway, LINKOPING, Asked::Manifest, "latest", false);
    gateway.stop();
    assert_eq!(pulls(&opened(dir.path()), &["country"], &[]), ["GB 1", "unknown 1"]);
}

#[test]
fn who_asks_not_to_be_tracked_is_counted_without_a_place() {
    for (respect_dnt, expected) in [(true, vec!["unknown 1"]), (false, vec!["GB 1"])] {
        let dir = tempfile::tempdir().unwrap();
        let mut gateway = start(dir.path(), Counting { respect_dnt, ..counting() }, "");
        send(&mut gateway, LONDON, Asked::ManifestHead, "latest", true);
        send(&mut gateway, LONDON, Asked::Manifest, &digest("index"), true);
        send(&mut gateway, LONDON, Asked::Manifest, &digest("child"), true);
        gateway.stop();
        let query = opened(dir.path());
        assert_eq!(totals(&query), (2, 1, 0), "it folds like any other");
        assert_eq!(pulls(&query, &["country"], &[]), expected);
    }
}

#[test]
fn who_asks_not_to_be_tracked_has_no_place_in_anothers_window_either() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = start(dir.path(), counting(), "10.0.0.0/8, our CI, exclude\n");
    send(&mut gateway, LONDON, Asked::Manifest, "a", false);
    send(&mut gateway, LONDON, Asked::Manifest, "b", true);
    // What the operator leaves out is left out, whatever it wishes.
    send(&mut gateway, NOWHERE, Asked::Manifest, "a", true);
    gateway.stop();
    let query = opened(dir.path());
    assert_eq!(pulls(&query, &["country", "tag"], &[]), ["GB a 1", "unknown a 0", "unknown b 1"]);
    assert_eq!(query.rows(&Ask::default()).unwrap().totals.excluded, 1);
}

#[test]
fn pairs_beyond_their_bound_are_each_tags_rest_and_count_once() {
    const TAGS: usize = 50;
    const VERSIONS: usize = CROSSED_ROWS_MAX / TAGS + 2;
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = start(dir.path(), counting(), "");
    for version in 0..VERSIONS {
        let address = Ipv4Addr::new(10, 0, 0, u8::try_from(version).unwrap());
        let agent = format!("containers/5.{version}.0 (github.com/containers/image)");
        for tag in 0..TAGS {
            let reference = format!("v{tag}");
            let address = Address(address.to_ipv6_mapped().octets());
            let (event, user_agent) = (event(0, "acme/rocket", &reference), agent.as_bytes());
            gateway.senders[0].offer(&Event { address, user_agent, ..event });
        }
    }
    gateway.stop();
    let query = opened(dir.path());
    let rows = query.rows(&ask(&["tag", "client"], &[])).unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.measures.pulls).sum::<u64>(), (TAGS * VERSIONS) as u64);
    for tag in 0..TAGS {
        let only = format!("tag=v{tag}");
        let of_tag = query.rows(&ask(&["client"], &[&only])).unwrap();
        assert_eq!(of_tag.totals.pulls, VERSIONS as u64, "{only}");
    }
}

#[test]
fn an_excluded_network_is_shown_as_such_and_counted_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let labels = "10.0.0.0/8, our CI, exclude\n81.2.69.0/24, office\n";
    let mut gateway = start(dir.path(), counting(), labels);
    pull(&mut gateway, NOWHERE, "latest");
    pull(&mut gateway, LONDON, "latest");
    gateway.stop();
    let query = opened(dir.path());
    let answer = query.rows(&Ask::default()).unwrap();
    assert_eq!(sums(&answer), (2, 1, 0));
    assert_eq!(answer.totals.excluded, 2);
    // What is excluded is of no network that is told.
    assert_eq!(pulls(&query, &["label"], &[]), ["office 1", "unknown 0"]);
    assert_eq!(pulls(&query, &["country"], &[]), ["GB 1", "unknown 0"]);
}

#[test]
fn the_most_pulled_stand_first_and_the_rest_is_one_row() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = start(dir.path(), counting(), "");
    for (tag, times) in [("a", 1), ("b", 3), ("c", 2), ("d", 1)] {
        for client in 0..times {
            pull(&mut gateway, &format!("10.0.0.{client}"), tag);
        }
    }
    gateway.stop();
    let query = opened(dir.path());
    let ask = Ask { top: Some(2), ..ask(&["tag"], &[]) };
    assert_eq!(shown(&query, &ask), ["b 3", "c 2", "(other) 2"]);
    let by_hour = Ask { top: Some(1), ..self::ask(&["tag", "hour"], &[]) };
    let rows = shown(&query, &by_hour);
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(rows.iter().any(|row| row.starts_with("(other) ") && row.ends_with(" 4")), "{rows:?}");
}

#[test]
fn a_period_is_compared_with_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = start(dir.path(), counting(), "");
    pull(&mut gateway, LONDON, "latest");
    gateway.stop();
    let query = opened(dir.path());
    let midnight = |days: i64| {
        let today = jiff::Timestamp::now().as_second().div_euclid(86_400) + days;
        jiff::Timestamp::from_second(today * 86_400).unwrap()
    };
    let [today, tomorrow, after] = [0, 1, 2].map(midnight);
    let compared = |from, to, by: &[&str]| {
        let ask = Ask { from: Some(from), to: Some(to), compare: true, ..ask(by, &[]) };
        query.rows(&ask).unwrap()
    };
    let totals = |from, to| {
        let answer = compared(from, to, &[]);
        (answer.totals.pulls, answer.previous.unwrap().pulls)
    };
    assert_eq!(totals(today, tomorrow), (1, 0));
    assert_eq!(totals(tomorrow, after), (0, 1));
    let rows = compared(tomorrow, after, &["day"]).rows;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].measures.pulls, rows[0].previous.unwrap().pulls), (0, 1));
    assert_eq!(rows[0].keys[0].1, tomorrow.to_string());
}

/// Where the minutes and hours are gone the day stands in for them, and of both periods the same.
#[test]
fn periods_that_are_compared_are_equally_long() {
    let dir = tempfile::tempdir().unwrap();
    let hour = std::time::Duration::from_secs(3600);
    let retention = Retention { minute: Some(hour), hour: Some(hour), day: None };
    let gateway = start(dir.path(), Counting { retention, ..counting() }, "");
    let today = u32::try_from(jiff::Timestamp::now().as_second().div_euclid(86_400)).unwrap();
    let total = |days: u32, pulls| Total {
        day: (today - days) * 1440,
        package: "acme.com/x".to_owned(),
        tag: "(imported)".to_owned(),
        pulls,
        requests: 0,
        uniques: 0,
    };
    let totals = vec![total(4, 1), total(3, 10), total(2, 20)];
    gateway.query.amend(Amendment::Import(totals)).unwrap();
    let noon = i64::from(today - 2) * 86_400 + 43_200;
    let from = jiff::Timestamp::from_second(noon).unwrap();
    let to = Some(from + jiff::SignedDuration::from_mins(30));
    let ask = Ask { from: Some(from), to, compare: true, ..Ask::default() };
    eventually("hours go", || {
        let answer = gateway.query.rows(&ask).unwrap();
        (answer.totals.pulls, answer.previous.unwrap().pulls) == (20, 10)
    });
    gateway.stop();
}

#[test]
fn what_is_counted_together_already_stays_with_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = start(dir.path(), Counting { max_tags: 2, ..counting() }, "");
    for (tag, times) in [("a", 1), ("b", 2), ("c", 4), ("d", 4)] {
        for client in 0..times {
            pull(&mut gateway, &format!("10.9.{client}.1"), tag);
        }
    }
    gateway.stop();
    let query = opened(dir.path());
    for (top, expected) in [(1, "b 2, (other) 9"), (2, "b 2, a 1, (other) 8")] {
        let answer = query.rows(&Ask { top: Some(top), ..ask(&["tag"], &[]) }).unwrap();
        let row = |row: &Row| format!("{} {}", row.keys[0].1, row.measures.pulls);
        let rows: Vec<String> = answer.rows.iter().map(row).collect();
        assert_eq!(rows.join(", "), expected);
    }
}

#[test]
fn questions_that_the_counts_cannot_answer_are_told_why() {
    let dir = tempfile::tempdir().unwrap();
    start(dir.path(), counting(), "").stop();
    let query = opened(dir.path());
    let said = |ask: Ask| query.rows(&ask).unwrap_err().to_string();
    assert!(said(ask(&["country", "minute"], &[])).contains("by the hour"));
    assert!(said(ask(&["country", "tag", "hour"], &[])).contains("by the day"));
    assert!(said(ask(&["country", "client"], &[])).contains("country and tag"));
    assert!(said(ask(&["tag"], &["city=GB London"])).contains("country and tag"));
    assert!(said(Ask { compare: true, ..Ask::default() }).contains("from when"));
}

/// A gateway with databases of places and these networks.
fn start(data_dir: &Path, counting: Counting, labels: &str) -> Gateway {
    start_with(data_dir, counting, labels, &["GeoLite2-City-Test", "GeoLite2-ASN-Test"])
}

fn start_with(data_dir: &Path, counting: Counting, labels: &str, names: &[&str]) -> Gateway {
    start_at(Arc::new(Clock::look), data_dir, counting, labels, names)
}

fn start_at(
    look: Look,
    data_dir: &Path,
    counting: Counting,
    labels: &str,
    names: &[&str],
) -> Gateway {
    let sources = Arc::new(sources(labels, names));
    Gateway::start_from(Options { sources, look, ..options(data_dir, counting) }, 1)
}

/// The clocks of so many days ago.
fn days_ago(days: i64) -> Look {
    Arc::new(move || {
        let Clock { now_us, .. } = Clock::look();
        let wall_us = jiff::Timestamp::now().as_microsecond() - days * 86_400_000_000;
        Clock::at(now_us, wall_us - i64::try_from(now_us).unwrap())
    })
}

/// These networks, and these databases of places.
fn sources(labels: &str, names: &[&str]) -> Sources {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/places");
    let database = |name: &&str| {
        let bytes = std::fs::read(golden.join(name).with_extension("mmdb")).unwrap();
        Arc::new(Database::read(bytes).unwrap())
    };
    let databases = names.iter().map(database).collect();
    Sources::new(databases, Labels::parse(labels).unwrap(), true)
}

/// What docker sends for a multi-arch tag.
fn pull(gateway: &mut Gateway, from: &str, tag: &str) {
    send(gateway, from, Asked::ManifestHead, tag, false);
    send(gateway, from, Asked::Manifest, &digest("index"), false);
    send(gateway, from, Asked::Manifest, &digest("child"), false);
}

fn send(gateway: &mut Gateway, from: &str, asked: Asked, reference: &str, is_private: bool) {
    let address = match from.parse().unwrap() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let event = event(0, "acme/rocket", reference);
    let (address, way) = (Address(address), Way::Redirect);
    gateway.senders[0].offer(&Event { address, asked, way, is_private, ..event });
}

fn ask(by: &[&str], only: &[&str]) -> Ask {
    Ask {
        by: by.iter().map(|by| by.parse::<By>().unwrap()).collect(),
        only: only.iter().map(|only| only.parse().unwrap()).collect(),
        ..Ask::default()
    }
}

/// Each row's values and pulls.
fn pulls(query: &Query, by: &[&str], only: &[&str]) -> Vec<String> {
    shown(query, &ask(by, only))
}

fn shown(query: &Query, ask: &Ask) -> Vec<String> {
    let answer = query.rows(ask).unwrap();
    let rows = answer.rows.iter().map(|row| {
        let values: Vec<&str> = row.keys.iter().map(|(_, value)| value.as_str()).collect();
        let pulls = row.measures.pulls.to_string();
        values.into_iter().chain([pulls.as_str()]).collect::<Vec<_>>().join(" ")
    });
    rows.collect()
}

#[test]
fn clients_count_once_a_day_and_companies_once_a_month() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = start_with(dir.path(), counting(), "", &["flat-company"]);
    for client in 1..=5 {
        for tag in ["a", "b"] {
            pull(&mut gateway, &format!("198.51.100.{client}"), tag);
        }
    }
    pull(&mut gateway, "198.51.100.200", "a");
    gateway.stop();
    let totals = || opened(dir.path()).rows(&Ask::default()).unwrap().totals;
    let measures = totals();
    assert_eq!((measures.pulls, measures.daily_uniques, measures.monthly_companies), (11, 6, 1));
    // Another key after a restart: the same clients count again. Companies are known again.
    let mut gateway = start_with(dir.path(), counting(), "", &["flat-company"]);
    eventually("the store is open", || gateway.totals().is_some());
    pull(&mut gateway, "198.51.100.1", "a");
    gateway.stop();
    let measures = totals();
    assert_eq!((measures.pulls, measures.daily_uniques, measures.monthly_companies), (12, 7, 1));
    // Who wants no tracking, or is left out, is no unique client.
    let labels = "10.0.0.0/8, ours, exclude\n";
    let mut gateway = start_with(dir.path(), counting(), labels, &["flat-company"]);
    send(&mut gateway, "198.51.100.9", Asked::Manifest, "a", true);
    pull(&mut gateway, NOWHERE, "a");
    gateway.stop();
    let measures = totals();
    assert_eq!((measures.pulls, measures.daily_uniques, measures.monthly_companies), (13, 7, 1));
    // In public nobody sees a company come.
    for by in [&[][..], &["day"]] {
        let public = opened(dir.path()).rows(&Ask { public: true, ..ask(by, &[]) }).unwrap();
        let Measures { pulls, daily_uniques, monthly_companies, .. } = public.totals;
        assert_eq!((pulls, daily_uniques, monthly_companies), (13, 7, 0));
    }
}

/// Of a package whose day was erased it is read again which companies of the month are left.
#[test]
fn companies_that_an_erasure_leaves_do_not_count_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = start_with(dir.path(), counting(), "", &["flat-company"]);
    let companies = |gateway: &mut Gateway, name: &str, pulls: u64| {
        let address = "198.51.100.1".parse::<Ipv4Addr>().unwrap().to_ipv6_mapped().octets();
        let tag = format!("v{pulls}");
        let event = Event { address: Address(address), ..event(0, name, &tag) };
        gateway.senders[0].offer(&event);
        eventually("it is counted", || gateway.totals().is_some_and(|totals| totals.1 == pulls));
        gateway.query.rows(&Ask::default()).unwrap().totals.monthly_companies
    };
    assert_eq!(companies(&mut gateway, "acme/rocket", 1), 1);
    let today = u32::try_from(jiff::Timestamp::now().as_second() / 86_400 * 1440).unwrap();
    let erase = |gateway: &mut Gateway, days| {
        let scope = Scope::Package("acme.com/acme/rocket".to_owned());
        gateway.query.amend(Amendment::Erase(Erasure { scope, days: Some(days) })).unwrap();
    };
    erase(&mut gateway, 0..today);
    assert_eq!(companies(&mut gateway, "acme/rocket", 2), 1);
    assert_eq!(companies(&mut gateway, "acme/lander", 3), 2);
    erase(&mut gateway, today..today + 1440);
    assert_eq!(companies(&mut gateway, "acme/rocket", 2), 2);
    gateway.stop();
}

#[test]
fn in_public_only_crowds_are_shown_and_none_by_subtraction() {
    let dir = tempfile::tempdir().unwrap();
    let labels = "10.9.8.0/24, our CI, exclude\n";
    let mut gateway =
        start_at(days_ago(1), dir.path(), counting(), labels, &["GeoLite2-City-Test"]);
    for (address, clients) in [("81.2.69.", 160..172), ("89.160.20.", 112..124)] {
        for client in clients {
            pull(&mut gateway, &format!("{address}{client}"), "latest");
        }
    }
    for client in 1..=3 {
        pull(&mut gateway, &format!("175.16.199.{client}"), "latest");
    }
    // A row without pulls, that of what is not known, is no company for one that hides.
    pull(&mut gateway, NOWHERE, "latest");
    gateway.stop();
    // What comes today is not seen to come.
    let mut gateway = start(dir.path(), counting(), "");
    pull(&mut gateway, "89.160.20.112", "latest");
    gateway.stop();
    let query = opened(dir.path());
    assert_eq!(pulls(&query, &["country"], &[]), ["CN 3", "GB 12", "SE 13", "unknown 0"]);
    let public = |by: &[&str]| shown(&query, &Ask { public: true, ..ask(by, &[]) });
    // China is too few, and alone it would be the rest.
    assert_eq!(public(&["country"]), ["(other) 15", "SE 12"]);
    assert_eq!(public(&["tag"]), ["latest 28"]);
    // What hides is weighed by its pulls: nothing else is told of places.
    let answer = query.rows(&Ask { public: true, ..ask(&["country"], &[]) }).unwrap();
    for Row { measures, .. } in &answer.rows {
        assert_eq!(*measures, Measures { pulls: measures.pulls, ..Measures::ZERO });
    }
    assert_eq!(answer.totals, Measures { pulls: 27, ..Measures::ZERO });
    // What a difference would tell is not answered.
    let since = Some(jiff::Timestamp::UNIX_EPOCH);
    for ask in [
        ask(&["country"], &["tag=latest"]),
        ask(&["country", "tag"], &[]),
        ask(&["region"], &[]),
        ask(&["country", "day"], &[]),
        Ask { from: since, ..ask(&["country"], &[]) },
        Ask { from: since, compare: true, ..ask(&["country"], &[]) },
    ] {
        let refused = query.rows(&Ask { public: true, ..ask });
        assert!(refused.unwrap_err().to_string().contains("in public"));
    }
}

/// A mark does not say how many clients it was given for: who raises the threshold erases the days before.
#[test]
fn what_was_marked_under_a_lower_threshold_is_shown_until_its_days_are_erased() {
    let dir = tempfile::tempdir().unwrap();
    let second = jiff::Timestamp::now().as_second() - 2 * 86_400;
    let marked = u32::try_from(second / 86_400 * 1440).unwrap();
    for (days, k_public) in [(2, 3), (1, 10)] {
        let sources = Arc::new(sources("", &["GeoLite2-City-Test"]));
        let insight = Insight { k_public, ..insight() };
        let look = days_ago(days);
        let options = Options { sources, look, insight, ..options(dir.path(), counting()) };
        let mut gateway = Gateway::start_from(options, 1);
        for (address, clients) in
            [("81.2.69.", 160..172), ("89.160.20.", 112..124), ("175.16.199.", 1..4)]
        {
            for client in clients {
                pull(&mut gateway, &format!("{address}{client}"), "latest");
            }
        }
        gateway.stop();
    }
    let everybody = Ask { public: true, ..ask(&["country"], &[]) };
    assert_eq!(shown(&opened(dir.path()), &everybody), ["CN 6", "GB 24", "SE 24"]);
    let mut gateway = start(dir.path(), counting(), "");
    let scope = Scope::Package("acme.com/acme/rocket".to_owned());
    let days = Some(marked..marked + 1440);
    eventually("the store is open", || gateway.totals().is_some());
    gateway.query.amend(Amendment::Erase(Erasure { scope, days })).unwrap();
    gateway.stop();
    assert_eq!(shown(&opened(dir.path()), &everybody), ["(other) 15", "SE 12"]);
}

/// Whoever was told already is not told again because somebody sets the clock.
#[test]
fn a_clock_that_is_set_counts_nobody_twice_once_it_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let evening: jiff::Timestamp = "2026-06-30T22:30:00Z".parse().unwrap();
    let minute = u32::try_from(evening.as_second() / 60).unwrap();
    let sources = sources("", &["flat-company"]);
    let mut past = Past::begin(dir.path(), minute, 1, sources, (counting(), insight())).unwrap();
    // One client of a company pulls; how many there are then, and how many companies.
    let mut pulls = 0;
    let mut come = |past: &mut Past| {
        pulls += 1;
        let address = "198.51.100.1".parse::<Ipv4Addr>().unwrap().to_ipv6_mapped().octets();
        let tag = format!("v{pulls}");
        let event = Event { address: Address(address), ..event(0, "acme/rocket", &tag) };
        past.offer(0, &Event { at_us: past.at_us, ..event }).unwrap();
        past.pass(1).unwrap();
        let Measures { daily_uniques, monthly_companies, .. } =
            past.query.rows(&Ask::default()).unwrap().totals;
        (daily_uniques, monthly_companies)
    };
    eventually("the store is open", || past.query.rows(&Ask::default()).is_ok());
    let hours = |hours: i64| hours * 3_600_000_000;
    assert_eq!(come(&mut past), (1, 1));
    // Over midnight and the month's end, and back.
    past.set_wall(hours(2));
    assert_eq!(come(&mut past), (1, 1));
    past.set_wall(hours(-2));
    assert_eq!(come(&mut past), (1, 1));
    // The next day, and a clock that is set back behind its midnight.
    past.pass(180).unwrap();
    assert_eq!(come(&mut past), (2, 2));
    past.set_wall(hours(-4));
    assert_eq!(come(&mut past), (2, 2));
    past.pass(240).unwrap();
    assert_eq!(come(&mut past), (2, 2));
    // Far off for longer than an hour that is another day and month; back again the client is new, for
    // the key has gone, and the company is not.
    past.set_wall(hours(24 * 40));
    assert_eq!(come(&mut past), (2, 2));
    past.pass(90).unwrap();
    assert_eq!(come(&mut past), (3, 3));
    past.set_wall(hours(-24 * 40));
    assert_eq!(come(&mut past), (3, 3));
    past.pass(90).unwrap();
    assert_eq!(come(&mut past), (4, 3));
    past.end().unwrap();
}
