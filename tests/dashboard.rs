//! What people see of the counts: the demo's ninety days, over HTTP and in a real browser. Screenshots
//! are written to `target/screenshots/`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]
#![allow(clippy::print_stdout, reason = "it says what it measured")]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pullgate::pure::chart::short;
use serde_json::Value;
use support::browser::{Browser, Screen};
use support::demo::{Demo, send_new};
use support::eventually::eventually;
use support::http::Connection;
use support::person::{PASSWORD, Person, text};

fn page(person: &mut Person, target: &str) -> String {
    let answer = person.get(target);
    let page = text(&answer);
    assert_eq!(answer.status, 200, "{target}: {page}");
    page
}

/// The text of the element with this identifier, and all addresses in a page.
fn of_id(page: &str, id: &str) -> String {
    let at = page.find(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no {id} in {page}"));
    let inside = page[at..].split_once('>').unwrap().1;
    inside[..inside.find('<').unwrap()].trim().to_owned()
}

fn number(text: &str) -> u64 {
    text.replace(',', "").parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

/// Every address that a page loads something from without being asked to.
fn loaded(page: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for mark in ["src=\"", "<link rel=\"stylesheet\" href=\""] {
        found.extend(page.split(mark).skip(1).filter_map(|rest| rest.split('"').next()));
    }
    found
}

const ROCKET: &str = "/packages/registry.acme.example/acme/rocket";

#[test]
fn ninety_days_are_shown_filtered_downloaded_and_watched() {
    let (demo, mut ada) = Demo::start();

    // The list: each package with its course, those with the most pulls first.
    let list = page(&mut ada, "/?range=90d");
    for package in ["acme/rocket", "acme/rocket-operator", "acme/launchpad", "demo/hello"] {
        assert!(list.contains(&format!(">{package}</a>")), "{package}: {list}");
    }
    assert_eq!(list.matches("class=\"spark\"").count(), 4);
    assert!(list.find(">acme/rocket<") < list.find(">acme/launchpad<"));
    let by_name = page(&mut ada, "/?range=90d&sort=-name");
    assert!(by_name.find(">demo/hello<") < by_name.find(">acme/rocket<"), "{by_name}");
    let head = "aria-sort=\"descending\"><a href=\"/?range=90d&#38;sort=name\">Package</a>";
    assert!(by_name.contains(head), "{by_name}");
    assert!(by_name.contains("href=\"/?range=90d\">Pulls</a>"), "{by_name}");
    assert_eq!(ada.get("/?sort=colour").status, 400);
    let found = page(&mut ada, "/?q=LAUNCH");
    assert!(found.contains(">acme/launchpad</a>") && !found.contains(">acme/rocket</a>"));

    // One package: all of its panels, a chart that needs no script, and the numbers agree.
    let whole = page(&mut ada, &format!("{ROCKET}?range=90d"));
    for heading in [
        "Pulls per day",
        "Tags",
        "Clients",
        "Client versions",
        "Systems",
        "Image platforms",
        "Countries",
        "Companies",
        "Clouds",
        "Networks",
        "How far pulls went",
    ] {
        assert!(whole.contains(&format!(">{heading}</h2>")), "{heading}: {whole}");
    }
    // What says less is there where it is asked for, and of that what is known.
    let link = whole.split("\">More: Operating systems, ").next().unwrap();
    let link = link.rsplit("<a href=\"").next().unwrap().replace("&#38;", "&");
    assert_eq!(link, format!("{ROCKET}?more=true&range=90d#more"));
    let more = page(&mut ada, link.split('#').next().unwrap());
    for (heading, is_known) in [
        ("Operating systems", true),
        ("Architectures", true),
        ("Digests", true),
        ("Deliveries", true),
        ("Outcomes", true),
        ("Kinds of company", true),
        ("Cities", false),
        ("Labels", false),
    ] {
        let heading = format!(">{heading}</h2>");
        assert!(!whole.contains(&heading), "{heading}: {whole}");
        assert_eq!(more.contains(&heading), is_known, "{heading}: {more}");
    }
    assert!(more.contains(&format!("<a href=\"{ROCKET}?range=90d#more\">Less</a>")), "{more}");
    // Other days are chosen with it.
    assert!(more.contains("<input type=\"hidden\" name=\"more\" value=\"true\">"), "{more}");
    for shown in [
        "docker pull registry.acme.example/acme/rocket",
        ">Germany</a>",
        "Orbital Freight GmbH",
        ">2.4.0</a>",
    ] {
        assert!(whole.contains(shown), "{shown}: {whole}");
    }
    assert_eq!(whole.matches("data-y=").count(), 90);
    let pulls = number(&of_id(&whole, "tile-pulls"));
    assert!(pulls > 10_000, "{pulls}");
    let csv = ada.get(&download("?range=90d&by=day&format=csv"));
    assert_eq!(csv.header("transfer-encoding"), Some("chunked"), "it is written as it is read");
    let csv = text(&csv);
    assert_eq!(sum(&csv), pulls);
    let lines = text(&ada.get(&download("?range=90d&by=tag&format=ndjson")));
    let told = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(told.map(|line| line["pulls"].as_u64().unwrap()).sum::<u64>(), pulls);

    // Beside the period before, as the chart; how far pulls went; and the list, in its order.
    let shown = page(&mut ada, &format!("{ROCKET}?range=30d"));
    let chart = "?by=chart&#38;compare=true&amp;format=csv";
    assert!(shown.contains(chart), "{shown}");
    let csv = text(&ada.get(&download("?by=day&compare=true&format=csv")));
    assert_eq!(sum(&csv), number(&of_id(&shown, "tile-pulls")));
    let before = shown.split(" before\"").next().unwrap().rsplit('"').next().unwrap();
    assert_eq!(sum_of(&csv, "previous_pulls"), number(before), "{csv}");
    let lines = text(&ada.get(&download("?by=day&compare=true&format=ndjson")));
    let told = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(
        told.map(|line| line["previous_pulls"].as_u64().unwrap()).sum::<u64>(),
        number(before)
    );
    let parts = text(&ada.get(&download("?range=90d&by=completeness&format=csv")));
    assert_eq!((sum(&parts), parts.lines().count()), (pulls, 5), "{parts}");
    for part in ["complete", "partial", "up_to_date", "unseen"] {
        assert!(parts.contains(&format!("acme/rocket,{part},")), "{part}: {parts}");
    }
    assert_eq!(ada.get(&download("?by=tag&compare=true")).status, 400);
    let list = page(&mut ada, "/?range=30d&sort=name");
    assert!(list.contains("/download?range=30d&#38;sort=name&amp;format=csv"), "{list}");
    let csv = text(&ada.get("/download?range=30d&sort=name&format=csv"));
    let all = list.split("data-count=\"all\">").nth(1).unwrap().split('<').next().unwrap();
    assert_eq!((sum(&csv), csv.lines().count()), (number(all), 5), "{csv}");
    assert!(csv.find("acme/launchpad") < csv.find("acme/rocket-operator"), "{csv}");
    assert!(sum_of(&csv, "previous_pulls") > 0, "{csv}");
    let one = text(&ada.get("/download?range=30d&q=hello&format=ndjson"));
    assert_eq!(one.lines().count(), 1, "{one}");

    // A click on a row filters; what is not counted together says so; a second click removes it.
    let filtered = page(&mut ada, &format!("{ROCKET}?country=DE&range=90d"));
    let german = number(&of_id(&filtered, "tile-pulls"));
    assert!(german > 0 && german < pulls, "{german} of {pulls}");
    assert!(filtered.contains("Not counted together with this filter."));
    assert!(filtered.contains("aria-label=\"Remove the filter country: DE\""));
    let csv = text(&ada.get(&download("?country=DE&range=90d&by=tag&format=csv")));
    assert_eq!(sum(&csv), german);
    // So does one of what says less, which is there still then.
    for by in ["os", "arch", "digest", "delivery", "outcome", "kind"] {
        let panel = more.split(&format!("aria-labelledby=\"{by}\"")).nth(1).unwrap();
        let row = panel.split("<th scope=\"row\"><a href=\"").nth(1).unwrap();
        let link = row.split('"').next().unwrap().replace("&#38;", "&");
        let value = row.split("<td class=\"number\">").nth(1).unwrap().split('<').next().unwrap();
        assert!(link.contains(&format!("?{by}=")), "{link}");
        let filtered = page(&mut ada, &link);
        assert_eq!(of_id(&filtered, "tile-pulls"), value, "{link}");
        assert!(
            filtered.contains(&format!("id=\"{by}\"")) && filtered.contains(">Less</a>"),
            "{link}"
        );
    }

    // What is counted by the day has no last 24 hours but in the last hour of a day: it has two days then, and says so.
    let hours = page(&mut ada, &format!("{ROCKET}?range=24h&more=true"));
    let digests = hours.split("aria-labelledby=\"digest\"").nth(1).unwrap();
    let digests = digests.split("</section>").next().unwrap();
    let rows = digests.split("<td class=\"number\">").skip(1);
    let of_digests: u64 = rows.map(|row| number(row.split('<').next().unwrap())).sum();
    let is_wider = of_digests != number(&of_id(&hours, "tile-pulls"));
    assert_eq!(digests.contains("<p class=\"note\">Of whole days: "), is_wider, "{digests}");
    let days = page(&mut ada, &format!("{ROCKET}?range=24h&digest=unknown"));
    assert_eq!(days.contains("Last 24 hours, whole days: "), is_wider, "{days}");

    // Whatever is wrong with an address is said, and shown as text.
    for (query, status, words) in [
        ("?colour=red", 400, "There is nothing called"),
        ("?range=%3Cscript%3E", 400, "&#60;script&#62;"),
        ("?from=2026-02-02&to=2026-01-01", 400, "lies behind"),
        ("?tag=%22%3E%3Cscript%3Ealert(1)%3C/script%3E", 200, "&#60;script&#62;alert(1)"),
        ("?range=24h&tag=2.4.0&client=docker+28.5.2", 200, "Pulls per day</h2>"),
        ("?range=24h&digest=unknown", 200, "Pulls per day</h2>"),
        ("?client=docker+28.5.2&country=DE", 400, "counts are grouped and filtered by one of"),
    ] {
        let answer = ada.get(&format!("{ROCKET}{query}"));
        let said = text(&answer);
        assert_eq!(answer.status, status, "{query}: {said}");
        assert!(said.contains(words) && !said.contains("<script>"), "{query}: {said}");
    }
    assert_eq!(ada.get("/packages/registry.acme.example/acme/nothing").status, 404);

    // It weighs little, comes from here alone, and has nothing written into it that a policy must allow.
    let mut bytes = more.len();
    for address in loaded(&more) {
        assert!(address.starts_with("/assets/") || address.starts_with("/badges/"), "{address}");
        bytes += ada.get(address).body.len();
    }
    println!("a package's page with 90 days weighs {bytes} bytes");
    assert!(bytes <= 150 * 1024, "{bytes} bytes");
    for never in
        ["style=\"", "<style", "javascript:", " onclick", "<script>", "http://", "https://"]
    {
        let beside_badges = more.split("class=\"badges\"").next().unwrap();
        assert!(!beside_badges.contains(never), "{never}");
    }
    let took = median(|| {
        page(&mut ada, &format!("{ROCKET}?range=90d"));
    });
    println!("a package's page with 90 days takes {took:?} in the median, in this build");

    // A pull is told within two seconds to who watches, and to nobody else.
    let mut live = watch(&demo, &ada, "*/demo/hello");
    let mut other = watch(&demo, &ada, "registry.acme.example/acme/rocket");
    let began = Instant::now();
    demo.pull(41);
    let told = line_with(&mut live, "data: ");
    println!("a pull was told after {:?}", began.elapsed());
    assert!(
        told.contains("\"tag\":\"latest\"") && told.contains("\"client\":\"docker\""),
        "{told}"
    );
    // All that the other is told is that the server is still there.
    let told = lines_to(&mut other, ": still there");
    assert!(!told.contains("data: "), "{told}");

    charts_are_downloaded_as_they_are_shown(&mut ada);
    strangers_see_nothing(&demo);
    everybody_sees_what_the_threshold_allows(&demo, &mut ada);
    badges_are_for_everybody_until_they_are_off(&demo, &mut ada, &whole);
}

/// The file of a chart has its points in their order: those of hours, days, weeks and months, and those of nothing.
fn charts_are_downloaded_as_they_are_shown(ada: &mut Person) {
    for (query, piece, many) in [
        ("range=24h", "hour", Some(24)),
        ("range=90d&tag=latest&measure=requests", "day", Some(90)),
        ("range=12m", "week", None),
        ("from=2020-01-01", "month", None),
    ] {
        let shown = page(ada, &format!("{ROCKET}?{query}"));
        let chart = shown.split("id=\"chart-heading\">").nth(1).unwrap();
        let chart = chart.split("</section>").next().unwrap();
        assert!(chart.contains(&format!(" per {piece}</h2>")), "{query}: {chart}");
        // The table has the newest first.
        let mut points: Vec<_> = chart
            .split("<tr><th scope=\"row\">")
            .skip(1)
            .map(|row| {
                number(row.split("class=\"number\">").nth(1).unwrap().split('<').next().unwrap())
            })
            .collect();
        points.reverse();
        assert!(many.is_none_or(|many| many == points.len()), "{query}: {}", points.len());
        assert!(points.iter().sum::<u64>() > 0 && points.len() > 20, "{query}: {points:?}");

        let links = chart.split("<a href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        let links: Vec<_> =
            links.map(|link| link.replace("&#38;", "&").replace("&amp;", "&")).collect();
        let measure = if query.contains("requests") { "requests" } else { "pulls" };
        let answer = ada.get(&links[0]);
        let name = format!("registry.acme.example-acme-rocket-{piece}.csv\"");
        assert!(answer.header("content-disposition").unwrap().ends_with(&name), "{query}");
        let file = text(&answer);
        assert_eq!(column(&file, measure), points.iter().map(u64::to_string).collect::<Vec<_>>());
        let times = column(&file, "time");
        assert!(times.is_sorted() && times.iter().all(|time| time.ends_with(":00:00Z")), "{file}");
        let lines = text(&ada.get(&links[1]));
        let told = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let told: Vec<_> = told.map(|line| line[measure].as_u64().unwrap()).collect();
        assert_eq!(told, points, "{query}");
    }
    assert_eq!(ada.get(&download("?by=week")).status, 400, "a chart has weeks, counts have not");
}

/// Whoever has the address of a badge sees it, as a picture that proxies may keep.
fn badges_are_for_everybody_until_they_are_off(demo: &Demo, ada: &mut Person, whole: &str) {
    let mut stranger = Person::at(demo.admin);
    let id = |page: &str, word: &str| {
        let before = page.split(&format!("/{word}.svg")).next().unwrap();
        before[before.len() - 24..].to_owned()
    };
    let rocket = id(whole, "pulls");
    let launchpad = page(ada, "/packages/registry.acme.example/acme/launchpad");
    assert_ne!(rocket, id(&launchpad, "pulls"));
    let told = whole.split(" pulls since").next().unwrap();
    let ever = number(told.rsplit('>').next().unwrap());
    let pulls = format!(">{}</text>", short(ever));
    for (file, says) in [
        ("pulls.svg", pulls.as_str()),
        ("latest-month.svg", "k/month</text>"),
        // There are eight, which are too few for everybody to know.
        ("companies.svg", ">&lt;10</text>"),
        ("version.svg", ">2."),
        (
            "pulls.svg?style=for-the-badge&color=red&logo=docker&label=downloads",
            ">DOWNLOADS</text>",
        ),
        ("pulls.svg?label=%3Cscript%3E&color=%22%3E%3Cscript%3E", ">&lt;script&gt;</text>"),
    ] {
        let word = file.split('.').next().unwrap();
        let answer = stranger.get(&format!("/badges/{}/{file}", id(whole, word)));
        let svg = text(&answer);
        assert_eq!(answer.status, 200, "{file}: {svg}");
        assert!(svg.contains(says) && !svg.contains("<script"), "{file}: {svg}");
        assert_eq!(answer.header("content-type"), Some("image/svg+xml; charset=utf-8"));
        assert!(answer.header("cache-control").unwrap().contains("public, max-age=300"));
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("cross-origin"));
    }
    let address = format!("/badges/{rocket}/pulls.svg");
    let etag = stranger.get(&address).header("etag").unwrap().to_owned();
    let known = stranger.ask("GET", &address, &[format!("If-None-Match: {etag}")], b"");
    assert_eq!((known.status, known.body.len()), (304, 0));
    let endpoint = text(&stranger.get(&format!("/badges/{rocket}/pulls.json")));
    let endpoint: Value = serde_json::from_str(&endpoint).unwrap();
    assert_eq!(
        (&endpoint["schemaVersion"], &endpoint["message"]),
        (&1.into(), &short(ever).into())
    );
    for absent in [
        format!("/badges/{}/pulls.svg", "0".repeat(24)),
        format!("/badges/{rocket}/x.svg"),
        // Who knows one badge's address does not know another's.
        format!("/badges/{rocket}/companies.svg"),
        format!("/badges/{rocket}/version.svg"),
    ] {
        assert_eq!(stranger.get(&absent).status, 404, "{absent}");
    }
    // Off, and on again, by an admin.
    let switch = "/settings/badges/registry.acme.example/acme/rocket";
    for (status, says) in [(404, "The badges of this package are off"), (200, "/pulls.svg")] {
        let shown = page(ada, ROCKET);
        assert_eq!(ada.send_form(&shown, switch, &[]).status, 303);
        assert!(page(ada, ROCKET).contains(says), "{says}");
        assert_eq!(stranger.get(&address).status, status);
    }
}

/// Who has not signed in is sent to where they can, whatever they ask for.
fn strangers_see_nothing(demo: &Demo) {
    let mut stranger = Person::at(demo.admin);
    for target in [
        "/",
        ROCKET,
        &download("?by=day"),
        "/live/registry.acme.example/acme/rocket",
        "/packages/registry.acme.example/acme/nothing",
    ] {
        let answer = stranger.get(target);
        assert_eq!(answer.status, 303, "{target}");
        assert!(answer.header("location").unwrap().starts_with("/sign-in"), "{target}");
        assert!(!text(&answer).contains("rocket"), "{target}");
    }
}

/// Of a package that its admin makes public everybody sees the counts, and of places those in which a crowd
/// was on one day; until then its page answers as one that is not there.
fn everybody_sees_what_the_threshold_allows(demo: &Demo, ada: &mut Person) {
    let mut stranger = Person::at(demo.admin);
    let public = "/public/registry.acme.example/acme/rocket";
    let absent = text(&stranger.get("/public/registry.acme.example/acme/nothing"));
    let answer = stranger.get(public);
    assert_eq!((answer.status, text(&answer)), (404, absent));
    let asked = "/api/v1/pulls?package=registry.acme.example/acme/rocket&by=company";
    let as_public = format!("{asked}&public=true");
    assert_eq!(stranger.get(&as_public).status, 401);
    let preview = page(ada, public);
    assert!(preview.contains("This package is not public"), "its people see what it would be");

    let shown = page(ada, ROCKET);
    let switch = "/settings/public/registry.acme.example/acme/rocket";
    assert_eq!(ada.send_form(&shown, switch, &[]).status, 303);
    assert!(page(ada, ROCKET).contains("Make private"));
    let answer = stranger.get(&format!("{public}?range=90d&more=true"));
    let whole = text(&answer);
    assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));
    assert!(!whole.contains("not public") && !whole.contains("data-live"), "{whole}");
    let of_people = page(ada, &format!("{ROCKET}?range=90d"));
    assert_eq!(of_id(&whole, "tile-pulls"), of_id(&of_people, "tile-pulls"));
    for shown in ["Pulls per day", ">2.4.0</a>", ">docker</a>", ">linux/amd64</a>", ">Germany<"] {
        assert!(whole.contains(shown), "{shown}: {whole}");
    }
    // What is not covered by the threshold is not there at all.
    assert!(!whole.contains("class=\"further\""), "{whole}");
    for never in ["region", "city", "kind", "cloud_region", "label", "digest", "delivery", "os"] {
        assert!(!whole.contains(&format!("id=\"{never}\"")), "{never}: {whole}");
        let file = format!("{}?by={never}", public.replace("public", "public-download"));
        assert_eq!(stranger.get(&file).status, 400, "{never}");
    }
    // Which companies had a crowd, its people are told.
    let rows = |answer: &str| -> Vec<(String, u64)> {
        let answer: Value = serde_json::from_str(answer).unwrap();
        let row = |row: &Value| {
            let company = row["company"].as_str().unwrap().to_owned();
            (company, row["public_days"].as_u64().unwrap())
        };
        answer["rows"].as_array().unwrap().iter().map(row).collect()
    };
    let all = page(&mut stranger, &format!("{public}?all=company"));
    let taken = format!("{}?by=company&format=csv", public.replace("public", "public-download"));
    let file = stranger.get(&taken);
    assert_eq!(file.header("cache-control"), Some("public, max-age=60"));
    let file = text(&file);
    assert!(file.starts_with("package,origin_company,pulls"), "{file}");
    let (mut hidden, mut seen) = (0, 0);
    for (company, crowds) in rows(&text(&ada.get(asked))) {
        if crowds == 0 && company != "unknown" {
            hidden += 1;
            assert!(!all.contains(&company) && !whole.contains(&company), "{company}");
            assert!(!file.contains(&company), "{company}: {file}");
        } else {
            assert_eq!(all.contains(&company), file.contains(&company), "{company}: {file}");
            seen += usize::from(all.contains(&company));
        }
    }
    assert!(hidden >= 2 && seen >= 2, "{hidden} hidden, {seen} seen: the demo shows both");
    // By the time nothing is told of companies and crowds, and the rest as its people have it.
    let hidden = ["monthly_companies", "public_days"];
    for by in ["day", "chart"] {
        let of = |page: &str, format: &str| {
            format!("{}?range=90d&by={by}&format={format}", public.replace("public", page))
        };
        let of_people = text(&ada.get(&of("download", "csv")));
        let of_all = text(&stranger.get(&of("public-download", "csv")));
        let columns = of_people.lines().next().unwrap().split(',');
        let columns: Vec<_> = columns.filter(|name| !hidden.contains(name)).collect();
        assert_eq!(of_all.lines().next().unwrap(), columns.join(","), "{by}");
        for name in columns {
            assert_eq!(column(&of_all, name), column(&of_people, name), "{by}: {name}");
        }
        assert!(sum_of(&of_people, hidden[0]) > 0, "there is something to hide: {of_people}");
        for line in text(&stranger.get(&of("public-download", "ndjson"))).lines() {
            assert!(!hidden.iter().any(|name| line.contains(name)), "{by}: {line}");
        }
    }
    let told = rows(&text(&stranger.get(&as_public)));
    assert!(told.iter().any(|(company, _)| company == "(other)"), "{told:?}");
    // Neither a filter nor a part of the time goes around that, nor does asking for all of it.
    for (target, status) in [
        (format!("{public}?company=Orbital+Freight+GmbH"), 400),
        (format!("{public}?tag=2.4.0&range=7d"), 200),
        (format!("{as_public}&only=tag=2.4.0"), 400),
        (format!("{as_public}&from=2026-01-01T00:00:00Z"), 400),
        (asked.to_owned(), 401),
        ("/live/registry.acme.example/acme/rocket".to_owned(), 303),
        (download("?by=company"), 303),
        (taken.replace("by=company", "by=company&company=Orbital+Freight+GmbH"), 400),
        (taken.replace("company", "label"), 400),
        (taken.replace("company", "digest"), 400),
        (taken.replace("company", "day&compare=true&range=30d"), 200),
        (taken.replace("company", "chart&compare=true&range=30d"), 200),
    ] {
        assert_eq!(stranger.get(&target).status, status, "{target}");
    }
    let bad = ["Authorization: Bearer pullgate_00".to_owned()];
    assert_eq!(stranger.ask("GET", &as_public, &bad, b"").status, 401);

    let shown = page(ada, ROCKET);
    assert_eq!(ada.send_form(&shown, switch, &[]).status, 303);
    assert_eq!(stranger.get(public).status, 404);
    assert_eq!(stranger.get(&taken).status, 404);
    assert_eq!(stranger.get(&as_public).status, 401);
    let history = page(ada, "/history?package=registry.acme.example/acme/rocket");
    assert_eq!(history.matches("package.publish").count(), 2, "{history}");
}

fn download(query: &str) -> String {
    format!("/download/registry.acme.example/acme/rocket{query}")
}

/// The pulls of all lines.
fn sum(csv: &str) -> u64 {
    sum_of(csv, "pulls")
}

/// This count of all lines.
fn sum_of(csv: &str, name: &str) -> u64 {
    column(csv, name).into_iter().map(|cell| cell.parse::<u64>().unwrap()).sum()
}

/// The cells below this title.
fn column<'c>(csv: &'c str, name: &str) -> Vec<&'c str> {
    let mut lines = csv.lines();
    let header: Vec<_> = lines.next().unwrap().split(',').collect();
    let at = header.iter().position(|one| *one == name).unwrap_or_else(|| panic!("{csv}"));
    lines.map(|line| line.rsplit(',').nth(header.len() - 1 - at).unwrap()).collect()
}

fn median(mut run: impl FnMut()) -> Duration {
    let mut took: Vec<_> = (0..21)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    took.sort();
    took[took.len() / 2]
}

/// A browser's side of server-sent events, from when the server hears it.
fn watch(demo: &Demo, person: &Person, package: &str) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(demo.admin).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let cookie = person.cookie.as_ref().unwrap();
    let (admin, package) = (demo.admin, package.replace('*', "%2A"));
    let request =
        format!("GET /live/{package} HTTP/1.1\r\nHost: {admin}\r\nCookie: {cookie}\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    assert!(line_with(&mut stream, "content-type").contains("text/event-stream"));
    line_with(&mut stream, ": watching");
    stream
}

fn line_with(stream: &mut BufReader<TcpStream>, mark: &str) -> String {
    let lines = lines_to(stream, mark);
    lines.lines().next_back().unwrap_or_default().to_owned()
}

/// All lines up to one that begins so.
fn lines_to(stream: &mut BufReader<TcpStream>, mark: &str) -> String {
    let mut lines = String::new();
    loop {
        let before = lines.len();
        assert!(stream.read_line(&mut lines).unwrap() > 0, "it has ended before {mark:?}: {lines}");
        if lines[before..].starts_with(mark) {
            return lines;
        }
    }
}

#[test]
fn in_a_browser_it_is_usable_by_keyboard_on_a_phone_and_in_the_dark() {
    let (demo, _) = Demo::start();
    let at = |path: &str| format!("http://{}{path}", demo.admin);
    let mut browser = Browser::start();
    browser.set_screen(DESK);

    // Signing in, and what was wanted before.
    browser.open(&at(&format!("{ROCKET}?range=7d")));
    sign_in(&mut browser);
    browser.until("!!document.getElementById('tile-pulls')");
    assert_eq!(browser.eval("location.pathname + location.search"), format!("{ROCKET}?range=7d"));
    watch_for_violations(&mut browser);

    // By keyboard: the first stop leads to the content, the chart tells its points.
    browser.press("Tab");
    assert_eq!(browser.eval("document.activeElement.getAttribute('href')"), "#main");
    browser.eval("document.querySelector('.plotted').focus()");
    browser.press("ArrowRight");
    browser.press("ArrowRight");
    let said = browser.eval("document.querySelector('p.pointed').textContent");
    assert!(said.as_str().unwrap().contains(" before"), "{said}");
    browser.eval("document.activeElement.blur()");

    // By pointer: a row filters, and goes again.
    let whole = browser.eval("document.getElementById('tile-pulls').textContent");
    browser.eval("[...document.querySelectorAll('.rows a')].find(it => it.textContent === 'Germany').click()");
    browser.until("location.search.includes('country=DE') && !!document.querySelector('.chips a')");
    assert_ne!(browser.eval("document.getElementById('tile-pulls').textContent"), whole);
    browser.eval("document.querySelector('.chips a').click()");
    browser.until(
        "!location.search.includes('country=DE') && !!document.getElementById('tile-pulls')",
    );

    // A pull is seen without loading anything anew, and the numbers follow.
    browser.open(&at("/packages/%2A/demo/hello?range=24h"));
    watch_for_violations(&mut browser);
    let before = browser.eval("document.getElementById('tile-pulls').textContent");
    browser.until("document.querySelector('.live').classList.contains('is-live')");
    demo.pull(42);
    browser.until("document.querySelectorAll('#live li').length === 1");
    let line = browser.eval("document.querySelector('#live li').textContent");
    assert!(line.as_str().unwrap().contains("latestdocker 28.5.2linux/amd64"), "{line}");
    browser.until(&format!("document.getElementById('tile-pulls').textContent !== {before}"));
    assert_eq!(browser.eval("window.violations.join()"), "");

    // Badges are pictures.
    browser.until("document.querySelectorAll('.badges img').length >= 4");
    browser
        .until("[...document.querySelectorAll('.badges img')].every(it => it.naturalWidth > 40)");

    // In the list too: which package it was, and what that makes of the totals.
    browser.open(&at("/?range=24h"));
    watch_for_violations(&mut browser);
    let of_all = "document.querySelector('[data-count=all]').textContent";
    let of_one = "[...document.querySelectorAll('.packages tr')].find(it => \
                  it.textContent.includes('demo/hello')).querySelector('[data-count]').textContent";
    let before = [of_all, of_one].map(|it| browser.eval(it));
    browser.until("document.querySelector('.live').classList.contains('is-live')");
    demo.pull(43);
    browser.until("document.querySelectorAll('#live li').length === 1");
    let line = browser.eval("document.querySelector('#live li').textContent");
    assert!(line.as_str().unwrap().contains("*/demo/hellolatestdocker 28.5.2"), "{line}");
    assert_eq!(browser.inaccessible(), "");
    for (now, before) in [of_all, of_one].into_iter().zip(before) {
        browser.until(&format!("{now} !== {before}"));
    }
    assert_eq!(browser.eval("window.violations.join()"), "");

    // A package is made and served, without a page loaded in between.
    browser.open(&at("/settings/package/%2A/demo/hello"));
    let lives_at = browser.eval("document.querySelector('dl code').textContent");
    browser.open(&at("/packages/new?organisation=acme"));
    watch_for_violations(&mut browser);
    send_new(&mut browser, &lives_at);
    let mut client = Connection::open(demo.gateway).unwrap();
    let host = ["Host: made.example".to_owned()];
    let answer = client.ask("GET", "/v2/demo/new/manifests/latest", &host, b"").unwrap();
    assert!(answer.status < 400, "{answer:?}");

    // Seen: at a desk, in the dark, and on a phone, where nothing is wider than the screen.
    let rocket = |range: &str| format!("{ROCKET}?range={range}");
    for (name, path, screen) in [
        ("packages", "/?range=30d".to_owned(), DESK),
        ("package", rocket("90d"), DESK),
        ("package-whole", rocket("30d"), Screen { height: 3000, ..DESK }),
        ("package-dark", rocket("30d"), Screen { is_dark: true, ..DESK }),
        ("package-phone", rocket("30d"), PHONE),
        ("packages-phone", "/".to_owned(), PHONE),
        ("package-new-phone", "/packages/new?organisation=acme".to_owned(), PHONE),
        ("package-settings", "/settings/package/made.example/demo/new".to_owned(), DESK),
    ] {
        browser.set_screen(screen);
        browser.open(&at(&path));
        let wide = browser.eval("document.documentElement.scrollWidth");
        assert!(wide.as_u64().unwrap() <= u64::from(screen.width), "{name} is {wide} wide");
        let ground = browser.eval("getComputedStyle(document.body).backgroundColor");
        assert_eq!(ground == "rgb(15, 20, 27)", screen.is_dark, "{name}: {ground}");
        browser.screenshot(&screenshots().join(format!("{name}.png")));
        assert_eq!(browser.inaccessible(), "", "{name}");
    }
}

/// A page asks for no more than somebody looks at, and for what it was refused again later. The test has the clock.
#[test]
fn a_page_that_is_hidden_is_left_alone_and_a_feed_that_is_refused_begins_again() {
    let (demo, ada) = Demo::start();
    let hello = format!("http://{}/packages/%2A/demo/hello?range=24h", demo.admin);
    let mut browser = Browser::start();
    // A page that watches nothing.
    browser.open(&format!("http://{}/account", demo.admin));
    sign_in(&mut browser);
    browser.until("location.pathname === '/account'");
    browser.before_pages(
        "window.waiting = []; window.asked = 0;
         window.setTimeout = (run, after) => window.waiting.push({ run, after });
         const ask = window.fetch;
         window.fetch = (...about) => { window.asked += 1; return ask(...about); };
         Object.defineProperty(Document.prototype, 'hidden', { get: () => window.isAway === true });",
    );
    let is_live = "document.querySelector('.live').classList.contains('is-live')";
    // What waits for so long runs now: a minute, or less.
    let run = |browser: &mut Browser, a_minute: bool| {
        browser.eval(&format!(
            "(() => {{ const due = window.waiting.filter(it => (it.after >= 60000) === {a_minute}); \
             window.waiting = window.waiting.filter(it => !due.includes(it)); \
             due.forEach(it => it.run()); return due.length; }})()"
        ))
    };

    // All seats of hers are taken.
    let seats: Vec<_> = (0..8).map(|_| watch(&demo, &ada, "*/demo/hello")).collect();
    browser.open(&hello);
    let state = "document.getElementById('live-state').textContent";
    browser.until(&format!("{state} === 'not connected; trying again in a minute'"));
    assert_eq!(browser.eval("window.waiting.map(it => it.after)"), serde_json::json!([60000]));
    drop(seats);
    // The seats are free once the server has seen that nobody is in them.
    eventually(|| {
        run(&mut browser, true);
        browser.until(&format!("{is_live} || window.waiting.length === 1"));
        match browser.eval(is_live) == true {
            true => Ok(()),
            false => Err("it is refused still".to_owned()),
        }
    });

    // Somebody looks: it is asked for what has changed.
    let tile = "document.getElementById('tile-pulls').textContent";
    let pulled = |browser: &mut Browser, source: u8| {
        let lines = "document.querySelectorAll('#live li').length";
        let before = browser.eval(lines);
        let told = browser.eval(tile);
        demo.pull(source);
        browser.until(&format!("{lines} > {before}"));
        assert_eq!(run(browser, false), 1, "one look for what came");
        told
    };
    let before = pulled(&mut browser, 51);
    browser.until(&format!("{tile} !== {before}"));
    assert_eq!(browser.eval("window.asked"), 1);
    // Nobody does: it is asked for nothing, until somebody does, and once.
    browser.eval("window.isAway = true");
    let before = pulled(&mut browser, 52);
    assert_eq!((browser.eval("window.asked"), browser.eval(tile)), (1.into(), before.clone()));
    browser.eval("window.isAway = false");
    for _ in 0..2 {
        browser.eval("document.dispatchEvent(new Event('visibilitychange'))");
    }
    browser.until(&format!("{tile} !== {before}"));
    assert_eq!(browser.eval("window.asked"), 2);
}

/// Whatever there is to see, by light, in the dark and on a phone.
#[test]
fn every_page_is_for_everybody() {
    let (demo, _) = Demo::start();
    let mut browser = Browser::start();
    browser.set_screen(DESK);
    let mut found = Vec::new();
    let mut visit = |browser: &mut Browser, name: &str, path: &str| {
        for (how, screen) in
            [("", DESK), ("-dark", Screen { is_dark: true, ..DESK }), ("-phone", PHONE)]
        {
            browser.set_screen(screen);
            browser.open(&format!("http://{}{path}", demo.admin));
            let name = format!("{name}{how}");
            browser.screenshot(&screenshots().join(format!("{name}.png")));
            let wide = browser.eval("document.documentElement.scrollWidth");
            if wide.as_u64().unwrap() > u64::from(screen.width) {
                found.push(format!("{name} is {wide} wide"));
            }
            if browser.eval("document.querySelectorAll('h1').length") != 1 {
                found.push(format!("{name} has not one heading that says what it is"));
            }
            let serious = browser.inaccessible();
            if !serious.is_empty() {
                found.push(format!("{name}: {serious}"));
            }
        }
    };
    for (name, path) in [("sign-in", "/sign-in"), ("set-up-used", "/set-up?key=0"), ("api", "/api")]
    {
        visit(&mut browser, name, path);
    }
    browser.open(&format!("http://{}/sign-in", demo.admin));
    sign_in(&mut browser);
    browser.until("location.pathname === '/'");
    for (name, path) in [
        ("account", "/account"),
        ("second-factor", "/account/second-factor"),
        ("places", "/people"),
        ("people", "/people?organisation=acme"),
        ("people-of-package", "/people?package=registry.acme.example/acme/rocket"),
        ("tokens", "/tokens"),
        ("organisations", "/organisations"),
        ("domains", "/domains?organisation=acme"),
        ("history", "/history?organisation=acme"),
        ("alerts", "/alerts/registry.acme.example/acme/rocket"),
        ("public", "/public/registry.acme.example/acme/rocket"),
        ("first-pull", "/first-pull/%2A/demo/hello"),
        ("settings", "/settings/package/%2A/demo/hello"),
        ("package-new", "/packages/new?organisation=acme"),
        ("package-more", "/packages/registry.acme.example/acme/rocket?more=true"),
        ("absent", "/packages/nothing"),
    ] {
        visit(&mut browser, name, path);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// At the page that asks for it.
fn sign_in(browser: &mut Browser) {
    browser.eval(&format!(
        "login.value = 'ada'; password.value = '{PASSWORD}'; document.querySelector('main button').click()"
    ));
}

/// What the page's policy has refused from now on is in `window.violations`.
fn watch_for_violations(browser: &mut Browser) {
    browser.eval(
        "window.violations = []; addEventListener('securitypolicyviolation', (event) => \
         window.violations.push(event.violatedDirective + ' ' + event.blockedURI)); 0",
    );
}

fn screenshots() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("screenshots")
}

const DESK: Screen = Screen { width: 1200, height: 900, is_dark: false };
const PHONE: Screen = Screen { width: 360, height: 740, is_dark: false };
