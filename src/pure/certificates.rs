//! Which certificate is for which name, and what proves names to authorities.

use std::collections::HashMap;
use std::sync::Arc;

use crate::pure::limits::HOST_BYTES_MAX;
use crate::pure::route::table::host_name;

/// The names that there are certificates for, and which; and of names that are to have one, what
/// proves that they are ours.
#[derive(Debug, Default)]
pub struct Names {
    by_name: HashMap<Box<[u8]>, usize>,
    /// Those with a star, by what is behind it.
    by_parent: HashMap<Box<[u8]>, usize>,
    /// By an authority's token, what it is told.
    proofs: HashMap<Box<[u8]>, Box<str>>,
}

/// The certificate that a client was shown, as far as it matters to its requests.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The host that it asked for (RFC 6066, 3), lower case; empty where it named none.
    asked: Box<str>,
    /// What the certificate is for; `None` for the one that nobody trusts.
    names: Option<Arc<[Box<str>]>>,
}

impl Names {
    /// Of certificates in their order, each with its names; the first that has a name is for it.
    pub fn new<'n>(certificates: impl IntoIterator<Item = &'n [Box<str>]>) -> Self {
        let mut all = Self::default();
        for (index, names) in certificates.into_iter().enumerate() {
            for name in names {
                let (map, name) = match name.strip_prefix('*') {
                    Some(parent) => (&mut all.by_parent, parent),
                    None => (&mut all.by_name, &**name),
                };
                map.entry(name.as_bytes().into()).or_insert(index);
            }
        }
        all
    }

    /// The same, where also an authority that asks for one of these tokens is told what belongs to it.
    pub fn proving<'n>(self, proofs: impl IntoIterator<Item = (&'n str, &'n str)>) -> Self {
        let boxed = |(token, said): (&str, &str)| (token.as_bytes().into(), said.into());
        Self { proofs: proofs.into_iter().map(boxed).collect(), ..self }
    }

    /// What an authority is told that asks for `path` (RFC 8555, 8.3), if it is one.
    pub fn proof(&self, path: &[u8]) -> Option<&str> {
        if self.proofs.is_empty() {
            return None;
        }
        self.proofs.get(path.strip_prefix(CHALLENGES)?).map(|said| &**said)
    }

    /// Which certificate is for `host`, as a client has it: the one for this very name, else the one
    /// for all names beside it.
    pub fn find(&self, host: &[u8]) -> Option<usize> {
        if self.by_name.is_empty() && self.by_parent.is_empty() {
            return None;
        }
        let mut room = [0; HOST_BYTES_MAX];
        let host = host_name(host, &mut room)?;
        self.by_name.get(host).or_else(|| self.by_parent.get(parent_of(host)?)).copied()
    }
}

impl Shown {
    /// What a client was shown that `asked` for a host. `names` of the certificate, where there is
    /// one.
    pub fn new(asked: Option<&str>, names: Option<Arc<[Box<str>]>>) -> Self {
        Self { asked: asked.unwrap_or_default().to_ascii_lowercase().into(), names }
    }

    /// Whether the certificate is good for `host`, as a request has it. One that names none means
    /// whom it asked for.
    pub fn covers(&self, host: &[u8]) -> bool {
        let Some(names) = &self.names else {
            return false;
        };
        let mut room = [0; HOST_BYTES_MAX];
        let Some(host) = host_name(host, &mut room) else {
            return false;
        };
        host.is_empty()
            || host == self.asked.as_bytes()
            || names.iter().any(|name| is_for(name, host))
    }

    /// Whether it is anything but the one that nobody trusts.
    pub fn is_trusted(&self) -> bool {
        self.names.is_some()
    }

    /// Why a request for another host is not answered here, in words that continue a sentence.
    pub fn why_not(&self) -> &'static str {
        match (&self.names, &*self.asked) {
            (Some(_), _) => "this connection's certificate is not for it; make another connection",
            (None, "") => "your client has named no host in its TLS greeting (SNI)",
            (None, _) => "there is no certificate for the host that your client has asked for",
        }
    }
}

/// Where authorities look for what proves a domain (RFC 8555, 8.3).
pub const CHALLENGES: &[u8] = b"/.well-known/acme-challenge/";

/// Whether a certificate's `name` is for `host`, both in lower case (RFC 9525, 6.3): a star is one
/// whole label, the first.
pub fn is_for(name: &str, host: &[u8]) -> bool {
    match name.strip_prefix('*') {
        Some(parent) => parent_of(host) == Some(parent.as_bytes()),
        None => name.as_bytes() == host,
    }
}

/// `.acme.com` of `registry.acme.com`.
fn parent_of(host: &[u8]) -> Option<&[u8]> {
    host.get(memchr::memchr(b'.', host).filter(|dot| *dot > 0)?..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Arc<[Box<str>]> {
        names.iter().map(|name| Box::from(*name)).collect()
    }

    #[test]
    fn the_very_name_comes_before_a_star_and_a_star_is_one_label() {
        let certificates = [names(&["*.acme.com", "acme.com"]), names(&["registry.acme.com"])];
        let table = Names::new(certificates.iter().map(|names| &**names));
        for (host, found) in [
            ("registry.acme.com", Some(1)),
            ("Registry.Acme.com.:8443", Some(1)),
            ("images.acme.com", Some(0)),
            ("acme.com", Some(0)),
            ("a.b.acme.com", None),
            (".acme.com", None),
            ("acme.org", None),
            ("", None),
            ("[::1]:8443", None),
        ] {
            assert_eq!(table.find(host.as_bytes()), found, "{host}");
        }
        assert_eq!(Names::default().find(b"acme.com"), None);
    }

    #[test]
    fn an_authority_is_told_what_belongs_to_its_token() {
        let names = Names::default().proving([("a-token", "a-token.thumb"), ("b", "b.thumb")]);
        for (path, said) in [
            ("/.well-known/acme-challenge/a-token", Some("a-token.thumb")),
            ("/.well-known/acme-challenge/b", Some("b.thumb")),
            ("/.well-known/acme-challenge/c", None),
            ("/.well-known/acme-challenge/", None),
            ("/.well-known/acme-challenge", None),
            ("/a-token", None),
        ] {
            assert_eq!(names.proof(path.as_bytes()), said, "{path}");
        }
    }

    #[test]
    fn a_certificate_covers_its_names_whichever_was_asked_for() {
        let shown = Shown::new(Some("Registry.acme.com"), Some(names(&["*.acme.com", "acme.org"])));
        for (host, covers) in [
            ("registry.acme.com:8443", true),
            ("IMAGES.acme.com", true),
            ("acme.org", true),
            ("acme.com", false),
            ("a.b.acme.com", false),
            ("x.acme.org", false),
            ("", true),
        ] {
            assert_eq!(shown.covers(host.as_bytes()), covers, "{host}");
        }
        for asked in [None, Some("acme.org")] {
            assert!(!Shown::new(asked, None).covers(b"acme.org"), "nobody trusts the stand-in");
        }
    }
}
