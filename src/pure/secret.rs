//! Secrets that are handed out as text: how they look, what is kept of them, and how they are
//! compared without a clock telling how near a guess was.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// What is kept of a secret: its SHA-256. A secret of 256 random bits cannot be found from it.
pub type Kept = [u8; 32];

/// Random bytes as text, two digits a byte.
pub fn text(random: &[u8]) -> String {
    let mut text = String::with_capacity(2 * random.len());
    for byte in random {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What is kept of the secret with this text.
pub fn kept(text: &str) -> Kept {
    Sha256::digest(text).into()
}

/// What forms carry that are shown to who has this cookie. Who does not have the cookie cannot make
/// it, and the cookie cannot be made from it.
pub fn form_token(cookie: &str) -> String {
    text(&kept(&format!("pullgate form {cookie}")))
}

/// Whether both are the same; how long that takes does not depend on where they differ.
pub fn is_same(a: &str, b: &str) -> bool {
    let differences = kept(a).iter().zip(kept(b)).fold(0, |sum, (a, b)| sum | (a ^ b));
    differences == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_as_text_and_what_is_kept() {
        assert_eq!(text(&[0, 0xa5, 0xff]), "00a5ff");
        // FIPS 180-2, appendix B.1
        assert!(text(&kept("abc")).starts_with("ba7816bf8f01cfea"));
        assert_ne!(form_token("one"), form_token("two"));
        assert!(!form_token("one").contains("one"));
    }

    #[test]
    fn same_is_same() {
        for (a, b, expected) in
            [("", "", true), ("a", "a", true), ("a", "b", false), ("a", "", false)]
        {
            assert_eq!(is_same(a, b), expected, "{a} {b}");
        }
    }
}
