//! People at the dashboard, over HTTP with cookies: the first account, signing in and out, and what
//! others try.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::thread;

use support::eventually::eventually;
use support::gate::Gate;
use support::http::Answer;
use support::person::{PASSWORD, Person, set_up_link, text};

const PACKAGES: &str = r#"
[[packages]]
domain = "registry.acme.com"
name = "acme/rocket"
backend = "ghcr.io/acme/rocket"

[[packages]]
domain = "*"
name = "library/**"
backend = "docker.io/library/**"
"#;

fn gate() -> Gate {
    Gate::start("epoll", PACKAGES)
}

fn leads_to(answer: &Answer) -> &str {
    assert_eq!(answer.status, 303, "{}", text(answer));
    answer.header("location").expect("where to")
}

#[test]
fn the_first_account_is_made_once_by_the_link_in_the_log() {
    let mut gate = gate();
    let link = set_up_link(&mut gate);
    let mut stranger = Person::before(&gate);
    assert_eq!(leads_to(&stranger.get("/")), "/sign-in");
    for wrong in ["/set-up", "/set-up?key=", "/set-up?key=00"] {
        assert_eq!(stranger.get(wrong).status, 404, "{wrong}");
    }
    // What is wrong is said, and what was filled in is there again.
    for (login, organisation, password, why) in [
        ("", "acme", PASSWORD, "The name is empty"),
        ("ada", "acme inc", PASSWORD, "organisation&#39;s name is made of"),
        ("ada", "acme", "short", "fewer than 12 characters"),
        ("ada", "acme", "Password1234", "that everybody tries first"),
    ] {
        let fields = [("login", login), ("organisation", organisation), ("password", password)];
        let answer = stranger.fill_in(&link, &fields);
        assert_eq!(answer.status, 400);
        let page = text(&answer);
        assert!(page.contains(why) && page.contains("value=\"acme"), "{why}: {page}");
        assert!(password.is_empty() || !page.contains(password), "{page}");
    }
    let mut ada = Person::set_up(&mut gate);
    let page = text(&ada.get("/"));
    for shown in ["registry.acme.com/acme/rocket", "*/library/**", "ada", "Sign out"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert_eq!(stranger.get(&link).status, 404, "the link is worth nothing any more");
    let file = gate.data_dir().join("accounts.sqlite");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    // Nor does the next start say another, and who is signed in stays so.
    gate.stop();
    gate.launch();
    assert_eq!(gate.words().matches("/set-up?key=").count(), 1, "{}", gate.words());
    assert_eq!(ada.get("/").status, 200);
}

#[test]
fn two_that_set_up_at_once_are_one_account() {
    let mut gate = gate();
    let link = set_up_link(&mut gate);
    let outcomes: Vec<u16> = thread::scope(|scope| {
        let tries: Vec<_> = ["ada", "eve"]
            .map(|login| {
                let (gate, link) = (&gate, &link);
                scope.spawn(move || {
                    let fields =
                        [("login", login), ("organisation", login), ("password", PASSWORD)];
                    let mut person = Person::before(gate);
                    let page = text(&person.get(link));
                    if !page.contains("action=\"/set-up\"") {
                        return 404;
                    }
                    person.send_form(&page, "/set-up", &fields).status
                })
            })
            .into_iter()
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let made = outcomes.iter().filter(|status| **status == 303).count();
    assert_eq!(made, 1, "{outcomes:?}");
}

#[test]
fn signing_in_renews_the_cookie_and_signing_out_ends_it() {
    let mut gate = gate();
    let mut ada = Person::set_up(&mut gate);
    let first = ada.cookie.clone().unwrap();
    let page = text(&ada.get("/"));
    assert_eq!(leads_to(&ada.send_form(&page, "/sign-out", &[])), "/sign-in");
    assert_eq!(ada.cookie, None);
    ada.cookie = Some(first.clone());
    assert_eq!(leads_to(&ada.get("/")), "/sign-in", "the session is over, whoever has its cookie");

    // A cookie that an attacker knows is worth nothing once its browser signs in.
    let planted = format!("pullgate={}", "ab".repeat(32));
    let mut ada = Person::before(&gate);
    ada.cookie = Some(planted.clone());
    assert_eq!(leads_to(&ada.sign_in(" Ada ", PASSWORD)), "/");
    let second = ada.cookie.clone().unwrap();
    assert!(second != planted && second != first, "{second}");
    let mut attacker = Person::before(&gate);
    attacker.cookie = Some(planted);
    assert_eq!(leads_to(&attacker.get("/")), "/sign-in");
    let mut elsewhere = Person::before(&gate);
    assert_eq!(leads_to(&elsewhere.sign_in("ada", PASSWORD)), "/");
    assert_eq!(ada.get("/").status, 200, "another browser's session stays");
}

#[test]
fn the_cookie_is_for_this_host_alone_and_for_no_script() {
    let mut gate = gate();
    Person::set_up(&mut gate);
    for (also, name, secure) in [
        (vec![], "pullgate=", false),
        (vec!["x-forwarded-proto: https".to_owned()], "__Host-pullgate=", true),
    ] {
        let mut person = Person::before(&gate);
        person.also = also;
        let answer = person.sign_in("ada", PASSWORD);
        let said = answer.header("set-cookie").unwrap();
        assert!(said.starts_with(name), "{said}");
        for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Lax"] {
            assert!(said.contains(attribute), "{said}");
        }
        assert_eq!(said.contains("; Secure"), secure, "{said}");
        assert_eq!(person.get("/").status, 200);
    }
}

#[test]
fn wrong_names_and_passwords_look_alike_and_soon_cost_time() {
    let mut gate = gate();
    Person::set_up(&mut gate);
    let mut guesser = Person::before(&gate);
    let mut pages = Vec::new();
    for login in ["ada", "nobody"] {
        let answer = guesser.sign_in(login, "not the right one");
        assert_eq!(answer.status, 401);
        pages.push(text(&answer).replace(&format!("value=\"{login}\""), "…"));
    }
    assert_eq!(pages[0], pages[1], "nobody learns which accounts there are");
    // A network's tries at an account run out, and there even the right password waits then.
    refused_after(&mut guesser, |_| "ada".to_owned());
    assert_eq!(guesser.sign_in("ada", PASSWORD).status, 429);
    // But nobody locks anybody out: from elsewhere it is let in at once, and what was tried there stands.
    let mut owner = Person::before(&gate);
    owner.from = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9)));
    assert_eq!(owner.sign_in("ada", PASSWORD).status, 303);
    let tries = refused_after(&mut guesser, |_| "ada".to_owned());
    assert!(tries < 5, "{tries} more were free");
    // A network's run out too, whatever the accounts, and whoever a stranger says to be; another's do not.
    refused_after(&mut guesser, |number| format!("somebody-{number}"));
    let mut elsewhere = Person::before(&gate);
    elsewhere.from = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9)));
    assert_eq!(elsewhere.sign_in("somebody-else", "not the right one").status, 401);
}

/// Tries wrong passwords until one is refused for long enough to do something meanwhile on a slow machine; how many
/// were not. Each is said to come from another address, by a header that is not to be believed.
fn refused_after(guesser: &mut Person, login: impl Fn(u8) -> String) -> u8 {
    let (mut number, mut tries) = (0u8, 0u8);
    eventually(|| {
        number = number.wrapping_add(1);
        guesser.also = vec![format!("x-forwarded-for: 192.0.2.{number}")];
        let answer = guesser.sign_in(&login(number), "not the right one");
        if answer.status == 401 {
            tries += 1;
            return Err(format!("{tries} tries, and none is refused"));
        }
        assert_eq!(answer.status, 429);
        let wait = answer.header("retry-after").unwrap().parse::<u64>().unwrap();
        assert!((1..=900).contains(&wait) && text(&answer).contains("Wait "), "{wait}");
        if wait > 4 { Ok(tries) } else { Err(format!("refused for {wait} seconds only")) }
    })
}

#[test]
fn who_guesses_from_everywhere_locks_nobody_out_and_who_waited_goes_on() {
    let mut gate = gate();
    Person::set_up(&mut gate);
    let from = |last| {
        let mut person = Person::before(&gate);
        person.from = Some(IpAddr::V4(Ipv4Addr::new(127, 0, 1, last)));
        person
    };
    // Who has had to wait is let in after that.
    let mut guesser = from(11);
    refused_after(&mut guesser, |_| "ada".to_owned());
    let tried = |person: &mut Person| person.sign_in("ada", PASSWORD).status;
    assert_eq!(tried(&mut guesser), 429);
    eventually(|| match tried(&mut guesser) {
        303 => Ok(()),
        status => Err(format!("{status}")),
    });
    for last in 1..6 {
        let mut guesser = from(last);
        for _ in 0..4 {
            assert_eq!(guesser.sign_in("ada", "not the right one").status, 401);
        }
    }
    // Each try at the account takes a while by now, and none is refused.
    assert_eq!(from(9).sign_in("ada", "not the right one").status, 401);
    assert_eq!(from(10).sign_in("ada", PASSWORD).status, 303);
}

#[test]
fn a_form_is_taken_only_from_the_browser_that_it_was_shown_to() {
    let mut gate = gate();
    let mut ada = Person::set_up(&mut gate);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let with = |token: &str| {
        vec![pair("form_token", token), pair("login", "ada"), pair("password", PASSWORD)]
    };
    let mut other = Person::before(&gate);
    let page = text(&other.get("/sign-in"));
    let token = page.split("name=\"form_token\" value=\"").nth(1).unwrap();
    let token = token.split('"').next().unwrap().to_owned();
    // Another browser's, none, and one that is made up.
    for token in [token.as_str(), "", "00"] {
        for target in ["/sign-out", "/sign-in"] {
            let answer = ada.post(target, &with(token));
            assert_eq!(answer.status, 403, "{target} {token}");
            assert!(text(&answer).contains("load the page again"));
        }
    }
    let mut bare = Person::before(&gate);
    assert_eq!(bare.post("/sign-in", &with(&token)).status, 403, "without a cookie");
    assert_eq!(ada.get("/").status, 200, "nothing was done");
    // Even with all that, a browser that says that another site sends it is not heard.
    for said in ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"] {
        other.also = vec![said.to_owned()];
        let answer = other.post("/sign-in", &with(&token));
        assert_eq!(answer.status, 403, "{said}");
        assert!(text(&answer).contains("another site sent this"), "{said}");
    }
    other.also = vec![format!("Origin: http://{}", gate.admin())];
    assert_eq!(leads_to(&other.post("/sign-in", &with(&token))), "/");
}

#[test]
fn nobody_is_led_elsewhere_after_signing_in() {
    let mut gate = gate();
    Person::set_up(&mut gate);
    for (next, expected) in [
        ("/?range=30d", "/?range=30d"),
        ("//evil.example/", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil.example", "/"),
    ] {
        let mut person = Person::before(&gate);
        let mut target = "/sign-in?next=".to_owned();
        pullgate::pure::query::put_encoded(&mut target, next);
        let answer = person.fill_in(&target, &[("login", "ada"), ("password", PASSWORD)]);
        assert_eq!(leads_to(&answer), expected, "{next}");
        assert_eq!(leads_to(&person.get(&target)), expected, "{next}, signed in already");
    }
    let mut person = Person::before(&gate);
    assert_eq!(leads_to(&person.get("/?a=b")), "/sign-in?next=%2F%3Fa%3Db");
}

#[test]
fn every_answer_keeps_frames_scripts_and_caches_out() {
    let mut gate = gate();
    let mut ada = Person::set_up(&mut gate);
    let page = text(&ada.get("/"));
    let style = page.split("href=\"/assets/").nth(1).unwrap().split('"').next().unwrap();
    let style = format!("/assets/{style}");
    let mut stranger = Person::before(&gate);
    for (target, status) in [("/", 303), ("/sign-in", 200), ("/nowhere", 404), (&style, 200)] {
        let answer = stranger.get(target);
        assert_eq!(answer.status, status, "{target}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'"), "{target}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{target}: {policy}");
        assert!(!policy.contains("unsafe"), "{target}: {policy}");
        for (name, value) in [
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{target}");
        }
        let kept = answer.header("cache-control").unwrap();
        assert_eq!(kept.contains("immutable"), target == style, "{target}: {kept}");
    }
    // And what machines ask is asked without signing in, as ever.
    for target in ["/metrics", "/healthz", "/readyz"] {
        let answer = stranger.get(target);
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(answer.header("set-cookie"), None, "{target}");
    }
}

#[test]
fn what_went_wrong_is_said_on_a_page_with_a_way_on() {
    let mut gate = gate();
    let mut ada = Person::set_up(&mut gate);
    let mut stranger = Person::before(&gate);
    let (main, back) = ("<nav aria-label=\"Main\">", "Back to where you were");
    let from = |page: &str| vec![format!("Referer: http://{}{page}", gate.admin())];
    ada.also = from("/people?organisation=acme");
    for (target, status) in [
        ("/nowhere", 404),
        ("/packages/registry.acme.com/nothing", 404),
        ("/people/invite", 405),
        ("/packages/new", 400),
        ("/?sort=colour", 400),
    ] {
        let answer = ada.get(target);
        let page = text(&answer);
        assert_eq!(answer.status, status, "{target}: {page}");
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{target}");
        let led = format!("<a href=\"/people?organisation=acme\">{back}</a>");
        for shown in [main, "href=\"/account\">ada</a>", "Sign out", &led] {
            assert!(page.contains(shown), "{target}: {shown}: {page}");
        }
    }
    let refused = text(&ada.post("/sign-out", &[]));
    assert!(refused.contains("load the page again") && refused.contains(main), "{refused}");
    // Nowhere else does it lead back, and not to itself.
    for also in [
        from("/nowhere"),
        from("//evil.example/"),
        vec!["Referer: http://a.b/".into()],
        // Forms are sent there, and shown again there, but nobody looks at it.
        from("/domains/claim"),
        from("/settings/remove/registry.acme.com/acme/rocket"),
        from("/no/such/page"),
    ] {
        ada.also = also;
        let page = text(&ada.get("/nowhere"));
        assert!(page.contains(main) && !page.contains(back), "{:?}: {page}", ada.also);
    }
    let page = text(&stranger.get("/nowhere"));
    assert!(!page.contains("<nav") && page.contains("<a href=\"/sign-in\">Sign in</a>"), "{page}");
    // Programs are told as ever, and who has read all that can sign out.
    let told = ada.get("/api/v1/nowhere");
    assert_eq!(told.header("content-type"), Some("application/problem+json"));
    assert_eq!(leads_to(&ada.send_form(&refused, "/sign-out", &[])), "/sign-in");
}

#[test]
fn a_name_is_text_wherever_it_is_shown() {
    let mut gate = gate();
    let link = set_up_link(&mut gate);
    let mut person = Person::before(&gate);
    let login = "\"><script>alert(1)</script>";
    let fields = [("login", login), ("organisation", "acme"), ("password", PASSWORD)];
    assert_eq!(leads_to(&person.fill_in(&link, &fields)), "/first-pull");
    let mut stranger = Person::before(&gate);
    for page in [text(&person.get("/")), text(&stranger.sign_in(login, "not the right one"))] {
        assert!(page.contains("&#60;script&#62;alert(1)"), "{page}");
        assert!(!page.contains("<script>"), "{page}");
    }
}
