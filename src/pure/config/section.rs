//! A configuration file walked by the table of its keys: every problem, each with its line.

use std::fmt;
use std::marker::PhantomData;

use serde_spanned::Spanned;
use toml::de::{DeArray, DeString, DeTable, DeValue};

use super::kinds::{Kind, Place};
use super::problem::{Problem, Problems, key_name, nearest};

/// One key of a section.
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// What it is when it is left out, in TOML; `None` where it must be written.
    pub default: Option<&'static str>,
    /// What it may look like, in TOML, where the default does not show it.
    pub example: Option<&'static str>,
    /// What is allowed.
    pub allowed: fn() -> String,
}

/// What a section is called, and its keys.
pub struct Header {
    /// Its name; with a dot for a table in a section: `counting.retention`.
    pub name: &'static str,
    /// Whether there can be several: `[[packages]]`.
    pub several: bool,
    /// What it is for.
    pub doc: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// A section, or one of several. Implemented by the macro `sections!` only.
pub trait Section: Sized {
    /// Name and keys.
    const HEADER: &'static Header;

    /// Reads it, key by key; `None` if one of them is wrong.
    fn read(reader: &mut Reader<'_>) -> Option<Self>;
}

/// Declares sections: for each the type it is read into, and for each of that type's fields the
/// key's words, kind, default (`=>`) and example (`like`). This is all there is of a key.
macro_rules! sections {
    ($(
        $(#[doc = $about:literal])*
        $header:literal $several:ident $section:ty {
            $(
                $(#[doc = $doc:literal])*
                $key:ident: $kind:expr $(=> $default:literal)? $(, like $example:literal)?;
            )*
        }
    )*) => {
        $(
            impl $crate::pure::config::section::Section for $section {
                const HEADER: &'static $crate::pure::config::section::Header =
                    &$crate::pure::config::section::Header {
                        name: $header,
                        several: sections!(@ $several),
                        doc: concat!($($about, "\n"),*),
                        keys: &[$(
                            $crate::pure::config::section::Key {
                                name: stringify!($key),
                                doc: concat!($($doc, "\n"),*),
                                default: sections!(? $($default)?),
                                example: sections!(? $($example)?),
                                allowed: || $crate::pure::config::kinds::Kind::allowed(&$kind),
                            },
                        )*],
                    };

                fn read(
                    reader: &mut $crate::pure::config::section::Reader<'_>,
                ) -> Option<Self> {
                    // Every key is read before one that is wrong ends it.
                    $(let $key = reader.key(stringify!($key), &$kind);)*
                    Some(Self { $($key: $key?,)* })
                }
            }
        )*

        /// All sections, in the order of the file.
        pub const SECTIONS: &[&$crate::pure::config::section::Header] = &[$(
            <$section as $crate::pure::config::section::Section>::HEADER,
        )*];
    };
    (@ once) => { false };
    (@ several) => { true };
    (?) => { None };
    (? $text:literal) => { Some($text) };
}
pub(super) use sections;

/// A parsed file and its problems so far.
pub struct Document<'t> {
    root: DeTable<'t>,
    /// Whether parts of the text are not TOML, so that what is missing may only be unreadable.
    broken: bool,
    sections: &'static [&'static Header],
    /// What is wrong with it.
    pub problems: Problems,
}

/// One of several sections of a name.
pub struct Entry<T> {
    /// Which one, from 0.
    pub index: usize,
    /// The line it begins on.
    pub line: usize,
    /// What it says.
    pub value: T,
}

impl<'t> Document<'t> {
    /// The document of this root, with what is wrong with it so far; `broken` if parts of its text
    /// are not TOML. Looks for sections that are not in the table.
    pub fn new(
        root: DeTable<'t>,
        mut problems: Problems,
        broken: bool,
        sections: &'static [&'static Header],
    ) -> Self {
        let is_known = |key: &str| top(sections).any(|one| one.name == key);
        for key in root.keys().filter(|key| !is_known(key.get_ref())) {
            let what = unknown_section(key.get_ref(), sections);
            problems.add(key.span().start, key_name(key.get_ref()), what);
        }
        Self { root, broken, sections, problems }
    }

    /// The section that there is at most one of; all defaults if it is not written. `None` also
    /// where the text is broken: a default may then stand in for what could not be read.
    pub fn once<S: Section>(&mut self) -> Option<S> {
        let name = S::HEADER.name;
        let absent = Spanned::new(0..0, DeValue::Table(DeTable::new()));
        let value = self.root.get(name).unwrap_or(&absent);
        let of = Origin { path: name, broken: self.broken, sections: self.sections };
        read_section(value, &of, &mut self.problems).filter(|_| !self.broken)
    }

    /// Puts more sections of this name behind those that are written, of which there are so many.
    pub fn add(&mut self, name: &'static str, more: impl Iterator<Item = DeValue<'t>>) -> usize {
        let nowhere = |value| Spanned::new(0..0, value);
        let list = || nowhere(DeValue::Array(DeArray::new()));
        let key = Spanned::new(0..0, name.into());
        let sections = self.root.entry::<Spanned<DeString<'_>>>(key).or_insert_with(list);
        let DeValue::Array(sections) = sections.get_mut() else {
            return 0;
        };
        let written = sections.len();
        more.for_each(|value| sections.push(nowhere(value)));
        written
    }

    /// Whether a section of this name is written.
    pub fn has(&self, name: &str) -> bool {
        self.root.get(name).is_some()
    }

    /// The sections that there can be several of; those that can be read.
    pub fn several<S: Section>(&mut self) -> Vec<Entry<S>> {
        let name = S::HEADER.name;
        let Some(value) = self.root.get(name) else {
            return Vec::new();
        };
        let DeValue::Array(elements) = value.get_ref() else {
            let what = format!("has to be written as {}: there can be several", S::HEADER);
            self.problems.add(value.span().start, name, what);
            return Vec::new();
        };
        let mut entries = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            let line = self.problems.line(element.span().start);
            let path = &format!("{name}[{index}]");
            let of = Origin { path, broken: self.broken, sections: self.sections };
            if let Some(value) = read_section(element, &of, &mut self.problems) {
                entries.push(Entry { index, line, value });
            }
        }
        entries
    }

    /// A problem with a key that was read.
    pub fn problem(&self, spot: Spot<'_>, what: impl Into<String>) -> Problem {
        let (at, key) = self.find(spot);
        self.problems.at(at, key, what)
    }

    /// Adds a [`Document::problem`].
    pub fn wrong(&mut self, spot: Spot<'_>, what: impl Into<String>) {
        let (at, key) = self.find(spot);
        self.problems.add(at, key, what);
    }

    /// The line of a key that was read.
    pub fn line(&self, spot: Spot<'_>) -> usize {
        self.problems.line(self.find(spot).0)
    }

    fn find(&self, spot: Spot<'_>) -> (usize, String) {
        let (section, index, key) = spot;
        let list = self.root.get(section);
        let (value, path) = match index {
            Some(index) => {
                (list.and_then(|list| list.get_ref().get(index)), format!("{section}[{index}]"))
            }
            None => (list, section.to_owned()),
        };
        let of_section = value.map_or(0, |value| value.span().start);
        let of_key = value.and_then(|value| value.get_ref().get(key));
        let at = of_key.map_or(of_section, |value| value.span().start);
        (at, if key.is_empty() { path } else { format!("{path}.{key}") })
    }
}

/// A key's section, which one of several, and its name; empty for the section itself.
pub type Spot<'s> = (&'s str, Option<usize>, &'s str);

/// One section while it is read.
pub struct Reader<'r> {
    header: &'static Header,
    table: &'r DeTable<'r>,
    /// Where the section begins.
    at: usize,
    of: &'r Origin<'r>,
    problems: &'r mut Problems,
}

impl Reader<'_> {
    /// Reads the key of this name, or its default.
    pub fn key<K: Kind>(&mut self, name: &str, kind: &K) -> Option<K::Value> {
        let key = self.header.keys.iter().find(|key| key.name == name)?;
        let place = &mut Place { path: self.of.path, name, problems: &mut *self.problems };
        if let Some(value) = self.table.get(name) {
            return kind.read(value, place);
        }
        if let Some(default) = key.default {
            return kind.read(&DeValue::parse(default).ok()?, place);
        }
        if !self.of.broken {
            place.wrong(self.at, format!("is missing; allowed: {}", (key.allowed)()));
        }
        None
    }
}

/// What a section is part of.
struct Origin<'o> {
    /// The section's path: `packages[2]`.
    path: &'o str,
    /// Whether parts of the text are not TOML.
    broken: bool,
    /// All sections that there are.
    sections: &'o [&'o Header],
}

/// A table in a section.
pub struct Nested<S>(pub PhantomData<S>);

impl<S: Section> Kind for Nested<S> {
    type Value = S;

    fn allowed(&self) -> String {
        let names: Vec<_> = S::HEADER.keys.iter().map(|key| format!("`{}`", key.name)).collect();
        format!("a table of {}", names.join(", "))
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, place: &mut Place<'_>) -> Option<S> {
        let of = Origin { path: &place.key(), broken: false, sections: &[S::HEADER] };
        read_section(value, &of, place.problems)
    }
}

fn read_section<S: Section>(
    value: &Spanned<DeValue<'_>>,
    of: &Origin<'_>,
    problems: &mut Problems,
) -> Option<S> {
    let header = S::HEADER;
    let at = value.span().start;
    let DeValue::Table(table) = value.get_ref() else {
        problems.add(at, of.path, format!("has to be written as {header}"));
        return None;
    };
    let is_known = |key: &str| header.keys.iter().any(|one| one.name == key);
    for key in table.keys().filter(|key| !is_known(key.get_ref())) {
        let path = format!("{}.{}", of.path, key_name(key.get_ref()));
        problems.add(key.span().start, path, unknown_key(key.get_ref(), header, of.sections));
    }
    S::read(&mut Reader { header, table, at, of, problems })
}

fn unknown_key(word: &str, header: &Header, sections: &[&Header]) -> String {
    if let Some(home) = home(word, sections) {
        return format!("unknown key here; `{word}` belongs into {home}");
    }
    let names = || header.keys.iter().map(|key| key.name);
    let meant = nearest(word, names());
    match header.keys.iter().find(|key| Some(key.name) == meant) {
        Some(Key { name, allowed, .. }) => {
            format!("unknown key; did you mean `{name}` ({})?", allowed())
        }
        None => {
            let all: Vec<_> = names().collect();
            format!("unknown key; {header} has {}", all.join(", "))
        }
    }
}

fn unknown_section(word: &str, sections: &[&Header]) -> String {
    if let Some(home) = home(word, sections) {
        return format!("unknown key here; `{word}` belongs into {home}");
    }
    let meant = nearest(word, top(sections).map(|one| one.name));
    match top(sections).find(|one| Some(one.name) == meant) {
        Some(header) => format!("unknown section; did you mean {header}?"),
        None => {
            let all: Vec<_> = top(sections).map(ToString::to_string).collect();
            format!("unknown section; there are {}", all.join(", "))
        }
    }
}

/// The section that has a key of this name.
fn home<'h>(word: &str, sections: &[&'h Header]) -> Option<&'h Header> {
    sections.iter().copied().find(|one| one.keys.iter().any(|key| key.name == word))
}

/// The sections that are not a table in another.
fn top<'s, 'h>(sections: &'s [&'h Header]) -> impl Iterator<Item = &'h Header> + use<'s, 'h> {
    sections.iter().copied().filter(|one| !one.name.contains('.'))
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.several { write!(f, "[[{}]]", self.name) } else { write!(f, "[{}]", self.name) }
    }
}
