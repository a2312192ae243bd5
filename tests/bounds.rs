//! How much of the admin listener anybody can take: connections, slow heads and bodies, pages that watch,
//! exports that nobody reads, more rows than one answer may have, and API tokens.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use support::described::Described;
use support::eventually::eventually;
use support::gate::Gate;
use support::http::Connection;
use support::old::{import, import_much};
use support::person::{PACKAGES, Person, ROCKET, text};
use support::program::{ask, begin_export, problem, send, token_of};

fn gate(limits: &str) -> Gate {
    Gate::start("epoll", &format!("{PACKAGES}\n[limits]\n{limits}"))
}

#[test]
fn connections_are_bounded_and_one_too_many_is_told_so() {
    let gate = gate("header_timeout = \"60s\"\n");
    let mut held = Vec::new();
    // As long as one client has half of them, others still find room.
    for (client, most) in [(2, 128), (3, 256)] {
        let client = IpAddr::from([127, 0, 0, client]);
        let refused = loop {
            let mut connection = Connection::open_from(client, gate.admin()).unwrap();
            connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            match connection.answer(false) {
                Ok(answer) if answer.status == 200 => held.push(connection),
                // What it has sent may have the answer reset before it is read.
                Err(_) => break None,
                Ok(answer) => break Some(answer),
            }
            assert!(held.len() <= most, "there is no bound");
        };
        assert_eq!(held.len(), most);
        if let Some(refused) = refused {
            assert_eq!(refused.status, 503);
            assert!(text(&refused).contains("too many connections at once"));
            assert!(refused.is_whole && refused.header("retry-after").is_some());
        }
    }
    let mut silent = Connection::open(gate.admin()).unwrap();
    assert_eq!(silent.answer(false).unwrap().status, 503, "said before anything is sent");
    held.pop();
    eventually(|| {
        let mut next = Connection::open(gate.admin()).map_err(|error| error.to_string())?;
        let answer = next.ask("GET", "/healthz", &["Host: x".to_owned()], b"");
        answer.map(drop).map_err(|error| error.to_string())
    });
}

#[test]
fn slow_heads_quiet_connections_and_slow_bodies_are_given_up() {
    let gate = gate("header_timeout = \"1s\"\nwrite_timeout = \"1s\"\n");
    let open = || Connection::open(gate.admin()).unwrap();
    let mut slow = open();
    slow.send(b"GET / HTTP/1.1\r\nHost:").unwrap();
    let mut quiet = open();
    quiet.ask("GET", "/healthz", &["Host: x".to_owned()], b"").unwrap();
    let mut silent = open();
    let mut body = open();
    let head = "POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n\r\nlogin=ada";
    body.send(head.as_bytes()).unwrap();
    for (connection, what) in [(&mut slow, "slow"), (&mut quiet, "quiet"), (&mut silent, "silent")]
    {
        connection.closed().unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    let answer = body.answer(false).unwrap();
    assert_eq!(answer.status, 400);
    assert!(text(&answer).contains("the body was not there within 1 s"), "{}", text(&answer));
    // And no body is longer than a form.
    let mut long = open();
    let head = "POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\
                Content-Type: application/x-www-form-urlencoded\r\n\r\n";
    long.send(&[head.as_bytes(), &[b'a'; 70_000]].concat()).unwrap();
    assert_eq!(long.answer(false).unwrap().status, 413);
}

/// An export that is not read holds a thread until it is given up.
#[test]
fn exports_that_nobody_reads_are_few_of_one_account_and_few_in_all() {
    let mut gate = gate("write_timeout = \"60s\"\n");
    let mut ada = Person::set_up(&mut gate);
    let rows = import_much(&gate, ROCKET);
    let begin = |token: &str| begin_export(&gate, &format!("Authorization: Bearer {token}"), "");
    let first = token_of(&mut ada, "acme");
    let mut held: Vec<_> = (0..2).map(|_| begin(&first)).collect();
    assert!(held.iter().all(|(answer, _)| answer.status == 200));
    let described = Described::of(&gate);
    let refused = ask(&gate, &first, "GET", "/api/v1/export", &[]);
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("5")));
    assert_eq!(described.check("GET", "/api/v1/export", &refused), Ok(()));
    // Others find room, until there is none.
    for number in 2..6 {
        let login = format!("p{number}");
        let mut person =
            Person::created(&gate, &login, &["--organisation", "acme", "--role", "admin"]);
        let token = token_of(&mut person, "acme");
        let exports: Vec<_> = (0..2).map(|_| begin(&token)).collect();
        let expected = if number < 5 { 200 } else { 503 };
        for (answer, _) in &exports {
            assert_eq!(answer.status, expected, "{login}");
            assert_eq!(answer.header("retry-after").is_some(), expected == 503);
        }
        held.extend(exports);
    }
    // Who goes away, or reads to the end, leaves room.
    drop(held);
    let whole = eventually(|| {
        let answer = ask(&gate, &first, "GET", "/api/v1/export", &[]);
        if answer.status == 200 { Ok(answer) } else { Err(text(&answer)) }
    });
    assert!(whole.is_whole && text(&whole).lines().count() == rows);
}

#[test]
fn an_account_has_so_many_tokens_and_is_told_so() {
    let mut gate = gate("");
    let mut ada = Person::set_up(&mut gate);
    let token = token_of(&mut ada, "acme");
    let wanted = json!({ "label": "ci", "role": "member", "days": 1 });
    let all = "/api/v1/tokens?organisation=acme";
    let make = || send(&gate, &token, "POST", all, &[], Some(&wanted));
    for _ in 1..50 {
        let made = make();
        assert_eq!(made.status, 201, "{}", text(&made));
    }
    let refused = make();
    assert_eq!(problem(&refused), (409, "That does not work".to_owned()));
    assert!(text(&refused).contains("there are 50 API tokens already"), "{}", text(&refused));
}

#[test]
fn an_account_watches_with_a_few_pages_and_programs_and_its_pages_go_on() {
    let mut gate = gate("");
    let mut ada = Person::set_up(&mut gate);
    let token = token_of(&mut ada, "acme");
    let page = (format!("/live/{ROCKET}"), format!("Cookie: {}", ada.cookie.unwrap()));
    let program =
        (format!("/api/v1/live?package={ROCKET}"), format!("Authorization: Bearer {token}"));
    let watch = |(target, who): &(String, String)| {
        let mut connection = Connection::open(gate.admin()).unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n{who}\r\n\r\n", gate.admin());
        connection.send(head.as_bytes()).unwrap();
        (connection.head().unwrap().status, connection)
    };
    let mut held: Vec<_> =
        (0..8).map(|number| watch(if number % 2 == 0 { &page } else { &program })).collect();
    assert!(held.iter().all(|(status, _)| *status == 200));
    assert_eq!(watch(&page).0, 503, "a ninth");
    let refused = ask(&gate, &token, "GET", &program.0, &[]);
    assert_eq!(problem(&refused), (503, "Too many watch".to_owned()));
    assert_eq!(Described::of(&gate).check("GET", &program.0, &refused), Ok(()));
    let mut elsewhere = Person::before(&gate);
    elsewhere.from = Some(IpAddr::from([127, 0, 0, 9]));
    assert_eq!(elsewhere.sign_in("ada", support::person::PASSWORD).status, 303, "pages go on");
    held.pop();
    eventually(|| match watch(&program) {
        (200, _) => Ok(()),
        (status, _) => Err(format!("{status}")),
    });
}

/// More packages with more tags than one answer may have rows.
#[test]
fn however_much_others_have_who_has_little_sees_all_of_it_and_badges_stay_right() {
    let mut gate = gate("");
    let mut ada = Person::set_up(&mut gate);
    let mut eve = Person::created(&gate, "eve", &["--organisation", "other"]);
    let given = [("organisation", "other"), ("domain", "small.example")];
    assert_eq!(ada.act("/organisations/domain", &given).status, 303);
    let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
    let day = yesterday.strftime("%Y-%m-%d").to_string();
    // A file has 100,000 lines at the most.
    for half in [0..51, 51..102] {
        let mut csv = "time,package,version,pulls\n".to_owned();
        for package in half.clone() {
            for tag in 0..1000 {
                csv += &format!("{day},crowd.example/n{package},{tag}.0,1\n");
            }
        }
        if half.contains(&0) {
            csv += &format!("{day},small.example/x,2.0,7\n{day},{ROCKET},v3.1,9\n");
        }
        import(&gate, &csv);
    }
    let all = token_of(&mut ada, "acme");
    let own = token_of(&mut eve, "other");
    let pulls = |token: &str, by: &str| {
        let answer = ask(&gate, token, "GET", &format!("/api/v1/pulls?by={by}"), &[]);
        (answer.status, text(&answer))
    };
    let (status, said) = pulls(&all, "tag");
    assert!(status == 400 && said.contains("more than 100000 rows"), "{status} {said}");
    for (by, value, package) in [("tag", "2.0", "small.example/x"), ("domain", "small.example", "")]
    {
        let (status, said) = pulls(&own, by);
        assert_eq!(status, 200, "{said}");
        let answer: Value = serde_json::from_str(&said).unwrap();
        let rows = answer["rows"].as_array().unwrap();
        let row = (rows[0][by].as_str(), rows[0]["package"].as_str());
        assert_eq!((rows.len(), row), (1, (Some(value), Some(package))), "{said}");
        assert_eq!((&rows[0]["pulls"], &answer["totals"]["pulls"]), (&json!(7), &json!(7)));
    }
    // However many of ada's questions are under way, there is a place for eve's.
    let many: Vec<Connection> = (0..20)
        .map(|_| {
            let mut asking = Connection::open(gate.admin()).unwrap();
            let head = format!(
                "GET /api/v1/pulls?by=tag HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {all}\r\n\r\n",
                gate.admin()
            );
            asking.send(head.as_bytes()).unwrap();
            asking
        })
        .collect();
    assert_eq!(pulls(&own, "tag").0, 200);
    let statuses: Vec<u16> =
        many.into_iter().map(|mut asking| asking.head().unwrap().status).collect();
    assert!(statuses.iter().all(|status| [400, 429].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&429), "an account has sixteen, one of which is answered");
    let page = text(&ada.get(&format!("/packages/{ROCKET}")));
    let mut nobody = Person::before(&gate);
    for (file, says) in [("version.svg", "v3.1"), ("pulls.svg", ">9<")] {
        let address = page.split('"').find(|it| it.starts_with("/badges/") && it.ends_with(file));
        let badge = nobody.get(address.unwrap_or_else(|| panic!("no {file} in\n{page}")));
        assert!(badge.status == 200 && text(&badge).contains(says), "{}", text(&badge));
    }
}
