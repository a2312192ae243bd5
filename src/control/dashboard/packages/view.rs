//! What a page of counts shows, as its address says. The address is all there is: whoever is given it
//! sees the same.

use jiff::{SignedDuration, Timestamp};

use crate::aggregator::{Answer, Ask, By, Only};
use crate::pure::chart;
use crate::pure::period::{DEFAULT, NAMED, Period, Piece};
use crate::pure::pull::rollup::{Dimension, Measures, Unit};
use crate::pure::query::put_encoded;

/// What is shown.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// The stretch of time.
    pub(super) period: Period,
    /// The days that were typed, if it was chosen by them.
    days: Option<[String; 2]>,
    /// Only what has these values.
    pub(super) only: Vec<Only>,
    /// What the chart is of.
    pub(super) measure: &'static Measure,
    /// The dimension of which every row is shown.
    pub(super) all: Option<By>,
    /// Whether what says something of some packages only is shown too.
    pub(super) is_more: bool,
}

/// A count that a chart can be of.
#[derive(Debug)]
pub(super) struct Measure {
    /// Its word in the address: as in exports.
    pub(super) word: &'static str,
    /// What it is called.
    pub(super) title: &'static str,
    /// What it counts, in a few words.
    pub(super) hint: &'static str,
    /// The count.
    pub(super) of: fn(&Measures) -> u64,
    /// How it is written in full.
    pub(super) number: fn(u64) -> String,
    /// How it is written at an axis.
    pub(super) short: fn(u64) -> String,
}

impl View {
    /// What these parameters ask for.
    ///
    /// # Errors
    /// Words for whoever typed them.
    pub(super) fn of(params: &[(String, String)], now: Timestamp) -> Result<Self, String> {
        let last = |wanted: &str| {
            params.iter().rev().find(|(key, _)| key == wanted).map(|(_, value)| value.as_str())
        };
        let (range, from, to) = (last("range"), last("from"), last("to"));
        let period = Period::chosen(range, from, to, now)?;
        let typed = |day: Option<&str>| day.unwrap_or_default().to_owned();
        let days = period.name.is_none().then(|| [typed(from), typed(to)]);
        let (only, measure) = (Vec::new(), &MEASURES[0]);
        let mut view = Self { period, days, only, measure, all: None, is_more: false };
        for (key, value) in params {
            match key.as_str() {
                "range" | "from" | "to" => {}
                "measure" => {
                    let known = MEASURES.iter().find(|measure| measure.word == value);
                    view.measure = known.ok_or_else(|| {
                        let words: Vec<_> = MEASURES.iter().map(|it| it.word).collect();
                        format!("There is no measure {value:?}: there are {}.", words.join(", "))
                    })?;
                }
                "all" => view.all = Some(dimension(value)?),
                "more" if value == "true" => view.is_more = true,
                "more" => return Err("More is shown by `more=true`.".to_owned()),
                _ => {
                    let by = dimension(key)?;
                    view.only.retain(|only| only.by != by);
                    view.only.push(Only { by, value: value.clone() });
                }
            }
        }
        Ok(view)
    }

    /// The question about all of it, not grouped.
    pub(super) fn ask(&self, package: Option<&str>) -> Ask {
        let is_whole = self.period.from.is_none();
        Ask {
            package: package.map(str::to_owned),
            only: self.only.clone(),
            from: self.period.from,
            to: (!is_whole || self.days.is_some()).then_some(self.period.to),
            ..Ask::default()
        }
    }

    /// The pieces that its chart is cut into: none shorter than what is shown is counted by.
    pub(super) fn piece(&self, since: Timestamp) -> Piece {
        let by_day = |only: &Only| only.by.dimension().map(Dimension::finest) == Some(Unit::Day);
        // Two things at once are counted by the day, whatever they are.
        let is_by_day = self.only.len() > 1 || self.only.iter().any(by_day);
        let piece = self.period.piece(since);
        if is_by_day && piece == Piece::Hour { Piece::Day } else { piece }
    }

    /// Whether the period before is to be shown beside this one: if it was counted in from its beginning on.
    pub(super) fn compares(&self, since: Timestamp) -> bool {
        let before = self
            .period
            .from
            .and_then(|from| from.checked_sub(self.period.to.duration_since(from)).ok());
        before.is_some_and(|before| since <= before)
    }

    /// The view as the query of an address, with `?` before it; empty for what is shown by default.
    pub(super) fn query(&self) -> String {
        let mut query = String::new();
        let mut add = |key: &str, value: &str| {
            query.push(if query.is_empty() { '?' } else { '&' });
            query.push_str(key);
            query.push('=');
            put_encoded(&mut query, value);
        };
        for (key, value) in self.fields() {
            add(key, &value);
        }
        query
    }

    /// The same as the fields of a form; those of the time last.
    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let mut fields = self.fields_beside_time();
        match (&self.days, self.period.name) {
            (Some([from, to]), _) => {
                let days = [("from", from), ("to", to)].into_iter();
                let days = days.filter(|(_, day)| !day.is_empty());
                fields.extend(days.map(|(key, day)| (key, day.clone())));
            }
            (None, Some(name)) if name != DEFAULT => fields.push(("range", name.to_owned())),
            (None, _) => {}
        }
        fields
    }

    /// What a form that asks for another time has to carry along.
    pub(super) fn fields_beside_time(&self) -> Vec<(&'static str, String)> {
        let only = self.only.iter().map(|only| (only.by.as_str(), only.value.clone()));
        let mut fields: Vec<_> = only.collect();
        if self.measure.word != MEASURES[0].word {
            fields.push(("measure", self.measure.word.to_owned()));
        }
        fields.extend(self.all.map(|by| ("all", by.as_str().to_owned())));
        fields.extend(self.is_more.then(|| ("more", "true".to_owned())));
        fields
    }

    /// The same for only one value more; without it where that is what is shown already.
    pub(super) fn toggled(&self, by: By, value: &str) -> Self {
        let mut view = self.without(by);
        if !self.shows_only(by, value) {
            view.only.push(Only { by, value: value.to_owned() });
        }
        view
    }

    /// Whether only this value is shown.
    pub(super) fn shows_only(&self, by: By, value: &str) -> bool {
        self.only.iter().any(|only| only.by == by && only.value == value)
    }

    /// The same for all values of this.
    pub(super) fn without(&self, by: By) -> Self {
        let mut view = self.clone();
        view.only.retain(|only| only.by != by);
        view
    }

    /// The same for another of the named periods.
    pub(super) fn in_range(&self, name: &'static str) -> Self {
        let period = Period { name: Some(name), ..self.period.clone() };
        Self { period, days: None, ..self.clone() }
    }

    /// The same with another chart.
    pub(super) fn measured(&self, measure: &'static Measure) -> Self {
        Self { measure, ..self.clone() }
    }

    /// The same with every row of this, or of nothing.
    pub(super) fn with_all(&self, all: Option<By>) -> Self {
        Self { all, ..self.clone() }
    }

    /// The same with more, or without.
    pub(super) fn with_more(&self, is_more: bool) -> Self {
        Self { is_more, ..self.clone() }
    }

    /// The days that an answer is of, in words, where that is more than the period: of what is counted by the day the
    /// first hours of a day are not told apart from the rest of it.
    pub(super) fn whole_days(&self, answer: &Answer) -> Option<String> {
        let from =
            answer.from.filter(|from| self.period.from.is_some_and(|asked| *from < asked))?;
        let last = answer.to.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(answer.to);
        let [from, last] = [from, last].map(|day| day.strftime("%-d %b"));
        Some(format!("whole days: {from} to {last} (UTC)"))
    }

    /// The period in words.
    pub(super) fn period_words(&self) -> String {
        let named = NAMED.iter().find(|(name, _, _)| Some(*name) == self.period.name);
        match (named, &self.days) {
            (Some((_, words, _)), _) => (*words).to_owned(),
            (None, Some([from, to])) if from.is_empty() => format!("Up to {to}"),
            (None, Some([from, to])) if to.is_empty() => format!("Since {from}"),
            (None, Some([from, to])) => format!("{from} to {to}"),
            (None, None) => String::new(),
        }
    }

    /// The days that were typed.
    pub(super) fn typed_days(&self) -> [&str; 2] {
        self.days.as_ref().map_or([""; 2], |days| days.each_ref().map(String::as_str))
    }
}

/// A word that counts are told apart by.
fn dimension(word: &str) -> Result<By, String> {
    let by = By::EVERY.into_iter().filter(|by| by.dimension().is_some());
    let mut known = by.clone().filter(|by| by.as_str() == word);
    known.next().ok_or_else(|| {
        let words: Vec<_> = by.map(By::as_str).collect();
        let words = words.join(", ");
        format!("There is nothing called {word:?} here: there are range, from, to, measure, all, more, {words}.")
    })
}

/// All that a chart can be of; the first by default.
pub(super) static MEASURES: [Measure; 6] = [
    Measure {
        word: "pulls",
        title: "Pulls",
        hint: "what people would call a pull, however many requests it took",
        of: |measures| measures.pulls,
        number: chart::grouped,
        short: chart::short,
    },
    Measure {
        word: "daily_uniques",
        title: "Clients",
        hint: "different ones by the day; who came on two days counts twice",
        of: |measures| measures.daily_uniques,
        number: chart::grouped,
        short: chart::short,
    },
    Measure {
        word: "checks",
        title: "Checks",
        hint: "looks for something newer, after which nothing was fetched",
        of: |measures| measures.checks,
        number: chart::grouped,
        short: chart::short,
    },
    Measure {
        word: "supply_chain",
        title: "Supply chain",
        hint: "requests for signatures, attestations and SBOMs",
        of: |measures| measures.supply_chain,
        number: chart::grouped,
        short: chart::short,
    },
    Measure {
        word: "requests",
        title: "Requests",
        hint: "of manifests, each one",
        of: |measures| measures.requests,
        number: chart::grouped,
        short: chart::short,
    },
    Measure {
        word: "blob_bytes",
        title: "Traffic",
        hint: "bytes of layers that went through the gateway",
        of: |measures| measures.blob_bytes,
        number: chart::bytes,
        short: chart::bytes,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn view(params: &[(&str, &str)]) -> Result<View, String> {
        let params: Vec<_> =
            params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        View::of(&params, "2026-11-27T15:30:00Z".parse().unwrap())
    }

    #[test]
    fn an_address_says_the_whole_view_and_is_said_by_it() {
        for (params, query) in [
            (&[][..], ""),
            (&[("range", "30d"), ("measure", "pulls")][..], ""),
            (&[("range", "7d")], "?range=7d"),
            (
                &[("tag", "a b&c"), ("to", "2026-11-01"), ("measure", "checks"), ("all", "tag")],
                "?tag=a%20b%26c&measure=checks&all=tag&to=2026-11-01",
            ),
            (&[("tag", "1"), ("tag", "2")], "?tag=2"),
            (&[("range", "7d"), ("more", "true"), ("os", "linux")], "?os=linux&more=true&range=7d"),
        ] {
            assert_eq!(view(params).unwrap().query(), query);
        }
        for (params, words) in [
            ([("colour", "red")], "There is nothing called \"colour\" here: there are range"),
            ([("day", "2026-01-01")], "There is nothing called \"day\" here"),
            ([("measure", "x")], "there are pulls, daily_uniques"),
            ([("range", "x")], "there are 24h"),
            ([("more", "x")], "by `more=true`"),
        ] {
            let refused = view(&params).unwrap_err();
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn a_click_on_a_row_filters_and_a_second_one_does_not() {
        let plain = view(&[("range", "7d")]).unwrap();
        let filtered = plain.toggled(By::Tag, "latest");
        assert_eq!(filtered.query(), "?tag=latest&range=7d");
        assert_eq!(filtered.toggled(By::Tag, "latest").query(), plain.query());
        assert_eq!(filtered.toggled(By::Tag, "1.0").query(), "?tag=1.0&range=7d");
        assert_eq!(filtered.in_range("90d").query(), "?tag=latest&range=90d");
        let typed = view(&[("from", "2026-01-01")]).unwrap();
        assert_eq!(typed.period_words(), "Since 2026-01-01");
        assert_eq!(typed.in_range("30d").query(), "");
    }

    #[test]
    fn a_period_is_compared_only_with_one_that_was_counted_from_its_beginning() {
        let view = view(&[("range", "7d")]).unwrap();
        for (since, compares) in [
            ("2026-11-14T00:00:00Z", true),
            ("2026-11-14T00:01:00Z", false),
            ("2026-11-27T00:00:00Z", false),
        ] {
            assert_eq!(view.compares(since.parse().unwrap()), compares, "{since}");
        }
    }

    #[test]
    fn what_is_counted_by_the_day_is_said_to_be_of_whole_days() {
        let of = |range: &str, from: &str, to: &str| {
            let [from, to] = [from, to].map(|at| at.parse().unwrap());
            let totals = Measures::ZERO;
            let answer = Answer { from: Some(from), to, rows: Vec::new(), totals, previous: None };
            view(&[("range", range)]).unwrap().whole_days(&answer)
        };
        let days = of("24h", "2026-11-26T00:00:00Z", "2026-11-28T00:00:00Z");
        assert_eq!(days.as_deref(), Some("whole days: 26 Nov to 27 Nov (UTC)"));
        // By the hour; of what was first counted today; and of days anyway.
        assert_eq!(of("24h", "2026-11-26T16:00:00Z", "2026-11-27T16:00:00Z"), None);
        assert_eq!(of("24h", "2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z"), None);
        assert_eq!(of("7d", "2026-11-21T00:00:00Z", "2026-11-28T00:00:00Z"), None);
        assert_eq!(of("all", "2026-11-01T00:00:00Z", "2026-11-28T00:00:00Z"), None);
    }

    #[test]
    fn everything_is_asked_of_the_longest_cells() {
        let ask = view(&[("range", "all")]).unwrap().ask(None);
        assert_eq!((ask.from, ask.to), (None, None));
        let ask = view(&[("to", "2026-01-31"), ("country", "DE")]).unwrap().ask(Some("a/b"));
        assert_eq!((ask.from, ask.to.unwrap().to_string()), (None, "2026-02-01T00:00:00Z".into()));
        assert_eq!((ask.package.as_deref(), ask.only.len()), (Some("a/b"), 1));
    }
}
