//! Which passwords are too weak: those that a guesser tries first. Length is what counts; no kind of
//! character is asked for (NIST SP 800-63B, 3.1.1).

/// Why `password` is refused for the account of this name; words that continue "the password".
///
/// # Errors
/// The reason.
pub fn judge(password: &str, account: &str) -> Result<(), &'static str> {
    let letters = password.chars().count();
    if letters < CHARACTERS_MIN {
        return Err(
            "has fewer than 12 characters; a sentence is easy to remember and hard to guess",
        );
    }
    if password.len() > BYTES_MAX {
        return Err("has more than 512 bytes");
    }
    let plain = plain(password);
    let mut different: Vec<char> = plain.chars().collect();
    different.sort_unstable();
    different.dedup();
    if different.len() < DIFFERENT_MIN {
        return Err("says the same few characters again and again");
    }
    if steps(&plain) * 2 >= letters {
        return Err("is a row of neighbours, like 12345678 or abcdefgh");
    }
    let own: Vec<String> = account
        .split(['@', '.', '-', '_', '+'])
        .map(self::plain)
        .filter(|part| part.chars().count() >= 3)
        .collect();
    let mut rest = plain;
    for word in own.iter().map(String::as_str).chain(COMMON.iter().copied()) {
        rest = rest.replace(word, "");
    }
    if rest.chars().filter(|letter| letter.is_alphabetic()).count() < REST_MIN {
        return Err("is made of the account's name or of words that everybody tries first");
    }
    Ok(())
}

/// Lower case, and digits and signs that stand for letters as those letters.
fn plain(text: &str) -> String {
    let letter = |letter: char| match letter {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    };
    text.chars().flat_map(char::to_lowercase).map(letter).collect()
}

/// How many characters follow the one before them in a row that people type without thinking.
fn steps(plain: &str) -> usize {
    let letters: Vec<char> = plain.chars().collect();
    let follows = |pair: &&[char]| {
        let [a, b] = pair else { return false };
        ROWS.iter().any(|row| {
            let at = |letter| row.chars().position(|one| one == letter);
            matches!((at(*a), at(*b)), (Some(a), Some(b)) if a.abs_diff(b) == 1)
        })
    };
    letters.windows(2).filter(follows).count()
}

const CHARACTERS_MIN: usize = 12;
/// More is work for the hash and no harder to guess.
const BYTES_MAX: usize = 512;
const DIFFERENT_MIN: usize = 5;
/// What has to be left of letters without the words that are tried first.
const REST_MIN: usize = 5;

/// As [`plain`] writes them.
const ROWS: &[&str] =
    &["abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "asdfghjkl", "zxcvbnm", "i2eas6t89o"];
const COMMON: &[&str] = &[
    "pullgate",
    "password",
    "passwort",
    "passwd",
    "passphrase",
    "qwerty",
    "qwertz",
    "azerty",
    "letmein",
    "welcome",
    "admin",
    "administrator",
    "root",
    "iloveyou",
    "monkey",
    "dragon",
    "football",
    "baseball",
    "sunshine",
    "princess",
    "master",
    "superman",
    "batman",
    "trustno",
    "changeme",
    "default",
    "secret",
    "login",
    "docker",
    "registry",
    "summer",
    "winter",
    "spring",
    "autumn",
    "pass",
    "test",
    "user",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_ones_are_refused_with_a_reason() {
        for (password, why) in [
            ("", "fewer"),
            ("short-one", "fewer"),
            (&"ab1 ".repeat(129), "more than 512"),
            ("aaaaaaaaaaaaaaaa", "same few"),
            ("abababababababab", "same few"),
            ("123456789012345", "row"),
            ("qwertyuiop[]12", "row"),
            ("abcdefghijkl", "row"),
            ("Password1234!", "tries first"),
            ("P@ssw0rdP@ssw0rd", "tries first"),
            ("admin-admin-2026", "tries first"),
            ("ada.lovelace1815", "account"),
        ] {
            let said = judge(password, "ada@lovelace.example").unwrap_err();
            assert!(said.contains(why), "{password}: {said}");
        }
    }

    #[test]
    fn sentences_and_random_characters_are_taken() {
        for password in [
            "correct horse battery staple",
            "x7#Kp2!vQ9zLm4",
            "eine Tasse Tee am Abend",
            "пароль из нескольких слов",
        ] {
            assert_eq!(judge(password, "ada@lovelace.example"), Ok(()), "{password}");
        }
    }
}
