//! What is still to be read of the counts for one day, and who is to hear of it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use jiff::Timestamp;

use super::counted::{busiest, last_week, last_week_of_all, yesterday};
use super::news::News;
use crate::aggregator::{Query, QueryError};
use crate::control::accounts::alerts::Alert;
use crate::pure::alert::Event;
use crate::pure::period::Piece;

/// What the counts are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// Whether the day before was unusual for this package.
    Day(String),
    /// What the week before came to, of this package.
    Week(String),
    /// The same of all packages.
    WeekOfAll,
    /// Which packages were pulled most: their days are read then.
    Busiest,
}

/// What they answer.
#[derive(Debug)]
pub(super) enum Found {
    /// This is to be told, if anything is.
    News(Option<News>),
    /// The days of these packages are to be read.
    Packages(Vec<String>),
}

/// A day that has begun.
pub(super) struct Day {
    /// When it did.
    pub(super) today: Timestamp,
    /// What is to be read, and for whom.
    left: VecDeque<(Question, Vec<Alert>)>,
    /// What could not be read, from when on it is tried again.
    failed: VecDeque<(Question, Vec<Alert>)>,
    again: Timestamp,
}

impl Question {
    /// Reads the answer, which may take a while.
    pub(super) fn read(&self, query: &Query, today: Timestamp) -> Result<Found, QueryError> {
        match self {
            Self::Day(package) => yesterday(query, package, today).map(Found::News),
            Self::Week(package) => last_week(query, package, today).map(Some).map(Found::News),
            Self::WeekOfAll => last_week_of_all(query, today).map(Some).map(Found::News),
            Self::Busiest => busiest(query, today).map(Found::Packages),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Day(package) => write!(f, "the day of {package}"),
            Self::Week(package) => write!(f, "the week of {package}"),
            Self::WeekOfAll => f.write_str("the week of all packages"),
            Self::Busiest => f.write_str("the packages that were pulled most"),
        }
    }
}

impl Day {
    /// What is to be read for these: first of single packages, then of all.
    pub(super) fn of(alerts: &[Alert], today: Timestamp) -> Self {
        let hears = |alert: &Alert, event, since: Timestamp| {
            alert.events.contains(&event) && alert.created_s < since.as_second()
        };
        let monday = Piece::Week.begin(today);
        let (mut days, mut weeks) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::<_, Vec<_>>::new());
        let (mut days_of_all, mut week_of_all) = (Vec::new(), Vec::new());
        for alert in alerts {
            if hears(alert, Event::Weekly, monday) {
                let hear = match &alert.package {
                    Some(package) => weeks.entry(package).or_default(),
                    None => &mut week_of_all,
                };
                hear.push(alert.clone());
            }
            if hears(alert, Event::Unusual, today) {
                let hear = match &alert.package {
                    Some(package) => days.entry(package).or_default(),
                    None => &mut days_of_all,
                };
                hear.push(alert.clone());
            }
        }
        let days = days.into_iter().map(|(package, hear)| (Question::Day(package.clone()), hear));
        let weeks = weeks.into_iter().map(|(of, hear)| (Question::Week(of.clone()), hear));
        let of_all = [(Question::WeekOfAll, week_of_all), (Question::Busiest, days_of_all)];
        let of_all = of_all.into_iter().filter(|(_, hear)| !hear.is_empty());
        let left = days.chain(weeks).chain(of_all).collect();
        Self { today, left, failed: VecDeque::new(), again: today }
    }

    /// What is to be read next, and for whom.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<(Question, Vec<Alert>)> {
        if self.left.is_empty() && self.again <= now {
            std::mem::swap(&mut self.left, &mut self.failed);
        }
        self.left.pop_front()
    }

    /// The day of this package is to be read as well.
    pub(super) fn add(&mut self, package: String, hear: &[Alert]) {
        self.left.push_back((Question::Day(package), hear.to_vec()));
    }

    /// This could not be read: it is tried again later, after all the rest.
    pub(super) fn put_off(&mut self, question: Question, hear: Vec<Alert>, until: Timestamp) {
        self.failed.push_back((question, hear));
        self.again = until;
    }
}
