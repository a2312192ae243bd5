//! Finding the rule for a host and a name among 10 to 1,000,000 packages, beside a map from the text
//! `host/name`; and making a snapshot of 100,000.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use pullgate::pure::client::ClientTable;
use pullgate::pure::config::check;
use pullgate::pure::config::values::Config;
use pullgate::pure::oci::name::Name;
use pullgate::pure::route::table::Table;
use pullgate::pure::snapshot::{Circumstances, Snapshot};

const HOST: &str = "registry.acme.com";
const SIZES: [usize; 4] = [10, 1_000, 100_000, 1_000_000];
/// Packages of the configuration that is put in force.
const SNAPSHOT: usize = 100_000;
/// Names that are asked for in turn: more than a cache holds of the largest table.
const ASKED: usize = 65_536;

fn name(number: usize) -> String {
    format!("acme/rocket-{number:07}")
}

fn text(size: usize) -> String {
    let mut text = String::new();
    for name in (0..size).map(name) {
        let _ = write!(
            text,
            "[[packages]]\ndomain = '{HOST}'\nname = '{name}'\nbackend = 'ghcr.io/{name}'\n"
        );
    }
    text
}

fn config(text: &str) -> Config {
    let Ok((config, _)) = check("packages", text) else {
        unreachable!("the configuration is good");
    };
    config
}

fn table(size: usize) -> Table {
    let config = config(&text(size));
    Table::build(&config.packages, &config.domains)
}

/// Numbers of packages, in no order.
fn asked(size: usize) -> Vec<String> {
    // Knuth's multiplicative hash.
    (0..ASKED).map(|number| name(number.wrapping_mul(2_654_435_761) % size)).collect()
}

fn routes(criterion: &mut Criterion) {
    for size in SIZES {
        let asked = asked(size);
        let mut group = criterion.benchmark_group(format!("route/{size}"));
        let ours = table(size);
        let mut turn = 0;
        group.bench_function("ours", |bencher| {
            bencher.iter(|| {
                turn = (turn + 1) % ASKED;
                let name = Name::parse(black_box(asked[turn].as_bytes())).ok();
                name.and_then(|name| ours.site(HOST.as_bytes()).find(name)).map(|it| it.location)
            });
        });
        let naive: HashMap<String, String> =
            (0..size).map(|number| (format!("{HOST}/{}", name(number)), name(number))).collect();
        group.bench_function("map of texts", |bencher| {
            bencher.iter(|| {
                turn = (turn + 1) % ASKED;
                naive.get(&format!("{HOST}/{}", black_box(&asked[turn]))).map(String::as_str)
            });
        });
        group.finish();
    }
}

/// What a changed configuration costs before it is in force: its text is read and checked, and a snapshot made of
/// it, beside the one in force.
fn snapshots(criterion: &mut Criterion) {
    let text = text(SNAPSHOT);
    let config = config(&text);
    let build = |before: Option<&Snapshot>| {
        let clients = ClientTable::built_in();
        let circumstances = Circumstances { clients, via: "pullgate", before, now_us: 0 };
        Snapshot::build(&config, 1, circumstances)
    };
    let before = build(None);
    let mut group = criterion.benchmark_group(format!("snapshot/{SNAPSHOT}"));
    group.sample_size(10);
    group.bench_function("read", |bencher| bencher.iter(|| check("packages", black_box(&text))));
    group.bench_function("built", |bencher| bencher.iter(|| build(black_box(Some(&before)))));
    group.finish();
}

criterion_group!(benches, routes, snapshots);
criterion_main!(benches);
