//! Forms of the dashboard that are refused: the page is there again, with what was filled in and, at its field, what
//! is wrong with it.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::path::Path;

use support::gate::Gate;
use support::packages::{OF_FILE, config};
use support::people::{invited, link};
use support::person::{PASSWORD, Person, ROCKET, set_up_link, text};

/// What somebody fills in, and what comes of it.
struct Case<'c> {
    page: &'c str,
    action: &'c str,
    fields: &'c [(&'c str, &'c str)],
    status: u16,
    /// The fields that are wrong, by their identifiers.
    wrong: &'c [&'c str],
    words: &'c str,
}

impl Case<'_> {
    /// Fills it in, and looks whether all of it is there again; the page.
    fn is_kept(&self, person: &mut Person) -> String {
        let Case { page, action, fields, status, wrong, words } = *self;
        let before = text(&person.get(page));
        let answer = person.send_form(&before, action, fields);
        let page = text(&answer);
        assert_eq!(answer.status, status, "{action}: {page}");
        assert!(page.contains(words), "{action}: {words}: {page}");
        let form = page.split(&format!("action=\"{action}\"")).nth(1);
        let form = form.unwrap_or_else(|| panic!("no form {action} again: {page}"));
        let form = form.split("</form>").next().unwrap();
        for (name, value) in fields {
            match *name {
                "password" | "new_password" | "code" | "present_code" => {
                    assert!(!page.contains(&format!("\"{value}\"")), "{name} in {page}");
                }
                _ => assert!(has(form, name, value), "{name} is not {value:?} again: {form}"),
            }
        }
        assert!(page.contains("role=\"alert\""), "{page}");
        for (number, id) in wrong.iter().enumerate() {
            let field = tag(form, "id", id).unwrap_or_else(|| panic!("no {id} in {form}"));
            assert!(field.contains("aria-invalid=\"true\""), "{id}: {field}");
            assert_eq!(field.contains(" autofocus"), number == 0, "{id}: {field}");
            let described = field.split("aria-describedby=\"").nth(1).unwrap_or_default();
            let described = described.split('"').next().unwrap();
            assert!(described.split(' ').any(|it| it == format!("{id}-wrong")), "{id}: {field}");
            assert!(form.contains(&format!("class=\"wrong\" id=\"{id}-wrong\">")), "{id}: {form}");
            assert!(page.contains(&format!("<a href=\"#{id}\">")), "{id}: {page}");
        }
        assert_eq!(page.matches("aria-invalid").count(), wrong.len(), "{page}");
        page
    }
}

/// The tag that has this attribute.
fn tag<'p>(page: &'p str, name: &str, value: &str) -> Option<&'p str> {
    let mark = format!(" {name}=\"{value}\"");
    page.split('<').map(|tag| tag.split('>').next().unwrap()).find(|tag| tag.contains(&mark))
}

/// Whether the field of this name has this value, or this is chosen there.
fn has(form: &str, name: &str, value: &str) -> bool {
    let field = tag(form, "name", name).unwrap_or_else(|| panic!("no {name} in {form}"));
    let after = form.split(field).nth(1).unwrap();
    match field.split(' ').next().unwrap() {
        "select" => {
            let options = after.split("</select>").next().unwrap();
            let first = options.split("<option").nth(1).unwrap();
            let chosen = options.split("<option").find(|option| option.contains(" selected"));
            let chosen = chosen.unwrap_or(first);
            chosen.contains(&format!(">{value}")) || chosen.contains(&format!("value=\"{value}\""))
        }
        "textarea" => after.starts_with(&format!(">{value}</textarea>")),
        _ if value == "on" => field.contains(" checked"),
        "input" if field.contains("type=\"checkbox\"") || field.contains("type=\"radio\"") => {
            let marks = [format!(" name=\"{name}\""), format!(" value=\"{value}\"")];
            let mut tags = form.split('<').map(|tag| tag.split('>').next().unwrap());
            let one = tags.find(|tag| marks.iter().all(|mark| tag.contains(mark)));
            one.is_some_and(|tag| tag.contains(" checked"))
        }
        _ => field.contains(&format!("value=\"{value}\"")),
    }
}

#[test]
fn what_is_filled_in_is_there_again_where_it_is_refused() {
    let keys = "sign_up = \"open\"\n";
    let mut gate = Gate::start_with_admin("epoll", keys, &config(OF_FILE));
    let set_up = set_up_link(&mut gate);
    let mut stranger = Person::before(&gate);
    Case {
        page: &set_up,
        action: "/set-up",
        fields: &[("login", "ad a"), ("organisation", "acme inc"), ("password", "too short")],
        status: 400,
        wrong: &["login", "organisation", "password"],
        words: "fewer than 12 characters",
    }
    .is_kept(&mut stranger);
    let mut ada = Person::set_up(&mut gate);
    let invitation =
        link(&ada.act("/people/invite", &[("organisation", "acme"), ("role", "member")]));
    for (page, action, fields, status, wrong, words) in [
        (
            "/sign-up",
            "/sign-up",
            &[("login", "ada"), ("organisation", "moon"), ("password", PASSWORD)][..],
            409,
            "login",
            "There is an account `ada` already",
        ),
        (
            "/sign-up",
            "/sign-up",
            &[("login", "eve"), ("organisation", "acme"), ("password", PASSWORD)],
            409,
            "organisation",
            "There is an organisation `acme` already",
        ),
        (
            "/sign-in",
            "/sign-in",
            &[("login", "Ada"), ("password", "not the right one")],
            401,
            "password",
            "is not right",
        ),
        (
            &invitation,
            "/join",
            &[("login", "ada"), ("password", PASSWORD)],
            409,
            "login",
            "There is an account `ada` already",
        ),
    ] {
        let case = Case { page, action, fields, status, wrong: &[wrong], words };
        case.is_kept(&mut stranger);
    }
    // Somebody new, who founds and claims.
    let mut eve = Person::before(&gate);
    let fields = [("login", "eve"), ("organisation", "moon"), ("password", PASSWORD)];
    assert_eq!(eve.fill_in("/sign-up", &fields).status, 303);
    let mut mia = invited(&gate, &mut ada, ("organisation", "acme"), "member", "mia");
    let alerts = format!("/alerts/{ROCKET}");
    type Row<'r> = (&'r str, &'r str, &'r [(&'r str, &'r str)], u16, &'r [&'r str], &'r str);
    #[rustfmt::skip]
    let rows: [(&mut Person, &[Row<'_>]); 3] = [
        (&mut mia, &[
            ("/tokens", "/tokens", &[("label", "ci"), ("organisation", "acme"), ("package", ROCKET), ("role", "admin"), ("days", "7")], 403, &["role"], "You are no admin there yourself"),
        ]),
        (&mut eve, &[
            ("/people", "/organisations", &[("organisation", "acme")], 409, &["organisation"], "already"),
            ("/people", "/organisations", &[("organisation", "a b")], 400, &["organisation"], "is made of"),
            ("/domains?organisation=moon", "/domains/claim", &[("domain", "local host")], 400, &["domain"], "A domain is a host name"),
            ("/domains?organisation=moon", "/domains/claim", &[("domain", "registry.acme.com")], 400, &["domain"], "is served here already"),
        ]),
        (&mut ada, &[
            ("/organisations", "/organisations", &[("organisation", "moon")], 409, &["organisation"], "already"),
            ("/organisations", "/organisations/domain", &[("domain", "no host"), ("organisation", "moon")], 400, &["domain"], "is no host name"),
            ("/tokens", "/tokens", &[("label", ""), ("organisation", "acme"), ("package", ROCKET), ("role", "admin"), ("days", "soon")], 400, &["label", "days"], "It lasts for 1 to 3650 days"),
            (&alerts, &alerts, &[("url", "nowhere"), ("weekly", "on"), ("do", "add")], 400, &["url"], "The address"),
            (&alerts, &alerts, &[("url", "https://a.b/"), ("do", "add")], 400, &["events"], "Choose of what is told"),
            ("/account", "/account/password", &[("password", "not the right one"), ("new_password", PASSWORD)], 403, &["password"], "present password is not right"),
            ("/account", "/account/password", &[("password", PASSWORD), ("new_password", "Password1234")], 400, &["new_password"], "everybody tries first"),
            ("/account/second-factor", "/account/second-factor", &[("code", "000000"), ("password", PASSWORD)], 400, &["code"], "is your clock?"),
            ("/packages/new?organisation=acme", "/packages/new", &[("domain", "registry.acme.com"), ("name", "acme/rocket"), ("backends", "ghcr.io/x/y"), ("delivery", "broker"), ("credentials", "none"), ("description", "mine"), ("confirm", "yes"), ("people", "end"), ("anyway", "yes")], 400, &["name"], "The name "),
        ]),
    ];
    for (person, cases) in rows {
        for (page, action, fields, status, wrong, words) in cases {
            let (fields, wrong) = (&**fields, &**wrong);
            let case = Case { page, action, fields, status: *status, wrong, words };
            case.is_kept(person);
        }
    }
    // What there is not any more cannot be chosen again; the rest is there.
    let gone = [("label", "ci"), ("package", "registry.acme.com/acme/gone"), ("role", "member")];
    for (place, field) in
        [(gone, "package"), ([gone[0], ("organisation", "moon"), gone[2]], "organisation")]
    {
        let before = text(&mia.get("/tokens"));
        let refused = mia.send_form(&before, "/tokens", &place);
        let page = text(&refused);
        assert_eq!(refused.status, 404, "{page}");
        assert!(
            has(&page, "label", "ci") && page.contains(&format!("id=\"{field}-wrong\"")),
            "{page}"
        );
    }
    // What is chosen with a button is not filled in, and said above the page that it was on.
    let people = text(&ada.get("/people?organisation=acme"));
    let refused = ada.send_form(&people, "/people/role", &[]);
    let page = text(&refused);
    assert_eq!(refused.status, 409, "{page}");
    assert!(page.contains("last admin") && page.contains("action=\"/people/invite\""), "{page}");
}

#[test]
fn who_changes_a_package_that_another_has_changed_sees_that_and_keeps_theirs() {
    let mut gate = Gate::start("epoll", &config(OF_FILE));
    let mut ada = Person::set_up(&mut gate);
    let written = |backend| {
        [
            ("domain", "registry.acme.com"),
            ("name", "acme/sledge"),
            ("backends", backend),
            ("delivery", "redirect"),
            ("credentials", "none"),
            ("anyway", "yes"),
        ]
    };
    let new = "/packages/new?organisation=acme";
    assert_eq!(ada.fill_in(new, &written("http://127.1.1.1:1/x")).status, 303);
    let settings = "/settings/package/registry.acme.com/acme/sledge";
    let before = text(&ada.get(settings));
    assert_eq!(ada.send_form(&before, settings, &written("http://127.1.1.2:1/x")).status, 303);
    let late = ada.send_form(&before, settings, &written("http://127.1.1.3:1/x"));
    let page = text(&late);
    assert_eq!(late.status, 412, "{page}");
    assert!(page.contains("Somebody has changed it since you looked"), "{page}");
    assert!(page.contains("<ins>http://127.1.1.2:1/x</ins>"), "what they did: {page}");
    assert!(page.contains(">http://127.1.1.3:1/x</textarea>"), "{page}");
    assert!(has(&page, "anyway", "yes"), "{page}");
    let removal = "/settings/remove/registry.acme.com/acme/sledge";
    let late = ada.send_form(&before, removal, &[("confirm", "yes")]);
    assert_eq!(late.status, 412);
    assert!(has(&text(&late), "confirm", "yes"), "{}", text(&late));
    assert_eq!(ada.send_form(&page, settings, &written("http://127.1.1.3:1/x")).status, 303);
    // Nor is it removed unless that is said.
    let unsure = Case {
        page: settings,
        action: removal,
        fields: &[],
        status: 400,
        wrong: &["remove-confirm"],
        words: "Tick that",
    };
    unsure.is_kept(&mut ada);
}

#[test]
fn what_is_shown_once_has_a_button_that_copies_it() {
    let mut gate = Gate::start("epoll", &config(OF_FILE));
    let mut ada = Person::set_up(&mut gate);
    let acme = ("organisation", "acme");
    let alerts = format!("/alerts/{ROCKET}");
    let webhook = [("do", "add"), ("url", "https://a.b/"), ("weekly", "on")];
    for (answer, id, begins) in [
        (ada.act("/people/invite", &[acme, ("role", "member")]), "link", "http://"),
        (ada.act("/tokens", &[acme, ("label", "a"), ("role", "member")]), "made", "pullgate_"),
        (ada.act(&alerts, &webhook), "made", "whsec_"),
        (ada.get("/account/second-factor"), "key", ""),
        (ada.get("/account/second-factor"), "address", "otpauth://totp/pullgate:ada?secret="),
    ] {
        let page = text(&answer);
        assert!(page.contains(&format!("<code id=\"{id}\">{begins}")), "{id}: {page}");
        let button = tag(&page, "data-copies", id).unwrap_or_else(|| panic!("no button: {page}"));
        // Without scripts it does nothing, and is not there.
        assert!(button.starts_with("button ") && button.ends_with(" hidden"), "{button}");
        assert!(page.contains(".js\" defer></script>"), "{page}");
    }
}

/// Somebody has signed in anew in another window meanwhile.
#[test]
fn a_form_of_another_session_is_there_again_and_may_be_sent() {
    let mut gate = Gate::start("epoll", &config(OF_FILE));
    let mut ada = Person::set_up(&mut gate);
    let (new, made) = ("/packages/new", "/packages/registry.acme.com/acme/sledge");
    let of_before = text(&ada.get("/packages/new?organisation=acme"));
    ada.act("/sign-out", &[]);
    assert_eq!(ada.sign_in("ada", PASSWORD).status, 303);
    let written = [
        ("domain", "registry.acme.com"),
        ("name", "acme/sledge"),
        ("backends", "http://127.1.1.1:1/x"),
        ("delivery", "redirect"),
        ("credentials", "none"),
        ("description", "a <b>sledge</b>"),
        ("anyway", "yes"),
    ];
    // Nothing is shown of what may be another site's.
    for said in ["", "Origin: null", "Origin: http://evil.example", "Sec-Fetch-Site: cross-site"] {
        ada.also =
            Some(said).filter(|said| !said.is_empty()).map(str::to_owned).into_iter().collect();
        let refused = ada.send_form(&of_before, new, &written);
        let page = text(&refused);
        assert_eq!(refused.status, 403, "{said}: {page}");
        assert!(!page.contains("sledge") && !page.contains("Send it again"), "{said}: {page}");
    }
    let ours = format!("Origin: http://{}", gate.admin());
    ada.also = vec![ours.clone(), "Sec-Fetch-Site: same-origin".to_owned()];
    let refused = ada.send_form(&of_before, new, &written);
    let page = text(&refused);
    assert_eq!(refused.status, 403, "{page}");
    assert!(page.contains("<dd>a &#60;b&#62;sledge&#60;/b&#62;</dd>"), "{page}");
    assert_eq!(ada.get(made).status, 404, "nothing was done");
    let sent = ada.send_form(&page, new, &[]);
    assert_eq!((sent.status, sent.header("location")), (303, Some(made)), "{}", text(&sent));

    // Secrets are asked for again, and whoever has no cookie gets one.
    let mut bob = Person::before(&gate);
    bob.also = vec![ours];
    let door = text(&bob.get("/sign-in"));
    bob.cookie = None;
    let page = text(&bob.send_form(&door, "/sign-in", &[("login", "ada"), ("password", PASSWORD)]));
    assert!(page.contains("<dd>ada</dd>") && !page.contains(PASSWORD), "{page}");
    assert!(tag(&page, "name", "password").is_some_and(|it| it.contains("\"password\"")), "{page}");
    assert_eq!(bob.send_form(&page, "/sign-in", &[("password", PASSWORD)]).status, 303);
    // One whose secret its page has made is not shown again: that page is another then.
    let app = text(&bob.get("/account/second-factor"));
    bob.act("/sign-out", &[]);
    assert_eq!(bob.sign_in("ada", PASSWORD).status, 303);
    let of_app = [("code", "000000"), ("password", PASSWORD)];
    let page = text(&bob.send_form(&app, "/account/second-factor", &of_app));
    assert!(page.contains("load the page again") && !page.contains("Send it again"), "{page}");
}

/// Where the browser holds to what its fields say, nothing that is written is too long to be sent.
#[test]
fn nobody_can_write_more_into_a_page_than_is_taken() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
    let mut forms = 0;
    for file in fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        let page = fs::read_to_string(&file).unwrap();
        for form in page.split("<form ").skip(1).map(|rest| rest.split("</form>").next().unwrap()) {
            forms += 1;
            let lines = form.lines().filter(|line| {
                let is_told =
                    ["type=\"hidden\"", "type=\"checkbox\"", "type=\"radio\"", "type=\"date\""];
                (line.contains("<input ") || line.contains("<textarea "))
                    && !is_told.iter().any(|kind| line.contains(kind))
                    // What is asked for anew was written before.
                    && !line.contains("one.autocomplete")
            });
            let most: usize = lines
                .map(|line| {
                    let most =
                        line.split("maxlength=\"").nth(1).and_then(|it| it.split('"').next());
                    let most = most.and_then(|most| most.parse::<usize>().ok());
                    most.unwrap_or_else(|| panic!("{}: no maxlength: {line}", file.display()))
                })
                .sum();
            // A unit of UTF-16 is three bytes at the most, of three characters each when they are sent.
            assert!(most * 9 < 60 * 1024, "{}: {most} characters: {form}", file.display());
        }
    }
    assert!(forms > 20, "{forms}");
    // And what is too long all the same is told what to do.
    let mut gate = Gate::start("epoll", &config(OF_FILE));
    let mut ada = Person::set_up(&mut gate);
    let refused = ada.act("/tokens", &[("label", &"x".repeat(70_000))]);
    let page = text(&refused);
    assert_eq!(refused.status, 413, "{page}");
    assert!(page.contains("write less there than you have sent"), "{page}");
}

#[test]
fn each_copy_of_a_badge_has_a_name_of_its_own() {
    let mut gate = Gate::start("epoll", &config(OF_FILE));
    let page = text(&Person::set_up(&mut gate).get(&format!("/packages/{ROCKET}")));
    let buttons = page.split("data-copies=\"badge-").skip(1);
    let mut names: Vec<_> = buttons
        .map(|rest| rest.split_once(" hidden>").unwrap().1.split("</button>").next().unwrap())
        .collect();
    assert!(
        names.contains(&"Markdown<span class=\"unseen\">: copy the badge pulls</span>"),
        "{names:?}"
    );
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!((all, names.len()), (16, 16), "{names:?}");
    // Each is one click: none is folded away with the text that it copies.
    for folded in page.split("<details name=\"badge-").skip(1) {
        let folded = folded.split("</details>").next().unwrap();
        assert!(folded.contains("<textarea") && !folded.contains("<button"), "{folded}");
    }
}

#[test]
fn each_button_of_a_row_says_what_it_is_about() {
    let mut gate = Gate::start_with_admin("epoll", "sign_up = \"open\"\n", &config(OF_FILE));
    let mut ada = Person::set_up(&mut gate);
    let acme = ("organisation", "acme");
    invited(&gate, &mut ada, acme, "member", "bob@example.org");
    ada.act("/people/invite", &[acme, ("role", "admin")]);
    ada.act("/tokens", &[acme, ("label", "nightly report"), ("role", "member")]);
    let alerts = format!("/alerts/{ROCKET}");
    ada.act(&alerts, &[("do", "add"), ("url", "https://hooks.example.org/x"), ("weekly", "on")]);
    ada.act("/domains/claim", &[acme, ("domain", "registry.example.org")]);
    let made = [
        ("name", "sledge"),
        ("backends", "http://127.1.1.1:1/x"),
        ("delivery", "redirect"),
        ("credentials", "none"),
        ("anyway", "yes"),
    ];
    let package = "/settings/package/acme.pkg.pg.test/sledge";
    assert_eq!(ada.fill_in("/packages/new?organisation=acme", &made).status, 303);
    let moved = [&made[..], &[("domain", "acme.pkg.pg.test"), ("description", "mine")]].concat();
    assert_eq!(ada.fill_in(package, &moved).status, 303);
    for (page, buttons) in [
        ("/account", &[("End it", "End it: ")][..]),
        ("/tokens", &[("Revoke", "Revoke nightly report")]),
        (
            "/people?organisation=acme",
            &[
                ("Make admin", "Make admin: bob@example.org"),
                ("Remove", "Remove bob@example.org"),
                ("Leave", "Leave acme"),
                ("Withdraw", "Withdraw the link for admin by ada until 20"),
                ("Revoke", "Revoke nightly report of ada"),
            ],
        ),
        (
            &alerts,
            &[
                ("Send a test", "Send a test to https://hooks.example.org/x"),
                ("Remove", "Remove https://hooks.example.org/x"),
            ],
        ),
        (
            "/domains?organisation=acme",
            &[
                ("Check now", "Check now: registry.example.org"),
                ("Withdraw", "Withdraw registry.example.org"),
            ],
        ),
        (package, &[("As it was before", "As it was before 20")]),
    ] {
        let page = text(&ada.get(page));
        for (shown, told) in buttons {
            assert!(page.contains(&format!("aria-label=\"{told}")), "{told}: {page}");
            let named = format!("\">{shown}</button>");
            assert!(page.contains(&named), "{shown}: {page}");
        }
        // None says the same as another.
        let rows = page.split("<tr>").skip(1).map(|row| row.split("</tr>").next().unwrap());
        let buttons = rows.flat_map(|row| row.split("<button").skip(1));
        let mut names: Vec<_> = buttons
            .map(|button| button.split("aria-label=\"").nth(1).unwrap_or_default())
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert!(all > 0 && names.len() == all && !names.contains(&""), "{names:?}: {page}");
    }
}
