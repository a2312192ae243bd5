//! Requests of our own to somebody elsewhere: one over a connection of its own, to addresses that may be
//! dialled, under certificates that are trusted, in bounded time.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::rt::{Read, Write};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::keys::{roots, system_roots};
use crate::messages::keyring::trusting;
use crate::pure::limits::UPSTREAM_HEAD_BYTES_MAX;
use crate::pure::oci::backend::Scheme;
use crate::pure::origin::{Origin, Url};

/// Whom TLS trusts.
pub type Trust = Arc<ClientConfig>;

/// A request, and how it is sent.
pub struct Call<'c> {
    /// GET, or POST.
    pub method: Method,
    /// Whom, and for what.
    pub url: &'c Url,
    /// Fields beside Host and User-Agent.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// Empty for none.
    pub body: Bytes,
    /// Whom TLS trusts.
    pub tls: Trust,
    /// Whether this address may be dialled.
    pub may_dial: &'c (dyn Fn(IpAddr) -> bool + Sync),
    /// How long connecting to one address may take, and then an answer's head.
    pub patience: Duration,
    /// How long all of it may take, the look-up of the name and every address that is tried included.
    pub deadline: Duration,
}

impl Call<'_> {
    /// Sends it; redirects are not followed. What is read of the answer is up to the caller.
    ///
    /// # Errors
    /// Words that say what failed, without the URL.
    pub async fn send(self) -> Result<Response<Incoming>, String> {
        let answer = timeout(self.deadline, self.send_in_time()).await;
        answer.map_err(|_| "no answer in time".to_owned())?
    }

    async fn send_in_time(self) -> Result<Response<Incoming>, String> {
        let Origin { scheme, host, .. } = &self.url.origin;
        let stream = dial(&self.url.origin, self.patience, self.may_dial).await?;
        let patience = self.patience;
        let exchange = async {
            match scheme {
                Scheme::Http => self.send_over(TokioIo::new(stream)).await,
                Scheme::Https => {
                    let name = ServerName::try_from(bare(host).to_owned());
                    let name = name.map_err(|_| "its name is none for TLS".to_owned())?;
                    let connector = TlsConnector::from(Arc::clone(&self.tls));
                    let stream = connector.connect(name, stream).await;
                    let stream = stream.map_err(|error| format!("TLS: {error}"))?;
                    self.send_over(TokioIo::new(stream)).await
                }
            }
        };
        let answer = timeout(patience, exchange).await;
        answer.map_err(|_| "no answer in time".to_owned())?
    }

    async fn send_over(
        self,
        stream: impl Read + Write + Unpin + Send + 'static,
    ) -> Result<Response<Incoming>, String> {
        let mut request = Request::builder()
            .method(self.method)
            .uri(&self.url.target)
            .header(HOST, self.url.origin.authority())
            .header(USER_AGENT, AGENT);
        for (name, value) in self.fields {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(self.body)).map_err(words)?;
        let builder = http1::Builder::new().max_buf_size(UPSTREAM_HEAD_BYTES_MAX).to_owned();
        let (mut sender, connection) = builder.handshake(stream).await.map_err(words)?;
        // It ends with the answer's body, or with who reads it.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(words)
    }
}

/// The whole body of an answer.
///
/// # Errors
/// It is longer than `most`, takes longer than `patience`, or breaks off.
pub async fn read(
    answer: Response<Incoming>,
    most: usize,
    patience: Duration,
) -> Result<Bytes, String> {
    let body = timeout(patience, Limited::new(answer.into_body(), most).collect()).await;
    let body = body.map_err(|_| "no whole answer in time".to_owned())?;
    Ok(body.map_err(|error| format!("its answer: {error}"))?.to_bytes())
}

/// The system's certificates and those in `ca_file` are trusted.
///
/// # Errors
/// What is wrong with the file, which the option `option` names.
pub fn trust(ca_file: Option<&Path>, option: &str) -> Result<Trust, String> {
    let mut problems = Vec::new();
    let own = roots(ca_file, option, &mut problems);
    if let Some(problem) = problems.first() {
        return Err(problem.to_string());
    }
    let mut trusted = system_roots();
    trusted.add_parsable_certificates(own);
    Ok(trusting(trusted))
}

/// A connection to the first address of `origin` that may be dialled and answers.
pub(super) async fn dial(
    origin: &Origin,
    patience: Duration,
    may_dial: impl Fn(IpAddr) -> bool,
) -> Result<TcpStream, String> {
    let mut last = "its addresses may not be dialled; upstream.allow_private names some".to_owned();
    for address in by_turns(addresses(origin).await?) {
        if !may_dial(address) {
            continue;
        }
        let connecting = TcpStream::connect((address, origin.port));
        match timeout(patience, connecting).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => "no connection in time".clone_into(&mut last),
        }
    }
    Err(last)
}

/// The addresses of an origin's host.
pub(super) async fn addresses(origin: &Origin) -> Result<Vec<IpAddr>, String> {
    let found = timeout(NAME_PATIENCE, lookup_host((bare(&origin.host), origin.port)));
    let found = found.await.map_err(|_| "its name is not resolved in time".to_owned())?;
    Ok(found.map_err(words)?.map(|address: SocketAddr| address.ip()).collect())
}

/// One of each family after the other, so that one that leads nowhere costs one time-out.
fn by_turns(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut seen = [0; 2];
    let mut ranked: Vec<(usize, IpAddr)> = Vec::new();
    for address in addresses {
        let rank = &mut seen[usize::from(address.is_ipv4())];
        ranked.push((*rank, address));
        *rank += 1;
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, address)| address).collect()
}

/// An IPv6 address without its brackets.
pub(super) fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn words(error: impl ToString) -> String {
    error.to_string()
}

/// Who asks.
pub(super) const AGENT: &str = concat!("pullgate/", env!("CARGO_PKG_VERSION"));
/// How long a name may take to resolve.
const NAME_PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_take_turns() {
        let check = |given: &str, expected: &str| {
            let addresses = |text: &str| -> Vec<IpAddr> {
                text.split_whitespace().map(|address| address.parse().unwrap()).collect()
            };
            assert_eq!(by_turns(addresses(given)), addresses(expected));
        };
        check("::1 ::2 ::3 1.1.1.1 2.2.2.2", "::1 1.1.1.1 ::2 2.2.2.2 ::3");
        check("1.1.1.1 2.2.2.2", "1.1.1.1 2.2.2.2");
    }

    #[test]
    fn all_of_it_has_an_end_however_patient_each_part_is() {
        // Takes connections, for the kernel does, and never answers.
        let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", deaf.local_addr().unwrap());
        let url = Url::parse(url.as_bytes()).unwrap();
        let call = Call {
            method: Method::GET,
            url: &url,
            fields: Vec::new(),
            body: Bytes::new(),
            tls: trusting(rustls::RootCertStore::empty()),
            may_dial: &|_| true,
            patience: Duration::MAX,
            deadline: Duration::from_millis(50),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let said = runtime.block_on(call.send()).unwrap_err();
        assert_eq!(said, "no answer in time");
    }
}
