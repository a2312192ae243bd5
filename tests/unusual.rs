//! What webhooks are told of the counts: a day that was unusual, a week that is over.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use support::eventually::eventually;
use support::gate::{Gate, UPSTREAM};
use support::old::import;
use support::person::{PACKAGES, Person, ROCKET, SLEDGE};
use support::webhooks::{
    ALERTS, added_beside_operators, added_to, body, heard, heard_by_both, is_signed, operators,
    receiver,
};

/// The days that are over, the last one first, each with how many before the one that has begun it was. As webhooks are
/// told, that one begins at a quarter past midnight (UTC): when all of the one before is counted. Until then there is
/// one more that is over, so that nothing is missing where the time comes during a test.
fn days(many: i64) -> impl Iterator<Item = (i64, String)> {
    let now = Timestamp::now();
    let begun = now - SignedDuration::from_mins(15);
    let day = |of: Timestamp| of.strftime("%Y-%m-%d").to_string();
    let all = (0..=many).map(move |ago| (ago, day(begun - SignedDuration::from_hours(24 * ago))));
    all.filter(move |(_, one)| *one < day(now))
}

/// The same database, whose webhooks were all there a month ago: of what was before them they hear nothing.
fn age_webhooks(gate: &mut Gate, many: usize) {
    gate.stop();
    let accounts = rusqlite::Connection::open(gate.data_dir().join("accounts.sqlite")).unwrap();
    let earlier = accounts.execute("UPDATE alerts SET created_s = created_s - 30 * 24 * 3600", ());
    assert_eq!(earlier, Ok(many));
    drop(accounts);
    gate.launch();
}

#[test]
fn a_day_with_far_more_or_fewer_pulls_is_told_once_to_who_listened_before() {
    let (origin, dir) = (receiver(0), tempfile::tempdir().unwrap());
    let (alerts, of_all) = operators(&origin, &dir.path().join("secret"));
    let config = format!("{PACKAGES}{UPSTREAM}{alerts}events = [\"unusual\"]\n");
    let mut gate = Gate::start("epoll", &config);
    let mut ada = Person::set_up(&mut gate);
    let of_rocket = added_beside_operators(&mut ada, &origin, "unusual");
    let url = |path: &str| format!("http://{}/{path}", origin.address());
    let sledges = format!("/alerts/{SLEDGE}");
    let of_sledge = added_to(&mut ada, &sledges, &url("sledge"), &["unusual"]);
    added_to(&mut ada, ALERTS, &url("another"), &["certificate"]);
    // Two months as ever, and a last day that is not.
    let mut old = "time,package,version,pulls\n".to_owned();
    for (ago, day) in days(60) {
        let (rockets, sledges) = if ago < 2 { (900, 20) } else { (100, 200) };
        writeln!(old, "{day},{ROCKET},v1,{rockets}\n{day},{SLEDGE},v1,{sledges}").unwrap();
    }
    import(&gate, &old);
    age_webhooks(&mut gate, 4);
    let mut told = heard(&origin, 4);
    told.sort_by_key(|request| (request.target.clone(), body(request)["type"].to_string()));
    let said: Vec<_> = told
        .iter()
        .map(|request| {
            let told = body(request);
            let pulls = json!([told["data"]["pulls"], told["data"]["usual"]]);
            (request.target.clone(), json!([told["type"], told["package"]]), pulls)
        })
        .collect();
    let (surge, drop) = (json!(["pulls.surge", ROCKET]), json!(["pulls.drop", SLEDGE]));
    let (more, fewer) = (json!([900, 100]), json!([20, 200]));
    let at =
        |path: &str, kind: &Value, pulls: &Value| (path.to_owned(), kind.clone(), pulls.clone());
    assert_eq!(
        said,
        [
            at("/hook", &surge, &more),
            at("/ops", &drop, &fewer),
            at("/ops", &surge, &more),
            at("/sledge", &drop, &fewer),
        ]
    );
    for (request, secret) in told.iter().zip([&of_rocket, &of_all, &of_all, &of_sledge]) {
        assert!(is_signed(request, secret), "{}", request.target);
        let words = body(request)["text"].as_str().unwrap().to_owned();
        assert!(words.starts_with("registry.acme.com/acme/") && words.contains(" pulls on 2"));
    }

    // It is told once: who is there later hears of it with the next look, and nobody else.
    let later = [ALERTS, &*sledges]
        .map(|page| added_to(&mut ada, page, &url(&format!("later{page}")), &["unusual"]));
    age_webhooks(&mut gate, 6);
    let mut told = heard(&origin, 2);
    eventually(|| match gate.metric("pullgate_webhooks_waiting") {
        0 => Ok(()),
        many => Err(format!("{many} wait")),
    });
    told.extend(origin.requests());
    told.sort_by_key(|request| request.target.clone());
    let targets: Vec<_> = told.iter().map(|request| request.target.clone()).collect();
    assert_eq!(targets, [format!("/later{ALERTS}"), format!("/later{sledges}")]);
    let kinds: Vec<_> = told.iter().map(|request| body(request)["type"].clone()).collect();
    assert_eq!(kinds, ["pulls.surge", "pulls.drop"]);
    assert!(told.iter().zip(&later).all(|(request, secret)| is_signed(request, secret)));
}

#[test]
fn a_week_that_is_over_is_told_to_who_listened_before_it_was() {
    let (origin, dir) = (receiver(0), tempfile::tempdir().unwrap());
    let (alerts, operators) = operators(&origin, &dir.path().join("secret"));
    let config = format!("{PACKAGES}{UPSTREAM}{alerts}events = [\"weekly\"]\n");
    let mut gate = Gate::start("epoll", &config);
    let mut ada = Person::set_up(&mut gate);
    let own = added_beside_operators(&mut ada, &origin, "weekly");
    // Each day the same, so that each week is.
    let mut old = "time,package,version,pulls\n".to_owned();
    for (_, day) in days(28) {
        writeln!(old, "{day},{ROCKET},v1,3\n{day},{SLEDGE},v2,5").unwrap();
    }
    import(&gate, &old);
    age_webhooks(&mut gate, 2);
    let [of_rocket, of_all] = heard_by_both(&origin, "pulls.week", [&own, &operators]);
    let data = |told: &Value| json!([told["data"]["pulls"], told["data"]["pulls_before"]]);
    assert_eq!((data(&of_rocket), data(&of_all)), (json!([21, 21]), json!([56, 56])));
    assert_eq!(of_rocket["data"]["tags"], json!([{ "name": "v1", "pulls": 21 }]), "{of_rocket}");
    assert_eq!(
        of_all["data"]["packages"],
        json!([{ "name": SLEDGE, "pulls": 35 }, { "name": ROCKET, "pulls": 21 }]),
        "{of_all}"
    );
    let words = of_rocket["text"].as_str().unwrap();
    assert!(words.starts_with(&format!("{ROCKET}: 21 pulls in the week from ")), "{words}");
}
