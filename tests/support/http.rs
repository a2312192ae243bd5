//! HTTP/1.1 as little as tests need it: one request at a time.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::origin::Wire;

/// A connection that stays open between requests.
pub struct Connection(BufReader<Box<dyn Wire>>);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// `200` and so on.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Empty after HEAD.
    pub body: Vec<u8>,
    /// Whether the body came to the end that was announced.
    pub is_whole: bool,
}

impl Connection {
    /// Connects to `server`.
    pub fn open(server: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(server)?)
    }

    /// Connects to `server` over TLS and asks it for `host`.
    pub fn open_tls(server: SocketAddr, tls: &Arc<ClientConfig>, host: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Self::over_tls(stream, tls, host)
    }

    /// Speaks TLS on a connection that is there.
    pub fn over_tls(
        mut stream: TcpStream,
        tls: &Arc<ClientConfig>,
        host: &str,
    ) -> io::Result<Self> {
        let name = host.to_owned().try_into().map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        Ok(Self(BufReader::new(Box::new(StreamOwned::new(tls, stream)))))
    }

    /// Connects to `server` as somebody else: from `source`.
    pub fn open_from(source: IpAddr, server: SocketAddr) -> io::Result<Self> {
        Self::over(connect_from(source, server)?)
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(Box::new(stream))))
    }

    /// Sends a request and reads its answer. `headers` are whole lines, `Host` among them; a
    /// `Content-Length` is added where there is a body.
    pub fn ask(
        &mut self,
        method: &str,
        target: &str,
        headers: &[String],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut request = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
        for header in headers {
            request.extend(format!("{header}\r\n").bytes());
        }
        if !body.is_empty() || matches!(method, "POST" | "PUT") {
            request.extend(format!("Content-Length: {}\r\n", body.len()).bytes());
        }
        request.extend(b"\r\n");
        request.extend(body);
        self.send(&request)?;
        let answer = self.answer(method == "HEAD")?;
        let Answer { status, is_whole, .. } = answer;
        let cut = || io::Error::other(format!("{status}, with a body that is cut off"));
        is_whole.then_some(answer).ok_or_else(cut)
    }

    /// Sends bytes as they stand.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Reads an answer up to its body.
    pub fn head(&mut self) -> io::Result<Answer> {
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status =
            status.ok_or_else(|| io::Error::other(format!("not HTTP: {status_line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Answer { status, headers, body: Vec::new(), is_whole: true })
    }

    /// Reads an answer, whole or not.
    pub fn answer(&mut self, is_head: bool) -> io::Result<Answer> {
        let mut answer = self.head()?;
        let is_empty = is_head || matches!(answer.status, 100..=199 | 204 | 304);
        if is_empty {
        } else if answer.header("transfer-encoding") == Some("chunked") {
            answer.is_whole = self.chunks(&mut answer.body).is_ok();
        } else if let Some(length) = answer.header("content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            let came = self.0.by_ref().take(length).read_to_end(&mut answer.body);
            answer.is_whole = came.is_ok() && answer.body.len() as u64 == length;
        } else {
            answer.is_whole = self.0.read_to_end(&mut answer.body).is_ok();
        }
        Ok(answer)
    }

    /// Reads a body in chunks to its end (RFC 9112, 7.1).
    pub fn chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let size = u64::from_str_radix(&self.line()?, 16).map_err(io::Error::other)?;
            let before = body.len() as u64;
            self.0.by_ref().take(size).read_to_end(body)?;
            if body.len() as u64 - before < size || !self.line()?.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// Reads lines until one has `mark` in it; all of them.
    pub fn until(&mut self, mark: &str) -> io::Result<String> {
        let mut came = String::new();
        loop {
            let line = self.line()?;
            came += &line;
            came.push('\n');
            if line.contains(mark) {
                return Ok(came);
            }
        }
    }

    /// Waits until the server has closed the connection without another word.
    pub fn closed(&mut self) -> io::Result<()> {
        match self.0.fill_buf()? {
            [] => Ok(()),
            more => Err(io::Error::other(format!("{} bytes instead", more.len()))),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Answer {
    /// A header's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }
}

/// A bare connection to `server` from `source`.
pub fn connect_from(source: IpAddr, server: SocketAddr) -> io::Result<TcpStream> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, SocketType::STREAM, None)?;
    bind(&socket, &SocketAddr::new(source, 0))?;
    connect(&socket, &server)?;
    Ok(TcpStream::from(socket))
}

/// A connection with a request for the manifest of `acme/rocket` under way, of which the gateway has read the
/// beginning.
pub fn half_a_request(address: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let target = "/v2/acme/rocket/manifests/latest";
    write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    write!(stream, "GET {target} HTTP/1.1\r\n")?;
    Ok(stream)
}

/// One GET on a connection of its own.
pub fn get(server: SocketAddr, target: &str) -> io::Result<Answer> {
    Connection::open(server)?.ask("GET", target, &[format!("Host: {server}")], b"")
}
