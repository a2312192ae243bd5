//! What happens to a redirected request, step by step, for whoever measures it.
//!
//! Everything is leaked, so that steps can be handed around.

use std::hint::black_box;

use pullgate::messages::pulls::{self, Parcel};
use pullgate::pure::answer;
use pullgate::pure::certificates::Names;
use pullgate::pure::client::ClientTable;
use pullgate::pure::config::check;
use pullgate::pure::decide::{Action, Known, decide};
use pullgate::pure::desk::OwnKeys;
use pullgate::pure::door::Door;
use pullgate::pure::http1::encode::{Connection, Manner, Out};
use pullgate::pure::http1::head::{self, HeadLimits, RequestHead};
use pullgate::pure::limits::BUFFER_BYTES;
use pullgate::pure::observe::{Asker, observe};
use pullgate::pure::proof::Proofs;
use pullgate::pure::pull::event::Address;
use pullgate::pure::snapshot::{Circumstances, Snapshot};

const CONFIG: &str = "[[packages]]\ndomain = 'registry.acme.com'\nname = 'acme/rocket'\n\
                      backend = 'ghcr.io/acme/rocket'\ndelivery = 'redirect'\n";

/// What docker sends.
pub(crate) const SENT: &[u8] =
    b"GET /v2/acme/rocket/manifests/v1.2.3 HTTP/1.1\r\nHost: registry.acme.com\r\n\
      User-Agent: docker/28.5.2 go/go1.24.7 git-commit/e180ab8 kernel/6.12.1 os/linux arch/amd64 \
      UpstreamClient(Docker-Client/28.5.2 \\(linux\\))\r\n\
      Accept: application/vnd.oci.image.manifest.v1+json\r\n\
      Accept: application/vnd.docker.distribution.manifest.v2+json\r\n\
      Accept: application/vnd.docker.distribution.manifest.list.v2+json\r\n\
      Accept: application/vnd.oci.image.index.v1+json\r\n\
      Accept: application/vnd.docker.distribution.manifest.v1+prettyjws\r\n\
      Accept: application/json\r\n\
      Accept-Encoding: gzip\r\n\r\n";
/// A date as answers have it.
pub(crate) const DATE: &[u8; 29] = b"Mon, 23 Nov 2026 18:00:00 GMT";
const LIMITS: HeadLimits = HeadLimits { head_bytes: 16 * 1024, headers: 100 };

/// A step, to be done over and over.
pub(crate) type Step = Box<dyn FnMut()>;

/// The request's head, and the steps by name, in their order.
pub(crate) fn steps() -> (&'static RequestHead<'static>, Vec<(&'static str, Step)>) {
    let (Ok((config, _)), Ok(Some(head))) = (check("bench", CONFIG), head::parse(SENT, &LIMITS))
    else {
        unreachable!("both are good");
    };
    let clients = ClientTable::built_in();
    let circumstances = Circumstances { clients, via: "pullgate", before: None, now_us: 0 };
    let snapshot: &Snapshot = Box::leak(Box::new(Snapshot::build(&config, 1, circumstances)));
    let proofs: &Proofs = Box::leak(Box::default());
    let keys: &OwnKeys = Box::leak(Box::new(OwnKeys::new(&[1; 32], None)));
    let names: &Names = Box::leak(Box::default());
    let known = Known { snapshot, door: Door::Plain(names), proofs, keys, now_us: 1, unix_s: 1 };
    let head_of: &'static RequestHead<'_> = Box::leak(Box::new(head));
    let action: &Action<'_> = Box::leak(Box::new(decide(known, head_of)));
    assert!(matches!(action, Action::Redirect(_)));
    let mut memory = vec![0; BUFFER_BYTES];
    let (mut sender, receiver) = pulls::channel();
    let asker = Asker { at_us: 7, address: Address([1; 16]), connection: 1 };
    let steps: Vec<(&str, Step)> = vec![
        (
            "head",
            Box::new(|| {
                let _ = black_box(head::parse(black_box(SENT), &LIMITS));
            }),
        ),
        (
            "decide",
            Box::new(move || {
                black_box(decide(known, black_box(head_of)));
            }),
        ),
        (
            "encode",
            Box::new(move || {
                let manner = Manner { date: DATE, head_only: false, connection: Connection::Stays };
                let mut out = Out::new(&mut memory, 0);
                answer::write(&mut out, &manner, black_box(action));
                black_box(out.used());
            }),
        ),
        (
            "observe",
            Box::new(move || {
                if let Some(event) = observe(black_box(action), head_of, asker, None) {
                    black_box(sender.offer(&event));
                }
                // The aggregator's part, so that pages come home.
                while let Ok(parcel) = receiver.try_take() {
                    if let Parcel::Page(page) = parcel {
                        receiver.give_back(page);
                    }
                }
            }),
        ),
    ];
    (head_of, steps)
}
