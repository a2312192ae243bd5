//! Text inside markup: whatever comes from outside stays text.

/// Appends `text` as it stands in an element or in a quoted attribute, of HTML and of XML. What XML
/// has no character for (XML 1.0, 2.2) becomes U+FFFD.
pub fn put_text(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\0'..' ' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            plain => out.push(plain),
        }
    }
}

/// The same, as a text of its own.
pub fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    put_text(&mut out, text);
    out
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Says why `text` is not one well-formed element (the part of XML 1.0 that is written here: no
    /// comments, no declarations, no processing instructions).
    pub(crate) fn well_formed(text: &str) -> Result<(), String> {
        let (mut open, mut rest, mut had_root) = (Vec::<&str>::new(), text, false);
        while !rest.is_empty() {
            let Some(inside) = rest.strip_prefix('<') else {
                let end = rest.find('<').unwrap_or(rest.len());
                let (told, behind) = rest.split_at(end);
                if open.is_empty() {
                    return Err(format!("text beside the root: {told:?}"));
                }
                entities(told)?;
                rest = behind;
                continue;
            };
            let end = tag_end(inside)?;
            let (tag, behind) = (&inside[..end], &inside[end + 1..]);
            rest = behind;
            if let Some(name) = tag.strip_prefix('/') {
                match open.pop() {
                    Some(opened) if opened == name => continue,
                    opened => return Err(format!("</{name}> ends {opened:?}")),
                }
            }
            if open.is_empty() && std::mem::replace(&mut had_root, true) {
                return Err("there are two roots".to_owned());
            }
            let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let name = tag.split(' ').next().unwrap_or_default();
            attributes(&tag[name.len()..])?;
            if !is_empty {
                open.push(name);
            }
        }
        if open.is_empty() && had_root { Ok(()) } else { Err(format!("not closed: {open:?}")) }
    }

    fn tag_end(inside: &str) -> Result<usize, String> {
        let mut quoted = false;
        for (at, byte) in inside.bytes().enumerate() {
            match byte {
                b'"' => quoted = !quoted,
                b'>' if !quoted => return Ok(at),
                b'<' => return Err(format!("a < inside of a tag: {inside:?}")),
                _ => {}
            }
        }
        Err("a tag has no end".to_owned())
    }

    fn attributes(text: &str) -> Result<(), String> {
        let (mut rest, mut names) = (text, Vec::new());
        while let Some(attribute) = rest.strip_prefix(' ') {
            let (name, value) =
                attribute.split_once("=\"").ok_or_else(|| format!("{attribute:?}"))?;
            let (value, behind) = value.split_once('"').ok_or_else(|| format!("{value:?}"))?;
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-:".contains(&byte);
            if name.is_empty() || !name.bytes().all(is_name) || names.contains(&name) {
                return Err(format!("the attribute {name:?}"));
            }
            entities(value)?;
            names.push(name);
            rest = behind;
        }
        if rest.is_empty() { Ok(()) } else { Err(format!("{rest:?} in a tag")) }
    }

    fn entities(text: &str) -> Result<(), String> {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
        for (at, character) in text.char_indices() {
            let is_bad = match character {
                '&' => !known.iter().any(|entity| text[at..].starts_with(entity)),
                '\u{fffe}' | '\u{ffff}' => true,
                other => other < ' ' && !"\n\t".contains(other),
            };
            if is_bad {
                return Err(format!("{character:?} in {text:?}"));
            }
        }
        Ok(())
    }

    #[test]
    fn the_judge_of_the_other_tests_refuses_what_is_not_well_formed() {
        assert_eq!(well_formed("<a b=\"c\"><d/>e &amp; f</a>"), Ok(()));
        for bad in
            ["", "a", "<a>", "<a></b>", "<a/><b/>", "<a>&x</a>", "<a b=c/>", "<a b=\"1\" b=\"2\"/>"]
        {
            assert!(well_formed(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_one_text(given in any::<String>()) {
            let told = text(&given);
            let element = format!("<a b=\"{told}\">{told}</a>");
            prop_assert_eq!(well_formed(&element), Ok(()));
            prop_assert!(!told.contains(['<', '>', '"', '\'']));
        }
    }
}
