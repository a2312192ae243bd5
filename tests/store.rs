//! Counts come out of the store as they went in, told apart as far as bounds allow, and no address
//! is ever written.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking, and its numbers are small"
)]

#[path = "support/counting.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pullgate::aggregator::lock::Lock;
use pullgate::aggregator::{Ask, Booked, By, Health, Query, Reconfigured, open_offline, spawn};
use pullgate::messages::pulls::channel;
use pullgate::pure::client::ClientTable;
use pullgate::pure::config::values::Counting;
use pullgate::pure::pull::event::{Address, Asked, Event, Outcome};
use pullgate::pure::pull::kin;
use pullgate::pure::pull::rollup::Measures;

use support::*;

#[test]
fn counts_survive_a_restart_and_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    for client in 1..=3 {
        gateway.docker_pull(client, "acme/rocket", "latest");
    }
    gateway.docker_pull(1, "acme/rocket", "1.2");
    gateway.send(4, PODMAN, "acme/rocket", Asked::Manifest, "latest");
    gateway.send(4, PODMAN, "acme/rocket", Asked::Manifest, &digest("child"));
    gateway.send(5, DOCKER, "acme/rocket", Asked::ManifestHead, "latest");
    gateway.send(6, DOCKER, "acme/tool", Asked::Manifest, &digest("index"));
    gateway.stop();

    let query = opened(dir.path());
    assert_eq!(
        table(&query, &[]),
        "acme.com/acme/rocket requests 10 pulls 5 checks 1 unseen 10
         acme.com/acme/tool requests 1 pulls 1 checks 0 unseen 1
         = requests 11 pulls 6 checks 1 unseen 11"
            .replace("         ", "")
    );
    assert_eq!(
        table(&query, &[By::Tag]),
        "acme.com/acme/rocket 1.2 requests 2 pulls 1 checks 0 unseen 2
         acme.com/acme/rocket latest requests 8 pulls 4 checks 1 unseen 8
         acme.com/acme/tool (by digest) requests 1 pulls 1 checks 0 unseen 1
         = requests 11 pulls 6 checks 1 unseen 11"
            .replace("         ", "")
    );
    let clients = table(&query, &[By::Client]);
    assert!(clients.contains("acme.com/acme/rocket docker 28.5.2 requests 8 pulls 4"), "{clients}");
    let platforms = table(&query, &[By::Platform]);
    assert!(platforms.contains("acme.com/acme/rocket linux/amd64 requests 8"), "{platforms}");
    assert!(platforms.contains("acme.com/acme/rocket unknown requests 2"), "{platforms}");
    drop(query);

    let mut gateway = Gateway::start(dir.path());
    gateway.docker_pull(9, "acme/rocket", "latest");
    eventually("the new pull is visible beside the old ones", || {
        gateway.totals().is_some_and(|(requests, pulls, _)| (requests, pulls) == (13, 7))
    });
    gateway.stop();
}

#[test]
fn an_answer_in_json_has_the_shape_that_was_promised() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    gateway.docker_pull(1, "acme/rocket", "latest");
    gateway.stop();
    let query = opened(dir.path());
    let ask = Ask { by: vec![By::Tag, By::Day], ..Ask::default() };
    let answer = serde_json::to_value(query.rows(&ask).unwrap()).unwrap();
    let day = answer["rows"][0]["day"].as_str().unwrap();
    assert!(day.ends_with("T00:00:00Z"), "{day}");
    assert_eq!(
        answer["rows"],
        serde_json::json!([{
            "package": "acme.com/acme/rocket", "tag": "latest", "day": day,
            "requests": 2, "pulls": 1, "checks": 0, "supply_chain": 0, "unseen": 2, "unfolded": 0,
            "complete": 0, "up_to_date": 0, "excluded": 0, "daily_uniques": 0,
            "monthly_companies": 0, "public_days": 0, "imported": 0, "blobs": 0,
            "blob_bytes": 0, "blobs_aborted": 0, "partial": 0,
        }])
    );
    assert_eq!(
        answer["totals"],
        serde_json::json!({
            "requests": 2, "pulls": 1, "checks": 0, "supply_chain": 0, "unseen": 2, "unfolded": 0,
            "complete": 0, "up_to_date": 0, "excluded": 0, "daily_uniques": 0,
            "monthly_companies": 0, "public_days": 0, "imported": 0, "blobs": 0,
            "blob_bytes": 0, "blobs_aborted": 0, "partial": 0,
        })
    );
    for end in ["from", "to"] {
        answer[end].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    }
    let crossed = Ask { by: vec![By::Tag, By::Os], ..Ask::default() };
    assert!(query.rows(&crossed).is_err());
    let nothing = Ask { package: Some("acme.com/other".to_owned()), ..Ask::default() };
    assert_eq!(query.rows(&nothing).unwrap().rows, []);
}

#[test]
fn a_subscriber_is_told_of_each_pull() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    let feed = gateway.aggregator.subscribe();
    gateway.docker_pull(1, "acme/rocket", "latest");
    gateway.send(2, PODMAN, "acme/rocket", Asked::Manifest, &digest("index"));
    gateway.send(3, DOCKER, "acme/rocket", Asked::ManifestHead, "latest");
    gateway.stop();
    let told: Vec<String> = feed
        .iter()
        .map(|pull| {
            let Booked { package, tag, client, version, platform } = pull;
            format!("{package} {tag} {client} {version} {platform}")
        })
        .collect();
    assert_eq!(
        told,
        [
            "acme.com/acme/rocket latest docker 28.5.2 linux/amd64",
            "acme.com/acme/rocket (by digest) containers/image 5.34.2 unknown",
        ]
    );
}

#[test]
fn a_reload_changes_how_much_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    let fewer = Counting { max_tags: 1, ..counting() };
    gateway.aggregator.reconfigure()(Reconfigured {
        counting: fewer,
        insight: insight(),
        clients: ClientTable::built_in(),
        sources: Arc::default(),
    });
    // An answer comes after the order before it was carried out.
    eventually("the store answers", || gateway.totals().is_some());
    for (client, tag) in [(1, "a"), (2, "b"), (3, "c")] {
        gateway.docker_pull(client, "acme/rocket", tag);
    }
    gateway.stop();
    let tags = table(&opened(dir.path()), &[By::Tag]);
    assert!(tags.contains("acme.com/acme/rocket (other) requests 4 pulls 2"), "{tags}");
}

#[test]
fn a_range_is_answered_from_the_cells_it_covers() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    gateway.docker_pull(1, "acme/rocket", "latest");
    gateway.stop();
    let query = opened(dir.path());
    let all = query.rows(&Ask::default()).unwrap();
    let since = all.from.unwrap();
    let minutes = |minutes: i64| Some(since + jiff::SignedDuration::from_mins(minutes));
    let pulls = |from, to| query.rows(&Ask { from, to, ..Ask::default() }).unwrap().totals.pulls;
    assert_eq!(pulls(minutes(0), minutes(1)), 1);
    assert_eq!(pulls(minutes(-9999), minutes(9999)), 1);
    assert_eq!(pulls(None, minutes(0)), 0);
    assert_eq!(pulls(minutes(5), None), 0);
    assert_eq!(pulls(minutes(0), None), 1);
}

#[test]
fn requests_may_come_by_any_worker() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut tables = Vec::new();
    for (dir, workers) in dirs.iter().zip([1, 4]) {
        let mut gateway = Gateway::start_with(dir.path(), workers, counting());
        for round in 0..300 {
            let client = round % 7;
            gateway.worker = (round * 5 % workers as u32) as usize;
            let tag = ["latest", "1.2", "1.3"][round as usize % 3];
            let asked = [Asked::ManifestHead, Asked::Manifest][round as usize / 3 % 2];
            gateway.send(client, DOCKER, "acme/rocket", asked, tag);
            gateway.worker = (round * 3 % workers as u32) as usize;
            let reference = digest(&format!("{}", round % 4));
            gateway.send(client, DOCKER, "acme/rocket", Asked::Manifest, &reference);
        }
        gateway.stop();
        tables.push(table(&opened(dir.path()), &[By::Tag]));
    }
    assert_eq!(tables[0], tables[1]);
}

/// The same with answers that are seen: tags that point at one of three indexes, and the pulls'
/// manifests and layers, each by another worker.
#[test]
fn answers_may_be_seen_by_any_worker() {
    let kin_of = |list: &str, members: &[String]| {
        let members = members.iter().map(|member| format!(r#"{{"digest":"{member}"}}"#));
        let members = members.collect::<Vec<_>>().join(",");
        kin::read(format!(r#"{{"{list}":[{members}]}}"#).as_bytes())
    };
    let mut tables = Vec::new();
    for workers in [1, 2, 5] {
        let dir = tempfile::tempdir().unwrap();
        let mut gateway = Gateway::start_with(dir.path(), workers, counting());
        for round in 0..400 {
            let which = round % 3;
            let (tag, index) = (["latest", "1.2", "1.3"][which], digest(&format!("index{which}")));
            let (child, layer) =
                (digest(&format!("child{which}")), digest(&format!("layer{which}")));
            let index_kin = kin_of("manifests", std::slice::from_ref(&child));
            let child_kin = kin_of("layers", std::slice::from_ref(&layer));
            let steps = [
                (Asked::ManifestHead, tag, &*index, &b""[..]),
                (Asked::Manifest, &*index, &*index, index_kin.bytes()),
                (Asked::Manifest, &*child, &*child, child_kin.bytes()),
                (Asked::Blob, &*layer, "", b""),
            ];
            let (asked, reference, answered, kin) = steps[round * 7 / 3 % 4];
            gateway.senders[round * 5 % workers].offer(&Event {
                asked,
                outcome: Outcome::Succeeded,
                digest: answered.as_bytes(),
                kin,
                ..event(round as u32 / 4 % 7, "acme/rocket", reference)
            });
        }
        gateway.stop();
        let answer = opened(dir.path()).rows(&Ask::default()).unwrap();
        assert!(answer.totals.complete > 0 && answer.totals.up_to_date > 0, "{answer:?}");
        let by_tag = Ask { by: vec![By::Tag], ..Ask::default() };
        tables.push(opened(dir.path()).rows(&by_tag).unwrap().rows);
    }
    assert_eq!(tables[0], tables[1]);
    assert_eq!(tables[0], tables[2]);
}

#[test]
fn what_is_beyond_the_bounds_is_counted_together_and_totals_are_exact() {
    let dir = tempfile::tempdir().unwrap();
    let bounds = Counting { max_names: 10, max_tags: 20, max_clients: 5, ..counting() };
    let mut gateway = Gateway::start_with(dir.path(), 1, bounds);
    for number in 0..3000 {
        let agent = format!("docker/{}.{}.0 go/go1", number % 40, number);
        let name = format!("library/n{}", number % 50);
        gateway.collection = "library/*";
        gateway.send(number, &agent, &name, Asked::Manifest, &format!("tag-{number}"));
    }
    gateway.stop();
    let query = opened(dir.path());
    let packages = query.rows(&Ask::default()).unwrap();
    assert_eq!((packages.rows.len(), packages.totals.requests), (11, 3000));
    assert_eq!(packages.totals.pulls, 3000, "names without a row of their own do not fold");
    // Who asks for all of them may be refused, and is told what to do; one row of each package is no matter.
    let few = query.clone().bounded(100);
    assert_eq!(few.rows(&Ask::default()).unwrap().rows.len(), 11);
    for by in [vec![By::Tag], vec![By::Tag, By::Client]] {
        let refused =
            few.rows(&Ask { by, top: Some(1), ..Ask::default() }).unwrap_err().to_string();
        assert!(refused.starts_with("this comes to more than 100 rows: ask for less"), "{refused}");
    }
    let package = Some(packages.rows[0].package.to_string());
    let one = Ask { package, by: vec![By::Tag], ..Ask::default() };
    assert!(few.rows(&one).unwrap().rows.len() <= 21);
    for (by, rows_max) in [(By::Tag, 21), (By::Client, 6), (By::Family, 6)] {
        let answer = query.rows(&Ask { by: vec![by], ..Ask::default() }).unwrap();
        // Of clients rows have no part.
        assert_eq!(answer.totals.to_array()[..8], packages.totals.to_array()[..8]);
        for package in &packages.rows {
            let rows = answer.rows.iter().filter(|row| row.package == package.package);
            assert!(rows.count() <= rows_max);
        }
    }
}

#[test]
fn an_answer_says_what_time_it_covers() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    gateway.docker_pull(1, "acme/rocket", "latest");
    gateway.stop();
    let query = opened(dir.path());
    let answer = query.rows(&Ask::default()).unwrap();
    assert!(answer.to > jiff::Timestamp::now() - Duration::from_secs(1), "until now: {answer:?}");
    assert!(answer.from.unwrap() < answer.to);
    let (from, to) = (Some(answer.to), answer.from);
    let refused = query.rows(&Ask { from, to, ..Ask::default() }).unwrap_err();
    assert!(refused.to_string().ends_with("from is the earlier time"), "{refused}");
}

#[test]
fn a_pull_shows_before_it_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let counting = Counting { flush: Duration::from_secs(3600), ..counting() };
    let mut gateway = Gateway::start_with(dir.path(), 1, counting);
    gateway.docker_pull(1, "acme/rocket", "latest");
    eventually("the pull shows", || gateway.totals() == Some((2, 1, 0)));
    gateway.stop();
}

#[test]
fn requests_are_exact_when_events_could_not_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut sender, receiver) = channel();
    let agent = "x".repeat(256);
    let mut offered = 0;
    // Nobody reads: the channel fills, then the backlog, then only totals are kept.
    while sender.flush().unfolded < 1000 {
        for _ in 0..500 {
            sender.offer(&Event {
                user_agent: agent.as_bytes(),
                ..event(1, "acme/rocket", "latest")
            });
            offered += 1;
        }
    }
    let health = Arc::new(Health::default());
    let options = options(dir.path(), counting());
    let lock = Lock::take(dir.path()).unwrap();
    let aggregator = spawn(options, lock, vec![receiver], Arc::clone(&health)).unwrap();
    eventually("the worker gets rid of everything", || {
        sender.flush();
        sender.is_settled()
    });
    drop(sender);
    aggregator.stop(Vec::new());
    let totals = opened(dir.path()).rows(&Ask::default()).unwrap().totals;
    assert_eq!(totals.requests, offered);
    assert!(totals.unfolded >= 1000);
    assert_eq!(totals.unseen, offered);
    assert_eq!(totals.unfolded, health.unfolded.load(Ordering::Relaxed));
}

#[test]
fn a_data_dir_has_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(dir.path());
    let refused = Lock::take(dir.path()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock);
    assert!(refused.to_string().contains("another pullgate is running on it"), "{refused}");
    assert!(open_offline(dir.path()).is_err());
    gateway.stop();
    assert!(open_offline(dir.path()).is_ok());
    let nowhere = open_offline(&dir.path().join("nowhere")).err().unwrap().to_string();
    assert!(nowhere.contains("there is no such folder"), "{nowhere}");
}

#[test]
fn a_store_of_another_version_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    gateway.docker_pull(1, "acme/rocket", "latest");
    gateway.stop();
    let set_version = |version: u32| {
        let counts = sled::open(dir.path().join("counts")).unwrap();
        counts.insert(b"\x00version", &version.to_be_bytes()).unwrap();
        counts.flush().unwrap();
    };
    set_version(77);
    let gateway = Gateway::start(dir.path());
    let mut refused = String::new();
    eventually("it is refused with words", || {
        refused =
            gateway.query.rows(&Ask::default()).err().map(|e| e.to_string()).unwrap_or_default();
        refused.contains("format 77")
    });
    assert!(refused.contains("use the version of pullgate that wrote it"), "{refused}");
    gateway.stop();
    assert!(!dir.path().join("counts.damaged.1").exists());
    set_version(2);
    assert_eq!(totals(&opened(dir.path())), (2, 1, 0));
}

/// `golden/store-1` was written by the program before `complete` and `up_to_date` were counted:
/// sled with one record applied, a checkpoint of it, and a journal with one more.
#[test]
fn a_store_of_the_first_version_is_read_and_goes_on() {
    for without_sled in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/store-1");
        for path in all_files(&golden) {
            let to = dir.path().join(path.strip_prefix(&golden).unwrap());
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(path, to).unwrap();
        }
        if without_sled {
            fs::remove_dir_all(dir.path().join("counts")).unwrap();
        }
        let query = opened(dir.path());
        assert_eq!(totals(&query), (10, 6, 2));
        let tags = table(&query, &[By::Tag]);
        assert!(tags.contains("acme.com/acme/rocket latest requests 4 pulls 2 checks 0"), "{tags}");
        drop(query);

        let mut gateway = Gateway::start(dir.path());
        gateway.docker_pull(1, "acme/rocket", "latest");
        gateway.stop();
        let query = opened(dir.path());
        assert_eq!(totals(&query), (12, 7, 2));
        drop(query);
        assert!(!dir.path().join("counts.damaged.1").exists());
    }
}

/// `golden/store-2` was written by the program before places were counted: one interval in order,
/// and one that a kill left in the journal.
#[test]
fn a_store_of_the_second_version_is_read_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/store-2");
    for path in all_files(&golden) {
        let to = dir.path().join(path.strip_prefix(&golden).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
    assert_eq!(totals(&opened(dir.path())), (4, 2, 0));
    let mut gateway = Gateway::start(dir.path());
    gateway.docker_pull(1, "acme/rocket", "latest");
    gateway.stop();
    let query = opened(dir.path());
    assert_eq!(totals(&query), (6, 3, 0));
    let deliveries = table(&query, &[By::Delivery]);
    assert!(deliveries.contains("*/acme/rocket unknown requests 4 pulls 2"), "{deliveries}");
    assert!(
        deliveries.contains("acme.com/acme/rocket redirect requests 2 pulls 1"),
        "{deliveries}"
    );
    assert!(!dir.path().join("counts.damaged.1").exists());
}

/// podman's user agent says nothing of its system: what it fetches of an index does.
#[test]
fn the_platform_of_a_pull_is_that_of_the_image_that_was_fetched() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    let (index, arm, amd) = (digest("index"), digest("arm"), digest("amd"));
    let member = |digest: &str, arch: &str| {
        format!(r#"{{"digest":"{digest}","platform":{{"os":"linux","architecture":"{arch}"}}}}"#)
    };
    let body = format!(r#"{{"manifests":[{},{}]}}"#, member(&arm, "arm64"), member(&amd, "amd64"));
    let kin = kin::read(body.as_bytes());
    let mut get = |client, reference: &str, answer: &str, kin: &[u8]| {
        let event = event(client, "acme/rocket", reference);
        gateway.senders[0].offer(&Event {
            outcome: Outcome::Succeeded,
            user_agent: PODMAN.as_bytes(),
            digest: answer.as_bytes(),
            kin,
            ..event
        });
    };
    for (client, children) in [(1, &[&arm][..]), (2, &[&arm]), (3, &[&amd, &arm]), (4, &[])] {
        get(client, "latest", &index, kin.bytes());
        for child in children {
            get(client, child, child, b"");
        }
    }
    gateway.stop();
    let query = opened(dir.path());
    let platforms = table(&query, &[By::ImagePlatform]);
    assert_eq!(
        platforms,
        "acme.com/acme/rocket linux/amd64 requests 0 pulls 1 checks 0 unseen 0\n\
         acme.com/acme/rocket linux/arm64 requests 0 pulls 2 checks 0 unseen 0\n\
         acme.com/acme/rocket unknown requests 0 pulls 1 checks 0 unseen 0\n\
         = requests 0 pulls 4 checks 0 unseen 0"
    );
    // The system too, of the pulls of which it is known; what a user agent says goes before that.
    let systems = [(By::Platform, "linux/amd64", "linux/arm64"), (By::Arch, "amd64", "arm64")];
    for (by, amd, arm) in systems {
        assert_eq!(
            table(&query, &[by]),
            format!(
                "acme.com/acme/rocket {amd} requests 0 pulls 1 checks 0 unseen 0\n\
                 acme.com/acme/rocket {arm} requests 0 pulls 2 checks 0 unseen 0\n\
                 acme.com/acme/rocket unknown requests 8 pulls 1 checks 0 unseen 0\n\
                 = requests 8 pulls 4 checks 0 unseen 0"
            )
        );
    }
    assert!(table(&query, &[By::Os]).contains(" linux requests 0 pulls 3"));
    assert_eq!(
        table(&query, &[By::Digest]),
        format!(
            "acme.com/acme/rocket {index} requests 0 pulls 4 checks 0 unseen 0\n\
             = requests 0 pulls 4 checks 0 unseen 0"
        )
    );
}

#[test]
fn pulls_are_told_apart_by_domain_digest_and_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    gateway.docker_pull(1, "acme/rocket", "latest");
    gateway.docker_pull(2, "acme/tool", "latest");
    gateway.send(3, PODMAN, "acme/tool", Asked::Manifest, "latest");
    let mut answered = |client, domain: &str, outcome, answer: &str| {
        let event = event(client, "acme/rocket", "latest");
        let (domain, digest) = (domain.as_bytes(), answer.as_bytes());
        gateway.senders[0].offer(&Event { domain, outcome, digest, ..event });
    };
    let index = digest("index");
    answered(4, "b.example", Outcome::Succeeded, &index);
    answered(5, "b.example", Outcome::NotModified, &index);
    gateway.stop();
    let query = opened(dir.path());
    assert_eq!(
        table(&query, &[By::Domain]),
        " acme.com requests 5 pulls 3 checks 0 unseen 5\n \
         b.example requests 2 pulls 1 checks 1 unseen 0\n\
         = requests 7 pulls 4 checks 1 unseen 5"
    );
    let only = vec!["domain=b.example".parse().unwrap()];
    let of_domain = query.rows(&Ask { only, ..Ask::default() }).unwrap();
    assert_eq!((of_domain.rows.len(), of_domain.totals.requests), (1, 2));
    assert_eq!(&*of_domain.rows[0].package, "b.example/acme/rocket");
    assert_eq!(
        table(&query, &[By::Domain, By::Outcome]),
        " acme.com unseen requests 5 pulls 3 checks 0 unseen 0\n \
         b.example found requests 1 pulls 1 checks 0 unseen 0\n \
         b.example unchanged requests 1 pulls 0 checks 0 unseen 0\n\
         = requests 7 pulls 4 checks 0 unseen 0"
    );
    // A tag that is redirected says nothing of its digest, and what is not new was not fetched.
    assert_eq!(
        table(&query, &[By::Digest, By::Day]).matches("pulls 1").count(),
        4,
        "of each package one, and of acme/tool one that is not known"
    );
    let digests = table(&query, &[By::Digest]);
    assert!(
        digests.contains(&format!("acme.com/acme/tool {index} requests 0 pulls 1")),
        "{digests}"
    );
    assert!(digests.contains("acme.com/acme/tool unknown requests 0 pulls 1"), "{digests}");
}

#[test]
fn no_address_is_ever_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(dir.path());
    let v4 = [203, 0, 113, 77];
    let mut mapped = [0; 16];
    mapped[10..12].fill(0xff);
    mapped[12..].copy_from_slice(&v4);
    let v6 = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0xfeed, 0xbeef, 0x1234, 0x5678, 0x9abc, 0xdef0);
    for (connection, address) in [mapped, v6.octets()].into_iter().enumerate() {
        for reference in ["latest", &digest("index"), &digest("child")] {
            let event = event(connection as u32, "acme/rocket", reference);
            gateway.senders[0].offer(&Event { address: Address(address), ..event });
        }
    }
    gateway.stop();
    let needles: [&[u8]; 7] = [
        b"203.0.113.77",
        &v4,
        &mapped[10..],
        b"2001:db8:feed:beef",
        &v6.octets()[..8],
        b"6.12.1-secret",
        b"e180ab8",
    ];
    let mut files = 0;
    for path in all_files(dir.path()) {
        let bytes = fs::read(&path).unwrap();
        files += 1;
        for needle in needles {
            let is_found = bytes.windows(needle.len()).any(|window| window == needle);
            assert!(!is_found, "{needle:?} stands in {}", path.display());
        }
    }
    assert!(files >= 3);
    assert_eq!(totals(&opened(dir.path())), (6, 2, 0));
}

fn table(query: &Query, by: &[By]) -> String {
    let answer = query.rows(&Ask { by: by.to_vec(), ..Ask::default() }).unwrap();
    let mut lines = Vec::new();
    let counts = |measures: &Measures| {
        let (requests, pulls, checks) = (measures.requests, measures.pulls, measures.checks);
        format!("requests {requests} pulls {pulls} checks {checks} unseen {}", measures.unseen)
    };
    for row in &answer.rows {
        let keys: String = row.keys.iter().map(|(_, value)| format!(" {value}")).collect();
        lines.push(format!("{}{keys} {}", row.package, counts(&row.measures)));
    }
    lines.push(format!("= {}", counts(&answer.totals)));
    lines.join("\n")
}
