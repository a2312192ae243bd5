//! What happens to a request once its head is read, step by step: deciding, writing the answer, and
//! telling counting, each beside the plainest way to write it.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::mpsc::channel;

use criterion::{Criterion, criterion_group, criterion_main};
use pullgate::pure::http1::head::RequestHead;

#[path = "support/steps.rs"]
mod steps;

fn turns(criterion: &mut Criterion) {
    let (head, steps) = steps::steps();
    for (name, mut ours) in steps.into_iter().filter(|(name, _)| *name != "head") {
        let mut group = criterion.benchmark_group(name);
        group.bench_function("ours", |bencher| bencher.iter(&mut ours));
        let (what, mut naive) = twin(name, head);
        group.bench_function(what, |bencher| bencher.iter(&mut naive));
        group.finish();
    }
}

/// The plainest way to do a step.
fn twin(step: &str, head: &'static RequestHead<'_>) -> (&'static str, steps::Step) {
    match step {
        "decide" => {
            let name = "registry.acme.com/acme/rocket".to_owned();
            let packages = HashMap::from([(name, "https://ghcr.io/v2/acme/rocket".to_owned())]);
            let decide = move || drop(black_box(split_and_look_up(&packages, black_box(head))));
            ("split and look up", Box::new(decide))
        }
        "encode" => {
            let location = "https://ghcr.io/v2/acme/rocket/manifests/v1.2.3";
            ("format", Box::new(move || drop(black_box(format_head(black_box(location))))))
        }
        _ => {
            let (lines, told) = channel();
            let address = [1_u8; 16];
            let observe = move || {
                let line = serde_json::json!({
                    "at": 7, "address": address, "name": "acme/rocket", "reference": "v1.2.3",
                    "user_agent": String::from_utf8_lossy(black_box(head).user_agent),
                });
                let _ = lines.send(line.to_string());
                let _ = black_box(told.try_recv());
            };
            ("a line of JSON in a channel", Box::new(observe))
        }
    }
}

fn split_and_look_up(packages: &HashMap<String, String>, head: &RequestHead<'_>) -> Option<String> {
    let path = std::str::from_utf8(head.path).ok()?;
    let (name, reference) = path.strip_prefix("/v2/")?.split_once("/manifests/")?;
    let host = std::str::from_utf8(head.host?).ok()?;
    let location = packages.get(&format!("{host}/{name}"))?;
    Some(format!("{location}/manifests/{reference}"))
}

fn format_head(location: &str) -> String {
    let date = String::from_utf8_lossy(steps::DATE);
    format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\
         Date: {date}\r\n\r\n"
    )
}

criterion_group!(benches, turns);
criterion_main!(benches);
