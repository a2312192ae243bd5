//! Packages made in the dashboard: in force at every worker when the answer is there, beside the file,
//! whose own come first.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::process::Command;

use pullgate::cli::demo::image::Image;
use serde_json::{Value, json};
use support::clients::{Client as _, Skopeo};
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate, UPSTREAM, pullgate};
use support::hosts::{GATEWAY, REGISTRY, TOKENS};
use support::images::image;
use support::packages::{MAKE, OF_FILE, config, leads, redirected, target};
use support::person::{Person, text};
use support::process::run;
use support::program::{ask, json_of, problem, send, token_of};
use support::registry::Registry;
use support::tokens::RIGHT;
use support::world::{Kind, Storage, World};

#[test]
fn it_is_in_force_at_every_worker_when_the_answer_is_there() {
    for driver in DRIVERS {
        let mut gate = Gate::start(driver, &config(OF_FILE));
        let token = token_of(&mut Person::set_up(&mut gate), "acme");
        let package = "registry.acme.com/acme/sledge";
        let sledge = |to: &str| redirected("registry.acme.com", "acme/sledge", to);
        for round in 0..5 {
            let made = send(&gate, &token, "POST", MAKE, &[], Some(&sledge("http://127.1.1.1/v1")));
            leads(&gate, package, Some("127.1.1.1/v2/v1"));
            assert_eq!(made.status, 201, "{round}: {}", text(&made));
            assert_eq!(
                made.header("location"),
                Some(&*target("registry.acme.com%2Facme%2Fsledge"))
            );
            let tag = ("If-Match", made.header("etag").unwrap());
            let moved = sledge("http://127.1.1.2/v1");
            let moved = send(&gate, &token, "PUT", &target(package), &[tag], Some(&moved));
            leads(&gate, package, Some("127.1.1.2/v2/v1"));
            assert_eq!(moved.status, 200, "{}", text(&moved));
            let tag = ("If-Match", moved.header("etag").unwrap());
            let removed = ask(&gate, &token, "DELETE", &target(package), &[tag]);
            leads(&gate, package, None);
            assert_eq!(removed.status, 204, "{}", text(&removed));
        }
    }
}

/// Real registries, each with an image of its own as `origin/hello:latest`.
fn registries() -> [(Registry, Image); 2] {
    ["first", "second"].map(|seed| {
        let (registry, image) = (Registry::start(), image(seed));
        registry.push("origin/hello", "latest", &image);
        (registry, image)
    })
}

#[test]
fn a_real_client_pulls_it_follows_its_move_and_finds_it_gone() {
    let registries = registries();
    let mut gate = Gate::start_proxy(DRIVERS[0], &config(OF_FILE));
    let mut ada = Person::set_up(&mut gate);
    let token = token_of(&mut ada, "acme");
    let package = format!("{GATEWAY}/demo/hello");
    let lives_on = |registry: &Registry| {
        let backend = format!("http://{REGISTRY}:{}/origin/hello", registry.address().port());
        json!({ "domain": GATEWAY, "name": "demo/hello", "backends": [backend] })
    };
    let reference = format!("{GATEWAY}:{}/demo/hello:latest", gate.address().port());
    let pulls = |image: &Image| {
        let client = Skopeo::new();
        client.try_pull(&reference).unwrap_or_else(|words| panic!("{words}"));
        client.assert_holds(&reference, image);
    };
    let [(first, one), (second, other)] = &registries;
    let made = send(&gate, &token, "POST", MAKE, &[], Some(&lives_on(first)));
    assert_eq!(made.status, 201, "{}", text(&made));
    pulls(one);
    // It is there after a restart.
    gate.stop();
    gate.launch();
    pulls(one);
    let tag = ("If-Match", made.header("etag").unwrap());
    let to = target(&package);
    let moved = send(&gate, &token, "PUT", &to, &[tag], Some(&lives_on(second)));
    assert_eq!(moved.status, 200, "{}", text(&moved));
    pulls(other);
    let again = send(&gate, &token, "PUT", &to, &[tag], Some(&lives_on(first)));
    assert_eq!(problem(&again).0, 412, "somebody else has moved it");
    let tag = ("If-Match", moved.header("etag").unwrap());
    assert_eq!(ask(&gate, &token, "DELETE", &to, &[tag]).status, 204);
    let words = Skopeo::new().try_pull(&reference).unwrap_err();
    assert!(words.contains("demo/hello"), "{words}");
    assert_eq!(ask(&gate, &token, "GET", &to, &[]).status, 404);
    // What was counted stays.
    gate.stop();
    assert!(gate.counts(&package).pulls > 0);
}

#[test]
fn the_file_comes_first() {
    let mut gate = Gate::start("epoll", &config(OF_FILE));
    let token = token_of(&mut Person::set_up(&mut gate), "acme");
    let rocket = "registry.acme.com/acme/rocket";
    let body = redirected("Registry.Acme.COM", "acme/rocket", "http://127.1.1.1/x");
    let clash = send(&gate, &token, "POST", MAKE, &[], Some(&body));
    assert_eq!(problem(&clash).0, 400);
    let said = json_of(&clash);
    assert_eq!(said["errors"][0]["field"], "name");
    assert!(text(&clash).contains("in line 13 of the configuration file"), "{said}");
    let seen = ask(&gate, &token, "GET", &target(rocket), &[]);
    let read = json_of(&seen);
    assert_eq!((&read["source"], &read["served"]), (&json!("file"), &json!(true)));
    assert_eq!(read["written"]["backends"], json!(["http://127.0.0.1:5000/acme/rocket"]));
    let tag = ("If-Match", seen.header("etag").unwrap());
    for method in ["PUT", "DELETE"] {
        let refused = send(&gate, &token, method, &target(rocket), &[tag], Some(&body));
        assert_eq!(problem(&refused).0, 409, "{}", text(&refused));
    }
    // A name that the file gets later is the file's; what was made is there, and says so.
    let sledge = "registry.acme.com/acme/sledge";
    let body = redirected("registry.acme.com", "acme/sledge", "http://127.1.1.1/x");
    assert_eq!(send(&gate, &token, "POST", MAKE, &[], Some(&body)).status, 201);
    leads(&gate, sledge, Some("127.1.1.1/v2/x"));
    let before = fs::read_to_string(gate.config_file()).unwrap();
    let more = "[[packages]]\ndomain = \"registry.acme.com\"\nname = \"acme/sledge\"\n\
                backend = \"http://127.0.0.1:5000/sledge\"\ndelivery = \"redirect\"\n";
    fs::write(gate.config_file(), format!("{before}\n{more}")).unwrap();
    let standing = |is_served: bool| {
        eventually(|| {
            let read = json_of(&ask(&gate, &token, "GET", &target(sledge), &[]));
            match read["served"] == is_served {
                true => Ok(read),
                false => Err(format!("{read}")),
            }
        })
    };
    let read = standing(false);
    assert_eq!(read["source"], "dashboard");
    assert!(read["errors"][0]["detail"].as_str().unwrap().contains("comes first"), "{read}");
    leads(&gate, sledge, Some("127.0.0.1:5000/v2/sledge"));
    fs::write(gate.config_file(), before).unwrap();
    standing(true);
    leads(&gate, sledge, Some("127.1.1.1/v2/x"));
}

#[test]
fn an_organisation_serves_at_its_own_domains_and_uses_nothing_of_the_operators() {
    let more = "[[registries]]\nhost = \"127.0.0.1:5000\"\nusername = \"pull\"\n\
                password_env = \"PATH\"\nplain_http = true\n";
    let config = config(&format!("{more}{OF_FILE}")).replace("[\"127.0.0.0/8\"]", "[]");
    let mut gate = Gate::start("epoll", &config);
    let mut person = Person::set_up(&mut gate);
    let ada = token_of(&mut person, "acme");
    let mut command = Command::new(pullgate());
    command.args(["account", "create", "eve", "--organisation", "other", "--data"]);
    let said = run(command.arg(gate.data_dir()));
    let mut eve = Person::before(&gate);
    assert_eq!(eve.sign_in("eve", said.lines().last().unwrap()).status, 303);
    let eve = token_of(&mut eve, "other");
    let make = "/api/v1/packages?organisation=other";
    let written = |domain: &str, backend: &str, credentials: &str| {
        let body = json!({ "domain": domain, "name": "x", "backends": [backend] });
        let mut body = body.as_object().unwrap().clone();
        body.insert("credentials".to_owned(), json!(credentials));
        Value::Object(body)
    };
    for (domain, backend, credentials, field) in [
        ("registry.acme.com", "ghcr.io/x", "none", "domain"),
        ("free.example", "ghcr.io/x", "none", "domain"),
        ("pkg.pg.test", "ghcr.io/x", "none", "domain"),
        ("acme.pkg.pg.test", "ghcr.io/x", "none", "domain"),
        ("deep.other.pkg.pg.test", "ghcr.io/x", "none", "domain"),
        ("*", "ghcr.io/x", "none", "domain"),
        ("", "http://127.0.0.1:5000/acme/rocket", "none", "backends"),
        ("", "http://169.254.169.254/latest", "none", "backends"),
        ("", "http://[::1]/x", "none", "backends"),
        ("", "127.0.0.1:5000/acme/rocket", "registry", "credentials"),
        ("", "ghcr.io/<script>", "none", "backends"),
        ("", "ghcr.io/x", "yours", "credentials"),
    ] {
        let body = written(domain, backend, credentials);
        let refused = send(&gate, &eve, "POST", make, &[], Some(&body));
        assert_eq!(problem(&refused).0, 400, "{body}");
        assert_eq!(json_of(&refused)["errors"][0]["field"], field, "{body}: {}", text(&refused));
        let others = send(&gate, &eve, "POST", MAKE, &[], Some(&body));
        assert_eq!(problem(&others).0, 404, "what is another's looks as if it were not there");
    }
    let body = written("", "ghcr.io/other/x", "none");
    let made = send(&gate, &eve, "POST", make, &[], Some(&body));
    assert_eq!(made.status, 201, "{}", text(&made));
    assert_eq!(json_of(&made)["package"], "other.pkg.pg.test/x");
    // It is hers alone.
    let theirs = target("other.pkg.pg.test/x");
    assert_eq!(ask(&gate, &ada, "GET", &theirs, &[]).status, 404);
    assert_eq!(ask(&gate, &eve, "GET", &target("registry.acme.com/acme/rocket"), &[]).status, 404);
    let tag = ("If-Match", made.header("etag").unwrap());
    assert_eq!(ask(&gate, &ada, "DELETE", &theirs, &[tag]).status, 404);
    // Another becomes hers when it is given to her.
    let body = written("free.example", "ghcr.io/other/x", "none");
    let given = [("organisation", "other"), ("domain", "free.example")];
    assert_eq!(person.act("/organisations/domain", &given).status, 303);
    assert_eq!(send(&gate, &eve, "POST", make, &[], Some(&body)).status, 201);
    // Below the shared domain each has one.
    let body = written("other.pkg.pg.test", "ghcr.io/x", "none");
    let refused = send(&gate, &ada, "POST", MAKE, &[], Some(&body));
    assert_eq!(json_of(&refused)["errors"][0]["field"], "domain", "{}", text(&refused));
    // Who runs the gateway uses its accounts and what its file names.
    let body = written("registry.acme.com", "127.0.0.1:5000/acme/secret", "registry");
    let made = send(&gate, &ada, "POST", MAKE, &[], Some(&body));
    assert_eq!(made.status, 201, "{}", text(&made));
}

#[test]
fn where_it_is_to_live_is_looked_at_before() {
    let (registry, image) = (Registry::start(), image("first"));
    for tag in ["latest", "1.0"] {
        registry.push("origin/hello", tag, &image);
    }
    let mut gate = Gate::start_proxy(DRIVERS[1], &config(OF_FILE));
    let token = token_of(&mut Person::set_up(&mut gate), "acme");
    let check = "/api/v1/package/check?organisation=acme";
    let looked = |gate: &Gate, token: &str, name: &str, backend: &str| {
        let body = redirected("registry.acme.com", name, backend);
        let answer = send(gate, token, "POST", check, &[], Some(&body));
        assert_eq!(answer.status, 200, "{}", text(&answer));
        json_of(&answer)
    };
    let port = registry.address().port();
    for (name, repository, works, words) in [
        ("x", "origin/hello", true, "/origin/hello exists: 2 tags; anybody can pull it"),
        ("x", "origin/nothing", false, " has no origin/nothing, or does not show it"),
        ("x/*", "origin/*", true, " answers; what it has is seen when somebody pulls"),
    ] {
        let backend = format!("http://{REGISTRY}:{port}/{repository}");
        let seen = looked(&gate, &token, name, &backend);
        assert_eq!(seen["works"], works, "{seen}");
        let told = seen["backends"][0]["detail"].as_str().unwrap();
        assert!(told.starts_with(&format!("{REGISTRY}:{port}")) && told.contains(words), "{told}");
    }
    let seen = looked(&gate, &token, "x", "http://127.1.1.1:1/x");
    assert!(
        seen["backends"][0]["detail"].as_str().unwrap().contains("could not be asked"),
        "{seen}"
    );
    // Nothing was made by that.
    leads(&gate, "registry.acme.com/x", None);
    // A name that leads inside is not followed: nothing arrives there.
    let front = registry.front();
    let strict = config(OF_FILE).replace("[\"127.0.0.0/8\"]", "[]");
    let mut gate = Gate::start_proxy(DRIVERS[1], &strict);
    let token = token_of(&mut Person::set_up(&mut gate), "acme");
    let backend = format!("http://{REGISTRY}:{}/origin/hello", front.address().port());
    let seen = looked(&gate, &token, "x", &backend);
    let told = seen["backends"][0]["detail"].as_str().unwrap();
    assert!(seen["works"] == false && told.contains("its addresses may not be dialled"), "{seen}");
    assert_eq!(front.connections(), 0);
}

#[test]
fn by_pages_alone() {
    let mut gate = Gate::start("epoll", &config(OF_FILE));
    let mut ada = Person::set_up(&mut gate);
    let new = "/packages/new?organisation=acme";
    assert!(text(&ada.get("/")).contains(new));
    let fields = |name: &'static str, backends: &'static str, act: &'static str| {
        [
            ("domain", ""),
            ("name", name),
            ("backends", backends),
            ("delivery", "redirect"),
            ("credentials", "none"),
            ("description", "\"><script>alert(1)</script>"),
            ("act", act),
        ]
    };
    // What is wrong stands beside its field, and what was typed is text.
    let answer = ada.fill_in(new, &fields("<script>alert(2)</script>", "a:b:c/d", "save"));
    let page = text(&answer);
    assert_eq!(answer.status, 400, "{page}");
    assert!(page.contains("is not a repository name") && page.contains("aria-invalid"), "{page}");
    assert!(!page.contains("<script>alert"), "{page}");
    // What does not work is said before it is saved, and saved where that does not matter.
    let dead = fields("sledge", "http://127.1.1.1:1/x", "check");
    let answer = ada.fill_in(new, &dead);
    assert_eq!(answer.status, 200);
    assert!(text(&answer).contains("127.1.1.1:1 could not be asked"), "{}", text(&answer));
    let dead = fields("sledge", "http://127.1.1.1:1/x", "save");
    let answer = ada.fill_in(new, &dead);
    assert_eq!(answer.status, 409);
    let page = text(&answer);
    assert!(page.contains("people could not pull this"), "{page}");
    let package = "acme.pkg.pg.test/sledge";
    leads(&gate, package, None);
    let anyway = [&dead[..], &[("anyway", "yes")]].concat();
    let answer = ada.send_form(&page, "/packages/new", &anyway);
    assert_eq!(answer.status, 303, "{}", text(&answer));
    assert_eq!(answer.header("location"), Some(&*format!("/packages/{package}")));
    leads(&gate, package, Some("127.1.1.1:1/v2/x"));
    for page in [format!("/packages/{package}"), format!("/settings/package/{package}")] {
        let page = text(&ada.get(&page));
        assert!(page.contains("alert(1)") && !page.contains("<script>alert"), "{page}");
    }
    // Moved, by somebody who has looked at what is there.
    let settings = format!("/settings/package/{package}");
    let before = text(&ada.get(&settings));
    let moved = fields("sledge", "http://127.1.1.2:1/x", "save");
    let moved = [&moved[..], &[("anyway", "yes")]].concat();
    assert_eq!(ada.send_form(&before, &settings, &moved).status, 303);
    leads(&gate, package, Some("127.1.1.2:1/v2/x"));
    assert_eq!(ada.send_form(&before, &settings, &moved).status, 412, "it is another by now");
    let without_token: Vec<_> =
        moved.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    assert_eq!(ada.post(&settings, &without_token).status, 403, "of another site");
    // Undone.
    let page = text(&ada.get(&settings));
    assert!(page.contains("<del>http://127.1.1.1:1/x</del>"), "{page}");
    let revert = format!("/settings/revert/{package}");
    assert_eq!(ada.send_form(&page, &revert, &[]).status, 303);
    leads(&gate, package, Some("127.1.1.1:1/v2/x"));
    // Another name is confirmed first.
    let page = text(&ada.get(&settings));
    let named = fields("sled", "http://127.1.1.1:1/x", "save");
    let named = [&named[..], &[("anyway", "yes")]].concat();
    let asked = ada.send_form(&page, &settings, &named);
    assert_eq!(asked.status, 409);
    assert!(text(&asked).contains("until they type acme.pkg.pg.test/sled;"), "{}", text(&asked));
    let confirmed = [&named[..], &[("confirm", "yes")]].concat();
    assert_eq!(ada.send_form(&text(&asked), &settings, &confirmed).status, 303);
    leads(&gate, package, None);
    let package = "acme.pkg.pg.test/sled";
    let settings = format!("/settings/package/{package}");
    // So is undoing that.
    let revert = format!("/settings/revert/{package}");
    let page = text(&ada.get(&settings));
    let asked = ada.send_form(&page, &revert, &[]);
    assert_eq!(asked.status, 409, "{}", text(&asked));
    assert!(text(&asked).contains("This breaks what people type"), "{}", text(&asked));
    leads(&gate, package, Some("127.1.1.1:1/v2/x"));
    // Removed, which is confirmed too, and brought back.
    let remove = format!("/settings/remove/{package}");
    assert_eq!(ada.send_form(&page, &remove, &[]).status, 400);
    assert_eq!(ada.send_form(&page, &remove, &[("confirm", "yes")]).status, 303);
    leads(&gate, package, None);
    let page = text(&ada.get(&settings));
    assert!(page.contains("It was removed"), "{page}");
    assert_eq!(ada.send_form(&page, &revert, &[]).status, 303);
    leads(&gate, package, Some("127.1.1.1:1/v2/x"));
    // Of the file's it is shown what they are.
    let page = text(&ada.get("/settings/package/registry.acme.com/acme/rocket"));
    assert!(page.contains("stands in the gateway's configuration file"), "{page}");
    assert!(
        page.contains("http://127.0.0.1:5000/acme/rocket") && !page.contains("<textarea"),
        "{page}"
    );
}

#[test]
fn the_gateway_s_account_is_looked_at_by_that() {
    let storage = Storage::with(["origin/hidden".to_owned()]);
    for kind in [Kind::Htpasswd, Kind::Token] {
        let world = World::start(kind, &storage);
        let password = world.directory().join("password");
        fs::write(&password, RIGHT.password).unwrap();
        let account = format!(
            "{UPSTREAM}[[registries]]\nhost = \"{}\"\ntoken_hosts = [\"{TOKENS}\"]\nplain_http = true\n\
             username = \"{}\"\npassword_file = \"{}\"\n",
            world.authority(),
            RIGHT.user,
            password.display(),
        );
        let mut gate = Gate::start_proxy(DRIVERS[0], &account);
        let token = token_of(&mut Person::set_up(&mut gate), "acme");
        let check = "/api/v1/package/check?organisation=acme";
        for (credentials, works, words) in [
            ("none", false, "does not show origin/hidden to who is asking for it"),
            ("registry", true, "exists: 1 tag; the gateway's account can pull it"),
            ("client", true, "answers; what it has is seen when somebody pulls"),
        ] {
            let backends = [format!("{}/origin/hidden", world.authority())];
            let body = json!({ "domain": GATEWAY, "name": "x", "backends": backends,
                               "credentials": credentials });
            let seen = send(&gate, &token, "POST", check, &[], Some(&body));
            assert_eq!(seen.status, 200, "{}", text(&seen));
            let seen = json_of(&seen);
            let told = seen["backends"][0]["detail"].as_str().unwrap();
            assert!(seen["works"] == works && told.contains(words), "{kind:?}: {seen}");
            assert!(!seen.to_string().contains(RIGHT.password));
        }
    }
}
