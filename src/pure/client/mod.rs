//! Which client a user agent is: family, version, operating system, architecture. The families are
//! data (`config/clients.toml`, or a file of the operator's); what is kept of a user agent is
//! bounded and comes from closed grammars, so that nothing of the machine behind it (kernel, build,
//! contact address) gets into the counts.

mod file;
mod trust;

use memchr::memmem;
use serde::{Deserialize, Serialize};

pub use self::file::ClientsProblem;
use self::trust::Rules;
pub use self::trust::Trust;
use crate::pure::limits::USER_AGENT_BYTES_MAX;

/// A client, as far as it said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Client {
    /// One of the table's families, or [`UNKNOWN`].
    pub family: String,
    /// Up to four numbers with dots between them: `20.10.24`; empty where it did not say.
    pub version: String,
    /// Go's name of the operating system (`linux`); empty where it did not say.
    pub os: String,
    /// Go's name of the architecture (`amd64`); empty where it did not say.
    pub arch: String,
}

impl Client {
    /// The version's first number; empty where there is none.
    pub fn major(&self) -> &str {
        self.version.split('.').next().unwrap_or_default()
    }
}

/// The family of a client that no entry of the table matches.
pub const UNKNOWN: &str = "unknown";

/// What tells clients by their user agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTable {
    entries: Vec<Entry>,
}

impl ClientTable {
    /// The table that comes with the program: `config/clients.toml`.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("a test parses the built-in table")
    }

    /// The table that the text of a file like `config/clients.toml` holds.
    ///
    /// # Errors
    /// The first thing that is wrong with its form, or all that is wrong with its content.
    pub fn parse(text: &str) -> Result<Self, Vec<ClientsProblem>> {
        file::read(text).map(|entries| Self { entries })
    }

    /// The client that `user_agent`, of which the first [`USER_AGENT_BYTES_MAX`] bytes count, is.
    pub fn classify(&self, user_agent: &[u8]) -> Client {
        let cut = user_agent.get(..USER_AGENT_BYTES_MAX).unwrap_or(user_agent);
        let text = cut.to_ascii_lowercase();
        let (family, version) = self
            .entries
            .iter()
            .find_map(|entry| Some((entry.family.as_str(), entry.version_in(&text)?)))
            .unwrap_or((UNKNOWN, ""));
        let (os, arch) = platform(&text);
        Client {
            family: family.to_owned(),
            version: version.to_owned(),
            os: os.to_owned(),
            arch: arch.to_owned(),
        }
    }

    /// What the client that `user_agent` is can be trusted with. Allocates nothing.
    pub fn trust(&self, user_agent: &[u8]) -> Trust {
        let mut memory = [0; USER_AGENT_BYTES_MAX];
        let length = user_agent.len().min(memory.len());
        for (lower, byte) in memory.iter_mut().zip(user_agent) {
            *lower = byte.to_ascii_lowercase();
        }
        let text = memory.get(..length).unwrap_or_default();
        let found = self.entries.iter().find_map(|entry| Some((entry, entry.version_in(text)?)));
        found.map_or_else(Trust::default, |(entry, version)| entry.rules.trust(text, version))
    }

    /// The line, in the table's text, of the entry that decides what `user_agent` is.
    pub fn deciding_line(&self, user_agent: &[u8]) -> Option<usize> {
        let text = user_agent.to_ascii_lowercase();
        self.entries.iter().find(|entry| entry.version_in(&text).is_some()).map(|entry| entry.line)
    }

    /// The lines of all entries.
    pub fn lines(&self) -> impl Iterator<Item = usize> {
        self.entries.iter().map(|entry| entry.line)
    }

    /// The families that the table knows, in its order, some more than once.
    pub fn families(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.family.as_str())
    }
}

/// One entry; its texts are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    family: String,
    mark: Mark,
    version: VersionAt,
    rules: Rules,
    /// Where it stands in the file, from 1.
    line: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Mark {
    Begins(Vec<u8>),
    Has(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum VersionAt {
    Here,
    After(Vec<u8>),
    Nowhere,
}

impl Entry {
    /// The version in `text`, if the entry matches it; empty where none stands there.
    fn version_in<'t>(&self, text: &'t [u8]) -> Option<&'t str> {
        let rest = match &self.mark {
            Mark::Begins(mark) => text.strip_prefix(mark.as_slice())?,
            Mark::Has(mark) => {
                let at = memmem::find_iter(text, mark).find(|at| begins_a_word(text, *at))?;
                text.get(at + mark.len()..)?
            }
        };
        Some(match &self.version {
            VersionAt::Here => leading_version(rest),
            VersionAt::Nowhere => "",
            VersionAt::After(mark) => {
                let from = memmem::find(rest, mark).and_then(|at| rest.get(at + mark.len()..));
                from.map_or("", leading_version)
            }
        })
    }

    /// Whether all that `later` matches is matched by this entry already.
    fn hides(&self, later: &Self) -> bool {
        match (&self.mark, &later.mark) {
            (Mark::Begins(own), Mark::Begins(other)) => other.starts_with(own),
            (Mark::Has(own), Mark::Has(other) | Mark::Begins(other)) => other.starts_with(own),
            (Mark::Begins(_), Mark::Has(_)) => false,
        }
    }
}

fn begins_a_word(text: &[u8], at: usize) -> bool {
    match at.checked_sub(1).and_then(|before| text.get(before)) {
        Some(before) => b" (;,".contains(before),
        None => true,
    }
}

/// `v20.10.24+dfsg1` → `20.10.24`. A number that runs into a letter before any dot is none: a
/// commit's name may begin with digits.
fn leading_version(text: &[u8]) -> &str {
    let text = text.strip_prefix(b"v").unwrap_or(text);
    let mut length = 0;
    for part in text.split(|byte| *byte == b'.').take(VERSION_NUMBERS_MAX) {
        let digits = part.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let next = part.get(digits);
        let in_a_word = length == 0 && next.is_some_and(u8::is_ascii_alphanumeric);
        if digits == 0 || digits > VERSION_DIGITS_MAX || in_a_word {
            break;
        }
        length += digits + usize::from(length > 0);
        if next.is_some() {
            break;
        }
    }
    text.get(..length).and_then(|version| std::str::from_utf8(version).ok()).unwrap_or_default()
}

/// Operating system and architecture: `os/linux arch/amd64` as docker and cri-o write it, else
/// what the first comment names: `cosign/v2.2.4 (linux; amd64)`.
fn platform(text: &[u8]) -> (&'static str, &'static str) {
    let named = |key: &[u8]| text.split(|byte| *byte == b' ').find_map(|w| w.strip_prefix(key));
    if let (Some(os), Some(arch)) = (named(b"os/"), named(b"arch/")) {
        return (known(OPERATING_SYSTEMS, os), known(ARCHITECTURES, arch));
    }
    let comment = text.split(|byte| *byte == b'(').nth(1).unwrap_or_default();
    let comment = comment.split(|byte| *byte == b')').next().unwrap_or_default();
    let words = || comment.split(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
    let find = |names| words().map(|word| known(names, word)).find(|name| !name.is_empty());
    (find(OPERATING_SYSTEMS).unwrap_or_default(), find(ARCHITECTURES).unwrap_or_default())
}

/// The name for what is written; empty for what is not among `names`.
fn known(names: &[(&str, &'static str)], word: &[u8]) -> &'static str {
    let found = names.iter().find(|(written, _)| written.as_bytes() == word);
    found.map_or("", |(_, name)| name)
}

const BUILT_IN: &str = include_str!("../../../config/clients.toml");

/// Browsers have four, others three.
const VERSION_NUMBERS_MAX: usize = 4;

/// A date (20240131) is a version; what is longer counts something else.
const VERSION_DIGITS_MAX: usize = 9;

/// How user agents write operating systems, and how Go (and the image spec) does.
const OPERATING_SYSTEMS: &[(&str, &str)] = &[
    ("linux", "linux"),
    ("windows", "windows"),
    ("darwin", "darwin"),
    ("macos", "darwin"),
    ("macintosh", "darwin"),
    ("freebsd", "freebsd"),
    ("netbsd", "netbsd"),
    ("openbsd", "openbsd"),
    ("solaris", "solaris"),
    ("illumos", "illumos"),
];

/// How user agents write architectures, and how Go (and the image spec) does.
const ARCHITECTURES: &[(&str, &str)] = &[
    ("amd64", "amd64"),
    ("x86_64", "amd64"),
    ("x64", "amd64"),
    ("arm64", "arm64"),
    ("aarch64", "arm64"),
    ("arm", "arm"),
    ("armv7l", "arm"),
    ("386", "386"),
    ("i386", "386"),
    ("i686", "386"),
    ("ppc64le", "ppc64le"),
    ("s390x", "s390x"),
    ("riscv64", "riscv64"),
    ("mips64le", "mips64le"),
    ("loong64", "loong64"),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_built_in_table_has_no_problems() {
        assert!(ClientTable::parse(BUILT_IN).is_ok());
    }

    #[test]
    fn versions_are_their_leading_numbers() {
        for (written, version) in [
            ("20.10.24+dfsg1", "20.10.24"),
            ("v2.1.9+unknown", "2.1.9"),
            ("1.6.20~ds1", "1.6.20"),
            ("19.03.5-ce", "19.03.5"),
            ("120.0.6099.109 x", "120.0.6099.109"),
            ("1.2.3.4.5", "1.2.3.4"),
            ("1..2", "1"),
            ("1.", "1"),
            ("1.x", "1"),
            ("7", "7"),
            ("devel", ""),
            ("8a5d1d2ec0b8f1a6", ""),
            ("2.7rc1", "2.7"),
            ("vv1", ""),
            (".1", ""),
            ("", ""),
            ("20240131.1", "20240131.1"),
            ("1.1234567890", "1"),
            ("1234567890", ""),
        ] {
            assert_eq!(leading_version(written.as_bytes()), version, "{written}");
        }
    }

    #[test]
    fn a_word_is_not_its_middle() {
        let text = "[[clients]]\nfamily = \"a\"\nhas = \"tool/\"";
        let table = ClientTable::parse(text).unwrap();
        let family = |user_agent: &str| table.classify(user_agent.as_bytes()).family;
        assert_eq!(family("Tool/1"), "a");
        assert_eq!(family("x (tool/1)"), "a");
        assert_eq!(family("mytool/1 your-tool/2 https://tool/"), UNKNOWN);
        assert_eq!(family("mytool/1 tool/2"), "a");
    }

    proptest! {
        #[test]
        fn whatever_is_sent_comes_out_bounded(
            product in prop::sample::select(vec!["docker/", "v", "regclient/regctl (", "Mozilla/", ""]),
            rest in prop_oneof![
                ".{0,300}",
                "[0-9.]{0,40}( os/[a-z]{0,9})?( arch/[a-z0-9]{0,9})?( \\([a-z0-9;_ -]{0,30}\\))?",
            ],
        ) {
            let table = ClientTable::built_in();
            let user_agent = format!("{product}{rest}");
            let client = table.classify(user_agent.as_bytes());
            prop_assert!(client.family == UNKNOWN || table.families().any(|f| f == client.family));
            prop_assert!(client.version.len() <= 4 * VERSION_DIGITS_MAX + 3);
            let mut numbers = client.version.split('.');
            prop_assert!(client.version.is_empty() || numbers.all(|n| n.parse::<u32>().is_ok()));
            let one_of = |names: &[(&str, &str)], name: &str| {
                name.is_empty() || names.iter().any(|(_, known)| *known == name)
            };
            prop_assert!(one_of(OPERATING_SYSTEMS, &client.os));
            prop_assert!(one_of(ARCHITECTURES, &client.arch));
            prop_assert!(client.version.starts_with(client.major()));
        }

        #[test]
        fn bytes_that_are_no_text_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _client = ClientTable::built_in().classify(&bytes);
        }
    }
}
