//! The second factor: codes that an app makes of a secret and the time (RFC 6238, with SHA-1, six digits
//! and thirty seconds, which is what apps know).

use ring::hmac;

use crate::pure::secret::Secret;

/// The step of time that `code` is right for, if it is of those around `now_s` that no code was taken for
/// yet: a code is good once. `last` is the step of the code before.
pub fn step(secret: &[u8], code: &str, now_s: u64, last: u64) -> Option<u64> {
    let code: String = code.chars().filter(|letter| !letter.is_whitespace()).collect();
    let now = now_s / STEP_S;
    // A person's clock may be a step behind or ahead.
    let around = now.saturating_sub(1)..=now + 1;
    let mut right = None;
    for step in around {
        if self::code(secret, step).is(&code) && step > last {
            right = Some(step);
        }
    }
    right
}

/// The code of a step.
pub fn code(secret: &[u8], step: u64) -> Secret {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let tag = tag.as_ref();
    // RFC 4226, 5.3: the last four bits say where four bytes are taken from.
    let at = tag.last().map_or(0, |last| usize::from(last & 15));
    let four = tag.iter().skip(at).take(4).fold(0u32, |sum, byte| sum << 8 | u32::from(*byte));
    Secret::new(format!("{:06}", (four & 0x7fff_ffff) % 1_000_000))
}

/// A secret as apps take it (RFC 4648, 6, without padding).
pub fn base32(secret: &[u8]) -> String {
    let mut text = String::new();
    let (mut bits, mut many) = (0u32, 0);
    let mut put = |five: u32| {
        let letter = ALPHABET.get(five as usize & 31).copied().unwrap_or(b'A');
        text.push(char::from(letter));
    };
    for byte in secret {
        (bits, many) = (bits << 8 | u32::from(*byte), many + 8);
        while many >= 5 {
            many -= 5;
            put(bits >> many);
        }
    }
    if many > 0 {
        put(bits << (5 - many));
    }
    text
}

/// The secret that this text stands for; `None` for what is none.
pub fn from_base32(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut many, mut bytes) = (0u32, 0, Vec::new());
    for letter in text.bytes() {
        let five = ALPHABET.iter().position(|one| *one == letter.to_ascii_uppercase())?;
        (bits, many) = (bits << 5 | u32::try_from(five).ok()?, many + 5);
        if many >= 8 {
            many -= 8;
            let [.., byte] = (bits >> many).to_be_bytes();
            bytes.push(byte);
        }
    }
    Some(bytes)
}

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Seconds of one step.
pub const STEP_S: u64 = 30;

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B, the last six digits of its eight.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = b"12345678901234567890";
        for (now_s, expected) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(secret, now_s / STEP_S).to_string(), expected, "{now_s}");
        }
    }

    #[test]
    fn a_code_is_good_around_its_time_and_once() {
        let secret = b"12345678901234567890";
        for (now_s, last, expected) in [
            (59, 0, Some(1)),
            (89, 0, Some(1)),
            (29, 0, Some(1)),
            (90, 0, None),
            (59, 1, None),
            (59, 2, None),
        ] {
            assert_eq!(step(secret, "287 082", now_s, last), expected, "{now_s} {last}");
        }
        assert_eq!(step(secret, "", 59, 0), None);
    }

    #[test]
    fn secrets_are_written_as_apps_take_them() {
        // RFC 4648, 10, without padding
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
            assert_eq!(from_base32(&text.to_lowercase()).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(from_base32("MZ1"), None);
    }
}
