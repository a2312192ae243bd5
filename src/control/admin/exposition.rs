//! Prometheus' text format (exposition formats, version 0.0.4), written family by family.

use std::fmt::{self, Display, Write};

/// The text being written, one family after the other.
#[derive(Default)]
pub(super) struct Exposition {
    text: String,
    family: &'static str,
}

impl Exposition {
    /// Begins a counter.
    pub(super) fn counter(&mut self, name: &'static str, help: &str) {
        self.family(name, help, "counter");
    }

    /// Begins a gauge.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str) {
        self.family(name, help, "gauge");
    }

    /// Begins a family of the type `kind`.
    pub(super) fn family(&mut self, name: &'static str, help: &str, kind: &str) {
        self.family = name;
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// One sample of the family that was begun last.
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.sample_of("", labels, value);
    }

    /// One sample whose name is the family's and `suffix`.
    pub(super) fn sample_of(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let family = self.family;
        self.put(format_args!("{family}{suffix}"));
        for (index, (name, value)) in labels.iter().enumerate() {
            let open = if index == 0 { '{' } else { ',' };
            self.put(format_args!("{open}{name}=\"{}\"", Escaped(value)));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.put(format_args!("{close} {value}\n"));
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }

    fn put(&mut self, text: fmt::Arguments<'_>) {
        if self.text.write_fmt(text).is_err() {
            unreachable!("a String takes everything");
        }
    }
}

/// A label's value as the format wants it.
struct Escaped<'v>(&'v str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_help_and_type_before_its_samples() {
        let mut page = Exposition::default();
        page.counter("a_total", "All of a.");
        page.sample(&[], 1);
        page.sample(&[("b", "c"), ("d", "e")], 2.5);
        assert_eq!(
            page.into_text(),
            "# HELP a_total All of a.\n# TYPE a_total counter\na_total 1\n\
             a_total{b=\"c\",d=\"e\"} 2.5\n"
        );
    }

    #[test]
    fn a_label_cannot_break_out() {
        assert_eq!(Escaped("a\"b\\c\nd").to_string(), "a\\\"b\\\\c\\nd");
    }
}
