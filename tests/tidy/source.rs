//! A Rust file as the house rules see it: words and marks with their lines, and the paths that are
//! named, without comments. What stands in a comment or a string never breaks a rule about code.

use std::path::Path as FilePath;

/// A file under `src/` or `tests/`.
pub struct Source {
    /// Where it is, from the package's root: `src/worker/slots.rs`.
    pub file: String,
    /// All of it.
    pub text: String,
    /// What ships.
    pub code: Part,
    /// The unit tests at its bottom.
    pub tests: Part,
}

/// A part of a file.
pub struct Part {
    /// Which module it is, from the crate's root: `worker`, `slots`.
    pub module: Vec<String>,
    /// What it is made of.
    pub tokens: Vec<Token>,
    /// What it names.
    pub paths: Vec<Path>,
}

/// The least that means something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The line it begins in, from 1.
    pub line: usize,
    /// What sort it is.
    pub kind: Kind,
    /// As written; a text with its quotes.
    pub text: String,
}

/// Sorts of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An identifier, a keyword, a number.
    Word,
    /// `::`, or any other single character.
    Mark,
    /// A string literal.
    Text,
}

/// A path as it is named, in a `use` or in place: `crate::pure::{fault::Kind, limits}` is two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The line its last part begins in, from 1.
    pub line: usize,
    /// From its first segment on, as written.
    pub segments: Vec<String>,
}

impl Source {
    /// Reads `text`, the contents of `file`.
    pub fn new(file: &str, text: &str) -> Self {
        let mut code = tokens(text);
        // House style: unit tests are the last thing in a file.
        let bottom = code.windows(TESTS_BEGIN.len()).position(|window| {
            window.iter().zip(TESTS_BEGIN).all(|(token, text)| token.text == *text)
        });
        let tests = code.split_off(bottom.unwrap_or(code.len()));
        let module = module(file);
        let mut module_of_tests = module.clone();
        module_of_tests.push("tests".to_owned());
        Self {
            file: file.to_owned(),
            text: text.to_owned(),
            code: Part::new(module, code),
            tests: Part::new(module_of_tests, tests),
        }
    }
}

impl Part {
    fn new(module: Vec<String>, tokens: Vec<Token>) -> Self {
        let paths = paths(&tokens);
        Self { module, tokens, paths }
    }

    /// `path`, which this part names, from the crate's root; `None` where it does not say where it
    /// begins.
    pub fn resolve(&self, path: &Path) -> Option<Vec<String>> {
        let mut resolved = self.module.clone();
        let mut segments = path.segments.iter().peekable();
        match segments.next()?.as_str() {
            "crate" => resolved.clear(),
            "self" => {}
            "super" => drop(resolved.pop()),
            _ => return None,
        }
        while segments.next_if(|segment| *segment == "super").is_some() {
            resolved.pop();
        }
        resolved.extend(segments.cloned());
        Some(resolved)
    }

    /// The lines that say `words`: code such as `unsafe`, `println!`, `#[ignore]`, `std::fs`. A path
    /// is also found in the middle of a longer one, and in a group of `use`.
    pub fn lines_saying(&self, words: &str) -> Vec<usize> {
        let wanted: Vec<String> = tokens(words).into_iter().map(|token| token.text).collect();
        let segments: Vec<&String> = wanted.iter().filter(|word| *word != "::").collect();
        let as_tokens = self
            .tokens
            .windows(wanted.len())
            .filter(|window| window.iter().map(|token| &token.text).eq(&wanted))
            .filter_map(|window| window.first())
            .map(|token| token.line);
        let as_paths = self
            .paths
            .iter()
            .filter(|path| {
                path.segments
                    .windows(segments.len())
                    .any(|window| window.iter().eq(segments.iter().copied()))
            })
            .map(|path| path.line);
        let mut lines: Vec<usize> = as_tokens.chain(as_paths).collect();
        lines.sort_unstable();
        lines.dedup();
        lines
    }
}

/// `src/worker/slots.rs` is `worker::slots`, `src/worker/mod.rs` is `worker`.
fn module(file: &str) -> Vec<String> {
    let path = FilePath::new(file).with_extension("");
    let mut module: Vec<String> =
        path.iter().skip(1).map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

/// Takes `text` apart.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while !rest.is_empty() {
        let (length, kind) = first_token(rest);
        let (token, after) = rest.split_at(length);
        if let Some(kind) = kind {
            let text = token.to_owned();
            tokens.push(Token { line, kind, text });
        }
        line += token.matches('\n').count();
        rest = after;
    }
    tokens
}

/// The length of what `rest` begins with, and its sort if it is a token.
fn first_token(rest: &str) -> (usize, Option<Kind>) {
    let words = |rest: &str| rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    let first = rest.chars().next().unwrap_or(' ');
    if rest.starts_with("//") {
        (rest.find('\n').unwrap_or(rest.len()), None)
    } else if rest.starts_with("/*") {
        (block_comment(rest), None)
    } else if let Some(length) = raw_text(rest) {
        (length, Some(Kind::Text))
    } else if first == '"' {
        (quoted(rest, '"'), Some(Kind::Text))
    } else if let Some(after) = rest.strip_prefix('\'') {
        // A character has its end one character later, or begins with a backslash.
        let is_character = after.starts_with('\\') || after.chars().nth(1) == Some('\'');
        match is_character {
            true => (quoted(rest, '\''), None),
            false => (1 + words(after), None),
        }
    } else if is_word(first) {
        (words(rest), Some(Kind::Word))
    } else if rest.starts_with("::") {
        (2, Some(Kind::Mark))
    } else {
        let kind = (!first.is_whitespace()).then_some(Kind::Mark);
        (first.len_utf8(), kind)
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let here = &rest.as_bytes()[at..];
        if here.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if here.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#`, `br"…"` and so on: nothing in them is escaped.
fn raw_text(rest: &str) -> Option<usize> {
    let after = ["r", "br", "cr"].iter().find_map(|prefix| rest.strip_prefix(prefix))?;
    let body = after.trim_start_matches('#').strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(after.len() - body.len() - 1));
    let length = body.find(&end).map_or(body.len(), |at| at + end.len());
    Some(rest.len() - body.len() + length)
}

/// A literal between two of `quote`, with its escapes.
fn quoted(rest: &str, quote: char) -> usize {
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return at + 1;
        }
        if character == '\\' {
            characters.next();
        }
    }
    rest.len()
}

fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let goes_on = at > 0 && matches!(tokens[at - 1].text.as_str(), "::" | ".");
        at = if token.kind == Kind::Word && !goes_on {
            path(tokens, at, &[], &mut found)
        } else {
            at + 1
        };
    }
    found
}

/// Reads what follows `before` at `at`; says where it ends.
fn path(tokens: &[Token], at: usize, before: &[String], found: &mut Vec<Path>) -> usize {
    let mut at = at;
    let mut segments = before.to_vec();
    while let Some(token) = tokens.get(at) {
        if token.text == "{" {
            return group(tokens, at + 1, &segments, found);
        }
        if token.kind != Kind::Word && token.text != "*" {
            break;
        }
        segments.push(token.text.clone());
        at += 1;
        if tokens.get(at).is_none_or(|next| next.text != "::") {
            break;
        }
        at += 1;
    }
    let line = tokens.get(at.saturating_sub(1)).map_or(0, |last| last.line);
    found.push(Path { line, segments });
    at
}

/// Reads a group of `use` behind its brace.
fn group(tokens: &[Token], at: usize, before: &[String], found: &mut Vec<Path>) -> usize {
    let mut at = at;
    while let Some(token) = tokens.get(at) {
        at = match token.text.as_str() {
            "}" => return at + 1,
            "," => at + 1,
            // The new name is nobody's path.
            "as" => at + 2,
            _ => path(tokens, at, before, found).max(at + 1),
        };
    }
    at
}

/// How unit tests begin.
const TESTS_BEGIN: &[&str] = &["#", "[", "cfg", "(", "test", ")", "]"];

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> String {
        let lines = paths(&tokens(text));
        let lines = lines.iter().map(|path| format!("{} {}", path.line, path.segments.join("::")));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_group_is_as_many_paths_as_it_has_leaves() {
        let text = "crate::{\n  pure::{fault::Kind, limits},\n  worker as w, messages::*,\n}";
        assert_eq!(
            named(text),
            "2 crate::pure::fault::Kind\n2 crate::pure::limits\n3 crate::worker\n3 crate::messages::*"
        );
    }

    #[test]
    fn a_path_ends_where_it_ends() {
        assert_eq!(
            named("a::b::<c::D>::new().e::<f::G>()\nH::I { j }"),
            "1 a::b\n1 c::D\n1 f::G\n2 H::I\n2 j"
        );
    }

    #[test]
    fn what_is_no_code_is_no_word() {
        let words = |text| {
            let tokens = tokens(text);
            let words = tokens.into_iter().filter(|token| token.kind == Kind::Word);
            words.map(|token| token.text).collect::<Vec<_>>().join(" ")
        };
        for (text, expected) in [
            ("a // unsafe\nb", "a b"),
            ("a /* unsafe /* nested */ unsafe */ b", "a b"),
            ("a \"unsafe \\\" unsafe\" b", "a b"),
            ("a r\"unsafe \\\" b", "a b"),
            ("a br##\"unsafe \"# unsafe\"## b", "a b"),
            ("a '\"' b '\\'' c '\\u{22}' \"unsafe\"", "a b c"),
            ("fn a<'unsafe>(b: &'unsafe str) {}", "fn a b str"),
            ("a r#unsafe", "a r unsafe"),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }

    #[test]
    fn unit_tests_are_told_from_what_ships() {
        let source = Source::new(
            "src/pure/oci/name.rs",
            "use super::limits;\n#[cfg(test)]\nmod tests {\n use super::super::limits;\n}",
        );
        for part in [&source.code, &source.tests] {
            let mut named = part.paths.iter().filter_map(|path| part.resolve(path));
            assert_eq!(named.next_back().unwrap(), ["pure", "oci", "limits"]);
        }
    }

    #[test]
    fn words_are_found_as_they_are_meant() {
        let text = "use std::{fs, thread::{sleep}};\nmonoio_http::x();\n#[ignore = \"slow\"]\nprintln!()\nx.block_on(y)";
        let part = Source::new("src/lib.rs", text).code;
        for (words, lines) in [
            ("std::fs", vec![1]),
            ("thread::sleep", vec![1]),
            ("monoio", vec![]),
            ("#[ignore]", vec![]),
            ("println!", vec![4]),
            ("block_on", vec![5]),
        ] {
            assert_eq!(part.lines_saying(words), lines, "{words}");
        }
    }
}
