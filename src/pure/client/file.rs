//! A file of clients as it is written: its form, and everything that can be wrong with it.

use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde_spanned::Spanned;

use super::trust::{Rules, Survives, Within};
use super::{Entry, Mark, UNKNOWN, VersionAt};

/// Something that is wrong with a table. It prints as `LINE: key: what is wrong, what is allowed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientsProblem {
    /// The line, from 1.
    pub line: usize,
    /// The key's path: `clients[2].begins`, counted from 0; `TOML` where the text is not even that.
    pub key: String,
    /// What is wrong and what is allowed.
    pub what: String,
}

impl fmt::Display for ClientsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, key, what } = self;
        write!(f, "{line}: {key}: {what}")
    }
}

/// The entries that the text of a file holds.
///
/// # Errors
/// The first thing that is wrong with its form, or all that is wrong with its content.
pub(super) fn read(text: &str) -> Result<Vec<Entry>, Vec<ClientsProblem>> {
    let mut problems = Problems { text, found: Vec::new() };
    let file: File = toml::from_str(text).map_err(|error| {
        let what = error.message().replace('\n', "; ");
        problems.add(error.span().unwrap_or_default(), "TOML".into(), what);
        std::mem::take(&mut problems.found)
    })?;
    if file.clients.is_empty() {
        problems.add(0..0, "clients".into(), "no [[clients]] at all".into());
    }
    let mut entries: Vec<Entry> = Vec::new();
    for (index, written) in file.clients.iter().enumerate() {
        let Some(entry) = Entry::check(index, written, &file, &mut problems) else {
            continue;
        };
        if let Some(earlier) = entries.iter().find(|earlier| earlier.hides(&entry)) {
            let line = earlier.line;
            let what = format!("never decides: line {line} matches first; put this above it");
            problems.add(written.span(), format!("clients[{index}]"), what);
        }
        entries.push(entry);
    }
    if problems.found.is_empty() { Ok(entries) } else { Err(problems.found) }
}

impl Entry {
    /// The entry as written; `None`, and problems added, where it cannot be used.
    fn check(
        index: usize,
        written: &Spanned<WrittenEntry>,
        file: &File,
        problems: &mut Problems<'_>,
    ) -> Option<Self> {
        let found_before = problems.found.len();
        let mut wrong = |span, name: &str, what: String| {
            problems.add(span, format!("clients[{index}].{name}"), what);
        };
        let WrittenEntry { family, begins, has, version_after, .. } = written.get_ref();
        if !is_family(family.get_ref()) {
            let what = format!(
                "{:?} is no family: 1 to 32 of a-z, 0-9 and . _ / + -, the first a letter or \
                 digit; `unknown` and `other` are taken",
                family.get_ref()
            );
            wrong(family.span(), "family", what);
        }
        let mut text_of = |name: &str, text: &Spanned<String>, may_be_empty: bool| {
            let is_allowed_empty = may_be_empty && text.get_ref().is_empty();
            if !is_allowed_empty && !is_mark(text.get_ref()) {
                let what = format!("{:?} is not 1 to 64 printable bytes", text.get_ref());
                wrong(text.span(), name, what);
            }
            text.get_ref().to_ascii_lowercase().into_bytes()
        };
        let version = match version_after {
            None => VersionAt::Here,
            Some(text) => match text_of("version_after", text, true) {
                empty if empty.is_empty() => VersionAt::Nowhere,
                text => VersionAt::After(text),
            },
        };
        let mark = match (begins, has) {
            (Some(begins), None) => Mark::Begins(text_of("begins", begins, false)),
            (None, Some(has)) => Mark::Has(text_of("has", has, false)),
            (None, None) | (Some(_), Some(_)) => {
                wrong(written.span(), "begins", "it takes `begins` or `has`, one of them".into());
                return None;
            }
        };
        let rules = rules(written.get_ref(), file, &mut wrong);
        let line = problems.line(written.span().start);
        let family = family.get_ref().clone();
        (problems.found.len() == found_before).then_some(Self {
            family,
            mark,
            version,
            rules,
            line,
        })
    }
}

/// What an entry says of its clients' trust.
fn rules(
    written: &WrittenEntry,
    file: &File,
    wrong: &mut impl FnMut(Range<usize>, &str, String),
) -> Rules {
    let WrittenEntry { survives_redirect, acts_as, needs_challenge, .. } = written;
    let survives = survives_redirect.as_ref().map_or(Some(Survives::Never), |text| {
        let read = Survives::read(text.get_ref());
        if read.is_none() {
            let what = format!(
                "{:?} is none of \"never\", \"always\", \"after /v2/\" and versions as \"1.5.5\"",
                text.get_ref()
            );
            wrong(text.span(), "survives_redirect", what);
        }
        read
    });
    let within = acts_as.as_ref().and_then(|written| {
        let ActsAs { family, mark } = written.get_ref();
        if !is_mark(mark) {
            let what = format!("{mark:?} is not 1 to 64 printable bytes");
            wrong(written.span(), "acts_as.mark", what);
        }
        let survives = file.survives_of(family);
        if survives.is_none() {
            let what =
                format!("no entry of family {family:?} has a survives_redirect; add it there");
            wrong(written.span(), "acts_as.family", what);
        }
        let mark = mark.to_ascii_lowercase().into_bytes();
        survives.map(|survives| Within { mark, survives })
    });
    let survives = survives.unwrap_or(Survives::Never);
    Rules { survives, within, needs_challenge: *needs_challenge }
}

impl File {
    /// What the first entry of a family that says so says.
    fn survives_of(&self, family: &str) -> Option<Survives> {
        let of_family = |entry: &&Spanned<WrittenEntry>| entry.get_ref().family.get_ref() == family;
        let said = |entry: &Spanned<WrittenEntry>| {
            entry
                .get_ref()
                .survives_redirect
                .as_ref()
                .and_then(|text| Survives::read(text.get_ref()))
        };
        self.clients.iter().filter(of_family).find_map(said)
    }
}

fn is_family(text: &str) -> bool {
    (1..=FAMILY_BYTES_MAX).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._/+-".contains(&byte)
        })
        && !matches!(text, UNKNOWN | "other")
}

fn is_mark(text: &str) -> bool {
    (1..=MARK_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}

/// Problems of one text, gathered while it is read.
struct Problems<'t> {
    text: &'t str,
    found: Vec<ClientsProblem>,
}

impl Problems<'_> {
    fn add(&mut self, span: Range<usize>, key: String, what: String) {
        self.found.push(ClientsProblem { line: self.line(span.start), key, what });
    }

    /// The line, from 1, of a byte.
    fn line(&self, at: usize) -> usize {
        let before = self.text.as_bytes().get(..at).unwrap_or(self.text.as_bytes());
        memchr::memchr_iter(b'\n', before).count() + 1
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    clients: Vec<Spanned<WrittenEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry {
    family: Spanned<String>,
    begins: Option<Spanned<String>>,
    has: Option<Spanned<String>>,
    version_after: Option<Spanned<String>>,
    survives_redirect: Option<Spanned<String>>,
    acts_as: Option<Spanned<ActsAs>>,
    #[serde(default)]
    needs_challenge: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActsAs {
    family: String,
    mark: String,
}

const FAMILY_BYTES_MAX: usize = 32;

const MARK_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::client::ClientTable;

    fn problems(text: &str) -> String {
        let problems = ClientTable::parse(text).unwrap_err();
        problems.iter().map(ClientsProblem::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn every_problem_of_content_is_told_with_its_line() {
        let text = r#"
[[clients]]
family = "Docker"
begins = "docker/"

[[clients]]
family = "b"
begins = "b"
has = "b"

[[clients]]
family = "other"
has = ""

[[clients]]
family = "d"
begins = "DOCKER/20"
version_after = "é"
[[clients]]
family = "e"
has = "e"

[[clients]]
family = "f"
begins = "E/"
"#;
        let told = problems(text);
        let expected = [
            "3: clients[0].family: \"Docker\" is no family",
            "6: clients[1].begins: it takes `begins` or `has`",
            "12: clients[2].family: \"other\" is no family",
            "13: clients[2].has: \"\" is not 1 to 64 printable bytes",
            "18: clients[3].version_after: \"é\" is not 1 to 64",
            "23: clients[5]: never decides: line 19 matches first",
        ];
        assert_eq!(told.lines().count(), expected.len(), "{told}");
        for (line, expected) in told.lines().zip(expected) {
            assert!(line.starts_with(expected), "{told}");
        }
    }

    #[test]
    fn a_problem_of_form_is_told_with_its_line() {
        assert_eq!(problems(""), "1: clients: no [[clients]] at all");
        let unknown = problems("[[clients]]\nfamily = \"a\"\nstarts = \"a\"\n");
        assert!(
            unknown.starts_with("3: TOML: unknown field `starts`, expected one of"),
            "{unknown}"
        );
        let broken = problems("[[clients]]\nfamily = \"a\nbegins = \"a\"\n");
        assert!(broken.starts_with("2: TOML: "), "{broken}");
        assert!(problems("[[clients]]\nbegins = \"a\"").contains("missing field `family`"));
    }

    #[test]
    fn what_clients_can_be_trusted_with_is_told_with_its_line_too() {
        let text = r#"
[[clients]]
family = "a"
begins = "a"
survives_redirect = "sometimes"

[[clients]]
family = "b"
begins = "b"
acts_as = { family = "c", mark = "é" }

[[clients]]
family = "c"
begins = "c"
survives_redirect = "1.x"
"#;
        let told = problems(text);
        let expected = [
            "5: clients[0].survives_redirect: \"sometimes\" is none of",
            "10: clients[1].acts_as.mark: \"é\" is not 1 to 64",
            "10: clients[1].acts_as.family: no entry of family \"c\" has",
            "15: clients[2].survives_redirect: \"1.x\" is none of",
        ];
        assert_eq!(told.lines().count(), expected.len(), "{told}");
        for (line, expected) in told.lines().zip(expected) {
            assert!(line.starts_with(expected), "{told}");
        }
    }
}
