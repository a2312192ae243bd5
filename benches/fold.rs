//! Folding, beside the plainest way to write it: a map from texts to the list of what was asked.

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use pullgate::pure::pull::event::{Address, Asked, Outcome, Way};
use pullgate::pure::pull::fold::{Fold, Request};
use pullgate::pure::pull::window::TagRow;

const CLIENTS: u32 = 20_000;
const WINDOW_US: u64 = 60_000_000;
const INDEX: &[u8] = b"sha256:1111111111111111111111111111111111111111111111111111111111111111";
const CHILD: &[u8] = b"sha256:2222222222222222222222222222222222222222222222222222222222222222";

/// What docker sends for a multi-arch tag, of many clients at once.
fn requests() -> Vec<Request<'static>> {
    let steps: [(Asked, &[u8]); 4] = [
        (Asked::ManifestHead, b"latest"),
        (Asked::Manifest, INDEX),
        (Asked::Manifest, CHILD),
        (Asked::Blob, CHILD),
    ];
    let mut requests = Vec::new();
    for (asked, reference) in steps {
        for client in 0..CLIENTS {
            let mut source = [0; 16];
            source[12..].copy_from_slice(&client.to_be_bytes());
            requests.push(Request {
                at_us: requests.len() as u64,
                minute: 1,
                source: Address(source),
                connection: u64::from(client),
                asked,
                outcome: Outcome::Redirected,
                way: Way::Redirect,
                package: client % 100,
                package_identity: b"registry.acme.com/acme/rocket",
                client: 1,
                family: "docker",
                major: "28",
                reference,
                row: TagRow(TagRow::FIRST),
                digest: b"",
                kin: b"",
                bytes: 0,
            });
        }
    }
    requests
}

fn fold(requests: &[Request<'_>]) -> u64 {
    let mut fold = Fold::new([7; 16], WINDOW_US);
    let mut pulls = 0;
    let mut book = |booking: pullgate::pure::pull::fold::Booking| pulls += booking.measures.pulls;
    for request in requests {
        fold.take(request, &mut || 0, &mut book);
    }
    fold.close(&mut book);
    pulls
}

/// Keeps every request and looks at the lists at the end.
fn naive(requests: &[Request<'_>]) -> u64 {
    let mut windows: HashMap<(String, String), Vec<(Asked, String)>> = HashMap::new();
    for request in requests {
        let client = format!("{:?} {} {}", request.source, request.family, request.major);
        let package = String::from_utf8_lossy(request.package_identity).into_owned();
        let reference = String::from_utf8_lossy(request.reference).into_owned();
        windows.entry((client, package)).or_default().push((request.asked, reference));
    }
    let is_pull =
        |asked: &Vec<(Asked, String)>| asked.iter().any(|(asked, _)| *asked == Asked::Manifest);
    windows.values().filter(|asked| is_pull(asked)).count() as u64
}

fn bench(criterion: &mut Criterion) {
    let requests = requests();
    assert_eq!(fold(&requests), naive(&requests));
    let mut group = criterion.benchmark_group("fold");
    group.throughput(Throughput::Elements(requests.len() as u64)).sample_size(20);
    let input = || &requests;
    group.bench_function("fold", |bench| {
        bench.iter_batched(input, |requests| black_box(fold(requests)), BatchSize::LargeInput);
    });
    group.bench_function("naive", |bench| {
        bench.iter_batched(input, |requests| black_box(naive(requests)), BatchSize::LargeInput);
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
