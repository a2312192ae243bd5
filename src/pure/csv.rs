//! Comma-separated values (RFC 4180): what an export writes and an import reads.
//!
//! A spreadsheet takes a field that begins with one of `FORMULA` for a formula, and companies
//! choose their own names: such a field is written with a `'` before it, and read without.

use std::borrow::Cow;

/// One line of fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'t> {
    /// The line of the text on which it begins, from 1.
    pub line: usize,
    /// Its fields.
    pub fields: Vec<Cow<'t, str>>,
}

/// A line that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The line, from 1.
    pub line: usize,
    /// Which of its fields, from 0.
    pub field: usize,
    /// What is wrong.
    pub what: &'static str,
}

/// Appends one line with these fields.
pub fn put_line<'f>(out: &mut String, fields: impl IntoIterator<Item = &'f str>) {
    for (at, field) in fields.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        let needs_quotes = field.contains([',', ';', '\t', '"', '\n', '\r']);
        if needs_quotes {
            out.push('"');
        }
        if field.starts_with(FORMULA) {
            out.push('\'');
        }
        for (at, part) in field.split('"').enumerate() {
            if at > 0 {
                out.push_str("\"\"");
            }
            out.push_str(part);
        }
        if needs_quotes {
            out.push('"');
        }
    }
    out.push('\n');
}

/// Takes a text apart, line by line. Empty lines are skipped.
pub fn read(text: &str) -> Reader<'_> {
    Reader { rest: text.strip_prefix('\u{feff}').unwrap_or(text), line: 1 }
}

/// See [`read`].
#[derive(Clone, Debug)]
pub struct Reader<'t> {
    rest: &'t str,
    line: usize,
}

impl<'t> Iterator for Reader<'t> {
    type Item = Result<Record<'t>, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(rest) =
            self.rest.strip_prefix('\n').or_else(|| self.rest.strip_prefix("\r\n"))
        {
            self.rest = rest;
            self.line += 1;
        }
        if self.rest.is_empty() {
            return None;
        }
        let mut record = Record { line: self.line, fields: Vec::new() };
        loop {
            match self.field() {
                Ok(field) => record.fields.push(unescaped(field)),
                Err(what) => {
                    let broken = Broken { line: record.line, field: record.fields.len(), what };
                    self.skip_line();
                    return Some(Err(broken));
                }
            }
            let Some(rest) = self.rest.strip_prefix(',') else {
                self.skip_line();
                return Some(Ok(record));
            };
            self.rest = rest;
        }
    }
}

impl<'t> Reader<'t> {
    /// Takes one field; a `,`, a line's end or the text's end is left behind it.
    fn field(&mut self) -> Result<Cow<'t, str>, &'static str> {
        let Some(mut quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find([',', '\n']).unwrap_or(self.rest.len());
            let (field, rest) = self.rest.split_at(end);
            self.rest = rest;
            let is_last = !rest.starts_with(',');
            let field = field.strip_suffix('\r').filter(|_| is_last).unwrap_or(field);
            let is_bare = !field.contains('"');
            return if is_bare { Ok(Cow::Borrowed(field)) } else { Err(STRAY) };
        };
        let mut field = Cow::Borrowed("");
        loop {
            let (part, rest) = quoted.split_once('"').ok_or("a quote is not closed")?;
            self.line += part.matches('\n').count();
            field += part;
            let Some(more) = rest.strip_prefix('"') else {
                self.rest = rest;
                let ends = rest.is_empty() || rest.starts_with([',', '\n']);
                return if ends || rest.starts_with("\r\n") { Ok(field) } else { Err(STRAY) };
            };
            field += "\"";
            quoted = more;
        }
    }

    fn skip_line(&mut self) {
        let rest = self.rest.split_once('\n').map(|(_, rest)| rest);
        self.line += usize::from(rest.is_some());
        self.rest = rest.unwrap_or("");
    }
}

/// A field without what [`put_line`] has put before it.
fn unescaped(field: Cow<'_, str>) -> Cow<'_, str> {
    let is_escaped =
        |field: &str| field.strip_prefix('\'').is_some_and(|it| it.starts_with(FORMULA));
    match field {
        Cow::Borrowed(text) => Cow::Borrowed(if is_escaped(text) { &text[1..] } else { text }),
        Cow::Owned(text) if is_escaped(&text) => Cow::Owned(text[1..].to_owned()),
        Cow::Owned(text) => Cow::Owned(text),
    }
}

/// What a formula begins with (OWASP, "CSV Injection"), the full width's among it.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];
const STRAY: &str = "a quote stands where none may";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(fields: &[&str]) -> String {
        let mut out = String::new();
        put_line(&mut out, fields.iter().copied());
        out
    }

    #[test]
    fn what_could_be_a_formula_is_no_formula() {
        assert_eq!(line(&["=1+1", "-", "a-b", "+49"]), "'=1+1,'-,a-b,'+49\n");
        assert_eq!(line(&["=a,\"b\""]), "\"'=a,\"\"b\"\"\"\n");
        assert_eq!(line(&["＝1", "\n=1", "\t"]), "'＝1,\"'\n=1\",\"'\t\"\n");
        // Some spreadsheets take these for the end of a field.
        assert_eq!(line(&["a;=1", "a\t=1"]), "\"a;=1\",\"a\t=1\"\n");
    }

    #[test]
    fn a_broken_line_is_said_and_the_next_one_is_read() {
        let text = "\u{feff}a,b\r\n\r\nx,y\"z\n\"1\n2\",3\nc,\"d";
        let read: Vec<_> = read(text).collect();
        let record = |line, fields: [&'static str; 2]| {
            Ok(Record { line, fields: fields.map(Cow::Borrowed).into() })
        };
        assert_eq!(
            read,
            [
                record(1, ["a", "b"]),
                Err(Broken { line: 3, field: 1, what: STRAY }),
                record(4, ["1\n2", "3"]),
                Err(Broken { line: 6, field: 1, what: "a quote is not closed" }),
            ]
        );
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            lines in prop::collection::vec(prop::collection::vec("[a\"',;\n\r=+@＝\t-]{0,4}", 2..4), 0..5),
        ) {
            let mut text = String::new();
            for fields in &lines {
                put_line(&mut text, fields.iter().map(String::as_str));
            }
            let back: Result<Vec<Vec<String>>, Broken> = read(&text)
                .map(|it| it.map(|it| it.fields.into_iter().map(Cow::into_owned).collect()))
                .collect();
            // What somebody has written like an escaped field is read like one.
            let plain = |field: &String| unescaped(Cow::Borrowed(field)).into_owned();
            let lines: Vec<Vec<String>> =
                lines.iter().map(|fields| fields.iter().map(plain).collect()).collect();
            prop_assert_eq!(back, Ok(lines));
        }

        #[test]
        fn any_text_ends(text in any::<String>()) {
            prop_assert!(read(&text).count() <= text.len());
        }
    }
}
