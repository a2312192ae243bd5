//! Which names a rule serves: one, or all below a prefix.

use std::fmt;

use crate::pure::oci::name::Name;

/// A rule's names: `acme/rocket`, `acme/*` or `library/**`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern {
    /// The whole name where there is no star, else what stands before it: empty, or ending in `/`.
    pub prefix: String,
    /// What follows the prefix; `None` for nothing.
    pub star: Option<Star>,
}

/// What may stand for the rest of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Star {
    /// `*`: one more segment.
    One,
    /// `**`: one or more segments.
    Many,
}

/// Not a pattern; its words follow the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternInvalid {
    /// A star that is not the whole last segment.
    Star,
    /// What is not a star breaks the grammar of names.
    Name,
}

impl Pattern {
    /// Reads a pattern as it is written in the configuration.
    pub fn parse(text: &str) -> Result<Self, PatternInvalid> {
        let last = text.rfind('/').map_or(0, |slash| slash + 1);
        let (prefix, star) = match text.split_at(last) {
            (prefix, "*") => (prefix, Some(Star::One)),
            (prefix, "**") => (prefix, Some(Star::Many)),
            _ => (text, None),
        };
        if prefix.contains('*') {
            return Err(PatternInvalid::Star);
        }
        let name = if star.is_some() { prefix.strip_suffix('/') } else { Some(prefix) };
        if let Some(name) = name {
            Name::parse(name.as_bytes()).map_err(|_| PatternInvalid::Name)?;
        }
        Ok(Self { prefix: prefix.to_owned(), star })
    }

    /// Whether this name is one of its names.
    pub fn has(&self, name: &str) -> bool {
        let tail = name.strip_prefix(self.prefix.as_str());
        tail.is_some_and(|tail| match self.star {
            None => tail.is_empty(),
            Some(Star::One) => !tail.is_empty() && !tail.contains('/'),
            Some(Star::Many) => !tail.is_empty(),
        })
    }

    /// Whether what is said of these names reaches further than what was said of those: of a collection
    /// instead of one name, or of a larger one.
    pub fn widens(&self, those: &Self) -> bool {
        let reach = |star| match star {
            None => 0,
            Some(Star::One) => 1,
            Some(Star::Many) => 2,
        };
        let is_above =
            self.prefix.len() < those.prefix.len() && those.prefix.starts_with(&self.prefix);
        reach(self.star) > reach(those.star)
            || (self.star.is_some() && self.star == those.star && is_above)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prefix)?;
        f.write_str(self.star.map_or("", Star::as_str))
    }
}

impl Star {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::One => "*",
            Self::Many => "**",
        }
    }
}

impl fmt::Display for PatternInvalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Star => "has a star that is not the whole last segment",
            Self::Name => {
                "is not a repository name: segments of a-z and 0-9, inside them `.`, `_`, `__` or \
                 dashes, parted by `/`, at most 255 bytes"
            }
        })
    }
}

impl std::error::Error for PatternInvalid {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_reaches_further_than_a_name_and_than_one_below_it() {
        for (from, to, expected) in [
            ("acme/rocket", "acme/sledge", false),
            ("acme/rocket", "acme/*", true),
            ("acme/rocket", "moon/**", true),
            ("acme/*", "acme/**", true),
            ("acme/*", "moon/*", false),
            ("acme/deep/*", "acme/*", true),
            ("acme/deep/**", "**", true),
            ("acme/**", "acme/deep/**", false),
            ("acme/**", "acme/*", false),
            ("acme/*", "acme/*", false),
            ("acme/*", "acme/rocket", false),
            ("acme/rocket/x", "acme/rocket", false),
        ] {
            let [from, to] = [from, to].map(|text| Pattern::parse(text).unwrap());
            assert_eq!(to.widens(&from), expected, "{from} {to}");
        }
    }

    #[test]
    fn a_pattern_is_a_name_with_at_most_a_star_for_its_last_segments() {
        for (text, expected) in [
            ("acme/rocket", Ok(("acme/rocket", None))),
            ("redis", Ok(("redis", None))),
            ("acme/*", Ok(("acme/", Some(Star::One)))),
            ("library/**", Ok(("library/", Some(Star::Many)))),
            ("*", Ok(("", Some(Star::One)))),
            ("**", Ok(("", Some(Star::Many)))),
            ("acme/ro*", Err(PatternInvalid::Star)),
            ("acme/*/rocket", Err(PatternInvalid::Star)),
            ("*/*", Err(PatternInvalid::Star)),
            ("acme/***", Err(PatternInvalid::Star)),
            ("", Err(PatternInvalid::Name)),
            ("/*", Err(PatternInvalid::Name)),
            ("acme//*", Err(PatternInvalid::Name)),
            ("Acme/*", Err(PatternInvalid::Name)),
            ("acme/", Err(PatternInvalid::Name)),
            ("acme/rocket:1", Err(PatternInvalid::Name)),
        ] {
            let parsed = Pattern::parse(text);
            let seen = parsed.as_ref().map(|read| (read.prefix.as_str(), read.star));
            assert_eq!(seen.map_err(|error| *error), expected, "{text:?}");
            if let Ok(read) = parsed {
                assert_eq!(read.to_string(), text);
            }
        }
    }

    #[test]
    fn a_name_is_a_patterns_or_not() {
        for (pattern, has, has_not) in [
            ("acme/rocket", &["acme/rocket"][..], &["acme/rocket2", "acme/rocket/x", "acme"][..]),
            ("acme/*", &["acme/rocket"], &["acme/", "acme", "acme/a/b", "acme2/rocket"]),
            ("acme/**", &["acme/rocket", "acme/a/b", "acme/a/*"], &["acme/", "acme", "other/x"]),
            ("*", &["rocket"], &["", "acme/rocket"]),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            assert!(has.iter().all(|name| pattern.has(name)), "{pattern} {has:?}");
            assert!(!has_not.iter().any(|name| pattern.has(name)), "{pattern} {has_not:?}");
        }
    }
}
