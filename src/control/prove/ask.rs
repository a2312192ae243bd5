//! Asking a registry one question, as anybody could ask it: without credentials, never for a
//! manifest, in bounded time and bytes.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, LINK, LOCATION, RETRY_AFTER, USER_AGENT};
use hyper::rt::{Read, Write};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Answer, Facts};
use crate::control::outbound::{self, AGENT, bare};
use crate::messages::keyring::Keyring;
use crate::pure::address::is_public;
use crate::pure::http1::forwarded::mapped;
use crate::pure::limits::{TOKEN_BYTES_MAX, UPSTREAM_HEAD_BYTES_MAX};
use crate::pure::oci::backend::Scheme;
use crate::pure::oci::challenge::{self, Challenge};
use crate::pure::origin::{Origin, Url};
use crate::pure::proof::Proof;
use crate::pure::snapshot::{Registry, Snapshot};

/// Who asks: by which configuration, with which keys.
pub(super) struct Asker {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) keyring: Arc<Keyring>,
    /// Of each registry whether it was said that its `/v2/` does not answer.
    silent: Vec<AtomicBool>,
}

impl Asker {
    pub(super) fn new(snapshot: Arc<Snapshot>, keyring: Arc<Keyring>) -> Self {
        let silent = snapshot.registries.iter().map(|_| AtomicBool::new(false)).collect();
        Self { snapshot, keyring, silent }
    }

    /// Asks `repository` of the registry at `base`, or its `/v2/`.
    pub(super) async fn ask(&self, base: &str, repository: Option<&str>) -> Answer {
        let registries = &self.snapshot.registries;
        let Some(index) = registries.iter().position(|registry| registry.base == base) else {
            return Answer::Failed(None);
        };
        let asked = match repository {
            None => self.base(index).await.map(Answer::Base),
            Some(name) => self.repository(index, name).await.map(Answer::Repository),
        };
        let Registry { origin, .. } = &registries[index];
        match &asked {
            Ok(_) if repository.is_none() && self.silent[index].swap(false, Relaxed) => {
                tracing::info!("{origin} can be asked again");
            }
            Err(Failed { why, .. })
                if repository.is_none() && !self.silent[index].swap(true, Relaxed) =>
            {
                tracing::warn!("{origin} could not be asked whether it needs a login: {why}");
            }
            Err(Failed { why, .. }) => tracing::debug!("{origin} could not be asked: {why}"),
            Ok(_) => {}
        }
        asked.unwrap_or_else(|failed| Answer::Failed(failed.retry_after))
    }

    pub(super) async fn base(&self, index: usize) -> Result<Facts, Failed> {
        let registry = &self.snapshot.registries[index];
        let addresses = outbound::addresses(&registry.origin).await.map_err(failed)?;
        let is_for_all = is_for_all(&registry.origin, &addresses);
        let response = self.get(index, &url(registry, "")?, None).await?;
        let challenge = (response.status == StatusCode::UNAUTHORIZED).then(|| {
            let lines = response.challenges().filter_map(|line| std::str::from_utf8(line).ok());
            lines.collect::<Vec<_>>().join(", ")
        });
        Ok(Facts { challenge: challenge.filter(|challenge| !challenge.is_empty()), is_for_all })
    }

    async fn repository(&self, index: usize, name: &str) -> Result<Proof, Failed> {
        Ok(match self.listed(index, name, 1, None).await? {
            // Somebody's login page may answer 200 too.
            Listed::Shown(How::Open, response) if !response.is_object() => Proof::Refused,
            Listed::Shown(How::Open, _) => Proof::Open,
            Listed::Shown(How::WithToken, _) => Proof::WithToken,
            Listed::Shown(How::ByAccount, _) | Listed::Refused(_) => Proof::Refused,
        })
    }

    /// Asks for so `many` of a repository's tags, as a stranger, or else by an `account`
    /// (`Authorization`): where the registry wants that itself, or at its token service.
    pub(super) async fn listed(
        &self,
        index: usize,
        name: &str,
        many: usize,
        account: Option<&str>,
    ) -> Result<Listed, Failed> {
        let registry = &self.snapshot.registries[index];
        let tags = url(registry, &format!("{name}/tags/list?n={many}"))?;
        let response = self.get_following(index, tags.clone()).await?;
        if response.status == StatusCode::OK {
            return Ok(Listed::Shown(How::Open, response));
        }
        let refused = Listed::Refused(response.status);
        if response.status != StatusCode::UNAUTHORIZED {
            return Ok(refused);
        }
        let (authorization, how) = match (challenge::parse(response.challenges()), account) {
            (Ok(Some(Challenge::Bearer { realm, service, scope })), account) => {
                if !challenge::may_be_realm(&realm, &registry.origin, &registry.token_hosts) {
                    return Ok(refused);
                }
                let scope = challenge::scope(scope.as_deref(), name);
                let target = challenge::token_target(&realm, service.as_deref(), &[scope], None);
                let granted = self.get(index, &Url { target, ..realm }, account).await?;
                if granted.status != StatusCode::OK {
                    return Ok(refused);
                }
                let Ok(granted) = challenge::granted(&granted.body) else {
                    return Ok(refused);
                };
                let how = if account.is_some() { How::ByAccount } else { How::WithToken };
                (format!("Bearer {}", granted.token), how)
            }
            (Ok(Some(Challenge::Basic)), Some(account)) => (account.to_owned(), How::ByAccount),
            _ => return Ok(refused),
        };
        let response = self.get(index, &tags, Some(&authorization)).await?;
        Ok(match response.status {
            StatusCode::OK => Listed::Shown(how, response),
            status => Listed::Refused(status),
        })
    }

    /// As a client that has no credentials follows redirects: wherever they lead.
    async fn get_following(&self, index: usize, mut url: Url) -> Result<Response, Failed> {
        for _ in 0..REDIRECTS_MAX {
            let response = self.get(index, &url, None).await?;
            let Some(location) = response.redirects_to() else {
                return Ok(response);
            };
            let next = url.join(location).map_err(|_| failed("a redirect to no URL"))?;
            if next.origin.scheme != Scheme::Https && url.origin.scheme == Scheme::Https {
                return Err(failed("a redirect from https to http"));
            }
            url = next;
        }
        Err(failed("too many redirects"))
    }

    /// One exchange over a connection of its own; an answer that asks to come back later is a
    /// failure.
    async fn get(
        &self,
        index: usize,
        url: &Url,
        authorization: Option<&str>,
    ) -> Result<Response, Failed> {
        let exchange = async {
            let stream = self.dial(index, &url.origin).await?;
            match url.origin.scheme {
                Scheme::Http => get_over(TokioIo::new(stream), url, authorization).await,
                Scheme::Https => {
                    let connector = TlsConnector::from(self.tls(&url.origin));
                    let name = ServerName::try_from(bare(&url.origin.host).to_owned());
                    let name = name.map_err(|_| failed("its name is none for TLS"))?;
                    let stream = connector.connect(name, stream).await.map_err(failed)?;
                    get_over(TokioIo::new(stream), url, authorization).await
                }
            }
        };
        let response = timeout(EXCHANGE_PATIENCE, exchange).await;
        let response = response.map_err(|_| failed("no answer in time"))??;
        if response.status == StatusCode::TOO_MANY_REQUESTS || response.status.is_server_error() {
            let retry_after = response.retry_after();
            return Err(Failed { retry_after, ..failed(response.status) });
        }
        Ok(response)
    }

    async fn dial(&self, index: usize, origin: &Origin) -> Result<TcpStream, Failed> {
        let snapshot = &self.snapshot;
        let registry = (snapshot.registries[index].origin == *origin).then_some(index);
        let may_dial = |ip| snapshot.may_dial(registry, &origin.host, origin.port, mapped(ip));
        outbound::dial(origin, snapshot.upstream.connect_timeout, may_dial).await.map_err(failed)
    }

    /// The registry's own trust where it is one, else everybody's.
    fn tls(&self, origin: &Origin) -> Arc<ClientConfig> {
        let registries = self.snapshot.registries.iter().zip(&self.keyring.registries);
        let mut own = registries.filter(|(registry, _)| registry.origin.host == origin.host);
        let tls = own.next().map_or(&self.keyring.elsewhere, |(_, key)| &key.tls);
        Arc::clone(tls)
    }
}

/// Whether every client can be sent to `origin`, which resolves to `addresses`: over https, and to
/// nothing but public ones. Where only some can, only some would succeed.
pub(super) fn is_for_all(origin: &Origin, addresses: &[IpAddr]) -> bool {
    origin.scheme == Scheme::Https
        && !addresses.is_empty()
        && addresses.iter().all(|address| is_public(mapped(*address)))
}

/// Who may see a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Anybody.
    Open,
    /// Who has a token, which anybody gets.
    WithToken,
    /// The gateway's account.
    ByAccount,
}

/// What came of asking for tags.
pub(super) enum Listed {
    /// A list, or what is taken for one.
    Shown(How, Response),
    /// None.
    Refused(StatusCode),
}

/// What was answered.
pub(super) struct Response {
    status: StatusCode,
    fields: HeaderMap,
    body: Bytes,
}

impl Response {
    /// What the body says, if it is JSON of this kind.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    fn is_object(&self) -> bool {
        self.json::<serde_json::Map<_, _>>().is_some()
    }

    /// Whether it goes on elsewhere (distribution specification, "Listing Tags").
    pub(super) fn has_more(&self) -> bool {
        self.fields.contains_key(LINK)
    }

    fn challenges(&self) -> impl Iterator<Item = &[u8]> {
        self.fields.get_all("www-authenticate").iter().map(|value| value.as_bytes())
    }

    fn redirects_to(&self) -> Option<&[u8]> {
        let is_one = matches!(self.status.as_u16(), 301 | 302 | 303 | 307 | 308);
        self.fields.get(LOCATION).filter(|_| is_one).map(|location| location.as_bytes())
    }

    /// In seconds; a date is not understood (RFC 9110, 10.2.3).
    fn retry_after(&self) -> Option<Duration> {
        let seconds = self.fields.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

/// Why a question has no answer.
pub(super) struct Failed {
    /// In words.
    pub(super) why: String,
    retry_after: Option<Duration>,
}

fn failed(why: impl ToString) -> Failed {
    Failed { why: why.to_string(), retry_after: None }
}

async fn get_over(
    stream: impl Read + Write + Unpin + Send + 'static,
    url: &Url,
    authorization: Option<&str>,
) -> Result<Response, Failed> {
    let mut request = Request::get(&url.target)
        .header(HOST, url.origin.authority())
        .header(USER_AGENT, AGENT)
        .header("accept", "application/json");
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(failed)?;
    let builder = http1::Builder::new().max_buf_size(UPSTREAM_HEAD_BYTES_MAX).to_owned();
    let (mut sender, connection) = builder.handshake(stream).await.map_err(failed)?;
    let exchange = async move {
        let (head, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
        // Only a token's body is read; of others nothing but the status and the fields counts.
        let body = Limited::new(body, TOKEN_BYTES_MAX).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        Ok(Response { status: head.status, fields: head.headers, body })
    };
    // The connection ends with its last sender, which ends with the exchange.
    let (response, _) = tokio::join!(exchange, connection);
    response
}

fn url(registry: &Registry, rest: &str) -> Result<Url, Failed> {
    Url::parse([&registry.base, rest].concat().as_bytes()).map_err(|_| failed("not a URL"))
}

/// How long an exchange may take.
const EXCHANGE_PATIENCE: Duration = Duration::from_secs(10);
const REDIRECTS_MAX: usize = 5;
