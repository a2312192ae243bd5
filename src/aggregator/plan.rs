//! How a question is answered: which cells are added up, and what becomes of them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZero;
use std::panic::resume_unwind;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use foldhash::fast::RandomState;
use hashbrown::HashMap;
use jiff::Timestamp;

use crate::aggregator::answer::{Answer, Row};
use crate::aggregator::ask::{Ask, By, Only, QueryError};
use crate::aggregator::clients::OTHER;
use crate::aggregator::clock::Clock;
use crate::aggregator::tally::UNKNOWN;
use crate::aggregator::view::View;
use crate::pure::pull::rollup::{CROSS, Dimension, Measures, Unit};
use crate::pure::pull::spans::{Span, spans};
use crate::pure::pull::threshold::{Shown, hidden};

/// A question that was understood.
pub(super) struct Plan<'a> {
    ask: &'a Ask,
    /// The only package that is looked at, by its number; then a row is always of that package.
    number: Option<u32>,
    dimension: Dimension,
    /// The unit of time asked for.
    unit: Option<Unit>,
    /// The end of the current minute: what is counted now is before it.
    now_end: Timestamp,
    /// Which packages whoever asks may see; all of them where it is `None`.
    seen: Option<&'a (dyn Fn(&str) -> bool + Sync)>,
    /// How many rows there may be beside one for each package.
    rows_max: usize,
    /// Until when is asked for, where that is not now.
    until: Option<Timestamp>,
}

/// The values of a row, of a pair two. Shared, and not only because each is named by many rows: an
/// empty `String` has no place in memory, and to compare with nothing at no place takes a processor with
/// long vectors (AVX-512) two hundred nanoseconds, for it faults where it need not look.
type Values = [Rc<str>; 2];
/// The values, and the first minute of the row's time.
type Key = (Values, u32);
/// The counts of one package, or of all of one domain.
type Cells = BTreeMap<Key, Measures>;
/// What a package, or a domain, is shown as, and the numbers of all that is.
type Group = (Arc<str>, Vec<u32>);
/// The values that have a row of their own.
type Kept = BTreeSet<Values>;

/// The period before, and by how many minutes its times come before those they are beside.
struct Before {
    spans: Vec<Span>,
    shift: u32,
}

/// Cells that are being added up: a row becomes a text once, and not for each of its cells.
#[derive(Default)]
struct Sums {
    numbers: HashMap<Box<[u8]>, usize, RandomState>,
    sums: HashMap<(usize, u32), Measures, RandomState>,
}

impl Sums {
    fn add(&mut self, row: &[u8], minute: u32, measures: Measures) {
        let next = self.numbers.len();
        let number = match self.numbers.get(row) {
            Some(number) => *number,
            None => *self.numbers.entry(row.into()).or_insert(next),
        };
        *self.sums.entry((number, minute)).or_insert(Measures::ZERO) += measures;
    }

    fn into_cells(self) -> Cells {
        let mut rows = vec![Values::default(); self.numbers.len()];
        for (row, number) in self.numbers {
            let text = String::from_utf8_lossy(&row);
            let (first, second) = text.split_once(CROSS).unwrap_or((&text, ""));
            if let Some(values) = rows.get_mut(number) {
                *values = [first.into(), second.into()];
            }
        }
        let sums = self.sums.into_iter();
        sums.filter_map(|((number, minute), sum)| Some(((rows.get(number)?.clone(), minute), sum)))
            .collect()
    }
}

impl<'a> Plan<'a> {
    pub(super) fn of(ask: &'a Ask) -> Result<Self, QueryError> {
        let units: Vec<Unit> = ask.by.iter().filter_map(|by| by.unit()).collect();
        let asked = ask.by.iter().chain(ask.only.iter().map(|only| &only.by));
        let dimensions: BTreeSet<Dimension> = asked.filter_map(|by| by.dimension()).collect();
        let of_pair = |dimension: &Dimension| {
            let pair = dimension.pair().map(|(first, second)| BTreeSet::from([first, second]));
            pair.is_some_and(|pair| pair == dimensions)
        };
        let dimension = match dimensions.len() {
            0 => Some(Dimension::All),
            1 => dimensions.first().copied(),
            _ => Dimension::EVERY.into_iter().find(of_pair),
        };
        let (Some(dimension), 0 | 1) = (dimension, units.len()) else {
            return Err(QueryError::Question(
                "counts are grouped and filtered by one of tag, client, family, os, arch, \
                 platform, image_platform, digest, delivery, outcome, country, region, city, network, \
                 company, kind, cloud, cloud_region, label, or by tag and client, country and tag, \
                 company and tag, and beside that by domain and by one of minute, hour, day"
                    .to_owned(),
            ));
        };
        let unit = units.first().copied();
        if unit.is_some_and(|unit| unit < dimension.finest()) {
            let finest = if dimension.finest() == Unit::Day { "day" } else { "hour" };
            return Err(QueryError::Question(format!(
                "this is counted by the {finest}, no shorter"
            )));
        }
        let now_end = timestamp(Clock::look().minute_now() + 1);
        let to = ask.to.or_else(|| ask.compare.then_some(now_end));
        if let (Some(from), Some(to)) = (ask.from, to)
            && from > to
        {
            return Err(QueryError::Question(format!(
                "counts cannot be from {from} to {to}: from is the earlier time"
            )));
        }
        // A filter, a part of the time, or a row for each day would show what a sum over all hides;
        // so would a sum over packages of which some hide theirs, a region beside its country, or a
        // pair beside what it is of.
        let is_of_places = dimensions.iter().any(|one| Dimension::OF_PLACES.contains(one));
        let is_in_time = unit.is_some() || ask.from.is_some() || ask.to.is_some();
        let is_of_domains = ask.by.contains(&By::Domain);
        let is_narrowed = !ask.only.is_empty() || ask.compare || is_in_time || is_of_domains;
        if ask.public && is_of_places && (is_narrowed || !IN_PUBLIC.contains(&dimension)) {
            let words = "places are shown in public by country, network, company or cloud, each by \
                         itself and over all time: neither filtered, nor compared, nor by the day or \
                         the domain";
            return Err(QueryError::Question(words.to_owned()));
        }
        let (rows_max, seen) = (usize::MAX, None);
        // Two answers of one day would differ by single pulls.
        let today = timestamp(Unit::Day.floor(Clock::look().minute_now()));
        let until = if ask.public && is_of_places { Some(today) } else { ask.to };
        let plan = Self { ask, number: None, dimension, unit, now_end, until, rows_max, seen };
        if ask.compare {
            plan.before(plan.asked())?;
        }
        Ok(plan)
    }

    /// The same of one package.
    pub(super) fn of_package(self, number: u32) -> Self {
        Self { number: Some(number), ..self }
    }

    /// The same for somebody who sees only these packages: others are as if they were not there.
    pub(super) fn seen_by(self, seen: &'a (dyn Fn(&str) -> bool + Sync)) -> Self {
        Self { seen: Some(seen), ..self }
    }

    /// The same, refused where it comes to more rows.
    pub(super) fn bounded(self, rows_max: usize) -> Self {
        Self { rows_max, ..self }
    }

    /// The unit of time that rows are told apart by.
    pub(super) fn unit(&self) -> Option<Unit> {
        self.unit
    }

    /// The answer.
    pub(super) fn run(&self, view: &View) -> Result<Answer, QueryError> {
        let since = view.since();
        let kept_from = view.kept_from()?;
        let spans = self.spans((self.ask.from, self.until), kept_from, since);
        let before = match self.ask.compare {
            false => None,
            true => Some(self.spans_before(&spans, kept_from, since)?),
        };
        let groups = self.groups(view)?;
        let counted = AtomicUsize::new(0);
        let rows =
            in_parts(&groups, |part| self.rows(view, part, &spans, before.as_ref(), &counted))?;
        let from = match self.ask.from {
            Some(_) => spans.first().map(|span| timestamp(span.from)).or(self.ask.from),
            None => since.map(|since| {
                timestamp(since.max(kept_from[self.unit.unwrap_or(Unit::Ever) as usize]))
            }),
        };
        let to = match self.until {
            Some(_) => spans.last().map(|span| timestamp(span.to)).or(self.until),
            None => Some(self.now_end),
        };
        let to = to.unwrap_or(self.now_end);
        let (totals, previous) = (Measures::ZERO, self.ask.compare.then_some(Measures::ZERO));
        let mut answer = Answer { from, to, rows, totals, previous };
        answer.add_up();
        Ok(answer)
    }

    /// The packages that are asked for, by what is the same in their rows.
    fn groups(&self, view: &View) -> Result<Vec<Group>, QueryError> {
        let mut groups: BTreeMap<Arc<str>, Vec<u32>> = BTreeMap::new();
        let mut next = Some(self.number.unwrap_or(0));
        while let Some((number, package)) = next.map_or(Ok(None), |next| view.package(next))? {
            if self.number.is_some_and(|wanted| wanted != number) {
                break;
            }
            if self.has(&package.shown) {
                let shown = &*package.shown;
                let shown = if self.sums_packages() { domain_of(shown) } else { shown };
                groups.entry(shown.into()).or_default().push(number);
            }
            next = number.checked_add(1);
        }
        Ok(groups.into_iter().collect())
    }

    /// The rows of these packages. All parts of an answer have one count of those beside one for
    /// each package.
    fn rows(
        &self,
        view: &View,
        groups: &[Group],
        spans: &[Span],
        before: Option<&Before>,
        counted: &AtomicUsize,
    ) -> Result<Vec<Row>, QueryError> {
        let mut rows = Vec::new();
        for (shown, numbers) in groups {
            let cells = self.sum(view, numbers, spans)?;
            let cells_before = match before {
                None => Cells::new(),
                Some(Before { spans, shift }) => {
                    let later = |((values, minute), measures)| ((values, minute + shift), measures);
                    self.sum(view, numbers, spans)?.into_iter().map(later).collect()
                }
            };
            let more = cells.len().max(cells_before.len()).saturating_sub(numbers.len());
            self.is_within(counted.fetch_add(more, Ordering::Relaxed).saturating_add(more))?;
            self.add_rows(shown, cells, cells_before, &mut rows);
        }
        Ok(rows)
    }

    /// The period before the one that `spans` cover.
    fn spans_before(
        &self,
        spans: &[Span],
        kept_from: [u32; Unit::EVERY.len()],
        since: Option<u32>,
    ) -> Result<Before, QueryError> {
        // Where short cells are gone more is covered than was asked for: of both the same.
        let asked = self.asked();
        let widest = spans.first().zip(spans.last()).map_or(asked, |(first, last)| {
            (asked.0.map(|from| from.min(timestamp(first.from))), asked.1.max(timestamp(last.to)))
        });
        let (from, to) = self.before(widest)?;
        let spans = self.spans((Some(from), Some(to)), kept_from, since);
        let is_wider = spans.first().is_some_and(|first| timestamp(first.from) < from)
            || spans.last().is_some_and(|last| timestamp(last.to) > to);
        if is_wider {
            let words = "of the period before only whole hours or days are left: compare those";
            return Err(QueryError::Question(words.to_owned()));
        }
        let shift = if self.unit.is_some() { minute_of(to) - minute_of(from) } else { 0 };
        Ok(Before { spans, shift })
    }

    /// Adds the rows of one package: what may be shown of it, and what was asked for.
    fn add_rows(&self, package: &Arc<str>, cells: Cells, cells_before: Cells, rows: &mut Vec<Row>) {
        let (mut cells, mut cells_before) = (cells, cells_before);
        if self.ask.public {
            let kept = self.crowded(&cells);
            (cells, cells_before) = (self.only(cells, &kept), self.only(cells_before, &kept));
            cells.retain(|_, measures| self.leave_public(measures));
            cells_before.retain(|_, measures| self.leave_public(measures));
        }
        if let Some(top) = self.ask.top {
            let kept = self.first_of(&cells, top);
            (cells, cells_before) = (self.only(cells, &kept), self.only(cells_before, &kept));
        }
        for key in cells_before.keys() {
            cells.entry(key.clone()).or_insert(Measures::ZERO);
        }
        let first = rows.len();
        for (key, measures) in cells {
            let before = || cells_before.get(&key).copied().unwrap_or(Measures::ZERO);
            let previous = self.ask.compare.then(before);
            let (values, minute) = key;
            let shown = |by| self.shown(by, package, &values, minute);
            let keys = self.ask.by.iter().map(|by| (*by, shown(*by)));
            rows.push(Row {
                package: if self.sums_packages() { Arc::default() } else { Arc::clone(package) },
                keys: keys.collect(),
                measures,
                previous,
            });
        }
        if let (Some(_), None, Some(rows)) = (self.ask.top, self.unit, rows.get_mut(first..)) {
            // What was asked for most stands first, and the rest last.
            rows.sort_by_key(|row| {
                let is_rest = row.keys.iter().all(|(_, value)| value == OTHER);
                (is_rest, Reverse(row.measures.pulls))
            });
        }
    }

    /// Whether this package is asked for.
    pub(super) fn has(&self, shown: &str) -> bool {
        let mut domains = self.ask.only.iter().filter(|only| only.by == By::Domain);
        self.ask.package.as_ref().is_none_or(|wanted| wanted == shown)
            && domains.all(|only| only.value == domain_of(shown))
            && self.seen.is_none_or(|is_seen| is_seen(shown))
    }

    /// Whether a row is of all packages of a domain.
    fn sums_packages(&self) -> bool {
        self.ask.by.contains(&By::Domain) && self.number.is_none()
    }

    /// What the cells of these packages in these spans come to, with a row for what is not known.
    fn sum(&self, view: &View, numbers: &[u32], spans: &[Span]) -> Result<Cells, QueryError> {
        let mut sum = Cells::new();
        for number in numbers {
            self.add_package(view, *number, spans, &mut sum)?;
            self.is_within(sum.len().saturating_sub(numbers.len()))?;
        }
        Ok(sum)
    }

    /// Adds what the cells of one package come to.
    fn add_package(
        &self,
        view: &View,
        number: u32,
        spans: &[Span],
        sum: &mut Cells,
    ) -> Result<(), QueryError> {
        let mut known = self.cells(view, number, self.dimension, spans)?;
        if let Some(whole) = self.dimension.whole() {
            // Of a pair the tag is known.
            let tag_at = self.place_of(By::Tag);
            let is_pair = self.dimension.pair().is_some();
            // Pairs beyond their bound are in one row that names neither; each tag's own rest
            // has them.
            known.retain(|(values, _), _| !is_pair || !values[1].is_empty());
            let mut rest = self.cells(view, number, whole, spans)?;
            for ((values, minute), measures) in &known {
                let tag = values.get(tag_at).filter(|_| is_pair).cloned();
                let key = ([tag.unwrap_or_default(), Rc::default()], *minute);
                if let Some(whole) = rest.get_mut(&key) {
                    *whole = whole.without(*measures);
                }
            }
            for (([tag, _], minute), measures) in rest {
                let measures = self.dimension.told(measures.without(Measures::ZERO));
                let unknown = UNKNOWN.into();
                let values = if tag_at == 0 && is_pair { [tag, unknown] } else { [unknown, tag] };
                if measures != Measures::ZERO {
                    *known.entry((values, minute)).or_insert(Measures::ZERO) += measures;
                }
            }
        }
        known.retain(|(values, _), _| self.is_wanted(values));
        for ((values, minute), measures) in known {
            let key = (self.kept(values), minute);
            *sum.entry(key).or_insert(Measures::ZERO) += measures;
        }
        Ok(())
    }

    /// Leaves of a public row what everybody may know; whether anything is left. Of places that are pulls:
    /// what hides beside what is weighed by them. Companies that come one by one are nobody's matter.
    fn leave_public(&self, measures: &mut Measures) -> bool {
        *measures = match self.is_of_places() {
            true => Measures { pulls: measures.pulls, ..Measures::ZERO },
            false => Measures { monthly_companies: 0, public_days: 0, ..*measures },
        };
        *measures != Measures::ZERO
    }

    fn is_of_places(&self) -> bool {
        let (first, second) = self.dimension.pair().unwrap_or((self.dimension, Dimension::All));
        [first, second].iter().any(|one| Dimension::OF_PLACES.contains(one))
    }

    /// What of a package may be shown in public.
    fn crowded(&self, cells: &Cells) -> Kept {
        let needs_crowd = self.is_of_places();
        let sums = by_values(cells);
        let shown = sums.iter().map(|(values, measures)| Shown {
            values: values.each_ref().map(|value| &**value),
            count: measures.pulls,
            has_crowd: (needs_crowd && values.iter().all(|value| **value != *UNKNOWN))
                .then_some(measures.public_days > 0),
        });
        let hidden = hidden(&shown.collect::<Vec<_>>());
        let visible = sums.into_keys().enumerate().filter(|(at, _)| !hidden.contains(at));
        visible.map(|(_, values)| values.clone()).collect()
    }

    fn cells(
        &self,
        view: &View,
        package: u32,
        dimension: Dimension,
        spans: &[Span],
    ) -> Result<Cells, QueryError> {
        let mut sums = Sums::default();
        for span in spans {
            view.series((package, dimension), *span, |row, minute, measures| {
                // One beyond the bound is enough to be refused.
                if sums.sums.len() <= self.rows_max {
                    sums.add(row, self.unit.map_or(0, |unit| unit.floor(minute)), measures);
                }
            })?;
            self.is_within(sums.sums.len())?;
        }
        Ok(sums.into_cells())
    }

    fn is_within(&self, rows: usize) -> Result<(), QueryError> {
        match rows > self.rows_max {
            false => Ok(()),
            true => Err(QueryError::Question(format!(
                "this comes to more than {} rows: ask for less time, longer units of time, one \
                 package, or fewer things at once; `pullgate export` on the gateway's machine writes \
                 as many as there are",
                self.rows_max
            ))),
        }
    }

    /// Where a word's value stands among those of a row.
    fn place_of(&self, by: By) -> usize {
        let second = self.dimension.pair().map(|(_, second)| second);
        usize::from(second.is_some() && by.dimension() == second)
    }

    fn is_wanted(&self, values: &Values) -> bool {
        let fits =
            |only: &Only| values.get(self.place_of(only.by)).map(|it| &**it) == Some(&*only.value);
        self.ask.only.iter().filter(|only| only.by != By::Domain).all(fits)
    }

    /// Only what the rows are told apart by.
    fn kept(&self, mut values: Values) -> Values {
        for (at, value) in values.iter_mut().enumerate() {
            let is_asked = |by: &By| by.dimension().is_some() && self.place_of(*by) == at;
            if !self.ask.by.iter().any(is_asked) {
                *value = Rc::default();
            }
        }
        values
    }

    fn shown(&self, by: By, package: &str, values: &Values, minute: u32) -> String {
        match (by, by.unit()) {
            (By::Domain, _) => domain_of(package).to_owned(),
            (_, Some(_)) => timestamp(minute).to_string(),
            (_, None) => values.get(self.place_of(by)).map(|it| it.to_string()).unwrap_or_default(),
        }
    }

    /// From when and until when it is asked for.
    fn asked(&self) -> (Option<Timestamp>, Timestamp) {
        (self.ask.from, self.until.unwrap_or(self.now_end))
    }

    /// The period that is as long as this one and ends where it begins.
    fn before(
        &self,
        (from, to): (Option<Timestamp>, Timestamp),
    ) -> Result<(Timestamp, Timestamp), QueryError> {
        let wrong = |words: &str| Err(QueryError::Question(words.to_owned()));
        let Some(from) = from else {
            return wrong("a period is compared with the one before it: say from when it is");
        };
        let Ok(before) = from.checked_sub(from.duration_until(to)) else {
            return wrong("there is no time before that");
        };
        let minutes = minute_of(from) - minute_of(before);
        if self.unit.is_some_and(|unit| !minutes.is_multiple_of(unit.minutes())) {
            return wrong("compared by such units, a period has to be a whole number of them");
        }
        Ok((before, from))
    }

    /// The row of everything that has none of its own.
    fn rest(&self) -> Values {
        self.kept([OTHER, OTHER].map(Rc::from))
    }

    /// The values with the most pulls; among equals the order of their names decides.
    fn first_of(&self, cells: &Cells, top: usize) -> Kept {
        let rest = self.rest();
        let mut ranked: Vec<_> = by_values(cells).into_iter().collect();
        ranked.sort_by_key(|(values, sum)| (Reverse(sum.pulls), Reverse(sum.requests), *values));
        // What is counted together already stays with the rest.
        let own = ranked.into_iter().map(|(values, _)| values).filter(|values| **values != rest);
        own.take(top).cloned().collect()
    }

    /// Everything else together.
    fn only(&self, cells: Cells, kept: &Kept) -> Cells {
        let mut out = Cells::new();
        for ((values, minute), measures) in cells {
            let values = if kept.contains(&values) { values } else { self.rest() };
            *out.entry((values, minute)).or_insert(Measures::ZERO) += measures;
        }
        out
    }

    /// Which cells are added up.
    fn spans(
        &self,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
        kept_from: [u32; Unit::EVERY.len()],
        since: Option<u32>,
    ) -> Vec<Span> {
        if from.is_none() && to.is_none() {
            let unit = self.unit.unwrap_or(Unit::Ever);
            return vec![Span { unit, from: kept_from[unit as usize], to: u32::MAX }];
        }
        let Some(since) = since else {
            return Vec::new();
        };
        // Nothing was counted before the first minute: no need to look there. Its day is whole all the same:
        // some of what is counted is counted by the day.
        let from = from.map_or(0, minute_of).max(Unit::Day.floor(since));
        let to = to.map_or_else(
            || minute_of(self.now_end),
            |to| {
                let whole = minute_of(to);
                if timestamp(whole) == to { whole } else { whole + 1 }
            },
        );
        spans(from, to, self.unit.unwrap_or(Unit::Day), |unit| {
            if unit < self.dimension.finest() { u32::MAX } else { kept_from[unit as usize] }
        })
    }
}

/// What `rows` makes of all groups, in their order; of many by several threads.
fn in_parts(
    groups: &[Group],
    rows: impl Fn(&[Group]) -> Result<Vec<Row>, QueryError> + Sync,
) -> Result<Vec<Row>, QueryError> {
    let most = groups.len().div_ceil(GROUPS_MIN);
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(most);
    if threads <= 1 {
        return rows(groups);
    }
    let rows = &rows;
    let parts = groups.chunks(groups.len().div_ceil(threads));
    let parts: Vec<_> = thread::scope(|scope| {
        let parts: Vec<_> = parts.map(|part| scope.spawn(move || rows(part))).collect();
        let done = parts.into_iter().map(|part| part.join());
        done.map(|part| part.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let parts: Vec<_> = parts.into_iter().collect::<Result<_, _>>()?;
    Ok(parts.into_iter().flatten().collect())
}

/// The sums over all time.
fn by_values(cells: &Cells) -> BTreeMap<&Values, Measures> {
    let mut sums = BTreeMap::new();
    for ((values, _), measures) in cells {
        *sums.entry(values).or_insert(Measures::ZERO) += *measures;
    }
    sums
}

/// The domain of a package that is shown so.
fn domain_of(shown: &str) -> &str {
    shown.split_once('/').map_or(shown, |(domain, _)| domain)
}

/// How many packages are worth a thread of their own.
const GROUPS_MIN: usize = 64;
/// Places that may be shown in public: none of these is part of another.
const IN_PUBLIC: [Dimension; 4] =
    [Dimension::Country, Dimension::Network, Dimension::Company, Dimension::Cloud];

pub(super) fn timestamp(minute: u32) -> Timestamp {
    Timestamp::from_second(i64::from(minute) * 60).unwrap_or(Timestamp::MAX)
}

pub(super) fn minute_of(time: Timestamp) -> u32 {
    u32::try_from(time.as_second().div_euclid(60).max(0)).unwrap_or(u32::MAX)
}
