//! What pages let a browser do: every answer says it, each directive refuses what it is for, no page wants what it
//! refuses, and nothing comes from another host, in a real browser.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::collections::BTreeMap;

use support::browser::Browser;
use support::demo::Demo;
use support::http::Answer;
use support::origin::{Origin, Talk};
use support::people::link;
use support::person::{PASSWORD, Person, text};
use support::routes::{of_pages, without_a_row};

/// What pages may have, by directive.
const POLICY: [(&str, &str); 8] = [
    ("default-src", "'none'"),
    ("style-src", "'self'"),
    ("script-src", "'self'"),
    ("img-src", "'self' data:"),
    ("connect-src", "'self'"),
    ("form-action", "'self'"),
    ("frame-ancestors", "'none'"),
    ("base-uri", "'none'"),
];
const ROCKET: &str = "registry.acme.example/acme/rocket";

/// The directives that an answer has.
fn directives(answer: &Answer) -> BTreeMap<&str, &str> {
    let policy = answer.header("content-security-policy").unwrap_or_default();
    let pairs = policy.split(';').map(|one| one.trim().split_once(' ').unwrap_or_default());
    pairs.collect()
}

/// What browsers are told beside that, of every answer.
fn is_said(answer: &Answer, target: &str) {
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name} of {target}");
    }
}

fn signed_in(browser: &mut Browser, demo: &Demo) {
    browser.open(&format!("http://{}/sign-in", demo.admin));
    browser.leave(&format!(
        "login.value = 'ada'; password.value = '{PASSWORD}'; \
         document.querySelector('main button').click()"
    ));
    assert_eq!(browser.eval("location.pathname"), "/");
}

#[test]
fn no_page_wants_what_is_refused_or_anything_of_another_host() {
    let (demo, mut ada) = Demo::start();
    let of = |page: &str| format!("/{page}/{ROCKET}");
    let invite = [("organisation", "acme"), ("role", "member")];
    let link = link(&ada.act("/people/invite", &invite));
    let page = text(&ada.get(&of("packages")));
    let badge = page.split("src=\"/badges/").nth(1).unwrap().split('"').next().unwrap();
    let badge = format!("/badges/{badge}");
    let all = [
        "/sign-in",
        "/sign-up",
        "/set-up?key=0",
        &link,
        "/",
        "/?range=7d&q=rocket",
        "/account",
        "/account/second-factor",
        "/people",
        "/people?organisation=acme",
        "/tokens",
        "/organisations",
        "/domains?organisation=acme",
        "/history?organisation=acme",
        "/packages/new?organisation=acme",
        "/packages/nothing",
        "/first-pull",
        &of("first-pull"),
        &of("packages"),
        &of("public"),
        &format!("{}?range=90d&country=DE", of("packages")),
        &of("alerts"),
        &of("settings/package"),
        &badge,
        "/api",
        "/api/v1/openapi.json",
        "/api/v1/packages",
    ];
    let mut browser = Browser::start();
    browser.watch();
    let here = format!("http://{}/", demo.admin);
    let visit = |browser: &mut Browser, target: &str| {
        browser.open(&format!("http://{}{target}", demo.admin));
        assert_eq!(browser.violations(), [""; 0], "{target}");
        let asked = browser.requests();
        assert!(!asked.is_empty(), "{target}");
        for url in asked {
            assert!(url.starts_with(&here) || url.starts_with("data:"), "{url} by {target}");
        }
    };
    // Before somebody signs in, and after that.
    for target in ["/", "/sign-in", "/sign-up", "/set-up?key=0", &link, "/api", "/nothing", &badge]
    {
        visit(&mut browser, target);
    }
    signed_in(&mut browser, &demo);
    for target in all {
        visit(&mut browser, target);
    }
    // What a browser keeps or follows for good is no page.
    let mut left = without_a_row(
        &of_pages(),
        all.iter().map(|target| ("GET", *target)).filter(|(_, target)| !target.starts_with("/api")),
    );
    left.retain(|(method, page)| {
        method == "GET"
            && !["/download", "/public-download", "/live"].iter().any(|it| page.starts_with(it))
    });
    assert!(left.is_empty(), "no browser has seen {left:?}");

    // Each answer says so, whatever it is.
    let asset = page.split("href=\"/assets/").nth(1).unwrap().split('"').next().unwrap();
    let (asset, download) =
        (format!("/assets/{asset}"), format!("{}?by=day&format=csv", of("download")));
    let policy = BTreeMap::from(POLICY);
    let mut nobody = Person::at(demo.admin);
    for target in all.iter().copied().chain([&*asset, &*download, "/nothing"]) {
        for person in [&mut ada, &mut nobody] {
            let answer = person.get(target);
            is_said(&answer, target);
            let expected = match target == badge {
                // It is shown in pages of others, and holds its logo.
                true => BTreeMap::from([("default-src", "'none'"), ("img-src", "data:")]),
                false => policy.clone(),
            };
            assert_eq!(directives(&answer), expected, "{target}: {}", answer.status);
        }
    }
    let refused = nobody.post("/tokens", &[]);
    assert_eq!((refused.status, directives(&refused)), (303, policy.clone()));
    nobody.also = vec!["sec-fetch-site: cross-site".to_owned()];
    let refused = nobody.post("/sign-in", &[]);
    assert_eq!((refused.status, directives(&refused)), (403, policy));

    // Another host would have been noticed.
    browser.open(&format!("http://{}/v2/", demo.gateway));
    assert!(browser.requests().iter().any(|url| !url.starts_with(&here)));
}

#[test]
fn each_directive_refuses_what_it_is_for() {
    let (demo, _) = Demo::start();
    let mut browser = Browser::start();
    browser.watch();
    signed_in(&mut browser, &demo);
    let page = format!("http://{}/account", demo.admin);
    // Somebody else, who hears whatever is asked for there.
    let framed = page.clone();
    let somebody = Origin::start([127, 0, 0, 1], move |talk: &mut Talk| {
        while let Some(request) = talk.request()? {
            let page = match &*request.target {
                "/ours" => format!("<iframe src='{framed}'></iframe>"),
                "/own" => "<iframe src='/page'></iframe>".to_owned(),
                _ => "a page".to_owned(),
            };
            talk.answer(&request, "200 OK", &["Content-Type: text/html"], page.as_bytes())?;
        }
        Ok(())
    });
    let other = somebody.address();
    let style = "document.querySelector('link[rel=stylesheet]').href";
    let added = |tag: &str, what: &str| {
        format!(
            "document.body.append(Object.assign(document.createElement('{tag}'), {{ {what} }}))"
        )
    };
    for (directive, script) in [
        // What is not spoken of is refused.
        ("frame-src", added("iframe", "src: '/sign-in'")),
        ("object-src", added("object", &format!("data: {style}"))),
        ("media-src", added("video", &format!("src: {style}"))),
        ("font-src", format!("new FontFace('a', `url(${{{style}}})`).load().catch(() => 0)")),
        ("style-src-elem", added("style", "textContent: 'body { color: red }'")),
        ("style-src-attr", "document.body.setAttribute('style', 'color: red')".to_owned()),
        (
            "style-src-elem",
            added("link", &format!("rel: 'stylesheet', href: 'http://{other}/a.css'")),
        ),
        ("script-src-elem", added("script", "textContent: 'window.pwned = 1'")),
        ("script-src-elem", added("script", &format!("src: 'http://{other}/a.js'"))),
        ("script-src-elem", added("script", "src: 'data:text/javascript,window.pwned = 1'")),
        (
            "script-src-attr",
            "document.body.setAttribute('onclick', 'window.pwned = 1'); document.body.click()"
                .to_owned(),
        ),
        ("script-src", "setTimeout('window.pwned = 1')".to_owned()),
        ("img-src", added("img", &format!("src: 'http://{other}/a.png'"))),
        ("connect-src", format!("fetch('http://{other}/v2/').catch(() => 0)")),
        ("connect-src", format!("new EventSource('http://{other}/v2/')")),
        (
            "form-action",
            format!(
                "const form = document.forms[0]; form.action = 'http://{other}/'; form.submit()"
            ),
        ),
        ("base-uri", format!("{}; 0", added("base", &format!("href: 'http://{other}/'")))),
    ] {
        browser.open(&page);
        browser.eval(&format!("{{ {script}; }} 0"));
        browser.until(&format!("window.violations.some(it => it.startsWith('{directive} '))"));
        assert_eq!(browser.eval("typeof pwned"), "undefined", "{script}");
        assert_eq!(browser.eval("location.href"), *page, "{script}");
    }
    assert_eq!(somebody.connections(), 0, "nothing was asked for");
    // In a frame of a page of theirs there is nothing of ours.
    let at = format!("http://{other}");
    browser.open(&format!("{at}/ours"));
    assert_eq!(browser.framed(), "chrome-error://chromewebdata/");
    browser.open(&format!("{at}/own"));
    assert_eq!(browser.framed(), format!("{at}/page"));
}
