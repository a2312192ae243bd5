//! The routes of the dashboard, and whether a table of requests has all of them.

use std::fs::read_to_string;
use std::path::Path;

use serde_json::Value;

use super::gate::Gate;
use super::person::Person;
use super::program::json_of;

/// Method and pattern of each page and form, as the source has them.
pub fn of_pages() -> Vec<(String, String)> {
    let mut routes = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/control/dashboard");
    put_routes(&source, &mut routes);
    assert!(routes.len() > 50, "{routes:?}");
    routes
}

/// Method and pattern of all that the API says it has.
pub fn of_api(gate: &Gate) -> Vec<(String, String)> {
    of_description(&json_of(&Person::before(gate).get("/api/v1/openapi.json")))
}

/// The same of a description.
pub fn of_description(described: &Value) -> Vec<(String, String)> {
    let mut routes = Vec::new();
    for (path, item) in described["paths"].as_object().expect("paths") {
        // Beside these it has only what all methods of a path have in common.
        let methods = item.as_object().expect("methods").iter();
        for (method, _) in methods.filter(|(_, one)| one.is_object()) {
            routes.push((method.to_uppercase(), path.clone()));
        }
    }
    assert!(routes.len() > 45, "{routes:?}");
    routes
}

/// Those of these routes, each a method and a pattern, that none of the rows leads to, each a method and a target.
/// Panics at a row that leads nowhere.
pub fn without_a_row<'r>(
    routes: &[(String, String)],
    rows: impl Iterator<Item = (&'r str, &'r str)>,
) -> Vec<(String, String)> {
    let mut forgotten = routes.to_vec();
    for (method, target) in rows {
        let path = target.split('?').next().unwrap_or_default();
        let route = route_of(routes, method, path);
        let route = route.unwrap_or_else(|| panic!("{method} {target} leads nowhere"));
        forgotten.retain(|one| one != route);
    }
    forgotten
}

/// The one that a method and a path lead to.
pub fn route_of<'r>(
    routes: &'r [(String, String)],
    method: &str,
    path: &str,
) -> Option<&'r (String, String)> {
    let fits = |(of, pattern): &&(String, String)| of == method && leads_to(pattern, path);
    // The one with the longest beginning without a choice, as the router chooses.
    let fixed = |(_, pattern): &&(String, String)| pattern.find('{').unwrap_or(usize::MAX);
    routes.iter().filter(fits).max_by_key(fixed)
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

/// Method and pattern of each `.route("…", get(…).post(…))` in a folder, but those of the API.
fn put_routes(folder: &Path, routes: &mut Vec<(String, String)>) {
    for entry in folder.read_dir().expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("api") {
            put_routes(&path, routes);
            continue;
        }
        let source =
            if path.is_file() { read_to_string(&path).expect("a source") } else { String::new() };
        for call in source.split(".route(\"").skip(1) {
            let (pattern, rest) = call.split_once('"').expect("a pattern");
            let methods = rest.split([';', '}']).next().unwrap_or_default();
            let methods = methods.split(".route(").next().unwrap_or_default();
            for (word, method) in [("get(", "GET"), ("post(", "POST")] {
                if methods.contains(word) {
                    routes.push((method.to_owned(), pattern.to_owned()));
                }
            }
        }
    }
}
