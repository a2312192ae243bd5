//! Tags and digests: what a manifest is asked for by (OCI distribution spec, "Pulling manifests";
//! OCI image spec, "Digests").

use crate::pure::fault::{Fault, Kind};
use crate::pure::limits::{DIGEST_BYTES_MAX, TAG_BYTES_MAX};

/// A tag or a digest. Only digests have a `:`, so that each text is at most one of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Reference<'a> {
    /// `latest`
    Tag(Tag<'a>),
    /// `sha256:…`
    Digest(Digest<'a>),
}

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Tag<'a>(&'a str);

/// A digest, `algorithm:encoded`. The registered algorithms sha256 and sha512 have exactly their
/// number of lower-case hexadecimal digits; others are held to the grammar and to
/// [`DIGEST_BYTES_MAX`] bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Digest<'a>(&'a str);

impl<'a> Reference<'a> {
    /// The tag or digest that `bytes` are.
    ///
    /// # Errors
    /// [`Kind::DigestInvalid`] where a `:` makes it a digest, else [`Kind::TagInvalid`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        if memchr::memchr(b':', bytes).is_some() {
            Digest::parse(bytes).map(Self::Digest)
        } else {
            Tag::parse(bytes).map(Self::Tag)
        }
    }

    /// The reference as text.
    pub fn as_str(self) -> &'a str {
        match self {
            Self::Tag(tag) => tag.as_str(),
            Self::Digest(digest) => digest.as_str(),
        }
    }
}

impl<'a> Tag<'a> {
    /// The tag that `bytes` are.
    ///
    /// # Errors
    /// [`Kind::TagInvalid`], with what is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let refused = |detail| Err(Fault::new(Kind::TagInvalid, detail));
        match bytes {
            [] => return refused("the tag is empty"),
            [b'.' | b'-', ..] => {
                return refused("a tag begins with a letter, a digit or an underscore");
            }
            _ => {}
        }
        if bytes.len() > TAG_BYTES_MAX {
            return refused("a tag has at most 128 bytes");
        }
        let allowed =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !bytes.iter().all(allowed) {
            return refused("a tag consists of letters, digits, `.`, `_` and `-`");
        }
        text(bytes, Kind::TagInvalid).map(Self)
    }

    /// The tag as text.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

impl<'a> Digest<'a> {
    /// The digest that `bytes` are.
    ///
    /// # Errors
    /// [`Kind::DigestInvalid`], with what is wrong.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Fault> {
        let well_formed = if let Some(encoded) = bytes.strip_prefix(b"sha256:") {
            is_lower_hex(encoded, 64)
        } else if let Some(encoded) = bytes.strip_prefix(b"sha512:") {
            is_lower_hex(encoded, 128)
        } else {
            bytes.len() <= DIGEST_BYTES_MAX && is_of_another_algorithm(bytes)
        };
        if !well_formed {
            return Err(Fault::new(Kind::DigestInvalid, explain(bytes)));
        }
        text(bytes, Kind::DigestInvalid).map(Self)
    }

    /// The digest as text.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// Every byte is looked at even after a wrong one: a loop without an exit is a few vector
/// instructions.
fn is_lower_hex(encoded: &[u8], digits: usize) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    encoded.len() == digits && encoded.iter().fold(true, |all, byte| all & is_digit(byte))
}

/// `[a-z0-9]+([+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+`
fn is_of_another_algorithm(bytes: &[u8]) -> bool {
    let Some((algorithm, encoded)) =
        memchr::memchr(b':', bytes).and_then(|at| Some((bytes.get(..at)?, bytes.get(at + 1..)?)))
    else {
        return false;
    };
    algorithm.split(|byte| b"+._-".contains(byte)).all(|component| {
        !component.is_empty()
            && component.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    }) && !encoded.is_empty()
        && encoded.iter().all(|byte| byte.is_ascii_alphanumeric() || b"=_-".contains(byte))
}

/// What to say of bytes that are no digest.
#[cold]
fn explain(bytes: &[u8]) -> &'static str {
    if bytes.starts_with(b"sha256:") {
        "a sha256 digest has exactly 64 lower-case hexadecimal digits"
    } else if bytes.starts_with(b"sha512:") {
        "a sha512 digest has exactly 128 lower-case hexadecimal digits"
    } else if bytes.len() > DIGEST_BYTES_MAX {
        "a digest has at most 160 bytes"
    } else {
        "a digest reads like `sha256:` and 64 lower-case hexadecimal digits"
    }
}

fn text(bytes: &[u8], kind: Kind) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| Fault::new(kind, "it is not text"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sha256() -> String {
        format!("sha256:{}", "0123456789abcdef".repeat(4))
    }

    #[test]
    fn tags_and_digests_are_told_apart_by_the_colon() {
        let digest = sha256();
        assert!(matches!(Reference::parse(b"latest"), Ok(Reference::Tag(_))));
        assert!(matches!(Reference::parse(digest.as_bytes()), Ok(Reference::Digest(_))));
        for text in ["latest", "v1.2.3-rc.1", "_x", "1", "UPPER", &digest] {
            assert_eq!(Reference::parse(text.as_bytes()).map(Reference::as_str), Ok(text));
        }
    }

    #[test]
    fn a_cosign_tag_is_a_tag() {
        let tag = format!("sha256-{}.sig", "0".repeat(64));
        assert!(matches!(Reference::parse(tag.as_bytes()), Ok(Reference::Tag(_))));
    }

    #[test]
    fn what_is_no_reference_is_told_why() {
        let short = &sha256()[..70];
        let upper = sha256().to_uppercase().replace("SHA", "sha");
        for (text, kind, why) in [
            ("", Kind::TagInvalid, "empty"),
            (".", Kind::TagInvalid, "begins"),
            ("..", Kind::TagInvalid, "begins"),
            ("-x", Kind::TagInvalid, "begins"),
            ("a b", Kind::TagInvalid, "consists"),
            ("%2e%2e", Kind::TagInvalid, "consists"),
            ("a/b", Kind::TagInvalid, "consists"),
            ("a;b", Kind::TagInvalid, "consists"),
            ("a\0", Kind::TagInvalid, "consists"),
            ("a+b", Kind::TagInvalid, "consists"),
            (&"a".repeat(129), Kind::TagInvalid, "128"),
            (":", Kind::DigestInvalid, "reads like"),
            ("a:", Kind::DigestInvalid, "reads like"),
            (":a", Kind::DigestInvalid, "reads like"),
            ("Sha256:aa", Kind::DigestInvalid, "reads like"),
            ("sha3..512:aa", Kind::DigestInvalid, "reads like"),
            ("sha256:", Kind::DigestInvalid, "64"),
            ("sha256:sha256:", Kind::DigestInvalid, "64"),
            (short, Kind::DigestInvalid, "64"),
            (&upper, Kind::DigestInvalid, "64"),
            (&sha256().replace("sha256", "sha512"), Kind::DigestInvalid, "128"),
            (&format!("blake3:{}", "a".repeat(160)), Kind::DigestInvalid, "160"),
        ] {
            let fault = Reference::parse(text.as_bytes()).unwrap_err();
            assert_eq!(fault.kind, kind, "{text:?}");
            assert!(fault.detail.contains(why), "{text:?}: {}", fault.detail);
        }
    }

    #[test]
    fn bounds_are_inclusive() {
        assert!(Tag::parse("a".repeat(TAG_BYTES_MAX).as_bytes()).is_ok());
        let other = format!("b:{}", "a".repeat(DIGEST_BYTES_MAX - 2));
        assert!(Digest::parse(other.as_bytes()).is_ok());
        let sha512 = format!("sha512:{}", "a".repeat(128));
        assert!(Digest::parse(sha512.as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn what_the_grammars_generate_is_accepted(
            tag in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}",
            digest in "sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}|[a-z0-9]{1,5}([+._-][a-z0-9]{1,5}){1,3}:[a-zA-Z0-9=_-]{1,64}",
        ) {
            prop_assert!(matches!(Reference::parse(tag.as_bytes()), Ok(Reference::Tag(_))));
            prop_assert!(matches!(Reference::parse(digest.as_bytes()), Ok(Reference::Digest(_))));
        }

        #[test]
        fn nothing_else_comes_out(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(reference) = Reference::parse(&bytes) {
                prop_assert_eq!(reference.as_str().as_bytes(), &bytes[..]);
                prop_assert!(bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-=+:".contains(b)));
            }
        }
    }
}
