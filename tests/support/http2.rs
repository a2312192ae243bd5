//! HTTP/2 frame by frame, so that a test can send what no library would (RFC 9113).

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// A client's connection over TLS.
pub struct Frames(StreamOwned<ClientConnection, TcpStream>);

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which sort (RFC 9113, 6).
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Whose it is.
    pub stream: u32,
    /// What it says.
    pub payload: Vec<u8>,
}

impl Frames {
    /// Connects, agrees on HTTP/2 and sends the preface, with these settings.
    pub fn open(
        server: SocketAddr,
        tls: &ClientConfig,
        host: &str,
        settings: &[u8],
    ) -> io::Result<Self> {
        let mut frames = Self::open_silent(server, tls, host)?;
        frames.send(PREFACE)?;
        frames.send(&frame(SETTINGS, 0, 0, settings))?;
        Ok(frames)
    }

    /// Connects and agrees on HTTP/2, and says nothing yet.
    pub fn open_silent(server: SocketAddr, tls: &ClientConfig, host: &str) -> io::Result<Self> {
        let mut tls = tls.clone();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.set_nodelay(true)?;
        let name = host.to_owned().try_into().map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(Arc::new(tls), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        assert_eq!(tls.alpn_protocol(), Some(&b"h2"[..]));
        Ok(Self(StreamOwned::new(tls, stream)))
    }

    /// Sends bytes as they stand.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// The next frame.
    pub fn next(&mut self) -> io::Result<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head)?;
        let [a, b, c, kind, flags, s1, s2, s3, s4] = head;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let stream = u32::from_be_bytes([s1, s2, s3, s4]);
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload)?;
        Ok(Frame { kind, flags, stream, payload })
    }

    /// The first frame of this kind. What comes before it is passed over.
    pub fn until(&mut self, kind: u8) -> io::Result<Frame> {
        loop {
            let frame = self.next()?;
            if frame.kind == kind {
                return Ok(frame);
            }
        }
    }

    /// How the server ends the connection: the code of its farewell, or `None` where it just closes.
    pub fn farewell(&mut self) -> Option<u32> {
        let mut said = None;
        loop {
            match self.next() {
                // The first farewell of an orderly end names no last stream yet.
                Ok(Frame { kind: GOAWAY, payload, .. }) => {
                    said = payload.get(4..8)?.try_into().ok().map(u32::from_be_bytes);
                }
                Ok(_) => {}
                Err(_) => return said,
            }
        }
    }
}

/// A frame's bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block that names each field in full (RFC 7541, 6.2.2).
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            put_integer(&mut bytes, text.len());
            bytes.extend(text.bytes());
        }
    }
    bytes
}

/// RFC 7541, 5.1, with a prefix of seven bits.
fn put_integer(bytes: &mut Vec<u8>, number: usize) {
    let Some(mut rest) = number.checked_sub(127) else {
        bytes.push(u8::try_from(number).expect("seven bits"));
        return;
    };
    bytes.push(127);
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128 + 128).expect("eight bits"));
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).expect("seven bits"));
}

/// A whole GET.
pub fn get(stream: u32, host: &str, path: &str) -> Vec<u8> {
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", path)];
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&fields))
}

/// One of SETTINGS (RFC 9113, 6.5.1).
pub fn setting(number: u16, value: u32) -> Vec<u8> {
    [&number.to_be_bytes()[..], &value.to_be_bytes()].concat()
}

/// RFC 9113, 3.4.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const ACK: u8 = 1;
pub const END_HEADERS: u8 = 4;
