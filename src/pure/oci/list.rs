//! Lists of tags (distribution spec, "Listing Tags") under the name that the client knows.

use serde_json::{Map, Value};

use super::name::Name;

/// The list in `body` under `name`; `None` where it is that already, or is no list.
pub fn under_name(body: &[u8], name: Name<'_>) -> Option<Vec<u8>> {
    let mut list: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let theirs = list.get_mut("name")?;
    if theirs == name.as_str() {
        return None;
    }
    *theirs = Value::from(name.as_str());
    serde_json::to_vec(&list).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_changes() {
        let told = |body: &str| {
            let name = Name::parse(b"acme/rocket").unwrap();
            under_name(body.as_bytes(), name).map(|list| String::from_utf8(list).unwrap())
        };
        assert_eq!(
            told(r#"{"name":"deep\/there","tags":["1.0","b\u00e9"], "next": 7}"#).as_deref(),
            Some(r#"{"name":"acme/rocket","next":7,"tags":["1.0","bé"]}"#)
        );
        assert_eq!(
            told(r#"{"name":"deep/there","tags":null}"#).as_deref(),
            Some(r#"{"name":"acme/rocket","tags":null}"#)
        );
        for body in [
            r#"{"name":"acme/rocket","tags":[]}"#,
            r#"{"tags":[]}"#,
            r#"["name"]"#,
            r#"{"name":"x","tags":["#,
            "",
        ] {
            assert_eq!(told(body), None, "{body}");
        }
    }
}
