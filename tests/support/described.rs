//! What the API says of itself, and whether its answers are that. Stricter than a JSON schema: what an answer has, the
//! description has too, and a schema that leaves open what it is of fits nothing.

use serde_json::Value;

use super::gate::Gate;
use super::http::Answer;
use super::person::Person;
use super::program::json_of;
use super::routes::{of_description, route_of};

/// The description of a running gateway's API.
pub struct Described {
    document: Value,
    routes: Vec<(String, String)>,
}

impl Described {
    /// That of `gate`.
    pub fn of(gate: &Gate) -> Self {
        Self::read(json_of(&Person::before(gate).get("/api/v1/openapi.json")))
    }

    /// This one.
    pub fn read(document: Value) -> Self {
        Self { routes: of_description(&document), document }
    }

    /// Whether it says that this may be answered: the status, the kind of text, and if that is JSON its shape.
    pub fn check(&self, method: &str, target: &str, answer: &Answer) -> Result<(), String> {
        let path = target.split('?').next().unwrap_or_default();
        let (_, pattern) = route_of(&self.routes, method, path).ok_or("no such operation")?;
        let operation = &self.document["paths"][pattern][method.to_lowercase()];
        let status = answer.status.to_string();
        let response = operation["responses"].get(&status);
        let response = response.ok_or_else(|| format!("no answer {status} is described"))?;
        let words = response["description"].as_str().unwrap_or_default();
        if words.contains("Retry-After") {
            let seconds = answer.header("retry-after").and_then(|text| text.parse::<u64>().ok());
            seconds.ok_or_else(|| format!("{status}: Retry-After says no seconds"))?;
        }
        let (said, kind) = (response.get("content"), answer.header("content-type"));
        let content = match (said, kind) {
            (None, None) => return Ok(()),
            (Some(said), Some(kind)) => said.get(kind),
            _ => None,
        };
        let content = content.ok_or_else(|| format!("{status}: {kind:?} is not described"))?;
        let is_json = kind.is_some_and(|kind| kind.ends_with("json") && !kind.contains("ndjson"));
        match is_json {
            true => self
                .fits(&content["schema"], &json_of(answer), "answer")
                .map_err(|why| format!("{status}: {why}: {}", json_of(answer))),
            false => Ok(()),
        }
    }

    /// What lacks something: of what is answered where nothing is wrong, of a body, and of refusals.
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        for (method, pattern) in &self.routes {
            let operation = &self.document["paths"][pattern][method.to_lowercase()];
            let mut lacks = |what: String| gaps.push(format!("{method} {pattern}: {what}"));
            let responses = operation["responses"].as_object().expect("responses");
            if !responses.keys().any(|status| status.starts_with('2')) {
                lacks("an answer".to_owned());
            }
            for (status, response) in responses {
                let is_bare = matches!(&**status, "202" | "204" | "304");
                let contents = response["content"].as_object();
                if contents.is_some_and(|all| !all.is_empty()) == is_bare {
                    lacks(format!("content of {status}, or has one"));
                }
                for (kind, content) in contents.into_iter().flatten() {
                    if let Err(why) = self.is_whole(&content["schema"], kind, &mut Vec::new()) {
                        lacks(format!("a whole schema of {status}: {why}"));
                    }
                    if (*status.as_str() >= *"400") != (kind == "application/problem+json") {
                        lacks(format!("a problem as {status}"));
                    }
                }
            }
            if let Some(body) = operation.get("requestBody")
                && let Err(why) = self.is_whole(
                    &body["content"]["application/json"]["schema"],
                    "body",
                    &mut Vec::new(),
                )
            {
                lacks(format!("a whole schema of its body: {why}"));
            }
            for busy in ["429", "503"] {
                let words = responses.get(busy).map(|one| one["description"].as_str());
                if words.is_some_and(|words| !words.unwrap_or_default().contains("Retry-After")) {
                    lacks(format!("when to come again after {busy}"));
                }
            }
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let mut needs = vec!["400", "401", "500", "503"];
            for parameter in parameters {
                if parameter["description"].as_str().unwrap_or_default().is_empty() {
                    lacks(format!("what {} is for", parameter["name"]));
                }
                if parameter["name"] == "If-Match" {
                    needs.extend(["412", "428"]);
                }
            }
            if operation.get("requestBody").is_some() {
                needs.push("413");
            }
            for status in needs.into_iter().filter(|status| !responses.contains_key(*status)) {
                lacks(format!("{status} among its answers"));
            }
        }
        gaps
    }

    /// Whether a schema says of all that it has what it is: each has a type, a list says of what it is one, and an
    /// object which members it has, or that they are any. `above` are those that it is a part of.
    fn is_whole<'d>(
        &'d self,
        schema: &'d Value,
        at: &str,
        above: &mut Vec<&'d Value>,
    ) -> Result<(), String> {
        let schema = self.resolved(schema);
        if above.iter().any(|one| std::ptr::eq(*one, schema)) {
            return Ok(());
        }
        above.push(schema);
        for choice in schema["oneOf"].as_array().into_iter().flatten() {
            self.is_whole(choice, at, above)?;
        }
        let kinds = kinds(schema);
        if kinds.is_empty() && schema.get("oneOf").is_none() {
            return Err(format!("{at} has no type"));
        }
        if kinds.contains(&"array") {
            let items = schema.get("items").ok_or_else(|| format!("{at} is a list of nothing"))?;
            self.is_whole(items, &format!("{at}[]"), above)?;
        }
        let members = schema["properties"].as_object();
        if kinds.contains(&"object") && members.is_none() && !has_any_member(schema) {
            return Err(format!("{at} is an object of nothing"));
        }
        for (name, member) in members.into_iter().flatten() {
            self.is_whole(member, &format!("{at}.{name}"), above)?;
        }
        above.pop();
        Ok(())
    }

    fn fits(&self, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
        let schema = self.resolved(schema);
        if let Some(choices) = schema["oneOf"].as_array() {
            let tried: Vec<_> = choices.iter().map(|one| self.fits(one, value, at)).collect();
            let why = || tried.iter().filter_map(|one| one.clone().err()).collect::<Vec<_>>();
            return if tried.iter().any(Result::is_ok) { Ok(()) } else { Err(why().join("; ")) };
        }
        let kinds = kinds(schema);
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        if !kinds.contains(&kind) {
            return Err(format!("{at} is {kind}, not {kinds:?}"));
        }
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            return Err(format!("{at} is none of {allowed:?}"));
        }
        if value.is_array() && schema.get("items").is_none() {
            return Err(format!("{at} is a list of nothing"));
        }
        for (number, item) in value.as_array().into_iter().flatten().enumerate() {
            self.fits(&schema["items"], item, &format!("{at}[{number}]"))?;
        }
        if let Some(members) = value.as_object() {
            for name in schema["required"].as_array().into_iter().flatten() {
                let name = name.as_str().expect("a name");
                if !members.contains_key(name) {
                    return Err(format!("{at} lacks {name}"));
                }
            }
            for (name, member) in members.iter().filter(|_| !has_any_member(schema)) {
                let Some(of_member) = schema["properties"].get(name) else {
                    return Err(format!("{at}.{name} is not described"));
                };
                self.fits(of_member, member, &format!("{at}.{name}"))?;
            }
        }
        Ok(())
    }

    fn resolved<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let Some(name) = schema["$ref"].as_str() else { return schema };
        let name = name.strip_prefix("#/components/schemas/").expect("a schema of its own");
        let found = &self.document["components"]["schemas"][name];
        assert!(found.is_object(), "{name} is described nowhere");
        self.resolved(found)
    }
}

/// What it may be; nothing, where it does not say.
fn kinds(schema: &Value) -> Vec<&str> {
    let said = &schema["type"];
    match said.as_array() {
        Some(all) => all.iter().filter_map(Value::as_str).collect(),
        None => said.as_str().into_iter().collect(),
    }
}

/// Whether it is said that an object has whatever members.
fn has_any_member(schema: &Value) -> bool {
    schema["additionalProperties"] == true
}
