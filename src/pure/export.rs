//! How counts are written down to be taken along: row by row, as CSV or as one JSON object per line.

use serde_json::{Map, Value};

use crate::pure::csv;

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
    /// Column and count.
    pub counts: &'r [(&'r str, u64)],
}

impl Format {
    /// Appends what stands before all rows, which have these columns.
    pub fn put_header(self, out: &mut String, columns: &[&str]) {
        match self {
            Self::Csv => csv::put_line(out, columns.iter().copied()),
            Self::Ndjson => {}
        }
    }

    /// Appends one row.
    pub fn put_row(self, out: &mut String, row: &Row<'_>) {
        match self {
            Self::Csv => {
                let numbers: Vec<_> =
                    row.counts.iter().map(|(_, count)| count.to_string()).collect();
                let told = row.told.iter().map(|(_, text)| *text);
                csv::put_line(out, told.chain(numbers.iter().map(String::as_str)));
            }
            Self::Ndjson => {
                let told = row.told.iter().map(|(column, text)| (*column, Value::from(*text)));
                let counts = row.counts.iter().map(|(column, count)| (*column, (*count).into()));
                let members = told.chain(counts);
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
        let counts = [("requests", 20), ("pulls", 10)];
        let row = Row { told: &[("package", "a.b/c"), ("version", "=1")], counts: &counts };
        let written = |format: Format| {
            let mut out = String::new();
            format.put_header(&mut out, &["package", "version", "requests", "pulls"]);
            format.put_row(&mut out, &row);
            out
        };
        let csv = written(Format::Csv);
        assert!(csv.starts_with("package,version,requests,pulls"), "{csv}");
        assert!(csv.contains("\na.b/c,'=1,20,10"), "{csv}");
        let line: Value = serde_json::from_str(&written(Format::Ndjson)).unwrap();
        assert_eq!((&line["version"], &line["pulls"]), (&"=1".into(), &10.into()));
    }
}
