//! Clients that read a few bytes at a time, and clients that take forever to say what they want.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Stop;
use crate::origin::content::Image;
use crate::pause;
use crate::target::packages::{DOMAIN, name};

/// `count` of each, until `stop`; says what became of them.
pub(super) fn run(address: SocketAddr, count: usize, stop: &Stop) -> io::Result<String> {
    let blob = Image::new().layers.swap_remove(0);
    let request = format!("GET /v2/{}/{} HTTP/1.1\r\nHost: {DOMAIN}\r\n\r\n", name(0), blob.tail);
    let mut clients: Vec<Client> = Vec::new();
    let (mut opened, mut ended) = (0_usize, 0_usize);
    while !stop.is_asked_for() {
        while clients.len() < 2 * count {
            let reads = clients.iter().filter(|client| client.reads).count() < count;
            clients.push(Client::start(address, reads, &request)?);
            opened += 1;
        }
        let before = clients.len();
        clients.retain_mut(|client| client.go_on(request.as_bytes()).is_ok());
        ended += before - clients.len();
        pause(APART);
    }
    Ok(format!(
        "{count} slow readers and {count} slow writers meanwhile: {opened} connections, of which \
         {ended} were ended by the target"
    ))
}

struct Client {
    stream: TcpStream,
    reads: bool,
    /// Bytes of the request that are out.
    sent: usize,
}

impl Client {
    fn start(address: SocketAddr, reads: bool, request: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        if reads {
            rustix::net::sockopt::set_socket_recv_buffer_size(&stream, RECEIVE_BYTES)?;
            stream.write_all(request.as_bytes())?;
        }
        stream.set_nonblocking(true)?;
        Ok(Self { stream, reads, sent: 0 })
    }

    fn go_on(&mut self, request: &[u8]) -> io::Result<()> {
        if self.reads {
            let mut part = [0; READ_BYTES];
            return match self.stream.read(&mut part) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => Ok(()),
                Err(problem) if problem.kind() == ErrorKind::WouldBlock => Ok(()),
                Err(problem) => Err(problem),
            };
        }
        // All but the last byte, so that the request is never whole.
        if let Some(byte) = request[..request.len() - 1].get(self.sent..=self.sent) {
            self.stream.write_all(byte)?;
            self.sent += 1;
        }
        match self.stream.read(&mut [0; 512]) {
            Err(problem) if problem.kind() == ErrorKind::WouldBlock => Ok(()),
            // An answer to half a request, or its end.
            Ok(_) => Err(ErrorKind::UnexpectedEof.into()),
            Err(problem) => Err(problem),
        }
    }
}

const APART: Duration = Duration::from_millis(100);
const READ_BYTES: usize = 1024;
const RECEIVE_BYTES: usize = 8 << 10;
