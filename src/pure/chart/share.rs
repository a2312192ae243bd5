//! Shares of a whole as bars. They stand in tables, which say the same in words.

use super::put_percent;

/// One bar, `per_mille` thousandths long. What is not nothing is seen.
pub fn bar(per_mille: u64) -> String {
    let mut out = String::from(
        "<svg class=\"bar\" width=\"100%\" height=\"8\" aria-hidden=\"true\" focusable=\"false\">\
         <rect class=\"track\" width=\"100%\" height=\"8\" rx=\"4\"/>",
    );
    if per_mille > 0 {
        out.push_str("<rect class=\"fill\" width=\"");
        put_percent(&mut out, per_mille.max(8));
        out.push_str("\" height=\"8\" rx=\"4\"/>");
    }
    out.push_str("</svg>");
    out
}

/// Bars one behind the other: the class and the thousandths of each.
pub fn stack(parts: &[(&str, u64)]) -> String {
    let mut out = String::from(
        "<svg class=\"stack\" width=\"100%\" height=\"14\" aria-hidden=\"true\" \
         focusable=\"false\"><rect class=\"track\" width=\"100%\" height=\"14\"/>",
    );
    let mut begin = 0;
    for (class, per_mille) in parts.iter().filter(|(_, per_mille)| *per_mille > 0) {
        out.push_str(&format!("<rect class=\"{class}\" x=\""));
        put_percent(&mut out, begin);
        out.push_str("\" width=\"");
        put_percent(&mut out, *per_mille);
        out.push_str("\" height=\"14\"/>");
        begin += per_mille;
    }
    out.push_str("</svg>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::markup::tests::well_formed;

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert!(bar(375).contains("class=\"fill\" width=\"37.5%\""));
        assert!(!bar(0).contains("fill"));
        assert!(bar(1).contains("width=\"0.8%\""), "one pull of a million is seen");
        let parts = [("complete", 500), ("partial", 0), ("unseen", 125)];
        let stacked = stack(&parts);
        assert!(stacked.contains("class=\"unseen\" x=\"50%\" width=\"12.5%\""), "{stacked}");
        assert!(!stacked.contains("partial"));
        for one in [bar(0), bar(1000), stacked, stack(&[])] {
            assert_eq!(well_formed(&one), Ok(()));
        }
    }
}
