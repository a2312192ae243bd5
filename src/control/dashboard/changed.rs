//! What somebody has changed, field by field, for people.

use serde_json::Value;

use super::page::time;
use crate::control::accounts::audit::Entry;

/// A field of what was changed; nothing on a side stands for what was not there, or was empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) before: Option<String>,
    pub(super) after: Option<String>,
}

impl Field {
    /// Whether it was left as it was.
    pub(super) fn is_same(&self) -> bool {
        self.before == self.after
    }
}

/// All fields that an entry tells something of.
pub(super) fn fields(entry: &Entry) -> Vec<Field> {
    let sides = [&entry.before, &entry.after].map(|side| side.as_ref().and_then(Value::as_object));
    let mut names: Vec<&String> = sides.iter().flatten().flat_map(|side| side.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let field = |name: &String| {
        let [before, after] = sides.map(|side| side.and_then(|side| side.get(name)));
        // Of what there was not, or is not any more, what is off says nothing.
        let is_told = |one: &&Value| before.is_some() && after.is_some() || **one != false;
        let [before, after] =
            [before, after].map(|side| side.filter(is_told).and_then(|value| told(name, value)));
        let name = name.strip_suffix(TIME).unwrap_or(name).replace('_', " ");
        (before.is_some() || after.is_some()).then_some(Field { name, before, after })
    };
    names.into_iter().filter_map(field).collect()
}

/// A value for people; nothing for an empty one.
fn told(name: &str, value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => String::new(),
        Value::Bool(is_on) => (if *is_on { "yes" } else { "no" }).to_owned(),
        Value::Number(number) => match number.as_i64().filter(|_| name.ends_with(TIME)) {
            Some(at_s) => time(at_s),
            None => number.to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            list.iter().filter_map(|one| told(name, one)).collect::<Vec<_>>().join(", ")
        }
        Value::Object(_) => value.to_string(),
    };
    (!text.is_empty()).then_some(text)
}

/// What the name of a field ends with that is a time, in seconds since 1970.
const TIME: &str = "_s";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_changed_is_told_by_its_fields() {
        let of = |before: Value, after: Value| {
            let side = |value: Value| Some(value).filter(|value| !value.is_null());
            let (deed, login) = ("x".to_owned(), "ada".to_owned());
            let (before, after) = (side(before), side(after));
            let fields =
                fields(&Entry { id: 7, at_s: 0, login, deed, package: None, before, after });
            let side = |side: &Option<String>| side.clone().unwrap_or_else(|| "-".to_owned());
            let line =
                |one: &Field| format!("{}: {} > {}", one.name, side(&one.before), side(&one.after));
            fields.iter().map(line).collect::<Vec<_>>().join("; ")
        };
        let nothing = Value::Null;
        for (before, after, expected) in [
            (
                json!({ "backends": ["a", "b"], "name": "x", "failover_on_404": false }),
                json!({ "backends": ["a"], "name": "x", "failover_on_404": true }),
                "backends: a, b > a; failover on 404: no > yes; name: x > x",
            ),
            (
                nothing.clone(),
                json!({ "label": "report", "expires_s": 3600, "failover_on_404": false, "id": "" }),
                "expires: - > 1970-01-01T01:00:00Z; label: - > report",
            ),
            (json!({ "label": "report", "expires_s": null }), nothing.clone(), "label: report > -"),
            (json!({ "public": true }), json!({ "public": false }), "public: yes > no"),
            (nothing.clone(), nothing, ""),
        ] {
            assert_eq!(of(before, after), expected);
        }
    }
}
