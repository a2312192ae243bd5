//! What is told apart by a text that anybody may choose. Of each text a keyed hash of 128 bits is
//! kept and compared, not the text: finding one touches one place in memory, not three. A million
//! texts have two of the same hash with a probability of 10⁻²⁷, and nobody outside knows the key.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use hashbrown::HashTable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// A keyed hash of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Print(u128);

impl Print {
    /// Where it stands in a table: all of its bits are as random as any.
    #[expect(clippy::cast_possible_truncation, reason = "half of it will do")]
    fn place(self) -> u64 {
        self.0 as u64
    }
}

/// Numbers by texts.
pub struct Known {
    key: (u64, u64),
    numbers: HashTable<(Print, u32)>,
}

impl Default for Known {
    fn default() -> Self {
        // The standard library's source of random keys.
        let random = RandomState::new();
        Self { key: (random.hash_one(1), random.hash_one(2)), numbers: HashTable::new() }
    }
}

impl Serialize for Known {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let numbers = self.numbers.iter().map(|(print, number)| (print.0, *number));
        (self.key, numbers.collect::<Vec<(u128, u32)>>()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Known {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (key, numbers) = <((u64, u64), Vec<(u128, u32)>)>::deserialize(deserializer)?;
        let mut known = Self { key, numbers: HashTable::with_capacity(numbers.len()) };
        for (print, number) in numbers {
            known.insert(Print(print), number);
        }
        Ok(known)
    }
}

impl Known {
    /// The print of `text` in the group of that number: the same texts of two groups are two.
    pub fn print(&self, group: u64, text: &[u8]) -> Print {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        hasher.write_u64(group);
        hasher.write(text);
        Print(hasher.finish128().as_u128())
    }

    /// The number that was given.
    pub fn get(&self, print: Print) -> Option<u32> {
        self.numbers.find(print.place(), |(known, _)| *known == print).map(|(_, number)| *number)
    }

    /// Gives a number to a print that has none.
    pub fn insert(&mut self, print: Print, number: u32) {
        self.numbers.insert_unique(print.place(), (print, number), |(known, _)| known.place());
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.numbers.len()
    }

    /// Forgets those whose number is `gone`.
    pub fn forget(&mut self, gone: impl Fn(u32) -> bool) {
        self.numbers.retain(|(_, number)| !gone(*number));
    }

    /// Forgets all of them.
    pub fn clear(&mut self) {
        self.numbers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn numbers_are_those_of_a_plain_table() {
        let (mut known, mut naive) = (Known::default(), HashMap::new());
        for number in 0..10_000u32 {
            let (group, text) = (u64::from(number % 7), format!("text {}", number % 1_000));
            let print = known.print(group, text.as_bytes());
            assert_eq!(known.get(print), naive.get(&(group, text.clone())).copied());
            if known.get(print).is_none() {
                known.insert(print, number);
                naive.insert((group, text), number);
            }
        }
        assert_eq!(known.count(), 7_000);
        known.forget(|number| number < 1000);
        assert_eq!((known.count(), known.get(known.print(0, b"text 0"))), (6_000, None));
        assert_eq!(
            known.get(known.print(6, b"text 0")),
            naive.get(&(6, "text 0".to_owned())).copied()
        );
        known.clear();
        assert_eq!(known.count(), 0);
    }

    #[test]
    fn where_a_text_begins_is_its_groups() {
        let known = Known::default();
        assert_ne!(known.print(1, b"a"), known.print(2, b"a"));
        assert_ne!(known.print(1, b""), known.print(1, b"\0"));
        assert_ne!(Known::default().print(1, b"a"), known.print(1, b"a"));
    }
}
