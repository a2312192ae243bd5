//! What reading a request head costs, beside httparse alone (which judges nothing) and beside a
//! reader that splits lines.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pullgate::pure::http1::head::{self, HeadLimits};

/// Docker 20.10's manifest request, and the smallest one there is.
const HEADS: [(&str, &str); 2] = [
    (
        "docker",
        "HEAD /v2/acme/app/manifests/multi HTTP/1.1\r\n\
         Host: gw.pg.test:5000\r\n\
         User-Agent: docker/20.10.24+dfsg1 go/go1.19.8 git-commit/5d6db84 kernel/6.1.0 os/linux \
         arch/amd64 UpstreamClient(Docker-Client/20.10.24+dfsg1 \\(linux\\))\r\n\
         Accept: application/vnd.docker.distribution.manifest.v2+json\r\n\
         Accept: application/vnd.docker.distribution.manifest.list.v2+json\r\n\
         Accept: application/vnd.oci.image.index.v1+json\r\n\
         Accept: application/vnd.oci.image.manifest.v1+json\r\n\
         Accept-Encoding: gzip\r\n\
         Connection: close\r\n\r\n",
    ),
    ("smallest", "GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n"),
];

const LIMITS: HeadLimits = HeadLimits { head_bytes: 16 * 1024, headers: 100 };

fn heads(criterion: &mut Criterion) {
    for (name, sent) in HEADS {
        let bytes = sent.as_bytes();
        assert!(matches!(head::parse(bytes, &LIMITS), Ok(Some(_))));
        let mut group = criterion.benchmark_group(format!("head/{name}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("ours", |bencher| {
            bencher.iter(|| head::parse(black_box(bytes), &LIMITS).is_ok());
        });
        group.bench_function("httparse alone", |bencher| {
            bencher.iter(|| {
                let mut fields = [httparse::EMPTY_HEADER; 100];
                httparse::Request::new(&mut fields).parse(black_box(bytes)).is_ok()
            });
        });
        group.bench_function("split lines", |bencher| {
            bencher.iter(|| split_lines(black_box(sent)));
        });
        group.finish();
    }
}

/// The naive reader: lines, words, and a list of fields.
fn split_lines(sent: &str) -> Option<usize> {
    let mut lines = sent.split("\r\n");
    let request_line: Vec<&str> = lines.next()?.split(' ').collect();
    let fields: Vec<(String, &str)> = lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim()))
        .collect();
    Some(black_box(request_line).len() + black_box(fields).len())
}

criterion_group!(benches, heads);
criterion_main!(benches);
