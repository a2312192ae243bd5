//! What happens to a request once its head is read, step by step: deciding, writing the answer, and
//! telling counting, each beside the plainest way to write it.

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use pullgate::messages::pulls::{self, Parcel};
use pullgate::pure::answer;
use pullgate::pure::client::ClientTable;
use pullgate::pure::config::check;
use pullgate::pure::decide::{Action, Known, decide};
use pullgate::pure::desk::OwnKeys;
use pullgate::pure::http1::encode::{Connection, Manner, Out};
use pullgate::pure::http1::head::{self, HeadLimits, RequestHead};
use pullgate::pure::limits::BUFFER_BYTES;
use pullgate::pure::observe::{Asker, observe};
use pullgate::pure::proof::Proofs;
use pullgate::pure::pull::event::Address;
use pullgate::pure::snapshot::{Circumstances, Snapshot};

const CONFIG: &str = "[[packages]]\ndomain = 'registry.acme.com'\nname = 'acme/rocket'\n\
                      backend = 'ghcr.io/acme/rocket'\ndelivery = 'redirect'\n";
const SENT: &[u8] = b"GET /v2/acme/rocket/manifests/v1.2.3 HTTP/1.1\r\nHost: registry.acme.com\r\n\
      User-Agent: docker/28.5.2 go/go1.24.7 git-commit/e180ab8 kernel/6.12.1 os/linux arch/amd64 \
      UpstreamClient(Docker-Client/28.5.2 \\(linux\\))\r\n\
      Accept: application/vnd.oci.image.index.v1+json\r\n\r\n";
const LIMITS: HeadLimits = HeadLimits { head_bytes: 16 * 1024, headers: 100 };
const DATE: &[u8; 29] = b"Mon, 23 Nov 2026 18:00:00 GMT";

fn turns(criterion: &mut Criterion) {
    let (Ok((config, _)), Ok(Some(head))) = (check("bench", CONFIG), head::parse(SENT, &LIMITS))
    else {
        unreachable!("both are good");
    };
    let clients = ClientTable::built_in();
    let circumstances = Circumstances { clients, via: "pullgate", before: None, now_us: 0 };
    let snapshot = Snapshot::build(&config, 1, circumstances);
    let (proofs, keys) = (Proofs::default(), OwnKeys::new(&[1; 32], None));
    let known = Known { snapshot: &snapshot, proofs: &proofs, keys: &keys, now_us: 1, unix_s: 1 };
    let action = decide(known, &head);
    assert!(matches!(action, Action::Redirect(_)));

    let mut group = criterion.benchmark_group("decide");
    group.bench_function("ours", |bencher| bencher.iter(|| decide(known, black_box(&head))));
    let packages = HashMap::from([(
        "registry.acme.com/acme/rocket".to_owned(),
        "https://ghcr.io/v2/acme/rocket".to_owned(),
    )]);
    group.bench_function("split and look up", |bencher| {
        bencher.iter(|| split_and_look_up(&packages, black_box(&head)));
    });
    group.finish();

    let mut group = criterion.benchmark_group("encode");
    let mut memory = vec![0; BUFFER_BYTES];
    let manner = Manner { date: DATE, head_only: false, connection: Connection::Stays };
    group.bench_function("ours", |bencher| {
        bencher.iter(|| {
            let mut out = Out::new(&mut memory, 0);
            answer::write(&mut out, &manner, black_box(&action));
            out.used()
        });
    });
    let location = "https://ghcr.io/v2/acme/rocket/manifests/v1.2.3".to_owned();
    group.bench_function("format", |bencher| bencher.iter(|| format_head(black_box(&location))));
    group.finish();

    let mut group = criterion.benchmark_group("observe");
    let (mut sender, receiver) = pulls::channel();
    let asker = Asker { at_us: 7, address: Address([1; 16]), connection: 1 };
    group.bench_function("ours, with its page", |bencher| {
        bencher.iter(|| {
            let event = observe(black_box(&action), &head, asker, None);
            let offered = event.is_some_and(|event| sender.offer(&event));
            // The aggregator's part, so that pages come home.
            while let Ok(parcel) = receiver.try_take() {
                if let Parcel::Page(page) = parcel {
                    receiver.give_back(page);
                }
            }
            offered
        });
    });
    let (lines, told) = std::sync::mpsc::channel();
    let address = [1_u8; 16];
    group.bench_function("a line of JSON in a channel", |bencher| {
        bencher.iter(|| {
            let line = serde_json::json!({
                "at": 7, "address": address, "name": "acme/rocket", "reference": "v1.2.3",
                "user_agent": String::from_utf8_lossy(black_box(&head).user_agent),
            });
            let _ = lines.send(line.to_string());
            told.try_recv().is_ok()
        });
    });
    group.finish();
}

fn split_and_look_up(packages: &HashMap<String, String>, head: &RequestHead<'_>) -> Option<String> {
    let path = std::str::from_utf8(head.path).ok()?;
    let (name, reference) = path.strip_prefix("/v2/")?.split_once("/manifests/")?;
    let host = std::str::from_utf8(head.host?).ok()?;
    let location = packages.get(&format!("{host}/{name}"))?;
    Some(format!("{location}/manifests/{reference}"))
}

fn format_head(location: &str) -> String {
    let date = String::from_utf8_lossy(DATE);
    format!(
        "HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\nContent-Length: 0\r\n\
         Date: {date}\r\n\r\n"
    )
}

criterion_group!(benches, turns);
criterion_main!(benches);
