//! How long the dashboard takes for a page, from the request's first byte to the answer's last: the built program with
//! ninety days of the demo's pulls, and somebody who has signed in. The plainest page stands beside them: what is left
//! is that of the counts.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

use support::demo::Demo;

const PAGES: [(&str, &str); 4] = [
    ("a package, 90 days", "/packages/registry.acme.example/acme/rocket?range=90d"),
    ("a package, 30 days of one country", "/packages/registry.acme.example/acme/rocket?country=DE"),
    ("all packages, 90 days", "/?range=90d"),
    ("the account's own", "/account"),
];

fn pages(criterion: &mut Criterion) {
    let (_demo, mut ada) = Demo::start();
    let mut group = criterion.benchmark_group("page");
    group.sample_size(50).measurement_time(Duration::from_secs(10));
    for (name, target) in PAGES {
        let answer = ada.get(target);
        assert_eq!(answer.status, 200, "{target}");
        group.bench_function(name, |bencher| bencher.iter(|| ada.get(target)));
    }
    group.finish();
}

criterion_group!(benches, pages);
criterion_main!(benches);
