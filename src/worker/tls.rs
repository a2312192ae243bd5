//! TLS towards clients: rustls between the ring and the connection's loop, in buffers of the pool. A
//! connection that nobody uses holds none.
//!
//! rustls is given what has come and a place for what it has to say, and never waits itself
//! ([`UnbufferedServerConnection`]). What it wants to have sent is in our own buffer at once, and is
//! sent before anything else is waited for.

use std::sync::Arc;

use rustls::HandshakeKind;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};

use crate::messages::certificates::{Choice, Serving};
use crate::pure::certificates::Shown;
use crate::worker::buffers::Buffer;

/// One connection's TLS.
pub struct Session {
    tls: UnbufferedServerConnection,
    choice: Option<Arc<Choice>>,
    /// What has come and could not be taken yet: part of a record.
    came: Option<Buffer>,
    /// What was taken and did not fit where it was wanted.
    rest: Vec<u8>,
    ended: bool,
}

/// The connection cannot go on: the other side does not speak TLS as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl Session {
    /// One that is about to begin.
    pub fn new(serving: &Serving) -> Result<Self, Broken> {
        let (config, choice) = serving.for_one();
        let tls = UnbufferedServerConnection::new(config).map_err(|_| Broken)?;
        Ok(Self { tls, choice: Some(choice), came: None, rest: Vec::new(), ended: false })
    }

    /// Whether both sides have not agreed yet.
    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Whether an earlier session was taken up.
    pub fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Whether HTTP/2 was agreed on.
    pub fn speaks_http2(&self) -> bool {
        self.tls.alpn_protocol() == Some(b"h2")
    }

    /// What the client was shown. To be asked once, when the handshake is over.
    pub fn shown(&mut self) -> Shown {
        self.choice.take().map_or_else(|| Shown::new(None, None), |choice| choice.shown())
    }

    /// Whether the client has said that it sends no more.
    pub fn has_ended(&self) -> bool {
        self.ended && self.rest.is_empty()
    }

    /// Whether more was taken than found room.
    pub fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// What has come and is not a whole record yet, to be received into.
    pub fn take_came(&mut self) -> Option<Buffer> {
        self.came.take()
    }

    /// Nothing was received into `came`: what it holds is kept for the next time.
    pub fn give_came(&mut self, came: Buffer) {
        self.came = Some(came).filter(|came| !came.is_empty());
    }

    /// Takes what is in `came`, puts what it says behind what `plain` holds, and what is to be said
    /// in return behind what `out` holds.
    ///
    /// # Errors
    /// Then `out` holds what tells the other side why.
    pub fn take(
        &mut self,
        came: Buffer,
        plain: &mut Buffer,
        out: &mut Buffer,
    ) -> Result<(), Broken> {
        let mut came = came;
        self.give_rest(plain);
        let mut taken = 0;
        let outcome = loop {
            let length = came.filled().len();
            let bytes = came.all_mut().get_mut(taken..length).unwrap_or_default();
            let UnbufferedStatus { discard, state, .. } = self.tls.process_tls_records(bytes);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        let fits = plain.append(record.payload);
                        self.rest.extend_from_slice(record.payload.get(fits..).unwrap_or_default());
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    if put(out, |room| data.encode(room)).is_err() {
                        break Err(Broken);
                    }
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => {
                    taken += discard;
                    break Ok(());
                }
                // Early data is never agreed to; more states may be thought of.
                Ok(_) => {
                    self.ended = true;
                    break Ok(());
                }
                Err(_) => {
                    taken += discard;
                    self.say_why(out);
                    break Err(Broken);
                }
            }
            taken += discard;
        };
        came.consume(taken);
        self.give_came(came);
        outcome
    }

    /// Puts what was taken before behind what `plain` holds, as far as it fits.
    pub fn give_rest(&mut self, plain: &mut Buffer) {
        let fits = plain.append(&self.rest);
        self.rest.drain(..fits);
    }

    /// Seals the front of `plain` behind what `out` holds: as much as fits one record. Returns how
    /// much that was.
    pub fn seal(&mut self, plain: &[u8], out: &mut Buffer) -> Result<usize, Broken> {
        let piece = plain.get(..RECORD_BYTES_MAX).unwrap_or(plain);
        loop {
            match self.tls.process_tls_records(&mut []).state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    put(out, |room| traffic.encrypt(piece, room))?;
                    return Ok(piece.len());
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => put(out, |room| data.encode(room))?,
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                // It ends its side; ours goes on.
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(_) | Err(_) => return Err(Broken),
            }
        }
    }

    /// Puts the word that nothing follows behind what `out` holds, where it can still be said.
    pub fn seal_end(&mut self, out: &mut Buffer) {
        let state = self.tls.process_tls_records(&mut []).state;
        if let Ok(ConnectionState::WriteTraffic(mut traffic)) = state {
            let _ = put(out, |room| traffic.queue_close_notify(room));
        }
    }

    /// What rustls has to say of an error.
    fn say_why(&mut self, out: &mut Buffer) {
        loop {
            match self.tls.process_tls_records(&mut []).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    if put(out, |room| data.encode(room)).is_err() {
                        return;
                    }
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(_) | Err(_) => return,
            }
        }
    }
}

/// Lets `write` write behind what `out` holds.
fn put<E>(
    out: &mut Buffer,
    write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
) -> Result<(), Broken> {
    let used = out.filled().len();
    let written = write(out.all_mut().get_mut(used..).unwrap_or_default()).map_err(|_| Broken)?;
    out.set_filled(used + written);
    Ok(())
}

/// Whether these first bytes of a connection are a handshake's (RFC 8446, 5.1).
pub fn is_handshake(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x16)
}

/// What one record holds (RFC 8446, 5.1).
const RECORD_BYTES_MAX: usize = 16 * 1024;

// A record and what is around it fit a buffer; so does what comes before it, or nothing is sent.
const _: () = assert!(crate::pure::limits::BUFFER_BYTES >= RECORD_BYTES_MAX + 2048 + 5);
