//! After the answer: what counting is told of it.

use crate::pure::decide::Action;
use crate::pure::http1::head::{Method, RequestHead};
use crate::pure::oci::endpoint::Endpoint;
use crate::pure::pull::event::{Address, Asked, Event, Outcome, Way};

/// Who asked, and when.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// See [`Event::at_us`].
    pub at_us: u64,
    /// See [`Event::address`].
    pub address: Address,
    /// See [`Event::connection`].
    pub connection: u64,
}

/// What was answered, where the gateway fetched it for the client.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'r> {
    /// The status that the client was sent.
    pub status: u16,
    /// The digest of the manifest that was answered, also to a HEAD; empty where it is not known.
    pub digest: &'r [u8],
    /// [`crate::pure::pull::kin::Kin::bytes`] of its body; empty where that was not read.
    pub kin: &'r [u8],
}

/// The event that `action` is to counting, if it is one: requests of a package for a manifest, a
/// blob or its referrers, answered well. HEADs and blobs are events because docker and containerd
/// name the tag only in a HEAD, and a blob is the only proof that a pull went on. A redirect of ours
/// is `seen` where it was looked up what the client finds; what was fetched counts only as what came
/// of it.
pub fn observe<'r>(
    action: &Action<'r>,
    head: &RequestHead<'r>,
    asker: Asker,
    seen: Option<Seen<'r>>,
) -> Option<Event<'r>> {
    let (endpoint, matched, way) = match action {
        Action::Redirect(redirect) => (redirect.endpoint, redirect.matched?, Way::Redirect),
        Action::Forward(forward) if seen.is_some() => {
            let way = if forward.streams { Way::Stream } else { Way::Broker };
            (forward.endpoint, forward.matched, way)
        }
        Action::Forward(_)
        | Action::Grant(_)
        | Action::HandOn(_)
        | Action::Secure(_)
        | Action::Say(_)
        | Action::Refuse(_) => return None,
    };
    let is_blob = matches!(endpoint, Endpoint::Blob { .. });
    let outcome = match seen {
        Some(seen) => outcome_of(seen.status, is_blob)?,
        None => Outcome::Redirected,
    };
    let (digest, kin) = seen.map_or((&b""[..], &b""[..]), |seen| (seen.digest, seen.kin));
    let (asked, name, reference) = match endpoint {
        Endpoint::Manifest { name, reference } => match head.method {
            Method::Get => (Asked::Manifest, name, reference.as_str()),
            Method::Head => (Asked::ManifestHead, name, reference.as_str()),
            Method::Other(_) => return None,
        },
        Endpoint::Blob { name, digest } => match head.method {
            Method::Head => (Asked::BlobHead, name, digest.as_str()),
            Method::Get | Method::Other(_) => (Asked::Blob, name, digest.as_str()),
        },
        Endpoint::Referrers { name, digest } if head.method == Method::Get => {
            (Asked::Referrers, name, digest.as_str())
        }
        Endpoint::Referrers { .. }
        | Endpoint::Base
        | Endpoint::TagsList { .. }
        | Endpoint::Catalog
        | Endpoint::Upload { .. }
        | Endpoint::Root
        | Endpoint::Robots
        | Endpoint::Token => return None,
    };
    Some(Event {
        at_us: asker.at_us,
        address: asker.address,
        connection: asker.connection,
        asked,
        outcome,
        way,
        is_private: head.is_private,
        id: matched.id.as_bytes(),
        domain: matched.domain.as_bytes(),
        collection: matched.collection.as_bytes(),
        name: name.as_str().as_bytes(),
        reference: reference.as_bytes(),
        user_agent: head.user_agent,
        digest,
        kin,
        bytes: 0,
    })
}

/// The event that the end of a blob's way through the gateway is: `bytes` of it were sent, and it
/// `is_whole` or broke off.
pub fn observe_end<'r>(
    action: &Action<'r>,
    head: &RequestHead<'r>,
    asker: Asker,
    bytes: u64,
    is_whole: bool,
) -> Option<Event<'r>> {
    let begun = observe(action, head, asker, Some(Seen { status: 200, digest: b"", kin: b"" }))?;
    let outcome = if is_whole { Outcome::Succeeded } else { Outcome::Broken };
    Some(Event { asked: Asked::BlobEnd, outcome, bytes, ..begun })
}

/// What an answer that passed us means to counting; `None` where it failed. A blob's redirect is
/// handed on to the client: it was asked for, and the registry has it.
fn outcome_of(status: u16, is_blob: bool) -> Option<Outcome> {
    match status {
        200..=299 => Some(Outcome::Succeeded),
        304 => Some(Outcome::NotModified),
        301 | 302 | 303 | 307 | 308 if is_blob => Some(Outcome::Succeeded),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_no_event_and_a_blobs_redirect_is_one() {
        for (status, manifest, blob) in [
            (200, Some(Outcome::Succeeded), Some(Outcome::Succeeded)),
            (206, Some(Outcome::Succeeded), Some(Outcome::Succeeded)),
            (304, Some(Outcome::NotModified), Some(Outcome::NotModified)),
            (307, None, Some(Outcome::Succeeded)),
            (300, None, None),
            (401, None, None),
            (404, None, None),
            (416, None, None),
            (502, None, None),
        ] {
            assert_eq!(outcome_of(status, false), manifest, "{status}");
            assert_eq!(outcome_of(status, true), blob, "{status}");
        }
    }
}
