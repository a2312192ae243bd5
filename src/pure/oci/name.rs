//! Repository names (OCI distribution spec, "Pulling manifests").

use crate::pure::fault::{Fault, Kind};
use crate::pure::limits::NAME_BYTES_MAX;

/// A repository name: path components of lower-case letters and digits, joined inside by `.`, `_`,
/// `__` or any number of `-`, and to each other by `/`; at most [`NAME_BYTES_MAX`] bytes.
///
/// ```text
/// [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct Name<'a>(&'a str);

/// Bytes that are not a name, and in which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NameInvalid {
    /// What is wrong, in words that continue a sentence.
    pub detail: &'static str,
}

impl<'a> Name<'a> {
    /// The name that `bytes` are.
    ///
    /// # Errors
    /// They are outside the grammar, or too long.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, NameInvalid> {
        if bytes.len() > NAME_BYTES_MAX {
            return Err(NameInvalid { detail: "a name has at most 255 bytes" });
        }
        let mut before = Before::Nothing;
        for &byte in bytes {
            before = match (byte, before) {
                (b'a'..=b'z' | b'0'..=b'9', _) => Before::Alphanumeric,
                (b'/', Before::Alphanumeric) => Before::Slash,
                (b'.', Before::Alphanumeric) => Before::Dot,
                (b'_', Before::Alphanumeric) => Before::Underscore,
                (b'_', Before::Underscore) => Before::Underscores,
                (b'-', Before::Alphanumeric | Before::Dash) => Before::Dash,
                _ => {
                    return Err(NameInvalid { detail: misplaced(byte) });
                }
            };
        }
        if before != Before::Alphanumeric {
            return Err(NameInvalid { detail: misplaced(bytes.last().copied().unwrap_or(b'/')) });
        }
        std::str::from_utf8(bytes).map(Self).map_err(|_| NameInvalid { detail: misplaced(0) })
    }

    /// The name as text.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

impl From<NameInvalid> for Fault {
    fn from(invalid: NameInvalid) -> Self {
        Self::new(Kind::NameInvalid, invalid.detail)
    }
}

/// What stands before the byte that is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Alphanumeric,
    Slash,
    Dot,
    Underscore,
    Underscores,
    Dash,
}

/// What to say of a byte that may not stand where it does.
#[cold]
fn misplaced(byte: u8) -> &'static str {
    match byte {
        b'A'..=b'Z' => "a name has no upper-case letters",
        b'/' => "a name has no empty components",
        b'.' | b'_' | b'-' => {
            "each component of a name begins and ends with a letter or digit, \
             and inside only `.`, `_`, `__` or dashes stand between them"
        }
        b'%' => "a name is not percent-encoded",
        _ => "a name consists of a-z, 0-9, `.`, `_`, `-` and `/`",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_the_world_are_names() {
        for name in [
            "a",
            "0",
            "library/redis",
            "acme/rocket",
            "a/b/c/d/e/f",
            "a-b/c--d/e---f",
            "a.b/c_d/e__f",
            "kube-state-metrics/kube-state-metrics",
            "manifests",
            "blobs/uploads",
            "tags/list",
        ] {
            assert_eq!(Name::parse(name.as_bytes()).map(Name::as_str), Ok(name));
        }
    }

    #[test]
    fn what_is_no_name_is_told_why() {
        for (name, why) in [
            ("", "empty components"),
            ("/", "empty components"),
            ("a//b", "empty components"),
            ("a/", "empty components"),
            ("/a", "empty components"),
            ("Acme/rocket", "upper-case"),
            ("..", "begins and ends"),
            ("a/../b", "begins and ends"),
            ("a/./b", "begins and ends"),
            ("a..b", "begins and ends"),
            ("a.-b", "begins and ends"),
            ("a___b", "begins and ends"),
            ("a_", "begins and ends"),
            ("-a", "begins and ends"),
            ("a-/b", "empty components"),
            ("a%2fb", "percent-encoded"),
            ("a;b", "consists of"),
            ("a b", "consists of"),
            ("a\0b", "consists of"),
            ("a:b", "consists of"),
            ("ä", "consists of"),
        ] {
            let detail = Name::parse(name.as_bytes()).unwrap_err().detail;
            assert!(detail.contains(why), "{name:?}: {detail}");
        }
    }

    #[test]
    fn the_bound_is_255_bytes() {
        let longest = "a".repeat(NAME_BYTES_MAX);
        assert!(Name::parse(longest.as_bytes()).is_ok());
        let longer = "a".repeat(NAME_BYTES_MAX + 1);
        assert!(Name::parse(longer.as_bytes()).unwrap_err().detail.contains("255"));
    }

    /// The grammar once more, written like its expression.
    fn naive(text: &str) -> bool {
        let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let component = |component: &str| {
            let words: Vec<&str> = component.split(|c| !alphanumeric(c)).collect();
            let separators: Vec<&str> =
                component.split(alphanumeric).filter(|between| !between.is_empty()).collect();
            words.first().is_some_and(|word| !word.is_empty())
                && words.last().is_some_and(|word| !word.is_empty())
                && separators.iter().all(|separator| {
                    matches!(*separator, "." | "_" | "__") || separator.chars().all(|c| c == '-')
                })
        };
        text.len() <= NAME_BYTES_MAX && text.split('/').all(component)
    }

    proptest! {
        #[test]
        fn parse_agrees_with_the_grammar(text in "[ab0A._/%-]{0,12}") {
            prop_assert_eq!(Name::parse(text.as_bytes()).is_ok(), naive(&text));
        }

        #[test]
        fn parse_agrees_with_the_grammar_on_any_text(text in ".{0,300}") {
            prop_assert_eq!(Name::parse(text.as_bytes()).is_ok(), naive(&text));
        }

        #[test]
        fn what_is_no_text_is_no_name(bytes in prop::collection::vec(128u8.., 1..20)) {
            prop_assert!(Name::parse(&bytes).is_err());
        }
    }
}
