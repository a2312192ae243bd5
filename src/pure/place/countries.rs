//! What countries are called: ISO 3166-1's two letters, and a name that people use.

/// The name of a country; its code where that is none.
pub fn name(code: &str) -> &str {
    let known = NAMES.lines().filter_map(|line| line.split_once(' '));
    known.filter(|(known, _)| *known == code).map(|(_, name)| name).next().unwrap_or(code)
}

/// Code and name, line by line.
const NAMES: &str = include_str!("countries.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_have_names_each_once_and_in_order() {
        assert_eq!(name("DE"), "Germany");
        assert_eq!((name("unknown"), name("")), ("unknown", ""));
        let codes: Vec<_> = NAMES.lines().map(|line| line.split_once(' ').unwrap().0).collect();
        assert!(codes.is_sorted() && codes.len() == 250, "{}", codes.len());
        assert!(codes.windows(2).all(|two| two[0] != two[1]));
        assert!(codes.iter().all(|code| code.len() == 2));
    }
}
