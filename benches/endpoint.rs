//! What telling an endpoint by its path costs, and reading a name, beside readers that split segments
//! and check them letter by letter.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use pullgate::pure::oci::endpoint::Endpoint;
use pullgate::pure::oci::name::Name;

const PATHS: [(&str, &str); 3] = [
    ("tag", "/v2/acme/rocket/manifests/v1.2.3"),
    (
        "blob",
        "/v2/acme/rocket/blobs/sha256:\
         5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
    ),
    ("base", "/v2/"),
];

fn endpoints(criterion: &mut Criterion) {
    for (name, path) in PATHS {
        assert!(Endpoint::parse(path.as_bytes()).is_ok());
        assert!(split_segments(path));
        let mut group = criterion.benchmark_group(format!("endpoint/{name}"));
        group.bench_function("ours", |bencher| {
            bencher.iter(|| Endpoint::parse(black_box(path.as_bytes())).is_ok());
        });
        group.bench_function("split segments", |bencher| {
            bencher.iter(|| split_segments(black_box(path)));
        });
        group.finish();
    }
}

fn names(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("name");
    let name = "acme-inc/products/rocket_launcher.v2";
    group.bench_function("ours", |bencher| {
        bencher.iter(|| Name::parse(black_box(name.as_bytes())).is_ok());
    });
    group.bench_function("letter by letter", |bencher| {
        bencher.iter(|| letter_by_letter(black_box(name)));
    });
    group.finish();
}

/// The naive reader: each component's letters, without the grammar's finer points.
fn letter_by_letter(name: &str) -> bool {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    name.split('/').all(|component| !component.is_empty() && component.chars().all(is_allowed))
}

/// The naive reader: a list of segments, each checked without its grammar's finer points.
fn split_segments(path: &str) -> bool {
    let segments: Vec<&str> = path.split('/').collect();
    let allowed =
        |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "._-:".contains(c));
    match segments.as_slice() {
        ["", "v2", ""] => true,
        ["", "v2", name @ .., "manifests" | "blobs", reference] => {
            let name = name.join("/");
            !name.is_empty() && name.split('/').all(allowed) && allowed(reference)
        }
        _ => false,
    }
}

criterion_group!(benches, endpoints, names);
criterion_main!(benches);
