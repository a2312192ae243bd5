//! What a gateway elsewhere answers, for people.

use serde_json::Value;

use crate::cli::plain::plain;

/// A table of these fields of each, by their names; `a.b` is the field `b` of the field `a`.
pub(super) fn table(items: &[Value], fields: &[&str]) -> String {
    let titles = fields.iter().map(|field| field.replace('.', " ")).collect::<Vec<_>>();
    let row = |item: &Value| {
        let pointer = |field: &&str| format!("/{}", field.replace('.', "/"));
        let cell = |field: &&str| item.pointer(&pointer(field)).map_or_else(none, cell);
        fields.iter().map(cell).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<String>> = std::iter::once(titles).chain(items.iter().map(row)).collect();
    aligned(&rows)
}

/// All of one thing, a field a line.
pub(super) fn lines(of: &Value) -> String {
    let mut rows = Vec::new();
    put(&mut rows, of);
    aligned(&rows)
}

fn put(rows: &mut Vec<Vec<String>>, of: &Value) {
    for (name, value) in of.as_object().into_iter().flatten() {
        if value.is_object() {
            put(rows, value);
        } else {
            rows.push(vec![plain(name), cell(value)]);
        }
    }
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}  "));
        format!("{}\n", padded.collect::<String>().trim_end())
    };
    rows.iter().map(line).collect()
}

/// A value in words.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => none(),
        Value::String(text) if text.is_empty() => none(),
        Value::Array(items) if items.is_empty() => none(),
        Value::String(text) => plain(text),
        Value::Bool(is_so) => if *is_so { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(", "),
        // Which field is wrong, and what is.
        Value::Object(members) => members.values().map(cell).collect::<Vec<_>>().join(": "),
    }
}

fn none() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_is_a_table_and_one_thing_is_lines() {
        let items = [
            json!({ "id": 1, "events": ["weekly", "backend"], "last": { "said": "200" } }),
            json!({ "id": 12, "events": [], "last": null }),
        ];
        let expected = "\
id  events           last said
1   weekly, backend  200
12  -                -
";
        assert_eq!(table(&items, &["id", "events", "last.said"]), expected);
        let one = json!({ "package": "a.b/c\u{1b}", "served": true, "written": { "domain": "" } });
        assert_eq!(lines(&one), "package  a.b/c\\u{1b}\nserved   yes\ndomain   -\n");
    }
}
