//! Where a package lives: what one would type after `docker pull`, without the tag.

use std::fmt;
use std::net::IpAddr;

use crate::pure::limits::HOST_BYTES_MAX;
use crate::pure::route::pattern::{Pattern, PatternInvalid, Star};

/// A registry and a repository on it, or all repositories below a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// How the registry is spoken to.
    pub scheme: Scheme,
    /// The registry's host, lower case, with its port where one is written:
    /// `registry-1.docker.io`, `localhost:5000`.
    pub authority: String,
    /// `library/redis`; for a pattern what stands before the star: empty, or ending in `/`.
    pub repository: String,
    /// Which tails are carried over; `None` for exactly this repository.
    pub star: Option<Star>,
}

/// How a registry is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Over TLS.
    Https,
    /// In the clear.
    Http,
}

/// Not a backend; its words say why, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendInvalid {
    /// `redis@sha256:...`
    Digest,
    /// `redis:7`
    Tag,
    /// `https://user:password@ghcr.io/acme/rocket`
    Login,
    /// What stands for the host cannot be one.
    Host,
    /// A registry and nothing behind it.
    RepositoryMissing,
    /// What stands for the repository cannot be one.
    Repository(PatternInvalid),
}

impl Backend {
    /// Reads a backend in any of the spellings that clients know: `redis`, `acme/rocket`,
    /// `docker.io/acme/rocket`, `ghcr.io/acme/*`, `http://localhost:5000/acme/rocket`.
    pub fn parse(text: &str) -> Result<Self, BackendInvalid> {
        let (scheme, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (Some(Scheme::Http), rest),
            (_, Some(rest)) => (Some(Scheme::Https), rest),
            (None, None) => (None, text),
        };
        let (host, path) = match rest.split_once('/') {
            Some((host, path)) if scheme.is_some() || is_host(host) => (host, path),
            None if scheme.is_some() || is_host_alone(rest) => {
                return Err(BackendInvalid::RepositoryMissing);
            }
            _ => (DOCKER_HUB_ALIASES[0], rest),
        };
        if host.contains('@') {
            return Err(BackendInvalid::Login);
        }
        if path.contains('@') {
            return Err(BackendInvalid::Digest);
        }
        if path.contains(':') {
            return Err(BackendInvalid::Tag);
        }
        if path.is_empty() {
            return Err(BackendInvalid::RepositoryMissing);
        }
        let authority = registry_authority(host).ok_or(BackendInvalid::Host)?;
        let Pattern { prefix, star } = Pattern::parse(path).map_err(BackendInvalid::Repository)?;
        // Docker Hub's own names have one segment for people and two for the registry. `**` stands
        // for any number: there the client's tail says `library/` itself.
        let is_hub_own = authority == DOCKER_HUB && !path.contains('/') && path != "**";
        let repository = if is_hub_own { format!("library/{prefix}") } else { prefix };
        Ok(Self { scheme: scheme.unwrap_or(Scheme::Https), authority, repository, star })
    }

    /// The URL of the registry: `https://ghcr.io/v2/`.
    pub fn base(&self) -> String {
        [self.scheme.as_str(), &self.authority, "/v2/"].concat()
    }

    /// The registry's host, without a port.
    pub fn host(&self) -> &str {
        split_port(&self.authority).0
    }

    /// The registry's port, written or its scheme's.
    pub fn port(&self) -> u16 {
        split_port(&self.authority).1.unwrap_or_else(|| self.scheme.port())
    }
}

impl Scheme {
    /// The port that a URL without one has.
    pub const fn port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }

    /// As it stands in front of a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https://",
            Self::Http => "http://",
        }
    }
}

/// A registry's host and port as it is dialled: lower case, Docker Hub's aliases resolved. `None`
/// for what cannot be one.
pub fn registry_authority(text: &str) -> Option<String> {
    let authority = authority(text)?;
    Some(if DOCKER_HUB_ALIASES.contains(&authority.as_str()) {
        DOCKER_HUB.to_owned()
    } else {
        authority
    })
}

/// A host with or without a port in lower case; `None` for what cannot be one (RFC 3986, 3.2.2,
/// without percent-encoding).
pub fn authority(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (host, port) = split_port(&text);
    let is_written_port = host.len() < text.len();
    let valid = if let Some(address) = host.strip_prefix('[') {
        address
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
    } else {
        host.len() <= HOST_BYTES_MAX && host.split('.').all(is_label)
    };
    (valid && is_written_port == port.is_some_and(|port| port > 0)).then_some(text)
}

/// A registry's host and port as the configuration writes it: `registry.example.net:5000` of
/// `https://registry.example.net:5000/v2/`.
pub fn authority_of(base: &str) -> &str {
    let behind_scheme = base.split_once("://").map_or(base, |(_, rest)| rest);
    behind_scheme.split_once('/').map_or(behind_scheme, |(authority, _)| authority)
}

/// Whether `named`, in any case, is another spelling of the registry at `authority`.
pub fn is_registry(named: &[u8], authority: &str) -> bool {
    let is_it = |name: &str| named.eq_ignore_ascii_case(name.as_bytes());
    is_it(authority) || authority == DOCKER_HUB && DOCKER_HUB_ALIASES.into_iter().any(is_it)
}

/// Whether a host, without a port, is an IP address; IPv6 in its brackets.
pub fn is_address(host: &str) -> bool {
    let ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    ipv6.unwrap_or(host).parse::<IpAddr>().is_ok()
}

/// A host and the port behind it, where there is one that can be read.
pub fn split_port(authority: &str) -> (&str, Option<u16>) {
    let host_end = authority.rfind(']').unwrap_or(0);
    match authority.get(host_end..).and_then(|rest| rest.find(':')) {
        Some(colon) => {
            let (host, port) = authority.split_at(host_end + colon);
            let digits =
                port.get(1..).filter(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
            (host, digits.and_then(|digits| digits.parse().ok()))
        }
        None => (authority, None),
    }
}

impl fmt::Display for BackendInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest => f.write_str("has a digest; leave it out, clients choose it"),
            Self::Tag => f.write_str("has a tag; leave it out, clients choose it"),
            Self::Login => f.write_str("has a login in front of its host; leave it out"),
            Self::Host => f.write_str("does not begin with a host that can exist"),
            Self::RepositoryMissing => {
                f.write_str("names a registry but no repository on it; write `host/repository`")
            }
            Self::Repository(wrong) => wrong.fmt(f),
        }
    }
}

impl std::error::Error for BackendInvalid {}

/// Whether the first of several segments is a host, by docker's rule.
fn is_host(segment: &str) -> bool {
    segment == "localhost" || segment.contains(['.', ':'])
}

/// Whether a text of one segment is a host: `redis:7` is not, `ghcr.io` and `localhost:5000` are.
fn is_host_alone(segment: &str) -> bool {
    let host = split_port(segment).0;
    !segment.contains('@') && (host == "localhost" || host.contains(['.', '[']))
}

/// RFC 1123, 2.1; the underscore because container networks use it.
fn is_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(is_inner)
        && bytes.first() != Some(&b'-')
        && bytes.last() != Some(&b'-')
}

/// Docker Hub's registry.
const DOCKER_HUB: &str = "registry-1.docker.io";

/// What people call it.
const DOCKER_HUB_ALIASES: [&str; 4] =
    ["docker.io", "index.docker.io", "registry.hub.docker.com", DOCKER_HUB];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, expected: &str) {
        let seen = Backend::parse(text).map_or_else(
            |wrong| format!("{wrong:?}"),
            |backend| {
                let star = backend.star.map_or("", Star::as_str);
                let Backend { scheme, authority, repository, .. } = backend;
                format!("{}{authority}/v2/{repository}{star}", scheme.as_str())
            },
        );
        assert_eq!(seen, expected, "{text:?}");
    }

    #[test]
    fn docker_hub_has_many_spellings() {
        let hub = "https://registry-1.docker.io/v2";
        reads("hello-world", &format!("{hub}/library/hello-world"));
        reads("acme/rocket", &format!("{hub}/acme/rocket"));
        for alias in DOCKER_HUB_ALIASES {
            reads(&format!("{alias}/redis"), &format!("{hub}/library/redis"));
            reads(&format!("https://{alias}/acme/rocket"), &format!("{hub}/acme/rocket"));
        }
        reads("Docker.io/redis", &format!("{hub}/library/redis"));
        reads("docker.io/*", &format!("{hub}/library/*"));
        reads("docker.io/**", &format!("{hub}/**"));
        reads("library/**", &format!("{hub}/library/**"));
    }

    #[test]
    fn a_first_segment_with_a_dot_a_colon_or_localhost_is_a_host() {
        reads("ghcr.io/acme/rocket", "https://ghcr.io/v2/acme/rocket");
        reads("GHCR.io/acme/*", "https://ghcr.io/v2/acme/*");
        reads("host:5000/rocket", "https://host:5000/v2/rocket");
        reads("localhost/rocket", "https://localhost/v2/rocket");
        reads("http://localhost:5000/a/b/c", "http://localhost:5000/v2/a/b/c");
        reads("http://registry/rocket", "http://registry/v2/rocket");
        reads("[::1]:5000/rocket", "https://[::1]:5000/v2/rocket");
        reads("ghcr.io/**", "https://ghcr.io/v2/**");
    }

    #[test]
    fn what_is_not_a_backend_says_why() {
        reads("redis:7", "Tag");
        reads("ghcr.io/acme/rocket:1.2", "Tag");
        reads("redis@sha256:abc", "Digest");
        reads("host:5000/redis:7@sha256:abc", "Digest");
        reads("ghcr.io", "RepositoryMissing");
        reads("ghcr.io/", "RepositoryMissing");
        reads("localhost:5000", "RepositoryMissing");
        reads("https://ghcr.io", "RepositoryMissing");
        reads("", "RepositoryMissing");
        reads("host:0/rocket", "Host");
        reads("host:port/rocket", "Host");
        reads("host:+80/rocket", "Host");
        reads("-a.b/rocket", "Host");
        reads("user@host.io/rocket", "Login");
        reads("https://user:password@host.io/rocket", "Login");
        reads("http:///rocket", "Host");
        reads("ghcr.io/Acme/rocket", "Repository(Name)");
        reads("ghcr.io/acme/../rocket", "Repository(Name)");
        reads("ghcr.io/acme/rocket/", "Repository(Name)");
        reads("ghcr.io/*/rocket", "Repository(Star)");
    }

    #[test]
    fn a_port_is_the_written_one_or_the_schemes() {
        for (text, host, port) in [
            ("ghcr.io/a", "ghcr.io", 443),
            ("http://ghcr.io/a", "ghcr.io", 80),
            ("http://localhost:5000/a", "localhost", 5000),
            ("[::1]:5000/a", "[::1]", 5000),
            ("https://[::1]/a", "[::1]", 443),
        ] {
            let backend = Backend::parse(text).unwrap();
            assert_eq!((backend.host(), backend.port()), (host, port), "{text}");
        }
    }
}
