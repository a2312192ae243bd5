//! Servers inside the test: each connection is a conversation that a closure leads, and each request
//! is kept for the test to look at.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A listening server. Dropping it ends its listening; conversations end with their peers.
pub struct Origin {
    address: SocketAddr,
    requests: Receiver<Request>,
    connections: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

/// A request that arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which connection it came on, from 0.
    pub connection: u64,
    /// `GET`.
    pub method: String,
    /// As it stood in the request line.
    pub target: String,
    /// Names in lower case, in order.
    pub fields: Vec<(String, String)>,
    /// The head as it came, the empty line included.
    pub head: Vec<u8>,
    /// Its body.
    pub body: Vec<u8>,
}

/// One connection, as its server holds it.
pub struct Talk {
    wire: BufReader<Box<dyn Wire>>,
    socket: TcpStream,
    requests: Sender<Request>,
    /// Which connection this is, from 0.
    pub number: u64,
}

/// What bytes go over.
pub trait Wire: Read + Write + Send {}

impl<W: Read + Write + Send> Wire for W {}

impl Origin {
    /// Listens on a free port of `ip`; `lead` leads each conversation, on a thread of its own. An
    /// error that it returns just ends the conversation, like its return.
    pub fn start<L>(ip: impl Into<IpAddr>, lead: L) -> Self
    where
        L: Fn(&mut Talk) -> io::Result<()> + Send + Sync + 'static,
    {
        Self::over(ip.into(), |socket| Ok(Box::new(socket)), lead)
    }

    /// The same over TLS.
    pub fn start_tls<L>(ip: impl Into<IpAddr>, tls: Arc<ServerConfig>, lead: L) -> Self
    where
        L: Fn(&mut Talk) -> io::Result<()> + Send + Sync + 'static,
    {
        let wrap = move |socket| -> io::Result<Box<dyn Wire>> {
            let session = ServerConnection::new(Arc::clone(&tls)).map_err(io::Error::other)?;
            Ok(Box::new(StreamOwned::new(session, socket)))
        };
        Self::over(ip.into(), wrap, lead)
    }

    fn over<W, L>(ip: IpAddr, wrap: W, lead: L) -> Self
    where
        W: Fn(TcpStream) -> io::Result<Box<dyn Wire>> + Send + 'static,
        L: Fn(&mut Talk) -> io::Result<()> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind((ip, 0)).expect("a port to listen on");
        let address = listener.local_addr().expect("its address");
        let (sender, requests) = bounded(REQUESTS_MAX);
        let connections = Arc::new(AtomicU64::new(0));
        let is_over = Arc::new(AtomicBool::new(false));
        let (count, over, lead) = (Arc::clone(&connections), Arc::clone(&is_over), Arc::new(lead));
        thread::spawn(move || {
            while let Ok((socket, _)) = listener.accept() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let number = count.fetch_add(1, Ordering::SeqCst);
                let Ok(mut talk) = Talk::open(socket, &wrap, sender.clone(), number) else {
                    continue;
                };
                let lead = Arc::clone(&lead);
                thread::spawn(move || {
                    // The peer has gone, or the script wants an end: either way this is over.
                    let _ = lead(&mut talk);
                });
            }
        });
        Self { address, requests, connections, is_over }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests that arrived since this was asked last, in the order of their arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.try_iter().collect()
    }

    /// How many connections were opened so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Wakes it up, so that it sees.
        let _ = TcpStream::connect(self.address);
    }
}

impl Talk {
    fn open(
        socket: TcpStream,
        wrap: &impl Fn(TcpStream) -> io::Result<Box<dyn Wire>>,
        requests: Sender<Request>,
        number: u64,
    ) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(QUIET_TIME))?;
        let wire = BufReader::new(wrap(socket.try_clone()?)?);
        Ok(Self { wire, socket, requests, number })
    }

    /// The next request; none when the peer has closed.
    pub fn request(&mut self) -> io::Result<Option<Request>> {
        if self.wire.fill_buf()?.first() == Some(&TLS_HANDSHAKE) {
            // Go's clients go on in plaintext when they see these words.
            self.send("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")?;
            return Ok(None);
        }
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let limit = (HEAD_BYTES_MAX - head.len()) as u64;
            if self.wire.by_ref().take(limit).read_until(b'\n', &mut head)? == 0 {
                return Ok(None);
            }
        }
        let mut request = Request::read(head, self.number);
        let length = request.field("content-length").and_then(|length| length.parse().ok());
        self.wire.by_ref().take(length.unwrap_or(0)).read_to_end(&mut request.body)?;
        // A test that never looks may fill the channel; then there is nobody to keep it for.
        let _ = self.requests.try_send(request.clone());
        Ok(Some(request))
    }

    /// Sends bytes as they stand.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.get_mut().write_all(bytes.as_ref())?;
        self.wire.get_mut().flush()
    }

    /// Sends a whole answer, `fields` being lines. To a HEAD it is said how long a body would be.
    pub fn answer(
        &mut self,
        to: &Request,
        status: &str,
        fields: &[&str],
        body: &[u8],
    ) -> io::Result<()> {
        let mut answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
        fields.iter().for_each(|line| answer += &format!("{line}\r\n"));
        answer += "\r\n";
        let body = if to.method == "HEAD" { b"" } else { body };
        self.send([answer.as_bytes(), body].concat())
    }

    /// Says nothing more, and waits until the peer goes away.
    pub fn stall(&mut self) -> io::Result<()> {
        io::copy(&mut self.wire, &mut io::sink()).map(drop)
    }

    /// Ends the connection with a reset.
    pub fn reset(&self) -> io::Result<()> {
        rustix::net::sockopt::set_socket_linger(&self.socket, Some(Duration::ZERO))?;
        self.socket.shutdown(std::net::Shutdown::Both)
    }

    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }
}

impl Request {
    fn read(head: Vec<u8>, connection: u64) -> Self {
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.lines();
        let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let (method, target) = (words.next(), words.next());
        let field = |line: &str| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        };
        Self {
            connection,
            method: method.unwrap_or_default(),
            target: target.unwrap_or_default(),
            fields: lines.filter_map(field).collect(),
            head,
            body: Vec::new(),
        }
    }

    /// A field's first value; `name` in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// The scheme of its credentials: `Basic`, `Bearer`, or nothing.
    pub fn scheme(&self) -> &str {
        let words = self.field("authorization").unwrap_or_default();
        words.split(' ').next().unwrap_or_default()
    }

    /// Whether the gateway sent it on for a client (RFC 9110, 7.6.3).
    pub fn is_forwarded(&self) -> bool {
        self.field("via").is_some_and(|via| via.contains("pullgate"))
    }
}

/// More than any test makes before it looks.
const REQUESTS_MAX: usize = 100_000;
const HEAD_BYTES_MAX: usize = 64 << 10;
/// How long a peer may say nothing: longer than any test waits.
const QUIET_TIME: Duration = Duration::from_secs(120);
/// How a TLS connection begins (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;
