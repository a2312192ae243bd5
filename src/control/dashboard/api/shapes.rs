//! The shape of what is sent and answered, field by field, as a person reads it: made of a schema of the description.

use serde_json::Value;

/// A field, or what there is instead of fields.
pub(super) struct Field {
    /// Where it stands: `items[].name`; empty for what is no object.
    pub(super) name: String,
    /// `text`, `number or null`
    pub(super) kind: String,
    /// What it is for.
    pub(super) about: String,
    /// One that it could be.
    pub(super) example: String,
    /// Whether it is always there.
    pub(super) is_required: bool,
}

/// All that a `schema` of this description has.
pub(super) fn fields(described: &Value, schema: &Value) -> Vec<Field> {
    let mut reader = Reader { described, fields: Vec::new(), told: Vec::new() };
    reader.put(String::new(), schema, true);
    reader.fields
}

struct Reader<'d> {
    described: &'d Value,
    fields: Vec<Field>,
    /// The shapes with a name that were told already: what has another of one is not told it once more.
    told: Vec<&'d str>,
}

impl<'d> Reader<'d> {
    fn put(&mut self, name: String, schema: &'d Value, is_required: bool) {
        let mut or_null = is_nullable(schema);
        let mut named = reference(schema);
        let mut whole = self.resolved(schema);
        // What may be null, and has a name otherwise.
        if let Some(choices) = whole["oneOf"].as_array() {
            or_null |= choices.iter().any(is_nullable);
            if let Some(one) = choices.iter().find(|one| !is_nullable(one)) {
                named = reference(one);
                whole = self.resolved(one);
            }
        }
        let (items, depth) = self.items(whole);
        named = if depth > 0 { reference(items.0) } else { named };
        let kind = format!("{}{}", "list of ".repeat(depth), kind(items.1));
        let members = items.1["properties"].as_object();
        let about = [schema, whole].into_iter().find_map(|one| one["description"].as_str());
        let is_told = named.is_some_and(|named| self.told.contains(&named));
        let as_before = if is_told { ", as before" } else { "" };
        if !name.is_empty() || members.is_none() {
            self.fields.push(Field {
                name: name.clone(),
                kind: format!("{kind}{as_before}{}", if or_null { " or null" } else { "" }),
                about: about.unwrap_or_default().to_owned(),
                example: example(schema),
                is_required,
            });
        }
        if is_told {
            return;
        }
        self.told.extend(named);
        let inside = format!("{name}{}", "[]".repeat(depth));
        let joint = if inside.is_empty() { "" } else { "." };
        let required = items.1["required"].as_array();
        for (key, member) in members.into_iter().flatten() {
            let is_required = required.is_some_and(|all| all.iter().any(|one| one == key));
            self.put(format!("{inside}{joint}{key}"), member, is_required);
        }
    }

    /// What a list holds, as it is written and as it is, and lists of how many levels it is.
    fn items(&self, mut whole: &'d Value) -> ((&'d Value, &'d Value), usize) {
        let (mut written, mut depth) = (whole, 0);
        while let Some(items) = whole.get("items") {
            (written, whole) = (items, self.resolved(items));
            depth += 1;
        }
        ((written, whole), depth)
    }

    fn resolved(&self, schema: &'d Value) -> &'d Value {
        match reference(schema) {
            Some(name) => &self.described["components"]["schemas"][name],
            None => schema,
        }
    }
}

/// The name of the shape that it refers to.
fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/components/schemas/")
}

fn is_nullable(schema: &Value) -> bool {
    let is_null = |kind: &Value| kind == "null";
    is_null(&schema["type"]) || schema["type"].as_array().is_some_and(|all| all.iter().any(is_null))
}

fn kind(schema: &Value) -> String {
    let word = |kind: &Value| match kind.as_str()? {
        "string" => Some("text"),
        "integer" | "number" => Some("number"),
        "boolean" => Some("true or false"),
        "object" => Some("object"),
        _ => None,
    };
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or ");
    }
    let written = &schema["type"];
    let known = written.as_array().map_or_else(|| word(written), |all| all.iter().find_map(word));
    known.unwrap_or("anything").to_owned()
}

fn example(schema: &Value) -> String {
    let example = schema.get("example").or_else(|| schema["examples"].get(0));
    let text = |one: &Value| one.as_str().map_or_else(|| one.to_string(), str::to_owned);
    example.map(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_shape_is_told_field_by_field() {
        let described = json!({ "components": { "schemas": {
            "Record": { "type": "object", "required": ["name"], "properties": {
                "name": { "type": "string", "description": "Where.", "example": "a.b" },
            }},
            "List": { "type": "object", "required": ["items", "next"], "properties": {
                "items": { "type": "array", "items": { "$ref": "#/components/schemas/Record" } },
                "next": { "type": ["string", "null"] },
                "one": { "oneOf": [{ "type": "null" }, { "$ref": "#/components/schemas/Record" }] },
            }},
        }}});
        let told = |schema: Value| -> Vec<String> {
            let one = |field: &Field| {
                let Field { name, kind, about, example, is_required } = field;
                format!("{name}: {kind}; {about} {example} {is_required}")
            };
            fields(&described, &schema).iter().map(one).collect()
        };
        assert_eq!(
            told(json!({ "$ref": "#/components/schemas/List" })),
            [
                "items: list of object;   true",
                "items[].name: text; Where. a.b true",
                "next: text or null;   true",
                "one: object, as before or null;   false",
            ]
        );
        assert_eq!(told(json!({ "type": "string" })), [": text;   true"]);
        assert_eq!(told(json!({})), [": anything;   true"]);
    }
}
