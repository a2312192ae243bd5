//! What is wrong with a configuration file, and where.

use std::fmt;

/// One thing that is wrong. It prints as `FILE:LINE: key: what is wrong, what is allowed`, always
/// on one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file's name as it was given.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The key's path: `packages[2].delivery`, counted from 0; `TOML` where the text is not even
    /// that.
    pub key: String,
    /// What is wrong and what is allowed.
    pub what: String,
}

/// Something that is allowed, but hardly meant. It prints like a problem.
pub type Warning = Problem;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, key, what } = self;
        write!(f, "{file}:{line}: {key}: {what}")
    }
}

impl std::error::Error for Problem {}

/// Problems of one file, gathered while it is read.
pub struct Problems {
    file: String,
    lines: Lines,
    found: Vec<Problem>,
}

impl Problems {
    /// None yet, for the file of this name and text.
    pub fn new(file: &str, text: &str) -> Self {
        Self { file: file.to_owned(), lines: Lines::of(text), found: Vec::new() }
    }

    /// Adds one at a byte of the text.
    pub fn add(&mut self, at: usize, key: impl Into<String>, what: impl Into<String>) {
        let problem = self.at(at, key, what);
        self.found.push(problem);
    }

    /// One at a byte of the text, not added.
    pub fn at(&self, at: usize, key: impl Into<String>, what: impl Into<String>) -> Problem {
        Problem { file: self.file.clone(), line: self.line(at), key: key.into(), what: what.into() }
    }

    /// The line, from 1, on which a byte of the text stands.
    pub fn line(&self, at: usize) -> usize {
        self.lines.line(at)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All of them, in the order of the file.
    pub fn into_sorted(mut self) -> Vec<Problem> {
        self.found.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
        self.found
    }
}

/// The lines of a text.
pub struct Lines {
    /// Where each of them ends.
    ends: Vec<usize>,
    /// The text's length.
    length: usize,
}

impl Lines {
    /// Those of `text`.
    pub fn of(text: &str) -> Self {
        let ends = memchr::memchr_iter(b'\n', text.as_bytes()).collect();
        Self { ends, length: text.len() }
    }

    /// The line, from 1, on which a byte stands; past the end the last one.
    pub fn line(&self, at: usize) -> usize {
        let at = at.min(self.length.saturating_sub(1));
        1 + self.ends.partition_point(|end| *end < at)
    }
}

/// `text` in back quotes, for the words of a problem: on one line, and cut where it is long.
pub fn quoted(text: &str) -> String {
    let mut shown: String =
        text.chars().take(QUOTED_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTED_CHARS_MAX).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}

/// A key as part of a path: bare where TOML allows that.
pub fn key_name(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.len() <= QUOTED_CHARS_MAX && key.chars().all(is_bare) {
        key.to_owned()
    } else {
        quoted(key).replace('`', "\"")
    }
}

/// Which of `known` was probably meant by `word`, if any is near enough.
pub fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let most = (word.len() / 3).max(1);
    (word.len() <= QUOTED_CHARS_MAX).then_some(())?;
    known
        .map(|candidate| (edits(word.as_bytes(), candidate.as_bytes()), candidate))
        .filter(|(edits, _)| *edits <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters were left out, added, changed, or swapped with their neighbour (the optimal
/// string alignment distance).
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let mut least = (above[j] + usize::from(x != y)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i - 1] == *y && b[j - 1] == *x {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

/// How much of a value is repeated in the words of a problem.
const QUOTED_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found_through_the_usual_slips() {
        let known = ["delivery", "domain", "name", "backend"];
        for (word, meant) in [
            ("delivrey", Some("delivery")),
            ("delivry", Some("delivery")),
            ("nmae", Some("name")),
            ("Domain", Some("domain")),
            ("backends", Some("backend")),
            ("cache", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), meant, "{word}");
        }
    }

    #[test]
    fn lines_are_counted_from_one_and_end_with_the_file() {
        let text = Lines::of("a\nbc\n\nd\n");
        let lines: Vec<usize> = (0..12).map(|at| text.line(at)).collect();
        assert_eq!(lines, [1, 1, 2, 2, 2, 3, 4, 4, 4, 4, 4, 4]);
        assert_eq!(Lines::of("").line(7), 1);
    }

    #[test]
    fn what_is_repeated_stays_on_one_line_and_short() {
        assert_eq!(quoted("a\nb"), "`a\\nb`");
        assert!(quoted(&"x".repeat(1000)).len() < 80);
        assert_eq!(key_name("a b\n"), "\"a b\\n\"");
        assert_eq!(key_name("head_bytes"), "head_bytes");
    }
}
