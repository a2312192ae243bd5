//! A body through one reused buffer: where one side is encrypted, or the framing changes.

use monoio::buf::IoBufMut;

use super::{Broke, ClientFraming, Link, Stream, has_unread};
use crate::messages::meters::Counter;
use crate::pure::http1::body::{
    Body, CHUNK_AROUND_BYTES, CHUNK_BEFORE_BYTES, TOO_LONG, Taken, chunk,
};
use crate::worker::buffers::Buffer;

/// Passes `body` on to the client: `rest` first, then what comes from `link`.
///
/// A piece is read into the middle of the buffer, what is body of it is moved together, and for a
/// client that gets chunks their marks are written around it: one write for each piece.
pub(super) async fn copy(
    stream: &Stream<'_>,
    rest: Buffer,
    link: &mut Link,
    mut body: Body,
) -> Result<(), Broke> {
    let Stream { pace, client, to_client, buffer_bytes, .. } = stream;
    // A byte more than is left shows that there is more.
    let wanted = body.left().map_or(usize::MAX, |left| at_most(left.saturating_add(1)));
    let room = buffer_bytes.saturating_sub(CHUNK_AROUND_BYTES);
    let piece_bytes = room.min(wanted).max(rest.filled().len()).max(PIECE_BYTES_MIN);
    let mut buffer = Vec::with_capacity(piece_bytes + CHUNK_AROUND_BYTES);
    buffer.resize(CHUNK_BEFORE_BYTES, 0);
    buffer.extend_from_slice(rest.filled());
    drop(rest);
    let most = CHUNK_BEFORE_BYTES + piece_bytes.min(AT_ONCE_BYTES_MAX);
    let mut is_over = body.left() == Some(0);
    loop {
        let came = buffer.get_mut(CHUNK_BEFORE_BYTES..).unwrap_or_default();
        let mut taken = Taken::default();
        if !came.is_empty() {
            taken = body.take(came).map_err(Broke::Upstream)?;
            is_over = taken.is_complete;
        }
        if is_over && link.plain().is_some_and(has_unread) {
            return Err(Broke::Upstream(TOO_LONG));
        }
        let mut piece = CHUNK_BEFORE_BYTES..CHUNK_BEFORE_BYTES + taken.bytes;
        if *to_client == ClientFraming::Chunked {
            buffer.resize(taken.bytes + CHUNK_AROUND_BYTES, 0);
            piece = chunk(&mut buffer, piece, is_over);
        }
        pace.send(*client, buffer.get(piece).unwrap_or_default()).await?;
        pace.passed(Counter::StreamedBytesCopied, taken.bytes);
        if is_over {
            return Ok(());
        }
        if pace.is_turn_over() {
            pace.let_others().await;
        }
        buffer.truncate(CHUNK_BEFORE_BYTES);
        pace.waits_for_upstream();
        let spare = buffer.slice_mut(CHUNK_BEFORE_BYTES..CHUNK_BEFORE_BYTES + piece_bytes);
        let (read, spare) = link.read(spare).await;
        buffer = spare.into_inner();
        match read {
            Ok(0) => {
                pace.upstream_ended(body.end())?;
                is_over = true;
            }
            // One write to the client for all that is there: each costs more than its bytes.
            Ok(_) => link.read_at_once(&mut buffer, most),
            Err(_) => return Err(pace.upstream_broke()),
        }
    }
}

/// `left`, if it is a length that memory can have.
fn at_most(left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX)
}

/// What is decrypted before others have their turn.
const AT_ONCE_BYTES_MAX: usize = 256 * 1024;
/// The buffer's least length, for whatever a body's framing may bring.
const PIECE_BYTES_MIN: usize = 4096;
