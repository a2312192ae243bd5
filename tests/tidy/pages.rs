//! Rules about what is written: the pages, the README, the manifest.

use std::collections::BTreeSet;
use std::path::Path;

use crate::code::Floor;
use crate::source::{Kind, Source};

/// Notes to ourselves.
pub fn left_for_later(file: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(word) = words.find(|word| LATER.contains(word)) {
            let line = index + 1;
            problems.push(format!("{file}:{line}: `{word}`: do it now, or open an issue"));
        }
    }
    problems
}

/// A page that has not exactly one title, and its links and pictures that are not there.
pub fn page(file: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut problems = Vec::new();
    let mut titles = 0;
    for (line, text) in prose(text) {
        titles += usize::from(text.starts_with("# "));
        for target in
            targets(text).filter(|target| !target.contains(':') && !target.starts_with('#'))
        {
            let target = target.split('#').next().unwrap_or_default();
            if !exists(&Path::new(file).with_file_name(target)) {
                problems.push(format!("{file}:{line}: there is no {target}"));
            }
        }
    }
    if titles != 1 {
        problems.push(format!("{file}: one line begins with `# `, not {titles}"));
    }
    problems
}

/// The lines outside of code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    let lines = text.lines().enumerate();
    lines.filter_map(move |(index, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        (!is_code && !is_fence).then_some((index + 1, line))
    })
}

/// Where the links and pictures of a line lead, in Markdown and in HTML.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"'), ("href=\"", '"')].into_iter().flat_map(
        move |(begin, end)| {
            let behind = line.split(begin).skip(1);
            behind.filter_map(move |rest| rest.split(end).next())
        },
    )
}

/// Commands, of the command line's `enum Command`, that the README does not show.
pub fn commands(arguments: &Source, readme: &str) -> Vec<String> {
    let tokens = &arguments.code.tokens;
    let begin =
        tokens.windows(2).position(|pair| pair[0].text == "enum" && pair[1].text == "Command");
    let after = begin.map_or(&[][..], |begin| &tokens[begin..]);
    let end = after.iter().position(|token| token.text == "}");
    let body = end.map_or(after, |end| &after[..end]);
    let mut commands = body
        .windows(2)
        .filter(|pair| pair[0].kind == Kind::Word && pair[1].text == "(")
        .map(|pair| format!("`pullgate {}", pair[0].text.to_lowercase()))
        .peekable();
    if commands.peek().is_none() {
        return vec![format!("{}: no `enum Command` with commands", arguments.file)];
    }
    commands
        .filter(|command| !readme.contains(command))
        .map(|command| format!("README.md: no {command}`"))
        .collect()
}

/// Metrics that the operators' page lacks, and those on it that are none.
pub fn metrics(sources: &[Source], page: &str) -> Vec<String> {
    let is_metric = |name: &&str| {
        METRICS.iter().any(|prefix| name.starts_with(prefix))
            && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    };
    let shipped = sources.iter().filter(|source| source.file.starts_with("src/"));
    let made: BTreeSet<&str> = shipped
        .flat_map(|source| &source.code.tokens)
        .filter(|token| token.kind == Kind::Text)
        .map(|token| token.text.trim_matches('"'))
        .filter(is_metric)
        .collect();
    let said: BTreeSet<&str> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.split('{').next())
        .filter(is_metric)
        .collect();
    let lacking = made.difference(&said).map(|name| format!("docs/operating.md: no `{name}`"));
    let unknown =
        said.difference(&made).map(|name| format!("docs/operating.md: `{name}` is no metric"));
    lacking.chain(unknown).collect()
}

/// The names of the dependencies that ship, as code spells them.
pub fn dependencies(manifest: &str) -> BTreeSet<String> {
    let dependencies = listed(manifest).into_iter();
    dependencies
        .filter(|dependency| dependency.section == "dependencies")
        .map(|dependency| dependency.name.replace('-', "_"))
        .collect()
}

/// Dependencies without a comment above them, `# floor: what for`, and comments that say other
/// floors than the table.
pub fn reasons(manifest: &str, floors: &[Floor]) -> Vec<String> {
    let mut problems = Vec::new();
    for dependency in listed(manifest) {
        let Dependency { line, name, .. } = dependency;
        let Some((said, _)) = dependency.comment.split_once(": ") else {
            problems.push(format!("Cargo.toml:{line}: {name}: no comment `# floor: what for`"));
            continue;
        };
        let spelt = name.replace('-', "_");
        let users = floors.iter().filter(|floor| floor.outside.contains(&spelt.as_str()));
        let users: Vec<&str> = users.map(|floor| floor.name).collect();
        let said: Vec<&str> = said.split(", ").flat_map(|floors| floors.split(" and ")).collect();
        if dependency.section == "dependencies" && said != users {
            let (said, users) = (said.join(", "), users.join(", "));
            problems.push(format!(
                "Cargo.toml:{line}: {name}: the comment says {said}, the table of floors {users}"
            ));
        }
    }
    problems
}

struct Dependency<'m> {
    line: usize,
    section: &'m str,
    name: &'m str,
    /// The first line of the comment above it, or above those that it follows without a gap.
    comment: &'m str,
}

fn listed(manifest: &str) -> Vec<Dependency<'_>> {
    let mut listed = Vec::new();
    let (mut section, mut comment, mut before) = ("", "", "");
    for (index, text) in manifest.lines().enumerate() {
        if let Some(words) = text.strip_prefix("# ") {
            if !before.starts_with('#') {
                comment = words;
            }
        } else if let Some(header) = text.strip_prefix('[') {
            (section, comment) = (header.trim_end_matches(']'), "");
        } else if let Some((name, _)) = text.split_once(" = ") {
            if section.ends_with("dependencies") {
                listed.push(Dependency { line: index + 1, section, name, comment });
            }
        } else {
            comment = "";
        }
        before = text;
    }
    listed
}

/// What is said instead of doing it.
const LATER: &[&str] = &["TODO", "FIXME", "XXX"];

/// What metrics' names begin with.
const METRICS: &[&str] = &["pullgate_", "process_"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_to_ourselves_are_found() {
        assert_eq!(left_for_later("a.rs", "mktemp pg.XXXXXX\nlet todo = 1;"), [""; 0]);
        let said = left_for_later("a.rs", "\n// FIXME: this");
        assert_eq!(said, ["a.rs:2: `FIXME`: do it now, or open an issue"]);
    }

    #[test]
    fn a_page_has_one_title_and_links_that_lead_somewhere() {
        let page = |text| page("docs/a.md", text, |target| target == Path::new("docs/b.svg"));
        assert_eq!(
            page("# A\n[1](https://a.b/c) [2](#d) ![3](b.svg) [4](b.svg#e)\n```\n# f [](g)\n```"),
            [""; 0]
        );
        assert_eq!(
            page("## A\n<img src=\"b.svg\"> <img src=\"c.svg\"> [d](e.md)"),
            [
                "docs/a.md:2: there is no e.md",
                "docs/a.md:2: there is no c.svg",
                "docs/a.md: one line begins with `# `, not 0"
            ]
        );
        assert_eq!(page("# A\n# B"), ["docs/a.md: one line begins with `# `, not 2"]);
    }

    #[test]
    fn a_command_that_the_readme_lacks_is_found() {
        let arguments = |text| Source::new("args.rs", text);
        let enumeration = "struct Cli { command: Command } enum Command { /// Go\n Go(Arguments), Stop(Arguments) } fn a(b: C) {}";
        let readme = "`pullgate go --fast`, `pullgate stop`";
        assert_eq!(commands(&arguments(enumeration), readme), [""; 0]);
        assert_eq!(
            commands(&arguments(enumeration), "`pullgate go`, pullgate stop"),
            ["README.md: no `pullgate stop`"]
        );
        assert_eq!(
            commands(&arguments("fn a() {}"), readme),
            ["args.rs: no `enum Command` with commands"]
        );
    }

    #[test]
    fn metrics_and_the_page_say_the_same() {
        let source = "const A: &str = \"pullgate_a_total\";\nconst B: &str = \"pullgate-demo\";\n\
                      #[cfg(test)]\nmod tests { const C: &str = \"pullgate_c\"; }";
        let sources = [Source::new("src/a.rs", source)];
        assert_eq!(metrics(&sources, "| `pullgate_a_total{b=\"c\"}` |"), [""; 0]);
        assert_eq!(
            metrics(&sources, "`pullgate_d`"),
            [
                "docs/operating.md: no `pullgate_a_total`",
                "docs/operating.md: `pullgate_d` is no metric"
            ]
        );
    }

    #[test]
    fn a_dependency_says_whose_it_is() {
        let floors = [Floor { name: "pure", ours: &[], outside: &["a_b"], never: &[] }];
        let said = |manifest: &str| reasons(manifest, &floors);
        let good =
            "[dependencies]\n# pure: parsing,\n# and: more\na-b = \"1\"\n[package]\nc = \"d\"\n";
        assert_eq!(said(good), [""; 0]);
        assert_eq!(dependencies(good), ["a_b".to_owned()].into());
        assert_eq!(
            said("[dependencies]\n# pure: parsing\na-b = \"1\"\nc = \"1\"\n\nd = \"1\"\n"),
            [
                "Cargo.toml:4: c: the comment says pure, the table of floors ",
                "Cargo.toml:6: d: no comment `# floor: what for`"
            ]
        );
    }
}
