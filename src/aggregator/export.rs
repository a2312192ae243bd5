//! All counts row by row: of one package and one stretch of time after another, so that no more than
//! that is in memory, however many there are.

use std::collections::{BTreeSet, VecDeque};

use jiff::Timestamp;
use serde::Serialize;

use crate::aggregator::answer::Row;
use crate::aggregator::ask::{Ask, QueryError};
use crate::aggregator::clock::Clock;
use crate::aggregator::counts::CountsError;
use crate::aggregator::plan::{Plan, minute_of, timestamp};
use crate::aggregator::query::{Held, Patience, Query};
use crate::aggregator::schema::cell_range;
use crate::aggregator::view::View;
use crate::pure::pull::rollup::{Dimension, Unit};

/// An export that is under way. The order of packages is that in which they were first counted.
pub struct Export {
    query: Query,
    ask: Ask,
    /// The unit of time that rows are told apart by.
    unit: Option<Unit>,
    /// A view of the counts, and until when it is used: nothing can be repaired meanwhile.
    view: Option<(Held, u64)>,
    /// How many packages there were in the beginning.
    of: u64,
    /// How many are done.
    done: u64,
    /// The package that is under way, and what is left of it.
    package: u32,
    stretches: VecDeque<Stretch>,
    /// The first number that was not looked at yet; `None` past the last.
    next: Option<u32>,
}

/// From when, and until when.
type Stretch = (Option<Timestamp>, Option<Timestamp>);

/// What belongs to one package and one stretch of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Portion {
    /// Its rows, in the order of an answer.
    pub rows: Vec<Row>,
    /// How many packages are done.
    pub done: u64,
    /// How many there are.
    pub of: u64,
}

impl Export {
    /// The rows that `ask` asks for; `top`, `compare` and `public` are not for exports.
    ///
    /// # Errors
    /// The question cannot be answered, or not now.
    pub fn begin(query: Query, ask: Ask) -> Result<Self, QueryError> {
        let Ask { top, compare, public, .. } = ask;
        if top.is_some() || compare || public {
            let words =
                "an export has all rows: it is neither cut, nor compared, nor for the public";
            return Err(QueryError::Question(words.to_owned()));
        }
        let unit = Plan::of(&ask)?.unit();
        let mut export = Self {
            query,
            ask,
            unit,
            view: None,
            of: 0,
            done: 0,
            package: 0,
            stretches: VecDeque::new(),
            next: Some(0),
        };
        export.of = export.steadily(|view| Ok(view.count_packages()?))?;
        Ok(export)
    }

    /// Lets go of the store, which cannot be repaired while it is looked at: for somebody who is going
    /// to wait.
    pub fn rest(&mut self) {
        self.view = None;
    }

    /// The next portion that has rows; `None` after the last.
    ///
    /// # Errors
    /// The counts cannot be read now.
    pub fn portion(&mut self) -> Result<Option<Portion>, QueryError> {
        loop {
            let Some((from, to)) = self.stretches.pop_front() else {
                if !self.begin_package()? {
                    return Ok(None);
                }
                continue;
            };
            let ask = Ask { from, to, ..self.ask.clone() };
            let number = self.package;
            let answer = self.steadily(|view| Plan::of(&ask)?.of_package(number).run(view))?;
            if !answer.rows.is_empty() {
                // What is under way counts as done with its last portion.
                let done = self.done - u64::from(!self.stretches.is_empty());
                return Ok(Some(Portion { rows: answer.rows, done, of: self.of.max(done) }));
            }
        }
    }

    /// Goes on to the next package that is asked for, if there is one.
    fn begin_package(&mut self) -> Result<bool, QueryError> {
        while let Some(from) = self.next {
            let Some((number, package)) = self.steadily(|view| Ok(view.package(from)?))? else {
                self.next = None;
                break;
            };
            self.next = number.checked_add(1);
            self.done += 1;
            let ask = self.ask.clone();
            if Plan::of(&ask)?.has(&package.shown) {
                self.package = number;
                let unit = self.unit;
                self.stretches = self.steadily(|view| Ok(stretches(view, number, &ask, unit)?))?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What `read` makes of a view, in which nothing is half written.
    fn steadily<T>(
        &mut self,
        mut read: impl FnMut(&View) -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        let patience = Patience::new();
        loop {
            let now_us = Clock::look().now_us;
            let kept = self.view.take().filter(|(_, until_us)| now_us < *until_us);
            let (view, until_us) = match kept {
                Some(kept) => kept,
                None => (self.query.view()?, now_us.saturating_add(VIEW_US_MAX)),
            };
            let told = read(&view)?;
            if !view.is_stale()? {
                self.view = Some((view, until_us));
                return Ok(told);
            }
            patience.check()?;
        }
    }
}

/// The stretches of time whose rows are read at once: everything where rows are not told apart by time,
/// else those of the days that have any.
fn stretches(
    view: &View,
    package: u32,
    ask: &Ask,
    unit: Option<Unit>,
) -> Result<VecDeque<Stretch>, CountsError> {
    let Some(unit) = unit else {
        return Ok([(ask.from, ask.to)].into());
    };
    let from = ask.from.map_or(0, |from| Unit::Day.floor(minute_of(from)));
    let to = ask.to.map_or(u32::MAX, |to| minute_of(to).saturating_add(1));
    let mut days = BTreeSet::new();
    let range = cell_range(Unit::Day, package, Dimension::All, from..to);
    view.cells(range, |cell, _| {
        days.insert(cell.minute);
    })?;
    // Where minutes are gone the day stands for them, and must not be read in parts.
    let minutes_from = view.kept_from()?[Unit::Minute as usize];
    let mut parts: Vec<(u32, u32)> = Vec::new();
    for day in days {
        let end = day.saturating_add(Unit::Day.minutes());
        match parts.last_mut() {
            Some((first, last)) if *last == day && end - *first <= minutes_at_once(unit) => {
                *last = end;
            }
            _ if unit == Unit::Minute && day >= minutes_from => {
                let hours = (day..end).step_by(Unit::Hour.minutes() as usize);
                parts.extend(hours.map(|hour| (hour, hour + Unit::Hour.minutes())));
            }
            _ => parts.push((day, end)),
        }
    }
    let within = |(first, end): (u32, u32)| {
        let from = ask.from.map_or_else(|| timestamp(first), |asked| asked.max(timestamp(first)));
        let to = ask.to.map_or_else(|| timestamp(end), |asked| asked.min(timestamp(end)));
        (from < to).then_some((Some(from), Some(to)))
    };
    Ok(parts.into_iter().filter_map(within).collect())
}

/// How much is read at once: some ten thousand rows where there are a thousand in each unit.
fn minutes_at_once(unit: Unit) -> u32 {
    match unit {
        Unit::Minute | Unit::Hour => Unit::Day.minutes(),
        Unit::Day | Unit::Ever => 31 * Unit::Day.minutes(),
    }
}

/// How long one view is used: taking one costs what is not in sled yet, so that it is worth keeping for
/// many packages.
const VIEW_US_MAX: u64 = 1_000_000;
