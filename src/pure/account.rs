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
    if text.chars().any(|letter| letter.is_whitespace() || letter.is_control()) {
        return Err("has a space or a control character in it");
    }
    Ok(text.to_lowercase())
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
    if text.len() > LABEL_BYTES_MAX || text.chars().any(char::is_control) {
        return Err("has more than 63 bytes, or a control character in it");
    }
    Ok(text.to_owned())
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
            ("a\u{7}b", Err("has a space or a control")),
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
        for text in ["", " ", "a\nb", &"x".repeat(64)] {
            assert!(label(text).is_err(), "{text}");
        }
    }
}
