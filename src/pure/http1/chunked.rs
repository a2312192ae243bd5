//! Chunked bodies, read as they come (RFC 9112, 7.1): which bytes are body, and where it ends.
//! A chunk of any size passes through without being held.

use crate::pure::fault::{Fault, Kind};

/// A chunked body, as far as it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunked {
    state: State,
}

/// What stands at the front of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of framing.
    pub skip: usize,
    /// Bytes of body right behind them.
    pub data: usize,
    /// Whether the body, its trailers and its last line have ended: behind `skip` stands another
    /// answer, if anything.
    pub done: bool,
}

impl Chunked {
    /// A body of which nothing has come.
    pub const fn new() -> Self {
        Self { state: START }
    }

    /// Reads `input` up to the end of a chunk's data, or to its own end. `skip + data` bytes are
    /// done with; the next call takes those behind them. Nothing is consumed from no input.
    ///
    /// # Errors
    /// [`Kind::UpstreamMalformed`] and [`Kind::UpstreamTooLarge`], with what is wrong: where the
    /// body ends cannot be known any more.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, Fault> {
        let mut skip = 0;
        for &byte in input {
            if matches!(self.state, State::Data { .. } | State::Done) {
                break;
            }
            self.state = self.state.behind(byte)?;
            skip += 1;
        }
        let mut data = 0;
        if let State::Data { left } = self.state {
            let here = input.len() - skip;
            data = usize::try_from(left).map_or(here, |left| left.min(here));
            let left = left - data as u64;
            self.state = if left == 0 { State::DataEnd } else { State::Data { left } };
        }
        Ok(Step { skip, data, done: self.state == State::Done })
    }
}

impl Default for Chunked {
    fn default() -> Self {
        Self::new()
    }
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Digits of a chunk's size.
    Size { size: u64, digits: u8 },
    /// An extension, which says nothing to us; of its line so many bytes have come.
    Extension { size: u64, bytes: usize },
    /// The LF behind a chunk's size.
    SizeLf { size: u64 },
    /// So many bytes of body, at least one.
    Data { left: u64 },
    /// The CR behind a chunk's data.
    DataEnd,
    /// The LF behind a chunk's data.
    DataLf,
    /// A line of the trailer section, of which so many bytes have come; the empty one is the end.
    TrailerStart { bytes: usize },
    /// The rest of such a line.
    Trailer { bytes: usize },
    /// The LF behind it.
    TrailerLf { bytes: usize },
    /// The LF of the empty line.
    LastLf,
    /// Nothing.
    Done,
}

impl State {
    /// What comes next behind a byte of framing.
    fn behind(self, byte: u8) -> Result<Self, Fault> {
        Ok(match (self, byte) {
            (Self::Size { digits: 1.., size }, b'\r') => Self::SizeLf { size },
            (Self::Size { digits: 1.., size }, b';' | b' ' | b'\t') => {
                Self::Extension { size, bytes: 1 }
            }
            (Self::Size { size, digits }, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(NO_SIZE)?;
                if digits == SIZE_DIGITS_MAX {
                    return Err(malformed("a chunk size of more than 64 bits"));
                }
                Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Extension { size, .. }, b'\r') => Self::SizeLf { size },
            (Self::Extension { bytes: EXTENSION_BYTES_MAX, .. }, _) => {
                return Err(too_large("a chunk extension"));
            }
            (Self::Extension { size, bytes }, b) if is_text(b) => {
                Self::Extension { size, bytes: bytes + 1 }
            }
            (Self::SizeLf { size: 0 }, b'\n') => Self::TrailerStart { bytes: 0 },
            (Self::SizeLf { size }, b'\n') => Self::Data { left: size },
            (Self::DataEnd, b'\r') => Self::DataLf,
            (Self::DataLf, b'\n') => START,
            (Self::TrailerStart { .. }, b'\r') => Self::LastLf,
            (Self::Trailer { bytes }, b'\r') => Self::TrailerLf { bytes },
            (Self::TrailerLf { bytes }, b'\n') => Self::TrailerStart { bytes },
            (Self::TrailerStart { bytes } | Self::Trailer { bytes }, _)
                if bytes == TRAILER_BYTES_MAX =>
            {
                return Err(too_large("trailers"));
            }
            (Self::TrailerStart { bytes } | Self::Trailer { bytes }, b) if is_text(b) => {
                Self::Trailer { bytes: bytes + 1 }
            }
            (Self::LastLf, b'\n') => Self::Done,
            (Self::DataEnd | Self::DataLf, _) => {
                return Err(malformed("a chunk that is longer than its size"));
            }
            // Data and the end take no byte of framing; all else is a line that ends in no CRLF.
            (
                Self::Extension { .. }
                | Self::SizeLf { .. }
                | Self::TrailerStart { .. }
                | Self::Trailer { .. }
                | Self::TrailerLf { .. }
                | Self::LastLf
                | Self::Data { .. }
                | Self::Done,
                _,
            ) => return Err(malformed("a line among chunks that does not end in CRLF")),
        })
    }
}

/// What may stand in a line (RFC 9110, 5.5).
const fn is_text(byte: u8) -> bool {
    !byte.is_ascii_control() || byte == b'\t'
}

const fn malformed(detail: &'static str) -> Fault {
    Fault::new(Kind::UpstreamMalformed, detail)
}

const fn too_large(detail: &'static str) -> Fault {
    Fault::new(Kind::UpstreamTooLarge, detail)
}

const NO_SIZE: Fault = malformed("a chunk without a size");

const START: State = State::Size { size: 0, digits: 0 };

/// Hexadecimal digits of 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;

/// Bytes that one line may have behind a chunk's size. Nobody sends any; without a bound they are
/// a way to send much that is no body.
const EXTENSION_BYTES_MAX: usize = 256;

/// Bytes that all trailers may have together, line ends not counted.
const TRAILER_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The body of `wire` as it comes in pieces of at most `piece` bytes; how many bytes it took,
    /// `None` while it is not complete.
    fn decoded(wire: &[u8], piece: usize) -> Result<(Vec<u8>, Option<usize>), Fault> {
        let (mut chunked, mut body, mut at) = (Chunked::new(), Vec::new(), 0);
        while at < wire.len() {
            let end = wire.len().min(at + piece);
            let step = chunked.decode(&wire[at..end])?;
            body.extend_from_slice(&wire[at + step.skip..at + step.skip + step.data]);
            at += step.skip + step.data;
            if step.done {
                assert_eq!(chunked.decode(&wire[at..]), Ok(Step { skip: 0, data: 0, done: true }));
                return Ok((body, Some(at)));
            }
            assert!(step.skip + step.data > 0);
        }
        Ok((body, None))
    }

    /// The same with everything at hand and nothing remembered.
    fn naive(wire: &[u8]) -> Option<(Vec<u8>, usize)> {
        let text = |line: &[u8]| line.iter().all(|byte| is_text(*byte));
        let line_at = |at: usize| {
            let end = at + wire.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
            text(&wire[at..end]).then_some((&wire[at..end], end + 2))
        };
        let (mut body, mut at) = (Vec::new(), 0);
        loop {
            let (line, behind) = line_at(at)?;
            let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let (digits, extension) = line.split_at(digits);
            if !matches!(extension, [] | [b';' | b' ' | b'\t', ..]) {
                return None;
            }
            let digits = std::str::from_utf8(digits).unwrap();
            let size = usize::from_str_radix(digits, 16).ok().filter(|_| digits.len() <= 16)?;
            at = behind;
            if size == 0 {
                break;
            }
            let end = at.checked_add(size)?;
            body.extend_from_slice(wire.get(at..end)?);
            if wire.get(end..end + 2)? != b"\r\n" {
                return None;
            }
            at = end + 2;
        }
        loop {
            let (line, behind) = line_at(at)?;
            at = behind;
            if line.is_empty() {
                return Some((body, at));
            }
        }
    }

    #[test]
    fn bodies_and_what_they_hold() {
        for (wire, expected) in [
            ("0\r\n\r\n", "\"\" in 5"),
            ("5\r\nlayer\r\n0\r\n\r\n", "\"layer\" in 15"),
            ("5\r\nlayer\r\n0\r\n\r\nHTTP/1.1", "\"layer\" in 15"),
            ("2\r\nla\r\n003\r\nyer\r\n00\r\n\r\n", "\"layer\" in 23"),
            ("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "\"01234567890123456789\" in 35"),
            ("1;a=b;c=\"d\"\r\nx\r\n0;e\r\n\r\n", "\"x\" in 23"),
            ("1 \r\nx\r\n0\t\r\n\r\n", "\"x\" in 13"),
            ("1\r\nx\r\n0\r\nDigest: abc\r\nX: \u{e9}\r\n\r\n", "\"x\" in 31"),
            ("5\r\nlay", "\"lay\", more"),
            ("", "\"\", more"),
            ("0\r\n\r", "\"\", more"),
            ("\r\n", "a chunk without a size"),
            (";a\r\n", "a chunk without a size"),
            (" 1\r\n", "a chunk without a size"),
            ("x\r\n", "a chunk without a size"),
            ("-1\r\n", "a chunk without a size"),
            ("0x1\r\n", "a chunk without a size"),
            ("+1\r\n", "a chunk without a size"),
            ("1\n", "a chunk without a size"),
            ("1;a\n", "a line among chunks that does not end in CRLF"),
            ("1;\0", "a line among chunks that does not end in CRLF"),
            ("1\rx", "a line among chunks that does not end in CRLF"),
            ("1\r\nxx\r\n", "a chunk that is longer than its size"),
            ("1\r\nx\n", "a chunk that is longer than its size"),
            ("1\r\nx\r\r", "a chunk that is longer than its size"),
            ("0\r\n\n", "a line among chunks that does not end in CRLF"),
            ("0\r\n\rx", "a line among chunks that does not end in CRLF"),
            ("0\r\nA: b\n\r\n", "a line among chunks that does not end in CRLF"),
            ("0\r\nA: b\r\r", "a line among chunks that does not end in CRLF"),
            ("10000000000000000\r\n", "a chunk size of more than 64 bits"),
            ("00000000000000001\r\n", "a chunk size of more than 64 bits"),
            ("ffffffffffffffff\r\nx", "\"x\", more"),
        ] {
            for piece in 1..=wire.len().max(1) {
                let told = match decoded(wire.as_bytes(), piece) {
                    Ok((body, taken)) => {
                        let body = String::from_utf8(body).unwrap();
                        let taken =
                            taken.map_or_else(|| ", more".into(), |bytes| format!(" in {bytes}"));
                        format!("{body:?}{taken}")
                    }
                    Err(fault) => fault.detail.into(),
                };
                assert_eq!(told, expected, "{wire:?} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_no_body_is_bounded() {
        let extended = |bytes: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(bytes - 1));
        assert!(decoded(extended(256).as_bytes(), 9).unwrap().1.is_some());
        let wrong = decoded(extended(257).as_bytes(), 9).unwrap_err();
        assert_eq!(wrong, too_large("a chunk extension"));
        let trailers = |bytes: usize| {
            format!("0\r\n{}A: {}\r\n\r\n", "B: 5\r\n".repeat(100), "a".repeat(bytes - 403))
        };
        assert!(decoded(trailers(8192).as_bytes(), 999).unwrap().1.is_some());
        let wrong = decoded(trailers(8193).as_bytes(), 999).unwrap_err();
        assert_eq!(wrong, too_large("trailers"));
    }

    /// Chunked bodies, some of them damaged.
    fn any_wire() -> impl Strategy<Value = Vec<u8>> {
        let chunk = prop::collection::vec(any::<u8>(), 1..40);
        let extension = prop::sample::select(vec!["", "", ";a", ";a=\"b\"", " ", "x"]);
        let trailers = prop::sample::select(vec!["", "", "A: b\r\n", "A: b\r\nC:\r\n", "A\n"]);
        let noise = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
        (prop::collection::vec((chunk, extension), 0..6), trailers, noise, "[a-z\r\n]{0,5}")
            .prop_map(|(chunks, trailers, noise, behind)| {
                let mut wire = Vec::new();
                for (bytes, extension) in chunks {
                    wire.extend_from_slice(format!("{:x}{extension}\r\n", bytes.len()).as_bytes());
                    wire.extend_from_slice(&bytes);
                    wire.extend_from_slice(b"\r\n");
                }
                wire.extend_from_slice(format!("0\r\n{trailers}\r\n{behind}").as_bytes());
                if let Some((at, byte)) = noise {
                    let at = at.index(wire.len());
                    wire[at] = byte;
                }
                wire
            })
    }

    proptest! {
        #[test]
        fn however_it_comes_it_is_what_the_naive_twin_reads(wire in any_wire(), piece in 1usize..80) {
            let complete = decoded(&wire, piece).ok().and_then(|(body, taken)| Some((body, taken?)));
            prop_assert_eq!(complete, naive(&wire));
        }
    }
}
