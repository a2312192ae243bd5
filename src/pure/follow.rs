//! What is done about a registry's redirect: handed on to the client, or followed inside.

use crate::pure::fault::{Fault, Kind};
use crate::pure::oci::backend::Scheme;
use crate::pure::origin::{Origin, Url};

/// A redirect that came instead of an answer, and what decides about it.
#[derive(Clone, Copy, Debug)]
pub struct Hop<'h> {
    /// What was asked for when it came.
    pub asked: &'h Url,
    /// Its `Location` as sent.
    pub location: Option<&'h [u8]>,
    /// The package's registry.
    pub registry: &'h Origin,
    /// Whether a blob was asked for: only blobs are handed on.
    pub is_blob: bool,
    /// Whether the package is streamed: the client has one host to reach.
    pub streams: bool,
    /// The public host that the client asked, if it sent a login there.
    pub login_for: Option<&'h str>,
    /// How many were followed before.
    pub followed: usize,
    /// How many may be followed.
    pub most: usize,
}

/// What follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Course {
    /// The client is sent there itself: it is storage that asks for no login.
    HandOn(Url),
    /// The gateway asks there.
    Follow(Url),
}

impl Hop<'_> {
    /// Where it leads and who goes there.
    ///
    /// # Errors
    /// [`Kind::UpstreamRedirects`] without a `Location` that can be read, from https to http, or
    /// after too many.
    pub fn course(&self) -> Result<Course, Fault> {
        let location = self.location.ok_or_else(|| refused("a redirect to nowhere"))?;
        let to = self.asked.join(location).map_err(|_| refused("a redirect to what is no URL"))?;
        if self.asked.origin.scheme == Scheme::Https && to.origin.scheme == Scheme::Http {
            return Err(refused("a redirect from https to http"));
        }
        if self.is_blob && !self.streams && self.is_storage(&to) {
            return Ok(Course::HandOn(to));
        }
        if self.followed >= self.most {
            return Err(refused("too many redirects"));
        }
        Ok(Course::Follow(to))
    }

    /// Whether a client can go there by itself: the registry's API would ask it for a token that
    /// only the gateway has, and a host below the public one would be sent the client's login
    /// (clients keep `Authorization` for sub-domains), which storage refuses.
    fn is_storage(&self, to: &Url) -> bool {
        let is_api = to.origin == *self.registry && to.target.starts_with("/v2/");
        !is_api && !self.login_for.is_some_and(|public| is_at_or_below(&to.origin.host, public))
    }
}

/// Whether `host` is the `public` one, as a client wrote it, or one below.
fn is_at_or_below(host: &str, public: &str) -> bool {
    let public = public.strip_suffix('.').unwrap_or(public);
    let parts = host.len().checked_sub(public.len()).and_then(|at| host.split_at_checked(at));
    parts.is_some_and(|(rest, end)| {
        end.eq_ignore_ascii_case(public) && (rest.is_empty() || rest.ends_with('.'))
    })
}

fn refused(detail: &'static str) -> Fault {
    Fault::new(Kind::UpstreamRedirects, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOB: &str = "https://ghcr.io/v2/acme/rocket/blobs/sha256:00";

    /// Where a redirect to `location` leads a client, or the gateway, or why nobody goes.
    fn told(location: &str, change: impl FnOnce(&mut Hop<'_>)) -> String {
        let asked = Url::parse(BLOB.as_bytes()).unwrap();
        let mut hop = Hop {
            asked: &asked,
            location: Some(location.as_bytes()),
            registry: &asked.origin,
            is_blob: true,
            streams: false,
            login_for: None,
            followed: 0,
            most: 3,
        };
        change(&mut hop);
        match hop.course() {
            Ok(Course::HandOn(to)) => format!("client to {to}"),
            Ok(Course::Follow(to)) => format!("gateway to {to}"),
            Err(fault) => fault.detail.to_owned(),
        }
    }

    #[test]
    fn a_blob_in_storage_is_the_clients_to_fetch() {
        let signed = "https://cdn.example/a?sig=%2Fx|y";
        assert_eq!(told(signed, |_| {}), format!("client to {signed}"));
        // Google's registry: signed, relative, on its own host, outside the API.
        let downloads = "/artifacts-downloads/namespaces/a?sig=1";
        assert_eq!(told(downloads, |_| {}), format!("client to https://ghcr.io{downloads}"));
    }

    #[test]
    fn what_a_client_cannot_fetch_is_followed_inside() {
        let to = "https://cdn.example/a";
        let inside = format!("gateway to {to}");
        assert_eq!(told(to, |hop| hop.streams = true), inside);
        assert_eq!(told(to, |hop| hop.is_blob = false), inside);
        assert_eq!(
            told("/v2/acme/other/blobs/sha256:00", |_| {}),
            "gateway to https://ghcr.io/v2/acme/other/blobs/sha256:00"
        );
        for (host, inside) in [
            ("acme.com", true),
            ("Acme.COM.", true),
            ("blobs.acme.com", true),
            ("com", true),
            ("xacme.com", false),
            ("a.blobs.acme.com", false),
            ("", false),
        ] {
            let told = told("https://blobs.acme.com/a", |hop| hop.login_for = Some(host));
            assert_eq!(told.starts_with("gateway"), inside, "{host}");
        }
    }

    #[test]
    fn some_redirects_nobody_follows() {
        let stream = |hop: &mut Hop<'_>| hop.streams = true;
        assert_eq!(told("http://cdn.example/a", stream), "a redirect from https to http");
        assert_eq!(told("ftp://cdn.example/a", stream), "a redirect to what is no URL");
        assert_eq!(told("", |hop| hop.location = None), "a redirect to nowhere");
        let followed = |followed| {
            told("https://cdn.example/a", move |hop| {
                (hop.streams, hop.followed) = (true, followed);
            })
        };
        assert_eq!(followed(2), "gateway to https://cdn.example/a");
        assert_eq!(followed(3), "too many redirects");
    }
}
