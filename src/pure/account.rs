//! What accounts and organisations may be called.

/// What one signs in with, as it is kept: without space around it, in lower case.
///
/// # Errors
/// Why it is none; words that continue "the name".
pub fn login(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty: it is what you sign in with, as `ada` or `ada@acme.com`");
    }
    if text.len() > LOGIN_BYTES_MAX {
        return Err("has more than 254 bytes");
    }
    if text.chars().any(|letter| letter.is_whitespace() || is_unseen(letter)) {
        return Err("has a space, or a character in it that is not seen");
    }
    let text = text.to_lowercase();
    match text == "operator" {
        false => Ok(text),
        true => Err("is who has the command line: choose another"),
    }
}

/// An organisation's name, which is part of addresses and, where packages are served under a shared
/// domain, of host names (RFC 1123, 2.1).
///
/// # Errors
/// Why it is none; words that continue "the organisation's name".
pub fn organisation(text: &str) -> Result<String, &'static str> {
    let text = text.trim().to_lowercase();
    let is_label = (1..=LABEL_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    match is_label {
        true => Ok(text),
        false => {
            Err("is made of 1 to 63 letters, digits and hyphens, and neither begins nor ends \
                      with a hyphen, as `acme`")
        }
    }
}

/// What a token is called by who made it.
///
/// # Errors
/// Why it is none; words that continue "the label".
pub fn label(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty: it says what the token is for, as `nightly report`");
    }
    if text.len() > LABEL_BYTES_MAX || text.chars().any(is_unseen) {
        return Err("has more than 63 bytes, or a character in it that is not seen");
    }
    Ok(text.to_owned())
}

/// Whether a letter leaves no mark of its own, or turns others around, so that two names look alike: controls,
/// Unicode's format characters (general category Cf), what chooses variants, and fillers.
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}' | '\u{891}' | '\u{8e2}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

const LOGIN_BYTES_MAX: usize = 254;
const LABEL_BYTES_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_signs_in_with() {
        for (text, expected) in [
            (" Ada@Acme.com ", Ok("ada@acme.com")),
            ("ÄDA", Ok("äda")),
            ("<script>", Ok("<script>")),
            ("", Err("is empty")),
            ("a b", Err("has a space")),
            ("a\u{7}b", Err("has a space, or a character")),
            ("ad\u{200b}a", Err("has a space, or a character")),
            ("\u{202e}ada", Err("has a space, or a character")),
            ("ada\u{e0061}", Err("has a space, or a character")),
            (" Operator", Err("is who has the command line")),
            ("operators", Ok("operators")),
            (&"x".repeat(255), Err("has more than")),
        ] {
            match (login(text), expected) {
                (Ok(got), Ok(expected)) => assert_eq!(got, expected),
                (Err(got), Err(expected)) => assert!(got.starts_with(expected), "{text}: {got}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }

    #[test]
    fn names_of_organisations_are_labels_of_host_names() {
        for (text, expected) in [
            (" Acme ", Some("acme")),
            ("ac\u{200b}me", None),
            ("a", Some("a")),
            ("acme-2", Some("acme-2")),
            ("", None),
            ("-a", None),
            ("a-", None),
            ("a.b", None),
            ("a/b", None),
            ("ä", None),
            (&"x".repeat(64), None),
        ] {
            assert_eq!(organisation(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn labels_of_tokens() {
        assert_eq!(label(" nightly report ").as_deref(), Ok("nightly report"));
        for text in ["", " ", "a\nb", "a\u{2066}b", &"x".repeat(64)] {
            assert!(label(text).is_err(), "{text}");
        }
    }
}
