//! Kinds of values that are numbers: counts, and what has a unit.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

use super::kinds::Scalar;
use super::problem::quoted;
use super::values::Rate;

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
    type Written = Measure;
    type Value = Duration;

    fn allowed(&self) -> String {
        let (least, most) = (time_text(self.least), time_text(self.most));
        format!("a time from \"{least}\" to \"{most}\", in ms, s, m, h or d")
    }

    fn make(&self, Measure(written): Measure) -> Result<Duration, String> {
        let time = time(&written)?;
        let within = (self.least..=self.most).contains(&time);
        if within { Ok(time) } else { Err(format!("{} is out of bounds", quoted(&written))) }
    }
}

/// How long something is kept: a [`Time`], or for ever.
pub struct Kept(pub Time);

impl Scalar for Kept {
    type Written = Measure;
    type Value = Option<Duration>;

    fn allowed(&self) -> String {
        format!("{}, or \"forever\"", Scalar::allowed(&self.0))
    }

    fn make(&self, Measure(written): Measure) -> Result<Option<Duration>, String> {
        if written == "forever" { Ok(None) } else { self.0.make(Measure(written)).map(Some) }
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
    type Written = Measure;
    type Value = usize;

    fn allowed(&self) -> String {
        let (least, most) = (size_text(self.least), size_text(self.most));
        format!("a size from \"{least}\" to \"{most}\", in B, KiB, MiB or GiB")
    }

    fn make(&self, Measure(written): Measure) -> Result<usize, String> {
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
    type Written = Measure;
    type Value = Option<Rate>;

    fn allowed(&self) -> String {
        "how many per `s`, `m` or `h`, as \"100/s\"; \"0/s\" for no limit".to_owned()
    }

    fn make(&self, Measure(written): Measure) -> Result<Option<Rate>, String> {
        let read = written.split_once('/').and_then(|(count, unit)| {
            let per = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                _ => return None,
            };
            Some(Rate { count: count.parse().ok()?, per: Duration::from_secs(per) })
        });
        let rate = read.ok_or_else(|| format!("{} is not a rate", quoted(&written)))?;
        Ok((rate.count > 0).then_some(rate))
    }
}

/// Text in quotes that holds a number and its unit.
pub struct Measure(String);

impl<'de> Deserialize<'de> for Measure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InQuotes;

        impl Visitor<'_> for InQuotes {
            type Value = Measure;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number with its unit, in quotes")
            }

            fn visit_str<E>(self, text: &str) -> Result<Measure, E> {
                Ok(Measure(text.to_owned()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Measure, E> {
                Err(E::custom(format_args!("the bare number {number} says nothing of its unit")))
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
    text_with_unit(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), &TIME_UNITS)
}

fn size_text(bytes: usize) -> String {
    text_with_unit(bytes as u64, &SIZE_UNITS)
}

/// A whole number with its unit behind it, in the smallest unit.
fn with_unit(text: &str, units: &[(&str, u64)]) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    match (number.parse::<u64>(), factor) {
        (Ok(_), None) if unit.is_empty() => Err(format!("{} has no unit", quoted(text))),
        (Ok(number), Some(factor)) => {
            number.checked_mul(factor).ok_or_else(|| format!("{} is out of bounds", quoted(text)))
        }
        _ => Err(format!("{} is not a whole number with a known unit", quoted(text))),
    }
}

/// The other way round, in the largest unit that leaves no rest.
fn text_with_unit(number: u64, units: &[(&str, u64)]) -> String {
    let fits = units.iter().rev().find(|(_, factor)| number > 0 && number.is_multiple_of(*factor));
    let (name, factor) = fits.unwrap_or(&units[0]);
    format!("{}{name}", number / factor)
}

/// Units of time in milliseconds.
const TIME_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Units of size in bytes.
const SIZE_UNITS: [(&str, u64); 4] =
    [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
