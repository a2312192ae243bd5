//! Charts as SVG, made to stand inside a page: they have no colours of their own but classes, so that
//! the page's style sheet decides, in the dark and in the light. All of it is whole numbers: the same
//! counts are the same bytes.

pub mod share;
pub mod spark;
pub mod time;
pub mod world;

/// `1,234,567`
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `999`, `1.2k`, `12k`, `3.4M`: three digits at most, cut and not rounded, so that no number is said
/// to be more than it is.
pub fn short(number: u64) -> String {
    scaled(number, 1000, &["", "k", "M", "G", "T", "P", "E"])
}

/// `512 B`, `1.2 GiB`
pub fn bytes(number: u64) -> String {
    scaled(number, 1024, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
}

fn scaled(number: u64, base: u64, units: &[&str]) -> String {
    let (mut scale, mut unit) = (1u64, 0);
    while number / scale >= base && unit + 1 < units.len() {
        scale = scale.saturating_mul(base);
        unit += 1;
    }
    let (whole, name) = (number / scale, units.get(unit).copied().unwrap_or_default());
    let tenth = u128::from(number % scale) * 10 / u128::from(scale);
    if whole < 10 && tenth > 0 {
        format!("{whole}.{tenth}{name}")
    } else {
        format!("{whole}{name}")
    }
}

/// The numbers that an axis shows beside 0: steps of 1, 2 or 5 times a power of ten, of which three
/// to five reach `max`.
pub fn ticks(max: u64) -> Vec<u64> {
    let max = max.max(3);
    let mut power = 1u64;
    loop {
        for factor in [1, 2, 5] {
            let step = power.saturating_mul(factor);
            let count = max.div_ceil(step);
            if count <= TICKS_MAX {
                return (1..=count).map(|tick| tick.saturating_mul(step)).collect();
            }
        }
        power = power.saturating_mul(10);
    }
}

/// `part` of `whole` in thousandths.
pub fn per_mille(part: u64, whole: u64) -> u64 {
    let share = u128::from(part.min(whole)) * 1000 / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(1000)
}

/// Thousandths as hundredths are written: `12.5%`.
fn put_percent(out: &mut String, per_mille: u64) {
    out.push_str(&(per_mille / 10).to_string());
    if !per_mille.is_multiple_of(10) {
        out.push('.');
        out.push_str(&(per_mille % 10).to_string());
    }
    out.push('%');
}

/// A line and the area below it, through values of `top` at most; `x` of one is ten further than that
/// of the one before, from `x_begin`, and `y` is 0 at the top and [`DEPTH`] at the bottom.
fn put_paths(out: &mut String, values: &[u64], top: u64, x_begin: usize) {
    if values.is_empty() {
        return;
    }
    let mut line = String::new();
    for (at, value) in values.iter().enumerate() {
        line.push(if at == 0 { 'M' } else { 'L' });
        line.push_str(&format!("{} {}", x_begin + at * 10, DEPTH - per_mille(*value, top)));
    }
    let x_end = x_begin + values.len().saturating_sub(1) * 10;
    out.push_str(&format!(
        "<path class=\"area\" d=\"{line}L{x_end} {DEPTH}L{x_begin} {DEPTH}Z\"/>\
         <path class=\"line\" d=\"{line}\"/>"
    ));
}

/// How high a plot is, in its own units.
const DEPTH: u64 = 1000;
const TICKS_MAX: u64 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_read_well() {
        for (number, all, few, size) in [
            (0, "0", "0", "0 B"),
            (999, "999", "999", "999 B"),
            (1000, "1,000", "1k", "1000 B"),
            (1234, "1,234", "1.2k", "1.2 KiB"),
            (99_999, "99,999", "99k", "97 KiB"),
            (1_999_999, "1,999,999", "1.9M", "1.9 MiB"),
            (u64::MAX, "18,446,744,073,709,551,615", "18E", "15 EiB"),
        ] {
            assert_eq!(
                (grouped(number), short(number), bytes(number)),
                (all.into(), few.into(), size.into())
            );
        }
    }

    #[test]
    fn ticks_are_round() {
        for (max, expected) in [
            (0, vec![1, 2, 3]),
            (4, vec![1, 2, 3, 4]),
            (17, vec![5, 10, 15, 20]),
            (4321, vec![1000, 2000, 3000, 4000, 5000]),
        ] {
            assert_eq!(ticks(max), expected, "{max}");
        }
    }

    proptest! {
        #[test]
        fn ticks_reach_any_number_and_no_further_than_needed(max in any::<u64>()) {
            let ticks = ticks(max);
            prop_assert!((2..=5).contains(&ticks.len()), "{:?}", ticks);
            prop_assert!(*ticks.last().unwrap() >= max);
            prop_assert!(ticks[ticks.len() - 2] < max.max(3));
        }
    }
}
