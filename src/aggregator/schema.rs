//! What stands in the store: one sled tree whose first key byte says what follows, and the
//! records of the journal, which say the same before it is applied.
//!
//! | key | value |
//! |---|---|
//! | `00 "version"` | the format's version, 4 bytes |
//! | `00 "marker"` | [`Marker`]: what has been applied, and what is then there |
//! | `00 "kept"` | the first minute of the oldest minute, hour and day that is kept, 4 bytes each |
//! | `01` package | [`PackageRecord`] |
//! | `10` package, dimension, `00000000`, row | counts over all time: [`Measures`] |
//! | `11` package, dimension, minute, row | counts of the day that begins in that minute |
//! | `12`, `13` | of the hour, of the minute |
//!
//! Numbers are big-endian in keys, so that the keys of one package and dimension are ordered by
//! time. Values are variable-length integers (LEB128), texts with their length before them.

use std::hash::Hasher as _;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;

use crate::aggregator::codec::{put, put_text, take, take_byte, take_text, take_u32};
use crate::aggregator::giving_way::giving_way;
use crate::pure::pull::rollup::{Dimension, MEASURE_NAMES, Measures, Unit};

/// The format's version. Those before it are read too, as they stand, and written anew only where
/// something is added; any other is refused.
///
/// | version | what is new |
/// |---|---|
/// | 2 | the measures `complete` and `up_to_date` |
/// | 3 | [`Marker::run`] |
/// | 4 | dimensions of places, deliveries and pairs; measures say how many they are |
/// | 5 | the measure `imported` |
/// | 6 | the dimension of the image's platform, measures of blobs |
/// | 7 | a checkpoint says what is kept |
/// | 8 | the dimensions of digests and outcomes; a system that is not known has no row |
pub const VERSION: u32 = 8;
/// The key of the version.
pub const VERSION_KEY: &[u8] = b"\x00version";
/// The key of the [`Marker`].
pub const MARKER_KEY: &[u8] = b"\x00marker";
/// The key of what is kept.
pub const KEPT_KEY: &[u8] = b"\x00kept";
/// What a package's key begins with.
pub const PACKAGES: u8 = 0x01;

/// What the store knows about a package.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageRecord {
    /// The configured id; empty where there is none.
    pub id: String,
    /// `<domain>/<name>`, as people see it.
    pub shown: String,
    /// `<domain>/<name of the collection rule>`; empty for a rule of its own.
    pub collection: String,
}

/// How far the journal has been applied, and what should then be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    /// The last record of the run that was begun.
    pub sequence: u64,
    /// How many of the run's keys are applied; `None` when all are.
    pub keys_done: Option<u64>,
    /// The sum of [`entry_hash`] over all packages and cells: what sled loses without a word is
    /// missing here.
    pub digest: u64,
    /// The first minute that was ever counted.
    pub since: Option<u32>,
    /// See [`Record::node`].
    pub node: u64,
    /// See [`Record::epoch`].
    pub epoch: u64,
    /// How many records the run has: see [`crate::aggregator::run::Run`].
    pub run: u64,
}

impl Marker {
    /// The last record all of which is applied.
    pub fn applied(&self) -> u64 {
        self.sequence.saturating_sub(self.keys_done.map_or(0, |_| self.run))
    }
}

/// Whether stores and records of this version can be read.
pub fn is_read(version: u32) -> bool {
    (1..=VERSION).contains(&version)
}

/// A hash of one entry of the store, the same in all versions of the program.
pub fn entry_hash(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write_u64(key.len() as u64);
    hasher.write(key);
    hasher.write(value);
    hasher.finish()
}

/// The key of a package.
pub fn package_key(number: u32) -> [u8; 5] {
    let [a, b, c, d] = number.to_be_bytes();
    [PACKAGES, a, b, c, d]
}

/// The number of the package whose key this is.
pub fn package_number(key: &[u8]) -> Option<u32> {
    let (kind, number) = key.split_first()?;
    (*kind == PACKAGES).then_some(u32::from_be_bytes(number.try_into().ok()?))
}

/// The key of a cell, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellKey<'a> {
    /// The unit.
    pub unit: Unit,
    /// The package's number.
    pub package: u32,
    /// The dimension.
    pub dimension: Dimension,
    /// The unit's first minute.
    pub minute: u32,
    /// The row of the dimension.
    pub value: &'a [u8],
}

impl<'a> CellKey<'a> {
    /// What keys of one unit are in the order of.
    pub fn place(&self) -> (u32, Dimension, u32, &'a [u8]) {
        (self.package, self.dimension, self.minute, self.value)
    }

    /// The key's bytes.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut key = Vec::with_capacity(CELL_KEY_BYTES + self.value.len());
        key.push(unit_byte(self.unit));
        key.extend(self.package.to_be_bytes());
        key.push(self.dimension as u8);
        key.extend(self.minute.to_be_bytes());
        key.extend(self.value);
        key
    }

    /// Takes a key apart; `None` where it is not a cell's.
    pub fn parse(key: &'a [u8]) -> Option<Self> {
        let (head, value) = key.split_first_chunk::<CELL_KEY_BYTES>()?;
        let [unit, p0, p1, p2, p3, dimension, m0, m1, m2, m3] = *head;
        Some(Self {
            unit: Unit::EVERY.into_iter().find(|known| unit_byte(*known) == unit)?,
            package: u32::from_be_bytes([p0, p1, p2, p3]),
            dimension: dimension_of(dimension)?,
            minute: u32::from_be_bytes([m0, m1, m2, m3]),
            value,
        })
    }
}

/// The keys of one package and dimension in `minutes`.
pub fn cell_range(
    unit: Unit,
    package: u32,
    dimension: Dimension,
    minutes: Range<u32>,
) -> Range<Vec<u8>> {
    let key = |minute| CellKey { unit, package, dimension, minute, value: b"" }.to_bytes();
    key(minutes.start)..key(minutes.end)
}

/// All keys of one unit.
pub fn unit_range(unit: Unit) -> Range<Vec<u8>> {
    vec![unit_byte(unit)]..vec![unit_byte(unit) + 1]
}

/// One record of the journal: what is added at once, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Which gateway wrote it: random, made with the store.
    pub node: u64,
    /// Which run of it.
    pub epoch: u64,
    /// One more than the record before.
    pub sequence: u64,
    /// Packages that are new or changed.
    pub packages: Vec<(u32, PackageRecord)>,
    /// What is added to which cell.
    pub cells: Vec<RecordCell>,
}

/// What is added to one cell, and to the longer units that it lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordCell {
    /// The package's number in the store.
    pub package: u32,
    /// The dimension.
    pub dimension: Dimension,
    /// The shortest unit it is added to.
    pub unit: Unit,
    /// That unit's first minute.
    pub minute: u32,
    /// The row of the dimension. Shared with whatever names it; and unlike an empty `Box` an empty one has
    /// a place, without which comparing takes some processors two hundred nanoseconds.
    pub value: Arc<str>,
    /// What is added.
    pub measures: Measures,
}

impl RecordCell {
    /// Which cell it is.
    pub fn place(&self) -> (u32, Dimension, Unit, u32, &str) {
        (self.package, self.dimension, self.unit, self.minute, &self.value)
    }

    /// All keys that it adds to, for naive twins.
    #[cfg(test)]
    pub fn keys(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        let longer = Unit::EVERY.into_iter().filter(|unit| *unit >= self.unit);
        longer.map(|unit| self.key(unit).to_bytes())
    }

    /// The key that it adds to in a unit, its own or a longer one.
    pub fn key(&self, unit: Unit) -> CellKey<'_> {
        let Self { package, dimension, minute, value, .. } = self;
        let (package, dimension) = (*package, *dimension);
        CellKey { unit, package, dimension, minute: unit.floor(*minute), value: value.as_bytes() }
    }
}

impl Record {
    /// The first minute that it adds to.
    pub fn since(&self) -> Option<u32> {
        // Dimensions that are counted by the hour or the day, and what is no request, say less.
        let tells = |cell: &&RecordCell| {
            let Measures { requests, pulls, checks, supply_chain, excluded, .. } = cell.measures;
            cell.unit != Unit::Ever
                && cell.dimension.finest() == Unit::Minute
                && requests + pulls + checks + supply_chain + excluded > 0
        };
        self.cells.iter().filter(tells).map(|cell| cell.minute).min()
    }

    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 * (self.cells.len() + self.packages.len() + 1));
        for number in [u64::from(VERSION), self.node, self.epoch, self.sequence] {
            put(&mut out, number);
        }
        put(&mut out, self.packages.len() as u64);
        for (number, package) in &self.packages {
            put(&mut out, u64::from(*number));
            package.encode_to(&mut out);
        }
        put(&mut out, self.cells.len() as u64);
        for cell in giving_way(&self.cells, 1) {
            put(&mut out, u64::from(cell.package));
            out.push(cell.dimension as u8);
            out.push(cell.unit as u8);
            put(&mut out, u64::from(cell.minute));
            put_text(&mut out, &cell.value);
            put(&mut out, cell.measures.told() as u64);
            cell.measures.encode_to(&mut out);
        }
        out
    }

    /// Reads a record; `None` where the bytes are not one.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let from = &mut bytes;
        let version = take_u32(from).filter(|version| is_read(*version))?;
        let (node, epoch, sequence) = (take(from)?, take(from)?, take(from)?);
        let mut record = Self { node, epoch, sequence, ..Self::default() };
        for _ in 0..take(from)? {
            record.packages.push((take_u32(from)?, PackageRecord::decode_from(from)?));
        }
        for _ in 0..take(from)? {
            record.cells.push(RecordCell {
                package: take_u32(from)?,
                dimension: dimension_of(take_byte(from)?)?,
                unit: unit_of(take_byte(from)?)?,
                minute: take_u32(from)?,
                value: take_text(from)?.into(),
                measures: match version {
                    1 => take_measures(from, MEASURES_OF_1)?,
                    2 | 3 => take_measures(from, MEASURES_OF_2)?,
                    _ => {
                        let told = usize::try_from(take(from)?).ok()?;
                        take_measures(from, told)?
                    }
                },
            });
        }
        from.is_empty().then_some(record)
    }
}

/// What can stand as a value in the store.
pub trait Value: Sized {
    /// Appends the value's bytes.
    fn encode_to(&self, out: &mut Vec<u8>);
    /// Takes the value from the front; `None` where the bytes are not one.
    fn decode_from(bytes: &mut &[u8]) -> Option<Self>;

    /// The value's bytes.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_to(&mut out);
        out
    }

    /// Reads a value that nothing follows.
    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let value = Self::decode_from(&mut bytes)?;
        bytes.is_empty().then_some(value)
    }
}

impl Measures {
    /// How many of them are written: those behind are zero.
    fn told(&self) -> usize {
        self.to_array().iter().rposition(|value| *value != 0).map_or(0, |last| last + 1)
    }
}

impl Value for Measures {
    fn encode_to(&self, out: &mut Vec<u8>) {
        for value in self.to_array().into_iter().take(self.told()) {
            put(out, value);
        }
    }

    /// All that is left are measures: of an older version there are fewer.
    fn decode_from(bytes: &mut &[u8]) -> Option<Self> {
        // Each number ends with a byte below 0x80.
        let told = bytes.iter().filter(|byte| **byte < 0x80).count();
        take_measures(bytes, told)
    }
}

/// Takes the first `told` measures; the others are zero.
fn take_measures(bytes: &mut &[u8], told: usize) -> Option<Measures> {
    let mut values = [0; MEASURE_NAMES.len()];
    for value in values.get_mut(..told)? {
        *value = take(bytes)?;
    }
    Some(Measures::from_array(values))
}

impl Value for PackageRecord {
    fn encode_to(&self, out: &mut Vec<u8>) {
        for text in [&self.id, &self.shown, &self.collection] {
            put_text(out, text);
        }
    }

    fn decode_from(bytes: &mut &[u8]) -> Option<Self> {
        let (id, shown, collection) = (take_text(bytes)?, take_text(bytes)?, take_text(bytes)?);
        Some(Self { id: id.into(), shown: shown.into(), collection: collection.into() })
    }
}

impl Value for Marker {
    fn encode_to(&self, out: &mut Vec<u8>) {
        put(out, self.sequence);
        put(out, self.keys_done.map_or(0, |keys| keys + 1));
        put(out, self.digest);
        put(out, self.since.map_or(0, |minute| u64::from(minute) + 1));
        put(out, self.node);
        put(out, self.epoch);
        put(out, self.run);
    }

    fn decode_from(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self {
            sequence: take(bytes)?,
            keys_done: take(bytes)?.checked_sub(1),
            digest: take(bytes)?,
            since: match take(bytes)?.checked_sub(1) {
                Some(minute) => Some(u32::try_from(minute).ok()?),
                None => None,
            },
            node: take(bytes)?,
            epoch: take(bytes)?,
            // Before there were runs each record was applied by itself.
            run: if bytes.is_empty() { 1 } else { take(bytes)? },
        })
    }
}

fn unit_byte(unit: Unit) -> u8 {
    match unit {
        Unit::Ever => 0x10,
        Unit::Day => 0x11,
        Unit::Hour => 0x12,
        Unit::Minute => 0x13,
    }
}

fn unit_of(number: u8) -> Option<Unit> {
    Unit::EVERY.into_iter().find(|unit| *unit as u8 == number)
}

fn dimension_of(number: u8) -> Option<Dimension> {
    Dimension::EVERY.into_iter().find(|dimension| *dimension as u8 == number)
}

/// How many measures the first versions had, and wrote.
const MEASURES_OF_1: usize = 6;
const MEASURES_OF_2: usize = 8;
/// A cell's key without its row.
const CELL_KEY_BYTES: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn measures() -> impl Strategy<Value = Measures> {
        any::<[u64; MEASURE_NAMES.len()]>().prop_map(Measures::from_array)
    }

    fn cell() -> impl Strategy<Value = RecordCell> {
        (any::<u32>(), 0..Dimension::EVERY.len(), 0usize..4, any::<u32>(), ".{0,20}", measures())
            .prop_map(|(package, dimension, unit, minute, value, measures)| RecordCell {
                package,
                dimension: Dimension::EVERY[dimension],
                unit: Unit::EVERY[unit],
                minute,
                value: value.into(),
                measures,
            })
    }

    proptest! {
        #[test]
        fn a_record_is_read_back_and_a_part_of_it_is_not(
            cells in proptest::collection::vec(cell(), 0..5),
            numbers in any::<[u64; 3]>(), cut in any::<prop::sample::Index>(),
        ) {
            let package = PackageRecord { id: "x".into(), shown: "a/b".into(), collection: String::new() };
            let [node, epoch, sequence] = numbers;
            let record = Record { node, epoch, sequence, packages: vec![(7, package)], cells };
            let bytes = record.encode();
            prop_assert_eq!(Record::decode(&bytes[..cut.index(bytes.len())]), None);
            prop_assert_eq!(Record::decode(&bytes), Some(record));
        }

        #[test]
        fn as_many_measures_are_read_as_there_are(
            values in any::<[u64; MEASURE_NAMES.len()]>(), told in 0..=MEASURE_NAMES.len(),
        ) {
            let mut bytes = Vec::new();
            values.iter().take(told).for_each(|value| put(&mut bytes, *value));
            let mut read = values;
            read[told..].fill(0);
            prop_assert_eq!(Measures::decode(&bytes), Some(Measures::from_array(read)));
            let measures = Measures::from_array(read);
            prop_assert_eq!(Measures::decode(&measures.encode()), Some(measures));
            for _ in told..=MEASURE_NAMES.len() {
                put(&mut bytes, 1);
            }
            prop_assert_eq!(Measures::decode(&bytes), None);
        }

        #[test]
        fn any_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(record) = Record::decode(&bytes) {
                prop_assert_eq!(Record::decode(&record.encode()), Some(record));
            }
        }

        #[test]
        fn keys_are_ordered_by_time_within_a_series(a in any::<u32>(), b in any::<u32>(), row in "[a-z]{0,9}") {
            let key = |minute| CellKey {
                unit: Unit::Hour, package: 300, dimension: Dimension::Tag, minute, value: row.as_bytes(),
            };
            let bytes = key(a).to_bytes();
            prop_assert_eq!(CellKey::parse(&bytes), Some(key(a)));
            prop_assert_eq!(a.cmp(&b), key(a).to_bytes().cmp(&key(b).to_bytes()));
        }

        #[test]
        fn a_marker_is_read_back(sequence in any::<u64>(), keys in any::<Option<u32>>(), digest in any::<u64>(), since in any::<Option<u32>>(), run in 0u64..100) {
            let marker = Marker { sequence, keys_done: keys.map(u64::from), digest, since, node: 1, epoch: 2, run };
            let bytes = marker.encode();
            prop_assert_eq!(Marker::decode(&bytes), Some(marker));
            // As it was before there were runs.
            let before = Marker::decode(&bytes[..bytes.len() - 1]);
            prop_assert_eq!(before, Some(Marker { run: 1, ..marker }));
        }
    }
}
