//! How counts are written down to be taken along: row by row, as CSV or as one JSON object per line.

use serde_json::{Map, Value};

use crate::pure::csv;
use crate::pure::pull::rollup::MEASURE_NAMES;

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values, with a header.
    Csv,
    /// A JSON object on each line.
    Ndjson,
}

/// One row: the column and the text of everything that it is of, and its counts.
pub struct Row<'r> {
    /// Column and text.
    pub told: &'r [(&'r str, &'r str)],
    /// In the order of [`MEASURE_NAMES`].
    pub measures: [u64; MEASURE_NAMES.len()],
}

impl Format {
    /// Appends what stands before all rows, which tell of these columns.
    pub fn put_header(self, out: &mut String, told: &[&str]) {
        match self {
            Self::Csv => csv::put_line(out, told.iter().copied().chain(MEASURE_NAMES)),
            Self::Ndjson => {}
        }
    }

    /// Appends one row.
    pub fn put_row(self, out: &mut String, row: &Row<'_>) {
        let measures = MEASURE_NAMES.into_iter().zip(row.measures);
        match self {
            Self::Csv => {
                let numbers = row.measures.map(|number| number.to_string());
                let told = row.told.iter().map(|(_, text)| *text);
                csv::put_line(out, told.chain(numbers.iter().map(String::as_str)));
            }
            Self::Ndjson => {
                let told = row.told.iter().map(|(column, text)| (*column, Value::from(*text)));
                let members = told.chain(measures.map(|(name, number)| (name, number.into())));
                let object: Map<String, Value> =
                    members.map(|(name, value)| (name.to_owned(), value)).collect();
                out.push_str(&Value::Object(object).to_string());
                out.push('\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_line_in_either_format() {
        let mut measures = [0; MEASURE_NAMES.len()];
        (measures[0], measures[1]) = (20, 10);
        let row = Row { told: &[("package", "a.b/c"), ("version", "=1")], measures };
        let written = |format: Format| {
            let mut out = String::new();
            format.put_header(&mut out, &["package", "version"]);
            format.put_row(&mut out, &row);
            out
        };
        let csv = written(Format::Csv);
        assert!(csv.starts_with("package,version,requests,pulls,"), "{csv}");
        assert!(csv.contains("\na.b/c,'=1,20,10,0,"), "{csv}");
        let line: Value = serde_json::from_str(&written(Format::Ndjson)).unwrap();
        assert_eq!((&line["version"], &line["pulls"]), (&"=1".into(), &10.into()));
    }
}
