//! A request's head, written by monoio-http.

use std::{io, slice};

use bytes::Bytes;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri, Version};
use monoio::buf::{IoBuf, IoVecBuf};
use monoio::io::AsyncWriteRent;
use monoio::io::sink::Sink;
use monoio_http::common::request::{RequestHeadRef, RequestRef};
use monoio_http::h1::codec::encoder::GenericEncoder;
use monoio_http::h1::payload::Payload;

use super::{Method, Request};
use crate::pure::fault::{Fault, Kind};

/// The bytes of `request`.
///
/// # Errors
/// [`Kind::UpstreamMalformed`] for a target that cannot stand in a request line.
pub async fn encode(request: &Request) -> Result<Bytes, Fault> {
    let target = PathAndQuery::try_from(request.target.as_str()).map_err(|_| NO_TARGET)?;
    let host = HeaderValue::try_from(request.origin.authority()).map_err(|_| NO_TARGET)?;
    // Host comes first (RFC 9110, 7.2).
    let mut headers = HeaderMap::with_capacity(request.fields.len() + 1);
    headers.insert(HOST, host);
    for (name, value) in request.fields.iter().filter(|(name, _)| *name != HOST) {
        headers.append(name.clone(), value.clone());
    }
    let method = match request.method {
        Method::Get => http::Method::GET,
        Method::Head => http::Method::HEAD,
    };
    let uri = Uri::from(target);
    let parts =
        RequestHeadRef { method: &method, uri: &uri, version: Version::HTTP_11, headers: &headers };
    let mut written = Written(Vec::with_capacity(HEAD_BYTES_USUAL));
    let mut encoder = GenericEncoder::new(&mut written);
    let encoded = async {
        let body: Payload = Payload::None;
        encoder.send(RequestRef { parts, body }).await?;
        Sink::<RequestRef<'_>>::flush(&mut encoder).await
    };
    // Into memory, what parsed above is written always.
    encoded.await.map_err(|_| NO_TARGET)?;
    Ok(written.0.into())
}

/// What was written, in memory.
struct Written(Vec<u8>);

impl AsyncWriteRent for Written {
    async fn write<B: IoBuf>(&mut self, buffer: B) -> (io::Result<usize>, B) {
        // SAFETY: who implements `IoBuf` promises that so many bytes are initialised there.
        let bytes = unsafe { slice::from_raw_parts(buffer.read_ptr(), buffer.bytes_init()) };
        self.0.extend_from_slice(bytes);
        (Ok(bytes.len()), buffer)
    }

    async fn writev<B: IoVecBuf>(&mut self, buffers: B) -> (io::Result<usize>, B) {
        (Err(io::ErrorKind::Unsupported.into()), buffers)
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const NO_TARGET: Fault = Fault::new(Kind::UpstreamMalformed, "a URL that nobody can ask for");
const HEAD_BYTES_USUAL: usize = 1024;
