//! What the gateway says by itself, written into a worker's answer buffer.
//!
//! Every function writes one whole answer or, where the buffer's rest does not hold it, writes
//! nothing that counts: the caller looks at [`Out::is_overrun`] and takes the answer back.

use crate::pure::fault::Fault;

/// A bounded place to write to: memory that is someone else's, and how much of it is used.
pub struct Out<'b> {
    bytes: &'b mut [u8],
    used: usize,
    /// Where the last answer's body begins.
    body_from: usize,
    overrun: bool,
}

impl<'b> Out<'b> {
    /// Writes into `bytes` from `used` on.
    pub fn new(bytes: &'b mut [u8], used: usize) -> Self {
        Self { bytes, used, body_from: used, overrun: false }
    }

    /// Appends `text`, or notes that there is no room.
    pub fn put(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        match self.bytes.get_mut(self.used..self.used + text.len()) {
            Some(room) if !self.overrun => {
                room.copy_from_slice(text);
                self.used += text.len();
            }
            _ => self.overrun = true,
        }
    }

    /// Appends `number` in decimal digits.
    pub fn put_number(&mut self, mut number: usize) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            // The remainder of a division by ten is a digit.
            #[expect(clippy::cast_possible_truncation, reason = "less than ten")]
            let digit = (number % 10) as u8;
            digits[at] = b'0' + digit;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        self.put(&digits[at..]);
    }

    /// Appends `text` as the inside of a JSON string (RFC 8259, 7). Bytes outside printable ASCII
    /// become `?`: nothing that the gateway quotes may legally hold them.
    pub fn put_json(&mut self, text: impl AsRef<[u8]>) {
        for byte in text.as_ref() {
            match byte {
                b'"' => self.put(br#"\""#),
                b'\\' => self.put(br"\\"),
                b' '..=b'~' => self.put([*byte]),
                _ => self.put(b"?"),
            }
        }
    }

    /// How many bytes more there is room for.
    pub fn room(&self) -> usize {
        self.bytes.len().saturating_sub(self.used)
    }

    /// How many bytes are used.
    pub fn used(&self) -> usize {
        self.used
    }

    /// What follows is the answer's body.
    pub(super) fn end_head(&mut self) {
        self.body_from = self.used;
    }

    /// How long the body of the answer that was written last is.
    pub fn body_bytes(&self) -> usize {
        self.used.saturating_sub(self.body_from)
    }

    /// Whether something did not fit. What is written is then not an answer.
    pub fn is_overrun(&self) -> bool {
        self.overrun
    }

    /// Forgets what was written from byte `used` on, and that it did not fit.
    pub fn take_back(&mut self, used: usize) {
        self.used = used;
        self.overrun = false;
    }

    /// What was written from byte `from` on.
    pub fn written(&self, from: usize) -> &[u8] {
        self.bytes.get(from..self.used).unwrap_or_default()
    }
}

/// What every answer needs to know beside its content.
#[derive(Clone, Copy, Debug)]
pub struct Manner<'a> {
    /// The `Date` field's value (RFC 9110, 5.6.7).
    pub date: &'a [u8; DATE_BYTES],
    /// Whether the request was a HEAD: the fields of a GET, without its body (RFC 9110, 9.3.2).
    pub head_only: bool,
    /// What the answer says of the connection.
    pub connection: Connection,
}

/// The answer's word on the connection (RFC 9112, 9.3 and 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// It stays, and the client takes that for granted (HTTP/1.1).
    Stays,
    /// It stays, and the client has to be told (HTTP/1.0 with `keep-alive`).
    StaysSaid,
    /// It is closed after this answer.
    Closes,
}

/// The length of an IMF-fixdate.
pub const DATE_BYTES: usize = 29;

/// A 307 (RFC 9110, 15.4.8) to the URL that `location`'s pieces make together. Where it `depends`
/// on the client, no cache may give it to another one. `fields` are further fields, in pieces, each
/// begun by its line break.
pub fn redirect(
    out: &mut Out<'_>,
    manner: &Manner<'_>,
    location: &[&[u8]],
    depends: bool,
    fields: &[&str],
) {
    out.put(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: ");
    for piece in location {
        out.put(piece);
    }
    if depends {
        out.put(b"\r\nCache-Control: no-store\r\nVary: User-Agent, Authorization");
    }
    for piece in fields {
        out.put(piece);
    }
    out.put(b"\r\nContent-Length: 0\r\nDocker-Distribution-Api-Version: registry/2.0\r\nDate: ");
    out.put(manner.date);
    put_end(out, manner);
}

/// A 308 (RFC 9110, 15.4.9) to the URL that `put_url` writes. It may be another tomorrow.
pub fn moved(out: &mut Out<'_>, manner: &Manner<'_>, put_url: impl FnOnce(&mut Out<'_>)) {
    out.put(b"HTTP/1.1 308 Permanent Redirect\r\nLocation: ");
    put_url(out);
    out.put(b"\r\nContent-Length: 0\r\nCache-Control: no-store\r\nDate: ");
    out.put(manner.date);
    put_end(out, manner);
}

/// The 200 that says that the distribution API is spoken here ("Determining Support" in the
/// distribution spec). Old docker clients fall back to their first protocol without the version.
pub fn base(out: &mut Out<'_>, manner: &Manner<'_>) {
    put_head(out, manner, "200 OK", "application/json", 2);
    put_end(out, manner);
    if !manner.head_only {
        out.put(b"{}");
    }
}

/// The 401 that carries a challenge (RFC 9110, 11.6.1), which `pieces` make together.
pub fn challenge(out: &mut Out<'_>, manner: &Manner<'_>, pieces: &[&str]) {
    const BODY: &[u8] =
        br#"{"errors":[{"code":"UNAUTHORIZED","message":"ask for a token as the challenge says"}]}"#;
    put_head(out, manner, "401 Unauthorized", "application/json", BODY.len());
    out.put(b"\r\nWWW-Authenticate: ");
    for piece in pieces {
        out.put(piece);
    }
    put_end(out, manner);
    if !manner.head_only {
        out.put(BODY);
    }
}

/// A token, good for so many seconds from now (distribution, "Token Response Fields"; some clients
/// read only one of the two names).
pub fn token(out: &mut Out<'_>, manner: &Manner<'_>, token: &[u8], seconds: u64) {
    let mut memory = [0; 96];
    let mut end = Out::new(&mut memory, 0);
    end.put("\",\"expires_in\":");
    end.put_number(usize::try_from(seconds).unwrap_or(usize::MAX));
    end.put(",\"issued_at\":\"");
    end.put(rfc_3339(manner.date));
    end.put("\"}\n");
    let end = end.written(0);
    let pieces: [&[u8]; 5] = [b"{\"token\":\"", token, b"\",\"access_token\":\"", token, end];
    let length = pieces.iter().map(|piece| piece.len()).sum();
    put_head(out, manner, "200 OK", "application/json", length);
    put_end(out, manner);
    if !manner.head_only {
        pieces.iter().for_each(|piece| out.put(piece));
    }
}

/// `2026-11-23T18:00:00Z` of `Mon, 23 Nov 2026 18:00:00 GMT`.
fn rfc_3339(date: &[u8; DATE_BYTES]) -> [u8; 20] {
    let at = |at: usize| date.get(at).copied().unwrap_or(b'0');
    let name = [at(8), at(9), at(10)];
    let month = MONTHS.iter().zip(1u8..).find(|(month, _)| **month == &name).map_or(1, |(_, n)| n);
    let mut text = *b"0000-00-00T00:00:00Z";
    for (to, from) in [(0, 12), (1, 13), (2, 14), (3, 15), (8, 5), (9, 6)] {
        text[to] = at(from);
    }
    text[5] = b'0' + month / 10;
    text[6] = b'0' + month % 10;
    (11..19).for_each(|place| text[place] = at(place + 6));
    text
}

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// A 200 with a text for people.
pub fn text(out: &mut Out<'_>, manner: &Manner<'_>, text: &[u8]) {
    put_head(out, manner, "200 OK", "text/plain; charset=utf-8", text.len());
    put_end(out, manner);
    if !manner.head_only {
        out.put(text);
    }
}

/// An error in the distribution spec's form ("Error Codes"). `message` is the inside of a JSON
/// string, already escaped: docker, podman and skopeo show it to their users. `fields` are further
/// fields, each begun by its line break.
pub fn error(out: &mut Out<'_>, manner: &Manner<'_>, fault: Fault, message: &[u8], fields: &[u8]) {
    const OPEN: &[u8] = br#"{"errors":[{"code":""#;
    const MIDDLE: &[u8] = br#"","message":""#;
    const CLOSE: &[u8] = b"\"}]}\n";
    let row = fault.kind.row();
    let length = OPEN.len() + row.code.len() + MIDDLE.len() + message.len() + CLOSE.len();
    put_head(out, manner, row.status, "application/json", length);
    out.put(fields);
    put_end(out, manner);
    if !manner.head_only {
        out.put(OPEN);
        out.put(row.code);
        out.put(MIDDLE);
        out.put(message);
        out.put(CLOSE);
    }
}

/// Everything of a head but the end of its last line, so that further fields can follow. Answers of
/// our own are never to be kept by a cache: what is refused now may be served in a second.
fn put_head(out: &mut Out<'_>, manner: &Manner<'_>, status: &str, kind: &str, length: usize) {
    out.put(b"HTTP/1.1 ");
    out.put(status);
    out.put(b"\r\nContent-Type: ");
    out.put(kind);
    out.put(b"\r\nContent-Length: ");
    out.put_number(length);
    out.put(b"\r\nCache-Control: no-store\r\nDocker-Distribution-Api-Version: registry/2.0");
    out.put(b"\r\nX-Content-Type-Options: nosniff\r\nDate: ");
    out.put(manner.date);
}

/// The connection's field and the blank line.
fn put_end(out: &mut Out<'_>, manner: &Manner<'_>) {
    match manner.connection {
        Connection::Stays => out.put(b"\r\n\r\n"),
        Connection::StaysSaid => out.put(b"\r\nConnection: keep-alive\r\n\r\n"),
        Connection::Closes => out.put(b"\r\nConnection: close\r\n\r\n"),
    }
    out.end_head();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_tokens_write_them() {
        let told = |date| String::from_utf8(rfc_3339(date).to_vec()).unwrap();
        assert_eq!(told(b"Mon, 23 Nov 2026 18:07:59 GMT"), "2026-11-23T18:07:59Z");
        assert_eq!(told(b"Thu, 01 Jan 1970 00:00:00 GMT"), "1970-01-01T00:00:00Z");
    }
}
