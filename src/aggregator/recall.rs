//! Days that are over, as somebody read them last. sled takes two hundred nanoseconds for each key, and the
//! days of a month are the same ones in every question: what was read of them comes to the aggregator, which
//! gives it to whoever asks next. It is let go of when a day that was over is written to.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};
use foldhash::fast::RandomState;

use crate::aggregator::codec::{put, put_bytes, take, take_bytes};
use crate::aggregator::schema::Value as _;
use crate::pure::pull::rollup::{Dimension, Measures};

/// What is remembered: the aggregator's.
pub struct Memory {
    recall: Recall,
    learned: Receiver<Learned>,
    /// What has come, and is not in `recall` yet: whoever reads has that.
    waiting: Vec<Learned>,
    waiting_bytes: usize,
    /// In the order in which they came.
    order: VecDeque<(Of, Arc<Series>)>,
    bytes: usize,
}

/// What a reader has of it; by default nothing, and nobody remembers what is read.
#[derive(Clone, Default)]
pub struct Recall {
    known: Arc<HashMap<Of, Vec<Arc<Series>>, RandomState>>,
    /// Days before this minute are over.
    over: u32,
    /// Which of the times between two of which all was let go of.
    time: u64,
    /// Where what is read goes to; nowhere if nobody remembers.
    learned: Option<Sender<Learned>>,
}

/// The package's number, and by what its counts are told apart.
type Of = (u32, Dimension);

/// The cells of all days in a stretch of time.
struct Series {
    days: Range<u32>,
    rows: Vec<Box<[u8]>>,
    /// Each day that has cells, and where they begin.
    begins: Vec<(u32, usize)>,
    /// The number of its row and its value, for each cell.
    cells: Vec<u8>,
    /// How much memory all of it takes.
    bytes: usize,
}

/// A series that is being read.
pub struct Reading {
    of: Of,
    series: Series,
    numbers: HashMap<Box<[u8]>, u64, RandomState>,
    is_too_long: bool,
}

struct Learned {
    time: u64,
    of: Of,
    series: Arc<Series>,
}

impl Default for Memory {
    /// Nothing is remembered yet.
    fn default() -> Self {
        let (teller, learned) = bounded(LEARNED_MAX);
        let recall = Recall { learned: Some(teller), ..Recall::default() };
        let (waiting, order) = (Vec::new(), VecDeque::new());
        Self { recall, learned, waiting, waiting_bytes: 0, order, bytes: 0 }
    }
}

impl Memory {
    /// Takes what readers have read.
    pub fn listen(&mut self) {
        for learned in self.learned.try_iter() {
            let bytes = learned.series.bytes;
            if learned.time == self.recall.time && self.waiting_bytes + bytes <= BYTES_MAX {
                self.waiting_bytes += bytes;
                self.waiting.push(learned);
            }
        }
        // While somebody reads, all that is known would have to be copied.
        if Arc::get_mut(&mut self.recall.known).is_some() {
            self.learn();
        }
    }

    /// Forgets everything: what is read from now on is not what was read.
    pub fn forget(&mut self) {
        self.recall.time += 1;
        self.recall.known = Arc::default();
        // Readers from before are not heard any more.
        self.recall.over = 0;
        self.learned.try_iter().for_each(drop);
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.order.clear();
        self.bytes = 0;
    }

    /// Forgets everything where a day that was over is written to.
    pub fn written(&mut self, day: u32) {
        if day < self.recall.over {
            self.forget();
        }
    }

    /// What a reader may know, when the day that begins at the minute `today` is not over.
    pub fn recall(&mut self, today: u32) -> Recall {
        self.listen();
        self.learn();
        // Where the clock was set back it stays: what was given away may reach so far.
        self.recall.over = self.recall.over.max(today);
        self.recall.clone()
    }

    fn learn(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let known = Arc::make_mut(&mut self.recall.known);
        self.waiting_bytes = 0;
        for Learned { of, series, .. } in self.waiting.drain(..) {
            let all = known.entry(of).or_default();
            if all.iter().any(|one| one.has(&series.days)) {
                continue;
            }
            all.push(Arc::clone(&series));
            self.bytes += series.bytes;
            self.order.push_back((of, series));
        }
        while self.bytes > BYTES_MAX
            && let Some((of, oldest)) = self.order.pop_front()
        {
            self.bytes -= oldest.bytes;
            if let Some(all) = known.get_mut(&of) {
                all.retain(|one| !Arc::ptr_eq(one, &oldest));
                if all.is_empty() {
                    known.remove(&of);
                }
            }
        }
    }
}

impl Recall {
    /// The part of `days` that is over: these are remembered, or worth it.
    pub fn past(&self, days: &Range<u32>) -> Range<u32> {
        days.start..days.end.min(self.over).max(days.start)
    }

    /// Gives the cells of `days` to `each`, as row, day and value; whether they are remembered.
    pub fn give(&self, of: Of, days: &Range<u32>, each: impl FnMut(&[u8], u32, Measures)) -> bool {
        let mut all = self.known.get(&of).into_iter().flatten();
        let series = all.find(|one| one.has(days));
        series.map(|series| series.give(days, each)).is_some()
    }

    /// To be told all cells of `days`, in their order, if somebody remembers them.
    pub fn read(&self, of: Of, days: Range<u32>) -> Option<Reading> {
        if self.learned.is_none() || days.is_empty() {
            return None;
        }
        let (rows, begins, cells, bytes) = (Vec::new(), Vec::new(), Vec::new(), SERIES_BYTES);
        let series = Series { days, rows, begins, cells, bytes };
        Some(Reading { of, series, numbers: HashMap::default(), is_too_long: false })
    }

    /// Has it remembered, unless too much else was read just now.
    pub fn learn(&self, reading: Reading) {
        let Reading { of, mut series, is_too_long, .. } = reading;
        series.cells.shrink_to_fit();
        series.rows.shrink_to_fit();
        series.begins.shrink_to_fit();
        if let Some(teller) = self.learned.as_ref().filter(|_| !is_too_long) {
            let _ = teller.try_send(Learned { time: self.time, of, series: Arc::new(series) });
        }
    }
}

impl Reading {
    /// The next cell; `value` as it is stored.
    pub fn push(&mut self, row: &[u8], day: u32, value: &[u8]) {
        if self.is_too_long {
            return;
        }
        let Series { rows, begins, cells, bytes, .. } = &mut self.series;
        let before = cells.len();
        if begins.last().is_none_or(|(last, _)| *last != day) {
            begins.push((day, before));
            *bytes += size_of::<(u32, usize)>();
        }
        let next = rows.len() as u64;
        let number = self.numbers.get(row).copied().unwrap_or(next);
        if number == next {
            rows.push(row.into());
            self.numbers.insert(row.into(), next);
            *bytes += row.len() + ROW_BYTES;
        }
        put(cells, number);
        put_bytes(cells, value);
        *bytes += cells.len() - before;
        self.is_too_long = *bytes > SERIES_BYTES_MAX;
    }
}

impl Series {
    fn has(&self, days: &Range<u32>) -> bool {
        self.days.start <= days.start && days.end <= self.days.end
    }

    fn give(&self, days: &Range<u32>, mut each: impl FnMut(&[u8], u32, Measures)) {
        let first = self.begins.partition_point(|(day, _)| *day < days.start);
        let mut begins = self.begins.iter().skip(first).peekable();
        while let Some((day, begin)) = begins.next().filter(|(day, _)| *day < days.end) {
            let end = begins.peek().map_or(self.cells.len(), |(_, next)| *next);
            let mut cells = self.cells.get(*begin..end).unwrap_or_default();
            while let Some((row, value)) = self.take(&mut cells) {
                each(row, *day, value);
            }
        }
    }

    /// Takes the next cell from the front of `cells`.
    fn take(&self, cells: &mut &[u8]) -> Option<(&[u8], Measures)> {
        let row = self.rows.get(usize::try_from(take(cells)?).ok()?)?;
        Some((row, Measures::decode(take_bytes(cells)?)?))
    }
}

/// As much as sled may keep of its own; and as much again while somebody reads.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// What one without cells takes, where it is kept included.
const SERIES_BYTES: usize = size_of::<Series>() + 8 * size_of::<Of>() + 64;
/// And what a row does beside its text.
const ROW_BYTES: usize = size_of::<Box<[u8]>>() + 16;
/// A reader must not be told to keep much for what is asked for once.
const SERIES_BYTES_MAX: usize = 256 * 1024;
/// The aggregator listens every few milliseconds.
const LEARNED_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregator::schema::{PackageRecord, Record, RecordCell};
    use crate::aggregator::store::Store;
    use crate::aggregator::view::View;
    use crate::pure::pull::rollup::Unit;
    use crate::pure::pull::spans::Span;
    use std::collections::BTreeMap;

    const TAGS: Of = (7, Dimension::Tag);

    fn value(pulls: u64) -> Vec<u8> {
        Measures { pulls, ..Measures::ZERO }.encode()
    }

    /// Reads days `days` with one cell of each of these rows on each day in `filled`.
    fn read(recall: &Recall, of: Of, days: Range<u32>, filled: &[u32], rows: &[&str]) {
        let mut reading = recall.read(of, days).unwrap();
        for day in filled {
            for row in rows {
                reading.push(row.as_bytes(), *day, &value(u64::from(*day)));
            }
        }
        recall.learn(reading);
    }

    fn given(recall: &Recall, of: Of, days: Range<u32>) -> Option<Vec<(String, u32, u64)>> {
        let mut cells = Vec::new();
        let each = |row: &[u8], day, measures: Measures| {
            cells.push((String::from_utf8(row.to_vec()).unwrap(), day, measures.pulls));
        };
        recall.give(of, &days, each).then_some(cells)
    }

    #[test]
    fn what_was_read_is_given_to_whoever_asks_for_a_part_of_it() {
        let mut memory = Memory::default();
        let recall = memory.recall(100);
        assert_eq!(recall.past(&(10..400)), 10..100);
        assert!(recall.past(&(100..400)).is_empty() && recall.past(&(300..400)).is_empty());
        assert!(recall.read(TAGS, 100..100).is_none());
        read(&recall, TAGS, 10..90, &[20, 30, 60], &["a", "b"]);
        assert_eq!(given(&recall, TAGS, 10..90), None, "not what is held already");
        let recall = memory.recall(100);
        let cell = |row: &str, day: u32| (row.to_owned(), day, u64::from(day));
        let both = |days: &[u32]| {
            let of_day = |day: &u32| ["a", "b"].map(|row| cell(row, *day));
            Some(days.iter().flat_map(of_day).collect::<Vec<_>>())
        };
        assert_eq!(given(&recall, TAGS, 10..90), both(&[20, 30, 60]));
        assert_eq!(given(&recall, TAGS, 21..60), both(&[30]));
        assert_eq!(given(&recall, TAGS, 61..90), both(&[]));
        for outside in [9..90, 10..91] {
            assert_eq!(given(&recall, TAGS, outside), None);
        }
        assert_eq!(given(&recall, (8, Dimension::Tag), 10..90), None);
        assert_eq!(given(&recall, (7, Dimension::All), 10..90), None);
    }

    #[test]
    fn a_day_that_was_over_and_is_written_to_ends_it_also_for_what_is_being_read() {
        let mut memory = Memory::default();
        let (early, late) = (memory.recall(100), memory.recall(90));
        read(&early, TAGS, 10..90, &[20], &["a"]);
        memory.written(100);
        assert!(given(&memory.recall(100), TAGS, 10..90).is_some(), "it was not over");
        // The clock was set back, and what was over for one reader is not over for the next.
        memory.written(95);
        assert_eq!(given(&memory.recall(90), TAGS, 10..90), None);
        for before in [early, late] {
            read(&before, TAGS, 10..90, &[20], &["a"]);
        }
        assert_eq!(given(&memory.recall(100), TAGS, 10..90), None, "it was read before that");
        read(&memory.recall(100), TAGS, 10..90, &[20], &["a"]);
        memory.listen();
        assert!(given(&memory.recall(100), TAGS, 10..90).is_some());
    }

    #[test]
    fn two_stretches_of_one_series_are_known_beside_each_other() {
        let mut memory = Memory::default();
        let recall = memory.recall(100);
        read(&recall, TAGS, 10..40, &[20], &["a"]);
        read(&recall, TAGS, 40..90, &[50], &["b"]);
        read(&recall, TAGS, 12..20, &[], &[]);
        let recall = memory.recall(100);
        let cell = |row: &str, day: u32| Some(vec![(row.to_owned(), day, u64::from(day))]);
        assert_eq!(given(&recall, TAGS, 10..40), cell("a", 20));
        assert_eq!(given(&recall, TAGS, 40..90), cell("b", 50));
        assert_eq!(given(&recall, TAGS, 30..50), None);
        assert_eq!(memory.order.len(), 2, "what is known already is not kept twice");
    }

    #[test]
    fn the_oldest_go_first_and_what_is_too_long_is_not_kept() {
        let mut memory = Memory::default();
        let rows: Vec<String> = (0..1000).map(|number| format!("{number:0100}")).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let most = u32::try_from(BYTES_MAX / 100_000).unwrap();
        for package in 0..most {
            read(&memory.recall(u32::MAX), (package, Dimension::Tag), 0..10, &[5], &rows);
        }
        let recall = memory.recall(u32::MAX);
        let is_known = |package| given(&recall, (package, Dimension::Tag), 0..10).is_some();
        assert!(!is_known(0) && is_known(most / 2) && is_known(most - 1));
        assert!((BYTES_MAX / 2..=BYTES_MAX).contains(&memory.bytes), "{}", memory.bytes);
        let known: usize = recall.known.values().flatten().map(|series| series.bytes).sum();
        assert_eq!((known, memory.order.len()), (memory.bytes, recall.known.len()));
        // While somebody reads no more than that waits, and nothing once all was let go of.
        for package in 0..2 * most {
            read(&recall, (package, Dimension::Cloud), 0..10, &[5], &rows);
            memory.listen();
        }
        assert!((BYTES_MAX / 2..=BYTES_MAX).contains(&memory.waiting_bytes));
        read(&recall, TAGS, 0..9, &[5], &rows);
        memory.forget();
        assert!(memory.waiting.is_empty() && memory.learned.is_empty());
        let recall = memory.recall(u32::MAX);
        assert!(recall.known.is_empty());
        read(&recall, (most - 1, Dimension::Tag), 0..10, &[5], &rows);
        let many: Vec<u32> = (0..40).collect();
        let last = (most - 1, Dimension::Tag);
        read(&recall, last, 0..40, &many, &rows);
        assert!(given(&memory.recall(u32::MAX), last, 0..40).is_none());
        assert!(given(&memory.recall(u32::MAX), last, 0..10).is_some(), "the shorter one stays");
    }

    /// The naive twin of what is remembered: who reads all of it anew each time.
    #[test]
    fn days_that_were_read_before_are_what_they_are_now() {
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        let mut below = |bound: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 11) % bound
        };
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let mut memory = Memory::default();
        let mut remembered = 0;
        for step in 0..300 {
            // Days one to nine: until the fifth they are over, then a reader's clock is set forth and back.
            let today = DAY * (5 + u32::try_from(below(3)).unwrap());
            match below(6) {
                0 => {
                    let from = below(u64::from(9 * DAY));
                    store.append(&record(store.next_sequence(), from)).unwrap();
                }
                1 => drop(store.begin_run()),
                2 => store.apply_some().unwrap(),
                3 => store.maintain(|_| DAY * u32::from(step > 250)).unwrap(),
                _ => {}
            }
            let written = store.take_written_day();
            written.into_iter().for_each(|day| memory.written(day));
            let recall = memory.recall(today);
            let view = |recall| {
                let view = View::new(
                    store.counts().tree(),
                    store.marker(),
                    store.unapplied(),
                    Arc::default(),
                );
                view.recalling(recall)
            };
            let of = (0, Dimension::EVERY[usize::try_from(below(3)).unwrap()]);
            let (from, length) = (below(5), 1 + below(8));
            let day = |number: u64| DAY * u32::try_from(number).unwrap();
            let span = Span { unit: Unit::Day, from: day(from), to: day(from + length) };
            let read = |view: &View| {
                let mut cells: BTreeMap<_, Measures> = BTreeMap::new();
                let each = |row: &[u8], day, more| {
                    *cells.entry((row.to_vec(), day)).or_default() += more;
                };
                view.series(of, span, each).unwrap();
                cells
            };
            let naive = read(&view(Recall::default()));
            let past = recall.past(&(span.from..span.to));
            remembered += u32::from(!past.is_empty() && recall.give(of, &past, |_, _, _| ()));
            assert_eq!(read(&view(recall)), naive, "step {step}");
        }
        assert!(remembered > 50, "{remembered}");
    }

    /// One more in the minute `at`, of three dimensions.
    fn record(sequence: u64, at: u64) -> Record {
        let minute = u32::try_from(at).unwrap();
        let value = format!("v{}", at % 5);
        let measures = Measures { pulls: 1, ..Measures::ZERO };
        let (package, unit) = (0, Unit::Minute);
        let cell = |dimension| {
            let value = value.as_str().into();
            RecordCell { package, dimension, unit, minute, value, measures }
        };
        let cells = Dimension::EVERY.into_iter().take(3).map(cell).collect();
        let shown = "acme.com/x".to_owned();
        let packages = vec![(0, PackageRecord { shown, ..PackageRecord::default() })];
        Record { node: 1, epoch: 1, sequence, packages, cells }
    }

    const DAY: u32 = 24 * 60;
}
