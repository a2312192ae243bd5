//! Rules about code.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Part, Source};
use crate::{NEVER, TESTS_NEVER};

/// A folder of `src/`, and what holds in it.
pub struct Floor {
    /// The folder.
    pub name: &'static str,
    /// The floors that it may name.
    pub ours: &'static [&'static str],
    /// The dependencies that it may name, its unit tests aside.
    pub outside: &'static [&'static str],
    /// What it never says, its unit tests aside.
    pub never: &'static [&'static str],
}

/// What a floor may name of another.
pub struct Items {
    /// Who.
    pub floor: &'static str,
    /// Whose.
    pub of: &'static str,
    /// What.
    pub allowed: &'static [&'static str],
}

/// A file that says what its floor, or a test, never says.
pub struct Exception {
    /// The file.
    pub file: &'static str,
    /// What it says.
    pub says: &'static str,
    /// For what reason.
    pub why: &'static str,
}

/// Who names a floor, an item or a dependency that it may not; and allowances that nobody uses.
pub fn imports(
    sources: &[Source],
    floors: &[Floor],
    items: &[Items],
    dependencies: &BTreeSet<String>,
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut used = BTreeSet::new();
    for source in sources {
        let Some(floor) = floor_of(source, floors) else {
            continue;
        };
        let mut check = |line: usize, allowed: &[&str], other: &str, of: &str| {
            used.insert((floor.name, format!("{of}{other}")));
            if !allowed.contains(&other) {
                problems.push(format!(
                    "{}:{line}: {} may not name {of}{other}; it may name: {}",
                    source.file,
                    floor.name,
                    allowed.join(", ")
                ));
            }
        };
        for (part, path) in named(source) {
            let named = part.resolve(path).unwrap_or_default();
            let mut segments = named.iter().map(String::as_str);
            let other = segments.next().unwrap_or_default();
            if other == floor.name || floors.iter().all(|floor| floor.name != other) {
                continue;
            }
            check(path.line, floor.ours, other, "");
            let item = segments.next().unwrap_or("as a whole");
            for items in items.iter().filter(|items| (items.floor, items.of) == (floor.name, other))
            {
                check(path.line, items.allowed, item, &format!("{other}::"));
            }
        }
        for path in source.code.paths.iter().filter(|path| path.segments.len() > 1) {
            if let Some(outside) =
                path.segments.first().filter(|first| dependencies.contains(*first))
            {
                check(path.line, floor.outside, outside, "");
            }
        }
    }
    let floors = floors.iter().flat_map(|floor| {
        let allowed = floor.ours.iter().chain(floor.outside);
        allowed.map(|other| (floor.name, (*other).to_owned()))
    });
    let items = items.iter().flat_map(|items| {
        let allowed = items.allowed.iter();
        allowed.map(|item| (items.floor, format!("{}::{item}", items.of)))
    });
    for (floor, other) in floors.chain(items).filter(|allowed| !used.contains(allowed)) {
        problems.push(format!("{TABLES}: {floor} may name {other}, but does not: take it out"));
    }
    problems
}

/// Who says what it never says; and exceptions that are none.
pub fn words(sources: &[Source], floors: &[Floor], exceptions: &[Exception]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut used = BTreeSet::new();
    for source in sources {
        let mut check = |part: &Part, never: &[&str]| {
            for says in never {
                let exception = exceptions
                    .iter()
                    .position(|one| (one.file, one.says) == (source.file.as_str(), *says));
                for line in part.lines_saying(says) {
                    match exception {
                        Some(index) => drop(used.insert(index)),
                        None => problems.push(format!("{}:{line}: `{says}`", source.file)),
                    }
                }
            }
        };
        check(&source.code, NEVER);
        check(&source.tests, NEVER);
        check(&source.tests, TESTS_NEVER);
        if source.file.starts_with("tests/") {
            check(&source.code, TESTS_NEVER);
        }
        if let Some(floor) = floor_of(source, floors) {
            check(&source.code, floor.never);
        }
    }
    for (index, Exception { file, says, why }) in exceptions.iter().enumerate() {
        if !used.contains(&index) {
            problems.push(format!(
                "{TABLES}: {file} may say `{says}` because {why}, but does not: take it out"
            ));
        }
    }
    problems
}

/// Files of one floor that name each other in a circle. Naming the `mod.rs` of one's own folder
/// does not count: it is the folder's face, and names all files in it anyway.
pub fn circles(sources: &[Source]) -> Vec<String> {
    let files: BTreeMap<&[String], &Source> = sources
        .iter()
        .filter(|source| source.file.starts_with("src/") && !source.code.module.is_empty())
        .map(|source| (source.code.module.as_slice(), source))
        .collect();
    let mut names: BTreeMap<&[String], BTreeSet<&[String]>> = BTreeMap::new();
    for (module, source) in &files {
        for path in source.code.paths.iter().filter(|path| path.segments.len() > 1) {
            // A path that does not say where it begins may begin with a file below this one.
            let named = source.code.resolve(path);
            let named = named.unwrap_or_else(|| [*module, &path.segments].concat());
            let file =
                (1..=named.len()).rev().find_map(|length| files.get_key_value(&named[..length]));
            if let Some((file, _)) = file
                && file.first() == module.first()
                && !module.starts_with(file)
            {
                names.entry(module).or_default().insert(file);
            }
        }
    }
    let mut problems = Vec::new();
    while let Some(circle) = names.keys().find_map(|start| way_back(start, &names)) {
        let shown: Vec<&str> = circle.iter().map(|module| files[module].file.as_str()).collect();
        problems.push(format!("{} name each other in a circle", shown.join(" -> ")));
        // Cut, to see the next one.
        names.remove(circle[0]);
    }
    problems
}

/// A shortest way from `start` back to it.
fn way_back<'m>(
    start: &'m [String],
    names: &BTreeMap<&'m [String], BTreeSet<&'m [String]>>,
) -> Option<Vec<&'m [String]>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in names.get(way.last()?).into_iter().flatten() {
                let way = [way.as_slice(), &[*next]].concat();
                if *next == start {
                    return Some(way);
                }
                if seen.insert(*next) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

/// `unsafe` without a `SAFETY:` in the three lines above it. An `unsafe fn` is not meant: it asks
/// for one where it is called.
pub fn unsound(source: &Source) -> Vec<String> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut problems = Vec::new();
    for part in [&source.code, &source.tests] {
        for pair in part.tokens.windows(2) {
            let (line, words) = (pair[0].line, [&*pair[0].text, &*pair[1].text]);
            let above = &lines[line.saturating_sub(4)..line];
            if words[0] == "unsafe"
                && words[1] != "fn"
                && !above.iter().any(|line| line.contains("SAFETY:"))
            {
                let file = &source.file;
                problems.push(format!("{file}:{line}: no `SAFETY:` in the three lines above"));
            }
        }
    }
    problems
}

/// All that `source` names, with the part that does.
fn named(source: &Source) -> impl Iterator<Item = (&Part, &crate::source::Path)> {
    let parts = [&source.code, &source.tests].into_iter();
    parts.flat_map(|part| part.paths.iter().map(move |path| (part, path)))
}

fn floor_of<'f>(source: &Source, floors: &'f [Floor]) -> Option<&'f Floor> {
    let folder = source.file.strip_prefix("src/")?.split('/').next()?;
    floors.iter().find(|floor| floor.name == folder)
}

/// Where the tables are.
const TABLES: &str = "tests/tidy/main.rs";

#[cfg(test)]
mod tests {
    use super::*;

    const FLOORS: &[Floor] = &[
        Floor {
            name: "pure",
            ours: &[],
            outside: &["httparse"],
            never: &["unsafe", "std::fs", "println!"],
        },
        Floor {
            name: "worker",
            ours: &["pure"],
            outside: &["monoio"],
            never: &["thread::sleep", "block_on"],
        },
        Floor { name: "aggregator", ours: &[], outside: &[], never: &[] },
        Floor { name: "control", ours: &["aggregator"], outside: &[], never: &[] },
    ];
    const ITEMS: &[Items] = &[Items { floor: "control", of: "aggregator", allowed: &["Query"] }];

    /// Files that use every allowance above, and nothing else.
    const GOOD: &[(&str, &str)] = &[
        (
            "src/pure/head.rs",
            "//! crate::worker, unsafe\nuse httparse::Status;\nconst A: &str = \"crate::worker println!\";\n\
             #[cfg(test)]\nmod tests { use std::fs; fn a() { monoio::start() } }",
        ),
        ("src/worker/mod.rs", "use crate::{pure::{head, limits}, worker::tick};\nuse monoio::net;"),
        ("src/control/mod.rs", "use crate::aggregator::Query;"),
        ("src/main.rs", "fn main() { crate::worker::run(); monoio_http::run() }"),
    ];

    /// What is said of one more file with `text`, beside the good ones.
    fn said_of(file: &str, text: &str) -> Vec<String> {
        let more = GOOD.iter().copied().chain([(file, text)]);
        let sources: Vec<Source> = more.map(|(file, text)| Source::new(file, text)).collect();
        let dependencies = ["httparse", "monoio"].map(str::to_owned).into();
        let mut problems = imports(&sources, FLOORS, ITEMS, &dependencies);
        problems.extend(words(&sources, FLOORS, &[]));
        problems.extend(circles(&sources));
        problems.extend(sources.iter().flat_map(unsound));
        problems
    }

    #[test]
    fn good_samples_pass() {
        assert_eq!(said_of("src/lib.rs", ""), [""; 0]);
    }

    #[test]
    fn bad_samples_are_found() {
        for (file, text, expected) in [
            (
                "src/pure/a.rs",
                "\nuse crate::worker;",
                "src/pure/a.rs:2: pure may not name worker; it may name: ",
            ),
            (
                "src/pure/a.rs",
                "use crate::{\n pure::b,\n worker::{c, d}};",
                "src/pure/a.rs:3: pure may not name worker; it may name: ",
            ),
            (
                "src/pure/mod.rs",
                "fn a() { super::worker::run() }",
                "src/pure/mod.rs:1: pure may not name worker; it may name: ",
            ),
            (
                "src/pure/a.rs",
                "#[cfg(test)]\nmod tests { use crate::worker::run; }",
                "src/pure/a.rs:2: pure may not name worker; it may name: ",
            ),
            (
                "src/control/admin/api.rs",
                "fn a(x: &str) -> crate::worker::Worker {}",
                "src/control/admin/api.rs:1: control may not name worker; it may name: aggregator",
            ),
            (
                "src/control/a.rs",
                "use crate::aggregator::store;",
                "src/control/a.rs:1: control may not name aggregator::store; it may name: Query",
            ),
            (
                "src/control/a.rs",
                "use crate::aggregator;",
                "src/control/a.rs:1: control may not name aggregator::as a whole; it may name: Query",
            ),
            (
                "src/pure/a.rs",
                "fn a() { monoio::net::b() }",
                "src/pure/a.rs:1: pure may not name monoio; it may name: httparse",
            ),
            ("src/worker/a.rs", "use super::super::pure;", "src/worker/a.rs:1: `super::super`"),
            ("src/pure/a.rs", "use std::{fs, io};", "src/pure/a.rs:1: `std::fs`"),
            ("src/pure/a.rs", "fn a() { println!(\"\") }", "src/pure/a.rs:1: `println!`"),
            ("src/worker/a.rs", "fn a(b: B) { b.block_on(c) }", "src/worker/a.rs:1: `block_on`"),
            ("tests/a.rs", "fn a() {\n thread::sleep(b) }", "tests/a.rs:2: `sleep(`"),
            (
                "src/worker/a.rs",
                "#[cfg(test)]\nmod tests { fn a() { thread::sleep(b) } }",
                "src/worker/a.rs:2: `sleep(`",
            ),
            ("tests/a.rs", "#[test]\n#[ignore]\nfn a() {}", "tests/a.rs:2: `#[ignore]`"),
            (
                "src/worker/a.rs",
                "// SAFETY: far away.\n\n\n\nunsafe { a() }",
                "src/worker/a.rs:5: no `SAFETY:` in the three lines above",
            ),
        ] {
            let said = said_of(file, text);
            assert!(said.contains(&expected.to_owned()), "{file}: {text}: {said:#?}");
        }
    }

    #[test]
    fn a_circle_of_files_is_shown_and_a_folder_s_face_is_none() {
        let said = |files: &[(&str, &str)]| {
            let sources: Vec<Source> =
                files.iter().map(|(file, text)| Source::new(file, text)).collect();
            circles(&sources)
        };
        assert_eq!(
            said(&[
                ("src/worker/a.rs", "use super::b::B;"),
                ("src/worker/b.rs", "use crate::worker::c;"),
                ("src/worker/c/mod.rs", "fn d() { crate::worker::a::d() }"),
                ("src/worker/e.rs", "use super::a;"),
            ]),
            ["src/worker/a.rs -> src/worker/b.rs -> src/worker/c/mod.rs -> src/worker/a.rs \
              name each other in a circle"]
        );
        assert_eq!(
            said(&[
                ("src/worker/mod.rs", "mod a; use a::A; pub struct Worker;"),
                ("src/worker/a.rs", "use super::Worker; #[cfg(test)] mod tests { use super::b; }"),
                ("src/worker/b.rs", "use crate::worker::a;"),
            ]),
            [""; 0]
        );
    }

    #[test]
    fn allowances_that_nobody_uses_are_found() {
        let none = imports(&[], FLOORS, ITEMS, &BTreeSet::new());
        assert_eq!(none.len(), 5, "{none:#?}");
        assert!(none[0].ends_with("pure may name httparse, but does not: take it out"));
        let exception = Exception { file: "src/pure/head.rs", says: "unsafe", why: "it is fast" };
        let unused = words(&[], FLOORS, &[exception]);
        assert!(unused[0].ends_with("it is fast, but does not: take it out"), "{unused:?}");
    }
}
