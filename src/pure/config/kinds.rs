//! Kinds of values: how each is read, and what is allowed, in the words that problems and
//! `docs/config.md` share.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde_spanned::Spanned;
use toml::de::DeValue;

use super::problem::{Problems, quoted};
use super::values::{Cidr, Rate};
use crate::pure::limits::PACKAGE_ID_BYTES_MAX;
use crate::pure::oci::backend::{self, Backend};
use crate::pure::route::pattern::Pattern;

/// A kind of value.
pub trait Kind {
    /// What is made of it.
    type Value;

    /// What is allowed.
    fn allowed(&self) -> String;

    /// Reads a value; what is wrong with it goes to `place`.
    fn read(&self, value: &Spanned<DeValue<'_>>, place: &mut Place<'_>) -> Option<Self::Value>;
}

/// A kind of value that is written as one TOML value.
pub trait Scalar {
    /// The TOML value's type.
    type Written: DeserializeOwned;
    /// What is made of it.
    type Value;

    /// What is allowed.
    fn allowed(&self) -> String;

    /// Makes the value, or says what is wrong.
    fn make(&self, written: Self::Written) -> Result<Self::Value, String>;
}

/// The key whose value is being read, and where its problems go.
pub struct Place<'p> {
    /// The key's path.
    pub key: String,
    /// The file's problems so far.
    pub problems: &'p mut Problems,
}

impl<S: Scalar> Kind for S {
    type Value = S::Value;

    fn allowed(&self) -> String {
        Scalar::allowed(self)
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, place: &mut Place<'_>) -> Option<S::Value> {
        let written = S::Written::deserialize(value.clone().into_deserializer());
        let made = match written {
            Ok(written) => self.make(written),
            Err(error) => Err(error.message().replace('\n', " ")),
        };
        made.map_err(|wrong| {
            let what = format!("{wrong}; allowed: {}", self.allowed());
            place
                .problems
                .add(value.span().start, place.key.clone(), what);
        })
        .ok()
    }
}

/// A list of values, none of them twice.
pub struct List<K> {
    /// What each of them is.
    pub of: K,
    /// Whether there may be none.
    pub may_be_empty: bool,
}

impl<K: Scalar<Value: PartialEq>> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn allowed(&self) -> String {
        let least = if self.may_be_empty {
            ""
        } else {
            ", at least one"
        };
        format!("a list{least}: {}", self.of.allowed())
    }

    fn read(&self, value: &Spanned<DeValue<'_>>, place: &mut Place<'_>) -> Option<Self::Value> {
        let at = value.span().start;
        let DeValue::Array(elements) = value.get_ref() else {
            let what = format!("is not a list; allowed: {}", Kind::allowed(self));
            place.problems.add(at, place.key.clone(), what);
            return None;
        };
        let mut made = Vec::new();
        for element in elements {
            let Some(one) = self.of.read(element, place) else {
                continue;
            };
            if made.contains(&one) {
                let what = "the same value stands here twice; leave one out";
                place
                    .problems
                    .add(element.span().start, place.key.clone(), what);
            }
            made.push(one);
        }
        if elements.is_empty() && !self.may_be_empty {
            let what = format!("is empty; allowed: {}", Kind::allowed(self));
            place.problems.add(at, place.key.clone(), what);
        }
        (made.len() == elements.len()).then_some(made)
    }
}

/// `true` or `false`.
pub struct Flag;

impl Scalar for Flag {
    type Written = bool;
    type Value = bool;

    fn allowed(&self) -> String {
        "`true`, `false`".to_owned()
    }

    fn make(&self, written: bool) -> Result<bool, String> {
        Ok(written)
    }
}

/// A whole number, both bounds included.
pub struct Count {
    /// The least.
    pub least: usize,
    /// The most.
    pub most: usize,
}

impl Scalar for Count {
    type Written = Whole;
    type Value = usize;

    fn allowed(&self) -> String {
        format!("a whole number from {} to {}", self.least, self.most)
    }

    fn make(&self, Whole(written): Whole) -> Result<usize, String> {
        usize::try_from(written)
            .ok()
            .filter(|number| (self.least..=self.most).contains(number))
            .ok_or_else(|| format!("{written} is out of bounds"))
    }
}

/// A length of time, both bounds included.
pub struct Time {
    /// The least.
    pub least: Duration,
    /// The most.
    pub most: Duration,
}

impl Scalar for Time {
    type Written = Text;
    type Value = Duration;

    fn allowed(&self) -> String {
        let (least, most) = (time_text(self.least), time_text(self.most));
        format!("a time from \"{least}\" to \"{most}\", in ms, s, m, h or d")
    }

    fn make(&self, Text(written): Text) -> Result<Duration, String> {
        let time = time(&written)?;
        let within = (self.least..=self.most).contains(&time);
        if within {
            Ok(time)
        } else {
            Err(format!("{} is out of bounds", quoted(&written)))
        }
    }
}

/// How long something is kept: a [`Time`], or for ever.
pub struct Kept(pub Time);

impl Scalar for Kept {
    type Written = Text;
    type Value = Option<Duration>;

    fn allowed(&self) -> String {
        format!("{}, or \"forever\"", Scalar::allowed(&self.0))
    }

    fn make(&self, Text(written): Text) -> Result<Option<Duration>, String> {
        if written == "forever" {
            Ok(None)
        } else {
            self.0.make(Text(written)).map(Some)
        }
    }
}

/// A number of bytes, both bounds included.
pub struct Size {
    /// The least.
    pub least: usize,
    /// The most.
    pub most: usize,
}

impl Scalar for Size {
    type Written = Text;
    type Value = usize;

    fn allowed(&self) -> String {
        let (least, most) = (size_text(self.least), size_text(self.most));
        format!("a size from \"{least}\" to \"{most}\", in B, KiB, MiB or GiB")
    }

    fn make(&self, Text(written): Text) -> Result<usize, String> {
        let bytes = with_unit(&written, &SIZE_UNITS)?;
        usize::try_from(bytes)
            .ok()
            .filter(|bytes| (self.least..=self.most).contains(bytes))
            .ok_or_else(|| format!("{} is out of bounds", quoted(&written)))
    }
}

/// So many in such a time; none in any for no limit.
pub struct PerTime;

impl Scalar for PerTime {
    type Written = Text;
    type Value = Option<Rate>;

    fn allowed(&self) -> String {
        "how many per `s`, `m` or `h`, as \"100/s\"; \"0/s\" for no limit".to_owned()
    }

    fn make(&self, Text(written): Text) -> Result<Option<Rate>, String> {
        let read = written.split_once('/').and_then(|(count, unit)| {
            let per = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                _ => return None,
            };
            Some(Rate {
                count: count.parse().ok()?,
                per: Duration::from_secs(per),
            })
        });
        let rate = read.ok_or_else(|| format!("{} is not a rate", quoted(&written)))?;
        Ok((rate.count > 0).then_some(rate))
    }
}

/// One word of several, and what each of them means.
pub struct OneOf<T: 'static> {
    /// The words.
    pub words: &'static [(&'static str, T)],
    /// Words of other versions, and what to say of them.
    pub elsewhere: &'static [(&'static str, &'static str)],
}

impl<T: Copy> Scalar for OneOf<T> {
    type Written = Text;
    type Value = T;

    fn allowed(&self) -> String {
        let words: Vec<_> = self
            .words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        words.join(", ")
    }

    fn make(&self, Text(written): Text) -> Result<T, String> {
        if let Some((_, value)) = self.words.iter().find(|(word, _)| *word == written) {
            return Ok(*value);
        }
        let elsewhere = self.elsewhere.iter().find(|(word, _)| *word == written);
        Err(elsewhere.map_or_else(
            || format!("{} is not known", quoted(&written)),
            |(_, words)| format!("{} is not in this version: {words}", quoted(&written)),
        ))
    }
}

/// The path of a directory.
pub struct Directory;

impl Scalar for Directory {
    type Written = Text;
    type Value = PathBuf;

    fn allowed(&self) -> String {
        "the path of a directory".to_owned()
    }

    fn make(&self, Text(written): Text) -> Result<PathBuf, String> {
        OptionalFile
            .make(Text(written))?
            .ok_or_else(|| "is empty".to_owned())
    }
}

/// The path of a file; empty for none.
pub struct OptionalFile;

impl Scalar for OptionalFile {
    type Written = Text;
    type Value = Option<PathBuf>;

    fn allowed(&self) -> String {
        "the path of a file; \"\" for none".to_owned()
    }

    fn make(&self, Text(written): Text) -> Result<Option<PathBuf>, String> {
        if written.contains('\0') {
            return Err("holds a NUL".to_owned());
        }
        Ok((!written.is_empty()).then(|| PathBuf::from(written)))
    }
}

/// An address to listen on.
pub struct Address;

impl Scalar for Address {
    type Written = Text;
    type Value = SocketAddr;

    fn allowed(&self) -> String {
        "an IP address with a port, as \"127.0.0.1:8080\", \"0.0.0.0:8080\", \"[::]:8080\""
            .to_owned()
    }

    fn make(&self, Text(written): Text) -> Result<SocketAddr, String> {
        written
            .parse()
            .map_err(|_| format!("{} is not an address", quoted(&written)))
    }
}

/// A network, or one address.
pub struct Network;

impl Scalar for Network {
    type Written = Text;
    type Value = Cidr;

    fn allowed(&self) -> String {
        "a network or an address, as \"10.0.0.0/8\", \"192.0.2.7\", \"fd00::/8\"".to_owned()
    }

    fn make(&self, Text(written): Text) -> Result<Cidr, String> {
        Cidr::parse(&written)
    }
}

/// A public host name, with or without a port; `*` for any.
pub struct HostName;

impl Scalar for HostName {
    type Written = Text;
    type Value = String;

    fn allowed(&self) -> String {
        "a host name, as \"registry.acme.com\" (port and case do not matter), or \"*\" for any"
            .to_owned()
    }

    fn make(&self, Text(written): Text) -> Result<String, String> {
        if written == "*" {
            return Ok(written);
        }
        let authority = backend::authority(written.strip_suffix('.').unwrap_or(&written));
        authority
            .map(|authority| backend::split_port(&authority).0.to_owned())
            .ok_or_else(|| format!("{} is not a host name", quoted(&written)))
    }
}

/// A registry's host, with its port where that is not its scheme's.
pub struct RegistryHost;

impl Scalar for RegistryHost {
    type Written = Text;
    type Value = String;

    fn allowed(&self) -> String {
        "a registry's host, as it stands in `backend`: \"ghcr.io\", \"registry.example.net:5000\""
            .to_owned()
    }

    fn make(&self, Text(written): Text) -> Result<String, String> {
        backend::registry_authority(&written)
            .ok_or_else(|| format!("{} is not a host", quoted(&written)))
    }
}

/// The names that a package serves.
pub struct Names;

impl Scalar for Names {
    type Written = Text;
    type Value = Pattern;

    fn allowed(&self) -> String {
        "a repository name, or one whose last segment is `*` (one more segment) or `**` (one or \
         more): \"acme/rocket\", \"acme/*\", \"library/**\""
            .to_owned()
    }

    fn make(&self, Text(written): Text) -> Result<Pattern, String> {
        Pattern::parse(&written).map_err(|wrong| format!("{} is {wrong}", quoted(&written)))
    }
}

/// Where a package lives.
pub struct Home;

impl Scalar for Home {
    type Written = Text;
    type Value = Backend;

    fn allowed(&self) -> String {
        "what one types after `docker pull`, without tag: \"redis\", \"ghcr.io/acme/rocket\", \
         \"http://localhost:5000/acme/*\""
            .to_owned()
    }

    fn make(&self, Text(written): Text) -> Result<Backend, String> {
        Backend::parse(&written).map_err(|wrong| format!("{} {wrong}", quoted(&written)))
    }
}

/// A stable id in the counts; empty for none.
pub struct Id;

impl Scalar for Id {
    type Written = Text;
    type Value = Option<String>;

    fn allowed(&self) -> String {
        format!("letters, digits, `.`, `_` and `-`, at most {PACKAGE_ID_BYTES_MAX}; \"\" for none")
    }

    fn make(&self, Text(written): Text) -> Result<Option<String>, String> {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if written.len() > PACKAGE_ID_BYTES_MAX || !written.bytes().all(is_part) {
            return Err(format!("{} is not an id", quoted(&written)));
        }
        Ok((!written.is_empty()).then_some(written))
    }
}

/// Text in quotes. A bare number in its place is said to lack a unit.
pub struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InQuotes;

        impl Visitor<'_> for InQuotes {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text in quotes")
            }

            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Text, E> {
                Ok(Text(text))
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Text, E> {
                Err(E::custom(format_args!(
                    "a bare number ({number}) says nothing of its unit"
                )))
            }
        }

        deserializer.deserialize_any(InQuotes)
    }
}

/// A whole number, not text.
pub struct Whole(i64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bare;

        impl Visitor<'_> for Bare {
            type Value = Whole;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number without quotes")
            }

            fn visit_i64<E>(self, number: i64) -> Result<Whole, E> {
                Ok(Whole(number))
            }
        }

        deserializer.deserialize_any(Bare)
    }
}

fn time(text: &str) -> Result<Duration, String> {
    with_unit(text, &TIME_UNITS).map(Duration::from_millis)
}

fn time_text(time: Duration) -> String {
    text_with_unit(
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
        &TIME_UNITS,
    )
}

fn size_text(bytes: usize) -> String {
    text_with_unit(bytes as u64, &SIZE_UNITS)
}

/// A whole number with its unit behind it, in the smallest unit.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = units
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, factor)| *factor);
    match (number.parse::<u64>(), factor) {
        (Ok(_), None) if unit.is_empty() => Err(format!("{} has no unit", quoted(text))),
        (Ok(number), Some(factor)) => number
            .checked_mul(factor)
            .ok_or_else(|| format!("{} is out of bounds", quoted(text))),
        _ => Err(format!(
            "{} is not a whole number with a known unit",
            quoted(text)
        )),
    }
}

/// The other way round, in the largest unit that leaves no rest.
fn text_with_unit(number: u64, units: &[(&str, u64)]) -> String {
    let fits = units
        .iter()
        .rev()
        .find(|(_, factor)| number > 0 && number.is_multiple_of(*factor));
    let (name, factor) = fits.unwrap_or(&units[0]);
    format!("{}{name}", number / factor)
}

/// Units of time in milliseconds.
const TIME_UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Units of size in bytes.
const SIZE_UNITS: [(&str, u64); 4] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];
