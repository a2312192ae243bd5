//! What is strict about heads of either kind, requests' and answers': the gateway stands between
//! two other parsers, and may not read the one more leniently than the other.

/// The versions that are spoken here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2, whose requests are written as those of HTTP/1.1 before they are read.
    Http2,
}

/// What a head's `Connection` fields say of the connection (RFC 9112, 9.3).
#[derive(Clone, Copy, Default)]
pub(super) struct Persistence {
    close: bool,
    keep_alive: bool,
}

impl Persistence {
    /// Adds the options of one more `Connection` field.
    pub(super) fn add(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// Whether the connection stays open.
    pub(super) fn stays(self, version: Version) -> bool {
        match version {
            Version::Http11 | Version::Http2 => !self.close,
            Version::Http10 => self.keep_alive && !self.close,
        }
    }
}

/// Whether every line of a head of so many `fields` that httparse has read ends in CRLF. httparse
/// takes LF for a line's end, but a CR only before an LF: so the lines (the first, the fields' and
/// the empty one) all end in CRLF if there are as many CRs as lines.
pub(super) fn all_end_in_crlf(head: &[u8], fields: usize) -> bool {
    memchr::memchr_iter(b'\r', head).count() == fields + 2
}

/// What httparse refuses in a field's line; `None` where it refuses something else.
pub(super) fn wrong_field(error: httparse::Error) -> Option<&'static str> {
    match error {
        httparse::Error::HeaderName => Some(
            "a header line that does not begin with a name and a colon (no space before either, \
             no folded lines)",
        ),
        httparse::Error::HeaderValue => Some("a control byte or a bare CR in a header line"),
        httparse::Error::NewLine => Some("a line that does not end in CRLF"),
        httparse::Error::Token
        | httparse::Error::Version
        | httparse::Error::Status
        | httparse::Error::TooManyHeaders => None,
    }
}
