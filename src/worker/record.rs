//! What is kept of a request once it is answered: counters, and a line of the access log.

use crate::messages::access::{AccessLine, Text};
use crate::messages::clock::monotonic_us;
use crate::messages::meters::Counter;
use crate::pure::http1::head::{Method, RequestHead, Version};
use crate::pure::oci::endpoint::Endpoint;
use crate::worker::Worker;

/// How a request was answered.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// What was asked for, as a counter.
    pub asked: Counter,
    /// The answer's status.
    pub status: u16,
    /// Its body's length; of a streamed one what was announced.
    pub bytes: u64,
    /// When the request was read.
    pub read_at_us: u64,
}

/// Counts the request and offers its line.
pub fn answered(worker: &Worker, head: &RequestHead<'_>, answered: Answered) {
    let meters = &worker.meters;
    meters.add(answered.asked, 1);
    meters.add(Counter::answered(answered.status), 1);
    let Some(access) = &worker.access else {
        return;
    };
    let line = AccessLine {
        at_unix_us: worker.clock.unix_us(),
        method: Text::cut(match head.method {
            Method::Get => b"GET",
            Method::Head => b"HEAD",
            Method::Other(method) => method,
        }),
        host: Text::cut(head.host.unwrap_or_default()),
        path: Text::cut(head.path),
        version: match head.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2.0",
        },
        status: answered.status,
        bytes: answered.bytes,
        duration_us: monotonic_us().saturating_sub(answered.read_at_us),
        user_agent: Text::cut(head.user_agent),
        referer: Text::cut(page(head.referer)),
    };
    access.offer(line, meters);
}

/// A page's address without its query, which may be the secret of a link that nobody has used yet.
fn page(referer: &[u8]) -> &[u8] {
    referer.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default()
}

/// The counter of what `endpoint` is.
pub fn asked(endpoint: &Endpoint<'_>) -> Counter {
    match endpoint {
        Endpoint::Base => Counter::RequestsBase,
        Endpoint::Manifest { .. } => Counter::RequestsManifest,
        Endpoint::Blob { .. } => Counter::RequestsBlob,
        Endpoint::TagsList { .. } => Counter::RequestsTags,
        Endpoint::Referrers { .. } => Counter::RequestsReferrers,
        Endpoint::Catalog
        | Endpoint::Upload { .. }
        | Endpoint::Root
        | Endpoint::Robots
        | Endpoint::Token => Counter::RequestsOther,
    }
}
