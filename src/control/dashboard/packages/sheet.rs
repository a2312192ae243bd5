//! What a page shows, as a file: rows of texts and counts, those of the period before behind them.

use crate::pure::export::{Format, Row};
use crate::pure::pull::rollup::{MEASURE_NAMES, Measures};

/// A file that is being written.
pub(super) struct Sheet {
    format: Format,
    /// Which counts it has: what each is called, and its place among all.
    measures: Vec<(&'static str, usize)>,
    /// What those of the period before are called, where it has them.
    before: Vec<String>,
    text: String,
}

impl Sheet {
    /// One whose rows have these texts and counts.
    pub(super) fn begin(
        format: Format,
        told: &[&str],
        is_meant: impl Fn(&str) -> bool,
        is_compared: bool,
    ) -> Self {
        let measures = MEASURE_NAMES.into_iter().zip(0..);
        let measures: Vec<_> = measures.filter(|(name, _)| is_meant(name)).collect();
        let before = measures.iter().filter(|_| is_compared);
        let before: Vec<String> = before.map(|(name, _)| format!("previous_{name}")).collect();
        let columns = told.iter().copied().chain(measures.iter().map(|(name, _)| *name));
        let columns: Vec<&str> = columns.chain(before.iter().map(String::as_str)).collect();
        let mut text = String::new();
        format.put_header(&mut text, &columns);
        Self { format, measures, before, text }
    }

    /// One row more. What was nothing in the period before is 0 there.
    pub(super) fn put(&mut self, told: &[(&str, &str)], now: &Measures, before: Option<&Measures>) {
        let (now, before) =
            (now.to_array(), before.copied().map(Measures::to_array).unwrap_or_default());
        let then = self.measures.iter().zip(&self.before);
        let then = then.map(|((_, place), title)| (title.as_str(), before[*place]));
        let counts = self.measures.iter().map(|(name, place)| (*name, now[*place]));
        let counts: Vec<(&str, u64)> = counts.chain(then).collect();
        self.format.put_row(&mut self.text, &Row { told, counts: &counts });
    }

    /// All of it.
    pub(super) fn end(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_period_before_stands_behind_what_it_is_compared_with() {
        let pulls = |pulls| Measures { pulls, ..Measures::ZERO };
        let written = |format, is_compared| {
            let mut sheet = Sheet::begin(format, &["package"], |name| name == "pulls", is_compared);
            sheet.put(&[("package", "a.b/c")], &pulls(3), Some(&pulls(2)));
            sheet.put(&[("package", "a.b/d")], &pulls(1), None);
            sheet.end()
        };
        let csv = "package,pulls,previous_pulls\na.b/c,3,2\na.b/d,1,0\n";
        assert_eq!(written(Format::Csv, true).replace("\r\n", "\n"), csv);
        let csv = "package,pulls\na.b/c,3\na.b/d,1\n";
        assert_eq!(written(Format::Csv, false).replace("\r\n", "\n"), csv);
        let line = written(Format::Ndjson, true);
        let line: serde_json::Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
        let told = (&line["package"], &line["pulls"], &line["previous_pulls"]);
        assert_eq!(told, (&"a.b/c".into(), &3.into(), &2.into()));
    }
}
