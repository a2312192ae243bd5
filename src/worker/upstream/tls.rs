//! TLS towards registries: rustls in between the ring and whoever reads. What waits to be decrypted
//! lies in the pool's buffers, and a connection that nobody uses holds none.

use std::io::{self, BufRead, Write};
use std::rc::Rc;
use std::sync::Arc;

use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::worker::buffers::{Buffer, Pool};
use crate::worker::socket::descriptor;

/// A connection over TLS.
pub struct Stream {
    tcp: TcpStream,
    tls: ClientConnection,
    pool: Rc<Pool>,
    came: Option<Came>,
    /// What was wrong behind what was read already.
    broken: Option<io::Error>,
}

/// What has come and rustls has not taken yet: all behind `taken`.
struct Came {
    buffer: Buffer,
    taken: usize,
}

impl Stream {
    /// Speaks TLS over `tcp` with `host`, as in a URL.
    ///
    /// # Errors
    /// Of the connection; or one with what rustls says of the certificate or the handshake.
    pub async fn connect(
        tcp: TcpStream,
        config: Arc<ClientConfig>,
        host: &str,
        pool: &Rc<Pool>,
    ) -> io::Result<Self> {
        let host = host.trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = Self { tcp, tls, pool: Rc::clone(pool), came: None, broken: None };
        loop {
            stream.flush().await?;
            if !stream.tls.is_handshaking() {
                return Ok(stream);
            }
            match stream.receive().await {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) => {
                    // The other side is told why, if it still listens.
                    let _ = stream.flush().await;
                    return Err(error);
                }
            }
        }
    }

    /// Reads what has come, at most one record; 0 bytes where the other side has ended it properly.
    ///
    /// # Errors
    /// Also where the connection ends without TLS being ended: somebody may have cut it short.
    pub async fn read<B: IoBufMut>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        loop {
            match self.tls.reader().into_first_chunk() {
                Ok(mut plain) => {
                    let (read, buffer) = AsyncReadRent::read(&mut plain, buffer).await;
                    self.tls.reader().consume(read.as_ref().copied().unwrap_or(0));
                    return (read, buffer);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return (Err(error), buffer),
            }
            // Whatever the protocol itself has to say.
            if let Err(error) = self.flush().await {
                return (Err(error), buffer);
            }
            if let Err(error) = self.receive().await {
                return (Err(error), buffer);
            }
        }
    }

    /// Puts what is there already, without waiting, behind what `buffer` holds, until that is `most`
    /// bytes long. An end, or what is no TLS, is left for [`Self::read`] to say.
    pub fn read_at_once(&mut self, buffer: &mut Vec<u8>, most: usize) {
        while buffer.len() < most {
            match self.tls.reader().into_first_chunk() {
                Ok(plain) if !plain.is_empty() => {
                    let taken = plain.len().min(most - buffer.len());
                    buffer.extend_from_slice(plain.get(..taken).unwrap_or_default());
                    self.tls.reader().consume(taken);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.came.take().or_else(|| self.come_at_once().ok().flatten()) {
                        Some(came) => match self.take(came) {
                            Ok(_) => {}
                            Err(broken) => {
                                self.broken = Some(broken);
                                return;
                            }
                        },
                        None => return,
                    }
                }
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Writes all of `bytes`.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.tls.writer().write(bytes)?;
            bytes = bytes.get(taken..).unwrap_or_default();
            self.flush().await?;
        }
        Ok(())
    }

    /// Whether nothing has come but what concerns TLS alone, as tickets, and nothing ended.
    pub fn is_quiet(&mut self) -> bool {
        for _ in 0..RECEIVES_MAX {
            let came = match self.came.take() {
                Some(came) => came,
                None => match self.come_at_once() {
                    Ok(Some(came)) => came,
                    Ok(None) => return self.has_nothing(),
                    Err(_) => return false,
                },
            };
            if self.take(came).is_err() || !self.has_nothing() {
                return false;
            }
        }
        false
    }

    /// The socket beneath.
    pub fn socket(&self) -> &TcpStream {
        &self.tcp
    }

    /// What has come and can be had without waiting for it; an error also at the end.
    fn come_at_once(&self) -> Result<Option<Came>, Errno> {
        let mut buffer = self.pool.lend();
        match recv(descriptor(&self.tcp), buffer.all_mut(), RecvFlags::DONTWAIT) {
            Ok((0, _)) => Err(Errno::PIPE),
            Ok((bytes, _)) => {
                buffer.set_filled(bytes);
                Ok(Some(Came { buffer, taken: 0 }))
            }
            Err(Errno::AGAIN) => Ok(None),
            Err(problem) => Err(problem),
        }
    }

    fn has_nothing(&mut self) -> bool {
        let plain = self.tls.reader().into_first_chunk();
        plain.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Gives rustls more of what came, and waits for more where it has all. Returns how much it
    /// took: nothing at the end.
    async fn receive(&mut self) -> io::Result<usize> {
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        let came = match self.came.take() {
            Some(came) => came,
            None => {
                let (read, buffer) = self.tcp.read(self.pool.lend()).await;
                read?;
                Came { buffer, taken: 0 }
            }
        };
        self.take(came)
    }

    fn take(&mut self, mut came: Came) -> io::Result<usize> {
        let mut rest = came.buffer.filled().get(came.taken..).unwrap_or_default();
        let taken = self.tls.read_tls(&mut rest)?;
        if !rest.is_empty() {
            came.taken += taken;
            self.came = Some(came);
        }
        let state = self.tls.process_new_packets();
        state.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        Ok(taken)
    }

    /// Sends what rustls wants to have sent.
    async fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            let mut sealed = Vec::new();
            self.tls.write_tls(&mut sealed)?;
            self.tcp.write_all(sealed).await.0?;
        }
        Ok(())
    }
}

/// Receives of what concerns TLS alone before a connection is done without: there are at most a few
/// tickets.
const RECEIVES_MAX: usize = 16;
