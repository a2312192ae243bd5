//! The configuration file as people meet it: what `check` says of files that are wrong, the files
//! in `config/`, and the pages that are written from the table of keys.
//!
//! `UPDATE=1 cargo test --test config` writes the pages and the expected problems anew.
#![expect(clippy::unwrap_used, reason = "what a test's helpers cannot do, fails it")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use pullgate::pure::client::ClientTable;
use pullgate::pure::config::file::SECTIONS;
use pullgate::pure::config::section::{Header, Key};
use pullgate::pure::config::{Problem, check};
use pullgate::pure::oci::name::Name;
use pullgate::pure::snapshot::{Circumstances, Snapshot};

#[test]
fn each_golden_file_has_exactly_the_problems_beside_it() {
    let files = files_in("tests/golden/config", "toml");
    assert!(!files.is_empty());
    for path in files {
        let name = path.file_name().unwrap().to_str().unwrap();
        let said: String = match check(name, &fs::read_to_string(&path).unwrap()) {
            Ok((_, warnings)) => warnings.iter().map(|one| format!("warning: {one}\n")).collect(),
            Err(problems) => problems.iter().map(|one| format!("{one}\n")).collect(),
        };
        is_current(&path.with_extension("problems"), &said);
    }
}

#[test]
fn the_files_in_config_are_without_a_problem_and_without_a_warning() {
    let mut checked = Vec::new();
    for path in files_in("config", "toml") {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if matches!(name.as_str(), "clients.toml" | "places.toml") {
            continue;
        }
        let (config, warnings) = check(&name, &fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(warnings, []);
        assert!(!config.packages.is_empty(), "{name}");
        checked.push(name);
    }
    assert_eq!(checked, ["demo.toml", "minimal.toml", "pullgate.toml"]);
}

#[test]
fn the_page_of_all_keys_is_current() {
    is_current(Path::new("docs/config.md"), &reference_page());
}

#[test]
fn the_file_of_all_keys_is_current_and_says_the_defaults() {
    let file = reference_file();
    is_current(Path::new("config/pullgate.toml"), &file);
    let (written, _) = check("pullgate.toml", &file).unwrap();
    let (left_out, _) = check("empty.toml", "").unwrap();
    assert_eq!(written.gateway, left_out.gateway);
    assert_eq!(written.admin, left_out.admin);
    assert_eq!(written.log, left_out.log);
    assert_eq!(written.counting, left_out.counting);
    assert_eq!(written.limits, left_out.limits);
    assert_eq!(written.upstream, left_out.upstream);
    assert_eq!(written.cache, left_out.cache);
    assert_eq!(written.insight, left_out.insight);
}

#[test]
fn a_tie_far_down_in_a_large_file_names_both_lines() {
    let mut text = String::new();
    for index in 0..1000 {
        let name = if index == 999 { 0 } else { index };
        let _ = writeln!(text, "[[packages]]\ndomain = 'a.b'\nname = 'acme/p{name}'");
        let _ = writeln!(text, "backend = 'ghcr.io/acme/p{name}'");
    }
    let problems = check("f", &text).err().unwrap();
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let what = "the same name of the same domain stands in line 3 and in line 3999; leave one out";
    assert_eq!(said, [format!("f:3999: packages[999].name: {what}")]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_checked_without_a_panic(text in "\\PC*|[\\x00-\\x7f]{0,80}") {
        holds(&text);
    }

    #[test]
    fn so_is_a_good_file_that_was_damaged(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, "[\\[\\]{}='\"\\n.,#a1 -]{0,3}"), 1..6),
    ) {
        let mut text = reference_file();
        for (at, length, instead) in cuts {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            if text.is_char_boundary(at) && text.is_char_boundary(end) {
                text.replace_range(at..end, &instead);
            }
        }
        holds(&text);
    }
}

/// What holds for every text: each problem prints as one line and lies inside the file; a file
/// without one makes a snapshot.
fn holds(text: &str) {
    match check("f.toml", text) {
        Ok((config, warnings)) => {
            inside(text, &warnings);
            let clients = ClientTable::built_in();
            let circumstances = Circumstances { clients, via: "pullgate", before: None, now_us: 0 };
            let snapshot = Snapshot::build(&config, 1, circumstances);
            let name = Name::parse(b"acme/rocket").unwrap();
            if let Some(found) = snapshot.routes.site(b"registry.acme.com").find(name) {
                let registry = &snapshot.registries[found.registry];
                assert_eq!(found.location[..found.base_length], registry.base);
            }
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(problems.is_sorted_by_key(|problem| problem.line));
            inside(text, &problems);
        }
    }
}

fn inside(text: &str, problems: &[Problem]) {
    for problem in problems {
        assert!((1..=text.lines().count().max(1)).contains(&problem.line), "{problem}");
        assert!(!problem.to_string().contains('\n'), "{problem}");
        assert!(!problem.key.is_empty() && !problem.what.is_empty(), "{problem}");
    }
}

/// `docs/config.md`.
fn reference_page() -> String {
    let mut page = String::from(
        "# The configuration file\n\n\
         Written from `src/pure/config/file.rs` by `UPDATE=1 cargo test --test config`.\n\n\
         The file is TOML. `pullgate check --config FILE` reports everything that is wrong with \
         it, each as `FILE:LINE: key: what is wrong, what is allowed`; of several sections the \
         first is `[0]`. Times and sizes are text with a unit (`\"30s\"`, `\"16KiB\"`). A key \
         without a default must be written. The smallest useful file is \
         [`config/minimal.toml`](../config/minimal.toml); \
         [`config/pullgate.toml`](../config/pullgate.toml) has every key.\n",
    );
    for header in SECTIONS {
        let _ = write!(page, "\n## `{header}`\n\n{}\n\n", flowing(header.doc));
        page.push_str("| key | default | allowed | |\n|---|---|---|---|\n");
        for key in header.keys {
            let default = key.default.map_or_else(|| "-".to_owned(), |text| format!("`{text}`"));
            let (allowed, doc) = ((key.allowed)(), flowing(key.doc));
            let _ = writeln!(page, "| `{}` | {default} | {allowed} | {doc} |", key.name);
        }
    }
    page
}

/// `config/pullgate.toml`.
fn reference_file() -> String {
    let mut file = String::from(
        "# Every key, with its default; what has none shows an example. docs/config.md has the same\n\
         # as a page. Written from src/pure/config/file.rs by `UPDATE=1 cargo test --test config`.\n",
    );
    for header in SECTIONS {
        // What cannot be written without naming files is only an example.
        let of_files = header.keys.iter().any(|key| key.default.is_none() && is_file(key));
        let mark = if of_files { "# " } else { "" };
        let _ = write!(file, "\n{}{mark}{header}\n", commented(header.doc));
        for key in header.keys.iter().filter(|key| !is_section(header, key)) {
            let _ = write!(file, "\n{}", commented(key.doc));
            let (name, allowed) = (key.name, (key.allowed)());
            file.push_str(&commented(&format!("Allowed: {allowed}.")));
            let _ = match (key.default, key.example) {
                // A package lives somewhere, by this key or by the next.
                (_, Some(example)) if name == "backend" => writeln!(file, "{name} = {example}"),
                // A file or an id that is only an example does not exist.
                (Some("\"\""), Some(example)) => writeln!(file, "# {name} = {example}"),
                (Some(value), _) | (None, Some(value)) => writeln!(file, "{mark}{name} = {value}"),
                (None, None) => unreachable!("{name} has neither a default nor an example"),
            };
        }
    }
    file
}

fn is_file(key: &Key) -> bool {
    (key.allowed)() == "the path of a file"
}

fn is_section(header: &Header, key: &Key) -> bool {
    SECTIONS.iter().any(|one| one.name == format!("{}.{}", header.name, key.name))
}

/// A doc comment as one paragraph.
fn flowing(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A doc comment as comment lines of at most 100 columns.
fn commented(doc: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::from("#"));
    for word in doc.split_whitespace() {
        if line.len() + 1 + word.len() > 100 {
            lines.push_str(&line);
            lines.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    lines + &line + "\n"
}

fn files_in(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|is| is == extension)).collect();
    files.sort();
    files
}

/// Whether a file says what it should; with `UPDATE` set it is written.
fn is_current(path: &Path, expected: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path, expected).unwrap();
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == expected,
        "{} is not current. It should say:\n{expected}\nbut says:\n{written}",
        path.display()
    );
}
