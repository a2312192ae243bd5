//! HTTP with an authority: one request over a connection of its own, under the certificates that the
//! configuration trusts for it, in bounded time and bytes.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Asks an authority.
#[derive(Clone)]
pub(super) struct Http {
    tls: Arc<ClientConfig>,
    /// When the last answer that said so wants to be asked again, in seconds since 1970.
    retry_at_s: Arc<AtomicI64>,
}

impl Http {
    pub(super) fn new(tls: Arc<ClientConfig>) -> Self {
        Self { tls, retry_at_s: Arc::new(AtomicI64::new(NEVER)) }
    }

    /// When the last refusal wants to be asked again, if it has said so.
    pub(super) fn retry_at_s(&self) -> Option<i64> {
        Some(self.retry_at_s.load(Relaxed)).filter(|at_s| *at_s != NEVER)
    }

    async fn exchange(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let uri = request.uri().clone();
        let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(443));
        if uri.scheme_str() != Some("https") {
            return Err(other(format!("it names {uri}, which is not https")));
        }
        let bare = host.trim_matches(['[', ']']);
        let at = |error: &dyn std::fmt::Display| other(format!("{host}:{port}: {error}"));
        let stream = TcpStream::connect((bare, port)).await.map_err(|error| at(&error))?;
        let name = ServerName::try_from(bare.to_owned()).map_err(|error| at(&error))?;
        let connector = TlsConnector::from(self.tls);
        let stream = connector.connect(name, stream).await.map_err(|error| at(&error))?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(|error| at(&error))?;
        let request = to_origin(request, &uri)?;
        let exchange = async move {
            let response = sender.send_request(request).await.map_err(|error| at(&error))?;
            let (head, body) = response.into_parts();
            let body =
                Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(Error::Other)?;
            Ok::<_, Error>(Response::from_parts(head, Full::new(body.to_bytes())))
        };
        // The connection ends with its last sender, which ends with the exchange.
        let (response, _) = tokio::join!(exchange, connection);
        let response = response?;
        if response.status().is_client_error() || response.status().is_server_error() {
            let at_s = retry_at_s(response.headers(), Timestamp::now().as_second());
            self.retry_at_s.store(at_s.unwrap_or(NEVER), Relaxed);
        }
        Ok(response.into())
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let this = self.clone();
        Box::pin(async move {
            let exchange = timeout(EXCHANGE_PATIENCE, this.exchange(request));
            exchange.await.unwrap_or_else(|_| Err(other("no answer in time".to_owned())))
        })
    }
}

/// The request as an origin gets it: the path in its first line, the host in a field.
fn to_origin(
    mut request: Request<BodyWrapper<Bytes>>,
    uri: &Uri,
) -> Result<Request<BodyWrapper<Bytes>>, Error> {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = HeaderValue::from_str(authority).map_err(|error| other(error.to_string()))?;
    request.headers_mut().insert(HOST, host);
    request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse()?;
    Ok(request)
}

/// RFC 9110, 10.2.3.
fn retry_at_s(fields: &HeaderMap, now_s: i64) -> Option<i64> {
    let text = fields.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(now_s.saturating_add(seconds.into()));
    }
    let date = DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(date.as_second())
}

fn other(words: String) -> Error {
    Error::Other(words.into())
}

/// Who asks (RFC 8555, 6.1).
const AGENT: &str = concat!("pullgate/", env!("CARGO_PKG_VERSION"), " instant-acme");
const EXCHANGE_PATIENCE: Duration = Duration::from_secs(30);
/// Chains are a few KB, directories of profiles too.
const ANSWER_BYTES_MAX: usize = 256 << 10;
const NEVER: i64 = i64::MIN;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_says_in_seconds_or_by_a_date_when_to_come_again() {
        for (said, at_s) in
            [("120", Some(1_120)), ("Thu, 01 Jan 1970 00:20:00 GMT", Some(1_200)), ("soon", None)]
        {
            let fields = [(RETRY_AFTER, HeaderValue::from_static(said))].into_iter().collect();
            assert_eq!(retry_at_s(&fields, 1_000), at_s, "{said}");
        }
        assert_eq!(retry_at_s(&HeaderMap::new(), 1_000), None);
    }
}
