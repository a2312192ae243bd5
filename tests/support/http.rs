//! HTTP/1.1 as little as tests need it: one request at a time, bodies by `Content-Length`.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

/// A connection that stays open between requests.
pub struct Connection(BufReader<TcpStream>);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// `200` and so on.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// Empty after HEAD.
    pub body: Vec<u8>,
}

impl Connection {
    /// Connects to `server`.
    pub fn open(server: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(server)?)
    }

    /// Connects to `server` as somebody else: from `source`.
    pub fn open_from(source: IpAddr, server: SocketAddr) -> io::Result<Self> {
        let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket(family, SocketType::STREAM, None)?;
        bind(&socket, &SocketAddr::new(source, 0))?;
        connect(&socket, &server)?;
        Self::over(TcpStream::from(socket))
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
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
        self.0.get_mut().write_all(&request)?;
        self.answer(method == "HEAD")
    }

    fn answer(&mut self, is_head: bool) -> io::Result<Answer> {
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
        let mut answer = Answer { status, headers, body: Vec::new() };
        if !is_head {
            let length = answer.header("content-length").map_or(Ok(0), str::parse);
            answer.body = vec![0; length.map_err(io::Error::other)?];
            self.0.read_exact(&mut answer.body)?;
        }
        Ok(answer)
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

/// One GET on a connection of its own.
pub fn get(server: SocketAddr, target: &str) -> io::Result<Answer> {
    Connection::open(server)?.ask("GET", target, &[format!("Host: {server}")], b"")
}
