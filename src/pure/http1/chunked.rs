//! Chunked bodies read piece by piece, whatever their chunks' size (RFC 9112, 7.1).

use crate::pure::fault::{Fault, Kind};

/// Where in a chunked body the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunked {
    state: State,
    /// Data bytes of this chunk that are still to come; its size while that is read.
    left: u64,
    /// Bytes of the line that is read, or of all trailer lines.
    line: usize,
}

/// What stands at the front of the input: so many bytes of framing, and right behind them so many
/// of data. Both are to be taken off before the next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes of framing.
    pub skip: usize,
    /// Bytes of data.
    pub data: usize,
    /// Whether the body has ended behind these.
    pub done: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first digit of a size.
    SizeBegins,
    Size,
    /// Behind the size, up to the line's end: an extension, which means nothing here.
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a line behind the last chunk.
    TrailerBegins,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

impl Chunked {
    /// At the beginning of a body.
    pub const fn new() -> Self {
        Self { state: State::SizeBegins, left: 0, line: 0 }
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Reads on at the front of `input`. Never reads past the end of the body.
    ///
    /// # Errors
    /// [`Kind::UpstreamMalformed`] for what is no chunk, and for lines that are too long.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, Fault> {
        let mut skip = 0;
        loop {
            if self.state == State::Data {
                let rest = input.len() - skip;
                let data = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest);
                self.left -= data as u64;
                if self.left == 0 {
                    self.state = State::DataCr;
                }
                return Ok(Step { skip, data, done: false });
            }
            if self.state == State::Done {
                return Ok(Step { skip, data: 0, done: true });
            }
            let Some(byte) = input.get(skip) else {
                return Ok(Step { skip, data: 0, done: false });
            };
            self.step(*byte)?;
            skip += 1;
        }
    }

    fn step(&mut self, byte: u8) -> Result<(), Fault> {
        self.state = match (self.state, byte) {
            (State::SizeBegins | State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                let larger = self.left.checked_mul(16).map(|left| left + u64::from(digit));
                self.left = larger.ok_or_else(|| malformed("a chunk of impossible size"))?;
                self.longer(LINE_BYTES_MAX)?;
                State::Size
            }
            (State::Size | State::Extension, b'\r') => State::SizeLf,
            (State::Size, b';' | b' ' | b'\t') => State::Extension,
            (State::Extension, byte) if byte != b'\n' => {
                self.longer(LINE_BYTES_MAX)?;
                State::Extension
            }
            (State::SizeLf, b'\n') => {
                self.line = 0;
                if self.left == 0 { State::TrailerBegins } else { State::Data }
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::SizeBegins,
            (State::TrailerBegins, b'\r') => State::EndLf,
            (State::TrailerBegins | State::Trailer, byte) if !matches!(byte, b'\r' | b'\n') => {
                self.longer(TRAILER_BYTES_MAX)?;
                State::Trailer
            }
            (State::Trailer, b'\r') => State::TrailerLf,
            (State::TrailerLf, b'\n') => State::TrailerBegins,
            (State::EndLf, b'\n') => State::Done,
            _ => return Err(malformed("its body is not framed in chunks")),
        };
        Ok(())
    }

    fn longer(&mut self, most: usize) -> Result<(), Fault> {
        self.line += 1;
        if self.line > most { Err(malformed("a chunk with too long a line")) } else { Ok(()) }
    }
}

impl Default for Chunked {
    fn default() -> Self {
        Self::new()
    }
}

fn malformed(detail: &'static str) -> Fault {
    Fault::new(Kind::UpstreamMalformed, detail)
}

/// A size's line with its extension.
const LINE_BYTES_MAX: usize = 256;
/// All trailer lines together.
const TRAILER_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The data in `pieces`, and how many bytes stand behind the body; `None` while it goes on.
    fn read(pieces: &[&[u8]]) -> Result<(Vec<u8>, Option<usize>), Fault> {
        let mut chunked = Chunked::new();
        let mut data = Vec::new();
        for (index, piece) in pieces.iter().enumerate() {
            let mut rest = *piece;
            loop {
                let step = chunked.decode(rest)?;
                data.extend(&rest[step.skip..step.skip + step.data]);
                rest = &rest[step.skip + step.data..];
                if step.done {
                    let behind: usize = pieces[index + 1..].iter().map(|piece| piece.len()).sum();
                    return Ok((data, Some(rest.len() + behind)));
                }
                if rest.is_empty() {
                    break;
                }
            }
        }
        Ok((data, None))
    }

    #[test]
    fn bodies_are_read_to_their_end_and_no_further() {
        for (body, data, behind) in [
            ("0\r\n\r\n", "", Some(0)),
            ("3\r\nabc\r\n0\r\n\r\nHTTP", "abc", Some(4)),
            (
                "003;x=\"y\"\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: v\r\nU: w\r\n\r\n",
                "abc0123456789",
                Some(0),
            ),
            ("3 \r\nabc\r\n0\r\n\r\n", "abc", Some(0)),
            ("3\r\nab", "ab", None),
            ("3\r\nabc\r\n0\r\n", "abc", None),
        ] {
            assert_eq!(
                read(&[body.as_bytes()]),
                Ok((data.as_bytes().to_vec(), behind)),
                "{body:?}"
            );
        }
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        let long = format!("3;{}\r\nabc", "x".repeat(300));
        let trailers = format!("0\r\n{}\r\n", "a: b\r\n".repeat(3000));
        for body in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "3\nabc",
            "3\r\nabcd",
            "3\r\nabc\n",
            "3\r\nabc\r\r",
            ";x\r\n",
            "ffffffffffffffffff\r\n",
            "3\rabc",
            "0\r\n\n",
            "0\r\nT: v\n\r\n",
            &long,
            &trailers,
        ] {
            assert!(read(&[body.as_bytes()]).is_err(), "{:.40?}", body);
        }
    }

    proptest! {
        #[test]
        fn however_it_arrives_it_reads_as_it_was_written(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..6),
            cuts in proptest::collection::vec(1_usize..30, 0..40),
            behind in "[a-z]{0,5}",
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend(format!("{:x}\r\n", chunk.len()).bytes());
                body.extend(chunk);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            body.extend(behind.bytes());
            let mut pieces = Vec::new();
            let mut rest = &body[..];
            for cut in cuts {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            pieces.push(rest);
            prop_assert_eq!(read(&pieces), Ok((chunks.concat(), Some(behind.len()))));
        }

        #[test]
        fn any_bytes_are_judged(body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&[&body]);
        }
    }
}
