//! By which door a client came, and what follows: who is sent to https, and which requests belong on
//! another connection.

use crate::pure::certificates::{CHALLENGES, Names, Shown};
use crate::pure::http1::encode::Out;
use crate::pure::http1::head::RequestHead;
use crate::pure::limits::HOST_BYTES_MAX;
use crate::pure::oci::backend::Scheme;
use crate::pure::route::table::{Site, host_name};
use crate::pure::snapshot::Snapshot;

/// How a request came.
#[derive(Clone, Copy, Debug)]
pub enum Door<'r> {
    /// In plain HTTP, where these names have certificates.
    Plain(&'r Names),
    /// Over TLS, under the certificate that was shown.
    Tls(&'r Shown),
}

/// A request that is sent to https: to `base`, or to the host that it has named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToHttps<'r> {
    base: Option<&'r str>,
    host: &'r [u8],
    port: u16,
    path: &'r [u8],
    query: Option<&'r [u8]>,
}

impl<'r> Door<'r> {
    /// What is known of `host` to who comes by this door.
    pub fn site(self, snapshot: &'r Snapshot, host: &[u8]) -> Site<'r> {
        let is_over_tls = match self {
            Self::Plain(names) => names.find(host).is_some(),
            Self::Tls(_) => true,
        };
        snapshot.routes.site(host).over_tls(is_over_tls)
    }

    /// What an authority is told that asks for `path` to find out whose a domain is, if it is one.
    pub(super) fn proof(self, path: &[u8]) -> Option<&'r str> {
        match self {
            Self::Plain(names) => names.proof(path),
            Self::Tls(_) => None,
        }
    }

    /// Where `head` is sent, if it is to come over TLS. An authority that proves a domain asks in
    /// plain HTTP, and whom `public_url` says to be found there is.
    pub(super) fn to_https(
        self,
        snapshot: &'r Snapshot,
        head: &RequestHead<'r>,
    ) -> Option<ToHttps<'r>> {
        let Self::Plain(names) = self else {
            return None;
        };
        let (port, host) = (snapshot.https_port?, head.host?);
        names.find(host)?;
        let base = self.site(snapshot, host).public_url();
        let is_wanted = base.is_none_or(|base| base.starts_with("https://"))
            && !head.path.starts_with(CHALLENGES);
        is_wanted.then_some(ToHttps { base, host, port, path: head.path, query: head.query })
    }
}

/// The number that `pullgate doctor` has sent to see whether it comes here, if `path` is its.
pub(super) fn nonce(path: &[u8]) -> Option<&str> {
    let nonce = path.strip_prefix(REACH.as_bytes())?;
    let is_one = nonce.len() == NONCE_DIGITS && nonce.iter().all(u8::is_ascii_hexdigit);
    std::str::from_utf8(nonce).ok().filter(|_| is_one)
}

impl ToHttps<'_> {
    /// Writes the URL.
    pub fn put(&self, out: &mut Out<'_>) {
        match self.base {
            Some(base) => out.put(base),
            None => {
                let mut room = [0; HOST_BYTES_MAX];
                out.put("https://");
                out.put(host_name(self.host, &mut room).unwrap_or_default());
                if self.port != Scheme::Https.port() {
                    out.put(":");
                    out.put_number(self.port.into());
                }
            }
        }
        out.put(self.path);
        if let Some(query) = self.query {
            out.put("?");
            out.put(query);
        }
    }
}

/// Where a gateway says that it is the one that is looked for; a number follows.
pub const REACH: &str = "/.well-known/pullgate/";
const NONCE_DIGITS: usize = 32;
