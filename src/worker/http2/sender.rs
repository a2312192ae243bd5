//! A stream's client, as who sends the body of its request.

use std::mem::take;
use std::rc::Rc;

use bytes::Bytes;
use h2::RecvStream;

use super::stream::Stream;
use crate::pure::fault::Fault;
use crate::pure::http1::handed;
use crate::pure::http1::response::Framing;
use crate::pure::limits::LINGER_BYTES_MAX;
use crate::worker::downstream::Downstream;
use crate::worker::over::Over;
use crate::worker::upload::{Cut, Visitor};
use crate::worker::within::{Allowance, within};
use crate::worker::{LINGERING_SWEEPS, Worker};

/// Who sends a request's body, of which no more comes than what was taken makes room for.
pub(super) struct Sender {
    worker: Rc<Worker>,
    stream: Stream,
    body: RecvStream,
    /// What the client may take to send it.
    allowance: Allowance,
    /// What is still to come, where that was said.
    left: Option<u64>,
    /// Bytes that were taken last: they make room once they have gone on.
    taken: usize,
    has_ended: bool,
}

impl Sender {
    /// Who sends `body`.
    pub(super) fn new(
        worker: &Rc<Worker>,
        stream: Stream,
        body: RecvStream,
        allowance: Allowance,
    ) -> Self {
        let (worker, has_ended) = (Rc::clone(worker), body.is_end_stream());
        Self { worker, stream, body, allowance, left: None, taken: 0, has_ended }
    }

    /// How the body goes on, `bytes` being the request's head: in chunks where its length is not said.
    pub(super) fn framing(&mut self, bytes: &[u8]) -> Result<Framing, Fault> {
        let said = handed::framing(bytes)?;
        if let Framing::Length(length) = said {
            self.left = Some(length);
        }
        Ok(match said {
            Framing::None if self.has_ended => Framing::None,
            Framing::None => Framing::Chunked,
            Framing::Length(_) | Framing::Chunked | Framing::UntilClose => said,
        })
    }

    /// The answer is over, and whether it was as it should. What the client still sends is taken for a
    /// while: who gives up a body that is still coming resets its stream, and some clients forget the answer
    /// over that.
    pub(super) async fn end(mut self, is_well: bool) {
        self.stream.end(is_well);
        if is_well && !self.body.is_end_stream() {
            let worker = Rc::clone(&self.worker);
            let _ = within(&worker, LINGERING_SWEEPS, self.linger()).await;
        }
    }

    async fn linger(&mut self) {
        let mut left = LINGER_BYTES_MAX;
        while let Some(Ok(piece)) = self.body.data().await {
            let _ = self.body.flow_control().release_capacity(piece.len() + take(&mut self.taken));
            if piece.len() > left {
                return;
            }
            left -= piece.len();
        }
    }
}

impl Visitor for Sender {
    async fn piece(&mut self) -> Result<Option<Bytes>, Cut> {
        let taken = take(&mut self.taken);
        // Of a stream that was reset the next piece says so.
        let _ = self.body.flow_control().release_capacity(taken);
        loop {
            let coming = self.allowance.within(&self.worker, self.body.data()).await;
            let Some(piece) = coming.ok_or(Cut::TooLate)? else {
                // The library holds it to its length too; what goes on must not depend on that.
                let is_all = self.left.is_none_or(|left| left == 0);
                return if is_all { Ok(None) } else { Err(Cut::Gone) };
            };
            let piece = piece.map_err(|_| Cut::Gone)?;
            if let Some(left) = &mut self.left {
                *left = left.checked_sub(piece.len() as u64).ok_or(Cut::Gone)?;
            }
            if !piece.is_empty() {
                self.taken = piece.len();
                return Ok(Some(piece));
            }
        }
    }

    fn has_begun(&self) -> bool {
        // What has come and was not taken cannot be seen.
        false
    }

    async fn go_on(&mut self) -> Result<(), Over> {
        self.stream.go_on()
    }

    async fn gone(&mut self) {
        self.stream.gone().await;
    }

    fn is_whole(&self) -> bool {
        // The connection goes on in any case.
        true
    }

    fn down(&mut self) -> Downstream<'_> {
        Downstream::Stream(&mut self.stream)
    }
}
