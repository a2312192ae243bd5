//! Addresses are used and forgotten: after pulls from known addresses none of them is in anything
//! that the gateway has written or says, in no form.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod support;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use pullgate::aggregator::By;
use pullgate::pure::base64;
use pullgate::pure::http1::forwarded::client_key;
use ring::digest;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate, pullgate};
use support::http::{Connection, get};
use support::person::{Person, ROCKET, text};
use support::process::run;

/// Addresses that appear nowhere by themselves.
const V4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);
const V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x4711, 0x815, 0xdead, 0xbeef, 0xcafe, 0xf00d);

#[test]
fn no_address_is_in_any_file_log_metric_or_answer() {
    for driver in DRIVERS {
        let logs = tempfile::tempdir().unwrap();
        let access_file = logs.path().join("access.log");
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/places");
        let databases = ["flat-country", "flat-city", "flat-company", "GeoLite2-ASN-Test"]
            .map(|name| format!("{:?}", golden.join(name).with_extension("mmdb")))
            .join(", ");
        let mut gate = Gate::start(
            driver,
            &format!(
                "trusted_proxies = [\"127.0.0.1\"]\n\
                 [insight]\ncities = true\ndatabases = [{databases}]\n\
                 [log]\nlevel = \"trace\"\nformat = \"json\"\naccess = \"json\"\n\
                 access_file = \"{}\"\n\
                 [[packages]]\ndomain = \"registry.acme.com\"\nname = \"acme/rocket\"\n\
                 backend = \"ghcr.io/acme/rocket\"\ndelivery = \"redirect\"\npublic = true\n",
                access_file.display()
            ),
        );
        let mut ada = Person::created(&gate, "ada", &["--organisation", "acme", "--role", "admin"]);
        let mut live = watched(&gate, &ada);
        for address in [V4.to_string(), V6.to_string(), V4.to_ipv6_mapped().to_string()] {
            pull_as(&gate, &address, "X-Nothing: 1");
        }
        pull_as(&gate, &V6.to_string(), "DNT: 1");
        pull_as(&gate, &V6.to_string(), "sec-gpc: 1");
        let said = ["/metrics", "/readyz", "/nothing"].map(|path| get(gate.admin(), path).unwrap());
        let mut written: Vec<(String, Vec<u8>)> =
            said.map(|answer| ("the admin listener".to_owned(), answer.body)).into();
        let event = live.until("data: ").unwrap();
        assert!(event.contains("docker"), "{event}");
        written.push(("the live feed".to_owned(), event.into()));
        let pairs = ["tag,client", "country,tag", "company,tag", "domain,country,day"];
        for by in By::EVERY.map(By::as_str).into_iter().chain(pairs) {
            let rows = eventually(|| match gate.pulls(&["--by", by]).to_string() {
                rows if rows.contains("acme/rocket") || by.starts_with("domain") => Ok(rows),
                rows => Err(rows),
            });
            written.push((format!("pulls --by {by}"), rows.into_bytes()));
        }
        // The databases were asked.
        let countries = eventually(|| match gate.pulls(&["--by", "country"]).to_string() {
            rows if rows.contains("FR") && rows.contains("US") => Ok(rows),
            rows => Err(rows),
        });
        written.push(("pulls --by country".to_owned(), countries.into_bytes()));
        read_all(&mut ada, &mut written);
        let explained = run(pullgate_on(&gate.data_dir(), "explain").arg(ROCKET));
        written.push(("explain".to_owned(), explained.into()));
        let data = gate.data_dir();
        for by in ["day,tag", "minute,client", "city", "network,day", "company,tag"] {
            for format in ["csv", "ndjson"] {
                let exported =
                    run(pullgate_on(&data, "export").args(["--format", format, "--by", by]));
                assert!(exported.contains("acme/rocket"), "{exported}");
                written.push((format!("export --by {by}"), exported.into_bytes()));
            }
        }
        let erase = ["--package", ROCKET];
        written.push(("erase".to_owned(), run(pullgate_on(&data, "erase").args(erase)).into()));
        for file in files_below(&data) {
            written.push((file.display().to_string(), fs::read(&file).unwrap()));
        }
        run(pullgate_on(&data, "erase").args(erase).arg("--yes"));
        written.push(("the log".to_owned(), gate.words().into()));
        gate.stop();
        assert!(fs::read_to_string(&access_file).unwrap().contains("/v2/acme/rocket/manifests/"));
        let directory = gate.config_file().parent().unwrap().to_owned();
        for file in files_below(&directory).into_iter().chain([access_file]) {
            written.push((file.display().to_string(), fs::read(&file).unwrap()));
        }
        assert!(written.len() > 8, "the store's files are among them");
        let forms = forms();
        let mut begins = vec![false; 1 << 16];
        for (_, needle) in &forms {
            begins[usize::from(u16::from_be_bytes([needle[0], needle[1]]))] = true;
        }
        for (place, bytes) in &written {
            // One look at each byte, however many forms there are.
            for (at, two) in bytes.windows(2).enumerate() {
                if begins[usize::from(u16::from_be_bytes([two[0], two[1]]))] {
                    let found = forms.iter().find(|(_, needle)| bytes[at..].starts_with(needle));
                    assert!(found.is_none(), "{found:?} is in {place} on {driver}");
                }
            }
        }
    }
}

/// What a core dump holds is all of the process' memory: there is none, whatever the limits allow,
/// unless the configuration says so.
#[test]
fn a_crash_leaves_no_core_dump_unless_that_is_wanted() {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let is_file = !pattern.starts_with(['|', '/']);
    for (key, expected) in [("", false), ("core_dumps = true\n", is_file)] {
        let packages = "[[packages]]\ndomain = \"*\"\nname = \"acme/rocket\"\n\
                        backend = \"ghcr.io/acme/rocket\"\ndelivery = \"redirect\"\n";
        // A core file would stand beside the configuration, and go with it.
        let mut gate = Gate::start_with(DRIVERS[1], &format!("{key}{packages}"), |command| {
            let config = PathBuf::from(command.get_args().last().unwrap());
            command.current_dir(config.parent().unwrap());
        });
        let pid = Pid::from_raw(gate.process().id().cast_signed()).unwrap();
        let all = Rlimit { current: None, maximum: None };
        prlimit(Some(pid), Resource::Core, all).unwrap();
        gate.process().signal(Signal::ABORT);
        let status = gate.process().wait();
        assert_eq!((status.signal(), status.core_dumped()), (Some(6), expected), "{key}");
    }
}

/// A file that changes is read while the gateway runs; one that is damaged changes nothing, also where
/// it was overwritten in its place.
#[test]
fn a_database_is_swapped_while_the_gateway_runs() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/places");
    let sound = fs::read(golden.join("GeoLite2-Country-Test.mmdb")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("places.mmdb");
    // Of 81.2.69.160 this one knows nothing.
    fs::copy(golden.join("GeoLite2-ASN-Test.mmdb"), &path).unwrap();
    let gate = Gate::start(
        DRIVERS[0],
        &format!(
            "trusted_proxies = [\"127.0.0.1\"]\n[insight]\ndatabases = [{path:?}]\n\
             [[packages]]\ndomain = \"*\"\nname = \"acme/rocket\"\n\
             backend = \"ghcr.io/acme/rocket\"\ndelivery = \"redirect\"\n"
        ),
    );
    let reloads = |outcome: &str, expected: u64| {
        let series = format!("pullgate_reloads_total{{outcome=\"{outcome}\"}}");
        eventually(|| match gate.metric(&series) {
            times if times >= expected => Ok(()),
            times => Err(format!("{series} {times}")),
        });
    };
    let mut pulled = 0;
    let mut countries = |expected: &[(&str, u64)]| {
        // Each from a network of its own, so that none folds with another.
        pulled += 1;
        let mut connection = Connection::open(gate.address()).unwrap();
        let headers = [
            "Host: registry.acme.com".to_owned(),
            format!("X-Forwarded-For: 81.2.69.{}", 160 + pulled),
        ];
        let target = "/v2/acme/rocket/manifests/latest";
        assert_eq!(connection.ask("GET", target, &headers, b"").unwrap().status, 307);
        eventually(|| {
            let answer = gate.pulls(&["--by", "country"]);
            let row = |row: &serde_json::Value| {
                (row["country"].as_str().unwrap().to_owned(), row["pulls"].as_u64().unwrap())
            };
            let told: Vec<_> = answer["rows"].as_array().unwrap().iter().map(row).collect();
            let is_so =
                told.iter().map(|(country, pulls)| (&**country, *pulls)).eq(expected.to_vec());
            if is_so { Ok(()) } else { Err(format!("{told:?}")) }
        });
    };
    countries(&[("unknown", 1)]);
    fs::write(&path, &sound).unwrap();
    reloads("applied", 1);
    countries(&[("GB", 1), ("unknown", 1)]);
    fs::write(&path, &sound[..sound.len() / 2]).unwrap();
    reloads("refused", 1);
    countries(&[("GB", 2), ("unknown", 1)]);
}

fn pullgate_on(data: &Path, command: &str) -> Command {
    let mut pullgate = Command::new(pullgate());
    pullgate.arg(command).arg("--data").arg(data);
    pullgate
}

/// What a client at `address` asks for in a pull, good and bad requests mixed.
fn pull_as(gate: &Gate, address: &str, header: &str) {
    let mut connection = Connection::open(gate.address()).unwrap();
    let headers = [
        "Host: registry.acme.com".to_owned(),
        "User-Agent: docker/28.5.2 go/go1.24 os/linux arch/amd64".to_owned(),
        format!("X-Forwarded-For: {address}"),
        header.to_owned(),
    ];
    for target in [
        "/v2/acme/rocket/manifests/latest",
        "/v2/acme/rocket/manifests/1.0?digest=none",
        "/v2/acme/unknown/manifests/latest",
        "/v2/acme/../rocket/manifests/latest",
    ] {
        connection.ask("GET", target, &headers, b"").unwrap();
    }
}

/// The addresses as text, as bytes in either order, and as what a hash without a key makes of them.
fn forms() -> Vec<(&'static str, Vec<u8>)> {
    let mut forms: Vec<(&str, Vec<u8>)> = vec![
        ("an IPv4 address in text", V4.to_string().into()),
        ("an IPv4 address in text", "203.0.113.".into()),
        ("an IPv6 address in text", V6.to_string().into()),
        ("an IPv6 network in text", "2001:db8:4711".into()),
        ("an IPv4 address in bytes", V4.octets().into()),
        ("an IPv6 address in bytes", V6.octets().into()),
        ("an IPv6 network in bytes", V6.octets()[..8].into()),
        ("a mapped address in bytes", V4.to_ipv6_mapped().octets().into()),
    ];
    let reversed: Vec<_> = forms[4..]
        .iter()
        .map(|(form, bytes)| (*form, bytes.iter().rev().copied().collect()))
        .collect();
    forms.extend(reversed);
    for address in [IpAddr::V4(V4), IpAddr::V6(V6)] {
        let text = address.to_string().into_bytes();
        // What clients are told apart by: of an IPv6 address its network.
        let inputs = match address {
            IpAddr::V4(v4) => {
                [text, v4.octets().into(), v4.to_ipv6_mapped().octets().into()].to_vec()
            }
            IpAddr::V6(v6) => {
                let key = client_key(v6.octets());
                assert_eq!(key[8..], [0; 8], "of a /64");
                [text, v6.octets().into(), key.into(), key[..8].into()].to_vec()
            }
        };
        for input in inputs {
            for algorithm in [&digest::SHA256, &digest::SHA1_FOR_LEGACY_USE_ONLY] {
                // The first bytes of one: it may be cut short, or written down in other ways.
                let digest = digest::digest(algorithm, &input);
                let begin = &digest.as_ref()[..9];
                let hex: String = begin.iter().map(|byte| format!("{byte:02x}")).collect();
                let base64 = base64::encode(begin);
                let of_urls = base64.replace('+', "-").replace('/', "_");
                forms.push(("a hash of an address", begin[..8].to_vec()));
                forms.push(("a hash of an address in hex", hex[..16].to_uppercase().into()));
                forms.push(("a hash of an address in hex", hex[..16].into()));
                forms.push(("a hash of an address in base64", base64.into()));
                forms.push(("a hash of an address in base64", of_urls.into()));
            }
            forms.push(("a checksum of an address", crc32fast::hash(&input).to_string().into()));
        }
    }
    forms
}

/// Against what other programs make of the address.
#[test]
fn the_forms_that_are_looked_for_are_what_is_known_of_them() {
    let is_there = |needle: &[u8]| forms().iter().any(|(_, form)| form == needle);
    // printf 203.0.113.77 | sha256sum, | sha1sum, and | openssl sha256 -binary | base64
    assert!(is_there(b"DCVDSwnGIEb4"));
    assert!(is_there(b"0c25434b09c62046") && is_there(b"d90b45918f897c2d"));
    assert!(is_there(&V6.octets()[..8]), "a network");
}

/// A page's feed of the package's pulls.
fn watched(gate: &Gate, ada: &Person) -> Connection {
    let mut live = Connection::open(gate.admin()).unwrap();
    let cookie = ada.cookie.clone().unwrap();
    let head = format!(
        "GET /live/{ROCKET} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n",
        gate.admin()
    );
    live.send(head.as_bytes()).unwrap();
    assert_eq!(live.head().unwrap().status, 200);
    live
}

/// What people and programs read of the package at the dashboard, and what everybody does.
fn read_all(ada: &mut Person, written: &mut Vec<(String, Vec<u8>)>) {
    let mut targets: Vec<String> =
        ["", "?all=country", "?all=city", "?all=network", "?measure=daily_uniques"]
            .map(|query| format!("/packages/{ROCKET}{query}"))
            .into();
    targets.extend(["/", "/people?organisation=acme", "/tokens", "/account"].map(str::to_owned));
    let pages = ["history?package=", "public/", "download/", "public-download/"];
    targets.extend(pages.map(|page| format!("/{page}{ROCKET}")));
    targets.push("/download".to_owned());
    for by in By::EVERY.map(By::as_str) {
        targets.push(format!("/api/v1/pulls?package={ROCKET}&by={by}"));
        targets.push(format!("/api/v1/export?package={ROCKET}&by={by}&format=csv"));
    }
    for by in ["country", "company", "network", "cloud", "tag", "day"] {
        targets.push(format!("/api/v1/pulls?package={ROCKET}&public=true&by={by}"));
    }
    targets.extend(["packages", "tokens", "organisations"].map(|list| format!("/api/v1/{list}")));
    targets.extend(["people", "audit"].map(|list| format!("/api/v1/{list}?organisation=acme")));
    targets.extend(
        ["settings", "badges", "alerts"].map(|of| format!("/api/v1/{of}?package={ROCKET}")),
    );
    let mut badges = 0;
    while let Some(target) = targets.pop() {
        let answer = ada.get(&target);
        assert_eq!(answer.status, 200, "{target}: {}", text(&answer));
        if target.contains("/badges?") {
            let told: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            let told = told["badges"].as_array().unwrap().iter();
            let addresses =
                told.flat_map(|badge| ["svg", "json"].map(|key| badge[key].to_string()));
            let at = |address: String| {
                let path = &address[address.find("/badges/").unwrap()..];
                path.trim_end_matches('"').to_owned()
            };
            let addresses: Vec<String> = addresses.map(at).collect();
            badges = addresses.len();
            targets.extend(addresses);
        }
        written.push((target, answer.body));
    }
    assert!(badges > 2, "their addresses are known");
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.is_file() {
            files.push(path);
        }
    }
    files
}
