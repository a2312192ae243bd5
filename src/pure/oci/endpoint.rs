//! The distribution spec's endpoints: a request's path and what it means.

use memchr::memrchr;

use super::name::Name;
use super::reference::{Digest, Reference};
use crate::pure::fault::{Fault, Kind};

/// What a path asks for. Everything in it was parsed to its grammar, so that writing it out again
/// never gives a byte that the grammar does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Endpoint<'a> {
    /// `/v2/` (and `/v2`): does the registry speak this protocol, and does it want a login?
    Base,
    /// `/v2/<name>/manifests/<reference>`
    Manifest {
        /// Of which repository.
        name: Name<'a>,
        /// Which of its manifests.
        reference: Reference<'a>,
    },
    /// `/v2/<name>/blobs/<digest>`
    Blob {
        /// Of which repository.
        name: Name<'a>,
        /// Which of its blobs.
        digest: Digest<'a>,
    },
    /// `/v2/<name>/tags/list`
    TagsList {
        /// Of which repository.
        name: Name<'a>,
    },
    /// `/v2/<name>/referrers/<digest>`
    Referrers {
        /// Of which repository.
        name: Name<'a>,
        /// What is referred to.
        digest: Digest<'a>,
    },
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/<name>/blobs/uploads/`, with or without a session behind it (which is not kept)
    Upload {
        /// Of which repository.
        name: Name<'a>,
    },
    /// `/`: a person with a browser
    Root,
    /// `/robots.txt`
    Robots,
    /// `/token`: where clients are sent to log in
    Token,
}

impl<'a> Endpoint<'a> {
    /// What `path`, without its query, asks for. Nothing is decoded: the grammars have no byte that
    /// would need it.
    ///
    /// Tags and digests have no slash, so the last two segments say what is asked for, and what
    /// stands before them is the name, though it may read `a/manifests` itself.
    ///
    /// # Errors
    /// [`Kind::NameInvalid`], [`Kind::TagInvalid`] and [`Kind::DigestInvalid`] for a part outside
    /// its grammar, [`Kind::PathUnknown`] for an honest path that is none of these.
    pub fn parse(path: &'a [u8]) -> Result<Self, Fault> {
        let Some(rest) = path.strip_prefix(b"/v2/") else {
            return match path {
                b"/" => Ok(Self::Root),
                b"/v2" => Ok(Self::Base),
                b"/robots.txt" => Ok(Self::Robots),
                b"/token" => Ok(Self::Token),
                _ => Err(Fault::new(Kind::PathUnknown, "")),
            };
        };
        let (before, last) = split_last_segment(rest);
        let (name, segment) = split_last_segment(before);
        match (segment, last) {
            (b"manifests", reference) => Ok(Self::Manifest {
                name: Name::parse(name)?,
                reference: Reference::parse(reference)?,
            }),
            (b"blobs", b"uploads") => Ok(Self::Upload { name: Name::parse(name)? }),
            (b"blobs", digest) => {
                Ok(Self::Blob { name: Name::parse(name)?, digest: Digest::parse(digest)? })
            }
            (b"tags", b"list") => Ok(Self::TagsList { name: Name::parse(name)? }),
            (b"referrers", digest) => {
                Ok(Self::Referrers { name: Name::parse(name)?, digest: Digest::parse(digest)? })
            }
            (b"uploads", session) if is_session(session) && ends_in_blobs(name) => {
                let (name, _blobs) = split_last_segment(name);
                Ok(Self::Upload { name: Name::parse(name)? })
            }
            _ => match rest {
                b"" => Ok(Self::Base),
                b"_catalog" => Ok(Self::Catalog),
                // An honest path is one that could be a name; `..` and friends are refused as such.
                rest => Err(match Name::parse(rest) {
                    Ok(_) => Fault::new(Kind::PathUnknown, ""),
                    Err(invalid) => invalid.into(),
                }),
            },
        }
    }

    /// The repository that is asked for, if it is one's endpoint.
    pub fn name(&self) -> Option<Name<'a>> {
        match *self {
            Self::Manifest { name, .. }
            | Self::Blob { name, .. }
            | Self::TagsList { name }
            | Self::Referrers { name, .. }
            | Self::Upload { name } => Some(name),
            Self::Base | Self::Catalog | Self::Root | Self::Robots | Self::Token => None,
        }
    }

    /// What follows `/v2/<name>`, in two pieces: `/manifests/` and `latest`; empty where there is no
    /// name.
    pub fn tail(&self) -> (&'static str, &'a str) {
        match *self {
            Self::Manifest { reference, .. } => ("/manifests/", reference.as_str()),
            Self::Blob { digest, .. } => ("/blobs/", digest.as_str()),
            Self::TagsList { .. } => ("/tags/", "list"),
            Self::Referrers { digest, .. } => ("/referrers/", digest.as_str()),
            Self::Upload { .. } => ("/blobs/", "uploads/"),
            Self::Base | Self::Catalog | Self::Root | Self::Robots | Self::Token => ("", ""),
        }
    }
}

/// What stands before and behind the last slash; all is the last segment where there is no slash.
fn split_last_segment(path: &[u8]) -> (&[u8], &[u8]) {
    match memrchr(b'/', path).and_then(|slash| path.split_at_checked(slash)) {
        Some((before, slash_and_last)) => (before, slash_and_last.get(1..).unwrap_or_default()),
        None => (b"", path),
    }
}

fn ends_in_blobs(path: &[u8]) -> bool {
    split_last_segment(path).1 == b"blobs"
}

/// A session is the registry's own affair; it has a place here only to be told 405 and not 404.
fn is_session(last: &[u8]) -> bool {
    last.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~=".contains(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the endpoint that `path` is reads like in words, or the fault's kind.
    fn told(path: &str) -> String {
        match Endpoint::parse(path.as_bytes()) {
            Ok(endpoint) => {
                let kind = format!("{endpoint:?}");
                let kind = kind.split([' ', '{']).next().unwrap().to_owned();
                match endpoint.name() {
                    Some(name) => format!("{kind} {} {}", name.as_str(), tail(&endpoint)),
                    None => kind,
                }
            }
            Err(fault) => format!("{:?}", fault.kind),
        }
    }

    fn tail(endpoint: &Endpoint<'_>) -> String {
        let (segment, last) = endpoint.tail();
        format!("{segment}{last}")
    }

    #[test]
    fn paths_and_what_they_ask_for() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (path, expected) in [
            ("/", "Root"),
            ("/robots.txt", "Robots"),
            ("/token", "Token"),
            ("/v2", "Base"),
            ("/v2/", "Base"),
            ("/v2/_catalog", "Catalog"),
            ("/v2/a/manifests/latest", "Manifest a /manifests/latest"),
            ("/v2/a/b/manifests/v1.0", "Manifest a/b /manifests/v1.0"),
            ("/v2/a/manifests/DIGEST", "Manifest a /manifests/DIGEST"),
            ("/v2/a/blobs/DIGEST", "Blob a /blobs/DIGEST"),
            ("/v2/a/tags/list", "TagsList a /tags/list"),
            ("/v2/a/referrers/DIGEST", "Referrers a /referrers/DIGEST"),
            ("/v2/a/blobs/uploads", "Upload a /blobs/uploads/"),
            ("/v2/a/blobs/uploads/", "Upload a /blobs/uploads/"),
            ("/v2/a/blobs/uploads/6b3c9a93-af5d", "Upload a /blobs/uploads/"),
            // Names may contain the keywords: the last two segments decide.
            ("/v2/a/manifests/manifests/latest", "Manifest a/manifests /manifests/latest"),
            ("/v2/manifests/manifests/manifests", "Manifest manifests /manifests/manifests"),
            ("/v2/a/tags/list/manifests/list", "Manifest a/tags/list /manifests/list"),
            ("/v2/a/manifests/tags/list", "TagsList a/manifests /tags/list"),
            ("/v2/tags/list/tags/list", "TagsList tags/list /tags/list"),
            ("/v2/a/manifests/list", "Manifest a /manifests/list"),
            ("/v2/a/blobs/uploads/manifests/x", "Manifest a/blobs/uploads /manifests/x"),
            ("/v2/blobs/uploads/blobs/uploads/", "Upload blobs/uploads /blobs/uploads/"),
            ("/v2/a/blobs/uploads/uploads", "Upload a /blobs/uploads/"),
            ("/v2/v2/manifests/x", "Manifest v2 /manifests/x"),
            // Honest, but nothing of ours.
            ("", "PathUnknown"),
            ("*", "PathUnknown"),
            ("/favicon.ico", "PathUnknown"),
            ("/token/", "PathUnknown"),
            ("/tokens", "PathUnknown"),
            ("/v1/", "PathUnknown"),
            ("/v2a", "PathUnknown"),
            ("/V2/", "PathUnknown"),
            ("//v2/a/manifests/x", "PathUnknown"),
            ("/./v2/", "PathUnknown"),
            ("/v2/a", "PathUnknown"),
            ("/v2/a/tags", "PathUnknown"),
            ("/v2/a/tags/lists", "PathUnknown"),
            ("/v2/a/manifests/b/c", "PathUnknown"),
            ("/v2/a/uploads/b", "PathUnknown"),
            // Not honest.
            ("/v2/../manifests/x", "NameInvalid"),
            ("/v2/a/../../etc/passwd", "NameInvalid"),
            ("/v2/a/%2e%2e/manifests/x", "NameInvalid"),
            ("/v2/a%2Fb/manifests/x", "NameInvalid"),
            ("/v2/a%2Fmanifests%2Fx", "NameInvalid"),
            ("/v2/a//b/manifests/x", "NameInvalid"),
            ("/v2//manifests/x", "NameInvalid"),
            ("/v2/manifests/x", "NameInvalid"),
            ("/v2/tags/list", "NameInvalid"),
            ("/v2/a;b/manifests/x", "NameInvalid"),
            ("/v2/a\0/manifests/x", "NameInvalid"),
            ("/v2/Acme/manifests/x", "NameInvalid"),
            ("/v2/a/manifests//x", "NameInvalid"),
            ("/v2/a/manifests/x/", "NameInvalid"),
            ("/v2/a/tags/list/", "NameInvalid"),
            ("/v2/_catalog/", "NameInvalid"),
            ("/v2//", "NameInvalid"),
            ("/v2/a/blobs/uploads/..%2f", "NameInvalid"),
            ("/v2/a/manifests/", "TagInvalid"),
            ("/v2/a/manifests/..", "TagInvalid"),
            ("/v2/a/manifests/%2e", "TagInvalid"),
            ("/v2/a/manifests/x;y", "TagInvalid"),
            ("/v2/a/manifests/x\0", "TagInvalid"),
            ("/v2/a/manifests/sha256:abc", "DigestInvalid"),
            ("/v2/a/manifests/:", "DigestInvalid"),
            ("/v2/a/blobs/latest", "DigestInvalid"),
            ("/v2/a/blobs/", "DigestInvalid"),
            ("/v2/a/blobs/sha256:ABC", "DigestInvalid"),
            ("/v2/a/referrers/latest", "DigestInvalid"),
        ] {
            let asked = told(&path.replace("DIGEST", &digest));
            assert_eq!(asked.replace(&digest, "DIGEST"), expected, "{path:?}");
        }
    }

    #[test]
    fn overlong_parts_are_refused_each_by_its_own_kind() {
        let long = "a".repeat(300);
        assert_eq!(told(&format!("/v2/{long}/manifests/x")), "NameInvalid");
        assert_eq!(told(&format!("/v2/a/manifests/{long}")), "TagInvalid");
        assert_eq!(told(&format!("/v2/a/blobs/b:{long}")), "DigestInvalid");
    }

    /// Every reading that the grammar allows: each slash is tried as the end of the name.
    fn naive(path: &str) -> Vec<(&str, &str)> {
        let Some(rest) = path.strip_prefix("/v2/") else {
            return Vec::new();
        };
        rest.match_indices('/')
            .filter_map(|(slash, _)| {
                let (name, tail) = rest.split_at(slash);
                let last = |keyword: &str| tail.strip_prefix(keyword).map(str::as_bytes);
                let fits = last("/manifests/").is_some_and(|r| Reference::parse(r).is_ok())
                    || last("/blobs/").is_some_and(|d| Digest::parse(d).is_ok())
                    || last("/referrers/").is_some_and(|d| Digest::parse(d).is_ok())
                    || tail == "/tags/list"
                    || tail == "/blobs/uploads"
                    || last("/blobs/uploads/").is_some_and(is_session);
                (fits && Name::parse(name.as_bytes()).is_ok()).then_some((name, tail))
            })
            .collect()
    }

    fn segment() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => "[a-c]{1,2}",
            4 => prop::sample::select(vec!["manifests", "blobs", "tags", "list", "uploads", "referrers"])
                .prop_map(str::to_owned),
            1 => "(sha256:)?[0-9a-f]{64}",
            1 => "[aA.%_-]{0,3}",
        ]
    }

    proptest! {
        #[test]
        fn there_is_one_reading_and_parse_finds_it(
            segments in prop::collection::vec(segment(), 0..7),
        ) {
            let path = format!("/v2/{}", segments.join("/"));
            let readings = naive(&path);
            prop_assert!(readings.len() <= 1, "{:?}", readings);
            let found = Endpoint::parse(path.as_bytes()).ok().and_then(|e| e.name());
            prop_assert_eq!(found.map(Name::as_str), readings.first().map(|(name, _)| *name));
        }

        #[test]
        fn written_out_again_it_parses_to_the_same(
            segments in prop::collection::vec(segment(), 0..7),
        ) {
            let path = format!("/v2/{}", segments.join("/"));
            let Ok(endpoint) = Endpoint::parse(path.as_bytes()) else { return Ok(()) };
            let Some(name) = endpoint.name() else { return Ok(()) };
            let written = format!("/v2/{}{}", name.as_str(), tail(&endpoint));
            prop_assert_eq!(Endpoint::parse(written.as_bytes()), Ok(endpoint));
            if !matches!(endpoint, Endpoint::Upload { .. }) {
                prop_assert_eq!(&written, &path);
            }
        }

        #[test]
        fn nothing_outside_the_grammar_comes_out(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let path = [b"/v2/".as_slice(), &bytes].concat();
            if let Ok(endpoint) = Endpoint::parse(&path) {
                let written = endpoint.name().map_or("", Name::as_str).to_owned() + &tail(&endpoint);
                prop_assert!(written.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-:=+".contains(&b)));
                prop_assert!(!written.contains("..") && !written.contains("//"));
            }
        }
    }
}
