//! Whether a table of requests has all routes that there are.

/// Those of these routes, each a method and a pattern, that none of the rows leads to, each a method and a target.
/// Panics at a row that leads nowhere.
pub fn without_a_row<'r>(
    routes: &[(String, String)],
    rows: impl Iterator<Item = (&'r str, &'r str)>,
) -> Vec<(String, String)> {
    let mut forgotten = routes.to_vec();
    for (method, target) in rows {
        let path = target.split('?').next().unwrap_or_default();
        let fits = |(of, pattern): &&(String, String)| of == method && leads_to(pattern, path);
        // The one with the longest beginning without a choice, as the router chooses.
        let fixed = |(_, pattern): &&(String, String)| pattern.find('{').unwrap_or(usize::MAX);
        let route = routes.iter().filter(fits).max_by_key(fixed);
        let route = route.unwrap_or_else(|| panic!("{method} {target} leads nowhere"));
        forgotten.retain(|one| one != route);
    }
    forgotten
}

/// Whether a path is one of this pattern: `{one}` stands for a part of it, `{*all}` for the rest.
fn leads_to(pattern: &str, path: &str) -> bool {
    match pattern.split_once("{*") {
        Some((before, _)) => path.strip_prefix(before).is_some_and(|rest| !rest.is_empty()),
        None => {
            let (parts, of) = (path.split('/'), pattern.split('/'));
            parts.clone().count() == of.clone().count()
                && of.zip(parts).all(|(of, part)| of == part || of.starts_with('{'))
        }
    }
}
