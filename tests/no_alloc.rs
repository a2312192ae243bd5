//! The request path allocates nothing: parse, route, decide, encode, observe and the page, with an
//! allocator that counts. A program of its own, because the allocator is the whole program's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::rc::Rc;

use pullgate::messages::pulls;
use pullgate::pure::answer;
use pullgate::pure::cache::{Body, Held, Recent, Serving};
use pullgate::pure::certificates::Names;
use pullgate::pure::client::ClientTable;
use pullgate::pure::config::check::check;
use pullgate::pure::decide::{Action, Known, decide};
use pullgate::pure::desk::OwnKeys;
use pullgate::pure::door::Door;
use pullgate::pure::http1::encode::{Connection, Manner, Out};
use pullgate::pure::http1::head;
use pullgate::pure::http1::relayed::{self, Relayed};
use pullgate::pure::limits::BUFFER_BYTES;
use pullgate::pure::observe::{Asker, observe};
use pullgate::pure::proof::{Proof, Proofs, RegistryProof};
use pullgate::pure::pull::event::Address;
use pullgate::pure::snapshot::{Circumstances, Snapshot};

/// Counts what this thread asks the system for.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the same promise to us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: `memory` came from `alloc` above with this layout.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations_of(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// Long after everything was found out.
const HOUR_US: u64 = 3_600_000_000;

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations_of(|| drop(black_box(Box::new(7)))), 1);
}

#[test]
fn a_request_is_answered_and_told_to_counting_without_allocating() {
    let config = r#"
[gateway]
listen_tls = ["127.0.0.1:8443"]

[[packages]]
domain = "registry.acme.com"
name = "acme/rocket"
backend = "ghcr.io/acme/rocket"
delivery = "redirect"

[[packages]]
domain = "ghcr.acme.com"
name = "acme/*"
backend = "ghcr.io/acme/*"

[[packages]]
domain = "private.acme.com"
name = "acme/rocket"
backend = "ghcr.io/acme/rocket"
credentials = "client"

[[packages]]
domain = "kept.acme.com"
name = "acme/rocket"
backend = "ghcr.io/acme/rocket"
delivery = "broker"

[[packages]]
domain = "*"
name = "tools/**"
backend = "ghcr.io/acme/**"
delivery = "redirect"
"#;
    let (config, _) = check("test", config).expect("a configuration");
    let clients = ClientTable::built_in();
    let circumstances = Circumstances { clients, via: "pullgate", before: None, now_us: 0 };
    let snapshot = Snapshot::build(&config, 1, circumstances);
    let challenge = Some("Bearer realm=\"https://ghcr.io/token\"".to_owned());
    let proofs = Proofs::build(
        7,
        [("https://ghcr.io/v2/acme/rocket".to_owned(), Proof::WithToken)],
        [("https://ghcr.io/v2/".to_owned(), RegistryProof { challenge, since_us: 0 })],
    );
    let keys = OwnKeys::new(&[1; 32], None);
    let certified: [Box<str>; 2] = ["*.acme.org".into(), "tls.acme.com".into()];
    let names = Names::new([&certified[..]]);
    let (mut sender, receiver) = pulls::channel();
    let mut memory = vec![0; BUFFER_BYTES];
    let requests = [
        ("docker/28.5.2", "registry.acme.com", "GET /v2/acme/rocket/manifests/latest"),
        ("docker/28.5.2", "registry.acme.com", "HEAD /v2/acme/rocket/manifests/latest"),
        ("docker/28.5.2", "registry.acme.com", "GET /v2/"),
        ("docker/28.5.2", "registry.acme.com", "GET /v2/acme/rocket/tags/list?n=3"),
        ("docker/28.5.2", "registry.acme.com", "GET /v2/tools/a/b/c/manifests/1.0"),
        ("docker/28.5.2", "registry.acme.com", "GET /v2/acme/unknown/manifests/latest"),
        ("docker/28.5.2", "registry.acme.com", "GET /v2/acme/../rocket/manifests/latest"),
        ("docker/28.5.2", "registry.acme.com", "POST /v2/acme/rocket/blobs/uploads/"),
        // Only with `auto` it matters who asks.
        ("docker/28.5.2", "ghcr.acme.com", "GET /v2/acme/rocket/manifests/latest"),
        ("containerd/2.1.4", "ghcr.acme.com", "GET /v2/acme/rocket/manifests/latest"),
        ("containerd/1.5.4", "ghcr.acme.com", "GET /v2/acme/rocket/manifests/latest"),
        ("containerd/2.1.4", "ghcr.acme.com", "GET /v2/acme/lander/manifests/latest"),
        ("x (WindowsPowerShell/5.1)", "ghcr.acme.com", "GET /v2/acme/rocket/manifests/latest"),
        ("Watchtower (Docker)", "ghcr.acme.com", "GET /v2/"),
        ("Watchtower", "ghcr.acme.com", "GET /token?scope=repository%3Aacme%2Frocket%3Apull"),
        ("docker/28.5.2", "private.acme.com", "GET /v2/"),
        ("docker/28.5.2", "tls.acme.com", "GET /v2/acme/rocket/manifests/latest?ns=x"),
        ("docker/28.5.2", "private.acme.com", "GET /token?scope=repository:acme/rocket:pull"),
        // Served a moment ago.
        ("docker/28.5.2", "kept.acme.com", "GET /v2/acme/rocket/manifests/latest"),
        ("docker/28.5.2", "kept.acme.com", "HEAD /v2/acme/rocket/manifests/latest"),
    ]
    .map(|(user_agent, host, line)| {
        format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\n\
             User-Agent: {user_agent} go/go1.24 os/linux arch/amd64\r\n\
             Accept: application/vnd.oci.image.index.v1+json\r\n\r\n"
        )
    });
    let told = |action: &Action<'_>| match action {
        Action::Redirect(_) => 'r',
        Action::Forward(_) => 'f',
        Action::Grant(_) => 'g',
        Action::HandOn(_) => 'd',
        Action::Secure(_) => 'h',
        Action::Say(_) => 's',
        Action::Refuse(_) => 'x',
    };
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nETag: \"c\"\r\n\r\n";
    let body = Body::new(br#"{"schemaVersion":2}"#.as_slice().into());
    let held = Rc::new(Held::new(200, head, "sha256:d", Some(body), b""));
    let mut recent = Recent::new((1, 2));
    let mut decided = String::with_capacity(requests.len());

    let mut turn = |now: u64| {
        decided.clear();
        for request in &requests {
            let head = head::parse(request.as_bytes(), &snapshot.head);
            let head = head.expect("a good head").expect("a whole head");
            let action = decide(
                Known {
                    snapshot: &snapshot,
                    door: Door::Plain(&names),
                    proofs: &proofs,
                    keys: &keys,
                    now_us: HOUR_US + now,
                    unix_s: 1_800_000_000,
                },
                &head,
            );
            decided.push(told(&action));
            let mut kept = None;
            if let Action::Forward(plan) = &action
                && head.host == Some(b"kept.acme.com")
                && let Some(words) = recent.words(plan, &head, request.as_bytes())
            {
                recent.put(words, &held, HOUR_US + now, u64::MAX);
                kept = recent.get(words, HOUR_US + now);
                assert!(kept.is_some());
            }
            let serving = kept.as_ref().map(|kept| Serving::new(kept, &head, request.as_bytes()));
            let manner = Manner {
                date: b"Mon, 23 Nov 2026 18:00:00 GMT",
                head_only: false,
                connection: Connection::Stays,
            };
            let mut out = Out::new(&mut memory, 0);
            match &serving {
                Some(serving) => {
                    let relayed = serving.relayed(Relayed::EMPTY);
                    relayed::write(&mut out, &manner, &relayed, &snapshot.via);
                }
                None => answer::write(&mut out, &manner, &action),
            }
            let is_written =
                matches!(action, Action::Forward(_) | Action::Grant(_)) || out.used() > 100;
            assert!(!out.is_overrun() && is_written);
            let asker = Asker { at_us: now, address: Address([1; 16]), connection: 1 };
            if let Some(event) = observe(&action, &head, asker, serving.as_ref().map(Serving::seen))
            {
                sender.offer(&event);
            }
        }
        // The aggregator's part: it reads a page and gives it back.
        while let Ok(parcel) = receiver.try_take() {
            if let pulls::Parcel::Page(page) = parcel {
                receiver.give_back(page);
            }
        }
    };
    // Warm-up: the pages that are under way at once are made.
    (0..2_000).for_each(&mut turn);
    let allocations = allocations_of(|| (2_000..22_000).for_each(&mut turn));
    assert_eq!(allocations, 0);
    assert_eq!(decided, "rrrrrxxxrrfffssshgff");
}
