//! Which client a user agent is: family, version, operating system, architecture. The families are
//! data (`config/clients.toml`, or a file of the operator's); what is kept of a user agent is
//! bounded and comes from closed grammars, so that nothing of the machine behind it (kernel, build,
//! contact address) gets into the counts.

use std::fmt;
use std::ops::Range;

use memchr::memmem;
use serde::Deserialize;
use serde_spanned::Spanned;

use super::limits::USER_AGENT_BYTES_MAX;

/// A client, as far as it said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// What a client can be trusted with, by what is known of its kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// It finds its way through a redirect to a registry that asks for a token.
    pub survives_redirect: bool,
    /// It does so only where its `/v2/` was redirected there before: classic docker.
    pub asks_base_first: bool,
    /// It gives up where `/v2/` demands nothing.
    pub needs_challenge: bool,
}

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
            let Some(entry) = Entry::check(index, written, &mut problems) else {
                continue;
            };
            if let Some(earlier) = entries.iter().find(|earlier| earlier.hides(&entry)) {
                let line = earlier.line;
                let what = format!("never decides: line {line} matches first; put this above it");
                problems.add(written.span(), format!("clients[{index}]"), what);
            }
            entries.push(entry);
        }
        if problems.found.is_empty() { Ok(Self { entries }) } else { Err(problems.found) }
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
        let Some((entry, version)) = found else {
            return Trust::default();
        };
        let within = entry.acts_as.as_ref().and_then(|acts_as| {
            let at = memmem::find(text, &acts_as.version_after)? + acts_as.version_after.len();
            let of_family = |entry: &&Entry| entry.family == acts_as.family;
            let version = leading_version(text.get(at..)?);
            Some((self.entries.iter().find(of_family)?, version))
        });
        let (rules, version) = within.unwrap_or((entry, version));
        Trust { needs_challenge: entry.needs_challenge, ..rules.survives.trust(version) }
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
    survives: Survives,
    acts_as: Option<ActsAs>,
    needs_challenge: bool,
    /// Where it stands in the file, from 1.
    line: usize,
}

/// Whether a client survives a redirect to a registry that asks for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Survives {
    Never,
    Always,
    /// Where its `/v2/` was redirected too.
    AfterBase,
    /// From this version on.
    From([u32; VERSION_NUMBERS_MAX]),
}

impl Survives {
    fn read(text: &str) -> Option<Self> {
        match text {
            "never" => Some(Self::Never),
            "always" => Some(Self::Always),
            "after /v2/" => Some(Self::AfterBase),
            version => {
                let is_whole = leading_version(version.as_bytes()) == version;
                (is_whole && !version.is_empty()).then(|| Self::From(numbers(version)))
            }
        }
    }

    fn trust(self, version: &str) -> Trust {
        let survives_redirect = match self {
            Self::Never => false,
            Self::Always | Self::AfterBase => true,
            Self::From(first) => !version.is_empty() && numbers(version) >= first,
        };
        let asks_base_first = self == Self::AfterBase;
        Trust { survives_redirect, asks_base_first, needs_challenge: false }
    }
}

/// A client that has another one in it, which does the pulling.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ActsAs {
    family: String,
    version_after: Vec<u8>,
}

/// A version's numbers; those that are missing are 0.
fn numbers(version: &str) -> [u32; VERSION_NUMBERS_MAX] {
    let mut numbers = [0; VERSION_NUMBERS_MAX];
    for (number, text) in numbers.iter_mut().zip(version.split('.')) {
        *number = text.parse().unwrap_or(u32::MAX);
    }
    numbers
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
    /// The entry as written; `None`, and problems added, where it cannot be used.
    fn check(
        index: usize,
        written: &Spanned<WrittenEntry>,
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
        let WrittenEntry { survives_redirect, acts_as, needs_challenge, .. } = written.get_ref();
        let survives = survives_redirect.as_ref().map_or(Some(Survives::Never), |text| {
            let read = Survives::read(text.get_ref());
            if read.is_none() {
                let what = format!(
                    "{:?} is not \"never\", \"always\", \"after /v2/\" or a version such as \
                     \"1.5.5\"",
                    text.get_ref()
                );
                wrong(text.span(), "survives_redirect", what);
            }
            read
        });
        let acts_as = acts_as.as_ref().map(|acts_as| ActsAs {
            family: acts_as.family.clone(),
            version_after: acts_as.version_after.to_ascii_lowercase().into_bytes(),
        });
        let line = problems.line(written.span().start);
        let family = family.get_ref().clone();
        let needs_challenge = *needs_challenge;
        let entry =
            Self { family, mark, version, survives: survives?, acts_as, needs_challenge, line };
        (problems.found.len() == found_before).then_some(entry)
    }

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
    acts_as: Option<WrittenActsAs>,
    #[serde(default)]
    needs_challenge: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenActsAs {
    family: String,
    version_after: String,
}

const BUILT_IN: &str = include_str!("../../config/clients.toml");

const FAMILY_BYTES_MAX: usize = 32;

const MARK_BYTES_MAX: usize = 64;

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

    fn problems(text: &str) -> String {
        let problems = ClientTable::parse(text).unwrap_err();
        problems.iter().map(ClientsProblem::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_built_in_table_has_no_problems() {
        assert!(ClientTable::parse(BUILT_IN).is_ok());
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
