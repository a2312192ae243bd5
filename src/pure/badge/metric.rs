//! How wide text is in Verdana, in which badges are written: the advance of each printable ASCII
//! character in thousandths of the font's size. Where Verdana is not there the browser stretches
//! what it has to the same width (`textLength`).

/// A cut of the font.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Verdana.
    Regular,
    /// Verdana Bold.
    Bold,
}

/// The width of `text` in tenths of a pixel, in letters of so many pixels.
pub fn width(text: &str, cut: Cut, pixels: u32) -> u32 {
    let thousandths: u32 = text.chars().map(|one| advance(one, cut)).sum();
    thousandths * pixels / 100
}

fn advance(one: char, cut: Cut) -> u32 {
    let table = match cut {
        Cut::Regular => &REGULAR,
        Cut::Bold => &BOLD,
    };
    let known = u32::from(one).checked_sub(FIRST).and_then(|at| usize::try_from(at).ok());
    match known.and_then(|at| table.get(at)) {
        Some(advance) => u32::from(*advance),
        None if is_wide(one) => 1000,
        // As wide as an m: rather some room too much than letters pushed into each other.
        None => u32::from(table[usize::from(b'm' - b' ')]),
    }
}

/// Scripts whose characters fill a square.
fn is_wide(one: char) -> bool {
    matches!(u32::from(one), 0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0x1f300..=0x1faff | 0x20000..=0x3fffd)
}

/// The space.
const FIRST: u32 = 0x20;
#[rustfmt::skip]
const REGULAR: [u16; 95] = [
    352, 394, 459, 818, 636, 1076, 727, 269, 454, 454, 636, 818, 364, 454, 364, 454,
    636, 636, 636, 636, 636, 636, 636, 636, 636, 636, 454, 454, 818, 818, 818, 545,
    1000, 684, 686, 698, 771, 632, 575, 775, 751, 421, 455, 693, 557, 843, 748, 787,
    603, 787, 695, 684, 616, 732, 684, 989, 685, 615, 685, 454, 454, 454, 818, 636,
    636, 601, 623, 521, 623, 596, 352, 623, 633, 274, 344, 592, 274, 973, 633, 607,
    623, 623, 427, 521, 394, 633, 592, 818, 592, 592, 525, 635, 454, 635, 818,
];
#[rustfmt::skip]
const BOLD: [u16; 95] = [
    342, 402, 587, 867, 711, 1272, 862, 332, 543, 543, 711, 867, 361, 480, 361, 689,
    711, 711, 711, 711, 711, 711, 711, 711, 711, 711, 402, 402, 867, 867, 867, 617,
    964, 776, 762, 724, 830, 683, 650, 811, 837, 546, 555, 771, 637, 948, 847, 850,
    733, 850, 782, 710, 682, 812, 764, 1128, 764, 737, 692, 543, 689, 543, 867, 711,
    711, 668, 699, 588, 699, 664, 422, 699, 712, 342, 403, 671, 342, 1058, 712, 687,
    699, 699, 497, 593, 456, 712, 650, 979, 669, 651, 597, 711, 543, 711, 867,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_as_wide_as_in_the_font() {
        for (text, tenths) in [("", 0), ("build", 266), ("passing", 417), ("12k", 205)] {
            assert_eq!(width(text, Cut::Regular, 11), tenths, "{text}");
        }
        assert_eq!(width("m", Cut::Regular, 10), width("é", Cut::Regular, 10));
        assert_eq!(width("日", Cut::Bold, 10), 100);
    }
}
