//! One connection's answers, taken apart as their bytes arrive.

use std::fmt::{self, Display, Formatter};

use sha2::{Digest as _, Sha256};

use crate::plan::Expect;

/// Where a connection is in its answer.
pub struct Reader {
    state: State,
    /// The beginning of a head, while its end is missing; or of a chunk's size line.
    partial: Vec<u8>,
    status: u16,
    /// Announced for HEAD, else counted.
    length: u64,
    closes: bool,
    location_fits: bool,
    hash: Option<Sha256>,
}

/// An answer that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What is wrong with it.
    pub fault: Option<Fault>,
    /// The connection serves no more.
    pub closes: bool,
    /// Bytes of its body.
    pub body_bytes: u64,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Not the status that was expected.
    Status(u16),
    /// Not the length.
    Length(u64),
    /// Not the digest.
    Digest,
    /// Not the `Location`.
    Location,
    /// No HTTP/1.1.
    Malformed,
    /// It ended before its end.
    BrokenOff,
    /// It took too long.
    TimedOut,
    /// There was no connection.
    NotConnected,
    /// It was due, and never sent: no connection was free.
    NeverSent,
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "status {status}"),
            Self::Length(_) => f.write_str("length"),
            Self::Digest => f.write_str("digest"),
            Self::Location => f.write_str("location"),
            Self::Malformed => f.write_str("malformed"),
            Self::BrokenOff => f.write_str("broken off"),
            Self::TimedOut => f.write_str("timed out"),
            Self::NotConnected => f.write_str("not connected"),
            Self::NeverSent => f.write_str("never sent"),
        }
    }
}

enum State {
    Head,
    Body(u64),
    ChunkSize,
    Chunk(u64),
    /// Behind the last chunk, up to an empty line.
    Trailer,
    UntilClose,
}

/// What is known about the answer that comes next.
#[derive(Clone, Copy)]
pub struct Awaited<'p> {
    /// What it must be.
    pub expect: &'p Expect,
    /// It has no body.
    pub is_head: bool,
    /// Whether the body's digest is looked at.
    pub digests: bool,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            state: State::Head,
            partial: Vec::new(),
            status: 0,
            length: 0,
            closes: false,
            location_fits: true,
            hash: None,
        }
    }
}

impl Reader {
    /// Bytes that may be thrown away unseen: of a body whose digest nobody looks at.
    pub fn skippable(&self) -> u64 {
        if let State::Body(left) = self.state
            && self.hash.is_none()
        {
            left
        } else {
            0
        }
    }

    /// `count` bytes of those were thrown away.
    pub fn skip(&mut self, count: u64, awaited: Awaited<'_>) -> Option<Answer> {
        if let State::Body(left) = &mut self.state {
            *left -= count;
            self.length += count;
            return (*left == 0).then(|| self.over(awaited));
        }
        None
    }

    /// Takes what belongs to the answer off the front of `bytes`, and returns it once it is over.
    pub fn read(&mut self, bytes: &mut &[u8], awaited: Awaited<'_>) -> Option<Answer> {
        while !bytes.is_empty() {
            let over = match self.state {
                State::Head => match self.head(bytes, awaited) {
                    Ok(over) => over,
                    Err(fault) => return Some(self.failed(fault)),
                },
                State::Body(left) => {
                    let left = left - self.body(bytes, left);
                    self.state = State::Body(left);
                    left == 0
                }
                State::UntilClose => {
                    self.body(bytes, u64::MAX);
                    false
                }
                State::ChunkSize => {
                    if let Some(line) = self.line(bytes) {
                        let Some(size) = chunk_size(&line) else {
                            return Some(self.failed(Fault::Malformed));
                        };
                        self.state =
                            if size == 0 { State::Trailer } else { State::Chunk(size + 2) };
                    }
                    false
                }
                State::Chunk(left) => {
                    // The last two bytes are the line's end behind the chunk.
                    let data = left.saturating_sub(2);
                    let taken = if data > 0 { self.body(bytes, data) } else { skip(bytes, left) };
                    self.state =
                        if taken == left { State::ChunkSize } else { State::Chunk(left - taken) };
                    false
                }
                State::Trailer => self.line(bytes).is_some_and(|line| line.is_empty()),
            };
            if over {
                return Some(self.over(awaited));
            }
        }
        None
    }

    /// The connection has ended. `None` if there was nothing under way.
    pub fn end(&mut self, awaited: Awaited<'_>) -> Option<Answer> {
        if matches!(self.state, State::UntilClose) {
            Some(self.over(awaited))
        } else if matches!(self.state, State::Head) && self.partial.is_empty() {
            None
        } else {
            Some(self.failed(Fault::BrokenOff))
        }
    }

    /// Whether the answer is over with its head.
    fn head(&mut self, bytes: &mut &[u8], awaited: Awaited<'_>) -> Result<bool, Fault> {
        if self.partial.is_empty() {
            if let Some(length) = self.parse(bytes, awaited)? {
                *bytes = &bytes[length..];
            } else {
                self.partial.extend_from_slice(bytes);
                *bytes = &[];
                return Ok(false);
            }
        } else {
            let known = self.partial.len();
            let mut partial = std::mem::take(&mut self.partial);
            partial.extend_from_slice(bytes);
            let Some(length) = self.parse(&partial, awaited)? else {
                if partial.len() > HEAD_BYTES_MAX {
                    return Err(Fault::Malformed);
                }
                self.partial = partial;
                *bytes = &[];
                return Ok(false);
            };
            *bytes = &bytes[length - known..];
            partial.clear();
            self.partial = partial;
        }
        if awaited.is_head || matches!(self.status, 204 | 304) {
            self.state = State::Body(0);
        }
        Ok(matches!(self.state, State::Body(0)))
    }

    /// Reads a head, and returns its length once it is whole.
    fn parse(&mut self, bytes: &[u8], awaited: Awaited<'_>) -> Result<Option<usize>, Fault> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut head = httparse::Response::new(&mut fields);
        let length = match head.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(Fault::Malformed),
        };
        self.status = head.code.unwrap_or_default();
        self.closes = head.version == Some(0);
        let mut announced = None;
        let mut is_chunked = false;
        let mut location = None;
        for field in head.headers.iter() {
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("content-length") {
                announced = number(field.value);
                if announced.is_none() {
                    return Err(Fault::Malformed);
                }
            } else if is("transfer-encoding") {
                is_chunked = field.value.eq_ignore_ascii_case(b"chunked");
            } else if is("connection") {
                self.closes |= field.value.eq_ignore_ascii_case(b"close");
            } else if is("location") {
                location = Some(field.value);
            }
        }
        self.location_fits =
            awaited.expect.location.as_deref().is_none_or(|it| Some(it) == location);
        self.state = match announced {
            _ if is_chunked => State::ChunkSize,
            Some(length) => State::Body(length),
            None => State::UntilClose,
        };
        self.length = if awaited.is_head { announced.unwrap_or_default() } else { 0 };
        self.hash = (awaited.digests && awaited.expect.digest.is_some()).then(Sha256::new);
        Ok(Some(length))
    }

    /// Takes up to `most` bytes of the body off the front, and returns how many.
    fn body(&mut self, bytes: &mut &[u8], most: u64) -> u64 {
        let count = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
        let (part, rest) = bytes.split_at(count);
        if let Some(hash) = &mut self.hash {
            hash.update(part);
        }
        *bytes = rest;
        self.length += count as u64;
        count as u64
    }

    /// Takes a line off the front, and returns it without its end once it is whole.
    fn line(&mut self, bytes: &mut &[u8]) -> Option<Vec<u8>> {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(bytes.len(), |end| end + 1);
        let (part, rest) = bytes.split_at(count);
        self.partial.extend_from_slice(part);
        *bytes = rest;
        end?;
        let mut line = std::mem::take(&mut self.partial);
        line.truncate(line.trim_ascii_end().len());
        Some(line)
    }

    /// The answer, judged.
    fn over(&mut self, awaited: Awaited<'_>) -> Answer {
        let Expect { status, length, digest, .. } = awaited.expect;
        let is_digest_wrong = match (digest, self.hash.take()) {
            (Some(expected), Some(hash)) => *expected != <[u8; 32]>::from(hash.finalize()),
            _ => false,
        };
        let is_as_said = if *status == 0 { self.status < 400 } else { self.status == *status };
        let fault = if !is_as_said {
            Some(Fault::Status(self.status))
        } else if !self.location_fits {
            Some(Fault::Location)
        } else if length.is_some_and(|length| length != self.length) {
            Some(Fault::Length(self.length))
        } else {
            is_digest_wrong.then_some(Fault::Digest)
        };
        let closes = self.closes || matches!(self.state, State::UntilClose);
        let body_bytes = if awaited.is_head { 0 } else { self.length };
        *self = Self { partial: std::mem::take(&mut self.partial), ..Self::default() };
        Answer { fault, closes, body_bytes }
    }

    fn failed(&mut self, fault: Fault) -> Answer {
        let body_bytes = self.length;
        *self = Self::default();
        Answer { fault: Some(fault), closes: true, body_bytes }
    }
}

fn skip(bytes: &mut &[u8], most: u64) -> u64 {
    let count = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
    *bytes = &bytes[count..];
    count as u64
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// RFC 9112, section 7.1; extensions are passed over.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b';').next()?.trim_ascii();
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// As many fields as any answer here has, several times over.
const FIELDS_MAX: usize = 64;
/// A head that is longer is none.
const HEAD_BYTES_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn expect(status: u16, length: Option<u64>, body: Option<&[u8]>) -> Expect {
        let digest = body.map(|body| Sha256::digest(body).into());
        Expect { status, length, digest, location: None }
    }

    /// The answers in `text`, fed in pieces of `piece` bytes, all awaited the same way.
    fn answers(text: &str, piece: usize, awaited: Awaited<'_>) -> Vec<Answer> {
        let mut reader = Reader::default();
        let mut found = Vec::new();
        for mut part in text.as_bytes().chunks(piece) {
            while !part.is_empty() {
                found.extend(reader.read(&mut part, awaited));
                if found.last().is_some_and(|one: &Answer| one.fault.is_some()) {
                    return found;
                }
            }
        }
        found.extend(reader.end(awaited));
        found
    }

    #[test]
    fn answers_are_told_apart_however_they_arrive() {
        let expect = expect(200, Some(5), Some(b"hello"));
        let awaited = Awaited { expect: &expect, is_head: false, digests: true };
        let fixed = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                       2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\nA: b\r\n\r\n";
        let closing = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello";
        let text = [fixed, chunked, fixed, closing].concat();
        let whole = |closes| Answer { fault: None, closes, body_bytes: 5 };
        for piece in [1, 2, 3, 7, 40, 1000] {
            let found = answers(&text, piece, awaited);
            assert_eq!(found, [whole(false), whole(false), whole(false), whole(true)], "{piece}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let expect =
            Expect { location: Some(Box::from(*b"/there")), ..expect(307, Some(2), Some(b"ok")) };
        let awaited = Awaited { expect: &expect, is_head: false, digests: true };
        for (text, fault) in [
            ("HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nok", Fault::Status(404)),
            ("HTTP/1.1 307 Go\r\nContent-Length: 2\r\n\r\nok", Fault::Location),
            (
                "HTTP/1.1 307 Go\r\nLocation: /there\r\nContent-Length: 3\r\n\r\nok!",
                Fault::Length(3),
            ),
            ("HTTP/1.1 307 Go\r\nLocation: /there\r\nContent-Length: 2\r\n\r\nko", Fault::Digest),
            ("HTTP/1.1 307 Go\r\nLocation: /there\r\nContent-Length: 2\r\n\r\no", Fault::BrokenOff),
            ("SSH-2.0-x\r\n\r\n", Fault::Malformed),
        ] {
            let found = answers(text, 1000, awaited);
            assert_eq!(found.first().and_then(|one| one.fault), Some(fault), "{text}");
        }
    }

    #[test]
    fn head_has_a_length_and_no_body() {
        let expect = expect(200, Some(5), None);
        let awaited = Awaited { expect: &expect, is_head: true, digests: true };
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".repeat(2);
        let whole = Answer { fault: None, closes: false, body_bytes: 0 };
        assert_eq!(answers(&text, 9, awaited), [whole, whole]);
    }

    #[test]
    fn bodies_can_be_thrown_away_unseen() {
        let expect = expect(200, Some(5), Some(b"hello"));
        let awaited = Awaited { expect: &expect, is_head: false, digests: false };
        let mut reader = Reader::default();
        let mut head: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(reader.read(&mut head, awaited), None);
        assert_eq!(reader.skippable(), 5);
        assert_eq!(reader.skip(3, awaited), None);
        let whole = Answer { fault: None, closes: false, body_bytes: 5 };
        assert_eq!(reader.skip(2, awaited), Some(whole));
    }
}
