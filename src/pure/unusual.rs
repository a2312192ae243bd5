//! Whether a day's pulls are unusual, by those of the days before. What is usual differs by the weekday:
//! machines that build pull on working days.

/// How a day was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusual {
    /// Far more than usual.
    Surge {
        /// What was to be expected.
        usual: u64,
    },
    /// Far less than usual.
    Drop {
        /// What was to be expected.
        usual: u64,
    },
}

/// Looks at the last of `days`, which are whole, without a gap and in their order. `None` where it is as
/// usual, or where too little is known or counted to say.
///
/// It is compared with the same weekday of the weeks before (three at the least, eight at the most), or
/// where there are not so many with the seven days before: with their median, by their median deviation
/// from it. Both are not moved by one strange day among them.
pub fn unusual(days: &[u64]) -> Option<Unusual> {
    let (&day, before) = days.split_last()?;
    let mut alike: Vec<u64> =
        before.iter().rev().skip(6).step_by(7).take(WEEKS_MAX).copied().collect();
    if alike.len() < WEEKS_MIN {
        alike = before.iter().rev().take(7).copied().collect();
        if alike.len() < 7 {
            return None;
        }
    }
    let usual = median(&mut alike);
    let mut off: Vec<u64> = alike.iter().map(|value| value.abs_diff(usual)).collect();
    // Of a normal distribution the deviation is one and a half times that; pulls that come by chance
    // differ by their root, and a tenth is nothing to write home about.
    let spread = (median(&mut off) * 3 / 2).max(usual.isqrt()).max(usual / 10).max(1);
    let differs = day.abs_diff(usual);
    let is_far = differs >= DIFFERENCE_MIN && differs / spread >= SPREADS;
    match day > usual {
        true if is_far && day / 2 >= usual => Some(Unusual::Surge { usual }),
        false if is_far && day <= usual / 2 => Some(Unusual::Drop { usual }),
        true | false => None,
    }
}

/// Of an even number the higher one of the two in the middle.
fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Weeks that are looked back at.
const WEEKS_MIN: usize = 3;
const WEEKS_MAX: usize = 8;
/// Days that are looked at: the last one, and those before it.
pub const DAYS: usize = 1 + 7 * WEEKS_MAX;
/// Fewer pulls more or less are nobody's business.
const DIFFERENCE_MIN: u64 = 50;
/// How many spreads are far.
const SPREADS: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Weeks of working days and week-ends, the last day being a Friday.
    fn weeks(many: usize) -> Vec<u64> {
        [300, 310, 1000, 1100, 1050, 980, 1020].repeat(many)
    }

    #[test]
    fn what_differs_much_from_the_same_weekday_is_unusual() {
        let last = |mut days: Vec<u64>, value| {
            days.push(value);
            unusual(&days)
        };
        // A Saturday comes next.
        assert_eq!(last(weeks(4), 310), None);
        assert_eq!(last(weeks(4), 1000), Some(Unusual::Surge { usual: 300 }));
        assert_eq!(last(weeks(4), 100), Some(Unusual::Drop { usual: 300 }));
        assert_eq!(last(weeks(4), 0), Some(Unusual::Drop { usual: 300 }));
        assert_eq!(last(weeks(4), 200), None, "it differs, but not by half");
        // A surge some weeks ago does not make the next one usual.
        let mut days = weeks(5);
        days[14] = 50_000;
        assert_eq!(last(days, 2000), Some(Unusual::Surge { usual: 300 }));
        // With two weeks the days before are all there is.
        assert_eq!(last(weeks(2), 300), Some(Unusual::Drop { usual: 1000 }));
        assert_eq!(last(vec![1000; 7], 5000), Some(Unusual::Surge { usual: 1000 }));
        assert_eq!(last(vec![1000; 6], 5000), None, "too little is known");
        assert_eq!(last(vec![2; 30], 40), None, "too few to say anything");
        assert_eq!(last(vec![0; 30], 0), None);
        assert_eq!(last(vec![0; 30], 60), Some(Unusual::Surge { usual: 0 }));
        // What scatters always is unusual only where it is far beyond that.
        let scattered = [100, 900, 1500, 300, 1200].repeat(12);
        assert_eq!(last(scattered, 250), None);
        assert_eq!(unusual(&[]), None);
    }

    proptest! {
        #[test]
        fn what_is_as_ever_is_never_unusual_and_nothing_panics(
            days in prop::collection::vec(0u64..u64::MAX / 4, 0..70),
            level in 0u64..1_000_000,
        ) {
            let _ = unusual(&days);
            prop_assert_eq!(unusual(&vec![level; 40]), None);
        }
    }
}
