//! Medians, and how sure one can be of them.

use std::fmt::{self, Display, Formatter};

use crate::report::number;

/// A median with the interval that it lies in with a probability of 95 % or more.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Median {
    /// The median.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Median {
    /// Of `values`. The interval is between two of them, by rank: nothing is assumed about how they
    /// are distributed. With fewer than six values there is none that sure, and it is from the
    /// least to the greatest.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let value = f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)]);
        let cut = cut(sorted.len());
        Some(Self { value, low: sorted[cut], high: sorted[last - cut] })
    }

    /// Of what was counted, not measured by turns.
    pub fn exact(value: f64) -> Self {
        Self { value, low: value, high: value }
    }
}

impl Display for Median {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { value, low, high } = *self;
        f.write_str(&number(value))?;
        if low < high {
            write!(f, " ({} – {})", number(low), number(high))?;
        }
        Ok(())
    }
}

/// How many values lie outside of the interval at each end: as many as leave a chance of at most
/// 2.5 % that the true median is among or beyond them (a binomial with one half).
fn cut(count: usize) -> usize {
    let mut chance = 0.5_f64.powi(i32::try_from(count).unwrap_or(i32::MAX));
    let mut sum = 0.0;
    let mut cut = 0;
    loop {
        sum += chance;
        if sum > 0.025 || cut >= count / 2 {
            return cut.saturating_sub(1);
        }
        chance *= (count - cut) as f64 / (cut + 1) as f64;
        cut += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_by_rank() {
        // Of tables of the sign test: for 15 values the 4th and the 12th.
        for (count, expected) in [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (15, 3), (20, 5), (25, 7)]
        {
            assert_eq!(cut(count), expected, "{count}");
        }
        let values: Vec<f64> = (1..=15).rev().map(f64::from).collect();
        assert_eq!(Median::of(&values), Some(Median { value: 8.0, low: 4.0, high: 12.0 }));
        assert_eq!(Median::of(&[1.0, 2.0]), Some(Median { value: 1.5, low: 1.0, high: 2.0 }));
        assert_eq!(Median::of(&[]), None);
    }

    #[test]
    fn it_is_told_with_its_interval_where_that_is_one() {
        let median = Median { value: 0.91, low: 0.9, high: 0.954 };
        assert_eq!(median.to_string(), "0.91 (0.90 – 0.95)");
        assert_eq!(Median::exact(3.0).to_string(), "3");
    }
}
