//! TOML with mistakes, read as far as it can be.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, Error};

use super::problem::Lines;

/// A text that is not TOML.
pub struct Broken {
    /// The text with blanks for what cannot be read: every byte keeps its place.
    pub readable: String,
    /// At which byte something is wrong, and what; one for a line.
    pub mistakes: Vec<(usize, String)>,
}

impl Broken {
    /// Reads what can be read. A bracket that is not closed swallows what follows, up to the end of
    /// the file: so the text is read section by section, and of a broken section only the header
    /// stays.
    pub fn read(text: &str) -> Self {
        let lines = Lines::of(text);
        let mut readable = String::with_capacity(text.len());
        let mut mistakes = BTreeMap::new();
        for section in sections(text) {
            let part = &text[section.clone()];
            let (_, errors) = DeTable::parse_recoverable(part);
            if errors.is_empty() {
                readable.push_str(part);
                continue;
            }
            let (header, rest) = part.split_at(part.find('\n').unwrap_or(part.len()));
            let header_stays = is_header(header) && DeTable::parse(header).is_ok();
            readable.push_str(&if header_stays { header.to_owned() } else { blanks(header) });
            readable.push_str(&blanks(rest));
            gather(&mut mistakes, &lines, section, &errors);
        }
        // What is wrong only between sections: one that stands there twice.
        let (_, errors) = DeTable::parse_recoverable(&readable);
        gather(&mut mistakes, &lines, 0..text.len(), &errors);
        Self { readable, mistakes: mistakes.into_values().collect() }
    }
}

/// Keeps the first mistake of each line.
fn gather(
    mistakes: &mut BTreeMap<usize, (usize, String)>,
    lines: &Lines,
    section: Range<usize>,
    errors: &[Error],
) {
    for error in errors {
        let in_section = error.span().map_or(usize::MAX, |span| span.start);
        let at = section.start + in_section.min(section.len().saturating_sub(1));
        let message = || (at, error.message().replace('\n', " "));
        mistakes.entry(lines.line(at)).or_insert_with(message);
    }
}

/// Where the sections of a text lie: each from its header line to the next.
fn sections(text: &str) -> Vec<Range<usize>> {
    let mut sections = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        if is_header(line) && at > start {
            sections.push(start..at);
            start = at;
        }
        at += line.len();
    }
    sections.push(start..at);
    sections
}

/// Whether a line begins a section, perhaps with a mistake: `[log]`, `[[packages]]`, `[log`.
fn is_header(line: &str) -> bool {
    let inner = line.trim_start_matches('[');
    let name = inner.bytes().take_while(|byte| byte.is_ascii_lowercase() || *byte == b'_').count();
    inner.len() < line.len() && name > 0 && !inner.contains(['"', '\'', ','])
}

/// As many blanks, in the same lines.
fn blanks(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_costs_its_section_and_no_more() {
        let text = "[log]\nlevel = 'info'\n[admin]\nlisten = [1\nx = 2\n[gateway]\nworkers = 1\n";
        let Broken { readable, mistakes } = Broken::read(text);
        assert_eq!(
            readable,
            "[log]\nlevel = 'info'\n[admin]\n           \n     \n[gateway]\nworkers = 1\n"
        );
        let places: Vec<usize> = mistakes.iter().map(|(at, _)| *at).collect();
        assert_eq!(places, [text.find("x =").unwrap()]);
    }

    #[test]
    fn a_section_that_stands_there_twice_is_a_mistake() {
        let mistakes = Broken::read("[log]\n[admin]\n[log]\n").mistakes;
        assert_eq!(mistakes, [(15, "duplicate key".to_owned())]);
    }
}
