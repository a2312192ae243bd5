//! Secrets that are handed out as text: how they look, what is kept of them, and how they are
//! compared without a clock telling how near a guess was.

use std::fmt::{self, Write as _};
use std::marker::PhantomData;

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

/// A secret that is known here, and that somebody else may only guess. It is compared by [`Secret::is`] alone.
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    /// The one with this text.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Whether somebody has said just this. How long that takes does not depend on where a guess differs. Without
    /// a text it is none that anybody could know.
    pub fn is(&self, said: &str) -> bool {
        let differences = kept(&self.0).iter().zip(kept(said)).fold(0, |sum, (a, b)| sum | (a ^ b));
        !self.0.is_empty() && differences == 0
    }
}

/// As it is handed out: in a link, in a form.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Never as it is: this is for logs, and for what went wrong.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// There is no `==` for it, which ends at the first letter that differs: with one, `has_no_equals` could be that of
/// either trait, and this would not compile.
const _: fn() = || {
    trait Anything<Of> {
        fn has_no_equals() {}
    }
    struct Comparable;
    impl<T: ?Sized> Anything<()> for T {}
    impl<T: PartialEq<With>, With: ?Sized> Anything<(Comparable, PhantomData<With>)> for T {}
    let _ = <Secret as Anything<_>>::has_no_equals;
};

/// What forms carry that are shown to who has this cookie. Who does not have the cookie cannot make
/// it, and the cookie cannot be made from it.
pub fn form_token(cookie: &str) -> Secret {
    Secret(text(&kept(&format!("pullgate form {cookie}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_as_text_and_what_is_kept() {
        assert_eq!(text(&[0, 0xa5, 0xff]), "00a5ff");
        // FIPS 180-2, appendix B.1
        assert!(text(&kept("abc")).starts_with("ba7816bf8f01cfea"));
        assert_ne!(form_token("one").to_string(), form_token("two").to_string());
        assert!(!form_token("one").to_string().contains("one"));
    }

    #[test]
    fn same_is_same() {
        for (own, said, expected) in [
            ("a", "a", true),
            ("a", "b", false),
            ("a", "", false),
            ("a", "aa", false),
            // Where there is none, nobody knows it.
            ("", "", false),
            ("", "a", false),
        ] {
            assert_eq!(Secret::new(own.to_owned()).is(said), expected, "{own} {said}");
        }
        assert_eq!(format!("{:?}", Secret::new("a-secret".to_owned())), "Secret");
    }
}
