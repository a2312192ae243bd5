//! A body that passes through: what of the bytes that come is body, where it ends, and how it is
//! chunked anew for a client (RFC 9112, 6.3 and 7.1).

use std::ops::Range;

use crate::pure::fault::{Fault, Kind};
use crate::pure::http1::chunked::Chunked;
use crate::pure::http1::response::Framing;

/// A body, as far as it has come.
pub enum Body {
    /// So many bytes are to come.
    Length(u64),
    /// Chunks are to come.
    Chunked(Chunked),
    /// Everything until the connection's end is body.
    UntilClose,
}

/// What some bytes of the connection held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// So many bytes of body: they are at the front now.
    pub bytes: usize,
    /// Whether the body is complete.
    pub is_complete: bool,
}

impl Body {
    /// A body framed so, of which nothing has come.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Length(0),
            Framing::Length(bytes) => Self::Length(bytes),
            Framing::Chunked => Self::Chunked(Chunked::new()),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    /// How many bytes are still to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Takes what came next, and moves the part of it that is body to its front.
    ///
    /// # Errors
    /// [`Kind::UpstreamMalformed`]: more came than was announced, or no chunks.
    pub fn take(&mut self, came: &mut [u8]) -> Result<Taken, Fault> {
        match self {
            Self::Length(left) => {
                let bytes = came.len();
                *left = left.checked_sub(bytes as u64).ok_or(TOO_LONG)?;
                Ok(Taken { bytes, is_complete: *left == 0 })
            }
            Self::Chunked(chunked) => take_chunks(chunked, came),
            Self::UntilClose => Ok(Taken { bytes: came.len(), is_complete: false }),
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// [`Kind::UpstreamMalformed`]: before the body did.
    pub fn end(&self) -> Result<(), Fault> {
        match self {
            Self::UntilClose | Self::Length(0) => Ok(()),
            Self::Length(_) | Self::Chunked(_) => Err(TOO_SHORT),
        }
    }
}

fn take_chunks(chunked: &mut Chunked, came: &mut [u8]) -> Result<Taken, Fault> {
    let (mut read, mut bytes) = (0, 0);
    loop {
        let step = chunked.decode(came.get(read..).unwrap_or_default())?;
        let data = read + step.skip;
        came.copy_within(data..data + step.data, bytes);
        bytes += step.data;
        read = data + step.data;
        if step.done && read < came.len() {
            return Err(TOO_LONG);
        }
        if step.done || read == came.len() {
            return Ok(Taken { bytes, is_complete: step.done });
        }
    }
}

/// Makes the `body` bytes of `buffer` a chunk, and the last one if `is_last`: what of `buffer` is to
/// be sent. Before them [`CHUNK_BEFORE_BYTES`] are free, with those behind them [`CHUNK_AROUND_BYTES`]. No
/// bytes are no chunk: an empty one would be the end.
pub fn chunk(buffer: &mut [u8], body: Range<usize>, is_last: bool) -> Range<usize> {
    let (mut begin, mut end) = (body.start, body.end);
    if !body.is_empty() {
        let mut size = [0; CHUNK_BEFORE_BYTES];
        let mut left = body.len();
        let mut digits = SIZE_DIGITS;
        while left > 0 && digits > 0 {
            digits -= 1;
            size[digits] = b"0123456789abcdef"[left % 16];
            left /= 16;
        }
        size[SIZE_DIGITS..].copy_from_slice(b"\r\n");
        begin -= CHUNK_BEFORE_BYTES - digits;
        buffer[begin..body.start].copy_from_slice(&size[digits..]);
        buffer[end..end + 2].copy_from_slice(b"\r\n");
        end += 2;
    }
    if is_last {
        buffer[end..end + LAST_CHUNK.len()].copy_from_slice(LAST_CHUNK);
        end += LAST_CHUNK.len();
    }
    begin..end
}

/// What came behind a body that was complete.
pub const TOO_LONG: Fault = Fault::new(Kind::UpstreamMalformed, "more body than it announced");
/// A body that ended too early.
pub const TOO_SHORT: Fault = Fault::new(Kind::UpstreamMalformed, "less body than it announced");

/// Digits of a chunk's size: a buffer is shorter than 4 GiB.
const SIZE_DIGITS: usize = 8;
/// Room that a chunk takes before its bytes: its size and a line break.
pub const CHUNK_BEFORE_BYTES: usize = SIZE_DIGITS + 2;
/// Room that it takes before and behind them: there, a line break and a last chunk.
pub const CHUNK_AROUND_BYTES: usize = CHUNK_BEFORE_BYTES + 2 + LAST_CHUNK.len();
/// What ends chunks.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes `wire` in pieces of the given lengths, as a connection might bring it.
    fn taken(framing: Framing, wire: &[u8], pieces: &[usize]) -> (Vec<u8>, Result<bool, Fault>) {
        let (mut body, mut seen, mut at) = (Body::new(framing), Vec::new(), 0);
        let mut is_complete = body.left() == Some(0);
        let mut pieces = pieces.iter().cycle();
        while at < wire.len() {
            let end = wire.len().min(at + pieces.next().unwrap());
            let mut piece = wire[at..end].to_vec();
            match body.take(&mut piece) {
                Ok(taken) => {
                    seen.extend_from_slice(&piece[..taken.bytes]);
                    is_complete = taken.is_complete;
                }
                Err(fault) => return (seen, Err(fault)),
            }
            at = end;
        }
        (seen, Ok(is_complete))
    }

    #[test]
    fn a_length_is_counted_down() {
        assert_eq!(taken(Framing::Length(5), b"layer", &[2]), (b"layer".to_vec(), Ok(true)));
        assert_eq!(taken(Framing::Length(6), b"layer", &[9]), (b"layer".to_vec(), Ok(false)));
        assert_eq!(taken(Framing::Length(4), b"layer", &[3]), (b"lay".to_vec(), Err(TOO_LONG)));
        assert_eq!(taken(Framing::None, b"layer", &[9]), (vec![], Err(TOO_LONG)));
        assert_eq!(taken(Framing::UntilClose, b"layer", &[2]), (b"layer".to_vec(), Ok(false)));
        assert_eq!(Body::new(Framing::Length(1)).end(), Err(TOO_SHORT));
        assert_eq!(Body::new(Framing::UntilClose).end(), Ok(()));
    }

    #[test]
    fn nothing_comes_behind_the_last_chunk() {
        let wire = b"2\r\nla\r\n3\r\nyer\r\n0\r\n\r\n";
        assert_eq!(taken(Framing::Chunked, wire, &[99]), (b"layer".to_vec(), Ok(true)));
        let more = b"5\r\nlayer\r\n0\r\n\r\nHTTP/1.1 200 OK";
        assert_eq!(taken(Framing::Chunked, more, &[99]), (vec![], Err(TOO_LONG)));
        assert_eq!(Body::new(Framing::Chunked).end(), Err(TOO_SHORT));
    }

    #[test]
    fn a_chunk_has_its_size_before_it() {
        let chunked = |bytes: &[u8], is_last| {
            let mut buffer = vec![b'.'; CHUNK_BEFORE_BYTES];
            buffer.extend_from_slice(bytes);
            buffer.extend_from_slice(&[b'.'; CHUNK_AROUND_BYTES]);
            let body = CHUNK_BEFORE_BYTES..CHUNK_BEFORE_BYTES + bytes.len();
            let range = chunk(&mut buffer, body, is_last);
            String::from_utf8(buffer[range].to_vec()).unwrap()
        };
        assert_eq!(chunked(b"layer", false), "5\r\nlayer\r\n");
        assert_eq!(chunked(b"a layer of a cake", true), "11\r\na layer of a cake\r\n0\r\n\r\n");
        assert_eq!(chunked(b"", true), "0\r\n\r\n");
        assert_eq!(chunked(b"", false), "");
    }

    proptest! {
        /// However it is chunked and however it comes, what is body stays the same.
        #[test]
        fn what_is_chunked_comes_out_whole(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..700), 0..8),
            pieces in prop::collection::vec(1usize..300, 1..8),
        ) {
            let mut wire = Vec::new();
            for bytes in &chunks {
                let mut buffer = vec![0; CHUNK_BEFORE_BYTES];
                buffer.extend_from_slice(bytes);
                buffer.extend_from_slice(&[0; CHUNK_AROUND_BYTES]);
                let body = CHUNK_BEFORE_BYTES..CHUNK_BEFORE_BYTES + bytes.len();
                let range = chunk(&mut buffer, body, false);
                wire.extend_from_slice(&buffer[range]);
            }
            wire.extend_from_slice(LAST_CHUNK);
            let (seen, outcome) = taken(Framing::Chunked, &wire, &pieces);
            prop_assert_eq!(seen, chunks.concat());
            prop_assert_eq!(outcome, Ok(true));
        }
    }
}
