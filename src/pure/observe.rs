//! After the answer: what counting is told of it.

use crate::pure::decide::Action;
use crate::pure::http1::head::{Method, RequestHead};
use crate::pure::oci::endpoint::Endpoint;
use crate::pure::pull::event::{Address, Asked, Event, Outcome};

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

/// The event that `action` is to counting, if it is one: requests of a package for a manifest, a
/// blob or its referrers, answered well. HEADs and blobs are events because docker and containerd
/// name the tag only in a HEAD, and a blob is the only proof that a pull went on.
pub fn observe<'r>(action: &Action<'r>, head: &RequestHead<'r>, asker: Asker) -> Option<Event<'r>> {
    let Action::Redirect(redirect) = action else {
        return None;
    };
    let matched = redirect.matched?;
    let (asked, name, reference) = match redirect.endpoint {
        Endpoint::Manifest { name, reference } => match head.method {
            Method::Get => (Asked::Manifest, name, reference.as_str()),
            Method::Head => (Asked::ManifestHead, name, reference.as_str()),
            Method::Other(_) => return None,
        },
        Endpoint::Blob { name, digest } => (Asked::Blob, name, digest.as_str()),
        Endpoint::Referrers { name, digest } if head.method == Method::Get => {
            (Asked::Referrers, name, digest.as_str())
        }
        Endpoint::Referrers { .. }
        | Endpoint::Base
        | Endpoint::TagsList { .. }
        | Endpoint::Catalog
        | Endpoint::Upload { .. }
        | Endpoint::Root
        | Endpoint::Robots => return None,
    };
    Some(Event {
        at_us: asker.at_us,
        address: asker.address,
        connection: asker.connection,
        asked,
        outcome: Outcome::Redirected,
        id: matched.id.as_bytes(),
        domain: matched.domain.as_bytes(),
        collection: matched.collection.as_bytes(),
        name: name.as_str().as_bytes(),
        reference: reference.as_bytes(),
        user_agent: head.user_agent,
    })
}
