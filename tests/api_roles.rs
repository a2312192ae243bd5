//! Who may do what by `/api/v1`: every path and method that its description has × tokens of everybody, what each page
//! can do, and what belongs to others, by its number. Each answer is one that the description has.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use serde_json::{Value, json};
use support::described::Described;
use support::gate::Gate;
use support::http::{Answer, Connection};
use support::people::{invited, number, password, signed_in};
use support::person::{PACKAGES, Person, ROCKET, SLEDGE, text};
use support::program::{ask, json_of, made, problem, send, token_of};
use support::routes::{of_api, of_pages, without_a_row};

/// A gateway where people who are invited make their own accounts. Names are asked for where nobody answers.
fn gate() -> Gate {
    Gate::start_with_admin_and("epoll", "sign_up = \"invitation\"\n", PACKAGES, |command| {
        command.args(["--resolver", "127.0.0.1:9"]);
    })
}

#[test]
fn a_token_reaches_as_far_as_it_says_and_no_further() {
    let mut gate = gate();
    let mut ada = Person::set_up(&mut gate);
    let acme = ("organisation", "acme");
    let mut bob = invited(&gate, &mut ada, acme, "member", "bob");
    let mut pat = invited(&gate, &mut ada, ("package", ROCKET), "member", "pat");
    let secret = password(&gate, &["create", "eve", "--organisation", "other"]);
    let mut eve = signed_in(&gate, "eve", &secret);
    let other = ("organisation", "other");
    let mut mia = invited(&gate, &mut eve, other, "member", "mia");
    let eves = token_of(&mut eve, "other");
    let member_of = |place| [place, ("label", "mine"), ("role", "member"), ("days", "")];
    let bobs = made(&mut bob, &member_of(acme));
    let pats = made(&mut pat, &member_of(("package", ROCKET)));
    let mias = made(&mut mia, &member_of(other));
    let of = |role| [acme, ("label", "report"), ("role", role), ("days", "")];
    let reads = made(&mut ada, &of("member"));
    let writes = made(&mut ada, &of("admin"));
    let package = [("package", ROCKET), ("label", "one"), ("role", "admin"), ("days", "7")];
    let of_package = made(&mut ada, &package);
    let people = "/api/v1/people?organisation=acme";
    let rocket = format!("/api/v1/pulls?package={ROCKET}");
    let sledge = &format!("/api/v1/pulls?package={SLEDGE}");
    let export = format!("/api/v1/export?package={ROCKET}&format=csv");
    let export_of_sledge = &format!("/api/v1/export?package={SLEDGE}");
    let explain = "/api/v1/explain?url=http://registry.acme.com/v2/";
    let settings = format!("/api/v1/settings?package={ROCKET}");
    let settings_of_sledge = &format!("/api/v1/settings?package={SLEDGE}");
    let public = json!({ "public": true });
    let invite = "/api/v1/invitations?organisation=acme";
    let invite_rocket = format!("/api/v1/invitations?package={ROCKET}");
    let token_of_acme = "/api/v1/tokens?organisation=acme";
    let token_of_rocket = format!("/api/v1/tokens?package={ROCKET}");
    let member = json!({ "role": "member" });
    let written = json!({ "name": "acme/rocket", "backends": ["ghcr.io/acme/rocket"] });
    let undone = json!({ "change": 1 });
    let of_rocket = |what: &str| format!("/api/v1/package{what}?package={ROCKET}");
    let (package, check) = (of_rocket(""), of_rocket("/check"));
    let (history, revert) = (of_rocket("/history"), of_rocket("/revert"));
    let admins = json!({ "role": "admin", "label": "more" });
    let members = json!({ "role": "member", "label": "more" });
    let (named, hosted) = (json!({ "name": "third" }), json!({ "host": "a.b" }));
    let owned = json!({ "organisation": "third" });
    let tokens_of_rocket = format!("/api/v1/people/tokens?package={ROCKET}");
    let [alerts, alert, tested, badges, live, first_pull] =
        ["alerts", "alerts/999", "alerts/999/test", "badges", "live", "package/first-pull"]
            .map(|what| format!("/api/v1/{what}?package={ROCKET}"));
    let [alerts_of_sledge, badges_of_sledge, live_of_sledge, first_pull_of_sledge] =
        ["alerts", "badges", "live", "package/first-pull"]
            .map(|what| format!("/api/v1/{what}?package={SLEDGE}"));
    // Of the domain of others that somebody sees, and no package.
    let first_pull_of_none = first_pull.replace("rocket", "nowhere");
    let hook = json!({ "url": "https://hooks.example/x", "events": ["weekly"] });
    let no_hook = json!({ "url": "nowhere", "events": ["weekly"] });
    let (on, no_key) = (json!({ "on": true }), json!({ "key": "00" }));
    let listed = json_of(&ask(&gate, &writes, "GET", people, &[]));
    let adas = format!("/api/v1/people/{}?organisation=acme", listed["items"][0]["account"]);
    // Each row: no token, one that is none, one that reads, one that writes, one of a package, all an admin's;
    // then a member's, another organisation's admin's, one of a package's member, and another organisation's member's.
    #[rustfmt::skip]
    let table: Vec<(&str, &str, Option<&Value>, &str)> = vec![
        ("GET", "/api/v1/packages", None, "401 401 200 200 200 200 200 200 200"),
        ("GET", people, None, "401 401 200 200 404 200 404 404 404"),
        ("GET", "/api/v1/people?organisation=nowhere", None, "401 401 404 404 404 404 404 404 404"),
        ("GET", &rocket, None, "401 401 200 200 200 200 404 200 404"),
        ("GET", sledge, None, "401 401 200 200 404 200 404 404 404"),
        ("GET", &settings, None, "401 401 200 200 200 200 404 200 404"),
        ("GET", settings_of_sledge, None, "401 401 200 200 404 200 404 404 404"),
        ("PUT", &settings, Some(&public), "401 401 403 428 428 403 404 403 403"),
        ("PUT", settings_of_sledge, Some(&public), "401 401 403 428 404 403 404 403 403"),
        ("GET", "/api/v1/settings", None, "401 401 400 400 400 400 400 400 400"),
        ("GET", &package, None, "401 401 200 200 200 200 404 200 404"),
        ("GET", "/api/v1/package?package=registry.acme.com/acme/sledge", None, "401 401 200 200 404 200 404 404 404"),
        ("POST", "/api/v1/packages?organisation=acme", Some(&member), "401 401 403 400 404 403 404 403 403"),
        ("PUT", &package, Some(&written), "401 401 403 409 409 403 404 403 403"),
        ("DELETE", &package, None, "401 401 403 409 403 403 404 403 403"),
        ("POST", &check, Some(&written), "401 401 403 409 409 403 404 403 403"),
        ("GET", &history, None, "401 401 403 200 200 403 404 403 404"),
        ("POST", &revert, Some(&undone), "401 401 403 428 428 403 404 403 403"),
        ("GET", "/api/v1/pulls", None, "401 401 200 200 200 200 200 200 200"),
        ("GET", "/api/v1/pulls?by=domain", None, "401 401 200 200 200 200 200 200 200"),
        ("GET", "/api/v1/export", None, "401 401 200 200 200 200 200 200 200"),
        ("GET", &export, None, "401 401 200 200 200 200 404 200 404"),
        ("GET", export_of_sledge, None, "401 401 200 200 404 200 404 404 404"),
        ("GET", explain, None, "401 401 200 200 403 200 403 403 403"),
        ("GET", "/api/v1/tokens", None, "401 401 200 200 200 200 200 200 200"),
        ("GET", "/api/v1/audit?organisation=acme", None, "401 401 403 200 404 403 404 404 404"),
        ("GET", invite, None, "401 401 403 200 404 403 404 404 404"),
        ("POST", invite, Some(&member), "401 401 403 201 404 403 404 403 403"),
        ("POST", &invite_rocket, Some(&member), "401 401 403 201 201 403 404 403 403"),
        ("POST", token_of_acme, Some(&admins), "401 401 403 201 404 403 404 403 403"),
        ("POST", token_of_acme, Some(&members), "401 401 403 201 404 403 404 403 403"),
        ("POST", &token_of_rocket, Some(&admins), "401 401 403 201 201 403 404 403 403"),
        ("GET", "/api/v1/tokens/999", None, "401 401 404 404 404 404 404 404 404"),
        ("DELETE", "/api/v1/tokens/999", None, "401 401 403 428 428 403 428 403 403"),
        ("GET", "/api/v1/invitations/999?organisation=acme", None, "401 401 403 404 404 403 404 404 404"),
        ("DELETE", "/api/v1/invitations/999?organisation=acme", None, "401 401 403 428 404 403 404 403 403"),
        ("DELETE", "/api/v1/people/999?organisation=acme", None, "401 401 403 428 404 403 404 403 403"),
        ("GET", "/api/v1/organisations", None, "401 401 200 200 200 200 200 200 200"),
        ("POST", "/api/v1/organisations", Some(&named), "401 401 403 201 404 403 404 403 403"),
        ("GET", "/api/v1/domains?organisation=acme", None, "401 401 200 200 404 200 404 404 404"),
        ("POST", "/api/v1/domains?organisation=acme", Some(&hosted), "401 401 403 403 404 403 404 403 403"),
        ("GET", "/api/v1/domains/a.b?organisation=acme", None, "401 401 404 404 404 404 404 404 404"),
        ("PUT", "/api/v1/domains/a.b?organisation=acme", None, "401 401 403 428 404 403 404 403 403"),
        ("DELETE", "/api/v1/domains/a.b?organisation=acme", None, "401 401 403 428 404 403 404 403 403"),
        ("GET", "/api/v1/domains/a.b/owner", None, "401 401 200 200 404 200 404 404 404"),
        ("PUT", "/api/v1/domains/a.b/owner", Some(&owned), "401 401 403 428 404 403 404 403 403"),
        ("GET", "/api/v1/people/tokens?organisation=acme", None, "401 401 403 200 404 403 404 404 404"),
        ("GET", &tokens_of_rocket, None, "401 401 403 200 200 403 404 403 404"),
        ("DELETE", "/api/v1/people/tokens/999?organisation=acme", None, "401 401 403 428 404 403 404 403 403"),
        ("GET", &adas, None, "401 401 200 200 404 200 404 404 404"),
        ("PUT", &adas, Some(&member), "401 401 403 428 404 403 404 403 403"),
        ("GET", "/api/v1/people/tokens/999?organisation=acme", None, "401 401 403 404 404 403 404 404 404"),
        ("GET", "/api/v1/join?key=00", None, "401 401 404 404 404 404 404 404 404"),
        ("POST", "/api/v1/join", Some(&no_key), "401 401 403 404 404 403 404 403 403"),
        ("GET", &alerts, None, "401 401 403 200 200 403 404 403 404"),
        ("GET", &alerts_of_sledge, None, "401 401 403 200 404 403 404 404 404"),
        ("POST", &alerts, Some(&no_hook), "401 401 403 400 400 403 404 403 403"),
        ("POST", &alerts, Some(&hook), "401 401 403 201 201 403 404 403 403"),
        ("POST", &alerts_of_sledge, Some(&hook), "401 401 403 201 404 403 404 403 403"),
        ("GET", &alert, None, "401 401 403 404 404 403 404 403 404"),
        ("PUT", &alert, Some(&hook), "401 401 403 404 404 403 404 403 403"),
        ("DELETE", &alert, None, "401 401 403 404 404 403 404 403 403"),
        ("POST", &tested, None, "401 401 403 404 404 403 404 403 403"),
        ("GET", &badges, None, "401 401 200 200 200 200 404 200 404"),
        ("GET", &badges_of_sledge, None, "401 401 200 200 404 200 404 404 404"),
        ("PUT", &badges, Some(&on), "401 401 403 428 428 403 404 403 403"),
        ("PUT", &badges_of_sledge, Some(&on), "401 401 403 428 404 403 404 403 403"),
        ("GET", &live, None, "401 401 200 200 200 200 404 200 404"),
        ("GET", "/api/v1/live", None, "401 401 200 200 200 200 200 200 200"),
        ("GET", "/api/v1/live?organisation=acme", None, "401 401 400 400 400 400 400 400 400"),
        ("GET", &live_of_sledge, None, "401 401 200 200 404 200 404 404 404"),
        ("GET", &first_pull, None, "401 401 200 200 200 200 404 200 404"),
        ("GET", &first_pull_of_sledge, None, "401 401 200 200 404 200 404 404 404"),
        ("GET", &first_pull_of_none, None, "401 401 404 404 404 404 404 404 404"),
        ("POST", &first_pull, None, "401 401 403 200 200 403 404 403 403"),
    ];
    let routes = of_api(&gate);
    let rows = || table.iter().map(|(method, target, ..)| (*method, *target));
    let forgotten = without_a_row(&routes, rows());
    assert!(forgotten.is_empty(), "nobody asks who may do this: {forgotten:?}");
    let others = rows().filter(|row| *row != ("POST", &*first_pull));
    let but_one = without_a_row(&routes, others);
    assert_eq!(but_one, [("POST".to_owned(), "/api/v1/package/first-pull".to_owned())]);
    for token in ["", &writes] {
        assert_eq!(problem(&ask(&gate, token, "GET", "/api/v1/nowhere", &[])).0, 404);
    }
    let described = Described::of(&gate);
    let mut wrong = Vec::new();
    for (method, target, body, expected) in table {
        let mut said = Vec::new();
        for token in ["", "pullgate_00", &reads, &writes, &of_package, &bobs, &eves, &pats, &mias] {
            let answer = match target.starts_with("/api/v1/live") {
                true => head_of_live(&gate, token, target),
                false => send(&gate, token, method, target, &[], body),
            };
            if answer.status >= 400 {
                problem(&answer);
            }
            if let Err(why) = described.check(method, target, &answer) {
                wrong.push(format!("{method} {target} is not as described: {why}"));
            }
            said.push(answer.status.to_string());
        }
        let said = said.join(" ");
        if said != expected {
            wrong.push(format!("{method} {target}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "not as the table says:\n{}", wrong.join("\n"));
    // What it lists and ends is within its reach too.
    let listed = json_of(&ask(&gate, &of_package, "GET", "/api/v1/packages", &[]));
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    let listed = json_of(&ask(&gate, &of_package, "GET", "/api/v1/tokens", &[]));
    let items = listed["items"].as_array().unwrap();
    assert!(items.iter().all(|one| one["package"] == ROCKET), "{listed}");
    let all = json_of(&ask(&gate, &writes, "GET", "/api/v1/tokens", &[]));
    let readers = all["items"].as_array().unwrap().last().unwrap()["id"].as_i64().unwrap();
    let target = format!("/api/v1/tokens/{readers}");
    let any = [("If-Match", "*")];
    assert_eq!(ask(&gate, &of_package, "DELETE", &target, &any).status, 404);
    assert_eq!(ask(&gate, &reads, "GET", people, &[]).status, 200);
    let tag = ask(&gate, &writes, "GET", &target, &[]).header("etag").unwrap().to_owned();
    assert_eq!(problem(&ask(&gate, &writes, "DELETE", &target, &[])).0, 428);
    let other = [("If-Match", "\"other\"")];
    assert_eq!(problem(&ask(&gate, &writes, "DELETE", &target, &other)).0, 412);
    assert_eq!(ask(&gate, &writes, "DELETE", &target, &[("If-Match", &tag)]).status, 204);
    assert_eq!(ask(&gate, &reads, "GET", people, &[]).status, 401, "at once");
}

/// What an answer begins with that goes on for as long as somebody reads; a refusal is whole.
fn head_of_live(gate: &Gate, token: &str, target: &str) -> Answer {
    let mut connection = Connection::open(gate.admin()).unwrap();
    let by = if token.is_empty() {
        "Accept: */*".to_owned()
    } else {
        format!("Authorization: Bearer {token}")
    };
    let head = format!("GET {target} HTTP/1.1\r\nHost: {}\r\n{by}\r\n\r\n", gate.admin());
    connection.send(head.as_bytes()).unwrap();
    let answer = connection.head().unwrap();
    match answer.status {
        200 => answer,
        _ => ask(gate, token, "GET", target, &[]),
    }
}

#[test]
fn what_a_page_can_do_a_program_can() {
    // Who somebody is, is proven by a browser: no token makes, proves or ends that.
    const OWN: &str = "";
    #[rustfmt::skip]
    let table = [
        ("GET", "/", "GET /api/v1/packages"),
        ("GET", "/alerts/{*package}", "GET /api/v1/alerts"),
        ("POST", "/alerts/{*package}", "POST /api/v1/alerts, DELETE /api/v1/alerts/{alert}, POST /api/v1/alerts/{alert}/test"),
        ("GET", "/account", OWN),
        ("POST", "/account/password", OWN),
        ("GET", "/account/second-factor", OWN),
        ("POST", "/account/second-factor", OWN),
        ("POST", "/account/second-factor/off", OWN),
        ("POST", "/account/sessions", OWN),
        ("GET", "/badges/{id}/{file}", "GET /api/v1/badges"),
        ("GET", "/domains", "GET /api/v1/domains, GET /api/v1/domains/{host}"),
        ("POST", "/domains/check", "PUT /api/v1/domains/{host}"),
        ("POST", "/domains/claim", "POST /api/v1/domains"),
        ("POST", "/domains/return", "DELETE /api/v1/domains/{host}"),
        ("POST", "/domains/withdraw", "DELETE /api/v1/domains/{host}"),
        ("GET", "/download", "GET /api/v1/pulls"),
        ("GET", "/download/{*package}", "GET /api/v1/pulls, GET /api/v1/export"),
        ("GET", "/first-pull", "GET /api/v1/packages"),
        ("GET", "/first-pull/{*package}", "GET /api/v1/package/first-pull, GET /api/v1/pulls"),
        ("POST", "/first-pull/{*package}", "POST /api/v1/package/first-pull"),
        ("GET", "/history", "GET /api/v1/audit"),
        ("GET", "/join", "GET /api/v1/join"),
        ("POST", "/join", "POST /api/v1/join"),
        ("GET", "/live", "GET /api/v1/live"),
        ("GET", "/live/{*package}", "GET /api/v1/live"),
        ("GET", "/organisations", "GET /api/v1/organisations, GET /api/v1/domains/{host}/owner"),
        ("POST", "/organisations", "POST /api/v1/organisations"),
        ("POST", "/organisations/domain", "PUT /api/v1/domains/{host}/owner"),
        ("GET", "/packages/new", "POST /api/v1/package/check"),
        ("POST", "/packages/new", "POST /api/v1/packages"),
        ("GET", "/packages/{*package}", "GET /api/v1/pulls, GET /api/v1/badges, GET /api/v1/settings"),
        ("GET", "/people", "GET /api/v1/people, GET /api/v1/people/{account}, GET /api/v1/invitations, GET /api/v1/invitations/{invitation}, GET /api/v1/people/tokens, GET /api/v1/people/tokens/{token}"),
        ("POST", "/people/invite", "POST /api/v1/invitations"),
        ("POST", "/people/remove", "DELETE /api/v1/people/{account}"),
        ("POST", "/people/revoke", "DELETE /api/v1/people/tokens/{token}"),
        ("POST", "/people/role", "PUT /api/v1/people/{account}"),
        ("POST", "/people/withdraw", "DELETE /api/v1/invitations/{invitation}"),
        ("GET", "/public-download/{*package}", "GET /api/v1/pulls"),
        ("GET", "/public/{*package}", "GET /api/v1/pulls"),
        ("GET", "/set-up", OWN),
        ("POST", "/set-up", OWN),
        ("POST", "/settings/badges/{*package}", "PUT /api/v1/badges"),
        ("GET", "/settings/package/{*package}", "GET /api/v1/package, GET /api/v1/package/history"),
        ("POST", "/settings/package/{*package}", "PUT /api/v1/package, POST /api/v1/package/check"),
        ("POST", "/settings/public/{*package}", "PUT /api/v1/settings"),
        ("POST", "/settings/remove/{*package}", "DELETE /api/v1/package"),
        ("POST", "/settings/revert/{*package}", "POST /api/v1/package/revert"),
        ("GET", "/sign-in", OWN),
        ("POST", "/sign-in", OWN),
        ("POST", "/sign-out", OWN),
        ("GET", "/sign-up", OWN),
        ("POST", "/sign-up", OWN),
        ("GET", "/tokens", "GET /api/v1/tokens, GET /api/v1/tokens/{token}"),
        ("POST", "/tokens", "POST /api/v1/tokens"),
        ("POST", "/tokens/revoke", "DELETE /api/v1/tokens/{token}"),
    ];
    let mut pages: Vec<_> =
        of_pages().into_iter().map(|(method, page)| format!("{method} {page}")).collect();
    let mut told: Vec<_> =
        table.iter().map(|(method, page, _)| format!("{method} {page}")).collect();
    pages.sort();
    told.sort();
    assert_eq!(pages, told, "by what does a program do the same?");
    let described = of_api(&Gate::start("epoll", PACKAGES));
    let has = |one: &str| described.iter().any(|(method, path)| format!("{method} {path}") == one);
    for (method, page, by) in table.iter().filter(|(.., by)| *by != OWN) {
        for one in by.split(", ") {
            assert!(has(one), "{method} {page}: {one}");
        }
    }
}

/// By pages and by the API, under what is one's own and under what is theirs.
#[test]
fn what_is_anothers_is_not_reached_by_its_number() {
    let mut gate = gate();
    let mut ada = Person::set_up(&mut gate);
    let mut pia = invited(&gate, &mut ada, ("package", ROCKET), "admin", "pia");
    let secret = password(&gate, &["create", "eve", "--organisation", "other"]);
    let mut eve = signed_in(&gate, "eve", &secret);
    let given = [("organisation", "other"), ("domain", "other.example")];
    assert_eq!(ada.act("/organisations/domain", &given).status, 303);
    let (adas, eves) = (token_of(&mut ada, "acme"), token_of(&mut eve, "other"));
    let of_rocket = [("package", ROCKET), ("label", "pia's"), ("role", "admin"), ("days", "1")];
    let pias = made(&mut pia, &of_rocket);

    // What there is: a package of each, webhooks and changes of ada's.
    let (theirs, own) = ("made.example/acme/sled", "other.example/x");
    for (token, organisation, package) in [(&adas, "acme", theirs), (&eves, "other", own)] {
        let (domain, name) = package.split_once('/').unwrap();
        let written = json!({ "domain": domain, "name": name, "backends": ["ghcr.io/acme/x"] });
        let target = format!("/api/v1/packages?organisation={organisation}");
        let made = send(&gate, token, "POST", &target, &[], Some(&written));
        assert_eq!(made.status, 201, "{package}: {}", text(&made));
    }
    let hook = json!({ "url": "https://hooks.example/x", "events": ["weekly"] });
    let of = |what: &str, package: &str| format!("/api/v1/{what}?package={package}");
    let [of_rocket, of_sledge] = [ROCKET, SLEDGE].map(|package| {
        let made = send(&gate, &adas, "POST", &of("alerts", package), &[], Some(&hook));
        json_of(&made)["id"].as_i64().unwrap()
    });
    let invite = "/api/v1/invitations?organisation=acme";
    assert_eq!(
        send(&gate, &adas, "POST", invite, &[], Some(&json!({ "role": "admin" }))).status,
        201
    );
    let first = |target: &str, key: &str| {
        let listed = json_of(&ask(&gate, &adas, "GET", target, &[]));
        listed["items"][0][key].as_i64().unwrap_or_else(|| panic!("{target}: {listed}"))
    };
    let change = first(&of("package/history", theirs), "id");
    let acme = |what: &str| format!("/api/v1/{what}?organisation=acme");
    let state = |gate: &Gate| {
        [
            of("alerts", ROCKET),
            of("alerts", SLEDGE),
            of("package", theirs),
            acme("invitations"),
            acme("people"),
            acme("people/tokens"),
            acme("audit"),
        ]
        .map(|target| text(&ask(gate, &adas, "GET", &target, &[])))
    };
    let before = state(&gate);

    // Each answer is the one to a number that nothing has.
    let none = i64::from(i32::MAX);
    let any = [("If-Match", "*")];
    let by_program = |token: &str,
                      (method, target): (&str, &str),
                      id: i64,
                      body: Option<&Value>| {
        let [reached, nothing] = [id, none].map(|id| {
            let body = body
                .map(|body| if body.is_null() { json!({ "change": id }) } else { body.clone() });
            let target = target.replace("{id}", &id.to_string());
            let answer = send(&gate, token, method, &target, &any, body.as_ref());
            (problem(&answer), text(&answer))
        });
        assert_eq!(reached, nothing, "{method} {target} {id}");
        assert_eq!(reached.0.0, 404, "{method} {target} {id}");
    };
    for (token, package, id) in [
        (&eves, own, of_rocket),
        (&eves, ROCKET, of_rocket),
        (&pias, ROCKET, of_sledge),
        (&pias, SLEDGE, of_sledge),
    ] {
        let (one, tested) = (of("alerts/{id}", package), of("alerts/{id}/test", package));
        by_program(token, ("GET", &one), id, None);
        by_program(token, ("PUT", &one), id, Some(&hook));
        by_program(token, ("DELETE", &one), id, None);
        by_program(token, ("POST", &tested), id, None);
    }
    for (token, package) in [(&eves, own), (&eves, theirs), (&pias, ROCKET), (&pias, theirs)] {
        let target = of("package/revert", package);
        by_program(token, ("POST", &target), change, Some(&Value::Null));
    }
    assert_eq!(ask(&gate, &eves, "GET", &of("package/history", theirs), &[]).status, 404);
    let (account, invitation) = (first(&acme("people"), "account"), first(invite, "id"));
    let token = first(&acme("people/tokens"), "id");
    let member = json!({ "role": "member" });
    for organisation in ["acme", "other"] {
        let of = |what: &str| format!("/api/v1/{what}?organisation={organisation}");
        for (what, id) in [
            ("invitations/{id}", invitation),
            ("people/{id}", account),
            ("people/tokens/{id}", token),
            ("tokens/{id}", token),
        ] {
            by_program(&eves, ("GET", &of(what)), id, None);
            by_program(&eves, ("DELETE", &of(what)), id, None);
        }
        by_program(&eves, ("PUT", &of("people/{id}")), account, Some(&member));
    }

    let by_page = |person: &mut Person, target: &str, fields: &[(&str, &str)], id: i64| {
        let [reached, nothing] = [id, none].map(|id| {
            let id = id.to_string();
            let filled = |value| if value == "{id}" { id.as_str() } else { value };
            let fields: Vec<_> = fields.iter().map(|(key, value)| (*key, filled(*value))).collect();
            let answer = person.act(target, &fields);
            (answer.status, text(&answer))
        });
        assert_eq!(reached, nothing, "{target} {fields:?}");
        assert_eq!(reached.0, 404, "{target} {fields:?}");
    };
    for what in ["remove", "test"] {
        let fields = [("do", what), ("alert", "{id}")];
        for package in [own, ROCKET] {
            by_page(&mut eve, &format!("/alerts/{package}"), &fields, of_rocket);
        }
        for package in [ROCKET, SLEDGE] {
            by_page(&mut pia, &format!("/alerts/{package}"), &fields, of_sledge);
        }
    }
    let seen = number(&eve.get(&format!("/settings/package/{own}")), "seen");
    for package in [own, theirs] {
        let fields = [("change", "{id}"), ("seen", &*seen)];
        by_page(&mut eve, &format!("/settings/revert/{package}"), &fields, change);
    }
    let of_file = [("change", "{id}"), ("seen", "")];
    by_page(&mut pia, &format!("/settings/revert/{ROCKET}"), &of_file, change);
    assert_eq!(eve.get(&format!("/alerts/{ROCKET}")).status, 404);
    assert_eq!(eve.get(&format!("/settings/package/{theirs}")).status, 404);
    assert_eq!(state(&gate), before);
}
