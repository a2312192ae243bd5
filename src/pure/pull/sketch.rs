//! How many different things were seen, in bounded memory: exact as long as they are few, then
//! HyperLogLog with 4096 registers, whose standard error is 1.6 %.
//!
//! The estimate is the one of O. Ertl, "New cardinality estimation algorithms for HyperLogLog
//! sketches" (2017): one formula for small and large numbers, without tables.

use std::f64::consts::LN_2;

use serde::{Deserialize, Serialize};

/// Hashes that were seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sketch(Seen);

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Seen {
    /// The first 32 bits of each hash, in order.
    Few(Vec<u32>),
    /// Of each register the longest run of zeros.
    Many(#[serde(with = "registers")] Box<[u8; REGISTERS]>),
}

impl Default for Seen {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Sketch {
    /// Adds a hash; whether that may have changed what [`Sketch::count`] says.
    pub fn add(&mut self, hash: u64) -> bool {
        let hash = first_bits(hash);
        match &mut self.0 {
            Seen::Few(hashes) => {
                let Err(at) = hashes.binary_search(&hash) else {
                    return false;
                };
                if hashes.len() < EXACT_MAX {
                    if hashes.len() == hashes.capacity() {
                        hashes.reserve_exact(next_room(hashes) - hashes.len());
                    }
                    hashes.insert(at, hash);
                    return true;
                }
                let mut registers = Box::new([0; REGISTERS]);
                for hash in hashes.iter().chain([&hash]) {
                    raise(&mut registers, *hash);
                }
                self.0 = Seen::Many(registers);
                true
            }
            Seen::Many(registers) => raise(registers, hash),
        }
    }

    /// How many different hashes were added.
    pub fn count(&self) -> u64 {
        match &self.0 {
            Seen::Few(hashes) => hashes.len() as u64,
            Seen::Many(registers) => estimate(registers),
        }
    }

    /// By how much [`Sketch::bytes`] rises when this hash is added.
    pub fn grows_by(&self, hash: u64) -> usize {
        match &self.0 {
            Seen::Many(_) => 0,
            Seen::Few(hashes) if hashes.len() < hashes.capacity() => 0,
            Seen::Few(hashes) if hashes.binary_search(&first_bits(hash)).is_ok() => 0,
            Seen::Few(hashes) if hashes.len() == EXACT_MAX => REGISTERS - self.bytes(),
            Seen::Few(hashes) => size_of::<u32>() * (next_room(hashes) - hashes.capacity()),
        }
    }

    /// What it costs beyond itself, in bytes.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Seen::Few(hashes) => size_of::<u32>() * hashes.capacity(),
            Seen::Many(_) => REGISTERS,
        }
    }
}

/// Registers, as so many bytes.
mod registers {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::REGISTERS;

    #[expect(clippy::borrowed_box, reason = "as serde wants it")]
    pub(super) fn serialize<S: Serializer>(
        registers: &Box<[u8; REGISTERS]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        registers.as_slice().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Box<[u8; REGISTERS]>, D::Error> {
        let bytes = Box::<[u8]>::deserialize(deserializer)?;
        bytes.try_into().map_err(|_| D::Error::custom("not so many registers"))
    }
}

fn first_bits(hash: u64) -> u32 {
    // The shift leaves 32 bits.
    u32::try_from(hash >> 32).unwrap_or(0)
}

/// How many hashes there is room for when there is none for one more.
fn next_room(hashes: &[u32]) -> usize {
    (2 * hashes.len()).clamp(ROOM_FIRST, EXACT_MAX)
}

/// Whether a register rises.
fn raise(registers: &mut [u8; REGISTERS], hash: u32) -> bool {
    let at = (hash >> RANK_BITS) as usize;
    let rest = hash << (32 - RANK_BITS);
    let rank = if rest == 0 { RANK_MAX } else { rest.leading_zeros() + 1 };
    let rank = u8::try_from(rank).unwrap_or(u8::MAX);
    match registers.get_mut(at) {
        Some(register) if *register < rank => {
            *register = rank;
            true
        }
        Some(_) | None => false,
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an estimate is positive, and far below what a float holds"
)]
fn estimate(registers: &[u8; REGISTERS]) -> u64 {
    let mut counts = [0u32; RANK_MAX as usize + 1];
    for register in registers {
        if let Some(count) = counts.get_mut(usize::from(*register)) {
            *count += 1;
        }
    }
    let m = REGISTERS as f64;
    let [none, ranks @ .., full] = counts;
    let mut z = m * tau(1.0 - f64::from(full) / m);
    for count in ranks.iter().rev() {
        z = 0.5 * (z + f64::from(*count));
    }
    z += m * sigma(f64::from(none) / m);
    (m * m / (2.0 * LN_2 * z)).round() as u64
}

fn sigma(mut x: f64) -> f64 {
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        // Also where it has grown beyond all bounds: no register was raised.
        if z <= before || z.is_infinite() {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z >= before {
            return z / 3.0;
        }
    }
}

/// So many are counted exactly: they cost half of what the registers do.
pub const EXACT_MAX: usize = 512;
/// What the first hash costs, in bytes.
pub const SKETCH_BYTES_FIRST: usize = size_of::<u32>() * ROOM_FIRST;
const ROOM_FIRST: usize = 4;
const REGISTERS: usize = 4096;
/// Bits of a hash behind those that choose the register.
const RANK_BITS: u32 = 20;
/// No one among them.
const RANK_MAX: u32 = RANK_BITS + 1;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;
    use std::hash::Hasher as _;

    fn hash(number: u64, key: u64) -> u64 {
        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(key, 7);
        hasher.write_u64(number);
        hasher.finish()
    }

    #[test]
    fn few_are_exact_and_many_are_within_the_error_that_is_stated() {
        for key in 0..5 {
            let (mut sketch, mut added) = (Sketch::default(), 0);
            for number in [1u64, 100, 512, 513, 1000, 5000, 30_000, 300_000, 2_000_000] {
                while added < number {
                    sketch.add(hash(added, key));
                    added += 1;
                }
                let error = sketch.count().abs_diff(number) as f64 / number as f64;
                // Four times the standard error.
                let bound = if number <= 512 { 0.0 } else { 4.0 * 1.04 / 64.0 };
                assert!(error <= bound, "{} of {number}", sketch.count());
            }
            assert!(sketch.bytes() <= REGISTERS);
        }
    }

    #[test]
    fn on_average_the_error_is_small_and_to_neither_side() {
        for number in [700u64, 3000, 20_000] {
            let (mut sum, mut squares) = (0.0, 0.0);
            for key in 0..200 {
                let mut sketch = Sketch::default();
                (0..number).for_each(|one| _ = sketch.add(hash(one, key)));
                let error = sketch.count() as f64 / number as f64 - 1.0;
                sum += error;
                squares += error * error;
            }
            let (bias, deviation) = (sum / 200.0, (squares / 200.0f64).sqrt());
            assert!(bias.abs() < 0.005, "{number}: {bias}");
            assert!(deviation < 0.02, "{number}: {deviation}");
        }
    }

    proptest! {
        /// The naive twin: a set.
        #[test]
        fn what_was_seen_before_changes_nothing(numbers in prop::collection::vec(0u64..400, 0..900)) {
            let (mut sketch, mut set) = (Sketch::default(), HashSet::new());
            for number in numbers {
                let bytes = sketch.bytes() + sketch.grows_by(hash(number, 1));
                prop_assert_eq!(sketch.add(hash(number, 1)), set.insert(number));
                prop_assert_eq!(sketch.bytes(), bytes);
            }
            prop_assert_eq!(sketch.count(), set.len() as u64);
        }

        #[test]
        fn any_hashes_are_counted(hashes in prop::collection::vec(any::<u64>(), 0..2000)) {
            let mut sketch = Sketch::default();
            let mut before = 0;
            for hash in &hashes {
                sketch.add(*hash);
            }
            before += sketch.count();
            prop_assert!(before <= 2 * hashes.len() as u64);
            for hash in hashes {
                prop_assert!(!sketch.add(hash));
            }
        }
    }
}
