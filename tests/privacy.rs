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
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use support::eventually::eventually;
use support::gate::{DRIVERS, Gate, pullgate};
use support::http::{Connection, get};
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
                 [[packages]]\ndomain = \"*\"\nname = \"acme/rocket\"\n\
                 backend = \"ghcr.io/acme/rocket\"\ndelivery = \"redirect\"\n",
                access_file.display()
            ),
        );
        for address in [V4.to_string(), V6.to_string(), V4.to_ipv6_mapped().to_string()] {
            pull_as(&gate, &address, "X-Nothing: 1");
        }
        pull_as(&gate, &V6.to_string(), "DNT: 1");
        pull_as(&gate, &V6.to_string(), "sec-gpc: 1");
        let said = ["/metrics", "/readyz", "/nothing"].map(|path| get(gate.admin(), path).unwrap());
        let mut written: Vec<(String, Vec<u8>)> =
            said.map(|answer| ("the admin listener".to_owned(), answer.body)).into();
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
        let data = gate.data_dir();
        for by in ["day,tag", "minute,client", "city", "network,day", "company,tag"] {
            for format in ["csv", "ndjson"] {
                let exported =
                    run(pullgate_on(&data, "export").args(["--format", format, "--by", by]));
                assert!(exported.contains("acme/rocket"), "{exported}");
                written.push((format!("export --by {by}"), exported.into_bytes()));
            }
        }
        let erase = ["--package", "*/acme/rocket"];
        written.push(("erase".to_owned(), run(pullgate_on(&data, "erase").args(erase)).into()));
        for file in files_below(&data) {
            written.push((file.display().to_string(), fs::read(&file).unwrap()));
        }
        run(pullgate_on(&data, "erase").args(erase).arg("--yes"));
        gate.stop();
        assert!(fs::read_to_string(&access_file).unwrap().contains("/v2/acme/rocket/manifests/"));
        let directory = gate.config_file().parent().unwrap().to_owned();
        for file in files_below(&directory).into_iter().chain([access_file]) {
            written.push((file.display().to_string(), fs::read(&file).unwrap()));
        }
        assert!(written.len() > 8, "the store's files are among them");
        for (place, bytes) in &written {
            for (form, needle) in forms() {
                let found = bytes.windows(needle.len()).any(|window| window == needle);
                assert!(!found, "{form} is in {place} on {driver}");
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
        let octets = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        for input in [octets, address.to_string().into_bytes()] {
            let digest = <sha2::Sha256 as sha2::Digest>::digest(&input);
            forms.push(("a hash of an address", digest[..8].to_vec()));
            forms.push(("a checksum of an address", crc32fast::hash(&input).to_string().into()));
        }
    }
    forms
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
