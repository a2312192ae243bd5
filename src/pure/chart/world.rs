//! A map of the world on which every country has a square of the same size, so that small ones are seen
//! too. Its neighbours are roughly where they are; where that matters, a table beside it says the rest.

use super::per_mille;
use crate::pure::markup::put_text;

/// A country, by its two letters; how many; and what is said when it is pointed at.
pub type Country<'c> = (&'c str, u64, String);

/// The map. Countries without a square are left out, those without a count are empty squares.
pub fn map(countries: &[Country<'_>], told: &str) -> String {
    let most = countries.iter().map(|(_, value, _)| *value).max().unwrap_or_default();
    let mut out =
        String::from("<svg class=\"world\" viewBox=\"0 0 300 170\" role=\"img\" aria-label=\"");
    put_text(&mut out, told);
    out.push_str("\">");
    for (row, line) in SQUARES.lines().enumerate() {
        for (column, code) in line.split(' ').enumerate().filter(|(_, code)| *code != NOBODY) {
            let (x, y) = (column * 10, row * 10);
            let country = countries.iter().find(|(known, _, _)| *known == code);
            let level = country.map_or(0, |(_, value, _)| level(*value, most));
            out.push_str(&format!("<g class=\"l{level}\"><rect x=\"{x}\" y=\"{y}\" width=\"9\" height=\"9\" rx=\"2\"/>"));
            if let Some((_, _, words)) = country {
                out.push_str(&format!(
                    "<text x=\"{}.5\" y=\"{}\">{code}</text><title>",
                    x + 4,
                    y + 6
                ));
                put_text(&mut out, words);
                out.push_str("</title>");
            }
            out.push_str("</g>");
        }
    }
    out.push_str("</svg>");
    out
}

/// From 0, nothing, to 5, at least half as much as the most: shares differ by powers, and so do the steps.
fn level(value: u64, most: u64) -> usize {
    let share = per_mille(value, most);
    let steps = [10, 50, 200, 500];
    if value == 0 { 0 } else { 1 + steps.iter().filter(|step| share >= **step).count() }
}

/// Line by line from the north, in each from the west.
const SQUARES: &str = include_str!("world.txt");
const NOBODY: &str = "--";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::markup::tests::well_formed;
    use crate::pure::place::countries;

    #[test]
    fn countries_are_shaded_by_their_share() {
        let countries = [
            ("DE", 1000, "Germany: 1,000".to_owned()),
            ("CH", 30, "<b>".to_owned()),
            ("XX", 5, String::new()),
        ];
        let map = map(&countries, "Pulls by country");
        assert_eq!(well_formed(&map), Ok(()));
        assert_eq!(map.matches("class=\"l5\"").count(), 1, "{map}");
        assert_eq!(map.matches("class=\"l2\"").count(), 1, "{map}");
        assert!(map.contains("<title>Germany: 1,000</title>") && !map.contains("<b>"));
    }

    #[test]
    fn every_square_is_a_country_of_its_own() {
        let mut codes: Vec<_> = SQUARES.split_whitespace().filter(|code| *code != NOBODY).collect();
        assert!(codes.iter().all(|code| countries::name(code) != *code), "{codes:?}");
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!((codes.len(), all), (197, 197));
    }
}
