//! What somebody else has written, a gateway elsewhere or who pulls from it, as a terminal may show it: what could
//! steer that, or write in another direction, is escaped.

use std::fmt::Write as _;

/// A text.
pub(super) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match steers(letter) {
            true => out.extend(letter.escape_debug()),
            false => out.push(letter),
        }
    }
    out
}

/// JSON, which stays what it is.
pub(super) fn plain_json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        // Between its values there may be lines.
        if letter == '\n' || !steers(letter) {
            out.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

/// Whether a terminal does something else than to show it.
fn steers(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_steers_a_terminal_is_escaped_and_nothing_else() {
        for (text, expected) in [
            ("Zoë said \"no\" \\ 'why?' 漢字", "Zoë said \"no\" \\ 'why?' 漢字"),
            ("\u{1b}[2J\r\n\0", "\\u{1b}[2J\\r\\n\\0"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("\u{202e}gpj.exe\u{2066}", "\\u{202e}gpj.exe\\u{2066}"),
        ] {
            assert_eq!(plain(text), expected);
        }
    }

    #[test]
    fn json_says_the_same_afterwards() {
        let said = json!({ "a": "\u{1b}[2J\u{9b}2J\u{7f}\u{202e}\u{e0001}é", "b": [1, null] });
        for text in [said.to_string(), format!("{said:#}")] {
            let plain = plain_json(&text);
            assert!(plain.chars().all(|letter| letter == '\n' || !steers(letter)), "{plain}");
            assert_eq!(serde_json::from_str::<Value>(&plain).unwrap(), said);
        }
    }
}
