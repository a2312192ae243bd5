//! How an answer that is kept is given to one client.

use super::{Body, Held};
use crate::pure::http1::head::{Method, RequestHead};
use crate::pure::http1::relayed::{Length, Relayed};
use crate::pure::http1::response::{field, fields_named};
use crate::pure::limits::NAME_BYTES_MAX;
use crate::pure::observe::Seen;

/// A kept answer, and what of it this client is sent.
#[derive(Clone, Copy)]
pub struct Serving<'h> {
    held: &'h Held,
    /// Whether the client has it already (RFC 9110, 13.1.2).
    is_known: bool,
    /// What follows the head; `None` for nothing.
    pub body: Option<&'h Body>,
}

impl<'h> Serving<'h> {
    /// Of `held` to who asked by `head`, of which `bytes` are the bytes.
    pub fn new(held: &'h Held, head: &RequestHead<'_>, bytes: &[u8]) -> Self {
        let is_known = held.is_known_by(fields_named(bytes, "If-None-Match"));
        let is_sent = head.method == Method::Get && !is_known;
        Self { held, is_known, body: held.body.as_ref().filter(|_| is_sent) }
    }

    /// Its head; the rest of `relayed` is the caller's to say.
    pub fn relayed(&self, relayed: Relayed<'h>) -> Relayed<'h> {
        let Self { held, is_known, .. } = *self;
        // How long a body would be of which only the head is known stands among its fields.
        let (ready, upstream) = match &held.body {
            Some(_) => (held.lines(), &b""[..]),
            None => (&b""[..], &*held.fields),
        };
        let length = match &held.body {
            _ if is_known => Length::Unsaid,
            Some(body) => Length::Known(body.len() as u64),
            None => field(&held.fields, "Content-Length").map_or(Length::Unsaid, Length::Said),
        };
        let digest = (!held.digest.is_empty()).then_some(&*held.digest);
        Relayed { status: self.status(), ready, upstream, length, digest, ..relayed }
    }

    /// How long head and body are at most, in bytes.
    pub fn bytes_max(&self) -> usize {
        let body = self.body.map_or(0, |body| body.len());
        OWN_BYTES_MAX + self.held.fields.len() + body
    }

    /// What counting is told of it.
    pub fn seen(&self) -> Seen<'h> {
        let kin = if self.body.is_some() { &*self.held.kin } else { b"" };
        Seen { status: self.status(), digest: self.held.digest.as_bytes(), kin }
    }

    fn status(&self) -> u16 {
        if self.is_known { 304 } else { self.held.status }
    }
}

/// What is said beside the registry's own fields: status, digest, length, date, and the way it came,
/// which has a rule's name and a repository's.
const OWN_BYTES_MAX: usize = 1_024 + 4 * NAME_BYTES_MAX;
