//! Which cells count a stretch of time.

use crate::pure::pull::rollup::Unit;

/// A run of cells of one unit: their first minutes are in `from..to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The unit.
    pub unit: Unit,
    /// The first unit's first minute.
    pub from: u32,
    /// The first minute past the last unit.
    pub to: u32,
}

/// The cells that together count the minutes `from..to`, in order: units as long as fit and no
/// longer than `longest`. Where the cells of a unit before `kept_from(unit)` are gone, the next
/// longer ones that remain are taken whole, so that more than what was asked for is covered.
pub fn spans(from: u32, to: u32, longest: Unit, kept_from: impl Fn(Unit) -> u32) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut at = from;
    while at < to {
        let fits = |unit: Unit| {
            let start = unit.floor(at);
            start == at && start.checked_add(unit.minutes()).is_some_and(|end| end <= to)
        };
        let kept = |unit: Unit| unit.floor(at) >= kept_from(unit);
        let units =
            [Unit::Day, Unit::Hour, Unit::Minute].into_iter().filter(|unit| *unit <= longest);
        let best = units.clone().find(|unit| fits(*unit) && kept(*unit));
        let unit = best.or_else(|| units.clone().rev().find(|unit| kept(*unit))).unwrap_or(longest);
        let start = unit.floor(at);
        let end = match fits(unit) && unit == longest {
            // From here on all that fit, at once.
            true => unit.floor(to),
            false => start.saturating_add(unit.minutes()),
        };
        match spans.last_mut() {
            Some(last) if last.unit == unit && last.to == start => last.to = end,
            _ => spans.push(Span { unit, from: start, to: end }),
        }
        at = end;
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// With everything kept, the spans cover exactly the minutes asked for, each once, and
        /// agree with going minute by minute.
        #[test]
        fn spans_cover_what_was_asked_for(from in 0u32..9000, length in 0u32..9000, day in any::<bool>()) {
            let longest = if day { Unit::Day } else { Unit::Hour };
            let spans = spans(from, from + length, longest, |_| 0);
            let mut at = from;
            for span in &spans {
                prop_assert_eq!(span.from, at);
                prop_assert_eq!(span.unit.floor(span.from), span.from);
                prop_assert_eq!((span.to - span.from) % span.unit.minutes(), 0);
                prop_assert!(span.unit <= longest);
                at = span.to;
            }
            prop_assert_eq!(at, from + length);
            prop_assert!(spans.len() <= 5);
        }

        /// With short units gone, everything asked for is still covered, and nothing twice.
        #[test]
        fn what_is_gone_is_taken_from_longer_units(
            from in 0u32..9000, length in 1u32..9000, minutes in 0u32..20_000, hours in 0u32..20_000,
        ) {
            let kept_from = |unit| match unit {
                Unit::Minute => minutes.max(hours),
                Unit::Hour => hours,
                Unit::Day | Unit::Ever => 0,
            };
            let spans = spans(from, from + length, Unit::Day, kept_from);
            prop_assert!(spans[0].from <= from);
            prop_assert!(spans.last().unwrap().to >= from + length);
            for pair in spans.windows(2) {
                prop_assert_eq!(pair[0].to, pair[1].from);
            }
            for span in &spans {
                prop_assert!(span.from >= kept_from(span.unit));
            }
        }
    }
}
