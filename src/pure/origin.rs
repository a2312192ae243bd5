//! Where requests of the gateway's own go: origins (RFC 6454, 4) and URLs (RFC 3986), as far as
//! HTTP has them.
//!
//! A URL's path and query are kept byte for byte: what is signed is only good as it was written.

use std::fmt;
use std::net::Ipv6Addr;

use crate::pure::oci::backend::{Scheme, authority, split_port};

/// What credentials, pooled connections and redirects are held to: scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// In lower case; an IPv6 address in brackets and in its shortest form.
    pub host: String,
    /// The written port, or the scheme's.
    pub port: u16,
}

impl Origin {
    /// The origin of `text`, a host with or without a port; `None` for what cannot be one.
    pub fn new(scheme: Scheme, text: &str) -> Option<Self> {
        let text = authority(text)?;
        let (host, port) = split_port(&text);
        let ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match ipv6.map(str::parse::<Ipv6Addr>) {
            Some(address) => format!("[{}]", address.ok()?),
            None => host.to_owned(),
        };
        Some(Self { scheme, host, port: port.unwrap_or_else(|| scheme.port()) })
    }

    /// `ghcr.io`, `localhost:5000`: the port is left out where it is the scheme's.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.port() {
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

/// An absolute `http` or `https` URL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    /// Whom to ask.
    pub origin: Origin,
    /// What for, in origin-form (RFC 9112, 3.2.1): path and query as they were written. Begins
    /// with `/`, has visible ASCII only, no fragment.
    pub target: String,
}

/// Not a URL that the gateway goes to; its words say why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlInvalid {
    /// Another scheme, or none.
    Scheme,
    /// `https://user:password@host/`
    Login,
    /// What stands for the host cannot be one.
    Host,
    /// A space, a control byte, a backslash or a byte outside ASCII.
    Byte,
}

impl Url {
    /// Reads an absolute URL. Scheme and host are put into lower case, a fragment is dropped, the
    /// rest is kept.
    ///
    /// # Errors
    /// What of it the gateway does not go to. A login in it is refused: it would be sent to
    /// whoever wrote it, and is how `https://ghcr.io@evil.example/` looks like what it is not.
    pub fn parse(text: &[u8]) -> Result<Self, UrlInvalid> {
        let text = visible(text)?;
        let (scheme, rest) = split_scheme(text).ok_or(UrlInvalid::Scheme)?;
        let scheme = scheme_of(scheme)?;
        Self::with_authority(scheme, rest.strip_prefix("//").ok_or(UrlInvalid::Host)?)
    }

    /// Where `location` leads, as it stands in an answer to a request for this URL (RFC 3986, 5.2).
    /// Dot segments are resolved in relative references only.
    ///
    /// # Errors
    /// What of it the gateway does not go to.
    pub fn join(&self, location: &[u8]) -> Result<Self, UrlInvalid> {
        let text = visible(location)?;
        if split_scheme(text).is_some() {
            return Self::parse(location);
        }
        if let Some(rest) = text.strip_prefix("//") {
            return Self::with_authority(self.origin.scheme, rest);
        }
        let text = without_fragment(text);
        let (path, query) = split_query(text);
        let (base_path, base_query) = split_query(&self.target);
        let target = match path {
            "" if query.is_empty() => format!("{base_path}{base_query}"),
            "" => format!("{base_path}{query}"),
            _ if path.starts_with('/') => format!("{}{query}", without_dots(path)),
            _ => {
                let folder = base_path.rfind('/').and_then(|slash| base_path.get(..=slash));
                let merged = format!("{}{path}", folder.unwrap_or("/"));
                format!("{}{query}", without_dots(&merged))
            }
        };
        Ok(Self { origin: self.origin.clone(), target })
    }

    /// Reads what stands behind `https://`.
    fn with_authority(scheme: Scheme, text: &str) -> Result<Self, UrlInvalid> {
        let text = without_fragment(text);
        let end = text.find(['/', '?']).unwrap_or(text.len());
        let (authority, target) = text.split_at_checked(end).unwrap_or((text, ""));
        if authority.contains('@') {
            return Err(UrlInvalid::Login);
        }
        let origin = Origin::new(scheme, authority).ok_or(UrlInvalid::Host)?;
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self { origin, target: format!("{slash}{target}") })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.target)
    }
}

impl fmt::Display for UrlInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "does not begin with https:// or http://",
            Self::Login => "has a login in front of its host",
            Self::Host => "has no host that can exist",
            Self::Byte => "has a byte that no URL has",
        })
    }
}

impl std::error::Error for UrlInvalid {}

/// The text that `bytes` are. More is let through than RFC 3986 has, for such URLs are signed too;
/// but a backslash is a slash to some (WHATWG URL), and would lead them elsewhere.
fn visible(bytes: &[u8]) -> Result<&str, UrlInvalid> {
    let text = std::str::from_utf8(bytes).map_err(|_| UrlInvalid::Byte)?;
    let is_visible = |byte: u8| byte.is_ascii_graphic() && byte != b'\\';
    if text.bytes().all(is_visible) { Ok(text) } else { Err(UrlInvalid::Byte) }
}

fn scheme_of(text: &str) -> Result<Scheme, UrlInvalid> {
    match () {
        () if text.eq_ignore_ascii_case("https") => Ok(Scheme::Https),
        () if text.eq_ignore_ascii_case("http") => Ok(Scheme::Http),
        () => Err(UrlInvalid::Scheme),
    }
}

/// What stands before and behind the colon of a scheme, where there is one (RFC 3986, 3.1).
fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then_some((scheme, rest))
}

fn without_fragment(text: &str) -> &str {
    text.split_once('#').map_or(text, |(before, _)| before)
}

/// The path, and the query with its `?`.
fn split_query(text: &str) -> (&str, &str) {
    text.find('?').and_then(|at| text.split_at_checked(at)).unwrap_or((text, ""))
}

/// An absolute path without `.` and `..` (RFC 3986, 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                // What a dot segment leaves at the end is a folder.
                if is_last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(read: Result<Url, UrlInvalid>) -> String {
        read.map_or_else(|wrong| format!("{wrong:?}"), |url| url.to_string())
    }

    #[test]
    fn urls_keep_their_bytes() {
        for (text, expected) in [
            ("https://ghcr.io/token", "https://ghcr.io/token"),
            ("HTTPS://GHCR.io:443/Token?A=b%2f&c=%7E", "https://ghcr.io/Token?A=b%2f&c=%7E"),
            ("http://localhost:5000/v2/", "http://localhost:5000/v2/"),
            ("http://a:443/", "http://a:443/"),
            ("https://a", "https://a/"),
            ("https://a?sig=1", "https://a/?sig=1"),
            ("https://a/b#part", "https://a/b"),
            ("https://a#part", "https://a/"),
            ("https://a/b?c#d?e", "https://a/b?c"),
            ("https://a/../b/./c//d?../e", "https://a/../b/./c//d?../e"),
            ("https://a/b?sig=x|y\"<>{}^`", "https://a/b?sig=x|y\"<>{}^`"),
            ("https://[2001:DB8:0::1]:5000/a", "https://[2001:db8::1]:5000/a"),
            ("https://1.2.3.4/a@b:c", "https://1.2.3.4/a@b:c"),
            ("https://a:00443/", "https://a/"),
        ] {
            assert_eq!(told(Url::parse(text.as_bytes())), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_url_of_ours_says_why() {
        for (text, expected) in [
            ("", "Scheme"),
            ("ghcr.io/token", "Scheme"),
            ("//ghcr.io/token", "Scheme"),
            ("ftp://ghcr.io/", "Scheme"),
            ("file:///etc/passwd", "Scheme"),
            ("ht tp://a/", "Byte"),
            ("https:/a", "Host"),
            ("https:a", "Host"),
            ("https://", "Host"),
            ("https:///a", "Host"),
            ("https://a:0/", "Host"),
            ("https://a:/", "Host"),
            ("https://a:+1/", "Host"),
            ("https://a:65536/", "Host"),
            ("https://a..b/", "Host"),
            ("https://a%2eb/", "Host"),
            ("https://[::1/", "Host"),
            ("https://[fe80::1%25eth0]/", "Host"),
            ("https://user@a/", "Login"),
            ("https://ghcr.io:x@evil.example/", "Login"),
            ("https://a/b c", "Byte"),
            ("https://a/\u{e9}", "Byte"),
            ("https://a/\r\nX: y", "Byte"),
            ("https://a/\0", "Byte"),
            ("https://a\\@b/", "Byte"),
        ] {
            assert_eq!(told(Url::parse(text.as_bytes())), expected, "{text:?}");
        }
        assert_eq!(Url::parse(b"https://a/\xff"), Err(UrlInvalid::Byte));
    }

    /// RFC 3986, 5.4.1 and 5.4.2, as far as they are of HTTP.
    #[test]
    fn references_are_resolved_as_the_specification_does() {
        let base = Url::parse(b"http://a/b/c/d;p?q").unwrap();
        for (reference, expected) in [
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g/"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q"),
            ("g#s", "http://a/b/c/g"),
            (";x", "http://a/b/c/;x"),
            ("g;x?y#s", "http://a/b/c/g;x?y"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./../g", "http://a/b/g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/../y", "http://a/b/c/y"),
            ("g?y/../x", "http://a/b/c/g?y/../x"),
            // And what registries send.
            (
                "/artifacts-downloads/a%2fb?sig=%7E//../c",
                "http://a/artifacts-downloads/a%2fb?sig=%7E//../c",
            ),
            ("//cdn.example:8080/x", "http://cdn.example:8080/x"),
            ("HTTPS://Cdn.example/x/../y", "https://cdn.example/x/../y"),
            ("g:h", "Scheme"),
            ("javascript:alert(1)", "Scheme"),
            ("http:g", "Host"),
            ("//user@g/", "Login"),
            ("/\\evil.example/", "Byte"),
        ] {
            assert_eq!(told(base.join(reference.as_bytes())), expected, "{reference}");
        }
    }

    #[test]
    fn an_origin_is_its_scheme_host_and_port() {
        let url = |text: &str| Url::parse(text.as_bytes()).unwrap().origin;
        assert_eq!(url("https://a/x"), url("HTTPS://A:443/y"));
        assert_eq!(url("https://[::1]"), url("https://[0:0::0001]"));
        assert_ne!(url("https://a"), url("http://a"));
        assert_ne!(url("https://a"), url("https://a:80"));
        assert_ne!(url("https://a"), url("https://b.a"));
        assert_eq!(url("https://a:80").to_string(), "https://a:80");
    }

    proptest! {
        #[test]
        fn what_was_read_is_read_the_same_again(
            text in "(https?|HTTPS?)://[a-zA-Z0-9.\\[\\]:-]{1,12}(:[0-9]{1,5})?[!-~]{0,20}",
        ) {
            if let Ok(url) = Url::parse(text.as_bytes()) {
                prop_assert_eq!(Url::parse(url.to_string().as_bytes()), Ok(url));
            }
        }

        #[test]
        fn a_reference_that_is_absolute_is_the_url(text in "https?://[a-z]{1,5}(/[!-~]{0,20})?") {
            let base = Url::parse(b"https://ghcr.io/v2/a?b").unwrap();
            prop_assert_eq!(base.join(text.as_bytes()), Url::parse(text.as_bytes()));
        }
    }
}
