//! A line without an axis, as small as a word.

use super::put_paths;
use crate::pure::markup::put_text;

/// The course of `values`; `told` says in words what it shows.
pub fn spark(values: &[u64], told: &str) -> String {
    let width = values.len().saturating_sub(1).max(1) * 10;
    let mut out = format!(
        "<svg class=\"spark\" viewBox=\"0 -40 {width} 1080\" preserveAspectRatio=\"none\" \
         role=\"img\" aria-label=\""
    );
    put_text(&mut out, told);
    out.push_str("\">");
    // One value alone is a level line.
    let level = [values, values].concat();
    let values = if values.len() == 1 { &level[..] } else { values };
    put_paths(&mut out, values, values.iter().max().copied().unwrap_or_default(), 0);
    out.push_str("</svg>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::markup::tests::well_formed;
    use proptest::prelude::*;

    #[test]
    fn it_goes_from_the_first_to_the_last_value() {
        let drawn = spark(&[0, 5, 10], "pulls a day");
        assert!(drawn.contains("class=\"line\" d=\"M0 1000L10 500L20 0\""), "{drawn}");
        assert!(spark(&[7], "").contains("d=\"M0 0L10 0\""));
    }

    proptest! {
        #[test]
        fn any_course_is_well_formed(values in prop::collection::vec(any::<u64>(), 0..40), told in any::<String>()) {
            prop_assert_eq!(well_formed(&spark(&values, &told)), Ok(()));
        }
    }
}
