//! Absolute URLs: where a request goes, and what is asked for there.

use std::fmt;

use crate::pure::limits::HOST_BYTES_MAX;
use crate::pure::oci::backend::{Scheme, authority, split_port};

/// Where requests go (RFC 6454, 4). An `Authorization` belongs to exactly one of these.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// In lower case; an IPv6 address in brackets.
    pub host: String,
    /// Written or its scheme's.
    pub port: u16,
}

/// An absolute URL of http or https (RFC 3986), its bytes as they were sent: a signed one must not
/// change on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Where to.
    pub origin: Origin,
    /// The origin-form: path and query; it begins with `/` and has no fragment.
    pub target: String,
}

/// Not a URL that requests can go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UrlInvalid;

impl Origin {
    /// The origin of a registry: its scheme, and its host with or without a port.
    ///
    /// # Errors
    /// [`UrlInvalid`] for what cannot be a host.
    pub fn new(scheme: Scheme, written: &str) -> Result<Self, UrlInvalid> {
        let written = authority(written).ok_or(UrlInvalid)?;
        let (host, port) = split_port(&written);
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port: port.unwrap_or_else(|| default_port(scheme)),
        })
    }

    /// What stands in a `Host` field (RFC 9110, 7.2): no port where it is the scheme's.
    pub fn authority(&self) -> String {
        if self.port == default_port(self.scheme) {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.scheme.as_str(), self.authority())
    }
}

impl Url {
    /// Reads an absolute URL of http or https.
    ///
    /// # Errors
    /// [`UrlInvalid`] for other schemes, a login in front of the host, and bytes that no URL has.
    pub fn parse(text: &[u8]) -> Result<Self, UrlInvalid> {
        let text = printable(text)?;
        let (scheme, rest) = text.split_once("://").ok_or(UrlInvalid)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(UrlInvalid),
        };
        let rest = without_fragment(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (host, target) = rest.split_at_checked(end).ok_or(UrlInvalid)?;
        if host.len() > HOST_BYTES_MAX + PORT_BYTES_MAX {
            return Err(UrlInvalid);
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { origin: Origin::new(scheme, host)?, target })
    }

    /// What `reference`, found in an answer to this URL, means (RFC 3986, 5.2).
    ///
    /// # Errors
    /// [`UrlInvalid`], as in [`Url::parse`].
    pub fn join(&self, reference: &[u8]) -> Result<Self, UrlInvalid> {
        let text = printable(reference)?;
        let is_absolute = text.find(':').is_some_and(|colon| {
            let scheme = text.get(..colon).unwrap_or_default();
            scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        });
        if is_absolute {
            return Self::parse(reference);
        }
        if text.starts_with("//") {
            let scheme = self.origin.scheme.as_str().trim_end_matches("//");
            return Self::parse(format!("{scheme}{text}").as_bytes());
        }
        let text = without_fragment(text);
        let path = self.target.split('?').next().unwrap_or_default();
        let target = match text.chars().next() {
            None => self.target.clone(),
            Some('?') => format!("{path}{text}"),
            Some('/') => text.to_owned(),
            Some(_) => {
                let directory = path.rfind('/').and_then(|at| path.get(..=at)).unwrap_or("/");
                without_dots(&format!("{directory}{text}"))
            }
        };
        Ok(Self { origin: self.origin.clone(), target })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target)
    }
}

/// The text, if it has only bytes that may stand in a request line.
fn printable(text: &[u8]) -> Result<&str, UrlInvalid> {
    let text = std::str::from_utf8(text).map_err(|_| UrlInvalid)?;
    if text.bytes().all(|byte| byte.is_ascii_graphic()) && text.len() <= URL_BYTES_MAX {
        Ok(text)
    } else {
        Err(UrlInvalid)
    }
}

fn without_fragment(text: &str) -> &str {
    text.split('#').next().unwrap_or_default()
}

/// RFC 3986, 5.2.4, of the path only.
fn without_dots(target: &str) -> String {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    let path = format!("/{}", kept.join("/"));
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

const fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Https => 443,
        Scheme::Http => 80,
    }
}

/// `:65535`
const PORT_BYTES_MAX: usize = 6;

/// Signed URLs of storage reach about 4 KiB.
const URL_BYTES_MAX: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> String {
        Url::parse(text.as_bytes()).map_or("invalid".to_owned(), |url| url.to_string())
    }

    #[test]
    fn urls_keep_their_bytes() {
        for (text, expected) in [
            ("https://ghcr.io/token", "https://ghcr.io/token"),
            ("HTTPS://GHCR.io:443/Token?A=%2f|x'", "https://ghcr.io/Token?A=%2f|x'"),
            ("http://a.b:80", "http://a.b/"),
            ("http://a.b:8080?x#y", "http://a.b:8080/?x"),
            ("https://[::1]:5000/a", "https://[::1]:5000/a"),
            ("https://user@a.b/", "invalid"),
            ("https://user:pw@a.b/", "invalid"),
            ("ftp://a.b/", "invalid"),
            ("//a.b/", "invalid"),
            ("https:///a", "invalid"),
            ("https://a b/", "invalid"),
            ("https://a.b/\r\nX: y", "invalid"),
            ("https://a.b/\u{e9}", "invalid"),
            ("https://a.b:0/", "invalid"),
            ("https://a.b\\@c.d/", "invalid"),
        ] {
            assert_eq!(parsed(text), expected, "{text}");
        }
    }

    #[test]
    fn references_are_resolved() {
        let base = Url::parse(b"https://a.b/v2/x/blobs/y?q").unwrap();
        for (reference, expected) in [
            ("https://c.d/e?f", "https://c.d/e?f"),
            ("//c.d/e", "https://c.d/e"),
            ("/e/../f?g=/../h", "https://a.b/e/../f?g=/../h"),
            ("z", "https://a.b/v2/x/blobs/z"),
            ("../z?a=..", "https://a.b/v2/x/z?a=.."),
            ("../../../../z", "https://a.b/z"),
            ("./", "https://a.b/v2/x/blobs/"),
            ("?z", "https://a.b/v2/x/blobs/y?z"),
            ("", "https://a.b/v2/x/blobs/y?q"),
            ("#f", "https://a.b/v2/x/blobs/y?q"),
            ("z:y", "invalid"),
            ("javascript:alert(1)", "invalid"),
        ] {
            let joined = base.join(reference.as_bytes());
            let joined = joined.map_or("invalid".to_owned(), |url| url.to_string());
            assert_eq!(joined, expected, "{reference}");
        }
    }

    proptest! {
        #[test]
        fn what_was_read_reads_the_same_again(text in "(https?://)?[ -~]{0,40}") {
            if let Ok(url) = Url::parse(text.as_bytes()) {
                prop_assert_eq!(Url::parse(url.to_string().as_bytes()), Ok(url));
            }
        }

        #[test]
        fn what_is_joined_can_be_asked_for(reference in "[ -~]{0,40}") {
            let base = Url::parse(b"http://a.b/c/d").unwrap();
            if let Ok(url) = base.join(reference.as_bytes()) {
                prop_assert!(url.target.starts_with('/') && !url.target.contains('#'));
                prop_assert_eq!(Url::parse(url.to_string().as_bytes()), Ok(url));
            }
        }
    }
}
